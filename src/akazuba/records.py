"""The frozen values that cross rooms, and the two documents that leave the box.

`Case` (in) and `Assessment` (out) are version 1 of the formats that other programs rely on; their
JSON Schemas are published in `docs/schemas/`. Units stand in the names. A field that is absent was
not assessed; it is never read as normal. The ranges are the limits of what a living (or just
arrested) patient can show: a value outside is a slip of unit or key and is asked back.

Stored records change by addition only: a field keeps its meaning, a new meaning gets a new field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Meta, UnsetType

CASE_VERSION = 1
ASSESSMENT_VERSION = 1

NOTE_MAX_CHARACTERS = 20_000


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value; an unknown field is refused, because a misspelt vital sign must not vanish."""


# --- Case in ------------------------------------------------------------------------------------

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Sex = Literal["female", "male", "other", "unknown"]
Consciousness = Literal["alert", "confused", "voice", "pain", "unresponsive"]
ImageKind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
IsoDate = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Patient(Value, frozen=True):
    age_years: Annotated[float, Meta(ge=0, le=125)] | None = None
    age_months: Annotated[float, Meta(ge=0, le=1500)] | None = None
    age_days: Annotated[float, Meta(ge=0, le=45_700)] | None = None
    sex: Sex | None = None
    pregnant: bool | None = None
    weight_kg: Annotated[float, Meta(ge=0.3, le=400)] | None = None
    height_cm: Annotated[float, Meta(ge=20, le=260)] | None = None

    @property
    def age_in_years(self) -> float | None:
        """Age in years from whichever of the three fields is given (the finest wins).

        >>> Patient(age_months=6).age_in_years
        0.5
        """
        if self.age_days is not None:
            return self.age_days / 365.25
        if self.age_months is not None:
            return self.age_months / 12
        return self.age_years


class Vitals(Value, frozen=True):
    temperature_c: Annotated[float, Meta(ge=25, le=45, description="body temperature, °C")] | None = None
    heart_rate_bpm: Annotated[float, Meta(ge=0, le=350, description="beats a minute")] | None = None
    respiratory_rate_bpm: Annotated[float, Meta(ge=0, le=150, description="breaths a minute")] | None = None
    systolic_mmhg: Annotated[float, Meta(ge=0, le=320, description="mmHg")] | None = None
    diastolic_mmhg: Annotated[float, Meta(ge=0, le=220, description="mmHg")] | None = None
    spo2_percent: Annotated[float, Meta(ge=20, le=100, description="oxygen saturation, %")] | None = None
    consciousness: Consciousness | None = None
    glucose_mmol_l: Annotated[float, Meta(ge=0.1, le=36, description="blood glucose, mmol/L")] | None = None
    on_oxygen: bool | None = None
    capillary_refill_s: Annotated[float, Meta(ge=0, le=20, description="seconds")] | None = None


class ReportedFinding(Value, frozen=True):
    """A finding that a person or another program coded; `id` is an HPO id or one of ours (AKZ:…)."""

    id: Name
    present: bool = True
    onset_days_ago: Annotated[float, Meta(ge=0, le=45_700)] | None = None


class TestResult(Value, frozen=True):
    __test__ = False  # not a pytest class

    id: Name
    result: Name


class ImageRef(Value, frozen=True):
    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    kind: ImageKind


class Lab(Value, frozen=True):
    loinc: Annotated[str, Meta(pattern=r"^\d{1,7}-\d$")]
    value: float
    unit: Name


class Medication(Value, frozen=True):
    name: Name
    dose_mg: Annotated[float, Meta(gt=0)] | None = None


class Setting(Value, frozen=True):
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")] | None = None
    region: Name | None = None
    malaria_zone: Literal["none", "low", "moderate", "high"] | None = None
    hiv_prevalence: Annotated[float, Meta(ge=0, le=1, description="share of adults")] | None = None
    season: Literal["dry", "rainy"] | None = None
    tests_available: Annotated[
        tuple[Name, ...] | None,
        Meta(description="ids of the tests that are done at this post, without `test:`; null when unknown"),
    ] = None


