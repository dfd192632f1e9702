"""What the tests of users and sessions share: a health post with six users, and a clock that a test turns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from akazuba.errors import InputError
from akazuba.governance.pins import (
    LONGEST_WAIT_S,
    Moment,
)
from akazuba.governance.roles import (
    Role,
)
from akazuba.governance.sessions import Door, Started
from akazuba.governance.signing_in import tried
from akazuba.governance.users import PASSPHRASE, add
from akazuba.storage.person import Person
from akazuba.storage.store import Store
from akazuba.storage.unlocking import Cost, StoreKey, set_up

PASS = "rain over the tin roof"  # noqa: S105 - of this test
PINS: dict[str, tuple[Role, str]] = {
    "Jean Habimana": ("supervisor", "735194"),
    "Rose Ingabire": ("supervisor", "860392"),
    "Chantal Uwimana": ("nurse", "4071"),
    "Paul Mugisha": ("clinician", "5862"),
    "Odile Keza": ("operator", "918243"),
    "Aline Mutesi": ("auditor", "604837"),
}
JEAN, ROSE, CHANTAL, PAUL, ODILE, ALINE = (name.lower().replace(" ", "-") for name in PINS)
PIN = {name.lower().replace(" ", "-"): pin for name, (_, pin) in PINS.items()}


@dataclass
class Clock:
    """A boot's clock, and a wall clock beside it, that a test turns."""

    seconds: float = 100.0
    boot: str = "first"
    wall_ms: int = 1_790_000_000_000

    def __call__(self) -> Moment:
        return Moment(self.seconds, self.boot)

    def now_ms(self) -> int:
        return self.wall_ms

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall_ms += int(1000 * seconds)

    def restart(self, boot: str = "second") -> None:
        self.seconds, self.boot = 0.0, boot


@dataclass
class Post:
    """A health post: its store with six users and one patient."""

    home: Path
    key: StoreKey
    clock: Clock
    store: Store

    @property
    def door(self) -> Door:
        return Door(self.store, self.clock)

    def signs_in(self, who: str, tablet: str = "tablet-1") -> Started:
        return self.door.start(who, PIN[who], tablet)

    def tries(self, who: str, pin: str, tablet: str = "tablet-1") -> int:
        return tried(self.store, who, pin, tablet, self.clock()).wrong_before

    def log(self, kind: str) -> list[dict[str, object]]:
        return [json.loads(entry.body or b"null") for entry in self.store.entries(kind=kind)]

    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.home, self.key, self.clock.now_ms)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoreKey]:
    home = tmp_path_factory.mktemp("template")
    key = set_up(home, PASS, cost=Cost(8, 1, 1))
    store = Store(home, key, Clock().now_ms)
    for name, (role, pin) in PINS.items():
        add(store, JEAN if store.size else PASSPHRASE, name, role, pin)
    store.admit(Person("p1", "Immaculée Nyirahabimana", "1990"), CHANTAL)
    store.admit(Person("p2", "Eric Nshuti", "2019"), CHANTAL)
    store.close()
    return home, key


@pytest.fixture
def post(template: tuple[Path, StoreKey], tmp_path: Path) -> Iterator[Post]:
    home, key = tmp_path / "home", template[1]
    shutil.copytree(template[0], home)
    clock = Clock()
    made = Post(home, key, clock, Store(home, key, clock.now_ms))
    yield made
    made.store.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    key = set_up(tmp_path, PASS, cost=Cost(8, 1, 1))
    store = Store(tmp_path, key, Clock().now_ms)
    yield store
    store.close()


def wrong(post: Post, number: int, who: str = CHANTAL, tablet: str = "tablet-1") -> None:
    """So many wrong PINs, with the waiting that each needs."""
    for _ in range(number):
        with pytest.raises(InputError, match="another one"):
            post.tries(who, "3906", tablet)
        post.clock.wait(LONGEST_WAIT_S)
