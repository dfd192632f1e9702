"""Counts by diagnosis of one period, for the ministry, with differential privacy for each patient.

The conditions are fixed beforehand and each of their counts gets discrete Laplace noise, the zeros too: that
a condition occurs at all must not show. What is drawn is in the ledger with its cost before it leaves, and a
period is released once: a second draw would let a reader average the noise away.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.errors import InputError
from akazuba.privacy.accounting import DiscreteLaplace
from akazuba.privacy.ledger import Ledger
from akazuba.privacy.noise import Random, discrete_laplace

LINE_BYTES, LINES = 4096, 10_000_000
CONDITIONS = 20_000
INTERVAL = 0.95

NOTES = (
    "Every count, the zeros too, had whole-number noise added that hides whether any one patient came.",
    "low to high holds the true count in 95 of 100 counts; the interval speaks of the noise alone.",
    "What the noise brought under zero is shown as zero: sums over many small counts come out too high.",
    "A patient counts for at most contributions_per_patient conditions: the first of the period.",
)


class Visit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """patient: a pseudonym that stays the same all period. condition: an ICD-10 code or an id of ours."""

    patient: Annotated[str, Meta(min_length=1, max_length=200)]
    condition: Annotated[str, Meta(min_length=1, max_length=100)]
    date: date


@dataclass(frozen=True)
class Request:
    """start, end: both days counted. epsilon: 0.001 to 10, per patient. contributions: to how many conditions
    one patient may count.
    """

    start: date
    end: date
    conditions: tuple[str, ...]
    epsilon: Fraction
    contributions: int = 1


@dataclass(frozen=True)
class Dropped:
    """Of the rows that were handed in. True numbers: for the box's own screen, never for the document."""

    outside_period: int
    not_listed: int
    repeated: int
    over_the_bound: int


class Count(msgspec.Struct, frozen=True):
    condition: str
    count: int
    low: int
    high: int


class Document(msgspec.Struct, frozen=True, tag_field="format", tag="akazuba-statistics-1"):
    """What is released. Nothing in it is from a patient but the noisy counts."""

    start: date
    end: date
    epsilon: str
    noise: str
    contributions_per_patient: int
    counts: tuple[Count, ...]
    notes: tuple[str, ...] = NOTES


@dataclass(frozen=True)
class Released:
    """first: drawn by this call. dropped: of this call's rows."""

    document: bytes
    spend_id: int
    first: bool
    dropped: Dropped


def read_visits(lines: Iterable[bytes], item: str) -> Iterator[Visit]:
    """One row a line: {"patient": …, "condition": …, "date": "2026-05-31"}; empty lines are passed over.

    Raises InputError with the line's number, never with its words.
    """
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_BYTES or number > LINES:
            raise InputError(f"{item}, line {number}", f"at most {LINES} lines of {LINE_BYTES} bytes", "more")
        if not line.strip():
            continue
        try:
            yield msgspec.json.decode(line, type=Visit)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            expected = 'a row as {"patient": …, "condition": …, "date": "2026-05-31"}'
            raise InputError(f"{item}, line {number}", expected, _without_words(problem)) from None


def read_conditions(text: str, item: str) -> tuple[str, ...]:
    """One condition a line; what follows a # is passed over. Raises InputError."""
    names = [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]
    if not 1 <= len(names) <= CONDITIONS:
        raise InputError(item, f"1 to {CONDITIONS} conditions, one a line", str(len(names)))
    for name in names:
        if len(name) > 100 or not name.isprintable():
            raise InputError(f"{item}, a condition", "at most 100 printable characters", repr(name)[:80])
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InputError(f"{item}, {repeated[0]}", "each condition once", "it twice")
    return tuple(names)


def read_epsilon(text: str) -> Fraction:
    """Exactly what is written. Raises InputError.

    >>> read_epsilon("0.25")
    Fraction(1, 4)
    """
    exact = Fraction(text) if re.fullmatch(r"\d{1,3}(\.\d{1,6})?", text, re.ASCII) else Fraction(-1)
    if not Fraction(1, 1000) <= exact <= 10:
        raise InputError("epsilon", "a number from 0.001 to 10 with at most 6 decimals", repr(text)[:80])
    return exact


