"""The SIMULATED quantum link: physics as in the papers, keys that agree, attacks that leave none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings, strategies as st

from akazuba.cli.qkd_simulate import simulate
from akazuba.errors import InputError, KeysExhaustedError, UntrustedError
from akazuba.privacy.qkd import pulses as quantum
from akazuba.privacy.qkd.bb84 import Session, run_session
from akazuba.privacy.qkd.cascade import Answering, reconcile
from akazuba.privacy.qkd.decoy import (
    LinkParameters,
    Tallies,
    asymptotic_rate,
    bounds,
    entropy,
    error_gain,
    expected_tallies,
    finite_rate,
    gain,
    key_length,
    upper_rate,
)
from akazuba.privacy.qkd.hashing import Authenticator, Message, fingerprint, polynomial, toeplitz
from akazuba.privacy.qkd.pulses import Clicks, Eavesdropper, Sent, transmit
from akazuba.privacy.qkd.tuning import rates_over_distance, reach_km, tuned

GYS = LinkParameters(
    intensities=(0.48, 0.05, 0.0),
    loss_db_per_km=0.21,
    detector_efficiency=0.045,
    dark_counts=0.85e-6,
    afterpulses=0.0,
    misalignment=0.033,
)
"""Gobby, Yuan and Shields (2004), as Ma et al. (2005) use it."""

SHORT = LinkParameters(
    km=1,
    pulses=1_500_000,
    intensities=(0.5, 0.2, 2e-4),
    shares=(0.3, 0.5, 0.2),
    x_share=0.75,
    detector_efficiency=0.9,
    afterpulses=0.0,
)
"""Good detectors: a key from few pulses, drawn one by one."""

MEDIUM = tuned(LinkParameters(km=25, pulses=50_000_000))


def session(link: LinkParameters, seed: int = 1, eavesdropper: Eavesdropper = quantum.NOBODY) -> Session:
    return run_session(link, np.random.default_rng(seed), eavesdropper=eavesdropper)


def noisy(length: int, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    bits = chance.integers(0, 2, length, dtype=np.uint8)
    return bits, bits ^ (chance.random(length) < rate).astype(np.uint8)


def kinds(notes: tuple[Sent, Clicks]) -> np.ndarray:
    """Counts by intensity, Alice's basis, Bob's, and whether his bit is wrong."""
    sent, clicks = notes
    at = clicks.places
    wrong = (sent.bits[at] ^ clicks.bits).astype(int)
    return np.bincount(
        sent.intensities[at].astype(int) * 8 + sent.bases[at] * 4 + clicks.bases * 2 + wrong, minlength=24
    )


# Physics


def test_the_cut_off_distances_of_ma_2005_come_out() -> None:
    endless = reach_km(GYS, lambda link: asymptotic_rate(link, 1.22, endless_decoys=True))
    weak = reach_km(GYS, lambda link: asymptotic_rate(link, 1.22))
    assert endless == pytest.approx(142.05, abs=0.2)
    assert weak == pytest.approx(140.55, abs=0.2)


def test_larger_key_blocks_gain_what_lim_2014_says() -> None:
    """Section IV: at 100 km a block of 10^9 has about 1.75 times the rate of one of 10^7."""
    rates = []
    for block, x_share, shares, strong, weak in (
        (1e7, 0.8648, (0.3985, 0.4661), 0.4325, 0.2096),
        (1e9, 0.9381, (0.7598, 0.1782), 0.4482, 0.1718),
    ):
        link = LinkParameters(
            km=100,
            pulses=1,
            x_share=x_share,
            intensities=(strong, weak, 2e-4),
            shares=(*shares, 1 - sum(shares)),
        )
        link = replace(link, pulses=round(block / sum(expected_tallies(link)[0].key)))
        for _ in range(5):  # epsilon is 1e-15 for each bit of the key
            rate = finite_rate(link)
            link = replace(link, epsilon_secret=1e-15 * rate * link.pulses)
        rates.append(rate)
    assert rates[1] / rates[0] == pytest.approx(1.75, abs=0.06)


def test_a_block_of_ten_thousand_bits_still_gives_a_key_at_130_km() -> None:
    link = LinkParameters(
        km=130,
        pulses=1,
        x_share=0.0895,
        shares=(0.0517, 0.5445, 0.4038),
        intensities=(0.4935, 0.1087, 2e-4),
        epsilon_secret=1e-12,
    )
    link = replace(link, pulses=round(1e4 / sum(expected_tallies(link)[0].key)))
    assert finite_rate(link) > 0


def test_a_finite_key_is_never_longer_than_an_endless_one_and_falls_with_distance() -> None:
    rates = rates_over_distance(LinkParameters(), [0, 10, 25, 50, 75, 100, 130])
    assert all(0 <= each.finite <= each.asymptotic for each in rates)
    assert [each.finite for each in rates] == sorted((each.finite for each in rates), reverse=True)
    assert rates[0].finite > 0
    assert rates[-1].finite == 0


def test_tuning_helps_and_gives_up_where_no_key_can_be() -> None:
    link = LinkParameters(km=100)
    assert finite_rate(link) == 0 < finite_rate(tuned(link))
    hopeless = LinkParameters(km=400)
    assert tuned(hopeless) == hopeless


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 150), st.integers(10**4, 10**12), st.floats(0, 1e6))
def test_the_key_is_within_what_single_photons_and_vacuum_can_give(
    km: float, pulses: int, leaked: float
) -> None:
    link = LinkParameters(km=km, pulses=pulses)
    seen, _ = expected_tallies(link)
    found = bounds(link, seen)
    length = key_length(link, seen, leaked)
    assert 0 <= length <= max(0.0, found.vacuum + found.singles - leaked)
    assert found.vacuum + found.singles <= sum(seen.key) * (1 + 1e-9)
    assert 0 <= found.phase_error <= 0.5


@settings(max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(1e-12, 0.1))
def test_the_upper_bound_of_an_error_rate_lies_above_it(errors: int, trials: int, epsilon: float) -> None:
    errors = min(errors, trials)
    upper = upper_rate(errors, trials, epsilon)
    assert errors / trials <= upper <= 1
    if 0 < errors < trials:
        share = errors / trials
        apart = share * math.log(share / upper) + (1 - share) * math.log((1 - share) / (1 - upper))
        assert trials * apart == pytest.approx(math.log(1 / epsilon), rel=1e-3)


def test_nothing_seen_bounds_nothing() -> None:
    assert upper_rate(0, 0, 1e-10) == 1
    assert upper_rate(0, 100, 1e-10) == pytest.approx(1 - 1e-10 ** (1 / 100))


def test_clicks_follow_the_formulas_of_the_papers() -> None:
    link = replace(SHORT, pulses=2_000_000, detector_efficiency=0.1, dark_counts=1e-4, afterpulses=0.04)
    seen = kinds(transmit(link, quantum.NOBODY, np.random.default_rng(3))).reshape(3, 2, 2, 2)
    for place, (intensity, share) in enumerate(zip(link.intensities, link.shares, strict=True)):
        for basis, part in ((0, link.x_share), (1, 1 - link.x_share)):
            pulses = link.pulses * share * part**2
            clicks, errors = seen[place, basis, basis].sum(), seen[place, basis, basis, 1]
            assert (
                abs(clicks - pulses * gain(link, intensity))
                < 5 * math.sqrt(pulses * gain(link, intensity)) + 1
            )
            expected = pulses * error_gain(link, intensity)
            assert abs(errors - expected) < 5 * math.sqrt(expected) + 1


@pytest.mark.parametrize("attack", [Eavesdropper(), Eavesdropper(0.4), Eavesdropper(splits=True)])
def test_counted_clicks_have_the_distribution_of_those_drawn_one_by_one(
    attack: Eavesdropper, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = replace(SHORT, km=60, pulses=1_500_000, dark_counts=1e-4, x_share=0.6)
    one_by_one = kinds(transmit(link, attack, np.random.default_rng(11)))
    monkeypatch.setattr(quantum, "EVENTS", 0)
    counted = kinds(transmit(link, attack, np.random.default_rng(12)))
    both = np.maximum(one_by_one + counted, 1)
    assert ((one_by_one - counted) ** 2 / both).sum() < 51  # chi squared, 24 degrees of freedom, 1 in 1000


# Error correction and hashing


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.05, 0.08])
def test_cascade_corrects_all_errors_and_tells_little(rate: float) -> None:
    alice, bob = noisy(200_000, rate, round(1000 * rate))
    answering, asked = Answering(alice, 5), [0]

    def ask(step: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        asked[0] += len(starts)
        return answering.parities(step, starts, ends)

    done = reconcile(bob, 5, rate, ask)
    assert np.array_equal(done.bits, alice)
    assert done.leaked == asked[0]
    assert done.corrected >= (alice != bob).sum()
    assert 1.0 < done.leaked / (len(alice) * entropy((alice != bob).mean())) < 1.18


@pytest.mark.parametrize("length", [0, 1, 2, 3, 17, 1000])
def test_cascade_of_short_and_equal_keys_changes_nothing(length: int) -> None:
    alice, _ = noisy(length, 0, 1)
    done = reconcile(alice, 3, 0.05, Answering(alice, 3).parities if length > 1 else pytest.fail)
    assert np.array_equal(done.bits, alice)
    assert done.corrected == 0


def test_cascade_gives_up_before_it_tells_more_than_it_may() -> None:
    alice, bob = noisy(20_000, 0.3, 2)
    done = reconcile(bob, 5, 0.02, Answering(alice, 5).parities, 5000)
    assert done.given_up
    assert done.leaked <= 5000


@pytest.mark.parametrize(
    ("step", "starts", "ends"),
    [(4, [0], [2]), (-1, [0], [2]), (0, [-1], [2]), (0, [0], [11]), (0, [3], [3]), (0, [0, 1], [2])],
)
def test_alice_answers_no_question_out_of_range(step: int, starts: list[int], ends: list[int]) -> None:
    answering = Answering(np.ones(10, dtype=np.uint8), 1)
    with pytest.raises(UntrustedError, match="parity question"):
        answering.parities(step, np.array(starts, dtype=np.int32), np.array(ends, dtype=np.int32))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_privacy_amplification_is_the_product_with_the_matrix(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 80))
    length, block = data.draw(st.integers(1, n)), data.draw(st.integers(1, 90))
    chance = np.random.default_rng(data.draw(st.integers(0, 1000)))
    bits, seed = (chance.integers(0, 2, size, dtype=np.uint8) for size in (n, n + length - 1))
    matrix = np.array([[seed[n - 1 + i - j] for j in range(n)] for i in range(length)], dtype=int)
    assert np.array_equal(toeplitz(bits, seed, length, block=block), matrix @ bits % 2)


def test_privacy_amplification_is_exact_for_millions_of_bits() -> None:
    n, length = 2_300_000, 1_100_000
    chance = np.random.default_rng(4)
    bits, seed = np.ones(n, dtype=np.uint8), chance.integers(0, 2, n + length - 1, dtype=np.uint8)
    sums = np.concatenate(([0], np.cumsum(seed, dtype=np.int64)))
    assert np.array_equal(toeplitz(bits, seed, length), (sums[n:] - sums[:length]) % 2)


@pytest.mark.parametrize(("length", "seed"), [(0, 9), (11, 20), (5, 13), (5, 15), (-1, 8)])
def test_privacy_amplification_refuses_sizes_that_do_not_fit(length: int, seed: int) -> None:
    with pytest.raises(InputError, match="privacy amplification"):
        toeplitz(np.ones(10, dtype=np.uint8), np.ones(seed, dtype=np.uint8), length)


def test_the_polynomial_is_that_of_its_definition() -> None:
    assert polynomial(7, b"\x02" + bytes(14) + b"\x03") == 2 * 7**3 + 3 * 7**2 + 16 * 7
    assert polynomial(7, b"\x02") != polynomial(7, b"\x02\x00")


def test_fingerprints_of_other_keys_differ_and_refuse_other_sizes() -> None:
    key = bytes(range(48))
    assert fingerprint(key, b"one", 51) != fingerprint(key, b"two", 51)
    assert fingerprint(key, b"one", 51) < 1 << 51
    met = sum(
        fingerprint(bytes([n] * 48), b"a", 4) == fingerprint(bytes([n] * 48), b"b", 4) for n in range(1, 256)
    )
    assert 2 <= met <= 40
    for wrong, length in ((bytes(47), 51), (key, 0), (key, 65)):
        with pytest.raises(InputError, match="fingerprint"):
            fingerprint(wrong, b"one", length)


# The authenticated channel


def ends(tags: int = 3) -> tuple[Authenticator, Authenticator]:
    key = np.random.default_rng(8).bytes(16 + 16 * tags)
    return Authenticator(key), Authenticator(key)


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_flipped_bit_in_a_message_or_its_tag_is_refused(payload: bytes, data: st.DataObject) -> None:
    alice, bob = ends()
    message = alice.sealed("alice", "sifting", payload)
    name = data.draw(st.sampled_from(["payload", "tag"]))
    bit = data.draw(st.integers(0, 8 * len(getattr(message, name)) - 1))
    altered = bytearray(getattr(message, name))
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UntrustedError, match="altered"):
        bob.opened(replace(message, **{name: bytes(altered)}), "alice", "sifting")


def test_a_message_counts_once_in_its_order_and_for_its_sender_and_kind() -> None:
    alice, bob = ends(6)
    first = alice.sealed("alice", "sifting", b"1")
    assert bob.opened(first, "alice", "sifting") == b"1"
    with pytest.raises(UntrustedError):
        bob.opened(first, "alice", "sifting")
    with pytest.raises(UntrustedError):
        ends()[1].opened(first, "bob", "sifting")
    with pytest.raises(UntrustedError):
        ends()[1].opened(first, "alice", "seed")
    with pytest.raises(UntrustedError):
        ends()[1].opened(replace(first, kind="seed"), "alice", "sifting")
    with pytest.raises(UntrustedError):
        ends()[1].opened(replace(first, tag=b""), "alice", "sifting")


def test_tags_burn_key_bits_until_none_are_left() -> None:
    alice, _ = ends(2)
    assert (alice.used_bits, alice.left_bits) == (0, 256)
    tags = {alice.sealed("alice", "sifting", b"same").tag for _ in range(2)}
    assert len(tags) == 2
    assert (alice.used_bits, alice.left_bits) == (256, 0)
    with pytest.raises(KeysExhaustedError):
        alice.sealed("alice", "sifting", b"more")
    with pytest.raises(InputError, match="pre-shared key"):
        Authenticator(bytes(31))


# Sessions


@pytest.mark.parametrize("link", [SHORT, MEDIUM], ids=["one by one", "counted"])
def test_both_ends_hold_the_same_key_and_it_is_not_too_long(link: LinkParameters) -> None:
    done = session(link)
    assert done.aborted == ""
    assert done.key is not None
    assert done.key == done.bobs_key
    assert 8 * len(done.key) == done.key_bits > 1000
    assert done.corrected_errors > 100
    assert 1.0 < done.cascade_efficiency < 1.2
    bound = done.no_photons + done.single_photons * (1 - entropy(done.phase_error))
    bound -= done.leaked_bits + 6 * math.log2(21 / done.epsilon_secret)
    assert bound - 16 < done.key_bits + done.authentication_bits <= bound
    assert done.secret_per_s == pytest.approx(done.key_bits / link.pulses * link.pulse_rate_hz)
    assert (done.epsilon_secret, done.epsilon_correct) == (1e-10, 1e-15)
    assert done.epsilon_authentic < 1e-20
    assert done.simulated is True


def test_a_key_looks_random_and_is_another_with_another_seed() -> None:
    first, second = session(SHORT, 1), session(SHORT, 2)
    assert first.key is not None
    assert second.key is not None
    assert first.key[:16] != second.key[:16]
    ones = np.unpackbits(np.frombuffer(first.key, dtype=np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / math.sqrt(first.key_bits)
    assert session(SHORT, 1).key == first.key


def test_the_key_length_is_the_bound_less_what_was_told_and_burnt() -> None:
    heard: list[Message] = []
    done = run_session(SHORT, np.random.default_rng(1), wire=lambda message: heard.append(message) or message)
    seed = next(message for message in heard if message.kind == "seed")
    length = 8 * len(seed.payload) - done.sifted_bits + 1
    assert 0 <= length - (done.key_bits + done.authentication_bits) < 16
    assert sum(bool(message.tag) for message in heard) == done.authentication_bits / 128 == 9
    assert done.key is not None
    assert not any(done.key[:8] in message.payload for message in heard)


def test_the_new_key_replaces_what_authentication_burnt() -> None:
    first = session(SHORT)
    assert len(first.preshared) == 16 + 9 * 16
    second = run_session(SHORT, np.random.default_rng(2), preshared=first.preshared)
    assert second.aborted == ""
    assert second.key == second.bobs_key
    aborted = session(SHORT, eavesdropper=Eavesdropper(1.0))
    assert 8 * len(aborted.preshared) == 128 + 9 * 128 - aborted.authentication_bits
    spent = run_session(SHORT, np.random.default_rng(3), preshared=aborted.preshared)
    assert (spent.key, spent.bobs_key) == (None, None)
    assert "key bits" in spent.aborted


def test_full_intercept_resend_always_aborts() -> None:
    small = replace(SHORT, pulses=20_000)
    sessions = [session(small, seed, Eavesdropper(1.0)) for seed in range(100)]
    assert all(each.key is None and each.bobs_key is None and each.aborted for each in sessions)
    seen = session(SHORT, 1, Eavesdropper(1.0))
    assert seen.qber == pytest.approx(0.25, abs=0.02)
    assert "11 %" in seen.aborted


def test_a_little_interception_costs_key_and_more_of_it_all() -> None:
    lengths = [session(MEDIUM, 5, Eavesdropper(share)).key_bits for share in (0.0, 0.02, 0.3)]
    assert lengths[0] > lengths[1] > lengths[2] == 0


def test_too_few_bits_abort_even_when_none_of_them_is_wrong() -> None:
    done = session(replace(SHORT, pulses=400, misalignment=0.0, dark_counts=0.0))
    assert done.qber == 0
    assert done.qber_upper > 0.11
    assert done.key is None


def test_photon_number_splitting_brings_the_key_to_nothing_and_only_the_decoys_see_it() -> None:
    link = tuned(LinkParameters(km=50, pulses=200_000_000))
    honest, split = session(link), session(link, 1, Eavesdropper(splits=True))
    assert honest.key is not None
    assert split.key is None
    assert "decoys" in split.aborted
    assert split.qber_upper < 0.06
    assert split.single_photons == 0
    signals = [
        int(kinds(transmit(link, attack, np.random.default_rng(2)))[:8].sum())
        for attack in (quantum.NOBODY, Eavesdropper(splits=True))
    ]
    assert signals[1] == pytest.approx(signals[0], rel=0.02)


@pytest.mark.parametrize(
    "kind",
    ["clicks", "sifting", "errors", "dialogue", "question", "parities", "fingerprint", "verdict", "seed"],
)
def test_whatever_message_is_altered_no_key_comes_of_it(kind: str) -> None:
    done = [False]

    def flip(message: Message) -> Message:
        if message.kind != kind or done[0] or not message.payload:
            return message
        done[0] = True
        return replace(message, payload=message.payload[:-1] + bytes([message.payload[-1] ^ 128]))

    ended = run_session(SHORT, np.random.default_rng(1), wire=flip)
    assert done[0]
    assert (ended.key, ended.bobs_key) == (None, None)
    assert ended.aborted


def test_progress_is_told_up_to_the_whole() -> None:
    stages: dict[str, float] = {}
    run_session(SHORT, np.random.default_rng(1), progress=stages.__setitem__)
    assert set(stages) == {"pulses", "cascade", "amplification, Alice", "amplification, Bob"}
    assert set(stages.values()) == {1.0}


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("km", -1.0),
        ("km", 1e6),
        ("km", math.nan),
        ("km", True),
        ("pulses", 0),
        ("pulses", -5),
        ("pulses", 1e6),
        ("pulses", 10**18),
        ("intensities", (0.1, 0.3, 0.0)),
        ("intensities", (0.5, 0.1, -0.1)),
        ("intensities", (0.5, 0.1)),
        ("intensities", (math.nan, 0.1, 0.0)),
        ("intensities", (3.0, 0.1, 0.0)),
        ("shares", (0.5, 0.5, 0.5)),
        ("shares", (1.0, 0.0, 0.0)),
        ("x_share", 1.0),
        ("detector_efficiency", 0.0),
        ("dark_counts", math.inf),
        ("misalignment", 0.6),
        ("epsilon_secret", 0.0),
        ("epsilon_correct", 0.0),
    ],
)
def test_settings_that_no_link_has_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        replace(LinkParameters(), **{name: value})


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_an_eavesdropper_on_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="eavesdropper"):
        Eavesdropper(share)


def test_one_attack_at_a_time() -> None:
    with pytest.raises(InputError, match="one attack"):
        Eavesdropper(0.1, splits=True)


def test_more_clicks_than_memory_are_refused_with_the_number_that_fits() -> None:
    with pytest.raises(InputError, match="at most"):
        session(LinkParameters(km=0, pulses=10**13))


def test_one_pulse_is_a_session_without_a_key() -> None:
    done = session(replace(SHORT, pulses=1))
    assert done.key is None
    assert "no bits" in done.aborted


def test_contradicting_answers_come_to_an_end() -> None:
    alice, bob = noisy(5000, 0.02, 4)
    chance, answering = np.random.default_rng(1), Answering(alice, 5)
    done = reconcile(
        bob,
        5,
        0.02,
        lambda step, starts, ends: answering.parities(step, starts, ends) ^ (chance.random() < 0.3),
    )
    assert done.given_up


def test_zero_and_endless_kilometres_are_links_too() -> None:
    assert session(replace(SHORT, km=0)).key is not None
    far = session(replace(SHORT, km=900, pulses=10_000_000))
    assert far.key is None
    assert far.aborted


def test_nothing_expected_is_no_key() -> None:
    assert key_length(LinkParameters(), Tallies((0, 0, 0), (0, 0, 0), (0, 0, 0)), 0) == 0


# The command


def command(*arguments: str) -> Result:
    return CliRunner().invoke(simulate, list(arguments))


def test_the_command_says_simulated_first_and_shows_no_key() -> None:
    result = command("--km", "25", "--pulses", "3e7", "--seed", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("SIMULATED")
    for words in (
        "sifted bits",
        "QBER",
        "leaked bits",
        "Cascade efficiency",
        "final key",
        "bits/s",
        "security",
    ):
        assert words in result.stdout
    assert "seed 1: for trials only" in result.stdout
    assert "X" in result.stdout.split("X this one)")[1]
    assert result.stderr == ""


def test_the_command_gives_json_and_an_svg_that_says_simulated(tmp_path: Path) -> None:
    drawn = tmp_path / "rate.svg"
    result = command("--km", "25", "--pulses", "5e7", "--seed", "1", "--json", "--svg", str(drawn))
    facts = json.loads(result.stdout)
    assert facts["simulated"] is True
    assert facts["aborted"] == ""
    assert facts["key_bits"] > 0
    assert not {"key", "bobs_key", "preshared"} & set(facts)
    assert facts["reach_km"]["session"] < facts["reach_km"]["weak_decoy"] <= facts["reach_km"]["endless"]
    text = "".join(ET.parse(drawn).getroot().itertext())  # noqa: S314 - written above
    for words in ("SIMULATED", "fibre (km)", "secret bits per pulse", "finite key"):
        assert words in text


def test_an_abort_is_a_result() -> None:
    for arguments in (("--eavesdropper", "1"), ("--split-photons",)):
        result = command("--km", "50", "--pulses", "3e7", *arguments)
        assert result.exit_code == 0
        assert "ABORTED: " in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--km", "nan"),
        ("--km", "-1"),
        ("--km", "1e9"),
        ("--km", "far"),
        ("--pulses", "0"),
        ("--pulses", "1.5"),
        ("--pulses", "nan"),
        ("--pulses", "inf"),
        ("--eavesdropper", "2"),
        ("--eavesdropper", "0.1", "--split-photons"),
        ("--seed", "-1"),
        ("--svg", "/nowhere/at/all.svg"),
    ],
)
def test_unusable_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error" in result.stderr.lower()
