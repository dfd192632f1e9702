"""A sensor of a plugin at the tablet (SIMULATED): its value is marked until somebody types over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tablets import Served, Tablet, home_of, unlock, until

pytestmark = pytest.mark.enable_socket

PLUGIN = """
from akazuba.plugins.hookspecs import hookimpl
from akazuba.plugins.parts import Sensor
AKAZUBA_API = 1

@hookimpl
def sensors():
    return [
        Sensor("oximeter", "spo2_percent", "%", lambda: 97, simulated=True),
        Sensor("pulse", "heart_rate_bpm", "beats/min", lambda: 71),
    ]
"""


@pytest.fixture
def box(
    chromium: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, terminology_home: Path
) -> Iterator[Served]:
    """Unlocked, with two sensors."""
    facts = tmp_path / "bedside-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bedside\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[akazuba]\nbedside = bedside\n")
    (tmp_path / "bedside.py").write_text(PLUGIN)
    env = {"PYTHONPATH": str(tmp_path), "AKAZUBA_PLUGINS": "bedside"}
    served = Served(home_of(tmp_path_factory, terminology_home, store=True), env)
    served.start()
    try:
        page = chromium.new_context().new_page()
        unlock(page, served.url)
        page.context.close()
        yield served
    finally:
        served.stop()


def test_a_value_is_a_sensors_until_it_is_typed_over(tablets: Callable[..., Tablet], box: Served) -> None:
    tablet = tablets(box)
    page = tablet.page
    tablet.sign_in("dr-musa")
    tablet.open("/consultation#patient")
    page.fill("[name='person.name']", "Sensed Sifa")
    page.fill("[name=age]", "40")
    page.evaluate("location.hash = 'vitals'")
    for name in ("oximeter", "pulse"):
        page.click(f"[data-sensor={name}]")
        page.wait_for_selector(f"#sensed li:has-text('{name}')")
    assert page.locator("[name='vitals.spo2_percent']").input_value() == "97"
    rows = page.locator("#sensed li").all_inner_texts()
    assert re.search(r"97 % from oximeter, \d\d:\d\d: look at it.*SIMULATED", rows[0])
    tablet.shot("read")
    page.reload()  # what was read is kept with its mark
    page.wait_for_selector("#consultation[data-ready]")
    assert page.locator("#sensed li").count() == 2
    page.fill("[name='vitals.heart_rate_bpm']", "84")
    page.fill("[name='vitals.heart_rate_bpm']", "71")  # typed, though it is the same number
    until(page, "document.querySelectorAll('#sensed li').length === 1")
    page.click("#vitals [data-assess]")
    page.wait_for_selector("#answer .assessment")
    shown = page.locator("#answer .assessment").inner_text()
    assert re.search(r"Read from sensors: .*97 % \(from oximeter, \d\d:\d\d, SIMULATED\)", shown)
    assert "from pulse" not in shown
    page.click("[data-keep]")
    page.wait_for_selector("[data-decide]")
    page.locator("text=Read from sensors").scroll_into_view_if_needed()
    tablet.shot("kept")
    (case,) = [msgspec.json.decode(entry.body) for entry in box.recorded("case")]
    assert [(one["vital"], one["sensor"], one["value"]) for one in case["sensed"]] == [
        ("spo2_percent", "oximeter", 97)
    ]
