"""What a programme learns, and what its model sees of a case: one fixed vector, the same at every box.

Version 1, in this order (`features_1.csv` holds its findings; it is never edited, another vector is version
2): age band (9), sex (2), pregnancy, eight measurements with a mark each that it was taken, oxygen,
consciousness, 82 findings and tests, and, where the programme says so, the probability that the box itself
gave to each condition. No name, place, date, free text or number of the patient is in it.

Measurements count as distances from the middle of the range that scores 0 in NEWS2 (Royal College of
Physicians 2017), in half its width; blood pressure, glucose and refill time by usual adult values
(unverified). Yes is 1, no is -1, not assessed is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta

from akazuba.datafile import rows_of
from akazuba.durable import write_durably
from akazuba.errors import InputError, UntrustedError
from akazuba.federation.network import Network
from akazuba.federation.updates import Numbers
from akazuba.privacy.keys.enrolment import Name
from akazuba.privacy.keys.registry import Registry
from akazuba.records import AGE_BANDS_YEARS, Assessment, Case
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

KIND = "learning-programme"
FILE = "federation-learning.bin"
HIGHEST = 1 << 30


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator: what all boxes of a programme learn. number: grows with every change.
    conditions: the classes, in order, as the box's knowledge names them. differential: whether the box's own
    probabilities are inputs too. hidden: units of the network's hidden layer.
    """

    programme: Name
    number: Annotated[int, Meta(ge=1, le=HIGHEST)]
    conditions: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=1000)]
    differential: bool = False
    hidden: Annotated[int, Meta(ge=0, le=10_000)] = 0
    features: Literal[1] = 1

    def __post_init__(self) -> None:
        for name in self.conditions:
            if self.conditions.count(name) > 1:
                raise InputError(KIND, "each condition once", f"{name} twice")

    def network(self) -> Network:
        features = len(AGE_BANDS_YEARS) + 6 + 2 * len(MEASURED) + len(_findings())
        asked = len(self.conditions) if self.differential else 0
        return Network(features + asked, len(self.conditions), self.hidden)


def learning_of(data: bytes, registry: Registry, now: int) -> Learning:
    """As a coordinator of the programme signed it. now: seconds since 1970.

    Raises UntrustedError, and InputError for one that names a condition twice.
    """
    learning, _ = registry.said(data, KIND, Learning, ["coordinator"], now)
    if learning.programme != registry.programme:
        raise UntrustedError(KIND, f"one of {registry.programme}", learning.programme)
    return learning


def in_force(home: Path, given: bytes | None, registry: Registry, now: int) -> Learning:
    """What this box learns from now on. home: the data folder, where it is kept. given: the signed bytes of a
    newer one, if there is one.

    Raises UntrustedError for one that is older than what is kept, InputError when there is none at all.
    """
    path = home / FILE
    kept = path.read_bytes() if path.exists() else None
    if kept is None and given is None:
        raise InputError("programme", "the file that its coordinator signed, the first time", "none")
    if given is None or given == kept:
        return learning_of(kept or b"", registry, now)
    learning = learning_of(given, registry, now)
    if kept is not None and learning.number <= (number := learning_of(kept, registry, now).number):
        raise UntrustedError(KIND, f"number {number + 1} or later", str(learning.number))
    write_durably(path, given)
    return learning


def vector(case: Case, assessment: Assessment, learning: Learning, ancestors: Ancestors) -> Numbers:
    """(features,) of a recorded case. assessment: what the box said of it. A finding counts for every finding
    that it is a kind of; an absent one denies those that are a kind of it. What is uncertain, past or
    somebody else's counts as not assessed.
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
    values += _of_findings(assessment, ancestors)
    if learning.differential:
        given = (
            {} if not assessment.differential else {c.name: c.probability for c in assessment.differential}
        )
        values += [given.get(name, 0.0) for name in learning.conditions]
    return np.array(values, np.float32)


def _of_findings(assessment: Assessment, ancestors: Ancestors) -> list[float]:
    findings = () if assessment.findings is UNSET else assessment.findings
    present, absent = set[str](), set[str]()
    for one in findings:
        if one.counts and one.present:
            present |= kinds_of(one.id, ancestors)
        elif one.counts:
            absent.add(one.id)
    return [
        1.0 if present & set(ids) else -1.0 if any(absent & kinds_of(id_, ancestors) for id_ in ids) else 0.0
        for ids in _findings()
    ]


@cache
def _findings() -> Sequence[tuple[str, ...]]:
    """Of each place of the vector, the ids that mean it."""
    text = resources.files("akazuba.federation").joinpath("features_1.csv").read_text(encoding="utf-8")
    return [(row["id"], *row["also"].split()) for row in rows_of(text, "features_1.csv")]


def _said(answer: bool | None) -> float:
    return 0.0 if answer is None else 1.0 if answer else -1.0
