"""A consultation in the log: the case as it came, the assessment, what it stood on, what was decided.

Nothing is final without a decision. A decision is bound to the assessment's leaf of the log and signed by the
box on behalf of the session in which she decided: it says that this box took it from this user. A newer one
supersedes an older, which stays. What it turned out to be comes back as an outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta

from akazuba.errors import ArtefactError, InputError, UntrustedError, encodable
from akazuba.governance.audit_anchors import log_keys
from akazuba.governance.responsibility import (
    Digest,
    Document,
    Keys,
    Name,
    NamedDigest,
    Sealed,
    believing,
    held,
    seal,
)
from akazuba.governance.roles import verdict as role_verdict
from akazuba.governance.sessions import Granted
from akazuba.privacy.keys.identity import Identity
from akazuba.records import Assessment, Case, Level
from akazuba.storage.store import Entry, Recorded, Store

Index = Annotated[int, Meta(ge=0, lt=1 << 53)]
Reason = Annotated[str, Meta(max_length=4000)]
Choice = Literal["accept", "change", "refuse"]


class Versions(Document, frozen=True):
    """What ran. release, configuration: SHA-256 of the signed documents, "" for none.

    files: as `installed_digests` gave them then. overlays: local rules by name, with SHA-256 of each file.
    """

    release: NamedDigest = ""
    configuration: NamedDigest = ""
    files: Mapping[Name, Digest] = {}
    overlays: Mapping[Name, Digest] = {}
    formulary: NamedDigest = ""


UNKNOWN = Versions()


class Basis(Document, frozen=True):
    """Body of `basis`: what an assessment stood on. source: the entry of the document that the case was read
    from, when it did not come as a case. pictures: their entries, by path.
    """

    assessment: Index
    case: Index
    ran: Versions
    pictures: Mapping[str, Index] = {}
    source: Index | None = None


class Change(Document, frozen=True):
    """item: what of the advice, such as `triage.level` or `plan: amoxicillin`."""

    item: Name
    advised: Reason
    instead: Reason


class Decision(Document, frozen=True):
    """What is signed. leaf: the assessment's, in hex. glass: index of the entry of a broken glass that it
    rests on.
    """

    assessment: Index
    leaf: Digest
    patient: str
    choice: Choice
    changes: tuple[Change, ...]
    reason: Reason
    user: Name
    role: Name
    session: str
    decided_ms: int
    glass: Index | None = None


class Outcome(Document, frozen=True):
    """Body of `outcome`. level: how urgent it turned out to be. borne_out, refuted: items of the advice that
    this showed to be right and wrong.
    """

    assessment: Index
    what: Annotated[str, Meta(min_length=3, max_length=4000)]
    source: Reason = ""
    level: Level | None = None
    borne_out: tuple[Name, ...] = ()
    refuted: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Made:
    """A decision as it stands in the log."""

    index: int
    at_ms: int
    decision: Decision


@dataclass(frozen=True)
class Told:
    """An outcome as it stands in the log."""

    index: int
    at_ms: int
    by: str
    outcome: Outcome


@dataclass(frozen=True)
class Open:
    """Nobody has decided: the advice is only advice. unsound: decisions that do not count, and why."""

    assessment: int
    unsound: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    """newest: what holds. superseded: those before, the oldest first."""

    assessment: int
    newest: Made
    superseded: tuple[Made, ...]
    unsound: Mapping[int, str] = field(default_factory=dict)


Standing = Open | Decided


def record_consultation(
    store: Store,
    case_bytes: bytes,
    assessment_bytes: bytes,
    by: str,
    patient: str = "",
    ran: Versions = UNKNOWN,
    pictures: Mapping[str, bytes] | None = None,
    source: bytes | None = None,
) -> tuple[Recorded, Recorded]:
    """The entries of the case and of the assessment; all is recorded or nothing.

    case_bytes: Case JSON as it came. assessment_bytes: Assessment JSON, untranslated; its `audit_index` is
    set here. pictures: by the path that the case names them with. source: the document that the case was read
    from (a FHIR Bundle). Raises InputError for two documents that do not belong together.
    """
    case = _given(case_bytes, "case", Case)
    assessment = _given(assessment_bytes, "assessment", Assessment)
    if case.id != assessment.case_id:
        raise InputError("assessment, case_id", case.id, assessment.case_id)
    came = case_bytes if source is None else source
    if (provenance := assessment.provenance) is not UNSET:
        digest = sha256(came.strip()).hexdigest()
        if provenance.input_sha256 != digest:
            raise InputError(
                "assessment, input_sha256", f"{digest[:16]}…, of the case", provenance.input_sha256
            )
    unknown = sorted(set(pictures or {}) - {image.path for image in case.images})
    if unknown:
        raise InputError("pictures", "paths that the case names", unknown[0])

    first, entries = store.size, list[Entry]()
    at: dict[str, int] = {}
    for path, data in sorted((pictures or {}).items()):
        at[encodable(path)] = first + len(entries)
        entries.append(Entry("picture", by, data, patient))
    source_at = first + len(entries) if source is not None else None
    if source is not None:
        entries.append(Entry("source", by, source, patient))
    case_at, assessment_at = first + len(entries), first + len(entries) + 1
    if provenance is not UNSET:
        known = msgspec.structs.replace(provenance, audit_index=assessment_at)
        assessment = msgspec.structs.replace(assessment, provenance=known)
    basis = msgspec.json.encode(Basis(assessment_at, case_at, ran, at, source_at))
    _given(basis, "basis", Basis)
    entries += [
        Entry("case", by, case_bytes, patient),
        Entry("assessment", "box", msgspec.json.encode(assessment), patient),
        Entry("basis", "box", basis, patient),
    ]
    recorded = store.add(*entries)
    return recorded[-3], recorded[-2]


def basis_entry(store: Store, assessment: Recorded) -> Recorded | None:
    """None for an assessment that was recorded without one."""
    for entry in store.entries(patient=assessment.patient, kind="basis", first=assessment.index):
        if stored(entry, Basis).assessment == assessment.index:
            return entry
    return None


def basis_of(store: Store, assessment: Recorded) -> Basis:
    """Raises InputError for an assessment that was recorded without one."""
    entry = basis_entry(store, assessment)
    if entry is None:
        raise InputError(f"assessment {assessment.index}", "one with what it stood on", "no `basis` entry")
    return stored(entry, Basis)


def decide(
    store: Store,
    identity: Identity,
    granted: Granted,
    assessment: int,
    patient: str,
    choice: Choice,
    reason: str = "",
    changes: Sequence[Change] = (),
    *,
    now_ms: int,
) -> Recorded:
    """granted: from `Door.demand` of the action `decide`. identity: the box's. now_ms: since 1970.

    Raises InputError for an index that is no assessment of this patient, for one that was erased, without the
    right, and for a change or refusal without a reason.
    """
    entry = assessment_at(store, assessment, patient)
    try:
        box_keys(store)(identity.public.key_id)
    except UntrustedError as problem:
        expected = "a key that the log names: `akazuba audit checkpoint` names it"
        raise InputError("identity", expected, problem.found) from problem
    glass = granted.verdict.glass
    if not granted.verdict.allowed or not (role_verdict(granted.user.role, "decide").allowed or glass):
        raise InputError("right", "a user who may decide", granted.verdict.why)
    if glass is not None and store.entry(glass).patient != patient:
        raise InputError("right", f"a glass broken for {patient or 'nobody'}", f"entry {glass}")
    reason = encodable(reason.strip())
    if choice != "accept" and not any(map(str.isalpha, reason)):
        raise InputError("reason", f"one, to {choice} the advice", "none")
    if (choice == "change") != bool(changes):
        found = f"{len(changes)} of them"
        raise InputError("changes", "what is done instead, for a change and for nothing else", found)
    decision = Decision(
        assessment=assessment,
        leaf=store.node(0, assessment).hex(),
        patient=patient,
        choice=choice,
        changes=tuple(changes),
        reason=reason,
        user=granted.user.id,
        role=granted.user.role,
        session=granted.session.name,
        decided_ms=now_ms,
        glass=glass,
    )
    body = seal(identity, "decision", decision)
    held(body, "decision", Decision, None)  # what is too long for a reader is refused now
    (recorded,) = store.add(Entry("decision", granted.user.id, body, entry.patient))
    return recorded


def report_outcome(store: Store, by: str, patient: str, outcome: Outcome) -> Recorded:
    """What it turned out to be. Raises InputError like `decide`."""
    assessment_at(store, outcome.assessment, patient)
    return put(store, "outcome", by, outcome, patient)


def state_of(store: Store, assessment: int, keys: Keys | None = None) -> Standing:
    """keys: those that sign for the box; by default all that the log names. Raises InputError."""
    entry = assessment_at(store, assessment, None)
    decisions = store.entries(patient=entry.patient, kind="decision", first=assessment)
    return _standing(store, entry, decisions, keys or box_keys(store))


def states_of(store: Store, patient: str, assessments: Iterable[Recorded]) -> dict[int, Standing]:
    """As `state_of` by all keys of the box, of several of one patient's: her decisions are read once."""
    keys, about = box_keys(store), dict[object, list[Recorded]]()
    for one in store.entries(patient=patient, kind="decision"):
        try:
            said = _about(one)
        except ArtefactError:
            said = None  # of any of them: it may be about each
        about.setdefault(said, []).append(one)
    found = dict[int, Standing]()
    for entry in assessments:
        hers = [one for said in (entry.index, None) for one in about.get(said, ()) if one.index > entry.index]
        found[entry.index] = _standing(store, entry, sorted(hers, key=lambda one: one.index), keys)
    return found


