"""How a deployer meters one box in a day, and what the meter's file says beside the model."""

from __future__ import annotations

import csv
import datetime
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from akazuba.energy.devices import NOT_METERED, Device
from akazuba.errors import InputError, why_not_opened

PROTOCOL = f"""Meter one box in a day
{NOT_METERED}. One day with a meter replaces them.

1. Put a DC meter that writes a file (time and watts, at least every 10 s) between the charge controller's
   load output and the box's converter. Set its clock. Charge the battery full the day before.
2. 10 minutes each, box awake: nobody at it and the screen off (idle_w); screen at full, at 40 %, blanked
   (screen_*); radio connected, radio idle (radio_*). Note the times.
3. Three times each: press the button of the resting box and stop the watch when the page answers (wake_s,
   wake_w); halt it, press, stop (boot_s, boot_w). One hour asleep (sleep_w), one hour off (off_w).
4. Ten answers of the small model, ten of the large one (student_s, student_w, large_s, large_w); 20 minutes
   of training at full clock and 20 at low clock (train_w, train_low_w; hours of both: train_low_speed).
5. One whole day of ordinary work by the rules, and one always on with the screen blanked (A1), same post.
6. akazuba energy meter DAY.csv --device pi5 says kWh a day beside the model's figure.

Report the meter, its error, the room's temperature and the commit with the figures."""

LONGEST_GAP_S = 60.0
TIMES = ("time", "timestamp", "date", "datetime")
WATTS = ("w", "watt", "watts", "power_w", "power")


@dataclass(frozen=True)
class Metered:
    """hours: covered by samples no more than a minute apart. gaps_h: the rest. kwh_a_day: of the covered
    hours, scaled to 24.
    """

    hours: float
    gaps_h: float
    wh: float
    mean_w: float
    highest_w: float
    samples: int

    @property
    def kwh_a_day(self) -> float:
        return self.mean_w * 24 / 1000


def read_meter(path: Path) -> Metered:
    """A CSV with a column of times (ISO 8601 or seconds) and one of watts, or volts and amperes.

    Raises InputError for a file without them, for times that go back, for less than an hour.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(str(path), "a meter's CSV", why_not_opened(problem)) from problem
    rows = csv.DictReader(io.StringIO(text))
    names = {name.strip().lower(): name for name in rows.fieldnames or []}
    time = next((names[name] for name in TIMES if name in names), None)
    watts = next((names[name] for name in WATTS if name in names), None)
    pair = [names.get(name) for name in ("v", "a")]
    if time is None or (watts is None and None in pair):
        raise InputError(str(path), "columns time and w (or v and a)", ", ".join(names) or "nothing")
    samples: list[tuple[float, float]] = []
    for row in rows:
        item = f"{path}, line {rows.line_num}"
        if watts is not None:
            power = _number(row[watts], item)
        else:
            power = _number(row[str(pair[0])], item) * _number(row[str(pair[1])], item)
        at = _seconds(row[time] or "", item)
        if samples and at <= samples[-1][0]:
            raise InputError(item, "a later time than the line before", row[time] or "")
        if not 0 <= power <= 10_000:
            raise InputError(item, "0 to 10,000 W", f"{power:g}")
        samples.append((at, power))
    return _summed(samples, path)


def _summed(samples: list[tuple[float, float]], path: Path) -> Metered:
    """By trapezoids between neighbours."""
    seconds = gaps = joules = 0.0
    for (before, low), (at, high) in pairwise(samples):
        if at - before > LONGEST_GAP_S:
            gaps += at - before
            continue
        seconds += at - before
        joules += (low + high) / 2 * (at - before)
    if seconds < 3600:
        raise InputError(
            str(path), "at least an hour of samples a minute apart or less", f"{seconds / 60:.0f} min"
        )
    highest = max(power for _, power in samples)
    return Metered(seconds / 3600, gaps / 3600, joules / 3600, joules / seconds, highest, len(samples))


def model_kwh_a_day(device: Device, awake_h: float) -> tuple[float, float]:
    """What the model gives for a box that is awake so many hours a day and only waits: (rules, A1)."""
    d, eta = device, device.converter_efficiency
    rest_w = min(d.sleep_w, d.off_w)
    standing = d.standby_w * 24
    rules = standing + (d.idle_w * awake_h + rest_w * (24 - awake_h)) / eta
    always = standing + (d.idle_w + d.screen_blank_w + d.radio_idle_w) * 24 / eta
    return rules / 1000, always / 1000


def _number(text: str | None, item: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError(item, "a number", repr(text)) from None


def _seconds(text: str, item: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InputError(item, "seconds or a time by ISO 8601", repr(text)) from None
