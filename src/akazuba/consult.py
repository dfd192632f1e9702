"""The story of one consultation, and `open_box`, which opens what it needs.

Urgency is decided by rules before any model runs and no later step changes it. An image that cannot
be read, or an engine that cannot be opened, costs the image reading and never the assessment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from akazuba.diagnosis import profiles
from akazuba.diagnosis.differential import ask_next, rank
from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.diagnosis.evidence import pooled
from akazuba.errors import ArtefactError, CaseError
from akazuba.guidelines.plan import first_actions
from akazuba.guidelines.triage import editions, triage
from akazuba.imaging import look
from akazuba.intake.cases import CaseLine
from akazuba.intake.coded import coded_findings
from akazuba.knowledge import open_knowledge, origin
from akazuba.language.reader import Reader
from akazuba.records import Assessment, Case, KnowledgeTable, Provenance
from akazuba.settings import Settings
from akazuba.terminology import Terminology, open_terminology


@dataclass(frozen=True)
class Box:
    """What one consultation needs. engine: why there is none, when its files cannot be trusted."""

    terminology: Terminology
    reader: Reader
    knowledge: KnowledgeTable
    software: str
    engine: Engine | ArtefactError


def open_box(settings: Settings) -> Box:
    """Opens everything that a consultation needs; slow once (a fraction of a second), then reused.

    Raises ArtefactError when the terminology or the knowledge cannot be opened.
    """
    terminology = open_terminology(settings.home)
    knowledge = open_knowledge()
    software = f"akazuba {version('akazuba')}"
    return Box(terminology, Reader(terminology), knowledge, software, _engine(settings, knowledge))


def _engine(settings: Settings, knowledge: KnowledgeTable) -> Engine | ArtefactError:
    """The engine is the one step that a consultation can do without: a fault costs it and nothing else."""
    try:
        folder = profiles.chosen(settings.engine, settings.home, settings.threads)
        engine = open_engine(settings.threads, folder)
    except ArtefactError as error:
        return error
    known = {condition.id for condition in knowledge.conditions}
    if unknown := sorted(engine.conditions - known):
        return ArtefactError(engine.version, f"conditions of knowledge {knowledge.version}", unknown[0])
    return engine


def assess(box: Box, line: CaseLine, heatmaps: Path | None = None) -> Assessment:
    """Assesses one case. A case that cannot be used gives an Assessment with only its `error`.

    heatmaps: folder for the heatmap overlays (PNG), one for each image that was labelled.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    try:
        return _assess(box, line, line.case, heatmaps)
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))


def _assess(box: Box, line: CaseLine, case: Case, heatmaps: Path | None) -> Assessment:
    terms = box.terminology
    clock = _Clock()

    note = box.reader.read(case.note, case.language)
    findings = coded_findings(case, terms.label, terms.canonical) + note.findings
    clock.lap("language")

    urgency = triage(case, findings, note.understood, terms.ancestors)
    actions = first_actions(urgency)
    clock.lap("triage")

    readings = [look(box.engine, line, case, note, reference, heatmaps) for reference in case.images]
    evidence = pooled([reading.evidence for reading in readings if reading.evidence])
    clock.lap("images")

    ranking = rank(box.knowledge, findings, case.patient, case.setting, evidence, terms.ancestors)
    questions = ask_next(box.knowledge, ranking, findings, terms.ancestors)
    clock.lap("differential")

    return Assessment(
        case_id=case.id,
        triage=urgency,
        findings=findings,
        note_unread=None if note.understood or not case.note.strip() else note.why,
        differential=ranking.candidates,
        prediction_set=ranking.prediction_set,
        coverage=ranking.coverage,
        abstained=ranking.abstained,
        why=ranking.why,
        images=tuple(reading.image for reading in readings),
        token_attribution=next((r.token_attribution for r in readings if r.token_attribution), ()),
        ask_next=questions,
        plan=actions,
        narrative=None,
        provenance=Provenance(
            input_sha256=line.input_sha256,
            models=box.engine.digests if isinstance(box.engine, Engine) else {},
            knowledge=f"{origin(box.knowledge)}; {terms.version}",
            guidelines=editions(),
            software=box.software,
            not_read=line.ignored,
        ),
        timings_ms=clock.laps_ms(),
    )


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round((now - self._last) * 1e3, 2)
        self._last = now

    def laps_ms(self) -> Mapping[str, float]:
        return {**self._laps, "total": round((time.perf_counter() - self._start) * 1e3, 2)}
