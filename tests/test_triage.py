"""Urgency by rules: every threshold of the charts, and every way in which nobody sick may come out green."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.guidelines.chart import shipped_charts
from akazuba.guidelines.plan import first_actions
from akazuba.guidelines.triage import GREEN_NEEDS, editions, triage
from akazuba.records import Case, Finding, Patient, Triage, Vitals
from akazuba.terminology import Terminology

COUGH = Finding("HP:0012735", "Cough")
FEVER = Finding("HP:0001945", "Fever")
HEADACHE = Finding("HP:0002315", "Headache")
NORMAL = Vitals(
    temperature_c=36.8, heart_rate_bpm=80, respiratory_rate_bpm=25, spo2_percent=98, consciousness="alert"
)
MAN = Patient(age_years=34, sex="male")
CHILD = Patient(age_years=3, sex="male")

Assess = Callable[..., Triage]


@pytest.fixture(scope="module")
def assess(terminology: Terminology) -> Assess:
    def run(
        *findings: Finding,
        patient: Patient = MAN,
        understood: bool = True,
        note: str = "coughs",
        weeks: float | None = None,
        vitals: Vitals = NORMAL,
        **changed: object,
    ) -> Triage:
        case = Case(
            "c", patient, note, vitals=msgspec.structs.replace(vitals, **changed), gestational_age_weeks=weeks
        )
        return triage(case, findings, understood, terminology.ancestors)

    return run


def rules(result: Triage) -> set[str]:
    return {reason.rule for reason in result.reasons}


def sign(id_: str, **more: object) -> Finding:
    return Finding(id_, id_, **more)


def test_a_well_adult_and_a_well_child_are_green_and_told_what_nobody_asked(assess: Assess) -> None:
    for patient in (MAN, CHILD):
        result = assess(COUGH, patient=patient, heart_rate_bpm=100)
        assert result.level == "green"
        assert result.reasons == ()
        assert any("danger signs not asked: stridor" in item for item in result.missing)
        assert "capillary refill" in result.missing


ADULT_VITALS = [
    # vital, value at which nothing fires, value beyond, level, rule
    ("heart_rate_bpm", 60, 59, "yellow", "iitt-adult-heart-rate-review"),
    ("heart_rate_bpm", 130, 131, "yellow", "iitt-adult-heart-rate-review"),
    ("heart_rate_bpm", 50, 49, "red", "iitt-adult-heart-rate-red"),
    ("heart_rate_bpm", 150, 151, "red", "iitt-adult-heart-rate-red"),
    ("respiratory_rate_bpm", 10, 9, "yellow", "iitt-adult-respiratory-rate-review"),
    ("respiratory_rate_bpm", 30, 31, "yellow", "iitt-adult-respiratory-rate-review"),
    ("temperature_c", 36, 35.9, "yellow", "iitt-adult-temperature-review"),
    ("temperature_c", 39, 39.1, "yellow", "iitt-adult-temperature-review"),
    ("spo2_percent", 92, 91.9, "yellow", "iitt-adult-oxygen-review"),
    ("consciousness", "alert", "confused", "yellow", "iitt-adult-avpu-review"),
    ("consciousness", "alert", "voice", "yellow", "iitt-adult-avpu-review"),
    ("consciousness", "pain", "unresponsive", "red", "iitt-adult-unresponsive"),
    ("consciousness", "voice", "pain", "red", "akazuba-coma"),
    ("capillary_refill_s", 3, 3.1, "red", "iitt-adult-capillary-refill"),
    ("glucose_mmol_l", 3.0, 2.9, "red", "iitt-adult-hypoglycaemia"),
    ("glucose_mmol_l", 3.9, 3.8, "yellow", "akazuba-glucose"),
    ("glucose_mmol_l", 17.9, 18, "yellow", "akazuba-glucose"),
    ("systolic_mmhg", 91, 90, "yellow", "akazuba-blood-pressure"),
    ("systolic_mmhg", 219, 220, "yellow", "akazuba-blood-pressure"),
    ("systolic_mmhg", 1, 0, "red", "akazuba-arrest"),
    ("on_oxygen", False, True, "yellow", "akazuba-oxygen"),
]


@pytest.mark.parametrize("row", ADULT_VITALS, ids=str)
def test_adult_thresholds_hold_at_the_value_and_fire_beyond_it(
    assess: Assess, row: tuple[str, object, object, str, str]
) -> None:
    vital, at, beyond, level, rule = row
    result = assess(COUGH, **{vital: beyond})
    assert rule in rules(result)
    assert result.level == level
    assert rule not in rules(assess(COUGH, **{vital: at}))


def test_red_and_high_risk_heart_rates_are_two_rules(assess: Assess) -> None:
    assert assess(COUGH, heart_rate_bpm=50).level == "yellow"
    assert assess(COUGH, heart_rate_bpm=150).level == "yellow"
    [review] = assess(COUGH, heart_rate_bpm=140).reasons
    assert "immediate review by the supervising clinician" in review.because
    assert "heart rate 140 > 130" in review.because
    assert "heart rate 156 > 150" in assess(COUGH, heart_rate_bpm=156).reasons[0].because


CHILD_VITALS = [
    (0.5, "respiratory_rate_bpm", 25, 50, "iitt-infant-respiratory-rate-review"),
    (0.99, "heart_rate_bpm", 90, 180, "iitt-infant-heart-rate-review"),
    (1, "respiratory_rate_bpm", 20, 40, "iitt-toddler-respiratory-rate-review"),
    (4.99, "heart_rate_bpm", 80, 160, "iitt-toddler-heart-rate-review"),
    (5, "respiratory_rate_bpm", 10, 30, "iitt-child-respiratory-rate-review"),
    (11.99, "heart_rate_bpm", 70, 140, "iitt-child-heart-rate-review"),
    (11.99, "temperature_c", 36, 39, "iitt-child-temperature-review"),
]


@pytest.mark.parametrize("row", CHILD_VITALS, ids=str)
def test_child_thresholds_by_age(assess: Assess, row: tuple[float, str, float, float, str]) -> None:
    age, vital, low, high, rule = row
    patient = Patient(age_years=age)
    for value in (low, high):
        assert rule not in rules(assess(COUGH, patient=patient, **{vital: value}))
    for value in (low - 1, high + 1):
        result = assess(COUGH, patient=patient, **{vital: value})
        assert rule in rules(result)
        assert result.level == "yellow"


def test_a_childs_low_blood_pressure_is_yellow(assess: Assess) -> None:
    assert assess(COUGH, patient=CHILD, heart_rate_bpm=100, systolic_mmhg=70).level == "green"
    assert assess(COUGH, patient=CHILD, heart_rate_bpm=100, systolic_mmhg=69).level == "yellow"


def test_the_adult_chart_begins_at_twelve(assess: Assess) -> None:
    assert assess(COUGH, patient=Patient(age_years=11.99, sex="male"), heart_rate_bpm=151).level == "yellow"
    assert assess(COUGH, patient=Patient(age_years=12, sex="male"), heart_rate_bpm=151).level == "red"


INFANTS = [
    (Patient(age_days=7), "red"),
    (Patient(age_days=8), "yellow"),
    (Patient(age_months=6), "yellow"),
    (Patient(age_months=7), "green"),
    (Patient(age_months=0), "yellow"),
    (Patient(age_years=0), "yellow"),
]


@pytest.mark.parametrize(("patient", "level"), INFANTS)
def test_young_infants_by_age(assess: Assess, patient: Patient, level: str) -> None:
    result = assess(COUGH, patient=patient, heart_rate_bpm=120, respiratory_rate_bpm=35)
    assert result.level == level


def test_an_age_of_zero_years_asks_for_the_days(assess: Assess) -> None:
    result = assess(COUGH, patient=Patient(age_years=0), heart_rate_bpm=120, respiratory_rate_bpm=35)
    assert "give it in days" in result.reasons[0].because


@pytest.mark.parametrize(
    ("days", "temperature", "red"), [(60, 39.1, True), (60, 35.9, True), (60, 39, False), (61, 39.1, False)]
)
def test_temperature_under_two_months(assess: Assess, days: float, temperature: float, red: bool) -> None:
    result = assess(
        COUGH,
        patient=Patient(age_days=days),
        heart_rate_bpm=120,
        respiratory_rate_bpm=35,
        temperature_c=temperature,
    )
    assert ("iitt-child-under-2-months" in rules(result)) == red


@pytest.mark.parametrize(
    ("age", "level"), [(29, "green"), (30, "yellow"), (50, "yellow"), (50.5, "red"), (51, "red")]
)
def test_acute_chest_pain_over_fifty(assess: Assess, age: float, level: str) -> None:
    pain = sign("HP:0100749")
    assert assess(pain, patient=Patient(age_years=age, sex="male")).level == level


def test_pain_of_weeks_is_not_acute_but_is_still_checked(assess: Assess) -> None:
    result = assess(sign("HP:0100749", onset_days_ago=15), patient=Patient(age_years=70, sex="male"))
    assert result.level == "yellow"
    assert "check at once" in result.reasons[0].because
    assert (
        assess(sign("HP:0100749", onset_days_ago=14), patient=Patient(age_years=70, sex="male")).level
        == "red"
    )


def test_any_two_of_counts_measurements_and_findings(assess: Assess) -> None:
    assert assess(HEADACHE).level == "green"
    assert assess(FEVER).level == "green"
    assert assess(HEADACHE, FEVER).level == "red"
    assert assess(HEADACHE, temperature_c=38).level == "red"
    assert assess(HEADACHE, temperature_c=37.9).level == "green"
    assert assess(HEADACHE, temperature_c=35.9).level == "red"
    assert assess(HEADACHE, consciousness="confused").level == "red"
    assert assess(sign("AKZ:0000036"), FEVER).level == "red"  # severe headache is a headache


def test_two_names_of_one_sign_are_not_two_signs(assess: Assess) -> None:
    assert assess(sign("HP:0025258"), sign("HP:0031179")).level == "yellow"
    assert assess(FEVER, temperature_c=38.5).level == "green"


def test_child_any_two_and_altered_mental_status_with_fever(assess: Assess) -> None:
    sunken, drinks = sign("AKZ:0000014"), sign("AKZ:0000016")
    assert assess(drinks, patient=CHILD, heart_rate_bpm=100).level == "yellow"
    assert assess(sunken, drinks, patient=CHILD, heart_rate_bpm=100).level == "red"
    lethargic = sign("HP:0001254")
    assert assess(lethargic, patient=CHILD, heart_rate_bpm=100).level == "yellow"
    assert assess(lethargic, patient=CHILD, heart_rate_bpm=100, temperature_c=37.5).level == "red"


def every_red_sign() -> list[tuple[str, str]]:
    return [
        (rule.band, finding)
        for chart in shipped_charts()
        for rule in chart.rules
        if rule.level == "red" and rule.at_least == 1 and not rule.pregnant and rule.age is None
        for name in rule.signs
        for finding in chart.signs[name].findings
    ]


@pytest.mark.parametrize(("band", "finding"), every_red_sign())
def test_every_red_sign_is_red_alone_and_at_least_yellow_when_uncertain(
    assess: Assess, band: str, finding: str
) -> None:
    patient = CHILD if band == "child" else MAN
    normal = {"heart_rate_bpm": 100}
    assert assess(sign(finding), patient=patient, **normal).level == "red"
    uncertain = assess(sign(finding, uncertain=True), patient=patient, **normal)
    assert uncertain.level in ("red", "yellow")
    assert any("check at once" in reason.because for reason in uncertain.reasons)
    recent = assess(COUGH, sign(finding, temporality="past", onset_days_ago=1), patient=patient, **normal)
    assert recent.level == "yellow"
    for not_hers in (
        sign(finding, subject="family"),
        sign(finding, present=False),
        sign(finding, temporality="past", onset_days_ago=1000),
    ):
        assert assess(COUGH, not_hers, patient=patient, **normal).level == "green"


def test_a_seizure_is_checked_unless_it_is_known_to_be_over(assess: Assess) -> None:
    seizure = sign("HP:0001250")
    assert assess(seizure).level == "yellow"
    assert assess(seizure, sign("AKZ:0000005", present=False)).level == "green"


PREGNANT_SIGNS = [
    "AKZ:0000003",
    "AKZ:0000037",
    "HP:0001250",
    "HP:0001289",
    "AKZ:0000036",
    "HP:0000622",
    "AKZ:0000030",
]


@pytest.mark.parametrize("finding", PREGNANT_SIGNS)
def test_pregnant_red_criteria(assess: Assess, finding: str) -> None:
    woman = Patient(age_years=25, sex="female", pregnant=True)
    unknown = Patient(age_years=25, sex="female")
    pressure = {"systolic_mmhg": 110, "diastolic_mmhg": 70}
    assert assess(sign(finding), patient=woman, **pressure).level == "red"
    assert assess(sign(finding), patient=unknown, **pressure).level in ("red", "yellow")
    girl = Patient(age_years=11, sex="female", pregnant=True)
    assert assess(sign(finding), patient=girl, **pressure).level == "red"


@pytest.mark.parametrize(
    ("systolic", "diastolic", "red"), [(160, 100, True), (159, 109, False), (150, 110, True)]
)
def test_blood_pressure_in_pregnancy(assess: Assess, systolic: float, diastolic: float, red: bool) -> None:
    pressure = {"systolic_mmhg": systolic, "diastolic_mmhg": diastolic}
    woman = Patient(age_years=25, sex="female", pregnant=True)
    assert (assess(COUGH, patient=woman, **pressure).level == "red") == red
    unknown = assess(COUGH, patient=Patient(age_years=25, sex="female"), **pressure)
    assert unknown.level == ("yellow" if red else "green")
    assert assess(COUGH, patient=MAN, **pressure).level == "green"


def test_pregnancy_is_known_from_weeks_and_from_findings(assess: Assess) -> None:
    severe = sign("AKZ:0000036")
    woman = Patient(age_years=25, sex="female")
    assert assess(severe, patient=woman, weeks=30).level == "red"
    assert assess(severe, sign("AKZ:0000041"), patient=woman).level == "red"
    assert assess(severe, patient=CHILD, weeks=30, heart_rate_bpm=100).level == "yellow"  # his own at birth


def test_a_pregnant_patient_is_not_green_without_a_blood_pressure(assess: Assess) -> None:
    woman = Patient(age_years=25, sex="female", pregnant=True)
    result = assess(COUGH, patient=woman)
    assert result.level == "unassessed"
    assert "blood pressure (pregnant)" in result.missing


def test_without_an_age_both_charts_apply_and_nobody_is_green(assess: Assess) -> None:
    nobody = Patient()
    assert assess(COUGH, patient=nobody).level == "unassessed"
    assert assess(sign("AKZ:0000013"), patient=nobody).level == "red"  # child's chart
    assert assess(HEADACHE, FEVER, patient=nobody).level == "red"  # adult's chart
    chest = assess(sign("HP:0100749"), patient=nobody)
    assert chest.level == "yellow"
    assert "age not known" in chest.reasons[0].because


def test_a_burn_is_red_at_the_ends_of_life(assess: Assess) -> None:
    burn = sign("AKZ:0000031")
    levels = {
        age: assess(burn, patient=Patient(age_years=age, sex="male"), heart_rate_bpm=100).level
        for age in (1.9, 2, 40, 70, 71)
    }
    assert levels == {1.9: "red", 2: "yellow", 40: "yellow", 70: "yellow", 71: "red"}


def test_measurements_are_judged_by_the_chart_and_not_by_what_intake_derived(assess: Assess) -> None:
    derived = sign("HP:0001943", source="vitals")  # intake calls 3.5 mmol/L hypoglycaemia
    assert assess(COUGH, derived, glucose_mmol_l=3.5).level == "yellow"


def test_only_what_was_understood_can_be_green(assess: Assess) -> None:
    assert assess(COUGH, understood=False).level == "unassessed"
    assert assess(COUGH, understood=False, note="").level == "green"  # coded by the nurse, nothing to read
    assert assess(note="all fine").level == "unassessed"
    assert assess(sign("AKZ:0000041", present=False, source="nurse"), note="").level == "unassessed"
    assert assess(sign("HP:0004372", present=False, source="vitals"), note="").level == "unassessed"


def test_findings_of_tests_and_labs_do_not_disturb(assess: Assess) -> None:
    assert assess(COUGH, sign("test:malaria-rdt", source="test")).level == "green"


def test_the_plan_is_the_charts_first_step(assess: Assess) -> None:
    assert "resuscitation" in first_actions(assess(sign("HP:0010307")))[0].action
    assert len(first_actions(assess(sign("HP:0030828")))) == 1
    review = first_actions(assess(COUGH, spo2_percent=91))
    assert "immediate review" in review[1].action
    assert first_actions(assess()) == ()
    assert all(step.dose is None and step.clause and step.edition for step in review)
    assert len(editions()) == 2


# --- laws ---------------------------------------------------------------------------------------

DANGER = sorted(
    {finding for chart in shipped_charts() for row in chart.signs.values() for finding in row.findings}
)
ORDER = {"green": 0, "unassessed": 0, "yellow": 1, "red": 2}

patients = st.builds(
    Patient,
    age_years=st.none() | st.sampled_from([0, 0.5, 3.0, 11.0, 12.0, 30.0, 51.0, 80.0]),
    sex=st.sampled_from(["female", "male", None]),
    pregnant=st.sampled_from([None, False]),
)
vitals = st.builds(
    Vitals,
    temperature_c=st.none() | st.sampled_from([35.0, 36.8, 37.6, 38.5, 39.5]),
    heart_rate_bpm=st.none() | st.sampled_from([45, 55, 80, 100, 135, 155, 190]),
    respiratory_rate_bpm=st.none() | st.sampled_from([8, 16, 22, 28, 35, 55]),
    spo2_percent=st.none() | st.sampled_from([88, 91, 92, 98]),
    consciousness=st.sampled_from([None, "alert", "alert", "voice"]),
    systolic_mmhg=st.none() | st.sampled_from([85, 120, 165]),
)
reported = st.lists(
    st.builds(
        Finding,
        id=st.sampled_from(["HP:0012735", "HP:0001945", "HP:0002315", "HP:0002094", *DANGER[:20]]),
        name=st.just("x"),
        present=st.booleans(),
        uncertain=st.booleans(),
    ),
    max_size=4,
)
LAW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LAW
@given(patients, vitals, reported, st.sampled_from([*GREEN_NEEDS, "age", "findings", "understood"]))
def test_what_is_not_assessed_never_makes_green(
    terminology: Terminology, patient: Patient, measured: Vitals, found: list[Finding], removed: str
) -> None:
    case = Case("c", patient, "coughs", vitals=measured)
    understood = True
    if removed in GREEN_NEEDS:
        case = msgspec.structs.replace(case, vitals=msgspec.structs.replace(measured, **{removed: None}))
    elif removed == "age":
        case = msgspec.structs.replace(case, patient=msgspec.structs.replace(patient, age_years=None))
    elif removed == "findings":
        found = []
    else:
        understood = False
    after = triage(case, found, understood, terminology.ancestors)
    assert after.level != "green"
    assert after.missing or after.level == "red"


@LAW
@given(
    patients,
    vitals,
    reported,
    st.builds(Finding, st.sampled_from(DANGER), st.just("x"), uncertain=st.booleans()),
)
def test_one_more_danger_sign_never_lowers_the_level(
    terminology: Terminology, patient: Patient, measured: Vitals, found: list[Finding], danger: Finding
) -> None:
    case = Case("c", patient, "coughs", vitals=measured)
    before = triage(case, found, True, terminology.ancestors)
    more = [*found, danger]
    after = triage(case, more, True, terminology.ancestors)
    assert ORDER[after.level] >= ORDER[before.level]
    reversed_order = triage(case, more[::-1], True, terminology.ancestors)
    assert reversed_order.level == after.level
