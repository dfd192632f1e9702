"""What goes out: the assessment of one consultation, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from akazuba.records.case import CASE_VERSION, Case, IsoDate, Value
from akazuba.records.rooms import Finding, QualityProblem

ASSESSMENT_VERSION = 1

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


class Likely(Value, frozen=True):
    name: str
    probability: float


class SharedOpinion(Value, frozen=True):
    """What a model says that the boxes of a programme learned together, beside the advice and no part of it.

    conditions: the likeliest first; none where the box itself gives no answer, or where what it puts first,
    `unknown`, is not among the `knows` that it can tell apart. release: its number. right, cases: how many of
    the labelled cases of so many sites it was right on before it was released.
    """

    programme: str
    release: int
    conditions: tuple[Likely, ...]
    knows: int
    right: int
    cases: int
    sites: int
    unknown: str = ""
    review: str = "not reviewed by a clinician"


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
    shared: where the box has adopted a model of its programme.
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
    shared: SharedOpinion | UnsetType = UNSET
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
