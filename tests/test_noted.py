"""Vital signs as numbers in a note: they raise urgency, and never make anybody safe."""

from __future__ import annotations

import pytest
from test_consult import NORMAL, box, line_of  # noqa: F401 - box is a fixture

from akazuba.box import Box
from akazuba.consult import assess
from akazuba.intake.noted import with_noted_vitals
from akazuba.records import Case, Vitals


@pytest.mark.parametrize(
    ("note", "vitals"),
    [
        ("T 39.2, RR 48, SpO2 86 %", Vitals(temperature_c=39.2, respiratory_rate_bpm=48, spo2_percent=86)),
        ("Temperature: 36.6°C (97.9°F)", Vitals(temperature_c=36.6)),
        ("temp of 102.2 F", Vitals(temperature_c=39.0)),
        ("BP 80/50, pulse 128", Vitals(systolic_mmhg=80, diastolic_mmhg=50, heart_rate_bpm=128)),
        (
            "Blood pressure is 125/80 mmHg. Heart Rate: 72 bpm",
            Vitals(systolic_mmhg=125, diastolic_mmhg=80, heart_rate_bpm=72),
        ),
        ("Respiratory Rate: 16 breaths/min", Vitals(respiratory_rate_bpm=16)),
        ("sats 91% on air", Vitals(spo2_percent=91)),
        ("B/P 170 over 110", Vitals(systolic_mmhg=170, diastolic_mmhg=110)),
        ("SBP 78, T39.6, P 132", Vitals(systolic_mmhg=78, temperature_c=39.6, heart_rate_bpm=132)),
        ("saturating at 84% on air", Vitals(spo2_percent=84)),
        ("84% on room air, 44 breaths per minute", Vitals(spo2_percent=84, respiratory_rate_bpm=44)),
        ("fever of 39.6, heartbeat 168/min", Vitals(temperature_c=39.6, heart_rate_bpm=168)),
        ("RBS 2.1", Vitals(glucose_mmol_l=2.1)),
        ("sugar 40 mg/dl", Vitals(glucose_mmol_l=2.2)),
        ("CRT >3 sec", Vitals(capillary_refill_s=4)),
        ("cap refill 5s", Vitals(capillary_refill_s=5)),
        ("GCS 7", Vitals(consciousness="pain")),
        ("GCS 14/15", Vitals(consciousness="confused")),
        ("AVPU: U", Vitals(consciousness="unresponsive")),
        ("V on AVPU", Vitals(consciousness="voice")),
        ("GCS 15/15, AVPU A", Vitals()),  # nobody is alert by a note
        ("oxygen 10 l/min, sugar 3 times a day, CRT < 2", Vitals()),
        ("P 36 weeks, fever 10 days, 2 hr ago", Vitals()),
        ("T 399", Vitals()),
        ("BP normal, pulse 2+ in 12 places", Vitals()),
        ("took 39 tablets at 10 pm", Vitals()),
        ("fever for 3 days", Vitals()),
    ],
)
def test_numbers_are_read_where_their_name_stands_before_them(note: str, vitals: Vitals) -> None:
    assert with_noted_vitals(Case("c", note=note)).vitals == vitals


def test_what_was_measured_stands() -> None:
    case = Case("c", note="T 39.5, RR 40", vitals=Vitals(temperature_c=36.8))
    assert with_noted_vitals(case).vitals == Vitals(temperature_c=36.8, respiratory_rate_bpm=40)


def test_a_number_in_the_note_raises_the_urgency(box: Box) -> None:  # noqa: F811
    def level(note: str, **fields: object) -> str:
        answer = assess(box, line_of({"id": "c", "note": note, "patient": {"age_years": 40}, **fields}))
        assert answer.triage
        return answer.triage.level

    assert level("cough for 3 days") == "unassessed"
    assert level("cough for 3 days, SpO2 98 %, T 36.8, RR 16, HR 70, BP 120/80") == "unassessed"
    assert level("cough for 3 days, SpO2 82 %") == level("cough for 3 days", vitals={"spo2_percent": 82})
    assert level("cough for 3 days, SpO2 82 %") in ("red", "yellow")
    assert level("cough for 3 days", vitals=NORMAL) == level("cough for 3 days, RR 15", vitals=NORMAL)


def test_a_fever_that_was_measured_is_among_the_findings(box: Box) -> None:  # noqa: F811
    answer = assess(box, line_of({"id": "c", "note": "cough, T 39.5", "patient": {"age_years": 40}}))
    assert "HP:0001945" in {finding.id for finding in answer.findings or () if finding.present}


@pytest.mark.parametrize(
    ("note", "name", "value"),
    [
        ("BP checked three times 166/114", "systolic_mmhg", 166.0),
        ("BP at clinic was 172/112", "diastolic_mmhg", 112.0),
        ("pulse counted 162", "heart_rate_bpm", 162.0),
        ("heart is going at 170", "heart_rate_bpm", 170.0),
        ("sugar is down to 2.4", "glucose_mmol_l", 2.4),
        ("machine says 2.2", "glucose_mmol_l", 2.2),
        ("cap refill more than 3 s", "capillary_refill_s", 4.0),
        ("gcs E1V2M4", "consciousness", "pain"),
        ("machine took 2 fingers", "glucose_mmol_l", None),
    ],
)
def test_numbers_are_found_behind_the_words_that_lead_to_them(
    note: str, name: str, value: float | str | None
) -> None:
    assert getattr(with_noted_vitals(Case("c", note=note)).vitals, name) == value
