"""What is known of one named finding, and what the triggers before a word make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Subject = Literal["patient", "family", "other"]


@dataclass(slots=True)
class Context:
    """What is known of one named finding. onset_days: days ago, None when the note does not say.

    hypothetical: only warned of ("return if fever") or denied for another place: no finding at all.
    history: "history of …", which is current after all with a duration, or when the condition is lifelong.
    """

    present: bool = True
    uncertain: bool = False
    subject: Subject = "patient"
    past: bool = False
    history: bool = False
    hypothetical: bool = False
    onset_days: float | None = None

    def mark(self, kind: str) -> None:
        """A trigger behind the finding is met: `fever denied`."""
        name = kind.partition("-")[0]
        if name == "negation":
            self.present = False
        elif name == "uncertain":
            self.uncertain = True
        elif name == "past":
            self.past = True
        elif name == "family":
            self.subject = "family"


@dataclass(slots=True)
class Scope:
    """The forward triggers in force at one word.

    negation: "" is none; "list" runs across commas ("no fever, cough"), "near" ("not", "without") only when
    an "or" is still to come.
    bare, doubtful: "no" alone opened it; a comma without a further "no", "or" or "and" came after it, so
    that "no trauma, chest pain" may deny one thing or two.
    """

    negation: str = ""
    bare: bool = False
    doubtful: bool = False
    uncertain: bool = False
    past: bool = False
    history: bool = False
    subject: Subject = "patient"
    hypothetical: bool = False

    def end_statement(self) -> None:
        """A new statement begins; whose it is stays."""
        self.negation = ""
        self.bare = self.doubtful = False
        self.uncertain = self.past = self.history = self.hypothetical = False

    def open(self, kind: str) -> None:
        """A forward trigger is met. kind: of `context_en.tsv`, such as `negation-near`."""
        name, _, reach = kind.partition("-")
        if name == "negation":
            self.negation = reach or "list"
        elif name == "past":
            self.past = True
        elif name == "uncertain":
            self.uncertain = True
        elif name == "history":
            self.history = True
        elif name == "hypothetical":
            self.hypothetical = True
        else:
            self.subject = "family" if name == "family" else "other"

    def put_on(self, context: Context) -> None:
        """A finding is met."""
        context.present = not self.negation
        context.uncertain = self.uncertain or (self.doubtful and bool(self.negation))
        context.past = self.past
        context.history = self.history
        context.subject = self.subject
        context.hypothetical = self.hypothetical
