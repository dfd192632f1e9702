"""What a sensor said, what is known of the battery, what the box should do and why.

Named tuples where a simulated year makes a hundred thousand of them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Mode = Literal["normal", "saving", "emergency-only", "blind"]
Screen = Literal["full", "dim", "blank", "off"]
Radio = Literal["connected", "idle", "off"]
Tier = Literal["student", "cascade", "large"]
Rest = Literal["sleep", "off"]

IN_USE = "in-use"
"""In the data folder: the page touches it while somebody is served."""


class Reading(NamedTuple):
    """What the sensors say now; None where there is none.

    soc: share from 0 to 1 as the gauge gives it. volts: of the battery. panel_w: out of the panel's
    controller. load_w: out of the battery and the controller into the box.
    """

    soc: float | None = None
    volts: float | None = None
    panel_w: float | None = None
    load_w: float | None = None


class Charge(NamedTuple):
    """wh: what may safely be counted on in the battery, None when nobody knows. problem: "" or what is wrong
    with the gauge, in words.
    """

    wh: float | None
    problem: str = ""


class Situation(NamedTuple):
    """What a policy decides from.

    step: steps of 5 minutes since the box began to count, never set back. hour: local, 0 to 24, None when the
    clock cannot be right. backlog_h: hours of training that wait, at full clock. synced_min: minutes of radio
    contact today. before: the last mode. dark_days: days in a row until yesterday on which the panel gave
    next to nothing; dark_today: whether today is one so far.
    """

    step: int
    hour: float | None
    charge: Charge
    panel_w: float | None
    backlog_h: float
    synced_min: float
    before: Mode
    dark_days: int = 0
    dark_today: bool = False


class Reason(NamedTuple):
    """One decision in words; `figure` fills the text's place.

    >>> str(Reason("training-floor", 41.2))
    'training waits: 41 Wh to the floor'
    """

    code: str
    figure: float = 0.0

    def __str__(self) -> str:
        return TEXTS[self.code].format(self.figure)


TEXTS = {
    "always": "always on",
    "below-30": "asleep: charge below 30 %",
    "open": "awake: the post is open",
    "training": "awake: training in the sun",
    "closed": "asleep: the post is closed, its button wakes it",
    "between": "asleep between patients, its button wakes it",
    "night-warm": "awake through the night: {:.0f} Wh to spare at sunrise",
    "night-cold": "asleep between patients: staying awake until sunrise would take {:.0f} Wh too much",
    "emergency-only": "emergencies only: {:.0f} Wh to charge before routine work",
    "saving": "asleep between patients: {:.0f} Wh to charge before it stays awake",
    "training-none": "no training is due",
    "training-now": "training: {:.0f} Wh above the floor",
    "training-full": "training at full clock: {:.0f} Wh above the floor",
    "training-floor": "training waits: {:.0f} Wh to the floor",
    "training-charge": "training waits: {:.0f} Wh to charge first",
    "training-open": "training waits until the post opens at {:.0f} h",
    "training-sun": "training waits for sun: the panel gives {:.1f} W",
    "training-plan": "training by the plan: {:.0%} of the next half hour",
    "training-later": "training waits: the plan has it later",
    "sync-now": "radio on: today's contact",
    "sync-done": "radio off: today's contact is made",
    "sync-later": "radio off until {:.0f} h",
    "sync-waits": "radio off: {:.0f} Wh to charge first",
    "student": "the small model words what it can: {:.0f} Wh to charge before the large one",
    "blind-sun": "charge unknown: awake while the panel carries it",
    "blind-dark": "charge unknown: asleep between patients",
    "no-clock": "clock unknown: day and night are told by the panel",
    "dark-days": "the floor is raised: {:.0f} dark days",
    "dark-today": "today is dark",
    "no-plan": "no plan: the rules decide",
    "gauge": "the gauge is not believed",
    "plan-awake": "awake by the plan",
    "plan-asleep": "asleep between patients by the plan",
}


class Control(NamedTuple):
    """What the box should do until the next step.

    awake: ready at once; else it rests (`rest`), and its button wakes it for a patient. screen while somebody
    uses it, hold_s on after that, then screen_after. train, train_low: share of the time at full and low
    clock. tier: which model words an answer. routine: False refuses all but emergencies, and says so.
    linger_s: awake after a patient. button: the wake button works. preempt: an emergency goes before
    whatever runs.
    """

    mode: Mode
    awake: bool
    rest: Rest
    screen: Screen
    screen_after: Screen
    hold_s: float
    radio: Radio
    train: float
    train_low: float
    tier: Tier
    routine: bool
    linger_s: float
    button: bool
    preempt: bool
    reasons: tuple[Reason, ...]


class Policy(Protocol):
    """Decides from a situation; the same in the box and in the simulator."""

    @property
    def name(self) -> str: ...

    def control(self, now: Situation) -> Control: ...
