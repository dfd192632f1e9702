"""Panel and battery: a reservoir with efficiencies, and the voltage of a lithium iron phosphate battery.

A reservoir came within 1.2 % of a detailed battery model in our first sketches (source: prototype).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from akazuba.errors import InputError

STEP_MIN = 5
STEP_H = STEP_MIN / 60
STEPS_A_DAY = 24 * 60 // STEP_MIN

CURVE = (
    (0.00, 10.00),
    (0.05, 11.60),
    (0.10, 12.40),
    (0.15, 12.75),
    (0.20, 12.88),
    (0.30, 13.00),
    (0.40, 13.08),
    (0.50, 13.14),
    (0.60, 13.18),
    (0.70, 13.24),
    (0.80, 13.30),
    (0.90, 13.34),
    (0.98, 13.40),
    (1.00, 13.60),
)
"""State of charge and rest voltage of four lithium iron phosphate cells in series, as makers chart them
(source: unverified).
"""
FULL_V = 14.0
"""Held by the charger near the end of absorption only (14.2 to 14.6 V by most makers; source: unverified)."""


@dataclass(frozen=True)
class Kit:
    """panel_w: rated at standard test conditions. battery_wh: rated and new.

    Efficiencies (assumed): controller, into and out of the battery. charge_c: most power into the battery, in
    battery_wh an hour. disconnect, reconnect: shares of charge at which the controller cuts the load off and
    gives it back. health: what is left of the capacity. resistance_ohm: of battery and leads.
    """

    panel_w: float = 20.0
    battery_wh: float = 128.0
    controller_efficiency: float = 0.95
    charge_efficiency: float = 0.97
    discharge_efficiency: float = 0.97
    charge_c: float = 0.5
    disconnect: float = 0.05
    reconnect: float = 0.15
    health: float = 1.0
    resistance_ohm: float = 0.05

    def __post_init__(self) -> None:
        for name, low, high in (("panel_w", 1, 100_000), ("battery_wh", 5, 1_000_000), ("health", 0.2, 1)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"kit.{name}", f"{low} to {high}", f"{value:g}")


def rest_voltage(soc: float) -> float:
    """Volts of the battery at rest; soc from 0 to 1.

    >>> round(rest_voltage(0.25), 2)
    12.94
    """
    if soc <= 0:
        return CURVE[0][1]
    for (soc0, v0), (soc1, v1) in pairwise(CURVE):
        if soc <= soc1:
            return v0 + (v1 - v0) * (soc - soc0) / (soc1 - soc0)
    return CURVE[-1][1]


def _charges() -> tuple[float, ...]:
    found, at = [], 0
    for millivolts in range(round(CURVE[0][1] * 1000), round(CURVE[-1][1] * 1000) + 1):
        while at < len(CURVE) - 2 and millivolts / 1000 > CURVE[at + 1][1]:
            at += 1
        (soc0, v0), (soc1, v1) = CURVE[at], CURVE[at + 1]
        found.append(soc0 + (soc1 - soc0) * (millivolts / 1000 - v0) / (v1 - v0))
    return tuple(found)


_CHARGES = _charges()
"""For every millivolt of the curve."""


def most_charge_at(volts: float) -> float:
    """The share of charge that a rest voltage stands for.

    >>> round(most_charge_at(12.94), 2)
    0.25
    """
    at = round((volts - CURVE[0][1]) * 1000)
    return 0.0 if at < 0 else 1.0 if at >= len(_CHARGES) else _CHARGES[at]