class Case(Value, frozen=True):
    """One consultation as it comes in. Only `id` is required."""

    id: Name
    patient: Patient = Patient()
    note: Annotated[str, Meta(max_length=NOTE_MAX_CHARACTERS)] = ""
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}$", description="ISO 639 code of the note")] = "en"
    vitals: Vitals = Vitals()
    findings: Annotated[tuple[ReportedFinding, ...], Meta(max_length=500)] = ()
    tests: Annotated[tuple[TestResult, ...], Meta(max_length=200)] = ()
    images: Annotated[tuple[ImageRef, ...], Meta(max_length=20)] = ()
    labs: Annotated[tuple[Lab, ...], Meta(max_length=1000)] = ()
    medications: (
        Annotated[
            tuple[Medication, ...],
            Meta(max_length=60, description="what is taken now; [] is nothing, null is not asked"),
        ]
        | None
    ) = None
    allergies: (
        Annotated[tuple[Name, ...], Meta(max_length=60, description="[] is none known, null is not asked")]
        | None
    ) = None
    conditions: Annotated[tuple[Name, ...], Meta(max_length=60)] = ()
    gestational_age_weeks: Annotated[float, Meta(ge=0, le=45)] | None = None
    answers: Annotated[
        Mapping[Name, str | float | bool],
        Meta(
            max_length=500,
            description="answers to questions of guidelines that have no field here, by the input's name",
        ),
    ] = {}
    date: IsoDate | None = None
    setting: Setting = Setting()


# --- between the rooms --------------------------------------------------------------------------


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


# --- Assessment out -----------------------------------------------------------------------------

Level = Literal["red", "yellow", "green", "unassessed"]


class TriageReason(Value, frozen=True):
    """rule: id of the rule; source: guideline, edition, place; because: the values that fired it."""

    rule: str
    level: Level
    source: str
    because: str


class Triage(Value, frozen=True):
    """level: decided by rules alone. missing: what was not assessed and could raise the level."""

    level: Level
    reasons: tuple[TriageReason, ...] = ()
    missing: tuple[str, ...] = ()
    review: str = "not reviewed by a clinician"


class Evidence(Value, frozen=True):
    """One finding's weight for one condition; above 1 speaks for it, below 1 against."""

    finding: str
    likelihood_ratio: float
    source: str
    finding_id: str | None = None
    present: bool = True


class Counterfactual(Value, frozen=True):
    """How the probability would move if one finding were the other way round."""

    if_: str = msgspec.field(name="if")
    probability: float


