"""The plain values that a plugin hands over (stable: `API` counts up when one changes its meaning)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from akazuba.records import Assessment, Picture, Value
from akazuba.wording.catalogue import Language

API = 1
"""A plugin's module says `AKAZUBA_API = 1`."""

MOST_RATIO = 300.0
"""No image may move the odds of a condition by more than this, like any single finding."""

VITAL_UNITS: Mapping[str, str] = {
    "temperature_c": "°C",
    "heart_rate_bpm": "beats/min",
    "respiratory_rate_bpm": "breaths/min",
    "systolic_mmhg": "mmHg",
    "diastolic_mmhg": "mmHg",
    "spo2_percent": "%",
    "glucose_mmol_l": "mmol/L",
    "capillary_refill_s": "s",
}
"""The vital signs that a sensor may read (fields of `records.Vitals`) and the only unit of each."""

Label = Annotated[str, Meta(min_length=1, max_length=60)]
Share = Annotated[float, Meta(ge=0, le=1)]
Ratio = Annotated[float, Meta(ge=1 / MOST_RATIO, le=MOST_RATIO)]
Sentence = Annotated[str, Meta(min_length=1, max_length=300)]
Grid = Annotated[tuple[Annotated[tuple[float, ...], Meta(max_length=64)], ...], Meta(max_length=64)]


class ImageAnswer(Value, frozen=True):
    """What a reader says of one picture.

    labels: label -> probability; they sum to 1. likelihood_ratios: P(picture | condition) / P(picture |
    average), 1/300 to 300, for each condition of its `ImageKind` and for no other.
    why_not: why it labels nothing (not its kind of picture, too uncertain); then the rest stays empty.
    heatmap_grid: rows x columns, how much the leading label's log-odds fall without that region.
    """

    labels: Mapping[Label, Share] = {}
    likelihood_ratios: Mapping[str, Ratio] = {}
    why_not: Sentence | None = None
    heatmap_grid: Grid = ()


@dataclass(frozen=True)
class ImageKind:
    """A kind of image that the box cannot read by itself.

    name: as in a case's `images[].kind`. conditions: ids of the knowledge for which `read` gives ratios; with
    none it only labels. read: gets a copy of the picture, longest side at most 1024 pixels, uint8, without
    the file's name; is given 10 s.
    """

    name: str
    read: Callable[[Picture], ImageAnswer]
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class LanguageTable:
    """code: ISO 639. table: a file of `English<tab>translation`, in the order of the bytes."""

    code: str
    language: Language
    table: Path


@dataclass(frozen=True)
class Sensor:
    """A device that reads one vital sign.

    vital, unit: one of `VITAL_UNITS`. read: one value in that unit, within 5 s; it may raise.
    simulated: the value is of no patient; the page says SIMULATED beside it.
    """

    name: str
    vital: str
    unit: str
    read: Callable[[], float]
    simulated: bool = False


@dataclass(frozen=True)
class SensorReading:
    """A value that a nurse may take over; it counts only when she does."""

    sensor: str
    vital: str
    unit: str
    value: float
    simulated: bool


Observer = Callable[[Assessment], object]
"""Gets a copy of an assessment recorded on the page, where the patient's consent to `export` is in the log.

It is given 5 s; what it returns is dropped.
"""
