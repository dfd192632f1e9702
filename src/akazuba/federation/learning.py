"""What a programme learns: which conditions its boxes learn to tell apart, as its coordinator signed it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from akazuba.diagnosis.case_vector import case_vector, length
from akazuba.diagnosis.network import Network, Numbers
from akazuba.errors import InputError, UntrustedError
from akazuba.federation.stick import put
from akazuba.privacy.keys.enrolment import Name
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import believed
from akazuba.records import Assessment, Case
from akazuba.terminology import Ancestors

KIND = "learning-programme"
FILE = "federation-learning.bin"
HIGHEST = 1 << 30


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the coordinator: what all boxes of a programme learn. number: grows with every change.
    conditions: the classes, in order, as the box's knowledge names them. differential: whether the box's own
    probabilities are inputs too. hidden: units of the network's hidden layer. features: version of the
    vector (`diagnosis.case_vector`).
    """

    programme: Name
    number: Annotated[int, Meta(ge=1, le=HIGHEST)]
    conditions: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=1000)]
    differential: bool = False
    hidden: Annotated[int, Meta(ge=0, le=10_000)] = 0
    features: Literal[1] = 1

    def __post_init__(self) -> None:
        for name in self.conditions:
            if self.conditions.count(name) > 1:
                raise InputError(KIND, "each condition once", f"{name} twice")

    @property
    def asked(self) -> tuple[str, ...]:
        """Conditions whose probability by the box itself is an input."""
        return self.conditions if self.differential else ()

    def network(self) -> Network:
        return Network(length(self.asked), len(self.conditions), self.hidden)

    @property
    def meaning(self) -> bytes:
        """SHA-256 over what a model's inputs and classes stand for; another number of the programme keeps
        it.
        """
        return sha256(msgspec.json.encode([self.features, self.conditions, self.asked])).digest()

    def require(self, meaning: bytes, item: str) -> None:
        """meaning: of a student or a model, empty where it names none. Raises InputError for another: its
        classes stand for other conditions.
        """
        if meaning != self.meaning:
            found = "one of another" if meaning else "one of no programme"
            expected = f"one of programme {self.number}, {len(self.conditions)} conditions"
            raise InputError(item, expected, found)


def learning_of(data: bytes, registry: Registry, now: int) -> Learning:
    """As a coordinator of the programme signed it. now: seconds since 1970.

    Raises UntrustedError, and InputError for one that names a condition twice.
    """
    return registry.said(data, KIND, Learning, ["coordinator"], now)[0]


def in_force(home: Path, given: bytes | None, registry: Registry, now: int) -> Learning:
    """What this box learns from now on. home: the data folder, where it is kept. given: the signed bytes of a
    newer one, if there is one.

    Raises UntrustedError for one that is older than what is kept, InputError when there is none at all.
    """
    if given is None:
        if (before := kept(home, registry, now)) is None:
            raise InputError("programme", "the file that its coordinator signed, the first time", "none")
        return before
    learning, path = learning_of(given, registry, now), home / FILE
    if path.exists():  # who signed it may be revoked since: only its number is asked for
        known = believed(path.read_bytes(), KIND, Learning)
        if known == learning:
            return learning
        if learning.number <= known.number:
            raise UntrustedError(KIND, f"number {known.number + 1} or later", str(learning.number))
    put(path, given)
    return learning


def kept(home: Path, registry: Registry, now: int) -> Learning | None:
    """What this box learns, if it was ever told. Raises UntrustedError as `learning_of` does."""
    path = home / FILE
    return learning_of(path.read_bytes(), registry, now) if path.exists() else None


def vector(case: Case, assessment: Assessment, learning: Learning, ancestors: Ancestors) -> Numbers:
    """(features,) of a recorded case. assessment: what the box said of it."""
    findings, differential = assessment.findings or (), assessment.differential or ()
    return case_vector(case, findings, differential, learning.asked, ancestors)
