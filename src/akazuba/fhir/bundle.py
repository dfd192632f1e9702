"""One patient's Bundle, resource by resource."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from akazuba.errors import CaseError
from akazuba.fhir import codes
from akazuba.fhir.attachments import attached_text, note_text, picture
from akazuba.fhir.shapes import (
    Json,
    codings,
    concept_name,
    hpo_id,
    is_question,
    made_at,
    moment,
    objects,
    text,
)


@dataclass(frozen=True)
class BundleReading:
    """case: as a case JSON would parse to (without `id` when the bundle names none).

    attachments: inline pictures by the path in the case's `images`.
    ignored: what was not read -> how often, such as {"Immunization": 2, "Observation (earlier)": 5}.
    """

    case: dict[str, object]
    attachments: dict[str, bytes]
    ignored: dict[str, int]


@dataclass(frozen=True)
class _Resource:
    """One entry of the bundle. item: how a message names it, such as "Observation/t1"."""

    item: str
    kind: str
    body: Json
    url: str


def case_from_bundle(bundle: Json) -> BundleReading:
    """Reads one patient's bundle.

    Raises CaseError naming the resource: no Patient or two, a resource of another patient, a unit or
    an answer that is not known, a picture of no known kind, an attachment outside the bundle's folder.

    >>> patient = {"resourceType": "Patient", "id": "p1", "gender": "female"}
    >>> case_from_bundle({"resourceType": "Bundle", "entry": [{"resource": patient}]}).case
    {'id': 'p1', 'patient': {'sex': 'female'}}
    """
    resources = _resources(bundle)
    patient = _only_patient(resources)
    ignored: Counter[str] = Counter()
    if asked := sum(map(is_question, objects(bundle, "entry"))):
        ignored["GET (a question to the box)"] = asked
    for resource in resources:
        _refuse_other_patient(resource, patient)
    when = _consultation(resources, bundle)
    reader = _Reader(ignored, when)
    for resource in resources:
        reader.read(resource)
    person = _person(patient, when) | reader.patient
    parts: dict[str, object] = {
        "id": text(bundle, "identifier", "value") or text(bundle, "id") or text(patient.body, "id"),
        "patient": person,
        "note": "\n\n".join(reader.notes),
        "language": reader.language,
        "vitals": reader.vitals,
        "findings": reader.findings,
        "images": reader.images,
        "labs": reader.labs,
        "medications": reader.medications or None,
        "allergies": reader.allergies or None,
        "conditions": reader.conditions,
        "gestational_age_weeks": reader.gestational_age_weeks,
        "date": when.date().isoformat() if when else None,
    }
    case = {name: value for name, value in parts.items() if value not in (None, "", [], {})}
    return BundleReading(case, reader.attachments, dict(ignored))


# --- the bundle ---------------------------------------------------------------------------------


def _resources(bundle: Json) -> list[_Resource]:
    if bundle.get("resourceType") != "Bundle":
        raise CaseError("resourceType", "Bundle", repr(bundle.get("resourceType"))[:60])
    found: list[_Resource] = []
    for index, entry in enumerate(objects(bundle, "entry")):
        if text(bundle, "type") == "batch" and is_question(entry):
            continue
        body = entry.get("resource")
        kind = body.get("resourceType") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(kind, str):
            raise CaseError(f"entry[{index}].resource", "a resource with its resourceType", "none")
        item = f"{kind[:60]}/{text(body, 'id') or index}"
        if not _entered_in_error(body):
            found.append(_Resource(item, kind, body, text(entry, "fullUrl")))
    return found


def _entered_in_error(body: Json) -> bool:
    verification = [coding.get("code") for coding in codings(body, "verificationStatus")]
    return body.get("status") == "entered-in-error" or "entered-in-error" in verification


def _only_patient(resources: list[_Resource]) -> _Resource:
    patients = [resource for resource in resources if resource.kind == "Patient"]
    if len(patients) != 1:
        raise CaseError("Bundle", "one Patient", f"{len(patients) or 'none'}")
    return patients[0]


def _refuse_other_patient(resource: _Resource, patient: _Resource) -> None:
    """A result that belongs to somebody else must not decide about this patient."""
    reference = text(resource.body, "subject", "reference") or text(resource.body, "patient", "reference")
    name = text(patient.body, "id")
    if not (name or patient.url) or ("Patient/" not in reference and not reference.startswith("urn:")):
        return
    plain_reference = reference.split("/_history/")[0]
    if plain_reference != patient.url and not (name and plain_reference.endswith(f"Patient/{name}")):
        raise CaseError(resource.item, f"a resource of {patient.item}", f"one of {reference[:80]!r}")


def _consultation(resources: list[_Resource], bundle: Json) -> datetime | None:
    """When the consultation was: the latest Encounter, else Observation, else the bundle's stamp."""
    encounters = [moment(r.body, "period", "start") for r in resources if r.kind == "Encounter"]
    observations = [made_at(r.body) for r in resources if r.kind == "Observation"]
    for moments in (encounters, observations, [moment(bundle, "timestamp")]):
        if known := [moment for moment in moments if moment]:
            return max(known)
    return None


