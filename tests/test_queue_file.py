"""The queue's file: encrypted under the device's secret, moved over once, and open to patients throughout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.cli import main
from akazuba.errors import ArtefactError
from akazuba.storage import beside
from akazuba.storage.beside import LOCK, MOVING, NO_SECRET, OLD, Beside, described, standing
from akazuba.storage.unlocking import DEVICE_FILE, Cost, device_key, set_up, wrap
from akazuba.waiting.queue import FILE, WHAT, Now, Queue

CASE, NURSE, WHY = "case-of-chantal-4071", "nurse-uwimana", "she breathes better now"
SECRETS = [text.encode() for text in (CASE, NURSE, WHY, "acknowledged", "unassessed")]


def clock() -> Now:
    return Now(1e9, 100.0, "boot")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A box with a store, that is locked: nobody has typed the passphrase."""
    set_up(tmp_path / "box", "a long passphrase", cost=Cost(8, 1, 1))
    return tmp_path / "box"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A home in which the queue was used before the store was set up."""
    home = tmp_path / "plain"
    home.mkdir()
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
    assert standing(home / FILE) == "plain"
    set_up(home, "a long passphrase", cost=Cost(8, 1, 1))
    return home


def filled(queue: Queue) -> None:
    queue.arrive(CASE)
    queue.triage(CASE, "red")
    queue.acknowledge(CASE, NURSE)
    queue.triage(CASE, "yellow", NURSE, WHY)
    queue.arrive("second")


def many(queue: Queue) -> None:
    for number in range(5_000):
        queue.arrive(f"{'x' * 200}{number}")


def stands(queue: Queue) -> list[tuple[str, str, str]]:
    return [(entry.case_id, entry.level, entry.state) for entry in queue.waiting()]


FILLED = [("second", "unassessed", "arrived"), (CASE, "yellow", "acknowledged")]


def image(home: Path) -> bytes:
    """Of the disk, as somebody who carries it away reads it, but for the file of the secret."""
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


# --- encrypted ------------------------------------------------------------------------------------------


def test_nothing_of_a_patient_stands_on_the_disk(home: Path) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
        open_image = image(home)
        assert queue.protection == (True, f"the key lies in the file {DEVICE_FILE}, which goes with the disk")
    for found in (open_image, image(home)):
        assert [secret for secret in SECRETS if secret in found] == []
        assert b"SQLite format 3" not in found
    with closing(Queue(home / FILE, clock)) as again:
        assert stands(again) == FILLED
        assert len(again.history(CASE)) == 4


def test_a_plain_queue_does_stand_there_so_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    with closing(Queue(tmp_path / FILE, clock)) as queue:
        filled(queue)
    assert [secret for secret in SECRETS if secret not in image(tmp_path)] == []


def test_another_device_opens_none_of_it(home: Path, tmp_path: Path) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
    for name, secret in (("another", bytes(32)), ("none", None)):
        thief = tmp_path / name
        thief.mkdir()
        shutil.copy(home / FILE, thief)
        if secret is not None:
            (thief / DEVICE_FILE).write_bytes(secret)
        before = (thief / FILE).read_bytes()
        with pytest.raises(ArtefactError, match=r"the queue's file.*an empty one is begun"):
            Queue(thief / FILE)
        assert (thief / FILE).read_bytes() == before
        (thief / FILE).rename(thief / "aside")
        with closing(Queue(thief / FILE)) as queue:
            queue.arrive("the next patient")


def test_a_new_passphrase_leaves_the_queue_open(home: Path) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
        key = device_key(home, WHAT)
        wrap(home, unlocked_key(home), "another passphrase", os.urandom, Cost(8, 1, 1))
        assert device_key(home, WHAT) == key
        queue.arrive("third")
    with closing(Queue(home / FILE, clock)) as again:
        assert len(again.waiting()) == 3


def unlocked_key(home: Path):  # type: ignore[no-untyped-def]
    from akazuba.storage.unlocking import unlocked

    return unlocked(home, "a long passphrase")


def test_each_use_of_the_devices_secret_has_a_key_of_its_own(home: Path) -> None:
    keys = {device_key(home, what) for what in (WHAT, "another file", "")}
    assert len(keys) == 3
    assert (home / DEVICE_FILE).read_bytes() not in keys
    assert device_key(home, WHAT, 48) != device_key(home, WHAT, 32)


@pytest.mark.parametrize("at", [20, 3000, 4090, -5])
def test_an_altered_page_is_noticed_and_named(home: Path, at: int) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
    data = bytearray((home / FILE).read_bytes())
    data[at] ^= 1
    (home / FILE).write_bytes(data)
    with pytest.raises(ArtefactError, match="the queue's file"):
        Queue(home / FILE).waiting()


ADDING = """
import sys
from pathlib import Path
from akazuba.waiting.queue import Queue
queue = Queue(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    queue.arrive(f"{sys.argv[2]}-{number}")
    queue.triage(f"{sys.argv[2]}-{number}", "red")
    print(number, flush=True)
"""


def test_processes_that_make_and_fill_the_file_at_once_lose_nothing(home: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, str(home / FILE), name, "15"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in ("a", "b", "c")
    ]
    for worker in workers:
        _, wrong = worker.communicate(timeout=60)
        assert worker.returncode == 0, wrong.decode()
    with closing(Queue(home / FILE)) as queue:
        assert len(queue.waiting()) == 45
        assert queue.protection[0]
        assert len({entry.number for entry in queue.waiting()}) == 45


def test_whatever_was_acknowledged_survives_kill_9_encrypted(home: Path) -> None:
    words = [sys.executable, "-c", ADDING, str(home / FILE), "p", "100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        told = [int(worker.stdout.readline()) for _ in range(25)]
        os.kill(worker.pid, signal.SIGKILL)
    with closing(Queue(home / FILE)) as queue:
        red = {entry.case_id for entry in queue.waiting() if entry.level == "red"}
        assert {f"p-{number}" for number in told} <= red


def test_what_the_disk_did_not_take_did_not_happen(home: Path) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        queue.arrive("a")
        queue._file.rows("PRAGMA max_page_count = 5")
        with pytest.raises(ArtefactError, match="full"):
            many(queue)
        taken = len(queue.waiting())
        queue._file.rows("PRAGMA max_page_count = 100000")
        queue.arrive("b")
        with closing(Queue(home / FILE, clock)) as other:
            assert stands(other) == stands(queue)
            assert len(other.waiting()) == taken + 1


# --- moved over -----------------------------------------------------------------------------------------


def test_a_plain_file_is_moved_over_once_and_its_bytes_are_gone(plain: Path) -> None:
    before = os.open(plain / FILE, os.O_RDONLY)
    try:
        with closing(Queue(plain / FILE, clock)) as queue:
            assert stands(queue) == FILLED
            assert queue.protection[0]
            queue.arrive("third")
        assert not any(os.pread(before, 1 << 20, 0)), "the old file is overwritten, not only unlinked"
    finally:
        os.close(before)
    assert [secret for secret in SECRETS if secret in image(plain)] == []
    assert {path.name for path in plain.iterdir() if path.name.startswith(FILE)} == {FILE, FILE + LOCK}
    assert (plain / FILE).stat().st_mode & 0o077 == 0
    made = (plain / FILE).stat().st_ino
    with closing(Queue(plain / FILE, clock)) as queue:
        assert len(queue.waiting()) == 3
    assert (plain / FILE).stat().st_ino == made


def test_what_stands_in_the_old_write_ahead_log_comes_along(plain: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(plain / FILE, isolation_level=None)) as file:
        file.execute("PRAGMA wal_autocheckpoint = 0")
        row = ("late", "arrived", "unassessed", "", "", 1e9, 100.0, "boot")
        file.execute(
            "INSERT INTO transition (case_id, kind, level, by, why, wall_s, monotonic_s, boot)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        shutil.copytree(plain, tmp_path / "cut off")
    cut_off = tmp_path / "cut off"
    assert (cut_off / f"{FILE}-wal").stat().st_size > 0
    (cut_off / f"{FILE}-shm").unlink()
    with closing(Queue(cut_off / FILE, clock)) as queue:
        assert [entry.case_id for entry in queue.waiting()] == ["second", "late", CASE]
        assert queue.protection[0]


STEPS = ("_copied", "link", "replace", "sync_folder", "_overwritten", "unlink")
KILLED = """
import os, sys
from pathlib import Path
from akazuba.storage import beside
from akazuba.waiting.queue import Queue

step, when = sys.argv[2], sys.argv[3]
place = {"link": os, "replace": Path, "unlink": Path}.get(step, beside)
done = getattr(place, step)

def cut_off(*given, **named):
    about = " ".join(map(str, given))
    if step == "unlink" and not about.endswith(beside.OLD):
        return done(*given, **named)
    if when == "before":
        os.kill(os.getpid(), 9)
    done(*given, **named)
    os.kill(os.getpid(), 9)

setattr(place, step, cut_off)
Queue(Path(sys.argv[1])).waiting()
print("not cut off")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_move_that_is_cut_off_at_any_step_loses_nothing_and_is_finished(
    plain: Path, step: str, when: str
) -> None:
    words = [sys.executable, "-c", KILLED, str(plain / FILE), step, when]
    for _ in range(2):  # and once more, from where it stood
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
        assert done.returncode in (-9, 0), done.stderr.decode()
    assert standing(plain / FILE) in ("plain", "encrypted")
    with closing(Queue(plain / FILE, clock)) as queue:
        assert stands(queue) == FILLED
        assert queue.protection[0]
    assert {path.name for path in plain.iterdir() if path.name.startswith(FILE)} == {FILE, FILE + LOCK}
    assert [secret for secret in SECRETS if secret in image(plain)] == []


def test_the_first_of_those_cuts_really_happens(plain: Path) -> None:
    for step in STEPS:
        shutil.rmtree(plain / "try", ignore_errors=True)
        (plain / "try").mkdir()
        for name in (FILE, DEVICE_FILE):
            shutil.copy(plain / name, plain / "try")
        words = [sys.executable, "-c", KILLED, str(plain / "try" / FILE), step, "before"]
        if step == "unlink":
            words[-1] = "after"
        assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == -9, step


def test_a_file_that_somebody_has_open_is_moved_later(plain: Path) -> None:
    (plain / DEVICE_FILE).rename(plain / "later")
    page = Queue(plain / FILE, clock)  # as a page that was opened before the store was set up
    (plain / "later").rename(plain / DEVICE_FILE)
    with closing(page), closing(Queue(plain / FILE, clock)) as command:
        assert command.protection == (False, beside.IN_USE)
        page.arrive("through the page")
        command.arrive("through the command")
        assert stands(page) == stands(command)
        assert len(page.waiting()) == 4
    with closing(Queue(plain / FILE, clock)) as queue:
        assert queue.protection[0]
        assert len(queue.waiting()) == 4


def test_a_move_that_fails_keeps_nobody_waiting(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beside, "_copied", full)
    with closing(Queue(plain / FILE, clock)) as queue:
        assert queue.protection == (False, "No space left on device")
        queue.arrive("third")
    monkeypatch.undo()
    with closing(Queue(plain / FILE, clock)) as queue:
        assert queue.protection[0]
        assert len(queue.waiting()) == 3


def test_a_copy_that_is_not_the_same_does_not_take_its_place(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = beside._keyed

    def altered(path: str, key: bytes | None) -> object:
        file = keyed(path, key)
        if path.endswith(MOVING):
            file.execute("DELETE FROM transition WHERE id = 1")
        return file

    monkeypatch.setattr(beside, "_keyed", altered)
    with closing(Queue(plain / FILE, clock)) as queue:
        encrypted, how = queue.protection
        assert not encrypted
        assert "another content" in how
        assert stands(queue) == FILLED
    assert not (plain / (FILE + OLD)).exists()


def test_a_secret_that_cannot_be_had_stops_no_new_queue(home: Path) -> None:
    (home / DEVICE_FILE).write_bytes(b"short")
    with closing(Queue(home / FILE, clock)) as queue:
        queue.arrive("a patient")
        encrypted, how = queue.protection
        assert not encrypted
        assert "this device's secret, 32 bytes" in how


# --- what is said of it -----------------------------------------------------------------------------------


def said(home: Path, monkeypatch: pytest.MonkeyPatch, *words: str):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AKAZUBA_HOME", str(home))
    monkeypatch.delenv("AKAZUBA_PASSPHRASE", raising=False)
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done


def test_the_commands_say_how_the_file_is_kept_and_ask_for_no_passphrase(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = json.loads(said(home, monkeypatch, "store", "show", "--json").stdout)
    assert (shown["queue"], shown["store"], shown["tpm"]) == ("none yet", "set up", False)
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
    waits = said(home, monkeypatch, "queue", "show", "--json")
    assert [row["case_id"] for row in json.loads(waits.stdout)] == ["second", CASE]
    assert waits.stderr == ""
    assert "encrypted; the key lies in the file" in said(home, monkeypatch, "store", "show").stdout

    bare = tmp_path / "bare"
    with closing(Queue(bare / FILE, clock)) as queue:
        filled(queue)
    waits = said(bare, monkeypatch, "queue", "show", "--json")
    assert len(json.loads(waits.stdout)) == 2
    assert waits.stderr == f"the queue's file is plain, not encrypted: {NO_SECRET}\n"
    shown = json.loads(said(bare, monkeypatch, "store", "show", "--json").stdout)
    assert shown["queue"] == f"plain, not encrypted: {NO_SECRET}"
    assert shown["store"].startswith("none")
    assert shown["device_secret"].startswith("nowhere")
    assert described(bare / FILE) == shown["queue"]


def test_the_file_is_one_that_sqlcipher_itself_opens_with_the_key(home: Path) -> None:
    with closing(Queue(home / FILE, clock)) as queue:
        filled(queue)
    key = device_key(home, WHAT, beside.KEY_BYTES)
    assert key is not None
    with closing(sqlcipher.connect(str(home / FILE))) as file:
        file.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        assert file.execute("SELECT COUNT(*) FROM transition").fetchone() == (5,)
        assert file.execute("PRAGMA cipher_integrity_check").fetchall() == []
    with pytest.raises(ArtefactError, match="expected another use of this device"):
        Beside(home / FILE, "another use")
