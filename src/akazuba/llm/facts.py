"""What an assessment says, fact by fact: all that may be put into words, and the only words for it.

A fact has an id that a sentence cites and one or more wordings, whole sentences in the reader's language. A
language model names a wording by its code (`E3a`) and never spells it, so that a number, a medicine, a
dose, a diagnosis, a level and every "no" come whole from the evidence or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from msgspec import UNSET

from akazuba.records import Action, Assessment, Candidate, Evidence, ImageReading, Level, Triage

FactKind = Literal[
    "urgency", "reason", "missing", "note", "condition", "evidence", "image", "action", "question", "review"
]
Audience = Literal["nurse", "patient"]

REASONS, MISSING, CONDITIONS, ACTIONS, QUESTIONS, WEIGHTS = 3, 4, 3, 8, 3, 3
"""How many of each are told; the whole stands in the assessment."""

GIVEN = ("start", "increase", "reduce", "continue", "give")

URGENCY: dict[Level, tuple[str, str]] = {
    "red": (
        "This is an emergency (red): see the patient now.",
        "Help is needed now; there will be no waiting.",
    ),
    "yellow": ("This is urgent (yellow): see the patient soon.", "The wait will be short."),
    "green": ("No sign of urgency was found (green).", "No sign of danger was found so far."),
    "unassessed": (
        "The urgency is not known: treat the patient as urgent until it is.",
        "The examination is not finished.",
    ),
}
OTHER_ROWS: Mapping[str, tuple[str, ...]] = {
    "Because of this: {}.": ("The reason: {}.",),
    "It may be {} ({}).": ("Think of {} ({}).",),
    "It may also be {} ({}).": ("Think of {} too ({}).",),
    "To do: {}.": ("Please do this: {}.",),
    "Ask or test next: {}.": ("This would tell most: {}.",),
}
"""Other wordings of the same fact, of which a language model may choose."""

REVIEW = "No clinician has reviewed this. You decide and sign."


class Words(Protocol):
    """The fixed texts of a language (`wording.Catalogue`)."""

    def say(self, text: str) -> str: ...

    def fill(self, text: str, *values: str) -> str: ...


@dataclass(frozen=True)
class Fact:
    """wordings: sentences that say it, in the reader's language; the first is the plain one.

    source: what it stands on. must: a text without it is incomplete.
    """

    id: str
    kind: FactKind
    wordings: tuple[str, ...]
    source: str
    must: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """What a model writes for each wording.

        >>> Fact("E3", "reason", ("Because of fever.", "The reason: fever."), "x").slots
        ('E3a', 'E3b')
        """
        return tuple(f"{self.id}{letter}" for letter in "abc"[: len(self.wordings)])


@dataclass(frozen=True)
class _Told:
    """A fact before it is put into a language: a row of the tables, and what fills its holes."""

    kind: FactKind
    row: str
    holes: tuple[str, ...]
    source: str
    must: bool = False


def facts(assessment: Assessment, audience: Audience, words: Words) -> tuple[Fact, ...]:
    """The facts of an assessment for the nurse (E1, E2 …) or the patient (P1, P2 …), the gravest first.

    A patient is told no diagnosis: none is confirmed. Without a triage there is nothing to tell.
    """
    if assessment.triage is UNSET:
        return ()
    told = _for_nurse(assessment) if audience == "nurse" else _for_patient(assessment)
    letter = "E" if audience == "nurse" else "P"
    return tuple(
        Fact(
            id=f"{letter}{number}",
            kind=fact.kind,
            wordings=tuple(
                words.fill(row, *(words.say(hole) for hole in fact.holes))
                for row in (fact.row, *OTHER_ROWS.get(fact.row, ()))
            ),
            source=fact.source,
            must=fact.must,
        )
        for number, fact in enumerate(told, start=1)
    )


def _for_nurse(assessment: Assessment) -> Iterator[_Told]:
    triage = assessment.triage
    assert triage is not UNSET  # noqa: S101
    yield _Told("urgency", URGENCY[triage.level][0], (), "triage", must=True)
    if assessment.note_unread:
        row = "The note was not understood; nothing was concluded from it."
        yield _Told("note", row, (), "note", must=True)
    yield from _why(triage)
    yield from _conditions(assessment)
    for image in assessment.images or ():
        yield from _image(image)
    for action in (assessment.plan or ())[:ACTIONS]:
        yield from _action(action)
    if questions := (assessment.ask_next or ())[:QUESTIONS]:
        yield _Told("question", "Ask or test next: {}.", ("; ".join(questions),), "differential")
    yield _Told("review", REVIEW, (), "box", must=True)


def _why(triage: Triage) -> Iterator[_Told]:
    for reason in triage.reasons[:REASONS]:
        source = f"{reason.source} ({reason.rule})"
        yield _Told("reason", "Because of this: {}.", (_short(reason.because),), source)
    if triage.missing:
        missing = "; ".join(item.partition(":")[0] for item in triage.missing[:MISSING])
        must = triage.level in ("green", "unassessed")
        yield _Told("missing", "Not assessed yet: {}.", (missing,), "triage", must=must)


def _short(because: str) -> str:
    """A reason without the values in brackets, which stand beside it in the assessment."""
    return re.sub(r" \([^()]*\)$", "", because)


def _conditions(assessment: Assessment) -> Iterator[_Told]:
    if assessment.abstained:
        yield _Told("condition", "The box names no condition: {}.", (assessment.why or "",), "differential")
        return
    candidates = assessment.differential or ()
    for place, candidate in enumerate(candidates[:CONDITIONS]):
        row = "It may be {} ({})." if place == 0 else "It may also be {} ({})."
        named = (candidate.name, percent(candidate.probability))
        yield _Told("condition", row, named, candidate.source, must=place == 0)
        if place == 0:
            yield from _evidence(candidate)
    if late := [c.name for c in candidates[CONDITIONS:] if c.must_not_miss][:CONDITIONS]:
        yield _Told("condition", "Dangerous and not to be missed: {}.", ("; ".join(late),), "differential")


def _evidence(candidate: Candidate) -> Iterator[_Told]:
    for row, weights in (
        ("This speaks for {}: {}.", candidate.evidence),
        ("This speaks against {}: {}.", candidate.evidence_against),
    ):
        if weights:
            listed = "; ".join(shown(weight) for weight in weights[:WEIGHTS])
            yield _Told("evidence", row, (candidate.name, listed), weights[0].source)


def _image(image: ImageReading) -> Iterator[_Told]:
    if not image.quality.usable or image.abstained or not image.labels:
        why = image.why or "; ".join(problem.message for problem in image.quality.problems) or "not known"
        yield _Told("image", "The picture ({}) was not assessed: {}.", (image.kind, why), "image")
        return
    label, share = max(image.labels.items(), key=lambda item: item[1])
    named = (image.kind, label.replace("_", " "), percent(share))
    yield _Told("image", "The picture ({}) looks most like {} ({}).", named, image.model or "image")


def _action(action: Action) -> Iterator[_Told]:
    source = f"{action.guideline}, {action.edition}, {action.clause}"
    if action.withheld:
        row = "Do not give {}: {}."
        yield _Told("action", row, (action.what, "; ".join(action.withheld)), source, must=True)
        return
    done = _done(action)
    yield _Told("action", "To do: {}.", (done,), source, must=True)
    if action.check_first:
        row = "Check before you give {}: {}."
        yield _Told("action", row, (action.what, "; ".join(action.check_first)), source, must=True)


def _done(action: Action) -> str:
    what = action.what if action.action == "do" else f"{action.action} {action.what}".strip()
    dose = f": {action.dose}" if action.dose else ""
    when = f", in {action.in_days:g} days" if action.in_days is not None else ""
    return what + dose + when


def _for_patient(assessment: Assessment) -> Iterator[_Told]:
    triage = assessment.triage
    assert triage is not UNSET  # noqa: S101
    yield _Told("urgency", URGENCY[triage.level][1], (), "triage", must=True)
    if triage.level in ("green", "unassessed"):
        yield _Told("urgency", "Please stay here until a nurse has looked.", (), "box", must=True)
    yield _Told("urgency", "Tell a nurse at once if it gets worse.", (), "box", must=True)
    for action in (assessment.plan or ())[:ACTIONS]:
        source = f"{action.guideline}, {action.edition}, {action.clause}"
        if action.withheld:
            continue
        if action.action in GIVEN and action.dose:
            row = "The medicine: {}."
            yield _Told("action", row, (f"{action.what}: {action.dose}",), source, must=True)
        elif action.action == "advise":
            yield _Told("action", "Please do this: {}.", (action.what,), source, must=True)
        elif action.action == "follow-up" and action.in_days is not None:
            yield _Told("action", "Come back in {} days.", (f"{action.in_days:g}",), source, must=True)
    yield _Told("review", "The nurse decides, and explains whatever you ask.", (), "box", must=True)


def percent(share: float) -> str:
    """Whole percent; never "0%" or "100%", which no estimate deserves.

    >>> percent(0.004), percent(0.5), percent(0.999)
    ('<1%', '50%', '>99%')
    """
    if share < 0.01:
        return "<1%"
    return ">99%" if share > 0.99 else f"{share:.0%}"


def shown(evidence: Evidence) -> str:
    """A finding in the middle of a sentence.

    >>> shown(Evidence("Chest pain", 0.4, "x", "HP:0100749", present=False))
    'no chest pain'
    """
    name, id_ = evidence.finding, evidence.finding_id
    if id_ and id_.startswith("test:"):
        return f"{name} {'positive' if evidence.present else 'negative'}"
    lowered = name[:1].lower() + name[1:] if name[1:2].islower() else name
    return lowered if evidence.present else f"no {lowered}"


def composed(told: Sequence[Fact]) -> str:
    """The facts as a text, by rules alone, each with the id that it cites."""
    return " ".join(f"{fact.wordings[0]} [{fact.id}]" for fact in told)
