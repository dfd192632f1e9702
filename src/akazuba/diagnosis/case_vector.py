"""What a model of values sees of a case: one fixed vector, the same at every box.

Version 1, in this order (its findings stand in `case_vector_1.csv`, which is never edited: another vector is
version 2): age band (9), sex (2), pregnancy, eight measurements with a mark each that it was taken, oxygen,
consciousness, 82 findings and tests, and, where it is asked for, the probability that the box itself gave to
each condition. No name, place, date, free text or number of the patient is in it.

Measurements count as distances from the middle of the range that scores 0 in NEWS2 (Royal College of
Physicians 2017), in half its width; blood pressure, glucose and refill time by usual adult values
(unverified). Yes is 1, no is -1, not assessed is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from akazuba.datafile import rows_of
from akazuba.records import AGE_BANDS_YEARS, Candidate, Case, Finding
from akazuba.terminology import Ancestors, kinds_of

MEASURED: Mapping[str, tuple[float, float]] = {
    "temperature_c": (37.05, 0.95),
    "heart_rate_bpm": (70.5, 19.5),
    "respiratory_rate_bpm": (16.0, 4.0),
    "spo2_percent": (98.0, 2.0),
    "systolic_mmhg": (120.0, 20.0),
    "diastolic_mmhg": (80.0, 10.0),
    "glucose_mmol_l": (5.5, 1.5),
    "capillary_refill_s": (1.0, 1.0),
}
"""By vital sign: the middle of its normal range, and half of that range's width."""

FURTHEST = 5.0
"""In half widths: an extreme value is no larger than that in the vector."""


def length(asked: Sequence[str]) -> int:
    """Of a vector, which holds the box's own probability of each of the conditions asked for."""
    return len(AGE_BANDS_YEARS) + 6 + 2 * len(MEASURED) + len(_places()) + len(asked)


def case_vector(
    case: Case,
    findings: Sequence[Finding],
    differential: Sequence[Candidate],
    asked: Sequence[str],
    ancestors: Ancestors,
) -> npt.NDArray[np.float32]:
    """(length(asked),) of a case. findings, differential: what the box understood and said of it. A finding
    counts for every finding that it is a kind of; an absent one denies those that are a kind of it. What is
    uncertain, past or somebody else's counts as not assessed.
    """
    patient, vitals = case.patient, case.vitals
    age = patient.age_in_years
    ends = (*AGE_BANDS_YEARS[1:], float("inf"))
    bands = zip(AGE_BANDS_YEARS, ends, strict=True)
    values = [float(age is not None and low <= age < high) for low, high in bands]
    values += [float(age is None), *(float(patient.sex == sex) for sex in ("female", "male"))]
    values.append(_said(patient.pregnant))
    for name, (middle, half) in MEASURED.items():
        found = getattr(vitals, name)
        distance = 0.0 if found is None else (found - middle) / half
        values += [max(-FURTHEST, min(FURTHEST, distance)), float(found is not None)]
    alert = None if vitals.consciousness is None else vitals.consciousness == "alert"
    values += [_said(vitals.on_oxygen), _said(alert)]
    values += _of_findings(findings, ancestors)
    given = {candidate.name: candidate.probability for candidate in differential}
    values += [given.get(name, 0.0) for name in asked]
    return np.array(values, np.float32)


def _of_findings(findings: Sequence[Finding], ancestors: Ancestors) -> list[float]:
    present, absent = set[str](), set[str]()
    for one in findings:
        if one.counts and one.present:
            present |= kinds_of(one.id, ancestors)
        elif one.counts:
            absent.add(one.id)
    return [
        1.0 if present & set(ids) else -1.0 if any(absent & kinds_of(id_, ancestors) for id_ in ids) else 0.0
        for ids in _places()
    ]


@cache
def _places() -> Sequence[tuple[str, ...]]:
    """Of each finding's place in the vector, the ids that mean it."""
    name = "case_vector_1.csv"
    text = resources.files("akazuba.diagnosis").joinpath(name).read_text(encoding="utf-8")
    return [(row["id"], *row["also"].split()) for row in rows_of(text, name)]


def _said(answer: bool | None) -> float:
    return 0.0 if answer is None else 1.0 if answer else -1.0
