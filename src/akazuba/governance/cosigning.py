"""How a checkpoint goes to a witness and comes back: by stick, by QR codes, or by `cosigning_net`.

The witness's own log says which logs it knows, what it cosigned and what it refused; the log that was
cosigned says by whom. A cosigned note is kept beside the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.audit_anchors import KEYS, LogKey, keep_cosigned, kept_notes, log_keys, origin
from akazuba.governance.checkpoint import (
    LOG_TYPES,
    MAX_NOTE_BYTES,
    WITNESS_TYPES,
    Checkpoint,
    Verifier,
    opened,
    read_checkpoint,
    read_note,
)
from akazuba.governance.witness import MAX_PROOF, Witness, cosignatures, from_qr_lines
from akazuba.merkle import HASH_BYTES, Frontier
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.backup import Statement
from akazuba.storage.store import Entry, Store

KNOWN = "log-known"
FILE = "witness.sqlite3"
"""Of the witness's home: how far it has seen which log."""

_HASH = re.compile(f"[0-9a-f]{{{2 * HASH_BYTES}}}")


class _Carried(msgspec.Struct, frozen=True):
    """As `audit checkpoint --json` writes it. proof: in hex."""

    note: Annotated[str, Meta(max_length=MAX_NOTE_BYTES)]
    proof: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")], ...], Meta(max_length=MAX_PROOF)
    ] = ()


