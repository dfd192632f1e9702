"""One patient's record, to be handed out: only where the patient agreed, and with a trace on both sides.

The log says who handed what to whom and why before a byte is made, and afterwards which bytes: their SHA-256.
The record says of each entry at which index it stands in which log, and under which leaf, so that whoever
receives it can ask for the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from akazuba.errors import InputError, encodable
from akazuba.fhir import export as fhir
from akazuba.fhir.events import Json, disclosure_event, provenance
from akazuba.governance.audit_reads import system_ms
from akazuba.governance.consent import may
from akazuba.governance.fhir_entries import NOT_HERS, History, history, patient as the_patient, resources
from akazuba.storage.store import Entry, Store

_LONGEST = 500


@dataclass(frozen=True)
class Handed:
    """record: a FHIR R4 Bundle as JSON. index: of the `export` in the log."""

    record: bytes
    index: int


def export_patient(
    store: Store,
    patient: str,
    by: str,
    to: str,
    why: str,
    log: str,
    now_ms: Callable[[], int] = system_ms,
) -> Handed:
    """by, to: who hands it out, and who gets it. log: the log's origin.

    Raises InputError for an unknown or erased patient, without a recipient or a reason, and without consent;
    the last is in the log too. Raises ArtefactError for a stored case that is none.
    """
    person = store.person(patient)
    to, why = encodable(to).strip(), encodable(why).strip()
    for item, said in (("to", to), ("why", why)):
        if not 0 < len(said) <= _LONGEST:
            raise InputError(f"export, {item}", f"1 to {_LONGEST} characters", f"{len(said)}")
    at = now_ms()
    allowed = may(store, patient, "export", at)
    if not allowed.yes:
        body = msgspec.json.encode({"to": to, "why": why, "refused": allowed.why})
        store.add(Entry("export-refused", by, body, patient))
        raise InputError("export", f"the consent of {patient} to it", allowed.why)
    about = fhir.resource_id(patient)
    event = disclosure_event(about, by, to, why, "everything before this entry", at)
    (recorded,) = store.add(Entry("export", by, msgspec.json.encode(event), patient))
    entries = [entry for entry in store.entries(patient=patient) if entry.index < recorded.index]
    event["id"] = f"entry-{recorded.index}"
    known = history(person, entries, note_of_today=True)
    id_ = known.newest.case.id if known.newest else patient
    record = msgspec.json.encode(fhir.bundle(id_, at, [*_record(store, known, log, at), event]))
    told = {"export": recorded.index, "sha256": sha256(record).hexdigest(), "bytes": len(record)}
    store.add(Entry("exported", by, msgspec.json.encode(told), patient))
    return Handed(record, recorded.index)


def _record(store: Store, known: History, log: str, at_ms: int) -> list[Json]:
    told: dict[int, list[Json]] = {}
    for kept in resources(store, known, at_ms):
        told.setdefault(kept.entry, []).append(kept.resource)
    pictures = _pictures(known)
    record = [the_patient(known).resource]
    for entry in known.entries:
        if entry.kind in NOT_HERS:
            continue
        made = told.get(entry.index, [])
        if entry.index in pictures:
            made.append(pictures[entry.index])
        elif entry.body is not None and entry.index not in known.hidden:
            whole = fhir.document(known.about, entry.index, entry.at_ms, entry.kind, entry.by, entry.body)
            made.append(whole)
        targets = [f"{resource['resourceType']}/{resource['id']}" for resource in made]
        if targets:
            leaf = store.node(0, entry.index)
            made.append(provenance(targets, log, entry.index, leaf, entry.by, entry.at_ms))
        record += made
    return record


def _pictures(known: History) -> dict[int, Json]:
    """By the index of their entries: those of which a case says what they show."""
    bodies = {entry.index: entry.body for entry in known.entries if entry.kind == "picture"}
    found = dict[int, Json]()
    for basis in known.bases.values():
        seen = known.seen.get(basis.case)
        if seen is None or not seen.hers:
            continue
        for image in seen.now.case.images:
            index = basis.pictures.get(image.path, -1)
            if (data := bodies.get(index)) and (
                made := fhir.media(known.about, index, seen.now, image, data)
            ):
                found[index] = made
    return found
