"""Whole numbers modulo t = 1,032,193, vectors of them, and products of polynomials over them.

t is prime and t - 1 = 126 · 8192, so it suits both the batches of BFV (N = 4096) and our own transform.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from akazuba.errors import UntrustedError

MODULUS = 1_032_193
BITS = 20
DEGREE = 2048
"""Of the polynomials of a mask: Z_t[X] / (X^2048 + 1)."""

Vector = npt.NDArray[np.int64]
Random = Callable[[int], bytes]

_WHOLE = (1 << 64) // MODULUS * MODULUS


def uniform(random: Random, number: int) -> Vector:
    """Exactly uniform numbers modulo t, (number,): words of 64 bits, those above the last whole t refused."""
    words = np.frombuffer(random(8 * number), "<u8")
    while (refused := np.flatnonzero(words >= _WHOLE)).size:
        words = words.copy()
        words[refused] = np.frombuffer(random(8 * refused.size), "<u8")
    return (words % MODULUS).astype(np.int64)


def stream(key: bytes) -> Random:
    """The bytes of AES-256 in counter mode under a key of 32 bytes that is used for nothing else."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return lambda number: encryptor.update(bytes(number))


def packed(values: Vector) -> bytes:
    """20 bits each, two in five bytes; an odd last one with a zero beside it."""
    padded = np.zeros(len(values) + len(values) % 2, np.uint64)
    padded[: len(values)] = values
    pairs = padded[0::2] | padded[1::2] << np.uint64(BITS)
    return pairs.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :5].tobytes()


def unpacked(data: bytes, number: int, item: str) -> Vector:
    """Raises UntrustedError unless the bytes are exactly that many numbers modulo t."""
    length = (number + 1) // 2 * 5
    if len(data) != length:
        raise UntrustedError(item, f"{length} bytes", f"{len(data)} bytes")
    wide = np.zeros((length // 5, 8), np.uint8)
    wide[:, :5] = np.frombuffer(data, np.uint8).reshape(-1, 5)
    pairs = wide.reshape(-1).view("<u8")
    values = np.empty(2 * len(pairs), np.int64)
    values[0::2] = pairs & np.uint64((1 << BITS) - 1)
    values[1::2] = pairs >> np.uint64(BITS)
    if values.max(initial=0) >= MODULUS or values[number:].any():
        raise UntrustedError(item, f"numbers below {MODULUS}", "a larger one")
    return values[:number]


def centred(values: Vector) -> Vector:
    """From 0 … t-1 to -(t-1)/2 … (t-1)/2."""
    return np.where(values > MODULUS // 2, values - MODULUS, values)


def transformed(polynomials: Vector) -> Vector:
    """The negacyclic number-theoretic transform of each row; (…, DEGREE), bit-reversed order.

    In that order a product of polynomials modulo X^2048 + 1 is the product of the entries. Loops of
    Longa and Naehrig 2016, each stage over all rows at once.
    """
    values = polynomials.reshape(-1, DEGREE) % MODULUS
    powers = _powers()[0]
    blocks, half = 1, DEGREE // 2
    while half:
        shaped = values.reshape(-1, blocks, 2, half)
        turned = shaped[:, :, 1] * powers[blocks : 2 * blocks, None] % MODULUS
        values = np.stack([shaped[:, :, 0] + turned, shaped[:, :, 0] - turned], 2) % MODULUS
        blocks, half = 2 * blocks, half // 2
    return values.reshape(polynomials.shape)


def restored(transforms: Vector) -> Vector:
    """The polynomials of which `transformed` made these."""
    values = transforms.reshape(-1, DEGREE)
    powers = _powers()[1]
    blocks, half = DEGREE // 2, 1
    while blocks:
        shaped = values.reshape(-1, blocks, 2, half)
        low, high = shaped[:, :, 0], shaped[:, :, 1]
        turned = (low - high) * powers[blocks : 2 * blocks, None]
        values = np.stack([low + high, turned], 2) % MODULUS
        blocks, half = blocks // 2, 2 * half
    return (values * pow(DEGREE, -1, MODULUS) % MODULUS).reshape(transforms.shape)


@cache
def _powers() -> tuple[Vector, Vector]:
    """Powers of a 4096th root of one and of its inverse, in bit-reversed order."""
    root = next(
        found
        for g in range(2, 100)
        if pow(found := pow(g, (MODULUS - 1) // (2 * DEGREE), MODULUS), DEGREE, MODULUS) != 1
    )
    bits = DEGREE.bit_length() - 1
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(DEGREE)]
    forward = np.array([pow(root, i, MODULUS) for i in order], np.int64)
    inverse = np.array([pow(root, -i, MODULUS) for i in order], np.int64)
    return forward, inverse
