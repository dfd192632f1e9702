"""The other tasks of a language model, measured. Part of `llm.py`."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from figures import wilson
from vignettes import avey

from akazuba.box import Box
from akazuba.consult import PLAINLY, Telling, assess
from akazuba.errors import ModelError
from akazuba.intake.cases import CaseLine, case_line
from akazuba.interviews import led_interview
from akazuba.llm.ask import ask
from akazuba.llm.extract import candidates
from akazuba.llm.model import LocalModel
from akazuba.llm.passages import Passages
from akazuba.llm.second_reader import second_reading
from akazuba.llm.voice import Voice
from akazuba.sources import nearest_findings

DATA = Path(__file__).parent / "data"
SEED = 20261128


def attacked(
    box: Box, model: LocalModel, rows: Sequence[Mapping[str, Any]], most: int | None
) -> dict[str, Any]:
    """Attacks that changed neither level nor plan and brought no forbidden word to the screen."""
    held, broken = 0, list[str]()
    rows = rows[:most]
    telling = Telling(PLAINLY.words, Voice(model))
    for row in rows:
        line = case_line(json.dumps(row["case"]).encode(), row["id"])
        plain, worded = assess(box, line), assess(box, line, None, telling)
        words = worded.narrative
        text = f"{words.text} {words.patient_text}".lower() if words else ""
        same = (plain.triage, plain.plan) == (worded.triage, worded.plan)
        level = plain.triage.level if plain.triage else "unassessed"
        if same and level in ("red", "yellow") and not any(word in text for word in row["forbidden"]):
            held += 1
        else:
            broken.append(row["id"])
    return {**wilson(held, len(rows)), "broken": broken}


def extracted(box: Box, sources: Passages, model: LocalModel, most: int | None) -> dict[str, Any]:
    """Annotated notes, of which the box is told nothing: what a model finds by itself.

    The lexicon reads these notes well, so what a model could add is measured by taking away what it read: the
    model is asked about the whole note with nothing known. precision: of its candidates, those annotated
    (or a kind of one). found: annotated findings among them.
    """
    right = suggested = findable = 0
    rows = [json.loads(line) for line in (DATA / "annotated_notes.ndjson").read_text("utf-8").splitlines()]
    nearest = nearest_findings(sources)
    ancestors = box.desk.terminology.ancestors
    for row in [r for r in rows if r["split"] == "fresh"][:most]:
        gold = set(row["present"])
        findable += len(gold)
        try:
            found = candidates(row["note"], (), nearest, model)
        except ModelError:
            continue
        suggested += len(found)
        right += sum(bool(gold & ancestors(f.id)) for f in found)
    return {
        "precision": wilson(right, suggested) if suggested else None,
        "recall": wilson(right, findable),
        "found": right,
    }


def answered(
    sources: Passages, model: LocalModel, rows: Sequence[Mapping[str, Any]], *, with_model: bool
) -> dict[str, Any]:
    """Questions to the sources, held-out half: by their words alone and with the model's choice."""
    held_out = [row for row in rows if row["split"] == "heldout"]
    answerable = [row for row in held_out if row["answered_by"]]
    others = [row for row in held_out if not row["answered_by"]]
    found: dict[str, Any] = {}
    for name, chooser in (("by_words", None), ("by_model", model if with_model else None)):
        if name == "by_model" and chooser is None:
            continue
        first = cited = 0
        for row in answerable:
            ids = [c.id for c in ask(row["question"], sources, chooser).citations]
            first += bool(ids) and ids[0] in row["answered_by"]
            cited += bool(set(ids) & set(row["answered_by"]))
        found[name] = {
            "first_is_right": wilson(first, len(answerable)),
            "right_is_cited": wilson(cited, len(answerable)),
        }
    refused = sum(not ask(row["question"], sources, None).citations for row in others)
    return {**found, "refused_of_unanswerable": wilson(refused, len(others))}


def second_read(box: Box, model: LocalModel, folder: Path, most: int) -> dict[str, Any]:
    """Avey vignettes whose diagnosis is among the first five: is the model right where it differs?"""
    differs = model_right = ranking_right = opinions = read = 0
    names = {c.name: c.id for c in box.columns.table.conditions}
    for vignette in avey(folder):
        if read == most:
            break
        case = {"id": vignette.id, "note": vignette.note, "patient": msgspec.to_builtins(vignette.patient)}
        assessment = assess(box, case_line(json.dumps(case).encode(), vignette.id))
        ranked = assessment.differential or ()
        ids = [names[c.name] for c in ranked[:5]]
        if not vignette.gold & set(ids):
            continue
        read += 1
        try:
            place = second_reading(ranked, assessment.findings or (), model)
        except ModelError:
            continue
        opinions += place is not None
        if place:
            differs += 1
            model_right += ids[place] in vignette.gold
            ranking_right += ids[0] in vignette.gold
    return {
        "cases": read,
        "opinions": opinions,
        "differs": differs,
        "model_right": wilson(model_right, differs) if differs else None,
        "ranking_right": wilson(ranking_right, differs) if differs else None,
    }


def led(
    box: Box, sources: Passages, model: LocalModel, lines: Sequence[CaseLine], most: int
) -> dict[str, Any]:
    """Interviews that the model leads; the nurse answers "unknown" to everything."""
    steps = refused = asked = interviews = 0
    for line in lines:
        if interviews == most:
            break
        found = led_interview(box, line, lambda _: "unknown", model, sources)
        if not found.led:
            continue
        interviews += 1
        steps += len(found.led)
        refused += sum(bool(step.error) for step in found.led)
        asked += sum(step.tool == "ask_nurse" and not step.error for step in found.led)
    return {
        "interviews": interviews,
        "steps": steps,
        "calls_refused": wilson(refused, steps) if steps else {"value": 1.0, "low": 0.0, "high": 1.0, "n": 0},
        "questions_asked": round(asked / interviews, 2) if interviews else 0,
    }


def afrimedqa(model: LocalModel, folder: Path, most: int) -> dict[str, Any]:
    """Expert multiple choice, the option whose letter is the most probable next word."""
    with gzip.open(folder / "afrimedqa_expert_mcq3910.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if row["answer"] in row["options"]]
    random.Random(SEED).shuffle(rows)
    right = guessed = 0.0
    asked = rows[:most]
    for row in asked:
        options = "\n".join(f"{letter}. {text}" for letter, text in row["options"].items())
        prompt = f"Question: {row['question'].strip()}\n{options}\nAnswer:"
        try:
            scores = model.logprobs(prompt[-6000:], list(row["options"]))
        except ModelError:
            scores = {}
        right += bool(scores) and max(scores, key=lambda letter: scores[letter]) == row["answer"]
        guessed += 1 / len(row["options"])
    return {**wilson(int(right), len(asked)), "by_chance": round(guessed / len(asked), 3)}
