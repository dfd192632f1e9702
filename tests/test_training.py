"""Training: the network keeps its promises, folds are honest, and what is exported is what was trained."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("tflite", reason="needs the [train] extra")

import onnxruntime  # noqa: E402
from PIL import Image  # noqa: E402

from akazuba.diagnosis import runtime  # noqa: E402
from akazuba.diagnosis.artefacts import Ages  # noqa: E402
from akazuba.diagnosis.calibration import probabilities  # noqa: E402
from akazuba.diagnosis.wordpiece import WordPiece  # noqa: E402
from akazuba.errors import ArtefactError, InputError  # noqa: E402
from akazuba.training import calibrate, data, export, fit, pictures, pretrain, run  # noqa: E402
from akazuba.training.judge import Exhibit, Said, together  # noqa: E402
from akazuba.training.kinds import HeadPlan, ImageKind, all_kinds, chest_xray, skin_photo  # noqa: E402
from akazuba.training.measure import (  # noqa: E402
    auc,
    balanced_accuracy,
    bootstrap,
    cross_fitted,
    fitted,
)
from akazuba.training.mobilenet import MobileNet  # noqa: E402
from akazuba.training.network import Fusion, ImageEncoder, ImageHead, Joint, NoteEncoder  # noqa: E402
from akazuba.training.notes import (  # noqa: E402
    REGIONS,
    SIGNS,
    Facts,
    other_complaint,
    random_facts,
    render,
    thinned,
)
from akazuba.training.profiles import FULL, MOBILENET, PROFILES, STUDENT, TINY  # noqa: E402
from akazuba.training.reading import Reader, as_tensors  # noqa: E402
from akazuba.training.vit import VisionTransformer, read_dinov2  # noqa: E402

DATA = Path(__file__).parents[2] / "shared" / "data"
WIDTH = 128
SESSION_OPTIONS = onnxruntime.SessionOptions

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]  # (torch's ONNX exporter)
needs_data = pytest.mark.skipif(
    not (DATA / MOBILENET).exists(), reason="the research data is not beside the checkout"
)


def pooled_options() -> onnxruntime.SessionOptions:
    options = SESSION_OPTIONS()
    options.use_per_session_threads = not runtime._pool
    return options


def restless(network: torch.nn.Module) -> torch.nn.Module:
    """With every weight away from zero, so that nothing agrees by accident."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


# --- the network --------------------------------------------------------------------------------


def test_padding_changes_neither_words_nor_scores() -> None:
    encoder, fusion = restless(NoteEncoder(50, WIDTH)), restless(Fusion(6, 1024, WIDTH))
    cells, open_ = torch.rand(2, 49, 1024), torch.ones(2, 49)
    pieces, mask = torch.randint(3, 50, (2, 9)), torch.ones(2, 9)
    longer = torch.cat([pieces, torch.randint(3, 50, (2, 4))], 1)
    longer_mask = torch.cat([mask, torch.zeros(2, 4)], 1)
    with torch.inference_mode():
        words = encoder(encoder.rows(pieces), mask)
        longer_words = encoder(encoder.rows(longer), longer_mask)
        assert torch.allclose(words, longer_words[:, :9], atol=1e-5)
        scores, fits = fusion(cells, open_, words, mask)
        again, again_fits = fusion(cells, open_, longer_words, longer_mask)
        assert torch.allclose(scores, again, atol=1e-4)
        assert torch.allclose(fits, again_fits, atol=1e-5)


def test_an_absent_modality_changes_nothing_by_its_content() -> None:
    fusion = restless(Fusion(6, 1024, WIDTH))
    cells, words = torch.rand(2, 49, 1024), torch.rand(2, 5, WIDTH)
    seen, read = torch.ones(2, 49), torch.ones(2, 5)
    with torch.inference_mode():
        image_only = fusion(cells, seen, words, 0 * read)[0]
        assert torch.equal(image_only, fusion(cells, seen, 0 * words, 0 * read)[0])
        assert not image_only[:, 1:].any()
        note_only = fusion(cells, 0 * seen, words, read)[0]
        assert torch.equal(note_only, fusion(0 * cells, 0 * seen, words, read)[0])
        both = fusion(cells, seen, words, read)[0]
        assert not torch.allclose(both, image_only + note_only, atol=1e-3)
        assert fusion(cells, 0 * seen, words, 0 * read)[0].isfinite().all()


