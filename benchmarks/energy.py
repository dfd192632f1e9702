"""What the rules of energy save, and what they may cost: `benchmarks/energy.py [--quick] [--json] [--save]`.

Everything here is SIMULATED (weather, patients, battery, board) and nothing was metered on hardware; the
policies are the box's own. Site-years: sixteen African sites with seeds 11 to 15. The rules' settings were
chosen on two other sites with other seeds (`--tune` runs that search again and prints it).

energy_vs_a1, energy_vs_a: the rules' energy over that of a box always on with the screen blanked ten minutes
after use (A1, the fair baseline), or lit (A); with a kit that never runs out, so that all give the same
service and train the same hours; a post open 8 to 17 h. `_24h`: one that never closes, kept awake.
energy_vs_foresight: over the least that a linear programme needs that knows every patient, same kit, service
and training. training_vs_foresight: training done over the most possible (2 h a day fall due), 20 W, 128 Wh.
missed_emergencies, late_emergencies (over 5 minutes with the boot), blackout_h, refused_routine: sums or
means of all site-years with 15 and 20 W panels and 128 Wh, day and 24 h. Intervals are 95 % bootstraps over
site-years. sensitivity: every figure of a device within 30 % of its value, one by one and all at once;
lasting: whether a small kit lasts when the board is so far off the table that its rules go by.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from energy_sensitivity import lasting, sensitivity
from figures import options_of, tell, wilson

from akazuba.energy.baselines import AlwaysOn, Threshold
from akazuba.energy.compare import AMPLE, FAULTS
from akazuba.energy.demand import Demand, Habits, draw
from akazuba.energy.devices import NOT_METERED, Device, device, devices
from akazuba.energy.forecast import Forecaster
from akazuba.energy.foresight import least_energy, most_training
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.lp import has_solver
from akazuba.energy.outlook import look_ahead
from akazuba.energy.plan import SLOTS, Ahead, Planned, Planner
from akazuba.energy.rules import Rules, Tuning
from akazuba.energy.runs import Start, Totals
from akazuba.energy.simulate import simulate
from akazuba.energy.sites import site, sites
from akazuba.energy.values import Policy
from akazuba.energy.weather import Weather, simulated_year

TUNED_ON = (("kinshasa", 101), ("monrovia", 102))
DAY, NIGHT_TOO = Habits(), Habits(opens=0.0, closes=24.0)
POSTS = {"": DAY, "_24h": NIGHT_TOO}
WANTED = {
    "energy_vs_a1": "<= 0.58",
    "energy_vs_a1_24h": "<= 0.80",
    "energy_vs_foresight": "<= 1.20",
    "training_vs_foresight": ">= 0.80",
    "missed_emergencies": 0,
    "late_emergencies": 0,
    "blackout_h": 0,
    "refused_routine": "<= 0.01",
    "plan_ms_p50": "<= 20",
    "site_year_s": "<= 2",
    "site_years": ">= 15",
}
YEAR = 2025

Estimate = dict[str, float | int | None]


def reported(rounds: int) -> list[tuple[str, int]]:
    """(site, seed) of the site-years; the tuned ones are left out."""
    names = [name for name in sites() if name not in {place for place, _ in TUNED_ON}]
    return [(name, 11 + (at + turn) % 5) for turn in range(rounds) for at, name in enumerate(names)]


@cache
def weather(place: str, seed: int) -> Weather:
    return simulated_year(site(place), YEAR, seed)


@cache
def people(habits: Habits, seed: int) -> Demand:
    return draw(habits, 365, seed)


def ran(
    policy: Policy, board: Device, kit: Kit, habits: Habits, place: str, seed: int, fault: str = "none"
) -> Totals:
    found, _ = simulate(
        policy,
        board,
        kit,
        habits,
        weather(place, seed),
        people(habits, seed),
        faults=FAULTS[fault],
        seed=seed,
    )
    return found


@cache
def always_on(board: Device, habits: Habits, seed: int, *, blanks: bool) -> float:
    """Wh a day with the ample kit, under which the weather changes nothing for a box that is always on."""
    return ran(AlwaysOn(blanks=blanks), board, AMPLE, habits, "kigali", seed).wh_a_day


def interval(values: Sequence[float]) -> Estimate:
    """Mean with a 95 % bootstrap over the values."""
    array = np.array(values)
    rng = np.random.default_rng(11)
    means = array[rng.integers(0, len(array), (2000, len(array)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "value": round(float(array.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(values),
    }


def savings(years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Energy of the rules over A and A1 by device and post, and of the fast sleepers between patients."""
    found: dict[str, Any] = {}
    service: list[float] = []
    by_a1: dict[str, dict[str, list[float]]] = {}
    by_a: dict[str, dict[str, list[float]]] = {}
    for post, habits in POSTS.items():
        for name, board in devices().items():
            for place, seed in years:
                totals = ran(Rules(board, AMPLE, habits), board, AMPLE, habits, place, seed)
                service.append(totals.training_h_a_day / habits.training_h)
                for kept, blanks in ((by_a1, True), (by_a, False)):
                    ratio = totals.wh_a_day / always_on(board, habits, seed, blanks=blanks)
                    kept.setdefault(post, {}).setdefault(name, []).append(ratio)
    for post in POSTS:
        for key, kept in (("energy_vs_a1", by_a1), ("energy_vs_a", by_a)):
            by_year = [float(np.mean(ratios)) for ratios in zip(*kept[post].values(), strict=True)]
            found[key + post] = interval(by_year)
            found[f"{key}{post}_by_device"] = {name: interval(ratios) for name, ratios in kept[post].items()}
    found["ample_training_of_due"] = round(float(np.mean(service)), 4)
    return found


