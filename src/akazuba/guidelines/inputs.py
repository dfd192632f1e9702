"""What guidelines ask about a patient: each variable's name, kind, unit, range and question (`inputs.csv`).

One name means one thing in every guideline. A value outside its range is asked back, with a guess when it
looks like another unit; it is never converted silently.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from akazuba.datafile import rows_of
from akazuba.errors import ArtefactError, InputError
from akazuba.guidelines.values import FLAGS, Kind, Scalar, Unassessed, Value, unknown_flag

COLUMNS = (
    "name",
    "kind",
    "unit",
    "low",
    "high",
    "step",
    "choices",
    "aliases",
    "other_units",
    "from",
    "question",
)
PLACES = (
    "patient",
    "vitals",
    "case",
    "setting",
    "lab",
    "finding",
    "condition",
    "medicine",
    "dose",
    "allergy",
    "test",
    "growth",
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class OtherUnit:
    """A unit in which the value is often given: `factor * (x - offset)` is the value in our unit."""

    unit: str
    factor: float
    offset: float = 0.0

    def converted(self, x: float) -> float:
        return self.factor * (x - self.offset)


@dataclass(frozen=True)
class Input:
    """A variable. low, high: what a living patient can show. step: its resolution, 0 for continuous.

    choices: the words that a choice may hold, best first where they have an order.
    from_: where a case holds it, a word of `PLACES` and what stands there (`condition hiv=positive`).
    """

    name: str
    kind: Kind
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    other_units: tuple[OtherUnit, ...] = ()
    from_: tuple[str, ...] = ()
    question: str = ""

    @cached_property
    def unassessed(self) -> Unassessed:
        missing = frozenset((self.name,))
        if self.kind == "flag":
            return unknown_flag(missing)
        if self.kind == "choice":
            return Unassessed(missing, options=frozenset(self.choices))
        return Unassessed(missing, self.low, self.high)

    @property
    def options(self) -> frozenset[Scalar]:
        return FLAGS if self.kind == "flag" else frozenset(self.choices)

    @property
    def expected(self) -> str:
        if self.kind == "flag":
            return "yes or no"
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        return f"{self.low:g} to {self.high:g} {self.unit}".strip()

    def checked(self, value: Scalar) -> Scalar:
        """The value. Raises InputError that names the input, with a guess of the slip.

        >>> Input("weight_kg", "number", "kg", 0.3, 400).checked(12)
        12.0
        """
        if self.kind == "number":
            if isinstance(value, bool | str) or not math.isfinite(value):
                raise InputError(self.name, self.expected, repr(value))
            if not self.low <= value <= self.high:
                raise InputError(self.name, self.expected, f"{value:g}{self._guess(value)}")
            return float(value)
        if value not in self.options or (self.kind == "flag") != isinstance(value, bool):
            near = difflib.get_close_matches(str(value).casefold(), self.choices, n=1)
            near = near or [
                c for c in self.choices if str(value).strip() and c.startswith(str(value).casefold())
            ]
            guess = f" (did you mean {near[0]}?)" if len(near) == 1 else ""
            raise InputError(self.name, self.expected, f"{value!r}{guess}")
        return value

    def value(self, given: Value) -> Value:
        """A checked value as tables want it. One between two steps is either: 89.5 % may be 89 or 90.

        >>> Input("spo2_percent", "number", "%", 20, 100, 1).value(89.5)
        Unassessed(missing=frozenset({'spo2_percent'}), low=89.0, high=90.0, options=frozenset())
        """
        if given is None or isinstance(given, Unassessed):
            return given
        checked = self.checked(given)
        if not self.step or not isinstance(checked, float):
            return checked
        steps = checked / self.step
        low, high = (float(round(math.floor(steps + side) * self.step, 9)) for side in (1e-6, 1 - 1e-6))
        return low if low == high else Unassessed(frozenset((self.name,)), low, high)

    def parsed(self, text: str) -> Scalar:
        """A value as somebody typed it, with or without its unit. Raises InputError like `checked`."""
        text = text.strip()
        if self.kind == "flag":
            if text.casefold() not in _YES:
                raise InputError(self.name, self.expected, repr(text))
            return _YES[text.casefold()]
        if self.kind == "choice":
            spelt = {_spelling(choice): choice for choice in self.choices}
            return self.checked(spelt.get(_spelling(text), text))
        match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([^\s\d,.].*)?", text)
        if match is None:
            hint = " (decimal point, not comma)" if "," in text else ""
            raise InputError(self.name, self.expected, f"{text!r}{hint}")
        number, unit = float(match[1]), (match[2] or "").strip()
        if unit and _plain(unit) != _plain(self.unit):
            other = next((o for o in self.other_units if _plain(o.unit) == _plain(unit)), None)
            guess = f" (that would be {other.converted(number):.4g} {self.unit})" if other else ""
            raise InputError(self.name, f"a value in {self.unit or 'no unit'}", f"{number:g} {unit}{guess}")
        return self.checked(number)

    def in_unit(self, value: float, unit: str) -> Scalar:
        """A laboratory's value in our unit. Raises InputError when the unit is not known for it."""
        if not unit or _plain(unit) == _plain(self.unit):
            return self.checked(value)
        for other in self.other_units:
            if _plain(other.unit) == _plain(unit):
                return self.checked(other.converted(value))
        known = ", ".join((self.unit, *(o.unit for o in self.other_units)))
        raise InputError(self.name, f"a unit of {known}", f"{value:g} {unit}")

    def _guess(self, value: float) -> str:
        for other in self.other_units:
            if self.low <= (mine := other.converted(value)) <= self.high:
                return f", which looks like {other.unit}: that would be {mine:.3g} {self.unit}"
        return ""


