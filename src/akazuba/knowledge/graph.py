"""The knowledge as a graph: what a node is joined to and how two hang together, each edge with its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from akazuba.errors import InputError
from akazuba.knowledge.store import Store

SUGGESTED = 5
MOST_STEPS = 4
"""Length of the longest path that is looked for: beyond it everything hangs together."""

COMMON = 2_000
"""A node with more edges than this (a sign of thousands of diseases) joins nothing worth telling."""


@dataclass(frozen=True)
class Node:
    number: int
    id: str
    kind: str
    name: str


@dataclass(frozen=True)
class Edge:
    """share: P(tail | head) for "has finding". source: who says so, or "unverified"."""

    head: Node
    relation: str
    tail: Node
    share: float | None
    source: str


_FIND = """
SELECT node.number, id, kind, node.name FROM name JOIN node USING (number) WHERE key = ?
ORDER BY kind != 'condition', kind != 'disease', node.name != ? COLLATE NOCASE, node.number LIMIT 1
"""

_EDGES = """
SELECT h.number, h.id, h.kind, h.name, edge.relation, t.number, t.id, t.kind, t.name, edge.share, edge.source
FROM edge JOIN node h ON h.number = edge.head JOIN node t ON t.number = edge.tail
"""


class Graph:
    def __init__(self, store: Store) -> None:
        self._db = store.db

    def find(self, name: str) -> Node:
        """The node of an id, a name or a synonym; conditions of primary care before rare diseases.

        Raises InputError with the nearest names when there is none.
        """
        key = name.casefold().strip()
        row = self._db.execute(_FIND, (key, name)).fetchone()
        if row is None:
            near = self._near(key)
            hint = f"none of that name; near: {', '.join(near)}" if near else "none of that name"
            raise InputError(repr(name), "a disease, finding, test, drug or guideline of the knowledge", hint)
        return Node(*row)

    def _near(self, key: str) -> list[str]:
        """Names that contain every word, the shortest first."""
        words = [word for word in key.split() if len(word) > 2] or [key]
        where = " AND ".join("key LIKE ?" for _ in words)
        query = f"SELECT DISTINCT key FROM name WHERE {where} ORDER BY length(key) LIMIT ?"  # noqa: S608
        rows = self._db.execute(query, (*(f"%{word}%" for word in words), SUGGESTED))
        return [str(row[0]) for row in rows]

    def edges_of(self, node: Node) -> list[Edge]:
        """All edges that leave or reach a node: what it has first, the most frequent first."""
        leaving = self._edges("edge.head = ?", node.number)
        reaching = self._edges("edge.tail = ?", node.number)
        by_share = sorted(leaving, key=lambda e: (e.relation, -(e.share or 0), e.tail.name))
        return by_share + sorted(reaching, key=lambda e: (e.relation, -(e.share or 0), e.head.name))

    def _edges(self, where: str, number: int) -> Iterator[Edge]:
        for row in self._db.execute(f"{_EDGES} WHERE {where}", (number,)):
            yield Edge(Node(*row[:4]), row[4], Node(*row[5:9]), row[9], row[10])

    def path(self, start: Node, end: Node) -> list[Edge]:
        """A shortest chain of edges between two nodes, in either direction; empty when none is short enough.

        What thousands of diseases have in common joins nothing.
        """
        before: dict[int, tuple[int, Edge] | None] = {start.number: None}
        rim = [start]
        for _ in range(MOST_STEPS):
            following = []
            for node in rim:
                edges = self.edges_of(node) if node == start or self._degree(node) <= COMMON else []
                for edge in edges:
                    other = edge.tail if edge.head == node else edge.head
                    if other.number in before:
                        continue
                    before[other.number] = (node.number, edge)
                    if other == end:
                        return _back(before, end.number)
                    following.append(other)
            rim = following
        return []

    def _degree(self, node: Node) -> int:
        query = "SELECT count(*) FROM (SELECT 1 FROM edge WHERE head = ? OR tail = ? LIMIT ?)"
        row = self._db.execute(query, (node.number, node.number, COMMON + 1)).fetchone()
        return int(row[0])


def _back(before: dict[int, tuple[int, Edge] | None], number: int) -> list[Edge]:
    chain: list[Edge] = []
    while (step := before[number]) is not None:
        number, edge = step
        chain.append(edge)
    return chain[::-1]
