"""Does the sun give the surplus that a terminal reckons with, and how often may it train?
`benchmarks/energy_surplus.py [--quick] [--json] [--save]`.

SIMULATED site-years (the reported ones of `energy.py`; Raspberry Pi 5, 128 Wh, 8 to 17 h), a box that trains
nothing, asked every third day at 10 h from the second month on: what will be over in the next 24 h in three
of four cases (`energy.surplus`), and what was over.

held: share of the days on which at least as much was over as was reckoned with (wanted: 0.75).
reckoned_share: what was reckoned with over what was there, in all. baseline_held, baseline_share: of a box
that reckons with what was over in the 24 h before. may_train: share of the days on which the surplus carries
a training of so many hours at full clock. Intervals are 95 % bootstraps over site-years.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from energy import Estimate, interval, people, reported, weather
from figures import options_of, tell

from akazuba.energy.demand import Habits
from akazuba.energy.devices import NOT_METERED, device
from akazuba.energy.forecast import Forecaster
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.outlook import Outlook, look_ahead
from akazuba.energy.rules import Rules
from akazuba.energy.runs import Start, Trace
from akazuba.energy.simulate import simulate
from akazuba.energy.surplus import surplus, training_wh

WANTED = {"held": ">= 0.75"}
IDLE = Habits(training_h=0.0)
ASKED_AT, EVERY_DAYS, FIRST_DAY = 10 * 12, 3, 31
TRAININGS_H = (0.05, 0.5, 2.0)


def asked(place: str, seed: int, watts: float) -> tuple[np.typing.NDArray[np.float64], ...]:
    """(days,) Wh reckoned with, over in the 24 h after, over in the 24 h before."""
    board, kit = device("pi5"), Kit(watts, 128.0)
    rules, sky = Rules(board, kit, IDLE), weather(place, seed)
    _, trace = simulate(rules, board, kit, IDLE, sky, people(IDLE, seed), seed=seed, keep=True)
    if trace is None:
        raise AssertionError
    forecaster = Forecaster(sky.clear * kit.panel_w * kit.controller_efficiency)
    rows = []
    for step in range(len(trace.wh) - STEPS_A_DAY):
        forecaster.saw(trace.panel_w[step])
        day, of_day = divmod(step, STEPS_A_DAY)
        if of_day != ASKED_AT or day < FIRST_DAY or day % EVERY_DAYS:
            continue
        start = Start(trace.wh[step] / kit.battery_wh, 0.0, (of_day + 1) / 12, trace.controls[step].mode)
        idle = look_ahead(rules, forecaster, start, plan=False)
        found = [surplus(idle, kit, 0.0)]
        found += [surplus(part(idle, trace, at), kit, 0.0) for at in (step + 1, step + 1 - STEPS_A_DAY)]
        rows.append([one.p25_wh for one in found])
    return tuple(np.array(rows).T)


def part(idle: Outlook, trace: Trace, at: int) -> Outlook:
    """What really happened in the day from `at` on, in the shape of an outlook."""
    day = slice(at, at + STEPS_A_DAY)
    happened = Trace(trace.wh[day], trace.load_w[day], trace.panel_w[day], trace.controls[day])
    return replace(idle, trace=happened)


def measured(*, quick: bool) -> dict[str, Any]:
    years = reported(1)[: 3 if quick else None]
    figures: dict[str, Any] = {
        "simulated": "weather, patients, battery and board",
        "metered": f"no: {NOT_METERED}",
        "site_years_are": [f"{place}, seed {seed}" for place, seed in years],
        "wanted": WANTED,
    }
    for watts in (15.0, 20.0):
        kept: dict[str, list[float]] = {}
        days = 0
        for place, seed in years:
            reckoned, was, before = asked(place, seed, watts)
            days += len(was)
            found = {
                "held": np.mean(was >= reckoned - 0.01),
                "reckoned_share": reckoned.sum() / was.sum(),
                "reckoned_wh": reckoned.mean(),
                "over_wh": was.mean(),
                "baseline_held": np.mean(was >= before - 0.01),
                "baseline_share": before.sum() / was.sum(),
            }
            for hours in TRAININGS_H:
                found[f"may_train_{hours:g}h"] = np.mean(reckoned >= training_wh(device("pi5"), hours))
            for name, value in found.items():
                kept.setdefault(name, []).append(float(value))
        by: dict[str, Estimate | int] = {name: interval(values) for name, values in kept.items()}
        figures[f"{watts:g}W_128Wh"] = {"days": days, **by}
    return figures


def main() -> None:
    given = options_of(__doc__, "quick", "json", "save").parse_args()
    figures = measured(quick=given.quick)
    tell(figures, given, __file__)


if __name__ == "__main__":
    main()
