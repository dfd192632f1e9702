"""The command line: parse, call one function, print.

Exit codes: 0 done, 1 the work failed or a line of a batch did, 2 unusable input or arguments.
Errors go to stderr as `error: ITEM: expected …, found …`.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from akazuba import __version__
from akazuba.cli.audit import audit
from akazuba.cli.energy import energy
from akazuba.cli.federate import federate
from akazuba.cli.guideline import guideline
from akazuba.cli.incident import incident
from akazuba.cli.knowledge import knowledge
from akazuba.cli.mcp import mcp
from akazuba.cli.models import EXAMPLES, model
from akazuba.cli.plugin import plugin
from akazuba.cli.privacy import privacy
from akazuba.cli.programs import program
from akazuba.cli.qkd import qkd
from akazuba.cli.ranking import rank
from akazuba.cli.serve import serve
from akazuba.cli.shared import (
    ENGLISH,
    FAILED,
    LANGUAGE,
    UNUSABLE,
    errors_shown,
    exit_code,
    fail,
    guarded,
    show,
)
from akazuba.cli.site import site
from akazuba.cli.store import store
from akazuba.cli.urgency import growth, triage
from akazuba.cli.users import users
from akazuba.cli.waiting import queue
from akazuba.cli.words import ask, leading, opened_sources, wording
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.box import Box
    from akazuba.consult import Telling
    from akazuba.intake.cases import CaseLine
    from akazuba.llm.extract import Nearest
    from akazuba.records import Assessment
    from akazuba.settings import Settings
    from akazuba.wording.catalogue import Catalogue


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="akazuba")
def main() -> None:
    """Offline decision support for a health post: how urgent, what it probably is, and why.

    Example: akazuba assess case.json
    """
    click.get_current_context().with_resource(_quiet_interrupt())
    if sys.stdout is None:
        fail("standard output: expected a place to write, found it closed", FAILED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where "≥" cannot be written, "?" and no crash


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One Assessment a line instead of the readable form.")
@LANGUAGE
def demo(as_json: bool, lang: str) -> None:
    """Assess the built-in example cases (synthetic: written and drawn for this project).

    Example: akazuba demo
    """
    if not as_json:
        show("Built-in example cases. All patients are invented, all images are drawn: SYNTHETIC.\n")
    _assess_sources([str(path) for path in sorted(EXAMPLES.glob("*.json"))], _Asked(as_json, lang=lang))


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="One Assessment a line, in input order.")
@click.option(
    "--llm/--no-llm",
    "with_model",
    default=None,
    help="Whether the language model words each case; without either it words a file of one case.",
)
@LANGUAGE
@click.option("--heatmap", type=click.Path(path_type=Path), help="Folder for heatmaps (PNG).")
@click.option("--interactive", is_flag=True, help="Ask up to 20 questions about the one case of FILE.")
@click.option("--led", is_flag=True, help="With --interactive: the language model chooses what is asked.")
def assess(
    files: tuple[str, ...],
    as_json: bool,
    with_model: bool | None,
    lang: str,
    heatmap: Path | None,
    interactive: bool,
    led: bool,
) -> None:
    """Assess cases: a case JSON, NDJSON (one case a line, - = stdin) or a FHIR R4 Bundle.

    Image paths are relative to FILE. With --interactive the most telling question for its cost comes first;
    it ends when a red flag fires, when the answer is clear, or with "s".

    Example: akazuba assess case.json --json --heatmap heatmaps
    """
    asked = _Asked(as_json, heatmap, lang, with_model)
    if led and not interactive:
        raise click.UsageError("--led needs --interactive")
    if not interactive:
        _assess_sources(list(files), asked)
    _interview(files, asked, led=led)


@dataclass(frozen=True)
class _Asked:
    """How the answers are wanted. with_model: whether a language model words them; None: of single cases."""

    as_json: bool = False
    heatmaps: Path | None = None
    lang: str = ENGLISH
    with_model: bool | None = None


def _interview(files: Sequence[str], asked: _Asked, *, led: bool) -> NoReturn:
    """Assesses the one case of one file, asking on, and exits with the code."""
    from akazuba.box import open_box
    from akazuba.cli.asking import Asker
    from akazuba.intake.cases import read_cases
    from akazuba.interviews import interview, led_interview
    from akazuba.settings import from_environ

    with errors_shown():
        lines = [line for source in files for line in islice(read_cases(source), 2)]
        if len(lines) != 1 or "-" in files:
            found = "standard input" if "-" in files else f"{len(lines)} cases or more"
            raise InputError("--interactive", "one file with one case", found)
        if asked.heatmaps is not None:
            _make(asked.heatmaps)
        settings = from_environ()
        box = open_box(settings)
        telling, _ = _tellings(settings, asked, box)
        work = partial(interview, box, lines[0], Asker(telling.words.say), asked.heatmaps, telling)
        if led:
            model, sources = leading(settings, box, telling.voice)
            work = partial(
                led_interview,
                box,
                lines[0],
                Asker(telling.words.say),
                model,
                sources,
                asked.heatmaps,
                telling,
            )
    assessment, code = _assessed(lines[0], work)
    failed = _show(assessment, asked, telling.words)
    sys.exit(code or (FAILED if failed else 0))


def _assess_sources(sources: Sequence[str], asked: _Asked) -> NoReturn:
    """Assesses every case of every source, prints each as soon as it is done, exits with the code."""
    from akazuba.box import open_box
    from akazuba.settings import from_environ

    with errors_shown():
        if asked.heatmaps is not None:
            _make(asked.heatmaps)
        settings = from_environ()
        box = open_box(settings)
        tellings = _tellings(settings, asked, box)
    codes = []
    for assessment, code in _with_progress(_assessments(box, sources, asked.heatmaps, *tellings)):
        failed = _show(assessment, asked, tellings[0].words)
        codes.append(code or (FAILED if failed else 0))
    sys.exit(exit_code(codes))


def _tellings(settings: Settings, asked: _Asked, box: Box) -> tuple[Telling, Telling]:
    """How a file's only case is told, and how one of many. Raises ArtefactError for a broken table."""
    from akazuba.cli.asking import WORDING, told_when_slow
    from akazuba.consult import Telling
    from akazuba.llm.voice import SILENT, open_voice
    from akazuba.sources import nearest_findings
    from akazuba.wording.catalogue import catalogue

    words = catalogue(asked.lang, box.plugins.languages)
    if asked.with_model is False:
        return Telling(words, SILENT), Telling(words, SILENT)
    voice = replace(
        open_voice(settings.llm, settings.llm_mmproj, settings.threads, settings.home),
        waiting=partial(told_when_slow, words.fill(WORDING, "--no-llm")),
    )

    @cache
    def sources() -> Nearest:
        return nearest_findings(opened_sources(settings, box.desk.library))

    def nearest(piece: str) -> Sequence[tuple[str, str]]:
        return sources()(piece)

    told = Telling(words, voice, nearest)
    return told, told if asked.with_model else Telling(words, SILENT)


