"""z-scores of a child's weight, height, BMI, head and arm: WHO standards 0-5 years, reference 5-19 years.

Box-Cox (LMS) tables of the WHO Child Growth Standards (2006, 2007) by day of age or 0.1 cm, and of the WHO
Reference 2007 by month of age (`data/who_growth.csv`). Indicators with weight or arm are restricted: beyond
±3 SD, one SD is the distance between the second and the third (WHO Child Growth Standards: methods and
development, 2006, chapter 7; from memory: unverified).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from msgspec import Meta

from akazuba.records import Value

Sex = Literal["male", "female"]

DAYS_A_MONTH = 30.4375
LAST_DAY_OF_STANDARDS = 1826
"""The last day of the tables of 0 to 5 years; from then on the reference of 2007 holds."""

LAST_DAY_OF_WEIGHT_FOR_HEIGHT = 1856
"""60 completed months (WHO Anthro)."""

STANDING_FROM_DAYS = 731
"""Under it a child is measured lying, from it on standing; 0.7 cm lie between the two."""

LYING_LESS_STANDING_CM = 0.7

PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    "height_for_age_z": (-6, 6),
    "weight_for_age_z": (-6, 5),
    "weight_for_height_z": (-5, 5),
    "bmi_for_age_z": (-5, 5),
    "head_circumference_for_age_z": (-5, 5),
    "muac_for_age_z": (-5, 5),
}
"""z-scores outside are flagged: a measurement or an age is likely wrong (WHO Anthro's limits)."""


class Measured(Value, frozen=True):
    """What was measured of one child. position: by default lying under 2 years, standing from then on."""

    id: str = ""
    sex: Sex | None = None
    age_days: Annotated[float, Meta(ge=0, le=45_700)] | None = None
    age_months: Annotated[float, Meta(ge=0, le=1500)] | None = None
    weight_kg: Annotated[float, Meta(ge=0.3, le=400)] | None = None
    height_cm: Annotated[float, Meta(ge=20, le=260)] | None = None
    muac_mm: Annotated[float, Meta(ge=40, le=500)] | None = None
    head_circumference_cm: Annotated[float, Meta(ge=15, le=80)] | None = None
    oedema: bool = False
    position: Literal["lying", "standing"] | None = None


class Growth(Value, frozen=True):
    """z-scores, to 0.01; None where the indicator is not defined or not measured.

    bmi: kg/m². implausible: the z-scores that are so far out that a measurement or the age is likely wrong.
    why: by indicator, why it is None although something was measured.
    """

    id: str
    weight_for_age_z: float | None = None
    height_for_age_z: float | None = None
    weight_for_height_z: float | None = None
    bmi_for_age_z: float | None = None
    head_circumference_for_age_z: float | None = None
    muac_for_age_z: float | None = None
    bmi: float | None = None
    implausible: tuple[str, ...] = ()
    why: Mapping[str, str] = {}


@dataclass(frozen=True)
class _Curve:
    """L, M and S over x: days, months or centimetres (arrays of doubles: a list takes five times as much)."""

    x: array[float]
    l: array[float]  # noqa: E741 - the field's own letter
    m: array[float]
    s: array[float]

    def at(self, x: float) -> tuple[float, float, float] | None:
        """Interpolated linearly between rows; None outside."""
        if not self.x[0] - 1e-9 <= x <= self.x[-1] + 1e-9:
            return None
        place = min(max(bisect_right(self.x, x + 1e-9) - 1, 0), len(self.x) - 1)
        last = min(place + 1, len(self.x) - 1)
        width = self.x[last] - self.x[place]
        part = (x - self.x[place]) / width if width and abs(x - self.x[place]) > 1e-9 else 0.0
        low, high = ((self.l[i], self.m[i], self.s[i]) for i in (place, last))
        return (
            low[0] + part * (high[0] - low[0]),
            low[1] + part * (high[1] - low[1]),
            low[2] + part * (high[2] - low[2]),
        )


@cache
def _curves() -> Mapping[tuple[str, str], _Curve]:
    found: dict[tuple[str, str], _Curve] = {}
    path = resources.files("akazuba.guidelines") / "data" / "who_growth.csv"
    with path.open(encoding="ascii") as file:
        next(file)
        for line in file:
            indicator, sex, *numbers = line.split(",")
            key = indicator, sex
            if key not in found:
                found[key] = _Curve(array("d"), array("d"), array("d"), array("d"))
            curve = found[key]
            for column, number in zip((curve.x, curve.l, curve.m, curve.s), numbers, strict=True):
                column.append(float(number))
    return found


def growth(child: Measured) -> Growth:
    """Scores one child.

    >>> growth(Measured(sex="male", age_days=0, weight_kg=3.3464)).weight_for_age_z
    0.0
    >>> growth(Measured(sex="female", age_months=24, weight_kg=9, height_cm=81, oedema=True)).why
    {'weight_for_age_z': 'oedema', 'weight_for_height_z': 'oedema', 'bmi_for_age_z': 'oedema'}
    """
    days, months = _age(child)
    height = _height(child, days)
    bmi = child.weight_kg / (height / 100) ** 2 if child.weight_kg and height else None
    found: dict[str, float | None] = {}
    why: dict[str, str] = {}
    arm = child.muac_mm / 10 if child.muac_mm else None
    wanted = (
        ("weight_for_age_z", "weight_for_age", child.weight_kg, True),
        ("height_for_age_z", "height_for_age", height, False),
        ("weight_for_height_z", "", child.weight_kg if height else None, True),
        ("bmi_for_age_z", "bmi_for_age", bmi, True),
        ("head_circumference_for_age_z", "head_circumference_for_age", child.head_circumference_cm, False),
        ("muac_for_age_z", "muac_for_age", arm, True),
    )
    for name, indicator, value, restricted in wanted:
        if value is None:
            continue
        if child.oedema and name in ("weight_for_age_z", "weight_for_height_z", "bmi_for_age_z"):
            why[name] = "oedema"
        elif child.sex is None:
            why[name] = "sex not known"
        elif days is None:
            why[name] = "age not known"
        elif lms := _lms(child.sex, indicator, days, months, height):
            z = z_score(value, *lms, restricted=restricted)
            found[name] = math.floor(abs(z) * 100 + 0.5) / 100 * (-1 if z < 0 else 1) + 0.0
        else:
            too_old = days > LAST_DAY_OF_WEIGHT_FOR_HEIGHT
            why[name] = "not defined at this age" if indicator or too_old else "not defined at this height"
    out = [n for n, z in found.items() if z is not None and not PLAUSIBLE[n][0] <= z <= PLAUSIBLE[n][1]]
    return Growth(
        child.id, **found, bmi=None if bmi is None else round(bmi, 2), implausible=tuple(out), why=why
    )


def _age(child: Measured) -> tuple[float | None, float | None]:
    """Age in whole days and in months; both None when it is not known."""
    if child.age_days is not None:
        days = math.floor(child.age_days + 0.5)
        return days, days / DAYS_A_MONTH
    if child.age_months is not None:
        return math.floor(child.age_months * DAYS_A_MONTH + 0.5), child.age_months
    return None, None


def _height(child: Measured, days: float | None) -> float | None:
    """As the standard of the child's age measures it: lying under 731 days, standing from then on."""
    if child.height_cm is None or child.position is None or days is None:
        return child.height_cm
    lying_wanted = days < STANDING_FROM_DAYS
    if lying_wanted == (child.position == "lying"):
        return child.height_cm
    return child.height_cm + (LYING_LESS_STANDING_CM if lying_wanted else -LYING_LESS_STANDING_CM)


def _lms(
    sex: Sex, indicator: str, days: float | None, months: float | None, height: float | None
) -> tuple[float, float, float] | None:
    if not indicator:
        assert height is not None  # noqa: S101 - asked for only with a height
        if days is None or days > LAST_DAY_OF_WEIGHT_FOR_HEIGHT:
            return None
        kind = "weight_for_length" if days < STANDING_FROM_DAYS else "weight_for_height"
        return _curves()[kind, sex].at(height)
    assert days is not None and months is not None  # noqa: S101, PT018 - checked by growth
    if days <= LAST_DAY_OF_STANDARDS:
        return _curves()[indicator, sex].at(days)
    curve = _curves().get((f"{indicator}_2007", sex))
    return curve.at(months) if curve else None


def z_score(value: float, l: float, m: float, s: float, *, restricted: bool) -> float:  # noqa: E741
    """The z-score of a value. l, m, s: Box-Cox power, median, coefficient of variation; l is not 0.

    restricted: beyond ±3 SD an SD is as wide as that between the second and the third.
    """

    def at(z: float) -> float:
        return float(m * (1 + l * s * z) ** (1 / l))

    z = ((value / m) ** l - 1) / (s * l)
    if not restricted or abs(z) <= 3:
        return float(z)
    if z > 3:
        return 3 + (value - at(3)) / (at(3) - at(2))
    return -3 + (value - at(-3)) / (at(-2) - at(-3))
