"""Numbers, tests and pictures become findings, by a table that can be read and checked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from akazuba.errors import CaseError
from akazuba.intake.coded import RESULTS, coded_findings, vital_rows
from akazuba.records import Case, Finding, Vitals
from akazuba.terminology import Terminology

FEVER, COLD, FAST, LOW_OXYGEN = "HP:0001945", "HP:0002045", "AKZ:0000038", "AKZ:0000042"


def found(**fields: Any) -> dict[str, Finding]:
    case = msgspec.convert({"id": "c", **fields}, Case)
    return {item.id: item for item in coded_findings(case, lambda term: f"name of {term}", lambda term: term)}


def present(finding: str, age_years: float | None = None, **vitals: Any) -> bool | None:
    item = found(patient={"age_years": age_years}, vitals=vitals).get(finding)
    return item.present if item else None


def test_nothing_assessed_gives_no_finding() -> None:
    assert found() == {}


@pytest.mark.parametrize(("temperature", "fever"), [(37.4, False), (37.5, None), (37.9, None), (38.0, True)])
def test_fever_has_a_band_in_which_it_is_neither_present_nor_absent(
    temperature: float, fever: bool | None
) -> None:
    assert present(FEVER, temperature_c=temperature) is fever


def test_a_measured_finding_says_its_source_and_value() -> None:
    item = found(vitals={"temperature_c": 39.2})[FEVER]
    assert (item.name, item.source, item.text) == (f"name of {FEVER}", "vitals", "39.2 °C")


@pytest.mark.parametrize(
    ("age", "rate", "fast"),
    [
        (0.1, 59, False),
        (0.1, 60, True),
        (0.5, 49, False),
        (0.5, 50, True),
        (3, 39, False),
        (3, 40, True),
        (8, 31, True),
        (8, 28, None),
        (30, 20, False),
        (30, 21, True),
        (None, 45, None),
        (None, 70, True),
        (None, 18, False),
    ],
)
def test_fast_breathing_goes_by_age_and_without_it_by_what_every_age_says(
    age: float | None, rate: float, fast: bool | None
) -> None:
    assert present(FAST, age, respiratory_rate_bpm=rate) is fast


def test_a_good_saturation_on_oxygen_does_not_rule_out_a_low_one() -> None:
    assert present(LOW_OXYGEN, spo2_percent=97) is False
    assert present(LOW_OXYGEN, spo2_percent=97, on_oxygen=True) is None
    assert present(LOW_OXYGEN, spo2_percent=90, on_oxygen=True) is True


def test_blood_pressure_is_raised_by_either_value_and_normal_by_both() -> None:
    raised = "HP:0032263"
    assert present(raised, 40, systolic_mmhg=150) is True
    assert present(raised, 40, systolic_mmhg=120, diastolic_mmhg=95) is True
    assert present(raised, 40, systolic_mmhg=120, diastolic_mmhg=80) is False
    assert present(raised, 40, systolic_mmhg=120) is None
    assert present(raised, 4, systolic_mmhg=150) is None


def test_consciousness_becomes_findings() -> None:
    assert found(vitals={"consciousness": "alert"})["HP:0004372"].present is False
    assert found(vitals={"consciousness": "confused"})["HP:0001289"].present
    assert set(found(vitals={"consciousness": "unresponsive"})) == {"HP:0004372", "AKZ:0000001"}


def test_a_skin_photo_implies_a_lesion_and_a_chest_film_nothing() -> None:
    assert found(images=[{"path": "a", "kind": "skin-photo"}])["HP:0011355"].source == "image"
    assert found(images=[{"path": "a", "kind": "chest-xray"}]) == {}


@pytest.mark.parametrize(("word", "positive"), [*RESULTS.items(), (" Positive ", True)])
def test_a_test_result_is_a_finding(word: str, positive: bool) -> None:
    item = found(tests=[{"id": "malaria-rdt", "result": word}])["test:malaria-rdt"]
    assert (item.present, item.source) == (positive, "test")


def test_another_test_result_is_refused_with_the_words_that_are_known() -> None:
    with pytest.raises(CaseError, match=r"tests\[0\].result: expected positive, .* found 'invalid'"):
        found(tests=[{"id": "malaria-rdt", "result": "invalid"}])


def test_one_test_with_two_results_is_refused() -> None:
    with pytest.raises(CaseError, match=r"tests\[1\]: expected one answer"):
        found(tests=[{"id": "hiv", "result": "reactive"}, {"id": "hiv", "result": "negative"}])
    assert len(found(tests=[{"id": "hiv", "result": "reactive"}, {"id": "hiv", "result": "positive"}])) == 1


def test_when_report_and_measurement_disagree_present_wins() -> None:
    said = [{"id": FEVER, "present": True}]
    assert found(findings=said, vitals={"temperature_c": 36.8})[FEVER].source == "nurse"
    denied = [{"id": FEVER, "present": False}]
    assert found(findings=denied, vitals={"temperature_c": 39})[FEVER].source == "vitals"


def test_two_ids_of_one_finding_must_agree() -> None:
    case = msgspec.convert({"id": "c", "findings": [{"id": "HP:1"}, {"id": "HP:2", "present": False}]}, Case)
    with pytest.raises(CaseError, match="'HP:1' both 'present' and 'absent'"):
        coded_findings(case, str, {"HP:1": "HP:1", "HP:2": "HP:1"}.__getitem__)


def test_every_finding_of_the_table_is_a_term_with_a_source(terminology: Terminology) -> None:
    for row in vital_rows():
        assert terminology.canonical(row.finding) == row.finding
        assert row.source
        assert row.review
        assert row.vital in Vitals.__struct_fields__


def test_the_rows_of_one_finding_cover_the_ages_without_gap_or_overlap() -> None:
    for finding, vital in {(row.finding, row.vital) for row in vital_rows()}:
        rows = sorted(
            (row for row in vital_rows() if (row.finding, row.vital) == (finding, vital)),
            key=lambda row: row.from_years,
        )
        assert all(before.below_years == after.from_years for before, after in pairwise(rows))
        assert rows[-1].below_years > 125


@given(st.floats(0, 125) | st.none(), st.floats(0, 350))
def test_no_heart_rate_is_both_fast_and_slow(age: float | None, rate: float) -> None:
    assert not (
        present("HP:0001649", age, heart_rate_bpm=rate) and present("HP:0001662", age, heart_rate_bpm=rate)
    )
