"""A file beside the store that is used while the store is locked: encrypted under the device's secret alone.

SQLCipher, WAL, synchronous=FULL, several processes at once; opened in one way everywhere. The key comes from
the device's secret and needs no passphrase: it protects the file from whoever gets the file alone, and from
a stolen disk where the secret lies in a TPM; a secret in a file goes with the disk. A home without a secret
has a plain file. Once there is a secret, the plain file is moved over by whoever opens it with nobody else
having it open. Where that fails the file stays plain, works on, and `how` says why.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.durable import sync_folder
from akazuba.errors import ArtefactError, OutOfTimeError, why_not_opened
from akazuba.storage.file import BUSY_S
from akazuba.storage.unlocking import device_kept, device_key, has_device_secret

PLAIN = b"SQLite format 3\0"
"""How a plain file begins (sqlite.org/fileformat2.html, 1.3.1)."""

MOVING, OLD, LOCK = ".moving", ".old", ".lock"
NO_SECRET = "no store is set up here"  # noqa: S105 - words
IN_USE = "it is moved over once no other program has it open"
ASIDE = "once it is moved aside, an empty one is begun"
KEY_BYTES = 32 + 16
"""SQLCipher's raw key, and the salt of its HMAC key: two processes may make the file at once."""


class Beside:
    """An open file. encrypted: whether it is. how: in words, why not or where the key lies."""

    def __init__(self, path: Path | str, what: str) -> None:
        """path: the file in the box's home, or ":memory:". what: its name in an error, and its key's label.

        Raises ArtefactError for a file that is none of this device's, OutOfTimeError when another process
        keeps it.
        """
        self._path, self._what = str(path), what
        self.encrypted, self.how = False, "in memory only"
        self._release: Callable[[], object] = lambda: None
        try:
            key = None if path == ":memory:" else self._ready(Path(path))
            self._file = _connected(self._path, key)
        except (OSError, sqlcipher.Error) as problem:
            self._release()
            raise self._ours(problem) from problem
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        self._file.close()
        self._release()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return list(self._file.execute(query, values).fetchall())
        except sqlcipher.Error as problem:
            raise self._ours(problem) from problem

    def insert(self, query: str, values: Sequence[object]) -> int:
        """The new row's id."""
        try:
            return int(self._file.execute(query, values).lastrowid)
        except sqlcipher.Error as problem:
            raise self._ours(problem) from problem

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone with the file: all of it is on the disk when the block ends, or nothing."""
        try:
            self._file.execute("BEGIN IMMEDIATE")
            yield
            self._file.execute("COMMIT")
        except sqlcipher.Error as problem:
            raise self._ours(problem) from problem
        finally:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")

    def _ready(self, path: Path) -> bytes | None:
        """The key under which the file now stands, None for a plain one. Nobody moves it while this holds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._release = weakref.finalize(self, os.close, lock)
        key, lacking = None, NO_SECRET
        try:
            key = device_key(path.parent, self._what, KEY_BYTES)
        except ArtefactError as problem:
            lacking = str(problem)
        if key is not None:
            lacking = _moved(path, key, lock)
        fcntl.flock(lock, fcntl.LOCK_SH)
        stands = standing(path)
        if stands == "encrypted" and key is None:
            found = f"an encrypted one, or another file ({lacking}); {ASIDE}"
            raise ArtefactError(self._path, f"{self._what}, under this device's secret", found)
        self.encrypted = key is not None and stands != "plain"
        self.how = f"the key lies {device_kept(path.parent)}" if self.encrypted else lacking
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        return key if self.encrypted else None

    def _ours(self, problem: Exception) -> ArtefactError | OutOfTimeError:
        text = why_not_opened(problem)
        if "locked" in text:
            return OutOfTimeError(self._path, f"{self._what} within {BUSY_S:g} s", text)
        if "not a database" in text:
            other = f"another file, or one of another device; {ASIDE}"
            return ArtefactError(self._path, f"{self._what} of this device", other)
        return ArtefactError(self._path, self._what, text)


