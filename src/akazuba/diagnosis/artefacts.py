"""The model folder: a manifest, and files that are used only when they are exactly what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akazuba.errors import ArtefactError

FORMAT = 2
SHIPPED = Path(__file__).parent / "models"
"""A folder for each profile that comes with the package."""

MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
"""Digest of the manifest: it holds thresholds and weights, which a flipped bit would change in silence."""

_CHUNK = 1 << 20


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


class MatchCalibration(msgspec.Struct, frozen=True):
    """P(picture and note belong together) = 1 / (1 + exp(-(slope * log_odds + offset))), for as many pairs
    that do as pairs that don't. doubt_below: `share_below` of the true pairs lie below it, and something is
    said.
    """

    slope: float
    offset: float
    doubt_below: float
    share_below: float


class Ages(msgspec.Struct, frozen=True):
    """Patients from `from_years` to below `below_years` (None: without end); `why` no others, as shown."""

    from_years: float
    below_years: float | None
    why: str

    def hold(self, age_years: float) -> bool:
        return self.from_years <= age_years and (self.below_years is None or age_years < self.below_years)


class Head(msgspec.Struct, frozen=True):
    """One question about a kind of picture: what it can answer, and how far that can be trusted.

    conditions: label -> ids of the knowledge's conditions that it speaks for; other labels move no ranking.
    calibration: by mode, "image" and (when it reads notes) "fused".
    most_in_set: a larger prediction set is an abstention.
    typical, typical_limit: file of the typicality statistics, and the greatest distance still read.
    ages: None when it may be asked about anybody. caution: what was measured against it elsewhere, shown with
    every answer; then no coverage is promised.
    """

    graph: str
    labels: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]]
    prior: tuple[float, ...]
    calibration: Mapping[str, ModeCalibration]
    coverage: float
    most_in_set: int
    typical: str
    typical_limit: float
    reads_note: bool = False
    match: MatchCalibration | None = None
    ages: Ages | None = None
    caution: str = ""
    training: Mapping[str, str] = {}
    metrics: Mapping[str, object] = {}

    def __post_init__(self) -> None:
        modes = {"image": 1, "fused": 3} if self.reads_note else {"image": 1}
        counts = {len(self.labels), len(self.prior), *(len(mode.least) for mode in self.calibration.values())}
        if {mode: len(fitted.weights) for mode, fitted in self.calibration.items()} != modes or len(
            counts
        ) != 1:
            raise ValueError(f"{self.graph}: labels, prior and calibration do not belong together")
        if not (self.typical_limit > 0 and min(self.prior) > 0):
            raise ValueError(f"{self.graph}: expected a limit and shares above 0")


class Kind(msgspec.Struct, frozen=True):
    """One image kind. side: what the encoder sees, in pixels; through: see `pixels.squashed`."""

    name: str
    side: int
    through: int
    heads: Mapping[str, Head]


class Notes(msgspec.Struct, frozen=True):
    """How notes are read. table: file of one row a word piece (`graphs.Table`), `width` numbers each."""

    graph: str
    vocabulary: str
    table: str
    width: int
    most_pieces: int


class Size(msgspec.Struct, frozen=True):
    """bytes_float32: what the parameters alone would take in full precision."""

    parameters: int
    bytes: int
    bytes_float32: int


class Manifest(msgspec.Struct, frozen=True):
    """What stands in `manifest.json`. teacher: size of the network that taught this one, as it was exported
    in the same run by the same rules; None for the teacher itself.
    """

    format: int
    model: str
    version: str
    profile: str
    licence: str
    review: str
    files: Mapping[str, File]
    image_encoder: str
    notes: Notes
    kinds: Mapping[str, Kind]
    teacher: Size | None = None

    @property
    def size(self) -> Size:
        """Of everything that was learned; every file counts."""
        parameters = sum(file.parameters for file in self.files.values())
        return Size(parameters, sum(file.bytes for file in self.files.values()), 4 * parameters)


class _Format(msgspec.Struct, frozen=True):
    """The one field that every version of the manifest has."""

    format: int


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest. Raises ArtefactError when it is missing, unreadable or of another version."""
    path = folder / MANIFEST
    text = content(path)
    try:
        found = msgspec.json.decode(text, type=_Format).format
        if found != FORMAT:
            raise ArtefactError(str(path), f"model format {FORMAT}", f"format {found}")
        if (digest := hashlib.sha256(text).hexdigest()) != (sealed := seal(folder)):
            raise ArtefactError(str(path), f"SHA-256 {sealed}", f"{digest} (altered)")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArtefactError(str(path), "a model manifest", str(error)) from error


def seal(folder: Path) -> str:
    """SHA-256 that the manifest must have. Raises ArtefactError when it is missing."""
    return content(folder / SEAL).decode("ascii", "replace").strip()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes it, sealed."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    (folder / MANIFEST).write_bytes(text)
    (folder / SEAL).write_text(hashlib.sha256(text).hexdigest() + "\n", encoding="ascii")


def checked(folder: Path, name: str, files: Mapping[str, File]) -> str:
    """SHA-256 of a listed file that is there, whole and unaltered. Raises ArtefactError otherwise."""
    path, expected = folder / name, files[name]
    if Path(name).name != name:
        raise ArtefactError(str(path), "a file in the folder of its manifest", "one elsewhere")
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            raise ArtefactError(str(path), f"{expected.bytes} bytes", f"{size} bytes (truncated or replaced)")
        digest = _sha256(path)
    except OSError as error:
        raise ArtefactError(str(path), "a readable model file", error.strerror or str(error)) from error
    if digest != expected.sha256:
        raise ArtefactError(str(path), f"SHA-256 {expected.sha256}", f"{digest} (altered)")
    return digest


def _sha256(path: Path) -> str:
    """Read in pieces: a weight file held whole would be the peak of the process."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            total.update(piece)
    return total.hexdigest()


def content(path: Path) -> bytes:
    """A small file of ours. Raises ArtefactError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(str(path), "a readable model file", error.strerror or str(error)) from error
