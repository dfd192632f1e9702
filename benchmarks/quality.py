"""How many real photos the image quality gate refuses, and how many degraded copies of them.

The limits in `akazuba.intake.quality` were set on these same development photos, so the first figure
says that they hold there; it is no estimate for another clinic. Intervals: Wilson, 95 %.
Images come from the research data beside the checkout (`../shared/data`); without it there is nothing
to measure. `--quick` takes 150 photos of each set.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import options_of, wilson
from PIL import Image, ImageFilter

from akazuba.intake.images import load_picture
from akazuba.intake.quality import problems
from akazuba.records import ImageRef

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Pixels = npt.NDArray[np.uint8]

SETS = {
    "skin": ("padufes_skin_clinical", "skin-photo", None),
    "chest_paediatric": ("cxr_paediatric_pneumonia", "chest-xray", None),
    "chest_nih": ("cxr_multisite_notes", "chest-xray", "nih"),
}


def gamma(pixels: Pixels, power: float) -> Pixels:
    changed: Pixels = (255 * (pixels / 255) ** power).astype(np.uint8)
    return changed


def blurred(pixels: Pixels, share: float) -> Pixels:
    image = Image.fromarray(pixels)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(share * max(image.size))))


def shrunk(pixels: Pixels, side: int) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


def noise(pixels: Pixels) -> Pixels:
    return np.random.default_rng(len(pixels)).integers(0, 256, pixels.shape, dtype=np.uint8)


def other_colour(pixels: Pixels) -> Pixels:
    """The kind it does not claim: a grey skin photo, a film behind an orange glass."""
    if pixels.ndim == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    return (pixels[..., None] * np.array([1.0, 0.6, 0.2])).astype(np.uint8)


DEGRADED: dict[str, Callable[[Pixels], Pixels]] = {
    "light_15_percent": lambda pixels: (pixels * 0.15).astype(np.uint8),
    "gamma_4": lambda pixels: gamma(pixels, 4),
    "gamma_0.15": lambda pixels: gamma(pixels, 0.15),
    "blur_1_percent": lambda pixels: blurred(pixels, 0.01),
    "blur_1.6_percent": lambda pixels: blurred(pixels, 0.016),
    "blur_3_percent": lambda pixels: blurred(pixels, 0.03),
    "contrast_5_percent": lambda pixels: (128 + (pixels - 128.0) * 0.05).astype(np.uint8),
    "side_60_px": lambda pixels: shrunk(pixels, 60),
    "noise": noise,
    "black": np.zeros_like,
    "white": lambda pixels: np.full_like(pixels, 255),
    "other_colour": other_colour,
}


def photos(folder: str, site: str | None, most: int | None) -> list[str]:
    """Relative paths in an order that has nothing to do with their content."""
    with (DATA / folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if site is None or row["site"] == site]
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:most]


def measure(folder: str, kind: str, site: str | None, most: int | None) -> dict[str, object]:
    names = photos(folder, site, most)
    refused = dict.fromkeys(("real", *DEGRADED), 0)
    by_check: dict[str, int] = {}
    seconds = 0.0
    for name in names:
        picture = load_picture(ImageRef(name, kind), DATA / folder)
        refused["real"] += bool(picture.problems)
        for problem in picture.problems:
            by_check[problem.check] = by_check.get(problem.check, 0) + 1
        for way, degrade in DEGRADED.items():
            copy = degrade(picture.pixels)
            start = time.perf_counter()
            refused[way] += bool(problems(copy, kind))
            seconds += time.perf_counter() - start
    return {
        "real_refused": wilson(refused.pop("real"), len(names)),
        "real_refused_by_check": by_check,
        "degraded_refused": {way: wilson(hits, len(names)) for way, hits in refused.items()},
        "check_ms": round(seconds / len(names) / len(DEGRADED) * 1e3, 2),
    }


def main() -> None:
    parser = options_of(__doc__, "quick: 150 photos of each set", "json")
    options = parser.parse_args()
    if not DATA.is_dir():
        parser.exit(2, f"error: {DATA}: expected the research data, found no such folder\n")
    results = {name: measure(*row, most=150 if options.quick else None) for name, row in SETS.items()}
    for name, result in results.items():
        print(f"{name}: {result['check_ms']} ms a picture; real refused by {result['real_refused_by_check']}")
        rows = {"real": result["real_refused"], **result["degraded_refused"]}  # type: ignore[dict-item]
        for way, estimate in rows.items():
            value, low, high, n = estimate.values()  # type: ignore[attr-defined]
            print(f"  {way:20} refused {value:7.2%}  ({low:.2%} to {high:.2%}, n = {n})")
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
