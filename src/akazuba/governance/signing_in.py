"""Signing in by PIN: the attempt is on the disk before the PIN is compared, and every outcome is logged.

Wrong PINs of a user are counted on each of her own tablets by themselves, where she signed in lately, and on
all others together: what strangers try elsewhere keeps her out elsewhere only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.attempts import attempts_of, count, forgotten, log, owned, turn_away
from akazuba.governance.pins import LOCK_AFTER, Attempts, Kept, Moment, tablet_wait_s, wait_s
from akazuba.governance.users import NOBODY, Random, User, all_kept, changed_pin, id_of, users
from akazuba.storage.store import Store


@dataclass(frozen=True)
class Tried:
    """A right PIN. wrong_before: attempts that the user was not told of yet, to be shown to her."""

    user: User
    wrong_before: int


@dataclass(frozen=True)
class Trial:
    """An attempt that is counted and not yet compared. kept: what a right PIN is compared with.

    mine: where it counts in the book of attempts, beside the tablet. number: of it, in a row there. before:
    the tablet's count without it. at: when it began.
    """

    user: User
    kept: Kept
    tablet: str
    mine: str
    number: int
    before: Attempts | None
    at: Moment


def tried(store: Store, who: str, pin: str, tablet: str, now: Moment) -> Tried:
    """Compares a PIN, after the attempt is on the disk. Raises InputError, ArtefactError for an altered hash.

    who: an id or a name. tablet: where it is typed, up to 64 characters.
    """
    trial = begun(store, who, tablet, now)
    return ended(store, trial, right=trial.kept.is_of(pin))


def begun(store: Store, who: str, tablet: str, now: Moment) -> Trial:
    """Counts an attempt; `ended` tells what came of it. Comparing takes long and needs no store, so that it
    can be done elsewhere in between. Raises as `tried` does, except for a wrong PIN.
    """
    known_tablet(tablet)
    book = _book(store, now)
    there = f"tablet {tablet}"
    if left := tablet_wait_s(book.get(there), now):
        turn_away(store, book, there, NOBODY, tablet, f"too many wrong PINs here: {left:.0f} s to wait")
    user = users(store).get(id_of(who))
    if user is None or user.disabled:
        counted = {**book, there: book.get(there, Attempts(0, now)).once_more(now)}
        why = "an unknown name" if user is None else "disabled"
        log(store, counted, "sign-in-failed", user.id if user else NOBODY, {"tablet": tablet, "why": why})
        raise InputError("user", "one who may sign in", why)
    mine = f"own {user.id} {tablet}" if tablet in user.own else f"user {user.id}"
    before = book.get(mine, Attempts(0, now, user.changed))
    if not user.usable_on(tablet):
        turn_away(store, book, mine, user.id, tablet, "locked until a supervisor resets it")
    if before.since(user.changed) and (left := wait_s(before, now)):
        turn_away(store, book, mine, user.id, tablet, f"{left:.0f} s to wait after wrong PINs")
    kept = _current(store, user)
    once_more = before.once_more(now, user.changed)
    counted = {**book, mine: once_more, there: book.get(there, Attempts(0, now)).once_more(now)}
    count(store, counted)
    return Trial(user, kept, tablet, mine, once_more.number, book.get(there), now)


def ended(store: Store, trial: Trial, *, right: bool) -> Tried:
    """right: whether the PIN was. Others may have tried meanwhile; their attempts still count.

    Raises InputError for a wrong PIN, and when the user was changed meanwhile.
    """
    user, tablet, book = trial.user, trial.tablet, _book(store, trial.at)
    if not right:
        told = {"tablet": tablet, "factor": "pin", "why": "a wrong PIN", "wrong": trial.number}
        log(store, book, "sign-in-failed", user.id, told)
        more = LOCK_AFTER - trial.number
        rest = f"{more} more attempts" if more else "locked now until a supervisor resets it"
        raise InputError("PIN", f"the PIN of {user.id}", f"another one; {rest}")
    now = users(store).get(user.id)
    if now is None or now.disabled or now.changed != user.changed:
        raise InputError("PIN", "that of a user as she is now", "she was changed meanwhile: sign in again")
    counted, wrong = _cleared(store, book, trial)
    told = {"tablet": tablet, "factor": "pin", "wrong_before": wrong}
    log(store, counted, "sign-in", user.id, told)
    return Tried(replace(user, wrong=0), wrong)


def _cleared(store: Store, book: Mapping[str, Attempts], trial: Trial) -> tuple[dict[str, Attempts], int]:
    """The book after a right PIN, and of how many wrong ones she is to be told."""
    user, there = trial.user, f"tablet {trial.tablet}"
    others, own = f"user {user.id}", f"own {user.id} {trial.tablet}"
    counted = dict(book)
    mine = book.get(trial.mine, Attempts(trial.number, trial.at, user.changed))
    later = max(0, mine.since(user.changed) - trial.number)
    wrong = max(0, trial.number - 1 - mine.seen)
    for key in (others, *(f"own {user.id} {name}" for name in user.own)):
        if key != trial.mine and (it := book.get(key)) and (untold := it.untold(user.changed)):
            wrong += untold
            counted[key] = msgspec.structs.replace(it, seen=it.number)
    if trial.mine == others:
        counted.pop(others, None)
        if later:
            counted[others] = Attempts(later, mine.at, user.changed)
        later = 0
    counted.pop(own, None)
    counted[own] = Attempts(later, mine.at, user.changed, right_ms=store.now_ms())  # the last in the book
    hers = {f"own {user.id} {name}" for name in owned(counted, user.id, store.now_ms())}
    counted = {key: it for key, it in counted.items() if key in hers or not key.startswith(f"own {user.id} ")}
    here = book.get(there)
    if here is not None and here.at == trial.at and trial.before is not None:
        counted[there] = trial.before
    elif here is not None and here.number > 1:
        counted[there] = msgspec.structs.replace(here, number=here.number - 1)
    else:
        counted.pop(there, None)
    return counted, wrong


def set_pin(
    store: Store, who: str, current: str, new: str, tablet: str, now: Moment, random: Random = os.urandom
) -> User:
    """The user's own change; every session of the user is over. Raises InputError."""
    user = tried(store, who, current, tablet, now).user
    return changed_pin(store, user.id, user, "pin", new, user.role, random)


def known_tablet(tablet: str) -> None:
    """Raises InputError for what is no tablet's name."""
    if not 0 < len(tablet) <= 64 or not tablet.isprintable() or tablet != tablet.strip():
        raise InputError("tablet", "a name of 1 to 64 printable characters", repr(tablet[:64]))


def _book(store: Store, now: Moment) -> dict[str, Attempts]:
    return {key: it for key, it in attempts_of(store).items() if not forgotten(key, it, now)}


def _current(store: Store, user: User) -> Kept:
    pins = all_kept(store, user.id)
    if not pins or pins[0].digest != user.pin:
        raise ArtefactError(f"PIN of {user.id}", "the one that the log names", "another one")
    return pins[0]
