"""Figures with intervals. Needs numpy only, so that the benchmarks can use it without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis import calibration

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Figure = Callable[[Ints], float]


@dataclass(frozen=True)
class Estimate:
    """low, high: 95 % interval. n: number of examples."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "n": self.n,
        }

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.n})"


def bootstrap(figure: Figure, groups: Sequence[str], repeats: int = 1000, seed: int = 0) -> Estimate:
    """Percentile interval over resampled groups (patients), never over single pictures.

    figure: from indices of examples (with repetition) to a number.
    """
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    rng = np.random.default_rng(seed)
    values = [
        figure(np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))]))
        for _ in range(repeats)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Estimate(figure(np.arange(len(numbers))), float(low), float(high), len(numbers))


def balanced_accuracy(chosen: Ints, labels: Ints) -> float:
    """Mean over the labels that occur of the share read right.

    >>> balanced_accuracy(np.array([0, 0, 1]), np.array([0, 0, 0]))
    0.6666666666666666
    """
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=chosen == labels)
    return float((right[counts > 0] / counts[counts > 0]).mean())


def balanced_choice(probability: Floats, prior: Floats) -> Ints:
    """The label for which the picture speaks most, (N,): the best rule when every label counts the same."""
    return np.asarray((probability / prior).argmax(axis=1))


def auc(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative (ties half)."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def parts(posteriors: Sequence[Floats], prior: Floats) -> Floats:
    """Parts of the evidence (N, K, L) back from uncalibrated posteriors (N, L).

    posteriors: of the picture alone; or of the picture alone, the note alone and both. What only both
    together say is the rest. Constants of a row cancel out in a probability.
    """
    evidence = [np.log(posterior.clip(1e-30)) - np.log(prior) for posterior in posteriors]
    if len(evidence) == 3:
        image, note, both = evidence
        evidence = [image, note, both - image - note]
    return np.stack(evidence, axis=1)


def fitted(
    wordings: Sequence[Floats], labels: Ints, prior: Floats, coverage: float
) -> calibration.Calibration:
    """Weights for all wordings together, and thresholds that hold in each of them.

    wordings: parts (N, K, L) of the same N examples, once for each wording of their notes.
    """
    evidence, truth = np.concatenate(wordings), np.tile(labels, len(wordings))
    weights = calibration.fit_weights(evidence, truth, prior).round(4)
    least = [
        calibration.fit_least(calibration.probabilities(parts, prior, weights), labels, coverage)
        for parts in wordings
    ]
    return calibration.Calibration(weights, np.min(least, axis=0))


def cross_fitted(
    wordings: Sequence[Floats], labels: Ints, fold: Ints, prior: Floats, coverage: float
) -> list[tuple[Floats, Floats]]:
    """For each wording, probabilities (N, L) and the sets' thresholds (N, L); those of a fold are fitted on
    the other folds as what is shipped is on all.

    wordings: as in `fitted`, of examples that their fold's network never saw.
    """
    found = [(np.empty((len(labels), len(prior))), np.empty((len(labels), len(prior)))) for _ in wordings]
    for number in np.unique(fold):
        own, other = fold == number, fold != number
        trust = fitted([parts[other] for parts in wordings], labels[other], prior, coverage)
        for parts, (probability, least) in zip(wordings, found, strict=True):
            probability[own] = calibration.probabilities(parts[own], prior, trust.weights)
            least[own] = trust.least
    return found


def balanced_accuracy_estimate(chosen: Ints, labels: Ints, groups: Sequence[str]) -> Estimate:
    return bootstrap(lambda i: balanced_accuracy(chosen[i], labels[i]), groups)


def share_estimate(right: npt.NDArray[np.bool_], groups: Sequence[str]) -> Estimate:
    return bootstrap(lambda i: float(right[i].mean()), groups)


def auc_estimate(score: Floats, positive: npt.NDArray[np.bool_], groups: Sequence[str]) -> Estimate:
    return bootstrap(lambda i: auc(score[i], positive[i]), groups)
