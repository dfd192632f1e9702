"""What is said in JSON: the formats of ETSI GS QKD 014 V1.1.1 (2019), clause 6, and those between the two key
management entities and their link, which are ours. Opened: the text's first pages, its methods as an OpenAPI
generator printed them (the rule for 401 is quoted there), and public implementations that quote its error
messages and its status codes (401 without a body). From memory: the tables of clause 6.
"""

from __future__ import annotations

import uuid
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

MAX_BODY = 65_536
"""Bytes of a request to the API."""
MAX_BLOCK_BODY = 2_000_000
"""Bytes of a request of the link or the peer."""
MAX_BLOCK = 1_048_576
"""Bytes of one block from the link."""
CHECK = 32
"""Bytes at the head of each block that are no key but the key of its digests."""
MIN_BLOCK = CHECK + 64
MAX_REQUEST = 1_048_576
"""Bytes of key that one request may ask for."""

SIMULATED = "akazuba_simulated"
"""Our name in status_extension and key_extension: whether no quantum link made the bits."""

NOT_FOUND = "one or more keys specified are not found on KME"
NOT_SUPPORTED = "not all extension_mandatory parameters are supported"
UNSUPPORTED = "extension_mandatory_unsupported"
NOT_WHOLE_BYTES = "size shall be a multiple of 8"

SaeId = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Index = Annotated[int, Meta(ge=0, le=2**62)]
Extension = dict[str, object]


class Status(msgspec.Struct, frozen=True):
    """Clause 6.1. Sizes in bits; stored_key_count: keys of key_size bits that can be delivered now."""

    source_KME_ID: str  # noqa: N815 - the standard's names
    target_KME_ID: str  # noqa: N815
    master_SAE_ID: str  # noqa: N815
    slave_SAE_ID: str  # noqa: N815
    key_size: Count
    stored_key_count: Index
    max_key_count: Index
    max_key_per_request: Count
    max_key_size: Count
    min_key_size: Count
    max_SAE_ID_count: Index  # noqa: N815
    status_extension: Extension = {}


class KeyRequest(msgspec.Struct, frozen=True):
    """Clause 6.2. size: bits of each key; unset is the KME's key_size."""

    number: Count = 1
    size: Count | msgspec.UnsetType = msgspec.UNSET
    additional_slave_SAE_IDs: tuple[SaeId, ...] = ()  # noqa: N815
    extension_mandatory: tuple[Extension, ...] = ()
    extension_optional: tuple[Extension, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """Clause 6.3. key: in base64 (RFC 4648)."""

    key_ID: str  # noqa: N815
    key: bytes
    key_ID_extension: Extension | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    key_extension: Extension | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return f"Key({self.key_ID})"


class KeyContainer(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]
    key_container_extension: Extension | msgspec.UnsetType = msgspec.UNSET


class KeyId(msgspec.Struct, frozen=True):
    key_ID: Annotated[str, Meta(max_length=64)]  # noqa: N815
    key_ID_extension: Extension | msgspec.UnsetType = msgspec.UNSET  # noqa: N815


class KeyIds(msgspec.Struct, frozen=True):
    """Clause 6.4."""

    key_IDs: tuple[KeyId, ...]  # noqa: N815
    key_IDs_extension: Extension | msgspec.UnsetType = msgspec.UNSET  # noqa: N815


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Clause 6.5."""

    message: str
    details: tuple[Extension, ...] = ()


class Slice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes [start, start + length) of one part of one block."""

    block: Index
    part: Index
    start: Index
    length: Count


class Reservation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tells the peer which bits are which keys for whom. size: bytes of each key. check: HMAC-SHA-256 over
    all else here and the bits themselves, under the first block's own key: both hold the same bits.
    """

    reservation: Annotated[str, Meta(max_length=64)]
    master: SaeId
    slaves: Annotated[tuple[SaeId, ...], Meta(min_length=1, max_length=64)]
    key_ids: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(min_length=1, max_length=1024)]
    size: Count
    slices: Annotated[tuple[Slice, ...], Meta(min_length=1, max_length=32_768)]
    check: Annotated[bytes, Meta(max_length=32)]


class Voids(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reservations that came to nothing."""

    reservations: Annotated[tuple[Reservation, ...], Meta(max_length=64)]


class Mark(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block as one side holds it. digest: HMAC-SHA-256 of its bits under the key at its head."""

    number: Index
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Marks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    marks: Annotated[tuple[Mark, ...], Meta(max_length=512)]


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of blocks that both hold alike, and of those that differ and were thrown away."""

    alike: tuple[Index, ...]
    differing: tuple[Index, ...]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distilled bits from the link, the same at both ends. number: of the pair's blocks, never used again."""

    number: Index
    bits: Annotated[bytes, Meta(min_length=MIN_BLOCK, max_length=MAX_BLOCK)]
    simulated: bool

    def __repr__(self) -> str:
        return f"Block({self.number}, {len(self.bits)} bytes)"


class Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first block number that an end has not seen."""

    number: Index


Read = TypeVar("Read")


def decoded(raw: bytes, kind: type[Read]) -> Read | str:
    """The message, or in words why it is none: not JSON, not UTF-8, too deep, of other types."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        return str(problem)
    except RecursionError:
        return "JSON nested too deep"


def canonical_uuid(text: str) -> str | None:
    """In lower case with hyphens; None when it is no UUID in that form (RFC 4122)."""
    try:
        made = str(uuid.UUID(text))
    except ValueError:
        return None
    return made if made == text.lower() else None
