"""What noise costs, held against Google's accountant; and a ledger that no crash, race or clock can cheat."""

import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from itertools import count
from pathlib import Path

import dp_accounting
import msgspec
import numpy as np
import pytest
from dp_accounting import pld, rdp
from hypothesis import given, settings, strategies as st

from akazuba.errors import ArtefactError, BudgetError, InputError, OutOfTimeError
from akazuba.privacy.accounting import (
    ORDERS,
    Budget,
    DiscreteGaussian,
    DiscreteLaplace,
    SampledGaussian,
    Spend,
    epsilon,
    total,
)
from akazuba.privacy.ledger import UNPROTECTED, Ledger, Protection, QuantumKeyUsed

HALF = DiscreteLaplace(2.0)
"""Epsilon 0.5, by itself."""


def theirs(event: dp_accounting.DpEvent, delta: float) -> float:
    accountant = rdp.RdpAccountant(ORDERS[:-1])
    accountant.compose(event)
    return accountant.get_epsilon(delta)


# --- accounting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [1e-5, 1e-9])
@pytest.mark.parametrize("multiplier", [0.7, 1.0, 3.0, 10.0])
def test_a_gaussian_costs_what_the_accountant_says_and_never_less_than_the_truth(
    multiplier: float, delta: float
) -> None:
    spend = DiscreteGaussian(sigma=multiplier * 10, sensitivity=10, dimensions=1000)
    ours = epsilon(total([spend]), delta)
    assert ours == pytest.approx(theirs(dp_accounting.GaussianDpEvent(multiplier), delta), rel=0.01)
    assert ours == pytest.approx(
        theirs(dp_accounting.ZCDpEvent(rho=1 / (2 * multiplier**2)), delta), rel=0.01
    )
    assert ours >= dp_accounting.get_epsilon_gaussian(multiplier, delta)


@pytest.mark.parametrize(
    ("multiplier", "rate", "steps"), [(1.0, 0.01, 1000), (4.0, 0.1, 500), (2.0, 1.0, 10), (1.1, 0.2, 1)]
)
def test_a_sampled_gaussian_costs_what_the_accountant_says_and_never_less_than_the_truth(
    multiplier: float, rate: float, steps: int
) -> None:
    one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(multiplier))
    event = dp_accounting.SelfComposedDpEvent(one, steps)
    whole = [order for order in ORDERS if order == math.inf or order == int(order)]
    accountant = rdp.RdpAccountant(whole[:-1])
    accountant.compose(event)
    ours = epsilon(total([SampledGaussian(multiplier, rate, steps)]), 1e-6)
    assert ours == pytest.approx(accountant.get_epsilon(1e-6), rel=0.01)
    tight = pld.PLDAccountant()
    tight.compose(event)
    assert ours >= tight.get_epsilon(1e-6)


def test_between_whole_orders_a_sampled_gaussian_is_never_under_the_exact_divergence() -> None:
    orders = [1.05, 1.5, 2.25, 3.75, 7.5]
    accountant = rdp.RdpAccountant(orders)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(2.0)))
    ours = SampledGaussian(2.0, 0.05).rdp(orders)
    assert (ours >= np.array(accountant._rdp) - 1e-12).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 10.0])
def test_a_fine_laplace_costs_what_the_accountant_says_of_the_continuous_one(scale: float) -> None:
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.LaplaceDpEvent(scale), 30)
    ours = epsilon(total([DiscreteLaplace(scale * 10_000, 10_000)] * 30), 1e-6)
    assert ours == pytest.approx(min(theirs(event, 1e-6), 30 / scale), rel=0.01)


@pytest.mark.parametrize(("scale", "change"), [(0.7, 1), (2.0, 1), (2.0, 3), (9.0, 4)])
def test_the_divergence_of_the_discrete_laplace_is_the_sum_over_all_whole_numbers(
    scale: float, change: int
) -> None:
    numbers = np.arange(-3000, 3001)
    here, there = -np.abs(numbers) / scale, -np.abs(numbers - change) / scale
    norm = math.log(math.tanh(1 / (2 * scale)))
    orders = [1.5, 2, 8.25, 40]
    exact = [
        float(np.log(np.exp(a * (here + norm) + (1 - a) * (there + norm)).sum())) / (a - 1) for a in orders
    ]
    assert DiscreteLaplace(scale, change).rdp(orders) == pytest.approx(exact, rel=1e-9)
    assert DiscreteLaplace(scale, change).rdp([math.inf])[0] == change / scale


