"""Chest films of hospitals that no model has seen: a stress test, reported as it is.

    python benchmarks/chest_sites.py [--quick] [--json] [--data ../shared/data]

1. Leave one source out (`cxr_multisite_notes`, development part): COVID-19 against every other label, with a
   linear head on what the shipped student sees (its cells, averaged) and on TF-IDF of the masked note. The
   head learns from all sources but one and is asked about that one. Beside it the same head on random folds
   of patients of all sources pooled: what it gains there is the source betraying the label, not medicine.
   Only sources that have at least ten films of both sides are asked; notes only where they exist.
2. The shipped heads on films from elsewhere: the child's head on adult films (NIH), the adult head on films
   of the other sources (no finding against the rest), and the share of either that is refused as untypical.

These sets are for local evaluation: nothing that is shipped has learned from them but the NIH films.
Intervals: 95 %, bootstrapped over patients. `--quick` takes every second film.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import engine_refusals
import numpy as np
from figures import options_of, tell

from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.diagnosis.pixels import squashed
from akazuba.records import Picture
from akazuba.training import measure

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEAST = 10


def main() -> None:
    parser = options_of(__doc__, "quick: every second film", "json")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    folder = arguments.data / "cxr_multisite_notes"
    if not folder.is_dir():
        parser.exit(2, f"error: {folder}: expected the research data, found no such folder\n")
    rows = [row for row in engine_refusals.rows_of(folder) if row["label"] != "unlabelled"]
    rows = rows[:: 2 if arguments.quick else 1]
    engine = open_engine(threads=2)
    films = [engine_refusals.opened(folder / row["file"], "chest-xray") for row in rows]
    facts: dict[str, Any] = {"chest_sites_n": len(rows)}
    facts |= left_out(rows, cells(engine, films))
    facts |= from_elsewhere(engine, rows, films)
    tell(facts, arguments, __file__, lines=True)


def cells(engine: Engine, films: list[Any]) -> measure.Floats:
    """What the engine's encoder sees of each film, averaged over it (N, C)."""
    kind = engine._kinds["chest-xray"].facts
    seen = [engine._graphs.look(squashed(film, kind.side, kind.through))[0][0].mean(0) for film in films]
    return np.array(seen, np.float64)


def left_out(rows: list[dict[str, str]], image: measure.Floats) -> dict[str, Any]:
    site = np.array([row["site"] for row in rows])
    covid = np.array([row["label"] == "covid19" for row in rows])
    noted = np.array([bool(row["note_masked"].strip()) for row in rows])
    groups = [row["patient"] for row in rows]
    notes = [row["note_masked"] for row in rows]
    facts: dict[str, Any] = {}
    for mode in ("image", "text", "fused"):
        asked = np.ones(len(rows), bool) if mode == "image" else noted
        pooled = np.full(len(rows), np.nan)
        number = np.array([hash_fold(group) for group in groups])
        for fold in range(5):
            own = asked & (number == fold)
            pooled[own] = scores(mode, image, notes, covid, asked & (number != fold), own)
        facts[f"auc_covid_{mode}_pooled"] = estimate(pooled, covid, groups, asked)
        for name in sorted(set(site)):
            own = asked & (site == name)
            if min(covid[own].sum(), (~covid)[own].sum()) < LEAST:
                continue
            found = np.full(len(rows), np.nan)
            found[own] = scores(mode, image, notes, covid, asked & (site != name), own)
            facts[f"auc_covid_{mode}_without_{name}"] = estimate(found, covid, groups, own)
    return facts


def hash_fold(group: str) -> int:
    import hashlib

    return hashlib.sha256(group.encode()).digest()[0] % 5


def scores(
    mode: str,
    image: measure.Floats,
    notes: list[str],
    positive: Any,
    train: Any,
    own: Any,
) -> measure.Floats:
    """Log-odds of the positive side for `own`, learned from `train`; both modalities are added."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    total = np.zeros(int(own.sum()))
    if mode in ("image", "fused"):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.001, class_weight="balanced", max_iter=1000)
        )
        total += model.fit(image[train], positive[train]).decision_function(image[own])
    if mode in ("text", "fused"):
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
        matrix = words.fit_transform([note for note, kept in zip(notes, train, strict=True) if kept])
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(matrix, positive[train])
        total += model.decision_function(
            words.transform([note for note, kept in zip(notes, own, strict=True) if kept])
        )
    return total


def estimate(score: measure.Floats, positive: Any, groups: list[str], asked: Any) -> dict[str, float]:
    kept = np.flatnonzero(asked)
    own = [groups[i] for i in kept]
    return measure.auc_estimate(score[kept], positive[kept], own).as_dict()


def from_elsewhere(engine: Engine, rows: list[dict[str, str]], films: list[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, age, wanted, healthy in (
        ("child_head_on_nih_adults", engine_refusals.CHILD, lambda s: s == "nih", "normal"),
        ("adult_head_on_other_sites", engine_refusals.ADULT, lambda s: s != "nih", "no-finding"),
    ):
        chosen = [i for i, row in enumerate(rows) if wanted(row["site"])]
        readings = [
            engine.read(Picture("p", "chest-xray", films[i]), "", True, age, explain=False) for i in chosen
        ]
        read = [(i, r.image) for i, r in zip(chosen, readings, strict=True) if r.image.labels]
        facts[f"refused_{name}"] = {
            "share": round(1 - len(read) / len(chosen), 4),
            "n": len(chosen),
        }
        abstained = sum(image.abstained for _, image in read)
        facts[f"abstained_of_read_{name}"] = {
            "share": round(abstained / max(1, len(read)), 4),
            "n": len(read),
        }
        ill = np.array([1 - image.labels[healthy] for _, image in read])
        truth = np.array([rows[i]["label"] != "no_finding" for i, _ in read])
        if min(truth.sum(), (~truth).sum()) >= LEAST:
            groups = [rows[i]["patient"] for i, _ in read]
            facts[f"auc_of_read_{name}"] = measure.auc_estimate(ill, truth, groups).as_dict()
    return facts


if __name__ == "__main__":
    main()
