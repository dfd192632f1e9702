"""kill -9 of a whole programme (terminals, gateways, coordinator), at random moments and at each kind of step
that leaves something on the disk, over lines that break, double and disorder: nothing is lost or counted
twice, and what was committed replays to the same bits.
"""

import os
import random
import signal
import socket
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from test_federation_gateway import (
    COORDINATOR,
    NORTH,
    POSTS,
    Programme,
    iter_bytes,
    members,
    now,
    release,
    rules,
    update,
)

from akazuba.errors import AkazubaError
from akazuba.federation import sending
from akazuba.federation.board import Board
from akazuba.federation.doors import HttpLink, app
from akazuba.federation.gateway import Gateway, Quota
from akazuba.federation.outbox import Outbox
from akazuba.federation.sending import LinkError, Sender, Status
from akazuba.privacy.keys.signed import sign

STEPS = {"open", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect"}
"""Audit events after which a process may be killed, besides each statement of SQLite."""


STARTS_WITHIN_S = 60.0


class Line:
    """To a gateway. One request in four suffers: it does not arrive, its reply does not, it comes twice, or
    the one before it comes once more after it.
    """

    def __init__(self, gateway: Gateway, random_: random.Random, fault: Callable[[str], object]) -> None:
        self._gateway, self._random, self._fault = gateway, random_, fault
        self._before: Callable[[], Status] | None = None

    def announce(self, parcel: bytes) -> Status:
        return self._through(lambda: self._gateway.announce(parcel))

    def put(self, digest: str, offset: int, piece: bytes) -> Status:
        return self._through(lambda: self._gateway.put(digest, offset, piece))

    def _through(self, request: Callable[[], Status]) -> Status:
        what = self._random.random()
        before, self._before = self._before, request
        if what < 0.25:
            self._fault("fault")
        if what < 0.06:
            raise LinkError("line", "a connection", "none")
        status = request()
        if what < 0.12:
            raise LinkError("line", "a reply", "none")
        if what < 0.18:
            return request()
        if what < 0.25 and before is not None:
            before()
        return status


def live(made: Programme, seed: int) -> None:
    """Does what its parts do, in random order, until it is killed."""
    random_ = random.Random(seed)
    sending.CHUNK_BYTES = sending.CHUNK_BYTES_MOST = 1500  # several pieces of each small update
    while True:
        what, post, place = random_.random(), random_.randrange(len(POSTS)), random_.randrange(2)
        if what < 0.3:
            made.train(post)
        elif what < 0.65:
            made.send(post, place, Line(made.gateways[place], random_, made.say))
        else:
            made.round(place, reply_lost=0.65 <= what < 0.72, twice=what > 0.93)
            if what < 0.72 or what > 0.93:
                made.say("fault")


def killed_at(step: int) -> None:
    """This process ends with its `step`-th statement or file from now on."""
    left = [step]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connect: Any = sqlite3.connect

    def traced(*given: Any, **named: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*given, **named)
        made.set_trace_callback(count)
        return made

    sqlite3.connect = traced
    sys.addaudithook(lambda event, _: count() if event in STEPS else None)


def life(folder: Path, noise: float, seed: int, step: int | None, seconds: float) -> list[str]:
    """What one process on the files of the last one said before it was killed: by itself at `step`, else from
    outside after `seconds`. It is forked, so that a life costs no start of Python.
    """
    path = folder / f"said {seed}"
    with path.open("ab", 0) as said:
        child = os.fork()
        if not child:
            try:
                if step is not None:
                    killed_at(step)
                say = lambda text: said.write(f"{text}\n".encode())  # noqa: E731
                made = Programme(folder, members(), rules(noise_multiplier=noise), say=say)
                say(f"ready {made.coordinator.folding.version}")
                live(made, seed)
            finally:
                traceback.print_exc()  # nobody comes here unless it failed
                os._exit(1)
    if step is None:
        until = time.monotonic() + STARTS_WITHIN_S
        while not path.stat().st_size and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"life {seed} ended by itself"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


@dataclass(frozen=True)
class Killed:
    """faults: of lines and replies. kept: updates that were in an outbox. refused: with a signed reason, such
    as a base of too long ago. lost: in no version, nowhere waiting, and not refused. twice: counted, and
    still to be counted; or a version of more or fewer updates than a buffer.
    """

    kills: int
    faults: int
    kept: int
    counted: int
    refused: int
    lost: int
    twice: int
    same_bits: bool


def killed(folder: Path, kills: int, seed: int, noise: float = 0.0) -> Killed:
    """So many processes, one after the other on the same files: every other one is killed after 0 to 0.2 s of
    work, the others at one of their first 600 steps.
    """
    random_, lives = random.Random(seed), list[list[str]]()
    for turn in range(kills):
        step = random_.randrange(1, 600) if turn % 2 else None
        lives.append([one.strip() for one in life(folder, noise, turn, step, random_.uniform(0, 0.2))])
    lives.append(last := [])
    made = Programme(folder, members(), rules(noise_multiplier=noise), say=last.append)
    last.append(f"ready {made.coordinator.folding.version}")
    kept = {line.split()[1] for said in lives for line in said if line.startswith("kept ")}
    for _ in range(len(kept)):
        for post in range(len(POSTS)):
            made.send(post, post % 2)
        before = made.coordinator.counted()
        made.round(0)
        made.round(1)
        if made.coordinator.counted() == before and not any(one.waiting() for one in made.outboxes):
            break
    held = {one for gateway in made.gateways for one in gateway.waiting_ids()}
    held |= {one.id for outbox in made.outboxes for one in outbox.waiting()}
    answers = [one for outbox in made.outboxes for one in outbox.answered()]
    refused = {one.id for one in answers if one.outcome == "refused" and one.because.startswith("version:")}
    counted = {one for one in kept if made.coordinator.version_of(one) is not None}
    versions = made.coordinator._file.execute("SELECT version, count(*) FROM counted GROUP BY version")
    uneven = sum(number != made.rules.buffer for _, number in versions)
    result = Killed(
        kills,
        sum(line == "fault" for said in lives for line in said),
        len(kept),
        len(counted),
        len(refused),
        len(kept - counted - held - refused),
        len(counted & held) + uneven,
        replayed(folder / "again", lives, noise) == made.coordinator.folding.model.tobytes(),
    )
    made.close()
    return result


def replayed(folder: Path, lives: list[list[str]], noise: float) -> bytes:
    """The model that a coordinator makes of the sums that those before it were given, with the random bytes
    that they drew. What the last sum of a life did is told by the version at which the next life began.
    """
    made = Programme(folder, members(), rules(noise_multiplier=noise))
    starts = [next((int(one.split()[1]) for one in said if one.startswith("ready")), None) for said in lives]
    for place, said in enumerate(lives):
        made.random = iter_bytes([bytes.fromhex(one[6:]) for one in said if one.startswith("drawn ")])
        made.cut("coordinator")
        after = next((start for start in starts[place + 1 :] if start is not None), None)
        for index, line in enumerate(said):
            if line.startswith("part "):
                then = next((one for one in said[index + 1 :] if not one.startswith("drawn ")), "killed")
                if then == "taken" or after != made.coordinator.folding.version:
                    made.coordinator.take(bytes.fromhex(line[5:]))
    model = made.coordinator.folding.model.tobytes()
    made.close()
    return model


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_kill_minus_9_of_a_whole_programme_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, noise: float
) -> None:
    found = killed(tmp_path, 10, 3, noise)
    assert (found.lost, found.twice, found.same_bits) == (0, 0, True)
    assert found.counted > 4
    assert found.faults > 4


