"""Statistics that name nobody, and the account of what left: both from the command line and as values."""

import json
import math
from contextlib import suppress
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings, strategies as st

from akazuba.cli.privacy import privacy
from akazuba.errors import BudgetError, InputError
from akazuba.privacy.accounting import Budget, DiscreteGaussian, DiscreteLaplace
from akazuba.privacy.ledger import UNPROTECTED, Ledger, Protection, QuantumKeyUsed
from akazuba.privacy.report import account, chance_at_most, in_words
from akazuba.privacy.statistics import (
    Request,
    Visit,
    count_patients,
    half_width,
    read_conditions,
    read_epsilon,
    read_visits,
    release,
)

LISTED = ("J06.9", "B50.9", "malaria", "A00")
MAY = Request(date(2026, 5, 1), date(2026, 5, 31), LISTED, Fraction(1, 2))
LATER = date(2026, 6, 2)


def visit(patient: str, condition: str, day: int = 10) -> Visit:
    return Visit(patient, condition, date(2026, 5, day))


VISITS = [
    *(visit(f"p{number}", "J06.9") for number in range(300)),
    *(visit(f"q{number}", "B50.9") for number in range(40)),
    visit("p1", "malaria", 9),
    visit("p2", "malaria", 11),
    visit("p3", "J06.9", 12),
    visit("p4", "rabies"),
    Visit("p5", "A00", date(2026, 6, 1)),
]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path, lambda: 1_780_000_000.0) as opened:
        yield opened


# --- statistics -------------------------------------------------------------------------------------


def test_a_patient_counts_for_her_first_condition_and_the_rest_is_dropped_and_counted() -> None:
    counts, dropped = count_patients(MAY, VISITS)
    assert counts == [299, 40, 1, 0]
    assert dropped == (dropped.__class__)(outside_period=1, not_listed=1, repeated=1, over_the_bound=2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(visit, st.sampled_from("abcde"), st.sampled_from([*LISTED, "rabies"]), st.integers(1, 31)),
        max_size=40,
    ),
    st.sampled_from("abcde"),
    st.integers(1, 4),
    st.randoms(),
)
def test_one_patient_changes_the_counts_by_no_more_than_the_bound_in_whatever_order(
    visits: list, patient: str, bound: int, shuffler
) -> None:
    request = Request(MAY.start, MAY.end, LISTED, Fraction(1), bound)
    with_her, _ = count_patients(request, visits)
    without, _ = count_patients(request, [v for v in visits if v.patient != patient])
    assert sum(abs(a - b) for a, b in zip(with_her, without, strict=True)) <= bound
    shuffled = list(visits)
    shuffler.shuffle(shuffled)
    assert count_patients(request, shuffled)[0] == with_her


def test_a_period_is_released_once_and_the_same_bytes_come_again_at_no_cost(ledger: Ledger) -> None:
    ledger.set_budget(Budget(epsilon=1))
    first = release(ledger, MAY, VISITS, LATER)
    again = release(ledger, MAY, VISITS[:5], LATER)
    assert first.first
    assert not again.first
    assert again.document == first.document
    assert len(ledger.spends()) == 1
    assert ledger.total() == pytest.approx(0.5, rel=1e-9)
    assert ledger.total() >= 0.5
    other = release(ledger, Request(MAY.start, date(2026, 5, 30), LISTED, Fraction(1, 2)), VISITS, LATER)
    assert other.first
    assert ledger.total() == pytest.approx(1.0, rel=1e-9)


def test_every_condition_is_released_the_zeros_too_and_none_under_zero(ledger: Ledger) -> None:
    request = Request(MAY.start, MAY.end, tuple(f"c{n}" for n in range(400)), Fraction(1, 10))
    document = json.loads(release(ledger, request, [], LATER, np.random.default_rng(1).bytes).document)
    assert [count["condition"] for count in document["counts"]] == list(request.conditions)
    shown = [count["count"] for count in document["counts"]]
    assert min(shown) == 0
    assert max(shown) > 5
    assert all(0 <= c["low"] <= c["count"] <= c["high"] for c in document["counts"])
    assert any("under zero is shown as zero" in note for note in document["notes"])


