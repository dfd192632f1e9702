"""From outbox to version through gateways and coordinator: each update once, whatever is cut, repeated or
forged.
"""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from akazuba.errors import ArtefactError, BudgetError, InputError, UntrustedError
from akazuba.federation.accounts import Accounts
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.coordinator import Coordinator, PartialSum, partial
from akazuba.federation.doors import Intake
from akazuba.federation.exchange import own_model
from akazuba.federation.folding import Folding, Rules
from akazuba.federation.gateway import Examined, Gateway, Quota
from akazuba.federation.outbox import Outbox
from akazuba.federation.sending import Answer, Link, LinkError, Parcel, Sender, Status
from akazuba.federation.sums import Arrived
from akazuba.federation.updates import ModelRelease, Update, coded, id_of, released, signed
from akazuba.privacy.accounting import Budget
from akazuba.privacy.keys.enrolment import YEAR_S, Role, enrol, request, requested, revoke
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import read, sign, unwrap

NOW = 1_790_000_000
DAY = 86_400
DIMENSION = 8
SAME = random.Random(7).randbytes  # a process that comes after a killed one has the same keys
AUTHORITY, COORDINATOR, NORTH, SOUTH, STRANGER = (new_identity(SAME) for _ in range(5))
POSTS = [new_identity(SAME) for _ in range(6)]


def now() -> int:
    return NOW


def believe(registry: Registry, identity: Identity, name: str, role: Role, serial: int) -> None:
    asked = requested(request(identity, "rwanda", name, role, NOW - 9 * DAY), "rwanda", NOW - 9 * DAY)
    registry.believe(enrol(AUTHORITY, "rwanda", asked, serial, NOW - 9 * DAY), NOW - 9 * DAY)


@pytest.fixture
def registry() -> Registry:
    return members()


def members() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    believe(made, COORDINATOR, "coordinator", "coordinator", 1)
    believe(made, NORTH, "gateway north", "gateway", 2)
    believe(made, SOUTH, "gateway south", "gateway", 3)
    for place, post in enumerate(POSTS):
        believe(made, post, f"post {place}", "terminal", 4 + place)
    return made


def release(version: int = 0, **changes: Any) -> ModelRelease:
    numbers = np.full(DIMENSION, float(version), "<f4").tobytes()
    made = ModelRelease("rwanda", version, NOW - DAY, numbers, 5.0, 7.0 * DAY, 0.5, 200, 0.05)
    return msgspec.structs.replace(made, **changes)


def update(
    post: Identity = POSTS[0], serial: int = 1, of: ModelRelease | None = None, **changes: Any
) -> bytes:
    base = of or release()
    numbers, scale = coded(np.random.default_rng(serial).normal(size=DIMENSION), "float32")
    made = Update(
        "rwanda", serial, base.version, base.base().sha256, NOW - 60, 50, DIMENSION, "float32", scale, numbers
    )
    return signed(post, msgspec.structs.replace(made, **changes))


@pytest.fixture
def gateway(tmp_path: Path, registry: Registry) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", NORTH, registry, now)
    made.publish(sign(COORDINATOR, "model-release", release()))
    yield made
    made.close()


def said(answer: bytes | None) -> Answer:
    assert answer is not None
    return read(unwrap(answer, "update-answer").payload, "update-answer", Answer)


# the gateway


def test_an_update_is_taken_once_and_answered_the_same_way_again(gateway: Gateway) -> None:
    data = update()
    first = gateway.take(data)
    assert said(first).outcome == "accepted"
    assert gateway.take(data) == first
    again = sign(POSTS[0], "model-update", read(unwrap(data, "model-update").payload, "model-update", Update))
    assert gateway.take(again) == first  # another signature under the same content
    assert gateway.waiting() == 1
    assert gateway.tally() == {"accepted": 1, "duplicate": 2}


def test_another_update_under_a_used_serial_is_a_replay(gateway: Gateway) -> None:
    gateway.take(update())
    answer = said(gateway.take(update(examples=51)))
    assert (answer.outcome, "replayed" in answer.because) == ("refused", True)
    assert gateway.tally() == {"accepted": 1, "replayed": 1}


