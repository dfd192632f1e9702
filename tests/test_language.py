"""What a note says, and whose, when and whether it is so."""

import time
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.language.reader import Reader
from akazuba.language.times import find_times
from akazuba.language.tokens import tokenise
from akazuba.records import NOTE_MAX_CHARACTERS, Finding
from akazuba.terminology import Terminology, normalise

FEVER, COUGH, CHEST_PAIN, SEIZURE = "HP:0001945", "HP:0012735", "HP:0100749", "HP:0001250"
HEADACHE, VOMITING, DIARRHOEA, DIABETES = "HP:0002315", "HP:0002013", "HP:0002014", "HP:0000819"


@pytest.fixture(scope="session")
def reader(terminology: Terminology) -> Reader:
    return Reader(terminology)


def findings(reader: Reader, note: str) -> dict[str, Finding]:
    reading = reader.read(note, "en")
    assert reading.understood, reading.why
    return {finding.id: finding for finding in reading.findings}


def present(reader: Reader, note: str) -> set[str]:
    return {f.id for f in findings(reader, note).values() if f.present and f.counts}


def absent(reader: Reader, note: str) -> set[str]:
    return {f.id for f in findings(reader, note).values() if not f.present and f.counts}


# --- naming ---


@pytest.mark.parametrize(
    ("words", "term"),
    [
        ("throwing up", VOMITING),
        ("running stomach", DIARRHOEA),
        ("can't breathe", "HP:0002094"),
        ("fits", SEIZURE),
        ("hot body", FEVER),
        ("coughing up blood", "HP:0002105"),
        ("pins and needles", "HP:0003401"),
        ("peeing a lot", "HP:0000103"),
        ("tummy ache", "HP:0002027"),
        ("very sleepy", "HP:0001254"),
        ("bitten by a snake", "AKZ:0000009"),
        ("waters broke", "AKZ:0000083"),
        ("baby kicking less", "HP:0001558"),
        ("wants to kill himself", "HP:0031589"),
        ("discharge from the right ear", "AKZ:0000051"),
        ("vomitting", VOMITING),
        ("diarrhea", DIARRHOEA),
        ("diarrhoea", DIARRHOEA),
        ("pain in the chest", CHEST_PAIN),
    ],
)
def test_words_of_a_health_post_are_understood(reader: Reader, words: str, term: str) -> None:
    assert present(reader, f"The patient has {words}.") == {term}


def test_the_longest_match_wins(reader: Reader) -> None:
    assert present(reader, "severe abdominal pain") == {"AKZ:0000037"}


def test_a_phrase_does_not_cross_a_comma_or_a_full_stop(reader: Reader) -> None:
    assert CHEST_PAIN not in findings(reader, "clear chest, pain in the knee")
    assert CHEST_PAIN not in findings(reader, "clear chest. pain in the knee")


def test_a_shared_word_serves_both_members(reader: Reader) -> None:
    assert absent(reader, "no chest or abdominal pain") == {CHEST_PAIN, "HP:0002027"}


def test_a_phrase_that_names_no_finding_hides_what_it_contains(reader: Reader) -> None:
    assert findings(reader, "given cough syrup and a fever chart") == {}


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("belly pain, the pain is severe", "AKZ:0000022"),
        ("abdominal pain is severe", "AKZ:0000037"),
        ("sudden onset of chest pain", "AKZ:0000047"),
        ("sudden weakness of the left side", "AKZ:0000020"),
    ],
)
def test_severe_and_sudden_make_findings_of_their_own(reader: Reader, note: str, term: str) -> None:
    assert term in present(reader, note)


def test_a_pain_that_is_not_strong_is_not_severe(reader: Reader) -> None:
    assert present(reader, "low belly ache not strong") == {"HP:0002027"}


def test_denying_the_severe_kind_does_not_deny_the_plain_one(reader: Reader) -> None:
    assert absent(reader, "no severe headache") == {"AKZ:0000036"}


