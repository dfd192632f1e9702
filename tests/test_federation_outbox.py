"""What a terminal made is not lost, whatever is cut: power, line, stick or disk."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.federation import stick
from akazuba.federation.outbox import Outbox
from akazuba.federation.sending import CHUNK_BYTES, Answer, LinkError, Parcel, Sender, Status
from akazuba.federation.updates import Update, coded, id_of, signed
from akazuba.privacy.keys.enrolment import Role, enrol, request, requested
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign

NOW = 1_790_000_000
AUTHORITY, POST, GATEWAY, STRANGER = (new_identity(os.urandom) for _ in range(4))


def now() -> int:
    return NOW


def believe(registry: Registry, identity: Identity, name: str, role: Role, serial: int) -> None:
    asked = requested(request(identity, "rwanda", name, role, NOW), "rwanda", NOW)
    registry.believe(enrol(AUTHORITY, "rwanda", asked, serial, NOW), NOW)


@pytest.fixture
def registry() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    believe(made, POST, "health post 7", "terminal", 1)
    believe(made, GATEWAY, "gateway north", "gateway", 2)
    return made


def make(dimension: int = 100_000) -> Callable[[int], bytes]:
    def made(serial: int) -> bytes:
        values = [float(serial)] * dimension
        numbers, scale = coded(values, "float32")
        return signed(
            POST, Update("rwanda", serial, 0, bytes(32), NOW, 9, dimension, "float32", scale, numbers)
        )

    return made


class Far:
    """A gateway at the end of a line that breaks after so many puts. It keeps what it was sent."""

    def __init__(self, breaks_after: int = 10**9, signer: Identity = GATEWAY) -> None:
        self.left, self.signer = breaks_after, signer
        self.parts: dict[str, bytes] = {}
        self.parcels: dict[str, Parcel] = {}
        self.taken: dict[str, bytes] = {}
        self.bytes = 0

    def announce(self, parcel: bytes) -> Status:
        told = msgspec.msgpack.decode(msgspec.msgpack.decode(parcel)[1], type=Parcel)
        self.parcels[told.sha256] = told
        return self._status(told.sha256)

    def put(self, digest: str, offset: int, chunk: bytes) -> Status:
        if self.left == 0:
            raise LinkError("line", "a connection", "none")
        self.left -= 1
        self.bytes += len(chunk)
        have = self.parts.get(digest, b"")
        if offset == len(have):
            self.parts[digest] = have + chunk
        return self._status(digest)

    def _status(self, digest: str) -> Status:
        told, have = self.parcels[digest], self.parts.get(digest, b"")
        if told.id in self.taken:
            return self._answered(told.id)
        if len(have) < told.size:
            return Status("partial", len(have))
        assert id_of(have) == told.id
        self.taken[told.id] = have
        return self._answered(told.id)

    def _answered(self, update_id: str) -> Status:
        answer = Answer("rwanda", update_id, "accepted", "", NOW)
        return Status("answered", answer=sign(self.signer, "update-answer", answer))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "federation.sqlite3", now)
    yield opened
    opened.close()


def test_what_was_added_is_there_after_reopening(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "o", now)
    kept = first.add(make())
    first.close()
    again = Outbox(tmp_path / "o", now)
    assert again.waiting() == [kept]
    assert id_of(again.read(kept.id)) == kept.id
    again.close()


def test_serials_never_come_twice_even_when_all_were_delivered(outbox: Outbox) -> None:
    first = outbox.add(make(10))
    outbox.answer(first.id, "accepted")
    assert outbox.add(make(10)).serial == first.serial + 1


def test_a_making_that_fails_takes_no_serial(outbox: Outbox) -> None:
    def fails(serial: int) -> bytes:
        raise InputError("training", "cases", "none")

    with pytest.raises(InputError):
        outbox.add(fails)
    assert outbox.add(make(10)).serial == 1


def test_an_answer_may_come_twice_but_not_another_one(outbox: Outbox) -> None:
    one = outbox.add(make(10))
    outbox.answer(one.id, "refused", "too old")
    outbox.answer(one.id, "refused", "too old")
    with pytest.raises(InputError, match="expected refused, found accepted"):
        outbox.answer(one.id, "accepted")
    with pytest.raises(InputError, match="waits"):
        outbox.answer("0" * 64, "accepted")
    assert [(a.outcome, a.because) for a in outbox.answered()] == [("refused", "too old")]


def test_a_broken_line_goes_on_where_it_stopped(outbox: Outbox, registry: Registry) -> None:
    sizes = [outbox.add(make()).size for _ in range(2)]
    sender, far = Sender(outbox, POST, registry, now), Far()
    broke = 0
    while outbox.waiting():
        far.left = 1
        sent = sender.send_all(far)
        broke += bool(sent.broke)
    assert len(far.taken) == 2
    assert far.bytes == sum(sizes)  # not a byte twice
    assert broke >= sum(sizes) // CHUNK_BYTES


def test_a_lost_answer_costs_no_second_transfer(outbox: Outbox, registry: Registry) -> None:
    one = outbox.add(make())
    far = Far()
    far.taken[one.id] = outbox.read(one.id)
    assert Sender(outbox, POST, registry, now).send_all(far).accepted == 1
    assert far.bytes == 0


def test_an_answer_that_no_gateway_signed_erases_nothing(outbox: Outbox, registry: Registry) -> None:
    outbox.add(make(10))
    for signer in (STRANGER, POST):
        with pytest.raises(UntrustedError):
            Sender(outbox, POST, registry, now).send_all(Far(signer=signer))
    assert len(outbox.waiting()) == 1


def test_a_gateway_that_keeps_nothing_does_not_hold_a_terminal_for_ever(
    outbox: Outbox, registry: Registry
) -> None:
    class Leaky(Far):
        def put(self, digest: str, offset: int, chunk: bytes) -> Status:  # noqa: ARG002
            return Status("partial", 0)

    outbox.add(make(10))
    assert "asked for again" in Sender(outbox, POST, registry, now).send_all(Leaky()).broke


def test_a_busy_gateway_leaves_the_update_waiting(outbox: Outbox, registry: Registry) -> None:
    class Busy(Far):
        def announce(self, parcel: bytes) -> Status:  # noqa: ARG002
            return Status("later", because="quota")

    outbox.add(make(10))
    sent = Sender(outbox, POST, registry, now).send_all(Busy())
    assert (sent.left, "quota" in sent.broke) == (1, True)


def test_a_stick_carries_updates_there_and_answers_back(
    outbox: Outbox, registry: Registry, tmp_path: Path
) -> None:
    ids = {outbox.add(make(10)).id for _ in range(3)}
    usb = tmp_path / "usb"
    usb.mkdir()
    assert len(stick.export(outbox, usb)) == 3
    assert len(outbox.waiting()) == 3  # the stick may be lost
    seen = set[str]()

    def take(data: bytes) -> bytes:
        seen.add(id_of(data))
        return sign(GATEWAY, "update-answer", Answer("rwanda", id_of(data), "accepted", "", NOW))

    assert stick.deliver(usb, take) == (3, 0)
    assert seen == ids
    assert stick.collect(usb, Sender(outbox, POST, registry, now).answered) == 3
    assert outbox.waiting() == []
    assert not list((usb / stick.FOLDER).iterdir())


def test_a_stick_that_is_not_there_is_said(outbox: Outbox, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mounted"):
        stick.export(outbox, tmp_path / "no stick")


def test_a_full_disk_is_an_error_and_loses_nothing(outbox: Outbox) -> None:
    kept = outbox.add(make(1000))
    pages = outbox._file.execute("PRAGMA page_count").fetchone()[0]
    outbox._file.execute(f"PRAGMA max_page_count = {pages + 4}")  # as a disk that is full
    with pytest.raises(ArtefactError, match="full"):
        outbox.add(make())
    assert outbox.waiting() == [kept]
    outbox._file.execute("PRAGMA max_page_count = 1000000")
    assert outbox.add(make()).serial == 2


WRITER = """
import os, sys
from pathlib import Path
from tests.test_federation_outbox import make, now
from akazuba.federation.outbox import Outbox

