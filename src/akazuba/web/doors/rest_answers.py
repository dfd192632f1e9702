"""What the REST door answers: each function makes one answer of a request and its body."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypedDict, TypeVar

import msgspec
from starlette.requests import Request

from akazuba.box import Box
from akazuba.consult import Telling, assess
from akazuba.errors import CaseError, InputError
from akazuba.governance.audit_reads import record_reads
from akazuba.guidelines.describe import answer, summaries
from akazuba.guidelines.run import NOBODY_KNOWN
from akazuba.intake.cases import CaseLine, case_line
from akazuba.llm.voice import SILENT
from akazuba.ranking import RankAnswer, Ranker, open_ranker, read_query
from akazuba.records import Assessment, Urgency
from akazuba.report import json_line
from akazuba.settings import Settings
from akazuba.storage.store import Store
from akazuba.urgency import urgency_of
from akazuba.waiting.queue import Waiting, system_now
from akazuba.web.post import Lane, Records
from akazuba.wording.catalogue import ENGLISH, Catalogue, catalogue, languages

PREFIX = "/api/v1"
MOST_RANKED = 100
BUILT_WITHIN_S = 300
MOST_NAMES = 200
"""Medicines, allergies or conditions of a case: each unknown name takes a millisecond to look for."""

RANKED = 10

Said = TypeVar("Said", Assessment, Urgency)


class RestError(InputError):
    """A request that cannot be answered. status: of HTTP."""

    def __init__(self, status: int, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.status = status


# --- what is asked and answered -----------------------------------------------------------------------

Scalar = str | float | bool


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a guideline's inputs, by name."""

    values: dict[str, Scalar]


class GuidelineSummary(TypedDict):
    id: str
    title: str
    publisher: str
    edition: str
    review: str
    clauses: int
    clauses_verified: int
    tables: int
    rows: int
    changed_by_overlay: bool
    of_this_place: bool


class GuidelineAnswer(TypedDict):
    """Besides these: each result of the guideline, by its name."""

    guideline: str
    edition: str
    applies: bool | None
    possible: dict[str, str]
    missing: list[dict[str, Any]]
    plan: list[dict[str, Any]]
    fired: list[dict[str, Any]]
    overlays: list[str]
    review: str
    clauses_verified: int
    clauses: int


class Info(TypedDict):
    """digests: SHA-256 of what is installed. refused: local rules that could not be used."""

    software: str
    api: str
    knowledge: str
    terminology: str
    languages: list[str]
    review: str
    refused: list[str]
    records: str
    digests: dict[str, str]


class InQueue(TypedDict):
    """waited_s: since she came, null where the clocks do not tell."""

    case_id: str
    number: int
    state: str
    level: str
    alarms: int
    waited_s: float | None


# --- answers --------------------------------------------------------------------------------------------


async def assessed(request: Request, body: bytes) -> bytes:
    line, said_in = _line(body), _said_in(request)

    def work(box: Box) -> bytes:
        with said_in() as words:
            said = assess(box, line, telling=Telling(words, SILENT))
            return json_line(_sound(said), words)

    said: bytes = await request.app.state.post.engine(work)
    return said


async def triaged(request: Request, body: bytes) -> bytes:
    line, said_in = _line(body), _said_in(request)

    def work(box: Box) -> bytes:
        with said_in() as words:
            return json_line(_sound(urgency_of(box.desk, line)), words)

    said: bytes = await request.app.state.post.engine(work)
    return said


async def ranked(request: Request, body: bytes) -> object:
    """In a thread of its own: nobody else waits while the table of rare diseases is built."""
    query, top, state = read_query(body, "body"), _top(request), request.app.state
    if not hasattr(state, "rare_diseases"):
        state.rare_diseases = Lane("rare diseases")

    def work() -> RankAnswer:
        if not hasattr(state, "ranker"):
            state.ranker = opened_ranker(state.post.settings)
        ranker: Ranker = state.ranker
        return ranker.answer(query, top, explain=True)

    return await state.rare_diseases(work)


def opened_ranker(settings: Settings) -> Ranker:
    """Built, where it is not yet, by a process of its own: that takes 200 MB for a while."""
    command = [sys.executable, "-m", "akazuba", "knowledge", "build", "--quiet"]
    home = {"AKAZUBA_HOME": str(settings.home)}
    with suppress(OSError, subprocess.TimeoutExpired):  # then it is built here, or its fault is raised here
        subprocess.run(  # noqa: S603 - this very program
            command,
            env=os.environ | home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=BUILT_WITHIN_S,
        )
    return open_ranker(settings)


async def guidelines(request: Request, _: bytes) -> object:
    return await request.app.state.post.engine(lambda box: summaries(box.desk.library))


