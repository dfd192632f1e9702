"""The real box: sensors, deeds, log, meter and cascade, on files that look like a machine's."""

import os
import tty
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from akazuba.energy import vedirect
from akazuba.energy.actuator import Command, Machine, Write, alarm_pending, apply, can_suspend, deeds
from akazuba.energy.cascade import Case, cheapest, choose, cost_wh, curve
from akazuba.energy.demand import Habits
from akazuba.energy.devices import device
from akazuba.energy.kit import Kit
from akazuba.energy.log import Line, add_line, known, read_log
from akazuba.energy.meter import read_meter
from akazuba.energy.post import opening_hours, read_post
from akazuba.energy.rules import Rules
from akazuba.energy.sensors import (
    All,
    Hwmon,
    PiPmic,
    PowerSupply,
    Simulated,
    Tegrastats,
    VeDirect,
    run_command,
    source_for,
)
from akazuba.energy.values import Charge, Reading, Situation
from akazuba.errors import InputError

PI = device("pi5")
RULES = Rules(PI, Kit(20.0, 128.0), Habits())
TRAINING = RULES.control(Situation(0, 12.5, Charge(120.0), 12.0, 3.0, 20.0, "normal"))
RESTING = RULES.control(Situation(0, 23.0, Charge(120.0), 0.0, 0.0, 20.0, "normal"))


def block(*lines: str) -> bytes:
    body = "".join(f"\r\n{line}" for line in lines).encode() + b"\r\nChecksum\t"
    return body + bytes([-sum(body) % 256])


MPPT = block("PID\t0xA053", "V\t13120", "I\t1500", "PPV\t23", "CS\t3", "IL\t400")


def test_a_charge_controller_s_block_is_read() -> None:
    said = vedirect.reading(vedirect.read_block(MPPT))
    assert said.volts == pytest.approx(13.12)
    assert said.panel_w == 23.0
    assert said.load_w == pytest.approx(0.4 * 13.12)


@given(at=st.integers(0, len(MPPT) - 1), turn=st.integers(1, 255))
def test_a_block_of_which_one_byte_is_altered_is_refused(at: int, turn: int) -> None:
    altered = bytearray(MPPT)
    altered[at] ^= turn
    with pytest.raises(InputError):
        vedirect.read_block(bytes(altered))


@given(junk=st.binary(max_size=200), cut=st.integers(0, len(MPPT)))
def test_whole_blocks_are_found_in_a_torn_stream(junk: bytes, cut: int) -> None:
    quiet = junk.replace(b"\r", b" ").replace(b":", b" ")
    found = list(vedirect.blocks(quiet + MPPT + MPPT[:cut]))
    assert found[0]["PPV"] == "23"


def test_hex_messages_between_blocks_are_dropped() -> None:
    assert [values["V"] for values in vedirect.blocks(MPPT + b":A0102000543\n" + MPPT)] == ["13120"] * 2


def test_the_load_of_a_controller_without_load_output_is_what_is_missing() -> None:
    said = vedirect.reading(vedirect.read_block(block("PID\t1", "V\t13000", "I\t1000", "PPV\t20")))
    assert said.load_w == pytest.approx(7.0)


def test_a_serial_line_is_read_and_one_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    line = tmp_path / "ttyUSB0"
    line.write_bytes(b"torn\r\n" + MPPT * 3)
    assert VeDirect(line).read().panel_w == 23.0
    assert VeDirect(tmp_path / "none").read() == Reading()


