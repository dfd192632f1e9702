"""What the rules are measured against: boxes without a plan.

A: always on, screen lit, radio waiting for calls, training after the post closes, one large model for all.
A1: A with the screen blanked ten minutes after use, as every operating system does (the fair baseline).
B: A1 that sleeps below 30 % charge until 40 %, without a wake button.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from akazuba.energy.values import Control, Reason, Situation

TEN_MINUTES_S = 600.0


@dataclass(frozen=True)
class AlwaysOn:
    """A, or A1 with blanks=True."""

    blanks: bool = False

    @property
    def name(self) -> str:
        return "A1 (always on, screen blanks)" if self.blanks else "A (always on)"

    def control(self, now: Situation) -> Control:
        hour = 0.0 if now.hour is None else now.hour
        trains = 1.0 if now.backlog_h > 0 and 18 <= hour < 21 else 0.0
        return Control(
            "normal",
            True,
            "sleep",
            "full",
            "blank" if self.blanks else "full",
            TEN_MINUTES_S,
            "connected" if 2 <= hour < 2.5 else "idle",
            trains,
            0.0,
            "large",
            True,
            0.0,
            False,
            False,
            (Reason("always"),),
        )


@dataclass
class Threshold:
    """B."""

    battery_wh: float
    name: str = "B (sleeps below 30 %)"
    _awake: AlwaysOn = field(default_factory=lambda: AlwaysOn(blanks=True))
    _asleep: bool = False

    def control(self, now: Situation) -> Control:
        soc = (now.charge.wh or 0.0) / self.battery_wh
        self._asleep = soc < 0.3 or (self._asleep and soc < 0.4)
        control = self._awake.control(now)
        if self._asleep:
            return control._replace(awake=False, train=0.0, radio="off", reasons=(Reason("below-30"),))
        return control
