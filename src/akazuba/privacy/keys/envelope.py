"""An envelope between two identities: keys from X25519, ML-KEM-768 and, where there is one, a quantum key.

The receiver makes an *offer*: two fresh public keys, signed, with an end. The sender answers with a *hello*:
its own X25519 key, the ML-KEM ciphertext, the suite and the quantum key's id, signed. All keys come by
HKDF-SHA-384 from both shared secrets and the quantum key, salted with the hash of every byte of offer and
hello. So nobody in between can change a suite, a name or a key id. When the offer's keys are erased,
nobody can read what was sent under it (forward secrecy); a quantum key is never the only secret.

An offer may wait for weeks: hello and one record then are a letter to a box that is off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.keys.enrolment import CLOCK_TOLERANCE_S, Enrolment, Role, Time
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.session import Aead, Half, Session
from akazuba.privacy.keys.signed import believed, sign
from akazuba.privacy.ledger import Protection, QuantumKeyUsed

QkdPolicy = Literal["off", "prefer", "require"]

OFFER_S = 14 * 86_400
"""How long an offer holds: as long as the boxes that write to it may be off."""


_AEADS: dict[str, Callable[[bytes], Aead]] = {
    "X25519-MLKEM768-HKDFSHA384-AES256GCM": AESGCM,
    "X25519-MLKEM768-HKDFSHA384-CHACHA20POLY1305": ChaCha20Poly1305,
}
SUITES = tuple(_AEADS)
"""Best first. A new suite gets a new name; one that falls is taken out here and nowhere else."""


@dataclass(frozen=True)
class QuantumKey:
    """A key from a key management entity. key: 32 bytes or more. simulated: no quantum link made it."""

    key_id: str
    key: bytes = field(repr=False)
    simulated: bool


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """offer_id: 16 random bytes. suites: which its maker reads, best first. sae: its maker's name at the key
    management entity, when it can fetch quantum keys.
    """

    offer_id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    made: Time
    ends: Time
    suites: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    x25519: Annotated[bytes, Meta(min_length=32, max_length=32)]
    mlkem768: Annotated[bytes, Meta(min_length=1184, max_length=1184)]
    qkd: QkdPolicy
    sae: Annotated[str, Meta(max_length=200)] | None


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """offer: SHA-384 of the signed offer's bytes. suites: all that its sender knows, so that the receiver
    sees that the best common one was chosen. quantum_key: its id at the key management entity.
    """

    offer: Annotated[bytes, Meta(min_length=48, max_length=48)]
    sent: Time
    suites: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    suite: str
    x25519: Annotated[bytes, Meta(min_length=32, max_length=32)]
    ciphertext: Annotated[bytes, Meta(min_length=1088, max_length=1088)]
    qkd: QkdPolicy
    quantum_key: Annotated[str, Meta(max_length=200)] | None
    quantum_key_simulated: bool | None


@dataclass(frozen=True)
class Prepared:
    """An offer with its secrets; they are kept until its end and then erased."""

    offer: bytes
    offer_id: bytes
    ends: int
    x25519_seed: bytes = field(repr=False)
    mlkem768_seed: bytes = field(repr=False)
    qkd: QkdPolicy


def prepare(
    identity: Identity,
    now: int,
    random: Callable[[int], bytes],
    *,
    holds_s: int = OFFER_S,
    suites: Sequence[str] = SUITES,
    qkd: QkdPolicy = "off",
    sae: str | None = None,
) -> Prepared:
    """A fresh offer, to be sent to whoever shall write."""
    x25519_seed, mlkem768_seed, offer_id = random(32), random(64), random(16)
    offer = Offer(
        offer_id,
        now,
        now + holds_s,
        tuple(suites),
        X25519PrivateKey.from_private_bytes(x25519_seed).public_key().public_bytes_raw(),
        MLKEM768PrivateKey.from_seed_bytes(mlkem768_seed).public_key().public_bytes_raw(),
        qkd,
        sae,
    )
    return Prepared(sign(identity, "offer", offer), offer_id, offer.ends, x25519_seed, mlkem768_seed, qkd)


def read_offer(offer: bytes, registry: Registry, roles: Sequence[Role], now: int) -> tuple[Offer, Enrolment]:
    """The offer and who made it. Raises UntrustedError for one that is forged, has ended, or names no suite
    that we know.
    """
    made, maker = registry.said(offer, "offer", Offer, roles, now)
    if not made.made - CLOCK_TOLERANCE_S <= now <= made.ends:
        raise UntrustedError("offer", f"one that holds at {now} s", f"one from {made.made} to {made.ends} s")
    _best_suite(made.suites, SUITES)
    return made, maker


def connect(
    identity: Identity,
    offer: bytes,
    registry: Registry,
    roles: Sequence[Role],
    now: int,
    random: Callable[[int], bytes],
    *,
    qkd: QkdPolicy = "off",
    quantum: QuantumKey | None = None,
    suites: Sequence[str] = SUITES,
) -> tuple[bytes, Session]:
    """The hello to send, and the session that it opens.

    qkd: our policy. quantum: a key that the offer's maker can fetch too; `require` on either side without
    one raises UntrustedError: nothing is ever sent with less than was asked for.
    """
    made, maker = read_offer(offer, registry, roles, now)
    _enough(qkd, made.qkd, quantum)
    seed = random(32)
    own = X25519PrivateKey.from_private_bytes(seed)
    try:
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(made.mlkem768).encapsulate()
    except ValueError as problem:
        raise UntrustedError("offer", "an ML-KEM-768 key", "one that is not reduced") from problem
    hello = Hello(
        hashlib.sha384(offer).digest(),
        now,
        tuple(suites),
        _best_suite(made.suites, suites),
        own.public_key().public_bytes_raw(),
        ciphertext,
        qkd,
        quantum.key_id if quantum else None,
        quantum.simulated if quantum else None,
    )
    signed = sign(identity, "hello", hello)
    shared = secret + _exchange(own, made.x25519)
    protection = _protection(hello, identity.public.key_id, maker.public.key_id)
    return signed, _session(offer, signed, hello, shared, quantum, maker, protection, first=True)


def accept(
    identity: Identity,
    prepared: Prepared,
    hello: bytes,
    registry: Registry,
    roles: Sequence[Role],
    now: int,
    *,
    first_time: Callable[[bytes, int], bool],
    quantum_key: Callable[[str], QuantumKey] | None = None,
) -> Session:
    """The session that a hello opens.

    first_time: remembers a hello's hash durably until the given time and says whether it was new.
    quantum_key: fetches the key of an id from our key management entity. Raises UntrustedError for a hello
    that is forged, replayed, late, downgraded, or without the quantum key that is required. A power cut after
    it and before the letter is stored loses the letter: the sender, who has no answer, sends it under a new
    hello.
    """
    said, sender = registry.said(hello, "hello", Hello, roles, now)
    offered = believed(prepared.offer, "offer", Offer)
    if said.offer != hashlib.sha384(prepared.offer).digest():
        raise UntrustedError("hello", "an answer to this offer", "an answer to another one")
    if now > prepared.ends or not offered.made - CLOCK_TOLERANCE_S <= said.sent <= now + CLOCK_TOLERANCE_S:
        raise UntrustedError("hello", f"one sent from {offered.made} to {offered.ends} s", f"{said.sent} s")
    if said.suite != (best := _best_suite(offered.suites, said.suites)):
        raise UntrustedError("suite", f"{best}, the best that both know", said.suite)
    quantum = None
    if said.quantum_key is not None and quantum_key is not None and prepared.qkd != "off":
        quantum = quantum_key(said.quantum_key)
        if quantum.simulated != said.quantum_key_simulated:
            raise UntrustedError("quantum key", f"simulated: {quantum.simulated}", "told otherwise")
    elif said.quantum_key is not None:
        raise UntrustedError("quantum key", "none: this box fetches none", said.quantum_key)
    _enough(prepared.qkd, said.qkd, quantum)
    if not first_time(hashlib.sha384(hello).digest(), prepared.ends + CLOCK_TOLERANCE_S):
        raise UntrustedError("hello", "one that was not used before", "one that was")
    try:
        secret = MLKEM768PrivateKey.from_seed_bytes(prepared.mlkem768_seed).decapsulate(said.ciphertext)
    except ValueError as problem:
        raise UntrustedError("hello", "an ML-KEM ciphertext", str(problem)) from problem
    own = X25519PrivateKey.from_private_bytes(prepared.x25519_seed)
    shared = secret + _exchange(own, said.x25519)
    protection = _protection(said, sender.public.key_id, identity.public.key_id)
    return _session(prepared.offer, hello, said, shared, quantum, sender, protection, first=False)


def _session(
    offer: bytes,
    signed: bytes,
    hello: Hello,
    shared: bytes,
    quantum: QuantumKey | None,
    peer: Enrolment,
    protection: Protection,
    *,
    first: bool,
) -> Session:
    transcript = hashlib.sha384(hashlib.sha384(offer).digest() + hashlib.sha384(signed).digest()).digest()
    secret = quantum.key if quantum else b""
    info = b"akazuba envelope v1 " + hello.suite.encode() + b" " + (hello.quantum_key or "-").encode()
    material = HKDF(SHA384(), 2 * 32 + 2 * 12 + 16, transcript, info).derive(
        shared + len(secret).to_bytes(2, "big") + secret
    )
    aead = _AEADS[hello.suite]
    there = Half(aead(material[:32]), material[64:76])
    back = Half(aead(material[32:64]), material[76:88])
    ours, theirs = (there, back) if first else (back, there)
    return Session(peer, protection, material[88:], ours, theirs)


def _best_suite(offered: Sequence[str], known: Sequence[str]) -> str:
    for suite in offered:
        if suite in known and suite in _AEADS:
            return suite
    raise UntrustedError("suite", " or ".join(known), " or ".join(offered))


def _enough(ours: QkdPolicy, theirs: QkdPolicy, quantum: QuantumKey | None) -> None:
    if quantum is not None and len(quantum.key) < 32:
        raise InputError("quantum key", "32 bytes or more", f"{len(quantum.key)} bytes")
    if quantum is None and "require" in (ours, theirs):
        raise UntrustedError("quantum key", "one, because it is required", "none")


def _exchange(own: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as problem:
        raise UntrustedError("X25519 key", "a point of full order", "one of low order") from problem


def _protection(hello: Hello, sender: str, recipient: str) -> Protection:
    quantum = None
    if hello.quantum_key is not None:
        quantum = QuantumKeyUsed(hello.quantum_key, simulated=bool(hello.quantum_key_simulated))
    return Protection(hello.suite, sender, recipient, quantum)
