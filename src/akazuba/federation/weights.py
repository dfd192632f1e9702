"""What an update counts for: by its number of examples, by how many versions and by how much time it is late.

The weight is at most 1 and is applied before the update is clipped, so that a sum changes by at most the clip
norm when one terminal's update is taken out, whatever its weight: what noise has to cover stays that norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from akazuba.errors import InputError


@dataclass(frozen=True)
class Weights:
    """cap: examples beyond which more count for nothing more. alpha: exponent of staleness in versions (Xie,
    Koyejo and Gupta 2019; FedBuff takes 0.5: Nguyen et al. 2022). half_life_s: time in which an update comes
    to count half. floor: what is left of the oldest one's weight.
    """

    cap: int = 200
    alpha: float = 0.5
    half_life_s: float = 7 * 86_400.0
    floor: float = 0.02

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("cap", self.cap, 1, 10_000_000),
            ("alpha", self.alpha, 0, 10),
            ("half-life (s)", self.half_life_s, 1, 1e10),
            ("floor", self.floor, 0, 1),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"weights, {name}", f"{low} to {high}", str(value))

    def size(self, examples: int) -> float:
        """Above 0, at most 1.

        >>> Weights(cap=200).size(50)
        0.25
        """
        return min(examples, self.cap) / self.cap

    def decay(self, behind: int, age_s: float) -> float:
        """From the floor to 1. behind: versions that came out since the update's base. An age below 0 counts
        as 0.

        >>> round(Weights(alpha=0.5, half_life_s=3600).decay(3, 3600), 3)
        0.25
        """
        late: float = (1 + max(0, behind)) ** -self.alpha * 2 ** (-max(0.0, age_s) / self.half_life_s)
        return max(self.floor, late)

    def weight(self, examples: int, behind: int, age_s: float) -> float:
        """Above 0 (where the floor is), at most 1."""
        return self.size(examples) * self.decay(behind, age_s)
