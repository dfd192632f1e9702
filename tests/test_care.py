"""All guidelines over one case: what raises the urgency, one plan, and what must not be given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from akazuba.cli import main
from akazuba.errors import ArtefactError, CaseError, InputError
from akazuba.fhir.plans import care_plan, plan_definition
from akazuba.guidelines.care import Care, care_for, raised
from akazuba.guidelines.case_values import values_of
from akazuba.guidelines.conformance import action_words
from akazuba.guidelines.describe import rows_for_fhir
from akazuba.guidelines.library import shipped
from akazuba.guidelines.values import Unassessed, Value
from akazuba.guidelines.workbook import read_workbook, write_folder, write_workbook
from akazuba.records import Action, Case, Finding, Triage


def case_of(**fields: Any) -> Case:
    return msgspec.convert({"id": "c", **fields}, Case)


def values(case: Case) -> dict[str, Value]:
    library = shipped()
    return values_of(library.all_inputs, case, (), lambda _: frozenset(), library.formulary.parts)


def care(**fields: Any) -> Care:
    case = case_of(**fields)
    return care_for(shipped(), case, values(case), "green")


def planned(of: Care, what: str) -> Action:
    return next(action for action in of.plan if action.what == what)


ILL_ADULT = {
    "patient": {"age_years": 40, "sex": "male"},
    "vitals": {
        "respiratory_rate_bpm": 26,
        "spo2_percent": 93,
        "heart_rate_bpm": 112,
        "systolic_mmhg": 108,
        "temperature_c": 38.4,
    },
}


# --- urgency ------------------------------------------------------------------------------------


def test_an_early_warning_score_raises_a_green_patient() -> None:
    reasons = care(**ILL_ADULT).reasons
    triage = raised(Triage("green"), reasons)
    assert triage.level == "red"
    assert triage.reasons[0].rule == "news2"
    assert "respiratory rate 26 a minute" in triage.reasons[0].because


def test_a_score_raises_when_everything_that_it_may_still_be_raises() -> None:
    vitals = {"respiratory_rate_bpm": 25, "spo2_percent": 93}  # 5 points, the rest not measured
    reasons = {r.rule: r for r in care(patient={"age_years": 40, "sex": "male"}, vitals=vitals).reasons}
    assert reasons["news2"].level == "yellow"
    assert "high or low-medium or medium" in reasons["news2"].because


def test_no_guideline_lowers_the_urgency() -> None:
    calm = care(patient={"age_years": 40, "sex": "male"}, vitals={"heart_rate_bpm": 70})
    assert raised(Triage("red"), calm.reasons).level == "red"
    assert raised(Triage("unassessed"), calm.reasons).level == "unassessed"


def test_a_pregnancy_that_is_not_known_brings_no_care_of_pregnancy() -> None:
    ids = {
        p.id
        for p in care(patient={"age_years": 30, "sex": "female"}, vitals={"temperature_c": 38.5}).protocols
    }
    assert not [id_ for id_ in ids if id_.startswith("anc-") or id_ == "obstetric-danger-signs"]


def test_infants_get_infants_guidelines_only() -> None:
    young = {p.id for p in care(patient={"age_days": 20, "sex": "male", "weight_kg": 3.4}).protocols}
    older = {p.id for p in care(patient={"age_months": 20, "sex": "male", "weight_kg": 11}).protocols}
    assert {id_ for id_ in young if id_.startswith("imci-")} == {
        id_ for id_ in young if id_.startswith("imci-infant-")
    }
    assert "imci-danger-signs" in older
    assert not [id_ for id_ in older if id_.startswith("imci-infant-")]


def test_chronic_care_waits_while_a_patient_is_red() -> None:
    fields = {"patient": {"age_years": 55, "sex": "male"}, "conditions": ["hypertension"]}
    calm = care(**fields, vitals={"systolic_mmhg": 150, "diastolic_mmhg": 92})
    assert "hearts-hypertension" in {p.id for p in calm.protocols}
    ill = case_of(**fields, vitals={"systolic_mmhg": 150, "diastolic_mmhg": 92})
    assert "hearts-hypertension" not in {p.id for p in care_for(shipped(), ill, values(ill), "red").protocols}


def test_nobody_who_is_referred_now_is_told_how_to_care_at_home() -> None:
    ill = care(
        patient={"age_days": 12, "sex": "female", "weight_kg": 3.1},
        answers={"infant_feeding": "not at all"},
        vitals={"temperature_c": 37.0, "respiratory_rate_bpm": 44},
    )
    assert planned(ill, "gentamicin").dose == "16 mg once"
    assert "refer now" in [action_words(action) for action in ill.plan]
    assert not [a for a in ill.plan if a.action == "advise" and "feeding problem" in a.guideline]


def test_what_the_note_says_reaches_the_guidelines_and_an_answer_corrects_it() -> None:
    library = shipped()
    case = case_of(patient={"age_days": 12}, note="not used here")
    said = [Finding("AKZ:0000017", "Unable to feed or drink")]
    inputs, parts = library.all_inputs, library.formulary.parts
    found = values_of(inputs, case, said, lambda _: frozenset(), parts)
    assert found["infant_feeding"] == "not at all"
    corrected = msgspec.structs.replace(case, answers={"infant_feeding": "normal"})
    assert values_of(inputs, corrected, said, lambda _: frozenset(), parts)["infant_feeding"] == "normal"


# --- what a case says ---------------------------------------------------------------------------


def test_an_age_in_whole_years_is_a_range_for_a_small_child() -> None:
    found = values(case_of(patient={"age_years": 0, "sex": "male", "weight_kg": 4.2}))
    assert isinstance(found["age_days"], Unassessed)
    assert "weight_for_age_z" not in found
    assert not [p.id for p in care(patient={"age_years": 0, "weight_kg": 4.2}).protocols if "imci" in p.id]


def test_a_z_score_that_cannot_be_right_classifies_nobody() -> None:
    found = values(case_of(patient={"age_months": 23, "sex": "male", "weight_kg": 12, "height_cm": 66}))
    assert "weight_for_height_z" not in found
    assert "weight_for_age_z" in found


def test_a_weight_in_pounds_is_asked_back_before_any_dose() -> None:
    with pytest.raises(CaseError, match=r"if that is in lb it would be 9\.4 kg"):
        values(case_of(patient={"age_months": 14, "sex": "male", "weight_kg": 20.7}))


def test_oedema_takes_the_weight_out_of_the_z_scores() -> None:
    patient = {"age_months": 23, "sex": "male", "weight_kg": 9, "height_cm": 84}
    assert "weight_for_height_z" in values(case_of(patient=patient))
    assert "weight_for_height_z" not in values(case_of(patient=patient, answers={"oedema_both_feet": "Yes"}))


@pytest.mark.parametrize(
    ("fields", "item"),
    [
        ({"vitals": {"spo2_percent": 80}, "answers": {"spo2_percent": 99}}, "answers.spo2_percent"),
        ({"answers": {"spo2": 90, "spo2_percent": 91}}, "answers.spo2_percent"),
        ({"answers": {"nonsense": 1}}, "answers.nonsense"),
        ({"answers": {"spo2_percent": 900}}, "answers.spo2_percent"),
        ({"labs": [{"loinc": "718-7", "value": 11, "unit": "bananas"}]}, "labs[0] (718-7)"),
        ({"medications": [{"name": "amlodipine", "dose_mg": 100}]}, "amlodipine_daily_mg"),
    ],
)
def test_a_value_that_cannot_stand_is_asked_back(fields: dict[str, Any], item: str) -> None:
    with pytest.raises(CaseError) as refused:
        values(case_of(**fields))
    assert refused.value.item == item


def test_a_laboratory_value_comes_in_our_unit() -> None:
    found = values(case_of(labs=[{"loinc": "718-7", "value": 98, "unit": "g/L"}]))
    assert found["haemoglobin_g_dl"] == pytest.approx(9.8)


def test_no_list_of_medicines_is_not_an_empty_one() -> None:
    assert "amlodipine_daily_mg" not in values(case_of())
    assert values(case_of(medications=[]))["amlodipine_daily_mg"] == 0
    taken = values(case_of(medications=[{"name": "Amlodipine besylate 10 mg", "dose_mg": 10}]))
    assert taken["amlodipine_daily_mg"] == 10


def test_a_batch_goes_on_after_a_case_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "cases.ndjson"
    path.write_text('{"id": "a", "answers": {"x": 1}}\n{"id": "b", "vitals": {"heart_rate_bpm": 170}}\n')
    answered = CliRunner().invoke(main, ["triage", str(path), "--json"])
    lines = [json.loads(line) for line in answered.stdout.splitlines()]
    assert answered.exit_code == 1
    assert "answers.x" in lines[0]["error"]
    assert lines[1]["triage"]["level"] == "red"


# --- what must not be given ---------------------------------------------------------------------

PNEUMONIA: dict[str, Any] = {
    "patient": {"age_months": 20, "sex": "male", "weight_kg": 11, "height_cm": 82},
    "vitals": {"respiratory_rate_bpm": 48, "temperature_c": 37.0, "spo2_percent": 97},
    "answers": {
        "cough": True,
        "cough_days": 3,
        "chest_indrawing": False,
        "stridor_calm": False,
        "unable_to_drink": False,
        "vomits_everything": False,
        "convulsions_this_illness": False,
        "convulsing_now": False,
        "lethargic_or_unconscious": False,
        "wheeze": False,
        "fever_history": False,
    },
}


@pytest.mark.parametrize(
    "allergy",
    [
        "penicillin",
        "Penicilline",
        "pénicilline",
        "Pencillin",
        "amoxycillin",
        "Augmentin",
        "benzylpenicillin (rash)",
    ],
)
def test_an_allergy_is_understood_however_it_is_written(allergy: str) -> None:
    drug = planned(care(**PNEUMONIA, allergies=[allergy], medications=[]), "amoxicillin")
    assert (drug.dose, drug.tell) == (None, "")
    assert f"allergy to {allergy}" in drug.withheld


def test_an_allergy_that_is_not_recognised_has_to_be_looked_up() -> None:
    drug = planned(care(**PNEUMONIA, allergies=["Xyzumab"], medications=[]), "amoxicillin")
    assert drug.dose
    assert any("Xyzumab: not recognised" in check for check in drug.check_first)


def test_what_nobody_asked_is_asked_before_any_medicine() -> None:
    first = care(**PNEUMONIA).plan[0]
    assert first.what.startswith("ask about other medicines and allergies")
    known = care(**PNEUMONIA, allergies=[], medications=[])
    assert not [action for action in known.plan if action.what.startswith("ask about")]


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("Amlodipine besylate 10 mg", {"amlodipine"}),
        ("lopinavir / ritonavir", {"lopinavir", "ritonavir"}),
        ("phenytoin sodium", {"phenytoin"}),
        ("Coumadin", {"warfarin"}),
        ("Metformine", {"metformin"}),
        ("cetirizine", {"cetirizine"}),
    ],
)
def test_a_medicine_is_known_by_its_parts(written: str, parts: set[str]) -> None:
    assert shipped().formulary.parts(written) == parts


def test_a_medicine_that_is_not_recognised_is_named_beside_what_is_given() -> None:
    drug = planned(care(**PNEUMONIA, allergies=[], medications=[{"name": "Xyzumab"}]), "amoxicillin")
    assert any("takes Xyzumab" in check for check in drug.check_first)


# --- for other systems --------------------------------------------------------------------------


def test_a_care_plan_says_what_must_not_be_given() -> None:
    plan = care(**PNEUMONIA, allergies=["penicillin"], medications=[], date="2026-03-14").plan
    resource = json.loads(json.dumps(care_plan("c", "IMCI", plan, "2026-03-14")))
    assert (resource["resourceType"], resource["status"], resource["intent"]) == (
        "CarePlan",
        "draft",
        "proposal",
    )
    details = {activity["detail"]["code"]["text"]: activity["detail"] for activity in resource["activity"]}
    assert details["give amoxicillin"]["doNotPerform"] is True
    assert "withheld: allergy to penicillin" in details["give amoxicillin"]["description"]
    visit = next(detail for detail in details.values() if detail.get("kind") == "Appointment")
    assert visit["scheduledPeriod"]["start"] > "2026-03-14"


def test_a_guideline_is_a_plan_definition_with_its_clauses() -> None:
    guideline = shipped().get("imci-cough")
    about = {k: v for k, v in msgspec.to_builtins(guideline.about).items() if isinstance(v, str)}
    resource = plan_definition(about, rows_for_fhir(guideline))
    actions = resource["action"]
    assert isinstance(actions, list)
    assert len(actions) == sum("action" in row.then for t in guideline.tables if t.is_plan for row in t.rows)
    assert all(action["documentation"][0]["citation"] for action in actions)
    assert len({action["id"] for action in actions}) == len(actions)


@pytest.mark.parametrize("id_", ["news2", "imci-cough", "hearts-hypertension"])
def test_a_guideline_comes_back_from_a_workbook_as_it_went(id_: str, tmp_path: Path) -> None:
    guideline = shipped().get(id_)
    write_workbook(guideline, tmp_path / "g.xlsx")
    again = read_workbook(tmp_path / "g.xlsx", shipped())
    assert again.about == guideline.about
    assert again.tables == guideline.tables
    assert again.clauses == guideline.clauses
    write_folder(again, tmp_path / id_)
    assert {path.name for path in (tmp_path / id_).iterdir()} == {
        name for name in guideline.texts if name.endswith(".csv") or name == "guideline.json"
    }


def test_a_broken_workbook_is_refused(tmp_path: Path) -> None:
    import openpyxl

    (tmp_path / "no.xlsx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="a workbook"):
        read_workbook(tmp_path / "no.xlsx", shipped())
    write_workbook(shipped().get("qsofa"), tmp_path / "g.xlsx")
    book = openpyxl.load_workbook(tmp_path / "g.xlsx")
    book["band"]["B2"] = "fifty"
    book.save(tmp_path / "g.xlsx")
    with pytest.raises(ArtefactError, match=r"qsofa/band\.csv"):
        read_workbook(tmp_path / "g.xlsx", shipped())


def test_an_action_in_words_has_its_dose_and_day() -> None:
    action = Action("give", "G", "1", "c", "none", dose="250 mg twice daily", what="amoxicillin", in_days=2)
    assert action_words(action) == "give amoxicillin: 250 mg twice daily in 2 days"
