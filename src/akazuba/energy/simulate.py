"""A SIMULATED box through a year, in steps of 5 minutes, run by the very policies that run the real one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from akazuba.energy.demand import Demand, Habits
from akazuba.energy.devices import Device
from akazuba.energy.gauge import GaugeCheck
from akazuba.energy.kit import CURVE, STEP_H, STEPS_A_DAY, Kit
from akazuba.energy.rules import DARK, DARK_FROM_H, LOOK_H, MISTAKEN, SESSION_S, look_wh
from akazuba.energy.runs import Faults, Start, Totals, Trace
from akazuba.energy.sun import Floats
from akazuba.energy.values import Charge, Control, Mode, Policy, Reading, Situation
from akazuba.energy.weather import Weather

STEP_S = 300.0
LATE_S = 300.0
MOST_BACKLOG_DAYS = 7.0
"""Training that is older than a week is no longer due."""
FADE_A_YEAR = 0.03
"""Of the battery's capacity (our assumption)."""
CONTROL_STEPS = 2
"""Awake, the box reads its sensors and decides every ten minutes; at rest it looks every LOOK_H hours and
when the post opens. Its button works at once.
"""
A_WHILE_STEPS = 12
"""Longer without a look, the count of what flowed is lost."""
STOP_S = 1.0
"""To stop whatever runs when an emergency comes."""


ASLEEP = Control(
    "blind", False, "off", "off", "off", 0.0, "off", 0.0, 0.0, "student", True, 0.0, True, True, ()
)  # fmt: skip
"""Until the first decision."""


def _rest_volts() -> list[float]:
    grid = np.linspace(0, 1, 1001)
    return [float(v) for v in np.interp(grid, [soc for soc, _ in CURVE], [volts for _, volts in CURVE])]


REST_VOLTS = _rest_volts()


