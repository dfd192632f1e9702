"""`akazuba triage` and `akazuba growth`: how urgent, and how a child grows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.shared import FAILED, UNUSABLE, errors_shown, exit_code, guarded, show
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.guidelines.growth import Growth, Measured
    from akazuba.records import Urgency


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="One answer a line, in input order.")
def triage(files: tuple[str, ...], as_json: bool) -> None:
    """Say how urgent each case is, and nothing else (files as for `akazuba assess`).

    Example: akazuba triage case.json
    """
    from akazuba.intake.cases import read_cases
    from akazuba.records import Urgency
    from akazuba.report import json_line, urgency_text
    from akazuba.settings import from_environ
    from akazuba.urgency import open_desk, urgency_of

    def failed(case_id: str, error: str) -> Urgency:
        return Urgency(case_id, error=error)

    words = json_line if as_json else urgency_text
    codes = []
    with errors_shown():
        desk = open_desk(from_environ())
    for source in files:
        try:
            lines = read_cases(source)
            answers = (guarded(line.case_id, partial(urgency_of, desk, line), failed) for line in lines)
            codes += [_shown(answer, code, words) for answer, code in answers]
        except InputError as error:
            codes.append(_shown(failed(error.item, str(error)), UNUSABLE, words))
    sys.exit(exit_code(codes))


def _shown(answer: Urgency, code: int, words: Callable[[Urgency], str | bytes]) -> int:
    show(words(answer))
    if answer.error:
        click.echo(f"error: {answer.case_id}, {answer.error}", err=True)
    return code


@click.command()
@click.option("--sex", type=click.Choice(["male", "female"]))
@click.option("--age-days", type=float)
@click.option("--age-months", type=float, help="Completed months.")
@click.option("--weight-kg", type=float)
@click.option("--height-cm", type=float, help="Length lying under 2 years, height standing from 2 years on.")
@click.option("--muac-mm", type=float, help="Mid-upper-arm circumference.")
@click.option("--head-circumference-cm", type=float)
@click.option("--oedema", is_flag=True, help="Oedema of both feet: weight says nothing then.")
@click.option("--position", type=click.Choice(["lying", "standing"]), help="How the height was measured.")
@click.option(
    "--batch", type=click.Path(path_type=Path), help="NDJSON, one child a line; answers one line each."
)
@click.option("--json", "as_json", is_flag=True)
def growth(batch: Path | None, as_json: bool, **measured: Any) -> None:
    """WHO z-scores of a child (0 to 19 years): weight, height, BMI, head and arm.

    Example: akazuba growth --sex male --age-days 900 --weight-kg 12.1 --height-cm 88 --json
    """
    import msgspec

    from akazuba.guidelines.growth import Measured, growth as scores

    given = {name: value for name, value in measured.items() if value is not None and value is not False}
    if batch is not None:
        if given:
            with errors_shown():
                raise InputError("--batch", "no other measurement beside it", ", ".join(given))
        sys.exit(_batch(batch))
    with errors_shown():
        _refuse_slips(given)
        try:
            child = msgspec.convert(given, Measured)
        except msgspec.ValidationError as problem:
            raise InputError("growth", "measurements of a child", str(problem)) from problem
        if child.weight_kg is None and child.height_cm is None and child.muac_mm is None:
            raise InputError("growth", "a weight, a height or an arm circumference", "none")
        answer = scores(child)
    show(msgspec.json.encode(answer) if as_json else _growth_text(answer))


def _refuse_slips(measured: Mapping[str, Any]) -> None:
    """Raises InputError for a number in another unit, with the guess that its input has."""
    from akazuba.guidelines.inputs import read_inputs
    from akazuba.guidelines.library import LIBRARY

    inputs = read_inputs((LIBRARY / "inputs.csv").read_text(encoding="utf-8"), "inputs.csv")
    for name, value in measured.items():
        if name in inputs and isinstance(value, int | float) and not isinstance(value, bool):
            inputs[name].checked(float(value))


def _batch(path: Path) -> int:
    """Answers each line; returns the exit code."""
    import msgspec

    from akazuba.guidelines.growth import Measured, growth as scores

    code = 0
    with errors_shown():
        for place, line in enumerate(_lines(path), start=1):
            try:
                child: Measured = msgspec.json.decode(line, type=Measured)
                show(msgspec.json.encode(scores(child)))
            except (msgspec.DecodeError, UnicodeDecodeError) as problem:
                error = f"{path}, line {place}: expected measurements of a child, found {problem}"
                show(json.dumps({"id": _id_of(line), "error": error}))
                click.echo(f"error: {error}", err=True)
                code = FAILED
    return code


def _lines(path: Path) -> Iterator[bytes]:
    try:
        stream = sys.stdin.buffer if str(path) == "-" else path.open("rb")
        with stream as file:
            yield from (line for line in file if line.strip())
    except OSError as problem:
        raise InputError(str(path), "a file of children, one a line", why_not_opened(problem)) from problem


def _id_of(line: bytes) -> str:
    try:
        return str(json.loads(line).get("id", ""))
    except (ValueError, AttributeError):
        return ""


def _growth_text(answer: Growth) -> str:
    names = [name for name in answer.__struct_fields__ if name.endswith("_z")]
    lines = [
        f"{name.removesuffix('_z').replace('_', ' ')}: {value:+.2f} SD"
        + ("  implausible: check the measurement and the age" if name in answer.implausible else "")
        for name in names
        if (value := getattr(answer, name)) is not None
    ]
    lines += [
        f"{name.removesuffix('_z').replace('_', ' ')}: none ({why})" for name, why in answer.why.items()
    ]
    return "\n".join(
        [*lines, "WHO Child Growth Standards 2006/2007 (0-5 years), WHO Reference 2007 (5-19 years)"]
    )
