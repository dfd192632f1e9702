"""Set similarity of the packages hpo3 and pyhpo on the same cases, each in a process of its own. Part of
`differential.py`. Both packages are called `pyhpo`, so that hpo3 is installed into a folder for itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VERSION = "1.5.1"

CHILD = """
import json, sys, time
from pyhpo import HPOSet, Ontology
Ontology()
request = json.loads(sys.stdin.read())
sets, ids = [], []
for disease in list(Ontology.omim_diseases)[:request["diseases"]]:
    own = callable(getattr(disease, "hpo_set", None))
    found = disease.hpo_set() if own else HPOSet.from_queries(list(disease.hpo))
    if len(found):
        sets.append(found)
        ids.append(f"OMIM:{disease.id}")
answers = []
for case in request["cases"]:
    known = []
    for term in case["observed"]:
        try:
            Ontology.get_hpo_object(term)
            known.append(term)
        except Exception:
            pass
    start = time.perf_counter()
    own = HPOSet.from_queries(known)
    if hasattr(own, "similarity_scores"):
        scores = own.similarity_scores(sets)
    else:
        scores = [own.similarity(other) for other in sets]
    seconds = time.perf_counter() - start
    rank = None
    if case["disease"] in ids:
        truth = scores[ids.index(case["disease"])]
        ties = sum(s == truth for s in scores) - 1
        rank = 1 + sum(s > truth for s in scores) + ties / 2
    answers.append({"rank": rank, "ms": seconds * 1e3 * (request["all"] or len(sets)) / len(sets)})
print(json.dumps({"answers": answers, "diseases": len(sets)}))
"""


def hpo3(cases: list[dict[str, Any]], folder: Path | None) -> dict[str, Any] | str:
    """Ranks and times over all OMIM diseases of the release inside hpo3; why there are none, in words."""
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch)
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", scratch]
            done = subprocess.run([*command, f"hpo3=={VERSION}"], capture_output=True, text=True, check=False)
            if done.returncode:
                return "not measured: hpo3 could not be installed"
        return _run(cases, 100_000, 0, {"PYTHONPATH": str(folder)})


def pyhpo(cases: list[dict[str, Any]]) -> dict[str, Any] | str:
    """Times over 100 diseases, scaled to all: one case over all of them takes minutes."""
    return _run(cases, 100, 8_300, {})


def _run(
    cases: list[dict[str, Any]], diseases: int, scale_to: int, environ: dict[str, str]
) -> dict[str, Any] | str:
    request = json.dumps({"cases": cases, "diseases": diseases, "all": scale_to})
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=request, capture_output=True, text=True, check=False, env=environ
    )
    if done.returncode:
        return f"not measured: {done.stderr.strip().splitlines()[-1:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found
