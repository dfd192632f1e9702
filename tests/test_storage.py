"""The encrypted store and its key: what they keep, and every way they refuse."""

# ruff: noqa: F401, F811 - the fixtures of storage_bench are imported by name

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st
from sqlcipher3 import dbapi2 as sqlcipher
from storage_bench import (
    CHANTAL,
    CHEAP,
    NOTE,
    OTHER,
    PAPER,
    PASSPHRASE,
    everything,
    flip,
    home,
    in_a_child,
    in_hand,
    key,
    mismatches,
    no_room_after,
    opened,
    rewrite,
    spooled,
    store,
)

from akazuba.errors import ArtefactError, InputError, OutOfTimeError
from akazuba.merkle import Frontier, inclusion_proof, leaf_hash, verify_inclusion
from akazuba.storage import file as store_file
from akazuba.storage.backup import RECOVERY_FILE, backup, set_recovery
from akazuba.storage.pages import deciphered
from akazuba.storage.person import Person, searchable
from akazuba.storage.rescue import salvage
from akazuba.storage.spool import (
    FILE as SPOOL_FILE,
    Merged,
    Spool,
    merge,
)
from akazuba.storage.store import MOST_BYTES, Entry, Store, leaf
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
