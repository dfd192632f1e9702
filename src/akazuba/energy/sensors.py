"""What measures power in a real box. Each source reads files or one command's output and gives a `Reading`.

    hwmon        kernel drivers of INA219, INA226, INA3221: /sys/class/hwmon
    power supply a battery that the kernel knows: /sys/class/power_supply
    pi-pmic      Raspberry Pi 5: vcgencmd pmic_read_adc
    tegrastats   NVIDIA Jetson
    ve.direct    a Victron charge controller on a serial line
    simulated    values handed in, for trials

A sensor that does not answer gives a Reading of None: the rules know what to do without it.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from akazuba.energy import vedirect
from akazuba.energy.values import Reading
from akazuba.errors import InputError

PMIC_GAIN, PMIC_OFFSET_W = 1.1451, 0.5879
"""Whole input power of a Pi 5 from the sum of its rails: a public regression (source: prototype,
unverified).
"""

HERE = Path("/")


class PowerSource(Protocol):
    """name: as in the table above."""

    @property
    def name(self) -> str: ...

    def read(self) -> Reading: ...


@dataclass(frozen=True)
class Hwmon:
    """labels: which channel means what, by the driver's label (`in1_label`, else the driver's name):
    panel, load, battery.
    """

    root: Path = HERE
    labels: Mapping[str, str] | None = None
    name: str = "hwmon"

    def read(self) -> Reading:
        found: dict[str, float] = {}
        volts = None
        for folder in sorted(self.root.glob("sys/class/hwmon/hwmon*")):
            driver = _text(folder / "name") or ""
            for power in sorted(folder.glob("power*_input")):
                number = power.name.removeprefix("power").removesuffix("_input")
                label = _text(folder / f"power{number}_label") or driver
                watts = _number(power, 1e-6)
                if watts is not None:
                    found[self._meaning(label)] = watts
            for current in sorted(folder.glob("curr*_input")):
                number = current.name.removeprefix("curr").removesuffix("_input")
                label = _text(folder / f"in{number}_label") or driver
                amps, level = _number(current, 1e-3), _number(folder / f"in{number}_input", 1e-3)
                meaning = self._meaning(label)
                if amps is not None and level is not None:
                    found.setdefault(meaning, amps * level)
                if meaning == "battery":
                    volts = level
        return Reading(None, volts, found.get("panel"), found.get("load"))

    def _meaning(self, label: str) -> str:
        return (self.labels or {}).get(label, label.lower())


@dataclass(frozen=True)
class PowerSupply:
    """The first battery of /sys/class/power_supply."""

    root: Path = HERE
    name: str = "power supply"

    def read(self) -> Reading:
        for folder in sorted(self.root.glob("sys/class/power_supply/*")):
            if _text(folder / "type") != "Battery":
                continue
            percent = _number(folder / "capacity", 1e-2)
            volts = _number(folder / "voltage_now", 1e-6)
            watts = _number(folder / "power_now", 1e-6)
            draining = _text(folder / "status") == "Discharging"
            return Reading(percent, volts, None, watts if draining else None)
        return Reading()


Run = Callable[[list[str]], str]


def run_command(command: list[str]) -> str:
    """Its output within five seconds; "" when it is not there or fails."""
    path = shutil.which(command[0])
    if path is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - names of our own
            [path, *command[1:]], capture_output=True, timeout=5, check=False, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as stopped:
        shown = getattr(stopped, "stdout", None) or b""
        return shown.decode(errors="replace") if isinstance(shown, bytes) else str(shown)
    return done.stdout if done.returncode == 0 else ""


@dataclass(frozen=True)
class PiPmic:
    """The board's own regulator; the screen and what hangs on USB are in it, the charge controller is not."""

    run: Run = run_command
    name: str = "pi-pmic"

    def read(self) -> Reading:
        return Reading(load_w=pmic_watts(self.run(["vcgencmd", "pmic_read_adc"])))


def pmic_watts(text: str) -> float | None:
    r"""Watts at the input from the rails of `vcgencmd pmic_read_adc`; None when no rail is whole.

    >>> round(pmic_watts("VDD_CORE_A current(7)=10.0A VDD_CORE_V volt(15)=0.9V"), 2)
    10.89
    """
    rails: dict[str, dict[str, float]] = {}
    for rail, kind, value in re.findall(r"(\w+)_([AV])\s+\w+\(\d+\)=(\d+(?:\.\d+)?)[AV]", text):
        rails.setdefault(rail, {})[kind] = float(value)
    whole = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    return PMIC_GAIN * sum(whole) + PMIC_OFFSET_W if whole else None


