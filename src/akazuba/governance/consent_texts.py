"""The texts that a patient is shown before she agrees: rows of `consent_texts.json`, by purpose and language.

A text that was shown once never changes: a better one is a new row with a new version, and the old one stays,
so that whoever finds its SHA-256 in the log can read what was agreed to.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.consent import PURPOSES, Purpose

FILE = "consent_texts.json"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """language: ISO 639-1. review: who looked at it, as it is shown beside it."""

    purpose: Purpose
    language: str
    version: str
    review: str
    text: str

    @property
    def sha256(self) -> str:
        """Of its UTF-8, in hex; `consent.shown` gives the same."""
        return sha256(self.text.encode()).hexdigest()


@cache
def texts() -> tuple[Text, ...]:
    """Raises ArtefactError.

    >>> sorted({text.language for text in texts()})
    ['en', 'fr', 'rw', 'sw', 'zh']
    """
    try:
        data = (resources.files("akazuba.governance") / FILE).read_bytes()
        found = msgspec.json.decode(data, type=tuple[Text, ...])
    except (OSError, msgspec.MsgspecError) as problem:
        raise ArtefactError(f"governance/{FILE}", "rows of texts", str(problem)) from problem
    if len({(text.purpose, text.language, text.version) for text in found}) != len(found):
        raise ArtefactError(f"governance/{FILE}", "each text once", "one twice")
    return found


def newest(language: str) -> tuple[Text, ...]:
    """The last row of each purpose in a language. Raises InputError for a language without them."""
    rows = {text.purpose: text for text in texts() if text.language == language}
    if set(rows) != set(PURPOSES):
        known = ", ".join(sorted({text.language for text in texts()}))
        raise InputError("consent, language", f"one of {known}", repr(language[:20]))
    return tuple(rows[purpose] for purpose in PURPOSES)


def text_of(digest: str) -> Text | None:
    """The row that was shown, by the SHA-256 in the log; None for a text from elsewhere."""
    return next((text for text in texts() if text.sha256 == digest), None)
