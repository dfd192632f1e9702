"""From trained networks to ONNX graphs in 8 bits that onnxruntime reads without torch."""

# mypy: disallow-subclassing-any=False
# (torch and onnxruntime are not followed by mypy, so that nn.Module and the like are Any to it)
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
import onnx.helper
import onnx.numpy_helper
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from akazuba.diagnosis.pixels import scaled
from akazuba.diagnosis.runtime import Graph
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training.fit import Trained
from akazuba.training.network import MAX_PIECES, WIDTH, ImageHead

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

INPUTS = {
    "image": ("picture",),
    "note": ("pieces", "piece_mask"),
    "fusion": ("cells", "cell_mask", "words", "word_mask"),
    "head": ("cells", "cell_mask"),
}
"""Part -> its input names. A kind without notes has a "head" where another has a "fusion"."""

CALIBRATION_PICTURES = 96
"""Pictures that set the ranges of the 8-bit activations."""


def parts_of(trained: Trained) -> tuple[str, ...]:
    """The graphs that a trained kind consists of."""
    return ("image", "head") if isinstance(trained.head, ImageHead) else ("image", "note", "fusion")


def export_float(trained: Trained, folder: Path, side: int) -> dict[str, Path]:
    """Writes each part as a float32 graph PART.float.onnx and returns the paths by part."""
    cells = (side // 32) ** 2
    ones = torch.ones(3, 5)
    examples: dict[str, tuple[nn.Module | None, tuple[torch.Tensor, ...]]] = {
        "image": (trained.encoder, (torch.zeros(1, 3, side, side),)),
        "note": (trained.reader, (torch.zeros(3, 5, dtype=torch.long), ones)),
        "head": (trained.head, (torch.zeros(1, cells, 1024), torch.ones(3, cells))),
        "fusion": (
            trained.head,
            (torch.zeros(1, cells, 1024), torch.ones(3, cells), torch.zeros(3, 5, WIDTH), ones),
        ),
    }
    free = {
        "pieces": {0: "notes", 1: "pieces"},
        "piece_mask": {0: "notes", 1: "pieces"},
        "cells": {0: "pictures"},
        "cell_mask": {0: "masks"},
        "words": {0: "notes", 1: "pieces"},
        "word_mask": {0: "masks", 1: "pieces"},
    }
    outputs = {"image": ["cells", "texture"], "note": ["words"], "fusion": ["parts"], "head": ["parts"]}
    paths = {}
    for part in parts_of(trained):
        module, inputs = examples[part]
        paths[part] = folder / f"{part}.float.onnx"
        torch.onnx.export(
            module,
            inputs,
            str(paths[part]),
            input_names=list(INPUTS[part]),
            output_names=outputs[part],
            dynamic_axes={name: free[name] for name in INPUTS[part] if name in free},
            opset_version=17,
            dynamo=False,
        )
    return paths


def quantised(paths: dict[str, Path], folder: Path, pictures: Pixels) -> dict[str, Path]:
    """Writes each part as it is shipped, PART.onnx, and returns the paths by part.

    The image encoder computes in 8 bits, per channel, calibrated on `pictures` (N, S, S, 3). The other
    parts are small and compute in float32: activations quantised as they come would make one note's
    answer depend on its padding and on its neighbours in a batch.
    """
    out = {part: folder / f"{part}.onnx" for part in paths}
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(paths["image"]), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out["image"]),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Clip"],
        )
    for part in set(paths) - {"image"}:
        _store_in_16_bits(paths[part], out[part])
    return out


def _store_in_16_bits(source: Path, target: Path, least_size: int = 1024) -> None:
    """Stores weights as float16; onnxruntime turns them back into float32 once, when it opens the graph."""
    model = onnx.load(str(source))
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < least_size:
            kept.append(tensor)
            continue
        name = f"{tensor.name}.float16"
        kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


class _Pictures(CalibrationDataReader):
    """Feeds pictures to the calibration of activations, one at a time."""

    def __init__(self, pictures: Pixels) -> None:
        self._feed: Iterator[dict[str, npt.NDArray[np.float32]]] = ({"picture": scaled(p)} for p in pictures)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._feed, None)


def parameters_of(path: Path) -> int:
    """Numbers in the initialisers of a float graph."""
    return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(str(path)).graph.initializer)


def scores_of(
    graphs: Mapping[str, Graph], pictures: Pixels, notes: Sequence[str], pieces: WordPiece | None
) -> tuple[dict[str, Floats], npt.NDArray[np.float32]]:
    """Scores (N, L) by mode and textures (N, 512), one picture at a time as the engine runs them."""
    head = graphs.get("fusion") or graphs["head"]
    rows: dict[str, list[npt.NDArray[np.float32]]] = {}
    textures = []
    for index, picture in enumerate(pictures):
        cells, texture = graphs["image"](picture=scaled(picture))
        textures.append(texture[0])
        mask = np.ones((1, cells.shape[1]), np.float32)
        if pieces is None:
            rows.setdefault("image", []).append(head(cells=cells, cell_mask=mask)[0][:, 0])
            continue
        ids = np.array([pieces.split(notes[index], MAX_PIECES).ids], np.int64)
        open_ = np.ones(ids.shape, np.float32)
        words = graphs["note"](pieces=ids, piece_mask=open_)[0]
        parts = head(cells=cells, cell_mask=mask, words=words, word_mask=open_)[0]
        for mode, scores in (("fused", parts.sum(1)), ("image", parts[:, 0]), ("text", parts[:, 1])):
            rows.setdefault(mode, []).append(scores)
    return {mode: np.concatenate(list_).astype(np.float64) for mode, list_ in rows.items()}, np.stack(
        textures
    )
