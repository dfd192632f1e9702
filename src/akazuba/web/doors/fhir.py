"""The FHIR R4 door: routes, rights, status codes. What is answered is made by functions from values to JSON.

https://hl7.org/fhir/R4/http.html; every error is an OperationOutcome.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from akazuba import __version__
from akazuba.box import Box
from akazuba.errors import AkazubaError, InputError, LockedError, OutOfTimeError
from akazuba.fhir.advice import UNREVIEWED, Review
from akazuba.fhir.capability import SEARCHES, statement
from akazuba.fhir.events import Json
from akazuba.fhir.incoming import taken_in, to_import
from akazuba.fhir.outcome import Issue, RefusedError, outcome
from akazuba.fhir.searches import BEGINNING, LAST_UPDATED, SUMMARY, Page, Pairs, Query, query, searchset
from akazuba.governance.audit_anchors import origin
from akazuba.governance.fhir_import import Imported, take_in
from akazuba.governance.fhir_records import POLLED, Asker, find_patients, of_patient, polled, read
from akazuba.storage.store import Store
from akazuba.web.consulting import wait_for_imported
from akazuba.web.doors.fhir_assess import MAX_BYTES, Assessed, about_there, answer, assessed, encoded
from akazuba.web.doors.tokens import Program, TokenError, program
from akazuba.web.guard import TooLargeError
from akazuba.web.post import Post, Records, now_ms

MEDIA_TYPE = "application/fhir+json; fhirVersion=4.0"
JSON = ("application/fhir+json", "application/json")
FORM = "application/x-www-form-urlencoded"
FORM_BYTES = 64 * 1024
EVERY_READ, EVERY_WRITE, ASSESS = "system/*.read", "system/*.write", "system/assess"
IMPORT = ("/fhir", "/fhir/")
ASSESSED = ("/fhir/$assess", "/fhir/Bundle/$assess")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

Done = TypeVar("Done")
Handler = Callable[[Request], Awaitable[Response]]


def routes() -> list[BaseRoute]:
    found = [_route("/fhir/metadata", capabilities)]
    found += [_route(path, take, "POST") for path in IMPORT]
    found += [_route(path, assess, "POST") for path in ASSESSED]
    for kind in SEARCHES:
        found.append(_route(f"/fhir/{kind}", partial(search, kind=kind)))
        found.append(_route(f"/fhir/{kind}/_search", partial(search_by_form, kind=kind), "POST"))
        found.append(_route(f"/fhir/{kind}/{{id}}", partial(read_one, kind=kind)))
    others = ("/fhir", "/fhir/{rest:path}")
    return [*found, *(Route(path, _answered(nothing), methods=METHODS) for path in others)]


async def capabilities(request: Request) -> Response:
    return _said(statement(_base(request), __version__))


async def read_one(request: Request, kind: str) -> Response:
    who = await _reader(request, kind)
    id_ = request.path_params["id"]
    query(request.query_params.multi_items(), (), strict=_strict(request))
    found = await _records(request, who, lambda store, asker: read(store, asker, kind, id_))
    meta = found["meta"]
    version = meta["versionId"] if isinstance(meta, dict) else ""
    return _said(found, headers={"ETag": f'W/"{version}"'})


async def search(request: Request, kind: str) -> Response:
    return await _searched(request, kind, request.query_params.multi_items())


async def search_by_form(request: Request, kind: str) -> Response:
    """So that no name stands in an address."""
    _typed(request, (FORM,))
    body = await _body(request, FORM_BYTES)
    try:
        form = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as problem:
        raise RefusedError(400, "structure", "body", "a form in UTF-8", str(problem)[:100]) from problem
    return await _searched(request, kind, [*request.query_params.multi_items(), *form])


async def assess(request: Request) -> Response:
    record = _record(request)
    who = await program(request, EVERY_WRITE if record else ASSESS)
    done, body = await _assessed(request, wrapped=True)
    if not record:
        return _said(answer(done, about_there(done.posted), now_ms()))
    kept = await _kept(request, who, done, body)
    id_ = f"entry-{kept.assessment}"
    words = f"kept as ClinicalImpression/{id_}, where it says what a clinician decided"
    return _said(answer(done, kept.about, now_ms(), id_, Review(words=f"{UNREVIEWED} yet; {words}")))


async def take(request: Request) -> Response:
    """One patient's Bundle as a consultation."""
    who = await program(request, EVERY_WRITE)
    done, body = await _assessed(request, wrapped=False)
    kind = to_import(done.posted.bundle)
    kept = await _kept(request, who, done, body)
    stands = f"ClinicalImpression/entry-{kept.assessment}"
    if kept.again:
        told = [Issue("information", "duplicate", f"these bytes were here before: {stands}")]
    else:
        level = done.said.triage.level if done.said.triage else "unassessed"
        told = [Issue("information", "informational", f"urgency: {level}, in {stands}"), *done.issues]
    said = taken_in(
        done.posted.bundle,
        kind,
        {"Patient": f"Patient/{kept.about}", "Encounter": f"Encounter/entry-{kept.case}"},
        kept.assessment,
        again=kept.again,
        not_read={name: count for name, count in done.line.ignored.items() if " (" not in name},
        issues=told,
    )
    return _said(said)


