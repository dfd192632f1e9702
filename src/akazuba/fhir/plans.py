"""Plans for other systems: a FHIR R4 CarePlan for one patient, a PlanDefinition for one guideline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from akazuba.records import Action

BASE = "https://akazuba.example/guidelines/"
"""Names of our own; nothing is served there."""

_KINDS = {
    "start": "MedicationRequest",
    "increase": "MedicationRequest",
    "reduce": "MedicationRequest",
    "continue": "MedicationRequest",
    "give": "MedicationRequest",
    "stop": "MedicationRequest",
    "avoid": "MedicationRequest",
    "test": "ServiceRequest",
    "refer": "ServiceRequest",
    "admit": "ServiceRequest",
    "advise": "CommunicationRequest",
    "follow-up": "Appointment",
}


def care_plan(case_id: str, title: str, actions: Sequence[Action], created: str | None) -> dict[str, object]:
    """The plan as a draft proposal: a clinician decides and signs. created: the date of the consultation.

    An action that must not be done (`avoid`, or withheld) is there with `doNotPerform` and its reason.
    """
    plan: dict[str, object] = {
        "resourceType": "CarePlan",
        "status": "draft",
        "intent": "proposal",
        "title": title,
        "subject": {"identifier": {"value": case_id}},
        "instantiatesUri": list(dict.fromkeys(BASE + quote(a.guideline) for a in actions)),
        "activity": [{"detail": _detail(action)} for action in actions],
        "note": [{"text": "Proposed by Akazuba. Not reviewed by a clinician until one signs."}],
    }
    if created:
        plan["created"] = created
    return {key: value for key, value in plan.items() if value}


def _detail(action: Action) -> dict[str, object]:
    words = f"{action.action} {action.what}".strip()
    page = f", page {action.page}" if action.page else ""
    why = [f"{action.guideline}, {action.edition}, clause {action.clause}{page} ({action.review})"]
    why += [f"withheld: {reason}" for reason in action.withheld]
    why += [f"assess first: {need}" for need in action.needs]
    why += [f"check first: {check}" for check in action.check_first]
    why += [f"changed by local rules: {change}" for change in action.overlay]
    why += [f"tell the patient: {action.tell}"] if action.tell else []
    detail: dict[str, object] = {
        "code": {"text": words},
        "status": "not-started",
        "doNotPerform": action.action == "avoid" or bool(action.withheld),
        "description": "; ".join([*([action.dose] if action.dose else []), *why]),
    }
    if kind := _KINDS.get(action.action):
        detail["kind"] = kind
        if kind == "MedicationRequest":
            detail["productCodeableConcept"] = {"text": action.what}
    if action.date:
        detail["scheduledPeriod"] = {"start": action.date, "end": action.date}
    elif action.in_days is not None:
        detail["scheduledString"] = f"in {action.in_days:g} days"
    return detail


def plan_definition(about: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, object]:
    """about: id, title, publisher, edition, licence, review, about. rows: of tables that make a plan, each
    with id, table, action, what, when (the row's tests in words), clause and says.
    """
    return {
        "resourceType": "PlanDefinition",
        "id": about["id"],
        "url": BASE + about["id"],
        "version": about["edition"],
        "name": "".join(part.capitalize() for part in about["id"].split("-")),
        "title": about["title"],
        "status": "draft",
        "experimental": True,
        "publisher": about["publisher"],
        "description": f"{about['about']} ({about['review']})",
        "copyright": about["licence"],
        "action": [
            {
                "id": f"{row['table']}-{row['id']}",
                "title": f"{row['action']} {row['what']}".strip(),
                "documentation": [
                    {
                        "type": "citation",
                        "label": row["clause"],
                        "citation": f"{row['clause']}: {row['says']}",
                    }
                ],
                "condition": [
                    {
                        "kind": "applicability",
                        "expression": {"language": "text/x-akazuba-table", "expression": row["when"]},
                    }
                ],
            }
            for row in rows
        ],
    }
