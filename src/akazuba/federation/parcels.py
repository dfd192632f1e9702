"""Updates on their way: files in a folder beside a gateway's ledger, not in it.

What has arrived of one may be lost in a power cut: its terminal has it still, and bytes that the cut spoilt
are noticed by their SHA-256. So a piece costs no waiting for the disk. A file's name is `SHA256.SIZE.KEY`,
the key its terminal's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from akazuba.errors import ArtefactError, why_not_opened

PARCEL_S = 30 * 86_400
"""A parcel that nobody went on with for so long is thrown away; who began it still has the whole."""

_NAME = re.compile(r"([0-9a-f]{64})\.([0-9]{1,9})\.([0-9a-f]{64})")


@dataclass
class Begun:
    """size, have: bytes. key: of its terminal. at: seconds since 1970, of the last piece."""

    path: Path
    size: int
    key: str
    have: int
    at: int


class Parcels:
    """By SHA-256 in hex."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun: dict[str, Begun] = {}
        for path in folder.glob("*"):
            if found := _NAME.fullmatch(path.name):
                size, stat = int(found[2]), path.stat()
                self._begun[found[1]] = Begun(
                    path, size, found[3], min(stat.st_size, size), int(stat.st_mtime)
                )

    def begin(self, digest: str, size: int, key: str, now: int) -> None:
        self._begun[digest] = Begun(self._folder / f"{digest}.{size}.{key}", size, key, 0, now)

    def begun(self, digest: str) -> Begun | None:
        return self._begun.get(digest)

    def make_room(self, key: str, most: int) -> None:
        """For one more of a terminal: of `most` or more, those that nobody went on with for longest go."""
        own = sorted((one.at, digest) for digest, one in self._begun.items() if one.key == key)
        for _, digest in own[: max(0, len(own) + 1 - most)]:
            self.drop(digest)

    def append(self, one: Begun, offset: int, piece: bytes, now: int) -> None:
        """A piece that fits on; another one changes nothing. Raises ArtefactError when there is no room."""
        if offset != one.have or not 0 < len(piece) <= one.size - one.have:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(one.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                one.have += os.pwrite(handle, piece, offset)
            finally:
                os.close(handle)
        except OSError as problem:
            expected = f"room for {len(piece)} bytes"
            raise ArtefactError(str(one.path), expected, why_not_opened(problem)) from problem
        one.at = now

    def read(self, one: Begun) -> bytes:
        """Raises ArtefactError."""
        try:
            return one.path.read_bytes()
        except OSError as problem:
            raise ArtefactError(str(one.path), "a parcel's file", why_not_opened(problem)) from problem

    def drop(self, digest: str) -> None:
        if one := self._begun.pop(digest, None):
            one.path.unlink(missing_ok=True)

    def drop_before(self, at: int) -> None:
        for digest in [digest for digest, one in self._begun.items() if one.at < at]:
            self.drop(digest)
