"""A note cut into words that remember where they stood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from akazuba.terminology import plain, stem


class Gap(IntEnum):
    """What stands between a word and the one before it, weakest first.

    SOFT (a colon, a quotation mark) ends a phrase but no scope; COMMA (or an opening bracket, a dash) ends
    a member of a list; CLOSE is a closing bracket; END ends a sentence.
    """

    NONE = 0
    SOFT = 1
    COMMA = 2
    CLOSE = 3
    END = 4


@dataclass(frozen=True, slots=True)
class Token:
    """One word: `start` and `end` (exclusive) are character offsets in the note.

    gap: what stands before it. asked: a question ends with it.
    """

    start: int
    end: int
    word: str
    stem: str
    gap: Gap
    asked: bool = False


_TOKEN = re.compile(
    r"""
    [+\-−]ve\b                              # +ve, -ve
  | \+{2,}                                 # ++, severely
  | \(\s?[+\-−]\s?\)                        # (+), (-)
  | (?:(?<=\s)|^)\?(?=\s?[^\W_])            # ?malaria
  | [A-Za-z](?:/[A-Za-z])+\b                # c/o, h/o, r/o
  | [^\W\d_]+(?:['’`][^\W\d_]+)*            # words
  | \d+(?:\.\d+)?                           # numbers
  | [&+/]                                   # and, and, or
    """,
    re.VERBOSE,
)
_SIGNS = {"&": "and", "+": "and", "/": "or", "?": "?"}


def tokenise(note: str) -> list[Token]:
    """The words of a note in order; every character belongs to at most one."""
    tokens: list[Token] = []
    matches = [match for match in _TOKEN.finditer(note) if not _is_slash_of_a_number(note, match)]
    starts = [match.start() for match in matches]
    gap = Gap.NONE
    for match, following in zip(matches, [*starts[1:], len(note)], strict=False):
        text = match.group()
        if text.startswith("++"):
            word = "severely"
        elif text[0] in "+-−(" and len(text) > 1:
            word = "negative" if "-" in text or "−" in text else "positive"
        else:
            word = _SIGNS.get(text) or plain(text)
        after = note[match.end() : following]
        tokens.append(Token(match.start(), match.end(), word, stem(word), gap, asked="?" in after))
        gap = _gap(after)
    return tokens


def _is_slash_of_a_number(note: str, match: re.Match[str]) -> bool:
    """120/80 and 12/3 hold no "or"."""
    start, end = match.span()
    return (
        match.group() == "/" and note[max(0, start - 1) : start].isdigit() and note[end : end + 1].isdigit()
    )


_HARD = re.compile(r"[.!?;\n\r\u0964\u3002]")
_LIST = re.compile(r"[,、(\[–—]|\s-+\s|->|=>")
_SOFT = re.compile(r"[:\"“”«»<>=|*#]")


def _gap(between: str) -> Gap:
    if not between.strip(" \t'’-"):
        return Gap.COMMA if _LIST.search(between) else Gap.NONE
    if _HARD.search(between):
        return Gap.END
    if ")" in between or "]" in between:
        return Gap.CLOSE
    if _LIST.search(between):
        return Gap.COMMA
    return Gap.SOFT if _SOFT.search(between) else Gap.NONE
