"""The box behind the page: the engine in one thread, the records in another, and what they hold.

The engine and the store each belong to the thread that opened them, so that nothing of either is shared. Work
is handed to a lane and awaited; whoever waits holds nobody else up. A box whose store is locked assesses and
seals what is entered; a box without a store assesses and keeps nothing, and says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import PriorityQueue
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from akazuba.box import Box, open_box
from akazuba.errors import InputError, LockedError
from akazuba.governance.audit_anchors import EVERY, KEYS, WITHIN_S, keep
from akazuba.governance.decisions import UNKNOWN, Versions
from akazuba.governance.locked import take_in
from akazuba.governance.sessions import Door
from akazuba.knowledge.conditions import open_knowledge
from akazuba.llm.extract import Nearest
from akazuba.llm.voice import open_voice
from akazuba.plugins.brought import Plugins
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.store import KeyStore
from akazuba.records import Assessment, Finding, Narrative
from akazuba.replay import Installed, installed_digests, versions_now
from akazuba.settings import Settings
from akazuba.sources import nearest_findings, open_sources
from akazuba.storage.spool import Merged, Spool, merge
from akazuba.storage.store import Store
from akazuba.storage.unlocking import KEY_FILE, unlocked
from akazuba.waiting.queue import FILE as QUEUE, Queue
from akazuba.web import pages
from akazuba.web.looked import Looked
from akazuba.web.shown import Shown
from akazuba.web.signs import Told, red_signs
from akazuba.wording.catalogue import catalogue

if TYPE_CHECKING:  # a box without plugins loads none of it
    from akazuba.plugins.parts import SensorReading
    from akazuba.plugins.reading import ImageReader

State = Literal["none", "locked", "open"]
CHECKPOINT_S = 60.0

Done = TypeVar("Done")


class Lane:
    """One thread, to which work is handed in order; what may come later lets everything else go before it."""

    def __init__(self, name: str) -> None:
        self._waiting: PriorityQueue[tuple[int, int, Callable[[], None]]] = PriorityQueue()
        self._numbers, self._open = count(), True
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def __call__(self, work: Callable[[], Done], *, later: bool = False) -> Done:
        return await asyncio.wrap_future(self._handed(work, int(later)))

    def now(self, work: Callable[[], Done]) -> Done:
        """From outside an event loop."""
        return self._handed(work, 0).result()

    def close(self) -> None:
        """What was handed over before is done first."""
        self._waiting.put((2, next(self._numbers), self._end))
        self._thread.join()

    def _handed(self, work: Callable[[], Done], rank: int) -> Future[Done]:
        future: Future[Done] = Future()

        def done() -> None:
            if not future.set_running_or_notify_cancel():
                return  # whoever asked has gone
            try:
                future.set_result(work())
            except BaseException as problem:  # it belongs to whoever asked
                future.set_exception(problem)

        self._waiting.put((rank, next(self._numbers), done))
        return future

    def _work(self) -> None:
        while self._open:
            self._waiting.get()[2]()

    def _end(self) -> None:
        self._open = False


@dataclass(frozen=True)
class Worded:
    """An assessment in the words of a language model, and what it sees in the note that nobody confirmed."""

    narrative: Narrative | None
    suggested: tuple[Finding, ...] = ()


class Records:
    """What is kept: the queue always, the store while it is unlocked, the spool while it is locked.

    store, door: None while locked, or where no store was set up. versions: what an assessment that is made
    now stands on.
    """

    named: set[tuple[str, str]]
    """Sessions and the patients whose names the queue has shown in them, as the log knows."""

    def __init__(self, home: Path, while_locked: Versions = UNKNOWN) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.queue = Queue(home / QUEUE)
        self.store: Store | None = None
        self.door: Door | None = None
        self.spool: Spool | None = None
        self.named = set()
        self.versions = self._while_locked = while_locked
        if self.has_store:
            self.spool = Spool(home)

    @property
    def has_store(self) -> bool:
        return (self.home / KEY_FILE).exists()

    @property
    def state(self) -> State:
        return "open" if self.store else "locked" if self.has_store else "none"

    def opened(self) -> Store:
        """Raises LockedError."""
        if self.store is None:
            found = "it is locked: type today's passphrase" if self.has_store else "none was set up"
            raise LockedError("records", "an unlocked store", found)
        return self.store

    def entrance(self) -> Door:
        """Raises LockedError."""
        return Door(self.opened())

    def unlock(self, passphrase: str) -> Merged:
        """Opens the store and takes in what was recorded while it was locked.

        Raises InputError for a wrong passphrase or another process that writes, ArtefactError.
        """
        if self.store is not None:
            return Merged(0, 0)
        key = unlocked(self.home, passphrase)
        store = Store(self.home, key, now_ms)
        try:
            merged = merge(self.home, store, key)
            take_in(store)
            keep(self.home, store, now_s)
        except BaseException:
            store.close()
            raise
        self.store, self.door = store, Door(store)
        return merged

    def lock(self) -> None:
        """The day is over: nothing can be read any more; helping goes on."""
        store, self.store, self.door = self.store, None, None
        self.versions = self._while_locked
        self.named.clear()
        if store:
            try:
                keep(self.home, store, now_s)
            finally:
                store.close()
        if self.has_store:
            self.spool = Spool(self.home)

    def checkpoint(self) -> None:
        """Where the log has grown by enough, or the last one is old. Called every `CHECKPOINT_S`."""
        if self.store:
            keep(self.home, self.store, now_s, EVERY, WITHIN_S)

    def identity(self) -> Identity:
        """The box's own, with which decisions are signed."""
        with closing(KeyStore(self.home / KEYS, now_s)) as keys:
            return keys.identity()

    def close(self) -> None:
        self.lock()
        self.queue.close()


