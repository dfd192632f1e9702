"""What left this box and what it gave away: spends of privacy, refusals, budgets and departures, in one file.

`privacy.sqlite3` may be used by several processes. What is written is on the disk before the call returns
(SQLite, WAL, synchronous=FULL) and stays: triggers refuse to alter or delete it. The clock is passed in and
decides nothing: a budget is for the life of the box, so no clock can open it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np

from akazuba.durable import write_durably
from akazuba.errors import ArtefactError, BudgetError, InputError, why_not_opened
from akazuba.privacy.accounting import (
    ORDERS,
    TEXT_HIGHEST,
    UNITS,
    Budget,
    Floats,
    Spend,
    Unit,
    epsilon,
)
from akazuba.privacy.entries import Entries

FILE, BUDGET_FILE = "privacy.sqlite3", "privacy.json"
BUDGET_BYTES = 4096
ROUNDING = 1e-9
"""By so little, relatively, a total may pass the budget: ten times 0.1 is to fit into 1."""

Kind = Literal["model-update", "statistics", "message", "export"]
State = Literal["waiting", "sent", "acknowledged", "refused"]
NEXT: dict[State, tuple[State, ...]] = {
    "waiting": ("sent", "refused"),
    "sent": ("acknowledged", "refused"),
    "acknowledged": (),
    "refused": (),
}


class QuantumKeyUsed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """simulated: it came over a simulated link, so it protects no better than none."""

    id: str
    simulated: bool


class Protection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """suite: of the envelope's algorithms, "none" without an envelope. sender, recipient: ids of their keys.
    quantum: None when no quantum key was used.
    """

    suite: str
    sender: str = ""
    recipient: str = ""
    quantum: QuantumKeyUsed | None = None


UNPROTECTED = Protection("none")


@dataclass(frozen=True)
class Spent:
    id: int
    at_s: float
    unit: Unit
    purpose: str
    spend: Spend


@dataclass(frozen=True)
class Refusal:
    """What was not done for want of budget. would_be: a patient's epsilon if it had been."""

    at_s: float
    unit: Unit
    purpose: str
    spend: Spend
    would_be: float
    budget: Budget


@dataclass(frozen=True)
class Step:
    at_s: float
    state: State
    reason: str


@dataclass(frozen=True)
class Departure:
    """Bytes that left, or wait to leave. steps: from "waiting" to now."""

    id: int
    kind: Kind
    to: str
    size: int
    sha256: str
    protection: Protection
    spend_id: int | None
    steps: tuple[Step, ...]

    @property
    def state(self) -> State:
        return self.steps[-1].state


@dataclass(frozen=True)
class Release:
    """first: made by this call, not by an earlier one."""

    document: bytes
    spend_id: int
    first: bool


