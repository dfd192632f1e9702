"""Where checkpoints are kept: `checkpoints.txt` beside the store, to hold it against and to carry away.

One is taken at each start, at each closing and every `EVERY` entries, and the store remembers the last one:
a store that was put back shows against the file, a file that was cut short against the store. Either way the
log says so and goes on; the clinic is not closed. Both put back together show against the TPM's counter,
where there is one (`audit_counter`), and against what lies elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.durable import sync_folder
from akazuba.errors import ArtefactError, InputError, UntrustedError, why_not_opened
from akazuba.governance.audit import Problem, Verdict, checkpoint, verify
from akazuba.governance.audit_counter import counted_further, next_count, settle
from akazuba.governance.checkpoint import MAX_NOTE_BYTES, Checkpoint, Verifier, read_checkpoint, read_note
from akazuba.merkle import Frontier
from akazuba.privacy.keys.identity import Identity, PublicIdentity
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.store import Entry, Store

FILE, KEYS = "checkpoints.txt", "keys.sqlite3"
LAST, ORIGIN = "last checkpoint", "origin of the log"
EVERY, WITHIN_S = 1_000, 3_600
"""So a file grows by at most 24 idle notes of 5 KB a day, and by one for each thousand entries."""

KEY_MOST_BYTES = 10_000
_LOOKED_AT = 3
"""The newest checkpoint may stand before one that came back cosigned, where a power cut came in between."""

UNFINISHED_MOST_BYTES = 100_000
"""What a power cut may leave of one note. More than that is something else, and stays to be looked at."""


class LogKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `log-key`, and a file that is given away: with which keys the log of that origin signs."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    ed25519: Annotated[bytes, Meta(min_length=32, max_length=32)]
    mldsa65: Annotated[bytes, Meta(min_length=1952, max_length=1952)]

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, PublicIdentity(self.ed25519, self.mldsa65))


def read_key(data: bytes, item: str) -> Verifier:
    """Raises InputError for what is no key file."""
    try:
        return msgspec.json.decode(data, type=LogKey).verifier
    except msgspec.MsgspecError as problem:
        raise InputError(item, "a key file, as `akazuba audit key` writes one", str(problem)) from problem


def key_file(verifier: Verifier) -> bytes:
    public = verifier.public
    return msgspec.json.encode(LogKey(verifier.name, public.ed25519, public.mldsa65)) + b"\n"


def log_keys(store: Store) -> list[Verifier]:
    """All that the log says it signed with, the newest last. An auditor holds his own copy of them."""
    found = []
    for entry in store.entries(kind="log-key"):
        try:
            found.append(msgspec.json.decode(entry.body or b"", type=LogKey).verifier)
        except (msgspec.MsgspecError, InputError) as problem:
            raise ArtefactError(f"entry {entry.index}", "a key of the log", str(problem)) from problem
    return list(dict.fromkeys(found))


def keep(
    home: Path, store: Store, now_s: Callable[[], int], every: int = 1, within_s: int | None = None
) -> str | None:
    """Takes a checkpoint when the log grew by `every` entries since the last one, or by one and the last is
    `within_s` old, else None. A program that stays open calls it once a minute, with EVERY and WITHIN_S.

    Raises ArtefactError when the disk refuses.
    """
    remembered = store.recall(LAST)
    last = _stand(remembered.decode()) if remembered else None
    tail = _tail(home)
    kept = tail[-1] if tail else None
    if last and kept == last and not _due(last, store.size, every, within_s, now_s):
        return None
    with closing(KeyStore(home / KEYS, now_s)) as keys:
        identity = keys.identity()
    name = _origin(store, identity)
    _tell_if_put_back(store, kept)
    counted = next_count(home, store, now_s())
    if remembered and last not in tail and (kept is None or (last and kept.size < last.size)):
        lacks = {"size": last.size if last else 0, "why": "the file of checkpoints lacked the last one"}
        store.add(Entry("anchors-lost", "box", msgspec.json.encode(lacks)))
        _append(home, remembered.decode())
    if not log_keys(store) or log_keys(store)[-1].public != identity.public:
        public = identity.public
        body = msgspec.json.encode(LogKey(name, public.ed25519, public.mldsa65))
        store.add(Entry("log-key", "box", body))
    note = checkpoint(store, identity, name, now_s(), [counted.line] if counted else [])
    _append(home, note)
    store.remember(LAST, note.encode())
    if counted:
        settle(home, store, counted)
    return note


def _due(last: Checkpoint, size: int, every: int, within_s: int | None, now_s: Callable[[], int]) -> bool:
    """A clock that went back makes it due too, once."""
    grown = size - last.size
    if not 0 <= grown < every or within_s is None:
        return not 0 <= grown < every
    return grown > 0 and not 0 <= now_s() - (last.stated("time") or 0) < within_s


def keep_cosigned(home: Path, store: Store, note: str) -> None:
    """note: a checkpoint of this log with the lines of witnesses. The last one stays the last of the file."""
    _append(home, note, last_note(store))


def verify_kept(
    home: Path,
    store: Store,
    verifiers: Sequence[Verifier] = (),
    witnesses: Sequence[Verifier] = (),
    elsewhere: Sequence[str] = (),
) -> Verdict:
    """Against the box's own checkpoints and those that were kept elsewhere. verifiers: the log's keys, from
    elsewhere; without them those that the log names.
    """
    remembered = store.recall(LAST)  # before the file, which a process that writes fills first
    kept = kept_notes(home)
    notes = list(dict.fromkeys([*kept, *elsewhere, *([remembered.decode()] if remembered else [])]))
    texts = {note.partition("\n\n")[0] for note in kept}
    judged = verify(store, notes, verifiers or log_keys(store), witnesses)
    if behind := counted_further(home, store):
        judged = replace(judged, problems=(*judged.problems, Problem(behind)))
    if remembered and remembered.decode().partition("\n\n")[0] not in texts:
        lost = Problem(f"{FILE} lacks the last checkpoint that the store remembers")
        return replace(judged, problems=(*judged.problems, lost))
    return judged


def last_note(store: Store) -> str:
    """The newest checkpoint. Raises InputError when there is none yet."""
    remembered = store.recall(LAST)
    if remembered is None:
        raise InputError("checkpoint", "one that was taken", "none: `akazuba audit checkpoint` takes one")
    return remembered.decode()


def kept_notes(home: Path) -> list[str]:
    """All of the file; [] when there is none. An end that a power cut left unfinished is none."""
    try:
        data = (home / FILE).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise ArtefactError(str(home / FILE), "a file of checkpoints", why_not_opened(problem)) from problem
    return notes_of(data)


def notes_of(data: bytes) -> list[str]:
    r"""The notes of a file in which an empty line ends each. What stands there that is no note comes too: it
    will not verify.

    >>> notes_of(b"box\n1\nAA==\n\n\xe2\x80\x94 box c2ln\n\nbox\n2\n")
    ['box\n1\nAA==\n\n— box c2ln\n']
    """
    notes = list[str]()
    text = None
    for block in data[: _sound_end(data)].decode("utf-8", "replace").split("\n\n")[:-1]:
        if block.startswith("— "):
            notes.append(f"{text or ''}\n\n{block}\n")
            text = None
        else:
            notes += [] if text is None else [text]
            text = block
    return notes


def _sound_end(data: bytes) -> int:
    """Where the last whole note ends. An end that a power cut left unfinished is none."""
    end = data.rfind(b"\n\n")
    while end >= 0:
        begin = data.rfind(b"\n\n", 0, end)
        if data[begin + 2 if begin >= 0 else 0 : end].startswith("— ".encode()):
            return end + 2
        end = begin
    return 0


def _tail(home: Path) -> list[Checkpoint]:
    """The last ones of the file, the newest last; [] when there is none, or they cannot be read."""
    try:
        with (home / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_NOTE_BYTES))
            notes = notes_of(file.read())
    except OSError:
        return []
    found = list[Checkpoint]()
    for note in notes[-_LOOKED_AT:]:
        try:
            found.append(_stand(note))
        except ArtefactError:
            found.clear()
    return found


def _stand(note: str) -> Checkpoint:
    try:
        return read_checkpoint(read_note(note).text)
    except UntrustedError as problem:
        raise ArtefactError("checkpoint", "the one that was kept last", str(problem)) from problem


def origin(store: Store) -> str:
    """The log's name, "" before the first checkpoint."""
    return (store.recall(ORIGIN) or b"").decode()


