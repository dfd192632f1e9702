"""Observers of finished assessments: called in their own thread after the answer, each with its own copy."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Sequence

import msgspec

from akazuba.errors import AkazubaError
from akazuba.plugins.guard import Guard
from akazuba.records import Assessment

MOST_WAITING = 256
AT_EXIT_S = 10.0
"""How long a process that ends waits for its observers."""


class Observers:
    """Hands each assessment on without anybody waiting for it. What came to nothing is named in `refused`."""

    def __init__(self, guards: Sequence[Guard[object]]) -> None:
        self._guards = tuple(guards)
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._faults: dict[tuple[str, str], str] = {}
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._idle = threading.Condition()
        self._open = 0

    def see(self, assessment: Assessment) -> None:
        if not self._guards:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="observers", daemon=True)
            self._thread.start()
            atexit.register(self.settle, AT_EXIT_S)
        with self._idle:
            self._open += 1
        try:
            self._waiting.put_nowait(msgspec.json.encode(assessment))
        except queue.Full:
            self._lost += 1
            self._done()

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Plugin and fault of each observer whose last call failed, and how many assessments none saw."""
        faults = tuple((plugin, why) for (plugin, _), why in sorted(self._faults.items()))
        if not self._lost:
            return faults
        names = ", ".join(dict.fromkeys(guard.plugin for guard in self._guards))
        return (*faults, (names, f"{self._lost} assessments were not seen: the observers are too slow"))

    def settle(self, seconds: float) -> bool:
        """Waits until every assessment was seen; False when the time did not reach."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._open, seconds)

    def _work(self) -> None:
        while True:
            document = self._waiting.get()
            for guard in self._guards:
                try:
                    guard(msgspec.json.decode(document, type=Assessment))
                    self._faults.pop((guard.plugin, guard.what), None)
                except AkazubaError as fault:
                    self._faults[guard.plugin, guard.what] = str(fault)
            self._done()

    def _done(self) -> None:
        with self._idle:
            self._open -= 1
            self._idle.notify_all()
