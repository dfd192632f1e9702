"""Surplus for the federation: what the sun leaves, who may train, and traces that say when."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from akazuba.cli.energy import energy
from akazuba.cli.federate import federate
from akazuba.energy.demand import Habits
from akazuba.energy.devices import device
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.log import FILE, Line
from akazuba.energy.outlook import Outlook, look_ahead
from akazuba.energy.post import Post
from akazuba.energy.rules import Rules
from akazuba.energy.runs import Start
from akazuba.energy.surplus import Surplus, may_train, surplus, training_wh
from akazuba.energy.today import IN_USE, clear_from, training_allowed
from akazuba.energy.values import Charge, Situation
from akazuba.errors import InputError
from akazuba.federation.skies import DAY_S, HOUR_S, Sky, Weather, read_trace
from akazuba.web import energy_screen

PI, KIT = device("pi5"), Kit(20.0, 128.0)
RULES = Rules(PI, KIT, Habits(training_h=0.0))
SUNNY = "simulated:soc=0.95,volts=13.5,panel_w=14,load_w=4"
MORNING = 1_790_000_000.0 // DAY_S * DAY_S + 8 * HOUR_S
"""10 h in Kigali."""


class Steady:
    """A forecast of the same watts by day."""

    def __init__(self, watts: float) -> None:
        self.watts = watts

    def quantiles(self, slots: int, steps: int, levels: tuple[float, ...]) -> np.ndarray:
        day = (np.arange(slots * steps) % STEPS_A_DAY >= 72) & (np.arange(slots * steps) % STEPS_A_DAY < 216)
        wh = np.where(day, self.watts, 0.0).reshape(slots, steps).sum(1) / 12
        return np.broadcast_to(wh, (len(levels), slots))


def ahead(watts: float, soc: float = 0.6) -> Outlook:
    return look_ahead(RULES, Steady(watts), Start(soc), plan=False)  # type: ignore[arg-type]


@given(watts=st.floats(0, 60), soc=st.floats(0.05, 1.0))
def test_what_is_over_is_the_panel_less_the_load_less_what_the_battery_took(watts: float, soc: float) -> None:
    found = ahead(watts, soc)
    over = surplus(found, KIT, 0.0, 48.0)
    assert 0 <= over.p25_wh <= found.totals.panel_wh
    assert over.p25_wh == pytest.approx(found.totals.unused_wh, abs=0.2 + watts / 12)
    assert (over.from_s, over.until_s) == (0.0, 2 * DAY_S)
    assert surplus(found, KIT, 0.0, 24.0).p25_wh <= over.p25_wh


def test_more_sun_leaves_more() -> None:
    found = [surplus(ahead(watts), KIT, 0.0).p25_wh for watts in (2.0, 8.0, 12.0, 20.0)]
    assert found[0] == 0.0
    assert found == sorted(found)
    assert found[-1] > found[-2] > 0


def situation(wh: float | None) -> Situation:
    return Situation(0, 12.5, Charge(wh), 12.0, 3.0, 20.0, "normal")


def test_training_takes_no_more_than_would_be_lost_and_never_against_the_rules() -> None:
    spare = Surplus(10.0, 0.0, DAY_S)
    sunny, low = RULES.control(situation(120.0)), RULES.control(situation(RULES.limits.floor - 5))
    assert may_train(sunny, spare, 9.0).allowed
    assert may_train(sunny, spare, 11.0).because == "training waits: it takes 11.0 Wh, the sun leaves 10.0 Wh"
    assert not may_train(sunny, None, 0.1).allowed
    refused = may_train(low, replace(spare, p25_wh=1e6), 0.1)
    assert (refused.allowed, refused.because) == (False, "training waits: 5 Wh to the floor")
    blind = may_train(RULES.control(situation(None)), None, 0.1)
    assert not blind.allowed
    assert "charge unknown" in blind.because


def test_training_takes_what_the_board_draws_above_waiting() -> None:
    assert training_wh(PI, 2.0) == pytest.approx(2 * (9.7 - 2.8) / 0.9)


def sunny_month(home: Path, share: float) -> None:
    """A log of ten days on which the panel gave that share of a clear day, until MORNING."""
    post = Post(source=SUNNY)
    first = MORNING - 10 * DAY_S
    clear = clear_from(post, first)
    lines = []
    for at in np.arange(first, MORNING, 600.0):
        step = int((at / HOUR_S + 2) % 24 * 12) + int((at - first + 10 * HOUR_S) // DAY_S) * STEPS_A_DAY
        lines.append(Line(float(at), 0.9, 13.3, float(share * clear[step % len(clear)]), 1.0))
    home.mkdir(exist_ok=True)
    (home / "energy.json").write_bytes(msgspec.json.encode(post))
    (home / FILE).write_bytes(b"\n".join(map(msgspec.json.encode, lines)) + b"\n")


def test_a_box_after_sunny_days_may_train_and_after_cloudy_ones_may_not(tmp_path: Path) -> None:
    sunny_month(tmp_path, 0.95)
    found = training_allowed(tmp_path, MORNING, 0.05)
    assert found.allowed, found
    assert found.surplus is not None
    assert found.surplus.p25_wh > 5
    assert found.surplus.until_s - found.surplus.from_s == DAY_S
    assert not training_allowed(tmp_path, MORNING, 24.0).allowed
    sunny_month(tmp_path, 0.3)
    cloudy = training_allowed(tmp_path, MORNING, 0.05)
    assert not cloudy.allowed
    assert cloudy.because.startswith("training waits: it takes 0.4 Wh")


def test_a_box_without_energy_settings_is_on_mains_and_broken_settings_are_refused(tmp_path: Path) -> None:
    assert training_allowed(tmp_path, MORNING, 1.0).because == "no energy.json: taken for mains power"
    (tmp_path / "energy.json").write_text('{"panel": 1}')
    with pytest.raises(InputError, match="energy settings"):
        training_allowed(tmp_path, MORNING, 1.0)


def test_a_box_whose_clock_is_lost_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "energy.json").write_bytes(msgspec.json.encode(Post(source=SUNNY)))
    found = training_allowed(tmp_path, 42.0, 0.05)
    assert not found.allowed
    assert found.because.startswith("training waits")


def test_plan_and_status_tell_the_surplus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path))
    for command in ("plan", "status"):
        said = json.loads(CliRunner().invoke(energy, [command, "--source", SUNNY, "--json"]).output)
        assert said["to_train_on"]["until_s"] - said["to_train_on"]["from_s"] == DAY_S
    unknown = json.loads(CliRunner().invoke(energy, ["plan", "--source", "simulated:", "--json"]).output)
    assert unknown["to_train_on"] is None


def test_the_page_and_the_box_mean_the_same_mark_of_use() -> None:
    assert energy_screen.IN_USE == IN_USE


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "kigali.csv"
    done = CliRunner().invoke(energy, ["simulate", "--days", "12", "--no-plan", "--trace", str(path)])
    assert done.exit_code == 0, done.output
    return path


def test_a_box_s_trace_says_when_a_simulated_terminal_trains_and_sends(trace: Path) -> None:
    hours = read_trace(trace)
    assert len(hours.trains) == 12 * 288
    assert 0 < hours.sends.mean() < hours.trains.mean() < 1
    sky = Sky(Weather(), 3, 1, [hours])
    for clinic in range(3):
        at = sky.next_on(clinic, 2 * DAY_S)
        assert sky.is_on(clinic, at)
        first = sky._first_s[clinic]
        assert hours.trains[int((at + first) // 300) % len(hours.trains)]
        arrives, following = sky.work(clinic, 0, at)
        assert at < arrives
        assert hours.sends[int((arrives + first) // 300) % len(hours.sends)]
        assert sky.is_on(clinic, following)
    assert 0 < sky.most_h_a_day < 24


@pytest.mark.parametrize(
    "text",
    ["", "step,mode\n0,normal\n", "training,radio\nlots,off\n", "training,radio\n1.00,connected\n"],
    ids=["empty", "other-columns", "no-number", "no-whole-day"],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="whole days of a trace"):
        read_trace(path)
    with pytest.raises(InputError, match="whole days of a trace"):
        read_trace(tmp_path / "none.csv")


def test_a_trace_of_a_box_that_never_trains_is_refused(trace: Path, tmp_path: Path) -> None:
    lazy = tmp_path / "lazy.csv"
    rows = trace.read_text().splitlines()
    kept = [rows[0], *(",".join([*row.split(",")[:5], "0.00", *row.split(",")[6:]]) for row in rows[1:])]
    lazy.write_text("\n".join(kept))
    with pytest.raises(InputError, match="0 with training"):
        read_trace(lazy)


def test_a_programme_runs_by_traces_and_says_so(trace: Path) -> None:
    words = ["simulate", "--clinics", "6", "--buffer", "3", "--days", "6", "--method", "ours"]
    done = CliRunner().invoke(federate, [*words, "--trace", str(trace)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("SIMULATED")
    assert "terminals train and send by kigali.csv" in done.stdout
