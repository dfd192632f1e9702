"""Values in three-valued logic: known, or not assessed with what it may still be.

A number that nobody measured may lie anywhere in its range; a question that nobody asked may be yes or no.
Tests and formulas answer over all that a value may be, so that nothing is decided by what is not known, and
what is certain all the same (a score that is already high) is said at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Scalar = float | str | bool
Kind = Literal["number", "choice", "flag"]


@dataclass(frozen=True, slots=True)
class Unassessed:
    """What a value may still be: a number from low to high, or one of `options`.

    missing: the inputs that nobody assessed and that would tell.
    """

    missing: frozenset[str]
    low: float = -math.inf
    high: float = math.inf
    options: frozenset[Scalar] = frozenset()


Known = Scalar | None
"""None: a table's row says nothing in that column."""
Value = Scalar | Unassessed | None


class Truth(IntEnum):
    FALSE = 0
    UNKNOWN = 1
    TRUE = 2


FLAGS: frozenset[Scalar] = frozenset((True, False))


def unknown_flag(missing: frozenset[str]) -> Unassessed:
    return Unassessed(missing, options=FLAGS)


def missing_of(values: Iterable[Value]) -> frozenset[str]:
    return frozenset().union(*(value.missing for value in values if isinstance(value, Unassessed)))


def joined(values: Iterable[Value], missing: frozenset[str]) -> Value:
    """The value when all agree, else what it may still be.

    >>> joined([2.0, 3.0], frozenset({"spo2_percent"})).high
    3.0
    """
    several = list(values)
    first = several[0]
    if all(value == first and type(value) is type(first) for value in several):
        return first
    missing |= missing_of(several)
    if None in several and not any(isinstance(value, str | bool) for value in several):
        return Unassessed(missing)
    low, high, options = math.inf, -math.inf, set[Scalar]()
    for value in several:
        if isinstance(value, Unassessed):
            options |= value.options
            if not value.options:
                low, high = min(low, value.low), max(high, value.high)
        elif isinstance(value, bool | str):
            options.add(value)
        elif value is None:
            options.add("")
        else:
            low, high = min(low, value), max(high, value)
    if options:
        return Unassessed(missing, options=frozenset(options))
    return Unassessed(missing, low, high)


def shown(value: Value) -> str:
    """A value as a nurse reads it.

    >>> shown(True), shown(38.40), shown("alert")
    ('yes', '38.4', 'alert')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        return f"{value:g}"
    return span(value) if isinstance(value, Unassessed) else str(value or "")


def span(value: Unassessed) -> str:
    """What a value that nobody assessed may still be.

    >>> span(Unassessed(frozenset({"spo2_percent"}), 9, 20)), span(Unassessed(frozenset({"x"})))
    ('9 to 20', 'not assessed')
    """
    if value.options:
        return " or ".join(sorted(shown(option) or "nothing" for option in value.options))
    if math.isinf(value.low) and math.isinf(value.high):
        return "not assessed"
    if math.isinf(value.high):
        return f"at least {value.low:g}"
    return f"at most {value.high:g}" if math.isinf(value.low) else f"{value.low:g} to {value.high:g}"
