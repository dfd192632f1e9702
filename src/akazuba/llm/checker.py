"""Whether a sentence says only what it cites. Deterministic, the same for every model and language.

Each word of a sentence must stand in a wording of a fact that the sentence cites, the wording whole, or be
one of the words that say nothing by themselves (`glue_en.txt`). A number, a medicine, a dose, a diagnosis,
a level or a "no" is none of these: it can only come with the whole wording that holds it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from akazuba.llm.facts import Fact

MOST_GLUE = 14
"""Words that say nothing, in one sentence: more is no sentence about a fact."""

_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['-][^\W_]+)*|[<>≥≤=×%+/]")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a narrative and the ids of the facts that it cites."""

    text: str
    cites: tuple[str, ...]


@dataclass(frozen=True)
class Rejected:
    """A sentence that was dropped, and why."""

    sentence: Sentence
    why: str


def checked(
    sentences: Sequence[Sentence], facts: Mapping[str, Fact], also: frozenset[str] = frozenset()
) -> tuple[tuple[Sentence, ...], tuple[Rejected, ...]]:
    """The sentences that are supported, each fact said once, and the others.

    also: further words that say nothing by themselves (of another language).
    """
    kept: list[Sentence] = []
    rejected: list[Rejected] = []
    said = set[str]()
    for sentence in sentences:
        why = why_unsupported(sentence, facts, also)
        if why is None and not said.isdisjoint(sentence.cites):
            why = "says a fact a second time"
        if why is None:
            said.update(sentence.cites)
            kept.append(sentence)
        else:
            rejected.append(Rejected(sentence, why))
    return tuple(kept), tuple(rejected)


def why_unsupported(
    sentence: Sentence, facts: Mapping[str, Fact], also: frozenset[str] = frozenset()
) -> str | None:
    """What a sentence says that its facts do not; None when they say it all."""
    if not sentence.cites:
        return "cites nothing"
    if unknown := [id_ for id_ in sentence.cites if id_ not in facts]:
        return f"cites {unknown[0]}, which is no evidence of this case"
    left = f" {' '.join(_words(sentence.text))} "
    for id_ in sentence.cites:
        found = False
        for phrase in sorted(facts[id_].wordings, key=len, reverse=True):
            whole = f" {' '.join(_words(phrase))} "
            if whole in left:
                left = left.replace(whole, " ¦ ", 1)
                found = True
                break
        if not found:
            return f"does not say what {id_} says"
    rest = [word for word in left.split() if word != "¦"]
    for word in rest:
        if word not in glue() and word not in also:
            kind = "number" if any(letter.isdigit() for letter in word) else "word"
            return f"the {kind} {word!r} is not in {', '.join(sentence.cites)}"
    return "more filling than fact" if len(rest) > MOST_GLUE else None


def _words(text: str) -> list[str]:
    """Words, numbers and signs in lower case; a decimal is one word.

    >>> _words("Give 2.5 ml, twice")
    ['give', '2.5', 'ml', 'twice']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))


@cache
def glue() -> frozenset[str]:
    """Words that say nothing of a patient by themselves."""
    text = (resources.files("akazuba.llm") / "glue_en.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
