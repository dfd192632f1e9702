"""Puts a finished training run into the package: graphs, statistics, manifest, model card, record."""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from akazuba.diagnosis import artefacts, calibration
from akazuba.diagnosis.artefacts import Ages, File, Kind, ModeCalibration
from akazuba.diagnosis.runtime import Graph
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training import card, data, export, measure
from akazuba.training.data import Examples
from akazuba.training.fit import Recipe, Say, Trained
from akazuba.training.network import MAX_PIECES
from akazuba.training.run import LOADERS, RECIPES, paraphrased, read_trained

COMMAND = "python -m akazuba.training --data ../shared/data"
COVERAGE = 0.9
REVIEW = "not reviewed by a clinician"
TYPICAL_RANK = 64
TYPICAL_SHARE = 0.985
"""Share of true pictures of a kind, over folds, that the typicality check must let pass."""

CHEST_AGES = Ages(
    below_years=15.0,
    why="the chest model has learned from children's films only and is not used from the age of 15 years",
)
NAMES = {"skin-photo": "a photograph of a skin lesion", "chest-xray": "a frontal chest X-ray"}
LICENCES = {
    "skin-photo": "PAD-UFES-20 (Pacheco et al. 2020, Mendeley Data zr7vgbcyr2), CC BY 4.0",
    "chest-xray": (
        "Paediatric chest X-rays (Kermany et al. 2018, Mendeley Data rscbjbr9sj), known as CC BY 4.0 "
        "(the copy that was used states no licence of its own)"
    ),
}
MOST_IN_SET = {"skin-photo": 3, "chest-xray": 2}


@dataclass(frozen=True)
class FoldResults:
    """What the held-out examples got. fold: -1 where none has held the example out yet.

    posteriors: mode -> (N, L) P(label | what was seen), uncalibrated; `*_int8` is the quantised form.
    """

    fold: npt.NDArray[np.int64]
    posteriors: dict[str, npt.NDArray[np.float64]]
    curves: list[list[dict[str, float]]]


@dataclass(frozen=True)
class _Shipment:
    """One image kind on its way: its examples as arrays, and where the trained networks lie."""

    name: str
    examples: Examples
    pictures: export.Pixels
    vocabulary: list[str]
    data_folder: Path
    work: Path
    seed: int
    say: Say

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.name]

    @property
    def pieces(self) -> WordPiece | None:
        return WordPiece(self.vocabulary) if self.examples.notes else None

    def trained(self, stage: str) -> Trained:
        return read_trained(self.work / f"{self.name}.{stage}.pt", self.data_folder, len(self.vocabulary))


