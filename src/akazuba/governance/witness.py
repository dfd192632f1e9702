"""Witnesses: another box or the server confirms that a log only grew since it last looked.

A cosignature (C2SP tlog-cosignature, answered as in tlog-witness) says: at this time this was the largest
state of the log that I know, and it continues every one before. Two views of one log cannot both get enough
of them, and whoever holds two that exclude each other can prove it. All of it travels as text, so a QR code
or a USB stick carries it where no network does.
"""

from __future__ import annotations

import math
import re
import sqlite3
import zlib
from base64 import b32decode, b32encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.durable import open_durable, writing
from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_TIME,
    WITNESS_TYPES,
    Checkpoint,
    Verifier,
    opened,
    read_checkpoint,
    read_note,
    signature_lines,
    verified,
)
from akazuba.merkle import EMPTY_ROOT, HASH_BYTES, prefix_roots, verify_consistency
from akazuba.privacy.keys.identity import Identity, PublicIdentity

MAX_PROOF = 64
"""A consistency proof has at most 63 hashes (tlog-witness, "add-checkpoint"); `prefix_proof` adds one."""

QR_CHARACTERS = 1_200
"""A code of version 23 holds 1,248 in alphanumeric mode at correction level M (ISO/IEC 18004, table 7)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    origin TEXT PRIMARY KEY, note TEXT NOT NULL, given TEXT NOT NULL, time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS misbehaviour (origin TEXT PRIMARY KEY, proof BLOB NOT NULL) WITHOUT ROWID;
"""

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class Misbehaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two notes of one log that exclude each other. Whoever has the log's keys checks it with `split_view`.

    proof: for two sizes, what the root at the smaller one is in the larger tree (`merkle.prefix_proof`).
    """

    first: str
    second: str
    proof: Annotated[tuple[Hash, ...], Meta(max_length=MAX_PROOF)] = ()


class Witness:
    """path: its file, made with mode 0600. now: seconds since 1970.

    logs: the keys of a log by its origin, none for one that it does not know; who is enrolled and who is
    revoked is the registry's to say. The first checkpoint of a log is taken as it comes.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        name: str,
        now: Callable[[], int],
        logs: Callable[[str], Sequence[PublicIdentity]],
    ) -> None:
        self._path, self._identity, self._now, self._logs = path, identity, now, logs
        self.verifier = Verifier(name, identity.public)
        self._file = open_durable(path, _SCHEMA, "the file of a witness")

    def close(self) -> None:
        self._file.close()

    def cosign(self, note: str | bytes, proof: Sequence[bytes] = ()) -> str:
        """The two lines to put after the note. proof: consistency with the last checkpoint that was cosigned.

        The state is on the disk before they are given; the same note gets the same lines. Raises
        UntrustedError for a log that it does not know, a note that does not hold, a smaller log, one that was
        rewritten (see `misbehaviour`), and when the witness's own clock went back.
        """
        origin, _, _ = read_note(note).text.partition("\n")
        keys = [Verifier(origin, public) for public in self._logs(origin)]
        if not keys:
            raise UntrustedError("checkpoint", "a log that this witness knows", repr(origin[:80]))
        checkpoint, _ = opened(note, keys)
        text = note if isinstance(note, str) else note.decode()
        try:
            try:
                with writing(self._file) as file:
                    return self._cosigned(file, checkpoint, text, proof)
            except UntrustedError:
                self._keep_proof(origin, text, keys, proof)
                raise
        except sqlite3.Error as problem:
            raise ArtefactError(
                str(self._path), "a witness's file that can be written", str(problem)
            ) from problem

    def size(self, origin: str) -> int:
        """How far it has seen the log: a proof has to start there. 0 for one that it never saw."""
        last = self._last(origin)
        return last[0].size if last else 0

    def misbehaviour(self, origin: str) -> Misbehaviour | None:
        """What it caught the log at first: one proof is enough, and a log that lies could make many."""
        row = self._file.execute("SELECT proof FROM misbehaviour WHERE origin = ?", (origin,)).fetchone()
        return msgspec.json.decode(row[0], type=Misbehaviour) if row else None

    def _cosigned(
        self, file: sqlite3.Connection, checkpoint: Checkpoint, text: str, proof: Sequence[bytes]
    ) -> str:
        origin = checkpoint.origin
        last = self._last(origin)
        if last and read_note(last[1]).text == checkpoint.text:
            return last[2]
        if last and checkpoint.size < last[0].size:
            raise UntrustedError(f"log {origin}", f"a size of {last[0].size} or more", str(checkpoint.size))
        size, root = (last[0].size, last[0].root) if last else (0, EMPTY_ROOT)
        verify_consistency(size, root, checkpoint.size, checkpoint.root, proof)
        now = self._now()
        latest = file.execute("SELECT coalesce(max(time), 0) FROM seen").fetchone()[0]
        if not latest <= now <= MAX_TIME:
            expected = f"a time from the last cosignature ({latest}) on"
            raise UntrustedError("clock of the witness", expected, str(now))
        lines = signature_lines(checkpoint.text, self._identity, self.verifier.name, now)
        file.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (origin, text, lines, now))
        return lines

    def _last(self, origin: str) -> tuple[Checkpoint, str, str] | None:
        """The last checkpoint that it cosigned, its note, and the lines that it gave."""
        row = self._file.execute("SELECT note, given FROM seen WHERE origin = ?", (origin,)).fetchone()
        if row is None:
            return None
        try:
            return read_checkpoint(read_note(row[0]).text), row[0], row[1]
        except UntrustedError as problem:
            raise ArtefactError(str(self._path), "the note that was cosigned last", str(problem)) from problem

    def _keep_proof(self, origin: str, text: str, keys: Sequence[Verifier], proof: Sequence[bytes]) -> None:
        """Where what was refused proves that the log lied, everybody will want to see it."""
        last = self._last(origin)
        try:
            caught = split_view(last[1], text, keys, proof) if last else None
        except UntrustedError:
            return
        if caught is not None:
            with writing(self._file) as file:
                row = (origin, msgspec.json.encode(caught))
                file.execute("INSERT OR IGNORE INTO misbehaviour VALUES (?, ?)", row)


