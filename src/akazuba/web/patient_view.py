"""One patient's record as the page shows it: consultations, what is known of her, and her numbers over time.

Pure functions of the entries; a case that was corrected is shown as it should have come, and one that was
entered for another patient says only that.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import msgspec

from akazuba.governance.course import Correction
from akazuba.governance.fhir_entries import History, decoded, of_kind
from akazuba.llm.facts import percent
from akazuba.page import LEVELS
from akazuba.records import Case, Medication, Patient
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded
from akazuba.web.assessment_view import ICONS
from akazuba.web.vitals import BODY, VITALS

YEAR_DAYS = 365.25
ROOMS = (("vitals", VITALS), ("patient", BODY))
"""The numbers of a case, by the part of it that has them."""

INFANT_DAYS, CHILD_YEARS = 60, 5.0
"""An age is given in days below the first, in months below the second, else in years."""

Item = TypeVar("Item")


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
class Answer(Generic[Item]):
    """What one consultation said. day: when it was, "" where it is not dated."""

    day: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Known:
    """What stays true of her, each from the last consultation that asked; None where none did.

    day: of the last consultation. earlier: allergies that older consultations named and the last answer does
    not, each with the last day that named it: "none known" takes none of them away. answers: the last to each
    question of a guideline.
    """

    day: str = ""
    allergies: Answer[str] | None = None
    earlier: tuple[tuple[str, str], ...] = ()
    medications: Answer[Medication] | None = None
    conditions: Answer[str] | None = None
    answers: Mapping[str, str | float | bool] = field(default_factory=dict)

    @property
    def to_heed(self) -> tuple[str, ...] | None:
        """Every allergy that was ever named."""
        if self.allergies is None:
            return None
        return (*self.allergies.items, *(name for name, _ in self.earlier))

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """Every allergy that was ever named, each with the last day that named it.

        >>> Known(allergies=Answer("2026-11-29", ("eggs",)), earlier=(("penicillin", "2026-06-01"),)).told
        (('eggs', '2026-11-29'), ('penicillin', '2026-06-01'))
        """
        asked = self.allergies
        return (*((name, asked.day) for name in asked.items), *self.earlier) if asked else ()

    @property
    def medicines(self) -> tuple[str, ...] | None:
        return None if self.medications is None else tuple(map(medicine_text, self.medications.items))

    @property
    def illnesses(self) -> tuple[str, ...]:
        return self.conditions.items if self.conditions else ()


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


@dataclass(frozen=True)
class Corrected:
    """One value that was corrected after an assessment. was: as it was assessed. now: as it should have come.
    Both are "" for what is not assessed.
    """

    title: str
    unit: str
    was: str
    now: str


WORDS: Mapping[str, str] = {
    "patient.age_years": "age in years",
    "patient.age_months": "age in months",
    "patient.age_days": "age in days",
    "patient.sex": "sex",
    "patient.pregnant": "pregnant",
    "vitals.consciousness": "level of consciousness (AVPU)",
    "vitals.on_oxygen": "on oxygen",
    "allergies": "allergies",
    "medications": "medicines taken",
    "conditions": "known illnesses",
    "gestational_age_weeks": "weeks of pregnancy",
    "note": "note",
    "date": "date of the consultation",
}
"""What can be corrected beside the numbers, by its path in the case."""


def corrections_of(known: History, case: int | None) -> list[Corrected]:
    """What of a case's values was corrected, as far as it changed. case: its entry."""
    seen = known.seen.get(case) if case is not None else None
    if seen is None or not seen.hers:
        return []
    numbers = {f"{room}.{each.name}": each for room, some in ROOMS for each in some}
    said = (decoded(entry, Correction) for entry in of_kind(known.entries, "correction"))
    found = []
    for path in dict.fromkeys(one.field for one in said if one.case == case):
        each = numbers.get(path)
        title, unit = (each.title, each.unit) if each else (WORDS.get(path, path), "")
        was, now = value_text(seen.came.case, path), value_text(seen.now.case, path)
        if was != now:
            found.append(Corrected(title, unit, was, now))
    return found


