"""Masked rounds: each clinic weights its own update, the server sees a sum, and a version comes of it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from akazuba.errors import BudgetError, InputError
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.folding import Folding, Rules
from akazuba.federation.masked import contribution, folded
from akazuba.federation.optimisers import Optimiser
from akazuba.federation.sums import Arrived
from akazuba.federation.updates import ModelRelease, Numbers
from akazuba.federation.weights import Weights
from akazuba.privacy.accounting import Budget
from akazuba.privacy.aggregation.rehearsal import Planned, Programme, opened, planned, programme
from akazuba.privacy.aggregation.ring import MODULUS, centred
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.ledger import Ledger, Release
from akazuba.privacy.noise import discrete_gaussian

CLINICS, DIMENSION, HALF_LIFE_S = 6, 40, 1000.0
WEIGHTS = Weights(cap=100, alpha=0.5, half_life_s=HALF_LIFE_S, floor=0.02)
MODEL = ModelRelease(
    "rehearsal", 3, 0, np.zeros(DIMENSION, "<f4").tobytes(), 1.0, HALF_LIFE_S, 0.5, 100, 0.02
)


def now() -> int:
    return int(time.time())


def changes() -> list[tuple[Numbers, int, int, float]]:
    random = np.random.default_rng(4)
    return [
        (random.normal(0, 0.1, DIMENSION).astype(np.float32), 30 * (place + 1), place % 3, 400.0 * place)
        for place in range(CLINICS)
    ]


def rules() -> Rules:
    clip, optimiser = AdaptiveClip(1.0, rate=0.0), Optimiser("momentum", 1.0, 0.0)
    return Rules(CLINICS, WEIGHTS, clip, optimiser, adaptive=False)


def sent(ledger: Ledger, made: Programme, given: Planned, clinic: int) -> Release:
    values, examples, behind, age = changes()[clinic]
    source = np.random.default_rng(clinic).bytes
    identity, checked = made.clinics[clinic], given.checked
    return contribution(
        ledger, identity, checked, MODEL, values, examples=examples, behind=behind, age_s=age, random=source
    )


def test_a_masked_sum_is_that_of_the_weighted_updates_number_for_number(tmp_path: Path) -> None:
    made = programme(tmp_path, CLINICS, 5, now)
    given = planned(made, "mask", DIMENSION, least=CLINICS, most=CLINICS, threshold=3)
    server = Round(tmp_path / "round", given.plan, made.coordinator, made.registry, now)
    coding, sigma = given.checked.plan.coding, given.checked.plan.sigma
    wanted = np.zeros(coding.padded, np.int64)
    for clinic, (values, examples, behind, age) in enumerate(changes()):
        with Ledger(tmp_path / f"clinic {clinic}") as ledger:
            ledger.set_budget(Budget(50.0, 1e-6, "test", "six clinics cannot hide one for little"))
            first, again = (sent(ledger, made, given, clinic) for _ in range(2))
            assert (first.document, first.first, again.first) == (again.document, True, False)
            assert len(ledger.spends()) == 1
        server.take(first.document)
        source = np.random.default_rng(clinic).bytes
        weighted = values * np.float32(WEIGHTS.weight(examples, behind, age))
        wanted += coding.encoded(weighted, source)
        wanted += discrete_gaussian(sigma, coding.padded, source)
    total = opened(made, given, server, [1, 2, 3, 4, 5])
    assert np.array_equal(total.whole, centred(wanted % MODULUS))
    folding = Folding(rules(), np.zeros(DIMENSION, np.float32), os.urandom, version=3)
    version = folded(folding, total, given.checked.plan.round_id, now())
    assert version.version == folding.version == 4
    assert folding.model == pytest.approx(total.update / CLINICS, rel=1e-5)
    server.close()
    made.close()


def test_a_round_with_next_to_no_noise_is_more_than_a_clinic_spends(tmp_path: Path) -> None:
    made = programme(tmp_path, CLINICS, 5, now)
    given = planned(made, "mask", DIMENSION, least=CLINICS, most=CLINICS, threshold=3, noise_multiplier=0.02)
    with Ledger(tmp_path / "clinic 0") as ledger:
        with pytest.raises(BudgetError):
            sent(ledger, made, given, 0)
        assert len(ledger.refusals()) == 1
    made.close()


def test_a_masked_sum_waits_for_an_empty_buffer_and_fits_the_model() -> None:
    folding = Folding(rules(), np.zeros(3, np.float32), os.urandom)
    with pytest.raises(InputError, match="numbers of one clinic"):
        folding.adopt(np.zeros(4, np.float32), 6, "round", 0.0)
    folding.take(Arrived("a", "a", 5, 0, 0.0, np.ones(3, np.float32)), 0.0)
    with pytest.raises(InputError, match="an empty buffer"):
        folding.adopt(np.zeros(3, np.float32), 6, "round", 0.0)
