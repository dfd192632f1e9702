"""What triage says and why: the words of each reason, ages to the day, pregnancy, and what is asked next."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from akazuba.guidelines.chart import AgeRange, VitalTest, shipped_charts
from akazuba.guidelines.triage import (
    ACUTE_DAYS,
    CHILDBEARING_YEARS,
    DAYS_A_MONTH,
    DAYS_A_YEAR,
    VITALS,
    _age_days,
    _bounds,
    _met,
    editions,
    triage,
)
from akazuba.records import Case, Finding, Patient, Triage, Vitals

EDGES = {
    "AKZ:0000036": {"HP:0002315"},  # severe headache is a headache
    "HP:0000622": {"HP:0000505"},
}


def ancestors(id_: str) -> frozenset[str]:
    return frozenset(EDGES.get(id_, ()))


NORMAL = Vitals(
    temperature_c=36.8,
    heart_rate_bpm=80,
    respiratory_rate_bpm=20,
    spo2_percent=98,
    consciousness="alert",
    systolic_mmhg=120,
    diastolic_mmhg=80,
)
MAN = Patient(age_years=34, sex="male")
WOMAN = Patient(age_years=25, sex="female", pregnant=True)
COUGH = Finding("HP:0012735", "Cough")


def assess(
    *findings: Finding,
    patient: Patient = MAN,
    note: str = "coughs",
    understood: bool = True,
    weeks: float | None = None,
    **changed: object,
) -> Triage:
    vitals = msgspec.structs.replace(NORMAL, **changed)
    case = Case("c", patient, note, vitals=vitals, gestational_age_weeks=weeks)
    return triage(case, findings, understood, ancestors)


def sign(id_: str, name: str = "", **more: object) -> Finding:
    return Finding(id_, name or id_, **more)


def because(result: Triage, rule: str) -> str:
    return next(reason.because for reason in result.reasons if reason.rule == rule)


def fired(result: Triage) -> list[str]:
    return [reason.rule for reason in result.reasons]


# --- the words of a reason ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "value", "said"),
    [
        (VitalTest("heart_rate_bpm", above=150), 150, ""),
        (VitalTest("heart_rate_bpm", above=150), 151, "heart rate 151 > 150 beats a minute"),
        (VitalTest("respiratory_rate_bpm", below=10), 10, ""),
        (VitalTest("respiratory_rate_bpm", below=10), 9, "respiratory rate 9 < 10 breaths a minute"),
        (VitalTest("temperature_c", at_least=37.5), 37.4, ""),
        (VitalTest("temperature_c", at_least=37.5), 37.5, "temperature 37.5 ≥ 37.5 °C"),
        (VitalTest("systolic_mmhg", at_most=90), 90.5, ""),
        (VitalTest("systolic_mmhg", at_most=90), 90, "systolic blood pressure 90 ≤ 90 mmHg"),
        (VitalTest("systolic_mmhg", at_most=0), 0, "systolic blood pressure 0 ≤ 0 mmHg"),
        (VitalTest("spo2_percent", below=92), None, ""),
        (VitalTest("consciousness", is_=("voice", "pain")), "alert", ""),
        (VitalTest("consciousness", is_=("voice", "pain")), "pain", "level of consciousness (AVPU): pain"),
        (VitalTest("on_oxygen", is_=(True,)), True, "whether the patient needs oxygen: yes"),
        (VitalTest("on_oxygen", is_=(True,)), False, ""),
    ],
    ids=range(14),
)
def test_a_measurement_that_meets_a_test_is_said_with_its_limit_and_unit(
    test: VitalTest, value: object, said: str
) -> None:
    assert _met(test, msgspec.structs.replace(Vitals(), **{test.vital: value})) == said


def test_a_reason_gives_its_rule_its_source_and_every_value_once() -> None:
    [reason] = assess(
        sign("AKZ:0000001", "Unresponsive", text="does not wake"), COUGH, consciousness="unresponsive"
    ).reasons[:1]
    assert (reason.rule, reason.level) == ("iitt-adult-unresponsive", "red")
    assert reason.source == "IITT age ≥ 12, step 1"
    assert reason.because == (
        'unresponsive: level of consciousness (AVPU): unresponsive, Unresponsive ("does not wake")'
    )
    twice = assess(sign("HP:0010307", "Stridor"), sign("HP:0010307", "Stridor"))
    assert because(twice, "iitt-adult-stridor") == "stridor: Stridor"


def test_a_rule_of_several_signs_names_what_it_found_of_each() -> None:
    result = assess(sign("HP:0002315", "Headache"), temperature_c=38.5)
    assert because(result, "iitt-adult-any-two") == (
        "two of altered mental status, stiff neck, fever or hypothermia, headache: "
        "temperature 38.5 ≥ 38 °C; Headache"
    )


def test_a_rule_of_age_alone_needs_no_value() -> None:
    result = assess(COUGH, patient=Patient(age_days=5), heart_rate_bpm=120, respiratory_rate_bpm=35)
    rule = next(rule for chart in shipped_charts() for rule in chart.rules if rule.id in fired(result))
    assert not rule.signs
    assert because(result, rule.id) == rule.message


def test_an_uncertain_sign_is_yellow_with_the_words_that_make_it_so() -> None:
    result = assess(sign("HP:0010307", "Stridor", text="maybe stridor", uncertain=True))
    [reason] = [reason for reason in result.reasons if reason.rule == "iitt-adult-stridor"]
    assert reason.level == result.level == "yellow"
    assert reason.source == "IITT age ≥ 12, step 1, Airway & breathing"
    assert reason.because == (
        'check at once (stridor is uncertain: Stridor ("maybe stridor")): this would be red if so: stridor'
    )


def test_a_hint_makes_its_sign_possible_until_the_sign_itself_is_denied() -> None:
    fit = sign("HP:0001250", "Seizure")
    said = because(assess(fit), "iitt-adult-convulsion")
    assert said == (
        "check at once (active convulsion is possible: Seizure): this would be red if so: active convulsion"
    )
    denied = assess(fit, sign("AKZ:0000005", "Active convulsion", present=False))
    assert "iitt-adult-convulsion" not in fired(denied)
    other = assess(fit, sign("HP:0002133", "Status epilepticus", present=False))
    assert "iitt-adult-convulsion" in fired(other)


def test_a_denial_that_may_be_none_is_checked() -> None:
    doubtful = sign("HP:0010307", "Stridor", present=False, uncertain=True, text="no trauma, stridor")
    assert because(assess(COUGH, doubtful), "iitt-adult-stridor") == (
        'check at once (stridor may or may not be denied: Stridor ("no trauma, stridor")): '
        "this would be red if so: stridor"
    )
    for more in (
        sign("HP:0010307", "Stridor", present=False),  # and another time plainly denied
        sign("HP:0010307", "Stridor", present=False, uncertain=True, temporality="past"),
    ):
        past = more.temporality == "past"
        assert "iitt-adult-stridor" not in fired(assess(COUGH, more if past else doubtful, more))
    wheeze = sign("HP:0030828", "Wheezing", present=False, uncertain=True)
    assert fired(assess(COUGH, wheeze)) == []  # yellow signs that are denied stay denied


def test_a_doubtful_denial_is_settled_by_a_measurement() -> None:
    doubtful = sign("AKZ:0000001", "Unresponsive", present=False, uncertain=True)
    assert "iitt-adult-unresponsive" not in fired(assess(COUGH, doubtful))
    assert "iitt-adult-unresponsive" in fired(assess(COUGH, doubtful, consciousness=None))


@pytest.mark.parametrize(
    ("finding", "rule"),
    [("HP:0001250", "iitt-adult-convulsion"), ("HP:0001681", "iitt-adult-pain-over-50")],
    ids=["a hint", "a recent finding"],
)
def test_a_doubtful_denial_of_what_only_hints_at_a_sign_is_checked_too(finding: str, rule: str) -> None:
    older = Patient(age_years=60, sex="male")
    doubtful = sign(finding, "It", present=False, uncertain=True)
    assert "may or may not be denied: It" in because(assess(COUGH, doubtful, patient=older), rule)


def test_one_certain_sign_of_two_needs_the_second_to_be_possible() -> None:
    headache, maybe = sign("HP:0002315", "Headache"), sign("HP:0025258", "Stiff neck", uncertain=True)
    result = assess(headache, maybe)
    assert because(result, "iitt-adult-any-two") == (
        "check at once (stiff neck is uncertain: Stiff neck): this would be red if so: two of altered mental "
        "status, stiff neck, fever or hypothermia, headache: Headache"
    )
    both = assess(headache, maybe, temperature_c=39)
    assert next(r for r in both.reasons if r.rule == "iitt-adult-any-two").level == "red"
    assert "iitt-adult-any-two" not in fired(assess(maybe))
    denied = sign("HP:0025258", "Stiff neck", present=False, uncertain=True)
    assert "iitt-adult-any-two" not in fired(assess(headache, denied))  # a doubt counts for single signs


def test_every_doubt_is_said() -> None:
    maybe = [sign("HP:0002315", "Headache", uncertain=True), sign("HP:0025258", "Stiff neck", uncertain=True)]
    assert because(assess(*maybe), "iitt-adult-any-two").startswith(
        "check at once (stiff neck is uncertain: Stiff neck; headache is uncertain: Headache): this would be"
    )


def test_red_comes_first_then_what_may_be_red_then_yellow() -> None:
    result = assess(
        sign("HP:0030828", "Wheezing"),
        sign("HP:0001658", "Heart attack", uncertain=True),  # of the second chart
        sign("AKZ:0000001", "Unresponsive", uncertain=True),
        sign("HP:0100601", "Eclampsia"),  # of the second chart, after all of these
    )
    by_id = {rule.id: rule.level for chart in shipped_charts() for rule in chart.rules}
    ranks = [(reason.level != "red", by_id[reason.rule] != "red") for reason in result.reasons]
    assert ranks == sorted(ranks)
    assert set(ranks) == {(False, False), (True, False), (True, True)}
    assert result.level == "red"


def test_a_triage_says_whether_a_clinician_reviewed_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    chart, additions = shipped_charts()
    assert assess(COUGH).review == chart.review
    reviewed = (replace(chart, review="reviewed by Dr Uwase"), additions)
    monkeypatch.setattr("akazuba.guidelines.triage.shipped_charts", lambda: reviewed)
    assert assess(COUGH).review == "reviewed by Dr Uwase"
    monkeypatch.undo()
    assert editions()[0] == f"{chart.title} ({chart.publisher}; {chart.edition})"


# --- whose and when -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "level"), [(None, "red"), (ACUTE_DAYS, "red"), (ACUTE_DAYS + 0.5, "yellow")]
)
def test_pain_is_acute_for_two_weeks(days: float | None, level: str) -> None:
    pain = sign("HP:0100749", "Chest pain", onset_days_ago=days)
    assert assess(pain, patient=Patient(age_years=60, sex="male")).level == level


@pytest.mark.parametrize(
    ("days", "counted"), [(None, False), (0, True), (ACUTE_DAYS, True), (ACUTE_DAYS + 0.5, False)]
)
def test_history_counts_when_it_is_a_matter_of_days(days: float | None, counted: bool) -> None:
    past = sign("HP:0010307", temporality="past", onset_days_ago=days)
    assert ("iitt-adult-stridor" in fired(assess(COUGH, past))) == counted


def test_what_others_have_and_what_was_derived_from_numbers_fires_nothing() -> None:
    for more in ({"subject": "family"}, {"subject": "other"}, {"source": "vitals"}):
        assert assess(COUGH, sign("HP:0010307", **more)).level == "green"
    assert assess(COUGH, sign("HP:0010307", source="nurse")).level == "red"


# --- ages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patient", "youngest", "oldest"),
    [
        (Patient(age_days=9, age_months=0, age_years=0), 9, 9),
        (Patient(age_days=0), 0, 0),
        (Patient(age_months=2), 2 * DAYS_A_MONTH, 3 * DAYS_A_MONTH - 0.5),
        (Patient(age_months=2.5, age_years=0), 2.5 * DAYS_A_MONTH, 2.5 * DAYS_A_MONTH),
        (Patient(age_months=0), 0, DAYS_A_MONTH - 0.5),
        (Patient(age_years=0), 0, DAYS_A_YEAR - 0.5),
        (Patient(age_years=0.5), DAYS_A_YEAR / 2, DAYS_A_YEAR / 2),
        (Patient(age_years=3), 3 * DAYS_A_YEAR, 3 * DAYS_A_YEAR),
    ],
    ids=str,
)
def test_an_age_is_a_range_of_days(patient: Patient, youngest: float, oldest: float) -> None:
    assert _age_days(patient) == pytest.approx((youngest, oldest), abs=1e-9)
    assert _age_days(Patient()) is None
    assert pytest.approx(365.25 / 12) == DAYS_A_MONTH


@pytest.mark.parametrize(
    ("age", "low", "high"),
    [
        (AgeRange(), 0, float("inf")),
        (AgeRange(from_days=28), 28, float("inf")),
        (AgeRange(from_years=2), 2 * DAYS_A_YEAR, float("inf")),
        (AgeRange(over_years=50), 50 * DAYS_A_YEAR + 1e-6, float("inf")),
        (AgeRange(over_years=0), 1e-6, float("inf")),
        (AgeRange(under_days=8), 0, 8),
        (AgeRange(under_months=2), 0, 2 * DAYS_A_MONTH),
        (AgeRange(under_years=5, under_months=2), 0, 2 * DAYS_A_MONTH),
        (AgeRange(under_years=5, from_days=3, from_years=1), DAYS_A_YEAR, 5 * DAYS_A_YEAR),
    ],
    ids=str,
)
def test_a_range_of_ages_in_days(age: AgeRange, low: float, high: float) -> None:
    assert _bounds(age) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("days", "fires"), [(7, True), (7.99, True), (8, False), (9, False)])
def test_a_rule_of_age_ends_on_its_day(days: float, fires: bool) -> None:
    [rule] = [r for chart in shipped_charts() for r in chart.rules if r.age and r.age.under_days == 8]
    result = assess(COUGH, patient=Patient(age_days=days), heart_rate_bpm=120, respiratory_rate_bpm=35)
    assert (rule.id in fired(result)) == fires
    assert not any("check at once" in reason.because for reason in result.reasons)


def test_an_age_that_is_too_coarse_or_not_known_is_asked_where_it_would_matter() -> None:
    infant = assess(COUGH, patient=Patient(age_months=1), heart_rate_bpm=120, temperature_c=39.5)
    coarse = assess(COUGH, patient=Patient(age_years=0), heart_rate_bpm=120, temperature_c=39.5)
    assert next(r for r in infant.reasons if r.rule == "iitt-child-under-2-months").level == "red"
    assert because(coarse, "iitt-child-under-2-months").startswith(
        "check at once (exact age not known: give it in days or months): this would be red if so: "
    )
    burn = sign("AKZ:0000031", "Burn")
    unknown = assess(burn, patient=Patient(sex="male"))
    assert because(unknown, "iitt-adult-burn-over-70") == (
        "check at once (age not known): this would be red if so: burn over 70 years of age: Burn"
    )
    pain = assess(sign("HP:0100749"), patient=Patient(sex="male"))
    assert "akazuba-chest-pain" not in fired(pain)  # a yellow rule of age is not guessed
    assert not [id_ for id_ in fired(assess(COUGH, patient=Patient(sex="male"))) if "days" in id_]


@pytest.mark.parametrize(
    ("years", "sex", "pregnant", "level"),
    [
        (CHILDBEARING_YEARS[0], "female", None, "yellow"),
        (CHILDBEARING_YEARS[1] - 0.01, "female", None, "yellow"),
        (CHILDBEARING_YEARS[1], "female", None, "green"),
        (25, None, None, "yellow"),
        (25, "male", None, "green"),
        (25, "female", False, "green"),
        (25, "female", True, "red"),
    ],
    ids=str,
)
def test_who_may_be_pregnant(years: float, sex: str | None, pregnant: bool | None, level: str) -> None:
    patient = Patient(age_years=years, sex=sex, pregnant=pregnant)
    vision = sign("HP:0000572", "Visual loss", onset_days_ago=100)
    result = assess(vision, patient=patient)
    assert result.level == level
    if level == "yellow":
        assert because(result, "iitt-pregnant-visual") == (
            "check at once (pregnancy not known): this would be red if so: "
            "pregnant with visual changes: Visual loss"
        )


@pytest.mark.parametrize(
    ("patient", "weeks", "findings", "pregnant"),
    [
        (Patient(age_years=10, sex="female"), 30, (), True),
        (Patient(age_years=9.9, sex="female"), 30, (), False),
        (Patient(age_years=25, sex="female"), 0, (), True),
        (Patient(sex="female"), 30, (), False),
        (Patient(age_years=60, sex="female"), None, (sign("AKZ:0000012"),), True),
        (Patient(age_years=60, sex="female"), None, (sign("AKZ:0000041", uncertain=True),), False),
    ],
    ids=str,
)
def test_how_a_pregnancy_is_known(
    patient: Patient, weeks: float | None, findings: tuple[Finding, ...], pregnant: bool
) -> None:
    result = assess(COUGH, *findings, patient=patient, weeks=weeks, systolic_mmhg=None)
    assert ("blood pressure (pregnant)" in result.missing) == pregnant


def test_an_uncertain_pregnancy_is_a_possible_one_at_any_age() -> None:
    older = Patient(age_years=60, sex="female")
    vision = sign("HP:0000572", "Visual loss", onset_days_ago=100)
    uncertain = assess(vision, sign("AKZ:0000041", uncertain=True), patient=older)
    assert "iitt-pregnant-visual" in fired(uncertain)
    denied = sign("AKZ:0000041", present=False)
    young = Patient(age_years=25, sex="female")
    assert "iitt-pregnant-visual" not in fired(assess(vision, denied, patient=young))
    assert "iitt-pregnant-visual" in fired(assess(vision, patient=young))


def test_a_pregnant_girl_meets_the_red_rules_of_the_adult_chart_and_no_yellow_ones() -> None:
    girl = Patient(age_years=11, sex="female", pregnant=True)
    fast = assess(COUGH, patient=girl, heart_rate_bpm=155)
    assert "iitt-adult-heart-rate-red" in fired(fast)
    assert "iitt-adult-heart-rate-review" not in fired(fast)
    boy = Patient(age_years=11, sex="male")
    assert "iitt-adult-heart-rate-red" not in fired(assess(COUGH, patient=boy, heart_rate_bpm=155))


# --- what is missing ----------------------------------------------------------------------------


def test_what_green_needs_is_listed_in_plain_words() -> None:
    nothing = dict.fromkeys(
        (
            "heart_rate_bpm",
            "respiratory_rate_bpm",
            "temperature_c",
            "spo2_percent",
            "consciousness",
            "diastolic_mmhg",
        )
    )
    result = assess(patient=WOMAN, note="habari", understood=False, **nothing)
    assert result.level == "unassessed"
    assert result.missing[:7] == (
        "heart rate",
        "respiratory rate",
        "temperature",
        "oxygen saturation",
        "level of consciousness (AVPU)",
        "blood pressure (pregnant)",
        "the note (it was not understood)",
    )
    assert assess(patient=Patient(sex="male"), note="").missing[:2] == (
        "age",
        "complaint and danger signs (no finding was reported or understood)",
    )
    assert "blood pressure (pregnant)" not in assess(COUGH, patient=WOMAN).missing
    assert assess(COUGH, note="  ", understood=False).level == "green"


def test_only_what_the_patient_or_the_nurse_reports_is_a_complaint() -> None:
    gap = "complaint and danger signs (no finding was reported or understood)"
    for finding, complaint in (
        (COUGH, True),
        (sign("HP:0012735", source="nurse"), True),
        (sign("HP:0012735", source="lab"), False),
        (sign("HP:0012735", subject="family"), False),
        (sign("AKZ:0000041", source="nurse"), False),
    ):
        assert (gap in assess(finding).missing) == (not complaint)


def test_who_is_red_is_asked_nothing_more_than_what_is_missing() -> None:
    assert assess(sign("HP:0010307")).missing == ()
    assert assess(sign("HP:0010307"), spo2_percent=None).missing == ("oxygen saturation",)


def test_what_could_still_raise_the_level_is_asked_in_order() -> None:
    measured, asked = assess(COUGH).missing[:-1], assess(COUGH).missing[-1]
    assert measured == ("capillary refill", "blood glucose")
    assert asked.startswith("danger signs not asked: stridor, respiratory distress, central cyanosis, ")
    names = asked.removeprefix("danger signs not asked: ")
    shown, _, more = names.rpartition(" and ")
    assert len(shown.split(", ")) == 6
    red = {
        name
        for chart in shipped_charts()
        for rule in chart.rules
        for name in rule.signs
        if rule.level == "red"
        and rule.band in ("adult", "any")
        and not rule.pregnant
        and not chart.signs[name].vitals
        and not (rule.age and rule.age.over_years)
    }
    assert more == f"{len(red) - 6} more"


def test_what_was_measured_or_asked_is_not_asked_again() -> None:
    result = assess(COUGH, sign("HP:0010307", present=False), capillary_refill_s=2)
    assert "capillary refill" not in result.missing
    assert result.missing[-1].startswith("danger signs not asked: respiratory distress, ")
    given_up = assess(COUGH, temperature_c=None)
    assert given_up.missing.count("temperature") == 1
    assert assess(COUGH, patient=Patient(age_years=25, sex="female")).missing[0] == (
        "whether the patient is pregnant"
    )
    assert "whether the patient is pregnant" not in assess(COUGH, patient=WOMAN).missing
    expecting = assess(COUGH, patient=WOMAN, diastolic_mmhg=None).missing
    assert "diastolic blood pressure" in expecting
    assert "diastolic blood pressure" not in assess(COUGH, diastolic_mmhg=None).missing


def test_when_few_signs_are_left_all_are_named() -> None:
    red = [
        name
        for chart in shipped_charts()
        for rule in chart.rules
        for name in chart.signs
        if rule.level == "red"
    ]
    denied = {
        id_
        for chart in shipped_charts()
        for name in red
        if name in chart.signs
        for id_ in chart.signs[name].findings[:1]
    }
    asked = assess(COUGH, *(sign(id_, present=False) for id_ in denied - {"HP:0010307", "AKZ:0000009"}))
    assert asked.missing[-1] == "danger signs not asked: stridor, snake bite"
    nothing = assess(COUGH, *(sign(id_, present=False) for id_ in denied))
    assert nothing.missing == ("capillary refill", "blood glucose")


def test_every_vital_sign_of_the_charts_has_a_name_and_a_unit() -> None:
    tested = {t.vital for chart in shipped_charts() for row in chart.signs.values() for t in row.vitals}
    assert tested <= VITALS.keys()
