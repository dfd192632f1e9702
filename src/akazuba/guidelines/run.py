"""Runs one guideline over what is known of a patient: answers, and why; plan, and what would change it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from akazuba.errors import InputError
from akazuba.guidelines.formulas import Formula, truth
from akazuba.guidelines.guideline import Computed, Guideline
from akazuba.guidelines.medicines import Formulary
from akazuba.guidelines.tables import PLAN_COLUMNS, Row, Table
from akazuba.guidelines.values import Scalar, Truth, Unassessed, Value, missing_of, shown, span
from akazuba.records import GIVEN, Action, Missing, RuleFired
from akazuba.wording.names import named

ACTIONS = (*GIVEN, "stop", "avoid", "do", "test", "refer", "admit", "advise", "follow-up")
"""What an action of a plan may be."""


GROWN_YEARS = 15.0
"""From this age a maximum per kg is not asked for."""


@dataclass(frozen=True)
class Patient:
    """What a plan is checked against besides the values. today: the date from which days are counted.

    medicines, allergies: None when nobody asked.
    """

    today: datetime.date | None = None
    medicines: tuple[str, ...] | None = None
    allergies: tuple[str, ...] | None = None


NOBODY_KNOWN = Patient()


@dataclass(frozen=True)
class Result:
    """applies: whether the guideline is for this patient; None when that is not known.

    values: what it gives, None where it is not decided. undecided: what such a one may still be.
    missing: what was not assessed and would change something, most useful first.
    """

    guideline: Guideline
    applies: bool | None
    values: Mapping[str, Scalar | None]
    undecided: Mapping[str, Unassessed]
    fired: tuple[RuleFired, ...]
    missing: tuple[Missing, ...]
    plan: tuple[Action, ...]

    @property
    def possible(self) -> Mapping[str, str]:
        """The undecided results in words."""
        return {name: span(value) for name, value in self.undecided.items()}


def run(
    guideline: Guideline, values: Mapping[str, Value], formulary: Formulary, patient: Patient = NOBODY_KNOWN
) -> Result:
    """values: every input of the guideline, `Unassessed` where nobody knows.

    Raises InputError when the guideline may not be used for the patient (outside its domain).
    """
    for name, (low, high) in guideline.about.domain.items():
        value = values[name]
        if isinstance(value, float) and not low <= value <= high:
            raise InputError(name, f"{low:g} to {high:g} for {guideline.id}", f"{value:g}")
    known, fired, certain, unsure = _decided(guideline, values)
    wanted: dict[str, dict[str, None]] = {}
    for row, missing in unsure:
        _note(
            wanted, missing, f"{shown(row.gives('action', known))} {shown(row.gives('what', known))}".strip()
        )
    proposed = [shown(row.gives("what", known)) for row in certain if row.gives("action", known) in GIVEN]
    plans = []
    for row in certain:
        others = [m for m in (*(patient.medicines or ()), *proposed) if m != shown(row.gives("what", known))]
        plans.append(_planned(guideline, row, known, formulary, patient, others))
        _note(wanted, plans[-1].needs, f"{plans[-1].action} {plans[-1].what}")
    results = guideline.about.results or tuple(n for n in known if n not in values)
    for name in results:
        if isinstance(value := known[name], Unassessed):
            _note(wanted, value.missing, name)
    applies = truth(guideline.applies.value(values)) if guideline.applies else Truth.TRUE
    return Result(
        guideline,
        None if applies is Truth.UNKNOWN else applies is Truth.TRUE,
        {name: None if isinstance(v := known[name], Unassessed) else v for name in results},
        {name: v for name in results if isinstance(v := known[name], Unassessed)},
        tuple(fired),
        tuple(_missing(guideline, name, tuple(changes)) for name, changes in wanted.items()),
        tuple(plans),
    )


def _decided(
    guideline: Guideline, values: Mapping[str, Value]
) -> tuple[dict[str, Value], list[RuleFired], list[Row], list[tuple[Row, frozenset[str]]]]:
    """Every value, the rules that fired, the rows of the plan, and the rows that may be of it."""
    known, fired = dict(values), list[RuleFired]()
    certain, unsure = list[Row](), list[tuple[Row, frozenset[str]]]()
    for step in guideline.steps:
        if isinstance(step, Computed):
            known[step.name] = step.value(known)
            continue
        outcome = step.decide(known)
        known |= outcome.values
        fired += [_because(guideline, step, row, known) for row in outcome.fired]
        if step.is_plan:
            certain += [row for row in outcome.fired if row.then.get("action")]
            unsure += [(row, missing) for row, missing in outcome.open if row.then.get("action")]
    return known, fired, certain, unsure


def _note(wanted: dict[str, dict[str, None]], missing: Iterable[str], change: str) -> None:
    for name in sorted(missing):
        wanted.setdefault(name, {})[change] = None


def _missing(guideline: Guideline, name: str, changes: tuple[str, ...]) -> Missing:
    item = guideline.inputs.get(name)
    return Missing(name, item.question if item else named(name), changes)


def _because(guideline: Guideline, table: Table, row: Row, values: Mapping[str, Value]) -> RuleFired:
    clause = guideline.clauses[row.clause]
    return RuleFired(
        table=table.file,
        row=row.id,
        clause=clause.id,
        page=clause.page,
        says=clause.says,
        because={name: shown(values[name]) for name in row.tests},
        gives={n: shown(row.gives(n, values)) for n in row.then if n not in PLAN_COLUMNS[2:]},
        overlay=row.changed,
    )


def _planned(
    guideline: Guideline,
    row: Row,
    values: Mapping[str, Value],
    formulary: Formulary,
    patient: Patient,
    others: Sequence[str],
) -> Action:
    cells = {column: row.gives(column, values) for column in PLAN_COLUMNS}
    action, what = shown(cells["action"]), shown(cells["what"])
    needs = set(missing_of(cells.values()))
    withheld, checks, dose = list[str](), list[str](), None
    if cells["amount"] is not None or isinstance(row.then.get("amount"), Formula):
        weight = values.get("weight_kg")
        dose, why = _dose(cells, formulary, what, weight if isinstance(weight, float) else None)
        withheld += [why] if why else []
        grown = isinstance(age := values.get("age_years"), float) and age >= GROWN_YEARS
        if (
            formulary.weight_wanted(what, shown(cells["unit"]))
            and not grown
            and not isinstance(weight, float)
        ):
            checks.append("weight not known: the most per kg of a child was not checked")
    if action in GIVEN:
        verdict = formulary.judged(what, others, patient.allergies or (), values)
        withheld += verdict.withheld
        checks += verdict.checks
        needs |= verdict.missing
    clause = guideline.clauses[row.clause]
    in_days = cells["in_days"] if isinstance(cells["in_days"], float) else None
    for_days = cells["for_days"] if isinstance(cells["for_days"], float) else None
    date = _later(patient.today, in_days)
    return Action(
        action=action,
        what=what,
        dose=None if withheld else dose,
        for_days=for_days,
        in_days=in_days,
        date=date.isoformat() if date else None,
        tell="" if withheld else shown(cells["tell"]),
        withheld=tuple(withheld),
        check_first=tuple(checks),
        needs=tuple(sorted(needs)),
        guideline=guideline.about.title,
        edition=guideline.about.edition,
        clause=clause.id,
        page=clause.page,
        source=clause.source,
        because={name: shown(values[name]) for name in row.tests},
        overlay=(row.changed,) if row.changed else (),
        review=guideline.about.review,
    )


def _later(today: datetime.date | None, days: float | None) -> datetime.date | None:
    try:
        return today + datetime.timedelta(days=days) if today and days is not None else None
    except OverflowError:
        return None


def _dose(
    cells: Mapping[str, Value], formulary: Formulary, what: str, weight_kg: float | None
) -> tuple[str | None, str]:
    """The dose in words, or why there is none."""
    amount, unit, frequency = cells["amount"], shown(cells["unit"]), shown(cells["frequency"])
    if isinstance(amount, Unassessed):
        return None, f"no dose without {', '.join(map(named, sorted(amount.missing)))}"
    if not isinstance(amount, float):
        return None, "no dose can be computed from what is given"
    if amount <= 0:
        return None, f"no dose: {amount:g} {unit} was computed"
    if why := formulary.excess(what, unit, amount, frequency, weight_kg):
        return None, why
    days = cells["for_days"]
    during = f" for {days:g} day{'s' * (days != 1)}" if isinstance(days, float) else ""
    return f"{amount:g} {unit} {frequency}{during}", ""
