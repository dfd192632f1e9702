"""The FHIR door: what is sent to it, and every way in which nothing of it is kept."""

# ruff: noqa: F401, F811 - the fixtures of fhir_bench are imported by name

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import httpx
import pytest
from door_bench import ORIGIN, Knocking, client_of
from fhir_bench import (
    CASE,
    FHIR_JSON,
    HERSELF,
    INJECTED,
    KEY,
    NATIONAL,
    PATIENT,
    TEXT,
    Bench,
    bench,
    bundle,
    her,
    identified,
    observation,
    post,
    quantity,
    refused,
    resources,
    words,
)

from akazuba.governance import fhir_import
from akazuba.governance.consent import Consent, Withdrawal, give, withdraw
from akazuba.web.post import now_ms


def test_a_bundle_is_assessed_and_nothing_is_kept(bench: Bench) -> None:
    size = bench.store(lambda store: store.size)
    immunization = {
        "resourceType": "Immunization",
        "status": "completed",
        "patient": {"reference": "Patient/77"},
    }
    for path in ("/fhir/$assess", "/fhir/Bundle/$assess"):
        answer = bench.send(path, bundle(immunization), "system/assess")
        assert answer.status_code == 200
        by_kind = {entry["resource"]["resourceType"]: entry["resource"] for entry in answer.json()["entry"]}
        assert by_kind.keys() >= {"ClinicalImpression", "RiskAssessment", "CarePlan", "OperationOutcome"}
        impression = by_kind["ClinicalImpression"]
        assert impression["finding"][0]["itemCodeableConcept"]["text"] == "urgency: red"
        assert "unresponsive" in impression["finding"][0]["basis"]
        assert impression["subject"] == {"reference": "Patient/77"}
        assert impression["statusReason"]["text"] == "not reviewed by a clinician"
        assert "clause" in by_kind["CarePlan"]["activity"][0]["detail"]["description"]
        assert "not read: Immunization (1)" in words(answer)
        assert "decision support, not reviewed by a clinician" in words(answer)
    assert bench.store(lambda store: store.size) == size


def test_a_bundle_may_come_in_parameters(bench: Bench) -> None:
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "bundle", "resource": bundle()}]}
    answer = bench.send("/fhir/$assess", wrapped, "system/assess", "application/json; charset=utf-8")
    assert answer.json()["entry"][0]["resource"]["finding"]
    wrapped["parameter"] *= 2
    refused(
        bench.send("/fhir/$assess", wrapped, "system/assess"),
        400,
        "Parameters: expected one Bundle, found 2 resources",
    )
    refused(bench.send("/fhir", wrapped), 400, "resourceType: expected Bundle, found 'Parameters'")


def test_what_nobody_assessed_is_never_shown_as_safe(bench: Bench) -> None:
    only = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}]}
    answer = bench.send("/fhir/$assess", only, "system/assess")
    impression = answer.json()["entry"][0]["resource"]
    assert impression["finding"] == [{"itemCodeableConcept": {"text": "urgency: unassessed"}}]
    assert "could not be assessed; that does not mean that it is low" in impression["note"][0]["text"]
    assert "the urgency could not be assessed" in words(answer)
    assert "could raise the urgency: heart rate" in words(answer).replace("_", " ")
    severities = {one["severity"] for one in answer.json()["entry"][-1]["resource"]["issue"]}
    assert "warning" in severities


def imported(answer: httpx.Response) -> tuple[str, str]:
    """Patient and Encounter as the answer locates them."""
    found = [entry["response"] for entry in answer.json()["entry"]]
    patient = next(one["location"] for one in found if "location" in one)
    return patient.removeprefix("Patient/"), found[0]["status"]


