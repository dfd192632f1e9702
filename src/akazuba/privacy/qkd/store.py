"""The crash-safe store of one key management entity: bits from the link, and keys that wait for their takers.

A block is cut into parts; every other part is this end's own to draw from, the rest are the peer's, so that
both may be master at once. Bits are used once: what is drawn leaves its part in the same transaction (SQLite,
WAL, synchronous=FULL, secure_delete), and `settle` empties the log. One process holds the file. Never put an
older copy of the file back: it would hold bits that were used.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.privacy.qkd import pool
from akazuba.privacy.qkd.messages import Block, Compared, Mark, Reservation
from akazuba.privacy.qkd.parts import new_uuid, proof

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservation (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, said BLOB NOT NULL, ends REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key (
    id TEXT PRIMARY KEY, reservation TEXT NOT NULL, master TEXT NOT NULL, slaves TEXT NOT NULL,
    waiting TEXT NOT NULL, simulated INTEGER NOT NULL, bits BLOB, ends REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reserved ON key (reservation);
"""


@dataclass(frozen=True)
class HeldKey:
    key_id: str
    bits: bytes = field(repr=False)
    simulated: bool


@dataclass(frozen=True)
class Drawn:
    """Bits that left the pool. said: what the peer is told; keys: in its order."""

    said: Reservation
    keys: tuple[HeldKey, ...]


