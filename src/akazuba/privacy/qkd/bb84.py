"""One session of a SIMULATED decoy-state BB84 link, from pulses to a key.

Clicks, sifting, error estimation, Cascade, comparison by a universal hash, privacy amplification; every
message is authenticated with pre-shared key bits, which the new key replaces. The quantum half is drawn, all
that follows is done as on a real link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from akazuba.errors import KeysExhaustedError, UntrustedError
from akazuba.privacy.qkd.cascade import Bits
from akazuba.privacy.qkd.decoy import LinkParameters, bounds
from akazuba.privacy.qkd.hashing import HASH_KEY_BYTES, TAG_BYTES, Authenticator, Message
from akazuba.privacy.qkd.parties import Alice, Bob, efficiency
from akazuba.privacy.qkd.pulses import EVENTS, NOBODY, Eavesdropper, transmit

TAGS = 9
"""Tags of one session."""

Wire = Callable[[Message], Message]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Session:
    """key, bobs_key: whole bytes, equal; None when `aborted` says why. qber: of basis Z, whose bits are told;
    qber_upper: its upper confidence bound. sifted_bits: of the key basis. leaked_bits: parities, and the hash
    that compared the ends. cascade_efficiency: parities / (n h(errors)), 0 without errors. no_photons,
    single_photons, phase_error: the decoy bounds. authentication_bits: burnt by tags; the new key replaces
    them before key_bits are counted, and `preshared` serves the next session. The key is uniform to others
    but for epsilon_secret, equal at both ends but for epsilon_correct, no message is forged but for
    epsilon_authentic.
    """

    key: bytes | None = field(repr=False)
    bobs_key: bytes | None = field(repr=False)
    preshared: bytes = field(repr=False)
    aborted: str
    qber: float
    qber_upper: float
    sifted_bits: int
    shown_bits: int
    leaked_bits: int
    corrected_errors: int
    cascade_efficiency: float
    no_photons: float
    single_photons: float
    phase_error: float
    key_bits: int
    authentication_bits: int
    secret_per_pulse: float
    secret_per_s: float
    epsilon_secret: float
    epsilon_correct: float
    epsilon_authentic: float
    drawn: Literal["pulse by pulse", "counts of clicks"]
    simulated: Literal[True] = True


def run_session(
    parameters: LinkParameters,
    chance: np.random.Generator,
    *,
    eavesdropper: Eavesdropper = NOBODY,
    preshared: bytes | None = None,
    wire: Wire = lambda message: message,
    progress: Progress = lambda _stage, _share: None,
) -> Session:
    """Raises InputError for more clicks than can be worked on.

    SIMULATED: whoever knows the seed of `chance` knows the key. Seeded keys are for trials only, and fresh
    ones are no better than the generator behind `chance`. preshared: 32 bytes at least; drawn when missing.
    wire: what happens to a classical message on its way. progress: stage, and which share of it is done.
    """
    nature, alices, shared = chance.spawn(3)
    if preshared is None:
        preshared = shared.bytes(HASH_KEY_BYTES + TAGS * TAG_BYTES)
    sent, clicks = transmit(parameters, eavesdropper, nature, lambda share: progress("pulses", share))
    alice = Alice(parameters, sent, Authenticator(preshared), alices)
    bob = Bob(parameters, clicks, Authenticator(preshared))
    try:
        aborted = _converse(alice, bob, wire, progress)
    except (UntrustedError, KeysExhaustedError) as problem:
        aborted = str(problem)
    return _ended(parameters, alice, bob, preshared, aborted)


def _converse(alice: Alice, bob: Bob, wire: Wire, progress: Progress) -> str:
    """Everything said after the pulses. Returns why there is no key, or nothing."""
    aborted = alice.judge(wire(bob.count_errors(wire(alice.sift(wire(bob.announce())))))).aborted
    if aborted:
        return aborted
    opened = wire(alice.open_dialogue())
    spent = bob.correct(
        opened, lambda question: wire(alice.answer(wire(question))), lambda share: progress("cascade", share)
    )
    bob.check_dialogue(wire(alice.close_dialogue(wire(bob.close_dialogue()))))
    if spent:
        return spent
    verdict = wire(bob.compare(wire(alice.show_fingerprint())))
    seed = alice.amplify(verdict, lambda share: progress("amplification, Alice", share))
    if seed is None:
        return "the corrected bits differ or none of them would be secret"
    bob.amplify(wire(seed), lambda share: progress("amplification, Bob", share))
    if len(alice.key if alice.key is not None else ()) < alice.channel.used_bits + 8:
        return "the key is shorter than what its authentication used up"
    return ""


def _ended(link: LinkParameters, alice: Alice, bob: Bob, preshared: bytes, aborted: str) -> Session:
    judged, used = bob.judged, alice.channel.used_bits // 8
    sifted, found = int(sum(judged.tallies.key)), bounds(link, judged.tallies)
    pads = preshared[:HASH_KEY_BYTES] + preshared[HASH_KEY_BYTES + used :]
    keys: list[bytes | None] = [None, None]
    if not aborted:
        whole = [_whole_bytes(end.key) for end in (alice, bob) if end.key is not None]
        pads += whole[0][:used]
        keys = [each[used:] for each in whole]
    bits = 8 * len(keys[0] or b"")
    return Session(
        key=keys[0],
        bobs_key=keys[1],
        preshared=pads,
        aborted=aborted,
        qber=judged.qber,
        qber_upper=judged.qber_upper,
        sifted_bits=sifted,
        shown_bits=int(sum(judged.tallies.shown)),
        leaked_bits=alice.leaked_bits,
        corrected_errors=bob.corrected,
        cascade_efficiency=efficiency(alice.told, sifted, bob.corrected),
        no_photons=found.vacuum,
        single_photons=found.singles,
        phase_error=found.phase_error,
        key_bits=bits,
        authentication_bits=8 * used,
        secret_per_pulse=bits / link.pulses,
        secret_per_s=bits / link.pulses * link.pulse_rate_hz,
        epsilon_secret=link.epsilon_secret,
        epsilon_correct=link.epsilon_correct,
        epsilon_authentic=alice.channel.forgery,
        drawn="pulse by pulse" if link.pulses <= EVENTS else "counts of clicks",
    )


def _whole_bytes(bits: Bits) -> bytes:
    return np.packbits(bits[: len(bits) // 8 * 8]).tobytes()
