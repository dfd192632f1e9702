"""What every medicine is checked against: hard maximum, contraindications, interactions, allergies.

The last check before a dose is shown, whatever a table says. The figures stand in `library/medicines.csv`,
`library/cautions.csv` and `library/interactions.csv`, each with its source.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from akazuba.errors import ArtefactError
from akazuba.guidelines.formulas import Formula, parse_formula, truth
from akazuba.guidelines.values import Kind, Truth, Value, missing_of

TIMES_A_DAY: Mapping[str, float] = {
    "once": 1,
    "once daily": 1,
    "at night": 1,
    "in the morning": 1,
    "twice daily": 2,
    "three times daily": 3,
    "four times daily": 4,
    "every 12 hours": 2,
    "every 8 hours": 3,
    "every 6 hours": 4,
    "every 4 hours": 6,
    "weekly": 1,
    "twice weekly": 1,
    "three times weekly": 1,
    "every 2 weeks": 1,
    "monthly": 1,
    "every 3 months": 1,
    "every 6 months": 1,
    "as needed": 1,
    "after each loose stool": 1,
    "hourly": 24,
    "every 20 minutes for 1 hour": 3,
    "every 10 minutes": 1,
    "every other day": 1,
}
"""The frequencies that a plan may name, and how many doses at most fall on one day (as needed: one)."""

CHILD_KG = 40.0
"""Under this weight the maximum per kg holds too (our choice)."""


@dataclass(frozen=True)
class Medicine:
    """The most that may be given in one unit (mg, tablet, ml …): at once, a day, at once per kg of a child.

    max_per_kg: for patients under `CHILD_KG`; infinite where none is listed.
    groups: what one may be allergic to.
    """

    name: str
    unit: str
    max_single: float
    max_daily: float
    max_per_kg: float
    groups: frozenset[str]
    source: str


@dataclass(frozen=True)
class Caution:
    """medicine: a name or a group. if_unknown: what to do when nobody knows whether `when` holds."""

    medicine: str
    when: Formula
    if_unknown: Literal["withhold", "ask", "pass"]
    says: str
    source: str


@dataclass(frozen=True)
class Interaction:
    """one and other: names or groups. level: avoid withholds the newer one, caution only says so."""

    one: str
    other: str
    level: Literal["avoid", "caution"]
    says: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """withheld: why it must not be given; checks: what to look at first; missing: inputs to assess."""

    withheld: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Formulary:
    medicines: Mapping[tuple[str, str], Medicine]
    cautions: tuple[Caution, ...]
    interactions: tuple[Interaction, ...]
    names: Mapping[str, frozenset[str]]

    def called(self, name: str) -> frozenset[str]:
        """The name and its groups, those of a combination's parts included.

        An unknown medicine is itself only.
        """
        parts = (name.casefold().strip(), *name.casefold().strip().split("+"))
        return frozenset(parts).union(*(self.names.get(part, ()) for part in parts))

    def judged(
        self, name: str, taken: Iterable[str], allergies: Iterable[str], values: Mapping[str, Value]
    ) -> Verdict:
        """Whether a medicine may be given to somebody who takes others.

        taken: names of what is taken already, the medicine itself left out. values: all shared inputs.
        """
        mine = self.called(name)
        withheld = [f"allergy to {allergy}" for allergy in allergies if self._meant_by(allergy) & mine]
        checks, missing = list[str](), set[str]()
        for caution in self.cautions:
            if caution.medicine not in mine:
                continue
            holds = truth(caution.when.value(values))
            if holds is Truth.TRUE:
                withheld.append(f"{caution.says} ({caution.source})")
            elif holds is Truth.UNKNOWN and caution.if_unknown != "pass":
                lacking = missing_of(values[n] for n in caution.when.names)
                missing |= lacking
                text = f"{caution.says}: not known ({', '.join(sorted(lacking))} not assessed)"
                (withheld if caution.if_unknown == "withhold" else checks).append(text)
        for other in taken:
            for found in self._between(mine, self.called(other)):
                text = f"with {other}: {found.says} ({found.source})"
                (withheld if found.level == "avoid" else checks).append(text)
        return Verdict(tuple(dict.fromkeys(withheld)), tuple(dict.fromkeys(checks)), frozenset(missing))

    def _meant_by(self, allergy: str) -> frozenset[str]:
        """Every name and group in the words of an allergy: "penicillin (rash)", "sulfonamides"."""
        words = re.findall(r"[^\W_][\w+-]*", allergy.casefold())
        words += [word.removesuffix("s") for word in words]
        return frozenset((allergy.casefold().strip(),)).union(*(self.called(word) for word in words))

    def _between(self, mine: frozenset[str], theirs: frozenset[str]) -> Iterator[Interaction]:
        for pair in self.interactions:
            if (pair.one in mine and pair.other in theirs) or (pair.other in mine and pair.one in theirs):
                yield pair

    def excess(self, name: str, unit: str, amount: float, frequency: str, weight_kg: float | None) -> str:
        """Why a dose is over the hard maximum; "" when it is not. Raises KeyError for an unknown one."""
        medicine = self.medicines[name, unit]
        daily = amount * TIMES_A_DAY[frequency]
        if amount > medicine.max_single * (1 + 1e-9):
            return f"{amount:g} {unit} at once is over the maximum of {medicine.max_single:g}"
        if daily > medicine.max_daily * (1 + 1e-9):
            return f"{daily:g} {unit} a day is over the maximum of {medicine.max_daily:g}"
        limit = (
            medicine.max_per_kg * weight_kg if weight_kg is not None and weight_kg < CHILD_KG else math.inf
        )
        if amount > limit * (1 + 1e-9):
            per_kg = f"{medicine.max_per_kg:g} {unit} per kg"
            return f"{amount:g} {unit} at once for {weight_kg:g} kg is over {per_kg}"
        return ""


def read_formulary(rows: Mapping[str, list[dict[str, str]]], kinds: Mapping[str, Kind]) -> Formulary:
    """rows: of medicines.csv, cautions.csv and interactions.csv. Raises ArtefactError that names the row."""
    medicines: dict[tuple[str, str], Medicine] = {}
    names: dict[str, frozenset[str]] = {}
    for row in rows["medicines.csv"]:
        item = f"medicines.csv, {row['medicine']} ({row['unit']})"
        key = row["medicine"], row["unit"]
        groups = frozenset(group.strip() for group in row["groups"].split("|") if group.strip())
        try:
            most = float(row["max_single"]), float(row["max_daily"])
            per_kg = float(row["max_per_kg"] or "inf")
        except ValueError as problem:
            raise ArtefactError(
                item, "numbers for max_single, max_daily and max_per_kg", str(problem)
            ) from problem
        if key in medicines or not 0 < most[0] <= most[1]:
            raise ArtefactError(item, "each once, 0 < max_single <= max_daily", str(most))
        medicines[key] = Medicine(*key, *most, per_kg, groups, row["source"])
        names[key[0]] = names.get(key[0], frozenset()) | groups | {key[0]}
    known = set(names) | {part for name in names for part in name.split("+")} | set().union(*names.values())
    return Formulary(
        medicines,
        tuple(_caution(row, known, kinds) for row in rows["cautions.csv"]),
        tuple(_interaction(row, known) for row in rows["interactions.csv"]),
        names,
    )


def _caution(row: Mapping[str, str], known: set[str], kinds: Mapping[str, Kind]) -> Caution:
    item = f"cautions.csv, {row['medicine']}: {row['when']}"
    if row["medicine"] not in known or row["if_unknown"] not in ("withhold", "ask", "pass"):
        raise ArtefactError(
            item, "a medicine or group of medicines.csv, and withhold, ask or pass", str(dict(row))
        )
    try:
        when = parse_formula(row["when"], kinds)
    except ValueError as problem:
        raise ArtefactError(item, "a formula of shared inputs", str(problem)) from problem
    return Caution(row["medicine"], when, row["if_unknown"], row["says"], row["source"])  # type: ignore[arg-type]


def _interaction(row: Mapping[str, str], known: set[str]) -> Interaction:
    item = f"interactions.csv, {row['one']} and {row['other']}"
    if row["level"] not in ("avoid", "caution"):
        raise ArtefactError(item, "avoid or caution", row["level"])
    if not {row["one"], row["other"]} & known:
        raise ArtefactError(item, "at least one medicine or group of medicines.csv", "none")
    return Interaction(row["one"], row["other"], row["level"], row["says"], row["source"])  # type: ignore[arg-type]
