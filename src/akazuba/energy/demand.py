"""Who comes when: SIMULATED Poisson arrivals of routine consultations and emergencies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from akazuba.energy.kit import STEP_MIN, STEPS_A_DAY
from akazuba.energy.sun import Floats
from akazuba.errors import InputError

STEP_S = STEP_MIN * 60.0


@dataclass(frozen=True)
class Habits:
    """What is assumed of a post. opens, closes: hours of the day; both 0 and 24 for one that never closes.

    routine, emergencies: a day, over the week. day_share: of the emergencies between 7 and 19 h. hard: share
    of the consultations of which the small model is not sure. training_h: hours of training that become due
    a day at full clock. seasons: amplitude of the yearly swing of the routine, with its peak in rain_month.
    """

    opens: float = 8.0
    closes: float = 17.0
    routine: float = 40.0
    emergencies: float = 2.0
    day_share: float = 0.6
    hard: float = 0.35
    training_h: float = 2.0
    seasons: float = 0.2
    rain_month: int = 4

    def __post_init__(self) -> None:
        for name, low, high in (("routine", 0, 2000), ("emergencies", 0, 200), ("training_h", 0, 24)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"habits.{name}", f"{low} to {high} a day", f"{getattr(self, name):g}")
        if not 0 <= self.opens < self.closes <= 24:
            raise InputError("opening hours", "0 <= from < to <= 24", f"{self.opens:g}-{self.closes:g}")

    @property
    def around_the_clock(self) -> bool:
        return (self.opens, self.closes) == (0.0, 24.0)

    def open_at(self, hour: float) -> bool:
        return self.opens <= hour < self.closes


@dataclass(frozen=True)
class Demand:
    """Sorted seconds from the start, whether each is an emergency, and whether its case is hard."""

    at_s: Floats
    emergency: np.typing.NDArray[np.bool_]
    hard: np.typing.NDArray[np.bool_]


def expected_routine(habits: Habits) -> Floats:
    """(steps a day,) expected consultations of each step of a mean day."""
    hour = np.arange(STEPS_A_DAY) * STEP_MIN / 60
    middle = habits.opens + (habits.closes - habits.opens) / 6
    late = habits.opens + (habits.closes - habits.opens) * 0.72
    if habits.around_the_clock:
        weights = 0.35 + np.exp(-(((hour - 10) / 3) ** 2)) + 0.5 * np.exp(-(((hour - 16) / 2) ** 2))
    else:
        peaks = 1 + 0.8 * np.exp(-((hour - middle) ** 2)) + 0.4 * np.exp(-((hour - late) ** 2))
        weights = np.where((hour >= habits.opens) & (hour < habits.closes), peaks, 0.0)
        around = (hour >= habits.opens - 2) & (hour < habits.closes + 4) & (weights == 0)
        weights = np.where(around, 0.08, weights)
    return np.asarray(weights / weights.sum() * habits.routine)


def expected_emergencies(habits: Habits) -> Floats:
    """(steps a day,) expected emergencies of each step."""
    hour = np.arange(STEPS_A_DAY) * STEP_MIN / 60
    weights = np.where((hour >= 7) & (hour < 19), habits.day_share, 1 - habits.day_share)
    return np.asarray(weights / weights.sum() * habits.emergencies)


def draw(habits: Habits, days: int, seed: int) -> Demand:
    """The same arguments give the same people. Weekends bring a quarter of the routine of other days."""
    rng = np.random.default_rng([seed, days, 77])
    day = np.arange(days)
    week = np.where(day % 7 >= 5, 0.25, 1.0)
    season = 1 + habits.seasons * np.cos(2 * np.pi * (day / 365 - (habits.rain_month - 0.5) / 12))
    scale = week / (5.5 / 7) * season
    routine = rng.poisson(scale[:, None] * expected_routine(habits)).ravel()
    urgent = rng.poisson(np.broadcast_to(expected_emergencies(habits), (days, STEPS_A_DAY))).ravel()
    at = np.concatenate([np.repeat(np.arange(days * STEPS_A_DAY), counts) for counts in (routine, urgent)])
    at_s = (at + rng.random(len(at))) * STEP_S
    emergency = np.arange(len(at)) >= routine.sum()
    order = np.argsort(at_s, kind="stable")
    return Demand(at_s[order], emergency[order], rng.random(len(at)) < habits.hard)


def expected(habits: Habits, hour: float, steps: int) -> Demand:
    """No draw: people come at the times at which their expected number passes the next half, from `hour`
    on.
    """
    first = round(hour * 60 / STEP_MIN)
    of_day = (first + np.arange(steps)) % STEPS_A_DAY
    parts = []
    for by_day in (expected_routine(habits), expected_emergencies(habits)):
        sum_ = np.cumsum(by_day[of_day])
        wanted = np.arange(0.5, sum_[-1], 1.0)
        at = np.searchsorted(sum_, wanted)
        parts.append((at + 0.5) * STEP_S)
    at_s = np.concatenate(parts)
    order = np.argsort(at_s, kind="stable")
    emergency = np.arange(len(at_s)) >= len(parts[0])
    count = np.arange(len(at_s))
    hard = np.floor((count + 1) * habits.hard) > np.floor(count * habits.hard)
    return Demand(at_s[order], emergency[order], hard)
