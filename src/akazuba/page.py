"""The parts of an assessment as lines for a terminal, in the language of a catalogue.

Urgency comes first, what was not assessed before what is probable, and the review state is always shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click
from msgspec import UNSET

from akazuba.llm.facts import named_finding, percent
from akazuba.llm.narrative import BY_RULES
from akazuba.records import (
    Action,
    Assessment,
    Candidate,
    Evidence,
    Finding,
    ImageReading,
    Missing,
    Narrative,
    Protocol,
    SharedOpinion,
    Triage,
    Urgency,
)
from akazuba.wording.catalogue import ENGLISH, Catalogue, Language, languages
from akazuba.wording.lines import column, wrapped
from akazuba.wording.names import label, named, with_names

LEVELS = {
    "red": ("RED: EMERGENCY, see the patient now", "white", "red"),
    "yellow": ("YELLOW: urgent, see soon", "black", "yellow"),
    "green": ("GREEN: no sign of urgency found", "black", "green"),
    "unassessed": ("NOT ASSESSED: urgency unknown, treat as urgent until assessed", "white", "magenta"),
}
MOST_ASKED = 10
"""Questions of guidelines that are shown, those of the gravest guideline first."""

SHARED_SHOWN = 3
"""Conditions of the programme's model."""

MOST_DECIDED = 2
"""Results or actions that are named behind a question."""

SHADES = " ░▒▓█"


