"""The engine: what it refuses, and what holds of every answer."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from akazuba.diagnosis import artefacts
from akazuba.diagnosis.calibration import fit_least, fit_weights, in_set, probabilities
from akazuba.diagnosis.engine import Engine, Reading, open_engine
from akazuba.diagnosis.explain import heatmap_png, region_weights
from akazuba.diagnosis.graphs import Table
from akazuba.diagnosis.pixels import Pixels, squashed
from akazuba.diagnosis.profiles import describe
from akazuba.diagnosis.runtime import has_int8_dot_products
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.errors import ArtefactError, OutOfTimeError
from akazuba.records import CAUTION, Picture, QualityProblem

DATA = Path(__file__).parents[2] / "shared" / "data"
NOTE = "61 yo, itchy spot on the arm, bleeds, growing since 3 months"
SHIPPED = [artefacts.SHIPPED / name for name in ("student", "tiny")]


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda folder: folder.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    return open_engine(threads=2, folder=request.param)


def shared_picture(folder: str, index: int, kind: str, grey: bool | None = None) -> Picture:
    """One real picture, as it is or turned to grey or colour."""
    table = DATA / folder / "labels.csv"
    if not table.exists():
        pytest.skip("the research data is not beside the checkout")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    name = rows[index * len(rows) // 40]["file"]
    with Image.open(DATA / folder / name) as image:
        grey = image.mode == "L" if grey is None else grey
        return Picture(name, kind, np.asarray(image.convert("L" if grey else "RGB")))


@pytest.fixture(scope="module")
def skin() -> Picture:
    """A drawn lesion that the engine takes for a photograph."""
    name = "synthetic-skin-arm.jpg"
    with Image.open(Path(artefacts.__file__).parents[1] / "examples" / name) as image:
        return Picture(name, "skin-photo", np.asarray(image.convert("RGB")))


# --- the files ----------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return Path(shutil.copytree(artefacts.SHIPPED / "tiny", tmp_path / "models"))


def edited(models: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((models / "manifest.json").read_text())
    change(manifest)
    sealed(models, json.dumps(manifest))


def sealed(models: Path, manifest: str) -> None:
    (models / "manifest.json").write_text(manifest)
    (models / "manifest.sha256").write_text(sha256(manifest.encode()).hexdigest())


def an_onnx(models: Path) -> Path:
    return models / "image.onnx"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"manifest\.json: expected a readable model file"):
        open_engine(folder=tmp_path / "none")


def test_a_missing_file_is_refused(models: Path) -> None:
    an_onnx(models).unlink()
    with pytest.raises(ArtefactError, match="expected a readable model file"):
        open_engine(folder=models)


def test_a_truncated_file_is_refused(models: Path) -> None:
    path = an_onnx(models)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match="truncated"):
        open_engine(folder=models)


def test_an_altered_file_is_refused_even_by_one_bit(models: Path) -> None:
    path = an_onnx(models)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="altered"):
        open_engine(folder=models)
    with pytest.raises(ArtefactError, match="altered"):
        describe(models)


def test_another_format_version_is_refused(models: Path) -> None:
    edited(models, lambda manifest: manifest.update(format=99))
    with pytest.raises(ArtefactError, match="expected model format 2, found format 99"):
        open_engine(folder=models)


def test_a_manifest_that_is_no_manifest_is_refused(models: Path) -> None:
    for text in ("", "{", "[]", '{"format": 2}', '{"format": "2"}'):
        sealed(models, text)
        with pytest.raises(ArtefactError):
            open_engine(folder=models)


def test_an_altered_manifest_is_refused(models: Path) -> None:
    path = models / "manifest.json"
    path.write_text(path.read_text().replace('"coverage": 0.9', '"coverage": 0.8'))
    with pytest.raises(ArtefactError, match=r"manifest\.json: expected SHA-256 .* \(altered\)"):
        open_engine(folder=models)


def test_a_file_that_no_graph_names_is_checked_too(models: Path) -> None:
    """A large graph's numbers lie in a file of their own, which onnxruntime opens."""
    (models / "image.weights").write_bytes(b"altered")
    fact = {"bytes": 7, "sha256": sha256(b"correct").hexdigest()}
    edited(models, lambda manifest: manifest["files"].update({"image.weights": fact}))
    with pytest.raises(ArtefactError, match="altered"):
        open_engine(folder=models)


