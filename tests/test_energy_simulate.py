"""The simulated box keeps the energy law, the rules keep their promise, and boxes without rules do not."""

from dataclasses import replace

import numpy as np
import pytest

from akazuba.energy import lp, outlook, plan
from akazuba.energy.baselines import AlwaysOn, Threshold
from akazuba.energy.compare import AMPLE, FAULTS
from akazuba.energy.demand import Habits, draw, expected
from akazuba.energy.devices import device
from akazuba.energy.forecast import Forecaster
from akazuba.energy.foresight import least_energy, most_training
from akazuba.energy.kit import STEP_H, STEPS_A_DAY, Kit
from akazuba.energy.outlook import alarms, look_ahead, table
from akazuba.energy.plan import Ahead, Planned, Planner
from akazuba.energy.rules import Rules
from akazuba.energy.runs import Start, Totals
from akazuba.energy.simulate import simulate
from akazuba.energy.sites import site
from akazuba.energy.values import Charge, Policy, Situation
from akazuba.energy.weather import Weather, simulated_year

PI = device("pi5")
KIT = Kit(15.0, 128.0)
DAYS = 40
SKY = simulated_year(site("monrovia"), 2025, 7)


def part(sky: Weather, first: int, days: int) -> Weather:
    steps = slice(first * STEPS_A_DAY, (first + days) * STEPS_A_DAY)
    return replace(sky, power=sky.power[steps], clear=sky.clear[steps])


RAINS = part(SKY, 190, DAYS)


DAY = Habits()


def ran(policy: Policy, kit: Kit = KIT, habits: Habits = DAY, fault: str = "none") -> Totals:
    faults = replace(FAULTS[fault], dark_from=10, panel_from=5)
    return simulate(policy, PI, kit, habits, RAINS, draw(habits, DAYS, 3), faults=faults)[0]


def test_every_watt_hour_is_used_stored_lost_in_the_battery_or_left_over() -> None:
    habits = Habits()
    totals, trace = simulate(Rules(PI, KIT, habits), PI, KIT, habits, RAINS, draw(habits, DAYS, 3), keep=True)
    assert trace is not None
    change = float(trace.wh[-1]) - 0.6 * 128
    into = totals.panel_wh - totals.unused_wh - totals.load_wh + totals.through_wh * KIT.discharge_efficiency
    assert change == pytest.approx(into * KIT.charge_efficiency - totals.through_wh, abs=0.5)
    assert sum(totals.parts.values()) == pytest.approx(totals.load_wh)
    assert float(trace.load_w.sum()) * STEP_H == pytest.approx(totals.load_wh)


def test_the_same_seed_gives_the_same_year() -> None:
    assert ran(Rules(PI, KIT, Habits())) == ran(Rules(PI, KIT, Habits()))


@pytest.mark.parametrize("hours", [(8.0, 17.0), (0.0, 24.0)])
def test_the_rules_answer_every_emergency_in_the_rains_in_under_five_minutes(
    hours: tuple[float, float],
) -> None:
    habits = Habits(*hours)
    totals = ran(Rules(PI, KIT, habits), habits=habits)
    assert totals.emergencies > 50
    assert (totals.missed, totals.late, totals.blackout_h) == (0, 0, 0.0)
    assert totals.slowest_s < 300


def test_boxes_without_rules_miss_emergencies_in_the_same_days() -> None:
    assert ran(AlwaysOn(blanks=True)).missed > 0
    assert ran(Threshold(128.0)).missed > 0


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"dark-days"}))
def test_no_fault_of_a_sensor_or_half_the_panel_costs_an_emergency(fault: str) -> None:
    totals = ran(Rules(PI, Kit(20.0, 128.0), Habits()), Kit(20.0, 128.0), fault=fault)
    assert (totals.missed, totals.late) == (0, 0)


def test_ten_dark_days_cost_routine_work_and_no_emergency() -> None:
    kit = Kit(20.0, 128.0)
    totals = ran(Rules(PI, kit, Habits()), kit, fault="dark-days")
    assert totals.missed == 0
    assert totals.refused > 0


