"""A recorded consultation on paper: a letter for whoever goes on treating her, and her own plan in her words.

Both say who signed, that no clinician reviewed the rules, and where the assessment stands in the log, so that
somebody elsewhere can ask for the proof. A page for A4 and a strip for a 58 mm receipt printer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError
from akazuba.governance.audit_anchors import origin
from akazuba.governance.decisions import Decided, Standing, state_of
from akazuba.records import Case, Sensed
from akazuba.storage.person import Person
from akazuba.web import access
from akazuba.web.assessment_view import View
from akazuba.web.pages import page, reviewed, screen_words
from akazuba.web.patient_deeds import view_of
from akazuba.web.patient_view import Corrected, Known, age_of, cases_of, day_of, known_of, measured
from akazuba.web.patients import asked_patient, read_of
from akazuba.web.post import Records, now_ms
from akazuba.web.vitals import BODY, VITALS
from akazuba.wording.catalogue import languages

KINDS = {"letter": "Referral letter", "plan": "Plan for the patient"}
PAPERS = {"a4": "A4", "receipt": "58 mm"}


def routes() -> list[BaseRoute]:
    return [Route("/patients/{id}/print/{index:int}", print_page)]


@dataclass(frozen=True)
class Printed:
    """view: with the case as it was assessed. corrected: what was put right since. known: what stays true of
    her, whichever consultation asked. leaf: of the assessment in the log, in hex. log: the log's name.
    """

    person: Person
    view: View
    corrected: tuple[Corrected, ...]
    known: Known
    standing: Standing
    leaf: str
    log: str


async def print_page(request: Request) -> Response:
    """`kind`: letter or plan. `paper`: a4 or receipt. `lang`: of the paper."""
    patient, index = asked_patient(request), request.path_params["index"]
    granted = await access.demand(request, "see-patients", patient)
    asked = request.query_params
    kind, paper = _one(asked.get("kind", "letter"), KINDS), _one(asked.get("paper", "a4"), PAPERS)
    known_languages = languages(access.post_of(request).plugins.languages)
    language = _one(asked.get("lang", access.visitor(request).language), known_languages)

    def work(kept: Records) -> Printed:
        read = read_of(kept, granted, patient, f"{kind} of assessment {index} printed")
        store = kept.opened()
        view, _, corrected = view_of(kept, read, index, language)
        leaf, known = store.node(0, index).hex(), known_of(cases_of(read.known))
        return Printed(read.person, view, corrected, known, state_of(store, index), leaf, origin(store))

    printed = await access.post_of(request).records(work)
    words, case = screen_words(language), printed.view.case
    made = printed.standing.newest.decision if isinstance(printed.standing, Decided) else None
    day = case.date or day_of(now_ms()).isoformat()
    return await page(
        request,
        "print.html",
        printed=printed,
        person=printed.person,
        view=printed.view,
        case=case,
        index=index,
        kind=kind,
        paper=paper,
        kinds=KINDS,
        papers=PAPERS,
        printed_in=language,
        known_languages=known_languages,
        her_reviewed=reviewed(language)[:1],
        day=day,
        age=age_of(case),
        numbers=_numbers(case),
        known=printed.known,
        made=made,
        her_say=words.say,
        her_fill=words.fill,
    )


def _one(text: str, known: Mapping[str, object]) -> str:
    if text not in known:
        raise InputError("print", " or ".join(known), repr(text[:20]))
    return text


def _numbers(case: Case) -> list[tuple[str, str, str, Sensed | None]]:
    found, read = measured(case), case.from_sensors
    return [
        (f.title, f"{found[f.name]:g}", f.unit, read.get(f.name)) for f in (*BODY, *VITALS) if f.name in found
    ]