def test_what_does_not_fit_is_refused_with_a_reason_and_counted(gateway: Gateway) -> None:
    nan = np.full(DIMENSION, np.nan, "<f4").tobytes()
    wrong: list[dict[str, Any]] = [
        {"numbers": nan},
        {"dimension": 9},
        {"base": bytes(32)},
        {"programme": "burundi"},
    ]
    for serial, changes in enumerate(wrong, start=1):
        answer = said(gateway.take(update(serial=serial, **changes)))
        assert answer.outcome == "refused"
        assert answer.because
    assert gateway.tally() == {"not-finite": 1, "shape": 1, "version": 1, "programme": 1}
    assert gateway.waiting() == 0


def test_nobody_outside_is_answered_and_all_are_counted(gateway: Gateway, registry: Registry) -> None:
    assert gateway.take(update(STRANGER)) is None
    assert gateway.take(b"nonsense") is None
    bent = update().replace(np.float32(50).tobytes(), np.float32(51).tobytes())
    bent = bent[:-1] + bytes([bent[-1] ^ 1])
    assert gateway.take(bent) is None
    registry.believe_revocations(
        revoke(AUTHORITY, "rwanda", 1, {POSTS[1].public.key_id: "stolen"}, NOW, DAY), NOW
    )
    assert gateway.take(update(POSTS[1])) is None
    assert gateway.tally() == {"member": 2, "signature": 1, "unreadable": 1}


def test_an_update_of_a_version_that_is_not_here_yet_comes_again(gateway: Gateway) -> None:
    ahead = release(1)
    data = update(of=ahead)
    assert gateway.take(data) is None
    gateway.publish(sign(COORDINATOR, "model-release", ahead))
    assert said(gateway.take(data)).outcome == "accepted"


def test_a_clock_off_by_a_year_is_kept_with_a_note_as_old_as_it_can_be(gateway: Gateway) -> None:
    answer = said(gateway.take(update(made=NOW + YEAR_S)))
    assert (answer.outcome, "clock" in answer.because) == ("accepted", True)
    assert gateway.tally() == {"clock-off": 1}
    (total,) = gateway.sums(5)
    assert total.weight == pytest.approx(50 / 200 * 2 ** (-1 / 7))


def test_a_terminal_has_a_quota_and_the_others_go_on(tmp_path: Path, registry: Registry) -> None:
    gateway = Gateway(tmp_path / "g", NORTH, registry, now, Quota(a_day=2, parcels=2))
    gateway.publish(sign(COORDINATOR, "model-release", release()))
    outboxes = [Outbox(tmp_path / f"o{i}", now) for i in range(2)]
    for serial in range(1, 4):
        outboxes[0].add(lambda n: update(POSTS[0], n))
        assert serial
    outboxes[1].add(lambda n: update(POSTS[1], n))
    sent = Sender(outboxes[0], POSTS[0], registry, now).send_all(gateway)
    assert (sent.accepted, sent.left, "quota" in sent.broke) == (2, 1, True)
    assert Sender(outboxes[1], POSTS[1], registry, now).send_all(gateway).accepted == 1
    for outbox in outboxes:
        outbox.close()
    gateway.close()


def test_a_gateway_survives_its_restart_in_the_middle_of_a_parcel(tmp_path: Path, registry: Registry) -> None:
    path, outbox = tmp_path / "g", Outbox(tmp_path / "o", now)
    large = release(numbers=bytes(4 * 100_000))
    numbers, scale = coded(np.ones(100_000), "float32")
    one = outbox.add(lambda n: update(POSTS[0], n, large, numbers=numbers, scale=scale, dimension=100_000))
    first = Gateway(path, NORTH, registry, now)
    first.publish(sign(COORDINATOR, "model-release", large))

    class Cut:
        def __init__(self, puts: int) -> None:
            self.puts = puts

        def announce(self, parcel: bytes) -> Status:
            return first.announce(parcel)

        def put(self, digest: str, offset: int, chunk: bytes) -> Status:
            if not self.puts:
                raise LinkError("line", "a connection", "none")
            self.puts -= 1
            return first.put(digest, offset, chunk)

    assert Sender(outbox, POSTS[0], registry, now).send_all(Cut(1)).left == 1
    first.close()
    first = Gateway(path, NORTH, registry, now)
    sender = Sender(outbox, POSTS[0], registry, now)
    assert sender.send_all(Cut(2)).accepted == 1  # three pieces of 64, 64 and 263 KiB
    assert first.waiting() == 1
    assert outbox.answered()[0].id == one.id
    first.close()
    outbox.close()


