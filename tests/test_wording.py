"""The fixed texts in other languages: whole, reviewed by whom, and never lost where a row is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from akazuba.box import open_box
from akazuba.cli import EXAMPLES
from akazuba.cli.shared import LANGUAGE
from akazuba.consult import assess
from akazuba.errors import ArtefactError, InputError
from akazuba.fixed_texts import fixed_texts
from akazuba.guidelines.library import open_library
from akazuba.intake.cases import read_cases
from akazuba.knowledge.conditions import open_knowledge
from akazuba.report import json_line, readable
from akazuba.settings import Settings
from akazuba.terminology import Terminology
from akazuba.wording.catalogue import Catalogue, Language, Rows, catalogue, languages

CODES = [code for code in languages() if code != "en"]
PLAIN = Language("Test", "not reviewed")


def rows(*pairs: tuple[str, str]) -> Catalogue:
    return Catalogue("xx", PLAIN, dict(pairs))


def test_the_command_line_offers_every_language_of_the_tables() -> None:
    assert list(LANGUAGE(lambda: None).__click_params__[0].type.choices) == list(languages())


@pytest.mark.parametrize("code", CODES)
def test_nearly_every_fixed_text_has_a_translation(code: str, terminology: Terminology) -> None:
    known = catalogue(code).rows
    texts = {text for _, text in fixed_texts(open_library(()), open_knowledge().table, terminology)}
    assert len(texts - known.keys()) <= 0.01 * len(texts)


@pytest.mark.parametrize("code", CODES)
def test_every_language_says_that_nobody_has_reviewed_it(code: str, terminology_home: Path) -> None:
    box = open_box(Settings(home=terminology_home))
    line = next(iter(read_cases(str(EXAMPLES / "child-mild-cough.json"))))
    said = catalogue(code)
    page = readable(assess(box, line), said)
    key = "Translated by the makers of the box: not reviewed by a speaker or a clinician."
    assert said.say(key) != key
    assert " ".join(said.say(key).split()) in " ".join(page.split())


@pytest.mark.parametrize("code", CODES)
def test_ids_levels_and_numbers_of_an_assessment_stay(code: str, terminology_home: Path) -> None:
    import msgspec

    box = open_box(Settings(home=terminology_home))
    for line in read_cases(str(EXAMPLES / "adult-cough.json")):
        plain = assess(box, line)
        said = msgspec.json.decode(json_line(plain, catalogue(code)))
        assert said["triage"]["level"] == "red"
        assert [f["id"] for f in said["findings"]] == [f.id for f in plain.findings or ()]
        assert [c["probability"] for c in said["differential"]] == [
            c.probability for c in plain.differential or ()
        ]
        assert said["provenance"] == msgspec.json.decode(msgspec.json.encode(plain.provenance))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "text", ["DO NOT GIVE: {}", "Do not give {}: {}.", "no {}", "no dose without {}", "not assessed: {}"]
)
def test_a_denial_is_not_the_same_without_its_no(code: str, text: str) -> None:
    said = catalogue(code)
    assert said.fill(text, "a", "b") not in (said.fill("{} positive", "a"), "a", "b")
    assert said.rows[text].replace("{}", "").strip(" :.：。") != ""


def test_a_reason_is_said_piece_by_piece() -> None:
    said = rows(
        ("high-risk vital sign", "signe à risque"),
        ("temperature", "température"),
        ("oxygen saturation", "saturation"),
        ("check at once ({}): this would be red if so: {}", "vérifier ({1}), rouge sinon : {2}"),
        ("fever", "fièvre"),
    )
    text = "high-risk vital sign: temperature 39.3 > 39 °C; oxygen saturation 90 < 92 %"
    assert said.say(text) == "signe à risque: température 39.3 > 39 °C; saturation 90 < 92 %"
    asked = 'check at once (Fever ("hot")): this would be red if so: high-risk vital sign'
    assert said.say(asked) == 'vérifier (Fièvre ("hot")), rouge sinon : signe à risque'
    assert said.unsaid == set()


def test_a_list_is_not_cut_where_a_row_has_the_mark_itself() -> None:
    said = rows(("unable to talk, eat or drink", "ne parle ni ne boit"), ("stridor", "stridor fr"))
    assert said.say("stridor, unable to talk, eat or drink") == "stridor fr, ne parle ni ne boit"


def test_holes_may_change_places() -> None:
    assert rows(("{} of {}", "{2} 中 {1}")).say("3 of 10") == "10 中 3"


def test_what_has_no_row_stays_english_and_is_counted() -> None:
    said = rows(("cough", "toux"))
    assert said.say("cough; purple toes") == "toux; purple toes"
    assert said.unsaid == {"purple toes"}


@given(st.text(max_size=60))
def test_any_text_can_be_said_and_english_stays_as_it_is(text: str) -> None:
    assert catalogue("en").say(text) == text
    assert isinstance(rows(("cough", "toux"), ("{}: {}", "{} : {}"), ("no {}", "sans {}")).say(text), str)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("cough", "an English text, a tab and its translation"),
        ("cough\t", "an English text, a tab and its translation"),
        ("cough\ttoux\ncough\ttoux", "each English text once"),
        ("fever\tfièvre\ncough\ttoux", "in the order of its bytes"),
        ("in {} days\tbientôt", "as many holes"),
    ],
)
def test_a_broken_row_is_refused_with_its_line(table: str, expected: str) -> None:
    with pytest.raises(ArtefactError, match=expected) as refused:
        Rows(table.encode(), "fr.tsv")
    assert "fr.tsv, line " in str(refused.value)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="one of en, fr, sw, rw, zh"):
        catalogue("tlh")


@pytest.mark.parametrize("code", CODES)
def test_every_row_is_found_in_its_table(code: str) -> None:
    table = catalogue(code).rows
    assert all(table[english] for english in table)
    assert "no such row" not in table
    assert "" not in table


def doses() -> set[str]:
    """Every unit and frequency of the library's plans, with an amount and a duration."""
    found = set()
    for guideline in open_library(()).guidelines.values():
        for table in guideline.tables:
            for row in table.rows:
                unit, often = row.then.get("unit"), row.then.get("frequency")
                if isinstance(unit, str) and isinstance(often, str):
                    found |= {
                        f"2.5 {unit} {often} for 5 days",
                        f"100 {unit} {often} for 1 day",
                        f"1 {unit} {often}",
                    }
    return found


