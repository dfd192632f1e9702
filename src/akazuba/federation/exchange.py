"""What a gateway answers when the coordinator asks, whoever carries the messages."""

from __future__ import annotations

import msgspec

from akazuba.errors import UntrustedError
from akazuba.federation.coordinator import Asking, partial
from akazuba.federation.gateway import Gateway
from akazuba.privacy.keys.identity import Identity


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
