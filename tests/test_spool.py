"""What is recorded while the box is locked: merged once, and what is bent or torn is set aside."""

# ruff: noqa: F401, F811 - the fixtures of storage_bench are imported by name

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from storage_bench import (
    CHEAP,
    PASSPHRASE,
    fill,
    flip,
    home,
    in_a_child,
    key,
    no_room_after,
    opened,
    spooled,
    store,
)

from akazuba.errors import ArtefactError, InputError
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
from akazuba.storage.store import Store
from akazuba.storage.unlocking import (
    StoreKey,
    set_up,
)

# --- the spool ----------------------------------------------------------------------------------------


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
