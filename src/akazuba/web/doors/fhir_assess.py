"""A Bundle that came in through the door, assessed: bytes and the box in, what is answered and kept out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from akazuba.box import Box
from akazuba.consult import assess
from akazuba.errors import CaseError
from akazuba.fhir import case_from_bundle
from akazuba.fhir.advice import OPEN, Review, advice, issues
from akazuba.fhir.events import OURS, Json, instant
from akazuba.fhir.export import resource_id
from akazuba.fhir.incoming import Posted, posted
from akazuba.fhir.outcome import Issue, RefusedError, outcome
from akazuba.fhir.shapes import text
from akazuba.intake.cases import CaseLine
from akazuba.intake.checks import case_from
from akazuba.records import Assessment, Case

MAX_BYTES = 16 * 1024**2
ITEM = "Bundle"


@dataclass(frozen=True)
class Assessed:
    """said: never one with an error: what cannot be assessed is refused."""

    posted: Posted
    line: CaseLine
    case: Case
    said: Assessment

    @property
    def pictures(self) -> dict[str, bytes]:
        named = {image.path for image in self.case.images}
        return {path: data for path, data in self.line.attachments.items() if path in named}

    @property
    def issues(self) -> list[Issue]:
        return issues(self.said)


def assessed(box: Box, body: bytes, now_ms: int, *, wrapped: bool) -> Assessed:
    """wrapped: whether Parameters with one Bundle will do too.

    Raises RefusedError: 400 for what is no Bundle about one patient, 422 for values that nobody has.
    """
    came = posted(body, wrapped=wrapped)
    line, case = _line(came, body, now_ms)
    said = assess(box, line)
    if said.error:
        raise RefusedError(422, "processing", ITEM, "a case that can be assessed", said.error)
    return Assessed(came, line, case, said)


def answer(done: Assessed, about: str, at_ms: int, id_: str = "", review: Review = OPEN) -> Json:
    """about: the patient's resource id, here or where the Bundle came from. id_: of what was kept, if any."""
    name = id_ or f"advice-{done.line.input_sha256[:32]}"
    made = advice(about, name, at_ms, done.said, review=review)
    told = {**outcome(issues(done.said, review)), "id": name}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": {"system": OURS + "case", "value": done.case.id},
        "timestamp": instant(at_ms),
        "entry": [
            {"fullUrl": f"{OURS}{one['resourceType']}/{one['id']}", "resource": one} for one in (*made, told)
        ],
    }


def about_there(came: Posted) -> str:
    """The patient as whoever sent the Bundle calls her."""
    return resource_id(text(came.patient, "id") or "unnamed")


def encoded(done: Assessed) -> tuple[bytes, bytes]:
    """Case and Assessment as they are kept."""
    return msgspec.json.encode(done.case), msgspec.json.encode(done.said)


def _line(came: Posted, body: bytes, now_ms: int) -> tuple[CaseLine, Case]:
    try:
        reading = case_from_bundle(came.bundle)
    except CaseError as problem:
        raise RefusedError(400, "invalid", problem.item, problem.expected, problem.found) from problem
    digest = hashlib.sha256(body.strip()).hexdigest()
    value = {"id": f"bundle-{digest[:16]}", **reading.case}
    try:
        case = case_from(value, _today(now_ms))
    except CaseError as problem:
        raise RefusedError(422, "value", problem.item, problem.expected, problem.found) from problem
    for image in case.images:
        if image.path not in reading.attachments:
            expected = "a picture with its data inline: no file of this box is opened for a program"
            raise RefusedError(400, "not-supported", f"image {image.path}"[:200], expected, "an address")
    return CaseLine(ITEM, case.id, case, None, digest, Path(), reading.attachments, reading.ignored), case


def _today(now_ms: int) -> date | None:
    """None when the box's clock was lost (it then starts in 1970 or 2000)."""
    day = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone().date()
    return day if day.year >= 2025 else None
