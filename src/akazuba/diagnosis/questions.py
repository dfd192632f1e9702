"""What to ask or test next: the answer that would settle most for what it costs.

By expected information gain: how much the entropy of the posterior falls on average with the answer. Of a
finding that a condition does not list, the background speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from akazuba.diagnosis.evidence import Columns, Floats
from akazuba.records import Finding

AWAY_S = 4320.0
"""What a test costs besides when it is not done here: a twentieth of a day on the way (our choice)."""

LEAST_GAIN_NATS = 0.005
"""What settles less is not asked (our choice)."""

WEIGHED = 64
"""Conditions that a question is weighed on, the most probable ones; the rest counts as one with "none of
these"."""


@dataclass(frozen=True)
class Question:
    """id: of the finding or test. gain_nats: expected fall of the posterior's entropy. cost_s: seconds of a
    nurse's time, price and waiting included.
    """

    id: str
    name: str
    gain_nats: float
    cost_s: float

    @property
    def is_test(self) -> bool:
        return self.id.startswith("test:")

    @property
    def words(self) -> str:
        """As it is shown in an assessment.

        >>> Question("test:malaria-rdt", "malaria rapid test", 0.3, 100).words
        'Test: malaria rapid test'
        """
        return f"{'Test' if self.is_test else 'Ask or look for'}: {self.name}"


def ask_next(
    columns: Columns,
    posterior: Floats,
    findings: Sequence[Finding],
    most: int,
    asked: frozenset[str] = frozenset(),
    tests_available: Sequence[str] | None = None,
) -> tuple[Question, ...]:
    """Findings and tests that are not yet known, the highest gain per cost first.

    posterior: (D + 1,) of the conditions and none of these. asked: ids that got no answer. tests_available:
    ids of the tests of this post, without `test:`; None when unknown (then those of any post).
    """
    table = columns.table
    known = {
        column
        for finding in findings
        if finding.counts
        for column in (columns.proved_by(finding.id) if finding.present else columns.ruled_out_by(finding.id))
    }
    gain = _gains(columns, posterior)
    cost = _cost(columns, tests_available)
    value = gain / cost
    best = sorted(
        (
            column
            for column in np.flatnonzero(gain >= LEAST_GAIN_NATS)
            if column not in known and table.finding_ids[column] not in asked
        ),
        key=lambda column: (-value[column], table.finding_ids[column]),
    )
    return tuple(
        Question(
            table.finding_ids[column],
            table.finding_names[column],
            float(gain[column]),
            float(cost[column]),
        )
        for column in best[:most]
    )


def _cost(columns: Columns, tests_available: Sequence[str] | None) -> Floats:
    """(F,) seconds; a test that is not done here costs the way besides."""
    table = columns.table
    away = set(table.in_hospital)
    if tests_available is not None:
        away = {id_ for id_ in table.finding_ids if id_.startswith("test:")}
        away -= {f"test:{name}" for name in tests_available}
    return np.asarray(table.cost + AWAY_S * np.isin(table.finding_ids, list(away)))


def _gains(columns: Columns, posterior: Floats) -> Floats:
    """(F,) expected information gain of each finding."""
    rows = np.argsort(-posterior[:-1], kind="stable")[:WEIGHED]
    share = columns.sensitivity[rows].astype(np.float64)
    share = np.vstack([np.where(np.isnan(share), columns.background, share), columns.background])
    weight = np.append(posterior[rows], 1 - posterior[rows].sum())[:, None]
    return information_gain(weight, np.stack([share, 1 - share]))


def information_gain(posterior: Floats, answers: Floats) -> Floats:
    """(F,) mutual information, in nats, of what is asked for and each question's answer.

    posterior: (D, 1), sums to 1. answers: (A, D, F), P(answer | condition), sums to 1 over the answers.
    """
    joint = posterior * answers
    return np.asarray(_entropy(posterior[None])[0] - _entropy(joint).sum(axis=0))


def _entropy(joint: Floats) -> Floats:
    """(A, F) nats over the conditions once normalised, times the sum (the answer's probability)."""
    total = joint.sum(axis=1)
    log_total = np.log(np.maximum(total, 1e-300))
    return np.asarray(total * log_total - (joint * np.log(np.maximum(joint, 1e-300))).sum(axis=1))
