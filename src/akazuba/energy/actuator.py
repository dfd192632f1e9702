"""Turns a control into what the machine is told: files of /sys and commands. A list of deeds first, which a
dry run prints; doing them is the last step.

Nothing here kills a consultation: rest is only asked for when the control says so and nobody is served.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from akazuba.energy.sensors import HERE
from akazuba.energy.values import Control
from akazuba.errors import why_not_opened

BRIGHTNESS = {"full": 1.0, "dim": 0.4, "blank": 0.0, "off": 0.0}


@dataclass(frozen=True)
class Write:
    """text: into a file."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.text} to {self.path}"


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]

    def __str__(self) -> str:
        return "run " + " ".join(self.words)


Deed = Write | Command
TRAINING_UNIT, WORDS_UNIT = "akazuba-training.service", "akazuba-words.service"


@dataclass(frozen=True)
class Machine:
    """root: where /sys lies. wake_after_s: the box's clock wakes it at the latest then, if it has one that
    can; its button always does.
    """

    root: Path = HERE
    wake_after_s: int = 3600


def deeds(control: Control, machine: Machine, *, in_use: bool, training: bool = False) -> tuple[Deed, ...]:
    """What brings the machine to `control`. in_use: somebody is served now. training: it runs already.

    The order matters: what saves least comes first, rest comes last.
    """
    found: list[Deed] = [
        *_screen(control, machine, in_use=in_use),
        *_clock(control, machine),
        _radio(control),
    ]
    wants = control.train + control.train_low > 0
    if wants != training:
        found.append(Command(("systemctl", "start" if wants else "stop", TRAINING_UNIT)))
    found.append(Command(("systemctl", "set-property", "--runtime", WORDS_UNIT, _quota(control))))
    if not control.awake and not in_use:
        found += _rest(control, machine)
    return tuple(found)


def _screen(control: Control, machine: Machine, *, in_use: bool) -> list[Deed]:
    level = control.screen if in_use else control.screen_after
    made: list[Deed] = []
    for folder in sorted(machine.root.glob("sys/class/backlight/*")):
        try:
            most = int((folder / "max_brightness").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        made.append(Write(folder / "brightness", str(round(BRIGHTNESS[level] * most))))
        made.append(Write(folder / "bl_power", "4" if level in ("off", "blank") else "0"))
    return made


def _clock(control: Control, machine: Machine) -> list[Deed]:
    """Low clock by powersave, which holds the lowest; full by the kernel's own choice."""
    low = control.train_low > control.train
    governor = "powersave" if low or not control.awake else "schedutil"
    policies = sorted(machine.root.glob("sys/devices/system/cpu/cpufreq/policy*"))
    return [Write(folder / "scaling_governor", governor) for folder in policies]


def _radio(control: Control) -> Deed:
    return Command(("rfkill", "block" if control.radio == "off" else "unblock", "wwan"))


def _quota(control: Control) -> str:
    """A tier without the large model leaves the words half the processor."""
    return "CPUQuota=100%" if control.tier == "student" else "CPUQuota="


def _rest(control: Control, machine: Machine) -> list[Deed]:
    alarm = machine.root / "sys/class/rtc/rtc0/wakealarm"
    made: list[Deed] = []
    if alarm.exists():
        made = [Write(alarm, "0"), Write(alarm, f"+{machine.wake_after_s}")]
    verb = "suspend" if control.rest == "sleep" and can_suspend(machine) else "poweroff"
    return [*made, Command(("systemctl", verb))]


def alarm_pending(machine: Machine, now_s: float) -> bool | None:
    """Whether the wake alarm is still to come: then somebody's button woke the box, and not its clock. None
    where there is no such clock.
    """
    try:
        text = (machine.root / "sys/class/rtc/rtc0/wakealarm").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return text.isdigit() and int(text) > now_s


def can_suspend(machine: Machine) -> bool:
    """Whether the kernel knows suspend to RAM or to idle; a Pi 5 knows neither and is halted."""
    try:
        states = (machine.root / "sys/power/state").read_text(encoding="ascii").split()
    except OSError:
        return False
    return "mem" in states or "freeze" in states


@dataclass(frozen=True)
class Done:
    """failed: "" or why, in words."""

    deed: Deed
    failed: str = ""


def apply(planned: tuple[Deed, ...]) -> tuple[Done, ...]:
    """Does them one by one; one that fails is reported and the others are done all the same."""
    return tuple(Done(deed, _do(deed)) for deed in planned)


def _do(deed: Deed) -> str:
    if isinstance(deed, Write):
        try:
            deed.path.write_text(deed.text, encoding="ascii")
        except OSError as problem:
            return why_not_opened(problem)
        return ""
    program = shutil.which(deed.words[0])
    if program is None:
        return "not installed"
    try:
        done = subprocess.run(  # noqa: S603 - words of our own
            [program, *deed.words[1:]],
            capture_output=True,
            timeout=30,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")
