"""One consultation as FHIR R4 resources, each value under the code by which `case_from_bundle` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_VERIFIED = {"Condition": "condition-ver-status", "AllergyIntolerance": "allergyintolerance-verification"}
"""Kinds that say by another field than `status` that they were entered in error, with its code system."""
_NOT_SAID = ("resourceType", "id", "meta", "class", "intent", "subject", "patient", "encounter", "context")


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
    encounter = made.resource("Encounter", "", **start, period={"start": seen.when})
    del encounter["encounter"]
    return [
        encounter,
        *_measured(made, case, vitals),
        *(_finding(made, f"finding-{n}", finding) for n, finding in enumerate(case.findings)),
        *(
            made.observation(
                f"lab-{n}",
                _concept(LOINC, lab.loinc, ""),
                valueQuantity={"value": lab.value, "unit": lab.unit},
            )
            for n, lab in enumerate(case.labs)
        ),
        *(
            made.observation(f"test-{n}", {"text": test.id}, valueString=test.result)
            for n, test in enumerate(case.tests)
        ),
        *(
            made.resource(
                "MedicationStatement",
                f"medicine-{n}",
                status="active",
                medicationCodeableConcept={"text": drug.name},
                dosage=_dosage(drug.dose_mg),
            )
            for n, drug in enumerate(case.medications or ())
        ),
        *(made.allergy(f"allergy-{n}", name) for n, name in enumerate(case.allergies or ())),
        *(made.condition(f"condition-{n}", name) for n, name in enumerate(case.conditions)),
        *_note(made, case, newest=seen.newest),
    ]


def put_right(was: Sequence[Json], now: Sequence[Json]) -> list[Json]:
    """A visit whose case was corrected: what changed says so, what was taken back was entered in error."""
    before = {resource["id"]: resource for resource in was}
    stands = {resource["id"] for resource in now}
    changed = [
        resource | {"status": "corrected"}
        if resource["resourceType"] == "Observation" and resource != before.get(resource["id"])
        else resource
        for resource in now
    ]
    return changed + [entered_in_error(resource) for resource in was if resource["id"] not in stands]


def entered_in_error(resource: Json) -> Json:
    if resource["resourceType"] not in _VERIFIED:
        return resource | {"status": "entered-in-error"}
    wrong = {"coding": [coding(TERMS + _VERIFIED[str(resource["resourceType"])], "entered-in-error", "")]}
    rest = {name: part for name, part in resource.items() if name != "clinicalStatus"}
    return rest | {"verificationStatus": wrong}


def withheld(resource: Json) -> Json:
    """Of one that was entered for another patient: that it was, and nothing of what it said."""
    kept: Json = {name: part for name, part in resource.items() if name in _NOT_SAID}
    words = {"text": "entered for another patient; withheld"}
    if resource["resourceType"] in ("Observation", "Condition", "AllergyIntolerance"):
        kept["code"] = words
    if resource["resourceType"] == "MedicationStatement":
        kept["medicationCodeableConcept"] = words
    return entered_in_error(kept)


class _Made:
    """Gives each resource of a visit its id, its patient, its encounter and its time.

    called: its name within the visit, "" for the visit itself; it stays when another value is corrected.
    """

    def __init__(self, about: str, seen: Visit) -> None:
        self._about, self._seen = about, seen

    def resource(self, kind: str, called: str, **parts: object) -> Json:
        subject = "patient" if kind == "AllergyIntolerance" else "subject"
        where = "context" if kind == "MedicationStatement" else "encounter"
        return {
            "resourceType": kind,
            "id": f"entry-{self._seen.index}{called and '-'}{called}",
            subject: {"reference": f"Patient/{self._about}"},
            where: {"reference": self._seen.encounter},
            **{name: part for name, part in parts.items() if part not in (None, [], {})},
        }

    def observation(self, called: str, code: Json, category: str = "", **value: object) -> Json:
        kinds = [{"coding": [coding(TERMS + "observation-category", category, category)]}]
        return self.resource(
            "Observation",
            called,
            status="final",
            category=kinds if category else None,
            code=code,
            effectiveDateTime=self._seen.when,
            **value,
        )

    def quantity(self, field: str, value: float, category: str = "vital-signs") -> Json:
        code, quantity = _measure(field, value)
        came = _came(self._seen.case, field)
        return self.observation(field.replace("_", "-"), code, category, valueQuantity=quantity, **came)

    def allergy(self, called: str, name: str) -> Json:
        status = {"coding": [coding(TERMS + "allergyintolerance-clinical", "active", "Active")]}
        return self.resource("AllergyIntolerance", called, clinicalStatus=status, code={"text": name})

    def condition(self, called: str, name: str) -> Json:
        status = {"coding": [coding(TERMS + "condition-clinical", "active", "Active")]}
        return self.resource("Condition", called, clinicalStatus=status, code={"text": name})


def _measured(made: _Made, case: Case, vitals: Vitals) -> list[Json]:
    values = {name: getattr(vitals, name) for name in _QUANTITIES if hasattr(vitals, name)}
    values |= {"weight_kg": case.patient.weight_kg, "height_cm": case.patient.height_cm}
    given = {name: value for name, value in values.items() if value is not None}
    measured = [_measure(name, given.pop(name)) for name in _PRESSURES if name in given]
    pressures = [{"code": code, "valueQuantity": quantity} for code, quantity in measured]
    found = [made.quantity(name, value) for name, value in given.items()]
    if pressures:
        panel = _concept(LOINC, "85354-9", "Blood pressure panel")
        came = _came(case, *_PRESSURES)
        found.append(made.observation("blood-pressure", panel, "vital-signs", component=pressures, **came))
    if case.gestational_age_weeks is not None:
        found.append(made.quantity("gestational_age_weeks", case.gestational_age_weeks, "exam"))
    if vitals.consciousness:
        level = _concept(LOINC, "80288-4", "Level of consciousness")
        found.append(
            made.observation(
                "consciousness", level, "exam", valueCodeableConcept={"text": vitals.consciousness}
            )
        )
    if vitals.on_oxygen is False:
        flow = _concept(LOINC, "3151-8", "Inhaled oxygen flow rate")
        none = {"value": 0, "unit": "L/min", "system": UCUM, "code": "L/min"}
        found.append(made.observation("on-oxygen", flow, "vital-signs", valueQuantity=none))
    elif vitals.on_oxygen:
        unknown: Json = {"text": "on oxygen, flow unknown"}
        found.append(made.observation("on-oxygen", unknown, "vital-signs", valueBoolean=True))
    if case.patient.pregnant is not None:
        status = _concept(LOINC, "82810-3", "Pregnancy status")
        words = "pregnant" if case.patient.pregnant else "not pregnant"
        found.append(made.observation("pregnancy", status, "exam", valueCodeableConcept={"text": words}))
    return found


def _came(case: Case, *fields: str) -> Json:
    """Which device gave a value, and how and when it was read; nothing of what was typed."""
    read = [case.from_sensors[field] for field in fields if field in case.from_sensors]
    named = [f"{one.sensor} (SIMULATED)" if one.simulated else one.sensor for one in read]
    how = [
        f"{_QUANTITIES[one.vital][1]} read from sensor {name} at {one.at}"
        for one, name in zip(read, named, strict=True)
    ]
    device = ", ".join(dict.fromkeys(named))
    return {"device": {"display": device}, "method": {"text": "; ".join(how)}} if read else {}


def _measure(field: str, value: float) -> tuple[Json, Json]:
    code, name, unit = _QUANTITIES[field]
    return _concept(LOINC, code, name), {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _finding(made: _Made, called: str, finding: ReportedFinding) -> Json:
    code: Json = {"coding": [{"system": HPO if finding.id.startswith("HP:") else OURS, "code": finding.id}]}
    onset = finding.onset_days_ago
    note = [{"text": f"since {onset:g} days"}] if onset is not None else None
    return made.observation(called, code, "exam", valueBoolean=finding.present, note=note)


def _note(made: _Made, case: Case, *, newest: bool) -> list[Json]:
    """An older note is an Observation of its day, which is history to whoever reads the bundle."""
    if not case.note.strip():
        return []
    if newest:
        said = [{"contentString": case.note}]
        return [
            made.resource("Communication", "note", status="completed", language=case.language, payload=said)
        ]
    note = made.observation("note", _concept(LOINC, "34109-9", "Note"), valueString=case.note)
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
