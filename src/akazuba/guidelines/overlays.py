"""What one country or site does otherwise: overlays over guidelines that themselves stay as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.datafile import rows_of
from akazuba.errors import AkazubaError, InputError
from akazuba.guidelines.formulas import Formula
from akazuba.guidelines.guideline import Computed, Guideline, read_guideline
from akazuba.guidelines.inputs import Input
from akazuba.records import Value as Record


class Change(Record, frozen=True):
    """One cell of a guideline's table, replaced. column: its header, such as `then amount`."""

    guideline: str
    file: str
    row: str
    column: str
    value: str
    why: Annotated[str, Meta(min_length=3)]


class Stock(Record, frozen=True):
    """A medicine that the place has or has not. instead: what to do without it, in words."""

    medicine: str
    available: bool
    instead: str = ""
    why: str = ""


class Overlay(Record, frozen=True):
    """What one country or site does otherwise; the guideline itself stays as it is."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]
    title: Annotated[str, Meta(min_length=3)]
    issued_by: Annotated[str, Meta(min_length=2)]
    changes: tuple[Change, ...] = ()
    stock: tuple[Stock, ...] = ()


def read_overlay(path: Path) -> Overlay:
    """Raises InputError for a file that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Overlay)
    except OSError as problem:
        raise InputError(str(path), "an overlay file", problem.strerror or str(problem)) from problem
    except msgspec.DecodeError as problem:
        raise InputError(str(path), "an overlay (JSON)", str(problem)) from problem


def changed(
    here: Mapping[str, Guideline],
    change: Change,
    overlay: Overlay,
    shared: Mapping[str, Input],
    derived: Mapping[str, Formula],
) -> Guideline:
    """The guideline with one cell replaced, checked as if it had been published so. here: by id.

    Raises InputError for a cell that is not there or a value with which the guideline is unsound.
    """
    item = (
        f"overlay {overlay.id}, {change.guideline}/{change.file}, row {change.row}, column {change.column!r}"
    )
    if change.guideline not in here:
        raise InputError(item, "a guideline that is installed", change.guideline)
    old = here[change.guideline]
    texts = old.texts
    rows = rows_of(texts[change.file], change.file) if change.file in texts else []
    key = "name" if change.file == "formulas.csv" else "row"
    if change.column != "formula" and not change.column.startswith(("if ", "then ")):
        raise InputError(item, "a column 'if …', 'then …' or 'formula'", change.column)
    if not any(row.get(key) == change.row and change.column in row for row in rows):
        raise InputError(item, "a cell of the guideline", "none there")
    for row in rows:
        if row.get(key) == change.row:
            row[change.column] = change.value
    texts = {**texts, change.file: _as_csv(rows)}
    try:
        new = read_guideline(texts, change.guideline, shared, derived)
    except AkazubaError as problem:
        raise InputError(item, "a value with which the guideline is sound", str(problem)) from problem
    says = f"{overlay.title} ({overlay.issued_by}): {change.why}"
    marked = {(t.file, r.id): r.changed for t in old.tables for r in t.rows if r.changed}
    marked[change.file, change.row] = says
    steps = tuple(
        step
        if isinstance(step, Computed)
        else replace(
            step, rows=tuple(replace(row, changed=marked.get((step.file, row.id), "")) for row in step.rows)
        )
        for step in new.steps
    )
    return replace(new, steps=steps)


def _as_csv(rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
