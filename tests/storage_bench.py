"""What the tests of the store share: a box with a store, and what befalls its files."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akazuba.storage import file as store_file
from akazuba.storage.person import Person
from akazuba.storage.spool import (
    Spool,
)
from akazuba.storage.store import Store
from akazuba.storage.unlocking import (
    FILE,
    Cost,
    StoreKey,
    set_up,
    unlocked,
)

PASSPHRASE, PAPER = "a long passphrase", "the paper in the safe"
CHEAP = Cost(32, 1, 1)
NOTE = b"cough for three weeks, night sweats; suspected tuberculosis"
CHANTAL = Person("p1", "Uwim\u00e1na Chantal", "1990-05-01", "female", "Huye")
OTHER = Person("p2", "Mugabo \u00c9ric", "1984")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    set_up(tmp_path / "box", PASSPHRASE, cost=CHEAP)
    return tmp_path / "box"


@pytest.fixture
def key(home: Path) -> StoreKey:
    return unlocked(home, PASSPHRASE)


@pytest.fixture
def store(home: Path, key: StoreKey) -> Iterator[Store]:
    with closing(opened(home, key)) as made:
        made.admit(CHANTAL, "nurse")
        made.admit(OTHER, "nurse")
        yield made


def opened(home: Path, key: StoreKey, **how: bool) -> Store:
    times = iter(range(1_790_000_000_000, 1_790_001_000_000))
    return Store(home, key, lambda: next(times), **how)


@contextmanager
def in_hand(home: Path, key: StoreKey) -> Iterator[Any]:
    """The file as somebody sees it who holds the key."""
    with closing(store_file.opened(home / FILE, key.database, read_only=False)) as file:
        yield file


def rewrite(home: Path, key: StoreKey, *statements: str) -> None:
    with in_hand(home, key) as file:
        for name in ("entry_update", "entry_delete", "node_update", "node_delete"):
            file.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            file.execute(statement)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def in_a_child(work: Callable[[], object]) -> None:
    """In a process that ends as by a power cut: what the work returns is never closed."""
    pid = os.fork()
    if pid == 0:
        try:
            held = work()
            assert held is not None
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)


def mismatches(store: Store) -> list[int]:
    """What an audit looks at: entries that are not the ones whose leaves the log holds."""
    found = dict(store.leaves())
    return [index for index in range(store.size) if found.get(index) != store.node(0, index)]


@contextmanager
def no_room_after(path: Path, more: int) -> Iterator[None]:
    """Files may grow to this file's size and `more` bytes; the write that goes on is cut short."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def spooled(store: Store) -> list[bytes]:
    bodies = [msgspec.json.decode(entry.body or b"") for entry in store.entries(kind="locked-case")]
    return [msgspec.convert(body["body"], bytes) for body in bodies]


def fill(home: Path, number: int) -> list[str]:
    spool = Spool(home)
    return [spool.add(1_790_000_000_000 + i, "case", "nurse", b"%d" % i) for i in range(number)]
