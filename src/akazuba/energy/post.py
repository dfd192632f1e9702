"""What a post says of its box: `energy.json` in the data folder, each field overridable on the command
line.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from akazuba.energy.demand import Habits
from akazuba.energy.devices import Device, device
from akazuba.energy.kit import Kit
from akazuba.energy.rules import Rules
from akazuba.energy.sites import Site, site
from akazuba.errors import InputError, why_not_opened

FILE = "energy.json"


class Post(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """site, device: ids of `sites.tsv` and `devices.json`. hours: opening hours as FROM-TO. health: what is
    left of the battery's capacity. source: of the sensors, as `sensors.source_for` takes it. labels: which
    hwmon channel is panel, load or battery.
    """

    site: str = "kigali"
    device: str = "pi5"
    panel_w: float = 20.0
    battery_wh: float = 128.0
    health: float = 1.0
    hours: str = "8-17"
    routine: float = 40.0
    emergencies: float = 2.0
    training_h: float = 2.0
    source: str = "auto"
    labels: dict[str, str] = {}

    def where(self) -> Site:
        return site(self.site)

    def board(self) -> Device:
        return device(self.device)

    def kit(self) -> Kit:
        return Kit(self.panel_w, self.battery_wh, health=self.health)

    def habits(self) -> Habits:
        opens, closes = opening_hours(self.hours)
        return Habits(opens, closes, self.routine, self.emergencies, training_h=self.training_h)

    def rules(self) -> Rules:
        return Rules(self.board(), self.kit(), self.habits())


def opening_hours(text: str) -> tuple[float, float]:
    """Raises InputError for anything but FROM-TO in hours.

    >>> opening_hours("8-17")
    (8.0, 17.0)
    """
    first, _, second = text.partition("-")
    try:
        return float(first), float(second)
    except ValueError:
        raise InputError("opening hours", "FROM-TO in hours, such as 8-17", text) from None


def read_post(home: Path) -> Post:
    """The defaults where there is no file. Raises InputError for one that cannot be used."""
    path = home / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Post)
    except FileNotFoundError:
        return Post()
    except OSError as problem:
        raise InputError(str(path), "the post's energy settings", why_not_opened(problem)) from problem
    except msgspec.DecodeError as problem:
        raise InputError(str(path), "the post's energy settings", str(problem)) from problem
