"""The person of `web.py`: a Keystroke-Level Model (Card, Moran and Newell, CACM 23(7), 1980) on a tablet and
on paper. A model of a practised person who makes no slips: it says how long hands, eyes and waiting take, and
not how long it takes to talk with a patient and to measure her, which is the same with a tablet and on paper.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["K", "P", "H", "M", "R", "W"]

SECONDS: Mapping[Operator, float] = {
    "K": 60 / (29 * 5),
    "P": 1.1,
    "H": 0.4,
    "M": 1.35,
    "R": 60 / 238,
    "W": 60 / (22 * 5),
}
"""Seconds of each operator.

K: one character on the screen's keyboard with one finger, 29 words (of 5 characters) a minute: Palin et al.,
How do People Type on Mobile Devices?, MobileHCI 2019, as the press reported it (two thumbs: 38; our choice is
the slower one, for a tablet that lies on a table).
P: to point at something on the screen and touch it. The 1.1 s are Card et al.'s for a mouse; a finger is
quicker on targets of 48 px, so this is on the slow side.
H: the hand between keyboard and screen, or pen and paper (Card et al.).
M: to prepare mentally, before each group of actions that belong together (Card et al.).
R: to read one word, 238 a minute: Brysbaert, J. Mem. Lang. 109, 2019 (from memory: unverified).
W: to write one character by hand, 22 words a minute when copying: Brown, CHI 1988 (from memory: unverified).
"""

SPREAD = 0.3
"""People differ: each operator's time is log-normal among them with this standard deviation of the logarithm
(our choice)."""

PEOPLE = 1000


@dataclass(frozen=True)
class Step:
    """What was done, in operators, and the wait that was measured. name: of the screen or the form's part."""

    name: str
    deed: str
    operators: tuple[tuple[Operator, int], ...]
    waited_s: float = 0.0


def tapped(name: str, what: str, waited_s: float = 0.0) -> Step:
    return Step(name, f"tap {what}", (("M", 1), ("P", 1)), waited_s)


def tapped_on(name: str, what: str) -> Step:
    """A tap that belongs to the one before: no thinking between them."""
    return Step(name, f"tap {what}", (("P", 1),))


def typed(name: str, what: str, text: str, waited_s: float = 0.0) -> Step:
    """Point at the field, hand to the keyboard, type."""
    return Step(name, f"type {what}", (("M", 1), ("P", 1), ("H", 1), ("K", len(text))), waited_s)


def chosen(name: str, what: str) -> Step:
    """A list that opens: two taps."""
    return Step(name, f"choose {what}", (("M", 1), ("P", 2)))


def read_through(name: str, words: int) -> Step:
    return Step(name, f"read {words} words", (("M", 1), ("R", words)))


def written(name: str, what: str, text: str) -> Step:
    """By hand, on a form: find the place, the pen to it, write."""
    return Step(name, f"write {what}", (("M", 1), ("H", 1), ("W", len(text))))


def ticked(name: str, what: str) -> Step:
    return Step(name, f"tick {what}", (("M", 1), ("H", 1), ("W", 1)))


def count(steps: Sequence[Step], operator: Operator) -> int:
    return sum(number for step in steps for kind, number in step.operators if kind == operator)


def seconds_of(steps: Sequence[Step], times: Mapping[Operator, float] = SECONDS) -> float:
    """Modelled seconds, with what was waited.

    >>> round(seconds_of([tapped("a", "b", waited_s=0.5)]), 2)
    2.95
    """
    return sum(step.waited_s + sum(times[kind] * number for kind, number in step.operators) for step in steps)


def among_people(steps: Sequence[Step], people: int = PEOPLE, seed: int = 1) -> dict[str, float]:
    """Minutes of the mean person, and between which 95 % of `people` simulated ones lie."""
    chance = random.Random(seed)
    found = sorted(
        seconds_of(steps, {kind: mean * chance.lognormvariate(0, SPREAD) for kind, mean in SECONDS.items()})
        for _ in range(people)
    )
    low, high = found[int(0.025 * people)], found[min(people - 1, int(0.975 * people))]
    return {
        "value": round(seconds_of(steps) / 60, 2),
        "low": round(low / 60, 2),
        "high": round(high / 60, 2),
        "n": people,
    }


# --- the same case on paper ---------------------------------------------------------------------------


def on_paper(case: Mapping[str, Any], name: str, place: str, plan: Sequence[str]) -> list[Step]:
    """The standard case on a form of the outpatient kind: particulars, complaint, vital signs, what is
    thought, the plan, a signature, and one line of the register. Looking anything up in a guideline is left
    out, and so is finding the patient's card: both are kind to paper.
    """
    patient, vitals = case["patient"], case["vitals"]
    form, register = "form", "register"
    steps = [
        written(form, "date", "2026-03-14"),
        written(form, "name", name),
        written(form, "age", str(patient.get("age_years", ""))),
        ticked(form, "sex"),
        ticked(form, "not pregnant"),
        written(form, "place", place),
        written(form, "complaint", str(case["note"])),
    ]
    steps += [
        written(form, vital, str(value)) if not isinstance(value, bool) else ticked(form, vital)
        for vital, value in (*vitals.items(), ("weight", patient.get("weight_kg", "")))
        if value != ""
    ]
    steps += [
        written(form, "what is thought", "suspected TB"),
        *(written(form, "plan", line) for line in plan),
    ]
    steps.append(written(form, "signature", "C. Uwimana"))
    line = (("number", "0412"), ("name", name), ("age", "34"), ("sex", "F"), ("place", place))
    steps += [written(register, what, text) for what, text in line]
    steps += [written(register, "diagnosis", "suspected TB"), written(register, "treatment", plan[0])]
    return steps


PLAN = ("TB test of sputum today", "HIV test", "come back with the result in 2 days")
"""What a nurse would write of it; shorter than what the box advises (kind to paper)."""
