"""The store: entries that are only ever added, each with its leaf of the audit log in the same transaction.

One file, every page encrypted (SQLCipher), WAL, synchronous=FULL; one process writes. An entry about a
patient is encrypted once more under a key of that patient. Erasing a patient erases that key: the entries
stay, unreadable, and the log still verifies. A leaf is the hash of an entry's head and of its stored bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.errors import ArtefactError, InputError, OutOfTimeError, encodable
from akazuba.merkle import Frontier, leaf_hash
from akazuba.storage.file import BUSY_S, LOCK, locked, opened, ours
from akazuba.storage.migrations import current, migrate
from akazuba.storage.person import Person, searchable
from akazuba.storage.unlocking import FILE, StoreKey

MOST_BYTES = 32 * 1024 * 1024
"""Of one entry's body: a case with its pictures."""

MOST_SEARCHED = 200
"""Characters of a name that is searched."""

ERASE = (
    "UPDATE patient SET key = NULL, name = NULL, searched = NULL,"
    " born = '', sex = '', place = '' WHERE id = ?"
)

Random = Callable[[int], bytes]
Head = tuple[int, int, str, str, str]
"""Of an entry: index, at_ms, kind, by, patient."""


@dataclass(frozen=True)
class Entry:
    """What is to be recorded. kind: what it is (`case`, `decision`, `read`, …). by: who did it. patient: its
    id, "" for none. body: JSON or any bytes.
    """

    kind: str
    by: str
    body: bytes
    patient: str = ""


@dataclass(frozen=True)
class Recorded:
    """index: in the audit log, from 0. at_ms: since 1970, by the box's clock. body: None once erased."""

    index: int
    at_ms: int
    kind: str
    by: str
    patient: str
    body: bytes | None


