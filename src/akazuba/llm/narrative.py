"""An assessment in plain words, for the nurse and for the patient.

A language model chooses which facts to tell, in what order and wording, and what leads over from one to the
next. It writes codes (`Also E3a`); the sentences behind them are filled in here, in the reader's
language, so that it cannot spell a dose or a diagnosis and needs to know no language but its own. The
checker reads what came out once more and drops what the evidence does not say; what must be told and was
not is added. Without a model, and where too little of it is left, the facts are put together by rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from akazuba.llm.answers import object_schema, read
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

MOST_TOKENS = 260
BY_RULES = "rules"
LEADS: Mapping[str, str] = {"Also": "Also:", "And": "And:", "Note": "Please note:"}
"""What may stand before a fact, as the model writes it and as it is read; each once in a text."""

GLIMPSE = 40
"""Characters of a fact that a model is shown: enough to put it in its place."""

_LINE = re.compile(rf"(?:({'|'.join(LEADS)}) )?(([EP]\d+)[a-c])")

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
        sentences = [filled(line, by_id, words) for line in _tidied(draft.lines[audience])]
        said = " ".join(words.say(lead) for lead in LEADS.values())
        leads = frozenset(re.findall(r"\w+", said.lower()))
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

    def lines(written: Any) -> dict[Audience, tuple[str, ...]]:
        return {audience: tuple(str(line) for line in written[audience]) for audience in known}

    return Draft(
        read(model.name, done, lines, "JSON of the narrative's schema"),
        done.first_s,
        done.total_s,
        done.tokens,
    )


def schema(known: Told) -> dict[str, Any]:
    """JSON Schema of a draft: lines of an optional lead and one slot of the evidence, and nothing else."""
    parts = {}
    for audience, facts_ in known.items():
        slots = [slot for fact in facts_ for slot in fact.slots]
        lines = [*slots, *(f"{lead} {slot}" for lead in LEADS for slot in slots)]
        fewest, most = (min(limit, len(facts_)) for limit in SENTENCES[audience])
        parts[audience] = {"type": "array", "items": {"enum": lines}, "minItems": fewest, "maxItems": most}
    return object_schema(**parts)


def _tidied(lines: Sequence[str]) -> list[str]:
    """Each fact once, each lead once.

    >>> _tidied(["Also E1a", "Also E2a", "E1a"])
    ['Also E1a', 'E2a']
    """
    kept: list[str] = []
    used = set[str]()
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            kept.append(line)
            continue
        lead, code, fact = found.groups()
        if fact not in used:
            kept.append(code if lead is None or lead in used else line)
        used |= {fact, lead or fact}
    return kept


def filled(line: str, known: Mapping[str, Fact], words: Words) -> Sentence:
    """The sentence behind a line; a line that is none stays as it is, for the checker to find."""
    found = _LINE.fullmatch(line)
    fact = known.get(found[3]) if found else None
    if found is None or fact is None or found[2] not in fact.slots:
        return Sentence(line, ())
    lead = f"{words.say(LEADS[found[1]])} " if found[1] else ""
    return Sentence(lead + fact.wordings[fact.slots.index(found[2])], (fact.id,))


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
