"""Findings that the lexicon missed in a note: candidates of a language model, which count once the nurse
says so.

A candidate's span is a piece of the note as it stands, and its finding one of those whose names the piece
brings to mind (by the words of the box's own list), so that the model can invent neither. It chooses, or
says none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from akazuba.llm.answers import object_schema, read
from akazuba.llm.prompts import prompt
from akazuba.records import Finding

if TYPE_CHECKING:
    from akazuba.llm.model import Model

Nearest = Callable[[str], Sequence[tuple[str, str]]]
"""Ids and names of the findings that a piece of a note may name, the nearest first."""

Piece = tuple[tuple[int, int], Sequence[tuple[str, str]]]
"""A span of the note and the findings that it may name."""

MOST_PIECES = 6
MOST_OPTIONS = 3
NONE = "none of these"

_PIECE = re.compile(r"[^.,;:!?\n]+")
_LEAST_WORDS = 2


def candidates(note: str, known: Sequence[Finding], nearest: Nearest, model: Model) -> tuple[Finding, ...]:
    """Findings that the model sees in what nothing was understood of. Raises ModelError.

    known: what the lexicon found, with spans. Each candidate is uncertain and of source "model".
    """
    pieces = [(span, options) for span in _unread(note, known) if (options := nearest(note[slice(*span)]))]
    pieces = [(span, list(options)[:MOST_OPTIONS]) for span, options in pieces[:MOST_PIECES]]
    if not pieces:
        return ()
    done = model.complete(_asked(note, pieces), schema=schema(pieces), max_tokens=40 * len(pieces))
    numbers = range(1, len(pieces) + 1)
    chosen = read(model.name, done, lambda written: [written[f"p{number}"] for number in numbers])
    seen = {finding.id for finding in known}
    found: dict[str, Finding] = {}
    for name, (span, options) in zip(chosen, pieces, strict=True):
        id_ = next((id_ for id_, label in options if label == name), None)
        if id_ and id_ not in seen:
            text = note[slice(*span)]
            found.setdefault(id_, Finding(id_, name, uncertain=True, source="model", span=span, text=text))
    return tuple(found.values())


def schema(pieces: Sequence[Piece]) -> dict[str, Any]:
    choices = {
        f"p{number}": {"enum": [*(label for _, label in options), NONE]}
        for number, (_, options) in enumerate(pieces, start=1)
    }
    return object_schema(**choices)


def _asked(note: str, pieces: Sequence[Piece]) -> list[dict[str, str]]:
    listed = "\n".join(
        f'p{number}: "{note[slice(*span)]}": {"; ".join(label for _, label in options)}; {NONE}'
        for number, (span, options) in enumerate(pieces, start=1)
    )
    return prompt("extract").messages(pieces=listed)


def _unread(note: str, known: Sequence[Finding]) -> Iterator[tuple[int, int]]:
    """Spans of the pieces between marks in which nothing was understood."""
    taken = [finding.span for finding in known if finding.span]
    for match in _PIECE.finditer(note):
        text = match[0]
        start = match.start() + len(text) - len(text.lstrip())
        end = match.end() - (len(text) - len(text.rstrip()))
        if len(text.split()) >= _LEAST_WORDS and not any(a < end and start < b for a, b in taken):
            yield start, end
