"""Secure aggregation: the sum is exact, nobody sees a clinic, and every way in which a round is refused.

The tests of the table in `docs/explanation/threat-model.md` are named there.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from akazuba.errors import BudgetError, InputError, UntrustedError
from akazuba.privacy.accounting import DiscreteGaussian
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import (
    Terms,
    checked_plan,
    contribute,
    contribute_once,
    encryption_context,
)
from akazuba.privacy.aggregation.encode import BLOCK, Coding, scale_for
from akazuba.privacy.aggregation.masks import LEAST_SIGMA, added, mask, new_seed
from akazuba.privacy.aggregation.messages import (
    Accepted,
    Contribution,
    MaskKey,
    SeedShare,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.rehearsal import (
    HOUR_S,
    Planned,
    Programme,
    opened,
    planned,
    programme,
    uploads,
)
from akazuba.privacy.aggregation.ring import (
    DEGREE,
    MODULUS,
    Vector,
    centred,
    packed,
    restored,
    stream,
    transformed,
    uniform,
    unpacked,
)
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.aggregation.shamir import joined, share, split
from akazuba.privacy.aggregation.stewards import HeSteward, MaskSteward
from akazuba.privacy.keys.enrolment import enrol, request, requested
from akazuba.privacy.keys.identity import new_identity
from akazuba.privacy.keys.signed import sign, unwrap
from akazuba.privacy.ledger import Ledger

NOW = 1_790_000_000
ROUND = bytes(range(16))


def random(seed: int) -> Callable[[int], bytes]:
    """Bytes that are the same at each run."""
    return np.random.default_rng(seed).bytes


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Scene:
    made: Programme
    clock: Clock

    def round(self, given: Planned, name: str = "round") -> Round:
        path = self.made.folder / f"{name}.sqlite3"
        return Round(path, given.plan, self.made.coordinator, self.made.registry, self.clock)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = Clock()
    made = programme(tmp_path, clinics=6, stewards=5, now=clock)
    yield Scene(made, clock)
    made.close()


def some_updates(number: int, dimension: int = 3000) -> list[np.ndarray]:
    chance = np.random.default_rng(7)
    return [chance.normal(0, 0.01, dimension) for _ in range(number)]


def plan(scene: Scene, path: str = "mask", **changes: object) -> Planned:
    given: dict[str, object] = {"least": 3, "most": 6, "threshold": 3, **changes}
    return planned(scene.made, path, 3000, **given)  # type: ignore[arg-type]


def bent(upload: bytes, **changes: object) -> bytes:
    return msgspec.msgpack.encode(
        msgspec.structs.replace(msgspec.msgpack.decode(upload, type=Upload), **changes)
    )


def chi_square_is_plausible(values: Vector, cells: int = 64) -> bool:
    """Whether values look uniform modulo t: chi-square within 6 standard deviations of its mean."""
    counts = np.bincount(values * cells // MODULUS, minlength=cells)
    expected = len(values) / cells
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - (cells - 1)) < 6 * (2 * (cells - 1)) ** 0.5


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


# --- whole rounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["mask", "he"])
@pytest.mark.parametrize(("clinics", "stewards"), [(6, [1, 2, 3, 4, 5]), (4, [2, 4, 5]), (3, [1, 3, 5])])
def test_the_sum_is_exact_whoever_vanished(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, path: str, clinics: int, stewards: list[int]
) -> None:
    whole: list[Vector] = []
    original = Coding.encoded

    def noted(self: Coding, update: object, source: Callable[[int], bytes]) -> Vector:
        whole.append(original(self, update, source))  # type: ignore[arg-type]
        return whole[-1]

    noises: list[Vector] = []

    def noise(sigma: float, number: int, source: Callable[[int], bytes]) -> Vector:
        from akazuba.privacy.noise import discrete_gaussian

        noises.append(discrete_gaussian(sigma, number, source))
        return noises[-1]

    monkeypatch.setattr(Coding, "encoded", noted)
    monkeypatch.setattr("akazuba.privacy.aggregation.clinic.discrete_gaussian", noise)
    given = plan(scene, path)
    parts = uploads(scene.made, given, some_updates(6))
    server = scene.round(given)
    for part in parts[:clinics]:
        server.take(part)
    total = opened(scene.made, given, server, stewards)
    server.close()
    assert total.clinics == clinics
    assert np.array_equal(total.whole, sum(whole[:clinics]) + sum(noises[:clinics]))


def test_the_noise_is_what_was_planned(scene: Scene) -> None:
    given = plan(scene, noise_multiplier=2.0)
    updates = some_updates(5)
    server = scene.round(given)
    for part in uploads(scene.made, given, updates):
        server.take(part)
    total = opened(scene.made, given, server, [1, 2, 3])
    server.close()
    clipped = sum(u / max(1.0, float(np.linalg.norm(u))) for u in updates)
    wanted = given.checked.plan.sigma * 5**0.5 / given.checked.plan.scale
    assert (total.update - clipped).std() == pytest.approx(wanted, rel=0.08)
    assert wanted >= 2.0 * given.checked.plan.coding.sensitivity / given.checked.plan.scale


def test_too_few_stewards_open_nothing(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(4)):
        server.take(part)
    with pytest.raises(UntrustedError, match="those of 3 stewards"):
        opened(scene.made, given, server, [1, 2])
    assert opened(scene.made, given, server, [1, 2, 3]).clinics == 4
    server.close()


def test_too_few_clinics_open_nothing(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(2)):
        server.take(part)
    with pytest.raises(UntrustedError, match="3 clinics or more"):
        server.accept()
    small = sign(
        scene.made.coordinator,
        "accepted",
        Accepted(given.checked.plan.round_id, given.checked.digest, tuple(_digests(server))),
    )
    with pytest.raises(UntrustedError, match="3 to 6 clinics"):
        scene.made.mask_stewards[0].release(given.plan, small, [])
    server.close()


def _digests(server: Round) -> list[bytes]:
    return sorted(row[0] for row in server._file.execute("SELECT digest FROM contribution"))


def set_without_the_first(scene: Scene, given: Planned, server: Round) -> tuple[bytes, list[bytes]]:
    """What a lying server asks for besides the set that it named."""
    left = _digests(server)[1:]
    named = Accepted(given.checked.plan.round_id, given.checked.digest, tuple(left))
    return sign(scene.made.coordinator, "accepted", named), left


def only_of(left: list[bytes], pairs: Iterable[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
    return [pair for pair in pairs if digest(pair[0]) in left]


def test_a_steward_has_terms_of_its_own(scene: Scene, tmp_path: Path) -> None:
    made = programme(tmp_path / "strict", 4, 3, scene.clock, least=10)
    given = planned(made, "mask", 100, least=3, most=4, threshold=2)
    server = Round(tmp_path / "strict-round", given.plan, made.coordinator, made.registry, scene.clock)
    for part in uploads(made, given, some_updates(4, 100)):
        server.take(part)
    with pytest.raises(UntrustedError, match="10 clinics or more"):
        opened(made, given, server, [1, 2])
    server.close()
    made.close()


# --- the table of the threat model -----------------------------------------------------------------


def test_the_server_sees_uniform_numbers_of_a_clinic(scene: Scene) -> None:
    given = plan(scene)
    spike = np.zeros(3000)
    spike[5] = 1.0
    (part,) = uploads(scene.made, given, [spike])
    body = msgspec.msgpack.decode(part, type=Upload).body[0]
    assert chi_square_is_plausible(unpacked(body, given.checked.plan.coding.padded, "x"))


def test_the_same_update_twice_looks_like_two_others(scene: Scene) -> None:
    given = plan(scene)
    (update,) = some_updates(1)
    first, second = (
        unpacked(
            contribute(clinic, given.checked, update, os.urandom).body[0],
            given.checked.plan.coding.padded,
            "x",
        )
        for clinic in scene.made.clinics[:2]
    )
    assert chi_square_is_plausible((first - second) % MODULUS)


def test_the_he_steward_sees_uniform_numbers_even_of_one_clinic(scene: Scene) -> None:
    given = plan(scene, "he")
    (part,) = uploads(scene.made, given, [np.eye(1, 3000)[0]])
    ciphertexts = msgspec.msgpack.decode(part, type=Upload).body
    (secret,) = scene.made.he_steward._file.execute("SELECT secret FROM round").fetchone()
    with Bfv() as bfv:
        bfv.open(secret)
        assert chi_square_is_plausible(bfv.decrypted(list(ciphertexts)))


def test_fewer_stewards_than_the_threshold_could_hold_shares_of_any_seed() -> None:
    """For every other seed there is a share of somebody else that fits; and of a constant seed, whose shares
    would show it, two look uniform together.
    """
    constant = np.full(DEGREE, 7, np.int64)
    for first, second, third in ((1, 2, 3), (1, 4, 2), (3, 4, 1), (4, 5, 2)):
        shares = [dict(_shares(split(constant, 3, 5, random(seed)))) for seed in range(20)]
        for weight in range(3):
            mixed = [(one[first] + weight * one[second]) % MODULUS for one in shares]
            assert chi_square_is_plausible(np.concatenate(mixed))
        known, other = shares[0], new_seed(random(99))
        fitting = _through({0: other, first: known[first], second: known[second]}, third)
        opened_ = joined({first: known[first], second: known[second], third: fitting}, 3)
        assert np.array_equal(opened_, other)


def _shares(boxes: list[bytes]) -> Iterator[tuple[int, Vector]]:
    for index, box in enumerate(boxes, 1):
        yield index, share(box, index, 3)


def _through(points: dict[int, Vector], wanted: int) -> Vector:
    """The parabola through three points, at a fourth."""
    total = np.zeros(DEGREE, np.int64)
    for at, value in points.items():
        weight = 1
        for other in points:
            if other != at:
                weight = weight * (wanted - other) * pow(at - other, -1, MODULUS) % MODULUS
        total = (total + weight * value) % MODULUS
    return total


def test_the_sum_of_seeds_takes_the_mask_off_no_single_clinic(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, [np.zeros(3000)] * 3)
    for part in parts:
        server.take(part)
    accepted = server.accept()
    shares = {}
    for i in (1, 2, 3):
        signed = scene.made.mask_stewards[i - 1].release(given.plan, accepted, server.for_mask_steward(i))
        said = msgspec.msgpack.decode(unwrap(signed, "seed-share").payload, type=SeedShare)
        shares[i] = unpacked(said.total, DEGREE, "share")
    seed, number = joined(shares, 3), given.checked.plan.coding.padded
    hidden = [unpacked(msgspec.msgpack.decode(p, type=Upload).body[0], number, "x") for p in parts]
    taken_off = mask(seed, given.checked.plan.round_id, number)
    for some in (hidden[:1], hidden[1:2], hidden[:2]):
        assert chi_square_is_plausible((added(some) - taken_off) % MODULUS)
    whole = centred((added(hidden) - taken_off) % MODULUS)
    assert whole.std() < 3 * given.checked.plan.sigma
    server.close()


def test_a_threshold_of_stewards_with_the_server_reads_a_clinic_on_the_mask_path(scene: Scene) -> None:
    """What the table says breaks it, breaks it: here only the clinic's own noise is left."""
    given = plan(scene)
    (update,) = some_updates(1)
    (part,) = uploads(scene.made, given, [update])
    upload = msgspec.msgpack.decode(part, type=Upload)
    seed = joined(_stolen(scene, given, upload, [1, 2, 3]), 3)
    hidden = unpacked(upload.body[0], given.checked.plan.coding.padded, "x")
    plain = centred((hidden - mask(seed, given.checked.plan.round_id, len(hidden))) % MODULUS)
    assert plain.std() < 2 * given.checked.plan.sigma


