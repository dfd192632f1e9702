"""From the mean update of a buffer to the change of the model: FedAvgM and FedAdam (Reddi et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from akazuba.errors import InputError
from akazuba.federation.updates import Numbers

Kind = Literal["momentum", "adam"]


@dataclass(frozen=True)
class Optimiser:
    """rate: server learning rate. beta1: momentum. beta2, tau: of Adam's second moment (tau is its least
    size, and its start).
    """

    kind: Kind = "momentum"
    rate: float = 1.0
    beta1: float = 0.0
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        sound = self.rate > 0 and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.tau > 0
        if not (sound and all(map(math.isfinite, (self.rate, self.tau)))):
            raise InputError("optimiser", "rates above 0 and betas from 0 to below 1", str(self))

    def start(self, dimension: int) -> Moments:
        second = np.full(dimension if self.kind == "adam" else 0, self.tau**2, np.float32)
        return Moments(np.zeros(dimension, np.float32), second)

    def step(self, moments: Moments, update: Numbers) -> tuple[Moments, Numbers]:
        """The moments after it, and what to add to the model. update: (dimension,)."""
        first = _mixed(self.beta1, moments.first, update)
        steps = moments.steps + 1
        mean = first / np.float32(1 - self.beta1**steps)
        if self.kind == "momentum":
            return Moments(first, moments.second, steps), np.asarray(np.float32(self.rate) * mean, np.float32)
        second = _mixed(self.beta2, moments.second, update**2)
        change = np.float32(self.rate) * mean / (np.sqrt(second) + np.float32(self.tau))
        return Moments(first, second, steps), np.asarray(change, np.float32)


@dataclass(frozen=True)
class Moments:
    """first: (dimension,). second: (dimension,), empty without Adam. steps: so far."""

    first: Numbers
    second: Numbers
    steps: int = 0


def _mixed(beta: float, before: Numbers, now: Numbers) -> Numbers:
    return np.asarray(np.float32(beta) * before + np.float32(1 - beta) * now, np.float32)
