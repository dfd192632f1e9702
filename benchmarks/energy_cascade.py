"""Does it pay to ask a larger model only when the smaller one doubts? `benchmarks/energy_cascade.py
[--quick] [--json] [--save] [--data ../shared/data] [--full FOLDER]`.

Cases: the patients of `results/engine_folds.json` (skin photo with note; chest films of children; of adults),
each judged by networks of three sizes (tiny, student, full) that never saw it. Doubt is one minus the highest
calibrated probability; calibration and the threshold of doubt are fitted on the other four folds: the
threshold that takes least with the accuracy that the larger model has there.

Time: processor seconds of one reading by one thread, here, of the shipped tiny and student, and of the full
network (trained if it is installed, else untrained: as slow and as large). Energy: those seconds times what
the board draws at full load over waiting, from `devices.json`: NOT metered, and from above, since one thread
does not load a whole board. A board slower than this machine takes more, the ratios stay about the same.
With heatmap as in a consultation (the picture is read again for up to 64 regions, by the model that
decides), and without.

cascade_minus_larger, cascade_minus_smaller: paired difference in the share that is right. energy_vs_larger:
of the cascade over always the larger one. Intervals are 95 %, bootstrapped over patients. awake_s: for how
many seconds a waiting board draws what one reading takes. saved_share_of_the_box_s_day: what the cascade
saves over always the larger model in a day's readings, of what a SIMULATED box takes in that day.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import engine
import engine_speed
import numpy as np
import numpy.typing as npt
from figures import options_of, tell

from akazuba.diagnosis import artefacts
from akazuba.energy.cascade import Case, cheapest, curve
from akazuba.energy.demand import Habits, draw
from akazuba.energy.devices import NOT_METERED, Device, devices
from akazuba.energy.kit import Kit
from akazuba.energy.rules import Rules
from akazuba.energy.simulate import simulate
from akazuba.energy.sites import site
from akazuba.energy.weather import simulated_year
from akazuba.training import measure

SETS = {"skin-photo": "fused", "chest-xray.child": "image", "chest-xray.adult": "image"}
"""Head -> what it reads."""
CHAINS = (("tiny", "student"), ("student", "full"), ("tiny", "full"))
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Of the curve: of the cases, how many the larger model decides."""

CHILD = """
import json, sys, time
from pathlib import Path
from akazuba.diagnosis.engine import open_engine
from akazuba.intake.images import load_picture
from akazuba.records import ImageRef
folder, path, note, runs = sys.argv[1:5]
engine = open_engine(1, Path(folder), 600.0)
picture = load_picture(ImageRef(path, "skin-photo"), Path())
found = {}
for name, explain, times in (("plain", False, int(runs)), ("heatmap", True, 3)):
    took = []
    for _ in range(times):
        start = time.process_time()
        reading = engine.read(picture, note, True, 61.0, explain=explain)
        took.append(time.process_time() - start)
    found[name] = sorted(took)[len(took) // 2]
assert reading.image.labels and reading.image.heatmap_grid, reading.image.why
print(json.dumps(found))
"""


def seconds(folders: dict[str, Path], runs: int) -> dict[str, dict[str, float]]:
    """Profile -> processor seconds of one skin photo with its note, without and with heatmap."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        photo = engine_speed.photo(Path(scratch), 224)
        for name, folder in folders.items():
            command = [sys.executable, "-c", CHILD, str(folder), str(photo), engine_speed.NOTE, str(runs)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(done.stdout)
    return found


def wh(board: Device, busy_s: float) -> float:
    """At the battery's side, over waiting."""
    return busy_s * (board.train_w - board.idle_w) / 3600 / board.converter_efficiency


def judged(kept: dict[str, Any], mode: str, profile: str) -> tuple[measure.Floats, measure.Ints]:
    """(N,) doubt and whether the likeliest label is right, by calibration on the other folds."""
    folds = engine.Folds(kept, profile)
    probability = folds.cross_fitted(mode)[0]
    return 1 - probability.max(1), (probability.argmax(1) == folds.labels).astype(np.int64)


