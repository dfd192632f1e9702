"""What is done with a patient's record: name her, correct a value, tell the outcome, export, erase."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError, OutOfTimeError, encodable
from akazuba.fhir.export import resource_id
from akazuba.governance.audit_anchors import origin
from akazuba.governance.consent import may
from akazuba.governance.course import WRONG_PATIENT, correct
from akazuba.governance.decisions import Outcome, report_outcome
from akazuba.governance.export import export_patient
from akazuba.records import Assessment, Case, Level
from akazuba.storage.person import Person, searchable
from akazuba.web import access
from akazuba.web.assessment_view import View, seen
from akazuba.web.consulting import stored_assessment
from akazuba.web.pages import page
from akazuba.web.patient_view import ROOMS, WORDS, Corrected, corrections_of, value_text
from akazuba.web.patients import Read, asked_patient, read_of
from akazuba.web.post import Records, now_ms
from akazuba.web.signing import may_break
from akazuba.web.vitals import BODY, VITALS

SEXES = ("female", "male", "other", "unknown")
LEVELS: tuple[Level, ...] = ("red", "yellow", "green")
BORN = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def routes() -> list[BaseRoute]:
    return [
        Route("/patients/{id}/particulars", particulars_page),
        Route("/patients/{id}/particulars", particulars, methods=["POST"]),
        Route("/patients/{id}/outcome/{index:int}", outcome_page),
        Route("/patients/{id}/outcome/{index:int}", outcome, methods=["POST"]),
        Route("/patients/{id}/correction/{index:int}", correction_page),
        Route("/patients/{id}/correction/{index:int}", correction, methods=["POST"]),
        Route("/patients/{id}/export", export_page),
        Route("/patients/{id}/export", export, methods=["POST"]),
        Route("/patients/{id}/erase", erase_page),
        Route("/patients/{id}/erase", erase, methods=["POST"]),
    ]


def back(patient: str, done: str) -> RedirectResponse:
    return RedirectResponse(f"/patients/{quote(patient, safe='')}?done={done}", 303)


# --- her name ---------------------------------------------------------------------------------------


async def particulars_page(request: Request) -> Response:
    granted = await access.demand(request, "record", asked_patient(request))
    read = await access.post_of(request).records(
        partial(read_of, granted=granted, patient=asked_patient(request), why="particulars opened")
    )
    return await page(
        request,
        "patient_edit.html",
        person=read.person,
        unnamed=read.person.unnamed,
        sexes=SEXES,
    )


async def particulars(request: Request) -> Response:
    """Changed particulars of a known patient; who was helped without a name gets hers here."""
    form, patient = await access.posted(request), asked_patient(request)
    granted = await access.demand(request, "record", patient)
    given = {name: encodable(access.field(form, name, 200).strip()) for name in ("name", "sex", "place")}
    born = access.field(form, "born", 10).strip()
    if born and not BORN.fullmatch(born):
        raise InputError("born", "a year, a month or a day such as 1990, 1990-05 or 1990-05-17", repr(born))
    if given["sex"] and given["sex"] not in SEXES:
        raise InputError("sex", ", ".join(SEXES), repr(given["sex"]))

    def work(kept: Records) -> None:
        store = kept.opened()
        known = store.person(patient)
        told = Person(known.id, given["name"], born, given["sex"], given["place"])
        if told != known:
            store.admit(told, granted.user.id)

    await access.post_of(request).records(work)
    return back(patient, "particulars")


# --- what it turned out to be -----------------------------------------------------------------------


def view_of(kept: Records, read: Read, index: int, language: str) -> tuple[View, Case, tuple[Corrected, ...]]:
    """An assessment of hers beside the case as it was assessed; the case as it stands now; what of it was
    corrected since. Raises InputError for another patient's, and for one entered by mistake.
    """
    store = kept.opened()
    entry, assessment = stored_assessment(store, index)
    if entry.patient != read.person.id:
        raise InputError(f"assessment {index}", f"one of {read.person.id}", "another patient's")
    basis = read.known.bases.get(index)
    of = read.known.seen.get(basis.case) if basis else None
    if basis is None or of is None or not of.hers:
        raise InputError(f"assessment {index}", "one with a case of hers", "none, or another patient's")
    since = tuple(corrections_of(read.known, basis.case))
    return seen(assessment, of.came.case, language), of.now.case, since


@dataclass(frozen=True)
class Item:
    """One piece of the advice. item: its name in the log. words: as it is shown."""

    item: str
    words: str


def advice_of(assessment: Assessment, view: View) -> list[Item]:
    """What an outcome can bear out or refute, under the names that a decision uses too."""
    triage = assessment.triage.level if assessment.triage else "unassessed"
    items = [Item(f"triage.level: {triage}", view.title)]
    said = zip(assessment.differential or (), view.said.differential or (), strict=True)
    items += [Item(f"diagnosis: {one.name}"[:200], shown.name) for one, shown in [*said][:5]]
    plans = zip(assessment.plan or (), view.plan, strict=True)
    items += [
        Item(f"plan: {one.action} {one.what}".strip()[:200], f"{shown.action} {shown.what}".strip())
        for one, shown in plans
    ]
    return [*{item.item: item for item in items}.values()]


async def outcome_page(request: Request) -> Response:
    patient, index = asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "record", patient)
    language = access.visitor(request).language

    def work(kept: Records) -> tuple[Read, list[Item]]:
        read = read_of(kept, granted, patient, f"outcome of assessment {index}")
        view, _, _ = view_of(kept, read, index, language)
        return read, advice_of(stored_assessment(kept.opened(), index)[1], view)

    read, items = await access.post_of(request).records(work)
    return await page(
        request, "patient_outcome.html", person=read.person, index=index, items=items, levels=LEVELS
    )


async def outcome(request: Request) -> Response:
    form, patient, index = await access.posted(request), asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "record", patient)
    level = access.field(form, "level", 20)
    if level and level not in LEVELS:
        raise InputError("level", ", ".join(LEVELS), repr(level))
    told = Outcome(
        assessment=index,
        what=encodable(access.field(form, "what", 4000).strip()),
        source=encodable(access.field(form, "source", 4000).strip()),
        level=level or None,
        borne_out=_judged(form, "right"),
        refuted=_judged(form, "wrong"),
    )
    await access.post_of(request).records(
        lambda kept: report_outcome(kept.opened(), granted.user.id, patient, told)
    )
    return back(patient, "outcome")


def _judged(form: FormData, how: str) -> tuple[str, ...]:
    """The items of the advice of which the form says that they were right, or wrong."""
    found = []
    for name, value in form.multi_items():
        if name.startswith("item.") and value == how:
            found.append(access.field(form, f"name.{name.removeprefix('item.')}", 200))
    return tuple(found)


# --- a wrong value ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correctable:
    """field: dotted path in the case. now: as it stands, "" for not assessed."""

    field: str
    title: str
    unit: str
    now: str


LISTS = ("allergies", "conditions", "medications")


def correctables(case: Case) -> list[Correctable]:
    fields = [(f"{room}.{each.name}", each.title, each.unit) for room, some in ROOMS for each in some]
    fields += [(path, title, "") for path, title in WORDS.items()]
    return [Correctable(path, title, unit, value_text(case, path)) for path, title, unit in fields]


SEPARATORS = r"[,;，；、\n]"
NONE = (
    *("none", "no", "-", "0"),
    *("aucun", "aucune", "non"),
    *("hakuna", "hapana"),
    *("nta", "ntabyo", "ntabwo", "oya"),
    *("无", "没有"),
)
"""What is typed for an empty list, in the page's languages; `sending.js` takes the same."""


