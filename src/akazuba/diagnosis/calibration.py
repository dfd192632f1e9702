"""From evidence to probabilities that can be believed, and to sets that keep their promise.

The networks give log likelihoods up to a constant, in parts that add up (`training.network.Fusion`).
Everything here is a function of arrays; training fits the numbers, the engine applies them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LIKELIHOOD_RATIO_LIMIT = 50.0
"""No picture moves a diagnosis by more than this factor, either way: the folds hold a few hundred
patients, and nothing rarer than about one error in fifty can be known from them.
"""


@dataclass(frozen=True)
class Calibration:
    """weights: (K,) what each part of the evidence counts (`fit_weights`).
    least: (L,) a label belongs to the prediction set when its probability reaches this.
    """

    weights: Floats
    least: Floats


def probabilities(parts: Floats, prior: Floats, weights: Floats) -> Floats:
    """Parts (..., K, L), weights (K,) -> probabilities (..., L) for a patient drawn as in the training set.

    >>> probabilities(np.zeros((1, 2)), np.array([0.25, 0.75]), np.array([1.0]))
    array([0.25, 0.75])
    """
    logits = np.einsum("...kl,k->...l", parts, weights) + np.log(prior)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def likelihood_ratios(probability: Floats, prior: Floats) -> Floats:
    """P(picture | label) / P(picture | average of the labels), held within the limit above.

    >>> likelihood_ratios(np.array([0.5, 0.5]), np.array([0.25, 0.75])).round(2)
    array([2.  , 0.67])
    """
    return np.asarray(np.clip(probability / prior, 1 / LIKELIHOOD_RATIO_LIMIT, LIKELIHOOD_RATIO_LIMIT))


def fit_weights(parts: Floats, labels: npt.NDArray[np.int64], prior: Floats, ridge: float = 1e-3) -> Floats:
    """Weights (K,) with the least log loss on held-out parts (N, K, L), by Newton's method.

    One part alone is temperature scaling (Guo et al. 2017, arXiv:1706.04599; weight = 1 / temperature)
    that leaves the prior in place. With several, a part that learned its training pictures by heart and
    is too sure of itself no longer shouts down the others.
    """
    weights = np.full(parts.shape[1], 0.5)
    true = parts[np.arange(len(labels)), :, labels]
    for _ in range(50):
        probability = probabilities(parts, prior, weights)
        mean = np.einsum("nkl,nl->nk", parts, probability)
        centred = parts - mean[:, :, None]
        slope = (mean - true).mean(0)
        curvature = np.einsum("nkl,njl,nl->kj", centred, centred, probability) / len(labels)
        weights = weights - np.linalg.solve(curvature + ridge * np.eye(len(weights)), slope)
    return weights


def fit_least(probability: Floats, labels: npt.NDArray[np.int64], coverage: float) -> Floats:
    """For each label, the probability that at least `coverage` of its held-out examples reach.

    Split conformal prediction with one threshold a label (Vovk 2012, "Conditional validity of inductive
    conformal predictors"): a melanoma is in the set as often as promised, not only the average lesion.

    >>> fit_least(np.array([[0.9, 0.1]] * 9 + [[0.2, 0.8]]), np.array([0] * 10), 0.9)
    array([0.2, 0. ])
    """
    least = np.zeros(probability.shape[1])
    for label in range(probability.shape[1]):
        own = np.sort(probability[labels == label, label])
        rank = int(np.floor((1 - coverage) * (len(own) + 1)))  # 1-based from below; 0 promises nothing
        least[label] = own[rank - 1] if rank else 0.0
    return least


def in_set(probability: Floats, least: Floats) -> npt.NDArray[np.bool_]:
    """Which labels belong to the prediction set, (..., L)."""
    return np.asarray(probability >= least)


def expected_calibration_error(probability: Floats, labels: npt.NDArray[np.int64], bins: int = 10) -> float:
    """Mean gap between the leading label's probability and how often it is right, over equal-count bins."""
    leading = probability.max(axis=1)
    right = probability.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(leading, kind="stable"), bins)
    gaps = [abs(leading[part].mean() - right[part].mean()) * len(part) for part in parts if len(part)]
    return float(sum(gaps) / len(labels))


@dataclass(frozen=True)
class Typicality:
    """What pictures of one kind have in common.

    A picture's texture (K,) is centred, projected on the directions in which training pictures vary
    (K, R), and each coordinate is measured in its standard deviations; what the directions cannot
    express is measured in its typical size. The distance is the root of the mean square of both.
    """

    mean: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]
    rest: float

    def distance(self, texture: npt.NDArray[np.float32]) -> Floats:
        """(..., K) -> (...)."""
        centred = texture - self.mean
        known = centred @ self.directions  # (..., R), each of variance 1
        rest = (centred**2).sum(-1) - ((centred @ self._basis()) ** 2).sum(-1)
        return np.asarray(np.sqrt((known**2).mean(-1) + rest.clip(0) / self.rest), np.float64)

    def _basis(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.directions / np.linalg.norm(self.directions, axis=0))


def fit_typicality(textures: npt.NDArray[np.float32], rank: int) -> Typicality:
    """Fits on textures (N, K) of one kind's pictures."""
    mean = textures.mean(0)
    _, sizes, basis = np.linalg.svd(textures - mean, full_matrices=False)
    deviations = sizes[:rank] / np.sqrt(len(textures))
    rest = (sizes[rank:] ** 2).sum() / len(textures)
    return Typicality(mean, (basis[:rank].T / deviations).astype(np.float32), float(rest))
