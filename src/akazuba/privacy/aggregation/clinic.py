"""A clinic's part in a round: one message, after which it may vanish."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.accounting import DiscreteGaussian
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.masks import mask, new_seed
from akazuba.privacy.aggregation.messages import (
    Contribution,
    EncryptionKey,
    MaskKey,
    Plan,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.ring import MODULUS, packed
from akazuba.privacy.aggregation.shamir import split
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign
from akazuba.privacy.ledger import Ledger, Release
from akazuba.privacy.noise import discrete_gaussian

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True)
class Terms:
    """What a clinic insists on, whatever the coordinator plans.

    least: clinics in a sum. noise_multiplier: standard deviation of the noise of `least` clinics over the
    sensitivity. stewards: who hold shares of the seed. threshold: how many of them open a sum. known: names
    of the stewards that the programme agreed on; empty: any that are enrolled.
    """

    least: int = 5
    noise_multiplier: float = 1.0
    stewards: int = 5
    threshold: int = 3
    known: frozenset[str] = frozenset()

    def check(self, plan: Plan, names: Collection[str]) -> None:
        """Raises UntrustedError with the first term that the plan does not meet."""
        noise = plan.sigma * plan.least**0.5 / plan.coding.sensitivity
        for what, wanted, found in (
            ("clinics in a sum", self.least, plan.least),
            ("noise multiplier", self.noise_multiplier, noise * (1 + 1e-9)),
            ("mask stewards", self.stewards, len(plan.mask_keys)),
            ("stewards that open a sum", self.threshold, plan.threshold),
        ):
            if found < wanted:
                raise UntrustedError(
                    f"plan: {what}", f"{wanted} or more, this clinic's terms", f"{found:.4g}"
                )
        if self.known and not self.known >= set(names):
            other = next(iter(set(names) - self.known))
            raise UntrustedError("plan: mask stewards", " or ".join(sorted(self.known)), other)


@dataclass(frozen=True)
class Checked:
    """A plan whose signatures hold. stewards: key ids in the order of their indices; mask_keys: theirs for
    this round. terms: those of the clinic that it meets; None where no clinic asked.
    """

    plan: Plan
    digest: bytes
    stewards: tuple[str, ...]
    mask_keys: tuple[hpke.MLKEM768X25519PublicKey, ...]
    terms: Terms | None = None


def checked_plan(
    signed: bytes, registry: Registry, now: int, terms: Terms | None = None, *, ended: bool = False
) -> Checked:
    """Raises UntrustedError for a plan that is forged, over, impossible or below a clinic's terms.

    ended: one that is over will do, for an answer that was given in time.
    """
    plan, _ = registry.said(signed, "plan", Plan, ["coordinator"], now)
    plan.check()
    if not ended:
        not_over(plan, now)
    stewards, keys, names = [], [], set[str]()
    for data in plan.mask_keys:
        key, steward = registry.said(data, "mask-key", MaskKey, ["mask-steward"], now)
        if key.round_id != plan.round_id or key.ends < plan.ends or steward.name in names:
            raise UntrustedError("mask key", "one of this round from each steward", steward.name)
        names.add(steward.name)
        stewards.append(steward.public.key_id)
        keys.append(_hpke_key(key))
    if terms:
        terms.check(plan, names)
    return Checked(plan, digest(signed), tuple(stewards), tuple(keys), terms)


def not_over(plan: Plan, now: int) -> None:
    """Raises UntrustedError when the round has ended."""
    if now > plan.ends:
        raise UntrustedError("plan", f"one that ends after {now} s", f"one that ended at {plan.ends} s")


def contribute(
    identity: Identity,
    checked: Checked,
    update: npt.ArrayLike,
    random: Callable[[int], bytes],
    bfv: Bfv | None = None,
) -> Upload:
    """The clinic's message: its update clipped, rounded, noised, masked and, on the HE path, encrypted.

    `contribute_once` charges for it and sees that it happens once. update: (dimension,). bfv: a process that
    has opened `encryption_context`; on the HE path only.
    """
    if checked.terms is None:
        raise InputError("plan", "one that was checked against this clinic's terms", "one that was not")
    plan = checked.plan
    whole = plan.coding.encoded(update, random)
    noised = whole + discrete_gaussian(plan.sigma, len(whole), random)
    seed = new_seed(random)
    hidden = (noised + mask(seed, plan.round_id, len(whole))) % MODULUS
    body = _encrypted(bfv, hidden) if plan.path == "he" else (packed(hidden),)
    shares = split(seed, plan.threshold, len(checked.stewards), random)
    boxes = tuple(
        SUITE.encrypt(
            share,
            key,
            info=box_info(plan.round_id, checked.digest, identity.public.key_id, steward),
        )
        for share, key, steward in zip(shares, checked.mask_keys, checked.stewards, strict=True)
    )
    said = Contribution(plan.round_id, checked.digest, digest(*body), tuple(digest(box) for box in boxes))
    return Upload(sign(identity, "contribution", said), body, boxes)


def _hpke_key(key: MaskKey) -> hpke.MLKEM768X25519PublicKey:
    try:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(key.hpke[:1184]),
            X25519PublicKey.from_public_bytes(key.hpke[1184:]),
        )
    except ValueError as problem:
        raise UntrustedError("mask key", "an ML-KEM-768 and an X25519 key", "another one") from problem


def box_info(round_id: bytes, plan: bytes, clinic: str, steward: str) -> bytes:
    """Binds a share to its round, plan, clinic and steward."""
    return b"akazuba seed share v1" + round_id + plan + bytes.fromhex(clinic) + bytes.fromhex(steward)


def cost(plan: Plan) -> DiscreteGaussian:
    """What a round costs a patient of the clinic.

    With or without her the clinic's update is another one of the same bounded norm: it changes by twice the
    sensitivity at most. The noise of one of the `least` clinics is left out: each knows its own.
    """
    coding = plan.coding
    return DiscreteGaussian(plan.sigma, 2 * coding.sensitivity, coding.padded, plan.least - 1)


def contribute_once(
    ledger: Ledger,
    identity: Identity,
    checked: Checked,
    update: npt.ArrayLike,
    random: Callable[[int], bytes],
    bfv: Bfv | None = None,
) -> Release:
    """The clinic's upload as bytes, charged for and kept in one transaction before anything leaves.

    Called again for the same round it gives the same bytes and charges nothing: a second, other message would
    hide less. Raises BudgetError when the budget does not reach; nothing is made then.
    """
    plan = checked.plan
    return ledger.release(
        f"round {plan.round_id.hex()}",
        cost(plan),
        "clinic",
        plan.purpose,
        lambda: msgspec.msgpack.encode(contribute(identity, checked, update, random, bfv)),
    )


def encryption_context(checked: Checked, signed: bytes, registry: Registry, now: int) -> bytes:
    """The HE steward's public context, if it is the plan's. Raises UntrustedError."""
    if checked.plan.encryption_key != digest(signed):
        raise UntrustedError("encryption key", "the one that the plan names", "another one")
    key, _ = registry.said(signed, "encryption-key", EncryptionKey, ["he-steward"], now)
    if key.round_id != checked.plan.round_id:
        raise UntrustedError("encryption key", "one of this round", "one of another round")
    return key.context


def _encrypted(bfv: Bfv | None, hidden: npt.NDArray[np.int64]) -> tuple[bytes, ...]:
    if bfv is None:
        raise UntrustedError("encryption key", "the HE steward's, on the HE path", "none")
    return tuple(bfv.encrypted(hidden))