async def nothing(request: Request) -> Response:
    path = request.url.path
    kind, _, rest = path.removeprefix("/fhir/").partition("/")
    if path in ("/fhir/metadata", *IMPORT, *ASSESSED) or (kind in SEARCHES and "/" not in rest):
        found = f"{request.method} {path[:120]}"
        raise RefusedError(405, "not-supported", "method", "what /fhir/metadata names", found)
    raise RefusedError(404, "not-found", "address", "what /fhir/metadata names", path[:120])


# --- what the handlers share --------------------------------------------------------------------------


async def _searched(request: Request, kind: str, pairs: Pairs) -> Response:
    who = await _reader(request, kind)
    asked = query(pairs, SEARCHES[kind].keys() - {LAST_UPDATED}, strict=_strict(request))
    page = await _records(request, who, lambda store, asker: _page(store, asker, kind, asked))
    return _said(searchset(_base(request), kind, asked, page))


def _page(store: Store, asker: Asker, kind: str, asked: Query) -> Page:
    if kind == "Patient":
        return find_patients(store, asker, asked)
    about = {_id(asked.named[name]) for name in ("patient", "subject") if name in asked.named}
    if len(about) == 1:
        return of_patient(store, asker, kind, about.pop(), asked)
    if about:
        raise RefusedError(400, "value", "patient, subject", "one patient", "two")
    if kind not in POLLED:
        raise RefusedError(400, "required", "patient", "a patient, such as Patient/p1", "none")
    if asked.since is None and asked.after == BEGINNING:
        raise RefusedError(400, "required", "patient, _lastUpdated", "one of them", "neither")
    if asked.count == 0:
        counted = SUMMARY if SUMMARY in dict(asked.used) else "_count"
        raise RefusedError(400, "not-supported", counted, "1 or more where no patient is named", "0")
    return polled(store, asker, kind, asked)


def _id(reference: str) -> str:
    """Of `p1`, `Patient/p1` or an address that ends so; "" for another type's."""
    found = re.fullmatch(r"(?:(?:https?://[^?#]*/)?Patient/)?([A-Za-z0-9\-.]{1,64})", reference)
    if not found:
        raise RefusedError(400, "value", "patient", "a reference such as Patient/p1", repr(reference[:80]))
    return found[1]


async def _reader(request: Request, kind: str) -> Program:
    _accepted(request)
    return await program(request, f"system/{kind}.read", EVERY_READ)


