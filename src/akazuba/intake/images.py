"""A case's image reference becomes a `Picture`: found, checked, decoded, small, without metadata.

The path is relative to the case's file and may be any file that the reader of the case may read, ".."
included: on the command line the author of the case is the local user. A FHIR Bundle comes from
elsewhere; its urls are confined to the bundle's folder by `akazuba.fhir`, and its inline pictures
arrive as `attachments`.

Peak memory measured beside a loaded onnxruntime (58 MiB before; x86-64, Pillow 13): a 12-megapixel JPEG
71 MiB; a 12-megapixel PNG 72 MiB here and 98 MiB in the process that decodes it; a 12-megapixel DICOM
66 MiB here and 150 MiB there; the largest allowed PNG (40 megapixels) 72 MiB here and 218 MiB there.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from akazuba.errors import ImageError, why_not_opened
from akazuba.intake import quality, raster
from akazuba.intake.apart import decoded_apart
from akazuba.intake.dicom import is_dicom
from akazuba.intake.raster import Decoded
from akazuba.records import ImageRef, Picture

MAX_FILE_BYTES = 50 * 1024**2

APART_BYTES = 16 * 1024**2
"""What decoding may hold in this process; what needs more is decoded in a process of its own."""

_NO_ATTACHMENTS: Mapping[str, bytes] = MappingProxyType({})


def load_picture(ref: ImageRef, base: Path, attachments: Mapping[str, bytes] = _NO_ATTACHMENTS) -> Picture:
    """Decodes one image: uint8, longer side at most 1024 pixels, upright by its EXIF orientation.

    base: folder that a relative path starts from.
    attachments: pictures that came inside the case, by `ref.path`; looked at first.
    Raises ImageError, whose item is the path, for what cannot be decoded. A picture that can be decoded
    but not judged (too dark, of another kind …) comes with its `problems`.
    """
    with _opened(ref.path, base, attachments) as stream:
        decoded = _decoded(stream, ref.path)
    problems = (
        *quality.problems(decoded.pixels, ref.kind),
        *quality.declared_problems(ref.kind, decoded.modality, decoded.body_part, decoded.frames),
    )
    return Picture(ref.path, ref.kind, decoded.pixels, problems)


def _decoded(stream: BinaryIO, name: str) -> Decoded:
    head = stream.read(132)
    stream.seek(0)
    if is_dicom(head):
        return decoded_apart("dicom", stream, name)
    image = raster.opened(stream, name)
    if raster.cost(image) > APART_BYTES:
        return decoded_apart("raster", stream, name)
    return raster.decoded(image, name)


@contextmanager
def _opened(name: str, base: Path, attachments: Mapping[str, bytes]) -> Iterator[BinaryIO]:
    if name in attachments:
        _refuse_size(name, len(attachments[name]))
        yield BytesIO(attachments[name])
        return
    path = base / name
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise ImageError(name, "an image file", "a folder")
        if not stat.S_ISREG(about.st_mode):
            raise ImageError(name, "an image file", "a device or pipe")
        _refuse_size(name, about.st_size)
        stream = path.open("rb")
    except FileNotFoundError as problem:
        raise ImageError(name, "an image file", f"nothing at {path}") from problem
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise ImageError(name, "an image file that can be read", why_not_opened(problem)) from problem
    with stream:
        yield stream


def _refuse_size(name: str, size: int) -> None:
    if size == 0:
        raise ImageError(name, "an image file", "an empty file")
    if size > MAX_FILE_BYTES:
        raise ImageError(name, f"at most {MAX_FILE_BYTES // 1024**2} MiB", f"{size / 1024**2:.0f} MiB")
