"""The image-and-note engine: speed and memory of a process of its own, and how often it is right.

    python benchmarks/engine.py [--quick] [--json] [--data ../shared/data]

Accuracy is recomputed from `results/engine_folds.json`, which keeps what each training fold said of
the patients it never saw (`python -m akazuba.training` writes it, with seed, command and data
digests). `image`, `text` and `fused` are the 8-bit form that is shipped, quantised fold by fold. The
baselines are computed in this run from the raw data on the same folds: the embedding of the untouched
MobileNet V1 (needs the wheel `ai-edge-litert`) and TF-IDF of the note, with logistic regression.
Intervals are 95 %, bootstrapped over patients. What weighs picture against note is fitted on the other
folds. Without the data folder only speed, memory, sizes and what the record holds are printed.
`--quick` takes fewer runs and pictures.

The teacher's figures (teacher_*, student_minus_teacher_bacc) come with the full-size teacher; the
model that is shipped today stands under student_*.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import assess
import numpy as np
from PIL import Image

from akazuba.diagnosis import calibration
from akazuba.diagnosis.engine import describe, open_engine
from akazuba.records import Picture
from akazuba.training import measure

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).resolve().parent / "results" / "engine_folds.json"
EXAMPLE = ROOT / "src" / "akazuba" / "examples" / "synthetic-skin-arm.jpg"
NOTE = (
    "61-year-old farmer, itchy spot on the left arm, growing since 3 months, bleeds when scratched, no pain"
)
COVERAGE = 0.9

CHILD = """
import json, sys, time
start = time.perf_counter()
import numpy as np
from PIL import Image
from akazuba.diagnosis.engine import open_engine
from akazuba.records import Picture
path, note, threads, runs, explain = sys.argv[1:6]
threads, runs, explain = int(threads), int(runs), explain == "yes"
engine = open_engine(threads)
opened = time.perf_counter() - start
times = []
for _ in range(runs):
    start = time.perf_counter()
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    reading = engine.read(Picture(path, "skin-photo", pixels), note, True, 61.0, explain=explain)
    times.append((time.perf_counter() - start) * 1e3)
assert reading.image.quality.usable, reading.image.why
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"open_ms": opened * 1e3, "times": times, "peak": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs and pictures")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"no data in {arguments.data}: baselines and refusals of real pictures are skipped")
    data = arguments.data if arguments.data.is_dir() else None

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    facts: dict[str, Any] = {}
    facts |= speed(50 if arguments.quick else 300)
    facts |= consultation(50 if arguments.quick else 300)
    facts |= assess.measured(data, runs=1 if arguments.quick else 5)
    facts |= sizes()
    facts |= skin(record["skin-photo"], data)
    facts |= chest(record["chest-xray"], data, arguments.quick)
    facts |= refusals(data, 100 if arguments.quick else 500)
    for key, value in facts.items():
        print(f"{key:36} {_shown(value)}")
    print("skipped: teacher_bytes, teacher_parameters, student_minus_teacher_bacc (no teacher yet)")
    if arguments.json:
        print(json.dumps(facts))


def _shown(value: object) -> str:
    if isinstance(value, Mapping) and "low" in value:
        return f"{value['value']} ({value['low']} to {value['high']}, n = {value['n']})"
    return str(value)


# --- speed, memory, size ------------------------------------------------------------------------


def speed(runs: int) -> dict[str, Any]:
    """One 1024 x 1024 JPEG and a note of 18 words in a fresh process: decoding to answer."""
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        with Image.open(EXAMPLE) as image:
            image.convert("RGB").resize((1024, 1024)).save(path, quality=88)
        for name, threads, explain in (("", 2, "no"), ("_explained", 2, "yes"), ("_one_thread", 1, "no")):
            command = [sys.executable, "-c", CHILD, str(path), NOTE, str(threads), str(runs), explain]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            facts[f"latency_ms_p50{name}"] = round(float(np.percentile(found["times"], 50)), 2)
            facts[f"latency_ms_p95{name}"] = round(float(np.percentile(found["times"], 95)), 2)
            facts[f"latency_ms_first{name}"] = round(found["times"][0], 2)
            facts[f"open_ms{name}"] = round(found["open_ms"], 1)
            facts[f"peak_rss_mb{name}"] = round(found["peak"], 1)
    return facts


