"""CDS Hooks 2.0: the services, what a request must hold, and an assessment as cards. Values to values.

What a record system hands over (`prefetch`) becomes one Bundle, dated now, so that measurements of another
day count as earlier and never as today's. Its server is never asked and its access token never kept.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from akazuba.errors import InputError
from akazuba.fhir.shapes import Json, concept_name, objects, text
from akazuba.records import Action, Assessment, Candidate, Evidence
from akazuba.report import one_line

Indicator = Literal["info", "warning", "critical"]
Card = dict[str, Any]

LONGEST_SUMMARY = 139
"""CDS Hooks 2.0: fewer than 140 characters."""

SYSTEM = "urn:akazuba:cds-hooks"
OVERRIDES = {
    "patient-differs": "The patient is otherwise than the record says",
    "done-already": "It was done already",
    "benefit-outweighs": "The benefit outweighs the risk",
    "not-available": "It cannot be done here",
    "disagree": "I disagree",
}
"""Reasons that are offered for going another way."""

MOST_RESOURCES = {"patient": 1, "observations": 1000, "conditions": 200, "medications": 100, "allergies": 100}
"""Of each part of the prefetch: reading thousands of names would keep everybody else waiting."""

LISTED, EVIDENCE, PLANNED = 5, 4, 12
"""Conditions, findings for or against each, and steps of the plan that a card shows."""

NOT_REVIEWED = "not reviewed by a clinician"

PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "observations": "Observation?patient={{context.patientId}}&_sort=-date&_count=200",
    "conditions": "Condition?patient={{context.patientId}}&clinical-status=active",
    "medications": "MedicationRequest?patient={{context.patientId}}&status=active",
    "allergies": "AllergyIntolerance?patient={{context.patientId}}",
}
KINDS = {
    "patient": ("Patient",),
    "observations": ("Observation",),
    "conditions": ("Condition",),
    "medications": ("MedicationRequest", "MedicationStatement", "Medication"),
    "allergies": ("AllergyIntolerance",),
}
"""What is taken from each part; anything else in it is passed over and counted."""


@dataclass(frozen=True)
class Service:
    """needs: parts of the prefetch without which there is no answer."""

    id: str
    hook: str
    title: str
    description: str
    needs: tuple[str, ...]


SERVICES = {
    service.id: service
    for service in (
        Service(
            "akazuba-assess",
            "patient-view",
            "Akazuba: how urgent, what it may be, what to ask next",
            "Urgency by rules, conditions ranked with their reasons, and the most telling question or test."
            f" Decision support, {NOT_REVIEWED}.",
            tuple(PREFETCH),
        ),
        Service(
            "akazuba-dose",
            "order-sign",
            "Akazuba: medicines against maximum, allergies, interactions and contraindications",
            "Each draft MedicationRequest against the box's formulary. What is not known is said to be not"
            f" known. Decision support, {NOT_REVIEWED}.",
            (),
        ),
    )
}


class HookError(InputError):
    """A request that cannot be answered. status: of HTTP."""

    def __init__(self, status: int, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """A request that holds what it must. context: of the hook. prefetch: as it was handed over."""

    instance: str
    patient: str
    context: Json
    prefetch: Json


@dataclass(frozen=True)
class Record:
    """bundle: of one patient. absent: parts not handed over. partial: parts of which there is more. passed:
    kinds of resources that were passed over, counted.
    """

    bundle: Json
    absent: tuple[str, ...]
    partial: tuple[str, ...]
    passed: Mapping[str, int]


def discovery() -> Json:
    return {
        "services": [
            {
                "id": it.id,
                "hook": it.hook,
                "title": it.title,
                "description": it.description,
                "prefetch": PREFETCH,
                "usageRequirements": "needs every part of its prefetch; a part without results is null"
                if it.needs
                else "parts of its prefetch that are missing are named in a card",
            }
            for it in SERVICES.values()
        ]
    }


def asked(service: Service, body: bytes) -> Asked:
    """Raises HookError that names the field: 400, and 412 where the prefetch is missing."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise HookError(400, "body", "a CDS Hooks request as JSON", str(problem)[:200]) from problem
    if not isinstance(said, dict):
        raise HookError(400, "body", "a JSON object", type(said).__name__)
    hook = said.get("hook")
    if hook != service.hook:
        raise HookError(400, "hook", service.hook, repr(hook)[:80])
    try:
        instance = str(uuid.UUID(str(said.get("hookInstance"))))
    except ValueError as problem:
        raise HookError(400, "hookInstance", "a UUID", repr(said.get("hookInstance"))[:80]) from problem
    context = _object(said, "context", "context")
    if not text(context, "userId"):
        raise HookError(400, "context.userId", "who is signed in", repr(context.get("userId"))[:80])
    patient = text(context, "patientId")
    if not re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", patient):
        raise HookError(400, "context.patientId", "a FHIR id", repr(context.get("patientId"))[:80])
    prefetch: Json = _object(said, "prefetch", "prefetch") if said.get("prefetch") is not None else {}
    if lacking := [name for name in service.needs if _is_absent(prefetch, name)]:
        raise HookError(
            412, "prefetch", f"{', '.join(PREFETCH)} (null where there is none)", f"no {', '.join(lacking)}"
        )
    return Asked(instance, patient, context, prefetch)


