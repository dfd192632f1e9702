"""The image kinds that the engine learns to read: one file each in this folder, with a `KIND` in it.

A kind says where its pictures lie, what its heads can answer, what may be done to a picture in training, and
which traps its data hold. Training, export, model card and benchmark take it from there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from akazuba.diagnosis.artefacts import Ages
from akazuba.training.data import Examples
from akazuba.training.pictures import Distortion


@dataclass(frozen=True)
class HeadPlan:
    """One question that can be asked of a kind's pictures, and what it learns from.

    load: from the folder of the data sets to the development examples.
    conditions: label -> ids of the knowledge's conditions that its probability speaks for.
    most_in_set: a larger prediction set is an abstention.
    batch: examples in each training step. copies: distorted copies kept beside each picture.
    ages: whom it may be asked about; None when anybody. caution: see `artefacts.Head`.
    data: what it learned from, with source and licence. traps: what could mislead, and what was done.
    """

    name: str
    load: Callable[[Path], Examples]
    conditions: Mapping[str, tuple[str, ...]]
    most_in_set: int
    batch: int
    copies: int
    data: str
    traps: tuple[str, ...]
    ages: Ages | None = None
    caution: str = ""


@dataclass(frozen=True)
class ImageKind:
    """spoken: as a nurse would call it. through: side of the training pictures in pixels.
    sides: side of what each profile's encoder sees.
    album_share: how often one of its pictures is drawn when the full-size encoder learns to see.
    """

    name: str
    spoken: str
    through: int
    sides: Mapping[str, int]
    distortion: Distortion
    album_share: float
    heads: tuple[HeadPlan, ...]
    use: str
    """What a picture of it must be, for the model card."""


def all_kinds() -> tuple[ImageKind, ...]:
    """Every kind of this folder, by name."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    return tuple(sorted((module.KIND for module in modules), key=lambda kind: kind.name))
