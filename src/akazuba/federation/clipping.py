"""A bound on what one terminal can do to a sum, and a bound that finds its own size (Andrew et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from akazuba.errors import InputError
from akazuba.federation.updates import Numbers


def clipped(values: Numbers, norm: float) -> tuple[Numbers, bool]:
    """The same direction with an L2 norm of `norm` at most, and whether it was left as it is.

    values: (dimension,), finite. The norm is taken in double precision.
    """
    length = float(np.sqrt(np.einsum("i,i->", values, values, dtype=np.float64)))
    if length <= norm:
        return values, True
    return values * np.float32(norm / length * (1 - 1e-6)), False


@dataclass(frozen=True)
class AdaptiveClip:
    """norm: C in force. target: the share of updates that shall stay UNCLIPPED (gamma). rate: eta of the
    geometric step; 0 keeps the norm. lowest, highest: bounds of C.
    """

    norm: float = 1.0
    target: float = 0.5
    rate: float = 0.2
    lowest: float = 1e-6
    highest: float = 1e6

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.norm <= self.highest < math.inf:
            raise InputError("clip norm", f"{self.lowest:g} to {self.highest:g}", str(self.norm))
        if not (0 <= self.target <= 1 and 0 <= self.rate <= 2):
            raise InputError("clip", "target 0 to 1 and rate 0 to 2", f"{self.target}, {self.rate}")

    def after(self, unclipped: float) -> AdaptiveClip:
        """C times exp(-rate * (unclipped - target)): too few left as they are and C grows.

        unclipped: share of the last buffer's updates within C; with noise on it, any number.

        >>> AdaptiveClip(norm=1.0, target=0.5, rate=0.2).after(1.0).norm < 1.0
        True
        """
        norm = self.norm * math.exp(-self.rate * (min(1.0, max(0.0, unclipped)) - self.target))
        return replace(self, norm=min(self.highest, max(self.lowest, norm)))
