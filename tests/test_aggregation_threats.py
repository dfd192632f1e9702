"""Secure aggregation: nobody sees a clinic, and every way in which a round is refused.

The tests of the table in `docs/explanation/threat-model.md` are named there.
"""

# ruff: noqa: F401, F811 - the fixture of aggregation_bench is imported by name

import os
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from aggregation_bench import (
    Scene,
    chi_square_is_plausible,
    only_of,
    plan,
    random,
    scene,
    set_without_the_first,
    some_updates,
)

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import (
    contribute,
)
from akazuba.privacy.aggregation.masks import added, mask, new_seed
from akazuba.privacy.aggregation.messages import (
    Accepted,
    SeedShare,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.rehearsal import (
    Planned,
    opened,
    uploads,
)
from akazuba.privacy.aggregation.ring import (
    DEGREE,
    MODULUS,
    Vector,
    centred,
    unpacked,
)
from akazuba.privacy.aggregation.shamir import joined, share, split
from akazuba.privacy.aggregation.stewards import MaskSteward
from akazuba.privacy.keys.identity import new_identity
from akazuba.privacy.keys.signed import sign, unwrap

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
