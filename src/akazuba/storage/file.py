"""The store's file: how it is opened and locked, and what its errors mean in our words."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any

from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.errors import ArtefactError, InputError, OutOfTimeError, why_not_opened

LOCK = "store.lock"
BUSY_S = 10.0


def opened(path: Path, database_key: bytes, *, read_only: bool) -> Any:
    """A connection to the encrypted file, which is made when it is not there. Raises ArtefactError."""
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = "ro" if read_only else "rw"
        if (
            read_only
            and not os.access(path.parent, os.W_OK)
            and not path.with_name(f"{path.name}-wal").exists()
        ):
            mode = "ro&immutable=1"  # a disk mounted to read only takes no index of the log, which is empty
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        file = sqlcipher.connect(uri, isolation_level=None, timeout=BUSY_S, uri=True)
        try:
            file.execute("PRAGMA cipher_log_level = NONE")
            file.execute(f"PRAGMA key = \"x'{database_key.hex()}'\"")
            file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            file.execute("PRAGMA foreign_keys = ON")
            if not read_only:
                file.execute("PRAGMA journal_mode = WAL")
                file.execute("PRAGMA synchronous = FULL")
                file.execute("PRAGMA secure_delete = ON")
        except BaseException:
            file.close()
            raise
    except (OSError, sqlcipher.Error) as problem:
        raise ours(str(path), problem) from problem
    return file


def locked(path: Path) -> IO[str]:
    """Alone among the processes that write. Raises InputError when another one does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as problem:
        raise ours(str(path), problem) from problem
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        file.close()
        raise InputError("store", "no other process that writes to it", "one that does") from problem
    return file


def ours(item: str, problem: Exception) -> ArtefactError | OutOfTimeError | InputError:
    text = why_not_opened(problem) if isinstance(problem, OSError) else str(problem)
    if "readonly database" in text:
        return InputError("store", "one that was opened for writing", "one opened to read only")
    if "locked" in text:
        return OutOfTimeError(item, f"the store within {BUSY_S:g} s", text)
    if "full" in text or "No space" in text:
        return ArtefactError(item, "room on the disk; nothing that was acknowledged is lost", text)
    return ArtefactError(item, "this box's store, under its key", text)
