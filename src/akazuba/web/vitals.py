"""The vital signs as the form asks for them: unit, limits and step, from the fields of a case themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args, get_origin, get_type_hints

from msgspec import Meta

from akazuba.guidelines.triage import VITALS as NAMES
from akazuba.records import Patient, Vitals

STEPS = {
    "temperature_c": 0.1,
    "glucose_mmol_l": 0.1,
    "weight_kg": 0.1,
    "height_cm": 0.5,
    "capillary_refill_s": 0.5,
}


@dataclass(frozen=True)
class Field:
    """One number of the form. low, high: what a patient can show at all; outside is a slip of unit or key."""

    name: str
    title: str
    unit: str
    low: float
    high: float
    step: float


def _limits(owner: type, name: str) -> tuple[float, float]:
    for option in get_args(get_type_hints(owner, include_extras=True)[name]):
        if get_origin(option) is Annotated:
            meta = next(part for part in get_args(option) if isinstance(part, Meta))
            return float(meta.ge or 0), float(meta.le or 0)
    raise AssertionError(name)


def _field(owner: type, name: str, title: str, unit: str) -> Field:
    low, high = _limits(owner, name)
    return Field(name, title, unit, low, high, STEPS.get(name, 1))


VITALS = tuple(
    _field(Vitals, name, *NAMES[name]) for name in NAMES if name not in ("consciousness", "on_oxygen")
)
BODY = (_field(Patient, "weight_kg", "weight", "kg"), _field(Patient, "height_cm", "height", "cm"))
