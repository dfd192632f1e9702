"""What `web.py` measures in a real browser (Debian's chromium through playwright): the first load, one
scripted consultation, axe-core on every page. `missing` says why there is none.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import web_person as person
from web_box import Example, Member

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NETWORKS = {
    "slow_4g": (1_600_000, 150),
    "regular_3g": (750_000, 100),
}
"""Bits a second down and milliseconds there and back. slow_4g: what Lighthouse calls mobile and Chrome
"Slow 4G"; regular_3g: Chrome's older "Regular 3G"."""

USABLE = ".step.current"
"""What is there once the page's script has run: a sign can be ticked."""

PHONE, TABLET = {"width": 360, "height": 740}, {"width": 800, "height": 1280}
MOST_PAGES = 60
ANSWER = "/consultation, answered"


def missing() -> str:
    if not CHROMIUM.exists():
        return f"{CHROMIUM} is not installed"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return ""


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            yield opened
        finally:
            opened.close()


# --- first load ---------------------------------------------------------------------------------------


def first_load(url: str, times: int) -> dict[str, Any]:
    """Bytes and seconds of `/consultation` with an empty cache, nobody signed in, no service worker yet.

    Bytes are what the browser received, headers counted, as it was served.
    """
    facts: dict[str, Any] = {}
    with browser() as opened:
        for name, (bits, latency) in {"": (0, 0), **NETWORKS}.items():
            loads = [_load(opened, url, bits, latency) for _ in range(times)]
            seconds = [took for took, _, _ in loads]
            if not name:
                facts["first_load_kb"] = round(max(size for _, size, _ in loads) / 1000, 1)
                facts["first_load_requests"] = max(count for _, _, count in loads)
            facts[f"first_load_s{'_' if name else ''}{name}"] = seconds
    return facts


def _load(opened: Any, url: str, bits: int, latency: int) -> tuple[float, int, int]:
    """Seconds until the page is usable, bytes, requests."""
    context = opened.new_context(viewport=PHONE, service_workers="block")
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    size: list[int] = []
    wire.on("Network.loadingFinished", lambda event: size.append(event["encodedDataLength"]))
    if bits:
        speed = {"downloadThroughput": bits / 8, "uploadThroughput": bits / 8}
        wire.send("Network.emulateNetworkConditions", {"offline": False, "latency": latency, **speed})
    page.goto(f"{url}/consultation", wait_until="commit")
    page.wait_for_selector(USABLE, state="attached")
    seconds = page.evaluate("performance.now() / 1000")
    page.wait_for_load_state("networkidle")
    context.close()
    return seconds, int(sum(size)), len(size)


# --- signing in ---------------------------------------------------------------------------------------


def sign_in(page: Any, url: str, member: Member) -> None:
    """As a person does it, whatever the form looks like: by the names of its fields."""
    page.goto(f"{url}/sign-in")
    page.wait_for_selector("main [name=user]")
    if page.locator("main input[name=user][type=radio]").count():
        page.check(f"main input[name=user][value={member.id}]")
    else:
        page.fill("main [name=user]", member.id)
    page.fill("main [name=pin]", member.pin)
    page.press("main [name=pin]", "Enter")
    page.wait_for_url(lambda where: urlsplit(where).path != "/sign-in")


# --- one consultation ---------------------------------------------------------------------------------


def consultation(url: str, member: Member, example: Example, name: str, place: str) -> list[person.Step]:
    """The case typed, assessed, its first question answered, recorded and signed, by taps and keys only; the
    waits are those that the browser showed.
    """
    with browser() as opened:
        context = opened.new_context(viewport=TABLET, has_touch=True, is_mobile=True)
        page = context.new_page()
        sign_in(page, url, member)
        page.goto(f"{url}/")
        hand = Hand(page)
        hand.consult(example, name, place)
        context.close()
    return hand.steps


