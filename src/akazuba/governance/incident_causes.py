"""The first steps of an attribution: the input, the output against what was signed, the release itself.

A divergence that a replay shows to have changed nothing is noted and blames nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from msgspec import UNSET

from akazuba.governance.course import WRONG_PATIENT, corrected
from akazuba.governance.incident_dossier import Dossier
from akazuba.governance.incident_findings import Evidence, Found
from akazuba.governance.incident_replay import Replay, Replayed, Then, Unavailable, differences, other_advice
from akazuba.governance.responsibility import Configuration, Held, Notice, Release
from akazuba.records import Assessment

MOST_NAMED = 5


@dataclass(frozen=True)
class Again:
    """The case, to be run again. then: with the files that were signed and the local rules that ran.

    base: what that gave.
    """

    then: Then | Unavailable
    base: Replayed | Unavailable
    replay: Replay


def again(file: Dossier, replay: Replay) -> Again:
    then = _then(file)
    return Again(then, then if isinstance(then, Unavailable) else replay(then), replay)


def _then(file: Dossier) -> Then | Unavailable:
    if file.basis is None:
        return Unavailable("what the assessment stood on isn't recorded")
    overlays = overlays_named(file, file.basis.ran.overlays)
    if isinstance(overlays, Unavailable):
        return overlays
    return Then(file.case, file.pictures, signed_files(file), overlays)


def signed_files(file: Dossier) -> Mapping[str, str]:
    """Those of the release, and of what it does not name those that ran."""
    ran = file.basis.ran.files if file.basis else {}
    return {**ran, **file.release.document.files} if file.release and not file.release.problem else ran


def overlays_named(file: Dossier, wanted: Mapping[str, str]) -> tuple[bytes, ...] | Unavailable:
    """The files of local rules, in the order in which they are named: a later one changes an earlier one."""
    missing = sorted(name for name, digest in wanted.items() if digest not in file.overlays)
    if missing:
        return Unavailable(f"the log holds no local rules {missing[0]} {wanted[missing[0]][:16]}…")
    return tuple(file.overlays[digest] for digest in wanted.values())


# --- 1. the input ---------------------------------------------------------------------------------------


def input_step(file: Dossier, run: Again, found: Found) -> None:
    """A value that was corrected later, or another patient's case."""
    for it in file.corrections:
        if it.body.field == WRONG_PATIENT:
            says = f"the case was another patient's: {it.body.why}"
            evidence = Evidence(f"corrected by {it.by}", (it.index, file.case_at), clause=WRONG_PATIENT)
            rebuttal = "that both patients' cases would have led to the same care"
            found.cause("wrong-patient", "clinician", says, evidence, rebuttal=rebuttal, shown=True)
    values = [it for it in file.corrections if it.body.field != WRONG_PATIENT]
    if not values:
        return
    named = ", ".join(it.body.field for it in values)
    whys = "; ".join(f"{it.body.field}: {it.body.why}" for it in values)
    evidence = Evidence(
        f"entered by {file.case_by}; corrected: {whys}", (file.case_at, *(it.index for it in values))
    )
    right = _with_right_values(file, run)
    if isinstance(right, Unavailable):
        says, shown = f"{named} was entered wrong; what that changed was not replayed: {right.why}", False
    elif changed := other_advice(_base(file, run), right.assessment):
        says, shown = f"{named} was entered wrong; as entered and as corrected: {'; '.join(changed)}", True
    else:
        found.noted.append(f"{named} was entered wrong, and the advice is the same with the right value")
        return
    rebuttal = "the measurement itself (a device's record, a second reading), or who entered it"
    found.cause("input-wrong", "clinician", says, evidence, rebuttal=rebuttal, shown=shown)


def _with_right_values(file: Dossier, run: Again) -> Replayed | Unavailable:
    if isinstance(run.then, Unavailable):
        return run.then
    case: dict[str, object] = msgspec.json.decode(file.case)
    for it in file.corrections:
        if it.body.field != WRONG_PATIENT:
            case = corrected(case, it.body)
    return run.replay(replace(run.then, case=msgspec.json.encode(case)))


def _base(file: Dossier, run: Again) -> Assessment:
    """What the signed versions give; where they could not be run, what was recorded."""
    assert file.assessment is not None  # noqa: S101 - a sound dossier has one
    return run.base.assessment if isinstance(run.base, Replayed) else file.assessment


# --- 2. the output against what was signed ----------------------------------------------------------------