def test_the_document_holds_nothing_of_the_patients_but_noisy_counts(ledger: Ledger) -> None:
    document = release(ledger, MAY, VISITS, LATER, np.random.default_rng(3).bytes).document
    known = json.loads(document)
    assert set(known) == {
        "format", "start", "end", "epsilon", "noise", "contributions_per_patient", "counts", "notes",
    }  # fmt: skip
    assert not any(word in document for word in (b'"p1"', b"rabies", b"dropped", b"outside"))
    assert (known["epsilon"], known["noise"]) == ("0.5", "discrete Laplace of scale 2")
    one_less = release(
        ledger, Request(MAY.start, date(2026, 5, 30), LISTED, Fraction(1, 2)), [], LATER
    ).document
    assert set(json.loads(one_less)) == set(known)


def test_the_interval_holds_the_true_count_in_95_of_100(ledger: Ledger) -> None:
    request = Request(MAY.start, MAY.end, tuple(f"c{n}" for n in range(2000)), Fraction(1, 4))
    visits = [visit(f"p{c}-{n}", f"c{c}") for c in range(2000) for n in range(30)]
    document = json.loads(release(ledger, request, visits, LATER, np.random.default_rng(2).bytes).document)
    held = [count["low"] <= 30 <= count["high"] for count in document["counts"]]
    assert 0.94 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(
    "scale", [Fraction(1, 10), Fraction(1, 3), Fraction(1), Fraction(7, 2), Fraction(1000)]
)
def test_the_interval_is_the_narrowest_that_does(scale: Fraction) -> None:
    q, width = math.exp(-1 / float(scale)), half_width(scale)
    assert 2 * q ** (width + 1) / (1 + q) <= 0.05
    assert width == 0 or 2 * q**width / (1 + q) > 0.05


def test_over_budget_no_statistics_are_drawn(ledger: Ledger) -> None:
    ledger.set_budget(Budget(epsilon=0.499))
    with pytest.raises(BudgetError, match="statistics of 2026-05-01 to 2026-05-31"):
        release(ledger, MAY, VISITS, LATER)
    assert ledger.spends() == []


@pytest.mark.parametrize(
    ("start", "end", "today", "bound"),
    [
        (date(2026, 5, 31), date(2026, 5, 1), LATER, 1),
        (date(2024, 5, 1), date(2026, 5, 1), LATER, 1),
        (date(2026, 5, 1), date(2026, 5, 31), date(2026, 5, 31), 1),
        (date(2026, 5, 1), date(2026, 5, 31), LATER, 0),
    ],
)
def test_an_impossible_period_or_bound_is_refused(
    ledger: Ledger, start: date, end: date, today: date, bound: int
) -> None:
    with pytest.raises(InputError):
        release(ledger, Request(start, end, LISTED, Fraction(1), bound), [], today)
    assert ledger.spends() == []


@pytest.mark.parametrize("text", ["0", "-1", "1e-3", "0.0001", "11", "nan", "1/2", "0.1234567", "", "٣"])
def test_an_unusable_epsilon_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a number from 0\.001 to 10"):
        read_epsilon(text)


def test_an_unusable_row_is_named_by_its_number_and_never_quoted() -> None:
    good = b'{"patient": "p1", "condition": "A00", "date": "2026-05-31"}\n'
    assert len(list(read_visits([good, b"\n", good], "rows"))) == 2
    for bad, found in (
        (b'{"patient": "Uwase", "condition": "A00"}', "no date"),
        (b'{"patient": "Uwase", "condition": "A00", "date": "31/05/2026"}', "an unusable date"),
        (b'{"patient": "", "condition": "A00", "date": "2026-05-31"}', "an unusable patient"),
        (b'{"patient": "Uwase", "condition": "A00", "date": "2026-05-31", "village": "x"}', "something else"),
        (b'{"patient": "Uwase', "something else"),
        (b"\xff\xfe", "something else"),
        (b'{"patient": "' + b"x" * 5000, "more"),
    ):
        with pytest.raises(InputError, match=rf"rows, line 2: expected .*, found {found}$") as raised:
            list(read_visits([good, bad], "rows"))
        assert "Uwase" not in str(raised.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text().map(lambda text: json.dumps({"patient": text}).encode()))
def test_whatever_bytes_a_row_holds_it_is_read_or_refused(line: bytes) -> None:
    for raw in (line, b"[" * 4000, b'{"patient": ' + b'{"a": ' * 600, line * 20):
        with suppress(InputError):
            assert all(row.patient and row.condition for row in read_visits([raw], "rows"))


