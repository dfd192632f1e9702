"""How long one whole consultation takes here, and how much memory this process used at its peak."""

from __future__ import annotations

import time
from pathlib import Path

from akazuba.consult import Box, assess
from akazuba.intake.cases import read_cases


def measure(box: Box, case_file: Path, runs: int) -> dict[str, float]:
    """Assesses the first case of a file `runs` times.

    Latency is from the parsed case to the assessment, image decoding included, in milliseconds;
    peak_rss_mb is the high-water mark of the whole process so far, in MiB.
    """
    line = next(iter(read_cases(str(case_file))))
    assess(box, line)
    latencies = []
    for _ in range(runs):
        start = time.perf_counter()
        assess(box, line)
        latencies.append((time.perf_counter() - start) * 1e3)
    latencies.sort()
    return {
        "runs": runs,
        "latency_ms_p50": round(latencies[len(latencies) // 2], 2),
        "latency_ms_p95": round(latencies[min(len(latencies) - 1, int(len(latencies) * 0.95))], 2),
        "peak_rss_mb": round(peak_rss_mib(), 1),
    }


def peak_rss_mib() -> float:
    """High-water mark of this process's resident memory (VmHWM; Linux only).

    `getrusage` is no substitute: its figure survives `exec` and so includes the parent process.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status holds no VmHWM line")
