"""Whom this box believes: the programme's root, what it enrolled, what it revoked, and what time it can be.

A box's clock may be dead. The newest time that the authority signed is a floor under it: before that,
nothing is called valid or expired; the clock is called wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from akazuba.errors import UntrustedError
from akazuba.privacy.keys.enrolment import (
    CLOCK_TOLERANCE_S,
    OVERLAP_S,
    Enrolment,
    Revocations,
    Role,
)
from akazuba.privacy.keys.identity import PublicIdentity
from akazuba.privacy.keys.signed import Message, read, unwrap, verified


class Registry:
    """root: the authority's public keys, which came with the installation.

    position: how far a key store's rows are read into it.
    """

    def __init__(self, programme: str, root: PublicIdentity) -> None:
        self.programme = programme
        self.root = root
        self.position = 0
        self._enrolled: dict[str, Enrolment] = {}
        self._successor: dict[str, Enrolment] = {}
        self._revocations: Revocations | None = None
        self._floor = 0

    def __iter__(self) -> Iterator[Enrolment]:
        return iter(self._enrolled.values())

    @property
    def time_floor(self) -> int:
        """The newest time that the authority is known to have signed at, s since 1970; it never falls."""
        return self._floor

    def believe(self, enrolment: bytes, now: int) -> Enrolment:
        """Takes an enrolment in. now: when it came. Raises UntrustedError when it is not the authority's."""
        given, _ = verified(enrolment, "enrolment", Enrolment, lambda key_id: self._authority(key_id, now))
        self._of_ours(given.programme, "enrolment")
        self._not_ahead("enrolment", given.not_before, now)
        key_id = given.public.key_id
        known = self._enrolled.get(key_id)
        if known and known.serial > given.serial:
            return known
        if known and (known.name, known.role) != (given.name, given.role):
            raise UntrustedError(
                "enrolment", f"{known.name} as {known.role}", f"{given.name} as {given.role}"
            )
        self._enrolled[key_id] = given
        self._floor = max(self._floor, given.not_before)
        if given.replaces:
            first = self._successor.setdefault(given.replaces, given)
            self._successor[given.replaces] = min(first, given, key=lambda one: one.not_before)
        return given

    def believe_revocations(self, revocations: bytes, now: int) -> Revocations:
        """Takes a newer list in. Raises UntrustedError for an older one, one that forgets a key, or one that
        revokes the root and is not the root's own.
        """
        given, signer = verified(
            revocations, "revocations", Revocations, lambda key_id: self._authority(key_id, now)
        )
        self._of_ours(given.programme, "revocations")
        self._not_ahead("revocations", given.issued, now)
        known = self._revocations
        if known == given:
            return given
        if known and given.number <= known.number:
            raise UntrustedError("revocations", f"number {known.number + 1} or later", f"{given.number}")
        before = known.revoked if known else {}
        if not before.keys() <= given.revoked.keys():
            missing = next(iter(before.keys() - given.revoked.keys()))
            raise UntrustedError("revocations", f"{missing[:16]} still revoked", "a list without it")
        root = self.root.key_id
        if root in given.revoked and root not in before and signer != root:
            raise UntrustedError("revocations", "the root revoked by itself alone", f"by {signer[:16]}")
        self._revocations = given
        self._floor = max(self._floor, given.issued)
        return given

    def overdue_s(self, now: int) -> int | None:
        """By how many seconds the next revocation list is late; None when no list ever came."""
        return max(0, now - self._revocations.next_due) if self._revocations else None

    def member(self, key_id: str, roles: Collection[Role], now: int) -> Enrolment:
        """Who signed, if it may do so now in one of these roles. Raises UntrustedError."""
        self.check_clock(now)
        found = self._enrolled.get(key_id)
        if found is None:
            raise UntrustedError("signer", "a key enrolled in the programme", key_id[:16])
        self._holds(found, now)
        if found.role not in roles:
            raise UntrustedError(found.name, " or ".join(sorted(roles)), found.role)
        return found

    def said(
        self, data: bytes, kind: str, message: type[Message], roles: Collection[Role], now: int
    ) -> tuple[Message, Enrolment]:
        """What a member in one of these roles signed, and who it is.

        Raises UntrustedError, also for a message that names another programme.
        """
        claimed = unwrap(data, kind)
        who = self.member(claimed.signer, roles, now)
        who.public.verify(kind, claimed.payload, claimed.signature)
        said = read(claimed.payload, kind, message)
        self._of_ours(getattr(said, "programme", self.programme), kind)
        return said, who

    def check_clock(self, now: int) -> None:
        """Raises UntrustedError when the clock shows a time before one that the authority signed at."""
        if now < self._floor - CLOCK_TOLERANCE_S:
            raise UntrustedError("clock", f"a time after {self._floor} s (seconds since 1970)", f"{now} s")

    def _not_ahead(self, what: str, signed: int, now: int) -> None:
        """A post-dated signature would call every sound clock wrong."""
        if signed > now + CLOCK_TOLERANCE_S:
            raise UntrustedError(what, f"one signed before {now} s, by this box's clock", f"{signed} s")

    def _holds(self, found: Enrolment, now: int) -> None:
        key_id = found.public.key_id
        self._not_revoked(key_id, found.name)
        end = found.not_after
        if successor := self._successor.get(key_id):
            end = min(end, successor.not_before + OVERLAP_S)
        if now > end + CLOCK_TOLERANCE_S:
            expected = f"a key that held until after {now} s"
            raise UntrustedError(found.name, expected, f"one that ended at {end} s")

    def _authority(self, key_id: str, now: int) -> PublicIdentity:
        if key_id == self.root.key_id:
            self._not_revoked(key_id, "the authority")
            return self.root
        found = self._enrolled.get(key_id)
        if found is None or found.role != "authority":
            raise UntrustedError("signer", f"the authority of {self.programme}", key_id[:16])
        self._holds(found, now)
        return found.public

    def _not_revoked(self, key_id: str, name: str) -> None:
        if self._revocations and (reason := self._revocations.revoked.get(key_id)) is not None:
            raise UntrustedError(name, "a key that holds", f"one that was revoked: {reason}")

    def _of_ours(self, programme: str, kind: str) -> None:
        if programme != self.programme:
            raise UntrustedError(kind, f"one of programme {self.programme}", f"one of {programme}")