def test_every_lay_phrase_leads_to_terms_that_exist(terminology: Terminology) -> None:
    table = resources.files("akazuba.language").joinpath("lay_lexicon_en.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    assert len(rows) > 600
    for phrase, ids in rows:
        assert normalise(phrase), phrase
        for term in ids.split("|"):
            assert term == "-" or terminology.canonical(term) == term, phrase


def test_every_term_of_ours_is_found_by_its_label(reader: Reader) -> None:
    table = resources.files("akazuba").joinpath("local_terms.tsv").read_text(encoding="utf-8")
    for line in table.splitlines()[1:]:
        term, label, _ = line.split("\t")
        if "," not in label and not label.startswith("Suspected"):
            assert term in present(reader, f"Seen today: {label}."), label


# --- absent ---


@pytest.mark.parametrize(
    "note",
    [
        "no fever, cough or chest pain",
        "No fever. No cough. No chest pain.",
        "denies fever, cough and chest pain",
        "without fever or cough or chest pain",
        "does not have fever, cough or chest pain",
        "negative for fever, cough, chest pain",
        "fever absent, cough absent, chest pain absent",
        "fever: no, cough: nil, chest pain: none",
        "Any fever? No. Cough? No. Chest pain? None.",
        "never had fever, cough or chest pain",
        "fever unlikely. cough ruled out. chest pain is denied.",
    ],
)
def test_a_denial_reaches_every_member_of_the_list(reader: Reader, note: str) -> None:
    assert absent(reader, note) == {FEVER, COUGH, CHEST_PAIN}
    assert present(reader, note) == set()


@pytest.mark.parametrize(
    "note",
    [
        "no fever but has cough",
        "no fever, has cough",
        "no fever, however cough",
        "no fever and she has a cough",
        "no fever, child is coughing",
        "no fever. Cough.",
        "no fever, cough for 3 days",
        "cough without fever, cough at night",
        "fever no, cough yes",
        "Cough (no fever), cough all night",
        "no reports of fever. Cough.",
    ],
)
def test_a_denial_ends(reader: Reader, note: str) -> None:
    assert (absent(reader, note), present(reader, note)) == ({FEVER}, {COUGH})


@pytest.mark.parametrize(
    "note",
    [
        "not only fever but also fever at night",
        "no increase in fever",
        "fever without improvement on paracetamol",
        "fever not improving",
        "no change in fever",
        "no doubt fever",
    ],
)
def test_a_pseudo_negation_denies_nothing(reader: Reader, note: str) -> None:
    assert present(reader, note) == {FEVER}


def test_a_finding_that_says_no_itself_is_present(reader: Reader) -> None:
    assert present(reader, "not able to drink, no appetite, no stool for 3 days") == {
        "AKZ:0000017",
        "HP:0004396",
        "HP:0002019",
    }


@pytest.mark.parametrize(
    "note",
    ["knee pain, no pain or swelling in other joints", "no pain or swelling elsewhere, knee pain"],
)
def test_a_denial_for_another_place_denies_nothing_here(reader: Reader, note: str) -> None:
    assert present(reader, note) == {"HP:0030839"}  # knee pain
    assert absent(reader, note) == set()


@pytest.mark.parametrize(
    "note",
    ["belly pain gets worse with coughing", "belly pain, worse on cough", "belly pain hurts on coughing"],
)
def test_what_makes_a_pain_worse_is_not_a_finding(reader: Reader, note: str) -> None:
    assert COUGH not in findings(reader, note)
    assert COUGH in present(reader, "cough worse at night")


def test_a_discharge_that_became_less_is_not_reported_as_one(reader: Reader) -> None:
    assert findings(reader, "decreased discharge") == {}
    assert present(reader, "discharge from the right ear") == {"AKZ:0000051"}


def test_the_weeks_at_which_a_child_was_born_are_no_pregnancy(reader: Reader) -> None:
    assert present(reader, "born at 38 weeks' gestation, cough") == {COUGH}
    assert "AKZ:0000041" in present(reader, "38 weeks' gestation, cough")


# --- whose ---


@pytest.mark.parametrize(
    "note",
    ["mother has diabetes", "family history of diabetes", "diabetes in the family", "her sister is diabetic"],
)
def test_a_relatives_disease_is_not_the_patients(reader: Reader, note: str) -> None:
    assert findings(reader, note)[DIABETES].subject == "family"


@pytest.mark.parametrize(
    "note",
    [
        "the mother says the child has fever",
        "mother brought the child with fever",
        "mother reports fever",
        "My son has fever",
        "pregnant mother with fever",
        "came with mother, fever",
        "Father has diabetes, the child has fever",
    ],
)
def test_who_tells_is_not_who_is_ill(reader: Reader, note: str) -> None:
    assert FEVER in present(reader, note)


# --- when ---


@pytest.mark.parametrize(
    "note",
    [
        "history of convulsions",
        "had a fit 3 years ago",
        "convulsions last year",
        "previously had convulsions",
        "convulsions as a child",
        "convulsions, now resolved",
    ],
)
def test_what_is_over_is_past(reader: Reader, note: str) -> None:
    assert findings(reader, note)[SEIZURE].temporality == "past"


@pytest.mark.parametrize(
    "note",
    [
        "history of cough for 3 weeks",
        "presents with a history of cough for 3 weeks",
        "3 week history of cough",
    ],
)
def test_a_history_with_a_duration_is_current(reader: Reader, note: str) -> None:
    assert findings(reader, note)[COUGH].counts
    assert findings(reader, note)[COUGH].onset_days_ago == 21


def test_a_lifelong_condition_in_the_history_is_current(reader: Reader) -> None:
    assert present(reader, "history of diabetes") == {DIABETES}


def test_a_past_fit_and_none_today_both_stand(reader: Reader) -> None:
    reading = reader.read("convulsions last year, no convulsions today", "en")
    assert [(f.present, f.temporality) for f in reading.findings] == [(True, "past"), (False, "current")]


@pytest.mark.parametrize(
    ("note", "days"),
    [
        ("fever for 3 weeks", 21),
        ("fever since yesterday", 1),
        ("fever x 2 days", 2),
        ("fever x2/7", 2),
        ("fever 3/52", 21),
        ("fever 3d", 3),
        ("fever for two days", 2),
        ("fever for the past week", 7),
        ("fever started 10 days ago", 10),
        ("2 days of fever", 2),
        ("for 4 days she has had fever", 4),
        ("fever for a day", 1),
        ("5 year old boy with fever", None),
        ("fever twice a day", None),
        ("fever every 2 days", None),
    ],
)
def test_an_onset_is_read(reader: Reader, note: str, days: float | None) -> None:
    assert findings(reader, note)[FEVER].onset_days_ago == days


def test_each_finding_gets_its_own_onset(reader: Reader) -> None:
    found = findings(reader, "vomiting and diarrhoea since yesterday, fever 3 days, cough")
    onsets = {term: finding.onset_days_ago for term, finding in found.items()}
    assert onsets == {VOMITING: 1, DIARRHOEA: 1, FEVER: 3, COUGH: None}


def test_a_denial_after_a_contact_is_the_patients(reader: Reader) -> None:
    found = findings(reader, "no contact with sick people, no fever, no vomiting")
    assert {FEVER, VOMITING} <= {id_ for id_, f in found.items() if f.counts and not f.present}


@pytest.mark.parametrize(
    "note",
    [
        "A mother brings her 3-year-old son because of fever",
        "a woman brings her daughter because of fever",
        "father brought his son, fever since yesterday",
    ],
)
def test_the_child_that_is_brought_is_the_patient(reader: Reader, note: str) -> None:
    assert FEVER in present(reader, note)


def test_the_fever_of_a_son_at_home_is_his(reader: Reader) -> None:
    assert FEVER not in present(reader, "cough. Her son at home has fever")


def test_non_denies_the_word_it_is_joined_to(reader: Reader) -> None:
    assert "AKZ:0000092" in absent(reader, "non-smoker, has a cough")  # smoking
    assert present(reader, "non-smoker, has a cough") == {COUGH}


def test_pain_that_does_not_respond_to_a_medicine_is_no_coma(reader: Reader) -> None:
    assert "AKZ:0000001" not in present(reader, "his headache did not respond to ibuprofen")
    assert "AKZ:0000001" in present(reader, "does not respond to voice")


@pytest.mark.parametrize(
    ("note", "lasting"),
    [
        ("cough for 3 weeks", {"HP:0034315"}),
        ("cough for 3 days", set()),
        ("fever for 6 days, no cough", {"AKZ:0000263"}),
        ("fever since 10 days", {"AKZ:0000263", "HP:0033399"}),
        ("no fever for 10 days", set()),
        ("diarrhoea", set()),
    ],
)
def test_what_lasts_long_enough_is_a_finding_of_its_own(reader: Reader, note: str, lasting: set[str]) -> None:
    assert present(reader, note) - {FEVER, COUGH, DIARRHOEA} == lasting


# --- whether ---


@pytest.mark.parametrize(
    "note",
    [
        "possible fever",
        "fever?",
        "?fever",
        "maybe fever",
        "suspected fever",
        "rule out fever",
        "fever is possible",
    ],
)
def test_doubt_is_kept(reader: Reader, note: str) -> None:
    assert findings(reader, note)[FEVER].uncertain


@pytest.mark.parametrize(
    "note", ["return if fever", "if he develops fever come back", "watch for fever, cough or chest pain"]
)
def test_what_is_only_warned_of_is_no_finding(reader: Reader, note: str) -> None:
    assert findings(reader, note) == {}


def test_a_certain_present_mention_wins(reader: Reader) -> None:
    assert present(reader, "no cough at first. Now cough.") == {COUGH}
    assert len(reader.read("cough, cough and coughing", "en").findings) == 1


# --- refusing ---


@pytest.mark.parametrize("note", ["", "   \n\t", "\u200b "])
def test_an_empty_note_says_so(reader: Reader, note: str) -> None:
    reading = reader.read(note, "en")
    assert not reading.understood
    assert reading.why in {"the note is empty", "the note holds no words"}


def test_another_language_code_is_not_read(reader: Reader) -> None:
    reading = reader.read("fever and cough", "rw")
    assert (reading.findings, reading.understood) == ((), False)
    assert reading.why == "the note is not in English, the only language that this version reads"


@pytest.mark.parametrize(
    "note",
    [
        "Umurwayi afite umuriro n'inkorora bimaze iminsi itatu.",
        "Mtoto ana homa na kikohozi tangu jana, hali chakula.",
        "douleur abdominale depuis trois jours, pas de fièvre",
        "Tiene fiebre y tos desde hace tres días, sin dolor",
        "Kopfschmerzen und Husten seit drei Tagen, kein Fieber",
        "发烧三天，咳嗽",
        "المريض لديه حمى وسعال",
        "лихорадка и кашель три дня",
        "😀😀😀",
        "38.5 120/80",
    ],
)
def test_a_note_that_is_not_english_is_not_read(reader: Reader, note: str) -> None:
    reading = reader.read(note, "en")
    assert (reading.findings, reading.understood) == ((), False)
    assert reading.why


@pytest.mark.parametrize(
    "note",
    ["fever cough 3d", "SOB", "hot body 2/7 vomitting", "c/o headache", "fit today", "BP high, dizzy++"],
)
def test_a_short_telegraphic_note_is_english(reader: Reader, note: str) -> None:
    assert reader.read(note, "en").findings


# --- laws ---

WORDS = st.sampled_from(
    [
        *(
            "fever",
            "cough",
            "chest pain",
            "no",
            "not",
            "denies",
            "and",
            "or",
            ",",
            ".",
            "?",
            "for 3 days",
            "but",
        ),
        *(
            "mother",
            "has",
            "history of",
            "if",
            "possible",
            "(",
            ")",
            "since yesterday",
            "severe",
            "İ",
            "😀",
            "é",
        ),
        *(
            "\n",
            ":",
            "3/7",
            "child",
            "the",
            "he",
            "without",
            "ago",
            "resolved",
            "x",
            "\x00",
            "حمى",
            "?malaria",
        ),
    ]
)
NOTES = st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=40).map(" ".join))
SLOW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(note=NOTES)
def test_any_text_is_read_and_spans_slice_to_the_text(reader: Reader, note: str) -> None:
    for finding in reader.read(note, "en").findings:
        assert finding.span is not None
        assert note[slice(*finding.span)] == finding.text


