"""Runs one KME whose process is killed (SIGKILL) at a point: CONFIG POINT. For tests/test_qkd_crash.py."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from akazuba.privacy.qkd import pool
from akazuba.privacy.qkd.certificates import client_context
from akazuba.privacy.qkd.client import Line
from akazuba.privacy.qkd.configuration import read_site
from akazuba.privacy.qkd.kme_server import start, telling
from akazuba.privacy.qkd.requests import Answer
from akazuba.privacy.qkd.store import Store

POINT = sys.argv[2] if __name__ == "__main__" else ""


def reached(point: str) -> None:
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(name: str, work: Callable[..., object]) -> Callable[..., object]:
    def wrapped(*given: object) -> object:
        reached(f"before {name}")
        done = work(*given)
        reached(f"after {name}")
        return done

    return wrapped


class DyingStore(Store):
    """Dies around, or in the middle of, each transaction that moves bits."""


for _name in ("draw", "deliver", "accept", "claim", "forget"):
    setattr(DyingStore, _name, dying(_name, getattr(Store, _name)))


def _erase(*given: object, work: Callable[..., None] = pool.erase) -> None:
    work(*given)
    reached("amid")


pool.erase = _erase


def main() -> None:
    path = Path(sys.argv[1])
    site = read_site(path)
    files = [site.path(name, path) for name in (site.certificate, site.key, site.authority)]
    tell = telling(Line(site.peer.url, client_context(*files), server=site.peer.id, timeout_s=3))

    def told(to: str, body: bytes) -> Answer:
        if to.endswith("reservations"):
            reached("before tell")
        answer = tell(to, body)
        if to.endswith("reservations"):
            reached("after tell")
        return answer

    store = DyingStore(site.path(site.store, path), even=site.id < site.peer.id, now=time.time)
    start(site, path, tell=told, store=store)
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    threading.Event().wait()


if __name__ == "__main__":
    main()
