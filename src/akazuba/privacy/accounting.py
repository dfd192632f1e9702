"""What noise costs: frozen values that anyone can add up (Rényi differential privacy, Mironov 2017).

Two neighbouring data sets differ by one patient, or one clinic, that is there or not. A spend's `rdp` bounds
the Rényi divergence between what the two would have let out; divergences of one order add up, and the sum is
turned into an (epsilon, delta). Stored spends keep their meaning: a new mechanism gets a new kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError

Unit = Literal["patient", "clinic"]
"""What one spend protects. A clinic's protection covers each of its patients."""
UNITS: tuple[Unit, ...] = get_args(Unit)

Floats = npt.NDArray[np.float64]

ORDERS = (
    *(1 + step / 20 for step in range(1, 20)),
    *(2 + step / 4 for step in range(32)),
    *range(10, 64),
    *range(64, 256, 8),
    *range(256, 1025, 64),
    math.inf,
)
"""Orders at which divergences are added up; infinity carries pure differential privacy through."""

STEPS_HIGHEST = 10_000_000

TEXT_HIGHEST = 500
"""Characters of a purpose, a name or a reason."""


class _Spend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class DiscreteGaussian(_Spend, frozen=True, tag="discrete-gaussian"):
    """Sum of `shares` vectors of whole numbers, to each of which its owner added discrete Gaussian noise.

    sigma: of one share, 0.5 or more. sensitivity: the largest Euclidean norm by which one unit changes the
    sum, in the same steps as sigma. shares: those that are surely in the sum and whose noise the attacker
    does not know. With one share it is the plain discrete Gaussian mechanism.
    """

    sigma: float
    sensitivity: float
    dimensions: int
    shares: int = 1

    def __post_init__(self) -> None:
        _number("spend, sigma", self.sigma, 0.5, 1e12)
        _number("spend, sensitivity", self.sensitivity, 1, 1e12)
        _whole("spend, dimensions", self.dimensions, 1, 10**10)
        _whole("spend, shares", self.shares, 1, 10**6)

    def rdp(self, orders: Sequence[float]) -> Floats:
        """The least of three bounds of proposition 14 of Kairouz, Liu and Steinke 2021: a sum of discrete
        Gaussians is nearly one, and tau says how nearly. The L1 norm of a change in whole numbers is at most
        the lesser of sqrt(dimensions) * sensitivity and sensitivity².
        """
        order = np.asarray(orders, float)
        steps = np.arange(1, self.shares)
        tau = 10 * float(np.exp(-2 * (math.pi * self.sigma) ** 2 * steps / (steps + 1)).sum())
        ratio = self.sensitivity / (math.sqrt(self.shares) * self.sigma)
        root = math.sqrt(self.dimensions)
        absolute = ratio * min(root, self.sensitivity)
        concentrated = min(
            ratio**2 + 2 * absolute * tau + tau**2 * self.dimensions, (ratio + tau * root) ** 2
        )
        bound: Floats = np.minimum(order / 2 * concentrated, order / 2 * ratio**2 + tau * self.dimensions)
        return bound


class DiscreteLaplace(_Spend, frozen=True, tag="discrete-laplace"):
    """Discrete Laplace noise of this scale on each of some counts.

    sensitivity: by how much one unit changes all counts together (their absolute changes added up).
    """

    scale: float
    sensitivity: int = 1

    def __post_init__(self) -> None:
        _number("spend, scale", self.scale, 1e-3, 1e12)
        _whole("spend, sensitivity", self.sensitivity, 1, 10**9)

    def rdp(self, orders: Sequence[float]) -> Floats:
        """Exact: the sum over all whole numbers has three geometric parts. One count that bears the whole
        change is the worst case, because the exponential of (order - 1) * divergence is log-convex in it.
        """
        rate, change = 1 / self.scale, self.sensitivity
        order = np.asarray(orders, float)
        finite = order[np.isfinite(order)]
        middle = -rate * (2 * finite - 1)
        logs = np.stack(
            [
                (finite - 1) * change * rate - _log_one_minus(-rate),
                -finite * change * rate - _log_one_minus(-rate),
                (finite - 1) * change * rate
                + middle
                + (_log_one_minus(middle * (change - 1)) if change > 1 else -math.inf)
                - _log_one_minus(middle),
            ]
        )
        largest = logs.max(axis=0)
        norm = math.log(math.tanh(rate / 2))
        total = largest + np.log(np.exp(logs - largest).sum(axis=0)) + norm
        pure = change * rate
        found = np.full(len(order), pure)
        found[np.isfinite(order)] = np.clip(total / (finite - 1), 0, pure)
        return found


