"""Trains the word model of danger signs (`language/signs.py`) from the sentences beside it.

    python -m akazuba.training.signs            # writes the weights into the package, a few seconds
    python -m akazuba.training.signs --folds    # only prints how well unseen sources are read

Each row of `danger_signs.tsv.gz` is a source, the findings that its words tell ("-" is none) and the words.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression

import akazuba.language
from akazuba.language.signs import BUCKETS, FILE, THRESHOLD, Card, SignModel, quantised, words_of

FEWEST = 8  # rows of a sign, or it is left out
STRENGTH = 10.0
SMALLEST = 1  # steps of 127; smaller weights are noise and go


@dataclass(frozen=True, slots=True)
class Told:
    """ids: the findings that the words tell."""

    source: str
    ids: frozenset[str]
    words: str


def told_rows() -> list[Told]:
    content = resources.files("akazuba.training").joinpath("danger_signs.tsv.gz").read_bytes()
    lines = csv.reader(io.StringIO(gzip.decompress(content).decode()), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Told(source, frozenset(ids.split("|")) - {"-"}, words) for source, ids, words in lines]


def fitted(rows: Sequence[Told]) -> SignModel:
    """One logistic regression a sign, over all rows."""
    found = [words_of(row.words, 0, len(row.words)).features for row in rows]
    values = np.concatenate([np.full(len(one), 1 / np.sqrt(max(len(one), 1))) for one in found])
    ends = np.concatenate([[0], np.cumsum([len(one) for one in found])])
    table = csr_matrix((values, np.concatenate(found), ends), shape=(len(rows), BUCKETS))
    ids, weights, bias = [], [], []
    for id_ in sorted(set().union(*(row.ids for row in rows))):
        answers = np.array([id_ in row.ids for row in rows])
        if answers.sum() >= FEWEST:
            model = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=0).fit(table, answers)
            ids.append(id_)
            weights.append(model.coef_[0])
            bias.append(model.intercept_[0])
    return quantised(ids, np.stack(weights), np.array(bias))


def without(rows: Sequence[Told], sources: Collection[str]) -> list[Told]:
    return [row for row in rows if row.source not in sources]


def write(model: SignModel, rows: int, folder: Path) -> None:
    """The weights and their card."""
    kept = np.where(np.abs(model.weights) > SMALLEST, model.weights, 0).astype(np.int8)
    content = zlib.compress(kept.tobytes(), 9)
    (folder / FILE).write_bytes(content)
    scale, bias = (tuple(map(float, values)) for values in (model.scale, model.bias))
    card = Card(model.ids, scale, bias, hashlib.sha256(content).hexdigest(), rows)
    (folder / "signs_en.json").write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")


def folds(rows: Sequence[Told]) -> list[str]:
    """For every source: how many of its rows with a sign are read right, and how many others are read."""
    lines = []
    for source in sorted({row.source for row in rows}):
        model = fitted(without(rows, {source}))
        own = [row for row in rows if row.source == source]
        read = [{seen.id for seen in model.read(row.words)} for row in own]
        right = sum(bool(ids & row.ids) for row, ids in zip(own, read, strict=True))
        wrong = sum(bool(ids) for row, ids in zip(own, read, strict=True) if not row.ids)
        told = sum(bool(row.ids) for row in own)
        lines.append(f"{source}: {right} of {told} told, {wrong} of {len(own) - told} harmless")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m akazuba.training.signs", description=__doc__)
    parser.add_argument("--folds", action="store_true", help=f"cross-validate over sources at {THRESHOLD}")
    arguments = parser.parse_args()
    rows = told_rows()
    if arguments.folds:
        sys.stdout.write("\n".join(folds(rows)) + "\n")
        return
    write(fitted(rows), len(rows), Path(akazuba.language.__path__[0]))


if __name__ == "__main__":
    main()
