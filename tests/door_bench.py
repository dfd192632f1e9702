"""What the tests of the doors share: a box with an open store, in this process, and programs that knock."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from akazuba.governance.programs import register
from akazuba.settings import Settings
from akazuba.storage.unlocking import Cost, set_up
from akazuba.web.doors import tokens
from akazuba.web.guard import Guard
from akazuba.web.post import Post

PASSPHRASE = "four words of a morning"  # noqa: S105 - of a box that lives as long as a test
CHEAP = Cost(memory_kib=64, passes=1, lanes=1)
ORIGIN = "https://box.example"
Key = OKPKey | ECKey


def opened_post(home: Path, terms: Path) -> Post:
    """A box whose store is open. terms: a home in which the terminology is built."""
    shutil.copytree(terms, home, dirs_exist_ok=True)
    set_up(home, PASSPHRASE, cost=CHEAP)
    post = Post(Settings(home))
    asyncio.run(post.unlock(PASSPHRASE))
    return post


def served(post: Post, *routes: BaseRoute) -> Starlette:
    """The doors alone, behind the guard, as the page's own app has them."""
    app = Starlette(routes=[*tokens.routes(), *routes])
    app.add_middleware(Guard)
    app.state.post = post
    app.state.origins = (ORIGIN,)
    return app


@dataclass(frozen=True)
class Asking:
    """Requests to an app in this process."""

    app: Starlette

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            door = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=door, base_url=ORIGIN) as client:
                return await client.request(method, path, **parts)

        return asyncio.run(asked())

    def get(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("GET", path, **parts)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("POST", path, **parts)


def client_of(app: Starlette) -> Asking:
    return Asking(app)


def jwks(*keys: Key) -> bytes:
    return msgspec.json.encode(
        {"keys": [{"kid": key.thumbprint(), **key.as_dict(private=False)} for key in keys]}
    )


def let_in(post: Post, name: str, key: Key, *scopes: str) -> None:
    asyncio.run(post.records(lambda kept: register(kept.opened(), "supervisor", name, scopes, jwks(key))))


@dataclass
class Knocking:
    """A program with its key, and the knobs that a dishonest one would turn."""

    app: Starlette
    name: str
    key: Key = field(default_factory=lambda: OKPKey.generate_key("Ed25519"))
    now: Callable[[], float] = time.time

    def claims(self, **other: Any) -> dict[str, Any]:
        return {
            "iss": self.name,
            "sub": self.name,
            "aud": f"{ORIGIN}/token",
            "exp": int(self.now()) + 240,
            "jti": uuid.uuid4().hex,
            **other,
        }

    def assertion(self, head: Mapping[str, Any] | None = None, **other: Any) -> str:
        alg = "ES384" if isinstance(self.key, ECKey) else "Ed25519"
        header = {"alg": alg, "kid": self.key.thumbprint(), **(head or {})}
        return jwt.encode(header, self.claims(**other), self.key, algorithms=[header["alg"]])

    def form(self, scope: str, **other: str) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": tokens.ASSERTION_TYPE,
            "client_assertion": other.pop("assertion", "") or self.assertion(),
            **other,
        }

    def asks(self, scope: str, **other: str) -> Any:
        return client_of(self.app).post("/token", data=self.form(scope, **other))

    def token(self, scope: str) -> str:
        answer = self.asks(scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def bearer(self, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(scope)}"}
