"""Noise on whole numbers, held against its exact probabilities; every random byte comes from a fixed seed."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import chi2

from akazuba.errors import InputError
from akazuba.privacy.noise import _table, discrete_gaussian, discrete_laplace, distance_bound

Random = Callable[[int], bytes]


def seeded(seed: int) -> Random:
    return np.random.default_rng(seed).bytes


def scripted(*pieces: bytes) -> Random:
    left = list(pieces)

    def draw(size: int) -> bytes:
        piece = left.pop(0)
        assert len(piece) == size
        return piece

    return draw


def gaussian_weights(sigma: float) -> dict[int, Decimal]:
    """Exact to 90 digits, far into the tail."""
    with localcontext() as context:
        context.prec = 90
        furthest = math.ceil(25 * sigma)
        weights = {
            k: (-(Decimal(k) ** 2) / (2 * Decimal(sigma) ** 2)).exp() for k in range(-furthest, furthest + 1)
        }
        whole = sum(weights.values())
        return {k: weight / whole for k, weight in weights.items()}


def chi_square_p(drawn: np.ndarray, exact: dict[int, float]) -> float:
    """Cells of fewer than 8 expected are put together as one."""
    expected = {k: p * len(drawn) for k, p in exact.items() if p * len(drawn) >= 8}
    found = [int((drawn == k).sum()) for k in expected]
    cells = [*expected.values(), len(drawn) - sum(expected.values())]
    counts = [*found, len(drawn) - sum(found)]
    statistic = sum((f - e) ** 2 / e for f, e in zip(counts, cells, strict=True))
    return float(chi2.sf(statistic, len(cells) - 1))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.7, 25.0])
def test_the_gaussian_follows_its_exact_probabilities(sigma: float) -> None:
    exact = {k: float(p) for k, p in gaussian_weights(sigma).items()}
    drawn = discrete_gaussian(sigma, 200_000, seeded(1))
    assert drawn.dtype == np.int64
    assert drawn.shape == (200_000,)
    assert chi_square_p(drawn, exact) > 1e-4
    variance = sum(p * k * k for k, p in exact.items())
    assert drawn.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 7.25])
def test_every_entry_of_the_table_is_the_nearest_multiple_of_two_to_the_minus_128(sigma: float) -> None:
    weights, table = gaussian_weights(sigma), _table(sigma)
    entries = [(int(u) << 64) | int(lo) for u, lo in zip(table.upper, table.lower, strict=True)]
    furthest = len(entries) // 2
    with localcontext() as context:
        context.prec = 90
        for place, entry in enumerate(entries):
            below = sum(p for k, p in weights.items() if k <= place - furthest)
            assert abs(below * 2**128 - entry) < Decimal("0.5000001")
    assert entries == sorted(entries)
    assert entries == [2**128 - entry for entry in reversed(entries)]


@pytest.mark.parametrize("sigma", [0.5, 2.0, 7.25])
def test_the_distance_from_the_exact_distribution_is_within_its_bound(sigma: float) -> None:
    weights, table = gaussian_weights(sigma), _table(sigma)
    entries = [(int(u) << 64) | int(lo) for u, lo in zip(table.upper, table.lower, strict=True)]
    furthest = len(entries) // 2
    steps = [high - low for low, high in zip([0, *entries], [*entries, 2**128], strict=True)]
    with localcontext() as context:
        context.prec = 90
        apart = sum(
            (abs(p - Decimal(steps[k + furthest]) / 2**128) if abs(k) <= furthest else p)
            for k, p in weights.items()
        )
        assert apart / 2 <= Decimal(distance_bound(sigma))
        assert Decimal(distance_bound(sigma)) < 20 * apart


@pytest.mark.parametrize("sigma", [40.0, 5000.0, 1e5])
def test_large_gaussians_have_their_variance_their_tail_and_no_preferred_sign(sigma: float) -> None:
    drawn = discrete_gaussian(sigma, 400_000, seeded(2)) / sigma
    assert drawn.mean() == pytest.approx(0, abs=0.008)
    assert drawn.var() == pytest.approx(1, rel=0.012)
    assert (drawn**4).mean() == pytest.approx(3, rel=0.03)
    for far in (1.0, 2.0, 3.0):
        share = math.erfc(far / math.sqrt(2))
        spread = math.sqrt(share / len(drawn))
        assert (np.abs(drawn) > far).mean() == pytest.approx(share, abs=4 * spread + 2 / sigma)
    assert np.abs(drawn).max() < 6


def test_cells_of_equal_probability_are_equally_full_at_a_large_sigma() -> None:
    edges = [5000 * NormalDist().inv_cdf(share / 200) for share in range(1, 200)]
    drawn = discrete_gaussian(5000.0, 400_000, seeded(8))
    found = np.bincount(np.searchsorted(edges, drawn), minlength=200)
    cdf = [NormalDist(0, 5000).cdf(math.floor(edge) + 0.5) for edge in edges]
    expected = np.diff([0, *cdf, 1]) * len(drawn)
    assert chi2.sf(((found - expected) ** 2 / expected).sum(), 199) > 1e-4


@pytest.mark.parametrize("make", [lambda r: discrete_gaussian(9.5, 100_000, r), lambda r: laplace(19, 2, r)])
def test_the_sign_says_nothing_of_the_size_nor_a_number_of_the_next(make) -> None:
    drawn = make(seeded(3))
    signs, sizes = np.sign(drawn), np.abs(drawn)
    assert abs(signs.mean()) < 4 / math.sqrt(len(drawn))
    assert abs(np.corrcoef(signs, sizes)[0, 1]) < 4 / math.sqrt(len(drawn))
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / math.sqrt(len(drawn))


def laplace(numerator: int, denominator: int, random: Random) -> np.ndarray:
    return discrete_laplace(numerator, denominator, 10_000, random)


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 2), (1, 1), (7, 3), (20, 1)])
def test_the_laplace_follows_its_exact_probabilities(numerator: int, denominator: int) -> None:
    q = math.exp(-denominator / numerator)
    exact = {k: (1 - q) / (1 + q) * q ** abs(k) for k in range(-400, 401)}
    drawn = laplace(numerator, denominator, seeded(4))
    assert chi_square_p(drawn, exact) > 1e-4
    assert drawn.var() == pytest.approx(2 * q / (1 - q) ** 2, rel=0.05)


def test_at_equal_variance_the_laplace_has_the_heavier_tail() -> None:
    heavy = laplace(10, 1, seeded(5))
    light = discrete_gaussian(float(heavy.std()), 10_000, seeded(6))
    assert light.std() == pytest.approx(heavy.std(), rel=0.02)
    far = 3 * heavy.std()
    assert (np.abs(heavy) > far).mean() > 3 * (np.abs(light) > far).mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 129), st.integers(-2, 2), st.sampled_from([0.5, 5.0]))
def test_the_lower_64_bits_decide_where_the_upper_ones_tie(place: int, aside: int, sigma: float) -> None:
    table = _table(sigma)
    entries = [(int(u) << 64) | int(lo) for u, lo in zip(table.upper, table.lower, strict=True)]
    number = min(max(entries[place % len(entries)] + aside, 0), 2**128 - 1)
    upper, lower = (number >> 64).to_bytes(8, "little"), (number % 2**64).to_bytes(8, "little")
    ties = any(entry >> 64 == number >> 64 for entry in entries)
    drawn = discrete_gaussian(sigma, 1, scripted(upper, *([lower] if ties else [])))
    assert int(drawn[0]) == sum(entry <= number for entry in entries) - len(entries) // 2


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 300), st.integers(0, 2**32))
def test_the_guide_gives_what_a_search_of_all_entries_gives(sigma: float, seed: int) -> None:
    table = _table(sigma)
    upper = np.frombuffer(seeded(seed)(800), "<u8")
    searched = np.searchsorted(table.upper, upper) - len(table.upper) // 2
    assert (discrete_gaussian(sigma, 100, seeded(seed)) == searched).all()


def test_the_same_bytes_give_the_same_noise_and_the_system_gives_others() -> None:
    assert (discrete_gaussian(50, 100, seeded(7)) == discrete_gaussian(50, 100, seeded(7))).all()
    assert (discrete_gaussian(5000, 100) != discrete_gaussian(5000, 100)).any()
    assert (discrete_laplace(10**6, 1, 20) != discrete_laplace(10**6, 1, 20)).any()
    assert discrete_gaussian(50, 0).shape == discrete_laplace(1, 1, 0).shape == (0,)


@pytest.mark.parametrize("sigma", [0, 0.499, -1, 100_001, math.nan, math.inf, True, "5", None])
def test_an_impossible_sigma_is_refused(sigma) -> None:
    with pytest.raises(InputError, match=r"noise, sigma: expected a number from 0\.5 to 100000"):
        discrete_gaussian(sigma, 1)
    with pytest.raises(InputError):
        distance_bound(sigma)


@pytest.mark.parametrize("number", [-1, 1.0, True, 10**9, None])
def test_an_impossible_number_of_draws_is_refused(number) -> None:
    with pytest.raises(InputError, match="noise, number"):
        discrete_gaussian(1, number)
    with pytest.raises(InputError, match="noise, number"):
        discrete_laplace(1, 1, number)


@pytest.mark.parametrize(
    "scale", [(0, 1), (1, 0), (-1, 1), (1.5, 1), (1, True), (10**10, 1), (Fraction(1), 1)]
)
def test_an_impossible_scale_is_refused(scale) -> None:
    with pytest.raises(InputError, match="of the scale"):
        discrete_laplace(*scale, 1)
