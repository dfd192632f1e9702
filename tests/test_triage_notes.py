"""What a note says decides the level, however it is written."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.guidelines.triage import triage
from akazuba.language.reader import Reader
from akazuba.records import Case, Patient, Triage, Vitals
from akazuba.terminology import Terminology

NORMAL = Vitals(
    temperature_c=36.8,
    heart_rate_bpm=80,
    respiratory_rate_bpm=18,
    systolic_mmhg=122,
    diastolic_mmhg=76,
    spo2_percent=98,
    consciousness="alert",
)
BENIGN = (
    "toothache mild left side since last week",
    "itchy rash on both arms for months, worse at night",
    "ring shaped itchy patch on neck 3 weeks, no fever",
    "back ache for years, worse after digging",
    "pimples on face since one year",
    "runny nose 2 days, no fever, no cough",
    "knees paining for many months when climbing",
    "itching between the toes 2 weeks",
)
DANGER = (
    "Convulsing now.",
    "Bitten by a snake one hour ago.",
    "He drank pesticide.",
    "Vomiting blood since morning.",
    "He fainted this morning.",
    "Lips are blue.",
    "Stabbed in the belly with a knife.",
    "Cannot pass urine since yesterday.",
    "Weak on one side since morning.",
    "He wants to kill himself.",
    "Very pale and short of breath.",
    "He is confused and has a fever.",
    "Dog bite yesterday.",
)
DENIALS = ("No cough, no rash. ", "Denies fever, cough or vomiting. ", "No fever, rash or diarrhoea. ")
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def reader(terminology: Terminology) -> Reader:
    return Reader(terminology)


def urgency(reader: Reader, terminology: Terminology, note: str, age: float = 34) -> Triage:
    case = Case("c", Patient(age_years=age, sex="male"), note, vitals=NORMAL)
    reading = reader.read(note, "en")
    return triage(case, reading.findings, reading.understood, terminology.ancestors)


@pytest.mark.parametrize("note", BENIGN)
def test_a_benign_note_with_normal_vital_signs_is_green(
    reader: Reader, terminology: Terminology, note: str
) -> None:
    assert urgency(reader, terminology, note).level == "green"


@SLOW
@given(benign=st.sampled_from(BENIGN), danger=st.sampled_from(DANGER), first=st.booleans())
def test_a_danger_sign_anywhere_in_a_benign_note_is_never_green(
    reader: Reader, terminology: Terminology, benign: str, danger: str, first: bool
) -> None:
    note = f"{danger} {benign}" if first else f"{benign}. {danger}"
    assert urgency(reader, terminology, note).level in {"red", "yellow"}


@SLOW
@given(denial=st.sampled_from(DENIALS), danger=st.sampled_from(DANGER))
def test_a_denied_list_before_it_does_not_hide_a_danger_sign(
    reader: Reader, terminology: Terminology, denial: str, danger: str
) -> None:
    level = urgency(reader, terminology, danger).level
    assert urgency(reader, terminology, denial + danger).level == level


@SLOW
@given(danger=st.sampled_from(DANGER), benign=st.sampled_from(BENIGN), data=st.data())
def test_case_full_stops_and_a_doubled_letter_change_nothing(
    reader: Reader, terminology: Terminology, danger: str, benign: str, data: st.DataObject
) -> None:
    note = f"{danger} {benign}"
    level = urgency(reader, terminology, note).level
    assert urgency(reader, terminology, note.upper()).level == level
    assert urgency(reader, terminology, note.replace(".", "")).level in {"red", "yellow"}
    doubled = data.draw(st.sampled_from([i for i, c in enumerate(danger) if i and c in "bdglmnprst"]))
    written = f"{danger[:doubled]}{danger[doubled]}{danger[doubled:]} {benign}"
    assert urgency(reader, terminology, written).level == level


@pytest.mark.parametrize(
    ("british", "american"),
    [
        ("haemorrhage after the fall", "hemorrhage after the fall"),
        ("oedema of both feet", "edema of both feet"),
        ("in labour", "in labor"),
        ("watery diarrhoea since yesterday", "watery diarrhea since yesterday"),
        ("he has an anaesthetic leg and is dyspnoeic", "he has an anesthetic leg and is dyspneic"),
    ],
)
def test_british_and_american_spelling_give_one_level(
    reader: Reader, terminology: Terminology, british: str, american: str
) -> None:
    assert urgency(reader, terminology, british).level == urgency(reader, terminology, american).level


def test_a_red_sign_whose_denial_is_doubtful_is_asked(reader: Reader, terminology: Terminology) -> None:
    result = urgency(reader, terminology, "No trauma, chest pain", age=58)
    assert result.level == "yellow"
    assert "may or may not be denied" in result.reasons[0].because
    assert urgency(reader, terminology, "No trauma, no chest pain", age=58).level == "green"
    assert urgency(reader, terminology, "No fever, cough, vomiting", age=58).level == "green"


def test_a_word_of_danger_that_was_not_understood_is_asked(reader: Reader, terminology: Terminology) -> None:
    result = urgency(reader, terminology, "mild cough, two men with a machete came")
    assert result.level == "yellow"
    assert "machete" in result.reasons[0].because


@pytest.mark.parametrize(
    ("note", "age", "level"),
    [
        ("fell and hit his head, vomited, drowsy", 30, "red"),
        ("short of breath, cannot talk", 30, "red"),
        ("fast breathing, not able to drink", 3, "red"),
        ("head injury, on warfarin", 30, "red"),
        ("right leg painful and cold since morning", 60, "red"),
        ("leg hugely swollen after a fall", 30, "red"),
        ("fever, bulging fontanelle", 0.8, "red"),
        ("lips swollen after nuts, hard to breathe", 30, "red"),
        ("swollen hernia, vomiting", 30, "yellow"),
        ("hernia for years, no vomiting", 30, "green"),
        ("cold hands in the morning, fingers dry", 30, "green"),
    ],
)
def test_signs_that_are_dangerous_together(
    reader: Reader, terminology: Terminology, note: str, age: float, level: str
) -> None:
    assert urgency(reader, terminology, note, age).level == level
