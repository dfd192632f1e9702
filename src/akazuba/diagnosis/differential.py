"""What it probably is: every condition ranked by likelihood ratios, with the reasons.

The likelihood-ratio method of LIRICAL (Robinson et al. 2020, Am J Hum Genet 107:403-417),
reimplemented from its description for common conditions:

    log P(condition | findings) = (log prior(patient, place, season) + sum of log LR(finding)) / T + const
    LR(present) = sensitivity / background,  LR(absent) = (1 - sensitivity) / (1 - background)

T tempers what is said more than once (`FURTHER`); an image model's ratio is calibrated and counts in
full. "None of these" competes with every condition: its prior is what the priors leave over and each of its
likelihood ratios is 1, so that all probabilities, its own included, sum to 1. How findings meet the
knowledge, and what an image model adds, is in `evidence.py`; what to ask next in `questions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from akazuba.diagnosis.evidence import Columns, Floats, Weight, weigh, with_model
from akazuba.diagnosis.priors import prior
from akazuba.records import (
    Candidate,
    Counterfactual,
    Evidence,
    Finding,
    KnowledgeTable,
    ModelEvidence,
    Patient,
    Setting,
)

SHOWN = 10
MISS_FLOOR = 0.01
"""A must-not-miss condition at least this probable is listed beyond the first ten (our choice)."""

ABSTAIN_BELOW = 0.10
"""Below this the first condition is no answer (our choice)."""

PRIOR_WEIGHT = 0.7
"""Exponent of the priors, which are shares of consultations from memory (fitted like the next)."""

FURTHER, MOST_FURTHER = 0.2, 5
"""Each present finding after the first adds 0.2 to the temperature T, up to the sixth: those of one patient
are not independent. Untempered, the first condition of a vignette got 0.5 and was right in 0.3 (fitted on
half of the vignettes; `benchmarks/differential.py` shows the other half)."""

COVERAGE, SET_MASS = 0.80, 0.747
"""Conformal: the fewest conditions that hold this mass of the listed probability held the diagnosis in 80 %
of 126 vignettes whose diagnosis the knowledge has. A set for 90 % would name over thirty conditions."""

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

    columns: Columns
    prior: Floats
    models: tuple[ModelEvidence, ...]

    def weights(self, findings: Iterable[Finding]) -> list[Weight]:
        weights = weigh(self.columns, findings)
        for model in self.models:
            weights = with_model(weights, model, self.columns, self.prior)
        return weights

    def posterior(self, weights: Sequence[Weight], temperature: float) -> Floats:
        score = PRIOR_WEIGHT * np.log(self.prior) / temperature
        for weight in weights:
            score[:-1] += weight.log_lr / (temperature if weight.of_findings else 1.0)
        likely = np.exp(score - score.max())
        return np.asarray(likely / likely.sum())


def rank(
    columns: Columns,
    findings: Sequence[Finding],
    patient: Patient,
    setting: Setting,
    model_evidence: Sequence[ModelEvidence],
) -> Ranking:
    """Ranks every condition of the knowledge.

    findings: all of the case; only those that count (`Finding.counts`) are used.
    model_evidence: one likelihood ratio more for each condition that a model scores; at most one for
    each model.
    Raises ArtefactError when a model scores a condition that the table does not have.
    """
    models = tuple(sorted(model_evidence, key=lambda item: item.model))
    table = columns.table
    scales = _Scales(columns, prior(table, patient, setting), models)
    weights = scales.weights(findings)
    temperature = _temperature(weights)
    posterior = scales.posterior(weights, temperature)
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
        turned = _counterfactuals(scales, findings, weights, place, temperature)
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


def _temperature(weights: Iterable[Weight]) -> float:
    present = sum(weight.finding is not None and weight.finding.present for weight in weights)
    return 1 + FURTHER * min(max(present - 1, 0), MOST_FURTHER)


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
    scales: _Scales, findings: Sequence[Finding], weights: Iterable[Weight], place: int, temperature: float
) -> tuple[Counterfactual, ...]:
    """The condition's probability if each of its two strongest findings were the other way round."""
    speaking = [weight.finding for weight in _by_strength(weights, place, 1) if weight.finding is not None]
    answers = []
    for finding in speaking[:FLIPPED]:
        turned = msgspec.structs.replace(finding, present=not finding.present)
        others = [other for other in findings if other.id != finding.id]
        probability = scales.posterior(scales.weights([*others, turned]), temperature)[place]
        answers.append(Counterfactual(_if_not(finding), float(probability)))
    return tuple(answers)


def _shown(weight: Weight, place: int) -> Evidence:
    return msgspec.structs.replace(weight.evidence, likelihood_ratio=float(np.exp(weight.log_lr[place])))


def _if_not(finding: Finding) -> str:
    if finding.source == "test":
        return f"{finding.name} {'negative' if finding.present else 'positive'}"
    name = finding.name if finding.name[1:2].isupper() else finding.name[:1].lower() + finding.name[1:]
    return f"there were {'no ' if finding.present else ''}{name}"


def _prediction_set(table: KnowledgeTable, order: Sequence[int], posterior: Floats) -> tuple[str, ...]:
    """Names of the fewest conditions that hold `SET_MASS` of the listed conditions' probability."""
    held = np.cumsum(posterior[list(order)]) / posterior[:-1].sum()
    count = int(np.searchsorted(held, SET_MASS)) + 1
    return tuple(table.conditions[place].name for place in order[:count])
