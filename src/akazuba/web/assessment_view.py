"""An assessment as the page shows it: every number beside what it stands on.

The words are said in the tablet's language here; the template puts them in order and adds none of its own
about a patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from akazuba.guidelines.inputs import Input
from akazuba.llm.facts import percent
from akazuba.llm.narrative import by_rules
from akazuba.page import LEVELS, decided, group_of, times
from akazuba.records import (
    Action,
    Assessment,
    Candidate,
    Case,
    Evidence,
    Finding,
    ImageReading,
    Narrative,
    Protocol,
    Sensed,
    TokenWeight,
    Triage,
)
from akazuba.web.pages import document_words
from akazuba.web.vitals import VITALS, Field
from akazuba.wording.catalogue import Language
from akazuba.wording.documents import in_language
from akazuba.wording.names import label, valued

SHOWN = 5
WIDEST = math.log(1000.0)
"""A likelihood ratio of 1000 fills a bar."""

ICONS = {"red": "!", "yellow": "▲", "green": "✓", "unassessed": "?"}
"""A shape for each level, so that nobody depends on the colour."""


@dataclass(frozen=True)
class Bar:
    """One finding's weight. width: 0 to 100, by the logarithm of the ratio. speaks: for or against."""

    name: str
    times: str
    width: float
    source: str
    speaks_for: bool


@dataclass(frozen=True)
class Row:
    """One line of the differential. turned: what would change it, and to which probability."""

    place: int
    candidate: Candidate
    share: str
    bars: tuple[Bar, ...]
    turned: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """One region of a heatmap, in percent of the picture. opacity: 0 to 1."""

    x: float
    y: float
    width: float
    height: float
    opacity: float


@dataclass(frozen=True)
class Seen:
    """One picture. labels: name and share. cells: where the picture speaks for the first label."""

    number: int
    image: ImageReading
    labels: tuple[tuple[str, str, float], ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Piece:
    """A piece of the note. kind: how it was understood, "" for the rest of the text."""

    text: str
    kind: str = ""
    title: str = ""


@dataclass(frozen=True)
class Asked:
    """A question of guidelines. item: what may be answered in place, None where nobody knows it.

    place: where the page puts the answer: `field NAME` of its form, `finding ID`, or `answer`.
    """

    question: str
    decides: str
    item: Input | None = None
    place: str = ""


@dataclass(frozen=True)
class View:
    """said: the assessment in the tablet's language; the other fields are worked out from it.

    because: for each action of the plan, the values for which it is there.
    sensed: which vital signs of the case came from sensors.
    """

    said: Assessment
    case: Case
    level: str
    title: str
    icon: str
    triage: Triage
    rows: tuple[Row, ...]
    late: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    images: tuple[Seen, ...]
    note: tuple[Piece, ...]
    words: tuple[TokenWeight, ...]
    narrative: Narrative | None
    asked: tuple[Asked, ...]
    refused: tuple[str, ...] = ()
    untranslated: bool = False
    plan: tuple[Action, ...] = field(default=())
    because: tuple[str, ...] = ()
    protocols: tuple[Protocol, ...] = field(default=())
    sensed: tuple[tuple[Field, Sensed], ...] = ()


def seen(
    assessment: Assessment, case: Case, language: str, inputs: Mapping[str, Input] = MappingProxyType({})
) -> View:
    """assessment: in English, as it is recorded. inputs: of the guidelines, to answer questions in place."""
    words = document_words(language)
    said = in_language(assessment, words)
    untranslated = bool(words.unsaid)
    triage = said.triage or Triage("unassessed")
    findings = said.findings or ()
    candidates = said.differential or ()
    guidelines = said.provenance.guidelines if said.provenance else ()
    return View(
        said=said,
        case=case,
        level=triage.level,
        title=LEVELS[triage.level][0],
        icon=ICONS[triage.level],
        triage=triage,
        rows=tuple(_row(place, candidate) for place, candidate in enumerate(candidates[:SHOWN], 1)),
        late=tuple(f"{c.name} {percent(c.probability)}" for c in candidates[SHOWN:] if c.must_not_miss),
        groups=_groups(findings),
        images=tuple(_seen(number, image) for number, image in enumerate(said.images or ())),
        note=_marked(case.note, findings),
        words=tuple(sorted(said.token_attribution or (), key=lambda word: -abs(word.weight))[:SHOWN]),
        narrative=by_rules(assessment, words),
        asked=_asked(said.protocols or (), inputs, words.language),
        refused=tuple(name for name in guidelines if "REFUSED" in name),
        untranslated=untranslated,
        plan=said.plan or (),
        because=tuple(words.join(valued(*each) for each in a.because.items()) for a in said.plan or ()),
        protocols=tuple(p for p in said.protocols or () if any(p.answers.values())),
        sensed=tuple((each, read) for each in VITALS if (read := case.from_sensors.get(each.name))),
    )


def _row(place: int, candidate: Candidate) -> Row:
    bars = (*_bars(candidate.evidence, speaks_for=True), *_bars(candidate.evidence_against, speaks_for=False))
    turned = tuple((t.if_, percent(t.probability)) for t in candidate.counterfactuals)
    return Row(place, candidate, percent(candidate.probability), bars, turned)


def _bars(evidence: Sequence[Evidence], *, speaks_for: bool) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            e.finding if e.present or (e.finding_id or "").startswith("test:") else f"✗ {e.finding}",
            times(e.likelihood_ratio),
            round(min(100.0, 100 * abs(math.log(max(e.likelihood_ratio, 1e-9))) / WIDEST), 1),
            e.source,
            speaks_for,
        )
        for e in evidence
    )


