"""Interviews: one question after another, led by what tells most for its cost, or by a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from akazuba.box import Box
from akazuba.consult import PLAINLY, QUESTIONS, Consultation, Telling
from akazuba.diagnosis.questions import Question
from akazuba.errors import CaseError, InputError
from akazuba.intake.cases import CaseLine
from akazuba.llm.answers import object_schema
from akazuba.llm.lead import Tool, lead
from akazuba.llm.model import Model
from akazuba.llm.passages import Passages
from akazuba.llm.second_reader import described
from akazuba.records import Assessment, Case, ReportedFinding, TestResult, ToolStep
from akazuba.tools import box_tools

MOST_QUESTIONS = 20
ENOUGH = 0.8
"""A first condition this probable needs no more questions (our choice)."""

OFFERED, RANKED = 8, 5
"""Questions and conditions of which a language model that leads may choose."""

Answer = Literal["yes", "no", "unknown", "stop"]
Ask = Callable[[Question], Answer]


class _Growing:
    """A case that grows with every answer, and what the box says of it as it stands."""

    def __init__(self, consultation: Consultation, case: Case, most: int = QUESTIONS) -> None:
        self._consultation, self._most = consultation, most
        self.case, self.unanswered, self.stopped = case, frozenset[str](), False
        self.assessment, self.questions = consultation.answer(case, most=most)

    def take(self, question: Question, answer: Literal["yes", "no", "unknown"]) -> None:
        if answer == "unknown":
            self.unanswered |= {question.id}
        else:
            self.case = _with_answer(self.case, question, present=answer == "yes")
        self.assessment, self.questions = self._consultation.answer(self.case, self.unanswered, self._most)


def interview(
    box: Box, line: CaseLine, ask: Ask, heatmaps: Path | None = None, telling: Telling = PLAINLY
) -> Assessment:
    """Assesses one case and asks on, one question at a time, the most telling for its cost first.

    ask: puts a question and brings the answer. What a language model sees in the note is asked first. It ends
    when a red flag fires, when one condition is probable enough or two make up the set, when nothing would
    tell much, at "stop", or after `MOST_QUESTIONS`.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    try:
        consultation = Consultation(box, line, line.case, heatmaps)
        growing = _Growing(consultation, line.case)
        _confirm(consultation, growing, ask, telling)
        for _ in range(MOST_QUESTIONS):
            if growing.stopped or not growing.questions or settled(growing.assessment):
                break
            question = growing.questions[0]
            if (answer := ask(question)) == "stop":
                break
            growing.take(question, answer)
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))
    return consultation.told(growing.assessment, telling)


def led_interview(
    box: Box,
    line: CaseLine,
    ask: Ask,
    model: Model,
    sources: Passages,
    heatmaps: Path | None = None,
    telling: Telling = PLAINLY,
) -> Assessment:
    """An interview in which a language model chooses what is looked up and what is asked next.

    Urgency, ranking and plan are worked out by the box from the answers, as in any other. `led` of the
    assessment holds every step. An emergency is not asked further.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    try:
        consultation = Consultation(box, line, line.case, heatmaps)
        growing = _Growing(consultation, line.case, OFFERED)
        _confirm(consultation, growing, ask, telling)
        situation = f"The patient has: {described(growing.assessment.findings or ())}."
        steps: tuple[ToolStep, ...] = ()
        if not growing.stopped and not settled(growing.assessment):
            tools = _tools(box, growing, ask, sources)
            steps = lead(
                situation, tools, model, lambda: growing.stopped or settled(growing.assessment)
            ).steps
        found, _ = consultation.answer(growing.case, growing.unanswered)
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))
    return msgspec.structs.replace(consultation.told(found, telling), led=steps)


def _confirm(consultation: Consultation, growing: _Growing, ask: Ask, telling: Telling) -> None:
    """Asks first about what a language model sees in the note: it counts once the nurse says so."""
    if settled(growing.assessment):
        return
    for finding in consultation.suggested(growing.assessment, telling):
        question = Question(finding.id, finding.name, gain_nats=0.0, cost_s=0.0)
        if (answer := ask(question)) == "stop":
            growing.stopped = True
            return
        growing.take(question, answer)


def _tools(box: Box, growing: _Growing, ask: Ask, sources: Passages) -> tuple[Tool, ...]:
    """The box's tools over the case of this interview."""

    def triage(_: Mapping[str, Any]) -> object:
        return msgspec.to_builtins(growing.assessment.triage)

    def rank(_: Mapping[str, Any]) -> object:
        listed = (growing.assessment.differential or ())[:RANKED]
        return [{"name": c.name, "probability": round(c.probability, 3)} for c in listed]

    def images(_: Mapping[str, Any]) -> object:
        return [
            {"kind": i.kind, "labels": dict(i.labels), "why": i.why} for i in growing.assessment.images or ()
        ]

    def next_questions(_: Mapping[str, Any]) -> object:
        return [{"id": q.id, "question": q.words} for q in growing.questions]

    def ask_nurse(arguments: Mapping[str, Any]) -> object:
        offered = {q.id: q for q in growing.questions}
        if (id_ := str(arguments.get("id"))) not in offered:
            raise InputError("ask_nurse", "one of " + ", ".join(offered), id_)
        answer = ask(offered[id_])
        if answer == "stop":
            growing.stopped = True
        else:
            growing.take(offered[id_], answer)
        return {"question": offered[id_].words, "answer": answer}

    def plan(_: Mapping[str, Any]) -> object:
        listed = growing.assessment.plan or ()
        return [{"action": f"{a.action} {a.what}".strip(), "withheld": a.withheld} for a in listed]

    bound = (
        ("triage", "how urgent the patient is by the rules, and why", triage),
        ("rank", "the most probable conditions", rank),
        ("images", "what was seen in the pictures", images),
        ("next_questions", "what would tell most, with ids", next_questions),
        ("plan", "what the guidelines say to do", plan),
    )
    by_id = object_schema(id={"type": "string", "maxLength": 40})
    return (
        *(Tool(name, about, object_schema(), call) for name, about, call in bound),
        Tool("ask_nurse", "asks the nurse one of next_questions, by its id", by_id, ask_nurse),
        *(tool for tool in box_tools(box, sources) if tool.name in ("search_sources", "check_dose")),
    )


def settled(assessment: Assessment) -> bool:
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
