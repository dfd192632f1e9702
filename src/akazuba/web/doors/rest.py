"""The REST door: cases to assessments, findings to rare diseases, guidelines, versions, the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba import __version__
from akazuba.errors import AkazubaError, InputError, LockedError
from akazuba.governance.programs import ASSESS, EVERY_READ, HOOKS
from akazuba.intake.cases import MAX_CASE_BYTES
from akazuba.ranking import RankAnswer, RankQuery
from akazuba.records import Assessment, Case, Urgency
from akazuba.report import harmless
from akazuba.web.doors.openapi import JSON, Operation, Parameter, document
from akazuba.web.doors.rest_answers import (
    MOST_RANKED,
    PREFIX,
    RANKED,
    GuidelineAnswer,
    GuidelineSummary,
    Info,
    InQueue,
    RestError,
    Values,
    assessed,
    guidelines,
    info,
    queue,
    ranked,
    run_guideline,
    triaged,
)
from akazuba.web.doors.tokens import TokenError, audiences, program
from akazuba.wording.catalogue import languages

TOP = Parameter(
    "top", "query", {"type": "integer", "minimum": 1, "maximum": MOST_RANKED, "default": RANKED}, "so many"
)
ID = Parameter("id", "path", {"type": "string", "minLength": 1}, "the guideline's id")


def operations(codes: Sequence[str] = tuple(languages())) -> tuple[Operation, ...]:
    """What is served, and described by the same table. codes: of the box's languages."""
    lang = Parameter("lang", "query", {"type": "string", "enum": list(codes)}, "language of fixed texts")
    return (
        Operation(
            "assess",
            "POST",
            f"{PREFIX}/assess",
            "The whole assessment of a case without pictures",
            (ASSESS,),
            assessed,
            Assessment,
            Case,
            (lang,),
        ),
        Operation(
            "triage",
            "POST",
            f"{PREFIX}/triage",
            "How urgent a case is, by rules alone",
            (ASSESS,),
            triaged,
            Urgency,
            Case,
            (lang,),
        ),
        Operation(
            "rank",
            "POST",
            f"{PREFIX}/rank",
            "Rare diseases by findings alone",
            (ASSESS,),
            ranked,
            RankAnswer,
            RankQuery,
            (TOP,),
        ),
        Operation(
            "guidelines",
            "GET",
            f"{PREFIX}/guidelines",
            "Every guideline of the box",
            (ASSESS,),
            guidelines,
            list[GuidelineSummary],
        ),
        Operation(
            "run_guideline",
            "POST",
            f"{PREFIX}/guidelines/{{id}}/run",
            "One guideline over values by name",
            (ASSESS,),
            run_guideline,
            GuidelineAnswer,
            Values,
            (ID,),
            (404,),
        ),
        Operation(
            "info",
            "GET",
            f"{PREFIX}/info",
            "Versions and digests of what the box runs",
            (ASSESS, EVERY_READ, HOOKS),
            info,
            Info,
        ),
        Operation(
            "queue",
            "GET",
            f"{PREFIX}/queue",
            "Who waits, in the order in which to see them",
            (EVERY_READ,),
            queue,
            list[InQueue],
        ),
    )


# --- the edge ---------------------------------------------------------------------------------------


def routes() -> list[BaseRoute]:
    served = [Route(it.path, partial(_serve, it), methods=[it.method]) for it in operations()]
    return [Route(f"{PREFIX}/openapi.json", _described, methods=["GET"]), *served]


async def _described(request: Request) -> Response:
    codes = tuple(languages(request.app.state.post.plugins.languages))
    return JSONResponse(document(operations(codes), __version__, audiences(request)[0]))


async def _serve(operation: Operation, request: Request) -> Response:
    try:
        request.state.program = await program(request, *operation.scopes)
        _refuse_unknown(operation, request)
        body = await _body(request) if operation.body is not None else b""
        said = await operation.answered(request, body)
    except TokenError as problem:
        return _refused(problem.status, problem, problem.headers)
    except RestError as problem:
        return _refused(problem.status, problem)
    except InputError as problem:
        return _refused(422, problem)
    except LockedError as problem:
        return _refused(503, problem, {"Retry-After": "60"})
    return _json(said if isinstance(said, bytes) else harmless(msgspec.json.encode(said).decode()).encode())


def _refuse_unknown(operation: Operation, request: Request) -> None:
    """A misspelt parameter must not vanish."""
    known = [it.name for it in operation.parameters if it.place == "query"]
    for name in request.query_params:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none"
            raise RestError(422, "parameter", expected, repr(name)[:60])


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)


def _refused(status: int, problem: AkazubaError, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": harmless(str(problem))}, status, headers)


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != JSON:
        raise RestError(415, "Content-Type", JSON, repr(kind)[:60])
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_CASE_BYTES:
            raise RestError(413, "body", f"at most {MAX_CASE_BYTES} bytes", "more")
    try:
        msgspec.json.decode(bytes(body), type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise RestError(400, "body", "JSON in UTF-8", str(problem)[:200]) from problem
    return bytes(body)
