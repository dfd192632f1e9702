"""What the box's sensors said in the last month, one line every ten minutes; from it all that is known is
told anew.

A file of JSON lines in the data folder. A torn or foreign line is left out; a lost file costs a month of
learning and nothing else.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from akazuba.energy.forecast import Forecaster
from akazuba.energy.gauge import GaugeCheck
from akazuba.energy.kit import STEP_MIN, Kit
from akazuba.energy.rules import CONTACT_MIN
from akazuba.energy.sun import Floats
from akazuba.energy.values import Charge, Mode, Reading, Situation
from akazuba.errors import ArtefactError, why_not_opened

FILE = "energy.ndjson"
KEPT = 30 * 24 * 6
FIRST_POSSIBLE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
"""A clock before this has not been set: boards without a battery for it start in 1970."""
EVERY_S = 600.0


class Line(msgspec.Struct, frozen=True):
    """at: seconds since 1970 by the box's clock. Powers in W; backlog in hours of training at full clock."""

    at: float
    soc: float | None = None
    volts: float | None = None
    panel_w: float | None = None
    load_w: float | None = None
    mode: Mode = "normal"
    backlog_h: float = 0.0
    synced_min: float = 0.0

    def reading(self) -> Reading:
        return Reading(self.soc, self.volts, self.panel_w, self.load_w)


def read_log(path: Path) -> list[Line]:
    """Raises ArtefactError for a file that is there and cannot be read."""
    try:
        raw = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise ArtefactError(str(path), "the log of the sensors", why_not_opened(problem)) from problem
    found = []
    for text in raw[-KEPT:]:
        try:
            found.append(msgspec.json.decode(text, type=Line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def add_line(path: Path, lines: Sequence[Line], line: Line) -> None:
    """Keeps a month: the file is written whole beside itself, then takes its place."""
    kept = [*lines, line][-KEPT:]
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(b"\n".join(map(msgspec.json.encode, kept)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as problem:
        raise ArtefactError(
            str(path), "room for the log of the sensors", why_not_opened(problem)
        ) from problem


@dataclass(frozen=True)
class Known:
    """What a log and a new line tell."""

    situation: Situation
    forecaster: Forecaster
    clock: str
    """"" or what is wrong with it."""


def known(lines: Sequence[Line], now: Line, kit: Kit, utc_offset_h: float, clear: Floats | None) -> Known:
    """clear: as for `Forecaster`, from step 0 = local midnight of the first day that the log tells of."""
    check, forecaster = GaugeCheck(kit), Forecaster(clear)
    charge = Charge(None, "the gauge is gone")
    step = 0
    before: Line | None = None
    clock = ""
    for line in (*lines, now):
        clock = _clock_fault(line, before)
        if before is None:
            steps = 0 if clock else round(_hour(line, utc_offset_h) * 60 / STEP_MIN)
        elif clock:
            steps = round(EVERY_S / 60 / STEP_MIN)
        else:
            steps = max(1, round((line.at - before.at) / 60 / STEP_MIN))
        steps = min(steps, 24 * 60 // STEP_MIN * 31)
        for _ in range(steps):
            forecaster.saw(line.panel_w if before is not None else None)
        step += steps
        hours = steps * STEP_MIN / 60 if before is not None else 0.0
        if hours > 1:
            check.forget()
            hours = 0.0
        charge = check.check(line.reading(), hours)
        before = line if not clock else (before or line)
    last = lines[-1] if lines else None
    same_day = last is not None and not clock and _day(last, utc_offset_h) == _day(now, utc_offset_h)
    situation = Situation(
        step,
        None if clock else _hour(now, utc_offset_h),
        charge,
        now.panel_w,
        now.backlog_h,
        last.synced_min if last is not None and same_day else 0.0,
        last.mode if last is not None else "normal",
        *(forecaster.dark_days() if len(lines) > 1 else (0, False)),
    )
    return Known(situation, forecaster, clock)


def _clock_fault(line: Line, before: Line | None) -> str:
    if line.at < FIRST_POSSIBLE:
        return f"the clock says {datetime.datetime.fromtimestamp(max(0.0, line.at), datetime.UTC).year}"
    if before is not None and line.at < before.at - EVERY_S:
        return "the clock was set back"
    return ""


def _local(line: Line, utc_offset_h: float) -> float:
    return line.at / 3600 + utc_offset_h


def _hour(line: Line, utc_offset_h: float) -> float:
    return _local(line, utc_offset_h) % 24


def _day(line: Line, utc_offset_h: float) -> int:
    return int(_local(line, utc_offset_h) // 24)


def next_contact(last: Line | None, situation: Situation, *, connected: bool) -> float:
    """Minutes of contact today, counting the time since the last line if the radio was on."""
    minutes = situation.synced_min
    if connected and last is not None:
        minutes = min(CONTACT_MIN, minutes + EVERY_S / 60)
    return minutes
