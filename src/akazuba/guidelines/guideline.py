"""One guideline: a folder that a clinician can read and edit without code.

| file | holds |
|---|---|
| guideline.json | title, publisher, edition, licence, review state, for whom it is, which tables it has |
| clauses.csv | each clause, its page, what it says; `opened: …` when its text was read, else `unverified` |
| inputs.csv | questions that no other guideline asks (may be absent) |
| formulas.csv | what is computed (may be absent) |
| *.csv | its decision tables |
| conformance.csv | cases with the answer that the guideline gives |

Everything is checked when it is read: a guideline with an unknown variable, overlapping rows, a gap or a row
without a clause is refused, and the file and the row are named.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from akazuba.datafile import rows_of
from akazuba.errors import ArtefactError
from akazuba.guidelines.formulas import Formula, names_in, parse_formula
from akazuba.guidelines.inputs import Input, read_inputs
from akazuba.guidelines.tables import PLAN_COLUMNS, Policy, Table, Variable, read_table
from akazuba.guidelines.values import Kind, Unassessed, Value, shown
from akazuba.records import Value as Record

Words = Annotated[str, Meta(min_length=3)]
Csv = Annotated[str, Meta(pattern=r"^[a-z0-9_-]+\.csv$")]

UNVERIFIED = "unverified"
OPENED = "opened: "
NOT_TABLES = ("clauses.csv", "inputs.csv", "formulas.csv", "conformance.csv")


GuidelineKind = Literal["emergency", "illness", "chronic", "preventive", "score"]
"""In this order their actions stand in a plan; chronic and preventive care wait after an emergency."""


class TableEntry(Record, frozen=True):
    """gives: the name of a scorecard's sum."""

    file: Csv
    policy: Policy
    gives: str = ""


class About(Record, frozen=True):
    """What stands in guideline.json.

    applies: a formula, true for the patients whom the guideline is for; "" for nobody without being asked.
    domain: the range of an input within which the guideline may be used at all; outside it is refused.
    results: what is shown first. raises: by result, the words that make a patient red or yellow.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]
    title: Words
    publisher: Words
    edition: Annotated[str, Meta(min_length=1)]
    licence: Words
    review: Words
    about: Words
    kind: GuidelineKind
    tables: tuple[TableEntry, ...] = ()
    applies: str = ""
    domain: Mapping[str, tuple[float, float]] = {}
    results: tuple[str, ...] = ()
    raises: Mapping[str, Mapping[str, Literal["red", "yellow"]]] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clause:
    """page: "" unless the text was opened. source: "unverified", or where it was read."""

    id: str
    page: str
    says: str
    source: str

    @property
    def verified(self) -> bool:
        return self.source.startswith(OPENED)


@dataclass(frozen=True)
class Computed:
    """A named formula of formulas.csv."""

    name: str
    formula: Formula
    unit: str
    clause: str

    def value(self, values: Mapping[str, Value]) -> Value:
        """A formula that gives no number (a division by zero) tells as little as an unassessed one."""
        computed = self.formula.value(values)
        return Unassessed(self.formula.names, options=self.formula.options) if computed is None else computed


@dataclass(frozen=True)
class Guideline:
    """steps: formulas and tables, each after those that it reads. inputs: those that it reads.

    files: its folder, or the text of its files where they are no folder's (an overlay changed them).
    """

    about: About
    clauses: Mapping[str, Clause]
    inputs: Mapping[str, Input]
    steps: tuple[Computed | Table, ...]
    applies: Formula | None
    files: Mapping[str, str] | Path

    @property
    def id(self) -> str:
        return self.about.id

    @property
    def texts(self) -> Mapping[str, str]:
        """Its files. Raises ArtefactError like `read_folder`."""
        return read_folder(self.files) if isinstance(self.files, Path) else self.files

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(step for step in self.steps if isinstance(step, Table))


def read_folder(folder: Path) -> dict[str, str]:
    """The text of each file of a guideline's folder. Raises ArtefactError when it cannot be read."""
    try:
        return {
            path.name: path.read_text(encoding="utf-8-sig")
            for path in sorted(folder.iterdir())
            if path.suffix in (".csv", ".json") and not path.name.startswith(".")
        }
    except (OSError, UnicodeDecodeError) as problem:
        raise ArtefactError(str(folder), "a guideline's folder of UTF-8 text", str(problem)) from problem


