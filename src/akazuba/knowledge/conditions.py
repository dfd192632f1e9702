"""Conditions of primary care and how often each finding goes with them, as data (`common/*.json`).

`about.json` says what the figures mean, `findings.json` names the findings, `tests.json` what a test costs,
every other file holds the conditions of one chapter. All is read once into immutable arrays; nothing here
ranks. Figures without an opened source say "unverified", and `verified_share` says how many have one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from akazuba.datafile import read_rows, refuse_repeats
from akazuba.errors import ArtefactError, CaseError
from akazuba.records import PRIOR_FACTORS, Condition, KnowledgeTable, Value
from akazuba.terminology import Ancestors, kinds_of

UNVERIFIED = "unverified"

ABOUT, FINDINGS, TESTS = "about.json", "findings.json", "tests.json"

QUESTION_S = 30.0
"""What it costs to ask or to look, in seconds of a nurse's time (our choice)."""

Decoded = TypeVar("Decoded")
Row = TypeVar("Row", bound=Value)

Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$")]
Words = Annotated[str, Meta(min_length=2)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Factor = Annotated[float, Meta(gt=0, le=100)]
Factors = tuple[Factor, ...]
FindingId = Annotated[str, Meta(pattern=r"^((HP|AKZ):\d{7}|test:[a-z0-9-]+)$")]
Coding = Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9.]{2,8}$")]


class About(Value, frozen=True):
    """source, review: of every condition that states none of its own."""

    version: Words
    source: Words
    review: Words
    notes: tuple[str, ...]


class FindingRow(Value, frozen=True):
    """background: P(finding | a patient without any condition that lists it).

    group: of findings that rise and fall together. also: ids that a note may mean the same by.
    """

    name: Words
    id: FindingId
    background: Share
    group: Slug | None = None
    also: tuple[FindingId, ...] = ()


class TestRow(Value, frozen=True):
    """What a test costs: hands-on and waiting time, price, and where it is done."""

    __test__ = False  # not a pytest class

    id: FindingId
    hands_on_s: Annotated[float, Meta(gt=0)]
    wait_s: Annotated[float, Meta(ge=0)]
    price_usd: Annotated[float, Meta(ge=0)]
    level: Literal["post", "hospital"]


class ConditionRow(Value, frozen=True):
    """findings: name in the table of findings -> P(finding | condition).

    sex, age, malaria, hiv, season, region: multipliers of the prior, one for each level of `PRIOR_FACTORS`.
    red_flags: what makes it an emergency. drugs: names of ordinary first-line medicines, never a dose.
    """

    id: Slug
    name: Words
    prior: Share
    findings: Annotated[Mapping[str, Share], Meta(min_length=1)]
    synonyms: tuple[Words, ...] = ()
    lay: tuple[Words, ...] = ()
    ids: Mapping[str, Coding] = {}
    must_not_miss: bool = False
    sex: Factors = ()
    age: Factors = ()
    malaria: Factors = ()
    hiv: Factors = ()
    season: Factors = ()
    region: Factors = ()
    onset: Literal["sudden", "hours", "days", "weeks", "months", "years"] | None = None
    course: Literal["acute", "recurrent", "chronic", "progressive"] | None = None
    red_flags: tuple[Words, ...] = ()
    tests: tuple[Words, ...] = ()
    drugs: tuple[Words, ...] = ()
    guidelines: tuple[Words, ...] = ()
    source: Words | None = None
    review: Words | None = None


@dataclass(frozen=True)
class CommonKnowledge:
    """rows: the conditions in full, in the order of the table's. finding_ids: by a finding's name.

    refused: (plugin, why) of the brought folders that could not be used.
    """

    about: About
    rows: tuple[ConditionRow, ...]
    finding_ids: Mapping[str, str]
    table: KnowledgeTable
    refused: tuple[tuple[str, str], ...] = ()


