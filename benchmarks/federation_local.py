"""What it costs to trust nobody: `benchmarks/federation_local.py [--quick] [--json] [--save]`.

Drawn clinics (SIMULATED: cases, clinics and their sizes) train ten versions together, each in every one. The
same epsilon in all, at delta 1e-6, is spent on noise that the coordinator adds to the sum (central) or that
each terminal adds itself (`federation.local`, charged as the box's ledger charges it), both through the real
folding with a clip norm that stays. Accuracy on cases of all regions that nobody trained on; Student's t over
seeds 1 to 5. Clip norm and versions were chosen on seed 900.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from figures import keep, options_of

from akazuba.federation.accounts import Accounts, noise_multiplier
from akazuba.federation.clipping import AdaptiveClip, clipped
from akazuba.federation.folding import Folding, Rules
from akazuba.federation.local import noise_for, noised
from akazuba.federation.sums import Arrived, Sum
from akazuba.federation.terminal import Training
from akazuba.federation.updates import Numbers
from akazuba.federation.weights import Weights
from akazuba.federation.worlds import Drifting
from akazuba.privacy.accounting import ORDERS, Budget, DiscreteGaussian, epsilon

SEEDS, VERSIONS, CLIP, DELTA = (1, 2, 3, 4, 5), 10, 0.2, 1e-6
CLINICS, EPSILONS = (20, 200), (1.0, 3.0, 8.0)
STUDENT = {2: 12.706, 5: 2.776}
"""Two-sided 95 %, by number of seeds."""

Noise = Callable[[Numbers], Numbers]


def local_spend(total: float, dimension: int) -> DiscreteGaussian:
    """Of each update, so that all versions together cost at most `total`."""
    low, high = 1e-3, total
    for _ in range(40):
        middle = math.sqrt(low * high)
        costs = VERSIONS * noise_for(middle, DELTA, dimension).rdp(ORDERS)
        low, high = (middle, high) if epsilon(costs, DELTA) <= total else (low, middle)
    return noise_for(low, DELTA, dimension)


def accuracy(seed: int, clinics: int, where: str, total: float) -> float:
    """where: "none", "central" or "local"."""
    world, training = Drifting(seed, clinics), Training()
    network, random = world.network, np.random.default_rng([seed, clinics]).bytes
    noise: Noise = lambda change: clipped(change, CLIP)[0]  # noqa: E731
    if where == "local":
        spend = local_spend(total, network.dimension)
        noise = lambda change: noised(change, CLIP, spend, random)  # noqa: E731
    central = noise_multiplier(total, DELTA, VERSIONS) if where == "central" else 0.0
    rules = Rules(
        clinics, Weights(cap=1), AdaptiveClip(CLIP, rate=0.0), noise_multiplier=central, adaptive=False
    )
    accounts = Accounts(Budget(total, DELTA)) if central else None
    fold = Folding(rules, network.start(0), random, accounts=accounts)
    own = [world.cases(clinic, 0.0, 0) for clinic in range(clinics)]
    for version in range(VERSIONS):
        part, before = Sum(fold.terms()), fold.model
        for clinic, cases in enumerate(own):
            after = network.trained(
                before, cases.inputs, cases.labels, steps=training.steps, rate=training.rate
            )
            part.add(Arrived(str(clinic), str(clinic), 1, version, 0.0, noise(after - before)), 0.0)
        fold.merge(part, 0.0)
    return float(np.mean([network.accuracy(fold.model, one.inputs, one.labels) for one in world.tests(0.0)]))


def interval(values: Sequence[float]) -> dict[str, float]:
    middle, n = float(np.mean(values)), len(values)
    half = STUDENT[n] * float(np.std(values, ddof=1)) / math.sqrt(n)
    return {"value": middle, "low": middle - half, "high": middle + half, "n": n}


def main() -> None:
    asked = options_of(__doc__, "quick: 20 clinics, two seeds", "json", "save").parse_args()
    seeds, sizes = (SEEDS[:2], CLINICS[:1]) if asked.quick else (SEEDS, CLINICS)
    rows: list[dict[str, Any]] = []
    for clinics in sizes:
        for where, total in [("none", math.inf), *((w, e) for w in ("central", "local") for e in EPSILONS)]:
            found = interval([accuracy(seed, clinics, where, total) for seed in seeds])
            rows.append({"clinics": clinics, "noise": where, "epsilon": total if total < 1e9 else None})
            rows[-1] |= {"accuracy": found}
            if not asked.json:
                spread = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
                print(f"SIMULATED {clinics:>5} clinics, {where:<8} epsilon {total:<4g} {spread}", flush=True)
    facts = {"seeds": list(seeds), "delta": DELTA, "versions": VERSIONS, "clip": CLIP, "rows": rows}
    if asked.save:
        keep(facts, __file__)
    if asked.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
