"""Whether a guideline's tables give the answers that its conformance rows expect, and test each threshold.

`conformance.csv` has a column `case`, a column `source` (where the expected answer comes from), `set NAME`
for each input (empty: not assessed) and `expect NAME` for each result (empty: not looked at, `?`: undecided).
`set date`, `set medicines` and `set allergies` (`|` between them) are about the patient; `expect plan` is the
whole plan, `;` between actions, in the words of `action_words`; `expect fault` holds words of the refusal.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from akazuba.datafile import rows_of
from akazuba.errors import AkazubaError, ArtefactError
from akazuba.guidelines.guideline import Guideline
from akazuba.guidelines.inputs import by_any_name
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import Patient, Result
from akazuba.guidelines.values import Scalar, shown
from akazuba.records import Action

UNDECIDED = "?"
ABOUT_PATIENT = ("date", "medicines", "allergies")


@dataclass(frozen=True)
class Checked:
    """One conformance row; differs: what was expected and found where they differ."""

    case: str
    source: str
    differs: tuple[str, ...]


def action_words(action: Action) -> str:
    """One action of a plan in one line.

    >>> action_words(Action("start", "G", "1", "c", "none", dose="5 mg once daily", what="amlodipine"))
    'start amlodipine: 5 mg once daily'
    """
    words = f"{'withheld ' if action.withheld else ''}{action.action} {action.what}".strip()
    if action.dose:
        words += f": {action.dose}"
    if action.in_days is not None:
        words += f" in {action.in_days:g} days"
    return words


def check(library: Library, guideline: Guideline) -> list[Checked]:
    """Runs every conformance row. Raises ArtefactError when the file itself is unsound."""
    item = f"{guideline.id}/conformance.csv"
    texts = guideline.texts
    if "conformance.csv" not in texts:
        raise ArtefactError(item, "conformance rows", "no such file")
    rows = rows_of(texts["conformance.csv"], item)
    header = tuple(rows[0]) if rows else ()
    if not {"case", "source"} <= set(header) or not any(name.startswith("expect ") for name in header):
        raise ArtefactError(item, "columns case, source, set …, expect …", ", ".join(header))
    return [
        Checked(row["case"], row["source"], tuple(_differences(library, guideline, row, item)))
        for row in rows
    ]


def _differences(library: Library, guideline: Guideline, row: Mapping[str, str], item: str) -> Iterator[str]:
    cells = {key.removeprefix("set "): text for key, text in row.items() if key.startswith("set ") and text}
    expected = {
        key.removeprefix("expect "): text for key, text in row.items() if key.startswith("expect ") and text
    }
    if not expected:
        raise ArtefactError(f"{item}, {row['case']}", "something that is expected", "nothing")
    try:
        given = library.parsed({k: v for k, v in cells.items() if k not in ABOUT_PATIENT}, guideline)
        result = library.run(guideline, given, _patient(cells))
    except AkazubaError as error:
        if "fault" not in expected or expected["fault"] not in str(error):
            yield f"{expected.get('fault', 'an answer')} expected, {error} found"
        return
    if "fault" in expected:
        yield f"a refusal ({expected['fault']}) expected, none found"
    for name, text in expected.items():
        yield from _difference(result, name, text, item)


def _difference(result: Result, name: str, text: str, item: str) -> Iterator[str]:
    if name == "plan":
        yield from _plan_differences(text, result.plan)
    elif name == "applies":
        found = UNDECIDED if result.applies is None else shown(result.applies)
        if found != text:
            yield f"applies: {text} expected, {found} found"
    elif name in result.values:
        undecided = name in result.possible
        if not _agrees(text, result.values[name], undecided=undecided):
            found = f"undecided ({result.possible[name]})" if undecided else shown(result.values[name])
            yield f"{name}: {text} expected, {found} found"
    elif name != "fault":
        raise ArtefactError(f"{item}, expect {name}", "one of " + ", ".join(result.values), name)


def _patient(cells: Mapping[str, str]) -> Patient:
    listed = {
        k: tuple(p.strip() for p in cells.get(k, "").split("|") if p.strip()) for k in ABOUT_PATIENT[1:]
    }
    today = datetime.date.fromisoformat(cells["date"]) if "date" in cells else None
    return Patient(today, listed["medicines"], listed["allergies"])


def _plan_differences(text: str, plan: Sequence[Action]) -> Iterator[str]:
    wanted = [] if text == "none" else sorted(part.strip() for part in text.split(";") if part.strip())
    found = sorted(action_words(action) for action in plan)
    yield from (f"plan: {words!r} expected, not found" for words in wanted if words not in found)
    yield from (f"plan: {words!r} found, not expected" for words in found if words not in wanted)


def _agrees(text: str, value: Scalar | None, *, undecided: bool) -> bool:
    """A number agrees to the decimals that are written."""
    if text == UNDECIDED or undecided:
        return text == UNDECIDED and undecided
    if isinstance(value, float) and not isinstance(value, bool):
        try:
            wanted = float(text)
        except ValueError:
            return False
        decimals = len(text.partition(".")[2])
        return abs(value - wanted) <= 0.5 * 10**-decimals + 1e-9 if decimals else abs(value - wanted) < 1e-9
    return text == (shown(value) or "nothing")


def untested_thresholds(guideline: Guideline) -> list[str]:
    """Thresholds of inputs that no conformance row meets on both sides, as `input number`."""
    rows = rows_of(guideline.texts["conformance.csv"], guideline.id)
    known = by_any_name(guideline.inputs.values())
    tried: dict[str, set[float]] = {}
    for row in rows:
        for key, text in row.items():
            name = key.removeprefix("set ")
            if key.startswith("set ") and text and name in known and known[name].kind == "number":
                tried.setdefault(known[name].name, set()).add(float(text.split()[0]))
    lacking = []
    for table in guideline.tables:
        for name in table.columns:
            item = guideline.inputs.get(name)
            if item is None or item.kind != "number":
                continue
            cells = [row.tests[name] for row in table.rows if name in row.tests]
            near = item.step or max((item.high - item.low) / 100, 0.1)
            for limit in sorted(frozenset[float]().union(*(cell.boundaries for cell in cells))):
                values = [x for x in tried.get(name, ()) if abs(x - limit) <= near + 1e-9]
                sides = {tuple(cell.matches(x) for cell in cells) for x in values}
                if limit not in (item.low, item.high) and len(sides) < 2:
                    lacking.append(f"{table.file}: {name} {limit:g}")
    return list(dict.fromkeys(lacking))
