"""The words that tell how a finding is meant, as data: `context_en.tsv` and `roles_en.tsv`."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from importlib import resources

from akazuba.language.tokens import Gap, Token


@dataclass(frozen=True, slots=True)
class Roles:
    """Single words by the part they play.

    family, patient, pronoun: whom a statement is about. tells: verbs after which a relative is the one who
    tells ("mother says"). companion: words after which one has only come along ("with mother"). acts,
    passive: one who "beat her" is not the one who is ill, one who "was beaten" may be. expecting: words that
    make a mother the patient ("pregnant mother"); childbirth: so do these behind her ("mother in labour").
    verb: with a comma or joiner before it a new statement begins. severity: so does it before a member of a
    list. yes, no: answers to a question. worse, circumstance: "worse with coughing" names no cough.
    """

    family: Set[str]
    patient: Set[str]
    pronoun: Set[str]
    verb: Set[str]
    severity: Set[str]
    tells: Set[str]
    companion: Set[str]
    expecting: Set[str]
    childbirth: Set[str]
    acts: Set[str]
    passive: Set[str]
    joiner: Set[str]
    yes: Set[str]
    no: Set[str]
    worse: Set[str]
    circumstance: Set[str]


def english_roles() -> Roles:
    lines = _data("roles_en.tsv").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return Roles(**{role: frozenset(words.split(" ")) for role, words in rows})


@dataclass(frozen=True, slots=True)
class Trigger:
    """tokens[first:last] say `kind` of what follows ("forward") or precedes ("backward").

    "either": of what follows in the same part of the list, else of what precedes. "answer": of what
    follows, but at the end of a part of what precedes ("fever no, cough yes"). The kind "elsewhere" takes
    back a denial before it ("no swelling in other joints" says nothing of swelling).
    """

    first: int
    last: int
    kind: str
    direction: str


class Triggers:
    """The trigger phrases of `context_en.tsv`, longest first by their first word."""

    def __init__(self, table: str) -> None:
        self._by_word: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        for line in table.splitlines()[1:]:
            phrase, kind, direction = line.split("\t")
            words = tuple(phrase.split(" "))
            self._by_word.setdefault(words[0], []).append((words, kind, direction))
        for rows in self._by_word.values():
            rows.sort(key=lambda row: -len(row[0]))

    def find(self, tokens: Sequence[Token], taken: set[int]) -> dict[int, Trigger]:
        """Triggers by the place of their first word; none reaches into a place that is taken."""
        found: dict[int, Trigger] = {}
        place = 0
        while place < len(tokens):
            trigger = self._at(tokens, place, taken)
            if trigger is not None:
                found[place] = trigger
            place = trigger.last if trigger else place + 1
        return found

    def _at(self, tokens: Sequence[Token], place: int, taken: set[int]) -> Trigger | None:
        for words, kind, direction in self._by_word.get(tokens[place].word, ()):
            last = place + len(words)
            if (
                tuple(token.word for token in tokens[place:last]) == words
                and taken.isdisjoint(range(place, last))
                and all(token.gap is Gap.NONE for token in tokens[place + 1 : last])
            ):
                return Trigger(place, last, kind, direction)
        return None


def english_triggers() -> Triggers:
    return Triggers(_data("context_en.tsv"))


def _data(name: str) -> str:
    return resources.files("akazuba.language").joinpath(name).read_text(encoding="utf-8")
