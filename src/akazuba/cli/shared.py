"""What all commands print and how they fail."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import click

from akazuba.errors import AkazubaError, InputError, why_not_opened

FAILED, UNUSABLE = 1, 2
"""Exit codes besides 0."""

ENGLISH = "en"


class _Language(click.Choice):  # type: ignore[type-arg]  # generic from click 8.2 on only
    """One of the box, or of a plugin where some are on: whether a plugin has it, its catalogue tells."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in self.choices or not re.fullmatch("[a-z]{2,3}", value):
            return str(super().convert(value, param, ctx))
        from akazuba.settings import from_environ

        with errors_shown():
            plugins = from_environ().plugins
        return value if plugins else str(super().convert(value, param, ctx))


LANGUAGE = click.option(
    "--lang",
    type=_Language([ENGLISH, "fr", "sw", "rw", "zh"]),
    default=ENGLISH,
    help="Language of the answer's fixed texts; with plugins, theirs too.",
)


def show(text: str | bytes) -> None:
    """Prints to stdout. A reader that went away ends the process quietly (click sees to that)."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as problem:
        fail(f"standard output: expected room to write, found {why_not_opened(problem)}", FAILED)


def fail(message: str, code: int) -> NoReturn:
    """Ends the process at once: what is left to write could not be written."""
    click.echo(f"error: {message}", err=True)
    os._exit(code)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turns an error of ours into `error: …` on stderr and exit code 2."""
    from akazuba.report import one_line

    try:
        yield
    except AkazubaError as error:
        click.echo(f"error: {one_line(str(error))}", err=True)
        sys.exit(UNUSABLE)


@contextmanager
def file_lines(path: Path, longest: int, what: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file, none longer in memory than one byte over `longest`. what: the file should be."""
    try:
        with path.open("rb") as file:
            yield iter(lambda: file.readline(longest + 1), b"")
    except OSError as problem:
        raise InputError(str(path), what, why_not_opened(problem)) from problem


class Answer(Protocol):
    """What is printed of one case: it may hold an error instead of the rest."""

    @property
    def error(self) -> object: ...


Given = TypeVar("Given", bound=Answer)


def guarded(
    case_id: str, work: Callable[[], Given], failed: Callable[[str, str], Given]
) -> tuple[Given, int]:
    """The answer of `work` and the exit code that it would give alone. The one place where a fault of ours is
    caught: it must not cost the other patients of a batch their answer, and its own patient is shown as not
    assessed. failed: makes an answer of a case's id and its error.
    """
    from akazuba.report import harmless

    try:
        answer = work()
    except AkazubaError as error:
        return failed(case_id, str(error)), FAILED
    except Exception as fault:
        for text in traceback.format_exc().splitlines():
            click.echo(harmless(text), err=True)
        return failed(case_id, f"internal fault: expected an assessment, found {fault!r}"), FAILED
    return answer, UNUSABLE if answer.error else 0


def exit_code(codes: Sequence[int]) -> int:
    """Of a whole run, from those of its cases: a single case that cannot be used is unusable input."""
    return UNUSABLE if list(codes) == [UNUSABLE] else FAILED if any(codes) else 0


def as_text(facts: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", as_text(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
