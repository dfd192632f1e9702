"""What a gateway carries for members of the programme: a masked round, and the newest student.

A round's file is taken from the member that signed it, for the round that is begun, and stays as it was first
given (which uploads do not open may be said anew). A newer round replaces the whole. Terminals are shown what
the coordinator says and their own upload, so that none sees who else takes part; stewards and coordinator
all. A student takes the place of one with a smaller number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.federation.parcels import PARCEL_S, Parcels
from akazuba.federation.sending import Hex, Status
from akazuba.federation.stick import FOLDER, put
from akazuba.federation.updates import ModelRelease
from akazuba.privacy.aggregation.messages import (
    Accepted,
    Contribution,
    Id16,
    MaskKey,
    Plan,
    SeedShare,
    Upload,
)
from akazuba.privacy.aggregation.server import most_bytes
from akazuba.privacy.keys.enrolment import CLOCK_TOLERANCE_S, Enrolment, Name, Role, Time
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import MAX_BYTES, believed, read

RELEASE, BEGUN, PLAN, ACCEPTED = "release.masked", "begun.masked", "plan.masked", "accepted.masked"
VERSION, STUDENT = "version.masked", "newest.student"
KEY, UPLOAD, FAULTY, SHARE = ".masked-key", ".masked-upload", ".masked-faulty", ".masked-share"

LONGEST_S = 60 * 86_400
"""A round lasts no longer."""

PARCELS = 6
"""Files of one member on their way at a time."""

ALL: tuple[Role, ...] = ("coordinator", "mask-steward", "terminal")


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator, kind "masked-begun"."""

    round_id: Id16
    ends: Time


class Faulty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a mask steward, kind "masked-faulty". at: of two the later one holds. clinics: key ids whose
    box does not open, and why.
    """

    round_id: Id16
    at: Time
    clinics: dict[str, str]


class Numbered(msgspec.Struct, frozen=True):
    """What a gateway looks at of a student release."""

    programme: Name
    number: Annotated[int, Meta(ge=1)]


class RoundAsking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a member, kind "round-asking". name: of a file; empty asks which there are."""

    programme: Name
    at: Time
    name: Annotated[str, Meta(max_length=200)] = ""


class RoundOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a member, kind "round-offer": a file that it would leave."""

    programme: Name
    at: Time
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    sha256: Hex
    size: Annotated[int, Meta(ge=1, le=MAX_BYTES)]


@dataclass(frozen=True)
class _Slot:
    kind: str
    message: type[msgspec.Struct]
    role: Role


@dataclass(frozen=True)
class Offered:
    """A file on its way. member: who leaves it."""

    name: str
    sha256: str
    slot: _Slot
    ending: str
    member: Enrolment


NAMED = {
    BEGUN: _Slot("masked-begun", Begun, "coordinator"),
    RELEASE: _Slot("model-release", ModelRelease, "coordinator"),
    PLAN: _Slot("plan", Plan, "coordinator"),
    ACCEPTED: _Slot("accepted", Accepted, "coordinator"),
    VERSION: _Slot("model-release", ModelRelease, "coordinator"),
    STUDENT: _Slot("student-release", Numbered, "coordinator"),
}
"""By a file's name."""

OWNED = {
    KEY: _Slot("mask-key", MaskKey, "mask-steward"),
    FAULTY: _Slot("masked-faulty", Faulty, "mask-steward"),
    SHARE: _Slot("seed-share", SeedShare, "mask-steward"),
    UPLOAD: _Slot("contribution", Contribution, "terminal"),
}
"""By the ending behind the key id of who signed it."""


def slot_of(name: str) -> tuple[_Slot, str] | None:
    """What a file's name stands for, and its ending; None for no file that a gateway carries."""
    key_id, _, ending = name.partition(".")
    if name in NAMED:
        return NAMED[name], name
    if f".{ending}" in OWNED and re.fullmatch("[0-9a-f]{64}", key_id):
        return OWNED[f".{ending}"], f".{ending}"
    return None


