"""What held-out folds teach about how far a head can be trusted, and the figures that go with it.

The figures are honest: for each fold, weights and thresholds come from the other folds. What is shipped is
fitted on all folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from akazuba.diagnosis import calibration
from akazuba.diagnosis.artefacts import MatchCalibration, ModeCalibration
from akazuba.training import measure
from akazuba.training.data import Examples
from akazuba.training.fit import Ints
from akazuba.training.judge import Said
from akazuba.training.measure import Floats

COVERAGE = 0.9
DOUBTED_SHARE = 0.05
"""Share of true pairs of picture and note that are remarked on as perhaps not belonging together."""


@dataclass(frozen=True)
class Trust:
    calibration: dict[str, ModeCalibration]
    match: MatchCalibration | None
    metrics: dict[str, object]


def posteriors_of(said: Said, prior: Floats) -> dict[str, Floats]:
    """P(label | what was seen), uncalibrated, by mode."""
    return {
        mode: calibration.probabilities(scores[:, None], prior, np.ones(1))
        for mode, scores in said.scores.items()
    }


def trust(examples: Examples, fold: Ints, said: Said, most_in_set: int) -> Trust:
    """Fits weights and set thresholds on what the exported folds said of held-out examples."""
    labels, prior, groups = examples.labels, examples.prior, examples.groups
    posteriors = posteriors_of(said, prior)

    def parts(*sources: str) -> Floats:
        return measure.parts([posteriors[source] for source in sources], prior)

    shipped = {"image": {"image": parts("image")}}
    modes = dict(shipped)
    if "fused" in posteriors:
        shipped["fused"] = {
            "fused": parts("image", "text", "fused"),
            "fused_paraphrased": parts("image", "text_paraphrased", "fused_paraphrased"),
        }
        modes |= {"text": {"text": parts("text")}, "fused": shipped["fused"]}

    fitted: dict[str, ModeCalibration] = {}
    for mode, wordings in shipped.items():
        trusted = measure.fitted(list(wordings.values()), labels, prior, COVERAGE)
        least = tuple(float(f"{v:.5g}") for v in trusted.least)
        fitted[mode] = ModeCalibration(tuple(trusted.weights.tolist()), least)

    metrics: dict[str, object] = {}
    for wordings in modes.values():
        answers = measure.cross_fitted(list(wordings.values()), labels, fold, prior, COVERAGE)
        for mode, (probability, thresholds) in zip(wordings, answers, strict=True):
            metrics |= _figures(mode, probability, thresholds, examples, most_in_set)
            for healthy in {"normal", "no-finding"} & set(examples.label_names):
                place = examples.label_names.index(healthy)
                ill = 1 - probability[:, place]
                metrics["auc_pneumonia"] = measure.auc_estimate(ill, labels != place, groups).as_dict()
    match = None
    if said.fits:
        match, found = _match(said, groups)
        metrics |= found
    return Trust(fitted, match, metrics)


def _figures(
    mode: str, probability: Floats, least: Floats, examples: Examples, most_in_set: int
) -> dict[str, object]:
    labels, groups = examples.labels, examples.groups
    chosen = measure.balanced_choice(probability, examples.prior)
    right = probability.argmax(1) == labels
    sets = calibration.in_set(probability, least)
    held, size = sets[np.arange(len(labels)), labels], sets.sum(1)
    abstained = (size == 0) | (size > most_in_set)
    error = calibration.expected_calibration_error(probability, labels)
    by_label = {
        f"set_coverage_{mode}_{name}": measure.share_estimate(
            held[labels == number], [groups[i] for i in np.flatnonzero(labels == number)]
        ).as_dict()
        for number, name in enumerate(examples.label_names)
    }
    return {
        f"balanced_accuracy_{mode}": measure.balanced_accuracy_estimate(chosen, labels, groups).as_dict(),
        f"accuracy_{mode}": measure.share_estimate(right, groups).as_dict(),
        f"set_coverage_{mode}": measure.share_estimate(held, groups).as_dict(),
        f"set_size_{mode}": round(float(size.mean()), 3),
        f"abstained_{mode}": measure.share_estimate(abstained, groups).as_dict(),
        f"calibration_error_{mode}": round(error, 4),
        **by_label,
    }


def _match(said: Said, groups: Sequence[str]) -> tuple[MatchCalibration | None, dict[str, object]]:
    """Calibrates the log-odds of belonging together on own notes against other patients' notes and notes
    about something else, and says how well they are told apart. None when they are not told apart at all.
    """
    own, stranger, other = said.fits["own"], said.fits["stranger"], said.fits["other"]
    slope, offset = fit_logistic(own, np.r_[stranger.ravel(), other.ravel()])
    sure = 1 / (1 + np.exp(-(slope * own + offset)))
    least = float(np.quantile(sure, DOUBTED_SHARE))
    doubted = {
        name: (1 / (1 + np.exp(-(slope * values + offset))) < least)
        for name, values in (("stranger", stranger), ("other", other))
    }
    metrics: dict[str, object] = {
        f"auc_alignment_{name}": _match_auc(own, values, groups).as_dict()
        for name, values in (("another_patient", stranger), ("another_complaint", other))
    }
    metrics |= {
        f"doubted_{name}": measure.share_estimate(flags[:, 0], groups).as_dict()
        for name, flags in (("another_patient", doubted["stranger"]), ("another_complaint", doubted["other"]))
    }
    if slope <= 0:
        return None, metrics
    return MatchCalibration(round(slope, 4), round(offset, 4), round(least, 4), DOUBTED_SHARE), metrics


def _match_auc(own: Floats, others: Floats, groups: Sequence[str]) -> measure.Estimate:
    def figure(i: Ints) -> float:
        score = np.concatenate([own[i], others[i].ravel()])
        positive = np.arange(len(score)) < len(i)
        return measure.auc(score, positive)

    return measure.bootstrap(figure, groups, repeats=300)


def fit_logistic(yes: Floats, no: Floats) -> tuple[float, float]:
    """Slope and offset of P(yes | x), both sides weighing the same (Platt 1999), by Newton's method.

    >>> slope, offset = fit_logistic(np.array([1.0, 2.0, 0.5, -1.0]), np.array([-1.0, -2.0, -0.5, 1.0]))
    >>> slope > 0, round(abs(offset), 6)
    (True, 0.0)
    """
    x, y = np.concatenate([yes, no]), np.r_[np.ones(len(yes)), np.zeros(len(no))]
    weight = np.r_[np.full(len(yes), 0.5 / len(yes)), np.full(len(no), 0.5 / len(no))]
    design = np.stack([x, np.ones_like(x)], 1)
    found = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-(design @ found)))
        slope = design.T @ (weight * (p - y)) + 1e-6 * found
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        found = found - np.linalg.solve(curvature, slope)
    return float(found[0]), float(found[1])
