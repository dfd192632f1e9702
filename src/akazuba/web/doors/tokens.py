"""Who is at a door: programs prove themselves by a signed assertion and get a token for five minutes.

As SMART Backend Services has it: OAuth 2.0 client credentials (RFC 6749, 4.4) with a private key JWT (RFC
7523). Which algorithm may be used hangs on the key that was registered, never on what a message says. Access
tokens are signed by a key that lives in this process only: a restart voids them all. How long one lasts goes
by the boot's clock, which nobody can set.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.boot import since_boot
from akazuba.errors import ArtefactError, LockedError, UntrustedError
from akazuba.governance.programs import SCOPES, Jwk, Programs, Registration, granted
from akazuba.storage.store import Store
from akazuba.web.post import Records

TOKEN_S = 300
LONGEST_ASSERTION_S = 300
"""SMART Backend Services: exp no more than five minutes in the future."""

SKEW_S = 60
"""How far the clocks of box and program may stand apart."""

LARGEST_FORM = 16 * 1024
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = {"Ed25519": ("Ed25519", "EdDSA"), "P-384": ("ES384",)}
"""By the curve of the registered key. EdDSA is the older name of Ed25519 (RFC 9864)."""

OURS = "Ed25519"
_SHOWN = "program-assertions"
"""Under which the store remembers the assertions that were shown."""


class TokenError(UntrustedError):
    """A program is not let in. status: HTTP. code: of RFC 6749, 5.2 or RFC 6750, 3.1."""

    def __init__(self, status: int, code: str, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.status, self.code, self.words = status, code, str(self)

    @property
    def headers(self) -> dict[str, str]:
        """For the answer of a door."""
        if self.status == 503:
            return {"Retry-After": "60"}
        return {"WWW-Authenticate": f'Bearer realm="akazuba", error="{self.code}"'}


@dataclass(frozen=True)
class Program:
    """Who holds a token. client: its registered name. scopes: of the token."""

    client: str
    scopes: frozenset[str]

    @property
    def log_name(self) -> str:
        return f"program:{self.client}"


class Claims(msgspec.Struct, frozen=True):
    """Of our own tokens. as_of: of the registration. ends_s: seconds since the boot."""

    iss: str
    aud: str
    sub: str
    scope: str
    as_of: int
    ends_s: float


class Asserted(msgspec.Struct, frozen=True):
    """Of a program's assertion; other claims are left alone. Times: seconds since 1970."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    jti: str
    nbf: int | float = 0
    iat: int | float = 0


class _Pinned(JWSRegistry):
    """Only the algorithms that a key is for, the deprecated name of one among them."""

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            raise UntrustedError("alg", " or ".join(self.allowed or ()), repr(name)[:40])
        return self.algorithms[name]


