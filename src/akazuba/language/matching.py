"""Where a note names a finding: HPO's names and our lay phrases, longest first.

A phrase may not run across a comma, a colon or the end of a sentence. Words match by their stems, so
number, tense, British spelling and doubled letters make no difference; two or three words match in any
order. "Hands or feet swollen" is read for both members, because lists are how notes are written.

Nobody can list every way to say that a child drank something from a bottle of paraffin. So two words that
make a finding together (`combinations_en.tsv`: drank, paraffin) are found with up to three others between
them, and a word of danger that nothing explains (`danger_words_en.txt`) is itself a finding, to be checked.
A number of ten or more is "many" where a phrase asks for many ("took 20 tablets").
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise

from akazuba.language.scenes import english_scenes
from akazuba.language.tokens import Gap, Token
from akazuba.terminology import STOP_WORDS, WORD, Terminology, normalise, plain, stem

NOTHING = "-"
"""In the lexicon: the phrase names no finding ("fever chart"), whatever a part of it or HPO says."""

DANGER_WORD = "AKZ:0000093"
"""A word of danger outside everything that was understood; always uncertain, so that triage asks."""

LONGEST_PHRASE = 9  # stems; HPO's longer names are sentences that no note contains
WIDEST_COMBINATION = 5  # words from the first to the last, without stop words
MANY = 10  # from this number on, a number counts as "many" in a lay phrase
CONJUNCTIONS = frozenset({"and", "or", "nor"})
_UNORDERED = CONJUNCTIONS | {"no", "not", "never", "without", "has", "have", "had", "but", "for", "then"}
_PARTS = _UNORDERED - {"has", "have", "had"} | {"cannot", "cant", "denies", "denied", "if", "nil", "none"}
"""Words that no combination reaches across."""


@dataclass(frozen=True, slots=True)
class Match:
    """ids: the findings that tokens[first:last] (last is exclusive) name; `words` of them carry it.

    scattered: the places of these words when others stand between them that are not its own.
    """

    first: int
    last: int
    words: int
    ids: tuple[str, ...]
    inferred: bool = False
    scattered: tuple[int, ...] = ()

    @property
    def places(self) -> Sequence[int]:
        return self.scattered or range(self.first, self.last)


class Lexicon:
    """Our lay phrases, by stems. When phrases share their stems, the one written exactly so wins."""

    def __init__(self, table: str) -> None:
        self._ids: dict[str, tuple[str, ...]] = {}
        self._exact: dict[str, tuple[str, ...]] = {}
        self._beginnings: set[str] = set()
        self._reordered: dict[str, tuple[str, ...]] = {}
        self._words: set[str] = set()
        shared: dict[str, tuple[str, ...]] = {}
        for line in table.splitlines()[1:]:
            phrase, _, cell = line.partition("\t")
            if cell not in shared:
                shared[cell] = tuple(sys.intern(term) for term in cell.split("|"))
            ids, key = shared[cell], normalise(phrase)
            if self._ids.setdefault(key, ids) != ids:
                self._exact[exact_form(phrase)] = ids
            stems = key.split(" ")
            self._words.update(sys.intern(word) for word in stems)
            for length in range(1, len(stems)):
                self._beginnings.add(" ".join(stems[:length]))
            if 2 <= len(stems) <= 3 and ids != (NOTHING,):  # "head cold" is nothing, "cold head" may be
                in_order = " ".join(sorted(stems))
                self._reordered.setdefault(key if key == in_order else in_order, ids)

    def ids(self, key: str, exact: str) -> tuple[str, ...] | None:
        """Ids of a phrase; empty when a longer phrase begins so, None when none does."""
        if (ids := self._ids.get(key)) is not None:
            return self._exact.get(exact, ids)
        return () if key in self._beginnings else None

    def reordered(self, stems: Sequence[str]) -> tuple[str, ...]:
        return self._reordered.get(" ".join(sorted(stems)), ())

    def knows_word(self, word_stem: str) -> bool:
        return word_stem in self._words

    def all_ids(self) -> frozenset[str]:
        """Every finding that some phrase names."""
        named = (*self._ids.values(), *self._exact.values())
        return frozenset(id_ for ids in named for id_ in ids if id_ != NOTHING)


def exact_form(phrase: str) -> str:
    words = (plain(match.group()) for match in WORD.finditer(phrase))
    return " ".join(word for word in words if word not in STOP_WORDS)


def english_lexicon() -> Lexicon:
    """`lay_lexicon_en.tsv`, and the words for the findings of particular conditions."""
    conditions = _data("condition_words_en.tsv").partition("\n")[2]
    return Lexicon(_data("lay_lexicon_en.tsv") + conditions)


def english_lesion_words() -> Lexicon:
    """What single words mean in a note that names a skin lesion ("it has grown, it bled")."""
    return Lexicon(_data("lesion_words_en.tsv"))


class Combinations:
    """Pairs of words, in any order, that make a finding when they stand near each other.

    A form in -ing counts only where the table lists it: burned is an injury, burning a feeling.
    """

    def __init__(self, table: str) -> None:
        self._partners: dict[str, dict[str, tuple[str, ...]]] = {}
        self._going_on: set[str] = set()
        for line in table.splitlines()[1:]:
            ones, others, cell = line.split("\t")
            ids = tuple(cell.split("|"))
            self._going_on.update(word for word in f"{ones} {others}".split(" ") if word.endswith("ing"))
            for one in map(stem, ones.split(" ")):
                for other in map(stem, others.split(" ")):
                    self._partners.setdefault(one, {}).setdefault(other, ids)
                    self._partners.setdefault(other, {}).setdefault(one, ids)

    def starting(self, tokens: Sequence[Token], places: Sequence[int]) -> Match | None:
        """The combination of the first of `places` with the nearest other one that completes it."""
        partners = self._partners.get(tokens[places[0]].stem) if self._listed(tokens[places[0]]) else None
        for place in places[1:] if partners else ():
            if tokens[place].word in _PARTS:
                return None
            if partners and (ids := partners.get(tokens[place].stem)) and self._listed(tokens[place]):
                return Match(places[0], place + 1, 2, ids, inferred=True)
        return None

    def _listed(self, token: Token) -> bool:
        return not token.word.endswith("ing") or token.word in self._going_on

    def knows_word(self, word_stem: str) -> bool:
        return word_stem in self._partners


def english_combinations() -> Combinations:
    return Combinations(_data("combinations_en.tsv"))


def english_danger_words() -> frozenset[str]:
    return frozenset(_data("danger_words_en.txt").split())


def _data(name: str) -> str:
    return resources.files("akazuba.language").joinpath(name).read_text(encoding="utf-8")


class Matcher:
    """Finds terms in tokens."""

    def __init__(self, terminology: Terminology, lexicon: Lexicon) -> None:
        self._terminology = terminology
        self._lexicon = lexicon
        self._combinations = english_combinations()
        self._danger = frozenset(map(stem, english_danger_words()))
        self._scenes = english_scenes()

    def matches(self, tokens: Sequence[Token], topic: Lexicon | None = None) -> list[Match]:
        """Findings in the order of the note; only what a scene tells may lie across another.

        topic: phrases of what the note is about; they go before all others of the same words.
        """
        found: list[Match] = []
        counted = _with_many(tokens)
        for run in _runs(tokens):
            candidates = list(self._candidates(tokens, run, topic))
            if any(counted[place] is not tokens[place] for place in run):
                candidates += self._candidates(counted, run, topic)
            chosen = _longest(candidates, tokens)
            chosen += self._shared_words(tokens, run, chosen)
            found += chosen
        found += self._scene_matches(counted, found)
        found += self._danger_words(tokens, found)
        named = [match for match in found if match.ids != (NOTHING,)]
        return sorted(named, key=lambda match: (match.first, match.last))

    @property
    def words_of_danger(self) -> frozenset[str]:
        """Those of the scenes and of the list, as they are spelled."""
        return self._scenes.vocabulary | english_danger_words()

    def knows_word(self, word_stem: str) -> bool:
        """Whether a word of danger, of a combination or of a scene has this stem."""
        tables = (self._combinations, self._scenes)
        return word_stem in self._danger or any(table.knows_word(word_stem) for table in tables)

    def _candidates(
        self, tokens: Sequence[Token], run: Sequence[int], topic: Lexicon | None
    ) -> Iterator[Match]:
        for begin in range(len(run)):
            key = exact = ""
            for length, place in enumerate(run[begin : begin + LONGEST_PHRASE], start=1):
                key = f"{key} {tokens[place].stem}" if key else tokens[place].stem
                exact = f"{exact} {tokens[place].word}" if exact else tokens[place].word
                names = [
                    topic.ids(key, exact) if topic else None,
                    self._lexicon.ids(key, exact),
                    self._terminology.phrase(key),
                ]
                if ids := next(filter(None, names), None):
                    yield Match(run[begin], place + 1, length, ids)
                if all(name is None for name in names):
                    break
            for length in (2, 3):
                window = run[begin : begin + length]
                if len(window) == length and (ids := self._any_order(tokens, window)):
                    yield Match(window[0], window[-1] + 1, length, ids, inferred=True)
            if pair := self._combinations.starting(tokens, run[begin : begin + WIDEST_COMBINATION]):
                yield pair

    def _scene_matches(self, tokens: Sequence[Token], found: Sequence[Match]) -> list[Match]:
        """What scenes tell, unless a phrase holds all their words and more or tells the same more exactly."""
        nothing = [frozenset(match.places) for match in found if match.ids == (NOTHING,)]
        matches = []
        for seen in self._scenes.find(tokens, nothing):
            places = frozenset(seen.places)
            told = [match for match in found if not places.isdisjoint(match.places)]
            if not any(self._tells(match, seen.id, places) for match in told):
                first, last = seen.places[0], seen.places[-1] + 1
                matches.append(Match(first, last, len(places), (seen.id,), True, seen.places))
        return matches

    def _tells(self, match: Match, id_: str, places: Set[int]) -> bool:
        """Whether a phrase makes a scene needless."""
        if match.ids == (NOTHING,):
            return False
        if not match.inferred and match.words > len(places) and places <= frozenset(match.places):
            return True
        return any(id_ in self._terminology.ancestors(known) for known in match.ids)

    def _danger_words(self, tokens: Sequence[Token], found: Sequence[Match]) -> Iterator[Match]:
        covered = {place for match in found for place in match.places}
        for place, token in enumerate(tokens):
            if place not in covered and token.stem in self._danger:
                yield Match(place, place + 1, 1, (DANGER_WORD,), inferred=True)

    def _any_order(self, tokens: Sequence[Token], places: Sequence[int]) -> tuple[str, ...]:
        if any(tokens[place].word in _UNORDERED for place in places):
            return ()
        stems = [tokens[place].stem for place in places]
        return self._lexicon.reordered(stems) or self._terminology.reordered(stems)

    def _shared_words(
        self, tokens: Sequence[Token], run: Sequence[int], chosen: Sequence[Match]
    ) -> Iterator[Match]:
        """The other member of "chest or abdominal pain" and of "chest pain or tenderness"."""
        covered = {place: match for match in chosen for place in range(match.first, match.last)}
        for index, place in enumerate(run):
            if tokens[place].word not in CONJUNCTIONS or place in covered or not 0 < index < len(run) - 1:
                continue
            left, right = run[index - 1], run[index + 1]
            ahead, behind = covered.get(right), covered.get(left)
            if left not in covered and ahead is not None and ahead.words > 1:
                pair = (left, ahead.last - 1)
            elif right not in covered and behind is not None and behind.words > 1:
                pair = (behind.first, right)
            else:
                continue
            if (ids := self._any_order(tokens, pair)) and ids != (NOTHING,):
                yield Match(pair[0], pair[1] + 1, 2, ids, inferred=True)


def _with_many(tokens: Sequence[Token]) -> Sequence[Token]:
    """The tokens with "many" for every whole number from MANY on."""
    return [
        replace(token, word="many", stem=stem("many"))
        if token.word.isdecimal() and len(token.word) <= 4 and int(token.word) >= MANY
        else token
        for token in tokens
    ]


def _runs(tokens: Sequence[Token]) -> Iterator[list[int]]:
    """Places of the words between two breaks, without the words that carry nothing."""
    breaks = [place for place, token in enumerate(tokens) if token.gap is not Gap.NONE]
    for begin, end in pairwise((0, *(place for place in breaks if place), len(tokens))):
        if run := [place for place in range(begin, end) if tokens[place].word not in STOP_WORDS]:
            yield run


def _longest(candidates: Iterable[Match], tokens: Sequence[Token]) -> list[Match]:
    """The longest first; of equal ones "no appetite" gives way: "no appetite loss" denies a loss."""

    def order(match: Match) -> tuple[int, bool, bool, int]:
        return -match.words, tokens[match.first].word == "no", match.inferred, match.first

    taken: set[int] = set()
    chosen = []
    for match in sorted(candidates, key=order):
        places = range(match.first, match.last)
        if taken.isdisjoint(places):
            taken.update(places)
            chosen.append(match)
    return chosen
