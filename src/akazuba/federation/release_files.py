"""Files a release is made from besides the model: transfer inputs, cases by site, gateways' models."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from akazuba.diagnosis.network import Network
from akazuba.errors import InputError
from akazuba.federation.arrays import arrays_of, read_file
from akazuba.federation.updates import Numbers
from akazuba.federation.worlds import Cases

LEAST_TRANSFER = 100
"""Fewer transfer inputs teach next to nothing."""


@dataclass(frozen=True)
class Inputs:
    """inputs: (cases, features). sha256: of the file."""

    inputs: Numbers
    sha256: bytes


@dataclass(frozen=True)
class Evaluation:
    """sites: cases by site. sha256: of the files' own, in order."""

    sites: dict[str, Cases]
    sha256: bytes


def inputs(path: Path, features: int, least: int = 1) -> Inputs:
    """Of an .npz with `inputs` (cases, features) and nothing else: labels, or who consented, would make them
    somebody's cases. least: so many of them. Raises InputError.
    """
    expected = "an .npz with inputs and nothing else"
    data = read_file(path, expected)
    arrays = arrays_of(path, data, expected)
    if set(arrays) != {"inputs"}:
        raise InputError(str(path), expected, ", ".join(sorted(arrays)) or "nothing")
    found = _finite(path, arrays["inputs"], features)
    if len(found) < least:
        raise InputError(str(path), f"{least} inputs or more", str(len(found)))
    return Inputs(found, hashlib.sha256(data).digest())


def evaluation(paths: Sequence[Path], network: Network) -> Evaluation:
    """Of .npz files with `inputs` (cases, features), `labels` (cases,) and, where a file holds several sites,
    `site` (cases,) text; else the site is called as the file. Raises InputError; a site may come once.
    """
    expected = "an .npz with inputs, labels and perhaps site"
    sites: dict[str, Cases] = {}
    digests = []
    for path in paths:
        data = read_file(path, expected)
        digests.append(hashlib.sha256(data).digest())
        arrays = arrays_of(path, data, expected)
        if not {"inputs", "labels"} <= set(arrays) <= {"inputs", "labels", "site"}:
            raise InputError(str(path), expected, ", ".join(sorted(arrays)) or "nothing")
        found, labels = _finite(path, arrays["inputs"], network.features), arrays["labels"]
        names = arrays.get("site", np.full(len(found), path.stem))
        if {labels.shape, names.shape} != {(len(found),)} or labels.dtype.kind not in "iu":
            shapes = f"{labels.shape} {labels.dtype}, {names.shape}"
            raise InputError(str(path), f"{len(found)} whole labels, and as many sites", shapes)
        if names.dtype.kind != "U" or not all(1 <= len(name) <= 200 and name.isprintable() for name in names):
            raise InputError(str(path), "sites as text of 1 to 200 printable letters", str(names.dtype))
        if len(labels) and not (labels.min() >= 0 and labels.max() < network.classes):
            span = f"{labels.min()} to {labels.max()}"
            raise InputError(str(path), f"labels from 0 to {network.classes - 1}", span)
        for name in np.unique(names).tolist() or [path.stem]:
            if name in sites:
                raise InputError(str(path), "each site once", f"{name} again")
            here = names == name
            sites[name] = Cases(found[here], labels[here].astype(np.int64))
    return Evaluation(sites, hashlib.sha256(b"".join(digests)).digest())


def gateway_model(path: Path, network: Network) -> Numbers:
    """(dimension,) of a .npy: what a gateway's own sums made of the model. Raises InputError."""
    expected = f"a .npy of {network.dimension} finite numbers"
    try:
        numbers = np.load(io.BytesIO(read_file(path, expected)), allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as problem:
        raise InputError(str(path), expected, str(problem)) from problem
    if (
        not isinstance(numbers, np.ndarray)
        or numbers.shape != (network.dimension,)
        or numbers.dtype.kind != "f"
    ):
        raise InputError(str(path), expected, f"{getattr(numbers, 'shape', 'an archive')}")
    if not np.isfinite(numbers).all():
        raise InputError(str(path), expected, "NaN or infinity")
    return np.asarray(numbers, np.float32)


def _finite(path: Path, inputs: npt.NDArray[np.generic], features: int) -> Numbers:
    if inputs.ndim != 2 or inputs.shape[1] != features or inputs.dtype.kind not in "fiu":
        raise InputError(str(path), f"inputs of {features} features", f"{inputs.shape} {inputs.dtype}")
    numbers = np.asarray(inputs, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(str(path), "finite inputs", "NaN or infinity")
    return numbers
