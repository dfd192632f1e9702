"""The knowledge as data: sound, readable, and honest about what nobody has checked."""

import csv
import json
import re
from importlib import resources
from typing import Any

import numpy as np
import pytest

from akazuba.errors import ArtefactError
from akazuba.knowledge.conditions import CommonKnowledge, open_knowledge, read_knowledge, verified_share
from akazuba.language.reader import Reader
from akazuba.records import KnowledgeTable
from akazuba.terminology import Terminology

SCORED_BY_IMAGE_MODELS = {
    "basal-cell-carcinoma",
    "squamous-cell-carcinoma",
    "melanoma",
    "actinic-keratosis",
    "seborrhoeic-keratosis",
    "melanocytic-naevus",
    "pneumonia-bacterial",
    "pneumonia-viral",
}


@pytest.fixture(scope="module")
def table() -> KnowledgeTable:
    return open_knowledge().table


def test_arrays_agree_and_are_probabilities(table: KnowledgeTable) -> None:
    shape = (len(table.conditions), len(table.finding_ids))
    assert table.sensitivity.shape == shape
    assert table.prior.shape == shape[:1]
    assert table.background.shape == shape[1:]
    assert 0.5 < table.prior.sum() <= 1
    known = table.sensitivity[~np.isnan(table.sensitivity)]
    assert ((known > 0) & (known < 1)).all()
    with pytest.raises(ValueError, match="read-only"):
        table.prior[0] = 1


def test_every_condition_says_enough_to_be_ranked(table: KnowledgeTable) -> None:
    listed = (~np.isnan(table.sensitivity)).sum(axis=1)
    assert listed.min() >= 4
    characteristic = np.nanmax(table.sensitivity / table.background, axis=1)
    assert characteristic.min() > 4, table.conditions[int(characteristic.argmin())].id


def test_what_the_image_models_score_is_here(table: KnowledgeTable) -> None:
    assert {condition.id for condition in table.conditions} >= SCORED_BY_IMAGE_MODELS


def test_every_finding_is_a_term_in_use_and_understood_by_its_name(
    table: KnowledgeTable, terminology: Terminology
) -> None:
    reader = Reader(terminology)
    unread = set()
    for id_, name in zip(table.finding_ids, table.finding_names, strict=True):
        if id_.startswith("test:"):
            continue
        assert terminology.canonical(id_) == id_
        read = [finding.id for finding in reader.read(f"{name}.", "en").findings]
        if not any(id_ in terminology.ancestors(found) for found in read):
            unread.add(name)
    assert unread <= NOT_READ, sorted(unread - NOT_READ)


NOT_READ: set[str] = {
    "attacks of a hot, red, painful limb",
    "awake at night, sleepy by day",
    "bleeding from gums, nose or needle sites",
    "blisters of hands, feet and mouth",
    "contact with a person with bleeding fever or their burial",
    "dirty, hungry or left alone",
    "faint after standing, pain, heat or fright",
    "family history of diabetes",
    "food sticks, first solids and later liquids",
    "lies, steals or breaks serious rules",
    "meningitis, measles or jaundice as a baby",
    "mother had fever or waters broken over 18 hours",
    "mother with vaginal discharge or sexually transmitted infection",
    "much talking, singing or shouting",
    "nasal flaring",
    "no complaint",
    "no menstruation for 12 months, age over 45",
    "pale skin, hair and eyes since birth",
    "passing gas",
    "red, hot area of the breast",
    "seeing things",
    "shaking in the family",
    "sibling had jaundice treated at birth",
    "soft, painful lump in the breast",
    "sucked well after birth, then stopped",
    "swelling of the cheeks (parotid)",
    "twin pregnancy",
}
"""Names that no note is understood by: sentences with commas, and what speaks of the family."""


def test_a_general_finding_is_at_least_as_frequent_as_its_kinds(
    table: KnowledgeTable, terminology: Terminology
) -> None:
    place = {id_: column for column, id_ in enumerate(table.finding_ids)}
    for id_, column in place.items():
        if not id_.startswith("test:"):
            for above in terminology.ancestors(id_) & place.keys():
                assert table.background[place[above]] >= table.background[column], (id_, above)


