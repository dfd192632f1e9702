"""What leaves the box so that somebody else can check it with the log's public key alone.

A proof: one entry's head, the hash of its stored bytes, the path to a root that the log signed (RFC 9162,
2.1.3). The whole log: every head and hash, and every checkpoint. Neither holds what an entry says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.governance.audit import Findings, Verdict, Walk, compared, read_anchors
from akazuba.governance.checkpoint import MAX_NOTE_BYTES, Verifier, opened, read_checkpoint, read_note
from akazuba.governance.witness import MAX_PROOF, Hash, cosignatures
from akazuba.merkle import MAX_SIZE, inclusion_proof, leaf_hash, verify_inclusion
from akazuba.storage.store import Head, Store, leaf_from

Index = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
LINE_BYTES = MAX_NOTE_BYTES * 2
MOST_MISSING = 1_000_000
"""In one file: whoever checks it holds a place for each."""

_EXPORTED = "akazuba log"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That an entry is in the log. stored: SHA-256 of its stored bytes, which are encrypted when it is about
    a patient. checkpoint: the signed note, whose size is that of `path`.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    index: Index
    at_ms: int
    kind: str
    by: str
    patient: str
    stored: Hash
    path: Annotated[tuple[Hash, ...], Meta(max_length=MAX_PROOF)]
    checkpoint: Annotated[str, Meta(max_length=MAX_NOTE_BYTES)]

    @property
    def head(self) -> Head:
        return self.index, self.at_ms, self.kind, self.by, self.patient


@dataclass(frozen=True)
class Proved:
    """head: what was proved to be in the log of that origin, when it had `size` entries. time_s: of the
    checkpoint, since 1970. witnesses: when each cosigned it.
    """

    head: Head
    stored: bytes
    origin: str
    size: int
    time_s: int | None
    witnesses: dict[str, int]


def prove(store: Store, index: int, note: str) -> Proof:
    """note: a checkpoint of the log that counts the entry. Raises InputError when it does not."""
    stand = read_checkpoint(read_note(note).text)
    if not 0 <= index < stand.size <= store.size:
        expected = f"an entry that the checkpoint counts, 0 to {min(stand.size, store.size) - 1}"
        raise InputError("index", expected, str(index))
    head, stored = next(store.heads(index))
    path = inclusion_proof(index, stand.size, store.node)
    return Proof(1, *head, stored, tuple(path), note)


def check(data: bytes, verifiers: Sequence[Verifier], witnesses: Sequence[Verifier] = ()) -> Proved:
    """Of a proof's JSON; nothing else is needed. verifiers: the log's keys, from its owner or a witness.

    Raises UntrustedError with what does not hold.
    """
    try:
        proof = msgspec.json.decode(data, type=Proof)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise UntrustedError("proof", "a proof of version 1", str(problem)) from problem
    stand, _ = opened(proof.checkpoint, verifiers)
    verify_inclusion(leaf_of(proof.head, proof.stored), proof.index, stand.size, proof.path, stand.root)
    cosigned = cosignatures(proof.checkpoint, witnesses)
    return Proved(proof.head, proof.stored, stand.origin, stand.size, stand.stated("time"), cosigned)


def leaf_of(head: Head, stored: bytes) -> bytes:
    """The leaf's hash. stored: SHA-256 of the stored bytes; from those themselves it is `storage.store.leaf`.

    RFC 9162, 2.1.1.
    """
    return leaf_hash(leaf_from(head, stored))


# --- the whole log ------------------------------------------------------------------------------------


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line of an exported log."""

    what: str
    version: Annotated[int, Meta(ge=1, le=1)]
    entries: Index


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of an exported log. stored: SHA-256 of the stored bytes, in hex; leaf: the tree's, in hex."""

    index: Index
    at_ms: int
    kind: str
    by: str
    patient: str
    stored: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    leaf: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Stood(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One checkpoint of an exported log, after all entries."""

    checkpoint: Annotated[str, Meta(max_length=MAX_NOTE_BYTES)]


def exported(store: Store, notes: Sequence[str]) -> Iterator[bytes]:
    """The log as lines of JSON, without what the entries say. notes: its checkpoints."""
    size = store.size
    yield msgspec.json.encode(Opening(_EXPORTED, 1, size)) + b"\n"
    for head, stored in store.heads():
        if head[0] >= size:
            break
        yield msgspec.json.encode(Line(*head, stored.hex(), store.node(0, head[0]).hex())) + b"\n"
    for note in notes:
        yield msgspec.json.encode(Stood(note)) + b"\n"


def is_exported_log(start: bytes) -> bool:
    """Whether a file that begins so is one, rather than a proof."""
    return start.startswith(b'{"what":"%b"' % _EXPORTED.encode())


def check_exported(
    lines: Iterable[bytes], verifiers: Sequence[Verifier], witnesses: Sequence[Verifier] = ()
) -> Verdict:
    """As `verify` does it at the box, from the file alone; pages and bodies are not in it.

    Raises UntrustedError for a line that is none of such a log.
    """
    found, notes = Findings(), list[str]()
    numbered = enumerate(lines, 1)
    said = _decoded(1, next(numbered, (1, b""))[1], Opening)
    entries = _Entries(found)
    for number, line in numbered:
        if line.startswith(b'{"checkpoint"'):
            notes.append(_decoded(number, line, Stood).checkpoint)
        else:
            entries.add(_decoded(number, line, Line))
    if entries.count != said.entries:
        found.add(f"the file says {said.entries} entries and has {entries.count}")
    known = read_anchors(notes, verifiers, witnesses, found)
    walk = Walk({anchor.size for anchor, _ in known}, found)
    for leaf, stored in entries.leaves:
        walk.step(leaf, stored)
    held = compared(known, walk, found)
    return Verdict(walk.log.size, walk.log.root(), tuple(found.first), found.more, held)


class _Entries:
    """leaves: hashed anew, and as the line has it."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self.count = self._missing = 0
        self.leaves = list[tuple[bytes | None, bytes | None]]()

    def add(self, line: Line) -> None:
        self.count += 1
        if line.index < len(self.leaves):
            self._found.add("stands there twice, or out of order", line.index)
            return
        self._missing += line.index - len(self.leaves)
        if self._missing > MOST_MISSING:
            raise UntrustedError("exported log", f"entry {len(self.leaves)}", f"entry {line.index}")
        self.leaves += [(None, None)] * (line.index - len(self.leaves))
        head = (line.index, line.at_ms, line.kind, line.by, line.patient)
        self.leaves.append((leaf_of(head, bytes.fromhex(line.stored)), bytes.fromhex(line.leaf)))


Shape = TypeVar("Shape", Opening, Line, Stood)


def _decoded(number: int, line: bytes, type_: type[Shape]) -> Shape:
    try:
        if len(line) > LINE_BYTES:
            raise UntrustedError(f"line {number}", f"at most {LINE_BYTES} bytes", f"{len(line)} bytes")
        return msgspec.json.decode(line, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise UntrustedError(f"line {number}", "one of an exported log", str(problem)) from problem
