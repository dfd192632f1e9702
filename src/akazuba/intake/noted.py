"""Vital signs that stand in the note as numbers: "T 39.2, RR 48, SpO2 86 %, BP 80/50".

They tell what is wrong and never that all is well: nobody says how and when they were taken.
"""

from __future__ import annotations

import re

import msgspec

from akazuba.intake.slips import fahrenheit_to_celsius
from akazuba.records import Case, Vitals

_GAP = r"(?:\s*(?:\([a-z0-9]{1,6}\)|is|was|of|at|=|:|-|,|rate|the|reading|a)){0,3}\s*"
_NUMBER = r"(\d{%d,3}(?:[.,]\d)?)\b(?!\s*[/%%.,]\d|\+)"  # no part of a fraction, no "2+"
_NAMES = {
    "temperature_c": r"temperature|temp|t",
    "heart_rate_bpm": r"heart rate|pulse|hr|pr",
    "respiratory_rate_bpm": r"respiratory rate|resp(?:irations?)?|breathing|rr",
    "spo2_percent": r"spo2|sao2|o2 sats?|sats?|oxygen saturation|saturation|pulse oximetry",
}
_PATTERNS = {
    name: re.compile(
        rf"\b(?:{words})\b\.?{_GAP}{_NUMBER % (1 if name == 'respiratory_rate_bpm' else 2)}", re.IGNORECASE
    )
    for name, words in _NAMES.items()
}
_BLOOD_PRESSURE = re.compile(
    rf"\b(?:bp|blood pressure)\b{_GAP}(\d{{2,3}})\s*/\s*(\d{{2,3}})\b", re.IGNORECASE
)

FAHRENHEIT_FROM = 90.0
"""A body temperature from here on is in degrees Fahrenheit, whatever its letter."""


def with_noted_vitals(case: Case) -> Case:
    """The case with the numbers of its note where no vital sign was given; what cannot be one is left out.

    >>> with_noted_vitals(Case("c", note="Temp 102.2 F, BP 85/50")).vitals.temperature_c
    39.0
    """
    found: dict[str, float] = {}
    for name, pattern in _PATTERNS.items():
        if match := pattern.search(case.note):
            value = float(match[1].replace(",", "."))
            found[name] = _celsius(value) if name == "temperature_c" else value
    if match := _BLOOD_PRESSURE.search(case.note):
        found |= {"systolic_mmhg": float(match[1]), "diastolic_mmhg": float(match[2])}
    new = {
        name: value
        for name, value in found.items()
        if getattr(case.vitals, name) is None and _possible(name, value)
    }
    return msgspec.structs.replace(case, vitals=msgspec.structs.replace(case.vitals, **new)) if new else case


def _celsius(value: float) -> float:
    return round(fahrenheit_to_celsius(value), 1) if value >= FAHRENHEIT_FROM else value


def _possible(name: str, value: float) -> bool:
    try:
        msgspec.convert({name: value}, Vitals)
    except msgspec.ValidationError:
        return False
    return True
