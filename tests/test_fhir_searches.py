"""The FHIR door: what is found by search and by polling, and how it tells what was decided and corrected."""

# ruff: noqa: F401, F811 - the fixtures of fhir_bench are imported by name

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from fhir_bench import (
    CASE,
    INJECTED,
    Bench,
    admitted,
    bench,
    consulted,
    her,
    link,
    post,
    refused,
    resources,
    words,
)

from akazuba.fhir.capability import SEARCHES
from akazuba.governance import fhir_records
from akazuba.governance.audit_reads import who_read
from akazuba.governance.course import WRONG_PATIENT, correct
from akazuba.governance.decisions import Change, decide, record_consultation
from akazuba.records import (
    Assessment,
)
from akazuba.web.post import Records, now_ms

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from seeded_incidents import CLINICIAN, by

# --- searches -----------------------------------------------------------------------------------------


def test_pages_follow_one_another_and_hold_each_resource_once(bench: Bench, her: str) -> None:
    consulted(bench, her, CASE | {"id": "c2", "date": "2026-10-21"})
    whole = resources(bench.get(f"/fhir/Observation?patient={her}&_count=200"))
    path, found = f"/fhir/Observation?patient={her}&_count=3", list[dict[str, Any]]()
    while path:
        answer = bench.get(path)
        assert link(answer, "self") == path
        assert answer.json()["total"] == len(whole)
        assert len(resources(answer)) <= 3
        found += resources(answer)
        path = link(answer, "next")
    assert found == whole
    assert len({one["id"] for one in found}) == len(found) > 20


@pytest.mark.parametrize("shape", ["{}", "Patient/{}", "https://box.example/fhir/Patient/{}"])
def test_a_patient_is_named_by_id_reference_or_address(bench: Bench, her: str, shape: str) -> None:
    named = shape.format(her)
    both = resources(bench.get(f"/fhir/Condition?patient={named}&subject={named}"))
    assert [one["code"]["text"] for one in both] == ["asthma"]


def test_last_updated_bounds_what_is_found(bench: Bench, her: str) -> None:
    path = f"/fhir/Encounter?patient={her}"
    (only,) = resources(bench.get(path))
    at = only["meta"]["lastUpdated"]
    for bound, expected in (("ge", 1), ("gt", 0), ("le", 1), ("lt", 0), ("", 1)):
        for written in (at, at.replace("+", "%2B")):
            assert len(resources(bench.get(f"{path}&_lastUpdated={bound}{written}"))) == expected, bound
    assert resources(bench.get(f"{path}&_lastUpdated=ge2020&_lastUpdated=lt2021")) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("Observation", "patient: expected a patient, such as Patient/p1, found none"),
        ("ClinicalImpression", "patient, _lastUpdated: expected one of them, found neither"),
        ("Patient", "Patient: expected name, identifier or _id, found none of them"),
        ("Patient?name=%20", "Patient: expected name, identifier or _id"),
        ("Patient?name=" + "a" * 201, "name: expected at most 200 characters, found 201"),
        ("Patient?name=a&name=b", "name: expected it once, found it twice"),
        ("Observation?patient=a&subject=b", "patient, subject: expected one patient, found two"),
        ("Observation?patient=Group/1", "patient: expected a reference such as Patient/p1, found 'Group/1'"),
        ("Observation?patient=a&_count=many", "_count: expected a whole number from 0 on, found 'many'"),
        ("CarePlan?_lastUpdated=ge2020&_count=0", "_count: expected 1 or more where no patient is named"),
        ("CarePlan?_lastUpdated=ge2020&_summary=count", "_summary: expected 1 or more where no patient"),
        ("Observation?patient=a&_after=x", "_after: expected a place that a link gave, found 'x'"),
        ("Observation?patient=a&_lastUpdated=gtsoon", "_lastUpdated: expected ge, gt, le, lt or nothing"),
        ("Observation?patient=a&_lastUpdated=gt2026-02-30", "found '2026-02-30'"),
        ("Observation?patient=a&_lastUpdated=gt9999-12-31", "found '9999-12-31'"),
        ("Observation?patient=%27%20OR%201%3D1--", "patient: expected a reference"),
    ],
)
def test_a_search_that_cannot_be_understood_names_what_is_wrong(bench: Bench, path: str, said: str) -> None:
    refused(bench.get(f"/fhir/{path}"), 400, said)