def shorter(head: dict[str, Any]) -> None:
    head["calibration"]["image"]["weights"] = [1.0, 1.0]


@pytest.mark.parametrize(
    "harm",
    [
        lambda head: head["labels"].pop(),
        lambda head: head.update(typical_limit=0),
        lambda head: head["calibration"].clear(),
        shorter,
    ],
)
def test_a_manifest_that_does_not_fit_together_is_refused(
    models: Path, harm: Callable[[dict[str, Any]], None]
) -> None:
    edited(models, lambda manifest: harm(manifest["kinds"]["chest-xray"]["heads"]["chest-xray.child"]))
    with pytest.raises(ArtefactError):
        open_engine(folder=models)


def test_statistics_that_cannot_be_read_are_refused(models: Path) -> None:
    name = "skin-photo.typical.npz"
    (models / name).write_bytes(b"nonsense")
    fact = {"bytes": 8, "sha256": sha256(b"nonsense").hexdigest()}
    edited(models, lambda manifest: manifest["files"][name].update(fact))
    with pytest.raises(ArtefactError, match="model files that fit together"):
        open_engine(folder=models)


def test_other_input_names_are_refused(models: Path) -> None:
    edited(models, lambda manifest: manifest["files"][an_onnx(models).name].update(inputs=["pixels"]))
    with pytest.raises(ArtefactError, match="expected inputs pixels, found picture"):
        open_engine(folder=models)


def test_a_file_that_is_no_graph_is_refused(models: Path) -> None:
    path = an_onnx(models)
    path.write_bytes(b"nonsense")
    fact = {"bytes": 8, "sha256": sha256(b"nonsense").hexdigest()}
    edited(models, lambda manifest: manifest["files"][path.name].update(fact))
    with pytest.raises(ArtefactError, match="a graph that onnxruntime can open"):
        open_engine(folder=models)


def test_a_file_outside_the_folder_is_refused(models: Path) -> None:
    edited(models, lambda manifest: manifest.update(image_encoder="../image.onnx"))
    with pytest.raises(ArtefactError, match="a file that the manifest lists"):
        open_engine(folder=models)


def test_a_table_of_word_pieces_that_ends_within_a_row_is_refused(models: Path) -> None:
    with pytest.raises(ArtefactError, match="rows of 132 bytes"):
        Table(models / "vocabulary.txt", 128)


def test_exact_sums_are_asked_for_unless_the_processor_has_them(tmp_path: Path) -> None:
    """Without them the engine once refused most pictures, so whatever is not known counts as without."""

    def told(name: str, flags: str) -> bool:
        (tmp_path / name).write_text(f"model name\t: A\nflags\t\t: fpu avx2 {flags}\n", encoding="utf-8")
        return has_int8_dot_products(tmp_path / name)

    assert told("server", "avx512f avx512_vnni avx_vnni")
    assert not told("older", "avx512f")
    assert not told("avx-vnni-alone", "avx_vnni")
    assert not has_int8_dot_products(tmp_path / "not-there")


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_describe_names_what_is_shipped(folder: Path) -> None:
    facts = describe(folder)
    assert set(facts["kinds"]) == {"skin-photo", "chest-xray"}  # type: ignore[call-overload]
    assert facts["bytes"] < 6 << 20  # type: ignore[operator]
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "not reviewed by a clinician" in card
    for file in artefacts.read_manifest(folder).files:
        assert (folder / file).exists()


def test_what_is_shipped_is_at_most_a_tenth_of_its_teacher() -> None:
    for folder in SHIPPED:
        manifest = artefacts.read_manifest(folder)
        assert manifest.teacher is not None
        assert 10 * manifest.size.parameters <= manifest.teacher.parameters
        assert 10 * manifest.size.bytes <= manifest.teacher.bytes
        assert 10 * manifest.size.bytes_float32 <= manifest.teacher.bytes_float32


