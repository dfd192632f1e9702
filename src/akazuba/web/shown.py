"""What was shown lately: it is recorded as it was shown, and not worked out again for it.

In memory only, of the last few cases, without their pictures; forgotten when the box is locked.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

MOST = 24
"""More than the tablets of a post: each may stand before one answer."""

Answer = TypeVar("Answer")


class Shown(Generic[Answer]):
    """The last `most` answers, by the digest of what they answer. Used in the event loop only.

    >>> shown = Shown[str](most=2)
    >>> for key in (b"a", b"b", b"c"):
    ...     shown.put(key, key.decode())
    >>> shown.get(b"a"), shown.get(b"c")
    (None, 'c')
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def get(self, key: bytes) -> Answer | None:
        return self._answers.get(key)

    def put(self, key: bytes, answer: Answer) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def forget(self) -> None:
        self._answers.clear()


def digest_of(data: bytes, pictures: Mapping[str, bytes], unanswered: Iterable[str]) -> bytes:
    """SHA-256 of all that an answer depends on; each piece is hashed with its length.

    >>> digest_of(b"ab", {}, ()) == digest_of(b"a", {"b": b""}, ())
    False
    """
    whole = hashlib.sha256()
    lists: tuple[list[bytes], ...] = (
        [data],
        [part for name in sorted(pictures) for part in (_encoded(name), pictures[name])],
        [_encoded(id_) for id_ in sorted(unanswered)],
    )
    for pieces in lists:
        whole.update(len(pieces).to_bytes(8, "big"))
        for piece in pieces:
            whole.update(len(piece).to_bytes(8, "big") + piece)
    return whole.digest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
