"""An assessment as FHIR R4: urgency and why, the differential, the plan, and what nobody may read into them.

It is advice until a clinician decides, and each resource says how far that is. What was not assessed is said
in the same place as what was: an urgency that nobody knows is never left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from akazuba.fhir.events import Json, instant
from akazuba.fhir.outcome import Issue
from akazuba.fhir.plans import care_plan
from akazuba.fhir.visit import coding
from akazuba.records import Assessment, Candidate, Evidence

ICD10 = "http://hl7.org/fhir/sid/icd-10"
UNREVIEWED = "not reviewed by a clinician"

Stand = Literal["open", "accept", "change", "refuse"]

_RISK: dict[Stand, str] = {"open": "preliminary", "accept": "final", "change": "preliminary"}
_PLAN: dict[Stand, tuple[str, str]] = {"accept": ("active", "plan"), "refuse": ("revoked", "proposal")}
"""Of a plan that was changed nothing says which part is done, so that it stays a draft."""


@dataclass(frozen=True)
class Review:
    """What a clinician decided about an assessment, and in words by whom and why."""

    stand: Stand = "open"
    words: str = UNREVIEWED


OPEN = Review()


def advice(
    about: str,
    id_: str,
    at_ms: int,
    said: Assessment,
    encounter: str = "",
    review: Review = OPEN,
) -> list[Json]:
    """A ClinicalImpression, and a RiskAssessment and a CarePlan where there are any.

    about: the patient's resource id. id_: of each of them. encounter: a reference, "" for none.
    """
    base: Json = {"subject": {"reference": f"Patient/{about}"}}
    if encounter:
        base["encounter"] = {"reference": encounter}
    impression: Json = {
        "resourceType": "ClinicalImpression",
        "id": id_,
        "status": "in-progress" if review.stand == "open" else "completed",
        "statusReason": {"text": review.words},
        **base,
        "date": instant(at_ms),
        "finding": [_urgency(said)],
        "note": [{"text": text} for text in (*_unassessed(said), *_from(said))],
    }
    made = [impression]
    if said.differential:
        impression["prognosisReference"] = [{"reference": f"RiskAssessment/{id_}"}]
        made.append(_risk(id_, base, at_ms, said, review))
    if said.plan:
        made.append(_plan(id_, base, at_ms, said, review))
    return made


def issues(said: Assessment, review: Review = OPEN) -> list[Issue]:
    """What whoever reads the assessment has to know beside it."""
    found = [Issue("warning", "incomplete", text) for text in _unassessed(said)]
    if said.note_unread:
        found.append(Issue("warning", "incomplete", f"the note was not read: {said.note_unread}"))
    for image in said.images or ():
        if not image.quality.usable:
            why = "; ".join(problem.message for problem in image.quality.problems if not problem.remark)
            found.append(
                Issue("warning", "incomplete", f"image {image.path} was not read: {why or image.why}")
            )
    if said.provenance is not UNSET:
        found += [
            Issue("information", "not-supported", f"not read: {name} ({count})")
            for name, count in said.provenance.not_read.items()
        ]
    return [*found, Issue("information", "informational", f"decision support, {review.words}")]


def _urgency(said: Assessment) -> Json:
    """Always there: what nobody assessed is `unassessed`, as R4 says of a value that isn't known."""
    if not said.triage:
        return {"itemCodeableConcept": {"text": "urgency: unassessed"}}
    reasons = [f"{r.rule}: {r.because} ({r.source})" for r in said.triage.reasons]
    concept = {"itemCodeableConcept": {"text": f"urgency: {said.triage.level}"}}
    return {**concept, **({"basis": "; ".join(reasons)} if reasons else {})}


def _unassessed(said: Assessment) -> list[str]:
    if said.error:
        return [f"not assessed: {said.error}"]
    if not said.triage or said.triage.level == "unassessed":
        texts = ["the urgency could not be assessed; that does not mean that it is low"]
    else:
        texts = []
    missing = said.triage.missing if said.triage else ()
    return texts + [f"not assessed, and could raise the urgency: {name}" for name in missing]


def _risk(id_: str, base: Json, at_ms: int, said: Assessment, review: Review) -> Json:
    notes = (
        [f"no diagnosis is named: {said.why or 'the evidence does not suffice'}"] if said.abstained else []
    )
    return {
        "resourceType": "RiskAssessment",
        "id": id_,
        "status": _RISK.get(review.stand, "cancelled"),
        **base,
        "occurrenceDateTime": instant(at_ms),
        "method": {"text": "Akazuba; probabilities in percent. Decision support, not a diagnosis."},
        "prediction": [_predicted(candidate) for candidate in said.differential or ()],
        "note": [{"text": text} for text in (*notes, review.words)],
    }


def _plan(id_: str, base: Json, at_ms: int, said: Assessment, review: Review) -> Json:
    status, intent = _PLAN.get(review.stand, ("draft", "proposal"))
    plan = care_plan(said.case_id, "Plan by the guidelines", said.plan or (), instant(at_ms))
    return plan | {"id": id_, "status": status, "intent": intent, **base, "note": [{"text": review.words}]}


def _predicted(candidate: Candidate) -> Json:
    outcome: Json = {"text": candidate.name}
    if code := candidate.ids.get("icd10"):
        outcome["coding"] = [coding(ICD10, code, candidate.name)]
    said: Json = {"outcome": outcome, "probabilityDecimal": round(100 * candidate.probability, 4)}
    urgent = ["must not be missed"] if candidate.must_not_miss else []
    if why := [*urgent, *_why((*candidate.evidence, *candidate.evidence_against))]:
        said["rationale"] = "; ".join(why)
    return said


def _from(said: Assessment) -> list[str]:
    """Which input and which versions it comes from."""
    if said.provenance is UNSET:
        return []
    source = said.provenance
    texts = [f"input SHA-256 {source.input_sha256}", f"software {source.software}"]
    texts += [f"model {name}: {digest}" for name, digest in source.models.items()]
    texts += [f"knowledge {source.knowledge}"] if source.knowledge else []
    return texts + [f"guideline {name}" for name in source.guidelines]


def _why(evidence: Sequence[Evidence]) -> list[str]:
    return [f"{one.finding}: likelihood ratio {one.likelihood_ratio:.3g}" for one in evidence]
