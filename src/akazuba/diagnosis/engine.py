"""Reads one picture, with the note when there is one, and says how far that reading can be trusted.

    engine = open_engine(threads=2)
    reading = engine.read(picture, "itchy spot on the arm, bleeds", note_understood=True, age_years=61)

A kind of picture is an entry in `models/manifest.json`; this file knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis import artefacts, calibration
from akazuba.diagnosis.artefacts import Kind, Manifest
from akazuba.diagnosis.calibration import Typicality
from akazuba.diagnosis.explain import heatmap_png, region_weights, word_weights
from akazuba.diagnosis.pixels import scaled, squashed
from akazuba.diagnosis.runtime import Graph, share
from akazuba.diagnosis.wordpiece import Pieces, WordPiece
from akazuba.records import ImageReading, ModelEvidence, Picture, Quality, QualityProblem, TokenWeight

__all__ = ["Engine", "Reading", "describe", "heatmap_png", "open_engine"]

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """What the engine says of one picture. evidence: None when it labels nothing or abstains."""

    image: ImageReading
    token_attribution: tuple[TokenWeight, ...] = ()
    evidence: ModelEvidence | None = None


def open_engine(threads: int = 2, folder: Path | None = None) -> Engine:
    """Opens every model of a folder (the shipped ones by default) and runs each once.

    threads: processor threads for the whole process; the first engine of a process decides.
    Raises ArtefactError when a file is missing, truncated, altered, of another format version, or
    takes other inputs than the manifest says.
    """
    folder = folder or artefacts.SHIPPED
    manifest = artefacts.read_manifest(folder)
    share(threads)
    models = {name: _open_kind(kind, manifest, folder) for name, kind in manifest.kinds.items()}
    engine = Engine(manifest, models)
    for model in models.values():  # the first run of a session costs several times the others
        model.warm_up()
    return engine


def describe(folder: Path | None = None) -> dict[str, object]:
    """What is installed: names, digests, bytes, parameters, licences, data and measured quality.

    Every file is checked against its digest first; raises ArtefactError like `open_engine`.
    """
    folder = folder or artefacts.SHIPPED
    manifest = artefacts.read_manifest(folder)
    for name in manifest.files:
        artefacts.checked(folder, name, manifest.files)
    return {
        "model": manifest.model,
        "version": manifest.version,
        "licence": manifest.licence,
        "review": manifest.review,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "parameters": sum(file.parameters for file in manifest.files.values()),
        "files": {
            name: {"sha256": file.sha256, "bytes": file.bytes} for name, file in manifest.files.items()
        },
        "kinds": {
            name: {
                "labels": list(kind.labels),
                "reads_note": kind.note_encoder is not None,
                "training": dict(kind.training),
                "metrics": dict(kind.metrics),
            }
            for name, kind in manifest.kinds.items()
        },
    }


class Engine:
    """The opened models by image kind."""

    def __init__(self, manifest: Manifest, models: Mapping[str, _Model]) -> None:
        self._models = models
        self.version = f"{manifest.model} {manifest.version}"
        self.digests: Mapping[str, str] = {name: file.sha256 for name, file in manifest.files.items()}
        """File name -> SHA-256 of everything that can shape an answer; for an assessment's provenance."""

        self.conditions = frozenset(
            id_ for model in models.values() for id_ in model.kind.conditions.values()
        )
        """Ids of the conditions for which it can give evidence."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The image kinds that it reads."""
        return tuple(self._models)

    def read(
        self,
        picture: Picture,
        note: str,
        note_understood: bool,
        age_years: float | None = None,
        explain: bool = True,
    ) -> Reading:
        """Reads one picture.

        note_understood: False when the note's language is not one that the box reads; the picture is
        then read alone. age_years: None when unknown; a model for one age group then says nothing.
        explain: with heatmap grid and word weights, which cost about as much again.
        """
        model = self._models.get(picture.kind)
        if model is None:
            known = " and ".join(self._models)
            return _unread(
                picture, "kind", f"not assessed: no model reads {picture.kind}; this box reads {known}"
            )
        unusable = [problem.message for problem in picture.problems if not problem.remark]
        if unusable:
            return _refused(picture, "; ".join(unusable), picture.problems)
        return model.read(picture, note if note_understood else "", age_years, explain, self.version)


def _unread(
    picture: Picture, check: str, message: str, value: float | None = None, limit: float | None = None
) -> Reading:
    return _refused(picture, message, (QualityProblem(check, message, value, limit),))


def _refused(picture: Picture, why: str, problems: tuple[QualityProblem, ...]) -> Reading:
    quality = Quality(usable=False, problems=problems)
    return Reading(ImageReading(picture.path, picture.kind, quality, abstained=True, why=why))


@dataclass(frozen=True)
class _NoteModel:
    pieces: WordPiece
    encoder: Graph
    most_pieces: int

    def split(self, note: str) -> Pieces:
        return self.pieces.split(note, self.most_pieces)

    def __call__(self, ids: tuple[int, ...], masks: Floats32) -> Floats32:
        """Vectors (B, T, width) of one note under each mask (B, T)."""
        return self.encoder(pieces=np.tile(np.array([ids], np.int64), (len(masks), 1)), piece_mask=masks)[0]


