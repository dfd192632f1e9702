"""Which heatmap is the more faithful one? The deletion test.

    python benchmarks/heatmaps.py [--quick] [--json] [--data ../shared/data]

Real development pictures are read; regions of the picture are blanked in the order in which a heatmap says
that they speak for the leading label, and the picture is read again from the start. A faithful map makes the
label's log-odds fall fast. Figure: mean fall over 10 to 50 % of the regions blanked (Petsiuk et al. 2018,
arXiv:1806.07421), and the paired difference to regions in random order. Compared:

- `occluded`: a region is blanked in the picture and everything is run again (what the engine shows);
- `left_out`: a region's cells are left out behind the image encoder (one batch, an eighth of the time);
- `attention`: how much the note's words look at a region, in the cross-attention (skin only);
- `random`: no map at all.

For words the same with the note: words are deleted in the order of their weight. Blank is the picture's mean
colour.
Intervals: 95 % over pictures. `--quick` takes 40 pictures of each kind instead of 200.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_refusals
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from figures import options_of, tell

from akazuba.diagnosis import artefacts, calibration
from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.diagnosis.explain import log_odds
from akazuba.diagnosis.pixels import Pixels, squashed
from akazuba.diagnosis.runtime import Stop
from akazuba.records import ImageReading, Picture
from akazuba.training import measure

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
Grid = npt.NDArray[np.float64]


def main() -> None:
    parser = options_of(__doc__, "quick: 40 pictures of each kind", "json")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.exit(2, f"error: {arguments.data}: expected the research data, found no such folder\n")
    count = 40 if arguments.quick else 200
    engine = open_engine(threads=2)
    facts: dict[str, Any] = {}
    for kind, folder, age in (
        ("skin-photo", "padufes_skin_clinical", 60.0),
        ("chest-xray", "cxr_paediatric_pneumonia", 4.0),
    ):
        rows = engine_refusals.rows_of(arguments.data / folder)
        random.Random(0).shuffle(rows)
        rows = rows[:count]
        pictures = [
            Picture("p", kind, engine_refusals.opened(arguments.data / folder / row["file"], kind))
            for row in rows
        ]
        notes = [row.get("note", "") for row in rows]
        facts |= {f"{key}_{kind}": value for key, value in deletion(engine, pictures, notes, age).items()}
    tell(facts, arguments, __file__, lines=True)


def deletion(engine: Engine, pictures: list[Picture], notes: list[str], age: float) -> dict[str, Any]:
    maps: dict[str, Callable[[Picture, str, str], Grid]] = {
        "occluded": lambda picture, note, _: np.array(
            engine.read(picture, note, True, age).image.heatmap_grid
        ),
        "left_out": lambda picture, note, label: left_out(engine, picture, note, age, label),
    }
    if notes[0]:
        looking = Attention("skin-photo")
        maps["attention"] = lambda picture, note, _: looking(engine, picture, note)
    falls: dict[str, list[float]] = {name: [] for name in [*maps, "random", "words", "words_random"]}
    seconds = dict.fromkeys(maps, 0.0)
    for picture, note in zip(pictures, notes, strict=True):
        whole = engine.read(picture, note, True, age).image
        if not whole.labels:
            continue
        label, before, side = next(iter(whole.labels)), odds_of(whole), len(whole.heatmap_grid)
        grids = {"random": np.random.default_rng(picture.pixels.size).random((side, side))}
        for name, draw in maps.items():
            start = time.perf_counter()
            grids[name] = draw(picture, note, label)
            seconds[name] += time.perf_counter() - start
        for name, grid in grids.items():
            order = list(np.argsort(-grid.ravel(), kind="stable"))
            after = [
                odds_of(read(engine, blanked(picture, side, o), note, age), label) for o in firsts(order)
            ]
            falls[name].append(before - float(np.mean(after)))
        for name, spans in word_orders(engine, picture, note, age).items() if note else ():
            after = [odds_of(read(engine, picture, without(note, s), age), label) for s in firsts(spans)]
            falls[name].append(before - float(np.mean(after)))
    facts: dict[str, Any] = {f"fall_{name}": mean_of(np.array(v)) for name, v in falls.items() if v}
    for name, other in (
        *((name, "random") for name in maps),
        ("occluded", "left_out"),
        ("words", "words_random"),
    ):
        if falls[name]:
            facts[f"fall_{name}_minus_{other}"] = mean_of(np.array(falls[name]) - np.array(falls[other]))
    return facts | {f"ms_{name}": round(s / len(falls["random"]) * 1e3, 1) for name, s in seconds.items()}


def firsts(order: list[Any]) -> list[list[Any]]:
    """The first 10 to 50 % of an order."""
    return [order[: round(share * len(order))] for share in SHARES]


def mean_of(values: Grid) -> dict[str, float]:
    return measure.bootstrap(
        lambda i: float(values[i].mean()), [str(i) for i in range(len(values))]
    ).as_dict()


def read(engine: Engine, picture: Picture, note: str, age: float) -> ImageReading:
    """Without the check of typicality, which a blanked picture would fail."""
    head, seen, cells, pieces = opened(engine, picture, note, age)
    with Stop(60.0) as stop:
        return engine._answer(head, picture, seen, cells, note, pieces, False, stop).image


def opened(engine: Engine, picture: Picture, note: str, age: float) -> tuple[Any, Pixels, Any, Any]:
    """The head for an age, the picture as the encoder sees it, its cells, and the note's pieces."""
    kind = engine._kinds[picture.kind]
    head = kind.head_for(age)
    if isinstance(head, str):
        raise SystemExit(f"error: {picture.kind}: expected a head for {age:g} years, found none ({head})")
    seen = squashed(picture.pixels, kind.facts.side, kind.facts.through)
    pieces = engine._graphs.note.split(note) if head.facts.reads_note else None
    return head, seen, engine._graphs.look(seen)[0], pieces


