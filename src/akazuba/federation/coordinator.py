"""The coordinator: adds gateways' sums up, makes versions, and starts again by itself where it was.

`coordinator.sqlite3` holds every version as it was signed, which updates are in it, and the state to go on
from; a version, its updates and its state are written in one transaction. What was in the open buffer at a
power cut is not lost: gateways keep an update until they hear that it was counted, and send it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.durable import open_durable, writing
from akazuba.errors import ArtefactError, BudgetError, InputError, UntrustedError
from akazuba.federation.accounts import Accounts
from akazuba.federation.folding import Folding, Random, Rules, State, Version
from akazuba.federation.halflife import Look
from akazuba.federation.sums import Sum
from akazuba.federation.updates import Base, ModelRelease, Numbers
from akazuba.privacy.keys.enrolment import Name
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign

FILE = "coordinator.sqlite3"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS version (number INTEGER PRIMARY KEY, at INTEGER NOT NULL,
    sha256 BLOB NOT NULL, release BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS counted (id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS programme (one INTEGER PRIMARY KEY CHECK (one = 1), meaning BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tally (word TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""

EVERYBODY = 100_000
"""Terminals in one sum, at most."""

EARLIER = 50
"""So many versions before the newest updates may start from."""

Ids = Annotated[
    list[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]], Meta(min_length=1, max_length=EVERYBODY)
]


class PartialSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a gateway, kind "partial-sum". version: of the terms it was made under. numbers: float32, or
    float64 whole steps where there is a grid, little-endian. looks: elapsed seconds and excess of each.
    """

    programme: Name
    version: Annotated[int, Meta(ge=0)]
    ids: Ids
    terminals: Annotated[list[Name], Meta(max_length=EVERYBODY)]
    size: Annotated[float, Meta(gt=0)]
    weight: Annotated[float, Meta(gt=0)]
    unclipped: Annotated[int, Meta(ge=0)]
    looks: list[tuple[float, float]]
    numbers: bytes


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a coordinator tells a gateway. release: the newest, signed. counted: updates that are in a
    version. busy: terminals in the open buffer, and those whose privacy budget is used up. room: terminals
    that it still takes.
    """

    release: bytes
    counted: list[str]
    busy: list[str]
    room: Annotated[int, Meta(ge=0)]


def partial(identity: Identity, programme: str, total: Sum) -> bytes:
    """What a gateway sends of a sum."""
    kind = "<f8" if total.terms.grid else "<f4"
    looks = [(look.elapsed_s, look.excess) for look in total.looks]
    said = PartialSum(
        programme,
        total.terms.version,
        total.ids,
        total.terminals,
        total.size,
        total.weight,
        total.unclipped,
        looks,
        total.total.astype(kind).tobytes(),
    )
    return sign(identity, "partial-sum", said)


@dataclass(frozen=True)
class Reply:
    """counted: those of the sum's updates that are in a version, so that the gateway may let them go. made:
    the version that this sum completed. refused: why it was not added, empty when it was.
    """

    counted: tuple[str, ...] = ()
    made: Version | None = None
    refused: str = ""


class Coordinator:
    """identity: the coordinator's own. random: of noise and pairs (`os.urandom`). accounts: with noise
    only.
    """

    def __init__(
        self,
        path: Path,
        rules: Rules,
        start: Numbers,
        identity: Identity,
        registry: Registry,
        now: Callable[[], int],
        random: Random,
        accounts: Accounts | None = None,
        meaning: bytes = b"",
    ) -> None:
        """start: (dimension,) the model of version 0, for the first time. meaning: of the programme, which
        every version names from then on; without it, as the file has it. Raises ArtefactError when the file
        is not one of this model, or of another programme: its numbers stand for other conditions.
        """
        self._identity, self._registry, self._now = identity, registry, now
        self._file = open_durable(path, _SCHEMA, "a coordinator's file")
        self._path, self._rules, self._random, self._accounts = path, rules, random, accounts
        self._meaning = self._named(meaning)
        if self._file.execute("SELECT 1 FROM state").fetchone() is None:
            self.folding = Folding(rules, start, random, accounts=accounts)
            self._keep(None)
        else:
            self.folding = self._resumed(len(start))

    def _named(self, meaning: bytes) -> bytes:
        row = self._file.execute("SELECT meaning FROM programme").fetchone()
        if row is None and meaning:
            with writing(self._file) as file:
                file.execute("INSERT INTO programme VALUES (1, ?)", (meaning,))
        elif row and meaning not in (b"", row[0]):
            raise ArtefactError(str(self._path), "a model of this programme", "one of another")
        return row[0] if row else meaning

    def _resumed(self, dimension: int) -> Folding:
        (data,) = self._file.execute("SELECT bytes FROM state").fetchone()
        try:
            state = msgspec.msgpack.decode(data, type=State)
        except msgspec.MsgspecError as problem:
            raise ArtefactError(str(self._path), "a state of this version", str(problem)) from problem
        if len(state.model) != 4 * dimension:
            found = f"{len(state.model) // 4} numbers"
            raise ArtefactError(str(self._path), f"a model of {dimension} numbers", found)
        return Folding.resumed(self._rules, state, self._random, self._accounts)

    def close(self) -> None:
        self._file.close()

    def release(self) -> bytes:
        """The newest version as it was signed."""
        query = "SELECT release FROM version ORDER BY number DESC LIMIT 1"
        data: bytes = self._file.execute(query).fetchone()[0]
        return data

    def asking(self, ids: list[str]) -> Asking:
        """What to ask a gateway for. ids: updates that it sent before and has not heard of."""
        folding = self.folding
        busy = [*folding.terminals(), *folding.exhausted()]
        return Asking(self.release(), list(self._counted(ids)), busy, folding.room())

    def take(self, data: bytes) -> Reply:
        """Adds a gateway's sum, each update once. A sum that holds an update which was counted already, or
        is of another version's terms, is not added; the gateway makes it anew from what is left.

        Raises UntrustedError for one that no gateway signed or that cannot be.
        """
        said, gateway = self._registry.said(data, "partial-sum", PartialSum, ["gateway"], self._now())
        if counted := self._counted(said.ids):
            return Reply(counted, refused="some of it was counted before")
        if said.version != self.folding.version:
            return Reply(refused=f"it is of version {said.version}, not {self.folding.version}")
        total = self._sound(gateway.name, said)
        try:
            made = self.folding.merge(total, self._now())
        except (InputError, BudgetError) as problem:
            self._count("budget" if isinstance(problem, BudgetError) else "not-merged")
            return Reply(refused=str(problem))
        if made is None:
            return Reply()
        self._keep_or_undo(made)
        return Reply(made.ids, made)

    def adopt(self, total: Numbers, clinics: int, name: str) -> Version:
        """The version that a masked round's sum becomes, as `Folding.adopt` makes it. name: the round's.

        Raises InputError for a round that is in a version already.
        """
        if (known := self.version_of(name)) is not None:
            raise InputError(name, "a round that is in no version yet", f"version {known}")
        made = self.folding.adopt(total, clinics, name, self._now())
        self._keep_or_undo(made)
        return made

    def _keep_or_undo(self, made: Version) -> None:
        try:
            self._keep(made)
        except BaseException:  # a full disk: what is not written did not happen
            self.folding = self._resumed(len(self.folding.model))
            raise

    def _sound(self, gateway: str, said: PartialSum) -> Sum:
        """The sum, whose norm is no more than so many clipped updates can have."""
        terms = self.folding.terms()
        kind, item = "<f8" if terms.grid else "<f4", f"partial sum of {gateway}"
        size = np.dtype(kind).itemsize * terms.dimension
        if len(said.numbers) != size or len(said.terminals) != len(said.ids):
            found = f"{len(said.numbers)} bytes, {len(said.terminals)} terminals for {len(said.ids)} updates"
            raise UntrustedError(item, f"{size} bytes and a terminal for each update", found)
        total = Sum(terms)
        total.total = np.frombuffer(said.numbers, kind).copy()
        most = len(said.ids) * self.folding.sensitivity() / (terms.grid or 1.0) * (1 + 1e-3)
        norm = math.sqrt(float(np.einsum("i,i->", total.total, total.total, dtype=np.float64)))
        if not norm <= most:
            raise UntrustedError(item, f"an L2 norm of {most:g} at most", f"{norm:g}")
        if not (said.unclipped <= len(said.ids) and said.weight <= said.size <= len(said.ids) + 1e-9):
            expected = f"sizes and weights of {len(said.ids)} updates"
            raise UntrustedError(item, expected, f"{said.size:g}, {said.weight:g}, {said.unclipped}")
        total.ids, total.terminals = list(said.ids), list(said.terminals)
        total.size, total.weight, total.unclipped = said.size, said.weight, said.unclipped
        total.looks = [Look(elapsed, excess) for elapsed, excess in said.looks]
        return total

    def _keep(self, made: Version | None) -> None:
        """The version, its updates and its state: all or nothing."""
        folding, at = self.folding, self._now()
        terms = folding.terms()
        release = ModelRelease(
            self._registry.programme,
            folding.version,
            at,
            folding.model.astype("<f4").tobytes(),
            terms.clip_norm,
            terms.weights.half_life_s,
            terms.weights.alpha,
            terms.weights.cap,
            terms.weights.floor,
            terms.grid,
            folding.rules.robust is not None,
            self._earlier(),
            self._meaning,
        )
        signed = sign(self._identity, "model-release", release)
        with writing(self._file) as file:
            row = (folding.version, at, release.base().sha256, signed)
            file.execute("INSERT INTO version VALUES (?, ?, ?, ?)", row)
            rows = [(update_id, made.version) for update_id in made.ids] if made else []
            file.executemany("INSERT INTO counted VALUES (?, ?)", rows)
            state = msgspec.msgpack.encode(folding.state())
            file.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (state,))

    def _earlier(self) -> dict[int, Base]:
        query = "SELECT number, sha256, at FROM version ORDER BY number DESC LIMIT ?"
        rows = self._file.execute(query, (EARLIER,))
        return {number: Base(sha256, at) for number, sha256, at in rows}

    def _counted(self, ids: list[str]) -> tuple[str, ...]:
        query = "SELECT 1 FROM counted WHERE id = ?"
        return tuple(one for one in ids if self._file.execute(query, (one,)).fetchone())

    def version_of(self, update_id: str) -> int | None:
        """In which version an update is; None while it is in none."""
        row = self._file.execute("SELECT version FROM counted WHERE id = ?", (update_id,)).fetchone()
        return row[0] if row else None

    def counted(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM counted").fetchone()[0])

    def _count(self, word: str) -> None:
        with writing(self._file) as file:
            query = "INSERT INTO tally VALUES (?, 1) ON CONFLICT (word) DO UPDATE SET number = number + 1"
            file.execute(query, (word,))

    def tally(self) -> dict[str, int]:
        return dict(self._file.execute("SELECT word, number FROM tally ORDER BY word"))
