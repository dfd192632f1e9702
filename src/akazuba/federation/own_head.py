"""A box's own last layer over the shared model: learned from its own cases, and it never leaves.

It starts as the shared model's and is pulled back towards it, as strongly as by `PULL` cases. It is used only
where it is better than the shared model on cases that it did not learn from, and only for the very model that
it was made for. It lies in the encrypted store, so an update cannot hold anything of it; and once a patient
is erased or takes back a consent, it is not used until it is made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.diagnosis.network import Labels, Network, losses
from akazuba.errors import ArtefactError
from akazuba.federation.terminal import OwnCases
from akazuba.federation.updates import Numbers, Sha256, sha256_of
from akazuba.governance.consent import WITHDRAWN
from akazuba.storage.store import Store

KEPT_AS = "own-head"
FOLDS = 5
PULL = 10.0
"""The shared model counts like so many cases that speak for it (chosen on drawn clinics, seeds from 900)."""

STEPS, RATE = 300, 0.5
SURE = 1.645
"""By so many standard errors must it be better: 95 % on one side."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """base: SHA-256 of the shared model's float32 numbers. change: float32, of its last layer's; empty where
    it was no better. size: of the log when it was made.
    """

    base: Sha256
    change: bytes
    size: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Trial:
    """Held-out losses in nats a case, over `FOLDS` folds. gain, error: their difference and its standard
    error. right_shared, right_own: of the same cases.
    """

    cases: int
    loss_shared: float
    loss_own: float
    gain: float
    error: float
    right_shared: int
    right_own: int

    @property
    def better(self) -> bool:
        return self.gain > SURE * self.error


def fitted(network: Network, shared: Numbers, inputs: Numbers, labels: Labels) -> Numbers:
    """(dimension,) the shared numbers with a last layer of this box's own. From the same arguments the same
    numbers.
    """
    last = _last_layer(network, shared)
    targets = np.eye(network.classes, dtype=np.float32)[labels]
    pull, model = np.float32(PULL / len(labels)), shared.copy()
    for _ in range(STEPS):
        slope = network.gradient(model, inputs, targets)[last] + pull * (model[last] - shared[last])
        model[last] -= np.float32(RATE) / (1 + pull) * slope
    return model


def tried(network: Network, shared: Numbers, cases: OwnCases) -> Trial:
    """Whether a head of these cases is better than the shared model on cases that it has not seen."""
    fold = np.random.default_rng(0).permutation(len(cases.labels)) % FOLDS
    own = np.zeros((len(cases.labels), network.classes), np.float32)
    for number in range(FOLDS):
        there = fold != number
        model = fitted(network, shared, cases.inputs[there], cases.labels[there])
        own[~there] = network.scores(model, cases.inputs[~there])
    before = network.scores(shared, cases.inputs)
    lost_shared, lost_own = (losses(one, cases.labels).astype(np.float64) for one in (before, own))
    gains = lost_shared - lost_own
    return Trial(
        len(gains),
        float(lost_shared.mean()),
        float(lost_own.mean()),
        float(gains.mean()),
        float(gains.std(ddof=1)) / sqrt(len(gains)),
        int((before.argmax(1) == cases.labels).sum()),
        int((own.argmax(1) == cases.labels).sum()),
    )


def keep(store: Store, network: Network, shared: Numbers, cases: OwnCases) -> Trial:
    """Tries a head, and keeps one of all cases where it is better; else none is kept from then on."""
    trial = tried(network, shared, cases)
    head = Head(sha256_of(shared), b"", store.size)
    if trial.better:
        last = _last_layer(network, shared)
        change = fitted(network, shared, cases.inputs, cases.labels)[last] - shared[last]
        head = msgspec.structs.replace(head, change=change.astype("<f4").tobytes())
    store.remember(KEPT_AS, msgspec.msgpack.encode(head))
    return trial


def in_use(store: Store, network: Network, shared: Numbers) -> tuple[Numbers, str]:
    """(dimension,) the numbers to answer with, and why these: the shared ones, or with the box's own last
    layer.
    """
    if (data := store.recall(KEPT_AS)) is None:
        return shared, "the shared model: this box has not tried a last layer of its own"
    try:
        head = msgspec.msgpack.decode(data, type=Head)
    except msgspec.MsgspecError as problem:
        raise ArtefactError(KEPT_AS, "a last layer of this version", str(problem)) from problem
    last = _last_layer(network, shared)
    if head.base != sha256_of(shared):
        return shared, "the shared model: this box's own last layer is of an older one"
    if not head.change:
        return shared, "the shared model: a last layer of this box's own was no better"
    for kind in ("erasure", WITHDRAWN):
        if next(store.entries(kind=kind, first=head.size), None):
            return shared, "the shared model: a patient took herself out since this box's own layer was made"
    own = shared.copy()
    own[last] += np.frombuffer(head.change, "<f4")
    return own, "the shared model with this box's own last layer"


def _last_layer(network: Network, shared: Numbers) -> slice:
    weights, biases = network.parts(shared)[-2:]
    return slice(network.dimension - weights.size - biases.size, network.dimension)
