"""Which intensities, shares and basis choice give a link its best finite key, and the rate over distance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from akazuba.errors import InputError
from akazuba.privacy.qkd.decoy import (
    LONGEST_KM,
    MOST_PULSES,
    LinkParameters,
    asymptotic_rate,
    expected_secret,
    finite_rate,
)

_STEPS = (0.3, 0.1, 0.03, 0.01)
_TURNS = 12
_MORE_PULSES = (1000, 100, 10, 3)


@dataclass(frozen=True)
class Rates:
    """Secret bits per pulse at a distance. asymptotic: of endless pulses with the link's own intensities and
    endless decoys. finite: expected of one session of the link's pulses, with settings tuned to the distance.
    """

    km: float
    asymptotic: float
    finite: float


def tuned(link: LinkParameters) -> LinkParameters:
    """The link with the settings that its sessions' expected key is largest for; with its own where none
    gives a key. The third intensity stays. Nothing secret goes in, so both ends may compute it.

    A pattern search from the link's own settings; where these give no key, from those that are best for ever
    fewer pulses.
    """
    best, value = _searched(link)
    if value <= 0:
        start = link
        for more in _MORE_PULSES:
            start, _ = _searched(replace(start, pulses=min(link.pulses * more, MOST_PULSES)))
        best, value = _searched(replace(start, pulses=link.pulses))
    return best if value > 0 else link


def _searched(link: LinkParameters) -> tuple[LinkParameters, float]:
    best, value = link, expected_secret(link)
    for step in _STEPS:
        for _ in range(_TURNS):
            before = value
            for move, factor in itertools.product(_MOVES, (1 + step, 1 / (1 + step))):
                try:
                    tried = move(best, factor)
                except InputError:
                    continue
                if (reached := expected_secret(tried)) > value:
                    best, value = tried, reached
            if value - before <= 1e-4 * abs(before) or math.isinf(value):
                break
    return best, value


def _intensity(place: int) -> Callable[[LinkParameters, float], LinkParameters]:
    def move(link: LinkParameters, factor: float) -> LinkParameters:
        now = list(link.intensities)
        now[place] *= factor
        return replace(link, intensities=(now[0], now[1], now[2]))

    return move


def _share(place: int) -> Callable[[LinkParameters, float], LinkParameters]:
    def move(link: LinkParameters, factor: float) -> LinkParameters:
        now = list(link.shares)
        now[place] *= factor
        whole = sum(now)
        return replace(link, shares=(now[0] / whole, now[1] / whole, now[2] / whole))

    return move


def _basis(link: LinkParameters, factor: float) -> LinkParameters:
    odds = link.x_share / (1 - link.x_share) * factor
    return replace(link, x_share=odds / (1 + odds))


_MOVES = (_intensity(0), _intensity(1), _share(0), _share(1), _share(2), _basis)


def rates_over_distance(link: LinkParameters, kms: Sequence[float]) -> list[Rates]:
    """kms: rising. Raises InputError for a distance that no link has."""
    rates, now = list[Rates](), link
    for km in kms:
        endless = asymptotic_rate(replace(link, km=km), endless_decoys=True)
        ended = len(rates) > 0 and rates[-1].finite == 0
        now = replace(now, km=km) if ended else tuned(replace(now, km=km))
        rates.append(Rates(km, endless, 0.0 if ended else finite_rate(now)))
    return rates


def reach_km(link: LinkParameters, rate: Callable[[LinkParameters], float]) -> float:
    """The longest distance with a rate above 0, to 0.01 km; 0 when there is none. The rate must fall."""
    low, high = 0.0, LONGEST_KM
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if rate(replace(link, km=middle)) > 0 else (low, middle)
    return low