class Post:
    """The opened box of one health post. Made outside the event loop; `close` ends it.

    told: the signs of an emergency, found once. shown, looked: what tablets were shown lately, and what was
    seen in their pictures.

    Raises ArtefactError when the box cannot be opened, InputError for local rules that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._engine, self._records, self._words = Lane("engine"), Lane("records"), Lane("words")
        self._pins = Lane("pins")
        self._sensors: Lane | None = None
        try:
            self._box = self._engine.now(lambda: open_box(settings))
            self._digests = self._engine.now(lambda: installed_digests(self._box, settings))
            # local rules are named in the log only: with them a locked box cannot say what ran
            files = Versions(files=self._digests) if not settings.overlays else UNKNOWN
            self.told: Told = self._engine.now(lambda: red_signs(self._box.desk))
            self._kept = self._records.now(lambda: Records(settings.home, files))
        except BaseException:
            self._close_lanes()
            raise
        self._sensors = Lane("sensors") if self.plugins.sensors else None
        pages.bring(self.plugins.languages)
        self._voice = open_voice(settings.llm, settings.llm_mmproj, settings.threads, settings.home)
        self._nearest: Nearest | None = None
        self.shown: Shown[Any] = Shown()
        self.looked = Looked()

    @property
    def state(self) -> State:
        return self._kept.state

    async def engine(self, work: Callable[[Box], Done], *, later: bool = False) -> Done:
        """later: pictures take their time, and a patient without one does not wait behind them."""
        return await self._engine(lambda: work(self._box), later=later)

    async def records(self, work: Callable[[Records], Done]) -> Done:
        return await self._records(lambda: work(self._kept))

    async def compared(self, work: Callable[[], Done]) -> Done:
        """For a PIN, which takes a tenth of a second and 19 MiB: one at a time; no record waits for it."""
        return await self._pins(work)

    async def unlock(self, passphrase: str) -> Merged:
        """Raises as `Records.unlock` does."""
        installed = Installed(self._box, self.settings, self._digests)

        def work(kept: Records) -> Merged:
            merged = kept.unlock(passphrase)
            kept.versions = versions_now(installed, kept.opened())
            return merged

        return await self.records(work)

    @property
    def plugins(self) -> Plugins:
        return self._box.plugins

    @property
    def readers(self) -> Mapping[str, ImageReader]:
        """Of the kinds of image that plugins bring, by the kind."""
        return self._box.readers

    async def sensed(self, name: str) -> SensorReading:
        """One reading of a plugin's sensor, by its name; one after another, in a lane of their own.

        Raises InputError for a sensor that is none, ArtefactError for no possible value, OutOfTimeError.
        """
        known = {reader.sensor.name: reader for reader in self.plugins.sensors}
        if self._sensors is None or name not in known:
            raise InputError("sensor", "one of " + (", ".join(known) or "no sensor"), repr(name[:60]))
        return await self._sensors(known[name].take)

    @property
    def digests(self) -> Mapping[str, str]:
        """Of what is installed, as `installed_digests` gives them."""
        return self._digests

    def close(self) -> None:
        try:
            self._records.now(self._kept.close)
        finally:
            self._close_lanes()

    def _close_lanes(self) -> None:
        for lane in (self._records, self._engine, self._words, self._pins, self._sensors):
            if lane:
                lane.close()

    async def worded(self, assessment: Assessment, note: str, language: str) -> Worded:
        """By the language model, where there is one; it works in its own process and its own lane."""

        def work() -> Worded:
            words = catalogue(language, self.plugins.languages)
            narrative = self._voice.tell(assessment, words)
            if narrative and (remark := self._voice.remark(assessment, words)):
                narrative = msgspec.structs.replace(narrative, second_reader=remark)
            if assessment.note_unread or not self._voice.may("extract"):
                return Worded(narrative)
            return Worded(narrative, self._voice.suggested(note, assessment.findings or (), self._near))

        return await self._words(work)

    def _near(self, piece: str) -> Sequence[tuple[str, str]]:
        """Opened when a model that may suggest findings first asks, in its own lane."""
        if self._nearest is None:
            sources = open_sources(self.settings.home, self._box.desk.library, open_knowledge())
            self._nearest = nearest_findings(sources)
        return self._nearest(piece)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def now_s() -> int:
    return int(time.time())
