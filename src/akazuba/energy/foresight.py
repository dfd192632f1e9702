"""What could not be done better: a year's linear programme that knows every cloud and every patient.

A relaxation (shares of two hours, no order of service, no reserve), so it bounds every policy from below in
energy and from above in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from akazuba.energy.demand import STEP_S, Demand, Habits
from akazuba.energy.devices import Device
from akazuba.energy.kit import STEP_H, STEPS_A_DAY, Kit
from akazuba.energy.lp import Programme
from akazuba.energy.rules import CONTACT_MIN, SESSION_S
from akazuba.energy.sun import Floats
from akazuba.energy.weather import Weather

SLOT_STEPS = 24


@dataclass(frozen=True)
class Bound:
    """wh_a_day: least energy of the load; training_h_a_day: done in it; unserved_wh_a_day: what even
    foresight could not give.
    """

    wh_a_day: float
    training_h_a_day: float
    unserved_wh_a_day: float


def least_energy(
    device: Device,
    kit: Kit,
    habits: Habits,
    weather: Weather,
    demand: Demand,
    training_h: float,
    start: float = 0.6,
) -> Bound:
    """With the post answered at once while open and `training_h` of training a day. Raises NoPlanError."""
    return _bound(device, kit, habits, weather, demand, training_h, start, most=False)


def most_training(
    device: Device,
    kit: Kit,
    habits: Habits,
    weather: Weather,
    demand: Demand,
    cap_h: float,
    start: float = 0.6,
) -> Bound:
    """At most cap_h of training a day on average, with the same service. Raises NoPlanError."""
    return _bound(device, kit, habits, weather, demand, cap_h, start, most=True)


def _needed(device: Device, habits: Habits, demand: Demand, slots: int) -> tuple[Floats, Floats]:
    """(slots,) share awake that the service takes, and Wh of answers, screen and radio, at the board."""
    d = device
    slot_s = SLOT_STEPS * STEP_S
    slot = (demand.at_s / slot_s).astype(np.int64)
    seconds = d.student_s + SESSION_S + np.where(demand.emergency | demand.hard, d.large_s, 0.0)
    step_hour = np.arange(slots * SLOT_STEPS) * STEP_H % 24
    open_step = (step_hour >= habits.opens) & (step_hour < habits.closes)
    open_ = open_step.reshape(slots, SLOT_STEPS).mean(1)
    served = open_step[(demand.at_s / STEP_S).astype(np.int64)]
    rest_s, rest_w = (d.boot_s, d.boot_w) if d.off_w < d.sleep_w else (d.wake_s, d.wake_w)
    waking = np.where(served, 0.0, rest_s)
    awake = np.minimum(
        1.0, open_ + np.bincount(slot, np.where(served, 0.0, seconds + waking), slots) / slot_s
    )
    asked = (
        d.student_s * (d.student_w - d.idle_w)
        + np.where(demand.emergency | demand.hard, d.large_s * (d.large_w - d.idle_w), 0.0)
        + SESSION_S * d.screen_dim_w
        + waking * (rest_w - d.idle_w)
    ) / 3600
    contact = CONTACT_MIN / 60 * d.radio_connected_w
    wh = np.bincount(slot, asked, slots) + np.where(step_hour[::SLOT_STEPS] == 12, contact, 0.0)
    return awake, np.asarray(wh, dtype=np.float64)


def _bound(
    device: Device, kit: Kit, habits: Habits, weather: Weather, demand: Demand, training_h: float,
    start: float,
    *, most: bool,
) -> Bound:  # fmt: skip
    d, eta = device, device.converter_efficiency
    days = len(weather.power) // STEPS_A_DAY
    n = days * STEPS_A_DAY // SLOT_STEPS
    hours = SLOT_STEPS * STEP_H
    rest_w = min(d.sleep_w, d.off_w)
    panel = weather.power[: n * SLOT_STEPS].reshape(n, SLOT_STEPS).sum(1) * STEP_H
    panel = panel * kit.panel_w * kit.controller_efficiency
    awake, wh = _needed(device, habits, demand, n)
    fixed = d.standby_w * hours + (rest_w * hours + awake * (d.idle_w - rest_w) * hours + wh) / eta
    more_wh = (d.idle_w - rest_w) * hours / eta
    full_wh, low_wh = (d.train_w - d.idle_w) * hours / eta, (d.train_low_w - d.idle_w) * hours / eta
    lp = Programme()
    more = lp.columns(n, 1 - awake, 0.0 if most else more_wh)
    full = lp.columns(n, 1.0, -hours if most else full_wh)
    low = lp.columns(n, 1.0, -hours * d.train_low_speed if most else low_wh)
    stored = lp.columns(n, kit.battery_wh, low=kit.disconnect * kit.battery_wh)
    into = lp.columns(n, kit.charge_c * kit.battery_wh * hours)
    out = lp.columns(n, np.inf, 1e-5)
    unused = lp.columns(n)
    missing = lp.columns(n, np.inf, 100.0)
    given = panel - fixed
    lp.rows(
        given, given, (into, 1.0), (out, -1.0), (unused, 1.0), (missing, -1.0),
        (more, more_wh), (full, full_wh), (low, low_wh),
    )  # fmt: skip
    first = np.zeros(n)
    first[0] = start * kit.battery_wh
    lp.rows(
        first, first,
        (stored, 1.0), (stored[:-1], -1.0),
        (into, -kit.charge_efficiency), (out, 1 / kit.discharge_efficiency),
    )  # fmt: skip
    lp.rows(-np.inf, awake, (full, 1.0), (low, 1.0), (more, -1.0))
    total = training_h * days
    bounds = (0.0, total) if most else (total, np.inf)
    lp.row(*bounds, (full, hours), (low, hours * d.train_low_speed))
    x = lp.solve(interior=True, seconds=120.0).x
    load = fixed + more_wh * x[more] + full_wh * x[full] + low_wh * x[low]
    trained = hours * (x[full] + d.train_low_speed * x[low])
    return Bound(float(load.sum()) / days, float(trained.sum()) / days, float(x[missing].sum()) / days)
