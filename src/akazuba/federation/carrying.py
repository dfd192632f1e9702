"""What a gateway carries, for a member: a copy of a masked round here, and what is new left there.

Everything may be repeated: what is there already is not fetched or sent again, and a file that a broken line
cut in two goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from akazuba.errors import UntrustedError
from akazuba.federation.board import BEGUN, SLOTS, RoundAsking, RoundOffer, clear
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

    def round_piece(self, digest: str, offset: int, piece: bytes) -> Status: ...


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
        digest = sha256(data).hexdigest()
        offer = RoundOffer(self.me.programme, self.now(), name, digest, len(data))
        status = self.link.round_offer(sign(self.identity, "round-offer", offer))
        status = in_pieces(data, status, partial(self.link.round_piece, digest))
        if status.state != "answered":
            raise LinkError("gateway", f"one that takes {name}", status.because)

    @contextmanager
    def carried(self, folder: Path, wanted: Sequence[str]) -> Iterator[Path]:
        """folder: of a copy of the round, for this gateway alone. wanted: names, or endings of names, of the
        files that are fetched. What this member has written there and the gateway has not is left there
        afterwards. Raises LinkError, UntrustedError.
        """
        there, held = self.files(), _held(folder)
        if held.get(BEGUN) != there.get(BEGUN):
            clear(folder)  # of another round
            held = {}
        for name, digest in there.items():
            wants = name.endswith((BEGUN, *wanted)) or name.startswith(self.identity.public.key_id)
            if wants and "/" not in name and held.get(name) != digest:
                put(folder / FOLDER / name, self.file(name, digest))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
        for name, digest in sorted(_held(folder).items(), key=lambda one: one[0] != BEGUN):
            coordinator, key_id = self.me.role == "coordinator", self.identity.public.key_id
            own = name in SLOTS if coordinator else name.startswith(key_id)
            if own and there.get(name) != digest:
                self.leave(name, (folder / FOLDER / name).read_bytes())

    def _asking(self, name: str) -> bytes:
        return sign(self.identity, "round-asking", RoundAsking(self.me.programme, self.now(), name))


def _held(folder: Path) -> dict[str, str]:
    return {path.name: sha256(data).hexdigest() for path, data in found(folder, ".masked*")}
