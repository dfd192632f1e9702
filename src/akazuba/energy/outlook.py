"""The next two days: the policy run ahead over a forecast, with the reasons it will have, and what to be
warned of.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from akazuba.energy.demand import Habits, expected
from akazuba.energy.devices import Device
from akazuba.energy.forecast import Forecaster
from akazuba.energy.kit import STEP_H, STEPS_A_DAY, Kit
from akazuba.energy.lp import has_solver
from akazuba.energy.plan import LEVEL, SLOT_STEPS, SLOTS, Planned
from akazuba.energy.rules import Rules
from akazuba.energy.runs import Faults, Start, Totals, Trace
from akazuba.energy.simulate import simulate
from akazuba.energy.values import Policy
from akazuba.energy.weather import Weather

STEPS = SLOTS * SLOT_STEPS
EXACT = Faults(gauge_noise=0.0, load_gain=1.0)


@dataclass(frozen=True)
class Outlook:
    """hour: of the first step. level: the forecast's quantile. by: which policy."""

    hour: float
    level: float
    by: str
    floor_wh: float
    totals: Totals
    trace: Trace

    @property
    def surplus_wh(self) -> float:
        """What the panel will give over and above in these two days, with the forecast's caution."""
        return self.totals.unused_wh

    def floor_reached_in_h(self) -> float | None:
        """Hours until the charge falls to the floor; None when it does not, or lies below it already."""
        wh = self.trace.wh
        if len(wh) == 0 or wh[0] < self.floor_wh:
            return None
        below = np.flatnonzero(wh < self.floor_wh)
        return None if len(below) == 0 else float(below[0]) * STEP_H


def look_ahead(
    rules: Rules, forecaster: Forecaster, start: Start, level: float = LEVEL, *, plan: bool = True
) -> Outlook:
    """start: now. plan: by the linear programme where there is a solver, else by the rules alone."""
    device, kit, habits = rules.device, rules.kit, rules.habits
    seen = copy.deepcopy(forecaster)
    panel_w = seen.quantiles(STEPS, 1, (level,))[0] / STEP_H
    policy: Policy = rules
    if plan and has_solver():
        policy = Planned(rules, seen, every=10**9, level=level)
    totals, trace = _run(policy, device, kit, habits, panel_w, start)
    return Outlook(start.hour, level, policy.name, rules.limits.floor, totals, trace)


def _run(
    policy: Policy,
    device: Device,
    kit: Kit,
    habits: Habits,
    panel_w: np.typing.NDArray[np.float64],
    start: Start,
) -> tuple[Totals, Trace]:
    share = panel_w / (kit.panel_w * kit.controller_efficiency)
    weather = Weather(share, share, "forecast", simulated=False)
    people = expected(habits, start.hour, STEPS)
    totals, trace = simulate(
        policy, device, kit, habits, weather, people, faults=EXACT, start=start, keep=True
    )
    if trace is None:
        raise AssertionError
    return totals, trace


@dataclass(frozen=True)
class Line:
    """Half an hour of the table. hour: of the day at its start; wh: at its end."""

    hour: float
    wh: float
    panel_wh: float
    load_wh: float
    mode: str
    awake: float
    train: float
    radio: bool
    because: str


def table(ahead: Outlook) -> list[Line]:
    """96 lines."""
    trace = ahead.trace
    lines = []
    for slot in range(len(trace.wh) // SLOT_STEPS):
        steps = slice(slot * SLOT_STEPS, (slot + 1) * SLOT_STEPS)
        controls = trace.controls[steps]
        lines.append(
            Line(
                (ahead.hour + slot * SLOT_STEPS * STEP_H) % 24,
                float(trace.wh[steps][-1]),
                float(trace.panel_w[steps].sum() * STEP_H),
                float(trace.load_w[steps].sum() * STEP_H),
                controls[-1].mode,
                sum(control.awake for control in controls) / len(controls),
                sum(control.train + control.train_low for control in controls) / len(controls),
                any(control.radio == "connected" for control in controls),
                "; ".join(str(reason) for reason in controls[0].reasons),
            )
        )
    return lines


def alarms(ahead: Outlook) -> list[str]:
    """In words for whoever is on duty."""
    found = []
    hours = ahead.floor_reached_in_h()
    if hours is not None:
        at = (ahead.hour + hours) % 24
        clock = f"{int(at):02d}:{round(at % 1 * 60) // 5 * 5:02d}"
        day = "" if ahead.hour + hours < 24 else " tomorrow" if ahead.hour + hours < 48 else " in two days"
        found.append(
            f"the battery will reach the floor at {clock}{day}; charge it or lose training and routine work"
        )
    if len(ahead.trace.wh) and ahead.trace.wh[0] < ahead.floor_wh:
        found.append("the battery is below the floor: emergencies only")
    if ahead.totals.blackout_h > 0:
        found.append(f"the box will be without power for {ahead.totals.blackout_h:.1f} h of the next 48")
    return found


def day_totals(trace: Trace) -> list[tuple[float, float, float]]:
    """(lowest Wh, panel Wh, load Wh) of each whole day."""
    days = len(trace.wh) // STEPS_A_DAY
    shaped = [
        part[: days * STEPS_A_DAY].reshape(days, -1) for part in (trace.wh, trace.panel_w, trace.load_w)
    ]
    return [
        (float(low), float(panel), float(load))
        for low, panel, load in zip(
            shaped[0].min(1), shaped[1].sum(1) * STEP_H, shaped[2].sum(1) * STEP_H, strict=True
        )
    ]
