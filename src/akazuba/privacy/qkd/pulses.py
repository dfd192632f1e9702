"""The quantum half of the SIMULATED link: what Alice sends, an eavesdropper does to it, and Bob measures.

Up to EVENTS pulses are drawn one by one. Of more, only the clicks are: pulses do not depend on one another,
so the counts of every kind of click follow a multinomial law, and the clicks are then made and shuffled. Both
give the same distribution; when only clicks are drawn, Bob numbers them instead of naming their pulse.
Photons reach one of Bob's two detectors independently; when both click he throws a coin. An afterpulse is an
extra click of a random bit, counted for the pulse that caused it (as R_k in Lim et al. 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from akazuba.errors import InputError
from akazuba.privacy.qkd.decoy import LinkParameters, gain

EVENTS = 5_000_000
MOST_CLICKS = 20_000_000
"""They take about a gigabyte of memory."""

_AT_ONCE = 1 << 19
_PHOTONS = 64
"""Pulses of an intensity up to 2 hold more photons with a probability below 10^-60."""

X, Z = 0, 1
"""Bases: X gives the key."""

Flags = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Advanced = Callable[[float], None]


@dataclass(frozen=True)
class Eavesdropper:
    """intercepts: the share of the pulses that she measures in a random basis and sends anew with the same
    number of photons. splits: she keeps a photon of every pulse that has two, sends the rest on without loss,
    and stops single photons as far as the signal's number of clicks allows (photon-number splitting).
    """

    intercepts: float = 0.0
    splits: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.intercepts, int | float) or not 0 <= self.intercepts <= 1:
            raise InputError("eavesdropper", "a share of 0 to 1", repr(self.intercepts))
        if self.splits and self.intercepts:
            raise InputError("eavesdropper", "one attack", "splitting and intercepting")


NOBODY = Eavesdropper()


@dataclass(frozen=True)
class Sent:
    """Alice's notes of each pulse (of each that clicked, when only clicks are drawn)."""

    bits: Flags
    bases: Flags
    intensities: Flags


@dataclass(frozen=True)
class Clicks:
    """Bob's notes of each click. places: the number of the pulse, rising."""

    places: Numbers
    bits: Flags
    bases: Flags


@dataclass(frozen=True)
class _Arriving:
    """How pulses reach Bob. kept[n]: probability that a pulse of n photons goes on; left[n]: its photons
    then; transmittance: of each of these, Bob's side included.
    """

    kept: NDArray[np.float64]
    left: NDArray[np.int64]
    transmittance: float


def transmit(
    link: LinkParameters,
    eavesdropper: Eavesdropper,
    chance: np.random.Generator,
    advanced: Advanced = lambda _: None,
) -> tuple[Sent, Clicks]:
    """Sends the pulses of a session. Raises InputError when more would click than can be worked on."""
    way = _way(link, eavesdropper)
    expected = _expected_clicks(link, way)
    if expected > MOST_CLICKS:
        most = int(link.pulses * MOST_CLICKS / expected)
        raise InputError("pulses", f"at most {most} at this distance", str(link.pulses))
    if link.pulses <= EVENTS:
        return _one_by_one(link, eavesdropper, way, chance, advanced)
    return _counted(link, eavesdropper, way, chance)


def _way(link: LinkParameters, eavesdropper: Eavesdropper) -> _Arriving:
    photons = np.arange(_PHOTONS + 1)
    if not eavesdropper.splits:
        return _Arriving(np.ones(_PHOTONS + 1), photons, link.transmittance)
    left = np.where(photons >= 2, photons - 1, photons)
    lossless = link.detector_efficiency
    weights = _poisson(link.intensities[0])
    clicks = weights * (1 - (1 - lossless) ** left)
    wanted = gain(link, link.intensities[0]) / (1 + link.afterpulses) - 2 * link.dark_counts
    many, single = float(clicks[2:].sum()), float(clicks[1])
    kept = np.ones(_PHOTONS + 1)
    kept[2:] = min(1.0, wanted / many)
    kept[1] = min(1.0, max(0.0, (wanted - many) / single))
    return _Arriving(kept, left, lossless)


def _poisson(mean: float) -> NDArray[np.float64]:
    """Probabilities of 0 to _PHOTONS photons."""
    steps = np.concatenate(([1.0], mean / np.arange(1, _PHOTONS + 1)))
    weights: NDArray[np.float64] = np.cumprod(steps) * np.exp(-mean)
    return weights


