"""Training: the network keeps its promises, folds are honest, and what is exported is what was trained."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("tflite", reason="needs the [train] extra")

from PIL import Image  # noqa: E402

from akazuba.diagnosis.wordpiece import WordPiece  # noqa: E402
from akazuba.training import data, export, fit  # noqa: E402
from akazuba.training.measure import auc, balanced_accuracy, bootstrap  # noqa: E402
from akazuba.training.network import WIDTH, Fusion, ImageHead, NoteEncoder  # noqa: E402
from akazuba.training.notes import REGIONS, SIGNS, Facts, random_facts, render, thinned  # noqa: E402
from akazuba.training.reading import as_tensors  # noqa: E402
from akazuba.training.run import WEIGHTS, base_encoder  # noqa: E402

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]  # (torch's ONNX exporter)
needs_data = pytest.mark.skipif(
    not (DATA / WEIGHTS).exists(), reason="the research data is not beside the checkout"
)


def restless(network: torch.nn.Module) -> torch.nn.Module:
    """With every weight away from zero, so that nothing agrees by accident."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


# --- the network --------------------------------------------------------------------------------


def test_padding_changes_neither_words_nor_scores() -> None:
    encoder, fusion = restless(NoteEncoder(50)), restless(Fusion(6))
    cells, open_ = torch.rand(2, 49, 1024), torch.ones(2, 49)
    pieces, mask = torch.randint(3, 50, (2, 9)), torch.ones(2, 9)
    longer = torch.cat([pieces, torch.randint(3, 50, (2, 4))], 1)
    longer_mask = torch.cat([mask, torch.zeros(2, 4)], 1)
    with torch.inference_mode():
        words, longer_words = encoder(pieces, mask), encoder(longer, longer_mask)
        assert torch.allclose(words, longer_words[:, :9], atol=1e-5)
        scores = fusion(cells, open_, words, mask)
        assert torch.allclose(scores, fusion(cells, open_, longer_words, longer_mask), atol=1e-4)


def test_an_absent_modality_changes_nothing_by_its_content() -> None:
    fusion = restless(Fusion(6))
    cells, words = torch.rand(2, 49, 1024), torch.rand(2, 5, WIDTH)
    seen, read = torch.ones(2, 49), torch.ones(2, 5)
    with torch.inference_mode():
        image_only = fusion(cells, seen, words, 0 * read)
        assert torch.equal(image_only, fusion(cells, seen, 0 * words, 0 * read))
        assert not image_only[:, 1:].any()
        note_only = fusion(cells, 0 * seen, words, read)
        assert torch.equal(note_only, fusion(0 * cells, 0 * seen, words, read))
        both = fusion(cells, seen, words, read)
        assert not torch.allclose(both, image_only + note_only, atol=1e-3)


def test_one_picture_under_many_masks_is_many_pictures_under_one_mask_each() -> None:
    fusion, head = restless(Fusion(6)), restless(ImageHead(3))
    cells, words = torch.rand(1, 49, 1024), torch.rand(1, 5, WIDTH)
    masks, read = (torch.rand(4, 49) < 0.7).float(), torch.ones(4, 5)
    with torch.inference_mode():
        together = fusion(cells, masks, words, read)
        apart = torch.cat([fusion(cells, masks[i : i + 1], words, read[:1]) for i in range(4)])
        assert torch.allclose(together, apart, atol=1e-4)
        assert torch.allclose(head(cells, masks), head(cells.expand(4, -1, -1), masks), atol=1e-4)


@needs_data
def test_the_dequantised_network_sees_what_the_8_bit_one_sees() -> None:
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    interpreter = interpreter_module.Interpreter(str(DATA / WEIGHTS))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    pictures = data.pixels(data.load_skin(DATA).paths[:6], 224, 224)
    encoder = base_encoder(DATA)
    for picture in pictures:
        interpreter.set_tensor(source["index"], picture[None])
        interpreter.invoke()
        theirs = interpreter.get_tensor(target["index"]).ravel() * target["quantization"][0]
        with torch.inference_mode():
            cells, _ = encoder((torch.from_numpy(picture).permute(2, 0, 1)[None].float() - 128) / 128)
        ours = cells.mean(1).numpy().ravel()
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.98


# --- the data -----------------------------------------------------------------------------------


