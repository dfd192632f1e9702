"""Policies side by side over one SIMULATED year, with what perfect foresight could have done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from akazuba.energy.baselines import AlwaysOn, Threshold
from akazuba.energy.demand import Habits, draw
from akazuba.energy.devices import NOT_METERED, Device
from akazuba.energy.forecast import Forecaster
from akazuba.energy.foresight import Bound, least_energy, most_training
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.lp import NoPlanError, has_solver
from akazuba.energy.plan import Planned
from akazuba.energy.rules import Rules
from akazuba.energy.runs import Faults, Totals, Trace
from akazuba.energy.simulate import simulate
from akazuba.energy.values import Policy
from akazuba.energy.weather import Weather

AMPLE = Kit(panel_w=400.0, battery_wh=4000.0)
"""A kit that never runs out: every policy then gives the same service, so that energies may be compared."""
FAULTS: dict[str, Faults] = {
    "none": Faults(),
    "gauge-high": Faults(gauge_bias=0.2, gauge_noise=0.02),
    "gauge-low": Faults(gauge_bias=-0.1, gauge_noise=0.02),
    "gauge-gone": Faults(gauge="gone"),
    "gauge-absurd": Faults(gauge="absurd"),
    "gauge-stuck": Faults(gauge_stuck_from=30),
    "volts-high": Faults(volts_bias=0.04),
    "dark-days": Faults(dark_days=10),
    "broken-panel": Faults(panel=0.5, panel_from=120),
    "clock-lost": Faults(clock_lost_from=60),
}


@dataclass(frozen=True)
class Ran:
    """policy, what it did, and the seconds that the simulation took."""

    policy: str
    totals: Totals
    seconds: float
    trace: Trace | None = None


@dataclass(frozen=True)
class Comparison:
    """by: under the kit. ample: under one that never runs out. bounds: least energy with the training that
    the rules did, and most training; None without a solver.
    """

    by: tuple[Ran, ...]
    ample: tuple[Ran, ...]
    least: Bound | None
    most: Bound | None
    why_no_bound: str = ""

    def energy_vs(self, name: str) -> float:
        """Of the rules over a policy's whose name begins so, with the ample kit."""
        found = {ran.policy.split(" ")[0]: ran.totals.wh_a_day for ran in self.ample}
        return found["rules"] / found[name]


def compare(
    device: Device,
    kit: Kit,
    habits: Habits,
    weather: Weather,
    seed: int,
    faults: Faults,
    *,
    plan: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """plan: also the linear programmes, which take ten times as long as all else."""
    demand = draw(habits, len(weather.power) // STEPS_A_DAY, seed)

    def run(policy: Policy, with_kit: Kit, given: Faults, *, keep: bool = False) -> Ran:
        started = time.perf_counter()
        tell = None if progress is None else lambda share: progress(policy.name, share)
        totals, trace = simulate(
            policy, device, with_kit, habits, weather, demand,
            faults=given, seed=seed, keep=keep, progress=tell,
        )  # fmt: skip
        return Ran(policy.name, totals, time.perf_counter() - started, trace)

    rules = Rules(device, kit, habits)
    policies: list[Policy] = [AlwaysOn(), AlwaysOn(blanks=True), Threshold(kit.battery_wh)]
    by = [run(policy, kit, faults) for policy in policies]
    by.append(run(rules, kit, faults, keep=True))
    if plan and has_solver():
        clear = weather.clear * kit.panel_w * kit.controller_efficiency
        by.append(run(Planned(rules, Forecaster(clear), every=36), kit, faults))
    bigger = replace(AMPLE, charge_efficiency=kit.charge_efficiency)
    ample = [
        run(policy, bigger, Faults())
        for policy in (AlwaysOn(), AlwaysOn(blanks=True), Rules(device, bigger, habits))
    ]
    least = most = None
    why = "" if plan else "not asked for"
    if plan:
        if progress is not None:
            progress("perfect foresight", 0.0)
        try:
            trained = by[3].totals.training_h_a_day
            least = least_energy(device, kit, habits, weather, demand, trained)
            most = most_training(device, kit, habits, weather, demand, habits.training_h)
        except NoPlanError as problem:
            why = str(problem)
    return Comparison(tuple(by), tuple(ample), least, most, why)


def facts(found: Comparison, weather: Weather, given: dict[str, Any]) -> dict[str, Any]:
    """As `akazuba energy simulate --json` prints it."""
    return {
        "simulated": True,
        "metered": False,
        "not_metered": NOT_METERED,
        "weather": weather.says,
        "given": given,
        "policies": [_row(ran) for ran in found.by],
        "ample_kit": [_row(ran) for ran in found.ample],
        "energy_vs_a1": round(found.energy_vs("A1"), 4),
        "energy_vs_a": round(found.energy_vs("A"), 4),
        "perfect_foresight": None
        if found.least is None or found.most is None
        else {"least_energy": asdict(found.least), "most_training": asdict(found.most)},
        "why_no_foresight": found.why_no_bound,
    }


def _row(ran: Ran) -> dict[str, Any]:
    totals = ran.totals
    return {
        "policy": ran.policy,
        "wh_a_day": round(totals.wh_a_day, 2),
        "training_h_a_day": round(totals.training_h_a_day, 3),
        "served_routine": round(totals.served, 5),
        **{key: value for key, value in asdict(totals).items() if key not in ("parts", "modes_h")},
        "wh_a_day_by_part": {name: round(wh / totals.days, 2) for name, wh in totals.parts.items()},
        "hours_by_mode": {name: round(hours, 1) for name, hours in totals.modes_h.items()},
        "simulated_in_s": round(ran.seconds, 2),
    }