def consultation(runs: int) -> dict[str, Any]:
    """The whole of `akazuba assess` for one synthetic skin case, explanations included (parsed case to
    assessment), and the peak memory of that process.
    """
    command = [sys.executable, "-m", "akazuba", "model", "benchmark", "--json", "--runs", str(runs)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {f"consult_{key}": found[key] for key in ("latency_ms_p50", "latency_ms_p95", "peak_rss_mb")}


def sizes() -> dict[str, Any]:
    installed = describe()
    return {"student_bytes": installed["bytes"], "student_parameters": installed["parameters"]}


# --- how often it is right ----------------------------------------------------------------------


class Folds:
    """The record of one kind as arrays; only examples that some fold held out."""

    def __init__(self, kept: dict[str, Any]) -> None:
        done = np.array(kept["fold"]) >= 0
        self.ids = [name for name, kept_ in zip(kept["ids"], done, strict=True) if kept_]
        self.groups = [name for name, kept_ in zip(kept["groups"], done, strict=True) if kept_]
        self.labels = np.array(kept["label"])[done]
        self.fold = np.array(kept["fold"])[done]
        self.prior = np.array(kept["prior"])
        self.names: list[str] = kept["labels"]
        self.posteriors = {
            mode: np.array([row for row in rows if row]) for mode, rows in kept["posteriors"].items()
        }
        self.digest: str = kept["data_sha256"]

    def balanced(self, chosen: measure.Ints) -> dict[str, float]:
        return measure.balanced_accuracy_estimate(chosen, self.labels, self.groups).as_dict()

    def difference(self, ours: measure.Ints, theirs: measure.Ints) -> dict[str, float]:
        """Paired difference in balanced accuracy, ours - theirs."""

        def gap(i: measure.Ints) -> float:
            y = self.labels[i]
            return measure.balanced_accuracy(ours[i], y) - measure.balanced_accuracy(theirs[i], y)

        return measure.bootstrap(gap, self.groups).as_dict()

    def choice(self, probability: measure.Floats) -> measure.Ints:
        return measure.balanced_choice(probability, self.prior)

    def parts(self, mode: str) -> measure.Floats:
        """What `mode` is made of, (N, K, L): the one part, or picture, note and what only both say."""
        if not mode.startswith("fused"):
            return measure.parts([self.posteriors[mode]], self.prior)
        image = "image_int8" if mode.endswith("_int8") else "image"
        three = [self.posteriors[m] for m in (image, mode.replace("fused", "text"), mode)]
        return measure.parts(three, self.prior)

    def cross_fitted(self, mode: str) -> tuple[measure.Floats, measure.Floats]:
        """Probabilities (N, L) and the sets' thresholds (N, L), both fitted on the other folds."""
        return measure.cross_fitted(self.parts(mode), self.labels, self.fold, self.prior, COVERAGE)

    def trust(self, mode: str, most_in_set: int) -> dict[str, Any]:
        """Calibration error and what the prediction sets do, on folds that neither was fitted on."""
        probability, least = self.cross_fitted(mode)
        sets = calibration.in_set(probability, least)
        held = sets[np.arange(len(self.labels)), self.labels]
        size = sets.sum(1)
        abstained = (size == 0) | (size > most_in_set)
        right = probability.argmax(1) == self.labels
        before = self.posteriors[mode]
        return {
            "ece_before": self._ece(before),
            "ece": self._ece(probability),
            "set_coverage": measure.share_estimate(held, self.groups).as_dict(),
            "set_size": round(float(size.mean()), 3),
            "abstained": measure.share_estimate(abstained, self.groups).as_dict(),
            "accuracy_when_not_abstaining": round(float(right[~abstained].mean()), 4),
        }

    def _ece(self, probability: measure.Floats) -> dict[str, float]:
        error = calibration.expected_calibration_error
        return measure.bootstrap(lambda i: error(probability[i], self.labels[i]), self.groups, 300).as_dict()

    def agreement(self, mode: str) -> dict[str, float]:
        """The 8-bit form against the float network on the same held-out examples."""
        float_, small = self.posteriors[mode], self.posteriors[f"{mode}_int8"]
        gap = np.abs(float_ - small)
        return {
            "max_difference": round(float(gap.max()), 4),
            "mean_difference": round(float(gap.mean()), 5),
            "same_label": round(float((float_.argmax(1) == small.argmax(1)).mean()), 4),
        }


def skin(kept: dict[str, Any], data: Path | None) -> dict[str, Any]:
    folds = Folds(kept)
    modes = ("image", "text", "fused", "text_paraphrased", "fused_paraphrased")
    fitted = {mode: folds.cross_fitted(f"{mode}_int8")[0] for mode in modes}
    chosen = {mode: folds.choice(probability) for mode, probability in fitted.items()}
    facts: dict[str, Any] = {f"bacc_skin_{mode}": folds.balanced(choice) for mode, choice in chosen.items()}
    facts["bacc_skin_fused_float"] = folds.balanced(folds.choice(folds.cross_fitted("fused")[0]))
    facts["bacc_skin_fused_unweighted"] = folds.balanced(folds.choice(folds.posteriors["fused_int8"]))
    facts["bacc_skin_fused_minus_image"] = folds.difference(chosen["fused"], chosen["image"])
    leading = fitted["fused"].argmax(1) == folds.labels
    facts["cross_modal_accuracy"] = measure.share_estimate(leading, folds.groups).as_dict()
    facts |= {f"{key}_skin" if key != "ece" else "ece": v for key, v in folds.trust("fused_int8", 3).items()}
    facts["int8_agreement_skin_fused"] = folds.agreement("fused")
    if data is None:
        return facts
    baselines = skin_baselines(folds, data / "padufes_skin_clinical")
    for name, choice in baselines.items():
        facts[f"bacc_skin_baseline_{name}"] = folds.balanced(choice)
    if baselines:
        best = max(baselines, key=lambda name: facts[f"bacc_skin_baseline_{name}"]["value"])
        facts["bacc_skin_baseline"] = facts[f"bacc_skin_baseline_{best}"]
        facts["bacc_skin_baseline_is"] = best
        facts["bacc_skin_fused_minus_baseline"] = folds.difference(chosen["fused"], baselines[best])
    return facts


def skin_baselines(folds: Folds, folder: Path) -> dict[str, measure.Ints]:
    """Held-out choices of logistic regression on embedding, note, and both (scaled to weigh alike)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = {row["id"]: row for row in _rows(folder)}
    notes = [rows[name]["note"] for name in folds.ids]
    embedded = embeddings([folder / rows[name]["file"] for name in folds.ids], folder.parent)
    chosen: dict[str, measure.Ints] = {"text": np.empty(len(notes), np.int64)}
    if embedded is not None:
        chosen |= {"image": np.empty(len(notes), np.int64), "both": np.empty(len(notes), np.int64)}
    for number in np.unique(folds.fold):
        train, own = np.flatnonzero(folds.fold != number), np.flatnonzero(folds.fold == number)
        vectors = TfidfVectorizer(ngram_range=(1, 2)).fit([notes[i] for i in train])
        text = vectors.transform(notes).toarray()
        features = {"text": (text, 1.0)}
        if embedded is not None:
            image = make_pipeline(StandardScaler()).fit(embedded[train]).transform(embedded)
            features |= {"image": (image, 0.003), "both": (np.hstack([image, text * 2 * 128**0.5]), 0.003)}
        for name, (matrix, strength) in features.items():
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
            chosen[name][own] = model.fit(matrix[train], folds.labels[train]).predict(matrix[own])
    return chosen


def chest(kept: dict[str, Any], data: Path | None, quick: bool) -> dict[str, Any]:
    folds = Folds(kept)
    normal = folds.names.index("normal")
    posterior = folds.cross_fitted("image_int8")[0]
    ill = folds.labels != normal
    facts: dict[str, Any] = {
        "auc_chest_pneumonia": measure.auc_estimate(1 - posterior[:, normal], ill, folds.groups).as_dict(),
        "accuracy_chest3": measure.share_estimate(
            posterior.argmax(1) == folds.labels, folds.groups
        ).as_dict(),
        "bacc_chest3": folds.balanced(folds.choice(posterior)),
        "chest_patients": "unknown for normal films: each counts as a patient of its own",
    }
    facts |= {f"{key}_chest": value for key, value in folds.trust("image_int8", 2).items()}
    facts["int8_agreement_chest"] = folds.agreement("image")
    if data is None:
        return facts
    # A third of the films is enough for the baseline in the quick form; the same ones for both.
    few = np.arange(len(folds.ids))[:: 3 if quick else 1]
    rows = {row["id"]: row for row in _rows(data / "cxr_paediatric_pneumonia")}
    paths = [data / "cxr_paediatric_pneumonia" / rows[folds.ids[i]]["file"] for i in few]
    embedded = embeddings(paths, data)
    if embedded is None:
        return facts
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, fold, groups = folds.labels[few], folds.fold[few], [folds.groups[i] for i in few]
    probability = np.empty((len(few), len(folds.names)))
    for number in np.unique(fold):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
        model.fit(embedded[fold != number], labels[fold != number])
        probability[fold == number] = model.predict_proba(embedded[fold == number])
    right = probability.argmax(1) == labels
    ours = posterior[few].argmax(1) == labels
    facts["auc_chest_baseline"] = measure.auc_estimate(
        1 - probability[:, normal], labels != normal, groups
    ).as_dict()
    facts["accuracy_chest3_baseline"] = measure.share_estimate(right, groups).as_dict()
    facts["accuracy_chest3_minus_baseline"] = measure.bootstrap(
        lambda i: float(ours[i].mean() - right[i].mean()), groups
    ).as_dict()
    return facts


def embeddings(paths: list[Path], data: Path) -> measure.Floats | None:
    """The 1,024 numbers of the untouched MobileNet V1 1.0 224 for each picture."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        print("skipped: baselines on image embeddings (the wheel ai-edge-litert is not installed)")
        return None
    from ai_edge_litert.interpreter import Interpreter

    weights = data / "mobilenet_weights" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    interpreter = Interpreter(str(weights), num_threads=2)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
        interpreter.set_tensor(source["index"], pixels[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"]).ravel())
    return np.array(found, np.float64)


# --- what it refuses ----------------------------------------------------------------------------


def refusals(data: Path | None, count: int) -> dict[str, Any]:
    """Share refused as untypical: should be near 0 for true pictures and 1 for everything else."""
    engine = open_engine(threads=2)
    rng = np.random.default_rng(0)
    drawn = {
        "black": [np.zeros((224, 224, 3), np.uint8)],
        "white": [np.full((224, 224, 3), 255, np.uint8)],
        "noise": [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(20)],
    }
    facts: dict[str, Any] = {}

    def refused(name: str, kind: str, pictures: list[Any]) -> None:
        readings = [engine.read(Picture(name, kind, p), "", True, 5.0, explain=False) for p in pictures]
        facts[f"refused_{name}_as_{kind}"] = {
            "share": round(sum(not r.image.quality.usable for r in readings) / len(readings), 4),
            "n": len(readings),
        }

    for name, pictures in drawn.items():
        for kind in engine.kinds:
            refused(name, kind, pictures)
    if data is None:
        return facts
    folders: dict[str, tuple[str, Callable[[dict[str, str]], bool]]] = {
        "true_skin": ("padufes_skin_clinical", lambda _: True),
        "true_child_chest": ("cxr_paediatric_pneumonia", lambda _: True),
        "adult_chest": ("cxr_multisite_notes", lambda row: row["site"] == "nih"),
        "cell_smear": ("malaria_iml_cells", lambda _: True),
        "ultrasound": ("lung_ultrasound_pocus", lambda _: True),
        "ct_or_mr": ("medpix2_cases", lambda _: True),
        "dermatoscopy": ("ham10000_4site", lambda _: True),
    }
    for name, (folder, wanted) in folders.items():
        rows = [row for row in _rows(data / folder) if wanted(row)]
        random.Random(0).shuffle(rows)  # noqa: S311 (not a secret)
        for kind in engine.kinds:
            pictures = []
            own = (name, kind) in {("true_skin", "skin-photo"), ("true_child_chest", "chest-xray")}
            for row in rows[: 1000 if own else count]:  # a share near 0 needs many pictures
                with Image.open(data / folder / row["file"]) as image:
                    # As the clinic would hand it in: a film is grey, a photograph has colours.
                    pictures.append(np.asarray(image.convert("L" if kind == "chest-xray" else "RGB")))
            refused(name, kind, pictures)
    return facts


def _rows(folder: Path) -> list[dict[str, str]]:
    import csv

    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