@dataclass
class Mint:
    """Makes and reads this process's tokens. now_s: seconds since 1970; since_boot_s: of the boot's clock."""

    now_s: Callable[[], float] = time.time
    since_boot_s: Callable[[], float] = lambda: since_boot()[0]
    key: OKPKey = field(default_factory=lambda: OKPKey.generate_key("Ed25519"))
    name: str = field(default_factory=lambda: f"akazuba-{secrets.token_hex(8)}")
    programs: Programs = field(default_factory=Programs)

    def token(self, known: Registration, scopes: Sequence[str]) -> str:
        now = self.now_s()
        claims = {
            "iss": self.name,
            "aud": self.name,
            "sub": known.name,
            "scope": " ".join(scopes),
            "as_of": known.index,
            "ends_s": self.since_boot_s() + TOKEN_S,
            "iat": int(now),
            "exp": int(now) + TOKEN_S,
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(
            {"alg": OURS, "typ": "at+jwt"}, claims, self.key, registry=_Pinned(algorithms=[OURS])
        )

    def read(self, token: str) -> Claims:
        """Raises TokenError for what this process did not sign, or no longer stands for."""
        try:
            said = jwt.decode(token, self.key, registry=_Pinned(algorithms=[OURS]))
            claims = msgspec.convert(said.claims, Claims)
        except (
            JoseError,
            UntrustedError,
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            RecursionError,
        ) as problem:
            raise _unauthorised("one that this box has given since its start", "another") from problem
        if claims.iss != self.name or claims.aud != self.name or said.header.get("typ") != "at+jwt":
            raise _unauthorised("an access token of this box", "another")
        if self.since_boot_s() >= claims.ends_s:
            raise _unauthorised(f"one of the last {TOKEN_S} s", "an expired one")
        return claims

    def holder(self, store: Store, claims: Claims) -> Program:
        """Whoever a token is for, as long as the registration stands. Raises TokenError."""
        known = self.programs.of(store).get(claims.sub)
        if known is None or known.revoked:
            raise _unauthorised("one of a program that is let in", "one of a revoked program")
        if known.index != claims.as_of:
            raise _unauthorised("one given since its rights were changed", "an older one")
        return Program(known.name, frozenset(claims.scope.split()))

    def asserted(self, store: Store, assertion: str, audiences: Sequence[str]) -> Registration:
        """The program that signed an assertion, which is then used up. audiences: addresses of this endpoint.

        Raises TokenError.
        """
        known, key = self._signer(store, assertion)
        algorithms = ALGORITHMS[key.crv]
        try:
            said = jwt.decode(assertion, _imported(key), registry=_Pinned(algorithms=algorithms))
            claims = msgspec.convert(said.claims, Asserted)
        except UntrustedError as problem:
            raise _invalid_client(problem.item, problem.expected, problem.found) from problem
        except msgspec.MsgspecError as problem:
            raise _invalid_client("client_assertion", "iss, sub, aud, exp and jti", str(problem)) from problem
        except RecursionError as problem:
            raise _too_deep() from problem
        except (JoseError, ValueError, TypeError) as problem:
            raise _invalid_client(
                "client_assertion", "one signed by a registered key", "one that does not verify"
            ) from problem
        self._judge(claims, known.name, audiences)
        self._use_up(store, known.name, claims)
        return known

    def _signer(self, store: Store, assertion: str) -> tuple[Registration, Jwk]:
        """Whose key an assertion says that it is signed with; nothing of it is believed yet."""
        try:
            head, body, _ = assertion.split(".")
            kid = _json(head)["kid"]
            name = _json(body)["sub"]
        except RecursionError as problem:
            raise _too_deep() from problem
        except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as problem:
            raise _invalid_client(
                "client_assertion", "a signed JWT with kid and sub", "another text"
            ) from problem
        known = self.programs.of(store).get(name) if isinstance(name, str) else None
        key = next((key for key in known.keys if key.kid == kid), None) if known else None
        if known is None or key is None or known.revoked:
            raise _invalid_client("client_assertion", "one of a program and key that are let in", "another")
        return known, key

    def _judge(self, claims: Asserted, name: str, audiences: Sequence[str]) -> None:
        now = self.now_s()
        heard = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != name or claims.sub != name:
            raise _invalid_client("iss, sub", f"both {name}", "another")
        if not set(heard) & set(audiences):
            raise _invalid_client("aud", " or ".join(audiences), repr(claims.aud)[:120])
        if not now - SKEW_S < claims.exp <= now + LONGEST_ASSERTION_S + SKEW_S:  # NaN is refused too
            expected = f"at most {LONGEST_ASSERTION_S} s after {now:.0f} by the box's clock, not before it"
            raise _invalid_client("exp", expected, repr(claims.exp)[:40])
        for item, at in (("iat", claims.iat), ("nbf", claims.nbf)):
            if not at <= now + SKEW_S:
                expected = f"no later than {now:.0f} by the box's clock"
                raise _invalid_client(item, expected, repr(at)[:40])
        if not 1 <= len(claims.jti) <= 200:
            raise _invalid_client("jti", "1 to 200 characters", f"{len(claims.jti)}")

    def _use_up(self, store: Store, name: str, claims: Asserted) -> None:
        """Remembered in the store, so that no restart lets an assertion in twice."""
        try:
            shown = msgspec.msgpack.decode(store.recall(_SHOWN) or b"\x80", type=dict[bytes, float])
        except msgspec.MsgspecError as problem:
            raise ArtefactError(_SHOWN, "those that were shown", str(problem)) from problem
        id_ = hashlib.sha256(msgspec.msgpack.encode((name, claims.jti))).digest()[:16]
        if id_ in shown:
            raise _invalid_client("jti", "one that was never shown before", "one that was")
        oldest = self.now_s() - 2 * (LONGEST_ASSERTION_S + SKEW_S)
        kept = {known: ends for known, ends in shown.items() if ends > oldest}
        store.remember(_SHOWN, msgspec.msgpack.encode({**kept, id_: float(claims.exp)}))


def routes() -> list[BaseRoute]:
    return [
        Route("/.well-known/smart-configuration", configuration, methods=["GET"]),
        Route("/token", token, methods=["POST"]),
    ]


async def configuration(request: Request) -> Response:
    """Where and how a program gets its token (SMART App Launch, `.well-known/smart-configuration`)."""
    return JSONResponse(
        {
            "token_endpoint": audiences(request)[0],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": [
                name for names in ALGORITHMS.values() for name in names
            ],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": list(SCOPES),
            "capabilities": ["client-confidential-asymmetric", "permission-v1"],
        }
    )


