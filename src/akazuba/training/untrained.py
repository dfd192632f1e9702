"""The full-size profile before any training: as fast and as large as the teacher, and right about nothing.

For whoever wants to see what the teacher costs on a machine without training it for hours.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from akazuba.diagnosis.artefacts import ModeCalibration, write_manifest
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training import export, minilm, run, ship
from akazuba.training.calibrate import Trust
from akazuba.training.fit import Trained
from akazuba.training.judge import Exhibit
from akazuba.training.profiles import FULL
from akazuba.training.reading import Reader

REVIEW = "UNTRAINED: for speed, memory and size only; its labels mean nothing"


def write(data: Path, folder: Path) -> None:
    """Exports the untrained network by the rules of the trained one."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    examples = run.load_examples(data)
    network = FULL.build(data, 0, examples)
    run.settle(network, FULL)
    vocabulary = minilm.read_vocabulary()
    trained = Trained(FULL, network, Reader(network.reader, WordPiece(vocabulary)))
    pictures = {
        plan.name: run.decoded_for(FULL, kind, examples[plan.name], most=2 * ship.TYPICAL_RANK)
        for kind, plan in run.heads()
    }
    exported = export.export(trained, vocabulary, list(pictures.values()), folder)
    exhibit = Exhibit(trained, vocabulary, folder)
    heads = {}
    for _, plan in run.heads():
        own = examples[plan.name]
        parts = {"image": 1, "fused": 3} if own.notes else {"image": 1}
        nothing = {
            mode: ModeCalibration((1.0,) * count, (0.0,) * len(own.label_names))
            for mode, count in parts.items()
        }
        turn = np.arange(len(pictures[plan.name])) % run.FOLDS
        file, _ = ship.store_typical(exhibit, pictures[plan.name], turn, plan, folder)
        exported.append(file)
        heads[plan.name] = ship.head_of(plan, own, Trust(nothing, None, {}), file.name, limit=1e9)
    manifest = ship.manifest_of(FULL, folder, exported, heads, teacher=None)
    manifest = msgspec.structs.replace(manifest, version="untrained", review=REVIEW)
    write_manifest(folder, manifest)
