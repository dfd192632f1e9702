"""The stewards: who opens a sum, and only a sum, and only once in a round.

A mask steward holds a share of each clinic's seed and gives away the sum over a named set of at least `least`
enrolled clinics. It answers for one set in a round; asked again for that set (the answer was lost) it gives
the same bytes. As more than half of the stewards must answer, two sets can be opened only if one of them
lies. The HE steward adds and decrypts one masked sum in a round. Every answer is on the disk before it is
given. A steward's file must never be put back from a copy: it would answer again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from akazuba.durable import erase_for_good, open_durable, writing
from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import SUITE, Checked, box_info, checked_plan, not_over
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
from akazuba.privacy.aggregation.ring import Vector, packed
from akazuba.privacy.aggregation.shamir import share
from akazuba.privacy.keys.enrolment import Enrolment
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign, unwrap

_SCHEMA = """
CREATE TABLE IF NOT EXISTS round (
    id BLOB PRIMARY KEY, ends INTEGER NOT NULL, secret BLOB, answered_for BLOB, answer BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (at INTEGER NOT NULL, why TEXT NOT NULL);
"""


REFUSALS = 10_000
"""So many are kept, the first ones: whoever floods a steward must not fill its disk."""


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

    def forget(self) -> None:
        """Erases the secrets of rounds that have ended; what was given stays."""
        with writing(self._file) as file:
            file.execute("UPDATE round SET secret = NULL WHERE ends < ?", (self._now(),))
        erase_for_good(self._file)

    @contextmanager
    def _refusals_kept(self) -> Iterator[None]:
        try:
            yield
        except UntrustedError as problem:
            with writing(self._file) as file:
                query = "INSERT INTO refused SELECT ?, ? WHERE (SELECT COUNT(*) FROM refused) < ?"
                file.execute(query, (self._now(), str(problem), REFUSALS))
            raise

    def _opened(self, round_id: bytes, ends: int, secret: bytes) -> None:
        with writing(self._file) as file:
            if file.execute("SELECT 1 FROM round WHERE id = ?", (round_id,)).fetchone():
                raise InputError("round", "one that was not opened before", round_id.hex())
            file.execute("INSERT INTO round (id, ends, secret) VALUES (?, ?, ?)", (round_id, ends, secret))

    def _begun(self, round_id: bytes, ends: int, secret: bytes) -> bytes:
        """The secret of a round: what it was opened with before, else this one."""
        query = "SELECT secret, ends FROM round WHERE id = ?"
        if (row := self._file.execute(query, (round_id,)).fetchone()) is None:
            self._opened(round_id, ends, secret)
            return secret
        if row[0] is None or row[1] != ends:
            raise InputError("round", "one that was not opened before", round_id.hex())
        return bytes(row[0])

    def _kept(self, round_id: bytes, asked: bytes) -> bytes | None:
        """The answer that was given to the same question. Raises UntrustedError for another question."""
        _, answered_for, answer, _ = self._round(round_id)
        if answer is not None and answered_for != asked:
            raise UntrustedError("sum", "the one that was opened in this round", "another one: refused")
        return answer

    def _secret(self, round_id: bytes) -> bytes:
        secret, _, _, ends = self._round(round_id)
        if secret is None or self._now() > ends:
            raise UntrustedError("round", "one that has not ended", "one whose secret is erased")
        return secret

    def _round(self, round_id: bytes) -> tuple[bytes | None, bytes | None, bytes | None, int]:
        query = "SELECT secret, answered_for, answer, ends FROM round WHERE id = ?"
        row = self._file.execute(query, (round_id,)).fetchone()
        if row is None:
            raise UntrustedError("round", "one that this steward opened", round_id.hex())
        return (row[0], row[1], row[2], row[3])

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

    def _accepted(self, plan: bytes, signed: bytes) -> tuple[Checked, Accepted, bytes]:
        """The plan, the accepted set, and what is asked: the digest of that set."""
        checked = checked_plan(plan, self._registry, self._now(), ended=True)
        accepted, _ = self._registry.said(signed, "accepted", Accepted, ["coordinator"], self._now())
        if accepted.round_id != checked.plan.round_id or accepted.plan != checked.digest:
            raise UntrustedError("accepted set", "one of this plan", "one of another plan")
        number, least, most = len(accepted.contributions), checked.plan.least, checked.plan.most
        if not least <= number <= most:
            raise UntrustedError("accepted set", f"{least} to {most} clinics", str(number))
        return checked, accepted, digest(*accepted.contributions)

    def _contributor(self, checked: Checked, contribution: bytes) -> tuple[Contribution, Enrolment]:
        said, clinic = self._registry.said(
            contribution, "contribution", Contribution, ["terminal"], self._now()
        )
        if said.plan != checked.digest or len(said.boxes) != len(checked.stewards):
            raise UntrustedError(f"contribution of {clinic.name}", "one to this plan", "one to another")
        return said, clinic


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
        """Its signed key for a round, the same one each time. The secret is on the disk before the key is
        given away. Raises InputError for a round that was opened with another end, or whose secret is erased.
        """
        seeds = self._begun(round_id, ends, self._random(64 + 32))
        public = (
            MLKEM768PrivateKey.from_seed_bytes(seeds[:64]).public_key().public_bytes_raw()
            + X25519PrivateKey.from_private_bytes(seeds[64:]).public_key().public_bytes_raw()
        )
        return sign(self._identity, "mask-key", MaskKey(round_id, public, ends))

    def faulty(self, plan: bytes, given: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
        """Key ids of the clinics whose contribution or box does not open here, and why; asked before the set
        is named, so that no clinic can spoil a sum that others have begun to open.
        """
        with self._refusals_kept():
            checked = checked_plan(plan, self._registry, self._now())
            key = self._key(checked)
            found: dict[str, str] = {}
            for contribution, box in given:
                try:
                    self._share(checked, key, contribution, box)
                except UntrustedError as problem:
                    found[unwrap(contribution, "contribution").signer] = str(problem)
            return found

    def release(self, plan: bytes, accepted: bytes, given: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Its signed share of the sum of the seeds.

        given: each accepted clinic's signed contribution and the box for this steward. Raises UntrustedError
        and has released nothing then.
        """
        with self._refusals_kept():
            checked, named, asked = self._accepted(plan, accepted)
            round_id = checked.plan.round_id
            if (answer := self._kept(round_id, asked)) is not None:
                return answer
            not_over(checked.plan, self._now())
            if checked.plan.least < self._least:
                found = str(checked.plan.least)
                raise UntrustedError("plan", f"{self._least} clinics or more in a sum", found)
            if tuple(sorted(digest(contribution) for contribution, _ in given)) != named.contributions:
                raise UntrustedError("contributions", "those of the accepted set", "others")
            key = self._key(checked)
            shares: dict[str, Vector] = {}
            for contribution, box in given:
                name, opened = self._share(checked, key, contribution, box)
                if name in shares:
                    raise UntrustedError("contributions", "one of each clinic", f"two of {name}")
                shares[name] = opened
            total = SeedShare(round_id, asked, packed(added(list(shares.values()))))
            return self._answered(round_id, asked, sign(self._identity, "seed-share", total))

    def _key(self, checked: Checked) -> hpke.MLKEM768X25519PrivateKey:
        if self._identity.public.key_id not in checked.stewards:
            raise UntrustedError("plan", "one that names this steward", "one that does not")
        secret = self._secret(checked.plan.round_id)
        return hpke.MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(secret[:64]), X25519PrivateKey.from_private_bytes(secret[64:])
        )

    def _share(
        self, checked: Checked, key: hpke.MLKEM768X25519PrivateKey, contribution: bytes, box: bytes
    ) -> tuple[str, Vector]:
        said, clinic = self._contributor(checked, contribution)
        own = self._identity.public.key_id
        index = checked.stewards.index(own) + 1
        if said.boxes[index - 1] != digest(box):
            raise UntrustedError(f"box of {clinic.name}", "the one that the clinic signed", "another one")
        info = box_info(checked.plan.round_id, checked.digest, clinic.public.key_id, own)
        try:
            return clinic.name, share(SUITE.decrypt(box, key, info=info), index, checked.plan.threshold)
        except (InvalidTag, ValueError, UntrustedError) as problem:
            raise UntrustedError(f"box of {clinic.name}", "a share of its seed", "none") from problem


