"""Alice and Bob: each turns own notes into a key, and hears of the other only in messages.

Every message carries a tag, but for the parity dialogue of error correction: each end seals all of it, as it
saw it, with one tag when it is over and before anything is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from akazuba.errors import UntrustedError
from akazuba.privacy.qkd.cascade import FRAME_BITS, Answering, Bits, Places, reconcile
from akazuba.privacy.qkd.decoy import (
    LinkParameters,
    Tallies,
    bounds,
    entropy,
    key_length,
    upper_rate,
    verification_bits,
)
from akazuba.privacy.qkd.hashing import (
    FINGERPRINT_KEY_BYTES,
    Authenticator,
    Message,
    fingerprint,
    toeplitz,
)
from akazuba.privacy.qkd.pulses import Clicks, Sent, Z

ABORT_AT = 0.11
"""Error rate from which one-way BB84 gives no key (Shor and Preskill 2000)."""

SAME, OTHER = b"same", b"other"


NOTHING = Tallies((0, 0, 0), (0, 0, 0), (0, 0, 0))


@dataclass(frozen=True)
class Judgement:
    """What both ends know after error estimation. aborted: why, or empty."""

    tallies: Tallies
    qber: float
    qber_upper: float
    aborted: str


def judge(link: LinkParameters, seen: Tallies) -> Judgement:
    """Judged on the upper confidence bound of the error rate in basis Z, not on the rate that was seen."""
    shown, errors = int(sum(seen.shown)), int(sum(seen.errors))
    qber = errors / shown if shown else 0.0
    upper = upper_rate(errors, shown, link.epsilon_secret)
    found = bounds(link, seen)
    why = ""
    if not shown or not sum(seen.key):
        why = "no bits are left after sifting"
    elif upper >= ABORT_AT:
        why = f"the error rate may be {100 * upper:.1f} %, {100 * ABORT_AT:g} % or more give no key"
    elif found.secret <= verification_bits(link):
        why = (
            f"the decoys vouch for {found.singles:.0f} single photons with a phase error of up to"
            f" {100 * found.phase_error:.1f} %: too little for a key"
        )
    return Judgement(seen, qber, upper, why)


class Alice:
    """Sends the pulses, answers parity questions, chooses the hashes. key: what she ends with."""

    name, peer = "alice", "bob"

    def __init__(
        self, link: LinkParameters, sent: Sent, channel: Authenticator, chance: np.random.Generator
    ) -> None:
        self._link, self._sent, self.channel, self._chance = link, sent, channel, chance
        self._key_bits: Bits = np.zeros(0, dtype=np.uint8)
        self._frames: list[Answering] = []
        self._heard = bytearray()
        self.judged = judge(link, NOTHING)
        self.told = self.leaked_bits = 0
        self.key: Bits | None = None

    def sift(self, announced: Message) -> Message:
        """Says which clicks had her basis, their intensities, and her bits of those in Z."""
        places, bases = _read_clicks(
            self.channel.opened(announced, self.peer, "clicks"), len(self._sent.bits)
        )
        mine = self._sent.bases[places]
        kept = mine == bases
        shown = kept & (mine == Z)
        self._intensities = self._sent.intensities[places]
        self._in_key, self._shown = kept & ~shown, shown
        bits = self._sent.bits[places]
        self._key_bits = bits[self._in_key]
        low, high = self._intensities == 1, self._intensities == 2
        payload = b"".join(_packed(each) for each in (kept, low, high, bits[shown]))
        return self.channel.sealed(self.name, "sifting", payload)

    def judge(self, counted: Message) -> Judgement:
        """From the errors that Bob counted in Z, by intensity."""
        payload = self.channel.opened(counted, self.peer, "errors")
        errors = _numbers(payload, "<i8", 3)
        shown = np.bincount(self._intensities[self._shown], minlength=3)
        if np.any(errors < 0) or np.any(errors > shown):
            raise UntrustedError("counted errors", "at most as many as bits shown", str(errors.tolist()))
        key = np.bincount(self._intensities[self._in_key], minlength=3)
        self.judged = judge(self._link, Tallies(key.tolist(), shown.tolist(), errors.tolist()))
        return self.judged

    def open_dialogue(self) -> Message:
        """The public seed of the orders in which parities are asked."""
        seed = self._chance.bytes(8)
        self._frames = [
            Answering(self._key_bits[start:end], _frame_seed(seed, number))
            for number, (start, end) in enumerate(pairwise(_frame_edges(len(self._key_bits))))
        ]
        return self.channel.sealed(self.name, "dialogue", seed)

    def answer(self, question: Message) -> Message:
        frame, step, starts, ends = _read_question(question.payload, len(self._frames))
        told = self._frames[frame].parities(step, starts, ends)
        self.told += len(told)
        reply = Message(self.name, "parities", _packed(told))
        self._heard += question.payload + reply.payload
        return reply

    def close_dialogue(self, closed: Message) -> Message:
        """Raises UntrustedError when Bob saw another dialogue."""
        self._frames = []
        self.channel.check(self.peer, "dialogue", bytes(self._heard), closed.tag)
        tag = self.channel.sealed(self.name, "dialogue", bytes(self._heard)).tag
        return Message(self.name, "dialogue", b"", tag)

    def show_fingerprint(self) -> Message:
        key = self._chance.bytes(FINGERPRINT_KEY_BYTES)
        value = fingerprint(key, _packed(self._key_bits), verification_bits(self._link))
        self.leaked_bits = self.told + verification_bits(self._link)
        return self.channel.sealed(self.name, "fingerprint", key + value.to_bytes(8, "little"))

    def amplify(self, verdict: Message, advanced: Callable[[float], None]) -> Message | None:
        """Makes her key and says with which seed. None: Bob's bits differ, or no bit would be secret."""
        if self.channel.opened(verdict, self.peer, "verdict") != SAME:
            return None
        length = key_length(self._link, self.judged.tallies, self.told)
        if length == 0:
            return None
        seed = self._chance.integers(0, 2, len(self._key_bits) + length - 1, dtype=np.uint8)
        self.key = toeplitz(self._key_bits, seed, length, advanced)
        return self.channel.sealed(self.name, "seed", _packed(seed))