def interval(values: measure.Floats, groups: list[str], per: float = 1.0) -> dict[str, Any]:
    """Mean of (N,) over `per`, with a 95 % bootstrap over patients."""
    _, number = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(counts), (1000, len(counts)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1) / per, (0.025, 0.975))
    return {
        "value": round(float(values.mean() / per), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(counts),
    }


def passed_on(
    doubt: measure.Floats,
    small: measure.Ints,
    large: measure.Ints,
    fold: measure.Ints,
    wh: tuple[float, float],
) -> npt.NDArray[np.bool_]:
    """(N,) whether the larger model decides, by a threshold of doubt chosen on the other folds."""
    cases = [
        Case(float(d), student_right=bool(s), larger_right=bool(g))
        for d, s, g in zip(doubt, small, large, strict=True)
    ]
    asked = np.zeros(len(doubt), bool)
    for number in np.unique(fold):
        others = [case for case, its in zip(cases, fold, strict=True) if its != number]
        at = cheapest(curve(others, *wh), float(large[fold != number].mean()))
        asked[fold == number] = doubt[fold == number] >= (0.0 if at is None else at.threshold)
    return asked


def chain(
    kept: dict[str, Any], mode: str, pair: tuple[str, str], costs: dict[str, tuple[float, float, float]]
) -> dict[str, Any]:
    """costs: way -> Wh of a case that stays with the smaller model, of one that goes on, and of the larger
    one alone.
    """
    groups, fold = kept["groups"], np.array(kept["fold"])
    (doubt, small), (_, large) = (judged(kept, mode, profile) for profile in pair)
    asked = passed_on(doubt, small, large, fold, costs["heatmap"][:2])
    right = np.where(asked, large, small)
    found: dict[str, Any] = {
        "cases": len(doubt),
        "always_smaller": interval(small, groups),
        "always_larger": interval(large, groups),
        "larger_minus_smaller": interval(large - small, groups),
        "cascade": interval(right, groups),
        "cascade_minus_larger": interval(right - large, groups),
        "cascade_minus_smaller": interval(right - small, groups),
        "asked": round(float(asked.mean()), 4),
    }
    for way, (stays, goes_on, alone) in costs.items():
        spent = np.where(asked, goes_on, stays)
        found[way] = {
            "energy_vs_larger": interval(spent, groups, alone),
            "energy_vs_smaller": interval(spent, groups, stays),
            "mwh_a_case": round(1000 * float(spent.mean()), 5),
            "mwh_always_smaller": round(1000 * stays, 5),
            "mwh_always_larger": round(1000 * alone, 5),
        }
    stays, goes_on, _ = costs["heatmap"]
    order = np.argsort(-doubt, kind="stable")
    found["curve"] = []
    for share in SHARES:
        up = np.zeros(len(doubt), bool)
        up[order[: round(share * len(doubt))]] = True
        found["curve"].append(
            {
                "asked": share,
                "accuracy": interval(np.where(up, large, small), groups),
                "mwh_a_case_with_heatmap": round(1000 * (stays + share * (goes_on - stays)), 5),
            }
        )
    return found


def measured(data: Path | None, full: Path | None, *, quick: bool) -> dict[str, Any]:
    record = json.loads(engine.RECORD.read_text(encoding="utf-8"))
    runs = 5 if quick else 25
    folders = {name: artefacts.SHIPPED / name for name in ("tiny", "student")}
    with tempfile.TemporaryDirectory() as scratch:
        what = "given by --full"
        if full is None:
            full, what = engine_speed.full_size(Path(scratch), data)
        times = seconds(folders if full is None else {**folders, "full": full}, runs)
    board = devices()["pi5"]
    kit, habits = Kit(20.0, 128.0), Habits()
    sky, people = simulated_year(site("kigali"), 2025, 11), draw(habits, 365, 11)
    day, _ = simulate(Rules(board, kit, habits), board, kit, habits, sky, people, seed=11)
    figures: dict[str, Any] = {
        "box_wh_a_day_simulated": round(day.wh_a_day, 1),
        "readings_a_day_assumed": habits.routine,
        "metered": f"no: {NOT_METERED}",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "full_weights_for_speed": what,
        "cases_are": "held-out folds of results/engine_folds.json",
        "processor_s": {name: {way: round(s, 5) for way, s in ways.items()} for name, ways in times.items()},
        "watts_over_waiting": {name: round(one.train_w - one.idle_w, 2) for name, one in devices().items()},
        "awake_s": {
            f"{profile}_{way}": round(s * (board.train_w - board.idle_w) / board.idle_w, 3)
            for profile, ways in times.items()
            for way, s in ways.items()
        },
        "words_mwh_an_answer_assumed": {
            "student": round(
                1000 * board.student_s * (board.student_w - board.idle_w) / 3600 / board.converter_efficiency,
                1,
            ),
            "larger": round(
                1000 * board.large_s * (board.large_w - board.idle_w) / 3600 / board.converter_efficiency, 1
            ),
        },
    }
    for head, mode in SETS.items():
        for small, large in CHAINS:
            if large not in times:
                continue
            one, two = ({way: wh(board, s) for way, s in times[name].items()} for name in (small, large))
            costs = {way: (one[way], one["plain"] + two[way], two[way]) for way in ("plain", "heatmap")}
            found = chain(record["heads"][head], mode, (small, large), costs)
            saved = found["heatmap"]["mwh_always_larger"] - found["heatmap"]["mwh_a_case"]
            found["saved_share_of_the_box_s_day"] = round(saved * habits.routine / 1000 / day.wh_a_day, 5)
            figures[f"{head} {small}-{large}"] = found
    return figures


def main() -> None:
    arguments = options_of(__doc__, "quick", "json", "save")
    arguments.add_argument("--data", type=Path, default=engine.ROOT.parent / "shared" / "data")
    arguments.add_argument("--full", type=Path, help="folder of the full profile, for its speed")
    given = arguments.parse_args()
    data = given.data if given.data.is_dir() else None
    figures = measured(data, given.full, quick=given.quick)
    tell(figures, given, __file__)


if __name__ == "__main__":
    main()