def test_a_threshold_of_stewards_without_the_he_key_reads_nothing_on_the_he_path(scene: Scene) -> None:
    given = plan(scene, "he")
    (part,) = uploads(scene.made, given, some_updates(1))
    upload = msgspec.msgpack.decode(part, type=Upload)
    seed = joined(_stolen(scene, given, upload, [1, 2, 3]), 3)
    with Bfv() as bfv:
        bfv.open(given.context or b"")
        with pytest.raises(UntrustedError, match=r"secret|private"):
            bfv.decrypted(list(upload.body))
    assert seed.shape == (DEGREE,)


def _stolen(scene: Scene, given: Planned, upload: Upload, stewards: list[int]) -> dict[int, Vector]:
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from akazuba.privacy.aggregation.clinic import SUITE, box_info

    clinic = unwrap(upload.contribution, "contribution").signer
    found = {}
    for index in stewards:
        steward = scene.made.mask_stewards[index - 1]
        (seeds,) = steward._file.execute("SELECT secret FROM round").fetchone()
        key = hpke.MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), X25519PrivateKey.from_private_bytes(seeds[64:])
        )
        info = box_info(
            given.checked.plan.round_id, given.checked.digest, clinic, given.checked.stewards[index - 1]
        )
        found[index] = share(SUITE.decrypt(upload.boxes[index - 1], key, info=info), index, 3)
    return found


