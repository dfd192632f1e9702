"""What the engine said of the last pictures: a question that is answered changes neither picture nor note,
and the picture is not read again for it, which costs ten times all the rest.

In memory only, of the last few pictures, without the pictures; forgotten when the box is locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from akazuba.diagnosis.engine import Engine, Reading
from akazuba.errors import ArtefactError
from akazuba.imaging import look
from akazuba.intake.cases import CaseLine
from akazuba.records import Case, ImageRef, NoteReading
from akazuba.web.shown import Shown

if TYPE_CHECKING:
    from akazuba.plugins.reading import ImageReader


class Looked:
    """Asked instead of `imaging.look`, in the engine's lane only."""

    def __init__(self) -> None:
        self._readings: Shown[Reading] = Shown()

    def forget(self) -> None:
        self._readings.forget()

    def __call__(
        self,
        engine: Engine | ArtefactError,
        line: CaseLine,
        case: Case,
        note: NoteReading,
        reference: ImageRef,
        heatmaps: Path | None,
        readers: Mapping[str, ImageReader] = MappingProxyType({}),
    ) -> Reading:
        data = line.attachments.get(reference.path)
        if data is None or heatmaps is not None:
            return look(engine, line, case, note, reference, heatmaps, readers)
        rest = (reference.path, reference.kind, case.note, note.understood, case.patient.age_in_years)
        key = hashlib.sha256(hashlib.sha256(data).digest() + msgspec.msgpack.encode(rest)).digest()
        known = self._readings.get(key)
        if known is None:
            known = look(engine, line, case, note, reference, heatmaps, readers)
            if not any(problem.check == "engine" for problem in known.image.quality.problems):
                self._readings.put(key, known)  # what did not answer in time is asked again
        return known
