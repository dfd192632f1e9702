"""What several words of a sentence say together, slips of the pen, and times that lie far back."""

from importlib import resources
from itertools import pairwise

import pytest

from akazuba.language.reader import Reader
from akazuba.language.scenes import Scenes
from akazuba.language.tokens import tokenise
from akazuba.terminology import Terminology

POISONING, TRAUMA, BLEEDING, CONVULSION = "AKZ:0000007", "AKZ:0000006", "AKZ:0000003", "AKZ:0000005"
STRIDOR, DISTRESS, SNAKE_BITE, LABOUR = "HP:0010307", "HP:0002098", "AKZ:0000009", "AKZ:0000012"
TABLE = """finding\treach\tcommas\twords
@car\t\t\tcar lorry
X:1\t5\tpart\t@car + hit + !toy
X:2\t4\tpart\tcannot + >wake"""


@pytest.fixture(scope="module")
def reader(terminology: Terminology) -> Reader:
    return Reader(terminology)


def present(reader: Reader, note: str) -> set[str]:
    return {
        f.id for f in reader.read(note, "en").findings if f.present and f.counts and f.subject == "patient"
    }


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("A saloon car left the road and knocked him.", TRAUMA),
        ("The broken spoke went inside the left side of his chest.", TRAUMA),
        ("She swallowed nearly all of her grandmother's pills.", POISONING),
        ("He drank from the bottle under the sink, it was the paraffin.", POISONING),
        ("Blood is jumping out with each beat.", BLEEDING),
        ("She has soaked three chitenges since the morning.", BLEEDING),
        ("Has been fitting for the last 15 min.", CONVULSION),
        ("There is a loud noise as he pulls air in.", STRIDOR),
        ("Under the ribs it is going in with every breath.", DISTRESS),
        ("She leaves the breast after two sucks to catch her breath.", DISTRESS),
        ("They found a cobra under the pillow and two dots on the eyelid.", SNAKE_BITE),
        ("Waist pains coming every four minutes.", LABOUR),
    ],
)
def test_a_scene_is_understood_without_a_phrase_for_it(reader: Reader, note: str, term: str) -> None:
    assert term in present(reader, note)


@pytest.mark.parametrize(
    ("note", "term"),
    [
        ("He saw a snake but was not bitten.", SNAKE_BITE),
        ("Drives a lorry. Knocked his toe on a chair.", TRAUMA),
        ("Her friend was hit by a car, she has a cough.", TRAUMA),
        ("No noise when he pulls air in.", STRIDOR),
        ("Sells pesticide and took breakfast.", POISONING),
        ("Asks whether the baby can be poisoned by tablets.", POISONING),
    ],
)
def test_a_scene_is_not_seen_where_it_is_denied_parted_or_another_persons(
    reader: Reader, note: str, term: str
) -> None:
    assert term not in present(reader, note)


@pytest.mark.parametrize(
    ("note", "found"),
    [
        ("the lorry has hit him", ["X:1"]),
        ("hit by a car", ["X:1"]),
        ("hit by a toy car", []),
        ("a car, he was hit", []),
        ("a car. Hit", []),
        ("a car was not hit", []),
        ("a car came down the long dusty road and hit", []),
        ("we cannot wake her", ["X:2"]),
        ("we wake her and cannot sleep", []),
    ],
)
def test_a_scene_needs_all_its_words_within_reach_and_in_their_order(note: str, found: list[str]) -> None:
    assert [seen.id for seen in Scenes(TABLE).find(tokenise(note), [])] == found


def test_a_phrase_that_means_nothing_lends_no_two_words_to_a_scene() -> None:
    tokens = tokenise("car hit")
    assert not Scenes(TABLE).find(tokens, [frozenset({0, 1})])
    assert Scenes(TABLE).find(tokens, [frozenset({1})])


@pytest.mark.parametrize(
    ("note", "term"),
    [("found unconcious", "AKZ:0000001"), ("has convulsoins now", CONVULSION), ("strider at rest", STRIDOR)],
)
def test_a_slip_of_the_pen_in_a_word_of_danger_is_mended(reader: Reader, note: str, term: str) -> None:
    assert term in present(reader, f"The child {note}.")


def test_a_word_that_we_know_is_no_slip(reader: Reader) -> None:
    assert STRIDOR not in present(reader, "The child strides well.")


def test_plus_signs_behind_a_finding_say_that_it_is_severe(reader: Reader) -> None:
    assert BLEEDING in present(reader, "bleeding ++ from the leg")
    assert BLEEDING not in present(reader, "bleeding from the leg")


@pytest.mark.parametrize("when", ["in 2015", "at age 10"])
def test_a_year_or_an_age_puts_an_event_into_the_past(reader: Reader, when: str) -> None:
    findings = reader.read(f"Broke her leg {when}, itching now.", "en").findings
    assert {f.temporality for f in findings if f.id == "HP:0020110"} == {"past"}


def test_what_has_gone_dark_has_not_gone(reader: Reader) -> None:
    assert STRIDOR in present(reader, "Stridor since noon and the mouth has gone dark.")


@pytest.mark.parametrize(
    ("note", "whose"),
    [
        ("Mother: he hardly opens his eyes.", "patient"),
        ("Mother: asthma.", "family"),
        ("Convulsing in his mother's arms.", "patient"),
        ("Assaulted his mother and is aggressive.", "patient"),
        ("Mother hears stridor when he pulls air in.", "patient"),
    ],
)
def test_a_relative_who_tells_holds_or_is_attacked_is_not_the_one_who_is_ill(
    reader: Reader, note: str, whose: str
) -> None:
    assert {finding.subject for finding in reader.read(note, "en").findings} == {whose}


def test_nobody_denies(reader: Reader) -> None:
    assert TRAUMA not in present(reader, "Nobody hit her with a car.")


def test_a_longer_phrase_silences_a_scene_of_its_words(reader: Reader) -> None:
    assert present(reader, "burning pain upper belly") == {"HP:0410019"}


def test_the_table_of_scenes_is_sound(terminology: Terminology) -> None:
    table = resources.files("akazuba.language").joinpath("scenes_en.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    groups = {name for name, *_ in rows if name.startswith("@")}
    for name, reach, commas, cell in rows:
        words = [word.lstrip(">!") for part in cell.split(" + ") for word in part.split(" ")]
        assert all(word in groups or all(part.isalnum() for part in word.split("_")) for word in words), cell
        assert all(word.count("_") <= 1 for word in words if word not in groups), cell
        if name not in groups:
            assert terminology.canonical(name) == name
            assert commas in {"part", "list"}
            assert 1 <= int(reach) <= 14
            assert not cell.startswith((">", "!")), cell
    kinds = [name in groups for name, *_ in rows]
    assert all(first or not second for first, second in pairwise(kinds)), "groups come first"
