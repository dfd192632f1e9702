"""Faults planted into a narrative, and a count of unsupported words that does not use the checker."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache

from akazuba.guidelines.library import open_library
from akazuba.knowledge.conditions import open_knowledge
from akazuba.llm.checker import Sentence
from akazuba.llm.facts import Fact
from akazuba.records import Narrative

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
INVENTED = (
    "The patient is healthy and can go home.",
    "There is no danger.",
    "Give ibuprofen 400 mg three times a day.",
    "A specialist has confirmed this.",
    "Stop all medicines.",
    "The test was negative.",
)


@cache
def medicines() -> tuple[str, ...]:
    return tuple(sorted({name for name, _ in open_library(()).formulary.medicines if len(name) > 3}))


@cache
def conditions() -> tuple[str, ...]:
    return tuple(sorted(c.name for c in open_knowledge().table.conditions))


KINDS = ("number", "medicine", "condition", "negation", "urgency", "citation", "invented", "added", "side")


def corrupted(
    kind: str, sentence: Sentence, known: Mapping[str, Fact], chance: random.Random
) -> Sentence | None:
    """One fault of a kind that changes what the sentence says; None when that kind does not fit."""
    text = sentence.text
    if kind == "number" and (found := list(_NUMBER.finditer(text))):
        place = chance.choice(found)
        other = chance.choice([f"{place[0]}0", str(round(float(place[0].replace(",", "."))) + 1)])
        changed = text[: place.start()] + other + text[place.end() :]
    elif kind == "medicine" and (named := [m for m in medicines() if m in text.lower()]):
        was = max(named, key=len)
        other = chance.choice([m for m in medicines() if m not in text.lower()])
        changed = re.sub(re.escape(was), other, text, count=1, flags=re.IGNORECASE)
    elif kind == "condition" and (named := [c for c in conditions() if c in text]):
        was = max(named, key=len)
        changed = text.replace(was, chance.choice([c for c in conditions() if c not in text]), 1)
    elif kind == "negation":
        changed = _negated(text, chance)
    elif kind == "urgency" and known[sentence.cites[0]].kind == "urgency":
        changed = chance.choice(
            [
                "This is not urgent (green).",
                "This can wait.",
                text.replace("now", "tomorrow").replace("soon", "later"),
            ]
        )
    elif kind == "citation" and len(known) > 1:
        other_id = chance.choice([id_ for id_ in known if id_ not in sentence.cites])
        return Sentence(text, (other_id,))
    elif kind == "invented":
        changed = chance.choice(INVENTED)
    elif kind == "added":
        extra = f"and {chance.choice(conditions()).lower()}"
        changed = f"{text.rstrip('.')} {extra}."
    elif kind == "side" and re.search(r"\b(left|right)\b", text):
        changed = re.sub(r"\bleft\b", "\0", text).replace("right", "left").replace("\0", "right")
    else:
        return None
    return Sentence(changed, sentence.cites) if changed != text else None


def _negated(text: str, chance: random.Random) -> str:
    if re.search(r"\bno ", text):
        return re.sub(r"\bno ", "", text, count=1)
    if text.startswith("Do not "):
        return text.replace("Do not give", "Give", 1)
    words = text.split(" ")
    place = chance.randrange(1, len(words)) if len(words) > 1 else 1
    return " ".join([*words[:place], chance.choice(["no", "not", "never", "without"]), *words[place:]])


def unsupported(narrative: Narrative, known: Sequence[Fact]) -> list[str]:
    """Numbers, medicines and conditions of a shown text that stand in none of its facts."""
    evidence = " ".join(wording for fact in known for wording in fact.wordings).lower()
    shown = re.sub(r"\[[EP]\d+\]", "", f"{narrative.text} {narrative.patient_text}").lower()
    numbers = set(_NUMBER.findall(shown)) - set(_NUMBER.findall(evidence))
    names = {
        name
        for name in (*medicines(), *(c.lower() for c in conditions()))
        if re.search(rf"\b{re.escape(name)}\b", shown) and name not in evidence
    }
    return sorted(numbers | names)
