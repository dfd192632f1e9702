"""All guidelines that a case calls for: their answers, one plan, and how urgent they say that it is."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import msgspec

from akazuba.guidelines.formulas import truth
from akazuba.guidelines.guideline import Guideline, GuidelineKind
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import Patient, Result
from akazuba.guidelines.values import Truth, Unassessed, Value, shown
from akazuba.records import GIVEN, Action, Case, Level, Protocol, Triage, TriageReason
from akazuba.wording.names import valued

KINDS = get_args(GuidelineKind)
MOST_VALUES = 8
NORMAL = (None, False, "none", "normal", "alert", "negative", "unknown", "not known", "not done")
"""Answers that speak for no urgency, and those that are none."""
PLAIN_OUTCOMES = ("band", "level", "classification", "state", "urgency")
"""Results of which the value alone is a sentence."""
ORDER: tuple[Level, ...] = ("red", "yellow", "green", "unassessed")


@dataclass(frozen=True)
class Care:
    """protocols: what each guideline answers. reasons: why a guideline raises the urgency."""

    protocols: tuple[Protocol, ...]
    plan: tuple[Action, ...]
    reasons: tuple[TriageReason, ...]


def care_for(library: Library, case: Case, values: Mapping[str, Value], level: Level) -> Care:
    """Runs every guideline that is for this patient.

    values: what the case says of the inputs (`case_values.values_of`). level: the charts' urgency.
    A guideline of which nobody knows whether it is for her is not run; a score that may raise the urgency of
    anybody is, and is no part of the answer. Of a red patient, chronic and preventive care waits, unless it
    is what makes her red.
    """
    patient = patient_of(case)
    shared = library.values(values)
    results, reasons = list[Result](), list[TriageReason]()
    for guideline in library.guidelines.values():
        if guideline.applies is None and not guideline.about.raises:
            continue
        known = library.values_for(guideline, values, shared)
        applies = _applies(guideline, known)
        if applies is Truth.FALSE or (applies is Truth.UNKNOWN and guideline.applies is not None):
            continue
        result = library.run_over(guideline, known, patient)
        reasons += _reasons(result, known)
        if applies is Truth.TRUE:
            results.append(result)
    results.sort(key=lambda result: KINDS.index(result.guideline.about.kind))
    red = {reason.rule for reason in reasons if reason.level == "red"}
    if level == "red" or red:
        later = ("chronic", "preventive")
        results = [r for r in results if r.guideline.about.kind not in later or r.guideline.id in red]
        results = [r if r.guideline.id in red else _without_home_advice(r) for r in results]
    return Care(
        tuple(_protocol(result) for result in results),
        _one_plan(library, results, patient, shared),
        tuple(reasons),
    )


def _without_home_advice(result: Result) -> Result:
    """What a guideline tells somebody who goes home has no place beside a referral of another one."""
    kept = tuple(action for action in result.plan if action.action not in ("advise", "follow-up"))
    return replace(result, plan=kept)


def patient_of(case: Case) -> Patient:
    return Patient(
        datetime.date.fromisoformat(case.date) if case.date else None,
        None if case.medications is None else tuple(medicine.name for medicine in case.medications),
        case.allergies,
    )


def raised(urgency: Triage, reasons: Sequence[TriageReason]) -> Triage:
    """The urgency with what the guidelines add. They only ever raise it."""
    level = min((urgency.level, *(reason.level for reason in reasons)), key=ORDER.index)
    first = [*urgency.reasons, *reasons]
    first.sort(key=lambda reason: ORDER.index(reason.level))
    return msgspec.structs.replace(urgency, level=level, reasons=tuple(first))


def _applies(guideline: Guideline, values: Mapping[str, Value]) -> Truth:
    """False outside the domain; unknown for a score that may raise the urgency of anybody inside it."""
    for name, (low, high) in guideline.about.domain.items():
        value = values[name]
        lowest, highest = (value.low, value.high) if isinstance(value, Unassessed) else (value, value)
        if not (isinstance(lowest, float) and isinstance(highest, float)) or highest < low or lowest > high:
            return Truth.FALSE
        if guideline.applies is None and (lowest < low or highest > high):
            return Truth.FALSE
    return truth(guideline.applies.value(values)) if guideline.applies else Truth.UNKNOWN


def _reasons(result: Result, values: Mapping[str, Value]) -> list[TriageReason]:
    about, found = result.guideline.about, []
    for name, levels in about.raises.items():
        value = result.values[name]
        words = shown(value) if value is not None else result.possible.get(name, "")
        level = levels.get(words) if value is not None else _least(result.undecided.get(name), levels)
        if level is not None:
            rule = next((r for r in result.fired if r.gives.get(name) == words), None)
            because = ", ".join(_abnormal(result, values)[:MOST_VALUES])
            clause = f", {rule.clause}" if rule else ""
            said = f"{about.title}: {_outcome(result, name, words)}"
            source = f"{about.title} ({about.publisher}, {about.edition}){clause}"
            found.append(TriageReason(about.id, level, source, f"{said} ({because})" if because else said))
    return found


def _outcome(result: Result, name: str, words: str) -> str:
    """A result as a nurse says it: a level needs no name of its own, a colour is told by what it is for."""
    if name == "severity" and (classified := result.values.get("classification")):
        return shown(classified)
    return words if name in PLAIN_OUTCOMES else valued(name, words)


def _abnormal(result: Result, values: Mapping[str, Value]) -> list[str]:
    """What was assessed and is not plainly normal, in words; what any row tested first."""
    inputs = result.guideline.inputs
    tested = [name for rule in result.fired for name in rule.because]
    names = dict.fromkeys((*(n for n in tested if n in inputs), *inputs))
    return [
        valued(name, shown(_rounded(value)), inputs[name].question)
        for name in names
        if not isinstance(value := values[name], Unassessed)
        and value not in NORMAL
        and not name.startswith(("age_", "sex"))
    ]


def _rounded(value: Value) -> Value:
    """A computed number without digits that nobody reads."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return round(value, 2 if abs(value) >= 1 else 4)


