"""The records: how fast they are kept and found, and that faults lose nothing: `benchmarks/records.py`.

    [--quick] [--json] [--save]

Entries are cases of about 1 kB, each encrypted under its patient's key, with its leaf of the audit log in the
same transaction. Plain SQLite (WAL, synchronous=FULL, the same columns and indexes) takes the same rows in
turns with the store, on the same disk: the difference is the encryption and the log. The fault matrix is
`record_faults.py`'s, the incidents are those of `seeded_incidents.py`. Times are medians unless they say p95.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles

from figures import options_of, tell

sys.path.append(str(Path(__file__).parent))

import record_faults

from akazuba.merkle import Frontier, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from akazuba.storage.backup import backup, checked, set_recovery
from akazuba.storage.person import Person
from akazuba.storage.rescue import salvage
from akazuba.storage.spool import Spool, merge
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, StoreKey, set_up, unlocked

PATIENTS, CASES, BATCH = 6_000, 100_000, 50
OF_THE_DAY = "a passphrase of the day"
WANTED = {"appends_per_s": 5_000, "open_100k_ms": 1_000, "search_ms_p95": 50}
FIRST = "Uwimana Mugabo Akimana Habimana Niyonzima Mukamana Ingabire Ndayisaba Uwase Bizimana Keza Iradukunda"
LAST = "Chantal Éric Jean-Bosco Claudine Aimée Théogène Grace Emmanuel Béatrice Olivier Diane Innocent"


def cases(number: int, seed: int) -> list[Entry]:
    """As an assessment would be: JSON of about 1 kB."""
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        vitals = {name: round(chance.uniform(30, 160), 1) for name in ("pulse", "spo2", "temperature", "rr")}
        said = {"vitals": vitals, "input": chance.randbytes(32).hex(), "note": chance.randbytes(360).hex()}
        body = json.dumps(said).encode()
        made.append(Entry("case", "nurse-1", body, f"patient-{chance.randrange(PATIENTS)}"))
    return made


def people() -> list[Person]:
    chance = random.Random(6)
    first, last = FIRST.split(), LAST.split()
    return [
        Person(f"patient-{i}", f"{chance.choice(first)} {chance.choice(last)} {i % 97}", str(1940 + i % 80))
        for i in range(PATIENTS)
    ]


@contextmanager
def box(folder: Path) -> Iterator[tuple[Path, StoreKey, Store]]:
    """A store that knows 6,000 patients."""
    home = folder / "box"
    key = set_up(home, OF_THE_DAY)
    with closing(Store(home, key, now_ms)) as store:
        for person in people():
            store.admit(person, "clerk-1")
        yield home, key, store


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def plain(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = FULL")
    file.execute(
        "CREATE TABLE entry (idx INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
        " by TEXT NOT NULL, patient TEXT NOT NULL, stored BLOB NOT NULL)"
    )
    file.execute("CREATE INDEX entry_of_patient ON entry (patient, idx)")
    file.execute("CREATE INDEX entry_of_kind ON entry (kind, idx)")
    return file


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def appending(store: Store, folder: Path, rounds: int) -> dict[str, float]:
    """Entries a second, in batches of 50 and one by one, here and in plain SQLite, in turns."""
    rates: dict[str, list[float]] = {"store": [], "plain": [], "store one": [], "plain one": []}
    with closing(plain(folder / "plain.sqlite3")) as file:

        def insert(entries: Sequence[Entry]) -> None:
            file.execute("BEGIN IMMEDIATE")
            rows = [(now_ms(), one.kind, one.by, one.patient, one.body) for one in entries]
            file.executemany(
                "INSERT INTO entry (at_ms, kind, by, patient, stored) VALUES (?, ?, ?, ?, ?)", rows
            )
            file.execute("COMMIT")

        for turn in range(rounds):
            entries = cases(40 * BATCH, turn)
            batches = [entries[at : at + BATCH] for at in range(0, len(entries), BATCH)]
            for name, put in (("store", lambda some: store.add(*some)), ("plain", insert)):
                rates[name].append(len(entries) / seconds(lambda: [put(some) for some in batches]))  # noqa: B023
            few = entries[:100]
            for name, put in (("store one", lambda some: store.add(*some)), ("plain one", insert)):
                rates[name].append(len(few) / seconds(lambda: [put([one]) for one in few]))  # noqa: B023
    found = {name: median(some) for name, some in rates.items()}
    return {
        "appends_per_s": round(found["store"]),
        "plain_sqlite_per_s": round(found["plain"]),
        "overhead_of_encryption_and_log": round(found["plain"] / found["store"], 2),
        "appends_one_by_one_per_s": round(found["store one"]),
        "plain_sqlite_one_by_one_per_s": round(found["plain one"]),
        "overhead_one_by_one": round(found["plain one"] / found["store one"], 2),
        "batch": BATCH,
        "batches_timed": 40 * rounds,
    }


def finding(store: Store, times: int) -> dict[str, float]:
    """Searching by name among 6,000 patients, proofs, one patient's entries."""
    chance, names = random.Random(3), [person.name for person in people()]
    asked = [_as_typed(chance.choice(names), chance) for _ in range(times)]
    searches = [seconds(lambda: store.search(name)) for name in asked]  # noqa: B023
    proofs, views = [], []
    for _ in range(times):
        index = chance.randrange(store.size)
        proofs.append(seconds(lambda: _proved(store, index)))  # noqa: B023
        patient = f"patient-{chance.randrange(PATIENTS)}"
        views.append(seconds(lambda: list(store.entries(patient=patient))))  # noqa: B023
    return {
        "search_ms_p95": _ms(quantiles(searches, n=20)[-1]),
        "search_ms": _ms(median(searches)),
        "proof_and_verify_ms": _ms(median(proofs)),
        "patients_entries_ms_p95": _ms(quantiles(views, n=20)[-1]),
        "searched_patients": PATIENTS,
    }


