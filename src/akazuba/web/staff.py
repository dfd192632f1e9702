"""Users as supervisors manage them, and what everybody does with her own PIN and sessions.

A PIN is typed twice by whoever it belongs to, on the tablet; nobody else learns it and no page repeats it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError
from akazuba.governance import passkeys, users
from akazuba.governance.pins import MOST, system_moment
from akazuba.governance.roles import ACTIONS, LIMITS, MAY, ROLES, known_role
from akazuba.governance.sessions import Session
from akazuba.governance.signing_in import set_pin
from akazuba.governance.users import User
from akazuba.storage.store import Store
from akazuba.web import access
from akazuba.web.log_screen import moment
from akazuba.web.pages import page
from akazuba.web.post import Records


def routes() -> list[BaseRoute]:
    return [
        Route("/staff", staff_page),
        Route("/staff/add", add, methods=["POST"]),
        Route("/staff/{user}/{deed}", deed, methods=["POST"]),
        Route("/me", me_page),
        Route("/me/pin", own_pin, methods=["POST"]),
        Route("/me/end", end_own, methods=["POST"]),
    ]


async def staff_page(request: Request, error: str = "", status: int = 200, name: str = "") -> Response:
    """name: what was typed for a new user, when it was not taken."""
    granted = await access.demand(request, "manage-users")
    who = access.visitor(request)

    def work(kept: Records) -> list[tuple[User, int, list[Key]]]:
        store, door = kept.opened(), kept.entrance()
        return [
            (user, len(door.sessions(who.token, who.tablet, user.id)), keys_of(store, user))
            for user in users.users(store).values()
        ]

    people = await access.post_of(request).records(work)
    people.sort(key=lambda one: (one[0].disabled, one[0].name.casefold()))
    return await page(
        request,
        "staff.html",
        status,
        people=people,
        me=granted.user.id,
        roles=ROLES,
        rights={role: [ACTIONS[action] for action in ACTIONS if action in MAY[role]] for role in ROLES},
        least={role: LIMITS[role].pin_least for role in ROLES},
        most=MOST,
        error=error,
        typed=name,
    )


async def add(request: Request) -> Response:
    form = await access.posted(request)
    granted = await access.demand(request, "manage-users")
    name = access.field(form, "name", 200)

    def work(kept: Records) -> User:
        role, pin = known_role(access.field(form, "role", 20)), typed_twice(form)
        return users.add(kept.opened(), granted.user.id, name, role, pin)

    return await _then(request, work, name)


async def deed(request: Request) -> Response:
    """Disables (because), gives another role (role, pin), resets (with a new pin or without), ends all
    sessions or removes a passkey (credential, because, sure) of another user.
    """
    form = await access.posted(request)
    granted = await access.demand(request, "manage-users")
    known = DEEDS.get(request.path_params["deed"])
    if known is None:
        raise InputError("deed", ", ".join(DEEDS), repr(request.path_params["deed"][:40]))
    asked = Asked(granted.user.id, request.path_params["user"], form, access.visitor(request))
    return await _then(request, lambda kept: known(kept, asked))


async def _then(request: Request, work: Callable[[Records], object], name: str = "") -> Response:
    """Back to the list, with what was wrong."""
    try:
        await access.post_of(request).records(work)
    except InputError as problem:
        return await staff_page(request, str(problem), 422, name)
    return RedirectResponse("/staff", 303)


@dataclass(frozen=True)
class Asked:
    """by: the supervisor. who: the user it is about."""

    by: str
    who: str
    form: FormData
    visitor: access.Visitor


def _disable(kept: Records, asked: Asked) -> object:
    return users.disable(kept.opened(), asked.by, asked.who, access.field(asked.form, "because"))


def _role(kept: Records, asked: Asked) -> object:
    role = known_role(access.field(asked.form, "role", 20))
    return users.change_role(kept.opened(), asked.by, asked.who, role, typed_twice(asked.form))


def _reset(kept: Records, asked: Asked) -> object:
    """Without a new PIN the old one holds and wrong ones count from zero."""
    typed = access.field(asked.form, "pin", 40) or access.field(asked.form, "again", 40)
    return users.reset(kept.opened(), asked.by, asked.who, typed_twice(asked.form) if typed else None)


def _end(kept: Records, asked: Asked) -> object:
    return kept.entrance().end_all(asked.visitor.token, asked.visitor.tablet, asked.who)


def _passkey(kept: Records, asked: Asked) -> object:
    """Of a key that was lost. Her other passkeys, her PIN and her open sessions stay."""
    if asked.who == asked.by:
        raise InputError("user", "another one than oneself", asked.by)
    if access.field(asked.form, "sure", 5) != "yes":
        raise InputError("passkey", "the tick that it is gone for good", "none")
    credential, because = access.field(asked.form, "credential"), access.field(asked.form, "because")
    passkeys.remove(kept.opened(), asked.by, asked.who, credential, because)
    return None


DEEDS: dict[str, Callable[[Records, Asked], object]] = {
    "disable": _disable,
    "role": _role,
    "reset": _reset,
    "end": _end,
    "passkey": _passkey,
}


def typed_twice(form: FormData) -> str:
    """A new PIN. Raises InputError, which does not repeat it."""
    pin = access.field(form, "pin", 40)
    if access.field(form, "again", 40) != pin:
        raise InputError("new PIN", "the same one typed twice", "two different ones")
    return pin


@dataclass(frozen=True)
class Key:
    """A passkey that counts. added: day and time."""

    credential: str
    host: str
    index: int
    added: str


def keys_of(store: Store, user: User) -> list[Key]:
    return [
        Key(one.credential, one.host, one.index, moment(store.entry(one.index).at_ms))
        for one in passkeys.passkeys_of(store, user)
    ]


# --- oneself --------------------------------------------------------------------------------------------


async def me_page(request: Request, error: str = "", status: int = 200) -> Response:
    session, user = await herself(request)
    who = access.visitor(request)
    now = system_moment()

    def work(kept: Records) -> list[Session]:
        return kept.entrance().sessions(who.token, who.tablet)

    mine = await access.post_of(request).records(work)
    return await page(
        request,
        "staff_me.html",
        status,
        me=user,
        limits=LIMITS[user.role],
        least=LIMITS[user.role].pin_least,
        most=MOST,
        sessions=[(it, it.name == session.name, int(now.since(it.used) // 60)) for it in mine],
        error=error,
    )


async def own_pin(request: Request) -> Response:
    """The old PIN first: a tablet left lying changes nobody's. All her sessions end."""
    form = await access.posted(request)
    _, user = await herself(request)
    who = access.visitor(request)
    current = access.field(form, "current", 40)

    def work(kept: Records) -> User:
        return set_pin(kept.opened(), user.id, current, typed_twice(form), who.tablet, kept.entrance().now())

    try:
        await access.post_of(request).records(work)
    except InputError as problem:
        return await me_page(request, str(problem), 422)
    return _signed_out()


async def end_own(request: Request) -> Response:
    """All her sessions, this one too."""
    await access.posted(request)
    await herself(request)
    who = access.visitor(request)
    await access.post_of(request).records(lambda kept: kept.entrance().end_all(who.token, who.tablet))
    return _signed_out()


async def herself(request: Request) -> tuple[Session, User]:
    """Who is signed in on this tablet. Raises SignInNeededError, LockedError."""
    session = await access.signed_in(request)
    if session is None:
        await access.post_of(request).records(lambda kept: kept.opened())
        raise access.SignInNeededError("nobody is signed in on this tablet")
    return session


def _signed_out() -> Response:
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(access.SESSION, path="/")
    return response