def read_guideline(
    files: Mapping[str, str] | Path, name: str, shared: Mapping[str, Input], derived: Mapping[str, Formula]
) -> Guideline:
    """files: its folder, or its files' texts. shared: inputs of all guidelines; derived: computed ones.

    Raises ArtefactError that names the file and the row.
    """
    texts = read_folder(files) if isinstance(files, Path) else files
    about = _about(texts, name)
    inputs = dict(shared)
    if "inputs.csv" in texts:
        for own in read_inputs(texts["inputs.csv"], f"{name}/inputs.csv").values():
            if own.name in shared:
                raise ArtefactError(
                    f"{name}/inputs.csv, {own.name}", "a name of its own", "one that all share"
                )
            inputs[own.name] = own
    clauses = _clauses(texts, name)
    narrowed = {item.name: _variable(item, about) for item in inputs.values()}
    _refuse_unsound_domain(about, inputs)
    steps, variables = _steps(texts, name, about, narrowed)
    for step in steps:
        _refuse_unsound(step, name, clauses, variables)
    if unknown := [result for result in about.results if result not in variables]:
        raise ArtefactError(f"{name}/guideline.json, results", "variables of its tables", unknown[0])
    _refuse_unsound_raises(about, variables)
    applies = _applies(about, {key: variable.kind for key, variable in narrowed.items()})
    read = frozenset[str]().union(
        *(step.reads if isinstance(step, Table) else step.formula.names for step in steps),
        applies.names if applies else (),
    )
    if unused := sorted(own for own in inputs if own not in shared and own not in read):
        raise ArtefactError(
            f"{name}/inputs.csv, {unused[0]}", "an input that a table reads", "one that none does"
        )
    behind = frozenset[str]().union(*(derived[n].names for n in _closure(read & set(derived), derived)))
    used = {key: item for key, item in inputs.items() if key in read | behind | set(about.domain)}
    return Guideline(about, clauses, used, steps, applies, files)


def _refuse_unsound_domain(about: About, inputs: Mapping[str, Input]) -> None:
    for name, (low, high) in about.domain.items():
        if name not in inputs or inputs[name].kind != "number" or low > high:
            item = f"{about.id}/guideline.json, domain"
            raise ArtefactError(
                item, "a number's name with a range from low to high", f"{name}: {low} to {high}"
            )


def _refuse_unsound_raises(about: About, variables: Mapping[str, Variable]) -> None:
    for name, levels in about.raises.items():
        item = f"{about.id}/guideline.json, raises"
        if name not in about.results:
            raise ArtefactError(item, "one of its results", name)
        words = {shown(option) for option in variables[name].options}
        if stray := sorted(set(levels) - words):
            raise ArtefactError(f"{item}, {name}", "one of " + ", ".join(sorted(words)), stray[0])


def _refuse_unsound(
    step: Computed | Table, name: str, clauses: Mapping[str, Clause], variables: Mapping[str, Variable]
) -> None:
    if isinstance(step, Computed):
        _refuse_unknown_clause(clauses, step.clause, f"{name}/formulas.csv, {step.name}")
        return
    if fault := step.faults(variables):
        raise ArtefactError(
            f"{name}/{step.file}", "thresholds in range, one row for every combination", fault
        )
    for row in step.rows:
        _refuse_unknown_clause(clauses, row.clause, f"{name}/{step.file}, row {row.id}")


def _applies(about: About, kinds: Mapping[str, Kind]) -> Formula | None:
    try:
        applies = parse_formula(about.applies, kinds) if about.applies else None
    except ValueError as problem:
        raise ArtefactError(
            f"{about.id}/guideline.json, applies", "a formula of inputs", str(problem)
        ) from problem
    if applies is not None and applies.kind != "flag":
        raise ArtefactError(f"{about.id}/guideline.json, applies", "yes or no", about.applies)
    return applies


def _closure(names: frozenset[str], derived: Mapping[str, Formula]) -> set[str]:
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= (derived[name].names & set(derived)) - found
    return found


def _about(texts: Mapping[str, str], name: str) -> About:
    if "guideline.json" not in texts:
        raise ArtefactError(f"{name}/guideline.json", "the guideline's own description", "no such file")
    try:
        about = msgspec.json.decode(texts["guideline.json"], type=About)
    except msgspec.DecodeError as problem:
        raise ArtefactError(f"{name}/guideline.json", "a guideline's description", str(problem)) from problem
    if about.id != name:
        raise ArtefactError(f"{name}/guideline.json, id", f"the folder's name {name}", about.id)
    listed = [entry.file for entry in about.tables]
    on_disk = [file for file in texts if file.endswith(".csv") and file not in NOT_TABLES]
    for file in (*listed, "clauses.csv"):
        if file not in texts:
            raise ArtefactError(f"{name}/{file}", "a file of the guideline's folder", "no such file")
    if stray := [file for file in on_disk if file not in listed]:
        raise ArtefactError(f"{name}/{stray[0]}", "a table that guideline.json lists", "one that it does not")
    return about