@pytest.mark.parametrize(
    ("type_", "answered"),
    [
        ("transaction", "transaction-response"),
        ("batch", "batch-response"),
        ("collection", "transaction-response"),
    ],
)
def test_a_bundle_is_taken_in_as_one_consultation_and_only_once(
    bench: Bench, her: str, type_: str, answered: str
) -> None:
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "period": {"start": "2026-09-21T09:00:00Z"},
    }
    came = identified(f"{her}-x", encounter, {"resourceType": "Immunization"}, type_=type_)
    if type_ != "collection":
        for entry in came["entry"]:
            entry["request"] = {"method": "POST", "url": entry["resource"]["resourceType"]}
    body = json.dumps(came, indent=1).encode()
    first = bench.send("/fhir", body)
    assert (first.status_code, first.json()["type"]) == (200, answered)
    assert len(first.json()["entry"]) == len(came["entry"])
    patient, status = imported(first)
    assert status == "201 Created"
    assert "urgency: red, in ClinicalImpression/entry-" in words(first)
    assert "Immunization: kept whole with the Bundle; not read" in words(first)
    kept = bench.entries(patient=patient)
    kinds = ["patient", "identifier", "source", "case", "assessment", "basis"]
    assert [entry.kind for entry in kept] == kinds
    assert kept[2].body == body
    assert {entry.by for entry in kept} == {"program:emr", "box"}
    second = bench.send("/fhir/", body)
    assert imported(second) == (patient, "200 OK")
    assert "these bytes were here before: ClinicalImpression/entry-" in words(second)
    assert bench.entries(patient=patient) == kept


def test_what_was_taken_in_can_be_read_once_she_agrees(bench: Bench, her: str) -> None:
    patient, _ = imported(bench.send("/fhir", identified(f"{her}-x")))
    refused(bench.get(f"/fhir/Patient/{patient}"), 403, "nobody agreed to sharing")
    bench.store(lambda store: give(store, patient, "nurse-1", Consent(("sharing",), HERSELF, TEXT), now_ms()))
    said = bench.get(f"/fhir/Patient/{patient}").json()
    assert said["name"] == [{"text": "Ingabire Claudine"}]
    assert {"system": NATIONAL, "value": f"{her}-x"} in said["identifier"]
    (found,) = resources(bench.get(f"/fhir/Patient?identifier={NATIONAL}|{her}-x"))
    assert found["id"] == patient
    assert resources(bench.get(f"/fhir/Patient?identifier=urn:other|{her}-x")) == []


def test_a_recorded_assessment_is_an_import_with_its_advice(bench: Bench, her: str) -> None:
    answer = bench.send("/fhir/$assess?record=true", identified(f"{her}-x"))
    impression = answer.json()["entry"][0]["resource"]
    assert impression["statusReason"]["text"].startswith("not reviewed by a clinician yet; kept as")
    index = int(impression["id"].removeprefix("entry-"))
    assert bench.store(lambda store: store.entry(index)).kind == "assessment"
    refused(bench.send("/fhir/$assess?record=maybe", identified(her)), 400, "record: expected true or false")


def test_an_emergency_that_is_sent_today_waits_in_the_queue_and_an_old_case_does_not(
    bench: Bench, her: str
) -> None:
    today = f"{date.today().isoformat()}T10:00:00Z"  # noqa: DTZ011 - the day at the post
    level = observation("80288-4", valueCodeableConcept={"text": "unresponsive"}, effectiveDateTime=today)

    def waiting() -> dict[str, str]:
        return asyncio.run(
            bench.post.records(lambda kept: {one.case_id: one.level for one in kept.queue.waiting()})
        )

    before = waiting()
    bench.send("/fhir", identified(f"{her}-old"))
    assert waiting() == before
    sent = [identified(f"{her}-now", level) for _ in range(2)]
    for each in sent:
        bench.send("/fhir", each)
    (new,) = waiting().keys() - before.keys()
    assert waiting()[new] == "red"