class Bob:
    """Measures, corrects his bits towards Alice's, hashes with her seed. key: what he ends with."""

    name, peer = "bob", "alice"

    def __init__(self, link: LinkParameters, clicks: Clicks, channel: Authenticator) -> None:
        self._link, self._clicks, self.channel = link, clicks, channel
        self._key_bits: Bits = np.zeros(0, dtype=np.uint8)
        self._heard = bytearray()
        self.judged = judge(link, NOTHING)
        self.asked = 0
        self.corrected = 0
        self.key: Bits | None = None

    def announce(self) -> Message:
        """Which pulses clicked, and his bases."""
        gaps = np.diff(self._clicks.places, prepend=-1)
        wide = len(gaps) > 0 and int(gaps.max()) > 255
        payload = bytes([wide]) + len(gaps).to_bytes(4, "little")
        payload += gaps.astype("<u4" if wide else "u1").tobytes() + _packed(self._clicks.bases)
        return self.channel.sealed(self.name, "clicks", payload)

    def count_errors(self, sifting: Message) -> Message:
        payload, count = self.channel.opened(sifting, self.peer, "sifting"), len(self._clicks.bits)
        size = -(-count // 8)
        kept = _unpacked(payload[:size], count).astype(bool)
        intensities = _unpacked(payload[size : 2 * size], count)
        intensities |= _unpacked(payload[2 * size : 3 * size], count) << 1
        if np.any(intensities > 2):
            raise UntrustedError("sifting", "one of three intensities", "another")
        shown = kept & (self._clicks.bases == Z)
        in_key = kept & ~shown
        alices = _unpacked(payload[3 * size :], int(shown.sum()))
        wrong = intensities[shown][alices != self._clicks.bits[shown]]
        self._key_bits = self._clicks.bits[in_key]
        key, seen, errors = (
            np.bincount(each, minlength=3) for each in (intensities[in_key], intensities[shown], wrong)
        )
        self.judged = judge(self._link, Tallies(key.tolist(), seen.tolist(), errors.tolist()))
        return self.channel.sealed(self.name, "errors", errors.astype("<i8").tobytes())

    def correct(
        self,
        opened: Message,
        ask: Callable[[Message], Message],
        advanced: Callable[[float], None],
    ) -> str:
        """Runs the dialogue. Returns why there will be no key, or nothing: before Alice has told as many
        parities as bits would be secret, he stops asking.
        """
        seed = self.channel.opened(opened, self.peer, "dialogue")
        budget = math.floor(bounds(self._link, self.judged.tallies).secret) - verification_bits(self._link)
        edges = _frame_edges(len(self._key_bits))
        for number, (start, end) in enumerate(pairwise(edges)):
            done = reconcile(
                self._key_bits[start:end],
                _frame_seed(seed, number),
                self.judged.qber,
                partial(self._ask, ask, number),
                budget - self.asked,
            )
            self._key_bits[start:end] = done.bits
            self.corrected += done.corrected
            if done.given_up:
                return "error correction did not end before it had to tell as many bits as are secret"
            advanced((number + 1) / (len(edges) - 1))
        return ""

    def _ask(
        self, ask: Callable[[Message], Message], frame: int, step: int, starts: Places, ends: Places
    ) -> Bits:
        heading = frame.to_bytes(2, "little") + bytes([step])
        payload = heading + starts.astype("<i4").tobytes() + ends.astype("<i4").tobytes()
        reply = ask(Message(self.name, "question", payload))
        self._heard += payload + reply.payload
        self.asked += len(starts)
        return _unpacked(reply.payload, len(starts))

    def close_dialogue(self) -> Message:
        tag = self.channel.sealed(self.name, "dialogue", bytes(self._heard)).tag
        return Message(self.name, "dialogue", b"", tag)

    def check_dialogue(self, closed: Message) -> None:
        """Raises UntrustedError when Alice saw another dialogue."""
        self.channel.check(self.peer, "dialogue", bytes(self._heard), closed.tag)

    def compare(self, shown: Message) -> Message:
        payload = self.channel.opened(shown, self.peer, "fingerprint")
        key, told = payload[:FINGERPRINT_KEY_BYTES], payload[FINGERPRINT_KEY_BYTES:]
        same = fingerprint(key, _packed(self._key_bits), verification_bits(self._link))
        verdict = SAME if same.to_bytes(8, "little") == told else OTHER
        return self.channel.sealed(self.name, "verdict", verdict)

    def amplify(self, seeded: Message, advanced: Callable[[float], None]) -> None:
        length = key_length(self._link, self.judged.tallies, self.asked)
        seed = _unpacked(self.channel.opened(seeded, self.peer, "seed"), len(self._key_bits) + length - 1)
        self.key = toeplitz(self._key_bits, seed, length, advanced)


def efficiency(told: int, length: int, corrected: int) -> float:
    """Parities told in units of what Shannon's bound needs for these errors; 0 without errors."""
    needed = length * entropy(corrected / length) if length else 0.0
    return told / needed if needed else 0.0


def _frame_edges(length: int) -> list[int]:
    frames = max(1, -(-length // FRAME_BITS))
    return [length * number // frames for number in range(frames + 1)]


def _frame_seed(seed: bytes, number: int) -> int:
    return int.from_bytes(seed + number.to_bytes(2, "little"), "little")


def _packed(bits: NDArray[np.bool_] | Bits) -> bytes:
    return np.packbits(bits).tobytes()


def _unpacked(payload: bytes, count: int) -> Bits:
    if len(payload) != -(-count // 8):
        raise UntrustedError("classical message", f"{count} bits", f"{len(payload)} bytes")
    return np.unpackbits(np.frombuffer(payload, dtype=np.uint8), count=count)


def _numbers(payload: bytes, kind: str, count: int) -> NDArray[np.int64]:
    if len(payload) != count * np.dtype(kind).itemsize:
        raise UntrustedError("classical message", f"{count} numbers", f"{len(payload)} bytes")
    return np.frombuffer(payload, dtype=kind).astype(np.int64)


def _read_clicks(payload: bytes, pulses: int) -> tuple[NDArray[np.int64], Bits]:
    kind, count = "<u4" if payload[:1] == b"\1" else "u1", int.from_bytes(payload[1:5], "little")
    end = 5 + count * np.dtype(kind).itemsize
    gaps = _numbers(payload[5:end], kind, count)
    places = np.cumsum(gaps) - 1
    if count and (np.any(gaps < 1) or places[-1] >= pulses):
        raise UntrustedError("announced clicks", f"rising places among {pulses} pulses", "others")
    return places, _unpacked(payload[end:], count)


def _read_question(payload: bytes, frames: int) -> tuple[int, int, Places, Places]:
    frame, count = int.from_bytes(payload[:2], "little"), (len(payload) - 3) // 8
    if count < 1 or frame >= frames:
        raise UntrustedError("parity question", f"a frame below {frames} and ranges", f"frame {frame}")
    both = _numbers(payload[3:], "<i4", 2 * count).astype(np.int32)
    return frame, payload[2], both[:count], both[count:]
