"""What a person writes before a release, configuration or notice is signed: the rest is measured and added.

A person writes names, bounds, shifts and rights; digests, times and the release that it is about come from
what lies there when it is signed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from akazuba.errors import InputError
from akazuba.governance.course import Duty
from akazuba.governance.responsibility import (
    DAY_MIN,
    Bounds,
    Configuration,
    Document,
    Flaw,
    Held,
    Name,
    Notice,
    Release,
    Shift,
    When,
    check_configuration,
)

ROSTER = ("user", "role", "begins", "ends")
MOST_SHIFTS = 10_000


class ReleaseDraft(Document, frozen=True):
    """As in `Release`."""

    name: Name
    bounds: Mapping[Name, Bounds] = {}
    staffing: Mapping[Name, Annotated[int, Meta(ge=0, le=100)]] = {}
    may: Mapping[Name, tuple[Name, ...]] = {}


class ConfigurationDraft(Document, frozen=True):
    """As in `Configuration`."""

    site: Name
    organisation: Name
    utc_offset_min: Annotated[int, Meta(ge=-840, le=840)]
    thresholds: Mapping[Name, float] = {}
    shifts: tuple[Shift, ...] = ()
    may: Mapping[Name, tuple[Name, ...]] = {}


class NoticeDraft(Document, frozen=True):
    """As in `Notice`."""

    what: Annotated[str, Meta(min_length=3, max_length=2000)]
    touches: Annotated[tuple[Name, ...], Meta(min_length=1)]
    when: tuple[When, ...] = ()


def release_of(data: bytes, files: Mapping[str, str], model_card: str, now_s: int) -> Release:
    """files: what is installed, by `installed_digests`. model_card: SHA-256. Raises InputError."""
    draft = _read(data, ReleaseDraft, "release")
    return Release(1, draft.name, now_s, files, draft.bounds, draft.staffing, draft.may, model_card)


def configuration_of(
    data: bytes,
    release: Held[Release],
    valid_s: tuple[int, int],
    overlays: Mapping[str, str],
    formulary: str = "",
) -> Configuration:
    """valid_s: from and until, since 1970. overlays: SHA-256 of each file of local rules.

    Raises InputError for what the release does not allow, and for a time that ends before it begins.
    """
    draft = _read(data, ConfigurationDraft, "configuration")
    begins, ends = valid_s
    void = [shift for shift in draft.shifts if not any(map(shift.covers, range(DAY_MIN)))]
    if void:
        expected = "an end that is not its beginning; a whole day is 0 to 1440"
        raise InputError("configuration, shifts", expected, f"{void[0].begins_min} to {void[0].ends_min}")
    if ends <= begins:
        raise InputError("configuration, valid until", "a time after its beginning", f"{ends - begins} s")
    made = Configuration(
        version=1,
        site=draft.site,
        organisation=draft.organisation,
        release=release.sha256,
        valid_from_s=begins,
        valid_until_s=ends,
        overlays=overlays,
        formulary=formulary,
        thresholds=draft.thresholds,
        shifts=draft.shifts,
        utc_offset_min=draft.utc_offset_min,
        may=draft.may,
    )
    sound(check_configuration(release, Held("", made, ""), begins))
    return made


def notice_of(data: bytes, release: str, act_by_s: int, now_s: int) -> Notice:
    """release: SHA-256 of the signed release that it is about. Raises InputError."""
    draft = _read(data, NoticeDraft, "notice")
    return Notice(1, release, now_s, act_by_s, draft.what, draft.touches, draft.when)


def sound(flaws: list[Flaw]) -> None:
    """Raises InputError with the first flaw of a configuration, and how many more there are."""
    if flaws:
        more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
        expected = "one that counts now, within the developer's bounds"
        raise InputError(f"configuration, {flaws[0].clause}", expected, flaws[0].what + more)


def roster_of(text: str, known: Callable[[str], tuple[str, str]], now_s: int) -> list[Duty]:
    """From CSV under the heads user, role, begins, ends; times in ISO 8601 with their offset.

    known: a user's id and role by name or id, of somebody who is no user of the box the id and "". A role in
    the file counts before the user's own. Raises InputError with the line for a shift that is not over.
    """
    rows = csv.DictReader(text.splitlines(), strict=True)
    heads = tuple(rows.fieldnames or ())
    if heads != ROSTER:
        raise InputError("roster, line 1", ",".join(ROSTER), ",".join(heads)[:100] or "nothing")
    duties = list[Duty]()
    try:
        for row in rows:
            item = f"roster, line {rows.line_num}"
            if None in row or None in row.values():
                raise InputError(item, f"{len(ROSTER)} values", "another number")
            if len(duties) == MOST_SHIFTS:
                raise InputError(item, f"at most {MOST_SHIFTS} shifts", "more")
            duties.append(_duty(item, row, known, now_s))
    except csv.Error as problem:
        raise InputError(f"roster, line {rows.line_num}", "CSV", str(problem)) from problem
    if not duties:
        raise InputError("roster", "a shift", "none")
    return duties


def _duty(item: str, row: Mapping[str, str], known: Callable[[str], tuple[str, str]], now_s: int) -> Duty:
    user, role = known(row["user"].strip())
    role = row["role"].strip() or role
    begins, ends = (_second(f"{item}, {name}", row[name].strip()) for name in ("begins", "ends"))
    if not user or not role:
        raise InputError(item, "a user of this box, or a name and a role", repr(row["user"][:80]))
    if not begins < ends <= now_s:
        expected = "a shift that is over: who was there, not who shall be"
        raise InputError(item, expected, f"{row['begins']} to {row['ends']}")
    return Duty(user, role, begins, ends)


def _second(item: str, text: str) -> int:
    expected = "a time with its offset, such as 2026-11-29T07:00+02:00"
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise InputError(item, expected, repr(text[:40])) from problem
    if at.tzinfo is None or not 1970 < at.year < 9999:
        raise InputError(item, expected, repr(text[:40]))
    return int(at.timestamp())


Draft = TypeVar("Draft", bound=Document)


def _read(data: bytes, type_: type[Draft], kind: str) -> Draft:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(f"draft of a {kind}", f"the fields of a {kind} as JSON", str(problem)) from problem