def _spelling(word: str) -> str:
    """A word whatever its capitals, hyphens and underscores.

    >>> _spelling("Eastern_Sub-Saharan Africa")
    'eastern sub saharan africa'
    """
    return re.sub(r"[\s_-]+", " ", word.casefold().strip())


def _plain(unit: str) -> str:
    """A unit however it is written.

    >>> _plain("mmHg") == _plain("mm[Hg]"), _plain("°F") == _plain("degF"), _plain("kg/m²") == _plain("kg/m2")
    (True, True, True)
    """
    plain = unit.casefold().replace("[", "").replace("]", "").replace("°", "deg").replace("²", "2")
    return plain.replace("μ", "µ").replace("µ", "u").replace(" ", "").replace("degrees", "deg")


def read_inputs(text: str, file: str) -> dict[str, Input]:
    """Reads a file of inputs. Raises ArtefactError that names the file and the row."""
    found: dict[str, Input] = {}
    for row in rows_of(text, file):
        if tuple(row) != COLUMNS:
            raise ArtefactError(file, "the columns " + ", ".join(COLUMNS), ", ".join(row))
        try:
            item = _input(row)
        except ValueError as problem:
            raise ArtefactError(f"{file}, {row['name']}", "a sound input", str(problem)) from problem
        if item.name in found:
            raise ArtefactError(f"{file}, {item.name}", "each input once", "a repeated one")
        found[item.name] = item
    return found


def _input(row: Mapping[str, str]) -> Input:
    if not _NAME.fullmatch(row["name"]):
        raise ValueError(f"a name in lower case and underscores expected, {row['name']!r} found")
    kind = row["kind"]
    if kind not in ("number", "choice", "flag"):
        raise ValueError(f"number, choice or flag expected, {kind!r} found")
    choices = _listed(row["choices"])
    if (kind == "choice") != (len(choices) > 1):
        raise ValueError(f"choices for a choice and for nothing else expected, {row['choices']!r} found")
    if kind == "number" and not (row["low"] and row["high"] and float(row["low"]) < float(row["high"])):
        raise ValueError(f"a range from low to high expected, {row['low']!r} to {row['high']!r} found")
    if not row["question"]:
        raise ValueError("a question that asks for it expected, none found")
    if stray := [place for place in _listed(row["from"]) if place.partition(" ")[0] not in PLACES]:
        raise ValueError(f"a place of a case ({', '.join(PLACES)}) expected, {stray[0]!r} found")
    return Input(
        row["name"],
        kind,  # type: ignore[arg-type]  # checked above
        row["unit"],
        float(row["low"] or -math.inf),
        float(row["high"] or math.inf),
        float(row["step"] or 0),
        choices,
        _listed(row["aliases"]),
        tuple(_other_unit(text) for text in _listed(row["other_units"])),
        _listed(row["from"]),
        row["question"],
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _other_unit(text: str) -> OtherUnit:
    """Reads one entry of the column.

    >>> round(_other_unit("°F = 0.5555556 * (x - 32)").converted(212.0), 4)
    100.0
    """
    match = re.fullmatch(r"(\S+)\s*=\s*([\d.e-]+)(?:\s*\*\s*\(x\s*-\s*([\d.]+)\))?", text)
    if match is None:
        raise ValueError(f"UNIT = FACTOR or UNIT = FACTOR * (x - OFFSET) expected, {text!r} found")
    return OtherUnit(match[1], float(match[2]), float(match[3] or 0))


def by_any_name(inputs: Iterable[Input]) -> dict[str, Input]:
    """Each input under its name and its aliases."""
    return {name: item for item in inputs for name in (item.name, *item.aliases)}
