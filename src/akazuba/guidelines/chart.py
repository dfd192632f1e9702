"""Triage charts as data: signs, the rules over them, and where each rule stands in its source.

A *sign* is there when one of its findings or vital signs says so. A *rule* fires when enough of its
signs are there and the patient's age and pregnancy fit. Both are rows that a clinician can read:

    {"name": "slow capillary refill", "vitals": [{"vital": "capillary_refill_s", "above": 3}]}
    {"id": "iitt-adult-capillary-refill", "band": "adult", "level": "red", "signs": ["slow capillary refill"],
     "message": "capillary refill over 3 seconds", "source": "IITT age ≥ 12, step 1, Circulation"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from akazuba.datafile import read_rows, refuse_repeats
from akazuba.errors import ArtefactError
from akazuba.records import Consciousness, Level, Value

CHARTS = ("iitt.json", "additions.json")

Words = Annotated[str, Meta(min_length=3)]
FindingId = Annotated[str, Meta(pattern=r"^(HP|AKZ):\d{7}$")]
VitalName = Literal[
    "temperature_c",
    "heart_rate_bpm",
    "respiratory_rate_bpm",
    "systolic_mmhg",
    "diastolic_mmhg",
    "spo2_percent",
    "consciousness",
    "glucose_mmol_l",
    "on_oxygen",
    "capillary_refill_s",
]

_ANSWERS: dict[str, tuple[str | bool, ...]] = {
    "consciousness": get_args(Consciousness),
    "on_oxygen": (True, False),
}


class VitalTest(Value, frozen=True):
    """A test of one vital sign, in the unit of its name; exactly one of the comparisons is given.

    is_ (in the file `is`): the words (consciousness) or truth values (on_oxygen) that meet it.
    """

    vital: VitalName
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    is_: tuple[str | bool, ...] | None = msgspec.field(default=None, name="is")

    def __post_init__(self) -> None:
        given = [x for x in (self.above, self.below, self.at_least, self.at_most, self.is_) if x is not None]
        if len(given) != 1:
            raise ValueError(f"one comparison for {self.vital} expected, {len(given)} found")
        answers: tuple[str | bool, ...] = _ANSWERS.get(self.vital, ())
        if bool(answers) != (self.is_ is not None) or set(self.is_ or ()) - set(answers):
            raise ValueError(f"{self.vital} compared with {answers or 'a number'} expected, {given[0]} found")


class Sign(Value, frozen=True):
    """findings: each proves the sign, however long it has been there; the first is the sign itself.
    recent: proves it unless it is known to have begun more than `triage.ACUTE_DAYS` ago.
    hints: less exact findings that make it possible, so that it has to be checked, unless the sign
    itself was looked for and is absent.
    """

    name: Words
    findings: tuple[FindingId, ...] = ()
    recent: tuple[FindingId, ...] = ()
    hints: tuple[FindingId, ...] = ()
    vitals: tuple[VitalTest, ...] = ()

    def __post_init__(self) -> None:
        if not (self.findings or self.recent or self.vitals):
            raise ValueError("a finding or a vital sign that proves it expected, none found")


class AgeRange(Value, frozen=True):
    """Ages from (inclusive), over (exclusive) and under (exclusive), each in the unit of its name."""

    from_days: float | None = None
    from_years: float | None = None
    over_years: float | None = None
    under_days: float | None = None
    under_months: float | None = None
    under_years: float | None = None


class Rule(Value, frozen=True):
    """Fires `level` when `at_least` of `signs` are there (none named: when age and pregnancy fit).

    band: adult is age ≥ 12 years, child is under 12. step: the chart's step 3 is the high-risk review.
    """

    id: Words
    band: Literal["adult", "child", "any"]
    level: Literal["red", "yellow"]
    message: Words
    source: Words
    signs: tuple[str, ...] = ()
    at_least: Annotated[int, Meta(ge=1)] = 1
    pregnant: bool = False
    age: AgeRange | None = None
    step: Literal[3] | None = None


class ChartAction(Value, frozen=True):
    """What the chart tells one to do at a level; `step` 3 only where a rule of step 3 fired."""

    level: Level
    action: Words
    clause: Words
    step: Literal[3] | None = None


@dataclass(frozen=True)
class Chart:
    """One guideline file. review: review state as shown on the screen."""

    id: str
    title: str
    publisher: str
    edition: str
    licence: str
    review: str
    signs: Mapping[str, Sign]
    rules: tuple[Rule, ...]
    actions: tuple[ChartAction, ...]


class _File(Value, frozen=True):
    id: Words
    title: Words
    publisher: Words
    edition: str
    licence: Words
    review: Words
    notes: tuple[str, ...]
    actions: tuple[msgspec.Raw, ...]
    signs: tuple[msgspec.Raw, ...]
    rules: tuple[msgspec.Raw, ...]


def read_chart(text: bytes, file: str) -> Chart:
    """Checks a chart file. Raises ArtefactError that names the file and the row."""
    try:
        raw = msgspec.json.decode(text, type=_File)
    except msgspec.DecodeError as problem:
        raise ArtefactError(file, "a triage chart", str(problem)) from problem
    signs = read_rows(raw.signs, Sign, f"{file}, sign")
    rules = read_rows(raw.rules, Rule, f"{file}, rule")
    refuse_repeats(f"{file}, sign", (sign.name for sign in signs))
    refuse_repeats(f"{file}, rule", (rule.id for rule in rules))
    by_name = {sign.name: sign for sign in signs}
    for rule in rules:
        unknown = [name for name in rule.signs if name not in by_name]
        if unknown:
            raise ArtefactError(f"{file}, rule {rule.id}", "signs of this file", repr(unknown[0]))
        if rule.signs and rule.at_least > len(rule.signs):
            raise ArtefactError(
                f"{file}, rule {rule.id}", f"at most {len(rule.signs)} signs needed", str(rule.at_least)
            )
        if not (rule.signs or rule.age or rule.pregnant):
            raise ArtefactError(f"{file}, rule {rule.id}", "signs, an age or pregnancy", "none")
    return Chart(
        raw.id,
        raw.title,
        raw.publisher,
        raw.edition,
        raw.licence,
        raw.review,
        by_name,
        rules,
        read_rows(raw.actions, ChartAction, f"{file}, action"),
    )


@cache
def shipped_charts() -> tuple[Chart, ...]:
    """The charts inside the package, read and checked once. Raises ArtefactError like `read_chart`."""
    folder = resources.files("akazuba.guidelines") / "data"
    return tuple(read_chart((folder / name).read_bytes(), name) for name in CHARTS)
