"""MobileNet V1 in torch, started from the ImageNet weights of an 8-bit TFLite file.

Howard et al. 2017 (arXiv:1704.04861): one 3x3 convolution, then 13 blocks of a depthwise 3x3 and a
pointwise 1x1 convolution, each with its batch normalisation folded in and followed by ReLU6. The
8-bit weights become real numbers by `scale * (stored - zero_point)` (Jacob et al. 2018,
arXiv:1712.05877, eq. 1); activations of the file span 0 to 6, so ReLU6 is all that is left of them.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tflite
import torch
from torch import Tensor, nn

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Stride of each block's depthwise convolution; 224 px become 7 x 7 cells of 32 px."""


class _Convolution(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, and ReLU6.

    At stride 2 on an even side, TensorFlow pads only below and to the right, which torch's
    symmetric `padding` cannot say.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.stride, self.groups = stride, groups
        self.side = int(weight.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        if self.side == 3 and self.stride == 2:
            x, padding = nn.functional.pad(x, (0, 1, 0, 1)), 0
        else:
            padding = self.side // 2
        x = nn.functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return nn.functional.hardtanh(x, 0.0, 6.0)


class MobileNet(nn.Module):
    """Pictures (B, 3, S, S) in -1..1 -> cells (B, (S/32)², C), row by row from the top left.

    C is 1,024 times the width multiplier of the file (1.0, 0.5 …).
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        layers = read_tflite(path)
        steps = [_Convolution(*_as_torch(*layers[0], depthwise=False), stride=2, groups=1)]
        for stride, depthwise, pointwise in zip(STRIDES, layers[1::2], layers[2::2], strict=True):
            weight, bias = _as_torch(*depthwise, depthwise=True)
            steps.append(_Convolution(weight, bias, stride, groups=len(weight)))
            steps.append(_Convolution(*_as_torch(*pointwise, depthwise=False), stride=1, groups=1))
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x, 0), 0)

    def lower(self, x: Tensor, blocks: int) -> Tensor:
        """The first convolution and the first `blocks` blocks: what stays frozen in training."""
        for step in self.steps[: 1 + 2 * blocks] if blocks else ():
            x = step(x)
        return x

    def upper(self, x: Tensor, blocks: int) -> Tensor:
        """Everything after `lower(x, blocks)`."""
        for step in self.steps[1 + 2 * blocks :] if blocks else self.steps:
            x = step(x)
        return x.flatten(2).transpose(1, 2)

    def places(self, low: Tensor) -> Tensor:
        """(B, C, places of the picture)."""
        return low.flatten(2)

    def lower_parameters(self, blocks: int) -> list[nn.Parameter]:
        """What `lower` reads."""
        return list(self.steps[: 1 + 2 * blocks].parameters()) if blocks else []


def read_tflite(path: Path) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Weights and biases of the convolutions of a MobileNet V1 TFLite file, as real numbers, in order.

    Weight shapes are TensorFlow's: (out, height, width, in), depthwise (1, height, width, channels).
    """
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)

    def real(index: int, dtype: type[np.generic]) -> npt.NDArray[np.float32]:
        tensor = graph.Tensors(index)
        stored = model.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype).reshape(tensor.ShapeAsNumpy())
        quantization = tensor.Quantization()
        shifted = stored.astype(np.float32) - np.float32(quantization.ZeroPoint(0))
        return np.asarray(shifted * np.float32(quantization.Scale(0)), np.float32)

    layers = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if operator.InputsLength() == 3:  # a convolution: input, weight, bias
            layers.append((real(operator.Inputs(1), np.uint8), real(operator.Inputs(2), np.int32)))
    return layers[: 1 + 2 * len(STRIDES)]  # the classifier of a full network is left out


def _as_torch(
    weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], *, depthwise: bool
) -> tuple[Tensor, Tensor]:
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(weight.transpose(order))), torch.from_numpy(bias.copy())
