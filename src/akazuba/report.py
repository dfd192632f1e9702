"""An assessment as a nurse reads it in a terminal: a function from the value to text.

Every section that is empty says so or is left out on purpose; urgency always comes first, what was
not assessed always comes before what is probable, and the review state is always shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import click
from msgspec import UNSET

from akazuba.records import Assessment, Candidate, Evidence, Finding, ImageReading, Triage

WIDTH = 100
LEVELS = {
    "red": ("RED: EMERGENCY, see the patient now", "white", "red"),
    "yellow": ("YELLOW: urgent, see soon", "black", "yellow"),
    "green": ("GREEN: no sign of urgency found", "black", "green"),
    "unassessed": ("NOT ASSESSED: urgency unknown, treat as urgent until assessed", "white", "magenta"),
}
SHADES = " ░▒▓█"


def failures(assessment: Assessment) -> tuple[str, ...]:
    """What could not be done for this case: its error, or the images that could not be read."""
    if assessment.error is not UNSET:
        return (assessment.error,)
    images = assessment.images or ()
    return tuple(
        problem.message
        for image in images
        for problem in image.quality.problems
        if problem.check in ("unreadable", "engine")
    )


def readable(assessment: Assessment) -> str:
    """The assessment as text, with ANSI colours (click removes them where stdout is no terminal)."""
    assert assessment.triage is not UNSET
    sections = [
        click.style(f" {assessment.case_id} ", bold=True, reverse=True),
        _urgency(assessment.triage),
        _plan(assessment),
        _noted(assessment.findings or ()),
        _differential(assessment),
        *(_image(image) for image in assessment.images or ()),
        _words(assessment),
        _listed("ASK OR TEST NEXT", assessment.ask_next or ()),
        _footer(assessment),
    ]
    return "\n".join(section for section in sections if section) + "\n"


def _urgency(triage: Triage) -> str:
    title, foreground, background = LEVELS[triage.level]
    lines = ["  " + click.style(f" {title} ", fg=foreground, bg=background, bold=True)]
    lines += [_wrapped(f"    - {reason.because}  [{reason.source}]", "      ") for reason in triage.reasons]
    if triage.missing:
        lines.append(_wrapped("    not assessed: " + "; ".join(triage.missing), "      "))
    return "\n".join(lines)


def _plan(assessment: Assessment) -> str:
    return _listed(
        "DO",
        [
            f"{step.action}  [{step.guideline}, {step.edition}, {step.clause}]"
            for step in assessment.plan or ()
        ],
    )


def _noted(findings: Sequence[Finding]) -> str:
    """What was understood, so that the nurse can correct it."""
    groups: dict[str, list[str]] = {}
    for finding in findings:
        if finding.subject != "patient":
            group = "others"
        elif finding.temporality == "past":
            group = "past"
        elif finding.uncertain:
            group = "uncertain"
        else:
            group = "present" if finding.present else "absent"
        groups.setdefault(group, []).append(finding.name)
    order = ("present", "absent", "uncertain", "past", "others")
    lines = [
        _wrapped(f"    {group}: " + ", ".join(dict.fromkeys(groups[group])), "      ")
        for group in order
        if group in groups
    ]
    return "\n".join(["  UNDERSTOOD", *lines]) if lines else "  UNDERSTOOD\n    no finding"


def _differential(assessment: Assessment) -> str:
    lines = ["  PROBABLY"]
    if assessment.abstained:
        lines.append(_wrapped(f"    no answer: {assessment.why}", "      "))
    candidates = assessment.differential or ()
    for place, candidate in enumerate(candidates[:5], start=1):
        lines += _candidate(place, candidate)
    late = [c for c in candidates[5:] if c.must_not_miss]
    if late:
        lines.append(_wrapped("    do not miss: " + ", ".join(_named(c) for c in late), "      "))
    return "\n".join(lines)


def _candidate(place: int, candidate: Candidate) -> list[str]:
    mark = click.style("  do not miss", fg="red") if candidate.must_not_miss else ""
    lines = [f"    {place}. {click.style(_named(candidate), bold=True)}{mark}"]
    if candidate.evidence:
        lines.append("       for:     " + _weights(candidate.evidence))
    if candidate.evidence_against:
        lines.append("       against: " + _weights(candidate.evidence_against))
    lines += [f"       if {c.if_}: {c.probability:.0%}" for c in candidate.counterfactuals[:1]]
    return lines


def _named(candidate: Candidate) -> str:
    return f"{candidate.name} {candidate.probability:.0%}"


def _weights(evidence: Sequence[Evidence]) -> str:
    shown = [f"{'' if e.present else 'no '}{e.finding} ×{e.likelihood_ratio:.2g}" for e in evidence[:4]]
    return ", ".join(shown)


def _image(image: ImageReading) -> str:
    lines = [f"  IMAGE {image.path} ({image.kind})"]
    lines += [_wrapped(f"    {problem.message}", "      ") for problem in image.quality.problems]
    if image.why and image.why not in {problem.message for problem in image.quality.problems}:
        lines.append(_wrapped(f"    no answer: {image.why}", "      "))
    ranked = sorted(image.labels.items(), key=lambda item: -item[1])
    lines += [f"    {label.replace('_', ' '):<28}{share:6.1%}" for label, share in ranked]
    if image.prediction_set and image.coverage:
        names = ", ".join(label.replace("_", " ") for label in image.prediction_set)
        lines.append(f"    holds the right label {image.coverage:.0%} of the time: {names}")
    if image.heatmap_grid:
        lines.append("    where the picture speaks for the first label:")
        lines += ["      " + row for row in _shaded(image.heatmap_grid)]
    if image.heatmap:
        lines.append(f"    heatmap: {image.heatmap}")
    return "\n".join(lines)


def _shaded(grid: Sequence[Sequence[float]]) -> list[str]:
    """Rows of block characters, the strongest region full."""
    top = max((max(row) for row in grid), default=0.0)
    if top <= 0:
        return []
    return [
        "".join(SHADES[min(4, max(0, round(4 * value / top)))] * 2 for value in row).rstrip() or "·"
        for row in grid
    ]


def _words(assessment: Assessment) -> str:
    words = sorted(assessment.token_attribution or (), key=lambda item: -abs(item.weight))[:5]
    if not words:
        return ""
    return "  WORDS the image model leaned on: " + ", ".join(f"{w.word} {w.weight:+.2f}" for w in words)


def _listed(title: str, items: Sequence[str]) -> str:
    return (
        "\n".join([f"  {title}", *(_wrapped(f"    - {item}", "      ") for item in items)]) if items else ""
    )


def _footer(assessment: Assessment) -> str:
    lines = []
    if assessment.provenance and assessment.provenance.not_read:
        counts = ", ".join(f"{count} {what}" for what, count in assessment.provenance.not_read.items())
        lines.append(_wrapped(f"  NOT READ of the input: {counts}", "    "))
    total = assessment.timings_ms["total"] if assessment.timings_ms else 0.0
    review = "Not reviewed by a clinician. A suggestion: the clinician decides and signs."
    lines.append(click.style(f"  {review} ({total:.0f} ms)", dim=True))
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
