"""`akazuba queue`: who waits, and a simulated day of arrivals."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.shared import as_text, errors_shown, show
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.waiting.simulate import Post


@click.group()
def queue() -> None:
    """The emergency queue.

    Example: akazuba queue simulate
    """


@queue.command("show")
@click.option("--json", "as_json", is_flag=True)
def show_queue(as_json: bool) -> None:
    """Show who waits at this post, in the order in which to see them. Works while the box is locked.

    On stderr: that the queue's file is not encrypted, and why.

    Example: akazuba queue show --json
    """
    from akazuba.report import one_line
    from akazuba.settings import from_environ
    from akazuba.waiting.queue import FILE, Queue, system_now

    with errors_shown():
        path = from_environ().home / FILE
        if not path.exists():
            show("[]" if as_json else "nobody waits: the queue was never used here")
            return
        with closing(Queue(path)) as opened:
            waiting = opened.waiting()
            encrypted, how = opened.protection
    if not encrypted:
        click.echo(one_line(f"the queue's file is plain, not encrypted: {how}"), err=True)
    now = system_now()
    rows: list[dict[str, Any]] = [
        {"case_id": e.case_id, "level": e.level, "state": e.state, "waited_s": _seconds(now.since(e.arrived))}
        for e in waiting
    ]
    text = "\n".join(
        f"{r['level']:<11}{r['waited_s'] // 60:>4} min  {r['state']:<13}{r['case_id']}" for r in rows
    )
    show(json.dumps(rows) if as_json else text or "nobody waits")


def _seconds(waited: float) -> int | None:
    """None after a restart with a wrong clock: nobody knows."""
    return round(waited) if math.isfinite(waited) else None


@queue.command()
@click.option("--days", type=click.IntRange(1, 10_000), default=200, show_default=True)
@click.option("--seed", type=int, default=20261128, show_default=True)
@click.option("--patients", type=click.FloatRange(1, 2000), help="Arrivals a day.")
@click.option("--nurses", type=click.IntRange(1, 50))
@click.option("--aides", type=click.IntRange(1, 50), help="Who triage at the door with the box.")
@click.option("--on-call", type=click.IntRange(0, 50), help="Who come when an alarm escalates.")
@click.option(
    "--surges", type=click.IntRange(0, 50), help="Surges of eight patients a day, half of them red."
)
@click.option(
    "--power", type=click.Path(path_type=Path), help="Hours without power: JSON [[from_s, to_s], …]."
)
@click.option("--json", "as_json", is_flag=True)
def simulate(days: int, seed: int, power: Path | None, as_json: bool, **given: Any) -> None:
    """SIMULATE days of arrivals and print the share of emergencies that are acknowledged within 5 minutes.

    Example: akazuba queue simulate --days 100 --nurses 2 --surges 1
    """
    from akazuba.waiting.simulate import Post, simulate as run

    names = {"patients": "patients_a_day"}
    settings = {names.get(name, name): value for name, value in given.items() if value is not None}
    with errors_shown():
        if power is not None:
            settings["power_cuts"] = _power_cuts(power)
        post = Post(**settings)
    facts = {**run(post, days, seed), "assumed": asdict(post), "seed": seed}
    show(json.dumps(facts) if as_json else _text(facts, post))


def _power_cuts(path: Path) -> tuple[tuple[float, float], ...]:
    try:
        cuts = json.loads(path.read_bytes())
        return tuple((float(start), float(end)) for start, end in cuts)
    except OSError as problem:
        raise InputError(str(path), "a file of power cuts", why_not_opened(problem)) from problem
    except (ValueError, TypeError) as problem:
        raise InputError(str(path), "power cuts as [[from_s, to_s], …]", str(problem)) from problem


def _text(facts: dict[str, Any], post: Post) -> str:
    def share(name: str) -> str:
        found = facts[name]
        return f"{found['value']:.3f} ({found['low']:.3f}-{found['high']:.3f}, n = {found['n']})"

    lines = [
        f"SIMULATED: {facts['days']} days, {facts['patients']} patients, {facts['emergencies']} emergencies.",
        "People and reactions are drawn; the queue and its alarms are the box's own.",
        f"acknowledged within 5 minutes of arrival: {share('acknowledged_within_5_min')}",
        f"the same days, first come first served:   {share('first_come_first_served_within_5_min')}",
        f"wait: median {facts['median_wait_s']:.0f} s, 95 % under {facts['p95_wait_s']:.0f} s",
        f"first come first served: 95 % under {facts['first_come_first_served_p95_wait_s']:.0f} s",
        f"alarms {facts['alarms']}, escalations {facts['escalations']}",
        "assumed:",
        as_text({f.name: getattr(post, f.name) for f in fields(post)}, "  "),
    ]
    return "\n".join(lines)
