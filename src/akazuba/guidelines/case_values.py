"""What a case says about the inputs of guidelines, by the `from` column of `inputs.csv`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from akazuba.errors import CaseError, InputError
from akazuba.guidelines.growth import PLAUSIBLE, Growth, Measured, growth
from akazuba.guidelines.inputs import Input, by_any_name
from akazuba.guidelines.values import Scalar, Unassessed, Value
from akazuba.records import Case, Finding
from akazuba.terminology import Ancestors, kinds_of

KG_A_LB = 0.45359237

WORDS = ("finding", "condition", "medicine", "allergy")

FINE_YEARS = 5.0
"""Under this age whole years are too coarse for guidelines."""


Parts = Callable[[str], frozenset[str]]
"""The medicines in a name as somebody wrote it (`Formulary.parts`)."""


def values_of(
    inputs: Mapping[str, Input], case: Case, findings: Sequence[Finding], ancestors: Ancestors, parts: Parts
) -> dict[str, Value]:
    """Every input that the case answers; what nobody assessed is left out, and an age that is known in whole
    years only is what it may be.

    findings: all coded findings of the case.
    Raises CaseError for an answer that is no input's, a value that is none of its input's, and an answer that
    contradicts another field of the case.
    """
    answers = _answers(inputs, case)
    reader = _CaseReader(case, findings, ancestors, parts, oedema=answers.get("oedema_both_feet") is True)
    found: dict[str, Value] = {}
    for name, item in inputs.items():
        try:
            said = reader.first(item)
            said = None if said is None else item.checked(said)
        except CaseError:
            raise
        except InputError as problem:
            raise CaseError(name, problem.expected, problem.found) from problem
        if name in answers:
            if said is not None and said != answers[name] and not _from_words(item):
                raise CaseError(
                    f"answers.{name}", f"what the case says elsewhere ({said})", str(answers[name])
                )
            found[name] = answers[name]
        elif said is not None:
            found[name] = said
    _refuse_slip_of_weight(case, reader.weight_for_age_z)
    return {**found, **_coarse_age(case)}


def _refuse_slip_of_weight(case: Case, weight_for_age_z: float | None) -> None:
    """Every dose hangs on the weight: one that no child of this age has is asked back."""
    weight = case.patient.weight_kg
    if (
        weight is not None
        and weight_for_age_z is not None
        and weight_for_age_z > PLAUSIBLE["weight_for_age_z"][1]
    ):
        found = f"{weight:g} kg; if that is in lb it would be {weight * KG_A_LB:.1f} kg"
        raise CaseError("patient.weight_kg", "a weight that a child of this age can have", found)


def _from_words(item: Input) -> bool:
    """Whether a case holds it in words only: what a note or a list seems to say gives way to an answer."""
    return all(place.partition(" ")[0] in WORDS for place in item.from_)


def _answers(inputs: Mapping[str, Input], case: Case) -> dict[str, Scalar]:
    if not case.answers:
        return {}
    known = by_any_name(inputs.values())
    found: dict[str, Scalar] = {}
    for name, answer in case.answers.items():
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise CaseError(f"answers.{name}", "an input of a guideline", f"none of that name{guess}")
        item = known[name]
        if item.name in found:
            raise CaseError(f"answers.{name}", "each input once", f"{item.name} twice")
        try:
            found[item.name] = (
                item.parsed(str(answer))
                if isinstance(answer, str)
                else item.checked(answer if isinstance(answer, bool) else float(answer))
            )
        except InputError as problem:
            raise CaseError(f"answers.{name}", problem.expected, problem.found) from problem
    return found


def _coarse_age(case: Case) -> dict[str, Value]:
    """A small child's age in whole years says little: 0 years may be a newborn or eleven months old."""
    patient = case.patient
    years = patient.age_years
    finer = patient.age_months is not None or patient.age_days is not None
    if finer or years is None or years >= FINE_YEARS or years % 1:
        return {}
    missing = frozenset(("age_months",))
    coarse: dict[str, Value] = {
        "age_months": Unassessed(missing, 12 * years, 12 * years + 11.99),
        "age_days": Unassessed(missing, years * 365.25, (years + 1) * 365.25 - 0.5),
    }
    return coarse | ({"age_years": Unassessed(missing, 0, 0.999)} if years == 0 else {})


