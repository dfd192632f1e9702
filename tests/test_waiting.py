"""The emergency queue: nobody is forgotten, nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from akazuba.cli import main
from akazuba.errors import ArtefactError, InputError
from akazuba.records import Level
from akazuba.waiting.queue import FIRST, Now, Queue
from akazuba.waiting.simulate import Post, arrivals, simulate


@dataclass
class Clock:
    """A clock that a test turns."""

    wall: float = 1e9
    monotonic: float = 100.0
    boot: str = "first"

    def __call__(self) -> Now:
        return Now(self.wall, self.monotonic, self.boot)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def steps(queue: Queue) -> list[tuple[str, int]]:
    """The alarms that are due, each raised."""
    due = queue.due_alarms()
    for alarm in due:
        queue.alarmed(alarm)
    return [(alarm.case_id, alarm.step) for alarm in due]


def test_a_red_patient_raises_an_alarm_at_once_and_louder_after_two_and_four_minutes() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    queue.arrive("a")
    queue.triage("a", "red")
    assert steps(queue) == [("a", 0)]
    assert steps(queue) == []
    clock.wait(119)
    assert steps(queue) == []
    clock.wait(1)
    assert steps(queue) == [("a", 1)]
    clock.wait(120)
    assert steps(queue) == [("a", 2)]
    clock.wait(1000)
    assert steps(queue) == []


def test_a_box_that_slept_raises_every_alarm_that_it_missed() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    queue.arrive("a")
    queue.triage("a", "red")
    clock.wait(300)
    assert steps(queue) == [("a", 0), ("a", 1), ("a", 2)]


def test_an_acknowledged_patient_raises_no_alarm_until_she_becomes_red_again() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    queue.arrive("a")
    queue.triage("a", "red")
    queue.acknowledge("a", "nurse Uwase")
    assert steps(queue) == []
    queue.triage("a", "yellow", by="nurse Uwase", why="pain gone")
    queue.triage("a", "red")
    assert steps(queue) == [("a", 0)]


def test_nobody_is_forgotten_unassessed() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    queue.arrive("a")
    assert steps(queue) == []
    clock.wait(300)
    assert steps(queue) == [("a", 0)]


def test_only_a_person_with_a_reason_lowers_the_urgency() -> None:
    queue = Queue(":memory:", Clock())
    queue.arrive("a")
    queue.triage("a", "red")
    for by, why in (("box", "model says so"), ("nurse", ""), ("", "x")):
        with pytest.raises(InputError, match="a person and a reason"):
            queue.triage("a", "green", by=by or "box", why=why)
    assert queue.triage("a", "green", by="nurse", why="seen again").level == "green"


def test_the_unassessed_stand_before_all_who_are_known_to_be_less_than_red() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    for name, level in (("g", "green"), ("y", "yellow"), ("u", None), ("r", "red")):
        queue.arrive(name)
        if level:
            queue.triage(name, level)  # type: ignore[arg-type]
        clock.wait(1)
    assert [entry.case_id for entry in queue.waiting()] == ["r", "u", "y", "g"]


def test_a_restart_goes_on_where_it_stood_and_counts_the_time_in_between(tmp_path: Path) -> None:
    clock = Clock()
    queue = Queue(tmp_path / "q.sqlite", clock)
    queue.arrive("a")
    queue.triage("a", "red")
    assert steps(queue) == [("a", 0)]
    queue.close()
    clock.wall += 130
    clock.monotonic, clock.boot = 3.0, "second"
    again = Queue(tmp_path / "q.sqlite", clock)
    assert steps(again) == [("a", 1)]
    assert [row[0] for row in again.history("a")] == ["arrived", "triaged", "alarm", "escalated"]
    assert {row[3].boot for row in again.history("a")} == {"first", "second"}


def test_after_a_restart_with_a_clock_that_went_back_everybody_is_overdue() -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    queue.arrive("a")
    queue.triage("a", "red")
    clock.wall, clock.monotonic, clock.boot = 0.0, 1.0, "second"
    assert steps(queue) == [("a", 0), ("a", 1), ("a", 2)]
    assert Now(50, 95, "a").since(Now(100, 90, "a")) == 5


def test_an_alarm_that_nobody_heard_comes_again_and_one_that_was_raised_does_not() -> None:
    queue = Queue(":memory:", Clock())
    queue.arrive("a")
    queue.triage("a", "red")
    [alarm] = queue.due_alarms()
    assert queue.due_alarms() == [alarm]
    queue.alarmed(alarm)
    queue.alarmed(alarm)
    assert queue.due_alarms() == []
    assert [row[0] for row in queue.history("a")].count("alarm") == 1


def test_two_processes_share_one_queue(tmp_path: Path) -> None:
    clock = Clock()
    page, command = Queue(tmp_path / "q.sqlite", clock), Queue(tmp_path / "q.sqlite", clock)
    page.arrive("a")
    with pytest.raises(InputError, match="not in the queue"):
        command.arrive("a")
    command.triage("a", "red")
    assert steps(page) == [("a", 0)]
    assert steps(command) == []
    page.acknowledge("a", "nurse")
    clock.wait(300)
    assert steps(command) == []
    page.seen("a", "nurse")
    with pytest.raises(InputError, match="none of that id"):
        command.seen("a", "nurse")
    assert Queue(tmp_path / "q.sqlite", clock).waiting() == []


def test_a_patient_who_was_acknowledged_before_triage_may_be_yellow() -> None:
    queue = Queue(":memory:", Clock())
    queue.arrive("a")
    queue.acknowledge("a", "nurse")
    assert queue.triage("a", "yellow").level == "yellow"
    with pytest.raises(InputError, match="a level of"):
        queue.triage("a", "purple")  # type: ignore[arg-type]


KILLED = """
import sys
from akazuba.waiting.queue import Queue
queue = Queue(sys.argv[1])
number = 0
while True:
    queue.arrive(f"p{number}")
    queue.triage(f"p{number}", "red")
    print(number, flush=True)
    number += 1