def _least(value: Unassessed | None, levels: Mapping[str, Level]) -> Level | None:
    """The mildest level to which all that a result may still be raise; None when one raises nothing."""
    options = [levels.get(shown(option)) for option in value.options] if value else []
    if not options or None in options:
        return None
    return max((level for level in options if level), key=ORDER.index)


def _protocol(result: Result) -> Protocol:
    about = result.guideline.about
    return Protocol(
        id=about.id,
        title=about.title,
        edition=about.edition,
        review=about.review,
        answers={n: shown(_rounded(v)) for n, v in result.values.items() if n not in result.undecided},
        undecided=result.possible,
        missing=result.missing,
    )


def _one_plan(
    library: Library, results: Sequence[Result], patient: Patient, values: Mapping[str, Value]
) -> tuple[Action, ...]:
    """The plans of all, each action once, a medicine checked against those of the other guidelines."""
    every = [action for result in results for action in result.plan]
    plan: dict[tuple[object, ...], Action] = {}
    for action in every:
        key = action.action, action.what, action.dose, action.for_days, action.in_days
        if key not in plan:
            plan[key] = _beside(library, action, every, patient, values) if action.action in GIVEN else action
    given = any(action.action in GIVEN for action in plan.values())
    asked = (patient.medicines is None, patient.allergies is None)
    return (*([_ask_first(*asked)] if given and any(asked) else []), *plan.values())


def _ask_first(medicines: bool, allergies: bool) -> Action:
    """Before anything is given: what nobody asked, and what every check of a medicine needs."""
    what = [name for name, wanted in (("other medicines", medicines), ("allergies", allergies)) if wanted]
    return Action(
        action="do",
        what=f"ask about {' and '.join(what)} before any medicine is given: nobody did, nothing was checked",
        guideline="Akazuba formulary",
        edition="1",
        clause="allergies and interactions",
        review="not reviewed by a clinician",
    )


def _beside(
    library: Library,
    action: Action,
    every: Sequence[Action],
    patient: Patient,
    values: Mapping[str, Value],
) -> Action:
    """A medicine beside the rest of the plan and what the patient takes."""
    parts = library.formulary.parts
    mine = parts(action.what)
    others = [a for a in every if a.guideline != action.guideline and a.action in GIVEN and not a.withheld]
    taken = [a.what for a in others if not parts(a.what) & mine]
    verdict = library.formulary.judged(action.what, taken, (), values)
    against = [
        f"{a.guideline} says {a.action} {a.what}"
        for a in every
        if a.action in ("stop", "avoid") and parts(a.what) & mine
    ]
    twice = [
        f"{a.guideline} gives {a.what} too ({a.dose or 'no dose'}): do not give it twice"
        for a in others
        if parts(a.what) & mine and (a.what, a.dose) != (action.what, action.dose)
    ]
    already = [
        f"takes {name} already: not twice"
        for name in patient.medicines or ()
        if action.action == "start" and parts(name) & mine
    ]
    withheld = tuple(dict.fromkeys((*action.withheld, *verdict.withheld, *against)))
    return msgspec.structs.replace(
        action,
        withheld=withheld,
        dose=None if withheld else action.dose,
        tell="" if withheld else action.tell,
        check_first=tuple(dict.fromkeys((*action.check_first, *verdict.checks, *twice, *already))),
    )
