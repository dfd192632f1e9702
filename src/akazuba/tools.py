"""The box's own tools, for a language model that leads an interview and for other programs (MCP).

All of them only read. Each takes plain data and gives plain data; what cannot be used is refused with the
item, what was expected and what was found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from akazuba.box import Box
from akazuba.consult import Consultation
from akazuba.errors import InputError
from akazuba.guidelines.describe import answer, summaries
from akazuba.guidelines.medicines import TIMES_A_DAY
from akazuba.guidelines.run import NOBODY_KNOWN
from akazuba.intake.cases import CaseLine, case_line
from akazuba.llm.answers import object_schema
from akazuba.llm.ask import ask
from akazuba.llm.lead import Tool
from akazuba.llm.passages import Passages
from akazuba.records import Case
from akazuba.urgency import urgency_of

MOST_RANKED = 10
MOST_QUESTIONS = 10
LARGEST_AMOUNT = 1e7
"""In any unit: more is a slip."""

CASE = object_schema(
    case={"type": "object", "description": "a case, as `akazuba schema case` prints it"},
)


def box_tools(box: Box, sources: Passages) -> tuple[Tool, ...]:
    """Every tool that needs nothing but its arguments."""
    return (
        Tool("triage", "How urgent a case is, by rules alone, and why.", CASE, lambda a: _triage(box, a)),
        Tool("assess", "The whole assessment of a case, without pictures.", CASE, lambda a: _assess(box, a)),
        Tool("rank", "The most probable conditions of a case.", CASE, lambda a: _rank(box, a)),
        Tool("ask_next", "What to ask or test next in a case.", CASE, lambda a: _ask_next(box, a)),
        Tool(
            "search_sources",
            "What the guidelines and the knowledge of the box say to a question, word for word.",
            object_schema(question={"type": "string", "minLength": 2, "maxLength": 400}),
            lambda a: msgspec.to_builtins(ask(str(a["question"]), sources, None)),
        ),
        Tool(
            "list_guidelines",
            "Every guideline of the box.",
            object_schema(),
            lambda _: summaries(box.desk.library),
        ),
        Tool(
            "run_guideline",
            "Runs one guideline over values that are given by name.",
            object_schema(id={"type": "string"}, values={"type": "object"}),
            lambda a: _run_guideline(box, a),
        ),
        Tool(
            "check_dose",
            "Whether a dose of a medicine passes the maximum, allergies and interactions.",
            object_schema(
                medicine={"type": "string"},
                amount={"type": "number", "exclusiveMinimum": 0, "maximum": LARGEST_AMOUNT},
                unit={"type": "string"},
                frequency={"enum": sorted(TIMES_A_DAY)},
                weight_kg={"type": ["number", "null"]},
                taken={"type": "array", "items": {"type": "string"}},
                allergies={"type": "array", "items": {"type": "string"}},
            ),
            lambda a: _check_dose(box, a),
        ),
    )


def _line(arguments: Mapping[str, Any]) -> tuple[CaseLine, Case]:
    """The case of a call. Pictures are refused: a path from outside must not open a file of this machine."""
    given = arguments.get("case")
    if not isinstance(given, dict):
        raise InputError("case", "an object", type(given).__name__)
    if given.get("images"):
        found = str(given["images"])[:40]
        raise InputError("case.images", "none (pictures are read at the box only)", found)
    line = case_line(json.dumps(given).encode(), "case")
    if line.case is None:
        raise line.error or InputError("case", "a case", "none")
    return line, line.case


def _triage(box: Box, arguments: Mapping[str, Any]) -> object:
    return msgspec.to_builtins(urgency_of(box.desk, _line(arguments)[0]))


def _assess(box: Box, arguments: Mapping[str, Any]) -> object:
    line, case = _line(arguments)
    return msgspec.to_builtins(Consultation(box, line, case, None).answer(case)[0])


def _rank(box: Box, arguments: Mapping[str, Any]) -> object:
    line, case = _line(arguments)
    assessment, _ = Consultation(box, line, case, None).answer(case)
    listed = (assessment.differential or ())[:MOST_RANKED]
    return {
        "abstained": assessment.abstained,
        "differential": [msgspec.to_builtins(candidate) for candidate in listed],
    }


def _ask_next(box: Box, arguments: Mapping[str, Any]) -> object:
    line, case = _line(arguments)
    _, questions = Consultation(box, line, case, None).answer(case, most=MOST_QUESTIONS)
    return [{"id": q.id, "question": q.words, "gain_nats": round(q.gain_nats, 4)} for q in questions]


def _run_guideline(box: Box, arguments: Mapping[str, Any]) -> object:
    library = box.desk.library
    found = library.get(str(arguments["id"]))
    values = arguments["values"]
    if not isinstance(values, dict):
        raise InputError("values", "an object", type(values).__name__)
    words = {str(name): _word(value) for name, value in values.items()}
    return answer(library.run(found, dict(library.parsed(words, found)), NOBODY_KNOWN))


def _word(value: object) -> str:
    """A value as it is typed on the command line: "yes" for true."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _check_dose(box: Box, arguments: Mapping[str, Any]) -> object:
    library = box.desk.library
    formulary = library.formulary
    parts = formulary.parts(str(arguments["medicine"]))
    unit, amount = str(arguments["unit"]), float(arguments["amount"])
    if not 0 < amount <= LARGEST_AMOUNT:
        raise InputError("amount", f"above 0 and at most {LARGEST_AMOUNT:g}", f"{amount:g}")
    weight = arguments.get("weight_kg")
    name = "+".join(sorted(parts))
    if (name, unit) not in formulary.medicines:
        known = sorted(u for medicine, u in formulary.medicines if medicine == name)
        expected = f"a unit of {', '.join(known)}" if known else "a medicine of the formulary"
        raise InputError("check_dose", expected, f"{name} in {unit}")
    given = {} if weight is None else {"weight_kg": float(weight)}
    verdict = formulary.judged(
        name, arguments.get("taken") or (), arguments.get("allergies") or (), library.values(given)
    )
    excess = formulary.excess(name, unit, amount, str(arguments["frequency"]), given.get("weight_kg"))
    return {
        "medicine": name,
        "over_the_maximum": excess or None,
        "withheld": list(verdict.withheld),
        "check_first": list(verdict.checks),
        "not_checked": [] if weight is not None else ["the most per kg: no weight was given"],
        "review": "not reviewed by a clinician",
    }