def test_a_parcel_that_nobody_went_on_with_makes_room_and_is_thrown_away_after_a_month(
    tmp_path: Path, registry: Registry
) -> None:
    clock = [NOW]
    made = Gateway(tmp_path / "g", NORTH, registry, lambda: clock[0], Quota(parcels=1))
    made.publish(sign(COORDINATOR, "model-release", release()))

    def announced(data: bytes) -> Status:
        parcel = Parcel("rwanda", id_of(data), sha256(data).hexdigest(), len(data), clock[0])
        return made.announce(sign(POSTS[0], "parcel", parcel))

    def begun(data: bytes) -> int:
        assert announced(data).state == "partial"
        made.put(sha256(data).hexdigest(), 0, data[:1000])
        return announced(data).have

    first, second = update(serial=1), update(serial=2)
    assert (begun(first), begun(second)) == (1000, 1000)
    assert made.put(sha256(first).hexdigest(), 1000, first[1000:]).state == "later"
    clock[0] += 31 * DAY
    other = Parcel("rwanda", id_of(first), sha256(first).hexdigest(), len(first), clock[0])
    assert made.announce(sign(POSTS[1], "parcel", other)).state == "partial"
    assert made.put(sha256(second).hexdigest(), 1000, second[1000:]).state == "later"
    assert [one.name for one in (tmp_path / "g.parcels").iterdir()] == []
    made.close()


