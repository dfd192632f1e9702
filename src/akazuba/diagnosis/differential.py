"""What it probably is: every condition ranked by likelihood ratios, with the reasons.

The likelihood-ratio method of LIRICAL (Robinson et al. 2020, Am J Hum Genet 107:403-417),
reimplemented from its description for common conditions:

    log P(condition | findings) = log prior(age, sex, malaria zone) + sum of log LR(finding) + const
    LR(present) = sensitivity / background,  LR(absent) = (1 - sensitivity) / (1 - background)

"None of these" competes with every condition: its prior is what the priors leave over and each of its
likelihood ratios is 1, so that all probabilities, its own included, sum to 1. How findings meet the
knowledge, and what an image model adds, is in `evidence.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from akazuba.diagnosis.evidence import Columns, Floats, Weight, columns_of, weigh, with_model
from akazuba.records import (
    AGE_BANDS_YEARS,
    MALARIA_ZONES,
    Candidate,
    Counterfactual,
    Evidence,
    Finding,
    KnowledgeTable,
    ModelEvidence,
    Patient,
    Setting,
)
from akazuba.terminology import Ancestors

OTHER_FLOOR = 0.05
"""Least prior of "none of these", however common the listed conditions are for an age (our choice)."""

SHOWN = 10
MISS_FLOOR = 0.01
"""A must-not-miss condition at least this probable is listed beyond the first ten (our choice)."""

ABSTAIN_BELOW = 0.10
"""Below this the first condition is no answer (our choice)."""

COVERAGE = 0.90
"""Share of the listed probability in the prediction set: nominal in this version, not conformal."""

LEAST_GAIN_NATS = 0.005
QUESTIONS = 3
EXPLAINED = 3  # candidates with counterfactuals
FLIPPED = 2  # counterfactuals of each
LEAST_LOG_LR = 0.05  # what is nearer to no weight at all is not shown

PREGNANCY = "AKZ:0000041"  # a circumstance that the case states, no complaint


@dataclass(frozen=True)
class Ranking:
    """candidates: best first. none_of_these: probability that it is no listed condition.

    posterior: (D + 1,) probability of each condition of the table and, last, of none of these.
    """

    candidates: tuple[Candidate, ...]
    none_of_these: float
    prediction_set: tuple[str, ...]
    coverage: float
    abstained: bool
    why: str | None
    posterior: Floats


@dataclass(frozen=True)
class _Scales:
    """What the findings of one case are weighed on. prior: (D + 1,)."""

    table: KnowledgeTable
    columns: Columns
    prior: Floats
    models: tuple[ModelEvidence, ...]

    def weights(self, findings: Iterable[Finding]) -> list[Weight]:
        weights = weigh(self.table, self.columns, findings)
        for model in self.models:
            weights = with_model(weights, model, self.table, self.prior, self.columns.ancestors)
        return weights

    def posterior(self, weights: Iterable[Weight]) -> Floats:
        score = np.log(self.prior)
        for weight in weights:
            score[:-1] += weight.log_lr
        likely = np.exp(score - score.max())
        return np.asarray(likely / likely.sum())


def rank(
    table: KnowledgeTable,
    findings: Sequence[Finding],
    patient: Patient,
    setting: Setting,
    model_evidence: Sequence[ModelEvidence],
    ancestors: Ancestors,
) -> Ranking:
    """Ranks every condition of the table.

    findings: all of the case; only those that count (`Finding.counts`) are used.
    model_evidence: one likelihood ratio more for each condition that a model scores; at most one for
    each model.
    Raises ArtefactError when a model scores a condition that the table does not have.
    """
    models = tuple(sorted(model_evidence, key=lambda item: item.model))
    scales = _Scales(table, columns_of(table, ancestors), _prior(table, patient, setting), models)
    weights = scales.weights(findings)
    posterior = scales.posterior(weights)
    complaints = [f for f in findings if f.counts and f.present and f.id != PREGNANCY]
    if not complaints and not models:
        none_of_these = float(posterior[-1])
        return Ranking(
            (), none_of_these, (), COVERAGE, abstained=True, why="no findings", posterior=posterior
        )
    conditions = table.conditions
    order = sorted(range(len(conditions)), key=lambda place: (-posterior[place], conditions[place].id))
    late = [p for p in order[SHOWN:] if conditions[p].must_not_miss and posterior[p] >= MISS_FLOOR]
    candidates = [
        _candidate(table, place, float(posterior[place]), weights) for place in (*order[:SHOWN], *late)
    ]
    for position, place in enumerate(order[:EXPLAINED]):
        turned = _counterfactuals(scales, findings, weights, place)
        candidates[position] = msgspec.structs.replace(candidates[position], counterfactuals=turned)
    first = candidates[0]
    weak = first.probability < ABSTAIN_BELOW
    return Ranking(
        tuple(candidates),
        none_of_these=float(posterior[-1]),
        prediction_set=_prediction_set(table, order, posterior),
        coverage=COVERAGE,
        abstained=weak,
        why=f"nothing is probable enough: the first, {first.name}, has {first.probability:.0%}"
        if weak
        else None,
        posterior=posterior,
    )


def ask_next(
    table: KnowledgeTable, ranking: Ranking, findings: Sequence[Finding], ancestors: Ancestors
) -> tuple[str, ...]:
    """Up to three findings or tests that are not yet known, most informative first, in plain words.

    By expected information gain: how much the entropy of the posterior falls on average with the answer.
    """
    columns = columns_of(table, ancestors)
    known = {
        column
        for finding in findings
        if finding.counts
        for column in (columns.proved_by(finding.id) if finding.present else columns.ruled_out_by(finding.id))
    }
    share = np.vstack(
        [
            np.where(np.isnan(columns.sensitivity), columns.background, columns.sensitivity),
            columns.background,
        ]
    )  # (D + 1, F)
    yes = ranking.posterior[:, None] * share
    no = ranking.posterior[:, None] * (1 - share)
    gain = _entropy(ranking.posterior[:, None]) - _entropy(yes) - _entropy(no)  # (F,)
    best = sorted(
        (column for column in range(len(table.finding_ids)) if column not in known),
        key=lambda column: (-gain[column], table.finding_ids[column]),
    )
    return tuple(_question(table, place) for place in best[:QUESTIONS] if gain[place] >= LEAST_GAIN_NATS)


def _question(table: KnowledgeTable, place: int) -> str:
    way = "Test" if table.finding_ids[place].startswith("test:") else "Ask or look for"
    return f"{way}: {table.finding_names[place]}"


def _entropy(joint: Floats) -> Floats:
    """Nats of each column once normalised, times the column's sum (its probability)."""
    total = joint.sum(axis=0)
    return np.asarray(total * np.log(total) - (joint * np.log(np.maximum(joint, 1e-300))).sum(axis=0))


