"""All that the box knows, compiled into one SQLite file: a graph with sources, and columns for ranking.

    node(number, id, kind, name)        kinds: disease, condition, finding, test, drug, guideline, red flag,
                                        code, trait (onset, course, inheritance)
    name(key, number)                   every name and synonym of a node, in lower case
    edge(head, relation, tail, share, source)
    disease(row, id, name)              the annotated rare diseases, in ranking order
    finding_column(id, background, rows, shares)

A case reads a few hundred rows; nothing is loaded at start-up.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from akazuba.compiled import compiled
from akazuba.knowledge import hpoa
from akazuba.knowledge.conditions import CommonKnowledge
from akazuba.knowledge.cross_references import Concept, read_mondo, read_orphanet
from akazuba.records import FindingColumn
from akazuba.terminology import SOURCES, Terminology, source_file

FORMAT = 1
"""Raised when the tables change, so that an old file is left alone."""

MONDO, ORPHANET = "mondo", "orphanet.xml"
"""Names of the further sources in the folder that `akazuba knowledge update` fills."""

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


def open_store(home: Path, terminology: Terminology, common: CommonKnowledge) -> Store:
    """Opens the compiled knowledge in `home`; builds it first when it is missing or damaged.

    Raises ArtefactError when a source is missing, truncated or of another format, or `home` cannot be
    written.
    """
    annotations = source_file(home, "phenotype.hpoa")
    release = hpoa.version(annotations)
    further = {name: home / SOURCES / name for name in (MONDO, ORPHANET) if (home / SOURCES / name).is_file()}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in further.values()]
    more = "".join(f"+{name}-{digest}" for name, digest in zip(further, digests, strict=True))
    version = f"{terminology.version}+hpoa-{release}{more}+{common.table.version}+f{FORMAT}"

    def write(db: sqlite3.Connection) -> None:
        for table in _TABLES.split(";"):
            db.execute(table)
        nodes = _Nodes(db)
        _write_common(nodes, common, terminology)
        diseases = hpoa.read(annotations, terminology.canonical)
        if ORPHANET in further:
            _add_orphanet(diseases, read_orphanet(further[ORPHANET]), terminology)
        _write_rare(db, nodes, diseases, terminology)
        if MONDO in further:
            _write_mondo(nodes, read_mondo(further[MONDO]), diseases.keys())
        db.execute("CREATE INDEX edge_tail ON edge (tail, relation)")

    return Store(compiled(home / f"knowledge-{version}.sqlite", version, write), version)


def _write_rare(
    db: sqlite3.Connection,
    nodes: _Nodes,
    diseases: Mapping[str, hpoa.RareDisease],
    terminology: Terminology,
) -> None:
    columns: defaultdict[str, dict[int, float]] = defaultdict(dict)
    label = cache(terminology.label)  # the same terms in disease after disease
    for row, disease in enumerate(diseases.values()):
        db.execute("INSERT INTO disease VALUES (?, ?, ?)", (row, disease.id, disease.name))
        head = nodes.number(disease.id, "disease", disease.name)
        for term, annotation in disease.findings.items():
            share = annotation.share
            relation = "has finding" if share else "lacks finding"
            tail = nodes.number(term, "finding", label(term))
            nodes.edge(head, relation, tail, share, "; ".join(annotation.sources))
            for above in terminology.ancestors(term) if share else ():
                shares = columns[above]
                if share > shares.get(row, 0.0):
                    shares[row] = share
        for term, source in disease.traits.items():
            nodes.edge(head, "has trait", nodes.number(term, "trait", label(term)), None, source)
    for term, shares in columns.items():
        rows = np.fromiter(shares, "<u2", len(shares))
        values = np.fromiter(shares.values(), "<f4", len(shares))
        background = max(float(values.sum()) / len(diseases), LEAST_BACKGROUND)
        db.execute(
            "INSERT INTO finding_column VALUES (?, ?, ?, ?)",
            (term, background, rows.tobytes(), values.tobytes()),
        )


def _add_orphanet(
    diseases: dict[str, hpoa.RareDisease], newer: Mapping[str, hpoa.RareDisease], terminology: Terminology
) -> None:
    """Orphanet's own file replaces what the HPO release says of its disorders."""
    for id_, disease in newer.items():
        findings = {terminology.canonical(term): found for term, found in disease.findings.items()}
        traits = diseases[id_].traits if id_ in diseases else {}
        diseases[id_] = hpoa.RareDisease(id_, disease.name, findings, traits)


def _write_mondo(nodes: _Nodes, concepts: Iterable[Concept], known: Collection[str]) -> None:
    """Which annotated diseases are one disease, and further names for them."""
    for concept in concepts:
        if others := [id_ for id_ in concept.others if id_ in known]:
            number = nodes.number(concept.id, "concept", concept.name, concept.synonyms)
            for id_ in others:
                nodes.edge(nodes.number(id_, "disease", concept.name), "same as", number, None, concept.id)


def _write_common(nodes: _Nodes, common: CommonKnowledge, terminology: Terminology) -> None:
    """The conditions of primary care: findings, confirming tests, first-line medicines, guidelines."""
    for row in common.rows:
        source = row.source or common.about.source
        head = nodes.number(f"akz:{row.id}", "condition", row.name, (row.id, *row.synonyms, *row.lay))
        for name, share in row.findings.items():
            id_ = common.finding_ids[name]
            label = name if id_.startswith("test:") else terminology.label(id_)
            kind = "test" if id_.startswith("test:") else "finding"
            nodes.edge(head, "has finding", nodes.number(id_, kind, label, (name,)), share, source)
        for relation, kind, names in (
            ("confirmed by", "test", row.tests),
            ("treated with", "drug", row.drugs),
            ("follows", "guideline", row.guidelines),
            ("emergency with", "red flag", row.red_flags),
        ):
            for name in names:
                nodes.edge(head, relation, nodes.number(f"{kind}:{name}", kind, name), None, source)
        for system, code in row.ids.items():
            nodes.edge(head, "coded as", nodes.number(f"{system}:{code}", "code", code), None, source)


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
