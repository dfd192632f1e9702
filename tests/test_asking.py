"""Somebody who waits at a terminal for the language model's words is told so."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from akazuba.cli import asking
from akazuba.cli.asking import WORDING, told_when_slow
from akazuba.errors import ModelError
from akazuba.llm.voice import Voice
from akazuba.records import Assessment, Triage
from akazuba.wording.catalogue import ENGLISH, catalogue, languages


class Terminal(io.StringIO):
    """A stderr at which somebody looks, or nobody. said: set once something was written."""

    def __init__(self, *, watched: bool) -> None:
        super().__init__()
        self._watched, self.said = watched, threading.Event()

    def isatty(self) -> bool:
        return self._watched

    def write(self, text: str) -> int:
        done = super().write(text)
        if text.strip():
            self.said.set()
        return done


def test_a_long_wait_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(watched=True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(asking, "PATIENCE_S", 0.0)
    with told_when_slow("wait"):
        assert terminal.said.wait(30)
    assert terminal.getvalue().strip() == "wait"


def test_a_short_wait_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(watched=True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(asking, "PATIENCE_S", 3600.0)
    with told_when_slow("wait"):
        (timer,) = timers()
    timer.join(30)
    assert not timer.is_alive()
    assert terminal.getvalue() == ""


def test_nothing_is_told_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal(watched=False))
    with told_when_slow("wait"):
        assert timers() == []


def timers() -> list[threading.Timer]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_it_is_said_in_every_language() -> None:
    for code in languages():
        assert (WORDING in catalogue(code).rows) == (code != ENGLISH)
        assert "--no-llm" in catalogue(code).fill(WORDING, "--no-llm")


class Mute:
    """A model that only fails."""

    name, digest = "mute", ""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def complete(self, *_: object, **__: object) -> object:
        self._calls.append("asked")
        raise ModelError(self.name, "an answer", "none")

    def stop(self) -> None:
        """It holds nothing."""


@pytest.mark.parametrize(
    ("level", "expected"), [("green", ["waits", "asked", "no longer"]), ("red", [])], ids=["green", "red"]
)
def test_only_a_model_that_is_asked_is_waited_for(level: str, expected: list[str]) -> None:
    calls: list[str] = []

    @contextmanager
    def waiting() -> Iterator[None]:
        calls.append("waits")
        try:
            yield
        finally:
            calls.append("no longer")

    voice = Voice(Mute(calls), waiting=waiting)  # type: ignore[arg-type]
    assessment = Assessment("c", triage=Triage(level))  # type: ignore[arg-type]
    assert voice.tell(assessment, catalogue(ENGLISH)) is not None
    assert calls == expected
