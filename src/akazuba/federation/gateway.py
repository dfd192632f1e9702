"""A regional gateway: takes updates in, each once, whatever is repeated, reordered or cut; sums them for the
coordinator in O(model) memory.

`gateway.sqlite3` (WAL, synchronous=FULL) is its ledger: an update is in it before it is answered for, and its
bytes stay until the coordinator has counted it. The answer to a repeated update is the first one, word for
word. What is dear of an update (`examined`) may be done in several threads at once, and updates that were
examined go into the ledger together (`settled`): one wait for the disk for all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from sqlite3 import Connection

from akazuba.durable import open_durable, writing
from akazuba.errors import InputError, UntrustedError
from akazuba.federation.halflife import Look
from akazuba.federation.outbox import Outcome
from akazuba.federation.parcels import PARCEL_S, Parcels
from akazuba.federation.sending import Answer, Parcel, Status
from akazuba.federation.sums import Arrived, Sum, Terms
from akazuba.federation.updates import (
    Base,
    Expected,
    ModelRelease,
    Reason,
    Received,
    RefusedError,
    Update,
    id_of,
    received,
    released,
)
from akazuba.federation.weights import Weights
from akazuba.privacy.keys.enrolment import Enrolment
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import believed, sign

FILE = "gateway.sqlite3"
_SCHEMA = """
DROP TABLE IF EXISTS chunk; DROP TABLE IF EXISTS parcel;
CREATE TABLE IF NOT EXISTS taken (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, terminal TEXT NOT NULL, key TEXT NOT NULL,
    serial INTEGER NOT NULL, made INTEGER NOT NULL, at INTEGER NOT NULL, answer BLOB NOT NULL, bytes BLOB,
    counted INTEGER, UNIQUE (key, serial)
);
CREATE INDEX IF NOT EXISTS waiting ON taken (place) WHERE bytes IS NOT NULL;
CREATE INDEX IF NOT EXISTS lately ON taken (terminal, at);
CREATE TABLE IF NOT EXISTS refused (id TEXT PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tally (word TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS release (version INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
"""

_TALLY = "INSERT INTO tally VALUES (?, 1) ON CONFLICT (word) DO UPDATE SET number = number + 1"

PAGE_BYTES, LOG_PAGES = 65_536, 256
"""Of the ledger: updates are long, and each page costs the same. The log is moved into it every 16 MiB."""

DAY_S = 86_400
UNANSWERED: frozenset[Reason] = frozenset({"unreadable", "member", "signature", "early"})
"""Nobody vouches for it, or it may come again."""

REFUSED_PARCEL = "parcel-refused"


@dataclass(frozen=True)
class Quota:
    """a_day: updates of one terminal that are taken within 24 h. parcels: begun and not finished, of one;
    another one takes the place of the oldest, which may have gone to another gateway. bases: newest versions
    from which updates are taken.
    """

    a_day: int = 12
    parcels: int = 3
    bases: int = 50


@dataclass(frozen=True)
class Examined:
    """An update of which everything is known but what came before it. answer: signed; empty where nobody is
    answered.
    """

    data: bytes
    found: Received | RefusedError
    answer: bytes


class Gateway:
    """identity: the gateway's own. now: seconds since 1970. While one of its methods runs, only `piece`,
    `arrived` and `examined` may be called from another thread.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        registry: Registry,
        now: Callable[[], int],
        quota: Quota | None = None,
    ) -> None:
        """Raises ArtefactError when the ledger cannot be used."""
        self._identity, self._registry, self._now = identity, registry, now
        self._quota = quota or Quota()
        self._file = open_durable(path, _SCHEMA, "a gateway's ledger", page_bytes=PAGE_BYTES, any_thread=True)
        self._file.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        self.parcels = Parcels(path.with_name(f"{path.name}.parcels"))
        self._release: ModelRelease | None = None
        self._newest: bytes | None = None
        self._bases: dict[int, Base] = {}
        self._catch_up()

    def close(self) -> None:
        self._file.close()

    def publish(self, data: bytes) -> ModelRelease:
        """Takes a coordinator's release in. Raises UntrustedError for one that is not, that is of another
        size, or that is other than the one known under its number.
        """
        release = released(data, self._registry, self._now())
        known = self._bases.get(release.version)
        if known is not None and known != release.base():
            raise UntrustedError("model release", f"version {release.version} as it is known", "another one")
        if self._release and len(release.numbers) != len(self._release.numbers):
            expected = f"{len(self._release.numbers)} bytes of numbers"
            raise UntrustedError("model release", expected, str(len(release.numbers)))
        with writing(self._file) as file:
            file.execute("INSERT OR IGNORE INTO release VALUES (?, ?)", (release.version, data))
            file.execute("DELETE FROM release WHERE version < ?", (release.version - 1,))
        self._adopt(release, data)
        return release

    def _catch_up(self) -> None:
        """Releases that another process has published: the door and the Flower app are two."""
        newest = self._release.version if self._release else -1
        query = "SELECT bytes FROM release WHERE version > ? ORDER BY version"
        for (data,) in self._file.execute(query, (newest,)).fetchall():
            self._adopt(believed(data, "model-release", ModelRelease), data)

    def _adopt(self, release: ModelRelease, data: bytes) -> None:
        bases = release.earlier | self._bases | {release.version: release.base()}
        newest = max(bases)
        self._bases = {v: b for v, b in bases.items() if v > newest - self._quota.bases}
        if self._release is None or release.version >= self._release.version:
            self._release, self._newest = release, data

    def model(self) -> bytes | None:
        """The newest release as it was signed; None before the first."""
        self._catch_up()
        return self._newest

    # What terminals ask for.

    def announce(self, data: bytes) -> Status:
        """Room for a parcel of a member, or why not now; or the answer to an update that was here before."""
        try:
            parcel, terminal = self._parcel(data)
        except UntrustedError as problem:
            self._count(REFUSED_PARCEL)
            return Status("later", because=str(problem))
        if (answer := self._known(parcel.id)) is not None:
            self.parcels.drop(parcel.sha256)
            return Status("answered", answer=answer)
        self._catch_up()
        self.parcels.drop_before(self._now() - PARCEL_S)
        one = self.parcels.begun(parcel.sha256)
        if self._over_quota(terminal.name):
            self._count("quota")
            return Status("later", because=f"the quota of {terminal.name} is used up for now")
        if one is None:
            self.parcels.make_room(terminal.public.key_id, self._quota.parcels)
            self.parcels.begin(parcel.sha256, parcel.size, terminal.public.key_id, self._now())
        return Status("partial", one.have if one else 0)

    def put(self, digest: str, offset: int, piece: bytes) -> Status:
        """Keeps a piece that fits on; another one changes nothing. The last piece brings the answer."""
        return self.piece(digest, offset, piece) or self.finished([(digest, self.arrived(digest))])[0]

    def piece(self, digest: str, offset: int, piece: bytes) -> Status | None:
        """None when the parcel is all here. Raises ArtefactError when there is no room."""
        one = self.parcels.begun(digest)
        if one is None:
            return Status("later", because="announce the parcel first")
        self.parcels.append(one, offset, piece, self._now())
        return Status("partial", one.have) if one.have < one.size else None

    def arrived(self, digest: str) -> Examined | None:
        """A parcel that is all here, examined; None for other bytes than were announced."""
        one = self.parcels.begun(digest)
        data = self.parcels.read(one) if one else b""
        found = self.examined(data)  # what a member signed was not spoilt on its way
        return found if found.answer or sha256(data).hexdigest() == digest else None

    def finished(self, arrived: Sequence[tuple[str, Examined | None]]) -> list[Status]:
        """What their terminals are told, in the order of the parcels, which are gone."""
        whole = [one for _, one in arrived if one is not None]
        answers = iter(self.settled(whole, [REFUSED_PARCEL] * (len(arrived) - len(whole))))
        told = []
        for digest, one in arrived:
            self.parcels.drop(digest)
            if one is None:
                because = "other bytes came than were announced: send them again"
                told.append(Status("later", because=because))
            elif answer := next(answers):
                told.append(Status("answered", answer=answer))
            else:
                told.append(Status("later", because="it is not taken now"))
        return told

    def take(self, data: bytes) -> bytes | None:
        """The signed answer to an update, however it came; the same one each time. None when nobody of the
        programme signed it, or when its base is not known here yet.
        """
        self._catch_up()
        return self.settled([self.examined(data)])[0]

    def examined(self, data: bytes) -> Examined:
        """By the releases that are known here. Signatures are checked and made in it, and no file is
        touched.
        """
        dimension = len(self._release.numbers) // 4 if self._release else 0
        expected = Expected(self._registry.programme, dimension, self._bases)
        try:
            one = received(data, self._registry, expected, self._now())
        except RefusedError as problem:
            return Examined(data, problem, self._refusal(data, problem))
        note = "the terminal's clock is wrong: it counts as old as it can be" if one.clock_off else ""
        return Examined(data, one, self._answer(one.id, "accepted", note))

    def settled(self, examined: Sequence[Examined], words: Sequence[str] = ()) -> list[bytes | None]:
        """Their signed answers in order, all of them on the disk: one transaction. words: to be counted with
        them. Raises ArtefactError when there is no room; then none of them was taken.
        """
        with writing(self._file) as file:
            for word in words:
                file.execute(_TALLY, (word,))
            return [
                self._refused(file, one.data, one.found, one.answer)
                if isinstance(one.found, RefusedError)
                else self._kept(file, one.data, one.found, one.answer)
                for one in examined
            ]

    def _kept(self, file: Connection, data: bytes, one: Received, answer: bytes) -> bytes | None:
        if (known := self._known(one.id)) is not None:
            file.execute(_TALLY, ("duplicate",))
            return known
        key, serial = one.key_id, one.update.serial
        if file.execute("SELECT 1 FROM taken WHERE key = ? AND serial = ?", (key, serial)).fetchone():
            item = f"update {serial} of {one.terminal}"
            problem = RefusedError("replayed", item, "a serial that did not come before", "another under it")
            return self._refused(file, data, problem, self._refusal(data, problem))
        file.execute(
            "INSERT INTO taken (id, terminal, key, serial, made, at, answer, bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (one.id, one.terminal, key, serial, one.made_s, self._now(), answer, data),
        )
        file.execute(_TALLY, ("clock-off" if one.clock_off else "accepted",))
        return answer

    def _refused(self, file: Connection, data: bytes, problem: RefusedError, answer: bytes) -> bytes | None:
        file.execute(_TALLY, (problem.reason,))
        if not answer:
            return None
        update_id = id_of(data)
        file.execute("INSERT OR IGNORE INTO refused VALUES (?, ?)", (update_id, answer))
        return self._known(update_id)

    def _refusal(self, data: bytes, problem: RefusedError) -> bytes:
        """One that its terminal may act on: only what a member signed is answered for."""
        if problem.reason in UNANSWERED:
            return b""
        return self._answer(id_of(data), "refused", f"{problem.reason}: {problem}")

    def _known(self, update_id: str) -> bytes | None:
        query = "SELECT answer FROM taken WHERE id = ? UNION ALL SELECT answer FROM refused WHERE id = ?"
        row = self._file.execute(query, (update_id, update_id)).fetchone()
        return row[0] if row else None

    def _parcel(self, data: bytes) -> tuple[Parcel, Enrolment]:
        return self._registry.said(data, "parcel", Parcel, ["terminal"], self._now())

    def _over_quota(self, terminal: str) -> bool:
        query = "SELECT count(*) FROM taken WHERE terminal = ? AND at > ?"
        (number,) = self._file.execute(query, (terminal, self._now() - DAY_S)).fetchone()
        return bool(number >= self._quota.a_day)

    def _answer(self, update_id: str, outcome: Outcome, because: str) -> bytes:
        answer = Answer(self._registry.programme, update_id, outcome, because, self._now())
        return sign(self._identity, "update-answer", answer)

    def _count(self, word: Reason | str) -> None:
        with writing(self._file) as file:
            file.execute(_TALLY, (word,))

    def tally(self) -> dict[str, int]:
        """How many updates were accepted, came twice, or were refused, by reason."""
        return dict(self._file.execute("SELECT word, number FROM tally ORDER BY word"))

    # What the coordinator asks for.

    def sums(self, most: int, without: Collection[str] = (), seed: int | None = None) -> Iterator[Sum]:
        """Sums of what waits, under the newest release's terms: one of `most` terminals, or for a robust
        centre sums of two who are drawn by lot. Each terminal once; what else it sent waits for the next
        time.

        without: terminals that are in the coordinator's buffer already. seed: of the lot, for a test. Raises
        InputError before the first release.
        """
        terms = self.terms()
        by_terminal: dict[str, tuple[int, int]] = {}
        rows = self._file.execute(
            "SELECT place, terminal, made FROM taken WHERE bytes IS NOT NULL ORDER BY place"
        )
        for place, terminal, made in rows:
            if terminal not in without:
                by_terminal.setdefault(terminal, (place, made))
        chosen = list(by_terminal.values())
        robust = self._release is not None and self._release.robust
        if robust:
            (random.Random(seed) if seed is not None else random.SystemRandom()).shuffle(chosen)  # noqa: S311
        chosen = chosen[: max(0, most)]
        size = 2 if robust else max(1, most)
        for start in range(0, len(chosen), size):
            total = Sum(terms)
            for place, made in chosen[start : start + size]:
                total.add(self._arrived(place, made), self._now())
            yield total

    def terms(self) -> Terms:
        """Raises InputError before the first release."""
        self._catch_up()
        release = self._release
        if release is None:
            raise InputError("gateway", "a release of the coordinator", "none yet")
        weights = Weights(release.cap, release.alpha, release.half_life_s, release.floor)
        return Terms(release.version, len(release.numbers) // 4, weights, release.clip_norm, release.grid)

    def _arrived(self, place: int, made: int) -> Arrived:
        query = "SELECT id, terminal, bytes FROM taken WHERE place = ?"
        update_id, terminal, data = self._file.execute(query, (place,)).fetchone()
        update = believed(data, "model-update", Update)
        look = None
        if {"look_elapsed_s", "look_excess"} <= update.metrics.keys():
            look = Look(update.metrics["look_elapsed_s"], update.metrics["look_excess"])
        return Arrived(update_id, terminal, update.examples, update.base_version, made, update.values(), look)

    def counted(self, ids: list[str]) -> None:
        """The coordinator has these in a version: their bytes go, their line in the ledger stays."""
        now = self._now()
        with writing(self._file) as file:
            query = "UPDATE taken SET bytes = NULL, counted = ? WHERE id = ? AND bytes IS NOT NULL"
            file.executemany(query, [(now, update_id) for update_id in ids])

    def waiting_ids(self) -> list[str]:
        rows = self._file.execute("SELECT id FROM taken WHERE bytes IS NOT NULL ORDER BY place")
        return [row[0] for row in rows]

    def waiting(self) -> int:
        (number,) = self._file.execute("SELECT count(*) FROM taken WHERE bytes IS NOT NULL").fetchone()
        return int(number)
