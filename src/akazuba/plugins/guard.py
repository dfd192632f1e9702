"""Calls into somebody else's code: bounded in time, off the standard output, told without patients' data.

This keeps a clumsy plugin from costing a consultation. It is no sandbox: a plugin is code with all rights of
the box, and one that holds the interpreter in C or ends the process cannot be stopped from in here.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from akazuba.errors import AkazubaError, ArtefactError, OutOfTimeError

LOAD_S = 10.0
"""For importing a plugin; for each of its hook functions."""
IMAGE_S = 10.0
SENSOR_S = 5.0
OBSERVER_S = 5.0

Got = TypeVar("Got")

_inside = threading.local()


class _Outside:
    """Standard output, but what a plugin's thread writes goes to standard error: stdout holds answers."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __getattr__(self, name: str) -> Any:
        plugins = getattr(_inside, "now", False)
        return getattr(sys.stderr if plugins else self._out, name)


def _keep_stdout() -> None:
    if sys.stdout is not None and not isinstance(sys.stdout, _Outside):
        sys.stdout = _Outside(sys.stdout)


def bounded(plugin: str, what: str, seconds: float, work: Callable[[], Got], *, private: bool = False) -> Got:
    """The result of `work`, done in a thread of its own.

    private: what it works on is a patient's; an error's own words, which may quote it, are then not repeated.
    Raises OutOfTimeError (the thread goes on unheard), ArtefactError for anything that `work` raises.
    """
    got: list[Got] = []
    faults: list[BaseException] = []

    def inside() -> None:
        _inside.now = True
        try:
            got.append(work())
        except BaseException as fault:  # SystemExit too: a plugin does not end the box
            faults.append(fault)

    _keep_stdout()
    thread = threading.Thread(target=inside, name=f"plugin {plugin}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise OutOfTimeError(f"plugin {plugin}", f"{what} within {seconds:g} s", "no end")
    if not faults:
        return got[0]
    if isinstance(faults[0], AkazubaError) and not private:
        raise ArtefactError(f"plugin {plugin}, {what}", "a sound part", str(faults[0])) from faults[0]
    raise ArtefactError(f"plugin {plugin}", what, _words(faults[0], private=private))


def _words(fault: BaseException, *, private: bool) -> str:
    """The kind of an error and the line that raised it; its own words only where they quote no patient."""
    frames = traceback.extract_tb(fault.__traceback__)
    place = [frame for frame in frames if not frame.filename.startswith("<")][-1:]
    where = f" ({Path(place[0].filename).name}, line {place[0].lineno})" if place else ""
    kind = type(fault).__name__
    return f"{kind}{where}" if private else f"{kind}{where}: {' '.join(str(fault).split())[:200]}"


class Guard(Generic[Got]):
    """One function of a plugin. After it ran out of time once it is not called again: its thread still runs.

    seconds: for one call. Calls raise like `bounded` with `private`, and nothing of theirs is quoted.
    """

    def __init__(self, plugin: str, what: str, seconds: float, work: Callable[..., Got]) -> None:
        self.plugin, self.what = plugin, what
        self._seconds, self._work = seconds, work
        self._off: OutOfTimeError | None = None

    def __call__(self, *given: object) -> Got:
        if self._off:
            raise OutOfTimeError(
                self._off.item, self._off.expected, "none earlier: switched off till restart"
            )
        try:
            return bounded(self.plugin, self.what, self._seconds, lambda: self._work(*given), private=True)
        except OutOfTimeError as late:
            self._off = late
            raise
