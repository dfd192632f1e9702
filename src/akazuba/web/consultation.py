"""A consultation on the tablet: the form, the assessment as it grows, the decision, what is kept of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Any, get_args

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.box import Box
from akazuba.errors import InputError
from akazuba.governance.audit_reads import record_reads
from akazuba.governance.course import of_another_patient, record_acknowledged
from akazuba.governance.decisions import (
    Change,
    Choice,
    basis_of,
    decide,
    outcomes_of,
    state_of,
    stored,
)
from akazuba.governance.fhir_entries import history
from akazuba.governance.sessions import Session
from akazuba.governance.users import NOBODY, User
from akazuba.guidelines.inputs import Input
from akazuba.llm.facts import percent
from akazuba.records import Assessment, Case
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded
from akazuba.web import access
from akazuba.web.assessment_view import seen
from akazuba.web.consulting import (
    Answered,
    Came,
    Kept,
    answered,
    draft_key,
    imported_as,
    keep,
    newest_of,
    sound_id,
    stored_assessment,
    wait_for,
)
from akazuba.web.handing_on import hand_on
from akazuba.web.pages import fragment, page
from akazuba.web.patient_view import corrections_of
from akazuba.web.post import Post, Records, now_ms
from akazuba.web.shown import digest_of
from akazuba.web.vitals import BODY, VITALS

KINDS = ("chest-xray", "skin-photo")
MOST_PICTURES = 4
PICTURE_BYTES = 12 * 1024 * 1024
_TITLES = {each.name: each.title for each in VITALS}


def routes() -> list[BaseRoute]:
    return [
        Route("/consultation", form),
        Route("/consultation/arrive", arrive, methods=["POST"]),
        Route("/consultation/assess", assess, methods=["POST"]),
        Route("/consultation/sensor/{name}", sensed, methods=["POST"]),
        Route("/consultation/{index:int}", kept_page),
        Route("/consultation/{index:int}/words", words, methods=["POST"]),
        Route("/consultation/{index:int}/decide", decided, methods=["POST"]),
        Route("/consultation/{index:int}/picture/{number:int}", picture),
        Route("/drafts/key", drafts_key),
    ]


async def form(request: Request) -> Response:
    """The same for everybody, so that it opens without the box too: what is typed stays on the tablet."""
    post = access.post_of(request)
    return await page(
        request,
        "consultation.html",
        told=post.told,
        vitals=(*BODY, *VITALS),
        kinds=dict.fromkeys(KINDS, "") | {kind: reader.plugin for kind, reader in post.readers.items()},
        sensors=[(reader.sensor, _TITLES[reader.sensor.vital]) for reader in post.plugins.sensors],
    )


async def arrive(request: Request) -> Response:
    """She waits from now on, before anything of her is known. Sent again, it changes nothing."""
    given = await access.posted(request)
    id_ = sound_id("case, id", access.field(given, "id", 64))
    _paced(request)

    def work(kept: Records) -> None:
        if not kept.queue.history(id_):
            kept.queue.arrive(id_)

    await access.post_of(request).records(work)
    return Response(status_code=204)


def _paced(request: Request) -> None:
    """What nobody answers for by name is taken at a pace that a crowd of patients needs and no more."""
    if wait := request.app.state.nameless.wait_s(request.client.host if request.client else ""):
        raise HTTPException(429, f"records without a name: expected fewer at once; wait {wait:.0f} s")


async def sensed(request: Request) -> Response:
    """What a plugin's sensor reads now, for a field of the form: the nurse sees it and may change it.

    at: by the box's clock, as the case marks it.
    """
    await access.posted(request)
    reading = await access.post_of(request).sensed(request.path_params["name"])
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    return JSONResponse({"field": f"vitals.{reading.vital}", **asdict(reading), "at": at})


async def assess(request: Request) -> Response:
    """The case as it stands. `keep=yes` records it: then it can be decided on.

    A tablet whose session is over is helped and asked to sign in before it records; one on which nobody
    signed in since the morning records without a name.
    """
    given = await access.posted(request, most_files=MOST_PICTURES)
    came = await _came(given)
    post, session = access.post_of(request), await access.signed_in(request)
    found, inputs = await _answer(post, came)
    sound_id("case, id", found.case.id)
    wanted = access.field(given, "keep", 3) == "yes"
    person = _person(given, found.case)
    author = _author(request, given, session) if wanted and post.state == "open" else None
    if author or (wanted and session):
        await access.demand(request, "record", person.id)
    if wanted and author is None:
        _paced(request)
    by = author[1].id if author else NOBODY

    def work(records: Records) -> Kept | None:
        wait_for(records, found.case, found.assessment, date.today())  # noqa: DTZ011 - the day at the post
        if not wanted:
            return None
        before = records.store.size if records.store else 0
        kept = keep(records, found, person, by, known=author is not None)
        observers = post.plugins.observers
        if records.store and observers and kept.assessment is not None and kept.assessment >= before:
            hand_on(records.store, observers, found.assessment, person.id, kept.assessment, now_ms())
        return kept

    try:
        kept = await post.records(work)
    except InputError as problem:
        if problem.item == "session":
            raise access.SignInNeededError(problem.found) from problem
        raise
    return _shown(request, found, kept, inputs)


def _author(
    request: Request, given: FormData, session: tuple[Session, User] | None
) -> tuple[Session, User] | None:
    """Who answers for a record: the one who typed it, as the tablet says, if she is the one signed in.

    Raises SignInNeededError rather than record it for another user, or for nobody after a session ended.
    """
    owner = given.get("owner")
    if owner is None or (session and owner == session[1].id):
        if session is None and access.visitor(request).token:
            raise access.SignInNeededError("the session is over")
        return session
    if owner == "":
        return None
    raise access.SignInNeededError("whoever typed this is not signed in")


async def _answer(post: Post, came: Came) -> tuple[Answered, Mapping[str, Input]]:
    """What is recorded is what was shown a moment ago; it is not worked out again."""
    key = digest_of(came.data, came.pictures, came.unanswered)
    known: tuple[Answered, Mapping[str, Input]] | None = post.shown.get(key)
    if known is None:

        def work(box: Box) -> tuple[Answered, Mapping[str, Input]]:
            return answered(box, came, post.looked), box.desk.library.all_inputs

        found, inputs = await post.engine(work, later=bool(came.pictures))
        known = replace(found, came=Came(b"", {})), inputs
        post.shown.put(key, known)
    return replace(known[0], came=came), known[1]


def _shown(request: Request, found: Answered, kept: Kept | None, inputs: Mapping[str, Input]) -> Response:
    view = seen(found.assessment, found.case, access.visitor(request).language, inputs)
    question = None if found.settled or not found.questions else found.questions[0]
    return fragment(request, "assessment.html", view=view, question=question, kept=kept, standing=None)


async def drafts_key(request: Request) -> Response:
    """Under which a tablet keeps what this user types, until she signs out."""
    signed = await access.signed_in(request)
    if signed is None:
        raise access.SignInNeededError("nobody is signed in on this tablet")
    user = signed[1].id
    key = await access.post_of(request).records(lambda kept: draft_key(kept.opened(), user))
    return JSONResponse({"user": user, "key": b64encode(key).decode()})


async def _came(given: FormData) -> Came:
    pictures: dict[str, bytes] = {}
    for part in given.getlist("picture"):
        if not isinstance(part, UploadFile) or not part.filename:
            raise InputError("picture", "a file with a name", "none")
        data = await part.read(PICTURE_BYTES + 1)
        await part.close()
        if len(data) > PICTURE_BYTES:
            raise InputError(
                part.filename[:80], f"a picture of at most {PICTURE_BYTES} bytes", "a larger one"
            )
        pictures[part.filename[:200]] = data
    data = access.field(given, "case", 2_000_000).encode()
    try:
        raw = access.field(given, "unanswered", 20_000) or "[]"
        unanswered = msgspec.json.decode(raw, type=frozenset[str])
    except msgspec.MsgspecError as problem:
        raise InputError("unanswered", "a list of ids of questions", str(problem)) from problem
    return Came(data, pictures, unanswered)


def _person(given: FormData, case: Case) -> Person:
    raw = access.field(given, "person", 4000)
    try:
        told = msgspec.json.decode(raw or "{}", type=dict[str, str])
    except msgspec.MsgspecError as problem:
        raise InputError("person", "id, name, born, sex and place", str(problem)) from problem
    named = {name: told.get(name, "").strip()[:200] for name in ("id", "name", "born", "sex", "place")}
    return Person(
        **{**named, "id": named["id"] or f"p-{case.id}", "sex": named["sex"] or case.patient.sex or ""}
    )


async def decided(request: Request) -> Response:
    """Signs accept, change or refuse."""
    given = await access.posted(request)
    index, patient = request.path_params["index"], access.field(given, "patient", 80)
    granted = await access.demand(request, "decide", patient)
    choice, reason = _choice(access.field(given, "choice", 10)), access.field(given, "reason", 4000)

    def work(records: Records) -> Recorded:
        store = records.opened()
        entry, assessment = stored_assessment(store, index)
        if of_another_patient(store, entry.patient, basis_of(store, entry).case):
            raise InputError("decision", "a case of this patient", "one marked as another patient's")
        changes = _changes(given, assessment) if choice == "change" else ()
        made = decide(
            store,
            records.identity(),
            granted,
            index,
            patient,
            choice,
            reason,
            changes,
            now_ms=now_ms(),
        )
        waiting = {each.case_id: each for each in records.queue.waiting()}
        for queued in (assessment.case_id, imported_as(index)):
            # a newer assessment would not be answered yet
            if queued in waiting and newest_of(store, queued) == index:
                if not waiting[queued].answered:
                    record_acknowledged(store, granted.user.id, index)
                records.queue.seen(queued, granted.user.id)
        records.checkpoint()
        return made

    await access.post_of(request).records(work)
    if "x-fragment" in request.headers:
        return Response(status_code=204)
    return RedirectResponse(f"/consultation/{index}", 303)


def _choice(text: str) -> Choice:
    for known in get_args(Choice):
        if known == text:
            return known  # type: ignore[no-any-return]
    raise InputError("choice", ", ".join(get_args(Choice)), repr(text))


def _changes(given: FormData, assessment: Assessment) -> tuple[Change, ...]:
    rows = zip(given.getlist("item"), given.getlist("instead"), strict=False)
    return tuple(
        Change(str(item)[:200], _advised(assessment, str(item)), str(instead)[:4000].strip())
        for item, instead in rows
        if str(instead).strip()
    )


def _advised(assessment: Assessment, item: str) -> str:
    """What the box had said of an item of its advice, "" of what is none."""
    if item == "triage.level":
        return assessment.triage.level if assessment.triage else ""
    kind, _, what = item.partition(": ")
    if kind == "diagnosis":
        shares = {c.name: percent(c.probability) for c in assessment.differential or ()}
        return shares.get(what, "")
    doses = {f"{a.action} {a.what}".strip(): a.dose or "as advised" for a in assessment.plan or ()}
    return doses.get(what.strip(), "") if kind == "plan" else ""


async def kept_page(request: Request) -> Response:
    """What was recorded, years later too; that somebody looked is recorded first."""
    index = request.path_params["index"]
    granted = await access.demand(request, "see-patients")

    def work(records: Records) -> dict[str, Any]:
        store = records.opened()
        entry, assessment = stored_assessment(store, index)
        record_reads(store, [entry.patient], granted.user.id, "consultation opened", f"assessment {index}")
        newest, case = newest_of(store, assessment.case_id), basis_of(store, entry).case
        person = store.person(entry.patient)
        entries = [store.entry(case), *store.entries(patient=person.id, kind="correction")]
        known = history(person, entries, note_of_today=False)
        return {
            "view": seen(assessment, known.seen[case].came.case, access.visitor(request).language),
            "standing": state_of(store, index),
            "person": person,
            "entry": entry,
            "outcomes": outcomes_of(store, index),
            "not_hers": not known.seen[case].hers,
            "newer": newest if newest is not None and newest > index else None,
            "corrected": corrections_of(known, case),
            "kept": Kept("open", person.id, index),
        }

    shown = await access.post_of(request).records(work)
    return await page(request, "kept.html", question=None, **shown)


async def words(request: Request) -> Response:
    """The words of the language model, after the assessment is on the screen; seconds, in their own lane."""
    await access.posted(request)
    index = request.path_params["index"]
    granted = await access.demand(request, "see-patients")

    def read(records: Records) -> tuple[Assessment, Case]:
        store = records.opened()
        entry, assessment = stored_assessment(store, index)
        case = store.entry(basis_of(store, entry).case)
        if case.by != granted.user.id:  # her own stands on her screen already
            record_reads(store, [entry.patient], granted.user.id, "put into words", f"assessment {index}")
        return assessment, stored(case, Case)

    assessment, case = await access.post_of(request).records(read)
    told = await access.post_of(request).worded(assessment, case.note, access.visitor(request).language)
    return fragment(request, "words.html", narrative=told.narrative, suggested=told.suggested)


async def picture(request: Request) -> Response:
    """A picture of a recorded case, as it came."""
    index, number = request.path_params["index"], request.path_params["number"]
    granted = await access.demand(request, "see-patients")

    def work(records: Records) -> tuple[bytes, str]:
        store = records.opened()
        entry, _ = stored_assessment(store, index)
        basis = basis_of(store, entry)
        paths = sorted(basis.pictures)
        if not number < len(paths):
            raise InputError("picture", f"one of {len(paths)}", str(number))
        record_reads(store, [entry.patient], granted.user.id, "picture opened", f"assessment {index}")
        return store.entry(basis.pictures[paths[number]]).body or b"", paths[number]

    data, _ = await access.post_of(request).records(work)
    form = next((form for magic, form in _FORMS if data.startswith(magic)), None)
    if form is None:
        raise InputError("picture", "a PNG or JPEG", "another form, which no browser shows")
    return Response(data, media_type=form)


_FORMS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