@dataclass(frozen=True)
class Tegrastats:
    """The input rail of a Jetson, from one line of `tegrastats`."""

    run: Run = run_command
    name: str = "tegrastats"

    def read(self) -> Reading:
        return Reading(load_w=tegra_watts(self.run(["tegrastats", "--interval", "500"])))


def tegra_watts(text: str) -> float | None:
    """The last VDD_IN (Orin) or POM_5V_IN (older boards) of the text, in W.

    >>> tegra_watts("GR3D_FREQ 0% cpu@45C VDD_IN 4560mW/4560mW VDD_SOC 1400mW/1400mW")
    4.56
    """
    found = re.findall(r"\b(?:VDD_IN|POM_5V_IN) (\d+)(?:mW)?/", text)
    return int(found[-1]) / 1000 if found else None


@dataclass(frozen=True)
class VeDirect:
    """A serial line (set to 19,200 baud here) or a file of VE.Direct blocks: the last whole one counts."""

    path: Path
    name: str = "ve.direct"

    def read(self) -> Reading:
        last = Reading()
        for block in vedirect.blocks(_line_bytes(self.path)):
            with suppress(InputError):
                last = vedirect.reading(block)
        return last


BLOCK_EVERY_S = 1.0
"""A charge controller sends one so often: in three times that, a whole one has come."""


def _line_bytes(path: Path) -> bytes:
    """What comes within three blocks' time; a silent or missing line gives what there was."""
    try:
        line = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    data = b""
    try:
        if os.isatty(line):
            tty.setraw(line, termios.TCSANOW)
            settings = termios.tcgetattr(line)
            settings[4] = settings[5] = termios.B19200
            termios.tcsetattr(line, termios.TCSANOW, settings)
        until = time.monotonic() + 3 * BLOCK_EVERY_S
        while data.count(vedirect.END) < 2 and len(data) < vedirect.LONGEST_BLOCK:
            left = until - time.monotonic()
            if left <= 0 or not select.select([line], [], [], left)[0]:
                break
            more = os.read(line, 512)
            if not more:
                break
            data += more
    except (OSError, termios.error):
        return data
    finally:
        os.close(line)
    return data


@dataclass(frozen=True)
class Simulated:
    """Says what it is told; its name says that it is none."""

    said: Reading
    name: str = "SIMULATED"

    def read(self) -> Reading:
        return self.said


@dataclass(frozen=True)
class All:
    """Several sources as one: of each figure the first that has it."""

    sources: tuple[PowerSource, ...]
    name: str = "all"

    def read(self) -> Reading:
        found = Reading()
        for source in self.sources:
            said = source.read()
            found = Reading(*(old if old is not None else new for old, new in zip(found, said, strict=True)))
        return found


def source_for(text: str, labels: Mapping[str, str] | None = None, root: Path = HERE) -> PowerSource:
    """`auto` (all that this machine may have), `hwmon`, `battery`, `pi-pmic`, `tegrastats`, `ve.direct:PATH`,
    or `simulated:soc=0.6,volts=13.1,panel_w=12,load_w=4`. labels: as for `Hwmon`.

    Raises InputError for anything else.
    """
    kind, _, rest = text.partition(":")
    here: dict[str, PowerSource] = {
        "hwmon": Hwmon(root, labels),
        "battery": PowerSupply(root),
        "pi-pmic": PiPmic(),
        "tegrastats": Tegrastats(),
    }
    if kind == "auto" and not rest:
        return All(tuple(here.values()))
    if kind in here and not rest:
        return here[kind]
    if kind == "ve.direct" and rest:
        return VeDirect(Path(rest))
    if kind == "simulated":
        return Simulated(_told(rest))
    raise InputError("--source", f"auto, {', '.join(here)}, ve.direct:PATH or simulated:NAME=VALUE,…", text)


def _told(text: str) -> Reading:
    given: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in Reading._fields:
            raise InputError("--source simulated", " or ".join(Reading._fields), name)
        try:
            given[name] = float(value)
        except ValueError:
            raise InputError(f"--source simulated, {name}", "a number", value) from None
    return Reading(**given)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path, factor: float) -> float | None:
    text = _text(path)
    try:
        return None if text is None else int(text) * factor
    except ValueError:
        return None
