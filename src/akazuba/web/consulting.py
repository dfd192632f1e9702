"""One consultation between the page and the box: assessed as often as it grows, kept once, then decided on.

The page sends the whole case each time, so that a tablet that went away and came back loses nothing. What is
shown in between, while questions are answered, is not kept; what a decision is asked on is.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import msgspec
from msgspec import UNSET

from akazuba.box import Box
from akazuba.consult import PLAINLY, Consultation
from akazuba.diagnosis.engine import Reading
from akazuba.diagnosis.questions import Question
from akazuba.errors import CaseError, InputError
from akazuba.governance.consent import may
from akazuba.governance.decisions import record_consultation
from akazuba.governance.locked import recorded_already, spool
from akazuba.intake.cases import CaseLine, case_line
from akazuba.interviews import settled
from akazuba.records import Assessment, Case
from akazuba.storage.person import Person, contradiction
from akazuba.storage.store import Recorded, Store
from akazuba.web.post import Records, now_ms

DRAFTS = "key of the tablets' drafts"

ORDER = ("red", "yellow", "green")
STALE_DAYS = 1
"""A consultation of yesterday may have begun before midnight; an older one came late."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{5,63}")
"""Of consultations and patients, as the page makes them."""


@dataclass(frozen=True)
class Came:
    """What a tablet sent. data: the Case as JSON. pictures: by the path that the case names them with.

    unanswered: ids of questions to which nobody had an answer.
    """

    data: bytes
    pictures: Mapping[str, bytes]
    unanswered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answered:
    """An assessment in English, and what to ask next. settled: no question would change much."""

    came: Came
    case: Case
    assessment: Assessment
    questions: tuple[Question, ...]
    settled: bool


@dataclass(frozen=True)
class Kept:
    """How what was shown is kept. assessment: its index in the log, None while the box is locked or keeps
    nothing. receipt: of the spool, while locked.
    """

    state: str
    patient: str
    assessment: int | None = None
    receipt: str = ""


def line_of(data: bytes, pictures: Mapping[str, bytes], item: str = "case") -> CaseLine:
    """A case from outside. A picture is one that came with it and never a file of this box.

    Raises CaseError.
    """
    line = case_line(data, item)
    if line.case is None:
        raise line.error or CaseError(item, "a case", "none")
    pictures = {**line.attachments, **pictures}
    for number, image in enumerate(line.case.images):
        if image.path not in pictures:
            expected = "the name of a picture that came with the case"
            raise CaseError(f"images[{number}].path", expected, repr(image.path[:80]))
    return replace(line, attachments=pictures)


def answered(box: Box, came: Came, looking: Callable[..., Reading] | None = None) -> Answered:
    """Without the words of a language model. looking: as `Consultation` takes it. Raises CaseError."""
    line = line_of(came.data, came.pictures)
    assert line.case is not None  # noqa: S101 - `line_of` raises otherwise
    consultation = Consultation(box, line, line.case, None, looking)
    assessment, questions = consultation.answer(line.case, came.unanswered)
    told = consultation.told(assessment, PLAINLY)
    return Answered(came, line.case, told, questions, settled(told))


def sound_id(item: str, id_: str) -> str:
    """Raises InputError for what is no id that the page makes."""
    if not ID.fullmatch(id_):
        raise InputError(item, "6 to 64 letters, digits and -", repr(id_[:80]))
    return id_


def keep(kept: Records, shown: Answered, person: Person, by: str, *, known: bool) -> Kept:
    """On the disk when this returns, once however often it comes. person: a new patient is admitted.

    known: whether somebody is signed in, who may add to a patient's record. Raises InputError for an id that
    is none, for a known patient and nobody signed in or with another's particulars, for a consultation that
    is recorded under somebody else, and for a patient who refuses care.
    """
    sound_id("case, id", shown.case.id)
    sound_id("patient, id", person.id)
    if kept.store is None:
        return _spooled(kept, shown, person, by)
    before = newest_of(kept.store, shown.case.id)
    if before is not None and kept.store.entry(before).patient != person.id:
        expected = "one of this patient; where it was recorded it can be marked as another patient's"
        raise InputError("consultation", expected, "one that is recorded under another patient")
    index = None
    if shown.assessment.provenance is not UNSET:
        digest = shown.assessment.provenance.input_sha256
        index = recorded_already(kept.store, person.id, shown.case.id, digest)
    if index is None:
        _admitted(kept.store, person, by, known=known)
        document = msgspec.json.encode(shown.assessment)
        _, recorded = record_consultation(
            kept.store, shown.came.data, document, by, person.id, kept.versions, shown.came.pictures
        )
        index = recorded.index
    kept.store.remember(_newest(shown.case.id), str(index).encode())
    return Kept("open", person.id, index)


