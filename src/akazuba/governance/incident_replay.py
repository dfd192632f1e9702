"""Running a case again with the versions of its day, and in what two assessments of it differ.

Rules, tables and the engine are deterministic; words, times and pictures of heatmaps aren't compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose

import msgspec
from msgspec import UNSET

from akazuba.records import Assessment

COMPARED = (
    *("triage", "findings", "note_unread", "plan", "protocols", "differential", "prediction_set"),
    *("coverage", "abstained", "why", "images", "ask_next"),
)
"""Parts of an assessment that a replay must give again."""

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""Within which two numbers are one: sums in another order differ in their last digits."""


@dataclass(frozen=True)
class Then:
    """What went in, and which versions shall run. case: JSON. files: digests by name; {}: not known.

    overlays: the files of local rules.
    """

    case: bytes
    pictures: Mapping[str, bytes]
    files: Mapping[str, str]
    overlays: tuple[bytes, ...]


@dataclass(frozen=True)
class Replayed:
    """assessment: parts that could not be replayed are UNSET, and `left_out` says why."""

    assessment: Assessment
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unavailable:
    """Those versions are not installed any more, or what went in is not there."""

    why: str


Replay = Callable[[Then], Replayed | Unavailable]


def differences(recorded: Assessment, again: Assessment) -> list[str]:
    """Parts that differ, as sentences; a part that was not replayed differs in nothing."""
    found = list[str]()
    for name in COMPARED:
        then, now = getattr(recorded, name), getattr(again, name)
        if now is not UNSET and then is not UNSET:
            _compare(name, msgspec.to_builtins(then), msgspec.to_builtins(now), found)
        elif now is not UNSET:
            found.append(f"{name}: not recorded, and replayed")
    return found


def _compare(path: str, then: object, now: object, found: list[str]) -> None:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            if key != "heatmap":
                _compare(f"{path}.{key}", then.get(key), now.get(key), found)
    elif isinstance(then, list | tuple) and isinstance(now, list | tuple) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            _compare(f"{path}[{number}]", one, other, found)
    elif not _same(then, now):
        found.append(f"{path}: recorded {_short(then)}, replayed {_short(now)}")


def _same(then: object, now: object) -> bool:
    if isinstance(then, float) or isinstance(now, float):
        numbers = isinstance(then, int | float) and isinstance(now, int | float)
        return numbers and isclose(then, now, rel_tol=RELATIVE, abs_tol=ABSOLUTE)  # type: ignore[arg-type]
    return then == now


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def advice(assessment: Assessment) -> dict[str, str]:
    """What somebody acts on: the level, the plan, the leading condition; what is not there is left out."""
    found: dict[str, str] = {}
    if assessment.triage is not UNSET:
        found["level"] = assessment.triage.level
    if assessment.plan is not UNSET:
        steps = [
            (it.action, it.what, it.dose, it.for_days, it.in_days, it.withheld) for it in assessment.plan
        ]
        found["plan"] = "; ".join(" ".join(str(part) for part in step if part) for step in steps)
    if assessment.differential is not UNSET and assessment.differential:
        found["leading condition"] = assessment.differential[0].name
    return found


def other_advice(one: Assessment, other: Assessment) -> list[str]:
    """In what two assessments would have somebody act differently."""
    first, second = advice(one), advice(other)
    return [
        f"{name}: {_short(first[name] or 'none')} or {_short(second[name] or 'none')}"
        for name in first.keys() & second.keys()
        if first[name] != second[name]
    ]
