"""Further sources that `akazuba knowledge update` takes: Mondo (which ids mean one disease) and Orphanet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from akazuba.errors import ArtefactError
from akazuba.knowledge.hpoa import Annotation, RareDisease

_XREF = re.compile(r"(OMIM|OMIMPS|Orphanet|ORPHA|DECIPHER|ICD10CM|ICD10WHO|icd11\.foundation):(\S+)")
_PREFIX = {"Orphanet": "ORPHA"}
_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" EXACT\b')

_ORPHANET_SHARES = {
    "Obligate": 1.0,
    "Very frequent": 0.9,
    "Frequent": 0.55,
    "Occasional": 0.17,
    "Very rare": 0.025,
    "Excluded": 0.0,
}
"""Middles of Orphanet's classes, the same as HPO's (`hpoa.FREQUENCIES`)."""


@dataclass(frozen=True)
class Concept:
    """One disease of Mondo: its other ids (OMIM:…, ORPHA:…, ICD10…) and exact synonyms."""

    id: str
    name: str
    others: tuple[str, ...]
    synonyms: tuple[str, ...]


def read_mondo(path: Path) -> list[Concept]:
    """Mondo as OBO or as OBO Graphs JSON. Raises ArtefactError when it is neither or holds no disease."""
    text = path.read_bytes()
    is_json = text.lstrip()[:1] == b"{"
    found = _of_json(text, path) if is_json else _of_obo(text.decode("utf-8", "replace"))
    concepts = list(found)
    if not concepts:
        raise ArtefactError(str(path), "diseases of Mondo (MONDO:…)", "none")
    return concepts


def _of_obo(text: str) -> Iterator[Concept]:
    for stanza in text.split("\n[Term]\n")[1:]:
        body = stanza.partition("\n[")[0]
        fields: dict[str, list[str]] = {}
        for line in body.splitlines():
            tag, _, value = line.partition(": ")
            fields.setdefault(tag, []).append(value)
        id_ = fields.get("id", [""])[0]
        if id_.startswith("MONDO:") and "is_obsolete" not in fields and "name" in fields:
            same = [x for x in fields.get("xref", ()) if "equivalentTo" in x]
            synonyms = (_SYNONYM.match(value) for value in fields.get("synonym", ()))
            yield Concept(id_, fields["name"][0], _ids(same), tuple(s[1] for s in synonyms if s))


class _Synonym(msgspec.Struct, frozen=True):
    pred: str = ""
    val: str = ""


class _Xref(msgspec.Struct, frozen=True):
    val: str = ""


class _Meta(msgspec.Struct, frozen=True):
    synonyms: tuple[_Synonym, ...] = ()
    xrefs: tuple[_Xref, ...] = ()
    deprecated: bool = False


class _Node(msgspec.Struct, frozen=True):
    id: str
    lbl: str = ""
    meta: _Meta = _Meta()


class _Graph(msgspec.Struct, frozen=True):
    nodes: tuple[_Node, ...] = ()


class _Graphs(msgspec.Struct, frozen=True):
    graphs: tuple[_Graph, ...]


def _of_json(text: bytes, path: Path) -> Iterator[Concept]:
    try:
        graphs = msgspec.json.decode(text, type=_Graphs).graphs
    except msgspec.DecodeError as error:
        raise ArtefactError(str(path), "Mondo as OBO Graphs JSON", str(error)) from error
    for node in (node for graph in graphs for node in graph.nodes):
        id_ = node.id.rpartition("/")[2].replace("_", ":")
        if id_.startswith("MONDO:") and node.lbl and not node.meta.deprecated:
            exact = tuple(s.val for s in node.meta.synonyms if s.pred == "hasExactSynonym")
            yield Concept(id_, node.lbl, _ids([xref.val for xref in node.meta.xrefs]), exact)


def _ids(xrefs: list[str]) -> tuple[str, ...]:
    found = (_XREF.match(xref) for xref in xrefs)
    return tuple(dict.fromkeys(f"{_PREFIX.get(x[1], x[1])}:{x[2]}" for x in found if x))


def read_orphanet(path: Path) -> dict[str, RareDisease]:
    """Disorders and their findings from Orphanet's `en_product4.xml`.

    Raises ArtefactError when the file is no such XML, ends early, or holds no disorder.
    """
    diseases: dict[str, RareDisease] = {}
    try:
        for _, element in ElementTree.iterparse(path):  # noqa: S314 - expat refuses entity bombs since 2.4
            if element.tag == "Disorder":
                disease = _disorder(element, path)
                diseases[disease.id] = disease
                element.clear()
    except (ElementTree.ParseError, OSError) as error:
        raise ArtefactError(str(path), "Orphanet's en_product4.xml", str(error)) from error
    if not diseases:
        raise ArtefactError(str(path), "disorders of Orphanet", "none")
    return diseases


def _disorder(element: ElementTree.Element, path: Path) -> RareDisease:
    code, name = element.findtext("OrphaCode"), element.findtext("Name")
    if not code or not name:
        raise ArtefactError(str(path), "an OrphaCode and a Name in every Disorder", str(code or name))
    disease = RareDisease(f"ORPHA:{code}", name)
    for link in element.iter("HPODisorderAssociation"):
        term, frequency = link.findtext("HPO/HPOId"), link.findtext("HPOFrequency/Name") or ""
        share = _ORPHANET_SHARES.get(frequency.partition(" (")[0])
        if not term or share is None:
            raise ArtefactError(
                f"{path}, {disease.id}", "an HPOId and a known HPOFrequency", f"{term} {frequency}"
            )
        disease.findings[term] = Annotation(stated=[share], sources=[disease.id])
    return disease
