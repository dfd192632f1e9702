"""Guidelines and triage against cases that others wrote, and how long all of it takes.

    uv run python benchmarks/guidelines.py [--quick] [--json]

- conformance_own_agreement: every conformance row of the shipped guidelines (`akazuba guideline check`).
- conformance_openehr_agreement: openEHR's published cases for the scores that we ship (`../shared`); a
  difference is either explained by the source that decides (counted in `explained`) or a failure.
- conformance_growth_agreement: each row of WHO's LMS tables at seven z-scores, the value made by WHO's
  published formula (restricted beyond 3 SD), found again to 0.01.
- chronic_plan_agreement: see chronic_plans.py. triage_emergency_recall, over_triage: see
  triage_vignettes.py, of the splits on which nothing was developed. Baselines in the
  same run: the vital signs alone by the same rules (no note read), and the chart without the scores that
  may raise it.
- assess_rules_ms_p50: full triage and all guidelines that apply, for every vignette and chronic case,
  after a warm-up.
- queue: simulated, see `akazuba queue simulate`.

`--quick` takes every ninth row of the growth tables and 50 simulated days instead of 400.
"""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import chronic_plans
import msgspec
import triage_vignettes
from figures import options_of, wilson

from akazuba.guidelines.describe import checks, summaries
from akazuba.guidelines.growth import Measured, growth
from akazuba.guidelines.triage import triage
from akazuba.records import Case
from akazuba.settings import from_environ
from akazuba.urgency import Desk, decide, open_desk, understood
from akazuba.waiting.simulate import Post, simulate

SHARED = Path(__file__).parents[2] / "shared" / "conformance"
OPENEHR = SHARED / "openehr_gdl" / "cases.jsonl.gz"
GROWTH = SHARED / "who_growth"
Z_SCORES = (-4, -3, -2, 0, 2, 3, 4)
TABLES = {
    "weianthro": ("weight_for_age_z", "weight_kg", True),
    "lenanthro": ("height_for_age_z", "height_cm", False),
    "hcanthro": ("head_circumference_for_age_z", "head_circumference_cm", False),
    "wflanthro": ("weight_for_height_z", "weight_kg", True),
    "wfhanthro": ("weight_for_height_z", "weight_kg", True),
    "hfawho2007": ("height_for_age_z", "height_cm", False),
    "wfawho2007": ("weight_for_age_z", "weight_kg", True),
}


def growth_agreement(every: int) -> dict[str, object]:
    """Makes values at known z-scores from WHO's tables and asks for their z-scores."""
    right = [
        found is not None and abs(found - z) <= 0.01 + 1e-9
        for name in TABLES
        for row in _rows(GROWTH / f"{name}.txt")[::every]
        for z, found in _scored(name, row)
    ]
    return wilson(sum(right), len(right))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="ascii") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        row for row in rows if not ("2007" in path.name and row["age"] == "60")
    ]  # the standards hold there


def _scored(name: str, row: Mapping[str, str]) -> Iterator[tuple[int, float | None]]:
    indicator, measure, restricted = TABLES[name]
    l, m, s = (float(row[key]) for key in "lms")  # noqa: E741 - the field's own letters
    where: dict[str, Any] = {"sex": "male" if row["sex"] == "1" else "female"}
    if "age" in row:
        where["age_months" if name.endswith("2007") else "age_days"] = float(row["age"])
    else:
        where["height_cm"] = float(row.get("length") or row["height"])
        where["age_days"] = 600 if "length" in row else 800
    for z in Z_SCORES:
        value = _value(z, l, m, s) if not restricted or abs(z) <= 3 else _tail(z, l, m, s)
        if 0.3 <= value <= 400:
            yield z, getattr(growth(Measured(**where, **{measure: value})), indicator)


def _value(z: float, l: float, m: float, s: float) -> float:  # noqa: E741
    return m * (1 + l * s * z) ** (1 / l)


def _tail(z: float, l: float, m: float, s: float) -> float:  # noqa: E741
    side = 1 if z > 0 else -1
    third, second = _value(3 * side, l, m, s), _value(2 * side, l, m, s)
    return third + (z - 3 * side) * side * (third - second)