class Candidate(Value, frozen=True):
    """One line of the differential."""

    name: str
    probability: float
    synonyms: tuple[str, ...] = ()
    ids: Mapping[str, str] = {}
    evidence: tuple[Evidence, ...] = ()
    evidence_against: tuple[Evidence, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()
    must_not_miss: bool = False
    source: str = ""
    review: str = "not reviewed by a clinician"


class QualityProblem(Value, frozen=True):
    """check: dark, bright, blurred, small, contrast, kind, alignment …; message: plain words for the nurse.

    remark: only tells something; without it, the problem makes the image unusable.
    """

    check: str
    message: str
    value: float | None = None
    limit: float | None = None
    remark: bool = False


class Quality(Value, frozen=True):
    usable: bool
    problems: tuple[QualityProblem, ...] = ()


class ImageReading(Value, frozen=True):
    """What the models say of one image. Nothing is labelled when `quality.usable` is False.

    labels: label -> calibrated probability, sums to 1.
    prediction_set: the labels that hold the true one with probability `coverage`.
    alignment: P(image and note belong together), of as many pairs that do as pairs that don't; None when
    there is no note or no model can say.
    heatmap: path of the overlay PNG, when one was asked for.
    heatmap_grid: rows x columns; how much the leading label's log-odds fall without that region.
    """

    path: str
    kind: str
    quality: Quality
    labels: Mapping[str, float] = {}
    prediction_set: tuple[str, ...] = ()
    coverage: float | None = None
    abstained: bool = False
    why: str | None = None
    alignment: float | None = None
    heatmap: str | None = None
    heatmap_grid: tuple[tuple[float, ...], ...] = ()
    model: str | None = None


class TokenWeight(Value, frozen=True):
    """One word of the note and how much the leading image label's log-odds fall without it."""

    word: str
    span: tuple[int, int]
    weight: float


GIVEN = ("start", "increase", "reduce", "continue", "give")
"""Actions by which a patient gets a medicine."""


class Action(Value, frozen=True):
    """One step of the plan with the clause that asks for it.

    action: what to do, in words, or a verb (start, test, refer …) with its object in `what`.
    dose: worked out for this patient; None where there is none or where it must not be given: `withheld` says
    why, `needs` names what has to be assessed first, `check_first` what to look at before giving it.
    in_days, date: when it is due. page: "" unless the guideline's text was opened (`source`).
    overlay: what a local rule changed here.
    """

    action: str
    guideline: str
    edition: str
    clause: str
    review: str
    dose: str | None = None
    what: str = ""
    for_days: float | None = None
    in_days: float | None = None
    date: IsoDate | None = None
    tell: str = ""
    withheld: tuple[str, ...] = ()
    check_first: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    page: str = ""
    source: str = ""
    because: Mapping[str, str] = {}
    overlay: tuple[str, ...] = ()


class RuleFired(Value, frozen=True):
    """A row of a decision table that fired. because: the values that fired it; gives: what it says.

    overlay: what a local rule changed in the row.
    """

    table: str
    row: str
    clause: str
    page: str
    says: str
    because: Mapping[str, str]
    gives: Mapping[str, str]
    overlay: str = ""


class Missing(Value, frozen=True):
    """An input that nobody assessed, how to ask for it, and what it could change."""

    input: str
    question: str
    could_change: tuple[str, ...]


class Protocol(Value, frozen=True):
    """What one guideline answers for a case. undecided: what is not decided, and what it may still be."""

    id: str
    title: str
    edition: str
    review: str
    answers: Mapping[str, str]
    undecided: Mapping[str, str] = {}
    missing: tuple[Missing, ...] = ()


class Narrative(Value, frozen=True):
    """The assessment in words. model: "rules" where no language model wrote them.

    citations: what each id in the text stands on, as `E1: source`. rejected_claims: what the model wrote
    and the evidence does not say, with the reason; none of it is shown. second_reader: a remark of the
    model on the ranking, which it does not change. left_out: why the model did not write; None when it did
    or was not asked.
    """

    text: str
    patient_text: str
    model: str | None = None
    citations: tuple[str, ...] = ()
    rejected_claims: tuple[str, ...] = ()
    second_reader: str | None = None
    left_out: str | None = None


class ToolStep(Value, frozen=True):
    """One call of a tool in an interview that a language model led. arguments, result: JSON. error: "" or
    why.
    """

    tool: str
    arguments: str
    result: str
    error: str = ""


class AnswerPassage(Value, frozen=True):
    """A passage of the box's sources. source: guideline, edition and clause, and whether it was opened."""

    id: str
    title: str
    text: str
    source: str
    review: str


class Answer(Value, frozen=True):
    """What the box's sources say to a question. answer: the best passage word for word, or "not in my
    sources".

    chosen_by: the model that chose among the passages; None where their words alone decided.
    left_out: why the model did not choose; None when it did or was not asked.
    """

    question: str
    answer: str
    citations: tuple[AnswerPassage, ...] = ()
    chosen_by: str | None = None
    left_out: str | None = None


class Provenance(Value, frozen=True):
    """not_read: what of the input was passed over, with its count, such as {"Immunization": 2}."""

    input_sha256: str
    models: Mapping[str, str] = {}
    knowledge: str | None = None
    guidelines: tuple[str, ...] = ()
    audit_index: int | None = None
    software: str = ""
    not_read: Mapping[str, int] = {}


class Assessment(Value, frozen=True):
    """What goes out for one case. A case that failed has `error` instead of the rest.

    note_unread: why nothing was concluded from the note; None when it was understood or there is none.
    suggested: findings that a language model sees in the note; none counts before the nurse confirms it.
    led: the steps of an interview that a language model led.
    """

    case_id: str
    version: int = ASSESSMENT_VERSION
    triage: Triage | UnsetType = UNSET
    findings: tuple[Finding, ...] | UnsetType = UNSET
    suggested: tuple[Finding, ...] | UnsetType = UNSET
    note_unread: str | UnsetType | None = UNSET
    differential: tuple[Candidate, ...] | UnsetType = UNSET
    prediction_set: tuple[str, ...] | UnsetType = UNSET
    coverage: float | UnsetType | None = UNSET
    abstained: bool | UnsetType = UNSET
    why: str | UnsetType | None = UNSET
    images: tuple[ImageReading, ...] | UnsetType = UNSET
    token_attribution: tuple[TokenWeight, ...] | UnsetType = UNSET
    ask_next: tuple[str, ...] | UnsetType = UNSET
    plan: tuple[Action, ...] | UnsetType = UNSET
    protocols: tuple[Protocol, ...] | UnsetType = UNSET
    narrative: Narrative | UnsetType | None = UNSET
    led: tuple[ToolStep, ...] | UnsetType = UNSET
    provenance: Provenance | UnsetType = UNSET
    timings_ms: Mapping[str, float] | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Urgency(Value, frozen=True):
    """How urgent one case is, and nothing else. A case that failed has `error` instead of the rest."""

    case_id: str
    triage: Triage | UnsetType = UNSET
    plan: tuple[Action, ...] | UnsetType = UNSET
    note_unread: str | UnsetType | None = UNSET
    error: str | UnsetType = UNSET


def json_schema(name: str) -> dict[str, object]:
    """JSON Schema (2020-12) of the document "case" or "assessment"."""
    document = {"case": (Case, CASE_VERSION), "assessment": (Assessment, ASSESSMENT_VERSION)}[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Akazuba {name}, version {document[1]}",
        **msgspec.json.schema(document[0]),
    }
