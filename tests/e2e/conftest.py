"""A box of its own on a free port, and tablets: a real browser in which a script error fails the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tablets import ARGUMENTS, CHROMIUM, EXPECTED, SLOW_MS, Served, Tablet, home_of, unlock

MADE = pytest.StashKey[list[Tablet]]()
ONCE_MORE = pytest.mark.flaky(reruns=1, only_rerun=["^TimeoutError"])
"""A shared machine that stands still for a minute fails whichever test waits then. What takes too long twice
is a fault; whatever else fails, fails at once. The summary counts every rerun."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of these tests only: with others, it is called with all of them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(ONCE_MORE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a failed test it is said what its tablets show."""
    report = yield
    if report.when == "call" and report.failed:
        for tablet in item.stash.get(MADE, []):
            with contextlib.suppress(Exception):  # a page that is closed shows nothing
                report.sections.append((f"tablet {tablet.name}", tablet.told()))
    return report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def box(chromium: Any, tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Served]:
    """Unlocked, with four users."""
    served = Served(home_of(tmp_path_factory, terminology_home, store=True))
    served.start()
    try:
        _unlock(chromium, served)
        yield served
    finally:
        served.stop()


@pytest.fixture
def another_box(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory, terminology_home: Path
) -> Iterator[Callable[[bool], Served]]:
    """A box of this test alone, with a store that is locked or without any."""
    started: list[Served] = []

    def start(store: bool) -> Served:
        served = Served(home_of(tmp_path_factory, terminology_home, store=store))
        served.start()
        started.append(served)
        return served

    yield start
    for served in started:
        served.stop()


def _unlock(browser: Any, served: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    unlock(page, served.url)
    context.close()


@pytest.fixture
def tablets(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Tablet]]:
    """Makes tablets; each fails the test for any error of a script."""
    made: list[Tablet] = []
    request.node.stash[MADE] = made

    def make(served: Served, **options: Any) -> Tablet:
        options = {"viewport": {"width": 360, "height": 740}, "locale": "en-GB", **options}
        context = chromium.new_context(**options)
        context.set_default_timeout(SLOW_MS)
        errors: list[str] = []
        refused: list[str] = []
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda told: (
                errors.append(told.text) if told.type == "error" and not EXPECTED.search(told.text) else None
            ),
        )
        page.on(
            "response",
            lambda came: refused.append(f"{came.status} {came.url}") if came.status >= 400 else None,
        )
        page.on("requestfailed", lambda sent: refused.append(f"{sent.failure} {sent.url}"))
        tablet = Tablet(page, context, served.url, errors, request.node.name.replace("/", "-"), refused)
        made.append(tablet)
        return tablet

    yield make
    for tablet in made:
        tablet.context.close()
    assert [error for tablet in made for error in tablet.errors] == []


@pytest.fixture
def tablet(tablets: Callable[..., Tablet], box: Served) -> Tablet:
    return tablets(box)