def _origin(store: Store, identity: Identity) -> str:
    """The log's name for good, whatever keys it signs with later."""
    if known := origin(store):
        return known
    name = f"akazuba-{identity.public.key_id[:16]}"
    store.remember(ORIGIN, name.encode())
    return name


def _tell_if_put_back(store: Store, kept: Checkpoint | None) -> None:
    """An old copy of the store in place of a later one: once for each checkpoint that it does not reach."""
    if kept is None or (kept.size <= store.size and Frontier.of(kept.size, store.node).root() == kept.root):
        return
    said = {"checkpoint": sha256(kept.text.encode()).hexdigest(), "size": str(kept.size)}
    body = msgspec.json.encode(said | {"why": "the store lacks entries that a checkpoint of it counts"})
    if body not in [entry.body for entry in store.entries(kind="log-put-back")]:
        store.add(Entry("log-put-back", "box", body))


def _append(home: Path, *notes: str) -> None:
    path = home / FILE
    more = "".join(f"{note}\n" for note in notes)
    try:
        new = not path.exists()
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - MAX_NOTE_BYTES)
            file.seek(begin)
            data = file.read()
            unfinished = len(data) - _sound_end(data)
            if unfinished < UNFINISHED_MOST_BYTES:
                file.truncate(begin + len(data) - unfinished)
            file.seek(0, os.SEEK_END)
            file.write((more if unfinished < UNFINISHED_MOST_BYTES else f"\n\n{more}").encode())
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(home)
    except OSError as problem:
        raise ArtefactError(str(path), "room for a checkpoint", why_not_opened(problem)) from problem
