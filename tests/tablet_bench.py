"""What the tests of the page share: a box with users, in this process, and a tablet in front of it."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from akazuba.governance.users import PASSPHRASE as BY_PASSPHRASE, add
from akazuba.settings import Settings
from akazuba.storage.store import Entry, Recorded, Store
from akazuba.storage.unlocking import Cost, set_up, unlocked
from akazuba.web.access import SESSION
from akazuba.web.app import create_app
from akazuba.web.guard import Pace
from akazuba.web.post import Post

PASSPHRASE = "four words of a morning"  # noqa: S105 - of a box that lives as long as a test
PINS = {
    "jean-habimana": "583920",
    "chantal-uwimana": "7351",
    "dr-musa": "8264",
    "alice-auditor": "926417",
    "odile-operator": "481637",
}
HOST = "http://box.example"


def box(home: Path, terms: Path) -> Post:
    """Unlocked, with a user of each role. terms: a home in which the terminology is built."""
    shutil.copytree(terms, home, dirs_exist_ok=True)
    key = set_up(home, PASSPHRASE, cost=Cost(memory_kib=64, passes=1, lanes=1))
    store = Store(home, key, lambda: time.time_ns() // 1_000_000)
    try:
        add(store, BY_PASSPHRASE, "Jean Habimana", "supervisor", PINS["jean-habimana"])
        for name, role in (
            ("Chantal Uwimana", "nurse"),
            ("Dr Musa", "clinician"),
            ("Alice Auditor", "auditor"),
            ("Odile Operator", "operator"),
        ):
            add(store, "jean-habimana", name, role, PINS[name.lower().replace(" ", "-")])
    finally:
        store.close()
    post = Post(Settings(home, llm="off", engine="tiny"))
    asyncio.run(post.unlock(PASSPHRASE))
    return post


def page_of(post: Post, **options: Any) -> Starlette:
    """Without limits on the pace, unless they are what is tested."""
    free = Pace(1e9, 1e9)
    return create_app(post, **{"any_pace": free, "keys_pace": free, **options})


def recorded(post: Post, kind: str) -> list[Recorded]:
    return asyncio.run(post.records(lambda kept: list(kept.opened().entries(kind=kind))))


def entered(post: Post, *entries: Entry) -> list[Recorded]:
    return asyncio.run(post.records(lambda kept: kept.opened().add(*entries)))


def key_of_home(home: Path) -> object:
    return unlocked(home, PASSPHRASE)


@dataclass
class Tablet:
    """A browser: its cookies, and the token of its forms. address: of the client, host and port."""

    app: Starlette
    origin: str = HOST
    address: tuple[str, int] = ("192.168.1.20", 40_000)
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            door = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=self.address)
            async with httpx.AsyncClient(
                transport=door, base_url=self.origin, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **parts)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())

    @property
    def csrf(self) -> str:
        return str(self.request("GET", "/state").json()["csrf"])

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.request("GET", path, headers={"Accept": "text/html", **headers})

    def post(self, path: str, given: dict[str, str] | None = None, **other: Any) -> httpx.Response:
        headers = {"Origin": self.origin, "Accept": "text/html", **other.pop("headers", {})}
        data = {"csrf": self.csrf, **(given or {})}
        return self.request("POST", path, data=data, headers=headers, **other)

    def sign_in(self, who: str) -> Tablet:
        answer = self.post("/sign-in", {"user": who, "pin": PINS[who]})
        assert answer.status_code in (200, 303), answer.text  # 200: it tells of wrong PINs before
        assert self.cookies.get(SESSION)
        return self


def words(html: str) -> str:
    """What a reader sees of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