def test_the_files_in_the_folder_and_in_the_manifest_are_the_same() -> None:
    for folder in SHIPPED:
        listed = {*artefacts.read_manifest(folder).files, "manifest.json", "manifest.sha256", "MODEL_CARD.md"}
        assert {path.name for path in folder.iterdir()} == listed


# --- what is never labelled ---------------------------------------------------------------------


def labels_nothing(reading: Reading) -> bool:
    image = reading.image
    return (
        not image.labels
        and not image.prediction_set
        and image.abstained
        and bool(image.why)
        and not reading.evidence
    )


NOTHING = {
    "black": np.zeros((256, 256, 3), np.uint8),
    "white": np.full((256, 256, 3), 255, np.uint8),
    "grey": np.full((256, 256), 128, np.uint8),
    "noise": np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8),
    "grey noise": np.random.default_rng(2).integers(0, 256, (256, 256), dtype=np.uint8),
    "one pixel": np.full((1, 1), 90, np.uint8),
    "stripes": np.tile(np.arange(256, dtype=np.uint8) * 32, (256, 1)),
}


@pytest.mark.parametrize("kind", ["skin-photo", "chest-xray"])
@pytest.mark.parametrize("name", NOTHING)
def test_a_picture_of_nothing_is_never_labelled(engine: Engine, kind: str, name: str) -> None:
    assert labels_nothing(engine.read(Picture(name, kind, NOTHING[name]), NOTE, True, age_years=5))


@pytest.mark.parametrize("index", range(0, 40, 5))
@pytest.mark.parametrize(
    ("folder", "kind", "grey"),
    [
        ("cxr_paediatric_pneumonia", "skin-photo", None),
        ("cxr_paediatric_pneumonia", "skin-photo", False),
        ("padufes_skin_clinical", "chest-xray", None),
        ("padufes_skin_clinical", "chest-xray", True),
        ("malaria_iml_cells", "skin-photo", None),
        ("malaria_iml_cells", "chest-xray", True),
        ("lung_ultrasound_pocus", "skin-photo", None),
        ("lung_ultrasound_pocus", "chest-xray", True),
    ],
)
def test_a_picture_of_another_kind_is_never_labelled(
    engine: Engine, folder: str, kind: str, grey: bool | None, index: int
) -> None:
    assert labels_nothing(engine.read(shared_picture(folder, index, kind, grey), "", True, age_years=5))


def test_at_most_a_few_true_pictures_are_refused(engine: Engine) -> None:
    for folder, kind in (("padufes_skin_clinical", "skin-photo"), ("cxr_paediatric_pneumonia", "chest-xray")):
        pictures = [shared_picture(folder, index, kind) for index in range(40)]
        read = [engine.read(p, "", True, age_years=5, explain=False).image.quality.usable for p in pictures]
        assert sum(read) >= 38


def test_a_film_of_unknown_age_is_not_labelled(engine: Engine) -> None:
    film = shared_picture("cxr_paediatric_pneumonia", 3, "chest-xray")
    reading = engine.read(film, "", True, age_years=None)
    assert labels_nothing(reading)
    assert "the age is not given" in str(reading.image.why)
    for age in (0.5, 8):
        assert "children of one to five years" in str(engine.read(film, "", True, age).image.why)


def test_the_age_and_not_the_picture_chooses_who_is_asked(engine: Engine) -> None:
    film = shared_picture("cxr_paediatric_pneumonia", 3, "chest-xray")
    child = engine.read(film, "", True, age_years=4).image
    assert set(child.labels) == {"normal", "pneumonia-bacterial", "pneumonia-viral"}
    adult = engine.read(film, "", True, age_years=15).image
    assert set(adult.labels) in (set(), {"no-finding", "pneumonia"})


