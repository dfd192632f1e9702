"""Passkeys on the page: a user's own, and signing in by one beside the PIN.

Browsers have them where the page is called by a name over HTTPS, and at `localhost`; anywhere else, and
without the extra `passkeys`, the page offers none and the PIN stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError, UntrustedError
from akazuba.governance import passkeys
from akazuba.governance.passkeys import MOST, MOST_BYTES, Host
from akazuba.governance.sessions import Started
from akazuba.web import access
from akazuba.web.pages import page
from akazuba.web.post import Records
from akazuba.web.staff import herself, keys_of

Done = TypeVar("Done")


def routes() -> list[BaseRoute]:
    return [
        Route("/sign-in/passkey", sign_in_options, methods=["POST"]),
        Route("/me/passkeys", own_page),
        Route("/me/passkeys", add, methods=["POST"]),
        Route("/me/passkeys/options", add_options, methods=["POST"]),
        Route("/me/passkeys/remove", remove, methods=["POST"]),
    ]


# --- signing in -----------------------------------------------------------------------------------------


async def sign_in_options(request: Request) -> Response:
    """What the browser asks a passkey of that user for. The answer comes to `/sign-in`, as a PIN does."""
    form = await access.posted(request)
    who, host, tablet = access.field(form, "user", 80), needed(request), access.visitor(request).tablet

    def work(kept: Records) -> str:
        door = kept.entrance()
        return passkeys.begin_sign_in(door.store, host, who, tablet, door.now())

    options = await access.post_of(request).records(work)
    return Response(options, media_type="application/json")


def started(kept: Records, host: Host, answer: str, tablet: str, reason: str) -> Started:
    """The session of whose passkey answered. reason: as `Door.started` takes it.

    Raises InputError, LockedError.
    """
    door = kept.entrance()
    right = _in_words(lambda: passkeys.signed_in(door.store, host, answer, tablet, door.now()))
    return door.started(right, tablet, reason)


# --- where there can be any -----------------------------------------------------------------------------


def host_of(request: Request) -> Host | None:
    """As the tablet calls the box. None where no passkey can be: an address, a name without HTTPS, one that
    is none of the origins under which the box is served, a box without the extra.
    """
    try:
        called = f"{request.url.scheme}://{request.url.netloc}"
    except ValueError:
        return None
    host = _host(called)
    origins = getattr(request.app.state, "origins", ()) or (called,)
    return host if passkeys.installed() and host in [_host(origin) for origin in origins] else None


def needed(request: Request) -> Host:
    """Raises InputError where no passkey can be."""
    host = host_of(request)
    if host is None:
        found = "none" if passkeys.installed() else "a box without the extra `passkeys`"
        raise InputError("passkey", "the box called by its name over HTTPS", found)
    return host


def _host(origin: str) -> Host | None:
    try:
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        return Host(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    except (InputError, ValueError):
        return None


# --- one's own ------------------------------------------------------------------------------------------


async def own_page(request: Request, error: str = "", status: int = 200) -> Response:
    _, user = await herself(request)

    mine = await access.post_of(request).records(lambda kept: keys_of(kept.opened(), user))
    return await page(
        request,
        "staff_passkeys.html",
        status,
        path="/me/passkeys",
        mine=mine,
        more=len(mine) < MOST,
        host=host_of(request),
        error=error,
    )


async def add_options(request: Request) -> Response:
    """Her PIN first: a tablet left lying gives nobody a passkey."""
    form = await access.posted(request)
    _, user = await herself(request)
    pin, host, tablet = access.field(form, "current", 40), needed(request), access.visitor(request).tablet

    def work(kept: Records) -> str:
        door = kept.entrance()
        return passkeys.begin_registration(door.store, host, user.id, pin, tablet, door.now())

    options = await access.post_of(request).records(work)
    return Response(options, media_type="application/json")


async def add(request: Request) -> Response:
    """What the browser answered to `add_options` on this tablet."""
    form = await access.posted(request)
    _, user = await herself(request)
    tablet = access.visitor(request).tablet

    def work(kept: Records) -> object:
        door = kept.entrance()
        answer, host = access.field(form, "answer", MOST_BYTES), needed(request)
        return _in_words(lambda: passkeys.register(door.store, host, user.id, answer, tablet, door.now()))

    return await _then(request, work)


async def remove(request: Request) -> Response:
    form = await access.posted(request)
    _, user = await herself(request)

    def work(kept: Records) -> None:
        credential, because = access.field(form, "credential"), access.field(form, "because")
        passkeys.remove(kept.opened(), user.id, user.id, credential, because)

    return await _then(request, work)


async def _then(request: Request, work: Callable[[Records], object]) -> Response:
    """Back to the list, with what was wrong."""
    try:
        await access.post_of(request).records(work)
    except InputError as problem:
        return await own_page(request, str(problem), 422)
    return RedirectResponse("/me/passkeys", 303)


def _in_words(work: Callable[[], Done]) -> Done:
    """An answer that does not hold is refused like a wrong PIN, after it was logged."""
    try:
        return work()
    except UntrustedError as problem:
        raise InputError(problem.item, problem.expected, problem.found) from problem
