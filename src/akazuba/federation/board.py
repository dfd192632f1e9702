"""What a gateway carries for members of the programme: a masked round, and the newest student.

A round's file is taken from the member that signed it, for the round that is begun, and stays as it was first
given (which uploads do not open may be said anew). A newer round replaces the whole. Terminals are shown what
the coordinator says and their own upload, so that none sees who else takes part; stewards and coordinator
all. A student takes the place of one with a smaller number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.federation.parcels import Parcels
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
    digest,
)
from akazuba.privacy.keys.enrolment import CLOCK_TOLERANCE_S, Enrolment, Name, Role, Time
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import MAX_BYTES, believed, read

RELEASE, BEGUN, PLAN, ACCEPTED = "release.masked", "begun.masked", "plan.masked", "accepted.masked"
VERSION, STUDENT = "version.masked", "newest.student"
KEY, UPLOAD, FAULTY, SHARE = ".masked-key", ".masked-upload", ".masked-faulty", ".masked-share"

ALL: tuple[Role, ...] = ("coordinator", "mask-steward", "terminal")


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator, kind "masked-begun"."""

    round_id: Id16
    ends: Time


class Faulty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a mask steward, kind "masked-faulty". clinics: key ids whose box does not open, and why."""

    round_id: Id16
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
    slot: _Slot
    ending: str
    member: Enrolment


SLOTS = {
    BEGUN: _Slot("masked-begun", Begun, "coordinator"),
    RELEASE: _Slot("model-release", ModelRelease, "coordinator"),
    PLAN: _Slot("plan", Plan, "coordinator"),
    ACCEPTED: _Slot("accepted", Accepted, "coordinator"),
    VERSION: _Slot("model-release", ModelRelease, "coordinator"),
    STUDENT: _Slot("student-release", Numbered, "coordinator"),
    KEY: _Slot("mask-key", MaskKey, "mask-steward"),
    FAULTY: _Slot("masked-faulty", Faulty, "mask-steward"),
    SHARE: _Slot("seed-share", SeedShare, "mask-steward"),
    UPLOAD: _Slot("contribution", Contribution, "terminal"),
}
"""By a file's name, or its ending behind the key id of who signed it."""


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
        self._of_now(offer.programme, offer.at)
        if (found := _slot(offer.name)) is None:
            raise InputError(offer.name, "the name of a file that a gateway carries", "another")
        slot, ending = found
        own = offer.name in SLOTS or offer.name.startswith(_own(member))
        if member.role != slot.role or not own:
            raise UntrustedError(offer.name, f"its {slot.role}", f"{member.name}, {member.role}")
        path = self._folder / FOLDER / offer.name
        if path.is_file() and self._digest(path) == offer.sha256:
            return Status("answered")
        one = self._parcels.begun(offer.sha256)
        if one is None:
            for old in [digest for digest, it in self._offered.items() if it.name == offer.name]:
                self._parcels.drop(old)
                del self._offered[old]
            self._parcels.begin(offer.sha256, offer.size, member.public.key_id, self._now())
        self._offered[offer.sha256] = Offered(offer.name, slot, ending, member)
        return Status("partial", one.have if one else 0)

    def piece(self, digest: str, offset: int, data: bytes) -> Status:
        """Keeps a piece that fits on; with the last one the file is there, on the disk. Raises UntrustedError
        for a file that is not what its name says, or where another one is.
        """
        one, offered = self._parcels.begun(digest), self._offered.get(digest)
        if one is None or offered is None:
            return Status("later", because="offer the file first")
        self._parcels.append(one, offset, data, self._now())
        if one.have < one.size:
            return Status("partial", one.have)
        whole = self._parcels.read(one)
        self._parcels.drop(digest)
        del self._offered[digest]
        if sha256(whole).hexdigest() != digest:
            return Status("later", because="other bytes came than were offered: send them again")
        self._keep(offered, whole)
        return Status("answered")

    def _keep(self, offered: Offered, data: bytes) -> None:
        name, slot, ending, member = offered.name, offered.slot, offered.ending, offered.member
        said, who = self._registry.said(
            _signed_part(ending, data), slot.kind, slot.message, [slot.role], self._now()
        )
        if who.public.key_id != member.public.key_id:
            raise UntrustedError(name, f"what {member.name} signed", who.name)
        folder, begun = self._folder / FOLDER, self._begun()
        path = folder / name
        if isinstance(said, Numbered):
            self._newer(path, said)
        elif isinstance(said, Begun):
            if begun is not None and begun.round_id != said.round_id:
                if said.ends <= begun.ends:
                    expected = f"a round that ends after {begun.ends}, the end of the one before"
                    raise UntrustedError(name, expected, str(said.ends))
                clear(self._folder)
                self._digests.clear()
        elif begun is None:
            raise InputError(name, "a round that was begun", "none")
        elif not isinstance(said, ModelRelease) and said.round_id != begun.round_id:  # type: ignore[attr-defined]
            raise UntrustedError(name, "what is of the round that is begun", "of another round")
        if ending not in (FAULTY, STUDENT) and path.is_file() and path.read_bytes() != data:
            raise UntrustedError(name, "what was given first", "other bytes")
        if isinstance(said, ModelRelease):
            self._publish(data)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(path, data)
        self._digests[path.name] = sha256(data).hexdigest()

    def _digest(self, path: Path) -> str:
        """Read once: only `_keep` writes."""
        if path.name not in self._digests:
            self._digests[path.name] = sha256(path.read_bytes()).hexdigest()
        return self._digests[path.name]

    def _newer(self, path: Path, said: Numbered) -> None:
        if said.programme != self._registry.programme:
            raise UntrustedError(path.name, f"one of {self._registry.programme}", said.programme)
        if path.is_file():
            known = believed(path.read_bytes(), "student-release", Numbered).number
            if said.number <= known:
                raise UntrustedError(path.name, f"number {known + 1} or later", str(said.number))

    def _begun(self) -> Begun | None:
        path = self._folder / FOLDER / BEGUN
        return believed(path.read_bytes(), "masked-begun", Begun) if path.is_file() else None

    def _seen_by(self, member: Enrolment) -> list[Path]:
        everything = sorted(path for path in (self._folder / FOLDER).glob("*") if _slot(path.name))
        if member.role != "terminal":
            return everything
        return [path for path in everything if path.name in SLOTS or path.name.startswith(_own(member))]

    def _asked(self, data: bytes) -> tuple[RoundAsking, Enrolment]:
        asked, member = self._registry.said(data, "round-asking", RoundAsking, ALL, self._now())
        self._of_now(asked.programme, asked.at)
        return asked, member

    def _of_now(self, programme: str, at: int) -> None:
        if programme != self._registry.programme:
            raise UntrustedError("programme", self._registry.programme, programme)
        if abs(at - self._now()) > CLOCK_TOLERANCE_S:
            raise UntrustedError("asking", f"one of about {self._now()} s", f"{at} s")


def clear(folder: Path) -> None:
    """Of a round's files. What says that there is one goes last."""
    for path in sorted((folder / FOLDER).glob("*.masked*"), key=lambda path: path.name == BEGUN):
        path.unlink()


def _slot(name: str) -> tuple[_Slot, str] | None:
    """What a name stands for, and its ending; None for no file that a gateway carries."""
    key_id, dot, ending = name.partition(".")
    if name in SLOTS:
        return SLOTS[name], name
    if f".{ending}" in SLOTS and dot and len(key_id) == 64 and not set(key_id) - set("0123456789abcdef"):
        return SLOTS[f".{ending}"], f".{ending}"
    return None


def _own(member: Enrolment) -> str:
    return f"{member.public.key_id}."


def _signed_part(ending: str, data: bytes) -> bytes:
    """What of a file is signed. Raises UntrustedError for an upload whose other parts are not those."""
    if ending != UPLOAD:
        return data
    upload = read(data, "upload", Upload)
    said = believed(upload.contribution, "contribution", Contribution)
    if said.body != digest(*upload.body) or said.boxes != tuple(map(digest, upload.boxes)):
        raise UntrustedError("upload", "the parts that its clinic signed", "others")
    return upload.contribution
