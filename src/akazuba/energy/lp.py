"""Linear programmes built from arrays. The only place that knows highspy (extra [energy])."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from akazuba.energy.sun import Floats

Ints = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.floating[Any]] | float


SMALL = 5000
"""Rows up to which presolving takes longer than it saves."""


class NoPlanError(Exception):
    """There is no solver, or it found no optimum: the rules decide. Never leaves this folder."""


class Found(NamedTuple):
    """x: by column. objective: the cost."""

    x: Floats
    objective: float


def has_solver() -> bool:
    return importlib.util.find_spec("highspy") is not None


class Programme:
    """Minimise cost over columns within bounds, subject to rows within bounds."""

    def __init__(self) -> None:
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._cost: list[Floats] = []
        self._row_low: list[Floats] = []
        self._row_high: list[Floats] = []
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._columns = self._rows = 0

    def columns(self, n: int, high: Numbers = np.inf, cost: Numbers = 0.0, low: Numbers = 0.0) -> Ints:
        """N new ones; their numbers."""
        for kept, value in ((self._low, low), (self._high, high), (self._cost, cost)):
            kept.append(_array(value, n))
        self._columns += n
        return np.arange(self._columns - n, self._columns, dtype=np.int32)

    def rows(self, low: Numbers, high: Numbers, *terms: tuple[Ints, Numbers], n: int | None = None) -> None:
        """Each term adds one entry to each of n rows (n: else as many as the first term's columns); a term
        with fewer columns belongs to the last rows.
        """
        n = len(terms[0][0]) if n is None else n
        self._row_low.append(_array(low, n))
        self._row_high.append(_array(high, n))
        numbers = np.arange(self._rows, self._rows + n, dtype=np.int32)
        for columns, values in terms:
            self._entries.append((numbers[n - len(columns) :], columns, _array(values, len(columns))))
        self._rows += n

    def row(self, low: float, high: float, *terms: tuple[Ints, Numbers]) -> None:
        """One row over all columns of its terms."""
        self._row_low.append(_array(low, 1))
        self._row_high.append(_array(high, 1))
        for columns, values in terms:
            numbers = np.full(len(columns), self._rows, dtype=np.int32)
            self._entries.append((numbers, columns, _array(values, len(columns))))
        self._rows += 1

    def solve(self, *, interior: bool = False, seconds: float = 60.0) -> Found:
        """interior: by the interior point method, for large ones. Raises NoPlanError."""
        if not has_solver():
            raise NoPlanError("no solver is installed (extra [energy])")
        import highspy

        rows, columns, values = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        order = np.lexsort((rows, columns))
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = self._columns, self._rows
        model.col_cost_, model.col_lower_, model.col_upper_ = map(
            np.concatenate, (self._cost, self._low, self._high)
        )
        model.row_lower_, model.row_upper_ = np.concatenate(self._row_low), np.concatenate(self._row_high)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.searchsorted(columns[order], np.arange(self._columns + 1)).astype(
            np.int32
        )
        model.a_matrix_.index_ = rows[order]
        model.a_matrix_.value_ = values[order]
        solver: Any = highspy.Highs.__base__()  # type: ignore[misc] # the class itself writes a banner to stdout
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("time_limit", seconds)
        if self._rows < SMALL:
            solver.setOptionValue("presolve", "off")
        if interior:
            solver.setOptionValue("solver", "ipm")
            solver.setOptionValue("run_crossover", "off")
        solver.passModel(model)
        solver.run()
        status = solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise NoPlanError(f"the solver found no optimum ({solver.modelStatusToString(status)})")
        x = np.array(solver.getSolution().col_value)
        return Found(x, float(solver.getInfo().objective_function_value))


def _array(value: Numbers, n: int) -> Floats:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))
