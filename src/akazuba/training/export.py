"""From trained networks to ONNX graphs in 8 bits that onnxruntime reads without torch.

Every profile is stored in 8 bits, so that sizes can be compared. Convolutions compute in 8 bits with ranges
calibrated on pictures, and so do the matrix products of large graphs, with ranges taken as they come. Small
graphs compute in float32: activations quantised as they come make a note's answer depend, a little, on its
padding and on its neighbours in a batch.
"""

# mypy: disallow-subclassing-any=False
# (torch and onnxruntime are not followed by mypy, so that nn.Module and the like are Any to it)
from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

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
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from akazuba.diagnosis.graphs import FUSION_INPUTS, HEAD_INPUTS, IMAGE_INPUTS, NOTE_INPUTS, Table
from akazuba.diagnosis.pixels import Pixels, scaled
from akazuba.training.fit import Trained
from akazuba.training.mobilenet import MobileNet
from akazuba.training.network import Fusion, NoteReader
from akazuba.training.vit import VisionTransformer

CALIBRATION_PICTURES = 48
"""Pictures of each kind that set the ranges of a convolution's 8-bit activations."""

LARGE = 1_000_000
"""Parameters from which a graph of matrix products computes in 8 bits."""

IMAGE, NOTE, TABLE, VOCABULARY = "image.onnx", "notes.onnx", "notes.table", "vocabulary.txt"


@dataclass(frozen=True)
class Exported:
    """A file that was written. inputs: of a graph. parameters: numbers learned that it holds."""

    name: str
    inputs: tuple[str, ...] = ()
    parameters: int = 0


def head_file(name: str) -> str:
    """File of a head's graph."""
    return f"{name}.onnx"


def export(
    trained: Trained, vocabulary: Sequence[str], pictures: Sequence[Pixels], folder: Path
) -> list[Exported]:
    """Writes every graph of a network, its table of word pieces and the vocabulary.

    pictures: of each kind, (N, S, S, 3) at the side that the encoder sees.
    """
    network = copy.deepcopy(trained.network).eval()
    done: list[Exported] = []
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / IMAGE
        _graph(network.encoder, (torch.zeros(1, 3, 224, 224),), plain, IMAGE_INPUTS, ["cells", "texture"])
        if isinstance(network.encoder.net, MobileNet):
            _compute_calibrated(plain, folder / IMAGE, pictures)
            done.append(Exported(IMAGE, IMAGE_INPUTS, parameters_of(plain)))
        else:
            done += _stored(plain, folder, IMAGE, IMAGE_INPUTS)

        reader = cast("NoteReader", network.reader)
        plain = Path(scratch) / NOTE
        width = reader.table.shape[1]
        inputs = (torch.zeros(3, 5, width), torch.ones(3, 5))
        _graph(network.reader, inputs, plain, NOTE_INPUTS, ["words"])
        done += _stored(plain, folder, NOTE, NOTE_INPUTS)
        table = reader.table.detach().numpy()
        (folder / TABLE).write_bytes(Table.stored(table))
        done.append(Exported(TABLE, parameters=table.size))

        for name in network.heads:
            file = head_file(name.replace("/", "."))
            head = network.heads[name]
            plain = Path(scratch) / file
            cells = (torch.zeros(1, 9, trained.profile.cell_width), torch.ones(3, 9))
            words = (torch.zeros(3, 5, width), torch.ones(3, 5))
            if isinstance(head, Fusion):
                _graph(head, (*cells, *words), plain, FUSION_INPUTS, ["parts", "fits"])
                done += _stored(plain, folder, file, FUSION_INPUTS)
            else:
                _graph(head, cells, plain, HEAD_INPUTS, ["parts"])
                done += _stored(plain, folder, file, HEAD_INPUTS)
    (folder / VOCABULARY).write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return [*done, Exported(VOCABULARY)]


_FREE = {
    "picture": {2: "height", 3: "width"},
    "rows": {0: "notes", 1: "pieces"},
    "row_mask": {0: "notes", 1: "pieces"},
    "cells": {0: "pictures", 1: "cells"},
    "cell_mask": {0: "cell_masks", 1: "cells"},
    "words": {0: "notes", 1: "pieces"},
    "word_mask": {0: "word_masks", 1: "pieces"},
}
"""Which sides of an input may differ from run to run."""


