"""One entry of the log as a person reads it; of an assessment, why, from nothing but what was stored then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.records import Assessment, ImageReading, Provenance
    from akazuba.storage.store import Head, Recorded, Store

SHADES = " ░▒▓█"
"""From regions that hardly matter to the one that matters most."""


def entry_facts(head: Head, stored: bytes, entry: Recorded | None) -> dict[str, object]:
    """entry: None for the head alone. A body that is no JSON is given in hex."""
    index, at_ms, kind, by, patient = head
    facts: dict[str, object] = {
        "index": index, "at_ms": at_ms, "kind": kind, "by": by, "patient": patient,
        "stored_sha256": stored.hex(),
    }  # fmt: skip
    if entry is not None:
        facts["erased"] = entry.body is None
        facts["body"] = _body(entry.body or b"null")
    return facts


def entry_page(head: Head, stored: bytes, entry: Recorded | None, cases: Sequence[Recorded]) -> str:
    """cases: and sources of cases: the patient's, among which an assessment's input is looked for."""
    from akazuba.cli.store import moment
    from akazuba.report import harmless, one_line

    index, at_ms, kind, by, patient = head
    lines = [
        one_line(f"entry {index}: {kind}"),
        one_line(f"when: {moment(at_ms)}   by: {by}   patient: {patient or 'none'}"),
        f"stored bytes SHA-256 {stored.hex()}",
    ]
    if entry is None:
        return "\n".join(lines)
    if entry.body is None:
        return "\n".join([*lines, "what it said was erased with the patient"])
    if kind == "assessment" and (said := _assessment(entry.body)) is not None:
        return "\n".join([*lines, "", _explained(said, cases)])
    body = _body(entry.body)
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return "\n".join([*lines, *map(harmless, text.split("\n"))])


def _explained(said: Assessment, cases: Sequence[Recorded]) -> str:
    from msgspec import UNSET

    from akazuba.report import one_line, readable

    lines = [readable(said), "", "Why, from what was stored:"]
    if said.triage:
        lines += [
            one_line(f"  {r.level}: rule {r.rule}: {r.because} ({r.source})") for r in said.triage.reasons
        ]
        lines += [one_line(f"  not assessed: {name}") for name in said.triage.missing]
    for candidate in said.differential or ():
        weights = [*candidate.evidence, *candidate.evidence_against]
        lines += [one_line(f"  {candidate.name}: {candidate.probability:.3f}")]
        lines += [one_line(f"    {w.finding}: × {w.likelihood_ratio:.3g} ({w.source})") for w in weights]
    for action in said.plan or ():
        where = f"{action.guideline}, {action.edition}, {action.clause}"
        lines.append(one_line(f"  {action.action} {action.what}: {where}"))
    if said.provenance is not UNSET:
        source = said.provenance
        lines.append(one_line(f"  input SHA-256 {source.input_sha256}: {_input(said, source, cases)}"))
        lines += [one_line(f"  model {name}: {digest}") for name, digest in source.models.items()]
        lines += [one_line(f"  knowledge: {source.knowledge}")] if source.knowledge else []
        lines += [one_line(f"  guideline: {name}") for name in source.guidelines]
        lines.append(one_line(f"  software: {source.software}"))
    for image in said.images or ():
        lines += _heatmap(image)
    return "\n".join(lines)


def _input(said: Assessment, source: Provenance, cases: Sequence[Recorded]) -> str:
    """Where the input is: the same bytes, else the same case as it was understood."""
    for case in reversed(cases):
        if case.body is not None and sha256(case.body.strip()).hexdigest() == source.input_sha256:
            return f"these bytes are entry {case.index}"
    for case in reversed(cases):
        body = _body(case.body or b"null")
        if isinstance(body, dict) and body.get("id") == said.case_id:
            return f"entry {case.index} is the case as it was understood, in other bytes"
    return "no stored case of that id"


def redrawn(store: Store, entry: Recorded, folder: Path) -> list[Path]:
    """The overlays of an assessment's images, from the stored pictures and weights: files in the folder.

    Raises InputError for another kind of entry, and when none of its pictures was stored.
    """
    from akazuba.diagnosis.explain import heatmap_png
    from akazuba.durable import write_durably
    from akazuba.governance.decisions import basis_of
    from akazuba.intake.images import load_picture
    from akazuba.records import ImageRef

    said = _assessment(entry.body or b"") if entry.kind == "assessment" else None
    if said is None:
        raise InputError(f"entry {entry.index}", "an assessment that can be read", f"a {entry.kind}")
    stored = basis_of(store, entry).pictures
    made = list[Path]()
    for image in said.images or ():
        if image.heatmap_grid and image.path in stored:
            data = store.entry(stored[image.path]).body or b""
            picture = load_picture(ImageRef("stored", image.kind), Path(), {"stored": data})
            path = folder / f"entry-{entry.index}-picture-{stored[image.path]}.png"
            try:
                write_durably(path, heatmap_png(picture, image.heatmap_grid))
            except OSError as problem:
                raise InputError(
                    str(path), "a file that can be written", why_not_opened(problem)
                ) from problem
            made.append(path)
    if not made:
        raise InputError(f"entry {entry.index}", "a stored picture with a heatmap", "none")
    return made


def _heatmap(image: ImageReading) -> list[str]:
    """The overlay's file where it still lies, and the regions' weights drawn from the entry."""
    from akazuba.report import one_line

    lines = []
    if image.heatmap:
        try:
            digest = sha256(Path(image.heatmap).read_bytes()).hexdigest()
            lines.append(one_line(f"  heatmap of {image.path}: {image.heatmap}, SHA-256 {digest}"))
        except (OSError, ValueError):
            lines.append(one_line(f"  heatmap of {image.path}: {image.heatmap} is not there any more"))
    if image.heatmap_grid:
        lines.append(one_line(f"  what spoke for {_leading(image)} in {image.path}, region by region:"))
        lines += [f"    {row}" for row in _drawn(image.heatmap_grid)]
    return lines


def _leading(image: ImageReading) -> str:
    return max(image.labels, key=image.labels.__getitem__, default="the leading label")


def _drawn(grid: Sequence[Sequence[float]]) -> list[str]:
    """Each region two characters wide; what speaks against is blank.

    >>> _drawn([[0.0, 1.0], [-2.0, 4.0]])
    ['  ░░', '  ██']
    """
    most = max((value for row in grid for value in row), default=0.0)
    if most <= 0:
        return ["  " * len(row) for row in grid]
    top = len(SHADES) - 1
    return ["".join(2 * SHADES[max(0, round(top * value / most))] for value in row) for row in grid]


def _assessment(body: bytes) -> Assessment | None:
    import msgspec

    from akazuba.records import Assessment

    try:
        return msgspec.json.decode(body, type=Assessment)
    except msgspec.MsgspecError:
        return None


def _body(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {"hex": body.hex()}
