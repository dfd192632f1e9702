"""A student that was adopted, as consultations use it: `diagnosis.shared_model`'s file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from akazuba.diagnosis.shared_model import FILE, SharedModel, read_shared, written
from akazuba.errors import ArtefactError, InputError
from akazuba.federation.learning import Learning
from akazuba.federation.release import Held
from akazuba.federation.release_student import dequantised
from akazuba.federation.stick import put
from akazuba.storage.store import Entry, Store

STUDENT = "student"
"""Kind of the log's entry about the student that consultations ask."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `student`. id: of the release that is about to be in force, hexadecimal; "" and 0 for none."""

    programme: str
    number: int
    id: str


def about_to_ask(store: Store, by: str, programme: str, held: Held | None) -> None:
    """Into the log before another student is in force. by: who adopts it, or gives the one before it back."""
    number, id_ = (held.release.number, held.id) if held else (0, "")
    store.add(Entry(STUDENT, by, msgspec.json.encode(Asked(programme, number, id_))))


def asked_now(home: Path) -> str:
    """Id of the student that consultations ask; empty for none, or one whose file is spoilt."""
    try:
        model = read_shared(home / FILE)
    except ArtefactError:
        return ""
    return model.id if model else ""


def unasked(home: Path) -> None:
    """From now on consultations ask nobody, until `consulted`: before anything about the student changes."""
    (home / FILE).unlink(missing_ok=True)


def consulted(home: Path, held: Held | None, learning: Learning | None) -> str:
    """Has consultations ask this student from now on, or none: why, in words. held: the one in force.
    learning: the programme in force, which knows what the student's inputs and classes stand for.

    Raises ArtefactError when there is no room.
    """
    unasked(home)
    try:
        model = _model(held, learning)
    except InputError as why:
        return f"not asked in consultations: {why}"
    put(home / FILE, written(model))
    return "asked in every consultation from now on, beside the advice"


def _model(held: Held | None, learning: Learning | None) -> SharedModel:
    """Raises InputError for what cannot be asked."""
    if held is None:
        raise InputError("student", "one that was adopted", "none")
    if learning is None:
        how = "a programme that this box knows (`akazuba federate learn --programme FILE`)"
        raise InputError("student", how, "none")
    release = held.release
    learning.require(release.meaning, "student")
    overall = release.verdict.overall
    model = SharedModel(
        release.programme,
        release.number,
        held.id,
        learning.conditions,
        learning.asked,
        release.hidden,
        dequantised(release.network, release.student).astype("<f4").tobytes(),
        overall.after,
        overall.cases,
        len(release.verdict.sites),
    )
    model.values()
    return model
