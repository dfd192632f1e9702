"""Pictures from other machines: taken in, shown to who may attach them, gone once they are attached.

Nothing is matched by itself: the name in a file is a hint. Nobody knows the patient yet, so that somebody
looked stands in the log by the picture's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import msgspec

from akazuba.errors import InputError, LockedError
from akazuba.governance.decisions import basis_of
from akazuba.intake.films import Film, Head
from akazuba.storage import arrived
from akazuba.storage.arrived import About
from akazuba.storage.store import Entry, Recorded, Store
from akazuba.web.consulting import ID, newest_of, stored_assessment
from akazuba.web.post import Records, now_ms

ARRIVED, SHOWN, TAKEN = "picture-arrived", "picture-shown", "picture-taken"
ATTACHED, DISCARDED = "picture-attached", "picture-discarded"
WHYS = ("sent here by mistake", "sent twice", "a test picture", "cannot be used")
"""Why one is discarded. No free words: a name among them could never be erased."""


class Took(msgspec.Struct, frozen=True):
    """What the store remembers of a picture. case: into which it was taken. done: attached or discarded."""

    case: str = ""
    by: str = ""
    done: bool = False


@dataclass(frozen=True)
class Line:
    """One that waits. took: by whom into what consultation, which is not recorded yet."""

    about: About
    took: Took


def take_in(kept: Records, source: str, data: bytes, head: Head, film: Film) -> str:
    """The id under which it waits; the same file again changes nothing. On the disk when this returns.

    Raises LockedError on a box without a store, InputError when too many wait.
    """
    if not kept.has_store:
        raise LockedError("pictures", "a store in which they wait", "none was set up")
    digest = sha256(data).hexdigest()
    id_, at = digest[:32], now_ms()
    known = _took(kept.store, id_) if kept.store else None
    there = id_ in arrived.waiting(kept.home)
    if (known and known.done) or (there and (known or not kept.store)):
        return id_
    if not there:
        about = About(
            id_, at, source, film.kind, film.modality, film.body_part, head.name, head.born, head.taken,
            film.problems,
        )  # fmt: skip
        arrived.keep(kept.home, about, film.png)
    told = {"picture": id_, "sha256": digest, "bytes": len(data), "modality": film.modality}
    body = msgspec.json.encode(told)
    if kept.store:
        kept.store.add_with(_name(id_), msgspec.json.encode(Took()), [Entry(ARRIVED, source, body)])
    elif kept.spool:
        kept.spool.add(at, ARRIVED, source, body)
    return id_


def waiting(kept: Records, by: str) -> list[Line]:
    """Those that wait, the newest first; that `by` saw the list is recorded before. Raises LockedError."""
    store = kept.opened()
    _settle(kept, store)
    key = store.key
    lines = [
        Line(arrived.about(kept.home, id_, key), _took(store, id_) or Took())
        for id_ in arrived.waiting(kept.home)
    ]
    lines.reverse()
    if lines:
        _record(store, SHOWN, by, {"pictures": [line.about.id for line in lines], "what": "the list"})
    return lines


def opened(kept: Records, by: str, id_: str) -> bytes:
    """The PNG, after the look is recorded. Raises InputError, LockedError."""
    store = kept.opened()
    png = arrived.picture(kept.home, id_, store.key)
    _record(store, SHOWN, by, {"pictures": [id_], "what": "the picture"})
    return png


def take(kept: Records, by: str, id_: str, case: str) -> bytes:
    """The PNG for a consultation. It goes on waiting until that consultation is recorded with it."""
    if not ID.fullmatch(case):
        raise InputError("case, id", "6 to 64 letters, digits and -", repr(case[:80]))
    store = kept.opened()
    png = arrived.picture(kept.home, id_, store.key)
    told = msgspec.json.encode({"picture": id_, "case": case})
    store.add_with(_name(id_), msgspec.json.encode(Took(case, by)), [Entry(TAKEN, by, told)])
    return png


def discard(kept: Records, by: str, id_: str, because: str) -> None:
    """because: one of WHYS. Raises InputError."""
    store = kept.opened()
    if because not in WHYS:
        raise InputError("because", ", ".join(WHYS), repr(because[:40]))
    if id_ not in arrived.waiting(kept.home):
        raise InputError("picture", "one that waits", "none of that id")
    told = msgspec.json.encode({"picture": id_, "because": because})
    store.add_with(_name(id_), msgspec.json.encode(Took(done=True)), [Entry(DISCARDED, by, told)])
    arrived.drop(kept.home, id_)


def _settle(kept: Records, store: Store) -> None:
    """Drops what a recorded consultation holds now, and what a power cut left after it was done."""
    for id_ in arrived.waiting(kept.home):
        took = _took(store, id_)
        if took is None:
            continue
        if not took.done:
            png = arrived.picture(kept.home, id_, store.key)
            where = _attached(store, took.case, png) if took.case else None
            if where is None:
                continue
            told = msgspec.json.encode({"picture": id_, "case": took.case, "assessment": where.index})
            entry = Entry(ATTACHED, took.by, told, where.patient)
            store.add_with(_name(id_), msgspec.json.encode(Took(took.case, took.by, done=True)), [entry])
        arrived.drop(kept.home, id_)


def _attached(store: Store, case: str, png: bytes) -> Recorded | None:
    """The assessment in which this very picture is recorded."""
    index = newest_of(store, case)
    if index is None:
        return None
    entry, _ = stored_assessment(store, index)
    same = any(store.entry(picture).body == png for picture in basis_of(store, entry).pictures.values())
    return entry if same else None


def _took(store: Store, id_: str) -> Took | None:
    known = store.recall(_name(id_))
    return msgspec.json.decode(known, type=Took) if known else None


def _record(store: Store, kind: str, by: str, told: dict[str, object]) -> None:
    store.add(Entry(kind, by, msgspec.json.encode(told)))


def _name(id_: str) -> str:
    return f"picture {id_}"
