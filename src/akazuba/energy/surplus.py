"""What the sun will give over and above, and whether this box may train on it.

A terminal of the federation picks itself by this: it trains when its rules or its plan let it and what that
takes would otherwise be lost. Nobody else learns of its sun.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from akazuba.energy.devices import Device
from akazuba.energy.kit import STEP_H, Kit
from akazuba.energy.outlook import Outlook
from akazuba.energy.values import Control

AHEAD_H = 24.0


@dataclass(frozen=True)
class Surplus:
    """p25_wh: what the panel gives in three of four cases, and neither the box takes nor the battery holds.
    from_s, until_s: since 1970 by the box's clock.
    """

    p25_wh: float
    from_s: float
    until_s: float


@dataclass(frozen=True)
class Verdict:
    """surplus: None where none is known or asked for."""

    allowed: bool
    because: str
    surplus: Surplus | None = None


def surplus(idle: Outlook, kit: Kit, at: float, hours: float = AHEAD_H) -> Surplus:
    """idle: from `at` on, of a box that trains nothing. hours: at most the two days of an outlook."""
    trace = idle.trace
    steps = min(len(trace.wh), round(hours / STEP_H))
    net = (trace.panel_w - trace.load_w)[1:steps] * STEP_H
    stored = np.diff(trace.wh[:steps]) / kit.charge_efficiency
    over = np.maximum(0.0, net - np.maximum(0.0, stored))
    return Surplus(round(float(over.sum()), 3), at, at + steps * STEP_H * 3600)


def training_wh(device: Device, hours: float) -> float:
    """What so many hours of training at full clock take at the battery's side, above a box that waits."""
    return hours * (device.train_w - device.idle_w) / device.converter_efficiency


def may_train(control: Control, spare: Surplus | None, wh: float) -> Verdict:
    """control: with training that waits. wh: what the training takes."""
    if control.train + control.train_low <= 0:
        said = [str(reason) for reason in control.reasons if reason.code.startswith("training-")]
        return Verdict(False, said[0] if said else f"training waits: {control.reasons[-1]}", spare)
    if spare is None:
        return Verdict(False, "training waits: the charge or the hour is unknown")
    if wh > spare.p25_wh:
        lacks = f"it takes {wh:.1f} Wh, the sun leaves {spare.p25_wh:.1f} Wh"
        return Verdict(False, f"training waits: {lacks}", spare)
    return Verdict(True, f"training: {wh:.1f} Wh of {spare.p25_wh:.0f} Wh to spare", spare)