def cosignatures(note: str | bytes, witnesses: Sequence[Verifier]) -> dict[str, int]:
    """Which witnesses cosigned with both keys, and the latest time (seconds since 1970) of each name.

    Raises UntrustedError for a cosignature of one of them that does not hold, InputError when one key stands
    under two names: it would count twice.
    """
    if len({witness.public for witness in witnesses}) < len(witnesses):
        raise InputError("witnesses", "a key of its own for each", "the same key twice")
    pairs = [witness.keys(WITNESS_TYPES) for witness in witnesses]
    held = set(verified(read_note(note), [key for pair in pairs for key in pair]))
    latest = dict[str, int]()
    for old, new in pairs:
        for key, at in held:
            if key == old and (new, at) in held:
                latest[old.name] = max(at, latest.get(old.name, 0))
    return latest


def cosigned(
    note: str | bytes, log: Sequence[Verifier], witnesses: Sequence[Verifier], needed: int
) -> Checkpoint:
    """What the log says, once `needed` of the witnesses or more confirm it. log: the log's keys.

    Raises UntrustedError otherwise, InputError for a demand without sense (a log is not its own witness).
    """
    names = {witness.name for witness in witnesses}
    if not 1 <= needed <= len(names):
        raise InputError("witnesses needed", f"from 1 to {len(names)}", str(needed))
    if {key.public for key in log} & {witness.public for witness in witnesses}:
        raise InputError("witnesses", "other keys than the log's", "the log's key")
    checkpoint, _ = opened(note, log)
    found = cosignatures(note, witnesses)
    if len(found) < needed:
        who = f" ({', '.join(found)})" if found else ""
        raise UntrustedError("checkpoint", f"cosignatures of {needed} witnesses", f"{len(found)}{who}")
    return checkpoint


def split_view(
    first: str, second: str, log: Sequence[Verifier], proof: Sequence[bytes] = ()
) -> Misbehaviour | None:
    """The proof that the log showed two histories; None where the two notes and the proof show no such thing.

    One size with two roots needs no more than the notes. For two sizes, the proof must lead to the larger
    one's root; then the root that it gives at the smaller size is that of the larger tree, and if the log
    signed another one, it lied. A proof that leads nowhere shows nothing: its carrier may have bent it.
    Raises UntrustedError when a note is not the log's, or they are of two logs.
    """
    notes = sorted(((opened(note, log)[0], note) for note in (first, second)), key=lambda pair: pair[0].size)
    (old, old_note), (new, new_note) = notes
    if old.origin != new.origin:
        raise UntrustedError("two checkpoints", f"both of {old.origin}", new.origin)
    if old.size == new.size:
        return Misbehaviour(first, second) if old.root != new.root else None
    try:
        shown_old, shown_new = prefix_roots(old.size, new.size, proof)
    except UntrustedError:
        return None
    if shown_new != new.root or shown_old == old.root:
        return None
    return Misbehaviour(old_note, new_note, tuple(proof))


