"""One patient's record, to be handed out: only where the patient agreed, and with a trace on both sides.

The log says who handed what to whom and why before a byte is made, and afterwards which bytes: their SHA-256.
The record says of each entry at which index it stands in which log, and under which leaf, so that whoever
receives it can ask for the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import msgspec

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.fhir import export as fhir
from akazuba.fhir.events import Json, consent, disclosure_event, provenance
from akazuba.fhir.visit import Visit, visit
from akazuba.governance.audit_reads import READS, system_ms
from akazuba.governance.consent import PURPOSES, Consent, Word, may, newest_word, words
from akazuba.records import Assessment, Case
from akazuba.storage.store import Entry, Person, Recorded, Store

_LONGEST = 500
NOT_HERS = {*READS, "exported", "export-refused", "break-glass"}
"""Entries about dealing with the record; whoever wants them asks who read it (`audit_reads.who_read`)."""


class _Seen(msgspec.Struct, frozen=True):
    """Of a `basis` entry: the entries of the pictures by their paths, and that of the case."""

    case: int
    pictures: dict[str, int] = {}


Body = TypeVar("Body", Case, Assessment, _Seen)


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
    resources = [*_record(store, person, about, entries, log, at), event]
    newest = _cases(entries)
    id_ = newest[-1].case.id if newest else patient
    record = msgspec.json.encode(fhir.bundle(id_, at, resources))
    told = {"export": recorded.index, "sha256": sha256(record).hexdigest(), "bytes": len(record)}
    store.add(Entry("exported", by, msgspec.json.encode(told), patient))
    return Handed(record, recorded.index)


def _record(
    store: Store, person: Person, about: str, entries: list[Recorded], log: str, at_ms: int
) -> list[Json]:
    visits = _cases(entries)
    by_index = {visit.index: visit for visit in visits}
    pictures = _pictures(about, entries, by_index)
    known = fhir.Particulars(person.id, person.name, person.born, person.sex)
    resources = [fhir.patient(known, visits[-1] if visits else None)]
    said = {word.entry.index: word for word in words(store, person.id)}
    for entry in entries:
        if entry.kind in NOT_HERS:
            continue
        made = _resources(entry, about, by_index)
        if word := said.get(entry.index):
            made += _consents(word, list(said.values()), about, at_ms)
        if entry.index in pictures:
            made.append(pictures[entry.index])
        elif entry.body is not None:
            made.append(fhir.document(about, entry.index, entry.at_ms, entry.kind, entry.by, entry.body))
        targets = [f"{resource['resourceType']}/{resource['id']}" for resource in made]
        leaf = store.node(0, entry.index)
        made.append(provenance(targets, log, entry.index, leaf, entry.by, entry.at_ms))
        resources += made
    return resources


def _resources(entry: Recorded, about: str, visits: dict[int, Visit]) -> list[Json]:
    if entry.kind == "case":
        return visit(about, visits[entry.index])
    if entry.kind != "assessment":
        return []
    assessment = _decoded(entry, Assessment)
    before = [seen for seen in visits.values() if seen.case.id == assessment.case_id]
    seen = max((seen for seen in before if seen.index < entry.index), key=lambda s: s.index, default=None)
    return fhir.assessed(about, entry.index, entry.at_ms, assessment, seen)


def _cases(entries: list[Recorded]) -> list[Visit]:
    """The oldest first, by the log."""
    cases = [entry for entry in entries if entry.kind == "case" and entry.body is not None]
    return [
        Visit(entry.index, entry.at_ms, _decoded(entry, Case), newest=entry is cases[-1]) for entry in cases
    ]


def _pictures(about: str, entries: list[Recorded], visits: dict[int, Visit]) -> dict[int, Json]:
    """By the index of their entries: those of which a case says what they show."""
    bodies = {entry.index: entry.body for entry in entries if entry.kind == "picture"}
    found = dict[int, Json]()
    for entry in entries:
        if entry.kind != "basis":
            continue
        basis = _decoded(entry, _Seen)
        seen = visits.get(basis.case)
        for image in seen.case.images if seen else ():
            index = basis.pictures.get(image.path, -1)
            if seen and (data := bodies.get(index)) and (made := fhir.media(about, index, seen, image, data)):
                found[index] = made
    return found


def _consents(word: Word, all_words: list[Word], about: str, at_ms: int) -> list[Json]:
    """One for each purpose: active while it is the newest word and has not ended."""
    ends = word.until_ms
    shown = word.said.shown if isinstance(word.said, Consent) else None
    made = []
    for purpose in PURPOSES:
        if purpose in word.said.purposes:
            counts = newest_word(all_words, purpose) is word and (ends is None or at_ms < ends)
            said = {
                "purpose": purpose,
                "status": "active" if counts else "inactive",
                "type": "permit" if shown else "deny",
                "agreed_by": str(word.said.by),
                "language": shown.language if shown else "",
                "text_sha256": shown.sha256 if shown else "",
                "text_version": shown.version if shown else "",
            }
            made.append(consent(about, word.entry.index, word.entry.at_ms, said, ends))
    return made


def _decoded(entry: Recorded, type_: type[Body]) -> Body:
    try:
        return msgspec.json.decode(entry.body or b"", type=type_)
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"entry {entry.index}", f"a stored {entry.kind}", str(problem)) from problem