async def _assessed(request: Request, *, wrapped: bool) -> tuple[Assessed, bytes]:
    """Whatever is wrong with a Bundle is said before anything is kept."""
    _accepted(request)
    _typed(request, JSON)
    body = await _body(request, MAX_BYTES)
    at = now_ms()
    post: Post = request.app.state.post

    def work(box: Box) -> Assessed:
        return assessed(box, body, at, wrapped=wrapped)

    return await post.engine(work), body


async def _kept(request: Request, who: Program, done: Assessed, body: bytes) -> Imported:
    post: Post = request.app.state.post
    case, said = encoded(done)
    base = _base(request)

    def work(records: Records) -> Imported:
        store, ran = records.opened(), records.versions
        made = take_in(store, who.client, base, done.posted, body, case, said, done.pictures, ran, now_ms)
        # sent again too: it may have been cut off before she waited
        wait_for_imported(records, done.case, done.said, made.assessment, date.today())  # noqa: DTZ011 - the day at the post
        return made

    return await post.records(work)


async def _records(request: Request, who: Program, work: Callable[[Store, Asker], Done]) -> Done:
    post: Post = request.app.state.post

    def opened(records: Records) -> Done:
        store = records.opened()
        return work(store, Asker(who.client, origin(store), now_ms))

    return await post.records(opened)


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise RefusedError(413, "too-long", "body", f"at most {most} bytes", "more")
    return bytes(body)


def _typed(request: Request, types: tuple[str, ...]) -> None:
    said = request.headers.get("content-type", "")
    if said.partition(";")[0].strip().casefold() not in types:
        expected = " or ".join(types)
        raise RefusedError(415, "not-supported", "Content-Type", expected, repr(said[:60]))


def _accepted(request: Request) -> None:
    """Only JSON is spoken here."""
    wanted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")]
    if not {"*/*", "application/*", "", *JSON} & {part.casefold() for part in wanted}:
        raise RefusedError(406, "not-supported", "Accept", " or ".join(JSON), repr(", ".join(wanted)[:80]))


def _strict(request: Request) -> bool:
    wishes = re.split(r"[,;]", request.headers.get("prefer", "").casefold())
    return "handling=strict" in {wish.replace(" ", "") for wish in wishes}


def _record(request: Request) -> bool:
    said = request.query_params.get("record", "false")
    if said not in ("true", "false"):
        raise RefusedError(400, "value", "record", "true or false", repr(said[:40]))
    return said == "true"


def _base(request: Request) -> str:
    """By the box's own name, where whoever runs it gave one."""
    origins = getattr(request.app.state, "origins", ()) or (f"{request.url.scheme}://{request.url.netloc}",)
    return f"{str(origins[0]).rstrip('/')}/fhir"


def _said(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(body), status, kept, MEDIA_TYPE)


def _route(path: str, handler: Handler, method: str = "GET") -> BaseRoute:
    return Route(path, _answered(handler), methods=[method])


def _answered(handler: Handler) -> Handler:
    """Every error as an OperationOutcome."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except TokenError as problem:
            code = {401: "login", 403: "forbidden", 503: "transient"}.get(problem.status, "security")
            return _outcome(problem.status, code, problem.words, problem.headers)
        except TooLargeError as problem:
            return _outcome(413, "too-long", str(problem))
        except ClientDisconnect:
            return _outcome(400, "incomplete", "body: expected all of it, found its beginning")
        except AkazubaError as problem:
            return _failed(problem)

    return answered


def _failed(problem: AkazubaError) -> Response:
    match problem:
        case RefusedError():
            return _outcome(problem.status, problem.code, str(problem))
        case LockedError():
            return _outcome(423, "lock-error", str(problem))
        case OutOfTimeError():
            return _outcome(503, "timeout", str(problem))
        case InputError():
            return _outcome(422, "processing", str(problem))
        case _:  # what is damaged is shown at the box
            words = f"records: expected sound ones, found damage: {problem.item[:80]}"
            return _outcome(500, "exception", words)


def _outcome(status: int, code: str, words: str, headers: Mapping[str, str] | None = None) -> Response:
    return _said(outcome([Issue("error", code, words)]), status, headers)
