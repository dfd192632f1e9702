"""Bits that wait to be drawn: blocks in parts, some this end's own and the rest the peer's. A bit that is
used leaves its part; the last one takes the block's secret along.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Collection

from akazuba.errors import KeysExhaustedError, UntrustedError
from akazuba.privacy.qkd.messages import CHECK, Block, Reservation, Slice
from akazuba.privacy.qkd.parts import digest_of, parts_of, proof

SCHEMA = """
CREATE TABLE IF NOT EXISTS block (
    number INTEGER PRIMARY KEY, simulated INTEGER NOT NULL, digest BLOB NOT NULL,
    secret BLOB, agreed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS part (
    block INTEGER NOT NULL, part INTEGER NOT NULL, own INTEGER NOT NULL, start INTEGER NOT NULL,
    bits BLOB NOT NULL, PRIMARY KEY (block, part)
);
"""


def add(file: sqlite3.Connection, block: Block, *, even: bool) -> None:
    """even: whether the even parts are this end's own. Raises UntrustedError for another of its number."""
    digest = digest_of(block)
    known = file.execute("SELECT digest FROM block WHERE number = ?", (block.number,)).fetchone()
    if known is not None:
        if not hmac.compare_digest(known[0], digest):
            found = "another one under its number"
            raise UntrustedError(f"block {block.number}", "the block that came before", found)
        return
    row = (block.number, block.simulated, digest, block.bits[:CHECK])
    file.execute("INSERT INTO block VALUES (?, ?, ?, ?, 0)", row)
    file.executemany(
        "INSERT INTO part VALUES (?, ?, ?, 0, ?)",
        [
            (block.number, index, ((block.number + index) % 2 == 0) == even, part)
            for index, part in enumerate(parts_of(block.bits[CHECK:]))
        ],
    )


def take(file: sqlite3.Connection, wanted: int) -> tuple[tuple[Slice, ...], bytes, bool, bytes]:
    """wanted: bytes. Where they stood, they themselves, whether any is simulated, the first block's secret.

    Raises KeysExhaustedError.
    """
    rows = file.execute(
        "SELECT block, part, start, bits, simulated, secret FROM part JOIN block ON block = number"
        " WHERE own = 1 AND agreed = 1 ORDER BY block, part"
    )
    slices, bits, simulated, secret = list[Slice](), b"", False, b""
    for block, part, start, held, was_simulated, of_block in rows:
        taken = held[: wanted - len(bits)]
        slices.append(Slice(block, part, start, len(taken)))
        bits += taken
        simulated = simulated or bool(was_simulated)
        secret = secret or of_block
        if len(bits) == wanted:
            break
    rows.close()
    if len(bits) < wanted:
        raise KeysExhaustedError("quantum keys", f"{wanted} bytes of them", f"{len(bits)} bytes")
    for each in slices:
        erase(file, each)
    return tuple(slices), bits, simulated, secret


def take_same(file: sqlite3.Connection, said: Reservation) -> tuple[bytes, bool] | None:
    """The bits of a reservation out of our copy of the peer's parts, which leave it; None when they are
    not there any more, or are others.
    """
    bits, simulated, secret = b"", False, b""
    for each in said.slices:
        row = file.execute(
            "SELECT start, bits, simulated, secret FROM part JOIN block ON block = number"
            " WHERE block = ? AND part = ? AND own = 0",
            (each.block, each.part),
        ).fetchone()
        if row is None or each.start < row[0]:
            return None
        bits += row[1][each.start - row[0] :][: each.length]
        simulated, secret = simulated or bool(row[2]), secret or row[3]
        erase(file, each)
    if len(bits) != said.size * len(said.key_ids):
        return None
    return (bits, simulated) if hmac.compare_digest(proof(secret, said, bits), said.check) else None


def erase(file: sqlite3.Connection, used: Slice) -> None:
    """Erases a slice and what stands before it in its part: the two ends draw in order."""
    row = file.execute(
        "SELECT start, bits FROM part WHERE block = ? AND part = ?", (used.block, used.part)
    ).fetchone()
    if row is None:
        return
    left = row[1][max(0, used.start + used.length - row[0]) :]
    if left:
        file.execute(
            "UPDATE part SET start = ?, bits = ? WHERE block = ? AND part = ?",
            (row[0] + len(row[1]) - len(left), left, used.block, used.part),
        )
        return
    file.execute("DELETE FROM part WHERE block = ? AND part = ?", (used.block, used.part))
    file.execute(
        "UPDATE block SET secret = NULL WHERE number = ?"
        " AND NOT EXISTS (SELECT 1 FROM part WHERE block = number)",
        (used.block,),
    )


def agree(file: sqlite3.Connection, alike: Collection[int], differing: Collection[int]) -> None:
    file.executemany("UPDATE block SET agreed = 1 WHERE number = ?", [(number,) for number in alike])
    for number in differing:
        file.execute("DELETE FROM part WHERE block = ?", (number,))
        file.execute("UPDATE block SET secret = NULL, digest = X'' WHERE number = ?", (number,))
