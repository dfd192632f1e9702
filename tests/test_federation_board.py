"""A masked round through a gateway's door: who may leave what, who sees what, and lines that break."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from test_federation_doors import box, cases, door
from test_federation_masked import CLINICS, DIMENSION, change, rules

from akazuba.errors import InputError, UntrustedError
from akazuba.federation import board as names, masked
from akazuba.federation.board import (
    BEGUN,
    PLAN,
    RELEASE,
    STUDENT,
    UPLOAD,
    VERSION,
    Board,
    RoundAsking,
    RoundOffer,
)
from akazuba.federation.carrying import Carrier
from akazuba.federation.coordinator import Coordinator
from akazuba.federation.sending import LinkError, Status
from akazuba.federation.stick import FOLDER, put
from akazuba.privacy.accounting import Budget
from akazuba.privacy.aggregation.clinic import Terms
from akazuba.privacy.aggregation.rehearsal import Programme, programme
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.signed import sign
from akazuba.privacy.ledger import Ledger


def now() -> int:
    return int(time.time())


@dataclass
class Line:
    """To a board in this process; breaks before the calls that are listed, counted from 1."""

    board: Board
    breaks: set[int] = field(default_factory=set)
    calls: int = 0
    pieces: int = 0

    def _call(self) -> None:
        self.calls += 1
        if self.calls in self.breaks:
            raise LinkError("gateway", "a connection", "none")

    def round_files(self, asking: bytes) -> dict[str, str]:
        self._call()
        return self.board.files(asking)

    def round_file(self, asking: bytes) -> bytes:
        self._call()
        return self.board.file(asking)

    def round_offer(self, offer: bytes) -> Status:
        self._call()
        return self.board.offer(offer)

    def round_piece(self, token: str, offset: int, piece: bytes) -> Status:
        self._call()
        self.pieces += 1
        return self.board.piece(token, offset, piece[:2000])


@dataclass
class Carried:
    """A round at a gateway, and each member with a copy of its own."""

    made: Programme
    coordinator: Coordinator
    path: Path
    line: Line
    published: list[bytes]

    def at(self, identity: Identity, *wanted: str):  # type: ignore[no-untyped-def]
        folder = self.path / f"copy of {identity.public.key_id[:8]}"
        me = self.made.registry.member(identity.public.key_id, names.ALL, now())
        return Carrier(self.line, identity, me, now).carried(folder, wanted)

    def begun(self, ends_in: int = 600) -> None:
        one, registry = self.made.coordinator, self.made.registry
        with self.at(one) as place:
            ends, over = now() + ends_in, partial(masked.over, coordinator=self.coordinator, now=now())
            masked.begin(place, one, self.coordinator.release(), os.urandom(16), ends, over)
        for steward in self.made.mask_stewards:
            with self.at(steward._identity) as place:
                masked.announce(place, steward, steward._identity.public.key_id, registry, now())
        with self.at(one, RELEASE, names.KEY) as place:
            terms = {"least": CLINICS, "most": CLINICS, "threshold": 2, "noise_multiplier": 1.0}
            masked.plan(place, one, registry, now(), **terms)  # type: ignore[arg-type]

    def given(self, clinic: int) -> None:
        identity = self.made.clinics[clinic]
        with self.at(identity, RELEASE, PLAN) as place:
            checked, release = masked.planned(place, self.made.registry, now(), Terms(2, 0.0, 1, 1))
            with Ledger(self.made.folder / f"clinic {clinic}") as ledger:
                if not ledger.spends():
                    ledger.set_budget(Budget(50.0, 1e-6, "test", "six clinics cannot hide one for little"))
                random = np.random.default_rng(clinic).bytes
                masked.give(place, ledger, identity, checked, release, change(clinic), 30, random)

    def summed(self) -> int:
        one, registry = self.made.coordinator, self.made.registry
        for steward in self.made.mask_stewards:
            with self.at(steward._identity, RELEASE, PLAN, UPLOAD) as place:
                assert masked.look(place, steward, steward._identity, registry, now()) == 0
        with (
            self.at(one, RELEASE, PLAN, UPLOAD, names.FAULTY) as place,
            closing(masked.server(place, self.path, one, registry, now)) as held,
        ):
            assert masked.close(place, held, registry, now()) == (CLINICS, [])
        for steward in self.made.mask_stewards[:2]:
            with self.at(steward._identity, RELEASE, PLAN, UPLOAD, names.ACCEPTED) as place:
                masked.share(place, steward, steward._identity.public.key_id, registry, now())
        with (
            self.at(one, *names.NAMED, names.SHARE) as place,
            closing(masked.server(place, self.path, one, registry, now)) as held,
        ):
            total, _ = masked.opened(place, held, self.coordinator, registry, now())
        return total.clinics

    def files(self, who: Identity) -> dict[str, str]:
        return self.line.board.files(asking(who))


@pytest.fixture
def round_(tmp_path: Path) -> Iterator[Carried]:
    made, published = programme(tmp_path, CLINICS, 3, now), list[bytes]()
    path, start = tmp_path / "coordinator", np.zeros(DIMENSION, np.float32)
    line = Line(Board(tmp_path / "gateway", made.registry, now, published.append))
    with closing(Coordinator(path, rules(), start, made.coordinator, made.registry, now, os.urandom)) as one:
        yield Carried(made, one, tmp_path, line, published)
    made.close()


def asking(who: Identity, name: str = "", at: int | None = None) -> bytes:
    return sign(who, "round-asking", RoundAsking("rehearsal", at or now(), name))


def offered(who: Identity, name: str, data: bytes) -> bytes:
    return sign(who, "round-offer", RoundOffer("rehearsal", now(), name, sha256(data).hexdigest(), len(data)))


def token(who: Identity, name: str, data: bytes) -> str:
    offer = RoundOffer("rehearsal", now(), name, sha256(data).hexdigest(), len(data))
    return names.token_of(who.public.key_id, offer)


def left(board: Board, who: Identity, name: str, data: bytes) -> Status:
    status = board.offer(offered(who, name, data))
    return board.piece(token(who, name, data), 0, data) if status.state == "partial" else status


def test_a_round_at_a_gateway_becomes_a_version_that_the_gateway_publishes(round_: Carried) -> None:
    round_.begun()
    for clinic in range(CLINICS):
        round_.given(clinic)
    assert round_.summed() == CLINICS
    assert round_.coordinator.folding.version == 1
    assert round_.published[-1] == round_.coordinator.release()
    round_.begun(700)  # the next one: the first is in a version
    assert set(round_.files(round_.made.coordinator)) >= {BEGUN, RELEASE, PLAN}
    assert VERSION not in round_.files(round_.made.coordinator)


def test_a_terminal_sees_no_other_and_a_stranger_nothing(round_: Carried) -> None:
    round_.begun()
    for clinic in range(2):
        round_.given(clinic)
    first, second = (one.public.key_id for one in round_.made.clinics[:2])
    assert set(round_.files(round_.made.clinics[0])) >= {BEGUN, RELEASE, PLAN, f"{first}{UPLOAD}"}
    assert not [name for name in round_.files(round_.made.clinics[0]) if second in name]
    board = round_.line.board
    with pytest.raises(InputError, match="this member may see"):
        board.file(asking(round_.made.clinics[0], f"{second}{UPLOAD}"))
    assert f"{second}{UPLOAD}" in round_.files(round_.made.mask_stewards[0]._identity)
    with pytest.raises(UntrustedError, match="enrolled"):
        board.files(asking(new_identity(os.urandom)))
    with pytest.raises(UntrustedError, match="one of about"):
        board.files(asking(round_.made.clinics[0], at=now() - 3 * 86_400))


def test_nobody_leaves_what_another_signed_or_another_time(round_: Carried) -> None:
    round_.begun()
    round_.given(0)
    board, (one, other) = round_.line.board, round_.made.clinics[:2]
    mine = (round_.path / "gateway" / FOLDER / f"{one.public.key_id}{UPLOAD}").read_bytes()
    assert left(board, one, f"{one.public.key_id}{UPLOAD}", mine).state == "answered"  # again
    with pytest.raises(UntrustedError, match="its terminal"):
        left(board, other, f"{one.public.key_id}{UPLOAD}", mine)
    with pytest.raises(UntrustedError, match="signed"):
        left(board, other, f"{other.public.key_id}{UPLOAD}", mine)
    with pytest.raises(UntrustedError, match="its coordinator"):
        left(board, one, PLAN, mine)
    with pytest.raises(UntrustedError):
        left(board, one, f"{one.public.key_id}{UPLOAD}", mine[:-1] + b"\1")
    with pytest.raises(UntrustedError, match="bytes by the plan"):
        board.offer(offered(other, f"{other.public.key_id}{UPLOAD}", bytes(1_000_000)))
    for name in ("../x", "x.masked-upload", f"{one.public.key_id}.txt", UPLOAD, "\0.masked-key"):
        with pytest.raises(InputError, match="a gateway carries"):
            board.offer(offered(one, name, b"x"))
    for_ever = sign(round_.made.coordinator, "masked-begun", names.Begun(bytes(16), 1 << 40))
    with pytest.raises(UntrustedError, match="ends by"):
        left(board, round_.made.coordinator, BEGUN, for_ever)
    old = sign(round_.made.coordinator, "masked-begun", names.Begun(bytes(16), now() + 5))
    with pytest.raises(UntrustedError, match="after"):  # an older round, begun again
        left(board, round_.made.coordinator, BEGUN, old)


def test_one_upload_under_two_names_spoils_no_sum(round_: Carried) -> None:
    round_.begun()
    for clinic in range(CLINICS):
        round_.given(clinic)
    folder = round_.path / "gateway" / FOLDER
    mine = folder / f"{round_.made.clinics[0].public.key_id}{UPLOAD}"
    (folder / f"{'0' * 64}{UPLOAD}").write_bytes(mine.read_bytes())  # a gateway that lies
    assert round_.summed() == CLINICS


def test_what_is_of_another_round_is_refused_and_what_came_first_stays(round_: Carried) -> None:
    round_.begun()
    round_.given(0)
    board, one = round_.line.board, round_.made.clinics[0]
    path = round_.path / "gateway" / FOLDER / f"{one.public.key_id}{UPLOAD}"
    old, plan = path.read_bytes(), (path.parent / PLAN).read_bytes()
    newer = sign(round_.made.coordinator, "masked-begun", names.Begun(os.urandom(16), now() + 900))
    assert left(board, round_.made.coordinator, BEGUN, newer).state == "answered"
    assert set(round_.files(round_.made.coordinator)) == {BEGUN}
    with pytest.raises(InputError, match="a round with a plan"):
        left(board, one, path.name, old)
    with pytest.raises(UntrustedError, match="of another round"):
        left(board, round_.made.coordinator, PLAN, plan)
    release = round_.coordinator.release()
    assert left(board, round_.made.coordinator, RELEASE, release).state == "answered"
    with pytest.raises(UntrustedError, match="given first"):
        left(board, round_.made.coordinator, RELEASE, sign_again(round_, release))


def sign_again(round_: Carried, release: bytes) -> bytes:
    """The same words signed once more: other bytes."""
    from akazuba.federation.updates import ModelRelease
    from akazuba.privacy.keys.signed import believed

    return sign(round_.made.coordinator, "model-release", believed(release, "model-release", ModelRelease))


def test_every_command_may_be_repeated(round_: Carried) -> None:
    round_.begun()
    one, registry, steward = round_.made.coordinator, round_.made.registry, round_.made.mask_stewards[0]
    before = round_.files(one)
    with round_.at(steward._identity) as place:
        masked.announce(place, steward, steward._identity.public.key_id, registry, now())
    terms = {"least": CLINICS, "most": CLINICS, "threshold": 2, "noise_multiplier": 1.0}
    with round_.at(one, RELEASE, names.KEY) as place:
        masked.plan(place, one, registry, now(), **terms)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="begin another"):
            masked.plan(place, one, registry, now(), **terms | {"least": 2})  # type: ignore[arg-type]
    assert round_.files(one) == before


def test_a_line_that_breaks_anywhere_costs_a_repetition_and_no_second_charge(round_: Carried) -> None:
    round_.begun()
    calls = round_.line.calls
    round_.given(0)
    whole = round_.line.calls - calls
    for broken in range(1, whole + 1):
        round_.line.breaks = {round_.line.calls + broken}
        with suppress(LinkError):
            round_.given(1 + broken % (CLINICS - 1))
        round_.line.breaks = set()
        round_.given(1 + broken % (CLINICS - 1))
    assert len([name for name in round_.files(round_.made.coordinator) if name.endswith(UPLOAD)]) == CLINICS
    with Ledger(round_.made.folder / "clinic 1") as ledger:
        assert len(ledger.spends()) == 1


def test_a_false_size_blocks_nobody_elses_file(round_: Carried) -> None:
    board, one = round_.line.board, round_.made.clinics[0]
    round_.begun()
    release = round_.coordinator.release()
    lie = RoundOffer("rehearsal", now(), f"{one.public.key_id}{UPLOAD}", sha256(release).hexdigest(), 1)
    assert board.offer(sign(one, "round-offer", lie)).state == "partial"
    (round_.path / "gateway" / FOLDER / RELEASE).unlink()
    assert left(board, round_.made.coordinator, RELEASE, release).state == "answered"


def test_what_a_steward_said_is_not_turned_back_by_playing_it_again(round_: Carried) -> None:
    round_.begun()
    steward, board = round_.made.mask_stewards[0]._identity, round_.line.board
    name, begun = f"{steward.public.key_id}{names.FAULTY}", board._begun()
    assert begun is not None
    first, then = (
        sign(steward, "masked-faulty", names.Faulty(begun.round_id, now() + at, clinics))
        for at, clinics in ((0, {}), (1, {"x": "does not open"}))
    )
    assert left(board, steward, name, first).state == "answered"
    assert left(board, steward, name, then).state == "answered"
    with pytest.raises(UntrustedError, match="said after"):
        left(board, steward, name, first)


def test_a_member_has_few_files_on_their_way_and_a_cut_leaves_none_for_ever(round_: Carried) -> None:
    round_.begun()
    one = round_.made.clinics[0]
    for number in range(10):
        board = Board(round_.path / "gateway", round_.made.registry, now)
        data = bytes([number]) * 50
        board.offer(offered(one, f"{one.public.key_id}{UPLOAD}", data))
        board.piece(token(one, f"{one.public.key_id}{UPLOAD}", data), 0, data[:9])
    assert len(list((round_.path / "gateway" / "parcels").iterdir())) == names.PARCELS


def test_opening_may_be_repeated_after_a_line_broke(round_: Carried) -> None:
    round_.begun()
    for clinic in range(CLINICS):
        round_.given(clinic)
    assert round_.summed() == CLINICS
    (round_.path / "gateway" / FOLDER / VERSION).unlink()
    one, registry = round_.made.coordinator, round_.made.registry
    round_.line.board = Board(round_.path / "gateway", registry, now)
    with (
        round_.at(one, *names.NAMED, names.SHARE, UPLOAD) as place,
        closing(masked.server(place, round_.path, one, registry, now)) as held,
    ):
        total, version = masked.opened(place, held, round_.coordinator, registry, now())
    assert (total.clinics, version, round_.coordinator.folding.version) == (CLINICS, 1, 1)
    assert VERSION in round_.files(one)


def test_a_round_whose_beginning_was_cut_is_completed(round_: Carried) -> None:
    round_.begun()
    (round_.path / "gateway" / FOLDER / RELEASE).unlink()
    with pytest.raises(InputError, match="not over"):
        round_.begun()
    assert RELEASE in round_.files(round_.made.coordinator)


def test_an_upload_goes_on_where_the_line_broke(round_: Carried) -> None:
    round_.begun()
    board, one = round_.line.board, round_.made.clinics[0]
    round_.given(0)
    name = f"{one.public.key_id}{UPLOAD}"
    data = (round_.path / "gateway" / FOLDER / name).read_bytes()
    (round_.path / "gateway" / FOLDER / name).unlink()
    half = len(data) // 2
    assert board.offer(offered(one, name, data)).state == "partial"
    under = token(one, name, data)
    assert (board.room(under), board.piece(under, 0, data[:half]).have) == (len(data), half)
    again = Board(round_.path / "gateway", round_.made.registry, now)  # the power went
    assert (again.room(under), again.piece(under, half, data[half:]).state) == (0, "later")  # who is it?
    assert again.offer(offered(one, name, data)).have == half
    assert again.piece(under, half, data[half:]).state == "answered"
    assert again.file(asking(one, name)) == data


def test_other_rounds_files_in_a_copy_are_gone_and_a_lying_gateway_is_noticed(round_: Carried) -> None:
    round_.begun()
    one = round_.made.clinics[0]
    with round_.at(one, RELEASE, PLAN) as place:
        pass
    put(place / FOLDER / f"{one.public.key_id}{UPLOAD}", b"of a round that is over")
    (place / FOLDER / BEGUN).write_bytes(b"an older one")
    with round_.at(one, RELEASE, PLAN) as place:
        assert not (place / FOLDER / f"{one.public.key_id}{UPLOAD}").exists()
    (place / FOLDER / RELEASE).unlink()
    round_.line.board.file = lambda _: b"another"  # type: ignore[method-assign]
    with pytest.raises(UntrustedError, match="that was listed"):
        round_.at(one, RELEASE).__enter__()


def test_only_a_newer_student_of_the_coordinator_takes_the_place_of_the_one_there(round_: Carried) -> None:
    board, made = round_.line.board, round_.made

    def student(number: int, who: Identity = made.coordinator, programme: str = "rehearsal") -> bytes:
        return sign(who, "student-release", names.Numbered(programme, number))

    third = student(3)
    assert left(board, made.coordinator, STUDENT, third).state == "answered"
    assert STUDENT in round_.files(made.clinics[0])
    with pytest.raises(UntrustedError, match="number 4 or later"):
        left(board, made.coordinator, STUDENT, student(2))
    with pytest.raises(UntrustedError, match="one of programme rehearsal"):
        left(board, made.coordinator, STUDENT, student(5, programme="another"))
    with pytest.raises(UntrustedError, match="its coordinator"):
        left(board, made.clinics[0], STUDENT, student(5, made.clinics[0]))
    round_.begun()  # a round changes nothing of it
    assert board.file(asking(made.clinics[0], STUDENT)) == third


@pytest.mark.enable_socket
def test_a_masked_round_by_commands_at_a_gateways_url(tmp_path: Path) -> None:
    root, enrolments = str(tmp_path / "root"), list[str]()
    box(tmp_path / "authority", "request", "authority", "--out", root)
    roles = {"coordinator": "coordinator", "north": "gateway", "steward": "mask-steward"}
    for name, role in (roles | {"a": "terminal", "b": "terminal"}).items():
        asked, enrolments = str(tmp_path / f"{name}.asked"), [*enrolments, str(tmp_path / f"{name}.given")]
        box(tmp_path / name, "request", role, "--name", name, "--root", root, "--out", asked)
        box(tmp_path / "authority", "enrol", asked, "--out", enrolments[-1])
    for name in (*roles, "a", "b"):
        assert box(tmp_path / name, "believe", *enrolments).exit_code == 0

    def ran(name: str, *arguments: str) -> str:
        done = box(tmp_path / name, "masked", *arguments)
        assert done.exit_code == 0, (arguments, done.output)
        return done.output

    network = ("--features", "3")
    with door(tmp_path / "north") as url:
        ran("coordinator", "begin", url, *network)
        ran("steward", "key", url)
        ran("coordinator", "plan", url, "--least", "2", "--threshold", "1", "--noise", "3")
        for seed, name in enumerate("ab"):
            given = str(cases(tmp_path / "cases.npz", seed))
            with Ledger(tmp_path / name) as ledger:
                ledger.set_budget(Budget(50.0, 1e-6, "test", "two clinics cannot hide one for little"))
            terms = ("--least", "2", "--stewards", "1", "--threshold", "1")
            assert "48 cases used" in ran(name, "give", url, "--cases", given, *network, *terms)
        assert "here: 0" in ran("steward", "look", url)
        assert "in the sum: 2 clinics" in ran("coordinator", "close", url)
        ran("steward", "share", url, "--least", "2")
        assert "version 1: the sum of 2 clinics" in ran("coordinator", "open", url, *network)
        assert "model: version 1" in box(tmp_path / "a", "join", url).output
        done = box(tmp_path / "north", "masked", "key", url)
        assert done.exit_code == 2
        assert "mask-steward" in done.stderr
