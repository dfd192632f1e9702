"""The first screen, how the box stands, the language, and what a tablet needs to work offline."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba import __version__
from akazuba.errors import InputError
from akazuba.governance.roles import LIMITS
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
    """What the page asks for every few seconds, and when it comes back: no patient's data.

    With `?quiet` nobody is asked for: a page that lies open is no use of a session. The clock is the box's,
    for tablets whose own is wrong.
    """
    post, who = access.post_of(request), access.visitor(request)
    known: dict[str, object] = {}
    if "quiet" not in request.query_params:
        session = await access.signed_in(request)
        user = session[1] if session else None
        known = {
            "user": user.name if user else None,
            "user_id": user.id if user else None,
            "role": user.role if user else None,
            "idle_s": LIMITS[user.role].idle_s if user else None,
        }
    calls = await post.records(lambda kept: kept.queue.calls())
    now = datetime.now().astimezone()
    offset = now.utcoffset() or timedelta()
    known |= {
        "state": post.state,
        "language": who.language,
        "csrf": who.csrf,
        "tablet": who.tablet,
        "alarms": len(calls),
        "loudest": max(calls.values(), default=0),
        "version": __version__,
        "shell": shell_version(tuple(post.plugins.digests.values())),
        "clock": {"ms": int(now.timestamp() * 1000), "offset_min": int(offset.total_seconds() // 60)},
    }
    response = JSONResponse(known)
    access.remember(request, response)
    return response


@cache
def shell_version(plugins: tuple[str, ...] = ()) -> str:
    """Of what a tablet keeps to open the page without the box: another one is fetched anew.

    plugins: digests of those that are on, whose languages, sensors and kinds of image the page lists.
    """
    folder = Path(__file__).parent
    files = sorted((*folder.glob("static/*"), *folder.glob("templates/*")))
    parts = [sha256(file.read_bytes()).digest() for file in files]
    return sha256(b"".join((*parts, *map(str.encode, plugins)))).hexdigest()[:12]


async def language(request: Request) -> Response:
    form = await access.posted(request)
    wanted, back = access.field(form, "language", 8), access.field(form, "back", 500)
    known = languages(access.post_of(request).plugins.languages)
    if wanted not in known:
        raise InputError("language", "one of " + ", ".join(known), repr(wanted))
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
