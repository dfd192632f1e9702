"""What the entries about one patient are in FHIR, with what was decided and corrected afterwards.

A case that was corrected goes out as it should have come. What was entered for another patient says that it
was and nothing else: she did not agree here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.fhir import export as fhir
from akazuba.fhir.advice import Review, advice
from akazuba.fhir.events import Json, consent
from akazuba.fhir.visit import Visit, put_right, visit, withheld
from akazuba.governance.audit_reads import READS
from akazuba.governance.consent import PURPOSES, Consent, Word, words
from akazuba.governance.course import WRONG_PATIENT, Correction, case_values, corrected
from akazuba.governance.decisions import Decided, Outcome, box_keys, state_of
from akazuba.governance.fhir_identity import KIND as IDENTIFIERS, Identifiers, as_fhir
from akazuba.governance.responsibility import Keys
from akazuba.records import Assessment, Case
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store

NOT_HERS = {*READS, "exported", "export-refused", "read-refused", "break-glass"}
"""Entries about dealing with the record; whoever wants them asks who read it (`audit_reads.who_read`)."""

_DONE = {"accept": "accepted", "change": "changed", "refuse": "refused"}


@dataclass(frozen=True)
class Kept:
    """One resource. entry: which it comes from. index, at_ms: of the entry that last changed it, which is its
    version.
    """

    entry: int
    index: int
    at_ms: int
    resource: Json


class Basis(msgspec.Struct, frozen=True):
    """Of a `basis` entry: what it joins."""

    assessment: int
    case: int
    pictures: dict[str, int] = {}
    source: int | None = None


@dataclass(frozen=True)
class Seen:
    """One case. came: as it was recorded. now: as it was corrected. last: the entry that last changed it.
    hers: False for one that was entered for another patient.
    """

    came: Visit
    now: Visit
    last: Recorded
    hers: bool


@dataclass(frozen=True)
class History:
    """entries: all, by the log. seen: by the entry of the case. bases: by the entry of the assessment.

    hidden: entries that tell of another patient.
    """

    person: Person
    about: str
    entries: Sequence[Recorded]
    seen: Mapping[int, Seen]
    bases: Mapping[int, Basis]
    hidden: frozenset[int]

    @property
    def newest(self) -> Visit | None:
        """The last case that is hers."""
        return next((one.now for one in reversed([*self.seen.values()]) if one.hers), None)


Body = TypeVar("Body", Assessment, Basis, Correction, Identifiers, Outcome)


def history(person: Person, entries: Sequence[Recorded], *, note_of_today: bool) -> History:
    """note_of_today: whether the newest note is read back as today's."""
    corrections: dict[int, list[tuple[Recorded, Correction]]] = {}
    for entry in of_kind(entries, "correction"):
        said = decoded(entry, Correction)
        corrections.setdefault(said.case, []).append((entry, said))
    seen = {case.index: _seen(case, corrections.get(case.index, [])) for case in of_kind(entries, "case")}
    found = [(entry.index, decoded(entry, Basis)) for entry in of_kind(entries, "basis")]
    bases = {basis.assessment: basis for _, basis in found}
    wrong = {index for index, one in seen.items() if not one.hers}
    hidden = wrong | {entry.index for index in wrong for entry, _ in corrections[index]}
    for index, basis in found:
        if basis.case in wrong:
            source = set() if basis.source is None else {basis.source}
            hidden |= {index, basis.assessment, *basis.pictures.values(), *source}
    outcomes = [(entry.index, decoded(entry, Outcome).assessment) for entry in of_kind(entries, "outcome")]
    hidden |= {index for index, about in outcomes if about in hidden}
    if note_of_today and (hers := [index for index, one in seen.items() if one.hers]):
        one = seen[hers[-1]]
        today = [Visit(it.index, it.at_ms, it.case, newest=True) for it in (one.came, one.now)]
        seen[hers[-1]] = Seen(today[0], today[1], one.last, hers=True)
    return History(person, fhir.resource_id(person.id), entries, seen, bases, frozenset(hidden))


def resources(store: Store, known: History, at_ms: int) -> list[Kept]:
    """All but the patient herself, in the order of their entries. at_ms: now, for consents that end."""
    keys = box_keys(store)
    said = {word.entry.index: word for word in words(store, known.person.id)}
    made = list[Kept]()
    for entry in known.entries:
        if entry.body is None:
            continue
        if seen := known.seen.get(entry.index):
            was, now = visit(known.about, seen.came), visit(known.about, seen.now)
            told = put_right(was, now) if seen.hers else [withheld(resource) for resource in was]
            made += _kept(entry, seen.last, told)
        elif entry.kind == "assessment":
            made += _advice(known, entry, *_review(store, entry, keys))
        elif word := said.get(entry.index):
            made += _consents(word, list(said.values()), known.about, at_ms)
    return made


