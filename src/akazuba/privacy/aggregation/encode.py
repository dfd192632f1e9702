"""From a model update to whole numbers modulo t and back.

Clip to an L2 norm; turn (random signs and a Walsh-Hadamard transform in blocks of 4,096, the same for all
clinics of a round, so that no number stands out); scale; round at random within a known norm (conditional
rounding: Kairouz, Liu and Steinke 2021); cut each number. What the noise has to cover is `sensitivity`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError
from akazuba.privacy.aggregation.ring import MODULUS, Random, Vector, stream

BLOCK = 4096
Floats = npt.NDArray[np.float64]

SPREAD = 5.0
"""Each turned number is cut at this many times its root mean square if all of the norm lay in one block."""

NOISE_TAIL = 7.0
"""Room left for the sum of the noise, in standard deviations (beyond it: 2.6e-12 a number)."""

FINEST_SIGMA = 4096.0
"""Beside such noise, rounding to whole numbers is nothing: a finer scale costs time and buys nothing."""

_ROUNDING_BETA = math.exp(-0.5)


@dataclass(frozen=True)
class Coding:
    """dimension: numbers of an update. clip_norm: largest L2 norm, in the update's units. scale: whole
    numbers a unit. most: largest number of clinics in one sum.
    """

    round_id: bytes
    dimension: int
    clip_norm: float
    scale: float
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= 100_000_000:
            raise InputError("dimension", "1 to 100,000,000", str(self.dimension))
        if not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise InputError("clip norm", "above 0", str(self.clip_norm))
        if not (math.isfinite(self.scale) and 1e-9 <= self.scale <= 1e12):
            raise InputError("scale", "1e-9 to 1e12", str(self.scale))

    @property
    def padded(self) -> int:
        """Numbers after filling up the last block."""
        return -(-self.dimension // BLOCK) * BLOCK

    @property
    def bound(self) -> int:
        """Largest absolute value of one turned and rounded number."""
        return math.ceil(self.scale * self.clip_norm * SPREAD / math.sqrt(BLOCK)) + 1

    @property
    def sensitivity(self) -> float:
        """Largest L2 norm of a rounded update, in whole numbers."""
        norm, n = self.scale * self.clip_norm, self.padded
        random = norm**2 + n / 4 + math.sqrt(-2 * math.log(_ROUNDING_BETA)) * (norm + math.sqrt(n) / 2)
        return math.sqrt(min(random, (norm + math.sqrt(n)) ** 2))

    def fits(self, sigma: float) -> bool:
        """Whether a sum of `most` updates, each with noise of that sigma, stays within ±t/2."""
        return self.most * self.bound + NOISE_TAIL * sigma * math.sqrt(self.most) < MODULUS / 2

    def encoded(self, update: npt.ArrayLike, random: Random) -> Vector:
        """(padded,) whole numbers. update: (dimension,). Raises InputError for one that is not finite."""
        values = np.asarray(update, np.float64)
        if values.shape != (self.dimension,):
            raise InputError("update", f"{self.dimension} numbers", str(values.shape))
        norm = float(np.linalg.norm(values))
        if not math.isfinite(norm):
            raise InputError("update", "finite numbers", "one that is not")
        turned = np.zeros(self.padded)
        turned[: self.dimension] = values * (self.scale * min(1.0, self.clip_norm / max(norm, 1e-300)))
        turned = _hadamard(turned * self._signs())
        whole = self._rounded(turned, random)
        return np.clip(whole, -self.bound, self.bound)

    def decoded(self, total: Vector) -> Floats:
        """(dimension,) the sum of the updates with its noise. total: (padded,), centred."""
        return (_hadamard(total / self.scale) * self._signs())[: self.dimension]

    def _rounded(self, values: Floats, random: Random) -> Vector:
        low = np.floor(values)
        chance = values - low
        while True:
            draws = np.frombuffer(random(4 * len(values)), "<u4") * 2.0**-32
            whole = (low + (draws < chance)).astype(np.int64)
            if float(whole @ whole) <= self.sensitivity**2:
                return whole

    def _signs(self) -> Floats:
        key = hashlib.sha256(b"akazuba signs v1" + self.round_id).digest()
        bits = np.unpackbits(np.frombuffer(stream(key)(self.padded // 8), np.uint8))
        return np.asarray(1.0 - 2.0 * bits, np.float64)


def scale_for(
    round_id: bytes, dimension: int, clip_norm: float, most: int, noise_multiplier: float, least: int
) -> tuple[Coding, float]:
    """The finest coding that fits into t, with each clinic's sigma in whole numbers, `FINEST_SIGMA` at most.

    noise_multiplier: standard deviation of the noise of `least` clinics, over the sensitivity.
    """
    low, high = 1e-9, 1e12
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0 and 1 <= least <= most):
        raise InputError("round", "noise above 0 and least ≤ most", f"{noise_multiplier}, {least}, {most}")
    for _ in range(200):
        middle = math.sqrt(low * high)
        coding = Coding(round_id, dimension, clip_norm, middle, most)
        sigma = noise_multiplier * coding.sensitivity / math.sqrt(least)
        low, high = (middle, high) if coding.fits(sigma) and sigma <= FINEST_SIGMA else (low, middle)
    coding = Coding(round_id, dimension, clip_norm, low, most)
    return coding, noise_multiplier * coding.sensitivity / math.sqrt(least)


def _hadamard(values: Floats) -> Floats:
    """Orthonormal Walsh-Hadamard transform of each block; its own inverse."""
    width = 1
    while width < BLOCK:
        pairs = values.reshape(-1, 2, width)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).reshape(-1)
        width *= 2
    return np.asarray(values / math.sqrt(BLOCK), np.float64)
