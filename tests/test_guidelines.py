"""Guidelines as data: three-valued tables, what is refused, what is withheld."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError
from akazuba.guidelines.cells import parse_cell
from akazuba.guidelines.conformance import action_words, check, untested_thresholds
from akazuba.guidelines.formulas import parse_formula
from akazuba.guidelines.guideline import Computed, Guideline
from akazuba.guidelines.library import Library, open_library, shipped
from akazuba.guidelines.run import Patient
from akazuba.guidelines.values import Kind, Scalar, Truth, Unassessed

SHARED = """name,kind,unit,low,high,step,choices,aliases,other_units,from,question
age_years,number,years,0,125,,,age,,patient age_years,How old?
weight_kg,number,kg,0.3,400,,,,lb = 0.45359237,patient weight_kg,What is the weight?
respiratory_rate_bpm,number,breaths/min,0,150,1,,,,vitals respiratory_rate_bpm,How many breaths?
temperature_c,number,°C,25,45,0.1,,,°F = 0.5555556 * (x - 32),vitals temperature_c,How warm?
stridor,flag,,,,,,,,,Is there stridor?
pregnant,flag,,,,,,,,patient pregnant,Is she pregnant?
consciousness,choice,,,,,alert|voice|pain,,,vitals consciousness,Alert?
"""
EMPTY = {
    "derived.csv": "name,formula\npregnant,pregnant and not age_years < 10\n",
    "medicines.csv": "medicine,unit,max_single,max_daily,max_per_kg,groups,source\n"
    "amoxicillin,mg,1000,3000,50,penicillin,unverified\nenalapril,mg,20,40,,ace-inhibitor,unverified\n"
    "losartan,mg,100,100,,angiotensin-blocker,unverified\n",
    "cautions.csv": "medicine,when,if_unknown,says,source\n"
    "ace-inhibitor,pregnant,withhold,harms the unborn child,unverified\n",
    "synonyms.csv": "name,means\naugmentin,amoxicillin\n",
    "interactions.csv": "one,other,level,says,source\n"
    "ace-inhibitor,angiotensin-blocker,avoid,kidney failure,unverified\n"
    "ace-inhibitor,spironolactone,caution,potassium rises,unverified\n",
}
PNEUMONIA = {
    "guideline.json": json.dumps(
        {
            "id": "g",
            "title": "A guideline",
            "publisher": "WHO",
            "edition": "1",
            "licence": "facts only",
            "review": "not reviewed by a clinician",
            "about": "children who cough",
            "kind": "illness",
            "results": ["class"],
            "tables": [{"file": "class.csv", "policy": "first"}, {"file": "plan.csv", "policy": "collect"}],
        }
    ),
    "clauses.csv": "clause,page,says,source\np1,,Fast breathing is pneumonia,unverified\n",
    "class.csv": "row,if stridor,if respiratory_rate_bpm,then class,clause\n"
    "severe,yes,-,severe,p1\nfast,-,>= 50,pneumonia,p1\nother,-,-,cough,p1\n",
    "plan.csv": "row,if class,then action,then what,then amount,then unit,then frequency,then for_days,"
    "then in_days,clause\n"
    "drug,pneumonia,give,amoxicillin,{40 * weight_kg},mg,twice daily,5,,p1\n"
    "refer,severe,refer,now,,,,,,p1\nback,pneumonia,follow-up,visit,,,,,3,p1\n",
    "conformance.csv": "case,source,set stridor,set respiratory_rate_bpm,expect class\n"
    "fast,p1,no,50,pneumonia\nslow,p1,no,49,cough\nnot known,p1,,49,?\n",
}


def library_of(folder: Path, **changes: str | None) -> Library:
    """A library with one guideline, `g`. changes: its files (`plan_csv` for plan.csv); None removes one."""
    (folder / "g").mkdir(parents=True, exist_ok=True)
    (folder / "inputs.csv").write_text(SHARED, encoding="utf-8")
    for name, text in EMPTY.items():
        (folder / name).write_text(text, encoding="utf-8")
    texts: dict[str, str | None] = {**PNEUMONIA}
    texts |= {".".join(name.rsplit("_", 1)): text for name, text in changes.items()}
    for name, content in texts.items():
        if content is not None:
            (folder / "g" / name).write_text(content, encoding="utf-8")
    return open_library(folder=folder)


# --- cells and formulas -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "low", "high", "expected"),
    [
        (">= 25", 25, 150, Truth.TRUE),
        (">= 25", 0, 150, Truth.UNKNOWN),
        (">= 25", 0, 24.9, Truth.FALSE),
        ("> 25", 0, 25, Truth.FALSE),
        ("2..<12", 12, 20, Truth.FALSE),
        ("2..<12", 2, 11, Truth.TRUE),
        ("< 5 or > 10", 6, 9, Truth.FALSE),
        ("-", 0, 150, Truth.TRUE),
    ],
)
def test_a_cell_answers_for_all_that_a_value_may_be(
    cell: str, low: float, high: float, expected: Truth
) -> None:
    assert parse_cell(cell, "number").truth(Unassessed(frozenset({"x"}), low, high)) is expected


KINDS: dict[str, Kind] = {"x": "number", "y": "number", "p": "flag", "w": "choice"}
FORMULAS = (
    "x + y",
    "x - 2 * y",
    "x * y",
    "x / (y + 11)",
    "x ** 2 if p else y",
    "max(x, y) - min(x, y)",
    "round(x, 1)",
    "x > y and p",
    "not p or x >= 3",
    "floor(x / 2) * 2 == x",
    "w == 'a' or x < y",
    "-x",
    "exp(x / 10) + ln(y + 12)",
)


@given(
    st.sampled_from(FORMULAS),
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.booleans(),
    st.sampled_from("ab"),
    st.sets(st.sampled_from("xypw")),
)
def test_what_is_not_known_never_contradicts_what_is(
    text: str, x: float, y: float, p: bool, w: str, hidden: set[str]
) -> None:
    """The value over known inputs lies in what the formula says when some of them are hidden."""
    formula = parse_formula(text, KINDS)
    known = {"x": x, "y": y, "p": p, "w": w}
    spans = {
        "x": Unassessed(frozenset("x"), -10, 10),
        "y": Unassessed(frozenset("y"), -10, 10),
        "p": Unassessed(frozenset("p"), options=frozenset((True, False))),
        "w": Unassessed(frozenset("w"), options=frozenset("ab")),
    }
    full = formula.value(known)
    partial = formula.value({**known, **{name: spans[name] for name in hidden}})
    if not isinstance(partial, Unassessed):
        assert partial == full
    elif partial.options:
        assert full in partial.options
    else:
        assert isinstance(full, float)
        assert partial.low - 1e-9 <= full <= partial.high + 1e-9


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "x.real", "x if x else y", "x + p", "open('f')", "[x]", "x <", "z + 1", "x == p"],
)
def test_a_formula_can_only_compute(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_formula(text, KINDS)


# --- what is not assessed -----------------------------------------------------------------------


def test_an_unassessed_danger_sign_leaves_it_undecided(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    result = library.run(library.get("g"), {"respiratory_rate_bpm": 30.0})
    assert result.values["class"] is None
    assert result.possible["class"] == "cough or severe"
    assert [(m.input, m.could_change) for m in result.missing] == [("stridor", ("refer now", "class"))]
    assert result.plan == ()


def test_what_is_certain_is_said_although_something_is_missing(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    result = library.run(library.get("g"), {"stridor": True})
    assert result.values["class"] == "severe"
    assert [action_words(action) for action in result.plan] == ["refer now"]


def test_every_answer_carries_its_clause_and_the_values_that_fired_it(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    fired = library.run(library.get("g"), {"stridor": False, "respiratory_rate_bpm": 52.0}).fired
    assert (fired[0].table, fired[0].row, fired[0].clause) == ("class.csv", "fast", "p1")
    assert fired[0].because == {"respiratory_rate_bpm": "52"}


# --- doses --------------------------------------------------------------------------------------

FAST = {"stridor": False, "respiratory_rate_bpm": 60.0}


def test_a_dose_needs_the_weight(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    drug = library.run(library.get("g"), FAST).plan[0]
    assert (drug.dose, drug.needs) == (None, ("weight_kg",))
    assert drug.withheld == ("no dose without weight",)
    given_ = library.run(library.get("g"), {**FAST, "weight_kg": 10.0}).plan[0]
    assert (given_.dose, given_.withheld) == ("400 mg twice daily for 5 days", ())


def test_a_dose_over_the_hard_maximum_is_withheld(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    drug = library.run(library.get("g"), {**FAST, "weight_kg": 30.0}).plan[0]
    assert drug.dose is None
    assert drug.withheld == ("1200 mg at once is over the maximum of 1000",)


def test_a_dose_that_is_too_much_for_the_weight_is_withheld(tmp_path: Path) -> None:
    library = library_of(tmp_path, plan_csv=PLAN.replace("{40 * weight_kg}", "600"))
    drug = library.run(library.get("g"), {**FAST, "weight_kg": 10.0}).plan[0]
    assert drug.withheld == ("600 mg at once for 10 kg is over 50 mg per kg",)
    assert library.run(library.get("g"), {**FAST, "weight_kg": 60.0}).plan[0].withheld == ()


def test_an_allergy_withholds_the_medicine_and_its_group(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    for allergy in ("penicillin", "Amoxicillin", "penicillins (rash)"):
        patient = Patient(allergies=(allergy,))
        drug = library.run(library.get("g"), {**FAST, "weight_kg": 10.0}, patient).plan[0]
        assert (drug.dose, drug.withheld) == (None, (f"allergy to {allergy}",))


def test_dates_are_counted_from_the_day_of_the_consultation(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    patient = Patient(datetime.date(2026, 2, 27))
    back = library.run(library.get("g"), {**FAST, "weight_kg": 10.0}, patient).plan[1]
    assert (back.in_days, back.date) == (3, "2026-03-02")


PRESSURE = (
    "row,if stridor,then action,then what,then amount,then unit,then frequency,clause\n"
    "drug,no,start,enalapril,5,mg,once daily,p1\n"
)


def test_contraindications_and_interactions_are_checked_against_the_patient(tmp_path: Path) -> None:
    library = library_of(tmp_path, plan_csv=PRESSURE)
    guideline = library.get("g")
    calm: dict[str, Scalar] = {"stridor": False, "respiratory_rate_bpm": 20.0}
    unknown = library.run(guideline, calm).plan[0]
    assert unknown.dose is None
    assert unknown.needs == ("age_years", "pregnant")
    assert library.run(guideline, {**calm, "pregnant": True}).plan[0].withheld == (
        "harms the unborn child (unverified)",
    )
    sound = library.run(guideline, {**calm, "pregnant": False}, Patient(medicines=("spironolactone",))).plan[
        0
    ]
    assert sound.dose == "5 mg once daily"
    assert sound.check_first == ("with spironolactone: potassium rises (unverified)",)
    both = library.run(guideline, {**calm, "pregnant": False}, Patient(medicines=("losartan",))).plan[0]
    assert both.withheld == ("with losartan: kidney failure (unverified)",)
    combined = Patient(medicines=("hydrochlorothiazide+losartan",))
    assert library.run(guideline, {**calm, "pregnant": False}, combined).plan[0].withheld


# --- what is refused when it is read ------------------------------------------------------------

CLASS = PNEUMONIA["class.csv"]
PLAN = PNEUMONIA["plan.csv"]
CLAUSES = PNEUMONIA["clauses.csv"]
OWN_INPUTS = SHARED.partition("\n")[0] + "\n"
SCORE = "row,item,if stridor,then points,clause\nsome,a,yes,1,p1\nnone,a,no,0,p1\n"


def about(**changes: object) -> str:
    """PNEUMONIA's description with other values."""
    return json.dumps({**json.loads(PNEUMONIA["guideline.json"]), **changes})


