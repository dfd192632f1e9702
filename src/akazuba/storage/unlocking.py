"""The store's key: wrapped under the device's secret and the day's passphrase, both of which it takes.

A stolen disk lacks the passphrase; a learnt passphrase lacks the device. The secret lies in the device's TPM
where there was one when it was made (`tpm`), else in a file beside the store, which goes with the disk. The
passphrase goes through Argon2id (RFC 9106); 64 MiB and three passes cost about 0.2 s. The key file tells
nothing by itself, and changing the passphrase wraps the same key anew. The public half of the spool's key
lies in it in the clear: while the box is locked, whatever is recorded can be sealed and nobody can open it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from akazuba.durable import write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.storage import tpm

FILE, KEY_FILE, DEVICE_FILE = "store.sqlite3", "store.key.json", "device.secret"
DEVICE_BYTES = 32
PASSPHRASE_LEAST = 10
Random = Callable[[int], bytes]


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of Argon2id. memory_kib: RFC 9106's second recommendation is 64 MiB, 3 passes, 4 lanes."""

    memory_kib: Annotated[int, Meta(ge=8, le=1 << 20)] = 65_536
    passes: Annotated[int, Meta(ge=1, le=100)] = 3
    lanes: Annotated[int, Meta(ge=1, le=16)] = 4


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """wrapped: the store's key under AES-256-GCM. spool: ML-KEM-768 and X25519 public keys."""

    version: Annotated[int, Meta(ge=1, le=1)]
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    cost: Cost
    nonce: Annotated[bytes, Meta(min_length=12, max_length=12)]
    wrapped: Annotated[bytes, Meta(min_length=48, max_length=48)]
    spool: Annotated[bytes, Meta(min_length=1216, max_length=1216)]


@dataclass(frozen=True)
class StoreKey:
    """32 bytes from which every key of the store is derived. It lives in memory while the box is unlocked."""

    secret: bytes = field(repr=False)

    def derived(self, what: str, length: int) -> bytes:
        return HKDF(SHA256(), length, None, b"akazuba store v1 " + what.encode()).derive(self.secret)

    @property
    def database(self) -> bytes:
        return self.derived("database", 32)

    @property
    def spool(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        seeds = self.derived("spool", 96)
        return MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), X25519PrivateKey.from_private_bytes(seeds[64:])

    @property
    def spool_public(self) -> bytes:
        """1184 bytes of ML-KEM-768, then 32 of X25519."""
        kem, dh = self.spool
        return kem.public_key().public_bytes_raw() + dh.public_key().public_bytes_raw()


def set_up(home: Path, passphrase: str, random: Random = os.urandom, cost: Cost | None = None) -> StoreKey:
    """Makes the key of a new store. Raises InputError when there is one or the passphrase is too short."""
    refuse_second(home)
    long_enough(passphrase)
    key = StoreKey(random(32))
    wrap(home, key, passphrase, random, cost or Cost())
    return key


def refuse_second(home: Path) -> None:
    """A second key would make the first one's records unreadable. Raises InputError."""
    for name in (KEY_FILE, FILE):
        if (home / name).exists():
            raise InputError("store", "a home without one", f"{home / name}")


def unlocked(home: Path, passphrase: str) -> StoreKey:
    """Raises InputError for a wrong passphrase or another device, ArtefactError for a broken key file and for
    one whose public key of the spool was exchanged: what was recorded meanwhile went to somebody else.
    """
    key, exchanged = _unwrapped(home, passphrase)
    if exchanged:
        expected = "this store's public key of the spool"
        found = (
            "another one, under the right passphrase: it was exchanged on the disk, and what was recorded "
            "while locked since then was sealed to it; `akazuba store change-passphrase` puts the right one "
            "back"
        )
        raise ArtefactError(str(home / KEY_FILE), expected, found)
    return key


def change_passphrase(home: Path, old: str, new: str, random: Random = os.urandom) -> bool:
    """The same key under a new passphrase. The old one opens nothing but an old copy of the key file.

    Returns whether the spool's public key had been exchanged on the disk; the right one stands there now.
    """
    key, exchanged = _unwrapped(home, old)
    long_enough(new)
    wrap(home, key, new, random, key_file(home).cost)
    return exchanged


