"""The audit log on the tablet, for auditors: whether it is whole, who did how much, how old its anchors are.

Nothing of what patients' entries hold is shown, nor what was typed about them elsewhere. All of it is read
beside the lane that records.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import AkazubaError, ArtefactError, InputError
from akazuba.governance.audit import Problem, Verdict
from akazuba.governance.audit_anchors import last_note, origin, verify_kept
from akazuba.governance.checkpoint import read_checkpoint, read_note
from akazuba.governance.glass import acknowledge, shown_break_glass
from akazuba.governance.witness import as_lines_for_qr
from akazuba.merkle import consistency_proof
from akazuba.storage.store import Head, Store
from akazuba.web import access, charts
from akazuba.web.beside import CHECKS, beside
from akazuba.web.pages import page
from akazuba.web.post import Post, now_ms

ROWS = 50
DAYS = 14
DAY_MS = 86_400_000
MOST_COUNTED = 20_000
"""Entries that one page counts; of a busier fortnight the newest."""

PATIENCE_S = 20.0
"""How long a page waits for a verification before it says that it is still running."""

STALE_S, UNSEEN_S = 24 * 3600, 14 * 86_400
"""When a checkpoint that only lies here, and a log that no witness saw, are called old."""

REFUSALS = ("access-refused", "sign-in-failed", "sign-in-refused")
READS = ("read", "export")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "patients and consultations": (
        "case",
        "source",
        "picture",
        "assessment",
        "basis",
        "decision",
        "outcome",
        "patient",
    ),
    "reads": READS,
    "sign-ins": ("sign-in", "session-started", "session-ended"),
    "refusals": REFUSALS,
}
OTHER = "other entries"


@dataclass(frozen=True)
class Row:
    """The head of an entry. at: in words, UTC."""

    index: int
    at: str
    kind: str
    by: str
    patient: str


@dataclass(frozen=True)
class Refused:
    at: str
    by: str
    kind: str
    what: str
    why: str
    where: str


@dataclass(frozen=True)
class Anchor:
    """A checkpoint. at_s: since 1970, as the log said, None when it did not."""

    size: int
    at_s: int | None
    by: tuple[str, ...] = ()

    @property
    def at(self) -> str:
        return "" if self.at_s is None else moment(self.at_s * 1000)

    def older_than(self, now_s: float, limit_s: float) -> bool:
        return self.at_s is None or now_s - self.at_s > limit_s


@dataclass(frozen=True)
class Look:
    """counted: how many entries the sums are of, since `since`. older: where the next page begins."""

    origin: str
    size: int
    rows: tuple[Row, ...]
    older: int | None
    since: str
    counted: int
    days: tuple[str, ...]
    per_day: Mapping[str, tuple[int, ...]]
    readers: tuple[tuple[str, int, int], ...]
    refusals: tuple[Refused, ...]
    glass: tuple[Row, ...]
    last: Anchor | None
    cosigned: Anchor | None


@dataclass
class Check:
    """A verification, running or done."""

    started_ms: int
    task: asyncio.Task[Verdict]


def routes() -> list[BaseRoute]:
    return [
        Route("/log", log_page),
        Route("/log/verify", verify, methods=["POST"]),
        Route("/log/checkpoint", checkpoint_page),
        Route("/glass", glass_page),
        Route("/glass/{index:int}/seen", glass_seen, methods=["POST"]),
    ]


async def log_page(request: Request) -> Response:
    await access.demand(request, "read-log")
    before = _number(request, "before")
    look = await beside(access.post_of(request), lambda store: looked(store, before, now_ms()))
    chart = charts.bars("", look.days, look.per_day)
    check = _check(request.app)
    return await page(
        request,
        "log.html",
        look=look,
        chart=chart,
        running=check is not None and not check.task.done(),
        verdict=check.task.result() if check and check.task.done() and not check.task.cancelled() else None,
        verified=moment(check.started_ms) if check else "",
        stale=look.last is None or look.last.older_than(now_ms() / 1000, STALE_S),
        unseen=look.cosigned is None or look.cosigned.older_than(now_ms() / 1000, UNSEEN_S),
    )


async def verify(request: Request) -> Response:
    """Every entry hashed anew, once at a time however many ask."""
    await access.posted(request)
    await access.demand(request, "read-log")
    post, check = access.post_of(request), _check(request.app)
    if check is None or check.task.done():
        check = Check(now_ms(), asyncio.create_task(_verified(post)))
        request.app.state.log_check = check
    await asyncio.wait({check.task}, timeout=PATIENCE_S)
    return RedirectResponse("/log#verified", 303)


async def _verified(post: Post) -> Verdict:
    """Whatever keeps the log from being read is a problem of the log."""
    home = post.settings.home
    try:
        return await beside(post, lambda store: verify_kept(home, store), CHECKS)
    except AkazubaError as problem:
        return Verdict(0, b"", (Problem(str(problem)),), 0, ())


def _check(app: Starlette) -> Check | None:
    return getattr(app.state, "log_check", None)


async def checkpoint_page(request: Request) -> Response:
    """The last checkpoint to carry away, with the proof for a witness who saw `since` entries."""
    await access.demand(request, "read-log")
    since = _number(request, "since")

    def work(store: Store) -> tuple[str, int, list[bytes]]:
        note = last_note(store)
        size = read_checkpoint(read_note(note).text).size
        if since is not None and since > size:
            raise InputError("since", f"at most {size} entries", str(since))
        return note, size, consistency_proof(since, size, store.node) if since else []

    note, size, proof = await beside(access.post_of(request), work)
    return await page(
        request,
        "log_checkpoint.html",
        note=note + "".join(f"{hash_.hex()}\n" for hash_ in proof),
        codes="\n".join(as_lines_for_qr(note, proof)),
        size=size,
        since=since,
    )


async def glass_page(request: Request) -> Response:
    """Every broken glass until a supervisor has looked into it; that she reads this is recorded first."""
    granted = await access.demand(request, "acknowledge-glass")
    broken = await access.post_of(request).records(
        lambda kept: shown_break_glass(kept.opened(), granted.user.id)
    )
    rows = [(each, moment(each.at_ms)) for each in broken]
    return await page(request, "glass.html", rows=rows, me=granted.user.id)


async def glass_seen(request: Request) -> Response:
    form = await access.posted(request)
    granted = await access.demand(request, "acknowledge-glass")
    index, note = request.path_params["index"], access.field(form, "note")
    await access.post_of(request).records(
        lambda kept: acknowledge(kept.opened(), granted.user.id, index, note)
    )
    return RedirectResponse("/glass", 303)


# --- what a look finds ----------------------------------------------------------------------------------


def looked(store: Store, before: int | None, now: int) -> Look:
    """before: the index above the newest row, None for the end of the log. now: milliseconds since 1970."""
    size = store.size
    end = size if before is None else max(0, min(before, size))
    first_row = max(0, end - ROWS)
    rows = [_row(head) for head, _ in islice(store.heads(first_row), end - first_row)] if end else []
    from_ms = (now // DAY_MS - DAYS + 1) * DAY_MS
    first = max(first_since(store, from_ms), size - MOST_COUNTED)
    heads = [head for head, _ in store.heads(first) if head[1] >= from_ms]
    days = tuple(_day(from_ms + number * DAY_MS) for number in range(DAYS))
    return Look(
        origin=origin(store),
        size=size,
        rows=tuple(reversed(rows)),
        older=first_row or None,
        since=days[0],
        counted=len(heads),
        days=tuple(day[5:] for day in days),
        per_day=_per_day(heads, days),
        readers=_readers(heads),
        refusals=_refusals(store, first),
        glass=tuple(_waiting_glass(store)),
        last=_last(store),
        cosigned=_cosigned(store),
    )


def first_since(store: Store, at_ms: int) -> int:
    """The first entry of that time or later, found by halving: a clock that was set back makes it an earlier
    or a later one.
    """
    low, high = 0, store.size
    while low < high:
        middle = (low + high) // 2
        if next(store.heads(middle))[0][1] < at_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _per_day(heads: Sequence[Head], days: Sequence[str]) -> dict[str, tuple[int, ...]]:
    group_of = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
    counts = Counter((group_of.get(head[2], OTHER), _day(head[1])) for head in heads)
    return {group: tuple(counts[group, day] for day in days) for group in (*GROUPS, OTHER)}


def _readers(heads: Sequence[Head]) -> tuple[tuple[str, int, int], ...]:
    """Who read most: by whom, how many reads, of how many patients."""
    reads, patients = Counter[str](), defaultdict[str, set[str]](set)
    for _, _, kind, by, patient in heads:
        if kind in READS:
            reads[by] += 1
            patients[by].add(patient)
    return tuple((by, number, len(patients[by])) for by, number in reads.most_common(10))


class _Said(msgspec.Struct, frozen=True):
    """Of the bodies of refusals what holds no patient's data. where: the tablet."""

    action: str = ""
    why: str = ""
    where: str = ""
    tablet: str = ""


