"""How fast updates lose their worth, measured: the half-life follows the drift of what terminals see.

Each terminal keeps a model of some days ago and what it lost on the cases of then, and looks what the same
model loses on the cases of now: where nothing changes, as much; with the season or an outbreak, more. The
excess grows with the square of the time that passed (a loss is flat at its bottom). The half-life is the
time in which it comes to `tolerance`. Two numbers of a terminal go in (`metrics` of its update); one liar
moves them little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from akazuba.errors import InputError

EXCESS_HIGHEST = 1.0
"""Nats; beyond that one terminal's word counts for no more."""


@dataclass(frozen=True)
class Look:
    """What a terminal saw of the drift. elapsed_s: between the two looks. excess: cross-entropy of the same
    model on the cases of now less that on the cases of then, in nats.
    """

    elapsed_s: float
    excess: float


@dataclass(frozen=True)
class HalfLife:
    """seconds: in force, between `lowest` and `highest`. tolerance: nats. memory: weight of the past against
    one look. patience: share of the way that one look moves it (on the logarithm). excess, square: running
    sums of excesses and of squared times.
    """

    seconds: float = 7 * 86_400.0
    lowest: float = 6 * 3600.0
    highest: float = 60 * 86_400.0
    tolerance: float = 0.02
    memory: float = 0.99
    patience: float = 0.02
    excess: float = 0.0
    square: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.seconds <= self.highest < math.inf:
            raise InputError("half-life", f"{self.lowest:g} to {self.highest:g} s", str(self.seconds))

    def after(self, look: Look) -> HalfLife:
        """A look that is not finite, or over no time, teaches nothing."""
        if not (math.isfinite(look.excess) and math.isfinite(look.elapsed_s) and look.elapsed_s > 0):
            return self
        bounded = min(EXCESS_HIGHEST, max(-EXCESS_HIGHEST, look.excess))
        excess = self.memory * self.excess + bounded
        square = self.memory * self.square + look.elapsed_s**2
        measured = math.sqrt(self.tolerance * square / excess) if excess > 0 else self.highest
        measured = min(self.highest, max(self.lowest, measured))
        seconds = self.seconds * (measured / self.seconds) ** self.patience
        return replace(self, seconds=seconds, excess=excess, square=square)