def test_one_identifier_is_one_patient_whatever_her_other_numbers(bench: Bench, her: str) -> None:
    both = [{"system": NATIONAL, "value": her}, {"system": "urn:emr", "value": f"{her}-2"}]
    first, _ = imported(bench.send("/fhir", bundle(identifier=both)))
    for one in both:
        again, _ = imported(bench.send("/fhir", bundle(identifier=[one], id="other-id-there", name=[])))
        assert again == first
    other, _ = imported(bench.send("/fhir", bundle(identifier=[{"system": "urn:emr", "value": her}])))
    assert other != first
    mixed = [both[0], {"system": "urn:emr", "value": her}]
    refused(bench.send("/fhir", bundle(identifier=mixed)), 409, "expected identifiers of one patient")


def test_another_boxs_number_is_not_this_boxs_patient(bench: Bench, her: str) -> None:
    ours = [{"system": "https://akazuba.example/fhir/patient", "value": her}]
    there, _ = imported(bench.send("/fhir", bundle(identifier=ours)))
    assert there != her
    for numbered in ({"id": her, "identifier": []}, {"identifier": [{"value": her}]}):
        assert imported(bench.send("/fhir", bundle(**numbered)))[0] not in (her, there)


def test_a_patient_of_this_box_is_meant_by_her_address_here_and_her_name(bench: Bench, her: str) -> None:
    came = bundle(name=[{"text": f"{her} UWIMANA"}])
    came["entry"][0]["fullUrl"] = f"{ORIGIN}/fhir/Patient/{her}"
    came["entry"][1]["resource"]["subject"] = {"reference": f"{ORIGIN}/fhir/Patient/{her}"}
    assert imported(bench.send("/fhir", came))[0] == her
    for field, value, said in (
        ("name", [{"text": "Somebody Else"}], "Patient.name"),
        ("gender", "male", "Patient.gender"),
        ("birthDate", "1986", "Patient.birthDate"),
    ):
        other = json.loads(json.dumps(came))
        other["entry"][0]["resource"][field] = value
        before = bench.store(lambda store: store.size)
        refused(bench.send("/fhir", other), 409, f"{said}: expected")
        assert bench.store(lambda store: store.size) == before
        assert "1985" not in bench.send("/fhir", other).text
    came["entry"][0]["fullUrl"] = f"{ORIGIN}/fhir/Patient/nobody-here"
    came["entry"][1]["resource"]["subject"] = {"reference": "Patient/77"}
    refused(bench.send("/fhir", came), 404, "a patient of this box")


def test_whoever_refuses_care_or_was_erased_is_not_taken_in(bench: Bench, her: str) -> None:
    came = identified(f"{her}-x")
    patient, _ = imported(bench.send("/fhir", came))
    bench.store(lambda store: withdraw(store, patient, "nurse-1", Withdrawal(("care",), HERSELF)))
    refused(bench.send("/fhir", came), 403, "expected one who agrees to care")
    bench.store(lambda store: store.erase(patient, "supervisor", "asked for it"))
    size = bench.store(lambda store: store.size)
    refused(bench.send("/fhir", came), 410, "expected one that was not erased here")
    assert bench.store(lambda store: store.size) == size