_Coded = tuple["Assessment", int]
"""An assessment and the exit code that it would give alone."""


def _assessments(
    box: Box, sources: Sequence[str], heatmaps: Path | None, alone: Telling, among_others: Telling
) -> Iterator[_Coded]:
    """Every case of every source; a source that cannot be read gives one with its error."""
    from akazuba.consult import assess
    from akazuba.intake.cases import read_cases
    from akazuba.records import Assessment

    for source in sources:
        try:
            lines = read_cases(source)
            first = list(islice(lines, 2))
            telling = alone if len(first) == 1 else among_others
            for line in chain(first, lines):
                yield _assessed(line, partial(assess, box, line, heatmaps, telling))
        except InputError as error:
            yield Assessment(error.item, error=str(error)), UNUSABLE


def _assessed(line: CaseLine, work: Callable[[], Assessment]) -> _Coded:
    """Assesses one case by `work`, whatever goes wrong."""
    from akazuba.records import Assessment

    return guarded(line.case_id, work, lambda case_id, error: Assessment(case_id, error=error))


def _show(assessment: Assessment, asked: _Asked, words: Catalogue) -> bool:
    """Prints one assessment, and to stderr what failed in it; whether something did."""
    from akazuba.report import failures, json_line, one_line, readable

    show(json_line(assessment, words) if asked.as_json else readable(assessment, words))
    problems = failures(assessment)
    for problem in problems:
        click.echo(f"error: {one_line(problem)}", err=True)
    return bool(problems)


def _make(folder: Path) -> None:
    """Makes the folder for heatmaps before any work is done. Raises InputError when it cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        found = f"{folder} ({why_not_opened(problem)})"
        raise InputError("--heatmap", "a folder that can be written", found) from problem
    if not os.access(folder, os.W_OK):
        raise InputError("--heatmap", "a folder that can be written", f"{folder} (write-protected)")


def _with_progress(assessments: Iterable[_Coded]) -> Iterator[_Coded]:
    """Counts the cases on stderr, when somebody is looking and stdout goes elsewhere."""
    watched = sys.stderr is not None and sys.stderr.isatty() and not sys.stdout.isatty()
    started = time.monotonic()
    for count, assessment in enumerate(assessments, start=1):
        yield assessment
        if watched:
            rate = count / (time.monotonic() - started)
            click.echo(f"\r{count} cases, {rate:.1f} a second", nl=False, err=True)
    if watched:
        click.echo(err=True)


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Ctrl-C ends the process at once with exit code 130, in the middle of a slow import too."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a background job of a shell script ignores it
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@main.command()
@click.argument("name", type=click.Choice(["case", "assessment", "guideline", "overlay"]))
def schema(name: str) -> None:
    """Print the JSON Schema of a case, an assessment, a guideline.json or an overlay of local rules.

    Example: akazuba schema case > case.schema.json
    """
    from akazuba.guidelines.library import guideline_schema
    from akazuba.records import json_schema

    of_guidelines = name in ("guideline", "overlay")
    show(json.dumps(guideline_schema(name) if of_guidelines else json_schema(name), indent=2))


main.add_command(ask)
main.add_command(energy)
main.add_command(federate)
main.add_command(guideline)
main.add_command(knowledge)
main.add_command(mcp)
main.add_command(plugin)
main.add_command(privacy)
main.add_command(program)
main.add_command(qkd)
main.add_command(rank)
main.add_command(serve)
main.add_command(site)
main.add_command(store)
main.add_command(audit)
main.add_command(users)
main.add_command(incident)
main.add_command(triage)
main.add_command(growth)
main.add_command(queue)
main.add_command(model)
main.add_command(wording)
