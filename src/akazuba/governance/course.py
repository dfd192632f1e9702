"""What happened around an assessment: alarms, acknowledgements, who was on duty, what was corrected.

Each is an entry of its own kind, recorded when it happens or when it is found out; none changes another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from akazuba.errors import InputError
from akazuba.governance.decisions import Index, Reason, assessment_at, encoded, put, stored
from akazuba.governance.responsibility import Document, Name
from akazuba.records import Case
from akazuba.storage.store import Entry, Recorded, Store

Waited = Annotated[float, Meta(ge=0)]
WRONG_PATIENT = "patient id"
"""What is corrected when the case is another patient's."""


class Alarm(Document, frozen=True):
    """Body of `alarm`. step: 0 at once, then the escalations."""

    assessment: Index
    step: Annotated[int, Meta(ge=0, le=9)] = 0


class Acknowledged(Document, frozen=True):
    """Body of `acknowledged`. waited_s: since the first alarm, by the clock of the boot; None: unknown."""

    assessment: Index
    waited_s: Waited | None = None


class Duty(Document, frozen=True):
    """Body of `duty`: who was at the post, as it was and not as it was planned; seconds since 1970."""

    user: Name
    role: Name
    begins_s: Annotated[int, Meta(ge=0)]
    ends_s: Annotated[int, Meta(ge=0)]


class Correction(Document, frozen=True):
    """Body of `correction`. field: dotted path in the case, or WRONG_PATIENT. value: JSON; null is not
    assessed. by_whom: who had entered the wrong value, as far as it is known.
    """

    case: Index
    field: Name
    value: msgspec.Raw
    why: Annotated[str, Meta(min_length=3, max_length=4000)]
    by_whom: Reason = ""


Body = TypeVar("Body", Alarm, Acknowledged, Duty, Correction)


@dataclass(frozen=True)
class Happened(Generic[Body]):
    """A body as it stands in the log."""

    index: int
    at_ms: int
    by: str
    body: Body


def record_alarm(store: Store, assessment: int, step: int = 0, by: str = "box") -> Recorded:
    entry = assessment_at(store, assessment, None)
    return put(store, "alarm", by, Alarm(assessment, step), entry.patient)


def record_acknowledged(store: Store, by: str, assessment: int, waited_s: float | None = None) -> Recorded:
    entry = assessment_at(store, assessment, None)
    return put(store, "acknowledged", by, Acknowledged(assessment, waited_s), entry.patient)


def record_duty(store: Store, by: str, duty: Duty) -> Recorded:
    """Raises InputError for a shift that ends before it begins."""
    return record_roster(store, by, [duty])[0]


def record_roster(store: Store, by: str, duties: Sequence[Duty]) -> list[Recorded]:
    """All of them or none. Raises InputError like `record_duty`."""
    for duty in duties:
        if duty.ends_s <= duty.begins_s:
            raise InputError("duty", "an end after the beginning", f"{duty.ends_s} after {duty.begins_s}")
    return store.add(*(Entry("duty", by, encoded("duty", duty)) for duty in duties))


def correct(
    store: Store, by: str, case: int, field: str, value: object, why: str, by_whom: str = ""
) -> Recorded:
    """A value of a recorded case was wrong; the case stays as it came. value: plain JSON values.

    Raises InputError for another entry, and for a value that no case can hold there.
    """
    entry = store.entry(case)
    if entry.kind != "case":
        raise InputError(f"entry {case}", "a case", f"`{entry.kind}`")
    said = Correction(case, field, msgspec.Raw(msgspec.json.encode(value)), why, by_whom)
    if field != WRONG_PATIENT:
        corrected(case_values(entry), said)
    return put(store, "correction", by, said, entry.patient)


def of_another_patient(store: Store, patient: str, case: int) -> bool:
    """Whether a case that stands under a patient was marked as somebody else's."""
    said = [each.body for each in happened(store, "correction", Correction, patient, case)]
    return any(one.case == case and one.field == WRONG_PATIENT for one in said)


def case_values(entry: Recorded) -> dict[str, object]:
    """A recorded case as plain values; raises like `decisions.stored`."""
    stored(entry, Case)
    values: dict[str, object] = msgspec.json.decode(entry.body or b"")
    return values


def corrected(case: dict[str, object], correction: Correction) -> dict[str, object]:
    """The case as it should have come. Raises InputError for a path or value that a case cannot have."""
    *steps, last = correction.field.split(".")
    changed = dict(case)
    place = changed
    for step in steps:
        inner = place.get(step)
        if inner is not None and not isinstance(inner, dict):
            raise InputError("correction, field", "a field of a case", repr(correction.field))
        place[step] = dict(inner or {})
        place = place[step]  # type: ignore[assignment]
    value = msgspec.json.decode(correction.value)
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    try:
        msgspec.convert(changed, Case)
    except msgspec.ValidationError as problem:
        raise InputError(f"correction, {correction.field}", "a value of a case", str(problem)) from problem
    return changed


def happened(
    store: Store, kind: str, type_: type[Body], patient: str, first: int = 0
) -> Iterator[Happened[Body]]:
    """The oldest first."""
    for entry in store.entries(patient=patient, kind=kind, first=first):
        yield Happened(entry.index, entry.at_ms, entry.by, stored(entry, type_))
