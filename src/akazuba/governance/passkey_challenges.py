"""Challenges of passkeys: random, of one tablet and user, used once, gone after five minutes.

They lie in the store, so that no answer counts twice, across a restart of the program either. The wait goes
by the boot's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.pins import Moment
from akazuba.governance.signing_in import known_tablet
from akazuba.governance.users import User
from akazuba.storage.store import Store

CHALLENGE_BYTES, CHALLENGE_S, MOST_CHALLENGES = 32, 300.0, 50
Purpose = Literal["register", "sign-in"]
_CHALLENGES = "passkey challenges"


class Challenge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """as_of: the newest entry about the user then."""

    value: bytes
    purpose: Purpose
    user: str
    tablet: str
    at: Moment
    as_of: int


def ask(
    store: Store, user: User, purpose: Purpose, tablet: str, now: Moment, random: Callable[[int], bytes]
) -> bytes:
    """One a tablet: a newer one takes the place of an older."""
    made = Challenge(random(CHALLENGE_BYTES), purpose, user.id, tablet, now, user.changed)
    others = [it for it in _open(store, now) if it.tablet != tablet]
    _write(store, [*others[-MOST_CHALLENGES + 1 :], made])
    return made.value


def asked_on(store: Store, purpose: Purpose, tablet: str, now: Moment) -> Challenge:
    """It is used up on the disk before anything is compared. Raises InputError."""
    known_tablet(tablet)
    challenges = _open(store, now)
    found = [it for it in challenges if it.tablet == tablet]
    _write(store, [it for it in challenges if it.tablet != tablet])
    if not found or found[0].purpose != purpose:
        raise InputError("passkey", f"a challenge on {tablet} that is not {CHALLENGE_S:g} s old", "none")
    return found[0]


def _open(store: Store, now: Moment) -> list[Challenge]:
    raw = store.recall(_CHALLENGES)
    try:
        challenges = msgspec.msgpack.decode(raw, type=list[Challenge]) if raw else []
    except msgspec.MsgspecError as problem:
        raise ArtefactError("passkeys", "the open challenges", str(problem)) from problem
    return [it for it in challenges if it.at.boot == now.boot and now.since(it.at) < CHALLENGE_S]


def _write(store: Store, challenges: list[Challenge]) -> None:
    store.remember(_CHALLENGES, msgspec.msgpack.encode(challenges))
