"""A visit of a patient with a long illness, on the tablet."""

# ruff: noqa: F401, F811 - the fixtures of patient_bench are imported by name

from __future__ import annotations

import asyncio
import datetime
import json
import re

import pytest
from patient_bench import TODAY, Tablet, app, case_of, post, shown_text, tablet

from akazuba.governance import sessions
from akazuba.web.app import STATIC
from akazuba.web.patient_deeds import NONE, SEPARATORS

# --- follow-up --------------------------------------------------------------------------------------


def visit_form(tablet: Tablet) -> tuple[str, dict[str, str]]:
    """The page, and what it would send if nothing was touched."""
    page = tablet.get(f"/follow-up/{tablet.her}").text
    form = page.split("data-follow-up")[1].split("</form>")[0]
    given = dict(re.findall(r'<input name="(medications|allergies)"[^>]*value="([^"]*)"', form))
    given |= dict(re.findall(r'name="(visit)" value="([^"]*)"', form))
    return form, given


def test_a_follow_up_asks_what_the_protocol_asks_and_no_more(tablet: Tablet) -> None:
    form, given = visit_form(tablet)
    asked = set(re.findall(r'name="q\.(\w+)"', form))
    assert {"systolic_mmhg", "diastolic_mmhg", "hypertensive_emergency_symptoms"} <= asked
    assert not asked & {"temperature_c", "spo2_percent", "cough_days", "pregnant", "first_visit"}
    assert given["medications"] == "amlodipine 5 mg"
    assert given["allergies"] == "penicillin"


def test_a_measured_number_is_never_prefilled_and_danger_is_asked_anew(tablet: Tablet) -> None:
    form, _ = visit_form(tablet)
    systolic = re.search(r'<input id="q-systolic_mmhg"[^>]*>', form)
    assert systolic
    assert "value=" not in systolic[0]
    assert "last time: 131" in form
    same = set(re.findall(r'data-same="q\.(\w+)"', form))
    assert {"diabetes", "previous_stroke"} <= same
    assert "hypertensive_emergency_symptoms" not in same
    assert "systolic_mmhg" not in same
    checked = re.findall(r'<input type="radio" name="q\.\w+" value="(\w*)" checked>', form)
    assert set(checked) == {""}


PRESS_S, POINT_S, KEY_S, THINK_S = 0.1, 1.1, 0.28, 1.35
"""B, P, K and M of the Keystroke-Level Model (Card, Moran and Newell 1980), a finger in the mouse's place."""


def test_a_stable_visit_is_tapped_within_13_seconds(tablet: Tablet) -> None:
    """By the model, without measuring, talking and waiting: every field that this form needs is counted."""
    form, given = visit_form(tablet)
    typed = {"q.systolic_mmhg": "126", "q.diastolic_mmhg": "78"}
    anew = re.findall(r"asked-anew.*?</fieldset>", form, re.DOTALL)
    answered_anew = {re.findall(r"q[.]\w+", part)[0]: "no" for part in anew}
    same = {
        f"q.{name}": "no" for name in re.findall(r'data-same="q\.(\w+)"', form)
    }  # all were `no` last time
    taps = 1 + len(typed) + len(answered_anew) + 1 + 1  # open, fields, answers, all as last time, record
    keys = sum(map(len, typed.values()))
    thought = len(typed) + len(answered_anew)
    assert taps * (POINT_S + PRESS_S) + keys * KEY_S + thought * THINK_S <= 13

    answer = tablet.send(f"/follow-up/{tablet.her}", **given, **typed, **same, **answered_anew)
    assert answer.status_code == 303
    page = tablet.get(answer.headers["location"]).text
    assert "Compared with last time (2026-06-01)" in page
    assert "131 → <strong>126</strong>" in page
    assert "lower" in page
    assert "heart rate (80)" in page.split("Not taken now")[1]
    assert "continue amlodipine: 5 mg" in " ".join(page.split())
    assert "follow-up" in page