class Hand:
    """Does it and writes down what it did."""

    def __init__(self, page: Any) -> None:
        self.page, self.steps = page, list[person.Step]()

    def consult(self, example: Example, name: str, place: str) -> None:
        patient, vitals = example.case["patient"], example.case["vitals"]
        page = self.page
        self._tap(
            "first screen", "main a[href='/consultation#patient'], main a[href*='/consultation']", USABLE
        )
        if page.evaluate("location.hash") in ("", "#emergency"):
            self.steps.append(person.read_through("emergency", self._words("#emergency .signs")))
            self._tap("emergency", "#emergency a.primary")
        self._type("patient", "person.name", name)
        self._type("patient", "age", f"{patient['age_years']:g}")
        self._choose("patient", "patient.sex", patient["sex"])
        self._choose("patient", "patient.pregnant", "false")
        self._type("patient", "person.place", place)
        self._tap("patient", "#patient a.primary")
        self._type("note", "note", example.case["note"])
        self._tap("note", "#note a.primary")
        self._type("vitals", "patient.weight_kg", f"{patient['weight_kg']:g}")
        for vital, value in vitals.items():
            if isinstance(value, bool | str):
                self._choose("vitals", f"vitals.{vital}", str(value).lower())
            else:
                self._type("vitals", f"vitals.{vital}", f"{value:g}")
        self._tap("vitals", "#vitals [data-assess]", ".assessment")
        self.steps.append(person.read_through("answer: urgency", self._words(".assessment .banner")))
        self.steps.append(person.read_through("answer: plan", self._words(".assessment .plan > li > strong")))
        if page.locator(".assessment [data-answer=no]").count():
            self.steps.append(person.read_through("question", self._words(".assessment .question .ask")))
            page.locator(".assessment").evaluate("(shown) => { shown.dataset.before = 'yes'; }")
            self._tap("question", ".assessment [data-answer=no]", ".assessment:not([data-before])")
        self._tap("answer", "[data-keep]", "[data-decide]")
        page.check("[data-decide] input[value=accept]")
        self.steps.append(person.tapped("sign", "accept"))
        self._tap("sign", "[data-decide] button.primary", re.compile(r"/consultation/\d+$"))

    def _tap(self, screen: str, selector: str, until: str | re.Pattern[str] = "") -> None:
        """Taps the first that is seen. until: what is there after it, or the address: that wait is timed."""
        target = self.page.locator(selector).locator("visible=true").first
        began = time.perf_counter()
        target.click()
        if isinstance(until, re.Pattern):
            self.page.wait_for_url(until)
        elif until:
            self.page.wait_for_selector(until, state="attached")
        waited = time.perf_counter() - began
        self.steps.append(person.tapped(screen, selector, waited if until else 0.0))

    def _type(self, screen: str, field: str, text: str) -> None:
        self.page.locator(f"[name='{field}']").locator("visible=true").first.press_sequentially(text)
        self.steps.append(person.typed(screen, field, text))

    def _choose(self, screen: str, field: str, value: str) -> None:
        chosen = self.page.locator(f"select[name='{field}']")
        if chosen.count():
            chosen.first.select_option(value)
            self.steps.append(person.chosen(screen, field))
        else:
            self.page.check(f"[name='{field}'][value='{value}']")
            self.steps.append(person.tapped(screen, field))

    def _words(self, selector: str) -> int:
        texts = self.page.locator(selector).all_inner_texts()
        return sum(len(text.split()) for text in texts)


# --- axe ----------------------------------------------------------------------------------------------


def accessible(url: str, members: Sequence[Member], passing: Sequence[str], *, once: bool) -> dict[str, Any]:
    """axe-core on every page that can be reached by links from the first one and from `passing`, as each of
    the members, at 360 px, light and dark. violations: by kind of page and rule, where they were met.

    once: a page that one member sees is not looked at again as another.
    """
    if importlib.util.find_spec("axe_playwright_python") is None:
        return {"skipped": "axe-playwright-python is not installed"}
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    with browser() as opened:
        for scheme in ("light", "dark"):
            looked_at: set[str] = set()
            for member in members:
                context = opened.new_context(viewport=PHONE, color_scheme=scheme, service_workers="block")
                page = context.new_page()
                sign_in(page, url, member)
                for kind, path in _pages(page, url, passing):
                    if once and kind in looked_at:
                        continue
                    looked_at.add(kind)
                    seen.add(kind)
                    for rule in _axe(page, url, path):
                        found.setdefault(f"{kind}: {rule}", []).append(f"{scheme}, {member.role}")
                if member.role == "clinician":
                    seen.add(ANSWER)
                    for rule in _answer(page, url):
                        found.setdefault(f"{ANSWER}: {rule}", []).append(f"{scheme}, {member.role}")
                context.close()
    return {"pages": sorted(seen), "violations": {rule: sorted(set(where)) for rule, where in found.items()}}


def _answer(page: Any, url: str) -> list[str]:
    """The answer as it stands on the consultation's page, with a question."""
    from axe_playwright_python.sync_playwright import Axe

    page.goto(f"{url}/consultation#note")
    page.reload()
    page.fill("[name=note]", "Fever and cough for 3 weeks, night sweats. No chest pain.")
    page.evaluate("location.hash = 'vitals'")
    page.locator("#vitals [data-assess]").click()
    page.wait_for_selector(".assessment")
    return [violation["id"] for violation in Axe().run(page).response["violations"]]


def _pages(page: Any, url: str, passing: Sequence[str]) -> Iterator[tuple[str, str]]:
    """One page of each kind (numbers and ids left out of the path), in the order in which they are found."""
    waiting, done = ["/", *passing], set[str]()
    while waiting and len(done) < MOST_PAGES:
        path = waiting.pop(0)
        kind = kind_of(path)
        if kind in done:
            continue
        done.add(kind)
        answer = page.goto(url + path, wait_until="load")
        if (
            answer is None
            or answer.status >= 400
            or "text/html" not in answer.headers.get("content-type", "")
        ):
            continue
        yield kind, path
        waiting += _links(page, url)


def _links(page: Any, url: str) -> list[str]:
    hrefs = page.evaluate("[...document.querySelectorAll('a[href]:not([download])')].map((a) => a.href)")
    own = [urlsplit(href) for href in hrefs if href.startswith(url + "/")]
    return [
        f"{part.path}#{part.fragment}" if part.path == "/consultation" and part.fragment else part.path
        for part in own
        if part.fragment != "main"
    ]


def kind_of(path: str) -> str:
    """The path without what differs from one patient to another.

    >>> kind_of("/patients/patient-42"), kind_of("/consultation/17"), kind_of("/consultation#vitals")
    ('/patients/…', '/consultation/…', '/consultation#vitals')
    """
    return "/".join("…" if re.search(r"\d", part) else part for part in path.split("/"))


def _axe(page: Any, url: str, path: str) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    if page.url != url + path:
        page.goto(url + path)
    if "#" in path:
        page.reload()
    results = Axe().run(page)
    return [violation["id"] for violation in results.response["violations"]]