def scored(gives: str = "score") -> str:
    tables = json.loads(PNEUMONIA["guideline.json"])["tables"]
    return about(tables=[*tables, {"file": "score.csv", "policy": "scorecard", "gives": gives}])


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"class_csv": CLASS.replace("if stridor", "if wheezing")}, ("g/class.csv", "wheezing")),
        ({"class_csv": CLASS.replace("other,-,-,cough,p1\n", "")}, ("g/class.csv", "no row covers")),
        ({"class_csv": CLASS.replace("fast,-,>= 50", "fast,-,-")}, ("g/class.csv", "row other can never")),
        ({"class_csv": CLASS.replace("severe,p1", "severe,p9")}, ("g/class.csv, row severe", "p9")),
        ({"class_csv": CLASS.replace("severe,p1", "severe,")}, ("g/class.csv", "row severe", "clause")),
        ({"class_csv": CLASS.replace(">= 50", "fifty")}, ("g/class.csv", "row fast", "'fifty'")),
        ({"class_csv": CLASS.replace("severe,yes", "fast,yes")}, ("g/class.csv", "row fast", "repeated")),
        ({"class_csv": CLASS.replace("pneumonia,p1", "pneumonia")}, ("g/class.csv, line 3", "cells")),
        ({"plan_csv": PLAN.replace("twice daily", "now and then")}, ("g/plan.csv, row drug", "now and then")),
        ({"plan_csv": PLAN.replace("amoxicillin", "aspirin")}, ("g/plan.csv, row drug", "medicines.csv")),
        (
            {"plan_csv": PLAN.replace("{40 * weight_kg}", "{40 * weight}")},
            ("g/plan.csv", "row drug", "'weight'"),
        ),
        ({"plan_csv": PLAN.replace("refer,severe,refer", "refer,severe,think")}, ("row refer", "'think'")),
        ({"plan_csv": PLAN.replace("severe,refer", "dire,refer")}, ("g/plan.csv", "row refer", "'dire'")),
        ({"plan_csv": None}, ("g/plan.csv", "no such file")),
        ({"clauses_csv": "clause,page,says,source\np1,12,x,unverified\n"}, ("g/clauses.csv, p1", "no page")),
        ({"clauses_csv": "clause,page,says,source\np1,,x,read it\n"}, ("g/clauses.csv, p1", "opened")),
        ({"guideline_json": "{}"}, ("g/guideline.json",)),
        ({"stray_csv": CLASS}, ("g/stray.csv",)),
        ({"formulas_csv": "name,formula,unit,clause\nstridor,1 + 1,,p1\n"}, ("stridor", "a new name")),
        ({"formulas_csv": "name,formula,clause\ntwice,1 + 1,p1\n"}, ("g/formulas.csv", "formula, unit")),
        ({"inputs_csv": OWN_INPUTS + "stridor,flag,,,,,,,,,Is there?\n"}, ("stridor", "that all share")),
        ({"inputs_csv": OWN_INPUTS + "limps,flag,,,,,,,,,Limps?\n"}, ("g/inputs.csv, limps", "none does")),
        ({"guideline_json": about(id="h")}, ("g/guideline.json, id", "folder's name g", "h")),
        ({"guideline_json": about(results=["class", "score"])}, ("guideline.json, results", "score")),
        ({"guideline_json": about(domain={"age_years": [5, 2]})}, ("json, domain", "age_years: 5.0 to 2.0")),
        ({"guideline_json": about(domain={"stridor": [0, 1]})}, ("g/guideline.json, domain", "stridor")),
        ({"guideline_json": about(raises={"what": {"severe": "red"}})}, ("json, raises", "what")),
        ({"guideline_json": about(raises={"class": {"dire": "red"}})}, ("raises, class", "cough", "dire")),
        ({"guideline_json": about(applies="age_years <")}, ("g/guideline.json, applies", "a formula")),
        ({"guideline_json": about(applies="age_years + 1")}, ("g/guideline.json, applies", "yes or no")),
        ({"guideline_json": scored(gives=""), "score_csv": SCORE}, ("score.csv", "'gives' for a scorecard")),
        ({"clauses_csv": None}, ("g/clauses.csv", "no such file")),
        ({"clauses_csv": "clause,page,source\np1,,unverified\n"}, ("g/clauses.csv", "clause, page, says")),
        ({"clauses_csv": CLAUSES + "p1,,Twice,unverified\n"}, ("g/clauses.csv, p1", "repeated")),
        ({"class_csv": CLASS.replace(">= 50", ">= 500")}, ("class.csv", "row fast", "500 outside 0 to 150")),
        ({"class_csv": CLASS.replace(">= 50", "60..50")}, ("class.csv", "row fast", "from low to high")),
        ({"class_csv": CLASS.replace("severe,yes", "severe,perhaps")}, ("row severe", "yes, no or -")),
        ({"class_csv": CLASS.partition("\n")[0] + "\n"}, ("g/class.csv", "at least one row")),
        ({"class_csv": CLASS.replace("then class", "class")}, ("g/class.csv", "the columns row, if")),
        ({"class_csv": CLASS.replace("then class", "if pregnant")}, ("g/class.csv", "'then …' columns")),
        ({"class_csv": CLASS.replace("other,", ",")}, ("g/class.csv", "an id in column 'row'")),
        ({"class_csv": CLASS.replace("cough,p1", ",p1")}, ("row other, column 'then class'", "every row")),
        ({"class_csv": CLASS.replace("cough,p1", "7,p1")}, ("then class", "choice and number")),
        ({"plan_csv": PLAN.replace("then action", "then act")}, ("g/plan.csv", "'then action'")),
        ({"guideline_json": scored(), "score_csv": SCORE.replace("1,p1", "many,p1")}, ("row some", "'many'")),
        (
            {"guideline_json": scored(), "score_csv": SCORE.replace("none,a,no,0,p1\n", "")},
            ("score.csv", "no row covers"),
        ),
    ],
)
def test_an_unsound_guideline_is_refused_with_its_file_and_row(
    tmp_path: Path, changes: dict[str, str | None], names: tuple[str, ...]
) -> None:
    with pytest.raises(ArtefactError) as refused:
        library_of(tmp_path, **changes)
    for name in names:
        assert name in str(refused.value)


