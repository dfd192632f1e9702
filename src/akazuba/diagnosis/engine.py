"""Reads one picture, with the note when there is one, and says how far that reading can be trusted.

    engine = open_engine(threads=2)
    reading = engine.read(picture, "itchy spot on the arm, bleeds", note_understood=True, age_years=61)

A kind of picture is an entry in a profile's `manifest.json`; this file knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis import artefacts, calibration
from akazuba.diagnosis.artefacts import Head, Kind, Manifest
from akazuba.diagnosis.calibration import Typicality
from akazuba.diagnosis.explain import region_weights, word_weights
from akazuba.diagnosis.graphs import Floats32, Graphs, NoteGraph, Table
from akazuba.diagnosis.pixels import Pixels, squashed
from akazuba.diagnosis.runtime import Graph, Stop, share
from akazuba.diagnosis.wordpiece import Pieces, WordPiece
from akazuba.errors import ArtefactError, OutOfTimeError
from akazuba.records import (
    CAUTION,
    ImageReading,
    ModelEvidence,
    Picture,
    Quality,
    QualityProblem,
    TokenWeight,
)
from akazuba.wording.names import label

TIME_LIMIT_S = 10.0
"""One picture takes hundredths of a second, a second on the slowest box: what takes longer is no reading."""


@dataclass(frozen=True)
class Reading:
    """What the engine says of one picture. evidence: None when it labels nothing or abstains."""

    image: ImageReading
    token_attribution: tuple[TokenWeight, ...] = ()
    evidence: ModelEvidence | None = None


def open_engine(threads: int = 2, folder: Path | None = None, time_limit_s: float = TIME_LIMIT_S) -> Engine:
    """Opens every model of a profile's folder (the shipped student by default) and runs each once.

    threads: processor threads for the whole process; the first engine of a process decides.
    time_limit_s: longest time for one picture.
    Raises ArtefactError when a file is missing, truncated, altered, of another format version, takes
    other inputs than the manifest says, or when the files do not fit together.
    """
    folder = folder or artefacts.SHIPPED / "student"
    manifest = artefacts.read_manifest(folder)
    digests = {name: artefacts.checked(folder, name, manifest.files) for name in manifest.files}
    digests[artefacts.MANIFEST] = artefacts.seal(folder)
    share(threads)
    try:
        graphs, kinds = _opened(manifest, folder)
        engine = Engine(manifest, digests, graphs, kinds, time_limit_s)
        # The largest pictures first: what they leave in the arena holds the smaller, but not the other way.
        for kind in sorted(engine.kinds, key=lambda name: -kinds[name].facts.side):
            engine.rehearse(kind)
    except (LookupError, ValueError, OSError, BadZipFile) as error:
        found = f"{type(error).__name__} {error}"
        raise ArtefactError(str(folder), "model files that fit together", found) from error
    return engine


@dataclass(frozen=True)
class _OpenHead:
    """A head's graph with the statistics that go with it. name: as in an answer's `model`."""

    name: str
    facts: Head
    graph: Graph
    typical: Typicality

    def calibration(self, pieces: Pieces | None) -> calibration.Calibration:
        mode = self.facts.calibration["fused" if pieces else "image"]
        return calibration.Calibration(np.array(mode.weights), np.array(mode.least))


@dataclass(frozen=True)
class _OpenKind:
    facts: Kind
    heads: tuple[_OpenHead, ...]

    def head_for(self, age_years: float | None) -> _OpenHead | str:
        """The head that may be asked about a patient of this age, or why there is none."""
        for head in self.heads:
            ages = head.facts.ages
            if ages is None or (age_years is not None and ages.hold(age_years)):
                return head
        if age_years is None:
            return "the age is not given, and what this picture means depends on it"
        return "; ".join(head.facts.ages.why for head in self.heads if head.facts.ages)


class Engine:
    """The opened models by image kind."""

    def __init__(
        self,
        manifest: Manifest,
        digests: Mapping[str, str],
        graphs: Graphs,
        kinds: Mapping[str, _OpenKind],
        time_limit_s: float,
    ) -> None:
        self._graphs, self._kinds = graphs, kinds
        self._time_limit_s = time_limit_s
        self.version = f"{manifest.model} {manifest.version} {manifest.profile}"
        self.digests = digests
        """File name -> SHA-256 of everything that can shape an answer; for an assessment's provenance."""

        heads = (head.facts for kind in kinds.values() for head in kind.heads)
        self.conditions = frozenset(id_ for head in heads for ids in head.conditions.values() for id_ in ids)
        """Ids of the conditions for which it can give evidence."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The image kinds that it reads."""
        return tuple(self._kinds)

    def rehearse(self, name: str, explain: bool = False) -> None:
        """Does what a picture of a kind needs on a grey one and a note of 20 words, and says nothing.

        The first run of a session costs several times the others.
        """
        kind = self._kinds[name]
        side = kind.facts.through
        grey = Picture("", name, np.full((side, side, 3), 128, np.uint8))
        seen = squashed(grey.pixels, kind.facts.side, side)
        cells, texture = self._graphs.look(seen)
        note = "itch " * 20
        for head in kind.heads:
            head.typical.distance(texture)
            pieces = self._graphs.note.split(note) if head.facts.reads_note else None
            self._answer(head, grey, seen, cells, note, pieces, explain, None)

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
        then read alone. age_years: None when unknown; a head for one age group then says nothing.
        explain: with heatmap grid and word weights. The picture is read again for each of up to 64 regions;
        when the time does not reach, the answer comes without the map and says so.
        Raises OutOfTimeError when the answer itself takes longer than the limit.
        """
        kind = self._kinds.get(picture.kind)
        if kind is None:
            known = " and ".join(map(label, self._kinds))
            message = f"not assessed: no model reads {label(picture.kind)}; this box reads {known}"
            return _refused(picture, message, (QualityProblem("kind", message),))
        unusable = [problem.message for problem in picture.problems if not problem.remark]
        if unusable:
            return _refused(picture, "; ".join(unusable), picture.problems)
        with Stop(self._time_limit_s) as stop:
            return self._read(kind, picture, note if note_understood else "", age_years, explain, stop)

    def _read(
        self,
        kind: _OpenKind,
        picture: Picture,
        note: str,
        age_years: float | None,
        explain: bool,
        stop: Stop,
    ) -> Reading:
        facts = kind.facts
        seen = squashed(picture.pixels, facts.side, facts.through)
        cells, texture = self._graphs.look(seen, stop)
        head = kind.head_for(age_years)
        heads = kind.heads if isinstance(head, str) else (head,)
        distance = min(round(float(h.typical.distance(texture)) / h.facts.typical_limit, 3) for h in heads)
        if not distance <= 1:
            message = (
                f"this does not look like {facts.name}; check that it is the right picture, or take it again"
            )
            problem = QualityProblem("kind", message, distance, 1.0)
            return _refused(picture, message, (*picture.problems, problem))
        if isinstance(head, str):
            image = ImageReading(picture.path, picture.kind, Quality(True), abstained=True, why=head)
            return Reading(image)
        pieces = self._graphs.note.split(note) if head.facts.reads_note else None
        return self._answer(head, picture, seen, cells, note, pieces, explain, stop)

    def _answer(
        self,
        head: _OpenHead,
        picture: Picture,
        seen: Pixels,
        cells: Floats32,
        note: str,
        pieces: Pieces | None,
        explain: bool,
        stop: Stop | None,
    ) -> Reading:
        facts, fitted, prior = head.facts, head.calibration(pieces), np.array(head.facts.prior)
        parts, fits = self._graphs.ask(head.graph, cells, pieces, stop=stop)
        probability = calibration.probabilities(parts, prior, fitted.weights)[0]
        set_mask = calibration.in_set(probability, fitted.least)
        order = [int(i) for i in np.argsort(-probability, kind="stable")]
        prediction_set = tuple(facts.labels[i] for i in order if set_mask[i])
        why = _why_abstain(prediction_set, facts)

        def again(cells: Floats32, masks: Floats32 | None = None) -> npt.NDArray[np.float64]:
            found, _ = self._graphs.ask(head.graph, cells, pieces, piece_masks=masks, stop=stop)
            return calibration.probabilities(found, prior, fitted.weights)

        grid: tuple[tuple[float, ...], ...] = ()
        words: tuple[TokenWeight, ...] = ()
        late: tuple[QualityProblem, ...] = ()
        if explain:
            count, leading = cells.shape[1], order[0]
            try:
                if pieces:
                    words = word_weights(note, pieces, count, leading, lambda masks: again(cells, masks))
                grid = region_weights(
                    seen, count, leading, lambda blanked: again(self._graphs.look(blanked, stop)[0])
                )
            except OutOfTimeError as error:
                late = (QualityProblem("heatmap", f"no heatmap: {error}", remark=True),)
        alignment = _alignment(facts, fits)
        image = ImageReading(
            path=picture.path,
            kind=picture.kind,
            quality=Quality(True, (*picture.problems, *_doubts(facts, alignment, pieces), *late)),
            labels={facts.labels[i]: round(float(probability[i]), 6) for i in order},
            prediction_set=prediction_set,
            coverage=None if facts.caution else facts.coverage,
            abstained=why is not None,
            why=why,
            alignment=alignment,
            heatmap_grid=grid,
            model=f"{self.version} {head.name}",
        )
        if why or not facts.conditions:
            return Reading(image, words)
        return Reading(image, words, _evidence(facts, probability, pieces is not None, str(image.model)))


def _refused(picture: Picture, why: str, problems: tuple[QualityProblem, ...]) -> Reading:
    quality = Quality(usable=False, problems=problems)
    return Reading(ImageReading(picture.path, picture.kind, quality, abstained=True, why=why))


def _why_abstain(prediction_set: tuple[str, ...], head: Head) -> str | None:
    """An empty set means that no label fits; a set that holds most labels says nothing."""
    if not prediction_set:
        return "none of the labels fits this picture well"
    if len(prediction_set) > head.most_in_set:
        return f"too uncertain: {len(prediction_set)} of {len(head.labels)} labels remain possible"
    return None


def _alignment(head: Head, fits: float | None) -> float | None:
    """P(picture and note belong together), when the head can say."""
    if head.match is None or fits is None:
        return None
    return round(float(1 / (1 + np.exp(-(head.match.slope * fits + head.match.offset)))), 4)


def _doubts(head: Head, alignment: float | None, pieces: Pieces | None) -> tuple[QualityProblem, ...]:
    """Remarks on what was read: they change no label."""
    found = []
    if head.caution:
        found.append(QualityProblem(CAUTION, head.caution, remark=True))
    if head.match is not None and alignment is not None and alignment < head.match.doubt_below:
        words = (
            "picture and note may not belong together: check that both are of this patient and this complaint"
        )
        found.append(QualityProblem("alignment", words, alignment, head.match.doubt_below, remark=True))
    if pieces is not None and pieces.cut:
        end = max(end for _, end in pieces.spans)
        words = f"the note is long: only its first {end} characters were read together with the picture"
        found.append(QualityProblem("note", words, remark=True))
    return tuple(found)


def _evidence(
    head: Head, probability: npt.NDArray[np.float64], reads_note: bool, model: str
) -> ModelEvidence:
    ratios = calibration.likelihood_ratios(probability, np.array(head.prior))
    by_label = dict(zip(head.labels, ratios, strict=True))
    return ModelEvidence(
        model=model,
        likelihood_ratios={
            condition: round(float(by_label[label]), 4)
            for label, conditions in head.conditions.items()
            for condition in conditions
        },
        reads_note=reads_note,
    )


def _opened(manifest: Manifest, folder: Path) -> tuple[Graphs, dict[str, _OpenKind]]:
    """Opens files that have been checked."""

    def listed(name: str) -> Path:
        if name not in manifest.files:
            raise ArtefactError(str(folder / name), "a file that the manifest lists", "none of that name")
        return folder / name

    def graph(name: str) -> Graph:
        return Graph(listed(name), manifest.files[name].inputs, shared=True)

    def head(name: str, facts: Head) -> _OpenHead:
        with np.load(listed(facts.typical)) as stored:
            mean, directions = (stored[part].astype(np.float32) for part in ("mean", "directions"))
            typical = Typicality(mean, directions, float(stored["rest"]))
        return _OpenHead(name, facts, graph(facts.graph), typical)

    notes = manifest.notes
    note = NoteGraph(
        WordPiece.read(listed(notes.vocabulary)),
        Table(listed(notes.table), notes.width),
        graph(notes.graph),
        notes.most_pieces,
    )
    graphs = Graphs(graph(manifest.image_encoder), note)
    kinds = {
        name: _OpenKind(kind, tuple(head(key, facts) for key, facts in kind.heads.items()))
        for name, kind in manifest.kinds.items()
    }
    return graphs, kinds
