"""The model that the boxes of a programme learned together, as a consultation uses it.

`shared-model.bin` in the data folder is written when the box adopts a signed release (`federate adopt`): its
SHA-256, and the model. It is read and checked anew for each consultation; a box without one looks no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.diagnosis.case_vector import case_vector, length
from akazuba.diagnosis.differential import Ranking
from akazuba.diagnosis.network import Network, Numbers, softmax
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.records import Case, Finding, Likely, SharedOpinion
from akazuba.terminology import Ancestors

FILE = "shared-model.bin"
LARGEST = 1e6
"""Of a weight: no sum of them overflows."""

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
        if numbers.shape != (self.network.dimension,) or not (np.abs(numbers) <= LARGEST).all():
            expected = f"{self.network.dimension} numbers of at most {LARGEST:g}"
            raise InputError("shared model", expected, f"{numbers.shape}, or larger")
        return numbers

    def opinion(
        self, case: Case, findings: Sequence[Finding], ranking: Ranking, ancestors: Ancestors
    ) -> SharedOpinion:
        """Of a case as the box understood it. Who knows few conditions finds one of them in everybody, so it
        says nothing where the box itself gives no answer, or thinks first of another condition.
        """
        differential = ranking.candidates
        answers = bool(differential) and not ranking.abstained
        unknown = differential[0].name if answers and differential[0].name not in self.conditions else ""
        inputs = case_vector(case, findings, differential, self.asked, ancestors)
        (chances,) = softmax(self.network.scores(self.values(), inputs[None])).tolist()
        likely = [Likely(name, chance) for name, chance in zip(self.conditions, chances, strict=True)]
        return SharedOpinion(
            self.programme,
            self.release,
            () if unknown or not answers else tuple(sorted(likely, key=lambda one: -one.probability)),
            len(self.conditions),
            self.right,
            self.cases,
            self.sites,
            unknown,
        )


def written(model: SharedModel) -> bytes:
    """As the file holds it."""
    data = msgspec.msgpack.encode(model)
    return sha256(data).digest() + data


def read_shared(path: Path) -> SharedModel | None:
    """None where there is none. Raises ArtefactError."""
    expected = "a shared model of this version (adopt it again)"
    try:
        data = path.read_bytes()
        if sha256(data[32:]).digest() != data[:32]:
            raise ArtefactError(str(path), expected, "one that was altered")
        model = msgspec.msgpack.decode(data[32:], type=SharedModel)
        model.values()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise ArtefactError(str(path), expected, why_not_opened(problem)) from problem
    except (msgspec.MsgspecError, InputError) as problem:
        raise ArtefactError(str(path), expected, str(problem)) from problem
    return model
