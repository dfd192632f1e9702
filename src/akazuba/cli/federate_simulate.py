"""`akazuba federate simulate`: a SIMULATED programme of boxes that are often off."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.shared import errors_shown, show

if TYPE_CHECKING:
    from akazuba.federation.simulate import Bounds, Course, Method, Plan
    from akazuba.federation.worlds import World

METHODS: tuple[Method, ...] = ("ours", "fedavg", "fedavg-dropped", "fedasync", "fedbuff")
FOLDER = click.Path(path_type=Path)


@click.command()
@click.option(
    "--world",
    type=click.Choice(["drawn", "heart"]),
    default="drawn",
    show_default=True,
    help="Invented cases, or four real hospitals' heart disease table (--data).",
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with heart_disease_4site.")
@click.option("--clinics", type=click.IntRange(4, 2000), help="Default: 40 drawn ones, 4 hospitals.")
@click.option(
    "--buffer", type=click.IntRange(1, 1000), help="Terminals in a version. Default: 10, or 2 of 4."
)
@click.option("--days", type=click.FloatRange(1, 366), default=20.0, show_default=True)
@click.option("--turn-days", type=click.FloatRange(5, 10_000), help="Drift: the truth turns once in so many.")
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=FOLDER,
    help="When boxes train and send: files of `energy simulate --trace`, dealt out in turn.",
)
@click.option("--outage", type=click.FloatRange(0, 0.95), default=0.5, show_default=True)
@click.option("--stuck", type=click.FloatRange(0, 1), default=0.2, show_default=True)
@click.option("--stuck-hours", type=click.FloatRange(1, 2000), default=60.0, show_default=True)
@click.option("--liars", type=click.FloatRange(0, 0.5), default=0.0, help="Share of sign-flipping clinics.")
@click.option("--lie", type=click.FloatRange(0, 1000), default=1.0, help="How many times as large.")
@click.option("--robust", type=click.Choice(["median", "trimmed-mean", "krum"]), help="Centre for ours.")
@click.option("--epsilon", type=click.FloatRange(0.01, 100), help="Privacy of each clinic in all, for ours.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Default: all.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=20261128, show_default=True)
@click.option("--curves", type=click.Path(path_type=Path), help="Learning curves, .svg or .png.")
@click.option("--json", "as_json", is_flag=True)
def simulate(
    world: str,
    data: Path | None,
    clinics: int | None,
    buffer: int | None,
    turn_days: float | None,
    methods: tuple[Method, ...],
    traces: tuple[Path, ...],
    seed: int,
    curves: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """SIMULATE a programme of boxes that are often off, beside FedAvg, FedAsync and FedBuff.

    Example: akazuba federate simulate --turn-days 40 --curves curves.svg
    """
    from akazuba.federation import curves as drawing, simulate as sim, skies

    with errors_shown():
        made = _world(world, data, seed, clinics, turn_days)
        weather = skies.Weather(
            days=given["days"], outage=given["outage"], stuck=given["stuck"], stuck_h=given["stuck_hours"]
        )
        plan = sim.Plan(
            weather=weather,
            buffer=buffer or (2 if made.clinics == 4 else min(10, made.clinics)),
            liars=given["liars"],
            lie=given["lie"],
            robust=given["robust"],
            epsilon=given["epsilon"],
        )
        hours = [skies.read_trace(path) for path in traces]
        found = [
            sim.simulate(made, plan, method, seed, _progress(method), hours) for method in methods or METHODS
        ]
        best = sim.bounds(made, plan, seed)
        if curves is not None:
            drawing.draw(curves, f"{made.name}, {made.clinics} clinics", found, best.pooled)
    facts = _facts(made, plan, seed, found, best) | {"traces": [path.name for path in traces]}
    show(json.dumps(facts) if as_json else _text(facts))


def _world(name: str, data: Path | None, seed: int, clinics: int | None, turn_days: float | None) -> World:
    from akazuba.errors import InputError
    from akazuba.federation.worlds import Drifting, heart

    if name == "drawn":
        return Drifting(seed, clinics or 40, turn_days or math.inf)
    if data is None:
        raise InputError("--data", "the folder with heart_disease_4site", "none")
    if turn_days is not None:
        raise InputError("--turn-days", "the drawn world: real patients do not drift", name)
    return heart(data, seed, clinics or 4)


def _progress(method: str) -> Any:
    """Tells on stderr how far a method is, where somebody is looking."""
    watched = sys.stderr is not None and sys.stderr.isatty()

    def told(share: float) -> None:
        if watched:
            click.echo(f"\r{method}: {share:4.0%}", nl=share >= 1, err=True)

    return told


def _facts(world: World, plan: Plan, seed: int, courses: list[Course], best: Bounds) -> dict[str, Any]:
    from dataclasses import asdict

    from akazuba.federation.simulate import final, reached

    target = 0.95 * best.pooled
    methods = {}
    for course in courses:
        point = reached(course.points, target)
        methods[course.method] = {
            "accuracy": final(course.points),
            "worst_site": course.points[-1].worst,
            "hours_to_95_percent_of_pooled": point.at_h if point else None,
            "uploads_to_95_percent_of_pooled": point.uploads if point else None,
            "versions": course.versions,
            "uploads": course.uploads,
            "curve": [[p.at_h, p.accuracy] for p in course.points],
        }
        if course.method == "ours":
            methods[course.method] |= {
                "half_life_h": course.half_life_h,
                "epsilon": course.epsilon_highest or None,
                "delta": plan.delta if plan.epsilon else None,
                "noise_multiplier": course.noise_multiplier,
                "refused_for_want_of_budget": course.refused,
            }
    return {
        "simulated": world.simulated,
        "world": world.name,
        "clinics": world.clinics,
        "pooled": best.pooled,
        "local": best.local,
        "methods": methods,
        "assumed": asdict(plan),
        "seed": seed,
    }


def _text(facts: dict[str, Any]) -> str:
    head = f"{facts['world']}, {facts['clinics']} clinics, {facts['assumed']['weather']['days']:g} days"
    lines = [
        f"SIMULATED ({facts['simulated']}): {head}, seed {facts['seed']}.",
        *([f"terminals train and send by {', '.join(facts['traces'])}"] if facts["traces"] else []),
        f"one model on everybody's cases: {facts['pooled']:.3f}; each clinic alone: {facts['local']:.3f}",
        f"{'':<16}{'accuracy':>9}{'worst site':>12}{'95 % of pooled':>16}{'uploads':>9}{'versions':>10}",
    ]
    for name, found in facts["methods"].items():
        hours = found["hours_to_95_percent_of_pooled"]
        reached = "never" if hours is None else f"{hours:.0f} h"
        lines.append(
            f"{name:<16}{found['accuracy']:>9.3f}{found['worst_site']:>12.3f}{reached:>16}"
            f"{found['uploads']:>9}{found['versions']:>10}"
        )
    ours = facts["methods"].get("ours")
    if ours:
        lines.append(f"ours: half-life in the end {ours['half_life_h']:.0f} h")
    if ours and ours["epsilon"]:
        spent = f"epsilon {ours['epsilon']:.2f} at delta {ours['delta']:g} for who took part most"
        refused = f"{ours['refused_for_want_of_budget']} updates refused for want of budget"
        lines.append(f"ours: {spent}, noise multiplier {ours['noise_multiplier']:.2f}, {refused}")
    return "\n".join(lines)