def test_a_real_serial_line_is_set_up_and_read() -> None:
    controller, line = os.openpty()
    try:
        path = Path(os.ttyname(line))
        tty.setraw(line)
        os.write(controller, MPPT * 3)
        assert VeDirect(path).read().panel_w == 23.0
    finally:
        os.close(controller)
        os.close(line)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_kernel_s_power_monitors_are_read_by_label(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/hwmon/hwmon0/name", "ina3221\n")
    for number, label, level, current in (
        (1, "PANEL", 18000, 700),
        (2, "LOAD", 13100, 400),
        (3, "CH3", 13100, 0),
    ):
        put(tmp_path, f"sys/class/hwmon/hwmon0/in{number}_label", label)
        put(tmp_path, f"sys/class/hwmon/hwmon0/in{number}_input", str(level))
        put(tmp_path, f"sys/class/hwmon/hwmon0/curr{number}_input", str(current))
    said = Hwmon(tmp_path, {"CH3": "battery", "PANEL": "panel", "LOAD": "load"}).read()
    assert (said.soc, said.volts) == (None, 13.1)
    assert said.panel_w == pytest.approx(12.6)
    assert said.load_w == pytest.approx(5.24)


def test_a_battery_of_the_kernel_is_read_and_a_broken_file_is_none(tmp_path: Path) -> None:
    folder = "sys/class/power_supply/BAT0/"
    for name, text in (
        ("type", "Battery"),
        ("capacity", "61"),
        ("voltage_now", "13050000"),
        ("status", "Discharging"),
    ):
        put(tmp_path, folder + name, text)
    put(tmp_path, folder + "power_now", "what")
    said = PowerSupply(tmp_path).read()
    assert said.soc == pytest.approx(0.61)
    assert said.volts == pytest.approx(13.05)
    assert (said.panel_w, said.load_w) == (None, None)
    assert PowerSupply(tmp_path / "nowhere").read() == Reading()


def test_a_pi_and_a_jetson_tell_their_load_and_silence_is_none() -> None:
    rails = "VDD_CORE_A current(7)=2.0A\nVDD_CORE_V volt(15)=0.9V\n"
    rails += "3V3_SYS_A current(1)=0.1A\n3V3_SYS_V volt(9)=3.3V"
    assert PiPmic(lambda _: rails).read().load_w == pytest.approx(1.1451 * (1.8 + 0.33) + 0.5879)
    assert PiPmic(lambda _: "").read() == Reading()
    assert Tegrastats(lambda _: "VDD_IN 4560mW/4500mW\nVDD_IN 5000mW/4600mW").read().load_w == 5.0
    assert run_command(["no-such-program-here"]) == ""


def test_of_several_sources_each_figure_is_the_first_that_has_it() -> None:
    both = All((Simulated(Reading(volts=13.0)), Simulated(Reading(0.5, 12.0, 3.0))))
    assert both.read() == Reading(0.5, 13.0, 3.0, None)


@pytest.mark.parametrize(
    "text", ["modbus", "ve.direct:", "simulated:charge=1", "simulated:soc=full", "hwmon:x"]
)
def test_an_unknown_source_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--source"):
        source_for(text)


def machine(root: Path, states: str = "freeze mem") -> Machine:
    put(root, "sys/class/backlight/panel/max_brightness", "200")
    put(root, "sys/class/backlight/panel/brightness", "200")
    put(root, "sys/class/backlight/panel/bl_power", "0")
    put(root, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "schedutil")
    put(root, "sys/class/rtc/rtc0/wakealarm", "")
    put(root, "sys/power/state", states)
    return Machine(root)


def test_training_at_the_low_clock_is_started_and_the_box_stays_awake(tmp_path: Path) -> None:
    wanted = [str(deed) for deed in deeds(TRAINING, machine(tmp_path), in_use=True)]
    assert any("write powersave to" in deed for deed in wanted)
    assert any("write 80 to" in deed for deed in wanted)
    assert "run systemctl start akazuba-training.service" in wanted
    assert not any("suspend" in deed or "poweroff" in deed for deed in wanted)


def test_rest_comes_last_with_a_wake_alarm_and_never_while_somebody_is_served(tmp_path: Path) -> None:
    wanted = deeds(RESTING, machine(tmp_path), in_use=False)
    assert wanted[-1] == Command(("systemctl", "poweroff"))
    assert isinstance(wanted[-2], Write)
    assert wanted[-2].text == "+3600"
    busy = deeds(RESTING, machine(tmp_path), in_use=True)
    assert not any("poweroff" in str(deed) or "suspend" in str(deed) for deed in busy)


def test_a_machine_that_cannot_suspend_is_halted(tmp_path: Path) -> None:
    sleeping = RESTING._replace(rest="sleep")
    assert str(deeds(sleeping, machine(tmp_path), in_use=False)[-1]) == "run systemctl suspend"
    pi = machine(tmp_path, states="")
    assert not can_suspend(pi)
    assert str(deeds(sleeping, pi, in_use=False)[-1]) == "run systemctl poweroff"


def test_what_is_done_is_written_and_what_fails_is_said_and_stops_nothing(tmp_path: Path) -> None:
    target = tmp_path / "brightness"
    done = apply(
        (Write(tmp_path / "no" / "file", "1"), Command(("no-such-program-here",)), Write(target, "7"))
    )
    assert [bool(each.failed) for each in done] == [True, True, False]
    assert target.read_text() == "7"


NOON = 1_790_000_000.0 - 1_790_000_000.0 % 86400 + 10 * 3600


def a_day(start: float = NOON) -> list[Line]:
    return [Line(start + 600 * n, 0.8 - 0.001 * n, 13.32, 5.0, 6.0) for n in range(20)]


def test_the_log_is_kept_and_what_it_tells_is_told_anew(tmp_path: Path) -> None:
    path = tmp_path / "energy.ndjson"
    for line in a_day():
        add_line(path, read_log(path), line)
    lines = read_log(path)
    assert lines == a_day()
    with path.open("ab") as file:
        file.write(b'{"at": "torn')
    assert read_log(path) == a_day()
    found = known(lines[:-1], lines[-1], RULES.kit, 2.0, np.full(288, 10.0))
    assert found.situation.hour == pytest.approx(12 + 19 / 6)
    assert found.situation.charge.wh == pytest.approx((0.8 - 0.019) * 128, rel=0.02)
    assert found.clock == ""


def test_a_clock_of_1970_and_one_set_back_give_no_hour_and_the_box_goes_on() -> None:
    lost = Line(42.0, 0.8, 13.2, 5.0, 6.0)
    found = known(a_day(), lost, RULES.kit, 2.0, None)
    assert found.situation.hour is None
    assert found.clock == "the clock says 1970"
    assert RULES.control(found.situation).button
    back = known(a_day(), Line(NOON - 9 * 86400, 0.8, 13.2, 5.0, 6.0), RULES.kit, 2.0, None)
    assert back.clock == "the clock was set back"
    assert known([], lost, RULES.kit, 2.0, None).situation.charge.wh is not None


def test_a_post_s_settings_are_read_and_a_misspelt_one_is_refused(tmp_path: Path) -> None:
    assert read_post(tmp_path).device == "pi5"
    (tmp_path / "energy.json").write_text('{"device": "n100", "panel_w": 60, "hours": "0-24"}')
    assert read_post(tmp_path).habits().around_the_clock
    (tmp_path / "energy.json").write_text('{"panel": 60}')
    with pytest.raises(InputError, match="the post's energy settings"):
        read_post(tmp_path)
    with pytest.raises(InputError, match="opening hours"):
        opening_hours("early")


def test_a_meter_s_day_is_summed_and_gaps_are_told(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    rows = [
        f"2026-03-01T{h:02d}:{m:02d}:00,{4.0 if h < 2 else 2.0}"
        for h in range(4)
        for m in range(60)
        if (h, m) < (3, 30)
    ]
    kept = [row for row in rows if not "T01:10" <= row[10:16] < "T01:30"]
    path.write_text("time,w\n" + "\n".join(kept))
    found = read_meter(path)
    assert found.gaps_h == pytest.approx(21 / 60)
    assert found.wh == pytest.approx(4 * (2 - 21 / 60) + 2 * 1.5, abs=0.1)
    assert found.kwh_a_day == pytest.approx(found.mean_w * 0.024)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns time and w"),
        ("time,w\n0,3\n", "at least an hour"),
        ("time,w\n0,3\n0,3\n", "a later time"),
        ("time,w\n0,lots\n", "a number, found 'lots'"),
        ("time,w\nnoon,3\n", "seconds or a time"),
        ("time,w\n0,-3\n", "0 to 10,000 W"),
        ("time,v\n0,3\n", "columns time and w"),
    ],
)
def test_a_meter_s_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "day.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_meter(path)


