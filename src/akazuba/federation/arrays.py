"""Arrays in files that somebody gives: bounded before they are read, and again before they are unpacked."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from akazuba.errors import InputError, why_not_opened

FILE_BYTES = 256 * 1024 * 1024

Arrays = dict[str, npt.NDArray[np.generic]]


def read_file(path: Path, expected: str) -> bytes:
    """Raises InputError for one that cannot be read or is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as problem:
        raise InputError(str(path), expected, why_not_opened(problem)) from problem
    if len(data) > FILE_BYTES:
        raise InputError(str(path), f"at most {FILE_BYTES} bytes", "more")
    return data


def arrays_of(path: Path, data: bytes, expected: str) -> Arrays:
    """By name, of the bytes of an .npz. expected: what it should be. Raises InputError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if sum(one.file_size for one in file.zip.infolist()) > FILE_BYTES:
                raise InputError(str(path), f"at most {FILE_BYTES} bytes unpacked", "more")
            return {name: file[name] for name in file.files}
    except (ValueError, TypeError, AttributeError, EOFError, BadZipFile) as problem:
        raise InputError(str(path), expected, str(problem)) from problem
