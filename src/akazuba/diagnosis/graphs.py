"""The graphs of one profile, called with plain arrays: pictures to cells, notes to words, both to evidence.

The engine runs them to read a case and training runs them to judge what it exports, so that both see the
same.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis.pixels import Pixels, scaled
from akazuba.diagnosis.runtime import Graph, Stop
from akazuba.diagnosis.wordpiece import Pieces, WordPiece
from akazuba.errors import ArtefactError

Floats32 = npt.NDArray[np.float32]

IMAGE_INPUTS = ("picture",)
NOTE_INPUTS = ("rows", "row_mask")
FUSION_INPUTS = ("cells", "cell_mask", "words", "word_mask")
HEAD_INPUTS = ("cells", "cell_mask")


class Table:
    """One row of numbers for each word piece, in a file of which only the rows of a note are ever read.

    A row is a float32 scale and `width` int8 numbers. In the graph, a full-size table of 12 MB would be held
    in memory, twice while it is opened; mapped into memory, each row would bring 64 KiB of neighbours along.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._row = np.dtype([("scale", "<f4"), ("numbers", "i1", (width,))])
        size = path.stat().st_size
        if size % self._row.itemsize:
            raise ArtefactError(str(path), f"rows of {self._row.itemsize} bytes", f"{size} bytes")
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __call__(self, ids: tuple[int, ...]) -> Floats32:
        """(T, width)"""
        size = self._row.itemsize
        read = b"".join(os.pread(self._file, size, size * number) for number in ids)
        rows = np.frombuffer(read, self._row)
        return np.asarray(rows["numbers"] * rows["scale"][:, None], np.float32)

    @staticmethod
    def stored(table: Floats32) -> bytes:
        """The file's content for a table (V, width).

        >>> len(Table.stored(np.ones((2, 8), np.float32)))
        24
        """
        scale = np.abs(table).max(axis=1).clip(1e-12) / 127
        rows = np.empty(len(table), [("scale", "<f4"), ("numbers", "i1", (table.shape[1],))])
        rows["scale"], rows["numbers"] = scale, np.rint(table / scale[:, None])
        return rows.tobytes()


@dataclass(frozen=True)
class NoteGraph:
    pieces: WordPiece
    table: Table
    graph: Graph
    most_pieces: int

    def split(self, note: str) -> Pieces | None:
        """None when there is nothing to read."""
        return self.pieces.split(note, self.most_pieces) if note.strip() else None

    def __call__(self, ids: tuple[int, ...], masks: Floats32, stop: Stop | None = None) -> Floats32:
        """Vectors (B, T, width) of one note under each mask (B, T)."""
        rows = np.repeat(self.table(ids)[None], len(masks), axis=0)
        return self.graph(stop, rows=rows, row_mask=masks)[0]


@dataclass(frozen=True)
class Graphs:
    """image: the encoder of all kinds. note: the reader of all notes."""

    image: Graph
    note: NoteGraph

    def look(self, pixels: Pixels, stop: Stop | None = None) -> tuple[Floats32, Floats32]:
        """Cells (1, N, C) and texture (K,) of one picture (S, S, 3), squashed as training did."""
        cells, texture = self.image(stop, picture=scaled(pixels))
        return cells, texture[0]

    def ask(
        self,
        head: Graph,
        cells: Floats32,
        pieces: Pieces | None,
        *,
        piece_masks: Floats32 | None = None,
        stop: Stop | None = None,
    ) -> tuple[npt.NDArray[np.float64], float | None]:
        """Parts of the evidence (B, K, L) for one picture and note under B masks of word pieces, and the
        log-odds that the two belong together (of the first mask; None without a note).

        A head that reads notes gives three parts: picture, note, both (`training.network.Fusion`); without
        a note only the first is left.
        """
        shown = np.ones((1, cells.shape[1]), np.float32)
        if head.inputs == HEAD_INPUTS:
            return head(stop, cells=cells, cell_mask=shown)[0].astype(np.float64), None
        ids = pieces.ids if pieces else (0,)
        read = np.ones((1, len(ids)), np.float32) if piece_masks is None else piece_masks
        words = self.note(ids, read, stop)
        word_mask = read * np.float32(pieces is not None)
        parts, fits = head(stop, cells=cells, cell_mask=shown, words=words, word_mask=word_mask)
        if pieces is None:
            return parts.astype(np.float64)[:, :1], None
        return parts.astype(np.float64), float(fits[0])