def standing(path: Path) -> str:
    """`plain`, `encrypted` or `none` (no file, or an empty one)."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(PLAIN))
    except FileNotFoundError:
        return "none"
    return "plain" if begin == PLAIN else "encrypted" if begin else "none"


def described(path: Path) -> str:
    """How the file stands, in words, without opening it."""
    stands = standing(path)
    if stands == "encrypted":
        return f"encrypted; the key lies {device_kept(path.parent)}"
    if stands == "none":
        return "none yet"
    return f"plain, not encrypted: {IN_USE if has_device_secret(path.parent) else NO_SECRET}"


def _moved(path: Path, key: bytes, lock: int) -> str:
    """Moves a plain file over where nobody else has it open. What speaks against it, if anything does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        moved_over(path, key)
    except BlockingIOError:
        return IN_USE
    except (OSError, sqlcipher.Error, ArtefactError) as problem:
        return why_not_opened(problem)
    return ""


def moved_over(path: Path, key: bytes) -> None:
    """Puts an encrypted copy in the place of a plain file; the caller is alone with it.

    At each moment the name stands for one whole file. The old bytes are overwritten afterwards, which reaches
    the very blocks on most disks, not on flash that moves them. Cut off anywhere, it is finished next time.
    """
    draft, old = path.with_name(path.name + MOVING), path.with_name(path.name + OLD)
    if standing(path) == "plain":
        old.unlink(missing_ok=True)  # the same file under a second name, so it is not overwritten
        _copied(path, draft, key)
        os.link(path, old)
        draft.replace(path)
        sync_folder(path.parent)
    if old.exists():
        _overwritten(old)
        old.unlink()
        sync_folder(path.parent)


def _copied(path: Path, draft: Path, key: bytes) -> None:
    """What was committed, with what stands in the write-ahead log; read once from end to end."""
    for end in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + end).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlcipher.connect(str(path), isolation_level=None, timeout=BUSY_S)) as plain:
        plain.execute("PRAGMA cipher_log_level = NONE")
        plain.execute("PRAGMA synchronous = FULL")
        (mode,) = plain.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete" or path.with_name(path.name + "-wal").exists():
            raise ArtefactError(str(path), "an empty write-ahead log", f"journal mode {mode}")
        plain.execute("ATTACH DATABASE ? AS sealed KEY ?", (str(draft), _literal(key)))
        plain.execute("SELECT sqlcipher_export('sealed')")
        (version,) = plain.execute("PRAGMA user_version").fetchone()
        plain.execute(f"PRAGMA sealed.user_version = {version}")
        plain.execute("DETACH DATABASE sealed")
        with closing(_keyed(str(draft), key)) as copy:
            damaged = [row[0] for row in copy.execute("PRAGMA cipher_integrity_check")]
            if damaged or _content(copy) != _content(plain):
                raise ArtefactError(str(draft), "a sound copy", str(damaged or "another content"))
    with draft.open("rb+") as file:
        os.fsync(file.fileno())


def _content(file: Any) -> list[Any]:
    """Every table's definition and rows."""
    tables = file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    rows = [file.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name, _ in tables]  # noqa: S608 - names of our own
    return [tables, rows]


def _overwritten(path: Path) -> None:
    with path.open("rb+") as file:
        size = os.fstat(file.fileno()).st_size
        for begin in range(0, size, 1 << 20):
            file.write(bytes(min(1 << 20, size - begin)))
        file.flush()
        os.fsync(file.fileno())


def _connected(path: str, key: bytes | None) -> Any:
    file = _keyed(path, key)
    try:
        _as_log(file)
        file.execute("PRAGMA synchronous = FULL")
        file.execute("PRAGMA secure_delete = ON")
    except BaseException:
        file.close()
        raise
    return file


def _keyed(path: str, key: bytes | None) -> Any:
    file = sqlcipher.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        file.execute("PRAGMA cipher_log_level = NONE")
        if key is not None:
            file.execute(f'PRAGMA key = "{_literal(key)}"')
        file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        file.close()
        raise
    return file


def _literal(key: bytes) -> str:
    return f"x'{key.hex()}'"


def _as_log(file: Any) -> None:
    """Write-ahead logging. Two processes that make the file at once get in each other's way: tried again."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            file.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlcipher.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
