"""The differential: how often the right disease is first, and at what cost.

    python benchmarks/differential.py [--quick] [--json] [--data ../shared/data] [--hpo3 DIR]

Development cases of `text_dx_cases`; the held-out 30 % were never here. Constants of the rankings were
fitted on one half of them (by hash of gene cohort or case); the other half is shown as `…_other_half`.

- phenopackets.ndjson: published patients with a rare disease, findings in HPO; tops of those whose disease
  the HPO release of 2025-01 has (coverage beside), calibration of all. Some annotations come from the same
  papers, which flatters. In the same run: set similarity of hpo3 (its own, newer release; OMIM only), and the
  time of pyhpo.
- ddxplus_test_mini.jsonl: simulated patients, asked question by question (`ddxplus.py`).
- avey400, agentclinic_osce, craftmd2004: vignettes in free text (`vignettes.py`). A diagnosis that the
  knowledge does not have is a miss; `…_coverage` is the share that it has. Words for the note reader were
  collected from the fitted half too, so that the other half is the figure to quote.

Intervals: 95 %, bootstrapped over gene cohorts (phenopackets) or cases. `--quick` takes every fifth case for
hpo3 and every third for craftmd and ddxplus. hpo3 goes into a scratch folder unless `--hpo3` names one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ddxplus
import hpo_similarity
import numpy as np
import numpy.typing as npt
import vignettes
from figures import options_of, shown

from akazuba.box import Box
from akazuba.diagnosis.evidence import columns_of
from akazuba.errors import ArtefactError, CaseError
from akazuba.guidelines.library import shipped
from akazuba.knowledge.conditions import open_knowledge, verified_share
from akazuba.knowledge.coverage import coverage
from akazuba.language.reader import Reader
from akazuba.ranking import Ranker, RankQuery, open_ranker
from akazuba.settings import from_environ
from akazuba.training import measure
from akazuba.urgency import Desk

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NEVER = 1e9
"""Rank of what the knowledge does not have."""

LOAD = """
import json, resource, sys, time
from pathlib import Path
import numpy
from akazuba.knowledge.conditions import open_knowledge
from akazuba.knowledge.store import open_store
from akazuba.diagnosis.rare import rank_rare
from akazuba.settings import from_environ
from akazuba.terminology import open_terminology
home = from_environ().home
terms = open_terminology(home)
def held():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / 2**20
before, start = held(), time.perf_counter()
store = open_store(home, terms, open_knowledge())
loaded = time.perf_counter() - start
for finding in json.loads(sys.argv[1]):
    rank_rare(store, finding, [], terms.ancestors)
