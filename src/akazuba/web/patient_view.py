"""One patient's record as the page shows it: consultations, what is known of her, and her numbers over time.

Pure functions of the entries; a case that was corrected is shown as it should have come, and one that was
entered for another patient says only that.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from akazuba.governance.fhir_entries import History
from akazuba.llm.facts import percent
from akazuba.page import LEVELS
from akazuba.records import Case, Patient
from akazuba.storage.store import Person, Recorded
from akazuba.web.assessment_view import ICONS
from akazuba.web.vitals import BODY, VITALS

YEAR_DAYS = 365.25
INFANT_DAYS, CHILD_YEARS = 60, 5.0
"""An age is given in days below the first, in months below the second, else in years."""


@dataclass(frozen=True)
class Consulted:
    """One consultation: the newest assessment of one case. hers: False for one entered for another patient.

    corrected: its case was corrected after it. before: older assessments of the same case.
    """

    assessment: int
    case: int | None
    day: str
    level: str
    title: str
    icon: str
    first: str
    share: str
    by: str
    hers: bool
    corrected: bool
    before: int


@dataclass(frozen=True)
class Line:
    """One measurement over time. points: day and value, the oldest first."""

    name: str
    unit: str
    points: tuple[tuple[datetime.date, float], ...]


@dataclass(frozen=True)
class Known:
    """What the last consultation says that stays true: None where nobody asked."""

    day: str = ""
    allergies: tuple[str, ...] | None = None
    medicines: tuple[str, ...] | None = None
    conditions: tuple[str, ...] = ()


class _Triage(msgspec.Struct, frozen=True):
    level: str = "unassessed"


class _Candidate(msgspec.Struct, frozen=True):
    name: str = ""
    probability: float = 0.0


class _Said(msgspec.Struct, frozen=True):
    """Of an assessment, what a list needs; the rest is skipped."""

    case_id: str = ""
    triage: _Triage = _Triage()
    differential: tuple[_Candidate, ...] = ()


def consultations(known: History) -> list[Consulted]:
    """The newest first."""
    found: dict[str, Consulted] = {}
    for entry in known.entries:
        if entry.kind != "assessment" or entry.body is None:
            continue
        said = msgspec.json.decode(entry.body, type=_Said)
        before = found.pop(said.case_id, None)
        found[said.case_id] = _consulted(known, entry, said, before.before + 1 if before else 0)
    return [*found.values()][::-1]


def _consulted(known: History, entry: Recorded, said: _Said, before: int) -> Consulted:
    basis = known.bases.get(entry.index)
    seen = known.seen.get(basis.case) if basis else None
    first = said.differential[0] if said.differential else None
    return Consulted(
        assessment=entry.index,
        case=basis.case if basis else None,
        day=seen.now.when[:10] if seen else day_of(entry.at_ms).isoformat(),
        level=said.triage.level,
        title=LEVELS[said.triage.level][0],
        icon=ICONS[said.triage.level],
        first=first.name if first else "",
        share=percent(first.probability) if first else "",
        by=seen_by(known, basis.case) if basis else entry.by,
        hers=seen is None or seen.hers,
        corrected=bool(seen and seen.now.case != seen.came.case),
        before=before,
    )


def seen_by(known: History, case: int) -> str:
    return next((entry.by for entry in known.entries if entry.index == case), "")


def day_of(at_ms: int) -> datetime.date:
    """By the box's clock, UTC."""
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).date()


def known_of(case: Case | None, when: str = "") -> Known:
    if case is None:
        return Known()
    medicines = None if case.medications is None else tuple(map(medicine_text, case.medications))
    return Known(when[:10], case.allergies, medicines, case.conditions)


def medicine_text(medicine: object) -> str:
    """Name and dose a day, as `medicines_of` reads them back.

    >>> from akazuba.records import Medication
    >>> medicine_text(Medication("amlodipine", 5))
    'amlodipine 5 mg'
    """
    name, dose = getattr(medicine, "name", ""), getattr(medicine, "dose_mg", None)
    return f"{name} {dose:g} mg" if dose else str(name)


def lines_of(known: History) -> list[Line]:
    """What was measured, each at most once a case; only measurements that are hers."""
    cases = {one.now.case.id: one.now for one in known.seen.values() if one.hers}
    found: dict[str, dict[datetime.date, float]] = {}
    for visit in cases.values():
        day = _day(visit.when) or day_of(visit.at_ms)
        for name, value in measured(visit.case).items():
            found.setdefault(name, {})[day] = value
    fields = {field.name: field for field in (*BODY, *VITALS)}
    return [
        Line(fields[name].title, fields[name].unit, tuple(sorted(found[name].items())))
        for name in fields
        if name in found
    ]


