"""The story of one consultation, and `open_box`, which opens what it needs.

Urgency is decided by rules before any model runs and no later step changes it. An image that cannot
be read, or an engine that cannot be opened, costs the image reading and never the assessment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from akazuba.diagnosis import profiles
from akazuba.diagnosis.differential import rank
from akazuba.diagnosis.engine import Engine, Reading, open_engine
from akazuba.diagnosis.evidence import Columns, columns_of, pooled
from akazuba.diagnosis.questions import Question, ask_next
from akazuba.errors import ArtefactError, CaseError
from akazuba.guidelines.triage import editions
from akazuba.imaging import look
from akazuba.intake.cases import CaseLine
from akazuba.knowledge.conditions import open_knowledge, origin
from akazuba.records import (
    Assessment,
    Case,
    KnowledgeTable,
    NoteReading,
    Provenance,
    ReportedFinding,
    TestResult,
)
from akazuba.settings import Settings
from akazuba.urgency import Desk, decide, open_desk, why_unread

QUESTIONS = 3
"""Shown with an assessment; `interview` asks one after another."""

MOST_QUESTIONS = 20
ENOUGH = 0.8
"""A first condition this probable needs no more questions (our choice)."""

Answer = Literal["yes", "no", "unknown", "stop"]


@dataclass(frozen=True)
class Box:
    """What one consultation needs. engine: why there is none, when its files cannot be trusted."""

    desk: Desk
    columns: Columns
    software: str
    engine: Engine | ArtefactError


def open_box(settings: Settings) -> Box:
    """Opens everything that a consultation needs; slow once (a fraction of a second), then reused.

    Raises ArtefactError when the terminology, the knowledge or a guideline cannot be opened, InputError for a
    local overlay that cannot be used.
    """
    desk = open_desk(settings)
    columns = columns_of(open_knowledge().table, desk.terminology.ancestors)
    software = f"akazuba {version('akazuba')}"
    return Box(desk, columns, software, _engine(settings, columns.table))


def _engine(settings: Settings, knowledge: KnowledgeTable) -> Engine | ArtefactError:
    """The engine is the one step that a consultation can do without: a fault costs it and nothing else."""
    try:
        folder = profiles.chosen(settings.engine, settings.home, settings.threads)
        engine = open_engine(settings.threads, folder)
    except ArtefactError as error:
        return error
    known = {condition.id for condition in knowledge.conditions}
    if unknown := sorted(engine.conditions - known):
        return ArtefactError(engine.version, f"conditions of knowledge {knowledge.version}", unknown[0])
    return engine


def assess(box: Box, line: CaseLine, heatmaps: Path | None = None) -> Assessment:
    """Assesses one case. A case that cannot be used gives an Assessment with only its `error`.

    heatmaps: folder for the heatmap overlays (PNG), one for each image that was labelled.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    try:
        clock = _Clock()
        heard = _heard(box, line, line.case, heatmaps, clock)
        return _answer(box, line, line.case, heard, frozenset(), clock)[0]
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))


def interview(
    box: Box, line: CaseLine, ask: Callable[[Question], Answer], heatmaps: Path | None = None
) -> Assessment:
    """Assesses one case and asks on, one question at a time, the most telling for its cost first.

    ask: puts a question and brings the answer. It ends when a red flag fires, when one condition is probable
    enough or two make up the set, when nothing would tell much, at "stop", or after `MOST_QUESTIONS`.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    case, unanswered = line.case, frozenset[str]()
    try:
        clock = _Clock()
        heard = _heard(box, line, case, heatmaps, clock)
        assessment, questions = _answer(box, line, case, heard, unanswered, clock)
        for _ in range(MOST_QUESTIONS):
            if not questions or _settled(assessment):
                break
            question = questions[0]
            answer = ask(question)
            if answer == "stop":
                break
            if answer == "unknown":
                unanswered |= {question.id}
            else:
                case = _with_answer(case, question, present=answer == "yes")
            assessment, questions = _answer(box, line, case, heard, unanswered, clock)
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))
    return assessment


def _settled(assessment: Assessment) -> bool:
    if assessment.triage is not UNSET and assessment.triage.level == "red":
        return True
    first = assessment.differential[0].probability if assessment.differential else 0.0
    return first >= ENOUGH or 1 <= len(assessment.prediction_set or ()) <= 2


def _with_answer(case: Case, question: Question, *, present: bool) -> Case:
    if question.is_test:
        result = TestResult(question.id.removeprefix("test:"), "positive" if present else "negative")
        return msgspec.structs.replace(case, tests=(*case.tests, result))
    found = ReportedFinding(question.id, present)
    return msgspec.structs.replace(case, findings=(*case.findings, found))


@dataclass(frozen=True)
class _Heard:
    """What stays while questions are answered. readings: of the images, read when first asked for, so that
    the urgency is decided before any model runs.
    """

    note: NoteReading
    readings: Callable[[], tuple[Reading, ...]]


def _heard(box: Box, line: CaseLine, case: Case, heatmaps: Path | None, clock: _Clock) -> _Heard:
    note = box.desk.reader.read(case.note, case.language)
    clock.lap("language")

    @cache
    def readings() -> tuple[Reading, ...]:
        found = tuple(look(box.engine, line, case, note, reference, heatmaps) for reference in case.images)
        clock.lap("images")
        return found

    return _Heard(note, readings)


def _answer(
    box: Box, line: CaseLine, case: Case, heard: _Heard, unanswered: frozenset[str], clock: _Clock
) -> tuple[Assessment, tuple[Question, ...]]:
    note = heard.note
    decided = decide(box.desk, case, note)
    findings = decided.findings
    clock.lap("guidelines")

    readings = heard.readings()
    evidence = pooled([reading.evidence for reading in readings if reading.evidence])
    ranking = rank(box.columns, (*findings, *decided.normal), case.patient, case.setting, evidence)
    tests = case.setting.tests_available
    questions = ask_next(box.columns, ranking.posterior, findings, QUESTIONS, unanswered, tests)
    clock.lap("differential")

    assessment = Assessment(
        case_id=case.id,
        triage=decided.triage,
        findings=findings,
        note_unread=why_unread(case, note),
        differential=ranking.candidates,
        prediction_set=ranking.prediction_set,
        coverage=ranking.coverage,
        abstained=ranking.abstained,
        why=ranking.why,
        images=tuple(reading.image for reading in readings),
        token_attribution=next((r.token_attribution for r in readings if r.token_attribution), ()),
        ask_next=tuple(question.words for question in questions),
        plan=decided.plan,
        protocols=decided.care.protocols,
        narrative=None,
        provenance=Provenance(
            input_sha256=line.input_sha256,
            models=box.engine.digests if isinstance(box.engine, Engine) else {},
            knowledge=f"{origin(box.columns.table)}; {box.desk.terminology.version}",
            guidelines=(*editions(), *box.desk.library.editions(decided.care.protocols)),
            software=box.software,
            not_read=line.ignored,
        ),
        timings_ms=clock.laps_ms(),
    )
    return assessment, questions


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round((now - self._last) * 1e3, 2)
        self._last = now

    def laps_ms(self) -> Mapping[str, float]:
        return {**self._laps, "total": round((time.perf_counter() - self._start) * 1e3, 2)}
