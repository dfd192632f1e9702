"""Work in lanes: in order, pictures last, each fault to whoever asked; and a picture that is read once."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akazuba.box import Box, open_box
from akazuba.cli import EXAMPLES
from akazuba.records import Assessment
from akazuba.settings import Settings
from akazuba.web import looked
from akazuba.web.consulting import Came, answered
from akazuba.web.looked import Looked
from akazuba.web.post import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    opened = Lane("test")
    yield opened
    opened.close()


def test_what_may_come_later_lets_everything_else_go_before_it(lane: Lane) -> None:
    done: list[str] = []
    held = threading.Event()

    async def all_at_once() -> None:
        first = asyncio.ensure_future(lane(held.wait))
        await asyncio.sleep(0)
        rest = [lane(lambda: done.append("picture"), later=True), lane(lambda: done.append("red"))]
        waiting = [asyncio.ensure_future(each) for each in rest]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(all_at_once())
    assert done == ["red", "picture"]


def test_a_fault_belongs_to_whoever_asked_and_the_lane_goes_on(lane: Lane) -> None:
    with pytest.raises(ZeroDivisionError):
        lane.now(lambda: 1 // 0)
    assert asyncio.run(lane(lambda: 7)) == 7


def test_what_was_handed_over_is_done_before_the_lane_closes() -> None:
    opened, done = Lane("test"), list[int]()

    async def handed() -> None:
        for number in range(3):
            opened._handed(lambda number=number: done.append(number), 1)  # type: ignore[misc]
        opened.close()

    asyncio.run(handed())
    assert done == [0, 1, 2]


@pytest.fixture(scope="module")
def box(terminology_home: Path) -> Box:
    return open_box(Settings(home=terminology_home, engine="tiny"))


def _plain(assessment: Assessment) -> Any:
    told = msgspec.to_builtins(assessment)
    told.pop("timings_ms")
    return told


def test_a_picture_that_was_read_is_answered_alike_and_not_read_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (EXAMPLES / "skin-arm.json").read_bytes()
    path = msgspec.json.decode(data)["images"][0]["path"]
    pictures = {path: (EXAMPLES / path).read_bytes()}
    reads: list[str] = []
    read = looked.look

    def counted(*given: Any) -> Any:
        reads.append(given[4].path)
        return read(*given)

    monkeypatch.setattr(looked, "look", counted)
    looking = Looked()
    told = [answered(box, Came(data, pictures), looking).assessment for _ in range(2)]
    assert _plain(told[0]) == _plain(told[1]) == _plain(answered(box, Came(data, pictures)).assessment)
    assert reads == [path]
    older = msgspec.json.encode({**msgspec.json.decode(data), "patient": {"age_years": 71}})
    answered(box, Came(older, pictures), looking)
    assert len(reads) == 2
    answered(box, Came(data, {path: pictures[path] + b"\0"}), looking)
    assert len(reads) == 3
    looking.forget()
    answered(box, Came(data, pictures), looking)
    assert len(reads) == 4