@SLOW
@given(
    names=st.lists(
        st.sampled_from(["fever", "cough", "chest pain", "jaundice", "rash"]), min_size=1, unique=True
    )
)
def test_denying_every_mention_leaves_none_present(reader: Reader, names: list[str]) -> None:
    assert present(reader, ", ".join(f"no {name}" for name in names)) == set()
    assert len(absent(reader, "no " + " or ".join(names))) == len(names)


@SLOW
@given(note=NOTES)
def test_tokens_are_in_order_and_do_not_overlap(note: str) -> None:
    tokens = tokenise(note)
    assert all(0 <= token.start < token.end <= len(note) for token in tokens)
    assert all(one.end <= other.start for one, other in pairwise(tokens))


@SLOW
@given(note=NOTES)
def test_times_are_never_negative(note: str) -> None:
    assert all(found.days >= 0 for found in find_times(note))


@pytest.mark.parametrize(
    "piece",
    ["a", "no fever ", "3d ", "no a, ", "fever, ", "chest or abdominal pain ", "mother has ", " ", "?", "/"],
)
def test_the_longest_note_is_read_in_a_moment(reader: Reader, piece: str) -> None:
    note = (piece * NOTE_MAX_CHARACTERS)[:NOTE_MAX_CHARACTERS]
    start = time.process_time()
    reader.read(note, "en")
    assert time.process_time() - start < 15, "what grows with the square of the length takes minutes"


@pytest.mark.parametrize(
    ("note", "present", "absent"),
    [
        (
            "Skin lesion on the neck. It has grown, it has changed, it has bled, it is raised.",
            {"HP:0011355", "AKZ:0000043", "AKZ:0000044", "AKZ:0000045", "AKZ:0000046"},
            set(),
        ),
        (
            "Skin lesion on the thigh. No growth, no recent change, no bleeding, no elevation.",
            {"HP:0011355"},
            {"AKZ:0000043", "AKZ:0000044", "AKZ:0000045", "AKZ:0000046", "HP:0001892"},
        ),
        ("Mole on the back, heavy bleeding from the vagina.", {"HP:0003764", "AKZ:0000003"}, set()),
        ("Weight has changed, voice raised, child has grown.", set(), set()),
    ],
)
def test_what_is_said_of_a_skin_lesion_is_read_as_said_of_it_and_of_nothing_else(
    reader: Reader, note: str, present: set[str], absent: set[str]
) -> None:
    findings = reader.read(note, "en").findings
    lesion_words = {f"AKZ:{number:07}" for number in (43, 44, 45, 46)}
    assert {f.id for f in findings if f.present} & (lesion_words | present) == present
    assert {f.id for f in findings if not f.present} == absent