def test_with_the_same_service_the_rules_take_less_than_0_58_of_a_box_that_blanks_its_screen() -> None:
    habits = Habits()
    ours, theirs = ran(Rules(PI, AMPLE, habits), AMPLE), ran(AlwaysOn(blanks=True), AMPLE)
    assert ours.served == theirs.served == 1.0
    assert ours.training_h == pytest.approx(theirs.training_h, rel=0.06)
    assert ours.wh_a_day < 0.58 * theirs.wh_a_day


def test_foresight_needs_no_more_than_the_rules_and_trains_no_less() -> None:
    pytest.importorskip("highspy")
    habits, crowd = Habits(), draw(Habits(), DAYS, 3)
    rules = ran(Rules(PI, AMPLE, habits), AMPLE)
    least = least_energy(PI, AMPLE, habits, RAINS, crowd, rules.training_h_a_day)
    most = most_training(PI, AMPLE, habits, RAINS, crowd, habits.training_h)
    assert 0.8 * rules.wh_a_day < least.wh_a_day <= rules.wh_a_day
    assert most.training_h_a_day == pytest.approx(habits.training_h, abs=1e-3)


def test_a_plan_holds_the_floor_softly_and_never_becomes_infeasible() -> None:
    pytest.importorskip("highspy")
    planner = Planner(PI, KIT, Habits(), 60.0)
    nothing = np.zeros(plan.SLOTS)
    for wh in (0.0, 5.0, 128.0):
        made = planner.plan(Ahead(wh, 21.0, nothing, 3.0, synced=False))
        assert made.train.sum() + made.train_low.sum() < 0.1 or wh == 128.0
    sunny = np.tile(np.maximum(0, np.sin((np.arange(48) - 12) / 24 * np.pi)) * 7, 2)
    made = planner.plan(Ahead(100.0, 0.0, sunny, 3.0, synced=False))
    assert PI.train_low_speed * made.train_low.sum() * 0.5 + made.train.sum() * 0.5 == pytest.approx(
        3.0, abs=0.1
    )
    assert made.contact[:48].sum() * 30 >= 19


def test_without_a_solver_the_rules_decide_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp, "has_solver", lambda: False)
    rules = Rules(PI, Kit(20.0, 128.0), Habits())
    planned = Planned(rules, Forecaster(None))
    now = Situation(0, 12.0, Charge(120.0), 10.0, 2.0, 0.0, "normal")
    control = planned.control(now)
    assert control[:-1] == rules.control(now)[:-1]
    assert str(control.reasons[-1]) == "no plan: the rules decide"


def test_a_plan_never_outvotes_the_floor() -> None:
    pytest.importorskip("highspy")
    rules = Rules(PI, KIT, Habits())
    planned = Planned(rules, Forecaster(None))
    control = planned.control(Situation(0, 12.0, Charge(rules.limits.floor - 5), 10.0, 2.0, 0.0, "normal"))
    assert control.mode == "emergency-only"


def test_rules_with_a_plan_miss_no_emergency_either() -> None:
    pytest.importorskip("highspy")
    habits = Habits()
    forecaster = Forecaster(RAINS.clear * KIT.panel_w * KIT.controller_efficiency)
    totals = ran(Planned(Rules(PI, KIT, habits), forecaster, every=72))
    assert (totals.missed, totals.late) == (0, 0)
    assert totals.contacts > DAYS / 2


def learnt(days: int = 20) -> Forecaster:
    watts = SKY.power * 20.0 * 0.95
    seen = Forecaster(SKY.clear * 20.0 * 0.95)
    for panel in watts[: days * STEPS_A_DAY].tolist():
        seen.saw(panel)
    return seen