def token_of(signer: str, offer: RoundOffer) -> str:
    """Under which an offer's bytes come: no two members' are the same. signer: its key id."""
    return sha256(f"{signer} {offer.name} {offer.sha256} {offer.size}".encode()).hexdigest()


class Board:
    """folder: of the gateway's. now: seconds since 1970. publish: a release that came with a round."""

    def __init__(
        self,
        folder: Path,
        registry: Registry,
        now: Callable[[], int],
        publish: Callable[[bytes], object] = lambda _: None,
    ) -> None:
        self._folder, self._registry, self._now, self._publish = folder, registry, now, publish
        self._parcels = Parcels(folder / "parcels")
        self._offered: dict[str, Offered] = {}
        self._digests: dict[str, str] = {}

    def files(self, asking: bytes) -> dict[str, str]:
        """SHA-256 of each file that the member may see, by name. Raises UntrustedError."""
        _, member = self._asked(asking)
        return {path.name: self._digest(path) for path in self._seen_by(member)}

    def file(self, asking: bytes) -> bytes:
        """Raises UntrustedError, InputError for one that is not there or not the member's to see."""
        asked, member = self._asked(asking)
        for path in self._seen_by(member):
            if path.name == asked.name:
                return path.read_bytes()
        raise InputError(asked.name, "a file of the round", "none that this member may see")

    def offer(self, data: bytes) -> Status:
        """Room for a member's own file, or that it is here. Raises UntrustedError."""
        offer, member = self._registry.said(data, "round-offer", RoundOffer, ALL, self._now())
        self._of_now(offer.at)
        if (found := slot_of(offer.name)) is None:
            raise InputError(offer.name, "the name of a file that a gateway carries", "another")
        slot, ending = found
        own = offer.name in NAMED or offer.name.startswith(_own(member))
        if member.role != slot.role or not own:
            raise UntrustedError(offer.name, f"its {slot.role}", f"{member.name}, {member.role}")
        path = self._folder / FOLDER / offer.name
        if path.is_file() and self._digest(path) == offer.sha256:
            return Status("answered")
        if ending == UPLOAD and offer.size > (most := self._most_bytes()):
            raise UntrustedError(offer.name, f"at most {most} bytes by the plan", str(offer.size))
        key_id = member.public.key_id
        token = token_of(key_id, offer)
        one = self._parcels.begun(token)
        if one is None:
            self._parcels.drop_before(self._now() - PARCEL_S)
            self._parcels.make_room(key_id, PARCELS)
            self._parcels.begin(token, offer.size, key_id, self._now())
        self._offered[token] = Offered(offer.name, offer.sha256, slot, ending, member)
        return Status("partial", one.have if one else 0)

    def room(self, token: str) -> int:
        """Bytes that are still to come of an offered file; 0 for none that was offered."""
        one = self._parcels.begun(token) if token in self._offered else None
        return one.size - one.have if one else 0

    def piece(self, token: str, offset: int, data: bytes) -> Status:
        """Keeps a piece that fits on; with the last one the file is there, on the disk. Raises UntrustedError
        for a file that is not what its name says, or where another one is.
        """
        one, offered = self._parcels.begun(token), self._offered.get(token)
        if one is None or offered is None:
            return Status("later", because="offer the file first")
        self._parcels.append(one, offset, data, self._now())
        if one.have < one.size:
            return Status("partial", one.have)
        whole = self._parcels.read(one)
        self._parcels.drop(token)
        del self._offered[token]
        if sha256(whole).hexdigest() != offered.sha256:
            return Status("later", because="other bytes came than were offered: send them again")
        self._keep(offered, whole)
        return Status("answered")

    def _most_bytes(self) -> int:
        """Of an upload to the plan that is here."""
        path = self._folder / FOLDER / PLAN
        if not path.is_file():
            raise InputError("upload", "a round with a plan", "none")
        plan = believed(path.read_bytes(), "plan", Plan)
        return most_bytes(plan)

    def _keep(self, offered: Offered, data: bytes) -> None:
        name, slot = offered.name, offered.slot
        signed = _signed_part(offered.ending, data)
        said, who = self._registry.said(signed, slot.kind, slot.message, [slot.role], self._now())
        if who.public.key_id != offered.member.public.key_id:
            raise UntrustedError(name, f"what {offered.member.name} signed", who.name)
        path, begun = self._folder / FOLDER / name, self._begun()
        if isinstance(said, Begun):
            self._next(said, begun)
        elif not isinstance(said, Numbered):
            _of_round(name, said, begun)
        self._may_replace(path, said, data)
        if isinstance(said, ModelRelease):
            self._publish(data)
        put(path, data)
        self._digests[name] = sha256(data).hexdigest()

    def _next(self, said: Begun, begun: Begun | None) -> None:
        """Makes room for another round."""
        if said.ends > self._now() + LONGEST_S + CLOCK_TOLERANCE_S:
            raise UntrustedError(BEGUN, f"a round that ends by {self._now() + LONGEST_S}", str(said.ends))
        if begun is None or begun.round_id == said.round_id:
            return
        if said.ends <= begun.ends:
            expected = f"a round that ends after {begun.ends}, the end of the one before"
            raise UntrustedError(BEGUN, expected, str(said.ends))
        clear(self._folder)
        self._digests.clear()

    def _may_replace(self, path: Path, said: msgspec.Struct, data: bytes) -> None:
        if not path.is_file():
            return
        before = path.read_bytes()
        if isinstance(said, Numbered):
            known = believed(before, "student-release", Numbered).number
            if said.number <= known:
                raise UntrustedError(path.name, f"number {known + 1} or later", str(said.number))
        elif isinstance(said, Faulty):
            at = believed(before, "masked-faulty", Faulty).at
            if said.at <= at:
                raise UntrustedError(path.name, f"what was said after {at} s", f"{said.at} s")
        elif before != data:
            raise UntrustedError(path.name, "what was given first", "other bytes")

    def _digest(self, path: Path) -> str:
        """Read once: only `_keep` writes."""
        if path.name not in self._digests:
            self._digests[path.name] = sha256(path.read_bytes()).hexdigest()
        return self._digests[path.name]

    def _begun(self) -> Begun | None:
        path = self._folder / FOLDER / BEGUN
        return believed(path.read_bytes(), "masked-begun", Begun) if path.is_file() else None

    def _seen_by(self, member: Enrolment) -> list[Path]:
        everything = sorted(path for path in (self._folder / FOLDER).glob("*") if slot_of(path.name))
        if member.role != "terminal":
            return everything
        return [path for path in everything if path.name in NAMED or path.name.startswith(_own(member))]

    def _asked(self, data: bytes) -> tuple[RoundAsking, Enrolment]:
        asked, member = self._registry.said(data, "round-asking", RoundAsking, ALL, self._now())
        self._of_now(asked.at)
        return asked, member

    def _of_now(self, at: int) -> None:
        if abs(at - self._now()) > CLOCK_TOLERANCE_S:
            raise UntrustedError("asking", f"one of about {self._now()} s", f"{at} s")


def clear(folder: Path) -> None:
    """Of a round's files. What says that there is one goes last."""
    for path in sorted((folder / FOLDER).glob("*.masked*"), key=lambda path: path.name == BEGUN):
        path.unlink()


def _of_round(name: str, said: msgspec.Struct, begun: Begun | None) -> None:
    if begun is None:
        raise InputError(name, "a round that was begun", "none")
    if getattr(said, "round_id", begun.round_id) != begun.round_id:
        raise UntrustedError(name, "what is of the round that is begun", "of another round")


def _own(member: Enrolment) -> str:
    return f"{member.public.key_id}."


def _signed_part(ending: str, data: bytes) -> bytes:
    """What of a file is signed. Raises UntrustedError for an upload whose other parts are not those."""
    if ending != UPLOAD:
        return data
    upload = read(data, "upload", Upload)
    said = believed(upload.contribution, "contribution", Contribution)
    if not said.is_of(upload):
        raise UntrustedError("upload", "the parts that its clinic signed", "others")
    return upload.contribution
