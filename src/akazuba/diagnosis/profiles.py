"""Which size of the engine a box runs: the one that AKAZUBA_ENGINE names, or the largest that it can carry.

`student` and `tiny` come with the package; `full`, some 50 MB, is put into the box's data folder by whoever
has trained it (`python -m akazuba.training`). At the first start every installed profile is measured, the
largest first, in a process of its own, until one keeps to the limits; the answer is kept in the data folder
and holds until models, software or processor change, or until `engine.json` is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from akazuba import __version__
from akazuba.diagnosis import artefacts
from akazuba.diagnosis.artefacts import MANIFEST
from akazuba.diagnosis.engine import open_engine
from akazuba.errors import ArtefactError

NAMES = ("full", "student", "tiny")
"""From the largest to the smallest."""

OPTIONAL = "full"
"""The one that does not come with the package: where a file of the others is missing, something is wrong."""

LATENCY_LIMIT_MS, MEMORY_LIMIT_MIB = 50.0, 128.0
"""Time of one picture with its note, and peak memory of a process that reads and explains it."""

_ANSWER = "engine.json"
_RUNS = 9
_SECONDS = 60
"""A profile that takes longer to open and run a few times is not carried."""


class Measured(msgspec.Struct, frozen=True):
    """None: it was ended, most likely for its memory, or was not done after a minute."""

    latency_ms: float | None = None
    peak_rss_mb: float | None = None

    @property
    def carries(self) -> bool:
        if self.latency_ms is None or self.peak_rss_mb is None:
            return False
        return self.latency_ms <= LATENCY_LIMIT_MS and self.peak_rss_mb <= MEMORY_LIMIT_MIB


class Choice(msgspec.Struct, frozen=True):
    """key: of what was measured where; another one makes the answer void."""

    key: str
    profile: str
    measured: Mapping[str, Measured]


def folder_of(name: str, home: Path) -> Path:
    """Where a profile lies, there or not. name: one of `NAMES`, or the path of a folder (with a /)."""
    if "/" in name:
        return Path(name)
    return home / "models" / name if name == OPTIONAL else artefacts.SHIPPED / name


def installed(home: Path) -> dict[str, Path]:
    """The profiles that are there, or should be, the largest first."""
    folders = {name: folder_of(name, home) for name in NAMES}
    return {name: folder for name, folder in folders.items() if name != OPTIONAL or _is_there(folder)}


def _is_there(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def chosen(name: str, home: Path, threads: int) -> Path:
    """Folder of the profile to run. name: see `folder_of`; "" leaves it to the box.

    Raises ArtefactError when the named one is not there, or when none can be measured.
    """
    if name:
        folder = folder_of(name, home)
        if not _is_there(folder):
            raise ArtefactError(f"AKAZUBA_ENGINE {name}", f"a profile in {folder}", "no manifest.json there")
        return folder
    return folder_of(choice(home, threads).profile, home)


def choice(home: Path, threads: int) -> Choice:
    """What the box has measured, now or at an earlier start.

    Raises ArtefactError when a profile that came with the package is damaged, or when none can be run here.
    """
    there = installed(home)
    key = _key(there, threads)
    with _alone(home):
        kept = _kept(home / _ANSWER)
        if kept is not None and kept.key == key:
            return kept
        measured: dict[str, Measured] = {}
        for name, folder in there.items():
            try:
                measured[name] = measure(folder, threads)
            except ArtefactError:
                if name != OPTIONAL:
                    raise
                measured[name] = Measured()  # `model info` says what is wrong with it
            if measured[name].carries:
                break
        found = Choice(key, next(reversed(measured)), measured)
        if measured[found.profile].latency_ms is None:
            smallest = str(there[found.profile])
            raise ArtefactError(smallest, "a profile that this box can run", "one that was ended")
        _keep(home / _ANSWER, found)
    return found


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process measures at a time: two at once would each find the box slow."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "engine.lock").open("w")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure(folder: Path, threads: int) -> Measured:
    """Speed and peak memory of one profile, in a process of its own. Raises ArtefactError when it fails."""
    command = [sys.executable, "-P", "-m", __name__, str(folder), str(threads)]
    try:
        done = subprocess.run(  # noqa: S603 (our own module)
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Measured()
    except OSError as error:
        raise ArtefactError(str(folder), "a process to measure it in", str(error)) from error
    if done.returncode < 0:
        return Measured()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ArtefactError(str(folder), "a profile that runs", last)
    return msgspec.json.decode(done.stdout, type=Measured)


def peak_rss_mib() -> float:
    """High-water mark of this process's resident memory (VmHWM; Linux only).

    `getrusage` is no substitute: its figure survives `exec` and so includes the parent process.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status holds no VmHWM line")


