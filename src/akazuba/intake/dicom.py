"""DICOM to pixels, with pydicom; runs only in the process that `apart` starts.

Grey values follow DICOM PS3.3 C.11: rescale (or modality LUT), then the first window, linear
(C.11.2.1.2.1); without a window the range from the 0.5th to the 99.5th percentile. MONOCHROME1 is
inverted, so that air is dark. Of several frames the first is read. Nothing that identifies a person
leaves this module: only pixels, modality and body part do.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from akazuba.errors import ImageError
from akazuba.intake.raster import MAX_SIDE, Decoded, reduced, refuse_too_large

if TYPE_CHECKING:
    from pydicom import Dataset

EXPECTED = "a DICOM image that can be read"


def is_dicom(head: bytes) -> bool:
    """Whether a file's first 132 bytes are DICOM's: "DICM" behind the preamble, or no preamble and the
    first element in group 0002 or 0008.
    """
    return head[128:132] == b"DICM" or (head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00")


def decode(stream: BinaryIO, name: str) -> Decoded:
    """Raises ImageError: no pixels, a document, too many pixels, a compression that is not known."""
    from pydicom import dcmread

    try:
        data = dcmread(BytesIO(stream.read()), force=True)
    except MemoryError:
        raise
    except Exception as problem:  # pydicom raises many kinds on a damaged file
        raise ImageError(name, EXPECTED, f"a damaged file ({type(problem).__name__})") from problem
    if "EncapsulatedDocument" in data:
        raise ImageError(name, EXPECTED, "a document (PDF or the like) inside DICOM")
    if "PixelData" not in data:
        raise ImageError(name, EXPECTED, "DICOM without pixels")
    refuse_too_large(name, int(data.get("Columns") or 0), int(data.get("Rows") or 0))
    try:
        pixels = _colour(data) if int(data.SamplesPerPixel) == 3 else _grey(data)
        small = np.asarray(reduced(Image.fromarray(pixels)))
        frames = int(data.get("NumberOfFrames") or 1)
    except MemoryError:
        raise
    except Exception as problem:  # as above
        raise ImageError(name, EXPECTED, _why(data, problem)) from problem
    return Decoded(small, frames, _word(data, "Modality"), _word(data, "BodyPartExamined"))


def _first_frame(data: Dataset) -> npt.NDArray[np.generic]:
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in data.file_meta:  # a file without its meta group
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    frame: npt.NDArray[np.generic] = pixel_array(data, index=0)
    return frame


def _thinned(frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Means of whole blocks, with the longer side still at least MAX_SIDE; the rest needs 8 bytes a pixel."""
    block = max(1, max(frame.shape) // MAX_SIDE)
    rows, columns = (side // block for side in frame.shape)
    if min(frame.shape) < block or block == 1:
        return frame
    blocks = frame[: rows * block, : columns * block].reshape(rows, block, columns, block)
    thinned: npt.NDArray[np.generic] = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(frame.dtype)
    return thinned


def _colour(data: Dataset) -> npt.NDArray[np.uint8]:
    frame = _first_frame(data)  # YBR is turned into RGB by pydicom
    return frame.astype(np.uint8) if frame.dtype.itemsize == 1 else (frame // 256).astype(np.uint8)


def _grey(data: Dataset) -> npt.NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    if data.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(_first_frame(data), data)
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
        return (coloured >> (bits - 8)).astype(np.uint8)
    values = apply_modality_lut(_thinned(_first_frame(data)), data).astype(np.float32)
    low, high = _window(data) or np.percentile(values, (0.5, 99.5))
    shade = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    if data.PhotometricInterpretation == "MONOCHROME1":
        shade = 1 - shade
    return np.rint(shade * 255).astype(np.uint8)


def _window(data: Dataset) -> tuple[float, float] | None:
    """Lower and upper end of the first window; None when there is none that can be used."""
    from pydicom.multival import MultiValue

    centre, width = (
        value[0] if isinstance(value, MultiValue) and value else value
        for value in (data.get("WindowCenter"), data.get("WindowWidth"))
    )
    if not isinstance(centre, int | float) or not isinstance(width, int | float) or width < 1:
        return None
    return float(centre) - 0.5 - (float(width) - 1) / 2, float(centre) - 0.5 + (float(width) - 1) / 2


def _word(data: Dataset, name: str) -> str:
    """A coded word (DICOM CS: capitals, digits, space, underscore), else nothing."""
    value = str(data.get(name) or "").strip().upper()
    return value if len(value) <= 16 and value.replace("_", "").replace(" ", "").isalnum() else ""


def _why(data: Dataset, problem: Exception) -> str:
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_compressed:
        return f"pixels compressed as {syntax.name}, which could not be decoded"
    return f"pixels that do not fit their description ({type(problem).__name__})"
