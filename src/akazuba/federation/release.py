"""A release of the student: made from the coordinator's newest version, through the gate, signed, adopted.

    coordinator.sqlite3 ──► Source ──► `tried` ──► StudentRelease ──► Releases.publish ──► release.bin
                            teacher     taught, int8, gate              only if it passed
    release.bin ──► `checked` ──► Releases.adopt ──► in force at a terminal; `back` returns to the one before

`students.sqlite3` holds the releases of one box as they were signed: the one in force, the one before it, and
any newer one that was given back. Each change is one transaction.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.diagnosis.network import Labels, Network, softmax
from akazuba.durable import open_durable, writing
from akazuba.errors import ArtefactError, BudgetError, InputError, UntrustedError
from akazuba.federation.accounts import epsilon_of
from akazuba.federation.folding import State
from akazuba.federation.release_files import Evaluation, Inputs
from akazuba.federation.release_gate import Verdict, gate
from akazuba.federation.release_student import (
    TIMES_SMALLER,
    Int8,
    Lesson,
    dequantised,
    distilled,
    quantised,
)
from akazuba.federation.updates import Numbers, Sha256, released, sha256_of
from akazuba.privacy.keys.enrolment import CLOCK_TOLERANCE_S, Name, Time
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import read, sign, unwrap

Noted = Callable[["Held | None"], None]
"""Is told which release is about to be in force, or None."""

FILE = "students.sqlite3"
KIND = "student-release"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS student (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL, bytes BLOB NOT NULL, given_back INTEGER NOT NULL
);
"""
_KEPT = "SELECT bytes FROM student WHERE NOT given_back ORDER BY number DESC LIMIT 2"
_DROP = """
DELETE FROM student WHERE number < ? AND number NOT IN
    (SELECT number FROM student WHERE NOT given_back ORDER BY number DESC LIMIT 2)
"""


