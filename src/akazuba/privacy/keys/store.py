"""The keys of one box in one file: its identity, whom it believes, its open offers, the hellos that it took.

What came from outside is kept as the signed bytes that came, and verified again at each start.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from akazuba.durable import erase_for_good, open_durable, writing
from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.privacy.keys.enrolment import Enrolment, Revocations
from akazuba.privacy.keys.envelope import OFFER_S, Prepared, QkdPolicy, prepare
from akazuba.privacy.keys.identity import Identity, PublicIdentity, new_identity
from akazuba.privacy.keys.registry import Registry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (made INTEGER NOT NULL, ed25519 BLOB NOT NULL, mldsa65 BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS programme (
    name TEXT NOT NULL, ed25519 BLOB NOT NULL, mldsa65 BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS coming (made INTEGER NOT NULL, ed25519 BLOB NOT NULL, mldsa65 BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS believed (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, bytes BLOB NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS offer (
    id BLOB PRIMARY KEY, bytes BLOB NOT NULL, ends INTEGER NOT NULL, x25519 BLOB NOT NULL,
    mlkem768 BLOB NOT NULL, qkd TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hello (hash BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
"""


class KeyStore:
    """path: the file; it is made with mode 0600. random: the system's source."""

    def __init__(
        self, path: Path, now: Callable[[], int], random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._path, self._now, self._random = path, now, random
        self._file = open_durable(path, _SCHEMA, "the file of this box's keys")

    def close(self) -> None:
        self._file.close()

    def identity(self) -> Identity:
        """The box's own; made at the first call."""
        with writing(self._file) as file:
            row = file.execute("SELECT ed25519, mldsa65 FROM identity ORDER BY rowid DESC").fetchone()
            if row is None:
                made = new_identity(self._random)
                self._insert(file, made)
                return made
        return Identity(*row)

    def next_identity(self) -> Identity:
        """The key that shall replace the own one; on the disk before anybody is asked to enrol it."""
        with writing(self._file) as file:
            row = file.execute("SELECT ed25519, mldsa65 FROM coming").fetchone()
            if row is None:
                made = new_identity(self._random)
                row = (made.ed25519_seed, made.mldsa65_seed)
                file.execute("INSERT INTO coming VALUES (?, ?, ?)", (self._now(), *row))
        return Identity(*row)

    def rotate(self) -> Identity:
        """Speaks with the next key from now on, and erases the old one. Call it when the next one is
        enrolled.

        Raises InputError when there is none.
        """
        with writing(self._file) as file:
            row = file.execute("SELECT ed25519, mldsa65 FROM coming").fetchone()
            if row is None:
                raise InputError("key", "a next one, from `next_identity`", "none")
            self._insert(file, Identity(*row))
            file.execute("DELETE FROM coming")
        erase_for_good(self._file)
        return Identity(*row)

    def join(self, programme: str, root: PublicIdentity) -> None:
        """Sets whom this box believes. Raises InputError when it belongs to another programme already."""
        with writing(self._file) as file:
            row = file.execute("SELECT name, ed25519, mldsa65 FROM programme").fetchone()
            if row is None:
                file.execute(
                    "INSERT INTO programme VALUES (?, ?, ?)", (programme, root.ed25519, root.mldsa65)
                )
            elif (row[0], PublicIdentity(*row[1:])) != (programme, root):
                raise InputError("programme", f"{row[0]}, to which this box belongs", programme)

    def registry(self) -> Registry:
        """Everything that this box believes, verified anew. Raises InputError before `join`."""
        row = self._file.execute("SELECT name, ed25519, mldsa65 FROM programme").fetchone()
        if row is None:
            raise InputError("programme", "a box that joined one", "none")
        registry = Registry(row[0], PublicIdentity(*row[1:]))
        self._catch_up(registry)
        return registry

    def believe(self, registry: Registry, kind: str, data: bytes) -> Enrolment | Revocations:
        """Takes an `enrolment` or `revocations` in and keeps it, after what other processes took in
        meanwhile.

        Raises UntrustedError.
        """
        with writing(self._file) as file:
            self._catch_up(registry)
            now = self._now()
            taken = _take_in(registry, kind, data, now)
            row = (now, kind, data)
            made = file.execute("INSERT OR IGNORE INTO believed (at, kind, bytes) VALUES (?, ?, ?)", row)
            if made.rowcount == 1:
                registry.position = int(made.lastrowid or 0)
        return taken

    def _catch_up(self, registry: Registry) -> None:
        rows = self._file.execute(
            "SELECT id, at, kind, bytes FROM believed WHERE id > ? ORDER BY id", (registry.position,)
        ).fetchall()
        for position, at, kind, data in rows:
            try:
                _take_in(registry, kind, data, at)
            except UntrustedError as problem:
                raise ArtefactError(str(self._path), f"a sound {kind}", str(problem)) from problem
            registry.position = position

    def offer(self, *, holds_s: int = OFFER_S, qkd: QkdPolicy = "off", sae: str | None = None) -> Prepared:
        """A fresh offer whose secrets are on the disk before it is given away."""
        made = prepare(self.identity(), self._now(), self._random, holds_s=holds_s, qkd=qkd, sae=sae)
        with writing(self._file) as file:
            row = (made.offer_id, made.offer, made.ends, made.x25519_seed, made.mlkem768_seed, made.qkd)
            file.execute("INSERT INTO offer VALUES (?, ?, ?, ?, ?, ?)", row)
        return made

    def offers(self) -> list[Prepared]:
        """Those that still hold. The secrets of the others are erased: what they opened stays closed."""
        self.forget()
        rows = self._file.execute("SELECT bytes, id, ends, x25519, mlkem768, qkd FROM offer ORDER BY ends")
        return [Prepared(*row) for row in rows]

    def forget(self, offer_id: bytes = b"") -> None:
        """Erases an offer's secrets, and those of every offer that has ended."""
        with writing(self._file) as file:
            file.execute("DELETE FROM offer WHERE id = ? OR ends < ?", (offer_id, self._now()))
            file.execute("DELETE FROM hello WHERE until < ?", (self._now(),))
        erase_for_good(self._file)

    def first_time(self, hello: bytes, until: int) -> bool:
        """Remembers a hello's hash; False when it is known."""
        with writing(self._file) as file:
            return file.execute("INSERT OR IGNORE INTO hello VALUES (?, ?)", (hello, until)).rowcount == 1

    def _insert(self, file: sqlite3.Connection, made: Identity) -> None:
        row = (self._now(), made.ed25519_seed, made.mldsa65_seed)
        file.execute("DELETE FROM identity")
        file.execute("INSERT INTO identity VALUES (?, ?, ?)", row)


def _take_in(registry: Registry, kind: str, data: bytes, now: int) -> Enrolment | Revocations:
    if kind == "enrolment":
        return registry.believe(data, now)
    if kind == "revocations":
        return registry.believe_revocations(data, now)
    raise InputError("kind", "enrolment or revocations", kind)
