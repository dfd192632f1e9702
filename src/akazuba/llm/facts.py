"""What an assessment says, fact by fact: all that may be put into words, and the only words for it.

A fact has an id that a sentence cites and one or more wordings, whole sentences in the reader's language. A
language model names a wording by its code (`E3a`) and never spells it, so that a number, a medicine, a
dose, a diagnosis, a level and every "no" come whole from the evidence or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from msgspec import UNSET

from akazuba.records import CAUTION, GIVEN, Action, Assessment, Candidate, ImageReading, Level, Triage
from akazuba.wording.names import label

FactKind = Literal[
    "urgency", "reason", "missing", "note", "condition", "evidence", "image", "action", "question", "review"
]
Audience = Literal["nurse", "patient"]

REASONS, MISSING, CONDITIONS, ADVICE, QUESTIONS, WEIGHTS = 3, 4, 3, 4, 3, 3
"""How many of each are told; the whole stands in the assessment. ADVICE: advice, tests and visits; what is
given, withheld, stopped or referred is always told."""

URGENCY: dict[Level, tuple[str, str]] = {
    "red": (
        "This is an emergency (red): see the patient now.",
        "Help is needed now; there will be no waiting.",
    ),
    "yellow": (
        "This is urgent (yellow): see the patient soon.",
        "Please stay here until a nurse has looked.",
    ),
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

    def join(self, texts: Iterable[str]) -> str:
        """Each text said, as a list."""
        ...

    def dose(self, text: str) -> str:
        """A dose said whole, or in English."""
        ...

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
    """A fact before it is put into sentences: a row of the tables, and what fills its holes, said already.

    then: a second sentence that must not stand apart from the first.
    """

    kind: FactKind
    row: str
    holes: tuple[str, ...]
    source: str
    must: bool = False
    then: tuple[str, tuple[str, ...]] | None = None


def facts(assessment: Assessment, audience: Audience, words: Words) -> tuple[Fact, ...]:
    """The facts of an assessment for the nurse (E1, E2 …) or the patient (P1, P2 …), the gravest first.

    A patient is told no diagnosis: none is confirmed. Without a triage there is nothing to tell.
    """
    if assessment.triage is UNSET:
        return ()
    about = _Nurse(words) if audience == "nurse" else _Patient(words)
    letter = "E" if audience == "nurse" else "P"
    return tuple(
        Fact(f"{letter}{number}", fact.kind, _wordings(fact, words), fact.source, fact.must)
        for number, fact in enumerate(about.told(assessment, assessment.triage), start=1)
    )


def _wordings(fact: _Told, words: Words) -> tuple[str, ...]:
    then = f" {words.fill(fact.then[0], *fact.then[1])}" if fact.then else ""
    rows = (fact.row, *OTHER_ROWS.get(fact.row, ()))
    return tuple(words.fill(row, *fact.holes) + then for row in rows)


class _Nurse:
    def __init__(self, words: Words) -> None:
        self._words = words

    def told(self, assessment: Assessment, triage: Triage) -> Iterator[_Told]:
        yield _Told("urgency", URGENCY[triage.level][0], (), "triage", must=True)
        if assessment.note_unread:
            row = "The note was not understood; nothing was concluded from it."
            yield _Told("note", row, (), "note", must=True)
        yield from self._why(triage)
        yield from self._conditions(assessment)
        for image in assessment.images or ():
            yield self._image(image)
        yield from self._plan(assessment.plan or ())
        if questions := (assessment.ask_next or ())[:QUESTIONS]:
            listed = self._words.join(questions)
            yield _Told("question", "Ask or test next: {}.", (listed,), "differential")
        yield _Told("review", REVIEW, (), "box", must=True)

    def _why(self, triage: Triage) -> Iterator[_Told]:
        for reason in triage.reasons[:REASONS]:
            source = f"{reason.source} ({reason.rule})"
            because = self._words.say(_short(reason.because))
            check = reason.because.startswith("check at once")
            yield _Told("reason", "Because of this: {}.", (because,), source, must=check)
        if triage.missing:
            listed = [item.removeprefix("danger signs not asked: ") for item in triage.missing[:MISSING]]
            must = triage.level in ("green", "unassessed")
            holes = (self._words.join(listed),)
            yield _Told("missing", "Not assessed yet: {}.", holes, "triage", must=must)

    def _conditions(self, assessment: Assessment) -> Iterator[_Told]:
        say = self._words.say
        if assessment.abstained:
            why = say(assessment.why or "")
            yield _Told("condition", "The box names no condition: {}.", (why,), "differential", must=True)
            return
        candidates = assessment.differential or ()
        for place, candidate in enumerate(candidates[:CONDITIONS]):
            row = "It may be {} ({})." if place == 0 else "It may also be {} ({})."
            named = (say(candidate.name), percent(candidate.probability))
            yield _Told("condition", row, named, candidate.source, must=place == 0)
            if place == 0:
                yield from self._evidence(candidate)
        late = [c.name for c in candidates[CONDITIONS:] if c.must_not_miss][:CONDITIONS]
        if late:
            listed = self._words.join(late)
            yield _Told("condition", "Dangerous and not to be missed: {}.", (listed,), "differential")

    def _evidence(self, candidate: Candidate) -> Iterator[_Told]:
        for row, weights in (
            ("This speaks for {}: {}.", candidate.evidence),
            ("This speaks against {}: {}.", candidate.evidence_against),
        ):
            if weights:
                named = [named_finding(w.finding, w.finding_id, w.present) for w in weights[:WEIGHTS]]
                holes = (self._words.say(candidate.name), self._words.join(named))
                yield _Told("evidence", row, holes, weights[0].source)

    def _image(self, image: ImageReading) -> _Told:
        kind = self._words.say(label(image.kind))
        if not image.quality.usable or image.abstained or not image.labels:
            whys = [image.why] if image.why else [problem.message for problem in image.quality.problems]
            row = "The picture ({}) was not assessed: {}."
            return _Told("image", row, (kind, self._words.join(whys or ["not known"])), "image")
        if cautions := [problem.message for problem in image.quality.problems if problem.check == CAUTION]:
            return _Told("image", "The picture ({}): {}", (kind, self._words.join(cautions)), "image")
        called, share = max(image.labels.items(), key=lambda item: item[1])
        holes = (kind, self._words.say(label(called)), percent(share))
        return _Told("image", "The picture ({}) looks most like {} ({}).", holes, image.model or "image")

    def _plan(self, plan: Sequence[Action]) -> Iterator[_Told]:
        minor = [a for a in plan if not a.withheld and a.action in ("advise", "test", "follow-up")]
        for action in plan:
            if action not in minor[ADVICE:]:
                yield self._action(action)
        if len(minor) > ADVICE:
            more = self._words.fill("and {} more", str(len(minor) - ADVICE))
            yield _Told("action", "To do: {}.", (more,), "plan", must=True)

    def _action(self, action: Action) -> _Told:
        say, source = self._words.say, f"{action.guideline}, {action.edition}, {action.clause}"
        if action.withheld and "weight_kg" in action.needs:
            weigh = say("WEIGH FIRST: there is no dose without the weight")
            row, holes = "To do: {}.", (f"{say(action.what)}: {weigh}",)
            return _Told("action", row, holes, source, must=True)
        if action.withheld:
            row, whys = "Do not give {}: {}.", self._words.join(action.withheld)
            return _Told("action", row, (say(action.what), whys), source, must=True)
        then = None
        if action.check_first:
            checks = self._words.join(action.check_first)
            then = ("Check before you give {}: {}.", (say(action.what), checks))
        return _Told("action", "To do: {}.", (self._done(action),), source, must=True, then=then)

    def _done(self, action: Action) -> str:
        what = action.what if action.action == "do" else f"{action.action} {action.what}".strip()
        dose = f": {self._words.dose(action.dose)}" if action.dose else ""
        when = ""
        if action.in_days is not None:
            when = f", {self._words.fill('in {} days', f'{action.in_days:g}')}"
        return self._words.say(what) + dose + when


class _Patient:
    """What is decided and concerns her: no diagnosis, and no medicine before what must be checked is."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def told(self, assessment: Assessment, triage: Triage) -> Iterator[_Told]:
        yield _Told("urgency", URGENCY[triage.level][1], (), "triage", must=True)
        if triage.level in ("green", "unassessed"):
            yield _Told("urgency", "Please stay here until a nurse has looked.", (), "box", must=True)
        yield _Told("urgency", "Tell a nurse at once if it gets worse.", (), "box", must=True)
        for action in assessment.plan or ():
            if not action.withheld and not action.check_first:
                yield from self._action(action)
        yield _Told("review", "The nurse decides, and explains whatever you ask.", (), "box", must=True)

    def _action(self, action: Action) -> Iterator[_Told]:
        source = f"{action.guideline}, {action.edition}, {action.clause}"
        say, row = self._words.say, ""
        if action.action in GIVEN and action.dose:
            row, said = "The medicine: {}.", f"{say(action.what)}: {self._words.dose(action.dose)}"
        elif action.action == "advise" and action.tell:
            row, said = "{}", say(action.tell)
        elif action.action == "follow-up" and action.in_days is not None:
            row, said = "Come back in {} days.", f"{action.in_days:g}"
        if row:
            yield _Told("action", row, (said,), source, must=True)