def _measure_here(folder: Path, threads: int) -> Measured:
    engine = open_engine(threads, folder)
    slowest = 0.0
    for kind in engine.kinds:
        times = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            engine.rehearse(kind)
            times.append((time.perf_counter() - start) * 1e3)
        slowest = max(slowest, float(np.sort(times)[_RUNS // 3]))  # a busy moment at start-up is no slow box
    for kind in engine.kinds:
        engine.rehearse(kind, explain=True)
    return Measured(round(slowest, 2), round(peak_rss_mib(), 1))


def _key(folders: Mapping[str, Path], threads: int) -> str:
    parts = [platform.machine(), _processor(), str(os.cpu_count()), str(threads)]
    parts += [__version__, onnxruntime.__version__, np.__version__]
    parts += [hashlib.sha256(artefacts.content(folder / MANIFEST)).hexdigest() for folder in folders.values()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = [line for start in ("model name", "model") for line in lines if line.lower().startswith(start)]
    return next(iter(named), "")  # "Model" is a Raspberry Pi's; on a PC, "model" is but a number


def _kept(path: Path) -> Choice | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Choice)
    except (OSError, msgspec.DecodeError):
        return None  # not measured yet, or by another version


def _keep(path: Path, found: Choice) -> None:
    """Kept for the next start; a folder that cannot be written costs a measurement at each start."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(found))
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()


def describe(folder: Path) -> dict[str, object]:
    """What a profile is: names, digests, bytes, parameters, licences, data and measured quality.

    Every file is checked against its digest first; raises ArtefactError like `open_engine`.
    """
    manifest = artefacts.read_manifest(folder)
    for name in manifest.files:
        artefacts.checked(folder, name, manifest.files)
    return {
        "model": manifest.model,
        "version": manifest.version,
        "profile": manifest.profile,
        "folder": str(folder),
        "licence": manifest.licence,
        "review": manifest.review,
        "bytes": manifest.size.bytes,
        "parameters": manifest.size.parameters,
        "teacher": msgspec.to_builtins(manifest.teacher),
        "files": {
            name: {"sha256": file.sha256, "bytes": file.bytes} for name, file in manifest.files.items()
        },
        "kinds": {
            name: {
                "heads": {
                    key: {
                        "labels": list(head.labels),
                        "reads_note": head.reads_note,
                        "training": dict(head.training),
                        "metrics": dict(head.metrics),
                    }
                    for key, head in kind.heads.items()
                }
            }
            for name, kind in manifest.kinds.items()
        },
    }


def sizes(home: Path) -> dict[str, int]:
    """Bytes and parameters of the student and of its teacher, both exported in 8 bits by the same rules.

    The teacher's are those of the installed profile `full`, else what the run that trained the student wrote
    down.
    """
    student = artefacts.read_manifest(folder_of("student", home))
    full = installed(home).get("full")
    teacher = artefacts.read_manifest(full).size if full else student.teacher
    if teacher is None:
        raise ArtefactError(
            str(folder_of("student", home)), "the size of its teacher", "none in the manifest"
        )
    return {
        f"{name}_{key}": value
        for name, size in (("teacher", teacher), ("student", student.size))
        for key, value in msgspec.structs.asdict(size).items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(msgspec.to_builtins(_measure_here(Path(sys.argv[1]), int(sys.argv[2])))))
