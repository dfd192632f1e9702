"""How urgent a patient is, by the rules of the charts and by nothing else.

Interagency Integrated Triage Tool (WHO, ICRC, MSF) with our additions; the rules are data
(`data/*.json`), the choices that the charts leave open stand in docs/decisions/0004-triage-levels.md:

- red when a red rule fires, else yellow when a yellow or step-3 rule fires;
- a red or yellow sign that is only possible (an uncertain mention, a less exact finding, an unknown
  pregnancy, an age too coarse) makes the level at least yellow, with a reason that asks to check it;
- green only when nothing fired and everything that green needs was assessed; else unassessed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from akazuba.guidelines.chart import AgeRange, Chart, Rule, Sign, VitalTest, shipped_charts
from akazuba.records import Case, Finding, Patient, Triage, TriageReason, Vitals
from akazuba.terminology import Ancestors, kinds_of

GREEN_NEEDS = ("heart_rate_bpm", "respiratory_rate_bpm", "temperature_c", "spo2_percent", "consciousness")
"""The vital signs of the charts' step 3; without one of them nobody is green."""

ACUTE_DAYS = 14
"""A finding that began longer ago is not acute (our choice; the charts give no number)."""

CHILDBEARING_YEARS = (12, 56)
"""Where an unknown pregnancy is possible: from, under (our choice; the charts give no number)."""

PREGNANCY = ("AKZ:0000041", "AKZ:0000032", "AKZ:0000012", "HP:0100602", "HP:0100601")
"""Findings that only a pregnant patient has: pregnancy, its complications, labour, (pre-)eclampsia."""

MAX_SIGNS_LISTED = 6

DAYS_A_YEAR = 365.25
DAYS_A_MONTH = DAYS_A_YEAR / 12

VITALS = {
    "heart_rate_bpm": ("heart rate", "beats a minute"),
    "respiratory_rate_bpm": ("respiratory rate", "breaths a minute"),
    "temperature_c": ("temperature", "°C"),
    "spo2_percent": ("oxygen saturation", "%"),
    "consciousness": ("level of consciousness (AVPU)", ""),
    "systolic_mmhg": ("systolic blood pressure", "mmHg"),
    "diastolic_mmhg": ("diastolic blood pressure", "mmHg"),
    "capillary_refill_s": ("capillary refill", "s"),
    "glucose_mmol_l": ("blood glucose", "mmol/L"),
    "on_oxygen": ("whether the patient needs oxygen", ""),
}
"""Each vital sign in words and its unit, in the order in which they are listed as missing."""


class Truth(IntEnum):
    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True)
class _Answer:
    """Whether something holds. because: the values that say so, or what is unsure about it.
    assessed: False when nobody looked, which is no answer at all.
    """

    truth: Truth
    because: str = ""
    assessed: bool = True


_YES = _Answer(Truth.YES)
_NO = _Answer(Truth.NO)


def triage(case: Case, findings: Sequence[Finding], note_understood: bool, ancestors: Ancestors) -> Triage:
    """Decides the level of one case.

    findings: all coded findings of the case, those of the note included.
    note_understood: whether the note, if there is one, was in a language that the box reads.
    Raises ArtefactError when the charts inside the package cannot be trusted.
    """
    patient = _Situation(case, findings, ancestors)
    fired = [
        (rule, reason)
        for chart in shipped_charts()
        for rule in chart.rules
        if patient.meets_band(rule) and (reason := _reason(patient, chart, rule)) is not None
    ]
    fired.sort(
        key=lambda pair: (pair[1].level != "red", pair[0].level != "red")
    )  # possible red before yellow
    reasons = tuple(reason for _, reason in fired)
    gaps = _gaps(patient, case, findings, note_understood)
    level = reasons[0].level if reasons else "unassessed" if gaps else "green"
    return Triage(
        level=level,
        reasons=reasons,
        missing=(*gaps, *_unasked(patient, level, gaps)),
        review=shipped_charts()[0].review,
    )


