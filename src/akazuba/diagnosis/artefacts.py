"""The model folder: a manifest, and files that are used only when they are exactly what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akazuba.errors import ArtefactError

FORMAT = 1
SHIPPED = Path(__file__).parent / "models"
_MANIFEST = "manifest.json"


class File(msgspec.Struct, frozen=True):
    """inputs: names of a graph's inputs in order; empty for other files. parameters: numbers learned."""

    sha256: str
    bytes: int
    inputs: tuple[str, ...] = ()
    parameters: int = 0


class ModeCalibration(msgspec.Struct, frozen=True):
    """See `calibration.Calibration`; one for each way of reading (picture alone, picture and note)."""

    weights: tuple[float, ...]
    least: tuple[float, ...]


class Ages(msgspec.Struct, frozen=True):
    """At `below_years` and above, and at an unknown age, nothing is labelled; `why` is shown."""

    below_years: float
    why: str


class Kind(msgspec.Struct, frozen=True):
    """One image kind: which files read it, what it can say, and how far that can be trusted.

    side: input side in pixels; through: see `pixels.squashed`.
    conditions: label -> condition id of the knowledge; a label that is no condition is left out.
    calibration: by mode, "image" and (when there is a note encoder) "fused".
    most_in_set: a larger prediction set is an abstention.
    typical, typical_limit: file of the typicality statistics, and the greatest distance still read.
    """

    name: str
    image_encoder: str
    head: str
    side: int
    through: int
    labels: tuple[str, ...]
    conditions: Mapping[str, str]
    prior: tuple[float, ...]
    calibration: Mapping[str, ModeCalibration]
    coverage: float
    most_in_set: int
    typical: str
    typical_limit: float
    note_encoder: str | None = None
    vocabulary: str | None = None
    most_pieces: int = 0
    ages: Ages | None = None
    training: Mapping[str, str] = {}
    metrics: Mapping[str, object] = {}


class Manifest(msgspec.Struct, frozen=True):
    """What stands in `manifest.json`."""

    format: int
    model: str
    version: str
    licence: str
    review: str
    files: Mapping[str, File]
    kinds: Mapping[str, Kind]


class _Head(msgspec.Struct, frozen=True):
    """The one field that every version of the manifest has."""

    format: int


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest. Raises ArtefactError when it is missing, unreadable or of another version."""
    path = folder / _MANIFEST
    text = _bytes(path)
    try:
        found = msgspec.json.decode(text, type=_Head).format
        if found != FORMAT:
            raise ArtefactError(str(path), f"model format {FORMAT}", f"format {found}")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArtefactError(str(path), "a model manifest", str(error)) from error


def checked(folder: Path, name: str, files: Mapping[str, File]) -> Path:
    """Path of a file, once it is there, whole and unaltered. Raises ArtefactError otherwise."""
    path = folder / name
    expected = files.get(name)
    if expected is None or Path(name).name != name:
        raise ArtefactError(str(path), "a file that the manifest lists", "none of that name")
    content = _bytes(path)
    if len(content) != expected.bytes:
        raise ArtefactError(
            str(path), f"{expected.bytes} bytes", f"{len(content)} bytes (truncated or replaced)"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected.sha256:
        raise ArtefactError(str(path), f"SHA-256 {expected.sha256}", f"{digest} (altered)")
    return path


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(str(path), "a readable model file", error.strerror or str(error)) from error
