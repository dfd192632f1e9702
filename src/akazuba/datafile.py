"""Rows of a data file that a clinician can edit: read one by one, so that a fault is named by its row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from akazuba.errors import ArtefactError
from akazuba.records import Value

Row = TypeVar("Row", bound=Value)


def read_rows(raw: Sequence[msgspec.Raw], kind: type[Row], item: str) -> tuple[Row, ...]:
    """item: file and sort of row, such as "iitt.json, rule"; the row's number, id or name follows it.

    Raises ArtefactError for the first row that is no `kind`.
    """
    return tuple(_read(row, kind, f"{item} {place}") for place, row in enumerate(raw, start=1))


def _read(row: msgspec.Raw, kind: type[Row], item: str) -> Row:
    try:
        return msgspec.json.decode(row, type=kind)
    except msgspec.DecodeError as problem:
        content = json.loads(bytes(row))
        name = content.get("id") or content.get("name") if isinstance(content, dict) else None
        raise ArtefactError(f"{item} ({name})", "a sound row", str(problem)) from problem


def refuse_repeats(item: str, names: Iterable[str]) -> None:
    """Raises ArtefactError for the first name that comes twice; item as in `read_rows`."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ArtefactError(f"{item} {name}", "each once", "a repeated one")
        seen.add(name)