@pytest.mark.parametrize(("sigma", "shares", "change"), [(0.5, 2, 1), (0.6, 5, 2), (0.8, 20, 3), (2.0, 8, 1)])
def test_a_sum_of_discrete_gaussians_costs_at_least_its_exact_divergence(
    sigma: float, shares: int, change: int
) -> None:
    numbers = np.arange(-60, 61)
    one = np.exp(-(numbers**2) / (2 * sigma**2))
    one /= one.sum()
    summed = one
    for _ in range(shares - 1):
        summed = np.convolve(summed, one)
    middle = len(summed) // 2
    width = int(25 * sigma * math.sqrt(shares))
    here = np.log(summed[middle - width : middle + width + 1])
    there = np.log(summed[middle - width - change : middle + width + 1 - change])
    bound = DiscreteGaussian(sigma, change, 1, shares).rdp([2, 4, 16])
    for order, most in zip([2, 4, 16], bound, strict=True):
        exact = float(np.logaddexp.reduce(order * here + (1 - order) * there)) / (order - 1)
        assert exact <= most
    assert bound[0] >= 2 * change**2 / (2 * shares * sigma**2)


def test_many_shares_of_much_noise_cost_as_much_as_one_that_is_as_large() -> None:
    shared = epsilon(total([DiscreteGaussian(10, 50, 100_000, shares=100)]), 1e-6)
    alone = epsilon(total([DiscreteGaussian(100, 50, 100_000)]), 1e-6)
    assert shared == pytest.approx(alone, rel=1e-6)
    assert epsilon(total([DiscreteGaussian(0.5, 50, 100_000, shares=100)]), 1e-6) > 100


spends = st.one_of(
    st.builds(
        DiscreteGaussian, st.floats(0.5, 1e4), st.floats(1, 100), st.integers(1, 10**6), st.integers(1, 50)
    ),
    st.builds(DiscreteLaplace, st.floats(0.01, 1e4), st.integers(1, 20)),
    st.builds(SampledGaussian, st.floats(0.3, 100), st.floats(1e-9, 1), st.integers(1, 10_000)),
)


@settings(max_examples=30, deadline=None)
@given(spends, spends, st.sampled_from([0, 1e-9, 1e-6, 1e-3]))
def test_two_spends_cost_at_least_as_much_as_either_and_come_back_from_the_file_as_they_were(
    one: Spend, other: Spend, delta: float
) -> None:
    both = epsilon(total([one, other]), delta)
    assert both >= epsilon(total([one]), delta) >= 0
    assert both >= epsilon(total([other]), delta)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Spend) == one


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteGaussian(0.49, 1, 1),
        lambda: DiscreteGaussian(1, 0.5, 1),
        lambda: DiscreteGaussian(1, 1, 0),
        lambda: DiscreteGaussian(1, 1, 1, 0),
        lambda: DiscreteGaussian(math.nan, 1, 1),
        lambda: DiscreteLaplace(0),
        lambda: DiscreteLaplace(1, 1.5),
        lambda: DiscreteLaplace(1, 0),
        lambda: SampledGaussian(1, 0),
        lambda: SampledGaussian(0, 0.1),
        lambda: SampledGaussian(1, 1.1),
        lambda: SampledGaussian(1, 0.1, 0),
        lambda: Budget(epsilon=-1),
        lambda: Budget(epsilon=101),
        lambda: Budget(delta=0.5),
        lambda: Budget(epsilon=math.nan),
        lambda: Budget(by="a\nb"),
    ],
)
def test_an_impossible_spend_or_budget_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()


# --- the ledger -------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path):
    times = count(1_800_000_000)
    with Ledger(tmp_path, lambda: float(next(times))) as opened:
        yield opened


