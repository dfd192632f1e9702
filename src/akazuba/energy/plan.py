"""Two days ahead as a linear programme: when to be awake, to train, to be in contact.

Charge is held above the floor softly, so that a wrong reading never makes it infeasible; what is done earlier
is a little cheaper, or a plan that is made anew every hour would put everything off for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from akazuba.energy.demand import Habits, expected_emergencies, expected_routine
from akazuba.energy.devices import Device
from akazuba.energy.forecast import Forecaster
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.lp import NoPlanError, Programme
from akazuba.energy.rules import CONTACT_MIN, SESSION_S, Rules
from akazuba.energy.sun import Floats
from akazuba.energy.values import Control, Reason, Situation

SLOTS, SLOT_STEPS = 96, 6
SLOT_H = 0.5
LEVEL = 0.25
"""The plan counts on what the panel gives in three of four cases."""

AWAKE, WAITED, TRAINED, CONTACT = 0.4, 0.15, 1.6, 2.0
SPENT, LEFT, LEFT_TO = 0.03, 0.22, 0.7
BELOW, UNSERVED, EARLIER = 50.0, 500.0, 2e-3
"""Prices: of half an hour awake while open and of each patient who need not wait for it, an hour of training
done, a day's contact; a Wh spent, a Wh left at the end up to LEFT_TO of the battery; a Wh below the floor, a
Wh that is not there, an hour later. Chosen by hand; the rules hold the floor whatever they say.
"""


@dataclass(frozen=True)
class Plan:
    """By half hour from now: share awake, share training at full and low clock, share in contact, Wh in the
    battery at its end, expected Wh of the panel and of the load.
    """

    awake: Floats
    train: Floats
    train_low: Floats
    contact: Floats
    wh: Floats
    panel_wh: Floats
    load_wh: Floats


@dataclass(frozen=True)
class Ahead:
    """What the plan reckons with. hour: of now. panel_wh: (96,). training_h: that waits or falls due."""

    wh: float
    hour: float
    panel_wh: Floats
    training_h: float
    synced: bool


@dataclass(frozen=True)
class Planner:
    """Coefficients of a device, a kit and a post."""

    device: Device
    kit: Kit
    habits: Habits
    floor_wh: float

    @cached_property
    def _by_slot(self) -> tuple[Floats, Floats]:
        """(48,) expected patients of each half hour of the day, and whether the post is open."""
        people = expected_routine(self.habits) + expected_emergencies(self.habits)
        slots = people.reshape(STEPS_A_DAY // SLOT_STEPS, SLOT_STEPS).sum(1)
        open_ = np.array([self.habits.open_at(slot * SLOT_H) for slot in range(len(slots))], dtype=float)
        return slots, open_

    def plan(self, now: Ahead) -> Plan:
        """Raises NoPlanError."""
        d, kit = self.device, self.kit
        eta = d.converter_efficiency
        slot = (int(now.hour / SLOT_H) + np.arange(SLOTS)) % 48
        people, open_ = self._by_slot[0][slot], self._by_slot[1][slot]
        wakes = 3 * (1 - np.exp(-people / 3))
        stay = SESSION_S + d.student_s + 90.0
        asked = people * (
            d.student_s * (d.student_w - d.idle_w) + self.habits.hard * d.large_s * (d.large_w - d.idle_w)
            + SESSION_S * d.screen_dim_w
        ) / 3600  # fmt: skip
        woken = wakes * (d.wake_s * d.wake_w + stay * d.idle_w) / 3600
        asleep = (d.standby_w * eta + d.sleep_w) * SLOT_H + asked + woken
        awake_wh = ((d.idle_w - d.sleep_w) * SLOT_H - woken) / eta
        full_wh = (d.train_w - d.idle_w) * SLOT_H / eta
        low_wh = (d.train_low_w - d.idle_w) * SLOT_H / eta
        radio_wh = d.radio_connected_w * SLOT_H / eta
        later = EARLIER * SLOT_H * np.arange(SLOTS)

        lp = Programme()
        awake = lp.columns(SLOTS, 1.0, SPENT * awake_wh - open_ * AWAKE - WAITED * wakes + later)
        full = lp.columns(SLOTS, 1.0, SPENT * full_wh + later)
        low = lp.columns(SLOTS, 1.0, SPENT * low_wh + later)
        radio = lp.columns(SLOTS, 1.0, SPENT * radio_wh + 3 * later)
        stored = lp.columns(SLOTS, kit.battery_wh)
        into = lp.columns(SLOTS, kit.charge_c * kit.battery_wh * SLOT_H, 2e-3)
        out = lp.columns(SLOTS, np.inf, 2e-3)
        unused = lp.columns(SLOTS)
        missing = lp.columns(SLOTS, np.inf, UNSERVED)
        below = lp.columns(SLOTS, np.inf, BELOW)
        done = lp.columns(1, max(0.0, now.training_h), -TRAINED)
        left = lp.columns(1, LEFT_TO * kit.battery_wh, -LEFT)
        contacts = lp.columns(2, [0.0 if now.synced else 1.0, 1.0], -CONTACT)  # type: ignore[arg-type]

        given = now.panel_wh - asleep / eta
        lp.rows(
            given, given,
            (into, 1.0), (out, -1.0), (unused, 1.0), (missing, -1.0),
            (awake, awake_wh), (full, full_wh), (low, low_wh), (radio, radio_wh),
        )  # fmt: skip
        start = np.zeros(SLOTS)
        start[0] = now.wh
        lp.rows(
            start, start,
            (stored, 1.0), (stored[:-1], -1.0),
            (into, -kit.charge_efficiency), (out, 1 / kit.discharge_efficiency),
        )  # fmt: skip
        lp.rows(self.floor_wh, np.inf, (stored, 1.0), (below, 1.0))
        lp.rows(-np.inf, 0.0, (full, 1.0), (low, 1.0), (awake, -1.0))
        lp.rows(-np.inf, 0.0, (radio, 1.0), (awake, -1.0))
        lp.row(0.0, np.inf, (full, SLOT_H), (low, SLOT_H * d.train_low_speed), (done, -1.0))
        lp.row(0.0, np.inf, (stored[-1:], 1.0), (left, -1.0))
        today = max(1, min(SLOTS - 1, round((24 - now.hour) / SLOT_H)))
        share = SLOT_H * 60 / CONTACT_MIN
        lp.row(0.0, np.inf, (radio[:today], share), (contacts[:1], -1.0))
        lp.row(0.0, np.inf, (radio[today:], share), (contacts[1:], -1.0))
        x = lp.solve(seconds=2.0).x
        load = asleep / eta + awake_wh * x[awake] + full_wh * x[full] + low_wh * x[low] + radio_wh * x[radio]
        return Plan(x[awake], x[full], x[low], x[radio], x[stored], now.panel_wh, load)


REPLAN_STEPS = 12
SPARE = 0.05
"""Of the battery, above the floor, from which the plan pays for every Wh below."""


@dataclass
class Planned:
    """The rules, and the plan where they leave a choice: in normal mode, with clock and charge known.

    every: steps until a new plan. level: the forecast's quantile. seen: the last step that the forecaster was
    told of. plans: how many were made.
    """

    rules: Rules
    forecaster: Forecaster
    every: int = REPLAN_STEPS
    level: float = LEVEL
    seen: int | None = None
    name: str = "rules and plan"
    plans: int = 0
    _plan: Plan | None = None
    _made: int = -(10**9)
    _planner: Planner = field(init=False)

    def __post_init__(self) -> None:
        rules = self.rules
        floor = rules.limits.floor + SPARE * rules.kit.battery_wh
        self._planner = Planner(rules.device, rules.kit, rules.habits, floor)

    def control(self, now: Situation) -> Control:
        for _ in range(1 if self.seen is None else now.step - self.seen):
            self.forecaster.saw(now.panel_w)
        self.seen = now.step
        return self._decided(now)

    def _decided(self, now: Situation) -> Control:
        ruled = self.rules.control(now)
        if ruled.mode != "normal" or now.hour is None or now.charge.wh is None:
            return ruled
        if now.step - self._made >= self.every:
            self._made = now.step
            self._plan = self._new_plan(now, now.hour, now.charge.wh)
        if self._plan is None:
            return ruled._replace(reasons=(*ruled.reasons, Reason("no-plan")))
        return self._by_plan(self._plan, now, ruled)

    def _new_plan(self, now: Situation, hour: float, wh: float) -> Plan | None:
        into_slot = round(hour * 12) % SLOT_STEPS
        panel = self.forecaster.quantiles(SLOTS, SLOT_STEPS, (self.level,))[0]
        due = min(now.backlog_h, 1e3) + 1.5 * self.rules.habits.training_h
        self._made -= into_slot
        try:
            self.plans += 1
            return self._planner.plan(Ahead(wh, hour, panel, due, now.synced_min >= CONTACT_MIN))
        except NoPlanError:
            return None

    def _by_plan(self, plan: Plan, now: Situation, ruled: Control) -> Control:
        slot = min(SLOTS - 1, (now.step - self._made) // SLOT_STEPS)
        full, low = float(plan.train[slot]), float(plan.train_low[slot])
        if full + low < 0.05 or now.backlog_h <= 0:
            full = low = 0.0
        awake = bool(plan.awake[slot] >= 0.5) or full + low > 0
        hour = now.hour or 0.0
        if self.rules.habits.open_at(hour) and not self.rules.habits.around_the_clock:
            awake = awake or ruled.awake  # an open post is kept waiting only by the rules
        contact = now.synced_min < CONTACT_MIN and float(plan.contact[slot]) * 30 > 2
        trains = Reason("training-plan", full + low) if full + low else Reason("training-later")
        if ruled.train + ruled.train_low > full + low:  # what the rules allow is not taken away
            full, low, trains = ruled.train, ruled.train_low, ruled.reasons[-2]
            awake = True
        return ruled._replace(
            awake=awake,
            train=full,
            train_low=low,
            radio="connected" if contact else "off",
            reasons=(Reason("plan-awake" if awake else "plan-asleep"), trains),
        )