def output_step(file: Dossier, run: Again, found: Found) -> None:
    """Whether the box gave what the signed files give, and whether they are the files that ran."""
    _release_as_signed(file, found)
    assert file.assessment is not None  # noqa: S101 - a sound dossier has one
    differ, mattered = list[str](), False
    if isinstance(run.base, Unavailable):
        found.replay = f"not possible: {run.base.why}"
        found.unchecked.append(f"the replay was not possible: {run.base.why}")
    else:
        differ = differences(file.assessment, run.base.assessment)
        mattered = bool(other_advice(file.assessment, run.base.assessment))
        found.replay = "the signed versions give another output" if differ else "the same output"
        found.unchecked += [f"not replayed: {part}" for part in run.base.left_out]
    said = Evidence("; ".join(differ[:MOST_NAMED]) or found.replay, (file.case_at, file.index))
    altered, release = _altered(file), file.release
    names = ", ".join(sorted(altered)[:MOST_NAMED])
    if altered and not differ and isinstance(run.base, Replayed):
        found.noted.append(f"{names} ran in another version than was signed, with the same output")
    elif altered:
        says = f"{names}: another version ran than the developer signed (changed at the site, or on the way)"
        digests = {f"{name}, {which}": it[i] for name, it in altered.items() for i, which in _SIGNED_RAN}
        evidence = Evidence("digests differ", (*entry_of(release), file.basis_at), digests, "release.files")
        rebuttal = "a later release, signed by the developer, that holds the version that ran"
        found.cause("files-altered", "deployer", says, evidence, said, rebuttal=rebuttal, shown=mattered)
    elif differ:
        says = "the files that ran are those that were signed, and their replay gives another output"
        digests = {"release": release.sha256} if release else {}
        evidence = Evidence("what ran", (*entry_of(release), file.basis_at), digests, "release.files")
        rebuttal = (
            "the same replay on a second box: where only this box differs, it is the box or who changed it"
        )
        found.cause("output-differs", "developer", says, evidence, said, rebuttal=rebuttal, shown=mattered)


def _release_as_signed(file: Dossier, found: Found) -> None:
    release = file.release
    if file.basis is None or not file.basis.ran.files:
        found.unchecked.append("which files ran isn't recorded")
    if release is None:
        named = file.basis.ran.release[:16] if file.basis else ""
        found.unchecked.append(
            f"{f'release {named}… is not in the log' if named else 'no release was named'}"
        )
    elif not release.believed:
        found.unchecked.append("nobody said whose signature under a release counts")
    elif release.problem:
        says = f"the box ran a release that the developer did not sign: {release.problem}"
        evidence = Evidence("the release", entry_of(release), {"release": release.sha256})
        rebuttal = "the developer's signature on this very release"
        found.cause("release-unsigned", "deployer", says, evidence, rebuttal=rebuttal)


_SIGNED_RAN = ((0, "signed"), (1, "ran"))


def _altered(file: Dossier) -> dict[str, tuple[str, str]]:
    """Files that ran in another version than the release names: signed, ran."""
    if file.release is None or file.release.problem or file.basis is None or not file.basis.ran.files:
        return {}
    ran = file.basis.ran.files
    signed = file.release.document.files
    return {name: (it, ran.get(name, "")) for name, it in signed.items() if ran.get(name) != it}


def entry_of(held: Held[Release] | Held[Configuration] | Held[Notice] | None) -> tuple[int, ...]:
    return () if held is None or held.index is None else (held.index,)


# --- 3. the release against what it states ------------------------------------------------------------------


def defect_step(file: Dossier, found: Found) -> None:
    """A notice of the developer that covers this assessment."""
    if file.release is None or file.assessment is None:
        return
    case = msgspec.json.decode(file.case)
    rests_on = _rests_on(file.assessment)
    for held in file.notices:
        notice = held.document
        if notice.release != file.release.sha256 or not all(it.holds(case) for it in notice.when):
            continue
        touched = sorted(set(notice.touches) & rests_on)
        if not touched:
            continue
        if not held.believed or held.problem:
            found.unchecked.append(f"a notice at entry {held.index} whose signature was not verified")
            continue
        evidence = Evidence(
            f"it touches {', '.join(touched)}",
            (*entry_of(held), file.index),
            {"notice": held.sha256},
            "notice.touches",
        )
        rebuttal = "that the defect did not show in this case: the corrected release gives the same advice"
        says = f"the developer's own notice covers this case: {notice.what}"
        found.cause("known-defect", "developer", says, evidence, rebuttal=rebuttal, shown=True)
        if held.index is not None and held.index < file.index and file.at_ms / 1000 >= notice.act_by_s:
            says = "the notice was in this log, its term to act was over, and the release still ran"
            rebuttal = "what was done instead (a warning at the post, a second check) and who knew of it"
            found.cause("defect-not-acted-on", "deployer", says, evidence, rebuttal=rebuttal)


def _rests_on(assessment: Assessment) -> set[str]:
    found = set[str]()
    if assessment.triage is not UNSET:
        found |= {f"level:{assessment.triage.level}", *(it.rule for it in assessment.triage.reasons)}
    if assessment.protocols is not UNSET:
        found |= {it.id for it in assessment.protocols}
    if assessment.plan is not UNSET:
        found |= {it.guideline for it in assessment.plan}
    if assessment.provenance is not UNSET:
        found |= set(assessment.provenance.models)
    return found
