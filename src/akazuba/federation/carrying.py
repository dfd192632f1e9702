"""What a gateway carries, for a member: a copy of a masked round here, and what is new left there.

Everything may be repeated: what is there already is not fetched or sent again, and a file that is left goes
on where a line broke. One that is fetched begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from akazuba.errors import UntrustedError
from akazuba.federation.board import (
    BEGUN,
    NAMED,
    STUDENT,
    RoundAsking,
    RoundOffer,
    clear,
    slot_of,
    token_of,
)
from akazuba.federation.sending import LinkError, Status, in_pieces
from akazuba.federation.stick import FOLDER, found, put
from akazuba.privacy.keys.enrolment import Enrolment
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.signed import sign


class RoundLink(Protocol):
    """Raises LinkError when the line breaks, or the gateway does not do what it is asked for."""

    def round_files(self, asking: bytes) -> dict[str, str]: ...

    def round_file(self, asking: bytes) -> bytes: ...

    def round_offer(self, offer: bytes) -> Status: ...

    def round_piece(self, token: str, offset: int, piece: bytes) -> Status: ...


@dataclass(frozen=True)
class Carrier:
    """A member at a gateway. me: its enrolment. now: seconds since 1970."""

    link: RoundLink
    identity: Identity
    me: Enrolment
    now: Callable[[], int]

    def files(self) -> dict[str, str]:
        """SHA-256 by name of what the gateway has for this member. Raises LinkError."""
        return self.link.round_files(self._asking(""))

    def file(self, name: str, digest: str) -> bytes:
        """Raises LinkError, UntrustedError for another file than was listed."""
        data = self.link.round_file(self._asking(name))
        if sha256(data).hexdigest() != digest:
            raise UntrustedError(name, f"the file {digest[:16]} that was listed", "another")
        return data

    def leave(self, name: str, data: bytes) -> None:
        """Raises LinkError when the gateway does not take it."""
        offer = RoundOffer(self.me.programme, self.now(), name, sha256(data).hexdigest(), len(data))
        status = self.link.round_offer(sign(self.identity, "round-offer", offer))
        token = token_of(self.identity.public.key_id, offer)
        status = in_pieces(data, status, partial(self.link.round_piece, token))
        if status.state != "answered":
            raise LinkError("gateway", f"one that takes {name}", status.because)

    @contextmanager
    def carried(self, folder: Path, wanted: Sequence[str]) -> Iterator[Path]:
        """folder: of a copy of the round, for this gateway alone. wanted: names, or endings of names, of the
        files that are fetched, besides this member's own. What it has written there and the gateway has not
        is left there, before (a line may have broken) and afterwards. Raises LinkError, UntrustedError.
        """
        there, held = self.files(), _held(folder)
        if BEGUN in there and held.get(BEGUN) != there[BEGUN]:
            clear(folder)  # of another round
            held = {}
        for name, digest in there.items():
            _, ending = slot_of(name) or (None, "")
            if (ending in (BEGUN, *wanted) or self._is_own(name)) and held.get(name) != digest:
                put(folder / FOLDER / name, self.file(name, digest))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._leave_new(folder, there)
        yield folder
        self._leave_new(folder, self.files())

    def _leave_new(self, folder: Path, there: Mapping[str, str]) -> None:
        for name, digest in sorted(_held(folder).items(), key=lambda one: one[0] != BEGUN):
            if self._is_own(name) and there.get(name) != digest:
                self.leave(name, (folder / FOLDER / name).read_bytes())

    def _is_own(self, name: str) -> bool:
        """Whether it is a file that this member writes."""
        if self.me.role == "coordinator":
            return name in NAMED and name != STUDENT
        return slot_of(name) is not None and name.startswith(f"{self.identity.public.key_id}.")

    def _asking(self, name: str) -> bytes:
        return sign(self.identity, "round-asking", RoundAsking(self.me.programme, self.now(), name))


def _held(folder: Path) -> dict[str, str]:
    return {path.name: sha256(data).hexdigest() for path, data in found(folder, ".masked*")}
