"""The gauge may be gone, stuck, absurd or too high: no more is counted on than the others allow."""

import pytest
from hypothesis import given, strategies as st

from akazuba.energy.gauge import GaugeCheck
from akazuba.energy.kit import CURVE, FULL_V, Kit, most_charge_at, rest_voltage
from akazuba.energy.values import Reading

KIT = Kit(20.0, 128.0)


def test_a_gauge_of_140_percent_is_left_out_and_named() -> None:
    charge = GaugeCheck(KIT).check(Reading(1.4, 12.94, 0.0, 0.0), 0.1)
    assert charge.problem == "gauge reads 140%"
    assert charge.wh is not None
    assert charge.wh < 0.36 * 128


def test_a_gauge_that_is_gone_leaves_the_voltage() -> None:
    charge = GaugeCheck(KIT).check(Reading(None, 12.6, None, None), 0.0)
    assert charge.problem == "the gauge is gone"
    assert charge.wh is not None


def test_with_no_sensor_nobody_knows() -> None:
    assert GaugeCheck(KIT).check(Reading(), 0.0).wh is None


@pytest.mark.parametrize("absurd", [float("nan"), -3.0, 20.0])
def test_absurd_values_are_never_believed(absurd: float) -> None:
    charge = GaugeCheck(KIT).check(Reading(absurd, absurd, absurd, absurd), 0.1)
    assert charge.wh is None
    assert charge.problem


def test_a_gauge_that_reads_20_points_high_near_the_floor_is_caught_by_the_voltage() -> None:
    charge = GaugeCheck(KIT).check(Reading(0.45, rest_voltage(0.25), 0.0, 0.0), 0.0)
    assert charge.wh is not None
    assert charge.wh / 128 < 0.33
    assert "the voltage allows at most" in charge.problem


def test_a_stuck_gauge_is_named_once_enough_has_flowed() -> None:
    check = GaugeCheck(KIT)
    problems = [check.check(Reading(0.7, 13.1, 0.0, 10.0), 0.25).problem for _ in range(12)]
    assert problems[0] == ""
    assert "stands still at 70%" in problems[-1]


def test_from_full_the_count_bounds_a_gauge_that_does_not_fall() -> None:
    check = GaugeCheck(KIT)
    check.check(Reading(1.0, FULL_V, 5.0, 1.0), 0.1)
    charge = check.check(Reading(1.0, None, 0.0, 16.0), 1.0)
    for level in (0.999, 0.998, 0.997):
        charge = check.check(Reading(level, None, 0.0, 16.0), 1.0)
    assert charge.wh is not None
    assert charge.wh < 0.6 * 128
    assert "the count allows" in charge.problem


@given(soc=st.floats(0, 1), volts=st.floats(9, 15), panel=st.floats(0, 20), load=st.floats(0, 30))
def test_what_is_counted_on_lies_between_empty_and_what_the_gauge_says(
    soc: float, volts: float, panel: float, load: float
) -> None:
    charge = GaugeCheck(KIT).check(Reading(soc, volts, panel, load), 0.1)
    assert charge.wh is not None
    assert 0 <= charge.wh <= 128 * max(soc, 1e-9) + 1e-9


@given(soc=st.floats(0, 1))
def test_voltage_and_charge_undo_one_another(soc: float) -> None:
    assert most_charge_at(rest_voltage(soc)) == pytest.approx(soc, abs=0.01)


def test_the_curve_rises() -> None:
    assert list(CURVE) == sorted(CURVE)
