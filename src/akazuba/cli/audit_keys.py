"""Whose signatures a command of `akazuba audit` believes, and how it fails when none of theirs holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import FAILED
from akazuba.errors import UntrustedError

if TYPE_CHECKING:
    from akazuba.governance.checkpoint import Verifier

KEYS = click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The log's key, as `audit key` wrote it; more than one after an exchange.",
)
WITNESSES = click.option(
    "--witness",
    "witnesses",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The key file of a witness whose cosignatures count; any number.",
)


def keys_of(paths: tuple[Path, ...]) -> list[Verifier]:
    from akazuba.cli.store import read_file
    from akazuba.governance.audit_anchors import KEY_MOST_BYTES, read_key

    return [read_key(read_file(path, "a key file", KEY_MOST_BYTES), str(path)) for path in paths]


@contextmanager
def untrusted_shown() -> Iterator[None]:
    """What does not hold: exit code 1, for the input was sound."""
    from akazuba.report import one_line

    try:
        yield
    except UntrustedError as error:
        click.echo(f"error: {one_line(str(error))}", err=True)
        sys.exit(FAILED)
