"""The command line: parse, call one function, print.

Exit codes: 0 done, 1 the work failed or a line of a batch did, 2 unusable input or arguments.
Errors go to stderr as `error: ITEM: expected …, found …`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec
from msgspec import UNSET

from akazuba.errors import AkazubaError, InputError

if TYPE_CHECKING:
    from akazuba.records import Assessment

EXAMPLES = Path(__file__).parent / "examples"
BENCHMARK_CASE = "skin-arm.json"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="akazuba")
def main() -> None:
    """Offline decision support for a health post: how urgent, what it probably is, and why.

    Example: akazuba assess case.json
    """


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One Assessment a line instead of the readable form.")
def demo(as_json: bool) -> None:
    """Assess the built-in example cases (synthetic: written and drawn for this project).

    Example: akazuba demo
    """
    if not as_json:
        click.echo("Built-in example cases. All patients are invented, all images are drawn: SYNTHETIC.\n")
    _assess_sources([str(path) for path in sorted(EXAMPLES.glob("*.json"))], as_json, heatmaps=None)


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="One Assessment a line, in input order.")
@click.option("--no-llm", is_flag=True, help="Leave the language model out (it is not part of this version).")
@click.option("--lang", type=click.Choice(["en"]), default="en", help="Language of the answer.")
@click.option("--heatmap", type=click.Path(file_okay=False, path_type=Path), help="Folder for heatmaps (PNG).")
def assess(files: tuple[str, ...], as_json: bool, no_llm: bool, lang: str, heatmap: Path | None) -> None:  # noqa: ARG001
    """Assess cases: a case JSON, NDJSON (one case a line, - = stdin) or a FHIR R4 Bundle.

    Image paths are relative to FILE.

    Example: akazuba assess case.json --json --heatmap heatmaps
    """
    _assess_sources(list(files), as_json, heatmap)


def _assess_sources(sources: Sequence[str], as_json: bool, heatmaps: Path | None) -> NoReturn:
    """Assesses every case of every source, prints each as soon as it is done, exits with the code."""
    from akazuba.consult import assess, open_box
    from akazuba.intake.cases import read_cases
    from akazuba.records import Assessment
    from akazuba.settings import from_environ

    def assessments() -> Iterator[Assessment]:
        for source in sources:
            try:
                for line in read_cases(source):
                    yield assess(box, line, heatmaps)
            except InputError as error:  # this file cannot be read; the others still are
                yield Assessment(source, error=str(error))

    with _errors_shown():
        box = open_box(from_environ())
    refused = unread = done = 0
    for done, assessment in enumerate(_with_progress(assessments()), start=1):  # noqa: B007
        problems = _show(assessment, as_json)
        refused += assessment.error is not UNSET
        unread += bool(problems)
    sys.exit(2 if refused == done == 1 else 1 if refused or unread else 0)


def _show(assessment: Assessment, as_json: bool) -> Sequence[str]:
    """Prints one assessment; what failed in it goes to stderr too and is returned."""
    from akazuba.report import failures, readable

    if as_json:
        click.echo(msgspec.json.encode(assessment))
    elif assessment.error is UNSET:
        click.echo(readable(assessment))
    problems = failures(assessment)
    for problem in problems:
        click.echo(f"error: {assessment.case_id}: {problem}", err=True)
    return problems


def _with_progress(assessments: Iterable[Assessment]) -> Iterator[Assessment]:
    """Counts the cases on stderr, when somebody is looking and stdout goes elsewhere."""
    watched = sys.stderr.isatty() and not sys.stdout.isatty()
    started = time.monotonic()
    for count, assessment in enumerate(assessments, start=1):
        yield assessment
        if watched:
            rate = count / (time.monotonic() - started)
            click.echo(f"\r{count} cases, {rate:.1f} a second", nl=False, err=True)
    if watched:
        click.echo(err=True)


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Turns an error of ours into `error: …` on stderr and exit code 2."""
    try:
        yield
    except AkazubaError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


@main.command()
@click.argument("name", type=click.Choice(["case", "assessment"]))
def schema(name: str) -> None:
    """Print the JSON Schema of a case or an assessment (version 1).

    Example: akazuba schema case > case.schema.json
    """
    from akazuba.records import json_schema

    click.echo(json.dumps(json_schema(name), indent=2))


@main.group()
def knowledge() -> None:
    """Build what the box knows.

    Example: akazuba knowledge build
    """


@knowledge.command("build")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def knowledge_build(quiet: bool) -> None:
    """Compile the terminology (HPO and our own terms) into the data folder; done once.

    Example: akazuba knowledge build
    """
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    with _errors_shown():
        home = from_environ().home
        terminology = open_terminology(home)
    if not quiet:
        click.echo(f"{terminology.version} in {home}")


@main.group()
def model() -> None:
    """The models that are installed.

    Example: akazuba model info
    """


@model.command("info")
@click.option("--json", "as_json", is_flag=True)
def model_info(as_json: bool) -> None:
    """Show the installed models: files, digests, licences, measured quality.

    Example: akazuba model info --json
    """
    from akazuba.diagnosis.engine import describe

    with _errors_shown():
        facts = describe()
    click.echo(json.dumps(facts) if as_json else _as_text(facts))


@model.command("benchmark")
@click.option("--json", "as_json", is_flag=True)
@click.option("--runs", type=click.IntRange(1, 10_000), default=50, show_default=True)
def model_benchmark(as_json: bool, runs: int) -> None:
    """Measure a whole text-and-image consultation on this machine: speed and memory of this process.

    Example: akazuba model benchmark --json
    """
    from akazuba.consult import open_box
    from akazuba.settings import from_environ
    from akazuba.speed import measure

    with _errors_shown():
        facts = measure(open_box(from_environ()), EXAMPLES / BENCHMARK_CASE, runs)
    click.echo(json.dumps(facts) if as_json else _as_text(facts))


def _as_text(facts: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", _as_text(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
