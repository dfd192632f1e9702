"""`akazuba energy`: what it prints, what it refuses, and that what is simulated says so."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from akazuba.cli.energy import energy

SOURCE = "simulated:soc=0.8,volts=13.2,panel_w=12,load_w=4"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(energy, list(words))


def test_a_simulated_month_is_labelled_and_has_every_policy(tmp_path: Path) -> None:
    plot, trace = tmp_path / "year.svg", tmp_path / "trace.csv"
    done = run(
        "simulate", "--days", "20", "--site", "freetown", "--json", "--plot", str(plot), "--trace", str(trace)
    )
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert facts["simulated"] is True
    assert facts["metered"] is False
    names = [row["policy"] for row in facts["policies"]]
    assert names[0].startswith("A ")
    assert names[1].startswith("A1 ")
    assert names[2].startswith("B ")
    assert names[3] == "rules"
    assert facts["energy_vs_a1"] < 0.6
    assert "SIMULATED" in plot.read_text()
    assert len(trace.read_text().splitlines()) == 20 * 288 + 1
    rules = facts["policies"][3]
    assert rules["missed"] == 0
    if facts["perfect_foresight"]:
        assert names[4] == "rules and plan"
        assert facts["perfect_foresight"]["least_energy"]["wh_a_day"] <= rules["wh_a_day"]


def test_the_screen_says_simulated_and_not_metered() -> None:
    done = run("simulate", "--days", "7", "--no-plan", "--fault", "gauge-high")
    assert done.exit_code == 0
    assert done.output.startswith("SIMULATED: pi5")
    assert "not metered on hardware" in done.output
    assert "no perfect foresight: not asked for" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simulate", "--site", "atlantis"], "error: site: expected"),
        (["simulate", "--device", "pi9"], "error: device: expected"),
        (["simulate", "--fault", "meteor"], "error: --fault: expected"),
        (["simulate", "--panel-w", "-5"], "error: kit.panel_w: expected"),
        (["simulate", "--hours", "late"], "error: opening hours: expected"),
        (["simulate", "--plot", "/no/such/folder/x.svg"], "error: --plot: expected"),
        (["simulate", "--weather", "/no/such/file.csv"], "a PVGIS or NASA POWER CSV"),
        (["plan", "--source", "modbus"], "error: --source: expected"),
        (["meter", "/no/such/file.csv"], "a meter's CSV"),
        (["install-units", "--into", "/no/such/folder"], "error: --into: expected"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(words: list[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_plan_has_96_half_hours_with_reasons(tmp_path: Path) -> None:
    svg = tmp_path / "plan.svg"
    facts = json.loads(run("plan", "--source", SOURCE, "--json", "--svg", str(svg)).output)
    assert facts["simulated"] is True
    assert len(facts["half_hours"]) == 96
    assert all(row["because"] for row in facts["half_hours"])
    assert "not metered" in svg.read_text()
    assert "surplus of the two days" in run("plan", "--source", SOURCE, "--no-plan").output


def test_status_says_what_it_would_do_and_does_nothing_unasked(home: Path) -> None:
    facts = json.loads(run("status", "--source", SOURCE, "--json").output)
    assert facts["applied"] is False
    assert facts["reasons"]
    assert not home.exists()


def test_status_with_log_remembers_and_the_next_reads_it(home: Path) -> None:
    for _ in range(2):
        assert run("status", "--source", SOURCE, "--log").exit_code == 0
    assert len((home / "energy.ndjson").read_text().splitlines()) == 2


def test_an_absurd_gauge_is_named_and_the_rules_go_on() -> None:
    done = run("status", "--source", "simulated:soc=1.4,volts=12.9")
    assert "not believed: gauge reads 140%" in done.output
    assert "emergencies only" in done.output


def test_a_machine_on_which_no_sensor_was_ever_seen_is_not_put_to_rest() -> None:
    facts = json.loads(run("status", "--source", "simulated:", "--json").output)
    assert facts["mode"] == "blind"
    assert any("not put to rest" in text for text in facts["problems"])
    assert not any("poweroff" in deed or "suspend" in deed for deed in facts["deeds"])


def test_the_meter_s_protocol_is_printed_and_its_file_stands_beside_the_model(tmp_path: Path) -> None:
    assert "Meter one box in a day" in run("meter").output
    day = tmp_path / "day.csv"
    day.write_text("time,w\n" + "\n".join(f"{s},3.5" for s in range(0, 7200, 10)))
    facts = json.loads(run("meter", str(day), "--json").output)
    assert facts["kwh_a_day"] == pytest.approx(0.084)
    assert "not metered" in facts["model"]


def test_the_units_are_printed_or_written(tmp_path: Path) -> None:
    printed = run("install-units").output
    assert run("install-units", "--into", str(tmp_path)).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert "akazuba-energy.timer" in names
    assert all(f"# {name}" in printed for name in names)
    assert "energy status --log --apply" in (tmp_path / "akazuba-energy.service").read_text()


def test_a_box_that_a_button_just_woke_is_not_put_to_rest_until_the_next_look(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("akazuba.energy.today.alarm_pending", lambda *_: True)
    low = "simulated:soc=0.2,volts=12.7,panel_w=0,load_w=4"
    first = json.loads(run("status", "--source", low, "--log", "--json").output)
    assert first["mode"] == "emergency-only"
    assert not any("poweroff" in deed for deed in first["deeds"])
    second = json.loads(run("status", "--source", low, "--json").output)
    assert second["deeds"][-1] in ("run systemctl poweroff", "run systemctl suspend")
    (home / "in-use").touch()
    third = json.loads(run("status", "--source", low, "--json").output)
    assert not any("poweroff" in deed for deed in third["deeds"])
