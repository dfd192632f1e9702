"""What every request passes before anybody reads it: size, pace, origin, and the headers of every answer.

Plain ASGI, so that a body is counted while it comes and never held first. Sources: OWASP ASVS 5.0, V3 and V4;
OWASP CSRF Prevention (signed token, Origin check).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self' blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}
STRICT_TRANSPORT = "max-age=31536000"

DOORS = ("/fhir", "/cds-services", "/api/", "/token", "/.well-known/", "/dicom-web", "/add-checkpoint")
"""Programs come in here, without cookies."""

BODY_LIMITS = (
    ("/consultation/", 40 * 1024 * 1024),
    ("/fhir", 17 * 1024 * 1024),
    ("/cds-services", 17 * 1024 * 1024),
    ("/dicom-web", 40 * 1024 * 1024),
    ("/api/", 4 * 1024 * 1024),
    ("/", 256 * 1024),
)
"""Bytes of a body, by the first prefix of the path that fits."""

KEYS_TRIED = ("/sign-in", "/unlock", "/token", "/me/passkeys", "/add-checkpoint")
"""Where a secret can be guessed: few wrong tries a minute from an address, besides each user's count."""

UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
MOST_ADDRESSES = 4096


@dataclass
class Pace:
    """A bucket of tokens for each address. burst: at once; per_s: refilled."""

    burst: float
    per_s: float
    clock: Callable[[], float] = time.monotonic
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait_s(self, address: str) -> float:
        """Takes a token: 0.0, or how long to wait for the next one.

        >>> now = 0.0
        >>> pace = Pace(2, 0.5, lambda: now)
        >>> [pace.wait_s("a"), pace.wait_s("a"), pace.wait_s("a"), pace.wait_s("b")]
        [0.0, 0.0, 2.0, 0.0]
        """
        now = self.clock()
        left, at = self._left.pop(address, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.per_s)
        taken = left >= 1
        self._left[address] = (left - 1 if taken else left, now)
        while len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / self.per_s

    def give_back(self, address: str) -> None:
        """The token of a request that turned out to need none."""
        left, at = self._left.get(address, (self.burst, self.clock()))
        self._left[address] = (min(self.burst, left + 1), at)


class Guard:
    """secure: whether the page is served by HTTPS. used: is told of every request that is let in."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        secure: bool = False,
        any_pace: Pace | None = None,
        keys_pace: Pace | None = None,
        used: Callable[[Scope], None] = lambda _: None,
    ) -> None:
        self._app, self._secure = app, secure
        self._used = used
        self._any = any_pace or Pace(300, 60)
        self._keys = keys_pace or Pace(12, 0.2)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        send = self._headed(path, send)
        refusal = self._refused(scope, headers, path)
        if refusal:
            await _refuse(headers, path, *refusal, send)
            return
        limit = next(size for prefix, size in BODY_LIMITS if path.startswith(prefix))
        said = headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > limit:
            error = f"body: expected at most {limit} bytes, found {said[:20]}"
            await _refuse(headers, path, 413, error, {}, send)
            return
        self._used(scope)
        if scope["method"] in UNSAFE and path.startswith(KEYS_TRIED):
            send = self._right_tries_uncounted(_address(scope), send)
        await self._app(scope, _counted(receive, limit), send)

    def _refused(self, scope: Scope, headers: Headers, path: str) -> tuple[int, str, dict[str, str]] | None:
        address = _address(scope)
        unsafe = scope["method"] in UNSAFE
        wait = self._any.wait_s(address)
        if unsafe and path.startswith(KEYS_TRIED):
            wait = max(wait, self._keys.wait_s(address))
        if wait:
            again = {"Retry-After": str(int(wait) + 1)}
            return 429, f"requests: expected fewer at once, found too many; wait {wait:.0f} s", again
        if unsafe and not path.startswith(DOORS) and not _same_origin(headers):
            return 403, "origin: expected this box's own page, found another", {}
        return None

    def _right_tries_uncounted(self, address: str, send: Send) -> Send:
        """A whole shift may sign in one after the other on one tablet."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._keys.give_back(address)
            await send(message)

        return sent

    def _headed(self, path: str, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._secure:
                    headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
                if not path.startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return sent


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _same_origin(headers: Headers) -> bool:
    """Browsers name the origin with every POST; what comes without one is no page of ours."""
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")


def _counted(receive: Receive, limit: int) -> Receive:
    """Ends a body without a length that grows past the limit."""
    total = 0

    async def received() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise TooLargeError(limit)
        return message

    return received


class TooLargeError(Exception):
    """A body that is longer than was said. limit: bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"body: expected at most {limit} bytes, found more")


ISSUE_CODES = {403: "forbidden", 413: "too-long", 429: "throttled"}


async def _refuse(
    asked: Headers, path: str, status: int, error: str, more: dict[str, str], send: Send
) -> None:
    """In the form that who asks can read: an OperationOutcome, a page with a link, or JSON."""
    kind, said = "application/json", {"error": error}
    if path.startswith("/fhir"):
        issue = {"severity": "error", "code": ISSUE_CODES[status], "diagnostics": error}
        kind, said = "application/fhir+json", {"resourceType": "OperationOutcome", "issue": [issue]}  # type: ignore[dict-item]
    body = msgspec.json.encode(said)
    if "text/html" in asked.get("accept", "") and not path.startswith(DOORS):
        kind = "text/html; charset=utf-8"
        body = _plain_page(error).encode()
    listed = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    listed += [(name.lower().encode(), value.encode()) for name, value in more.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


def _plain_page(error: str) -> str:
    """Without the records, which are not asked for anybody who is refused."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Akazuba</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/akazuba.css"><main><h1>Akazuba</h1>'
        f'<p class="error">{escape(error)}</p><p><a class="button" href="/">Akazuba</a></p></main></html>'
    )