def editions() -> tuple[str, ...]:
    """What is printed in an assessment's provenance: title, publisher and edition of each chart."""
    return tuple(f"{chart.title} ({chart.publisher}; {chart.edition})" for chart in shipped_charts())


def _reason(patient: _Situation, chart: Chart, rule: Rule) -> TriageReason | None:
    """Why a rule fires; None when it does not."""
    answers = [patient.sign(chart.signs[name]) for name in rule.signs]
    if rule.level == "red" and rule.at_least == 1:
        answers += [patient.doubted(chart.signs[name]) for name in rule.signs]
    there = [answer for answer in answers if answer.truth == Truth.YES]
    possible = [answer for answer in answers if answer.truth == Truth.MAYBE]
    if len(there) + len(possible) < (rule.at_least if rule.signs else 0):
        return None
    unsure = list(possible) if len(there) < rule.at_least else []
    for gate in (patient.age(rule), patient.pregnancy(rule)):
        if gate.truth == Truth.NO:
            return None
        if gate.truth == Truth.MAYBE:
            unsure.append(gate)
    values = "; ".join(answer.because for answer in there)
    message = f"{rule.message}: {values}" if values else rule.message
    if not unsure:
        return TriageReason(rule.id, rule.level, rule.source, message)
    doubts = "; ".join(answer.because for answer in unsure)
    because = f"check at once ({doubts}): this would be {rule.level} if so: {message}"
    return TriageReason(rule.id, "yellow", rule.source, because)