def baselines(desk: Desk) -> dict[str, object]:
    """The unseen vignettes by their vital signs alone, and by the chart without the scores."""
    rows = [row for row in triage_vignettes.rows() if row["split"] in triage_vignettes.QUOTED]
    mute, chart = {}, {}
    for row in rows:
        case = msgspec.convert(row["case"], Case)
        silent = msgspec.structs.replace(case, note="")
        mute[row["id"]] = decide(desk, silent, desk.reader.read("", "en")).triage.level
        note = desk.reader.read(case.note, case.language)
        noted, findings, _ = understood(desk, case, note)
        chart[row["id"]] = triage(noted, findings, note.understood, desk.terminology.ancestors).level
    return {
        "vital_signs_alone": triage_vignettes.shares(rows, mute),
        "chart_without_scores": triage_vignettes.shares(rows, chart),
    }


def speed(desk: Desk) -> dict[str, float]:
    cases = [msgspec.convert(row["case"], Case) for row in triage_vignettes.rows()]
    gold = json.loads(chronic_plans.GIVEN.read_text(encoding="utf-8"))
    cases += [
        msgspec.convert(
            {**chronic_plans.in_our_words(row["case"], gold), "answers": chronic_plans.answers_of(row, gold)},
            Case,
        )
        for row in chronic_plans.rows()
    ]
    took = []
    for case in (*cases[:20], *cases):
        note = desk.reader.read(case.note, case.language)
        start = time.perf_counter()
        decide(desk, case, note)
        took.append((time.perf_counter() - start) * 1e3)
    took = sorted(took[20:])
    return {
        "assess_rules_ms_p50": round(statistics.median(took), 2),
        "assess_rules_ms_p95": round(took[int(0.95 * len(took))], 2),
        "assess_rules_cases": len(took),
    }


def own_and_others(desk: Desk) -> dict[str, object]:
    report = checks(desk.library, (), OPENEHR if OPENEHR.exists() else None)
    own = report["guidelines"].values()
    listed = summaries(desk.library)
    result: dict[str, object] = {
        "guidelines_total": len(listed),
        "rows_total": sum(row["rows"] for row in listed),
        "clauses_total": sum(row["clauses"] for row in listed),
        "clauses_source_opened": sum(row["clauses_verified"] for row in listed),
        "conformance_own_agreement": wilson(sum(f["agree"] for f in own), sum(f["rows"] for f in own)),
        "thresholds_untested": sum(len(f["thresholds_untested"]) for f in own),
    }
    if others := report.get("openehr"):
        cases = sum(f["cases"] for f in others.values())
        explained = sum(len(f["explained"]) for f in others.values())
        differing = sum(len(f["differing"]) for f in others.values())
        result |= {
            "conformance_openehr_agreement": wilson(sum(f["agree"] for f in others.values()), cases),
            "openehr_explained": explained,
            "openehr_unexplained": differing,
            "openehr_guidelines": len(others),
        }
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(__doc__, "quick", "json: only the JSON object").parse_args(arguments)
    desk = open_desk(from_environ())
    result = own_and_others(desk)
    if GROWTH.exists():
        result["conformance_growth_agreement"] = growth_agreement(9 if options.quick else 1)
    chronic = chronic_plans.measured(desk.library)
    vignettes = triage_vignettes.measured(desk)
    unseen = vignettes["unseen"]
    result |= {"chronic_plan_agreement": chronic["chronic_plan_agreement"], "chronic": chronic}
    result |= {
        "triage_emergency_recall": unseen["emergency_recall"],
        "over_triage": unseen["over_triage"],
        "triage_vignettes": vignettes,
        "triage_vignettes_first_run": json.loads(triage_vignettes.FIRST_RUN.read_text(encoding="utf-8")),
        "baselines": baselines(desk),
    }
    result |= speed(desk)
    result["queue_simulated"] = simulate(Post(), 50 if options.quick else 400, seed=20261128)
    if not options.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
