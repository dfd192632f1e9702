"""Who words an answer: the rules alone, the student, or the larger model, by doubt and by energy.

The urgency of a case never waits for any of them. An emergency bypasses the cascade: rules and student answer
at once, and the larger model only adds to it where energy is plentiful.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from akazuba.energy.devices import Device
from akazuba.energy.values import Control
from akazuba.errors import InputError

Step = Literal["rules", "student", "larger"]


@dataclass(frozen=True)
class Thresholds:
    """certain: the rules' own doubt up to which no model is asked. unsure: the student's doubt from which the
    larger model is. Doubt is one minus the highest probability, from 0 to 1.
    """

    certain: float = 0.02
    unsure: float = 0.35


@dataclass(frozen=True)
class Chosen:
    """wh: what it takes at the battery's side."""

    step: Step
    because: str
    wh: float


def cost_wh(device: Device, step: Step) -> float:
    """Of one answer of a box that is awake, at the battery's side; the larger model comes on top of the
    student.
    """
    student = device.student_s * (device.student_w - device.idle_w)
    larger = device.large_s * (device.large_w - device.idle_w)
    used = {"rules": 0.0, "student": student, "larger": student + larger}[step]
    return used / 3600 / device.converter_efficiency


def choose(
    doubt: float,
    student_doubt: float | None,
    control: Control,
    device: Device,
    *,
    emergency: bool,
    thresholds: Thresholds = Thresholds(),
) -> Chosen:
    """doubt: of the rules. student_doubt: None before the student has answered.

    Raises InputError for a doubt outside 0 to 1.
    """
    for name, value in (("doubt", doubt), ("student_doubt", student_doubt)):
        if value is not None and not 0 <= value <= 1:
            raise InputError(name, "0 to 1", f"{value:g}")
    if emergency:
        larger = (
            control.tier != "student" and student_doubt is not None and student_doubt >= thresholds.unsure
        )
        step: Step = "larger" if larger else "student"
        return Chosen(step, "an emergency is answered by rules and student at once", cost_wh(device, step))
    if doubt <= thresholds.certain:
        return Chosen("rules", f"the rules are certain (doubt {doubt:.2f})", 0.0)
    if student_doubt is None or student_doubt < thresholds.unsure:
        said = "not asked yet" if student_doubt is None else f"sure enough (doubt {student_doubt:.2f})"
        return Chosen("student", f"the student is {said}", cost_wh(device, "student"))
    if control.tier == "student":
        return Chosen("student", f"unsure, but {control.mode}: energy is short", cost_wh(device, "student"))
    return Chosen("larger", f"the student is unsure (doubt {student_doubt:.2f})", cost_wh(device, "larger"))


@dataclass(frozen=True)
class Case:
    """For the curve: the student's doubt, and whether student and larger model were right."""

    doubt: float
    student_right: bool
    larger_right: bool


@dataclass(frozen=True)
class Point:
    """From a student's doubt of `threshold` on the larger model decides. asked: share of the cases for which
    it does; wh: of a case, on average.
    """

    threshold: float
    asked: float
    accuracy: float
    wh: float


def curve(cases: Sequence[Case], student_wh: float, larger_wh: float) -> list[Point]:
    """From all larger to all student. larger_wh: of a case for which both are asked. No cases, no curve."""
    sure_first = sorted(cases, key=lambda case: case.doubt)
    doubts = [case.doubt for case in sure_first]
    student = [0, *accumulate(case.student_right for case in sure_first)]
    larger = [0, *accumulate(case.larger_right for case in sure_first)]
    found = []
    for threshold in sorted({0.0, *doubts, 1.01}) if cases else ():
        stay = bisect_left(doubts, threshold)
        asked = 1 - stay / len(doubts)
        right = student[stay] + larger[-1] - larger[stay]
        wh = student_wh + asked * (larger_wh - student_wh)
        found.append(Point(threshold, asked, right / len(doubts), wh))
    return found


def cheapest(points: Sequence[Point], accuracy: float) -> Point | None:
    """The one that takes least with at least that accuracy."""
    return min((point for point in points if point.accuracy >= accuracy), key=lambda p: p.wh, default=None)