def wait_for(kept: Records, case: Case, assessment: Assessment, today: date) -> None:
    """Puts her into the queue, or raises her level there; a level is lowered by a person only.

    today: at the box. Who was seen days ago, while the box was away, does not wait any more.
    """
    waiting = {entry.case_id: entry for entry in kept.queue.waiting()}
    level = assessment.triage.level if assessment.triage else "unassessed"
    if case.id in waiting:
        before = waiting[case.id].level
        if before not in ORDER or _worse(level, before):
            kept.queue.triage(case.id, level)
        return
    past = kept.queue.history(case.id)
    if past and not _comes_back(past[-1][0], past[-1][1], level):
        return
    if case.date and (today - date.fromisoformat(case.date)).days > STALE_DAYS:
        return
    kept.queue.arrive(case.id)
    kept.queue.triage(case.id, level)


def _worse(level: str, before: str) -> bool:
    return level in ORDER and (before not in ORDER or ORDER.index(level) < ORDER.index(before))


def _comes_back(ended: str, before: str, level: str) -> bool:
    """Whether somebody who was seen or left waits again: she got worse, or an emergency that left is back."""
    if before not in ORDER:
        return level == "red"
    return _worse(level, before) or (ended == "left" and level == "red")


def wait_for_imported(kept: Records, case: Case, assessment: Assessment, index: int, today: date) -> None:
    """Another system sent her case and nobody here has seen it: an emergency among them must be.

    Under an id of this box: what another system calls a case may be a patient's or a Bundle's id, more than
    once. Sent again, it changes nothing.
    """
    waiting = msgspec.structs.replace(case, id=imported_as(index))
    kept.opened().remember(_newest(waiting.id), str(index).encode())
    wait_for(kept, waiting, assessment, today)


def imported_as(index: int) -> str:
    """What the queue calls the case of an assessment that another system asked for."""
    return f"import-{index}"


def newest_of(store: Store, consultation: str) -> int | None:
    """The index of a consultation's newest assessment; None where it was not recorded in the open store."""
    known = store.recall(_newest(consultation))
    return int(known) if known else None


def stored_assessment(store: Store, index: int) -> tuple[Recorded, Assessment]:
    """Raises InputError for another entry, or an erased one. Whoever shows it records the read first."""
    entry = store.entry(index)
    if entry.kind != "assessment" or entry.body is None:
        raise InputError(f"entry {index}", "an assessment that was not erased", f"`{entry.kind}`")
    return entry, msgspec.json.decode(entry.body, type=Assessment)


def draft_key(store: Store, user: str) -> bytes:
    """32 bytes: the same for a user of this store whenever she signs in, and nobody else's."""
    secret = store.recall(DRAFTS)
    if secret is None:
        secret = os.urandom(32)
        store.remember(DRAFTS, secret)
    return hmac.digest(secret, user.encode(), "sha256")


def _newest(consultation: str) -> str:
    return f"assessment of {consultation}"


def _admitted(store: Store, person: Person, by: str, *, known: bool) -> None:
    try:
        there = store.person(person.id)
    except InputError:
        store.admit(person.named(), by)
        return
    if not known:
        raise InputError("session", "somebody signed in, to add to a known patient's record", "nobody")
    if other := contradiction(there, person):
        name, told = other
        raise InputError(
            f"patient, {name}", "what is recorded of the patient who was picked", repr(told[:80])
        )
    allowed = may(store, there.id, "care", now_ms())
    if not allowed.yes:
        raise InputError("consent", "a patient who does not refuse care", allowed.why)
    store.tell_more(there, person, by)


def _spooled(kept: Records, shown: Answered, person: Person, by: str) -> Kept:
    """Sealed while the box is locked; a box without a store keeps nothing."""
    if kept.spool is None:
        return Kept("none", person.id)
    document = msgspec.json.encode(shown.assessment)
    receipt = spool(
        kept.spool, person, by, now_ms(), shown.came.data, document, shown.came.pictures, kept.versions
    )
    return Kept("locked", person.id, receipt=receipt)
