"""Roles: what each may do, what it may do behind broken glass, and how long its sessions last.

The tables are data; whoever asks gets an answer with its reason. No action alters or empties the log, and
whoever reads it does nothing that is recorded in it besides: nobody audits himself away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from akazuba.errors import InputError

Role = Literal["nurse", "clinician", "supervisor", "operator", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)

Action = Literal[
    "see-patients",
    "record",
    "consent",
    "decide",
    "export",
    "erase",
    "break-glass",
    "acknowledge-glass",
    "manage-users",
    "configure",
    "operate",
    "read-log",
]

ACTIONS: Mapping[Action, str] = {
    "see-patients": "find a patient and read what is known of her",
    "record": "add cases, measurements and outcomes",
    "consent": "record what a patient agreed to or withdrew",
    "decide": "sign accept, change or refuse",
    "export": "hand out one patient's record",
    "erase": "make one patient's record unreadable for good",
    "break-glass": "get one right for one patient for a short time, with a written reason",
    "acknowledge-glass": "look into every broken glass",
    "manage-users": "add and disable users, change roles, reset PINs",
    "configure": "sign the site's configuration: local rules, formulary, thresholds, staffing",
    "operate": "back up, restore, update, carry data to the server",
    "read-log": "read, verify and carry away the audit log, without what patients' entries hold",
}

MAY: Mapping[Role, frozenset[Action]] = {
    "nurse": frozenset({"see-patients", "record", "consent", "break-glass"}),
    "clinician": frozenset({"see-patients", "record", "consent", "decide", "break-glass"}),
    "supervisor": frozenset(
        {"see-patients", "export", "erase", "acknowledge-glass", "manage-users", "configure"}
    ),
    "operator": frozenset({"operate"}),
    "auditor": frozenset({"read-log"}),
}
"""One person has one role. Whoever works as two has two users, and each deed says as which."""

BEHIND_GLASS: Mapping[Role, frozenset[Action]] = {
    "nurse": frozenset({"decide", "export"}),
    "clinician": frozenset({"export"}),
    "supervisor": frozenset(),
    "operator": frozenset(),
    "auditor": frozenset(),
}
"""No clinician in the night, a referral without the supervisor."""

INDISPENSABLE: frozenset[Role] = frozenset({"supervisor", "auditor"})
"""The last user of these roles stays until there is another."""


@dataclass(frozen=True)
class Limits:
    """idle_s and whole_s: a session ends after so long without use, and in any case. Within those of NIST SP
    800-63B, 4.2.3 (30 minutes, 12 hours). pin_least: digits.
    """

    idle_s: float
    whole_s: float
    pin_least: int


LIMITS: Mapping[Role, Limits] = {
    "nurse": Limits(10 * 60, 12 * 3600, 4),
    "clinician": Limits(10 * 60, 12 * 3600, 4),
    "supervisor": Limits(5 * 60, 2 * 3600, 6),
    "operator": Limits(10 * 60, 4 * 3600, 6),
    "auditor": Limits(10 * 60, 4 * 3600, 6),
}


@dataclass(frozen=True)
class Verdict:
    """why: the reason in words. glass: the index of the `break-glass` entry that it rests on."""

    allowed: bool
    why: str
    glass: int | None = None


def verdict(role: Role, action: Action) -> Verdict:
    """Without any broken glass.

    >>> verdict("auditor", "see-patients").why
    'auditor may not: find a patient and read what is known of her'
    """
    allowed = action in MAY[role]
    return Verdict(allowed, f"{role} may{'' if allowed else ' not'}: {ACTIONS[action]}")


def known_role(text: str) -> Role:
    """Raises InputError."""
    for role in ROLES:
        if role == text:
            return role
    raise InputError("role", ", ".join(ROLES), repr(text))


def known_action(text: str) -> Action:
    """Raises InputError."""
    for action in ACTIONS:
        if action == text:
            return action
    raise InputError("action", ", ".join(ACTIONS), repr(text))