class _Situation:
    """What the rules ask about one patient, each question answered yes, no or maybe."""

    def __init__(self, case: Case, findings: Sequence[Finding], ancestors: Ancestors) -> None:
        self.vitals = case.vitals
        self.ages = _age_days(case.patient)
        self._ancestors = ancestors
        # What a measurement implies is left to the charts' own thresholds, which read the measurement.
        own = [f for f in findings if f.subject == "patient" and f.source != "vitals"]
        self._present = [
            (finding, kinds_of(finding.id, ancestors))
            for finding in own
            if finding.present and _recent(finding)
        ]
        self._doubted = [
            (finding, kinds_of(finding.id, ancestors))
            for finding in own
            if not finding.present and finding.uncertain and finding.temporality == "current"
        ]
        self._absent = {finding.id for finding in own if finding.counts and not finding.present}
        self._signs: dict[Sign, _Answer] = {}
        self._pregnancy = self._is_pregnant(case)

    def meets_band(self, rule: Rule) -> bool:
        """An unknown age meets both charts; a pregnant child meets the adult red rules as well
        (IITT age < 12, step 1, Other: "Pregnant with adult red criteria").
        """
        if rule.band == "any" or self.ages is None:
            return True
        if (rule.band == "adult") == (self.ages[0] >= 12 * DAYS_A_YEAR):
            return True
        return rule.band == "adult" and rule.level == "red" and self._pregnancy.truth == Truth.YES

    def age(self, rule: Rule) -> _Answer:
        """Whether the patient is in the rule's own age range.

        Where no age is known, a red sign makes the range possible; it is never guessed without a sign.
        """
        if rule.age is None:
            return _YES
        if self.ages is None:
            possible = rule.level == "red" and rule.signs
            return _Answer(Truth.MAYBE, "age not known") if possible else _NO
        low, high = _bounds(rule.age)
        youngest, oldest = self.ages
        if youngest >= low and oldest < high:
            return _YES
        if oldest < low or youngest >= high:
            return _NO
        return _Answer(Truth.MAYBE, "exact age not known: give it in days or months")

    def pregnancy(self, rule: Rule) -> _Answer:
        if not rule.pregnant:
            return _YES
        if self._pregnancy.truth == Truth.MAYBE and not rule.signs:
            return _NO
        return self._pregnancy

    @property
    def pregnant(self) -> Truth:
        return self._pregnancy.truth

    def sign(self, sign: Sign) -> _Answer:
        if sign not in self._signs:
            self._signs[sign] = self._look(sign)
        return self._signs[sign]

    def doubted(self, sign: Sign) -> _Answer:
        """Maybe, where the only denial of the sign may not be one ("no trauma, chest pain")."""
        wanted = frozenset((*sign.findings, *sign.recent, *sign.hints))
        named = [finding for finding, kinds in self._doubted if kinds & wanted]
        if not named or self.sign(sign).truth != Truth.NO or self.sign(sign).assessed:
            return _NO
        return _Answer(Truth.MAYBE, f"{sign.name} may or may not be denied: {_named(named[0])}")

    def _look(self, sign: Sign) -> _Answer:
        said = [_met(test, self.vitals) for test in sign.vitals]
        certain = [f for f in self._those_of(sign.findings, sign.recent) if f.counts]
        values = [words for words in said if words] + [_named(finding) for finding in certain]
        if values:
            return _Answer(Truth.YES, ", ".join(dict.fromkeys(values)))
        if unsure := [f for f in self._those_of(sign.findings, sign.recent) if not f.counts]:
            return _Answer(Truth.MAYBE, f"{sign.name} is uncertain: {_named(unsure[0])}")
        denied = bool(sign.findings) and self._denied(sign.findings[0])
        if not denied and (hints := self._those_of(sign.hints, ())):
            return _Answer(Truth.MAYBE, f"{sign.name} is possible: {_named(hints[0])}", assessed=False)
        measured = any(getattr(self.vitals, test.vital) is not None for test in sign.vitals)
        return _Answer(Truth.NO, assessed=denied or measured)

    def _those_of(self, ids: Iterable[str], if_recent: Iterable[str]) -> list[Finding]:
        """Present findings that are one of `ids`, or one of `if_recent` and not known to be old."""
        always, recently = frozenset(ids), frozenset(if_recent)
        return [
            finding
            for finding, kinds in self._present
            if kinds & always or (kinds & recently and (finding.onset_days_ago or 0) <= ACUTE_DAYS)
        ]

    def _denied(self, id_: str) -> bool:
        """Whether the finding, or something more general, was looked for and is absent."""
        return bool(kinds_of(id_, self._ancestors) & self._absent)

    def _is_pregnant(self, case: Case) -> _Answer:
        patient = case.patient
        stated = self._those_of(PREGNANCY, ())
        years = None if self.ages is None else self.ages[0] / DAYS_A_YEAR
        if patient.pregnant or any(finding.counts for finding in stated):
            return _YES
        if case.gestational_age_weeks is not None and years is not None and years >= 10:
            return _YES  # before that age the weeks may be the patient's own at birth
        fertile = years is None or CHILDBEARING_YEARS[0] <= years < CHILDBEARING_YEARS[1]
        ruled_out = patient.pregnant is False or PREGNANCY[0] in self._absent or patient.sex == "male"
        if stated or (fertile and not ruled_out):
            return _Answer(Truth.MAYBE, "pregnancy not known")
        return _NO


def _recent(finding: Finding) -> bool:
    """History counts as possible when it is known to be a matter of days."""
    return finding.temporality == "current" or (
        finding.onset_days_ago is not None and finding.onset_days_ago <= ACUTE_DAYS
    )


def _named(finding: Finding) -> str:
    return f'{finding.name} ("{finding.text}")' if finding.text else finding.name


def _met(test: VitalTest, vitals: Vitals) -> str:
    """The value that meets a test, in words; "" when it does not or was not measured.

    >>> _met(VitalTest("heart_rate_bpm", above=150), Vitals(heart_rate_bpm=156))
    'heart rate 156 > 150 beats a minute'
    """
    value = getattr(vitals, test.vital)
    if value is None:
        return ""
    name, unit = VITALS[test.vital]
    if test.is_ is not None:
        return f"{name}: {'yes' if value is True else value}" if value in test.is_ else ""
    for limit, sign, met in (
        (test.above, ">", operator.gt),
        (test.below, "<", operator.lt),
        (test.at_least, "≥", operator.ge),
        (test.at_most, "≤", operator.le),
    ):
        if limit is not None and met(value, limit):
            return f"{name} {value:g} {sign} {limit:g} {unit}"
    return ""


