"""A cell of a decision table: what a value must be for its row to fire.

    numbers   >= 25    < 60    9..11 (both ends belong to it)    2..<12 (the upper end does not)    5
    words     alert    voice or pain    not alert
    flags     yes    no
    anything  - (or an empty cell)

Alternatives are joined by `or`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from akazuba.guidelines.values import Kind, Scalar, Truth, Unassessed, Value

_NUMBER = r"-?\d+(?:\.\d+)?"
_COMPARED = re.compile(rf"(>=|<=|>|<|≥|≤)\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*(<?)\s*({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from low to high; an end belongs to it when its flag says so."""

    low: float = -math.inf
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True

    def holds(self, x: float) -> bool:
        above = x >= self.low if self.with_low else x > self.low
        return above and (x <= self.high if self.with_high else x < self.high)


@dataclass(frozen=True, slots=True)
class Cell:
    """One parsed cell. Of intervals and options, only the one of its column's kind is used."""

    text: str
    intervals: tuple[Interval, ...] = ()
    options: frozenset[Scalar] = frozenset()

    @property
    def any(self) -> bool:
        return not self.intervals and not self.options

    def matches(self, value: Scalar | None) -> bool:
        """Whether a known value meets the cell; a row that says nothing meets only `-`."""
        if self.any:
            return True
        if self.intervals:
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and any(interval.holds(value) for interval in self.intervals)
            )
        return value in self.options and value is not None

    def truth(self, value: Value) -> Truth:
        """
        >>> parse_cell(">= 25", "number").truth(Unassessed(frozenset({"respiratory_rate_bpm"}), 0, 150)).name
        'UNKNOWN'
        """
        if not isinstance(value, Unassessed):
            return Truth.TRUE if self.matches(value) else Truth.FALSE
        if self.any:
            return Truth.TRUE
        if self.intervals:
            return self._truth_over(value.low, value.high)
        inside = value.options & self.options
        if not inside:
            return Truth.FALSE
        return Truth.TRUE if inside == value.options else Truth.UNKNOWN

    def _truth_over(self, low: float, high: float) -> Truth:
        if any(interval.holds(low) and interval.holds(high) for interval in self.intervals):
            return Truth.TRUE
        apart = all(
            high < i.low
            or low > i.high
            or (high == i.low and not i.with_low)
            or (low == i.high and not i.with_high)
            for i in self.intervals
        )
        return Truth.FALSE if apart else Truth.UNKNOWN

    @property
    def boundaries(self) -> frozenset[float]:
        ends = (end for interval in self.intervals for end in (interval.low, interval.high))
        return frozenset(end for end in ends if math.isfinite(end))


ANY = Cell("-")


@lru_cache(maxsize=4096)
def parse_cell(text: str, kind: Kind, choices: frozenset[str] = frozenset()) -> Cell:
    """choices: the words that the column may hold. Raises ValueError that says what was expected.

    >>> parse_cell("2..<12", "number").matches(12)
    False
    >>> parse_cell("not alert", "choice", frozenset({"alert", "voice", "pain"})).matches("pain")
    True
    """
    text = text.strip()
    if text in ("", "-"):
        return ANY
    parts = [part.strip() for part in re.split(r"\s+or\s+", text)]
    if kind == "number":
        return Cell(text, intervals=tuple(_interval(part) for part in parts))
    if kind == "flag":
        if any(part not in ("yes", "no") for part in parts):
            raise ValueError(f"yes, no or - expected, {text!r} found")
        return Cell(text, options=frozenset(part == "yes" for part in parts))
    negated = parts[0].startswith("not ") and parts[0] not in choices
    words = {parts[0].removeprefix("not ").strip(), *parts[1:]}
    if unknown := sorted(words - choices):
        raise ValueError(f"one of {', '.join(sorted(choices))} expected, {unknown[0]!r} found")
    return Cell(text, options=frozenset(choices - words if negated else words))


def _interval(text: str) -> Interval:
    if match := _COMPARED.fullmatch(text):
        limit = float(match[2])
        match match[1]:
            case ">=" | "≥":
                return Interval(low=limit)
            case ">":
                return Interval(low=limit, with_low=False)
            case "<=" | "≤":
                return Interval(high=limit)
            case _:
                return Interval(high=limit, with_high=False)
    if match := _RANGE.fullmatch(text):
        low, high = float(match[1]), float(match[3])
        if low > high:
            raise ValueError(f"a range from low to high expected, {text!r} found")
        return Interval(low, high, with_high=not match[2])
    if re.fullmatch(_NUMBER, text):
        return Interval(float(text), float(text))
    raise ValueError(f"a number, a range (9..11) or a comparison (>= 25) expected, {text!r} found")
