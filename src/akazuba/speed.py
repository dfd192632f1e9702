"""How long one whole consultation takes here, and how much memory this process used at its peak."""

from __future__ import annotations

import time
from pathlib import Path

from akazuba.box import Box
from akazuba.consult import assess
from akazuba.diagnosis.profiles import peak_rss_mib
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
