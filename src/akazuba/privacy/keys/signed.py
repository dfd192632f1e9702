"""Bytes with a signature: what every message between two identities is wrapped in.

The bytes that were signed travel as they are and are read only after the signature has verified, so
no reader ever parses what nobody vouches for, and nothing hangs on how a value is written once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from akazuba.errors import UntrustedError
from akazuba.privacy.keys.identity import Identity, PublicIdentity

MAX_BYTES = 64 * 1024 * 1024
"""Longer ones are not even looked at: an update of four million parameters, encrypted, fits."""

Message = TypeVar("Message", bound=msgspec.Struct)


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """signer: key id. payload: the message's bytes as they were signed."""

    signer: str
    payload: bytes
    signature: bytes


def sign(identity: Identity, kind: str, message: msgspec.Struct) -> bytes:
    payload = msgspec.msgpack.encode(message)
    wrapped = Signed(identity.public.key_id, payload, identity.sign(kind, payload))
    return msgspec.msgpack.encode(wrapped)


def unwrap(data: bytes, kind: str) -> Signed:
    """What is claimed, before anything is believed. Raises UntrustedError."""
    if len(data) > MAX_BYTES:
        raise UntrustedError(kind, f"at most {MAX_BYTES} bytes", f"{len(data)} bytes")
    claimed = read(data, kind, Signed)
    if msgspec.msgpack.encode(claimed) != data:
        raise UntrustedError(kind, "the one way to write it", "another, under which it would count twice")
    return claimed


def verified(
    data: bytes, kind: str, message: type[Message], key: Callable[[str], PublicIdentity]
) -> tuple[Message, str]:
    """The message and its signer's key id.

    key: the signer's public keys by key id; raises UntrustedError for one that is not known or may not sign.
    Raises UntrustedError for bytes that are no such message or whose signature does not hold.
    """
    claimed = unwrap(data, kind)
    key(claimed.signer).verify(kind, claimed.payload, claimed.signature)
    return read(claimed.payload, kind, message), claimed.signer


def believed(data: bytes, kind: str, message: type[Message]) -> Message:
    """The message in bytes whose signature was checked before, or is not what is asked: nobody vouches for it
    here. Raises UntrustedError for bytes that are no such message.
    """
    return read(unwrap(data, kind).payload, kind, message)


def read(data: bytes, kind: str, message: type[Message]) -> Message:
    """Raises UntrustedError with what is wrong with the bytes."""
    try:
        return msgspec.msgpack.decode(data, type=message)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as problem:
        raise UntrustedError(kind, f"a message of version 1 ({message.__name__})", str(problem)) from problem