def test_a_steward_opens_one_set_in_a_round_and_the_same_one_again(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(5))
    for part in parts:
        server.take(part)
    accepted = server.accept()
    steward = scene.made.mask_stewards[0]
    first = steward.release(given.plan, accepted, server.for_mask_steward(1))
    assert steward.release(given.plan, accepted, []) == first
    other, left = set_without_the_first(scene, given, server)
    with pytest.raises(UntrustedError, match="another one: refused"):
        steward.release(given.plan, other, only_of(left, server.for_mask_steward(1)))
    with pytest.raises(InputError, match="not named yet"):
        server.drop("x", "too late")
    assert len(steward.refusals()) == 1
    server.close()


def test_a_steward_that_was_switched_off_answers_as_before_and_keeps_no_secret(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(4)):
        server.take(part)
    accepted = server.accept()
    steward = scene.made.mask_stewards[0]
    path = scene.made.folder / "steward-1.sqlite3"
    (secret,) = steward._file.execute("SELECT secret FROM round").fetchone()
    first = steward.release(given.plan, accepted, server.for_mask_steward(1))
    again = MaskSteward(path, steward._identity, scene.made.registry, scene.clock, os.urandom, 2)
    assert again.release(given.plan, accepted, []) == first
    again.close()
    steward.close()
    assert all(secret not in file.read_bytes() for file in scene.made.folder.glob("steward-1*"))
    server.close()


