"""From an outbox to a gateway over a line that breaks: announce, go on where it stopped, be answered once.

The sender announces an update (its id and size, signed, so that a gateway gives room to its members only), is
told how many bytes the gateway has, and goes on from there. Every step may be repeated. The answer is signed
by the gateway, because the terminal erases its copy on the strength of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from akazuba.errors import AkazubaError
from akazuba.federation.outbox import Outbox, Outcome, Waiting
from akazuba.privacy.keys.enrolment import Name, Time
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import MAX_BYTES, sign

CHUNK_BYTES = 64 * 1024
CHUNK_BYTES_MOST = 1024 * 1024
QUICK_S = 1.0
"""A first piece is short; one that was through so soon is followed by long ones."""

STALLS = 5
"""So often in a row a gateway may ask for the same bytes again."""

Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class LinkError(AkazubaError):
    """The line broke, or nobody is there, or it is busy. What waits is sent later."""


class Parcel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Announces an update. Signed by its terminal, kind "parcel". id: the update's. sha256, size: of its
    signed bytes. at: seconds since 1970, by the terminal's clock.
    """

    programme: Name
    id: Hex
    sha256: Hex
    size: Annotated[int, Meta(ge=1, le=MAX_BYTES)]
    at: Time


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a gateway, kind "update-answer". because: why it was refused, or what was noted."""

    programme: Name
    id: Hex
    outcome: Outcome
    because: str
    at: Time


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """state: "partial" (have: bytes that are there), "later" (because: why), or "answered" (answer:
    signed).
    """

    state: Literal["partial", "later", "answered"]
    have: Annotated[int, Meta(ge=0)] = 0
    because: str = ""
    answer: bytes = b""


class Link(Protocol):
    """Raises LinkError when the line breaks."""

    def announce(self, parcel: bytes) -> Status: ...

    def put(self, digest: str, offset: int, chunk: bytes) -> Status:
        """digest: SHA-256 of the whole, as announced, in hex."""
        ...


@dataclass(frozen=True)
class Sent:
    """left: updates that still wait. broke: what stopped the sending, empty when nothing did."""

    accepted: int
    refused: int
    left: int
    broke: str = ""


@dataclass(frozen=True)
class Sender:
    """departing: told of an update's bytes before the first of them leaves."""

    outbox: Outbox
    identity: Identity
    registry: Registry
    now: Callable[[], int]
    departing: Callable[[bytes], None] = lambda _: None

    def send_all(self, link: Link) -> Sent:
        """Sends what waits, the oldest first, until all are answered or the line breaks.

        Raises UntrustedError for an answer that no gateway signed: then nothing more is sent.
        """
        outcomes: list[Outcome] = []
        broke = ""
        try:
            for one in self.outbox.waiting():
                outcomes.append(self._send(link, one))  # noqa: PERF401 - those before a break count
        except LinkError as problem:
            broke = str(problem)
        left = len(self.outbox.waiting())
        return Sent(outcomes.count("accepted"), outcomes.count("refused"), left, broke)

    def answered(self, data: bytes) -> Outcome:
        """Takes a gateway's signed answer in. Raises UntrustedError when it is none, InputError when it is
        about an update that never was here.
        """
        answer, _ = self.registry.said(data, "update-answer", Answer, ["gateway", "coordinator"], self.now())
        self.outbox.answer(answer.id, answer.outcome, answer.because)
        return answer.outcome

    def _send(self, link: Link, one: Waiting) -> Outcome:
        data = self.outbox.read(one.id)
        digest = sha256(data).hexdigest()
        self.departing(data)
        parcel = Parcel(self.registry.programme, one.id, digest, len(data), self.now())
        status = link.announce(sign(self.identity, "parcel", parcel))
        status = in_pieces(data, status, lambda at, piece: link.put(digest, at, piece))
        if status.state == "later":
            raise LinkError("gateway", "one that takes updates now", status.because)
        return self.answered(status.answer)


def in_pieces(data: bytes, status: Status, put: Callable[[int, bytes], Status]) -> Status:
    """What is said once all is there, or at the first "later". put: a piece from so many bytes on. Raises
    LinkError for a gateway that keeps asking for the same bytes.
    """
    stalls, size = 0, CHUNK_BYTES
    while status.state == "partial":
        have, began = status.have, monotonic()
        status = put(have, data[have : have + size])
        size = CHUNK_BYTES_MOST if monotonic() - began < QUICK_S else CHUNK_BYTES
        stalls = stalls + 1 if status.state == "partial" and status.have <= have else 0
        if stalls > STALLS:
            raise LinkError("gateway", "one that keeps what it is sent", f"{have} bytes asked for again")
    return status