def value_text(case: Case, path: str) -> str:
    """A value of a case as a form gives it; "" for not assessed.

    >>> value_text(Case("a", allergies=()), "allergies"), value_text(Case("a"), "vitals.spo2_percent")
    ('none', '')
    """
    if path == "medications":
        return "" if case.medications is None else ", ".join(map(medicine_text, case.medications)) or "none"
    value: object = msgspec.to_builtins(case)
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def seen_by(known: History, case: int) -> str:
    return next((entry.by for entry in known.entries if entry.index == case), "")


def day_of(at_ms: int) -> datetime.date:
    """By the box's clock, UTC."""
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).date()


def known_of(cases: Iterable[tuple[Case, str]]) -> Known:
    """cases: hers with their days, the oldest first, as `cases_of` gives them.

    >>> known = known_of([(Case("a", allergies=("penicillin",)), "2026-11-01"), (Case("b"), "2026-11-29")])
    >>> known.day, known.allergies
    ('2026-11-29', Answer(day='2026-11-01', items=('penicillin',)))
    """
    known, named = Known(), dict[str, tuple[str, str]]()
    for case, when in cases:
        day = when[:10]
        known = replace(known, day=day, answers={**known.answers, **case.answers})
        if case.allergies is not None:
            known = replace(known, allergies=Answer(day, case.allergies))
            named |= {" ".join(name.casefold().split()): (name, day) for name in case.allergies}
        if case.medications is not None:
            known = replace(known, medications=Answer(day, case.medications))
        if case.conditions:
            known = replace(known, conditions=Answer(day, case.conditions))
    last = {" ".join(name.casefold().split()) for name in known.allergies.items} if known.allergies else set()
    return replace(known, earlier=tuple(said for key, said in named.items() if key not in last))


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


def cases_of(known: History, besides: str = "") -> list[tuple[Case, str]]:
    """The cases that are hers, as they were corrected, and when each was; the oldest first.

    besides: the id of one that is left out.
    """
    visits = (one.now for one in known.seen.values() if one.hers)
    return [(visit.case, visit.when) for visit in visits if visit.case.id != besides]


def newest_case(known: History) -> tuple[Case, str] | None:
    """The last of `cases_of`."""
    return next(reversed(cases_of(known)), None)


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


def card(person: Person, cases: Sequence[tuple[Case, str]], today: datetime.date) -> dict[str, str | None]:
    """What a new consultation's form begins with, by the names of its fields; None: leave it empty.

    cases: as `cases_of` gives them. Every allergy that was ever named is in its field: the nurse asks.
    """
    last = cases[-1] if cases else None
    case = last[0] if last else None
    age = age_today(person.born, last, today)

    def listed(items: Sequence[str] | None) -> str | None:
        return None if items is None else ", ".join(items) or "none"

    known = known_of(cases)
    medicines = known.medications
    sex = person.sex or (case.patient.sex if case else None)
    return {
        "person.id": person.id,
        "person.name": person.name,
        "person.born": person.born or None,
        "person.place": person.place or None,
        "patient.sex": sex or None,
        "age": f"{age[1]:g}" if age else None,
        "age_unit": age[0] if age else None,
        "allergies": listed(known.to_heed),
        "medications": listed([medicine.name for medicine in medicines.items]) if medicines else None,
        "conditions": ", ".join(known.illnesses) or None,
    }


def patient_of(person: Person, last: tuple[Case, str] | None, today: datetime.date) -> Patient:
    """What of a case's patient is known without asking or measuring: her age and sex."""
    age = age_today(person.born, last, today)
    sex = person.sex or (last[0].patient.sex if last else None) or None
    known = {"sex": sex if sex in ("female", "male", "other", "unknown") else None}
    return msgspec.convert({**known, **(dict([age]) if age else {})}, Patient)