def test_the_he_steward_decrypts_one_sum_in_a_round(scene: Scene) -> None:
    given = plan(scene, "he")
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(4)):
        server.take(part)
    accepted = server.accept()
    other, left = set_without_the_first(scene, given, server)
    first = scene.made.he_steward.decrypt(given.plan, accepted, server.with_bodies())
    assert scene.made.he_steward.decrypt(given.plan, accepted, []) == first
    with pytest.raises(UntrustedError, match="another one: refused"):
        scene.made.he_steward.decrypt(given.plan, other, only_of(left, server.with_bodies()))
    server.close()


def test_the_he_steward_decrypts_nothing_that_a_server_made(scene: Scene) -> None:
    """BFV gives its key away to whoever chooses what is decrypted: only what clinics signed is added."""
    given = plan(scene, "he")
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(4)):
        server.take(part)
    accepted = server.accept()
    true = list(server.with_bodies())
    with Bfv() as bfv:
        bfv.open(given.context or b"")
        own = bfv.encrypted(np.zeros(4096, np.int64))
    with pytest.raises(UntrustedError, match="those that it signed"):
        scene.made.he_steward.decrypt(given.plan, accepted, [(true[0][0], own), *true[1:]])
    with pytest.raises(UntrustedError, match="those of the accepted set"):
        scene.made.he_steward.decrypt(given.plan, accepted, true[:1])
    with pytest.raises(UntrustedError, match="two of"):
        scene.made.he_steward.decrypt(given.plan, accepted, [true[0], true[0]])
    assert scene.made.he_steward.decrypt(given.plan, accepted, true)
    server.close()


def test_two_sums_whose_difference_is_one_clinic_cannot_both_be_opened(scene: Scene) -> None:
    """Three of five for the whole set, the two others for the set without one clinic: never three again."""
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(5))
    for part in parts:
        server.take(part)
    opened(scene.made, given, server, [1, 2, 3])
    other, left = set_without_the_first(scene, given, server)
    shares = {}
    for i in range(1, 6):
        try:
            pairs = only_of(left, server.for_mask_steward(i))
            signed = scene.made.mask_stewards[i - 1].release(given.plan, other, pairs)
        except UntrustedError:
            continue
        said = msgspec.msgpack.decode(unwrap(signed, "seed-share").payload, type=SeedShare)
        shares[i] = unpacked(said.total, DEGREE, "share")
    assert sorted(shares) == [4, 5]
    with pytest.raises(UntrustedError, match="those of 3 stewards"):
        joined(shares, 3)
    server.close()


