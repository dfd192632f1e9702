"""What is recorded while the box is locked: sealed to the store's public key, merged at unlock, none lost.

One file of frames: length (4 bytes), SHA-256 of what follows (32), an HPKE ciphertext. A frame is on the disk
before it is acknowledged. A last frame that is cut short was never acknowledged and is dropped; any other
that cannot be read is set aside and reported. How far the file is merged is kept in the store, in the same
transaction as the entries, so a power cut in the middle merges nothing twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from akazuba.durable import sync_folder
from akazuba.errors import ArtefactError, why_not_opened
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import StoreKey, key_file

FILE = "spool.bin"
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
INFO = b"akazuba spool v1"
HEAD = 36
MOST_BYTES = 64 * 1024 * 1024


class Spooled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry as it was recorded while locked. at_ms: by the box's clock then."""

    at_ms: int
    kind: str
    by: str
    body: bytes


@dataclass(frozen=True)
class Merged:
    """entries: merged now. unreadable: frames that could not be opened; they lie in `spool.bad`."""

    entries: int
    unreadable: int


class Spool:
    """home: the box's folder, which holds the store's key file."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        public = key_file(home).spool
        self._public = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:1184]),
            X25519PublicKey.from_public_bytes(public[1184:]),
        )

    def add(self, at_ms: int, kind: str, by: str, body: bytes) -> None:
        """On the disk, sealed, when this returns. Raises ArtefactError when the disk refuses."""
        plain = msgspec.msgpack.encode(Spooled(at_ms, kind, by, body))
        sealed = SUITE.encrypt(plain, self._public, info=INFO)
        frame = len(sealed).to_bytes(4, "big") + hashlib.sha256(sealed).digest() + sealed
        try:
            new = not self._path.exists()
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
            try:
                self._drop_torn_end(handle)
                _written(handle, frame)
                os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                sync_folder(self._path.parent)
        except OSError as problem:
            raise ArtefactError(
                str(self._path), "room for what is recorded", why_not_opened(problem)
            ) from problem

    def _drop_torn_end(self, handle: int) -> None:
        """A frame that a power cut left unfinished would hide the next one behind it."""
        with os.fdopen(os.dup(handle), "rb") as file:
            file.seek(0)
            whole = sum(HEAD + len(sealed) for sealed, _ in frames(file.read()))
        if whole < os.fstat(handle).st_size:
            os.ftruncate(handle, whole)


def merge(home: Path, store: Store, key: StoreKey) -> Merged:
    """Moves what was recorded while locked into the store and empties the spool."""
    path = home / FILE
    if not path.exists():
        return Merged(0, 0)
    data = path.read_bytes()
    name = "spool " + hashlib.sha256(data[: HEAD + 64]).hexdigest()
    merged_to = int.from_bytes(store.recall(name) or b"", "big")
    private = hpke.MLKEM768X25519PrivateKey(*key.spool)
    number = unreadable = end = 0
    for sealed, sound in frames(data):
        end += HEAD + len(sealed)
        if end <= merged_to:
            continue
        try:
            if not sound:
                raise ValueError("another hash")  # noqa: TRY301 - handled as one that does not open
            said = msgspec.msgpack.decode(SUITE.decrypt(sealed, private, info=INFO), type=Spooled)
        except (InvalidTag, ValueError) as problem:
            unreadable += 1
            _set_aside(home, sealed)
            lost = msgspec.json.encode({"bytes": len(sealed), "why": str(problem) or "does not open"})
            store.add_with(name, end.to_bytes(8, "big"), [Entry("spool-unreadable", "box", lost)])
            continue
        body = msgspec.json.encode({"recorded_ms": said.at_ms, "kind": said.kind, "body": said.body})
        store.add_with(name, end.to_bytes(8, "big"), [Entry(f"locked-{said.kind}", said.by, body)])
        number += 1
    path.unlink()
    sync_folder(home)
    return Merged(number, unreadable)


def frames(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each whole frame's ciphertext, and whether its hash is right; an unfinished end is left out."""
    at = 0
    while at + HEAD <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        sealed = data[at + HEAD : at + HEAD + length]
        if length > MOST_BYTES or len(sealed) < length:
            return
        yield sealed, hashlib.sha256(sealed).digest() == data[at + 4 : at + HEAD]
        at += HEAD + length


def _set_aside(home: Path, sealed: bytes) -> None:
    with (home / "spool.bad").open("ab") as file:
        file.write(len(sealed).to_bytes(4, "big") + sealed)
        file.flush()
        os.fsync(file.fileno())


def _written(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
