"""A document of the box with its fixed texts in another language; ids, numbers and sources stay."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from akazuba.records import Assessment, Urgency
from akazuba.wording.catalogue import ENGLISH, Catalogue
from akazuba.wording.names import named, with_names

Document = TypeVar("Document", bound=Assessment | Urgency)

SAID = frozenset(
    (
        *("because", "missing", "name", "finding", "if", "why", "message", "ask_next", "prediction_set"),
        *("action", "what", "dose", "tell", "withheld", "check_first", "review", "overlay"),
        *("title", "question", "could_change", "guideline", "note_unread", "unknown"),
    )
)
"""Fields that hold a fixed text, or a list of them."""

WITH_NAMES = frozenset(("could_change", "withheld", "check_first"))
"""Fields in which names of inputs stand (`egfr_ml_min`)."""

SAID_WHOLE = frozenset(("answers", "undecided"))
"""Fields of which the names are said too."""

WORDED = frozenset(("narrative", "provenance", "images.prediction_set"))
"""Fields that are in the language already, or in none; of an image, names as in its `labels`."""


def in_language(document: Document, words: Catalogue) -> Document:
    """The document as it is read in the language of `words`."""
    if words.code == ENGLISH:
        return document
    words.forget()
    return msgspec.convert(_said(msgspec.to_builtins(document), "", words), type(document))


def _said(value: object, field: str, words: Catalogue) -> object:
    match value:
        case str():
            return _text(value, field, words)
        case list() | tuple():
            return [_said(part, field, words) for part in value]
        case dict() if field in SAID_WHOLE:
            said_names = [words.say(named(name)) for name in value]
            names = said_names if len({*said_names}) == len(value) else list(value)
            return {name: words.say(str(text)) for name, text in zip(names, value.values(), strict=True)}
        case dict() if field == "because":
            return value  # the values of inputs, by their names
        case dict():
            return {
                name: part if name in WORDED or f"{field}.{name}" in WORDED else _said(part, name, words)
                for name, part in value.items()
            }
        case _:
            return value


def _text(value: str, field: str, words: Catalogue) -> str:
    if field == "dose":
        return words.dose(value)
    said = with_names(value) if field in WITH_NAMES else value
    return words.say(said) if field in SAID else value
