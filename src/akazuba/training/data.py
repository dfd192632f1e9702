"""The two training sets as plain arrays, with groups for honest folds and digests for the record.

Folder layout and traps: SOURCE.md beside each `labels.csv`. Only the wording `note` is read; the
columns that betray a biopsy (`note_full`, `biopsed`, which fields are missing) are not.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from akazuba.training.notes import Facts

SKIN = "padufes_skin_clinical"
CHEST = "cxr_paediatric_pneumonia"
ADULT_CHEST = "cxr_multisite_notes"

SKIN_LABELS = (
    "basal-cell-carcinoma",
    "squamous-cell-carcinoma",
    "melanoma",
    "actinic-keratosis",
    "seborrhoeic-keratosis",
    "melanocytic-naevus",
)
_SKIN_CODES = ("BCC", "SCC", "MEL", "ACK", "SEK", "NEV")
CHEST_LABELS = ("normal", "pneumonia-bacterial", "pneumonia-viral")
_CHEST_CODES = ("normal", "bacterial_pneumonia", "viral_pneumonia")


@dataclass(frozen=True)
class Examples:
    """N examples of one image kind.

    labels: (N,) index into label_names. groups: nothing of one group may stand on both sides of a split.
    notes and facts: empty when the set has no notes.
    digest: SHA-256 over labels.csv and every image file in the order of the table.
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    label_names: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    facts: tuple[Facts, ...] = ()

    @property
    def prior(self) -> npt.NDArray[np.float64]:
        """Share of each label."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return np.asarray(counts / counts.sum(), np.float64)


def load_skin(data: Path) -> Examples:
    """PAD-UFES-20, development part; a group is a patient."""
    folder, rows = _rows(data / SKIN)
    return Examples(
        ids=tuple(row["id"] for row in rows),
        paths=tuple(folder / row["file"] for row in rows),
        labels=np.array([_SKIN_CODES.index(row["label"]) for row in rows]),
        groups=tuple(row["patient"] for row in rows),
        label_names=SKIN_LABELS,
        digest=_digest(folder, rows),
        notes=tuple(row["note"] for row in rows),
        facts=tuple(Facts.from_row(row) for row in rows),
    )


def load_chest(data: Path) -> Examples:
    """Paediatric chest films, development part.

    A group is the person number of the file name; normal films carry no usable patient id, so each
    is a group of its own and two films of one healthy child may part company.
    """
    folder, rows = _rows(data / CHEST)
    return Examples(
        ids=tuple(row["id"] for row in rows),
        paths=tuple(folder / row["file"] for row in rows),
        labels=np.array([_CHEST_CODES.index(row["label"]) for row in rows]),
        groups=tuple(row["id"] if row["label"] == "normal" else row["patient"] for row in rows),
        label_names=CHEST_LABELS,
        digest=_digest(folder, rows),
    )


def load_adult_chest(data: Path) -> Examples:
    """Adult films of the NIH part (ChestX-ray14), for the question whether the child model transfers.

    Labels: 0 no finding, 1 pneumonia.
    """
    folder, rows = _rows(data / ADULT_CHEST)
    rows = [row for row in rows if row["site"] == "nih"]
    return Examples(
        ids=tuple(row["id"] for row in rows),
        paths=tuple(folder / row["file"] for row in rows),
        labels=np.array([int(row["label"] != "no_finding") for row in rows]),
        groups=tuple(row["patient"] for row in rows),
        label_names=("no-finding", "pneumonia"),
        digest=_digest(folder, rows),
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


def pixels(paths: Sequence[Path], side: int, through: int) -> npt.NDArray[np.uint8]:
    """Decodes pictures to (N, side, side, 3), squashed as the engine does it (`diagnosis.pixels`)."""
    from akazuba.diagnosis.pixels import squashed

    stack = np.empty((len(paths), side, side, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            grey = image.mode in ("L", "I;16", "1")
            decoded = np.asarray(image.convert("L" if grey else "RGB"))
        stack[index] = squashed(decoded, side, through)
    return stack


def _rows(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return folder, list(csv.DictReader(file))


def _digest(folder: Path, rows: Sequence[dict[str, str]]) -> str:
    total = hashlib.sha256((folder / "labels.csv").read_bytes())
    for row in rows:
        total.update((folder / row["file"]).read_bytes())
    return total.hexdigest()
