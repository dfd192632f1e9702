"""Searches of FHIR R4 (https://hl7.org/fhir/R4/search.html): what is asked, and the Bundle that answers.

A page ends at a place in the log and the next one begins there (`_after`), so that what is added meanwhile
moves nothing and is not missed. FHIR leaves the parameters of its paging links to the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from akazuba.fhir.events import Json, instant
from akazuba.fhir.outcome import Issue, RefusedError, outcome

MOST = 200
"""Resources on one page."""

COUNT = 50
LAST_UPDATED = "_lastUpdated"
SUMMARY = "_summary"
PAGING = (LAST_UPDATED, "_count", "_after")
FORMATS = ("json", "application/json", "application/fhir+json")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Place:
    """After the `number`th resource of an entry's; None: after all of them."""

    index: int
    number: int | None = None

    def __str__(self) -> str:
        return str(self.index) if self.number is None else f"{self.index}.{self.number}"

    def before(self, index: int, number: int) -> bool:
        """Whether a resource comes after this place.

        >>> Place(7, 2).before(7, 2), Place(7, 2).before(7, 3), Place(7).before(7, 3), Place(7).before(8, 1)
        (False, True, False, True)
        """
        if index != self.index:
            return index > self.index
        return self.number is not None and number > self.number


BEGINNING = Place(-1)


