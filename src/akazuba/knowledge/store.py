"""All that the box knows, compiled into one SQLite file: a graph with sources, and columns for ranking.

    node(number, id, kind, name)        kinds: disease, condition, finding, test, drug, guideline, trait
    edge(head, relation, tail, share, source)
    disease(row, id, name)              the annotated rare diseases, in ranking order
    finding_column(id, background, rows, shares)

A case reads a few hundred rows; nothing is loaded at start-up.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from akazuba.compiled import compiled
from akazuba.knowledge import hpoa
from akazuba.records import FindingColumn
from akazuba.terminology import Terminology, source_file

FORMAT = 1
"""Raised when the tables change, so that an old file is left alone."""

LEAST_BACKGROUND = 1e-4
"""A finding of one disease in twelve thousand is not that much rarer among patients (our choice)."""

KEPT_COLUMNS = 64
"""General findings come again and again; each column is a few KiB."""

_TABLES = """
CREATE TABLE node (number INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT, name TEXT);
CREATE TABLE name (key TEXT, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID;
CREATE TABLE edge (
  head INTEGER, relation TEXT, tail INTEGER, share REAL, source TEXT, PRIMARY KEY (head, relation, tail)
) WITHOUT ROWID;
CREATE TABLE disease (row INTEGER PRIMARY KEY, id TEXT, name TEXT);
CREATE TABLE finding_column (id TEXT PRIMARY KEY, background REAL, rows BLOB, shares BLOB) WITHOUT ROWID
"""


class Store:
    """The compiled knowledge, read from a file that never changes. version: of all its sources."""

    def __init__(self, db: sqlite3.Connection, version: str) -> None:
        self.db, self.version = db, version
        self.disease_ids = tuple(id_ for (id_,) in db.execute("SELECT id FROM disease ORDER BY row"))
        self.column = lru_cache(KEPT_COLUMNS)(self._column)

    def _column(self, finding: str) -> FindingColumn | None:
        row = self.db.execute(
            "SELECT background, rows, shares FROM finding_column WHERE id = ?", (finding,)
        ).fetchone()
        if row is None:
            return None
        background, rows, shares = row
        return FindingColumn(np.frombuffer(rows, "<u2"), np.frombuffer(shares, "<f4"), background)

    def name(self, id_: str) -> str:
        """Name of a node."""
        return str(self.db.execute("SELECT name FROM node WHERE id = ?", (id_,)).fetchone()[0])

    def source(self, disease: str, finding: str) -> str | None:
        """Who says that a disease has, or lacks, a finding; None when nobody does."""
        row = self.db.execute(
            "SELECT source FROM edge WHERE head = (SELECT number FROM node WHERE id = ?)"
            " AND tail = (SELECT number FROM node WHERE id = ?)",
            (disease, finding),
        ).fetchone()
        return str(row[0]) if row else None


def open_store(home: Path, terminology: Terminology) -> Store:
    """Opens the compiled knowledge in `home`; builds it first when it is missing or damaged.

    Raises ArtefactError when a source is missing, truncated or of another format, or `home` cannot be
    written.
    """
    annotations = source_file(home, "phenotype.hpoa")
    version = f"{terminology.version}+hpoa-{hpoa.version(annotations)}+f{FORMAT}"

    def write(db: sqlite3.Connection) -> None:
        for table in _TABLES.split(";"):
            db.execute(table)
        _write_rare(db, hpoa.read(annotations, terminology.canonical), terminology)
        db.execute("CREATE INDEX edge_tail ON edge (tail, relation)")

    return Store(compiled(home / f"knowledge-{version}.sqlite", version, write), version)


def _write_rare(
    db: sqlite3.Connection, diseases: Mapping[str, hpoa.RareDisease], terminology: Terminology
) -> None:
    nodes = _Nodes(db)
    columns: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for row, disease in enumerate(diseases.values()):
        db.execute("INSERT INTO disease VALUES (?, ?, ?)", (row, disease.id, disease.name))
        head = nodes.number(disease.id, "disease", disease.name)
        for term, annotation in disease.findings.items():
            share = annotation.share
            relation = "has finding" if share else "lacks finding"
            tail = nodes.number(term, "finding", terminology.label(term))
            nodes.edge(head, relation, tail, share, "; ".join(annotation.sources))
            for above in terminology.ancestors(term) if share else ():
                columns[above][row] = max(share, columns[above].get(row, 0.0))
        for term, source in disease.traits.items():
            nodes.edge(head, "has trait", nodes.number(term, "trait", terminology.label(term)), None, source)
    for term, shares in columns.items():
        rows = np.fromiter(shares, "<u2", len(shares))
        values = np.fromiter(shares.values(), "<f4", len(shares))
        background = max(float(values.sum()) / len(diseases), LEAST_BACKGROUND)
        db.execute(
            "INSERT INTO finding_column VALUES (?, ?, ?, ?)",
            (term, background, rows.tobytes(), values.tobytes()),
        )


class _Nodes:
    """Writes each node once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._numbers: dict[str, int] = {}

    def number(self, id_: str, kind: str, name: str, others: Iterable[str] = ()) -> int:
        """The node's number; others: further names under which it is found."""
        if (known := self._numbers.get(id_)) is not None:
            return known
        number = self._numbers[id_] = len(self._numbers)
        self._db.execute("INSERT INTO node VALUES (?, ?, ?, ?)", (number, id_, kind, name))
        keys = {text.casefold() for text in (id_, name, *others)}
        self._db.executemany("INSERT INTO name VALUES (?, ?)", ((key, number) for key in sorted(keys)))
        return number

    def edge(self, head: int, relation: str, tail: int, share: float | None, source: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO edge VALUES (?, ?, ?, ?, ?)", (head, relation, tail, share, source)
        )
