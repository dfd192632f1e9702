"""Whole-number noise for differential privacy: discrete Gaussian (inversion) and discrete Laplace (exact).

Noise on whole numbers has no floating-point holes to attack and adds up modulo anything (Canonne, Kamath and
Steinke 2020). How long a draw takes depends on what is drawn: the box must not share its processor with an
attacker.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError

Random = Callable[[int], bytes]
"""That many uniform, independent, secret bytes."""

SIGMA_LOWEST, SIGMA_HIGHEST = 0.5, 1e5
NUMBER_HIGHEST = 100_000_000
TERM_HIGHEST = 1_000_000_000
"""Of a scale's numerator and denominator."""

_WORKING_BITS = 240
_TAIL = math.sqrt(2 * 192 * math.log(2))
_KEPT = math.sqrt(2 * 129 * math.log(2))
"""In standard deviations: where a weight falls under 2**-192, and a tail's probability under 2**-129."""


def discrete_gaussian(sigma: float, number: int, random: Random = os.urandom) -> npt.NDArray[np.int64]:
    """Independent whole numbers x, each with probability proportional to exp(-x² / (2 sigma²)); (number,).

    Inversion from a table of cumulative probabilities of 128 bits (Peikert 2010): a uniform number's upper 64
    bits are looked up, its lower 64 drawn only where the upper ones equal an entry's. sigma: 0.5 to 1e5; of
    less the bounds for sums of such noise do not hold. The statistical distance of one number from the exact
    distribution is at most `distance_bound(sigma)`: 2**-111 at sigma 5000, 2**-107 at 1e5. The first call for
    a sigma makes its table: 0.1 s at sigma 5000; 2 s, and 180 MB while it is made, at 1e5. Raises InputError.
    """
    _sound_sigma(sigma)
    _sound_number(number)
    table = _table(float(sigma))
    upper = np.frombuffer(random(8 * number), "<u8")
    places = table.guide[upper >> table.shift]
    searched = np.flatnonzero(places < 0)
    if len(searched):
        places[searched] = _searched(table, upper[searched], random)
    numbers: npt.NDArray[np.int64] = places.astype(np.int64) - len(table.upper) // 2
    return numbers


def distance_bound(sigma: float) -> float:
    """Total variation distance of one number of `discrete_gaussian` from the exact distribution, at most.

    At most 13.4 sigma entries on each side, each rounded by half of 2**-128 (its own error is under 2**-170),
    each counted in two neighbours; what is cut off adds 2**-128 at most.

    >>> f"{distance_bound(5000):.1e}"
    '2.0e-34'
    """
    _sound_sigma(sigma)
    return (math.ceil(_KEPT * sigma) + 2) * 2.0**-128


def discrete_laplace(
    scale_numerator: int, scale_denominator: int, number: int, random: Random = os.urandom
) -> npt.NDArray[np.int64]:
    """Independent whole numbers x, each with probability proportional to exp(-|x| / scale); (number,).

    Exact, by whole numbers alone: algorithm 2 of Canonne, Kamath and Steinke 2020. Some 20 µs each.
    scale_numerator, scale_denominator: 1 to 1e9. Raises InputError.
    """
    for name, term in (("numerator", scale_numerator), ("denominator", scale_denominator)):
        if isinstance(term, bool) or not isinstance(term, int) or not 1 <= term <= TERM_HIGHEST:
            raise InputError(
                f"noise, {name} of the scale", f"a whole number from 1 to {TERM_HIGHEST}", repr(term)
            )
    _sound_number(number)
    return np.array(
        [_one_laplace(scale_numerator, scale_denominator, random) for _ in range(number)], np.int64
    )


class _Table(NamedTuple):
    """Probabilities of at most -K, …, at most K - 1 in units of 2**-128, in halves of 64 bits: two (2K,).

    guide: for each value of the first 64 - shift bits, how many entries are at most any number that starts
    so; -1 where that depends on the bits that follow (Chen and Asau 1974).
    """

    upper: npt.NDArray[np.uint64]
    lower: npt.NDArray[np.uint64]
    guide: npt.NDArray[np.int32]
    shift: np.uint64


