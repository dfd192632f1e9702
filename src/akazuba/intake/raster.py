"""PNG and JPEG to pixels, with Pillow.

Only the two plugins that are meant are opened, by the file's signature and not by its name. A JPEG is
reduced while it is decoded (libjpeg scales by 1/2, 1/4 or 1/8), so that a 12-megapixel photo costs
about a megapixel; a PNG and a progressive JPEG have to be held whole (`cost`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from akazuba.errors import ImageError

MAX_PIXELS = 40_000_000
MAX_SIDE = 1024
"""The longer side of what comes out, at most; never enlarged."""

_SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}

_OTHERS = {
    b"GIF8": "a GIF file",
    b"BM": "a BMP file",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"RIFF": "a WebP or other RIFF file",
    b"%PDF": "a PDF document",
    b"PK": "a ZIP archive",
    b"<": "a text file (SVG, XML or HTML)",
    b"{": "a text file (JSON)",
}


@dataclass(frozen=True)
class Decoded:
    """Pixels as in `Picture`; frames: how many the file holds (the first is given).

    modality, body_part: what a DICOM file says it shows ("CR", "CHEST"); "" when it does not.
    """

    pixels: npt.NDArray[np.uint8]
    frames: int = 1
    modality: str = ""
    body_part: str = ""


def opened(stream: BinaryIO, name: str) -> ImageFile:
    """Reads the header. Raises ImageError when it is no PNG or JPEG or declares too many pixels."""
    head = stream.read(32)
    stream.seek(0)
    kind = next((kind for signature, kind in _SIGNATURES.items() if head.startswith(signature)), None)
    if kind is None:
        raise ImageError(name, "a PNG, JPEG or DICOM file", _what(head))
    with _pillow(name, kind):
        image: ImageFile = PngImageFile(stream) if kind == "PNG" else JpegImageFile(stream)
    refuse_too_large(name, image.width, image.height)
    return image


def refuse_too_large(name: str, width: int, height: int) -> None:
    """Raises ImageError for a declared size over the limit, before anything of it is decoded."""
    if width * height > MAX_PIXELS:
        found = f"{width} x {height} = {width * height:,}"
        raise ImageError(name, f"at most {MAX_PIXELS:,} pixels", found)


def cost(image: ImageFile) -> int:
    """Bytes that decoding holds, roughly: Pillow keeps colour in 4 bytes a pixel, libjpeg keeps two
    bytes a coefficient of a progressive JPEG.
    """
    pixels = image.width * image.height
    if isinstance(image, JpegImageFile):
        return pixels * 6 if image.info.get("progressive") else pixels // 4
    return pixels * (2 if image.mode in ("1", "L", "I;16") else 8)


def decoded(image: ImageFile, name: str) -> Decoded:
    """Decodes an opened image. Raises ImageError when it is truncated or damaged."""
    frames = getattr(image, "n_frames", 1)
    with _pillow(name, image.format or "image"):
        if isinstance(image, JpegImageFile):
            half = MAX_SIDE / 2 / max(image.size)  # what libjpeg gives is between this and twice as much
            image.draft(None, (max(1, int(image.width * half)), max(1, int(image.height * half))))
        image.load()
        small = reduced(_plain(image))
        ImageOps.exif_transpose(small, in_place=True)  # a copy of a phone's photo is 3 MiB more at the peak
    return Decoded(_on_white(small), frames)


def reduced(image: Image.Image) -> Image.Image:
    """The image with its longer side at most MAX_SIDE."""
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _plain(image: Image.Image) -> Image.Image:
    """Modes that cannot be averaged (palette, one bit, 16 bit) as ones that can."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode.startswith(("I", "F")):
        grey = Image.fromarray(from_16_bit(np.asarray(image)))
        grey.info = image.info
        return grey
    return image


def from_16_bit(values: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Grey of more than 8 bits as 8, by the number of bits in use: 12-bit films come in 16-bit files.

    >>> from_16_bit(np.array([[0, 2048, 4095]], dtype=np.uint16))
    array([[  0, 127, 255]], dtype=uint8)
    """
    largest = int(values.max(initial=0))
    shade: npt.NDArray[np.uint8] = (
        values.clip(0) * (255.0 / (2 ** max(8, largest.bit_length()) - 1))
    ).astype(np.uint8)
    return shade


def _on_white(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels as grey or RGB, with what is transparent shown over white."""
    grey = image.mode in ("L", "LA", "La")
    if image.mode in ("LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if grey else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _what(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file (let the phone save photos as JPEG)"
    return next(
        (what for start, what in _OTHERS.items() if head.startswith(start)), "a file that is no image"
    )


@contextmanager
def _pillow(name: str, kind: str) -> Iterator[None]:
    """Pillow's border: whatever its plugins raise on a damaged file (a dozen kinds) is an ImageError.

    Its warnings are silenced: damaged EXIF, say, costs the orientation and helps no nurse.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise
    except Exception as problem:
        raise _damaged(name, kind, problem) from problem


def _damaged(name: str, kind: str, problem: Exception) -> ImageError:
    short = isinstance(problem, EOFError) or "truncated" in str(problem) or "Truncated" in str(problem)
    found = (
        f"a {kind} file that ends too early (truncated)" if short else f"a damaged {kind} file ({problem})"
    )
    return ImageError(name, f"a whole {kind} file", found)