def _prior(table: KnowledgeTable, patient: Patient, setting: Setting) -> Floats:
    """(D + 1,) prior of each condition for this patient and place, last "none of these"; sums to 1.

    What is not known of the patient (age, sex, zone) leaves the prior as it is.
    """
    prior = table.prior.copy()
    age = patient.age_in_years
    if age is not None:
        prior *= table.age_factor[:, int(np.searchsorted(AGE_BANDS_YEARS, age, side="right")) - 1]
    if patient.sex in ("female", "male"):
        prior *= table.sex_factor[:, ("female", "male").index(patient.sex)]
    if setting.malaria_zone is not None:
        prior *= table.malaria_factor[:, MALARIA_ZONES.index(setting.malaria_zone)]
    with_other = np.append(prior, max(1 - prior.sum(), OTHER_FLOOR))
    return np.asarray(with_other / with_other.sum())


def _candidate(table: KnowledgeTable, place: int, probability: float, weights: Sequence[Weight]) -> Candidate:
    condition = table.conditions[place]
    return Candidate(
        name=condition.name,
        probability=probability,
        synonyms=condition.synonyms,
        ids=condition.ids,
        evidence=tuple(_shown(weight, place) for weight in _by_strength(weights, place, 1)),
        evidence_against=tuple(_shown(weight, place) for weight in _by_strength(weights, place, -1)),
        must_not_miss=condition.must_not_miss,
        source=f"{condition.source} ({table.version})",
        review=condition.review,
    )


def _by_strength(weights: Iterable[Weight], place: int, sign: int) -> list[Weight]:
    """The weights that speak for (sign 1) or against (-1) a condition, strongest first."""
    speaking = [weight for weight in weights if sign * weight.log_lr[place] > LEAST_LOG_LR]
    return sorted(speaking, key=lambda weight: -sign * weight.log_lr[place])


def _counterfactuals(
    scales: _Scales, findings: Sequence[Finding], weights: Iterable[Weight], place: int
) -> tuple[Counterfactual, ...]:
    """The condition's probability if each of its two strongest findings were the other way round."""
    speaking = [weight.finding for weight in _by_strength(weights, place, 1) if weight.finding is not None]
    answers = []
    for finding in speaking[:FLIPPED]:
        turned = msgspec.structs.replace(finding, present=not finding.present)
        others = [other for other in findings if other.id != finding.id]
        probability = scales.posterior(scales.weights([*others, turned]))[place]
        answers.append(Counterfactual(_if_not(finding), float(probability)))
    return tuple(answers)


def _shown(weight: Weight, place: int) -> Evidence:
    return msgspec.structs.replace(weight.evidence, likelihood_ratio=float(np.exp(weight.log_lr[place])))


def _if_not(finding: Finding) -> str:
    name = finding.name if finding.name[1:2].isupper() else finding.name[:1].lower() + finding.name[1:]
    return f"there were {'no ' if finding.present else ''}{name}"


def _prediction_set(table: KnowledgeTable, order: Sequence[int], posterior: Floats) -> tuple[str, ...]:
    """Names of the fewest conditions that hold `COVERAGE` of the listed conditions' probability."""
    held = np.cumsum(posterior[list(order)]) / posterior[:-1].sum()
    count = int(np.searchsorted(held, COVERAGE)) + 1
    return tuple(table.conditions[place].name for place in order[:count])