def open_knowledge(
    brought: Sequence[tuple[str, Path]] = (), ancestors: Ancestors = lambda id_: frozenset((id_,))
) -> CommonKnowledge:
    """The knowledge inside the package, and what plugins add to it.

    brought: folders of further rows, each with its plugin. ancestors: of the terms that its findings are.
    Raises ArtefactError like `read_knowledge`; for a brought folder that cannot be used, it is in `refused`.
    """
    folder = resources.files("akazuba.knowledge") / "common"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    knowledge, refused = read_knowledge(files), list[tuple[str, str]]()
    for plugin, path in brought:
        try:
            more = with_brought(files, knowledge, plugin, path)
            larger = read_knowledge(more)
            _refuse_unfit_findings(larger.table, knowledge.table, ancestors)
        except ArtefactError as problem:
            refused.append((plugin, str(problem)))
        else:
            files, knowledge = more, larger
    return replace(knowledge, refused=tuple(refused)) if refused else knowledge


def with_brought(
    files: Mapping[str, bytes], known: CommonKnowledge, plugin: str, folder: Path
) -> dict[str, bytes]:
    """The files with a plugin's rows beside them; each of its conditions says whose it is.

    Raises ArtefactError for files that cannot be read, and for a name that the box gives a condition already.
    """
    try:
        given = {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
    except OSError as problem:
        raise ArtefactError(f"knowledge {folder.name}", "files that can be read", str(problem)) from problem
    if not given or ABOUT in given:
        expected = "files of findings, tests and conditions (each row states its own source)"
        raise ArtefactError(f"knowledge {folder.name}", expected, ABOUT if given else "none")
    more, names = dict(files), {row.name.casefold() for row in known.rows}
    for name, data in given.items():
        rows = _decoded(data, name, list[dict[str, object]])
        if name in (FINDINGS, TESTS):
            more[name] = msgspec.json.encode([*_decoded(files[name], name, tuple[msgspec.Raw, ...]), *rows])
            continue
        for row in rows:
            if str(row.get("name", "")).casefold() in names:
                raise ArtefactError(f"{name}, condition {row['name']}", "a name of its own", "one of the box")
            row["review"] = f"{row.get('review') or known.about.review} (plugin {plugin})"
        more[f"plugin {plugin}/{name}"] = msgspec.json.encode(rows)
    return more


def _refuse_unfit_findings(larger: KnowledgeTable, known: KnowledgeTable, ancestors: Ancestors) -> None:
    """A finding more general than one of the box would change what the box's own finding means."""
    old = {*known.finding_ids, *known.aliases}
    for id_ in ({*larger.finding_ids, *larger.aliases}) - old:
        item = f"{FINDINGS}, finding {id_}"
        try:
            kinds_of(id_, ancestors)
        except CaseError as problem:
            raise ArtefactError(item, "an id that the terms have", problem.found) from problem
        if below := sorted(other for other in old if id_ in kinds_of(other, ancestors)):
            raise ArtefactError(item, "no finding above one of the box", f"{below[0]} is a kind of it")


def read_knowledge(files: Mapping[str, bytes]) -> CommonKnowledge:
    """Checks the files of the knowledge and lays them out as arrays.

    Raises ArtefactError that names the file and the condition or finding.
    """
    if missing := sorted({ABOUT, FINDINGS, TESTS} - files.keys()):
        raise ArtefactError(missing[0], "a file of the knowledge", "none")
    about = _decoded(files[ABOUT], ABOUT, About)
    findings = _rows(files, FINDINGS, FindingRow, "finding")
    refuse_repeats(f"{FINDINGS}, finding", (finding.name for finding in findings))
    refuse_repeats(
        f"{FINDINGS}, finding", (id_ for finding in findings for id_ in (finding.id, *finding.also))
    )
    chapters = sorted(files.keys() - {ABOUT, FINDINGS, TESTS})
    rows = {name: _rows(files, name, ConditionRow, "condition") for name in chapters}
    for name in chapters:
        _check_factors(name, rows[name])
    conditions = tuple(sorted((row for name in chapters for row in rows[name]), key=lambda row: row.id))
    refuse_repeats("condition", (row.id for row in conditions))
    column = {finding.name: place for place, finding in enumerate(findings)}
    sensitivity = np.full((len(conditions), len(findings)), np.nan, np.float32)
    for place, row in enumerate(conditions):
        for name, share in row.findings.items():
            if name not in column:
                raise ArtefactError(f"condition {row.id}", f"findings of {FINDINGS}", repr(name))
            sensitivity[place, column[name]] = share
    prior = np.array([row.prior for row in conditions])
    if prior.sum() > 1:
        raise ArtefactError("the knowledge", "priors that sum to at most 1", f"{prior.sum():.3f}")
    background = np.array([finding.background for finding in findings])
    tests = _rows(files, TESTS, TestRow, "test")
    cost = _cost(findings, tests)
    in_hospital = frozenset(test.id for test in tests if test.level == "hospital")
    factors = {
        name: np.array([getattr(row, name) or (1.0,) * len(levels) for row in conditions])
        for name, levels in PRIOR_FACTORS.items()
    }
    for array in (prior, sensitivity, background, cost, *factors.values()):
        array.flags.writeable = False
    digest = hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files)))
    table = KnowledgeTable(
        tuple(_condition(row, about) for row in conditions),
        tuple(finding.id for finding in findings),
        tuple(finding.name for finding in findings),
        prior,
        sensitivity,
        background,
        cost,
        in_hospital,
        factors,
        tuple(finding.group or finding.id for finding in findings),
        {id_: finding.id for finding in findings for id_ in finding.also},
        version=f"{about.version}+{digest.hexdigest()[:8]}",
    )
    return CommonKnowledge(about, conditions, {f.name: f.id for f in findings}, table)


