"""Pictures that arrived and belong to nobody yet: sealed, in order, dropped, and every way to refuse one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from akazuba.errors import ArtefactError, InputError
from akazuba.storage import arrived
from akazuba.storage.arrived import FOLDER, MOST, About, about, drop, keep, picture, waiting
from akazuba.storage.unlocking import KEY_FILE, Cost, StoreKey, key_file, set_up, unlocked

PASSPHRASE = "four words of a morning"  # noqa: S105 - of a box that lives as long as a test
XRAY = About("0a" * 16, 1_790_000_000_000, "ultrasound", "chest x-ray", name="Uwimána Chantal", born="1990")
PNG = b"\x89PNG a picture of a chest"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    set_up(tmp_path / "box", PASSPHRASE, cost=Cost(32, 1, 1))
    return tmp_path / "box"


@pytest.fixture
def key(home: Path) -> StoreKey:
    return unlocked(home, PASSPHRASE)


def sealed_file(home: Path) -> Path:
    return home / FOLDER / f"{XRAY.id}.sealed"


def test_what_arrives_waits_sealed_until_it_is_dropped(home: Path, key: StoreKey) -> None:
    assert waiting(home) == []
    drop(home, XRAY.id)  # nothing there yet, and no folder
    keep(home, XRAY, PNG)
    assert waiting(home) == [XRAY.id]
    assert about(home, XRAY.id, key) == XRAY
    assert picture(home, XRAY.id, key) == PNG
    assert sealed_file(home).stat().st_mode & 0o077 == 0
    lying = sealed_file(home).read_bytes()
    assert b"PNG" not in lying
    assert b"Chantal" not in lying
    drop(home, XRAY.id)
    drop(home, XRAY.id)
    assert waiting(home) == []


def test_the_newest_waits_last_and_a_stray_file_does_not_wait(home: Path) -> None:
    for number, second in ((1, 30), (2, 10), (3, 20)):
        one = msgspec.structs.replace(XRAY, id=f"{number:032x}")
        keep(home, one, PNG)
        os.utime(home / FOLDER / f"{one.id}.sealed", (second, second))
    (home / FOLDER / "notes.sealed").write_bytes(b"")
    (home / FOLDER / f"{9:032x}.draft").write_bytes(b"")
    assert waiting(home) == [f"{number:032x}" for number in (2, 3, 1)]


def test_no_more_than_so_many_wait(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrived, "MOST", 1)
    keep(home, XRAY, PNG)
    with pytest.raises(InputError, match="pictures: expected fewer than 1 that wait to be attached, found 1"):
        keep(home, msgspec.structs.replace(XRAY, id="0b" * 16), PNG)
    assert len(waiting(home)) == 1 < MOST


@pytest.mark.parametrize("id_", ["", "0a", "0A" * 16, "../" + "0a" * 16, "0a" * 16 + "\n", "x" * 32])
def test_what_is_no_id_touches_no_file(home: Path, key: StoreKey, id_: str) -> None:
    for refused in (
        lambda: about(home, id_, key),
        lambda: picture(home, id_, key),
        lambda: drop(home, id_),
        lambda: keep(home, msgspec.structs.replace(XRAY, id=id_), PNG),
    ):
        with pytest.raises(InputError, match="picture: expected the id of one that waits"):
            refused()


def test_one_that_does_not_wait_is_asked_back(home: Path, key: StoreKey) -> None:
    with pytest.raises(InputError, match="picture: expected one that waits, found none of that id"):
        picture(home, XRAY.id, key)


@pytest.mark.parametrize("at", [0, 3, 40, -1], ids=["length", "length too", "about", "picture"])
def test_an_altered_file_does_not_open(home: Path, key: StoreKey, at: int) -> None:
    keep(home, XRAY, PNG)
    lying = bytearray(sealed_file(home).read_bytes())
    lying[at] ^= 1
    sealed_file(home).write_bytes(lying)
    with pytest.raises(ArtefactError, match="expected a picture sealed to this store"):
        (picture if at == -1 else about)(home, XRAY.id, key)


def test_a_picture_of_another_id_or_another_box_does_not_open(
    home: Path, key: StoreKey, tmp_path: Path
) -> None:
    keep(home, XRAY, PNG)
    other = msgspec.structs.replace(XRAY, id="0b" * 16)
    keep(home, other, b"another")
    sealed_file(home).write_bytes((home / FOLDER / f"{other.id}.sealed").read_bytes())
    with pytest.raises(ArtefactError, match="one that does not open"):
        picture(home, XRAY.id, key)
    set_up(tmp_path / "next", PASSPHRASE, cost=Cost(32, 1, 1))
    with pytest.raises(ArtefactError, match="one that does not open"):
        picture(home, other.id, unlocked(tmp_path / "next", PASSPHRASE))


def test_what_was_sealed_but_is_no_description_is_said(
    home: Path, key: StoreKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrived.msgspec.msgpack, "encode", lambda _: b"\x01")
    keep(home, XRAY, PNG)
    monkeypatch.undo()
    with pytest.raises(ArtefactError, match="expected a picture that arrived"):
        about(home, XRAY.id, key)


def test_a_folder_in_the_way_and_a_broken_key_are_errors_of_ours(home: Path, key: StoreKey) -> None:
    sealed_file(home).mkdir(parents=True)
    with pytest.raises(ArtefactError, match="a sealed picture"):
        picture(home, XRAY.id, key)
    with pytest.raises(ArtefactError, match="room for a picture"):
        keep(home, XRAY, PNG)
    broken = msgspec.structs.replace(key_file(home), spool=bytes(7))
    (home / KEY_FILE).write_bytes(msgspec.json.encode(broken))
    with pytest.raises(ArtefactError, match=r"key file|spool"):
        keep(home, msgspec.structs.replace(XRAY, id="0c" * 16), PNG)
