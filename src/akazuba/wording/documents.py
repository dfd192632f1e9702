"""A document of the box with its fixed texts in another language; ids, numbers and sources stay."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from akazuba.records import Assessment, Urgency
from akazuba.wording.catalogue import ENGLISH, Catalogue

Document = TypeVar("Document", bound=Assessment | Urgency)

SAID = frozenset(
    (
        *("because", "missing", "name", "finding", "if", "why", "message", "ask_next", "prediction_set"),
        *("action", "what", "dose", "tell", "withheld", "check_first", "review", "overlay"),
        *("title", "question", "could_change", "guideline", "note_unread"),
    )
)
"""Fields that hold a fixed text, or a list of them."""

SAID_WHOLE = frozenset(("answers", "undecided"))
"""Fields of which the names are said too."""

WORDED = frozenset(("narrative", "provenance"))
"""Fields that are in the language already, or in none."""


def in_language(document: Document, words: Catalogue) -> Document:
    """The document as it is read in the language of `words`."""
    if words.code == ENGLISH:
        return document
    return msgspec.convert(_said(msgspec.to_builtins(document), "", words), type(document))


def _said(value: object, field: str, words: Catalogue) -> object:
    match value:
        case str():
            said = value.replace("_", " ") if field == "could_change" else value
            return words.say(said) if field in SAID else value
        case list() | tuple():
            return [_said(part, field, words) for part in value]
        case dict() if field in SAID_WHOLE:
            return {words.say(name.replace("_", " ")): words.say(str(text)) for name, text in value.items()}
        case dict() if field == "because":
            return value  # the values of inputs, by their names
        case dict():
            return {
                name: part if name in WORDED else _said(part, name, words) for name, part in value.items()
            }
        case _:
            return value
