"""A simulated programme: the same from the same seed, honest about being one, and better than waiting."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from akazuba.cli.federate import federate
from akazuba.diagnosis.network import Network
from akazuba.errors import InputError
from akazuba.federation.simulate import (
    METHODS,
    Method,
    Plan,
    bounds,
    final,
    reached,
    simulate,
)
from akazuba.federation.skies import Sky, Weather
from akazuba.federation.worlds import Drifting, heart

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
WORLD = Drifting(5, clinics=12, features=8)
PLAN = Plan(weather=Weather(days=6), buffer=4)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(federate, ["simulate", *arguments])


@pytest.mark.parametrize("method", METHODS)
def test_from_the_same_seed_comes_the_same_result(method: Method) -> None:
    one, other = (simulate(WORLD, PLAN, method, 3) for _ in range(2))
    assert one.points == other.points
    assert one.model.tobytes() == other.model.tobytes()
    assert simulate(WORLD, PLAN, method, 4).points != one.points


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method: Method) -> None:
    course = simulate(WORLD, replace(PLAN, weather=Weather(days=15)), method, 3)
    assert final(course.points) > 0.75 > course.points[0].accuracy


def test_waiting_for_stragglers_takes_three_times_as_long_as_a_buffer() -> None:
    plan, hours = Plan(weather=Weather(days=15)), {"ours": 0.0, "fedavg": 0.0}
    for seed in (7, 8, 9):
        world = Drifting(seed, clinics=30, features=8)
        goal = 0.95 * bounds(world, plan, seed).pooled
        for method in ("ours", "fedavg"):
            point = reached(simulate(world, plan, method, seed).points, goal)
            hours[method] += point.at_h if point else plan.weather.days * 24
    assert hours["fedavg"] > 3 * hours["ours"]


def test_the_half_life_falls_under_drift_and_grows_without() -> None:
    plan = Plan(weather=Weather(days=15), buffer=4)
    calm = simulate(Drifting(5, clinics=12), plan, "ours", 3).half_life_h
    drifting = simulate(Drifting(5, clinics=12, turn_days=30), plan, "ours", 3).half_life_h
    assert drifting < 96 < calm


def test_with_a_quarter_of_liars_a_robust_centre_keeps_what_the_mean_loses() -> None:
    plan = Plan(weather=Weather(days=10), buffer=20, liars=0.25, lie=10.0)
    world = Drifting(6, clinics=40, features=8)
    robust = final(simulate(world, replace(plan, robust="median"), "ours", 3).points)
    fedbuff = final(simulate(world, plan, "fedbuff", 3).points)
    assert robust > 0.85
    assert robust > fedbuff + 0.1


def test_no_clinic_spends_more_than_its_budget_and_more_epsilon_is_less_noise() -> None:
    plan = Plan(weather=Weather(days=6), buffer=6)
    courses = [simulate(WORLD, replace(plan, epsilon=epsilon), "ours", 3) for epsilon in (1.0, 8.0, 80.0)]
    for course, epsilon in zip(courses, (1.0, 8.0, 80.0), strict=True):
        assert 0 < course.epsilon_highest <= epsilon
    noise = [course.noise_multiplier for course in courses]
    assert noise == sorted(noise, reverse=True)


def test_terminals_are_on_by_day_only() -> None:
    sky = Sky(Weather(zones_h=0.0, outage=0.0), 3, 1)
    assert sky.next_on(0, 0.0) == 8 * 3600
    assert sky.next_on(0, 9 * 3600) == 9 * 3600
    assert sky.next_on(0, 18 * 3600) == (24 + 8) * 3600


def test_a_gradient_is_the_slope_of_the_loss() -> None:
    for hidden in (0, 5):
        network, random = Network(4, 3, hidden), np.random.default_rng(1)
        inputs = random.normal(size=(30, 4)).astype(np.float32)
        labels = random.integers(0, 3, 30)
        model = random.normal(0, 0.5, network.dimension).astype(np.float32)
        slope = network.gradient(model, inputs, np.eye(3, dtype=np.float32)[labels])
        for place in random.choice(network.dimension, 10):
            step = np.zeros(network.dimension, np.float32)
            step[place] = 1e-2
            up, down = (network.loss(model + sign * step, inputs, labels) for sign in (1, -1))
            assert slope[place] == pytest.approx((up - down) / 2e-2, abs=2e-3)


def test_more_in_a_buffer_than_there_are_clinics_is_refused() -> None:
    with pytest.raises(InputError, match="at most 12"):
        simulate(WORLD, replace(PLAN, buffer=13), "ours", 1)


@pytest.mark.skipif(
    not (DATA / "heart_disease_4site").is_dir(), reason="no ../shared/data/heart_disease_4site"
)
def test_four_hospitals_learn_from_one_another() -> None:
    world = heart(DATA, 3)
    plan = Plan(buffer=2, weather=Weather(days=20))
    course, best = simulate(world, plan, "ours", 3), bounds(world, plan, 3)
    assert best.pooled > best.local + 0.05
    assert final(course.points) > best.local + 0.05
    assert sum(map(len, world.train)) + sum(map(len, world.test)) == 645


def test_absent_data_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="heart disease table"):
        heart(tmp_path, 1)
    assert run("--world", "heart").exit_code == 2
    found = run("--world", "heart", "--data", str(tmp_path))
    assert found.exit_code == 2
    assert "error: " in found.output


def test_the_screen_says_that_it_is_simulated_and_json_holds_the_curves(tmp_path: Path) -> None:
    small = ["--clinics", "6", "--buffer", "3", "--days", "3", "--method", "ours", "--method", "fedbuff"]
    shown = run(*small)
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("SIMULATED")
    found = run(*small, "--json", "--epsilon", "5")
    facts = json.loads(found.output)
    assert facts["simulated"]
    assert set(facts["methods"]) == {"ours", "fedbuff"}
    assert 0 < facts["methods"]["ours"]["epsilon"] <= 5
    assert all(0 <= y <= 1 and math.isfinite(x) for x, y in facts["methods"]["ours"]["curve"])


def test_curves_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    small = ["--clinics", "6", "--buffer", "3", "--days", "3", "--method", "ours"]
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    for path in (one, other):
        assert run(*small, "--curves", str(path)).exit_code == 0
    assert "SIMULATED" in one.read_text(encoding="utf-8")
    assert one.read_bytes() == other.read_bytes()
    assert run(*small, "--curves", str(tmp_path / "curves.gif")).exit_code == 2
