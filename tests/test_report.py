"""What a nurse reads: urgency first, nothing left out, nothing that could steer her terminal."""

from __future__ import annotations

import json
import unicodedata
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, strategies as st

from akazuba.records import (
    Action,
    Assessment,
    Candidate,
    Counterfactual,
    Evidence,
    Finding,
    ImageReading,
    Provenance,
    Quality,
    QualityProblem,
    TokenWeight,
    Triage,
    TriageReason,
)
from akazuba.report import failures, json_line, readable
from akazuba.wording.lines import WIDTH


def filled(text: str, **changes: object) -> Assessment:
    """An assessment in which every part is there and `text` stands wherever text from outside can."""
    evidence = (Evidence("Chest pain", 17_234.0, text), Evidence(text, 0.004, text, present=False))
    candidate = Candidate(
        text,
        0.9971,
        evidence=evidence,
        evidence_against=evidence,
        counterfactuals=(Counterfactual(text, 0.0),),
    )
    unusable = Quality(usable=False, problems=(QualityProblem("unreadable", text),))
    assessment = Assessment(
        case_id=text,
        triage=Triage("red", (TriageReason("r", "red", text, text),), missing=(text, "glucose")),
        findings=(
            Finding("HP:0100749", "Chest pain"),
            Finding("HP:0002094", text, present=False),
            Finding("HP:0012735", text, uncertain=True),
            Finding("HP:0001250", text, temporality="past"),
            Finding("HP:0002099", text, subject="family"),
            Finding("test:hiv", "hiv test", present=False, source="test"),
            Finding("HP:0002045", "Hypothermia", present=False, source="vitals"),
        ),
        note_unread=text,
        differential=(*[candidate] * 5, Candidate("Anthrax", 0.001, must_not_miss=True)),
        prediction_set=(text,),
        coverage=0.9,
        abstained=True,
        why=text,
        images=(
            ImageReading(text, "skin-photo", unusable, abstained=True, why=text),
            ImageReading(
                "b.png",
                "skin-photo",
                Quality(usable=True, problems=(QualityProblem("frames", text, remark=True),)),
                labels={"actinic-keratosis": 0.98, text: 0.02},
                prediction_set=("actinic-keratosis", text),
                coverage=0.9,
                abstained=True,
                why=text,
                heatmap=text,
                heatmap_grid=((0.0, 1.0), (0.5, 0.2)),
            ),
        ),
        token_attribution=(TokenWeight(text, (0, 1), -0.5),),
        ask_next=(text,),
        plan=(Action(text, text, text, text, text),),
        narrative=None,
        provenance=Provenance("0" * 64, not_read={text: 2}),
        timings_ms={"total": 12.0},
    )
    return msgspec.structs.replace(assessment, **changes)


def plainly(assessment: Assessment) -> str:
    """The text without the colours, so that an escape from outside cannot hide among ours."""
    with patch("akazuba.page.click.style", lambda text, **_: text):
        return readable(assessment)


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def steering(text: str) -> list[str]:
    """Control characters (the line feed aside), and what turns the direction of writing."""
    turns = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return [c for c in text if (unicodedata.category(c) == "Cc" and c != "\n") or c in turns]


def test_a_case_begins_with_its_urgency_and_ends_with_its_review_state() -> None:
    lines = plainly(filled("words")).splitlines()
    assert lines[0].strip() == "words"
    assert lines[1].strip() == "RED: EMERGENCY, see the patient now"
    assert "Not reviewed by a clinician" in lines[-1]


def test_sections_stand_in_the_order_in_which_they_matter() -> None:
    text = plainly(filled("words"))
    parts = [
        "RED: EMERGENCY",
        "not assessed: words; glucose",
        "THE NOTE WAS NOT UNDERSTOOD: words",
        "DO\n",
        "UNDERSTOOD\n",
        "PROBABLY\n",
        "do not miss: Anthrax <1%",
        "IMAGE words",
        "IMAGE b.png",
        "WORDS",
        "ASK OR TEST NEXT",
        "NOT READ",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_what_was_understood_is_said_with_whose_and_when() -> None:
    text = plainly(filled("Stridor"))
    for line in (
        "present: chest pain",
        "absent: stridor",
        "tests: hiv test negative",
        "uncertain: stridor",
        "in the past: stridor",
        "others (family, contacts): stridor",
    ):
        assert line in text
    assert "ypothermia" not in text  # what a normal temperature rules out was not said by anybody


def test_figures_are_readable_and_never_claim_certainty() -> None:
    text = plainly(filled("words"))
    assert "chest pain ×17,000" in text
    assert "no words ×0.004" in text
    assert "1. words >99%" in text
    assert "if words: <1%" in text
    assert "e+" not in text


def test_an_unusable_image_says_why_once() -> None:
    text = plainly(filled("words"))
    image = text[text.index("IMAGE words") : text.index("IMAGE b.png")]
    assert "not assessed" in image
    assert image.count("words") == 2  # its name and the reason


def test_a_case_that_failed_is_shown_as_not_assessed() -> None:
    text = plainly(Assessment("c1", error="patient.age_years: expected 0 to 125 years, found -3"))
    assert text.splitlines()[1].strip().startswith("NOT ASSESSED")
    assert "found -3" in text
    assert "GREEN" not in text


@pytest.mark.parametrize("level", ["red", "yellow", "green", "unassessed"])
def test_an_assessment_with_nothing_but_a_level_can_be_read(level: str) -> None:
    assessment = Assessment("c1", triage=Triage(level))  # type: ignore[arg-type]
    assert plainly(assessment).splitlines()[1].strip()


TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="ab \x1b[0m\x07\x9b\x00\r\n\t\u202e\u2028漢🙂é", max_size=300),
    st.sampled_from(["漢" * 400, "x" * 400, "e\u0301" * 200, " ", ""]),
)


@given(TEXTS)
def test_no_line_is_wider_than_the_screen_and_nothing_steers_it(text: str) -> None:
    for assessment in (filled(text), Assessment(text, error=text)):
        shown = plainly(assessment)
        assert steering(shown) == []
        assert max(map(columns, shown.splitlines())) <= WIDTH


@given(TEXTS)
def test_json_is_one_line_for_every_reader_and_says_the_same(text: str) -> None:
    line = json_line(filled(text))
    assert len(line.decode().splitlines()) == 1
    assert steering(line.decode()) == []
    assert msgspec.json.decode(line, type=Assessment) == filled(text)
    assert json.loads(line)["case_id"] == text


def test_a_failure_names_its_case_once() -> None:
    assert failures(Assessment("a.json", error="a.json: expected a file, found a folder")) == (
        "a.json: expected a file, found a folder",
    )
    assert failures(Assessment("c1", error="id: expected text, found 5")) == (
        "c1, id: expected text, found 5",
    )
    assert failures(filled("words")) == ("words, words",)
