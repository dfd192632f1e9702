"""Who agreed to what, until when, and when it was withdrawn: asked at the moment of use.

Nothing is allowed that nobody agreed to, with one exception, care. Whoever comes to be treated agrees to that
by coming; one who cannot speak is treated, for consent to what is urgently needed may be presumed unless it
is beyond doubt that it would be refused (WMA, Declaration of Lisbon, principle 4). A box that asks for a form
first would let her die. A refusal of care is a withdrawal, and counts.

The order in the log decides which word is the newest, not the clocks: a clock may stand wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.storage.store import Entry, Recorded, Store

Purpose = Literal["care", "sharing", "training", "export"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
GIVEN, WITHDRAWN = "consent", "consent-withdrawn"

Words = Annotated[str, Meta(max_length=500)]


class By(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who said it. relation: of a guardian to the patient, "" for the patient herself."""

    who: Literal["patient", "guardian"]
    relation: Annotated[str, Meta(max_length=100)] = ""

    def __str__(self) -> str:
        return "the patient" if self.who == "patient" else f"guardian ({self.relation})"


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text that was shown or read out. language: ISO 639. sha256: of its UTF-8, in hex."""

    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")]
    version: Annotated[str, Meta(min_length=1, max_length=50)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `consent`. until_ms: since 1970, when it ends by itself; None for no end."""

    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1)]
    by: By
    shown: Shown
    until_ms: int | None = None


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `consent-withdrawn`. It takes no reason; because: what was said, if anything was."""

    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1)]
    by: By
    because: Words = ""


@dataclass(frozen=True)
class Allowed:
    """why: in words. index: of the entry that decides, None when there is none."""

    yes: bool
    why: str
    index: int | None = None


@dataclass(frozen=True)
class Word:
    """What one entry says; the newest of a purpose counts. until_ms: None for no end, or withdrawn."""

    entry: Recorded
    said: Consent | Withdrawal

    @property
    def until_ms(self) -> int | None:
        return self.said.until_ms if isinstance(self.said, Consent) else None


def shown(text: str, version: str, language: str) -> Shown:
    """Of the very text that the patient was shown. Raises InputError for an empty one or a bad language."""
    if not text.strip():
        raise InputError("consent, text", "the text that was shown", "none")
    if not re.fullmatch(r"[a-z]{2,3}", language):
        raise InputError("consent, language", "an ISO 639 code such as rw", repr(language[:20]))
    if not 0 < len(version) <= 50:
        raise InputError("consent, version", "1 to 50 characters", f"{len(version)}")
    return Shown(language, encodable(version), sha256(encodable(text).encode()).hexdigest())


def give(store: Store, patient: str, by: str, said: Consent, now_ms: int) -> Recorded:
    """by: who records it. Raises InputError for a guardian of no relation, or an end that has passed."""
    _sensible(said.purposes, said.by)
    if said.until_ms is not None and said.until_ms <= now_ms:
        raise InputError("consent, until", "an end in the future", f"{said.until_ms - now_ms} ms from now")
    store.person(patient)
    return store.add(Entry(GIVEN, by, msgspec.json.encode(said), patient))[0]


def withdraw(store: Store, patient: str, by: str, said: Withdrawal) -> Recorded:
    """Counts from now on, whether anything was agreed to before or not."""
    _sensible(said.purposes, said.by)
    store.person(patient)
    return store.add(Entry(WITHDRAWN, by, msgspec.json.encode(said), patient))[0]


def may(store: Store, patient: str, purpose: Purpose, at_ms: int) -> Allowed:
    """at_ms: now, since 1970. Raises InputError for an unknown or erased patient."""
    store.person(patient)
    newest = newest_word(words(store, patient), purpose)
    if newest is None:
        if purpose == "care":
            return Allowed(True, "nobody refused care: whoever comes to be treated agrees by coming")
        return Allowed(False, f"nobody agreed to {purpose}")
    index = newest.entry.index
    if isinstance(newest.said, Withdrawal):
        return Allowed(False, f"withdrawn by {newest.said.by} (entry {index})", index)
    ends = newest.until_ms
    if ends is not None and not newest.entry.at_ms <= at_ms < ends:
        why = "expired" if at_ms >= ends else "has an end, and the clock stands before the day it was given"
        if purpose == "care":
            return Allowed(True, f"nobody refused care; what was agreed to {why} (entry {index})", index)
        return Allowed(False, f"{why} (entry {index})", index)
    return Allowed(True, f"agreed to by {newest.said.by} (entry {index})", index)


def words(store: Store, patient: str) -> list[Word]:
    """All that was said, the oldest first. Raises ArtefactError for an entry that is none."""
    shapes: dict[str, type[Consent] | type[Withdrawal]] = {GIVEN: Consent, WITHDRAWN: Withdrawal}
    found = list[Word]()
    for entry in store.entries(patient=patient):
        if entry.kind in shapes and entry.body is not None:
            try:
                found.append(Word(entry, msgspec.json.decode(entry.body, type=shapes[entry.kind])))
            except msgspec.MsgspecError as problem:
                raise ArtefactError(f"entry {entry.index}", f"a {entry.kind}", str(problem)) from problem
    return found


def newest_word(said: list[Word], purpose: Purpose) -> Word | None:
    return next((word for word in reversed(said) if purpose in word.said.purposes), None)


def known_purpose(text: str) -> Purpose:
    """Raises InputError."""
    for purpose in PURPOSES:
        if purpose == text:
            return purpose
    raise InputError("purpose", ", ".join(PURPOSES), repr(text[:40]))


def _sensible(purposes: tuple[Purpose, ...], by: By) -> None:
    if not purposes:
        raise InputError("consent, purposes", ", ".join(PURPOSES), "none")
    if (by.who == "guardian") != bool(by.relation.strip()):
        expected = "a relation for a guardian, and none for the patient"
        raise InputError("consent, by", expected, f"{by.who}, {by.relation!r}")
