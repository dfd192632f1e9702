"""A SIMULATED programme in virtual time: terminals that are off at night and in the rain, late uploads,
drift, liars.

When terminals are on, how long training takes and which uploads get stuck is drawn; the folding is the one
of the gateway. Beside it, under the same weather, run synchronous FedAvg (waits for all of a round), FedAvg
that drops stragglers (closes a round at 80 %), FedAsync (Xie et al. 2019) and FedBuff (Nguyen et al. 2022).
From the same seed comes the same result.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, Protocol, get_args

import numpy as np

from akazuba.errors import BudgetError, InputError
from akazuba.federation.accounts import Accounts, noise_multiplier
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.folding import LIARS, Folding, Rules, starting_rules
from akazuba.federation.halflife import Look
from akazuba.federation.optimisers import Optimiser
from akazuba.federation.robust import Centre
from akazuba.federation.skies import DAY_S, HOUR_S, Hours, Sky, Weather
from akazuba.federation.sums import Arrived
from akazuba.federation.updates import Numbers
from akazuba.federation.weights import Weights
from akazuba.federation.worlds import Cases, World
from akazuba.privacy.accounting import Budget

Method = Literal["ours", "fedavg", "fedavg-dropped", "fedasync", "fedbuff"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Plan:
    """steps, rate: of a terminal's training. buffer: K, and the clinics of a synchronous round. liars: share
    of clinics that send their update with its sign turned, `lie` times as large. robust: centre for ours.
    epsilon: for each clinic in all, with `delta`; None: without noise. every_h: how often accuracy is looked
    at.
    """

    weather: Weather = field(default_factory=Weather)
    buffer: int = 10
    steps: int = 5
    rate: float = 0.3
    liars: float = 0.0
    lie: float = 1.0
    robust: Centre | None = None
    epsilon: float | None = None
    delta: float = 1e-5
    every_h: float = 6.0


@dataclass(frozen=True)
class Point:
    """accuracy: over all sites' test cases. worst: of the site where it is least."""

    at_h: float
    version: int
    uploads: int
    accuracy: float
    worst: float


@dataclass(frozen=True)
class Course:
    """epsilons: by clinic, where there was noise. refused: updates for want of privacy budget."""

    method: Method
    points: tuple[Point, ...]
    versions: int
    uploads: int
    half_life_h: float
    model: Numbers
    epsilon_highest: float = 0.0
    noise_multiplier: float = 0.0
    refused: int = 0


class InForce(Protocol):
    """The model that clinics train from at a time."""

    @property
    def version(self) -> int: ...

    @property
    def model(self) -> Numbers: ...


class Server(InForce, Protocol):
    """take: whether it was taken; a False one is offered again after the next version."""

    def take(self, arrived: Arrived, now_s: float) -> bool: ...


class _Buffered:
    """Our folding, under whatever rules."""

    def __init__(self, folding: Folding) -> None:
        self.folding = folding
        self.refused = 0

    @property
    def version(self) -> int:
        return self.folding.version

    @property
    def model(self) -> Numbers:
        return self.folding.model

    def take(self, arrived: Arrived, now_s: float) -> bool:
        if not self.folding.takes(arrived.terminal):
            return False
        try:
            self.folding.take(arrived, now_s)
        except BudgetError:
            self.refused += 1
        return True


class _FedAsync:
    """Each update moves the model towards the sender's by `mixing`, less the more versions it is behind."""

    def __init__(self, model: Numbers, mixing: float, alpha: float) -> None:
        self.version, self.model = 0, model
        self._mixing, self._alpha = mixing, alpha
        self._bases = [model]

    def take(self, arrived: Arrived, now_s: float) -> bool:  # noqa: ARG002 - time is nothing to it
        theirs = self._bases[arrived.base_version] + arrived.values
        part = self._mixing * (1 + self.version - arrived.base_version) ** -self._alpha
        self.model = ((1 - part) * self.model + part * theirs).astype(np.float32)
        self.version += 1
        self._bases.append(self.model)
        return True


def fedbuff(plan: Plan) -> Rules:
    """Equal weights but for 1/sqrt(1 + versions behind); no clip, no clock."""
    return Rules(
        buffer=plan.buffer,
        weights=Weights(cap=1, alpha=0.5, half_life_s=1e10, floor=0.0),
        clip=AdaptiveClip(1e6, rate=0.0, highest=1e6),
        optimiser=Optimiser("momentum", FEDBUFF_RATE, 0.0),
        adaptive=False,
        least_step=1.0,
    )


FEDASYNC_MIXING, FEDASYNC_ALPHA, FEDBUFF_RATE = 0.6, 0.5, 2.0
"""Of those tried (0.15, 0.3, 0.6; 1, 1.5, 2) the best on drawn programmes with seeds from 900 on."""

LOOK_BACK_S = 7 * DAY_S
"""A terminal takes another model to look back with after that."""


