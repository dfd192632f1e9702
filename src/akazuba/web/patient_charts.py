"""A patient's numbers over time, drawn as SVG on the box. The table beside each drawing says the same."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

from akazuba.web.patient_view import Line

WIDTH, HEIGHT = 320, 130
LEFT, RIGHT, TOP, BOTTOM = 40, 34, 10, 22
TOGETHER = (("systolic blood pressure", "diastolic blood pressure"),)
"""Measurements that share a drawing."""


@dataclass(frozen=True)
class Mark:
    x: float
    y: float


@dataclass(frozen=True)
class Curve:
    """path: of an SVG `path`. number: 0 is drawn with dots, 1 with squares, so that no colour is needed."""

    number: int
    name: str
    path: str
    marks: tuple[Mark, ...]
    last: str


@dataclass(frozen=True)
class Drawing:
    """ticks: (y, text) of the scale. days: (x, text, anchor) along the bottom. rows: day and one value for
    each line, "" where it was not measured, the newest first.
    """

    title: str
    unit: str
    names: tuple[str, ...]
    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str, str], ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def drawings(lines: Sequence[Line]) -> list[Drawing]:
    """One for each measurement, of which a single value has a table and no drawing."""
    names = [line.name for line in lines]
    groups, used = list[list[Line]](), set[str]()
    for line in lines:
        if line.name in used:
            continue
        together = next((group for group in TOGETHER if line.name in group), (line.name,))
        group = [lines[names.index(name)] for name in together if name in names]
        used |= {member.name for member in group}
        groups.append(group)
    return [_drawing(group) for group in groups]


def _drawing(group: Sequence[Line]) -> Drawing:
    values = [value for line in group for _, value in line.points]
    days = sorted({day for line in group for day, _ in line.points})
    ticks = scale(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    first, span = days[0], max(1, (days[-1] - days[0]).days)

    def place(day: datetime.date, value: float) -> Mark:
        across = LEFT + (day - first).days / span * (WIDTH - LEFT - RIGHT)
        up = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return Mark(round(across, 1), round(up, 1))

    curves = []
    for number, line in enumerate(group):
        marks = tuple(place(day, value) for day, value in line.points)
        path = "M" + " L".join(f"{mark.x},{mark.y}" for mark in marks)
        curves.append(Curve(number, line.name, path, marks, f"{line.points[-1][1]:g}"))
    by_day = [dict(line.points) for line in group]
    return Drawing(
        title=" / ".join(line.name for line in group),
        unit=group[0].unit,
        names=tuple(line.name for line in group),
        curves=tuple(curves) if len(days) > 1 else (),
        ticks=tuple((place(first, tick).y, f"{tick:g}") for tick in ticks),
        days=(
            (float(LEFT), first.isoformat(), "start"),
            (float(WIDTH - RIGHT), days[-1].isoformat(), "end"),
        ),
        rows=tuple(
            (day.isoformat(), tuple(f"{found[day]:g}" if day in found else "" for found in by_day))
            for day in reversed(days)
        ),
    )


def scale(low: float, high: float) -> tuple[float, ...]:
    """Round numbers around what was measured, three to six of them.

    >>> scale(118, 152), scale(37.0, 37.0)
    ((110.0, 120.0, 130.0, 140.0, 150.0, 160.0), (36.5, 37.0, 37.5))
    """
    spread = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(spread)) if spread > 1e-6 else 0.1
    step = next((times * power for times in (1, 2, 2.5, 5, 10) if spread / (times * power) <= 4), power)
    if spread <= 1e-6:
        step = 0.5
    begin, end = math.floor(low / step), math.ceil(high / step)
    if begin == end or begin * step == low:
        begin -= 1
    if end * step == high:
        end += 1
    return tuple(round(number * step, 6) for number in range(begin, end + 1))
