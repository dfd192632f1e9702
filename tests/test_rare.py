"""Rare diseases: annotations as they are published, one file of knowledge, every disease ranked at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from akazuba.diagnosis.rare import GENERAL, rank_rare
from akazuba.errors import ArtefactError, CaseError
from akazuba.knowledge import hpoa
from akazuba.knowledge.conditions import open_knowledge
from akazuba.knowledge.store import Store, open_store
from akazuba.ranking import Ranker, RankQuery, read_query
from akazuba.terminology import Terminology, source_file

MARFAN = "OMIM:154700"
ARACHNODACTYLY, ECTOPIA_LENTIS, AORTA = "HP:0001166", "HP:0001083", "HP:0002616"  # root aneurysm
HEADER = "#version: 2030-01-01\n" + "\t".join(hpoa.COLUMNS) + "\n"


def line(disease: str, term: str, frequency: str = "", qualifier: str = "", aspect: str = "P") -> str:
    cells = (
        disease,
        f"Disease {disease}",
        qualifier,
        term,
        "PMID:1",
        "PCS",
        "",
        frequency,
        "",
        "",
        aspect,
        "x",
    )
    return "\t".join(cells) + "\n"


def annotations(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "phenotype.hpoa"
    path.write_text(header + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def store(terminology_home: Path, terminology: Terminology) -> Store:
    return open_store(terminology_home, terminology, open_knowledge())


@pytest.fixture(scope="session")
def ranker(store: Store, terminology: Terminology) -> Ranker:
    return Ranker(terminology, store)


# --- the annotation file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequencies", "share"),
    [
        (["3/4"], 3.5 / 5),
        (["1/2", "0/3"], 1.5 / 6),
        (["0/3"], 0.0),
        (["HP:0040281"], 0.9),
        (["45%"], 0.45),
        ([""], hpoa.UNKNOWN),
        (["", "1/1"], 1.5 / 2),
    ],
)
def test_frequencies_of_all_lines_on_a_finding_are_pooled(
    tmp_path: Path, frequencies: list[str], share: float
) -> None:
    path = annotations(tmp_path, *(line("OMIM:1", AORTA, frequency) for frequency in frequencies))
    assert hpoa.read(path, str)["OMIM:1"].findings[AORTA].share == pytest.approx(share)


def test_an_excluded_finding_has_the_share_0_and_traits_are_no_findings(tmp_path: Path) -> None:
    path = annotations(tmp_path, line("OMIM:1", AORTA, "", "NOT"), line("OMIM:1", "HP:0000006", aspect="I"))
    disease = hpoa.read(path, str)["OMIM:1"]
    assert disease.findings[AORTA].share == 0
    assert list(disease.traits) == ["HP:0000006"]


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([], HEADER, "expected annotations of diseases, found none"),
        (["OMIM:1\tshort\n"], HEADER, "line 3: expected 12 columns, found 2"),
        (
            [line("OMIM:1", AORTA, "often")],
            HEADER,
            "expected a frequency as n/m, per cent or an HPO id, found often",
        ),
        ([line("OMIM:1", AORTA, "x%")], HEADER, "expected a number before %, found x"),
        ([], "#version: 1\na\tb\n", "line 2: expected columns database_id"),
    ],
)
def test_a_file_of_another_format_is_named_by_its_line(
    tmp_path: Path, lines: list[str], header: str, message: str
) -> None:
    with pytest.raises(ArtefactError, match=message):
        hpoa.read(annotations(tmp_path, *lines, header=header), str)


def test_a_file_without_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="#version in its header, found none"):
        hpoa.version(annotations(tmp_path, header="database_id\n"))


# --- the compiled file --------------------------------------------------------------------------


def test_it_holds_every_annotated_disease_and_each_finding_with_its_kinds(
    store: Store, terminology_home: Path, terminology: Terminology
) -> None:
    diseases = hpoa.read(source_file(terminology_home, "phenotype.hpoa"), terminology.canonical)
    assert set(store.disease_ids) == diseases.keys()
    assert len(store.disease_ids) > 12_000
    column = store.column(AORTA)
    general = store.column("HP:0000118")
    assert column is not None
    assert general is not None
    marfan = store.disease_ids.index(MARFAN)
    assert column.shares[list(column.rows).index(marfan)] == pytest.approx(
        diseases[MARFAN].findings[AORTA].share
    )
    assert set(column.rows) <= set(general.rows)
    assert store.column("HP:0000000") is None
    assert store.source(MARFAN, ECTOPIA_LENTIS)


@pytest.mark.parametrize("damage", ["truncated", "not SQLite", "another version"])
def test_a_damaged_file_is_built_again(tmp_path: Path, terminology: Terminology, damage: str) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    annotations(sources, line("OMIM:1", AORTA, "3/4"))
    open_store(tmp_path, terminology, open_knowledge()).db.close()
    [path] = tmp_path.glob("knowledge-*.sqlite")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "not SQLite":
        path.write_bytes(b"nothing of the kind")
    else:
        with sqlite3.connect(path) as db:
            db.execute("UPDATE about SET value = 'old' WHERE key = 'version'")
        db.close()
    assert open_store(tmp_path, terminology, open_knowledge()).disease_ids == ("OMIM:1",)


def test_a_truncated_source_is_an_error_and_no_empty_ranking(
    tmp_path: Path, terminology_home: Path, terminology: Terminology
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    whole = source_file(terminology_home, "phenotype.hpoa").read_bytes()
    (sources / "phenotype.hpoa").write_bytes(whole[: whole.rindex(b"\n", 0, len(whole) // 3) + 1])
    with pytest.raises(
        ArtefactError, match=r"expected about 12\d+ diseases, as its header says, found \d+ \(truncated"
    ):
        open_store(tmp_path, terminology, open_knowledge())
    assert not list(tmp_path.glob("knowledge-*"))


# --- ranking ------------------------------------------------------------------------------------


def test_what_is_typical_of_a_disease_puts_it_among_the_first(store: Store, terminology: Terminology) -> None:
    ranking = rank_rare(store, [ARACHNODACTYLY, ECTOPIA_LENTIS, AORTA], [], terminology.ancestors)
    assert MARFAN in [store.disease_ids[int(row)] for row in ranking.order[:3]]
    assert ranking.posterior.sum() == pytest.approx(1)
    assert (ranking.posterior > 0).all()


def test_order_and_repetition_say_nothing(store: Store, terminology: Terminology) -> None:
    found = [ARACHNODACTYLY, ECTOPIA_LENTIS, AORTA]
    first = rank_rare(store, found, ["HP:0001250"], terminology.ancestors)
    second = rank_rare(store, [*reversed(found), AORTA], ["HP:0001250"] * 2, terminology.ancestors)
    assert np.allclose(first.posterior, second.posterior)


def test_a_finding_that_no_disease_has_is_met_in_what_it_is_a_kind_of(
    store: Store, terminology: Terminology
) -> None:
    unseen = [id_ for id_, _ in terminology.all_labels() if store.column(id_) is None]
    deep = next(id_ for id_ in unseen if terminology.ancestors(id_) & {*unseen} - {id_})
    [log_lr] = rank_rare(store, [deep], [], terminology.ancestors).by_finding.values()
    assert log_lr.max() > np.log(GENERAL)
    denied = rank_rare(store, [AORTA], [deep], terminology.ancestors)
    assert np.array_equal(denied.posterior, rank_rare(store, [AORTA], [], terminology.ancestors).posterior)


def test_what_another_finding_implies_counts_once(store: Store, terminology: Terminology) -> None:
    general = next(iter(terminology.ancestors(AORTA) - {AORTA, "HP:0000001", "HP:0000118"}))
    one = rank_rare(store, [AORTA], [], terminology.ancestors)
    two = rank_rare(store, [AORTA, general], [], terminology.ancestors)
    assert np.array_equal(one.posterior, two.posterior)


def test_absent_lowers_and_never_by_much(store: Store, terminology: Terminology) -> None:
    marfan = store.disease_ids.index(MARFAN)
    without = rank_rare(store, [ARACHNODACTYLY], [], terminology.ancestors)
    denied = rank_rare(store, [ARACHNODACTYLY], [ECTOPIA_LENTIS], terminology.ancestors)
    assert denied.posterior[marfan] < without.posterior[marfan]
    assert np.log(0.5) - 1e-9 <= denied.by_finding[ECTOPIA_LENTIS, False].min() < 0
    assert denied.by_finding[ECTOPIA_LENTIS, False].max() == 0


def test_a_finding_both_present_and_absent_is_refused(store: Store, terminology: Terminology) -> None:
    with pytest.raises(CaseError, match=rf"finding {AORTA}: expected present or absent, found both"):
        rank_rare(store, [AORTA], [AORTA], terminology.ancestors)


# --- queries ------------------------------------------------------------------------------------


def test_an_old_id_counts_as_its_successor_and_an_unknown_one_is_named(ranker: Ranker) -> None:
    answer = ranker.answer(RankQuery("a", (ARACHNODACTYLY, "HP:9999999")), 5)
    assert answer.unknown == ("HP:9999999",)
    old = next(
        id_
        for (id_,) in ranker.terminology._db.execute("SELECT id FROM alias WHERE canonical = 'HP:0001166'")
    )
    assert (
        ranker.answer(RankQuery("a", (old,)), 5).differential
        == ranker.answer(RankQuery("a", (ARACHNODACTYLY,)), 5).differential
    )
    with pytest.raises(CaseError, match="finding HP:9999999: expected an id of hpo-"):
        ranker.answer(RankQuery("a", ("HP:9999999",)), 5)


def test_without_findings_the_answer_abstains(ranker: Ranker) -> None:
    answer = ranker.answer(RankQuery("a", (), (AORTA,)), 5)
    assert answer.abstained
    assert not answer.differential


def test_words_become_findings_present_and_absent(ranker: Ranker) -> None:
    query = ranker.from_text([AORTA, "tall stature, no seizures"])
    assert query.observed == (AORTA, "HP:0000098")
    assert query.excluded == ("HP:0001250",)
    with pytest.raises(CaseError, match="expected an HPO id or words that name a finding"):
        ranker.from_text(["qwertz"])


def test_a_term_of_ours_is_ranked_as_what_it_is_a_kind_of(ranker: Ranker) -> None:
    ours = ranker.answer(RankQuery("a", ("AKZ:0000036",)), 3)  # severe headache
    assert ours.differential == ranker.answer(RankQuery("a", ("HP:0002315",)), 3).differential


def test_the_evidence_names_who_says_so(ranker: Ranker) -> None:
    answer = ranker.answer(RankQuery("a", (ARACHNODACTYLY, ECTOPIA_LENTIS, AORTA)), 5, explain=True)
    evidence = answer.differential[0].evidence
    assert {item.finding_id for item in evidence} == {ARACHNODACTYLY, ECTOPIA_LENTIS, AORTA}
    assert all(item.source.startswith(("PMID:", "OMIM:", "ORPHA:")) for item in evidence)
    assert not answer.differential[4].evidence


def test_a_batch_answers_every_line_in_order(run) -> None:
    lines = [
        {"id": "a", "observed": [ARACHNODACTYLY, ECTOPIA_LENTIS], "disease": "a field that it does not know"},
        {"id": "b", "observed": []},
        {"id": "c", "observed": [AORTA], "excluded": [AORTA]},
        {"id": "d"},
        {"id": "e", "observed": [AORTA], "age_years": 33, "sex": "female"},
    ]
    done = run("rank", "--batch", "-", "--top", "3", stdin="\n".join(map(json.dumps, lines)) + "\n\n")
    assert done.exit_code == 1
    answers = [json.loads(text) for text in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", "b", "c", "-:4", "e"]
    assert [len(answer.get("differential", ())) for answer in answers] == [3, 0, 0, 0, 3]
    assert answers[0]["differential"][0].keys() == {"id", "name", "probability"}
    assert answers[1]["abstained"] is True
    assert answers[2]["error"] == f"finding {AORTA}: expected present or absent, found both"
    assert done.stderr.count("error: ") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "arguments: expected findings, or --batch FILE, found neither"),
        (("HP:9999999",), "finding HP:9999999: expected an id of hpo-"),
        ((ARACHNODACTYLY, "--absent", ARACHNODACTYLY), "expected present or absent, found both"),
    ],
)
def test_what_cannot_be_ranked_is_said(run, arguments: tuple[str, ...], message: str) -> None:
    done = run("rank", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not done.stdout


def test_the_readable_form_shows_what_was_read(run) -> None:
    done = run("rank", ARACHNODACTYLY, "no seizures", "--top", "2")
    assert done.stdout.startswith("Findings read: Arachnodactyly, no Seizure\n")
    assert "not reviewed by a clinician" in done.stdout


def test_a_line_that_is_no_query_names_the_field() -> None:
    with pytest.raises(CaseError, match=r"batch:1: expected a query such as .*observed"):
        read_query(b'{"id": "a", "observed": "HP:0001166"}', "batch:1")