def ship(data_folder: Path, work: Path, results: Path, models: Path, *, seed: int, say: Say) -> None:
    """Exports every kind, then writes the manifest, the model card and the record of the run."""
    models.mkdir(parents=True, exist_ok=True)
    results.mkdir(parents=True, exist_ok=True)
    reader = torch.load(work / "reader.pt")
    vocabulary: list[str] = reader["vocabulary"]
    (models / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    files = {"vocabulary.txt": _file(models / "vocabulary.txt")}
    kinds: dict[str, Kind] = {}
    record: dict[str, object] = {
        "command": COMMAND,
        "seed": seed,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "reading_curve": reader["curve"],
    }
    for name, load in LOADERS.items():
        examples = load(data_folder)
        pictures = data.pixels(examples.paths, RECIPES[name].side, RECIPES[name].through)
        shipment = _Shipment(name, examples, pictures, vocabulary, data_folder, work, seed, say)
        found = _fold_results(shipment)
        kinds[name], own_files = _ship_kind(shipment, found, models)
        files |= own_files
        record[name] = {
            "data_sha256": examples.digest,
            "recipe": asdict(shipment.recipe),
            "labels": examples.label_names,
            "prior": [round(float(p), 6) for p in examples.prior],
            "curve_final": torch.load(work / f"{name}.final.pt")["curve"],
            "curves_folds": found.curves,
            "ids": examples.ids,
            "groups": examples.groups,
            "label": examples.labels.tolist(),
            "fold": found.fold.tolist(),
            "posteriors": {mode: _compact(values) for mode, values in found.posteriors.items()},
        }
    adults = _adult_check(kinds["chest-xray"], data_folder, models)
    say(f"adult films: {adults}")
    metrics = {**kinds["chest-xray"].metrics, "adult_films": adults}
    kinds["chest-xray"] = msgspec.structs.replace(kinds["chest-xray"], metrics=metrics)
    manifest = artefacts.Manifest(
        format=artefacts.FORMAT,
        model="akazuba-engine",
        version="0.1.0",
        licence="Apache-2.0 (it starts from MobileNet V1 by Google, Apache-2.0; training data CC BY 4.0)",
        review=REVIEW,
        files=files,
        kinds=kinds,
    )
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (models / "manifest.json").write_bytes(text + b"\n")
    (results / "engine_folds.json").write_text(
        json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    (models / "MODEL_CARD.md").write_text(card.render(manifest, COMMAND, seed), encoding="utf-8")
    say(f"shipped {sum(file.bytes for file in files.values())} bytes")


def _fold_results(s: _Shipment) -> FoldResults:
    """Collects the folds, and runs each fold's 8-bit form over what it held out."""
    folds = data.folds(s.examples, s.recipe.folds, s.seed)
    fold = np.full(len(folds), -1)
    posteriors: dict[str, npt.NDArray[np.float64]] = {}
    curves = []
    again = paraphrased(s.examples, s.seed)
    for number in range(s.recipe.folds):
        path = s.work / f"{s.name}.fold-{number}.pt"
        if not path.exists():
            s.say(f"{s.name}: fold {number + 1} is missing")
            continue
        stored = torch.load(path)
        held_out = stored["held_out"].numpy()
        fold[held_out] = number
        curves.append(stored["curve"])
        scores = {mode: values.numpy() for mode, values in stored["scores"].items()}
        with tempfile.TemporaryDirectory() as scratch:
            train = s.pictures[folds != number]
            graphs, _ = _graphs(s.trained(f"fold-{number}"), Path(scratch), s.recipe, train)
            notes = [s.examples.notes[i] for i in held_out] if s.pieces else []
            small, _ = export.scores_of(graphs, s.pictures[held_out], notes, s.pieces)
            scores |= {f"{mode}_int8": values for mode, values in small.items()}
            if s.pieces:
                other = [again[i] for i in held_out]
                small, _ = export.scores_of(graphs, s.pictures[held_out], other, s.pieces)
                scores |= {f"{mode}_paraphrased_int8": small[mode] for mode in ("text", "fused")}
        for mode, values in scores.items():
            whole = posteriors.setdefault(mode, np.full((len(fold), len(s.examples.label_names)), np.nan))
            whole[held_out] = calibration.probabilities(values[:, None], s.examples.prior, np.ones(1))
        s.say(f"{s.name}: fold {number + 1} in 8 bits")
    return FoldResults(fold, posteriors, curves)


def _graphs(
    trained: Trained, folder: Path, recipe: Recipe, pictures: export.Pixels
) -> tuple[dict[str, Graph], dict[str, int]]:
    """Exports and quantises; returns the 8-bit graphs by part and the float graphs' parameter counts."""
    paths = export.export_float(trained, folder, recipe.side)
    step = max(1, len(pictures) // export.CALIBRATION_PICTURES)
    small = export.quantised(paths, folder, pictures[::step][: export.CALIBRATION_PICTURES])
    parameters = {part: export.parameters_of(path) for part, path in paths.items()}
    for path in paths.values():
        path.unlink()
    return {part: Graph(path, export.INPUTS[part], shared=False) for part, path in small.items()}, parameters


def _ship_kind(s: _Shipment, found: FoldResults, models: Path) -> tuple[Kind, dict[str, File]]:
    name, examples, recipe, pieces = s.name, s.examples, s.recipe, s.pieces
    with tempfile.TemporaryDirectory() as scratch:
        graphs, parameters = _graphs(s.trained("final"), Path(scratch), recipe, s.pictures)
        names = {part: f"{name}.{part}.onnx" for part in graphs}
        for part, file_name in names.items():
            (models / file_name).write_bytes((Path(scratch) / f"{part}.onnx").read_bytes())
    _, textures = export.scores_of(graphs, s.pictures, examples.notes, pieces)
    limit = _typical_limit(textures, examples)
    typical = calibration.fit_typicality(textures, TYPICAL_RANK)
    typical_name = f"{name}.typical.npz"
    rest = np.float32(typical.rest)
    np.savez(models / typical_name, mean=typical.mean, directions=typical.directions, rest=rest)
    s.say(f"{name}: exported; typicality limit {limit:.2f}")

    files = {
        file_name: _file(models / file_name, export.INPUTS[part], parameters[part])
        for part, file_name in names.items()
    }
    files[typical_name] = _file(models / typical_name)
    calibrated, metrics = _calibrate(examples, found, MOST_IN_SET[name])
    kind = Kind(
        name=NAMES[name],
        image_encoder=names["image"],
        head=names.get("fusion") or names["head"],
        note_encoder=names.get("note"),
        vocabulary="vocabulary.txt" if pieces else None,
        most_pieces=MAX_PIECES if pieces else 0,
        side=recipe.side,
        through=recipe.through,
        labels=examples.label_names,
        conditions={label: label for label in examples.label_names if label != "normal"},
        prior=tuple(round(float(p), 6) for p in examples.prior),
        calibration=calibrated,
        coverage=COVERAGE,
        most_in_set=MOST_IN_SET[name],
        typical=typical_name,
        typical_limit=round(limit, 3),
        ages=CHEST_AGES if name == "chest-xray" else None,
        training={
            "data": LICENCES[name],
            "data_sha256": examples.digest,
            "pictures": str(len(examples.ids)),
            "groups": str(len(set(examples.groups))),
            "start": "MobileNet V1 1.0 224, ImageNet, Apache-2.0",
        },
        metrics=metrics,
    )
    return kind, files


def _typical_limit(textures: npt.NDArray[np.float32], examples: Examples) -> float:
    """Distance that TYPICAL_SHARE of the pictures stay within when their fold had no part in the fit."""
    fold = data.folds(examples, 5, 0)
    distance = np.empty(len(fold))
    for number in range(5):
        fitted = calibration.fit_typicality(textures[fold != number], TYPICAL_RANK)
        distance[fold == number] = fitted.distance(textures[fold == number])
    return float(np.quantile(distance, TYPICAL_SHARE))


def _calibrate(
    examples: Examples, found: FoldResults, most_in_set: int
) -> tuple[dict[str, ModeCalibration], dict[str, object]]:
    """Fits weights and set thresholds on what the 8-bit folds said of held-out examples.

    The figures beside them are honest: for each fold, weights and thresholds come from the other folds.
    """
    done = found.fold >= 0
    labels, fold, prior = examples.labels[done], found.fold[done], examples.prior
    groups = [group for group, kept in zip(examples.groups, done, strict=True) if kept]

    def parts(*sources: str) -> npt.NDArray[np.float64]:
        return measure.parts([found.posteriors[f"{source}_int8"][done] for source in sources], prior)

    modes = {"image": parts("image")}
    shipped = {"image": [modes["image"]]}
    if "fused_int8" in found.posteriors:
        modes |= {
            "text": parts("text"),
            "fused": parts("image", "text", "fused"),
            "fused_paraphrased": parts("image", "text_paraphrased", "fused_paraphrased"),
        }
        shipped["fused"] = [modes["fused"], modes["fused_paraphrased"]]

    calibrated: dict[str, ModeCalibration] = {}
    for mode, wordings in shipped.items():
        evidence, truth = np.concatenate(wordings), np.tile(labels, len(wordings))
        weights = calibration.fit_weights(evidence, truth, prior).round(4)
        least = calibration.fit_least(calibration.probabilities(evidence, prior, weights), truth, COVERAGE)
        calibrated[mode] = ModeCalibration(tuple(weights.tolist()), tuple(float(f"{v:.5g}") for v in least))

    metrics: dict[str, object] = {}
    for mode, evidence in modes.items():
        probability, least = measure.cross_fitted(evidence, labels, fold, prior, COVERAGE)
        chosen, right = measure.balanced_choice(probability, prior), probability.argmax(1) == labels
        sets = calibration.in_set(probability, least)
        held, size = sets[np.arange(len(labels)), labels], sets.sum(1)
        abstained = (size == 0) | (size > most_in_set)
        metrics |= {
            f"balanced_accuracy_{mode}": measure.balanced_accuracy_estimate(chosen, labels, groups).as_dict(),
            f"accuracy_{mode}": measure.share_estimate(right, groups).as_dict(),
            f"set_coverage_{mode}": measure.share_estimate(held, groups).as_dict(),
            f"set_size_{mode}": round(float(size.mean()), 3),
            f"abstained_{mode}": measure.share_estimate(abstained, groups).as_dict(),
            f"calibration_error_{mode}": round(
                calibration.expected_calibration_error(probability, labels), 4
            ),
        }
        if "normal" in examples.label_names:
            normal = examples.label_names.index("normal")
            ill = 1 - probability[:, normal]
            metrics["auc_pneumonia"] = measure.auc_estimate(ill, labels != normal, groups).as_dict()
    return calibrated, metrics


def _adult_check(kind: Kind, data_folder: Path, models: Path) -> dict[str, object]:
    """What the children's model makes of adult films (NIH): the reason for its age limit."""
    adults = data.load_adult_chest(data_folder)
    pictures = data.pixels(adults.paths, kind.side, kind.through)
    graphs = {
        "image": Graph(models / kind.image_encoder, export.INPUTS["image"], shared=False),
        "head": Graph(models / kind.head, export.INPUTS["head"], shared=False),
    }
    scores, textures = export.scores_of(graphs, pictures, [], None)
    weights = np.array(kind.calibration["image"].weights)
    probability = calibration.probabilities(scores["image"][:, None], np.array(kind.prior), weights)
    with np.load(models / kind.typical) as stored:
        typical = calibration.Typicality(stored["mean"], stored["directions"], float(stored["rest"]))
    ill = 1 - probability[:, kind.labels.index("normal")]
    positive = adults.labels == 1
    return {
        "data_sha256": adults.digest,
        "auc_pneumonia": measure.auc_estimate(ill, positive, adults.groups).as_dict(),
        "healthy_called_pneumonia": round(float((ill[~positive] > 0.5).mean()), 4),
        "pneumonia_called_normal": round(float((ill[positive] <= 0.5).mean()), 4),
        "not_typical": round(float((typical.distance(textures) > kind.typical_limit).mean()), 4),
    }


def _file(path: Path, inputs: tuple[str, ...] = (), parameters: int = 0) -> File:
    content = path.read_bytes()
    return File(sha256(content).hexdigest(), len(content), inputs, parameters)


def _compact(values: npt.NDArray[np.float64]) -> list[list[float]]:
    """Four significant digits; an example that no fold has held out yet has an empty row."""
    return [[] if np.isnan(row).any() else [float(f"{v:.4g}") for v in row] for row in values]
