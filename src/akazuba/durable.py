"""An SQLite file in which whatever was committed survives a power cut: WAL, synchronous=FULL."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from akazuba.errors import AkazubaError, ArtefactError, OutOfTimeError

BUSY_S = 10.0
"""How long one process waits for another that is writing."""


def open_durable(
    path: Path, schema: str, what: str, *, page_bytes: int = 4096, any_thread: bool = False
) -> sqlite3.Connection:
    """Opens or makes the file, readable by its owner only; erased bytes are overwritten.

    schema: statements that may run again. what: the file's name in an error. page_bytes: of a new file.
    any_thread: for a connection that is handed on to another thread. Raises ArtefactError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        file = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=not any_thread)
        try:
            file.execute(f"PRAGMA page_size={page_bytes:d}")
            file.execute("PRAGMA synchronous=FULL")
            file.execute("PRAGMA foreign_keys=ON")
            file.execute("PRAGMA secure_delete=ON")
            _as_log(file)
            file.executescript(schema)
            _log_emptied(file)  # what was erased just before a power cut
        except BaseException:
            file.close()
            raise
    except (OSError, sqlite3.Error) as problem:
        raise ArtefactError(str(path), what, str(problem)) from problem
    return file


def _as_log(file: sqlite3.Connection) -> None:
    """Write-ahead logging. Two processes that make the file at once get in each other's way: tried again."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            file.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def writing(file: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction: all of it is on the disk when the block ends, or nothing.

    Raises OutOfTimeError when another process keeps the file, ArtefactError when it cannot be written.
    """
    try:
        file.execute("BEGIN IMMEDIATE")
        yield file
        file.execute("COMMIT")
    except sqlite3.Error as problem:
        raise _ours(file, problem) from problem
    finally:
        if file.in_transaction:
            file.execute("ROLLBACK")


def erase_for_good(file: sqlite3.Connection) -> None:
    """Moves the log into the file and empties it, so that erased secrets do not linger in it.

    Raises OutOfTimeError when somebody reads meanwhile: they go when the file is next opened or erased from.
    """
    until = time.monotonic() + BUSY_S
    while _log_emptied(file) is False:
        if time.monotonic() > until:
            raise OutOfTimeError(_name(file), f"old pages gone within {BUSY_S:g} s", "another reader")
        time.sleep(0.05)


def _log_emptied(file: sqlite3.Connection) -> bool:
    busy, _, _ = file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _name(file: sqlite3.Connection) -> str:
    return str(file.execute("PRAGMA database_list").fetchone()[2])


def _ours(file: sqlite3.Connection, problem: sqlite3.Error) -> AkazubaError:
    if problem.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return OutOfTimeError(_name(file), f"the file within {BUSY_S:g} s", str(problem))
    return ArtefactError(_name(file), "a file that can be written", str(problem))


def write_durably(path: Path, data: bytes) -> None:
    """Replaces a file whole, for its owner's eyes: after a power cut it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A new or renamed file's name is on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
