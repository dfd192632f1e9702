"""An identity: one Ed25519 and one ML-DSA-65 key that always sign together.

What is signed is never a bare message but `LABEL ‖ len(kind) ‖ kind ‖ SHA-512(message)`, as composite
signatures do it (draft-ietf-lamps-pq-composite-sigs), so that a signature under one kind of message
is none under another, and neither half is a signature of the other scheme alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from akazuba.errors import UntrustedError

LABEL = b"Akazuba-Ed25519-MLDSA65-SHA512-v1"
SEED_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
SIGNATURE_BYTES = ED25519_SIGNATURE_BYTES + 3309


class PublicIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ed25519: 32 bytes. mldsa65: 1,952 bytes (FIPS 204)."""

    ed25519: bytes
    mldsa65: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 over both keys, in hex: the name under which everybody knows this identity."""
        return hashlib.sha256(LABEL + self.ed25519 + self.mldsa65).hexdigest()

    def verify(self, kind: str, message: bytes, signature: bytes) -> None:
        """Raises UntrustedError unless both halves of the signature are sound."""
        if len(signature) != SIGNATURE_BYTES:
            raise UntrustedError("signature", f"{SIGNATURE_BYTES} bytes", f"{len(signature)} bytes")
        told = _told(kind, message)
        try:
            Ed25519PublicKey.from_public_bytes(self.ed25519).verify(signature[:ED25519_SIGNATURE_BYTES], told)
            MLDSA65PublicKey.from_public_bytes(self.mldsa65).verify(
                signature[ED25519_SIGNATURE_BYTES:], told, LABEL
            )
        except (InvalidSignature, ValueError) as problem:
            expected = f"a {kind} signed by {self.key_id[:16]}"
            raise UntrustedError("signature", expected, "one that does not verify") from problem


@dataclass(frozen=True)
class Identity:
    """The secret half: two seeds of 32 bytes. It is never printed."""

    ed25519_seed: bytes
    mldsa65_seed: bytes

    def __repr__(self) -> str:
        return f"Identity({self.public.key_id[:16]}…)"

    @cached_property
    def _keys(self) -> tuple[Ed25519PrivateKey, MLDSA65PrivateKey]:
        return (
            Ed25519PrivateKey.from_private_bytes(self.ed25519_seed),
            MLDSA65PrivateKey.from_seed_bytes(self.mldsa65_seed),
        )

    @cached_property
    def public(self) -> PublicIdentity:
        old, new = self._keys
        return PublicIdentity(old.public_key().public_bytes_raw(), new.public_key().public_bytes_raw())

    def sign(self, kind: str, message: bytes) -> bytes:
        """3,373 bytes: the Ed25519 signature, then the ML-DSA-65 one."""
        old, new = self._keys
        told = _told(kind, message)
        return old.sign(told) + new.sign(told, LABEL)


def new_identity(random: Callable[[int], bytes]) -> Identity:
    """random: the system's source (`os.urandom`)."""
    return Identity(random(SEED_BYTES), random(SEED_BYTES))


def _told(kind: str, message: bytes) -> bytes:
    name = kind.encode()
    return LABEL + bytes([len(name)]) + name + hashlib.sha512(message).digest()