def value_of(field: str, text: str) -> object:
    """What was typed, as the case holds it; "" is not assessed. Raises InputError.

    >>> value_of("vitals.systolic_mmhg", "150"), value_of("allergies", "none"), value_of("medications", "")
    (150.0, [], None)
    """
    text = encodable(text.strip())
    if field == "note":
        return text
    if not text:
        return [] if field == "conditions" else None
    if field in LISTS:
        nothing = text.casefold().removesuffix(".") in NONE
        words = [] if nothing else [part.strip() for part in re.split(SEPARATORS, text)]
        return medicines_of(words) if field == "medications" else [word for word in words if word]
    if field in ("patient.sex", "vitals.consciousness", "date"):
        return text
    if field in ("patient.pregnant", "vitals.on_oxygen"):
        if text.casefold() not in ("yes", "no"):
            raise InputError(field, "yes or no", repr(text[:40]))
        return text.casefold() == "yes"
    if not re.fullmatch(r"\d{1,6}(\.\d{1,4})?", text):
        raise InputError(field, "a number such as 37.5", repr(text[:40]))
    return float(text)


def medicines_of(words: list[str]) -> list[dict[str, object]]:
    """Names with or without milligrams a day.

    >>> medicines_of(["amlodipine 5 mg", "paracetamol"])
    [{'name': 'amlodipine', 'dose_mg': 5.0}, {'name': 'paracetamol'}]
    """
    found = list[dict[str, object]]()
    for word in filter(None, words):
        dose = re.fullmatch(r"(.*\S)\s+(\d+(?:\.\d+)?)\s*mg", word, re.IGNORECASE)
        found.append({"name": dose[1], "dose_mg": float(dose[2])} if dose else {"name": word})
    return found


