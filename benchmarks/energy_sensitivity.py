"""How far the saving depends on the figures of the boards. Part of `energy.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from akazuba.energy.baselines import AlwaysOn
from akazuba.energy.compare import AMPLE
from akazuba.energy.demand import Habits, draw
from akazuba.energy.devices import FIGURES, Device, device, devices
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.rules import Rules
from akazuba.energy.simulate import simulate
from akazuba.energy.sites import site
from akazuba.energy.weather import Weather, simulated_year


@cache
def _kigali() -> Weather:
    return simulated_year(site("kigali"), 2025, 1)


def bent(board: Device, factors: dict[str, float]) -> Device:
    """Figures times their factors, kept in an order that a board can have."""
    given = {
        name: min(1.0, getattr(board, name) * factor)
        if name.endswith(("efficiency", "speed"))
        else getattr(board, name) * factor
        for name, factor in factors.items()
    }
    made = replace(board, **given)
    low = max(made.train_low_w, made.idle_w * 1.05)
    return replace(
        made,
        train_low_w=low,
        train_w=max(made.train_w, low),
        student_w=max(made.student_w, made.idle_w * 1.05),
        large_w=max(made.large_w, made.idle_w * 1.05),
        screen_dim_w=min(made.screen_dim_w, made.screen_full_w),
    )


def month_ratio(board: Device, habits: Habits, seed: int) -> float:
    """Energy over A1 in four weeks with the ample kit."""
    sky, crowd = _kigali(), draw(habits, 28, seed)
    both = [
        simulate(policy, board, AMPLE, habits, sky, crowd, steps=28 * STEPS_A_DAY, seed=seed)[0].wh_a_day
        for policy in (Rules(board, AMPLE, habits), AlwaysOn(blanks=True))
    ]
    return both[0] / both[1]


def sensitivity(draws: int, posts: Mapping[str, Habits]) -> dict[str, Any]:
    rng = np.random.default_rng(30)
    found: dict[str, Any] = {}
    for name, board in devices().items():
        by_post: dict[str, list[float]] = {post: [] for post in posts}
        for turn in range(draws):
            other = bent(board, {figure: float(rng.uniform(0.7, 1.3)) for figure in FIGURES})
            load = float(10 ** rng.uniform(1, 2.3))
            for post, habits in posts.items():
                by_post[post].append(month_ratio(other, replace(habits, routine=load), turn))
        found[name] = {
            (post or "_day")[1:]: {
                "p5_p50_p95": [round(float(q), 3) for q in np.quantile(ratios, (0.05, 0.5, 0.95))],
                "share_within_target": round(
                    float(np.mean(np.array(ratios) <= (0.58 if not post else 0.80))), 3
                ),
                "n": draws,
            }
            for post, ratios in by_post.items()
        }
    board = device("pi5")
    one_by_one = {
        figure: [round(month_ratio(bent(board, {figure: factor}), posts[""], 1), 3) for factor in (0.7, 1.3)]
        for figure in FIGURES
    }
    return {"sensitivity_all_figures_30_percent": found, "sensitivity_one_by_one_pi5_day": one_by_one}


def lasting(draws: int, posts: Mapping[str, Habits], years: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Small kits whose rules go by the table and by 40 patients a day, while the board draws otherwise and 10
    to 200 come: site-years in turn, Raspberry Pi 5, 128 Wh.
    """
    rng, board, found = np.random.default_rng(31), device("pi5"), {}
    for watts in (15.0, 20.0):
        kit = Kit(watts, 128.0)
        for post, habits in posts.items():
            runs = []
            for turn in range(draws):
                place, seed = years[turn % len(years)]
                other = bent(board, {figure: float(rng.uniform(0.7, 1.3)) for figure in FIGURES})
                crowd = draw(replace(habits, routine=float(10 ** rng.uniform(1, 2.3))), 365, seed)
                rules, sky = Rules(board, kit, habits), simulated_year(site(place), 2025, seed)
                runs.append(simulate(rules, other, kit, habits, sky, crowd, seed=seed)[0])
            found[f"{watts:g}W{post}"] = {
                "runs": draws,
                "emergencies": sum(run.emergencies for run in runs),
                "missed": sum(run.missed for run in runs),
                "late": sum(run.late for run in runs),
                "slowest_emergency_s": round(max(run.slowest_s for run in runs), 1),
                "runs_with_blackout": sum(run.blackout_h > 0 for run in runs),
                "blackout_h_a_year_worst": round(max(run.blackout_h for run in runs), 1),
                "refused_routine": round(
                    sum(run.refused for run in runs) / sum(run.routine for run in runs), 4
                ),
                "lowest_charge": round(min(run.lowest_soc for run in runs), 3),
            }
    return {"lasting_30_percent_off_the_table": found}
