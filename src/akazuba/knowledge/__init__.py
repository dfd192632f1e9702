"""Conditions and how often each finding goes with them, as data (`conditions.json`).

The file is read once into immutable arrays; nothing here ranks. Figures without an opened source say
"unverified", and `verified_share` says how many have one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.datafile import read_rows, refuse_repeats
from akazuba.errors import ArtefactError
from akazuba.records import AGE_BANDS_YEARS, MALARIA_ZONES, Condition, KnowledgeTable, Value

UNVERIFIED = "unverified"

Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$")]
Words = Annotated[str, Meta(min_length=2)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Factor = Annotated[float, Meta(gt=0, le=100)]
FindingId = Annotated[str, Meta(pattern=r"^((HP|AKZ):\d{7}|test:[a-z0-9-]+)$")]
Coding = Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9.]{2,8}$")]

_SEX = (1.0,) * 2
_AGE = (1.0,) * len(AGE_BANDS_YEARS)
_MALARIA = (1.0,) * len(MALARIA_ZONES)


class _FindingRow(Value, frozen=True):
    """background: P(finding | a patient without any condition that lists it)."""

    name: Words
    id: FindingId
    background: Share


class _ConditionRow(Value, frozen=True):
    """findings: name in the table of findings -> P(finding | condition)."""

    id: Slug
    name: Words
    prior: Share
    findings: Annotated[Mapping[str, Share], Meta(min_length=1)]
    synonyms: tuple[Words, ...] = ()
    ids: Mapping[str, Coding] = {}
    must_not_miss: bool = False
    sex: Annotated[tuple[Factor, ...], Meta(min_length=len(_SEX), max_length=len(_SEX))] = _SEX
    age: Annotated[tuple[Factor, ...], Meta(min_length=len(_AGE), max_length=len(_AGE))] = _AGE
    malaria: Annotated[tuple[Factor, ...], Meta(min_length=len(_MALARIA), max_length=len(_MALARIA))] = (
        _MALARIA
    )
    source: Words | None = None
    review: Words | None = None


class _File(Value, frozen=True):
    """source, review: of every condition that states none of its own."""

    version: Words
    source: Words
    review: Words
    notes: tuple[str, ...]
    findings: tuple[msgspec.Raw, ...]
    conditions: tuple[msgspec.Raw, ...]


def open_knowledge() -> KnowledgeTable:
    """The knowledge inside the package. Raises ArtefactError like `read_knowledge`."""
    return read_knowledge(
        (resources.files("akazuba.knowledge") / "conditions.json").read_bytes(), "conditions.json"
    )


def read_knowledge(text: bytes, file: str) -> KnowledgeTable:
    """Checks a knowledge file and lays it out as arrays.

    Raises ArtefactError that names the file and the condition or finding.
    """
    try:
        raw = msgspec.json.decode(text, type=_File)
    except msgspec.DecodeError as problem:
        raise ArtefactError(file, "a knowledge file", str(problem)) from problem
    findings = read_rows(raw.findings, _FindingRow, f"{file}, finding")
    rows = read_rows(raw.conditions, _ConditionRow, f"{file}, condition")
    refuse_repeats(f"{file}, finding", (finding.name for finding in findings))
    refuse_repeats(f"{file}, finding", (finding.id for finding in findings))
    refuse_repeats(f"{file}, condition", (row.id for row in rows))
    column = {finding.name: place for place, finding in enumerate(findings)}
    sensitivity = np.full((len(rows), len(findings)), np.nan)
    for place, row in enumerate(rows):
        for name, share in row.findings.items():
            if name not in column:
                raise ArtefactError(f"{file}, condition {row.id}", "findings of this file", repr(name))
            sensitivity[place, column[name]] = share
    prior = np.array([row.prior for row in rows])
    if prior.sum() > 1:
        raise ArtefactError(file, "priors that sum to at most 1", f"{prior.sum():.3f}")
    arrays = (
        prior,
        sensitivity,
        np.array([finding.background for finding in findings]),
        np.array([row.sex for row in rows]),
        np.array([row.age for row in rows]),
        np.array([row.malaria for row in rows]),
    )
    for array in arrays:
        array.flags.writeable = False
    return KnowledgeTable(
        tuple(
            Condition(
                id=row.id,
                name=row.name,
                source=row.source or raw.source,
                review=row.review or raw.review,
                synonyms=row.synonyms,
                ids=row.ids,
                must_not_miss=row.must_not_miss,
            )
            for row in rows
        ),
        tuple(finding.id for finding in findings),
        tuple(finding.name for finding in findings),
        *arrays,
        version=f"{raw.version}+{hashlib.sha256(text).hexdigest()[:8]}",
    )


def verified_share(table: KnowledgeTable) -> float:
    """Share of the conditions whose figures cite a source that was opened, 0 to 1."""
    verified = sum(condition.source != UNVERIFIED for condition in table.conditions)
    return verified / len(table.conditions)


def origin(table: KnowledgeTable) -> str:
    """Version and verified share in words, as an assessment shows them."""
    share = f"{verified_share(table):.0%} of {len(table.conditions)} conditions"
    return f"{table.version} ({share} cite a source that was opened)"