def test_one_picture_under_many_masks_is_many_pictures_under_one_mask_each() -> None:
    fusion, head = restless(Fusion(6, 1024, WIDTH)), restless(ImageHead(3, 1024))
    cells, words = torch.rand(1, 49, 1024), torch.rand(1, 5, WIDTH)
    masks, read = (torch.rand(4, 49) < 0.7).float(), torch.ones(4, 5)
    with torch.inference_mode():
        together = fusion(cells, masks, words, read)[0]
        apart = torch.cat([fusion(cells, masks[i : i + 1], words, read[:1])[0] for i in range(4)])
        assert torch.allclose(together, apart, atol=1e-4)
        assert torch.allclose(head(cells, masks), head(cells.expand(4, -1, -1), masks), atol=1e-4)


def test_the_streams_of_the_teacher_agree_in_width() -> None:
    assert FULL.cell_width == FULL.width == 384
    assert isinstance(Fusion(6, FULL.cell_width, FULL.width).narrow, torch.nn.Identity)


def test_a_joint_embedding_has_unit_length() -> None:
    joint = restless(Joint(20, 10))
    assert joint.embed_image(torch.rand(3, 20)).norm(dim=1).tolist() == pytest.approx([1] * 3, abs=1e-5)
    assert joint.embed_note(torch.rand(3, 10)).norm(dim=1).tolist() == pytest.approx([1] * 3, abs=1e-5)


@needs_data
def test_the_dequantised_network_sees_what_the_8_bit_one_sees() -> None:
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    interpreter = interpreter_module.Interpreter(str(DATA / MOBILENET))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    encoder = ImageEncoder(MobileNet(DATA / MOBILENET), 5).eval()
    for picture in pictures.decoded(skin_photo.load(DATA).paths[:6], 224, 224):
        interpreter.set_tensor(source["index"], picture[None])
        interpreter.invoke()
        theirs = interpreter.get_tensor(target["index"]).ravel() * target["quantization"][0]
        with torch.inference_mode():
            cells, _ = encoder(pictures.as_input(picture[None]))
        ours = cells.mean(1).numpy().ravel()
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.98


# --- weights from elsewhere ---------------------------------------------------------------------


def test_a_transformer_cut_in_two_is_the_whole_one() -> None:
    vit = VisionTransformer().eval()
    x = torch.rand(2, 3, 56, 56) * 2 - 1
    with torch.inference_mode():
        whole = vit(x)
        assert whole.shape == (2, 16, 384)
        assert torch.allclose(vit.upper(vit.lower(x, 5), 5), whole, atol=1e-5)
        assert vit.places(vit.lower(x, 5)).shape == (2, 384, 16)


def test_folding_the_layer_scales_changes_no_answer() -> None:
    vit = restless(VisionTransformer())
    x = torch.rand(1, 3, 28, 28) * 2 - 1
    with torch.inference_mode():
        before = vit(x)
        vit.fold_scales()
        assert torch.allclose(vit(x), before, atol=1e-3)


HUGGING_FACE = (
    (r"^(cls_token)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^blocks\.(\d+)\.ls([12])\.gamma$", r"encoder.layer.\1.layer_scale\2.lambda1"),
    (r"^blocks\.", "encoder.layer."),
    (r"^norm\.", "layernorm."),
)


