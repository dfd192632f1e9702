"""What a case says about the inputs of guidelines, by the `from` column of `inputs.csv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from akazuba.errors import CaseError, InputError
from akazuba.guidelines.growth import Growth, Measured, growth
from akazuba.guidelines.inputs import Input
from akazuba.guidelines.values import Scalar
from akazuba.records import Case, Finding
from akazuba.terminology import Ancestors, kinds_of


def values_of(
    inputs: Mapping[str, Input], case: Case, findings: Sequence[Finding], ancestors: Ancestors
) -> dict[str, Scalar]:
    """Every input that the case answers; what nobody assessed is left out.

    findings: all coded findings of the case. An answer in `case.answers` wins over every other field.
    Raises CaseError for an answer that is no input's, or a value that is none of its input's.
    """
    reader = _CaseReader(case, findings, ancestors)
    found: dict[str, Scalar] = {}
    for name, item in inputs.items():
        if (value := reader.first(item)) is not None:
            found[name] = value
    known = {alias: item for item in inputs.values() for alias in (item.name, *item.aliases)}
    for name, answer in case.answers.items():
        if name not in known:
            raise CaseError(f"answers.{name}", "an input of a guideline", "none of that name")
        item = known[name]
        try:
            text = isinstance(answer, str) and item.kind != "choice"
            found[item.name] = item.parsed(str(answer)) if text else item.checked(_number(answer))
        except InputError as problem:
            raise CaseError(f"answers.{name}", problem.expected, problem.found) from problem
    return found


def _number(answer: Scalar) -> Scalar:
    return float(answer) if isinstance(answer, int) and not isinstance(answer, bool) else answer


class _CaseReader:
    """The fields of one case by the words of `from`."""

    def __init__(self, case: Case, findings: Sequence[Finding], ancestors: Ancestors) -> None:
        self._case = case
        own = [finding for finding in findings if finding.counts]
        self._present = frozenset[str]().union(*(kinds_of(f.id, ancestors) for f in own if f.present))
        self._absent = frozenset(f.id for f in own if not f.present)
        self._ancestors = ancestors
        self._growth = _growth_of(case)
        self._conditions = {name.casefold().strip() for name in case.conditions}
        self._doses = _doses(case)

    def first(self, item: Input) -> Scalar | None:
        """What the places of an input say: the first that answers; of a flag, yes if any, no if all."""
        said = [
            _READERS[place.partition(" ")[0]](self, item, place.partition(" ")[2]) for place in item.from_
        ]
        if item.kind == "flag" and True not in said:
            return False if said and None not in said else None
        return True if item.kind == "flag" else next((value for value in said if value is not None), None)

    def patient(self, item: Input, field: str) -> Scalar | None:
        value = getattr(self._case.patient, field)
        return None if value in ("other", "unknown") else self._fitting(item, value)

    def vitals(self, item: Input, field: str) -> Scalar | None:
        return self._fitting(item, getattr(self._case.vitals, field))

    def setting(self, item: Input, field: str) -> Scalar | None:
        return self._fitting(item, getattr(self._case.setting, field))

    def field(self, item: Input, field: str) -> Scalar | None:
        return self._fitting(item, getattr(self._case, field))

    def finding(self, _: Input, id_: str) -> Scalar | None:
        if id_ in self._present:
            return True
        return False if kinds_of(id_, self._ancestors) & self._absent else None

    def condition(self, _: Input, text: str) -> Scalar | None:
        """A list of conditions says what is there, never that nothing else is."""
        name, _equals, word = text.partition("=")
        return (word or True) if name.casefold() in self._conditions else None

    def medicine(self, _: Input, name: str) -> Scalar | None:
        return None if self._doses is None else name.casefold() in self._doses

    def dose(self, _: Input, name: str) -> Scalar | None:
        """Milligrams of a medicine; 0 when the list of medicines has it not, None without its dose."""
        return None if self._doses is None else self._doses.get(name.casefold(), 0.0)

    def allergy(self, _: Input, name: str) -> Scalar | None:
        return (
            True if any(name.casefold() in allergy.casefold() for allergy in self._case.allergies) else None
        )

    def test(self, item: Input, id_: str) -> Scalar | None:
        result = {test.id: test.result.strip().casefold() for test in self._case.tests}.get(id_)
        if result is None:
            return None
        positive = result in ("positive", "reactive", "detected")
        return positive if item.kind == "flag" else "positive" if positive else "negative"

    def lab(self, item: Input, loinc: str) -> Scalar | None:
        for index, lab in enumerate(self._case.labs):
            if lab.loinc == loinc:
                try:
                    return item.in_unit(lab.value, lab.unit)
                except InputError as problem:
                    raise CaseError(f"labs[{index}] ({loinc})", problem.expected, problem.found) from problem
        return None

    def growth(self, _: Input, indicator: str) -> Scalar | None:
        value: float | None = getattr(self._growth, indicator)
        return None if value is None else min(max(value, -8.0), 8.0)

    @staticmethod
    def _fitting(item: Input, value: object) -> Scalar | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return item.checked(float(value))
        return item.checked(value) if isinstance(value, str | bool) else None


_READERS: Mapping[str, Callable[[_CaseReader, Input, str], Scalar | None]] = {
    "patient": _CaseReader.patient,
    "vitals": _CaseReader.vitals,
    "setting": _CaseReader.setting,
    "case": _CaseReader.field,
    "finding": _CaseReader.finding,
    "condition": _CaseReader.condition,
    "medicine": _CaseReader.medicine,
    "dose": _CaseReader.dose,
    "allergy": _CaseReader.allergy,
    "test": _CaseReader.test,
    "lab": _CaseReader.lab,
    "growth": _CaseReader.growth,
}


def _doses(case: Case) -> dict[str, float | None] | None:
    """Milligrams by medicine, a combination's parts too (without their doses); None when nobody asked."""
    if case.medications is None:
        return None
    found: dict[str, float | None] = {}
    for medicine in case.medications:
        name = medicine.name.casefold().strip()
        found |= dict.fromkeys(name.split("+"), None)
        found[name] = medicine.dose_mg
    return found


def _growth_of(case: Case) -> Growth:
    patient = case.patient
    if patient.age_in_years is None or patient.age_in_years >= 19 or patient.sex not in ("male", "female"):
        return Growth("")
    days = patient.age_days
    if days is None and patient.age_months is None and patient.age_years is not None:
        days = patient.age_years * 365.25
    return growth(
        Measured(
            sex="male" if patient.sex == "male" else "female",
            age_days=days,
            age_months=patient.age_months,
            weight_kg=patient.weight_kg,
            height_cm=patient.height_cm,
            oedema=case.answers.get("oedema_both_feet") in (True, "yes", "true"),
        )
    )
