"""The rules by which the box spends: floor, then emergencies only, then saving, then everything.

The floor does not depend on any forecast: it is what emergencies take through days without any sun. Below it
routine work is refused; an emergency is answered in every mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from akazuba.energy.demand import Habits, expected_emergencies, expected_routine
from akazuba.energy.devices import Device
from akazuba.energy.kit import Kit
from akazuba.energy.values import Control, Mode, Radio, Reason, Rest, Situation, Tier

LINGER_S, SHORT_LINGER_S = 600.0, 60.0
SESSION_S = 180.0
"""Somebody looks at the screen for so long at each consultation (our assumption)."""
HOLD_S = 30.0
LOOK_H, LOOKING_S = 3.0, 20.0
"""A resting box has its clock wake it so often, and when the post opens, to look and decide anew."""
MISTAKEN = 0.1
"""Share of the routine patients for whom somebody presses the button although it says emergencies only."""
CONTACT_MIN = 20.0
"""Radio contact a day."""


@dataclass(frozen=True)
class Tuning:
    """What was chosen on other site-years than those reported (`benchmarks/energy.py --tune`).

    reserve_days: of the floor. saving: above the floor, as a share of the battery, below which the box sleeps
    between patients. night: the same for staying awake through the night. train_low, train_full: shares of
    charge from which it trains at low and full clock (2 is never). train_sun: the panel's power that training
    needs, as a share of what training draws. train_closed: share of charge from which it also trains while
    the post is closed. contact_hour: of the radio. suspend: sleeping between patients whatever the charge.
    """

    reserve_days: float = 3.5
    saving: float = 0.3
    night: float = 0.4
    train_low: float = 0.6
    train_full: float = 2.0
    train_sun: float = 0.5
    train_closed: float = 0.9
    contact_hour: float = 12.0
    suspend: bool = False


DARK, DARK_FROM_H = 0.12, 11.0
"""A day is dark when the panel gave less than this share of a clear day; today, by any hour from then on."""
DARK_RESERVE = 3.0
"""After a dark day the floor holds the reserve of so many times the days, on one half of what that adds."""
MOST_FLOOR, MOST_RAISED = 0.6, 0.85
"""Shares of the battery that a floor may take: a kit too small for the reserve holds less."""


def emergency_wh(device: Device) -> float:
    """Of one emergency answered from off with the small model, at the battery's side, in Wh."""
    seconds = device.student_s + SESSION_S + SHORT_LINGER_S
    answer = device.student_s * (device.student_w - device.idle_w)
    awake = seconds * device.idle_w + SESSION_S * device.screen_dim_w
    return (device.boot_s * device.boot_w + answer + awake) / 3600 / device.converter_efficiency


def look_wh(device: Device, rest: Rest) -> float:
    """Of one look at the sensors out of rest, by the clock's alarm, at the battery's side, in Wh."""
    seconds, watts = (device.wake_s, device.wake_w) if rest == "sleep" else (device.boot_s, device.boot_w)
    return (seconds * watts + LOOKING_S * device.idle_w) / 3600 / device.converter_efficiency


def mistaken_wh(device: Device) -> float:
    """Of a press for somebody who is no emergency, in Wh."""
    awake = SHORT_LINGER_S * (device.idle_w + device.screen_dim_w)
    return (device.boot_s * device.boot_w + awake) / 3600 / device.converter_efficiency


def reserve_wh(device: Device, habits: Habits, days: float) -> float:
    """What standing by, looking and emergencies take in so many days without sun: their number is the mean
    and three standard deviations of a Poisson count.
    """
    standing = 24 * days * (device.standby_w + device.off_w / device.converter_efficiency)
    mean = habits.emergencies * days
    looked = 24 / LOOK_H * days * look_wh(device, "off")
    pressed = mistaken_wh(device) * MISTAKEN * habits.routine * days
    return standing + (mean + 3 * math.sqrt(mean)) * emergency_wh(device) + pressed + looked


@dataclass(frozen=True)
class Limits:
    """Wh in the battery from which something is allowed; leaving a mode takes a little more than entering
    it.
    """

    floor: float
    saving: float
    night: float
    train_low: float
    train_full: float
    raised: float
    back: float


def limits(device: Device, kit: Kit, habits: Habits, tuning: Tuning) -> Limits:
    unusable = kit.disconnect * kit.battery_wh

    def floor(days: float, most: float) -> float:
        return min(most * kit.battery_wh, unusable + reserve_wh(device, habits, days))

    low = floor(tuning.reserve_days, MOST_FLOOR)
    saving = low + tuning.saving * kit.battery_wh
    night = low + tuning.night * kit.battery_wh
    train = max(saving, tuning.train_low * kit.battery_wh)
    full = max(train, tuning.train_full * kit.battery_wh)
    raised = floor(tuning.reserve_days * DARK_RESERVE, MOST_RAISED) - low
    return Limits(low, saving, night, train, full, raised, 0.03 * kit.battery_wh)


