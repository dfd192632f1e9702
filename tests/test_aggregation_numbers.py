"""The arithmetic and the coding under secure aggregation: exact, uniform, and to be undone."""

import os

import numpy as np
import pytest
from aggregation_bench import (
    ROUND,
    chi_square_is_plausible,
    random,
)
from hypothesis import given, settings, strategies as st

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.encode import BLOCK, Coding, scale_for
from akazuba.privacy.aggregation.masks import added, mask, new_seed
from akazuba.privacy.aggregation.ring import (
    DEGREE,
    MODULUS,
    packed,
    restored,
    transformed,
    uniform,
    unpacked,
)
from akazuba.privacy.aggregation.shamir import joined, share, split

# --- arithmetic -------------------------------------------------------------------------------------


def test_the_transform_multiplies_polynomials_modulo_x_to_the_2048_plus_one() -> None:
    a, b = uniform(random(1), DEGREE), uniform(random(2), DEGREE)
    full = np.convolve(a.astype(object), b.astype(object))
    low, high = full[:DEGREE], np.append(full[DEGREE:], 0)
    product = restored(transformed(a) * transformed(b) % MODULUS)
    assert np.array_equal(product, ((low - high) % MODULUS).astype(np.int64))
    assert np.array_equal(restored(transformed(a)), a)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, MODULUS - 1), max_size=50))
def test_packing_and_unpacking_change_nothing(values: list[int]) -> None:
    vector = np.array(values, np.int64)
    data = packed(vector)
    assert len(data) == (len(values) + 1) // 2 * 5
    assert np.array_equal(unpacked(data, len(values), "x"), vector)


def test_numbers_that_are_none_modulo_t_are_refused() -> None:
    with pytest.raises(UntrustedError, match="below 1032193"):
        unpacked(b"\xff" * 5, 2, "x")
    with pytest.raises(UntrustedError, match="10 bytes"):
        unpacked(b"\0" * 5, 4, "x")
    with pytest.raises(UntrustedError, match="larger"):
        unpacked(packed(np.array([1, 2])), 1, "x")


def test_uniform_numbers_refuse_words_above_the_last_whole_modulus() -> None:
    words = iter([b"\xff" * 8 + b"\0" * 8, b"\1" + b"\0" * 7])
    assert uniform(lambda _: next(words), 2).tolist() == [1, 0]
    assert chi_square_is_plausible(uniform(random(3), 100_000))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.integers(1, 5000))
def test_masks_add_up_as_their_seeds_do(first: int, second: int, number: int) -> None:
    a, b = new_seed(random(first)), new_seed(random(second))
    together = mask(added([a, b]), ROUND, number)
    assert np.array_equal(added([mask(a, ROUND, number), mask(b, ROUND, number)]), together)


def test_masks_of_two_rounds_have_nothing_in_common() -> None:
    seed = new_seed(random(1))
    assert np.mean(mask(seed, ROUND, 4096) == mask(seed, bytes(16), 4096)) < 0.01


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_threshold_of_stewards_opens_a_seed(data: st.DataObject) -> None:
    stewards = data.draw(st.integers(1, 7))
    threshold = data.draw(st.integers(1, stewards))
    secret = new_seed(random(data.draw(st.integers(0, 1000))))
    boxes = split(secret, threshold, stewards, random(5))
    shares = {i: share(box, i, threshold) for i, box in enumerate(boxes, 1)}
    chosen = data.draw(st.permutations(sorted(shares)))[: data.draw(st.integers(threshold, stewards))]
    assert np.array_equal(joined({i: shares[i] for i in chosen}, threshold), secret)
    with pytest.raises(UntrustedError, match="those of"):
        joined({i: shares[i] for i in chosen[: threshold - 1]}, threshold)


def test_a_share_that_does_not_fit_is_noticed_when_there_are_more_than_needed() -> None:
    boxes = split(new_seed(random(1)), 3, 5, random(2))
    shares = {i: share(box, i, 3) for i, box in enumerate(boxes, 1)}
    shares[5] = (shares[5] + 1) % MODULUS
    with pytest.raises(UntrustedError, match="steward 5"):
        joined(shares, 3)


@pytest.mark.parametrize(("threshold", "stewards"), [(0, 3), (4, 3), (1, 101)])
def test_an_impossible_sharing_is_refused(threshold: int, stewards: int) -> None:
    with pytest.raises(InputError, match="threshold"):
        split(new_seed(random(1)), threshold, stewards, random(2))


# --- coding -------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 10_000), st.floats(1e-3, 1e3), st.integers(0, 10_000))
def test_the_noise_covers_whatever_an_update_holds(dimension: int, size: float, seed: int) -> None:
    coding, sigma = scale_for(ROUND, dimension, 1.0, 20, 1.0, 10)
    update = np.random.default_rng(seed).standard_cauchy(dimension) * size
    whole = coding.encoded(update, os.urandom)
    assert float(whole @ whole) <= coding.sensitivity**2
    assert np.abs(whole).max() <= coding.bound
    assert coding.fits(sigma)
    assert sigma == pytest.approx(coding.sensitivity / 10**0.5)


def test_coding_and_decoding_give_the_clipped_update_back() -> None:
    coding, _ = scale_for(ROUND, 5000, 2.0, 20, 1.0, 10)
    update = np.random.default_rng(1).normal(0, 1, 5000)
    clipped = update * 2.0 / np.linalg.norm(update)
    found = coding.decoded(coding.encoded(update, os.urandom))
    assert np.linalg.norm(found - clipped) < 0.05
    small = update * 1e-3
    assert np.linalg.norm(coding.decoded(coding.encoded(small, os.urandom)) - small) < 0.05


def test_rounding_is_right_on_average() -> None:
    coding = Coding(ROUND, BLOCK, 1.0, 3.0, 2)
    update = np.random.default_rng(1).normal(0, 1, BLOCK)
    update /= np.linalg.norm(update)
    mean = np.mean([coding.decoded(coding.encoded(update, random(i))) for i in range(400)], axis=0)
    assert abs(float(mean @ update) - 1) < 0.05


def test_one_large_number_does_not_overflow_a_sum() -> None:
    coding, sigma = scale_for(ROUND, BLOCK, 1.0, 200, 1.0, 100)
    spike = np.zeros(BLOCK)
    spike[17] = 1.0
    whole = coding.encoded(spike, os.urandom)
    assert 200 * np.abs(whole).max() + 7 * sigma * 200**0.5 < MODULUS / 2
    assert coding.decoded(whole)[17] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("update", [[1.0, float("nan")], [1.0, float("inf")], [1.0], [[1.0, 2.0]]])
def test_an_update_that_is_none_is_refused(update: object) -> None:
    with pytest.raises(InputError, match="update"):
        Coding(ROUND, 2, 1.0, 100.0, 2).encoded(update, os.urandom)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"dimension": 0}, {"clip_norm": 0.0}, {"clip_norm": float("nan")}, {"scale": 0.0}]
)
def test_an_impossible_coding_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Coding(**({"round_id": ROUND, "dimension": 2, "clip_norm": 1.0, "scale": 1.0, "most": 2} | changes))  # type: ignore[arg-type]
