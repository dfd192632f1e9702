"""What is recorded while the box is locked: sealed to the store's public key, merged at unlock, none lost.

One file of frames: a mark, the length, a checksum of those two, SHA-256 of the ciphertext, the ciphertext
(HPKE, RFC 9180). A frame is on the disk before it is acknowledged, and names the one before it, so a frame
that was taken out or moved shows. The store remembers each frame that it took: nothing is merged twice.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from akazuba.durable import sync_folder
from akazuba.errors import ArtefactError, InputError, encodable, why_not_opened
from akazuba.storage.person import Person, contradiction
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import StoreKey, key_file

FILE, LOCK, BAD = "spool.bin", "spool.lock", "spool.bad"
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
INFO = b"akazuba spool v1"
MARK = b"\xffakazuba frame\n\0"
TOLD = b"misplaced"
HEAD = len(MARK) + 4 + 4 + 32
MOST_BYTES = 16 * 1024 * 1024
"""Of one entry's body, so that the store takes it, written as base64, with the rest."""


class Spooled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry as it was recorded while locked. at_ms: by the box's clock then. after: the digest of the
    frame before it, empty for the first in a file. person: whom it is about, so that it is merged under her
    own key and can be erased with her.
    """

    at_ms: int
    kind: str
    by: str
    body: bytes
    after: bytes
    person: Person | None = None


@dataclass(frozen=True)
class Merged:
    """entries: merged now. unreadable: pieces that could not be opened; they lie in `spool.bad`. misplaced:
    frames that another one did stand before when they were written, or that stand there twice.
    """

    entries: int
    unreadable: int
    misplaced: int = 0


@dataclass(frozen=True)
class Piece:
    """What stands from `begin` on. sealed: a whole frame's ciphertext, else None: data that is none, or an
    end that was never acknowledged (torn).
    """

    begin: int
    data: bytes
    sealed: bytes | None = None
    torn: bool = False

    @property
    def digest(self) -> bytes:
        return sha256(self.sealed or self.data).digest()


class Spool:
    """home: the box's folder, which holds the store's key file. Several processes may add at once."""

    def __init__(self, home: Path) -> None:
        self._home, self._path = home, home / FILE
        public = key_file(home).spool
        try:
            self._public = hpke.MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(public[:1184]),
                X25519PublicKey.from_public_bytes(public[1184:]),
            )
        except ValueError as problem:
            raise ArtefactError("key file", "the spool's public key", str(problem)) from problem
        self._read_to, self._last = 0, b""

    def add(self, at_ms: int, kind: str, by: str, body: bytes, person: Person | None = None) -> str:
        """On the disk, sealed, when this returns. A receipt: kept outside the box, it shows a disk that lost
        the entry (`arrived`). Raises InputError for too large a body, ArtefactError when the disk refuses.
        """
        if len(body) > MOST_BYTES:
            raise InputError(kind, f"at most {MOST_BYTES} bytes", f"{len(body)} bytes")
        try:
            with _alone(self._home), _open_to_add(self._path) as handle:
                end = self._sound_end(handle)
                said = Spooled(at_ms, encodable(kind), encodable(by), body, self._last, person)
                sealed = SUITE.encrypt(msgspec.msgpack.encode(said), self._public, info=INFO)
                frame = framed(sealed)
                try:
                    _written(handle, frame)
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, end)
                    raise
                self._read_to, self._last = end + len(frame), sha256(sealed).digest()
        except OSError as problem:
            expected = "room for what is recorded"
            raise ArtefactError(str(self._path), expected, why_not_opened(problem)) from problem
        return self._last.hex()

    def _sound_end(self, handle: int) -> int:
        """Where the next frame begins. An end that a power cut left unfinished is cut off."""
        size = os.fstat(handle).st_size
        if size != self._read_to:
            self._last = b""
            for piece in pieces(os.pread(handle, size, 0) if size < 1 << 30 else self._path.read_bytes()):
                if piece.torn:
                    size = piece.begin
                    os.ftruncate(handle, size)
                elif piece.sealed is not None:
                    self._last = piece.digest
        return size


def merge(home: Path, store: Store, key: StoreKey) -> Merged:
    """Moves what was recorded while locked into the store and empties the spool."""
    path = home / FILE
    if not path.exists():
        return Merged(0, 0)
    try:
        with _alone(home):
            merged = _merged(home, path.read_bytes(), store, key)
            path.unlink()
            sync_folder(home)
    except FileNotFoundError:
        return Merged(0, 0)  # another process was faster
    except OSError as problem:
        raise ArtefactError(str(path), "the spool", why_not_opened(problem)) from problem
    return merged


def arrived(store: Store, receipt: str) -> bool:
    """Whether the entry of that receipt was merged."""
    return store.recall(_name(receipt)) is not None


def _merged(home: Path, data: bytes, store: Store, key: StoreKey) -> Merged:
    private = hpke.MLKEM768X25519PrivateKey(*key.spool)
    entries = unreadable = misplaced = 0
    before: bytes | None = b""
    seen = set[bytes]()
    for piece in pieces(data):
        if piece.torn:
            continue
        name = _name(piece.digest.hex())
        known = store.recall(name)
        try:
            said = _said(piece, private)
        except (InvalidTag, ValueError, msgspec.MsgspecError) as problem:
            before = None  # what stood here is not known
            if known is None:
                unreadable += 1
                _set_aside(home, piece.data)
                why = msgspec.json.encode({"bytes": len(piece.data), "why": str(problem) or "does not open"})
                store.add_with(name, b"", [Entry("spool-unreadable", "box", why)])
            continue
        found = list[Entry]()
        if piece.digest in seen or (before is not None and said.after != before):
            misplaced += 1
            why = msgspec.json.encode({"frame": piece.digest.hex(), "why": "not where it was written"})
            found = [Entry("spool-misplaced", "box", why)]
        before = piece.digest
        seen.add(piece.digest)
        told = TOLD if found else b""
        if known is None:
            entries += 1
            body = {"recorded_ms": said.at_ms, "kind": said.kind, "body": said.body, "frame": before.hex()}
            patient = _admitted(store, said, before) if said.person else ""
            found.append(Entry(f"locked-{said.kind}", said.by, msgspec.json.encode(body), patient))
        if known is None or (found and known != TOLD):
            store.add_with(name, told, found)
    return Merged(entries, unreadable, misplaced)


def _admitted(store: Store, said: Spooled, frame: bytes) -> str:
    """The id under which the store has her. One who was erased meanwhile, or who is somebody else than the
    store's patient of that id, gets a new one: nobody who was signed in vouched for it.
    """
    person = said.person
    assert person is not None  # noqa: S101 - asked for where there is one
    named = person.named()
    other = sha256(msgspec.json.encode(named)).hexdigest()
    for id_ in (named.id, f"p-{other[:16]}", f"p-{frame.hex()[:16]}"):
        known = replace(named, id=id_)
        with suppress(InputError):
            there = store.person(id_)
            if contradiction(there, known) is None:
                store.tell_more(there, person, said.by)
                return id_
            continue
        with suppress(InputError):
            return store.admit(known, said.by).patient
    raise InputError("patient", "one that can be admitted", person.id)


def _said(piece: Piece, private: hpke.MLKEM768X25519PrivateKey) -> Spooled:
    if piece.sealed is None:
        raise ValueError("no sound frame")
    return msgspec.msgpack.decode(SUITE.decrypt(piece.sealed, private, info=INFO), type=Spooled)


def framed(sealed: bytes) -> bytes:
    start = MARK + len(sealed).to_bytes(4, "big")
    return start + sha256(start).digest()[:4] + sha256(sealed).digest() + sealed


def pieces(data: bytes) -> Iterator[Piece]:
    """All of a spool's bytes in order: sound frames, and whatever lies between them."""
    at = begin = 0
    while at >= 0:
        at = data.find(MARK, at)
        sealed = _frame_at(data, at) if at >= 0 else None
        if sealed is None:
            at += at >= 0
            continue
        if begin < at:
            yield Piece(begin, data[begin:at])
        begin = at + HEAD + len(sealed)
        yield Piece(at, data[at:begin], sealed)
        at = begin
    if begin < len(data):
        yield Piece(begin, data[begin:], torn=_is_torn(data[begin:]))


