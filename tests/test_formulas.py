"""Arithmetic of doses and scores: what a formula may say, rounding, and numbers that nobody measured."""

from __future__ import annotations

import math

import pytest

from akazuba.guidelines.formulas import MOST_NODES, names_in, parse_formula, truth
from akazuba.guidelines.values import FLAGS, Kind, Truth, Unassessed, Value, joined, shown, span

KINDS: dict[str, Kind] = {"kg": "number", "cm": "number", "fever": "flag", "cough": "flag", "avpu": "choice"}
UNWEIGHED = Unassessed(frozenset({"kg"}), 2, 10)
UNASKED = Unassessed(frozenset({"fever"}), options=FLAGS)


def value(text: str, **values: Value) -> Value:
    return parse_formula(text, KINDS).value(values)


@pytest.mark.parametrize(
    ("text", "kg", "result"),
    [
        ("40 * kg", 12.5, 500),
        ("kg / 4 - 1", 10.0, 1.5),
        ("-kg + 3 ** 2", 4.0, 5),
        ("round(kg)", 2.5, 3),
        ("round(kg)", -2.5, -3),
        ("round(kg, 1)", 0.25, 0.3),
        ("round(kg, 2)", 1.005, 1.01),
        ("round(kg)", 2.4999, 2),
        ("floor(kg)", 2.9999999999, 3),
        ("floor(kg)", 2.999, 2),
        ("ceil(kg)", 3.0000000001, 3),
        ("ceil(kg)", 3.001, 4),
        ("min(kg, 10) + max(kg, 10)", 4.0, 14),
        ("sqrt(kg) + ln(1) + exp(0) + log10(100)", 9.0, 6),
        ("250 if kg < 10 else 500", 10.0, 500),
        ("250 if kg < 10 else 500", 9.99, 250),
        ("5 if 3 <= kg < 6 else 0", 6.0, 0),
    ],
    ids=str,
)
def test_what_is_known_is_computed(text: str, kg: float, result: float) -> None:
    found = value(text, kg=kg)
    assert found == pytest.approx(result, abs=1e-12)
    assert isinstance(found, float)


@pytest.mark.parametrize(
    "text", ["1 / (kg - 4)", "ln(kg - 4)", "sqrt(kg - 5)", "(kg - 5) ** 0.5", "exp(1000 * kg)", "kg ** 1000"]
)
def test_a_number_that_cannot_be_computed_is_none_and_never_a_guess(text: str) -> None:
    assert value(text, kg=4.0) is None
    assert truth(value(f"{text} > 1", kg=4.0)) is Truth.UNKNOWN
    assert value(f"5 if {text} > 1 else 6", kg=4.0) is None


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("40 * kg", 80, 400),
        ("12 - kg", 2, 10),
        ("-kg", -10, -2),
        ("20 / kg", 2, 10),
        ("min(kg, 5)", 2, 5),
        ("round(kg / 4)", 1, 3),
        ("kg ** 2", 4, 100),
        ("1 / (kg - 5)", -math.inf, math.inf),
        ("1 / (kg - 2)", -math.inf, math.inf),
        ("2 ** kg", -math.inf, math.inf),
        ("(kg - 5) ** 2", -math.inf, math.inf),
        ("ln(kg - 2)", -math.inf, math.log(8)),
        ("5 if kg < 20 else 9", 5, 5),
        ("5 if kg < 4 else 9", 5, 9),
    ],
)
def test_a_number_that_nobody_measured_stays_a_range(text: str, low: float, high: float) -> None:
    found = value(text, kg=UNWEIGHED)
    if low == high:
        assert found == low
        return
    assert isinstance(found, Unassessed)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.missing == {"kg"}


def test_a_range_that_makes_no_number_may_be_anything() -> None:
    endless = Unassessed(frozenset({"kg"}), 0, math.inf)
    found = value("kg - cm", kg=endless, cm=Unassessed(frozenset({"cm"}), 0, math.inf))
    assert found == Unassessed(frozenset({"kg", "cm"}))