def _case_of(read: Read, index: int) -> Case:
    of = read.known.seen.get(index)
    if of is None or not of.hers:
        raise InputError(f"entry {index}", f"a case of {read.person.id}", "none, or another patient's")
    return of.now.case


async def correction_page(request: Request) -> Response:
    patient, index = asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "record", patient)
    read = await access.post_of(request).records(
        partial(read_of, granted=granted, patient=patient, why=f"correction of entry {index}")
    )
    fields = correctables(_case_of(read, index))
    return await page(
        request,
        "patient_correction.html",
        person=read.person,
        index=index,
        fields=fields,
        wrong=WRONG_PATIENT,
    )


async def correction(request: Request) -> Response:
    """A value of a recorded case was wrong. The case stays as it came."""
    form, patient, index = await access.posted(request), asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "record", patient)
    field, why = access.field(form, "field", 80), encodable(access.field(form, "why", 4000).strip())
    text, by_whom = access.field(form, "value", 20_000), encodable(access.field(form, "by_whom", 200))
    if field not in WORDS and field != WRONG_PATIENT and field.partition(".")[2] not in _NUMBERS:
        raise InputError("field", "a field of a case", repr(field))
    value = encodable(text.strip()) or None if field == WRONG_PATIENT else value_of(field, text)

    def work(kept: Records) -> None:
        read = read_of(kept, granted, patient, f"correction of entry {index}")
        _case_of(read, index)
        correct(kept.opened(), granted.user.id, index, field, value, why, by_whom)

    await access.post_of(request).records(work)
    return back(patient, "correction")


_NUMBERS = frozenset(field.name for field in (*BODY, *VITALS))


# --- handing out and erasing ------------------------------------------------------------------------


async def export_page(request: Request, error: str = "", status: int = 200) -> Response:
    patient = asked_patient(request)
    granted = await access.demand(request, "see-patients", patient)

    def work(kept: Records) -> tuple[Person, object]:
        read = read_of(kept, granted, patient, "export opened")
        return read.person, may(kept.opened(), patient, "export", now_ms())

    person, allowed = await access.post_of(request).records(work)
    return await page(
        request,
        "patient_export.html",
        status,
        person=person,
        allowed=allowed,
        error=error,
        behind_glass="export" in may_break(granted.user.role),
    )


async def export(request: Request) -> Response:
    """One patient's record as a file, where she agreed to it. Refusals are in the log with their reason."""
    form, patient = await access.posted(request), asked_patient(request)
    granted = await access.demand(request, "export", patient)
    to, why = access.field(form, "to", 500), access.field(form, "why", 500)

    def work(kept: Records) -> bytes:
        store = kept.opened()
        return export_patient(store, patient, granted.user.id, to, why, origin(store), now_ms).record

    try:
        record = await access.post_of(request).records(work)
    except InputError as problem:
        return await export_page(request, str(problem), 422)
    file = f"patient-{resource_id(patient)}.json"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return Response(record, media_type="application/fhir+json", headers=headers)


async def erase_page(request: Request, error: str = "", status: int = 200) -> Response:
    patient = asked_patient(request)
    granted = await access.demand(request, "erase", patient)
    read = await access.post_of(request).records(
        partial(read_of, granted=granted, patient=patient, why="erasure opened")
    )
    rows = sum(1 for entry in read.known.entries if entry.kind == "assessment")
    return await page(request, "patient_erase.html", status, person=read.person, rows=rows, error=error)


async def erase(request: Request) -> Response:
    """For good. Her name is typed, so that nobody erases whom he did not mean."""
    form, patient = await access.posted(request), asked_patient(request)
    granted = await access.demand(request, "erase", patient)
    typed, why = access.field(form, "name", 200), encodable(access.field(form, "why", 500).strip())

    def work(kept: Records) -> None:
        store = kept.opened()
        person = store.person(patient)
        if searchable(encodable(typed)) != searchable(person.name):
            raise InputError("name", "her name, to erase her for good", repr(typed))
        if not any(map(str.isalpha, why)):
            raise InputError("why", "a reason", "none")
        if searchable(person.name) in searchable(why):
            raise InputError("why", "a reason without her name: it stays in the log", "one with it")
        store.erase(patient, granted.user.id, why)

    late = ""
    try:
        await access.post_of(request).records(work)
    except InputError as problem:
        if problem.item not in ("name", "why"):
            raise
        return await erase_page(request, str(problem), 422)
    except OutOfTimeError as problem:  # she is erased; old pages go when a reader ends
        late = str(problem)
    return await page(request, "patient_erased.html", late=late)