def simulate(
    world: World,
    plan: Plan,
    method: Method,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
    traces: Sequence[Hours] = (),
) -> Course:
    """One programme from its first hour to its last. progress: told the share that is done. traces: of boxes,
    dealt out to the clinics in turn, instead of the weather's daylight and outages.

    Raises InputError for fewer clinics than a buffer or a round takes.
    """
    if plan.buffer > world.clinics:
        raise InputError("buffer", f"at most {world.clinics}, the number of clinics", str(plan.buffer))
    run = _Run(world, plan, seed, progress, traces)
    if method in ("fedavg", "fedavg-dropped"):
        return run.in_rounds(method, 1.0 if method == "fedavg" else 0.8)
    model = world.network.start(seed)
    if method == "fedasync":
        return run.as_they_come(method, _FedAsync(model, FEDASYNC_MIXING, FEDASYNC_ALPHA))
    random = np.random.default_rng([seed, 12]).bytes
    if method == "fedbuff":
        return run.as_they_come(method, _Buffered(Folding(fedbuff(plan), model, random)))
    multiplier, accounts = 0.0, None
    if plan.epsilon is not None:
        multiplier = noise_multiplier(plan.epsilon, plan.delta, run.expected_buffers())
        accounts = Accounts(Budget(plan.epsilon, plan.delta))
    rules = starting_rules(plan.buffer, multiplier, plan.robust, max(plan.liars, LIARS))
    folding = Folding(rules, model, random, accounts=accounts)
    return run.as_they_come(method, _Buffered(folding))


class _Run:
    def __init__(
        self,
        world: World,
        plan: Plan,
        seed: int,
        progress: Callable[[float], None],
        traces: Sequence[Hours],
    ) -> None:
        self.world, self.plan, self.progress = world, plan, progress
        self.sky = Sky(plan.weather, world.clinics, seed, traces)
        self.seed = seed
        self.end_s = plan.weather.days * DAY_S
        lying = np.random.default_rng([seed, 13]).permutation(world.clinics)
        self._liars = set(lying[: round(plan.liars * world.clinics)].tolist())
        self.points: list[Point] = []
        self.uploads = 0
        self._kept: dict[int, tuple[float, Numbers, float]] = {}

    def expected_buffers(self) -> int:
        """The most buffers that a clinic is likely to be in: its trainings in all that time, were it never
        dark.
        """
        weather = self.plan.weather
        hours = weather.days * self.sky.most_h_a_day
        return max(1, math.ceil(hours / (weather.training_h + weather.pause_h)))

    def looked(self, clinic: int, turn: int, model: Numbers, at_s: float) -> Look | None:
        """What the clinic sees of the drift since it first met the model that it kept."""
        cases = self.world.cases(clinic, at_s, turn)
        network, kept = self.world.network, self._kept.get(clinic)
        look = None
        if kept is not None:
            then_s, before, lost = kept
            look = Look(at_s - then_s, network.loss(before, cases.inputs, cases.labels) - lost)
        if kept is None or at_s - kept[0] > LOOK_BACK_S:
            self._kept[clinic] = (at_s, model, network.loss(model, cases.inputs, cases.labels))
        return look

    def trained(self, clinic: int, turn: int, model: Numbers, at_s: float) -> tuple[Numbers, int]:
        cases = self.world.cases(clinic, at_s, turn)
        after = self.world.network.trained(
            model, cases.inputs, cases.labels, steps=self.plan.steps, rate=self.plan.rate
        )
        change = after - model
        if clinic in self._liars:
            change = -np.float32(self.plan.lie) * change
        return change, len(cases)

    def look(self, until_s: float, server: InForce) -> None:
        """Accuracy at every time that is due before then, of the model in force."""
        step = self.plan.every_h * HOUR_S
        while (at := len(self.points) * step) <= min(until_s, self.end_s):
            tests = self.world.tests(at)
            found = [self.world.network.accuracy(server.model, c.inputs, c.labels) for c in tests]
            accuracy = float(np.average(found, weights=[len(cases) for cases in tests]))
            self.points.append(Point(at / HOUR_S, server.version, self.uploads, accuracy, min(found)))
            self.progress(min(1.0, at / self.end_s))

    def as_they_come(self, method: Method, server: Server) -> Course:
        order, turns = count(), [0] * self.world.clinics
        events: list[tuple[float, int, int, Arrived | None]] = []
        deferred: list[Arrived] = []
        for clinic in range(self.world.clinics):
            first = np.random.default_rng([self.seed, 14, clinic]).uniform(0, 12 * HOUR_S)
            heapq.heappush(events, (self.sky.next_on(clinic, first), next(order), clinic, None))
        while events and events[0][0] <= self.end_s:
            now, _, clinic, arrived = heapq.heappop(events)
            self.look(now, server)
            if arrived is None:
                turn = turns[clinic]
                turns[clinic] += 1
                arrives, following = self.sky.work(clinic, turn, now)
                values, examples = self.trained(clinic, turn, server.model, now)
                look = self.looked(clinic, turn, server.model, now) if method == "ours" else None
                made = Arrived(f"{clinic}.{turn}", str(clinic), examples, server.version, now, values, look)
                heapq.heappush(events, (arrives, next(order), clinic, made))
                heapq.heappush(events, (following, next(order), clinic, None))
                continue
            self.uploads += 1
            before = server.version
            if not server.take(arrived, now):
                deferred.append(arrived)
            while server.version != before and deferred:
                before = server.version
                deferred = [one for one in deferred if not server.take(one, now)]
        self.look(self.end_s, server)
        return self._course(method, server)

    def in_rounds(self, method: Method, share: float) -> Course:
        """share: of a round's clinics after whose updates it closes; the others' are thrown away."""
        server = _Rounds(self.world.network.start(self.seed))
        random = np.random.default_rng([self.seed, 15])
        now, turns = 0.0, [0] * self.world.clinics
        while now < self.end_s:
            on = [clinic for clinic in range(self.world.clinics) if self.sky.is_on(clinic, now)]
            if len(on) < self.plan.buffer:
                now += 0.25 * HOUR_S
                continue
            chosen = sorted(random.choice(on, self.plan.buffer, replace=False).tolist())
            arrivals = []
            for clinic in chosen:
                arrives, _ = self.sky.work(clinic, turns[clinic], now)
                arrivals.append((arrives, clinic, turns[clinic]))
                turns[clinic] += 1
            arrivals.sort()
            counted = arrivals[: max(1, math.ceil(share * len(arrivals)))]
            closes = counted[-1][0]
            self.look(min(math.nextafter(closes, 0), self.end_s), server)
            if closes > self.end_s:
                break
            self.uploads += len(counted)
            server.close([self.trained(clinic, turn, server.model, now) for _, clinic, turn in counted])
            now = closes
        self.look(self.end_s, server)
        return self._course(method, server)

    def _course(self, method: Method, server: InForce) -> Course:
        made = Course(method, tuple(self.points), server.version, self.uploads, 0.0, server.model)
        if not isinstance(server, _Buffered):
            return made
        folding = server.folding
        epsilons = folding.accounts.epsilons().values() if folding.accounts else []
        return replace(
            made,
            half_life_h=folding.half_life.seconds / HOUR_S if method == "ours" else 0.0,
            epsilon_highest=max(epsilons, default=0.0),
            noise_multiplier=folding.rules.noise_multiplier,
            refused=server.refused,
        )