class HeSteward(_Steward):
    """Holds the key of the BFV encryption, for one round at a time.

    It adds the clinics' own ciphertexts and decrypts nothing that a server made: BFV gives its key away to
    whoever may choose what is decrypted.
    """

    def announce(self, round_id: bytes, ends: int) -> bytes:
        """Its signed public context for a round."""
        with Bfv() as bfv:
            secret, public = bfv.new_keys()
        self._opened(round_id, ends, secret)
        return sign(self._identity, "encryption-key", EncryptionKey(round_id, public))

    def decrypt(self, plan: bytes, accepted: bytes, given: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
        """The signed masked sum; the last step of a round.

        given: each accepted clinic's signed contribution and its ciphertexts. Raises UntrustedError.
        """
        with self._refusals_kept():
            checked, named, asked = self._accepted(plan, accepted)
            round_id = checked.plan.round_id
            if (answer := self._kept(round_id, asked)) is not None:
                return answer
            not_over(checked.plan, self._now())
            with Bfv() as bfv:
                bfv.open(self._secret(round_id))
                values = bfv.decrypted(self._added(bfv, checked, named, given))
            if len(values) != checked.plan.coding.padded:
                raise UntrustedError("sum", f"{checked.plan.coding.padded} numbers", str(len(values)))
            told = MaskedSum(round_id, asked, packed(values))
            return self._answered(round_id, asked, sign(self._identity, "masked-sum", told))

    def _added(
        self, bfv: Bfv, checked: Checked, named: Accepted, given: Iterable[tuple[bytes, Sequence[bytes]]]
    ) -> list[bytes]:
        names, found = set[str](), list[bytes]()
        for contribution, body in given:
            said, clinic = self._contributor(checked, contribution)
            if said.body != digest(*body):
                raise UntrustedError(f"ciphertexts of {clinic.name}", "those that it signed", "others")
            if clinic.name in names:
                raise UntrustedError("contributions", "one of each clinic", f"two of {clinic.name}")
            bfv.add(list(body))
            names.add(clinic.name)
            found.append(digest(contribution))
        if tuple(sorted(found)) != named.contributions:
            raise UntrustedError("contributions", "those of the accepted set", "others")
        return bfv.total()
