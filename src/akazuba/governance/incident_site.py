"""A step of an attribution: whether the place ran as its organisation signed, within the bounds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from akazuba.governance.incident_causes import MOST_NAMED, Again, entry_of, overlays_named, signed_files
from akazuba.governance.incident_dossier import Dossier
from akazuba.governance.incident_findings import Evidence, Found, Kind
from akazuba.governance.incident_replay import Replayed, Then, Unavailable, other_advice
from akazuba.governance.responsibility import Configuration, check_configuration


def configuration_step(file: Dossier, run: Again, found: Found) -> None:
    """Whether the place ran as its organisation signed, within the developer's bounds, at that time."""
    site = file.configuration
    if site is None:
        named = file.basis.ran.configuration[:16] if file.basis else ""
        found.unchecked.append(
            f"configuration {named}… is not in the log" if named else "no configuration named"
        )
        return
    if not site.believed:
        found.unchecked.append("nobody said whose signature under a configuration counts")
    evidence = Evidence("the configuration", entry_of(site), {"configuration": site.sha256})
    for flaw in check_configuration(file.release, site, file.at_ms / 1000):
        about = msgspec.structs.replace(evidence, clause=flaw.clause)
        found.cause(_FLAWED[flaw.kind], "deployer", flaw.what, about, rebuttal=_REBUTTED[flaw.kind])
    if file.newer is not None:
        says = "a newer configuration had been adopted and was not used"
        newer = Evidence("the newer one", entry_of(file.newer), {"configuration": file.newer.sha256})
        found.cause("configuration-stale", "deployer", says, evidence, newer, rebuttal=_REBUTTED["stale"])
    ran = file.basis.ran if file.basis else None
    if ran and ran.formulary and site.document.formulary not in ("", ran.formulary):
        digests = {"signed": site.document.formulary, "ran": ran.formulary}
        about = Evidence("the formulary", (*entry_of(site), file.basis_at), digests, "formulary")
        rebuttal = "a signed configuration that names the formulary that ran"
        found.cause("formulary-altered", "deployer", "another formulary ran", about, rebuttal=rebuttal)
    _overlays_as_signed(file, site.document, run, found)


_FLAWED: Mapping[str, Kind] = {
    "unsigned": "configuration-unsigned",
    "stale": "configuration-stale",
    "other-release": "configuration-other-release",
    "outside-bounds": "configuration-outside-bounds",
}
_REBUTTED = {
    "unsigned": "the organisation's signature on this very configuration",
    "stale": "a signed extension of that time, or a clock of the box that was wrong",
    "other-release": "the developer's word that the two releases agree in what the configuration sets",
    "outside-bounds": "the developer's signed permission for this place",
}


def _overlays_as_signed(file: Dossier, site: Configuration, run: Again, found: Found) -> None:
    """Local rules that ran and were not signed so; replayed with those that were."""
    assert file.basis is not None and file.assessment is not None  # noqa: S101, PT018 - it has a configuration
    ran, signed = file.basis.ran.overlays, site.overlays
    other = sorted(name for name in ran.keys() | signed.keys() if ran.get(name) != signed.get(name))
    if not other and list(ran) != list(signed):
        other = sorted(ran)  # the same rules in another order
    if not other:
        return
    wanted = overlays_named(file, signed)
    if isinstance(wanted, Unavailable):
        as_signed: Replayed | Unavailable = wanted
    else:
        files = run.then.files if isinstance(run.then, Then) else signed_files(file)
        as_signed = run.replay(Then(file.case, file.pictures, files, wanted))
    before = run.base.assessment if isinstance(run.base, Replayed) else file.assessment
    names = ", ".join(other[:MOST_NAMED])
    if isinstance(as_signed, Unavailable):
        says, shown = f"local rules {names} ran otherwise than signed; not replayed: {as_signed.why}", False
    elif changed := other_advice(before, as_signed.assessment):
        says, shown = f"local rules {names}: as they ran and as signed: {'; '.join(changed)}", True
    else:
        found.noted.append(f"local rules {names} ran otherwise than signed, with the same advice")
        return
    digests = {
        f"{name}, {which}": it.get(name, "none") for name in other for which, it in _of_both(signed, ran)
    }
    evidence = Evidence("local rules", (*entry_of(file.configuration), file.basis_at), digests, "overlays")
    rebuttal = "a signed configuration of that time that names the rules that ran"
    found.cause("overlay-altered", "deployer", says, evidence, rebuttal=rebuttal, shown=shown)


def _of_both(signed: Mapping[str, str], ran: Mapping[str, str]) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return ("signed", signed), ("ran", ran)
