"""Masks that add up as their seeds do, so that the stewards need to give away only the sum of the seeds.

A seed is a polynomial s, uniform modulo t; the mask of block b is a_b · s, with a_b public and made of the
round's id. What a clinic sends is a_b · s + (its rounded update + its share of discrete Gaussian noise): a
ring-LWE sample whose error is the noise that privacy asks for anyway. So nothing is spent on hiding alone,
and the sum comes out exact. With t of 20 bits and N = 2048 this lies far inside what the Homomorphic
Encryption Standard (2018, table 1) allows for 128 bits: 54 bits of modulus at N = 2048 and sigma 3.2.

The sum of uniform seeds says nothing about one of them while two honest clinics are in it. The published sum
of the errors is a hint about one clinic's: with h honest clinics a sigma of s is worth s·√((h-1)/2h), half of
it for two (Hint-LWE: Kim, Lee, Seo and Song 2023), which `LEAST_SIGMA` allows for. The idea is that of
one-shot aggregation (Karthikeyan and Polychroniadou 2024; Bell-Clark and others 2024); this form of it, with
the noise as the error, was reviewed by nobody outside.
"""

from __future__ import annotations

import hashlib

import numpy as np

from akazuba.privacy.aggregation.ring import (
    DEGREE,
    MODULUS,
    Random,
    Vector,
    restored,
    stream,
    transformed,
    uniform,
)

LEAST_SIGMA = 8.0
"""Standard deviation of every clinic's noise, at least: half of it still exceeds the standard's 3.2."""


def new_seed(random: Random) -> Vector:
    """(DEGREE,) uniform modulo t."""
    return uniform(random, DEGREE)


def mask(seed: Vector, round_id: bytes, number: int) -> Vector:
    """What a seed hides with, (number,) modulo t; the mask of a sum of seeds is the sum of their masks.

    seed: (DEGREE,), a clinic's own or the sum of many.
    """
    blocks = -(-number // DEGREE)
    key = hashlib.sha256(b"akazuba public polynomials v1" + round_id).digest()
    public = uniform(stream(key), blocks * DEGREE).reshape(blocks, DEGREE)  # drawn as transforms
    return restored(public * transformed(seed[None] % MODULUS) % MODULUS).reshape(-1)[:number]


def added(vectors: list[Vector]) -> Vector:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = (total + vector) % MODULUS
    return total