@pytest.mark.parametrize(
    ("text", "fever", "result"),
    [
        ("fever or cough", True, True),
        ("fever or cough", False, None),
        ("fever and cough", False, False),
        ("fever and not cough", True, None),
        ("known(fever)", UNASKED, False),
        ("known(fever)", True, True),
        ("known(fever)", None, False),
        ("not fever", UNASKED, None),
    ],
    ids=str,
)
def test_what_is_certain_is_said_whatever_was_not_asked(text: str, fever: Value, result: bool | None) -> None:
    unasked = Unassessed(frozenset({"cough"}), options=FLAGS)
    found = value(text, fever=fever, cough=unasked)
    assert found is result if result is not None else isinstance(found, Unassessed)


def test_a_comparison_of_words_needs_both() -> None:
    assert value("avpu == 'pain'", avpu="pain") is True
    assert value("avpu != 'pain'", avpu="pain") is False
    unknown = value("avpu == 'pain'", avpu=Unassessed(frozenset({"avpu"}), options=frozenset({"pain"})))
    assert unknown == Unassessed(frozenset({"avpu"}), options=FLAGS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kg +", "a formula expected, 'kg +' found"),
        ("bmi * 2", "a variable that is defined expected, 'bmi' found"),
        ("kg + fever", "a number expected, the flag 'fever' found"),
        ("fever and kg", "a flag expected, the number 'kg' found"),
        ("kg == fever", "a comparison of two values of one kind expected"),
        ("3 < kg == 4", "a comparison of two values of one kind expected"),
        ("5 if kg else 6", "a flag expected, the number 'kg' found"),
        ("5 if fever else 'no'", "a number expected, the choice"),
        ("round(kg, cm)", "a number of decimals expected, 'round(kg, cm)' found"),
        ("round(kg, 0.5)", "a number of decimals expected"),
        ("open('x')", "or a known function expected, \"open('x')\" found"),
        ("known(bmi)", "or a known function expected"),
        ("kg // 2", "arithmetic, comparison"),
        ("min()", "or a known function expected"),
        (
            " + ".join(["kg"] * MOST_NODES),
            f"a formula of at most {MOST_NODES} parts expected, a longer one found",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_a_formula_that_says_something_else_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - its words are looked at
        parse_formula(text, KINDS)
    assert said in str(refusal.value)


def test_the_names_in_a_text_are_its_variables() -> None:
    assert names_in("round(kg / cm) + known(fever)") == {"kg", "cm", "fever"}
    assert names_in("kg +") == frozenset()


@pytest.mark.parametrize(
    ("several", "result"),
    [
        ([5.0, 5.0], 5.0),
        ([2.0, 3.0], Unassessed(frozenset({"x"}), 2, 3)),
        ([True, 1.0], Unassessed(frozenset({"x"}), options=frozenset({True}))),
        ([None, 3.0], Unassessed(frozenset({"x"}))),
        ([None, "mild"], Unassessed(frozenset({"x"}), options=frozenset({"", "mild"}))),
        ([2.0, UNWEIGHED], Unassessed(frozenset({"x", "kg"}), 2, 10)),
        (["mild", UNASKED], Unassessed(frozenset({"x", "fever"}), options=frozenset({"mild", True, False}))),
    ],
)
def test_several_answers_are_all_that_it_may_still_be(several: list[Value], result: Value) -> None:
    assert joined(several, frozenset({"x"})) == result


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (True, "yes"),
        (False, "no"),
        (2.50, "2.5"),
        (None, ""),
        ("mild", "mild"),
        (Unassessed(frozenset(), 2, 3), "2 to 3"),
        (Unassessed(frozenset(), 2), "at least 2"),
        (Unassessed(frozenset(), high=3), "at most 3"),
        (Unassessed(frozenset()), "not assessed"),
        (Unassessed(frozenset(), options=frozenset({"mild", ""})), "mild or nothing"),
    ],
)
def test_a_value_in_words(found: Value, words: str) -> None:
    assert shown(found) == words
    assert not isinstance(found, Unassessed) or span(found) == words
