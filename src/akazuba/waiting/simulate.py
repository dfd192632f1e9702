"""A SIMULATED day at a health post, run through the real queue: how soon are emergencies acknowledged?

People and their reactions are drawn at random from the distributions of `Post`; the queue, its alarms and its
escalations are the ones of the box, with a simulated clock. The baseline is the same day, the same arrivals
and the same staff without urgency and alarms: first come, first served.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from akazuba.records import Level
from akazuba.waiting.queue import Now, Queue

HOUR_S = 3600.0
ANSWERED_WITHIN_S = 300.0

ARRIVALS_BY_HOUR = (0.2, 0.2, 0.2, 0.2, 0.2, 0.4, 0.9, 1.8, 2.3, 2.2, 1.9, 1.5, 1.1, 1.2, 1.1, 0.9, 0.7, 0.5)
"""Relative arrivals from midnight on; the last holds to the end of the day (our assumption)."""


@dataclass(frozen=True)
class Post:
    """What is assumed. Times in seconds; a median is that of a log-normal distribution with `spread` (sigma).

    aides triage at the door with the box; nurses see patients; on_call comes when an alarm escalates.
    share_red, share_yellow: of arrivals. A surge brings `surge_size` within ten minutes, half of them red.
    power_cuts: seconds from midnight, from and to, during which the box is off: nobody is alarmed then and
    the post works first come, first served.
    """

    patients_a_day: float = 60.0
    share_red: float = 0.06
    share_yellow: float = 0.24
    aides: int = 1
    nurses: int = 2
    on_call: int = 1
    triage_s: float = 75.0
    consultation_s: float = 480.0
    emergency_s: float = 1500.0
    idle_reaction_s: float = 20.0
    busy_reaction_s: float = 60.0
    emergency_reaction_s: float = 150.0
    on_call_s: float = 240.0
    spread: float = 0.5
    surges: int = 0
    surge_size: int = 8
    power_cuts: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Arrival:
    at_s: float
    level: Level


@dataclass
class Day:
    """waits_s: of each emergency, from arrival to acknowledgement."""

    patients: int = 0
    waits_s: list[float] = field(default_factory=list)
    alarms: int = 0
    escalations: int = 0


def arrivals(post: Post, random_: random.Random) -> list[Arrival]:
    """Poisson arrivals by hour, and surges at a random minute of the day."""
    weights = [ARRIVALS_BY_HOUR[min(hour, len(ARRIVALS_BY_HOUR) - 1)] for hour in range(24)]
    found = []
    for hour, weight in enumerate(weights):
        rate = post.patients_a_day * weight / sum(weights) / HOUR_S
        at = hour * HOUR_S
        while rate > 0 and (at := at + random_.expovariate(rate)) < (hour + 1) * HOUR_S:
            draw = random_.random()
            urgent: Level = "yellow" if draw < post.share_red + post.share_yellow else "green"
            found.append(Arrival(at, "red" if draw < post.share_red else urgent))
    for _ in range(post.surges):
        start = random_.uniform(0, 23.5 * HOUR_S)
        for _ in range(post.surge_size):
            level: Level = "red" if random_.random() < 0.5 else "yellow"
            found.append(Arrival(start + random_.uniform(0, 600), level))
    return sorted(found, key=lambda arrival: arrival.at_s)


class _Clockwork:
    """Events in the order of their time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def run(self) -> None:
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()