def test_a_list_of_conditions_is_read_and_a_bad_one_refused() -> None:
    assert read_conditions("A00 # cholera\n\n# all\nmalaria\n", "list") == ("A00", "malaria")
    for text in ("", "# none", "A00\nA00", "x" * 101, "A\x1b[2J"):
        with pytest.raises(InputError, match="list"):
            read_conditions(text, "list")


# --- the account ------------------------------------------------------------------------------------

SIMULATED = Protection("hybrid-v1", "key-a", "key-b", QuantumKeyUsed("q-1", simulated=True))


def test_when_nothing_has_left_it_says_so(ledger: Ledger) -> None:
    words = in_words(account(ledger, 1_780_000_000))
    assert "Nothing has left this box." in words
    assert "none of your privacy budget is spent" in words
    assert "Left: at most 8." in words


def test_the_account_says_what_left_when_to_whom_under_which_keys_and_at_what_cost(ledger: Ledger) -> None:
    spend = ledger.charge(DiscreteGaussian(100, 50, 1000), "clinic", "round 1")
    update = ledger.depart("model-update", "server of the ministry", b"x" * 1000, SIMULATED, spend)
    ledger.moved(update, "sent")
    message = ledger.depart("message", "district hospital", b"hi", Protection("hybrid-v1", "a", "b"))
    ledger.moved(message, "refused", "no quantum key left")
    ledger.depart("export", "a disk", b"hi", UNPROTECTED)
    known = account(ledger, 1_780_000_000)
    words = in_words(known)
    assert "1 thing left it:" in words
    left = "what the box learned (a model update), 1000 bytes, to server of the ministry: sent."
    assert f"- 2026-05-28 20:26 UTC: {left}" in words
    assert "Sealed with hybrid-v1, from key key-a for key key-b, with quantum key q-1 (SIMULATED)." in words
    assert "SIMULATED: 1 of the quantum keys came from a simulated link." in words
    assert "a message, 2 bytes, to district hospital: refused: no quantum key left." in words
    assert "an export, 2 bytes, to a disk: waiting." in words
    assert "It was not sealed." in words
    assert f"epsilon {known.patient_epsilon:.3g}" in words
    assert known.departures[0].epsilon == known.clinic_epsilon == known.patient_epsilon > 0


def test_what_epsilon_means_is_said_and_is_true(ledger: Ledger) -> None:
    ledger.set_budget(Budget(epsilon=5, delta=0))
    ledger.charge(DiscreteLaplace(1.0), "patient", "statistics")
    words = in_words(account(ledger, 1_780_000_000))
    assert "Your coming here makes it at most 2.72 times as likely." in words
    assert "in 1 of 100 cases had you stayed away is now said in at most 2.72 of 100." in words
    assert "That is strong protection." in words
    assert "Spent: 1. Left: at most 4." in words
    ledger.charge(DiscreteLaplace(0.25), "patient", "more")
    assert "That is fair protection, not strong." in in_words(account(ledger, 0))


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0, 800), st.floats(0, 0.001))
def test_the_chance_is_a_chance_and_never_falls(without: float, spent: float, delta: float) -> None:
    assert without - 1e-12 <= chance_at_most(without, spent, delta) <= 1


def test_refusals_budgets_and_the_clock_are_told(tmp_path: Path) -> None:
    times = iter([1_780_000_000.0, 1_780_000_060.0, 1_700_000_000.0, 1_700_000_001.0])
    with Ledger(tmp_path, lambda: next(times)) as ledger:
        ledger.set_budget(Budget(epsilon=9, by="Uwase", because="ethics board 14"))
        ledger.set_budget(Budget(epsilon=0.1))
        with pytest.raises(BudgetError):
            ledger.charge(DiscreteLaplace(1.0), "patient", "statistics of May")
        known = account(ledger, 1_780_000_000)
    words = in_words(known)
    assert "refused, statistics of May: it would have come to epsilon 1, over the 0.1 allowed." in words
    assert "budget set to epsilon 9, delta 1e-06 by Uwase: ethics board 14." in words
    assert "The clock went back from 2026-05-28 20:27 UTC to 2023-11-14 22:13 UTC" in words