class Store:
    """even: whether the even parts are this end's own; the other end's are the odd ones. now: seconds since
    1970. unclaimed_s: how long a key waits for its takers.
    """

    def __init__(
        self,
        path: Path,
        *,
        even: bool,
        now: Callable[[], float],
        unclaimed_s: float = 3600.0,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Raises ArtefactError when the file cannot be used, or another process holds it."""
        self._path, self._even, self._now = path, even, now
        self._unclaimed_s, self._random = unclaimed_s, random
        self._alone, self._written = threading.RLock(), 0
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
            self._file = sqlite3.connect(path, isolation_level=None, timeout=0.5, check_same_thread=False)
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                self._file.execute(f"PRAGMA {pragma}")
            for pragma in ("secure_delete=ON", "journal_size_limit=0", "temp_store=MEMORY"):
                self._file.execute(f"PRAGMA {pragma}")
            self._file.executescript(pool.SCHEMA + _SCHEMA)
            self._file.execute("UPDATE reservation SET state = 'void' WHERE state = 'drawn'")
        except (OSError, sqlite3.Error) as problem:
            raise ArtefactError(
                str(path), "a key store that no other process holds", str(problem)
            ) from problem

    def close(self) -> None:
        with self._alone:
            self._file.close()

    def add(self, block: Block) -> None:
        """Takes a block in; the same one twice is one. Raises UntrustedError for another under its number."""
        with self._writing() as file:
            pool.add(file, block, even=self._even)

    def next_number(self) -> int:
        return int(self._one("SELECT COALESCE(MAX(number) + 1, 0) FROM block"))

    def own_bytes(self) -> int:
        """That can be drawn now: of this end's own parts, where the peer is known to hold the same block."""
        return int(
            self._one(
                "SELECT COALESCE(SUM(LENGTH(bits)), 0) FROM part JOIN block ON block = number"
                " WHERE own = 1 AND agreed = 1"
            )
        )

    def held_bytes(self) -> int:
        return int(self._one("SELECT COALESCE(SUM(LENGTH(bits)), 0) FROM part"))

    def any_simulated(self) -> bool:
        return bool(
            self._one("SELECT EXISTS (SELECT 1 FROM block WHERE simulated = 1 AND secret IS NOT NULL)")
        )

    def not_agreed(self) -> tuple[Mark, ...]:
        """Blocks of which the peer's copy is not known yet; the oldest 512."""
        with self._reading() as file:
            rows = file.execute(
                "SELECT number, digest FROM block WHERE agreed = 0 AND secret IS NOT NULL"
                " ORDER BY number LIMIT 512"
            ).fetchall()
        return tuple(Mark(*row) for row in rows)

    def compare(self, marks: Sequence[Mark]) -> Compared:
        """Holds the peer's marks against ours. Blocks that differ are thrown away here."""
        alike, differing = list[int](), list[int]()
        with self._writing() as file:
            for mark in marks:
                row = file.execute("SELECT digest FROM block WHERE number = ?", (mark.number,)).fetchone()
                if row is not None:
                    same = hmac.compare_digest(row[0], mark.digest)
                    (alike if same else differing).append(mark.number)
            pool.agree(file, alike, differing)
        return Compared(tuple(alike), tuple(differing))

    def agree(self, said: Compared) -> None:
        """Takes the peer's answer to our marks in."""
        with self._writing() as file:
            pool.agree(file, said.alike, said.differing)

    def drop(self, blocks: Sequence[int]) -> None:
        """Throws blocks away in which the two ends are out of step."""
        with self._writing() as file:
            pool.agree(file, (), blocks)

    def make_room(self, wanted: int, room: int) -> bool:
        """Throws away what is left of blocks of which one half is used up, the oldest first, until so many
        bytes fit; False when they do not. Where only one end asks, the other half would fill the pool.
        """
        with self._writing() as file:
            halves = "SELECT block, SUM(LENGTH(bits)) FROM part GROUP BY block HAVING COUNT(DISTINCT own) = 1"
            held = file.execute("SELECT COALESCE(SUM(LENGTH(bits)), 0) FROM part").fetchone()[0]
            for number, size in file.execute(f"{halves} ORDER BY block").fetchall():
                if held + wanted <= room:
                    break
                pool.agree(file, (), [number])
                held -= size
        return bool(held + wanted <= room)

    def draw(self, master: str, slaves: Sequence[str], number: int, size: int) -> Drawn:
        """Durably takes `number` keys of `size` bytes out of our own parts: used, whatever happens next.

        Raises KeysExhaustedError, and then takes nothing.
        """
        with self._writing() as file:
            slices, bits, simulated, secret = pool.take(file, number * size)
            said = Reservation(
                new_uuid(self._random),
                master,
                tuple(slaves),
                tuple(new_uuid(self._random) for _ in range(number)),
                size,
                slices,
                b"",
            )
            said = msgspec.structs.replace(said, check=proof(secret, said, bits))
            file.execute(
                "INSERT INTO reservation VALUES (?, 'drawn', ?, ?)",
                (said.reservation, msgspec.json.encode(said), self._now() + self._unclaimed_s),
            )
        return Drawn(said, _cut(said, bits, simulated=simulated))

    def deliver(self, drawn: Drawn, here: Sequence[str]) -> None:
        """Durably marks the keys as handed to their master, and keeps them for the slaves of this end."""
        with self._writing() as file:
            file.execute("DELETE FROM reservation WHERE id = ?", (drawn.said.reservation,))
            if here:
                self._keep(file, drawn, here)

    def void(self, reservation: str) -> None:
        """A reservation of ours that came to nothing; the peer is still to be told."""
        with self._writing() as file:
            file.execute("UPDATE reservation SET state = 'void' WHERE id = ?", (reservation,))

    def void_untold(self) -> tuple[Reservation, ...]:
        with self._reading() as file:
            rows = file.execute("SELECT said FROM reservation WHERE state = 'void' LIMIT 1").fetchall()
        return tuple(msgspec.json.decode(row[0], type=Reservation) for row in rows)

    def void_told(self, reservations: Sequence[Reservation]) -> None:
        with self._writing() as file:
            ids = [(said.reservation,) for said in reservations]
            file.executemany("DELETE FROM reservation WHERE id = ? AND state = 'void'", ids)

    def accept(self, said: Reservation, here: Sequence[str]) -> bool:
        """Takes the peer's reservation in: the same bits leave our copy, the keys wait for the slaves of this
        end. Once, however often it is said. False when the two ends are out of step: then the blocks are
        thrown away here too.
        """
        with self._writing() as file:
            known = file.execute("SELECT state FROM reservation WHERE id = ?", (said.reservation,)).fetchone()
            if known is not None:
                return bool(known[0] == "accepted")
            found = pool.take_same(file, said)
            if found is None:
                pool.agree(file, (), {each.block for each in said.slices})
                return False
            self._note(file, said, "accepted")
            bits, simulated = found
            if here:
                self._keep(file, Drawn(said, _cut(said, bits, simulated=simulated)), here)
        return True

    def forget(self, reservations: Sequence[Reservation]) -> None:
        """The peer's reservations that came to nothing: their keys and bits are erased, and stay refused."""
        with self._writing() as file:
            for said in reservations:
                file.execute("DELETE FROM key WHERE reservation = ?", (said.reservation,))
                for each in said.slices:
                    pool.erase(file, each)
                file.execute("DELETE FROM reservation WHERE id = ?", (said.reservation,))
                self._note(file, said, "forgotten")

    def claim(self, master: str, slave: str, key_ids: Sequence[str]) -> tuple[HeldKey, ...]:
        """Hands keys to a slave, each once; the last one's taking erases it. All or none.

        Raises UntrustedError when one was never meant for the slave, InputError when one is not there.
        """
        keys = list[HeldKey]()
        with self._writing() as file:
            rows = [
                file.execute(
                    "SELECT master, slaves, waiting, simulated, bits FROM key WHERE id = ? AND ends > ?",
                    (key_id, self._now()),
                ).fetchone()
                for key_id in key_ids
            ]
            if any(row is not None and slave not in row[1].split() for row in rows):
                raise UntrustedError("key_ID", "a key of this SAE", "one of others")
            for key_id, row in zip(key_ids, rows, strict=True):
                if row is None or row[0] != master or slave not in row[2].split():
                    raise InputError("key_ID", "keys that wait for this SAE", "none under one of the ids")
                keys.append(HeldKey(key_id, row[4], bool(row[3])))
                left = [name for name in row[2].split() if name != slave]
                file.execute(
                    "UPDATE key SET waiting = ?, bits = ? WHERE id = ?",
                    (" ".join(left), row[4] if left else None, key_id),
                )
        return tuple(keys)

    def settle(self) -> None:
        """Erases what nobody claimed in time, and empties the write-ahead log, which holds used bits."""
        with self._writing() as file:
            now = self._now()
            file.execute("DELETE FROM key WHERE ends <= ?", (now,))
            file.execute(
                "DELETE FROM reservation WHERE ends <= ? AND state IN ('accepted', 'forgotten')", (now,)
            )
        with self._reading() as file:
            if file.total_changes != self._written:
                file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._written = file.total_changes

    def _keep(self, file: sqlite3.Connection, drawn: Drawn, here: Sequence[str]) -> None:
        said, names = drawn.said, " ".join(here)
        ends = self._now() + self._unclaimed_s
        file.executemany(
            "INSERT INTO key VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (key.key_id, said.reservation, said.master, names, names, key.simulated, key.bits, ends)
                for key in drawn.keys
            ],
        )

    def _note(self, file: sqlite3.Connection, said: Reservation, state: str) -> None:
        ends = self._now() + self._unclaimed_s
        file.execute("INSERT INTO reservation VALUES (?, ?, '', ?)", (said.reservation, state, ends))

    def _one(self, query: str) -> int:
        with self._reading() as file:
            return int(file.execute(query).fetchone()[0])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._alone:
            try:
                yield self._file
            except sqlite3.Error as problem:
                raise ArtefactError(str(self._path), "a sound key store", str(problem)) from problem

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk when it returns."""
        with self._reading() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
                file.execute("COMMIT")
            except BaseException:
                if file.in_transaction:
                    file.execute("ROLLBACK")
                raise


def _cut(said: Reservation, bits: bytes, *, simulated: bool) -> tuple[HeldKey, ...]:
    return tuple(
        HeldKey(key_id, bits[index * said.size : (index + 1) * said.size], simulated)
        for index, key_id in enumerate(said.key_ids)
    )
