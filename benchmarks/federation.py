"""How fast boxes that are often off learn from one another: `uv run python benchmarks/federation.py
[--quick]`.

    uv run python benchmarks/federation.py [--quick] [--faults] [--json] [--save] [--data ../shared/data]

When terminals are on and which uploads get stuck is SIMULATED; the four hospitals' patients of
`heart_disease_4site` are real (left out with a word where they are not there); "drawn" worlds are invented
altogether. All methods run under the same weather from the same seeds, 1 to 5; settings were chosen on seeds
from 900 on. Intervals are Student's t over seeds; of times, on their logarithms. A method that never reaches
95 % of the pooled model's accuracy counts with the whole time (`censored`: how often), so a speed-up is a
lower bound. "late": half of the uploads get stuck, for 150 h on average; "drift": the truth turns once in 40
days. With two hospitals in a round there are no stragglers to drop. The gateway's speed is
`federation_speed.py`'s, Flower's beside it (not with --quick) `federation_flower.py`'s.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dp_accounting import dp_event  # type: ignore[import-untyped]
from dp_accounting.pld import PLDAccountant  # type: ignore[import-untyped]
from figures import options_of, tell

from akazuba.federation.accounts import epsilon_of
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.simulate import METHODS, Plan, bounds, final, reached, simulate
from akazuba.federation.skies import Weather
from akazuba.federation.worlds import HEART, Drifting, World, heart

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import federation_flower  # isort: skip
import federation_pictures  # isort: skip
import federation_speed  # isort: skip
from test_federation_gateway import cut_at_random, members  # isort: skip
from test_federation_kill import killed  # isort: skip

SEEDS = (1, 2, 3, 4, 5)
STUDENT = {1: math.nan, 2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Two-sided 95 % of Student's t, by number of seeds."""

LATE = Weather(days=20, stuck=0.5, stuck_h=150)
Made = tuple[World, Plan]


def interval(values: Sequence[float]) -> dict[str, float | int | None]:
    n = len(values)
    middle = float(np.mean(values))
    half = STUDENT[n] * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    low, high = (None, None) if math.isnan(half) else (middle - half, middle + half)
    return {"value": middle, "low": low, "high": high, "n": n}


def of_ratios(values: Sequence[float]) -> dict[str, float | int | None]:
    """Geometric mean."""
    found = interval([math.log(value) for value in values])
    return {k: math.exp(v) if k != "n" and v is not None else v for k, v in found.items()}


