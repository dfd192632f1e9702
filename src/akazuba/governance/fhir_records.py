"""The records as another program gets them: one resource, a search, what is new. Json out, the store in.

A program sees a patient only where she agreed to `sharing`, and each look is in the log before anything is
given. Whether a patient whose name is searched did not agree, or isn't known here, the answer doesn't tell.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.fhir import export as fhir
from akazuba.fhir.events import Json, provenance, read_event, search_event
from akazuba.fhir.outcome import Issue, RefusedError
from akazuba.fhir.searches import Page, Place, Query, versioned
from akazuba.governance.audit_reads import READS, record_reads, searches_of, system_ms
from akazuba.governance.consent import may
from akazuba.governance.fhir_entries import Kept, history, patient, resources
from akazuba.governance.fhir_identity import by_identifier
from akazuba.storage.person import Person, searchable
from akazuba.storage.store import Entry, Recorded, Store

WHY = "FHIR read"
POLLED = ("ClinicalImpression", "RiskAssessment", "CarePlan")
"""What may be asked for over all patients: what is new since a moment, or since a place in the log."""

_MOVES = ("assessment", "decision", "correction")
"""Kinds of entries that make or change what is polled."""

LOOKED, PEOPLE = 1_000, 50
"""Entries and patients that one page of a poll looks at, so that nobody waits for a program."""

NAMESAKES = 100
"""People that one search by name looks at."""


@dataclass(frozen=True)
class Asker:
    """client: the program's name. log: the log's origin. now_ms: since 1970."""

    client: str
    log: str
    now_ms: Callable[[], int] = system_ms

    @property
    def by(self) -> str:
        return f"program:{self.client}"


def read(store: Store, asker: Asker, kind: str, id_: str) -> Json:
    """One resource. Raises RefusedError: unknown (404), erased (410), not agreed to (403)."""
    item = f"{kind}/{id_}"
    person = _whose(store, item, _patient_of(store, kind, id_))
    _agreed(store, asker, person)
    found = next((kept for kept in _all(store, asker, person) if _is(kept, kind, id_)), None)
    if found is None:
        raise RefusedError(404, "not-found", item, "a resource of this box", "none")
    _recorded(store, asker, [person], item)
    return versioned(found.resource, found.index, found.at_ms)


def of_patient(store: Store, asker: Asker, kind: str, id_: str, query: Query) -> Page:
    """One patient's resources of a kind. Raises RefusedError as `read` does."""
    person = _whose(store, f"Patient/{id_}", id_)
    _agreed(store, asker, person)
    all_ = _all(store, asker, person)
    if kind == "AuditEvent":
        all_ = sorted([*all_, *_searches(store, person)], key=lambda kept: kept.index)
    matches = [(place, kept) for place, kept in _placed(all_, kind) if query.holds(kept.at_ms)]
    rest = [(place, kept) for place, kept in matches if _after(query, place)]
    _recorded(store, asker, [person], f"{kind} of one patient")
    return _page(rest, query.count, len(matches))


def find_patients(store: Store, asker: Asker, query: Query) -> Page:
    """By `name`, `identifier` or `_id`; raises RefusedError without any. Only those who agreed."""
    people, issues = _candidates(store, asker.client, query)
    at = asker.now_ms()
    named, kept = {person.id: person for person in people}, dict[str, Kept]()
    for person in people:
        mine, wrong = _if_agreed(store, asker, person.id, at, _only_her)
        kept |= {person.id: one for one in mine or ()}  # noqa: B035 - one at most
        issues += wrong
    matches = sorted(
        ((Place(one.index, 1), one, id_) for id_, one in kept.items() if query.holds(one.at_ms)),
        key=lambda match: match[0].index,
    )
    rest = [match for match in matches if _after(query, match[0])]
    page = _page([(place, one) for place, one, _ in rest], query.count, len(matches))
    told = rest[: query.count or None]  # whoever only counts them learns of all
    _recorded(store, asker, [named[id_] for _, _, id_ in told], "Patient, by a search")
    return Page(page.found, page.ends, page.total, (*issues, _ONLY_AGREED))


