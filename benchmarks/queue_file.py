"""What the encryption of the queue's file costs: `benchmarks/queue_file.py`.

    [--quick] [--json] [--save]

The same operations on a plain file and on one under the device's secret (a file, no TPM), in turns on the
disk of the current folder: a patient arrives, is triaged, and is acknowledged (each one transaction, on the
disk when it returns); another connection reads who waits; the file is opened anew and closed, with so many
transitions in it. Then a plain file of that size is moved over. Times in ms: median with the 95 % interval of
2,000 bootstrap samples, and the 95th percentile.
"""

from __future__ import annotations

import platform
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from figures import options_of, tell

from akazuba.storage.beside import standing
from akazuba.storage.unlocking import DEVICE_FILE, Cost, set_up
from akazuba.waiting.queue import FILE, Queue

KINDS = ("plain", "encrypted")


def main() -> None:
    given = options_of(__doc__, "quick", "json", "save").parse_args()
    tell(measured(200 if given.quick else 2_000), given, __file__)


def measured(patients: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        homes = {kind: Path(folder) / kind for kind in KINDS}
        homes["plain"].mkdir()
        set_up(homes["encrypted"], "a passphrase of the day", cost=Cost(8, 1, 1))
        times = _operated(homes, patients)
        facts: dict[str, Any] = {
            "patients": patients,
            "transitions": 3 * patients,
            **{f"{name}_ms_{kind}": estimate(found) for (name, kind), found in sorted(times.items())},
            **{f"bytes_{kind}": (homes[kind] / FILE).stat().st_size for kind in KINDS},
            "move_ms": _moved(homes, 3 if patients < 1_000 else 9),
        }
    for name in ("arrive", "triage", "acknowledge", "read", "open"):
        cost = facts[f"{name}_ms_encrypted"]["value"] - facts[f"{name}_ms_plain"]["value"]
        facts[f"{name}_ms_more"] = round(cost, 4)
    return {**facts, "python": platform.python_version(), "machine": platform.machine()}


def _operated(homes: dict[str, Path], patients: int) -> dict[tuple[str, str], list[float]]:
    times: dict[tuple[str, str], list[float]] = {}

    def timed(name: str, kind: str, work: Callable[[], object]) -> None:
        begun = time.perf_counter()
        work()
        times.setdefault((name, kind), []).append((time.perf_counter() - begun) * 1000)

    queues = {kind: Queue(homes[kind] / FILE) for kind in KINDS}
    others = {kind: Queue(homes[kind] / FILE) for kind in KINDS}
    assert [standing(homes[kind] / FILE) for kind in KINDS] == list(KINDS)  # noqa: S101 - what is compared
    for number in range(patients):
        for kind in random.Random(number).sample(KINDS, 2):
            queue, name = queues[kind], f"case-{number:06d}-of-today"
            timed("arrive", kind, partial(queue.arrive, name))
            timed("triage", kind, partial(queue.triage, name, "red"))
            timed("acknowledge", kind, partial(queue.acknowledge, name, "nurse-1"))
            timed("read", kind, others[kind].waiting)
            queue.seen(name, "nurse-1")
    for queue in (*queues.values(), *others.values()):
        queue.close()
    for _ in range(max(20, patients // 50)):
        for kind in KINDS:
            timed("open", kind, partial(_opened, homes[kind]))
    return times


def _opened(home: Path) -> None:
    with closing(Queue(home / FILE)):
        pass


def _moved(homes: dict[str, Path], times: int) -> dict[str, float | int]:
    found = []
    for number in range(times):
        home = homes["plain"].with_name(f"moved-{number}")
        home.mkdir()
        (home / FILE).write_bytes((homes["plain"] / FILE).read_bytes())
        (home / DEVICE_FILE).write_bytes(bytes(range(32)))
        begun = time.perf_counter()
        _opened(home)
        found.append((time.perf_counter() - begun) * 1000)
        assert standing(home / FILE) == "encrypted"  # noqa: S101 - what is measured
    return estimate(found)


def estimate(found: list[float]) -> dict[str, float | int]:
    """Of the median."""
    chance = random.Random(6)
    medians = sorted(median(chance.choices(found, k=len(found))) for _ in range(2_000))
    return {
        "value": round(median(found), 4),
        "low": round(medians[50], 4),
        "high": round(medians[1949], 4),
        "p95": round(quantiles(found, n=20)[-1], 4),
        "n": len(found),
    }


if __name__ == "__main__":
    main()
