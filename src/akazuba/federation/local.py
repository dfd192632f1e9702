"""Noise that a terminal adds by itself, before its update leaves: local differential privacy, for a clinic
that trusts neither gateway nor coordinator with a single update.

Whatever the clinic's cases, its clipped update lies within C of nothing, so two differ by 2C at most: that is
what the noise covers. Every update is charged to the box's own privacy ledger, by which its noise is
calibrated too, and which stops when the box's budget is used up.
"""

from __future__ import annotations

import math

import numpy as np

from akazuba.errors import InputError
from akazuba.federation.clipping import clipped
from akazuba.federation.updates import Numbers
from akazuba.privacy.accounting import ORDERS, DiscreteGaussian, epsilon
from akazuba.privacy.noise import Random, discrete_gaussian

STEPS = 16_384.0
"""Standard deviation of the noise in whole steps: so fine that rounding is little beside it."""

_BISECTIONS = 60


def noise_for(wanted: float, delta: float, dimension: int) -> DiscreteGaussian:
    """What one update of this many numbers costs at this epsilon, as the ledger counts: the more epsilon, the
    LESS noise beside the update.

    >>> noise_for(1.0, 1e-6, 500).sensitivity < noise_for(8.0, 1e-6, 500).sensitivity
    True

    Raises InputError for an epsilon under which nothing would be left of so many numbers.
    """
    root = math.sqrt(dimension)
    low, high = 2 * root, STEPS * 100  # of the sensitivity in steps: rounding takes one root of it
    if not (wanted > 0 and 0 < delta < 1) or _cost(low, dimension, delta) > wanted:
        expected = "one that leaves something of the update"
        raise InputError("local epsilon", expected, f"{wanted:g} for {dimension} numbers")
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _cost(middle, dimension, delta) > wanted else (middle, high)
    return DiscreteGaussian(STEPS, low, dimension)


def noised(change: Numbers, clip_norm: float, spend: DiscreteGaussian, random: Random) -> Numbers:
    """(dimension,) the change clipped to C, with the noise of `spend`, and scaled back to C after it, which
    says nothing more of the cases. A ledger is charged before.
    """
    grid = 2 * clip_norm / (spend.sensitivity - math.sqrt(len(change)))
    bounded, _ = clipped(change, clip_norm)
    steps = np.rint(bounded / grid) + discrete_gaussian(spend.sigma, len(change), random)
    return clipped((steps * grid).astype(np.float32), clip_norm)[0]


def _cost(sensitivity: float, dimension: int, delta: float) -> float:
    return epsilon(DiscreteGaussian(STEPS, sensitivity, dimension).rdp(ORDERS), delta)
