"""Updates in, versions out: the one place where a model changes. The gateway, the coordinator and the
SIMULATED programme all call it.

An update is weighted, then clipped, then added to the sums of a buffer of K terminals, in O(model) memory;
with the K-th the buffer becomes a version: its centre, with noise where the programme asks for it, through
the server's optimiser. One terminal is in a buffer once at most, so a sum changes by at most C when a clinic
is taken out. The same updates in the same order with the same random bytes give the same numbers, bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from akazuba.errors import InputError
from akazuba.federation.accounts import Accounts, noise_on_values
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.halflife import HalfLife
from akazuba.federation.optimisers import Moments, Optimiser
from akazuba.federation.robust import Centre, centre, paired
from akazuba.federation.sums import Arrived, Sum, Terms
from akazuba.federation.updates import Numbers
from akazuba.federation.weights import Weights
from akazuba.privacy.noise import discrete_gaussian

Random = Callable[[int], bytes]
PAIR = 2
"""Terminals whose updates are added before they are compared with others'."""

NOISE_STEPS = 16_384.0
"""Standard deviation of the noise in whole steps: so fine that rounding is nothing beside it."""

HASTE = 2.0
"""So many times larger may a step become under drift."""

LIARS = 0.25
"""Share of terminals that may lie, for Krum."""

COUNT_STEPS = 64
"""Whole steps that one update counts for among the unclipped ones."""

COUNT_NOISE = 0.05
"""Standard deviation of the noise on the count of unclipped updates, as a share of the buffer, at least."""


@dataclass(frozen=True)
class Rules:
    """buffer: K, terminals in a version. noise_multiplier: standard deviation of the noise on a sum over C; 0
    adds none. robust: None folds as updates come; else the centre that is taken, for which K updates are
    kept. liars: share of terminals that may lie, for Krum. adaptive: whether the half-life follows the drift
    (without noise only: its three sums would each need their own). lag: versions an update may be behind.
    """

    buffer: int = 10
    weights: Weights = field(default_factory=Weights)
    clip: AdaptiveClip = field(default_factory=AdaptiveClip)
    optimiser: Optimiser = field(default_factory=Optimiser)
    half_life: HalfLife = field(default_factory=HalfLife)
    noise_multiplier: float = 0.0
    robust: Centre | None = None
    liars: float = LIARS
    adaptive: bool = True
    least_step: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.buffer <= 100_000:
            raise InputError("buffer", "1 to 100,000 terminals", str(self.buffer))
        if not (math.isfinite(self.noise_multiplier) and 0 <= self.noise_multiplier <= 1e4):
            raise InputError("noise multiplier", "0 to 10,000", str(self.noise_multiplier))
        if self.noise_multiplier and self.robust:
            expected = "noise or a robust centre: a centre of pairs has no known sensitivity"
            raise InputError("rules", expected, "both")


def starting_rules(
    buffer: int, noise_multiplier: float = 0.0, robust: Centre | None = None, liars: float = LIARS
) -> Rules:
    """Those that a programme starts with. Chosen on drawn programmes and on the skin pictures' sites with
    seeds from 900 on.

    Under noise, or with liars about, C follows the median, since a higher quantile would be theirs to set,
    and more of the step is remembered, which evens the noise out; without, memory costs accuracy where few
    and unlike clinics are in a buffer.
    """
    low = bool(noise_multiplier or robust)
    return Rules(
        buffer=buffer,
        weights=Weights(cap=100, alpha=0.25, half_life_s=4 * 86_400.0, floor=0.02),
        clip=AdaptiveClip(0.5, 0.5, 0.2) if low else AdaptiveClip(2.0, 0.8, 0.2),
        optimiser=Optimiser("momentum", 1.25, 0.6 if low else 0.15),
        half_life=HalfLife(4 * 86_400.0, 6 * 3600.0, 30 * 86_400.0),
        noise_multiplier=noise_multiplier,
        robust=robust,
        liars=liars,
    )


