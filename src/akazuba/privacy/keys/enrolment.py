"""Who belongs to the programme: requests, enrolments, rotation and revocation, all signed, all with an end.

The programme's authority signs an enrolment for each identity: its name, its role and how long it holds. A
new key replaces an old one by a request that both have signed. A revocation list carries a number that only
grows, and a date by which the next one is due. Everything here is a function of bytes and of a given time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.keys.identity import Identity, PublicIdentity
from akazuba.privacy.keys.signed import believed, sign, verified

Role = Literal["terminal", "gateway", "coordinator", "he-steward", "mask-steward", "witness", "authority"]
ROLES: tuple[Role, ...] = get_args(Role)

YEAR_S = 365 * 86_400
DEFAULT_VALIDITY_S = 2 * YEAR_S
OVERLAP_S = 60 * 86_400
"""How long a replaced key is still believed: a box may be off for weeks, its last messages under way."""

REQUEST_S = 90 * 86_400
"""How old a request may be: it may travel on a stick."""

CLOCK_TOLERANCE_S = 86_400
"""Two boxes' clocks may differ by a day without either being called wrong."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[int, Meta(ge=0, le=1 << 40)]
"""Seconds since 1970."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the new key itself: whoever asks holds it. replaces: key id of the one that it replaces."""

    programme: Name
    name: Name
    role: Role
    public: PublicIdentity
    asked: Time
    replaces: str | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request, signed once more by the key that it replaces."""

    request: bytes


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """serial: grows by one with each. The name stays when the key changes."""

    programme: Name
    serial: Annotated[int, Meta(ge=1)]
    name: Name
    role: Role
    public: PublicIdentity
    not_before: Time
    not_after: Time
    replaces: str | None = None


class Revocations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that were ever revoked: key id to reason. number: grows by one with each list."""

    programme: Name
    number: Annotated[int, Meta(ge=1)]
    issued: Time
    next_due: Time
    revoked: dict[str, str]


def request(
    identity: Identity, programme: str, name: str, role: Role, now: int, replaced: Identity | None = None
) -> bytes:
    """What a new box (or a box with a new key, `replaced` being its old one) sends to the authority."""
    wanted = Request(
        programme, name, role, identity.public, now, replaced.public.key_id if replaced else None
    )
    asked = sign(identity, "enrolment-request", wanted)
    return sign(replaced, "key-rotation", Rotation(asked)) if replaced else asked


def requested(data: bytes, programme: str, now: int, replaced: Enrolment | None = None) -> Request:
    """Raises UntrustedError unless the request proves that the asker holds the new key and, where it replaces
    one, that the holder of the old key asks too, for the same name and role.

    replaced: the old key's enrolment as `Registry.member` gives it now, so that a key that was revoked or has
    ended vouches for nothing.
    """
    if replaced is not None:
        rotation, _ = verified(data, "key-rotation", Rotation, only(replaced.public))
        data = rotation.request
    claimed = believed(data, "enrolment-request", Request)
    wanted, _ = verified(data, "enrolment-request", Request, only(claimed.public))
    if wanted.programme != programme:
        raise UntrustedError("enrolment request", f"one to {programme}", f"one to {wanted.programme}")
    if not now - REQUEST_S <= wanted.asked <= now + CLOCK_TOLERANCE_S:
        raise UntrustedError(
            "enrolment request", f"one asked in the {REQUEST_S} s before {now} s", str(wanted.asked)
        )
    may = (
        (replaced.name, replaced.role, replaced.public.key_id)
        if replaced
        else (wanted.name, wanted.role, None)
    )
    if (wanted.name, wanted.role, wanted.replaces) != may:
        found = f"{wanted.name} as {wanted.role}, replacing {wanted.replaces or 'nothing'}"
        raise UntrustedError(
            "enrolment request", f"{may[0]} as {may[1]}, replacing {may[2] or 'nothing'}", found
        )
    return wanted


def enrol(
    authority: Identity,
    programme: str,
    wanted: Request,
    serial: int,
    now: int,
    validity_s: int = DEFAULT_VALIDITY_S,
) -> bytes:
    """The signed enrolment. serial: one more than that of the authority's last enrolment."""
    if not 0 < validity_s <= 10 * YEAR_S:
        raise InputError("validity", "from a second to ten years", f"{validity_s} s")
    given = Enrolment(
        programme, serial, wanted.name, wanted.role, wanted.public, now, now + validity_s, wanted.replaces
    )
    return sign(authority, "enrolment", given)


def revoke(
    authority: Identity, programme: str, number: int, revoked: dict[str, str], now: int, next_due_s: int
) -> bytes:
    """The signed list. revoked: key id to reason, those of all earlier lists too."""
    return sign(authority, "revocations", Revocations(programme, number, now, now + next_due_s, revoked))


def only(public: PublicIdentity) -> Callable[[str], PublicIdentity]:
    """For `verified`: nobody else's signature will do."""

    def key(key_id: str) -> PublicIdentity:
        if key_id != public.key_id:
            raise UntrustedError("signer", public.key_id[:16], key_id[:16])
        return public

    return key
