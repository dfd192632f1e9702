"""The story of one consultation, and `open_box`, which opens what it needs.

Urgency is decided by rules before any model runs and no later step changes it. An image that cannot
be read, or an engine that cannot be opened, costs the image reading and never the assessment.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import msgspec

from akazuba.diagnosis.differential import ask_next, rank
from akazuba.diagnosis.engine import Engine, Reading, heatmap_png, open_engine
from akazuba.errors import ArtefactError, CaseError, ImageError, encodable, why_not_opened
from akazuba.guidelines.plan import first_actions
from akazuba.guidelines.triage import editions, triage
from akazuba.intake.cases import CaseLine
from akazuba.intake.coded import coded_findings
from akazuba.intake.images import load_picture
from akazuba.knowledge import open_knowledge
from akazuba.language.reader import Reader
from akazuba.records import (
    Assessment,
    Case,
    ImageReading,
    ImageRef,
    KnowledgeTable,
    ModelEvidence,
    NoteReading,
    Picture,
    Provenance,
    Quality,
    QualityProblem,
)
from akazuba.settings import Settings
from akazuba.terminology import Terminology, open_terminology


@dataclass(frozen=True)
class Box:
    """What one consultation needs. `engine` is None when its files cannot be trusted; then
    `engine_problem` says why.
    """

    terminology: Terminology
    reader: Reader
    knowledge: KnowledgeTable
    software: str
    engine: Engine | None
    engine_problem: str | None = None


def open_box(settings: Settings) -> Box:
    """Opens everything that a consultation needs; slow once (a fraction of a second), then reused.

    Raises ArtefactError when the terminology or the knowledge cannot be opened.
    """
    terminology = open_terminology(settings.home)
    engine, problem = None, None
    try:
        engine = open_engine(threads=settings.threads)
    except ArtefactError as error:  # the one step that a consultation can do without
        problem = str(error)
    software = f"akazuba {version('akazuba')}"
    return Box(terminology, Reader(terminology), open_knowledge(), software, engine, problem)


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

    readings = [_look(box, line, case, note, reference, heatmaps) for reference in case.images]
    evidence = _pooled([reading.evidence for reading in readings if reading.evidence])
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
            models=dict(box.engine.digests) if box.engine else {},
            knowledge=f"{box.knowledge.version}; {terms.version}",
            guidelines=editions(),
            software=box.software,
            not_read=line.ignored,
        ),
        timings_ms=clock.laps_ms(),
    )


def _look(
    box: Box, line: CaseLine, case: Case, note: NoteReading, reference: ImageRef, heatmaps: Path | None
) -> Reading:
    """Reads one image with the engine; whatever goes wrong is said on the image, never hidden."""
    try:
        picture = load_picture(reference, line.base, line.attachments)
    except ImageError as error:
        return _unread(reference, "unreadable", str(error))
    if box.engine is None:
        return _unread(reference, "engine", box.engine_problem or "")
    reading = box.engine.read(picture, case.note, note.understood, case.patient.age_in_years)
    if heatmaps is None or not reading.image.heatmap_grid:
        return reading
    return replace(reading, image=_with_heatmap(line, picture, reading.image, heatmaps))


def _unread(reference: ImageRef, check: str, message: str) -> Reading:
    quality = Quality(usable=False, problems=(QualityProblem(check, message),))
    image = ImageReading(reference.path, reference.kind, quality, abstained=True, why=message)
    return Reading(image=image, token_attribution=(), evidence=None)


def _pooled(evidence: Sequence[ModelEvidence]) -> tuple[ModelEvidence, ...]:
    """One evidence for each model: several images of one lesion are no independent witnesses, so
    their log likelihood ratios are averaged, not added.

    >>> a = ModelEvidence("skin", {"melanoma": 4.0}, reads_note=True)
    >>> b = ModelEvidence("skin", {"melanoma": 1.0}, reads_note=True)
    >>> _pooled([a, b])[0].likelihood_ratios
    {'melanoma': 2.0}
    """
    by_model: dict[str, list[ModelEvidence]] = {}
    for item in evidence:
        by_model.setdefault(item.model, []).append(item)
    return tuple(
        ModelEvidence(
            model,
            {
                name: math.exp(sum(math.log(item.likelihood_ratios[name]) for item in items) / len(items))
                for name in items[0].likelihood_ratios
            },
            items[0].reads_note,
        )
        for model, items in by_model.items()
    )


def _with_heatmap(line: CaseLine, picture: Picture, image: ImageReading, folder: Path) -> ImageReading:
    """Writes the overlay of an image that was labelled and notes its path, or why there is none.

    Its name tells apart cases of one id, pictures of one case, and equal cases beside other pictures.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", line.case_id).strip("-")[:60] or "case"
    digest = hashlib.sha256(line.input_sha256.encode() + image.path.encode() + picture.pixels.tobytes())
    path = folder / f"{stem}-{digest.hexdigest()[:12]}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(heatmap_png(picture, image.heatmap_grid))
    except OSError as error:
        message = f"{path}: expected a heatmap that can be written, found {why_not_opened(error)}"
        problem = QualityProblem("heatmap", encodable(message), remark=True)
        quality = msgspec.structs.replace(image.quality, problems=(*image.quality.problems, problem))
        return msgspec.structs.replace(image, quality=quality)
    return msgspec.structs.replace(image, heatmap=encodable(str(path)))


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
