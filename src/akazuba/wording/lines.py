"""Lines of a terminal, in which a wide (East Asian) character takes two columns."""

from __future__ import annotations

import textwrap
import unicodedata

WIDTH = 100

_PAD = "\0"


def wrapped(text: str, indent: str) -> str:
    """Lines of less than WIDTH columns. indent: of all but the first."""
    lines = textwrap.fill(_marked(text), WIDTH - 1, subsequent_indent=indent, break_on_hyphens=False)
    return lines.replace(_PAD, "")


def column(text: str, width: int) -> str:
    """The text with blanks behind it, `width` columns in all.

    >>> column("normal", 8) + "|", column("正常", 8) + "|"
    ('normal  |', '正常    |')
    """
    return _marked(text).ljust(width).replace(_PAD, "")


def _marked(text: str) -> str:
    """With a mark behind each character that takes two columns."""
    return "".join(
        letter + _PAD if unicodedata.east_asian_width(letter) in "WF" else letter for letter in text
    )
