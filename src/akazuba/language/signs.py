"""Danger signs that are told in words no list of ours holds: a linear model of words and letters.

The rules of the charts decide over what it reads, and nothing else sees it: a sign stands apart from the
findings of a note, with the words that told it, and can only raise the urgency. It reads every sentence and
every two neighbouring ones as a bag of words, word pairs and triples and of runs of 3 to 5 letters, all
hashed, and keeps a sign from its threshold on (docs/decisions/0013-word-model-of-danger-signs.md;
`python -m akazuba.training.signs`).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from akazuba.errors import ArtefactError

BUCKETS = 1 << 15
FILE = "signs_en.bin"
"""The weights, row by row, packed by zlib: np.load would bring zipfile."""

LONGEST_WINDOW = 28  # words; a longer sentence is read in pieces, or its one sign drowns
THRESHOLD, PART_THRESHOLD = 0.15, 0.4
"""From this probability on a sign is a finding, and one of PARTS; by cross-validation over sources."""

PARTS = frozenset(
    {"HP:0001945", "HP:0002315", "HP:0002094", "HP:0001254", "HP:0001289", "HP:0001250", "AKZ:0000014"}
    | {"AKZ:0000016", "AKZ:0000021", "AKZ:0000037", "AKZ:0000047", "AKZ:0000048", "AKZ:0000059"}
)
"""Findings that are red only together, at an age or in pregnancy, and that harmless notes name often: fever,
headache, breathlessness, lethargy, confusion, a seizure, sunken eyes, drinking poorly, visual disturbance,
pain of belly and chest, head injury.
"""

EVENTS = frozenset(f"AKZ:00000{number}" for number in ("03", "05", "06", "07", "09", "11", "12", "87", "94"))
"""Bleeding, convulsion, trauma, poisoning, snake bite, violence, labour, suicide attempt, burn: nobody tells
one with a denial, so that beside a word of DENIALS the higher threshold holds.
"""
DENIALS = frozenset({"no", "not", "never", "without", "nobody", "denies"})

_ENDS = re.compile(r"(?<=[.!?;\n])\s+")
_WORD = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*")
_DIGIT = re.compile(r"\d")
Hashes = NDArray[np.uint32]
Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SeenSign:
    """A sign, where it is told, and the character of the note at the word that tells it most."""

    id: str
    start: int
    end: int
    peak: int
    probability: float


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands beside the weights. ids: the finding of each column, with its scale and bias.

    sha256: of the file of weights. rows: sentences that it was trained on.
    """

    ids: tuple[str, ...]
    scale: tuple[float, ...]
    bias: tuple[float, ...]
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a window and their hashes: features, sorted and each once, and those of single words
    and of pairs in the order of the words.
    """

    places: tuple[tuple[int, int], ...]
    features: Hashes
    single: Hashes
    pairs: Hashes

    def beside(self, following: Words) -> Words:
        """Both as one window."""
        return Words(
            self.places + following.places,
            _once(np.concatenate((self.features, following.features))),
            np.concatenate((self.single, following.single)),
            np.concatenate((self.pairs, following.pairs[1:])),
        )


@dataclass(frozen=True, slots=True)
class SignModel:
    """weights: one row a bucket and one column a sign, in steps of `scale`."""

    ids: tuple[str, ...]
    weights: NDArray[np.int8]
    scale: Numbers
    bias: Numbers

    def read(self, note: str) -> list[SeenSign]:
        """The signs of a note, each where it is told most clearly."""
        pieces = [words for piece in pieces_of(note) if (words := words_of(note, *piece)).places]
        windows = [*pieces, *map(Words.beside, pieces, pieces[1:])]
        if not windows:
            return []
        certain = np.stack([self.probabilities(words) for words in windows])
        least = np.array([PART_THRESHOLD if id_ in PARTS else THRESHOLD for id_ in self.ids])
        seen = []
        for sign in np.flatnonzero(certain.max(axis=0) >= least):
            best = int(certain[:, sign].argmax())
            words = windows[best]
            denial = self.ids[sign] in EVENTS and any(
                note[start:end].lower() in DENIALS for start, end in words.places
            )
            if denial and certain[best, sign] < PART_THRESHOLD:
                continue
            start, end = words.places[0][0], words.places[-1][1]
            peak = words.places[self._peak(words, int(sign))][0]
            seen.append(SeenSign(self.ids[sign], start, end, peak, float(certain[best, sign])))
        return seen

    def probabilities(self, words: Words) -> Numbers:
        """Of each sign, in the order of `ids`."""
        total = self.weights[words.features].sum(axis=0, dtype=np.int32) * self.scale
        score = total / np.sqrt(np.float32(len(words.features))) + self.bias
        certain: Numbers = (1 / (1 + np.exp(-score))).astype(np.float32)
        return certain

    def _peak(self, words: Words, sign: int) -> int:
        """The word that weighs most, half of what its pairs weigh included."""
        weights = self.weights[words.single, sign].astype(np.int32) * 2
        pairs = self.weights[words.pairs, sign].astype(
            np.int32
        )  # one before each word and one behind the last
        return int((weights + pairs[:-1] + pairs[1:]).argmax())


def pieces_of(note: str) -> Iterator[tuple[int, int]]:
    """Start and end of every sentence, long ones in pieces."""
    starts = [0, *(match.end() for match in _ENDS.finditer(note))]
    for start, end in zip(starts, [*starts[1:], len(note)], strict=True):
        words = [match.start() for match in _WORD.finditer(note, start, end)]
        cuts = [start, *words[LONGEST_WINDOW::LONGEST_WINDOW], end]
        yield from pairwise(cuts)


def words_of(note: str, start: int, end: int) -> Words:
    """The words of a part of a note; digits are all alike."""
    found = list(_WORD.finditer(note, start, end))
    words = [_DIGIT.sub("0", match.group().lower().replace("’", "'").replace("`", "'")) for match in found]
    whole = np.array([zlib.crc32(word.encode()) for word in ("^", *words, "$")], dtype=np.uint32)
    letters = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le"), dtype=np.uint32)
    pairs = _runs(whole, 2)
    once = _runs(whole, 1)
    parts = [once, pairs, _runs(whole, 3), *(_runs(letters, length) for length in (3, 4, 5))]
    features = _once(np.concatenate(parts))
    return Words(tuple(match.span() for match in found), features, once[1:-1], pairs)


def _once(hashes: Hashes) -> Hashes:
    """Sorted, each once. np.unique would import numpy.ma: 5 MiB.

    >>> _once(np.array([3, 1, 3], np.uint32)).tolist()
    [1, 3]
    """
    ordered = np.sort(hashes)
    kept: Hashes = ordered[np.diff(ordered, prepend=ordered[:1] + np.uint32(1)) != 0]
    return kept


def _runs(symbols: Hashes, length: int) -> Hashes:
    """The bucket of every run of `length` symbols."""
    count = len(symbols) - length + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint32)
    mixed = np.full(count, length, dtype=np.uint32)
    for place in range(length):
        mixed = (mixed ^ symbols[place : place + count]) * np.uint32(0x9E3779B1)
        mixed ^= mixed >> np.uint32(15)
    return mixed & np.uint32(BUCKETS - 1)


def quantised(ids: Sequence[str], weights: NDArray[np.float64], bias: NDArray[np.float64]) -> SignModel:
    """weights: one row a sign."""
    scale = np.abs(weights).max(axis=1) / 127
    steps = np.rint(weights / scale[:, None]).astype(np.int8)
    return SignModel(
        tuple(ids), np.ascontiguousarray(steps.T), scale.astype(np.float32), bias.astype(np.float32)
    )


def english_signs() -> SignModel:
    folder = resources.files("akazuba.language")
    card, weights = (folder.joinpath(f"signs_en.{ending}").read_bytes() for ending in ("json", "bin"))
    return loaded(card, weights)


def loaded(card: bytes, weights: bytes) -> SignModel:
    """Raises ArtefactError when the weights are not those that the card names."""
    known = msgspec.json.decode(card, type=Card)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != known.sha256:
        raise ArtefactError(FILE, known.sha256, digest)
    numbers = np.frombuffer(zlib.decompress(weights), np.int8)
    shape = (BUCKETS, len(known.ids))
    if numbers.size != shape[0] * shape[1]:
        raise ArtefactError(FILE, f"weights of {shape}", f"{numbers.size} numbers")
    scale, bias = (np.array(values, np.float32) for values in (known.scale, known.bias))
    return SignModel(known.ids, numbers.reshape(shape), scale, bias)
