"""AuditEvent, Consent and Provenance of FHIR R4 (4.0.1): who saw what, who agreed, where a record comes from.

The AuditEvents follow IHE's Basic Audit Log Patterns (BALP 1.1, https://profiles.ihe.net/ITI/BALP):
PatientRead, Query and PrivacyDisclosure.Source. Where BALP asks for the two ends of a network, both are this
box.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
TERMS = "http://terminology.hl7.org/CodeSystem/"
OURS = "https://akazuba.example/fhir/"
"""Names of our own; nothing is served there."""

ENTRY = OURS + "entry"
"""Names an entry of an audit log: its index, from 0."""

Json = dict[str, object]


def read_event(patient: str, by: str, why: str, what: str, at_ms: int) -> Json:
    """That somebody was shown what is kept of a patient (BALP PatientRead). what: which part of it."""
    return {
        **_event("PatientRead", patient, by, why, at_ms, what, "4", "Domain Resource"),
        "type": _coding(TERMS + "audit-event-type", "rest", "Restful Operation"),
        "subtype": [_coding("http://hl7.org/fhir/restful-interaction", "read", "read")],
    }


def search_event(patients: Sequence[str], by: str, why: str, asked: str, at_ms: int) -> Json:
    """That somebody searched, and whose particulars the answer showed (BALP Query; each patient is named).

    asked: the query as it is kept. The words searched for are no part of it: a name in it would outlive the
    erasure of whoever bears it.
    """
    query: Json = {
        "type": _coding(TERMS + "audit-entity-type", "2", "System Object"),
        "role": _coding(TERMS + "object-role", "24", "Query"),
        "query": base64.b64encode(asked.encode()).decode(),
    }
    return {
        **_event("Query", "", by, why, at_ms, "", "24", "Query"),
        "action": "E",
        "type": _coding(TERMS + "audit-event-type", "rest", "Restful Operation"),
        "subtype": [_coding("http://hl7.org/fhir/restful-interaction", "search-type", "search-type")],
        "entity": [*(_her(patient) for patient in patients), query],
    }


def patients_of(event: Mapping[str, object]) -> list[str]:
    """Ids of the resources of the patients that an AuditEvent names."""
    entities = event.get("entity")
    whats = (
        [one.get("what") for one in entities if isinstance(one, dict)] if isinstance(entities, list) else []
    )
    named = [str(what.get("reference", "")) for what in whats if isinstance(what, dict)]
    return [name.removeprefix("Patient/") for name in named if name.startswith("Patient/")]


def disclosure_event(patient: str, by: str, to: str, why: str, what: str, at_ms: int) -> Json:
    """That a patient's record is handed out (BALP PrivacyDisclosure.Source). to: who gets it."""
    event = _event("PrivacyDisclosure.Source", patient, by, why, at_ms, what, "3", "Report")
    recipient = _agent(_coding(DICOM, "110152", "Destination Role ID"), to, network=to)
    return {
        **event,
        "type": _coding(DICOM, "110106", "Export"),
        "subtype": [_coding(TERMS + "iso-21089-lifecycle", "disclose", "Disclose Record Lifecycle Event")],
        "agent": [_source(), recipient, _user(by)],
    }


def event_reason(event: Mapping[str, object]) -> str:
    """Why, in the words that were given; "" where there are none."""
    reasons = event.get("purposeOfEvent")
    first = reasons[0] if isinstance(reasons, list) and reasons else None
    words = first.get("text") if isinstance(first, dict) else None
    return words if isinstance(words, str) else ""


