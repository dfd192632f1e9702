"""Every fixed text that a user may see, with its kind: what the translation tables have to cover.

What stands in notes, names and numbers is no fixed text; `{}` holds its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from akazuba.guidelines.chart import shipped_charts
from akazuba.guidelines.guideline import Guideline
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import ACTIONS
from akazuba.guidelines.triage import VITALS
from akazuba.language.matching import english_lexicon
from akazuba.records import Consciousness, KnowledgeTable
from akazuba.terminology import Terminology
from akazuba.wording.catalogue import screen_texts
from akazuba.wording.names import rows_of_name

TOLD = ("tell", "what")
"""Columns of decision tables that are sentences for the nurse or the patient."""

_LETTERS = re.compile(r"[^\W\d_]{2}")


def fixed_texts(library: Library, table: KnowledgeTable, terms: Terminology) -> dict[tuple[str, str], None]:
    """(kind, English text), each once, the most seen kinds first. terms: for the findings' own names."""
    rows = (
        *(("screen", text) for text in screen_texts()),
        *_charts(),
        *(("plan", text) for text in _plans(library)),
        *(("finding", name) for name in table.finding_names),
        *(("finding", terms.label(id_)) for id_ in sorted(_finding_ids(table))),
        *(("condition", condition.name) for condition in table.conditions),
        *_inputs(library),
        *(("answer", text) for text in _answers(library)),
        *(("title", guideline.about.title) for guideline in library.guidelines.values()),
        *(("name", text) for text in _names(library)),
    )
    return dict.fromkeys((kind, text) for kind, text in rows if _LETTERS.search(text))


def _finding_ids(table: KnowledgeTable) -> set[str]:
    """Findings that the knowledge, the charts or our words for a note name."""
    signs = [sign for chart in shipped_charts() for sign in chart.signs.values()]
    ids = {id_ for sign in signs for id_ in (*sign.findings, *sign.recent, *sign.hints)}
    ids |= set(english_lexicon().all_ids()) | set(table.finding_ids)
    return {id_ for id_ in ids if id_.startswith(("HP:", "AKZ:"))}


def _charts() -> Iterator[tuple[str, str]]:
    for chart in shipped_charts():
        yield from (("triage", rule.message) for rule in chart.rules)
        yield from (("triage", sign.name) for sign in chart.signs.values())
        yield from (("triage", action.action) for action in chart.actions)
        yield "title", chart.title
    for name, unit in VITALS.values():
        yield "triage", name
        yield "unit", unit
    yield from (("answer", word) for word in get_args(Consciousness))


def _plans(library: Library) -> Iterator[str]:
    yield from ACTIONS
    for guideline in library.guidelines.values():
        for row in _rows(guideline):
            for name in (*TOLD, "unit", "frequency"):
                yield from _templates(row.get(name, ""))
    formulary = library.formulary
    yield from (caution.says for caution in formulary.cautions)
    yield from (pair.says for pair in formulary.interactions)


def _rows(guideline: Guideline) -> Iterator[dict[str, str]]:
    """The text of every cell that a row gives."""
    for table in guideline.tables:
        for row in table.rows:
            texts = {name: getattr(cell, "text", cell) for name, cell in row.then.items()}
            yield {name: str(text) for name, text in texts.items() if isinstance(text, str)}


def _templates(text: str) -> Iterator[str]:
    """A cell's text; what it computes becomes `{}`."""
    if text:
        yield re.sub(r"\{[^{}]*\}", "{}", text)


def _inputs(library: Library) -> Iterator[tuple[str, str]]:
    for item in library.all_inputs.values():
        yield "question", item.question
    for item in library.all_inputs.values():
        yield from (("answer", choice) for choice in item.choices)
        if item.unit:
            yield "unit", item.unit


def _answers(library: Library) -> Iterator[str]:
    for guideline in library.guidelines.values():
        results = set(guideline.about.results)
        for row in _rows(guideline):
            for name, text in row.items():
                if name in results:
                    yield from _templates(text)


def _names(library: Library) -> Iterator[str]:
    for guideline in library.guidelines.values():
        yield from (row for name in guideline.about.results for row in rows_of_name(name))
    yield from (row for name in library.all_inputs for row in rows_of_name(name))
