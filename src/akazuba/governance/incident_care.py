"""The last steps of an attribution: the alarm, who was there to hear it, what was decided against advice."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from akazuba.governance.decisions import Decided, Made, Open, Told
from akazuba.governance.incident_dossier import Dossier
from akazuba.governance.incident_findings import Evidence, Found

ACKNOWLEDGE, ACKNOWLEDGE_S = "acknowledge_within_s", 240.0
"""The threshold's name, and what counts where no configuration sets it: the last escalation of the queue."""


def alarm_step(file: Dossier, found: Found) -> None:
    """An alarm for a red patient that nobody answered in time, and who was on duty."""
    level = file.assessment.triage.level if file.assessment and file.assessment.triage is not UNSET else ""
    if not file.alarms:
        if level == "red":
            found.unchecked.append(
                "no alarm is recorded for a red patient: none was raised, or no queue was used"
            )
        return
    raised = file.alarms[0]
    answered = [
        (it.body.waited_s if it.body.waited_s is not None else (it.at_ms - raised.at_ms) / 1000, it.index)
        for it in file.acknowledged
    ]
    answered += [((it.at_ms - raised.at_ms) / 1000, it.index) for it in _decisions(file)]
    if before := [index for waited, index in answered if waited < 0]:
        why = "a time before the alarm: the box's clock was set back, and how long it took is not known"
        found.unchecked.append(f"the answer at entry {before[0]} bears {why}")
        answered = [it for it in answered if it[0] >= 0]
        if not answered:
            return
    waited, by_entry = min(answered, default=(None, None))
    site = file.configuration.document if file.configuration else None
    within = site.thresholds.get(ACKNOWLEDGE, ACKNOWLEDGE_S) if site else ACKNOWLEDGE_S
    if waited is not None and waited <= within:
        return
    how = f"answered after {waited:.0f} s" if waited is not None else "never answered"
    at_s = raised.at_ms / 1000
    here = [it for it in file.duty if it.body.begins_s <= at_s + within and at_s < it.body.ends_s]
    required = site.required(at_s) if site else {}
    short = {
        role: (least, there)
        for role, least in sorted(required.items())
        if (there := len({it.body.user for it in here if it.body.role == role})) < least
    }
    entries = (raised.index, *([by_entry] if by_entry is not None else []), *(it.index for it in here))
    clause = f"thresholds.{ACKNOWLEDGE}" if site and ACKNOWLEDGE in site.thresholds else "the last escalation"
    evidence = Evidence(
        f"alarms raised: {len(file.alarms)}, {how}; allowed: {within:.0f} s", entries, clause=clause
    )
    if short or not here:
        lacking = "; ".join(f"{there} {role} of {least}" for role, (least, there) in short.items())
        says = f"the alarm was {how}, and the post was not staffed: {lacking or 'nobody is recorded on duty'}"
        rebuttal = "a roster as worked that shows them there; then it is for those who were"
        found.cause("no-staff", "deployer", says, evidence, rebuttal=rebuttal, shown=bool(short))
    else:
        names = ", ".join(sorted({f"{it.body.user} ({it.body.role})" for it in here}))
        says = f"the alarm was {how}; on duty: {names}"
        rebuttal = "another emergency at that time, a tablet that did not sound, or who else was called"
        found.cause("alarm-ignored", "clinician", says, evidence, rebuttal=rebuttal, shown=True)


def decision_step(file: Dossier, found: Found) -> None:
    """Advice that was overridden without a reason, or against what the outcome showed."""
    if file.standing is None or isinstance(file.standing, Open):
        found.unchecked.append("nobody signed a decision: whether the advice was followed is not known")
    for index, why in (file.standing.unsound if file.standing else {}).items():
        found.unchecked.append(f"the decision at entry {index} does not count: {why}")
    if not isinstance(file.standing, Decided):
        return
    newest = file.standing.newest
    said = newest.decision
    if file.standing.superseded:
        before = ", ".join(f"{it.decision.choice} at entry {it.index}" for it in file.standing.superseded)
        found.noted.append(f"the decision superseded others: {before}")
    if said.choice == "accept":
        return
    against = [(told, items) for told in file.outcomes if (items := _borne_out(newest, told, file))]
    evidence = Evidence(
        f"{said.choice} by {said.user} ({said.role}): {said.reason or 'no reason'}", (newest.index,)
    )
    if not any(map(str.isalpha, said.reason)):
        says = f"the advice was overridden without a reason ({said.choice})"
        rebuttal = "the reason, as it was written down elsewhere at that time"
        found.cause("overridden", "clinician", says, evidence, rebuttal=rebuttal)
    elif against:
        items = sorted({item for _, named in against for item in named})
        outcome = Evidence(
            "; ".join(f"outcome by {told.by}: {told.outcome.what}" for told, _ in against),
            tuple(told.index for told, _ in against),
        )
        says = f"the advice was overridden, and the outcome bore it out: {', '.join(items)}"
        rebuttal = "what she knew that the box did not, in the reason or in the notes of that time"
        found.cause("overridden", "clinician", says, evidence, outcome, rebuttal=rebuttal, shown=True)
    elif file.outcomes:
        found.noted.append(f"the advice was overridden ({said.choice}), and no outcome bears the advice out")
    else:
        found.unchecked.append("the advice was overridden with a reason, and no outcome is known")


def _borne_out(made: Made, told: Told, file: Dossier) -> list[str]:
    """Items of the advice that she overrode and that the outcome showed to be right."""
    outcome, said = told.outcome, made.decision
    overridden = {change.item for change in said.changes}
    items = [it for it in outcome.borne_out if said.choice == "refuse" or it in overridden]
    triage = file.assessment.triage if file.assessment else UNSET
    level = triage.level if triage is not UNSET else None
    refused = said.choice == "refuse" or "triage.level" in overridden
    if refused and level is not None and outcome.level == level and "triage.level" not in items:
        items.append("triage.level")
    return items


def _decisions(file: Dossier) -> Iterator[Made]:
    if isinstance(file.standing, Decided):
        yield from (*file.standing.superseded, file.standing.newest)
