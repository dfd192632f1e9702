"""The page about energy, and the mark by which the box knows that somebody uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tablet_bench import Tablet, box, page_of

from akazuba.web.energy_screen import IN_USE, in_use
from akazuba.web.post import Post

SENSORS = "simulated:soc=0.6,volts=13.1,panel_w=12,load_w=4"


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("energy"), terminology_home)
    yield made
    made.close()


@pytest.fixture
def home(post: Post) -> Path:
    (post.settings.home / "energy.json").unlink(missing_ok=True)
    return post.settings.home


def test_the_plan_is_shown_with_its_reasons_and_says_what_is_simulated(post: Post, home: Path) -> None:
    (home / "energy.json").write_text(f'{{"source": "{SENSORS}"}}')
    nurse = Tablet(page_of(post)).sign_in("chantal-uwimana")
    page = nurse.get("/energy").text
    assert "SIMULATED" in page
    assert "Now, and why" in page
    assert page.count('<th scope="row">') == 96
    drawn = nurse.get("/energy/plan.svg")
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    assert "<svg" in drawn.text


def test_a_box_without_sensors_says_so_and_draws_nothing(post: Post, home: Path) -> None:
    (home / "energy.json").write_text('{"source": "simulated:"}')
    page = Tablet(page_of(post)).sign_in("chantal-uwimana").get("/energy").text
    assert "unknown: no look ahead" in page
    assert "plan.svg" not in page


def test_settings_that_cannot_be_used_are_named(post: Post, home: Path) -> None:
    (home / "energy.json").write_text('{"site": "atlantis"}')
    page = Tablet(page_of(post)).sign_in("chantal-uwimana").get("/energy").text
    assert "atlantis" in page
    assert Tablet(page_of(post)).get("/energy").status_code == 303, "for whoever is signed in"


def test_whoever_asks_for_something_keeps_the_box_awake(tmp_path: Path) -> None:
    now = [0.0]
    told = in_use(tmp_path, lambda: now[0])
    mark = tmp_path / IN_USE
    for path, query in (("/queue/rows", b""), ("/state", b"quiet"), ("/static/akazuba.js", b"")):
        told({"path": path, "query_string": query})
    assert not mark.exists(), "a page that lies open is nobody"
    told({"path": "/consultation/assess", "query_string": b""})
    assert mark.exists()
    mark.unlink()
    told({"path": "/", "query_string": b""})
    assert not mark.exists(), "not at each of many requests"
    now[0] = 21.0
    told({"path": "/state", "query_string": b""})
    assert mark.exists()