@dataclass(frozen=True)
class Rules:
    """The policy of the box without a plan."""

    device: Device
    kit: Kit
    habits: Habits
    tuning: Tuning = field(default_factory=Tuning)
    name: str = "rules"
    limits: Limits = field(init=False)
    awake_w: float = field(init=False)
    closed_rest: Rest = field(init=False)
    training_w: float = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        device = self.device
        put(self, "limits", limits(device, self.kit, self.habits, self.tuning))
        put(self, "awake_w", device.idle_w / device.converter_efficiency + device.standby_w)
        put(self, "closed_rest", cheaper_rest(device, self.habits))
        put(self, "training_w", device.train_low_w / device.converter_efficiency + device.standby_w)

    def control(self, now: Situation) -> Control:
        """Floor first, then emergencies only, then what the charge allows."""
        wh = now.charge.wh
        if wh is None:
            return self._blind(now)
        low = self.limits
        raised = low.raised if now.dark_days else low.raised / 2 if now.dark_today else 0.0
        first: tuple[Reason, ...] = ()
        if now.dark_days:
            first = (Reason("dark-days", now.dark_days),)
        if now.dark_today:
            first += (Reason("dark-today"),)
        if now.charge.problem:
            first += (Reason("gauge"),)
        floor = low.floor + raised
        enter = floor + (low.back if now.before == "emergency-only" else 0.0)
        if wh < enter:
            return self._emergencies_only(enter - wh, first)
        enter = low.saving + raised + (low.back if now.before in ("emergency-only", "saving") else 0.0)
        if now.dark_today:
            enter = max(enter, low.floor + low.raised)
        if wh < enter:
            return self._saving(now, enter - wh, first)
        return self._normal(now, wh, floor, first)

    def _emergencies_only(self, wanting: float, first: tuple[Reason, ...]) -> Control:
        reasons = (*first, Reason("emergency-only", wanting), Reason("training-floor", wanting))
        return _resting("emergency-only", "off", "off", reasons, routine=False)

    def _saving(self, now: Situation, wanting: float, first: tuple[Reason, ...]) -> Control:
        open_ = now.hour is not None and self.habits.open_at(now.hour)
        rest: Rest = "sleep" if open_ else self.closed_rest
        reasons = (*first, Reason("saving", wanting), Reason("training-charge", wanting))
        return _resting("saving", rest, "off", (*reasons, Reason("sync-waits", wanting)))

    def _blind(self, now: Situation) -> Control:
        carried = now.panel_w is not None and now.panel_w > 1.2 * self.awake_w
        reason = Reason("blind-sun" if carried else "blind-dark")
        held = _resting("blind", "sleep", "off", (Reason("gauge"), reason))
        return held._replace(awake=carried)

    def _normal(self, now: Situation, wh: float, floor: float, first: tuple[Reason, ...]) -> Control:
        hour = now.hour
        awake, why = self._awake(now, wh)
        train, train_low, trains = self._training(now, wh, floor)
        if (train or train_low) and not awake:
            awake, why = True, Reason("training")
        radio, contact = self._contact(now)
        if hour is None:
            first = (*first, Reason("no-clock"))
        tier: Tier = "cascade"
        return Control(
            "normal",
            awake,
            "sleep" if hour is None or self.habits.open_at(hour) else self.closed_rest,
            "dim",
            "off",
            HOLD_S,
            radio,
            train,
            train_low,
            tier,
            True,
            LINGER_S if awake and not self.tuning.suspend else SHORT_LINGER_S,
            True,
            True,
            (*first, why, trains, contact),
        )

    def _awake(self, now: Situation, wh: float) -> tuple[bool, Reason]:
        hour = now.hour
        if self.tuning.suspend:
            return False, Reason("between")
        if hour is None:
            day = now.panel_w is not None and now.panel_w > 0.05 * self.kit.panel_w
            return day, Reason("open" if day else "closed")
        if not self.habits.open_at(hour):
            return False, Reason("closed")
        dark = not 6.5 <= hour < 17.5
        if self.habits.around_the_clock and dark:
            spare = wh - ((6.5 - hour) % 24) * self.awake_w - self.limits.night
            return spare >= 0, Reason("night-warm", spare) if spare >= 0 else Reason("night-cold", -spare)
        return True, Reason("open")

    def _training(self, now: Situation, wh: float, floor: float) -> tuple[float, float, Reason]:
        low = self.limits
        if now.backlog_h <= 0:
            return 0.0, 0.0, Reason("training-none")
        if wh < low.train_low:
            return 0.0, 0.0, Reason("training-charge", low.train_low - wh)
        if wh < self.tuning.train_closed * self.kit.battery_wh and not (
            now.hour is None or self.habits.open_at(now.hour)
        ):
            return 0.0, 0.0, Reason("training-open", self.habits.opens)
        sun = now.panel_w or 0.0
        if sun < self.tuning.train_sun * self.training_w:
            return 0.0, 0.0, Reason("training-sun", sun)
        if wh >= low.train_full:
            return 1.0, 0.0, Reason("training-full", wh - floor)
        return 0.0, 1.0, Reason("training-now", wh - floor)

    def _contact(self, now: Situation) -> tuple[Radio, Reason]:
        if now.synced_min >= CONTACT_MIN:
            return "off", Reason("sync-done")
        if now.hour is None or now.hour >= self.tuning.contact_hour:
            return "connected", Reason("sync-now")
        return "off", Reason("sync-later", self.tuning.contact_hour)


def cheaper_rest(device: Device, habits: Habits) -> Rest:
    """Sleep or off while the post is closed, by what both take until it opens again."""
    closed_h = 24 - (habits.closes - habits.opens)
    if closed_h <= 0:
        return "sleep"
    steps_open = [habits.open_at(step / 12) for step in range(288)]
    each = expected_emergencies(habits) + expected_routine(habits)
    wakes = float(sum(count for count, open_ in zip(each, steps_open, strict=True) if not open_))
    sleeping = closed_h * device.sleep_w + wakes * device.wake_s * device.wake_w / 3600
    off = closed_h * device.off_w + wakes * device.boot_s * device.boot_w / 3600
    return "off" if off <= sleeping else "sleep"


def _resting(
    mode: Mode, rest: Rest, radio: Radio, reasons: tuple[Reason, ...], *, routine: bool = True
) -> Control:
    """Woken by its button for a patient, small model, no training."""
    return Control(
        mode, False, rest, "dim", "off", HOLD_S, radio, 0.0, 0.0, "student", routine, SHORT_LINGER_S,
        True, True, reasons,
    )  # fmt: skip