def test_volts_and_amperes_do_as_well(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("Time,V,A\n" + "\n".join(f"{s},5.0,0.5" for s in range(0, 3700, 10)))
    assert read_meter(path).mean_w == pytest.approx(2.5)


def test_the_larger_model_is_asked_only_when_the_student_is_unsure_and_energy_allows() -> None:
    short = RULES.control(Situation(0, 12.0, Charge(RULES.limits.floor + 1), 5.0, 0.0, 0.0, "normal"))
    assert choose(0.01, None, TRAINING, PI, emergency=False).step == "rules"
    assert choose(0.5, 0.1, TRAINING, PI, emergency=False).step == "student"
    assert choose(0.5, 0.9, TRAINING, PI, emergency=False).step == "larger"
    tight = choose(0.5, 0.9, short, PI, emergency=False)
    assert tight.step == "student"
    assert "energy is short" in tight.because


@given(doubt=st.floats(0, 1), student=st.none() | st.floats(0, 1))
def test_an_emergency_bypasses_the_cascade(doubt: float, student: float | None) -> None:
    assert choose(doubt, student, RESTING._replace(tier="student"), PI, emergency=True).step == "student"


def test_a_doubt_that_is_none_is_refused_and_the_curve_pays_more_for_more_larger_answers() -> None:
    with pytest.raises(InputError, match="doubt: expected 0 to 1"):
        choose(1.5, None, TRAINING, PI, emergency=False)
    cases = [
        Case(0.1, student_right=True, larger_right=True),
        Case(0.8, student_right=False, larger_right=True),
    ]
    student, larger = cost_wh(PI, "student"), cost_wh(PI, "larger")
    points = curve(cases, student, larger)
    assert (points[0].asked, points[0].accuracy) == (1.0, 1.0)
    assert points[0].wh == pytest.approx(larger)
    assert (points[-1].asked, points[-1].accuracy) == (0.0, 0.5)
    assert points[-1].wh == pytest.approx(student)
    best = cheapest(points, points[0].accuracy)
    assert best is not None
    assert best.asked == 0.5
    assert best.wh == pytest.approx((student + larger) / 2)
    assert cheapest(points, 1.1) is None
    assert curve([], student, larger) == []


def test_a_pending_alarm_tells_that_a_button_woke_the_box(tmp_path: Path) -> None:
    box = machine(tmp_path)
    assert alarm_pending(box, 1000.0) is False
    put(tmp_path, "sys/class/rtc/rtc0/wakealarm", "4600\n")
    assert alarm_pending(box, 1000.0) is True
    assert alarm_pending(box, 5000.0) is False
    assert alarm_pending(Machine(tmp_path / "none"), 0.0) is None