def compared(make: Callable[[int], Made], seeds: Sequence[int]) -> dict[str, Any]:
    """All methods of one world."""
    accuracy: dict[str, list[float]] = {name: [] for name in (*METHODS, "pooled", "local")}
    along: dict[str, list[float]] = {name: [] for name in METHODS}
    hours: dict[str, list[float]] = {name: [] for name in METHODS}
    uploads: dict[str, list[float]] = {name: [] for name in METHODS}
    censored = dict.fromkeys(METHODS, 0)
    half_life = []
    for seed in seeds:
        world, plan = make(seed)
        best = bounds(world, plan, seed)
        accuracy["pooled"].append(best.pooled)
        accuracy["local"].append(best.local)
        for name in METHODS:
            course = simulate(world, plan, name, seed)
            point = reached(course.points, 0.95 * best.pooled)
            accuracy[name].append(final(course.points))
            later = course.points[len(course.points) // 3 :]
            along[name].append(float(np.mean([p.accuracy for p in later])))
            hours[name].append(max(1.0, point.at_h) if point else plan.weather.days * 24)
            uploads[name].append(point.uploads if point else course.uploads)
            censored[name] += point is None
            if name == "ours":
                half_life.append(course.half_life_h)
    rivals = [max(pair) for pair in zip(accuracy["fedasync"], accuracy["fedbuff"], strict=True)]
    return {
        "accuracy": {name: interval(values) for name, values in accuracy.items()},
        "accuracy_over_the_last_two_thirds": {name: interval(values) for name, values in along.items()},
        "hours_to_95_percent_of_pooled": {name: of_ratios(values) for name, values in hours.items()},
        "uploads_to_95_percent_of_pooled": {name: interval(values) for name, values in uploads.items()},
        "censored": censored,
        "speedup_vs_sync_fedavg": _ratio(hours, "fedavg"),
        "speedup_vs_fedavg_dropped": _ratio(hours, "fedavg-dropped"),
        "minus_best_of_fedasync_and_fedbuff": interval(_less(accuracy["ours"], rivals)),
        "gap_to_pooled": interval(_less(accuracy["pooled"], accuracy["ours"])),
        "half_life_h": interval(half_life),
    }


def _ratio(hours: dict[str, list[float]], other: str) -> dict[str, float | int | None]:
    return of_ratios([b / a for a, b in zip(hours["ours"], hours[other], strict=True)])


def _less(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def liars(seeds: Sequence[int]) -> dict[str, Any]:
    """A quarter of 40 drawn clinics send ten times the opposite of what they learned."""
    plan = Plan(weather=Weather(days=12), buffer=20, liars=0.25, lie=10.0)
    found: dict[str, list[float]] = {}
    for seed in seeds:
        world = Drifting(seed, clinics=40)
        for how in ("median", "trimmed-mean", "krum"):
            course = simulate(world, replace(plan, robust=how), "ours", seed)
            found.setdefault(how, []).append(final(course.points))
        clipped_only = simulate(world, plan, "ours", seed)
        found.setdefault("clip and weights alone", []).append(final(clipped_only.points))
        found.setdefault("fedbuff", []).append(final(simulate(world, plan, "fedbuff", seed).points))
        honest = replace(plan, liars=0.0)
        found.setdefault("nobody lies, ours", []).append(final(simulate(world, honest, "ours", seed).points))
    return {name: interval(values) for name, values in found.items()}


def private(data: Path, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Accuracy under noise: epsilon of each clinic (there or not) over the whole programme, delta 1e-5."""
    rows = []
    weather = Weather(days=10)
    for clinics, buffer in ((4, 4), (20, 10), (200, 100)):
        for epsilon in (1.0, 3.0, 8.0, None):
            reals, spent, multipliers = [], [], []
            for seed in seeds:
                real = clinics < 200 and (data / HEART).is_dir()
                world: World = heart(data, seed, clinics) if real else Drifting(seed, clinics=clinics)
                course = simulate(world, Plan(weather=weather, buffer=buffer, epsilon=epsilon), "ours", seed)
                reals.append(final(course.points))
                spent.append(course.epsilon_highest)
                multipliers.append(course.noise_multiplier)
            rows.append(
                {
                    "clinics": clinics,
                    "world": world.name,
                    "simulated": world.simulated,
                    "epsilon": epsilon,
                    "accuracy": interval(reals),
                    "epsilon_of_who_took_part_most": max(spent) if epsilon else None,
                    "noise_multiplier": multipliers[0],
                }
            )
    return rows


def epsilon_off() -> float:
    """The largest relative difference from dp-accounting's privacy loss distributions."""
    worst = 0.0
    for multiplier, times in ((0.7, 1), (1.0, 20), (2.0, 50), (3.0, 100), (10.0, 500)):
        accountant = PLDAccountant()
        accountant.compose(dp_event.GaussianDpEvent(multiplier), times)
        theirs = accountant.get_epsilon(1e-5)
        worst = max(worst, abs(epsilon_of(math.sqrt(times) / multiplier, 1e-5) / theirs - 1))
    return worst


def clip_off(seeds: Sequence[int]) -> dict[str, Any]:
    """C over the true median of log-normal norms after 50 buffers of 100, from a start ten times too high."""
    found = []
    for seed in seeds:
        random, clip = np.random.default_rng(seed), AdaptiveClip(10.0, 0.5, 0.2)
        for _ in range(50):
            clip = clip.after(float(np.mean(random.lognormal(0, 0.5, 100) <= clip.norm)))
        found.append(clip.norm)
    return interval(found)


def measured(data: Path, *, quick: bool) -> dict[str, Any]:
    days = 20.0 if quick else 30.0
    calm = Weather(days=days)
    worlds: dict[str, Callable[[int], Made]] = {
        "drawn_calm": lambda s: (Drifting(s, clinics=40), Plan(weather=calm)),
        "drawn_drift_late": lambda s: (Drifting(s, clinics=40, turn_days=40), Plan(weather=LATE)),
    }
    if (data / HEART).is_dir():
        worlds = {
            HEART: lambda s: (heart(data, s), Plan(weather=calm, buffer=2)),
            f"{HEART}_late": lambda s: (heart(data, s), Plan(weather=LATE, buffer=2)),
            **worlds,
        }
    else:
        _note(f"{data / HEART} is not there: the four hospitals are left out")
    for name, world, buffer, every in (
        (federation_pictures.SKIN, federation_pictures.skin, 2, 5),
        (federation_pictures.CHEST, federation_pictures.chest, 4, 2),
    ):
        if (data / name).is_dir():
            worlds[f"{name}_late"] = partial(_pictures, world, data, buffer, every if quick else 1)
        else:
            _note(f"{data / name} is not there: left out")
    found = {}
    for name, make in worlds.items():
        _note(name)
        found[name] = compared(make, SEEDS)
    headline = found[next(iter(found))]
    figures: dict[str, Any] = {
        "simulated": "when terminals are on and how late uploads are; in drawn worlds also all cases",
        "headline_world": next(iter(found)),
        "speedup_vs_sync_fedavg": headline["speedup_vs_sync_fedavg"],
        **{f"accuracy_{name.replace('-', '_')}": value for name, value in headline["accuracy"].items()},
        "gap_to_pooled": headline["gap_to_pooled"],
        "worlds": found,
        "epsilon_relative_difference_from_dp_accounting": epsilon_off(),
        "clip_over_target_after_50": clip_off(SEEDS),
    }
    _note("cuts")
    figures |= cuts(quick=quick)
    _note("gateway")
    figures |= federation_speed.measured(60 if quick else 400, 16)
    if not quick:
        _note("Flower's SuperLink")
        figures |= federation_flower.measured(30.0, 8)
    _note("liars")
    figures["a_quarter_of_liars"] = liars(SEEDS[:2] if quick else SEEDS)
    _note("privacy")
    figures["private"] = private(data, SEEDS[:2] if quick else SEEDS)
    figures["epsilon"] = max(row["epsilon_of_who_took_part_most"] or 0.0 for row in figures["private"])
    return figures


def _pictures(
    world: Callable[[Path, int, int], World], data: Path, buffer: int, every: int, seed: int
) -> Made:
    return world(data, seed, every), Plan(weather=LATE, buffer=buffer)


def cuts(*, quick: bool) -> dict[str, Any]:
    """Kill -9 of processes that hold a whole programme, half of them at a drawn statement or file, over lines
    that lose, double and disorder what is said; and within one process, gateways and coordinator that lose
    their memory.
    """
    kills, steps, lives, found = (8, 250, [], []) if quick else (250, 1000, [], [])
    for noise in (0.0, 0.5):
        with TemporaryDirectory() as folder:
            lives.append(killed(Path(folder), kills, 1, noise))
        with TemporaryDirectory() as folder:
            found.append(cut_at_random(Path(folder), members(), noise, steps, 1))
    return {
        "faults_run": sum(one.cuts for one in found) + sum(one.kills + one.faults for one in lives),
        "faults_kill_9": sum(one.kills for one in lives),
        "faults_of_lines_and_replies": sum(one.faults for one in lives),
        "faults_memory_and_replies_in_one_process": sum(one.cuts for one in found),
        "faults_updates": sum(one.made for one in found) + sum(one.kept for one in lives),
        "faults_refused_for_an_old_base": sum(one.refused for one in lives),
        "faults_lost": sum(one.lost for one in (*found, *lives)),
        "faults_double": sum(one.twice for one in (*found, *lives)),
        "faults_replayed_to_the_same_bits": all(one.same_bits for one in (*found, *lives)),
    }


def _note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    arguments = options_of(__doc__, "quick", "json", "save", "faults: only the faults")
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = arguments.parse_args()
    if given.faults:
        tell(cuts(quick=given.quick), given, __file__.replace(".py", "_faults.py"))
    else:
        tell(measured(given.data, quick=given.quick), given, __file__)


if __name__ == "__main__":
    main()
