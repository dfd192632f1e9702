"""The emergency queue: arrival, triage, acknowledged, seen; alarms at once, louder after 2 and 4 minutes.

It works while the store is locked, so its file stands beside it, under a key of the device
(`storage.beside`). Every transition is on the disk before the call returns (SQLCipher, WAL,
synchronous=FULL), with the wall clock and a monotonic clock that counts on while the box sleeps. Times
between transitions are those of the monotonic clock within one boot, of the wall clock across a restart. A
patient who is not assessed stands before everybody who is known to be less than red.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from akazuba.boot import since_boot
from akazuba.errors import InputError
from akazuba.governance.users import NOBODY
from akazuba.records import Level
from akazuba.storage.beside import Beside

FILE = "queue.sqlite"
"""In the box's home."""

State = Literal["arrived", "triaged", "acknowledged", "seen", "left"]

ALARM_AFTER_S = (0.0, 120.0, 240.0)
"""A red patient whom nobody acknowledged: an alarm at once, then two escalations to more people."""

TRIAGE_WITHIN_S = 300.0
"""A patient who is not assessed within this time raises an alarm too (our choice)."""

WHAT = "the queue's file"

NAMELESS_S = 120.0
"""For how long it is enough that NOBODY acknowledged: somebody who did not sign in."""

