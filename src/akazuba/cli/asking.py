"""What is said to somebody at a terminal who waits or is asked, on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from akazuba.diagnosis.questions import Question
    from akazuba.interviews import Answer

PATIENCE_S = 1.0
"""Somebody who has waited so long is told for what."""

WORDING = "The language model is putting this into words: half a minute at most. Without it: {}"

_ANSWERS: dict[str, Answer] = {
    "y": "yes",
    "yes": "yes",
    "n": "no",
    "no": "no",
    "u": "unknown",
    "unknown": "unknown",
    "s": "stop",
    "stop": "stop",
}


class Asker:
    """Asks on stderr, so that an assessment in JSON stays clean, and reads the answer from standard input.

    say: puts a question into the nurse's language.
    """

    def __init__(self, say: Callable[[str], str]) -> None:
        self._asked, self._say = 0, say

    def __call__(self, question: Question) -> Answer:
        self._asked += 1
        wait = f" (about {question.cost_s / 60:.0f} min)" if question.is_test else ""
        words = f"{self._asked}. {self._say(question.words)}{wait}  [y]es, [n]o, [u]nknown, [s]top"
        while True:
            try:
                text = click.prompt(words, prompt_suffix=": ", default="", show_default=False, err=True)
            except click.Abort:  # the input has ended
                return "stop"
            if (answer := _ANSWERS.get(str(text).strip().lower())) is not None:
                return answer
            click.echo(f"expected y, n, u or s, found {str(text)[:20]!r}", err=True)


@contextmanager
def told_when_slow(text: str) -> Iterator[None]:
    """Says what is being waited for, where somebody looks at stderr and it takes longer than `PATIENCE_S`."""
    timer = threading.Timer(PATIENCE_S, partial(click.echo, text, err=True))
    timer.daemon = True
    if sys.stderr is not None and sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
