"""Speed and memory of the engine's profiles, each in a process of its own. Part of `engine.py`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from akazuba.diagnosis import artefacts
from akazuba.diagnosis.profiles import installed
from akazuba.settings import from_environ

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "src" / "akazuba" / "examples" / "synthetic-skin-arm.jpg"
NOTE = (
    "61-year-old farmer, itchy spot on the left arm, growing since 3 months, bleeds when scratched, no pain"
)

CHILD = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from akazuba.diagnosis.engine import open_engine
from akazuba.diagnosis.profiles import peak_rss_mib
from akazuba.intake.images import load_picture
from akazuba.records import ImageRef
folder, path, note, threads, runs, explain = sys.argv[1:7]
engine = open_engine(int(threads), Path(folder))
opened = time.perf_counter() - start
times = []
for _ in range(int(runs)):
    start = time.perf_counter()
    picture = load_picture(ImageRef(path, "skin-photo"), Path())
    reading = engine.read(picture, note, True, 61.0, explain=explain == "yes")
    times.append((time.perf_counter() - start) * 1e3)
assert reading.image.labels, reading.image.why
print(json.dumps({"open_ms": opened * 1e3, "times": times, "peak": peak_rss_mib()}))
"""


def speed(runs: int, data: Path | None) -> dict[str, Any]:
    """One JPEG of 224 x 224 (`_1024px`: of 1,024 x 1,024) and a note of 18 words: file to labels, as
    `akazuba assess` reads them.
    """
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = photo(Path(scratch), 224), photo(Path(scratch), 1024)
        student, tiny = artefacts.SHIPPED / "student", artefacts.SHIPPED / "tiny"
        facts |= _measured(student, small, runs, "")
        facts |= _measured(student, small, runs, "_explained", explain="yes")
        facts |= _measured(student, small, runs, "_one_thread", threads=1)
        facts |= _measured(student, large, runs, "_1024px")
        facts |= _measured(tiny, small, runs, "_tiny")
        full, what = full_size(Path(scratch), data)
        facts["full_weights"] = what
        if full is not None:
            facts |= _measured(full, small, runs, "_full")
            facts |= _measured(full, small, max(5, runs // 5), "_full_explained", explain="yes")
            facts |= _measured(full, large, runs, "_full_1024px")
    return facts


def photo(folder: Path, side: int) -> Path:
    path = folder / f"{side}.jpg"
    with Image.open(EXAMPLE) as image:
        image.convert("RGB").resize((side, side)).save(path, quality=88)
    return path


def _measured(
    folder: Path, path: Path, runs: int, suffix: str, threads: int = 2, explain: str = "no"
) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, folder, path, NOTE, threads, runs, explain]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return {
        f"latency_ms_p50{suffix}": round(float(np.percentile(found["times"], 50)), 2),
        f"latency_ms_p95{suffix}": round(float(np.percentile(found["times"], 95)), 2),
        f"latency_ms_first{suffix}": round(found["times"][0], 2),
        f"open_ms{suffix}": round(found["open_ms"], 1),
        f"peak_rss_mb{suffix}": round(found["peak"], 1),
    }


def full_size(scratch: Path, data: Path | None) -> tuple[Path | None, str]:
    """Folder of the full-size profile, and what its weights are: the installed one; else, where the training
    extra and the data are there, the same network before training (as fast and as large, and right about
    nothing).
    """
    trained = {"scratch": ROOT / "scratch" / "full", **installed(from_environ(os.environ).home)}
    for name in ("full", "scratch"):
        if name in trained and (trained[name] / artefacts.MANIFEST).exists():
            return trained[name], "trained"
    if data is None or importlib.util.find_spec("torch") is None:
        return None, "not measured: neither the trained profile nor the training extra is here"
    command = [sys.executable, "-m", "akazuba.training", "--data", str(data), "--full", str(scratch / "full")]
    subprocess.run([*command, "--untrained"], check=True, capture_output=True)
    return scratch / "full", "untrained: for speed, memory and size only"


def consultation(runs: int) -> dict[str, Any]:
    """The whole of `akazuba assess` for one synthetic skin case, explanations included (parsed case to
    assessment), and the peak memory of that process.
    """
    command = [sys.executable, "-m", "akazuba", "model", "benchmark", "--json", "--runs", str(runs)]
    environ = {**os.environ, "AKAZUBA_ENGINE": "student"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    found = json.loads(done.stdout)
    return {f"consult_{key}": found[key] for key in ("latency_ms_p50", "latency_ms_p95", "peak_rss_mb")}
