"""`akazuba guideline`: the protocols of the box, and their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import FAILED, errors_shown, show
from akazuba.errors import InputError

if TYPE_CHECKING:
    from akazuba.guidelines.library import Library
    from akazuba.guidelines.run import Patient
    from akazuba.guidelines.values import Value

OVERLAYS = click.option(
    "--overlay",
    "overlays",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Local rules (JSON); may be repeated.",
)


@click.group()
def guideline() -> None:
    """The guidelines that the box follows, clause by clause.

    Example: akazuba guideline list
    """


@guideline.command("list")
@click.option("--json", "as_json", is_flag=True)
@OVERLAYS
def list_(as_json: bool, overlays: Sequence[Path]) -> None:
    """List the guidelines, with edition, review state and the share of clauses whose text was opened.

    Example: akazuba guideline list --json
    """
    from akazuba.guidelines.describe import summaries, summary_table

    with errors_shown():
        rows = summaries(_library(overlays))
    show(json.dumps(rows) if as_json else summary_table(rows))


@guideline.command("show")
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@OVERLAYS
def show_(id_: str, as_json: bool, overlays: Sequence[Path]) -> None:
    """Show one guideline: clauses, questions, tables, notes.

    Example: akazuba guideline show news2
    """
    from akazuba.guidelines.describe import chart_text, description, readable

    with errors_shown():
        if not as_json and (chart := chart_text(id_)) is not None:
            show(chart)
            return
        found = _library(overlays).get(id_)
    show(json.dumps(description(found)) if as_json else readable(found))


@guideline.command("run")
@click.argument("id_", metavar="ID")
@click.argument("words", nargs=-1, metavar="[FILE] [NAME=VALUE]…")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="One value; may be repeated, and more may follow it.",
)
@click.option("--json", "as_json", is_flag=True)
@click.option("--trace", is_flag=True, help="Every row of every table, with what each cell said.")
@click.option("--fhir", is_flag=True, help="Print the plan as a FHIR R4 CarePlan.")
@OVERLAYS
def run(
    id_: str,
    words: Sequence[str],
    settings: Sequence[str],
    as_json: bool,
    trace: bool,
    fhir: bool,
    overlays: Sequence[Path],
) -> None:
    """Run one guideline over a case file, over values given with --set, or both (--set wins).

    Example: akazuba guideline run news2 --set respiratory_rate=26 pulse=112 --json
    """
    from akazuba.fhir.plans import care_plan
    from akazuba.guidelines.describe import answer, answer_text, traced
    from akazuba.guidelines.run import NOBODY_KNOWN

    with errors_shown():
        library = _library(overlays)
        found = library.get(id_)
        files = [word for word in words if "=" not in word]
        if len(files) > 1:
            raise InputError("guideline run", "one case file at most", ", ".join(files))
        file = files[0] if files else None
        pairs = [_pair(text) for text in (*settings, *(word for word in words if "=" in word))]
        if len(dict(pairs)) != len(pairs):
            raise InputError("--set", "each name once", ", ".join(name for name, _ in pairs))
        given: dict[str, Value] = dict(library.parsed(dict(pairs), found))
        patient = NOBODY_KNOWN
        if file is not None:
            read, patient = _from_case(library, file)
            known = {name: value for name, value in read.items() if name in found.inputs}
            given = {**known, **given}
        result = library.run(found, given, patient)
        if fhir:
            title = f"{found.about.title} ({found.about.edition})"
            today = patient.today.isoformat() if patient.today else None
            show(json.dumps(care_plan(Path(file or id_).stem, title, result.plan, today)))
            return
        facts = answer(result)
        if trace:
            facts["trace"] = traced(found, library.values(given, found))
    show(json.dumps(facts) if as_json else answer_text(result, facts.get("trace")))


@guideline.command("check")
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option("--json", "as_json", is_flag=True)
@click.option(
    "--openehr", type=click.Path(path_type=Path), help="Published cases of openEHR's guidelines (.jsonl.gz)."
)
def check(ids: Sequence[str], as_json: bool, openehr: Path | None) -> None:
    """Run every conformance row of the guidelines (all, or those named).

    Example: akazuba guideline check news2
    """
    from akazuba.guidelines.describe import checks, checks_text

    with errors_shown():
        report = checks(_library(()), ids, openehr)
    show(json.dumps(report) if as_json else checks_text(report))
    sys.exit(0 if report["agrees"] else FAILED)


@guideline.command("export")
@click.argument("id_", metavar="ID")
@click.option("--xlsx", type=click.Path(path_type=Path), help="Workbook to write: one sheet a table.")
@click.option("--fhir", is_flag=True, help="Print it as a FHIR R4 PlanDefinition.")
@OVERLAYS
def export(id_: str, xlsx: Path | None, fhir: bool, overlays: Sequence[Path]) -> None:
    """Write a guideline as a spreadsheet workbook, or print it as a FHIR PlanDefinition.

    Example: akazuba guideline export news2 --xlsx news2.xlsx
    """
    import msgspec

    from akazuba.fhir.plans import plan_definition
    from akazuba.guidelines.describe import rows_for_fhir
    from akazuba.guidelines.workbook import write_workbook

    with errors_shown():
        if (xlsx is None) == (not fhir):
            raise InputError("guideline export", "one of --xlsx and --fhir", "both" if fhir else "neither")
        found = _library(overlays).get(id_)
        if xlsx is not None:
            write_workbook(found, xlsx)
            return
        about = {k: v for k, v in msgspec.to_builtins(found.about).items() if isinstance(v, str)}
    show(json.dumps(plan_definition(about, rows_for_fhir(found))))


@guideline.command("import")
@click.argument("workbook", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--anyway", is_flag=True, help="Write it although conformance rows differ.")
def import_(workbook: Path, folder: Path, anyway: bool) -> None:
    """Check a guideline that was edited as a workbook, and write it as a folder of tables.

    Example: akazuba guideline import news2.xlsx my-guidelines/news2
    """
    from akazuba.guidelines.conformance import check as conformance
    from akazuba.guidelines.workbook import read_workbook, write_folder

    with errors_shown():
        library = _library(())
        found = read_workbook(workbook, library)
        rows = conformance(library, found)
        differing = [row for row in rows if row.differs]
        for row in differing:
            click.echo(f"{row.case}: {'; '.join(row.differs)}", err=True)
        if differing and not anyway:
            expected = "conformance rows that agree (change them too, or say --anyway)"
            raise InputError(str(workbook), expected, f"{len(differing)} of {len(rows)} that differ")
        write_folder(found, folder)
    agree = f"{len(rows) - len(differing)} of {len(rows)} conformance rows agree"
    show(f"{found.about.title}: {len(found.tables)} tables checked, {agree}; written to {folder}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise InputError("--set", "NAME=VALUE", repr(text))
    return name.strip(), value.strip()


def _from_case(library: Library, file: str) -> tuple[dict[str, Value], Patient]:
    """What the one case of a file says of the inputs, its note included."""
    from akazuba.guidelines.care import patient_of
    from akazuba.guidelines.case_values import values_of
    from akazuba.intake.cases import read_cases
    from akazuba.language.reader import Reader
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology
    from akazuba.urgency import Desk, understood

    terminology = open_terminology(from_environ().home)
    desk = Desk(terminology, Reader(terminology), library)
    lines = list(islice(read_cases(file), 2))
    if len(lines) != 1:
        raise InputError(file, "one case", f"{len(lines)} or more")
    if lines[0].case is None:
        raise lines[0].error or InputError(file, "a case", "none")
    case = lines[0].case
    noted, findings, _ = understood(desk, case, desk.reader.read(case.note, case.language))
    ancestors, parts = terminology.ancestors, library.formulary.parts
    return values_of(library.all_inputs, noted, findings, ancestors, parts), patient_of(noted)


def _library(overlays: Sequence[Path]) -> Library:
    from akazuba.guidelines.library import OWN, open_library
    from akazuba.plugins.brought import gather
    from akazuba.settings import from_environ

    settings = from_environ()
    own, brought = settings.home / OWN, gather(settings.plugins).guidelines
    return open_library((*settings.overlays, *overlays), own=own, brought=brought)
