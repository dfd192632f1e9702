"""The stewards: who opens a sum, and only a sum, and only once in a round.

A mask steward holds a share of each clinic's seed and gives away the sum over a named set of at least `least`
enrolled clinics. It answers for one set in a round; asked again for that set (the answer was lost) it gives
the same bytes. As more than half of the stewards must answer, two sets can be opened only if one of them
lies. The HE steward decrypts one masked sum in a round. Every answer is on the disk before it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from akazuba.durable import erase_for_good, open_durable, writing
from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import SUITE, Checked, box_info, checked_plan
from akazuba.privacy.aggregation.masks import added
from akazuba.privacy.aggregation.messages import (
    Accepted,
    Contribution,
    EncryptionKey,
    MaskedSum,
    MaskKey,
    SeedShare,
    digest,
)
from akazuba.privacy.aggregation.ring import packed
from akazuba.privacy.aggregation.shamir import share
from akazuba.privacy.keys.enrolment import only
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign, unwrap, verified

_SCHEMA = """
CREATE TABLE IF NOT EXISTS round (
    id BLOB PRIMARY KEY, ends INTEGER NOT NULL, secret BLOB, answered_for BLOB, answer BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (at INTEGER NOT NULL, why TEXT NOT NULL);
"""


class _Steward:
    def __init__(
        self,
        path: Path,
        identity: Identity,
        registry: Registry,
        now: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self._identity, self._registry, self._now, self._random = identity, registry, now, random
        self._file = open_durable(path, _SCHEMA, "a steward's file")

    def close(self) -> None:
        self._file.close()

    def refusals(self) -> list[str]:
        """What it did not answer, and why."""
        return [row[0] for row in self._file.execute("SELECT why FROM refused ORDER BY rowid")]

    @contextmanager
    def _refusals_kept(self) -> Iterator[None]:
        try:
            yield
        except UntrustedError as problem:
            with writing(self._file) as file:
                file.execute("INSERT INTO refused VALUES (?, ?)", (self._now(), str(problem)))
            raise

    def _opened(self, round_id: bytes, ends: int, secret: bytes) -> None:
        with writing(self._file) as file:
            if file.execute("SELECT 1 FROM round WHERE id = ?", (round_id,)).fetchone():
                raise InputError("round", "one that was not opened before", round_id.hex())
            file.execute("INSERT INTO round (id, ends, secret) VALUES (?, ?, ?)", (round_id, ends, secret))

    def _secret(self, round_id: bytes, asked: bytes) -> tuple[bytes | None, bytes | None]:
        """The round's secret, or the answer that was given for the same question. Raises UntrustedError."""
        row = self._file.execute(
            "SELECT secret, answered_for, answer FROM round WHERE id = ?", (round_id,)
        ).fetchone()
        if row is None:
            raise UntrustedError("round", "one that this steward opened", round_id.hex())
        secret, answered_for, answer = row
        if answer is not None and answered_for != asked:
            raise UntrustedError("sum", "the one that was opened in this round", "another one: refused")
        if answer is None and secret is None:
            raise UntrustedError("round", "one that has not ended", "one whose secret is erased")
        return secret, answer

    def _answered(self, round_id: bytes, asked: bytes, answer: bytes) -> bytes:
        """Keeps the first answer and erases the secret. Of two that ask at once, one is refused."""
        with writing(self._file) as file:
            kept = file.execute(
                "UPDATE round SET answered_for = ?, answer = ?, secret = NULL"
                " WHERE id = ? AND answer IS NULL",
                (asked, answer, round_id),
            )
            if not kept.rowcount:
                raise UntrustedError("sum", "one answer in a round", "a second question at the same time")
        erase_for_good(self._file)
        return answer

    def forget(self) -> None:
        """Erases the secrets of rounds that have ended; what was given stays."""
        with writing(self._file) as file:
            file.execute("UPDATE round SET secret = NULL WHERE ends < ?", (self._now(),))
        erase_for_good(self._file)

    def _accepted(self, checked: Checked, signed: bytes) -> Accepted:
        coordinator = self._registry.member(unwrap(signed, "accepted").signer, ["coordinator"], self._now())
        accepted, _ = verified(signed, "accepted", Accepted, only(coordinator.public))
        plan = checked.plan
        if accepted.round_id != plan.round_id or accepted.plan != checked.digest:
            raise UntrustedError("accepted set", "one of this plan", "one of another plan")
        number = len(accepted.contributions)
        if not plan.least <= number <= plan.most:
            raise UntrustedError("accepted set", f"{plan.least} to {plan.most} clinics", str(number))
        return accepted


class MaskSteward(_Steward):
    """least: clinics in any sum that it opens, whatever a plan says."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        registry: Registry,
        now: Callable[[], int],
        random: Callable[[int], bytes],
        least: int = 5,
    ) -> None:
        super().__init__(path, identity, registry, now, random)
        self._least = least

    def announce(self, round_id: bytes, ends: int) -> bytes:
        """Its signed key for a round. The secret is on the disk before the key is given away."""
        seeds = self._random(64 + 32)
        public = (
            MLKEM768PrivateKey.from_seed_bytes(seeds[:64]).public_key().public_bytes_raw()
            + X25519PrivateKey.from_private_bytes(seeds[64:]).public_key().public_bytes_raw()
        )
        self._opened(round_id, ends, seeds)
        return sign(self._identity, "mask-key", MaskKey(round_id, public, ends))

    def release(self, plan: bytes, accepted: bytes, given: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Its signed share of the sum of the seeds.

        given: each accepted clinic's signed contribution and the box for this steward. Raises UntrustedError,
        naming the clinic where one is at fault; nothing was released then, and another set may be asked for.
        """
        with self._refusals_kept():
            return self._released(plan, accepted, given)

    def _released(self, plan: bytes, accepted: bytes, given: Sequence[tuple[bytes, bytes]]) -> bytes:
        checked = checked_plan(plan, self._registry, self._now())
        named = self._accepted(checked, accepted)
        if checked.plan.least < self._least:
            raise UntrustedError("plan", f"{self._least} clinics or more in a sum", str(checked.plan.least))
        asked = digest(*named.contributions)
        secret, answer = self._secret(checked.plan.round_id, asked)
        if answer is not None or secret is None:
            return answer or b""
        if tuple(sorted(digest(contribution) for contribution, _ in given)) != named.contributions:
            raise UntrustedError("contributions", "those of the accepted set", "others")
        own = self._identity.public.key_id
        index = checked.stewards.index(own) + 1
        key = hpke.MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(secret[:64]), X25519PrivateKey.from_private_bytes(secret[64:])
        )
        shares, clinics = [], set[str]()
        for contribution, box in given:
            clinic = self._contributor(checked, contribution, box, index)
            if clinic in clinics:
                raise UntrustedError("contributions", "one of each clinic", f"two of {clinic[:16]}")
            clinics.add(clinic)
            try:
                info = box_info(checked.plan.round_id, checked.digest, clinic, own)
                shares.append(share(SUITE.decrypt(box, key, info=info), index, checked.plan.threshold))
            except (InvalidTag, ValueError, UntrustedError) as problem:
                raise UntrustedError(f"box of {clinic[:16]}", "a share of its seed", "none") from problem
        total = SeedShare(checked.plan.round_id, asked, packed(added(shares)))
        return self._answered(checked.plan.round_id, asked, sign(self._identity, "seed-share", total))

    def _contributor(self, checked: Checked, contribution: bytes, box: bytes, index: int) -> str:
        clinic = self._registry.member(unwrap(contribution, "contribution").signer, ["terminal"], self._now())
        said, key_id = verified(contribution, "contribution", Contribution, only(clinic.public))
        if said.plan != checked.digest or len(said.boxes) != len(checked.stewards):
            raise UntrustedError(f"contribution of {clinic.name}", "one to this plan", "one to another")
        if said.boxes[index - 1] != digest(box):
            raise UntrustedError(f"box of {clinic.name}", "the one that the clinic signed", "another one")
        return key_id


