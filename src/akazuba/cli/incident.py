"""`akazuba incident`: report a harm, and say by evidence who contributed to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.cli.store_patients import AS, JSON
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.governance.incident_dossier import Believed, Dossier
    from akazuba.governance.incidents import Attribution
    from akazuba.storage.store import Store

DEVELOPER, DEPLOYER = "developer.key.json", "deployer.key.json"
"""Files of the box's home: the keys that releases and configurations are believed by."""


@click.group()
def incident() -> None:
    """Incidents: reported, and attributed by evidence. No report is a legal finding.

    Example: akazuba incident list
    """


@incident.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--what", required=True, metavar="TEXT", help="What went wrong, in words.")
@AS
def report(index: int, what: str, who: str | None) -> None:
    """Record that an assessment (by its index in the log) was part of a harm.

    Example: akazuba incident report 42 --what "sent home, came back in shock"
    """
    from akazuba.cli.store import acting, opened_store
    from akazuba.governance.incidents import report_incident

    with errors_shown(), opened_store() as store:
        recorded = report_incident(store, acting(store, who, "see-patients"), index, what)
    show(f"incident {recorded.index} is recorded: akazuba incident attribute {recorded.index}")


@incident.command("list")
@AS
@JSON
def list_incidents(who: str | None, as_json: bool) -> None:
    """List every incident with its assessment.

    Example: akazuba incident list --json
    """
    from akazuba.cli.store import acting, opened_store
    from akazuba.governance.audit_reads import record_reads
    from akazuba.governance.incidents import incidents
    from akazuba.report import one_line

    with errors_shown(), opened_store() as store:
        by = acting(store, who, "see-patients")
        found = incidents(store)
        patients = sorted({entry.patient for entry, said in found if said and entry.patient})
        if patients:
            record_reads(store, patients, by, "list of incidents", "incidents")
    rows = [
        {
            "incident": entry.index,
            "at_ms": entry.at_ms,
            "assessment": said.assessment if said else None,
            "patient": entry.patient,
            "what": said.what if said else None,
        }
        for entry, said in found
    ]
    text = "\n".join(
        f"{row['incident']:>8}  assessment {row['assessment']}: {one_line(str(row['what'] or 'erased'))}"
        for row in rows
    )
    show(json.dumps(rows) if as_json else text or "no incident is recorded")


@incident.command()
@click.argument("name", metavar="ID|INDEX")
@click.option("--json", "as_json", is_flag=True, help="The report as one line of JSON.")
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page.")
@click.option("--pdf", type=click.Path(path_type=Path), help="Write it as PDF; takes the extra `report`.")
@AS
def attribute(name: str, as_json: bool, html: Path | None, pdf: Path | None, who: str | None) -> None:
    """Who contributed to a harm: the index of an incident or assessment, or a case's id.

    Verifies the entries, replays the case with the versions of its day and names the first divergence.

    Example: akazuba incident attribute 57 --pdf incident-57.pdf
    """
    from akazuba.cli.store import acting, opened_store, written
    from akazuba.governance.incident_pdf import as_pdf
    from akazuba.governance.incident_report import as_html, as_json as encoded, as_text
    from akazuba.report import harmless

    with errors_shown():
        for option, path in (("--html", html), ("--pdf", pdf)):
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise InputError(option, "a file in a folder that is there", str(path))
        with opened_store() as store:
            attribution = _attributed(store, name, acting(store, who, "see-patients"))
        if html is not None:
            written(html, as_html(attribution).encode())
        if pdf is not None:
            written(pdf, as_pdf(attribution))
    if as_json:
        show(encoded(attribution))
    else:
        show("\n".join(harmless(line) for line in as_text(attribution).split("\n")))


def _attributed(store: Store, name: str, by: str) -> Attribution:
    """After it is logged that the patient's entries were read; then the result's digest is."""
    import hashlib

    import msgspec

    from akazuba.governance.audit_reads import record_reads
    from akazuba.governance.incident_report import as_json
    from akazuba.governance.incidents import attribute, named
    from akazuba.replay import replayer
    from akazuba.settings import from_environ
    from akazuba.storage.store import Entry

    settings = from_environ()
    index, reported, what = named(store, name)
    file = _dossier(store, settings.home, index, reported, what)
    if file.patient:
        record_reads(store, [file.patient], by, f"attribution of assessment {index}", "all entries")
    attribution = attribute(file, replayer(settings))
    digest = hashlib.sha256(as_json(attribution)).hexdigest()
    told = msgspec.json.encode({"assessment": index, "incident": reported, "sha256": digest})
    store.add(Entry("attribution", by, told, file.patient))
    return attribution


def _dossier(store: Store, home: Path, index: int, reported: int | None, what: str) -> Dossier:
    from akazuba.governance.audit_anchors import last_note, log_keys
    from akazuba.governance.incident_dossier import dossier

    return dossier(store, index, believed(home), reported, what, last_note(store), log_keys(store))


def believed(home: Path) -> Believed:
    """Whose signatures this box believes, by the two key files. Raises InputError for one that is none."""
    from akazuba.governance.audit_anchors import read_key
    from akazuba.governance.incident_dossier import Believed
    from akazuba.governance.responsibility import Keys, believing

    def of(name: str) -> Keys | None:
        path = home / name
        if not path.exists():
            return None
        try:
            return believing(read_key(path.read_bytes(), str(path)).public)
        except OSError as problem:
            raise InputError(str(path), "a key file", why_not_opened(problem)) from problem

    return Believed(of(DEVELOPER), of(DEPLOYER))
