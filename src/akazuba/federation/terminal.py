"""A terminal's part: train on its own confirmed and consented cases, bound the change, put it into the
outbox.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from akazuba.diagnosis.network import Labels, Network
from akazuba.errors import InputError
from akazuba.federation.arrays import arrays_of, read_file
from akazuba.federation.clipping import clipped
from akazuba.federation.local import noise_for, noised
from akazuba.federation.outbox import LookingBack, Outbox, Waiting
from akazuba.federation.updates import Coding, ModelRelease, Numbers, Update, coded, signed
from akazuba.privacy.accounting import DiscreteGaussian
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.ledger import Ledger
from akazuba.privacy.noise import Random

LEAST_CASES = 20
"""Fewer say too much of each."""

TRAINING_H = 0.05
"""Of a small board at full clock, what a training may take with loading and packing: what the sun must
leave. A network of this size takes seconds of it.
"""

LOOK_BACK_S = 7 * 86_400
"""Another model is kept to look back with after that."""


@dataclass(frozen=True)
class Training:
    """steps, rate: of gradient descent. least: confirmed and consented cases, at least. coding: of the
    update's numbers.
    """

    steps: int = 5
    rate: float = 0.3
    least: int = LEAST_CASES
    coding: Coding = "int8"


@dataclass(frozen=True)
class LocalNoise:
    """epsilon: of each update, at the delta of the ledger's budget. ledger: the box's own."""

    epsilon: float
    ledger: Ledger
    random: Random = os.urandom

    def charged(self, release: ModelRelease, dimension: int) -> DiscreteGaussian:
        """What an update costs, once it is paid for. Raises BudgetError when the budget does not reach."""
        spend = noise_for(self.epsilon, self.ledger.budget().delta, dimension)
        purpose = f"update of the model of {release.programme}, version {release.version}"
        self.ledger.charge(spend, "clinic", purpose)
        return spend


@dataclass(frozen=True)
class OwnCases:
    """inputs: (cases, features). labels: (cases,). Only those that may be used. left_out: how many may
    not.
    """

    inputs: Numbers
    labels: Labels
    left_out: int


def own_cases(path: Path) -> OwnCases:
    """Of an .npz with `inputs` (cases, features), `labels` (cases,) whole numbers, `confirmed` and
    `consented` (cases,) yes or no. Only cases that are both are kept. Raises InputError.
    """
    expected = "an .npz with inputs, labels, confirmed and consented"
    arrays = arrays_of(path, read_file(path, expected), expected)
    try:
        inputs = np.asarray(arrays["inputs"], np.float32)
        labels, confirmed, consented = (arrays[name] for name in ("labels", "confirmed", "consented"))
    except (KeyError, ValueError) as problem:
        raise InputError(str(path), expected, str(problem)) from problem
    shapes = {labels.shape, confirmed.shape, consented.shape}
    if (
        inputs.ndim != 2
        or shapes != {inputs.shape[:1]}
        or {confirmed.dtype, consented.dtype} != {np.dtype(bool)}
    ):
        raise InputError(
            str(path), "one label and two yes-or-no for each case", str(sorted(map(str, shapes)))
        )
    if labels.dtype.kind not in "iu" or not np.isfinite(inputs).all():
        raise InputError(str(path), "whole labels and finite inputs", str(labels.dtype))
    may = np.logical_and(confirmed, consented)
    return OwnCases(inputs[may], labels[may].astype(np.int64), int(len(may) - may.sum()))


def train(
    outbox: Outbox,
    identity: Identity,
    release: ModelRelease,
    network: Network,
    cases: OwnCases,
    training: Training,
    now: Callable[[], int],
    local: LocalNoise | None = None,
) -> Waiting:
    """Trains from a release and puts the clipped change into the outbox. local: noise of the terminal's own;
    the update then says neither how many cases it is of nor how well the model fits them.

    Raises InputError as `trained` does, BudgetError when the terminal's budget does not reach for the noise.
    """
    after = trained(release, network, cases, training)
    change, _ = clipped(after - release.values(), release.clip_norm)
    spend = None if local is None else local.charged(release, network.dimension)
    if local is not None and spend is not None:
        change = noised(change, release.clip_norm, spend, local.random)
    numbers, scale = coded(change, training.coding)
    # With noise a release asks for nothing but the update: each metric says something of the cases.
    metrics = {} if release.grid or spend else _metrics(outbox, release, network, cases, after, now())

    def made(serial: int) -> bytes:
        return signed(
            identity,
            Update(
                release.programme,
                serial,
                release.version,
                release.base().sha256,
                now(),
                training.least if spend else len(cases.labels),
                network.dimension,
                training.coding,
                scale,
                numbers,
                metrics,
                release.clip_norm,
                spend,
            ),
        )

    return outbox.add(made)


def trained(release: ModelRelease, network: Network, cases: OwnCases, training: Training) -> Numbers:
    """(dimension,) numbers, from those of the release. Raises InputError for too few cases, labels or inputs
    that the network does not know, or a release of another network.
    """
    if len(cases.labels) < training.least:
        expected = f"{training.least} confirmed and consented cases or more"
        raise InputError("cases", expected, f"{len(cases.labels)} ({cases.left_out} left out)")
    if len(release.numbers) != 4 * network.dimension:
        found = f"{len(release.numbers) // 4} in version {release.version}"
        raise InputError("network", f"{network.dimension} numbers", found)
    if cases.inputs.shape[1] != network.features or not (
        cases.labels.min() >= 0 and cases.labels.max() < network.classes
    ):
        found = f"{cases.inputs.shape[1]} features, labels {cases.labels.min()} to {cases.labels.max()}"
        raise InputError("cases", f"{network.features} features, labels below {network.classes}", found)
    return network.trained(
        release.values(), cases.inputs, cases.labels, steps=training.steps, rate=training.rate
    )


def _metrics(
    outbox: Outbox, release: ModelRelease, network: Network, cases: OwnCases, after: Numbers, now: int
) -> dict[str, float]:
    """Losses before and after, in nats, and what the box sees of the drift since it met the model it
    keeps.
    """

    def loss(model: Numbers) -> float:
        return network.loss(model, cases.inputs, cases.labels)

    before, kept = loss(release.values()), outbox.looking_back()
    found = {"loss_before": before, "loss_after": loss(after)}
    fits = kept is not None and len(kept.numbers) == len(release.numbers)
    if kept is not None and fits and now > kept.at:
        excess = loss(np.frombuffer(kept.numbers, "<f4")) - kept.loss
        found |= {"look_elapsed_s": float(now - kept.at), "look_excess": excess}
    if kept is None or not fits or not kept.at <= now <= kept.at + LOOK_BACK_S:
        outbox.look_back_with(LookingBack(now, before, release.numbers))
    return found
