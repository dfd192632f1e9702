"""What the store's small parts make of a fault: the words of an error, odd records, a TPM that misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from akazuba.errors import AkazubaError, ArtefactError, InputError, OutOfTimeError
from akazuba.storage import beside, tpm
from akazuba.storage.beside import Beside
from akazuba.storage.file import ours
from akazuba.storage.pages import _columns, _varint, committed
from akazuba.storage.person import Person, contradiction
from akazuba.storage.rescue import _entry
from akazuba.storage.tpm import FIRST_INDEX, LAST_INDEX, Sealed, Tpm

# --- the words of an error ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "attempt to write a readonly database",
            InputError,
            "store: expected one that was opened for writing",
        ),
        ("database is locked", OutOfTimeError, "x.db: expected the store within"),
        (
            "database or disk is full",
            ArtefactError,
            "room on the disk; nothing that was acknowledged is lost",
        ),
        ("file is not a database", ArtefactError, "x.db: expected this box's store, under its key"),
    ],
)
def test_an_error_of_the_database_is_one_of_ours(said: str, kind: type[AkazubaError], words: str) -> None:
    problem = ours("x.db", sqlcipher.OperationalError(said))
    assert type(problem) is kind
    assert words in str(problem)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("database is locked", OutOfTimeError, "the queue within"),
        ("file is not a database", ArtefactError, "the queue of this device, found another file"),
        ("disk I/O error", ArtefactError, "the queue, found disk I/O error"),
    ],
)
def test_an_error_of_a_file_beside_the_store_is_one_of_ours(
    said: str, kind: type[AkazubaError], words: str
) -> None:
    file = Beside(":memory:", "the queue")
    problem = file._ours(sqlcipher.OperationalError(said))
    file.close()
    assert type(problem) is kind
    assert words in str(problem)


@dataclass
class Busy:
    """A file of which another process changes the journal at the same time."""

    faults: list[str]
    asked: list[str] = field(default_factory=list)

    def execute(self, query: str) -> Busy:
        self.asked.append(query)
        if self.faults:
            raise sqlcipher.OperationalError(self.faults.pop(0))
        return self

    def fetchone(self) -> tuple[str]:
        return ("wal",)


def test_a_journal_that_is_in_use_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(["database is locked", "database is locked"])
    beside._as_log(busy)
    assert len(busy.asked) == 3
    with pytest.raises(sqlcipher.OperationalError, match="I/O"):
        beside._as_log(Busy(["disk I/O error"]))
    monkeypatch.setattr(beside, "BUSY_S", -1.0)
    with pytest.raises(sqlcipher.OperationalError, match="locked"):
        beside._as_log(Busy(["database is locked"]))


# --- records as SQLite writes them --------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value", "end"),
    [
        (b"\x00", 0, 1),
        (b"\x7f", 127, 1),
        (b"\x81\x00", 128, 2),
        (b"\xff" * 8 + b"\x00", -256, 9),
        (b"\xff" * 9, -1, 9),
        (b"\x80" * 8 + b"\x05", 5, 9),
        (b"\xbf" + b"\xff" * 8, (1 << 63) - 1, 9),
    ],
)
def test_a_number_of_up_to_nine_bytes_is_read(data: bytes, value: int, end: int) -> None:
    assert _varint(data, 0) == (value, end)


def test_a_record_is_read_by_its_kinds() -> None:
    assert _columns(b"\x07\x00\x08\x09\x01\x0e\x13\xfeabcd") == [None, 0, 1, -2, b"a", b"bcd"]


@pytest.mark.parametrize(
    "data",
    [b"\x02\x07" + bytes(8), b"\x02\x0a", b"\x02\x0b", b"\x02\x01\x01\x01", b"\x02\x0e"],
    ids=["a fraction", "kind 10", "kind 11", "too long", "too short"],
)
def test_a_record_that_sqlite_did_not_write_is_none(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        _columns(data)


def test_a_log_without_a_sound_head_holds_no_page() -> None:
    assert list(committed(b"")) == []
    assert list(committed(bytes(31))) == []
    assert list(committed(b"\x37\x7f\x06\x82" + bytes(28) + bytes(24 + 4096))) == []


@pytest.mark.parametrize(
    ("index", "columns", "sound"),
    [
        (3, [None, 17, b"case", b"nurse", b"p1", b"body"], True),
        (None, [None, 17, b"case", b"nurse", b"p1", b"body"], False),
        (-1, [None, 17, b"case", b"nurse", b"p1", b"body"], False),
        (3, [None, 17, b"case", b"nurse", b"p1"], False),
        (3, [None, None, b"case", b"nurse", b"p1", b"body"], False),
        (3, [None, 17, b"case", b"nurse", b"p1", None], False),
        (3, [None, 17, b"case", b"\xff", b"p1", b"body"], False),
        (3, [None, 17, b"case", 5, b"p1", b"body"], False),
    ],
    ids=["sound", "no row", "below zero", "five columns", "no time", "no body", "no text", "a number"],
)
def test_only_a_row_of_the_log_is_salvaged_as_an_entry(
    index: int | None, columns: list[bytes | int | None], sound: bool
) -> None:
    head, stored = _entry(index, columns)
    assert (head, stored) == (((3, 17, "case", "nurse", "p1"), b"body") if sound else (None, b""))


# --- who somebody is ----------------------------------------------------------------------------

THERE = Person("p1", "Béatrice  Uwimana", "1974-03-02", "female", "Huye")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (Person("p1", "beatrice uwimana", "1974", "female"), None),
        (Person("p1", "", "", ""), None),
        (Person("p1", "Jean Bosco"), ("name", "Jean Bosco")),
        (Person("p1", "", "1975"), ("born", "1975")),
        (Person("p1", "", "1974-03-02", "male"), ("sex", "male")),
        (Person("p1", "", "1974-03-02", "", "Kigali"), None),
    ],
    ids=str,
)
def test_the_first_thing_that_makes_her_somebody_else_is_named(
    told: Person, found: tuple[str, str] | None
) -> None:
    assert contradiction(THERE, told) == found


def test_an_unnamed_patient_takes_what_becomes_known_and_keeps_the_rest() -> None:
    unnamed = Person("case-000017", "", "", "female").named()
    assert unnamed.unnamed
    assert unnamed.named() is unnamed
    assert contradiction(unnamed, Person("case-000017", "Jean Bosco")) is None
    assert unnamed.told(Person("x", "  ")) is unnamed
    assert unnamed.told(Person("x", "Chantal", "1990")) == Person("case-000017", "Chantal", "1990", "female")
    assert THERE.told(Person("x", "Chantal", "1990")) is THERE


# --- a TPM --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers(Tpm):
    """A TPM that answers from a table instead of by its tools: bytes, or the error of the tool."""

    answers: dict[str, Callable[[tuple[str, ...]], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def run(self, tool: str, *arguments: str, given: bytes = b"") -> bytes:
        self.asked.append(tool if not given else f"{tool} with {len(given)} bytes")
        return self.answers.get(tool, lambda _: b"")(arguments)


def refused(_: tuple[str, ...]) -> bytes:
    raise ArtefactError("TPM", "nvdefine done", "NV index already defined")


def test_a_counter_takes_the_first_index_that_is_free() -> None:
    taken = {hex(FIRST_INDEX), hex(FIRST_INDEX + 1)}

    def define(arguments: tuple[str, ...]) -> bytes:
        return refused(arguments) if arguments[-1] in taken else b""

    device = Answers("none", {"nvdefine": define})
    assert tpm._new_counter(device) == FIRST_INDEX + 2
    assert device.asked.count("nvincrement") == 1


def test_no_room_for_a_counter_and_a_tpm_that_defines_none_are_told_apart() -> None:
    with pytest.raises(
        InputError, match=f"room for a counter from {FIRST_INDEX:#x} to {LAST_INDEX:#x}, found NV"
    ):
        tpm._new_counter(Answers("none", {"nvdefine": refused}))
    broken = Answers("none", {"nvdefine": refused, "nvreadpublic": refused})
    with pytest.raises(ArtefactError, match="already defined"):
        tpm._new_counter(broken)
    assert broken.asked == ["nvdefine", "nvreadpublic"]


def test_a_counter_has_eight_bytes() -> None:
    assert tpm._count(Answers("none", {"nvread": lambda _: bytes(6) + b"\x01\x02"}), FIRST_INDEX) == 258
    with pytest.raises(ArtefactError, match="a counter of 8 bytes, found 7 bytes"):
        tpm._count(Answers("none", {"nvread": lambda _: bytes(7)}), FIRST_INDEX)


def test_a_tpm_that_gives_back_another_secret_seals_nothing(tmp_path: Path) -> None:
    def create(arguments: tuple[str, ...]) -> bytes:
        for name in ("-u", "-r"):
            Path(arguments[arguments.index(name) + 1]).write_bytes(b"blob")
        return b""

    def random(number: int) -> bytes:
        return bytes(number)

    wrong = Answers("none", {"create": create, "unseal": lambda _: b"another one"})
    with pytest.raises(ArtefactError, match="TPM: expected the secret that was sealed, found another one"):
        tpm.seal(wrong, tmp_path, bytes(32), random)
    assert tpm.sealed(tmp_path) is None
    right = Answers("none", {"create": create, "unseal": lambda _: bytes(32)})
    tpm.seal(right, tmp_path, bytes(32), random)
    assert "create with 32 bytes" in right.asked
    assert tpm.sealed(tmp_path) == Sealed(1, "00000000", b"blob", b"blob", FIRST_INDEX)


def test_the_systems_own_tpm_is_taken_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "tpmrm0"
    monkeypatch.setattr(tpm, "DEVICE", device)
    monkeypatch.setattr(tpm.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert tpm.present({}) is None
    device.touch()
    assert tpm.present({}) == Tpm(f"device:{device}")
    assert tpm.present({"TPM2TOOLS_TCTI": "none"}) is None
    assert tpm.present({"TPM2TOOLS_TCTI": "swtpm:path=x"}) == Tpm("swtpm:path=x")
    monkeypatch.setattr(tpm.shutil, "which", lambda name: None if name == "tpm2_nvread" else name)
    assert tpm.present({}) is None
