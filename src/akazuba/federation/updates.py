"""What a terminal sends: a change of the model's numbers, signed, addressed by its content, of one base
version.

    terminal     Update ────────► gateway          kind "model-update", signed by the terminal
    coordinator  ModelRelease ──► terminals        kind "model-release", signed by the coordinator

An update's id is the SHA-256 of its signer and of what was signed, not of the signature: an update that is
signed twice is one, and the same numbers from two terminals are two.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.accounting import Spend
from akazuba.privacy.keys.enrolment import CLOCK_TOLERANCE_S, Name, Time, only
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import Signed, read, sign, unwrap

Numbers = npt.NDArray[np.float32]
Coding = Literal["float32", "int8"]
Reason = Literal[
    "unreadable",
    "member",
    "signature",
    "programme",
    "version",
    "early",
    "shape",
    "not-finite",
    "replayed",
    "quota",
    "budget",
]
"""Why an update is refused. "member": not enrolled, of another role, ended or revoked, as the sentence
says. "early": from a base that this gateway has not seen yet; it may come again.
"""
REASONS: tuple[Reason, ...] = get_args(Reason)

DIMENSION_HIGHEST = 50_000_000
BYTES_A_NUMBER: dict[Coding, int] = {"float32": 4, "int8": 1}

Sha256 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Dimension = Annotated[int, Meta(ge=1, le=DIMENSION_HIGHEST)]
Metric = Annotated[str, Meta(min_length=1, max_length=40)]


class RefusedError(UntrustedError):
    """An update that does not count. reason: the word under which it is counted."""

    def __init__(self, reason: Reason, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.reason = reason


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """serial: the terminal's own count of its updates, from 1. base: SHA-256 of the numbers it trained from.
    made: by the terminal's clock. examples: cases it was trained on. scale: what one step of int8 is worth; 1
    for float32. numbers: little-endian, `dimension` of them. clip_norm: the L2 norm that it was clipped to, 0
    if it was not. spend: what the terminal's privacy ledger was charged for it, None where noise is added
    later.
    """

    programme: Name
    serial: Annotated[int, Meta(ge=1, le=1 << 40)]
    base_version: Annotated[int, Meta(ge=0, le=1 << 40)]
    base: Sha256
    made: Time
    examples: Annotated[int, Meta(ge=1, le=10_000_000)]
    dimension: Dimension
    coding: Coding
    scale: Annotated[float, Meta(gt=0, le=1e6)]
    numbers: bytes
    metrics: Annotated[dict[Metric, float], Meta(max_length=20)] = {}
    clip_norm: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    spend: Spend | None = None

    def values(self) -> Numbers:
        """(dimension,) the change, base excluded."""
        if self.coding == "int8":
            return np.frombuffer(self.numbers, np.int8) * np.float32(self.scale)
        return np.frombuffer(self.numbers, "<f4")


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that updates may start from. sha256: of its numbers. published: seconds since 1970."""

    sha256: Sha256
    published: Time


class ModelRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """numbers: float32, little-endian. half_life_s, alpha, cap, floor: of the weights (`weights.Weights`),
    which a terminal applies itself before its update is masked. clip_norm: L2, in the units of the numbers.
    grid: what one whole step of a sum is worth, 0 without noise. robust: gateways send sums of two.
    earlier: versions before it that updates may still start from; a gateway may have missed some. meaning: of
    the programme (`Learning.meaning`); empty where what it learns is none.
    """

    programme: Name
    version: Annotated[int, Meta(ge=0, le=1 << 40)]
    published: Time
    numbers: bytes
    clip_norm: Annotated[float, Meta(gt=0, le=1e9)]
    half_life_s: Annotated[float, Meta(gt=0, le=1e10)]
    alpha: Annotated[float, Meta(ge=0, le=10)]
    cap: Annotated[int, Meta(ge=1, le=10_000_000)]
    floor: Annotated[float, Meta(ge=0, le=1)]
    grid: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    robust: bool = False
    earlier: Annotated[dict[int, Base], Meta(max_length=200)] = {}
    meaning: Annotated[bytes, Meta(max_length=32)] = b""

    def values(self) -> Numbers:
        """(dimension,)."""
        return np.frombuffer(self.numbers, "<f4")

    def base(self) -> Base:
        return Base(hashlib.sha256(self.numbers).digest(), self.published)


@dataclass(frozen=True)
class Expected:
    """What a gateway takes. bases: by version, those that are not too old."""

    programme: str
    dimension: int
    bases: Mapping[int, Base]


@dataclass(frozen=True)
class Received:
    """An update whose signature, shape and base hold. id: as `id_of` gives it. made_s: when it
    was made, seconds since 1970; where the terminal's clock cannot be right (`clock_off`) that is when its
    base was published, the earliest that it can be, so that a wrong clock never makes an update look fresh.
    """

    id: str
    terminal: str
    key_id: str
    update: Update
    made_s: int
    clock_off: bool


