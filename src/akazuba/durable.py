"""An SQLite file in which whatever was committed survives a power cut: WAL, synchronous=FULL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from akazuba.errors import ArtefactError

BUSY_S = 10.0
"""How long one process waits for another that is writing."""


def open_durable(path: Path, schema: str, what: str) -> sqlite3.Connection:
    """Opens or makes the file, readable by its owner only; erased bytes are overwritten.

    schema: statements that may run again. what: the file's name in an error. Raises ArtefactError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        file = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
        try:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")
            file.execute("PRAGMA secure_delete=ON")
            file.executescript(schema)
        except BaseException:
            file.close()
            raise
    except (OSError, sqlite3.Error) as problem:
        raise ArtefactError(str(path), what, str(problem)) from problem
    return file


@contextmanager
def writing(file: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction: all of it is on the disk when the block ends, or nothing."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield file
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def erase_for_good(file: sqlite3.Connection) -> None:
    """Moves the log into the file and empties it, so that erased secrets do not linger in it."""
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
