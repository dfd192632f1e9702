"""A buffer with liars in it: sums of pairs, and a centre that a minority of them cannot move far.

Pairs are drawn at random for each buffer, so that no single update is compared with another one. A pair of
which one lies is spoilt, so with a share f of liars 1 - (1 - f)² of the pairs are. The centre is found among
what is left. Everything here needs the pairs in memory: K/2 times the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError
from akazuba.federation.updates import Numbers

Centre = Literal["median", "trimmed-mean", "krum"]
TRIMMED = 0.3
"""Of each end of the sorted pairs, number by number (Yin et al. 2018)."""


def paired(updates: Sequence[Numbers], order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(pairs, dimension) means of two; an odd one stays alone. order: a permutation of the updates."""
    shuffled = [updates[place] for place in order]
    return np.stack([np.mean(shuffled[i : i + 2], axis=0) for i in range(0, len(shuffled), 2)])


def centre(pairs: npt.NDArray[np.float32], how: Centre, liars: int) -> Numbers:
    """(dimension,) pairs: (pairs, dimension). liars: pairs that may be spoilt, for Krum.

    median: number by number. trimmed-mean: without `TRIMMED` at each end. krum: multi-Krum, the mean of the
    pairs whose sum of squared distances to their nearest is least (Blanchard et al. 2017).
    """
    number = len(pairs)
    if how == "median":
        return np.asarray(np.median(pairs, axis=0), np.float32)
    if how == "trimmed-mean":
        cut = min(int(TRIMMED * number), (number - 1) // 2)
        return np.asarray(np.sort(pairs, axis=0)[cut : number - cut].mean(axis=0), np.float32)
    if how != "krum":
        raise InputError("robust centre", "median, trimmed-mean or krum", repr(how))
    squares = np.einsum("ij,ij->i", pairs, pairs, dtype=np.float64)
    distances = squares[:, None] + squares[None] - 2 * (pairs @ pairs.T)
    np.fill_diagonal(distances, np.inf)
    near = max(1, number - liars - 2)
    scores = np.sort(distances, axis=1)[:, : min(near, number - 1)].sum(axis=1) if number > 1 else squares
    chosen = np.argsort(scores, kind="stable")[: max(1, number - liars)]
    return np.asarray(pairs[np.sort(chosen)].mean(axis=0), np.float32)
