"""`akazuba store …`, one patient: find, record consent, hand out, erase. Each act and each look is logged."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.errors import InputError

if TYPE_CHECKING:
    from akazuba.governance.consent import By

AS = click.option(
    "--as", "who", metavar="USER", help="Who does it; asks for the PIN. Needed once users exist."
)
JSON = click.option("--json", "as_json", is_flag=True)
WHY = click.option("--because", required=True, metavar="TEXT", help="The reason, for the log.")


@click.command()
@click.argument("name")
@AS
@JSON
def patients(name: str, who: str | None, as_json: bool) -> None:
    """Find patients whose NAME holds these words, whatever their accents. Who was found is logged.

    Example: akazuba store patients "uwimana chantal"
    """
    from akazuba.cli.store import acting, now_ms, opened_store
    from akazuba.governance.audit_reads import record_reads
    from akazuba.report import one_line

    with errors_shown(), opened_store() as opened:
        by = acting(opened, who, "see-patients")
        people = opened.search(name)
        ids = [person.id for person in people]
        record_reads(opened, ids, by, "searched by name", "name, birth, sex and place", now_ms)
    rows = [one_line(f"{p.id}  {p.name}  {p.born}  {p.sex}  {p.place}") for p in people]
    show(json.dumps([asdict(p) for p in people]) if as_json else "\n".join(rows) or "nobody of that name")


_GUARDIAN = click.option(
    "--guardian", metavar="RELATION", help="A guardian says it, the mother for instance."
)
_PURPOSE = click.option(
    "--to", "purposes", multiple=True, required=True, help="care, sharing, training, export; any number."
)


@click.command()
@click.argument("patient")
@_PURPOSE
@click.option("--text", required=True, type=click.Path(path_type=Path), help="The very text that was shown.")
@click.option("--text-version", required=True)
@click.option("--lang", required=True, help="Of that text: rw, fr, …")
@_GUARDIAN
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day; without it, no end.")
@AS
def consent(
    patient: str,
    purposes: tuple[str, ...],
    text: Path,
    text_version: str,
    lang: str,
    guardian: str | None,
    until: datetime | None,
    who: str | None,
) -> None:
    """Record what PATIENT agreed to, by which text.

    Example: akazuba store consent p17 --to export --text consent-rw.txt --text-version 2 --lang rw
    """
    from akazuba.cli.store import acting, now_ms, opened_store, read_file
    from akazuba.governance.consent import Consent, give, known_purpose, shown

    with errors_shown():
        wanted = tuple(known_purpose(purpose) for purpose in purposes)
        words = read_file(text, "a text in UTF-8", 1_000_000)
        try:
            said = shown(words.decode(), text_version, lang)
        except UnicodeDecodeError as problem:
            raise InputError(str(text), "a text in UTF-8", str(problem)) from problem
        ends = None if until is None else int(until.replace(tzinfo=UTC).timestamp() + 86_400) * 1000
        with opened_store() as opened:
            by = acting(opened, who, "consent")
            given = give(opened, patient, by, Consent(wanted, _by(guardian), said, ends), now_ms())
    show(f"recorded as entry {given.index}")


@click.command()
@click.argument("patient")
@_PURPOSE
@_GUARDIAN
@click.option("--said", default="", help="What was said, if anything was.")
@AS
def withdraw(
    patient: str, purposes: tuple[str, ...], guardian: str | None, said: str, who: str | None
) -> None:
    """Record that PATIENT does not agree any more. It counts from now on.

    Example: akazuba store withdraw p17 --to training
    """
    from akazuba.cli.store import acting, opened_store
    from akazuba.governance.consent import Withdrawal, known_purpose, withdraw as take_back

    with errors_shown():
        wanted = tuple(known_purpose(purpose) for purpose in purposes)
        with opened_store() as opened:
            by = acting(opened, who, "consent")
            taken = take_back(opened, patient, by, Withdrawal(wanted, _by(guardian), said))
    show(f"recorded as entry {taken.index}")


@click.command()
@click.argument("patient")
@click.option("--recipient", required=True, metavar="NAME", help="Who gets it, for the log.")
@WHY
@click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")
@AS
def export(patient: str, recipient: str, because: str, out: Path | None, who: str | None) -> None:
    """Hand out one patient's record as a FHIR R4 Bundle, where she agreed to it. Logged.

    Example: akazuba store export p17 --recipient "Huye hospital" --because referral --out p17.json
    """
    from akazuba.cli.store import acting, now_ms, opened_store, written
    from akazuba.governance.audit_anchors import origin
    from akazuba.governance.export import export_patient

    with errors_shown(), opened_store() as opened:
        by = acting(opened, who, "export")
        handed = export_patient(opened, patient, by, recipient, because, origin(opened), now_ms)
        written(out, handed.record)
    click.echo(f"logged as entry {handed.index}", err=True)


@click.command()
@click.argument("patient")
@WHY
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS
def erase(patient: str, because: str, yes: bool, who: str | None) -> None:
    """Make everything about PATIENT unreadable for good. The log keeps counting it and still verifies.

    Copies made before still hold it: name the patient with --erased when you restore one.

    Example: akazuba store erase p17 --because "asked for it on 2026-11-29"
    """
    from akazuba.cli.store import acting, opened_store

    with errors_shown(), opened_store() as opened:
        by = acting(opened, who, "erase")
        _confirmed(f"erase {patient} for good", yes)
        gone = opened.erase(patient, by, because)
    show(f"{patient} is erased (entry {gone.index})")


def _confirmed(what: str, yes: bool) -> None:
    try:
        sure = yes or click.confirm(f"{what}?", err=True)
    except click.Abort:
        sure = False
    if not sure:
        raise InputError("confirmation", f"yes, to {what}", "no")


def _by(guardian: str | None) -> By:
    from akazuba.governance.consent import By

    return By("patient") if guardian is None else By("guardian", guardian[:100])
