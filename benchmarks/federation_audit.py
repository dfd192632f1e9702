"""Whether the federation's noise hides a clinic as well as it says: `benchmarks/federation_audit.py`.

    uv run python benchmarks/federation_audit.py [--quick] [--json] [--save]

The audit in one run of Steinke, Nasr and Jagielski 2023 (arXiv:2305.08846, corollary 5.4). Of
the canaries, SIMULATED clinics that each push one number of the model by twice the clip norm, every one takes
part or not by the toss of a coin. They go through the real weighting, clipping, rounding, noise and
accounting (`federation.sums`, `federation.folding`); where one does not take part, nothing is in its place.
An attacker who sees every version's numbers then guesses for the most extreme ones who was there, and for the
rest says nothing. How many guesses are right bounds epsilon from below, with 95 % confidence: a sound
mechanism stays under what it claims, and one with a fault in it should not. Two faults are seeded: noise ten
times too small, and a clip at twice the norm that the noise covers. The share that is guessed was chosen on
plain numbers, of other seeds. Canaries are the worst that a clinic can send, so the bound says nothing of
how much real updates give away; it is loose by nature, and looser the more epsilon is claimed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from figures import keep, options_of

from akazuba.federation import folding, sums
from akazuba.federation.accounts import Accounts, noise_multiplier
from akazuba.federation.clipping import clipped
from akazuba.federation.optimisers import Optimiser
from akazuba.privacy.accounting import Budget
from akazuba.privacy.noise import discrete_gaussian

DELTA, CONFIDENCE, GUESSED = 1e-5, 0.95, 0.05
SEEDS = (1, 2, 3, 4, 5)
CANARIES, CANARIES_QUICK = 20_000, 4_000
SETTINGS = ((1.0, 1), (1.0, 4), (8.0, 1))
"""Epsilon claimed, and over how many versions with the same clinics. A thousand guesses, all of them right,
refute 5.2 at most: at 8 a fault cannot show.
"""

AT_ONCE = 500
"""Clinics of one gateway's sum."""


@contextmanager
def little_noise() -> Iterator[None]:
    """The fault: noise ten times too small, on values and on the count."""

    def drawn(sigma: float, *rest: Any) -> npt.NDArray[np.int64]:
        return discrete_gaussian(sigma / 10, *rest)

    with mock.patch.object(folding, "discrete_gaussian", drawn):
        yield


@contextmanager
def loose_clip() -> Iterator[None]:
    """The fault: updates are clipped to twice the norm that the noise covers."""

    def loosely(values: npt.NDArray[np.float32], norm: float) -> tuple[npt.NDArray[np.float32], bool]:
        return clipped(values, 2 * norm)

    with mock.patch.object(sums, "clipped", loosely):
        yield


FAULTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "as it is": nullcontext,
    "noise a tenth": little_noise,
    "clip at 2 C": loose_clip,
}