def test_an_unknown_parameter_is_named_or_under_strict_handling_refused(bench: Bench, her: str) -> None:
    path = f"/fhir/Condition?patient={her}&colour=red&code:text=x"
    answer = bench.get(path)
    assert len(resources(answer)) == 1
    assert "passed over, so that more may be here than was asked for: colour, code:text" in words(answer)
    assert "colour" not in link(answer, "self")
    refused(bench.get(path, Prefer="return=minimal; handling=strict"), 400, "found 'colour'")
    refused(bench.get(f"/fhir/Patient/{her}?x=1", Prefer="handling=strict"), 400, "found 'x'")


@pytest.mark.parametrize("path", ["Observation?patient={}", "Patient?_id={}", "CarePlan?patient={}"])
def test_a_summary_that_counts_is_a_bundle_with_the_total_and_nothing_else(
    bench: Bench, her: str, path: str
) -> None:
    path = f"/fhir/{path.format(her)}"
    whole = bench.get(f"{path}&_count=200").json()
    counted = bench.get(f"{path}&_summary=count&_count=7").json()
    assert counted["total"] == whole["total"] == len(resources(bench.get(f"{path}&_count=200"))) > 0
    assert counted.keys() == {"resourceType", "type", "total", "link"}
    assert [one["relation"] for one in counted["link"]] == ["self"]
    assert "_summary=count" in counted["link"][0]["url"]
    assert bench.get(f"{path}&_summary=false&_count=200").json()["entry"] == whole["entry"]


def test_a_summary_that_would_shorten_resources_is_passed_over_and_named(bench: Bench, her: str) -> None:
    path = f"/fhir/Patient?_id={her}&_summary=true"
    answer = bench.get(path)
    assert [one["id"] for one in resources(answer)] == [her]
    assert "passed over, so that more may be here than was asked for: _summary=true" in words(answer)
    refused(bench.get(path, Prefer="handling=strict"), 400, "found '_summary=true'")


def test_a_name_of_any_kind_is_searched_as_it_stands(bench: Bench) -> None:
    admitted(bench, "odd-name", f"Bobby {INJECTED}")
    admitted(bench, "percent", "100% Sure_Thing")
    for name, ids in (
        (INJECTED, ["odd-name"]),
        ("<script>", ["odd-name"]),
        ("bobby robert", ["odd-name"]),
        ("100%", ["percent"]),
        ("sure_thing", ["percent"]),
        ("sureXthing", []),
        ("%", ["percent"]),
        ("' OR '1'='1", []),
        ("\0", []),
    ):
        answer = bench.send(
            "/fhir/Patient/_search",
            urlencode({"name": name}).encode(),
            "system/*.read",
            "application/x-www-form-urlencoded",
        )
        assert [one["id"] for one in resources(answer)] == ids, name
    assert bench.store(lambda store: store.person("odd-name")).name.startswith("Bobby")


def test_a_form_of_another_kind_is_refused(bench: Bench) -> None:
    refused(bench.send("/fhir/Patient/_search", b"name=a", "system/*.read"), 415, "Content-Type")
    form = "application/x-www-form-urlencoded"
    refused(bench.send("/fhir/Patient/_search", b"name=%ff", "system/*.read", form), 400, "a form in UTF-8")
    refused(bench.send("/fhir/Patient/_search", b"a" * 70_000, "system/*.read", form), 413, "body")


def test_only_json_is_spoken(bench: Bench, her: str) -> None:
    refused(bench.get(f"/fhir/Patient/{her}", accept="application/fhir+xml"), 406, "Accept")
    refused(bench.get(f"/fhir/Patient/{her}?_format=xml"), 406, "_format")
    for accept in ("application/fhir+json", "text/html, */*;q=0.1", "application/json; charset=utf-8"):
        assert bench.get(f"/fhir/Patient/{her}", accept=accept).status_code == 200