def test_overlapping_rows_of_a_unique_table_are_refused(tmp_path: Path) -> None:
    unique = PNEUMONIA["guideline.json"].replace('"first"', '"unique"')
    with pytest.raises(ArtefactError, match="overlap at stridor = "):
        library_of(tmp_path, guideline_json=unique)


def test_tables_that_need_each_other_are_refused(tmp_path: Path) -> None:
    loop = "name,formula,unit,clause\na,b + 1,,p1\nb,a + 1,,p1\n"
    with pytest.raises(ArtefactError, match="do not need one another"):
        library_of(tmp_path, formulas_csv=loop)


# --- values as typed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("temperature_c", "101", "looks like °F: that would be 38.3 °C"),
        ("temperature_c", "101 °F", "that would be 38.33 °C"),
        ("temperature_c", "38,5", "decimal point"),
        ("weight_kg", "20 lb", "that would be 9.072 kg"),
        ("stridor", "maybe", "'maybe'"),
        ("consciousness", "sleepy", "'sleepy'"),
        ("respiratory_rate_bpm", "-4", "-4"),
        ("speed", "3", "'speed'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_asked_back(tmp_path: Path, name: str, text: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        library_of(tmp_path).parsed({name: text})


def test_aliases_and_units_of_our_own_are_taken(tmp_path: Path) -> None:
    assert library_of(tmp_path).parsed({"age": "3", "weight_kg": "12 kg"}) == {
        "age_years": 3,
        "weight_kg": 12,
    }


# --- local rules --------------------------------------------------------------------------------


def overlay(tmp_path: Path, **fields: object) -> Path:
    path = tmp_path / "overlay.json"
    path.write_text(json.dumps({"id": "rw", "title": "Rwanda", "issued_by": "Ministry", **fields}))
    return path


def change(**fields: str) -> dict[str, str]:
    return {"guideline": "g", "file": "class.csv", "row": "fast", "column": "if respiratory_rate_bpm",
            "value": ">= 40", "why": "a local study", **fields}  # fmt: skip


def test_an_overlay_is_shown_beside_every_action_that_it_changed(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    library_of(folder)
    path = overlay(tmp_path, changes=[change()], stock=[{"medicine": "amoxicillin", "available": False}])
    here = open_library([path], folder)
    values: dict[str, Scalar] = {"stridor": False, "respiratory_rate_bpm": 45.0, "weight_kg": 10.0}
    drug, back = here.run(here.get("g"), values).plan
    assert drug.overlay == ("NOT IN STOCK HERE; refer, or send for it (Rwanda)", "Rwanda (Ministry)")
    assert back.overlay == ("Rwanda (Ministry)",)
    unchanged = here.run(here.get("g"), {**values, "respiratory_rate_bpm": 55.0}).plan[1]
    assert unchanged.overlay == ()
    assert open_library(folder=folder).run(here.published["g"], values).values["class"] == "cough"


@pytest.mark.parametrize(
    "wrong",
    [
        {"guideline": "x"},
        {"row": "nowhere"},
        {"file": "no.csv"},
        {"column": "clause"},
        {"value": "fifty"},
        {"value": ">= 0"},
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    folder = tmp_path / "lib"
    library_of(folder)
    with pytest.raises(InputError, match="overlay rw"):
        open_library([overlay(tmp_path, changes=[change(**wrong)])], folder)


# --- the shipped library ------------------------------------------------------------------------


@pytest.mark.parametrize("id_", list(shipped().guidelines))
def test_a_shipped_guideline_gives_what_its_conformance_rows_expect(id_: str) -> None:
    guideline = shipped().get(id_)
    assert [(row.case, row.differs) for row in check(shipped(), guideline) if row.differs] == []
    assert untested_thresholds(guideline) == []


def inputs_behind(guideline: Guideline) -> dict[str, set[str]]:
    """For each variable of the guideline, the inputs that it hangs on."""
    behind: dict[str, set[str]] = {}
    for step in guideline.steps:
        reads = step.formula.names if isinstance(step, Computed) else step.reads
        inputs = set().union(*(behind.get(name, {name}) for name in reads))
        behind |= dict.fromkeys([step.name] if isinstance(step, Computed) else step.outputs, inputs)
    return behind


@pytest.mark.parametrize("id_", list(shipped().guidelines))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_unassessed_input_never_contradicts_the_full_answer(id_: str, data: st.DataObject) -> None:
    """Whatever is decided with some inputs hidden is decided the same with all of them."""
    library = shipped()
    guideline = library.get(id_)
    behind = inputs_behind(guideline)
    full: dict[str, Scalar] = {}
    for name, item in guideline.inputs.items():
        derived = name in library.derived and name not in ("age_days", "pregnant")
        if derived and name not in guideline.about.domain:
            continue
        if item.kind == "number":
            low, high = guideline.about.domain.get(name, (item.low, item.high))
            full[name] = data.draw(st.floats(low, high), label=name)
        else:
            full[name] = data.draw(st.sampled_from(sorted(item.options, key=str)), label=name)
    texts = " ".join(text for name, text in guideline.texts.items() if name != "conformance.csv")
    asked_about = {
        name for names in re.findall(r"known\((\w+)\)", texts) for name in behind.get(names, {names})
    }
    keep = asked_about | set(guideline.about.domain) | (set(full) & set(library.derived))
    hidden = data.draw(st.sets(st.sampled_from(sorted(set(full) - keep)))) if set(full) - keep else set()
    partial = {name: value for name, value in full.items() if name not in hidden}
    whole, part = library.run(guideline, full), library.run(guideline, partial)
    for name, value in part.values.items():
        if name not in part.possible and name not in whole.possible:
            assert value == whole.values[name], name
    certain = {(a.action, a.what, a.clause) for a in part.plan}
    assert certain <= {(a.action, a.what, a.clause) for a in whole.plan}