def test_an_import_that_was_cut_off_is_finished_when_it_comes_again(
    bench: Bench, her: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> Any:
        raise OSError("power")

    came = identified(f"{her}-x")
    with monkeypatch.context() as patch:
        patch.setattr(fhir_import, "record_consultation", cut)
        answer = client_of(bench.app).post(
            "/fhir",
            content=json.dumps(came),
            headers={
                **Knocking(bench.app, "emr", KEY).bearer("system/*.write"),
                "content-type": FHIR_JSON,
            },
        )
        assert answer.status_code == 500
    patient, status = imported(bench.send("/fhir", came))
    assert status == "201 Created"
    assert [e.kind for e in bench.entries(patient=patient)].count("case") == 1


OTHER = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "x"},
    "subject": {"reference": "Patient/78"},
}
LINKED = {
    "resourceType": "Media",
    "status": "completed",
    "bodySite": {"text": "skin"},
    "content": {"contentType": "image/png", "url": "etc/passwd.png"},
}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "body: expected FHIR as JSON, found nothing"),
        (b"{", 400, "body: expected FHIR as JSON, found Expecting property name"),
        (b"<Bundle/>", 400, "body: expected FHIR as JSON, found Expecting value"),
        (b"\xff\xfe", 400, "body: expected text in UTF-8, found byte 0xff at 0"),
        (b"[]", 400, "body: expected a FHIR resource (a JSON object), found list"),
        (b'{"a": 1, "a": 2}', 400, "'a': expected each field once, found it twice"),
        (b'{"a": NaN}', 400, "body: expected numbers that end, found NaN"),
        (b'{"resourceType": "\\ud83d"}', 400, "body: expected text in Unicode, found half of a surrogate"),
        (b"[" * 100_000, 400, "body: expected FHIR's nesting"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "body: expected numbers that can be read"),
        (PATIENT, 400, "resourceType: expected Bundle"),
        ({"resourceType": "Bundle", "type": "collection"}, 400, "Bundle: expected one Patient, found none"),
        (
            {"resourceType": "Bundle", "type": "collection", "entry": 3},
            400,
            "Bundle.entry: expected a list of objects",
        ),
        (bundle({**PATIENT, "id": "78"}), 400, "Bundle: expected one Patient, found 2"),
        (bundle(OTHER), 400, "Observation/4: expected a resource of Patient/77, found one of 'Patient/78'"),
        (bundle(LINKED), 400, "no file of this box is opened for a program"),
        (bundle(quantity("8310-5", 37, "degrees")), 400, "found 'degrees'"),
        (bundle(quantity("8310-5", 98, "Cel")), 422, "vitals.temperature_c: expected 25 to 45 °C, found 98"),
        (bundle(birthDate="2999-01-01"), 400, "Patient.birthDate"),
        (bundle(id="", identifier=[]), 422, "an identifier with its system, or an id"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_kept(
    bench: Bench, body: Any, status: int, said: str
) -> None:
    size = bench.store(lambda store: store.size)
    refused(bench.send("/fhir", body), status, said)
    if "identifier" not in said and "resourceType" not in said:
        refused(bench.send("/fhir/$assess", body, "system/assess"), status, said)
    assert bench.store(lambda store: store.size) == size


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "document"}, "Bundle.type: expected transaction, batch, collection, found 'document'"),
        ({"type": None}, "Bundle.type: expected transaction, batch, collection, found None"),
    ],
)
def test_a_bundle_of_another_type_is_no_import(bench: Bench, change: dict[str, Any], said: str) -> None:
    refused(bench.send("/fhir", bundle() | change), 400, said)


@pytest.mark.parametrize("method", ["DELETE", "GET", "PATCH"])
def test_a_transaction_deletes_nothing(bench: Bench, method: str) -> None:
    came = bundle(type_="transaction")
    came["entry"][1]["request"] = {"method": method, "url": "Observation/1"}
    refused(bench.send("/fhir", came), 400, "Bundle.entry[1].request.method: expected POST or PUT")


def test_too_much_and_the_wrong_kind_are_refused(bench: Bench) -> None:
    long = b'{"resourceType": "Bundle", "x": "' + b"a" * (16 * 1024**2) + b'"}'
    for path, scope in (("/fhir", "system/*.write"), ("/fhir/$assess", "system/assess")):
        refused(bench.send(path, long, scope), 413, "body: expected at most 16777216 bytes, found more")
        for kind in ("text/plain", "application/fhir+xml", "multipart/form-data", ""):
            refused(bench.send(path, bundle(), scope, kind), 415, "application/fhir+json")


def test_injected_words_stay_words(bench: Bench, her: str) -> None:
    patient, _ = imported(
        bench.send("/fhir", identified(f"{her}'; DROP TABLE entry;--", name=[{"text": INJECTED}]))
    )
    assert bench.store(lambda store: store.person(patient)).name == INJECTED
    assert bench.store(lambda store: store.damaged()) == []
    (note,) = [
        one for one in resources(bench.get(f"/fhir/Observation?patient={her}")) if one["id"].endswith("-note")
    ]
    assert note["valueString"] == CASE["note"]