def test_an_adult_film_is_labelled_but_moves_no_ranking(engine: Engine) -> None:
    table = DATA / "cxr_multisite_notes" / "labels.csv"
    if not table.exists():
        pytest.skip("the research data is not beside the checkout")
    with table.open(newline="", encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["site"] == "nih"][:40]
    read = 0
    for name in names:
        with Image.open(DATA / "cxr_multisite_notes" / name) as image:
            film = Picture(name, "chest-xray", np.asarray(image.convert("L")))
        reading = engine.read(film, "", True, age_years=50, explain=False)
        assert reading.evidence is None
        if reading.image.labels:
            read += 1
            assert reading.image.coverage is None
            [caution] = [problem for problem in reading.image.quality.problems if problem.check == CAUTION]
            assert caution.remark
            assert "do not rely on it" in caution.message
    assert read > 30


def test_a_kind_that_no_model_reads_is_not_assessed(engine: Engine) -> None:
    reading = engine.read(Picture("x.png", "ear-photo", NOTHING["grey"]), "", True)
    assert labels_nothing(reading)
    assert (
        reading.image.why
        == "not assessed: no model reads ear photo; this box reads chest X-ray and skin photo"
    )


def test_a_picture_with_a_problem_is_not_labelled_and_one_with_a_remark_is(
    engine: Engine, skin: Picture
) -> None:
    dark = Picture(skin.path, skin.kind, skin.pixels, (QualityProblem("dark", "too dark"),))
    assert labels_nothing(engine.read(dark, NOTE, True))
    assert engine.read(dark, NOTE, True).image.why == "too dark"
    remark = QualityProblem("frames", "the first of 2 frames", remark=True)
    remarked = engine.read(Picture(skin.path, skin.kind, skin.pixels, (remark,)), NOTE, True).image
    assert remarked.labels
    assert remark in remarked.quality.problems
    assert all(problem.remark for problem in remarked.quality.problems)


# --- what holds of every answer -----------------------------------------------------------------


def test_probabilities_sum_to_one_and_sets_hold_labels(engine: Engine, skin: Picture) -> None:
    for note in ("", "   ", NOTE, "fièvre et toux", "🙂🙂", "x" * 5000, "itchy " * 3000):
        image = engine.read(skin, note, True, explain=False).image
        assert sum(image.labels.values()) == pytest.approx(1, abs=1e-5)
        assert len(image.labels) == 6
        assert set(image.prediction_set) <= set(image.labels)
        assert image.coverage == 0.9
        assert list(image.labels.values()) == sorted(image.labels.values(), reverse=True)


def test_the_answer_is_the_same_every_time(engine: Engine, skin: Picture) -> None:
    assert (
        engine.read(skin, NOTE, True)
        == engine.read(skin, NOTE, True)
        == open_engine(2, SHIPPED["tiny" in engine.version]).read(skin, NOTE, True)
    )


def test_explaining_does_not_change_the_answer(engine: Engine, skin: Picture) -> None:
    assert (
        engine.read(skin, NOTE, True).image.labels
        == engine.read(skin, NOTE, True, explain=False).image.labels
    )


def test_a_note_that_is_not_understood_is_not_read(engine: Engine, skin: Picture) -> None:
    alone = engine.read(skin, "", True)
    assert engine.read(skin, NOTE, note_understood=False) == alone
    assert engine.read(skin, NOTE, True).image.labels != alone.image.labels
    assert not alone.token_attribution
    assert alone.evidence is None or not alone.evidence.reads_note


def test_likelihood_ratios_name_conditions_and_stay_within_the_limit(engine: Engine, skin: Picture) -> None:
    film = shared_picture("cxr_paediatric_pneumonia", 3, "chest-xray")
    for reading in (engine.read(film, "", True, age_years=3), engine.read(skin, NOTE, True)):
        if reading.evidence:
            assert "normal" not in reading.evidence.likelihood_ratios
            assert all(1 / 50 <= ratio <= 50 for ratio in reading.evidence.likelihood_ratios.values())


def test_word_spans_slice_to_the_word(engine: Engine, skin: Picture) -> None:
    weights = engine.read(skin, NOTE, True).token_attribution
    assert [weight.word for weight in weights] == [NOTE[slice(*weight.span)] for weight in weights]
    assert [weight.word for weight in weights] == NOTE.replace(",", "").split()


