"""Cosigning over a network, in the form of C2SP tlog-witness (`add-checkpoint`): both ends, and no socket.

A log asks a witness for its cosignature and proves that it only grew since the witness last looked. Nobody is
let in by a password: the log's signature under the checkpoint is what the witness believes, its cosignature
what the log believes, whatever the network does.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from akazuba.errors import InputError, UntrustedError
from akazuba.governance.audit_anchors import last_note, origin
from akazuba.governance.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Verifier,
    opened,
    read_checkpoint,
    read_note,
)
from akazuba.governance.cosigning import known_logs, known_signatures, own_witness, take_back, witnessed
from akazuba.governance.witness import Witness
from akazuba.merkle import HASH_BYTES, consistency_proof
from akazuba.storage.store import Store

ROUTE = "/add-checkpoint"
SIZE_TYPE, TEXT_TYPE = "text/x.tlog.size", "text/plain; charset=utf-8"
MAX_PROOF = 63
MAX_BODY_BYTES = MAX_NOTE_BYTES + 64 * (MAX_PROOF + 1)
MAX_ANSWER_BYTES = 100_000
BOX = "box"
"""Who cosigned, in the witness's log: nobody was asked."""

CLOCK = "clock of the witness"
"""The item of the error by which `Witness.cosign` refuses to sign with a clock that went back."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")

Post = Callable[[bytes], tuple[int, bytes]]
"""Sends a body to the witness's `add-checkpoint`: status and body of the answer."""


class Answered(NamedTuple):
    """status, body, media_type: of the HTTP answer."""

    status: int
    body: bytes
    media_type: str = TEXT_TYPE


