"""What the terminals of a SIMULATED programme train on: real hospitals' tables, or drawn cases that drift."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from akazuba.diagnosis.network import Labels, Network
from akazuba.errors import InputError, why_not_opened
from akazuba.federation.updates import Numbers

DAY_S = 86_400.0
TESTS = 250
"""Drawn test cases of a region."""


@dataclass(frozen=True)
class Cases:
    """inputs: (cases, features). labels: (cases,)."""

    inputs: Numbers
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


class World(Protocol):
    """simulated: what of it is drawn, for the output."""

    @property
    def name(self) -> str: ...

    @property
    def simulated(self) -> str: ...

    @property
    def network(self) -> Network: ...

    @property
    def clinics(self) -> int: ...

    def cases(self, clinic: int, at_s: float, turn: int) -> Cases:
        """What a clinic trains on at that time, for the turn-th time."""
        ...

    def tests(self, at_s: float) -> list[Cases]:
        """By site: cases that nobody trained on, as they are at that time."""
        ...


@dataclass(frozen=True)
class Table:
    """Cases that stay as they are. train: by clinic. test: by site."""

    name: str
    simulated: str
    network: Network
    train: tuple[Cases, ...]
    test: tuple[Cases, ...]

    @property
    def clinics(self) -> int:
        return len(self.train)

    def cases(self, clinic: int, at_s: float, turn: int) -> Cases:  # noqa: ARG002 - they never change
        return self.train[clinic]

    def tests(self, at_s: float) -> list[Cases]:  # noqa: ARG002
        return list(self.test)


@dataclass(frozen=True)
class Drifting:
    """Drawn cases: `regions` with inputs of their own, sizes of clinics log-normal, and a truth that turns
    in a plane once in `turn_days` (infinity: it stays). All invented.
    """

    seed: int
    clinics: int = 60
    turn_days: float = math.inf
    features: int = 30
    regions: int = 4
    name: str = "drawn"
    simulated: str = "all cases, clinics and their sizes"
    network: Network = field(init=False)
    _plane: Numbers = field(init=False)
    _means: Numbers = field(init=False)
    _region: Labels = field(init=False)
    _sizes: Labels = field(init=False)
    _tests: tuple[tuple[Numbers, Numbers], ...] = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng([self.seed, 1])
        plane = random.normal(size=(2, self.features))
        sizes = np.maximum(20, random.lognormal(4, 0.8, self.clinics)).astype(np.int64)
        for name, value in (
            ("network", Network(self.features)),
            ("_plane", plane / np.linalg.norm(plane, axis=1, keepdims=True)),
            ("_means", random.normal(0, 0.7, (self.regions, self.features)).astype(np.float32)),
            ("_region", random.integers(0, self.regions, self.clinics)),
            ("_sizes", np.minimum(sizes, 400)),
        ):
            object.__setattr__(self, name, value)
        tests = tuple(
            self._inputs(np.random.default_rng([self.seed, 3, region]), region, TESTS)
            for region in range(self.regions)
        )
        object.__setattr__(self, "_tests", tests)

    @property
    def drifts(self) -> bool:
        return math.isfinite(self.turn_days)

    def cases(self, clinic: int, at_s: float, turn: int) -> Cases:
        random = np.random.default_rng([self.seed, 2, clinic, turn if self.drifts else 0])
        return self._drawn(random, int(self._region[clinic]), int(self._sizes[clinic]), at_s)

    def tests(self, at_s: float) -> list[Cases]:
        found = []
        for inputs, noise in self._tests:
            labels = inputs @ self._truth(at_s) + noise > 0
            found.append(Cases(inputs, labels.astype(np.int64)))
        return found

    def _truth(self, at_s: float) -> Numbers:
        angle = 0.0 if not self.drifts else 2 * math.pi * at_s / (self.turn_days * DAY_S)
        turned = 4 * (math.cos(angle) * self._plane[0] + math.sin(angle) * self._plane[1])
        return np.asarray(turned, np.float32)

    def _drawn(self, random: np.random.Generator, region: int, number: int, at_s: float) -> Cases:
        inputs, noise = self._inputs(random, region, number)
        return Cases(inputs, (inputs @ self._truth(at_s) + noise > 0).astype(np.int64))

    def _inputs(self, random: np.random.Generator, region: int, number: int) -> tuple[Numbers, Numbers]:
        inputs = random.standard_normal((number, self.features), np.float32) + self._means[region]
        return inputs, np.float32(0.5) * random.standard_normal(number, np.float32)


HEART = "heart_disease_4site"
HEART_SITES = ("cleveland", "hungarian", "switzerland", "va")
_SCALED = {"age": (55, 10), "trestbps": (130, 20), "chol": (220, 60), "thalach": (140, 25), "oldpeak": (1, 1)}
"""Round numbers to centre and scale by, not fitted to anybody's patients."""

