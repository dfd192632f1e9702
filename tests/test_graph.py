"""The knowledge as a graph: looked up, joined, counted, exported, renewed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from test_rare import AORTA, HEADER, MARFAN, line

from akazuba.errors import ArtefactError, InputError
from akazuba.knowledge.conditions import CommonKnowledge, open_knowledge
from akazuba.knowledge.coverage import coverage, depth, icd10
from akazuba.knowledge.cross_references import read_mondo, read_orphanet
from akazuba.knowledge.export import fhir, turtle
from akazuba.knowledge.graph import Graph
from akazuba.knowledge.store import Store, open_store
from akazuba.knowledge.update import kind_of, update
from akazuba.terminology import Terminology, open_terminology, source_file

OBO = """format-version: 1.2
data-version: hp/releases/2031-02-03
ontology: hp

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001 ! All

[Term]
id: HP:0002616
name: Aortic root aneurysm
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000006
name: Autosomal dominant inheritance
is_a: HP:0000001 ! All
"""
MONDO_OBO = """format-version: 1.2
ontology: mondo

[Term]
id: MONDO:0007947
name: Marfan syndrome
synonym: "MFS" EXACT ABBREVIATION []
synonym: "Marfan's disease" EXACT []
xref: OMIM:154700 {source="MONDO:equivalentTo"}
xref: Orphanet:558 {source="MONDO:equivalentTo"}
xref: OMIM:1 {source="MONDO:relatedTo"}