def test_a_visit_sent_twice_is_recorded_once(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    form = {**given, "q.systolic_mmhg": "128", "q.diastolic_mmhg": "80"}
    first, second = (tablet.send(f"/follow-up/{tablet.her}", **form).headers["location"] for _ in range(2))
    assert first == second


def test_a_visit_with_a_slip_is_asked_back_and_nothing_is_recorded(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    for form in ({"q.systolic_mmhg": "1280"}, {"q.diabetes": "perhaps"}, {"visit": "c-1"}):
        assert tablet.send(f"/follow-up/{tablet.her}", **{**given, **form}).status_code == 422
    assert len(tablet.entries("assessment", tablet.her)) == before


def test_what_another_nurse_typed_is_not_recorded_for_her_who_is_here(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    answer = tablet.send(f"/follow-up/{tablet.her}", **given, owner="the-clinician")
    assert answer.status_code == 401
    assert len(tablet.entries("assessment", tablet.her)) == before
    assert (
        "/visit/" in tablet.send(f"/follow-up/{tablet.her}", **given, owner="the-nurse").headers["location"]
    )


def test_a_visit_that_is_sent_days_later_is_of_the_day_of_its_form(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    day = TODAY - datetime.timedelta(days=3)
    form = {**given, "visit": f"c-{day:%Y%m%d}-{given['visit'][-10:]}", "q.systolic_mmhg": "212"}
    assert tablet.send(f"/follow-up/{tablet.her}", **form).status_code == 303
    case = json.loads(tablet.entries("case", tablet.her)[-1].body or b"")
    assert case["date"] == day.isoformat()
    assert form["visit"] not in tablet.get("/queue").text, "she was seen days ago"
    tomorrow = TODAY + datetime.timedelta(days=1)
    for wrong in (f"c-{tomorrow:%Y%m%d}-0123456789", "c-20261341-0123456789"):
        assert tablet.send(f"/follow-up/{tablet.her}", **{**given, "visit": wrong}).status_code == 422


def test_an_answer_to_what_is_not_asked_any_more_is_asked_back_and_not_dropped(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    path = f"/follow-up/{tablet.her}"
    assert tablet.send(path, **given, **{"q.foot_ulcer": "yes"}).status_code == 422
    assert tablet.send(path, **given, **{"q.foot_ulcer": ""}).status_code == 303


def test_both_ends_take_the_same_words_for_an_empty_list() -> None:
    script = (STATIC / "sending.js").read_text("utf-8")
    (words, separators), *_ = re.findall(r"\^\(([^)]+)\)\\\.\?\$/i.*?split\(/(\[[^]]+\])/", script)
    assert set(words.split("|")) == set(NONE)
    assert separators == SEPARATORS


def test_a_grave_number_at_a_follow_up_is_red_and_waits_in_the_queue(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    form = {"q.systolic_mmhg": "212", "q.diastolic_mmhg": "124", "q.hypertensive_emergency_symptoms": "yes"}
    page = tablet.get(tablet.send(f"/follow-up/{tablet.her}", **{**given, **form}).headers["location"]).text
    assert 'data-level="red"' in page
    before = len(tablet.entries("search"))
    for _ in range(3):
        queue = tablet.get("/queue/rows").text
        assert given["visit"] in queue
        assert f"Béatrice {tablet.surname}" in queue
    (shown,) = tablet.entries("search")[before:]
    assert f"Patient/{tablet.her}".encode() in (shown.body or b""), "written down once a session"
    tablet.sign_in("auditor")
    assert given["visit"] in tablet.get("/queue").text
    assert "Béatrice" not in tablet.get("/queue").text
    tablet.send("/sign-out")
    assert "Béatrice" not in tablet.get("/queue").text


def test_a_screen_that_renews_itself_keeps_no_session_open(tablet: Tablet) -> None:
    def used() -> bytes | None:
        return tablet.store(lambda store: store.recall(sessions._SESSIONS))

    tablet.get("/queue")
    before = used()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "TOUCH_S", 0.0)
        tablet.get("/queue/rows")
        assert used() == before
        tablet.get("/queue")
        assert used() != before


def test_a_patient_without_a_long_illness_has_no_follow_up_form(tablet: Tablet) -> None:
    assert "data-follow-up" not in tablet.get(f"/follow-up/{tablet.other}").text


def test_a_follow_up_needs_somebody_who_records(tablet: Tablet) -> None:
    tablet.sign_in("supervisor")
    assert tablet.client.get(f"/follow-up/{tablet.her}").status_code == 403


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("diabetes", "foot_ulcer"),
        ("asthma", "daytime_symptoms_per_week"),
        ("copd", "exacerbation"),
        ("epilepsy", "adherence"),
        ("hiv", "night_sweats"),
        ("tuberculosis", "tb_phase"),
    ],
)
def test_each_long_illness_has_its_own_questions(tablet: Tablet, condition: str, asked: str) -> None:
    case = {"id": f"c-{tablet.other}", "patient": {"age_years": 40}, "conditions": [condition]}
    tablet.consulted(tablet.other, case)
    form = tablet.get(f"/follow-up/{tablet.other}").text
    assert f'name="q.{asked}"' in form
    assert "not reviewed by a clinician" in form


def test_a_diagnosis_goes_on_and_its_absence_is_asked_again(tablet: Tablet) -> None:
    case = case_of(tablet.other, "2026-07-01", systolic_mmhg=128, diastolic_mmhg=80)
    case["answers"] |= {"diabetes": "yes"}
    tablet.consulted(tablet.other, case)
    form = tablet.get(f"/follow-up/{tablet.other}").text
    assert 'name="q.diabetes"' not in form
    assert 'name="q.previous_stroke"' in form
    assert "HEARTS-D" in form
    assert "Does the patient have diabetes (diagnosed)?" in form.split("taken on:")[1].split("</p>")[0]


def test_a_patient_who_refuses_care_is_not_followed_up(tablet: Tablet) -> None:
    tablet.send(f"/patients/{tablet.her}/consent/withdraw", **shown_text("care"))
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    answer = tablet.send(f"/follow-up/{tablet.her}", **given)
    assert answer.status_code == 422
    assert "refuse" in answer.text
    assert len(tablet.entries("assessment", tablet.her)) == before


def test_while_the_box_is_locked_nobody_is_shown(tablet: Tablet) -> None:
    from door_bench import PASSPHRASE as TODAYS

    tablet.send("/lock")
    try:
        for path in ("/patients", f"/patients/{tablet.her}", f"/follow-up/{tablet.her}"):
            answer = tablet.client.get(path)
            assert answer.status_code == 423, path
            assert "Béatrice" not in answer.text
    finally:
        asyncio.run(tablet.post.unlock(TODAYS))
