"""What several words of one sentence say together, although no phrase of ours holds them.

"A lorry left the road and knocked him" names no finding, yet `lorry` and `knocked` near each other do. Each
line of `scenes_en.tsv` is such a scene: sets of words (classes), one word of each, within a reach. It is what
`combinations_en.tsv` does for two words beside each other, for longer ways of telling.

A scene reaches across no full stop and across none of the words in SPLITS that is not its own ("saw a snake
but was not bitten"), across a comma only where its line says "list", and takes no two words from what the
lexicon calls nothing ("blood pressure").
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import resources

from akazuba.language.tokens import Gap, Token
from akazuba.terminology import STOP_WORDS, stem

SPLITS = frozenset(
    {"no", "not", "never", "without", "but", "if", "nil", "none", "denies", "denied", "cannot"}
)
"""Words that no scene reaches across, unless a class of its own holds them."""

EXCLUDED_WITHIN = 5
"""How many tokens before and behind a scene a word may stand that takes it back."""

Place = tuple[int, int]
"""First token of a word or a pair of words, and the one after it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """classes: one word of each is needed; `after`: those that must stand behind the one before them.

    reach: words from the first to the last, without stop words. commas: whether it may cross one.
    excluded: classes that take it back.
    """

    id: str
    reach: int
    commas: bool
    classes: tuple[int, ...]
    after: tuple[bool, ...]
    excluded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A scene that was found: its finding and the places of its words, in their order."""

    id: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """One class of a scene as its line writes it: ">" stands before the word that comes after, "!" before
    what takes the scene back.
    """

    words: str
    after: bool
    excluded: bool

    @classmethod
    def read(cls, cell: str, groups: Mapping[str, str]) -> _Part:
        words = " ".join(groups.get(word, word) for word in cell.lstrip(">!").split(" "))
        return cls(words, cell.startswith(">"), cell.startswith("!"))


class Scenes:
    """Reads a table of groups ("@vehicle", its words) and of scenes."""

    def __init__(self, table: str) -> None:
        self._words: dict[str, tuple[int, ...]] = {}
        self._pairs: dict[str, tuple[int, ...]] = {}
        self._openings: set[str] = set()
        self._scenes: dict[int, list[Scene]] = {}
        words: set[str] = set()
        groups: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for line in table.splitlines()[1:]:
            name, reach, commas, cell = line.split("\t")
            if name.startswith("@"):
                groups[name] = cell
                continue
            parts = [_Part.read(part, groups) for part in cell.split(" + ")]
            for part in parts:
                if part.words not in numbers:
                    numbers[part.words] = len(numbers)
                    words |= self._add_class(len(numbers) - 1, part.words)
            scene = _scene(name, int(reach), commas == "list", parts, numbers)
            self._scenes.setdefault(scene.classes[0], []).append(scene)
        self.vocabulary = frozenset(words)

    def find(self, tokens: Sequence[Token], nothing: Sequence[Set[int]]) -> list[Seen]:
        """All scenes of a note. nothing: the places of each phrase that means nothing."""
        found: list[Seen] = []
        begin = 0
        for end in range(1, len(tokens) + 1):
            if end == len(tokens) or tokens[end].gap is Gap.END:
                found += self._in_sentence(tokens, begin, end)
                begin = end
        return [seen for seen in found if all(len(idle & {*seen.places}) < 2 for idle in nothing)]

    def knows_word(self, word_stem: str) -> bool:
        return word_stem in self._words

    def _add_class(self, number: int, words: str) -> set[str]:
        """Enters the words of a class; returns them, pairs cut in two."""
        single: set[str] = set()
        for word in dict.fromkeys(words.split(" ")):
            first, _, second = word.partition("_")
            key = f"{_key(first)} {_key(second)}" if second else _key(first)
            table = self._pairs if second else self._words
            if number not in table.get(key, ()):
                table[sys.intern(key)] = (*table.get(key, ()), number)
            self._openings.update({sys.intern(_key(first))} if second else ())
            single |= {sys.intern(part) for part in (first, second) if part}
        return single

    def _in_sentence(self, tokens: Sequence[Token], begin: int, end: int) -> Iterator[Seen]:
        seen = self._places(tokens, begin, end)
        for number in sorted(seen):
            for scene in self._scenes.get(number, ()):
                if all(other in seen for other in scene.classes):
                    yield from self._playing(scene, tokens, seen)

    def _places(self, tokens: Sequence[Token], begin: int, end: int) -> dict[int, list[Place]]:
        """Where the words of each class stand."""
        seen: dict[int, list[Place]] = {}
        for place in range(begin, end):
            key = _key(tokens[place].word, tokens[place].stem)
            for number in self._words.get(key, ()):
                seen.setdefault(number, []).append((place, place + 1))
            for last in self._next(tokens, place, end) if key in self._openings else ():
                pair = f"{key} {_key(tokens[last].word, tokens[last].stem)}"
                for number in self._pairs.get(pair, ()):
                    seen.setdefault(number, []).append((place, last + 1))
        return seen

    @staticmethod
    def _next(tokens: Sequence[Token], place: int, end: int) -> Iterator[int]:
        """The next token and the next one that is no stop word, in the same part of the list."""
        for last in range(place + 1, end):
            if tokens[last].gap >= Gap.COMMA:
                return
            if last == place + 1 or tokens[last].word not in STOP_WORDS:
                yield last
            if tokens[last].word not in STOP_WORDS:
                return

    def _playing(self, scene: Scene, tokens: Sequence[Token], seen: dict[int, list[Place]]) -> Iterator[Seen]:
        """The narrowest way to play a scene, for each place of its first class."""
        taken: set[int] = set()
        for start in seen[scene.classes[0]]:
            ways = [way for way in _ways(scene, seen, (start,)) if _fits(scene, tokens, way)]
            if not ways:
                continue
            way = min(ways, key=lambda way: max(last for _, last in way) - min(first for first, _ in way))
            places = tuple(sorted({place for first, last in way for place in range(first, last)}))
            if taken.isdisjoint(places) and not self._excluded(scene, places, seen):
                taken.update(places)
                yield Seen(scene.id, places)

    @staticmethod
    def _excluded(scene: Scene, places: tuple[int, ...], seen: dict[int, list[Place]]) -> bool:
        low, high = places[0] - EXCLUDED_WITHIN, places[-1] + EXCLUDED_WITHIN
        return any(low <= first <= high for number in scene.excluded for first, _ in seen.get(number, ()))


def _scene(name: str, reach: int, commas: bool, parts: Sequence[_Part], numbers: Mapping[str, int]) -> Scene:
    needed = [part for part in parts if not part.excluded]
    return Scene(
        name,
        reach,
        commas,
        classes=tuple(numbers[part.words] for part in needed),
        after=tuple(part.after for part in needed),
        excluded=tuple(numbers[part.words] for part in parts if part.excluded),
    )


def _key(word: str, word_stem: str = "") -> str:
    """A form in -ing stands for itself: burned is an injury, burning a feeling."""
    return word if word.endswith("ing") else word_stem or stem(word)


def _ways(scene: Scene, seen: dict[int, list[Place]], way: tuple[Place, ...]) -> Iterator[tuple[Place, ...]]:
    """Every choice of one place for each class, none used twice, within sight of the first."""
    index = len(way)
    if index == len(scene.classes):
        yield way
        return
    for place in seen[scene.classes[index]]:
        far = abs(place[0] - way[0][0]) > 2 * scene.reach + 2
        behind = not scene.after[index] or place[0] >= way[-1][1]
        if not far and behind and all(place[1] <= other[0] or place[0] >= other[1] for other in way):
            yield from _ways(scene, seen, (*way, place))


def _fits(scene: Scene, tokens: Sequence[Token], way: tuple[Place, ...]) -> bool:
    """Whether the words stand near enough, with nothing between them that parts them."""
    first, last = min(place[0] for place in way), max(place[1] for place in way)
    own = {place for begin, end in way for place in range(begin, end)}
    if sum(tokens[place].word not in STOP_WORDS for place in range(first, last)) > scene.reach:
        return False
    if not scene.commas and any(tokens[place].gap >= Gap.COMMA for place in range(first + 1, last)):
        return False
    return all(place in own or tokens[place].word not in SPLITS for place in range(first, last))


def english_scenes() -> Scenes:
    path = resources.files("akazuba.language").joinpath("scenes_en.tsv")
    return Scenes(path.read_text(encoding="utf-8"))
