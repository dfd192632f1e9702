"""How many signed updates of a million int8 numbers a gateway takes in a second.

    uv run python benchmarks/federation_speed.py [--updates 400] [--terminals 16] [--json]

Three ways, each in processes of their own: through `Gateway.take`, one after the other and without a network
(`gateway_take_per_s`); through the real door over HTTP on this machine by so many terminals at a time
(`gateway_updates_per_s`), of which each announces its update, sends it in pieces, gets the signed answer, and
fetches the newest model (four million bytes) before its next update: "download included"; and the fold. An
answer is given when the update is on the disk. What terminals do at their own places is done before
(training, signing) or after (checking the answers); the processor time that terminals and gateway took is
told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from akazuba.federation.board import Board
from akazuba.federation.doors import HttpLink, serve
from akazuba.federation.gateway import Gateway, Quota
from akazuba.federation.sending import CHUNK_BYTES, CHUNK_BYTES_MOST, LinkError, Parcel
from akazuba.federation.updates import coded, id_of
from akazuba.privacy.keys.signed import sign

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from test_federation_gateway import (  # isort: skip
    COORDINATOR,
    NORTH,
    POSTS,
    members,
    now,
    release,
    said,
    update,
)

DIMENSION = 1_000_000
MODEL = release(numbers=bytes(4 * DIMENSION))


def updates(number: int) -> Iterator[bytes]:
    numbers, scale = coded(np.random.default_rng(1).normal(0, 0.01, DIMENSION), "int8")
    for serial in range(number):
        made = {"numbers": numbers, "scale": scale, "coding": "int8", "dimension": DIMENSION}
        yield update(POSTS[serial % len(POSTS)], serial + 1, MODEL, **made)


def opened(folder: Path) -> Gateway:
    gateway = Gateway(folder / "gateway", NORTH, members(), now, Quota(10**6, 10**6))
    gateway.publish(sign(COORDINATOR, "model-release", MODEL))
    return gateway


def taken(number: int) -> dict[str, float]:
    spent = folded = 0.0
    with TemporaryDirectory() as folder, closing(opened(Path(folder))) as gateway:
        before = peak_mib()
        for data in updates(number):
            started = time.perf_counter()
            gateway.take(data)
            spent += time.perf_counter() - started
        for _ in range(5):
            started = time.perf_counter()
            folded += sum(len(one) > 0 for one in gateway.sums(len(POSTS))) * (time.perf_counter() - started)
    return {
        "gateway_take_per_s": number / spent,
        "gateway_fold_ms_an_update": folded / 5 / len(POSTS) * 1e3,
        "gateway_peak_mb": peak_mib(),
        "gateway_mb_before_the_first": before,
    }


def peak_mib(process: int | str = "self") -> float:
    """Of a process since it began: what getrusage tells also holds the parent's."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def through_the_door(number: int, terminals: int) -> dict[str, float]:
    ready = [(data, _parcel(serial, data)) for serial, data in enumerate(updates(number))]
    with TemporaryDirectory() as folder, _door(Path(folder)) as (url, process):
        links = [HttpLink(url) for _ in range(terminals)]
        shares = [ready[place::terminals] for place in range(terminals)]
        own, theirs, before = _cpu_s(os.getpid()), _cpu_s(process.pid), peak_mib(process.pid)
        started = time.perf_counter()
        with ThreadPoolExecutor(terminals) as pool:
            answers = [one for part in pool.map(_terminal, links, shares) for one in part]
        spent = time.perf_counter() - started
        own, theirs = _cpu_s(os.getpid()) - own, _cpu_s(process.pid) - theirs
        peak = peak_mib(process.pid)
        for link in links:
            link.close()
    if (accepted := sum(said(one).outcome == "accepted" for one in answers)) != number:
        raise SystemExit(f"{accepted} of {number} accepted")
    return {
        "gateway_updates_per_s": number / spent,
        "gateway_updates": number,
        "gateway_terminals_at_a_time": terminals,
        "gateway_processor_ms_an_update": theirs / number * 1e3,
        "gateway_terminals_processor_ms_an_update": own / number * 1e3,
        "gateway_processors_got": (own + theirs) / spent,
        "gateway_door_peak_mb": peak,
        "gateway_door_mb_before_the_first": before,
    }


def _parcel(serial: int, data: bytes) -> tuple[bytes, str]:
    digest = sha256(data).hexdigest()
    parcel = Parcel("rwanda", id_of(data), digest, len(data), now())
    return sign(POSTS[serial % len(POSTS)], "parcel", parcel), digest


def _terminal(link: HttpLink, share: Sequence[tuple[bytes, tuple[bytes, str]]]) -> list[bytes]:
    answers = []
    for data, (parcel, digest) in share:
        status, size = link.announce(parcel), CHUNK_BYTES
        while status.state == "partial":
            status = link.put(digest, status.have, data[status.have : status.have + size])
            size = CHUNK_BYTES_MOST
        answers.append(status.answer)
        if len(link.model() or b"") <= 4 * DIMENSION:
            raise SystemExit("no model came")
    return answers


@contextmanager
def _door(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, __file__, "--door", f"{folder}:{port}"]) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                with closing(HttpLink(url)) as link:
                    try:
                        link.model()
                        break
                    except LinkError:
                        if process.poll() is not None:
                            raise SystemExit("the door did not start") from None
                        time.sleep(0.1)
            yield url, process
        finally:
            process.terminate()


def _cpu_s(pid: int) -> float:
    """Processor time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(number: int, terminals: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for way in (f"--taken={number}", f"--through={number}"):
        command = [sys.executable, __file__, way, "--terminals", str(terminals)]
        found |= json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--updates", type=int, default=400)
    arguments.add_argument("--terminals", type=int, default=16)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--taken", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--through", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--door", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.door:
        folder, _, port = given.door.rpartition(":")
        board = Board(Path(folder) / "round", members(), now)
        serve(opened(Path(folder)), board, "127.0.0.1", int(port), None, None)
    elif given.taken:
        print(json.dumps(taken(given.taken)))
    elif given.through:
        print(json.dumps(through_the_door(given.through, given.terminals)))
    else:
        print(json.dumps(measured(given.updates, given.terminals), indent=None if given.json else 2))


if __name__ == "__main__":
    main()
