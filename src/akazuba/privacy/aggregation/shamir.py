"""A seed shared out among stewards (Shamir 1979): any `threshold` of them open it, fewer learn nothing.

Shares add up: what the stewards add, each on its own, are shares of the sum. The first threshold - 1 shares
are drawn, not computed, so those stewards get a key of 32 bytes from which the share is expanded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.ring import (
    DEGREE,
    MODULUS,
    Random,
    Vector,
    packed,
    stream,
    uniform,
    unpacked,
)

KEY_BYTES = 32
STEWARDS_HIGHEST = 100


def split(secret: Vector, threshold: int, stewards: int, random: Random) -> list[bytes]:
    """What each steward gets: a key, or a share of 20 bits a number. secret: (DEGREE,) modulo t."""
    if not 1 <= threshold <= stewards <= STEWARDS_HIGHEST:
        raise InputError(
            "threshold", f"1 to {stewards} of at most {STEWARDS_HIGHEST} stewards", str(threshold)
        )
    keys = [random(KEY_BYTES) for _ in range(threshold - 1)]
    known = [secret, *(uniform(stream(key), DEGREE) for key in keys)]
    points = list(range(threshold))
    computed = [packed(_at(index, points, known)) for index in range(threshold, stewards + 1)]
    return [*keys, *computed]


def share(data: bytes, index: int, threshold: int) -> Vector:
    """The share of steward `index` (from 1), (DEGREE,). Raises UntrustedError for other bytes."""
    if index >= threshold:
        return unpacked(data, DEGREE, "share")
    if len(data) != KEY_BYTES:
        raise UntrustedError("share", f"a key of {KEY_BYTES} bytes", f"{len(data)} bytes")
    return uniform(stream(data), DEGREE)


def joined(shares: Mapping[int, Vector], threshold: int) -> Vector:
    """The secret (or sum of secrets) from shares by steward index, (DEGREE,).

    Raises UntrustedError for too few, and, where there are more than needed, for ones that do not fit
    together: somebody lied, and what would come out is worth nothing.
    """
    if len(shares) < threshold:
        raise UntrustedError("shares", f"those of {threshold} stewards", str(len(shares)))
    points = sorted(shares)[:threshold]
    known = [shares[point] for point in points]
    for other in sorted(shares)[threshold:]:
        if not np.array_equal(_at(other, points, known), shares[other]):
            raise UntrustedError("shares", "ones of the same sum", f"another one from steward {other}")
    return _at(0, points, known)


def _at(wanted: int, points: list[int], values: list[Vector]) -> Vector:
    """The polynomial through the points, at another one (Lagrange)."""
    total = np.zeros(DEGREE, np.int64)
    for point, value in zip(points, values, strict=True):
        weight = 1
        for other in points:
            if other != point:
                weight = weight * (wanted - other) % MODULUS * pow(point - other, -1, MODULUS) % MODULUS
        total = (total + weight * value) % MODULUS
    return total
