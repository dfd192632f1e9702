"""Keys a second from two key management entities, each a process of its own, over mutual TLS on this machine.

A key counts when kme-a has delivered it to the master and kme-b the same bits to the slave. Four commits to
the disk lie between (reserved, taken by the peer, delivered, claimed), however many keys a request asks for.
The bits are random ones in place of a link's: SIMULATED.

    .venv/bin/python benchmarks/kme_speed.py [SECONDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from etsi014_checks import context, feed, make_folder

from akazuba.privacy.qkd.client import KmeClient, Line
from akazuba.privacy.qkd.configuration import Site, read_site
from akazuba.privacy.qkd.kme_server import start

BATCH = 128
BITS = 256


def keys_per_s(seconds: float) -> dict[str, float]:
    """seconds: of each of the two measurements. In batches of 128, and one key a request."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _processes(Path(folder)) as sites,
        _clients(Path(folder), sites) as (master, slave),
    ):
        batched, _ = _measured(master, slave, BATCH, seconds, Path(folder), sites)
        single, waits = _measured(master, slave, 1, seconds, Path(folder), sites)
    return {
        "keys_per_s_in_batches_of_128": round(batched, 1),
        "keys_per_s_one_a_request": round(single, 1),
        "median_ms_one_key_enc_and_dec": round(1000 * median(waits), 2),
        "key_bits": BITS,
        "seconds": seconds,
    }


def _measured(
    master: KmeClient, slave: KmeClient, number: int, seconds: float, folder: Path, sites: list[Site]
) -> tuple[float, list[float]]:
    """Keys a second, and the seconds of each round. Filling the pool is not counted. Both ends ask in turn,
    because each draws from its own half.
    """
    waits = list[float]()
    ends = ((master, "sae-1"), (slave, "sae-2"))
    while sum(waits) < seconds:
        if min(a.status(name).stored_key_count for (a, _), (_, name) in (ends, ends[::-1])) < 4 * BATCH:
            feed(folder, sites, 4, 500_000)
        for (asks, own), (fetches, other) in (ends, ends[::-1], ends, ends[::-1]):
            started = time.perf_counter()
            keys = asks.enc_keys(other, number, BITS)
            same = fetches.dec_keys(own, [key.key_id for key in keys])
            waits.append(time.perf_counter() - started)
            if same != keys:
                raise AssertionError("the two ends gave different keys")
    return number * len(waits) / sum(waits), waits


@contextmanager
def _processes(folder: Path) -> Iterator[list[Site]]:
    sites = make_folder(folder)
    with ExitStack() as stack:
        for site in sites:
            command = [sys.executable, __file__, "serve", str(folder / f"{site.id}.json")]
            child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(child.kill)
            if child.stdout is None or child.stdout.readline() != "ready\n":
                raise AssertionError(f"{site.id} did not start")
        yield sites


@contextmanager
def _clients(folder: Path, sites: list[Site]) -> Iterator[tuple[KmeClient, KmeClient]]:
    with ExitStack() as stack:
        clients = []
        for sae, site in zip(("sae-1", "sae-2"), sites, strict=True):
            line = Line(f"https://127.0.0.1:{site.port}", context(folder, sae), server=site.id)
            clients.append(KmeClient(line))
            stack.callback(line.close)
        yield clients[0], clients[1]


def _serve(path: Path) -> None:
    start(read_site(path), path)
    print("ready", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _serve(Path(sys.argv[2]))
    print(json.dumps(keys_per_s(float(sys.argv[1]) if sys.argv[1:] else 5.0), indent=2))