def test_a_server_cannot_fill_a_sum_with_clinics_of_its_own(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    part = uploads(scene.made, given, some_updates(1))[0]
    server.take(part)
    puppets = [
        contribute(new_identity(os.urandom), given.checked, np.zeros(3000), os.urandom) for _ in range(2)
    ]
    with pytest.raises(UntrustedError, match="enrolled"):
        server.take(msgspec.msgpack.encode(puppets[0]))
    real = msgspec.msgpack.decode(part, type=Upload)
    pairs = [(u.contribution, u.boxes[0]) for u in (real, *puppets)]
    accepted = Accepted(
        given.checked.plan.round_id, given.checked.digest, tuple(sorted(digest(c) for c, _ in pairs))
    )
    with pytest.raises(UntrustedError, match="enrolled"):
        scene.made.mask_stewards[0].release(
            given.plan, sign(scene.made.coordinator, "accepted", accepted), pairs
        )
    server.close()


def test_one_clinic_does_not_count_twice(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    first, second = (
        contribute(scene.made.clinics[0], given.checked, np.zeros(3000), os.urandom) for _ in range(2)
    )
    server.take(msgspec.msgpack.encode(first))
    server.take(msgspec.msgpack.encode(first))
    with pytest.raises(UntrustedError, match="a second one"):
        server.take(msgspec.msgpack.encode(second))
    assert server.number() == 1
    third = contribute(scene.made.clinics[1], given.checked, np.zeros(3000), os.urandom)
    pairs = [(u.contribution, u.boxes[0]) for u in (first, second, third)]
    accepted = Accepted(
        given.checked.plan.round_id, given.checked.digest, tuple(sorted(digest(c) for c, _ in pairs))
    )
    with pytest.raises(UntrustedError, match="two of"):
        scene.made.mask_stewards[0].release(
            given.plan, sign(scene.made.coordinator, "accepted", accepted), pairs
        )
    server.close()


# --- bad input --------------------------------------------------------------------------------------


def test_what_a_clinic_did_not_sign_is_refused_and_kept_as_a_refusal(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    (part,) = uploads(scene.made, given, some_updates(1))
    upload = msgspec.msgpack.decode(part, type=Upload)
    flipped = bytearray(upload.body[0])
    flipped[7] ^= 1
    stranger = contribute(new_identity(os.urandom), given.checked, np.zeros(3000), os.urandom)
    for data, match in [
        (bent(part, body=(bytes(flipped),)), "what the clinic signed"),
        (bent(part, boxes=(b"", *upload.boxes[1:])), "what the clinic signed"),
        (bent(part, contribution=upload.contribution[:-1]), "contribution"),
        (part[:-1], "upload"),
        (b"", "upload"),
        (os.urandom(200), "upload"),
        (b"\xdd\xff\xff\xff\xff" + b"\x91" * 2000, "upload"),
        (msgspec.msgpack.encode(stranger), "enrolled"),
        (bytes(65 * 1024 * 1024), "at most"),
    ]:
        with pytest.raises(UntrustedError, match=match):
            server.take(data)
    assert len(server.refusals()) == 9
    assert server.number() == 0
    server.take(part)
    server.close()


def signed_upload(scene: Scene, given: Planned, body: tuple[bytes, ...], boxes: tuple[bytes, ...]) -> bytes:
    said = Contribution(
        given.checked.plan.round_id, given.checked.digest, digest(*body), tuple(digest(b) for b in boxes)
    )
    return msgspec.msgpack.encode(Upload(sign(scene.made.clinics[0], "contribution", said), body, boxes))


def test_a_clinic_that_signs_nonsense_is_refused_or_left_out(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(4))
    good = msgspec.msgpack.decode(parts[0], type=Upload)
    for body, boxes, match in [
        ((good.body[0][:-5],), good.boxes, "bytes"),
        ((good.body[0] + b"\0" * 5,), good.boxes, "bytes"),
        ((b"\xff" * len(good.body[0]),), good.boxes, "below"),
        ((), good.boxes, "bytes"),
        (good.body, good.boxes[:-1], "a box for each steward"),
    ]:
        with pytest.raises(UntrustedError, match=match):
            server.take(signed_upload(scene, given, body, boxes))
    bad_box = signed_upload(scene, given, good.body, (os.urandom(len(good.boxes[0])), *good.boxes[1:]))
    clinic = server.take(bad_box)
    for part in parts[1:]:
        server.take(part)
    assert opened(scene.made, given, server, [2, 4, 1]).clinics == 3
    assert any("box of clinic 1" in why for why in server.refusals())
    with pytest.raises(UntrustedError, match="before the round closed"):
        server.take(bad_box)
    assert clinic == scene.made.clinics[0].public.key_id
    server.close()


def test_a_ciphertext_that_breaks_the_reader_costs_its_clinic_only(scene: Scene) -> None:
    given = plan(scene, "he")
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(4))
    good = msgspec.msgpack.decode(parts[0], type=Upload)
    chance = np.random.default_rng(1)
    broken = bytearray(good.body[0])
    for at in chance.integers(0, len(broken), 40):
        broken[at] ^= int(chance.integers(1, 256))
    bad = signed_upload(scene, given, (bytes(broken),), good.boxes)
    clinic = server.take(bad)
    for part in parts[1:]:
        server.take(part)
    assert list(server.unreadable(given.context or b"")) == [clinic]
    server.drop(clinic, "cannot be read")
    with pytest.raises(UntrustedError, match="that was not left out"):
        server.take(bad)
    assert opened(scene.made, given, server, [1, 2, 3]).clinics == 3
    server.close()


@pytest.mark.parametrize("length", [0, 10, 49_999, 70_001, 5_000_000])
def test_a_ciphertext_of_the_wrong_length_is_never_read(scene: Scene, length: int) -> None:
    given = plan(scene, "he")
    server = scene.round(given)
    part = uploads(scene.made, given, some_updates(1))[0]
    boxes = msgspec.msgpack.decode(part, type=Upload).boxes
    with pytest.raises(UntrustedError, match=r"ciphertexts of 50000 to 70000|at most"):
        server.take(signed_upload(scene, given, (bytes(length),), boxes))
    with Bfv() as bfv, pytest.raises(UntrustedError, match="50000 to 70000"):
        bfv.add([bytes(length)])
    server.close()


def test_a_process_that_eats_memory_or_time_is_stopped() -> None:
    with Bfv(seconds=0.05) as bfv, pytest.raises(UntrustedError, match="stopped"):
        bfv.new_keys()
    with Bfv() as bfv, pytest.raises(UntrustedError):
        bfv.open(os.urandom(120_000))
    with pytest.raises(UntrustedError, match="one that runs"):
        Bfv().new_keys()


def test_a_clinic_pays_once_and_sends_the_same_bytes_again(scene: Scene, tmp_path: Path) -> None:
    given = plan(scene, noise_multiplier=4.0)
    (update,) = some_updates(1)
    with Ledger(tmp_path / "clinic", lambda: NOW) as ledger:
        first = contribute_once(ledger, scene.made.clinics[0], given.checked, update, os.urandom)
        again = contribute_once(ledger, scene.made.clinics[0], given.checked, -update, os.urandom)
        assert again.document == first.document
        assert (first.first, again.first, len(ledger.spends())) == (True, False, 1)
        assert ledger.total("patient") == pytest.approx(ledger.total("clinic"))
        spend = ledger.spends()[0].spend
        assert isinstance(spend, DiscreteGaussian)
        assert spend.sensitivity == 2 * given.checked.plan.coding.sensitivity
        assert spend.shares == given.checked.plan.least - 1
        assert 2 < ledger.total("patient") < 5
    server = scene.round(given)
    server.take(first.document)
    server.close()


def test_a_clinic_whose_budget_is_spent_sends_nothing(scene: Scene, tmp_path: Path) -> None:
    given = plan(scene, noise_multiplier=0.5)
    with Ledger(tmp_path / "clinic", lambda: NOW) as ledger:
        with pytest.raises(BudgetError, match="rehearsal"):
            contribute_once(ledger, scene.made.clinics[0], given.checked, np.zeros(3000), os.urandom)
        assert ledger.spends() == []
        assert len(ledger.refusals()) == 1


def test_a_plan_below_a_clinics_terms_is_refused(scene: Scene) -> None:
    given = plan(scene, noise_multiplier=0.4)
    for terms, match in [
        (Terms(least=4), "clinics in a sum"),
        (Terms(3, noise_multiplier=0.5), "noise multiplier"),
        (Terms(3, 0.1, stewards=6), "mask stewards"),
        (Terms(3, 0.1, 5, threshold=4), "stewards that open a sum"),
    ]:
        with pytest.raises(UntrustedError, match=match):
            checked_plan(given.plan, scene.made.registry, NOW, terms)
    assert checked_plan(given.plan, scene.made.registry, NOW, Terms(3, 0.39, 5, 3)).plan.least == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sigma": LEAST_SIGMA - 1}, "plan"),
        ({"sigma": float("nan")}, "plan"),
        ({"threshold": 2}, "more than half"),
        ({"threshold": 6}, "stewards needed"),
        ({"scale": 1e9}, "below half of t"),
        ({"least": 1}, "plan"),
        ({"most": 2}, "least ≤ most"),
        ({"dimension": 0}, "plan"),
        ({"path": "he"}, "encryption key"),
        ({"ends": NOW - 1}, "ended"),
        ({"mask_keys": (b"x", b"y", b"z")}, "mask-key"),
    ],
)
def test_a_plan_that_hides_nothing_is_refused(scene: Scene, changes: dict[str, object], match: str) -> None:
    given = plan(scene)
    signed = sign(scene.made.coordinator, "plan", msgspec.structs.replace(given.checked.plan, **changes))
    with pytest.raises(UntrustedError, match=match):
        checked_plan(signed, scene.made.registry, NOW)