def _as_typed(name: str, chance: random.Random) -> str:
    """The whole name, one of its words, or the beginning of one; in any case of letters."""
    word = chance.choice(name.split())
    typed = chance.choice((name, word, word[:3]))
    return chance.choice((typed, typed.upper(), typed.lower()))


def _proved(store: Store, index: int) -> None:
    found = next(iter(store.leaves(index)))
    verify_inclusion(found[1], index, store.size, inclusion_proof(index, store.size, store.node), store.root)


def opening(home: Path, key: StoreKey, times: int) -> dict[str, float]:
    """Of 100,000 cases: opened with the key in hand, unlocked (Argon2id), verified, copied, rescued."""

    def once() -> None:
        Store(home, key, now_ms).close()

    figures = {
        "open_100k_ms": _ms(median(seconds(once) for _ in range(times))),
        "unlock_ms": _ms(median(seconds(lambda: unlocked(home, OF_THE_DAY)) for _ in range(3))),
    }
    with closing(Store(home, key, now_ms)) as store:
        half = store.size // 2
        figures["verify_every_leaf_s"] = round(seconds(lambda: _audited(store)), 2)
        old = Frontier.of(half, store.node).root()
        proof = consistency_proof(half, store.size, store.node)
        figures["consistency_ms"] = _ms(
            seconds(lambda: verify_consistency(half, old, store.size, store.root, proof))
        )
        set_recovery(home, key, "the paper in the safe", cost=Cost(32, 1, 1))
        copy = home.parent / "copy"
        figures["backup_s"] = round(seconds(lambda: backup(store, home, copy)), 2)
    with closing(Store(copy, key, now_ms, read_only=True)) as store:
        figures["check_a_copy_s"] = round(seconds(lambda: checked(store)), 2)
    figures["salvage_s"] = round(seconds(lambda: salvage(home, key)), 2)
    figures["store_mib"] = round((home / "store.sqlite3").stat().st_size / 2**20, 1)
    return figures


def _audited(store: Store) -> None:
    if any(found != store.node(0, index) for index, found in store.leaves()):
        raise AssertionError("a leaf that is not the log's")


def locked(home: Path, key: StoreKey, number: int) -> dict[str, float]:
    """Entries a second into the spool of a locked box, and out of it at unlock."""
    spool = Spool(home)
    adding = seconds(lambda: [spool.add(now_ms(), "case", "nurse-1", bytes(1000)) for _ in range(number)])
    with closing(Store(home, key, now_ms)) as store:
        merging = seconds(lambda: merge(home, store, key))
    return {"spooled_per_s": round(number / adding), "merged_per_s": round(number / merging)}


def measured(*, quick: bool) -> dict[str, object]:
    figures: dict[str, object] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    with tempfile.TemporaryDirectory() as folder, box(Path(folder)) as (home, key, store):
        figures |= appending(store, Path(folder), rounds=5 if quick else 15)
        missing, seed = CASES + PATIENTS - store.size, 1000
        for at in range(0, missing, 1000):
            store.add(*cases(min(1000, missing - at), seed + at))
        figures["cases"], figures["entries"] = store.size - PATIENTS, store.size
        figures |= finding(store, times=200 if quick else 1000)
        store.close()
        figures |= opening(home, key, times=5 if quick else 15)
        figures |= locked(home, key, number=100 if quick else 500)
    counts, _ = record_faults.matrix(200 if quick else 1000, seed=1)
    figures |= counts
    if importlib.util.find_spec("seeded_incidents"):
        figures |= importlib.import_module("seeded_incidents").accuracy()
    figures["wanted"] = WANTED
    return figures


def _ms(value: float) -> float:
    return round(1000 * value, 2)


def main() -> None:
    given = options_of(__doc__, "quick", "json", "save").parse_args()
    started = time.monotonic()
    figures = measured(quick=given.quick)
    figures["seconds"] = round(time.monotonic() - started, 1)
    tell(figures, given, __file__)


if __name__ == "__main__":
    main()