async def run_guideline(request: Request, body: bytes) -> object:
    id_ = request.path_params["id"]
    try:
        given = msgspec.json.decode(body, type=Values).values
    except msgspec.ValidationError as problem:
        raise RestError(422, "values", "values by the names of inputs", str(problem)) from problem

    def work(box: Box) -> object:
        library = box.desk.library
        if id_ not in library.guidelines:
            raise RestError(404, "guideline", f"an id that GET {PREFIX}/guidelines names", repr(id_)[:80])
        found = library.guidelines[id_]
        typed = {name: _typed(value) for name, value in given.items()}
        try:
            return answer(library.run(found, dict(library.parsed(typed, found)), NOBODY_KNOWN))
        except InputError as problem:
            item = problem.item.replace("--set ", "values.")
            raise RestError(422, item, problem.expected, problem.found) from problem

    return await request.app.state.post.engine(work)


async def info(request: Request, _: bytes) -> object:
    post = request.app.state.post
    digests, records = dict(post.digests), post.state

    def work(box: Box) -> Info:
        return {
            "software": box.software,
            "api": "1",
            "knowledge": box.columns.table.version,
            "terminology": box.desk.terminology.version,
            "languages": list(languages(box.plugins.languages)),
            "review": "not reviewed by a clinician",
            "refused": list(box.desk.library.refused),
            "records": records,
            "digests": digests,
        }

    return await post.engine(work)


async def queue(request: Request, _: bytes) -> object:
    """Whoever in the queue is a patient of the store has her reading recorded first."""
    by = request.state.program.log_name

    def work(kept: Records) -> list[InQueue]:
        waiting, store = kept.queue.waiting(), kept.opened()
        known = [it.case_id for it in waiting if _is_patient(store, it.case_id)]
        if known:
            record_reads(store, known, by, "queue read by a program", "place in the queue and urgency")
        return [_waiting(it) for it in waiting]

    return await request.app.state.post.records(work)


def _is_patient(store: Store, id_: str) -> bool:
    try:
        store.person(id_)
    except InputError:
        return False
    return True


def _waiting(it: Waiting) -> InQueue:
    waited = system_now().since(it.arrived)
    return {
        "case_id": it.case_id,
        "number": it.number,
        "state": it.state,
        "level": it.level,
        "alarms": it.alarms,
        "waited_s": round(waited, 1) if waited < float("inf") else None,
    }


# --- what was handed in -------------------------------------------------------------------------------


def _line(body: bytes) -> CaseLine:
    """A path from outside must not open a file of this machine, so a case with pictures is refused."""
    line = case_line(body, "case")
    if line.case is None:
        raise line.error or CaseError("case", "a case", "none")
    if b'"resourceType"' in body and "resourceType" in json.loads(body):
        raise RestError(422, "case", "a case (the FHIR door takes Bundles)", "a FHIR resource")
    if line.case.images:
        raise RestError(422, "case.images", "none: pictures are read at the box", f"{len(line.case.images)}")
    named = (
        ("medications", line.case.medications),
        ("allergies", line.case.allergies),
        ("conditions", line.case.conditions),
    )
    for item, names in named:
        if len(names or ()) > MOST_NAMES:
            raise RestError(422, item, f"at most {MOST_NAMES}", f"{len(names or ())}")
    return line


def _sound(said: Said) -> Said:
    """Raises RestError for a case that could not be used after all."""
    if said.error:
        item, _, rest = str(said.error).partition(": expected ")
        expected, _, found = rest.partition(", found ")
        raise RestError(422, item, expected or "a case that can be assessed", found or "another")
    return said


def _said_in(request: Request) -> Callable[[], AbstractContextManager[Catalogue]]:
    """The language that is asked for, to be opened in the engine's thread: a table takes 30 ms to read and is
    kept, what was said of a patient is not. Raises RestError.
    """
    code, state = _once(request, "lang", ENGLISH), request.app.state
    brought = state.post.plugins.languages
    if code not in (known := languages(brought)):
        raise RestError(422, "lang", f"one of {', '.join(known)}", repr(code)[:40])
    if not hasattr(state, "rest_words"):
        state.rest_words = {}
    tables: dict[str, Catalogue] = state.rest_words

    @contextmanager
    def opened() -> Iterator[Catalogue]:
        words = tables.setdefault(code, tables.get(code) or catalogue(code, brought))
        try:
            yield words
        finally:
            words.forget()

    return opened


def _top(request: Request) -> int:
    text = _once(request, "top", str(RANKED))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST_RANKED):
        raise RestError(422, "top", f"a whole number from 1 to {MOST_RANKED}", repr(text)[:40])
    return int(text)


def _once(request: Request, name: str, usual: str) -> str:
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise RestError(422, name, "it once", f"{len(given)} times")
    return given[0] if given else usual


def _typed(value: Scalar) -> str:
    """As it would be typed at the command line: "yes" for true, no exponent that `parsed` would not read."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.10f}".rstrip("0").rstrip(".")