def _graph(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    names: tuple[str, ...],
    outputs: list[str],
) -> None:
    if isinstance(net := getattr(module, "net", None), VisionTransformer):
        net.fold_scales()
    torch.onnx.export(
        module,
        inputs,
        str(path),
        input_names=list(names),
        output_names=outputs,
        dynamic_axes={name: _FREE[name] for name in names},
        opset_version=17,
        dynamo=False,
        custom_opsets={"com.microsoft": 1},
    )


def _stored(plain: Path, folder: Path, name: str, inputs: tuple[str, ...]) -> list[Exported]:
    """Stores a graph of matrix products: a large one computes in 8 bits and keeps its weights in a file of
    their own, which onnxruntime maps instead of reading; a small one is only stored in 8 bits.
    """
    parameters = parameters_of(plain)
    if parameters < LARGE:
        _store_in_8_bits(plain, folder / name)
        return [Exported(name, inputs, parameters)]
    _compute_in_8_bits(plain, folder / name)
    weights = Path(name).with_suffix(".weights").name
    (folder / weights).unlink(missing_ok=True)
    onnx.save(
        onnx.load(str(folder / name)),
        str(folder / name),
        save_as_external_data=True,
        location=weights,
        size_threshold=1024,
    )
    (folder / weights).chmod(0o644)  # onnx writes it for its owner alone
    return [Exported(name, inputs, parameters), Exported(weights)]


def _compute_calibrated(source: Path, target: Path, pictures: Sequence[Pixels]) -> None:
    """Convolutions in 8 bits a channel, activations in 8 bits by ranges that `pictures` set once."""
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Clip"],
        )
    onnx.save(_slim(onnx.load(str(target))), str(target))


def _compute_in_8_bits(source: Path, target: Path) -> None:
    """Weights in 8 bits a channel, activations in 8 bits by the range that each run finds."""
    quantize_dynamic(
        str(source),
        str(target),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Conv"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT, "MatMulConstBOnly": True},
    )


def _store_in_8_bits(source: Path, target: Path, least_size: int = 512) -> None:
    """Stores matrices in 8 bits a row or column, whichever loses less; an open graph has them in float32."""
    model = onnx.load(str(source))
    graph = model.graph
    kept, steps = [], []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim != 2 or values.size < least_size:
            kept.append(tensor)
            continue
        small, scale = _in_8_bits(values)
        name = tensor.name
        kept.append(onnx.numpy_helper.from_array(small, f"{name}.int8"))
        kept.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
        steps.append(
            onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT)
        )
        steps.append(onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
    nodes = [*steps, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(_slim(model), str(target))


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shortens names within the graph and drops what says nothing: a twentieth of a small file.

    A bias in 32 bits has the zero point 0 by the standard, so that its thousand noughts can go.
    """
    graph = model.graph
    kept = {"", *(value.name for value in (*graph.input, *graph.output))}
    noughts = {t.name for t in graph.initializer if t.name.endswith("bias_quantized_zero_point")}
    short: dict[str, str] = {}

    def named(name: str) -> str:
        return name if name in kept else short.setdefault(name, f"{len(short):x}")

    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[-1] in noughts:
            del node.input[-1]
        node.name = node.doc_string = ""
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    tensors = [tensor for tensor in graph.initializer if tensor.name not in noughts]
    for tensor in tensors:
        tensor.name = named(tensor.name)
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(tensors)
    onnx.checker.check_model(model)
    return model


def _in_8_bits(
    values: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Whole numbers and the scale (a row or a column) that they are multiplied by."""
    found = []
    for axis in (0, 1):
        scale = (np.abs(values).max(axis=axis, keepdims=True) / 127).clip(1e-12).astype(np.float32)
        small = np.rint(values / scale).astype(np.int8)
        found.append((float(((small * scale - values) ** 2).sum()), small, scale))
    _, small, scale = min(found, key=lambda item: item[0])
    return small, scale


class _Pictures(CalibrationDataReader):
    """Feeds pictures of every kind to the calibration of activations, one at a time."""

    def __init__(self, pictures: Sequence[Pixels]) -> None:
        self._feed: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {"picture": scaled(picture)}
            for stack in pictures
            for picture in stack[:: max(1, len(stack) // CALIBRATION_PICTURES)][:CALIBRATION_PICTURES]
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._feed, None)


def parameters_of(path: Path) -> int:
    """Numbers in the float initialisers of a graph that is not quantised."""
    tensors = onnx.load(str(path)).graph.initializer
    return sum(int(np.prod(t.dims)) for t in tensors if t.data_type == onnx.TensorProto.FLOAT)
