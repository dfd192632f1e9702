"""What goes wrong in a SIMULATED run, how it begins, what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from akazuba.energy.sun import Floats
from akazuba.energy.values import Control, Mode


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Shares and volts; days count from 0.

    gauge_bias, gauge_noise: of the gauge, in shares of charge. volts_bias: of the voltage. load_gain: of the
    meter of the load. gauge_stuck_from: the day from which it stands still. gauge: "gone" or "absurd" (140
    %). dark_from, dark_days: a spell in which the sky gives a tenth. panel: what is left of it from
    panel_from on. clock_lost_from: the day from which the clock says 1970.
    """

    gauge_bias: float = 0.0
    gauge_noise: float = 0.01
    volts_bias: float = 0.0
    load_gain: float = 1.02
    gauge_stuck_from: int | None = None
    gauge: str = ""
    dark_from: int = 200
    dark_days: int = 0
    panel: float = 1.0
    panel_from: int = 0
    clock_lost_from: int | None = None


@dataclass
class Totals:
    """Sums over the run: Wh, counts, hours. parts: Wh by what used them, at the battery's side."""

    days: float = 0.0
    load_wh: float = 0.0
    panel_wh: float = 0.0
    unused_wh: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    emergencies: int = 0
    missed: int = 0
    late: int = 0
    slowest_s: float = 0.0
    routine: int = 0
    refused: int = 0
    cold: int = 0
    student_only: int = 0
    training_h: float = 0.0
    blackout_h: float = 0.0
    wakes: int = 0
    looks: int = 0
    contacts: int = 0
    lowest_soc: float = 1.0
    through_wh: float = 0.0
    modes_h: dict[str, float] = field(default_factory=dict)

    @property
    def wh_a_day(self) -> float:
        return self.load_wh / self.days

    @property
    def training_h_a_day(self) -> float:
        return self.training_h / self.days

    @property
    def served(self) -> float:
        """Share of the routine consultations that were answered."""
        return 1 - self.refused / self.routine if self.routine else 1.0


@dataclass(frozen=True)
class Trace:
    """By step: Wh in the battery, W of load and panel, and each step's control."""

    wh: Floats
    load_w: Floats
    panel_w: Floats
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class Start:
    """How a run begins. hour: of the first step."""

    soc: float = 0.6
    backlog_h: float = 0.0
    hour: float = 0.0
    mode: Mode = "normal"
