"""From parsed JSON to a `Case`, or to one sentence that asks the slip back.

Two kinds of slip are caught: a field that is unknown, of the wrong kind or out of range (`case_from`
says which, and what it looks like: °F, a fraction, mg/dL …), and fields that contradict each other
(`refuse_contradictions`). Nothing is corrected silently: a guess about a unit is asked back.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from datetime import date, datetime
from itertools import combinations
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from akazuba.errors import CaseError
from akazuba.intake.slips import looks_like
from akazuba.records import Case, Patient, Vitals

MAX_DEPTH = 32
"""Levels of nesting; a case has 3."""

UNITS = {
    "age_years": "years",
    "age_months": "months",
    "age_days": "days",
    "weight_kg": "kg",
    "height_cm": "cm",
    "temperature_c": "°C",
    "heart_rate_bpm": "beats a minute",
    "respiratory_rate_bpm": "breaths a minute",
    "systolic_mmhg": "mmHg",
    "diastolic_mmhg": "mmHg",
    "spo2_percent": "%",
    "glucose_mmol_l": "mmol/L",
    "capillary_refill_s": "seconds",
    "onset_days_ago": "days",
    "dose_mg": "mg",
    "gestational_age_weeks": "weeks",
    "hiv_prevalence": "(a share: 0.026 is 2.6 %)",
}
"""What stands behind a range in a message."""

_PATTERNS = {
    "kind": "chest-xray, skin-photo or a plugin's kind (small letters, digits and -)",
    "language": "a language code of two or three small letters such as en",
    "loinc": "a LOINC code such as 718-7",
    "date": "a date as year-month-day such as 2026-03-14",
    "at": "a date and time such as 2026-11-29T10:42:00+02:00",
    "country": "a country code of two capitals such as RW",
}

_Path = tuple[str | int, ...]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def case_from(value: object, today: date | None = None) -> Case:
    """Checks a parsed JSON value and gives the case.

    today: a date of the case more than a day later is refused; None when no clock is trusted.
    Raises CaseError whose item is the dotted path, or "case" for the value as a whole.

    >>> case_from({"id": "c1", "vitals": {"temperature_c": 98.6}})
    Traceback (most recent call last):
    akazuba.errors.CaseError: vitals.temperature_c: expected 25 to 45 °C,
        found 98.6, which looks like °F: that would be 37.0 °C
    """
    _refuse_unsound(value, ())
    try:
        case = msgspec.convert(value, Case, strict=True)
    except msgspec.ValidationError as problem:
        raise _blame(value, Case, ()) from problem
    refuse_contradictions(case, today)
    return case


def shown(value: object) -> str:  # noqa: PLR0911 - one line a kind
    """A value as it stands in a message: short, and harmless on a terminal.

    >>> shown("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' (100 characters)"
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if math.isnan(value):
            return "NaN"
        case int() | float():
            return f"{value:.15g}"
        case str() if len(value) > 60:
            return f"{value[:40] + '…'!r} ({len(value)} characters)"
        case str():
            return repr(value)
        case list():
            return f"a list of {len(value)}"
        case dict() if len(value) > 60:
            return f"an object of {len(value)} names"
        case _:
            return "an object"


def _dotted(path: _Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    name = text.removeprefix(".").encode("utf-8", "backslashreplace").decode()
    return (name if len(name) <= 120 else name[:120] + "…") or "case"


def _refuse_unsound(value: object, path: _Path) -> None:
    """Refuses what JSON can carry but no later step could: NaN, infinity, half characters, depth."""
    if len(path) > MAX_DEPTH:
        raise CaseError(
            _dotted(path[:3]), f"at most {MAX_DEPTH} levels of nesting", f"more than {MAX_DEPTH} levels"
        )
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_unsound(key, (*path, key))
            _refuse_unsound(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _refuse_unsound(part, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        expected = _expected(_type_at(path), path)
        raise CaseError(_dotted(path), expected, "NaN" if math.isnan(value) else "a number too large to hold")
    elif isinstance(value, str) and _LONE_SURROGATE.search(value):
        raise CaseError(_dotted(path), "text that UTF-8 can carry", "half a character (a lone surrogate)")


def _blame(value: object, hint: Any, path: _Path) -> CaseError:
    """Finds the first part of `value` that does not fit `hint` and says what is wrong with it."""
    kind = _bare(inspect.type_info(hint))
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return _blame_field(value, kind, path)
    if isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        while get_origin(hint) is not tuple:  # Annotated[tuple[…] | None, …]
            hint = get_args(hint)[0]
        hint = get_args(hint)[0]
        for index, part in enumerate(value):
            if not _fits(part, hint):
                return _blame(part, hint, (*path, index))
    guess = looks_like(_dotted(path), value, number=isinstance(kind, inspect.FloatType))
    return CaseError(_dotted(path), _expected(kind, path), shown(value) + guess)


def _blame_field(value: dict[str, object], kind: inspect.StructType, path: _Path) -> CaseError:
    """Finds the field that is unknown, missing or does not fit."""
    hints = get_type_hints(kind.cls, include_extras=True)
    for name in value:
        if name not in hints:
            near = difflib.get_close_matches(name[:100], list(hints), n=1, cutoff=0.5)
            known = f"a known field (did you mean {near[0]}?)" if near else "a known field"
            return CaseError(_dotted((*path, name)), f"{known}, one of {', '.join(hints)}", "an unknown one")
    for field in kind.fields:
        if field.required and field.name not in value:
            return CaseError(_dotted((*path, field.name)), _expected(field.type, (field.name,)), "nothing")
    name = next(name for name, part in value.items() if not _fits(part, hints[name]))
    return _blame(value[name], hints[name], (*path, name))


def _fits(value: object, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without its description and without `| None`."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _bare(next(part for part in kind.types if not isinstance(part, inspect.NoneType)))
    return kind


def _type_at(path: _Path) -> inspect.Type | None:
    """The type that a case has at a path; None where it knows no such field."""
    kind = inspect.type_info(Case)
    for part in path:
        kind = _bare(kind)
        if isinstance(kind, inspect.VarTupleType) and isinstance(part, int):
            kind = kind.item_type
            continue
        fields = kind.fields if isinstance(kind, inspect.StructType) else ()
        found = [field.type for field in fields if field.name == part]
        if not found:
            return None
        kind = found[0]
    return kind


def _expected(kind: inspect.Type | None, path: _Path) -> str:  # noqa: PLR0911 - one line a kind
    """What a field takes, in words: its range with the unit, its words, its length."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    match _bare(kind) if kind else None:
        case inspect.FloatType(ge=low, le=high) if low is not None and high is not None:
            return f"{low:g} to {high:g} {UNITS[name]}"
        case inspect.FloatType(gt=low) if low is not None:
            return f"a number above {low:g} {UNITS[name]}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=words):
            return f"{', '.join(map(str, words[:-1]))} or {words[-1]}"
        case inspect.StrType(pattern=pattern) if pattern is not None:
            return _PATTERNS[name]
        case inspect.StrType(min_length=low, max_length=high):
            return f"text of {low} to {high} characters" if low else f"text of at most {high} characters"
        case inspect.VarTupleType(max_length=high):
            return f"a list of at most {high}" if high else "a list"
        case inspect.DictType(max_length=high) if high:
            return f"an object of at most {high} names"
        case inspect.StructType():
            return "an object"
        case _:
            return "a number"


# --- fields that contradict each other ----------------------------------------------------------


def refuse_contradictions(case: Case, today: date | None = None) -> None:
    """Raises CaseError for the first contradiction between fields that are each possible alone."""
    _refuse_age(case.patient)
    _refuse_pregnancy(case)
    _refuse_vitals(case.vitals)
    _refuse_sensed(case)
    refuse_two_answers(
        "findings", [(finding.id, "present" if finding.present else "absent") for finding in case.findings]
    )
    if case.date is not None:
        _refuse_date(case.date, today)


def _refuse_age(patient: Patient) -> None:
    """Refuses ages that disagree: years and months are completed ones, so 2 years go with 24–35 months."""
    ages = [
        (name, value, days)
        for name, value, days in (
            ("age_years", patient.age_years, 365.25),
            ("age_months", patient.age_months, 365.25 / 12),
            ("age_days", patient.age_days, 1.0),
        )
        if value is not None
    ]
    for (coarse, large, days_large), (fine, small, days_small) in combinations(ages, 2):
        beyond = (small * days_small - large * days_large) / days_large
        if not -0.1 <= beyond < (1.1 if large == int(large) else 0.1):
            both = fine == "age_months" and coarse == "age_years" and small < 12
            raise CaseError(
                f"patient.{coarse}",
                f"an age that agrees with {fine} (one of the two is enough)",
                f"{coarse} {large:g} beside {fine} {small:g}"
                + (f" (if together: age_months {large * 12 + small:g} alone)" if both else ""),
            )


def _refuse_pregnancy(case: Case) -> None:
    patient, weeks = case.patient, case.gestational_age_weeks
    if patient.pregnant and patient.sex == "male":
        raise CaseError("patient.pregnant", "false or nothing for a male patient", "true")
    age = patient.age_in_years
    infant = age is None or age < 1  # whose weeks at birth these may be
    if weeks is not None and not infant and (patient.pregnant is False or patient.sex == "male"):
        raise CaseError(
            "gestational_age_weeks", "nothing for a patient who is not pregnant", f"{weeks:g} weeks"
        )


def _refuse_vitals(vitals: Vitals) -> None:
    systolic, diastolic = vitals.systolic_mmhg, vitals.diastolic_mmhg
    if systolic is not None and 0 < systolic <= 25:
        raise CaseError(
            "vitals.systolic_mmhg",
            "0 (none measurable) or more than 25 mmHg",
            f"{systolic:g}, which looks like cmHg: that would be {systolic * 10:g} mmHg",
        )
    if systolic is not None and diastolic is not None and diastolic >= systolic > 0:
        raise CaseError(
            "vitals.diastolic_mmhg", f"less than the systolic pressure ({systolic:g} mmHg)", f"{diastolic:g}"
        )
    if systolic == 0 and diastolic:
        raise CaseError("vitals.systolic_mmhg", f"more than the diastolic pressure ({diastolic:g} mmHg)", "0")
    if vitals.consciousness in ("alert", "confused"):
        for name in ("heart_rate_bpm", "respiratory_rate_bpm"):
            if getattr(vitals, name) == 0:
                raise CaseError(
                    f"vitals.{name}",
                    f"above 0 in a patient who is {vitals.consciousness} (leave out what was not measured)",
                    "0",
                )


def _refuse_sensed(case: Case) -> None:
    """A mark of a sensor on what it did not give, or on one value from two."""
    for number, read in enumerate(case.sensed):
        item, there = f"sensed[{number}]", getattr(case.vitals, read.vital)
        if read.value != there:
            told = "not assessed" if there is None else f"{there:g}"
            raise CaseError(f"{item}.value", f"that of vitals.{read.vital} ({told})", f"{read.value:g}")
        if read.vital in [other.vital for other in case.sensed[:number]]:
            raise CaseError(item, "one sensor for each vital sign", f"two for {read.vital}")
        try:
            datetime.fromisoformat(read.at)
        except ValueError as problem:
            raise CaseError(f"{item}.at", _PATTERNS["at"], read.at) from problem


def refuse_two_answers(where: str, answers: Iterable[tuple[str, str]]) -> None:
    """Raises CaseError when one id comes with two different answers.

    where: the list in the case whose items `answers` are, as (id, answer).
    """
    seen: dict[str, str] = {}
    for index, (name, answer) in enumerate(answers):
        if seen.setdefault(name, answer) != answer:
            raise CaseError(
                f"{where}[{index}]",
                "one answer for each id",
                f"{shown(name)} both {shown(seen[name])} and {shown(answer)}",
            )


def _refuse_date(text: str, today: date | None) -> None:
    try:
        day = date.fromisoformat(text)
    except ValueError as problem:
        raise CaseError("date", "a day that exists, as year-month-day", text) from problem
    if day.year < 1900 or (today is not None and (day - today).days > 1):
        raise CaseError("date", f"1900-01-01 to {today.isoformat() if today else '9999-12-31'}", text)
