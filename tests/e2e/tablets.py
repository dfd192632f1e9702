"""A served box and the tablets of a post, for tests in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from akazuba.governance.users import PASSPHRASE, add
from akazuba.storage.store import Store
from akazuba.storage.unlocking import set_up, unlocked

CHROMIUM = "/usr/bin/chromium"
UNUSED = (
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,PaintHolding,"
    "HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,ThirdPartyStoragePartitioning,"
    "OptimizationHints,NetworkTimeServiceQuerying,WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup"
)
"""What Playwright switches off, again since the last list counts; and the address bar's own pages, which
took almost half of each new tablet's time."""

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    f"--disable-features={UNUSED}",
)
PASSWORD = "morning passphrase"  # noqa: S105 - of the invented post
PINS = {"jean-habimana": "583920", "chantal-uwimana": "7351", "dr-musa": "8264", "alice-auditor": "926417"}
START_S = 60.0
SLOW_MS = 45_000
EXPECTED = re.compile(r"Failed to load resource|net::ERR_|Password forms should")
"""What a browser says of itself when the box is away or refuses; everything else is a fault of the page."""


@dataclass
class Served:
    """A served box. home: its folder. env: what is set for it besides."""

    home: Path
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def start(self) -> None:
        """On the same port again after `stop`."""
        port = self.url.rsplit(":", 1)[-1].strip("/") or "0"
        env = {
            **os.environ,
            "AKAZUBA_HOME": str(self.home),
            "AKAZUBA_LLM": "off",
            "AKAZUBA_ENGINE": "tiny",
            **self.env,
        }
        command = [sys.executable, "-m", "akazuba", "serve", "--port", port]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().rstrip("/")
        assert self.url.startswith("http://"), "the box was not served"

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_S)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def recorded(self, kind: str = "assessment") -> list[Any]:
        """Entries of a kind, read beside the serving process."""
        with closing(Store(self.home, unlocked(self.home, PASSWORD), _now_ms, read_only=True)) as store:
            return list(store.entries(kind=kind))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def home_of(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path, *, store: bool) -> Path:
    home = tmp_path_factory.mktemp("served")
    for file in terminology_home.iterdir():
        if file.is_file():
            shutil.copy(file, home / file.name)
    if store:
        key = set_up(home, PASSWORD)
        with closing(Store(home, key, _now_ms)) as opened:
            add(opened, PASSPHRASE, "Jean Habimana", "supervisor", PINS["jean-habimana"])
            add(opened, "jean-habimana", "Chantal Uwimana", "nurse", PINS["chantal-uwimana"])
            add(opened, "jean-habimana", "Dr Musa", "clinician", PINS["dr-musa"])
            add(opened, "jean-habimana", "Alice Auditor", "auditor", PINS["alice-auditor"])
    return home


def unlock(page: Any, url: str) -> None:
    page.goto(f"{url}/unlock")
    page.fill("main [name=passphrase]", PASSWORD)
    page.click("main button.primary")
    page.wait_for_url("**/sign-in*")


def until(page: Any, expression: str) -> None:
    """Until it holds; asked from outside, since the page lets no text be run as a script.

    An error counts as "not yet": between two pages, the scripts of the next are not there.
    """
    from playwright.sync_api import Error

    problem = None
    for _ in range(SLOW_MS // 50):
        try:
            if page.evaluate(expression):
                return
            problem = None
        except Error as error:
            problem = error
        page.wait_for_timeout(50)
    raise TimeoutError(f"never true: {expression}") from problem


@dataclass(frozen=True)
class Tablet:
    """A browser with its own memory. page: its one page. errors: what its scripts complained of.

    refused: requests that the box refused or that never came to an end.
    """

    page: Any
    context: Any
    url: str
    errors: list[str]
    name: str
    refused: list[str] = field(default_factory=list)

    def told(self) -> str:
        """What it shows and what went wrong, for whoever reads of a failed test."""
        return "\n".join([self.page.url, *self.errors, *self.refused, self.page.inner_text("body")])

    def sign_in(self, who: str = "dr-musa") -> None:
        self.page.goto(f"{self.url}/sign-in")
        self.page.check(f"main input[value={who}]")
        self.page.fill("main [name=pin]", PINS[who])
        self.page.click("main button.primary")
        self.page.wait_for_url(f"{self.url}/")
        until(self.page, "drafts.owner !== ''")

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)
        if path.startswith("/consultation") and not path.rsplit("/", maxsplit=1)[-1].isdecimal():
            self.page.wait_for_selector("#consultation[data-ready]")

    def has_shell(self) -> None:
        """Until the page opens without the box."""
        until(self.page, "caches.keys().then((names) => names.some((name) => /-[0-9a-f]{12}-/.test(name)))")
        until(self.page, "navigator.serviceWorker.controller !== null")

    def away(self) -> None:
        self.context.set_offline(True)
        until(self.page, "!box.online")

    def back(self) -> None:
        self.context.set_offline(False)
        until(self.page, "box.online")

    def shot(self, what: str) -> None:
        """A screenshot, where a folder for them is named."""
        if folder := os.environ.get("AKAZUBA_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{self.name}-{what}.png", full_page=True)