def odds_of(image: ImageReading, label: str | None = None) -> float:
    probability = image.labels[label or next(iter(image.labels))]
    return float(log_odds(np.array([probability]))[0])


def blanked(picture: Picture, side: int, regions: Any) -> Picture:
    pixels = picture.pixels.copy()
    mean = pixels.reshape(-1, *pixels.shape[2:]).mean(0).astype(np.uint8)
    rows = np.linspace(0, pixels.shape[0], side + 1).astype(int)
    columns = np.linspace(0, pixels.shape[1], side + 1).astype(int)
    for region in regions:
        row, column = divmod(int(region), side)
        pixels[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = mean
    return Picture(picture.path, picture.kind, pixels)


def left_out(engine: Engine, picture: Picture, note: str, age: float, label: str) -> Grid:
    head, _, cells, pieces = opened(engine, picture, note, age)
    count = cells.shape[1]
    masks = np.vstack([np.ones(count), 1 - np.eye(count)]).astype(np.float32)
    inputs = {"cells": cells, "cell_mask": masks}
    if head.facts.reads_note:
        ids = pieces.ids if pieces else (0,)
        read_mask = np.ones((1, len(ids)), np.float32)
        said = read_mask * np.float32(pieces is not None)
        inputs |= {"words": engine._graphs.note(ids, read_mask), "word_mask": said}
    parts = head.graph(None, **inputs)[0].astype(np.float64)
    parts = parts if pieces or not head.facts.reads_note else parts[:, :1]
    fitted = head.calibration(pieces)
    probability = calibration.probabilities(parts, np.array(head.facts.prior), fitted.weights)
    odds = log_odds(probability[:, head.facts.labels.index(label)])
    side = round(count**0.5)
    return np.asarray((odds[0] - odds[1:]).reshape(side, side))


class Attention:
    """The cross-attention from the note to the picture, read out of the shipped graph."""

    def __init__(self, kind: str) -> None:
        folder = artefacts.SHIPPED / "student"
        head = next(iter(artefacts.read_manifest(folder).kinds[kind].heads.values()))
        model = onnx.load(str(folder / head.graph))
        nodes = [node for node in model.graph.node if node.op_type == "MultiHeadAttention"]
        self._heads = next(a.i for a in nodes[0].attribute if a.name == "num_heads")
        self._names = [name for node in nodes for name in node.input[:2]]
        for name in self._names:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False  # the engine has set up a pool for the whole process
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def __call__(self, engine: Engine, picture: Picture, note: str) -> Grid:
        _, _, cells, pieces = opened(engine, picture, note, 60.0)
        ids = pieces.ids if pieces else (0,)
        read_mask = np.ones((1, len(ids)), np.float32)
        found = self._session.run(
            self._names,
            {
                "cells": cells,
                "cell_mask": np.ones((1, cells.shape[1]), np.float32),
                "words": engine._graphs.note(ids, read_mask),
                "word_mask": read_mask,
            },
        )
        # Of the two directions, the one that looks at the cells (with a learned token in front of them).
        q, k = next(
            (q, k)
            for q, k in zip(found[::2], found[1::2], strict=True)
            if k.shape[1] == cells.shape[1] + 1 and q.shape[1] != k.shape[1]
        )
        q, k = (x[0].reshape(x.shape[1], self._heads, -1).transpose(1, 0, 2) for x in (q, k))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        looked_at = weights.mean((0, 1))[1:]  # the first is the learned token in front of the cells
        side = round(len(looked_at) ** 0.5)
        return np.asarray(looked_at.reshape(side, side), np.float64)


def word_orders(engine: Engine, picture: Picture, note: str, age: float) -> dict[str, list[tuple[int, int]]]:
    weights = engine.read(picture, note, True, age).token_attribution
    spans = [weight.span for weight in weights]
    ordered = [w.span for w in sorted(weights, key=lambda w: -w.weight)]
    random.Random(0).shuffle(spans)
    return {"words": ordered, "words_random": spans}


def without(note: str, spans: list[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        note = note[:start] + note[end:]
    return note


if __name__ == "__main__":
    main()
