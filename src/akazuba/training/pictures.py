"""Pictures on their way into a network: decoded, as tensors, distorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from akazuba.diagnosis.pixels import Pixels, squashed


@dataclass(frozen=True)
class Distortion:
    """What may happen to a picture of one kind without making it another.

    turns: mirroring and small shifts of tint change nothing (true of skin, false of a chest).
    turn_degrees: at most, either way.
    """

    turns: bool
    turn_degrees: float


def decoded(paths: Sequence[Path], side: int, through: int) -> Pixels:
    """Pictures as (N, side, side, 3), squashed as the engine does it (`diagnosis.pixels`)."""
    stack = np.empty((len(paths), side, side, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            grey = image.mode in ("L", "I;16", "1")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
        stack[index] = squashed(pixels, side, through)
    return stack


def as_input(pictures: Pixels) -> Tensor:
    """uint8 (N, S, S, 3) -> float (N, 3, S, S) in -1..1, as every image encoder takes it."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 128) / 128


def distorted(x: Tensor, how: Distortion, generator: torch.Generator) -> Tensor:
    """Turned, zoomed, shifted, brighter or darker, with more or less contrast, of another tint.

    What is drawn does not depend on the side: encoders of different sides see the same distortion.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(x), *shape, generator=generator)

    angle = uniform(-how.turn_degrees, how.turn_degrees) * (torch.pi / 180)
    zoom = uniform(0.8, 1.1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if how.turns else torch.ones(len(x))
    move = uniform(-0.08, 0.08, 2)
    rows = [
        torch.stack([zoom * mirror * angle.cos(), -zoom * angle.sin(), move[:, 0]], 1),
        torch.stack([zoom * mirror * angle.sin(), zoom * angle.cos(), move[:, 1]], 1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    tint = uniform(0.92, 1.08, 3, 1, 1) if how.turns else torch.ones(len(x), 1, 1, 1)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * uniform(0.8, 1.2, 1, 1, 1) + middle + uniform(-0.15, 0.15, 1, 1, 1)
    return (((x + 1) * tint) - 1).clamp(-1, 1)
