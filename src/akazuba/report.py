"""An assessment as a nurse reads it in a terminal: a function from the value to text.

Urgency always comes first, what was not assessed before what is probable, and the review state is
always shown. A case that failed is shown as not assessed, never left out.

Ids, notes and file names come from outside: whatever could steer a terminal in them is shown as an
escape (`harmless`), and no line is wider than `WIDTH`.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

import click
import msgspec
from msgspec import UNSET

from akazuba.records import (
    Action,
    Assessment,
    Candidate,
    Evidence,
    Finding,
    ImageReading,
    Protocol,
    QualityProblem,
    Triage,
    Urgency,
)

WIDTH = 100
LEVELS = {
    "red": ("RED: EMERGENCY, see the patient now", "white", "red"),
    "yellow": ("YELLOW: urgent, see soon", "black", "yellow"),
    "green": ("GREEN: no sign of urgency found", "black", "green"),
    "unassessed": ("NOT ASSESSED: urgency unknown, treat as urgent until assessed", "white", "magenta"),
}
MOST_ASKED = 10
"""Questions of guidelines that are shown, those of the gravest guideline first."""

SHADES = " ░▒▓█"
FAILED_CHECKS = ("unreadable", "engine", "heatmap")
"""Checks of an image whose failing is a failure of the work, unlike a photo that is too dark."""

_UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line and paragraph separators, and what turns the direction of writing."""

_PAD = "\0"


def failures(assessment: Assessment) -> tuple[str, ...]:
    """What could not be done for a case, as `ITEM: expected …, found …`; the case's id leads the item."""
    if assessment.error is not UNSET:
        problems = [assessment.error]
    else:
        checks = [problem for image in assessment.images or () for problem in image.quality.problems]
        problems = [problem.message for problem in checks if problem.check in FAILED_CHECKS]
    name = assessment.case_id
    return tuple(problem if problem.startswith(f"{name}: ") else f"{name}, {problem}" for problem in problems)


