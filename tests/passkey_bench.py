"""An authenticator that is a program (SIMULATED): it signs as a real one does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256

from akazuba.governance.passkeys import Host

HOST = Host("post7.clinic")
PRESENT, VERIFIED, NEW = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """A device with one passkey. step: by how much its counter goes on."""

    edwards: bool = False
    id: bytes = field(default_factory=lambda: os.urandom(20))
    count: int = 0
    step: int = 1
    flags: int = PRESENT | VERIFIED
    origin: str = HOST.origin
    host: str = HOST.name
    handle: str | None = None

    def __post_init__(self) -> None:
        self.key: Any = (
            ed25519.Ed25519PrivateKey.generate() if self.edwards else ec.generate_private_key(ec.SECP256R1())
        )

    def cose(self) -> bytes:
        public = self.key.public_key()
        if self.edwards:
            return bytes(cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()}))
        numbers = public.public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return bytes(cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y}))

    def data(self, more: bytes = b"", flags: int = 0) -> bytes:
        head = hashlib.sha256(self.host.encode()).digest()
        return head + bytes([self.flags | flags]) + self.count.to_bytes(4, "big") + more

    def said(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def creates(self, options: str) -> str:
        asked = json.loads(options)
        self.handle = asked["user"]["id"]
        more = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + self.cose()
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": self.data(more, NEW)})
        return self.answer(
            clientDataJSON=self.said("webauthn.create", asked["challenge"]), attestationObject=made
        )

    def gets(self, options: str) -> str:
        self.count += self.step
        said, data = self.said("webauthn.get", json.loads(options)["challenge"]), self.data()
        signed = data + hashlib.sha256(said).digest()
        signature = self.key.sign(signed) if self.edwards else self.key.sign(signed, ec.ECDSA(SHA256()))
        return self.answer(clientDataJSON=said, authenticatorData=data, signature=signature)

    def answer(self, **response: bytes) -> str:
        said: dict[str, Any] = {name: b64(value) for name, value in response.items()}
        if "signature" in response:
            said["userHandle"] = self.handle
        return json.dumps({"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": said})
