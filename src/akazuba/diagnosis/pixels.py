"""How a picture becomes what the image encoder reads; training uses the same function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def squashed(pixels: Pixels, side: int, through: int) -> Pixels:
    """Squashes a picture (H, W) or (H, W, 3) to (side, side, 3) by way of (through, through).

    through: side of the training pictures. A film of 2,000 px would otherwise reach a network, which
    has only seen films of 128 px, with detail that it cannot place.
    """
    image = Image.fromarray(pixels)
    for target in (through, side):
        if image.size != (target, target):
            image = image.resize((target, target), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small = np.asarray(image)
    return np.repeat(small[:, :, None], 3, axis=2) if small.ndim == 2 else small


def scaled(pixels: Pixels) -> npt.NDArray[np.float32]:
    """uint8 (S, S, 3) -> float32 (1, 3, S, S) in -1..1, as the image encoder takes it."""
    return np.ascontiguousarray(((pixels.astype(np.float32) - 128) / 128).transpose(2, 0, 1)[None])