def release(
    ledger: Ledger, request: Request, visits: Iterable[Visit], today: date, random: Random = os.urandom
) -> Released:
    """Charges the ledger and draws the counts; for a period that was released before, that document again.

    today: the period has to be over before it. Raises InputError and BudgetError.
    """
    if not 1 <= (request.end - request.start).days + 1 <= 366:
        raise InputError("period", "1 to 366 days", f"{request.start} to {request.end}")
    if request.end >= today:
        raise InputError("period", f"one that ended before today, {today}", f"an end on {request.end}")
    if not 1 <= request.contributions <= 100:
        raise InputError("contributions per patient", "1 to 100", str(request.contributions))
    counts, dropped = count_patients(request, visits)
    scale = request.contributions / request.epsilon
    exact_or_less = math.nextafter(float(scale), 0)
    spend = DiscreteLaplace(exact_or_less, request.contributions)
    period = f"{request.start} to {request.end}"

    def draw() -> bytes:
        return msgspec.json.encode(_document(request, counts, scale, random))

    made = ledger.release(f"statistics {period}", spend, "patient", f"statistics of {period}", draw)
    return Released(made.document, made.spend_id, made.first, dropped)


def count_patients(request: Request, visits: Iterable[Visit]) -> tuple[list[int], Dropped]:
    """Patients by condition, in the order of the conditions, and what was dropped. A patient counts for the
    conditions that she had first; on the same day, for those that stand first in the list.
    """
    place = {condition: number for number, condition in enumerate(request.conditions)}
    outside = unlisted = rows = 0
    firsts: dict[str, dict[int, date]] = {}
    for visit in visits:
        if not request.start <= visit.date <= request.end:
            outside += 1
        elif visit.condition not in place:
            unlisted += 1
        else:
            rows += 1
            days = firsts.setdefault(visit.patient, {})
            number = place[visit.condition]
            days[number] = min(visit.date, days.get(number, visit.date))
    counts = [0] * len(request.conditions)
    for days in firsts.values():
        for _, number in sorted((day, number) for number, day in days.items())[: request.contributions]:
            counts[number] += 1
    distinct = sum(map(len, firsts.values()))
    return counts, Dropped(outside, unlisted, rows - distinct, distinct - sum(counts))


def half_width(scale: Fraction) -> int:
    """The smallest whole number that the noise stays within, either way, in 95 of 100 draws.

    >>> half_width(Fraction(1))
    3
    """
    rate = float(1 / scale)
    beyond = 2 / (1 + math.exp(-rate))
    return max(0, math.ceil(math.log(beyond / (1 - INTERVAL)) / rate) - 1)


def _document(request: Request, counts: Sequence[int], scale: Fraction, random: Random) -> Document:
    noise = discrete_laplace(scale.numerator, scale.denominator, len(counts), random).tolist()
    width = half_width(scale)
    noisy = [true + extra for true, extra in zip(counts, noise, strict=True)]
    return Document(
        start=request.start,
        end=request.end,
        epsilon=f"{float(request.epsilon):.6f}".rstrip("0").rstrip("."),
        noise=f"discrete Laplace of scale {scale}",
        contributions_per_patient=request.contributions,
        counts=tuple(
            Count(condition, max(0, seen), max(0, seen - width), max(0, seen + width))
            for condition, seen in zip(request.conditions, noisy, strict=True)
        ),
    )


def _without_words(problem: Exception) -> str:
    """What is wrong with a row, without its contents: they are a patient's."""
    field = re.search(r"`\$\.(patient|condition|date)`", str(problem))
    missing = re.search(r"missing required field `(patient|condition|date)`", str(problem))
    if missing:
        return f"no {missing[1]}"
    return f"an unusable {field[1]}" if field else "something else"
