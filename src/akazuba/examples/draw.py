"""Draws the images of the example cases: `python -m akazuba.examples.draw` writes them beside this file.

They are SYNTHETIC: numpy arithmetic, no photograph and no patient behind them. They are made to pass
the box's image checks, so that the demonstration runs through every step; what a model says of a
drawing has no medical meaning.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.float64]

SIDE = 448
_ROWS: Pixels
_COLUMNS: Pixels
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE] / SIDE


def main() -> None:
    folder = Path(__file__).parent
    for name, pixels in {
        "synthetic-skin-arm.jpg": skin(seed=1, lesion=(96, 66, 56), radius=0.17, ragged=0.05, mottle=0.5),
        "synthetic-skin-face.jpg": skin(seed=2, lesion=(196, 110, 96), radius=0.14, ragged=0.10, mottle=0.9),
        "synthetic-chest-child.png": chest(seed=3, opacity=0.45),
        "synthetic-chest-clear.png": chest(seed=4, opacity=0.0),
        "synthetic-too-dark.jpg": 0.06
        * skin(seed=5, lesion=(96, 66, 56), radius=0.17, ragged=0.05, mottle=0.5),
    }.items():
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.filter(ImageFilter.GaussianBlur(0.7)).save(folder / name, quality=88, optimize=True)


def skin(
    seed: int, lesion: tuple[float, float, float], radius: float, ragged: float, mottle: float
) -> Pixels:
    """A patch of skin with one lesion in its middle.

    lesion: RGB colour, 0 to 255; radius: share of the side; ragged: amplitude of the border's waves;
    mottle: how uneven the colour inside is, 0 to 1.
    """
    rng = np.random.default_rng(seed)
    light = 1.06 - 0.25 * ((_COLUMNS - 0.3) ** 2 + (_ROWS - 0.25) ** 2)
    texture = 7 * _noise(rng, 4) + 3 * _noise(rng, 16) + 5 * _noise(rng, 64) + 5 * _noise(rng, 200)
    pixels = np.array([204.0, 156.0, 132.0]) * light[..., None] + texture[..., None] * np.array(
        [1.0, 0.9, 0.8]
    )
    pixels += 10 * _noise(rng, 5)[..., None] * np.array([0.6, -0.5, -0.4])  # uneven redness

    y, x = _ROWS - 0.5, _COLUMNS - 0.5
    angle = np.arctan2(y, x)
    border = np.full_like(angle, radius)
    for waves in range(2, 9):
        border += ragged * radius * rng.normal() * np.cos(waves * angle + rng.uniform(0, 6.3))
    distance = np.hypot(y * 1.15, x) + 0.02 * _noise(rng, 20)
    inside = 1 / (1 + np.exp((distance - border) / 0.012))
    colour = np.array(lesion) * (1 + mottle * 0.3 * (_noise(rng, 9) + 0.5 * _noise(rng, 40)))[..., None]
    pixels = pixels * (1 - inside[..., None]) + (colour + texture[..., None]) * inside[..., None]

    for _ in range(26):  # hairs
        _stroke(pixels, rng, -60.0)
    return np.asarray(pixels)


def _stroke(pixels: Pixels, rng: np.random.Generator, change: float) -> None:
    """Adds one fine curved line."""
    start, heading, bend = rng.uniform(0, 1, 2), rng.uniform(0, 6.3), rng.normal() * 2.0
    steps = np.linspace(0, rng.uniform(0.06, 0.2), 160)
    line = np.stack(
        [
            start[0] + steps * np.sin(heading + bend * steps),
            start[1] + steps * np.cos(heading + bend * steps),
        ],
        1,
    )
    places = np.unique((line * SIDE).astype(int), axis=0)
    places = places[((places >= 0) & (places < SIDE)).all(1)]
    pixels[places[:, 0], places[:, 1]] += change


def chest(seed: int, opacity: float) -> Pixels:
    """A frontal chest film of a child; opacity: strength of a shadow in the right lower zone, 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = _ROWS, _COLUMNS
    body = _blob(y, x, 0.62, 0.5, 0.62, 0.45, 0.03)
    pixels = 18 + 150 * body
    pixels += 40 * _blob(y, x, 0.07, 0.5, 0.2, 0.1, 0.05)  # neck
    pixels += 35 * (_blob(y, x, 0.16, 0.2, 0.1, 0.22, 0.06) + _blob(y, x, 0.16, 0.8, 0.1, 0.22, 0.06))

    right = _blob(y, x, 0.46, 0.315, 0.285, 0.135, 0.022)
    left = _blob(y, x, 0.45, 0.685, 0.275, 0.13, 0.022)
    pixels -= 112 * np.maximum(right, left)
    pixels += 62 * _blob(y, x, 0.54, 0.565, 0.15, 0.135, 0.025)  # heart
    pixels += 45 * _blob(y, x, 0.3, 0.515, 0.13, 0.05, 0.03)  # great vessels
    pixels += 34 * np.exp(-(((x - 0.5) / 0.032) ** 2)) * (y > 0.02)  # spine
    pixels += 8 * np.sin(y * 95) * np.exp(-(((x - 0.5) / 0.03) ** 2))
    pixels += (
        55 / (1 + np.exp(-(y - 0.735 - 0.35 * (np.abs(x - 0.5) - 0.2) ** 2) / 0.012)) * body
    )  # diaphragm

    for side in (-1, 1):
        for rib in range(8):
            height = 0.2 + rib * 0.072
            out = np.clip(np.abs(x - 0.5) / 0.4, 0, 1.2)
            arc = height + 0.1 * out**2 - 0.035 * np.sin(out * 3.1)
            on = ((x - 0.5) * side > 0.02) & (out < 1.0)
            pixels += 19 * np.exp(-(((y - arc) / 0.0095) ** 2)) * on * body
        clavicle = 0.155 + 0.05 * np.abs(x - 0.5)
        pixels += (
            30
            * np.exp(-(((y - clavicle) / 0.012) ** 2))
            * ((x - 0.5) * side > 0.04)
            * (np.abs(x - 0.5) < 0.34)
        )

    for centre in (0.42, 0.585):  # hila and vessels
        pixels += 26 * _blob(y, x, 0.45, centre, 0.07, 0.035, 0.03)
    pixels += 7 * np.maximum(right, left) * _noise(rng, 14)
    shadow = _blob(y, x, 0.6, 0.33, 0.115, 0.1, 0.05) * (1 + 0.35 * _noise(rng, 10))
    pixels += 140 * opacity * shadow
    return pixels + 3.0 * _noise(rng, 150) + 3.0 * _noise(rng, 300)


def _blob(y: Pixels, x: Pixels, cy: float, cx: float, ry: float, rx: float, soft: float) -> Pixels:
    """1 inside an ellipse, 0 outside, with a border `soft` wide."""
    scale = min(ry, rx)
    distance = (np.hypot((y - cy) / ry, (x - cx) / rx) - 1) * scale
    return np.asarray(1 / (1 + np.exp(np.clip(distance / soft * 3, -60, 60))))


def _noise(rng: np.random.Generator, cells: int) -> Pixels:
    """Smooth noise of unit spread with about `cells` bumps across."""
    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
    return np.asarray((smooth - smooth.mean()) / smooth.std())


if __name__ == "__main__":
    main()
