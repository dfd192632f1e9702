"""Arithmetic in a guideline: `weight_kg / (height_cm / 100) ** 2`, `systolic_mmhg >= 140 and not pregnant`.

The notation is Python's for arithmetic, comparison, `and` / `or` / `not` and `a if b else c`, with the
functions below and `known(x)`, which is true when x was assessed. Nothing else is accepted, so a formula
cannot do anything but compute. What was not assessed is carried along as the range in which it may lie.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from akazuba.guidelines.values import (
    FLAGS,
    Kind,
    Scalar,
    Truth,
    Unassessed,
    Value,
    joined,
    missing_of,
    unknown_flag,
)

_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _half_up(x: float, decimals: float = 0) -> float:
    """Rounds halves away from zero, as people do; 1e-9 forgives binary fractions."""
    factor = 10 ** int(decimals)
    return math.copysign(math.floor(abs(x) * factor + 0.5 + 1e-9) / factor, x)


_RISING: Mapping[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "round": _half_up,
    "floor": lambda x: float(math.floor(x + 1e-9)),
    "ceil": lambda x: float(math.ceil(x - 1e-9)),
    "exp": math.exp,
    "ln": math.log,
    "log10": math.log10,
    "sqrt": math.sqrt,
}
"""Functions that never fall when an argument rises, so that a range maps onto a range."""


MOST_NODES = 2000
"""Parts of one formula; nobody can read more."""


@dataclass(frozen=True)
class Formula:
    """names: the variables that it reads."""

    text: str
    names: frozenset[str]
    kind: Kind
    options: frozenset[Scalar]

    @cached_property
    def _tree(self) -> ast.expr:
        """Read again when it is first used: most guidelines are not for most patients."""
        return ast.parse(self.text, mode="eval").body

    def value(self, values: Mapping[str, Value]) -> Value:
        """The result. A number that cannot be computed (a division by zero) is None."""
        try:
            return _evaluate(self._tree, values)
        except (ArithmeticError, ValueError):
            return None


def parse_formula(text: str, kinds: Mapping[str, Kind]) -> Formula:
    """kinds: the variables that may be named. Raises ValueError that says what was expected.

    >>> bmi = parse_formula("kg / m ** 2", {"kg": "number", "m": "number"})
    >>> round(bmi.value({"kg": 70.0, "m": 1.75}), 1)
    22.9
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise ValueError(f"a formula expected, {text!r} found") from problem
    if len(list(ast.walk(tree))) > MOST_NODES:
        raise ValueError(f"a formula of at most {MOST_NODES} parts expected, a longer one found")
    kind = _kind(tree, kinds)
    names = _names(tree)
    words = frozenset[Scalar](
        node.value
        for node in _results(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return Formula(text.strip(), names, kind, FLAGS if kind == "flag" else words)


def names_in(text: str) -> frozenset[str]:
    """The variables that a formula names; none of one that cannot be read (`parse_formula` refuses it)."""
    try:
        return _names(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()


def _names(tree: ast.AST) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - {*_RISING, "known"}


def _results(tree: ast.expr) -> list[ast.expr]:
    return [*_results(tree.body), *_results(tree.orelse)] if isinstance(tree, ast.IfExp) else [tree]


def _kind(node: ast.expr, kinds: Mapping[str, Kind]) -> Kind:  # noqa: C901, PLR0911, PLR0912 - one case a kind of node
    match node:
        case ast.Constant(value=bool()):
            return "flag"
        case ast.Constant(value=int() | float()):
            return "number"
        case ast.Constant(value=str()):
            return "choice"
        case ast.Name(id=name):
            if name not in kinds:
                raise ValueError(f"a variable that is defined expected, {name!r} found")
            return kinds[name]
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            _expect("number", kinds, left, right)
            return "number"
        case ast.UnaryOp(ast.USub(), operand):
            _expect("number", kinds, operand)
            return "number"
        case ast.UnaryOp(ast.Not(), operand):
            _expect("flag", kinds, operand)
            return "flag"
        case ast.BoolOp(_, operands):
            _expect("flag", kinds, *operands)
            return "flag"
        case ast.Compare(left, ops, comparators):
            sides = (left, *comparators)
            if all(type(op) in _COMPARISONS for op in ops):
                _expect("number", kinds, *sides)
            elif (
                len(ops) != 1
                or not isinstance(ops[0], ast.Eq | ast.NotEq)
                or len({_kind(s, kinds) for s in sides}) != 1
            ):
                raise ValueError(
                    f"a comparison of two values of one kind expected, {ast.unparse(node)!r} found"
                )
            return "flag"
        case ast.IfExp(test, body, orelse):
            _expect("flag", kinds, test)
            _expect(_kind(body, kinds), kinds, orelse)
            return _kind(body, kinds)
        case ast.Call(ast.Name(id="known"), [ast.Name(id=name)], []) if name in kinds:
            return "flag"
        case ast.Call(ast.Name(id=name), args, []) if name in _RISING and args:
            _expect("number", kinds, *args)
            if name == "round" and not all(
                isinstance(a, ast.Constant) and isinstance(a.value, int) for a in args[1:]
            ):
                raise ValueError(f"a number of decimals expected, {ast.unparse(node)!r} found")
            return "number"
    raise ValueError(
        f"arithmetic, comparison, and / or / not, or a known function expected, {ast.unparse(node)!r} found"
    )


def _expect(kind: Kind, kinds: Mapping[str, Kind], *nodes: ast.expr) -> None:
    for node in nodes:
        if (found := _kind(node, kinds)) != kind:
            raise ValueError(f"a {kind} expected, the {found} {ast.unparse(node)!r} found")


def _evaluate(node: ast.expr, values: Mapping[str, Value]) -> Value:  # noqa: C901, PLR0911 - one case a kind of node
    match node:
        case ast.Constant(value=value):
            return value if isinstance(value, bool | str) else float(cast("float", value))
        case ast.Name(id=name):
            return values[name]
        case ast.Call(ast.Name(id="known"), [ast.Name(id=name)]):
            return not isinstance(values[name], Unassessed) and values[name] is not None
        case ast.BinOp(left, op, right):
            return _combine(_ARITHMETIC[type(op)], _evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(ast.USub(), operand):
            return _combine(operator.sub, 0.0, _evaluate(operand, values))
        case ast.UnaryOp(ast.Not(), operand):
            inner = _evaluate(operand, values)
            return not inner if isinstance(inner, bool) else inner
        case ast.BoolOp(op, operands):
            said = [_evaluate_or_none(operand, values) for operand in operands]
            return _either(said, ends_it=isinstance(op, ast.Or))
        case ast.Compare(left, ops, comparators):
            sides = [_evaluate(side, values) for side in (left, *comparators)]
            return _either(
                [_compare(op, *pair) for op, *pair in zip(ops, sides, sides[1:], strict=False)], ends_it=False
            )
        case ast.IfExp(test, body, orelse):
            condition = _evaluate(test, values)
            if condition is None:
                return None
            if not isinstance(condition, Unassessed):
                return _evaluate(body if condition else orelse, values)
            return joined([_evaluate(body, values), _evaluate(orelse, values)], condition.missing)
        case ast.Call(ast.Name(id=name), args):
            return _call(_RISING[name], [_evaluate(arg, values) for arg in args])
    raise AssertionError(ast.dump(node))


def _evaluate_or_none(node: ast.expr, values: Mapping[str, Value]) -> Value:
    try:
        return _evaluate(node, values)
    except (ArithmeticError, ValueError):
        return None


def _range(value: Value) -> tuple[float, float]:
    if isinstance(value, Unassessed):
        return value.low, value.high
    if value is None:
        raise ValueError("no number")
    return float(value), float(value)


def _combine(op: Callable[[float, float], float], left: Value, right: Value) -> Value:
    lefts, rights = _range(left), _range(right)
    missing = missing_of((left, right))
    if op is operator.pow and (lefts[0] < 0 or rights[0] != rights[1]):
        if missing:
            return Unassessed(missing)
        if rights[0] % 1:
            raise ValueError("a root of a negative number")
    if not missing:
        return op(lefts[0], rights[0])
    if op is operator.truediv and rights[0] <= 0 <= rights[1]:
        return Unassessed(missing)
    corners = [op(a, b) for a in lefts for b in rights]
    if any(math.isnan(corner) for corner in corners):
        return Unassessed(missing)
    return Unassessed(missing, min(corners), max(corners))


def _call(function: Callable[..., float], args: list[Value]) -> Value:
    missing = missing_of(args)
    ranges = [_range(arg) for arg in args]
    if not missing:
        return float(function(*(low for low, _ in ranges)))
    return Unassessed(
        missing,
        _end(function, [r[0] for r in ranges], -math.inf),
        _end(function, [r[1] for r in ranges], math.inf),
    )


def _end(function: Callable[..., float], args: list[float], otherwise: float) -> float:
    try:
        return float(function(*args))
    except (ValueError, ArithmeticError):
        return otherwise


def _either(values: list[Value], *, ends_it: bool) -> Value:
    """Kleene's or (ends_it=True) and and (ends_it=False)."""
    if any(value is ends_it for value in values):
        return ends_it
    if None in values:
        return None
    if missing := missing_of(values):
        return unknown_flag(missing)
    return not ends_it


def _compare(op: ast.cmpop, left: Value, right: Value) -> Value:
    missing = missing_of((left, right))
    if isinstance(op, ast.Eq | ast.NotEq):
        if missing:
            return unknown_flag(missing)
        return (left == right) is isinstance(op, ast.Eq)
    test = _COMPARISONS[type(op)]
    lefts, rights = _range(left), _range(right)
    corners = {test(a, b) for a in lefts for b in rights}
    return corners.pop() if len(corners) == 1 else unknown_flag(missing)


def truth(value: Value) -> Truth:
    """What could not be computed is as unknown as what nobody assessed."""
    if isinstance(value, bool):
        return Truth.TRUE if value else Truth.FALSE
    return Truth.UNKNOWN