"""


def test_whatever_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        told = [int(worker.stdout.readline()) for _ in range(25)]
        os.kill(worker.pid, signal.SIGKILL)
    queue = Queue(path)
    red = {entry.case_id for entry in queue.waiting() if entry.level == "red"}
    assert {f"p{number}" for number in told} <= red


def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    path.write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(ArtefactError, match="the queue's file"):
        Queue(path)


def test_a_patient_is_in_the_queue_once_and_must_be_there() -> None:
    queue = Queue(":memory:", Clock())
    queue.arrive("a")
    with pytest.raises(InputError, match="not in the queue"):
        queue.arrive("a")
    with pytest.raises(InputError, match="none of that id"):
        queue.seen("b", "nurse")
    with pytest.raises(InputError, match="nobody"):
        queue.acknowledge("a", "")


actions = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "triage", "acknowledge", "seen", "wait"]),
        st.sampled_from("abc"),
        st.sampled_from(FIRST),
    ),
    max_size=25,
)


@given(actions)
@settings(deadline=None, max_examples=60)
def test_a_red_patient_is_alarmed_or_acknowledged_whatever_happened(
    done: list[tuple[str, str, Level]],
) -> None:
    clock = Clock()
    queue = Queue(":memory:", clock)
    for what, name, level in done:
        try:
            if what == "arrive":
                queue.arrive(name)
            elif what == "triage":
                queue.triage(name, level, by="nurse", why="test")
            elif what == "acknowledge":
                queue.acknowledge(name, "nurse")
            elif what == "seen":
                queue.seen(name, "nurse")
        except InputError:
            pass
        clock.wait(30)
        steps(queue)
    for entry in queue.waiting():
        if entry.level == "red":
            assert entry.alarms > 0 or entry.acknowledged is not None


def test_the_simulated_day_says_that_it_is_simulated_and_has_its_baseline() -> None:
    facts = simulate(Post(), days=3, seed=1)
    assert facts["simulated"] is True
    assert simulate(Post(), days=3, seed=1) == facts
    shown = CliRunner().invoke(main, ["queue", "simulate", "--days", "2"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("SIMULATED")
    assert "first come first served" in shown.stdout


def test_every_emergency_of_a_day_is_answered_even_through_a_power_cut() -> None:
    import random

    post = Post(power_cuts=((0.0, 86400.0),))
    people = arrivals(post, random.Random(3))
    from akazuba.waiting.simulate import with_queue

    assert len(with_queue(post, people, 3).waits_s) == sum(p.level == "red" for p in people)


def test_power_cuts_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cuts.json"
    path.write_text("[[28800, 36000]]")
    shown = CliRunner().invoke(main, ["queue", "simulate", "--days", "2", "--power", str(path), "--json"])
    assert json.loads(shown.stdout)["assumed"]["power_cuts"] == [[28800, 36000]]
    path.write_text("[8, 10]")
    bad = CliRunner().invoke(main, ["queue", "simulate", "--power", str(path)])
    assert bad.exit_code == 2
    assert "from_s" in bad.stderr
