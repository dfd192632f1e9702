"""One guideline over one patient: the dose in words or why there is none, what is asked, dates, domains."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from test_guidelines import PNEUMONIA, change, library_of, overlay

from akazuba.errors import InputError
from akazuba.guidelines.library import Library, open_library
from akazuba.guidelines.run import GROWN_YEARS, Patient, Result
from akazuba.guidelines.values import Scalar
from akazuba.records import Action

FAST: dict[str, Scalar] = {"stridor": False, "respiratory_rate_bpm": 60.0, "weight_kg": 10.0}
HEADER = (
    "row,if class,then action,then what,then amount,then unit,then frequency,then for_days,then in_days,"
    "then tell,clause\n"
)


def planned(
    folder: Path, row: str, values: dict[str, Scalar] = FAST, patient: Patient | None = None
) -> Action:
    library = library_of(folder, plan_csv=f"{HEADER}drug,pneumonia,{row},p1\n")
    [action] = library.run(library.get("g"), values, patient or Patient()).plan
    return action


def asked(result: Result) -> dict[str, tuple[str, ...]]:
    return {missing.input: missing.could_change for missing in result.missing}


# --- the dose -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "dose"),
    [
        ("give,amoxicillin,250,mg,twice daily,5,,", "250 mg twice daily for 5 days"),
        ("give,amoxicillin,250,mg,once daily,1,,", "250 mg once daily for 1 day"),
        ("give,amoxicillin,250,mg,once daily,0.5,,", "250 mg once daily for 0.5 days"),
        ("give,amoxicillin,62.5,mg,once,,,", "62.5 mg once"),
        ("give,amoxicillin,{12.5 * weight_kg},mg,twice daily,,,", "125 mg twice daily"),
    ],
)
def test_a_dose_is_amount_unit_frequency_and_days(tmp_path: Path, row: str, dose: str) -> None:
    action = planned(tmp_path, row)
    assert (action.dose, action.withheld, action.check_first) == (dose, (), ())


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("give,amoxicillin,{weight_kg - 10},mg,once,3,,", "no dose: 0 mg was computed"),
        ("give,amoxicillin,{weight_kg - 12.5},mg,once,3,,", "no dose: -2.5 mg was computed"),
        ("give,amoxicillin,{weight_kg - 9.5},mg,once,3,,", None),
        (
            "give,amoxicillin,{10 / (weight_kg - 10)},mg,once,3,,",
            "no dose can be computed from what is given",
        ),
        ("give,amoxicillin,501,mg,once,3,,", "501 mg at once for 10 kg is over 50 mg per kg"),
    ],
)
def test_a_dose_that_cannot_be_is_withheld_with_its_words(tmp_path: Path, row: str, why: str | None) -> None:
    action = planned(tmp_path, row.replace("3,,", "3,2,with food"))
    assert action.dose == ("0.5 mg once for 3 days" if why is None else None)
    assert action.withheld == ((why,) if why else ())
    assert action.tell == ("" if why else "with food")
    assert (action.for_days, action.in_days) == (3, 2)


def test_without_a_weight_there_is_no_dose_by_weight_and_it_is_asked(tmp_path: Path) -> None:
    library = library_of(
        tmp_path, plan_csv=f"{HEADER}drug,pneumonia,give,amoxicillin,{{40 * weight_kg}},mg,once,,,,p1\n"
    )
    values: dict[str, Scalar] = {"stridor": False, "respiratory_rate_bpm": 60.0}
    result = library.run(library.get("g"), values)
    [action] = result.plan
    assert action.dose is None
    assert action.withheld[0].startswith("no dose without ")
    assert len(action.withheld) == 1
    assert action.needs == ("weight_kg",)
    assert asked(result)["weight_kg"] == ("give amoxicillin",)
    assert result.missing[0].question == "What is the weight?"


@pytest.mark.parametrize(
    ("age", "weight", "medicine", "wanted"),
    [
        (None, None, "amoxicillin", True),
        (GROWN_YEARS - 0.01, None, "amoxicillin", True),
        (GROWN_YEARS, None, "amoxicillin", False),
        (3.0, 12.0, "amoxicillin", False),
        (3.0, None, "losartan", False),
    ],
)
def test_a_fixed_dose_for_a_child_asks_for_the_weight(
    tmp_path: Path, age: float | None, weight: float | None, medicine: str, wanted: bool
) -> None:
    values = {**FAST, "weight_kg": weight, "age_years": age}
    known = {name: value for name, value in values.items() if value is not None}
    action = planned(tmp_path, f"give,{medicine},50,mg,once daily,,,", known)
    assert action.dose == "50 mg once daily"
    weigh = "weight not known: the most per kg of a child was not checked"
    assert action.check_first == ((weigh,) if wanted else ())


def test_what_is_no_medicine_to_be_given_is_not_judged_as_one(tmp_path: Path) -> None:
    allergic = Patient(allergies=("penicillin",), medicines=("losartan",))
    assert planned(tmp_path, "stop,amoxicillin,,,,,,", patient=allergic).withheld == ()
    assert planned(tmp_path, "give,amoxicillin,,,,,,", patient=allergic).withheld == (
        "allergy to penicillin",
    )


def test_what_the_plan_itself_gives_counts_as_taken(tmp_path: Path) -> None:
    rows = "a,pneumonia,give,enalapril,5,mg,once,,,,p1\nb,pneumonia,give,losartan,50,mg,once,,,,p1\n"
    library = library_of(tmp_path, plan_csv=HEADER + rows)
    values: dict[str, Scalar] = {**FAST, "pregnant": False, "age_years": 40.0}
    first, second = library.run(library.get("g"), values).plan
    assert first.withheld == ("with losartan: kidney failure (unverified)",)
    assert second.withheld == ("with enalapril: kidney failure (unverified)",)
    alone = Patient(medicines=("enalapril",))
    only = planned(tmp_path, "give,enalapril,5,mg,once,,,", values, alone)
    assert (only.dose, only.withheld, only.check_first) == ("5 mg once", (), ())


# --- dates and provenance -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "days", "date"),
    [
        (datetime.date(2024, 2, 28), "2", "2024-03-01"),
        (datetime.date(2026, 2, 28), "0", "2026-02-28"),
        (None, "2", None),
        (datetime.date(9999, 12, 31), "2", None),
        (datetime.date(2026, 2, 28), "", None),
    ],
)
def test_a_visit_is_on_a_day_of_the_calendar(
    tmp_path: Path, today: datetime.date | None, days: str, date: str | None
) -> None:
    action = planned(tmp_path, f"follow-up,visit,,,,,{days},", patient=Patient(today))
    assert action.date == date
    assert action.in_days == (float(days) if days else None)
    assert (action.dose, action.withheld, action.needs) == (None, (), ())


def test_an_action_says_where_it_stands_and_what_fired_it(tmp_path: Path) -> None:
    action = planned(tmp_path, "give,amoxicillin,250,mg,once,,,with food")
    assert (action.action, action.what, action.tell) == ("give", "amoxicillin", "with food")
    assert (action.guideline, action.edition, action.review) == (
        "A guideline",
        "1",
        "not reviewed by a clinician",
    )
    assert (action.clause, action.page, action.source) == ("p1", "", "unverified")
    assert action.because == {"class": "pneumonia"}
    assert (action.for_days, action.in_days, action.overlay) == (None, None, ())


def test_a_rule_that_fired_says_what_it_gives(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    fired = library.run(library.get("g"), FAST).fired
    assert [(rule.table, rule.row, rule.clause, rule.says, rule.page, rule.overlay) for rule in fired] == [
        ("class.csv", "fast", "p1", "Fast breathing is pneumonia", "", ""),
        ("plan.csv", "drug", "p1", "Fast breathing is pneumonia", "", ""),
        ("plan.csv", "back", "p1", "Fast breathing is pneumonia", "", ""),
    ]
    assert fired[0].because == {"respiratory_rate_bpm": "60"}
    assert fired[0].gives == {"class": "pneumonia"}
    assert fired[1].gives == {"action": "give", "what": "amoxicillin"}


# --- for whom it is, and what is asked ----------------------------------------------------------


def guideline(folder: Path, **more: object) -> Library:
    head = json.loads(PNEUMONIA["guideline.json"]) | more
    return library_of(folder, guideline_json=json.dumps(head))


@pytest.mark.parametrize(("weight", "refused"), [(2.0, False), (1.99, True), (30.0, False), (30.01, True)])
def test_outside_its_domain_a_guideline_is_refused(tmp_path: Path, weight: float, refused: bool) -> None:
    library = guideline(tmp_path, domain={"weight_kg": [2, 30]})
    values = {**FAST, "weight_kg": weight}
    if not refused:
        assert library.run(library.get("g"), values).values["class"] == "pneumonia"
        return
    with pytest.raises(InputError) as refusal:
        library.run(library.get("g"), values)
    assert str(refusal.value) == f"weight_kg: expected 2 to 30 for g, found {weight:g}"


def test_a_weight_that_nobody_took_is_in_no_way_outside(tmp_path: Path) -> None:
    library = guideline(tmp_path, domain={"weight_kg": [2, 30]})
    values: dict[str, Scalar] = {"stridor": True}
    assert library.run(library.get("g"), values).values["class"] == "severe"


@pytest.mark.parametrize(("age", "applies"), [(4.0, True), (5.0, False), (None, None)])
def test_whether_it_is_for_this_patient(tmp_path: Path, age: float | None, applies: bool | None) -> None:
    library = guideline(tmp_path, applies="age_years < 5")
    values: dict[str, Scalar] = FAST if age is None else {**FAST, "age_years": age}
    assert library.run(library.get("g"), values).applies is applies
    everybody = guideline(tmp_path)
    assert everybody.run(everybody.get("g"), values).applies is True


def test_what_is_missing_says_what_it_would_change(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    result = library.run(library.get("g"), {"stridor": False})
    assert asked(result) == {
        "respiratory_rate_bpm": ("follow-up visit", "give amoxicillin", "class"),
    } or asked(result) == {"respiratory_rate_bpm": ("give amoxicillin", "follow-up visit", "class")}
    assert result.possible["class"] == "cough or pneumonia"
    assert result.values == {"class": None}
    assert result.plan == ()


def test_what_every_table_of_the_plan_still_waits_for_is_asked(tmp_path: Path) -> None:
    head = json.loads(PNEUMONIA["guideline.json"])
    head["tables"].append({"file": "more.csv", "policy": "collect"})
    more = "row,if class,then action,then what,clause\nrest,pneumonia,advise,rest,p1\n"
    library = library_of(tmp_path, guideline_json=json.dumps(head), more_csv=more)
    result = library.run(library.get("g"), {"stridor": False})
    assert set(asked(result)["respiratory_rate_bpm"]) == {
        "give amoxicillin",
        "follow-up visit",
        "advise rest",
        "class",
    }


def test_days_that_cannot_be_known_are_none(tmp_path: Path) -> None:
    values: dict[str, Scalar] = {"stridor": False, "respiratory_rate_bpm": 60.0}
    today = Patient(datetime.date(2026, 2, 28))
    action = planned(tmp_path, "follow-up,visit,,,,{weight_kg},{weight_kg},", values, today)
    assert (action.for_days, action.in_days, action.date) == (None, None, None)
    assert action.needs == ("weight_kg",)


def test_a_rule_and_an_action_say_which_local_rule_changed_them(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    library_of(folder)
    plan = change(file="plan.csv", row="drug", column="then amount", value="250")
    here = open_library([overlay(tmp_path, changes=[change(), plan])], folder)
    result = here.run(here.get("g"), {**FAST, "respiratory_rate_bpm": 45.0})
    why = "Rwanda (Ministry): a local study"
    assert [rule.overlay for rule in result.fired] == [why, why, ""]
    assert result.plan[0].dose == "250 mg twice daily for 5 days"
    assert why in result.plan[0].overlay


def test_a_medicine_that_is_taken_already_is_not_held_against_itself(tmp_path: Path) -> None:
    library_of(tmp_path, plan_csv=f"{HEADER}drug,pneumonia,give,enalapril,5,mg,once,,,,p1\n")
    pairs = "one,other,level,says,source\nace-inhibitor,ace-inhibitor,avoid,the same twice,unverified\n"
    (tmp_path / "interactions.csv").write_text(pairs, encoding="utf-8")
    library = open_library(folder=tmp_path)
    values: dict[str, Scalar] = {**FAST, "pregnant": False, "age_years": 40.0}
    [action] = library.run(library.get("g"), values, Patient(medicines=("enalapril",))).plan
    assert action.withheld == ()
    [action] = library.run(library.get("g"), values, Patient(medicines=("ace-inhibitor",))).plan
    assert action.withheld == ("with ace-inhibitor: the same twice (unverified)",)


def test_without_named_results_all_that_is_computed_is_one(tmp_path: Path) -> None:
    library = guideline(tmp_path, results=[])
    assert library.run(library.get("g"), FAST).values == {"class": "pneumonia"}


def test_what_stands_after_a_computed_number_is_decided_too(tmp_path: Path) -> None:
    computed = "name,formula,unit,clause\ndaily_mg,80 * weight_kg,mg,p1\n"
    head = json.loads(PNEUMONIA["guideline.json"]) | {"results": ["daily_mg", "class"]}
    library = library_of(tmp_path, formulas_csv=computed, guideline_json=json.dumps(head))
    result = library.run(library.get("g"), FAST)
    assert result.values == {"daily_mg": 800.0, "class": "pneumonia"}
    assert result.guideline is library.get("g")
    assert [action.what for action in result.plan] == ["amoxicillin", "visit"]
