"""Vital signs that stand in the note: "T 39.2, RR 48, SpO2 86 %, BP 80/50, RBS 2.1, GCS 7, AVPU P".

They tell what is wrong and never that all is well: nobody says how and when they were taken.
"""

from __future__ import annotations

import re

import msgspec

from akazuba.intake.slips import fahrenheit_to_celsius
from akazuba.records import Case, Vitals

_FILLER = (
    r"is|was|were|of|at|now|only|about|around|up to|down to|to|fell|dropped|counted|measured|recorded|today"
    r"|here|home|clinic|more than|over|above|greater than|=|:|-|,|>|<|~|rate|level|the|reading|reads|says"
    r"|shows|a|time"
)
_ABOVE = re.compile(r">|more than|over|above|greater than", re.IGNORECASE)
_GAP = rf"(?:\s*(?:\([a-z0-9]{{1,6}}\)|{_FILLER})){{0,4}}\s*"
_NUMBER = r"(\d{%d,3}(?:[.,]\d)?)(?=\b|[sc]\b)(?!\s*[/%%.,]\d|\+)"  # no part of a fraction, no "2+"
_NAMES = {
    "temperature_c": r"temperature|temp|tmp|t|fever|febrile|axillary",
    "heart_rate_bpm": r"heart ?rate|heart ?beat|heart (?:is )?(?:going|beating|racing)|pulse|hr|pr|p",
    "respiratory_rate_bpm": r"respiratory rate|resp(?:irations?)?|breathing|breaths?|rr|r\.r|resps",
    "spo2_percent": r"sp[o0]2|sa[o0]2|spo|o2 sats?|o2|sats?|oxygen saturation|oxygen|saturation|saturating"
    r"|pulse ox(?:imetry|imeter)?",
    "glucose_mmol_l": r"rbs|fbs|grbs|glucose|blood sugar|sugar|rbg|bgl|cbg|bsl|glucometer|machine|meter"
    r"|finger ?prick",
    "capillary_refill_s": r"crt|cap(?:illary|\.)? refill(?: time)?|capref|cft",
}
_SHORT = {"temperature_c": 2, "heart_rate_bpm": 2, "spo2_percent": 2}
"""The fewest digits that are read, where one digit would more often be something else."""
_PATTERNS = {
    name: re.compile(
        rf"(?<![\w/])(?<!\d )(?:{words})(?![^\W\d])\.?{_GAP}{_NUMBER % _SHORT.get(name, 1)}", re.IGNORECASE
    )
    for name, words in _NAMES.items()
}
_AFTER = {
    "temperature_c": re.compile(r"\b(\d{2}[.,]\d)\s?(?:°|º|deg|degrees)?\s?c\b", re.IGNORECASE),
    "heart_rate_bpm": re.compile(r"\b(\d{2,3})\s?(?:bpm|beats (?:a|per) min|beats/min)", re.IGNORECASE),
    "respiratory_rate_bpm": re.compile(r"\b(\d{1,3})\s?breaths?\s?(?:a|per|/)\s?min", re.IGNORECASE),
    "spo2_percent": re.compile(
        r"\b(\d{2,3})\s?%\s?(?:on (?:room )?air|ra\b|on ra\b|saturation|sats?\b|oxygen|spo2|o2)",
        re.IGNORECASE,
    ),
}
"""The number before its unit or name: "140 bpm", "44 breaths per minute", "84% on air"."""
_MMOL = re.compile(r"\s*mmol", re.IGNORECASE)
_MG_PER_DL = re.compile(r"\s*mg", re.IGNORECASE)
_BLOOD_PRESSURE = re.compile(
    rf"(?<!\w)(?:bp|b/p|b\.p\.?|blood pressure|pressure){_GAP}(\d{{2,3}})\s*(?:/|over)\s*(\d{{2,3}})\b",
    re.IGNORECASE,
)
_PRESSURE_LATER = re.compile(
    r"(?<!\w)(?:bp|b/p|blood pressure)\b[^\d.;]{0,40}(\d{3})\s*(?:/|over)\s*(\d{2,3})\b", re.IGNORECASE
)
"""With other words between: "BP checked three times 166/114"."""
_SYSTOLIC = re.compile(
    rf"(?<!\w)(?:(?:bp|b/p|(?:blood|top|upper) pressure){_GAP}(?:systolic{_GAP})?|sbp{_GAP}|systolic{_GAP})"
    r"(\d{2,3})\b(?!\s*(?:/\s*\d|over\s*\d|[.,]\d|%))",
    re.IGNORECASE,
)
_COMA_PARTS = re.compile(r"\be\s?([1-4])\s?,?\s?v\s?([1-5])\s?,?\s?m\s?([1-6])\b", re.IGNORECASE)
_COMA_SCALE = re.compile(
    rf"\b(?:gcs|glasgow(?: coma)?(?: scale| score)?){_GAP}(\d{{1,2}})(?:\s*/\s*15)?\b", re.IGNORECASE
)
_AVPU = re.compile(
    r"\bavpu\b\W{0,3}(?:(?:is|scale|score|was|level)\W{0,3})?(v|p|u|c|voice|verbal|pain|unresponsive|confused)\b"
    r"|\b(v|p|u) (?:on|of) (?:the )?avpu\b",
    re.IGNORECASE,
)
_LEVELS = {"v": "voice", "p": "pain", "u": "unresponsive", "c": "confused"}
_UNIT_OF_TIME = re.compile(
    r"\s*(?:days?|hours?|hrs?|weeks?|wks?|months?|years?|yrs?|y|d|times|am|pm)\b", re.IGNORECASE
)
_LEAST = {"p": 30, "breathing": 6, "breath": 6, "breaths": 6, "o2": 40, "oxygen": 40}
"""The smallest number that these words name: "oxygen 10 l/min" is no saturation."""
MG_PER_DL_A_MMOL_L = 18.016
MG_PER_DL_FROM = 36.0
"""A blood glucose above the largest in mmol/L is in mg/dl."""

