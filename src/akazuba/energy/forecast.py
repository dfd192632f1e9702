"""What the panel will give, learnt from what it gave: no network, no weather service.

A clear day of this panel (from the sun's course, or from its own best days) times how clear the last days
were. Shade that comes at the same hour every day is learnt from the best of each hour.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from akazuba.energy.kit import STEP_H, STEPS_A_DAY
from akazuba.energy.rules import DARK, DARK_FROM_H
from akazuba.energy.sun import Floats

REMEMBERED_DAYS = 30
USUAL, USUAL_WEIGHT = 0.65, 5.0
"""Share of a clear day before anything is known, and how many days that counts for."""
PERSISTENCE = 0.45
"""From one day to the next (source: prototype, unverified)."""
HOURS = 24
FIRST_SPREAD = np.array([-0.3, -0.22, -0.15, -0.08, -0.03, 0.0, 0.03, 0.08, 0.12, 0.16, 0.2])
"""Errors taken for granted until the forecaster has made its own."""


class Forecaster:
    """Remembers a month of days. clear: (steps,) W of the whole kit under a clear sky from step 0 on, at
    least a day (it is repeated); None where nobody knows where the box stands.
    """

    def __init__(self, clear: Floats | None) -> None:
        self._clear = clear
        self._today: list[float] = []
        self._hours: deque[Floats] = deque(maxlen=REMEMBERED_DAYS)
        self._shares: deque[float] = deque(maxlen=REMEMBERED_DAYS)
        self._errors: deque[float] = deque(FIRST_SPREAD.tolist(), maxlen=120)
        self._step = 0
        self._shade = np.ones(HOURS)

    def saw(self, panel_w: float | None) -> None:
        """Called once a step; None counts as dark."""
        self._today.append(max(0.0, panel_w or 0.0))
        self._step += 1
        if len(self._today) == STEPS_A_DAY:
            self._close_day()

    def quantiles(self, slots: int, steps: int, levels: tuple[float, ...]) -> Floats:
        """(levels, slots) Wh of each slot of `steps` steps from now on."""
        ahead = self._step + np.arange(slots * steps)
        clear = (self._clear_w(ahead) * STEP_H).reshape(slots, steps).sum(1)
        day = (ahead[::steps] // STEPS_A_DAY) - self._step // STEPS_A_DAY
        today, seen = self._share_today()
        usual = self._usual()
        share = np.where(day == 0, today, usual + PERSISTENCE**day * (today - usual))
        unsure = np.where(day == 0, 1 - 0.6 * seen, 1.0)
        errors = np.quantile(np.array(self._errors), levels)
        return np.asarray(np.clip(share + errors[:, None] * unsure, 0.04, 1.0) * clear)

    def dark_days(self) -> tuple[int, bool]:
        """Days in a row until yesterday on which the panel gave next to nothing, and whether today is one,
        told from DARK_FROM_H on.
        """
        seen = 0
        for share in reversed(self._shares):
            if share >= DARK:
                break
            seen += 1
        start = self._step - len(self._today)
        so_far = self._clear_w(start + np.arange(len(self._today))).sum()
        late = len(self._today) * STEP_H >= DARK_FROM_H
        return seen, bool(late and sum(self._today) < DARK * so_far)

    def _close_day(self) -> None:
        got = np.array(self._today)
        self._today = []
        self._hours.append(got.reshape(HOURS, -1).mean(1))
        clear = self._clear_w(self._step - STEPS_A_DAY + np.arange(STEPS_A_DAY))
        if clear.sum() <= 0:
            return
        share = float(got.sum() / clear.sum())
        if self._shares:
            usual = self._usual()
            self._errors.append(share - usual - PERSISTENCE * (self._shares[-1] - usual))
        self._shares.append(share)
        if self._clear is not None and len(self._hours) >= 5:
            open_sky = self._open_sky(self._step - STEPS_A_DAY + np.arange(STEPS_A_DAY))
            whole = open_sky.reshape(HOURS, -1).mean(1)
            best = np.quantile(np.array(self._hours), 0.9, axis=0)
            usable = whole > 0.05 * max(whole.max(), 1e-9)
            ratio = np.where(usable, best / np.maximum(whole, 1e-9), 1.0)
            # the whole sky's haze is no shade: only what an hour lacks beside the best hour
            self._shade = np.where(usable, np.clip(ratio / max(ratio[usable].max(), 1e-9), 0.05, 1.0), 1.0)

    def _usual(self) -> float:
        return (USUAL * USUAL_WEIGHT + sum(self._shares)) / (USUAL_WEIGHT + len(self._shares))

    def _share_today(self) -> tuple[float, float]:
        """How clear today is by what was seen of it, and how much of the day that was (0 to 1)."""
        usual = self._usual()
        before = usual + PERSISTENCE * ((self._shares[-1] if self._shares else usual) - usual)
        start = self._step - len(self._today)
        clear = self._clear_w(start + np.arange(STEPS_A_DAY))
        whole = clear.sum()
        if whole <= 0:
            return before, 0.0
        so_far = clear[: len(self._today)].sum()
        weight = 0.3 * (whole - so_far)
        return float((sum(self._today) + before * weight) / (so_far + weight + 1e-9)), float(so_far / whole)

    def _open_sky(self, steps: Floats | np.typing.NDArray[np.int64]) -> Floats:
        if self._clear is None:
            return self._own_best(np.asarray(steps, dtype=np.int64))
        return self._clear[np.asarray(steps, dtype=np.int64) % len(self._clear)]

    def _clear_w(self, steps: np.typing.NDArray[np.int64]) -> Floats:
        hour = (steps % STEPS_A_DAY) * HOURS // STEPS_A_DAY
        return np.asarray(self._open_sky(steps) * self._shade[hour])

    def _own_best(self, steps: np.typing.NDArray[np.int64]) -> Floats:
        """Without a place: of each hour the best of the remembered days."""
        if not self._hours:
            return np.zeros(len(steps))
        return np.asarray(np.max(np.array(self._hours), axis=0)[(steps % STEPS_A_DAY) * HOURS // STEPS_A_DAY])
