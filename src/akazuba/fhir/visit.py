"""One consultation as FHIR R4 resources, each value under the code by which `case_from_bundle` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from akazuba.fhir.codes import LOINC
from akazuba.fhir.events import OURS, TERMS, Json, instant
from akazuba.records import Case, ReportedFinding, Vitals

UCUM = "http://unitsofmeasure.org"
HPO = "http://human-phenotype-ontology.org"

_QUANTITIES = {
    "temperature_c": ("8310-5", "Body temperature", "Cel"),
    "heart_rate_bpm": ("8867-4", "Heart rate", "/min"),
    "respiratory_rate_bpm": ("9279-1", "Respiratory rate", "/min"),
    "spo2_percent": ("2708-6", "Oxygen saturation in Arterial blood", "%"),
    "glucose_mmol_l": ("15074-8", "Glucose in Blood", "mmol/L"),
    "capillary_refill_s": ("44963-7", "Capillary refill", "s"),
    "systolic_mmhg": ("8480-6", "Systolic blood pressure", "mm[Hg]"),
    "diastolic_mmhg": ("8462-4", "Diastolic blood pressure", "mm[Hg]"),
    "weight_kg": ("29463-7", "Body weight", "kg"),
    "height_cm": ("8302-2", "Body height", "cm"),
    "gestational_age_weeks": ("11884-4", "Gestational age", "wk"),
}
_PRESSURES = ("systolic_mmhg", "diastolic_mmhg")


@dataclass(frozen=True)
class Visit:
    """A stored case. index: of its entry, from which its resources have their ids. newest: its note is read
    back as today's; an older one is history.
    """

    index: int
    at_ms: int
    case: Case
    newest: bool

    @property
    def when(self) -> str:
        """Of the consultation: its date, else when it was recorded."""
        return self.case.date or instant(self.at_ms)

    @property
    def encounter(self) -> str:
        return f"Encounter/entry-{self.index}"


def visit(about: str, seen: Visit) -> list[Json]:
    """The Encounter of a case, its Observations, medicines, allergies, conditions and note. about: the
    patient's resource id.
    """
    case, vitals = seen.case, seen.case.vitals
    made = _Made(about, seen)
    start = {"status": "finished", "class": coding(TERMS + "v3-ActCode", "AMB", "ambulatory")}
    encounter = made.resource("Encounter", **start, period={"start": seen.when})
    encounter["id"] = f"entry-{seen.index}"
    del encounter["encounter"]
    return [
        encounter,
        *_measured(made, case, vitals),
        *(_finding(made, finding) for finding in case.findings),
        *(
            made.observation(
                _concept(LOINC, lab.loinc, ""), valueQuantity={"value": lab.value, "unit": lab.unit}
            )
            for lab in case.labs
        ),
        *(made.observation({"text": test.id}, valueString=test.result) for test in case.tests),
        *(
            made.resource(
                "MedicationStatement",
                status="active",
                medicationCodeableConcept={"text": drug.name},
                dosage=_dosage(drug.dose_mg),
            )
            for drug in case.medications or ()
        ),
        *(made.allergy(name) for name in case.allergies or ()),
        *(made.condition(name) for name in case.conditions),
        *_note(made, case, newest=seen.newest),
    ]


class _Made:
    """Gives each resource of a visit its id, its patient, its encounter and its time."""

    def __init__(self, about: str, seen: Visit) -> None:
        self._about, self._seen, self._number = about, seen, 0

    def resource(self, kind: str, **parts: object) -> Json:
        self._number += 1
        subject = "patient" if kind == "AllergyIntolerance" else "subject"
        where = "context" if kind == "MedicationStatement" else "encounter"
        return {
            "resourceType": kind,
            "id": f"entry-{self._seen.index}-{self._number}",
            subject: {"reference": f"Patient/{self._about}"},
            where: {"reference": self._seen.encounter},
            **{name: part for name, part in parts.items() if part not in (None, [], {})},
        }

    def observation(self, code: Json, category: str = "", **value: object) -> Json:
        kinds = [{"coding": [coding(TERMS + "observation-category", category, category)]}]
        return self.resource(
            "Observation",
            status="final",
            category=kinds if category else None,
            code=code,
            effectiveDateTime=self._seen.when,
            **value,
        )

    def quantity(self, field: str, value: float, category: str = "vital-signs") -> Json:
        code, quantity = _measure(field, value)
        return self.observation(code, category, valueQuantity=quantity)

    def allergy(self, name: str) -> Json:
        status = [coding(TERMS + "allergyintolerance-clinical", "active", "Active")]
        return self.resource("AllergyIntolerance", clinicalStatus={"coding": status}, code={"text": name})

    def condition(self, name: str) -> Json:
        status = [coding(TERMS + "condition-clinical", "active", "Active")]
        return self.resource("Condition", clinicalStatus={"coding": status}, code={"text": name})


def _measured(made: _Made, case: Case, vitals: Vitals) -> list[Json]:
    values = {name: getattr(vitals, name) for name in _QUANTITIES if hasattr(vitals, name)}
    values |= {"weight_kg": case.patient.weight_kg, "height_cm": case.patient.height_cm}
    given = {name: value for name, value in values.items() if value is not None}
    measured = [_measure(name, given.pop(name)) for name in _PRESSURES if name in given]
    pressures = [{"code": code, "valueQuantity": quantity} for code, quantity in measured]
    found = [made.quantity(name, value) for name, value in given.items()]
    if pressures:
        panel = _concept(LOINC, "85354-9", "Blood pressure panel")
        found.append(made.observation(panel, "vital-signs", component=pressures))
    if case.gestational_age_weeks is not None:
        found.append(made.quantity("gestational_age_weeks", case.gestational_age_weeks, "exam"))
    if vitals.consciousness:
        level = _concept(LOINC, "80288-4", "Level of consciousness")
        found.append(made.observation(level, "exam", valueCodeableConcept={"text": vitals.consciousness}))
    if vitals.on_oxygen is False:
        flow = _concept(LOINC, "3151-8", "Inhaled oxygen flow rate")
        none = {"value": 0, "unit": "L/min", "system": UCUM, "code": "L/min"}
        found.append(made.observation(flow, "vital-signs", valueQuantity=none))
    elif vitals.on_oxygen:
        found.append(made.observation({"text": "on oxygen, flow unknown"}, "vital-signs", valueBoolean=True))
    if case.patient.pregnant is not None:
        status = _concept(LOINC, "82810-3", "Pregnancy status")
        words = "pregnant" if case.patient.pregnant else "not pregnant"
        found.append(made.observation(status, "exam", valueCodeableConcept={"text": words}))
    return found


def _measure(field: str, value: float) -> tuple[Json, Json]:
    code, name, unit = _QUANTITIES[field]
    return _concept(LOINC, code, name), {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _finding(made: _Made, finding: ReportedFinding) -> Json:
    code: Json = {"coding": [{"system": HPO if finding.id.startswith("HP:") else OURS, "code": finding.id}]}
    onset = finding.onset_days_ago
    note = [{"text": f"since {onset:g} days"}] if onset is not None else None
    return made.observation(code, "exam", valueBoolean=finding.present, note=note)


def _note(made: _Made, case: Case, *, newest: bool) -> list[Json]:
    """An older note is an Observation of its day, which is history to whoever reads the bundle."""
    if not case.note.strip():
        return []
    if newest:
        said = [{"contentString": case.note}]
        return [made.resource("Communication", status="completed", language=case.language, payload=said)]
    note = made.observation(_concept(LOINC, "34109-9", "Note"), valueString=case.note)
    return [{**note, "language": case.language}]


def _dosage(dose_mg: float | None) -> list[Json] | None:
    if dose_mg is None:
        return None
    quantity = {"value": dose_mg, "unit": "mg", "system": UCUM, "code": "mg"}
    return [{"doseAndRate": [{"doseQuantity": quantity}]}]


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [coding(system, code, display)]}


def coding(system: str, code: str, display: str) -> Mapping[str, object]:
    return {"system": system, "code": code, **({"display": display} if display else {})}