async def token(request: Request) -> Response:
    """RFC 6749, 4.4 with RFC 7523, 2.2; errors after RFC 6749, 5.2."""
    try:
        form = await _form(request)
        mint = mint_of(request)
        hears = audiences(request)

        def work(records: Records) -> tuple[str, list[str]]:
            known = mint.asserted(_store(records), form["client_assertion"], hears)
            scopes = _scopes(form["scope"], known)
            return mint.token(known, scopes), scopes

        made, scopes = await request.app.state.post.records(work)
    except TokenError as problem:
        said = {"error": problem.code, "error_description": problem.words}
        return JSONResponse(said, problem.status, {"Cache-Control": "no-store", **problem.headers})
    answer = {"access_token": made, "token_type": "bearer", "expires_in": TOKEN_S, "scope": " ".join(scopes)}
    return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def program(request: Request, *scopes: str) -> Program:
    """Who is at a door, when the token has one of `scopes` (any token will do where none is named).

    Raises TokenError: 401 without a sound token, 403 without the right, 503 while the store is locked.
    """
    mint = mint_of(request)
    claims = mint.read(_bearer(request))
    held: Program = await request.app.state.post.records(lambda records: mint.holder(_store(records), claims))
    if scopes and not any(granted(held.scopes, scope) for scope in scopes):
        found = ", ".join(sorted(held.scopes)) or "none"
        raise TokenError(403, "insufficient_scope", "scope", " or ".join(scopes), found)
    return held


def mint_of(request: Request) -> Mint:
    """Of this process, made at the first use."""
    state = request.app.state
    if not hasattr(state, "mint"):
        state.mint = Mint()
    made: Mint = state.mint
    return made


def audiences(request: Request) -> list[str]:
    """Addresses of the token endpoint. An assertion that is meant for another box must not serve here, so the
    deployer names the box (`app.state.origins`); where nobody did, it is what the request calls it.
    """
    origins = getattr(request.app.state, "origins", ()) or (f"{request.url.scheme}://{request.url.netloc}",)
    return [f"{origin.rstrip('/')}/token" for origin in origins]


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer" or not token.strip():
        raise _unauthorised("a bearer token of POST /token", "none")
    return token.strip()


async def _form(request: Request) -> Mapping[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "application/x-www-form-urlencoded":
        raise _invalid_request("Content-Type", "application/x-www-form-urlencoded", repr(kind[:60]))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise _invalid_request("body", f"at most {LARGEST_FORM} bytes", "more")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError as problem:
        raise _invalid_request("body", "a form of at most 10 fields", str(problem)) from problem
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _invalid_request("body", "each field once", "one twice")
    if form.get("grant_type") != "client_credentials":
        found = repr(form.get("grant_type", ""))[:60]
        raise TokenError(400, "unsupported_grant_type", "grant_type", "client_credentials", found)
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise _invalid_request(
            "client_assertion_type", ASSERTION_TYPE, repr(form.get("client_assertion_type", ""))[:80]
        )
    for name in ("client_assertion", "scope"):
        if not form.get(name):
            raise _invalid_request(name, "a text", "none")
    return form


def _scopes(asked: str, known: Registration) -> list[str]:
    """Those that are asked for and held; a wildcard gives its kind. Raises TokenError for any other."""
    wanted = list(dict.fromkeys(asked.split()))
    for scope in wanted:
        if scope not in SCOPES or not granted(known.scopes, scope):
            expected = f"of {', '.join(sorted(known.scopes))}"
            raise TokenError(400, "invalid_scope", "scope", expected, repr(scope)[:80])
    return wanted


def _store(records: Records) -> Store:
    try:
        return records.opened()
    except LockedError as problem:
        raise TokenError(
            503, "temporarily_unavailable", problem.item, problem.expected, problem.found
        ) from problem


def _json(part: str) -> dict[str, object]:
    return msgspec.json.decode(
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=dict[str, object]
    )


def _imported(key: Jwk) -> ECKey | OKPKey:
    kind = ECKey if key.kty == "EC" else OKPKey
    return kind.import_key({name: str(part) for name, part in msgspec.to_builtins(key).items()})


def _unauthorised(expected: str, found: str) -> TokenError:
    return TokenError(401, "invalid_token", "token", expected, found)


def _invalid_client(item: str, expected: str, found: str) -> TokenError:
    return TokenError(401, "invalid_client", item, expected, found)


def _too_deep() -> TokenError:
    return _invalid_request("client_assertion", "a signed JWT with kid and sub", "JSON of too many levels")


def _invalid_request(item: str, expected: str, found: str) -> TokenError:
    return TokenError(400, "invalid_request", item, expected, found)
