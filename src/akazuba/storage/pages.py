"""The pages of a store's file, each deciphered by itself: what is left to read when SQLite gives up.

The forms are SQLCipher 4's (zetetic.net/sqlcipher/design: AES-256-CBC, HMAC-SHA512 over a page and its
number, 80 bytes at a page's end) and SQLite's (sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4).
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import pbkdf2_hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

PAGE, RESERVED, SALT = 4096, 80, 16
USABLE = PAGE - RESERVED
WAL_HEAD, FRAME_HEAD = 32, 24
TABLE_LEAF, INDEX_LEAF, INDEX_INNER = 13, 10, 2

Value = int | bytes | None
"""Of a column. Text is left as its bytes; the store keeps no fractions."""


@dataclass(frozen=True)
class Pages:
    """By page number: the newest version of each, and older ones that still open. altered: no sound version
    is left of these.
    """

    newest: dict[int, bytes]
    older: list[tuple[int, bytes]]
    altered: list[int]


def deciphered(file: bytes, log: bytes, database_key: bytes) -> Pages:
    """file, log: the database and its write-ahead log, whose last whole transaction counts."""
    salt = file[:SALT]
    mac_key = pbkdf2_hmac("sha512", database_key, bytes(byte ^ 0x3A for byte in salt), 2, 32)
    versions = dict[int, list[bytes]]()
    for begin in range(0, len(file), PAGE):
        versions.setdefault(begin // PAGE + 1, []).append(file[begin : begin + PAGE])
    for number, page in committed(log):
        versions.setdefault(number, []).append(page)
    pages = Pages({}, [], [])
    for number, kept in sorted(versions.items()):
        plain = [_plain(number, page, database_key, mac_key) for page in kept]
        if plain[-1] is not None:
            pages.newest[number] = plain[-1]
        pages.older.extend((number, page) for page in plain[:-1] if page is not None)
        if plain[-1] is None:
            pages.altered.append(number)
    return pages


def committed(log: bytes) -> Iterator[tuple[int, bytes]]:
    """The pages of a write-ahead log up to the last commit whose checksums hold (fileformat2, 4.1)."""
    if len(log) < WAL_HEAD:
        return
    order = ">" if log[3] & 1 else "<"
    salts, sums = log[16:24], _checksum(order, log[:24], (0, 0))
    if sums != struct.unpack(">2I", log[24:32]):
        return
    waiting = list[tuple[int, bytes]]()
    for begin in range(WAL_HEAD, len(log) - FRAME_HEAD - PAGE + 1, FRAME_HEAD + PAGE):
        head, page = log[begin : begin + FRAME_HEAD], log[begin + FRAME_HEAD : begin + FRAME_HEAD + PAGE]
        sums = _checksum(order, page, _checksum(order, head[:8], sums))
        if head[8:16] != salts or sums != struct.unpack(">2I", head[16:24]):
            return
        number, size = struct.unpack(">2I", head[:8])
        waiting.append((number, page))
        if size:
            yield from waiting
            waiting = []


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    for even, odd in struct.iter_unpack(f"{order}2I", data):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _plain(number: int, page: bytes, key: bytes, mac_key: bytes) -> bytes | None:
    """As long as it was; None when its HMAC does not hold."""
    if len(page) < PAGE:
        return None
    start = SALT if number == 1 else 0
    sealed, vector = page[start:USABLE], page[USABLE : USABLE + 16]
    found = hmac.digest(mac_key, sealed + vector + number.to_bytes(4, "little"), "sha512")
    if not hmac.compare_digest(found, page[-64:]):
        return None
    opener = Cipher(AES256(key), CBC(vector)).decryptor()
    return bytes(start) + opener.update(sealed) + opener.finalize() + bytes(RESERVED)


def rows(number: int, page: bytes, all_pages: dict[int, bytes]) -> Iterator[tuple[int | None, list[Value]]]:
    """The records that lie on a page of a table or an index, a table's with their rowid.

    What does not read as SQLite wrote it (an overflow page that is lost, say) is left out.
    """
    head = 100 if number == 1 else 0
    kind = page[head]
    if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INNER):
        return
    cells = int.from_bytes(page[head + 3 : head + 5], "big")
    first = head + (12 if kind == INDEX_INNER else 8)
    for at in range(first, first + 2 * cells, 2):
        begin = int.from_bytes(page[at : at + 2], "big")
        try:
            yield _row(page, begin, kind, all_pages)
        except (IndexError, KeyError, ValueError):
            continue


def _row(page: bytes, at: int, kind: int, all_pages: dict[int, bytes]) -> tuple[int | None, list[Value]]:
    rowid = None
    if kind == INDEX_INNER:
        at += 4
    length, at = _varint(page, at)
    if kind == TABLE_LEAF:
        rowid, at = _varint(page, at)
    most = USABLE - 35 if kind == TABLE_LEAF else (USABLE - 12) * 64 // 255 - 23
    payload = page[at : at + length]
    if length > most:
        least = (USABLE - 12) * 32 // 255 - 23
        local = least + (length - least) % (USABLE - 4)
        local = local if local <= most else least
        payload = _with_overflow(page, at, local, length, all_pages)
    return rowid, _columns(payload)


def _with_overflow(page: bytes, at: int, local: int, length: int, all_pages: dict[int, bytes]) -> bytes:
    parts, size = [page[at : at + local]], local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while size < length:
        more = all_pages[following]
        parts.append(more[4 : min(USABLE, 4 + length - size)])
        size += len(parts[-1])
        following = int.from_bytes(more[:4], "big")
    return b"".join(parts)


def _columns(payload: bytes) -> list[Value]:
    """Of the record format (fileformat2, 2.1). Raises ValueError for a fraction or a record cut short."""
    end, at = _varint(payload, 0)
    kinds = list[int]()
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values, at = list[Value](), end
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("a record of another length")
    return values


WHOLE: Sequence[int] = (0, 1, 2, 3, 4, 6, 8)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind <= 6:
        return int.from_bytes(payload[at : at + WHOLE[kind]], "big", signed=True), at + WHOLE[kind]
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError(f"a column of kind {kind}")
    length = (kind - 12) // 2
    return payload[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(8):
        byte = data[at + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + step + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64 if value >> 63 else 0), at + 9