def test_codes_are_shaped_like_codes(table: KnowledgeTable) -> None:
    for condition in table.conditions:
        assert set(condition.ids) <= {"icd10", "icd11"}
        assert re.fullmatch(r"[A-Z]\d{2}(\.\d{1,2})?", condition.ids.get("icd10", "A00")), condition.id
        assert re.fullmatch(r"[0-9A-Z]{4}(\.[0-9A-Z]{1,2})?", condition.ids.get("icd11", "1A00")), (
            condition.id
        )


def test_nothing_is_called_verified_that_is_not(table: KnowledgeTable) -> None:
    assert verified_share(table) == 0.0
    assert {condition.review for condition in table.conditions} == {"not yet reviewed by a clinician"}


def content() -> dict[str, Any]:
    folder = resources.files("akazuba.knowledge") / "common"
    return {path.name: json.loads(path.read_bytes()) for path in folder.iterdir()}


def read(data: dict[str, Any]) -> CommonKnowledge:
    return read_knowledge({name: json.dumps(part).encode() for name, part in data.items()})


def cold(data: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in data["lungs.json"] if row["id"] == "common-cold")


def test_the_version_changes_with_the_content() -> None:
    data = content()
    before = read(data).table.version
    cold(data)["prior"] = 0.03
    assert read(data).table.version != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prior": 0}, r"lungs\.json, condition \d+ \(common-cold\)"),
        ({"prior": 1.5}, "common-cold"),
        ({"findings": {"fever": 1.0}}, "common-cold"),
        (
            {"findings": {"hot": 0.5}},
            r"condition common-cold: expected findings of findings\.json, found 'hot'",
        ),
        ({"findings": {}}, "common-cold"),
        ({"sex": [1]}, r"common-cold, sex: expected 2 numbers \(female, male\), found 1"),
        ({"age": [1] * 9}, "common-cold, age: expected 8 numbers"),
        ({"malaria": [1, 1, 1, 0]}, "common-cold"),
        ({"season": [1, 1, 1]}, r"expected 2 numbers \(dry, rainy\)"),
        ({"altitude": [1]}, "common-cold"),
        ({"onset": "soon"}, "common-cold"),
        ({"id": "influenza"}, "condition influenza"),
        ({"id": "Common cold"}, r"lungs\.json, condition"),
        ({"prior": 0.99}, "priors"),
    ],
)
def test_an_unsound_condition_is_refused_by_file_and_row(change: dict[str, Any], said: str) -> None:
    data = content()
    cold(data).update(change)
    with pytest.raises(ArtefactError, match=said):
        read(data)


@pytest.mark.parametrize(
    "change", [{"background": 0}, {"id": "HP:194"}, {"id": "HP:0012735"}, {"name": "cough"}]
)
def test_an_unsound_finding_is_refused(change: dict[str, Any]) -> None:
    data = content()
    data["findings.json"][0].update(change)
    with pytest.raises(ArtefactError, match=r"findings\.json, finding"):
        read(data)


def test_every_test_has_a_price_and_every_price_a_test() -> None:
    data = content()
    without = data["tests.json"].pop(0)
    with pytest.raises(ArtefactError, match=rf"tests\.json: expected a row for {without['id']}, found none"):
        read(data)
    data["tests.json"] += [without, {**without, "id": "test:unheard-of"}]
    with pytest.raises(ArtefactError, match=r"test test:unheard-of: expected a finding of findings\.json"):
        read(data)


@pytest.mark.parametrize("file", ["about.json", "findings.json", "tests.json"])
@pytest.mark.parametrize("text", [None, b"", b"{", b"[[]]"])
def test_a_file_that_is_missing_or_damaged_is_named(file: str, text: bytes | None) -> None:
    files = {name: json.dumps(part).encode() for name, part in content().items()}
    del files[file]
    with pytest.raises(ArtefactError, match=re.escape(file)):
        read_knowledge(files if text is None else {**files, file: text})


def test_every_condition_stands_on_the_list_that_was_frozen_before_measuring(table: KnowledgeTable) -> None:
    text = (resources.files("akazuba.knowledge") / "listed.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids) > 350
    assert {condition.id for condition in table.conditions} <= set(ids)
    for row in rows:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", row["id"])
        assert re.fullmatch(r"([A-Z]\d\d(\.\d{1,2})?)?", row["icd10"]), row["id"]
        assert row["must_not_miss"] in ("yes", "no")
        assert len(row["why_listed"]) > 5
