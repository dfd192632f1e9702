"""Questions one after another on DDXPlus (simulated patients, 49 conditions). Part of `differential.py`.

From the first complaint, age and sex at most 15 questions, each the one with the highest expected
information gain (`diagnosis.questions.information_gain`, all questions cost the same); then the conditions
are ranked. Likelihoods are smoothed counts of the other four folds of the 1,835 development cases; nothing
else is learned.

With every answer shown at once the set is trivial. In this file the simulator's own differential has the true
condition first in three quarters of the cases, so that a published 75 % (AARLC) of a system that learned that
differential is no like for like: it is printed beside.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis.questions import information_gain

Floats = npt.NDArray[np.float64]

MOST_QUESTIONS = 15
ENOUGH = 0.99
FOLDS = 5
FLOOR = 0.002
AGE_EDGES = (1, 5, 15, 30, 45, 60, 75)
PSEUDO_CASES = {"B": 1.0, "C": 2.0, "M": 1.0}
"""Cases at the overall rate that are added to a condition's: yes or no, one of several, some of several."""

MULTIPLE = 0.5
"""Weight of an answer of several choices: left and right of one place go together."""

Answer = tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """A question with what training says of it.

    chance: (A, D) P(answer | condition), of the answers seen. log_yes, log_no: (D, V) of each choice.
    """

    kind: str
    default: str
    values: tuple[str, ...]
    answers: dict[Answer, int]
    chance: Floats
    log_yes: Floats
    log_no: Floats

    def log_likelihood(self, answer: Answer) -> Floats:
        """(D,)"""
        if self.kind == "M":
            chosen = np.isin(self.values, answer)
            return np.asarray(MULTIPLE * np.where(chosen, self.log_yes, self.log_no).sum(1))
        return np.asarray(np.log(self.chance[self.answers[answer]]))


@dataclass(frozen=True)
class Case:
    id: str
    condition: int
    age_band: int
    sex: int
    first: str
    answers: dict[str, Answer]
    own_rank: int | None
    """Place of the true condition in the simulator's own differential, from 0."""