def _dark_days(
    panel: Floats, clear: Floats, first: int
) -> tuple[np.typing.NDArray[np.int64], np.typing.NDArray[np.bool_]]:
    """(steps,) days in a row until yesterday that were dark, and whether today is: as
    `Forecaster.dark_days`.
    """
    n = len(panel)
    days = -(-(n + first) // STEPS_A_DAY)
    both = np.zeros((2, days * STEPS_A_DAY))
    both[:, first : first + n] = panel, clear
    got, whole = both.reshape(2, days, STEPS_A_DAY).cumsum(2)
    today = (got < DARK * whole) & (np.arange(STEPS_A_DAY) >= DARK_FROM_H * 12)
    row = np.zeros(days, dtype=np.int64)
    for day in range(1, days):
        row[day] = row[day - 1] + 1 if today[day - 1, -1] else 0
    here = slice(first, first + n)
    return np.repeat(row, STEPS_A_DAY)[here], today.ravel()[here]


def simulate(  # noqa: C901, PLR0912, PLR0915 - one loop, kept whole for its speed
    policy: Policy,
    device: Device,
    kit: Kit,
    habits: Habits,
    weather: Weather,
    demand: Demand,
    *,
    faults: Faults | None = None,
    start: Start | None = None,
    seed: int = 0,
    steps: int | None = None,
    unlimited_training: bool = False,
    keep: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[Totals, Trace | None]:
    """weather, demand: from the first step on. steps: how many, else all of the weather.

    unlimited_training: there is always something to train. keep: return a trace. progress: called once a day
    with the share done.
    """
    faults = faults or Faults()
    start = start or Start()
    n = steps or len(weather.power)
    rng = np.random.default_rng([seed, 5])
    factor = np.full(n, kit.panel_w * kit.controller_efficiency)
    factor[faults.panel_from * STEPS_A_DAY :] *= faults.panel
    dark = slice(faults.dark_from * STEPS_A_DAY, (faults.dark_from + faults.dark_days) * STEPS_A_DAY)
    factor[dark] *= 0.1
    panel = weather.power[:n] * factor
    panel_w: list[float] = panel.tolist()
    first = round(start.hour * 12)
    clear = weather.clear[:n] * kit.panel_w * kit.controller_efficiency
    dark_days, dark_now = (part.tolist() for part in _dark_days(panel, clear, first))
    noise: list[float] = np.round(faults.gauge_noise * rng.standard_normal(n), 4).tolist()
    volts_noise: list[float] = (faults.volts_bias + 0.01 * rng.standard_normal(n)).tolist()
    at_s: list[float] = [*demand.at_s.tolist(), float("inf")]
    is_emergency: list[bool] = demand.emergency.tolist()
    is_hard: list[bool] = demand.hard.tolist()
    mistaken: list[bool] = (rng.random(len(is_hard)) < MISTAKEN).tolist()

    d = device
    eta = d.converter_efficiency
    screens = {"full": d.screen_full_w, "dim": d.screen_dim_w, "blank": d.screen_blank_w, "off": 0.0}
    radios = {"connected": d.radio_connected_w, "idle": d.radio_idle_w, "off": 0.0}
    check = GaugeCheck(kit)
    decide = policy.control
    rated = kit.battery_wh
    cap = rated * kit.health
    most_in = kit.charge_c * rated * STEP_H
    wh = start.soc * cap
    backlog = start.backlog_h
    due = habits.training_h / STEPS_A_DAY
    most_backlog = habits.training_h * MOST_BACKLOG_DAYS
    mode: Mode = start.mode
    dead = False
    resting = False
    awake_until = used_until = busy_until = urgent_until = 0.0
    synced = 0.0
    load_w = 0.0
    out = Totals(days=n / STEPS_A_DAY)
    base = idle = sleep = screen = radio = words = train = wake = 0.0
    by_mode: dict[str, int] = {"normal": 0, "saving": 0, "emergency-only": 0, "blind": 0}
    kept_wh, kept_load, controls = [], [], []
    stuck: float | None = None
    control = ASLEEP
    decided = False
    since = 0
    moved = panel_sum = rest_wh = 0.0
    stays = True
    resting_wh = {"sleep": d.sleep_w * STEP_H, "off": d.off_w * STEP_H}
    base_wh = d.standby_w * STEP_H
    looks = {"sleep": look_wh(d, "sleep") * eta, "off": look_wh(d, "off") * eta}
    look_steps = round(LOOK_H / STEP_H)
    opens = -1 if habits.around_the_clock else round(habits.opens / STEP_H)
    next_event = 0

    for k in range(n):
        s0 = k * STEP_S
        s1 = s0 + STEP_S
        of_day = (k + first) % STEPS_A_DAY
        if of_day == 0 or k == 0:
            synced = 0.0
            day = k // STEPS_A_DAY
            cap = rated * kit.health * (1 - FADE_A_YEAR * day / 365)
            if progress is not None:
                progress(k / n)
        here_w = panel_w[k]
        backlog = 1e9 if unlimited_training else min(most_backlog, backlog + due)
        soc = wh / cap
        if dead and soc >= kit.reconnect:
            dead, resting = False, True
            awake_until = s0
        events_from = next_event
        while at_s[next_event] < s1:
            next_event += 1
        gained = here_w * STEP_H
        if dead:
            for event in range(events_from, next_event):
                if is_emergency[event]:
                    out.emergencies += 1
                    out.missed += 1
                else:
                    out.routine += 1
                    out.refused += 1
            out.blackout_h += STEP_H
            load_w = d.standby_w
            used = d.standby_w * STEP_H
            base += used
        else:
            looked = 0.0
            by_alarm = resting and (since >= look_steps or of_day == opens)
            if not decided or by_alarm or (since >= CONTROL_STEPS and not resting):
                # what the sensors say
                said_soc: float | None = soc + faults.gauge_bias + noise[k]
                if faults.gauge:
                    said_soc = None if faults.gauge == "gone" else 1.4
                elif faults.gauge_stuck_from is not None and k >= faults.gauge_stuck_from * STEPS_A_DAY:
                    stuck = said_soc if stuck is None else stuck
                    said_soc = stuck
                elif said_soc is not None:
                    said_soc = 0.0 if said_soc < 0 else 1.0 if said_soc > 1 else said_soc
                net_w = here_w - load_w
                mean_w = moved / since / STEP_H if since else load_w
                if soc > 0.985 and net_w > 0:
                    volts = 14.2
                else:
                    volts = REST_VOLTS[max(0, min(1000, int(soc * 1000)))] + volts_noise[k]
                    volts += net_w / 13 * kit.resistance_ohm
                count_w = panel_sum / since if since else here_w
                reading = Reading(said_soc, volts, count_w, mean_w * faults.load_gain)
                if since > A_WHILE_STEPS:
                    check.forget()
                    since = 0
                charge: Charge = check.check(reading, since * STEP_H)
                lost = faults.clock_lost_from is not None and k >= faults.clock_lost_from * STEPS_A_DAY
                control = decide(
                    Situation(
                        k,
                        None if lost else of_day / 12,
                        charge,
                        here_w,
                        backlog,
                        synced,
                        mode,
                        dark_days[k],
                        dark_now[k],
                    )
                )
                mode = control.mode
                stays = control.awake
                rest_wh = resting_wh[control.rest]
                if by_alarm and not stays:
                    looked = looks[control.rest]
                    out.looks += 1
                decided, since, moved, panel_sum = True, 0, 0.0, 0.0
            since += 1
            panel_sum += here_w
            by_mode[mode] += 1

        if not dead and not stays and events_from == next_event and awake_until <= s0:
            resting = True
            base += base_wh
            sleep += rest_wh
            wake += looked
            used = base_wh + (rest_wh + looked) / eta
            load_w = used / STEP_H
            moved += used
        elif not dead:
            # who comes
            waking = words_ws = busy_s = 0.0
            if stays:
                if resting:
                    out.wakes += 1
                    waking = (
                        d.wake_s * (d.wake_w - d.idle_w)
                        if control.rest == "sleep"
                        else (d.boot_s * (d.boot_w - d.idle_w))
                    )
                    awake_until = s0 + (d.wake_s if control.rest == "sleep" else d.boot_s)
                    busy_until = max(busy_until, awake_until)
                    urgent_until = max(urgent_until, awake_until)
                resting = False
                awake_s = STEP_S
            else:
                awake_s = max(0.0, min(awake_until, s1) - s0)
            cursor = s0 + awake_s
            use_cursor = min(max(used_until, s0), s1)
            use_s = use_cursor - s0
            for event in range(events_from, next_event):
                t = at_s[event]
                urgent = is_emergency[event]
                if urgent:
                    out.emergencies += 1
                else:
                    out.routine += 1
                    if not control.routine:
                        out.refused += 1
                        if not mistaken[event]:
                            continue
                asleep = not stays and t >= awake_until
                ready = t
                if asleep:
                    if not control.button:
                        if urgent:
                            out.missed += 1
                        else:
                            out.refused += 1
                        continue
                    out.wakes += 1
                    if control.rest == "sleep":
                        ready, extra = t + d.wake_s, d.wake_s * (d.wake_w - d.idle_w)
                    else:
                        ready, extra = t + d.boot_s, d.boot_s * (d.boot_w - d.idle_w)
                    waking += extra
                    busy_until = max(busy_until, ready)
                    urgent_until = max(urgent_until, ready)
                    if not urgent:
                        out.cold += 1
                if not urgent and not control.routine:
                    until = ready + control.linger_s
                elif urgent and control.preempt:
                    begin = max(ready, urgent_until) + STOP_S
                    done = begin + d.student_s
                    words_ws += d.student_s * (d.student_w - d.idle_w)
                    busy_s += d.student_s
                    urgent_until = done
                    busy_until = max(busy_until, t) + d.student_s
                    if control.tier != "student":
                        words_ws += d.large_s * (d.large_w - d.idle_w)
                        busy_s += d.large_s
                        busy_until += d.large_s
                    until = max(busy_until, done + SESSION_S) + control.linger_s
                else:
                    begin = max(ready, busy_until)
                    large = control.tier == "large"
                    done = begin + (d.large_s if large else d.student_s)
                    if large:
                        words_ws += d.large_s * (d.large_w - d.idle_w)
                    else:
                        words_ws += d.student_s * (d.student_w - d.idle_w)
                        if is_hard[event]:
                            if control.tier == "cascade":
                                words_ws += d.large_s * (d.large_w - d.idle_w)
                                done += d.large_s
                            else:
                                out.student_only += 1
                    busy_s += done - begin
                    busy_until = done
                    until = done + SESSION_S + control.linger_s
                if urgent:
                    if done - t > LATE_S:
                        out.late += 1
                    out.slowest_s = max(out.slowest_s, done - t)
                if not stays:
                    seen = min(until, s1)
                    if seen > max(cursor, t):
                        awake_s += seen - max(cursor, t)
                        cursor = seen
                awake_until = max(awake_until, until)
                used_until = max(used_until, t + SESSION_S + control.hold_s)
                seen = min(used_until, s1)
                if seen > max(use_cursor, t):
                    use_s += seen - max(use_cursor, t)
                    use_cursor = seen
            if stays:
                awake_until = max(awake_until, s1)
            resting = awake_until <= s1 and not stays

            # what it takes
            free = 1 - busy_s / STEP_S
            train_wh = 0.0
            if backlog > 0 and free > 0 and stays and (control.train or control.train_low):
                full = control.train * free
                slow = control.train_low * free
                hours = (full + slow * d.train_low_speed) * STEP_H
                if hours > backlog:
                    full, slow, hours = full * backlog / hours, slow * backlog / hours, backlog
                train_wh = (full * (d.train_w - d.idle_w) + slow * (d.train_low_w - d.idle_w)) * STEP_H
                backlog -= hours
                out.training_h += hours
            awake_h = awake_s / 3600
            use_h = min(use_s, awake_s) / 3600
            screen_wh = use_h * screens[control.screen] + (awake_h - use_h) * screens[control.screen_after]
            radio_wh = radios[control.radio] * (
                awake_h if awake_h or control.radio != "connected" else STEP_H
            )
            if control.radio == "connected" and awake_s:
                out.contacts += synced == 0.0
                synced += awake_s / 60
            idle_wh = awake_h * d.idle_w
            sleep_wh = (1 - awake_h / STEP_H) * rest_wh
            words_wh = words_ws / 3600
            wake_wh = waking / 3600 + looked
            used = base_wh + (idle_wh + sleep_wh + screen_wh + radio_wh + words_wh + train_wh + wake_wh) / eta
            base += base_wh
            idle += idle_wh
            sleep += sleep_wh
            screen += screen_wh
            radio += radio_wh
            words += words_wh
            train += train_wh
            wake += wake_wh
            load_w = used / STEP_H
            moved += used

        # the battery
        out.load_wh += used
        out.panel_wh += gained
        net = gained - used
        if net >= 0:
            taken = min(net, most_in, (cap - wh) / kit.charge_efficiency)
            taken = max(taken, 0.0)
            wh += taken * kit.charge_efficiency
            out.unused_wh += net - taken
        else:
            drawn = -net / kit.discharge_efficiency
            out.through_wh += drawn
            wh -= drawn
            if wh < kit.disconnect * cap:
                wh = max(wh, 0.0)
                dead = True
                decided = False
                awake_until = used_until = busy_until = urgent_until = 0.0
        if wh < out.lowest_soc * cap:
            out.lowest_soc = wh / cap
        if keep:
            controls.append(control)
            kept_wh.append(wh)
            kept_load.append(used / STEP_H)

    parts = {
        "standby": base, "idle": idle, "rest": sleep, "screen": screen, "radio": radio, "words": words,
        "training": train, "waking": wake,
    }  # fmt: skip
    out.parts = {name: value if name == "standby" else value / eta for name, value in parts.items()}
    out.modes_h = {name: count * STEP_H for name, count in by_mode.items()}
    trace = Trace(np.array(kept_wh), np.array(kept_load), panel, tuple(controls)) if keep else None
    return out, trace
