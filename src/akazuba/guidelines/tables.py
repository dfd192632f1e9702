"""Decision tables: `if` columns, `then` columns, one rule a row, each with the clause that it comes from.

| policy | what its rows do |
|---|---|
| unique | exactly one row fires: rows that overlap and combinations that no row covers are refused |
| first | the first row that fires decides: gaps and rows that can never be reached are refused |
| collect | every row that fires counts |
| scorecard | the points of each item's row are added up; within an item, as unique |

A cell of a `then` column is a word, a number, yes or no, or a formula in braces:
`{min(15 * weight_kg, 1000)}`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from akazuba.guidelines.cells import Cell, parse_cell
from akazuba.guidelines.formulas import Formula, parse_formula
from akazuba.guidelines.values import FLAGS, Kind, Scalar, Truth, Unassessed, Value, joined, missing_of, shown

Policy = Literal["unique", "first", "collect", "scorecard"]

PLAN_COLUMNS = ("action", "what", "amount", "unit", "frequency", "for_days", "in_days", "tell")
"""`then` columns that make up one action of a plan instead of a variable."""


@dataclass(frozen=True)
class Variable:
    """What a column may hold, whether it is an input or what another table gives."""

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    options: frozenset[Scalar] = frozenset()


@dataclass(frozen=True)
class Row:
    """tests: by variable, only cells that test something. changed: what a local overlay altered, or ""."""

    id: str
    clause: str
    tests: Mapping[str, Cell]
    then: Mapping[str, Scalar | Formula]
    item: str = ""
    changed: str = ""

    def truth(self, values: Mapping[str, Value]) -> Truth:
        """The least true of its cells."""
        lowest = Truth.TRUE
        for name, cell in self.tests.items():
            if (truth := cell.truth(values[name])) < lowest:
                lowest = truth
                if lowest is Truth.FALSE:
                    break
        return lowest

    def missing(self, values: Mapping[str, Value]) -> frozenset[str]:
        """The inputs without which the row cannot be decided."""
        return missing_of(
            values[name] for name, cell in self.tests.items() if cell.truth(values[name]) is Truth.UNKNOWN
        )

    def gives(self, column: str, values: Mapping[str, Value]) -> Value:
        cell = self.then.get(column)
        return cell.value(values) if isinstance(cell, Formula) else cell


@dataclass(frozen=True)
class Outcome:
    """fired: the rows that fire; open: those that may, with the inputs that would tell.
    values: what the table gives to other tables.
    """

    fired: tuple[Row, ...]
    open: tuple[tuple[Row, frozenset[str]], ...]
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """file: its name. gives: variables of its own (for a scorecard, the sum and the highest single item)."""

    file: str
    policy: Policy
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    outputs: Mapping[str, Variable]
    is_plan: bool

    @property
    def reads(self) -> frozenset[str]:
        formulas = (cell for row in self.rows for cell in row.then.values() if isinstance(cell, Formula))
        return frozenset(self.columns).union(*(formula.names for formula in formulas))

    def decide(self, values: Mapping[str, Value]) -> Outcome:
        """values: every variable that the table reads."""
        if self.policy == "scorecard":
            return self._added_up(values)
        if self.policy == "collect":
            truths = [(row, row.truth(values)) for row in self.rows]
            fired = tuple(row for row, truth in truths if truth is Truth.TRUE)
            unsure = tuple((row, row.missing(values)) for row, truth in truths if truth is Truth.UNKNOWN)
            return Outcome(fired, unsure, {})
        candidates = _candidates(self.rows, values)
        if len(candidates) == 1:
            row = candidates[0]
            return Outcome((row,), (), {name: row.gives(name, values) for name in self.outputs})
        missing = frozenset[str]().union(*(row.missing(values) for row in candidates))
        given = {
            name: joined([row.gives(name, values) for row in candidates], missing) for name in self.outputs
        }
        return Outcome((), tuple((row, row.missing(values) or missing) for row in candidates), given)

    def _added_up(self, values: Mapping[str, Value]) -> Outcome:
        fired, unsure = list[Row](), list[tuple[Row, frozenset[str]]]()
        lows, highs, missing = list[float](), list[float](), frozenset[str]()
        for rows in self.items.values():
            candidates = _candidates(rows, values)
            points = [_number(row.gives("points", values)) for row in candidates]
            lows.append(min(points))
            highs.append(max(points))
            if len(candidates) == 1:
                fired += candidates
            else:
                unsure += [(row, row.missing(values)) for row in candidates]
            if lows[-1] != highs[-1]:
                missing = missing.union(*(row.missing(values) for row in candidates))
        total, highest = self.outputs
        if not missing:
            return Outcome(tuple(fired), tuple(unsure), {total: sum(lows), highest: max(lows)})
        given: dict[str, Value] = {
            total: Unassessed(missing, sum(lows), sum(highs)),
            highest: max(lows) if max(lows) == max(highs) else Unassessed(missing, max(lows), max(highs)),
        }
        return Outcome(tuple(fired), tuple(unsure), given)

    @property
    def items(self) -> Mapping[str, tuple[Row, ...]]:
        items: dict[str, list[Row]] = {}
        for row in self.rows:
            items.setdefault(row.item, []).append(row)
        return {item: tuple(rows) for item, rows in items.items()}

    def faults(self, variables: Mapping[str, Variable]) -> str:
        """The first overlap, gap, unreachable row or impossible threshold, in words, or ""."""
        for row in self.rows:
            for name, cell in row.tests.items():
                limits = variables[name].low, variables[name].high
                if beyond := [x for x in cell.boundaries if not limits[0] <= x <= limits[1]]:
                    return f"row {row.id}: {name} {beyond[0]:g} outside {limits[0]:g} to {limits[1]:g}"
        if self.policy == "collect":
            return ""
        groups = self.items.values() if self.policy == "scorecard" else [self.rows]
        unique = self.policy != "first"
        return next((fault for rows in groups if (fault := _fault(rows, variables, unique=unique))), "")


def _number(value: Value) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise AssertionError(value)  # points are checked to be numbers when the table is read


def _candidates(rows: Sequence[Row], values: Mapping[str, Value]) -> list[Row]:
    """The rows that may be the one: all that are not excluded, up to the first that is certain."""
    found = []
    for row in rows:
        truth = row.truth(values)
        if truth is not Truth.FALSE:
            found.append(row)
        if truth is Truth.TRUE:
            break
    return found


# --- reading ------------------------------------------------------------------------------------


def read_table(
    file: str,
    policy: Policy,
    lines: Sequence[Mapping[str, str]],
    variables: Mapping[str, Variable],
    gives: str = "",
) -> Table:
    """lines: the rows of the file, by column header. variables: what `if` columns and formulas may name.

    Raises ValueError that names the row and what was expected.
    """
    if not lines:
        raise ValueError("at least one row expected, none found")
    header = tuple(lines[0])
    columns = tuple(name.removeprefix("if ").strip() for name in header if name.startswith("if "))
    results = tuple(name.removeprefix("then ").strip() for name in header if name.startswith("then "))
    others = {name for name in header if not name.startswith(("if ", "then "))}
    if others - {"row", "item", "clause", "note"} or not {"row", "clause"} <= others:
        raise ValueError(
            f"the columns row, if …, then …, clause and note expected, {', '.join(header)} found"
        )
    for name in columns:
        if name not in variables:
            raise ValueError(
                f"column 'if {name}': a variable that is defined expected, none of that name found"
            )
    if not results or (policy == "scorecard") != (results == ("points",) and "item" in others):
        raise ValueError(
            f"'then …' columns (a scorecard: item and 'then points') expected, {', '.join(header)} found"
        )
    rows = tuple(_row(line, columns, results, variables) for line in lines)
    ids = [row.id for row in rows]
    if repeated := next((id_ for id_ in ids if ids.count(id_) > 1), None):
        raise ValueError(f"row {repeated}: each row's id once expected, a repeated one found")
    outputs: dict[str, Variable] = {}
    if policy == "scorecard":
        outputs = _score_outputs(rows, gives)
    elif policy != "collect":
        outputs = {name: _output(rows, name) for name in results if name not in PLAN_COLUMNS}
    is_plan = "action" in results
    if policy == "collect" and not is_plan:
        raise ValueError("'then action' in a table that collects expected, none found")
    return Table(file, policy, rows, columns, outputs, is_plan)


def _row(
    line: Mapping[str, str], columns: Sequence[str], results: Sequence[str], variables: Mapping[str, Variable]
) -> Row:
    id_ = line["row"].strip()
    if not id_:
        raise ValueError("an id in column 'row' expected, none found")
    tests = {}
    for name in columns:
        variable = variables[name]
        words = frozenset(option for option in variable.options if isinstance(option, str))
        try:
            cell = parse_cell(line[f"if {name}"], variable.kind, words)
        except ValueError as problem:
            raise ValueError(f"row {id_}, column 'if {name}': {problem}") from problem
        if not cell.any:
            tests[name] = cell
    kinds = {name: variable.kind for name, variable in variables.items()}
    then: dict[str, Scalar | Formula] = {}
    for name in results:
        text = line[f"then {name}"].strip()
        if text:
            try:
                then[name] = _result(text, kinds)
            except ValueError as problem:
                raise ValueError(f"row {id_}, column 'then {name}': {problem}") from problem
    clause = line["clause"].strip()
    if not clause:
        raise ValueError(f"row {id_}: a clause expected, none found")
    return Row(id_, clause, tests, then, (line.get("item") or "").strip())


def _result(text: str, kinds: Mapping[str, Kind]) -> Scalar | Formula:
    if text.startswith("{") and text.endswith("}"):
        return parse_formula(text[1:-1], kinds)
    if text in ("yes", "no"):
        return text == "yes"
    try:
        return float(text)
    except ValueError:
        return text


def _output(rows: Sequence[Row], name: str) -> Variable:
    cells = [(row, row.then.get(name)) for row in rows]
    kinds = set[Kind]()
    options = set[Scalar]()
    numbers = []
    for row, cell in cells:
        if cell is None:
            raise ValueError(f"row {row.id}, column 'then {name}': a value in every row expected, none found")
        if isinstance(cell, Formula):
            kinds.add(cell.kind)
            options |= cell.options
            numbers += [-math.inf, math.inf] if cell.kind == "number" else []
        elif isinstance(cell, bool):
            kinds.add("flag")
            options |= FLAGS
        elif isinstance(cell, str):
            kinds.add("choice")
            options.add(cell)
        else:
            kinds.add("number")
            numbers.append(cell)
    if len(kinds) != 1:
        raise ValueError(
            f"column 'then {name}': values of one kind expected, {' and '.join(sorted(kinds))} found"
        )
    kind = kinds.pop()
    if kind == "number":
        whole = all(number == math.floor(number) for number in numbers if math.isfinite(number))
        return Variable(
            "number", min(numbers), max(numbers), 1.0 if whole and math.isfinite(min(numbers)) else 0.0
        )
    return Variable(kind, options=frozenset(options))


def _score_outputs(rows: Sequence[Row], gives: str) -> dict[str, Variable]:
    points: dict[str, list[float]] = {}
    for row in rows:
        value = row.then.get("points")
        if not isinstance(value, float) or not row.item:
            raise ValueError(f"row {row.id}: an item and a number of points expected, {value!r} found")
        points.setdefault(row.item, []).append(value)
    step = 1.0 if all(p == int(p) for many in points.values() for p in many) else 0.0
    lows, highs = [min(p) for p in points.values()], [max(p) for p in points.values()]
    return {
        gives: Variable("number", sum(lows), sum(highs), step),
        f"{gives}_highest": Variable("number", max(lows), max(highs), step),
    }


# --- completeness -------------------------------------------------------------------------------


def _fault(rows: Sequence[Row], variables: Mapping[str, Variable], *, unique: bool) -> str:
    """Tries every combination of values that the cells can tell apart.

    Sets of rows are bits of a number; values that leave the same rows are tried once.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row.tests))
    choices = [_choices(rows, name, variables[name]) for name in columns]
    # rows without a test from a column on: the first of them ends the search, no later row comes before it
    free = [
        sum(1 << place for place, row in enumerate(rows) if not row.tests.keys() & set(columns[depth:]))
        for depth in range(len(columns) + 1)
    ]
    reached = 0
    seen: set[tuple[int, int]] = set()

    def look(depth: int, left: int, path: tuple[str, ...]) -> str:
        nonlocal reached
        if not left:
            return f"no row covers {', '.join(path)}"
        if not unique and (certain := left & free[depth]):
            left &= ((certain & -certain) << 1) - 1
        if (depth, left) in seen:
            return ""
        seen.add((depth, left))
        first = left & -left
        if depth == len(columns) or (not unique and first & free[depth]):
            reached |= first
            if unique and left != first:
                one, other = (rows[place].id for place in _places(left)[:2])
                return f"rows {one} and {other} overlap at {', '.join(path)}"
            return ""
        for point, mask in choices[depth]:
            if fault := look(depth + 1, left & mask, (*path, f"{columns[depth]} = {shown(point)}")):
                return fault
        return ""

    if fault := look(0, (1 << len(rows)) - 1, ()):
        return fault
    lost = [row.id for place, row in enumerate(rows) if not reached >> place & 1]
    return f"row {lost[0]} can never be reached" if lost else ""