def patient(known: History) -> Kept:
    """Her version is that of the newest entry that her particulars come from."""
    of = fhir.Particulars(known.person.id, known.person.name, known.person.born, known.person.sex)
    changes = [entry for entry in known.entries if entry.kind in ("patient", IDENTIFIERS)]
    changes += [seen.last for seen in known.seen.values()]
    last = max(changes, key=lambda entry: entry.index)
    others = [
        one
        for entry in of_kind(known.entries, IDENTIFIERS)
        for one in decoded(entry, Identifiers).identifiers
    ]
    said = fhir.patient(of, known.newest, [as_fhir(one) for one in dict.fromkeys(others)])
    return Kept(last.index, last.index, last.at_ms, said)


def of_kind(entries: Iterable[Recorded], kind: str) -> list[Recorded]:
    """Those that can be read."""
    return [entry for entry in entries if entry.kind == kind and entry.body is not None]


def decoded(entry: Recorded, type_: type[Body]) -> Body:
    try:
        return msgspec.json.decode(entry.body or b"", type=type_)
    except msgspec.MsgspecError as problem:
        raise ArtefactError(f"entry {entry.index}", f"a stored {entry.kind}", str(problem)) from problem


def _seen(entry: Recorded, corrections: Sequence[tuple[Recorded, Correction]]) -> Seen:
    try:
        values = case_values(entry)
        came = msgspec.convert(values, Case)
        hers = True
        for _, said in corrections:
            if said.field == WRONG_PATIENT:
                hers = False
            else:
                values = corrected(values, said)
        now = msgspec.convert(values, Case)
    except (InputError, msgspec.ValidationError) as problem:
        raise ArtefactError(
            f"entry {entry.index}", "a stored case and its corrections", str(problem)
        ) from problem
    last = max([entry, *(correction for correction, _ in corrections)], key=lambda it: it.index)
    visits = [Visit(entry.index, entry.at_ms, case, newest=False) for case in (came, now)]
    return Seen(visits[0], visits[1], last, hers)


def _advice(known: History, entry: Recorded, review: Review, last: Recorded) -> list[Kept]:
    said = decoded(entry, Assessment)
    seen = _stood_on(known, entry.index, said)
    encounter = seen.now.encounter if seen else ""
    if seen and seen.last.index > last.index:
        last = seen.last
    if seen and seen.hers and seen.now.case != seen.came.case:
        late = f"its case was corrected afterwards (entry {seen.last.index})"
        review = Review(review.stand, f"{review.words}; {late}")
    made = advice(known.about, f"entry-{entry.index}", entry.at_ms, said, encounter, review)
    if seen and not seen.hers:
        made = [withheld(resource) for resource in made]
    return _kept(entry, last, made)


def _stood_on(known: History, assessment: int, said: Assessment) -> Seen | None:
    """By its basis; of one without, the case of that id that was recorded last before it."""
    if basis := known.bases.get(assessment):
        return known.seen.get(basis.case)
    before = [one for index, one in known.seen.items() if index < assessment]
    return next((one for one in reversed(before) if one.came.case.id == said.case_id), None)


def _review(store: Store, assessment: Recorded, keys: Keys) -> tuple[Review, Recorded]:
    """What holds of it now, and the entry that says so."""
    standing = state_of(store, assessment.index, keys)
    if not isinstance(standing, Decided):
        return Review(), assessment
    made = standing.newest
    said = made.decision
    parts = [f"{_DONE[said.choice]} by {said.user} ({said.role}), entry {made.index}"]
    parts += [f"{one.item}: advised {one.advised}, instead {one.instead}" for one in said.changes]
    parts += [f"because: {said.reason}"] if said.reason else []
    return Review(said.choice, "; ".join(parts)), store.entry(made.index)


def _consents(word: Word, all_words: list[Word], about: str, at_ms: int) -> list[Kept]:
    """One for each purpose: active while it is the newest word and has not ended."""
    ends = word.until_ms
    shown = word.said.shown if isinstance(word.said, Consent) else None
    made = []
    for purpose in PURPOSES:
        if purpose not in word.said.purposes:
            continue
        later = (one for one in all_words if one.entry.index > word.entry.index)
        after = next((one for one in later if purpose in one.said.purposes), None)
        counts = after is None and (ends is None or at_ms < ends)
        said = {
            "purpose": purpose,
            "status": "active" if counts else "inactive",
            "type": "permit" if shown else "deny",
            "agreed_by": str(word.said.by),
            "language": shown.language if shown else "",
            "text_sha256": shown.sha256 if shown else "",
            "text_version": shown.version if shown else "",
        }
        made += _kept(
            word.entry,
            (after or word).entry,
            [consent(about, word.entry.index, word.entry.at_ms, said, ends)],
        )
    return made


def _kept(entry: Recorded, last: Recorded, made: Iterable[Json]) -> list[Kept]:
    return [Kept(entry.index, last.index, last.at_ms, resource) for resource in made]
