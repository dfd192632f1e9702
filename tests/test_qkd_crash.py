"""A KME is killed (SIGKILL) at every point of a delivery: no key comes twice, both ends stay in step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from etsi014_checks import context, feed, make_folder

from akazuba.errors import KeysExhaustedError
from akazuba.privacy.keys.envelope import QuantumKey
from akazuba.privacy.qkd.client import KmeClient, Line
from akazuba.privacy.qkd.configuration import Site
from akazuba.privacy.qkd.kme_server import Running, start

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class Ends:
    """kme-a (of the master, sae-1) and kme-b (of the slave, sae-2)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = {site.id: site for site in make_folder(folder)}
        self.running: dict[str, Running] = {}
        self.dying: subprocess.Popen[str] | None = None

    def start(self, name: str) -> None:
        self.running[name] = start(self.sites[name], self.folder / f"{name}.json")

    def start_dying(self, name: str, point: str) -> None:
        script = Path(__file__).with_name("kme_that_dies.py")
        self.dying = subprocess.Popen(
            [sys.executable, script, self.folder / f"{name}.json", point],
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self.dying is not None
        assert self.dying.stdout is not None
        assert self.dying.stdout.readline() == "ready\n"

    def feed(self) -> None:
        self.ready()
        feed(self.folder, list(self.sites.values()), 2, 8192)

    def died(self) -> None:
        assert self.dying is not None
        assert self.dying.wait(10) == -9
        assert self.dying.stdout is not None
        self.dying.stdout.close()

    def close(self) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda each: each.stop(), self.running.values()))
        if self.dying is not None and self.dying.poll() is None:
            self.dying.kill()
            self.died()

    def _as(self, sae: str, kme: str, ask: Callable[[KmeClient], tuple[QuantumKey, ...]]) -> list[QuantumKey]:
        site: Site = self.sites[kme]
        line = Line(f"https://127.0.0.1:{site.port}", context(self.folder, sae), server=kme)
        with closing(KmeClient(line)) as client:
            return list(ask(client))

    def enc(self, number: int = 3) -> list[QuantumKey]:
        return self._as("sae-1", "kme-a", lambda kme: kme.enc_keys("sae-2", number))

    def dec(self, keys: list[QuantumKey]) -> list[QuantumKey]:
        return self._as("sae-2", "kme-b", lambda kme: kme.dec_keys("sae-1", [key.key_id for key in keys]))

    def waiting(self, name: str) -> int:
        """Keys that wait for a slave at one end."""
        with self.running[name].kme._store._reading() as file:
            return file.execute("SELECT COUNT(*) FROM key WHERE bits IS NOT NULL").fetchone()[0]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with ExitStack() as stack:
        both = Ends(tmp_path)
        stack.callback(both.close)
        yield both


def assert_in_step(ends: Ends, before: list[QuantumKey]) -> None:
    """New keys come out alike at both ends, and none is one that was delivered before."""
    keys = ends.enc(40)
    assert ends.dec(keys) == keys
    old = {key.key for key in before}
    assert not old & {key.key for key in keys}


@pytest.mark.parametrize(
    "point",
    ["before draw", "amid", "after draw", "before tell", "after tell", "before deliver", "after deliver"],
)
def test_the_masters_kme_dies_and_its_reservation_is_void_at_both(ends: Ends, point: str) -> None:
    ends.start_dying("kme-a", point)
    ends.start("kme-b")
    ends.feed()
    with pytest.raises(KeysExhaustedError):
        ends.enc()
    ends.died()
    ends.start("kme-a")
    assert ends.running["kme-a"].kme.settle()
    # delivered and lost on the way to the SAE: it waits for a slave that never learns its id, and expires
    assert ends.waiting("kme-b") == (3 if point == "after deliver" else 0)
    assert_in_step(ends, [])


@pytest.mark.parametrize("point", ["before accept", "amid", "after accept"])
def test_the_slaves_kme_dies_and_the_master_gets_nothing(ends: Ends, point: str) -> None:
    ends.start_dying("kme-b", point)
    ends.start("kme-a")
    ends.feed()
    with pytest.raises(KeysExhaustedError):
        ends.enc()
    ends.died()
    with pytest.raises(KeysExhaustedError):
        ends.enc()
    ends.start("kme-b")
    assert ends.running["kme-a"].kme.settle()
    assert ends.waiting("kme-b") == 0
    assert_in_step(ends, [])


def test_the_slaves_kme_dies_while_it_forgets_and_is_told_again(ends: Ends) -> None:
    ends.start_dying("kme-a", "after tell")
    ends.start("kme-b")
    ends.feed()
    with pytest.raises(KeysExhaustedError):
        ends.enc()
    ends.died()
    ends.running.pop("kme-b").stop()
    ends.start_dying("kme-b", "before forget")
    ends.start("kme-a")
    ends.ready()
    assert not ends.running["kme-a"].kme.settle()
    ends.died()
    ends.start("kme-b")
    assert ends.running["kme-a"].kme.settle()
    assert ends.waiting("kme-b") == 0
    assert_in_step(ends, [])


@pytest.mark.parametrize("point", ["before claim", "after claim"])
def test_the_slaves_kme_dies_while_it_hands_out_and_hands_out_once(ends: Ends, point: str) -> None:
    ends.start_dying("kme-b", point)
    ends.start("kme-a")
    ends.feed()
    keys = ends.enc()
    with pytest.raises(KeysExhaustedError):
        ends.dec(keys)
    ends.died()
    ends.start("kme-b")
    if point == "before claim":
        assert ends.dec(keys) == keys
    with pytest.raises(KeysExhaustedError):
        ends.dec(keys)
    assert_in_step(ends, keys)