def test_real_dinov2_weights_are_read_from_either_file(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = restless(VisionTransformer()).state_dict()
    torch.save({**state, "mask_token": torch.zeros(1, 384)}, tmp_path / "official.pth")
    renamed = {}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            block, kind = name.split(".")[1], name.rsplit(".", 1)[1]
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                renamed[f"encoder.layer.{block}.attention.attention.{part}.{kind}"] = piece.contiguous()
            continue
        for pattern, other in HUGGING_FACE:
            if re.search(pattern, name):
                renamed[re.sub(pattern, other, name)] = tensor
                break
    renamed["embeddings.mask_token"] = torch.zeros(1, 384)
    save_file(renamed, str(tmp_path / "model.safetensors"))
    for file in ("official.pth", "model.safetensors"):
        found = read_dinov2(tmp_path / file)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_weights_that_are_not_those_are_refused(tmp_path: Path) -> None:
    state = VisionTransformer().state_dict()
    for change, message in (
        ({"norm.weight": torch.zeros(5)}, r"expected norm\.weight of shape \(384,\), found of shape \(5,\)"),
        ({"norm.weight": None}, r"expected norm\.weight .*, found nothing of that name"),
        ({"register_tokens": torch.zeros(1)}, "found register_tokens"),
    ):
        changed = {name: value for name, value in {**state, **change}.items() if value is not None}
        torch.save(changed, tmp_path / "other.pth")
        with pytest.raises(ArtefactError, match=message):
            read_dinov2(tmp_path / "other.pth")
    (tmp_path / "nonsense.pth").write_bytes(b"nonsense")
    for name in ("nonsense.pth", "absent.pth"):
        with pytest.raises(ArtefactError, match="expected DINOv2 weights"):
            read_dinov2(tmp_path / name)


def test_minilm_knows_what_is_alike() -> None:
    pytest.importorskip("safetensors")
    minilm = pytest.importorskip("akazuba.training.minilm")
    try:
        reader = Reader(minilm.MiniLM.read().eval(), WordPiece(minilm.read_vocabulary()))
    except ArtefactError as error:
        pytest.skip(str(error))
    notes = ["the mole bleeds and itches", "an itchy spot that is bleeding", "cough and fever at night"]
    with torch.inference_mode():
        vectors, mask = reader(notes)
    mean = (vectors * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    mean = torch.nn.functional.normalize(mean, dim=1)
    assert mean[0] @ mean[1] > mean[0] @ mean[2] + 0.2


# --- the data -----------------------------------------------------------------------------------


def toy(tmp_path: Path, count: int = 24) -> data.Examples:
    """A set of the real layout: coloured squares, two of each patient."""
    folder = tmp_path / "padufes_skin_clinical"
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
    return skin_photo.load(tmp_path)


def test_no_patient_stands_on_both_sides(tmp_path: Path) -> None:
    examples = toy(tmp_path)
    numbers = data.folds(examples, 3, seed=0)
    assert set(numbers) == {0, 1, 2}
    for group in set(examples.groups):
        assert len({n for n, g in zip(numbers, examples.groups, strict=True) if g == group}) == 1


@needs_data
@pytest.mark.parametrize("load", [skin_photo.load, chest_xray.load_child, chest_xray.load_adult])
def test_no_real_patient_stands_on_both_sides(load: object) -> None:
    examples = load(DATA)  # type: ignore[operator]
    numbers = data.folds(examples, 5, seed=0)
    places: dict[str, set[int]] = {}
    for number, group in zip(numbers, examples.groups, strict=True):
        places.setdefault(group, set()).add(int(number))
    assert all(len(found) == 1 for found in places.values())
    assert np.bincount(numbers).min() > len(numbers) / 6


@needs_data
def test_what_betrays_a_label_never_reaches_a_note() -> None:
    examples = skin_photo.load(DATA)
    rng = random.Random(0)
    betraying = re.compile("fitzpatrick|biops|diameter|smok|pesticide|size \\d|cancer", re.IGNORECASE)
    for i in range(0, len(examples.ids), 7):
        assert not betraying.search(examples.notes[i])
        assert not betraying.search(examples.note_in_other_words(i, rng, thin=False))


@needs_data
def test_each_head_learns_from_one_source() -> None:
    for kind in all_kinds():
        for plan in kind.heads:
            assert len({path.parent for path in plan.load(DATA).paths}) == 1
    with (DATA / "cxr_multisite_notes" / "labels.csv").open(newline="", encoding="utf-8") as file:
        nih = {row["id"] for row in csv.DictReader(file) if row["site"] == "nih"}
    assert set(chest_xray.load_adult(DATA).ids) <= nih


def test_the_digest_notices_a_changed_picture(tmp_path: Path) -> None:
    before = toy(tmp_path).digest
    path = tmp_path / "padufes_skin_clinical" / "images" / "0.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert skin_photo.load(tmp_path).digest != before


def test_encoders_of_two_sides_see_the_same_distortion() -> None:
    how = pictures.Distortion(turns=True, turn_degrees=30)
    large = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8), (64, 64), mode="bilinear") * 2 - 1
    small = torch.nn.functional.interpolate(large, (32, 32), mode="area")
    seen = [pictures.distorted(x, how, torch.Generator().manual_seed(5)) for x in (large, small)]
    again = torch.nn.functional.interpolate(seen[0], (32, 32), mode="area")
    assert (again - seen[1]).abs().mean() < 0.02


