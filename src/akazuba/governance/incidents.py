"""Incidents: reported, and attributed by evidence: who contributed to a harm, and what would rebut it.

`attribute` is a function of what the log holds (a dossier) and of a replay, which runs the case with the
versions of its day. It goes from the input to the bedside, and names the first divergence and every further
one. Where there is none, it was the guideline or chance. It is not a legal finding and says so.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.decisions import Index, assessment_at, put, stored
from akazuba.governance.incident_care import alarm_step, decision_step
from akazuba.governance.incident_causes import again, defect_step, input_step, output_step
from akazuba.governance.incident_dossier import Dossier
from akazuba.governance.incident_findings import Cause, Evidence, Found, Party
from akazuba.governance.incident_replay import Replay
from akazuba.governance.incident_site import configuration_step
from akazuba.governance.responsibility import Document
from akazuba.records import Assessment
from akazuba.storage.store import Recorded, Store

NOT_A_FINDING = (
    "This report is not a legal finding. It lists what the records show and what would rebut it;"
    " who is liable is for others to say."
)


class Incident(Document, frozen=True):
    """Body of `incident`. what: went wrong, in words."""

    assessment: Index
    what: Annotated[str, Meta(min_length=3, max_length=4000)]


class Attribution(Document, frozen=True):
    """causes: the first divergence first. levels: who contributed, in the order of the causes.

    noted: divergences that changed nothing. unchecked: what could not be looked at, and why.
    """

    assessment: int
    incident: int | None
    case_id: str
    patient: str
    what: str
    log: str
    replay: str
    conclusion: str
    levels: tuple[Party, ...]
    causes: tuple[Cause, ...]
    noted: tuple[str, ...]
    unchecked: tuple[str, ...]
    disclaimer: str = NOT_A_FINDING


def attribute(incident: Dossier, replay: Replay) -> Attribution:
    """The same for the same dossier, whoever runs it."""
    found = Found()
    if incident.inclusion.problems:
        _altered(incident, found)
    else:
        run = again(incident, replay)
        input_step(incident, run, found)
        output_step(incident, run, found)
        defect_step(incident, found)
        configuration_step(incident, run, found)
        alarm_step(incident, found)
        decision_step(incident, found)
    levels = tuple(dict.fromkeys(cause.level for cause in found.causes))
    return Attribution(
        assessment=incident.index,
        incident=incident.incident,
        case_id=incident.assessment.case_id if incident.assessment else "",
        patient=incident.patient,
        what=incident.what,
        log=_log(incident),
        replay=found.replay,
        conclusion=_conclusion(found, levels),
        levels=levels,
        causes=tuple(found.causes),
        noted=tuple(found.noted),
        unchecked=tuple(found.unchecked),
    )


def _altered(incident: Dossier, found: Found) -> None:
    problems = incident.inclusion.problems
    says = "the records were altered after they were made; nothing else can be concluded from them"
    evidence = Evidence(
        "; ".join(f"entry {index}: {why}" for index, why in list(problems.items())[:5]), tuple(problems)
    )
    rebuttal = "an unaltered copy (a backup, the server's) that its signed checkpoint counts; run this on it"
    found.cause("record-altered", "deployer", says, evidence, rebuttal=rebuttal)
    found.unchecked.append("everything that rests on the records")


def _log(incident: Dossier) -> str:
    held = incident.inclusion
    if held.problems:
        return f"{len(held.problems)} entries are not what the log of {held.size} entries holds"
    return (
        f"all {len(held.entries)} entries used are in the log of {held.size} as they were recorded;"
        f" a signed checkpoint counts {held.anchored} of them"
    )


def _conclusion(found: Found, levels: tuple[Party, ...]) -> str:
    if not found.causes:
        open_ = f", as far as it could be checked ({len(found.unchecked)} points could not)"
        return f"No divergence was found{open_ if found.unchecked else ''}: the guideline itself, or chance."
    first, *others = found.causes
    more = f" {len(others)} more contributed: {', '.join(it.kind for it in others)}." if others else ""
    return f"First divergence: {first.kind} ({first.level}).{more} Contributing: {', '.join(levels)}."


# --- incidents in the log ---------------------------------------------------------------------------------


def report_incident(store: Store, by: str, assessment: int, what: str) -> Recorded:
    """Raises InputError for an entry that is no assessment, or words that say nothing."""
    entry = assessment_at(store, assessment, None)
    return put(store, "incident", by, Incident(assessment, what.strip()), entry.patient)


def incidents(store: Store) -> list[tuple[Recorded, Incident | None]]:
    """The oldest first; None for one whose patient was erased."""
    entries = list(store.entries(kind="incident"))
    return [(entry, stored(entry, Incident) if entry.body is not None else None) for entry in entries]


def named(store: Store, name: str) -> tuple[int, int | None, str]:
    """Assessment, incident and what went wrong; name: an index of either, or a case's id.

    Raises InputError for what names none, or more than one.
    """
    if not (name.isascii() and name.isdigit() and len(name) < 16):
        return named(store, str(_assessment_of(store, name)))
    index = int(name)
    head = next(store.heads(index), None)
    kind = head[0][2] if head and head[0][0] == index else "none"
    if kind == "incident":
        said = stored(store.entry(index), Incident)
        return said.assessment, index, said.what
    if kind != "assessment":
        raise InputError(f"entry {index}", "an assessment or an incident", f"`{kind}`")
    try:
        told = [(it.index, one.what) for it, one in incidents(store) if one and one.assessment == index]
    except ArtefactError:  # the dossier names what was altered
        told = []
    return index, *(told[-1] if told else (None, ""))


def _assessment_of(store: Store, case_id: str) -> int:
    found = [
        entry.index
        for entry in store.entries(kind="assessment")
        if entry.body is not None and stored(entry, Assessment).case_id == case_id
    ]
    if len(found) != 1:
        expected = "an index of the log, or the id of a case with one assessment"
        raise InputError("incident", expected, f"{case_id!r} with {', '.join(map(str, found)) or 'none'}")
    return found[0]
