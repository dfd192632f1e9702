"""Why a label leads: what happens to it when a region or a word is left out.

Leaving out is causal where attention weights are not. Regions are left out at the fusion stage, where
a batch of masks costs little; a region's neighbours have already looked at it, so the map is coarse.
Words are left out before the note encoder, so that nothing of them remains.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from akazuba.diagnosis.wordpiece import Pieces
from akazuba.records import Picture, TokenWeight

CELLS_AT_ONCE = 1024
"""Cells of all masks that are run together: memory is short, and a large picture has many cells."""

MOST_SIDE = 8
"""Regions in a row of the heatmap, at most: more cost time and are not seen on the screen."""

Probabilities = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]


def log_odds(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log(p / (1 - p)), held within about 27.6 either way."""
    p = probability.clip(1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def region_weights(cells: int, leading: int, run: Probabilities) -> tuple[tuple[float, ...], ...]:
    """Fall of the leading label's log-odds without each region, as rows from the top left.

    cells: number of cells, a square; a region is one cell, or several where there are more than `MOST_SIDE`
    in a row. leading: index of the label. run: masks (B, cells), 1 where a cell may be seen -> probabilities
    (B, L).
    """
    regions = regions_of(cells)
    count = int(regions.max()) + 1
    masks = np.vstack([np.ones(cells), regions != np.arange(count)[:, None]]).astype(np.float32)
    odds = _log_odds_under(masks, cells, leading, run)
    side = round(count**0.5)
    falls = (odds[0] - odds[1:]).reshape(side, side)
    return tuple(tuple(round(float(v), 4) for v in row) for row in falls)


def regions_of(cells: int) -> npt.NDArray[np.int64]:
    """Number of the region of each cell, (cells,); cells and regions both go row by row from the top left.

    >>> regions_of(4)
    array([0, 1, 2, 3])
    """
    side = round(cells**0.5)
    width = -(-side // MOST_SIDE)  # cells in a row of one region
    place = np.arange(side) // width
    return np.asarray((place[:, None] * (place.max() + 1) + place).ravel())


def word_weights(
    note: str, pieces: Pieces, cells: int, leading: int, run: Probabilities
) -> tuple[TokenWeight, ...]:
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
    masks: npt.NDArray[np.float32], cells: int, leading: int, run: Probabilities
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
