"""Users: who they are, read from the log, and who may add, change and disable them.

A user is what the entries `user`, `user-changed` and `user-disabled` say. The hashes of the last PINs and the
count of wrong ones are remembered beside the log. Whoever has the store's passphrase makes the first
supervisor and helps when no other supervisor can; nothing else is done by passphrase alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.governance.attempts import attempts_of, owned
from akazuba.governance.pins import KEPT, LOCK_AFTER, Attempts, Kept, check_new, kept
from akazuba.governance.roles import INDISPENSABLE, LIMITS, Action, Role
from akazuba.governance.site_rules import verdict_here
from akazuba.storage.person import searchable
from akazuba.storage.store import Entry, Recorded, Store

PASSPHRASE = "passphrase"  # noqa: S105 - a name in the log
"""Stands in the log where somebody acted by the store's passphrase alone."""

NOBODY = "unknown"
_RESERVED = {PASSPHRASE, NOBODY, "box"}
_LONGEST_NAME = 80

Random = Callable[[int], bytes]


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `user`. pin: the digest of what is kept of the PIN."""

    user: str
    name: str
    role: Role
    pin: str


class Changed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `user-changed`. reset: wrong PINs count from zero again."""

    user: str
    what: Literal["pin", "role", "reset"]
    role: Role | None = None
    pin: str | None = None


class Disabled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `user-disabled`."""

    user: str
    because: str


@dataclass(frozen=True)
class User:
    """changed: index of the last entry about this user; older sessions are over. wrong: PINs, on all tablets
    together, of which she was not told yet. locked: on all tablets but her own ones. locked_on: those of her
    own that are too. own: her tablets.
    """

    id: str
    name: str
    role: Role
    pin: str
    changed: int
    disabled: bool = False
    wrong: int = 0
    locked: bool = False
    locked_on: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        return not self.disabled and not self.locked

    def usable_on(self, tablet: str) -> bool:
        """Whether a right PIN would let her in on that tablet, perhaps after a wait."""
        locked = tablet in self.locked_on if tablet in self.own else self.locked
        return not self.disabled and not locked


def users(store: Store) -> dict[str, User]:
    """By id, disabled ones too. Raises ArtefactError for entries that do not fit together."""
    found: dict[str, User] = {}
    kinds = ("user", "user-changed", "user-disabled")
    entries = [entry for kind in kinds for entry in store.entries(kind=kind)]
    for entry in sorted(entries, key=lambda entry: entry.index):
        try:
            user = _after(found, entry)
        except (msgspec.MsgspecError, KeyError) as problem:
            raise ArtefactError(f"entry {entry.index}", "a change of a known user", str(problem)) from problem
        found[user.id] = user
    book, now_ms = attempts_of(store), store.now_ms()
    return {id_: _counted(user, book, now_ms) for id_, user in found.items()}


def user_of(people: Mapping[str, User], who: str) -> User:
    """who: an id or a name, whatever its case and accents. Raises InputError."""
    user = people.get(id_of(who))
    if user is None:
        raise InputError("user", "one of this store", repr(who[:_LONGEST_NAME]))
    return user


def id_of(name: str) -> str:
    """What the log knows somebody of that name by.

    >>> id_of("Thérèse  Ntawe")
    'therese-ntawe'
    """
    return "-".join(searchable(name[:_LONGEST_NAME]).split())


def acting(store: Store, by: str, action: Action) -> User:
    """The user, when the role allows it here; else it is logged and InputError is raised."""
    user = users(store).get(by)
    judged = verdict_here(store, user.role, action) if user is not None else None
    if user is None or judged is None or user.disabled or not judged.allowed:
        why = "disabled" if user and user.disabled else judged.why if judged else "no user"
        refused(store, by, action, why)
        raise InputError("right", f"a user who may {action}", why)
    return user


def refused(store: Store, by: str, action: Action, why: str, patient: str = "", where: str = "") -> None:
    """Records that somebody tried what the role does not allow."""
    told = {"action": action, "patient": encodable(patient), "why": why, "where": where}
    store.add(Entry("access-refused", by, msgspec.json.encode(told)))


def add(store: Store, by: str, name: str, role: Role, pin: str, random: Random = os.urandom) -> User:
    """A new user, who typed the PIN. by: a supervisor's id, or PASSPHRASE for a first supervisor."""
    people = users(store)
    _allowed(store, people, by, None, role)
    id_ = _new_id(people, name)
    check_new(pin, LIMITS[role].pin_least, id_)
    made = kept(pin, random)
    body = msgspec.json.encode(Added(id_, name.strip(), role, made.digest))
    _keep(store, id_, [made], Entry("user", by, body))
    return users(store)[id_]


def change_role(store: Store, by: str, who: str, role: Role, pin: str, random: Random = os.urandom) -> User:
    """A new role begins with a new PIN, which the user types."""
    people = users(store)
    user = user_of(people, who)
    _allowed(store, people, by, user, None)
    _enabled(user)
    if role != user.role:
        _not_the_last(people, user)
    return changed_pin(store, by, user, "role", pin, role, random)