@dataclass(frozen=True)
class _Model:
    """One image kind, opened."""

    kind: Kind
    encoder: Graph
    head: Graph
    note: _NoteModel | None
    typical: Typicality

    def warm_up(self) -> None:
        grey = np.full((self.kind.side, self.kind.side, 3), 128, np.uint8)
        cells, _ = self.encoder(picture=scaled(grey))
        pieces = self.note.split("warm up") if self.note else None
        self._probabilities(cells, np.ones((1, cells.shape[1]), np.float32), pieces, None)

    def read(
        self, picture: Picture, note: str, age_years: float | None, explain: bool, version: str
    ) -> Reading:
        kind = self.kind
        small = squashed(picture.pixels, kind.side, kind.through)
        cells, texture = self.encoder(picture=scaled(small))
        distance = round(float(self.typical.distance(texture[0])), 3)
        if not distance <= kind.typical_limit:
            message = (
                f"this does not look like {kind.name}; check that it is the right picture, or take it again"
            )
            problem = QualityProblem("kind", message, distance, kind.typical_limit)
            return _refused(picture, message, (*picture.problems, problem))
        if kind.ages and (age_years is None or age_years >= kind.ages.below_years):
            unknown = "" if age_years is not None else "the age is not given, and "
            return Reading(
                ImageReading(
                    picture.path, picture.kind, Quality(True), abstained=True, why=unknown + kind.ages.why
                )
            )

        pieces = self.note.split(note) if self.note and note.strip() else None
        all_cells = np.ones((1, cells.shape[1]), np.float32)
        probability = self._probabilities(cells, all_cells, pieces, None)[0]
        leading = int(probability.argmax())
        set_mask = calibration.in_set(probability, self._calibration(pieces).least)
        order = [int(i) for i in np.argsort(-probability, kind="stable")]
        prediction_set = tuple(kind.labels[i] for i in order if set_mask[i])
        why = _why_abstain(prediction_set, kind)

        grid: tuple[tuple[float, ...], ...] = ()
        weights: tuple[TokenWeight, ...] = ()
        if explain:
            grid = region_weights(
                cells.shape[1], leading, lambda masks: self._probabilities(cells, masks, pieces, None)
            )
            if pieces:
                weights = word_weights(
                    note, pieces, leading, lambda masks: self._probabilities(cells, all_cells, pieces, masks)
                )
        image = ImageReading(
            path=picture.path,
            kind=picture.kind,
            quality=Quality(usable=True, problems=picture.problems),
            labels={kind.labels[i]: round(float(probability[i]), 6) for i in order},
            prediction_set=prediction_set,
            coverage=kind.coverage,
            abstained=why is not None,
            why=why,
            heatmap_grid=grid,
            model=version,
        )
        evidence = (
            None if why else self._evidence(probability, pieces is not None, f"{version} {picture.kind}")
        )
        return Reading(image, weights, evidence)

    def _evidence(self, probability: npt.NDArray[np.float64], reads_note: bool, model: str) -> ModelEvidence:
        ratios = calibration.likelihood_ratios(probability, np.array(self.kind.prior))
        by_label = dict(zip(self.kind.labels, ratios, strict=True))
        return ModelEvidence(
            model=model,
            likelihood_ratios={
                condition: round(float(by_label[label]), 4)
                for label, condition in self.kind.conditions.items()
            },
            reads_note=reads_note,
        )

    def _calibration(self, pieces: Pieces | None) -> calibration.Calibration:
        mode = self.kind.calibration["fused" if pieces else "image"]
        return calibration.Calibration(np.array(mode.weights), np.array(mode.least))

    def _probabilities(
        self, cells: Floats32, cell_masks: Floats32, pieces: Pieces | None, piece_masks: Floats32 | None
    ) -> npt.NDArray[np.float64]:
        """Probabilities (B, L) of one picture and note under B masks of cells, or of word pieces."""
        inputs: dict[str, Floats32] = {"cells": cells, "cell_mask": cell_masks}
        if self.note:
            ids = pieces.ids if pieces else (0,)
            shown = np.ones((1, len(ids)), np.float32) if piece_masks is None else piece_masks
            batch = max(len(cell_masks), len(shown))
            inputs["words"] = self.note(ids, shown)
            inputs["word_mask"] = np.tile(shown, (batch // len(shown), 1)) * np.float32(pieces is not None)
            inputs["cell_mask"] = np.tile(cell_masks, (batch // len(cell_masks), 1))
        weights = self._calibration(pieces).weights
        parts = self.head(**inputs)[0].astype(np.float64)[
            :, : len(weights)
        ]  # the picture's part is the first
        return calibration.probabilities(parts, np.array(self.kind.prior), weights)


def _why_abstain(prediction_set: tuple[str, ...], kind: Kind) -> str | None:
    """An empty set means that no label fits; a set that holds most labels says nothing."""
    if not prediction_set:
        return "none of the labels fits this picture well"
    if len(prediction_set) > kind.most_in_set:
        return f"too uncertain: {len(prediction_set)} of {len(kind.labels)} labels remain possible"
    return None


def _open_kind(kind: Kind, manifest: Manifest, folder: Path) -> _Model:
    def graph(name: str) -> Graph:
        return Graph(
            artefacts.checked(folder, name, manifest.files), manifest.files[name].inputs, shared=True
        )

    note = None
    if kind.note_encoder and kind.vocabulary:
        pieces = WordPiece.read(artefacts.checked(folder, kind.vocabulary, manifest.files))
        note = _NoteModel(pieces, graph(kind.note_encoder), kind.most_pieces)
    with np.load(artefacts.checked(folder, kind.typical, manifest.files)) as stored:
        typical = Typicality(stored["mean"], stored["directions"], float(stored["rest"]))
    return _Model(kind, graph(kind.image_encoder), graph(kind.head), note, typical)
