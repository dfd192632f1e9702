"""Published case vignettes in free text, read and ranked as `akazuba assess` does. Part of `differential.py`.

Which of our conditions count as a vignette's diagnosis stands in `gold/*.tsv`, written from the names of the
diagnoses alone: `same`, or `broader` (the name under which primary care treats it). A diagnosis that the
knowledge does not have stays in the count, as a miss.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from akazuba.box import Box
from akazuba.diagnosis.differential import Ranking, rank
from akazuba.intake.coded import coded_findings
from akazuba.intake.noted import with_noted_vitals
from akazuba.records import NOTE_MAX_CHARACTERS, Case, Patient, Setting

GOLD = Path(__file__).parent / "gold"


@dataclass(frozen=True)
class Vignette:
    """gold: ids of the conditions that count as its diagnosis; empty when the knowledge has none."""

    id: str
    note: str
    patient: Patient
    gold: frozenset[str]


def avey(folder: Path) -> list[Vignette]:
    """400 primary-care vignettes (development part): complaints, history, and what is absent."""
    gold = gold_of("avey")
    parts = ("chief_complaints", "presentation", "absent_findings", "physical_history", "family_history")
    return [
        Vignette(
            row["id"],
            sentences(
                [*(row[part] for part in parts[:4]), of_family(row["family_history"]), row["social_history"]]
            ),
            patient_of(row["demographics"]),
            gold[row["correct_diagnosis"]],
        )
        for row in lines(folder / "avey400.jsonl")
    ]


def osce(folder: Path) -> list[Vignette]:
    """Cases of a structured clinical examination: what patient and examination say, no test results."""
    gold = gold_of("osce")
    found = []
    for row in lines(folder / "agentclinic_osce.jsonl"):
        actor = row["case"]["Patient_Actor"]
        examined = row["case"].get("Physical_Examination_Findings", {})
        texts = [
            *said(actor["History"]),
            *said(actor.get("Symptoms", "")),
            *said(actor.get("Review_of_Systems", "")),
        ]
        texts += [
            *said(actor.get("Past_Medical_History", "")),
            *said(actor.get("Social_History", "")),
            *said(examined),
        ]
        if row["diagnosis"] in gold:
            found.append(
                Vignette(
                    row["id"],
                    sentences(texts),
                    patient_of(str(actor["Demographics"])),
                    gold[row["diagnosis"]],
                )
            )
    return found


def craftmd(folder: Path) -> list[Vignette]:
    """Examination questions whose answer is a diagnosis; the choices are not shown."""
    gold = gold_of("craftmd")
    with gzip.open(folder / "craftmd2004_mcq.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Vignette(row["id"], row["vignette"], patient_of(row["vignette"][:200]), gold[answer])
        for row in rows
        if (answer := row["answer"].partition("\n")[0].strip()) in gold
    ]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def said(value: Any) -> list[str]:
    """All texts of a nested value; keys give their name to what stands below ("Tonsils: red")."""
    if isinstance(value, dict):
        return [
            f"{key.replace('_', ' ')}: {text}" if not isinstance(below, dict) else text
            for key, below in value.items()
            for text in said(below)
        ]
    if isinstance(value, list):
        return [text for below in value for text in said(below)]
    return [str(value)] if value else []


def sentences(texts: list[str]) -> str:
    return ". ".join(text.strip().rstrip(".") for text in texts if text and text.strip(" -."))


def of_family(text: str) -> str:
    return f"Family history of {text}" if text.strip(" -.") else ""


_AGE = re.compile(r"(\d+(?:\.\d+)?)[ -]*(year|yr|month|week|day)s?", re.IGNORECASE)
_DAYS = {"year": 365.25, "yr": 365.25, "month": 30.44, "week": 7.0, "day": 1.0}


def patient_of(text: str) -> Patient:
    """Age and sex as they stand in words ("34 year old Female")."""
    age = _AGE.search(text)
    years = float(age[1]) * _DAYS[age[2].lower()] / 365.25 if age else None
    if re.search(r"\b(female|woman|girl|she|her)\b", text, re.IGNORECASE):
        return Patient(age_years=years, sex="female")
    if re.search(r"\b(male|man|boy|he|his)\b", text, re.IGNORECASE):
        return Patient(age_years=years, sex="male")
    return Patient(age_years=years)


def gold_of(name: str) -> dict[str, frozenset[str]]:
    with (GOLD / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            row["diagnosis"].strip(): frozenset(row["ids"].split())
            for row in rows
            if row["match"] != "not-a-diagnosis"
        }


def ranked(box: Box, vignette: Vignette) -> Ranking:
    """As a consultation ranks, without setting or images."""
    case = with_noted_vitals(Case(vignette.id, vignette.patient, vignette.note[:NOTE_MAX_CHARACTERS]))
    terms = box.desk.terminology
    measured = coded_findings(case, terms.label, terms.canonical)
    findings = (*measured, *box.desk.reader.read(vignette.note, "en").findings)
    return rank(box.columns, findings, vignette.patient, Setting(), ())
