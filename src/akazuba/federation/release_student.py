"""The student: a small network taught by the aggregated one, and its int8 numbers as they are shipped.

FedDF (Lin et al. 2020): its targets are the softened mean of the teachers' logits on PUBLIC or SYNTHETIC
inputs. No case of a terminal and no label is part of it, so what the teacher's noise promises holds for the
student.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.diagnosis.network import Network, softmax
from akazuba.errors import InputError
from akazuba.federation.optimisers import Optimiser
from akazuba.federation.updates import Numbers

TIMES_SMALLER = 10
"""So many times fewer numbers than the teacher has a student, at least."""


class Lesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """temperature: by which the logits are divided. steps, batch, rate: of Adam, whose rate falls to 0
    evenly. seed: of the start and of the batches. Defaults chosen on drawn worlds with seeds from 900 on.
    """

    temperature: Annotated[float, Meta(ge=0.1, le=100)] = 4.0
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 1500
    batch: Annotated[int, Meta(ge=1, le=100_000)] = 128
    rate: Annotated[float, Meta(gt=0, le=1)] = 0.003
    seed: Annotated[int, Meta(ge=0, le=1 << 31)] = 0


class Int8(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """codes: int8, the weights layer by layer, each (from, to) in C order. scales, biases: float32,
    little-endian, one for each unit that weights lead to.
    """

    codes: bytes
    scales: bytes
    biases: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.codes) + len(self.scales) + len(self.biases)


def distilled(
    teacher: Network, models: Sequence[Numbers], student: Network, inputs: Numbers, lesson: Lesson
) -> Numbers:
    """(student.dimension,) float32. models: (teacher.dimension,) each; the aggregated one, and gateways' if
    there are any. inputs: (cases, features). From the same arguments the same numbers.

    Raises InputError for a student of other features or classes, or one that is not small enough.
    """
    if (student.features, student.classes) != (teacher.features, teacher.classes):
        raise InputError("student", f"features and classes of {teacher}", str(student))
    if student.dimension * TIMES_SMALLER > teacher.dimension:
        most = teacher.dimension // TIMES_SMALLER
        expected = f"{most} numbers at most, a tenth of the teacher's {teacher.dimension}"
        raise InputError("student", expected, f"{student.dimension}")
    logits = np.mean([teacher.scores(model, inputs) for model in models], axis=0)
    targets = softmax(logits / np.float32(lesson.temperature))
    random, adam = np.random.default_rng([lesson.seed, 20]), Optimiser("adam", lesson.rate, 0.9, 0.999, 1e-6)
    model, moments = student.start(lesson.seed), adam.start(student.dimension)
    for step in range(lesson.steps):
        rows = random.integers(0, len(inputs), lesson.batch)
        slope = student.gradient(model, inputs[rows], targets[rows])
        moments, change = adam.step(moments, -slope)
        model = model + np.float32(1 - step / lesson.steps) * change
    for part in student.parts(model)[-2:]:
        np.multiply(part, np.float32(lesson.temperature), out=part)  # it learned logits over the temperature
    return model


def quantised(network: Network, model: Numbers) -> Int8:
    """Each unit's weights in 255 steps of their own: off by at most half of one. Biases stay as they are.

    Raises InputError for numbers that are not finite.
    """
    if model.shape != (network.dimension,) or not np.isfinite(model).all():
        raise InputError(
            "student", f"{network.dimension} finite numbers", f"{model.shape}, or NaN or infinity"
        )
    parts = network.parts(model)
    scales = [
        np.maximum(np.abs(weights).max(0) / np.float32(127), np.float32(1e-30)) for weights in parts[::2]
    ]
    codes = [np.rint(part / scale).astype(np.int8) for part, scale in zip(parts[::2], scales, strict=True)]
    return Int8(
        b"".join(one.tobytes() for one in codes),
        np.concatenate(scales).astype("<f4").tobytes(),
        np.concatenate(parts[1::2]).astype("<f4").tobytes(),
    )


def dequantised(network: Network, coded: Int8) -> Numbers:
    """(network.dimension,) float32: one multiplication a weight, so every box has the same bits.

    Raises InputError for bytes of another network, and for numbers that are not finite.
    """
    model = np.zeros(network.dimension, np.float32)
    parts = network.parts(model)
    units = sum(map(len, parts[1::2]))
    sizes = (len(coded.codes), len(coded.scales), len(coded.biases))
    if sizes != (expected := (network.dimension - units, 4 * units, 4 * units)):
        raise InputError("student", f"bytes of weights, scales and biases {expected}", str(sizes))
    codes = np.frombuffer(coded.codes, np.int8)
    scales, biases = (np.frombuffer(data, "<f4") for data in (coded.scales, coded.biases))
    with np.errstate(over="ignore", invalid="ignore"):
        for weights, bias in zip(parts[::2], parts[1::2], strict=True):
            weights[:] = codes[: weights.size].reshape(weights.shape) * scales[: bias.size]
            bias[:] = biases[: bias.size]
            codes, scales, biases = codes[weights.size :], scales[bias.size :], biases[bias.size :]
    if not np.isfinite(model).all():
        raise InputError("student", "finite numbers", "NaN or infinity")
    return model
