"""Findings that need no reading: reported with a code, implied by a measurement, a test or a picture.

The thresholds stand in `vital_findings.tsv`, one row each with its source and whether it was checked.
Between `limit` and `clear` a vital sign is neither evidence for the finding nor against it.
"""

from __future__ import annotations

import csv
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from akazuba.errors import CaseError
from akazuba.intake.checks import UNITS, refuse_two_answers, shown
from akazuba.records import Case, Finding, Vitals

LESION = "HP:0011355"
CONFUSION = "HP:0001289"
REDUCED_CONSCIOUSNESS = "HP:0004372"
UNRESPONSIVE = "AKZ:0000001"
PREGNANCY = "AKZ:0000041"

RESULTS = {
    "positive": True,
    "reactive": True,
    "detected": True,
    "negative": False,
    "non-reactive": False,
    "not detected": False,
}
"""Words of a test's result -> whether it was positive."""

_BEYOND = {">=": operator.ge, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class VitalRow:
    """A vital sign beyond `limit` (by `op`) is the finding; one not beyond `clear` is its absence.

    Both in the vital's own unit; from_years, below_years: the ages that the row is for.
    """

    finding: str
    vital: str
    op: str
    limit: float
    clear: float
    from_years: float
    below_years: float
    source: str
    review: str

    def says(self, value: float) -> bool | None:
        beyond = _BEYOND[self.op]
        if beyond(value, self.limit):
            return True
        return None if beyond(value, self.clear) else False


@cache
def vital_rows() -> tuple[VitalRow, ...]:
    with (Path(__file__).parent / "vital_findings.tsv").open(encoding="utf-8", newline="") as file:
        return tuple(
            VitalRow(
                row["finding"],
                row["vital"],
                row["op"],
                limit=float(row["limit"]),
                clear=float(row["clear"]),
                from_years=float(row["from_years"]),
                below_years=float(row["below_years"]),
                source=row["source"],
                review=row["review"],
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        )


def coded_findings(
    case: Case, label: Callable[[str], str], canonical: Callable[[str], str]
) -> tuple[Finding, ...]:
    """Findings of a case that stand in it as codes or numbers, each id once.

    label, canonical: name of an id, and the id in use for one that was merged; both raise CaseError
    for an unknown id, which is passed on.
    When a measurement and the nurse's report disagree, present wins: a fever that was reported stays
    when the thermometer shows none now, and one that is measured stands even when it was denied.
    Raises CaseError for a finding or test with two answers and for a test result that is no known word.
    """
    reported = [
        Finding(
            id=canonical(finding.id),
            name=label(finding.id),
            present=finding.present,
            source="nurse",
            onset_days_ago=finding.onset_days_ago,
        )
        for finding in case.findings
    ]
    refuse_two_answers("findings", [(item.id, "present" if item.present else "absent") for item in reported])
    implied = [
        Finding(id=identity, name=label(identity), present=present, source="vitals", text=text)
        for identity, present, text in _measured(case)
    ]
    if case.patient.pregnant is not None:
        implied.append(
            Finding(
                id=PREGNANCY,
                name=label(PREGNANCY),
                present=case.patient.pregnant,
                source="nurse",
                text="pregnant",
            )
        )
    if any(image.kind == "skin-photo" for image in case.images):
        implied.append(Finding(id=LESION, name=label(LESION), source="image", text="skin-photo"))
    found: dict[str, Finding] = {}
    for item in (*reported, *implied, *_tested(case)):
        if item.id not in found or (item.present and not found[item.id].present):
            found[item.id] = item
    return tuple(found.values())


def _measured(case: Case) -> Iterator[tuple[str, bool, str]]:
    """Finding, whether it is present, and the measurement that says so."""
    for finding in dict.fromkeys(row.finding for row in vital_rows()):
        rows = [row for row in vital_rows() if row.finding == finding]
        present = _state(rows, case)
        if present is False and finding == "AKZ:0000042" and case.vitals.on_oxygen:
            continue  # a good saturation on oxygen says nothing of the lungs
        if present is not None:
            vitals = dict.fromkeys(row.vital for row in rows)
            values = ((getattr(case.vitals, name), UNITS[name]) for name in vitals)
            text = ", ".join(f"{value:g} {unit}" for value, unit in values if value is not None)
            yield finding, present, text
    match case.vitals.consciousness:
        case "alert":
            yield REDUCED_CONSCIOUSNESS, False, "alert"
        case "confused":
            yield CONFUSION, True, "confused"
        case "voice" | "pain" as response:
            yield REDUCED_CONSCIOUSNESS, True, f"responds to {response}"
        case "unresponsive":
            yield REDUCED_CONSCIOUSNESS, True, "unresponsive"
            yield UNRESPONSIVE, True, "unresponsive"


def _state(rows: list[VitalRow], case: Case) -> bool | None:
    """Present when any row for the age says so, absent when all do. Without the age: what every age says."""
    age = case.patient.age_in_years
    ages = {row.from_years for row in rows} | {0.0} if age is None else {age}
    states = {_state_at(rows, case.vitals, age) for age in ages}
    return states.pop() if len(states) == 1 else None


def _state_at(rows: list[VitalRow], vitals: Vitals, age: float) -> bool | None:
    values = [(row, getattr(vitals, row.vital)) for row in rows if row.from_years <= age < row.below_years]
    states = [None if value is None else row.says(value) for row, value in values]
    if True in states:
        return True
    return False if states and all(state is False for state in states) else None


def _tested(case: Case) -> list[Finding]:
    tests = []
    for index, test in enumerate(case.tests):
        positive = RESULTS.get(test.result.strip().casefold())
        if positive is None:
            words = f"{', '.join(RESULTS)} (leave out a test that failed or was not done)"
            raise CaseError(f"tests[{index}].result", words, shown(test.result))
        tests.append(
            Finding(
                id=f"test:{test.id}",
                name=f"{test.id} test",
                present=positive,
                source="test",
                text=test.result,
            )
        )
    refuse_two_answers("tests", [(item.id, "positive" if item.present else "negative") for item in tests])
    return tests
