"""Who waits, in the order in which to see them, with what is due and who answers."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError
from akazuba.governance.course import record_acknowledged
from akazuba.governance.users import NOBODY
from akazuba.page import LEVELS
from akazuba.waiting.queue import Waiting, system_now
from akazuba.web import access
from akazuba.web.assessment_view import ICONS
from akazuba.web.consulting import newest_of
from akazuba.web.pages import fragment, page
from akazuba.web.post import Records

DEEDS = ("acknowledge", "seen", "left")


@dataclass(frozen=True)
class Line:
    """One who waits. minutes: since she came. assessment: its index, where it was recorded."""

    entry: Waiting
    title: str
    icon: str
    minutes: int
    assessment: int | None


def routes() -> list[BaseRoute]:
    return [
        Route("/queue", queue_page),
        Route("/queue/rows", rows),
        Route("/queue/{case}/{deed:str}", answer, methods=["POST"]),
    ]


async def queue_page(request: Request) -> Response:
    return await page(request, "queue.html", lines=await access.post_of(request).records(_lines))


async def rows(request: Request) -> Response:
    """What the queue's page asks for again and again."""
    return fragment(request, "queue_rows.html", lines=await access.post_of(request).records(_lines))


def _lines(kept: Records) -> list[Line]:
    now = system_now()
    return [
        Line(
            entry,
            LEVELS[entry.level][0],
            ICONS[entry.level],
            int(min(now.since(entry.arrived), 86_400 * 30) // 60),
            newest_of(kept.store, entry.case_id) if kept.store else None,
        )
        for entry in kept.queue.waiting()
    ]


async def answer(request: Request) -> Response:
    """Somebody is on the way (acknowledge), has seen her (seen), or she went away (left).

    Whoever runs to her need not sign in first; who takes her off the queue does, once the box is unlocked.
    """
    form = await access.posted(request)
    case, deed = request.path_params["case"], request.path_params["deed"]
    if deed not in DEEDS:
        raise InputError("queue", ", ".join(DEEDS), repr(deed[:20]))
    session = await access.signed_in(request)
    if deed != "acknowledge" and session is None and access.post_of(request).state == "open":
        raise access.SignInNeededError("nobody is signed in on this tablet")
    by = session[1].id if session else NOBODY
    why = access.field(form, "why", 500)

    def work(kept: Records) -> None:
        if deed == "acknowledge":
            before = next((w for w in kept.queue.waiting() if w.case_id == case), None)
            kept.queue.acknowledge(case, by)
            index = newest_of(kept.store, case) if kept.store else None
            if kept.store and index is not None and before:
                waited = system_now().since(before.triaged or before.arrived)
                record_acknowledged(kept.store, by, index, waited if waited < 1e9 else None)
        elif deed == "seen":
            kept.queue.seen(case, by)
        else:
            kept.queue.left(case, why or "not said")

    await access.post_of(request).records(work)
    if "x-fragment" in request.headers:
        return await rows(request)
    return RedirectResponse("/queue", 303)
