"""What a release costs in accuracy, and what its gate lets through: `benchmarks/federation_release.py`.

    uv run python benchmarks/federation_release.py [--data ../shared/data] [--json] [--save]

`heart_disease_4site`: four hospitals' real patients; when terminals are on is SIMULATED. "drawn": 40
clinics, all SIMULATED, truth that stays. A teacher of 64 hidden units is aggregated by the simulator (`ours`,
20 days); students have a tenth of its numbers at most. Accuracy is over the 30 % of each hospital that nobody
trained on (drawn: 1,000 cases), which decides nothing but the gate; settings were chosen on drawn worlds with
seeds from 900 on. Five seeds; intervals are Student's t over them, of differences paired. The test patients
of one seed overlap with another's, so the hospitals' intervals are a little narrow.

Transfer inputs: "synthetic" are drawn without any patient (1,500); "public" are a quarter of each hospital's
training patients, kept from the terminals, without their labels (drawn worlds: cases of four other clinics).
Only the students that say so see the public labels. Gateways' models: the teacher, trained on by the clinics
of one gateway, two hospitals (drawn: ten clinics) each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import options_of, tell

from akazuba.diagnosis.network import Network
from akazuba.federation.release import Held, Source, StudentRelease, Teacher, tried
from akazuba.federation.release_files import Evaluation, Inputs
from akazuba.federation.release_student import Lesson, dequantised, distilled, quantised
from akazuba.federation.simulate import Plan, Weather, simulate
from akazuba.federation.updates import Numbers
from akazuba.federation.worlds import HEART, HEART_SITES, Cases, Drifting, Table, heart

SEEDS = (1, 2, 3, 4, 5)
STUDENT_T = 2.776
"""Two-sided 95 % of Student's t, five seeds."""

HIDDEN, SMALL = 64, 6
SYNTHETIC = 1500


def interval(values: Sequence[float]) -> dict[str, float | int]:
    middle = float(np.mean(values))
    half = STUDENT_T * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"value": middle, "low": middle - half, "high": middle + half, "n": len(values)}


def joined(parts: Sequence[Cases]) -> Cases:
    return Cases(np.concatenate([p.inputs for p in parts]), np.concatenate([p.labels for p in parts]))


class World:
    """table: what terminals train on and what is tested. public: cases kept from them. synthetic: inputs
    drawn without anybody. gateways: clinics of each.
    """

    def __init__(
        self, table: Table, public: Cases, synthetic: Numbers, gateways: list[range], sites: Any
    ) -> None:
        self.table, self.public, self.synthetic = table, public, synthetic
        self.gateways = gateways
        self.sites: dict[str, Cases] = dict(zip(sites, table.test, strict=True))


