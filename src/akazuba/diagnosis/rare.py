"""Every annotated disease at once, ranked by likelihood ratios from findings coded in HPO.

The likelihood-ratio method of LIRICAL (Robinson et al. 2020, Am J Hum Genet 107:403-417), reimplemented from
its description:

    log P(disease | findings) = log prior + sum of log LR(finding) + const
    LR(present) = P(finding | disease) / P(finding | any disease)

A disease that has no such finding but a more general one is met there, at a price; an absent finding counts
little, because a publication lists what was looked for. All diseases are scored together: for each finding
and each of its ancestors one array of diseases and one of shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from akazuba.errors import CaseError
from akazuba.records import FindingColumn
from akazuba.terminology import Ancestors, most_specific

Floats = npt.NDArray[np.float64]

GENERAL = 0.01
"""Price of meeting a disease only in a more general finding (fitted on one half of the gene cohorts)."""

ABSENT_FLOOR = 0.5
"""An absent finding takes at most half of a disease's odds (our choice: whoever publishes a case names as
absent what the disease often shows, so that the absence says little)."""

REPEATED = 0.05
"""Prior of an Orphanet or DECIPHER entry beside one of OMIM: most repeat or group OMIM's diseases (our
choice)."""

TEMPERATURE, TEMPERATURE_PER_FINDING = 1.5, 0.2
"""All log likelihood ratios are divided by 1.5 + 0.2 for each observed finding: those of one patient go
together, and the more there are, the less the next one adds (fitted on one half of the gene cohorts)."""

NONE_OF_THESE = 0.01
"""Prior that it is no disease of the list (fitted like the temperature)."""


class RareTable(Protocol):
    """What ranking needs of the knowledge. disease_ids: (D,) in the order of the rows."""

    @property
    def disease_ids(self) -> tuple[str, ...]: ...

    def column(self, finding: str) -> FindingColumn | None:
        """None when no disease has the finding or a kind of it."""


@dataclass(frozen=True)
class RareRanking:
    """posterior: (D + 1,) probability of each disease and, last, of none of these. by_finding: log LR (D,) of
    each finding that counted, in the order given. order: (D,) rows, best first.
    """

    posterior: Floats
    by_finding: Mapping[tuple[str, bool], Floats]
    order: npt.NDArray[np.int64]


def rank_rare(
    table: RareTable, observed: Iterable[str], excluded: Iterable[str], ancestors: Ancestors
) -> RareRanking:
    """Ranks every disease of the table.

    observed, excluded: ids in use today (`Terminology.canonical`). A finding that another observed one
    implies counts once, and present beats absent where a kind of what is denied is there.
    Raises CaseError when one finding is both present and absent.
    """
    given = tuple(dict.fromkeys(observed))
    present = most_specific(given, ancestors)
    implied = frozenset().union(*(ancestors(id_) for id_ in present))
    if both := [id_ for id_ in excluded if id_ in given]:
        raise CaseError(f"finding {both[0]}", "present or absent", "both")
    absent = [id_ for id_ in dict.fromkeys(excluded) if id_ not in implied]
    by_finding = {(id_, True): _present(table, id_, ancestors) for id_ in present}
    by_finding |= {(id_, False): _absent(table, id_) for id_ in absent}
    score = np.log(_prior(table.disease_ids))
    score[:-1] += sum(by_finding.values()) / (TEMPERATURE + TEMPERATURE_PER_FINDING * len(present))
    likely = np.exp(score - score.max())
    posterior = likely / likely.sum()
    return RareRanking(posterior, by_finding, np.argsort(-posterior[:-1], kind="stable"))


def _prior(disease_ids: tuple[str, ...]) -> Floats:
    """(D + 1,), sums to 1."""
    weight = np.array([1.0 if id_.startswith("OMIM:") else REPEATED for id_ in disease_ids])
    return np.append(weight / weight.sum() * (1 - NONE_OF_THESE), NONE_OF_THESE)


def _present(table: RareTable, id_: str, ancestors: Ancestors) -> Floats:
    """(D,) log LR of an observed finding: the best of the finding itself and of what it is a kind of."""
    log_lr = np.full(len(table.disease_ids), np.log(GENERAL))
    own = table.column(id_)
    for above in ancestors(id_) - {id_}:
        if (column := table.column(above)) is not None:
            ratio = np.log(GENERAL * column.shares / column.background)
            log_lr[column.rows] = np.maximum(log_lr[column.rows], ratio)
    if own is not None:
        log_lr[own.rows] = np.log(own.shares / own.background)
    return log_lr


def _absent(table: RareTable, id_: str) -> Floats:
    log_lr = np.zeros(len(table.disease_ids))
    if (column := table.column(id_)) is not None:
        log_lr[column.rows] = np.log(np.maximum(1.0 - column.shares.astype(float), ABSENT_FLOOR))
    return log_lr
