"""Real pictures' sites as worlds of `federation.py`: what the shipped engine's frozen encoder sees of each
picture is the input, and boxes that are often off learn a last layer on it together.

`skin`: `ham10000_4site`, a clinic for each of four sites, seven diagnoses. `chest`: `cxr_multisite_notes`,
a clinic for each of eight sources, COVID-19 or not; the source betrays the label there (most films are of one
without COVID-19), so an accuracy says how fast one learns and nothing of medicine. The encoder itself has
learned from the skin pictures and from the NIH films. Only the development parts are read; of each site 30 %
of the patients are kept for testing, drawn by the seed. What was seen is kept in a temporary folder.
"""

from __future__ import annotations

import math
import tempfile
from functools import cache
from pathlib import Path

import engine_refusals
import numpy as np
import numpy.typing as npt

from akazuba.diagnosis.engine import open_engine
from akazuba.diagnosis.network import Network
from akazuba.diagnosis.pixels import squashed
from akazuba.durable import write_durably
from akazuba.federation.worlds import Cases, Table

SKIN, CHEST = "ham10000_4site", "cxr_multisite_notes"
NORM = math.sqrt(30)
"""Length of each input, that of the heart disease table's: the settings are the same."""


def skin(data: Path, seed: int, every: int = 1) -> Table:
    rows, seen = _seen(data / SKIN, "skin-photo", every)
    labels = sorted({row["label"] for row in rows})
    return _table(SKIN, rows, seen, [labels.index(row["label"]) for row in rows], seed)


def chest(data: Path, seed: int, every: int = 1) -> Table:
    rows, seen = _seen(data / CHEST, "chest-xray", every)
    return _table(CHEST, rows, seen, [int(row["label"] == "covid19") for row in rows], seed)


@cache
def _seen(folder: Path, kind: str, every: int) -> tuple[list[dict[str, str]], npt.NDArray[np.float32]]:
    """Every so many-th labelled row, and (rows, features) of its picture: the encoder's cells, averaged."""
    rows = [row for row in engine_refusals.rows_of(folder) if row["label"] != "unlabelled"][::every]
    kept = Path(tempfile.gettempdir()) / "akazuba-federation-pictures" / f"{folder.name}-{every}.f4"
    engine = open_engine(threads=2)
    facts = engine._kinds[kind].facts
    if not kept.exists():
        seen = []
        for row in rows:
            picture = squashed(engine_refusals.opened(folder / row["file"], kind), facts.side, facts.through)
            seen.append(engine._graphs.look(picture)[0][0].mean(0))
        write_durably(kept, np.array(seen, "<f4").tobytes())
    found = np.frombuffer(kept.read_bytes(), "<f4").reshape(len(rows), -1)
    centred = found - found.mean(1, keepdims=True)
    return rows, (NORM * centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)


def _table(
    name: str, rows: list[dict[str, str]], seen: npt.NDArray[np.float32], labels: list[int], seed: int
) -> Table:
    random, label = np.random.default_rng([seed, 5]), np.array(labels, np.int64)
    train, test = [], []
    for site in sorted({row["site"] for row in rows}):
        patients = sorted({row["patient"] for row in rows if row["site"] == site})
        held = set(random.permutation(patients)[: max(1, round(0.3 * len(patients)))].tolist())
        for kept, into in ((False, train), (True, test)):
            own = [i for i, r in enumerate(rows) if r["site"] == site and (r["patient"] in held) == kept]
            into.append(Cases(seen[own], label[own]))
    network = Network(seen.shape[1], max(labels) + 1)
    return Table(name, "when terminals are on", network, tuple(train), tuple(test))