def polled(store: Store, asker: Asker, kind: str, query: Query) -> Page:
    """Over all patients, in the order in which the log came to hold them."""
    at, looked, ended = asker.now_ms(), query.after.index, True
    known: dict[str, list[tuple[Place, Kept]] | None] = {}
    issues = list[Issue]()
    found: list[tuple[Place, Kept, str]] = []
    for number, entry in enumerate(_moves(store, max(query.after.index, 0))):
        if number == LOOKED or len(found) > query.count:
            ended = False
            break
        if entry.patient not in known and len(known) == PEOPLE:
            ended = False
            break
        looked = entry.index
        if entry.body is None or not entry.patient or not query.holds(entry.at_ms):
            continue
        if entry.patient not in known:
            agreed, wrong = _if_agreed(store, asker, entry.patient, at, _all)
            known[entry.patient] = None if agreed is None else list(_placed(agreed, kind))
            issues += wrong
        found += [
            (place, kept, entry.patient)
            for place, kept in known[entry.patient] or ()
            if kept.index == entry.index and _after(query, place)
        ]
    page = _page([(place, kept) for place, kept, _ in found], query.count, None)
    ends = page.ends or (None if ended else Place(looked))
    given = dict.fromkeys(patient for _, _, patient in found[: query.count])
    _recorded(store, asker, [store.person(id_) for id_ in given], f"{kind} of all who agreed")
    silent = sum(1 for mine in known.values() if mine is None)
    if silent:
        words = f"left out: {silent} patients who did not agree to sharing"
        issues.append(Issue("information", "suppressed", words))
    return Page(page.found, ends, None, tuple(issues))


Made = Callable[[Store, Asker, Person], list[Kept]]

_ONLY_AGREED = Issue("information", "suppressed", "only patients who agreed to sharing are found here")


def _patient_of(store: Store, kind: str, id_: str) -> str:
    """The id of the patient that a resource is about; "" for none."""
    if kind == "Patient":
        return id_
    found = re.fullmatch(r"entry-([0-9]{1,15})(-[A-Za-z0-9.\-]+)?", id_)
    if not found or int(found[1]) >= store.size:
        return ""
    return fhir.resource_id(store.entry(int(found[1])).patient or "-")


def _whose(store: Store, item: str, about: str) -> Person:
    """about: a resource id. Raises RefusedError."""
    id_ = about
    if about.startswith("sha256-"):
        admitted = (entry.patient for entry in store.entries(kind="patient"))
        id_ = next((one for one in admitted if fhir.resource_id(one) == about), about)
    try:
        return store.person(id_)
    except InputError as problem:
        if about and next(store.entries(patient=id_), None):
            raise RefusedError(
                410, "deleted", item, "one that was not erased", "an erased patient's"
            ) from problem
        raise RefusedError(404, "not-found", item, "a resource of this box", "none") from problem


def _agreed(store: Store, asker: Asker, person: Person) -> None:
    """Raises RefusedError, after the refusal is in the log."""
    allowed = may(store, person.id, "sharing", asker.now_ms())
    if not allowed.yes:
        body = msgspec.json.encode({"what": WHY, "refused": allowed.why})
        store.add(Entry("read-refused", asker.by, body, person.id))
        item = f"Patient/{fhir.resource_id(person.id)}"
        raise RefusedError(403, "forbidden", item, "one who agreed to sharing", allowed.why)


def _if_agreed(
    store: Store, asker: Asker, id_: str, at_ms: int, made: Made
) -> tuple[list[Kept] | None, list[Issue]]:
    """What is made of a patient, None where she did not agree; a damaged record costs itself and no other."""
    try:
        if not may(store, id_, "sharing", at_ms).yes:
            return None, []
        return made(store, asker, store.person(id_)), []
    except ArtefactError as problem:
        words = f"left out: a patient whose record is damaged ({problem.item})"
        return [], [Issue("error", "exception", words)]


def _recorded(store: Store, asker: Asker, people: list[Person], what: str) -> None:
    if people:
        record_reads(store, [person.id for person in people], asker.by, WHY, what, asker.now_ms)


