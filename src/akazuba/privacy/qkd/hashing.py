"""Universal hashing on a quantum link: privacy amplification, equal-key checks, authenticated messages.

They assume nothing about anybody's computer. Amplification is a Toeplitz matrix (Krawczyk 1994) times the
bits, by FFT. Checks and tags are a polynomial over the prime field 2^127 - 1; a tag hides it under key bits
that are used once (Wegman and Carter 1981).
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from akazuba.errors import InputError, KeysExhaustedError, UntrustedError

PRIME = (1 << 127) - 1
TAG_BYTES = 16
HASH_KEY_BYTES = 16
FINGERPRINT_KEY_BYTES = 48
_CHUNK = 15
_BLOCK_BITS = 1 << 20


def toeplitz(
    bits: NDArray[np.uint8],
    seed: NDArray[np.uint8],
    length: int,
    advanced: Callable[[float], None] = lambda _: None,
    block: int = _BLOCK_BITS,
) -> NDArray[np.uint8]:
    """`length` bits: row i of the matrix holds seed[n - 1 + i - j] in column j. seed: n + length - 1 bits.

    Blocks of the matrix are summed in the frequency domain. The sums are exact: below 2^27 for as many bits,
    where the FFT of doubles errs by less than 10^-6, so rounding finds the integer. Raises InputError for
    other sizes. advanced: told the share that is done.
    """
    n = len(bits)
    if not 0 < length <= n < 1 << 27 or len(seed) != n + length - 1 or not 0 < block <= _BLOCK_BITS:
        found = f"{n} bits, a seed of {len(seed)} and {length} asked for"
        raise InputError("privacy amplification", "at most as many bits as there are, and a seed", found)
    block = min(block, n)
    size = 1 << (2 * block - 1).bit_length()
    tops = range(0, length, block)
    sums = np.zeros((len(tops), size // 2 + 1), dtype=complex)
    for left in range(0, n, block):
        columns = min(block, n - left)
        spectrum = np.fft.rfft(bits[left : left + columns][::-1].astype(float), size).conj()
        for row, top in enumerate(tops):
            start = n - left - columns + top
            stretch = seed[start : start + min(block, length - top) + columns - 1].astype(float)
            sums[row] += np.fft.rfft(stretch, size) * spectrum
        advanced((left + columns) / n)
    whole = np.rint(np.fft.irfft(sums, size)[:, :block]).astype(np.int64)
    return (whole.ravel()[:length] & 1).astype(np.uint8)


def polynomial(key: int, message: bytes) -> int:
    """The message as coefficients of a polynomial without constant term, at `key`, over 2^127 - 1.

    Two different messages of at most L bytes meet for at most L / 15 + 2 of the 2^127 - 1 keys.
    """
    total = 0
    for start in range(0, len(message), _CHUNK):
        total = (total + int.from_bytes(message[start : start + _CHUNK], "little")) * key % PRIME
    return (total + len(message)) * key % PRIME


def meeting(message_bytes: int) -> float:
    """Upper bound of the probability that two messages of so many bytes have one value under a random key."""
    return (math.ceil(message_bytes / _CHUNK) + 1) / PRIME


def fingerprint(key: bytes, message: bytes, length: int) -> int:
    """`length` bits (1 to 64) that differ for different messages except with a probability of 2^-length and
    `meeting(len(message))`. key: 48 random bytes, drawn after the message stands.
    """
    if len(key) != FINGERPRINT_KEY_BYTES or not 1 <= length <= 64:
        expected = f"a key of {FINGERPRINT_KEY_BYTES} bytes and 1 to 64 bits"
        raise InputError("fingerprint", expected, f"{len(key)} and {length}")
    point, stretch, shift = (int.from_bytes(key[at : at + 16], "little") % PRIME for at in (0, 16, 32))
    return (stretch * polynomial(point, message) + shift) % PRIME >> (127 - length)


@dataclass(frozen=True)
class Message:
    """What crosses the classical channel. tag: 16 bytes, or empty within a dialogue that one tag covers."""

    sender: str
    kind: str
    payload: bytes
    tag: bytes = b""


class Authenticator:
    """One end of the authenticated classical channel. Both ends hold the same key bits and use them in step.

    The first 16 bytes choose the polynomial's point for good, each tag burns 16 more (Wegman and Carter 1981;
    Portmann 2014 on keeping the point). A tag binds sender, kind, payload and the number of tags before it.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < HASH_KEY_BYTES + TAG_BYTES:
            least = HASH_KEY_BYTES + TAG_BYTES
            raise InputError("pre-shared key", f"at least {least} bytes", f"{len(key)}")
        self._point = int.from_bytes(key[:HASH_KEY_BYTES], "little") % PRIME
        self._pads = key[HASH_KEY_BYTES:]
        self.tags = 0
        self.forgery = 0.0

    @property
    def used_bits(self) -> int:
        """Key bits that the tags have burnt."""
        return 8 * TAG_BYTES * self.tags

    @property
    def left_bits(self) -> int:
        return 8 * len(self._pads) - self.used_bits

    def sealed(self, sender: str, kind: str, payload: bytes) -> Message:
        """Raises KeysExhaustedError when no key bits are left."""
        return Message(sender, kind, payload, self._tag(sender, kind, payload))

    def opened(self, message: Message, sender: str, kind: str) -> bytes:
        """The payload. Raises UntrustedError when it is not the next that `sender` sealed, as this `kind`."""
        self.check(sender, kind, message.payload, message.tag)
        if (message.sender, message.kind) != (sender, kind):
            raise UntrustedError(
                "classical message", f"{kind} of {sender}", f"{message.kind} of {message.sender}"
            )
        return message.payload

    def check(self, sender: str, kind: str, payload: bytes, tag: bytes) -> None:
        """Raises UntrustedError when the tag is not that of this payload."""
        if not hmac.compare_digest(self._tag(sender, kind, payload), tag):
            raise UntrustedError(
                "classical message", f"the tag of {kind} of {sender}", "another: it was altered"
            )

    def _tag(self, sender: str, kind: str, payload: bytes) -> bytes:
        pad = self._pads[TAG_BYTES * self.tags : TAG_BYTES * (self.tags + 1)]
        if len(pad) < TAG_BYTES:
            raise KeysExhaustedError("pre-shared key", "key bits for one more tag", "none left")
        heading = f"{self.tags} {sender} {kind}\n".encode()
        self.tags += 1
        self.forgery += meeting(len(heading) + len(payload))
        hidden = int.from_bytes(pad, "little") % PRIME
        value = polynomial(self._point, heading + payload)
        return ((value + hidden) % PRIME).to_bytes(TAG_BYTES, "little")
