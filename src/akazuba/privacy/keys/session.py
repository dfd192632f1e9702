"""A session: numbered records under one key a direction, each taken once.

It lives in memory only; after a restart the two ends say hello again, so no number is ever used twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Protocol

from cryptography.exceptions import InvalidTag

from akazuba.errors import UntrustedError
from akazuba.privacy.keys.enrolment import Enrolment
from akazuba.privacy.keys.signed import MAX_BYTES
from akazuba.privacy.ledger import Protection

WINDOW = 1024
"""Records may overtake one another by this many (RFC 6479 uses the same bitmap)."""


class Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


@dataclass(frozen=True)
class Half:
    """One direction's key. iv: 12 bytes; a record's nonce is the iv XOR its number (RFC 8446, 5.3)."""

    aead: Aead = field(repr=False)
    iv: bytes = field(repr=False)

    def nonce(self, number: bytes) -> bytes:
        return (int.from_bytes(self.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")


class Session:
    """Records in both directions. peer: who is at the other end, as enrolled."""

    def __init__(
        self, peer: Enrolment, protection: Protection, session_id: bytes, sending: Half, receiving: Half
    ) -> None:
        self.peer = peer
        self.protection = protection
        self._id = session_id
        self._sending = sending
        self._receiving = receiving
        self._numbers = count()  # no two threads get the same one
        self._alone = Lock()
        self._newest = -1
        self._window = 0

    def seal(self, data: bytes) -> bytes:
        """A record: its number in 8 bytes, then the ciphertext and its tag (16 bytes)."""
        number = next(self._numbers).to_bytes(8, "big")
        return number + self._sending.aead.encrypt(self._sending.nonce(number), data, self._id + number)

    def open(self, record: bytes) -> bytes:
        """Raises UntrustedError for a record that was altered, came before, or is older than the window."""
        if not 24 <= len(record) <= MAX_BYTES:
            raise UntrustedError("record", f"24 to {MAX_BYTES} bytes", f"{len(record)} bytes")
        with self._alone:
            return self._opened(record)

    def _opened(self, record: bytes) -> bytes:
        number = int.from_bytes(record[:8], "big")
        behind = self._newest - number
        if behind >= WINDOW or (behind >= 0 and self._window >> behind & 1):
            raise UntrustedError("record", "a number that did not come before", str(number))
        try:
            data = self._receiving.aead.decrypt(
                self._receiving.nonce(record[:8]), record[8:], self._id + record[:8]
            )
        except InvalidTag as problem:
            raise UntrustedError("record", "one sealed by the other end", "an altered one") from problem
        if behind < 0:
            self._window = ((self._window << min(-behind, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self._newest = number
        else:
            self._window |= 1 << behind
        return data
