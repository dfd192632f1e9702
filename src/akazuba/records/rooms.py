"""What passes between the rooms and is kept by none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from akazuba.records.case import Value


class Finding(Value, frozen=True):
    """One finding about the patient, coded, with where it came from.

    present: False means that it was asked or looked for and is absent.
    subject: whose finding it is; only the patient's count in ranking and triage.
    temporality: "past" is history (a fit three years ago is no active convulsion).
    source: "model" is a language model's candidate: uncertain until the nurse confirms it.
    span: start and end (exclusive) in the note, in characters, when source is "note" or "model".
    """

    id: str
    name: str
    present: bool = True
    uncertain: bool = False
    subject: Literal["patient", "family", "other"] = "patient"
    temporality: Literal["current", "past"] = "current"
    source: Literal["note", "nurse", "vitals", "test", "lab", "image", "model"] = "note"
    span: tuple[int, int] | None = None
    text: str | None = None
    onset_days_ago: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it is evidence about this patient now: hers, current and certain."""
        return self.subject == "patient" and self.temporality == "current" and not self.uncertain


class NoteReading(Value, frozen=True):
    """What was understood of a note. `understood` is False when its language or script is not one
    that the box reads; then nothing may be concluded from the absence of findings.

    signs: danger signs that only the word model reads. They may raise the urgency, with the words that tell
    them, and count for nothing else.
    """

    findings: tuple[Finding, ...]
    understood: bool
    why: str | None = None
    signs: tuple[Finding, ...] = ()


CAUTION = "caution"


class QualityProblem(Value, frozen=True):
    """check: dark, bright, blurred, small, contrast, kind, alignment …; message: plain words for the nurse.

    remark: only tells something; without it, the problem makes the image unusable. check `CAUTION`: a remark
    that what was read is not to be relied on.
    """

    check: str
    message: str
    value: float | None = None
    limit: float | None = None
    remark: bool = False


@dataclass(frozen=True)
class Picture:
    """A decoded image: uint8 pixels, height x width (grey) or height x width x 3 (RGB)."""

    path: str
    kind: str
    pixels: npt.NDArray[np.uint8]
    problems: tuple[QualityProblem, ...] = ()


class Condition(Value, frozen=True):
    """A disease or condition that can be named in a differential.

    ids: coding system -> code, for instance {"icd10": "A15.0"}.
    must_not_miss: a dangerous condition that is listed even when improbable.
    review: review state as shown on the screen.
    red_flags: what makes it an emergency. tests: what confirms it.
    """

    id: str
    name: str
    source: str
    review: str
    synonyms: tuple[str, ...] = ()
    ids: Mapping[str, str] = {}
    must_not_miss: bool = False
    red_flags: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


AGE_BANDS_YEARS = (0.0, 28 / 365.25, 1.0, 5.0, 15.0, 30.0, 45.0, 60.0)
"""Lower ends of the age bands of `PRIOR_FACTORS`."""

PRIOR_FACTORS: Mapping[str, tuple[str, ...]] = {
    "sex": ("female", "male"),
    "age": ("from birth", "from 28 days", "from 1 year", *(f"from {y} years" for y in (5, 15, 30, 45, 60))),
    "malaria": ("none", "low", "moderate", "high"),
    "hiv": ("below 1 %", "1 to 5 %", "above 5 %"),
    "season": ("dry", "rainy"),
    "region": ("Africa", "South Asia", "Latin America", "elsewhere"),
}
"""What a condition's prior may depend on, with its levels. malaria: zone; hiv: prevalence in adults."""


@dataclass(frozen=True)
class KnowledgeTable:
    """What ranking needs of the knowledge, as immutable arrays (D conditions, F findings).

    finding_ids, finding_names: (F,) HPO or AKZ id, or "test:" and the test's id; the name in plain words.
    prior: (D,) share of consultations, sums to at most 1.
    sensitivity: (D, F) float32, P(finding | condition); NaN where the knowledge says nothing.
    background: (F,) P(finding | a consultation without any condition that has it).
    cost: (F,) seconds of a nurse's time that it takes to learn of a finding, price and waiting included.
    in_hospital: ids of the tests that a health post does not do by itself.
    prior_factors: by name of `PRIOR_FACTORS`, (D, levels) multipliers of the prior.
    groups: (F,) the group of findings that rise and fall together. aliases: id -> id of the column that
    means the same.
    version: what is printed in an assessment's provenance.
    """

    conditions: tuple[Condition, ...]
    finding_ids: tuple[str, ...]
    finding_names: tuple[str, ...]
    prior: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float32]
    background: npt.NDArray[np.float64]
    cost: npt.NDArray[np.float64]
    in_hospital: frozenset[str]
    prior_factors: Mapping[str, npt.NDArray[np.float64]]
    groups: tuple[str, ...]
    aliases: Mapping[str, str]
    version: str


@dataclass(frozen=True)
class FindingColumn:
    """The diseases that have a finding or a kind of it (K of them).

    rows: (K,) uint16, numbers of the diseases. shares: (K,) float32, P(finding | disease).
    background: P(finding | any disease of the list).
    """

    rows: npt.NDArray[np.uint16]
    shares: npt.NDArray[np.float32]
    background: float


class ModelEvidence(Value, frozen=True):
    """What an image model says, as likelihood ratios over conditions.

    likelihood_ratios: condition id -> P(image | condition) / P(image | average of the model's classes).
    reads_note: the model saw the note too, so that findings of the note are not counted again for
    the conditions that it scores.
    """

    model: str
    likelihood_ratios: Mapping[str, float]
    reads_note: bool
