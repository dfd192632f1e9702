"""What a terminal has made and not yet delivered, in a file that survives a power cut at any step.

`federation.sqlite3` (SQLite, WAL, synchronous=FULL). An update is in it, whole, before `add` returns; it
leaves only when a gateway has answered for it. A full disk stops `add` with an error and changes nothing
that was there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from akazuba.durable import open_durable, writing
from akazuba.errors import InputError
from akazuba.federation.updates import id_of

FILE = "federation.sqlite3"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS answered (
    serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, outcome TEXT NOT NULL,
    because TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS model (
    version INTEGER PRIMARY KEY, at INTEGER NOT NULL, bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS looking_back (
    one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL, loss REAL NOT NULL, numbers BLOB NOT NULL
);
"""
MODELS_KEPT = 2

Outcome = Literal["accepted", "refused"]


@dataclass(frozen=True)
class Waiting:
    """made: seconds since 1970, by this box's clock. size: bytes."""

    serial: int
    id: str
    made: int
    size: int


@dataclass(frozen=True)
class Answered:
    """because: empty, or why the gateway refused it or what it noted."""

    serial: int
    id: str
    outcome: Outcome
    because: str


@dataclass(frozen=True)
class LookingBack:
    """A model (float32 numbers) that this box keeps to measure drift by. at: when it was met, seconds since
    1970. loss: on the cases of then, nats.
    """

    at: int
    loss: float
    numbers: bytes


class Outbox:
    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        """now: seconds since 1970. Raises ArtefactError when the file cannot be used."""
        self._now = now
        self._file = open_durable(path, _SCHEMA, "an outbox that can be used")

    def close(self) -> None:
        self._file.close()

    def add(self, make: Callable[[int], bytes]) -> Waiting:
        """Makes the next update and keeps it, both or neither. make: from the update's serial number to its
        signed bytes. After a power cut inside, the same serial is given again.

        Raises ArtefactError when there is no room (what waits still waits), OutOfTimeError when another
        process keeps the file, InputError for bytes that are no update.
        """
        with writing(self._file) as file:
            highest = file.execute(
                "SELECT max(serial) FROM (SELECT serial FROM waiting UNION SELECT serial FROM answered)"
            )
            serial = int(highest.fetchone()[0] or 0) + 1
            data = make(serial)
            row = (serial, id_of(data), self._now(), data)
            file.execute("INSERT INTO waiting VALUES (?, ?, ?, ?)", row)
        return Waiting(serial, row[1], row[2], len(data))

    def waiting(self) -> list[Waiting]:
        """The oldest first."""
        rows = self._file.execute("SELECT serial, id, at, length(bytes) FROM waiting ORDER BY serial")
        return [Waiting(*row) for row in rows]

    def read(self, update_id: str) -> bytes:
        """Raises InputError when it does not wait here."""
        row = self._file.execute("SELECT bytes FROM waiting WHERE id = ?", (update_id,)).fetchone()
        if row is None:
            raise InputError("update", "one that waits in the outbox", update_id[:16])
        data: bytes = row[0]
        return data

    def answer(self, update_id: str, outcome: Outcome, because: str = "") -> None:
        """Notes what a gateway said, after which the bytes are erased. The same answer may come twice.

        Raises InputError for an update that never was here, or one that was answered otherwise.
        """
        if outcome not in get_args(Outcome):
            raise InputError("outcome", " or ".join(get_args(Outcome)), repr(outcome))
        with writing(self._file) as file:
            known = file.execute("SELECT outcome FROM answered WHERE id = ?", (update_id,)).fetchone()
            if known is not None and known[0] != outcome:
                raise InputError(f"update {update_id[:16]}", known[0], outcome)
            if known is not None:
                return
            row = file.execute("SELECT serial FROM waiting WHERE id = ?", (update_id,)).fetchone()
            if row is None:
                raise InputError("update", "one that waits in the outbox", update_id[:16])
            values = (row[0], update_id, self._now(), outcome, because)
            file.execute("INSERT INTO answered VALUES (?, ?, ?, ?, ?)", values)
            file.execute("DELETE FROM waiting WHERE id = ?", (update_id,))

    def answered(self) -> list[Answered]:
        rows = self._file.execute("SELECT serial, id, outcome, because FROM answered ORDER BY serial")
        return [Answered(*row) for row in rows]

    def keep_model(self, version: int, data: bytes) -> None:
        """Keeps a release (its signed bytes; the caller has checked them); only the newest few stay."""
        with writing(self._file) as file:
            file.execute("INSERT OR IGNORE INTO model VALUES (?, ?, ?)", (version, self._now(), data))
            file.execute(
                "DELETE FROM model WHERE version NOT IN"
                " (SELECT version FROM model ORDER BY version DESC LIMIT ?)",
                (MODELS_KEPT,),
            )

    def model(self) -> bytes | None:
        """The newest release's signed bytes; None before the first."""
        row = self._file.execute("SELECT bytes FROM model ORDER BY version DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def looking_back(self) -> LookingBack | None:
        row = self._file.execute("SELECT at, loss, numbers FROM looking_back").fetchone()
        return LookingBack(*row) if row else None

    def look_back_with(self, kept: LookingBack) -> None:
        with writing(self._file) as file:
            row = (kept.at, kept.loss, kept.numbers)
            file.execute("INSERT OR REPLACE INTO looking_back VALUES (1, ?, ?, ?)", row)
