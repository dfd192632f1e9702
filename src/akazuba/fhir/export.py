"""One patient's record as a FHIR R4 Bundle: what `case_from_bundle` reads, and what only others can use.

A value goes out under the code under which it is read back. What FHIR has no field for here (answers, the
setting, tests by our names) lies in the original document, which is attached whole: nothing is lost and
nothing is guessed. A birth date that is worked out from an age says so. Oxygen of unknown flow has no number.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256

from akazuba.fhir.events import ENTRY, OURS, Json, instant
from akazuba.fhir.visit import Visit
from akazuba.records import ImageRef, Patient

ESTIMATED = OURS + "birth-date-estimated-from-age"

_FORMS = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"DICM", 128, "application/dicom"),
)
_SEEN_IN = {"chest-xray": ("chest", "X-ray"), "skin-photo": ("skin", "")}
"""Kind of image -> body site and modality, by which it is read back."""


@dataclass(frozen=True)
class Particulars:
    """Of the patient, as the box knows her. born: an ISO date or the beginning of one, "" for unknown."""

    id: str
    name: str
    born: str = ""
    sex: str = ""


def resource_id(id_: str) -> str:
    """As FHIR allows it (R4, `id`): 1 to 64 of A-Z a-z 0-9 - and .; another one's hash.

    >>> resource_id("p1"), resource_id("é/1")[:14]
    ('p1', 'sha256-7284271')
    """
    if re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id_):
        return id_
    return f"sha256-{sha256(id_.encode()).hexdigest()[:48]}"


def bundle(id_: str, at_ms: int, resources: Iterable[Json]) -> Json:
    """id_: of the case that it is read back as."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": {"system": OURS + "case", "value": id_},
        "timestamp": instant(at_ms),
        "entry": [
            {"fullUrl": f"{OURS}{resource['resourceType']}/{resource['id']}", "resource": resource}
            for resource in resources
        ],
    }


def patient(known: Particulars, newest: Visit | None, others: Sequence[Json] = ()) -> Json:
    """others: her identifiers in other systems."""
    said: Json = {
        "resourceType": "Patient",
        "id": resource_id(known.id),
        "identifier": [{"system": OURS + "patient", "value": known.id}, *others],
        "name": [{"text": known.name}],
    }
    here = newest.case.patient if newest else Patient()
    if sex := here.sex or (known.sex if known.sex in ("female", "male", "other", "unknown") else ""):
        said["gender"] = sex
    if re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", known.born):
        said["birthDate"] = known.born
    elif newest and (born := _born(here, newest.when)):
        said["birthDate"] = born
        said["_birthDate"] = {"extension": [{"url": ESTIMATED, "valueBoolean": True}]}
    return said


def document(about: str, index: int, at_ms: int, kind: str, by: str, body: bytes) -> Json:
    """An entry as it was recorded, whole."""
    is_json = body[:1] in (b"{", b"[")
    return {
        "resourceType": "DocumentReference",
        "id": f"entry-{index}",
        "status": "current",
        "identifier": [{"system": ENTRY, "value": str(index)}],
        "type": {"text": kind},
        "subject": {"reference": f"Patient/{about}"},
        "date": instant(at_ms),
        "author": [{"display": by}],
        "content": [
            {
                "attachment": {
                    "contentType": "application/json" if is_json else "application/octet-stream",
                    "data": base64.b64encode(body).decode(),
                    "title": f"entry {index}: {kind}",
                }
            }
        ],
    }


def media(about: str, index: int, seen: Visit, image: ImageRef, data: bytes) -> Json | None:
    """A picture with its bytes; None for a kind or a form of file that the shapes here have no words for."""
    form = next((form for magic, at, form in _FORMS if data[at : at + len(magic)] == magic), None)
    words = _SEEN_IN.get(image.kind)
    if form is None or words is None:
        return None
    site, modality = words
    made: Json = {
        "resourceType": "Media",
        "id": f"entry-{index}",
        "status": "completed",
        "bodySite": {"text": site},
        "subject": {"reference": f"Patient/{about}"},
        "encounter": {"reference": seen.encounter},
        "createdDateTime": seen.when,
        "content": {"contentType": form, "data": base64.b64encode(data).decode(), "title": image.path},
    }
    return made | ({"modality": {"text": modality}} if modality else {})


def _born(here: Patient, when: str) -> str:
    """A birth date that gives the age back at the consultation, no more exact than the age was."""
    try:
        day = date.fromisoformat(when[:10])
        if here.age_days is not None and here.age_days < 100:
            return (day - timedelta(days=round(here.age_days))).isoformat()
        years = here.age_in_years
        if years is None:
            return ""
        if years > 5:
            return f"{day.year - int(years):04d}"
        months = day.year * 12 + day.month - 1 - round(years * 12)
        month = f"{months // 12:04d}-{months % 12 + 1:02d}"
        return month if years > 0.3 else f"{month}-{min(day.day, 28):02d}"
    except (ValueError, OverflowError):
        return ""
