"""A guideline as a spreadsheet workbook and back: one sheet a file, `about` for guideline.json.

Needs the extra `akazuba[spreadsheet]`. What comes back is checked like any guideline before it is written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from akazuba.errors import ArtefactError, InputError
from akazuba.guidelines.guideline import Guideline, read_guideline
from akazuba.guidelines.library import Library, refuse_unsound_plans

ABOUT = "about"
SHEET_NAME_MAX = 31
"""A spreadsheet's limit on the names of sheets."""


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as problem:
        found = "not installed: pip install 'akazuba[spreadsheet]'"
        raise InputError("openpyxl", "the library that reads and writes workbooks", found) from problem
    return openpyxl


def write_workbook(guideline: Guideline, path: Path) -> None:
    """Raises InputError when the file cannot be written."""
    book = _openpyxl().Workbook()
    book.remove(book.active)
    sheet = book.create_sheet(ABOUT)
    texts = guideline.texts
    for key, value in json.loads(texts["guideline.json"]).items():
        sheet.append([key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)])
    for name, text in texts.items():
        if name.endswith(".csv"):
            sheet = book.create_sheet(name.removesuffix(".csv")[:SHEET_NAME_MAX])
            for row in csv.reader(io.StringIO(text)):
                sheet.append(row)
                for cell in sheet[sheet.max_row]:
                    cell.data_type = "s"  # ">= 5" and "1-2" stay text
            sheet.freeze_panes = "B2"
    try:
        book.save(path)
    except OSError as problem:
        raise InputError(
            str(path), "a file that can be written", problem.strerror or str(problem)
        ) from problem


def read_workbook(path: Path, library: Library) -> Guideline:
    """Raises InputError for a file that is no workbook, ArtefactError for an unsound guideline."""
    try:
        book = _openpyxl().load_workbook(path, read_only=True, data_only=True)
    except Exception as problem:  # openpyxl raises whatever the zip or the XML inside makes it raise
        raise InputError(str(path), "a workbook (.xlsx)", str(problem)) from problem
    if ABOUT not in book.sheetnames:
        raise InputError(str(path), f"a sheet {ABOUT!r}", ", ".join(book.sheetnames))
    about = {str(row[0]): _value(row[1]) for row in _rows(book[ABOUT]) if row[0] and len(row) > 1}
    texts = {"guideline.json": json.dumps(about, ensure_ascii=False, indent=2) + "\n"}
    tables = about.get("tables")
    entries = tables if isinstance(tables, list) else []
    listed = [str(entry["file"]) for entry in entries if isinstance(entry, dict) and "file" in entry]
    names = {name.removesuffix(".csv")[:SHEET_NAME_MAX]: name for name in listed}
    for sheet in book.sheetnames:
        if sheet != ABOUT:
            texts[names.get(sheet, f"{sheet}.csv")] = _csv(_rows(book[sheet]))
    guideline = read_guideline(texts, str(about.get("id", "")), library.inputs, library.derived)
    refuse_unsound_plans(guideline, library.formulary)
    return guideline


def write_folder(guideline: Guideline, folder: Path) -> None:
    """Raises InputError when the folder exists with other files, or cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = guideline.texts
        if stray := [p.name for p in folder.iterdir() if p.name not in texts]:
            raise InputError(str(folder), "an empty folder or one of this guideline", stray[0])
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InputError(
            str(folder), "a folder that can be written", problem.strerror or str(problem)
        ) from problem


def _rows(sheet: Any) -> list[list[Any]]:
    rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    return [row for row in rows if any(cell is not None for cell in row)]


def _value(cell: object) -> Any:
    if not isinstance(cell, str):
        return "" if cell is None else cell
    if cell[:1] in "[{":
        try:
            return json.loads(cell)
        except ValueError as problem:
            raise ArtefactError("sheet about", "JSON where a cell begins with [ or {", cell) from problem
    return cell


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = (
        max((place + 1 for place, cell in enumerate(rows[0]) if cell is not None), default=0) if rows else 0
    )
    for row in rows:
        writer.writerow([_cell(cell) for cell in row[:width]])
    return text.getvalue()


def _cell(cell: object) -> str:
    """A cell as text; a spreadsheet makes 5 of "5" and TRUE of "yes" at times."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:g}" if isinstance(cell, int | float) else str(cell)
