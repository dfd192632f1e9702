"""What a round's parties say to one another: signed, versioned by the kind under which it is signed.

coordinator    Plan ───────────────► clinics and stewards
mask steward   MaskKey ────────────► in the plan
HE steward     EncryptionKey ──────► beside the plan
clinic         Contribution + body + one box for each mask steward ► server
mask steward   which boxes do not open ──► server, which leaves those clinics out
server         Accepted (who is in the sum) ► stewards
mask steward   SeedShare (of the sum of seeds) ► server
HE steward     adds the ciphertexts itself, MaskedSum ──► server
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.encode import Coding
from akazuba.privacy.aggregation.masks import LEAST_SIGMA
from akazuba.privacy.aggregation.shamir import STEWARDS_HIGHEST
from akazuba.privacy.keys.enrolment import Time

Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Sha256 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Path = Literal["mask", "he"]


class MaskKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a mask steward, for one round. hpke: ML-KEM-768 (1,184 bytes) and X25519 public keys."""

    round_id: Id16
    hpke: Annotated[bytes, Meta(min_length=1216, max_length=1216)]
    ends: Time


class EncryptionKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the HE steward. context: TenSEAL's, public."""

    round_id: Id16
    context: bytes


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator. sigma: each clinic's, in whole numbers. least, most: clinics in the sum.
    mask_keys: the stewards' signed keys, in the order of their indices (from 1). encryption_key: SHA-256 of
    the signed one, for the HE path.
    """

    round_id: Id16
    path: Path
    purpose: Annotated[str, Meta(min_length=1, max_length=200)]
    dimension: Annotated[int, Meta(ge=1, le=100_000_000)]
    clip_norm: Annotated[float, Meta(ge=1e-9, le=1e9)]
    scale: Annotated[float, Meta(ge=1e-9, le=1e12)]
    sigma: Annotated[float, Meta(ge=LEAST_SIGMA, le=1e5)]
    least: Annotated[int, Meta(ge=2, le=1_000_000)]
    most: Annotated[int, Meta(ge=2, le=1_000_000)]
    threshold: Annotated[int, Meta(ge=1, le=STEWARDS_HIGHEST)]
    mask_keys: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=STEWARDS_HIGHEST)]
    encryption_key: Sha256 | None
    ends: Time

    @property
    def coding(self) -> Coding:
        return Coding(self.round_id, self.dimension, self.clip_norm, self.scale, self.most)

    def check(self) -> None:
        """Raises UntrustedError for a plan that cannot be carried out or would hide nothing."""
        if not self.least <= self.most or 2 * self.threshold <= len(self.mask_keys):
            expected = "least ≤ most, and more than half of the stewards to open a sum"
            found = f"{self.least}, {self.most}; {self.threshold} of {len(self.mask_keys)}"
            raise UntrustedError("plan", expected, found)
        if self.threshold > len(self.mask_keys):
            raise UntrustedError(
                "plan", f"at most {len(self.mask_keys)} stewards needed", str(self.threshold)
            )
        try:
            fits = self.coding.fits(self.sigma)
        except (InputError, OverflowError) as problem:
            raise UntrustedError("plan", "a coding that can be carried out", str(problem)) from problem
        if not fits:
            raise UntrustedError("plan", "a scale whose sum stays below half of t", str(self.scale))
        if (self.path == "he") != (self.encryption_key is not None):
            raise UntrustedError("plan", "an encryption key for the HE path and only for it", self.path)


class Contribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a clinic. body: SHA-256 of what is hidden. boxes: SHA-256 of each steward's box."""

    round_id: Id16
    plan: Sha256
    body: Sha256
    boxes: Annotated[tuple[Sha256, ...], Meta(min_length=1, max_length=STEWARDS_HIGHEST)]

    def is_of(self, upload: Upload) -> bool:
        """Whether the upload's other parts are the ones that the clinic signed."""
        return self.body == digest(*upload.body) and self.boxes == tuple(map(digest, upload.boxes))


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a clinic sends. body: the packed hidden vector, or its ciphertexts."""

    contribution: bytes
    body: Annotated[tuple[bytes, ...], Meta(max_length=25_000)]
    boxes: Annotated[tuple[bytes, ...], Meta(max_length=STEWARDS_HIGHEST)]


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator: exactly these contributions are in the sum. contributions: SHA-256 of each
    signed one, in ascending order.
    """

    round_id: Id16
    plan: Sha256
    contributions: tuple[Sha256, ...]


class SeedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by a mask steward. total: its share of the sum of the seeds, packed."""

    round_id: Id16
    accepted: Sha256
    total: bytes


class MaskedSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the HE steward. total: the decrypted sum, still masked, packed."""

    round_id: Id16
    accepted: Sha256
    total: bytes


def digest(*data: bytes) -> bytes:
    """SHA-256 over each one's length and bytes."""
    hashed = hashlib.sha256()
    for part in data:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.digest()