def _unwrapped(home: Path, passphrase: str) -> tuple[StoreKey, bool]:
    """The key, and whether another public key of the spool stands in the file than the key's own.

    That one is bound to the wrapped key, so with another the tag does not hold. AES-GCM without its tag is
    AES-CTR from block 2 (NIST SP 800-38D, 7.1): what comes out counts only once the tag holds with the public
    key that belongs to it.
    """
    file = key_file(home)
    kek = _kek(home, passphrase, file)
    try:
        return StoreKey(AESGCM(kek).decrypt(file.nonce, file.wrapped, _bound(file))), False
    except InvalidTag:
        counter = CTR(file.nonce + (2).to_bytes(4, "big"))
        likely = StoreKey(Cipher(AES256(kek), counter).decryptor().update(file.wrapped[:32]))
    own = msgspec.structs.replace(file, spool=likely.spool_public)
    try:
        return StoreKey(AESGCM(kek).decrypt(file.nonce, file.wrapped, _bound(own))), True
    except InvalidTag as problem:
        expected = "the passphrase of this store, on the device that made it"
        raise InputError("passphrase", expected, "another one") from problem


def key_file(home: Path) -> KeyFile:
    path = home / KEY_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except FileNotFoundError as problem:
        raise InputError("store", f"{path}", "none: `akazuba store init` makes one") from problem
    except (OSError, msgspec.MsgspecError) as problem:
        raise ArtefactError(str(path), "the store's key file", why_not_opened(problem)) from problem


def wrap(home: Path, key: StoreKey, passphrase: str, random: Random, cost: Cost) -> None:
    """Puts the key under a passphrase and this device's secret, which is made if there is none.

    Raises ArtefactError when the disk refuses; what stood there before then still opens the store.
    """
    file = KeyFile(1, random(16), cost, random(12), bytes(48), key.spool_public)
    try:
        _make_device_secret(home, random)
        wrapped = AESGCM(_kek(home, passphrase, file)).encrypt(file.nonce, key.secret, _bound(file))
        write_durably(home / KEY_FILE, msgspec.json.encode(msgspec.structs.replace(file, wrapped=wrapped)))
    except OSError as problem:
        expected = "room for the store's key file"
        raise ArtefactError(str(home / KEY_FILE), expected, why_not_opened(problem)) from problem


def stretched(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    """32 bytes by Argon2id (RFC 9106). Raises ArtefactError for a cost that it does not know."""
    try:
        argon = Argon2id(
            salt=salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib
        )
    except ValueError as problem:
        raise ArtefactError("key file, cost", "one that Argon2id takes", str(problem)) from problem
    return argon.derive(passphrase.encode("utf-8", "surrogatepass"))


def device_key(home: Path, what: str, length: int = 32) -> bytes | None:
    """A key that this device's secret alone gives, without a passphrase; None where no secret was made.

    Raises ArtefactError where the secret cannot be had.
    """
    if not has_device_secret(home):
        return None
    return HKDF(SHA256(), length, None, b"akazuba device v1 " + what.encode()).derive(_device_secret(home))


def has_device_secret(home: Path) -> bool:
    """Raises ArtefactError for a broken file of the TPM's."""
    return (home / DEVICE_FILE).exists() or tpm.sealed(home) is not None


def device_kept(home: Path) -> str:
    """Where this device's secret lies, in words. Raises ArtefactError for a broken file of the TPM's."""
    if tpm.sealed(home) is not None:
        return "in this device's TPM"
    if (home / DEVICE_FILE).exists():
        return f"in the file {DEVICE_FILE}, which goes with the disk"
    return "nowhere: none was made"


def _kek(home: Path, passphrase: str, file: KeyFile) -> bytes:
    together = _device_secret(home) + stretched(passphrase, file.salt, file.cost)
    return HKDF(SHA256(), 32, file.salt, b"akazuba store key v1").derive(together)


def _make_device_secret(home: Path, random: Random) -> None:
    if has_device_secret(home):
        return
    if (device := tpm.present()) is not None:
        tpm.seal(device, home, random(DEVICE_BYTES), random)
    else:
        write_durably(home / DEVICE_FILE, random(DEVICE_BYTES))


def _device_secret(home: Path) -> bytes:
    path = home / DEVICE_FILE
    held = tpm.sealed(home)
    try:
        device = path.read_bytes() if held is None else tpm.unseal(held)
    except OSError as problem:
        raise ArtefactError(str(path), "this device's secret", why_not_opened(problem)) from problem
    if len(device) != DEVICE_BYTES:
        raise ArtefactError(str(path), f"this device's secret, {DEVICE_BYTES} bytes", f"{len(device)} bytes")
    return device


def _bound(file: KeyFile) -> bytes:
    """A spool key that was exchanged in the file does not open it."""
    return msgspec.json.encode((file.version, file.cost, file.spool))


def long_enough(passphrase: str, least: int = PASSPHRASE_LEAST) -> None:
    if len(passphrase) < least:
        raise InputError("passphrase", f"{least} characters or more", str(len(passphrase)))
