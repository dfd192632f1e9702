"""What a profile's exported form says of examples, run as the engine runs it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis.graphs import (
    FUSION_INPUTS,
    HEAD_INPUTS,
    IMAGE_INPUTS,
    NOTE_INPUTS,
    Graphs,
    NoteGraph,
    Table,
)
from akazuba.diagnosis.pixels import Pixels
from akazuba.diagnosis.runtime import Graph
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training import export
from akazuba.training.data import Examples
from akazuba.training.fit import Ints, Trained
from akazuba.training.network import MAX_PIECES
from akazuba.training.notes import other_complaint

Floats = npt.NDArray[np.float64]

STRANGERS = 3
"""Notes of other patients, and as many about something else, that each picture is held against."""


@dataclass
class Said:
    """Of N examples. scores: mode -> (N, L).

    fits: log-odds that picture and note belong together: of the own note (N,), of other patients' notes and
    of notes about something else (N, STRANGERS), none in the data set's own template. Empty without notes.
    """

    scores: dict[str, Floats]
    fits: dict[str, Floats] = field(default_factory=dict)


class Exhibit:
    """An exported network, opened."""

    def __init__(self, trained: Trained, vocabulary: Sequence[str], folder: Path) -> None:
        self._width = trained.profile.width
        self._folder = folder
        self.graphs = Graphs(
            self._graph(export.IMAGE, IMAGE_INPUTS),
            NoteGraph(
                WordPiece(list(vocabulary)),
                Table(folder / export.TABLE, trained.profile.width),
                self._graph(export.NOTE, NOTE_INPUTS),
                MAX_PIECES,
            ),
        )

    def _graph(self, name: str, inputs: tuple[str, ...]) -> Graph:
        return Graph(self._folder / name, inputs, shared=False)

    def say(
        self, head: str, examples: Examples, pictures: Pixels, chosen: Ints, other: Sequence[str]
    ) -> Said:
        """pictures: of all examples, as the encoder sees them. other: every note in other words."""
        reads = bool(examples.notes)
        graph = self._graph(export.head_file(head), FUSION_INPUTS if reads else HEAD_INPUTS)
        rng = random.Random(0)
        rows: dict[str, list[Floats]] = {}
        fits: dict[str, list[object]] = {"own": [], "stranger": [], "other": []}

        def ask(cells: npt.NDArray[np.float32], note: str) -> tuple[Floats, float]:
            parts, fit = self.graphs.ask(graph, cells, self.graphs.note.split(note))
            return parts, fit or 0.0

        for i in chosen:
            cells, _ = self.graphs.look(pictures[i])
            if not reads:
                rows.setdefault("image", []).append(self.graphs.ask(graph, cells, None)[0][:, 0])
                continue
            parts, _ = ask(cells, examples.notes[i])
            again, fit = ask(cells, other[i])
            for mode, values in (
                ("image", parts[:, 0]),
                ("text", parts[:, 1]),
                ("fused", parts.sum(1)),
                ("text_paraphrased", again[:, 1]),
                ("fused_paraphrased", again.sum(1)),
            ):
                rows.setdefault(mode, []).append(values)
            others = [j for j in chosen if examples.groups[j] != examples.groups[i]]
            strangers = rng.sample(others, min(STRANGERS, len(others)))
            fits["own"].append(fit)
            fits["stranger"].append([ask(cells, other[j])[1] for j in strangers])
            fits["other"].append([ask(cells, other_complaint(rng)[1])[1] for _ in range(STRANGERS)])
        return Said(
            {mode: np.concatenate(list_) for mode, list_ in rows.items()},
            {name: np.array(list_, np.float64) for name, list_ in fits.items() if list_},
        )


def together(count: int, parts: Mapping[int, tuple[Ints, Said]]) -> Said:
    """The answers of all folds at their examples' places; parts: fold -> (its examples, what was said)."""

    def placed(pick: str, key: str) -> Floats:
        first = getattr(next(iter(parts.values()))[1], pick)[key]
        whole = np.full((count, *first.shape[1:]), np.nan)
        for chosen, said in parts.values():
            whole[chosen] = getattr(said, pick)[key]
        return whole

    any_said = next(iter(parts.values()))[1]
    return Said(
        {mode: placed("scores", mode) for mode in any_said.scores},
        {name: placed("fits", name) for name in any_said.fits},
    )
