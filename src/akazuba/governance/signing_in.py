"""Signing in by PIN: the attempt is on the disk before the PIN is compared, and every outcome is logged."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.attempts import attempts_of, count, forgotten, log, turn_away
from akazuba.governance.pins import LOCK_AFTER, Attempts, Kept, Moment, tablet_wait_s, wait_s
from akazuba.governance.users import NOBODY, Random, User, all_kept, changed_pin, id_of, users
from akazuba.storage.store import Store


@dataclass(frozen=True)
class Tried:
    """A right PIN. wrong_before: attempts since the last right one, to be shown to the user."""

    user: User
    wrong_before: int


def tried(store: Store, who: str, pin: str, tablet: str, now: Moment) -> Tried:
    """Compares a PIN, after the attempt is on the disk. Raises InputError, ArtefactError for an altered hash.

    who: an id or a name. tablet: where it is typed, up to 64 characters.
    """
    known_tablet(tablet)
    book = {key: it for key, it in attempts_of(store).items() if not forgotten(key, it, now)}
    there = f"tablet {tablet}"
    if left := tablet_wait_s(book.get(there), now):
        turn_away(store, book, there, NOBODY, tablet, f"too many wrong PINs here: {left:.0f} s to wait")
    user = users(store).get(id_of(who))
    if user is None or user.disabled:
        counted = {**book, there: book.get(there, Attempts(0, now)).once_more(now)}
        why = "an unknown name" if user is None else "disabled"
        log(store, counted, "sign-in-failed", user.id if user else NOBODY, {"tablet": tablet, "why": why})
        raise InputError("user", "one who may sign in", why)
    mine = f"user {user.id}"
    before = book.get(mine, Attempts(0, now, user.changed))
    if user.locked:
        turn_away(store, book, mine, user.id, tablet, "locked until a supervisor resets it")
    if user.wrong and (left := wait_s(before, now)):
        turn_away(store, book, mine, user.id, tablet, f"{left:.0f} s to wait after wrong PINs")
    once_more = before.once_more(now, user.changed)
    counted = {
        **book,
        mine: once_more,
        there: book.get(there, Attempts(0, now)).once_more(now),
    }
    count(store, counted)
    if not _current(store, user).is_of(pin):
        told = {"tablet": tablet, "factor": "pin", "why": "a wrong PIN", "wrong": once_more.number}
        log(store, counted, "sign-in-failed", user.id, told)
        more = LOCK_AFTER - once_more.number
        rest = f"{more} more attempts" if more else "locked now until a supervisor resets it"
        raise InputError("PIN", f"the PIN of {user.id}", f"another one; {rest}")
    right = {key: it for key, it in book.items() if key != mine}
    log(store, right, "sign-in", user.id, {"tablet": tablet, "factor": "pin", "wrong_before": user.wrong})
    return Tried(replace(user, wrong=0), user.wrong)


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


def _current(store: Store, user: User) -> Kept:
    pins = all_kept(store, user.id)
    if not pins or pins[0].digest != user.pin:
        raise ArtefactError(f"PIN of {user.id}", "the one that the log names", "another one")
    return pins[0]
