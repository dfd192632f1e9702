"""`akazuba model …`: the models that are installed, measured here, or fetched."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from akazuba.cli.shared import as_text, errors_shown, show
from akazuba.errors import AkazubaError

EXAMPLES = Path(__file__).parents[1] / "examples"
BENCHMARK_CASE = "skin-arm.json"


@click.group()
def model() -> None:
    """The models that are installed.

    Example: akazuba model info
    """


@model.command("info")
@click.option("--json", "as_json", is_flag=True)
def model_info(as_json: bool) -> None:
    """Show the engine's profile in use (full, student or tiny): files, digests, licences, measured quality.

    Example: akazuba model info --json
    """
    from akazuba.diagnosis.profiles import chosen, describe, installed
    from akazuba.settings import from_environ

    with errors_shown():
        settings = from_environ()
        facts = describe(chosen(settings.engine, settings.home, settings.threads))
        facts["installed"] = {name: str(folder) for name, folder in installed(settings.home).items()}
    show(json.dumps(facts) if as_json else as_text(facts))


@model.command("benchmark")
@click.option("--json", "as_json", is_flag=True)
@click.option("--runs", type=click.IntRange(1, 10_000), default=50, show_default=True)
def model_benchmark(as_json: bool, runs: int) -> None:
    """Measure a whole text-and-image consultation on this machine: speed and memory of this process.

    Example: akazuba model benchmark --json
    """
    from akazuba.box import open_box
    from akazuba.diagnosis.profiles import sizes
    from akazuba.settings import from_environ
    from akazuba.speed import measure

    with errors_shown():
        settings = from_environ()
        box = open_box(replace(settings, plugins=()))  # no observer is shown what is only timed
        if isinstance(box.engine, AkazubaError):
            raise box.engine
        facts: dict[str, object] = {"engine": box.engine.version}
        facts |= measure(box, EXAMPLES / BENCHMARK_CASE, runs)
        facts |= sizes(settings.home)
    show(json.dumps(facts) if as_json else as_text(facts))


@model.command("fetch-llm")
@click.argument("name", required=False, metavar="[NAME or URL]")
@click.option("--sha256", help="Digest that the file must have; needed where the makers know none.")
@click.option("--projector", is_flag=True, help="Fetch the projector of a vision model.")
def fetch_llm(name: str | None, sha256: str | None, projector: bool) -> None:
    """Fetch a GGUF language model into the box's home, going on where an earlier try stopped.

    Without a name: list the models that are known by name. The digest is checked before the file is used.

    Example: akazuba model fetch-llm smollm2-135m
    """
    from akazuba.errors import InputError
    from akazuba.llm.fetch import fetch, known_models, model_named
    from akazuba.settings import from_environ

    with errors_shown():
        if name is None:
            for known in known_models().values():
                size = f"{known.size_bytes / 1e6:,.0f} MB" if known.size_bytes else "size not known"
                show(f"{known.name}: {known.title}, {size}, {known.licence}. {known.note}".strip())
            return
        wanted = model_named(name)
        if projector:
            if wanted.projector is None:
                raise InputError("--projector", "a vision model", name)
            wanted = wanted.projector
        path = fetch(wanted, from_environ().home / "llm", _progress, sha256=sha256)
    show(f"{path}\nUse it by AKAZUBA_LLM={path}")


def _progress(done: int, total: int) -> None:
    """Megabytes on stderr, when somebody is looking."""
    if sys.stderr is not None and sys.stderr.isatty():
        of = f" of {total / 1e6:,.0f}" if total else ""
        click.echo(f"\r{done / 1e6:,.0f}{of} MB", nl=False, err=True)
