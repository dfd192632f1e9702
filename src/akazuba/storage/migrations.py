"""The store's shape, step by step. A step is never edited after a release; a new one is added below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from akazuba.errors import ArtefactError


def _m001(file: Any) -> None:
    """Entries, which nobody can change, the log's nodes, and patients, who can be erased."""
    file.execute(
        "CREATE TABLE entry (idx INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
        " by TEXT NOT NULL, patient TEXT NOT NULL, stored BLOB NOT NULL)"
    )
    file.execute("CREATE INDEX entry_of_patient ON entry (patient, idx)")
    file.execute("CREATE INDEX entry_of_kind ON entry (kind, idx)")
    file.execute(
        "CREATE TABLE node (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL,"
        " PRIMARY KEY (level, idx)) WITHOUT ROWID"
    )
    file.execute(
        "CREATE TABLE patient (id TEXT PRIMARY KEY, key BLOB, name TEXT, searched TEXT, born TEXT NOT NULL,"
        " sex TEXT NOT NULL, place TEXT NOT NULL)"
    )
    file.execute("CREATE TABLE remembered (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    for table in ("entry", "node"):
        for change in ("UPDATE", "DELETE"):
            file.execute(
                f"CREATE TRIGGER {table}_{change.lower()} BEFORE {change} ON {table}"
                " BEGIN SELECT RAISE(ABORT, 'entries of the log stay as they are'); END"
            )


MIGRATIONS: tuple[Callable[[Any], None], ...] = (_m001,)


def migrate(file: Any, path: str) -> None:
    """Brings a file up to this version. Raises ArtefactError for one of a later version."""
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(MIGRATIONS):
        raise ArtefactError(path, f"a store of version {len(MIGRATIONS)} or before", f"version {version}")
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        step(file)
        file.execute(f"PRAGMA user_version = {number}")


def current(file: Any, path: str) -> None:
    """Raises ArtefactError for a file of another version: whoever only reads cannot bring it up to this."""
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version != len(MIGRATIONS):
        raise ArtefactError(path, f"a store of version {len(MIGRATIONS)}", f"version {version}")
