"""How urgent the box calls patients whom others described: 630 vignettes in a nurse's words.

Each (`data/triage_vignettes.ndjson`) retells a published or a teaching case in other words, with the part of
the chart (IITT) that sets its urgency. Six authors, none a clinician (language models, asked to write as
nurses, clinical officers and relatives do), who never saw the code or its word lists. Of 420 another one gave
each its level again without seeing the first one: the same for all. Splits, in the order in which they were
written:

- dev, heldout (120): the held-out half's errors were never printed.
- second-dev, second-heldout (220): the latter was measured once and then released to develop on.
- fresh (200): measured three times, with the phrases alone and with the word model at two thresholds.
- last (90): measured once, after everything. With `fresh` the figure to quote; errors of both are never
  printed.

`results/triage_vignettes_first_run.json` holds what each split gave when it was first measured.
emergency_recall: of the red expected, how many are red. urgent_recall: of the red and yellow, how many
are not green. over_triage: of the green, how many are red or yellow. agreement: exactly the expected
level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from figures import wilson

from akazuba.intake.cases import CaseLine
from akazuba.records import Case, Triage
from akazuba.urgency import Desk, urgency_of

VIGNETTES = Path(__file__).parent / "data" / "triage_vignettes.ndjson"
FIRST_RUN = Path(__file__).parent / "results" / "triage_vignettes_first_run.json"
URGENT = ("red", "yellow")
SPLITS = ("dev", "heldout", "second-dev", "second-heldout", "fresh", "last")
QUOTED = ("fresh", "last")
UNSEEN = ("heldout", *QUOTED)
"""Their errors are never printed."""

Row = Mapping[str, Any]


def rows() -> list[Row]:
    return [json.loads(line) for line in VIGNETTES.read_text(encoding="utf-8").splitlines()]


def level(desk: Desk, row: Row) -> str:
    case = msgspec.convert(row["case"], Case)
    answer = urgency_of(desk, CaseLine(case.id, case.id, case, None, "", Path()))
    if not isinstance(answer.triage, Triage):
        raise TypeError(f"{case.id}: expected an urgency, found {answer.error}")
    return answer.triage.level


def shares(of: Sequence[Row], levels: Mapping[str, str]) -> dict[str, object]:
    given = [(row["level"], levels[row["id"]]) for row in of]
    red = [got for expected, got in given if expected == "red"]
    urgent = [got for expected, got in given if expected in URGENT]
    calm = [got for expected, got in given if expected == "green"]
    return {
        "emergency_recall": wilson(sum(got == "red" for got in red), len(red)),
        "emergency_not_green": wilson(sum(got != "green" for got in red), len(red)),
        "urgent_recall": wilson(sum(got != "green" for got in urgent), len(urgent)),
        "over_triage": wilson(sum(got in URGENT for got in calm), len(calm)),
        "agreement": wilson(sum(expected == got for expected, got in given), len(given)),
    }


def measured(desk: Desk) -> dict[str, dict[str, object]]:
    """By half, and of both together."""
    every = rows()
    levels = {row["id"]: level(desk, row) for row in every}
    found = {"all": shares(every, levels)}
    for split in SPLITS:
        found[split] = shares([row for row in every if row["split"] == split], levels)
    found["unseen"] = shares([row for row in every if row["split"] in QUOTED], levels)
    return found


def errors(desk: Desk) -> list[str]:
    """The vignettes to develop on with another level than the expected one, the dangerous ones first."""
    seen = [row for row in rows() if row["split"] not in UNSEEN]
    wrong = [(row, got) for row in seen if (got := level(desk, row)) != row["level"]]
    wrong.sort(key=lambda pair: (pair[0]["level"] == "green", pair[1] != "green"))
    return [
        f"{row['id']} {row['level']} -> {got}: {row['case']['note']} [{row['basis']}]" for row, got in wrong
    ]


if __name__ == "__main__":
    from akazuba.settings import from_environ
    from akazuba.urgency import open_desk

    opened = open_desk(from_environ())
    print("\n".join(errors(opened)))
    print(json.dumps(measured(opened)))
