"""Whether a language model, given the same evidence, would put another condition first. A remark, no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from akazuba.llm.answers import object_schema, read
from akazuba.llm.facts import Words, named_finding
from akazuba.llm.prompts import prompt
from akazuba.records import Candidate, Finding

if TYPE_CHECKING:
    from akazuba.llm.model import Model

READ = 5
"""Candidates that it chooses among."""


def second_reading(candidates: Sequence[Candidate], findings: Sequence[Finding], model: Model) -> int | None:
    """Place (0 is the first) of the candidate that the model puts first. Raises ModelError.

    It is asked twice, with the list turned round: an answer that hangs on the order is none (None).
    """
    listed = list(candidates[:READ])
    if len(listed) < 2:
        return None
    straight = _picked(listed, findings, model)
    turned = _picked(listed[::-1], findings, model)
    return straight if straight == len(listed) - 1 - turned else None


def remark(candidates: Sequence[Candidate], place: int | None, words: Words) -> str | None:
    """In words; None when it has nothing to say."""
    if place is None:
        return None
    row = "The language model would put {} first; the ranking stays as it is."
    if place == 0:
        row = "The language model would put {} first too."
    return words.fill(row, words.say(candidates[place].name))


def _picked(listed: Sequence[Candidate], findings: Sequence[Finding], model: Model) -> int:
    letters = "ABCDE"[: len(listed)]
    names = "\n".join(f"{letter}: {c.name}" for letter, c in zip(letters, listed, strict=True))
    asked = prompt("second_reader").messages(findings=described(findings), candidates=names)
    done = model.complete(asked, schema=object_schema(first={"enum": list(letters)}), max_tokens=16)
    return read(model.name, done, lambda written: letters.index(written["first"]))


def described(findings: Sequence[Finding]) -> str:
    """What is known of the patient, in one line."""
    names = [named_finding(f.name, f.id, f.present) for f in findings if f.counts]
    return "; ".join(dict.fromkeys(names)) or "nothing"
