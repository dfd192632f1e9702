"""The routes of every area put together, and what becomes of an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from akazuba.errors import AkazubaError, ArtefactError, InputError, LockedError, OutOfTimeError
from akazuba.web import (
    alarms,
    consents,
    consultation,
    energy_screen,
    follow_up,
    home,
    log_screen,
    more,
    passkeys,
    patient_deeds,
    patients,
    printing,
    privacy_screen,
    queue_screen,
    signing,
    staff,
)
from akazuba.web.access import SignInNeededError
from akazuba.web.doors import dicom, fhir, hooks, rest, tokens, witness
from akazuba.web.guard import Guard, Pace, TooLargeError
from akazuba.web.pages import page
from akazuba.web.post import CHECKPOINT_S, Post

STATIC = Path(str(resources.files("akazuba.web"))) / "static"
STATUS = (
    (LockedError, 423),
    (OutOfTimeError, 503),
    (InputError, 422),
    (ArtefactError, 500),
    (AkazubaError, 500),
)


def create_app(
    post: Post,
    *,
    secure: bool = False,
    origins: Sequence[str] = (),
    any_pace: Pace | None = None,
    keys_pace: Pace | None = None,
    nameless_pace: Pace | None = None,
) -> Starlette:
    """post: is closed by whoever opened it. secure: served by HTTPS. origins: https://NAME:PORT under which
    it is called, for which tokens are made; without them what a request says itself.
    """
    areas = (
        home,
        signing,
        consultation,
        energy_screen,
        queue_screen,
        tokens,
        rest,
        fhir,
        hooks,
        dicom,
        witness,
        log_screen,
        more,
        privacy_screen,
        staff,
        passkeys,
        patients,
        patient_deeds,
        consents,
        printing,
        follow_up,
    )
    routes: list[BaseRoute] = [route for area in areas for route in area.routes()]
    # Only what holds no secret is compressed: a page's length would tell about its token (BREACH).
    static = GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=500)
    routes.append(Mount("/static", static, name="static"))
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                Guard,
                secure=secure,
                any_pace=any_pace,
                keys_pace=keys_pace,
                used=energy_screen.in_use(post.settings.home),
            )
        ],
        exception_handlers={
            AkazubaError: _failed,
            SignInNeededError: _sign_in,
            TooLargeError: _too_large,
            HTTPException: _http,
        },
        lifespan=_running,
    )
    app.state.post, app.state.origins = post, tuple(origins)
    app.state.nameless = nameless_pace or Pace(240, 1)
    return app


@asynccontextmanager
async def _running(app: Starlette) -> AsyncIterator[None]:
    """Raises alarms and takes checkpoints as long as the page is served."""
    tasks = [
        asyncio.create_task(alarms.raising(app.state.post)),
        asyncio.create_task(_anchoring(app.state.post)),
        asyncio.create_task(dicom.watch(app.state.post)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _anchoring(post: Post) -> None:
    while True:
        await asyncio.sleep(CHECKPOINT_S)
        with suppress(AkazubaError):  # a full disk, say: what is recorded meets it too, and is shown there
            await post.records(lambda kept: kept.checkpoint())


async def _failed(request: Request, problem: Exception) -> Response:
    status = next(status for kind, status in STATUS if isinstance(problem, kind))
    if isinstance(problem, tokens.TokenError):
        return JSONResponse({"error": str(problem)}, problem.status, problem.headers)
    if isinstance(problem, InputError) and problem.item in ("right", "form"):
        status = 403
    return await _error(request, status, str(problem))


async def _sign_in(request: Request, problem: Exception) -> Response:
    why = getattr(problem, "why", "")
    if _wants_page(request) and request.method == "GET":
        return RedirectResponse(f"/sign-in?next={request.url.path}", 303)
    return await _error(request, 401, f"session: expected one that is open: sign in, found {why}")


async def _too_large(request: Request, problem: Exception) -> Response:
    return await _error(request, 413, str(problem))


async def _http(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    found = {404: "page: expected one of this box, found none", 405: "method: expected another, found this"}
    detail = problem.detail if isinstance(problem, HTTPException) else ""
    return await _error(request, status, found.get(status, detail))


async def _error(request: Request, status: int, error: str) -> Response:
    if _wants_page(request):
        return await page(request, "error.html", status, error=error, code=status)
    return JSONResponse({"error": error}, status)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and "x-fragment" not in request.headers


def route_paths(routes: Iterable[BaseRoute]) -> list[str]:
    return [getattr(route, "path", "") for route in routes]
