"""The door for CDS Hooks 2.0: discovery, the two services, feedback."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.box import Box
from akazuba.consult import assess
from akazuba.errors import ArtefactError, CaseError, InputError
from akazuba.fhir.shapes import text
from akazuba.governance.programs import HOOKS
from akazuba.guidelines.case_values import values_of
from akazuba.intake.cases import CaseLine
from akazuba.storage.store import Entry, Store
from akazuba.urgency import understood
from akazuba.web.consulting import line_of
from akazuba.web.doors.cards import (
    OVERRIDES,
    SERVICES,
    SYSTEM,
    Asked,
    Card,
    HookError,
    Record,
    Service,
    asked,
    assessment_cards,
    discovery,
    record,
    source_label,
)
from akazuba.web.doors.orders import draft_orders, order_cards
from akazuba.web.doors.tokens import TokenError, program

FEEDBACK = "cds-feedback"
LARGEST_BODY = 4 * 1024 * 1024
MOST_FEEDBACK = 100
EARLIEST_YEAR = 2025
"""A clock that says less has lost the time: nobody's age can be worked out."""


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `cds-feedback`. reason: one of those that the card offered, "other" for another, "" for none.

    commented: something was typed. What was typed is not kept: it may tell of a patient, and an entry without
    a patient is never erased.
    """

    id: str
    service: str
    card: str
    outcome: str
    reason: str
    commented: bool
    at: str


def routes() -> list[BaseRoute]:
    return [
        Route("/cds-services", services, methods=["GET"]),
        Route("/cds-services/{id}", serve, methods=["POST"]),
        Route("/cds-services/{id}/feedback", feedback, methods=["POST"]),
    ]


async def services(_: Request) -> Response:
    return JSONResponse(discovery())


async def serve(request: Request) -> Response:
    """Cards for a hook."""
    try:
        service = _service(request)
        await program(request, HOOKS)
        given = asked(service, await _body(request))
        now = _now()
        cards = await request.app.state.post.engine(lambda box: cards_for(box, service, given, now))
    except (TokenError, HookError) as problem:
        return _refused(problem)
    return JSONResponse({"cards": cards})


async def feedback(request: Request) -> Response:
    """Records what became of cards; told twice, it is recorded once."""
    try:
        service = _service(request)
        who = await program(request, HOOKS)
        by, told = who.log_name, list(feedback_of(service.id, who.log_name, await _body(request)))
        state = request.app.state
        if not hasattr(state, "cds_feedback"):
            state.cds_feedback = Recorded()
        new = await state.post.records(lambda kept: _record(kept.opened(), state.cds_feedback, by, told))
    except (TokenError, HookError) as problem:
        return _refused(problem)
    return JSONResponse({"recorded": new})


def cards_for(box: Box, service: Service, given: Asked, now: datetime) -> list[Card]:
    """Raises HookError for what was handed over and cannot be used."""
    handed = record(given, now)
    try:
        line = line_of(json.dumps(handed.bundle).encode(), {}, "prefetch")
    except CaseError as problem:
        raise _unusable(problem) from problem
    if service.hook == "patient-view":
        said = assess(box, line)
        if said.error:
            raise HookError(400, "prefetch", "a record that can be assessed", said.error)
        return assessment_cards(said, handed)
    return _dose_cards(box, given, line, handed)


def _dose_cards(box: Box, given: Asked, line: CaseLine, handed: Record) -> list[Card]:
    desk, case = box.desk, line.case
    assert case is not None  # noqa: S101 - asked before
    library = desk.library
    orders, others = draft_orders(given.context, library.formulary)
    note = desk.reader.read(case.note, case.language)
    try:
        whole, findings, _ = understood(desk, case, note)
        of_case = values_of(
            library.all_inputs, whole, findings, desk.terminology.ancestors, library.formulary.parts
        )
        values = library.values(of_case)
    except InputError as problem:
        raise _unusable(problem) from problem
    label = source_label(f"{box.software}, formulary")
    return order_cards(orders, others, given.patient, whole, values, library.formulary, handed, label)


def feedback_of(service: str, by: str, body: bytes) -> Iterator[Feedback]:
    """CDS Hooks 2.0, feedback. Raises HookError that names the field."""
    try:
        said = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise HookError(400, "body", "feedback as JSON", str(problem)[:200]) from problem
    listed = said.get("feedback")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_FEEDBACK:
        raise HookError(400, "feedback", f"a list of 1 to {MOST_FEEDBACK}", repr(listed)[:60])
    for index, each in enumerate(listed):
        yield _feedback(service, by, f"feedback[{index}]", each)


def _feedback(service: str, by: str, item: str, each: object) -> Feedback:
    if not isinstance(each, dict):
        raise HookError(400, item, "an object", type(each).__name__)
    try:
        card = str(uuid.UUID(text(each, "card")))
    except ValueError as problem:
        raise HookError(400, f"{item}.card", "a card's uuid", repr(each.get("card"))[:60]) from problem
    outcome = each.get("outcome")
    if outcome not in ("accepted", "overridden"):
        raise HookError(400, f"{item}.outcome", "accepted or overridden", repr(outcome)[:60])
    at = text(each, "outcomeTimestamp")
    try:
        datetime.fromisoformat(at)
    except ValueError as problem:
        found = repr(each.get("outcomeTimestamp"))[:60]
        raise HookError(
            400, f"{item}.outcomeTimestamp", "a time such as 2026-11-29T10:30:00Z", found
        ) from problem
    code = text(each, "overrideReason", "reason", "code")
    ours = text(each, "overrideReason", "reason", "system") == SYSTEM and code in OVERRIDES
    reason = code if ours else "other" if code else ""
    commented = bool(text(each, "overrideReason", "userComment"))
    parts = (by, service, card, outcome, reason, at)
    id_ = hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()[:32]
    return Feedback(id_, service, card, str(outcome), reason, commented, at[:40])


@dataclass
class Recorded:
    """Ids of the feedback in the log, read on where the last reading ended."""

    _read_to: int = 0
    _ids: set[str] = field(default_factory=set)

    def of(self, store: Store) -> set[str]:
        """Raises ArtefactError."""
        if self._read_to > store.size:
            self._read_to, self._ids = 0, set()
        for entry in store.entries(kind=FEEDBACK, first=self._read_to):
            try:
                self._ids.add(msgspec.json.decode(entry.body or b"", type=Feedback).id)
            except msgspec.MsgspecError as problem:
                raise ArtefactError(f"entry {entry.index}", FEEDBACK, str(problem)) from problem
        self._read_to = store.size
        return self._ids


def _record(store: Store, recorded: Recorded, by: str, told: Sequence[Feedback]) -> int:
    """How many were new; in one transaction."""
    known = recorded.of(store)
    new = {each.id: each for each in told if each.id not in known}
    store.add(*(Entry(FEEDBACK, by, msgspec.json.encode(each)) for each in new.values()))
    return len(new)


# --- the edge -----------------------------------------------------------------------------------------


def _service(request: Request) -> Service:
    id_ = request.path_params["id"]
    if id_ not in SERVICES:
        raise HookError(404, "service", f"one of {', '.join(SERVICES)}", repr(id_)[:60])
    return SERVICES[id_]


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "application/json":
        raise HookError(415, "Content-Type", "application/json", repr(kind)[:60])
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HookError(413, "body", f"at most {LARGEST_BODY} bytes", "more")
    return bytes(body)


def _now() -> datetime:
    now = datetime.now().astimezone()
    if now.year < EARLIEST_YEAR:
        raise HookError(503, "clock", "today's date: set the box's clock", now.date().isoformat())
    return now


def _unusable(problem: InputError) -> HookError:
    return HookError(400, problem.item, problem.expected, problem.found)


def _refused(problem: TokenError | HookError) -> Response:
    headers: Mapping[str, str] = problem.headers if isinstance(problem, TokenError) else {}
    return JSONResponse({"error": str(problem)}, problem.status, headers)
