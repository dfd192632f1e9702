"""The encrypted store, its key, its spool, copies and rescue: what they keep, and every way they refuse."""

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.errors import ArtefactError, InputError, OutOfTimeError
from akazuba.merkle import Frontier, inclusion_proof, leaf_hash, verify_inclusion
from akazuba.storage import file as store_file
from akazuba.storage.backup import RECOVERY_FILE, Statement, backup, restore, set_recovery
from akazuba.storage.pages import deciphered
from akazuba.storage.rescue import salvage
from akazuba.storage.spool import (
    BAD,
    FILE as SPOOL_FILE,
    HEAD,
    MARK,
    MOST_BYTES as MOST_SPOOLED,
    Merged,
    Spool,
    arrived,
    framed,
    merge,
    pieces,
)
from akazuba.storage.store import MOST_BYTES, Entry, Person, Store, leaf, searchable
from akazuba.storage.unlocking import (
    DEVICE_FILE,
    FILE,
    KEY_FILE,
    Cost,
    StoreKey,
    change_passphrase,
    key_file,
    set_up,
    unlocked,
)

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import record_faults

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


# --- the store ----------------------------------------------------------------------------------------


def test_what_is_added_is_found_again_in_order(store: Store, home: Path, key: StoreKey) -> None:
    one, two = store.add(Entry("case", "nurse", NOTE, "p1"), Entry("read", "box", b"{}"))
    assert (one.index, two.index, store.size) == (2, 3, 4)
    store.close()
    with closing(opened(home, key)) as again:
        assert [entry.kind for entry in again.entries()] == ["patient", "patient", "case", "read"]
        assert again.entry(2) == one
        assert one.body == NOTE
        assert list(again.entries(patient="p1", kind="case")) == [one]
        assert [entry.index for entry in again.entries(first=3)] == [3]
        assert again.person("p1") == CHANTAL


def test_every_entry_is_proved_under_the_root(store: Store) -> None:
    store.add(*[Entry("case", "nurse", b"%d" % i, "p1") for i in range(9)])
    for index, found in store.leaves():
        proof = inclusion_proof(index, store.size, store.node)
        verify_inclusion(found, index, store.size, proof, store.root)


def test_entries_come_all_or_none(store: Store) -> None:
    root = store.root
    with pytest.raises(InputError, match="unknown or erased"):
        store.add(Entry("case", "nurse", NOTE, "p1"), Entry("case", "nurse", NOTE, "nobody"))
    assert (store.size, store.root) == (2, root)
    assert store.add(Entry("case", "nurse", NOTE, "p1"))[0].index == 2


def test_impossible_entries_are_refused(store: Store) -> None:
    with pytest.raises(InputError, match="at most"):
        store.add(Entry("case", "nurse", bytes(MOST_BYTES + 1)))
    with pytest.raises(InputError, match="an id and a name"):
        store.admit(Person("", "Somebody"), "nurse")
    with pytest.raises(InputError, match="an id and a name"):
        store.admit(Person("p3", "  "), "nurse")
    for index in (-1, store.size, 1 << 80):
        with pytest.raises(InputError, match="an entry of the 2"):
            store.entry(index)
    with pytest.raises(InputError, match="unknown or erased"):
        store.person("nobody")


def test_words_that_utf8_cannot_carry_are_kept_marked(store: Store) -> None:
    (kept,) = store.add(Entry("case", "nurse \udce9", b"", ""))
    assert kept.by == "nurse \\udce9"
    assert store.entry(kept.index) == kept


@pytest.mark.parametrize("name", ["uwimana", "CHANTAL", "uwim\u00c1na chan", "chantal uwimana", "mana"])
def test_a_patient_is_found_whatever_the_accents_and_case(store: Store, name: str) -> None:
    assert store.search(name) == [CHANTAL]


@pytest.mark.parametrize(
    "name", ["%", "_", "a_", "!", "Uwim%na", "", "  ", "\udce9", "'; DROP TABLE entry", "\0"]
)
def test_wildcards_and_odd_words_find_nobody(store: Store, name: str) -> None:
    assert store.search(name) == []


def test_marks_in_a_name_are_found_as_themselves(store: Store) -> None:
    odd = Person("p3", "O'Brien 100%_! ")
    store.admit(odd, "nurse")
    for name in ("100%", "%_!", "o'brien", "!"):
        assert store.search(name) == [odd]
    with pytest.raises(InputError, match="at most 200 characters"):
        store.search("a " * 101)


@given(st.text(max_size=30))
def test_searching_a_searchable_name_changes_nothing(name: str) -> None:
    assert searchable(searchable(name)) == searchable(name)


def test_changed_particulars_keep_the_patients_entries(store: Store) -> None:
    (case,) = store.add(Entry("case", "nurse", NOTE, "p1"))
    store.admit(replace(CHANTAL, name="Uwimana Grace"), "nurse")
    assert store.search("chantal") == []
    assert store.search("grace")[0].id == "p1"
    assert store.entry(case.index).body == NOTE


# --- who may open it ----------------------------------------------------------------------------------


def test_a_wrong_passphrase_opens_nothing(home: Path) -> None:
    with pytest.raises(InputError, match="the passphrase of this store"):
        unlocked(home, PASSPHRASE + " ")


def test_the_passphrase_alone_opens_nothing_on_another_device(home: Path) -> None:
    (home / DEVICE_FILE).write_bytes(os.urandom(32))
    with pytest.raises(InputError, match="on the device that made it"):
        unlocked(home, PASSPHRASE)
    for secret in (b"", b"short"):
        (home / DEVICE_FILE).write_bytes(secret)
        with pytest.raises(ArtefactError, match="32 bytes"):
            unlocked(home, PASSPHRASE)
    (home / DEVICE_FILE).unlink()
    with pytest.raises(ArtefactError, match="this device's secret"):
        unlocked(home, PASSPHRASE)


