"""What can still be read of a damaged store: page by page, nothing is written.

An entry counts when its leaf is the one that the log holds; where the log's own page is lost, the page's HMAC
must do. An erased patient's entries stay unreadable: only the newest version of a patient's page is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from akazuba.errors import ArtefactError, why_not_opened
from akazuba.merkle import HASH_BYTES, leaf_hash
from akazuba.storage.pages import PAGE, Pages, Value, deciphered, rows
from akazuba.storage.store import Head, Recorded, leaf
from akazuba.storage.unlocking import FILE, StoreKey


@dataclass(frozen=True)
class Salvaged:
    """entries: in the log's order; body is None for an erased patient's, or one whose key is lost. lost: the
    indices of which nothing is left, as far as the log is known. why: what was wrong, in one sentence.
    """

    entries: list[Recorded]
    lost: list[int]
    why: str


def salvage(home: Path, key: StoreKey) -> Salvaged:
    """Raises ArtefactError when there is no file or not one page that this key opens."""
    path = home / FILE
    try:
        file = path.read_bytes()
        log = path.with_name(f"{FILE}-wal")
        pages = deciphered(file, log.read_bytes() if log.exists() else b"", key.database)
    except OSError as problem:
        raise ArtefactError(str(path), "the store's file", why_not_opened(problem)) from problem
    if not pages.newest:
        raise ArtefactError(str(path), "a page that this store's key opens", f"{len(file)} bytes of others")
    heads, altered = _entries(pages, nodes := _leaves(pages))
    keys = _patients(pages)
    size = max([*heads, *nodes, -1]) + 1
    entries = [_opened(head, stored, keys) for head, stored in (heads[index] for index in sorted(heads))]
    lost = [index for index in range(size) if index not in heads]
    return Salvaged(entries, lost, _why(pages, len(file), altered, lost))


def _entries(pages: Pages, leaves: dict[int, bytes]) -> tuple[dict[int, tuple[Head, bytes]], int]:
    """By index; and how many rows are not what the log says of them. Entries never change, so that an older
    version of a page is as good as the newest.
    """
    found, altered = dict[int, tuple[Head, bytes]](), 0
    every = dict(pages.older) | pages.newest
    for number, page in [*pages.newest.items(), *pages.older]:
        for index, columns in rows(number, page, every):
            head, stored = _entry(index, columns)
            if head is None or head[0] in found:
                continue
            if leaves.get(head[0]) in (None, leaf_hash(leaf(head, stored))):
                found[head[0]] = head, stored
            else:
                altered += 1
    return found, altered


def _entry(index: int | None, columns: list[Value]) -> tuple[Head | None, bytes]:
    """The row of an entry, of a table that has six columns as no other has."""
    if index is None or index < 0 or len(columns) != 6:
        return None, b""
    _, at_ms, kind, by, patient, stored = columns
    words = [_text(word) for word in (kind, by, patient)]
    if not isinstance(at_ms, int) or not isinstance(stored, bytes) or None in words:
        return None, b""
    return (index, at_ms, words[0] or "", words[1] or "", words[2] or ""), stored


def _leaves(pages: Pages) -> dict[int, bytes]:
    found = dict[int, bytes]()
    for number, page in [*pages.older, *pages.newest.items()]:
        for rowid, columns in rows(number, page, pages.newest):
            if rowid is None and len(columns) == 3 and columns[0] == 0:
                _, index, hash_ = columns
                if isinstance(index, int) and isinstance(hash_, bytes) and len(hash_) == HASH_BYTES:
                    found[index] = hash_
    return found


def _patients(pages: Pages) -> dict[str, bytes]:
    found = dict[str, bytes]()
    for number, page in pages.newest.items():
        for rowid, columns in rows(number, page, pages.newest):
            if rowid is not None and len(columns) == 7:
                id_, key = _text(columns[0]), columns[1]
                if id_ and isinstance(key, bytes) and len(key) == 32:
                    found[id_] = key
    return found


def _opened(head: Head, stored: bytes, keys: dict[str, bytes]) -> Recorded:
    body: bytes | None = stored
    if head[4]:
        try:
            sealed = AESGCM(keys[head[4]])
            body = sealed.decrypt(stored[:12], stored[12:], msgspec.msgpack.encode(head))
        except (KeyError, InvalidTag, ValueError):
            body = None
    return Recorded(*head, body)


def _why(pages: Pages, size: int, altered: int, lost: list[int]) -> str:
    said = []
    if pages.altered:
        numbers = ", ".join(map(str, pages.altered[:10])) + (", …" if len(pages.altered) > 10 else "")
        said.append(f"{len(pages.altered)} of {-(-size // PAGE)} pages altered or cut short ({numbers})")
    if altered:
        said.append(f"{altered} rows that are not what the log says of them")
    if lost and not said:
        said.append("entries deleted from a file whose pages are sound")
    return "; ".join(said) or "nothing: every page is sound"


def _text(value: Value) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeDecodeError:
        return None
