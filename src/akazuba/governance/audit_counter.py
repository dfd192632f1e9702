"""The TPM's counter in the log's checkpoints: it shows a disk that was put back as a whole.

A checkpoint names the number that the counter is about to take, the store remembers it, then the counter
takes it. So whoever brings back an older disk has a counter that is further than its store remembers. It
takes a number an hour at most (NV memory wears), so that less than that may go unseen. A TPM that does not
answer stops no checkpoint: it then names no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from akazuba.errors import ArtefactError
from akazuba.storage import tpm
from akazuba.storage.store import Entry, Store

HOLDS_S = 3_600
_REMEMBERED = "tpm counter"


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """device: of the TPM's secret. at_s: when the number was taken, since 1970."""

    device: str
    number: int
    at_s: int

    @property
    def line(self) -> str:
        """An extension of a checkpoint."""
        return f"counter-{self.device} {self.number}"


@dataclass(frozen=True)
class _Stand:
    """here: what the TPM says. known: what the store remembers of the same device."""

    held: tpm.Sealed
    here: int
    known: Count | None


def next_count(home: Path, store: Store, now_s: int) -> Count | None:
    """For the next checkpoint; None without a TPM that answers. A store that was put back is told of."""
    try:
        stand = _stand(home, store)
    except ArtefactError:
        return None
    if stand is None:
        return None
    known = stand.known
    if known and stand.here > known.number:
        said = {"counter": str(stand.here), "remembered": str(known.number)}
        why = "the store lacks checkpoints that the TPM counted"
        store.add(Entry("log-put-back", "box", msgspec.json.encode(said | {"why": why})))
    elif known and stand.here == known.number and 0 <= now_s - known.at_s < HOLDS_S:
        return known
    return Count(stand.held.id, stand.here + 1, now_s)


def settle(home: Path, store: Store, count: Count) -> None:
    """After the checkpoint is kept: the store remembers the number, then the TPM takes it."""
    store.remember(_REMEMBERED, msgspec.json.encode(count))
    try:
        stand = _stand(home, store)
        if stand is not None and stand.here < count.number:
            tpm.advance(stand.held)
    except ArtefactError:
        return  # the next checkpoint takes the same number


def counted_further(home: Path, store: Store) -> str:
    """What is wrong with the store, seen from the TPM; "" for nothing, or where no TPM answers."""
    try:
        stand = _stand(home, store)
    except ArtefactError as problem:
        return f"the TPM's counter cannot be read: {problem}"
    if stand is None or stand.known is None or stand.here <= stand.known.number:
        return ""
    return (
        f"rolled back: the TPM counted {stand.here} checkpoints or more, and the store remembers"
        f" {stand.known.number}: an older disk was put back"
    )


def _stand(home: Path, store: Store) -> _Stand | None:
    held = tpm.sealed(home)
    if held is None:
        return None
    data = store.recall(_REMEMBERED)
    try:
        known = msgspec.json.decode(data, type=Count) if data else None
    except msgspec.MsgspecError as problem:
        raise ArtefactError("TPM", "the number that the store remembers", str(problem)) from problem
    return _Stand(held, tpm.count(held), known if known and known.device == held.id else None)
