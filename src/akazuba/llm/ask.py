"""A question answered from the box's own sources, word for word, or not at all.

The passages are found by their words. A language model, where there is one, only says which of them come
first; it hides none and words none, so that a dose in a clause is that clause's own.
"""

from __future__ import annotations

from typing import Any

from akazuba.errors import ModelError
from akazuba.llm.answers import object_schema, read
from akazuba.llm.model import Model
from akazuba.llm.passages import Hit, Passages
from akazuba.llm.prompts import prompt
from akazuba.records import Answer, AnswerPassage

CANDIDATES = 3
LEAST_COVERED = 0.4
"""Share of a question's words, weighed by rarity, that a passage must have (chosen on the dev questions of
`benchmarks/data/source_questions.ndjson`)."""

GLIMPSE = 220
NOT_IN_SOURCES = "not in my sources"


def ask(question: str, passages: Passages, model: Model | None) -> Answer:
    """Passages that answer a question, the best first.

    model: None gives all that were found. A model that fails costs its choice, not the answer.
    """
    hits = passages.find(question, ("clause", "condition"), CANDIDATES)
    hits = [hit for hit in hits if hit.covered >= LEAST_COVERED]
    if not hits:
        return Answer(question, NOT_IN_SOURCES)
    chosen, left_out = hits, None
    if model is not None and len(hits) > 1:
        try:
            first = _chosen(question, hits, model)
            chosen = [*first, *(hit for hit in hits if hit not in first)]
        except ModelError as error:
            left_out = str(error)
    cited = tuple(
        AnswerPassage(
            hit.passage.id, hit.passage.title, hit.passage.text, hit.passage.source, hit.passage.review
        )
        for hit in chosen
    )
    return Answer(question, cited[0].text, cited, None if left_out or model is None else model.name, left_out)


def _chosen(question: str, hits: list[Hit], model: Model) -> list[Hit]:
    names = [f"C{number}" for number in range(1, len(hits) + 1)]
    listed = "\n".join(
        f"{name}: {hit.passage.title}. {hit.passage.text[:GLIMPSE]}"
        for name, hit in zip(names, hits, strict=True)
    )
    asked = prompt("ask").messages(question=question, passages=listed)
    answers = {"type": "array", "items": {"enum": names}, "minItems": 1, "maxItems": len(names)}
    done = model.complete(asked, schema=object_schema(answers=answers), max_tokens=40)

    def picked(written: Any) -> list[Hit]:
        return [hits[names.index(name)] for name in dict.fromkeys(written["answers"])]

    return read(model.name, done, picked)
