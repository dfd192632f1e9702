"""The sum of some terminals' updates, in O(model) memory: what a gateway makes and a coordinator adds up.

Each update is weighted, then clipped, then, where there will be noise, rounded to whole steps, then added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError
from akazuba.federation.clipping import clipped
from akazuba.federation.halflife import Look
from akazuba.federation.updates import Numbers
from akazuba.federation.weights import Weights

Sums = npt.NDArray[Any]
"""float32; float64 that holds whole numbers where there is a grid."""


@dataclass(frozen=True)
class Arrived:
    """An update as it is folded. values: (dimension,). made_s: seconds, on the clock of who folds. look:
    what the terminal saw of the drift, if it did.
    """

    id: str
    terminal: str
    examples: int
    base_version: int
    made_s: float
    values: Numbers
    look: Look | None = None


@dataclass(frozen=True)
class Terms:
    """What holds until the next version. version: the one in force. clip_norm: C. grid: what one whole step
    is worth, in the model's units; 0 without noise.
    """

    version: int
    dimension: int
    weights: Weights
    clip_norm: float
    grid: float = 0.0


@dataclass
class Sum:
    """total: (dimension,) in the model's units, in whole steps where there is a grid. size, weight: of the
    updates' sizes and weights. unclipped: how many were left as they are.
    """

    terms: Terms
    total: Sums = field(init=False)
    size: float = 0.0
    weight: float = 0.0
    unclipped: int = 0
    ids: list[str] = field(default_factory=list)
    terminals: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.terms.dimension, "f8" if self.terms.grid else "f4")

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, arrived: Arrived, now_s: float) -> None:
        """Raises InputError, and adds nothing, for a vector of another shape, a base that is not out yet, or
        a terminal that is in the sum already.
        """
        terms, item = self.terms, f"update of {arrived.terminal}"
        if arrived.values.shape != (terms.dimension,):
            raise InputError(item, f"{terms.dimension} numbers", str(arrived.values.shape))
        if not 0 <= arrived.base_version <= terms.version:
            raise InputError(item, f"a base of version 0 to {terms.version}", str(arrived.base_version))
        if arrived.terminal in self.terminals:
            raise InputError(item, "a terminal that is not in the buffer yet", arrived.terminal)
        age = max(0.0, now_s - arrived.made_s)
        weight = terms.weights.weight(arrived.examples, terms.version - arrived.base_version, age)
        bounded, whole = clipped(arrived.values * np.float32(weight), terms.clip_norm)
        if terms.grid:
            self.total += np.rint(bounded / terms.grid)
        else:
            self.total += bounded
        self.size += terms.weights.size(arrived.examples)
        self.weight += weight
        self.unclipped += whole
        self.ids.append(arrived.id)
        self.terminals.append(arrived.terminal)
        if arrived.look is not None:
            self.looks.append(arrived.look)

    def merge(self, other: Sum) -> None:
        """Raises InputError, and adds nothing, for a sum under other terms or one that shares a terminal."""
        if other.terms != self.terms:
            found = f"version {other.terms.version}, C {other.terms.clip_norm:g}"
            expected = f"the terms of version {self.terms.version}, C {self.terms.clip_norm:g}"
            raise InputError("partial sum", expected, found)
        if both := set(self.terminals) & set(other.terminals):
            raise InputError("partial sum", "terminals that are not in the buffer yet", min(both))
        self.total += other.total
        self.size += other.size
        self.weight += other.weight
        self.unclipped += other.unclipped
        self.ids += other.ids
        self.terminals += other.terminals
        self.looks += other.looks
