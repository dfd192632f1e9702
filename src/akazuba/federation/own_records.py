"""What a box may learn from among its own records: visits whose patient agreed, and of which it came out what
they were.

One visit of a patient counts, the newest that can be used, so that a floor on cases is one on patients. A
diagnosis is confirmed when an outcome that somebody recorded says that this line of the advice was right and
no later one says that it was wrong. Only what the box had listed can be confirmed so: a model learns from
these records to choose better among what is listed, not to find what is missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from akazuba.errors import ArtefactError, CaseError, InputError
from akazuba.federation.learning import Learning, vector
from akazuba.federation.terminal import OwnCases
from akazuba.federation.updates import Numbers
from akazuba.governance.consent import may
from akazuba.governance.decisions import Outcome
from akazuba.governance.fhir_entries import History, decoded, history, of_kind
from akazuba.records import Assessment
from akazuba.storage.store import Entry, Recorded, Store
from akazuba.terminology import Ancestors

LEARNED = "learning"
"""Kind of the log's entry about a training."""

UPDATE, OWN = "an update of the federation's model", "this box's own last layer"
MASKED = "a masked round of the federation"
"""Purposes."""

DIAGNOSIS = "diagnosis: "
"""So begins, in an outcome, the name of a line of the differential."""

NO_CONSENT = "no consent to training"
NOT_CONFIRMED = "not confirmed"
SEVERAL = "several confirmed"
OTHER = "another condition"
CORRECTED = "corrected after it was assessed"
OTHER_PATIENT = "entered for another patient"
EARLIER = "an earlier visit of the same patient"
NOBODY = "of no patient"
UNREADABLE = "cannot be read"


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `learning`: numbers only. version: of the model it starts from. left_out: visits by reason."""

    purpose: str
    programme: str
    number: int
    version: int
    cases: int
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Example:
    """inputs: (features,). label: the condition's place in the programme's list."""

    inputs: Numbers
    label: int


@dataclass(frozen=True)
class Gathered:
    """left_out: visits by the reason why not. classes: of the used ones, by condition."""

    cases: OwnCases
    left_out: Mapping[str, int]
    classes: Mapping[str, int]


def gather(store: Store, learning: Learning, ancestors: Ancestors, at_ms: int) -> Gathered:
    """Every visit of the store, used or counted. Erased patients are neither: nothing of theirs can be read.
    at_ms: now, since 1970; consent is asked of it.
    """
    visits = Counter(entry.patient for entry in store.entries(kind="basis") if entry.body is not None)
    left_out = Counter({NOBODY: visits.pop("", 0)})
    used = list[Example]()
    for patient, number in sorted(visits.items()):
        try:
            if not may(store, patient, "training", at_ms).yes:
                left_out[NO_CONSENT] += number
                continue
            known = history(store.person(patient), [*store.entries(patient=patient)], note_of_today=False)
            seen = list(_visits(known, learning, ancestors))
        except (ArtefactError, CaseError):
            left_out[UNREADABLE] += number
            continue
        examples = [one for one in seen if isinstance(one, Example)]
        used += examples[-1:]
        left_out[EARLIER] += len(examples[:-1])
        left_out.update(one for one in seen if isinstance(one, str))
    features = learning.network().features
    inputs = np.stack([one.inputs for one in used]) if used else np.zeros((0, features), np.float32)
    labels = np.array([one.label for one in used], np.int64)
    left = {why: number for why, number in sorted(left_out.items()) if number}
    classes = Counter(learning.conditions[one.label] for one in used)
    return Gathered(OwnCases(inputs, labels, sum(left.values())), left, classes)


def about_to_learn(
    store: Store, by: str, purpose: str, found: Gathered, learning: Learning, version: int, least: int
) -> Recorded:
    """Into the log before anything comes of it: what was used for what, in numbers, and nobody's name.

    by: who lets the box learn. version: of the model it starts from. Raises InputError for fewer cases than
    `least`, and records nothing then.
    """
    number = len(found.cases.labels)
    if number < least:
        why = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise InputError(
            "own records", f"{least} confirmed and consented cases", f"{number} ({why or 'none else'})"
        )
    body = Learned(purpose, learning.programme, learning.number, version, number, found.left_out)
    (recorded,) = store.add(Entry(LEARNED, by, msgspec.json.encode(body)))
    return recorded


def _visits(known: History, learning: Learning, ancestors: Ancestors) -> Iterator[Example | str]:
    """The oldest first: an example, or why it is none."""
    assessments = {entry.index: entry for entry in of_kind(known.entries, "assessment")}
    outcomes = [decoded(entry, Outcome) for entry in of_kind(known.entries, "outcome")]
    for index, basis in sorted(known.bases.items()):
        case = known.seen.get(basis.case)
        if case is None or index not in assessments:
            yield UNREADABLE
        elif not case.hers:
            yield OTHER_PATIENT
        elif case.now.case != case.came.case:
            yield CORRECTED
        else:
            confirmed = _confirmed([one for one in outcomes if one.assessment == index])
            if len(confirmed) != 1:
                yield SEVERAL if confirmed else NOT_CONFIRMED
            elif (name := confirmed.pop()) not in learning.conditions:
                yield OTHER
            else:
                assessment = decoded(assessments[index], Assessment)
                inputs = vector(case.now.case, assessment, learning, ancestors)
                yield Example(inputs, learning.conditions.index(name))


def _confirmed(outcomes: Iterable[Outcome]) -> set[str]:
    """Names of the diagnoses that the newest word on each says to be right. outcomes: the oldest first."""
    found = set[str]()
    for one in outcomes:
        found |= {item.removeprefix(DIAGNOSIS) for item in one.borne_out if item.startswith(DIAGNOSIS)}
        found -= {item.removeprefix(DIAGNOSIS) for item in one.refuted}
    return found
