"""The word model of danger signs: it only adds findings, quotes what it read, and is small."""

from importlib import resources

import numpy as np
import pytest

from akazuba.errors import ArtefactError
from akazuba.language import signs
from akazuba.language.reader import Reader
from akazuba.language.signs import BUCKETS, SignModel, english_signs, pieces_of, quantised, words_of
from akazuba.terminology import Terminology

TRAUMA, UNRESPONSIVE = "AKZ:0000006", "AKZ:0000001"
TOLD = "Working on the tank he came down past two floors onto the concrete."


@pytest.fixture(scope="module")
def model() -> SignModel:
    return english_signs()


@pytest.fixture(scope="module")
def always() -> SignModel:
    """Reads high-risk trauma in every sentence, most of all in "xyz"."""
    weights = np.zeros((1, BUCKETS))
    weights[0, words_of("xyz", 0, 3).single] = 1.0
    return quantised([TRAUMA], weights, np.array([4.0]))


def read(terminology: Terminology, model: SignModel, note: str) -> list[tuple[str, str]]:
    reading = Reader(terminology, model).read(note, "en")
    return [(f.id, f.text or "") for f in (*reading.findings, *reading.signs) if f.present and f.counts]


def test_a_sign_without_a_phrase_is_a_finding_that_quotes_its_words(
    terminology: Terminology, model: SignModel
) -> None:
    note = "Thin man. The roof of the well came down and covered the lad up to the neck."
    found = dict(read(terminology, model, note))
    assert found[TRAUMA] in note


def test_it_never_denies_and_never_takes_a_finding_away(terminology: Terminology, model: SignModel) -> None:
    silent = structs_of(model, bias=np.full(len(model.ids), -99.0))
    for note in (TOLD, "No stridor, no fever.", "She had a fit last year.", "Cough for 3 days."):
        without = Reader(terminology, silent).read(note, "en")
        reading = Reader(terminology, model).read(note, "en")
        assert without.findings == reading.findings
        assert without.signs == ()


@pytest.mark.parametrize(
    "note", ["Her brother xyz the whole thing.", "Return if there is xyz pain.", "Last year xyz was there."]
)
def test_what_is_said_of_others_of_the_past_or_as_a_warning_is_no_finding(
    terminology: Terminology, always: SignModel, note: str
) -> None:
    assert TRAUMA not in {id_ for id_, _ in read(terminology, always, note)}
    assert TRAUMA in {id_ for id_, _ in read(terminology, always, "He has xyz pain.")}


def test_a_sign_that_the_note_names_is_not_told_twice(terminology: Terminology, always: SignModel) -> None:
    found = read(terminology, always, "High-risk trauma, xyz.")
    assert [id_ for id_, _ in found].count(TRAUMA) == 1


@pytest.mark.parametrize(
    "note",
    [
        "Status: stable, walking, eating.",
        '{"status": "final", "note": "runny nose for two days"}',
        "Came for a refill of tablets, feels well.",
        "Runny nose and sneezing, plays and eats.",
    ],
)
def test_harmless_words_are_no_sign(terminology: Terminology, model: SignModel, note: str) -> None:
    assert not {id_ for id_, _ in read(terminology, model, note)} & set(model.ids)


def test_status_epilepticus_is_a_convulsion_and_status_is_not(
    terminology: Terminology, model: SignModel
) -> None:
    convulsion = "AKZ:0000005"
    assert convulsion in dict(read(terminology, model, "In status epilepticus."))
    assert convulsion not in dict(read(terminology, model, "Marital status: single."))


@pytest.mark.parametrize("note", ["", " ", "...", "a", "\n\n", "呼吸", "x" * 5000, "word " * 3000])
def test_any_text_is_read_and_every_place_lies_in_it(model: SignModel, note: str) -> None:
    for seen in model.read(note):
        assert 0 <= seen.start <= seen.peak < seen.end <= len(note)


def test_long_sentences_are_read_in_pieces() -> None:
    note = "word " * 100
    assert next(note[a:b] for a, b in pieces_of(note)) == "word " * signs.LONGEST_WINDOW
    assert "".join(note[a:b] for a, b in pieces_of(note)) == note


def test_it_is_small(model: SignModel) -> None:
    size = len(resources.files("akazuba.language").joinpath("signs_en.bin").read_bytes())
    assert size < 700_000
    assert model.weights.nbytes <= 2 << 20


def test_changed_weights_are_refused() -> None:
    folder = resources.files("akazuba.language")
    card, weights = (folder.joinpath(f"signs_en.{ending}").read_bytes() for ending in ("json", "bin"))
    with pytest.raises(ArtefactError):
        signs.loaded(card, weights + b"x")


def structs_of(model: SignModel, bias: np.ndarray) -> SignModel:
    return SignModel(model.ids, model.weights, model.scale, bias.astype(np.float32))
