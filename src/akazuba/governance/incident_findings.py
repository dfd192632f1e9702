"""What an attribution says: causes, each with its party, its evidence and what would rebut it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from akazuba.governance.responsibility import Document

Party = Literal["developer", "deployer", "clinician"]
Kind = Literal[
    "record-altered",
    "input-wrong",
    "wrong-patient",
    "files-altered",
    "release-unsigned",
    "output-differs",
    "known-defect",
    "defect-not-acted-on",
    "configuration-unsigned",
    "configuration-stale",
    "configuration-other-release",
    "configuration-outside-bounds",
    "overlay-altered",
    "formulary-altered",
    "alarm-ignored",
    "no-staff",
    "overridden",
]


class Evidence(Document, frozen=True):
    """says: in words. entries: of the log. digests: by name. clause: of a document or guideline."""

    says: str
    entries: tuple[int, ...] = ()
    digests: Mapping[str, str] = {}
    clause: str = ""


class Cause(Document, frozen=True):
    """shown: a replay or a signed statement shows that advice or care would have been another; False: it
    diverged, and whether that mattered is not known. rebuttal: what would speak against it.
    """

    kind: Kind
    level: Party
    says: str
    shown: bool
    evidence: tuple[Evidence, ...]
    rebuttal: str


@dataclass
class Found:
    """What the steps gather. replay: what the replay of the signed versions gave, in words."""

    causes: list[Cause] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    replay: str = "none"

    def cause(
        self, kind: Kind, level: Party, says: str, *evidence: Evidence, rebuttal: str, shown: bool = False
    ) -> None:
        self.causes.append(Cause(kind, level, says, shown, evidence, rebuttal))