def _responses(
    link: LinkParameters, photons: NDArray[np.int64], transmittance: float, wrong: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities (right bit, wrong bit) of a click for each number of arriving photons, of which a share
    `wrong` goes to the wrong detector.
    """
    silent = 1 - link.dark_counts
    right = 1 - silent * (1 - transmittance * (1 - wrong)) ** photons
    false = 1 - silent * (1 - transmittance * wrong) ** photons
    nothing = silent**2 * (1 - transmittance) ** photons
    both = right + false - (1 - nothing)
    after = link.afterpulses * (1 - nothing) / 2
    ceiling = 1 / np.maximum(1.0, (1 - nothing) * (1 + link.afterpulses))
    return (right - both / 2 + after) * ceiling, (false - both / 2 + after) * ceiling


def _mixed(link: LinkParameters, way: _Arriving, wrong: float) -> NDArray[np.float64]:
    """[intensity, right or wrong]: probability of such a click when Bob measures in the pulse's basis."""
    none = np.zeros(1, dtype=np.int64)
    reached = np.stack(_responses(link, way.left, way.transmittance, wrong))
    stopped = np.stack(_responses(link, none, way.transmittance, wrong))
    each = way.kept * reached + (1 - way.kept) * stopped
    return np.stack([each @ _poisson(k) for k in link.intensities])


def _expected_clicks(link: LinkParameters, way: _Arriving) -> float:
    return float(link.pulses * np.array(link.shares) @ _mixed(link, way, 0.5).sum(axis=1))


def _one_by_one(
    link: LinkParameters,
    eavesdropper: Eavesdropper,
    way: _Arriving,
    chance: np.random.Generator,
    advanced: Advanced,
) -> tuple[Sent, Clicks]:
    aligned = _responses(link, np.arange(_PHOTONS + 1), way.transmittance, link.misalignment)
    sent, clicks = list[Sent](), list[Clicks]()
    for start in range(0, link.pulses, _AT_ONCE):
        count = min(_AT_ONCE, link.pulses - start)
        now = Sent(
            chance.integers(0, 2, count, dtype=np.uint8),
            (chance.random(count) >= link.x_share).astype(np.uint8),
            chance.choice(3, count, p=np.array(link.shares)).astype(np.uint8),
        )
        photons = np.minimum(chance.poisson(np.array(link.intensities)[now.intensities]), _PHOTONS)
        bits, bases = _intercepted(now, eavesdropper, chance)
        arriving = np.where(chance.random(count) < way.kept[photons], way.left[photons], 0)
        sent.append(now)
        clicks.append(_measured(link, bits, bases, arriving, aligned, start, chance))
        advanced((start + count) / link.pulses)
    return (
        Sent(*(np.concatenate([getattr(each, name) for each in sent]) for name in Sent.__annotations__)),
        Clicks(
            *(np.concatenate([getattr(each, name) for each in clicks]) for name in Clicks.__annotations__)
        ),
    )


def _intercepted(sent: Sent, eavesdropper: Eavesdropper, chance: np.random.Generator) -> tuple[Flags, Flags]:
    """Bits and bases of the pulses as they go on from the eavesdropper."""
    if not eavesdropper.intercepts:
        return sent.bits, sent.bases
    count = len(sent.bits)
    touched = chance.random(count) < eavesdropper.intercepts
    her_bases = chance.integers(0, 2, count, dtype=np.uint8)
    her_bits = np.where(her_bases == sent.bases, sent.bits, chance.integers(0, 2, count, dtype=np.uint8))
    return np.where(touched, her_bits, sent.bits), np.where(touched, her_bases, sent.bases)


def _measured(
    link: LinkParameters,
    bits: Flags,
    bases: Flags,
    photons: Numbers,
    aligned: tuple[NDArray[np.float64], NDArray[np.float64]],
    start: int,
    chance: np.random.Generator,
) -> Clicks:
    """In the other basis than the pulse's both detectors are as likely, and a click is as probable."""
    count = len(bits)
    own = (chance.random(count) >= link.x_share).astype(np.uint8)
    right, wrong = aligned[0][photons], aligned[1][photons]
    drawn = chance.random(count)
    places = np.flatnonzero(drawn < right + wrong)
    read = bits[places] ^ (drawn[places] >= right[places]).astype(np.uint8)
    coin = chance.integers(0, 2, len(places), dtype=np.uint8)
    read = np.where(own[places] == bases[places], read, coin)
    return Clicks(places.astype(np.int64) + start, read, own[places])


def _counted(
    link: LinkParameters, eavesdropper: Eavesdropper, way: _Arriving, chance: np.random.Generator
) -> tuple[Sent, Clicks]:
    """Kinds of clicks: intensity, Alice's basis, Bob's, right or wrong. A pulse that was intercepted in the
    other basis gives either bit alike; so does Bob's other basis.
    """
    even = _mixed(link, way, 0.5)
    torn = eavesdropper.intercepts / 2
    same = (1 - torn) * _mixed(link, way, link.misalignment) + torn * even
    share = np.array([link.x_share, 1 - link.x_share])
    kinds = np.stack([np.stack([same, even], 1), np.stack([even, same], 1)], 1)
    kinds = kinds * share[None, :, None, None] * share[None, None, :, None]
    odds = (kinds * np.array(link.shares)[:, None, None, None]).ravel()
    counts = chance.multinomial(link.pulses, [*odds, 1 - odds.sum()])[:-1]
    kind = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    chance.shuffle(kind)
    bits = chance.integers(0, 2, len(kind), dtype=np.uint8)
    wrong, own, alices, intensity = (
        (kind >> shift & mask).astype(np.uint8) for shift, mask in ((0, 1), (1, 1), (2, 1), (3, 3))
    )
    places = np.arange(len(kind), dtype=np.int64)
    return Sent(bits, alices, intensity), Clicks(places, bits ^ wrong, own)
