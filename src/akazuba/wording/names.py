"""What the inputs and results of guidelines are called in a sentence (`names.tsv`).

A row has a machine name and its words: those of a sign that is there ("stiff neck"), or with the place of
the value and its unit ("MUAC {} mm"). What no row names (an input of a place's own guideline) is said by its
question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from akazuba.wording.catalogue import shipped_table

HOLE = "{}"
_CALLED = {
    "chest-xray": "chest X-ray",
    "pneumonia-bacterial": "bacterial pneumonia",
    "pneumonia-viral": "viral pneumonia",
}
_ONE = re.compile(r"(?<![\d.])1 (day|minute|month|year)s$")
_MACHINE = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")


@cache
def names() -> Mapping[str, str]:
    """Machine name -> its words."""
    return dict(row.split("\t") for row in shipped_table("names.tsv").decode().splitlines())


def named(name: str) -> str:
    """An input or a result without a value.

    >>> named("temperature_c"), named("cough_days"), named("tb_screen"), named("my_own_score")
    ('temperature', 'cough', 'TB screen', 'my own score')
    """
    words = names().get(name, name.replace("_", " "))
    return words.partition(HOLE)[0].rstrip(" :").removesuffix(" for")


def label(name: str) -> str:
    """What a picture is, or what a network sees in it.

    >>> label("skin-photo"), label("chest-xray"), label("basal-cell-carcinoma")
    ('skin photo', 'chest X-ray', 'basal cell carcinoma')
    """
    return _CALLED.get(name) or name.replace("_", " ").replace("-", " ")


def with_names(text: str) -> str:
    """A text in which machine names may stand.

    >>> with_names("no dose without egfr_ml_min"), with_names("bmi"), with_names("give zinc")
    ('no dose without eGFR', 'BMI', 'give zinc')
    """
    return named(text) if text in names() else _MACHINE.sub(lambda found: named(found[0]), text)


def valued(name: str, value: str, question: str = "") -> str:
    """An input or a result with its value, as `values.shown` writes it. question: of the input.

    >>> valued("temperature_c", "37.6"), valued("stiff_neck", "yes"), valued("stiff_neck", "no")
    ('temperature 37.6 °C', 'stiff neck', 'stiff neck: no')
    >>> valued("cough_days", "1"), valued("score", "8"), valued("our_sign", "yes", "Is our sign there?")
    ('cough for 1 day', 'score: 8', 'Is our sign there? yes')
    """
    words = names().get(name)
    if words is None and question:
        return f"{question} {value}"
    words = words or named(name)
    if HOLE in words:
        return _ONE.sub(r"1 \1", words.replace(HOLE, value))
    return words if value == "yes" else f"{words}: {value}"


def rows_of_name(name: str) -> tuple[str, ...]:
    """The rows that a translation needs for it.

    >>> rows_of_name("heart_rate_bpm"), rows_of_name("stiff_neck")
    (('heart rate', 'a minute'), ('stiff neck',))
    >>> rows_of_name("cough_days")
    ('cough', 'cough for {} days', 'cough for {} day')
    """
    words = names().get(name, named(name))
    unit = words.partition(HOLE)[2].strip()
    parts = (words,) if f" for {HOLE}" in words else (unit,) if unit else ()
    one = tuple(part.removesuffix("s") for part in parts if _ONE.search(f"1 {unit}"))
    return named(name), *parts, *one