def test_a_plan_by_somebody_else_or_with_a_key_twice_is_refused(scene: Scene) -> None:
    given = plan(scene)
    for signer in (scene.made.clinics[0], new_identity(os.urandom)):
        with pytest.raises(UntrustedError):
            checked_plan(sign(signer, "plan", given.checked.plan), scene.made.registry, NOW)
    keys = given.checked.plan.mask_keys
    twice = msgspec.structs.replace(given.checked.plan, mask_keys=(keys[0], *keys[:4]))
    with pytest.raises(UntrustedError, match="from each steward"):
        checked_plan(sign(scene.made.coordinator, "plan", twice), scene.made.registry, NOW)
    other = plan(scene)
    mixed = msgspec.structs.replace(given.checked.plan, mask_keys=other.checked.plan.mask_keys)
    with pytest.raises(UntrustedError, match="of this round"):
        checked_plan(sign(scene.made.coordinator, "plan", mixed), scene.made.registry, NOW)


def test_a_mask_key_that_is_none_is_refused(scene: Scene) -> None:
    given = plan(scene)
    broken = [
        sign(
            steward._identity, "mask-key", MaskKey(given.checked.plan.round_id, b"\xff" * 1216, NOW + HOUR_S)
        )
        for steward in scene.made.mask_stewards
    ]
    bad = msgspec.structs.replace(given.checked.plan, mask_keys=tuple(broken))
    with pytest.raises(UntrustedError, match="ML-KEM-768 and an X25519"):
        checked_plan(sign(scene.made.coordinator, "plan", bad), scene.made.registry, NOW)


