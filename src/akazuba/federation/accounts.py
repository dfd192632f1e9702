"""What taking part has cost each terminal, and a hard stop.

One unit is one clinic, there or not: its update in a sum, clipped to C, or nothing in its place. The loss of
a Gaussian mechanism of noise multiplier z is normal, with mean mu²/2 and variance mu², mu = 1/z; losses of
several add up and stay normal, with mu² added. So the privacy loss distribution of any participation is
known in closed form, and epsilon from it is exact (theorem 8 of Balle and Wang 2018), not a bound as from
Rényi divergences. Which terminals meet in a buffer follows from weather and not from a lot: no amplification
by sampling is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from akazuba.errors import BudgetError, InputError
from akazuba.privacy.accounting import Budget

_BISECTIONS = 100

ROUNDING = 1e-9
"""So much, relatively, is left of an epsilon: many costs, added up one by one, do not pass it by rounding."""


def delta_of(mu: float, epsilon: float) -> float:
    """Of Gaussian mechanisms whose mu² add up to mu², at this epsilon."""
    if mu == 0:
        return 0.0
    rest = epsilon + _log_normal(-mu / 2 - epsilon / mu)
    return max(0.0, math.exp(_log_normal(mu / 2 - epsilon / mu)) - math.exp(rest))


@lru_cache(maxsize=4096)
def epsilon_of(mu: float, delta: float) -> float:
    """The least epsilon for this delta. mu: root of the sum of 1/z² of all participations; 0 and more.

    >>> round(epsilon_of(1.0, 1e-5), 3)
    4.377
    """
    if not (0 < delta < 1 and 0 <= mu < 1e6):
        raise InputError("epsilon", "delta above 0 and mu from 0", f"{delta}, {mu}")
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(mu, middle) > delta else (low, middle)
    return high


def noise_multiplier(epsilon: float, delta: float, participations: int) -> float:
    """The least z at which so many participations cost at most this epsilon: the more epsilon, the LESS
    noise.

    Raises InputError for an epsilon of 0, at which nothing may be said.
    """
    if not (epsilon > 0 and 0 < delta < 1 and participations >= 1):
        expected = "epsilon above 0, delta between 0 and 1, one participation or more"
        raise InputError("noise", expected, f"{epsilon}, {delta}, {participations}")
    low, high = 1e-6, 1e6
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        spent = epsilon_of(min(1e5, math.sqrt(participations) / middle), delta)
        low, high = (middle, high) if spent > epsilon * (1 - ROUNDING) else (low, middle)
    return high


def noise_on_values(noise_multiplier_: float, on_count: float) -> float:
    """The z of the values, when the count of unclipped updates has noise of standard deviation `on_count`
    besides and both together shall cost what `noise_multiplier_` alone costs (theorem 1 of Andrew et al.
    2021: the count's share of one clinic, centred, is 1/2).
    """
    left = noise_multiplier_**-2 - (2 * on_count) ** -2
    if left <= 0:
        least = 0.5 * noise_multiplier_
        raise InputError("noise on the count", f"more than {least:g}", f"{on_count:g}")
    return 1 / math.sqrt(left)


@dataclass
class Accounts:
    """spent: by terminal, the sum of 1/z² of every buffer that it was in. budget: the most that one may
    spend.
    """

    budget: Budget
    spent: dict[str, float] = field(default_factory=dict)

    def check(self, terminal: str, noise_multiplier_: float) -> None:
        """Raises BudgetError when one more buffer would take this terminal over the budget."""
        would_be = self.epsilon(self.spent.get(terminal, 0.0) + noise_multiplier_**-2)
        if would_be > self.budget.epsilon:
            expected = f"at most epsilon {self.budget.epsilon:g} in all, at delta {self.budget.delta:g}"
            raise BudgetError(f"privacy budget of {terminal}", expected, f"{would_be:.4g} with this")

    def charge(self, terminal: str, noise_multiplier_: float) -> None:
        """Raises BudgetError as `check` does, and charges nothing then."""
        self.check(terminal, noise_multiplier_)
        self.spent[terminal] = self.spent.get(terminal, 0.0) + noise_multiplier_**-2

    def exhausted(self, noise_multiplier_: float) -> list[str]:
        """Terminals that one more buffer would take over the budget."""
        once = noise_multiplier_**-2
        over = self.budget.epsilon
        return [name for name, mu2 in sorted(self.spent.items()) if self.epsilon(mu2 + once) > over]

    def epsilons(self) -> Mapping[str, float]:
        """By terminal, at the budget's delta."""
        return {terminal: self.epsilon(mu2) for terminal, mu2 in sorted(self.spent.items())}

    def epsilon(self, mu2: float) -> float:
        """Of participations whose 1/z² add up to mu2, at the budget's delta."""
        return epsilon_of(math.sqrt(mu2), self.budget.delta)


def _log_normal(x: float) -> float:
    """Logarithm of the normal distribution function; far out by the first terms of its asymptotic series."""
    if x > -30:
        return math.log(math.erfc(-x / math.sqrt(2)) / 2)
    return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi)) - 1 / (x * x)