@pytest.mark.parametrize("code", CODES)
def test_every_dose_is_said_whole_with_its_numbers(code: str) -> None:
    said = catalogue(code)
    assert len(doses()) > 60
    for dose in doses():
        words = said.dose(dose)
        assert said.unsaid == set(), dose
        assert words != dose
        assert re.findall(r"[\d.]+", dose)[0] == re.findall(r"[\d.]+", words)[0]
        if " for 5 days" in dose:
            assert "5" in words.partition(" ")[2]


def test_a_dose_that_the_table_has_not_stays_english_whole() -> None:
    said = rows(("for", "inaunga mkono"), ("hour", "saa"), ("microgram", "mikrogramu"))
    dose = "100 microgram 4 puffs every 20 minutes for 1 hour"
    assert said.dose(dose) == dose
    assert said.unsaid == {dose}


@pytest.mark.parametrize(
    "text",
    [
        "no treatment or refer now",
        "no general danger sign or very severe disease",
        "unrefreshing sleep; Chagas rapid test positive",
        "no cough; malaria rapid test negative",
        "allergy to penicillin; takes warfarin already: not twice",
    ],
)
def test_a_list_is_never_put_into_the_hole_of_one_row(text: str) -> None:
    table = (("no {}", "sans {}"), ("{} test", "test {}"), ("{} positive", "{} positif"))
    table = (*table, ("{} negative", "{} négatif"), ("allergy to {}", "allergie ({})"), ("cough", "toux"))
    mark = "; " if "; " in text else " or "
    said = rows(*table, ("takes {} already: not twice", "prend déjà {}"))
    whole = said.say(text)
    assert whole == text or whole == mark.join(said.say(part) for part in text.split(mark))


def test_a_name_after_a_quoted_name_is_said_too() -> None:
    said = rows(("cough", "toux"), ("fever", "fièvre"))
    assert said.say('Cough ("koh koh"), Fever ("hot")') == 'Toux ("koh koh"), Fièvre ("hot")'


def test_what_was_said_of_a_patient_is_forgotten() -> None:
    said = rows(("cough", "toux"))
    said.say("Ms Uwase; cough")
    said.forget()
    assert "Uwase" not in repr(said)


def test_a_text_that_is_nested_too_deep_is_left_as_it_is() -> None:
    said = rows(("no {}", "sans {}"))
    assert said.say("no " * 900 + "x").endswith("x")
