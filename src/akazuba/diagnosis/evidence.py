"""How much each finding and each model speaks for each condition: log likelihood ratios.

How findings meet the knowledge table (by is-a; `kinds` are a finding and all that it is a kind of):

- a reported finding counts as its nearest ancestor that the condition lists; an absent one denies
  everything below it; a condition has a finding at least as often as any kind of that finding;
- of a present finding and its ancestor only the more specific counts, of two absent ones the more
  general; two findings that meet a condition in the same place count once;
- what the patient had before counts half;
- findings of one group (`findings.json`) go together: after the strongest the others count half;
- a condition that says nothing of a present finding which the table knows pays `UNEXPLAINED`, of an
  absent one nothing; a finding that the table does not know says nothing about any condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from akazuba.errors import ArtefactError
from akazuba.records import Evidence, Finding, KnowledgeTable, ModelEvidence
from akazuba.terminology import Ancestors, kinds_of

Floats = npt.NDArray[np.float64]

LOG_CLIP = float(np.log(300.0))
"""No single finding moves the odds by more than 300 (our guard against figures from memory)."""

UNEXPLAINED = 0.5
"""LR of a present finding for a condition that says nothing of it: it may be there by chance, but a
second cause is needed (our choice; to be measured)."""

SAME_GROUP = 0.5
"""Weight of a further finding of one group (fever, then chills): they rise and fall together (our choice)."""

HISTORY = 0.5
"""Weight of what the note tells as history: "a history of fatigue" may be long over, or why she comes
(our choice)."""

SKIN = "HP:0000951"  # "Abnormality of the skin"


@dataclass(frozen=True)
class Weight:
    """One piece of evidence. log_lr: (D,), one value for each condition of the table.

    evidence: as it is shown, but for its likelihood ratio. finding: None when it is a model's, or of several
    findings together. of_findings: False for a model's.
    """

    evidence: Evidence
    log_lr: Floats
    finding: Finding | None = None
    of_findings: bool = True


@dataclass(frozen=True)
class Columns:
    """The table's findings with is-a. place: id -> column. kinds: of each column.
    sensitivity: (D, F), at least that of any kind of the finding. background: (F,).
    """

    table: KnowledgeTable
    place: Mapping[str, int]
    kinds: tuple[frozenset[str], ...]
    sensitivity: npt.NDArray[np.float32]
    background: Floats
    ancestors: Ancestors

    def proved_by(self, id_: str) -> list[int]:
        """Columns that a present finding proves, the most specific first."""
        above = [self.place[kind] for kind in kinds_of(id_, self.ancestors) & self.place.keys()]
        return sorted(above, key=lambda column: (-len(self.kinds[column]), column))

    def called(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Findings with each test named as the table has it: "malaria rapid test" for malaria-rdt."""
        names = self.table.finding_names
        return tuple(
            msgspec.structs.replace(finding, name=names[self.place[finding.id]])
            if finding.source == "test" and finding.id in self.place
            else finding
            for finding in findings
        )

    def ruled_out_by(self, id_: str) -> list[int]:
        """Columns that an absent finding rules out."""
        return [column for column, kinds in enumerate(self.kinds) if id_ in kinds]


def columns_of(table: KnowledgeTable, ancestors: Ancestors) -> Columns:
    """Once for a table: a tenth of a second."""
    own = {id_: column for column, id_ in enumerate(table.finding_ids)}
    kinds = tuple(kinds_of(id_, ancestors) for id_ in table.finding_ids)
    place = own | {id_: own[of] for id_, of in table.aliases.items()}
    sensitivity = table.sensitivity.copy()
    for column, above in enumerate(kinds):
        for general in above & place.keys():
            target = sensitivity[:, place[general]]
            np.fmax(target, table.sensitivity[:, column], out=target)
    completed = replace(table, sensitivity=sensitivity)  # the table as it was read is not held beside it
    return Columns(completed, place, kinds, sensitivity, table.background, ancestors)


