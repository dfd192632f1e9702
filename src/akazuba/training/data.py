"""The training sets as plain arrays, with groups for honest folds and digests for the record.

Folder layout and traps: SOURCE.md beside each `labels.csv`. Which columns are read and which are left alone
stands in each kind's file (`akazuba.training.kinds`).
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Say = Callable[[str], None]
Row = dict[str, str]
Reworded = Callable[[Row, random.Random, bool], str]
"""A row's note in other words; with True, some of its facts are left out at random."""


@dataclass(frozen=True)
class Examples:
    """N examples for one head.

    labels: (N,) index into label_names. groups: nothing of one group may stand on both sides of a split.
    notes: as the set words them; empty when it has none. digest: SHA-256 over labels.csv and every image
    file in the order of the table.
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    label_names: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    reworded: Reworded | None = None

    @property
    def prior(self) -> npt.NDArray[np.float64]:
        """Share of each label."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return np.asarray(counts / counts.sum(), np.float64)

    def note_in_other_words(self, index: int, rng: random.Random, *, thin: bool) -> str:
        """One of many wordings of what the note of an example says; only for sets with notes."""
        if self.reworded is None:
            raise ValueError("these examples have no notes")
        return self.reworded(self.rows[index], rng, thin)


def read_examples(
    folder: Path,
    labels: Mapping[str, str],
    *,
    group: Callable[[Row], str],
    wanted: Callable[[Row], bool] = lambda _: True,
    reworded: Reworded | None = None,
) -> Examples:
    """Reads `labels.csv` of a data set.

    labels: the set's code -> our label; rows of another code are left out.
    """
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in labels and wanted(row)]
    codes = list(labels)
    return Examples(
        ids=tuple(row["id"] for row in rows),
        paths=tuple(folder / row["file"] for row in rows),
        labels=np.array([codes.index(row["label"]) for row in rows]),
        groups=tuple(group(row) for row in rows),
        label_names=tuple(labels.values()),
        digest=_digest(folder, rows),
        notes=tuple(row["note"] for row in rows) if reworded else (),
        rows=tuple(rows) if reworded else (),
        reworded=reworded,
    )


def folds(examples: Examples, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold number of each example, (N,); groups stay whole, labels are spread as evenly as that allows."""
    from sklearn.model_selection import StratifiedGroupKFold

    numbers = np.empty(len(examples.ids), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    parts = splitter.split(np.zeros(len(numbers)), examples.labels, examples.groups)
    for number, (_, held_out) in enumerate(parts):
        numbers[held_out] = number
    return numbers


def _digest(folder: Path, rows: Sequence[Row]) -> str:
    total = hashlib.sha256((folder / "labels.csv").read_bytes())
    for row in rows:
        total.update((folder / row["file"]).read_bytes())
    return total.hexdigest()