def carried(data: bytes) -> tuple[str, list[bytes]]:
    """A note and a consistency proof, as JSON, as lines of QR codes, or plain: the note, then a hash a line.

    Raises UntrustedError for what is none of them; the note's own form is not looked at.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise UntrustedError("checkpoint", "UTF-8", str(problem)) from problem
    if text.startswith("AKAZUBA1:"):
        return from_qr_lines(text.splitlines())
    if text.startswith("{"):
        try:
            said = msgspec.json.decode(data, type=_Carried)
        except (msgspec.MsgspecError, RecursionError) as problem:
            raise UntrustedError("checkpoint", "a note and a proof as JSON", str(problem)) from problem
        return said.note, [bytes.fromhex(hash_) for hash_ in said.proof]
    lines = text.splitlines(keepends=True)
    proof = list[bytes]()
    while lines and _HASH.fullmatch(lines[-1].rstrip("\r\n")) and len(proof) < MAX_PROOF:
        proof.append(bytes.fromhex(lines.pop().rstrip("\r\n")))
    return "".join(lines), proof[::-1]


# --- at the witness ------------------------------------------------------------------------------------


def known_logs(store: Store) -> dict[str, list[Verifier]]:
    """The logs that this box cosigns, by their origins; more than one key after an exchange."""
    found = dict[str, list[Verifier]]()
    for entry in store.entries(kind=KNOWN):
        try:
            key = msgspec.json.decode(entry.body or b"", type=LogKey).verifier
        except (msgspec.MsgspecError, InputError) as problem:
            raise ArtefactError(f"entry {entry.index}", "a key of another log", str(problem)) from problem
        found.setdefault(key.name, []).append(key)
    return found


def learn_log(store: Store, by: str, key: Verifier) -> None:
    """From now on this box cosigns that log. Raises InputError for its own: no box is its own witness."""
    if key.name == origin(store) or key.public in [own.public for own in log_keys(store)]:
        raise InputError("key", "another log's", "this box's own")
    if key not in known_logs(store).get(key.name, []):
        body = LogKey(key.name, key.public.ed25519, key.public.mldsa65)
        store.add(Entry(KNOWN, by, msgspec.json.encode(body)))


def own_witness(home: Path, store: Store, now_s: Callable[[], int]) -> Witness:
    """A witness of the logs that this box knows, under the name and keys of its own log: `audit key` gives
    them to whoever shall believe it. The caller closes it.
    """
    with closing(KeyStore(home / KEYS, now_s)) as kept:
        identity = kept.identity()
    own = origin(store)
    known = {name: [key.public for key in keys] for name, keys in known_logs(store).items() if name != own}
    return Witness(home / FILE, identity, own, now_s, lambda name: known.get(name, []))


def witnessed(store: Store, by: str, witness: Witness, note: str, proof: Sequence[bytes]) -> str:
    """The note with the witness's lines. What was cosigned or refused stands in the witness's own log.

    Raises InputError for a proof that begins at another size than the witness last saw, UntrustedError like
    `Witness.cosign`.
    """
    name = note.partition("\n")[0]
    seen = witness.size(name)
    told = {"log": name[:200], "note": sha256(note.encode("utf-8", "replace")).hexdigest(), "seen": str(seen)}
    try:
        lines = witness.cosign(note, proof)
    except UntrustedError as problem:
        lied = witness.misbehaviour(name) is not None
        kind = "log-lied" if lied else "witness-refused"
        _tell(store, kind, by, told | {"why": str(problem)[:500]})
        if seen and not proof and not lied and _size(note) > seen:
            expected = f"a proof from {seen} entries on: `akazuba audit checkpoint --since {seen}`"
            raise InputError("checkpoint", expected, f"none ({problem.found})") from problem
        raise
    _tell(store, "witnessed", by, told)
    return note + lines


def _tell(store: Store, kind: str, by: str, told: dict[str, str]) -> None:
    """Once for the same thing in a row: whoever sends a note again and again fills no log."""
    body, last = msgspec.json.encode(told), store.last(kind)
    if last is None or last.body != body:
        store.add(Entry(kind, by, body))


def _size(note: str) -> int:
    """Of a note that need not hold; 0 for what is none."""
    try:
        return read_checkpoint(read_note(note).text).size
    except UntrustedError:
        return 0


# --- at the log that was cosigned ------------------------------------------------------------------------


def take_back(
    home: Path, store: Store, by: str, text: str, witnesses: Sequence[Verifier]
) -> tuple[Checkpoint, list[str]]:
    """Keeps a cosigned note of this log. text: the note with its cosignatures, or those lines alone.

    Raises UntrustedError for what the log did not sign, what it does not continue, and without a cosignature
    of one of the witnesses.
    """
    note = _with_note(home, text, witnesses) if text.startswith("— ") else text
    own = log_keys(store)
    if {key.public for key in own} & {key.public for key in witnesses}:
        raise InputError("witnesses", "other keys than the log's", "the log's key")
    stand = _state_of(store, note, own)
    held = cosignatures(note, witnesses)
    if not held:
        names = ", ".join(witness.name for witness in witnesses)
        raise UntrustedError("checkpoint", f"a cosignature of {names}", "none")
    keep_cosigned(home, store, known_signatures(note, [*own, *witnesses]))
    told = {"size": stand.size, "witnesses": held}
    store.add(Entry("cosigned", by, msgspec.json.encode(told)))
    return stand, sorted(held)


def _with_note(home: Path, lines: str, witnesses: Sequence[Verifier]) -> str:
    """The kept note that the lines belong to, with them. Raises UntrustedError."""
    for note in reversed(kept_notes(home)):
        try:
            if cosignatures(note + lines, witnesses):
                return note + lines
        except UntrustedError:
            continue
    raise UntrustedError("cosignature", "one of a checkpoint that is kept here", "none that holds")


def vouch(store: Store, said: Statement, keys: Sequence[Verifier] = ()) -> None:
    """The signed checkpoint that a copy came with has to hold for it. store: the copy.

    keys: the log's, from elsewhere; without them those that the copy names. Raises UntrustedError when it
    does not hold, and with keys for a copy without one.
    """
    if not said.note:
        if keys:
            raise UntrustedError("backup", f"a checkpoint signed by {keys[0].name}", "none")
        return
    _state_of(store, said.note, keys or log_keys(store))


def _state_of(store: Store, note: str, keys: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of a note, which the log signed and which the store holds. Raises UntrustedError."""
    stand, _ = opened(note, keys)
    if stand.size > store.size or Frontier.of(stand.size, store.node).root() != stand.root:
        expected = f"a state of this log, which has {store.size} entries"
        raise UntrustedError("checkpoint", expected, f"another one of {stand.size}")
    return stand


def known_signatures(note: str, known: Sequence[Verifier]) -> str:
    """The note without signatures of strangers, which would fill the file."""
    text, _, lines = note.rpartition("\n\n")
    keys = [key for verifier in known for types in (LOG_TYPES, WITNESS_TYPES) for key in verifier.keys(types)]
    ids = {(key.name, key.id) for key in keys}
    signed = zip(lines.splitlines(keepends=True), read_note(note).signatures, strict=True)
    kept = dict.fromkeys(line for line, (name, id_, _) in signed if (name, id_) in ids)
    return f"{text}\n\n{''.join(kept)}"