FAHRENHEIT_FROM = 90.0
"""A body temperature from here on is in degrees Fahrenheit, whatever its letter."""


def with_noted_vitals(case: Case) -> Case:
    """The case with the numbers of its note where no vital sign was given; what cannot be one is left out.

    >>> with_noted_vitals(Case("c", note="Temp 102.2 F, BP 85/50")).vitals.temperature_c
    39.0
    """
    found: dict[str, float | str] = {}
    for name, pattern in _PATTERNS.items():
        for match in pattern.finditer(case.note):
            if (value := _read(name, match)) is not None and _possible(name, value):
                found[name] = value
                break
    for name, pattern in _AFTER.items():
        if name not in found and (after := pattern.search(case.note)):
            found[name] = float(after[1].replace(",", "."))
    if both := _BLOOD_PRESSURE.search(case.note) or _PRESSURE_LATER.search(case.note):
        found |= {"systolic_mmhg": float(both[1]), "diastolic_mmhg": float(both[2])}
    elif systolic := _SYSTOLIC.search(case.note):
        found["systolic_mmhg"] = float(systolic[1])
    if consciousness := _consciousness(case.note):
        found["consciousness"] = consciousness
    new = {
        name: value
        for name, value in found.items()
        if getattr(case.vitals, name) is None and _possible(name, value)
    }
    return msgspec.structs.replace(case, vitals=msgspec.structs.replace(case.vitals, **new)) if new else case


def _read(name: str, match: re.Match[str]) -> float | None:
    """The number of a match in the unit of its vital sign; None when it counts something else."""
    value = float(match[1].replace(",", "."))
    after = match.string[match.end() :]
    word = match[0].split(maxsplit=1)[0].rstrip(":.,").lower()
    if _UNIT_OF_TIME.match(after):
        return None
    if name == "temperature_c":
        value = _celsius(value)
        return None if word in {"fever", "febrile", "axillary", "t"} and not 30 <= value < 45 else value
    if name == "glucose_mmol_l":
        return _glucose(word, value, match[1], after)
    if name == "capillary_refill_s":
        return (
            None if "<" in match[0] else value + bool(_ABOVE.search(match[0]))
        )  # ">3 s" is 4 in whole seconds
    return None if value < _LEAST.get(word, 0) else value


def _glucose(word: str, value: float, written: str, after: str) -> float | None:
    if value > MG_PER_DL_FROM or _MG_PER_DL.match(after):
        return round(value / MG_PER_DL_A_MMOL_L, 1)
    counts = (
        word in {"sugar", "glucose", "machine", "meter", "finger"}
        and written.isdigit()
        and not _MMOL.match(after)
    )
    return None if counts else value  # "sugar 2 spoons"


def _consciousness(note: str) -> str:
    """AVPU or what the Glasgow Coma Scale makes of it (our choice: to 8 pain, to 12 voice, to 14 confused).

    Never "alert": a note raises the urgency and does not lower it.
    """
    if match := _AVPU.search(note):
        letter = (match[1] or match[2])[0].lower()
        return _LEVELS[letter]
    if match := _COMA_PARTS.search(note):
        score = sum(map(int, match.groups()))
    else:
        score = int(match[1]) if (match := _COMA_SCALE.search(note)) else 0
    if 3 <= score < 15:
        return (
            "unresponsive" if score == 3 else "pain" if score <= 8 else "voice" if score <= 12 else "confused"
        )
    return ""


def _celsius(value: float) -> float:
    return round(fahrenheit_to_celsius(value), 1) if value >= FAHRENHEIT_FROM else value


def _possible(name: str, value: float | str) -> bool:
    try:
        msgspec.convert({name: value}, Vitals)
    except msgspec.ValidationError:
        return False
    return True