@dataclass(frozen=True)
class Version:
    """What a buffer became. ids: of its updates, in order; of a masked round, its name. unclipped: their
    share; NaN where nobody can know. change: L2 norm of the model's change.
    """

    version: int
    ids: tuple[str, ...]
    at_s: float
    clip_norm: float
    unclipped: float
    half_life_s: float
    change: float


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a coordinator starts again from. model, first, second: float32. spent: by terminal, of
    `Accounts`.
    """

    version: int
    model: bytes
    first: bytes
    second: bytes
    steps: int
    clip: AdaptiveClip
    half_life: HalfLife
    spent: dict[str, float]


class Folding:
    """model: (dimension,) the numbers of `version`. accounts: charged when there is noise; None without.
    random: of noise and of pairs.
    """

    def __init__(
        self,
        rules: Rules,
        model: Numbers,
        random: Random,
        *,
        version: int = 0,
        accounts: Accounts | None = None,
        moments: Moments | None = None,
    ) -> None:
        if rules.noise_multiplier and accounts is None:
            raise InputError("noise", "accounts of the terminals' privacy", "none")
        self.rules, self.version, self.model = rules, version, model.astype(np.float32)
        if rules.noise_multiplier and self._value_noise() * math.sqrt(len(model)) >= NOISE_STEPS:
            highest = NOISE_STEPS / math.sqrt(len(model))
            raise InputError("noise multiplier", f"below {highest:g} for so large a model", f"{rules}")
        self.clip, self.half_life, self.accounts = rules.clip, rules.half_life, accounts
        self.moments = moments or rules.optimiser.start(len(model))
        self._random = random
        self._parts: list[Sum] = []
        self._buffer = Sum(self.terms())

    def state(self) -> State:
        """Everything but the open buffer, whose updates their gateways still hold."""
        return State(
            self.version,
            self.model.astype("<f4").tobytes(),
            self.moments.first.astype("<f4").tobytes(),
            self.moments.second.astype("<f4").tobytes(),
            self.moments.steps,
            self.clip,
            self.half_life,
            dict(self.accounts.spent) if self.accounts else {},
        )

    @classmethod
    def resumed(cls, rules: Rules, state: State, random: Random, accounts: Accounts | None = None) -> Folding:
        """As it was when `state` was taken, with an empty buffer."""
        if accounts is not None:
            accounts.spent = dict(state.spent)
        moments = Moments(np.frombuffer(state.first, "<f4"), np.frombuffer(state.second, "<f4"), state.steps)
        model = np.frombuffer(state.model, "<f4")
        folding = cls(rules, model, random, version=state.version, accounts=accounts, moments=moments)
        folding.clip, folding.half_life = state.clip, state.half_life
        folding._buffer = Sum(folding.terms())
        return folding

    def __len__(self) -> int:
        """Updates in the buffer."""
        return len(self._buffer)

    def terminals(self) -> list[str]:
        """Those in the open buffer."""
        return list(self._buffer.terminals)

    def exhausted(self) -> list[str]:
        """Terminals whose privacy budget is used up: they are not added any more."""
        if self.accounts is None or not self.rules.noise_multiplier:
            return []
        return self.accounts.exhausted(self.rules.noise_multiplier)

    def room(self) -> int:
        """Terminals that the open buffer still takes."""
        return self.rules.buffer - len(self)

    def takes(self, terminal: str) -> bool:
        """Whether the open buffer has room for this terminal's update: it is in it once at most."""
        return terminal not in self._buffer.terminals

    def terms(self) -> Terms:
        """What holds until the next version."""
        grid = self._grid() if self.rules.noise_multiplier else 0.0
        return Terms(self.version, len(self.model), self.weights(), self.clip.norm, grid)

    def weights(self) -> Weights:
        return replace(self.rules.weights, half_life_s=self.half_life.seconds)

    def take(self, arrived: Arrived, now_s: float) -> Version | None:
        """Folds one update; the version that it completes, if it does.

        Raises InputError when the terminal is in the buffer already (keep the update for the next one) or the
        vector is of another shape, BudgetError when the terminal's privacy budget is used up. Nothing is
        folded then.
        """
        if not self.takes(arrived.terminal):
            expected = "a terminal that is not in the buffer yet"
            raise InputError(f"update of {arrived.terminal}", expected, arrived.terminal)
        alone = Sum(self._buffer.terms)
        alone.add(arrived, now_s)
        return self.merge(alone, now_s)

    def merge(self, part: Sum, now_s: float) -> Version | None:
        """Folds a gateway's sum, made under the terms in force; the version that it completes, if it does.
        For a robust centre a sum is of two terminals at most.

        Raises InputError and BudgetError as `take` does, and folds nothing then.
        """
        if self.rules.robust and len(part) > PAIR:
            raise InputError("partial sum", f"{PAIR} terminals at most, for a robust centre", str(len(part)))
        if len(part) > self.room():
            raise InputError("partial sum", f"{self.room()} terminals at most", str(len(part)))
        if self.accounts is not None and self.rules.noise_multiplier:
            for terminal in part.terminals:
                self.accounts.check(terminal, self.rules.noise_multiplier)
        self._buffer.merge(part)
        if self.rules.robust:
            self._parts.append(part)
        if self.accounts is not None and self.rules.noise_multiplier:
            for terminal in part.terminals:
                self.accounts.charge(terminal, self.rules.noise_multiplier)
        return self._closed(now_s) if len(self) >= self.rules.buffer else None

    def adopt(self, total: Numbers, clinics: int, name: str, now_s: float) -> Version:
        """The version that a masked round's sum becomes, the open buffer empty. total: (dimension,), of
        updates that `clinics` terminals weighted and clipped themselves, with its noise. C and half-life
        stay.

        Raises InputError while the buffer holds something, or for another shape.
        """
        if len(self) or total.shape != self.model.shape or clinics < 1:
            expected = f"an empty buffer and {len(self.model)} numbers of one clinic or more"
            raise InputError(name, expected, f"{len(self)} updates, {total.shape}, {clinics} clinics")
        return self._stepped(total / np.float32(clinics), (name,), math.nan, now_s)

    def _value_noise(self) -> float:
        return noise_on_values(self.rules.noise_multiplier, self._count_noise())

    def _count_noise(self) -> float:
        return max(COUNT_NOISE * self.rules.buffer, 2 * self.rules.noise_multiplier)

    def _grid(self) -> float:
        """What one whole step is worth: the noise on values is `NOISE_STEPS` of them."""
        root = math.sqrt(len(self.model))
        # The steps of a clipped vector, rounded, have a norm of C / grid + root / 2 at most.
        return self.clip.norm / (NOISE_STEPS / self._value_noise() - root / 2)

    def sensitivity(self) -> float:
        """By how much, in the model's units, the sum of a buffer changes when one terminal is taken out."""
        if not self.rules.noise_multiplier:
            return self.clip.norm
        return self.clip.norm + self._grid() * math.sqrt(len(self.model)) / 2

    def _closed(self, now_s: float) -> Version:
        buffer = self._buffer
        if self.rules.adaptive and not self.rules.noise_multiplier:
            for look in buffer.looks:
                self.half_life = self.half_life.after(look)
        total = self._total(buffer)
        share = self._share_unclipped(buffer)
        # With noise the divisor may not depend on anybody's data.
        mean = max(buffer.weight, self.rules.least_step * buffer.size)
        divisor = float(self.rules.buffer) if self.rules.noise_multiplier else mean
        made = self._stepped(total / np.float32(divisor), tuple(buffer.ids), share, now_s)
        self.clip = self.clip.after(share)
        self._parts = []
        self._buffer = Sum(self.terms())
        return made

    def _stepped(self, mean: Numbers, ids: tuple[str, ...], share: float, now_s: float) -> Version:
        self.moments, change = self.rules.optimiser.step(self.moments, mean)
        change = change * np.float32(self._haste())
        self.model = self.model + change
        self.version += 1
        self._buffer = Sum(self.terms())
        length = float(np.linalg.norm(change.astype(np.float64)))
        return Version(self.version, ids, now_s, self.clip.norm, share, self.half_life.seconds, length)

    def _haste(self) -> float:
        """1 to `HASTE`: the model moves faster where the world does, as the half-life falls below its
        start.
        """
        return min(HASTE, max(1.0, math.sqrt(self.rules.half_life.seconds / self.half_life.seconds)))

    def _total(self, buffer: Sum) -> Numbers:
        if self.rules.robust:
            return self._centre(len(buffer))
        if not self.rules.noise_multiplier:
            return np.asarray(buffer.total, np.float32)
        noise = discrete_gaussian(NOISE_STEPS, len(self.model), self._random)
        return ((buffer.total + noise) * self._grid()).astype(np.float32)

    def _centre(self, number: int) -> Numbers:
        """(dimension,) as many times the centre as there are updates."""
        single = [part.total for part in self._parts if len(part) == 1]
        order = np.argsort(np.frombuffer(self._random(8 * len(single)), "<u8"), kind="stable")
        means = [part.total / np.float32(len(part)) for part in self._parts if len(part) > 1]
        pairs = np.stack([*means, *(paired(single, order) if single else [])])
        spoilt = math.ceil((1 - (1 - self.rules.liars) ** PAIR) * len(pairs))
        found = centre(pairs, self.rules.robust or "median", min(spoilt, len(pairs) - 1))
        return found * np.float32(number)

    def _share_unclipped(self, buffer: Sum) -> float:
        count: float = buffer.unclipped
        if self.rules.noise_multiplier:
            noise = discrete_gaussian(self._count_noise() * COUNT_STEPS, 1, self._random)
            count += int(noise[0]) / COUNT_STEPS
        return count / len(buffer.ids)
