"""The knowledge as data: sound, readable, and honest about what nobody has checked."""

import csv
import json
import re
from importlib import resources

import numpy as np
import pytest

from akazuba.errors import ArtefactError
from akazuba.knowledge import open_knowledge, read_knowledge, verified_share
from akazuba.records import KnowledgeTable
from akazuba.terminology import Terminology, normalise

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
    return open_knowledge()


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


def test_every_finding_is_a_term_in_use_with_a_fitting_name(
    table: KnowledgeTable, terminology: Terminology
) -> None:
    names = dict(zip(table.finding_ids, table.finding_names, strict=True))
    terms = {id_: name for id_, name in names.items() if not id_.startswith("test:")}
    for id_ in terms:
        assert terminology.canonical(id_) == id_
    own_words = {
        name: terminology.label(id_)
        for id_, name in terms.items()
        if id_ not in terminology.lookup(normalise(name))
    }
    assert own_words == OWN_WORDS


OWN_WORDS = {
    "dark spot": "Dark spot on the skin",
    "fewer movements of the unborn": "Decreased fetal movement",
    "leaking waters": "Leaking of amniotic fluid",
    "worms seen": "Intestinal worm",
    "coughing blood": "Hemoptysis",
    "blocked nose": "Nasal congestion",
    "breathlessness": "Dyspnea",
    "chest pain on breathing in": "Pleuritic chest pain",
    "breathlessness lying down": "Orthopnea",
    "swollen legs": "Pedal edema",
    "fainting": "Syncope",
    "discomfort in light": "Photophobia",
    "weakness of one side": "Hemiparesis",
    "drooping face": "Facial palsy",
    "pain in the right lower abdomen": "Right lower quadrant pain",
    "pain in the right upper abdomen": "Right upper quadrant pain",
    "pain in the upper middle abdomen": "Epigastric pain",
    "guarded abdomen": "Abdominal guarding",
    "large liver": "Hepatomegaly",
    "pain on passing urine": "Dysuria",
    "passing urine often": "Pollakisuria",
    "vaginal discharge": "Abnormal vaginal discharge",
    "vaginal bleeding": "Abnormal vaginal bleeding",
    "missed periods": "Amenorrhea",
    "thirst": "Polydipsia",
    "passing much urine": "Polyuria",
    "raised blood pressure": "Increased blood pressure",
    "rash": "Skin rash",
    "redness of the skin": "Erythema",
    "weals": "Urticaria",
    "swelling in one place": "Localised swelling",
    "skin lesion in one place": "Localized skin lesion",
    "pale patch of skin": "Hypopigmented macule",
    "pus from the eye": "Purulent eye discharge",
    "itching eyes": "Ocular pruritus",
    "swollen face": "Facial edema",
    "swelling of both feet": "Oedema of both feet",
    "poor growth": "Failure to thrive",
    "depressed mood": "Depression",
    "loss of pleasure": "Anhedonia",
    "thoughts of suicide": "Suicidal ideation",
    "fear of water": "Hydrophobia",
    "animal bite": "Animal or human bite",
    "injury": "Trauma",
    "poisoning or chemical exposure": "Poisoning or dangerous chemical exposure",
    "contact with tuberculosis": "Contact with a person who has tuberculosis",
    "pain all over the body": "Generalised body pain",
}
"""Names that the terminology does not have for the term, read one by one: our name, its label."""


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
        assert re.fullmatch(r"[A-Z]\d{2}(\.\d)?", condition.ids.get("icd10", "A00")), condition.id
        assert re.fullmatch(r"[0-9A-Z]{4}(\.[0-9A-Z]{1,2})?", condition.ids.get("icd11", "1A00")), (
            condition.id
        )


def test_nothing_is_called_verified_that_is_not(table: KnowledgeTable) -> None:
    assert verified_share(table) == 0.0
    assert {condition.review for condition in table.conditions} == {"not yet reviewed by a clinician"}


def content() -> dict:
    return json.loads((resources.files("akazuba.knowledge") / "conditions.json").read_bytes())


def test_the_version_changes_with_the_content(table: KnowledgeTable) -> None:
    other = content()
    other["conditions"][0]["prior"] = 0.08
    assert read_knowledge(json.dumps(other).encode(), "x.json").version != table.version


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prior": 0}, "common-cold"),
        ({"prior": 1.5}, "common-cold"),
        ({"findings": {"fever": 1.0}}, "common-cold"),
        ({"findings": {"hot": 0.5}}, "condition common-cold: expected findings of this file, found 'hot'"),
        ({"findings": {}}, "common-cold"),
        ({"sex": [1]}, "common-cold"),
        ({"age": [1] * 9}, "common-cold"),
        ({"malaria": [1, 1, 1, 0]}, "common-cold"),
        ({"altitude": [1]}, "common-cold"),
        ({"id": "influenza"}, "condition influenza"),
        ({"id": "Common cold"}, "condition 1"),
        ({"prior": 0.99}, "priors"),
    ],
)
def test_an_unsound_condition_is_refused_by_file_and_row(change: dict, said: str) -> None:
    data = content()
    data["conditions"][0].update(change)
    with pytest.raises(ArtefactError, match=r"x\.json") as refusal:
        read_knowledge(json.dumps(data).encode(), "x.json")
    assert said in str(refusal.value)


def test_an_unsound_finding_or_file_is_refused() -> None:
    for change in ({"background": 0}, {"id": "HP:194"}, {"id": "HP:0012735"}, {"name": "cough"}):
        data = content()
        data["findings"][0].update(change)
        with pytest.raises(ArtefactError, match=r"x\.json, finding"):
            read_knowledge(json.dumps(data).encode(), "x.json")
    for text in (b"", b"{}", json.dumps(content()).encode()[:-9]):
        with pytest.raises(ArtefactError, match=r"x\.json"):
            read_knowledge(text, "x.json")


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
