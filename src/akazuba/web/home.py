"""The first screen, how the box stands, the language, and what a tablet needs to work offline."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba import __version__
from akazuba.errors import InputError
from akazuba.web import access
from akazuba.web.pages import page
from akazuba.wording.catalogue import languages

STATIC = Path(__file__).parent / "static"


def routes() -> list[BaseRoute]:
    return [
        Route("/", first),
        Route("/state", state),
        Route("/language", language, methods=["POST"]),
        Route("/sw.js", worker),
        Route("/manifest.webmanifest", manifest),
    ]


async def first(request: Request) -> Response:
    return await page(request, "home.html")


async def state(request: Request) -> Response:
    """What the page asks for every few seconds, and when it comes back: no patient's data."""
    post, who = access.post_of(request), access.visitor(request)
    session = await access.signed_in(request)
    alarms = await post.records(
        lambda kept: [w for w in kept.queue.waiting() if w.alarms and not w.acknowledged]
    )
    known = {
        "state": post.state,
        "user": session[1].name if session else None,
        "role": session[1].role if session else None,
        "language": who.language,
        "csrf": who.csrf,
        "alarms": len(alarms),
        "loudest": max((w.alarms for w in alarms), default=0),
        "version": __version__,
    }
    response = JSONResponse(known)
    access.remember(request, response)
    return response


async def language(request: Request) -> Response:
    form = await access.posted(request)
    wanted, back = access.field(form, "language", 8), access.field(form, "back", 500)
    if wanted not in languages():
        raise InputError("language", "one of " + ", ".join(languages()), repr(wanted))
    response = RedirectResponse(back if own_path(back) else "/", 303)
    access.set_cookie(request, response, access.LANGUAGE, wanted, access.YEAR_S)
    return response


def own_path(path: str) -> bool:
    r"""A path of this box, and no other server's.

    >>> [own_path(path) for path in ("/queue", "//evil.example", "https://evil.example", "/\\evil.example")]
    [True, False, False, False]
    """
    return path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()


async def worker(_: Request) -> Response:
    """From the root, so that the whole page is in its scope."""
    return FileResponse(STATIC / "sw.js", media_type="text/javascript", headers={"Cache-Control": "no-cache"})


async def manifest(_: Request) -> Response:
    return FileResponse(STATIC / "manifest.webmanifest", media_type="application/manifest+json")
