"""Consultations of a locked box: sealed as they happen, and recorded like any other once somebody unlocks.

The basis of such an assessment names the files that ran and no signed release or configuration, which nobody
could read then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from akazuba.errors import AkazubaError, InputError
from akazuba.governance.consent import may
from akazuba.governance.decisions import UNKNOWN, Versions, record_consultation
from akazuba.records import Assessment
from akazuba.storage.person import Person
from akazuba.storage.spool import Spool
from akazuba.storage.store import Entry, Recorded, Store

Shape = TypeVar("Shape", bound=msgspec.Struct)
CONSULTATION, PICTURE = "consultation", "picture"
TAKEN = "locked-taken"


class _Consultation(msgspec.Struct, frozen=True):
    case: bytes
    assessment: bytes
    ran: Versions = UNKNOWN


class _Picture(msgspec.Struct, frozen=True):
    case_id: str
    path: str
    data: bytes


class _Merged(msgspec.Struct, frozen=True):
    """Body of a `locked-…` entry, as far as it is read here."""

    recorded_ms: int
    body: bytes


class _Taken(msgspec.Struct, frozen=True):
    """Body of `locked-taken`. entry: of the `locked-consultation`. why: it was not recorded, "" if it was."""

    entry: int
    assessment: int | None
    why: str = ""


def spool(
    sealed: Spool,
    person: Person,
    by: str,
    at_ms: int,
    case: bytes,
    assessment: bytes,
    pictures: Mapping[str, bytes],
    ran: Versions = UNKNOWN,
) -> str:
    """On the disk, sealed, when this returns. The receipt of its last piece. Raises as `Spool.add` does."""
    case_id = msgspec.json.decode(assessment, type=_Known).case_id
    for path, data in sorted(pictures.items()):
        picture = msgspec.msgpack.encode(_Picture(case_id, path, data))
        sealed.add(at_ms, PICTURE, by, picture, person)
    return sealed.add(
        at_ms, CONSULTATION, by, msgspec.msgpack.encode(_Consultation(case, assessment, ran)), person
    )


def take_in(store: Store) -> list[int]:
    """Records every consultation that was merged and not yet taken in: the indexes of their assessments.

    Each is taken in once, whether the box is cut off in between or not; one that cannot be recorded stays
    where it was merged, and an entry says why.
    """
    done = {_decoded(entry, _Taken).entry for entry in store.entries(kind=TAKEN)}
    waiting = [e for e in store.entries(kind=f"locked-{CONSULTATION}") if e.index not in done and e.body]
    if not waiting:
        return []
    pictures = _pictures(store)
    found = []
    for entry in waiting:
        told = _Taken(entry.index, None, "it cannot be read")
        try:
            told = _Taken(entry.index, _recorded(store, entry, pictures))
            found.append(told.assessment or 0)
        except (AkazubaError, msgspec.MsgspecError) as problem:
            told = _Taken(entry.index, None, str(problem))
        store.add(Entry(TAKEN, "box", msgspec.json.encode(told)))
    return found


def recorded_already(store: Store, patient: str, case_id: str, input_sha256: str) -> int | None:
    """Where the same assessment of the same case stands: whoever got no answer sends again.

    input_sha256: "" is nobody's.
    """
    if not input_sha256:
        return None
    for entry in store.entries(patient=patient, kind="assessment"):
        known = msgspec.json.decode(entry.body or b"{}", type=_Known)
        if known.case_id == case_id and known.provenance.input_sha256 == input_sha256:
            return entry.index
    return None


class _Source(msgspec.Struct, frozen=True):
    input_sha256: str = ""


class _Known(msgspec.Struct, frozen=True):
    """What tells one assessment from another, read without the rest."""

    case_id: str = ""
    provenance: _Source = _Source()


def _recorded(store: Store, entry: Recorded, pictures: Mapping[tuple[str, str, str], bytes]) -> int:
    merged = _decoded(entry, _Merged)
    said = msgspec.msgpack.decode(merged.body, type=_Consultation)
    assessment = msgspec.json.decode(said.assessment, type=Assessment)
    known = msgspec.json.decode(said.assessment, type=_Known)
    there = recorded_already(store, entry.patient, known.case_id, known.provenance.input_sha256)
    if there is not None:
        return there
    allowed = may(store, entry.patient, "care", merged.recorded_ms)
    if not allowed.yes:
        raise InputError("consent", "a patient who does not refuse care", allowed.why)
    own = {
        path: data
        for (patient, case_id, path), data in pictures.items()
        if patient == entry.patient and case_id == assessment.case_id
    }
    _, recorded = record_consultation(
        store, said.case, said.assessment, entry.by, entry.patient, said.ran, own
    )
    return recorded.index


def _pictures(store: Store) -> dict[tuple[str, str, str], bytes]:
    """By patient, case and path."""
    found = {}
    for entry in store.entries(kind=f"locked-{PICTURE}"):
        if entry.body is not None:
            said = msgspec.msgpack.decode(_decoded(entry, _Merged).body, type=_Picture)
            found[entry.patient, said.case_id, said.path] = said.data
    return found


def _decoded(entry: Recorded, type_: type[Shape]) -> Shape:
    return msgspec.json.decode(entry.body or b"", type=type_)
