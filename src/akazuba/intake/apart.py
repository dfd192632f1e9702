"""Decoding in a process of its own, with limits on memory and time.

For what is costly or dangerous to decode here: a DICOM file (importing pydicom alone costs some 80 MiB,
and its pixels may be compressed in many ways), a large PNG, a large progressive JPEG. A file made to
exhaust memory or time ends that process and costs its picture, never the box.

The child (`python -m akazuba.intake.apart dicom MIB SECONDS`) reads the file from its standard input and
answers one line of JSON, followed by the raw pixels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import BytesIO
from typing import BinaryIO, Literal

import numpy as np

from akazuba.errors import ImageError
from akazuba.intake import dicom, raster
from akazuba.intake.raster import Decoded

MEMORY_MIB = 768
"""Address space of the child (RLIMIT_AS)."""

SECONDS = 20

OUT_OF_MEMORY = 3
"""Exit status of a child that ran out of memory in an orderly way."""


def decoded_apart(how: Literal["dicom", "raster"], stream: BinaryIO, name: str) -> Decoded:
    """Decodes the whole stream in a child process. Raises ImageError for whatever the child could not do."""
    command = [sys.executable, "-P", "-m", "akazuba.intake.apart", how, str(MEMORY_MIB), f"{SECONDS:.0f}"]
    expected = f"a picture that decodes within {MEMORY_MIB} MiB and {SECONDS} s"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread reserves address space
    try:
        if isinstance(stream, BytesIO):
            done = subprocess.run(  # noqa: S603 - our own module
                command,
                input=stream.getbuffer(),
                capture_output=True,
                timeout=SECONDS,
                env=environment,
                check=False,
            )
        else:
            os.lseek(stream.fileno(), 0, os.SEEK_SET)  # the child starts where the descriptor stands
            done = subprocess.run(  # noqa: S603 - our own module
                command, stdin=stream, capture_output=True, timeout=SECONDS, env=environment, check=False
            )
    except subprocess.TimeoutExpired as problem:
        raise ImageError(name, expected, "one that takes longer") from problem
    head, _, pixels = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        more = (
            "one that needs more memory" if done.returncode == OUT_OF_MEMORY else "one that ended its decoder"
        )
        raise ImageError(name, expected, f"{more} (exit {done.returncode})")
    answer = json.loads(head)
    if "found" in answer:
        raise ImageError(name, answer["expected"], answer["found"])
    shape = answer.pop("shape")
    return Decoded(np.frombuffer(pixels, dtype=np.uint8).reshape(shape), **answer)


def main() -> None:
    """The child: decodes standard input, answers on standard output."""
    import resource

    how, memory, seconds = sys.argv[1], int(sys.argv[2]) * 1024**2, int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stream = BytesIO(sys.stdin.buffer.read())
    try:
        result = (
            dicom.decode(stream, how) if how == "dicom" else raster.decoded(raster.opened(stream, how), how)
        )
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    except ImageError as error:
        answer: dict[str, object] = {"expected": error.expected, "found": error.found}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        return
    answer = {
        "shape": result.pixels.shape,
        "frames": result.frames,
        "modality": result.modality,
        "body_part": result.body_part,
    }
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + result.pixels.tobytes())


if __name__ == "__main__":
    main()