def test_a_killed_programmes_file_is_not_taken_for_another_models(tmp_path: Path) -> None:
    made = Programme(tmp_path, members(), rules())
    made.close()
    file = tmp_path / "coordinator"
    data = file.read_bytes()
    file.write_bytes(b"x" * len(data))
    with pytest.raises(AkazubaError):
        Programme(tmp_path, members(), rules())


def door(path: Path, listening: socket.socket) -> int:
    """A gateway's door in a process of its own; its pid."""
    child = os.fork()
    if not child:
        try:
            gateway = Gateway(path, NORTH, members(), now, Quota(10**6, 10**6))
            gateway.publish(sign(COORDINATOR, "model-release", release()))
            board = Board(path.parent / "round", members(), now)
            uvicorn.Server(uvicorn.Config(app(gateway, board), log_level="error", ws="none")).run([listening])
        finally:
            traceback.print_exc()
            os._exit(1)
    return child


def send_until_killed(url: str, outbox: Path, post: int, answered: set[str]) -> None:
    """Until nobody answers any more. answered: ids of updates that the gateway answered for."""
    with closing(Outbox(outbox, now)) as opened, closing(HttpLink(url)) as link:
        sender = Sender(opened, POSTS[post], members(), now)
        while not sender.send_all(link).broke:
            answered |= {one.id for one in opened.answered()}
            for _ in range(2):
                opened.add(lambda serial: update(POSTS[post], serial))
        answered |= {one.id for one in opened.answered()}


@pytest.mark.enable_socket
def test_what_a_door_answered_for_together_is_in_the_ledger_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("akazuba.federation.doors.TIMEOUT_S", 2.0)  # of who came between two doors
    answered, posts = set[str](), range(len(POSTS))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for turn in range(3):
            child = door(tmp_path / "gateway", listening)
            with closing(HttpLink(url)) as link, ThreadPoolExecutor(len(POSTS)) as pool:
                link.model()  # it is there
                for one in posts:
                    pool.submit(send_until_killed, url, tmp_path / f"o{one}", one, answered)
                until = time.monotonic() + STARTS_WITHIN_S
                while len(answered) < 5 * (turn + 1) and time.monotonic() < until:
                    time.sleep(0.005)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    with closing(Gateway(tmp_path / "gateway", NORTH, members(), now)) as gateway:
        ids = gateway.waiting_ids()
        assert len(ids) == len(set(ids)) == gateway.tally()["accepted"]
    assert answered <= set(ids)
    assert len(answered) >= 15
