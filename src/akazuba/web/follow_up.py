"""A chronic patient's follow-up on one screen: what her guidelines ask, beside what it was last time.

Medicines and allergies come prefilled; a number that is measured never does, and nothing is sent that the
nurse did not see on the screen. Until the chart's vital signs are taken her urgency is not assessed, and the
answer says so: a full consultation is one tap away.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from urllib.parse import quote

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.box import Box
from akazuba.errors import InputError, encodable
from akazuba.governance.decisions import Decided, Standing, state_of
from akazuba.records import Action, Case
from akazuba.storage.person import Person
from akazuba.web import access
from akazuba.web.assessment_view import View, seen
from akazuba.web.chronic import Asked, asked, carried, compared, completed, plan_change
from akazuba.web.consulting import Came, Kept, answered, keep, stored_assessment, wait_for
from akazuba.web.pages import page
from akazuba.web.patient_deeds import value_of, view_of
from akazuba.web.patient_view import Corrected, Known, cases_of, consultations, known_of, patient_of
from akazuba.web.patients import Read, asked_patient, read_of, today
from akazuba.web.post import Records

VISIT = re.compile(r"c-\d{8}-[0-9a-f]{10}")
"""An id of a visit, as the form gets it: sent twice, it is recorded once."""


def routes() -> list[BaseRoute]:
    return [
        Route("/follow-up/{id}", form_page),
        Route("/follow-up/{id}", visit, methods=["POST"]),
        Route("/follow-up/{id}/visit/{index:int}", visit_page),
    ]


@dataclass(frozen=True)
class Before:
    """last, when: last time. known: what stays true of her, whichever consultation asked."""

    person: Person
    last: Case
    when: str
    known: Known


async def _before(request: Request, why: str, visit_id: str = "") -> tuple[str, Before | None, Person]:
    patient = asked_patient(request)
    granted = await access.demand(request, "record", patient)

    def work(kept: Records) -> tuple[Person, list[tuple[Case, str]]]:
        read = read_of(kept, granted, patient, why)
        return read.person, cases_of(read.known, visit_id)

    person, cases = await access.post_of(request).records(work)
    before = Before(person, *cases[-1], known_of(cases)) if cases else None
    return granted.user.id, before, person


def _asked(box: Box, before: Before, day: date, id_: str) -> tuple[Case, Asked]:
    patient = patient_of(before.person, (before.last, before.when), day)
    case = carried(before.last, before.known, patient, id_, day.isoformat(), box.desk.library)
    return case, asked(box, case, before.last)


async def form_page(request: Request) -> Response:
    _, before, person = await _before(request, "follow-up opened")
    if before is None:
        return await page(request, "follow_up_none.html", person=person)
    day = today()
    id_ = f"c-{day:%Y%m%d}-{os.urandom(5).hex()}"
    _, what = await access.post_of(request).engine(partial(_asked, before=before, day=day, id_=id_))
    known = before.known
    if not what.titles:
        return await page(request, "follow_up_none.html", person=person, known=known)
    return await page(request, "follow_up.html", person=person, known=known, asked=what, id_=id_)


async def visit(request: Request) -> Response:
    """Assessed and recorded at once; then it is shown beside last time, to be decided on.

    A tablet may send it later, once the box answers again: then it is of the day of its form. Raises
    SignInNeededError rather than record for one user what another one typed.
    """
    form = await access.posted(request)
    id_ = access.field(form, "visit", 40)
    day = _day_of(id_)
    by, before, person = await _before(request, "follow-up recorded", id_)
    if form.get("owner") not in (None, by):
        raise access.SignInNeededError("whoever typed this is not signed in")
    if before is None:
        raise InputError("follow-up", "a patient with a consultation before", "none")
    post = access.post_of(request)

    def work(box: Box) -> Came:
        case, what = _asked(box, before, day, id_)
        case = _with_lists(case, form)
        given = {question.name: access.field(form, f"q.{question.name}", 200) for question in what.questions}
        for name in form:
            if name.startswith("q.") and name[2:] not in given and access.field(form, name, 200).strip():
                raise InputError("follow-up", "answers to what is asked now: open it again", name[2:82])
        return Came(msgspec.json.encode(completed(case, what.questions, given)), {})

    found = await post.engine(lambda box: answered(box, work(box)))

    def record(kept: Records) -> Kept:
        level = found.assessment.triage.level if found.assessment.triage else "unassessed"
        if level in ("red", "yellow"):
            # whoever is well sits before the nurse: she waits for nobody
            wait_for(kept, found.case, found.assessment, today())
        return keep(kept, found, person, by, known=True)

    kept = await post.records(record)
    to = f"/follow-up/{quote(person.id, safe='')}/visit/{kept.assessment}"
    return JSONResponse({"to": to}) if "x-fragment" in request.headers else RedirectResponse(to, 303)


def _day_of(visit: str) -> date:
    """Of the form that has this id. Raises InputError for one that this page did not make."""
    try:
        day = date.fromisoformat(visit[2:10]) if VISIT.fullmatch(visit) else None
    except ValueError:
        day = None
    if day is None or day > today():
        raise InputError("visit", "an id of this page: load it again", repr(visit))
    return day


def _with_lists(case: Case, form: FormData) -> Case:
    """Medicines and allergies as the nurse sees them on the screen."""
    given = {name: encodable(access.field(form, name, 2000)) for name in ("medications", "allergies")}
    values = msgspec.to_builtins(case)
    values |= {name: value_of(name, text) for name, text in given.items()}
    try:
        return msgspec.convert(values, Case)
    except msgspec.ValidationError as problem:
        raise InputError("follow-up", "medicines and allergies as lists", str(problem)) from problem


@dataclass(frozen=True)
class Shown:
    """view: with the case as it was assessed. case: as it stands now. corrected: what differs. day, last,
    last_view, last_plan: of the consultation before, its case as it stands now.
    """

    read: Read
    view: View
    case: Case
    corrected: tuple[Corrected, ...]
    standing: Standing
    day: str
    last: Case | None
    last_view: View | None
    plan: tuple[Action, ...]
    last_plan: tuple[Action, ...]


async def visit_page(request: Request) -> Response:
    patient, index = asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "see-patients", patient)
    language = access.visitor(request).language

    def work(kept: Records) -> Shown:
        store = kept.opened()
        read = read_of(kept, granted, patient, f"assessment {index} beside the one before")
        view, case, corrected = view_of(kept, read, index, language)
        _, assessment = stored_assessment(store, index)
        rows = [row for row in consultations(read.known) if row.hers and row.case is not None]
        here = next((row for row in rows if row.assessment == index), None)
        earlier = [row for row in rows if row.assessment < index]
        standing, plan = state_of(store, index), assessment.plan or ()
        made = Shown(read, view, case, corrected, standing, "", None, None, plan, ())
        if here is None or not earlier:
            return made
        _, old = stored_assessment(store, earlier[0].assessment)
        last = read.known.seen[earlier[0].case].now  # type: ignore[index]  # of `rows`
        last_view = seen(old, read.known.seen[earlier[0].case].came.case, language)  # type: ignore[index]
        return replace(
            made, day=earlier[0].day, last=last.case, last_view=last_view, last_plan=old.plan or ()
        )

    post = access.post_of(request)
    shown = await post.records(work)
    now, last = shown.case, shown.last
    rows = await post.engine(lambda box: compared(box.desk.library, last, now) if last else [])
    return await page(
        request,
        "follow_up_done.html",
        person=shown.read.person,
        view=shown.view,
        corrected=shown.corrected,
        last_view=shown.last_view,
        kept=Kept("open", patient, index),
        standing=shown.standing,
        signed=isinstance(shown.standing, Decided),
        question=None,
        rows=rows,
        day=shown.day,
        change=plan_change(shown.last_plan, shown.plan),
    )