class Ledger:
    def __init__(self, home: Path, now: Callable[[], float] = time.time) -> None:
        """now: seconds since 1970. Makes the folder and the file, which only its owner can read.

        Raises ArtefactError when the file is no ledger, OutOfTimeError when another process keeps it.
        """
        self._home = home
        self._entries = Entries(home / FILE, now)
        self._totals = dict.fromkeys(UNITS, np.zeros(len(ORDERS)))
        self._read_to = 0

    def close(self) -> None:
        self._entries.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def charge(self, spend: Spend, unit: Unit, purpose: str) -> int:
        """Writes down what is about to be spent and returns its id; call it before anything leaves.

        Raises BudgetError when a patient's total would go over the budget: nothing is spent then, and the
        refusal is on record. Raises InputError when `privacy.json` cannot be used.
        """
        with self._entries.writing():
            spent = self._charge(spend, unit, purpose)
        if isinstance(spent, BudgetError):
            raise spent
        return spent

    def release(
        self, name: str, spend: Spend, unit: Unit, purpose: str, make: Callable[[], bytes]
    ) -> Release:
        """Charges for what `make` returns and keeps it, both or neither; once for each name. A later call
        gives the first document again and costs nothing. Raises as `charge` does.
        """
        _sound_text("release, name", name)
        with self._entries.writing():
            query = "SELECT document, spend_id FROM release WHERE name = ?"
            if (row := self._entries.rows(query, (name,)).fetchone()) is not None:
                return Release(row[0], row[1], first=False)
            spent = self._charge(spend, unit, purpose)
            if not isinstance(spent, BudgetError):
                document = make()
                self._entries.add("release", name=name, spend_id=spent, document=document)
                return Release(document, spent, first=True)
        raise spent

    def total(self, unit: Unit = "patient") -> float:
        """Epsilon spent, at the budget's delta. A patient's holds the clinic's too, which covers her."""
        with self._entries.reading():
            self._catch_up()
            return epsilon(self._so_far(unit), self._in_force().delta)

    def spends(self) -> list[Spent]:
        with self._entries.reading():
            rows = self._entries.rows("SELECT id, at_s, unit, purpose, spend FROM spend ORDER BY id")
            return [Spent(row[0], row[1], row[2], row[3], _spend(row[4])) for row in rows]

    def refusals(self) -> list[Refusal]:
        with self._entries.reading():
            rows = self._entries.rows(
                "SELECT at_s, unit, purpose, spend, would_be, epsilon, delta FROM refusal ORDER BY id"
            )
            return [
                Refusal(row[0], row[1], row[2], _spend(row[3]), row[4], Budget(row[5], row[6]))
                for row in rows
            ]

    def setbacks(self) -> list[tuple[float, float]]:
        """Where the clock went back: from what time to what time, in seconds since 1970."""
        with self._entries.reading():
            return self._entries.rows("SELECT before_s, at_s FROM setback ORDER BY id").fetchall()

    def budget(self) -> Budget:
        """The one in force. Raises InputError when `privacy.json` cannot be used."""
        with self._entries.writing():
            return self._budget()

    def set_budget(self, wanted: Budget) -> None:
        """Into force, and into `privacy.json`.

        Raises InputError when it loosens without a name and a reason.
        """
        with self._entries.writing():
            self._adopt(wanted, "budget")
            text = msgspec.json.format(msgspec.json.encode(wanted)) + b"\n"
            _kept(self._home / BUDGET_FILE, text)

    def budgets(self) -> list[tuple[float, Budget]]:
        """Every change, with its time in seconds since 1970."""
        with self._entries.reading():
            rows = self._entries.rows('SELECT at_s, epsilon, delta, "by", because FROM budget ORDER BY id')
            return [(row[0], Budget(row[1], row[2], row[3], row[4])) for row in rows]

    def depart(
        self, kind: Kind, to: str, payload: bytes, protection: Protection, spend_id: int | None = None
    ) -> int:
        """Writes down bytes as they are about to leave; the departure's id. Raises InputError."""
        if kind not in get_args(Kind):
            raise InputError("departure, kind", ", ".join(get_args(Kind)), repr(kind))
        _sound_text("departure, to", to)
        _sound_text("departure, suite", protection.suite)
        for name, key_id in (("sender", protection.sender), ("recipient", protection.recipient)):
            _sound_text(f"departure, {name}", key_id or "none")
        if protection.quantum is not None:
            _sound_text("departure, quantum key", protection.quantum.id)
        digest = sha256(payload).hexdigest()
        with self._entries.writing():
            query = "SELECT count(*) FROM spend WHERE id = ?"
            if spend_id is not None and self._entries.rows(query, (spend_id,)).fetchone() == (0,):
                raise InputError("departure, spend", "the id of a spend", str(spend_id))
            departure_id = self._entries.add(
                "departure",
                kind=kind,
                to=to,
                size=len(payload),
                sha256=digest,
                protection=msgspec.json.encode(protection),
                spend_id=spend_id,
            )
            self._entries.add("step", departure_id=departure_id, state="waiting", reason="")
        return departure_id

    def moved(self, departure_id: int, state: State, reason: str = "") -> None:
        """From waiting to sent or refused, from sent to acknowledged or refused; a refusal has a reason.

        Raises InputError.
        """
        item = f"departure {departure_id}"
        if state == "refused" or reason:
            _sound_text(f"{item}, reason", reason)
        with self._entries.writing():
            query = "SELECT state FROM step WHERE departure_id = ? ORDER BY id DESC LIMIT 1"
            row = self._entries.rows(query, (departure_id,)).fetchone()
            if row is None:
                raise InputError(item, "a departure of this box", "none of that number")
            before: State = row[0]
            if state not in NEXT[before]:
                expected = " or ".join(NEXT[before]) or "no further step"
                raise InputError(f"{item}, which is {before}", expected, repr(state))
            self._entries.add("step", departure_id=departure_id, state=state, reason=reason)

    def departures(self, since_s: float = 0.0) -> list[Departure]:
        """Those with a step at that time or later, in order."""
        with self._entries.reading():
            steps: dict[int, list[Step]] = {}
            for row in self._entries.rows("SELECT departure_id, at_s, state, reason FROM step ORDER BY id"):
                steps.setdefault(row[0], []).append(Step(row[1], row[2], row[3]))
            rows = self._entries.rows(
                'SELECT id, kind, "to", size, sha256, spend_id, protection FROM departure WHERE id IN'
                " (SELECT departure_id FROM step WHERE at_s >= ?) ORDER BY id",
                (since_s,),
            )
            return [
                Departure(
                    id=row[0],
                    kind=row[1],
                    to=row[2],
                    size=row[3],
                    sha256=row[4],
                    spend_id=row[5],
                    protection=msgspec.json.decode(row[6], type=Protection),
                    steps=tuple(steps[row[0]]),
                )
                for row in rows
            ]

    def _charge(self, spend: Spend, unit: Unit, purpose: str) -> int | BudgetError:
        """The spend's id; or the error to raise once the refusal, written here, is on the disk."""
        if unit not in UNITS:
            raise InputError("spend, unit", " or ".join(UNITS), repr(unit))
        _sound_text("spend, purpose", purpose)
        self._catch_up()
        budget, cost = self._budget(), _divergences(spend)
        would_be = epsilon(self._so_far("patient") + cost, budget.delta)
        raw = msgspec.json.encode(spend)
        nothing_allowed = budget.epsilon == 0 and bool(cost.any())
        if would_be <= budget.epsilon * (1 + ROUNDING) and not nothing_allowed:
            return self._entries.add("spend", unit=unit, purpose=purpose, spend=raw)
        self._entries.add(
            "refusal",
            unit=unit,
            purpose=purpose,
            spend=raw,
            would_be=would_be,
            epsilon=budget.epsilon,
            delta=budget.delta,
        )
        expected = f"at most epsilon {budget.epsilon:g} for a patient in all, at delta {budget.delta:g}"
        return BudgetError(f"privacy budget, {purpose}", expected, f"{would_be:.4g} with this")

    def _so_far(self, unit: Unit) -> Floats:
        clinic = self._totals["clinic"]
        return clinic if unit == "clinic" else clinic + self._totals["patient"]

    def _catch_up(self) -> None:
        query = "SELECT id, unit, spend FROM spend WHERE id > ? ORDER BY id"
        for row in self._entries.rows(query, (self._read_to,)).fetchall():
            self._totals[row[1]] = self._totals[row[1]] + _divergences(_spend(row[2]))
            self._read_to = row[0]

    def _in_force(self) -> Budget:
        query = 'SELECT epsilon, delta, "by", because FROM budget ORDER BY id DESC LIMIT 1'
        row = self._entries.rows(query).fetchone()
        return Budget() if row is None else Budget(row[0], row[1], row[2], row[3])

    def _budget(self) -> Budget:
        """The one in force, once what `privacy.json` says is adopted."""
        path = self._home / BUDGET_FILE
        try:
            with path.open("rb") as file:
                declared = msgspec.json.decode(file.read(BUDGET_BYTES), type=Budget)
        except FileNotFoundError:
            return self._in_force()
        except OSError as problem:
            raise InputError(str(path), "a readable file", why_not_opened(problem)) from problem
        except (msgspec.DecodeError, UnicodeDecodeError, InputError) as problem:
            raise InputError(str(path), "epsilon, delta, by and because", str(problem)) from problem
        self._adopt(declared, str(path))
        return self._in_force()

    def _adopt(self, wanted: Budget, item: str) -> None:
        before = self._in_force()
        if wanted.amounts() == before.amounts():
            return
        if wanted.loosens(before) and not (wanted.by.strip() and wanted.because.strip()):
            expected = f"a name and a reason to loosen {before.epsilon:g} at {before.delta:g}"
            raise InputError(item, expected, f"epsilon {wanted.epsilon:g}, delta {wanted.delta:g} without")
        self._entries.add(
            "budget", epsilon=wanted.epsilon, delta=wanted.delta, by=wanted.by, because=wanted.because
        )


def _spend(raw: bytes) -> Spend:
    spend: Spend = msgspec.json.decode(raw, type=Spend)
    return spend


@lru_cache(maxsize=256)
def _divergences(spend: Spend) -> Floats:
    return spend.rdp(ORDERS)


def _kept(path: Path, text: bytes) -> None:
    """On the disk when it returns: an older, looser budget must not come back after a power cut."""
    try:
        write_durably(path, text)
    except OSError as problem:
        raise ArtefactError(str(path), "a file that can be written", why_not_opened(problem)) from problem


def _sound_text(item: str, text: str) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_HIGHEST or not text.isprintable():
        raise InputError(item, f"1 to {TEXT_HIGHEST} printable characters", repr(text)[:80])
