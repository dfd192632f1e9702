"""A DICOM file of somebody else becomes a small PNG and what the file says of itself.

Parsed and decoded in a process of its own (`python -m akazuba.intake.films NAME MIB SECONDS`), with the
limits of `apart`: that process answers one line of JSON on its standard output, then the raw pixels. The
names that stand in the file come out beside the pixels, as hints for whoever attaches the picture.
"""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from PIL import Image

from akazuba.errors import ImageError
from akazuba.intake import dicom, quality
from akazuba.intake.apart import MEMORY_MIB, OUT_OF_MEMORY, SECONDS
from akazuba.intake.images import MAX_FILE_BYTES

if TYPE_CHECKING:
    from pydicom import Dataset

EXPECTED = f"a DICOM file that is read within {MEMORY_MIB} MiB and {SECONDS} s"
_LONGEST = 120


class Head(msgspec.Struct, frozen=True):
    """What a file says of itself. sop_class, sop_instance, study: UIDs, "" where they are none. born, taken:
    ISO dates, "" where they are not said.
    """

    sop_class: str = ""
    sop_instance: str = ""
    study: str = ""
    name: str = ""
    born: str = ""
    taken: str = ""


class Film(msgspec.Struct, frozen=True):
    """png: longer side at most 1024 pixels, without any words. kind: suggested. problems: in words."""

    png: bytes
    kind: str
    modality: str
    body_part: str
    problems: tuple[str, ...]


class Unreadable(msgspec.Struct, frozen=True):
    """expected, found: of an ImageError."""

    expected: str
    found: str


class _Answer(msgspec.Struct, frozen=True):
    head: Head = Head()
    shape: tuple[int, ...] = ()
    frames: int = 1
    modality: str = ""
    body_part: str = ""
    unreadable: Unreadable | None = None


def read(data: bytes, name: str) -> tuple[Head, Film | ImageError]:
    """name: for errors. The head is as much as could be read, also where there is no film."""
    if not 0 < len(data) <= MAX_FILE_BYTES:
        found = f"{len(data)} bytes"
        return Head(), ImageError(name, f"1 to {MAX_FILE_BYTES} bytes", found)
    if not dicom.is_dicom(data[:132]):
        return Head(), ImageError(name, "a DICOM file", "another file")
    try:
        answer, pixels = _asked(data, name)
    except ImageError as problem:
        return Head(), problem
    if answer.unreadable:
        return answer.head, ImageError(name, answer.unreadable.expected, answer.unreadable.found)
    return answer.head, _film(answer, np.frombuffer(pixels, np.uint8).reshape(answer.shape))


def _asked(data: bytes, name: str) -> tuple[_Answer, bytes]:
    command = [sys.executable, "-P", "-m", "akazuba.intake.films", str(MEMORY_MIB), f"{SECONDS:.0f}"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, input=data, capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise ImageError(name, EXPECTED, "one that takes longer") from problem
    head, _, pixels = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        more = "more memory" if done.returncode == OUT_OF_MEMORY else f"another end (exit {done.returncode})"
        raise ImageError(name, EXPECTED, more)
    try:
        return msgspec.json.decode(head, type=_Answer), pixels
    except msgspec.MsgspecError as problem:
        raise ImageError(name, EXPECTED, str(problem)) from problem


def _film(answer: _Answer, pixels: np.ndarray) -> Film:
    kind = "skin-photo" if pixels.ndim == 3 and answer.modality in ("", "XC", "SC", "OT") else "chest-xray"
    found = (
        *quality.problems(pixels, kind),
        *quality.declared_problems(kind, answer.modality, answer.body_part, answer.frames),
    )
    png = BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    words = tuple(problem.message for problem in found)
    return Film(png.getvalue(), kind, answer.modality, answer.body_part, words)


# --- in the other process -------------------------------------------------------------------------------


def main() -> None:
    import resource

    memory, seconds = int(sys.argv[1]) * 1024**2, int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer, pixels = _answered(sys.stdin.buffer.read())
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n" + pixels)


def _answered(data: bytes) -> tuple[_Answer, bytes]:
    head = Head()
    try:
        head = _head(data)
        decoded = dicom.decode(BytesIO(data), "file")
    except ImageError as problem:
        return _Answer(head, unreadable=Unreadable(problem.expected, problem.found)), b""
    shape = decoded.pixels.shape
    return (
        _Answer(head, shape, decoded.frames, decoded.modality, decoded.body_part),
        decoded.pixels.tobytes(),
    )


def _head(data: bytes) -> Head:
    """Raises ImageError for a damaged file."""
    from pydicom import dcmread

    try:
        said = dcmread(BytesIO(data), force=True, stop_before_pixels=True)
        name = _text(str(said.get("PatientName") or "").replace("^", " ").split("=")[0])
        return Head(
            sop_class=_uid(said, "SOPClassUID"),
            sop_instance=_uid(said, "SOPInstanceUID"),
            study=_uid(said, "StudyInstanceUID"),
            name=name,
            born=_date(said, "PatientBirthDate"),
            taken=_date(said, "StudyDate"),
        )
    except MemoryError:
        raise
    except Exception as problem:  # pydicom raises many kinds on a damaged file
        found = f"a damaged file ({type(problem).__name__})"
        raise ImageError("file", "a DICOM file that can be read", found) from problem


def _uid(said: Dataset, name: str) -> str:
    value = str(said.get(name) or "")
    return value if len(value) <= 64 and value.replace(".", "").isdecimal() and value.isascii() else ""


def _text(value: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:_LONGEST]


def _date(said: Dataset, name: str) -> str:
    """DICOM DA: YYYYMMDD."""
    value = str(said.get(name) or "")
    if len(value) != 8 or not (value.isascii() and value.isdecimal()):
        return ""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}"


if __name__ == "__main__":
    main()