def test_what_is_charged_adds_up_and_is_there_when_opened_again(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.total() == 0
    first = ledger.charge(HALF, "patient", "statistics of May")
    second = ledger.charge(DiscreteGaussian(50, 10, 100, 4), "clinic", "round 1")
    assert (first, second) == (1, 2)
    with Ledger(tmp_path) as again:
        assert [(s.id, s.unit, s.purpose, s.spend) for s in again.spends()] == [
            (1, "patient", "statistics of May", HALF),
            (2, "clinic", "round 1", DiscreteGaussian(50, 10, 100, 4)),
        ]
        assert again.total("patient") == ledger.total() > again.total("clinic") > 0


def test_a_clinics_protection_covers_its_patients_but_not_the_other_way(ledger: Ledger) -> None:
    ledger.charge(HALF, "patient", "one")
    assert ledger.total("clinic") == 0
    ledger.charge(HALF, "clinic", "two")
    assert ledger.total("clinic") == pytest.approx(0.5)
    assert ledger.total("patient") == pytest.approx(1.0)


def test_over_budget_nothing_is_spent_and_the_refusal_is_on_record(ledger: Ledger) -> None:
    ledger.set_budget(Budget(epsilon=1.2))
    ledger.charge(HALF, "patient", "one")
    ledger.charge(HALF, "clinic", "two")
    with pytest.raises(BudgetError, match=r"at most epsilon 1\.2 for a patient in all"):
        ledger.charge(HALF, "patient", "three")
    assert len(ledger.spends()) == 2
    (refusal,) = ledger.refusals()
    assert (refusal.purpose, refusal.unit, refusal.spend) == ("three", "patient", HALF)
    assert refusal.would_be == pytest.approx(1.5)
    assert refusal.budget.epsilon == 1.2
    ledger.charge(DiscreteLaplace(10.0), "patient", "a small one still fits")


def test_a_zero_budget_lets_nothing_out(ledger: Ledger) -> None:
    ledger.set_budget(Budget(epsilon=0))
    for spend in (DiscreteLaplace(1e9), HALF, SampledGaussian(1000.0, 0.001), DiscreteGaussian(1e5, 1, 1)):
        with pytest.raises(BudgetError):
            ledger.charge(spend, "patient", "anything")
    assert ledger.spends() == []


def test_without_delta_only_pure_noise_is_let_out(ledger: Ledger) -> None:
    ledger.set_budget(Budget(delta=0))
    ledger.charge(HALF, "patient", "pure")
    with pytest.raises(BudgetError, match="inf"):
        ledger.charge(DiscreteGaussian(1e5, 1, 1), "patient", "never pure")
    assert ledger.refusals()[0].would_be == math.inf


def test_a_budget_is_tightened_at_once_and_loosened_with_a_name_and_a_reason_only(
    ledger: Ledger, tmp_path: Path
) -> None:
    assert ledger.budget() == Budget(8, 1e-6)
    (tmp_path / "privacy.json").write_text('{"epsilon": 2}')
    assert ledger.budget().epsilon == 2
    for named in ("", ', "by": "Uwase"', ', "by": " ", "because": " "'):
        (tmp_path / "privacy.json").write_text('{"epsilon": 2, "delta": 1e-5' + named + "}")
        with pytest.raises(InputError, match="a name and a reason to loosen 2 at 1e-06"):
            ledger.charge(HALF, "patient", "anything")
    (tmp_path / "privacy.json").write_text('{"epsilon": 3, "by": "Uwase", "because": "ethics board 14"}')
    assert ledger.budget().epsilon == 3
    with pytest.raises(InputError, match="a name and a reason"):
        ledger.set_budget(Budget(epsilon=4))
    ledger.set_budget(Budget(epsilon=1))
    (tmp_path / "privacy.json").unlink()
    assert ledger.budget().epsilon == 1
    assert [(b.epsilon, b.by, b.because) for _, b in ledger.budgets()] == [
        (2, "", ""),
        (3, "Uwase", "ethics board 14"),
        (1, "", ""),
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe", b'{"epsilon": "8"}', b'{"epsilon": -1}', b'{"epsilom": 1}', b"{" * 9999],
)
def test_a_budget_file_that_cannot_be_read_stops_every_spend(
    ledger: Ledger, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "privacy.json").write_bytes(content)
    with pytest.raises(InputError, match=r"privacy\.json"):
        ledger.charge(HALF, "patient", "anything")
    assert ledger.spends() == []


def test_a_release_happens_once_and_costs_once(ledger: Ledger) -> None:
    made = ledger.release("May", HALF, "patient", "statistics", lambda: b"first")
    again = ledger.release("May", HALF, "patient", "statistics", lambda: b"second")
    assert (made.document, made.first) == (b"first", True)
    assert (again.document, again.first, again.spend_id) == (b"first", False, made.spend_id)
    assert len(ledger.spends()) == 1


def test_a_release_that_fails_costs_nothing_and_one_over_budget_is_not_made(ledger: Ledger) -> None:
    def fails() -> bytes:
        raise OSError

    with pytest.raises(OSError, match=r"^$"):
        ledger.release("May", HALF, "patient", "statistics", fails)
    assert ledger.spends() == []
    ledger.set_budget(Budget(epsilon=0.1))
    with pytest.raises(BudgetError):
        ledger.release("May", HALF, "patient", "statistics", fails)
    assert len(ledger.refusals()) == 1


CHARGE = """
import os, signal, sys
from pathlib import Path
from akazuba.errors import BudgetError
from akazuba.privacy.accounting import DiscreteLaplace
from akazuba.privacy.ledger import Ledger
ledger, HALF = Ledger(Path(sys.argv[1])), DiscreteLaplace(2.0)
"""


def test_a_kill_right_after_the_charge_does_not_unspend_it(tmp_path: Path) -> None:
    script = CHARGE + "ledger.charge(HALF, 'patient', 'x'); os.kill(os.getpid(), signal.SIGKILL)"
    for times in (1, 2):
        killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
        assert killed.returncode == -signal.SIGKILL
        with Ledger(tmp_path) as ledger:
            assert len(ledger.spends()) == times


def test_a_kill_in_the_middle_of_a_release_leaves_neither_cost_nor_document(tmp_path: Path) -> None:
    script = CHARGE + (
        "ledger.release('May', HALF, 'patient', 'x', lambda: os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger(tmp_path) as ledger:
        assert ledger.spends() == []
        assert ledger.release("May", HALF, "patient", "x", lambda: b"new").first


def test_two_processes_together_never_exceed_the_budget(tmp_path: Path) -> None:
    script = CHARGE + (
        "try:\n for _ in range(200): ledger.charge(DiscreteLaplace(10.0), 'patient', 'x')\n"
        "except BudgetError: print('full')"
    )
    (tmp_path / "privacy.json").write_text('{"epsilon": 4, "delta": 0}')
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == [b"full\n"] * 2
    with Ledger(tmp_path) as ledger:
        assert len(ledger.spends()) == 40
        assert ledger.total() == pytest.approx(4)
        assert len(ledger.refusals()) == 2


def test_who_cannot_get_at_the_file_is_told_and_spends_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("akazuba.durable.BUSY_S", 0.1)
    other = sqlite3.connect(tmp_path / "privacy.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutOfTimeError):
        Ledger(tmp_path)
    other.execute("ROLLBACK")
    other.close()
    assert ledger.spends() == []


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close()
    with pytest.raises(ArtefactError, match="closed"):
        ledger.charge(HALF, "patient", "x")


def test_a_clock_that_goes_back_is_noted_and_opens_no_budget(tmp_path: Path) -> None:
    times = iter([1000.0, 2000.0, 1999.5, 500.0, 501.0, 502.0, 503.0])
    with Ledger(tmp_path, lambda: next(times)) as ledger:
        ledger.set_budget(Budget(epsilon=1))
        ledger.charge(HALF, "patient", "one")
        ledger.charge(HALF, "patient", "within a hair")
        with pytest.raises(BudgetError):
            ledger.charge(HALF, "patient", "long before")
        assert ledger.setbacks() == [(1999.5, 500.0)]
        with pytest.raises(BudgetError):
            ledger.charge(HALF, "patient", "still full")
        assert len(ledger.setbacks()) == 1


def test_entries_can_be_neither_altered_nor_deleted(ledger: Ledger, tmp_path: Path) -> None:
    ledger.charge(HALF, "patient", "one")
    other = sqlite3.connect(tmp_path / "privacy.sqlite3")
    for statement in ("UPDATE spend SET purpose = 'none'", "DELETE FROM spend"):
        with pytest.raises(sqlite3.IntegrityError, match="entries of the ledger stay"):
            other.execute(statement)
    other.close()


def test_only_the_owner_can_read_the_file(ledger: Ledger, tmp_path: Path) -> None:
    ledger.charge(HALF, "patient", "one")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_ledger_or_a_later_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "privacy.sqlite3").write_bytes(os.urandom(5000))
    with pytest.raises(ArtefactError, match="a ledger that can be used"):
        Ledger(tmp_path / "a")
    Ledger(tmp_path / "b").close()
    later = sqlite3.connect(tmp_path / "b" / "privacy.sqlite3")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(ArtefactError, match="found version 99"):
        Ledger(tmp_path / "b")
    (tmp_path / "c").write_text("a file")
    with pytest.raises(ArtefactError, match="a ledger that can be used"):
        Ledger(tmp_path / "c")


def test_a_spend_of_a_kind_that_this_version_does_not_know_stops_the_ledger(
    ledger: Ledger, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "privacy.sqlite3")
    other.execute(
        "INSERT INTO spend (at_s, unit, purpose, spend) VALUES (1, 'patient', 'x', '{\"kind\": \"newer\"}')"
    )
    other.commit()
    other.close()
    with pytest.raises(ArtefactError, match="entries of this version"):
        ledger.charge(HALF, "patient", "one")


# --- departures -------------------------------------------------------------------------------------

SIMULATED = Protection("hybrid-v1", "key-a", "key-b", QuantumKeyUsed("q-1", simulated=True))


def test_a_departure_moves_forward_and_every_step_is_kept(ledger: Ledger) -> None:
    spend = ledger.charge(HALF, "clinic", "round 1")
    sent = ledger.depart("model-update", "ministry", b"abc", SIMULATED, spend)
    refused = ledger.depart("export", "a disk", b"", UNPROTECTED)
    ledger.moved(sent, "sent")
    ledger.moved(sent, "acknowledged")
    ledger.moved(refused, "refused", "no quantum key left")
    one, other = ledger.departures()
    assert one.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (one.size, one.protection, one.spend_id, one.state) == (3, SIMULATED, spend, "acknowledged")
    assert [step.state for step in one.steps] == ["waiting", "sent", "acknowledged"]
    assert one.steps[0].at_s < one.steps[1].at_s < one.steps[2].at_s
    assert other.steps[-1].reason == "no quantum key left"


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([], "waiting"),
        ([], "acknowledged"),
        (["sent"], "waiting"),
        (["sent"], "sent"),
        (["sent", "acknowledged"], "refused"),
        (["refused"], "sent"),
        ([], "lost"),
    ],
)
def test_a_departure_never_moves_back_or_skips(ledger: Ledger, steps: list, wrong) -> None:
    departure = ledger.depart("message", "hospital", b"x", UNPROTECTED)
    for state in steps:
        ledger.moved(departure, state, "why" if state == "refused" else "")
    with pytest.raises(InputError, match=f"departure {departure}"):
        ledger.moved(departure, wrong, "why")
    assert len(ledger.departures()[0].steps) == 1 + len(steps)


def test_an_unsound_departure_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="departure, kind"):
        ledger.depart("gossip", "x", b"", UNPROTECTED)
    with pytest.raises(InputError, match="departure, to"):
        ledger.depart("message", "\x1b[2J", b"", UNPROTECTED)
    with pytest.raises(InputError, match="departure, sender"):
        ledger.depart("message", "x", b"", Protection("hybrid", "a\nb"))
    with pytest.raises(InputError, match="departure, quantum key"):
        ledger.depart("message", "x", b"", Protection("hybrid", quantum=QuantumKeyUsed("", simulated=False)))
    with pytest.raises(InputError, match="departure, spend"):
        ledger.depart("message", "x", b"", UNPROTECTED, spend_id=7)
    with pytest.raises(InputError, match="none of that number"):
        ledger.moved(7, "sent")
    departure = ledger.depart("message", "x", b"", UNPROTECTED)
    with pytest.raises(InputError, match="reason"):
        ledger.moved(departure, "refused")
    with pytest.raises(InputError, match="spend, unit"):
        ledger.charge(HALF, "village", "x")
    with pytest.raises(InputError, match="spend, purpose"):
        ledger.charge(HALF, "patient", "")


def test_departures_since_a_time_are_those_with_a_step_after_it(ledger: Ledger) -> None:
    early = ledger.depart("message", "x", b"1", UNPROTECTED)
    late = ledger.depart("message", "x", b"2", UNPROTECTED)
    since = ledger.departures()[-1].steps[0].at_s
    assert [d.id for d in ledger.departures(since)] == [late]
    ledger.moved(early, "sent")
    assert [d.id for d in ledger.departures(since)] == [early, late]
