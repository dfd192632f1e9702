"""What the box knows now, what it should do, and how the two days ahead look: sensors and log in, plain
values out.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from akazuba.energy.actuator import Machine, alarm_pending
from akazuba.energy.devices import NOT_METERED
from akazuba.energy.kit import STEPS_A_DAY
from akazuba.energy.log import EVERY_S, FILE, Line, known, next_contact, read_log
from akazuba.energy.lp import has_solver
from akazuba.energy.outlook import Outlook, alarms, look_ahead, table
from akazuba.energy.plan import Planned
from akazuba.energy.post import FILE as POST_FILE, Post, read_post
from akazuba.energy.rules import LOOK_H
from akazuba.energy.runs import Start
from akazuba.energy.sensors import source_for
from akazuba.energy.sun import Floats, clear_year, panel_yield
from akazuba.energy.surplus import Surplus, Verdict, may_train, surplus, training_wh
from akazuba.energy.values import IN_USE, Control, Policy

IN_USE_S = 240.0
"""For so long the page's mark holds."""


@dataclass(frozen=True)
class Today:
    """line: the sensors now, as the log keeps it. lines: the log before. problems: what is not believed.
    ahead: the two days; spare: of the first of them. None where the charge or the hour is unknown.
    """

    line: Line
    lines: tuple[Line, ...]
    problems: tuple[str, ...]
    control: Control
    ahead: Outlook | None
    spare: Surplus | None

    @property
    def measured(self) -> bool:
        """Whether any sensor was ever seen here."""
        return any(value is not None for row in (self.line, *self.lines) for value in row.reading())

    @property
    def alarms(self) -> list[str]:
        unknown = "the charge or the hour is unknown: no look ahead"
        return [unknown] if self.ahead is None else alarms(self.ahead)


def look(post: Post, home: Path, at: float, *, plan: bool = True, wanted_h: float = 0.0) -> Today:
    """at: s since 1970 by the box's clock. plan: by the linear programme where there is a solver. wanted_h:
    of training that somebody asks for, if no more waits. Raises InputError for sensors that are none,
    ArtefactError for a log that cannot be read.
    """
    said = source_for(post.source, post.labels).read()
    lines = read_log(home / FILE)
    last = lines[-1] if lines else None
    backlog = (last.backlog_h if last else 0.0) + post.training_h * EVERY_S / 86400
    backlog = max(wanted_h, min(7 * post.training_h, backlog))
    rules = post.rules()
    now = Line(at, *said, backlog_h=backlog)
    found = known(lines, now, rules.kit, post.where().utc_offset_h, clear_from(post, (lines or [now])[0].at))
    policy: Policy = rules
    if plan and has_solver():
        policy = Planned(rules, found.forecaster, seen=found.situation.step)
    control = policy.control(found.situation)
    ahead = spare = None
    wh, hour = found.situation.charge.wh, found.situation.hour
    if wh is not None and hour is not None:
        start = Start(wh / rules.kit.battery_wh, backlog, hour, found.situation.before)
        ahead = look_ahead(rules, found.forecaster, start, plan=plan)
        lazy = replace(rules, habits=replace(rules.habits, training_h=0.0))
        idle = look_ahead(lazy, found.forecaster, replace(start, backlog_h=0.0), plan=False)
        spare = surplus(idle, rules.kit, at)
    trained = EVERY_S / 3600 * (control.train + control.train_low * rules.device.train_low_speed)
    contact = next_contact(last, found.situation, connected=control.radio == "connected")
    kept = Line(at, *said, mode=control.mode, backlog_h=max(0.0, backlog - trained), synced_min=contact)
    problems = tuple(text for text in (found.situation.charge.problem, found.clock) if text)
    return Today(kept, tuple(lines), problems, control, ahead, spare)


def clear_from(post: Post, at: float) -> Floats:
    """(steps,) W of the clear-sky year of this kit, turned to begin on the local day of `at`."""
    place, kit = post.where(), post.kit()
    moment = datetime.datetime.fromtimestamp(max(0.0, at), datetime.UTC)
    day = (moment + datetime.timedelta(hours=place.utc_offset_h)).timetuple().tm_yday - 1
    sky = clear_year(place, 2025)
    clear = panel_yield(sky, sky.ghi, place.temperature_c) * kit.panel_w * kit.controller_efficiency
    return np.roll(clear, -day * STEPS_A_DAY)


def next_look_s(post: Post, at: float) -> int:
    """Until the box looks again by its own clock: when the post opens, at the latest after LOOK_H."""
    hour = (at / 3600 + post.where().utc_offset_h) % 24
    habits = post.habits()
    until_open = LOOK_H if habits.around_the_clock else (habits.opens - hour) % 24
    return max(300, round(3600 * min(LOOK_H, until_open)))


def in_use(now: Today, machine: Machine, home: Path, at: float) -> bool:
    """Whether somebody is served: the page touches IN_USE, or a button woke the box since the last look (its
    log has a gap, its alarm is still to come). One look later only the file counts.
    """
    rested = not now.lines or not 0 <= at - now.lines[-1].at <= 1.5 * EVERY_S
    if rested and alarm_pending(machine, at) is not False:
        return True
    try:
        return at - (home / IN_USE).stat().st_mtime < IN_USE_S
    except OSError:
        return False


def plan_facts(post: Post, now: Today) -> dict[str, Any]:
    """As `akazuba energy plan --json` prints it and the page draws it."""
    ahead = now.ahead
    return {
        "simulated": post.source.startswith("simulated"),
        "metered": False,
        "not_metered": NOT_METERED,
        "now": [str(reason) for reason in now.control.reasons],
        "alarms": now.alarms,
        "by": None if ahead is None else ahead.by,
        "to_train_on": None if now.spare is None else asdict(now.spare),
        "floor_wh": None if ahead is None else round(ahead.floor_wh, 1),
        "surplus_wh_p25": None if ahead is None else round(ahead.surplus_wh, 1),
        "half_hours": [] if ahead is None else [asdict(line) for line in table(ahead)],
    }


def training_allowed(home: Path, at: float, hours: float) -> Verdict:
    """home: the data folder; one without `energy.json` is taken for a box on mains power. at: s since 1970.
    hours: of training at full clock. Raises InputError for settings or sensors that cannot be used,
    ArtefactError for a log that cannot be read.
    """
    if not (home / POST_FILE).exists():
        return Verdict(True, f"no {POST_FILE}: taken for mains power")
    post = read_post(home)
    now = look(post, home, at, wanted_h=hours)
    return may_train(now.control, now.spare, training_wh(post.board(), hours))