def measured(case: Case) -> Mapping[str, float]:
    """The numbers of a case, by the names of its fields."""
    both = {field.name: case.patient for field in BODY} | {field.name: case.vitals for field in VITALS}
    values = {name: getattr(owner, name) for name, owner in both.items()}
    return {name: float(value) for name, value in values.items() if value is not None}


def newest_case(known: History, besides: str = "") -> tuple[Case, str] | None:
    """The last case that is hers, as it was corrected, and when it was. besides: the id of another case."""
    cases = (one.now for one in reversed([*known.seen.values()]) if one.hers and one.now.case.id != besides)
    return next(((visit.case, visit.when) for visit in cases), None)


# --- the age that a form begins with ----------------------------------------------------------------


def age_today(born: str, last: tuple[Case, str] | None, today: datetime.date) -> tuple[str, float] | None:
    """(age_days, age_months or age_years, completed), or None where what is known is too coarse for her age.
    Of a year of birth, the lower of the two ages that she may have.

    born: an ISO date or the beginning of one. last: the last case with its day, where no birth is known.

    >>> age_today("2026-05-20", None, datetime.date(2026, 11, 29))
    ('age_months', 6.0)
    >>> age_today("2024", None, datetime.date(2026, 11, 29)) is None
    True
    """
    if born:
        return _from_birth(born, today)
    if last is None:
        return None
    case, when = last
    years, day = case.patient.age_in_years, _day(when)
    if years is None or day is None or day > today:
        return None
    days = years * YEAR_DAYS + (today - day).days
    whole = case.patient.age_days is None and case.patient.age_months is None
    if whole and days < (CHILD_YEARS + 1) * YEAR_DAYS:
        return None  # whole years of a small child say too little
    return _in_units(days)


def age_of(case: Case) -> tuple[str, float] | None:
    """As the case gives it."""
    named = ((unit, getattr(case.patient, unit)) for unit in ("age_days", "age_months", "age_years"))
    return next(((unit, value) for unit, value in named if value is not None), None)


def _from_birth(born: str, today: datetime.date) -> tuple[str, float] | None:
    parts = born.split("-")
    try:
        first = datetime.date(*(int(part) for part in (*parts, "1", "1")[:3]))
    except (ValueError, TypeError):
        return None
    months = (today.year - first.year) * 12 + today.month - first.month
    if len(parts) == 3:
        months -= today.day < first.day
    if (today - first).days < 0 or months < 0:
        return None
    if len(parts) == 1:
        years = today.year - first.year - 1
        return ("age_years", float(years)) if years > CHILD_YEARS else None
    if len(parts) == 3 and (today - first).days < INFANT_DAYS:
        return "age_days", float((today - first).days)
    if months < CHILD_YEARS * 12:
        return ("age_months", float(months)) if len(parts) == 3 or months > 2 else None
    return "age_years", float(months // 12)


def _in_units(days: float) -> tuple[str, float]:
    if days < INFANT_DAYS:
        return "age_days", float(int(days))
    if days < CHILD_YEARS * YEAR_DAYS:
        return "age_months", float(int(days / YEAR_DAYS * 12))
    return "age_years", float(int(days / YEAR_DAYS))


def _day(when: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(when[:10])
    except ValueError:
        return None


def card(person: Person, last: tuple[Case, str] | None, today: datetime.date) -> dict[str, str | None]:
    """What a new consultation's form begins with, by the names of its fields; None: leave it empty."""
    case = last[0] if last else None
    age = age_today(person.born, last, today)

    def listed(items: Sequence[str] | None) -> str | None:
        return None if items is None else ", ".join(items) or "none"

    known = known_of(case)
    sex = person.sex or (case.patient.sex if case else None)
    return {
        "person.id": person.id,
        "person.name": person.name,
        "person.born": person.born or None,
        "person.place": person.place or None,
        "patient.sex": sex or None,
        "age": f"{age[1]:g}" if age else None,
        "age_unit": age[0] if age else None,
        "allergies": listed(known.allergies),
        "medications": None
        if case is None or case.medications is None
        else listed([medicine.name for medicine in case.medications]),
        "conditions": ", ".join(known.conditions) or None,
    }


def patient_of(person: Person, last: tuple[Case, str] | None, today: datetime.date) -> Patient:
    """What of a case's patient is known without asking or measuring: her age and sex."""
    age = age_today(person.born, last, today)
    sex = person.sex or (last[0].patient.sex if last else None) or None
    known = {"sex": sex if sex in ("female", "male", "other", "unknown") else None}
    return msgspec.convert({**known, **(dict([age]) if age else {})}, Patient)
