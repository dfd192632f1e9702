"""`akazuba energy`: the plan for two days, what to do now, a simulated year, and how to meter a box."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from akazuba.cli.shared import FAILED, errors_shown, show
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.energy.compare import Comparison
    from akazuba.energy.outlook import Outlook
    from akazuba.energy.post import Post
    from akazuba.energy.today import Today
    from akazuba.energy.weather import Weather

Command = TypeVar("Command", bound=Callable[..., Any])


def _post_options(command: Command) -> Command:
    """Each overrides the field of `energy.json` in the data folder."""
    for option in (
        click.option("--site", help="Place, an id of the table that a wrong one lists."),
        click.option("--device", help="Board: pi5, orin-nano or n100."),
        click.option("--panel-w", type=float, help="Rated watts of the panel."),
        click.option("--battery-wh", type=float, help="Rated watt-hours of the battery."),
        click.option("--hours", help="Opening hours, such as 8-17; 0-24 never closes."),
    ):
        command = option(command)
    return command


@click.group()
def energy() -> None:
    """The sun decides when to think hard, never whether to help.

    Example: akazuba energy plan
    """


def _post(**given: Any) -> Post:
    """The post's settings with what the command line says; checked by building all that stands on them."""
    import msgspec

    from akazuba.energy.post import read_post
    from akazuba.settings import from_environ

    post = msgspec.structs.replace(
        read_post(from_environ().home), **{name: value for name, value in given.items() if value is not None}
    )
    post.where(), post.board(), post.kit(), post.habits()
    return post