def survival(years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Small kits through every site-year, and what happens to boxes without the rules."""
    board = device("pi5")
    missed = late = emergencies = 0
    slowest = blackout = 0.0
    refused: dict[str, list[float]] = {}
    waited: dict[str, list[float]] = {}
    trained: dict[str, list[float]] = {}
    for post, habits in POSTS.items():
        for watts in (15.0, 20.0):
            kit = Kit(watts, 128.0)
            key = f"{watts:.0f}W{post}"
            for place, seed in years:
                totals = ran(Rules(board, kit, habits), board, kit, habits, place, seed)
                missed, late = missed + totals.missed, late + totals.late
                emergencies += totals.emergencies
                blackout += totals.blackout_h
                slowest = max(slowest, totals.slowest_s)
                refused.setdefault(key, []).append(1 - totals.served)
                waited.setdefault(key, []).append(totals.cold / totals.routine)
                trained.setdefault(key, []).append(totals.training_h_a_day)
    kit = Kit(20.0, 128.0)
    without = {}
    for policy in (AlwaysOn(), AlwaysOn(blanks=True), Threshold(128.0)):
        runs = [ran(policy, board, kit, DAY, place, seed) for place, seed in years[:5]]
        without[policy.name] = {
            "missed": sum(run.missed for run in runs),
            "emergencies": sum(run.emergencies for run in runs),
            "blackout_h_a_year": round(sum(run.blackout_h for run in runs) / len(runs)),
        }
    return {
        "missed_emergencies": missed,
        "late_emergencies": late,
        "emergencies": emergencies,
        "missed_or_late_share": wilson(missed + late, emergencies),
        "slowest_emergency_s": round(slowest, 1),
        "blackout_h": round(blackout, 2),
        "refused_routine": interval([share for shares in refused.values() for share in shares]),
        "refused_routine_by_kit": {key: interval(shares) for key, shares in refused.items()},
        "waited_for_wake_by_kit": {key: interval(shares) for key, shares in waited.items()},
        "training_h_a_day_by_kit": {key: interval(hours) for key, hours in trained.items()},
        "baselines_20W_day_5_site_years": without,
    }


def foresight(years: Sequence[tuple[str, int]], seeds: Sequence[int]) -> dict[str, Any]:
    """Against the linear programme that knows the year."""
    ample = []
    for name, board in devices().items():
        for seed in seeds if name == "pi5" else seeds[:2]:
            totals = ran(Rules(board, AMPLE, DAY), board, AMPLE, DAY, "kigali", seed)
            bound = least_energy(
                board, AMPLE, DAY, weather("kigali", seed), people(DAY, seed), totals.training_h_a_day
            )
            ample.append(totals.wh_a_day / bound.wh_a_day)
    board, small, trained = device("pi5"), [], []
    kit = Kit(20.0, 128.0)
    for place, seed in years:
        totals = ran(Rules(board, kit, DAY), board, kit, DAY, place, seed)
        sky, crowd = weather(place, seed), people(DAY, seed)
        least = least_energy(board, kit, DAY, sky, crowd, totals.training_h_a_day)
        small.append(totals.wh_a_day / least.wh_a_day)
        most = most_training(board, kit, DAY, sky, crowd, DAY.training_h)
        trained.append(totals.training_h_a_day / most.training_h_a_day)
    return {
        "energy_vs_foresight": interval(ample),
        "energy_vs_foresight_20W": interval(small),
        "training_vs_foresight": interval(trained),
    }


def unlimited(years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """With always something to train, on a kit with surplus: what of the sun's surplus do the rules use?"""
    board, kit, found = device("pi5"), Kit(30.0, 256.0), []
    for place, seed in years:
        sky, crowd = weather(place, seed), people(DAY, seed)
        totals, _ = simulate(
            Rules(board, kit, DAY), board, kit, DAY, sky, crowd, seed=seed, unlimited_training=True
        )
        most = most_training(board, kit, DAY, sky, crowd, 24.0)
        found.append(totals.training_h_a_day / most.training_h_a_day)
    return {"unlimited_training_vs_foresight_30W_256Wh": interval(found)}


def planned(years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Rules and plan against rules alone, on the small kit."""
    board, kit = device("pi5"), Kit(15.0, 128.0)
    rows = []
    for place, seed in years:
        for post, habits in POSTS.items():
            rules = Rules(board, kit, habits)
            clear = weather(place, seed).clear * kit.panel_w * kit.controller_efficiency
            both = {
                "rules": ran(rules, board, kit, habits, place, seed),
                "plan": ran(Planned(rules, Forecaster(clear), every=36), board, kit, habits, place, seed),
            }
            rows.append(
                {
                    "site": place,
                    "post": post or "day",
                    **{
                        f"{name}_{what}": round(value, 4)
                        for name, totals in both.items()
                        for what, value in (
                            ("missed", totals.missed),
                            ("refused", 1 - totals.served),
                            ("training_h_a_day", totals.training_h_a_day),
                            ("wh_a_day", totals.wh_a_day),
                        )
                    },
                }
            )
    return {"plan_beside_rules_15W": rows}


def stress(years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Each fault on 20 W and 128 Wh, day and 24 h."""
    board, kit = device("pi5"), Kit(20.0, 128.0)
    found = {}
    for fault in FAULTS:
        runs = [
            ran(Rules(board, kit, habits), board, kit, habits, place, seed, fault)
            for place, seed in years
            for habits in POSTS.values()
        ]
        found[fault] = {
            "missed": sum(run.missed for run in runs),
            "late": sum(run.late for run in runs),
            "emergencies": sum(run.emergencies for run in runs),
            "blackout_h": round(sum(run.blackout_h for run in runs), 1),
            "refused_routine": round(sum(run.refused for run in runs) / sum(run.routine for run in runs), 4),
            "lowest_charge": round(min(run.lowest_soc for run in runs), 3),
        }
    return {"stress": found}


def speed(times: int) -> dict[str, float]:
    """One year of weather and rules, and one plan, in this process."""
    board, kit = device("pi5"), Kit(20.0, 128.0)
    rules = Rules(board, kit, DAY)
    simulated_year(site("juba"), YEAR, 999)  # loads pvlib
    spent, cpu = [], []
    for turn in range(3):
        started, used = time.perf_counter(), time.process_time()
        sky = simulated_year(site("juba"), YEAR, 900 + turn)
        simulate(rules, board, kit, DAY, sky, draw(DAY, 365, 900 + turn))
        spent.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    found = {"site_year_s": round(min(spent), 2), "site_year_cpu_s": round(min(cpu), 2)}
    clear = sky.clear * kit.panel_w * kit.controller_efficiency
    seen = Forecaster(clear)
    for watts in (sky.power[: 20 * STEPS_A_DAY] * kit.panel_w * kit.controller_efficiency).tolist():
        seen.saw(watts)
    rng = np.random.default_rng(3)
    if has_solver():
        planner = Planner(board, kit, DAY, rules.limits.floor)
        ms = []
        for _ in range(times):
            panel = rng.uniform(0.3, 1.0) * seen.quantiles(SLOTS, 6, (0.25,))[0]
            given = Ahead(float(rng.uniform(30, 128)), float(rng.uniform(0, 24)), panel, 3.0, synced=False)
            started = time.perf_counter()
            planner.plan(given)
            ms.append(1e3 * (time.perf_counter() - started))
        found["plan_ms_p50"] = round(median(ms), 2)
        found["plan_ms_p95"] = round(float(np.quantile(ms, 0.95)), 2)
    ms = []
    for _ in range(times):
        started = time.perf_counter()
        look_ahead(rules, seen, Start(float(rng.uniform(0.3, 1.0))))
        ms.append(1e3 * (time.perf_counter() - started))
    return found | {"plan_with_reasons_ms_p50": round(median(ms), 2)}


GRID = tuple(
    Tuning(reserve_days=days, saving=saving, night=saving + 0.1, train_low=train)
    for days, saving, train in (
        (2.0, 0.25, 0.6), (3.0, 0.1, 0.6), (3.0, 0.2, 0.6), (3.0, 0.25, 0.75), (3.0, 0.3, 0.6),
        (3.5, 0.25, 0.6), (3.5, 0.3, 0.6),
    )
)  # fmt: skip


def tuned() -> list[dict[str, Any]]:
    """The search: each setting on the two tuning site-years, with the kit's limits and a dark spell."""
    board, rows = device("pi5"), []
    for tuning in GRID:
        row: dict[str, Any] = dataclasses.asdict(tuning)
        for post, habits in POSTS.items():
            for watts in (15.0, 20.0):
                kit = Kit(watts, 128.0)
                for fault in ("none", "dark-days"):
                    runs = [
                        ran(Rules(board, kit, habits, tuning), board, kit, habits, place, seed, fault)
                        for place, seed in TUNED_ON
                    ]
                    row[f"{watts:.0f}W{post} {fault}"] = {
                        "missed": sum(run.missed for run in runs),
                        "refused": round(
                            sum(run.refused for run in runs) / sum(run.routine for run in runs), 4
                        ),
                        "training": round(float(np.mean([run.training_h_a_day for run in runs])), 3),
                    }
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def measured(*, quick: bool) -> dict[str, Any]:
    years = reported(1)
    few = years[:3] if quick else years
    figures: dict[str, Any] = {
        "simulated": "weather, patients, battery and board",
        "metered": f"no: {NOT_METERED}",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "site_years": len(few),
        "site_years_are": [f"{place} {YEAR}, seed {seed}" for place, seed in few],
        "tuned_on": [f"{place} {YEAR}, seed {seed}" for place, seed in TUNED_ON],
    }
    steps: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("speed", lambda: speed(20 if quick else 100)),
        ("savings", lambda: savings(few)),
        ("survival", lambda: survival(few)),
        ("stress", lambda: stress(years[1:2] if quick else years[:3])),
        ("sensitivity", lambda: sensitivity(4 if quick else 40, POSTS)),
        ("lasting", lambda: lasting(2 if quick else 32, POSTS, years)),
    ]
    if has_solver():
        steps += [
            (
                "foresight",
                lambda: foresight(few[:2] if quick else few, (11,) if quick else (11, 12, 13, 14, 15)),
            ),
            ("unlimited training", lambda: unlimited(years[:1] if quick else years[:5])),
            ("plan", lambda: {} if quick else planned(years[:2])),
        ]
    for what, step in steps:
        started = time.monotonic()
        figures |= step()
        print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return figures | {"wanted": WANTED}


def main() -> None:
    given = options_of(__doc__, "quick", "json", "save", "tune").parse_args()
    started = time.monotonic()
    figures: dict[str, Any] = {"tuning": tuned()} if given.tune else measured(quick=given.quick)
    figures["seconds"] = round(time.monotonic() - started, 1)
    given.save = given.save and not given.tune
    tell(figures, given, __file__)


if __name__ == "__main__":
    main()