def reset(store: Store, by: str, who: str, pin: str | None = None, random: Random = os.urandom) -> User:
    """Unlocks a user whose PIN was wrong too often. pin: a new one, which the user types, when it is lost."""
    people = users(store)
    user = user_of(people, who)
    _allowed(store, people, by, user, user.role)
    _enabled(user)
    if pin is not None:
        return changed_pin(store, by, user, "reset", pin, user.role, random)
    store.add(Entry("user-changed", by, msgspec.json.encode(Changed(user.id, "reset"))))
    return users(store)[user.id]


def disable(store: Store, by: str, who: str, because: str) -> User:
    """For good: the id is never used again, and what the user did stays in the log."""
    people = users(store)
    user = user_of(people, who)
    _allowed(store, people, by, user, None)
    _enabled(user)
    if not because.strip():
        raise InputError("disable", "a reason", "none")
    _not_the_last(people, user)
    store.add(Entry("user-disabled", by, msgspec.json.encode(Disabled(user.id, encodable(because.strip())))))
    return users(store)[user.id]


# --- the log ------------------------------------------------------------------------------------------


def _after(found: Mapping[str, User], entry: Recorded) -> User:
    body = entry.body or b""
    if entry.kind == "user":
        added = msgspec.json.decode(body, type=Added)
        return User(added.user, added.name, added.role, added.pin, entry.index)
    if entry.kind == "user-changed":
        changed = msgspec.json.decode(body, type=Changed)
        user = found[changed.user]
        role, pin = changed.role or user.role, changed.pin or user.pin
        return replace(user, role=role, pin=pin, changed=entry.index)
    off = msgspec.json.decode(body, type=Disabled)
    return replace(found[off.user], disabled=True, changed=entry.index)


def _counted(user: User, book: Mapping[str, Attempts], now_ms: int) -> User:
    own, others = owned(book, user.id, now_ms), book.get(f"user {user.id}")
    counts = [*own.values(), *([others] if others else [])]
    return replace(
        user,
        wrong=sum(it.untold(user.changed) for it in counts),
        locked=others is not None and others.since(user.changed) >= LOCK_AFTER,
        locked_on=frozenset(name for name, it in own.items() if it.since(user.changed) >= LOCK_AFTER),
        own=frozenset(own),
    )


def changed_pin(
    store: Store,
    by: str,
    user: User,
    what: Literal["pin", "role", "reset"],
    pin: str,
    role: Role,
    random: Random,
) -> User:
    """Writes a new PIN down for somebody who may do so. Raises InputError for a weak or an old one."""
    before = all_kept(store, user.id)
    check_new(pin, LIMITS[role].pin_least, user.id, before)
    made = kept(pin, random)
    body = msgspec.json.encode(Changed(user.id, what, role if what == "role" else None, made.digest))
    _keep(store, user.id, [made, *before][:KEPT], Entry("user-changed", by, body))
    return users(store)[user.id]


# --- who may ------------------------------------------------------------------------------------------


def _allowed(
    store: Store, people: Mapping[str, User], by: str, about: User | None, role: Role | None
) -> None:
    """role: which the passphrase alone may make or reset; None: nothing of this kind."""
    if by != PASSPHRASE:
        acting(store, by, "manage-users")
        if about is not None and by == about.id:
            refused(store, by, "manage-users", "oneself")
            raise InputError("user", "another one than oneself", by)
        return
    others = [it.name for it in people.values() if it.role == "supervisor" and it.usable and it is not about]
    if others or role != "supervisor":
        why = f"a supervisor's PIN ({', '.join(others) or 'make a supervisor first'})"
        refused(store, by, "manage-users", "the passphrase alone")
        raise InputError("users", why, "the passphrase alone")


def _not_the_last(people: Mapping[str, User], user: User) -> None:
    if user.role in INDISPENSABLE and not any(
        it.role == user.role and not it.disabled and it.id != user.id for it in people.values()
    ):
        raise InputError("user", f"another {user.role} besides", f"{user.name}, the only one")


def _enabled(user: User) -> None:
    if user.disabled:
        raise InputError("user", "one who is not disabled", user.name)


def _new_id(people: Mapping[str, User], name: str) -> str:
    if (
        not name.strip()
        or len(name) > _LONGEST_NAME
        or not name.isprintable()
        or not any(map(str.isalpha, name))
    ):
        raise InputError("name", f"1 to {_LONGEST_NAME} printable characters, letters among them", repr(name))
    id_ = id_of(name)
    if id_ in people or id_ in _RESERVED:
        found = "one that was disabled" if id_ in people and people[id_].disabled else "one that is taken"
        raise InputError("name", "a name that no user has or had", f"{name}, {found}")
    return id_


# --- beside the log -----------------------------------------------------------------------------------


def _keep(store: Store, user: str, pins: Sequence[Kept], entry: Entry) -> None:
    store.add_with(f"pins {user}", msgspec.msgpack.encode(pins), [entry])


def all_kept(store: Store, user: str) -> tuple[Kept, ...]:
    """The last PINs, newest first. Raises ArtefactError."""
    try:
        return msgspec.msgpack.decode(store.recall(f"pins {user}") or b"", type=tuple[Kept, ...])
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"PIN of {user}", "what was kept of it", str(problem)) from problem