def consent(patient: str, index: int, at_ms: int, said: Mapping[str, str], ends_ms: int | None) -> Json:
    """One purpose of one entry of the log. said: purpose, status (active or inactive), type (permit or
    deny), agreed_by, language, text_sha256, text_version.
    """
    period = {} if ends_ms is None else {"period": {"end": instant(ends_ms)}}
    research = said["purpose"] == "training"
    scope = "research" if research else "treatment" if said["purpose"] == "care" else "patient-privacy"
    shown = f"text {said['text_version']} in {said['language']}, SHA-256 {said['text_sha256']}"
    shown = shown if said["text_sha256"] else "withdrawn"
    return {
        "resourceType": "Consent",
        "id": f"entry-{index}-{said['purpose']}",
        "status": said["status"],
        "scope": {"coding": [_coding(TERMS + "consentscope", scope, scope)]},
        "category": [{"coding": [_coding("http://loinc.org", "59284-0", "Consent Document")]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": instant(at_ms),
        "performer": [{"display": said["agreed_by"]}],
        "policyRule": {"text": shown},
        "provision": {
            "type": said["type"],
            "purpose": [_coding(OURS + "purpose", said["purpose"], said["purpose"])],
            **period,
        },
    }


def provenance(targets: Sequence[str], log: str, index: int, leaf: bytes, by: str, at_ms: int) -> Json:
    """From which entry of which log resources come. targets: references. leaf: the entry's hash there."""
    entry = {"identifier": {"system": ENTRY, "value": str(index)}}
    return {
        "resourceType": "Provenance",
        "id": f"entry-{index}",
        "target": [{"reference": target} for target in targets],
        "recorded": instant(at_ms),
        "agent": [{"who": {"identifier": {"system": OURS + "user", "value": by}, "display": by}}],
        "entity": [
            {
                "role": "source",
                "what": {**entry, "display": f"entry {index} of the log {log}, leaf SHA-256 {leaf.hex()}"},
            }
        ],
    }


def instant(at_ms: int) -> str:
    """A moment of the box's clock as FHIR writes it.

    >>> instant(1_790_000_000_000)
    '2026-09-21T14:13:20.000+00:00'
    """
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00.000+00:00"  # a clock that shows no year of FHIR's


def _event(
    profile: str, patient: str, by: str, why: str, at_ms: int, what: str, role: str, role_name: str
) -> Json:
    """What both kinds share. role: of the data, from FHIR's object-role."""
    return {
        "resourceType": "AuditEvent",
        "meta": {"profile": [BALP + profile]},
        "action": "R",
        "recorded": instant(at_ms),
        "outcome": "0",
        "purposeOfEvent": [{"text": why}],
        "agent": [_client(), _source(), _user(by)],
        "source": {
            "observer": _box(),
            "type": [_coding(TERMS + "security-source-type", "4", "Application Server")],
        },
        "entity": [
            _her(patient),
            {
                "what": {"identifier": {"system": ENTRY, "value": what}},
                "type": _coding(TERMS + "audit-entity-type", "2", "System Object"),
                "role": _coding(TERMS + "object-role", role, role_name),
            },
        ],
    }


def _her(patient: str) -> Json:
    return {
        "what": {"reference": f"Patient/{patient}"},
        "type": _coding(TERMS + "audit-entity-type", "1", "Person"),
        "role": _coding(TERMS + "object-role", "1", "Patient"),
    }


def _client() -> Json:
    return _agent(_coding(DICOM, "110152", "Destination Role ID"), "Akazuba", network="localhost")


def _source() -> Json:
    return _agent(_coding(DICOM, "110153", "Source Role ID"), "Akazuba", network="localhost")


def _user(by: str) -> Json:
    return {
        **_agent(_coding(TERMS + "v3-ParticipationType", "IRCP", "information recipient"), by),
        "requestor": True,
    }


def _agent(type_: Json, who: str, network: str = "") -> Json:
    """network: the end's name; FHIR's network type 1 is a machine's name."""
    end = {"network": {"address": network, "type": "1"}} if network else {}
    return {"type": {"coding": [type_]}, "who": {"display": who}, "requestor": False, **end}


def _box() -> Json:
    return {"display": "Akazuba"}


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}