class Teacher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version, sha256: of the coordinator's model. dimension: its numbers. ledger: SHA-256 over every
    version's hash and every update that is counted in one. gateways: of the models that taught beside it.
    epsilon: what the terminal that took part most has spent, at `delta`; None where no noise was added. It
    speaks of the terminals' cases; those of the evaluation are counted in the verdict without noise.
    """

    version: Annotated[int, Meta(ge=0, le=1 << 40)]
    sha256: Sha256
    dimension: Annotated[int, Meta(ge=1)]
    ledger: Sha256
    gateways: Annotated[list[Sha256], Meta(max_length=1000)] = []
    epsilon: float | None = None
    delta: float | None = None


class StudentRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """number: grows with each release of the programme. replaces: id of the one that it was held against,
    empty for the first. transfer, evaluation: SHA-256 of their files. meaning: of the programme
    (`Learning.meaning`); empty where what it learned is none.
    """

    programme: Name
    number: Annotated[int, Meta(ge=1, le=1 << 40)]
    published: Time
    replaces: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
    features: int
    classes: int
    hidden: int
    student: Int8
    teacher: Teacher
    transfer: Sha256
    evaluation: Sha256
    lesson: Lesson
    verdict: Verdict
    meaning: Annotated[bytes, Meta(max_length=32)] = b""

    @property
    def network(self) -> Network:
        return Network(self.features, self.classes, self.hidden)

    def fits(self, other: StudentRelease) -> bool:
        """Whether both take the same inputs and answer with the same classes."""
        return (self.features, self.classes) == (other.features, other.classes)

    def chances(self, inputs: Numbers) -> Numbers:
        """(cases, classes) probabilities by the student as it is shipped."""
        return softmax(self.network.scores(dequantised(self.network, self.student), inputs))

    def answers(self, inputs: Numbers) -> Labels:
        return self.network.answers(dequantised(self.network, self.student), inputs)


@dataclass(frozen=True)
class Held:
    """id: SHA-256 of the signer and of what was signed. data: as it was signed."""

    id: str
    release: StudentRelease
    data: bytes


@dataclass(frozen=True)
class Source:
    """models: (network.dimension,) each, the aggregated one first. meaning: as the teacher's version names
    it.
    """

    network: Network
    models: tuple[Numbers, ...]
    teacher: Teacher
    meaning: bytes = b""

    def answers(self, inputs: Numbers) -> Labels:
        """Of the aggregated model."""
        return self.network.answers(self.models[0], inputs)


def source(
    path: Path, registry: Registry, now: int, network: Network, gateways: Sequence[Numbers], delta: float
) -> Source:
    """The newest version in a coordinator's file, which may be in use. delta: at which epsilon is told.

    Raises InputError for no such file or another network, ArtefactError for one that cannot be read,
    UntrustedError for a version that no coordinator signed, BudgetError for gateways' models in a programme
    with noise: theirs has none.
    """
    if not path.is_file():
        raise InputError(str(path), "a coordinator's file", "none")
    query = "SELECT release FROM version ORDER BY number DESC LIMIT 1"
    ledger = hashlib.sha256()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            file.execute("BEGIN")
            data: bytes = file.execute(query).fetchone()[0]
            state = msgspec.msgpack.decode(file.execute("SELECT bytes FROM state").fetchone()[0], type=State)
            for number, digest in file.execute("SELECT number, sha256 FROM version ORDER BY number"):
                ledger.update(f"{number} {digest.hex()}\n".encode())
            for row in file.execute("SELECT version, id FROM counted ORDER BY version, id"):
                ledger.update("{} {}\n".format(*row).encode())
    except (sqlite3.Error, msgspec.MsgspecError, TypeError) as problem:
        raise ArtefactError(str(path), "a coordinator's file of this version", str(problem)) from problem
    newest = released(data, registry, now)
    if len(newest.numbers) != 4 * network.dimension:
        found = f"{len(newest.numbers) // 4} in version {newest.version}"
        raise InputError("network", f"{network.dimension} numbers", found)
    noisy = bool(newest.grid or state.spent)
    if gateways and noisy:
        raise BudgetError(
            "gateways' models", "none in a programme with noise", f"{len(gateways)} without noise"
        )
    epsilon = epsilon_of(max(state.spent.values(), default=0.0) ** 0.5, delta) if noisy else None
    teacher = Teacher(
        newest.version,
        newest.base().sha256,
        network.dimension,
        ledger.digest(),
        [sha256_of(one) for one in gateways],
        epsilon,
        None if epsilon is None else delta,
    )
    return Source(network, (newest.values(), *gateways), teacher, newest.meaning)


def tried(
    source: Source,
    hidden: int,
    transfer: Inputs,
    evaluation: Evaluation,
    lesson: Lesson,
    old: Held | None,
    programme: str,
    number: int,
    now: int,
    meaning: bytes = b"",
) -> StudentRelease:
    """A student taught, quantised and held against the one in force; whether it may be published its verdict
    tells. hidden: units of the student. old: the one in force; of another shape it cannot answer the same
    cases, and the new one is held against the most frequent class. meaning: of the
    programme, if it is of one.

    Raises InputError as `distilled` and `gate` do.
    """
    teacher = source.network
    network = Network(teacher.features, teacher.classes, hidden)
    student = quantised(network, distilled(teacher, source.models, network, transfer.inputs, lesson))
    numbers = dequantised(network, student)
    new = partial(network.answers, numbers)
    shape = (teacher.features, teacher.classes)
    rival = old.release if old and shape == (old.release.features, old.release.classes) else None
    before, known = (rival.answers, rival.verdict.sites) if rival else (None, {})
    verdict = gate(evaluation.sites, new, before, source.answers, known)
    return StudentRelease(
        programme,
        number,
        now,
        old.id if old else "",
        network.features,
        network.classes,
        hidden,
        student,
        source.teacher,
        transfer.sha256,
        evaluation.sha256,
        lesson,
        verdict,
        meaning,
    )


def checked(data: bytes, registry: Registry, now: int) -> Held:
    """A release as a coordinator of the programme signed it, whose gate passed by its own counts. Raises
    UntrustedError.
    """
    release, _ = registry.said(data, KIND, StudentRelease, ["coordinator"], now)
    item = f"student release {release.number}"
    if release.published > now + CLOCK_TOLERANCE_S:
        raise UntrustedError(item, f"one published before {now} s", f"{release.published} s")
    try:
        dequantised(release.network, release.student)
    except InputError as problem:
        raise UntrustedError(item, problem.expected, problem.found) from problem
    if release.network.dimension * TIMES_SMALLER > release.teacher.dimension:
        found = f"{release.network.dimension} of {release.teacher.dimension}"
        raise UntrustedError(item, "a tenth of its teacher's numbers at most", found)
    if reasons := release.verdict.refusals():
        raise UntrustedError(item, "one whose gate passed", "; ".join(reasons))
    return _held(data)


def _held(data: bytes) -> Held:
    claimed = unwrap(data, KIND)
    content = hashlib.sha256(claimed.signer.encode() + b"\0" + claimed.payload).hexdigest()
    return Held(content, read(claimed.payload, KIND, StudentRelease), data)


class Releases:
    """Of one box. now: seconds since 1970. Raises ArtefactError when the file cannot be used."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self._now = now
        self._file = open_durable(path, _SCHEMA, "the file of this box's students")

    def close(self) -> None:
        self._file.close()

    def in_force(self) -> Held | None:
        row = self._file.execute(_KEPT).fetchone()
        return _held(row[0]) if row else None

    def next_number(self) -> int:
        """One more than that of any release that this box has, given back or not."""
        return 1 + int(self._file.execute("SELECT coalesce(max(number), 0) FROM student").fetchone()[0])

    def publish(self, identity: Identity, registry: Registry, release: StudentRelease) -> Held:
        """At the coordinator: signs and keeps it; it is in force here at once. A student that is the one in
        force, of the same teacher, is not published anew: that release comes back, to be written again.

        Raises InputError when its gate did not pass, UntrustedError when this box may not sign it.
        """
        if reasons := release.verdict.refusals():
            raise InputError("release", "a gate that passed", "; ".join(reasons))
        old = self.in_force()
        if old and _same(old.release, release):
            return old
        return self.adopt(sign(identity, KIND, release), registry)

    def adopt(
        self, data: bytes, registry: Registry, features: int | None = None, noted: Noted = lambda _: None
    ) -> Held:
        """The release from then on in force; the one that was stays to go back to. features: that this box's
        encoder gives; without it, those of the one in force. The one in force may come again. noted: is told
        of a change that nothing stands against, before it is made; what it raises prevents it.

        Raises UntrustedError as `checked` does, for an older one, and for one that was held against nothing
        where there is something; InputError for another shape.
        """
        found = checked(data, registry, self._now())
        new = found.release
        with writing(self._file) as file:
            old = self.in_force()
            if old and old.id == found.id:
                return old
            item = f"student release {new.number}"
            if old and new.number <= old.release.number:
                expected = f"one after {old.release.number}, which is in force (or --back)"
                raise UntrustedError(item, expected, f"number {new.number}, {found.id[:16]}")
            if features not in (None, new.features):
                raise InputError(item, f"{features} features", str(new.features))
            if old and not new.fits(old.release) and features is None:
                expected = f"{old.release.features} features, {old.release.classes} classes (or --features)"
                raise InputError(item, expected, f"{new.features} and {new.classes}")
            if old and new.fits(old.release) and new.verdict.first:
                raise UntrustedError(item, "one held against a release before it", "one held against none")
            noted(found)
            file.execute(
                "INSERT OR REPLACE INTO student VALUES (?, ?, ?, 0)", (new.number, self._now(), data)
            )
            file.execute(_DROP, (new.number,))
        return found

    def back(self, registry: Registry, noted: Noted = lambda _: None) -> Held | None:
        """Gives the one in force back. Returns the release before, which is checked anew, since a signer may
        have been revoked; None when there is none, so that none is in force. noted: as for `adopt`.

        Raises InputError when there is nothing to give back, UntrustedError as `checked` does; nothing
        changes then.
        """
        with writing(self._file) as file:
            rows = file.execute(_KEPT).fetchall()
            if not rows:
                raise InputError("student", "a release in force", "none")
            number = _held(rows[0][0]).release.number
            found = checked(rows[1][0], registry, self._now()) if len(rows) > 1 else None
            noted(found)
            file.execute("UPDATE student SET given_back = 1 WHERE number = ?", (number,))
        return found


def _same(old: StudentRelease, new: StudentRelease) -> bool:
    def said(one: StudentRelease) -> tuple[object, ...]:
        return (one.network, one.student, one.teacher, one.transfer, one.evaluation, one.meaning)

    return said(old) == said(new)
