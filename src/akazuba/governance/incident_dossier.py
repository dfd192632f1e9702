"""What the log holds about one assessment, read for the question who contributed to a harm.

Every entry that is used is hashed anew and proved to be in the log first (RFC 9162, 2.1.3). Where one is not,
nothing further is read: altered evidence blames nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from akazuba.errors import AkazubaError, ArtefactError, InputError
from akazuba.governance.audit_proofs import leaf_of
from akazuba.governance.checkpoint import Checkpoint, Verifier, opened
from akazuba.governance.course import Acknowledged, Alarm, Correction, Duty, Happened, happened
from akazuba.governance.decisions import (
    Basis,
    Standing,
    Told,
    assessment_at,
    basis_entry,
    outcomes_of,
    state_of,
    stored,
)
from akazuba.governance.responsibility import (
    Configuration,
    Held,
    Keys,
    Notice,
    Release,
    held_in,
    overlays_of,
)
from akazuba.merkle import inclusion_proof, verify_inclusion
from akazuba.records import Assessment
from akazuba.storage.store import Head, Recorded, Store

KINDS = frozenset(
    (
        *("case", "assessment", "basis", "picture", "source", "decision", "outcome", "correction"),
        *("alarm", "acknowledged", "duty", "release", "configuration", "notice", "overlay", "incident"),
    )
)
"""What is used of the log: of the patient and of nobody."""


@dataclass(frozen=True)
class Believed:
    """Whose signatures count. None: nobody said whose; then they are not checked, and the report says so.

    box: None is all that the log names.
    """

    developer: Keys | None = None
    deployer: Keys | None = None
    box: Keys | None = None


@dataclass(frozen=True)
class Inclusion:
    """Whether what is used is what was recorded. problems: by entry. size: of the log. anchored: how many of
    the entries a signed checkpoint counts; the others stand against the store's own root alone.
    """

    entries: tuple[int, ...]
    problems: Mapping[int, str]
    size: int
    anchored: int


@dataclass(frozen=True)
class Dossier:
    """at_ms: when the assessment was recorded. Nothing else is filled where `inclusion` has problems.

    case: JSON as it came, its index and who entered it. newer: a configuration that stood ready and was not
    used. overlays: all files of local rules that the log holds, by SHA-256.
    """

    what: str
    incident: int | None
    index: int
    at_ms: int
    patient: str
    inclusion: Inclusion
    assessment: Assessment | None = None
    case: bytes = b""
    case_at: int = -1
    case_by: str = ""
    basis: Basis | None = None
    basis_at: int = -1
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    release: Held[Release] | None = None
    configuration: Held[Configuration] | None = None
    newer: Held[Configuration] | None = None
    notices: tuple[Held[Notice], ...] = ()
    overlays: Mapping[str, bytes] = field(default_factory=dict)
    corrections: tuple[Happened[Correction], ...] = ()
    alarms: tuple[Happened[Alarm], ...] = ()
    acknowledged: tuple[Happened[Acknowledged], ...] = ()
    duty: tuple[Happened[Duty], ...] = ()
    standing: Standing | None = None
    outcomes: tuple[Told, ...] = ()


def dossier(
    store: Store,
    assessment: int,
    believed: Believed,
    incident: int | None = None,
    what: str = "",
    note: str = "",
    verifiers: Sequence[Verifier] = (),
) -> Dossier:
    """note: a checkpoint of the log; verifiers: its keys.

    Raises InputError for what is no assessment, or erased; UntrustedError for a checkpoint that is not the
    log's.
    """
    anchor = opened(note, verifiers)[0] if note else None
    found = {head[0]: (head, stored_hash) for head, stored_hash in store.heads()}
    if assessment not in found or found[assessment][0][2] != "assessment":
        kind = found[assessment][0][2] if assessment in found else "none"
        raise InputError(f"entry {assessment}", "an assessment", f"`{kind}`")
    _, at_ms, _, _, patient = found[assessment][0]
    inclusion = included(store, found, patient, anchor)
    begun = Dossier(what, incident, assessment, at_ms, patient, inclusion)
    return begun if inclusion.problems else _filled(store, begun, believed)


def included(
    store: Store, found: Mapping[int, tuple[Head, bytes]], patient: str, anchor: Checkpoint | None
) -> Inclusion:
    """found: every entry's head and the SHA-256 of its stored bytes."""
    problems = {index: "missing" for index in range(store.size) if index not in found}
    used = [index for index, (head, _) in found.items() if head[2] in KINDS and head[4] in (patient, "")]
    anchored = 0
    for index in used:
        counted = anchor is not None and index < anchor.size
        size, root = (anchor.size, anchor.root) if counted and anchor else (store.size, store.root)
        try:
            path = inclusion_proof(index, size, store.node)
            verify_inclusion(leaf_of(*found[index]), index, size, path, root)
        except AkazubaError as problem:
            problems[index] = str(problem)
        anchored += counted
    return Inclusion(tuple(used), dict(sorted(problems.items())), store.size, anchored)


def _filled(store: Store, begun: Dossier, believed: Believed) -> Dossier:
    entry = assessment_at(store, begun.index, None)
    based = basis_entry(store, entry)
    found = replace(
        begun,
        assessment=stored(entry, Assessment),
        notices=tuple(held_in(store, "notice", Notice, believed.developer)),
        overlays=overlays_of(store),
        duty=tuple(happened(store, "duty", Duty, "")),
        standing=state_of(store, begun.index, believed.box),
        outcomes=tuple(outcomes_of(store, begun.index)),
        alarms=tuple(
            it for it in happened(store, "alarm", Alarm, entry.patient) if it.body.assessment == begun.index
        ),
        acknowledged=tuple(
            it
            for it in happened(store, "acknowledged", Acknowledged, entry.patient)
            if it.body.assessment == begun.index
        ),
    )
    return found if based is None else _based(store, found, based, believed)


def _based(store: Store, found: Dossier, based: Recorded, believed: Believed) -> Dossier:
    """With the case, the documents that were named, and what was corrected."""
    basis = stored(based, Basis)
    case = store.entry(basis.case)
    if case.kind != "case" or case.patient != found.patient:
        expected = f"the case of assessment {found.index}"
        raise ArtefactError(f"entry {basis.case}", expected, f"`{case.kind}` of {case.patient or 'nobody'}")
    releases = held_in(store, "release", Release, believed.developer)
    sites = held_in(store, "configuration", Configuration, believed.deployer)
    site = next((it for it in sites if it.sha256 == basis.ran.configuration), None)
    corrections = happened(store, "correction", Correction, found.patient)
    return replace(
        found,
        basis=basis,
        basis_at=based.index,
        case=case.body or b"",
        case_at=case.index,
        case_by=case.by,
        pictures={path: store.entry(at).body or b"" for path, at in basis.pictures.items()},
        release=next((it for it in releases if it.sha256 == basis.ran.release), None),
        configuration=site,
        newer=_newer(site, sites, found) if site else None,
        corrections=tuple(it for it in corrections if it.body.case == case.index),
    )


def _newer(
    site: Held[Configuration], sites: Sequence[Held[Configuration]], found: Dossier
) -> Held[Configuration] | None:
    """The last one of the same place that was adopted after the one used, and before the assessment."""
    ready = [
        it
        for it in sites
        if it.index is not None
        and (site.index or 0) < it.index < found.index
        and it.document.site == site.document.site
        and it.document.valid_from_s <= found.at_ms / 1000 < it.document.valid_until_s
        and not it.problem
    ]
    return ready[-1] if ready else None