# --- the notes ----------------------------------------------------------------------------------


def test_a_rendered_note_says_what_it_was_told_and_never_the_template() -> None:
    rng = random.Random(0)
    for _ in range(500):
        note = render(random_facts(rng), rng)
        assert note.strip()
        assert "{" not in note
        assert "patient with a skin lesion on the" not in note.lower()


def test_a_note_about_something_else_says_nothing_of_a_lesion() -> None:
    rng = random.Random(0)
    for _ in range(500):
        facts, note = other_complaint(rng)
        assert facts == Facts(age=facts.age)
        assert note.strip()
        assert not re.search("lesion|mole|itch|bleed", note)


def test_thinning_only_forgets() -> None:
    facts = Facts(61, "NOSE", itch=True, grew=False)
    rng = random.Random(0)
    for _ in range(50):
        less = thinned(facts, rng, keep=0.5)
        assert less.age in (61, None)
        assert less.region in ("NOSE", None)
        assert less.grew in (False, None)
    assert thinned(facts, rng, keep=1.0) == facts
    assert set(REGIONS) >= {"NOSE", "FACE"}


def test_an_empty_note_has_no_open_piece() -> None:
    numbers, mask = as_tensors(["", "ab", "  "], WordPiece(VOCABULARY))
    assert numbers.shape == mask.shape
    assert mask.sum(1).tolist() == [0, 3, 0]


# --- a short run --------------------------------------------------------------------------------

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
]


def a_kind(load: object, name: str = "skin-photo", ages: Ages | None = None) -> ImageKind:
    """What one file of `akazuba.training.kinds` holds; nothing else knows the kind."""
    plan = HeadPlan(
        name=name,
        load=load,  # type: ignore[arg-type]
        conditions={},
        most_in_set=3,
        batch=12,
        copies=1,
        data="squares",
        traps=(),
        ages=ages,
    )
    sides = {"full": 56, "student": 64, "tiny": 64}
    distortion = pictures.Distortion(turns=True, turn_degrees=20)
    return ImageKind(name, "a square", 64, sides, distortion, 1.0, (plan,), "a square")


def trained_of(profile: object, examples: dict[str, data.Examples], vocabulary: list[str]) -> fit.Trained:
    network = profile.build(DATA, len(vocabulary), examples)  # type: ignore[attr-defined]
    reader = Reader(network.reader, WordPiece(vocabulary))
    return fit.Trained(profile, network.eval(), reader)  # type: ignore[arg-type]


def course_of(trained: fit.Trained, kind: ImageKind, examples: data.Examples) -> fit.Course:
    own = pictures.decoded(examples.paths, kind.sides[trained.profile.name], kind.through)
    lows = fit.cache(trained.network.encoder, own, kind, 1, 0, half=trained.profile.half)
    return fit.Course(kind, kind.heads[0], examples, lows)