def _person(patient: _Resource, when: datetime | None) -> dict[str, object]:
    person: dict[str, object] = {}
    if gender := text(patient.body, "gender"):
        person["sex"] = gender
    born = text(patient.body, "birthDate")
    if born and when:
        person |= _age(born, when.date())
    return person


def _age(born: str, day: date) -> dict[str, object]:
    """Completed days under 60 days, months under 5 years, else years.

    A birth date without its day or month gives an age only where that cannot move it far.
    """
    if not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", born):
        raise CaseError("Patient.birthDate", "a date such as 2019-05-30", repr(born[:40]))
    parts = [int(part) for part in born.split("-")]
    try:
        birth = date(parts[0], *[*parts[1:], 1, 1][:2])
    except ValueError as problem:
        raise CaseError("Patient.birthDate", "a day that exists", born) from problem
    if birth > day:
        raise CaseError("Patient.birthDate", f"a day up to {day.isoformat()}", born)
    months = (
        (day.year - birth.year) * 12 + day.month - birth.month - (len(parts) == 3 and day.day < birth.day)
    )
    if len(parts) == 1:
        years = day.year - birth.year
        return {"age_years": years} if years > 5 else {}
    if len(parts) == 2 and months < 3:
        return {}
    days = (day - birth).days
    if len(parts) == 3 and days < 60:
        return {"age_days": days}
    return {"age_months": months} if months < 60 else {"age_years": months // 12}


# --- resource by resource -----------------------------------------------------------------------


class _Reader:
    """Collects the case's parts; later values of one vital replace earlier ones."""

    def __init__(self, ignored: Counter[str], when: datetime | None) -> None:
        self._ignored = ignored
        self._when = when
        self._latest: dict[str, datetime] = {}
        self.patient: dict[str, object] = {}
        self.vitals: dict[str, object] = {}
        self.gestational_age_weeks: object = None
        self._labs: dict[str, Json] = {}
        self.findings: list[Json] = []
        self.notes: list[str] = []
        self.language: str | None = None
        self.images: list[Json] = []
        self.attachments: dict[str, bytes] = {}
        self.medications: list[Json] = []
        self.allergies: list[str] = []
        self.conditions: list[str] = []

    @property
    def labs(self) -> list[Json]:
        return list(self._labs.values())

    def read(self, resource: _Resource) -> None:
        match resource.kind:
            case "Patient" | "Medication":
                pass  # read where they are referred to
            case "Observation":
                self._observation(resource)
            case "Condition":
                self._condition(resource)
            case "MedicationStatement" | "MedicationRequest":
                self._medication(resource)
            case "AllergyIntolerance":
                self._allergy(resource)
            case "Media" | "DocumentReference":
                self._document(resource)
            case "Composition" | "DiagnosticReport" | "ClinicalImpression" | "Communication" | "Encounter":
                self._note(resource, note_text(resource.kind, resource.body))
            case kind:
                self._ignored[kind[:60]] += 1

    def _observation(self, resource: _Resource) -> None:
        body = resource.body
        made = made_at(body)
        if body.get("status") == "cancelled":
            return
        if made and self._when and self._when - made > timedelta(days=1):
            self._ignored["Observation (earlier)"] += 1
            return
        parts = [body, *objects(body, "component")]
        for part in parts:
            if any(name.startswith("value") for name in part):
                self._value(resource.item, part, made or datetime.min.replace(tzinfo=UTC))

    def _value(self, item: str, part: Json, made: datetime) -> None:
        """Reads one value by its code: a finding, a vital sign, a part of the patient, else a lab."""
        loinc = next((text(c, "code") for c in codings(part, "code") if c.get("system") == codes.LOINC), "")
        quantity = part.get("valueQuantity")
        quantity = quantity if isinstance(quantity, dict) else None
        if hpo := hpo_id(part):
            present = codes.answer(codes.PRESENCE, part)
            if present is None:
                self._ignored["Observation (answer not read)"] += 1
            else:
                self.findings.append({"id": hpo, "present": present})
        elif loinc in codes.NOTES and (said := text(part, "valueString")):
            self.notes.append(said)
        elif loinc in codes.QUANTITIES and quantity:
            field = codes.QUANTITIES[loinc]
            self._keep(field, codes.converted(item, field, quantity), made)
        elif loinc in codes.OXYGEN_ABOVE and quantity:
            self._keep("vitals.on_oxygen", codes.number(item, quantity) > codes.OXYGEN_ABOVE[loinc], made)
        elif loinc in codes.CODED:
            field, words = codes.CODED[loinc]
            value = codes.answer(words, part)
            if value is None and field == "vitals.consciousness":
                raise CaseError(item, "alert, confused, voice, pain or unresponsive", codes.as_said(part))
            if value is not None:
                self._keep(field, value, made)
        elif loinc and quantity and text(quantity, "unit") + text(quantity, "code"):
            unit = text(quantity, "unit") or text(quantity, "code")
            self._keep(f"lab.{loinc}", {"loinc": loinc, "value": quantity.get("value"), "unit": unit}, made)
        else:
            self._ignored["Observation (not read)"] += 1

    def _keep(self, field: str, value: object, made: datetime) -> None:
        if made < self._latest.get(field, made):
            return
        self._latest[field] = made
        room, _, name = field.partition(".")
        match room:
            case "vitals":
                self.vitals[name] = value
            case "patient":
                self.patient[name] = value
            case "lab" if isinstance(value, dict):
                self._labs[name] = value
            case _:
                self.gestational_age_weeks = value

    def _condition(self, resource: _Resource) -> None:
        """HPO codes become findings (refuted: absent); other current, certain conditions their name."""
        clinical = {text(coding, "code") for coding in codings(resource.body, "clinicalStatus")}
        verified = {text(coding, "code") for coding in codings(resource.body, "verificationStatus")}
        hpo = hpo_id(resource.body)
        if hpo and "refuted" in verified:
            self.findings.append({"id": hpo, "present": False})
        elif "refuted" in verified:
            self._ignored["Condition (refuted)"] += 1
        elif verified & {"unconfirmed", "provisional", "differential"}:
            self._ignored["Condition (not confirmed)"] += 1
        elif clinical & {"inactive", "remission", "resolved"}:
            self._ignored["Condition (past)"] += 1
        elif hpo:
            self.findings.append({"id": hpo, "present": True})
        elif name := concept_name(resource.body, "code"):
            self.conditions.append(name)
        else:
            self._ignored["Condition (without a name)"] += 1

    def _medication(self, resource: _Resource) -> None:
        body = resource.body
        if body.get("status") not in ("active", "unknown", None) or body.get("intent") in (
            "proposal",
            "plan",
        ):
            self._ignored[f"{resource.kind} (not taken now)"] += 1
            return
        name = concept_name(body, "medicationCodeableConcept") or text(body, "medicationReference", "display")
        if not name:
            self._ignored[f"{resource.kind} (without a name)"] += 1
            return
        medication: dict[str, object] = {"name": name}
        for dosage in [*objects(body, "dosage"), *objects(body, "dosageInstruction")]:
            for rate in objects(dosage, "doseAndRate"):
                quantity = rate.get("doseQuantity")
                if isinstance(quantity, dict) and text(quantity, "code") in codes.UNITS["dose_mg"]:
                    medication.setdefault("dose_mg", codes.converted(resource.item, "dose_mg", quantity))
        self.medications.append(medication)

    def _allergy(self, resource: _Resource) -> None:
        clinical = {text(coding, "code") for coding in codings(resource.body, "clinicalStatus")}
        verified = {text(coding, "code") for coding in codings(resource.body, "verificationStatus")}
        said = {text(coding, "code") for coding in codings(resource.body, "code")}
        if clinical & {"inactive", "resolved"} or "refuted" in verified or said & codes.NO_KNOWN_ALLERGY:
            self._ignored["AllergyIntolerance (none or past)"] += 1
        elif name := concept_name(resource.body, "code"):
            self.allergies.append(name)
        else:
            self._ignored["AllergyIntolerance (without a name)"] += 1

    def _document(self, resource: _Resource) -> None:
        contents = (
            [resource.body.get("content")]
            if resource.kind == "Media"
            else [content.get("attachment") for content in objects(resource.body, "content")]
        )
        for index, attachment in enumerate(content for content in contents if isinstance(content, dict)):
            kind = text(attachment, "contentType").partition(";")[0].strip().lower()
            if kind == "text/plain":
                self._note(resource, attached_text(resource.item, attachment))
            elif kind.startswith("image/") or kind == "application/dicom":
                item = resource.item if index == 0 else f"{resource.item}[{index}]"
                reference, data = picture(item, resource.body, attachment)
                self.images.append(reference)
                if data is not None:
                    self.attachments[str(reference["path"])] = data
            else:
                self._ignored[f"{resource.kind} ({kind[:40] or 'without a content type'})"] += 1

    def _note(self, resource: _Resource, said: str) -> None:
        if said:
            self.notes.append(said)
            language = text(resource.body, "language").partition("-")[0].lower()
            self.language = self.language or language or None