def _standing(store: Store, assessment: Recorded, decisions: Iterable[Recorded], keys: Keys) -> Standing:
    """decisions: that may be about it, the oldest first."""
    made, unsound = list[Made](), dict[int, str]()
    for one in decisions:
        try:
            if _about(one) != assessment.index:
                continue
            found = held(one.body or b"", "decision", Decision, keys)
            problem = found.problem or _unbound(store, assessment, one, found.document)
        except (UntrustedError, ArtefactError) as wrong:
            unsound[one.index] = str(wrong)
            continue
        if problem:
            unsound[one.index] = problem
        else:
            made.append(Made(one.index, one.at_ms, found.document))
    if not made:
        return Open(assessment.index, unsound)
    return Decided(assessment.index, made[-1], tuple(made[:-1]), unsound)


def outcomes_of(store: Store, assessment: int) -> list[Told]:
    """The oldest first."""
    entry = assessment_at(store, assessment, None)
    return outcomes_about(store, entry.patient, assessment).get(assessment, [])


def outcomes_about(store: Store, patient: str, first: int = 0) -> dict[int, list[Told]]:
    """A patient's, by the assessment; the oldest first. first: of the log."""
    found = dict[int, list[Told]]()
    for one in store.entries(patient=patient, kind="outcome", first=first):
        outcome = stored(one, Outcome)
        found.setdefault(outcome.assessment, []).append(Told(one.index, one.at_ms, one.by, outcome))
    return found


