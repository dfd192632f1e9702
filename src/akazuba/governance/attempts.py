"""The count of wrong PINs, in the store: it outlives restarts and kill -9, and no clock clears it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.pins import MOST_OWN, OWN_MS, TABLET_FORGETS_S, Attempts, Moment
from akazuba.storage.store import Entry, Store

_ATTEMPTS = "attempts"


def attempts_of(store: Store) -> dict[str, Attempts]:
    """By `user ID` (on tablets that are not hers), `own ID NAME` (on one of hers) and `tablet NAME`.

    Raises ArtefactError.
    """
    raw = store.recall(_ATTEMPTS)
    try:
        return msgspec.msgpack.decode(raw, type=dict[str, Attempts]) if raw else {}
    except msgspec.MsgspecError as problem:
        raise ArtefactError("attempts", "the counts of wrong PINs", str(problem)) from problem


def count(store: Store, book: Mapping[str, Attempts]) -> None:
    """On the disk when this returns; then the PIN may be compared."""
    store.remember(_ATTEMPTS, msgspec.msgpack.encode(book))


def log(store: Store, book: Mapping[str, Attempts], kind: str, by: str, told: Mapping[str, object]) -> None:
    store.add_with(_ATTEMPTS, msgspec.msgpack.encode(book), [Entry(kind, by, msgspec.json.encode(told))])


def turn_away(store: Store, book: Mapping[str, Attempts], key: str, by: str, tablet: str, why: str) -> None:
    """Without comparing. It is logged once for each wait, so that nobody fills the disk by trying on."""
    if not book[key].told:
        told = {**book, key: msgspec.structs.replace(book[key], told=True)}
        log(store, told, "sign-in-refused", by, {"tablet": tablet, "why": why})
    raise InputError("PIN", "an attempt when there may be one", why)


def owned(book: Mapping[str, Attempts], user: str, now_ms: int) -> dict[str, Attempts]:
    """A user's own tablets by name, the last one last. now_ms: by the log's clock.

    The book is in the order of right PINs: a clock that was set changes nothing about which is the last.
    """
    begins = f"own {user} "
    found = {key.removeprefix(begins): it for key, it in book.items() if key.startswith(begins)}
    lately = [(name, it) for name, it in found.items() if now_ms - it.right_ms < OWN_MS]
    return dict(lately[-MOST_OWN:])


def forgotten(key: str, attempts: Attempts, now: Moment) -> bool:
    return key.startswith("tablet ") and now.since(attempts.at) >= TABLET_FORGETS_S
