"""Years of weather: SIMULATED clouds and dust over a clear sky, or a real year from a file.

A day's clear-sky index is a first-order Markov chain (logit-normal, from one day to the next); within the day
clouds come and go as a two-state Markov process. Monthly means are those of the place. Spread and memory
were set by eye against one hourly station year in our first sketches (source: prototype, unverified).
"""

from __future__ import annotations

import csv
import datetime
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from akazuba.energy.kit import STEP_MIN, STEPS_A_DAY
from akazuba.energy.sites import Site
from akazuba.energy.sun import GAMMA, TILT, Floats, clear_year, panel_yield, steps_in
from akazuba.errors import InputError, why_not_opened

MEMORY, SPREAD = 0.5, 1.0
CLOUD_STEPS = (5.0, 30.0)
"""Mean length of a cloud, drawn for each day, in steps."""
RAINY = 0.45
"""A day whose clear-sky index is below this washes the panel (our assumption)."""
MOST_DUST = 0.25
WIPED_DAYS = 30
"""Somebody wipes the panel every so many days (our assumption)."""


@dataclass(frozen=True)
class Weather:
    """One year, per rated watt of panel, at 5 minutes: what it really gives, and what a clear sky would.

    says: where it comes from, with SIMULATED where it is.
    """

    power: Floats
    clear: Floats
    says: str
    simulated: bool


def simulated_year(site: Site, year: int, seed: int, tilt: float = TILT) -> Weather:
    """The same arguments give the same year."""
    sky = clear_year(site, year, tilt)
    days = len(sky.ghi) // STEPS_A_DAY
    month = _months(year)
    by_day = sky.ghi.reshape(days, STEPS_A_DAY)
    daily_clear = by_day.sum(1)
    wanted = np.array(site.ghi)[month] * 1000 * (60 / STEP_MIN)
    target = np.clip(_monthly(wanted, month) / _monthly(daily_clear, month), 0.15, 0.97)
    rng = np.random.default_rng([seed, year, *site.id.encode()])
    z = np.empty(days)
    shocks = rng.standard_normal(days)
    z[0] = shocks[0]
    for day in range(1, days):
        z[day] = MEMORY * z[day - 1] + np.sqrt(1 - MEMORY**2) * shocks[day]
    draws = _Draws.of(rng, days)
    aim = target.copy()
    for _ in range(4):
        index = _clouds(_logit_normal(aim[month], z), draws)
        got = _monthly((by_day * index).sum(1), month) / _monthly(daily_clear, month)
        aim = np.clip(aim * (target / got) ** 0.8, 0.08, 0.98)
    ghi = (by_day * index).ravel()
    daily_index = (by_day * index).sum(1) / daily_clear
    clean = 1 - np.repeat(_dust(daily_index, site.dust_percent_a_day / 100), STEPS_A_DAY)
    return Weather(
        panel_yield(sky, ghi, site.temperature_c, tilt) * clean,
        panel_yield(sky, sky.ghi, site.temperature_c, tilt),
        f"SIMULATED weather of {site.name} {year}, seed {seed}, clear sky {sky.model};"
        f" monthly means {site.source}",
        simulated=True,
    )


@dataclass(frozen=True)
class _Draws:
    """What is drawn once, so that the search for the monthly means turns the same clouds."""

    thickness: Floats
    length: Floats
    turns: Floats
    noise: Floats
    edges: Floats

    @classmethod
    def of(cls, rng: np.random.Generator, days: int) -> _Draws:
        size = (days, STEPS_A_DAY)
        return cls(
            0.32 + 0.18 * rng.random(days),
            rng.uniform(*CLOUD_STEPS, days),
            rng.random(size),
            0.05 * rng.standard_normal(size),
            0.08 * rng.random(size),
        )


def _logit_normal(mean: Floats, z: Floats) -> Floats:
    """Values in (0, 1) whose mean is about `mean`: the monthly search takes out what is left."""
    return np.asarray(np.clip(1 / (1 + np.exp(-(np.log(mean / (1 - mean)) * 1.15 + SPREAD * z))), 0.06, 0.99))


def _clouds(daily: Floats, draws: _Draws) -> Floats:
    """(days,) mean clear-sky index -> (days, steps a day) index."""
    under = np.where(daily < draws.thickness, daily * 0.85, draws.thickness)
    cloudy = np.clip((1 - daily) / (1 - under), 0, 1)
    leave_cloud = 1 / draws.length
    clear_steps = np.maximum(0.5, draws.length * (1 - cloudy) / np.maximum(cloudy, 1e-3))
    enter_cloud = np.minimum(1.0, 1 / clear_steps)
    index = np.empty_like(draws.turns)
    state = draws.turns[:, 0] < cloudy
    wander = np.zeros(len(daily))
    before = state
    for step in range(index.shape[1]):
        wander = 0.8 * wander + draws.noise[:, step]
        edge = np.where(before & ~state, draws.edges[:, step], 0.0)
        index[:, step] = np.where(state, under, 1.0) * (1 + wander) + edge
        before = state
        state = np.where(state, draws.turns[:, step] >= leave_cloud, draws.turns[:, step] < enter_cloud)
    return np.clip(index, 0.03, 1.2)


def _dust(index: Floats, a_day: float) -> Floats:
    """(days,) share of the yield lost."""
    lost, lying = np.empty(len(index)), 0.0
    for day, clear in enumerate(index):
        lying = 0.0 if clear < RAINY or day % WIPED_DAYS == 0 else min(MOST_DUST, lying + a_day)
        lost[day] = lying
    return lost