def assessment_at(store: Store, index: int, patient: str | None) -> Recorded:
    """patient: whose it must be; None for anybody's. Raises InputError."""
    entry = store.entry(index)
    if entry.kind != "assessment":
        raise InputError(f"entry {index}", "an assessment", f"`{entry.kind}`")
    if patient is not None and entry.patient != patient:
        raise InputError(f"assessment {index}", f"one of {patient or 'no patient'}", "another patient's")
    if entry.body is None:
        raise InputError(f"assessment {index}", "one that was not erased", "its patient was erased")
    return entry


def box_keys(store: Store) -> Keys:
    """All that the log says the box signed with."""
    return believing(*(verifier.public for verifier in log_keys(store)))


def put(store: Store, kind: str, by: str, body: Document, patient: str) -> Recorded:
    """Records it as JSON. Raises InputError for what its own reader would refuse."""
    (recorded,) = store.add(Entry(kind, by, encoded(kind, body), patient))
    return recorded


def encoded(kind: str, body: Document) -> bytes:
    """As JSON. Raises InputError for what its own reader would refuse."""
    data = msgspec.json.encode(body)
    _given(data, kind, type(body))
    return data


Shape = TypeVar("Shape", bound=msgspec.Struct)


def stored(entry: Recorded, type_: type[Shape]) -> Shape:
    """An entry's body. Raises ArtefactError; InputError for one that was erased."""
    if entry.body is None:
        raise InputError(f"entry {entry.index}", "one that was not erased", "its patient was erased")
    try:
        return msgspec.json.decode(entry.body, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise ArtefactError(f"entry {entry.index}", f"a stored {entry.kind}", str(problem)) from problem


def _about(entry: Recorded) -> object:
    """Which assessment a decision claims to be about, before its signature is believed."""
    claimed = msgspec.json.decode(stored(entry, Sealed).document)
    return claimed.get("assessment") if isinstance(claimed, dict) else None


def _unbound(store: Store, assessment: Recorded, entry: Recorded, said: Decision) -> str:
    """Why a signed decision isn't one about this assessment by whom its entry names, else ""."""
    leaf = store.node(0, assessment.index).hex()
    if said.leaf != leaf:
        return f"decision: expected the leaf {leaf[:16]}…, found {said.leaf[:16]}…"
    if said.patient != entry.patient or said.user != entry.by:
        return f"decision: expected {entry.by} on {entry.patient}, found {said.user} on {said.patient}"
    return ""


def _given(data: bytes, item: str, type_: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(item, f"a {item} as JSON", str(problem)) from problem
