"""kill -9 of a whole programme (terminals, gateways, coordinator) at random moments: nothing lost, nothing
twice.
"""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_federation_gateway import POSTS, Programme, members, rules

from akazuba.errors import AkazubaError


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def live(folder: Path, seed: int) -> None:
    """Does what its parts do, in random order, until it is killed. Says the id of each update that was
    kept.
    """
    made, random_ = Programme(folder, members(), rules()), random.Random(seed)
    say("ready")
    while True:
        what, post, place = random_.random(), random_.randrange(len(POSTS)), random_.randrange(2)
        before = len(made.expected)
        if what < 0.35:
            made.train(post)
        elif what < 0.7:
            made.send(post, place)
        else:
            made.round(place, twice=what > 0.9)
        if len(made.expected) > before:
            say(f"kept {made.outboxes[post].waiting()[-1].id}")


@dataclass(frozen=True)
class Killed:
    kills: int
    kept: int
    counted: int
    lost: int
    twice: int


def killed(folder: Path, kills: int, seed: int) -> Killed:
    """So many processes, one after the other on the same files, each killed after 0 to 0.7 s of work."""
    random_, kept = random.Random(seed), set[str]()
    for turn in range(kills):
        command = [sys.executable, __file__, str(folder), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            assert said == ["ready\n"], "it did not start on what the last one left"
            time.sleep(random_.uniform(0, 0.7))
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        kept |= {line.split()[1] for line in said if line.startswith("kept ") and len(line) == 70}
    made = Programme(folder, members(), rules())
    for _ in range(len(kept)):
        for post in range(len(POSTS)):
            made.send(post, post % 2)
        before = made.coordinator.counted()
        made.round(0)
        made.round(1)
        if made.coordinator.counted() == before:
            break
    held = {one for gateway in made.gateways for one in gateway.waiting_ids()}
    held |= {one.id for outbox in made.outboxes for one in outbox.waiting()}
    counted = {one for one in kept if made.coordinator.version_of(one) is not None}
    versions = made.coordinator._file.execute("SELECT version, count(*) FROM counted GROUP BY version")
    uneven = sum(number != made.rules.buffer for _, number in versions)
    result = Killed(kills, len(kept), len(counted), len(kept - counted - held), len(counted & held) + uneven)
    made.close()
    return result


def test_kill_minus_9_of_a_whole_programme_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    found = killed(tmp_path, 6, 3)
    assert (found.lost, found.twice) == (0, 0)
    assert found.counted > 8


def test_a_killed_programmes_file_is_not_taken_for_another_models(tmp_path: Path) -> None:
    made = Programme(tmp_path, members(), rules())
    made.close()
    file = tmp_path / "coordinator"
    data = file.read_bytes()
    file.write_bytes(b"x" * len(data))
    with pytest.raises(AkazubaError):
        Programme(tmp_path, members(), rules())


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    live(Path(sys.argv[1]), int(sys.argv[2]))