[Term]
id: MONDO:0000001
name: gone
is_obsolete: true
"""
MONDO_JSON = {
    "graphs": [
        {
            "nodes": [
                {
                    "id": "http://purl.obolibrary.org/obo/MONDO_0007947",
                    "lbl": "Marfan syndrome",
                    "meta": {
                        "synonyms": [{"pred": "hasExactSynonym", "val": "Marfan's disease"}],
                        "xrefs": [{"val": "OMIM:154700"}, {"val": "Orphanet:558"}, {"val": "UMLS:C1"}],
                    },
                },
                {"id": "http://purl.obolibrary.org/obo/HP_0000118", "lbl": "a finding"},
            ]
        }
    ]
}
ORPHANET_XML = """<?xml version="1.0" encoding="UTF-8"?>
<JDBOR version="1.3"><HPODisorderSetStatusList><HPODisorderSetStatus><Disorder id="1">
<OrphaCode>558</OrphaCode><Name lang="en">Marfan syndrome</Name>
<HPODisorderAssociationList><HPODisorderAssociation>
<HPO><HPOId>HP:0002616</HPOId><HPOTerm>Aortic root aneurysm</HPOTerm></HPO>
<HPOFrequency id="28412"><Name lang="en">Very frequent (99-80%)</Name></HPOFrequency>
</HPODisorderAssociation></HPODisorderAssociationList>
</Disorder></HPODisorderSetStatus></HPODisorderSetStatusList></JDBOR>
"""


@pytest.fixture(scope="session")
def common() -> CommonKnowledge:
    return open_knowledge()


@pytest.fixture(scope="session")
def store(terminology_home: Path, terminology: Terminology, common: CommonKnowledge) -> Store:
    return open_store(terminology_home, terminology, common)


@pytest.fixture(scope="session")
def graph(store: Store) -> Graph:
    return Graph(store)


# --- looking up ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("Severe malaria", "akz:malaria-severe"),
        ("malaria-severe", "akz:malaria-severe"),
        ("CHOLERA", "akz:cholera"),
        ("Marfan syndrome", MARFAN),
        ("HP:0002616", AORTA),
        ("artesunate", "drug:artesunate"),
    ],
)
def test_a_node_is_found_by_id_name_or_synonym(graph: Graph, name: str, id_: str) -> None:
    assert graph.find(name).id == id_


def test_an_unknown_name_gets_the_nearest_ones(graph: Graph) -> None:
    with pytest.raises(InputError, match=r"'malaria sever': expected .* near: .*severe malaria"):
        graph.find("malaria sever")
    with pytest.raises(InputError, match=r"found none of that name$"):
        graph.find("qwertz")


def test_every_edge_has_a_source_and_a_share_is_a_probability(store: Store) -> None:
    assert store.db.execute("SELECT count(*) FROM edge WHERE source = '' OR source IS NULL").fetchone() == (
        0,
    )
    assert store.db.execute("SELECT count(*) FROM edge WHERE share < 0 OR share > 1").fetchone() == (0,)
    without = "SELECT DISTINCT relation FROM edge WHERE share IS NULL"
    assert "has finding" not in {relation for (relation,) in store.db.execute(without)}


def test_a_condition_is_joined_to_findings_tests_drugs_and_guidelines(graph: Graph) -> None:
    node = graph.find("Severe malaria")
    kinds = {edge.tail.kind for edge in graph.edges_of(node) if edge.head == node}
    assert kinds >= {"finding", "test", "drug", "guideline", "red flag", "code"}
    shares = [edge.share for edge in graph.edges_of(node) if edge.relation == "has finding"]
    assert shares == sorted(shares, key=lambda share: -(share or 0))


def test_a_drug_names_what_it_treats(graph: Graph) -> None:
    node = graph.find("artesunate")
    assert "Severe malaria" in {edge.head.name for edge in graph.edges_of(node)}


def test_a_path_is_a_chain_from_one_to_the_other(graph: Graph) -> None:
    start, end = graph.find("Cholera"), graph.find("zinc")
    chain = graph.path(start, end)
    assert chain
    at = start
    for edge in chain:
        assert at in (edge.head, edge.tail)
        at = edge.tail if at == edge.head else edge.head
    assert at == end
    assert graph.path(start, start) == []


# --- counted ------------------------------------------------------------------------------------


def test_icd10_has_its_categories() -> None:
    categories = icd10()
    assert 2_000 < len(categories) < 2_100
    assert categories["A00"] == "Cholera"
    assert all(len(code) == 3 for code in categories)


def test_coverage_counts_names_and_says_what_is_missing(store: Store, common: CommonKnowledge) -> None:
    for item in coverage(store, common):
        assert 0 < item.named <= item.size
        assert len(item.missing) in (0, item.size - item.named)
    codes = {row.ids["icd10"][:3] for row in common.rows if "icd10" in row.ids}
    assert coverage(store, common)[0].named == len(codes & icd10().keys())


def test_every_icd10_code_exists(common: CommonKnowledge) -> None:
    codes = {row.id: row.ids["icd10"] for row in common.rows if "icd10" in row.ids}
    assert len(codes) > 600
    existing = icd10() | icd10("subcategory")
    assert not [id_ for id_, code in codes.items() if code not in existing]


def test_depth_is_honest_about_sources_and_review(common: CommonKnowledge) -> None:
    counts = depth(common)
    assert counts["conditions"] == len(common.rows) > 350
    assert counts["with an opened source"] == 0
    assert counts["reviewed by a clinician"] == 0


# --- exported -----------------------------------------------------------------------------------


def test_turtle_has_every_edge_with_its_source(store: Store) -> None:
    lines = list(turtle(store))
    edges = store.db.execute("SELECT count(*) FROM edge").fetchone()[0]
    assert sum(line.startswith("[] rdf:subject") for line in lines) == edges
    assert all(line.endswith(" .") for line in lines[1:])
    assert "not reviewed by a clinician" in lines[0]


def test_fhir_maps_every_code_and_counts_its_concepts(common: CommonKnowledge) -> None:
    code_system, concept_map = (entry["resource"] for entry in fhir(common)["entry"])
    assert code_system["count"] == len(code_system["concept"]) == len(common.rows)
    for group in concept_map["group"]:
        mapped = {element["code"] for element in group["element"]}
        assert mapped <= {concept["code"] for concept in code_system["concept"]}
        assert len(mapped) > 400


# --- renewed ------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    texts = {
        "new.obo": OBO,
        "new.hpoa": HEADER + line("OMIM:154700", AORTA, "3/4") + line("OMIM:7", AORTA),
        "mondo.obo": MONDO_OBO,
        "mondo.json": json.dumps(MONDO_JSON),
        "product4.xml": ORPHANET_XML,
    }
    folder = tmp_path / "given"
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in texts}


@pytest.fixture
def own_home(tmp_path: Path, terminology_home: Path, store: Store) -> Path:
    home = tmp_path / "home"
    shutil.copytree(terminology_home, home)
    return home


def test_a_file_is_known_by_its_content(sources: dict[str, Path], terminology_home: Path) -> None:
    kinds = [kind_of(path) for path in sources.values()]
    assert kinds == ["hp.obo", "phenotype.hpoa", "mondo", "mondo", "orphanet.xml"]
    assert kind_of(source_file(terminology_home, "hp.obo")) == "hp.obo"
    assert kind_of(source_file(terminology_home, "phenotype.hpoa")) == "phenotype.hpoa"


def test_newer_annotations_replace_the_old_ones_and_the_report_says_so(
    own_home: Path, sources: dict[str, Path], common: CommonKnowledge
) -> None:
    terms, diseases, _ = update(own_home, [sources["new.hpoa"]], common)
    assert terms.before == terms.after
    assert diseases.after == 2
    assert diseases.added == ("OMIM:7 Disease OMIM:7",)
    assert len(diseases.removed) == diseases.before - 1
    with open_terminology(own_home) as terminology:
        assert open_store(own_home, terminology, common).disease_ids == ("OMIM:154700", "OMIM:7")


@pytest.mark.parametrize("mondo", ["mondo.obo", "mondo.json"])
def test_mondo_and_orphanet_join_what_is_there(
    own_home: Path, sources: dict[str, Path], common: CommonKnowledge, mondo: str
) -> None:
    update(own_home, [sources["new.hpoa"], sources["product4.xml"], sources[mondo]], common)
    with open_terminology(own_home) as terminology:
        graph = Graph(open_store(own_home, terminology, common))
    orpha = graph.find("ORPHA:558")
    assert [e.share for e in graph.edges_of(orpha) if e.relation == "has finding"] == [0.9]
    chain = graph.path(graph.find("OMIM:154700"), orpha)
    assert [edge.relation for edge in chain] in (["same as", "same as"], ["has finding", "has finding"])
    assert graph.find("Marfan's disease").id == "MONDO:0007947"


def test_a_damaged_file_changes_nothing(
    own_home: Path, sources: dict[str, Path], common: CommonKnowledge
) -> None:
    before = sorted(path.name for path in own_home.rglob("*"))
    bad = sources["new.hpoa"]
    bad.write_text(bad.read_text(encoding="utf-8") + "OMIM:9\tcut", encoding="utf-8")
    with pytest.raises(ArtefactError, match=rf"^{re.escape(str(bad))}, line 5: expected 12 columns, found 2"):
        update(own_home, [bad], common)
    assert sorted(path.name for path in own_home.rglob("*")) == before


def test_files_that_are_no_source_or_come_twice_are_refused(
    own_home: Path, sources: dict[str, Path], common: CommonKnowledge, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("nothing of the kind", encoding="utf-8")
    for files, said in (
        ([other], "expected hp.obo, phenotype.hpoa, Mondo"),
        ([tmp_path / "absent"], "expected a file that can be read, found"),
        ([sources["mondo.obo"], sources["mondo.json"]], "expected one file of each kind"),
    ):
        with pytest.raises(InputError, match=said):
            update(own_home, files, common)


def test_mondo_and_orphanet_files_without_content_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text, read in (
        ("format-version: 1.2\n", read_mondo),
        ('{"graphs": [{"nodes": 3}]}', read_mondo),
        ("<JDBOR>", read_orphanet),
        ("<JDBOR></JDBOR>", read_orphanet),
        (ORPHANET_XML.replace("Very frequent (99-80%)", "Often"), read_orphanet),
        (ORPHANET_XML.replace("<OrphaCode>558</OrphaCode>", ""), read_orphanet),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ArtefactError):
            read(path)


# --- the commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "severe malaria"), "treated with"),
        (("show", "artesunate"), "reached by: treated with"),
        (
            ("path", "severe malaria", "artesunate"),
            "Severe malaria -> treated with: artesunate  [unverified]",
        ),
        (("coverage",), "reviewed by a clinician"),
        (("build",), "rare diseases: 12687"),
    ],
)
def test_commands_print_what_they_promise(run, arguments: tuple[str, ...], said: str) -> None:
    done = run("knowledge", *arguments)
    assert done.exit_code == 0, done.stderr
    assert said in done.stdout


def test_commands_print_json(run) -> None:
    shown = json.loads(run("knowledge", "show", MARFAN, "--json").stdout)
    assert shown["name"] == "Marfan syndrome"
    assert {edge["relation"] for edge in shown["edges"]} >= {"has finding", "has trait"}
    [edge] = json.loads(run("knowledge", "path", "severe malaria", "artesunate", "--json").stdout)
    assert edge["relation"] == "treated with"
    lists = json.loads(run("knowledge", "coverage", "--json").stdout)["lists"]
    assert all(item["named"] <= item["size"] for item in lists)
    bundle = json.loads(run("knowledge", "export", "--format", "fhir").stdout)
    assert bundle["resourceType"] == "Bundle"


def test_a_name_that_is_unknown_is_an_error(run) -> None:
    done = run("knowledge", "show", "qwertz")
    assert done.exit_code == 2
    assert "error: 'qwertz': expected a disease, finding, test, drug or guideline" in done.stderr
