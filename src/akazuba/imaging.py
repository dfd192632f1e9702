"""One image of a case: found, decoded, read by the engine, its heatmap written.

Whatever goes wrong is said on the image and never hidden; the rest of the assessment stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from akazuba.diagnosis.engine import Engine, Reading
from akazuba.diagnosis.explain import heatmap_png
from akazuba.errors import ArtefactError, ImageError, OutOfTimeError, encodable, why_not_opened
from akazuba.intake.cases import CaseLine
from akazuba.intake.images import load_picture
from akazuba.records import Case, ImageReading, ImageRef, NoteReading, Picture, Quality, QualityProblem

if TYPE_CHECKING:  # a box without plugins loads none of it
    from akazuba.plugins.reading import ImageReader


def look(
    engine: Engine | ArtefactError,
    line: CaseLine,
    case: Case,
    note: NoteReading,
    reference: ImageRef,
    heatmaps: Path | None,
    readers: Mapping[str, ImageReader] = MappingProxyType({}),
) -> Reading:
    """What the engine says of one image.

    engine: why there is none, when its files cannot be trusted.
    heatmaps: folder for the overlay of an image that was labelled.
    readers: of plugins, by the kind of image.
    """
    try:
        picture = load_picture(reference, line.base, line.attachments)
    except ImageError as error:
        return _unread(reference, "unreadable", str(error))
    try:
        if reference.kind in readers:
            image, evidence = readers[reference.kind].read(picture)
            reading = Reading(image, evidence=evidence)
        elif isinstance(engine, ArtefactError):
            raise engine
        else:
            reading = engine.read(picture, case.note, note.understood, case.patient.age_in_years)
    except (ArtefactError, OutOfTimeError) as error:
        return _unread(reference, "engine", str(error))
    if heatmaps is not None and reading.image.heatmap_grid:
        image = _with_heatmap(line, picture, reading.image, heatmaps)
        return Reading(image, reading.token_attribution, reading.evidence)
    return reading


def _unread(reference: ImageRef, check: str, message: str) -> Reading:
    quality = Quality(usable=False, problems=(QualityProblem(check, message),))
    return Reading(ImageReading(reference.path, reference.kind, quality, abstained=True, why=message))


def _with_heatmap(line: CaseLine, picture: Picture, image: ImageReading, folder: Path) -> ImageReading:
    """Writes the overlay of an image that was labelled and notes its path, or why there is none.

    Its name tells apart cases of one id, pictures of one case, and equal cases beside other pictures.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", line.case_id).strip("-")[:60] or "case"
    digest = hashlib.sha256(line.input_sha256.encode() + image.path.encode() + picture.pixels.tobytes())
    path = folder / f"{stem}-{digest.hexdigest()[:12]}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(heatmap_png(picture, image.heatmap_grid))
    except OSError as error:
        message = f"{path}: expected a heatmap that can be written, found {why_not_opened(error)}"
        problem = QualityProblem("heatmap", encodable(message), remark=True)
        quality = msgspec.structs.replace(image.quality, problems=(*image.quality.problems, problem))
        return msgspec.structs.replace(image, quality=quality)
    return msgspec.structs.replace(image, heatmap=encodable(str(path)))