def _clauses(texts: Mapping[str, str], name: str) -> dict[str, Clause]:
    found: dict[str, Clause] = {}
    for row in rows_of(texts["clauses.csv"], f"{name}/clauses.csv"):
        item = f"{name}/clauses.csv, {row.get('clause')}"
        if set(row) != {"clause", "page", "says", "source"}:
            raise ArtefactError(
                f"{name}/clauses.csv", "the columns clause, page, says, source", ", ".join(row)
            )
        if row["source"] != UNVERIFIED and not row["source"].startswith(OPENED):
            raise ArtefactError(item, f"a source '{UNVERIFIED}' or '{OPENED}…'", repr(row["source"]))
        if row["source"] == UNVERIFIED and row["page"]:
            raise ArtefactError(item, "no page for a text that nobody opened", row["page"])
        if not row["clause"] or not row["says"] or row["clause"] in found:
            raise ArtefactError(item, "an id, once, and what the clause says", "none or a repeated one")
        found[row["clause"]] = Clause(row["clause"], row["page"], row["says"], row["source"])
    return found


def _refuse_unknown_clause(clauses: Mapping[str, Clause], clause: str, item: str) -> None:
    if clause not in clauses:
        raise ArtefactError(item, "a clause of clauses.csv", clause or "none")


@cache
def _whole_variable(item: Input) -> Variable:
    return Variable(item.kind, item.low, item.high, item.step, item.options)


def _variable(item: Input, about: About) -> Variable:
    if item.name not in about.domain:
        return _whole_variable(item)
    low, high = about.domain[item.name]
    return replace(_whole_variable(item), low=low, high=high)


def _steps(
    texts: Mapping[str, str], name: str, about: About, inputs: Mapping[str, Variable]
) -> tuple[tuple[Computed | Table, ...], dict[str, Variable]]:
    """Reads formulas and tables in an order in which each comes after those that it reads."""
    formulas = {row["name"]: row for row in _formula_rows(texts, name)}
    lines = {entry.file: rows_of(texts[entry.file], f"{name}/{entry.file}") for entry in about.tables}
    makers = dict.fromkeys(formulas, "")
    for entry in about.tables:
        for output in _announced(entry, lines[entry.file]):
            makers[output] = entry.file
    if clash := sorted(set(makers) & set(inputs)):
        raise ArtefactError(
            f"{name}/{makers[clash[0]] or 'formulas.csv'}, {clash[0]}", "a new name", "an input's"
        )
    wanted = {key: names_in(row["formula"]) for key, row in formulas.items()}
    for file, rows in lines.items():
        columns = rows[0] if rows else {}
        asked = frozenset(key.removeprefix("if ").strip() for key in columns if key.startswith("if "))
        cells = (cell for row in rows for cell in row.values() if cell.startswith("{"))
        wanted[file] = asked.union(*(names_in(cell[1:-1]) for cell in cells))
    needs = {key: {makers[n] or n for n in names if n in makers} - {key} for key, names in wanted.items()}
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as problem:
        raise ArtefactError(
            name, "tables and formulas that do not need one another", str(problem.args[1])
        ) from problem
    entries = {entry.file: entry for entry in about.tables}
    variables, steps = dict(inputs), list[Computed | Table]()
    for key in order:
        if key in entries:
            table = _table(entries[key], lines[key], variables, name)
            steps.append(table)
            variables |= table.outputs
        else:
            computed = _computed(formulas[key], variables, name)
            steps.append(computed)
            variables[key] = Variable(computed.formula.kind, options=computed.formula.options)
    return tuple(steps), variables


def _formula_rows(texts: Mapping[str, str], name: str) -> Iterator[dict[str, str]]:
    if "formulas.csv" not in texts:
        return
    for row in rows_of(texts["formulas.csv"], f"{name}/formulas.csv"):
        if set(row) != {"name", "formula", "unit", "clause"}:
            raise ArtefactError(
                f"{name}/formulas.csv", "the columns name, formula, unit, clause", ", ".join(row)
            )
        yield row


def _announced(entry: TableEntry, rows: Sequence[Mapping[str, str]]) -> list[str]:
    if entry.policy == "scorecard":
        return [entry.gives, f"{entry.gives}_highest"]
    header = rows[0] if rows and entry.policy != "collect" else {}
    names = (key.removeprefix("then ").strip() for key in header if key.startswith("then "))
    return [key for key in names if key not in PLAN_COLUMNS]


def _table(
    entry: TableEntry, rows: Sequence[Mapping[str, str]], variables: Mapping[str, Variable], name: str
) -> Table:
    if (entry.policy == "scorecard") != bool(entry.gives):
        raise ArtefactError(
            f"{name}/guideline.json, {entry.file}", "'gives' for a scorecard only", repr(entry.gives)
        )
    try:
        return read_table(entry.file, entry.policy, rows, variables, entry.gives)
    except ValueError as problem:
        raise ArtefactError(f"{name}/{entry.file}", "a sound table", str(problem)) from problem


def _computed(row: Mapping[str, str], variables: Mapping[str, Variable], name: str) -> Computed:
    kinds = {key: variable.kind for key, variable in variables.items()}
    try:
        return Computed(row["name"], parse_formula(row["formula"], kinds), row["unit"], row["clause"])
    except ValueError as problem:
        raise ArtefactError(
            f"{name}/formulas.csv, {row['name']}", "a sound formula", str(problem)
        ) from problem
