"""Words of danger: what is near each other, who did it to whom, and what may not be denied."""

from importlib import resources

import pytest

from akazuba.language.matching import DANGER_WORD
from akazuba.language.reader import Reader
from akazuba.records import Finding
from akazuba.terminology import Terminology

FEVER, CHEST_PAIN, SEIZURE = "HP:0001945", "HP:0100749", "HP:0001250"


@pytest.fixture(scope="module")
def reader(terminology: Terminology) -> Reader:
    return Reader(terminology)


def findings(reader: Reader, note: str) -> dict[str, Finding]:
    return {finding.id: finding for finding in reader.read(note, "en").findings}


def present(reader: Reader, note: str) -> set[str]:
    return {f.id for f in findings(reader, note).values() if f.present and f.counts}


def absent(reader: Reader, note: str) -> set[str]:
    return {f.id for f in findings(reader, note).values() if not f.present and f.counts}


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("drank something from a bottle of paraffin", "AKZ:0000007"),
        ("lips and tongue gone blue", "HP:0000961"),
        ("pain in the middle of the chest", CHEST_PAIN),
        ("fell from a mango tree", "AKZ:0000006"),
        ("hot porridge spilled on him", "AKZ:0000031"),
    ],
)
def test_two_words_near_each_other_make_a_finding(reader: Reader, note: str, term: str) -> None:
    assert term in present(reader, note)


@pytest.mark.parametrize(
    "note",
    ["drank milk, the paraffin is at home", "knee pain since Monday but chest clear", "no pain in the chest"],
)
def test_a_combination_crosses_neither_comma_nor_joiner(reader: Reader, note: str) -> None:
    assert not {"AKZ:0000007", CHEST_PAIN} & present(reader, note)


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("Now a high pitched noise each time he breathes in", "HP:0010307"),
        ("chest is working hard", "HP:0002098"),
        ("severe shortness of breath", "HP:0002098"),
        ("can only say two words at a time", "HP:0002098"),
        ("Mother cannot wake the child", "AKZ:0000001"),
        ("groans only when pinched, GCS 6/15", "HP:0001259"),
        ("capillary refill slow", "AKZ:0000642"),
        ("bleeding like a tap", "AKZ:0000003"),
        ("vomited two cups of blood", "AKZ:0000003"),
        ("having a seizure", "AKZ:0000005"),
        ("abdomen torn open with intestine outside", "AKZ:0000006"),
        ("attacked by rhinos", "AKZ:0000006"),
        ("shot by robbers in the shoulder", "AKZ:0000006"),
        ("has been swallowing many paracetamol tabs", "AKZ:0000007"),
        ("took 20 tablets of paracetamol at once", "AKZ:0000007"),
        ("leg pale and cold", "AKZ:0000008"),
        ("stepped on a snake and it bit", "AKZ:0000009"),
        ("fell into boiling water", "AKZ:0000094"),
        ("strong belly pain", "AKZ:0000037"),
        ("erection that does not go down", "HP:0200023"),
    ],
)
def test_red_signs_are_read_in_a_nurses_words(
    reader: Reader, terminology: Terminology, note: str, term: str
) -> None:
    assert term in {kind for found in present(reader, note) for kind in terminology.ancestors(found)}


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("burning in the chest after meals", "AKZ:0000094"),
        ("took 2 tablets of paracetamol", "AKZ:0000007"),
        ("takes many tablets for HIV", "AKZ:0000007"),
        ("noisy breathing at night with a blocked nose", "HP:0010307"),
        ("pain on deep breath", "HP:0002094"),
        ("snake shaped itchy line", DANGER_WORD),
        ("raised winding track on the foot", "HP:0002094"),
        ("cut his hair", "HP:0032674"),
        ("bitten by a snake 10 years ago", "AKZ:0000009"),
        ("no high pitched noise, no heavy bleeding", "HP:0010307"),
    ],
)
def test_what_only_sounds_like_danger_is_none(reader: Reader, note: str, term: str) -> None:
    found = findings(reader, note).get(term)
    assert found is None or not found.present or found.temporality == "past"


def test_a_word_of_danger_that_nothing_explains_is_kept_as_uncertain(reader: Reader) -> None:
    [danger] = reader.read("two men with a machete", "en").findings
    assert (danger.id, danger.uncertain, danger.text) == (DANGER_WORD, True, "machete")
    assert findings(reader, "no snake seen") == {}
    assert DANGER_WORD not in findings(reader, "bitten by a snake")


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("husband beat her with a stick", "AKZ:0000030"),
        ("brother stabbed him", "AKZ:0000006"),
        ("uncle raped her", "AKZ:0000028"),
        ("Mother in labour since last night", "AKZ:0000012"),
    ],
)
def test_the_one_who_did_it_is_not_the_one_who_is_ill(reader: Reader, note: str, term: str) -> None:
    assert term in present(reader, note)


def test_a_relative_who_was_hurt_is_not_the_patient(reader: Reader) -> None:
    assert findings(reader, "husband was beaten")["AKZ:0000030"].subject == "family"


def test_the_fever_of_a_newborns_mother_is_hers(reader: Reader) -> None:
    reading = reader.read("Newborn with yellow skin, no fever. Mother had fever in labour.", "en")
    fever = {(f.subject, f.present) for f in reading.findings if f.id == FEVER}
    assert fever == {("patient", False), ("family", True)}


def test_a_relative_named_in_passing_takes_nothing_over(reader: Reader) -> None:
    assert absent(reader, "does not recognise his wife, no fever") == {FEVER}


def test_a_list_after_no_that_may_be_no_list_is_doubtful(reader: Reader) -> None:
    found = findings(reader, "No trauma, chest pain")
    assert (found[CHEST_PAIN].present, found[CHEST_PAIN].uncertain) == (False, True)
    assert absent(reader, "No trauma, no chest pain") == {"AKZ:0000030", CHEST_PAIN}
    assert absent(reader, "No trauma or chest pain") == {"AKZ:0000030", CHEST_PAIN}


def test_none_since_is_past_not_absent(reader: Reader) -> None:
    seizure = findings(reader, "fits this morning, none since noon")[SEIZURE]
    assert (seizure.present, seizure.temporality) == (True, "past")


def test_a_patients_guess_at_a_disease_is_uncertain(reader: Reader) -> None:
    assert findings(reader, "hot body, thinks he has malaria")["AKZ:0000080"].uncertain


def test_a_dark_spot_is_not_yet_a_naevus(reader: Reader) -> None:
    assert present(reader, "Dark spot on the arm") == {"AKZ:0000096"}


def test_words_of_danger_and_combinations_are_sound(reader: Reader, terminology: Terminology) -> None:
    folder = resources.files("akazuba.language")
    for line in folder.joinpath("combinations_en.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        ones, others, cell = line.split("\t")
        assert all(word.isalpha() for word in f"{ones} {others}".split(" ")), line
        assert all(terminology.canonical(term) == term for term in cell.split("|")), line