def hospitals(data: Path, seed: int) -> World:
    whole = heart(data, seed)
    random = np.random.default_rng([seed, 30])
    kept, public = [], []
    for cases in whole.train:
        order = random.permutation(len(cases))
        first, rest = order[: len(order) // 4], order[len(order) // 4 :]
        public.append(Cases(cases.inputs[first], cases.labels[first]))
        kept.append(Cases(cases.inputs[rest], cases.labels[rest]))
    network = replace(whole.network, hidden=HIDDEN)
    table = replace(whole, network=network, train=tuple(kept))
    return World(table, joined(public), _no_patients(random), [range(2), range(2, 4)], HEART_SITES)


def _no_patients(random: np.random.Generator) -> Numbers:
    """(SYNTHETIC, 30) by the table's columns alone: numbers normal around their round centres, a quarter
    missing; yes or no by a coin; codes each as likely.
    """
    columns: list[Numbers] = []
    for _ in range(5):
        missing = random.random(SYNTHETIC) < 0.25
        columns += [np.where(missing, 0, random.normal(0, 1, SYNTHETIC)), missing]
    columns += [random.random(SYNTHETIC) < 0.5 for _ in range(3)]
    for codes in (4, 3, 3, 3, 4):
        code = random.integers(-1, codes, SYNTHETIC)
        columns += [code == one for one in range(codes)]
    return np.stack(columns, axis=1).astype(np.float32)


def drawn(seed: int) -> World:
    made = Drifting(seed, clinics=44)
    every = [made.cases(clinic, 0.0, 0) for clinic in range(made.clinics)]
    tests = tuple(made.tests(0.0))
    table = Table("drawn", made.simulated, Network(made.features, 2, HIDDEN), tuple(every[:40]), tests)
    random = np.random.default_rng([seed, 31])
    synthetic = random.normal(0, 1.2, (SYNTHETIC, made.features)).astype(np.float32)
    gateways = [range(start, start + 10) for start in range(0, 40, 10)]
    return World(table, joined(every[40:]), synthetic, gateways, [f"region {n}" for n in range(len(tests))])


def taught(world: World, seed: int, days: float, network: Network | None = None) -> Numbers:
    table = replace(world.table, network=network or world.table.network)
    plan = Plan(weather=Weather(days=days), buffer=2 if table.clinics == 4 else 10)
    return simulate(table, plan, "ours", seed).model


def of_gateways(world: World, model: Numbers) -> list[Numbers]:
    """The model after 20 steps at each clinic of a gateway, their mean."""
    network = world.table.network
    found = []
    for clinics in world.gateways:
        cases = [world.table.train[clinic] for clinic in clinics]
        after = [network.trained(model, one.inputs, one.labels, steps=20, rate=0.3) for one in cases]
        found.append(np.asarray(np.average(after, axis=0, weights=[len(one) for one in cases]), np.float32))
    return found


def poisoned(world: World, model: Numbers) -> dict[str, Numbers]:
    """turned: the last layer with its sign turned. one clinic: trained on with the first clinic's labels
    turned beside those of three others (drawn: seven) as they are.
    """
    network = world.table.network
    turned = model.copy()
    for part in network.parts(turned)[-2:]:
        np.negative(part, out=part)
    liar, *others = world.table.train[: len(world.gateways) * 2]
    mixed = joined([Cases(liar.inputs, 1 - liar.labels), *others])
    return {
        "last layer turned": turned,
        "one clinic's labels turned": network.trained(model, mixed.inputs, mixed.labels, steps=300, rate=0.3),
    }


def accuracies(world: World, seed: int, lesson: Lesson) -> tuple[dict[str, float], Numbers]:
    """Of everything, on the held-out cases; and the teacher."""
    tests, teacher = joined(world.table.test), world.table.network
    small, linear = (Network(teacher.features, teacher.classes, hidden) for hidden in (SMALL, 0))
    model = taught(world, seed, 20)
    ensemble = [model, *of_gateways(world, model)]

    def shipped(network: Network, numbers: Numbers) -> float:
        return network.accuracy(dequantised(network, quantised(network, numbers)), tests.inputs, tests.labels)

    def learned(network: Network, models: Sequence[Numbers], inputs: Numbers) -> Numbers:
        return distilled(teacher, models, network, inputs, lesson)

    def plain(network: Network, start: Numbers, steps: int) -> Numbers:
        return network.trained(start, world.public.inputs, world.public.labels, steps=steps, rate=0.3)

    main = learned(small, [model], world.synthetic)
    found = {
        "teacher": teacher.accuracy(model, tests.inputs, tests.labels),
        "gateways' models, mean logits": float(
            np.mean(np.mean([teacher.scores(m, tests.inputs) for m in ensemble], 0).argmax(1) == tests.labels)
        ),
        "student, synthetic, before int8": small.accuracy(main, tests.inputs, tests.labels),
        "student, synthetic": shipped(small, main),
        "student, public": shipped(small, learned(small, [model], world.public.inputs)),
        "student, synthetic, with gateways": shipped(small, learned(small, ensemble, world.synthetic)),
        "student, public, with gateways": shipped(small, learned(small, ensemble, world.public.inputs)),
        "student, synthetic, then public labels": shipped(small, plain(small, main, 100)),
        "student, public labels alone": shipped(small, plain(small, small.start(seed), 1500)),
        "student, federated itself": shipped(small, taught(world, seed, 20, small)),
        "linear student, synthetic": shipped(linear, learned(linear, [model], world.synthetic)),
        "linear student, federated itself": shipped(linear, taught(world, seed, 20, linear)),
    }
    return found, model


def gates(world: World, seed: int, lesson: Lesson, model: Numbers) -> dict[str, StudentRelease]:
    """What the gate says of a first release after ten days, of the next after twenty, of the same again from
    another seed, and of spoilt ones.
    """

    def made(numbers: Numbers, old: StudentRelease | None, lesson: Lesson = lesson) -> StudentRelease:
        network = world.table.network
        source = Source(network, (numbers,), Teacher(1, bytes(32), network.dimension, bytes(32)))
        before = None if old is None else Held("0" * 64, old, b"")
        inputs, evaluation = Inputs(world.synthetic, bytes(32)), Evaluation(world.sites, bytes(32))
        return tried(source, SMALL, inputs, evaluation, lesson, before, "simulated", 1, 0)

    first = made(taught(world, seed, 10), None)
    second = made(model, first)
    again = Lesson(lesson.temperature, lesson.steps, seed=seed + 100)
    found = {"first, 10 days": first, "20 days": second, "20 days, another seed": made(model, second, again)}
    return found | {f"spoilt: {name}": made(one, second) for name, one in poisoned(world, model).items()}


def measured(make: Callable[[int], World], lesson: Lesson, seeds: Sequence[int]) -> dict[str, Any]:
    rows: list[dict[str, float]] = []
    verdicts: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        world = make(seed)
        found, model = accuracies(world, seed, lesson)
        rows.append(found)
        for name, made in gates(world, seed, lesson, model).items():
            verdict = made.verdict
            said = {"points": verdict.overall.change, "low": verdict.low, "high": verdict.high}
            verdicts.setdefault(name, []).append(said | {"refused": verdict.refusals()})
    names = [name for name in rows[0] if name != "teacher"]
    return {
        "simulated": world.table.simulated,
        "clinics": world.table.clinics,
        "test_cases": len(joined(world.table.test)),
        "public_cases": len(world.public),
        "test_cases_by_site": {name: len(cases) for name, cases in world.sites.items()},
        "teacher_bytes": 4 * world.table.network.dimension,
        "student_bytes_float32": 4 * made.network.dimension,
        "student_bytes_shipped": made.student.size,
        "accuracy": {name: interval([row[name] for row in rows]) for name in rows[0]},
        "points_below_the_teacher": {
            name: interval([100 * (row["teacher"] - row[name]) for row in rows]) for name in names
        },
        "with_gateways_less_without_points": {
            kind: interval(
                [100 * (row[f"student, {kind}, with gateways"] - row[f"student, {kind}"]) for row in rows]
            )
            for kind in ("synthetic", "public")
        },
        "distilled_less_federated_itself_points": interval(
            [100 * (row["student, synthetic"] - row["student, federated itself"]) for row in rows]
        ),
        "gate_refused": {name: sum(bool(v["refused"]) for v in said) for name, said in verdicts.items()},
        "gate": verdicts,
    }


def main() -> None:
    arguments = options_of(__doc__, "json", "save")
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = arguments.parse_args()
    worlds: dict[str, Callable[[int], World]] = {"drawn": drawn}
    if (given.data / HEART).is_dir():
        worlds = {HEART: lambda seed: hospitals(given.data, seed), **worlds}
    else:
        print(f"{given.data / HEART} is not there: the four hospitals are left out", file=sys.stderr)
    started, lesson = time.perf_counter(), Lesson()
    figures: dict[str, Any] = {"seeds": list(SEEDS), "temperature": lesson.temperature, "steps": lesson.steps}
    figures |= {name: measured(make, lesson, SEEDS) for name, make in worlds.items()}
    figures["seconds"] = round(time.perf_counter() - started)
    tell(figures, given, __file__)


if __name__ == "__main__":
    main()