class _Carried(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    text: str
    proof: Annotated[tuple[Hash, ...], Meta(max_length=MAX_PROOF)]


_QR_LINE = re.compile(
    r"AKAZUBA1:([1-9][0-9]{0,2}):([1-9][0-9]{0,2}):([0-9A-F]{16}):([A-Z2-7]{1,4000}):([0-9A-F]{8})"
)


def as_lines_for_qr(text: str, proof: Sequence[bytes] = (), characters: int = QR_CHARACTERS) -> list[str]:
    """A note (or lines of a witness) and a proof in parts, each for one QR code in alphanumeric mode.

    Each line: its number, how many there are, the whole's hash, Base32 of packed bytes, the line's hash.
    """
    packed = zlib.compress(msgspec.msgpack.encode(_Carried(text, tuple(proof))), 9)
    data, whole = b32encode(packed).decode().rstrip("="), sha256(packed).hexdigest()[:16].upper()
    room = characters - len(f"AKAZUBA1:999:999:{whole}::") - 8
    if room < 1 or not 1 <= (parts := math.ceil(len(data) / room)) <= 999:
        raise InputError("text for QR codes", "room in at most 999 codes", f"{len(data)} characters in all")
    lines = (
        f"AKAZUBA1:{part + 1}:{parts}:{whole}:{data[part * room : (part + 1) * room]}"
        for part in range(parts)
    )
    return [f"{line}:{_check(line)}" for line in lines]


def from_qr_lines(lines: Sequence[str]) -> tuple[str, list[bytes]]:
    """The text and the proof, from the parts in any order; the same part again does no harm.

    Raises UntrustedError with the parts that are missing or bent, or when they are of two texts.
    """
    good, bent, wholes = dict[int, str](), list[str](), set[tuple[int, str]]()
    for place, line in enumerate(lines, 1):
        read = _QR_LINE.fullmatch(line.strip())
        if read is None or read[5] != _check(line.strip()[:-9]):
            named = re.match(r"AKAZUBA1:([0-9]{1,3}):", line.strip())
            bent.append(f"part {named[1]}" if named else f"line {place}")
        else:
            good[int(read[1])] = read[4]
            wholes.add((int(read[2]), read[3]))
    if len(wholes) > 1:
        raise UntrustedError("QR codes", "the parts of one text", f"parts of {len(wholes)}")
    parts, whole = wholes.pop() if wholes else (0, "")
    missing = [f"part {part}" for part in range(1, parts + 1) if part not in good]
    if missing or not good:
        found = "; ".join(
            f"{', '.join(which)} {what}" for which, what in ((missing, "missing"), (bent, "bent")) if which
        )
        raise UntrustedError("QR codes", f"all {parts} parts" if parts else "parts", found or "none")
    data = "".join(good[part] for part in sorted(good))
    try:
        packed = b32decode(data + "=" * (-len(data) % 8))
        if sha256(packed).hexdigest()[:16].upper() != whole:
            raise UntrustedError("QR codes", f"the text {whole}", "another one")
        carried = msgspec.msgpack.decode(_unpacked(packed), type=_Carried)
    except (ValueError, zlib.error, msgspec.MsgspecError) as problem:
        raise UntrustedError("QR codes", "a packed text and proof", str(problem)) from problem
    return carried.text, list(carried.proof)


def _check(line: str) -> str:
    return sha256(line.encode()).hexdigest()[:8].upper()


def _unpacked(packed: bytes) -> bytes:
    """No more than a note can be, however small a bomb comes in."""
    unpack = zlib.decompressobj()
    data = unpack.decompress(packed, MAX_NOTE_BYTES + MAX_PROOF * 64)
    if unpack.unconsumed_tail or not unpack.eof or unpack.unused_data:
        raise UntrustedError(
            "QR codes", f"a text of at most {MAX_NOTE_BYTES} bytes", "more, or a part of one"
        )
    return data