def _all(store: Store, asker: Asker, person: Person) -> list[Kept]:
    """All of one patient that the door has words for, oldest change first."""
    known = history(person, list(store.entries(patient=person.id)), note_of_today=False)
    made = resources(store, known, asker.now_ms())
    sources, entries = [], {entry.index: entry for entry in known.entries}
    for index, group in groupby(made, key=lambda kept: kept.entry):
        targets = [f"{kept.resource['resourceType']}/{kept.resource['id']}" for kept in group]
        entry, leaf = entries[index], store.node(0, index)
        said = provenance(targets, asker.log, index, leaf, entry.by, entry.at_ms)
        sources.append(Kept(index, index, entry.at_ms, said))
    events = [_event(entry, known.about) for entry in known.entries if entry.kind in READS and entry.body]
    return sorted([patient(known), *made, *sources, *events], key=lambda kept: kept.index)


def _only_her(store: Store, _: Asker, person: Person) -> list[Kept]:
    return [patient(history(person, list(store.entries(patient=person.id)), note_of_today=False))]


def _searches(store: Store, person: Person) -> list[Kept]:
    """Searches on a tablet that showed her; whom else they showed is not told."""
    about = fhir.resource_id(person.id)
    first = next(store.entries(patient=person.id)).index
    made = []
    for one in searches_of(store, person.id, first):
        event = search_event([about], one.by, one.why or "", "GET Patient?name=(not kept)", one.at_ms)
        made.append(Kept(one.index, one.index, one.at_ms, event | {"id": f"entry-{one.index}-search"}))
    return made


def _event(entry: Recorded, about: str) -> Kept:
    """Other rooms' reads say `what` and no more."""
    body = msgspec.json.decode(entry.body or b"{}", type=dict[str, object])
    if body.get("resourceType") != "AuditEvent":
        what = str(body.get("what", "")) or "read"
        body = read_event(about, entry.by, what, what, entry.at_ms)
    return Kept(entry.index, entry.index, entry.at_ms, body | {"id": f"entry-{entry.index}"})


def _is(kept: Kept, kind: str, id_: str) -> bool:
    return kept.resource["resourceType"] == kind and kept.resource["id"] == id_


def _placed(all_: list[Kept], kind: str) -> Iterator[tuple[Place, Kept]]:
    """Those of a kind with their places, numbered from 1 within an entry."""
    of_kind = (kept for kept in all_ if kept.resource["resourceType"] == kind)
    for index, group in groupby(of_kind, key=lambda kept: kept.index):
        for number, kept in enumerate(group, 1):
            yield Place(index, number), kept


def _after(query: Query, place: Place) -> bool:
    return query.after.before(place.index, place.number or 0)


def _page(rest: list[tuple[Place, Kept]], count: int, total: int | None) -> Page:
    shown = rest[:count]
    found = [versioned(kept.resource, kept.index, kept.at_ms) for _, kept in shown]
    return Page(found, shown[-1][0] if len(rest) > count > 0 else None, total)


def _moves(store: Store, first: int) -> Iterator[Recorded]:
    kinds = (store.entries(kind=kind, first=first) for kind in _MOVES)
    return heapq.merge(*kinds, key=lambda entry: entry.index)


def _candidates(store: Store, client: str, query: Query) -> tuple[list[Person], list[Issue]]:
    named = query.named
    if not any(named.get(name, "").strip() for name in ("name", "identifier", "_id")):
        raise RefusedError(400, "required", "Patient", "name, identifier or _id", "none of them")
    issues: list[Issue] = []
    if "_id" in named or "identifier" in named:
        ids = [named["_id"]] if "_id" in named else []
        ids += [by_identifier(store, client, named["identifier"])] if "identifier" in named else []
        found = {id_: person for id_ in ids if (person := _known(store, id_))}
        people = [found[ids[0]]] if len(found) == 1 and len(set(ids)) == 1 else []
    else:
        try:
            people = store.search(named["name"], NAMESAKES + 1)
        except InputError as problem:
            raise RefusedError(400, "value", problem.item, problem.expected, problem.found) from problem
        if len(people) > NAMESAKES:
            issues.append(
                Issue("warning", "too-costly", f"the first {NAMESAKES} of more people of that name")
            )
    words = searchable(named.get("name", "")).split()
    return [one for one in people[:NAMESAKES] if all(w in searchable(one.name) for w in words)], issues


def _known(store: Store, id_: str) -> Person | None:
    try:
        return _whose(store, "Patient", id_)
    except RefusedError:
        return None
