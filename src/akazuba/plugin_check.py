"""A plugin's parts, run on the built-in example cases beside a box without it. All patients are invented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from msgspec import UNSET

from akazuba.box import Box, open_box
from akazuba.consult import assess
from akazuba.errors import AkazubaError
from akazuba.guidelines.care import ORDER
from akazuba.guidelines.conformance import check as conformance
from akazuba.intake.cases import CaseLine, read_cases
from akazuba.plugins.brought import Plugin, refusals
from akazuba.records import Assessment, ImageRef
from akazuba.settings import Settings
from akazuba.wording.catalogue import catalogue, languages, screen_texts

EXAMPLES = Path(__file__).parent / "examples"
SETTLE_S = 30.0


@dataclass(frozen=True)
class Report:
    """plugin: None when it was not loaded. did: what each part did, in words. faults: what is wrong."""

    plugin: Plugin | None
    did: tuple[str, ...]
    faults: tuple[str, ...]


def check_plugin(settings: Settings, name: str, *, observers: bool = False) -> Report:
    """Runs every part of one plugin, whether or not the box has it on.

    observers: with them, each sees the assessments of the example cases; a register would take them in.
    Raises ArtefactError when the box itself cannot be opened.
    """
    box = open_box(replace(settings, plugins=(name,)))
    unseen = replace(box, desk=replace(box.desk, plugins=replace(box.plugins, observers=None)))
    try:
        plugin = next(iter(box.plugins.loaded), None)
        plain = open_box(replace(settings, plugins=()))
        try:
            parts = (
                *_cases(unseen, plain),
                *_guidelines(box),
                *_images(unseen),
                *_sensors(box),
                *_languages(box),
            )
        finally:
            plain.desk.terminology.close()
        parts = (*parts, *(_observers(box) if observers else ()))
        refused = refusals((*box.refused, *box.plugins.refused_now))
    finally:
        box.desk.terminology.close()
    did = tuple(words for words, wrong in parts if not wrong)
    return Report(plugin, did, (*refused, *(words for words, wrong in parts if wrong)))


Part = tuple[str, bool]
"""What a part did, in words, and whether that is a fault."""


def _lines() -> Iterator[CaseLine]:
    for path in sorted(EXAMPLES.glob("*.json")):
        yield from read_cases(str(path))


def _cases(box: Box, plain: Box) -> Iterator[Part]:
    """Urgency, plan and refusals of each example case, with the plugin and without."""
    same = 0
    for line in _lines():
        mine, without = assess(box, line), assess(plain, line)
        changes = [*_compared(mine, without)]
        same += not changes
        yield from ((f"case {line.case_id}: {words}", wrong) for words, wrong in changes)
    yield f"{same} example cases: urgency and plan as without the plugin", False


def _compared(mine: Assessment, without: Assessment) -> Iterator[Part]:
    if mine.error is not UNSET or without.error is not UNSET:
        if mine.error != without.error:
            yield f"error {mine.error or 'none'}, without the plugin {without.error or 'none'}", True
        return
    if mine.triage is not UNSET and without.triage is not UNSET:
        now, before = mine.triage.level, without.triage.level
        if now != before:
            yield f"urgency {before} becomes {now}", ORDER.index(now) > ORDER.index(before)
    added = len(mine.plan or ()) - len(without.plan or ())
    if added:
        yield f"{added:+d} actions in the plan", False
    given = mine.provenance.guidelines if mine.provenance is not UNSET else ()
    yield from ((text, True) for text in given if "not run for this case" in text)


def _guidelines(box: Box) -> Iterator[Part]:
    for id_ in box.desk.library.brought:
        try:
            rows = conformance(box.desk.library, box.desk.library.get(id_))
        except AkazubaError as problem:
            yield f"guideline {id_}: {problem}", True
            continue
        differing = [row for row in rows if row.differs]
        agree = f"{len(rows) - len(differing)} of {len(rows)} conformance rows agree"
        yield f"guideline {id_}: {agree}", bool(differing)
        yield from ((f"guideline {id_}, {row.case}: {'; '.join(row.differs)}", True) for row in differing)


def _images(box: Box) -> Iterator[Part]:
    """The drawn example pictures as if they were of the new kind: an answer or a reason, never a crash."""
    for name in box.readers:
        labelled = unread = 0
        for line in _lines():
            if line.case is None or not line.case.images:
                continue
            images = tuple(ImageRef(image.path, name) for image in line.case.images)
            answer = assess(box, replace(line, case=msgspec.structs.replace(line.case, images=images)))
            for image in answer.images or ():
                labelled, unread = labelled + bool(image.labels), unread + (not image.labels)
                faults = [problem for problem in image.quality.problems if problem.check == "engine"]
                yield from ((f"image {name}: {fault.message}", True) for fault in faults)
        yield f"image {name}: {labelled} drawn pictures labelled, {unread} not", False


def _sensors(box: Box) -> Iterator[Part]:
    for reader in box.plugins.sensors:
        try:
            got = reader.take()
        except AkazubaError as problem:
            yield f"sensor {reader.sensor.name}: {problem}", True
            continue
        simulated = " (SIMULATED)" if got.simulated else ""
        yield f"sensor {got.sensor}: {got.vital} {got.value:g} {got.unit}{simulated}", False


def _languages(box: Box) -> Iterator[Part]:
    for code in box.plugins.languages:
        rows, texts = catalogue(code, box.plugins.languages).rows, screen_texts()
        said = sum(text in rows for text in texts)
        shown = languages(box.plugins.languages)[code]
        yield (
            f"language {code} {shown.name}: {said} of {len(texts)} texts of the screen ({shown.review})",
            False,
        )


def _observers(box: Box) -> Iterator[Part]:
    if box.plugins.observers is None:
        return
    box.plugins.observers.invented = True
    for line in _lines():
        assess(box, line)
    ended = box.plugins.observers.settle(SETTLE_S)
    yield (
        "observers: saw the example cases" if ended else f"observers: no end within {SETTLE_S:g} s",
        not ended,
    )
