"""Small readers of FHIR's JSON. What has not the expected shape reads as absent ("" or [])."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from akazuba.errors import CaseError

Json = Mapping[str, object]


def text(value: Json, *path: str) -> str:
    """The text at a path of fields; "" when there is none.

    >>> text({"subject": {"reference": "Patient/p1"}}, "subject", "reference")
    'Patient/p1'
    """
    here: object = value
    for name in path:
        here = here.get(name) if isinstance(here, dict) else None
    return here.strip() if isinstance(here, str) else ""


def objects(value: Json, name: str) -> list[Json]:
    items = value.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def is_question(entry: Mapping[str, object]) -> bool:
    """Whether an entry of a batch asks for something and brings nothing."""
    request = entry.get("request")
    return (
        "resource" not in entry and isinstance(request, dict) and text(request, "method") in ("GET", "HEAD")
    )


def codings(value: Json, name: str) -> list[Json]:
    """The codings of a CodeableConcept."""
    concept = value.get(name)
    return objects(concept, "coding") if isinstance(concept, dict) else []


def concept_name(value: Json, name: str) -> str:
    """What a CodeableConcept is called: its text, else the first coding that has words."""
    displays = (text(coding, "display") for coding in codings(value, name))
    return text(value, name, "text") or next((display for display in displays if display), "")


def concept_words(value: Json, name: str) -> list[str]:
    """Every code, display and text of a CodeableConcept, in small letters."""
    parts = [text(coding, field) for coding in codings(value, name) for field in ("code", "display")]
    return [part.casefold() for part in [*parts, text(value, name, "text")] if part]


def hpo_id(value: Json) -> str | None:
    """The HPO id (or one of ours, AKZ) among the codings of `code`, as HP:0001945."""
    for coding in codings(value, "code"):
        code = text(coding, "code").replace("_", ":")
        if re.fullmatch(r"(HP|AKZ):[0-9]{7}", code):
            return code
    return None


def made_at(observation: Json) -> datetime | None:
    """When an observation was made (its effective time), else when it was issued."""
    paths = (("effectiveDateTime",), ("effectiveInstant",), ("effectivePeriod", "start"), ("issued",))
    return next((when for path in paths if (when := moment(observation, *path))), None)


def moment(value: Json, *path: str) -> datetime | None:
    """A FHIR dateTime; a part that is missing is its first, a missing zone is UTC.

    >>> moment({"issued": "2026-03"}, "issued").isoformat()
    '2026-03-01T00:00:00+00:00'
    """
    stamp = text(value, *path)
    if not stamp:
        return None
    try:
        when = datetime.fromisoformat({4: stamp + "-01-01", 7: stamp + "-01"}.get(len(stamp), stamp))
    except ValueError as problem:
        example = "a FHIR dateTime such as 2026-03-14T10:30:00+02:00"
        item = ".".join((text(value, "resourceType") or "FHIR", *path))
        raise CaseError(item, example, repr(stamp[:40])) from problem
    return when if when.tzinfo else when.replace(tzinfo=UTC)