@needs_data
@pytest.mark.parametrize("profile", [STUDENT, TINY], ids=lambda profile: profile.name)
def test_a_few_steps_learn_something_and_export_as_they_are(
    tmp_path: Path, profile: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # onnxruntime's quantiser opens sessions; in a process with an engine they must take the engine's pool.
    monkeypatch.setattr(onnxruntime, "SessionOptions", pooled_options)
    examples = {"skin-photo": toy(tmp_path)}
    kind = a_kind(skin_photo.load)
    torch.manual_seed(0)
    trained = trained_of(profile, examples, VOCABULARY)
    before = {name: tensor.clone() for name, tensor in trained.network.encoder.named_parameters()}
    course = course_of(trained, kind, examples["skin-photo"])
    assert len(course.lows) == 2
    everyone = np.arange(24)
    said: list[str] = []
    curve = fit.fit(trained, [course], {"skin-photo": everyone}, steps=12, seed=0, say=said.append)
    assert curve[-1]["skin-photo"] < curve[0]["skin-photo"]
    assert said
    for name, parameter in trained.network.encoder.named_parameters():
        assert parameter.requires_grad or torch.equal(parameter, before[name])
    assert any(parameter.requires_grad for parameter in trained.network.encoder.parameters())

    scores = fit.predict(trained, course, everyone, examples["skin-photo"].notes)
    assert {mode: values.shape for mode, values in scores.items()} == dict.fromkeys(
        ("image", "text", "fused"), (24, 6)
    )
    shown = pictures.decoded(examples["skin-photo"].paths, 64, 64)
    files = export.export(trained, VOCABULARY, [shown], tmp_path)
    assert {file.name for file in files} == {
        "image.onnx", "notes.onnx", "notes.table", "vocabulary.txt", "skin-photo.onnx"
    }  # fmt: skip
    exhibit = Exhibit(trained, VOCABULARY, tmp_path)
    other = tuple(examples["skin-photo"].notes)
    again = exhibit.say("skin-photo", examples["skin-photo"], shown, everyone, other)
    assert again.fits["own"].shape == (24,)
    assert again.fits["stranger"].shape == again.fits["other"].shape == (24, 3)
    for mode in scores:
        gap = np.abs(again.scores[mode] - scores[mode])
        assert (
            gap.mean() < 0.25 * np.abs(scores[mode]).mean() + 0.02
        )  # 8 bits, on noise; differs by processor
    halves = {0: everyone[:10], 1: everyone[10:]}
    parts = {
        number: (own, exhibit.say("skin-photo", examples["skin-photo"], shown, own, other))
        for number, own in halves.items()
    }
    whole = together(24, parts)
    assert np.allclose(whole.scores["fused"], again.scores["fused"], atol=1e-5)
    assert np.allclose(whole.fits["own"], again.fits["own"], atol=1e-5)


@needs_data
def test_a_student_comes_to_say_what_its_teacher_says(tmp_path: Path) -> None:
    examples = {"skin-photo": toy(tmp_path)}
    kind = a_kind(skin_photo.load)
    everyone = {"skin-photo": np.arange(24)}
    torch.manual_seed(0)
    teacher = trained_of(STUDENT, examples, VOCABULARY)
    course = course_of(teacher, kind, examples["skin-photo"])
    fit.fit(teacher, [course], everyone, steps=30, seed=0, say=lambda _: None)
    teaching = fit.teach(teacher, [course])
    model = fit.predict(teacher, course, everyone["skin-photo"], examples["skin-photo"].notes)

    def gap(with_teacher: bool) -> float:
        torch.manual_seed(1)
        student = trained_of(TINY, examples, VOCABULARY)
        own = course_of(student, kind, examples["skin-photo"])
        fit.fit(
            student,
            [own],
            everyone,
            steps=30,
            seed=1,
            say=lambda _: None,
            teaching=teaching if with_teacher else None,
        )
        mine = fit.predict(student, own, everyone["skin-photo"], examples["skin-photo"].notes)
        return float(np.abs(mine["fused"] - model["fused"]).mean())

    assert gap(with_teacher=True) < gap(with_teacher=False)


def test_learning_to_see_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (DATA / MOBILENET).exists():
        pytest.skip("the research data is not beside the checkout")
    # Where a processor has no bfloat16, whole transformer and teacher take minutes here.
    monkeypatch.setattr("akazuba.training.vit.DEPTH", 2)
    monkeypatch.setattr("akazuba.training.pretrain._SAMPLES", 1)
    for half in ("lower", "upper"):
        monkeypatch.setattr(MobileNet, half, torch.autocast("cpu", enabled=False)(getattr(MobileNet, half)))
    draw = pretrain.draw
    monkeypatch.setattr(pretrain, "draw", lambda albums, count, rng: draw(albums, min(count, 4), rng))
    rng = np.random.default_rng(0)
    album = pretrain.Album(rng.integers(0, 256, (6, 224, 224, 3), dtype=np.uint8), 1.0, turns=True)
    mobilenet = MobileNet(DATA / MOBILENET).eval().requires_grad_(False)
    phases = (pretrain.Phase(1, 56, 2, 2), pretrain.Phase(1, 56, 2, 1))
    path = tmp_path / "checkpoint.pt"
    whole, curve = pretrain.pretrain(mobilenet, [album], phases, 3, path, lambda _: None)
    assert [entry["step"] for entry in curve] == [2]
    again, same = pretrain.pretrain(mobilenet, [album], phases, 3, path, lambda _: None)
    assert same == curve
    state, other = whole.state_dict(), again.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_every_drawn_picture_stays_in_range() -> None:
    rng = np.random.default_rng(0)
    albums = [
        pretrain.Album(rng.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8), share, turns)
        for share, turns in ((0.7, True), (0.3, False))
    ]
    drawn = pretrain.draw(albums, 16, rng)
    assert drawn.shape == (16, 3, 224, 224)
    assert drawn.min() >= -1
    assert drawn.max() <= 1
    assert torch.equal(
        pretrain.draw(albums, 4, np.random.default_rng(7)), pretrain.draw(albums, 4, np.random.default_rng(7))
    )


