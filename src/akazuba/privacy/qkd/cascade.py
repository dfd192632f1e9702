"""Cascade: Bob's bits become Alice's by comparing parities over a public channel (Brassard and Salvail 1993).

Four passes; the blocks double, and every corrected bit reopens the earlier blocks that hold it. All odd
blocks of a pass are halved at once, so that a dialogue of some hundred rounds serves a million bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from akazuba.errors import UntrustedError

PASSES = 4
FRAME_BITS = 1 << 20
"""Longer keys are corrected in frames of about this length."""

Bits = NDArray[np.uint8]
Places = NDArray[np.int32]
SEARCHES = 1000
"""Rounds of halving in a frame; some sixty are usual, only contradicting answers need more."""

Ask = Callable[[int, Places, Places], Bits]
"""(pass, starts, ends) -> Alice's parity of each range [start, end) of that pass's order."""


@dataclass(frozen=True)
class Reconciled:
    """leaked: parities that Alice told. corrected: bits that Bob flipped. given_up: it came to no end within
    the budget, the bits are useless. Else they differ from Alice's with a small probability: verify them.
    """

    bits: Bits
    leaked: int
    corrected: int
    given_up: bool = False


def first_block(qber: float, length: int) -> int:
    """Bits of a block of the first pass: the power of two from 0.9 / QBER up, at most a 16th of the frame.

    Brassard and Salvail (1993) take 0.73 / QBER. A power of two wastes no question when a block is halved
    (Martinez-Mateo et al. 2015); with 0.9 the four passes told least at 1 to 8 %.

    >>> first_block(0.01, 100_000), first_block(0.08, 100_000)
    (128, 16)
    """
    wanted = 1 << math.ceil(math.log2(0.9 / min(max(qber, 1e-4), 0.5)))
    return max(2, min(length // 16, wanted))


def orders(length: int, seed: int) -> list[Places]:
    """The public order of the bits in each pass: the first leaves them, the others shuffle."""
    chance = np.random.default_rng(seed)
    plain = np.arange(length, dtype=np.int32)
    return [plain, *(chance.permutation(plain) for _ in range(PASSES - 1))]


class Answering:
    """Alice's side of one frame: she answers with parities of her bits and learns nothing."""

    def __init__(self, bits: Bits, seed: int) -> None:
        self._sums: list[Bits] = [
            np.concatenate(([np.uint8(0)], np.bitwise_xor.accumulate(bits[order])))
            for order in orders(len(bits), seed)
        ]

    def parities(self, step: int, starts: Places, ends: Places) -> Bits:
        """Raises UntrustedError for a pass or a range that there is not."""
        length = len(self._sums[0]) - 1
        if not 0 <= step < PASSES:
            raise UntrustedError("parity question", f"a pass of 0 to {PASSES - 1}", str(step))
        if len(starts) != len(ends) or np.any(starts < 0) or np.any(ends > length) or np.any(starts >= ends):
            raise UntrustedError("parity question", f"ranges within {length} bits", "others")
        sums = self._sums[step]
        told: Bits = sums[ends] ^ sums[starts]
        return told


class _Pass:
    """Bob's view of one pass: its order, its blocks, and which of them differ in parity from Alice's."""

    def __init__(self, number: int, order: Places, size: int) -> None:
        self.number, self.order = number, order
        self.size = min(size, len(order))
        self.starts: Places = np.arange(0, len(order), self.size, dtype=np.int32)
        self.ends: Places = np.minimum(self.starts + self.size, len(order)).astype(np.int32)
        self.odd = np.zeros(len(self.starts), dtype=bool)
        where = np.empty_like(order)
        where[order] = np.arange(len(order), dtype=np.int32)
        self._where = where

    def toggle(self, flipped: Places) -> None:
        """The bits at these places were flipped."""
        blocks = self._where[flipped] // self.size
        self.odd ^= np.bincount(blocks, minlength=len(self.odd)) % 2 == 1


def reconcile(bits: Bits, seed: int, qber: float, ask: Ask, budget: float = math.inf) -> Reconciled:
    """Corrects one frame of Bob's bits (0 or 1). qber: expected; only the efficiency hangs on it.

    Gives up before it would ask for more than `budget` parities, or when the answers contradict one another.
    """
    bits, leaked, corrected = bits.copy(), 0, 0
    if len(bits) < 2:
        return Reconciled(bits, 0, 0)
    size, passes, searches = first_block(qber, len(bits)), list[_Pass](), 0
    for number, order in enumerate(orders(len(bits), seed)):
        now = _Pass(number, order, size << number)
        if leaked + len(now.starts) > budget:
            return Reconciled(bits, leaked, corrected, given_up=True)
        told = ask(number, now.starts, now.ends)
        now.odd = told != np.bitwise_xor.reduceat(bits[order], now.starts)
        leaked += len(now.starts)
        passes.append(now)
        while (smallest := next((each for each in passes if each.odd.any()), None)) is not None:
            blocks, searches = np.flatnonzero(smallest.odd), searches + 1
            dear = leaked + len(blocks) * math.ceil(math.log2(smallest.size)) > budget
            if dear or searches > SEARCHES:
                return Reconciled(bits, leaked, corrected, given_up=True)
            flipped, asked = _halve(bits, smallest, blocks, ask)
            bits[flipped] ^= 1
            leaked, corrected = leaked + asked, corrected + len(flipped)
            for each in passes:
                each.toggle(flipped)
    return Reconciled(bits, leaked, corrected)


def _halve(bits: Bits, now: _Pass, blocks: NDArray[np.intp], ask: Ask) -> tuple[Places, int]:
    """Finds one wrong bit in each of these odd blocks. Returns their places and the parities asked for."""
    starts, ends, asked = now.starts[blocks], now.ends[blocks], 0
    offsets = starts.copy()
    reach = np.minimum(starts[:, None] + np.arange(now.size, dtype=np.int32), len(bits) - 1)
    sums = np.zeros((len(blocks), now.size + 1), dtype=np.uint8)
    np.bitwise_xor.accumulate(bits[now.order[reach]], axis=1, out=sums[:, 1:])
    rows = np.arange(len(blocks))
    while (longer := np.flatnonzero(ends - starts > 1)).size:
        low, high = starts[longer], ends[longer]
        middle = (low + (high - low) // 2).astype(np.int32)
        told = ask(now.number, low, middle)
        asked += len(longer)
        row, base = rows[longer], offsets[longer]
        left = told != sums[row, middle - base] ^ sums[row, low - base]
        ends[longer] = np.where(left, middle, high)
        starts[longer] = np.where(left, low, middle)
    return now.order[starts], asked