def weigh(columns: Columns, findings: Iterable[Finding]) -> list[Weight]:
    """The weight of every finding that counts and that the table knows, in a fixed order."""
    weights = []
    table = columns.table
    taken = np.zeros(columns.sensitivity.shape, dtype=bool)
    given = tuple(findings)
    now = settled(given, columns.ancestors)
    for finding in (*now, *_history(given, now, columns.ancestors)):
        if finding.present:
            log_lr = _present(columns, columns.proved_by(finding.id), taken)
        else:
            log_lr = _absent(columns, finding.id)
        if log_lr is not None:
            log_lr = log_lr if finding.counts else HISTORY * log_lr
            shown = Evidence(finding.name, 1.0, table.version, finding.id, finding.present)
            weights.append(Weight(shown, log_lr, finding))
    return _once_a_group(columns, weights)


def _once_a_group(columns: Columns, weights: Sequence[Weight]) -> list[Weight]:
    """Of a group's present findings the strongest counts in full for a condition, the others in part."""
    places: dict[str, list[int]] = {}
    for number, weight in enumerate(weights):
        if weight.finding is not None and weight.finding.present:
            nearest = columns.proved_by(weight.finding.id)[0]
            places.setdefault(columns.table.groups[nearest], []).append(number)
    damped = list(weights)
    for numbers in places.values():
        together = np.stack([weights[number].log_lr for number in numbers])
        strongest = np.abs(together).argmax(axis=0)
        for place, number in enumerate(numbers):
            share = np.where(strongest == place, 1.0, SAME_GROUP)
            damped[number] = replace(weights[number], log_lr=weights[number].log_lr * share)
    return damped


def settled(findings: Iterable[Finding], ancestors: Ancestors) -> list[Finding]:
    """Those that count, each id once, without what another one already says; in a fixed order.

    Present beats absent where the same finding, or a more general one, is denied.
    """
    by_id: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda f: (f.id, not f.present, f.source != "note", f.name)):
        if finding.counts:
            by_id.setdefault(finding.id, finding)
    kinds = {id_: kinds_of(id_, ancestors) for id_ in by_id}
    present = {id_ for id_, finding in by_id.items() if finding.present}
    implied = set().union(*(kinds[id_] - {id_} for id_ in present))
    denied = by_id.keys() - present - implied
    return [
        by_id[id_]
        for id_ in sorted(by_id)
        if (id_ in present and id_ not in implied) or (id_ in denied and not kinds[id_] & (denied - {id_}))
    ]


def _history(findings: Iterable[Finding], now: Iterable[Finding], ancestors: Ancestors) -> list[Finding]:
    """What the patient had, each id once, unless something that is there now, or is denied now, says it."""
    said = {kind for finding in now for kind in kinds_of(finding.id, ancestors)}
    told = {
        f.id: f
        for f in findings
        if f.present and f.temporality == "past" and f.subject == "patient" and not f.uncertain
    }
    implied = {kind for id_ in told for kind in kinds_of(id_, ancestors) - {id_}}
    return [told[id_] for id_ in sorted(told.keys() - said - implied)]


def _present(columns: Columns, up: Sequence[int], taken: npt.NDArray[np.bool_]) -> Floats | None:
    """(D,) log LR of a present finding; marks in `taken` (D, F) where it met each condition.

    None when the table knows neither the finding nor anything more general.
    """
    if not up:
        return None
    conditions = np.arange(len(columns.sensitivity))
    listed = ~np.isnan(columns.sensitivity[:, up])
    nearest = np.asarray(up)[listed.argmax(axis=1)]
    ratio = np.log(columns.sensitivity[conditions, nearest] / columns.background[nearest])
    log_lr = np.where(listed.any(axis=1), _clipped(ratio), np.log(UNEXPLAINED))
    repeated = listed.any(axis=1) & taken[conditions, nearest]
    taken[conditions, nearest] |= listed.any(axis=1)
    return np.where(repeated, 0.0, log_lr)