def scores(there: npt.NDArray[np.bool_], epsilon: float, versions: int, seed: int) -> tuple[Any, float]:
    """(canaries,) by how much each one's number rose over all versions, in clip norms; and the epsilon that
    the accounts say it cost. there: (canaries,) who takes part.
    """
    number, random = len(there), np.random.default_rng(seed).bytes
    accounts = Accounts(Budget(epsilon, DELTA))
    rules = folding.Rules(
        buffer=number,
        optimiser=Optimiser("momentum", 1.0, 0.0),
        noise_multiplier=noise_multiplier(epsilon, DELTA, versions),
        adaptive=False,
    )
    fold = folding.Folding(rules, np.zeros(number, np.float32), random, accounts=accounts)
    rose = np.zeros(number)
    for _ in range(versions):
        before, terms = fold.model, fold.terms()
        for first in range(0, number, AT_ONCE):
            part = sums.Sum(terms)
            for place in range(first, min(number, first + AT_ONCE)):
                values = np.zeros(number, np.float32)
                values[place] = 2 * terms.clip_norm if there[place] else 0
                cap = terms.weights.cap
                part.add(sums.Arrived(str(place), str(place), cap, terms.version, 0.0, values), 0.0)
            fold.merge(part, 0.0)
        rose += (fold.model - before) * number / terms.clip_norm
    return rose, max(accounts.epsilons().values())


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Chance, at most, of so many right guesses under (epsilon, delta): corollary 5.4, as appendix D computes
    it.
    """
    share, k = 1 / (1 + math.exp(-epsilon)), np.arange(guesses + 1)
    chances = np.exp(_log_choose(guesses) + k * math.log(share) + (guesses - k) * (math.log(share) - epsilon))
    slack = np.cumsum(chances[:right][::-1]) / np.arange(1, right + 1)
    beyond = chances[right:].sum()
    return min(1.0, float(beyond + 2 * canaries * delta * max(slack, default=0.0)))


@cache
def _log_choose(number: int) -> npt.NDArray[np.float64]:
    """(number + 1,) logarithms of the binomial coefficients."""
    of = np.array([math.lgamma(k + 1) for k in range(number + 1)])
    return np.asarray(of[-1] - of - of[::-1])


def epsilon_lower(canaries: int, guesses: int, right: int, delta: float = DELTA) -> float:
    """The largest epsilon that is refuted; 0 when none is.

    >>> epsilon_lower(1000, 100, 50)
    0.0
    """
    low, high = 0.0, 50.0
    for _ in range(40):
        middle = (low + high) / 2
        refuted = p_value(canaries, guesses, right, middle, delta) < 1 - CONFIDENCE
        low, high = (middle, high) if refuted else (low, middle)
    return low if low > 1e-6 else 0.0


def audited(canaries: int, epsilon: float, versions: int, seed: int) -> dict[str, float]:
    """One run: what is claimed, and the bound from below."""
    there = np.random.default_rng(10_000 + seed).random(canaries) < 0.5
    rose, claimed = scores(there, epsilon, versions, seed)
    order, each = np.argsort(rose), max(1, int(GUESSED * canaries / 2))
    right = int(there[order[-each:]].sum() + (~there[order[:each]]).sum())
    lower = epsilon_lower(canaries, 2 * each, right)
    return {"claimed": claimed, "lower": lower, "guesses": 2 * each, "right": right}


def measured(canaries: int, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for epsilon, versions in SETTINGS:
        for name, fault in FAULTS.items():
            with fault():
                runs = [audited(canaries, epsilon, versions, seed) for seed in seeds]
            caught = sum(run["lower"] > run["claimed"] for run in runs)
            row = {"epsilon": epsilon, "versions": versions, "mechanism": name, "over_claim": caught}
            yield row | {"runs": runs}


def _line(row: dict[str, Any]) -> str:
    lowers, n = [run["lower"] for run in row["runs"]], len(row["runs"])
    claimed = max(run["claimed"] for run in row["runs"])
    return (
        f"{row['mechanism']:<14} claims epsilon {claimed:.3f} over {row['versions']} versions:"
        f" lower bound {np.mean(lowers):.2f} ({min(lowers):.2f} to {max(lowers):.2f}),"
        f" over the claim in {row['over_claim']} of {n}"
    )


def main() -> None:
    asked = options_of(__doc__, "quick: fewer canaries and seeds", "json", "save").parse_args()
    canaries, seeds = (CANARIES_QUICK, SEEDS[:2]) if asked.quick else (CANARIES, SEEDS)
    if not asked.json:
        print(f"SIMULATED clinics: {canaries} canaries, seeds {list(seeds)}, 95 % bound, delta {DELTA:g}")
    rows = []
    for row in measured(canaries, seeds):
        rows.append(row)
        if not asked.json:
            print(_line(row), flush=True)
    facts = {
        "what": "one-run privacy audit, SIMULATED clinics, central noise",
        "canaries": canaries,
        "guessed_share": GUESSED,
        "delta": DELTA,
        "confidence": CONFIDENCE,
        "seeds": list(seeds),
        "settings": rows,
    }
    if asked.save:
        keep(facts, __file__)
    if asked.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
