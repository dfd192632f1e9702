"""How urgent one case is and what the guidelines say: no model, no knowledge of diseases, a few milliseconds.

The charts decide first; numbers in the note and the scores of guidelines may only raise the urgency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from akazuba.errors import AkazubaError, CaseError
from akazuba.guidelines.care import Care, care_for, raised
from akazuba.guidelines.case_values import values_of
from akazuba.guidelines.library import OWN, Library, open_library
from akazuba.guidelines.plan import first_actions
from akazuba.guidelines.triage import triage
from akazuba.intake.cases import CaseLine
from akazuba.intake.coded import coded_findings
from akazuba.intake.noted import with_noted_vitals
from akazuba.language.reader import Reader
from akazuba.plugins.brought import NOTHING, Plugins, gather
from akazuba.records import Action, Case, Finding, NoteReading, Triage, Urgency
from akazuba.settings import Settings
from akazuba.terminology import Terminology, open_terminology


@dataclass(frozen=True)
class Desk:
    """What deciding the urgency needs."""

    terminology: Terminology
    reader: Reader
    library: Library
    plugins: Plugins = NOTHING


@dataclass(frozen=True)
class Decided:
    """findings: of the case, its numbers and its note. normal: findings that a normal number rules out.

    case: with the vital signs that only the note holds.
    refused: (plugin, why) of those whose guidelines could not be run for this case.
    """

    case: Case
    findings: tuple[Finding, ...]
    normal: tuple[Finding, ...]
    triage: Triage
    care: Care
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def plan(self) -> tuple[Action, ...]:
        return (*first_actions(self.triage), *self.care.plan)


def open_desk(settings: Settings) -> Desk:
    """Raises ArtefactError when terminology or guidelines cannot be trusted, InputError for an overlay."""
    terminology = open_terminology(settings.home)
    plugins = gather(settings.plugins)
    own = settings.home / OWN
    return Desk(
        terminology,
        Reader(terminology),
        open_library(settings.overlays, own=own, strict=False, brought=plugins.guidelines),
        plugins,
    )


def understood(
    desk: Desk, case: Case, note: NoteReading
) -> tuple[Case, tuple[Finding, ...], tuple[Finding, ...]]:
    """The case with the numbers of its note, all findings, and those that a normal number rules out.

    Raises CaseError for a finding or test with two answers.
    """
    terms = desk.terminology
    noted = with_noted_vitals(case) if note.understood else case
    given = coded_findings(case, terms.label, terms.canonical)
    numbers = [f for f in coded_findings(noted, terms.label, terms.canonical) if f not in given]
    findings = (*given, *(f for f in numbers if f.present), *note.findings)
    return noted, findings, tuple(f for f in numbers if not f.present)


def decide(desk: Desk, case: Case, note: NoteReading) -> Decided:
    """Decides the urgency of one case and runs every guideline that is for the patient.

    Raises CaseError for a value that no input of a guideline can have.
    """
    ancestors = desk.terminology.ancestors
    noted, findings, normal = understood(desk, case, note)
    read = (*findings, *note.signs)
    urgency = triage(case, read, note.understood, ancestors)
    if noted is not case:
        urgency = _more_urgent(urgency, triage(noted, read, note.understood, ancestors))

    def by(library: Library) -> Care:
        values = values_of(library.all_inputs, noted, findings, ancestors, library.formulary.parts)
        return care_for(library, noted, values, urgency.level)

    care, refused = _with_plugins_or_without(desk.library, by)
    return Decided(noted, findings, normal, raised(urgency, care.reasons), care, refused)


def _with_plugins_or_without(
    library: Library, by: Callable[[Library], Care]
) -> tuple[Care, tuple[tuple[str, str], ...]]:
    """What the guidelines say. Those of a plugin that cannot be run for a case are left out and named: an
    input with too narrow a range must not cost every patient with a fever the answer.
    """
    try:
        return by(library), ()
    except Exception as fault:  # whatever data of others can bring about
        why = str(fault) if isinstance(fault, AkazubaError) else type(fault).__name__
        for names in _fewest_first({*library.brought.values()}):
            with suppress(Exception):
                care = by(library.without_plugins(names))
                return care, tuple((name, f"guidelines not run for this case: {why}") for name in names)
        raise


def _fewest_first(plugins: set[str]) -> Iterator[tuple[str, ...]]:
    """Each alone, then all."""
    yield from ((name,) for name in sorted(plugins))
    if len(plugins) > 1:
        yield tuple(sorted(plugins))


def _more_urgent(given: Triage, noted: Triage) -> Triage:
    """Numbers in a note may raise the urgency; a normal one makes nobody safe."""
    order = ("red", "yellow")
    if noted.level in order and (
        given.level not in order or order.index(noted.level) < order.index(given.level)
    ):
        return noted
    return given


def why_unread(case: Case, note: NoteReading) -> str | None:
    """Why nothing was concluded from the note; None when it was understood or there is none."""
    return None if note.understood or not case.note.strip() else note.why


def urgency_of(desk: Desk, line: CaseLine) -> Urgency:
    """The urgency of one case; a case that cannot be used has only its error."""
    if line.case is None:
        return Urgency(line.case_id, error=str(line.error))
    try:
        note = desk.reader.read(line.case.note, line.case.language)
        decided = decide(desk, line.case, note)
    except CaseError as error:
        return Urgency(line.case_id, error=str(error))
    plan, unread = first_actions(decided.triage), why_unread(line.case, note)
    return Urgency(line.case_id, triage=decided.triage, plan=plan, note_unread=unread)
