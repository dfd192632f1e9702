"""The functions that a plugin's module may define (stable). Each returns a list; all may be left out.

from akazuba.plugins.hookspecs import hookimpl

AKAZUBA_API = 1

@hookimpl
def guideline_folders():
    return [Path(__file__).parent / "snakebite-first-aid"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pluggy

from akazuba.plugins.parts import ImageKind, LanguageTable, Observer, Sensor

GROUP = "akazuba"
"""Of the entry points, and the project name that pluggy wants."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def image_kinds() -> Sequence[ImageKind]:  # type: ignore[empty-body]
    """New kinds of image, each with its reader. They may move the differential, never the urgency."""


@hookspec
def knowledge_sources() -> Sequence[Path]:  # type: ignore[empty-body]
    """Folders of JSON files in the format of the common conditions: further conditions (any name), and if
    needed `findings.json` and `tests.json` with further rows. Priors are shares of consultations and, with
    those of the box (0.95), sum to at most 1.
    """


@hookspec
def guideline_folders() -> Sequence[Path]:  # type: ignore[empty-body]
    """Folders of one guideline each, named as its id. Only they can raise the urgency."""


@hookspec
def languages() -> Sequence[LanguageTable]:  # type: ignore[empty-body]
    """Languages for the fixed texts of screen and assessment."""


@hookspec
def sensors() -> Sequence[Sensor]:  # type: ignore[empty-body]
    """Devices that the page offers where vital signs are entered, in the units of `parts.VITAL_UNITS`."""


@hookspec
def hooks() -> Sequence[Observer]:  # type: ignore[empty-body]
    """Functions that see finished assessments, after they were recorded on the page: those of patients whose
    consent to `export` is in the log, and no others.
    """


HOOKS = ("image_kinds", "knowledge_sources", "guideline_folders", "languages", "sensors", "hooks")