def _refusals(store: Store, first: int) -> tuple[Refused, ...]:
    entries = [entry for kind in REFUSALS for entry in store.entries(kind=kind, first=first)]
    entries.sort(key=lambda entry: entry.index, reverse=True)
    found = []
    for entry in entries[:ROWS]:
        try:
            said = msgspec.json.decode(entry.body or b"{}", type=_Said)
        except msgspec.MsgspecError as problem:
            raise ArtefactError(f"entry {entry.index}", f"a `{entry.kind}`", str(problem)) from problem
        where = said.where or said.tablet
        found.append(Refused(moment(entry.at_ms), entry.by, entry.kind, said.action, said.why, where))
    return tuple(found)


class _Seen(msgspec.Struct, frozen=True):
    index: int = -1


def _waiting_glass(store: Store) -> list[Row]:
    """That it was broken; the reason is the patient's and the supervisors'."""
    seen = {
        msgspec.json.decode(entry.body or b"{}", type=_Seen).index
        for entry in store.entries(kind="break-glass-seen")
    }
    return [
        Row(e.index, moment(e.at_ms), e.kind, e.by, e.patient)
        for e in store.entries(kind="break-glass")
        if e.index not in seen
    ]


def _last(store: Store) -> Anchor | None:
    try:
        stand = read_checkpoint(read_note(last_note(store)).text)
    except InputError:
        return None
    return Anchor(stand.size, stand.stated("time"))


class _Cosigned(msgspec.Struct, frozen=True):
    size: int
    witnesses: dict[str, int]


def _cosigned(store: Store) -> Anchor | None:
    """The newest that a witness cosigned, as the log wrote down when it came back."""
    newest = None
    for newest in store.entries(kind="cosigned"):  # noqa: B007 - the last one is meant
        pass
    if newest is None:
        return None
    said = msgspec.json.decode(newest.body or b"", type=_Cosigned)
    return Anchor(said.size, max(said.witnesses.values(), default=None), tuple(sorted(said.witnesses)))


def _row(head: Head) -> Row:
    index, at_ms, kind, by, patient = head
    return Row(index, moment(at_ms), kind, by, patient)


def moment(at_ms: int) -> str:
    """UTC, to the minute.

    >>> moment(1_790_000_000_000)
    '2026-09-21 14:13 UTC'
    """
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"


def _day(at_ms: int) -> str:
    return moment(at_ms)[:10]


def _number(request: Request, name: str) -> int | None:
    """Of the address. Raises InputError for what is no number from 0 on."""
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise InputError(name, "a number from 0 on", repr(text[:40]))
    return int(text) if text else None