def _choices(rows: Sequence[Row], name: str, variable: Variable) -> list[tuple[Scalar, int]]:
    """One value for each set of rows that a column can leave, with that set."""
    tests = [row.tests.get(name) for row in rows]
    found: dict[int, Scalar] = {}
    for point in _points(variable, [cell for cell in tests if cell is not None]):
        mask = sum(1 << place for place, cell in enumerate(tests) if cell is None or cell.matches(point))
        found.setdefault(mask, point)
    return [(point, mask) for mask, point in found.items()]


def _places(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def _points(variable: Variable, cells: Sequence[Cell]) -> list[Scalar]:
    """Values that between them meet every combination of the cells of one column."""
    if variable.kind != "number":
        return sorted(variable.options, key=str)
    ends = sorted(frozenset[float]().union(*(cell.boundaries for cell in cells)))
    low = variable.low if math.isfinite(variable.low) else (ends[0] if ends else 0.0) - 1
    high = variable.high if math.isfinite(variable.high) else (ends[-1] if ends else 0.0) + 1
    around = {low, high, *ends}
    if variable.step:
        around |= {end + side * variable.step for end in ends for side in (-1, 1)}
        around = {round(math.floor(p / variable.step + 0.5) * variable.step, 9) for p in around}
    else:
        around |= {(a + b) / 2 for a, b in pairwise(sorted(around))}
    return [point for point in sorted(around) if low <= point <= high]
