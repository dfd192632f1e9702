"""What the tests of checkpoints share: an honest log, a forked one, and two witnesses."""

import os
from pathlib import Path

import pytest

from akazuba.governance.checkpoint import (
    Checkpoint,
    Verifier,
    read_note,
    signed,
)
from akazuba.governance.witness import (
    Witness,
)
from akazuba.merkle import Frontier, consistency_proof, leaf_hash
from akazuba.privacy.keys.identity import PublicIdentity, new_identity

NOW = 1_790_000_000
ORIGIN = "box-7.akazuba.example"
BOX, SERVER, NEIGHBOUR, STRANGER = (new_identity(os.urandom) for _ in range(4))
LOG = [Verifier(ORIGIN, BOX.public)]


class Log:
    """A log in memory. rewritten: from this entry on it tells another story."""

    def __init__(self, entries: int, rewritten: int | None = None) -> None:
        log, self.nodes, self.states = Frontier(), dict[tuple[int, int], bytes](), [Frontier()]
        for index in range(entries):
            told = b"other" if rewritten is not None and index >= rewritten else b"entry"
            log, made = log.appended(leaf_hash(told + b" %d" % index))
            self.nodes |= {(level, place): hash_ for level, place, hash_ in made}
            self.states.append(log)

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def checkpoint(self, size: int, *extensions: str) -> Checkpoint:
        return Checkpoint(ORIGIN, size, self.states[size].root(), extensions)

    def note(self, size: int, *extensions: str) -> str:
        return signed(self.checkpoint(size, *extensions), BOX, ORIGIN)

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self.node)


HONEST, FORKED = Log(40), Log(40, rewritten=3)
NOTE = HONEST.note(11, f"time {NOW}", "counter 12")
TEXT, SIGNATURES = read_note(NOTE).text, NOTE.rpartition("\n\n")[2]
OLD_LINE, NEW_LINE = SIGNATURES.splitlines(keepends=True)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def logs(origin: str) -> list[PublicIdentity]:
    return [BOX.public] if origin == ORIGIN else []


@pytest.fixture
def witness(tmp_path: Path, clock: Clock):
    made = Witness(tmp_path / "witness.db", SERVER, "server.akazuba.example", clock, logs)
    yield made
    made.close()


@pytest.fixture
def neighbour(tmp_path: Path, clock: Clock):
    made = Witness(tmp_path / "neighbour.db", NEIGHBOUR, "box-8.akazuba.example", clock, logs)
    yield made
    made.close()
