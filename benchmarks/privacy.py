"""What privacy costs, and whether sums are right: `uv run python benchmarks/privacy.py [--quick] [--json]`.

Clinics and their updates are SIMULATED (random numbers); every other part is the real one, on one machine:
signatures, masks, BFV in its own process, files, stewards. A sum is exact when it equals, number for number,
the sum of what each clinic rounded and noised, recomputed from its random bytes. Dropping: that share of the
clinics never sends, and at the end as many stewards as may be missing do not answer.

client_ms: a clinic's whole message (median over clinics), in a process that has started. upload_ratio: its
bytes over those of float32. The baselines run in the same run on the same updates. handshake_ms: both ends of
a hello, and one megabyte sealed. kme_keys_per_s: two key management entities over mutual TLS on loopback.
etsi014_checks: our own suite, written from the standard as far as it could be read.
fuzz_runs: of this run; `benchmarks/fuzz_privacy.py` makes a million, whose result is in `results/`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from figures import options_of, tell, wilson
from fuzz_privacy import bent_ciphertexts, fuzzed
from kme_speed import keys_per_s  # finds etsi014_checks in tests/
from privacy_baselines import ckks, secaggplus

from etsi014_checks import CHECKS, running_pair  # isort: skip

from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import contribute
from akazuba.privacy.aggregation.messages import Path as How
from akazuba.privacy.aggregation.rehearsal import Planned, Programme, opened, planned, programme
from akazuba.privacy.aggregation.ring import MODULUS, Vector, centred
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.keys.envelope import QuantumKey, accept, connect, prepare
from akazuba.privacy.noise import discrete_gaussian

STEWARDS, THRESHOLD = 5, 3
FULL = [
    *(
        (n, k, drop, path)
        for n in (100_000,)
        for k in (20, 200)
        for drop in (0.0, 0.2, 0.6)
        for path in ("mask", "he")
    ),
    *((1_000_000, 20, drop, path) for drop in (0.0, 0.6) for path in ("mask", "he")),
    (1_000_000, 200, 0.6, "mask"),
]
QUICK = [
    *((100_000, 20, drop, path) for drop in (0.0, 0.2, 0.6) for path in ("mask", "he")),
    (100_000, 200, 0.6, "mask"),
    (1_000_000, 20, 0.6, "mask"),
]


def now() -> int:
    return int(time.time())


def update(number: int, dimension: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(number).normal(0, 0.05, dimension).astype(np.float32)


def sent(made: Programme, given: Planned, clinic: int, bfv: Bfv | None) -> tuple[bytes, Vector, float]:
    """A clinic's upload, what it hid as whole numbers (recomputed from the same random bytes), and
    seconds.
    """
    values = update(clinic, given.checked.plan.dimension)
    started = time.perf_counter()
    part = contribute(made.clinics[clinic], given.checked, values, np.random.default_rng(clinic).bytes, bfv)
    spent = time.perf_counter() - started
    again = np.random.default_rng(clinic).bytes
    whole = given.checked.plan.coding.encoded(values, again)
    whole = whole + discrete_gaussian(given.checked.plan.sigma, len(whole), again)
    return msgspec.msgpack.encode(part), whole, spent


def aggregated(dimension: int, clinics: int, drop: float, path: How) -> dict[str, Any]:
    """One round."""
    stay = round(clinics * (1 - drop))
    with TemporaryDirectory() as folder:
        made = programme(Path(folder), clinics, STEWARDS, now)
        given = planned(made, path, dimension, least=max(2, stay), most=clinics, threshold=THRESHOLD)
        server = Round(Path(folder) / "round.sqlite3", given.plan, made.coordinator, made.registry, now)
        spent, total, size = [], np.zeros(given.checked.plan.coding.padded, np.int64), 0
        with Bfv() as bfv:
            if given.context is not None:
                bfv.open(given.context)
            for clinic in range(stay):
                part, whole, seconds = sent(made, given, clinic, bfv if given.context else None)
                spent.append(seconds)
                size = len(part)
                total += whole
                server.take(part)
        started = time.perf_counter()
        answering = list(range(1, STEWARDS + 1)) if drop == 0 else [1, 3, 5]
        found = opened(made, given, server, answering)
        seconds = time.perf_counter() - started
        server.close()
        made.close()
    return {
        "parameters": dimension,
        "clinics": clinics,
        "dropped": clinics - stay,
        "stewards_answering": len(answering),
        "path": path,
        "exact": bool(np.array_equal(found.whole, centred(total % MODULUS)) and found.clinics == stay),
        "client_ms": round(statistics.median(spent) * 1e3, 1),
        "client_ms_p95": round(sorted(spent)[max(0, round(0.95 * len(spent)) - 1)] * 1e3, 1),
        "upload_ratio": round(size / (4 * dimension), 3),
        "server_and_stewards_s": round(seconds, 2),
    }


def handshake(times: int) -> dict[str, float]:
    """Both ends of a handshake with a SIMULATED quantum key, and a megabyte sealed by the sender."""
    with TemporaryDirectory() as folder:
        made = programme(Path(folder), 1, 1, now)
        box, gateway = made.clinics[0], made.coordinator
        data, key = os.urandom(1_000_000), QuantumKey("k", os.urandom(32), simulated=True)
        spent = []
        for _ in range(times):
            offer = prepare(gateway, now(), os.urandom, qkd="prefer")
            started = time.perf_counter()
            hello, there = connect(
                box, offer.offer, made.registry, ["coordinator"], now(), os.urandom, quantum=key
            )
            back = accept(
                gateway,
                offer,
                hello,
                made.registry,
                ["terminal"],
                now(),
                first_time=lambda *_: True,
                quantum_key=lambda _: key,
            )
            record = there.seal(data)
            spent.append((time.perf_counter() - started) * 1e3)
            if back.open(record) != data:
                sys.exit("error: handshake: expected the megabyte that was sealed, found another one")
        made.close()
    return {
        "handshake_ms": round(statistics.median(spent), 2),
        "handshake_ms_p95": round(sorted(spent)[round(0.95 * times) - 1], 2),
    }


def etsi014() -> dict[str, object]:
    """Our own checks, each with its clause, over mutual TLS."""
    failed = []
    with TemporaryDirectory() as folder, running_pair(Path(folder)) as bench:
        for clause, name, check in CHECKS:
            if bench.status()["stored_key_count"] < 2048:
                bench.refill()
            try:
                check(bench)
            except AssertionError as problem:
                failed.append(f"{clause} {name}: {problem}")
    return {
        "etsi014_checks_passed": len(CHECKS) - len(failed),
        "etsi014_checks": len(CHECKS),
        "etsi014_failed": failed,
    }


def kme(seconds: float) -> dict[str, object]:
    found = keys_per_s(seconds)
    return {
        "kme_keys_per_s": found["keys_per_s_in_batches_of_128"],
        "kme_keys_per_s_one_a_request": found["keys_per_s_one_a_request"],
        "kme_median_ms_one_key": found["median_ms_one_key_enc_and_dec"],
    }


def measured(*, quick: bool) -> dict[str, Any]:
    rounds = []
    for dimension, clinics, drop, path in QUICK if quick else FULL:
        _note(f"{path}: {dimension} parameters, {clinics} clinics, {drop:.0%} dropping")
        rounds.append(aggregated(dimension, clinics, drop, path))
    small = {
        r["path"]: r for r in rounds if (r["parameters"], r["clinics"], r["dropped"]) == (100_000, 20, 0)
    }
    updates = [update(i, 100_000) for i in range(20)]
    figures: dict[str, Any] = {
        "simulated": "clinics and updates",
        "aggregate_exact": wilson(sum(r["exact"] for r in rounds), len(rounds)),
        "client_ms_100k": small["he"]["client_ms"],
        "client_ms_100k_mask": small["mask"]["client_ms"],
        "upload_ratio_he": small["he"]["upload_ratio"],
        "upload_ratio_mask": small["mask"]["upload_ratio"],
        "bfv_start_ms": round(_start_ms(), 1),
    }
    steps: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("Flower SecAgg+", lambda: secaggplus(updates)),
        ("TenSEAL CKKS", lambda: ckks(updates)),
        ("handshakes", lambda: handshake(50 if quick else 500)),
        ("key management entities", lambda: kme(5.0 if quick else 30.0)),
        ("ETSI 014", etsi014),
        ("fuzzing", lambda: fuzzed(20_000 if quick else 200_000)),
        ("bent ciphertexts", lambda: dict(bent_ciphertexts(50 if quick else 500))),
    ]
    for what, step in steps:
        _note(what)
        figures |= step()
    return figures | {"rounds": rounds}


def _start_ms() -> float:
    started = time.perf_counter()
    with Bfv() as bfv:
        bfv.new_keys()
    return (time.perf_counter() - started) * 1e3


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    given = options_of(__doc__, "quick", "json").parse_args()
    tell(measured(quick=given.quick), given, __file__)


if __name__ == "__main__":
    main()
