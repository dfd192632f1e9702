"""An attacker who sees every version learns no more of a clinic than is claimed, and a fault would show."""

import sys
from pathlib import Path

import pytest

from akazuba.errors import BudgetError
from akazuba.federation.accounts import Accounts, noise_multiplier
from akazuba.privacy.accounting import Budget

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from federation_audit import FAULTS, audited, epsilon_lower, p_value

CANARIES, SEED = 6_000, 11


@pytest.mark.parametrize(
    ("mechanism", "over_claim"), [("as it is", False), ("noise a tenth", True), ("clip at 2 C", True)]
)
def test_the_lower_bound_is_under_the_claim_unless_there_is_a_fault(mechanism: str, over_claim: bool) -> None:
    with FAULTS[mechanism]():
        run = audited(CANARIES, 1.0, 1, SEED)
    assert run["claimed"] == pytest.approx(1.0)
    assert (run["lower"] > run["claimed"]) is over_claim
    assert run["lower"] > 0.1  # the attacker sees something: the audit is not blind


def test_the_claim_covers_all_versions_together() -> None:
    run = audited(1_000, 2.0, 3, SEED)
    assert run["claimed"] == pytest.approx(2.0)
    assert run["lower"] < 2.0


def test_a_terminal_may_be_in_as_many_versions_as_the_noise_was_made_for_and_in_no_more() -> None:
    for versions in (1, 3, 7, 50):
        noise, accounts = noise_multiplier(2.0, 1e-5, versions), Accounts(Budget(2.0, 1e-5))
        for _ in range(versions):
            assert accounts.exhausted(noise) == []
            accounts.charge("post 7", noise)
        assert accounts.exhausted(noise) == ["post 7"]
        with pytest.raises(BudgetError):
            accounts.charge("post 7", noise)


def test_right_guesses_by_chance_refute_nothing_and_all_right_refute_much() -> None:
    assert epsilon_lower(1_000, 200, 100) == 0.0
    assert epsilon_lower(1_000, 200, 200) > 3.0


def test_without_delta_the_bound_is_that_of_a_biased_coin() -> None:
    assert p_value(100, 3, 3, 0.0, 0.0) == pytest.approx(1 / 8)
    assert p_value(100, 2, 1, 0.0, 0.0) == pytest.approx(3 / 4)
    assert p_value(100, 3, 3, 0.0, 1e-3) > 1 / 8


def test_the_bound_is_the_papers() -> None:
    """Appendix D's example and figure 11 of arXiv:2305.08846."""
    assert epsilon_lower(1_000, 100, 75, 1e-4) == pytest.approx(0.673, abs=5e-4)
    assert epsilon_lower(100_000, 1_510, 1_439, 1e-5) == pytest.approx(2.675, abs=1e-3)


def test_the_bound_grows_with_what_was_guessed_right() -> None:
    bounds = [epsilon_lower(1_000, 200, right) for right in range(100, 201, 10)]
    assert bounds == sorted(bounds)
