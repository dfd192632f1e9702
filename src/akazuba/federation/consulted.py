"""A student that was adopted, as consultations use it: `diagnosis.shared_model`'s file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from akazuba.diagnosis.shared_model import FILE, SharedModel
from akazuba.durable import write_durably
from akazuba.federation.learning import Learning
from akazuba.federation.release import Held
from akazuba.federation.release_student import dequantised


def consulted(home: Path, held: Held | None, learning: Learning | None) -> str:
    """Has consultations ask this student from now on, or none: why, in words. held: the one in force.
    learning: the programme in force, which alone knows what the student's inputs and classes are.
    """
    if why := _unfit(held, learning):
        (home / FILE).unlink(missing_ok=True)
        return f"not asked in consultations: {why}"
    assert held is not None and learning is not None  # noqa: S101, PT018 - `_unfit` says so
    release, overall = held.release, held.release.verdict.overall
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
    write_durably(home / FILE, msgspec.msgpack.encode(model))
    return "asked in every consultation from now on, beside the advice"


def _unfit(held: Held | None, learning: Learning | None) -> str:
    if held is None:
        return "no student is adopted"
    if learning is None:
        return "this box knows no programme (`akazuba federate learn --programme FILE`)"
    own, release = learning.network(), held.release
    if (own.features, own.classes) != (release.features, release.classes):
        needs = f"{own.features} inputs and {own.classes} conditions"
        return f"the programme has {needs}, the student {release.features} and {release.classes}"
    return ""
