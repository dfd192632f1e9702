"""All guidelines that a case calls for: their answers, one plan, and how urgent they say that it is."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec

from akazuba.guidelines.formulas import truth
from akazuba.guidelines.guideline import Guideline, GuidelineKind
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import GIVEN, Patient, Result
from akazuba.guidelines.values import Scalar, Truth, Value, shown
from akazuba.records import Action, Case, Level, Protocol, Triage, TriageReason

KINDS = get_args(GuidelineKind)
ORDER: tuple[Level, ...] = ("red", "yellow", "green", "unassessed")


@dataclass(frozen=True)
class Care:
    """protocols: what each guideline answers. reasons: why a guideline raises the urgency."""

    protocols: tuple[Protocol, ...]
    plan: tuple[Action, ...]
    reasons: tuple[TriageReason, ...]


def care_for(library: Library, case: Case, values: Mapping[str, Scalar], level: Level) -> Care:
    """Runs every guideline that is for this patient.

    values: what the case says of the inputs (`case_values.values_of`). level: the charts' urgency.
    A guideline of which nobody knows whether it is for her is not run; a score that may raise the urgency of
    anybody is, and is no part of the answer. Of a red patient, chronic and preventive care waits.
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
        reasons += _reasons(result)
        if applies is Truth.TRUE:
            results.append(result)
    results.sort(key=lambda result: KINDS.index(result.guideline.about.kind))
    if level == "red" or any(reason.level == "red" for reason in reasons):
        results = [r for r in results if r.guideline.about.kind not in ("chronic", "preventive")]
    return Care(
        tuple(_protocol(result) for result in results),
        _one_plan(library, results, patient, shared),
        tuple(reasons),
    )


def patient_of(case: Case) -> Patient:
    return Patient(
        datetime.date.fromisoformat(case.date) if case.date else None,
        tuple(medication.name.casefold() for medication in case.medications or ()),
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
    inside = Truth.TRUE
    for name, (low, high) in guideline.about.domain.items():
        value = values[name]
        if isinstance(value, float):
            inside = inside if low <= value <= high else Truth.FALSE
        elif guideline.applies is None:
            return Truth.FALSE
    return min(inside, truth(guideline.applies.value(values)) if guideline.applies else Truth.UNKNOWN)


def _reasons(result: Result) -> list[TriageReason]:
    about, found = result.guideline.about, []
    for name, levels in about.raises.items():
        value = result.values[name]
        level = levels.get(shown(value)) if value is not None else None
        if level is not None:
            rule = next((r for r in result.fired if r.gives.get(name) == shown(value)), None)
            why = {n: v for r in result.fired for n, v in r.because.items() if n in result.guideline.inputs}
            because = ", ".join(f"{n.replace('_', ' ')} {v}" for n, v in list(why.items())[:8])
            clause = f", {rule.clause}" if rule else ""
            found.append(
                TriageReason(
                    about.id,
                    level,
                    f"{about.title} ({about.publisher}, {about.edition}){clause}",
                    f"{about.title}: {name.replace('_', ' ')} {shown(value)} ({because})",
                )
            )
    return found


def _protocol(result: Result) -> Protocol:
    about = result.guideline.about
    return Protocol(
        id=about.id,
        title=about.title,
        edition=about.edition,
        review=about.review,
        answers={name: shown(value) for name, value in result.values.items() if name not in result.possible},
        undecided=result.possible,
        missing=result.missing,
    )


def _one_plan(
    library: Library, results: Sequence[Result], patient: Patient, values: Mapping[str, Value]
) -> tuple[Action, ...]:
    """The plans of all, each action once, medicines of one guideline checked against those of the others."""
    given = [(r.guideline.about.title, a) for r in results for a in r.plan if a.action in GIVEN]
    plan: dict[tuple[object, ...], Action] = {}
    for result in results:
        for action in result.plan:
            key = action.action, action.what, action.dose, action.for_days, action.in_days
            if key in plan:
                continue
            if action.action in GIVEN:
                action = _beside_others(library, action, given, patient, values)  # noqa: PLW2901
            plan[key] = action
    return tuple(plan.values())


def _beside_others(
    library: Library,
    action: Action,
    given: Sequence[tuple[str, Action]],
    patient: Patient,
    values: Mapping[str, Value],
) -> Action:
    others = [(title, a) for title, a in given if title != action.guideline]
    taken = [a.what for _, a in others if a.what != action.what and not a.withheld]
    verdict = library.formulary.judged(action.what, taken, patient.allergies, values)
    twice = [
        f"{title} gives it too ({a.dose or 'no dose'}): do not give it twice"
        for title, a in others
        if a.what == action.what and a.dose != action.dose
    ]
    withheld = tuple(dict.fromkeys((*action.withheld, *verdict.withheld)))
    return msgspec.structs.replace(
        action,
        withheld=withheld,
        dose=None if withheld else action.dose,
        check_first=tuple(dict.fromkeys((*action.check_first, *verdict.checks, *twice))),
    )