def test_quantiles_of_the_forecast_are_in_order_and_near_what_came() -> None:
    seen = learnt()
    low, middle, high = seen.quantiles(96, 6, (0.1, 0.5, 0.9))
    assert (low <= middle + 1e-9).all()
    assert (middle <= high + 1e-9).all()
    came = (SKY.power[20 * STEPS_A_DAY : 22 * STEPS_A_DAY] * 19.0).sum() * STEP_H
    assert low.sum() * 0.6 < came < high.sum() * 1.6


def test_shade_at_the_same_hour_is_learnt() -> None:
    clear = SKY.clear * 19.0
    seen = Forecaster(clear)
    hour = (np.arange(len(clear)) % STEPS_A_DAY) // 12
    for panel in np.where(hour == 10, 0.2, 0.9)[: 15 * STEPS_A_DAY] * clear[: 15 * STEPS_A_DAY]:
        seen.saw(float(panel))
    by_hour = seen.quantiles(24, 12, (0.5,))[0]
    assert by_hour[10] < 0.4 * by_hour[11]


def test_without_a_place_the_panel_s_own_best_days_are_the_clear_sky() -> None:
    seen = Forecaster(None)
    for panel in (SKY.power[: 10 * STEPS_A_DAY] * 19.0).tolist():
        seen.saw(panel)
    day = seen.quantiles(24, 12, (0.5,))[0]
    assert day[0] == 0
    assert day[12] > 1


def test_a_dark_day_is_seen_from_eleven_o_clock_and_counted_when_it_is_over() -> None:
    seen = learnt()
    for panel in (SKY.clear[20 * STEPS_A_DAY : 22 * STEPS_A_DAY] * 19.0 * 0.05).tolist():
        seen.saw(panel)
    assert seen.dark_days() == (2, False)
    for panel in (SKY.clear[22 * STEPS_A_DAY : 22 * STEPS_A_DAY + 145] * 19.0 * 0.05).tolist():
        seen.saw(panel)
    assert seen.dark_days() == (2, True)


def test_the_look_ahead_names_the_hour_at_which_the_floor_is_reached() -> None:
    rules = Rules(PI, Kit(20.0, 128.0), Habits())
    dark = Forecaster(np.zeros(STEPS_A_DAY))
    ahead = look_ahead(rules, dark, Start(0.45, 0.0, 18.0), plan=False)
    hours = ahead.floor_reached_in_h()
    assert hours is not None
    assert alarms(ahead)[0].startswith("the battery will reach the floor at ")
    assert len(table(ahead)) == 96
    plenty = Kit(60.0, 128.0)
    bright = Forecaster(SKY.clear * plenty.panel_w * plenty.controller_efficiency)
    full = look_ahead(Rules(PI, plenty, Habits()), bright, Start(1.0, 0.0, 0.0), plan=False)
    assert alarms(full) == []
    assert full.surplus_wh > 100


def test_the_look_ahead_leaves_the_forecaster_as_it_was() -> None:
    seen = learnt()
    before = seen.quantiles(4, 6, (0.5,))
    look_ahead(Rules(PI, Kit(20.0, 128.0), Habits()), seen, Start(0.8, 0.0, 8.0))
    assert np.array_equal(before, seen.quantiles(4, 6, (0.5,)))


def test_expected_people_are_as_many_as_the_habits_say() -> None:
    people = expected(Habits(), 6.0, outlook.STEPS)
    assert int(people.emergency.sum()) == 4
    assert int((~people.emergency).sum()) == 80
    assert (np.diff(people.at_s) >= 0).all()


def test_a_resting_box_looks_by_its_own_clock_and_is_awake_when_the_post_opens() -> None:
    sunny = part(simulated_year(site("niamey"), 2025, 7), 0, 10)
    kit = Kit(40.0, 256.0)
    totals, trace = simulate(Rules(PI, kit, DAY), PI, kit, DAY, sunny, draw(DAY, 10, 3), keep=True)
    assert trace is not None
    assert 10 * 2 <= totals.looks <= 10 * 8
    assert all(trace.controls[day * STEPS_A_DAY + 8 * 12].awake for day in range(3, 10))