_CODED = {"cp": (1, 2, 3, 4), "restecg": (0, 1, 2), "slope": (1, 2, 3), "thal": (3, 6, 7), "ca": (0, 1, 2, 3)}
_YES_NO = ("sex", "fbs", "exang")
_ZERO_IS_MISSING = ("chol", "trestbps")


def heart(data: Path, seed: int, clinics: int = 4) -> Table:
    """Four real hospitals' patients with suspected heart disease, by whether they had it.

    data: the folder with `heart_disease_4site`. seed: of the 30 % of each hospital and label that are kept
    for testing. clinics: 4 (each hospital one), or more: then each hospital's patients are dealt out. Raises
    InputError when the data are not there.
    """
    path = data / HEART / "labels.csv"
    if clinics < len(HEART_SITES):
        raise InputError("clinics", "4 or more", str(clinics))
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as problem:
        raise InputError(str(path), "the heart disease table", why_not_opened(problem)) from problem
    random = np.random.default_rng([seed, 4])
    train: list[Cases] = []
    test: list[Cases] = []
    for place, site in enumerate(HEART_SITES):
        here = [row for row in rows if row["site"] == site]
        all_ = Cases(
            np.array([_heart_inputs(row) for row in here], np.float32),
            np.array([int(row["label"]) for row in here], np.int64),
        )
        kept, held = _parted(all_, 0.3, random)
        test.append(held)
        share = len(range(place, clinics, len(HEART_SITES)))
        parts = np.array_split(random.permutation(len(kept)), share)
        train += [Cases(kept.inputs[part], kept.labels[part]) for part in parts]
    split = "" if clinics == len(HEART_SITES) else ", and which patients a clinic has"
    simulated = f"when terminals are on{split}"
    return Table(HEART, simulated, Network(test[0].inputs.shape[1]), tuple(train), tuple(test))


def _parted(cases: Cases, share: float, random: np.random.Generator) -> tuple[Cases, Cases]:
    """The rest and the share, the same share of each label."""
    held = np.zeros(len(cases), bool)
    for label in np.unique(cases.labels):
        places = random.permutation(np.flatnonzero(cases.labels == label))
        held[places[: max(1, round(share * len(places)))]] = True
    return (
        Cases(cases.inputs[~held], cases.labels[~held]),
        Cases(cases.inputs[held], cases.labels[held]),
    )


def _heart_inputs(row: dict[str, str]) -> list[float]:
    def value(name: str) -> float | None:
        text = row[name].strip()
        if not text or (name in _ZERO_IS_MISSING and float(text) == 0):
            return None
        return float(text)

    found: list[float] = []
    for name, (middle, spread) in _SCALED.items():
        known = value(name)
        found += [0.0, 1.0] if known is None else [(known - middle) / spread, 0.0]
    for name in _YES_NO:
        found.append(value(name) or 0.0)
    for name, codes in _CODED.items():
        known = value(name)
        found += [float(known == code) for code in codes]
    return found