def test_the_heatmap_is_a_square_grid_and_its_overlay_a_picture(engine: Engine, skin: Picture) -> None:
    grid = engine.read(skin, "", True).image.heatmap_grid
    assert len(grid) in (5, 7)
    assert all(len(row) == len(grid) for row in grid)
    for pixels in (skin.pixels, skin.pixels[:, :, 0], np.zeros((900, 30), np.uint8)):
        with Image.open(io.BytesIO(heatmap_png(Picture("p", "skin-photo", pixels), grid))) as overlay:
            assert overlay.mode == "RGB"
            assert max(overlay.size) <= 640


def test_padding_and_order_of_a_batch_do_not_change_the_scores(engine: Engine, skin: Picture) -> None:
    graphs, kind = engine._graphs, engine._kinds["skin-photo"]
    head = kind.heads[0].graph
    cells, _ = graphs.look(squashed(skin.pixels, kind.facts.side, kind.facts.through))
    pieces = graphs.note.split(NOTE)
    assert pieces
    rng = np.random.default_rng(0)
    masks = (rng.random((4, cells.shape[1])) < 0.7).astype(np.float32)
    ids = pieces.ids
    shown = np.ones((1, len(ids)), np.float32)
    padded_ids, padded = (*ids, 5, 6, 7), np.concatenate([shown, np.zeros((1, 3), np.float32)], 1)

    def scores(ids: tuple[int, ...], shown: np.ndarray[Any, Any], cell_masks: np.ndarray[Any, Any]) -> Any:
        words = graphs.note(ids, shown)
        word_masks = np.tile(shown, (len(cell_masks), 1))
        return head(cells=cells, cell_mask=cell_masks, words=words, word_mask=word_masks)[0]

    plain = scores(ids, shown, masks)
    assert np.abs(scores(padded_ids, padded, masks) - plain).max() < 1e-4
    assert np.abs(scores(ids, shown, masks[::-1])[::-1] - plain).max() < 1e-4


