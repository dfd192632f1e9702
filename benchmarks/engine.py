"""The image-and-note engine: speed and memory of a process of its own, and how often it is right.

    python benchmarks/engine.py [--quick] [--json] [--data ../shared/data]

Accuracy is recomputed from `results/engine_folds.json`, which keeps what each training fold said of the
patients it never saw (`python -m akazuba.training` writes it, with seed, command, data digests and learning
curves). All figures are those of the exported 8-bit form; the student's stand without a suffix, `_teacher`
and `_tiny` are the other profiles. The baselines are computed in this run from the raw data on the same
folds: the embedding of the untouched MobileNet V1 (needs the wheel `ai-edge-litert`) and TF-IDF of the note,
with logistic regression. Intervals are 95 %, bootstrapped over patients (normal films of children carry no
patient id: each counts as a patient of its own). What weighs picture against note is fitted on the other
folds. Without the data folder only speed, memory, sizes and what the record holds are printed. `--quick`
takes fewer runs and pictures.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import assess
import engine_refusals
import engine_speed
import numpy as np
from figures import options_of, tell
from PIL import Image

from akazuba.diagnosis import calibration, profiles
from akazuba.settings import from_environ
from akazuba.training import measure

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).resolve().parent / "results" / "engine_folds.json"
COVERAGE = 0.9
PROFILES = {"": "student", "_teacher": "full", "_tiny": "tiny"}
"""Suffix of a figure -> profile."""


def main() -> None:
    parser = options_of(__doc__, "quick: fewer runs and pictures", "json")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"no data in {arguments.data}: baselines and refusals of real pictures are skipped")
    data = arguments.data if arguments.data.is_dir() else None

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    runs = 50 if arguments.quick else 300
    facts: dict[str, Any] = {}
    facts |= engine_speed.speed(runs, data)
    facts |= engine_speed.consultation(runs)
    facts |= assess.measured(data, runs=1 if arguments.quick else 5)
    facts |= profiles.sizes(from_environ().home)
    facts |= skin(record["heads"]["skin-photo"], data)
    facts |= child_chest(record["heads"]["chest-xray.child"], data, arguments.quick)
    facts |= adult_chest(record["heads"]["chest-xray.adult"], data)
    facts |= engine_refusals.refusals(data, 100 if arguments.quick else 500)
    tell(facts, arguments, __file__, lines=True)


class Folds:
    """What the folds of one profile said of one head's examples, as arrays."""

    def __init__(self, kept: dict[str, Any], profile: str) -> None:
        self.ids: list[str] = kept["ids"]
        self.groups: list[str] = kept["groups"]
        self.labels = np.array(kept["label"])
        self.fold = np.array(kept["fold"])
        self.prior = np.array(kept["prior"])
        self.names: list[str] = kept["labels"]
        self.most_in_set: int = kept["most_in_set"]
        self.posteriors = {mode: np.array(rows) for mode, rows in kept["posteriors"][profile].items()}
        self.fits = {name: np.array(rows) for name, rows in kept["fits"].get(profile, {}).items()}

    def balanced(self, chosen: measure.Ints) -> dict[str, float]:
        return measure.balanced_accuracy_estimate(chosen, self.labels, self.groups).as_dict()

    def accuracy(self, chosen: measure.Ints) -> dict[str, float]:
        return measure.share_estimate(chosen == self.labels, self.groups).as_dict()

    def difference(self, ours: measure.Ints, theirs: measure.Ints) -> dict[str, float]:
        """Paired difference in balanced accuracy, ours - theirs."""

        def gap(i: measure.Ints) -> float:
            y = self.labels[i]
            return measure.balanced_accuracy(ours[i], y) - measure.balanced_accuracy(theirs[i], y)

        return measure.bootstrap(gap, self.groups).as_dict()

    def choice(self, probability: measure.Floats) -> measure.Ints:
        return measure.balanced_choice(probability, self.prior)

    def ill(self, probability: measure.Floats) -> dict[str, float]:
        """AUC of everything but the first label, which is the healthy one."""
        return measure.auc_estimate(1 - probability[:, 0], self.labels != 0, self.groups).as_dict()

    def parts(self, mode: str) -> measure.Floats:
        """What `mode` is made of, (N, K, L): the one part, or picture, note and what only both say."""
        if not mode.startswith("fused"):
            return measure.parts([self.posteriors[mode]], self.prior)
        three = [self.posteriors[m] for m in ("image", mode.replace("fused", "text"), mode)]
        return measure.parts(three, self.prior)

    def cross_fitted(self, mode: str) -> tuple[measure.Floats, measure.Floats]:
        """Probabilities (N, L) and the sets' thresholds (N, L), both fitted on the other folds: for picture
        and note on both wordings of the note, as what is shipped is.
        """
        modes = ["fused", "fused_paraphrased"] if mode.startswith("fused") else [mode]
        wordings = [self.parts(each) for each in modes]
        found = measure.cross_fitted(wordings, self.labels, self.fold, self.prior, COVERAGE)
        return found[modes.index(mode)]

    def trust(self, mode: str) -> dict[str, Any]:
        """Calibration error and what the prediction sets do, on folds that neither was fitted on."""
        probability, least = self.cross_fitted(mode)
        sets = calibration.in_set(probability, least)
        held = sets[np.arange(len(self.labels)), self.labels]
        size = sets.sum(1)
        abstained = (size == 0) | (size > self.most_in_set)
        right = probability.argmax(1) == self.labels
        return {
            "ece_before": self._ece(self.posteriors[mode]),
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
        plain, small = self.posteriors[f"{mode}_float"], self.posteriors[mode]
        gap = np.abs(plain - small)
        return {
            "max_difference": round(float(gap.max()), 4),
            "mean_difference": round(float(gap.mean()), 5),
            "same_label": round(float((plain.argmax(1) == small.argmax(1)).mean()), 4),
        }


def skin(kept: dict[str, Any], data: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    fused: dict[str, measure.Ints] = {}
    for suffix, profile in PROFILES.items():
        folds = Folds(kept, profile)
        for mode in ("image", "text", "fused", "text_paraphrased", "fused_paraphrased"):
            probability = folds.cross_fitted(mode)[0]
            chosen = folds.choice(probability)
            facts[f"bacc_skin_{mode}{suffix}"] = folds.balanced(chosen)
            if mode == "image":
                image = chosen
            if mode == "fused":
                fused[suffix] = chosen
                facts[f"cross_modal_accuracy{suffix}"] = folds.accuracy(probability.argmax(1))
        facts[f"bacc_skin_fused_minus_image{suffix}"] = folds.difference(fused[suffix], image)
        facts[f"int8_agreement_skin{suffix}"] = folds.agreement("fused")
        facts |= {f"{name}{suffix}": value for name, value in alignment(folds).items()}
    folds = Folds(kept, "student")
    facts |= {f"{key}_skin" if key != "ece" else "ece": value for key, value in folds.trust("fused").items()}
    facts["student_minus_teacher_bacc"] = folds.difference(fused[""], fused["_teacher"])
    facts["tiny_minus_student_bacc"] = folds.difference(fused["_tiny"], fused[""])
    if data is None:
        return facts
    baselines = skin_baselines(folds, data / "padufes_skin_clinical")
    for name, choice in baselines.items():
        facts[f"bacc_skin_baseline_{name}"] = folds.balanced(choice)
    if baselines:
        best = max(baselines, key=lambda name: facts[f"bacc_skin_baseline_{name}"]["value"])
        facts["bacc_skin_baseline"] = facts[f"bacc_skin_baseline_{best}"]
        facts["bacc_skin_baseline_is"] = best
        facts["bacc_skin_fused_minus_baseline"] = folds.difference(fused[""], baselines[best])
    return facts


def alignment(folds: Folds) -> dict[str, Any]:
    """How often the own note fits the photo better than another one, on folds that never saw either."""
    own = folds.fits["own"]
    facts: dict[str, Any] = {}
    for name, key in (("another_patient", "stranger"), ("another_complaint", "other")):
        others = folds.fits[key]

        def figure(i: measure.Ints, others: measure.Floats = others) -> float:
            score = np.concatenate([own[i], others[i].ravel()])
            return measure.auc(score, np.arange(len(score)) < len(i))

        facts[f"auc_alignment_{name}"] = measure.bootstrap(figure, folds.groups, 300).as_dict()
    return facts


def skin_baselines(folds: Folds, folder: Path) -> dict[str, measure.Ints]:
    """Held-out choices of logistic regression on embedding, note, and both (scaled to weigh alike)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = {row["id"]: row for row in engine_refusals.rows_of(folder)}
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


def child_chest(kept: dict[str, Any], data: Path | None, quick: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for suffix, profile in PROFILES.items():
        folds = Folds(kept, profile)
        probability = folds.cross_fitted("image")[0]
        facts[f"auc_chest_pneumonia{suffix}"] = folds.ill(probability)
        facts[f"accuracy_chest3{suffix}"] = folds.accuracy(probability.argmax(1))
        facts[f"bacc_chest3{suffix}"] = folds.balanced(folds.choice(probability))
        facts[f"int8_agreement_chest{suffix}"] = folds.agreement("image")
    folds = Folds(kept, "student")
    probability = folds.cross_fitted("image")[0]
    facts["cross_modal_accuracy_chest_child"] = {"image_only": facts["accuracy_chest3"]}
    facts["chest_patients"] = "unknown for normal films: each counts as a patient of its own"
    facts |= {f"{key}_chest": value for key, value in folds.trust("image").items()}
    if data is None:
        return facts
    # A third of the films is enough for the baseline in the quick form; the same ones for both.
    few = np.arange(len(folds.ids))[:: 3 if quick else 1]
    baseline = chest_baseline(folds, data, "cxr_paediatric_pneumonia", few)
    if baseline is None:
        return facts
    labels, groups = folds.labels[few], [folds.groups[i] for i in few]
    right, ours = baseline.argmax(1) == labels, probability[few].argmax(1) == labels
    facts["auc_chest_baseline"] = measure.auc_estimate(1 - baseline[:, 0], labels != 0, groups).as_dict()
    facts["accuracy_chest3_baseline"] = measure.share_estimate(right, groups).as_dict()
    facts["accuracy_chest3_minus_baseline"] = measure.bootstrap(
        lambda i: float(ours[i].mean() - right[i].mean()), groups
    ).as_dict()
    return facts


def adult_chest(kept: dict[str, Any], data: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for suffix, profile in PROFILES.items():
        folds = Folds(kept, profile)
        probability = folds.cross_fitted("image")[0]
        facts[f"auc_chest_adult{suffix}"] = folds.ill(probability)
    folds = Folds(kept, "student")
    probability = folds.cross_fitted("image")[0]
    facts["cross_modal_accuracy_chest_adult"] = {"image_only": folds.accuracy(probability.argmax(1))}
    facts |= {f"{key}_chest_adult": value for key, value in folds.trust("image").items()}
    if data is None:
        return facts
    everyone = np.arange(len(folds.ids))
    baseline = chest_baseline(folds, data, "cxr_multisite_notes", everyone)
    if baseline is not None:
        facts["auc_chest_adult_baseline"] = folds.ill(baseline)
    return facts


def chest_baseline(folds: Folds, data: Path, folder: str, chosen: measure.Ints) -> measure.Floats | None:
    """Held-out probabilities (len(chosen), L) of logistic regression on the embedding, on the same folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = {row["id"]: row for row in engine_refusals.rows_of(data / folder)}
    embedded = embeddings([data / folder / rows[folds.ids[i]]["file"] for i in chosen], data)
    if embedded is None:
        return None
    labels, fold = folds.labels[chosen], folds.fold[chosen]
    probability = np.empty((len(chosen), len(folds.names)))
    for number in np.unique(fold):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
        model.fit(embedded[fold != number], labels[fold != number])
        probability[fold == number] = model.predict_proba(embedded[fold == number])
    return probability


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


if __name__ == "__main__":
    main()
