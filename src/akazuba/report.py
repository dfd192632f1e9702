"""An assessment as a nurse reads it in a terminal: a function from the value to text.

Urgency always comes first, what was not assessed before what is probable, and the review state is
always shown. A case that failed is shown as not assessed, never left out.

Every fixed text is said in the language of a `Catalogue`; what its table has not stays in English.

Ids, notes and file names come from outside: whatever could steer a terminal in them is shown as an
escape (`harmless`), and no line is wider than `wording.lines.WIDTH`.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET

from akazuba.page import Page
from akazuba.records import Assessment, Urgency
from akazuba.wording.catalogue import ENGLISH, Catalogue, catalogue
from akazuba.wording.documents import Document, in_language

FAILED_CHECKS = ("unreadable", "engine", "heatmap")
"""Checks of an image whose failing is a failure of the work, unlike a photo that is too dark."""

_UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line and paragraph separators, and what turns the direction of writing."""


def failures(assessment: Assessment) -> tuple[str, ...]:
    """What could not be done for a case, as `ITEM: expected …, found …`; the case's id leads the item."""
    if assessment.error is not UNSET:
        problems = [assessment.error]
    else:
        checks = [problem for image in assessment.images or () for problem in image.quality.problems]
        problems = [problem.message for problem in checks if problem.check in FAILED_CHECKS]
    name = assessment.case_id
    return tuple(problem if problem.startswith(f"{name}: ") else f"{name}, {problem}" for problem in problems)


def harmless(text: str) -> str:
    r"""Text that cannot steer a terminal; JSON stays the same JSON.

    >>> harmless("c1\x1b[2J")
    'c1\\u001b[2J'
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """`harmless`, on one line."""
    return harmless(" ".join(text.split()))


def json_line(answer: Assessment | Urgency, words: Catalogue | None = None) -> bytes:
    """One line of JSON in UTF-8, which any reader of lines keeps whole and any terminal survives."""
    said = in_language(answer, words) if words else answer
    return harmless(msgspec.json.encode(said).decode()).encode()


def readable(assessment: Assessment, words: Catalogue | None = None) -> str:
    """The assessment as text, with ANSI colours (click removes them where stdout is no terminal).

    words: the language it is read in; English without.
    """
    page, said = _page(assessment, words)
    return page.assessment(said)


def urgency_text(urgency: Urgency, words: Catalogue | None = None) -> str:
    page, said = _page(urgency, words)
    return page.urgency(said)


def _page(document: Document, words: Catalogue | None) -> tuple[Page, Document]:
    words = words or catalogue(ENGLISH)
    said = in_language(document, words)
    return Page(words), msgspec.convert(_on_one_line(msgspec.to_builtins(said)), type(document))


def _on_one_line(value: object) -> object:
    """Every text of a JSON value on one line and harmless, keys too."""
    match value:
        case str():
            return one_line(value)
        case dict():
            return {_on_one_line(key): _on_one_line(part) for key, part in value.items()}
        case list() | tuple():
            return [_on_one_line(part) for part in value]
        case _:
            return value
