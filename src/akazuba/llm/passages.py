"""The box's sources, cut into passages and looked up by words: what a question may be answered from."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from akazuba.compiled import compiled

PassageKind = Literal["clause", "condition", "finding"]
LAYOUT = "2"
TITLE_WEIGHT, TEXT_WEIGHT, ALSO_WEIGHT = 2.0, 1.0, 0.5
"""Of a word in the title, in the text and in what is not shown, for BM25 (our choice)."""

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
_FIND = (
    "SELECT id, kind, title, text, source, review, bm25(passage, 0, 0, ?, ?, 0, 0, ?) AS score, rowid"
    " FROM passage WHERE passage MATCH ? AND kind IN (SELECT value FROM json_each(?))"
    " ORDER BY score LIMIT ?"
)
_TABLE = (
    "CREATE VIRTUAL TABLE passage USING fts5(id UNINDEXED, kind UNINDEXED, title, text,"
    " source UNINDEXED, review UNINDEXED, also, tokenize = 'porter unicode61 remove_diacritics 2')"
)


@dataclass(frozen=True)
class Passage:
    """id: guideline/clause, or the id of a condition or finding. title: what it is of.

    source: where the text stands, as it is cited; review: its review state. also: further words by which it
    is found, which are not shown.
    """

    id: str
    kind: PassageKind
    title: str
    text: str
    source: str
    review: str
    also: str = ""


@dataclass(frozen=True)
class Hit:
    """covered: share of the question's words that the passage has, each weighed by how rare it is in all."""

    passage: Passage
    score: float
    covered: float


class Passages:
    """Looked up by BM25 over stemmed words (SQLite FTS5)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._count = int(db.execute("SELECT count(*) FROM passage").fetchone()[0])
        self._rarity: dict[str, float] = {}

    def find(self, question: str, kinds: Sequence[PassageKind], most: int) -> list[Hit]:
        """The best passages first; empty when no word of the question stands in any."""
        words = asked_words(question)
        if not words:
            return []
        match = " OR ".join(f'"{word}"' for word in words)
        rows = self._db.execute(
            _FIND, (TITLE_WEIGHT, TEXT_WEIGHT, ALSO_WEIGHT, match, json.dumps(list(kinds)), most)
        ).fetchall()
        return [Hit(Passage(*row[:6]), -row[6], self._covered(words, row[7])) for row in rows]

    def _covered(self, words: Sequence[str], rowid: int) -> float:
        there = {word for word in words if self._holds(word, rowid)}
        total = sum(self._weight(word) for word in words)
        return sum(self._weight(word) for word in there) / total

    def _holds(self, word: str, rowid: int) -> bool:
        query = "SELECT 1 FROM passage WHERE passage MATCH ? AND rowid = ?"
        return self._db.execute(query, (f'"{word}"', rowid)).fetchone() is not None

    def _weight(self, word: str) -> float:
        """Inverse document frequency; a word that no passage has weighs as much as the rarest."""
        if word not in self._rarity:
            query = "SELECT count(*) FROM passage WHERE passage MATCH ?"
            found = int(self._db.execute(query, (f'"{word}"',)).fetchone()[0])
            self._rarity[word] = math.log((self._count + 1) / (found + 0.5))
        return self._rarity[word]


def asked_words(question: str) -> list[str]:
    """The words of a question that name something.

    >>> asked_words("How much amoxicillin for a child of 10 kg?")
    ['amoxicillin', 'child', '10', 'kg']
    """
    words = _WORD.findall(question.lower())
    return list(dict.fromkeys(word for word in words if word not in _asking()))


@cache
def _asking() -> frozenset[str]:
    """Words of a question that say nothing of what is asked for."""
    text = (resources.files("akazuba.llm") / "asking_words_en.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def open_passages(home: Path, version: str, rows: Callable[[], Iterable[Passage]]) -> Passages:
    """Opens the index, built first when it is missing or of other sources.

    version: of the sources; rows: every passage of them. Raises ArtefactError when it cannot be written.
    """

    def write(db: sqlite3.Connection) -> None:
        db.execute(_TABLE)
        db.executemany(
            "INSERT INTO passage VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((p.id, p.kind, p.title, p.text, p.source, p.review, p.also) for p in rows()),
        )

    digest = hashlib.sha256(f"{LAYOUT}+{version}".encode()).hexdigest()[:16]
    return Passages(compiled(home / "passages.sqlite", digest, write))