@lru_cache(maxsize=4)
def _table(sigma: float) -> _Table:
    upper, lower = _halves(sigma)
    bits = min(22, max(8, math.ceil(math.log2(40 * sigma))))
    shift = np.uint64(64 - bits)
    starting_so = np.bincount((upper >> shift).astype(np.int64), minlength=1 << bits)
    before = np.cumsum(starting_so) - starting_so
    return _Table(upper, lower, np.where(starting_so, -1, before).astype(np.int32), shift)


def _halves(sigma: float) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Weights by w(k + 1) = w(k) q**(2k + 1) with q = exp(-1 / (2 sigma²)) in fixed point. The k-th is off by
    at most 2k² + k units of 2**-240, so a tail, a sum of at most 1.7 million, by less than 2**-170.
    """
    with localcontext() as context:
        context.prec = 100
        q = int((-1 / (2 * Decimal(sigma) ** 2)).exp() * 2**_WORKING_BITS)
    weight = 1 << _WORKING_BITS
    ratio, squared, weights = q, (q * q) >> _WORKING_BITS, list[int]()
    for _ in range(math.ceil(_TAIL * sigma) + 1):
        weight = (weight * ratio) >> _WORKING_BITS
        ratio = (ratio * squared) >> _WORKING_BITS
        weights.append(weight)
    unit = (1 << 2 * _WORKING_BITS) // ((1 << _WORKING_BITS) + 2 * sum(weights))
    dropped = 2 * _WORKING_BITS - 128
    half = 1 << (dropped - 1)
    raw = bytearray()
    for tail in accumulate(reversed(weights)):
        if rounded := (tail * unit + half) >> dropped:
            raw += rounded.to_bytes(16, "little")
    below = np.frombuffer(raw, "<u8").reshape(-1, 2)
    lower, upper = below[:, 0], below[:, 1]
    above = ~upper[::-1] + (lower[::-1] == 0)
    return np.concatenate([upper, above]), np.concatenate([lower, -lower[::-1]])


def _searched(table: _Table, upper: npt.NDArray[np.uint64], random: Random) -> npt.NDArray[np.int64]:
    """How many entries are at most each number, of which the upper half is given."""
    places = np.searchsorted(table.upper, upper).astype(np.int64, copy=False)
    tied = np.flatnonzero(table.upper[np.minimum(places, len(table.upper) - 1)] == upper)
    for number in tied.tolist():
        lower = int.from_bytes(random(8), "little")
        last = int(np.searchsorted(table.upper, upper[number], "right"))
        same = table.lower[places[number] : last]
        places[number] += int(np.searchsorted(same, np.uint64(lower), "right"))
    return places


def _one_laplace(numerator: int, denominator: int, random: Random) -> int:
    while True:
        rest = _below(numerator, random)
        if not _happens(rest, numerator, random):
            continue
        turns = 0
        while _happens(1, 1, random):
            turns += 1
        size = (rest + numerator * turns) // denominator
        negative = _below(2, random) == 1
        if not (negative and size == 0):
            return -size if negative else size


def _happens(numerator: int, denominator: int, random: Random) -> bool:
    """True with probability exp(-x), x = numerator / denominator from 0 to 1: algorithm 1 of the same."""
    turn = 1
    while _below(denominator * turn, random) < numerator:
        turn += 1
    return turn % 2 == 1


def _below(bound: int, random: Random) -> int:
    """Uniform from 0 to bound - 1."""
    bits = (bound - 1).bit_length()
    if bits == 0:
        return 0
    size = -(-bits // 8)
    while True:
        drawn = int.from_bytes(random(size), "little") >> (8 * size - bits)
        if drawn < bound:
            return drawn


def _sound_sigma(sigma: float) -> None:
    known = isinstance(sigma, (int, float)) and not isinstance(sigma, bool)
    if not known or not SIGMA_LOWEST <= sigma <= SIGMA_HIGHEST:
        raise InputError("noise, sigma", f"a number from {SIGMA_LOWEST:g} to {SIGMA_HIGHEST:g}", repr(sigma))


def _sound_number(number: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= NUMBER_HIGHEST:
        raise InputError("noise, number", f"a whole number from 0 to {NUMBER_HIGHEST}", repr(number))