def test_a_kind_is_one_file() -> None:
    folder = Path(skin_photo.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", "skin_photo", "chest_xray"}
    assert [kind.name for kind in all_kinds()] == ["chest-xray", "skin-photo"]
    outside = [p for p in folder.parent.glob("*.py") if re.search("skin.photo|chest.xray", p.read_text())]
    assert [path.name for path in outside] == []
    for kind in all_kinds():
        assert set(kind.sides) == set(PROFILES)


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


def test_belonging_together_is_a_probability() -> None:
    rng = np.random.default_rng(0)
    yes, no = rng.normal(1, 1, 4000), rng.normal(-1, 1, 12_000)
    slope, offset = calibrate.fit_logistic(yes, no)
    assert slope == pytest.approx(2, abs=0.15)  # of two normal distributions one apart each way
    assert offset == pytest.approx(0, abs=0.1)


def test_a_score_that_tells_nothing_apart_is_no_alignment() -> None:
    own, others = np.linspace(-1, 0, 40), np.linspace(0, 1, 120).reshape(40, 3)
    groups = [str(number) for number in range(40)]
    match, metrics = calibrate._match(Said({}, {"own": own, "stranger": others, "other": others}), groups)
    assert match is None
    assert metrics["auc_alignment_another_patient"]["value"] < 0.1  # type: ignore[index]


def test_a_fold_is_judged_by_what_the_others_taught() -> None:
    rng = np.random.default_rng(0)
    prior, fold = np.array([0.6, 0.4]), np.arange(600) % 3
    labels = rng.choice(2, 600, p=prior)
    sure = rng.normal(0, 1, (600, 1, 2)) + 2 * np.eye(2)[labels][:, None]
    wordings = [sure, 0.5 * sure]
    before = cross_fitted(wordings, labels, fold, prior, 0.9)
    other = labels.copy()
    other[fold == 0] = 1 - other[fold == 0]
    after = cross_fitted(wordings, other, fold, prior, 0.9)
    for one, two in zip(before, after, strict=True):
        for kept, changed in zip(one, two, strict=True):
            assert np.array_equal(kept[fold == 0], changed[fold == 0])
            assert not np.array_equal(kept[fold == 1], changed[fold == 1])
    trust = fitted(wordings, labels, prior, 0.9)
    for parts in wordings:
        held = probabilities(parts, prior, trust.weights) >= trust.least
        assert all(held[labels == label, label].mean() >= 0.9 for label in (0, 1))


@needs_data
def test_a_work_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    examples = {"skin-photo": toy(tmp_path)}
    run._of_one_run(run.Job(tmp_path, tmp_path, 1, print), examples)
    run._of_one_run(run.Job(tmp_path, tmp_path, 1, print), examples)
    with pytest.raises(InputError, match="another seed, recipe or data"):
        run._of_one_run(run.Job(tmp_path, tmp_path, 2, print), examples)
