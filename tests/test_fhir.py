"""One patient's FHIR R4 Bundle reads as the same case that a case JSON would be."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.errors import CaseError
from akazuba.fhir import case_from_bundle
from akazuba.intake.cases import read_cases

DAY = "2026-03-14"
PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1991-07-02"}


def bundle(*resources: dict[str, Any], patient: dict[str, Any] = PATIENT) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "id": "b1",
        "entry": [{"resource": part} for part in (patient, *resources)],
    }


def case(*resources: dict[str, Any], patient: dict[str, Any] = PATIENT) -> dict[str, Any]:
    return case_from_bundle(bundle(*resources, patient=patient)).case


def coded(system: str, code: str, words: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], "text": words}


def observation(loinc: str, at: str = f"{DAY}T10:00:00Z", **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": coded("http://loinc.org", loinc),
        "effectiveDateTime": at,
        **value,
    }


def quantity(loinc: str, value: float, unit: str, at: str = f"{DAY}T10:00:00Z") -> dict[str, Any]:
    return observation(loinc, at, valueQuantity={"value": value, "code": unit})


@pytest.mark.parametrize(
    ("measured", "room", "field", "expected"),
    [
        (("8310-5", 38.4, "Cel"), "vitals", "temperature_c", 38.4),
        (("8310-5", 98.6, "[degF]"), "vitals", "temperature_c", 37.0),
        (("8867-4", 104, "/min"), "vitals", "heart_rate_bpm", 104),
        (("9279-1", 26, "/min"), "vitals", "respiratory_rate_bpm", 26),
        (("8480-6", 108, "mm[Hg]"), "vitals", "systolic_mmhg", 108),
        (("2708-6", 93, "%"), "vitals", "spo2_percent", 93),
        (("59408-5", 93, "%"), "vitals", "spo2_percent", 93),
        (("2339-0", 99, "mg/dL"), "vitals", "glucose_mmol_l", 5.4951),
        (("15074-8", 5.4, "mmol/L"), "vitals", "glucose_mmol_l", 5.4),
        (("29463-7", 3200, "g"), "patient", "weight_kg", 3.2),
        (("29463-7", 100, "[lb_av]"), "patient", "weight_kg", 45.3592),
        (("8302-2", 1.65, "m"), "patient", "height_cm", 165),
        (("8302-2", 65, "[in_i]"), "patient", "height_cm", 165.1),
        (("3151-8", 2, "L/min"), "vitals", "on_oxygen", True),
        (("3150-6", 21, "%"), "vitals", "on_oxygen", False),
    ],
)
def test_a_quantity_is_read_by_its_loinc_code_and_ucum_unit(
    measured: tuple[str, float, str], room: str, field: str, expected: object
) -> None:
    assert case(quantity(*measured))[room][field] == expected


def test_the_blood_pressure_panel_is_read_by_its_components() -> None:
    parts = [
        {"code": coded("http://loinc.org", loinc), "valueQuantity": {"value": value, "code": "mm[Hg]"}}
        for loinc, value in (("8480-6", 120), ("8462-4", 80))
    ]
    assert case(observation("85354-9", component=parts))["vitals"] == {
        "systolic_mmhg": 120,
        "diastolic_mmhg": 80,
    }


def test_a_unit_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        CaseError, match=r"Observation/1: expected a unit of vitals.temperature_c: Cel.*'degrees'"
    ):
        case(quantity("8310-5", 37, "degrees"))


def test_the_latest_value_wins_whatever_the_order() -> None:
    early, late = (
        quantity("8310-5", 39, "Cel", f"{DAY}T08:00:00Z"),
        quantity("8310-5", 37, "Cel", f"{DAY}T09:00:00Z"),
    )
    assert case(early, late)["vitals"] == case(late, early)["vitals"] == {"temperature_c": 37}


def test_a_value_of_last_year_is_not_todays_and_is_counted() -> None:
    reading = case_from_bundle(
        bundle(quantity("8310-5", 39, "Cel", "2025-03-14"), quantity("8867-4", 80, "/min"))
    )
    assert reading.case["vitals"] == {"heart_rate_bpm": 80}
    assert reading.ignored == {"Observation (earlier)": 1}


def test_what_was_entered_in_error_does_not_count() -> None:
    wrong = quantity("8310-5", 41, "Cel") | {"status": "entered-in-error"}
    assert "vitals" not in case(wrong)


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("2026-03-01", {"age_days": 13}),
        ("2025-03-15", {"age_months": 11}),
        ("2021-03-15", {"age_months": 59}),
        ("2021-03-14", {"age_years": 5}),
        ("1991-07-02", {"age_years": 34}),
        ("1991-07", {"age_years": 34}),
        ("1991", {"age_years": 35}),
        ("2026-02", {}),
        ("2024", {}),
    ],
)
def test_the_age_is_that_on_the_day_of_the_observation(born: str, age: dict[str, int]) -> None:
    person = case(quantity("8310-5", 37, "Cel"), patient=PATIENT | {"birthDate": born})["patient"]
    assert person == {"sex": "female", **age}


def test_without_any_date_there_is_no_age() -> None:
    assert case()["patient"] == {"sex": "female"}


@pytest.mark.parametrize(
    ("born", "words"), [("2027-01-01", "a day up to"), ("1990-02-30", "exists"), ("x", "date")]
)
def test_an_impossible_birth_date_is_refused(born: str, words: str) -> None:
    with pytest.raises(CaseError, match=words):
        case(quantity("8310-5", 37, "Cel"), patient=PATIENT | {"birthDate": born})


def test_no_patient_two_patients_and_somebody_elses_result_are_refused() -> None:
    with pytest.raises(CaseError, match="one Patient, found none"):
        case_from_bundle({"resourceType": "Bundle"})
    with pytest.raises(CaseError, match="one Patient, found 2"):
        case(PATIENT)
    with pytest.raises(
        CaseError, match="Observation/1: expected a resource of Patient/p1, found one of 'Patient/p2'"
    ):
        case(quantity("8310-5", 37, "Cel") | {"subject": {"reference": "Patient/p2"}})
    own = quantity("8310-5", 37, "Cel") | {"subject": {"reference": "https://x/fhir/Patient/p1/_history/2"}}
    assert case(own)["vitals"]


def hpo(**status: str) -> dict[str, Any]:
    clinical = {name: coded("", code) for name, code in status.items()}
    code = coded("http://human-phenotype-ontology.org", "HP_0012735", "Cough")
    return {"resourceType": "Condition", "code": code, **clinical}


def test_hpo_conditions_become_findings_and_others_conditions() -> None:
    finding = {"id": "HP:0012735", "present": True}
    assert case(hpo(clinicalStatus="active"))["findings"] == [finding]
    assert case(hpo(verificationStatus="refuted"))["findings"] == [finding | {"present": False}]
    assert "findings" not in case(hpo(clinicalStatus="resolved"))
    asthma = {"resourceType": "Condition", "code": {"text": "Asthma"}}
    assert case(asthma)["conditions"] == ["Asthma"]
    assert "conditions" not in case(asthma | {"verificationStatus": coded("", "refuted")})


def test_an_hpo_observation_is_present_or_absent_by_its_value() -> None:
    code = {"code": coded("http://human-phenotype-ontology.org", "HP:0012735")}
    for value, is_present in (
        ({"valueBoolean": False}, False),
        ({"valueCodeableConcept": {"text": "Present"}}, True),
    ):
        assert case(observation("x") | code | value)["findings"] == [
            {"id": "HP:0012735", "present": is_present}
        ]


def test_consciousness_and_pregnancy_are_read_from_codes_and_words() -> None:
    alert = observation("67775-7", valueCodeableConcept={"text": "Alert"})
    pregnant = observation("82810-3", valueCodeableConcept=coded("http://snomed.info/sct", "77386006"))
    weeks = quantity("11884-4", 210, "d")
    read = case(alert, pregnant, weeks)
    assert read["vitals"] == {"consciousness": "alert"}
    assert read["patient"]["pregnant"] is True
    assert read["gestational_age_weeks"] == 30
    with pytest.raises(CaseError, match="alert, confused, voice, pain or unresponsive, found 'sleepy'"):
        case(observation("80288-4", valueCodeableConcept={"text": "sleepy"}))


def test_other_quantities_are_labs() -> None:
    assert case(quantity("718-7", 9.8, "g/dL"))["labs"] == [{"loinc": "718-7", "value": 9.8, "unit": "g/dL"}]


def test_medicines_and_allergies_of_today_are_read() -> None:
    dose = {"doseAndRate": [{"doseQuantity": {"value": 1, "code": "g"}}]}
    medicine = {"medicationCodeableConcept": {"text": "paracetamol"}, "status": "active", "dosage": [dose]}
    penicillin = {"resourceType": "AllergyIntolerance", "code": {"text": "penicillin"}}
    none_known = {
        "resourceType": "AllergyIntolerance",
        "code": coded("http://snomed.info/sct", "716186003", "None"),
    }
    read = case({"resourceType": "MedicationStatement", **medicine}, penicillin, none_known)
    assert read["medications"] == [{"name": "paracetamol", "dose_mg": 1000}]
    assert read["allergies"] == ["penicillin"]
    stopped = {"resourceType": "MedicationStatement", **medicine, "status": "stopped"}
    assert "medications" not in case(stopped)


def test_what_was_written_becomes_the_note() -> None:
    text = base64.b64encode("Fièvre depuis 3 jours".encode()).decode()
    resources = (
        {"resourceType": "Encounter", "reasonCode": [{"text": "Fever"}], "period": {"start": DAY}},
        {"resourceType": "ClinicalImpression", "summary": "Looks ill."},
        {"resourceType": "Communication", "payload": [{"contentString": "Call back."}]},
        {"resourceType": "DiagnosticReport", "conclusion": "No effusion."},
        {"resourceType": "Composition", "section": [{"text": {"div": "<div>Cough &amp; fever</div>"}}]},
        observation("34109-9", valueString="No chest pain."),
        {
            "resourceType": "DocumentReference",
            "language": "fr-FR",
            "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": text}}],
        },
    )
    read = case(*resources)
    for words in (
        "Fever",
        "Looks ill.",
        "Call back.",
        "No effusion.",
        "Cough & fever",
        "No chest pain.",
        "Fièvre",
    ):
        assert words in read["note"]
    assert read["language"] == "fr"
    assert read["date"] == DAY


def media(kind: dict[str, Any], **attachment: str) -> dict[str, Any]:
    return {
        "resourceType": "Media",
        "id": "m1",
        "content": {"contentType": "image/png", **attachment},
        **kind,
    }


CHEST = {"bodySite": {"text": "Chest"}, "modality": {"coding": [{"code": "DX"}]}}
SKIN = {"bodySite": coded("http://snomed.info/sct", "39937001"), "type": {"text": "Photograph"}}


def test_pictures_are_read_inline_or_beside_the_bundle() -> None:
    reading = case_from_bundle(bundle(media(CHEST, data=base64.b64encode(b"png").decode())))
    assert reading.case["images"] == [{"path": "Media/m1", "kind": "chest-xray"}]
    assert reading.attachments == {"Media/m1": b"png"}
    assert case(media(SKIN, url="arm%201.png"))["images"] == [{"path": "arm 1.png", "kind": "skin-photo"}]


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "../x.png",
        "a/../../x.png",
        "%2e%2e/x.png",
        "file:///x.png",
        "http://x/y.png",
        "a\\..\\b",
    ],
)
def test_a_url_outside_the_bundles_folder_is_refused(url: str) -> None:
    with pytest.raises(CaseError, match="a relative url inside the bundle's folder"):
        case(media(CHEST, url=url))


def test_a_picture_of_no_known_kind_without_content_or_with_broken_base64_is_refused() -> None:
    with pytest.raises(CaseError, match=r"a chest X-ray or a skin photo.*found 'Hand'"):
        case(media({"bodySite": {"text": "Hand"}}, url="a.png"))
    with pytest.raises(CaseError, match="neither"):
        case(media(CHEST))
    with pytest.raises(CaseError, match="base64"):
        case(media(CHEST, data="###"))


def test_what_is_not_read_is_counted() -> None:
    other = {"resourceType": "Immunization"}
    report = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"contentType": "application/pdf"}}],
    }
    reading = case_from_bundle(bundle(other, other, report, observation("8310-5", valueString="warm")))
    assert reading.ignored == {
        "Immunization": 2,
        "DocumentReference (application/pdf)": 1,
        "Observation (not read)": 1,
    }


def test_a_bundles_values_pass_the_same_checks_as_a_cases(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps(bundle(quantity("8310-5", 98.6, "Cel"))))
    (line,) = read_cases(str(path))
    assert line.error is not None
    assert "looks like °F" in str(line.error)
    assert line.case_id == "b1"


FIELDS = """id code status subject component valueQuantity effectiveDateTime issued content bodySite section
    payload clinicalStatus medicationCodeableConcept dosage reasonCode period coding system text value unit
    attachment"""
KINDS = """Observation Condition Media DocumentReference MedicationStatement AllergyIntolerance Composition
    Encounter Communication"""
fields, kinds = st.sampled_from(FIELDS.split()), st.sampled_from(KINDS.split())
shapes = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([DAY, "Patient", "image/png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=6,
)
any_resource = st.builds(
    lambda kind, body: body | {"resourceType": kind}, kinds, st.dictionaries(fields, shapes, max_size=5)
)


@given(st.lists(any_resource, max_size=3), shapes)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_bundle_of_any_shape_gives_a_case_or_a_case_error(
    resources: list[dict[str, Any]], born: object
) -> None:
    with contextlib.suppress(CaseError):
        case(*resources, patient=PATIENT | {"birthDate": born})


def test_half_characters_in_a_bundle_do_not_reach_the_assessment(tmp_path: Path) -> None:
    odd = {"resourceType": "Im\ud800"}
    bundles = [bundle(odd), {**bundle(odd), "id": "b\ud800"}]
    path = tmp_path / "bundles.ndjson"
    path.write_text("\n".join(map(json.dumps, bundles)), encoding="utf-8")
    read, refused = read_cases(str(path))
    assert dict(read.ignored) == {"Im\\ud800": 1}
    assert refused.case_id == "b\\ud800"
    assert refused.error
