"""The knowledge for other systems: RDF in Turtle, and FHIR R4 (a CodeSystem and a ConceptMap)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from akazuba.knowledge.conditions import CommonKnowledge
from akazuba.knowledge.store import Store

BASE = "https://akazuba.example/knowledge/"
"""Names of our own; nothing is served there."""

_PREFIXES = {
    "HP": "http://purl.obolibrary.org/obo/HP_",
    "OMIM": "https://omim.org/entry/",
    "ORPHA": "http://www.orpha.net/ORDO/Orphanet_",
    "DECIPHER": "https://www.deciphergenomics.org/syndrome/",
}
_SYSTEMS = {"icd10": "http://hl7.org/fhir/sid/icd-10", "icd11": "http://id.who.int/icd/release/11/mms"}


def turtle(store: Store) -> Iterator[str]:
    """Every edge as a reified statement with its share and source, line by line."""
    yield f"# {store.version}; not reviewed by a clinician"
    yield f"@prefix akz: <{BASE}> ."
    yield "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> ."
    yield "@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> ."
    for id_, kind, name in store.db.execute("SELECT id, kind, name FROM node ORDER BY number"):
        yield f"{_iri(id_)} rdfs:label {_text(name)} ; akz:kind {_text(kind)} ."
    query = (
        "SELECT h.id, relation, t.id, share, source FROM edge"
        " JOIN node h ON h.number = head JOIN node t ON t.number = tail ORDER BY head, relation, tail"
    )
    for head, relation, tail, share, source in store.db.execute(query):
        predicate = f"akz:{relation.replace(' ', '-')}"
        yield f"{_iri(head)} {predicate} {_iri(tail)} ."
        weight = f" ; akz:share {share:.4f}" if share is not None else ""
        yield (
            f"[] rdf:subject {_iri(head)} ; rdf:predicate {predicate} ; rdf:object {_iri(tail)}{weight}"
            f" ; akz:source {_text(source)} ."
        )


def _iri(id_: str) -> str:
    prefix, _, rest = id_.partition(":")
    base = _PREFIXES.get(prefix)
    return f"<{base}{quote(rest)}>" if base else f"<{BASE}{quote(id_)}>"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # escapes what Turtle escapes


def fhir(common: CommonKnowledge) -> dict[str, object]:
    """A Bundle with the conditions of primary care as a CodeSystem, and a ConceptMap from it to ICD-10 and
    ICD-11.
    """
    system, version = f"{BASE}CodeSystem/conditions", common.table.version
    concepts = [
        {
            "code": row.id,
            "display": row.name,
            "designation": [{"language": "en", "value": name} for name in (*row.synonyms, *row.lay)],
        }
        for row in common.rows
    ]
    for concept in concepts:
        if not concept["designation"]:
            del concept["designation"]
    groups = [
        {
            "source": system,
            "target": target,
            "element": [
                {"code": row.id, "target": [{"code": row.ids[name], "equivalence": "relatedto"}]}
                for row in common.rows
                if name in row.ids
            ],
        }
        for name, target in _SYSTEMS.items()
    ]
    about = {"status": "draft", "experimental": True, "version": version, "description": common.about.review}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "resource": {
                    "resourceType": "CodeSystem",
                    "url": system,
                    "name": "AkazubaConditions",
                    **about,
                    "content": "complete",
                    "count": len(concepts),
                    "concept": concepts,
                }
            },
            {
                "resource": {
                    "resourceType": "ConceptMap",
                    "url": f"{BASE}ConceptMap/conditions-to-icd",
                    "name": "AkazubaConditionsToIcd",
                    **about,
                    "sourceUri": system,
                    "group": groups,
                }
            },
        ],
    }
