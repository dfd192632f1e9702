"""SQLite files that are compiled once from sources and never change: built, checked, opened."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from akazuba.errors import ArtefactError, why_not_opened

ABOUT = "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
"""Every compiled file has it; `version` is among its keys."""


def connected(path: Path) -> sqlite3.Connection:
    """Read-only, without locks: the file is never written again."""
    uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def compiled(path: Path, version: str, write: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Opens a compiled file; builds it first when it is missing, damaged or of another version.

    write: fills an empty database that has the `about` table.
    Two processes may build at once: each writes a file of its own and renames it. Raises ArtefactError
    when the folder cannot be written, and passes on what `write` raises.
    """
    if not _is_sound(path, version):
        try:
            _build(path, version, write)
        except OSError as error:
            found = why_not_opened(error)
            raise ArtefactError(f"data folder {path.parent}", "one that can be written", found) from error
        if not _is_sound(path, version):
            raise ArtefactError(str(path), f"the tables of {version}", "a damaged file, just built")
    return connected(path)


def _build(path: Path, version: str, write: Callable[[sqlite3.Connection], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA temp_store = FILE")
            db.executescript(f"{ABOUT} BEGIN;")
            write(db)
            db.execute("INSERT INTO about VALUES ('version', ?)", (version,))
            db.execute("COMMIT")
            db.execute("VACUUM")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.chmod(0o644)  # set up by one user, read by another
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _is_sound(path: Path, version: str) -> bool:
    """Whether the file is whole (SQLite's own check of every page) and holds this version."""
    if not path.is_file():
        return False
    try:
        with closing(connected(path)) as db:
            if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return False
            about = db.execute("SELECT value FROM about WHERE key = 'version'").fetchone()
            return bool(about == (version,))
    except sqlite3.DatabaseError:
        return False