@energy.command()
@_post_options
@click.option("--year", type=click.IntRange(2001, 2099), default=2025, show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of weather and people."
)
@click.option("--days", type=click.IntRange(7, 366), help="Only the first days of the year.")
@click.option("--weather", type=click.Path(path_type=Path), help="A real year: CSV of PVGIS or NASA POWER.")
@click.option("--fault", default="none", show_default=True, help="What goes wrong; a wrong name lists them.")
@click.option("--plan/--no-plan", default=True, help="Also the linear programmes (slower), or rules alone.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write the rules' load and charge here (CSV).")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the rules' year into this file (SVG).")
@click.option("--json", "as_json", is_flag=True)
def simulate(
    year: int,
    seed: int,
    days: int | None,
    weather: Path | None,
    fault: str,
    plan: bool,
    trace: Path | None,
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """SIMULATE a year of a solar-powered box: its rules and plan, boxes without, and perfect foresight.

    Energies are compared with a kit that never runs out, where all give the same service; what happens with
    the kit that was asked for stands in the table. Nothing was metered on hardware.

    Example: akazuba energy simulate --site kigali --device pi5 --panel-w 20 --battery-wh 128 --year 2025
    """
    from akazuba.energy.compare import FAULTS, compare, facts
    from akazuba.energy.kit import STEPS_A_DAY
    from akazuba.energy.weather import read_year, simulated_year

    with errors_shown():
        post = _post(**given)
        if fault not in FAULTS:
            raise InputError("--fault", " or ".join(FAULTS), fault)
        for name, path in (("--trace", trace), ("--plot", plot)):
            if path is not None and not path.absolute().parent.is_dir():
                raise InputError(name, "a file in a folder that exists", str(path))
        place = post.where()
        sky = simulated_year(place, year, seed) if weather is None else read_year(weather, place)
        if days is not None:
            sky = replace(sky, power=sky.power[: days * STEPS_A_DAY], clear=sky.clear[: days * STEPS_A_DAY])
        found = compare(
            post.board(), post.kit(), post.habits(), sky, seed, FAULTS[fault], plan=plan, progress=_progress()
        )
        if trace is not None:
            _write(trace, _trace_csv(found))
        if plot is not None:
            _write(plot, _year_svg(found, post, sky))
    said = {**json.loads(_post_json(post)), "seed": seed, "fault": fault}
    show(json.dumps(facts(found, sky, said)) if as_json else _year_text(found, post, sky, fault))


def _post_json(post: Post) -> bytes:
    import msgspec

    return msgspec.json.encode(post)


def _progress() -> Callable[[str, float], None] | None:
    if not sys.stderr.isatty():
        return None

    def tell(name: str, share: float) -> None:
        bar = "#" * round(20 * share)
        click.echo(f"\r{name:<30} [{bar:<20}]\x1b[K", nl=False, err=True)

    return tell


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InputError(str(path), "a file to write", why_not_opened(problem)) from problem


def _trace_csv(found: Comparison) -> str:
    """The rules' year by step of 5 minutes, for the simulators of federation and fleet."""
    trace = found.by[3].trace
    lines = ["step,battery_wh,load_w,panel_w,mode,training,awake,radio"]
    if trace is not None:
        lines += [
            f"{step},{wh:.3f},{load:.3f},{panel:.3f},{control.mode},{control.train + control.train_low:.2f}"
            f",{control.awake:d},{control.radio}"
            for step, (wh, load, panel, control) in enumerate(
                zip(trace.wh, trace.load_w, trace.panel_w, trace.controls, strict=True)
            )
        ]
    return "\n".join(lines) + "\n"


def _year_svg(found: Comparison, post: Post, sky: Weather) -> str:
    from akazuba.energy.outlook import day_totals
    from akazuba.energy.plot import Curve, svg

    trace = found.by[3].trace
    days = day_totals(trace) if trace is not None else []
    curves = [
        Curve("lowest charge of the day", [low for low, _, _ in days]),
        Curve("panel, Wh a day", [panel for _, panel, _ in days]),
        Curve("load, Wh a day", [load for _, _, load in days]),
    ]
    ticks = [((month + 0.5) / 12, name) for month, name in enumerate("JFMAMJJASOND")]
    label = "SIMULATED" if sky.simulated else "SIMULATED box, real sun"
    title = f"{label}, not metered: {post.device}, {post.panel_w:g} W, {post.battery_wh:g} Wh, {post.site}"
    return svg(title, "Wh", curves, ticks, ("floor", post.rules().limits.floor))


def _year_text(found: Comparison, post: Post, sky: Weather, fault: str) -> str:
    from akazuba.energy.devices import NOT_METERED

    head = "policy                          Wh/day blackout h  missed  late  refused  waited   training h/day"
    rows = []
    for ran in found.by:
        t = ran.totals
        waited = t.cold / t.routine if t.routine else 0.0
        rows.append(
            f"{ran.policy:<30} {t.wh_a_day:>7.1f} {t.blackout_h:>10.0f} {t.missed:>4}/{t.emergencies:<5}"
            f"{t.late:>2} {1 - t.served:>9.2%} {waited:>7.1%} {t.training_h_a_day:>10.2f}"
        )
    kit = f"{post.device}, {post.panel_w:g} W panel, {post.battery_wh:g} Wh battery, open {post.hours} h"
    lines = [
        f"SIMULATED: {kit}; fault: {fault}.",
        f"{sky.says}. Patients are drawn; the policies are the box's own.",
        f"Energy is {NOT_METERED}.",
        "",
        head,
        *rows,
        "missed, late: emergencies not answered, or after more than 5 minutes with the boot.",
        "waited: of the routine patients, for whom the box had to wake first.",
        *_bounds(found),
        "",
        (
            "with a kit that never runs out, same service and training: rules take"
            f" {found.energy_vs('A1'):.2f}x of A1 and {found.energy_vs('A'):.2f}x of A"
        ),
    ]
    return "\n".join(lines)


def _bounds(found: Comparison) -> list[str]:
    if found.least is None or found.most is None:
        return [f"no perfect foresight: {found.why_no_bound}"]
    lines = [
        (
            f"perfect foresight: at least {found.least.wh_a_day:.1f} Wh/day for the rules' service; at most"
            f" {found.most.training_h_a_day:.2f} h of training a day"
        )
    ]
    missing = found.least.unserved_wh_a_day
    if missing > 0.5:
        lines.append(f"(even so {missing:.1f} Wh/day would be missing to be awake at all open hours)")
    return lines


@energy.command()
@_post_options
@click.option(
    "--source", help="Sensors: auto, hwmon, battery, pi-pmic, tegrastats, ve.direct:PATH, simulated:…."
)
@click.option("--no-plan", is_flag=True, help="By the rules alone.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the two days into this file.")
@click.option("--json", "as_json", is_flag=True)
def plan(source: str | None, no_plan: bool, svg: Path | None, as_json: bool, **given: Any) -> None:
    """Show the next 48 hours by half hours: charge, sun, what runs and why, and what to be warned of.

    The sun is forecast from what this panel gave so far and the sun's course, with the quarter that is
    lowest.

    Example: akazuba energy plan --source simulated:soc=0.6,volts=13.1 --svg plan.svg
    """
    from akazuba.energy.today import look, plan_facts
    from akazuba.settings import from_environ

    with errors_shown():
        post = _post(source=source, **given)
        now = look(post, from_environ().home, time.time(), plan=not no_plan)
        if svg is not None:
            _write(svg, _plan_svg(now.ahead, post))
    show(json.dumps(plan_facts(post, now)) if as_json else _plan_text(post, now))


@energy.command()
@_post_options
@click.option("--source", help="Sensors, as for `energy plan`.")
@click.option("--log", "keep", is_flag=True, help="Add the reading to the box's log: its timer does.")
@click.option("--apply", "do", is_flag=True, help="Do it. Without this it only says what it would do.")
@click.option("--json", "as_json", is_flag=True)
def status(source: str | None, keep: bool, do: bool, as_json: bool, **given: Any) -> None:
    """Read the sensors, say what the box should do now and why, and with --apply do it.

    Example: akazuba energy status --source simulated:soc=0.6,volts=13.1,panel_w=12,load_w=4
    """
    from akazuba.energy.actuator import Machine, apply, deeds
    from akazuba.energy.log import FILE, add_line
    from akazuba.energy.today import in_use, look, next_look_s
    from akazuba.settings import from_environ

    failed: list[str] = []
    with errors_shown():
        post, home, at = _post(source=source, **given), from_environ().home, time.time()
        now = look(post, home, at)
        problems = list(now.problems)
        if not now.measured:
            problems.append("no sensor was ever seen here: the box is not put to rest")
        machine = Machine(wake_after_s=next_look_s(post, at))
        control, ahead, line = now.control, now.ahead, now.line
        wanted = deeds(control, machine, in_use=in_use(now, machine, home, at) or not now.measured)
        if keep:
            add_line(home / FILE, now.lines, line)
        if do:
            failed = [f"{done.deed}: {done.failed}" for done in apply(wanted) if done.failed]
    facts = {
        "simulated": post.source.startswith("simulated"),
        "reading": dict(zip(("soc", "volts", "panel_w", "load_w"), line.reading(), strict=True)),
        "mode": control.mode,
        "awake": control.awake,
        "tier": control.tier,
        "reasons": [str(reason) for reason in control.reasons],
        "problems": problems,
        "alarms": now.alarms,
        "surplus_wh_p25": None if ahead is None else round(ahead.surplus_wh, 1),
        "to_train_on": None if now.spare is None else asdict(now.spare),
        "deeds": [str(deed) for deed in wanted],
        "applied": do,
        "failed": failed,
    }
    show(json.dumps(facts) if as_json else _status_text(facts))
    if failed:
        sys.exit(FAILED)


def _plan_text(post: Post, now: Today) -> str:
    from akazuba.energy.devices import NOT_METERED
    from akazuba.energy.outlook import table

    ahead = now.ahead
    simulated = "SIMULATED sensors. " if post.source.startswith("simulated") else ""
    lines = [f"{simulated}Loads are {NOT_METERED}."]
    if ahead is not None:
        lines += [
            f"by {ahead.by}; the sun as in the lowest quarter of cases; floor {ahead.floor_wh:.0f} Wh",
            "",
            " from  charge Wh  panel Wh  load Wh  awake  training  radio  why",
        ]
        lines += [
            f"{int(row.hour):02d}:{round(row.hour % 1 * 60):02d} {row.wh:>9.1f} {row.panel_wh:>9.1f}"
            f" {row.load_wh:>8.1f} {row.awake:>6.0%} {row.train:>9.0%}  {'on ' if row.radio else 'off':<5}"
            f"  {row.because}"
            for row in table(ahead)
        ]
        lines += ["", f"surplus of the two days: {ahead.surplus_wh:.0f} Wh"]
    if now.spare is not None:
        lines.append(f"to train on in the next 24 h, in three of four cases: {now.spare.p25_wh:.1f} Wh")
    return "\n".join([*lines, *(f"ALARM: {text}" for text in now.alarms)])


def _plan_svg(ahead: Outlook | None, post: Post) -> str:
    from akazuba.energy.plot import Curve, plan_title, svg

    if ahead is None:
        raise InputError("--svg", "a known charge and hour", "neither to draw from")
    trace = ahead.trace
    ticks = [(step / 8, f"{(ahead.hour + 6 * step) % 24:.0f} h") for step in range(9)]
    title = plan_title(ahead.by, simulated=post.source.startswith("simulated"))
    curves = [
        Curve("battery, Wh", trace.wh.tolist()),
        Curve("panel, W", trace.panel_w.tolist()),
        Curve("load, W", trace.load_w.tolist()),
    ]
    return svg(title, "Wh, W", curves, ticks, ("floor", ahead.floor_wh))


def _status_text(facts: dict[str, Any]) -> str:
    def shown(name: str, unit: str, factor: float = 1.0) -> str:
        value = facts["reading"][name]
        return "unknown" if value is None else f"{value * factor:.4g} {unit}"

    verb = "done:" if facts["applied"] else "would do (--apply does it):"
    lines = [
        "SIMULATED sensors." if facts["simulated"] else "",
        (
            f"charge {shown('soc', '%', 100)}, battery {shown('volts', 'V')}, panel {shown('panel_w', 'W')},"
            f" load {shown('load_w', 'W')}"
        ),
        f"mode: {facts['mode']}, {'awake' if facts['awake'] else 'resting'}, words by: {facts['tier']}",
        *(f"  {reason}" for reason in facts["reasons"]),
        *(f"not believed: {text}" for text in facts["problems"]),
        *(f"ALARM: {text}" for text in facts["alarms"]),
        verb,
        *(f"  {deed}" for deed in facts["deeds"]),
        *(f"FAILED: {text}" for text in facts["failed"]),
    ]
    return "\n".join(line for line in lines if line)


@energy.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--device", default="pi5", show_default=True)
@click.option("--awake-h", type=click.FloatRange(0, 24), default=9.0, show_default=True, help="Awake a day.")
@click.option("--json", "as_json", is_flag=True)
def meter(file: Path | None, device: str, awake_h: float, as_json: bool) -> None:
    """Print how to meter one box in a day; with the meter's CSV, its kWh a day beside the model's.

    The file has columns time (ISO 8601 or seconds) and w, or v and a.

    Example: akazuba energy meter day.csv --device pi5 --awake-h 9
    """
    from akazuba.energy.devices import NOT_METERED, device as board
    from akazuba.energy.meter import PROTOCOL, model_kwh_a_day, read_meter

    with errors_shown():
        rules, always = model_kwh_a_day(board(device), awake_h)
        found = None if file is None else read_meter(file)
    if found is None:
        show(json.dumps({"protocol": PROTOCOL}) if as_json else PROTOCOL)
        return
    facts = {
        **asdict(found),
        "kwh_a_day": round(found.kwh_a_day, 4),
        "model_kwh_a_day_waiting": round(rules, 4),
        "model_kwh_a_day_a1_waiting": round(always, 4),
        "model": NOT_METERED,
    }
    covered = f"{found.hours:.1f} h of {found.samples} samples, {found.gaps_h:.1f} h missing"
    lines = [
        f"metered: {found.kwh_a_day:.3f} kWh a day ({covered})",
        f"mean {found.mean_w:.2f} W, highest {found.highest_w:.2f} W",
        f"model of {device}, awake {awake_h:g} h and only waiting: {rules:.3f} kWh a day",
        f"model, always on with the screen blanked (A1): {always:.3f} kWh a day",
        f"the model is {NOT_METERED}",
    ]
    text = "\n".join(lines)
    show(json.dumps(facts) if as_json else text)


@energy.command("install-units")
@click.option("--into", type=click.Path(path_type=Path), help="Folder for them; without it they are printed.")
def install_units(into: Path | None) -> None:
    """Print the systemd units that run the plan on a box, or write them into a folder.

    Example: akazuba energy install-units --into /etc/systemd/system
    """
    from importlib.resources import files

    units = sorted(files("akazuba.energy").joinpath("units").iterdir(), key=lambda unit: unit.name)
    with errors_shown():
        for unit in units:
            text = unit.read_text(encoding="utf-8")
            if into is None:
                show(f"# {unit.name}\n{text}")
            else:
                if not into.is_dir():
                    raise InputError("--into", "a folder that exists", str(into))
                _write(into / unit.name, text)
                show(str(into / unit.name))