def exchange_spool_key(home: Path) -> StoreKey:
    """As somebody does who has the disk and no passphrase, to read what is recorded while locked."""
    thief = StoreKey(os.urandom(32))
    file = msgspec.structs.replace(key_file(home), spool=thief.spool_public)
    (home / KEY_FILE).write_bytes(msgspec.json.encode(file))
    return thief


def test_an_exchanged_spool_key_is_told_apart_from_a_wrong_passphrase(home: Path) -> None:
    exchange_spool_key(home)
    with pytest.raises(ArtefactError, match=r"public key of the spool.*change-passphrase"):
        unlocked(home, PASSPHRASE)
    with pytest.raises(InputError, match="passphrase"):
        unlocked(home, PASSPHRASE + "x")


def test_other_changes_of_the_key_file_are_a_wrong_passphrase(home: Path) -> None:
    file = key_file(home)
    for changed in (
        msgspec.structs.replace(file, wrapped=bytes([file.wrapped[0] ^ 1]) + file.wrapped[1:]),
        msgspec.structs.replace(file, wrapped=file.wrapped[:-1] + bytes([file.wrapped[-1] ^ 1])),
        msgspec.structs.replace(file, nonce=bytes(12)),
        msgspec.structs.replace(file, salt=bytes(16)),
        msgspec.structs.replace(file, spool=bytes(1216), nonce=bytes(12)),
    ):
        (home / KEY_FILE).write_bytes(msgspec.json.encode(changed))
        with pytest.raises(InputError, match="another one"):
            unlocked(home, PASSPHRASE)


def test_a_new_passphrase_puts_the_right_spool_key_back_and_what_went_astray_shows(
    home: Path, key: StoreKey, store: Store
) -> None:
    right = key_file(home).spool
    Spool(home).add(1, "case", "nurse", b"before")
    exchange_spool_key(home)
    Spool(home).add(2, "case", "nurse", b"to the thief")
    assert change_passphrase(home, PASSPHRASE, "a new passphrase") is True
    assert key_file(home).spool == right
    Spool(home).add(3, "case", "nurse", b"after")
    assert unlocked(home, "a new passphrase") == key
    assert merge(home, store, key) == Merged(2, 1)
    assert spooled(store) == [b"before", b"after"]
    assert change_passphrase(home, "a new passphrase", PASSPHRASE) is False


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\xfe", b"[1]", b'{"version": 2}', b"null", b'"' + b"x" * 100]
)
def test_a_broken_key_file_is_refused(home: Path, data: bytes) -> None:
    (home / KEY_FILE).write_bytes(data)
    with pytest.raises(ArtefactError, match="key file"):
        unlocked(home, PASSPHRASE)


def test_an_impossible_cost_is_refused(home: Path) -> None:
    file = msgspec.structs.replace(key_file(home), cost=Cost(8, 1, 4))
    (home / KEY_FILE).write_bytes(msgspec.json.encode(file))
    with pytest.raises(ArtefactError, match="Argon2id"):
        unlocked(home, PASSPHRASE)


def test_a_changed_passphrase_opens_the_same_store(home: Path, key: StoreKey) -> None:
    change_passphrase(home, PASSPHRASE, "another passphrase")
    assert unlocked(home, "another passphrase") == key
    with pytest.raises(InputError):
        unlocked(home, PASSPHRASE)
    with pytest.raises(InputError, match="10 characters"):
        change_passphrase(home, "another passphrase", "short")
    assert repr(key) == "StoreKey()"


def test_a_second_key_is_never_made_over_a_store(home: Path, store: Store) -> None:
    with pytest.raises(InputError, match="a home without one"):
        set_up(home, PASSPHRASE, cost=CHEAP)
    (home / KEY_FILE).unlink()
    with pytest.raises(InputError, match="a home without one"):
        set_up(home, PASSPHRASE, cost=CHEAP)
    with pytest.raises(InputError, match="makes one"):
        unlocked(home, PASSPHRASE)


def test_another_key_opens_no_store(home: Path, store: Store) -> None:
    store.close()
    with pytest.raises(ArtefactError, match="under its key"):
        opened(home, StoreKey(bytes(32)))
    (home / FILE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(ArtefactError, match="under its key"):
        opened(home, StoreKey(bytes(32)))


def test_nothing_of_a_stolen_disk_can_be_read(home: Path, key: StoreKey, tmp_path: Path) -> None:
    def lived() -> Store:
        store = opened(home, key)
        store.admit(CHANTAL, "nurse akimana")
        store.add(Entry("case", "nurse akimana", NOTE, "p1"))
        set_recovery(home, key, PAPER, cost=CHEAP)
        backup(store, home, tmp_path / "copy")
        Spool(home).add(1, "case", "nurse akimana", NOTE)
        return store

    in_a_child(lived)
    names = {path.name for path in tmp_path.rglob("*")}
    assert {FILE, f"{FILE}-wal", SPOOL_FILE, KEY_FILE, RECOVERY_FILE} <= names
    stolen = everything(tmp_path).lower()
    assert len(stolen) > 60_000
    said = (
        NOTE,
        b"tuberculosis",
        "uwim\u00e1na".encode(),
        b"uwimana",
        b"chantal",
        b"akimana",
        b"huye",
        b"case",
    )
    for word in (*said, key.secret, key.database, PASSPHRASE.encode(), PAPER.encode(), b"sqlite format"):
        assert word.lower() not in stolen


def test_files_are_their_owners_only(home: Path, store: Store) -> None:
    Spool(home).add(1, "case", "nurse", NOTE)
    for name in (FILE, KEY_FILE, DEVICE_FILE, SPOOL_FILE):
        assert (home / name).stat().st_mode & 0o077 == 0, name


def test_a_home_whose_name_means_something_in_an_address_opens(tmp_path: Path) -> None:
    home = tmp_path / "box?mode=memory#100%20"
    with closing(opened(home, set_up(home, PASSPHRASE, cost=CHEAP))) as store:
        store.add(Entry("case", "nurse", NOTE))
    assert (home / FILE).stat().st_size > 0


# --- one writer, readers, other versions --------------------------------------------------------------


def test_a_second_process_that_writes_is_refused(home: Path, key: StoreKey, store: Store) -> None:
    def second(tell: Callable[[str], None]) -> None:
        try:
            opened(home, key)
        except InputError as problem:
            tell(f"did {problem}")

    box = record_faults.Box(home, record_faults.random.Random(1))
    (said,) = record_faults.child(box, second, "").told
    assert said == "store: expected no other process that writes to it, found one that does"
    with closing(opened(home, key, read_only=True)) as reader:
        assert reader.size == 2


def test_a_reader_reads_and_writes_nothing(home: Path, key: StoreKey, store: Store) -> None:
    with closing(opened(home, key, read_only=True)) as reader:
        assert reader.search("chantal") == [CHANTAL]
        assert reader.root == store.root
        for write in (
            lambda: reader.add(Entry("case", "nurse", NOTE)),
            lambda: reader.admit(OTHER, "nurse"),
            lambda: reader.erase("p1", "nurse", "asked"),
            lambda: reader.remember("x", b""),
        ):
            with pytest.raises(InputError, match="opened for writing"):
                write()
    with pytest.raises(ArtefactError, match="unable to open"):
        opened(home / "nowhere", key, read_only=True)
    assert not (home / "nowhere").exists()


def test_a_store_of_a_later_version_is_left_alone(home: Path, key: StoreKey, store: Store) -> None:
    store.close()
    with in_hand(home, key) as file:
        file.execute("PRAGMA user_version = 99")
    for read_only in (False, True):
        with pytest.raises(ArtefactError, match="found version 99"):
            opened(home, key, read_only=read_only)
    with in_hand(home, key) as file:
        file.execute("PRAGMA user_version = 0")
    with pytest.raises(ArtefactError, match="found version 0"):
        opened(home, key, read_only=True)


def test_a_home_that_is_no_folder_is_an_error_of_ours(tmp_path: Path, key: StoreKey) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtefactError):
        opened(tmp_path / "file", key)


