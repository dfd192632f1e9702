"""Slips of the pen in words of danger: "unconcious", "hemorhage", "convultion".

Only a word that nobody knows is changed, only into a word of danger of six letters or more, and only by one
letter (wrong, missing, too many, or two in the wrong order) that is not the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

from akazuba.language.tokens import Token
from akazuba.terminology import stem

SHORTEST = 6


class Spelling:
    """The words into which a slip may be corrected, by first letter and length."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words: dict[tuple[str, int], list[str]] = {}
        for word in sorted(set(words)):
            if len(word) >= SHORTEST:
                self._words.setdefault((word[0], len(word)), []).append(word)

    def corrected(
        self, tokens: Sequence[Token], common: Set[str], knows_word: Callable[[str], bool]
    ) -> list[Token]:
        """The tokens with the slips corrected; places and characters stay."""
        return [
            token
            if len(token.word) < SHORTEST or token.word in common or knows_word(token.stem)
            else self._mended(token)
            for token in tokens
        ]

    def _mended(self, token: Token) -> Token:
        word = token.word
        for length in (len(word), len(word) + 1, len(word) - 1):
            for meant in self._words.get((word[0], length), ()):
                if one_slip(word, meant):
                    return replace(token, word=meant, stem=stem(meant))
        return token


def one_slip(word: str, meant: str) -> bool:
    """Whether one letter makes the difference, or two beside each other in the wrong order.

    >>> one_slip("unconcious", "unconscious"), one_slip("siezure", "seizure"), one_slip("cloth", "mouth")
    (True, True, False)
    """
    if abs(len(word) - len(meant)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(word, meant, strict=False)) if a != b), None)
    if same is None:
        return len(word) != len(meant)
    left, right = word[same:], meant[same:]
    if len(word) == len(meant):
        return left[1:] == right[1:] or (left[:2] == right[1::-1] and left[2:] == right[2:])
    return left[1:] == right if len(left) > len(right) else left == right[1:]