print(json.dumps({"load_ms": loaded * 1e3, "load_mb": held() - before}))
"""


def main() -> None:
    parser = options_of(__doc__, "quick: fewer cases of the slow parts", "json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--hpo3", type=Path, help="folder in which hpo3 is installed")
    arguments = parser.parse_args()
    folder = arguments.data / "text_dx_cases"
    if not folder.is_dir():
        parser.exit(2, f"error: {folder}: expected the research data, found no such folder\n")
    facts: dict[str, Any] = {}
    for part in (
        known,
        lambda: rare(folder, arguments.hpo3, 5 if arguments.quick else 1),
        lambda: sequential(folder, 3 if arguments.quick else 1),
        lambda: free_text(folder, 3 if arguments.quick else 1),
    ):
        found = part()
        for key, value in found.items():
            print(f"{key:44} {shown(value)}", flush=True)
        facts |= found
    if arguments.json:
        print(json.dumps(facts))


def known() -> dict[str, Any]:
    ranker, common = open_ranker(from_environ()), open_knowledge()
    lists = {item.list: round(item.share, 4) for item in coverage(ranker.store, common)}
    return {
        "conditions_total": len(common.rows),
        "conditions_source_verified": verified_share(common.table),
        "rare_diseases_total": len(ranker.store.disease_ids),
        **{f"knowledge_coverage: {name}": share for name, share in lists.items()},
    }


# --- rare diseases ------------------------------------------------------------------------------


def rare(folder: Path, hpo3: Path | None, every: int) -> dict[str, Any]:
    cases = [
        json.loads(line) for line in (folder / "phenopackets.ndjson").read_text(encoding="utf-8").splitlines()
    ]
    ranker = open_ranker(from_environ())
    place = {id_: row for row, id_ in enumerate(ranker.store.disease_ids)}
    facts: dict[str, Any] = {
        "phenopackets_coverage": share([case["disease"] in place for case in cases], groups(cases)),
    }
    ranks, first, times = ranked_rare(ranker, cases, place)
    other = np.array([half(case["group"]) == 1 for case in cases])
    facts["ece_phenopackets"] = expected_calibration_error(first, ranks == 1)
    facts["ece_phenopackets_other_half"] = expected_calibration_error(first[other], ranks[other] == 1)
    listed = np.array([case["in_hpoa_2025_01"] for case in cases])
    facts |= tops("phenopackets_other_half", ranks[listed & other], groups(cases, listed & other), (1, 3, 10))
    cases, ranks = [case for case in cases if case["in_hpoa_2025_01"]], ranks[listed]
    facts |= tops("phenopackets", ranks, groups(cases), (1, 3, 10))
    facts["rank_ms_p50"] = round(float(np.median(times)), 2)
    facts["rank_ms_p95"] = round(float(np.percentile(times, 95)), 2)
    facts |= loading(cases[::20])
    some = cases[::every]
    found = hpo_similarity.hpo3(some, hpo3)
    if isinstance(found, str):
        return facts | {"hpo3": found}
    theirs = np.array([answer["rank"] or NEVER for answer in found["answers"]])
    facts |= tops("hpo3", theirs, groups(some), (1, 3, 10))
    facts |= tops("phenopackets_same_cases", ranks[::every], groups(some), (1, 3, 10))
    facts["hpo3_ms_p50"] = round(float(np.median([answer["ms"] for answer in found["answers"]])), 1)
    slow = hpo_similarity.pyhpo(cases[:3])
    facts["pyhpo_ms_p50_extrapolated"] = (
        slow
        if isinstance(slow, str)
        else round(float(np.median([answer["ms"] for answer in slow["answers"]])))
    )
    return facts


def ranked_rare(
    ranker: Ranker, cases: list[dict[str, Any]], place: dict[str, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[float]]:
    """Rank of the true disease (ties count half), probability of the first, milliseconds of each case."""
    ranks, first, times = [], [], []
    for case in cases:
        start = time.perf_counter()
        posterior = posterior_of(ranker, case)
        times.append((time.perf_counter() - start) * 1e3)
        if case["disease"] in place:
            truth = posterior[place[case["disease"]]]
            ranks.append(1 + (posterior > truth).sum() + ((posterior == truth).sum() - 1) / 2)
        else:
            ranks.append(NEVER)
        first.append(posterior.max())
    return np.array(ranks), np.array(first), times


def posterior_of(ranker: Ranker, case: dict[str, Any]) -> npt.NDArray[np.float64]:
    """(D,) of the diseases; nothing when no finding of the case is known to the release."""
    query = RankQuery(case["id"], tuple(case["observed"]), tuple(case["excluded"]))
    try:
        return ranker.ranking(query)[0].posterior[:-1]
    except CaseError:
        return np.zeros(len(ranker.store.disease_ids))


def loading(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """A process of its own: time to open the knowledge, and what it and some cases add to the peak memory."""
    findings = [[id_ for id_ in case["observed"] if not id_.startswith("HP:6")] for case in cases]
    command = [sys.executable, "-c", LOAD, json.dumps([ids for ids in findings if ids])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return {key: round(value, 1) for key, value in json.loads(done.stdout).items()}


# --- questions ----------------------------------------------------------------------------------


def sequential(folder: Path, every: int) -> dict[str, Any]:
    found = ddxplus.measured(folder, every)
    facts = tops("ddxplus", np.array(found["ranks"], float), found["ids"], (1, 3))
    own = np.array(found["own_ranks"])
    return facts | {
        "ddxplus_questions_mean": round(float(np.mean(found["asked"])), 2),
        "ddxplus_own_differential_top1": round(float((own <= 1).mean()), 4),
        "ddxplus_own_differential_top3": round(float((own <= 3).mean()), 4),
    }


# --- free text ----------------------------------------------------------------------------------


def free_text(folder: Path, every: int) -> dict[str, Any]:
    box = text_box()
    ids = np.array([condition.id for condition in box.columns.table.conditions])
    facts: dict[str, Any] = {}
    pooled: list[npt.NDArray[np.float64]] = []
    firsts, rights, halves, held, sizes = [], [], [], [], []
    for name, cases in (
        ("avey", vignettes.avey(folder)),
        ("osce", vignettes.osce(folder)),
        ("craftmd", vignettes.craftmd(folder)[::every]),
    ):
        ranks = []
        for case in cases:
            ranking = vignettes.ranked(box, case)
            right = np.isin(ids, list(case.gold))
            posterior = ranking.posterior[:-1]
            ranks.append(1 + (posterior > posterior[right].max()).sum() if right.any() else NEVER)
            firsts.append(posterior.max())
            rights.append(bool(right[posterior.argmax()]))
            halves.append(half(case.id) if name == "avey" else 2)
            if name == "avey" and right.any() and half(case.id) == 1 and not ranking.abstained:
                names = {
                    c.name
                    for c, is_right in zip(box.columns.table.conditions, right, strict=True)
                    if is_right
                }
                held.append(bool(names & set(ranking.prediction_set)))
                sizes.append(len(ranking.prediction_set))
        found = np.array(ranks, float)
        case_ids = [case.id for case in cases]
        facts |= tops(name, found, case_ids, (1, 3, 5))
        other = np.array([half(id_) == 1 for id_ in case_ids])
        facts |= tops(f"{name}_other_half", found[other], [i for i in case_ids if half(i) == 1], (1, 3, 5))
        facts[f"{name}_coverage"] = share([bool(case.gold) for case in cases], case_ids)
        pooled.append(found)
    together = np.concatenate(pooled)
    facts["offline_top5"] = share(together <= 5, [str(i) for i in range(len(together))])
    first, right = np.array(firsts), np.array(rights)
    facts["ece"] = expected_calibration_error(first, right)
    unfitted = np.array(halves) != 0
    facts["ece_other_cases"] = expected_calibration_error(first[unfitted], right[unfitted])
    facts["prediction_set_coverage_other_half"] = share(held, [str(i) for i in range(len(held))])
    facts["prediction_set_size_p50"] = float(np.median(sizes))
    return facts


def text_box() -> Box:
    """What a consultation needs, without the image engine."""
    ranker = open_ranker(from_environ())
    columns = columns_of(open_knowledge().table, ranker.terminology.ancestors)
    nothing = ArtefactError("engine", "none", "none: only text is read here")
    return Box(Desk(ranker.terminology, Reader(ranker.terminology), shipped()), columns, "benchmark", nothing)


# --- figures ------------------------------------------------------------------------------------


def half(key: str) -> int:
    """0: the half on which constants were fitted; 1: the other."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 2


def groups(cases: list[dict[str, Any]], chosen: npt.NDArray[np.bool_] | None = None) -> list[str]:
    kept = cases if chosen is None else [case for case, yes in zip(cases, chosen, strict=True) if yes]
    return [case["group"] for case in kept]


def tops(
    name: str, ranks: npt.NDArray[np.float64], units: Sequence[str], places: Sequence[int]
) -> dict[str, Any]:
    return {f"{name}_top{place}": share(ranks <= place, units) for place in places}


def share(hits: Sequence[bool] | npt.NDArray[np.bool_], units: Sequence[str]) -> dict[str, float]:
    values = np.asarray(hits, float)
    return measure.bootstrap(lambda i: float(values[i].mean()), list(units)).as_dict()


def expected_calibration_error(
    probability: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int = 10
) -> float:
    """Mean gap between the first condition's probability and how often it is right, over ten bins."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        (place == b).mean() * abs(probability[place == b].mean() - right[place == b].mean())
        for b in range(bins)
        if (place == b).any()
    ]
    return round(float(sum(gaps)), 4)


if __name__ == "__main__":
    main()
