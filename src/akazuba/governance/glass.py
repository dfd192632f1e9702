"""Broken glass: every one is shown to the supervisors until one of them has looked into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.governance.audit_reads import record_reads
from akazuba.governance.users import acting, refused
from akazuba.storage.store import Entry, Recorded, Store

_LONGEST_NOTE = 2000
Read = TypeVar("Read")


@dataclass(frozen=True)
class Broken:
    """index: in the log. at_ms: since 1970, by the box's clock. reason: None once the patient is erased."""

    index: int
    at_ms: int
    by: str
    patient: str
    action: str
    reason: str | None


class _Told(msgspec.Struct, frozen=True):
    action: str
    reason: str


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `break-glass-seen`."""

    index: int
    note: str


def unacknowledged_break_glass(store: Store) -> list[Broken]:
    """The oldest first. Whoever shows them to somebody takes `shown_break_glass`. Raises ArtefactError."""
    seen = {_decoded(entry, _Seen).index for entry in store.entries(kind="break-glass-seen")}
    return [_broken(entry) for entry in store.entries(kind="break-glass") if entry.index not in seen]


def shown_break_glass(store: Store, by: str) -> list[Broken]:
    """As a supervisor may see them: that she reads of these patients is recorded first. Raises InputError."""
    acting(store, by, "acknowledge-glass")
    waiting = unacknowledged_break_glass(store)
    there = [broken for broken in waiting if broken.reason is not None]
    entries = ", ".join(str(broken.index) for broken in there)
    patients = [broken.patient for broken in there]
    record_reads(store, patients, by, "broken glass looked into", f"entries {entries}")
    return waiting


def acknowledge(store: Store, by: str, index: int, note: str) -> Recorded:
    """A supervisor has looked into it; not whoever broke it. note: what came of it. Raises InputError."""
    acting(store, by, "acknowledge-glass")
    found = [broken for broken in unacknowledged_break_glass(store) if broken.index == index]
    if not found:
        raise InputError("glass", "the index of one that nobody has acknowledged", str(index))
    if found[0].by == by:
        refused(store, by, "acknowledge-glass", "one's own", found[0].patient)
        raise InputError("glass", "another one than one's own", str(index))
    if not note.strip() or len(note) > _LONGEST_NOTE:
        raise InputError("note", f"1 to {_LONGEST_NOTE} characters", f"{len(note.strip())}")
    body = msgspec.json.encode(_Seen(index, encodable(note.strip())))
    return store.add(Entry("break-glass-seen", by, body))[0]


def _broken(entry: Recorded) -> Broken:
    if entry.body is None:
        return Broken(entry.index, entry.at_ms, entry.by, entry.patient, "erased", None)
    told = _decoded(entry, _Told)
    return Broken(entry.index, entry.at_ms, entry.by, entry.patient, told.action, told.reason)


def _decoded(entry: Recorded, type_: type[Read]) -> Read:
    try:
        return msgspec.json.decode(entry.body or b"", type=type_)
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"entry {entry.index}", f"one of kind {entry.kind}", str(problem)) from problem
