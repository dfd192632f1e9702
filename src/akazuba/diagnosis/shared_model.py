"""The model that the boxes of a programme learned together, as a consultation uses it.

`shared-model.bin` in the data folder is written when the box adopts a signed release (`federate adopt`), and
is checked for what it is each time it has changed; a box without one never looks further.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.diagnosis.case_vector import case_vector, length
from akazuba.diagnosis.network import Network, Numbers, softmax
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.records import Candidate, Case, Finding, Likely, SharedOpinion
from akazuba.terminology import Ancestors

FILE = "shared-model.bin"
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class SharedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """release: number; id: SHA-256 of it, in hex. asked: conditions whose probability by the box is an input.
    numbers: float32, little-endian, of a network with so many hidden units. right, cases, sites: of its gate.
    """

    programme: Text
    release: Annotated[int, Meta(ge=1)]
    id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    conditions: Annotated[tuple[Text, ...], Meta(min_length=2, max_length=1000)]
    asked: tuple[Text, ...]
    hidden: Annotated[int, Meta(ge=0, le=10_000)]
    numbers: bytes
    right: Annotated[int, Meta(ge=0)]
    cases: Annotated[int, Meta(ge=1)]
    sites: Annotated[int, Meta(ge=1)]

    @property
    def name(self) -> str:
        """By which an assessment's provenance has it."""
        return f"shared-{self.programme}-{self.release}"

    @property
    def network(self) -> Network:
        return Network(length(self.asked), len(self.conditions), self.hidden)

    def values(self) -> Numbers:
        """(network.dimension,). Raises InputError for other bytes."""
        numbers = np.frombuffer(self.numbers, "<f4") if len(self.numbers) % 4 == 0 else np.zeros(0, "<f4")
        if numbers.shape != (self.network.dimension,) or not np.isfinite(numbers).all():
            raise InputError("shared model", f"{self.network.dimension} finite numbers", str(numbers.shape))
        return numbers

    def opinion(
        self, case: Case, findings: Sequence[Finding], differential: Sequence[Candidate], ancestors: Ancestors
    ) -> SharedOpinion:
        """Of a case as the box understood it. Who knows few conditions finds one of them in everybody, so it
        says nothing where the box thinks first of another. Raises InputError as `values` does.
        """
        unknown = differential[0].name if differential and differential[0].name not in self.conditions else ""
        inputs = case_vector(case, findings, differential, self.asked, ancestors)
        (chances,) = softmax(self.network.scores(self.values(), inputs[None])).tolist()
        likely = [Likely(name, chance) for name, chance in zip(self.conditions, chances, strict=True)]
        return SharedOpinion(
            self.programme,
            self.release,
            () if unknown else tuple(sorted(likely, key=lambda one: -one.probability)),
            len(self.conditions),
            self.right,
            self.cases,
            self.sites,
            unknown,
        )


def read_shared(path: Path) -> SharedModel | None:
    """None where there is none. Raises ArtefactError."""
    expected = "a shared model of this version (adopt it again)"
    try:
        model = msgspec.msgpack.decode(path.read_bytes(), type=SharedModel)
        model.values()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise ArtefactError(str(path), expected, why_not_opened(problem)) from problem
    except (msgspec.MsgspecError, InputError) as problem:
        raise ArtefactError(str(path), expected, str(problem)) from problem
    return model