def test_an_encryption_key_of_another_round_is_refused(scene: Scene) -> None:
    given = plan(scene, "he")
    other = scene.made.he_steward.announce(os.urandom(16), NOW + HOUR_S)
    with pytest.raises(UntrustedError, match="the one that the plan names"):
        encryption_context(given.checked, other, scene.made.registry, NOW)
    with pytest.raises(UntrustedError, match="on the HE path"):
        contribute(scene.made.clinics[0], given.checked, np.zeros(3000), os.urandom)


def test_after_its_end_a_round_takes_nothing_and_its_secrets_are_gone(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(4))
    for part in parts[:3]:
        server.take(part)
    accepted = server.accept()
    with pytest.raises(UntrustedError, match="before the round closed"):
        server.take(parts[3])
    scene.clock.now += 2 * HOUR_S
    steward = scene.made.mask_stewards[0]
    steward.forget()
    with pytest.raises(UntrustedError, match="ended"):
        steward.release(given.plan, accepted, server.for_mask_steward(1))
    assert steward._file.execute("SELECT secret FROM round").fetchone() == (None,)
    server.close()


def test_a_dead_clock_opens_nothing(scene: Scene) -> None:
    given = plan(scene)
    scene.clock.now = 0
    with pytest.raises(UntrustedError, match="clock"):
        scene.round(given)


def test_answers_of_another_sum_or_another_steward_are_refused(scene: Scene) -> None:
    first, second = plan(scene), plan(scene)
    servers = [scene.round(first, "first"), scene.round(second, "second")]
    for sum_plan, server in zip((first, second), servers, strict=True):
        for part in uploads(scene.made, sum_plan, some_updates(3)):
            server.take(part)
    accepted = servers[1].accept()
    servers[0].accept()
    foreign = [
        scene.made.mask_stewards[i - 1].release(second.plan, accepted, servers[1].for_mask_steward(i))
        for i in (1, 2, 3)
    ]
    with pytest.raises(UntrustedError, match="another sum"):
        servers[0].opened(foreign)
    with pytest.raises(UntrustedError, match="seed-share"):
        servers[0].opened([b"nonsense"])
    for server in servers:
        server.close()


