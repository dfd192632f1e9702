"""Who waits, in the order in which to see them, with what is due and who answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError
from akazuba.governance.audit_reads import record_search
from akazuba.governance.course import record_acknowledged
from akazuba.governance.sessions import Session
from akazuba.governance.site_rules import verdict_here
from akazuba.governance.users import NOBODY, User
from akazuba.page import LEVELS
from akazuba.waiting.queue import Waiting, system_now
from akazuba.web import access
from akazuba.web.assessment_view import ICONS
from akazuba.web.consulting import newest_of
from akazuba.web.pages import fragment, page
from akazuba.web.post import Records

DEEDS = ("acknowledge", "seen", "left")
MOST_SHOWN = 200
"""Lines; the most urgent stand first."""


@dataclass(frozen=True)
class Line:
    """One who waits. minutes: since she came. calls: alarms that nobody answers. assessment: its index, where
    it was recorded. name: for who may see patients, else "".
    """

    entry: Waiting
    title: str
    icon: str
    minutes: int
    calls: int
    assessment: int | None
    name: str


def routes() -> list[BaseRoute]:
    return [
        Route("/queue", queue_page),
        Route("/queue/rows", rows),
        Route("/queue/{case}/{deed:str}", answer, methods=["POST"]),
    ]


async def queue_page(request: Request) -> Response:
    return await page(request, "queue.html", lines=await _shown(request))


async def rows(request: Request) -> Response:
    """What the queue's page asks for again and again, whether or not anybody is there."""
    return fragment(request, "queue_rows.html", lines=await _shown(request, use=False))


async def _shown(request: Request, *, use: bool = True) -> list[Line]:
    session = await access.signed_in(request, use=use)
    return await access.post_of(request).records(lambda kept: _lines(kept, session))


def _lines(kept: Records, session: tuple[Session, User] | None) -> list[Line]:
    now, waiting, store = system_now(), kept.queue.waiting()[:MOST_SHOWN], kept.store
    calls = kept.queue.calls()
    newest = {entry.case_id: newest_of(store, entry.case_id) if store else None for entry in waiting}
    names = _names(kept, session, [index for index in newest.values() if index is not None])
    return [
        Line(
            entry,
            LEVELS[entry.level][0],
            ICONS[entry.level],
            int(min(now.since(entry.arrived), 86_400 * 30) // 60),
            calls.get(entry.case_id, 0),
            newest[entry.case_id],
            names.get(newest[entry.case_id], ""),
        )
        for entry in waiting
    ]


def _names(kept: Records, session: tuple[Session, User] | None, indices: list[int]) -> dict[int | None, str]:
    """By the assessment's index. That they are shown is in the log, once a session for each patient."""
    if (
        kept.store is None
        or session is None
        or not verdict_here(kept.store, session[1].role, "see-patients").allowed
    ):
        return {}
    (opened, user), store = session, kept.store
    entries = {index: store.entry(index) for index in indices}
    patients = {index: entry.patient for index, entry in entries.items() if entry.body is not None}
    names = {patient: store.person(patient).name for patient in patients.values() if patient}
    fresh = sorted(patient for patient in names if (opened.name, patient) not in kept.named)
    if fresh:
        record_search(store, fresh, user.id, "names in the queue", len(fresh))
        kept.named.update((opened.name, patient) for patient in fresh)
    return {index: names[patient] for index, patient in patients.items() if patient}


async def answer(request: Request) -> Response:
    """Somebody is on the way (acknowledge), has seen her (seen), or she went away (left).

    Whoever runs to her need not sign in first, but without a name the alarm comes back; who takes her off the
    queue needs the right to record, once the box is unlocked.
    """
    form = await access.posted(request)
    case, deed = request.path_params["case"], request.path_params["deed"]
    if deed not in DEEDS:
        raise InputError("queue", ", ".join(DEEDS), repr(deed[:20]))
    session = await access.signed_in(request)
    if deed != "acknowledge" and access.post_of(request).state == "open":
        await access.demand(request, "record")
    by = session[1].id if session else NOBODY
    why = access.field(form, "why", 500)

    def work(kept: Records) -> None:
        if deed == "acknowledge":
            before = next((w for w in kept.queue.waiting() if w.case_id == case), None)
            kept.queue.acknowledge(case, by)
            index = newest_of(kept.store, case) if kept.store else None
            if kept.store and index is not None and before:
                waited = system_now().since(before.triaged or before.arrived)
                with suppress(InputError):  # she was erased meanwhile; she is still a patient who waits
                    record_acknowledged(kept.store, by, index, waited if waited < 1e9 else None)
        elif deed == "seen":
            kept.queue.seen(case, by)
        else:
            kept.queue.left(case, why or "not said")

    await access.post_of(request).records(work)
    if "x-fragment" in request.headers:
        return await rows(request)
    return RedirectResponse("/queue", 303)
