"""Find a patient, and what is kept of her. Every look is in the log before anything of it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.governance.audit_reads import Reading, record_reads, record_search, searches_of, who_read
from akazuba.governance.consent import PURPOSES, Allowed, may
from akazuba.governance.decisions import Decided, Told, outcomes_about, states_of
from akazuba.governance.fhir_entries import History, history
from akazuba.governance.roles import Action, Role, verdict
from akazuba.governance.sessions import Granted
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store
from akazuba.web import access
from akazuba.web.pages import fragment, page
from akazuba.web.patient_charts import drawings
from akazuba.web.patient_view import (
    age_today,
    card,
    cases_of,
    consultations,
    corrections_of,
    day_of,
    known_of,
    lines_of,
    newest_case,
)
from akazuba.web.post import Records, now_ms

MOST_FOUND = 20
MOST_NAME = 200
SEEN_KINDS = ("patient", "case", "correction", "basis", "assessment", "outcome")
"""What a history is made of; pictures are opened one by one."""

SEARCHES_BACK = 20_000
"""Entries of the log among which searches that showed her are looked up: a look at all would take seconds."""


def routes() -> list[BaseRoute]:
    return [
        Route("/patients", search_page, methods=["GET", "POST"]),
        Route("/patients/find", find, methods=["POST"]),
        Route("/patients/{id}", history_page),
        Route("/patients/{id}/card", card_of),
    ]


# --- finding ----------------------------------------------------------------------------------------


async def search_page(request: Request) -> Response:
    name = await _asked(request) if request.method == "POST" else ""
    people = await _found(request, name)
    return await page(request, "patients.html", asked=name, people=people, most=MOST_FOUND)


async def find(request: Request) -> Response:
    """What the search page and a consultation ask for while a name is typed."""
    name = await _asked(request)
    return fragment(request, "patients_found.html", asked=name, people=await _found(request, name))


async def _asked(request: Request) -> str:
    """In the body: an address stays in the history of a tablet that many share. Raises InputError."""
    return access.field(await access.posted(request), "name", MOST_NAME).strip()


async def _found(request: Request, name: str) -> list[Person]:
    """One entry in the log for one search, before anybody is shown."""
    granted = await access.demand(request, "see-patients")
    if not name:
        return []

    def work(kept: Records) -> list[Person]:
        store = kept.opened()
        people = store.search(name, MOST_FOUND)
        ids = [person.id for person in people]
        record_search(store, ids, granted.user.id, "searched by name", MOST_FOUND)
        return people

    return await access.post_of(request).records(work)


# --- one patient ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """A patient's record that may be shown: that it is read stands in the log."""

    granted: Granted
    person: Person
    known: History


def read_of(kept: Records, granted: Granted, patient: str, why: str) -> Read:
    """Raises InputError for an unknown or erased patient, LockedError."""
    store = kept.opened()
    person = store.person(patient)
    (read,) = record_reads(store, [person.id], granted.user.id, why, "everything before this entry")
    return Read(granted, person, history(person, _entries(store, patient, read.index), note_of_today=False))


def _entries(store: Store, patient: str, before: int) -> list[Recorded]:
    found = [entry for kind in SEEN_KINDS for entry in store.entries(patient=patient, kind=kind)]
    return sorted((entry for entry in found if entry.index < before), key=lambda entry: entry.index)


def today() -> date:
    """The day at the post."""
    return date.today()  # noqa: DTZ011


def asked_patient(request: Request) -> str:
    return str(request.path_params["id"])


async def card_of(request: Request) -> Response:
    """What a new consultation of a known patient begins with.

    allergies: each that was ever named with the last day that named it, and when somebody last asked; null
    where nobody did.
    """
    patient = asked_patient(request)
    granted = await access.demand(request, "see-patients", patient)

    def work(kept: Records) -> dict[str, object]:
        read = read_of(kept, granted, patient, "picked for a consultation")
        cases = cases_of(read.known)
        known = known_of(cases)
        named = [{"name": name, "day": day} for name, day in known.told]
        told = {"asked": known.allergies.day, "named": named} if known.allergies else None
        return {"fields": card(read.person, cases, today()), "allergies": told}

    return JSONResponse(await access.post_of(request).records(work))


@dataclass(frozen=True)
class Standing:
    """How each consultation stands: signed how and by whom, and what it turned out to be."""

    signed: Mapping[int, Decided]
    outcomes: Mapping[int, list[Told]]
    consents: Mapping[str, Allowed]
    readings: list[Reading]


async def history_page(request: Request) -> Response:
    patient = asked_patient(request)
    granted = await access.demand(request, "see-patients", patient)

    def work(kept: Records) -> tuple[Read, Standing]:
        read = read_of(kept, granted, patient, "history opened")
        return read, _standing(kept.opened(), read)

    read, standing = await access.post_of(request).records(work)
    newest = newest_case(read.known)
    return await page(
        request,
        "patient.html",
        person=read.person,
        unnamed=read.person.unnamed,
        age=age_today(read.person.born, newest, today()),
        known=known_of(cases_of(read.known)),
        rows=consultations(read.known),
        corrections=partial(corrections_of, read.known),
        drawings=drawings(lines_of(read.known)),
        standing=standing,
        day_of=day_of,
        may=rights(granted.user.role),
        done=request.query_params.get("done", "") if request.query_params.get("done") in DONE else "",
        told=DONE,
    )


DONE: Mapping[str, str] = {
    "particulars": "The particulars are changed.",
    "outcome": "The outcome is recorded.",
    "correction": "The correction is recorded. The assessment still stands on what came: assess again.",
}


def _standing(store: Store, read: Read) -> Standing:
    patient, at = read.person.id, now_ms()
    hers = {row.assessment for row in consultations(read.known) if row.hers}
    signed = states_of(store, patient, (entry for entry in read.known.entries if entry.index in hers))
    told = outcomes_about(store, patient)
    looks = verdict(read.granted.user.role, "acknowledge-glass").allowed
    first = max(0, store.size - SEARCHES_BACK)
    readings = [*who_read(store, patient), *searches_of(store, patient, first)] if looks else []
    return Standing(
        signed={index: made for index, made in signed.items() if isinstance(made, Decided)},
        outcomes={index: told[index] for index in hers if index in told},
        consents={purpose: may(store, patient, purpose, at) for purpose in PURPOSES},
        readings=sorted(readings, key=lambda reading: -reading.index),
    )


def rights(role: Role) -> frozenset[Action]:
    """What the buttons of a patient's page need."""
    wanted: tuple[Action, ...] = ("record", "consent", "export", "erase", "acknowledge-glass", "break-glass")
    return frozenset(action for action in wanted if verdict(role, action).allowed)
