"""Whether a note is English enough to be read. Nothing may be concluded from a note that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from importlib import resources

from akazuba.language.tokens import Token

MIN_LATIN = 0.5  # share of the letters
MIN_KNOWN = 0.5  # share of the words; telegraphic English notes of ours reach 0.8 and more
LATIN_END = 0x0250  # Basic Latin to Latin Extended-B


def common_words() -> frozenset[str]:
    """Everyday English words, without accents or apostrophes."""
    path = resources.files("akazuba.language").joinpath("common_words_en.txt")
    return frozenset(path.read_text(encoding="utf-8").split())


def why_not_english(
    note: str, tokens: Sequence[Token], common: Set[str], knows_word: Callable[[str], bool]
) -> str | None:
    """A sentence for the nurse when the note cannot be read, None when it can.

    knows_word: whether a stem occurs in a name or phrase of ours.
    """
    letters = [character for character in note if character.isalpha()]
    if not letters:
        return "the note holds no words"
    latin = sum(ord(letter) < LATIN_END for letter in letters)
    if latin < MIN_LATIN * len(letters):
        return "the note is mostly in a script that this version does not read"
    words = [token for token in tokens if token.word.isalpha() and len(token.word) > 1]
    if not words:
        return "the note holds no words"
    known = sum(token.word in common or knows_word(token.stem) for token in words)
    if known < MIN_KNOWN * len(words):
        return "the note does not seem to be in English, the only language that this version reads"
    return None
