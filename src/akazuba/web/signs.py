"""The signs of an emergency as the page asks for them first: those that make anybody red by the chart itself.

Which they are is found by asking the chart about each one alone, so that the page cannot promise what the
rules do not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from akazuba.guidelines.chart import Rule, Sign, shipped_charts
from akazuba.guidelines.triage import triage
from akazuba.records import Case, Finding, Patient, ReportedFinding
from akazuba.urgency import Desk

Band = Literal["adult", "child", "pregnant"]
EXAMPLES: dict[Band, Patient] = {
    "adult": Patient(age_years=30, sex="male"),
    "child": Patient(age_years=4),
    "pregnant": Patient(age_years=25, sex="female", pregnant=True),
}
"""A patient of each group of whom the chart asks differently."""


@dataclass(frozen=True)
class RedSign:
    """finding: what ticking it adds to the case. bands: of whom it alone is red."""

    name: str
    finding: str
    source: str
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Told:
    """actions: what the chart says to do at once for red."""

    signs: tuple[RedSign, ...]
    actions: tuple[str, ...]


def red_signs(desk: Desk) -> Told:
    """Every finding that alone is red, in the chart's order."""
    found: dict[str, RedSign] = {}
    for chart in shipped_charts():
        for rule in chart.rules:
            if rule.level != "red" or rule.age or rule.at_least > 1:
                continue
            for sign in (chart.signs[name] for name in rule.signs):
                _add(found, desk, rule, sign)
    actions = tuple(
        a.action for chart in shipped_charts() for a in chart.actions if a.level == "red" and not a.step
    )
    return Told(tuple(found.values()), actions)


def _add(found: dict[str, RedSign], desk: Desk, rule: Rule, sign: Sign) -> None:
    for id_ in sign.findings[:1]:
        bands = tuple(band for band, patient in EXAMPLES.items() if _is_red(desk, id_, patient))
        if bands and id_ not in found:
            found[id_] = RedSign(sign.name, id_, rule.source, bands)


def _is_red(desk: Desk, id_: str, patient: Patient) -> bool:
    case = Case("signs", patient=patient, findings=(ReportedFinding(id_),))
    finding = Finding(id_, id_, source="nurse")
    return triage(case, (finding,), True, desk.terminology.ancestors).level == "red"
