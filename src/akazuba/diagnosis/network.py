"""The model that travels: logistic regression or one hidden layer, as one flat vector, trained with numpy
alone.

A terminal's agent has no room for torch; what is federated is the head over features that the box's encoders
give (or a table of values), not the encoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError

Numbers = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Network:
    """features, classes: of the data. hidden: units of the hidden layer (ReLU), 0 for none."""

    features: int
    classes: int = 2
    hidden: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.features <= 100_000 and 2 <= self.classes <= 1000 and 0 <= self.hidden <= 10_000):
            raise InputError("network", "1 or more features and 2 or more classes", str(self))

    @property
    def dimension(self) -> int:
        if not self.hidden:
            return (self.features + 1) * self.classes
        return (self.features + 1) * self.hidden + (self.hidden + 1) * self.classes

    def start(self, seed: int) -> Numbers:
        """(dimension,) zeros without a hidden layer; with one, its weights by He et al. 2015."""
        model = np.zeros(self.dimension, np.float32)
        if self.hidden:
            size = self.features * self.hidden
            spread = np.sqrt(2 / self.features)
            model[:size] = np.random.default_rng(seed).normal(0, spread, size)
        return model

    def scores(self, model: Numbers, inputs: Numbers) -> Numbers:
        """(cases, classes) logits. inputs: (cases, features)."""
        return self._forward(model, inputs)[0]

    def accuracy(self, model: Numbers, inputs: Numbers, labels: Labels) -> float:
        return float(np.mean(self.answers(model, inputs) == labels))

    def answers(self, model: Numbers, inputs: Numbers) -> Labels:
        """(cases,) the likeliest class of each."""
        return np.asarray(self.scores(model, inputs).argmax(1), np.int64)

    def loss(self, model: Numbers, inputs: Numbers, labels: Labels) -> float:
        """Mean cross-entropy, in nats."""
        return float(losses(self.scores(model, inputs), labels).mean())

    def trained(
        self, model: Numbers, inputs: Numbers, labels: Labels, *, steps: int, rate: float, decay: float = 1e-3
    ) -> Numbers:
        """(dimension,) after so many steps of gradient descent on all cases. decay: of the weights (L2)."""
        model = model.astype(np.float32, copy=True)
        targets = np.eye(self.classes, dtype=np.float32)[labels]
        for _ in range(steps):
            model -= np.float32(rate) * (self.gradient(model, inputs, targets) + np.float32(decay) * model)
        return model

    def parts(self, model: Numbers) -> list[Numbers]:
        """Views of the vector: weights (from, to) and biases (to,) of each layer in turn."""
        shapes = (
            [(self.features, self.hidden), (self.hidden,), (self.hidden, self.classes), (self.classes,)]
            if self.hidden
            else [(self.features, self.classes), (self.classes,)]
        )
        parts, place = [], 0
        for shape in shapes:
            size = int(np.prod(shape))
            parts.append(model[place : place + size].reshape(shape))
            place += size
        return parts

    def _forward(self, model: Numbers, inputs: Numbers) -> tuple[Numbers, Numbers]:
        """Logits, and the hidden layer's output (the inputs without one)."""
        parts = self.parts(model)
        inner = np.maximum(inputs @ parts[0] + parts[1], 0) if self.hidden else inputs
        return inner @ parts[-2] + parts[-1], inner

    def gradient(self, model: Numbers, inputs: Numbers, targets: Numbers) -> Numbers:
        """(dimension,) of the mean cross-entropy. targets: (cases, classes) probabilities."""
        logits, inner = self._forward(model, inputs)
        error = (softmax(logits) - targets) / np.float32(len(targets))
        last = [(inner.T @ error).ravel(), error.sum(0)]
        if not self.hidden:
            return np.concatenate(last)
        back = (error @ self.parts(model)[2].T) * (inner > 0)
        return np.concatenate([(inputs.T @ back).ravel(), back.sum(0), *last])


def losses(logits: Numbers, labels: Labels) -> Numbers:
    """(cases,) cross-entropy of each, in nats."""
    chances = softmax(logits)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(chances, 1e-12)), np.float32)


def softmax(logits: Numbers) -> Numbers:
    """(cases, classes) probabilities."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