class _CaseReader:
    """The fields of one case by the words of `from`."""

    def __init__(
        self, case: Case, findings: Sequence[Finding], ancestors: Ancestors, parts: Parts, *, oedema: bool
    ) -> None:
        self._case = case
        own = [finding for finding in findings if finding.counts and finding.source != "vitals"]
        self._present = frozenset[str]().union(*(kinds_of(f.id, ancestors) for f in own if f.present))
        self._absent = frozenset(f.id for f in own if not f.present)
        self._ancestors = ancestors
        self._growth = _growth_of(case, oedema=oedema)
        self._conditions = {name.casefold().strip() for name in case.conditions}
        self._parts = parts
        self._doses = _doses(case, parts)

    @property
    def weight_for_age_z(self) -> float | None:
        return self._growth.weight_for_age_z

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

    def finding(self, _: Input, text: str) -> Scalar | None:
        """What a measurement implies is left to the tables' own thresholds, which read the measurement."""
        id_, _equals, word = text.partition("=")
        if id_ in self._present:
            return word or True
        return False if not word and kinds_of(id_, self._ancestors) & self._absent else None

    def condition(self, _: Input, text: str) -> Scalar | None:
        """A list of conditions says what is there, never that nothing else is."""
        name, _equals, word = text.partition("=")
        return (word or True) if name.casefold() in self._conditions else None

    def medicine(self, _: Input, name: str) -> Scalar | None:
        return None if self._doses is None else self._parts(name) <= self._doses.keys()

    def dose(self, _: Input, name: str) -> Scalar | None:
        """Milligrams of a medicine; 0 when the list of medicines has it not, None without its dose."""
        return None if self._doses is None else self._doses.get(name.casefold(), 0.0)

    def allergy(self, _: Input, name: str) -> Scalar | None:
        return (
            True
            if any(name.casefold() in allergy.casefold() for allergy in self._case.allergies or ())
            else None
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

    def growth(self, item: Input, indicator: str) -> Scalar | None:
        """A z-score. One that is too high to be true says nothing; one that is too low counts as very low."""
        value: float | None = getattr(self._growth, indicator)
        if value is None or (value > 0 and indicator in self._growth.implausible):
            return None
        return max(value, item.low)

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


def _doses(case: Case, parts: Parts) -> dict[str, float | None] | None:
    """Milligrams by medicine, a combination's parts without their doses; None when nobody asked."""
    if case.medications is None:
        return None
    found: dict[str, float | None] = {}
    for medicine in case.medications:
        names = parts(medicine.name)
        alone = medicine.dose_mg if len(names) == 1 else None
        found |= dict.fromkeys(names, alone)
        found.setdefault(medicine.name.casefold().strip(), medicine.dose_mg)
    return found


def _growth_of(case: Case, *, oedema: bool) -> Growth:
    """Nothing for an age in whole years: most of a year would move the score by an SD."""
    patient = case.patient
    exact = patient.age_days is not None or patient.age_months is not None
    years = patient.age_years
    if patient.sex not in ("male", "female") or not (exact or (years is not None and years % 1)):
        return Growth("")
    days = patient.age_days
    if days is None and patient.age_months is None and years is not None:
        days = years * 365.25
    return growth(
        Measured(
            sex="male" if patient.sex == "male" else "female",
            age_days=days,
            age_months=patient.age_months,
            weight_kg=patient.weight_kg,
            height_cm=patient.height_cm,
            oedema=oedema,
        )
    )