class SampledGaussian(_Spend, frozen=True, tag="sampled-gaussian"):
    """Gaussian noise on sums over samples that each unit enters by chance, independently of the others.

    noise_multiplier: standard deviation over sensitivity. steps: how many such sums.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int = 1

    def __post_init__(self) -> None:
        _number("spend, noise multiplier", self.noise_multiplier, 0.01, 1e9)
        _number("spend, sampling rate", self.sampling_rate, 1e-12, 1)
        _whole("spend, steps", self.steps, 1, STEPS_HIGHEST)

    def rdp(self, orders: Sequence[float]) -> Floats:
        """Section 3.3 of Mironov, Talwar and Zhang 2019 at whole orders. Between them (order - 1) times the
        divergence is convex in the order, so that the chord lies above it (Wang, Balle and Kasiviswanathan
        2019).
        """
        order = np.asarray(orders, float)
        if self.sampling_rate == 1:
            plain: Floats = self.steps * order / (2 * self.noise_multiplier**2)
            return plain
        finite = order[np.isfinite(order)]
        whole = np.unique(np.concatenate([np.floor(finite), np.ceil(finite)])).astype(int)
        moments = [self._log_moment(each) for each in whole.tolist()]
        found = np.full(len(order), math.inf)
        found[np.isfinite(order)] = self.steps * np.interp(finite, whole, moments) / (finite - 1)
        return found

    def _log_moment(self, order: int) -> float:
        if order == 1:
            return 0.0
        k = np.arange(order + 1)
        factorial = np.cumsum(np.log(np.maximum(k, 1)))
        terms = (
            factorial[-1] - factorial - factorial[::-1]
            + (order - k) * math.log1p(-self.sampling_rate)
            + k * math.log(self.sampling_rate)
            + k * (k - 1) / (2 * self.noise_multiplier**2)
        )  # fmt: skip
        largest = float(terms.max())
        return max(0.0, largest + math.log(float(np.exp(terms - largest).sum())))


Spend = DiscreteGaussian | DiscreteLaplace | SampledGaussian


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may ever be spent of one patient's privacy, here and in all.

    epsilon: 0 to 100. 8 is within "reasonable" of the usual tiers (at most 1 strong, at most 10 reasonable:
    Ponomareva et al. 2023); the United States' census of 2020 spent 17.14. delta: 0 to 0.001. 1e-6 is well
    under one in the patients of a health post, some 30,000. There is no refill each year: what was said
    cannot be taken back. by, because: who loosened it, and why. Raises InputError.
    """

    epsilon: float = 8.0
    delta: float = 1e-6
    by: str = ""
    because: str = ""

    def __post_init__(self) -> None:
        _number("budget, epsilon", self.epsilon, 0, 100)
        _number("budget, delta", self.delta, 0, 0.001)
        for name, text in (("by", self.by), ("because", self.because)):
            if len(text) > TEXT_HIGHEST or not text.isprintable():
                expected = f"at most {TEXT_HIGHEST} printable characters"
                raise InputError(f"budget, {name}", expected, repr(text)[:80])

    def loosens(self, other: Budget) -> bool:
        return self.epsilon > other.epsilon or self.delta > other.delta

    def amounts(self) -> tuple[float, float]:
        return self.epsilon, self.delta


def total(spends: Sequence[Spend]) -> Floats:
    """Divergences at `ORDERS` of all spends together."""
    return sum((spend.rdp(ORDERS) for spend in spends), np.zeros(len(ORDERS)))


def epsilon(rdp: Floats, delta: float) -> float:
    """The epsilon that these divergences at `ORDERS` prove for this delta; infinity when none.

    Proposition 12 of Canonne, Kamath and Steinke 2020 (equation 20 of Balle et al. 2020).

    >>> round(epsilon(total([DiscreteGaussian(sigma=20, sensitivity=4, dimensions=1)]), 1e-6), 2)
    0.9
    """
    if not rdp.any():
        return 0.0
    pure = float(rdp[-1])
    if delta <= 0:
        return pure
    order = np.array(ORDERS[:-1])
    proven = rdp[:-1] + np.log1p(-1 / order) - np.log(delta * order) / (order - 1)
    return max(0.0, min(pure, float(proven.min())))


def _log_one_minus(logarithm: Floats | float) -> Floats | float:
    """log(1 - exp(x)) for x under 0."""
    value: Floats | float = np.log(-np.expm1(logarithm))
    return value


def _number(name: str, value: float, lowest: float, highest: float) -> None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not lowest <= value <= highest:
        raise InputError(name, f"a number from {lowest:g} to {highest:g}", repr(value))


def _whole(name: str, value: int, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InputError(name, f"a whole number from {lowest} to {highest}", repr(value))
