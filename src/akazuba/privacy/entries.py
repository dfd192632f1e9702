"""The ledger's file: rows that are added with their time and never altered, by several processes at once.

What is written is on the disk before the call returns (SQLite, WAL, synchronous=FULL); triggers refuse to
alter or delete a row. A clock that goes back is noted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from akazuba.durable import BUSY_S, open_durable
from akazuba.errors import ArtefactError, OutOfTimeError

BACK_S = 1.0
"""A clock that goes back by less is being set by a hair, and not noted."""


class Entries:
    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        """now: seconds since 1970. Makes the folder and the file, which only its owner can read.

        Raises ArtefactError when the file is no ledger, OutOfTimeError when another process keeps it.
        """
        self._path = path
        self._now = now
        self._file = open_durable(path, "", "a ledger that can be used")
        try:
            with self.writing():
                _migrate(self._file, str(path))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def rows(self, query: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._file.execute(query, values)

    def add(self, table: str, **values: object) -> int:
        """The new row's id. It gets the time; a clock that went back since the last row is noted."""
        at_s = float(self._now())
        row = self._file.execute("SELECT at_s FROM clock").fetchone()
        if row is not None and at_s < row[0] - BACK_S:
            self._file.execute("INSERT INTO setback (before_s, at_s) VALUES (?, ?)", (row[0], at_s))
        self._file.execute("INSERT OR REPLACE INTO clock (id, at_s) VALUES (1, ?)", (at_s,))
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ?" * len(values)
        statement = f"INSERT INTO {table} (at_s, {names}) VALUES (?{marks})"  # noqa: S608 - our own names
        return int(self._file.execute(statement, (at_s, *values.values())).lastrowid or 0)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone with the file; what is written inside is on the disk afterwards, or nothing is."""
        with self.reading():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._file.execute("COMMIT")
            finally:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            if _is_busy(problem):
                expected = f"the ledger's file within {BUSY_S:g} s"
                raise OutOfTimeError(str(self._path), expected, str(problem)) from problem
            raise ArtefactError(str(self._path), "a ledger that can be used", str(problem)) from problem
        except msgspec.DecodeError as problem:
            raise ArtefactError(str(self._path), "entries of this version", str(problem)) from problem


def _is_busy(problem: sqlite3.Error) -> bool:
    """The module's own errors carry no code; the lowest byte of SQLite's says what kind it is."""
    code: int = getattr(problem, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _migrate(file: sqlite3.Connection, path: str) -> None:
    version = int(file.execute("PRAGMA user_version").fetchone()[0])
    if not 0 <= version <= len(MIGRATIONS):
        raise ArtefactError(path, f"a ledger of version {len(MIGRATIONS)} or before", f"version {version}")
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in migration():
            file.execute(statement)
        file.execute(f"PRAGMA user_version = {number}")


def _m001() -> Iterator[str]:
    spent = "unit TEXT NOT NULL, purpose TEXT NOT NULL, spend BLOB NOT NULL"
    tables = {
        "spend": spent,
        "refusal": f"{spent}, would_be REAL NOT NULL, epsilon REAL NOT NULL, delta REAL NOT NULL",
        "release": "name TEXT NOT NULL UNIQUE, document BLOB NOT NULL, spend_id INTEGER NOT NULL"
        " REFERENCES spend",
        "budget": 'epsilon REAL NOT NULL, delta REAL NOT NULL, "by" TEXT NOT NULL, because TEXT NOT NULL',
        "departure": 'kind TEXT NOT NULL, "to" TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,'
        " protection BLOB NOT NULL, spend_id INTEGER REFERENCES spend",
        "step": "departure_id INTEGER NOT NULL REFERENCES departure, state TEXT NOT NULL,"
        " reason TEXT NOT NULL",
        "setback": "before_s REAL NOT NULL",
    }
    for table, columns in tables.items():
        yield f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, {columns})"
        for change in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER {table}_{change} BEFORE {change} ON {table}"
                " BEGIN SELECT RAISE(ABORT, 'entries of the ledger stay'); END"
            )
    yield "CREATE INDEX step_of ON step (departure_id)"
    yield "CREATE TABLE clock (id INTEGER PRIMARY KEY, at_s REAL NOT NULL)"


MIGRATIONS = (_m001,)
"""Numbered by their place, from 1; never edited after a release, only added to."""
