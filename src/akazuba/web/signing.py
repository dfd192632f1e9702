"""Unlocking the box, signing in by PIN or passkey, changing over on a tablet, breaking glass, locking up."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError
from akazuba.governance.passkeys import MOST_BYTES, offered
from akazuba.governance.pins import system_moment
from akazuba.governance.roles import BEHIND_GLASS, known_action
from akazuba.governance.sessions import Granted, Started
from akazuba.governance.signing_in import begun, ended
from akazuba.governance.users import users
from akazuba.web import access, passkeys
from akazuba.web.home import own_path
from akazuba.web.pages import page
from akazuba.web.post import Post, Records


def routes() -> list[BaseRoute]:
    return [
        Route("/unlock", unlock_page),
        Route("/unlock", unlock, methods=["POST"]),
        Route("/lock", lock, methods=["POST"]),
        Route("/sign-in", sign_in_page),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/glass", break_glass, methods=["POST"]),
    ]


async def unlock_page(request: Request) -> Response:
    return await page(request, "unlock.html", error="")


async def unlock(request: Request) -> Response:
    """The day's passphrase. Wrong ones cost about a fifth of a second each, and few a minute are taken."""
    form = await access.posted(request)
    passphrase = access.field(form, "passphrase", 1000)
    try:
        merged = await access.post_of(request).unlock(passphrase)
    except InputError as problem:
        return await page(request, "unlock.html", 422, error=str(problem))
    if merged.entries or merged.unreadable:
        return await page(request, "unlocked.html", merged=merged)
    return RedirectResponse("/sign-in", 303)


async def lock(request: Request) -> Response:
    """The day is over. Whoever is signed in may lock up; helping goes on without records."""
    await access.posted(request)
    if await access.signed_in(request) is None:
        raise access.SignInNeededError("nobody is signed in on this tablet")
    access.post_of(request).shown.forget()
    access.post_of(request).looked.forget()
    await access.post_of(request).records(lambda kept: kept.lock())
    return RedirectResponse("/", 303)


async def sign_in_page(request: Request, error: str = "", status: int = 200) -> Response:
    """Names are shown only while the box is unlocked, of users who may sign in; who has a passkey is not."""
    host = passkeys.host_of(request)

    def work(kept: Records) -> tuple[list[tuple[str, str]], bool]:
        if kept.store is None:
            return [], False
        tablet = access.visitor(request).tablet
        people = [(user.id, user.name) for user in users(kept.store).values() if user.usable_on(tablet)]
        return people, host is not None and offered(kept.store, host)

    people, passkey = await access.post_of(request).records(work)
    back = request.query_params.get("next", "/")
    return await page(
        request,
        "sign_in.html",
        status,
        error=error,
        people=people,
        passkey=passkey,
        back=back if own_path(back) else "/",
    )


async def sign_in(request: Request) -> Response:
    """By PIN, or by what a passkey answered to `/sign-in/passkey`."""
    form = await access.posted(request)
    who, pin = access.field(form, "user", 80), access.field(form, "pin", 40)
    answer, reason = access.field(form, "answer", MOST_BYTES), access.field(form, "reason", 500)
    back, visitor = access.field(form, "next", 500) or "/", access.visitor(request)

    def by_key(kept: Records) -> Started:
        return passkeys.started(kept, passkeys.needed(request), answer, visitor.tablet, reason)

    post = access.post_of(request)
    try:
        started = (
            await post.records(by_key)
            if answer and not pin
            else await _by_pin(post, who, pin, visitor.tablet, reason)
        )
    except InputError as problem:
        if "x-fragment" in request.headers:
            raise
        return await sign_in_page(request, str(problem), 422)
    back = back if own_path(back) else "/"
    response: Response = (
        JSONResponse({"wrong_before": started.wrong_before})
        if "x-fragment" in request.headers
        else await page(request, "signed_in.html", wrong_before=started.wrong_before, back=back)
        if started.wrong_before
        else RedirectResponse(back, 303)
    )
    access.set_cookie(request, response, access.SESSION, started.token)
    access.remember(request, response)
    return response


async def _by_pin(post: Post, who: str, pin: str, tablet: str, reason: str) -> Started:
    """The attempt is counted, then compared beside the records, then told what came of it."""
    trial = await post.records(lambda kept: begun(kept.opened(), who, tablet, system_moment()))
    right = await post.compared(lambda: trial.kept.is_of(pin))

    def work(kept: Records) -> Started:
        return kept.entrance().started(ended(kept.opened(), trial, right=right), tablet, reason)

    return await post.records(work)


async def sign_out(request: Request) -> Response:
    await access.posted(request)
    who = access.visitor(request)
    if await access.signed_in(request) is not None:
        await access.post_of(request).records(lambda kept: kept.entrance().end(who.token, who.tablet))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(access.SESSION, path="/")
    return response


async def break_glass(request: Request) -> Response:
    """One right for one patient for half an hour, with a written reason that a supervisor reads."""
    form = await access.posted(request)
    action, who = known_action(access.field(form, "action", 40)), access.visitor(request)
    patient, reason = access.field(form, "patient", 80), access.field(form, "reason")
    if await access.signed_in(request) is None:
        raise access.SignInNeededError("nobody is signed in on this tablet")

    def work(kept: Records) -> Granted:
        return kept.entrance().break_glass(who.token, who.tablet, action, patient, reason)

    granted = await access.post_of(request).records(work)
    return Response(
        msgspec.json.encode({"granted": granted.verdict.allowed, "why": granted.verdict.why}),
        media_type="application/json",
    )


def may_break(role: str) -> frozenset[str]:
    """What lies behind glass for a role."""
    return frozenset(action for known, actions in BEHIND_GLASS.items() if known == role for action in actions)
