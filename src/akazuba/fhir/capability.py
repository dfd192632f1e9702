"""The CapabilityStatement: what the FHIR door does, and nothing that it does not."""

from __future__ import annotations

from collections.abc import Mapping

from akazuba.fhir.events import OURS, TERMS, Json

FHIR_VERSION = "4.0.1"
SINCE = "2026-11-29"
"""The day on which what is stated here last changed."""

_ABOUT_A_PATIENT = {
    "patient": ("reference", "whose; needed"),
    "_lastUpdated": ("date", "when the entry of the log was made that last changed it: ge, gt, le or lt"),
}
_OF_A_PATIENT = {**_ABOUT_A_PATIENT, "subject": ("reference", "the same as patient")}
_OF_ALL = {
    **_OF_A_PATIENT,
    "patient": ("reference", "whose; without it, all who agreed to sharing, and then _lastUpdated is needed"),
}
SEARCHES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Patient": {
        "_id": ("token", "the id of this box"),
        "_lastUpdated": _OF_A_PATIENT["_lastUpdated"],
        "identifier": ("token", "system|value, of this box or of another system"),
        "name": ("string", "every word of it, in any order, whatever its accents and case"),
    },
    "AllergyIntolerance": _ABOUT_A_PATIENT,
    "AuditEvent": _ABOUT_A_PATIENT,
    "CarePlan": _OF_ALL,
    "ClinicalImpression": _OF_ALL,
    "Condition": _OF_A_PATIENT,
    "Consent": _ABOUT_A_PATIENT,
    "Encounter": _OF_A_PATIENT,
    "MedicationStatement": _OF_A_PATIENT,
    "Observation": _OF_A_PATIENT,
    "Provenance": _ABOUT_A_PATIENT,
    "RiskAssessment": _OF_ALL,
}
"""By resource type, what it is searched by: name -> type and meaning."""

_ASSESS: Json = {
    "name": "assess",
    "definition": OURS + "OperationDefinition/assess",
    "documentation": "a Bundle about one patient (or Parameters with one) in, advice out: ClinicalImpression,"
    " RiskAssessment, CarePlan and an OperationOutcome. Kept only with record=true.",
}


def statement(base: str, software: str) -> Json:
    """base: the door's address. software: the version."""
    return {
        "resourceType": "CapabilityStatement",
        "url": base + "/metadata",
        "status": "active",
        "date": SINCE,
        "kind": "instance",
        "software": {"name": "Akazuba", "version": software},
        "implementation": {"description": "the records and the advice of one health post", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "No Subscription: an offline box calls nobody. Poll with _lastUpdated.",
                "security": {
                    "service": [
                        {
                            "coding": [
                                {
                                    "system": TERMS + "restful-security-service",
                                    "code": "SMART-on-FHIR",
                                    "display": "SMART-on-FHIR",
                                }
                            ]
                        }
                    ],
                    "description": "SMART Backend Services: see /.well-known/smart-configuration",
                },
                "resource": [
                    *(_resource(type_, searched) for type_, searched in SEARCHES.items()),
                    {"type": "Bundle", "operation": [_ASSESS]},
                ],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
                "operation": [_ASSESS],
            }
        ],
    }


def _resource(type_: str, searched: Mapping[str, tuple[str, str]]) -> Json:
    return {
        "type": type_,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": name, "type": kind, "documentation": words} for name, (kind, words) in searched.items()
        ],
    }