class Page:
    """One document in one language."""

    def __init__(self, words: Catalogue) -> None:
        self._say, self._fill, self._language = words.say, words.fill, words

    def assessment(self, assessment: Assessment) -> str:
        if assessment.error is not UNSET or assessment.triage is UNSET:
            return self.failed(assessment.case_id, assessment.error or "no assessment")
        sections = [
            titled(assessment.case_id),
            self._urgency(assessment.triage),
            self._note(assessment.note_unread or ""),
            self._plan(assessment.plan or ()),
            self._guidelines(assessment.protocols or ()),
            self._noted(assessment.findings or ()),
            self._suggested(assessment.suggested or ()),
            self._differential(assessment),
            *(self._image(image) for image in assessment.images or ()),
            self._words(assessment),
            self._shared(assessment.shared or None),
            self._listed("ASK OR TEST NEXT", assessment.ask_next or ()),
            self._narrative(assessment.narrative or None),
            self._footer(assessment),
        ]
        return "\n".join(section for section in sections if section) + "\n"

    def urgency(self, urgency: Urgency) -> str:
        if urgency.triage is UNSET:
            return self.failed(urgency.case_id, str(urgency.error))
        sections = [
            titled(urgency.case_id),
            self._urgency(urgency.triage),
            self._note(urgency.note_unread or ""),
            self._plan(urgency.plan or ()),
            click.style(f"  {_capital(self._say(urgency.triage.review))}.", dim=True),
            self._translated(),
        ]
        return "\n".join(section for section in sections if section) + "\n"

    def failed(self, case_id: str, error: str) -> str:
        """A case that could not be assessed is shown as such, never left out."""
        return (
            "\n".join([titled(case_id), self._level("unassessed"), wrapped(f"    - {error}", "      ")])
            + "\n"
        )

    def _level(self, level: str) -> str:
        title, foreground, background = LEVELS[level]
        return "  " + click.style(f" {self._say(title)} ", fg=foreground, bg=background, bold=True)

    def _urgency(self, triage: Triage) -> str:
        lines = [self._level(triage.level)]
        lines += [
            wrapped(f"    - {reason.because}  [{reason.source}]", "      ") for reason in triage.reasons
        ]
        if triage.missing:
            lines.append(
                wrapped(
                    "    "
                    + self._fill("not assessed: {}", self._language.language.after.join(triage.missing)),
                    "      ",
                )
            )
        return "\n".join(lines)

    def _note(self, why_unread: str) -> str:
        if not why_unread:
            return ""
        text = self._fill("THE NOTE WAS NOT UNDERSTOOD: {}. Nothing was concluded from it.", why_unread)
        return click.style(wrapped(f"  {text}", "    "), bold=True)

    def _plan(self, actions: Sequence[Action]) -> str:
        lines = [line for action in actions for line in self._action(action)]
        return "\n".join([f"  {self._say('DO')}", *lines]) if lines else ""

    def _action(self, action: Action) -> list[str]:
        """One action with its clause, and under it what must be seen before it is done."""
        what = action.what.replace("-", " ") if action.action in ("advise", "refer") else action.what
        words = f"{action.action} {what}".strip() + (f": {_dose(action.dose)}" if action.dose else "")
        if action.in_days is not None:
            days = f"{action.in_days:g}"
            due = ("in {} days ({})", days, action.date) if action.date else ("in {} days", days)
            words += ", " + self._fill(*due)
        place = f"{action.clause}, {self._fill('page {}', action.page)}" if action.page else action.clause
        lines = [wrapped(f"    - {words}  [{action.guideline}, {action.edition}, {place}]", "      ")]
        if action.withheld and "weight_kg" in action.needs:
            weigh = self._say("WEIGH FIRST: there is no dose without the weight")
            lines.append(click.style(f"      {weigh}", bold=True))
        lines += [
            click.style(wrapped("      " + self._fill("DO NOT GIVE: {}", why), "        "), bold=True)
            for why in action.withheld
            if why != self._say("no dose without weight")
        ]
        lines += [
            click.style(
                wrapped(f"      {change}", "        "), bold=change.isupper() or change.startswith("NOT IN")
            )
            for change in action.overlay
        ]
        lines += [
            wrapped("      " + self._fill("check first: {}", what), "        ") for what in action.check_first
        ]
        if action.tell:
            lines.append(wrapped("      " + self._fill("how, and what to say: {}", action.tell), "        "))
        return lines

    def _guidelines(self, protocols: Sequence[Protocol]) -> str:
        """What the guidelines decided, one line each, and then everything that they would have to know."""
        lines = [
            wrapped(f"    {p.title}: {'; '.join(_answers(p))}  [{p.edition}]", "      ")
            for p in protocols
            if _answers(p)
        ]
        head = [f"  {self._say('GUIDELINES')}", *lines] if lines else []
        asked: dict[str, str] = {}
        for protocol in protocols:
            for missing in protocol.missing:
                asked.setdefault(missing.question, decided(protocol, missing, self._language.language))
        shown = list(asked.items())[:MOST_ASKED]
        questions = [
            wrapped(f"    - {question} ({self._fill('decides {}', what)})", "      ")
            for question, what in shown
        ]
        if len(asked) > MOST_ASKED:
            questions.append("    " + self._fill("and {} more", str(len(asked) - MOST_ASKED)))
        return "\n".join(
            [*head, *([f"  {self._say('ASK FOR THE GUIDELINES')}", *questions] if questions else [])]
        )

    def _noted(self, findings: Iterable[Finding]) -> str:
        """What was understood, so that the nurse can correct it; not what a normal vital sign rules out."""
        groups: dict[str, list[str]] = {
            name: []
            for name in (
                "present",
                "absent",
                "tests",
                "uncertain",
                "in the past",
                "others (family, contacts)",
            )
        }
        for finding in findings:
            if finding.source == "vitals" and not finding.present:
                continue
            groups[group_of(finding)].append(
                self._finding(finding.name, finding.id, finding.present, denied=False)
            )
        lines = [
            wrapped(f"    {self._say(group)}: " + ", ".join(dict.fromkeys(names)), "      ")
            for group, names in groups.items()
            if names
        ]
        return "\n".join([f"  {self._say('UNDERSTOOD')}", *(lines or [f"    {self._say('no finding')}"])])

    def _suggested(self, findings: Sequence[Finding]) -> str:
        """What a language model sees in the note and nobody has confirmed."""
        if not findings:
            return ""
        lines = [wrapped(f'    - {f.name}? ("{f.text}")', "      ") for f in findings]
        title = self._say("FOUND BY THE LANGUAGE MODEL, NOT COUNTED: confirm or leave")
        return "\n".join([f"  {title}", *lines])

    def _finding(self, name: str, id_: str | None, present: bool, *, denied: bool = True) -> str:
        """A finding in the middle of a sentence; denied: with its "no" where it is absent.

        In another language a denied finding is "name: no", which no grammar turns round.
        """
        test = bool(id_ and id_.startswith("test:"))
        if self._language.code == ENGLISH:
            return named_finding(name, id_, present or not (denied or test))
        if test:
            return self._fill("{} positive" if present else "{} negative", name)
        lowered = name[:1].lower() + name[1:] if name[1:2].islower() else name
        no = f"{lowered}{self._language.language.colon}{self._say('no')}"
        return lowered if present or not denied else no

    def _differential(self, assessment: Assessment) -> str:
        lines = [f"  {self._say('PROBABLY')}"]
        if assessment.abstained:
            lines.append(wrapped("    " + self._fill("no answer: {}", assessment.why or ""), "      "))
        candidates = assessment.differential or ()
        for place, candidate in enumerate(candidates[:5], start=1):
            lines += self._candidate(place, candidate)
        late = [c for c in candidates[5:] if c.must_not_miss]
        if late:
            lines.append(
                wrapped(f"    {self._say('do not miss')}: " + ", ".join(_named(c) for c in late), "      ")
            )
        if any(c.evidence or c.evidence_against for c in candidates[:5]):
            key = "(×5: five times as common in patients with the condition as in others)"
            lines.append(wrapped(f"    {self._say(key)}", "      "))
        return "\n".join(lines)

    def _candidate(self, place: int, candidate: Candidate) -> list[str]:
        mark = f"  {self._say('do not miss')}" if candidate.must_not_miss else ""
        first = wrapped(f"    {place}. {_named(candidate)}{mark}", "       ")
        lines = [click.style(first, bold=True, fg="red" if mark else None)]
        sides = ((self._say("for"), candidate.evidence), (self._say("against"), candidate.evidence_against))
        width = max(len(title) for title, _ in sides) + 1
        for title, evidence in sides:
            if evidence:
                text = f"       {f'{title}:':<{width}} {self._weights(evidence)}"
                lines.append(wrapped(text, " " * (8 + width)))
        for turned in candidate.counterfactuals[:1]:
            text = self._fill("if {}: {}", turned.if_, percent(turned.probability))
            lines.append(wrapped(f"       {text}", "         "))
        return lines

    def _weights(self, evidence: Sequence[Evidence]) -> str:
        return ", ".join(
            f"{self._finding(e.finding, e.finding_id, e.present)} {times(e.likelihood_ratio)}"
            for e in evidence[:4]
        )

    def _image(self, image: ImageReading) -> str:
        title = "IMAGE {} ({})" if image.quality.usable else "IMAGE {} ({}): not assessed"
        lines = [wrapped(f"  {self._fill(title, image.path, self._say(label(image.kind)))}", "    ")]
        lines += [
            wrapped(f"    - {self._say(problem.message)}", "      ") for problem in image.quality.problems
        ]
        if image.why and image.quality.usable:  # what makes an image unusable stands above
            lines.append(wrapped("    " + self._fill("no answer: {}", image.why), "      "))
        ranked = sorted(image.labels.items(), key=lambda item: -item[1])
        columns = [(column(self._say(label(name)), 28), percent(share)) for name, share in ranked]
        lines += [wrapped(f"    {name}{share:>5}", "      ") for name, share in columns]
        if image.prediction_set and image.coverage:
            names = self._language.language.between.join(self._say(label(n)) for n in image.prediction_set)
            row = "the right label is among these {} of the time: {}"
            lines.append(wrapped(f"    {self._fill(row, percent(image.coverage), names)}", "      "))
        if rows := _shaded(image.heatmap_grid):
            lines.append(f"    {self._say('where the picture speaks for the first label:')}")
            lines += ["      " + row for row in rows]
        if image.heatmap:
            lines.append(wrapped("    " + self._fill("heatmap: {}", image.heatmap), "      "))
        return "\n".join(lines)

    def _words(self, assessment: Assessment) -> str:
        words = sorted(assessment.token_attribution or (), key=lambda item: -abs(item.weight))[:5]
        if not words:
            return ""
        weights = ", ".join(f"{w.word} {w.weight:+.2f}" for w in words)
        row = "WORDS that spoke for (+) or against (-) the image's first label: {}"
        return wrapped(f"  {self._fill(row, weights)}", "    ")

    def _shared(self, opinion: SharedOpinion | None) -> str:
        """What the programme's model says, with what is known of how often it is right."""
        if opinion is None:
            return ""
        title = "LEARNED BY THE BOXES OF {} TOGETHER: beside the advice, decides nothing"
        likely = ", ".join(
            f"{one.name} {percent(one.probability)}" for one in opinion.conditions[:SHARED_SHOWN]
        )
        row = "knows {} conditions only; before release {} it was right on {} of {} cases from {} sites"
        if opinion.unknown:
            likely = self._fill("no answer: {}", self._fill("it does not know {}", opinion.unknown))
        elif not opinion.conditions:
            likely = self._fill("no answer: {}", self._say("the box itself gives none"))
        numbers = (opinion.knows, opinion.release, opinion.right, opinion.cases, opinion.sites)
        knows = f"{self._fill(row, *map(str, numbers))}; {self._say(opinion.review)}"
        lines = [f"  {self._fill(title, opinion.programme)}", f"    {likely}", f"    {knows}"]
        return "\n".join(wrapped(line, "      ") for line in lines)

    def _listed(self, title: str, items: Sequence[str]) -> str:
        if not items:
            return ""
        return "\n".join([f"  {self._say(title)}", *(wrapped(f"    - {item}", "      ") for item in items)])

    def _narrative(self, narrative: Narrative | None) -> str:
        if narrative is None:
            return ""
        by_rules = narrative.model == BY_RULES
        author = "These words are put together by rules, not by a language model."
        if not by_rules:
            author = "Put in order by {}, from the lines above only."
        lines = [
            f"  {self._say('IN WORDS')}",
            wrapped(f"    {narrative.text}", "    "),
            f"  {self._say('IN WORDS FOR THE PATIENT')}",
            wrapped(f"    {narrative.patient_text}", "    "),
            *([wrapped(f"    {narrative.second_reader}", "    ")] if narrative.second_reader else []),
            click.style(wrapped(f"    {self._fill(author, narrative.model or '')}", "    "), dim=True),
        ]
        if narrative.left_out:
            left_out = self._fill("The language model was left out: {}.", self._say(narrative.left_out))
            lines.append(click.style(wrapped(f"    {left_out}", "    "), dim=True))
        return "\n".join(lines)

    def _translated(self) -> str:
        """Who has seen the translation, wherever there is one."""
        if self._language.code == ENGLISH:
            return ""
        rows = ["Translated by the makers of the box: not reviewed by a speaker or a clinician."]
        if self._language.code not in languages():
            rows = [self._language.language.review]  # a plugin's, which says whose
        rows += ["Not translated: these lines are in English."] if self._language.unsaid else []
        said = " ".join(self._say(row) for row in rows)
        return click.style(wrapped(f"  {said}", "    "), dim=True)

    def _footer(self, assessment: Assessment) -> str:
        lines = []
        if assessment.provenance and assessment.provenance.not_read:
            counts = ", ".join(f"{count} {what}" for what, count in assessment.provenance.not_read.items())
            lines.append(wrapped("  " + self._fill("NOT READ of the input: {}", counts), "    "))
        if assessment.provenance and assessment.provenance.knowledge:
            origin = self._fill("Knowledge: {}.", assessment.provenance.knowledge)
            lines.append(click.style(wrapped(f"  {origin}", "    "), dim=True))
        refused = [
            g for g in (assessment.provenance.guidelines if assessment.provenance else ()) if "REFUSED" in g
        ]
        lines += [click.style(wrapped(f"  {fault}", "    "), bold=True) for fault in refused]
        total = assessment.timings_ms["total"] if assessment.timings_ms else 0.0
        lines += [line] if (line := self._translated()) else []
        review = self._say("Not reviewed by a clinician. A suggestion: the clinician decides and signs.")
        lines.append(click.style(wrapped(f"  {review} ({total:.0f} ms)", "    "), dim=True))
        return "\n".join(lines)


