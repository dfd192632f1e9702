"""Greedy longest-match WordPiece (Devlin et al. 2019), with spans into the note as it was written.

Our own, because the `tokenizers` wheel costs 9 MB of memory and this is all that is needed of it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"

_WORD = re.compile(r"\d|[^\W\d_]+|[^\w\s]|_")
"""A run of letters, or one digit, or one mark: an age is read digit by digit."""

_LONGEST_WORD = 60


@dataclass(frozen=True)
class Pieces:
    """ids: piece numbers, the first is [CLS]. spans: start and end in the note of the word that each
    piece belongs to, (0, 0) for [CLS] and [SEP]. cut: the note was longer than what is read.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    cut: bool


def words(note: str) -> list[tuple[str, tuple[int, int]]]:
    """Folded words with their spans in the note.

    >>> words("Itchy, 61y")
    [('itchy', (0, 5)), (',', (5, 6)), ('6', (7, 8)), ('1', (8, 9)), ('y', (9, 10))]
    """
    return [(_folded(match.group()), match.span()) for match in _WORD.finditer(note)]


def _folded(word: str) -> str:
    """Lower case without accents."""
    parts = unicodedata.normalize("NFD", word.lower())
    return "".join(c for c in parts if unicodedata.category(c) != "Mn")


class WordPiece:
    """A vocabulary of pieces; a piece inside a word starts with ##. If it holds [SEP], that closes a note."""

    def __init__(self, vocabulary: list[str]) -> None:
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}
        self._unknown = self._ids[UNKNOWN]
        self._start = self._ids[START]
        self._end = (self._ids[END],) if END in self._ids else ()

    @classmethod
    def read(cls, path: Path) -> WordPiece:
        """Reads a vocabulary, one piece a line."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def split(self, note: str, most: int) -> Pieces:
        """At most `most` pieces of a note, [CLS] included; a word is taken whole or not at all."""
        ids, spans, cut = [self._start], [(0, 0)], False
        for word, span in words(note):
            pieces = self._split_word(word)
            if len(ids) + len(pieces) + len(self._end) > most:
                cut = True
                break
            ids += pieces
            spans += [span] * len(pieces)
        return Pieces((*ids, *self._end), (*spans, *[(0, 0)] * len(self._end)), cut)

    def _split_word(self, word: str) -> list[int]:
        pieces: list[int] = []
        start = 0
        while start < len(word):
            if start > _LONGEST_WORD:
                return [self._unknown]
            prefix = "##" if start else ""
            for end in range(min(len(word), start + _LONGEST_WORD), start, -1):
                number = self._ids.get(prefix + word[start:end])
                if number is not None:
                    pieces.append(number)
                    start = end
                    break
            else:
                return [self._unknown]
        return pieces
