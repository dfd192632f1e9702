"""What a gateway answers when the coordinator asks, whoever carries the messages."""

from __future__ import annotations

import msgspec
import numpy as np

from akazuba.errors import BudgetError, InputError, UntrustedError
from akazuba.federation.coordinator import EVERYBODY, Asking, partial
from akazuba.federation.gateway import Gateway
from akazuba.federation.updates import ModelRelease, Numbers
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.signed import believed


class Sums(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway's reply. sums: signed partial sums. waiting: ids of updates that no version is known to
    hold.
    """

    sums: list[bytes]
    waiting: list[str]


def replied(gateway: Gateway, identity: Identity, programme: str, asking: bytes) -> bytes:
    """What a gateway says when the coordinator asks. Raises UntrustedError for what no coordinator signed."""
    try:
        asked = msgspec.msgpack.decode(asking, type=Asking)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise UntrustedError("asking", "a coordinator's question", str(problem)) from problem
    gateway.publish(asked.release)
    gateway.counted(asked.counted)
    sums = [partial(identity, programme, one) for one in gateway.sums(asked.room, asked.busy)]
    return msgspec.msgpack.encode(Sums(sums, gateway.waiting_ids()))


def own_model(gateway: Gateway) -> tuple[Numbers, int]:
    """(dimension,) the newest version, moved by the mean of the updates that wait here, and how many these
    are: what a gateway brings to the teaching of a student (`federate release --gateway`).

    Raises InputError when none waits, BudgetError in a programme with noise: this model would have none.
    """
    data = gateway.model()
    sums = list(gateway.sums(EVERYBODY)) if data is not None else []
    if data is None or not sums:
        raise InputError("gateway", "a release, and updates that wait here", "none")
    release = believed(data, "model-release", ModelRelease)
    if release.grid:
        raise BudgetError("gateway's model", "none in a programme with noise", "one without noise")
    total = np.sum([one.total for one in sums], axis=0)
    moved = release.values() + (total / np.float32(sum(one.weight for one in sums))).astype(np.float32)
    return moved, sum(map(len, sums))