def test_an_id_that_fhir_does_not_allow_is_found_under_its_hash(bench: Bench) -> None:
    admitted(bench, "é/1", "Uwera Odette")
    (found,) = resources(bench.get("/fhir/Patient?name=odette"))
    assert found["id"].startswith("sha256-")
    assert bench.get(f"/fhir/Patient/{found['id']}").json()["name"] == [{"text": "Uwera Odette"}]
    assert resources(bench.get(f"/fhir/Consent?patient={found['id']}"))


# --- polling ------------------------------------------------------------------------------------------


def polled(bench: Bench, path: str) -> list[dict[str, Any]]:
    found = []
    while path:
        answer = bench.get(path)
        found += resources(answer)
        path = link(answer, "next")
    return found


def test_a_poll_gives_what_is_new_of_all_who_agreed_and_counts_the_others(bench: Bench, her: str) -> None:
    _, seen = consulted(bench, her, CASE | {"id": "before"})
    admitted(bench, f"{her}-b", "Mugabo Eric")
    admitted(bench, f"{her}-c", "Kamanzi Jean", "care")
    expected = [consulted(bench, f"{her}-b", CASE | {"id": "b"})[1]]
    consulted(bench, f"{her}-c", CASE | {"id": "c"})
    expected.append(consulted(bench, her, CASE | {"id": "after"})[1])
    answer = bench.get(f"/fhir/ClinicalImpression?_after={seen}")
    assert [one["id"] for one in resources(answer)] == [f"entry-{index}" for index in expected]
    assert "left out: 1 patients who did not agree to sharing" in words(answer)
    assert "total" not in answer.json()
    assert bench.store(lambda store: who_read(store, f"{her}-c")) == []
    assert len(bench.store(lambda store: who_read(store, f"{her}-b"))) == 1


