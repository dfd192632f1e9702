"""Every page for everybody: no violation that axe-core finds, in light and dark, on a phone's width."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tablets import Served, Tablet

pytestmark = pytest.mark.enable_socket

MOST_PAGES = 40
NOTE = "fever and cough for 3 weeks, night sweats, no chest pain. Lost weight."


@pytest.fixture(scope="module")
def axe() -> Iterator[Any]:
    return pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()


COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


def violations(axe: Any, page: Any, where: str) -> list[str]:
    """Every rule in light; in dark, which sets other colours and nothing else, the rules of colours."""
    found = []
    for scheme, rules in (("light", {}), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_timeout(50)
        for each in axe.run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]:
            nodes = "; ".join(
                f"{node['html'][:120]} ({node['any'][0]['message'][:120] if node['any'] else ''})"
                for node in each["nodes"][:3]
            )
            found.append(f"{where}, {scheme}: {each['id']}: {nodes}")
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return [*found, *([f"{where}: wider than the screen"] if wide else [])]


def links(page: Any) -> set[str]:
    found: list[str] = page.eval_on_selector_all(
        "a[href^='/']", "all => all.map((a) => a.getAttribute('href'))"
    )
    return {href.split("#")[0] for href in found}


def shape(path: str) -> str:
    """Pages that differ in a number or an id only are looked at once."""
    return re.sub(r"\d+|(?<=/)[pc]-[0-9a-z-]+", "N", path.split("?", maxsplit=1)[0])


@pytest.mark.parametrize("who", ["dr-musa", "jean-habimana", "alice-auditor"])
def test_every_page_that_a_link_leads_to(
    tablets: Callable[..., Tablet], box: Served, axe: Any, who: str
) -> None:
    tablet = tablets(box)
    tablet.sign_in(who)
    page, waiting, seen, found = tablet.page, ["/", "/more", "/queue"], set[str](), list[str]()
    while waiting and len(seen) < MOST_PAGES:
        path = waiting.pop(0)
        if shape(path) in seen:
            continue
        seen.add(shape(path))
        answer = page.request.head(tablet.url + path) if "." in path else None
        if answer is not None:
            continue  # a file to carry away, no page
        sent = page.goto(tablet.url + path)
        if "text/html" not in sent.headers.get("content-type", ""):
            continue
        found += violations(axe, page, f"{who} {path}")
        waiting += sorted(links(page) - {"/sign-out"})
    assert found == []
    assert len(seen) > 5


def test_every_step_of_a_consultation(tablet: Tablet, axe: Any) -> None:
    tablet.sign_in("dr-musa")
    tablet.open("/consultation")
    page = tablet.page
    found = violations(axe, page, "emergency")
    page.click(".sign:visible >> nth=0")
    found += violations(axe, page, "red sign")
    page.click(".sign:visible >> nth=0")
    for step in ("patient", "note", "vitals", "pictures"):
        page.evaluate(f"location.hash = '{step}'")
        found += violations(axe, page, step)
    page.evaluate("location.hash = 'note'")
    page.fill("[name=note]", NOTE)
    page.evaluate("location.hash = 'vitals'")
    page.fill("[name='vitals.temperature_c']", "98.6")
    found += violations(axe, page, "a value out of range")
    page.fill("[name='vitals.temperature_c']", "37.6")
    page.click("#vitals [data-assess]")
    page.wait_for_selector("#answer .assessment")
    page.evaluate("for (const each of document.querySelectorAll('#answer details')) each.open = true")
    found += violations(axe, page, "answer")
    page.click("[data-keep]")
    page.wait_for_selector("[data-decide]")
    page.check("[data-decide] input[value=change]")
    found += violations(axe, page, "decision")
    page.select_option("[name=item]", index=0)
    page.fill("[name=instead]", "green")
    page.fill("[data-decide] [name=reason]", "seen by me, no danger")
    page.click("[data-decide] button.primary")
    page.wait_for_url(re.compile(r"/consultation/\d+$"))
    page.wait_for_selector(".notice.good")
    found += violations(axe, page, "signed")
    page.click("#me summary")
    found += violations(axe, page, "menu")
    assert found == []


def test_the_pages_of_who_is_not_signed_in(tablet: Tablet, axe: Any) -> None:
    found = []
    for path in ("/", "/sign-in", "/unlock", "/consultation", "/queue", "/no-such-page"):
        tablet.page.goto(tablet.url + path)
        tablet.shot(path.strip("/") or "home")
        found += violations(axe, tablet.page, path)
    assert found == []
