"""Whether a picture can be judged at all, before any model sees it.

Everything is measured on a copy of 128 x 128 pixels (grey, except for colour), so that one limit serves
a phone photo and a thumbnail alike. The limits in `LIMITS` were set on development photos so that at
most 1 % of real ones are refused; `benchmarks/quality.py` prints that share and how many degraded
copies are refused. The skin photos are mostly of light skin, so their limit for "dark" stands far
below everything seen there: a well lit photo of dark skin must pass (not yet measured).

Blur: variance of the Laplacian (Pertuz et al. 2013, "Analysis of focus measure operators", LAPV).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from akazuba.records import QualityProblem

SIDE = 128


@dataclass(frozen=True)
class Limits:
    """What one kind of picture must keep to.

    side_px: shortest side, at least. dark, bright: mean grey (0 to 255), at least and at most.
    contrast: range from the 1st to the 99th percentile of grey, at least.
    sharp: variance of the Laplacian, at least. noise: that variance by the variance of grey, at most.
    colour_low, colour_high: mean of (largest - smallest of R, G, B), at least and at most.
    """

    side_px: int
    dark: float
    bright: float
    contrast: float
    sharp: float
    noise: float
    colour_low: float
    colour_high: float


LIMITS = {
    "skin-photo": Limits(64, 40, 222, 20, 12, 12, 3, 256),
    "chest-xray": Limits(64, 60, 205, 45, 22, 5, 0, 20),
}

OTHER_KINDS = Limits(64, 20, 240, 10, 4, 15, 0, 256)
"""For a plugin's kind: only what no picture survives."""

_AGAIN = {
    "skin-photo": "take the photo again",
    "chest-xray": "photograph or export the film again",
}


def problems(pixels: npt.NDArray[np.uint8], kind: str) -> tuple[QualityProblem, ...]:
    """What keeps a picture (as in `Picture`) from being judged, most basic first; empty when nothing does.

    >>> [problem.check for problem in problems(np.zeros((200, 200), np.uint8), "chest-xray")]
    ['dark', 'contrast', 'blurred']
    """
    limits, again = LIMITS.get(kind, OTHER_KINDS), _AGAIN.get(kind, "take the picture again")
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    mean = float(grey.mean())
    shades = np.sort(grey, axis=None)  # np.percentile would import numpy.ma: 50 ms and 2 MiB
    contrast = float(shades[round(0.99 * (shades.size - 1))] - shades[round(0.01 * (shades.size - 1))])
    sharpness = float(_laplacian(grey).var())
    noise = sharpness / max(float(grey.var()), 1e-6)

    found = []
    if (side := min(image.size)) < limits.side_px:
        words = f"Too small ({image.width} x {image.height} pixels): {again} in full size, not as a thumbnail"
        found.append(_problem("small", words, side, limits.side_px))
    if mean < limits.dark:
        found.append(_problem("dark", f"Too dark: {again} by a window or with a lamp", mean, limits.dark))
    if mean > limits.bright:
        words = f"Too bright: {again} without flash and out of direct sun"
        found.append(_problem("bright", words, mean, limits.bright))
    if contrast < limits.contrast:
        words = f"Nothing can be told apart (blank or washed out): {again}"
        found.append(_problem("contrast", words, contrast, limits.contrast))
    if sharpness < limits.sharp:
        words = f"Blurred: hold still, wait until it is in focus and {again}"
        found.append(_problem("blurred", words, sharpness, limits.sharp))
    if noise > limits.noise:
        found.append(_problem("noise", f"Only speckles, no picture: {again}", noise, limits.noise))
    return tuple(found) or _kind_problems(image, kind, limits)


def declared_problems(kind: str, modality: str, body_part: str, frames: int) -> tuple[QualityProblem, ...]:
    """What the file itself says against the kind: a DICOM modality or body part, further frames.

    modality: DICOM PS3.3 C.7.3.1.1.1 ("CR", "DX", "CT" …); body_part: "CHEST" …; "" when not said.
    """
    found = []
    fitting = {
        "chest-xray": ("CR", "DX", "RG", "SC", "OT", "XC"),
        "skin-photo": ("XC", "SC", "OT", "ES", "DMS"),
    }
    if modality and kind in fitting and modality not in fitting[kind]:
        words = (
            f"The file says that it is of modality {modality}, which is no {kind}: choose the right picture"
        )
        found.append(QualityProblem("kind", words))
    chest = any(word in body_part for word in ("CHEST", "THORA", "LUNG"))
    if kind == "chest-xray" and body_part and not chest:
        words = f"The file says that it shows {body_part}, not the chest: choose the right picture"
        found.append(QualityProblem("kind", words))
    if frames > 1:
        words = f"The file holds {frames} pictures: only the first was read"
        found.append(QualityProblem("frames", words, frames, 1, remark=True))
    return tuple(found)


def _kind_problems(image: Image.Image, kind: str, limits: Limits) -> tuple[QualityProblem, ...]:
    small = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    colour = float((small.max(axis=2) - small.min(axis=2)).mean())
    if colour < limits.colour_low:
        words = f"Grey throughout, so it is no {kind}: choose the right picture, or take it in colour"
        return (_problem("kind", words, colour, limits.colour_low),)
    if colour > limits.colour_high:
        words = f"Strongly coloured, so it is no {kind}: choose the right picture"
        return (_problem("kind", words, colour, limits.colour_high),)
    return ()


def _laplacian(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Four neighbours less four times the middle, without the border.

    >>> _laplacian(np.eye(3, dtype=np.float32))
    array([[-4.]], dtype=float32)
    """
    middle = 4 * grey[1:-1, 1:-1]
    return grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - middle


def _problem(check: str, message: str, value: float, limit: float) -> QualityProblem:
    return QualityProblem(check, message, round(value, 2), limit)
