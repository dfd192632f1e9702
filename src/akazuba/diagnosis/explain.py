"""Why a label leads: what happens to it when a region is blanked or a word left out.

Blanking is causal where attention weights are not, and it is done in the picture itself: behind the image
encoder a region's neighbours have already looked at it (decision 7 has the comparison). Words are left out
before the note encoder, so that nothing of them remains.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from akazuba.diagnosis.pixels import Pixels
from akazuba.diagnosis.wordpiece import Pieces
from akazuba.records import Picture, TokenWeight

CELLS_AT_ONCE = 256
"""Cells of all masks that are run together: memory is short, and a large picture has many cells."""

MOST_SIDE = 8
"""Regions in a row of the heatmap, at most: more cost time and are not seen on the screen."""

Masked = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]
Seen = Callable[[Pixels], npt.NDArray[np.float64]]


def log_odds(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log(p / (1 - p)), held within about 27.6 either way."""
    p = probability.clip(1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def region_weights(pixels: Pixels, cells: int, leading: int, run: Seen) -> tuple[tuple[float, ...], ...]:
    """Fall of the leading label's log-odds when each region is blanked, as rows from the top left.

    pixels: picture (S, S, 3) as the encoder sees it; a blank region has the picture's mean colour.
    cells: of the encoder, a square; there are as many regions in a row as cells, but at most `MOST_SIDE`.
    leading: index of the label. run: picture (S, S, 3) -> probabilities (1, L).
    """
    side = min(round(cells**0.5), MOST_SIDE)
    edges = np.rint(np.linspace(0, len(pixels), side + 1)).astype(int)
    mean = pixels.mean((0, 1))
    whole = log_odds(run(pixels))[0, leading]

    def fall(rows: slice, columns: slice) -> float:
        blanked = pixels.copy()
        blanked[rows, columns] = mean
        return round(float(whole - log_odds(run(blanked))[0, leading]), 4)

    parts = [slice(*pair) for pair in pairwise(edges)]
    return tuple(tuple(fall(rows, columns) for columns in parts) for rows in parts)


def word_weights(note: str, pieces: Pieces, cells: int, leading: int, run: Masked) -> tuple[TokenWeight, ...]:
    """Fall of the leading label's log-odds without each word (digits that touch count as one word).

    cells: of the picture. run: masks (B, pieces), 1 where a piece may be read -> probabilities (B, L).
    """
    groups = _joined(pieces.spans, note)
    masks = np.ones((1 + len(groups), len(pieces.ids)), np.float32)
    for row, (first, last, _) in enumerate(groups, 1):
        masks[row, first:last] = 0
    odds = _log_odds_under(masks, cells, leading, run)
    return tuple(
        TokenWeight(note[span[0] : span[1]], span, round(float(odds[0] - odd), 4))
        for (_, _, span), odd in zip(groups, odds[1:], strict=True)
    )


def _log_odds_under(
    masks: npt.NDArray[np.float32], cells: int, leading: int, run: Masked
) -> npt.NDArray[np.float64]:
    """The leading label's log-odds under each mask, a few masks at a time."""
    few = max(1, CELLS_AT_ONCE // cells)
    parts = [run(masks[start : start + few]) for start in range(0, len(masks), few)]
    return log_odds(np.concatenate(parts)[:, leading])


def _joined(spans: tuple[tuple[int, int], ...], note: str) -> list[tuple[int, int, tuple[int, int]]]:
    """(first piece, one after the last, span) of each word of letters or number; marks are left out."""
    groups: list[tuple[int, int, tuple[int, int]]] = []
    for index, span in enumerate(spans[1:], 1):
        if not note[span[0] : span[1]].isalnum():
            continue
        if groups:
            first, last, (start, end) = groups[-1]
            same_word = span == (start, end)
            number_goes_on = note[start:end].isdecimal() and note[slice(*span)].isdecimal() and span[0] == end
            if last == index and (same_word or number_goes_on):
                groups[-1] = (first, index + 1, (start, span[1]))
                continue
        groups.append((index, index + 1, span))
    return groups


def heatmap_png(picture: Picture, grid: tuple[tuple[float, ...], ...], longest_side: int = 640) -> bytes:
    """The picture in grey with the grid laid over it: red speaks for the leading label, blue against.

    grid: rows x columns over the whole picture, as in `ImageReading.heatmap_grid`; any scale, the
    greatest weight gets the strongest colour.
    """
    image = Image.fromarray(picture.pixels).convert("L")
    scale = longest_side / max(image.size)  # a film of 128 px would be a stamp on the screen
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    grey = np.asarray(image, np.float32)[:, :, None]
    weights = np.asarray(grid, np.float32)
    weights = weights / max(1e-9, float(np.abs(weights).max()))
    smooth = Image.fromarray(weights).resize(image.size, Image.Resampling.BICUBIC)
    weight = np.asarray(smooth, np.float32).clip(-1, 1)[:, :, None]
    colour = np.where(weight > 0, np.array([220, 30, 30], np.float32), np.array([40, 90, 220], np.float32))
    strength = 0.6 * np.abs(weight)
    overlay = (grey * (1 - strength) + colour * strength).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(overlay).save(file, "PNG")
    return file.getvalue()
