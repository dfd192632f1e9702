"""Rows of a data file that a clinician can edit: read one by one, so that a fault is named by its row."""

from __future__ import annotations

import csv
import io
import json
import sys
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


def rows_of(text: str, file: str) -> list[dict[str, str]]:
    """The rows of a CSV file by header, empty lines left out. Raises ArtefactError for an unsound one."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader if any(sys.intern(cell.strip()) for cell in line)]
    except csv.Error as problem:
        raise ArtefactError(
            f"{file}, line {reader.line_num}", "comma-separated values", str(problem)
        ) from problem
    if not lines:
        raise ArtefactError(file, "a header and rows", "an empty file")
    header = [cell.strip() for cell in lines[0][1]]
    if len(set(header)) != len(header):
        raise ArtefactError(file, "each column once", next(h for h in header if header.count(h) > 1))
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise ArtefactError(f"{file}, line {number}", f"{len(header)} cells", f"{len(line)} ({line[0]})")
    return [
        dict(zip(header, (sys.intern(cell.strip()) for cell in line), strict=True)) for _, line in lines[1:]
    ]