@dataclass(frozen=True)
class Query:
    """named: the parameters that say what is looked for, once each. since, until: milliseconds from which on
    and before which it was changed. count: 0 asks how many there are and for none of them, as
    `_summary=count` does (R4, search.html#count). used: what the answer's links repeat. unknown: what was
    passed over.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    count: int = COUNT
    after: Place = BEGINNING
    since: int | None = None
    until: int | None = None
    used: Pairs = ()
    unknown: tuple[str, ...] = ()

    def holds(self, at_ms: int) -> bool:
        return (self.since is None or at_ms >= self.since) and (self.until is None or at_ms < self.until)


@dataclass(frozen=True)
class Page:
    """found: resources with their `meta`. ends: where the next page begins; None after the last.

    total: of all pages, where it is known.
    """

    found: Sequence[Json]
    ends: Place | None = None
    total: int | None = None
    issues: tuple[Issue, ...] = ()


def query(pairs: Pairs, names: Iterable[str], *, strict: bool) -> Query:
    """names: what a resource type may be looked for by. strict: refuse what is not known.

    Raises RefusedError.

    >>> query([("patient", "p1"), ("colour", "red")], ["patient"], strict=False).unknown
    ('colour',)
    """
    known = {*names, *PAGING, SUMMARY, "_format"}
    pairs = [(f"{name}={value}" if _shortens(name, value) else name, value) for name, value in pairs]
    unknown = tuple(dict.fromkeys(name for name, _ in pairs if name not in known))
    if unknown and strict:
        expected = f"one of {', '.join(sorted(known))}"
        raise RefusedError(400, "not-supported", "search parameter", expected, repr(unknown[0][:60]))
    used = [(name, value) for name, value in pairs if name in known]
    once: dict[str, str] = {}
    for name, value in used:
        if name in once and name != LAST_UPDATED:
            raise RefusedError(400, "value", name, "it once", "it twice")
        once[name] = value
    if once.get("_format", "json").replace(" ", "+") not in FORMATS:
        raise RefusedError(406, "not-supported", "_format", FORMATS[-1], repr(once["_format"][:60]))
    most = 0 if once.get(SUMMARY) == "count" else MOST
    since, until = _period([value for name, value in used if name == LAST_UPDATED])
    return Query(
        {name: value for name, value in once.items() if name in names},
        min(_whole("_count", once.get("_count", str(COUNT)), least=0), most),
        _place(once["_after"]) if "_after" in once else BEGINNING,
        since,
        until,
        [(name, value) for name, value in used if name != "_after"],
        unknown,
    )


def _shortens(name: str, value: str) -> bool:
    """Whether parts of each resource are wished away: this door counts them, or gives them whole."""
    return name == SUMMARY and value not in ("count", "false")


def versioned(resource: Json, index: int, at_ms: int) -> Json:
    """With the entry of the log that last changed it."""
    meta = resource.get("meta")
    given = meta if isinstance(meta, dict) else {}
    return resource | {"meta": {**given, "versionId": str(index), "lastUpdated": instant(at_ms)}}


def searchset(base: str, path: str, asked: Query, page: Page) -> Json:
    """base: the door's address. path: of the search, such as Patient.

    With `_summary=count` it holds a total and no warning either: what was understood stands in its link.
    """
    issues = [*page.issues]
    if asked.unknown:
        words = f"passed over, so that more may be here than was asked for: {', '.join(asked.unknown)}"
        issues.insert(0, Issue("warning", "not-supported", words[:2000]))
    entries: list[Json] = [
        {
            "fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match"},
        }
        for resource in page.found
    ]
    if issues:
        entries.append({"resource": outcome(issues), "search": {"mode": "outcome"}})
    begins = [("_after", str(asked.after))] if asked.after != BEGINNING else []
    links = [_link("self", base, path, [*asked.used, *begins])]
    if page.ends is not None:
        links.append(_link("next", base, path, [*asked.used, ("_after", str(page.ends))]))
    total = {} if page.total is None else {"total": page.total}
    found: Json = {"resourceType": "Bundle", "type": "searchset", **total, "link": links}
    only_counts = (SUMMARY, "count") in asked.used
    return found | ({"entry": entries} if entries and not only_counts else {})


def _link(relation: str, base: str, path: str, pairs: Pairs) -> Json:
    asked = urlencode(pairs)
    return {"relation": relation, "url": f"{base}/{path}{'?' if asked else ''}{asked}"}


def _whole(item: str, value: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", value) or int(value) < least:
        raise RefusedError(400, "value", item, f"a whole number from {least} on", repr(value[:40]))
    return int(value)


def _place(value: str) -> Place:
    found = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?", value)
    if not found:
        raise RefusedError(400, "value", "_after", "a place that a link gave", repr(value[:40]))
    return Place(int(found[1]), int(found[2]) if found[2] else None)


def _period(values: Iterable[str]) -> tuple[int | None, int | None]:
    """All of the bounds together."""
    since: list[int] = []
    until: list[int] = []
    for value in values:
        prefix, stamp = (value[:2], value[2:]) if value[:2] in ("ge", "gt", "le", "lt") else ("", value)
        begins, ends = _interval(stamp)
        since += {"ge": [begins], "gt": [ends], "": [begins]}.get(prefix, [])
        until += {"lt": [begins], "le": [ends], "": [ends]}.get(prefix, [])
    return (max(since) if since else None), (min(until) if until else None)


_STAMP = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


def _interval(stamp: str) -> tuple[int, int]:
    """A FHIR dateTime as the milliseconds that it covers, the end excluded; without a zone in UTC.

    >>> [end - begin for begin, end in map(_interval, ("2026-11-29", "2026-11-29T10:00:00.250+02:00"))]
    [86400000, 1]
    """
    text = stamp.replace(" ", "+")  # a plus sign that nobody escaped in an address
    expected = "ge, gt, le, lt or nothing before a date such as 2026-11-29T10:30:00+02:00"
    wrong = RefusedError(400, "value", LAST_UPDATED, expected, repr(stamp[:60]))
    found = _STAMP.fullmatch(text)
    if not found:
        raise wrong
    year, month, day, hour, minute, second, part, zone = found.groups()
    fraction = (part or ".")[1:4].ljust(3, "0") if part else "000"
    try:
        clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}.{fraction}"
        offset = "+00:00" if zone in (None, "Z") else zone
        begins = datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}T{clock}{offset}")
        if day is None:
            ends = (begins + timedelta(days=31 if month else 366)).replace(day=1)
            ends = ends if month else ends.replace(month=1)
        elif part:
            ends = begins + timedelta(milliseconds=1)
        else:
            ends = begins + (
                timedelta(seconds=1) if second else timedelta(minutes=1) if minute else timedelta(days=1)
            )
    except (ValueError, OverflowError) as problem:
        raise wrong from problem
    return _ms(begins), _ms(ends)


def _ms(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