def _age_days(patient: Patient) -> tuple[float, float] | None:
    """The youngest and the oldest age in days that fit what is given; None when no age is.

    A whole number of months (or 0 years) is a completed one: 1 month is 30 to 60 days.

    >>> [round(days) for days in _age_days(Patient(age_months=1))]
    [30, 60]
    """
    if patient.age_days is not None:
        return patient.age_days, patient.age_days
    if patient.age_months is not None:
        whole = patient.age_months == int(patient.age_months)
        return patient.age_months * DAYS_A_MONTH, (patient.age_months + whole) * DAYS_A_MONTH - whole * 0.5
    if patient.age_years is not None:
        coarse = patient.age_years == 0
        return patient.age_years * DAYS_A_YEAR, (patient.age_years + coarse) * DAYS_A_YEAR - coarse * 0.5
    return None


def _bounds(age: AgeRange) -> tuple[float, float]:
    """A range in days: from (inclusive), to (exclusive)."""
    low = max(
        age.from_days or 0.0,
        (age.from_years or 0.0) * DAYS_A_YEAR,
        0.0 if age.over_years is None else age.over_years * DAYS_A_YEAR + 1e-6,
    )
    highs = [
        limit * days
        for limit, days in (
            (age.under_days, 1.0),
            (age.under_months, DAYS_A_MONTH),
            (age.under_years, DAYS_A_YEAR),
        )
        if limit is not None
    ]
    return low, min(highs, default=float("inf"))


def _gaps(patient: _Situation, case: Case, findings: Sequence[Finding], note_understood: bool) -> list[str]:
    """What green needs and nobody has assessed, in plain words."""
    gaps = [] if patient.ages is not None else ["age"]
    gaps += [VITALS[name][0] for name in GREEN_NEEDS if getattr(case.vitals, name) is None]
    if patient.pregnant == Truth.YES and None in (case.vitals.systolic_mmhg, case.vitals.diastolic_mmhg):
        gaps.append("blood pressure (pregnant)")
    if case.note.strip() and not note_understood:
        gaps.append("the note (it was not understood)")
    elif not any(
        f.source in ("note", "nurse") and f.subject == "patient" and f.id != PREGNANCY[0] for f in findings
    ):
        gaps.append("complaint and danger signs (no finding was reported or understood)")
    return gaps


def _unasked(patient: _Situation, level: str, gaps: Sequence[str]) -> list[str]:
    """What could still raise the level, most dangerous first: measurements, pregnancy, danger signs."""
    if level == "red":
        return []
    red = [
        (rule, chart.signs[name])
        for chart in shipped_charts()
        for rule in chart.rules
        for name in rule.signs
        if rule.level == "red"
        and patient.meets_band(rule)
        and patient.age(rule).truth != Truth.NO
        and patient.pregnancy(rule).truth == Truth.YES
    ]
    listed = []
    if patient.pregnant == Truth.MAYBE:
        listed.append("whether the patient is pregnant")
    unmeasured = {
        test.vital for _, sign in red for test in sign.vitals if getattr(patient.vitals, test.vital) is None
    }
    listed += [VITALS[name][0] for name in VITALS if name in unmeasured and VITALS[name][0] not in gaps]
    unasked = dict.fromkeys(
        sign.name for _, sign in red if not sign.vitals and not patient.sign(sign).assessed
    )
    if unasked:
        names = list(unasked)
        more = f" and {len(names) - MAX_SIGNS_LISTED} more" if len(names) > MAX_SIGNS_LISTED else ""
        listed.append("danger signs not asked: " + ", ".join(names[:MAX_SIGNS_LISTED]) + more)
    return listed