@pytest.mark.parametrize("kind", fhir_records.POLLED)
def test_a_poll_in_small_pages_gives_the_same(
    bench: Bench, her: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        consulted(bench, her, CASE | {"id": f"poll-{number}"})
    whole = polled(bench, f"/fhir/{kind}?_lastUpdated=ge2020-01-01&_count=200")
    monkeypatch.setattr(fhir_records, "LOOKED", 2)
    small = polled(bench, f"/fhir/{kind}?_lastUpdated=ge2020-01-01&_count=2")
    assert [one["id"] for one in small] == [one["id"] for one in whole]
    assert len(whole) >= 6


def test_a_decision_comes_with_the_next_poll(bench: Bench, her: str) -> None:
    (entry,) = bench.entries(patient=her, kind="assessment")
    index = entry.index
    (before,) = resources(bench.get(f"/fhir/ClinicalImpression?_after={index - 1}&_count=1"))
    assert (before["status"], before["statusReason"]["text"]) == (
        "in-progress",
        "not reviewed by a clinician",
    )
    decided(bench, her, index, "accept")
    (after,) = [
        one for one in polled(bench, f"/fhir/ClinicalImpression?_after={index}") if one["id"] == before["id"]
    ]
    assert after["status"] == "completed"
    assert after["statusReason"]["text"].startswith(f"accepted by {CLINICIAN[0]} (clinician), entry ")
    assert int(after["meta"]["versionId"]) > int(before["meta"]["versionId"])


# --- what was decided and corrected -------------------------------------------------------------------


def decided(bench: Bench, patient: str, index: int, choice: str) -> None:
    changes = (Change("triage.level", "yellow", "red"),) if choice == "change" else ()

    def work(records: Records) -> None:
        decide(
            records.opened(),
            records.identity(),
            by(*CLINICIAN),
            index,
            patient,
            choice,  # type: ignore[arg-type]
            "" if choice == "accept" else "she looks worse",
            changes,
            now_ms=now_ms(),
        )

    asyncio.run(bench.post.records(work))


@pytest.mark.parametrize(
    ("choice", "risk", "plan", "said"),
    [
        ("accept", "final", ("active", "plan"), "accepted by"),
        ("change", "preliminary", ("draft", "proposal"), "triage.level: advised yellow, instead red"),
        ("refuse", "cancelled", ("revoked", "proposal"), "because: she looks worse"),
    ],
)
def test_advice_is_a_draft_until_a_clinician_decides(
    bench: Bench, her: str, choice: str, risk: str, plan: tuple[str, str], said: str
) -> None:
    (entry,) = bench.entries(patient=her, kind="assessment")
    id_ = f"entry-{entry.index}"
    assert bench.get(f"/fhir/RiskAssessment/{id_}").json()["status"] == "preliminary"
    draft = bench.get(f"/fhir/CarePlan/{id_}").json()
    assert (draft["status"], draft["intent"]) == ("draft", "proposal")
    assert "IMCI, 2014, clause p3" in draft["activity"][0]["detail"]["description"]
    assert [one["detail"]["doNotPerform"] for one in draft["activity"]] == [False, True]
    decided(bench, her, entry.index, choice)
    assert bench.get(f"/fhir/RiskAssessment/{id_}").json()["status"] == risk
    after = bench.get(f"/fhir/CarePlan/{id_}").json()
    assert (after["status"], after["intent"]) == plan
    assert said in after["note"][0]["text"]


def test_a_corrected_value_says_so_and_one_taken_back_was_an_error(bench: Bench, her: str) -> None:
    (case,) = bench.entries(patient=her, kind="case")
    path = f"/fhir/Observation/entry-{case.index}"
    bench.store(lambda s: correct(s, "nurse-1", case.index, "vitals.heart_rate_bpm", 140, "typed wrong"))
    bench.store(lambda s: correct(s, "nurse-1", case.index, "vitals.temperature_c", None, "not measured"))
    bench.store(lambda s: correct(s, "nurse-1", case.index, "allergies", [], "asked again"))
    heart = bench.get(f"{path}-heart-rate-bpm").json()
    assert (heart["status"], heart["valueQuantity"]["value"]) == ("corrected", 140)
    assert bench.get(f"{path}-temperature-c").json()["status"] == "entered-in-error"
    assert bench.get(f"{path}-spo2-percent").json()["status"] == "final"
    (allergy,) = resources(bench.get(f"/fhir/AllergyIntolerance?patient={her}"))
    assert allergy["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    (impression,) = resources(bench.get(f"/fhir/ClinicalImpression?patient={her}"))
    assert "its case was corrected afterwards" in impression["statusReason"]["text"]


def test_a_case_of_another_patient_is_withheld_and_said_to_be_an_error(bench: Bench, her: str) -> None:
    (case,) = bench.entries(patient=her, kind="case")
    bench.store(lambda s: correct(s, "nurse-1", case.index, WRONG_PATIENT, "p-other", "wrong record open"))
    states = set()
    for kind in SEARCHES.keys() - {"Patient", "Consent", "AuditEvent", "Provenance"}:
        answer = bench.get(f"/fhir/{kind}?patient={her}")
        for secret in ("asthma", "penicillin", "paracetamol", "Cough", "104", "tuberculosis", "p-other"):
            assert secret not in answer.text, (kind, secret)
        for one in resources(answer):
            verified = one.get("verificationStatus", {"coding": [{}]})["coding"][0].get("code")
            states.add(one.get("status") or verified)
    assert states == {"entered-in-error"}


def test_an_assessment_that_failed_is_not_shown_as_one(bench: Bench, her: str) -> None:
    said = msgspec.json.encode(Assessment("c1", error="case: expected a case, found none"))
    body = json.dumps(CASE).encode()
    bench.store(lambda store: record_consultation(store, body, said, "nurse-1", her))
    found = resources(bench.get(f"/fhir/ClinicalImpression?patient={her}"))
    assert found[-1]["finding"] == [{"itemCodeableConcept": {"text": "urgency: unassessed"}}]
    assert found[-1]["note"] == [{"text": "not assessed: case: expected a case, found none"}]
    assert len(resources(bench.get(f"/fhir/CarePlan?patient={her}"))) == 1