def read(folder: Path) -> tuple[list[Case], dict[str, dict[str, Any]], int]:
    vocabulary = json.loads((folder / "ddxplus_evidences.json").read_text(encoding="utf-8"))
    listed = json.loads((folder / "ddxplus_conditions.json").read_text(encoding="utf-8"))
    names = sorted(condition["cond-name-eng"] for condition in listed.values())
    cases = []
    for line in (folder / "ddxplus_test_mini.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        answers: dict[str, list[str]] = {}
        for evidence in row["evidences"]:
            code, _, value = evidence.partition("_@_")
            answers.setdefault(code, []).append(value)
        own = [name for name, _ in row["differential"]]
        cases.append(
            Case(
                row["id"],
                names.index(row["pathology"]),
                int(np.searchsorted(AGE_EDGES, row["age"], side="right")),
                int(row["sex"] == "M"),
                row["initial_evidence"].partition("_@_")[0],
                {code: tuple(sorted(values)) for code, values in answers.items()},
                own.index(row["pathology"]) if row["pathology"] in own else None,
            )
        )
    return cases, vocabulary, len(names)


def answer_of(case: Case, code: str, facts: dict[str, Any]) -> Answer:
    """What the patient would say; what is not noted is the default ("no", "nowhere")."""
    if facts["data_type"] == "B":
        return ("yes",) if code in case.answers else ("no",)
    return case.answers.get(code, (str(facts["default_value"]),))


def fit(code: str, facts: dict[str, Any], cases: list[Case], conditions: int) -> Fitted:
    """cases: those to whom the question applies."""
    kind, values = facts["data_type"], tuple(map(str, facts["possible-values"]))
    seen = [answer_of(case, code, facts) for case in cases]
    possible = {
        "B": [("no",), ("yes",)],
        "C": [(value,) for value in values],
        "M": list(dict.fromkeys(seen)),
    }[kind]
    answers = {answer: place for place, answer in enumerate(possible)}
    count = np.zeros((len(answers), conditions))
    for case, answer in zip(cases, seen, strict=True):
        count[answers[answer], case.condition] += 1
    if kind == "C" and len(values) == 11:  # a scale from 0 to 10: neighbours mean nearly the same
        steps = np.arange(11)
        near = np.exp(-0.5 * (steps[:, None] - steps) ** 2)
        count = near / near.sum(0) @ count
    pseudo, total = PSEUDO_CASES[kind], count.sum(0)
    overall = (count.sum(1) + 0.5) / (count.sum() + 0.5 * len(answers))
    chance = np.clip((count + pseudo * overall[:, None]) / (total + pseudo), FLOOR, 1 - FLOOR)
    chosen = np.array([np.isin(values, answer) for answer in answers], float)
    have = (chosen.T @ count).T if kind == "M" else np.zeros((conditions, 1))
    rate = (have.sum(0) + 0.5) / (count.sum() + 1)
    yes = np.clip((have + pseudo * rate) / (total[:, None] + pseudo), FLOOR, 1 - FLOOR)
    return Fitted(
        kind,
        str(facts["default_value"]),
        values,
        answers,
        chance / chance.sum(0),
        np.log(yes),
        np.log1p(-yes),
    )


def prior(cases: list[Case], conditions: int) -> tuple[Floats, Floats, Floats]:
    """Log shares (D,), of age bands (D, bands) and of sexes (D, 2)."""
    count = np.bincount([case.condition for case in cases], minlength=conditions)
    bands, sexes = np.zeros((conditions, len(AGE_EDGES) + 1)), np.zeros((conditions, 2))
    for case in cases:
        bands[case.condition, case.age_band] += 1
        sexes[case.condition, case.sex] += 1
    shares = []
    for table in (bands, sexes):
        overall = (table.sum(0) + 1) / (table.sum() + table.shape[1])
        shares.append(np.log((table + 3 * overall) / (count[:, None] + 3)))
    return np.log((count + 1) / (count.sum() + conditions)), shares[0], shares[1]


def consult(
    case: Case,
    vocabulary: dict[str, dict[str, Any]],
    fitted: dict[str, Fitted],
    log_prior: Floats,
) -> tuple[Floats, int]:
    """Log scores (D,) after the questions, and how many were asked."""
    codes = list(fitted)
    parents = {c: p if (p := vocabulary[c]["code_question"]) != c and p in fitted else None for c in codes}
    known: set[str] = set()
    score = log_prior.copy()

    def learn(code: str) -> None:
        nonlocal score
        answer = answer_of(case, code, vocabulary[code])
        score = score + fitted[code].log_likelihood(answer)
        known.add(code)
        if answer == ("no",):
            known.update(child for child, parent in parents.items() if parent == code)

    learn(case.first)
    for asked in range(MOST_QUESTIONS):
        posterior = np.exp(score - score.max())
        posterior /= posterior.sum()
        open_ = [c for c in codes if c not in known and (parents[c] is None or parents[c] in known)]
        if posterior.max() > ENOUGH or not open_:
            return score, asked
        learn(best(open_, fitted, posterior[:, None]))
    return score, MOST_QUESTIONS


def best(codes: list[str], fitted: dict[str, Fitted], posterior: Floats) -> str:
    """The question with the highest expected information gain; those of yes and no together at once."""
    binary = [code for code in codes if fitted[code].kind == "B"]
    gains = {}
    if binary:
        together = np.stack([fitted[code].chance for code in binary], axis=2)
        gains = dict(zip(binary, information_gain(posterior, together), strict=True))
    for code in codes:
        if code not in gains:
            gains[code] = information_gain(posterior, fitted[code].chance[:, :, None])[0]
    return max(codes, key=lambda code: gains[code])


def measured(folder: Path, every: int = 1) -> dict[str, Any]:
    """Ranks of the true condition, questions asked, and the simulator's own ranks, by case."""
    cases, vocabulary, conditions = read(folder)
    fold = np.array([int(hashlib.sha256(case.id.encode()).hexdigest(), 16) % FOLDS for case in cases])
    ranks, asked, ids = [], [], []
    for number in range(FOLDS):
        train = [case for case, f in zip(cases, fold, strict=True) if f != number]
        fitted = {}
        for code, facts in vocabulary.items():
            parent = facts["code_question"]
            applies = train
            if parent != code and parent in vocabulary:
                applies = [c for c in train if answer_of(c, parent, vocabulary[parent]) == ("yes",)] or train
            fitted[code] = fit(code, facts, applies, conditions)
        log_share, log_band, log_sex = prior(train, conditions)
        for case in [case for case, f in zip(cases, fold, strict=True) if f == number][::every]:
            start = log_share + log_band[:, case.age_band] + log_sex[:, case.sex]
            score, count = consult(case, vocabulary, fitted, start)
            ranks.append(int((score > score[case.condition]).sum()) + 1)
            asked.append(count)
            ids.append(case.id)
    own = [case.own_rank + 1 if case.own_rank is not None else 99 for case in cases]
    return {"ranks": ranks, "asked": asked, "ids": ids, "own_ranks": own}