def _short(because: str) -> str:
    """A reason without the note's words and the values in brackets, which stand beside it in the assessment.

    >>> _short('trauma: Fall ("Amina fell"); shock (heart rate 140 a minute)')
    'trauma: Fall; shock'
    """
    return re.sub(r" \([^()]*\)$", "", re.sub(r' \("[^"]*"\)', "", because))


def percent(share: float) -> str:
    """Whole percent; never "0%" or "100%", which no estimate deserves.

    >>> percent(0.004), percent(0.5), percent(0.999)
    ('<1%', '50%', '>99%')
    """
    if share < 0.01:
        return "<1%"
    return ">99%" if share > 0.99 else f"{share:.0%}"


_ODD = re.compile(r"(?i:no |not |absent |never )|.* (?:positive|negative)$")


def named_finding(name: str, id_: str | None, present: bool) -> str:
    """A finding in the middle of an English sentence; a name that is a denial itself gets yes or no.

    >>> named_finding("Chest pain", "HP:0100749", False), named_finding("no urine", "HP:0100519", False)
    ('no chest pain', 'no urine: no')
    >>> named_finding("malaria rapid test", "test:malaria-rdt", True)
    'malaria rapid test positive'
    """
    lowered = name[:1].lower() + name[1:] if name[1:2].islower() else name
    if _ODD.match(name):
        return f"{lowered}: {'yes' if present else 'no'}"
    if id_ and id_.startswith("test:"):
        return f"{name} {'positive' if present else 'negative'}"
    return lowered if present else f"no {lowered}"


def composed(told: Sequence[Fact]) -> str:
    """The facts as a text, by rules alone, each with the id that it cites."""
    return " ".join(f"{fact.wordings[0]} [{fact.id}]" for fact in told)
