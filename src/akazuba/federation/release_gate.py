"""The gate before a release: the student as it is shipped beside the one in force, on labelled cases by site.

Nobody is published over half a point of accuracy lost, or over any site's loss of more than two. What is
compared are counts, so a loss of exactly half a point passes and one case more does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from akazuba.diagnosis.network import Labels
from akazuba.errors import InputError
from akazuba.federation.updates import Numbers
from akazuba.federation.worlds import Cases
from akazuba.privacy.keys.enrolment import Name

Answers = Callable[[Numbers], Labels]
"""From inputs (cases, features) to a class for each."""

ONE_IN_OVERALL, ONE_IN_SITE = 200, 50
"""The most that may be lost: one in so many cases, 0.5 points overall and 2 at a site."""

DRAWS = 4000


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of so many cases, how many were right before, with the new student, and by its teacher."""

    cases: Annotated[int, Meta(ge=1, le=1 << 31)]
    before: Annotated[int, Meta(ge=0)]
    after: Annotated[int, Meta(ge=0)]
    teacher: Annotated[int, Meta(ge=0)]

    @property
    def change(self) -> float:
        """In points of accuracy."""
        return 100 * (self.after - self.before) / self.cases


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """first: `before` is who always says the most frequent class, as no student was in force. low, high: of
    the change over all cases, in points; 95 %, paired bootstrap within sites.
    """

    sites: Annotated[dict[Name, Site], Meta(min_length=1, max_length=10_000)]
    first: bool
    low: float
    high: float

    @property
    def overall(self) -> Site:
        sites = self.sites.values()
        counts = ((one.cases, one.before, one.after, one.teacher) for one in sites)
        return Site(*(sum(column) for column in zip(*counts, strict=True)))

    def refusals(self) -> list[str]:
        """Why it must not be published; empty when it may. Follows from the counts alone, so whoever reads a
        release can ask again.
        """
        found, all_ = [], self.overall
        if any(max(one.before, one.after, one.teacher) > one.cases for one in self.sites.values()):
            found.append("more are right than there are cases")
        if self.first:
            if all_.after <= all_.before:
                most = f"{all_.before} of {all_.cases}"
                found.append(f"{all_.after} right, and always the most frequent class would be: {most}")
            return found
        if (all_.before - all_.after) * ONE_IN_OVERALL > all_.cases:
            span = f"95 % {self.low:+.2f} to {self.high:+.2f}"
            found.append(f"overall {all_.change:+.2f} points ({span}), -0.50 at most allowed")
        for name, one in sorted(self.sites.items()):
            if (one.before - one.after) * ONE_IN_SITE > one.cases:
                found.append(f"{name} {one.change:+.2f} points of {one.cases} cases, -2.00 at most allowed")
        return found


def gate(
    sites: Mapping[str, Cases],
    new: Answers,
    old: Answers | None,
    teacher: Answers,
    known: Collection[str] = (),
) -> Verdict:
    """known: sites that there were at the last release: all of them must be there again.

    Raises InputError when there is no site, one without cases, or one missing.
    """
    if missing := sorted(set(known) - set(sites)):
        raise InputError(
            "evaluation", "cases of every site of the last release", f"none of {', '.join(missing)}"
        )
    if empty := sorted(name for name, cases in sites.items() if not len(cases)):
        raise InputError("evaluation", "cases at every site", f"none of {', '.join(empty)}")
    if not sites:
        raise InputError("evaluation", "one site or more", "none")
    labels = np.concatenate([cases.labels for cases in sites.values()])
    most_frequent = int(np.bincount(labels).argmax())
    before = old or (lambda inputs: np.full(len(inputs), most_frequent, np.int64))
    found, moved = {}, np.zeros(DRAWS)
    random = np.random.default_rng(len(labels))
    for name, cases in sorted(sites.items()):
        were, are, theirs = (one(cases.inputs) == cases.labels for one in (before, new, teacher))
        gained, lost = int((are & ~were).sum()), int((were & ~are).sum())
        # To draw cases with replacement and count is to draw the counts.
        chances = np.array([gained, lost, len(cases) - gained - lost]) / len(cases)
        drawn = random.multinomial(len(cases), chances, DRAWS)
        moved += drawn[:, 0] - drawn[:, 1]
        found[name] = Site(len(cases), int(were.sum()), int(are.sum()), int(theirs.sum()))
    low, high = np.percentile(100 * moved / len(labels), [2.5, 97.5])
    return Verdict(found, old is None, float(low), float(high))
