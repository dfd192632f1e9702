"""When the terminals of a SIMULATED programme are on: by drawn daylight and outages, or by the traces that
`akazuba energy simulate --trace` writes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError, why_not_opened

HOUR_S, DAY_S, STEP_S = 3600.0, 86_400.0, 300.0
TRACE_STEPS = 288 * 366
Yes = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Weather:
    """What is assumed of terminals (our assumptions; no programme was measured).

    days: how long. sunrise_h, sunset_h: a terminal can train and send between them, local time; clinics'
    clocks lie up to zones_h apart. outage: chance of a whole day without power, drawn for each clinic from 0
    to this. training_h: median of a training's time, log-normal with `spread`, and each clinic's speed once
    more so. pause_h: mean time between two. stuck: chance that an upload gets stuck; stuck_h: for how long
    on average.
    """

    days: float = 30.0
    sunrise_h: float = 8.0
    sunset_h: float = 17.0
    zones_h: float = 2.0
    outage: float = 0.5
    training_h: float = 0.75
    spread: float = 0.7
    pause_h: float = 6.0
    stuck: float = 0.2
    stuck_h: float = 60.0

    def __post_init__(self) -> None:
        sound = 0 <= self.sunrise_h < self.sunset_h <= 24 and 0 <= self.outage <= 0.95
        if not (sound and 0 < self.days <= 3660 and 0 <= self.stuck <= 1 and self.training_h > 0):
            raise InputError("weather", "hours of a day in order and chances from 0 to 1", str(self))


@dataclass(frozen=True)
class Hours:
    """(steps,) of 5 minutes from a midnight on: whether a box trains, and whether it is in contact. Whole
    days, which are repeated.
    """

    trains: Yes
    sends: Yes


def read_trace(path: Path) -> Hours:
    """Of a CSV of `akazuba energy simulate --trace`. Raises InputError for a file that is none, or whose box
    never trains or is never in contact.
    """
    expected = "whole days of a trace of `akazuba energy simulate`, of a box that trains and is in contact"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(float(row["training"]) > 0, row["radio"]) for row in csv.DictReader(file)]
    except OSError as problem:
        raise InputError(str(path), expected, why_not_opened(problem)) from problem
    except (KeyError, TypeError, ValueError, csv.Error) as problem:
        raise InputError(str(path), expected, str(problem)) from problem
    trains = np.array([on for on, _ in rows], bool)
    sends = np.array([radio == "connected" for _, radio in rows], bool)
    if not 0 < len(rows) <= TRACE_STEPS or len(rows) % 288 or not (trains.any() and sends.any()):
        found = f"{len(rows)} steps, {trains.sum()} with training, {sends.sum()} in contact"
        raise InputError(str(path), expected, found)
    return Hours(trains, sends)


def _next(on: Yes, at_s: float) -> float:
    """The first time from then on at which a repeated `on` holds; somewhere it does."""
    step = math.floor(at_s / STEP_S)
    if on[step % len(on)]:
        return at_s
    return (step + int(np.argmax(np.roll(on, -(step % len(on)))))) * STEP_S


class Sky:
    """When each clinic is on, and how long its work takes: the same for every method from the same seed.

    traces: dealt out in turn, each begun at a day of the clinic's own.
    """

    def __init__(self, weather: Weather, clinics: int, seed: int, traces: Sequence[Hours] = ()) -> None:
        self.weather, self._seed, self._traces = weather, seed, traces
        random = np.random.default_rng([seed, 10])
        self._zone_s = random.uniform(0, weather.zones_h * HOUR_S, clinics)
        self._speed = random.lognormal(0, weather.spread, clinics)
        chance = random.uniform(0, weather.outage, clinics)
        self._dark = random.random((clinics, math.ceil(weather.days) + 400)) < chance[:, None]
        self._first_s = random.integers(0, 366, clinics) * DAY_S

    @property
    def most_h_a_day(self) -> float:
        """In which a clinic can train."""
        if self._traces:
            return max(24 * float(hours.trains.mean()) for hours in self._traces)
        return self.weather.sunset_h - self.weather.sunrise_h

    def next_on(self, clinic: int, at_s: float, *, sending: bool = False) -> float:
        """The first time from then on at which a clinic has power and light; by a trace, at which it trains
        or is in contact.
        """
        if self._traces:
            hours, first = self._traces[clinic % len(self._traces)], self._first_s[clinic]
            return float(_next(hours.sends if sending else hours.trains, at_s + first) - first)
        local = at_s + self._zone_s[clinic]
        for _ in range(400):
            day, second = divmod(local, DAY_S)
            dark = self._dark[clinic, min(int(day), self._dark.shape[1] - 1)]
            if not dark and second < self.weather.sunset_h * HOUR_S:
                return float(max(local, day * DAY_S + self.weather.sunrise_h * HOUR_S) - self._zone_s[clinic])
            local = (day + 1) * DAY_S + self.weather.sunrise_h * HOUR_S
        return math.inf

    def is_on(self, clinic: int, at_s: float) -> bool:
        return self.next_on(clinic, at_s) <= at_s

    def work(self, clinic: int, turn: int, start_s: float) -> tuple[float, float]:
        """When the turn-th update arrives, and when the next training may start, s."""
        weather, random = self.weather, np.random.default_rng([self._seed, 11, clinic, turn])
        took, pause = random.lognormal(0, weather.spread), random.exponential(weather.pause_h)
        is_stuck, stuck_h = random.random() < weather.stuck, random.exponential(weather.stuck_h)
        ended = self.next_on(clinic, start_s + weather.training_h * HOUR_S * self._speed[clinic] * took)
        late_s = stuck_h * HOUR_S if is_stuck else 0.0
        arrives = self.next_on(clinic, ended + late_s, sending=True)
        return arrives, self.next_on(clinic, ended + pause * HOUR_S)