def _frame_at(data: bytes, at: int) -> bytes | None:
    length = _length(data[at : at + HEAD])
    if length is None or at + HEAD + length > len(data):
        return None
    sealed = data[at + HEAD : at + HEAD + length]
    return sealed if sha256(sealed).digest() == data[at + HEAD - 32 : at + HEAD] else None


def _length(head: bytes) -> int | None:
    start = head[: len(MARK) + 4]
    sound = len(head) == HEAD and sha256(start).digest()[:4] == head[len(start) : len(start) + 4]
    return int.from_bytes(start[-4:], "big") if sound else None


def _is_torn(end: bytes) -> bool:
    """Whether it is the beginning of a frame, as a power cut leaves it: nobody was told that it is there."""
    if len(end) < HEAD:
        return MARK.startswith(end[: len(MARK)])
    length = _length(end[:HEAD])
    return length is not None and len(end) < HEAD + length


def _name(digest: str) -> str:
    return f"spooled {digest}"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Nobody adds while the spool is merged: an entry that came in between would be lost with the file."""
    with (home / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _open_to_add(path: Path) -> Iterator[int]:
    new = not path.exists()
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if new:
            sync_folder(path.parent)
        yield handle
    finally:
        os.close(handle)


def _set_aside(home: Path, piece: bytes) -> None:
    with _open_to_add(home / BAD) as handle:
        _written(handle, len(piece).to_bytes(4, "big") + piece)
        os.fsync(handle)


def _written(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