def sha256_of(numbers: Numbers) -> bytes:
    """Of a model's, as a release holds them."""
    return hashlib.sha256(numbers.astype("<f4").tobytes()).digest()


def coded(values: npt.ArrayLike, coding: Coding) -> tuple[bytes, float]:
    """The bytes and the scale. values: (dimension,). int8 rounds to the nearest of 255 steps, so a number is
    off by at most 1/254 of the largest. Raises InputError for numbers that are not finite.
    """
    numbers = np.asarray(values, np.float32)
    if numbers.ndim != 1 or not 1 <= len(numbers) <= DIMENSION_HIGHEST:
        raise InputError("update", f"a vector of 1 to {DIMENSION_HIGHEST} numbers", str(numbers.shape))
    if not np.isfinite(numbers).all():
        raise InputError("update", "finite numbers", "NaN or infinity")
    if coding == "float32":
        return numbers.astype("<f4").tobytes(), 1.0
    scale = max(float(np.abs(numbers).max()) / 127, 1e-30)
    return np.rint(numbers / np.float32(scale)).astype(np.int8).tobytes(), scale


def signed(identity: Identity, update: Update) -> bytes:
    return sign(identity, "model-update", update)


def id_of(data: bytes) -> str:
    """Of signed bytes. Raises RefusedError for bytes that are no signed message."""
    with _because("unreadable"):
        claimed = unwrap(data, "model-update")
    return _digest(claimed)


def _digest(claimed: Signed) -> str:
    return hashlib.sha256(claimed.signer.encode() + b"\0" + claimed.payload).hexdigest()


def received(data: bytes, registry: Registry, expected: Expected, now: int) -> Received:
    """Everything that can be checked of one update without the others. Raises RefusedError.

    The signature is checked before anything in it is read, and what is cheap before what is dear.
    """
    with _because("unreadable"):
        claimed = unwrap(data, "model-update")
    with _because("member"):
        terminal = registry.member(claimed.signer, ["terminal"], now)
    with _because("signature"):
        only(terminal.public)(claimed.signer).verify("model-update", claimed.payload, claimed.signature)
    with _because("unreadable"):
        update = read(claimed.payload, "model-update", Update)
    item = f"update {update.serial} of {terminal.name}"
    if update.programme != expected.programme:
        raise RefusedError("programme", item, expected.programme, update.programme)
    base = _sound_base(item, update, expected)
    _sound_numbers(item, update, expected.dimension)
    clock_off = not base.published - CLOCK_TOLERANCE_S <= update.made <= now + CLOCK_TOLERANCE_S
    made = base.published if clock_off else min(max(update.made, base.published), now)
    return Received(_digest(claimed), terminal.name, claimed.signer, update, made, clock_off)


def _sound_base(item: str, update: Update, expected: Expected) -> Base:
    base = expected.bases.get(update.base_version)
    if base is None:
        versions = f"{min(expected.bases)} to {max(expected.bases)}" if expected.bases else "none yet"
        early = update.base_version > max(expected.bases, default=-1)
        raise RefusedError(
            "early" if early else "version", item, f"a base of version {versions}", str(update.base_version)
        )
    if base.sha256 != update.base:
        found = f"{update.base.hex()[:16]}, another model under that number"
        raise RefusedError("version", item, f"version {update.base_version}, {base.sha256.hex()[:16]}", found)
    return base


def _sound_numbers(item: str, update: Update, dimension: int) -> None:
    size = BYTES_A_NUMBER[update.coding] * dimension
    if update.dimension != dimension or len(update.numbers) != size:
        found = f"{update.dimension} in {len(update.numbers)} bytes"
        raise RefusedError("shape", item, f"{dimension} numbers of {update.coding} in {size} bytes", found)
    finite = math.isfinite(update.scale) and all(map(math.isfinite, update.metrics.values()))
    if update.coding == "float32":
        finite = finite and bool(np.isfinite(np.frombuffer(update.numbers, "<f4")).all())
    if not finite:
        raise RefusedError("not-finite", item, "finite numbers and metrics", "NaN or infinity")


def released(data: bytes, registry: Registry, now: int) -> ModelRelease:
    """A model as a coordinator signed it. Raises UntrustedError."""
    release, _ = registry.said(data, "model-release", ModelRelease, ["coordinator"], now)
    if not release.numbers or len(release.numbers) % 4 or not np.isfinite(release.values()).all():
        raise UntrustedError("model release", "finite float32 numbers", f"{len(release.numbers)} bytes")
    if release.published > now + CLOCK_TOLERANCE_S:
        raise UntrustedError("model release", f"one published before {now} s", f"{release.published} s")
    return release


@contextmanager
def _because(reason: Reason) -> Iterator[None]:
    try:
        yield
    except RefusedError:
        raise
    except UntrustedError as problem:
        raise RefusedError(reason, problem.item, problem.expected, problem.found) from problem
