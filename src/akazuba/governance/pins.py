"""PINs: which are too weak, how they are kept and compared, how long to wait after a wrong one.

A PIN of 4 to 6 digits can be guessed by whoever may try freely, so its strength is the waiting, and the
waiting goes by the boot's own clock alone: setting the wall clock back or forward changes nothing, and a
restart begins the wait anew. Counted are attempts, before they are compared.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import date
from itertools import pairwise

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from akazuba.boot import since_boot
from akazuba.errors import InputError
from akazuba.storage.unlocking import Cost

LEAST, MOST = 4, 6
KEPT = 5
"""So many PINs back a new one must differ."""

PIN_COST = Cost(memory_kib=19_456, passes=2, lanes=1)
"""The least that OWASP's Password Storage Cheat Sheet allows: it must run on a Raspberry Pi beside a model,
and no cost makes ten thousand PINs many. The store's encryption keeps the hashes from a thief.
"""

FREE, FIRST_WAIT_S, LONGEST_WAIT_S, LOCK_AFTER = 3, 30.0, 900.0, 10
"""Of one user, on all tablets that are not hers together and on each of hers: three wrong PINs cost nothing,
then 30 s doubling to 15 min; after ten only a supervisor helps there. NIST SP 800-63B, 5.2.2 allows a
hundred.
"""

OWN_MS, MOST_OWN = 30 * 86_400_000, 3
"""A tablet is a user's own for so long after a right PIN of hers there; the last ones of so many are."""

TABLET_FREE, TABLET_WAIT_S, TABLET_FORGETS_S = 20, 60.0, 3600.0
"""Of one tablet, whoever is tried on it: twenty, then one a minute, until an hour passes without any."""

_ON_THE_PAD = ("2580", "0852", "1470", "0741", "3690", "0963", "1379", "1397", "147258", "258369", "159357")
_PIN = re.compile(f"[0-9]{{{LEAST},{MOST}}}")


class Moment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """seconds: since the boot named `boot`, sleep included. No wall clock: it can be set."""

    seconds: float
    boot: str

    def since(self, earlier: Moment) -> float:
        """Seconds that have passed for certain: of another boot, only those since this one began."""
        return max(0.0, self.seconds - (earlier.seconds if self.boot == earlier.boot else 0.0))


def system_moment() -> Moment:
    return Moment(*since_boot())


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PIN's Argon2id hash (RFC 9106), 32 bytes, with its salt and cost. It lies in the store, not in the
    log, for whoever reads the log could try all PINs on it.
    """

    salt: bytes
    hash: bytes
    cost: Cost

    def is_of(self, pin: str) -> bool:
        """In the same time whatever differs."""
        if not _PIN.fullmatch(pin):
            return False
        return hmac.compare_digest(self.hash, _stretched(pin, self.salt, self.cost))

    @property
    def digest(self) -> str:
        """What the log names it by: the salt, which the log lacks, keeps it from being tried."""
        return hashlib.sha256(b"akazuba pin v1" + msgspec.msgpack.encode(self)).hexdigest()


def kept(pin: str, random: Callable[[int], bytes], cost: Cost = PIN_COST) -> Kept:
    salt = random(16)
    return Kept(salt, _stretched(pin, salt, cost), cost)


def check_new(pin: str, least: int, about: str, before: tuple[Kept, ...] = ()) -> None:
    """Raises InputError for a PIN that may not be chosen. about: the user's id."""
    if not _PIN.fullmatch(pin) or len(pin) < least:
        span = f"{least} to {MOST}" if least < MOST else f"{MOST}"
        raise InputError("new PIN", f"{span} digits", f"{len(pin)} characters")
    if why := weakness(pin, about):
        raise InputError("new PIN", "one that is not among the first to be guessed", why)
    if any(old.is_of(pin) for old in before):
        raise InputError("new PIN", f"another one than the last {KEPT}", "one of them")


def weakness(pin: str, about: str = "") -> str:
    """Why a PIN would be guessed among the first, else "". These are 14 % of four digits and 9 % of six;
    Markert et al. (This PIN Can Be Easily Guessed, IEEE S&P 2020) find about 10 % best.

    >>> weakness("1987"), weakness("7890"), weakness("4071")
    ('a year', 'digits in a row', '')
    """
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(pin)}
    half = len(pin) // 2
    whys = {
        "digits in a row": len(steps) == 1 and steps <= {0, 1, 2, 8, 9},
        "fewer than three different digits": len(set(pin)) < 3,
        "one half repeated": pin[:half] * 2 == pin,
        "a year": any(part[:2] in ("19", "20") for part in _years(pin)),
        "a date": any(_is_date(pin, form) for form in _DATES[len(pin)]),
        "a pattern on the keys": pin in _ON_THE_PAD,
        "digits of the user's own name": pin in re.sub("[^0-9]", "", about),
    }
    return next((why for why, so in whys.items() if so), "")


class Attempts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wrong PINs in a row. at: of the last. of: the log's index from which they count: a new PIN or a reset
    begins anew. told: a refusal during this wait stands in the log already. seen: of how many the user was
    told. right_ms: of a user's own tablet, when her last right PIN was typed there, by the log's clock.
    """

    number: int
    at: Moment
    of: int = 0
    told: bool = False
    seen: int = 0
    right_ms: int = 0

    def since(self, of: int) -> int:
        """Wrong PINs since the entry `of`."""
        return self.number if self.of == of else 0

    def untold(self, of: int) -> int:
        """Of those, the ones that the user does not know of yet."""
        return max(0, self.since(of) - self.seen)

    def once_more(self, now: Moment, of: int = 0) -> Attempts:
        seen = self.seen if self.of == of else 0
        return Attempts(self.since(of) + 1, now, of, seen=seen, right_ms=self.right_ms)


def wait_s(attempts: Attempts | None, now: Moment) -> float:
    """Seconds until this user may try again there; after `LOCK_AFTER` waiting does not help."""
    if attempts is None or attempts.number < FREE:
        return 0.0
    whole = min(FIRST_WAIT_S * float(1 << min(attempts.number - FREE, 20)), LONGEST_WAIT_S)
    return max(0.0, whole - now.since(attempts.at))


def tablet_wait_s(attempts: Attempts | None, now: Moment) -> float:
    if attempts is None or attempts.number < TABLET_FREE:
        return 0.0
    return max(0.0, TABLET_WAIT_S - now.since(attempts.at))


def _stretched(pin: str, salt: bytes, cost: Cost) -> bytes:
    made = Argon2id(
        salt=salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return made.derive(pin.encode("utf-8", "surrogatepass"))


def _years(pin: str) -> tuple[str, ...]:
    """Where a year of four digits could stand: alone, or before or after a month."""
    if len(pin) == 6:
        return tuple(
            year for year, month in ((pin[:4], pin[4:]), (pin[2:], pin[:2])) if 1 <= int(month) <= 12
        )
    return (pin,) if len(pin) == 4 else ()


_DATES = {4: ("dm", "md"), 5: (), 6: ("dmy", "mdy", "ymd")}


def _is_date(pin: str, form: str) -> bool:
    part = {name: int(pin[2 * place : 2 * place + 2]) for place, name in enumerate(form)}
    try:
        date(2000 + part.get("y", 0), part["m"], part["d"])
    except ValueError:
        return False
    return True