class Store:
    """home: the box's folder. now_ms: milliseconds since 1970.

    Raises InputError for another key or a store that another process writes to, ArtefactError for a broken
    file.
    """

    def __init__(
        self,
        home: Path,
        key: StoreKey,
        now_ms: Callable[[], int],
        random: Random = os.urandom,
        *,
        read_only: bool = False,
    ) -> None:
        self._path, self.key, self._now_ms, self._random = home / FILE, key, now_ms, random
        self._frontier = self._pending = Frontier()
        self._lock = None if read_only else locked(home / LOCK)
        try:
            self._file = opened(self._path, key.database, read_only=read_only)
            try:
                if read_only:
                    current(self._file, str(self._path))
                else:
                    with self._writing():
                        migrate(self._file, str(self._path))
                self._frontier = self._read_frontier()
                if not read_only:
                    self._erase_again()
            except BaseException:
                self._file.close()
                raise
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            self._release()

    def view(self) -> Store:
        """The same store, opened once more and to read only: for another thread, and closed by it."""
        return Store(self._path.parent, self.key, self._now_ms, self._random, read_only=True)

    def now_ms(self) -> int:
        """By the clock whose times the entries bear: milliseconds since 1970."""
        return self._now_ms()

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
        self._lock = None

    # --- writing ------------------------------------------------------------------------------------

    def add(self, *entries: Entry) -> list[Recorded]:
        """Records them all or none; they are on the disk when this returns."""
        with self._writing():
            return self._added(entries)

    def admit(self, person: Person, by: str) -> Recorded:
        """A new patient, or changed particulars of a known one."""
        person = Person(*map(encodable, (person.id, person.name, person.born, person.sex, person.place)))
        if not person.id or not person.name.strip():
            raise InputError("patient", "an id and a name", "none")
        with self._writing():
            known = self._file.execute("SELECT key FROM patient WHERE id = ?", (person.id,)).fetchone()
            if known and known[0] is None:
                raise InputError("patient", "one that was not erased", person.id)
            key = known[0] if known else self._random(32)
            known_as = (person.name, searchable(person.name), person.born, person.sex, person.place)
            row = (person.id, key, *known_as)
            self._file.execute("INSERT OR REPLACE INTO patient VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            (recorded,) = self._added([Entry("patient", by, msgspec.json.encode(person), person.id)])
        return recorded

    def tell_more(self, there: Person, more: Person, by: str) -> None:
        """Admits an unnamed patient again, with what is known of her by now."""
        if (told := there.told(more)) != there:
            self.admit(told, by)

    def erase(self, patient: str, by: str, because: str) -> Recorded:
        """Makes every entry about a patient unreadable for good; they still count in the log.

        Raises OutOfTimeError when she is erased but another process that reads keeps the old pages in the
        write-ahead log: they go when the last process closes the store.
        """
        with self._writing():
            self._patient_key(patient)
            self._file.execute(ERASE, (patient,))
            body = msgspec.json.encode({"patient": patient, "because": because})
            (recorded,) = self._added([Entry("erasure", by, body)])
        (busy, _, _) = next(iter(self._rows("PRAGMA wal_checkpoint(TRUNCATE)")))
        if busy:
            expected = f"old pages gone within {BUSY_S:g} s"
            raise OutOfTimeError(f"erasure of {patient}", expected, "a reader; they go when it ends")
        return recorded

    def _erase_again(self) -> None:
        """An old page of the file that comes back brings no erased patient back."""
        for entry in list(self.entries(kind="erasure")):
            patient = patient_erased(entry)
            if self._row("SELECT 1 FROM patient WHERE id = ? AND key IS NOT NULL", (patient,)):
                with self._writing():
                    self._file.execute(ERASE, (patient,))

    def remember(self, name: str, value: bytes) -> None:
        """A value that is no record (a counter, how far the spool is merged)."""
        with self._writing():
            self._remember(name, value)

    def add_with(self, name: str, value: bytes, entries: Sequence[Entry]) -> list[Recorded]:
        """Entries and a remembered value in one transaction."""
        with self._writing():
            self._remember(name, value)
            return self._added(entries)

    def copy_to(self, path: Path, name: str, value: bytes) -> None:
        """Writes the store as it stands, under the same key, into an empty file, in which the copy remembers
        a value. Raises ArtefactError when the disk refuses or the copy isn't what was copied.
        """
        key = self.key.database
        try:
            self._file.execute("VACUUM INTO ?", (str(path),))
            with closing(opened(path, key, read_only=False)) as copy:
                copy.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (name, value))
                damaged = [row[0] for row in copy.execute("PRAGMA cipher_integrity_check")]
                (entries,) = copy.execute("SELECT COUNT(*) FROM entry").fetchone()
        except sqlcipher.Error as problem:
            raise ours(str(path), problem) from problem
        if damaged or entries != self.size:
            raise ArtefactError(str(path), f"a sound copy of {self.size} entries", f"{entries}; {damaged}")

    def _remember(self, name: str, value: bytes) -> None:
        self._file.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (name, value))

    def _added(self, entries: Sequence[Entry]) -> list[Recorded]:
        recorded, nodes, frontier = [], [], self._frontier
        for entry in entries:
            kind, by, patient = map(encodable, (entry.kind, entry.by, entry.patient))
            head = (frontier.size, self._now_ms(), kind, by, patient)
            stored = self._sealed(entry, head)
            self._file.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", (*head, stored))
            frontier, made = frontier.appended(leaf_hash(leaf(head, stored)))
            nodes += [(node.level, node.index, node.hash) for node in made]
            recorded.append(_recorded(head, entry.body))
        self._file.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
        self._pending = frontier
        return recorded

    def _sealed(self, entry: Entry, head: Head) -> bytes:
        if len(entry.body) > MOST_BYTES:
            raise InputError(entry.kind, f"at most {MOST_BYTES} bytes", f"{len(entry.body)} bytes")
        if not entry.patient:
            return entry.body
        nonce = self._random(12)
        key = self._patient_key(entry.patient)
        return nonce + AESGCM(key).encrypt(nonce, entry.body, msgspec.msgpack.encode(head))

    # --- reading ------------------------------------------------------------------------------------

    def recall(self, name: str) -> bytes | None:
        row = self._row("SELECT value FROM remembered WHERE name = ?", (name,))
        return row[0] if row else None

    def entries(
        self, *, patient: str | None = None, kind: str | None = None, first: int = 0
    ) -> Iterator[Recorded]:
        """In the order of the log. Whoever shows them to somebody records a `read` first."""
        by_kind = "+kind = ?" if patient else "kind = ?"  # of one patient there are few of any kind
        wanted = [("idx >= ?", first), ("patient = ?", patient), (by_kind, kind)]
        used = [(clause, value) for clause, value in wanted if value is not None]
        where = " AND ".join(clause for clause, _ in used)
        query = f"SELECT idx, at_ms, kind, by, patient, stored FROM entry WHERE {where} ORDER BY idx"  # noqa: S608 - our own clauses
        keys: dict[str, bytes | None] = {}
        for row in self._rows(query, tuple(value for _, value in used)):
            yield self._opened_entry(row[:5], row[5], keys)

    def last(self, kind: str) -> Recorded | None:
        """The newest entry of a kind."""
        query = (
            "SELECT idx, at_ms, kind, by, patient, stored FROM entry WHERE kind = ? ORDER BY idx DESC LIMIT 1"
        )
        row = self._row(query, (kind,))
        return self._opened_entry(row[:5], row[5], {}) if row else None

    def entry(self, index: int) -> Recorded:
        if not 0 <= index < self.size:
            raise InputError("index", f"an entry of the {self.size}, counted from 0", str(index))
        found = next(self.entries(first=index), None)
        if found is None or found.index != index:
            raise ArtefactError(f"entry {index}", "what was recorded", "none")
        return found

    def search(self, name: str, most: int = 20) -> list[Person]:
        """Patients whose name holds every word given, in any order, whatever its accents and case."""
        if len(name) > MOST_SEARCHED:
            raise InputError("name", f"at most {MOST_SEARCHED} characters", f"{len(name)}")
        words = searchable(encodable(name)).split()
        if not words:
            return []
        where = " AND ".join("searched LIKE ? ESCAPE '!'" for _ in words)
        marked = [f"%{word.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%" for word in words]
        query = f"SELECT id, name, born, sex, place FROM patient WHERE {where} ORDER BY searched LIMIT ?"  # noqa: S608 - our own clauses
        return [Person(*row) for row in self._rows(query, (*marked, most))]

    def person(self, patient: str) -> Person:
        row = self._row("SELECT id, name, born, sex, place FROM patient WHERE id = ?", (patient,))
        if row is None or row[1] is None:
            raise InputError("patient", "one of this store", f"{patient}, which is unknown or erased")
        return Person(*row)

    def _opened_entry(self, head: Head, stored: bytes, keys: dict[str, bytes | None]) -> Recorded:
        patient = head[4]
        if not patient:
            return _recorded(head, stored)
        if patient not in keys:
            row = self._row("SELECT key FROM patient WHERE id = ?", (patient,))
            keys[patient] = row[0] if row else None
        key = keys[patient]
        if key is None:
            return _recorded(head, None)
        try:
            body = AESGCM(key).decrypt(stored[:12], stored[12:], msgspec.msgpack.encode(head))
        except (InvalidTag, ValueError) as problem:
            raise ArtefactError(f"entry {head[0]}", "what was recorded", "an altered one") from problem
        return _recorded(head, body)

    def _patient_key(self, patient: str) -> bytes:
        row = self._row("SELECT key FROM patient WHERE id = ?", (patient,))
        if row is None or row[0] is None:
            raise InputError("patient", "one of this store", f"{patient}, which is unknown or erased")
        return bytes(row[0])

    # --- the audit log ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def root(self) -> bytes:
        return self._frontier.root()

    def node(self, level: int, index: int) -> bytes:
        """A perfect subtree's hash; level 0: the leaf of an entry."""
        row = self._row("SELECT hash FROM node WHERE level = ? AND idx = ?", (level, index))
        if row is None:
            raise ArtefactError(str(self._path), f"node {index} of level {level}", "none")
        return bytes(row[0])

    def heads(self, first: int = 0) -> Iterator[tuple[Head, bytes]]:
        """Each entry's head and the SHA-256 of its stored bytes; nothing is decrypted."""
        query = "SELECT idx, at_ms, kind, by, patient, stored FROM entry WHERE idx >= ? ORDER BY idx"
        for row in self._rows(query, (first,)):
            yield row[:5], stored_hash(row[5])

    def leaves(self, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Each entry's leaf, hashed anew from what is stored."""
        for head, stored in self.heads(first):
            yield head[0], leaf_hash(leaf_from(head, stored))

    def damaged(self) -> list[str]:
        """What is wrong beyond the leaves: pages whose HMAC does not hold, an index that an old page which
        came back has made miss entries, patients whose particulars aren't those that were recorded last, who
        cannot be read though nobody erased them, or who can though somebody did.
        """
        wrong = [str(row[0]) for row in self._rows("PRAGMA cipher_integrity_check")]
        wrong += [str(row[0]) for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
        last = {entry.patient: entry.body for entry in self.entries(kind="patient") if entry.body}
        rows = self._rows("SELECT id, name, born, sex, place FROM patient WHERE key IS NOT NULL")
        known = {row[0]: msgspec.json.encode(Person(*row)) for row in rows}
        odd = sorted(id_ for id_ in last.keys() | known.keys() if last.get(id_) != known.get(id_))
        wrong += [f"patient {id_}: other particulars than were recorded" for id_ in odd]
        erased = {patient_erased(entry) for entry in self.entries(kind="erasure")}
        there = {row[0] for row in self._rows("SELECT DISTINCT patient FROM entry WHERE patient != ''")}
        wrong += [
            f"patient {id_}: unreadable, and not erased" for id_ in sorted(there - erased - known.keys())
        ]
        return wrong + [f"patient {id_}: erased, and still readable" for id_ in sorted(erased & known.keys())]

    def _read_frontier(self) -> Frontier:
        row = self._row("SELECT COALESCE(MAX(idx), -1) + 1 FROM entry")
        return Frontier.of(int(row[0]) if row else 0, self.node)

    def _rows(self, query: str, values: Sequence[object] = ()) -> Iterator[Any]:
        try:
            yield from self._file.execute(query, values)
        except sqlcipher.Error as problem:
            raise ours(str(self._path), problem) from problem

    def _row(self, query: str, values: Sequence[object] = ()) -> Any:
        return next(iter(list(self._rows(query, values))), None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._pending = self._frontier
                yield
                self._file.execute("COMMIT")
                self._frontier = self._pending
            finally:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
        except sqlcipher.Error as problem:
            raise ours(str(self._path), problem) from problem


def _recorded(head: Head, body: bytes | None) -> Recorded:
    index, at_ms, kind, by, patient = head
    return Recorded(index, at_ms, kind, by, patient, body)


def patient_erased(erasure: Recorded) -> str:
    """Of an `erasure`. Raises ArtefactError."""
    try:
        return msgspec.json.decode(erasure.body or b"{}", type=dict[str, str]).get("patient", "")
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"entry {erasure.index}", "an erasure", str(problem)) from problem


def leaf(head: Head, stored: bytes) -> bytes:
    """What a leaf is the hash of: an entry's index, time, kind, author, patient and stored bytes' hash."""
    return leaf_from(head, stored_hash(stored))


def leaf_from(head: Head, stored: bytes) -> bytes:
    """The same from `stored_hash`, for whoever has no more than that."""
    return msgspec.msgpack.encode(("akazuba leaf v1", *head, stored))


def stored_hash(stored: object) -> bytes:
    """SHA-256. A column that is no bytes any more was altered: it hashes to something else."""
    data = stored if isinstance(stored, bytes) else repr(("altered", stored)).encode()
    return hashlib.sha256(data).digest()