# --- alterations --------------------------------------------------------------------------------------


def mismatches(store: Store) -> list[int]:
    """What an audit looks at: entries that are not the ones whose leaves the log holds."""
    found = dict(store.leaves())
    return [index for index in range(store.size) if found.get(index) != store.node(0, index)]


def test_the_log_cannot_be_rewritten_by_its_own_program(home: Path, key: StoreKey, store: Store) -> None:
    store.close()
    with in_hand(home, key) as file:
        for statement in ("DELETE FROM entry", "UPDATE entry SET by = 'x'", "DELETE FROM node"):
            with pytest.raises(sqlcipher.Error, match="stay as they are"):
                file.execute(statement)


def test_a_row_rewritten_with_the_key_in_hand_shows(home: Path, key: StoreKey, store: Store) -> None:
    store.add(*[Entry("case", "nurse", b"%d" % i, "p1") for i in range(6)])
    store.close()
    rewrite(home, key, "UPDATE entry SET by = 'somebody else' WHERE idx = 4")
    with closing(opened(home, key)) as again:
        assert mismatches(again) == [4]
        with pytest.raises(ArtefactError, match="an altered one"):
            again.entry(4)


def test_a_deleted_leaf_shows(home: Path, key: StoreKey, store: Store) -> None:
    store.add(*[Entry("case", "nurse", b"%d" % i) for i in range(6)])
    store.close()
    rewrite(home, key, "DELETE FROM entry WHERE idx = 5")
    with closing(opened(home, key)) as again:
        assert mismatches(again) == [5]
        with pytest.raises(ArtefactError, match="entry 5"):
            again.entry(5)


