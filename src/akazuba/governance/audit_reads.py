"""Who was shown what of a patient: every read is in the log before anything is shown.

A `read` is a FHIR AuditEvent after IHE BALP, encrypted under the patient's key like the rest; once a patient
is erased, who read and when stays, and why goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.fhir.events import event_reason, patients_of, read_event, search_event
from akazuba.fhir.export import resource_id
from akazuba.storage.store import Entry, Recorded, Store

READS = ("read", "export")
SEARCH = "search"
"""An entry of nobody's: it names whom it showed by their ids, and no name that was searched for."""

_LONGEST_WHY = 500


@dataclass(frozen=True)
class Reading:
    """index: of the `read` or `export` in the log. why: None once the patient is erased."""

    index: int
    at_ms: int
    by: str
    kind: str
    why: str | None


def system_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def read_patient(
    store: Store, patient: str, by: str, why: str, now_ms: Callable[[], int] = system_ms
) -> list[Recorded]:
    """All that is kept of one patient, after the read is on the disk. Raises InputError for an unknown or
    erased one, and without a reason.
    """
    person = store.person(patient)
    (read,) = record_reads(store, [person.id], by, why, "everything before this entry", now_ms)
    return [entry for entry in store.entries(patient=patient) if entry.index < read.index]


def record_reads(
    store: Store,
    patients: Sequence[str],
    by: str,
    why: str,
    what: str,
    now_ms: Callable[[], int] = system_ms,
) -> list[Recorded]:
    """One `read` for each patient, in one transaction. what: which entries, in words."""
    why = encodable(why).strip()
    if not 0 < len(why) <= _LONGEST_WHY:
        raise InputError("why", f"a reason of 1 to {_LONGEST_WHY} characters", f"{len(why)}")
    at = now_ms()
    return store.add(
        *(
            Entry("read", by, msgspec.json.encode(read_event(resource_id(id_), by, why, what, at)), id_)
            for id_ in map(encodable, patients)
        )
    )


def record_search(
    store: Store,
    patients: Sequence[str],
    by: str,
    why: str,
    most: int,
    now_ms: Callable[[], int] = system_ms,
) -> Recorded:
    """One entry for one search by name, whose answer is about to show particulars of `patients`.

    most: how many it would have shown.
    """
    asked = f"GET Patient?name=(not kept)&_count={most}"
    event = search_event([resource_id(id_) for id_ in patients], by, why, asked, now_ms())
    (recorded,) = store.add(Entry(SEARCH, by, msgspec.json.encode(event)))
    return recorded


def searches_of(store: Store, patient: str, first: int = 0) -> list[Reading]:
    """The searches that showed her particulars, the oldest first. first: the entry from which to look: all
    searches after it are read.
    """
    id_ = resource_id(patient)
    return [
        Reading(entry.index, entry.at_ms, entry.by, entry.kind, _why(entry))
        for entry in store.entries(kind=SEARCH, first=first)
        if id_.encode() in (entry.body or b"") and id_ in patients_of(_event(entry))
    ]


def who_read(store: Store, patient: str) -> list[Reading]:
    """The oldest first; of an erased patient too."""
    return [
        Reading(entry.index, entry.at_ms, entry.by, entry.kind, _why(entry))
        for entry in store.entries(patient=patient)
        if entry.kind in READS
    ]


def _why(entry: Recorded) -> str | None:
    """Other rooms' reads say `what` in its place."""
    if entry.body is None:
        return None
    said = _event(entry)
    return event_reason(said) or str(said.get("what", ""))


def _event(entry: Recorded) -> dict[str, object]:
    try:
        return msgspec.json.decode(entry.body or b"", type=dict[str, object])
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"entry {entry.index}", "an AuditEvent", str(problem)) from problem