def test_what_was_acknowledged_is_there_after_a_restart(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    parts = uploads(scene.made, given, some_updates(4))
    server.take(parts[0])
    server.close()
    again = scene.round(given)
    for part in parts[1:]:
        again.take(part)
    assert opened(scene.made, given, again, [3, 4, 5]).clinics == 4
    again.close()


def test_a_round_is_announced_once(scene: Scene) -> None:
    steward = scene.made.mask_stewards[0]
    steward.announce(ROUND, NOW + HOUR_S)
    with pytest.raises(InputError, match="not opened before"):
        steward.announce(ROUND, NOW + HOUR_S)
    assert isinstance(scene.made.he_steward, HeSteward)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_are_a_plan(data: bytes) -> None:
    from akazuba.privacy.keys.registry import Registry

    with pytest.raises(UntrustedError):
        checked_plan(data, Registry("x", new_identity(os.urandom).public), NOW)


def test_two_keys_have_two_streams() -> None:
    assert stream(bytes(32))(64) != stream(b"\1" + bytes(31))(64)


def test_a_clinic_with_many_keys_counts_once(scene: Scene) -> None:
    """Its old key is believed for 60 days; its name is what counts."""
    made, given = scene.made, plan(scene)
    old = made.clinics[0]
    member = made.registry.member(old.public.key_id, ["terminal"], NOW)
    new = new_identity(os.urandom)
    asked = request(new, "rehearsal", member.name, member.role, NOW, replaced=old)
    wanted = requested(asked, "rehearsal", NOW, member)
    made.registry.believe(enrol(made.authority, "rehearsal", wanted, 99, NOW), NOW)
    server = scene.round(given)
    server.take(msgspec.msgpack.encode(contribute(old, given.checked, np.zeros(3000), os.urandom)))
    with pytest.raises(UntrustedError, match="a second one"):
        server.take(msgspec.msgpack.encode(contribute(new, given.checked, np.zeros(3000), os.urandom)))
    identities = (old, new, made.clinics[1])
    parts = [contribute(one, given.checked, np.zeros(3000), os.urandom) for one in identities]
    pairs = [(part.contribution, part.boxes[0]) for part in parts]
    named = Accepted(
        given.checked.plan.round_id, given.checked.digest, tuple(sorted(digest(c) for c, _ in pairs))
    )
    with pytest.raises(UntrustedError, match="two of clinic 1"):
        made.mask_stewards[0].release(given.plan, sign(made.coordinator, "accepted", named), pairs)
    server.close()


def test_a_plan_that_no_clinic_checked_is_not_contributed_to(scene: Scene) -> None:
    given = plan(scene)
    unchecked = checked_plan(given.plan, scene.made.registry, NOW)
    with pytest.raises(InputError, match="this clinic's terms"):
        contribute(scene.made.clinics[0], unchecked, np.zeros(3000), os.urandom)
    known = frozenset(("mask steward 9", "mask steward 1"))
    with pytest.raises(UntrustedError, match="mask steward 9"):
        checked_plan(given.plan, scene.made.registry, NOW, Terms(3, 0.5, known=known))


def test_a_lost_answer_is_given_again_after_the_end(scene: Scene) -> None:
    given = plan(scene)
    server = scene.round(given)
    for part in uploads(scene.made, given, some_updates(4)):
        server.take(part)
    accepted = server.accept()
    shares = [
        scene.made.mask_stewards[i - 1].release(given.plan, accepted, server.for_mask_steward(i))
        for i in (1, 2, 3)
    ]
    server.close()
    scene.clock.now += 2 * HOUR_S
    again = scene.round(given)
    assert scene.made.mask_stewards[0].release(given.plan, accepted, []) == shares[0]
    assert again.opened(shares).clinics == 4
    with pytest.raises(UntrustedError, match="ended"):
        scene.made.mask_stewards[4].release(given.plan, accepted, again.for_mask_steward(5))
    again.close()


def test_a_steward_that_the_plan_does_not_name_says_so(scene: Scene) -> None:
    given = plan(scene)
    keys = given.checked.plan.mask_keys[:4]
    without = msgspec.structs.replace(given.checked.plan, mask_keys=keys)
    signed = sign(scene.made.coordinator, "plan", without)
    with pytest.raises(UntrustedError, match="one that names this steward"):
        scene.made.mask_stewards[4].faulty(signed, [])
    late = msgspec.structs.replace(given.checked.plan, ends=given.checked.plan.ends + 1)
    with pytest.raises(UntrustedError, match="mask key"):
        checked_plan(sign(scene.made.coordinator, "plan", late), scene.made.registry, NOW)
