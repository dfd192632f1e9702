"""Findings in, diseases out: the knowledge alone, over every annotated rare disease.

ranker = open_ranker(settings)
answer = ranker.answer(RankQuery("p1", observed=("HP:0001166", "HP:0001083")), top=10)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from akazuba.diagnosis.rare import RareRanking, rank_rare
from akazuba.errors import CaseError
from akazuba.knowledge.conditions import open_knowledge
from akazuba.knowledge.store import Store, open_store
from akazuba.language.reader import Reader
from akazuba.records import Evidence, Name, Value
from akazuba.settings import Settings
from akazuba.terminology import Terminology, most_specific, open_terminology

EXPLAINED = 3
"""Diseases that are shown with their evidence."""

LEAST_LOG_LR = 0.05


class RankQuery(msgspec.Struct, frozen=True):
    """Findings to be ranked alone, without a consultation. Other fields of a line are left alone.

    age_years, sex: taken and not used: neither moved the ranking of rare diseases (decision 9).
    """

    id: Name
    observed: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    age_years: float | None = None
    sex: str | None = None

    def with_excluded(self, ids: tuple[str, ...]) -> RankQuery:
        return msgspec.structs.replace(self, excluded=self.excluded + ids)


class RankedDisease(Value, frozen=True, omit_defaults=True):
    id: str
    name: str
    probability: float
    evidence: tuple[Evidence, ...] = ()


class RankAnswer(Value, frozen=True, omit_defaults=True):
    """differential: best first. unknown: ids of the query that the terminology does not know, left out.

    abstained: nothing was ranked, with `why`. error: why the query could not be ranked; then nothing else
    is there.
    """

    id: str
    differential: tuple[RankedDisease, ...] = ()
    none_of_these: float | None = None
    unknown: tuple[str, ...] = ()
    abstained: bool = False
    why: str = ""
    knowledge: str = ""
    error: str = ""


@dataclass(frozen=True)
class Ranker:
    terminology: Terminology
    store: Store

    def answer(self, query: RankQuery, top: int, *, explain: bool = False) -> RankAnswer:
        """The first `top` diseases of one query.

        An id that the terminology does not know is named in `unknown` and left out; without any finding that
        is present the answer abstains. Raises CaseError for a finding both present and absent, and when
        nothing that is present is known.
        """
        if not query.observed:
            return RankAnswer(query.id, abstained=True, why="no finding is present")
        ranking, unknown = self.ranking(query)
        first = [int(row) for row in ranking.order[:top]]
        return RankAnswer(
            id=query.id,
            differential=tuple(
                RankedDisease(
                    id=self.store.disease_ids[row],
                    name=self.store.name(self.store.disease_ids[row]),
                    probability=round(float(ranking.posterior[row]), 6),
                    evidence=self._evidence(ranking, row) if explain and place < EXPLAINED else (),
                )
                for place, row in enumerate(first)
            ),
            none_of_these=round(float(ranking.posterior[-1]), 6),
            unknown=tuple(unknown),
            knowledge=self.store.version,
        )

    def ranking(self, query: RankQuery) -> tuple[RareRanking, list[str]]:
        """The ranking of a query that has findings, and its unknown ids. Raises CaseError like `answer`."""
        unknown: list[str] = []
        observed, excluded = (self._known(ids, unknown) for ids in (query.observed, query.excluded))
        if not observed:
            item = f"finding {unknown[0]}" if unknown else "findings"
            raise CaseError(
                item, f"an id of {self.terminology.version}", "an unknown id" if unknown else "none"
            )
        return rank_rare(self.store, observed, excluded, self.terminology.ancestors), unknown

    def labels(self, ids: Sequence[str]) -> list[str]:
        return [self.terminology.label(id_) for id_ in ids]

    def from_text(self, texts: Sequence[str]) -> RankQuery:
        """A query from words or HPO ids. Raises CaseError for a text in which no finding is recognised."""
        observed: list[str] = []
        excluded: list[str] = []
        reader = Reader(self.terminology) if any(not _is_id(text) for text in texts) else None
        for text in texts:
            if reader is None or _is_id(text):
                observed.append(text)
                continue
            findings = [f for f in reader.read(text, "en").findings if f.counts]
            if not findings:
                raise CaseError(repr(text), "an HPO id or words that name a finding", "none recognised")
            observed += [f.id for f in findings if f.present]
            excluded += [f.id for f in findings if not f.present]
        return RankQuery("command line", tuple(observed), tuple(excluded))

    def _known(self, ids: Sequence[str], unknown: list[str]) -> list[str]:
        known = []
        for id_ in ids:
            try:
                known += self._annotated(self.terminology.canonical(id_))
            except CaseError:
                unknown.append(id_)
        return known

    def _annotated(self, id_: str) -> list[str]:
        """The term itself; for one of ours, which no annotation uses, what it is a kind of in HPO."""
        if id_.startswith("HP:"):
            return [id_]
        above = [term for term in self.terminology.ancestors(id_) if term.startswith("HP:")]
        return most_specific(above, self.terminology.ancestors)

    def _evidence(self, ranking: RareRanking, row: int) -> tuple[Evidence, ...]:
        """What speaks for and against a disease, strongest first."""
        found = []
        for (id_, present), log_lr in ranking.by_finding.items():
            if abs(log_lr[row]) > LEAST_LOG_LR:
                source = self.store.source(self.store.disease_ids[row], id_) or "more general findings"
                ratio = float(np.exp(log_lr[row]))
                found.append(Evidence(self.terminology.label(id_), round(ratio, 3), source, id_, present))
        return tuple(sorted(found, key=lambda item: -abs(np.log(item.likelihood_ratio))))


def open_ranker(settings: Settings) -> Ranker:
    """Raises ArtefactError when the terminology or the knowledge cannot be opened."""
    terminology = open_terminology(settings.home)
    return Ranker(terminology, open_store(settings.home, terminology, open_knowledge()))


def read_query(line: bytes, item: str) -> RankQuery:
    """One line of a batch; fields that it does not know are left alone. Raises CaseError that names the
    field.
    """
    try:
        return msgspec.json.decode(line, type=RankQuery)
    except msgspec.DecodeError as problem:
        raise CaseError(
            item, 'a query such as {"id": "p1", "observed": ["HP:0001166"]}', str(problem)
        ) from problem


def _is_id(text: str) -> bool:
    return text.partition(":")[0] in {"HP", "AKZ"}