def _groups(findings: Sequence[Finding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """As they were understood; not what a normal vital sign rules out."""
    found: dict[str, dict[str, None]] = {}
    for finding in findings:
        if finding.source == "vitals" and not finding.present:
            continue
        name = finding.name
        if finding.source == "test":
            name = f"{name} {'+' if finding.present else '−'}"
        found.setdefault(group_of(finding), {})[name] = None
    return tuple((group, tuple(names)) for group, names in found.items())


def _seen(number: int, image: ImageReading) -> Seen:
    ranked = sorted(image.labels.items(), key=lambda item: -item[1])
    labels = tuple((label(name), percent(share), round(100 * share, 1)) for name, share in ranked)
    return Seen(number, image, labels, _cells(image.heatmap_grid))


def _cells(grid: Sequence[Sequence[float]]) -> tuple[Cell, ...]:
    top = max((max(row) for row in grid), default=0.0)
    if top <= 0:
        return ()
    height, width = 100 / len(grid), 100 / len(grid[0])
    return tuple(
        Cell(column * width, row * height, width, height, round(0.75 * max(0.0, value) / top, 2))
        for row, values in enumerate(grid)
        for column, value in enumerate(values)
        if value > 0
    )


def _marked(note: str, findings: Sequence[Finding]) -> tuple[Piece, ...]:
    """The note with what was understood marked; of pieces that overlap, the first."""
    pieces, at = list[Piece](), 0
    spans = sorted(
        (f for f in findings if f.span and f.source in ("note", "model")), key=lambda f: f.span or (0, 0)
    )
    for finding in spans:
        begin, end = finding.span or (0, 0)
        if begin < at or end > len(note):
            continue
        pieces += [Piece(note[at:begin]), Piece(note[begin:end], group_of(finding), finding.name)]
        at = end
    return tuple(piece for piece in (*pieces, Piece(note[at:])) if piece.text)


def _asked(
    protocols: Sequence[Protocol], inputs: Mapping[str, Input], language: Language
) -> tuple[Asked, ...]:
    """What the guidelines would have to know, each question once."""
    found: dict[str, Asked] = {}
    for protocol in protocols:
        for missing in protocol.missing:
            item = inputs.get(missing.input)
            asked = Asked(
                missing.question, decided(protocol, missing, language), item, place_of(item) if item else ""
            )
            found.setdefault(missing.question, asked)
    return tuple(found.values())


def place_of(item: Input) -> str:
    """Where an answer belongs, so that triage and ranking see it too where they can.

    >>> place_of(Input("severe_headache", "flag", from_=("finding AKZ:0000036",)))
    'finding AKZ:0000036'
    >>> place_of(Input("spo2_percent", "number", from_=("vitals spo2_percent",)))
    'field vitals.spo2_percent'
    >>> place_of(Input("smoker", "flag"))
    'answer'
    """
    room, _, what = item.from_[0].partition(" ") if item.from_ else ("", "", "")
    if room in ("patient", "vitals"):
        return f"field {room}.{what}"
    if room == "case":
        return f"field {what}"
    alone = item.kind == "flag" and len(item.from_) == 1 and room == "finding"
    return f"finding {what}" if alone and "=" not in what else "answer"