def _object(said: Json, name: str, item: str) -> Json:
    found = said.get(name)
    if not isinstance(found, dict):
        raise HookError(400, item, "a JSON object", "none" if found is None else type(found).__name__)
    return found


def _is_absent(prefetch: Json, name: str) -> bool:
    """Not handed over, or an error in its place (CDS Hooks 2.0, prefetch query that fails)."""
    found = prefetch.get(name)
    failed = isinstance(found, dict) and found.get("resourceType") == "OperationOutcome"
    return name not in prefetch or failed or (name == "patient" and found is None)


def record(given: Asked, now: datetime) -> Record:
    """Raises HookError for a part that is no Bundle of its kind, or another patient's.

    now: with its zone.
    """
    absent = tuple(name for name in PREFETCH if _is_absent(given.prefetch, name))
    partial, resources, passed = list[str](), list[Json](), Counter[str]()
    for name, kinds in KINDS.items():
        part = given.prefetch.get(name)
        if name in absent or part is None:
            continue
        if not isinstance(part, dict):
            raise HookError(400, f"prefetch.{name}", f"a Bundle of {kinds[0]}", type(part).__name__)
        if part.get("resourceType") == "Bundle" and name != "patient":
            found = [it for entry in objects(part, "entry") if isinstance(it := entry.get("resource"), dict)]
            partial += (
                [name] if any(text(link, "relation") == "next" for link in objects(part, "link")) else []
            )
        elif part.get("resourceType") in kinds:
            found = [part]
        else:
            raise HookError(
                400, f"prefetch.{name}", f"a Bundle of {kinds[0]}", repr(part.get("resourceType"))[:60]
            )
        if len(found) > MOST_RESOURCES[name]:
            raise HookError(
                400, f"prefetch.{name}", f"at most {MOST_RESOURCES[name]} resources", f"{len(found)}"
            )
        resources += [resource for resource in found if resource.get("resourceType") in kinds]
        passed.update(str(it.get("resourceType"))[:60] for it in found if it.get("resourceType") not in kinds)
    patients = [it for it in resources if it.get("resourceType") == "Patient"]
    if patients and text(patients[0], "id") != given.patient:
        raise HookError(400, "prefetch.patient.id", given.patient, repr(patients[0].get("id"))[:80])
    if not patients:
        resources.insert(0, {"resourceType": "Patient", "id": given.patient})
    medicines = {f"Medication/{text(it, 'id')}": it for it in resources if it["resourceType"] == "Medication"}
    today = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "subject": {"reference": f"Patient/{given.patient}"},
        "period": {"start": now.astimezone(UTC).isoformat()},
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "id": given.instance,
        "entry": [{"resource": named(it, medicines)} for it in (*resources, today)],
    }
    return Record(bundle, absent, tuple(partial), passed)


def named(resource: Json, medicines: Mapping[str, Json]) -> Json:
    """With the name of a medicine that stands in a resource of its own (contained, or in the same Bundle)."""
    reference = text(resource, "medicationReference", "reference")
    if not reference or text(resource, "medicationReference", "display"):
        return resource
    contained = {f"#{text(it, 'id')}": it for it in objects(resource, "contained")}
    found = contained.get(reference) or next(
        (it for name, it in medicines.items() if reference == name or reference.endswith(f"/{name}")), {}
    )
    name = concept_name(found, "code")
    return (
        {**resource, "medicationReference": {"reference": reference, "display": name}} if name else resource
    )


# --- cards --------------------------------------------------------------------------------------------


def card(indicator: Indicator, summary: str, lines: Sequence[str], source: str, topic: str) -> Card:
    """lines: of the detail, already Markdown. source: software and review state."""
    return {
        "uuid": str(uuid.uuid4()),
        "summary": shortened(one_line(summary)),
        "indicator": indicator,
        "detail": "\n".join(lines),
        "source": {"label": source, "topic": {"system": SYSTEM, "code": topic}},
        "overrideReasons": [
            {"code": code, "system": SYSTEM, "display": words} for code, words in OVERRIDES.items()
        ],
    }


def source_label(software: str, review: str = NOT_REVIEWED) -> str:
    return one_line(f"{software}; {review}")


def shortened(summary: str) -> str:
    """At most LONGEST_SUMMARY characters, cut between words.

    >>> len(shortened("x" * 200)), shortened("short")
    (139, 'short')
    """
    if len(summary) <= LONGEST_SUMMARY:
        return summary
    cut = summary[: LONGEST_SUMMARY - 1]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[80:] else cut}…"


