"""The server's part: it takes contributions, names who is in the sum, adds, and takes the mask off the sum.

It holds no key that opens anything. Contributions are on the disk before they are acknowledged, and any share
of the clinics may be missing when the round closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from akazuba.durable import open_durable, writing
from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.aggregation.bfv import CIPHERTEXT_BYTES, DEGREE as SLOTS, Bfv
from akazuba.privacy.aggregation.clinic import Checked, checked_plan
from akazuba.privacy.aggregation.encode import Floats
from akazuba.privacy.aggregation.masks import added, mask
from akazuba.privacy.aggregation.messages import (
    Accepted,
    Contribution,
    MaskedSum,
    Plan,
    SeedShare,
    Upload,
    digest,
)
from akazuba.privacy.aggregation.ring import DEGREE, MODULUS, Vector, centred, unpacked
from akazuba.privacy.aggregation.shamir import joined
from akazuba.privacy.keys.enrolment import Role, only
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import MAX_BYTES, Message, sign, verified

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contribution (
    name TEXT PRIMARY KEY, clinic TEXT NOT NULL, digest BLOB NOT NULL, signed BLOB NOT NULL,
    body BLOB NOT NULL, boxes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS dropped (digest BLOB PRIMARY KEY, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (at INTEGER NOT NULL, clinic TEXT NOT NULL, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accepted (id INTEGER PRIMARY KEY CHECK (id = 1), signed BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Total:
    """update: (dimension,), the sum of `clinics` updates with their noise. whole: the same as whole
    numbers.
    """

    update: Floats
    whole: Vector
    clinics: int


REFUSALS = 10_000
"""So many are kept, the first ones."""


def most_bytes(plan: Plan) -> int:
    """Of an upload to this plan, with room to spare."""
    padded, stewards = plan.coding.padded, len(plan.mask_keys)
    body = padded // SLOTS * (CIPHERTEXT_BYTES[1] + 8) if plan.path == "he" else padded * 3
    return min(MAX_BYTES, body + 10_000 * (stewards + 1))


class Round:
    """One round, in one file. identity: the coordinator's."""

    def __init__(
        self, path: Path, plan: bytes, identity: Identity, registry: Registry, now: Callable[[], int]
    ) -> None:
        self._identity, self._registry, self._now = identity, registry, now
        self._checked: Checked = checked_plan(plan, registry, now(), ended=True)
        self._file = open_durable(path, _SCHEMA, "a round's file")

    def close(self) -> None:
        self._file.close()

    def take(self, upload: bytes) -> str:
        """Keeps a clinic's upload and gives its key id; the same upload may come twice.

        Raises UntrustedError for one that is forged, altered, late, of another plan, or a second one of its
        clinic. A refusal is kept with its reason. On the HE path ciphertexts are read apart (`unreadable`).
        """
        try:
            return self._take(upload)
        except UntrustedError as problem:
            with writing(self._file) as file:
                query = "INSERT INTO refused SELECT ?, ?, ? WHERE (SELECT COUNT(*) FROM refused) < ?"
                file.execute(query, (self._now(), "", str(problem), REFUSALS))
            raise

    def _take(self, data: bytes) -> str:
        if len(data) > most_bytes(self._checked.plan):
            raise UntrustedError(
                "upload", f"at most {most_bytes(self._checked.plan)} bytes", f"{len(data)} bytes"
            )
        try:
            upload = msgspec.msgpack.decode(data, type=Upload)
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            raise UntrustedError("upload", "a clinic's upload", str(problem)) from problem
        plan = self._checked.plan
        if self._now() > plan.ends:
            raise UntrustedError("upload", "one before the round ended", "one after it")
        said, clinic = self._registry.said(
            upload.contribution, "contribution", Contribution, ["terminal"], self._now()
        )
        if said.round_id != plan.round_id or said.plan != self._checked.digest:
            raise UntrustedError(f"upload of {clinic.name}", "one to this plan", "one to another")
        if not said.is_of(upload):
            raise UntrustedError(f"upload of {clinic.name}", "what the clinic signed", "something else")
        if len(upload.boxes) != len(self._checked.stewards):
            raise UntrustedError(f"upload of {clinic.name}", "a box for each steward", str(len(upload.boxes)))
        self._sized(clinic.name, upload.body)
        return self._kept(clinic.public.key_id, clinic.name, upload)

    def _kept(self, key_id: str, name: str, upload: Upload) -> str:
        body, boxes = (msgspec.msgpack.encode(part) for part in (upload.body, upload.boxes))
        row = (name, key_id, digest(upload.contribution), upload.contribution, body, boxes)
        with writing(self._file) as file:
            if self._closed():
                raise UntrustedError(f"upload of {name}", "one before the round closed", "one after it")
            if file.execute("SELECT 1 FROM dropped WHERE digest = ?", (row[2],)).fetchone():
                raise UntrustedError(f"upload of {name}", "one that was not left out", "one that was")
            known = file.execute("SELECT digest FROM contribution WHERE name = ?", (name,)).fetchone()
            if known is None:
                file.execute("INSERT INTO contribution VALUES (?, ?, ?, ?, ?, ?)", row)
            elif known[0] != row[2]:
                raise UntrustedError(f"upload of {name}", "one in a round", "a second one")
        return key_id

    def _sized(self, name: str, body: Sequence[bytes]) -> None:
        padded = self._checked.plan.coding.padded
        if self._checked.plan.path == "mask":
            (vector,) = body if len(body) == 1 else (b"",)
            unpacked(vector, padded, f"upload of {name}")
            return
        low, high = CIPHERTEXT_BYTES
        if len(body) != padded // SLOTS or not all(low <= len(part) <= high for part in body):
            expected = f"{padded // SLOTS} ciphertexts of {low} to {high} bytes"
            raise UntrustedError(f"upload of {name}", expected, f"{len(body)} of {sum(map(len, body))} bytes")

    def refusals(self) -> list[str]:
        return [row[0] for row in self._file.execute("SELECT why FROM refused ORDER BY rowid")]

    def number(self) -> int:
        """Contributions that are kept."""
        (number,) = self._file.execute("SELECT COUNT(*) FROM contribution").fetchone()
        return int(number)

    def unreadable(self, context: bytes) -> dict[str, str]:
        """Key ids of the clinics whose ciphertexts cannot be read, and why. context: the HE steward's."""
        found: dict[str, str] = {}
        with Bfv() as bfv:
            bfv.open(context)
            for clinic, body in self._file.execute("SELECT clinic, body FROM contribution ORDER BY name"):
                try:
                    bfv.add(msgspec.msgpack.decode(body, type=list[bytes]))
                except UntrustedError as problem:
                    found[clinic] = str(problem)
                    bfv.__enter__()
                    bfv.open(context)
        return found

    def drop(self, clinic: str, why: str) -> None:
        """Leaves a clinic's upload out for good, before the set is named. Raises InputError after that."""
        with writing(self._file) as file:
            if self._closed():
                raise InputError("round", "one whose set is not named yet", "one that is closed")
            query = "INSERT OR IGNORE INTO dropped SELECT digest, ? FROM contribution WHERE clinic = ?"
            file.execute(query, (why, clinic))
            file.execute("DELETE FROM contribution WHERE clinic = ?", (clinic,))
            file.execute("INSERT INTO refused VALUES (?, ?, ?)", (self._now(), clinic, why))

    @property
    def closed(self) -> bool:
        """Whether the set is named."""
        return self._closed() is not None

    def _closed(self) -> bytes | None:
        row = self._file.execute("SELECT signed FROM accepted").fetchone()
        return row[0] if row else None

    def accept(self) -> bytes:
        """Closes the round and names who is in the sum. Raises UntrustedError for fewer than `least`."""
        with writing(self._file) as file:
            if signed := self._closed():
                return signed
            digests = sorted(row[0] for row in file.execute("SELECT digest FROM contribution"))
            plan = self._checked.plan
            if len(digests) < plan.least:
                raise UntrustedError("round", f"{plan.least} clinics or more", str(len(digests)))
            accepted = Accepted(plan.round_id, self._checked.digest, tuple(digests[: plan.most]))
            signed = sign(self._identity, "accepted", accepted)
            file.execute("INSERT INTO accepted VALUES (1, ?)", (signed,))
        return signed

    def for_mask_steward(self, index: int) -> list[tuple[bytes, bytes]]:
        """What mask steward `index` (from 1) needs: each contribution (of the set, once it is named) and its
        box.
        """
        rows = self._file.execute("SELECT digest, signed, boxes FROM contribution ORDER BY digest")
        named = self._named()
        return [
            (signed, msgspec.msgpack.decode(boxes, type=tuple[bytes, ...])[index - 1])
            for key, signed, boxes in rows
            if named is None or key in named
        ]

    def with_bodies(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Each accepted contribution and its body, one at a time: what the HE steward needs."""
        named = self._named()
        rows = self._file.execute("SELECT digest, signed, body FROM contribution ORDER BY digest")
        for key, signed, body in rows:
            if named is None or key in named:
                yield signed, msgspec.msgpack.decode(body, type=list[bytes])

    def _named(self) -> frozenset[bytes] | None:
        """Digests of the set, once it is named."""
        if (signed := self._closed()) is None:
            return None
        accepted, _ = verified(signed, "accepted", Accepted, only(self._identity.public))
        return frozenset(accepted.contributions)

    def opened(self, seed_shares: Sequence[bytes], masked_sum: bytes | None = None) -> Total:
        """The sum, its mask taken off.

        seed_shares: the mask stewards' signed answers, `threshold` of them or more; with more, ones that do
        not fit together are noticed. masked_sum: the HE steward's, on the HE path. Raises UntrustedError.
        """
        plan = self._checked.plan
        named = self._named()
        if named is None:
            raise InputError("round", "one whose set is named", "one that is still open")
        asked = digest(*sorted(named))
        shares: dict[int, Vector] = {}
        for signed in seed_shares:
            said, key_id = self._answer(signed, "seed-share", SeedShare, "mask-steward")
            if key_id not in self._checked.stewards:
                raise UntrustedError("seed share", "a steward of this plan", key_id[:16])
            if (said.round_id, said.accepted) != (plan.round_id, asked):
                raise UntrustedError("seed share", "one of this sum", "one of another sum")
            shares[self._checked.stewards.index(key_id) + 1] = unpacked(said.total, DEGREE, "seed share")
        seed = joined(shares, plan.threshold)
        if plan.path == "mask":
            vectors = [
                unpacked(body[0], plan.coding.padded, "contribution") for _, body in self.with_bodies()
            ]
            hidden = added(vectors)
        elif masked_sum is None:
            raise UntrustedError("masked sum", "the HE steward's", "none")
        else:
            told, _ = self._answer(masked_sum, "masked-sum", MaskedSum, "he-steward")
            if (told.round_id, told.accepted) != (plan.round_id, asked):
                raise UntrustedError("masked sum", "one of this sum", "one of another sum")
            hidden = unpacked(told.total, plan.coding.padded, "masked sum")
        whole = centred((hidden - mask(seed, plan.round_id, plan.coding.padded)) % MODULUS)
        return Total(plan.coding.decoded(whole), whole, len(named))

    def _answer(self, signed: bytes, kind: str, message: type[Message], role: Role) -> tuple[Message, str]:
        told, steward = self._registry.said(signed, kind, message, [role], self._now())
        return told, steward.public.key_id
