"""Secure aggregation: the sum is exact over whole rounds, and bad input is refused."""

# ruff: noqa: F401, F811 - the fixture of aggregation_bench is imported by name

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aggregation_bench import (
    NOW,
    ROUND,
    Scene,
    bent,
    digests_of,
    plan,
    random,
    scene,
    some_updates,
)
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
from akazuba.privacy.aggregation.encode import Coding
from akazuba.privacy.aggregation.masks import LEAST_SIGMA
from akazuba.privacy.aggregation.messages import (
    Accepted,
    Contribution,
    MaskKey,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.rehearsal import (
    HOUR_S,
    Planned,
    opened,
    planned,
    programme,
    uploads,
)
from akazuba.privacy.aggregation.ring import (
    Vector,
    stream,
)
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.aggregation.stewards import HeSteward
from akazuba.privacy.keys.enrolment import enrol, request, requested
from akazuba.privacy.keys.identity import new_identity
from akazuba.privacy.keys.signed import believed, sign
from akazuba.privacy.ledger import Ledger

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
        Accepted(given.checked.plan.round_id, given.checked.digest, tuple(digests_of(server))),
    )
    with pytest.raises(UntrustedError, match="3 to 6 clinics"):
        scene.made.mask_stewards[0].release(given.plan, small, [])
    server.close()


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


def test_a_round_is_announced_with_one_key(scene: Scene) -> None:
    steward = scene.made.mask_stewards[0]
    first, again = (steward.announce(ROUND, NOW + HOUR_S) for _ in range(2))
    assert believed(first, "mask-key", MaskKey) == believed(again, "mask-key", MaskKey)
    with pytest.raises(InputError, match="not opened before"):
        steward.announce(ROUND, NOW + 2 * HOUR_S)
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
