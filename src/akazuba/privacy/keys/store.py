"""The keys of one box in one file: its identity, whom it believes, its open offers, the hellos that it took.

What came from outside is kept as the signed bytes that came, and verified again at each start.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
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
CREATE TABLE IF NOT EXISTS believed (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, bytes BLOB NOT NULL);
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

    def rotate(self, new: Identity) -> None:
        """Speaks with the new key from now on. Call it when the authority has enrolled that key."""
        with writing(self._file) as file:
            self._insert(file, new)

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
        with closing(self._file.execute("SELECT kind, bytes FROM believed ORDER BY id")) as rows:
            for kind, data in rows:
                try:
                    _take_in(registry, kind, data)
                except UntrustedError as problem:
                    raise ArtefactError(str(self._path), f"a sound {kind}", str(problem)) from problem
        return registry

    def believe(self, registry: Registry, kind: str, data: bytes) -> Enrolment | Revocations:
        """Takes an `enrolment` or `revocations` in and keeps it. Raises UntrustedError."""
        taken = _take_in(registry, kind, data)
        with writing(self._file) as file:
            file.execute("INSERT INTO believed (kind, bytes) VALUES (?, ?)", (kind, data))
        return taken

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


def _take_in(registry: Registry, kind: str, data: bytes) -> Enrolment | Revocations:
    if kind == "enrolment":
        return registry.believe(data)
    if kind == "revocations":
        return registry.believe_revocations(data)
    raise InputError("kind", "enrolment or revocations", kind)
