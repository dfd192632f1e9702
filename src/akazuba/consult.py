"""The story of one consultation.

Urgency is decided by rules before any model runs and no later step changes it. An image that cannot
be read, or an engine that cannot be opened, costs the image reading and never the assessment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
from msgspec import UNSET

from akazuba.box import Box
from akazuba.diagnosis.differential import rank
from akazuba.diagnosis.engine import Reading
from akazuba.diagnosis.evidence import pooled
from akazuba.diagnosis.questions import Question, ask_next
from akazuba.diagnosis.shared_model import SharedModel
from akazuba.errors import CaseError
from akazuba.imaging import look
from akazuba.intake.cases import CaseLine
from akazuba.llm.extract import Nearest
from akazuba.llm.voice import SILENT, Voice
from akazuba.records import Assessment, Case, Finding
from akazuba.urgency import decide, why_unread
from akazuba.wording.catalogue import ENGLISH, Catalogue, catalogue

QUESTIONS = 3
"""Shown with an assessment; an interview asks one after another."""


@dataclass(frozen=True)
class Telling:
    """How an assessment is put into words: in which language, and by which language model if by any.

    nearest: which findings a piece of a note may name, for a model that may suggest some.
    """

    words: Catalogue
    voice: Voice
    nearest: Nearest = lambda _: ()


PLAINLY = Telling(catalogue(ENGLISH), SILENT)
"""In English, by rules."""


def assess(box: Box, line: CaseLine, heatmaps: Path | None = None, telling: Telling = PLAINLY) -> Assessment:
    """Assesses one case. A case that cannot be used gives an Assessment with only its `error`.

    heatmaps: folder for the heatmap overlays (PNG), one for each image that was labelled.
    """
    if line.case is None:
        return Assessment(line.case_id, error=str(line.error))
    try:
        consultation = Consultation(box, line, line.case, heatmaps)
        return consultation.told(consultation.answer(line.case)[0], telling)
    except CaseError as error:
        return Assessment(line.case_id, error=str(error))


class Consultation:
    """One patient at the box: what was heard once, and the answers to it as the case grows.

    The images are read when first asked for, so that the urgency is decided before any model runs.
    """

    def __init__(
        self,
        box: Box,
        line: CaseLine,
        case: Case,
        heatmaps: Path | None,
        looking: Callable[..., Reading] | None = None,
    ) -> None:
        """looking: in place of `imaging.look`, by one who remembers what was seen."""
        self._box, self._line = box, line
        self._clock = _Clock()
        self.note = box.desk.reader.read(case.note, case.language)
        self._clock.lap("language")

        @cache
        def readings() -> tuple[Reading, ...]:
            found = tuple(
                (looking or look)(box.engine, line, case, self.note, reference, heatmaps, box.readers)
                for reference in case.images
            )
            self._clock.lap("images")
            return found

        self._readings = readings

    def answer(
        self, case: Case, unanswered: frozenset[str] = frozenset(), most: int = QUESTIONS
    ) -> tuple[Assessment, tuple[Question, ...]]:
        """The assessment of the case as it stands, and what to ask next, at most `most` questions.

        unanswered: ids of questions to which nobody had an answer. Raises CaseError for a case that cannot be
        used.
        """
        box, note, clock = self._box, self.note, self._clock
        decided = decide(box.desk, case, note)
        findings = box.columns.called(decided.findings)
        clock.lap("guidelines")

        readings = self._readings()
        evidence = pooled([reading.evidence for reading in readings if reading.evidence])
        ranking = rank(box.columns, (*findings, *decided.normal), case.patient, case.setting, evidence)
        tests = case.setting.tests_available
        questions = ask_next(box.columns, ranking.posterior, findings, most, unanswered, tests)
        clock.lap("differential")

        shared = box.shared()
        assessment = Assessment(
            case_id=case.id,
            triage=decided.triage,
            findings=findings,
            note_unread=why_unread(case, note),
            differential=ranking.candidates,
            prediction_set=ranking.prediction_set,
            coverage=ranking.coverage,
            abstained=ranking.abstained,
            why=ranking.why,
            images=tuple(reading.image for reading in readings),
            token_attribution=next((r.token_attribution for r in readings if r.token_attribution), ()),
            shared=shared.opinion(case, findings, ranking, box.desk.terminology.ancestors)
            if isinstance(shared, SharedModel)
            else UNSET,
            ask_next=tuple(question.words for question in questions),
            plan=decided.plan,
            protocols=decided.care.protocols,
            provenance=box.provenance(self._line, decided, shared),
            timings_ms=clock.laps_ms(),
        )
        return assessment, questions

    def told(self, assessment: Assessment, telling: Telling) -> Assessment:
        """With its words, the last step: nothing that was decided depends on it."""
        voice, words = telling.voice, telling.words
        narrative = voice.tell(assessment, words)
        if narrative and (remark := voice.remark(assessment, words)):
            narrative = msgspec.structs.replace(narrative, second_reader=remark)
        suggested = self.suggested(assessment, telling)
        self._clock.lap("words")
        timings = self._clock.laps_ms()
        finished = msgspec.structs.replace(
            assessment, narrative=narrative, suggested=suggested, timings_ms=timings
        )
        if self._box.plugins.observers:
            self._box.plugins.observers.see(finished)
        return finished

    def suggested(self, assessment: Assessment, telling: Telling) -> tuple[Finding, ...]:
        """Findings that a language model sees in the note; none counts before the nurse confirms it."""
        note = self._line.case.note if self._line.case and self.note.understood else ""
        return telling.voice.suggested(note, assessment.findings or (), telling.nearest)


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
