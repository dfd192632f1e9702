"""Observers of finished assessments: called in their own thread after the answer, each with its own copy.

A copy holds a patient's data. It is handed on only where somebody has looked up that the patient agreed, or
where the patients are invented; everything else is skipped, counted, and named once on standard error.
"""

from __future__ import annotations

import atexit
import logging
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

_LOG = logging.getLogger(__name__)


class Observers:
    """Hands assessments on without anybody waiting for it. What came to nothing is named in `refused`.

    invented: the patients are, so that nobody has to agree; for `akazuba plugin check`.
    skipped: how many assessments were not handed on because nobody's consent was known.
    """

    def __init__(self, guards: Sequence[Guard[object]], *, invented: bool = False) -> None:
        self._guards = tuple(guards)
        self.invented, self.skipped = invented, 0
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._faults: dict[tuple[str, str], str] = {}
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._idle = threading.Condition()
        self._open = 0

    def see(self, assessment: Assessment, *, agreed: bool = False) -> None:
        """agreed: the patient's consent to being handed on is recorded and holds now."""
        if not self._guards:
            return
        if not (agreed or self.invented):
            self._skip()
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
    def plugins(self) -> tuple[str, ...]:
        """Names of those that observe."""
        return tuple(dict.fromkeys(guard.plugin for guard in self._guards))

    def _skip(self) -> None:
        if not self.skipped:
            _LOG.warning(
                "plugin %s: observers see only recorded assessments of patients whose consent to `export` is "
                "recorded; others are skipped (said once)",
                ", ".join(self.plugins),
            )
        self.skipped += 1

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Plugin and fault of each observer whose last call failed, and how many assessments none saw."""
        faults = tuple((plugin, why) for (plugin, _), why in sorted(self._faults.items()))
        if not self._lost:
            return faults
        return (
            *faults,
            (", ".join(self.plugins), f"{self._lost} assessments were not seen: the observers are too slow"),
        )

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