def harmless(text: str) -> str:
    r"""Text that cannot steer a terminal; JSON stays the same JSON.

    >>> harmless("c1\x1b[2J")
    'c1\\u001b[2J'
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """`harmless`, on one line."""
    return harmless(" ".join(text.split()))


def json_line(answer: Assessment | Urgency) -> bytes:
    """One line of JSON in UTF-8, which any reader of lines keeps whole and any terminal survives."""
    return harmless(msgspec.json.encode(answer).decode()).encode()


def readable(assessment: Assessment) -> str:
    """The assessment as text, with ANSI colours (click removes them where stdout is no terminal)."""
    assessment = msgspec.convert(_on_one_line(msgspec.to_builtins(assessment)), Assessment)
    title = click.style(_wrapped(f" {assessment.case_id} ", " "), bold=True, reverse=True)
    if assessment.error is not UNSET or assessment.triage is UNSET:
        failed = _wrapped(f"    - {assessment.error or 'no assessment'}", "      ")
        return "\n".join([title, _level("unassessed"), failed]) + "\n"
    sections = [
        title,
        _urgency(assessment.triage),
        _note(assessment.note_unread or ""),
        _plan(assessment.plan or ()),
        _guidelines(assessment.protocols or ()),
        _noted(assessment.findings or ()),
        _differential(assessment),
        *(_image(image) for image in assessment.images or ()),
        _words(assessment),
        _listed("ASK OR TEST NEXT", assessment.ask_next or ()),
        _footer(assessment),
    ]
    return "\n".join(section for section in sections if section) + "\n"


def urgency_text(urgency: Urgency) -> str:
    urgency = msgspec.convert(_on_one_line(msgspec.to_builtins(urgency)), Urgency)
    title = click.style(_wrapped(f" {urgency.case_id} ", " "), bold=True, reverse=True)
    if urgency.triage is UNSET:
        return "\n".join([title, _level("unassessed"), _wrapped(f"    - {urgency.error}", "      ")]) + "\n"
    sections = [title, _urgency(urgency.triage), _note(urgency.note_unread or ""), _plan(urgency.plan or ())]
    review = click.style(f"  {urgency.triage.review.capitalize()}.", dim=True)
    return "\n".join(section for section in (*sections, review) if section) + "\n"


def _on_one_line(value: object) -> object:
    """Every text of a JSON value on one line and harmless, keys too."""
    match value:
        case str():
            return one_line(value)
        case dict():
            return {_on_one_line(key): _on_one_line(part) for key, part in value.items()}
        case list() | tuple():
            return [_on_one_line(part) for part in value]
        case _:
            return value


def _level(level: str) -> str:
    title, foreground, background = LEVELS[level]
    return "  " + click.style(f" {title} ", fg=foreground, bg=background, bold=True)


def _urgency(triage: Triage) -> str:
    lines = [_level(triage.level)]
    lines += [_wrapped(f"    - {reason.because}  [{reason.source}]", "      ") for reason in triage.reasons]
    if triage.missing:
        lines.append(_wrapped("    not assessed: " + "; ".join(triage.missing), "      "))
    return "\n".join(lines)


def _note(why_unread: str) -> str:
    if not why_unread:
        return ""
    text = f"  THE NOTE WAS NOT UNDERSTOOD: {why_unread}. Nothing was concluded from it."
    return click.style(_wrapped(text, "    "), bold=True)


def _plan(actions: Sequence[Action]) -> str:
    return "\n".join(["  DO", *(line for action in actions for line in _action(action))]) if actions else ""


def _action(action: Action) -> list[str]:
    """One action with its clause, and under it what must be seen before it is done."""
    what = action.what.replace("-", " ") if action.action in ("advise", "refer") else action.what
    words = f"{action.action} {what}".strip() + (f": {_dose(action.dose)}" if action.dose else "")
    if action.in_days is not None:
        words += f", in {action.in_days:g} days" + (f" ({action.date})" if action.date else "")
    place = f"{action.clause}, page {action.page}" if action.page else action.clause
    lines = [_wrapped(f"    - {words}  [{action.guideline}, {action.edition}, {place}]", "      ")]
    if action.withheld and "weight_kg" in action.needs:
        lines.append(click.style("      WEIGH FIRST: there is no dose without the weight", bold=True))
    lines += [
        click.style(_wrapped(f"      DO NOT GIVE: {why}", "        "), bold=True)
        for why in action.withheld
        if why != "no dose without weight_kg"
    ]
    lines += [
        click.style(
            _wrapped(f"      {change}", "        "), bold=change.isupper() or change.startswith("NOT IN")
        )
        for change in action.overlay
    ]
    lines += [_wrapped(f"      check first: {what}", "        ") for what in action.check_first]
    if action.tell:
        lines.append(_wrapped(f"      how, and what to say: {action.tell}", "        "))
    return lines


def _dose(dose: str) -> str:
    """A dose with its unit in the plural where there are several.

    >>> _dose("2 tablet twice daily"), _dose("1 tablet once"), _dose("250 mg once")
    ('2 tablets twice daily', '1 tablet once', '250 mg once')
    """
    units = "tablet|sachet|packet|puff|capsule|application|drop"
    return re.sub(rf"^((?!1 )[\d.]+) ({units})\b", r"\1 \2s", dose)


def _guidelines(protocols: Sequence[Protocol]) -> str:
    """What the guidelines decided, one line each, and then everything that they would have to know."""
    lines = [
        _wrapped(f"    {p.title}: {'; '.join(_answers(p))}  [{p.edition}]", "      ")
        for p in protocols
        if _answers(p)
    ]
    head = ["  GUIDELINES", *lines] if lines else []
    asked: dict[str, list[str]] = {}
    for protocol in protocols:
        for missing in protocol.missing:
            if missing.question not in asked:
                asked[missing.question] = list(missing.could_change)
    shown = list(asked.items())[:MOST_ASKED]
    questions = [_wrapped(f"    - {q} ({_changes(changes)})", "      ") for q, changes in shown]
    if len(asked) > MOST_ASKED:
        questions.append(f"    and {len(asked) - MOST_ASKED} more")
    return "\n".join([*head, *(["  ASK FOR THE GUIDELINES", *questions] if questions else [])])


def _answers(protocol: Protocol) -> list[str]:
    return [f"{name.replace('_', ' ')}: {value}" for name, value in protocol.answers.items() if value]


def _changes(changes: Sequence[str]) -> str:
    return "decides " + ", ".join(change.replace("_", " ") for change in changes[:2])


def _noted(findings: Iterable[Finding]) -> str:
    """What was understood, so that the nurse can correct it; not what a normal vital sign rules out."""
    groups: dict[str, list[str]] = {
        name: []
        for name in ("present", "absent", "tests", "uncertain", "in the past", "others (family, contacts)")
    }
    for finding in findings:
        if finding.source == "vitals" and not finding.present:
            continue
        groups[_group(finding)].append(_finding(finding.name, finding.id, finding.present, denial=""))
    lines = [
        _wrapped(f"    {group}: " + ", ".join(dict.fromkeys(names)), "      ")
        for group, names in groups.items()
        if names
    ]
    return "\n".join(["  UNDERSTOOD", *(lines or ["    no finding"])])


def _group(finding: Finding) -> str:
    if finding.source == "test":
        return "tests"
    if finding.subject != "patient":
        return "others (family, contacts)"
    if finding.temporality == "past":
        return "in the past"
    if finding.uncertain:
        return "uncertain"
    return "present" if finding.present else "absent"


def _finding(name: str, id_: str | None, present: bool, denial: str = "no ") -> str:
    """A finding in the middle of a sentence.

    >>> _finding("Chest pain", "HP:0100749", False), _finding("malaria-rdt test", "test:malaria-rdt", False)
    ('no chest pain', 'malaria-rdt test negative')
    """
    if id_ and id_.startswith("test:"):
        return f"{name} {'positive' if present else 'negative'}"
    lowered = name[:1].lower() + name[1:] if name[1:2].islower() else name
    return lowered if present else denial + lowered


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
    if any(c.evidence or c.evidence_against for c in candidates[:5]):
        lines.append("    (×5: five times as common in patients with the condition as in others)")
    return "\n".join(lines)


def _candidate(place: int, candidate: Candidate) -> list[str]:
    mark = "  do not miss" if candidate.must_not_miss else ""
    first = _wrapped(f"    {place}. {_named(candidate)}{mark}", "       ")
    lines = [click.style(first, bold=True, fg="red" if mark else None)]
    for title, evidence in (("for:    ", candidate.evidence), ("against:", candidate.evidence_against)):
        if evidence:
            lines.append(_wrapped(f"       {title} {_weights(evidence)}", "                "))
    turned = [f"       if {c.if_}: {_percent(c.probability)}" for c in candidate.counterfactuals[:1]]
    return lines + [_wrapped(text, "         ") for text in turned]


def _named(candidate: Candidate) -> str:
    return f"{candidate.name} {_percent(candidate.probability)}"


def _percent(share: float) -> str:
    """Whole percent; never "0%" or "100%", which no estimate deserves.

    >>> _percent(0.004), _percent(0.5), _percent(0.999)
    ('<1%', '50%', '>99%')
    """
    if share < 0.01:
        return "<1%"
    return ">99%" if share > 0.99 else f"{share:.0%}"


def _weights(evidence: Sequence[Evidence]) -> str:
    return ", ".join(
        f"{_finding(e.finding, e.finding_id, e.present)} {_times(e.likelihood_ratio)}" for e in evidence[:4]
    )


def _times(ratio: float) -> str:
    """A likelihood ratio in two digits, without an exponent.

    >>> _times(17_234.0), _times(7.46), _times(0.068), _times(1e-5)
    ('×17,000', '×7.5', '×0.068', '×<0.001')
    """
    if ratio < 0.001:
        return "×<0.001"
    two_digits = float(f"{ratio:.2g}")
    return f"×{two_digits:,.0f}" if two_digits >= 10 else f"×{two_digits:g}"


def _image(image: ImageReading) -> str:
    usable = "" if image.quality.usable else ": not assessed"
    lines = [_wrapped(f"  IMAGE {image.path} ({image.kind}){usable}", "    ")]
    lines += [_problem(problem) for problem in image.quality.problems]
    if image.why and image.quality.usable:  # what makes an image unusable stands above
        lines.append(_wrapped(f"    no answer: {image.why}", "      "))
    ranked = sorted(image.labels.items(), key=lambda item: -item[1])
    lines += [_wrapped(f"    {_label(name):<28}{_percent(share):>5}", "      ") for name, share in ranked]
    if image.prediction_set and image.coverage:
        names = ", ".join(map(_label, image.prediction_set))
        text = f"    the right label is among these {_percent(image.coverage)} of the time: {names}"
        lines.append(_wrapped(text, "      "))
    if rows := _shaded(image.heatmap_grid):
        lines.append("    where the picture speaks for the first label:")
        lines += ["      " + row for row in rows]
    if image.heatmap:
        lines.append(_wrapped(f"    heatmap: {image.heatmap}", "      "))
    return "\n".join(lines)


def _problem(problem: QualityProblem) -> str:
    return _wrapped(f"    - {problem.message}", "      ")


def _label(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


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
    weights = ", ".join(f"{w.word} {w.weight:+.2f}" for w in words)
    return _wrapped(f"  WORDS that spoke for (+) or against (-) the image's first label: {weights}", "    ")


def _listed(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return "\n".join([f"  {title}", *(_wrapped(f"    - {item}", "      ") for item in items)])


def _footer(assessment: Assessment) -> str:
    lines = []
    if assessment.provenance and assessment.provenance.not_read:
        counts = ", ".join(f"{count} {what}" for what, count in assessment.provenance.not_read.items())
        lines.append(_wrapped(f"  NOT READ of the input: {counts}", "    "))
    if assessment.provenance and assessment.provenance.knowledge:
        lines.append(
            click.style(_wrapped(f"  Knowledge: {assessment.provenance.knowledge}.", "    "), dim=True)
        )
    refused = [
        g for g in (assessment.provenance.guidelines if assessment.provenance else ()) if "REFUSED" in g
    ]
    lines += [click.style(_wrapped(f"  {fault}", "    "), bold=True) for fault in refused]
    total = assessment.timings_ms["total"] if assessment.timings_ms else 0.0
    review = "Not reviewed by a clinician. A suggestion: the clinician decides and signs."
    lines.append(click.style(f"  {review} ({total:.0f} ms)", dim=True))
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> str:
    """Lines of at most WIDTH columns; a wide (East Asian) character takes two."""
    padded = "".join(
        letter + _PAD if unicodedata.east_asian_width(letter) in "WF" else letter for letter in text
    )
    lines = textwrap.fill(padded, WIDTH - 1, subsequent_indent=indent, break_on_hyphens=False)
    return lines.replace(_PAD, "")
