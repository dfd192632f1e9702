"""A masked round at a gateway, for whoever takes part: a copy of its files here, and what is new sent back.

Everything may be repeated: what is there already is not fetched or sent again, and a file that a broken line
cut in two goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def carried(
    link: RoundLink,
    folder: Path,
    identity: Identity,
    me: Enrolment,
    now: Callable[[], int],
    wanted: Sequence[str],
) -> Iterator[Path]:
    """folder: of the copy, for this gateway alone. wanted: names, or endings of names, of the files that are
    fetched. What this member has written there and the gateway has not is sent afterwards.

    Raises LinkError, UntrustedError for a file that is not the one the gateway listed.
    """

    def asking(name: str = "") -> bytes:
        return sign(identity, "round-asking", RoundAsking(me.programme, now(), name))

    there = link.round_files(asking())
    held = _held(folder)
    if held.get(BEGUN) != there.get(BEGUN):
        clear(folder)  # of another round
        held = {}
    for name, digest in there.items():
        if name.endswith((BEGUN, *wanted)) and held.get(name) != digest:
            data = link.round_file(asking(name))
            if sha256(data).hexdigest() != digest or "/" in name:
                raise UntrustedError(name, f"the file {digest[:16]} that was listed", "another")
            put(folder / FOLDER / name, data)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield folder
    for name, digest in sorted(_held(folder).items(), key=lambda one: one[0] != BEGUN):
        own = name in SLOTS if me.role == "coordinator" else name.startswith(identity.public.key_id)
        if not own or there.get(name) == digest:
            continue
        data = (folder / FOLDER / name).read_bytes()
        offer = sign(identity, "round-offer", RoundOffer(me.programme, now(), name, digest, len(data)))
        status = in_pieces(data, link.round_offer(offer), partial(link.round_piece, digest))
        if status.state != "answered":
            raise LinkError("gateway", f"one that takes {name}", status.because)


def _held(folder: Path) -> dict[str, str]:
    return {path.name: sha256(data).hexdigest() for path, data in found(folder, ".masked*")}