def test_a_parcel_that_is_whole_while_others_wait_for_the_disk_is_answered_too(
    tmp_path: Path, registry: Registry
) -> None:
    began, go_on = threading.Event(), threading.Event()

    class Slow(Gateway):
        def finished(self, arrived: Sequence[tuple[str, Examined | None]]) -> list[Status]:
            began.set()
            assert go_on.wait(10)
            return super().finished(arrived)

    made, parts = Slow(tmp_path / "g", NORTH, registry, now), [update(serial=1), update(serial=2)]
    made.publish(sign(COORDINATOR, "model-release", release()))
    digests = [sha256(data).hexdigest() for data in parts]
    for digest, data in zip(digests, parts, strict=True):
        made.parcels.begin(digest, len(data), POSTS[0].public.key_id, NOW)

    async def stream(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def both() -> list[Status]:
        intake = Intake(made)
        first = asyncio.create_task(intake.put(digests[0], 0, stream(parts[0])))
        while not began.is_set():
            await asyncio.sleep(0.001)
        second = asyncio.create_task(intake.put(digests[1], 0, stream(parts[1])))
        await asyncio.sleep(0.01)
        go_on.set()
        found = await asyncio.wait_for(asyncio.gather(first, second), 20)
        intake.close()
        return found

    assert [said(status.answer).outcome for status in asyncio.run(both())] == ["accepted", "accepted"]
    assert made.waiting() == 2
    made.close()


def test_a_gateway_without_room_says_so_and_loses_nothing(gateway: Gateway) -> None:
    kept = gateway.take(update())
    pages = gateway._file.execute("PRAGMA page_count").fetchone()[0]
    gateway._file.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(ArtefactError, match="full"):
        [gateway.take(update(serial=serial)) for serial in range(2, 40)]
    gateway._file.execute("PRAGMA max_page_count = 1000000")
    assert gateway.take(update()) == kept


def test_a_release_is_the_coordinators_and_stays_what_it_was(gateway: Gateway) -> None:
    with pytest.raises(UntrustedError):
        gateway.publish(sign(NORTH, "model-release", release(1)))
    with pytest.raises(UntrustedError, match="as it is known"):
        gateway.publish(
            sign(COORDINATOR, "model-release", release(0, numbers=bytes(4 * DIMENSION - 4) + b"abcd"))
        )
    with pytest.raises(UntrustedError, match="bytes of numbers"):
        gateway.publish(sign(COORDINATOR, "model-release", release(1, numbers=bytes(8))))


# gateway and coordinator


def rules(**changes: Any) -> Rules:
    made = Rules(buffer=4, clip=AdaptiveClip(3.0, 0.5, 0.1))
    return replace(made, **changes)


@dataclass
class Programme:
    """Terminals, two gateways and a coordinator, each of which can lose its memory at any moment."""

    folder: Path
    registry: Registry
    rules: Rules
    random: Callable[[int], bytes] = os.urandom
    say: Callable[[str], object] = field(default=lambda _: None)
    committed: list[bytes] = field(default_factory=list)
    open_: list[bytes] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gateways = [self._gateway(place) for place in range(2)]
        self.coordinator = self._coordinator()
        for gateway in self.gateways:
            gateway.publish(self.coordinator.release())
        self.outboxes = [Outbox(self.folder / f"outbox {i}", now) for i in range(len(POSTS))]

    def _gateway(self, place: int) -> Gateway:
        return Gateway(
            self.folder / f"gateway {place}", (NORTH, SOUTH)[place], self.registry, now, Quota(10**6)
        )

    def _drawn(self, number: int) -> bytes:
        data = self.random(number)
        self.say(f"drawn {data.hex()}")
        return data

    def _coordinator(self) -> Coordinator:
        accounts = Accounts(Budget(100.0, 1e-5)) if self.rules.noise_multiplier else None
        return Coordinator(
            self.folder / "coordinator",
            self.rules,
            np.zeros(DIMENSION, np.float32),
            COORDINATOR,
            self.registry,
            now,
            self._drawn,
            accounts,
        )

    def cut(self, who: str) -> None:
        """Power off and on: what was in memory is gone."""
        if who == "coordinator":
            self.coordinator.close()
            self.coordinator = self._coordinator()
            self.open_.clear()
        else:
            place = int(who[-1])
            self.gateways[place].close()
            self.gateways[place] = self._gateway(place)

    def train(self, post: int) -> None:
        base = read(
            unwrap(self.coordinator.release(), "model-release").payload, "model-release", ModelRelease
        )
        kept = self.outboxes[post].add(lambda n: update(POSTS[post], n, base))
        self.expected.add(kept.id)
        self.say(f"kept {kept.id}")

    def send(self, post: int, place: int, line: Link | None = None) -> None:
        sender = Sender(self.outboxes[post], POSTS[post], self.registry, now)
        sender.send_all(line or self.gateways[place])

    def round(self, place: int, *, reply_lost: bool = False, twice: bool = False) -> None:
        gateway = self.gateways[place]
        asking = self.coordinator.asking(gateway.waiting_ids())
        gateway.publish(asking.release)
        gateway.counted(asking.counted)
        for total in gateway.sums(asking.room, asking.busy):
            data = partial((NORTH, SOUTH)[place], "rwanda", total)
            for _ in range(1 + twice):
                self.say(f"part {data.hex()}")
                reply = self.coordinator.take(data)
                self.say("taken")
                if not reply.refused:
                    self.open_.append(data)
                if reply.made:
                    self.committed += self.open_
                    self.open_.clear()
                if not reply_lost:
                    gateway.counted(list(reply.counted))

    def close(self) -> None:
        self.coordinator.close()
        for gateway in self.gateways:
            gateway.close()
        for outbox in self.outboxes:
            outbox.close()


def test_a_version_holds_what_its_terminals_sent(tmp_path: Path, registry: Registry) -> None:
    made = Programme(tmp_path, registry, rules())
    for post in range(4):
        made.train(post)
        made.send(post, post % 2)
    for place in (0, 1):
        made.round(place)
    assert made.coordinator.folding.version == 1
    assert made.coordinator.counted() == 4
    made.round(0)
    assert [gateway.waiting() for gateway in made.gateways] == [0, 0]
    newest = released(made.coordinator.release(), registry, NOW)
    assert newest.version == 1
    assert np.array_equal(newest.values(), made.coordinator.folding.model)
    made.close()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_sums_of_gateways_are_what_the_coordinator_would_have_summed(
    tmp_path: Path, registry: Registry, noise: float
) -> None:
    chosen = rules(noise_multiplier=noise, clip=AdaptiveClip(3.0, rate=0.0))
    made = Programme(tmp_path, registry, chosen, np.random.default_rng(5).bytes)
    for post in range(4):
        made.train(post)
        made.send(post, post % 2)
    alone = Folding(
        chosen,
        np.zeros(DIMENSION, np.float32),
        np.random.default_rng(5).bytes,
        accounts=Accounts(Budget(100.0, 1e-5)) if noise else None,
    )
    for gateway in made.gateways:
        made.round(made.gateways.index(gateway))
    for post in (0, 2, 1, 3):
        sent = read(unwrap(update(POSTS[post]), "model-update").payload, "model-update", Update)
        alone.take(Arrived("x" + str(post), f"post {post}", 50, 0, NOW, sent.values()), NOW)
    assert made.coordinator.folding.version == alone.version == 1
    found = made.coordinator.folding.model
    if noise:
        assert np.array_equal(found, alone.model)  # whole numbers: the order of adding is nothing
    assert found == pytest.approx(alone.model, rel=1e-5)
    made.close()


@dataclass(frozen=True)
class Survived:
    """Of updates that terminals made: how many were lost, how many counted twice; whether a replay of the
    committed sums with the recorded random bytes gave the same bits.
    """

    cuts: int
    made: int
    lost: int
    twice: int
    same_bits: bool


def cut_at_random(folder: Path, registry: Registry, noise: float, steps: int, seed: int) -> Survived:
    random_, drawn, cuts = random.Random(seed), list[bytes](), 0

    def recorded(number: int) -> bytes:
        drawn.append(random_.randbytes(number))
        return drawn[-1]

    made = Programme(folder, registry, rules(noise_multiplier=noise), recorded)
    for step in range(steps):
        what = random_.random()
        post, place = random_.randrange(len(POSTS)), random_.randrange(2)
        if what < 0.3 and step < 0.8 * steps:
            made.train(post)
        elif what < 0.55:
            made.send(post, place)
        elif what < 0.65:
            made.cut(random_.choice(["coordinator", "gateway 0", "gateway 1"]))
            cuts += 1
        else:
            lost, twice = random_.random() < 0.3, random_.random() < 0.3
            made.round(place, reply_lost=lost, twice=twice)
            cuts += lost + twice
    for _ in range(max(20, steps // 6)):
        for post in range(len(POSTS)):
            made.send(post, post % 2)
        made.round(0)
        made.round(1)
    held = {one for gateway in made.gateways for one in gateway.waiting_ids()}
    held |= {one.id for outbox in made.outboxes for one in outbox.waiting()}
    counted = {one for one in made.expected if made.coordinator.version_of(one) is not None}
    parts = [read(unwrap(data, "partial-sum").payload, "partial-sum", PartialSum) for data in made.committed]
    ids = [one for part in parts for one in part.ids]
    again = Programme(folder / "again", registry, rules(noise_multiplier=noise), iter_bytes(drawn))
    for data in made.committed:
        assert not again.coordinator.take(data).refused
    same = again.coordinator.folding.model.tobytes() == made.coordinator.folding.model.tobytes()
    same &= len(ids) == made.coordinator.counted() == len(counted)
    made.close()
    again.close()
    lost_ = len(made.expected - counted - held)
    return Survived(cuts, len(made.expected), lost_, len(ids) - len(set(ids)) + len(counted & held), same)


def test_a_terminal_whose_budget_is_used_up_does_not_hold_its_gateway_up(
    tmp_path: Path, registry: Registry
) -> None:
    made = Programme(tmp_path, registry, rules(buffer=2, noise_multiplier=4.0))
    accounts = made.coordinator.folding.accounts
    assert accounts is not None
    accounts.budget = Budget(accounts.epsilon(2 / 16) * 1.01, accounts.budget.delta)
    for turn in range(4):
        for post in (0, 1 + turn):  # the first in each, the others once
            made.train(post)
            made.send(post, 0)
        made.round(0)
        made.round(0)
    folding = made.coordinator.folding
    assert folding.exhausted() == ["post 0"]
    assert folding.version == 3  # two with the first one, one without
    assert made.gateways[0].waiting() == 2  # the first one's, which do not count any more
    assert folding.accounts is not None
    assert all(spent <= accounts.budget.epsilon for spent in folding.accounts.epsilons().values())
    made.close()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_random_cuts_lose_nothing_count_nothing_twice_and_replay_to_the_same_bits(
    tmp_path: Path, registry: Registry, noise: float
) -> None:
    found = cut_at_random(tmp_path, registry, noise, 250, 11)
    assert (found.lost, found.twice, found.same_bits) == (0, 0, True)
    assert found.made > 40
    assert found.cuts > 40


def iter_bytes(drawn: list[bytes]) -> Callable[[int], bytes]:
    left = iter(drawn)

    def take(number: int) -> bytes:
        data = next(left)
        assert len(data) == number
        return data

    return take


def test_a_full_disk_at_the_coordinator_makes_no_version(tmp_path: Path, registry: Registry) -> None:
    made = Programme(tmp_path, registry, rules(buffer=2))
    for post in range(2):
        made.train(post)
        made.send(post, 0)
    file = made.coordinator._file
    pages = file.execute("PRAGMA page_count").fetchone()[0]
    file.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ArtefactError, match="full"):
        made.round(0)
    assert made.coordinator.folding.version == 0
    file.execute("PRAGMA max_page_count = 1000000")
    made.round(0)
    assert made.coordinator.folding.version == 1
    assert made.coordinator.counted() == 2
    made.close()


def test_a_gateway_cannot_put_more_into_a_sum_than_its_terminals_could(
    tmp_path: Path, registry: Registry
) -> None:
    made = Programme(tmp_path, registry, rules())
    for post in range(2):
        made.train(post)
        made.send(post, 0)
    (total,) = made.gateways[0].sums(4)
    total.total *= 100
    with pytest.raises(UntrustedError, match="L2 norm"):
        made.coordinator.take(partial(NORTH, "rwanda", total))
    (total,) = made.gateways[0].sums(4)
    total.total[0] = np.nan
    with pytest.raises(UntrustedError, match="L2 norm"):
        made.coordinator.take(partial(NORTH, "rwanda", total))
    with pytest.raises(UntrustedError, match="gateway"):
        made.coordinator.take(partial(POSTS[0], "rwanda", total))
    assert len(made.coordinator.folding) == 0
    made.close()


def test_a_gateways_own_model_is_the_version_that_its_updates_alone_would_make(
    tmp_path: Path, registry: Registry
) -> None:
    made = Programme(tmp_path, registry, rules(buffer=2))
    with pytest.raises(InputError, match="updates that wait here"):
        own_model(made.gateways[0])
    for post in range(2):
        made.train(post)
        made.send(post, 0)
    numbers, updates = own_model(made.gateways[0])
    assert updates == made.gateways[0].waiting() == 2  # they still count for the coordinator
    made.round(0)
    assert made.coordinator.folding.version == 1
    assert numbers == pytest.approx(made.coordinator.folding.model, rel=1e-5)
    made.close()
    noisy = Programme(tmp_path / "noisy", registry, rules(noise_multiplier=1.0))
    noisy.train(0)
    noisy.send(0, 0)
    with pytest.raises(BudgetError, match="one without noise"):
        own_model(noisy.gateways[0])
    noisy.close()


def test_robust_gateways_send_pairs(tmp_path: Path, registry: Registry) -> None:
    made = Programme(tmp_path, registry, rules(robust="median", buffer=6))
    for post in range(6):
        made.train(post)
        made.send(post, 0)
    sums = list(made.gateways[0].sums(6, seed=1))
    assert [len(total) for total in sums] == [2, 2, 2]
    made.round(0)
    assert made.coordinator.folding.version == 1
    made.close()


def test_the_outbox_keeps_what_a_gateway_accepts_until_it_answers(tmp_path: Path, registry: Registry) -> None:
    made = Programme(tmp_path, registry, rules())
    made.train(0)
    (one,) = made.outboxes[0].waiting()
    made.gateways[0].take(made.outboxes[0].read(one.id))  # by stick, the answer was lost
    assert id_of(made.outboxes[0].read(one.id)) == one.id
    made.send(0, 0)
    assert made.outboxes[0].waiting() == []
    assert made.gateways[0].waiting() == 1
    made.close()