def test_the_region_that_speaks_for_the_label_has_the_greatest_weight() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[30:40, 80:90] = 200

    def brightest(seen: Pixels) -> np.ndarray[Any, Any]:
        p = 0.1 + 0.8 * seen.max() / 255
        return np.array([[1 - p, p]])

    for cells, side in ((256, 8), (25, 5)):
        grid = np.array(region_weights(pixels, cells, 1, brightest))
        assert grid.shape == (side, side)
        rows, columns = np.nonzero(grid > 0)
        assert set(rows) <= {30 * side // 100, 39 * side // 100}
        assert set(columns) <= {80 * side // 100, 89 * side // 100}
    assert pixels.max() == 200  # the picture itself is left as it was


def test_a_picture_that_is_one_colour_has_no_region_that_speaks() -> None:
    grid = region_weights(np.full((64, 64, 3), 90, np.uint8), 49, 0, lambda seen: seen[:1, 0, :2] / 255.0)
    assert np.abs(grid).max() == 0


def test_a_note_about_something_else_fits_the_photo_less(engine: Engine) -> None:
    def alignment(photo: Picture, note: str) -> float:
        image = engine.read(photo, note, True, explain=False).image
        assert image.alignment is not None
        assert 0 <= image.alignment <= 1
        assert image.labels
        return image.alignment

    folder = DATA / "padufes_skin_clinical"
    photos = [shared_picture(folder.name, index, "skin-photo") for index in range(0, 40, 4)]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        notes = {row["file"]: row["note"] for row in csv.DictReader(file)}
    own = np.mean([alignment(photo, notes[photo.path]) for photo in photos])
    for note in ("fever and cough for 3 weeks, night sweats", "35yo, burning when passing urine, no fever"):
        assert np.mean([alignment(photo, note) for photo in photos]) < own - 0.2


def test_there_is_no_alignment_without_a_note(engine: Engine, skin: Picture) -> None:
    assert engine.read(skin, "", True).image.alignment is None


def test_a_long_note_is_said_to_be_cut(engine: Engine, skin: Picture) -> None:
    problems = engine.read(skin, NOTE + " and worried" * 200, True, explain=False).image.quality.problems
    assert any(problem.check == "note" and problem.remark for problem in problems)


# --- a box whose processor is taken -------------------------------------------------------------


def test_an_answer_that_comes_too_late_is_none(skin: Picture) -> None:
    engine = open_engine(threads=2, time_limit_s=0.0)
    with pytest.raises(OutOfTimeError, match="expected an answer within 0 s, found none"):
        engine.read(skin, NOTE, True)


def test_after_a_late_answer_the_next_one_is_right(skin: Picture) -> None:
    engine = open_engine(threads=2)
    before = engine.read(skin, NOTE, True)
    engine._time_limit_s = 0.0
    with pytest.raises(OutOfTimeError):
        engine.read(skin, NOTE, True)
    engine._time_limit_s = 10.0
    assert engine.read(skin, NOTE, True) == before


def test_a_map_that_comes_too_late_costs_nothing_else(skin: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(threads=2)
    whole = engine.read(skin, NOTE, True)

    def too_slow(*_: object) -> NoReturn:
        raise OutOfTimeError("reading the image", "an answer within 10 s", "none (the box is busy)")

    monkeypatch.setattr("akazuba.diagnosis.engine.region_weights", too_slow)
    late = engine.read(skin, NOTE, True)
    assert late.image.heatmap_grid == ()
    assert (late.image.labels, late.evidence) == (whole.image.labels, whole.evidence)
    assert late.token_attribution == whole.token_attribution
    assert late.image.quality.usable
    [problem] = [p for p in late.image.quality.problems if p not in whole.image.quality.problems]
    assert problem.remark
    assert problem.message == (
        "no heatmap: reading the image: expected an answer within 10 s, found none (the box is busy)"
    )


def test_an_engine_without_a_free_core_says_the_same_or_nothing(skin: Picture) -> None:
    engine = open_engine(threads=2, folder=artefacts.SHIPPED / "tiny")
    before = engine.read(skin, NOTE, True)
    spin = [sys.executable, "-c", "while True: pass"]
    spinners = [subprocess.Popen(spin) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        for _ in range(3):
            with suppress(OutOfTimeError):
                late = engine.read(skin, NOTE, True)
                assert (late.image.labels, late.evidence) == (before.image.labels, before.evidence)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


# --- calibration --------------------------------------------------------------------------------


def test_weights_undo_overconfidence_and_silence_noise() -> None:
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.2])
    honest = rng.normal(0, 1, (4000, 1, 3))
    truth = np.array([rng.choice(3, p=p) for p in probabilities(honest, prior, np.ones(1))])
    parts = np.concatenate([3 * honest, rng.normal(0, 1, (4000, 1, 3))], axis=1)
    assert fit_weights(parts, truth, prior) == pytest.approx([1 / 3, 0], abs=0.06)


def test_prediction_sets_keep_their_promise_for_every_label() -> None:
    rng = np.random.default_rng(0)
    prior = np.array([0.7, 0.2, 0.1])
    labels = rng.choice(3, 6000, p=prior)
    scores = rng.normal(0, 1, (6000, 3)) + 1.5 * np.eye(3)[labels]
    probability = probabilities(scores[:, None], prior, np.ones(1))
    least = fit_least(probability[:3000], labels[:3000], 0.9)
    held = in_set(probability[3000:], least)[np.arange(3000), labels[3000:]]
    assert all(held[labels[3000:] == label].mean() > 0.86 for label in range(3))


# --- words --------------------------------------------------------------------------------------


def test_word_pieces_take_the_longest_match_and_keep_spans() -> None:
    pieces = WordPiece(["[PAD]", "[UNK]", "[CLS]", "itch", "##y", "6", "1", "i"]).split("Ítchy 61 ß", 20)
    assert pieces.ids == (2, 3, 4, 5, 6, 1)
    assert pieces.spans == ((0, 0), (0, 5), (0, 5), (6, 7), (7, 8), (9, 10))


def test_a_long_note_is_cut_between_words() -> None:
    split = WordPiece(["[PAD]", "[UNK]", "[CLS]", "a", "##b"]).split("a ab ab", 4)
    assert split.ids == (2, 3, 3, 4)
    assert split.cut