def test_a_log_cut_at_its_end_takes_no_entry_over_the_old_one(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.add(Entry("case", "nurse", NOTE))
    store.close()
    rewrite(home, key, "DELETE FROM entry WHERE idx = 2")
    with closing(opened(home, key)) as again:
        assert again.size == 2
        with pytest.raises(ArtefactError):
            again.add(Entry("case", "nurse", b"another story"))


def test_a_missing_node_is_an_error_of_ours(home: Path, key: StoreKey, store: Store) -> None:
    store.close()
    rewrite(home, key, "DELETE FROM node")
    with pytest.raises(ArtefactError, match="node 0 of level 1"):
        opened(home, key)


def test_a_rolled_back_file_is_shorter_than_the_checkpoint(home: Path, key: StoreKey, store: Store) -> None:
    store.close()
    shutil.copyfile(home / FILE, home / "older")
    with closing(opened(home, key)) as now:
        now.add(Entry("case", "nurse", NOTE, "p1"))
        size, root = now.size, now.root
    (home / "older").replace(home / FILE)
    with closing(opened(home, key)) as back:
        assert back.size < size
        back.add(Entry("case", "nurse", b"another story", "p1"))
        assert back.size == size
        assert back.root != root


def test_an_old_page_that_comes_back_shows_without_the_key(home: Path, key: StoreKey, store: Store) -> None:
    """Its HMAC holds: it was this page once. Its content is not what the log, its end or its people say."""
    for i in range(20):
        store.add(Entry("case", "nurse", b"%d" % i * 100, "p1"))
    store.close()
    old = (home / FILE).read_bytes()
    with closing(opened(home, key)) as again:
        again.admit(replace(CHANTAL, place="Musanze"), "nurse")
        again.remember("counter", b"2")
        for i in range(20):
            again.add(Entry("case", "nurse", b"%d" % i * 100, "p1"))
        size, root = again.size, again.root
    new, unseen = (home / FILE).read_bytes(), []
    for at in range(0, len(old), 4096):
        if new[at : at + 4096] == old[at : at + 4096]:
            continue
        (home / FILE).write_bytes(new[:at] + old[at : at + 4096] + new[at + 4096 :])
        with suppress(ArtefactError), closing(opened(home, key)) as back:
            held = back.size == size and back.root == root
            if held and not mismatches(back) and not back.damaged() and back.recall("counter") == b"2":
                unseen.append(at // 4096 + 1)
    assert unseen == []


@pytest.mark.parametrize("part", range(12))
def test_a_flipped_bit_anywhere_is_an_error_of_ours(
    home: Path, key: StoreKey, store: Store, part: int
) -> None:
    store.add(*[Entry("case", "nurse", bytes(3000), "p1") for _ in range(12)])
    store.close()
    flip(home / FILE, ((home / FILE).stat().st_size - 1) * part // 11)

    def read_all() -> bool:
        with closing(opened(home, key, read_only=True)) as again:
            if again.damaged():
                return True
            list(again.entries())
            again.search("chantal")
            return bool(mismatches(again))

    with suppress(ArtefactError):  # which is the usual answer
        assert read_all()


# --- erasure ------------------------------------------------------------------------------------------


def test_an_erased_patient_cannot_be_read_and_the_log_still_holds(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.add(
        *[Entry("case", "nurse", b"%d" % i, "p1") for i in range(3)], Entry("case", "nurse", NOTE, "p2")
    )
    before, size, root = store.erase("p2", "clerk", "moved away").index, store.size, store.root
    erasure = store.erase("p1", "clerk", "she asked for it")
    log = Frontier.of(size, store.node)
    assert (before, log.root()) == (size - 1, root)
    sealed = erasure.body or b""
    head = (erasure.index, erasure.at_ms, "erasure", "clerk", "")
    assert log.appended(leaf_hash(leaf(head, sealed)))[0].root() == store.root
    assert [entry.body for entry in store.entries(patient="p1")] == [None] * 4
    assert store.search("uwimana") == store.search("mugabo") == []
    assert mismatches(store) == []
    for act in (
        lambda: store.person("p1"),
        lambda: store.add(Entry("case", "nurse", NOTE, "p1")),
        lambda: store.admit(CHANTAL, "nurse"),
        lambda: store.erase("p1", "clerk", "again"),
    ):
        with pytest.raises(InputError, match="erased"):
            act()


def test_an_erased_patients_key_and_name_are_gone_from_the_files_bytes(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.add(Entry("case", "nurse", NOTE, "p1"))
    secret = store._patient_key("p1")

    def plain() -> bytes:
        log = home / f"{FILE}-wal"
        pages = deciphered((home / FILE).read_bytes(), log.read_bytes(), key.database)
        assert not pages.altered
        return b"".join([*pages.newest.values(), *(page for _, page in pages.older)])

    assert secret in plain()
    assert b"Chantal" in plain()
    store.erase("p1", "clerk", "asked")
    assert (home / f"{FILE}-wal").stat().st_size == 0
    assert secret not in plain()
    assert b"Chantal" not in plain()
    assert b"chantal" not in plain()
    assert b"Mugabo" in plain()


def test_an_old_page_brings_no_erased_patient_back(home: Path, key: StoreKey, store: Store) -> None:
    store.add(Entry("case", "nurse", NOTE, "p1"))
    kept = store._file.execute("SELECT * FROM patient WHERE id = 'p1'").fetchone()
    store.erase("p1", "clerk", "asked")
    store._file.execute("INSERT OR REPLACE INTO patient VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
    assert store.search("chantal") == [CHANTAL]
    store.close()
    with closing(opened(home, key)) as again:
        assert again.search("chantal") == []
        assert again.entry(2).body is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE patient SET key = NULL, name = NULL, searched = NULL WHERE id = 'p2'",
        "DELETE FROM patient WHERE id = 'p2'",
    ],
)
def test_a_patient_made_unreadable_without_an_erasure_shows(
    home: Path, key: StoreKey, store: Store, statement: str
) -> None:
    store.add(Entry("case", "nurse", NOTE, "p2"))
    store.close()
    with in_hand(home, key) as file:
        file.execute(statement)
    with closing(opened(home, key)) as again:
        assert again.damaged() == ["patient p2: unreadable, and not erased"]


def test_an_erased_patient_whose_key_came_back_shows_to_a_reader(
    home: Path, key: StoreKey, store: Store
) -> None:
    row = store._row("SELECT * FROM patient WHERE id = 'p2'")
    store.erase("p2", "supervisor", "asked for it")
    assert not store.damaged()
    store.close()
    with in_hand(home, key) as file:
        file.execute("INSERT OR REPLACE INTO patient VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    with closing(opened(home, key, read_only=True)) as reader:
        assert reader.damaged() == ["patient p2: erased, and still readable"]
    with closing(opened(home, key)) as again:
        assert not again.damaged()


def test_a_name_that_utf_8_cannot_carry_is_admitted_with_its_bytes_named(store: Store) -> None:
    store.admit(Person("\udce9", "caf\udce9"), "nurse")
    assert store.person("\\udce9").name == "caf\\udce9"


def test_an_erasure_says_when_a_reader_holds_the_old_pages(
    home: Path, key: StoreKey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._file.execute("PRAGMA busy_timeout = 50")
    with closing(opened(home, key, read_only=True)) as reader:
        held = reader.entries()
        next(held)
        with pytest.raises(OutOfTimeError, match="they go when it ends"):
            store.erase("p1", "clerk", "asked")
        held.close()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="erased"):
        store.person("p1")
    assert next(iter(store.entries(kind="erasure"))).by == "clerk"


# --- bad days -----------------------------------------------------------------------------------------


@contextmanager
def no_room_after(path: Path, more: int) -> Iterator[None]:
    """Files may grow to this file's size and `more` bytes; the write that goes on is cut short."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("more", [0, 10, 5000, 9000])
def test_a_full_disk_in_mid_case_costs_only_what_was_not_acknowledged(
    home: Path, key: StoreKey, store: Store, more: int
) -> None:
    (kept,) = store.add(Entry("case", "nurse", NOTE, "p1"))
    with no_room_after(home / f"{FILE}-wal", more), pytest.raises(ArtefactError):
        store.add(Entry("case", "nurse", bytes(100_000), "p1"))
    assert store.size == 3
    assert store.entry(2) == kept
    assert store.add(Entry("case", "nurse", b"room again", "p1"))[0].index == 3
    store.close()
    with closing(opened(home, key)) as again:
        assert again.size == 4
        assert mismatches(again) == []


def test_a_store_that_was_closed_is_read_from_a_disk_that_takes_no_write(
    home: Path, key: StoreKey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(Entry("case", "nurse", NOTE, "p1"))
    store.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = set(home.iterdir())
    with closing(opened(home, key, read_only=True)) as reader:
        assert reader.entry(2).body == NOTE
        assert set(home.iterdir()) == before


def test_a_store_on_a_full_disk_is_refused_in_words_and_still_salvaged(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.close()
    with no_room_after(home / DEVICE_FILE, 0):
        for read_only in (False, True):
            with pytest.raises(ArtefactError):
                opened(home, key, read_only=read_only)
        assert len(salvage(home, key).entries) == 2
    opened(home, key).close()


def test_a_full_disk_is_called_one(home: Path, key: StoreKey) -> None:
    problem = store_file.ours("store", sqlcipher.OperationalError("database or disk is full"))
    assert isinstance(problem, ArtefactError)
    assert "nothing that was acknowledged is lost" in str(problem)


def test_a_full_disk_leaves_the_old_passphrase(home: Path, key: StoreKey) -> None:
    with no_room_after(home / DEVICE_FILE, 100), pytest.raises(ArtefactError, match="room"):
        change_passphrase(home, PASSPHRASE, "another passphrase")
    assert unlocked(home, PASSPHRASE) == key


def test_a_power_cut_right_after_add_loses_nothing(home: Path, key: StoreKey) -> None:
    def work() -> Store:
        store = opened(home, key)
        store.admit(CHANTAL, "nurse")
        store.add(Entry("case", "nurse", NOTE, "p1"))
        return store

    in_a_child(work)
    with closing(opened(home, key, read_only=True)) as reader:
        assert reader.entry(1).body == NOTE
    with closing(opened(home, key)) as again:
        assert again.entry(1).body == NOTE
        assert mismatches(again) == []


def test_a_power_cut_in_mid_transaction_leaves_the_log_whole(home: Path, key: StoreKey) -> None:
    def work() -> Store:
        store = opened(home, key)
        store.admit(CHANTAL, "nurse")
        with store._writing():
            store._added([Entry("case", "nurse", NOTE, "p1")])
            os.kill(os.getpid(), 9)
        return store

    in_a_child(work)
    with closing(opened(home, key)) as again:
        assert again.size == 1
        assert again.add(Entry("case", "nurse", NOTE, "p1"))[0].index == 1


def test_a_clock_that_jumps_by_400_days_changes_no_order(home: Path, key: StoreKey) -> None:
    day, times = 86_400_000, [1_790_000_000_000]
    with closing(Store(home, key, lambda: times[-1])) as store:
        for jump in (0, 400, -400, 0):
            times.append(times[0] + jump * day)
            store.add(Entry("case", "nurse", str(jump).encode()))
        found = [(entry.index, entry.at_ms, entry.body) for entry in store.entries()]
    expected = [b"0", b"400", b"-400", b"0"]
    assert found == [(i, times[i + 1], body) for i, body in enumerate(expected)]


def test_the_fault_matrix_loses_nothing_and_sees_every_alteration(tmp_path: Path) -> None:
    kinds, targets = record_faults.SYSTEM + record_faults.DISK, record_faults.TARGETS
    counts, runs = record_faults.matrix(len(kinds) * len(targets), seed=7)
    assert counts["acknowledged_lost"] == counts["alterations_undetected"] == counts["merged_twice"] == 0
    assert counts["tracebacks"] == counts["false_alarms"] == 0
    possible = len(kinds) - len(counts["faults_not_possible_here"])
    assert {run.kind for run in runs} >= {"kill -9", "short write", "clock", "link cut", *record_faults.DISK}
    assert len(runs) == len(targets) * possible
    assert counts["alterations"] >= 15
    again, _ = record_faults.matrix(0, seed=7, only=16)
    assert again["faults_run"] == 1


def test_without_a_checkpoint_kept_outside_a_lying_disk_is_believed(home: Path, key: StoreKey) -> None:
    with closing(opened(home, key)) as store:
        store.add(Entry("case", "nurse", NOTE))
    shutil.copyfile(home / FILE, home / "older")
    with closing(opened(home, key)) as store:
        store.add(Entry("case", "nurse", b"acknowledged, then lost by the disk"))
    (home / "older").replace(home / FILE)
    with closing(opened(home, key)) as store:
        assert mismatches(store) == []
        assert store.damaged() == []
        assert store.size == 1


# --- the spool ----------------------------------------------------------------------------------------


def spooled(store: Store) -> list[bytes]:
    bodies = [msgspec.json.decode(entry.body or b"") for entry in store.entries(kind="locked-case")]
    return [msgspec.convert(body["body"], bytes) for body in bodies]


def fill(home: Path, number: int) -> list[str]:
    spool = Spool(home)
    return [spool.add(1_790_000_000_000 + i, "case", "nurse", b"%d" % i) for i in range(number)]


def test_what_is_recorded_while_locked_is_merged_once(home: Path, key: StoreKey, store: Store) -> None:
    receipts = fill(home, 5)
    assert merge(home, store, key) == Merged(5, 0)
    assert spooled(store) == [b"0", b"1", b"2", b"3", b"4"]
    assert all(arrived(store, receipt) for receipt in receipts)
    assert not arrived(store, "00" * 32)
    assert not (home / SPOOL_FILE).exists()
    assert merge(home, store, key) == Merged(0, 0)
    said = msgspec.json.decode(next(iter(store.entries(kind="locked-case"))).body or b"")
    assert said["recorded_ms"] == 1_790_000_000_000
    assert said["frame"] == receipts[0]


def test_a_spool_that_comes_back_from_a_copy_is_not_merged_again(
    home: Path, key: StoreKey, store: Store
) -> None:
    fill(home, 3)
    data = (home / SPOOL_FILE).read_bytes()
    merge(home, store, key)
    (home / SPOOL_FILE).write_bytes(data)
    assert merge(home, store, key).entries == 0
    assert len(spooled(store)) == 3


def test_a_power_cut_while_merging_merges_nothing_twice(home: Path, key: StoreKey, store: Store) -> None:
    store.close()
    for done in (1, 2, 3):
        fill(home, 4)

        def cut(done: int = done) -> None:
            with closing(opened(home, key)) as opened_store:
                add, left = opened_store.add_with, [done]

                def until(*arguments: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        os.kill(os.getpid(), 9)
                    return add(*arguments)

                opened_store.add_with = until  # type: ignore[method-assign]
                merge(home, opened_store, key)

        in_a_child(cut)
        with closing(opened(home, key)) as again:
            assert merge(home, again, key) == Merged(4 - done, 0)
    with closing(opened(home, key)) as again:
        assert spooled(again) == [b"0", b"1", b"2", b"3"] * 3


def test_a_power_cut_while_adding_loses_nothing_that_was_acknowledged(
    home: Path, key: StoreKey, store: Store
) -> None:
    fill(home, 2)
    with (home / SPOOL_FILE).open("ab") as file:
        file.write(framed(b"x" * 1500)[:700])
    with (home / SPOOL_FILE).open("rb") as file:
        assert [piece.torn for piece in pieces(file.read())] == [False, False, True]
    fill(home, 2)
    assert merge(home, store, key) == Merged(4, 0)
    assert spooled(store) == [b"0", b"1"] * 2


@pytest.mark.parametrize("cut", [1, HEAD - 1, HEAD, HEAD + 1, 400])
def test_a_torn_last_frame_is_dropped(home: Path, key: StoreKey, store: Store, cut: int) -> None:
    fill(home, 2)
    with (home / SPOOL_FILE).open("ab") as file:
        file.write(framed(bytes(600))[:cut])
    assert merge(home, store, key) == Merged(2, 0)


@pytest.mark.parametrize("part", ["mark", "length", "checksum", "digest", "ciphertext", "end"])
def test_a_bent_middle_frame_is_set_aside_and_costs_no_other(
    home: Path, key: StoreKey, store: Store, part: str
) -> None:
    fill(home, 3)
    (_, middle, _) = pieces((home / SPOOL_FILE).read_bytes())
    names = ("mark", "length", "checksum", "digest", "ciphertext", "end")
    at = (0, len(MARK), len(MARK) + 4, len(MARK) + 8, HEAD, len(middle.data) - 1)
    flip(home / SPOOL_FILE, middle.begin + at[names.index(part)])
    fill(home, 1)  # another process goes on behind it
    assert merge(home, store, key) == Merged(3, 1)
    assert spooled(store) == [b"0", b"2", b"0"]
    assert len((home / BAD).read_bytes()) == 4 + len(middle.data)
    (lost,) = store.entries(kind="spool-unreadable")
    assert msgspec.json.decode(lost.body or b"")["bytes"] == len(middle.data)


def test_frames_taken_out_moved_or_doubled_show(home: Path, key: StoreKey, store: Store) -> None:
    fill(home, 4)
    one, two, three, four = (piece.data for piece in pieces((home / SPOOL_FILE).read_bytes()))
    (home / SPOOL_FILE).write_bytes(one + three)
    assert merge(home, store, key) == Merged(2, 0, 1)
    (home / SPOOL_FILE).write_bytes(one + two + two + three + four)
    assert merge(home, store, key).misplaced == 1
    assert sorted(spooled(store)) == [b"0", b"1", b"2", b"3"]
    assert [entry.by for entry in store.entries(kind="spool-misplaced")] == ["box", "box"]


def test_a_frame_sealed_to_somebody_else_is_set_aside(
    home: Path, key: StoreKey, store: Store, tmp_path: Path
) -> None:
    set_up(tmp_path / "other", PASSPHRASE, cost=CHEAP)
    fill(tmp_path / "other", 1)
    (home / SPOOL_FILE).write_bytes((tmp_path / "other" / SPOOL_FILE).read_bytes())
    fill(home, 1)
    assert merge(home, store, key) == Merged(1, 1, 0)


def test_a_full_disk_refuses_a_spooled_entry_and_keeps_the_others(
    home: Path, key: StoreKey, store: Store
) -> None:
    spool = Spool(home)
    spool.add(1, "case", "nurse", b"kept")
    with no_room_after(home / SPOOL_FILE, 700), pytest.raises(ArtefactError, match="room"):
        spool.add(1, "case", "nurse", b"refused")
    spool.add(1, "case", "nurse", b"room again")
    assert merge(home, store, key) == Merged(2, 0)
    assert spooled(store) == [b"kept", b"room again"]


def test_the_spool_refuses_what_the_store_could_not_take(home: Path, key: StoreKey, store: Store) -> None:
    spool = Spool(home)
    with pytest.raises(InputError, match="at most"):
        spool.add(1, "image", "nurse", bytes(MOST_SPOOLED + 1))
    spool.add(1, "case", "nurse \udce9", bytes(MOST_SPOOLED))
    assert merge(home, store, key).entries == 1
    assert next(iter(store.entries(kind="locked-case"))).by == "nurse \\udce9"
    with pytest.raises(InputError, match="makes one"):
        Spool(home / "nowhere")


def test_two_processes_may_add_at_once(home: Path, key: StoreKey, store: Store) -> None:
    one, two = Spool(home), Spool(home)
    for i in range(6):
        (one, two)[i % 2].add(i, "case", "nurse", b"%d" % i)
    assert merge(home, store, key) == Merged(6, 0)
    assert spooled(store) == [b"%d" % i for i in range(6)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_whole_frames_are_found_among_any_bytes(sealed: list[bytes], data: st.DataObject) -> None:
    between = [data.draw(st.binary(max_size=60)) for _ in range(len(sealed) + 1)]
    whole = b"".join(some + framed(one) for some, one in zip(between, sealed, strict=False)) + between[-1]
    found = list(pieces(whole))
    assert [piece.sealed for piece in found if piece.sealed is not None] == sealed
    assert b"".join(piece.data for piece in found) == whole


# --- copies -------------------------------------------------------------------------------------------


@pytest.fixture
def copy(home: Path, key: StoreKey, store: Store, tmp_path: Path) -> Path:
    store.add(Entry("case", "nurse", NOTE, "p1"), Entry("case", "nurse", b"other", "p2"))
    set_recovery(home, key, PAPER, cost=CHEAP)
    said = backup(store, home, tmp_path / "copy", lambda: 7, lambda size, root: f"{size} {root.hex()}")
    assert said == Statement(4, store.root, 7, f"4 {store.root.hex()}")
    return tmp_path / "copy"


def test_a_copy_holds_no_key_of_the_device_and_opens_on_another(
    copy: Path, store: Store, tmp_path: Path
) -> None:
    assert {path.name for path in copy.iterdir()} == {FILE, RECOVERY_FILE}
    restored = restore(copy, tmp_path / "new", PAPER, "a new passphrase", cost=CHEAP)
    assert (restored.said.size, restored.said.root, restored.erased) == (4, store.root, [])
    with closing(opened(tmp_path / "new", unlocked(tmp_path / "new", "a new passphrase"))) as again:
        assert Frontier.of(4, again.node).root() == store.root
        assert again.entry(2).body == NOTE
        assert again.search("chantal") == [CHANTAL]
        assert next(iter(again.entries(kind="restored"))).index == 4
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        FILE,
        KEY_FILE,
        DEVICE_FILE,
        RECOVERY_FILE,
        "store.lock",
    }


def test_whoever_was_erased_since_cannot_be_read_from_a_restored_copy(
    copy: Path, key: StoreKey, store: Store, tmp_path: Path
) -> None:
    secret = store._patient_key("p1")
    store.erase("p1", "clerk", "asked")
    erased = ["p1", "p1"]
    assert restore(copy, tmp_path / "new", PAPER, "a new passphrase", erased, cost=CHEAP).erased == ["p1"]
    pages = deciphered((tmp_path / "new" / FILE).read_bytes(), b"", key.database)
    assert not pages.altered
    assert all(secret not in page for page in pages.newest.values())
    with closing(opened(tmp_path / "new", key)) as again:
        assert again.search("chantal") == []
        assert again.entry(2).body is None
        assert again.entry(3).body == b"other"


def test_a_patient_whom_the_copy_never_knew_is_not_passed_over(copy: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(InputError, match=r"patients to erase: .* found p9, p11$"):
        restore(copy, new, PAPER, "a new passphrase", ["p1", "p9", "p11"], cost=CHEAP)
    assert [path for path in new.rglob("*") if path.is_file()] == [], "nothing is restored"
    assert restore(copy, new, PAPER, "a new passphrase", ["p1"], cost=CHEAP).erased == ["p1"]


def test_an_erasure_that_the_copy_knows_needs_none(
    home: Path, key: StoreKey, store: Store, tmp_path: Path
) -> None:
    store.erase("p1", "clerk", "asked")
    set_recovery(home, key, PAPER, cost=CHEAP)
    backup(store, home, tmp_path / "copy")
    restored = restore(tmp_path / "copy", tmp_path / "new", PAPER, "a new passphrase", ["p1"], cost=CHEAP)
    assert restored.erased == []


def test_a_copy_for_which_nobody_vouches_is_not_restored(copy: Path, tmp_path: Path) -> None:
    def nobody(store: Store, said: Statement) -> None:
        assert (store.size, store.root) == (said.size, said.root)
        raise ArtefactError("checkpoint", "one that holds", said.note)

    new = tmp_path / "new"
    with pytest.raises(ArtefactError, match="one that holds, found 4 "):
        restore(copy, new, PAPER, "a new passphrase", cost=CHEAP, vouched=nobody)
    assert [path for path in new.rglob("*") if path.is_file()] == []


def test_a_copy_made_after_an_erasure_knows_nothing_of_her(
    home: Path, key: StoreKey, store: Store, tmp_path: Path
) -> None:
    secret = store._patient_key("p1")
    store.erase("p1", "clerk", "asked")
    set_recovery(home, key, PAPER, cost=CHEAP)
    backup(store, home, tmp_path / "copy")
    pages = deciphered((tmp_path / "copy" / FILE).read_bytes(), b"", key.database)
    assert not pages.altered
    assert all(secret not in page for page in pages.newest.values())


def test_a_copy_is_not_restored_over_a_store_or_with_another_passphrase(
    copy: Path, home: Path, tmp_path: Path
) -> None:
    before = everything(home)
    with pytest.raises(InputError, match="a home without one"):
        restore(copy, home, PAPER, "a new passphrase", cost=CHEAP)
    assert everything(home) == before
    new = tmp_path / "new"
    with pytest.raises(InputError, match="recovery passphrase"):
        restore(copy, new, PASSPHRASE + "xxxxx", "a new passphrase", cost=CHEAP)
    with pytest.raises(InputError, match="10 characters"):
        restore(copy, new, PAPER, "short", cost=CHEAP)
    with pytest.raises(InputError, match="a folder with"):
        restore(tmp_path, new, PAPER, "a new passphrase", cost=CHEAP)
    assert not new.exists()


def test_an_altered_copy_is_not_restored(copy: Path, tmp_path: Path) -> None:
    size = (copy / FILE).stat().st_size
    for at in (0, size // 2, size - 1):
        flip(copy / FILE, at)
        with pytest.raises(ArtefactError):
            restore(copy, tmp_path / "new", PAPER, "a new passphrase", cost=CHEAP)
        flip(copy / FILE, at)
    (copy / FILE).write_bytes((copy / FILE).read_bytes()[:-8192])
    with pytest.raises(ArtefactError):
        restore(copy, tmp_path / "new", PAPER, "a new passphrase", cost=CHEAP)
    (copy / RECOVERY_FILE).write_bytes(b"{}")
    with pytest.raises(ArtefactError, match="recovery key"):
        restore(copy, tmp_path / "new", PAPER, "a new passphrase", cost=CHEAP)
    assert not (tmp_path / "new" / KEY_FILE).exists()
    assert not (tmp_path / "new" / FILE).exists()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entry WHERE idx = 3", "4 entries under the root"),
        ("DELETE FROM entry WHERE idx = 2", "entry 2"),
        ("DELETE FROM entry WHERE idx = 1", "patient p2: other particulars"),
        ("UPDATE patient SET name = 'x' WHERE id = 'p1'", "patient p1: other particulars"),
        ("UPDATE entry SET kind = 'x' WHERE idx = 2", "4 entries under the root"),
        ("DELETE FROM remembered", "says how long its log is"),
        ("UPDATE remembered SET value = x'7b7d'", "a statement"),
    ],
)
def test_a_copy_rewritten_with_the_key_in_hand_is_not_restored(
    copy: Path, key: StoreKey, tmp_path: Path, statement: str, found: str
) -> None:
    rewrite(copy, key, statement)
    with pytest.raises(ArtefactError, match=found):
        restore(copy, tmp_path / "new", PAPER, "a new passphrase", cost=CHEAP)


def test_a_copy_is_refused_without_a_recovery_key_or_over_another(
    home: Path, key: StoreKey, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a recovery passphrase, set before"):
        backup(store, home, tmp_path / "copy")
    with pytest.raises(InputError, match="16 characters"):
        set_recovery(home, key, PASSPHRASE[:15])
    set_recovery(home, key, PAPER, cost=CHEAP)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="does not exist yet"):
        backup(store, home, tmp_path / "there")
    with no_room_after(home / FILE, 100), pytest.raises(ArtefactError):
        backup(store, home, tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"box", "there"}


# --- rescue -------------------------------------------------------------------------------------------


def test_a_sound_store_is_salvaged_whole_with_its_log(home: Path, key: StoreKey) -> None:
    wanted = [bytes([i]) * (i * 400) for i in range(30)]

    def work() -> Store:
        store = opened(home, key)
        store.admit(CHANTAL, "nurse")
        for body in wanted[:20]:
            store.add(Entry("case", "nurse", body, "p1"))
        store._file.execute("PRAGMA wal_checkpoint(FULL)")
        store.add(*[Entry("case", "nurse", body, "p1") for body in wanted[20:]])
        return store

    in_a_child(work)
    before = everything(home)
    salvaged = salvage(home, key)
    assert [entry.body for entry in salvaged.entries[1:]] == wanted
    assert salvaged.lost == []
    assert salvaged.why == "nothing: every page is sound"
    assert everything(home) == before
    with closing(opened(home, key)) as again:
        assert list(again.entries()) == salvaged.entries


def test_what_lies_on_sound_pages_is_read_and_the_rest_is_named(
    home: Path, key: StoreKey, store: Store
) -> None:
    for i in range(60):
        store.add(Entry("case", "nurse", b"%d" % i * 500, "p1"))
    store.close()
    whole = salvage(home, key)
    assert len(whole.entries) == 62
    assert whole.lost == []
    for page in range(2, (home / FILE).stat().st_size // 4096, 3):
        flip(home / FILE, 4096 * page + 1234)
    salvaged = salvage(home, key)
    assert 5 < len(salvaged.entries) < 60
    assert "altered or cut short" in salvaged.why
    assert set(salvaged.lost) == set(range(62)) - {entry.index for entry in salvaged.entries}
    sound = {entry.index: entry for entry in whole.entries}
    for entry in salvaged.entries:
        assert entry in (sound[entry.index], replace(sound[entry.index], body=None))
    with pytest.raises(ArtefactError), closing(opened(home, key)) as again:
        list(again.entries())


def test_a_lost_inner_page_costs_no_entry(home: Path, key: StoreKey, store: Store) -> None:
    store.add(*[Entry("case", "nurse", b"%d" % i * 200) for i in range(100)])
    store.close()
    with in_hand(home, key) as file:
        (root,) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()
    flip(home / FILE, 4096 * (root - 1) + 10)
    assert len(salvage(home, key).entries) == 102
    with pytest.raises(ArtefactError):
        opened(home, key)


def test_altered_and_deleted_rows_are_not_salvaged_as_entries(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.add(*[Entry("case", "nurse", b"%d" % i) for i in range(6)])
    store.close()
    rewrite(home, key, "UPDATE entry SET by = 'x' WHERE idx = 3", "DELETE FROM entry WHERE idx = 7")
    salvaged = salvage(home, key)
    assert salvaged.lost == [3, 7]
    assert "1 rows that are not what the log says" in salvaged.why


def test_an_erased_patient_is_not_salvaged(home: Path, key: StoreKey) -> None:
    def work() -> Store:
        store = opened(home, key)
        store.admit(CHANTAL, "nurse")
        store.add(Entry("case", "nurse", NOTE, "p1"))
        store._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(InputError), closing(opened(home, key, read_only=True)) as reader:
            list(reader.entries())
        store.erase("p1", "clerk", "asked")
        return store

    in_a_child(work)
    assert [entry.body for entry in salvage(home, key).entries][:2] == [None, None]


def test_a_file_that_is_no_store_cannot_be_salvaged(home: Path, key: StoreKey, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="the store's file"):
        salvage(home, key)
    for data in (b"", os.urandom(10), os.urandom(20_000)):
        (home / FILE).write_bytes(data)
        with pytest.raises(ArtefactError, match="a page that this store's key opens"):
            salvage(home, key)


def test_bodies_of_every_length_are_salvaged(home: Path, key: StoreKey, store: Store) -> None:
    """SQLite spills a row to other pages beyond 3,981 bytes here (4,016 usable, fileformat2, 1.6)."""
    lengths = [*range(3900, 4000, 7), 7990, 8013, 40_000]
    store.add(*[Entry("case", "nurse", sha256(b"%d" % n).digest() * (n // 32 + 1)) for n in lengths])
    store.close()
    with closing(opened(home, key)) as again:
        assert salvage(home, key).entries == list(again.entries())
