"""How a block becomes parts, and the keyed digests by which two ends see that they hold the same bits.

A digest is HMAC-SHA-256 under the block's own first bytes, which are never part of a key: it tells nothing of
the bits to who lacks them, as far as HMAC is a pseudo-random function (Bellare, 2006).
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from hashlib import sha256

import msgspec

from akazuba.privacy.qkd.messages import CHECK, Block, Reservation

PART = 1024
"""Bytes of a part; a block's last one is shorter."""


def parts_of(bits: bytes) -> list[bytes]:
    return [bits[start : start + PART] for start in range(0, len(bits), PART)]


def digest_of(block: Block) -> bytes:
    said = b"akazuba qkd block %d %d " % (block.number, block.simulated)
    return hmac.digest(block.bits[:CHECK], said + block.bits[CHECK:], sha256)


def proof(secret: bytes, said: Reservation, bits: bytes) -> bytes:
    """The `check` of a reservation. secret: the head of the block in which it begins."""
    bare = msgspec.structs.replace(said, check=b"")
    return hmac.digest(secret, b"akazuba qkd reservation " + msgspec.json.encode(bare) + bits, sha256)


def new_uuid(random: Callable[[int], bytes]) -> str:
    return str(uuid.UUID(bytes=random(16), version=4))
