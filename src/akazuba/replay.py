"""What is installed on this box, by digest, and running an old case again with exactly that.

A case is replayed only with the versions that were asked for. Where another one is installed, the answer is
that it is not available, never a replay with something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

import akazuba
from akazuba.box import Box, open_box
from akazuba.consult import Consultation
from akazuba.diagnosis.engine import Engine
from akazuba.errors import AkazubaError, InputError, why_not_opened
from akazuba.governance.decisions import Versions
from akazuba.governance.incident_replay import Replay, Replayed, Then, Unavailable
from akazuba.governance.responsibility import (
    Configuration,
    Release,
    adopt_overlay,
    held_in,
    overlays_of,
)
from akazuba.guidelines.library import LIBRARY, OWN, open_library
from akazuba.intake.cases import case_line
from akazuba.records import Assessment
from akazuba.settings import Settings
from akazuba.storage.store import Store

PACKAGE = Path(akazuba.__file__).parent
OF_THIS_PLACE = "guidelines of this place"
_ROOMS = ("guidelines/data", "knowledge", "language", "wording")
"""Folders whose data files make one version each; every guideline of the library is one by itself."""


def installed_digests(box: Box, settings: Settings) -> dict[str, str]:
    """SHA-256 by name, in hex: the program, each guideline, the charts, the knowledge, the word models, and
    every file of the image engine.
    """
    found = {"program": _digest(PACKAGE.rglob("*.py"), PACKAGE)}
    found |= {room: _digest(_data(PACKAGE / room), PACKAGE / room) for room in _ROOMS}
    shared = (path for path in LIBRARY.iterdir() if path.is_file())
    found["guidelines/library"] = _digest(shared, LIBRARY)
    for folder in sorted(path for path in LIBRARY.iterdir() if path.is_dir()):
        found[f"guidelines/{folder.name}"] = _digest(_data(folder), folder)
    own = settings.home / OWN
    if own.is_dir():
        found[OF_THIS_PLACE] = _digest(_data(own), own)
    if isinstance(box.engine, Engine):
        found |= {f"models/{name}": digest for name, digest in box.engine.digests.items()}
    return found | box.plugins.digests


def _data(folder: Path) -> Iterable[Path]:
    return (
        it
        for it in folder.rglob("*")
        if it.is_file() and it.suffix != ".py" and "__pycache__" not in it.parts
    )


def _digest(files: Iterable[Path], folder: Path) -> str:
    """Of names and contents, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).digest()
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + content)
    return total.hexdigest()


@dataclass(frozen=True)
class Installed:
    """A box and the digests of what it runs."""

    box: Box
    settings: Settings
    digests: Mapping[str, str]

    def replay(self, then: Then) -> Replayed | Unavailable:
        """By the whole consultation, without the words of a language model."""
        other = sorted(name for name, digest in then.files.items() if self.digests.get(name) != digest)
        if other:
            here = self.digests.get(other[0], "none")[:16]
            return Unavailable(f"{other[0]} was {then.files[other[0]][:16]}…; installed is {here}")
        ours = {OF_THIS_PLACE, *self.box.plugins.digests}
        if then.files and (more := sorted((ours & self.digests.keys()) - then.files.keys())):
            return Unavailable(f"{more[0]}: none then, installed now")
        line = case_line(then.case, "replay")
        case = line.case
        if case is None:
            return Unavailable(f"this version cannot read the case: {line.error}")
        missing = [image.path for image in case.images if image.path not in then.pictures]
        if missing:
            case = msgspec.structs.replace(case, images=())
        line = replace(line, case=case, attachments=then.pictures)
        try:
            box = self._with_overlays(then.overlays)
            assessment, _ = Consultation(box, line, case, None).answer(case)
        except AkazubaError as problem:
            return Unavailable(str(problem))
        if not missing:
            return Replayed(assessment)
        return Replayed(_rules_only(assessment), (f"images and ranking: {missing[0]} was not stored",))

    def _with_overlays(self, overlays: tuple[bytes, ...]) -> Box:
        with TemporaryDirectory() as folder:
            paths = []
            for number, overlay in enumerate(overlays):
                paths.append(Path(folder) / f"{number}.json")
                paths[-1].write_bytes(overlay)
            own, brought = self.settings.home / OWN, self.box.plugins.guidelines
            library = open_library(tuple(paths), own=own, strict=False, brought=brought)
        return replace(self.box, desk=replace(self.box.desk, library=library))


def _rules_only(assessment: Assessment) -> Assessment:
    """What no picture has a part in."""
    return Assessment(
        assessment.case_id,
        triage=assessment.triage,
        findings=assessment.findings,
        note_unread=assessment.note_unread,
        plan=assessment.plan,
        protocols=assessment.protocols,
    )


def versions_now(installed: Installed, store: Store, by: str = "box") -> Versions:
    """What an assessment that is made now stands on; local rules that the log lacks are recorded in it.

    Release and configuration are the newest that the log holds. Raises InputError for a file of local rules
    that cannot be read.
    """
    known, overlays = overlays_of(store), dict[str, str]()
    for path in installed.settings.overlays:
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise InputError(str(path), "a file of local rules", why_not_opened(problem)) from problem
        name = path.name if path.name not in overlays else str(path)
        overlays[name] = hashlib.sha256(data).hexdigest()
        if overlays[name] not in known:
            adopt_overlay(store, by, data)
    releases = held_in(store, "release", Release, None)
    sites = held_in(store, "configuration", Configuration, None)
    return Versions(
        releases[-1].sha256 if releases else "",
        sites[-1].sha256 if sites else "",
        installed.digests,
        overlays,
    )


def replayer(settings: Settings) -> Replay:
    """Opens the box once. Raises ArtefactError like `open_box`."""
    box = open_box(settings)
    return Installed(box, settings, installed_digests(box, settings)).replay