def write(path):
    outbox = Outbox(path, now)
    while True:
        one = outbox.add(make(20_000))
        print("added", one.id, flush=True)
        if one.serial % 2 == 0:
            oldest = outbox.waiting()[0]
            outbox.answer(oldest.id, "accepted")
            print("answered", oldest.id, flush=True)

for line in sys.stdin:
    if (writer := os.fork()) == 0:
        print(os.getpid(), flush=True)
        write(Path(line.strip()))
    os.waitpid(writer, 0)
    print("\\nended", flush=True)
"""
"""Forks a writer for each line that it is told: what takes long, its imports, is done once."""


def test_kill_minus_9_at_any_moment_loses_nothing_that_was_added(tmp_path: Path) -> None:
    path, random_ = tmp_path / "o", random.Random(12)
    said: list[str] = []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(12):
            print(path, file=process.stdin, flush=True)
            writer = int(process.stdout.readline())
            said.append(process.stdout.readline())
            time.sleep(random_.uniform(0, 0.2))
            os.kill(writer, signal.SIGKILL)
            said += iter(process.stdout.readline, "ended\n")
    told = [line.split() for line in said]
    added = {words[1] for words in told if words[:1] == ["added"] and len(words[-1]) == 64}
    answered = {words[1] for words in told if words[:1] == ["answered"] and len(words[-1]) == 64}
    assert len(added) >= 12
    outbox = Outbox(path, now)
    waiting = {one.id for one in outbox.waiting()}
    done = {one.id for one in outbox.answered()}
    assert answered <= done
    assert added <= waiting | done
    assert not waiting & done
    assert all(id_of(outbox.read(update_id)) == update_id for update_id in waiting)
    serials = sorted([one.serial for one in outbox.waiting()] + [one.serial for one in outbox.answered()])
    assert serials == list(range(1, len(serials) + 1))
    outbox.close()