class _Rounds:
    """FedAvg: the mean of a round's updates, weighted by examples (McMahan et al. 2017)."""

    def __init__(self, model: Numbers) -> None:
        self.version, self.model = 0, model

    def close(self, trained: Sequence[tuple[Numbers, int]]) -> None:
        total = sum(examples for _, examples in trained)
        mean = sum(values * np.float32(examples / total) for values, examples in trained)
        self.model = np.asarray(self.model + mean, np.float32)
        self.version += 1


@dataclass(frozen=True)
class Bounds:
    """pooled: accuracy of one model trained on all clinics' cases together. local: of models trained at one
    clinic each, on all sites' tests, on average.
    """

    pooled: float
    local: float


def bounds(world: World, plan: Plan, seed: int) -> Bounds:
    """At the programme's last hour, by as much training as brings the pooled model to rest."""
    at = plan.weather.days * DAY_S
    everybody = [world.cases(clinic, at, 10**6) for clinic in range(world.clinics)]
    tests = world.tests(at)

    def accuracy(cases: Cases) -> float:
        start = world.network.start(seed)
        model = world.network.trained(start, cases.inputs, cases.labels, steps=1500, rate=plan.rate)
        found = [world.network.accuracy(model, c.inputs, c.labels) for c in tests]
        return float(np.average(found, weights=[len(c) for c in tests]))

    pool = Cases(
        np.concatenate([cases.inputs for cases in everybody]),
        np.concatenate([cases.labels for cases in everybody]),
    )
    some = everybody[:: max(1, len(everybody) // 8)]
    return Bounds(accuracy(pool), float(np.mean([accuracy(cases) for cases in some])))


def reached(points: Sequence[Point], accuracy: float) -> Point | None:
    """The first point from which on three in a row have that accuracy on average: no lucky single one."""
    for place in range(len(points) - 2):
        if float(np.mean([p.accuracy for p in points[place : place + 3]])) >= accuracy:
            return points[place]
    return None


def final(points: Sequence[Point], share: float = 0.1) -> float:
    """Mean accuracy over the last part of the time."""
    last = points[-max(1, round(share * len(points))) :]
    return float(np.mean([point.accuracy for point in last]))
