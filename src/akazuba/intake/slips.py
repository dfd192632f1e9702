"""What a refused value looks like: the usual slips of unit, decimal point and spelling.

A guess is only ever shown ("98.6, which looks like °F: that would be 37.0 °C"), never applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import get_args

from akazuba.records import Consciousness, Sex

GLUCOSE_MG_DL_PER_MMOL_L = 18.016
"""Molar mass of glucose 180.16 g/mol, in mg/dL for 1 mmol/L."""


def fahrenheit_to_celsius(degrees: float) -> float:
    return (degrees - 32) / 1.8


def _temperature(value: float) -> str:
    if 77 <= value <= 113:
        return f", which looks like °F: that would be {fahrenheit_to_celsius(value):.1f} °C"
    if 250 <= value <= 450:
        return f", which looks like a lost decimal point: that would be {value / 10:.1f} °C"
    return ""


def _oxygen_saturation(value: float) -> str:
    return f", which looks like a fraction: that would be {value * 100:g} %" if 0.2 <= value <= 1 else ""


def _glucose(value: float) -> str:
    mmol = value / GLUCOSE_MG_DL_PER_MMOL_L
    return f", which looks like mg/dL: that would be {mmol:.1f} mmol/L" if 36 < value <= 1000 else ""


def _height(value: float) -> str:
    return f", which looks like metres: that would be {value * 100:g} cm" if 0.3 <= value <= 2.5 else ""


def _age(value: float) -> str:
    return ", which looks like a year of birth: give the age" if 1900 <= value <= 2100 else ""


def _gestation(value: float) -> str:
    return f", which looks like days: that would be {value / 7:.1f} weeks" if 45 < value <= 315 else ""


_NUMBERS: dict[str, Callable[[float], str]] = {
    "vitals.temperature_c": _temperature,
    "vitals.spo2_percent": _oxygen_saturation,
    "vitals.glucose_mmol_l": _glucose,
    "patient.height_cm": _height,
    "patient.age_years": _age,
    "gestational_age_weeks": _gestation,
}

_WORDS: dict[str, tuple[str, ...]] = {
    "patient.sex": get_args(Sex),
    "vitals.consciousness": get_args(Consciousness),
}


def looks_like(path: str, value: object, *, number: bool) -> str:
    """The guess that follows a refused value in a message; "" when there is none.

    number: the field takes a number.

    >>> looks_like("vitals.glucose_mmol_l", 98, number=True)
    ', which looks like mg/dL: that would be 5.4 mmol/L'
    >>> looks_like("patient.sex", "F", number=False)
    ' (did you mean female?)'
    """
    if isinstance(value, str):
        return _text_looks_like(path, value.strip(), number)
    guess = _NUMBERS.get(path)
    return guess(value) if guess and isinstance(value, int | float) and not isinstance(value, bool) else ""


def _text_looks_like(path: str, text: str, number: bool) -> str:
    if words := _WORDS.get(path):
        near = [word for word in words if text and word.startswith(text.casefold())]
        return f" (did you mean {near[0]}?)" if len(near) == 1 else ""
    if path.endswith("_mmhg") and re.fullmatch(r"\d+\s*/\s*\d+", text):
        return " (systolic_mmhg and diastolic_mmhg are two fields)"
    if number and re.fullmatch(r"-?\d{1,9}([.,]\d{1,9})?", text):
        return f" (write {text.replace(',', '.')} without quotes)"
    return ""
