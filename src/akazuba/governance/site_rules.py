"""What the newest configuration in the log says of rights and hours, as the box holds everybody to it.

A configuration takes rights away and gives none. It holds until another one is adopted, expired or not: no
clock that is wrong gives a right back. Those rights that keep the box in order are not its to take, so that
none locks out the one that follows it. Outside her hours a user signs in with a written reason: nobody is
kept from a patient by a clock. `adopt` checked its signature when it came; an entry stays as it is.
"""

from __future__ import annotations

import msgspec

from akazuba.errors import InputError, UntrustedError, encodable
from akazuba.governance.responsibility import DAY_MIN, Configuration, Shift, held
from akazuba.governance.roles import ACTIONS, Action, Role, Verdict, verdict
from akazuba.storage.store import Entry, Store

TAKEN: frozenset[Action] = frozenset({"see-patients", "record", "consent", "decide", "export", "erase"})
"""The rights over patients' records, which a configuration may take from a role."""

GRACE_MIN = 30
"""Before a shift and after it, for the handover (our choice)."""

REASON_LEAST, REASON_MOST = 10, 2000
"""Letters and digits that a written reason has to have; characters that it may have."""


def configuration_now(store: Store) -> Configuration | None:
    """The newest that was adopted; None before there is one, and for one that this version cannot read."""
    entry = store.last("configuration")
    try:
        return held(entry.body or b"", "configuration", Configuration, None).document if entry else None
    except UntrustedError:
        return None


def verdict_here(store: Store, role: Role, action: Action) -> Verdict:
    """As `roles.verdict`, less what the configuration takes away."""
    judged, site = verdict(role, action), configuration_now(store)
    if judged.allowed and site is not None and action in TAKEN and role not in site.may.get(action, (role,)):
        return Verdict(False, f"{role} may not, by the configuration of {site.site}: {ACTIONS[action]}")
    return judged


def outside_hours(store: Store, role: Role) -> str:
    """Where a role has shifts and it is none of them now: its hours and the time, in words; else ""."""
    site = configuration_now(store)
    shifts = [shift for shift in site.shifts if shift.role == role] if site else []
    if site is None or not shifts:
        return ""
    minute = int(store.now_ms() // 60_000 + site.utc_offset_min) % DAY_MIN
    near = [(minute + apart) % DAY_MIN for apart in (-GRACE_MIN, 0, GRACE_MIN)]
    if any(shift.covers(at) for shift in shifts for at in near):
        return ""
    hours = " and ".join(map(_hours, shifts))
    return f"outside the shifts of a {role} ({hours}), at {_clock(minute)} by the box's clock"


def let_in(
    store: Store, user: str, role: Role, where: str, reason: str, wrong_before: int = 0
) -> list[Entry]:
    """The entry to be recorded with a sign-in: none within her hours, an `off-shift` one outside them.

    where: the tablet or terminal. wrong_before: wrong PINs before the right one, of which she is told though
    she is refused. Raises InputError, after it is logged, outside her hours without a reason.
    """
    why = outside_hours(store, role)
    if not why:
        return []
    try:
        said = written_reason(reason, f"reason to sign in {why}")
    except InputError as problem:
        told = {"tablet": where, "why": why}
        store.add(Entry("sign-in-refused", user, msgspec.json.encode(told)))
        if wrong_before:
            found = f"{problem.found}; {wrong_before} attempts with a wrong PIN before this one"
            raise InputError(problem.item, problem.expected, found) from problem
        raise
    return [Entry("off-shift", user, msgspec.json.encode({"tablet": where, "why": why, "reason": said}))]


def written_reason(reason: str, item: str) -> str:
    """Raises InputError for one that says nothing."""
    said = encodable(reason.strip())
    if sum(map(str.isalnum, said)) < REASON_LEAST or len(said) > REASON_MOST:
        expected = f"{REASON_LEAST} letters or more, {REASON_MOST} characters at most"
        raise InputError(item, expected, repr(said[:40]))
    return said


def _hours(shift: Shift) -> str:
    return f"{_clock(shift.begins_min)} to {_clock(shift.ends_min)}"


def _clock(minute: int) -> str:
    """Of a minute after midnight.

    >>> _clock(75)
    '01:15'
    """
    return f"{minute // 60:02d}:{minute % 60:02d}"
