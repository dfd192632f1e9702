"""What a board draws in each of its states, from `devices.json`; every figure has its source there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import msgspec

from akazuba.errors import ArtefactError, InputError

FILE = Path(__file__).parent / "devices.json"
NOT_METERED = "not metered on hardware: figures from public measurements and assumptions (devices.json)"


@dataclass(frozen=True)
class Device:
    """Watts at the input of the board's converter, seconds for one answer, shares from 0 to 1.

    standby_w: what charge controller and wake controller take day and night, from the battery itself.
    sleep and wake: rest from which it answers soonest; off and boot: halted, awake again by its button.
    student, large: one answer of the small and of the large language model.
    train_low_speed: training at the low clock, relative to the full one.
    """

    id: str
    idle_w: float
    train_w: float
    train_low_w: float
    train_low_speed: float
    sleep_w: float
    wake_s: float
    wake_w: float
    off_w: float
    boot_s: float
    boot_w: float
    student_s: float
    student_w: float
    large_s: float
    large_w: float
    screen_full_w: float
    screen_dim_w: float
    screen_blank_w: float
    radio_connected_w: float
    radio_idle_w: float
    standby_w: float
    converter_efficiency: float


FIGURES = tuple(field.name for field in fields(Device) if field.name != "id")


class _Figure(msgspec.Struct, forbid_unknown_fields=True):
    value: float
    source: str


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str
    figures: dict[str, _Figure]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    note: str
    common: dict[str, _Figure]
    devices: list[_Row]


@cache
def _table() -> _Table:
    try:
        return msgspec.json.decode(FILE.read_bytes(), type=_Table)
    except (OSError, msgspec.DecodeError) as problem:
        raise ArtefactError("devices.json", "a table of devices", str(problem)) from problem


@cache
def devices() -> Mapping[str, Device]:
    """By id. Raises ArtefactError for a table of which a figure is missing or impossible.

    >>> sorted(devices())
    ['n100', 'orin-nano', 'pi5']
    """
    found = {}
    for row in _table().devices:
        figures = {**_table().common, **row.figures}
        for name in FIGURES:
            if name not in figures or not figures[name].value > 0:
                raise ArtefactError(f"devices.json {row.id}, {name}", "a figure above 0", "none")
        found[row.id] = Device(id=row.id, **{name: figures[name].value for name in FIGURES})
    return found


def device(name: str) -> Device:
    """Raises InputError for an unknown one."""
    try:
        return devices()[name]
    except KeyError:
        raise InputError("device", " or ".join(sorted(devices())), name) from None


def sources(name: str) -> Mapping[str, str]:
    """Of each figure of a device, where it comes from."""
    device(name)
    row = next(row for row in _table().devices if row.id == name)
    return {key: figure.source for key, figure in {**_table().common, **row.figures}.items()}
