"""Codes and units that are read, with where they stand.

"profile" rows are those of FHIR R4's Vital Signs profile. The others (LOINC answers, SNOMED CT codes,
glucose, oxygen, pregnancy, consciousness) were written down from memory: unverified.
"""

from __future__ import annotations

from collections.abc import Mapping

from akazuba.errors import CaseError
from akazuba.fhir.shapes import Json, concept_name, concept_words, text

LOINC = "http://loinc.org"

QUANTITIES = {
    "8310-5": "vitals.temperature_c",  # profile: Body temperature
    "8867-4": "vitals.heart_rate_bpm",  # profile: Heart rate
    "9279-1": "vitals.respiratory_rate_bpm",  # profile: Respiratory rate
    "8480-6": "vitals.systolic_mmhg",  # profile: component of the panel 85354-9
    "8462-4": "vitals.diastolic_mmhg",  # profile: component of the panel 85354-9
    "2708-6": "vitals.spo2_percent",  # profile: Oxygen saturation
    "59408-5": "vitals.spo2_percent",  # profile: … by pulse oximetry
    "29463-7": "patient.weight_kg",  # profile: Body weight
    "8302-2": "patient.height_cm",  # profile: Body height
    "2339-0": "vitals.glucose_mmol_l",
    "2345-7": "vitals.glucose_mmol_l",
    "15074-8": "vitals.glucose_mmol_l",
    "44963-7": "vitals.capillary_refill_s",
    "11884-4": "gestational_age_weeks",
}

OXYGEN_ABOVE = {"3151-8": 0.0, "3150-6": 21.0}
"""On oxygen when the inhaled flow (L/min) is above 0 or the inhaled share (%) above that of air."""

NOTES = {"34109-9", "10164-2", "10154-3"}
"""Text values that are part of the note: note, history of present illness, chief complaint."""

NO_KNOWN_ALLERGY = {"716186003", "409137002", "429625007", "428607008"}

_MMHG_PER_KPA = 7.50062
_MMOL_L_PER_MG_DL = 1 / 18.016

_A_MINUTE = dict.fromkeys(
    (
        "/min",
        "{beats}/min",
        "{breaths}/min",
        "beats/min",
        "beats/minute",
        "breaths/min",
        "breaths/minute",
        "bpm",
    ),
    (1.0, 0.0),
)
_MMHG = {"mm[Hg]": (1.0, 0.0), "mmHg": (1.0, 0.0), "kPa": (_MMHG_PER_KPA, 0.0)}

UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "vitals.temperature_c": {
        "Cel": (1.0, 0.0),
        "°C": (1.0, 0.0),
        "[degF]": (1 / 1.8, -32 / 1.8),
        "°F": (1 / 1.8, -32 / 1.8),
        "K": (1.0, -273.15),
    },
    "vitals.heart_rate_bpm": _A_MINUTE,
    "vitals.respiratory_rate_bpm": _A_MINUTE,
    "vitals.systolic_mmhg": _MMHG,
    "vitals.diastolic_mmhg": _MMHG,
    "vitals.spo2_percent": {"%": (1.0, 0.0)},
    "vitals.glucose_mmol_l": {"mmol/L": (1.0, 0.0), "mg/dL": (_MMOL_L_PER_MG_DL, 0.0)},
    "vitals.capillary_refill_s": {"s": (1.0, 0.0)},
    "patient.weight_kg": {"kg": (1.0, 0.0), "g": (0.001, 0.0), "[lb_av]": (0.45359237, 0.0)},
    "patient.height_cm": {"cm": (1.0, 0.0), "m": (100.0, 0.0), "[in_i]": (2.54, 0.0)},
    "gestational_age_weeks": {"wk": (1.0, 0.0), "weeks": (1.0, 0.0), "d": (1 / 7, 0.0)},
    "dose_mg": {"mg": (1.0, 0.0), "g": (1000.0, 0.0), "ug": (0.001, 0.0), "mcg": (0.001, 0.0)},
}
"""Field -> UCUM unit (or how it is commonly printed) -> (factor, offset) to the field's own unit."""

PRESENCE: Mapping[str, object] = {
    "true": True, "present": True, "positive": True, "detected": True, "yes": True, "pos": True,
    "52101004": True, "10828004": True, "373066001": True, "la9633-4": True, "la33-6": True,
    "false": False, "absent": False, "negative": False, "not detected": False, "no": False, "neg": False,
    "2667000": False, "260385009": False, "373067005": False, "la9634-2": False, "la32-8": False,
}  # fmt: skip

_PREGNANT: Mapping[str, object] = {
    "pregnant": True, "77386006": True, "la15173-0": True, "true": True, "yes": True,
    "not pregnant": False, "60001007": False, "la26683-5": False, "false": False, "no": False,
}  # fmt: skip

_CONSCIOUSNESS: Mapping[str, object] = {
    "a": "alert", "alert": "alert", "248234008": "alert", "mentally alert": "alert", "la9340-6": "alert",
    "c": "confused", "confused": "confused", "confusion": "confused", "130987000": "confused",
    "v": "voice", "voice": "voice", "300202002": "voice", "verbal": "voice",
    "responds to voice": "voice", "response to voice": "voice", "responds to verbal stimuli": "voice",
    "p": "pain", "pain": "pain", "450847001": "pain", "responds to pain": "pain",
    "u": "unresponsive", "unresponsive": "unresponsive", "422768004": "unresponsive",
}  # fmt: skip

CODED = {
    "80288-4": ("vitals.consciousness", _CONSCIOUSNESS),
    "67775-7": ("vitals.consciousness", _CONSCIOUSNESS),
    "82810-3": ("patient.pregnant", _PREGNANT),
}


def converted(item: str, field: str, quantity: Json) -> float:
    """A Quantity in the field's own unit. A comparator is not kept: "> 33.3" counts as 33.3.

    Raises CaseError naming `item` for a value that is no number and for a unit that is not known.

    >>> converted("Observation/t", "vitals.temperature_c", {"value": 98.6, "code": "[degF]"})
    37.0
    """
    units = UNITS[field]
    unit = next((text(quantity, name) for name in ("code", "unit") if text(quantity, name) in units), None)
    if unit is None:
        found = text(quantity, "code") or text(quantity, "unit") or "none"
        raise CaseError(item, f"a unit of {field}: {', '.join(units)}", repr(found[:40]))
    factor, offset = units[unit]
    return round(number(item, quantity) * factor + offset, 4)


def number(item: str, quantity: Json) -> float:
    value = quantity.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CaseError(item, "valueQuantity with a number as its value", repr(value)[:60])
    return float(value)


def answer(words: Mapping[str, object], part: Json) -> object:
    """What a coded, boolean or text value means by a table of codes and words; None when unknown."""
    said = concept_words(part, "valueCodeableConcept")
    said += [text(part, "valueString").casefold(), text(part, "valueCode").casefold()]
    if isinstance(part.get("valueBoolean"), bool):
        said.append(str(part["valueBoolean"]).casefold())
    return next((words[word] for word in said if word in words), None)


def as_said(part: Json) -> str:
    """A coded or text value as a message quotes it."""
    return repr((concept_name(part, "valueCodeableConcept") or text(part, "valueString") or "a code")[:80])
