"""Who is at the tablet: cookies, the session behind them, what she may do, and the token of her forms.

A tablet has a name of its own, kept in a cookie for a year; a session's token is in a cookie that no script
reads. Every form carries a token that only this box could have made for this tablet.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from akazuba.errors import InputError, LockedError
from akazuba.governance.roles import Action
from akazuba.governance.sessions import Granted, Session
from akazuba.governance.users import User
from akazuba.wording.catalogue import ENGLISH, languages

if TYPE_CHECKING:
    from akazuba.web.post import Post, Records

TABLET, SESSION, LANGUAGE = "akazuba_tablet", "akazuba_session", "akazuba_language"
YEAR_S = 365 * 86_400
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf"
MultiPartParser.spool_max_size = 13 * 1024 * 1024
"""More than any picture may have: none is written in clear into a folder for temporary files."""
_KEY = os.urandom(32)
"""Of the forms' tokens: a restart voids them, and the page asks for a new one."""


Done = TypeVar("Done")


class SignInNeededError(Exception):
    """Nobody is signed in on this tablet. why: what became of the session."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(frozen=True)
class Visitor:
    """What the cookies say. token: of a session, "" for none. fresh: the tablet was unknown."""

    tablet: str
    token: str
    language: str
    fresh: bool

    @property
    def csrf(self) -> str:
        return hmac.new(_KEY, self.tablet.encode(), hashlib.sha256).hexdigest()


def visitor(request: Request) -> Visitor:
    """The same one throughout a request."""
    if (known := getattr(request.state, "visitor", None)) is not None:
        return known  # type: ignore[no-any-return]
    tablet = request.cookies.get(TABLET, "")
    fresh = not re.fullmatch(r"tablet-[0-9a-f]{8}", tablet)
    token = request.cookies.get(SESSION, "")
    made = Visitor(
        f"tablet-{os.urandom(4).hex()}" if fresh else tablet,
        token if re.fullmatch(r"[0-9a-f]{64}", token) else "",
        _language(request),
        fresh,
    )
    request.state.visitor = made
    return made


def _language(request: Request) -> str:
    """Of the cookie, else the first that the browser asks for and the box has."""
    known = languages(post_of(request).plugins.languages)
    wanted = [request.cookies.get(LANGUAGE, "")]
    wanted += [
        part.split(";")[0].split("-")[0].strip()
        for part in request.headers.get("accept-language", "").split(",")
    ]
    return next((code for code in wanted if code in known), ENGLISH)


def post_of(request: Request) -> Post:
    return request.app.state.post  # type: ignore[no-any-return]


async def demand(request: Request, action: Action, patient: str = "") -> Granted:
    """The right of who is signed in on this tablet.

    Raises SignInNeededError, LockedError, and InputError (after it is logged) for what she may not do.
    """
    who = visitor(request)
    if not who.token:
        await _open(request)
        raise SignInNeededError("nobody is signed in on this tablet")

    def work(kept: Records) -> Granted:
        return kept.entrance().demand(who.token, who.tablet, action, patient)

    return await _asked(request, work)


async def signed_in(request: Request, *, use: bool = True) -> tuple[Session, User] | None:
    """Who is signed in on this tablet, if anybody is and the box is unlocked. use: as of `Door.session`."""
    who = visitor(request)
    if not who.token or post_of(request).state != "open":
        return None

    def work(kept: Records) -> tuple[Session, User]:
        return kept.entrance().session(who.token, who.tablet, use=use)

    try:
        return await _asked(request, work)
    except (SignInNeededError, LockedError):
        return None


async def _open(request: Request) -> None:
    await post_of(request).records(lambda kept: kept.opened())


async def _asked(request: Request, work: Callable[[Records], Done]) -> Done:
    try:
        return await post_of(request).records(work)
    except InputError as problem:
        if problem.item in ("session", "tablet"):
            raise SignInNeededError(problem.found) from problem
        raise


async def posted(request: Request, *, most_files: int = 8, most_fields: int = 200) -> FormData:
    """The form of a POST of ours, after its token: every handler of one begins with it. Raises InputError."""
    given = request.headers.get(CSRF_HEADER, "")
    if given:
        _ours(request, given)  # before a long body is read
    form = await request.form(max_files=most_files, max_fields=most_fields, max_part_size=4 * 1024 * 1024)
    field = form.get(CSRF_FIELD)
    _ours(request, given or (field if isinstance(field, str) else ""))
    return form


def _ours(request: Request, given: str) -> None:
    if not hmac.compare_digest(given.encode(), visitor(request).csrf.encode()):
        raise InputError("form", "one of this page: load it again", "another or an old one")


def field(form: FormData, name: str, most: int = 2000) -> str:
    """A text of a form. Raises InputError."""
    value = form.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise InputError(name, f"a text of at most {most} characters", "a longer one or a file")
    return value


def remember(request: Request, response: Response) -> None:
    """Names the tablet, once."""
    who = visitor(request)
    if who.fresh:
        set_cookie(request, response, TABLET, who.tablet, YEAR_S)


def set_cookie(request: Request, response: Response, name: str, value: str, age_s: int | None = None) -> None:
    """age_s: None for as long as the browser is open."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=age_s, httponly=True, secure=secure, samesite="strict", path="/")
