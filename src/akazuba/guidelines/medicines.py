"""What every medicine is checked against: hard maximum, contraindications, interactions, allergies.

The last check before a dose is shown, whatever a table says. The figures stand in `library/medicines.csv`,
`library/cautions.csv` and `library/interactions.csv`, each with its source.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from akazuba.errors import ArtefactError
from akazuba.guidelines.formulas import Formula, parse_formula, truth
from akazuba.guidelines.values import Kind, Truth, Value, missing_of
from akazuba.wording.names import named

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
    "every 10 minutes": 2,
    "every other day": 1,
}
"""The frequencies that a plan may name, and how many doses fall on one day (as needed: one at a time; every
10 minutes: a second one if the first did not help)."""

MOST_PIECES = 8
"""Of a combination whose parts may be misspelled; nothing that is sold has more."""

MOST_NAMES = 5000
"""Written names whose parts are kept: looking for a near spelling takes a millisecond."""

NEAR = 0.86
"""How alike two spellings are that are taken for one name (difflib's ratio; our choice)."""

_STRENGTH = re.compile(r"\b[\d.,]+\s*(mg|mcg|ug|µg|g|ml|iu|units?|%)?(?=\s|$)|[()]")
_SALTS = frozenset(
    (
        "besylate",
        "besilate",
        "sodium",
        "potassium",
        "hydrochloride",
        "hcl",
        "phosphate",
        "maleate",
        "mesylate",
        "tartrate",
        "succinate",
        "trihydrate",
        "tablet",
        "tablets",
        "tab",
        "tabs",
        "capsule",
        "capsules",
        "syrup",
        "injection",
        "oral",
        "daily",
        "bd",
        "od",
    )
)
"""Words of a medicine's name that do not make it another one."""

EFFECT_GROUPS = frozenset(
    (
        "qt-prolonging",
        "liver-toxic tuberculosis medicines",
        "liver-toxic",
        "vitamin",
        "mineral",
        "iron",
        "oral fluid",
        "intravenous fluid",
        "therapeutic food",
        "antipyretic",
        "insulin",
    )
)
"""Groups by what they do: who is allergic to one of them is not allergic to the others."""

CHILD_KG = 40.0
"""Under this weight the maximum per kg holds too (our choice)."""


def _bare(text: str) -> str:
    """In small letters without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).strip()


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
    """names: each medicine and group, with its groups. synonyms: other names, brands too."""

    medicines: Mapping[tuple[str, str], Medicine]
    cautions: tuple[Caution, ...]
    interactions: tuple[Interaction, ...]
    names: Mapping[str, frozenset[str]]
    synonyms: Mapping[str, str]
    _read: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    def parts(self, text: str) -> frozenset[str]:
        """The medicines in a name as somebody wrote it: "Amlodipine besylate 10 mg".

        A spelling that is near to one known name is taken for it. What is not known stays as it was written.
        """
        if text in self._read:
            return self._read[text]
        found = set[str]()
        pieces = dict.fromkeys(re.split(r"[+/,&]|\band\b", _bare(text)))
        for piece in pieces:
            name = _STRENGTH.sub(" ", piece)
            name = " ".join(name.split())
            if name:
                found |= self._known(name, near=len(pieces) <= MOST_PIECES)
        if len(self._read) < MOST_NAMES:
            self._read[text] = frozenset(found)
        return frozenset(found)

    def _known(self, name: str, *, near: bool) -> frozenset[str]:
        shorter = " ".join(word for word in name.split() if word not in _SALTS)
        for candidate in dict.fromkeys((name, shorter)):
            if candidate in self.synonyms:
                return frozenset(self.synonyms[candidate].split("+"))
            if candidate in self.names:
                return frozenset((candidate,))
        if not near:
            return frozenset((shorter or name,))
        span = (
            len(shorter) * NEAR / (2 - NEAR),
            len(shorter) * (2 - NEAR) / NEAR,
        )  # no other length is as near
        likely = [known for known in (*self.names, *self.synonyms) if span[0] <= len(known) <= span[1]]
        if nearest := difflib.get_close_matches(shorter, likely, n=1, cutoff=NEAR):
            return frozenset(self.synonyms.get(nearest[0], nearest[0]).split("+"))
        return frozenset((shorter or name,))

    def knows(self, text: str) -> bool:
        """Whether every medicine in a name is known."""
        return all(part in self.names for part in self.parts(text))

    def called(self, name: str) -> frozenset[str]:
        """A medicine's names and groups, those of a combination's parts included."""
        whole = " ".join(name.casefold().split())
        parts = self.parts(name)
        return frozenset((whole, *parts)).union(*(self.names.get(part, ()) for part in (whole, *parts)))

    def judged(
        self, name: str, taken: Iterable[str], allergies: Iterable[str], values: Mapping[str, Value]
    ) -> Verdict:
        """Whether a medicine may be given to somebody who takes others.

        taken: names of what is taken already, the medicine itself left out. values: all shared inputs.
        """
        mine = self.called(name)
        withheld, checks, missing = list[str](), list[str](), set[str]()
        for allergy in allergies:
            meant = self._meant_by(allergy)
            if meant & mine:
                withheld.append(f"allergy to {allergy}")
            elif not meant & self.names.keys():
                checks.append(f"allergy to {allergy}: not recognised, make sure that it is not {name}")
        for caution in self.cautions:
            if caution.medicine in mine and (said := _said(caution, values)):
                (withheld if said[0] else checks).append(said[1])
                missing |= said[2]
        for other in taken:
            if not self.knows(other):
                checks.append(f"takes {other}, which is not recognised: look up whether it goes with {name}")
            for found in self._between(mine, self.called(other)):
                text = f"with {other}: {found.says} ({found.source})"
                (withheld if found.level == "avoid" else checks).append(text)
        return Verdict(tuple(dict.fromkeys(withheld)), tuple(dict.fromkeys(checks)), frozenset(missing))

    def _meant_by(self, allergy: str) -> frozenset[str]:
        """Every name and group in the words of an allergy: "penicillin (rash)", "sulfonamides"."""
        words = re.findall(r"[^\W\d_][\w-]{2,}", _bare(allergy))
        words += [word.removesuffix("s") for word in words]
        meant = (self.called(part) for word in (allergy, *words) for part in self.parts(word))
        return frozenset[str]().union(*meant) - EFFECT_GROUPS

    def _between(self, mine: frozenset[str], theirs: frozenset[str]) -> Iterator[Interaction]:
        for pair in self.interactions:
            if (pair.one in mine and pair.other in theirs) or (pair.other in mine and pair.one in theirs):
                yield pair

    def weight_wanted(self, name: str, unit: str) -> bool:
        """Whether a maximum per kg is listed, so that a child's dose needs the weight."""
        return math.isfinite(self.medicines[name, unit].max_per_kg)

    def excess(self, name: str, unit: str, amount: float, frequency: str, weight_kg: float | None) -> str:
        """Why a dose is over the hard maximum, or "". Raises KeyError for an unknown medicine."""
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


def _said(caution: Caution, values: Mapping[str, Value]) -> tuple[bool, str, frozenset[str]] | None:
    """Whether a caution withholds, in which words, and what is missing; None when it is silent."""
    holds = truth(caution.when.value(values))
    if holds is Truth.TRUE:
        return True, f"{caution.says} ({caution.source})", frozenset()
    if holds is Truth.FALSE or caution.if_unknown == "pass":
        return None
    lacking = missing_of(values[name] for name in caution.when.names)
    text = f"{caution.says}: not known ({', '.join(map(named, sorted(lacking)))} not assessed)"
    return caution.if_unknown == "withhold", text, lacking


def read_formulary(rows: Mapping[str, list[dict[str, str]]], kinds: Mapping[str, Kind]) -> Formulary:
    """rows: of the four files, by name. Raises ArtefactError that names the row."""
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
    named = [row[side] for row in rows["interactions.csv"] for side in ("one", "other")]
    grouped = [group for groups in names.values() for group in groups]
    for name in [part for whole in (*names, *named, *grouped) for part in (whole, *whole.split("+"))]:
        names.setdefault(name, frozenset((name,)))
    return Formulary(
        medicines,
        tuple(_caution(row, set(names), kinds) for row in rows["cautions.csv"]),
        tuple(_interaction(row) for row in rows["interactions.csv"]),
        names,
        _synonyms(rows["synonyms.csv"], names),
    )


def _synonyms(rows: Iterable[Mapping[str, str]], names: dict[str, frozenset[str]]) -> dict[str, str]:
    found = dict[str, str]()
    for row in rows:
        if row["name"] in found:
            raise ArtefactError(f"synonyms.csv, {row['name']}", "each name once", "a repeated one")
        found[row["name"]] = row["means"]
        for part in row["means"].split("+"):
            names.setdefault(part, frozenset((part,)))
    return found


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


def _interaction(row: Mapping[str, str]) -> Interaction:
    item = f"interactions.csv, {row['one']} and {row['other']}"
    if row["level"] not in ("avoid", "caution"):
        raise ArtefactError(item, "avoid or caution", row["level"])
    return Interaction(row["one"], row["other"], row["level"], row["says"], row["source"])  # type: ignore[arg-type]