def asked(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of a request. old: the size at which the proof begins."""
    hashes = "".join(f"{b64encode(hash_).decode()}\n" for hash_ in proof)
    return f"old {old}\n{hashes}\n{note}".encode()


def read_asked(body: bytes) -> tuple[int, list[bytes], str]:
    """The size, the proof and the note of a request. Raises UntrustedError for another form."""
    if len(body) > MAX_BODY_BYTES:
        raise UntrustedError("request", f"at most {MAX_BODY_BYTES} bytes", f"{len(body)} bytes")
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as problem:
        raise UntrustedError("request", "UTF-8", str(problem)) from problem
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if old is None or not blank:
        raise UntrustedError("request", "`old SIZE`, hashes, an empty line, a checkpoint", repr(first[:40]))
    if len(lines) > MAX_PROOF:
        raise UntrustedError("request", f"at most {MAX_PROOF} hashes", str(len(lines)))
    return int(old[1]), [_hash(line) for line in lines], note


# --- at the witness ------------------------------------------------------------------------------------


def witness_answer(home: Path, store: Store, body: bytes, now_s: Callable[[], int]) -> Answered:
    """Cosigns a checkpoint of a log that this box knows (`learn_log`), by the rules of tlog-witness.

    store: open to write; while it is locked, answer 503. Raises ArtefactError when the disk refuses.
    """
    try:
        old, proof, note = read_asked(body)
        stand = read_checkpoint(read_note(note).text)
    except UntrustedError as problem:
        return _refused(400, problem)
    keys = known_logs(store).get(stand.origin, [])
    if not keys or stand.origin == origin(store):
        expected = "a log that this witness knows"
        return _refused(404, UntrustedError("checkpoint", expected, repr(stand.origin[:80])))
    try:
        opened(note, keys)
    except UntrustedError as problem:
        return _refused(403, problem)
    if old > stand.size:
        return _refused(400, UntrustedError("request, old size", f"at most {stand.size}", str(old)))
    with closing(own_witness(home, store, now_s)) as witness:
        return _cosigned(store, witness, stand, known_signatures(note, keys), old, proof)


def _cosigned(
    store: Store, witness: Witness, stand: Checkpoint, note: str, old: int, proof: Sequence[bytes]
) -> Answered:
    seen = witness.size(stand.origin)
    if old != seen:
        return Answered(409, b"%d\n" % seen, SIZE_TYPE)
    try:
        lines = witnessed(store, BOX, witness, note, proof).removeprefix(note)
    except (UntrustedError, InputError) as problem:
        if problem.item == CLOCK:
            return _refused(503, problem)
        if stand.size == old:
            return Answered(409, b"%d\n" % seen, SIZE_TYPE)  # the same size under another root
        return _refused(422, problem)
    return Answered(200, lines.encode())


def _refused(status: int, problem: Exception) -> Answered:
    return Answered(status, f"{problem}\n".encode())


# --- at the log that is cosigned -------------------------------------------------------------------------


def ask_witness(
    home: Path, store: Store, by: str, witnesses: Sequence[Verifier], post: Post
) -> tuple[Checkpoint, list[str]]:
    """Has the last checkpoint cosigned, and keeps it as `take_back` does. witnesses: who may answer.

    The proof begins where the witness stood last, as this log knows it; one that stands elsewhere says where.
    Raises InputError for a witness that does not know this log or is locked, UntrustedError for one that has
    seen more of this log than there is, and for an answer that does not hold.
    """
    note = last_note(store)
    stand = read_checkpoint(read_note(note).text)
    status, answer = _sent(store, note, stand, _size_cosigned(store, witnesses), post)
    if status == 409:
        seen = _seen(answer)
        if seen > stand.size:
            expected = f"a witness that saw at most the {stand.size} entries that there are"
            raise UntrustedError("log", expected, f"one that cosigned {seen}: this store is an older one")
        status, answer = _sent(store, note, stand, seen, post)
    if status == 409:
        expected = "the history that the witness cosigned"
        raise UntrustedError("log", expected, f"another one of {_seen(answer)} entries")
    if status != 200:
        said = answer[:300].decode("utf-8", "replace").strip() or "nothing more"
        kind = UntrustedError if status == 422 else InputError
        raise kind("witness", "a cosignature", f"{_WHY.get(status, 'another answer')} ({status}: {said})")
    try:
        lines = answer.decode()
    except UnicodeDecodeError as problem:
        raise UntrustedError("cosignature", "UTF-8", str(problem)) from problem
    return take_back(home, store, by, note + lines, witnesses)


_WHY = {
    400: "it does not understand the request",
    403: "it knows this log under another key",
    404: "it does not know this log: there, `akazuba audit witness --key` with what `audit key` wrote here",
    422: "the proof does not hold for it",
    429: "too many requests: later",
    503: "it is locked, or its clock went back: later",
}


def _sent(store: Store, note: str, stand: Checkpoint, old: int, post: Post) -> tuple[int, bytes]:
    old = old if old <= stand.size else 0
    proof = consistency_proof(old, stand.size, store.node) if old else []
    status, answer = post(asked(old, proof, note))
    if len(answer) > MAX_ANSWER_BYTES:
        raise UntrustedError("witness", f"an answer of at most {MAX_ANSWER_BYTES} bytes", "a longer one")
    return status, answer


class _Told(msgspec.Struct, frozen=True):
    """Body of `cosigned`, as far as it is read here."""

    size: int = 0
    witnesses: dict[str, int] = {}


def _size_cosigned(store: Store, witnesses: Sequence[Verifier]) -> int:
    """The largest size that one of them cosigned, as this log remembers; 0 for none."""
    names = {witness.name for witness in witnesses}
    found = [msgspec.json.decode(entry.body or b"{}", type=_Told) for entry in store.entries(kind="cosigned")]
    return max((told.size for told in found if names & told.witnesses.keys()), default=0)


def _seen(answer: bytes) -> int:
    size = _SIZE.fullmatch(answer)
    if size is None:
        raise UntrustedError("witness", "the size that it saw", repr(answer[:40]))
    return int(size[1])


def _hash(line: str) -> bytes:
    try:
        hash_ = b64decode(line, validate=True)
    except (Base64Error, ValueError) as problem:
        raise UntrustedError("request, proof", "base64", repr(line[:60])) from problem
    if len(hash_) != HASH_BYTES or b64encode(hash_).decode() != line:
        raise UntrustedError("request, proof", f"{HASH_BYTES} bytes as base64", repr(line[:60]))
    return hash_