def titled(case_id: str) -> str:
    return click.style(wrapped(f" {case_id} ", " "), bold=True, reverse=True)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _dose(dose: str) -> str:
    """A dose with its unit in the plural where there are several.

    >>> _dose("2 tablet twice daily"), _dose("1 tablet once"), _dose("250 mg once")
    ('2 tablets twice daily', '1 tablet once', '250 mg once')
    """
    units = "tablet|sachet|packet|puff|capsule|application|drop"
    return re.sub(rf"^((?!1 )[\d.]+) ({units})\b", r"\1 \2s", dose)


def _answers(protocol: Protocol) -> list[str]:
    return [f"{named(name)}: {value}" for name, value in protocol.answers.items() if value]


def decided(protocol: Protocol, missing: Missing, language: Language) -> str:
    """What an answer would decide: results under the title of their guideline, then what would be done.

    >>> bmi = Protocol("bmi", "Body mass index", "2004", "", {}, {"bmi": "", "band": ""})
    >>> decided(bmi, Missing("height_cm", "How tall?", ("bmi", "band")), languages()[ENGLISH])
    'Body mass index: BMI, band'
    """
    names = missing.could_change[:MOST_DECIDED]
    results = language.between.join(with_names(name) for name in names if name in protocol.undecided)
    done = [with_names(name) for name in names if name not in protocol.undecided]
    return language.after.join([*([protocol.title + language.colon + results] if results else []), *done])


def group_of(finding: Finding) -> str:
    if finding.source == "test":
        return "tests"
    if finding.subject != "patient":
        return "others (family, contacts)"
    if finding.temporality == "past":
        return "in the past"
    if finding.uncertain:
        return "uncertain"
    return "present" if finding.present else "absent"


def _named(candidate: Candidate) -> str:
    return f"{candidate.name} {percent(candidate.probability)}"


def times(ratio: float) -> str:
    """A likelihood ratio in two digits, without an exponent.

    >>> times(17_234.0), times(7.46), times(0.068), times(1e-5)
    ('×17,000', '×7.5', '×0.068', '×<0.001')
    """
    if ratio < 0.001:
        return "×<0.001"
    two_digits = float(f"{ratio:.2g}")
    return f"×{two_digits:,.0f}" if two_digits >= 10 else f"×{two_digits:g}"


def _shaded(grid: Sequence[Sequence[float]]) -> list[str]:
    """Rows of block characters, the strongest region full."""
    top = max((max(row) for row in grid), default=0.0)
    if top <= 0:
        return []
    return [
        "".join(SHADES[min(4, max(0, round(4 * value / top)))] * 2 for value in row).rstrip() or "·"
        for row in grid
    ]