def _decoded(text: bytes, file: str, kind: type[Decoded]) -> Decoded:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as problem:
        raise ArtefactError(file, "a file of the knowledge", str(problem)) from problem


def _rows(files: Mapping[str, bytes], file: str, kind: type[Row], what: str) -> tuple[Row, ...]:
    return read_rows(_decoded(files[file], file, tuple[msgspec.Raw, ...]), kind, f"{file}, {what}")


def _check_factors(file: str, rows: tuple[ConditionRow, ...]) -> None:
    for row in rows:
        for name, levels in PRIOR_FACTORS.items():
            if (found := len(getattr(row, name))) not in (0, len(levels)):
                item = f"{file}, condition {row.id}, {name}"
                raise ArtefactError(item, f"{len(levels)} numbers ({', '.join(levels)})", f"{found}")


def _cost(findings: tuple[FindingRow, ...], tests: tuple[TestRow, ...]) -> npt.NDArray[np.float64]:
    """(F,) what it costs to learn of a finding, in seconds of a nurse's time."""
    by_id = {test.id: test for test in tests}
    known = {finding.id for finding in findings}
    if unknown := sorted(by_id.keys() - known):
        raise ArtefactError(f"{TESTS}, test {unknown[0]}", f"a finding of {FINDINGS}", "none of that id")
    unpriced = [f.id for f in findings if f.id.startswith("test:") and f.id not in by_id]
    if unpriced:
        raise ArtefactError(f"{TESTS}", f"a row for {unpriced[0]}", "none")
    return np.array([_seconds(by_id.get(finding.id)) for finding in findings])


def _seconds(test: TestRow | None) -> float:
    """A dollar counts as two minutes, waiting as a twentieth of work."""
    if test is None:
        return QUESTION_S
    return QUESTION_S + test.hands_on_s + test.wait_s / 20 + test.price_usd * 120


def _condition(row: ConditionRow, about: About) -> Condition:
    return Condition(
        id=row.id,
        name=row.name,
        source=row.source or about.source,
        review=row.review or about.review,
        synonyms=row.synonyms,
        ids=row.ids,
        must_not_miss=row.must_not_miss,
        red_flags=row.red_flags,
        tests=row.tests,
    )


def verified_share(table: KnowledgeTable) -> float:
    """Share of the conditions whose figures cite a source that was opened, 0 to 1."""
    verified = sum(condition.source != UNVERIFIED for condition in table.conditions)
    return verified / len(table.conditions)


def origin(table: KnowledgeTable) -> str:
    """Version and verified share in words, as an assessment shows them."""
    share = f"{verified_share(table):.0%} of {len(table.conditions)} conditions"
    return f"{table.version} ({share} cite a source that was opened)"