def _absent(columns: Columns, id_: str) -> Floats | None:
    """(D,) log LR of an absent finding; None when it rules out nothing that the table knows.

    Where the finding itself is no column, the one below it speaks that speaks loudest against.
    """
    below = [columns.place[id_]] if id_ in columns.place else columns.ruled_out_by(id_)
    if not below:
        return None
    ratio = np.log((1 - columns.sensitivity[:, below]) / (1 - columns.background[below]))
    return np.nan_to_num(_clipped(np.fmin.reduce(ratio, axis=1)), nan=0.0)


def _clipped(log_lr: Floats) -> Floats:
    return np.clip(log_lr, -LOG_CLIP, LOG_CLIP)


# --- models -------------------------------------------------------------------------------------


def pooled(evidence: Sequence[ModelEvidence]) -> tuple[ModelEvidence, ...]:
    """One evidence for each model: several images of one lesion are no independent witnesses, so
    their log likelihood ratios are averaged, not added.

    >>> a = ModelEvidence("skin", {"melanoma": 4.0}, reads_note=True)
    >>> b = ModelEvidence("skin", {"melanoma": 1.0}, reads_note=True)
    >>> pooled([a, b])[0].likelihood_ratios
    {'melanoma': 2.0}
    """
    by_model: dict[str, list[ModelEvidence]] = {}
    for item in evidence:
        by_model.setdefault(item.model, []).append(item)
    return tuple(
        ModelEvidence(
            model,
            {
                name: float(np.exp(np.mean([np.log(item.likelihood_ratios[name]) for item in items])))
                for name in items[0].likelihood_ratios
            },
            items[0].reads_note,
        )
        for model, items in by_model.items()
    )


def with_model(
    weights: Sequence[Weight],
    model: ModelEvidence,
    columns: Columns,
    prior: Floats,
) -> list[Weight]:
    """The weights and one more, the model's. What it read in the note is not counted twice.

    A model that reads the note has seen there what the note says of the skin. Those findings keep their
    weight for all other conditions; the conditions that the model scores share one weight instead, the
    log of the prior-weighted mean of their likelihoods: the note still tells a lesion from a cough, but
    telling one lesion from another is left to the model.

    prior: (D + 1,), as in `differential.rank`.
    Raises ArtefactError when the model scores a condition that the table does not have.
    """
    table, ancestors = columns.table, columns.ancestors
    place = {condition.id: row for row, condition in enumerate(table.conditions)}
    if unknown := sorted(model.likelihood_ratios.keys() - place.keys()):
        raise ArtefactError(f"model {model.model}", f"conditions of knowledge {table.version}", unknown[0])
    scored = [place[id_] for id_ in model.likelihood_ratios]
    ratios = np.array(list(model.likelihood_ratios.values()))
    log_lr = np.zeros(len(table.conditions))
    log_lr[scored] = _clipped(np.log(np.maximum(ratios, 1e-9)))
    its_own = Weight(Evidence(f"image ({model.model})", 1.0, model.model), log_lr, of_findings=False)
    read = [weight for weight in weights if model.reads_note and _is_skin_of_note(weight.finding, ancestors)]
    if not read:
        return [*weights, its_own]
    together = np.sum([weight.log_lr[scored] for weight in read], axis=0)
    shared = np.zeros(len(table.conditions))
    shared[scored] = np.log((prior[scored] * np.exp(together)).sum() / prior[scored].sum())
    names = ", ".join(weight.evidence.finding for weight in read)
    of_note = Evidence(f"the note's skin findings as a whole ({names})", 1.0, table.version)
    others = np.ones(len(table.conditions))
    others[scored] = 0.0
    kept = [
        Weight(weight.evidence, weight.log_lr * others, weight.finding)
        if _is_skin_of_note(weight.finding, ancestors)
        else weight
        for weight in weights
    ]
    return [*kept, Weight(of_note, shared), its_own]


def _is_skin_of_note(finding: Finding | None, ancestors: Ancestors) -> bool:
    return finding is not None and finding.source == "note" and SKIN in kinds_of(finding.id, ancestors)
