import dataclasses
import json
from pathlib import Path

import pytest

from akazuba.errors import ArtefactError
from akazuba.guidelines.describe import checks
from akazuba.guidelines.library import Library, shipped
from akazuba.guidelines.openehr import FILE, compare

CASES = Path(__file__).parents[2] / "shared" / "conformance" / "openehr_gdl" / "cases.jsonl.gz"

FORM = {
    "guideline": "form",
    "inputs": {
        "gt0001|AVPU": {"input": "consciousness", "values": {"at0005": "alert", "at0006": "voice"}},
        "gt0002|Temperature": {"input": "temperature_c"},
        "gt0003|Oxygen": {"input": "on_oxygen"},
    },
    "outputs": {
        "gt0009|Score": {"result": "score"},
        "gt0010|Risk": {"result": "band", "values": {"at0020": "low", "at0021": "low-medium"}},
    },
    "fixed": {"respiratory_rate_bpm": 16, "spo2_percent": 97, "systolic_mmhg": 120, "heart_rate_bpm": 70},
    "ignored": ["gt0030|Comment"],
}
INPUT = {
    "gt0001|AVPU": "local::at0006|Voice|",
    "gt0002|T": "310.15,K",
    "gt0003|O2": "0|local::at0007|Absent|",
}


def library_with(**changes: object) -> Library:
    library = shipped()
    texts = {**library.get("news2").texts, FILE: json.dumps({"maps": [{**FORM, **changes}]})}
    news2 = dataclasses.replace(library.get("news2"), files=texts)
    return dataclasses.replace(library, guidelines={**library.guidelines, "news2": news2})


def found(
    expected: dict[str, object], given: dict[str, str] | None = None, **changes: object
) -> dict[str, object]:
    given = {**INPUT, "gt0002|T": "37,Cel"} if given is None else given
    case = {"id": "form#1", "guideline": "form", "input": {"1": given}, "expected": {"1": expected}}
    return compare(library_with(**changes), [case], ["news2"])["news2"]


def test_a_case_agrees_by_number_and_by_code():
    assert found({"gt0009|Score": 3, "gt0010|Risk": "1|local::at0021|Medium|"})["agree"] == 1


def test_a_difference_is_named_or_explained():
    (differing,) = found({"gt0009|Score": "2"})["differing"]
    assert differing["differs"] == ["score: 2 expected (gt0009|Score: 2), 3 found"]
    assert found({"gt0009|Score": "2"}, explained={"form#1": "the chart says 3"})["explained"]


def test_an_explanation_of_what_agrees_is_reported():
    assert found({"gt0009|Score": 3}, explained={"form#1": "no longer so"})["differing"]


def test_what_expects_nothing_must_not_be_decided():
    assert found({}, {})["agree"] == 1
    assert found({})["differing"]


@pytest.mark.parametrize(
    ("expected", "given", "words"),
    [
        ({"gt0099|New": 1}, {}, "gt0099|New"),
        ({}, {"gt0098|New": "1,kg"}, "gt0098|New"),
        ({}, {"gt0001|AVPU": "local::at0099|Dozing|"}, "at0099"),
        ({"gt0010|Risk": "local::at0098|Huge|"}, {}, "at0098"),
    ],
)
def test_what_the_map_lacks_is_refused_by_name(expected, given, words):
    with pytest.raises(ArtefactError, match=r"news2/openehr\.json, form") as caught:
        found(expected, given)
    assert words in caught.value.found


def test_an_unknown_unit_is_a_difference_and_not_converted():
    (differing,) = found({"gt0009|Score": 3}, INPUT)["differing"]
    assert "K" in differing["differs"][0]


@pytest.mark.skipif(not CASES.exists(), reason="the published cases lie in ../shared")
def test_every_published_case_agrees_or_is_explained():
    report = checks(shipped(), [], CASES)
    assert not [case for part in report["openehr"].values() for case in part["differing"]]