def test_since_a_day_lists_later_things_only_but_sums_all(tmp_path: Path) -> None:
    times = iter([1e9, 1e9, 2e9, 2e9, 2e9])
    with Ledger(tmp_path, lambda: next(times)) as ledger:
        ledger.charge(DiscreteLaplace(1.0), "patient", "old")
        ledger.charge(DiscreteLaplace(1.0), "patient", "old too")
        ledger.depart("message", "x", b"", UNPROTECTED)
        known = account(ledger, 2e9, since_s=1.5e9)
    assert known.spends == ()
    assert len(known.departures) == 1
    assert known.patient_epsilon == pytest.approx(2)


# --- the command line -------------------------------------------------------------------------------


@pytest.fixture
def akazuba(tmp_path: Path):
    def invoke(*arguments: str) -> Result:
        return CliRunner(env={"AKAZUBA_HOME": str(tmp_path / "home")}).invoke(privacy, list(arguments))

    return invoke


@pytest.fixture
def may(tmp_path: Path) -> list[str]:
    rows = tmp_path / "may.ndjson"
    rows.write_text(
        "".join(
            json.dumps({"patient": f"p{n}", "condition": "A00", "date": "2026-05-07"}) + "\n"
            for n in range(50)
        )
    )
    (tmp_path / "list.txt").write_text("A00\nmalaria\n")
    return [
        "statistics", str(rows), "--conditions", str(tmp_path / "list.txt"),
        "--from", "2026-05-01", "--to", "2026-05-31", "--epsilon",
    ]  # fmt: skip


def test_statistics_are_printed_kept_and_in_the_report(akazuba, may: list[str]) -> None:
    first = akazuba(*may, "2", "--json")
    assert first.exit_code == 0, first.output
    document = json.loads(first.stdout)
    assert [count["condition"] for count in document["counts"]] == ["A00", "malaria"]
    assert "Rows not counted (keep this to yourself): 0 of other days" in first.stderr
    again = akazuba(*may, "1", "--json")
    assert again.stdout == first.stdout
    assert "released before" in again.stderr
    table = akazuba(*may, "2")
    assert "Patients by condition, 2026-05-01 to 2026-05-31." in table.stdout
    told = json.loads(akazuba("report", "--json").stdout)
    assert told["patient_epsilon"] == pytest.approx(2)
    assert [(d["kind"], d["to"], d["state"]) for d in told["departures"]] == [
        ("statistics", "ministry", "sent")
    ] * 3
    assert "3 things left it:" in akazuba("report").stdout
    assert "Nothing has left this box since 2100-01-01" in akazuba("report", "--since", "2100-01-01").stdout


def test_over_budget_exits_1_and_unusable_input_exits_2(akazuba, may: list[str], tmp_path: Path) -> None:
    assert akazuba("budget", "--epsilon", "1").exit_code == 0
    over = akazuba(*may, "2")
    assert over.exit_code == 1
    assert over.stdout == ""
    assert (
        "error: privacy budget, statistics of 2026-05-01 to 2026-05-31: expected at most epsilon 1"
        in over.stderr
    )
    assert "refused, statistics" in akazuba("report").stdout
    assert akazuba(*may, "0").exit_code == 2
    assert akazuba("statistics", "none.ndjson", *may[2:], "1").exit_code == 2
    (tmp_path / "list.txt").write_bytes(b"\xff")
    assert akazuba(*may, "1").exit_code == 2
    assert akazuba("report", "--since", "yesterday").exit_code == 2


def test_the_budget_is_shown_tightened_and_loosened_with_name_and_reason(akazuba, tmp_path: Path) -> None:
    assert akazuba("budget").stdout.startswith("budget: epsilon 8 at delta 1e-06 for one patient")
    assert akazuba("budget", "--epsilon", "2").exit_code == 0
    loose = akazuba("budget", "--epsilon", "3")
    assert loose.exit_code == 2
    assert "a name and a reason to loosen 2" in loose.stderr
    assert akazuba("budget", "--by", "Uwase", "--because", "x").exit_code == 2
    assert akazuba("budget", "--epsilon", "nan").exit_code == 2
    named = ("--by", "Uwase", "--because", "ethics board 14")
    shown = json.loads(akazuba("budget", "--epsilon", "3", *named, "--json").stdout)
    assert shown == {"epsilon": 3.0, "delta": 1e-6, "spent": 0.0, "left": 3.0}
    assert json.loads((tmp_path / "home" / "privacy.json").read_bytes())["by"] == "Uwase"