def toy(tmp_path: Path, count: int = 24) -> data.Examples:
    """A set of the real layout: coloured squares, two of each patient."""
    folder = tmp_path / data.SKIN
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    fields = ["id", "file", "patient", "label", "note", "age", "region", *SIGNS]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for i in range(count):
            label = ("BCC", "SCC", "MEL", "ACK", "SEK", "NEV")[(i // 2) % 6]
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                folder / f"images/{i}.jpg"
            )
            signs = {sign: ("True", "False", "UNK")[(i + n) % 3] for n, sign in enumerate(SIGNS)}
            row = {"id": str(i), "file": f"images/{i}.jpg", "patient": f"p{i // 2}", "label": label}
            writer.writerow(row | {"note": "a spot", "age": "50", "region": "ARM"} | signs)
    return data.load_skin(tmp_path)


def test_no_patient_stands_on_both_sides(tmp_path: Path) -> None:
    examples = toy(tmp_path)
    numbers = data.folds(examples, 3, seed=0)
    assert set(numbers) == {0, 1, 2}
    for group in set(examples.groups):
        assert len({n for n, g in zip(numbers, examples.groups, strict=True) if g == group}) == 1


@needs_data
@pytest.mark.parametrize("load", [data.load_skin, data.load_chest])
def test_no_real_patient_stands_on_both_sides(load: object) -> None:
    examples = load(DATA)  # type: ignore[operator]
    numbers = data.folds(examples, 5, seed=0)
    places: dict[str, set[int]] = {}
    for number, group in zip(numbers, examples.groups, strict=True):
        places.setdefault(group, set()).add(int(number))
    assert all(len(found) == 1 for found in places.values())
    assert np.bincount(numbers).min() > len(numbers) / 6


def test_the_digest_notices_a_changed_picture(tmp_path: Path) -> None:
    before = toy(tmp_path).digest
    path = tmp_path / data.SKIN / "images" / "0.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert data.load_skin(tmp_path).digest != before


# --- the notes ----------------------------------------------------------------------------------


def test_a_rendered_note_says_what_it_was_told_and_never_the_template() -> None:
    rng = random.Random(0)  # noqa: S311 (not a secret)
    for _ in range(500):
        note = render(random_facts(rng), rng)
        assert note.strip()
        assert "{" not in note
        assert "patient with a skin lesion on the" not in note.lower()


def test_thinning_only_forgets() -> None:
    facts = Facts(61, "NOSE", itch=True, grew=False)
    rng = random.Random(0)  # noqa: S311 (not a secret)
    for _ in range(50):
        less = thinned(facts, rng, keep=0.5)
        assert less.age in (61, None)
        assert less.region in ("NOSE", None)
        assert less.grew in (False, None)
    assert thinned(facts, rng, keep=1.0) == facts
    assert set(REGIONS) >= {"NOSE", "FACE"}


# --- a short run --------------------------------------------------------------------------------

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
]
RECIPE = fit.Recipe(side=64, through=64, copies=1, epochs=2, flips=True, turn_degrees=20, folds=3, batch=12)


@needs_data
def test_two_epochs_learn_something_and_export_as_they_are(tmp_path: Path) -> None:
    from akazuba.diagnosis.runtime import Graph, share

    share(2)
    examples = toy(tmp_path)
    base, pieces = base_encoder(DATA), WordPiece(VOCABULARY)
    lows = fit.cache(base, data.pixels(examples.paths, 64, 64), RECIPE, seed=0)
    assert len(lows) == 2
    assert lows[0].shape == (24, 256, 8, 8)
    said: list[str] = []
    reader = (NoteEncoder(len(VOCABULARY)), pieces)
    everyone = np.arange(24)
    trained, curve = fit.fit(base, reader, lows, examples, everyone, recipe=RECIPE, seed=0, say=said.append)
    assert curve[1]["loss"] < curve[0]["loss"]
    assert len(said) == 2
    frozen = [p for p in trained.encoder.parameters() if not p.requires_grad]
    assert frozen
    assert all(
        torch.equal(a, b)
        for a, b in zip(trained.encoder.parameters(), base.parameters(), strict=True)
        if not a.requires_grad
    )

    scores = fit.predict(trained, lows[0], examples.notes, pieces)
    assert {mode: values.shape for mode, values in scores.items()} == dict.fromkeys(
        ("fused", "image", "text"), (24, 6)
    )

    paths = export.export_float(trained, tmp_path, side=64)
    graphs = {part: Graph(path, export.INPUTS[part], shared=True) for part, path in paths.items()}
    again, textures = export.scores_of(graphs, data.pixels(examples.paths, 64, 64), examples.notes, pieces)
    assert textures.shape == (24, 512)
    for mode in scores:
        assert np.abs(again[mode] - scores[mode]).max() < 0.05  # the cache is in half precision


def test_an_image_only_kind_exports_a_head_without_words(tmp_path: Path) -> None:
    from akazuba.diagnosis.runtime import Graph, share

    share(2)
    head = restless(ImageHead(3))
    assert export.parts_of(fit.Trained(encoder=torch.nn.Identity(), head=head, reader=None)) == (
        "image",
        "head",
    )
    path = tmp_path / "head.onnx"
    torch.onnx.export(
        head,
        (torch.zeros(1, 25, 1024), torch.ones(3, 25)),
        str(path),
        input_names=list(export.INPUTS["head"]),
        dynamic_axes={"cell_mask": {0: "masks"}},
        opset_version=17,
        dynamo=False,
    )
    cells, masks = torch.rand(1, 25, 1024), (torch.rand(7, 25) < 0.5).float()
    found = Graph(path, export.INPUTS["head"], shared=True)(cells=cells.numpy(), cell_mask=masks.numpy())[0]
    with torch.inference_mode():
        assert np.abs(found - head(cells, masks).numpy()).max() < 1e-4


def test_an_empty_note_has_no_open_piece() -> None:
    numbers, mask = as_tensors(["", "ab", "  "], WordPiece(VOCABULARY))
    assert numbers.shape == mask.shape
    assert mask.sum(1).tolist() == [0, 3, 0]


# --- figures ------------------------------------------------------------------------------------


def test_figures_agree_with_hand_counted_ones() -> None:
    assert balanced_accuracy(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])) == pytest.approx((2 / 3 + 1) / 2)
    assert auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])) == pytest.approx(3.5 / 4)


def test_an_interval_over_patients_is_wider_than_over_their_pictures() -> None:
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 5)
    by_picture = bootstrap(lambda i: float(right[i].mean()), [str(n) for n in range(200)])
    by_patient = bootstrap(lambda i: float(right[i].mean()), [str(n // 5) for n in range(200)])
    assert by_patient.high - by_patient.low > 1.5 * (by_picture.high - by_picture.low)
    assert by_patient.low < by_patient.value < by_patient.high