class HeSteward(_Steward):
    """Holds the key of the BFV encryption, for one round at a time."""

    def announce(self, round_id: bytes, ends: int) -> bytes:
        """Its signed public context for a round."""
        with Bfv() as bfv:
            secret, public = bfv.new_keys()
        self._opened(round_id, ends, secret)
        return sign(self._identity, "encryption-key", EncryptionKey(round_id, public))

    def decrypt(self, plan: bytes, accepted: bytes, total: Sequence[bytes]) -> bytes:
        """The signed masked sum. total: the server's sum of ciphertexts. Raises UntrustedError."""
        with self._refusals_kept():
            return self._decrypted(plan, accepted, total)

    def _decrypted(self, plan: bytes, accepted: bytes, total: Sequence[bytes]) -> bytes:
        checked = checked_plan(plan, self._registry, self._now())
        named = self._accepted(checked, accepted)
        asked = digest(digest(*named.contributions), *total)
        secret, answer = self._secret(checked.plan.round_id, asked)
        if answer is not None or secret is None:
            return answer or b""
        with Bfv() as bfv:
            bfv.open(secret)
            values = bfv.decrypted(list(total))
        if len(values) != checked.plan.coding.padded:
            raise UntrustedError("sum", f"{checked.plan.coding.padded} numbers", str(len(values)))
        told = MaskedSum(checked.plan.round_id, digest(*named.contributions), packed(values))
        return self._answered(checked.plan.round_id, asked, sign(self._identity, "masked-sum", told))
