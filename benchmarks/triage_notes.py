"""Whether the words of a note alone keep a sick patient from being called green.

    python benchmarks/triage_notes.py [--quick] [--json]

120 short notes (`data/triage_notes.ndjson`): 80 name one thing that a line of the triage chart, or one of our
additions to it, calls red or yellow; 40 are plainly not urgent. Each comes with a complete set of normal
vital signs for its age, so that only the words can decide, through the whole of `consult.assess`. One
author, no clinician, wrote the notes and the levels down before any of them was run; every second one is
held out and its errors are never printed. `first_run` keeps what was measured before anything was mended;
after it, phrases were added while looking at the dev half only, but by the hand that wrote both halves and
could not forget the other one: what counts as held out is `first_run`, and today's held-out figure flatters.
Other nurses use other words.

emergency_recall: of the red and yellow expected, how many are not green (or, `_raised`, red or yellow: a
note in which nothing was understood is "unassessed" and not green). red_recall: of the red expected, how
many are red. over_triage: of the green expected, how many are red or yellow. The baseline takes every word
for a finding that is there, without negation, doubt, time or person. `--quick` is the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import options_of, wilson

from akazuba.box import open_box
from akazuba.consult import assess
from akazuba.guidelines.triage import triage
from akazuba.intake.cases import CaseLine
from akazuba.language.matching import Matcher, english_lexicon
from akazuba.language.tokens import tokenise
from akazuba.records import Case, Finding, Patient, Triage, Vitals
from akazuba.settings import Settings
from akazuba.terminology import Terminology, open_terminology

NOTES = Path(__file__).parent / "data" / "triage_notes.ndjson"
FIRST_RUN = Path(__file__).parent / "results" / "triage_notes_first_run.json"
SPLITS = ("dev", "heldout")
URGENT = ("red", "yellow")

NORMAL_VITALS = (
    # age under, heart rate, respiratory rate, systolic, diastolic
    (1, 130, 38, 85, 55),
    (5, 110, 28, 95, 60),
    (12, 92, 22, 105, 65),
    (126, 78, 16, 122, 76),
)

Row = Mapping[str, Any]
Levels = Mapping[str, str]


def case_of(row: Row) -> Case:
    age = row["age_years"]
    _, heart, breaths, systolic, diastolic = next(band for band in NORMAL_VITALS if age < band[0])
    vitals = Vitals(
        temperature_c=36.8,
        heart_rate_bpm=heart,
        respiratory_rate_bpm=breaths,
        systolic_mmhg=systolic,
        diastolic_mmhg=diastolic,
        spo2_percent=98,
        consciousness="alert",
        capillary_refill_s=2,
        glucose_mmol_l=5.2,
        on_oxygen=False,
    )
    patient = Patient(age_years=age, sex=row["sex"], pregnant=row["pregnant"])
    return Case(row["id"], patient, row["note"], vitals=vitals)


def through_consult(home: Path) -> Callable[[Row], str]:
    box = open_box(Settings(home))

    def level(row: Row) -> str:
        case = case_of(row)
        digest = hashlib.sha256(case.note.encode()).hexdigest()
        answer = assess(box, CaseLine(case.id, case.id, case, None, digest, home))
        if not isinstance(answer.triage, Triage):
            raise TypeError(f"{case.id}: expected an assessment, found {answer.error}")
        return answer.triage.level

    return level


def everything_present(terminology: Terminology) -> Callable[[Row], str]:
    matcher = Matcher(terminology, english_lexicon())

    def level(row: Row) -> str:
        ids = {term for match in matcher.matches(tokenise(row["note"])) for term in match.ids}
        found = [Finding(term, terminology.label(term)) for term in sorted(ids)]
        return triage(case_of(row), found, True, terminology.ancestors).level

    return level


def shares(rows: Sequence[Row], levels: Levels) -> dict[str, object]:
    result: dict[str, object] = {}
    for split in SPLITS:
        part = [row for row in rows if row["split"] == split]
        given = [(row["expected"], levels[row["id"]]) for row in part]
        urgent = [level for expected, level in given if expected in URGENT]
        red = [level for expected, level in given if expected == "red"]
        calm = [level for expected, level in given if expected == "green"]
        result |= {
            f"emergency_recall_{split}": wilson(sum(level != "green" for level in urgent), len(urgent)),
            f"emergency_recall_raised_{split}": wilson(sum(level in URGENT for level in urgent), len(urgent)),
            f"red_recall_{split}": wilson(sum(level == "red" for level in red), len(red)),
            f"over_triage_{split}": wilson(sum(level in URGENT for level in calm), len(calm)),
            f"green_as_green_{split}": wilson(sum(level == "green" for level in calm), len(calm)),
        }
    return result


def errors(rows: Sequence[Row], levels: Levels) -> list[str]:
    """The dev notes with another level than the expected one, the dangerous ones first."""
    wrong = [row for row in rows if row["split"] == "dev" and levels[row["id"]] != row["expected"]]
    wrong.sort(key=lambda row: (row["expected"] == "green", levels[row["id"]] != "green"))
    return [f"{row['id']} {row['expected']} -> {levels[row['id']]}: {row['note']}" for row in wrong]


def main() -> None:
    flags = ("quick: the same: all notes take seconds", "json: only the JSON object")
    arguments = options_of(__doc__, *flags).parse_args()
    rows = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    with TemporaryDirectory() as home:
        level = through_consult(Path(home))
        levels = {row["id"]: level(row) for row in rows}
        with open_terminology(Path(home)) as terminology:
            baseline = everything_present(terminology)
            bare = shares(rows, {row["id"]: baseline(row) for row in rows})
    result = shares(rows, levels)
    result |= {f"baseline_{name}": value for name, value in bare.items()}
    if FIRST_RUN.is_file():
        result["first_run"] = json.loads(FIRST_RUN.read_text(encoding="utf-8"))
    if not arguments.json:
        for line in errors(rows, levels):
            print(line)
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
