"""What the engine refuses as untypical: hardly any true picture, much of the rest. Part of `engine.py`."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.records import Picture

CHILD, ADULT = 5.0, 45.0
MANY = 1000
"""True pictures: a share near 0 needs many."""

Row = dict[str, str]

# name -> folder, which rows, and whether they are true pictures of (kind, age)
SETS: dict[str, tuple[str, Callable[[Row], bool], set[tuple[str, float]]]] = {
    "true_skin": ("padufes_skin_clinical", lambda _: True, {("skin-photo", CHILD), ("skin-photo", ADULT)}),
    "child_film": ("cxr_paediatric_pneumonia", lambda _: True, {("chest-xray", CHILD)}),
    "adult_film": ("cxr_multisite_notes", lambda row: row["site"] == "nih", {("chest-xray", ADULT)}),
    "film_of_other_sites": ("cxr_multisite_notes", lambda row: row["site"] != "nih", set()),
    "cell_smear": ("malaria_iml_cells", lambda _: True, set()),
    "ultrasound": ("lung_ultrasound_pocus", lambda _: True, set()),
    "ct_or_mr": ("medpix2_cases", lambda _: True, set()),
    "dermatoscopy": ("ham10000_4site", lambda _: True, set()),
}


def refusals(data: Path | None, count: int) -> dict[str, Any]:
    """Share refused, by what was shown and as what it was declared (kind, and head by age)."""
    engine = open_engine(threads=2)
    rng = np.random.default_rng(0)
    facts: dict[str, Any] = {}
    drawn = {
        "black": [np.zeros((224, 224, 3), np.uint8)],
        "white": [np.full((224, 224, 3), 255, np.uint8)],
        "noise": [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(20)],
    }
    for kind, age, head in declared(engine):
        for name, pictures in drawn.items():
            facts[f"refused_{name}_as_{head}"] = share(engine, kind, age, pictures)
        for name, (folder, wanted, true) in SETS.items() if data else ():
            rows = [row for row in rows_of(data / folder) if wanted(row)]
            random.Random(0).shuffle(rows)
            most = MANY if (kind, age) in true else count
            paths = [data / folder / row["file"] for row in rows[:most]]
            facts[f"refused_{name}_as_{head}"] = share(engine, kind, age, [opened(p, kind) for p in paths])
    return facts


def declared(engine: Engine) -> list[tuple[str, float, str]]:
    """(kind, age, name) of each head that can be asked."""
    return [
        (kind, age, f"{kind}{suffix}")
        for kind in engine.kinds
        for age, suffix in ([(CHILD, ".child"), (ADULT, ".adult")] if kind == "chest-xray" else [(ADULT, "")])
    ]


def opened(path: Path, kind: str) -> Any:
    """As the clinic would hand it in: a film is grey, a photograph has colours."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L" if kind == "chest-xray" else "RGB"))


def share(engine: Engine, kind: str, age: float, pictures: list[Any]) -> dict[str, float]:
    readings = [engine.read(Picture("p", kind, p), "", True, age, explain=False) for p in pictures]
    refused = sum(not reading.image.quality.usable for reading in readings)
    return {"share": round(refused / len(readings), 4), "n": len(readings)}


def rows_of(folder: Path) -> list[Row]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
