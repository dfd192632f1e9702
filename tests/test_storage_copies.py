"""Copies of a store, for which somebody vouches, and what is salvaged of a broken one."""

# ruff: noqa: F401, F811 - the fixtures of storage_bench are imported by name

import os
from contextlib import closing, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from storage_bench import (
    CHANTAL,
    CHEAP,
    NOTE,
    PAPER,
    PASSPHRASE,
    everything,
    flip,
    home,
    in_a_child,
    in_hand,
    key,
    no_room_after,
    opened,
    rewrite,
    store,
)

from akazuba.errors import ArtefactError, InputError
from akazuba.merkle import Frontier
from akazuba.storage.backup import RECOVERY_FILE, Statement, backup, restore, set_recovery
from akazuba.storage.pages import deciphered
from akazuba.storage.rescue import salvage
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import (
    DEVICE_FILE,
    FILE,
    KEY_FILE,
    StoreKey,
    unlocked,
)

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
