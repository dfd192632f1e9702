"""What the tests of secure aggregation share: a programme of clinics and stewards, and a clock."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from akazuba.privacy.aggregation.messages import (
    Accepted,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.rehearsal import (
    Planned,
    Programme,
    planned,
    programme,
)
from akazuba.privacy.aggregation.ring import (
    MODULUS,
    Vector,
)
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.keys.signed import sign

NOW = 1_790_000_000
ROUND = bytes(range(16))


def random(seed: int) -> Callable[[int], bytes]:
    """Bytes that are the same at each run."""
    return np.random.default_rng(seed).bytes


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Scene:
    made: Programme
    clock: Clock

    def round(self, given: Planned, name: str = "round") -> Round:
        path = self.made.folder / f"{name}.sqlite3"
        return Round(path, given.plan, self.made.coordinator, self.made.registry, self.clock)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = Clock()
    made = programme(tmp_path, clinics=6, stewards=5, now=clock)
    yield Scene(made, clock)
    made.close()


def some_updates(number: int, dimension: int = 3000) -> list[np.ndarray]:
    chance = np.random.default_rng(7)
    return [chance.normal(0, 0.01, dimension) for _ in range(number)]


def plan(scene: Scene, path: str = "mask", **changes: object) -> Planned:
    given: dict[str, object] = {"least": 3, "most": 6, "threshold": 3, **changes}
    return planned(scene.made, path, 3000, **given)  # type: ignore[arg-type]


def bent(upload: bytes, **changes: object) -> bytes:
    return msgspec.msgpack.encode(
        msgspec.structs.replace(msgspec.msgpack.decode(upload, type=Upload), **changes)
    )


def chi_square_is_plausible(values: Vector, cells: int = 64) -> bool:
    """Whether values look uniform modulo t: chi-square within 6 standard deviations of its mean."""
    counts = np.bincount(values * cells // MODULUS, minlength=cells)
    expected = len(values) / cells
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - (cells - 1)) < 6 * (2 * (cells - 1)) ** 0.5


def set_without_the_first(scene: Scene, given: Planned, server: Round) -> tuple[bytes, list[bytes]]:
    """What a lying server asks for besides the set that it named."""
    left = digests_of(server)[1:]
    named = Accepted(given.checked.plan.round_id, given.checked.digest, tuple(left))
    return sign(scene.made.coordinator, "accepted", named), left


def only_of(left: list[bytes], pairs: Iterable[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
    return [pair for pair in pairs if digest(pair[0]) in left]


def digests_of(server: Round) -> list[bytes]:
    return sorted(row[0] for row in server._file.execute("SELECT digest FROM contribution"))