FIRST: tuple[Level, ...] = ("red", "unassessed", "yellow", "green")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transition (
    id INTEGER PRIMARY KEY,
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL,
    by TEXT NOT NULL,
    why TEXT NOT NULL,
    wall_s REAL NOT NULL,
    monotonic_s REAL NOT NULL,
    boot TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Now:
    """wall_s: seconds since 1970. monotonic_s: seconds since the boot named `boot`, sleep included."""

    wall_s: float
    monotonic_s: float
    boot: str

    def since(self, earlier: Now) -> float:
        """Seconds that have passed; infinite after a restart with a clock that went back: nobody knows, so
        whatever waits is overdue.
        """
        if self.boot == earlier.boot:
            return self.monotonic_s - earlier.monotonic_s
        passed = self.wall_s - earlier.wall_s
        return passed if passed >= 0 else math.inf


def system_now() -> Now:
    return Now(time.time(), *since_boot())


@dataclass(frozen=True)
class Waiting:
    """One patient in the queue. number: in the order of arrival. alarms: raised since she became red.

    acknowledged: first. acknowledged_by: NOBODY for somebody who did not sign in: that silences for
    `NAMELESS_S` and no longer.
    """

    case_id: str
    number: int
    state: State
    level: Level
    arrived: Now
    triaged: Now | None = None
    acknowledged: Now | None = None
    acknowledged_by: str = ""
    alarms: int = 0

    @property
    def answered(self) -> bool:
        """Whether somebody known by name is on the way."""
        return self.acknowledged is not None and self.acknowledged_by != NOBODY


@dataclass(frozen=True)
class Alarm:
    """step: 0 at once, 1 and 2 the escalations. waited_s: since triage, or arrival if not triaged."""

    case_id: str
    level: Level
    step: int
    waited_s: float


class Queue:
    """The queue of one post, in one file that several processes may use; a restart goes on where it stood."""

    def __init__(self, path: Path | str, now: Callable[[], Now] = system_now) -> None:
        """path: the file in the box's home, or ":memory:". Raises ArtefactError when it is no queue's file of
        this device, OutOfTimeError when another process keeps it.
        """
        self._now = now
        self._waiting: dict[str, Waiting] = {}
        self._read_to = 0
        self._file = Beside(path, WHAT)
        try:
            self._file.rows(_SCHEMA)
            self._catch_up()
        except BaseException:
            self._file.close()
            raise

    @property
    def protection(self) -> tuple[bool, str]:
        """Whether the file is encrypted, and in words where its key lies, or why it is not."""
        return self._file.encrypted, self._file.how

    def close(self) -> None:
        self._file.close()

    def arrive(self, case_id: str) -> Waiting:
        """Raises InputError when she is in the queue already."""
        with self._writing():
            if case_id in self._waiting:
                found = self._waiting[case_id].state
                raise InputError(f"queue, {case_id}", "a patient who is not in the queue", found)
            return self._record(case_id, "arrived", "unassessed")

    def triage(self, case_id: str, level: Level, by: str = "box", why: str = "") -> Waiting:
        """Sets the level. A lower one than assessed before needs a person and a reason; the box only raises.

        Raises InputError.
        """
        if level not in FIRST:
            raise InputError(f"queue, {case_id}", "a level of " + ", ".join(FIRST), repr(level))
        with self._writing():
            entry = self._of(case_id)
            lower = FIRST.index(level) > FIRST.index(entry.level) and entry.level != "unassessed"
            if lower and (by == "box" or not why):
                found = f"{level} after {entry.level} by {by or 'nobody'}"
                expected = "a person and a reason to lower the urgency"
                raise InputError(f"queue, {case_id}", expected, found)
            return self._record(case_id, "triaged", level, by, why)

    def acknowledge(self, case_id: str, by: str) -> Waiting:
        """Somebody is on the way to her: the alarm stops, for NOBODY only for a while.

        Raises InputError when she isn't in the queue.
        """
        if not by:
            raise InputError(f"queue, {case_id}", "who acknowledged", "nobody")
        return self._go_on(case_id, "acknowledged", by)

    def seen(self, case_id: str, by: str) -> Waiting:
        return self._go_on(case_id, "seen", by)

    def left(self, case_id: str, why: str) -> Waiting:
        """She went away without being seen."""
        return self._go_on(case_id, "left", why=why)

    def waiting(self) -> list[Waiting]:
        """Everybody who has not been seen, in the order in which to see them."""
        self._catch_up()
        return sorted(self._waiting.values(), key=lambda entry: (FIRST.index(entry.level), entry.number))

    def due_alarms(self) -> list[Alarm]:
        """The alarms that are due and that nobody has raised yet. Raise each, then say so with `alarmed`: an
        alarm may come twice after a power cut, but none is lost.
        """
        now = self._now()
        return [alarm for entry in self.waiting() for alarm in _all_due(entry, now)]

    def calls(self) -> dict[str, int]:
        """Whom nobody known by name answers: how many alarms were raised or are due, by case.

        From the times alone: a screen shows an alarm that could not be written down.
        """
        now = self._now()
        called = {e.case_id: e.alarms + len(_all_due(e, now)) for e in self.waiting() if not _quiet(e, now)}
        return {case: steps for case, steps in called.items() if steps}

    def alarmed(self, alarm: Alarm) -> None:
        """Records that an alarm was raised; once, whoever raised it."""
        with self._writing():
            entry = self._waiting.get(alarm.case_id)
            if entry is not None and entry.alarms == alarm.step:
                self._record(entry.case_id, "alarm" if alarm.step == 0 else "escalated", entry.level)

    def history(self, case_id: str) -> list[tuple[str, str, str, Now]]:
        """Every transition of a patient: kind, level, by whom, when."""
        rows = self._file.rows(
            "SELECT kind, level, by, wall_s, monotonic_s, boot FROM transition WHERE case_id = ? ORDER BY id",
            (case_id,),
        )
        return [(row[0], row[1], row[2], Now(*row[3:])) for row in rows]

    def _of(self, case_id: str) -> Waiting:
        if case_id not in self._waiting:
            raise InputError(f"queue, {case_id}", "a patient in the queue", "none of that id")
        return self._waiting[case_id]

    def _go_on(self, case_id: str, kind: str, by: str = "", why: str = "") -> Waiting:
        with self._writing():
            return self._record(case_id, kind, self._of(case_id).level, by, why)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone with the file, and up to date with what other processes wrote."""
        known = self._read_to
        try:
            with self._file.writing():
                self._catch_up()
                known = self._read_to
                yield
        except BaseException:
            if self._read_to != known:  # what the file did not take did not happen
                self._waiting, self._read_to = {}, 0
            raise

    def _catch_up(self) -> None:
        rows = self._file.rows(
            "SELECT id, case_id, kind, level, by, wall_s, monotonic_s, boot"
            " FROM transition WHERE id > ? ORDER BY id",
            (self._read_to,),
        )
        for row in rows:
            id_, case_id, kind, level, by, *when = row
            self._apply(id_, case_id, kind, level, by, Now(*when))

    def _record(self, case_id: str, kind: str, level: Level, by: str = "", why: str = "") -> Waiting:
        now = self._now()
        id_ = self._file.insert(
            "INSERT INTO transition (case_id, kind, level, by, why, wall_s, monotonic_s, boot)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (case_id, kind, level, by, why, now.wall_s, now.monotonic_s, now.boot),
        )
        return self._apply(id_, case_id, kind, level, by, now)

    def _apply(self, id_: int, case_id: str, kind: str, level: Level, by: str, now: Now) -> Waiting:
        self._read_to = id_
        before = self._waiting.get(case_id)
        entry = (
            Waiting(case_id, id_, "arrived", level, now)
            if before is None
            else _moved(before, kind, level, by, now)
        )
        if kind in ("seen", "left"):
            self._waiting.pop(case_id, None)
        else:
            self._waiting[case_id] = entry
        return entry


def _moved(entry: Waiting, kind: str, level: Level, by: str, now: Now) -> Waiting:
    if kind in ("alarm", "escalated"):
        return replace(entry, alarms=entry.alarms + 1)
    if kind == "triaged":
        again = level == "red" and entry.level != "red"
        return replace(
            entry,
            state="acknowledged" if entry.acknowledged and not again else "triaged",
            level=level,
            triaged=now if again or entry.triaged is None else entry.triaged,
            acknowledged=None if again else entry.acknowledged,
            acknowledged_by="" if again else entry.acknowledged_by,
            alarms=0 if again else entry.alarms,
        )
    if kind == "acknowledged":
        first = entry.acknowledged or now
        by = entry.acknowledged_by if entry.answered else by
        return replace(entry, state="acknowledged", acknowledged=first, acknowledged_by=by)
    assert kind in get_args(State)  # noqa: S101 - written by this class only
    return replace(entry, state="seen" if kind == "seen" else "left")


def _quiet(entry: Waiting, now: Now) -> bool:
    if entry.acknowledged is None:
        return False
    return entry.answered or now.since(entry.acknowledged) < NAMELESS_S


def _all_due(entry: Waiting, now: Now) -> list[Alarm]:
    found = list[Alarm]()
    while (alarm := _due(entry, now)) is not None:
        found.append(alarm)
        entry = replace(entry, alarms=entry.alarms + 1)
    return found


def _due(entry: Waiting, now: Now) -> Alarm | None:
    if entry.answered:
        return None
    if entry.level == "red" and entry.triaged is not None:
        waited = now.since(entry.triaged)
        if entry.alarms < len(ALARM_AFTER_S) and waited >= ALARM_AFTER_S[entry.alarms]:
            return Alarm(entry.case_id, entry.level, entry.alarms, waited)
    elif entry.level == "unassessed" and entry.alarms == 0 and now.since(entry.arrived) >= TRIAGE_WITHIN_S:
        return Alarm(entry.case_id, entry.level, 0, now.since(entry.arrived))
    return None
