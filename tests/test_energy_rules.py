"""What the rules allow, and that nothing they are told makes them refuse an emergency."""

import pytest
from hypothesis import given, strategies as st

from akazuba.energy.demand import Habits
from akazuba.energy.devices import device, devices
from akazuba.energy.kit import Kit
from akazuba.energy.rules import Rules, Tuning, reserve_wh
from akazuba.energy.values import TEXTS, Charge, Situation

KIT = Kit(20.0, 128.0)
RULES = Rules(device("pi5"), KIT, Habits())
FLOOR = RULES.limits.floor


def at(wh: float | None, hour: float | None = 12.5, **other: object) -> Situation:
    now = Situation(0, hour, Charge(wh), 12.0, 3.0, 0.0, "normal")
    return now._replace(**other)  # type: ignore[arg-type]


@given(
    name=st.sampled_from(sorted(devices())),
    wh=st.none() | st.floats(-10, 1e6),
    hour=st.none() | st.floats(0, 23.99),
    panel=st.none() | st.floats(-5, 500),
    backlog=st.floats(0, 1e9),
    before=st.sampled_from(["normal", "saving", "emergency-only", "blind"]),
    dark=st.integers(0, 30),
    dark_today=st.booleans(),
    opens=st.sampled_from([(8.0, 17.0), (0.0, 24.0)]),
)
def test_whatever_is_known_the_button_works_and_an_emergency_goes_first(
    name: str,
    wh: float | None,
    hour: float | None,
    panel: float | None,
    backlog: float,
    before: str,
    dark: int,
    dark_today: bool,
    opens: tuple[float, float],
) -> None:
    rules = Rules(device(name), KIT, Habits(*opens))
    control = rules.control(at(wh, hour, panel_w=panel, backlog_h=backlog, before=before, dark_days=dark))
    assert control.button
    assert control.preempt
    assert control.reasons
    assert all(str(reason) for reason in control.reasons)
    assert 0 <= control.train + control.train_low <= 1
    if wh is None or wh < rules.limits.floor:
        assert control.train == control.train_low == 0
        assert control.tier == "student"
    if control.train or control.train_low:
        assert control.awake


def test_below_the_floor_only_emergencies_are_served_and_the_reason_says_how_much_is_missing() -> None:
    control = RULES.control(at(FLOOR - 41))
    assert control.mode == "emergency-only"
    assert not control.routine
    assert "training waits: 41 Wh to the floor" in [str(reason) for reason in control.reasons]


def test_between_floor_and_saving_the_box_sleeps_between_patients_and_does_not_train() -> None:
    control = RULES.control(at(FLOOR + 1))
    assert (control.mode, control.awake, control.routine) == ("saving", False, True)
    assert control.train_low == 0


def test_with_charge_and_sun_an_open_post_is_awake_and_trains_at_the_low_clock() -> None:
    control = RULES.control(at(120.0))
    assert (control.mode, control.awake, control.train_low) == ("normal", True, 1.0)
    assert control.radio == "connected"


def test_a_mode_is_left_later_than_it_was_entered() -> None:
    just_above = FLOOR + 1.0
    assert RULES.control(at(just_above)).mode == "saving"
    assert RULES.control(at(just_above, before="emergency-only")).mode == "emergency-only"


def test_at_night_the_panel_gives_nothing_and_training_waits_for_sun() -> None:
    control = RULES.control(at(125.0, 12.0, panel_w=0.0))
    assert control.train_low == 0
    assert any("waits for sun" in str(reason) for reason in control.reasons)


def test_without_a_clock_the_panel_tells_day_from_night() -> None:
    day, night = RULES.control(at(120.0, None)), RULES.control(at(120.0, None, panel_w=0.0))
    assert day.awake
    assert not night.awake
    assert any("clock unknown" in str(reason) for reason in day.reasons)


def test_with_an_unknown_charge_it_is_awake_only_while_the_panel_carries_it() -> None:
    assert RULES.control(at(None, panel_w=15.0)).awake
    dark = RULES.control(at(None, panel_w=0.0))
    assert (dark.mode, dark.awake, dark.routine) == ("blind", False, True)


def test_after_dark_days_the_floor_is_higher() -> None:
    wh = FLOOR + 20
    assert RULES.control(at(wh)).mode == "saving"
    assert RULES.control(at(wh, dark_days=1)).mode == "emergency-only"


def test_around_the_clock_it_stays_awake_at_night_only_with_enough_until_sunrise() -> None:
    rules = Rules(device("pi5"), Kit(40.0, 256.0), Habits(0.0, 24.0))
    assert rules.control(at(250.0, 20.0, panel_w=0.0)).awake
    assert not rules.control(at(150.0, 20.0, panel_w=0.0)).awake


def test_the_floor_grows_with_the_days_it_must_last_and_fits_the_battery() -> None:
    pi = device("pi5")
    reserves = [reserve_wh(pi, Habits(), days) for days in (1.0, 3.0, 9.0)]
    assert reserves == sorted(reserves)
    tiny = Rules(pi, Kit(20.0, 30.0), Habits())
    assert tiny.limits.floor <= 0.6 * 30.0


def test_training_outside_opening_hours_needs_a_nearly_full_battery() -> None:
    rules = Rules(device("pi5"), KIT, Habits(), Tuning(train_closed=0.9))
    assert rules.control(at(0.8 * 128, 7.0)).train_low == 0
    assert rules.control(at(0.95 * 128, 7.0)).train_low == 1


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_every_reason_has_a_sentence(code: str) -> None:
    assert TEXTS[code].format(1.0)