class _Post:
    """Staff, patients and the box of one day."""

    def __init__(self, post: Post, people: Sequence[Arrival], random_: random.Random) -> None:
        self._post, self._random = post, random_
        self._clock = _Clockwork()
        self._queue = Queue(":memory:", lambda: Now(self._clock.now, self._clock.now, "simulated"))
        self._people = {f"p{place}": arrival for place, arrival in enumerate(people)}
        self._to_triage: list[str] = []
        self._aides = post.aides
        self._with: list[Level | None] = [None] * post.nurses
        self._away = post.on_call
        self.day = Day(len(people))
        for name, arrival in self._people.items():
            self._clock.after(arrival.at_s, lambda name=name: self._arrives(name))  # type: ignore[misc]

    def run(self) -> Day:
        self._clock.run()
        self._queue.close()
        return self.day

    def _drawn(self, median_s: float) -> float:
        return median_s * math.exp(self._random.gauss(0, self._post.spread))

    def _box_on(self) -> bool:
        return not any(start <= self._clock.now < end for start, end in self._post.power_cuts)

    def _arrives(self, name: str) -> None:
        self._queue.arrive(name)
        self._to_triage.append(name)
        self._triage_next()
        self._nurses_take()

    def _triage_next(self) -> None:
        if self._aides and self._to_triage and self._box_on():
            self._aides -= 1
            name = self._to_triage.pop(0)
            self._clock.after(self._drawn(self._post.triage_s), lambda: self._triaged(name))

    def _triaged(self, name: str) -> None:
        self._aides += 1
        if any(entry.case_id == name for entry in self._queue.waiting()):
            level = self._people[name].level
            self._queue.triage(name, level)
            if level == "red":
                for delay in (0.0, 120.0, 240.0):
                    self._clock.after(delay, self._alarms)
        self._triage_next()
        self._nurses_take()

    def _alarms(self) -> None:
        """What the box does when an alarm is due: everybody who can come reacts in their own time."""
        if not self._box_on():
            self._clock.after(60, self._alarms)
            return
        for alarm in self._queue.due_alarms():
            self._queue.alarmed(alarm)
            self.day.alarms += alarm.step == 0
            self.day.escalations += alarm.step > 0
            for nurse, level in enumerate(self._with):
                if level != "red" or alarm.step > 0:
                    reaction = {None: self._post.idle_reaction_s, "red": self._post.emergency_reaction_s}
                    median = reaction.get(level, self._post.busy_reaction_s)
                    self._clock.after(self._drawn(median), self._answers(alarm.case_id, nurse))
            if alarm.step > 0 and self._away:
                self._clock.after(self._drawn(self._post.on_call_s), self._answers(alarm.case_id, None))

    def _answers(self, name: str, nurse: int | None) -> Callable[[], None]:
        def answer() -> None:
            entry = next((e for e in self._queue.waiting() if e.case_id == name), None)
            if entry is None or entry.acknowledged is not None:
                return
            if nurse is None:
                if not self._away:
                    return
                self._away -= 1
                self._clock.after(self._drawn(self._post.emergency_s), self._goes_home)
            self._acknowledged(name, "on call" if nurse is None else f"nurse {nurse}")
            if nurse is not None:
                self._busy(nurse, "red", self._post.emergency_s)

        return answer

    def _arrives_at(self, name: str, nurse: int) -> Callable[[], None]:
        def arrive() -> None:
            if any(e.case_id == name and e.acknowledged is None for e in self._queue.waiting()):
                self._answers(name, nurse)()
            else:  # somebody was faster
                self._free(nurse, "red")

        return arrive

    def _goes_home(self) -> None:
        self._away += 1

    def _acknowledged(self, name: str, by: str) -> None:
        self._queue.acknowledge(name, by)
        self._queue.seen(name, by)
        if name in self._to_triage:
            self._to_triage.remove(name)
        if self._people[name].level == "red":
            self.day.waits_s.append(self._clock.now - self._people[name].at_s)

    def _busy(self, nurse: int, level: Level, median_s: float) -> None:
        """The nurse is with a patient; an interrupted consultation counts as over."""
        self._with[nurse] = level
        until = self._clock.now + self._drawn(median_s)
        self._clock.after(until - self._clock.now, lambda: self._free(nurse, level))

    def _free(self, nurse: int, level: Level) -> None:
        if self._with[nurse] == level:
            self._with[nurse] = None
            self._nurses_take()

    def _nurses_take(self) -> None:
        """Free nurses take whoever is first: in the order of urgency while the box is on, else of arrival."""
        for nurse, level in enumerate(self._with):
            if level is not None:
                continue
            free = [entry for entry in self._queue.waiting() if entry.acknowledged is None]
            if self._box_on():
                free = [entry for entry in free if entry.level != "unassessed"]
            else:
                free.sort(key=lambda entry: entry.arrived.wall_s)
            if not free:
                return
            patient = self._people[free[0].case_id].level
            if patient == "red" and self._box_on():
                self._with[nurse] = "red"  # on the way
                reaction = self._drawn(self._post.idle_reaction_s)
                self._clock.after(reaction, self._arrives_at(free[0].case_id, nurse))
                continue
            self._acknowledged(free[0].case_id, f"nurse {nurse}")
            seconds = self._post.emergency_s if patient == "red" else self._post.consultation_s
            self._busy(nurse, patient, seconds)


def with_queue(post: Post, people: Sequence[Arrival], seed: int) -> Day:
    """One day with the box."""
    return _Post(post, people, random.Random(seed)).run()  # noqa: S311 - a simulation


def first_come(post: Post, people: Sequence[Arrival], seed: int) -> Day:
    """The same day without it: nobody knows who is urgent, the next free nurse takes who came first."""
    random_ = random.Random(seed)  # noqa: S311 - a simulation
    day = Day(len(people))
    free_at = [0.0] * post.nurses
    for arrival in people:
        nurse = min(range(post.nurses), key=free_at.__getitem__)
        start = max(arrival.at_s, free_at[nurse])
        red = arrival.level == "red"
        median = post.emergency_s if red else post.consultation_s
        free_at[nurse] = start + median * math.exp(random_.gauss(0, post.spread))
        if red:
            day.waits_s.append(start - arrival.at_s)
    return day


def simulate(post: Post, days: int, seed: int) -> dict[str, object]:
    """Many days; shares with their 95 % Wilson intervals."""
    ours, theirs, patients, alarms, escalations = list[float](), list[float](), 0, 0, 0
    for number in range(days):
        people = arrivals(post, random.Random(f"{seed} {number}"))  # noqa: S311 - a simulation
        with_box = with_queue(post, people, seed + number)
        ours += with_box.waits_s
        theirs += first_come(post, people, seed + number).waits_s
        patients += with_box.patients
        alarms, escalations = alarms + with_box.alarms, escalations + with_box.escalations
    return {
        "simulated": True,
        "days": days,
        "patients": patients,
        "emergencies": len(ours),
        "acknowledged_within_5_min": _share(ours),
        "first_come_first_served_within_5_min": _share(theirs),
        "median_wait_s": _quantile(ours, 0.5),
        "p95_wait_s": _quantile(ours, 0.95),
        "first_come_first_served_p95_wait_s": _quantile(theirs, 0.95),
        "alarms": alarms,
        "escalations": escalations,
    }


def _share(waits: Sequence[float]) -> dict[str, float | None]:
    """Share under five minutes with Wilson's 95 % interval (Wilson 1927)."""
    n, z = len(waits), 1.959964
    if not n:
        return {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    p = sum(wait < ANSWERED_WITHIN_S for wait in waits) / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"value": p, "low": middle - half, "high": middle + half, "n": n}


def _quantile(waits: Sequence[float], q: float) -> float | None:
    ordered = sorted(waits)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else None
