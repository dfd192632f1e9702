"""What a nurse reads of inputs and results is said in words, in every language; never a machine name."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from akazuba.box import open_box
from akazuba.cli import EXAMPLES
from akazuba.consult import assess
from akazuba.datafile import rows_of
from akazuba.diagnosis.artefacts import SHIPPED, read_manifest
from akazuba.guidelines.care import care_for
from akazuba.guidelines.conformance import ABOUT_PATIENT
from akazuba.guidelines.inputs import Input
from akazuba.guidelines.library import Library, shipped
from akazuba.guidelines.values import Scalar
from akazuba.intake.cases import read_cases
from akazuba.records import Assessment, Case, ImageReading, Quality, Triage
from akazuba.report import readable
from akazuba.settings import Settings
from akazuba.wording.catalogue import catalogue, languages
from akazuba.wording.names import label, named, names, rows_of_name, valued, with_names

CODES = [code for code in languages() if code != "en"]
MACHINE = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b|\bNone\b|\b(?:mmhg|bpm|mmol l|g dl|spo2 percent)\b")
READ = ("adult-cough", "fever-malaria-test", "note-in-kinyarwanda", "pregnancy-headache")
FEVER = {"age_months": 20.0, "temperature_c": 37.6, "cough": True, "cough_days": 3.0, "muac_mm": 118.0}


def reasons(**values: Scalar) -> list[str]:
    return [reason.because for reason in care_for(shipped(), Case("c"), values, "green").reasons]


def answers_of(item: Input) -> tuple[str, ...]:
    if item.kind == "flag":
        return "yes", "no"
    return item.choices or ("1", "3", "12.5")


# --- the table ----------------------------------------------------------------------------------


def test_every_input_and_result_of_the_library_has_words() -> None:
    library = shipped()
    results = {name for guideline in library.guidelines.values() for name in guideline.about.results}
    assert sorted({*library.all_inputs, *results} - names().keys()) == []
    computed = {
        step.name for g in library.guidelines.values() for step in g.steps if hasattr(step, "formula")
    }
    assert sorted(names().keys() - {*library.all_inputs, *results, *computed}) == []


def test_the_words_of_an_input_take_its_value_and_can_stand_in_a_list() -> None:
    for name, item in shipped().all_inputs.items():
        words = names()[name]
        assert words.count("{}") == (item.kind != "flag"), words
        assert not re.search(r"[_,;\n]|  |^\s|\s$|\{\}\S", words), words


def test_a_measured_value_has_its_unit() -> None:
    assert valued("temperature_c", "37.6") == "temperature 37.6 °C"
    assert valued("heart_rate_bpm", "84") == "heart rate 84 a minute"
    assert valued("muac_mm", "118") == "MUAC 118 mm"
    assert [valued("cough_days", days) for days in ("1", "3", "11")] == [
        "cough for 1 day",
        "cough for 3 days",
        "cough for 11 days",
    ]


def test_a_sign_that_is_there_is_its_words_alone() -> None:
    assert (valued("stiff_neck", "yes"), valued("stiff_neck", "no")) == ("stiff neck", "stiff neck: no")


def test_an_input_that_the_table_lacks_is_said_by_its_question() -> None:
    assert valued("our_sign", "yes", "Is our sign there?") == "Is our sign there? yes"
    assert (valued("our_score", "8"), valued("our_sign", "yes")) == ("our score: 8", "our sign")


def test_names_inside_an_older_text_are_said_too() -> None:
    assert with_names("no dose without weight_kg, egfr_ml_min") == "no dose without weight, eGFR"
    assert with_names("give zinc") == "give zinc"


# --- reasons ------------------------------------------------------------------------------------


def test_a_reason_reads_as_a_nurse_would_say_it() -> None:
    said = reasons(**FEVER, stiff_neck=True, heart_rate_bpm=84.0, hiv_status="unknown", diarrhoea=False)
    (fever,) = (because for because in said if because.startswith("IMCI: fever"))
    assert ": very severe febrile disease (" in fever
    assert {"stiff neck", "temperature 37.6 °C"} <= set(re.split(r", |\(|\)", fever))
    assert not [because for because in said if re.search("unknown|diarrhoea|HIV|not assessed", because)]


def test_a_computed_number_has_no_digits_that_nobody_reads() -> None:
    child = {
        "age_months": 20.0,
        "muac_mm": 110.0,
        "weight_for_height_z": -3.2071428,
        "oedema_both_feet": True,
    }
    assert any("weight-for-height z-score -3.21" in because for because in reasons(**child))


def conformance_cases(library: Library) -> Iterator[dict[str, Scalar]]:
    """Some of the conformance cases of each guideline that raises the urgency."""
    for guideline in library.guidelines.values():
        rows = rows_of(guideline.texts["conformance.csv"], guideline.id) if guideline.about.raises else []
        for row in rows[:: max(1, len(rows) // 5)]:
            cells = {key.removeprefix("set "): text for key, text in row.items() if key.startswith("set ")}
            if not row.get("expect fault"):
                asked = {k: v for k, v in cells.items() if v and k not in ABOUT_PATIENT}
                yield library.parsed(asked, guideline)


def test_no_reason_of_any_guideline_has_a_machine_name() -> None:
    said = {because for case in conformance_cases(shipped()) for because in reasons(**case)}
    assert len(said) > 60
    assert [because for because in said if MACHINE.search(because)] == []


# --- the other languages ------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_every_name(code: str) -> None:
    rows = {row for name in names() for row in rows_of_name(name) if re.search(r"[^\W\d_]{2}", row)}
    assert sorted(rows - catalogue(code).rows.keys()) == []


@pytest.mark.parametrize("code", CODES)
def test_every_answer_is_said_whole_alone_and_in_a_reason(code: str) -> None:
    said, chance = catalogue(code), random.Random(1)
    phrases = [valued(i.name, answer) for i in shipped().all_inputs.values() for answer in answers_of(i)]
    for _ in range(60):
        listed = chance.sample(phrases, 6)
        whole = said.say(f"Shock index: high ({', '.join(listed)})")
        assert whole.endswith(f" ({said.language.between.join(map(said.say, listed))})"), listed
    for phrase in phrases:
        number = re.search(r" (12\.5)( |$)", phrase)
        assert number is None or "12.5" in said.say(phrase), phrase
        said.say(phrase)
    assert said.unsaid == set()


@pytest.fixture(scope="module")
def assessments(terminology_home: Path) -> list[Assessment]:
    box = open_box(Settings(home=terminology_home))
    return [assess(box, line) for name in READ for line in read_cases(str(EXAMPLES / f"{name}.json"))]


@pytest.mark.parametrize("code", list(languages()))
def test_no_machine_name_is_read_in_any_language(code: str, assessments: list[Assessment]) -> None:
    for assessment in assessments:
        page = readable(assessment, catalogue(code))
        assert [line for line in page.splitlines() if MACHINE.search(line)] == []
        assert "malaria-rdt" not in page


@pytest.mark.parametrize("code", list(languages()))
def test_pictures_and_what_a_network_sees_are_said_in_words(code: str) -> None:
    said, kinds = catalogue(code), read_manifest(SHIPPED / "student").kinds
    seen = {name for kind in kinds.values() for head in kind.heads.values() for name in head.labels}
    labels, named_by = sorted(seen), sorted({*seen, *kinds})
    images = tuple(
        ImageReading("a.png", kind, Quality(True), dict.fromkeys(labels, 0.1), tuple(labels), 0.9)
        for kind in kinds
    )
    page = readable(Assessment("c", triage=Triage("green"), images=images), said)
    assert len(labels) > 8
    assert [name for name in named_by if "-" in name and name in page] == []
    text = "".join(page.split())
    assert [name for name in named_by if "".join(said.say(label(name)).split()) not in text] == []
    assert said.unsaid == set()


@pytest.mark.parametrize("code", list(languages()))
def test_a_result_that_a_question_decides_is_said_with_its_guideline(
    code: str, assessments: list[Assessment]
) -> None:
    said = catalogue(code)
    page = "".join("".join(readable(assessment, said).split()) for assessment in assessments)
    for title in ("Body mass index, classes for adults", "National Early Warning Score 2"):
        what = said.fill("decides {}", said.say(title) + said.language.colon).strip()
        assert "".join(what.split()) in page
    for bare in ("score", "band"):
        assert "".join(f"({said.fill('decides {}', said.say(bare))}".split()) not in page


def test_a_name_stands_without_its_value_and_its_unit() -> None:
    assert [named(name) for name in ("cough_days", "bmi", "hiv_status")] == ["cough", "BMI", "HIV status"]


def test_what_a_tests_other_result_would_change_is_said_of_its_result(assessments: list[Assessment]) -> None:
    turned = {t.if_ for a in assessments for c in a.differential or () for t in c.counterfactuals}
    assert "malaria rapid test negative" in turned
    assert not [words for words in turned if words.startswith("there were") and " test" in words]
