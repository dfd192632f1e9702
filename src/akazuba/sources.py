"""The passages of the box's own sources: clauses of guidelines, conditions of the knowledge, findings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from akazuba.guidelines.guideline import Guideline
from akazuba.guidelines.library import Library
from akazuba.knowledge.conditions import CommonKnowledge, ConditionRow
from akazuba.llm.extract import MOST_OPTIONS, Nearest
from akazuba.llm.passages import Passage, Passages, open_passages

MOST_FINDINGS = 8


def open_sources(home: Path, library: Library, knowledge: CommonKnowledge) -> Passages:
    """Raises ArtefactError when the index cannot be written."""

    def rows() -> Iterator[Passage]:
        yield from _clauses(library)
        for row in knowledge.rows:
            yield _condition(row, knowledge)
        table = knowledge.table
        for id_, name in zip(table.finding_ids, table.finding_names, strict=True):
            yield Passage(id_, "finding", name, "", "knowledge", knowledge.about.review)

    return open_passages(home, _version(library, knowledge), rows)


def nearest_findings(sources: Passages) -> Nearest:
    """Which findings a piece of a note may name, by the words of their names."""

    def nearest(piece: str) -> list[tuple[str, str]]:
        hits = sources.find(piece, ("finding",), MOST_OPTIONS)
        return [(hit.passage.id, hit.passage.title) for hit in hits if not hit.passage.id.startswith("test:")]

    return nearest


def _version(library: Library, knowledge: CommonKnowledge) -> str:
    digest = hashlib.sha256(knowledge.table.version.encode())
    for passage in _clauses(library):
        digest.update(repr(passage).encode())
    return digest.hexdigest()


def _clauses(library: Library) -> Iterator[Passage]:
    for guideline in library.guidelines.values():
        about = guideline.about
        also = _also(guideline)
        for clause in guideline.clauses.values():
            page = f", page {clause.page}" if clause.page else ""
            state = "" if clause.verified else " (source: unverified)"
            yield Passage(
                f"{about.id}/{clause.id}",
                "clause",
                about.title,
                clause.says,
                f"{about.title} ({about.publisher}, {about.edition}), {clause.id}{page}{state}",
                about.review,
                " ".join(dict.fromkeys((about.about, *also.get(clause.id, ())))),
            )


def _also(guideline: Guideline) -> dict[str, list[str]]:
    """By clause: what the plans do under it, and the questions of the inputs that its rows read."""
    found: dict[str, list[str]] = {}
    for table in guideline.tables:
        for row in table.rows:
            words = found.setdefault(row.clause, [])
            words += [str(getattr(cell, "text", cell)) for cell in row.then.values()]
            words += [guideline.inputs[name].question for name in row.tests if name in guideline.inputs]
    return found


def _condition(row: ConditionRow, knowledge: CommonKnowledge) -> Passage:
    likely = sorted(row.findings.items(), key=lambda item: -item[1])[:MOST_FINDINGS]
    parts = (
        ("Also called", [*row.synonyms, *row.lay]),
        ("Most have", [name for name, _ in likely]),
        ("Emergency signs", row.red_flags),
        ("Confirmed by", row.tests),
        ("Usual medicines, no dose here", row.drugs),
    )
    text = ". ".join(f"{title}: {', '.join(names)}" for title, names in parts if names)
    source = row.source or knowledge.about.source
    return Passage(
        row.id,
        "condition",
        row.name,
        text,
        f"knowledge {row.id} ({source})",
        row.review or knowledge.about.review,
    )