def _months(year: int) -> np.typing.NDArray[np.int64]:
    """(days,) month of each day, from 0."""
    days = steps_in(year) // STEPS_A_DAY
    start = np.datetime64(f"{year}-01-01")
    dates = start + np.arange(days)
    return np.asarray(dates.astype("datetime64[M]").astype(np.int64) % 12)


def _monthly(values: Floats, month: np.typing.NDArray[np.int64]) -> Floats:
    return np.bincount(month, values, 12) / np.maximum(np.bincount(month, minlength=12), 1)


def read_year(path: Path, site: Site, tilt: float = TILT) -> Weather:
    """A real year: hourly CSV of PVGIS (`seriescalc`, with `G(i)` or `P` and a peak power) or of NASA POWER
    (`ALLSKY_SFC_SW_DWN`, global horizontal). Times are taken as UTC, as both write them. An hour's value
    holds for its twelve steps, shaped by the clear sky.

    Raises InputError for a file that is neither, that lacks hours, or that holds no sun.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(str(path), "a PVGIS or NASA POWER CSV", why_not_opened(problem)) from problem
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("time,"):
            hours, kind = _pvgis(lines, at, path)
            break
        if line.replace(" ", "").startswith("YEAR,MO,DY,HR"):
            hours, kind = _power(lines, at, path)
            break
    else:
        raise InputError(str(path), "a header 'time,…' (PVGIS) or 'YEAR,MO,DY,HR,…' (NASA POWER)", "none")
    return _year_of(hours, kind, path, site, tilt)


Hours = dict[tuple[int, int, int, int], float]
"""Value by UTC year, month, day, hour."""


def _pvgis(lines: list[str], at: int, path: Path) -> tuple[Hours, str]:
    rows = csv.DictReader(io.StringIO("\n".join(lines[at:])))
    names = rows.fieldnames or []
    kind = "P" if "P" in names else "G(i)" if "G(i)" in names else ""
    if not kind:
        raise InputError(f"{path}, line {at + 1}", "a column P or G(i)", ", ".join(names))
    peak = 1.0
    if kind == "P":
        said = [line for line in lines[:at] if "peak power" in line.lower()]
        peak = _number(said[0].split(":")[-1].split()[0] if said else "", f"{path}, peak power") * 1000
    hours: Hours = {}
    for number, row in enumerate(rows, start=at + 2):
        stamp = row["time"] or ""
        if len(stamp) != 13 or not stamp.replace(":", "").isdigit():
            break  # the legend under the table
        when = (int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]), int(stamp[9:11]))
        hours[when] = _number(row[kind], f"{path}, line {number}") / peak
    return hours, kind


def _power(lines: list[str], at: int, path: Path) -> tuple[Hours, str]:
    rows = csv.DictReader(io.StringIO("\n".join(lines[at:]).replace(" ", "")))
    names = rows.fieldnames or []
    if "ALLSKY_SFC_SW_DWN" not in names:
        raise InputError(f"{path}, line {at + 1}", "a column ALLSKY_SFC_SW_DWN", ", ".join(names))
    hours: Hours = {}
    for number, row in enumerate(rows, start=at + 2):
        item = f"{path}, line {number}"
        year, month, day, hour = (int(_number(row[name], item)) for name in ("YEAR", "MO", "DY", "HR"))
        value = _number(row["ALLSKY_SFC_SW_DWN"], item)
        if value < 0:
            raise InputError(item, "irradiance of 0 or more", f"{value:g} (no value)")
        hours[year, month, day, hour] = value
    return hours, "GHI"


def _number(text: str | None, item: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(item, "a number", repr(text))
    return value


def _year_of(hours: Hours, kind: str, path: Path, site: Site, tilt: float) -> Weather:
    counts = np.bincount([when[0] for when in hours]) if hours else np.zeros(1, int)
    year = int(counts.argmax())
    missing = steps_in(year) * STEP_MIN // 60 - int(counts.max())
    if not hours or missing:
        raise InputError(str(path), "every hour of one year", f"{missing} hours missing")
    offset = datetime.timedelta(hours=site.utc_offset_h)
    start = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
    utc = [start - offset + datetime.timedelta(hours=n) for n in range(steps_in(year) * STEP_MIN // 60)]
    last: Floats = np.array(
        [
            hours.get((t.year, t.month, t.day, t.hour), hours.get((year, t.month, t.day, t.hour), 0.0))
            for t in utc
        ]
    )
    if last.max() <= 0:
        raise InputError(str(path), "some sun", "none")
    sky = clear_year(site, year, tilt)
    clear = panel_yield(sky, sky.ghi, site.temperature_c, tilt)
    if kind == "P":
        power = _shaped(last, clear)
    elif kind == "G(i)":
        power = _shaped(last, clear) / 1000 * (1 + GAMMA * (site.temperature_c + 10 - 25))
    else:
        power = panel_yield(sky, _shaped(last, sky.ghi), site.temperature_c, tilt)
    return Weather(power, clear, f"{path.name}: {kind} of {year}, hourly", simulated=False)


def _shaped(hourly: Floats, clear: Floats) -> Floats:
    """Hourly means -> steps with the same means, in the shape of the clear sky where it shines."""
    by_hour = clear.reshape(-1, 60 // STEP_MIN)
    mean = by_hour.mean(1, keepdims=True)
    shape = np.where(mean > 1e-6, by_hour / np.maximum(mean, 1e-6), 1.0)
    return np.asarray((shape * hourly[:, None]).ravel())