def plain(words: str) -> str:
    r"""Text that comes from outside, so that Markdown shows it as it is: no link, no picture, no HTML.

    >>> plain("<b>![x](http://a.b)</b>")
    '\\<b\\>\\!\\[x\\](http\\://a.b)\\</b\\>'
    """
    escaped = re.sub(r"([\\`*_\[\]<>|#~&!@])", r"\\\1", one_line(words))
    return re.sub(r"(?i)\bwww\.", r"www\\.", escaped.replace("://", "\\://"))


def assessment_cards(said: Assessment, handed: Record) -> list[Card]:
    """Urgency, differential with its reasons, what to ask or test next."""
    label = source_label(said.provenance.software if said.provenance else "akazuba")
    cards = [_urgency(said, handed, label), _differential(said, label)]
    return [*cards, _next(said, label)] if said.ask_next else cards


def _urgency(said: Assessment, handed: Record, label: str) -> Card:
    assert said.triage  # noqa: S101 - an assessment without an error has it
    triage, level = said.triage, said.triage.level
    because = next((reason.because for reason in triage.reasons if reason.level == level), "")
    summary, indicator = {
        "red": (f"RED, emergency: {because}", "critical"),
        "yellow": (f"YELLOW, urgent: {because}", "warning"),
        "green": ("GREEN: no sign of danger in what was handed over", "info"),
        "unassessed": (
            f"URGENCY NOT ASSESSED: {'; '.join(triage.missing) or 'too little is known'}",
            "warning",
        ),
    }[level]
    lines = _listed("Why", [f"{plain(r.because)} ({plain(r.source)})" for r in triage.reasons])
    lines += _listed("Not assessed; it could raise the urgency", [plain(it) for it in triage.missing])
    lines += _listed("The note was not understood", [plain(said.note_unread)] if said.note_unread else [])
    plan = [_step(action) for action in said.plan or ()]
    more = [f"and {len(plan) - PLANNED} more steps: see the box"] if len(plan) > PLANNED else []
    lines += _listed("What the guidelines say", [*plan[:PLANNED], *more])
    lines += _listed("Not read of the record", _not_read(said, handed))
    lines.append(f"Decision support, no diagnosis; {plain(triage.review)}.")
    return card(indicator, summary, lines, label, "urgency")  # type: ignore[arg-type]  # one of the table's


def _not_read(said: Assessment, handed: Record) -> list[str]:
    counted = {**handed.passed, **(said.provenance.not_read if said.provenance else {})}
    lines = [f"{plain(name)}: {count}" for name, count in counted.items()]
    return [*lines, *(f"{name}: only the first page was handed over" for name in handed.partial)]


def _step(action: Action) -> str:
    said = " ".join(part for part in (action.action, action.what, action.dose or "") if part)
    marks = [f"DO NOT GIVE: {why}" for why in action.withheld]
    marks += [f"check first: {what}" for what in action.check_first]
    marks += [f"changed here: {what}" for what in action.overlay]
    told = f" [{'; '.join(map(plain, marks))}]" if marks else ""
    clause = f"{action.guideline}, {action.edition}, {action.clause}; {action.review}"
    return f"{plain(said)}{told} ({plain(clause)})"


def _differential(said: Assessment, label: str) -> Card:
    candidates = list(said.differential or ())
    shown = [it for place, it in enumerate(candidates) if place < LISTED or it.must_not_miss][: 2 * LISTED]
    if said.abstained:
        summary = f"No condition stands out: {said.why or 'too little is known'}"
    else:
        summary = "May be: " + ", ".join(f"{it.name} {it.probability:.0%}" for it in candidates[:LISTED])
    lines = (
        [f"No condition stands out: {plain(said.why or 'too little is known')}", ""] if said.abstained else []
    )
    for it in shown:
        lines.append(f"- {_condition(it)}")
        lines += [f"  - for: {_weighed(one)}" for one in it.evidence[:EVIDENCE]]
        lines += [f"  - against: {_weighed(one)}" for one in it.evidence_against[:EVIDENCE]]
    lines += ["", "Probabilities are of this box's knowledge, decision support and no diagnosis."]
    return card("info", summary, lines, label, "differential")


def _condition(it: Candidate) -> str:
    mark = ", must not be missed" if it.must_not_miss else ""
    source = f"{it.source or 'no source'}; {it.review}"
    return f"{plain(it.name)}: {it.probability:.0%}{mark} ({plain(source)})"


def _weighed(one: Evidence) -> str:
    absent = "" if one.present else "no "
    return f"{absent}{plain(one.finding)}, likelihood ratio {one.likelihood_ratio:.3g} ({plain(one.source)})"


def _next(said: Assessment, label: str) -> Card:
    questions = list(said.ask_next or ())
    lines = ["What would tell most for its cost:", "", *(f"- {plain(question)}" for question in questions)]
    return card("info", f"Ask or test next: {questions[0]}", lines, label, "ask-next")


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {line}" for line in lines), ""] if lines else []
