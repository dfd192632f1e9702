"""An assessment in plain words, for the nurse and for the patient.

A language model chooses which facts to tell, in what order and wording, and what leads over from one to the
next. It writes slots (`Also: [E3a]`); the sentences behind them are filled in here, in the reader's
language, so that it cannot spell a dose or a diagnosis and needs to know no language but its own. The
checker reads what came out once more and drops what the evidence does not say; what must be told and was
not is added. Without a model, and where too little of it is left, the facts are put together by rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from akazuba.errors import ModelError
from akazuba.llm.checker import Sentence, checked
from akazuba.llm.facts import Audience, Fact, Words, composed, facts
from akazuba.llm.prompts import prompt
from akazuba.records import Assessment, Narrative

if TYPE_CHECKING:
    from akazuba.llm.model import Model

AUDIENCES: tuple[Audience, ...] = ("nurse", "patient")
SENTENCES: Mapping[Audience, tuple[int, int]] = {"nurse": (4, 8), "patient": (1, 4)}
"""The fewest and the most that a model writes."""

LEAST_LEFT = 2
"""Sentences of a model for the nurse that must stand; with fewer, the rules write."""

MOST_TOKENS = 200
BY_RULES = "rules"
LEADS = ("Also:", "And:", "Please note:")
"""What may stand before a fact, each once in a text."""

GLIMPSE = 70
"""Characters of a fact that a model is shown: enough to put it in its place."""

_SLOT = re.compile(r"\[([EP]\d+)([a-c])\]")

Told = Mapping[Audience, Sequence[Fact]]


@dataclass(frozen=True)
class Draft:
    """What a model wrote, by audience, before it was checked. first_s, total_s: seconds."""

    lines: Mapping[Audience, tuple[str, ...]]
    first_s: float
    total_s: float
    tokens: int


def told(assessment: Assessment, words: Words) -> dict[Audience, tuple[Fact, ...]]:
    return {audience: facts(assessment, audience, words) for audience in AUDIENCES}


def by_rules(assessment: Assessment, words: Words, why: str | None = None) -> Narrative | None:
    """The facts put together by rules. why: what kept the language model from writing; None: it was not
    asked.
    """
    known = told(assessment, words)
    if not known["nurse"]:
        return None
    return Narrative(
        text=composed(known["nurse"]),
        patient_text=_without_ids(composed(known["patient"])),
        model=BY_RULES,
        citations=_citations(known),
        left_out=why,
    )


def by_model(assessment: Assessment, words: Words, model: Model) -> Narrative | None:
    """The facts as a model puts them. Raises ModelError when it does not answer."""
    known = told(assessment, words)
    if not known["nurse"]:
        return None
    return narrated(known, drafted(known, model), words, model.name)


def narrated(known: Told, draft: Draft, words: Words, model: str) -> Narrative:
    """What is left of a draft once it is filled in and checked."""
    texts: dict[Audience, str] = {}
    rejected: list[str] = []
    for audience, facts_ in known.items():
        by_id = {fact.id: fact for fact in facts_}
        sentences = [filled(line, by_id, words) for line in _led_once(draft.lines[audience])]
        leads = frozenset(word.lower() for lead in LEADS for word in re.findall(r"\w+", words.say(lead)))
        kept, dropped = checked(sentences, by_id, leads)
        rejected += [f"{claim.sentence.text} ({claim.why})" for claim in dropped]
        texts[audience] = _completed(kept, facts_, LEAST_LEFT if audience == "nurse" else 1)
    why = None if texts["nurse"] else f"too little of what {model} wrote is supported by the evidence"
    for audience, facts_ in known.items():
        texts[audience] = texts[audience] if texts[audience] and not why else composed(facts_)
    return Narrative(
        text=texts["nurse"],
        patient_text=_without_ids(texts["patient"]),
        model=BY_RULES if why else model,
        citations=_citations(known),
        rejected_claims=tuple(rejected),
        left_out=why,
    )


def drafted(known: Told, model: Model) -> Draft:
    """What a model writes of the facts. Raises ModelError, also when it is no JSON of the shape."""
    asked = prompt("narrative").messages(**{audience: _listed(facts_) for audience, facts_ in known.items()})
    done = model.complete(asked, schema=schema(known), max_tokens=MOST_TOKENS)
    try:
        written = json.loads(done.text)
        lines: dict[Audience, tuple[str, ...]] = {
            audience: tuple(str(line) for line in written[audience]) for audience in known
        }
    except (ValueError, TypeError, KeyError) as problem:
        raise ModelError(model.name, "JSON of the narrative's schema", done.text[:200]) from problem
    return Draft(lines, done.first_s, done.total_s, done.tokens)


def schema(known: Told) -> dict[str, Any]:
    """JSON Schema of a draft: lines of an optional lead and one slot of the evidence, and nothing else."""
    parts = {}
    for audience, facts_ in known.items():
        slots = [slot for fact in facts_ for slot in fact.slots]
        lines = [*slots, *(f"{lead} {slot}" for lead in LEADS for slot in slots)]
        fewest, most = (min(limit, len(facts_)) for limit in SENTENCES[audience])
        parts[audience] = {"type": "array", "items": {"enum": lines}, "minItems": fewest, "maxItems": most}
    return {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}


def _led_once(lines: Sequence[str]) -> list[str]:
    """The lines without a lead that stood before another one.

    >>> _led_once(["Also: [E1a]", "Also: [E2a]"])
    ['Also: [E1a]', '[E2a]']
    """
    left, kept = list(LEADS), []
    for line in lines:
        lead = next((lead for lead in LEADS if line.startswith(lead)), "")
        kept.append(line if lead in left or not lead else line.removeprefix(lead).strip())
        left = [other for other in left if other != lead]
    return kept


def filled(line: str, known: Mapping[str, Fact], words: Words) -> Sentence:
    """A line with its slots filled in; one that is not known stays as it is, for the checker to find."""
    cites: list[str] = []

    def wording(slot: re.Match[str]) -> str:
        fact = known.get(slot[1])
        if fact is None or slot[0] not in fact.slots:
            return slot[0]
        cites.append(fact.id)
        return fact.wordings[fact.slots.index(slot[0])]

    lead = next((lead for lead in LEADS if line.startswith(lead)), "")
    text = _SLOT.sub(wording, words.say(lead) + line.removeprefix(lead) if lead else line)
    return Sentence(text, tuple(dict.fromkeys(cites)))


def _listed(facts_: Sequence[Fact]) -> str:
    return "\n".join(f"{fact.slots[0]} {fact.wordings[0][:GLIMPSE]}" for fact in facts_)


def _completed(kept: Sequence[Sentence], facts_: Sequence[Fact], least: int) -> str:
    """The urgency first, then what the model said, then what must be told and was not; "" with too little."""
    if len(kept) < least:
        return ""
    said = {id_ for sentence in kept for id_ in sentence.cites}
    first, last = facts_[0], [fact for fact in facts_[1:] if fact.must and fact.id not in said]
    between = [s for s in kept if first.id not in s.cites]
    lines = [f"{sentence.text} [{', '.join(sentence.cites)}]" for sentence in between]
    return " ".join([composed([first]), *lines, *([composed(last)] if last else [])])


def _without_ids(text: str) -> str:
    return re.sub(r" \[[EP]\d+(?:, [EP]\d+)*\]", "", text)


def _citations(known: Told) -> tuple[str, ...]:
    return tuple(f"{fact.id}: {fact.source}" for facts_ in known.values() for fact in facts_)
