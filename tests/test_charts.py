"""Charts as data: every term exists, and an unsound file is refused by file and row."""

import json

import pytest

from akazuba.errors import ArtefactError
from akazuba.guidelines.chart import read_chart, shipped_charts
from akazuba.terminology import Terminology


def test_every_finding_of_a_rule_exists(terminology: Terminology) -> None:
    for chart in shipped_charts():
        for row in chart.signs.values():
            for id_ in (*row.findings, *row.recent, *row.hints):
                assert terminology.canonical(id_) == id_, row.name


SIGN = {"name": "stridor", "findings": ["HP:0010307"]}
RULE = {
    "id": "r-one",
    "band": "adult",
    "level": "red",
    "signs": ["stridor"],
    "message": "stridor",
    "source": "IITT, step 1",
}


def chart(signs: list[dict], rules: list[dict]) -> bytes:
    head = dict.fromkeys(("id", "title", "publisher", "edition", "licence", "review"), "some words")
    return json.dumps({**head, "notes": [], "actions": [], "signs": signs, "rules": rules}).encode()


def test_a_sound_chart_is_read() -> None:
    assert len(read_chart(chart([SIGN], [RULE]), "x.json").rules) == 1


@pytest.mark.parametrize(
    ("signs", "rules", "said"),
    [
        ([{"name": "pulse", "vitals": [{"vital": "pulse_bpm", "above": 3}]}], [], "x.json, sign 1 (pulse)"),
        ([{"name": "pulse", "vitals": [{"vital": "heart_rate_bpm"}]}], [], "one comparison"),
        ([{"name": "pulse", "vitals": [{"vital": "heart_rate_bpm", "is": ["fast"]}]}], [], "a number"),
        ([{"name": "mind", "vitals": [{"vital": "consciousness", "is": ["awake"]}]}], [], "sign 1 (mind)"),
        ([{"name": "stridor", "findings": ["HP:10307"]}], [], "sign 1 (stridor)"),
        ([{"name": "stridor"}], [], "sign 1 (stridor)"),
        ([SIGN, SIGN], [], "sign stridor"),
        ([SIGN], [{**RULE, "level": "orange"}], "x.json, rule 1 (r-one)"),
        ([SIGN], [{key: value for key, value in RULE.items() if key != "source"}], "source"),
        ([SIGN], [{**RULE, "signs": ["wheeze"]}], "rule r-one: expected signs of this file, found 'wheeze'"),
        ([SIGN], [{**RULE, "at_least": 2}], "rule r-one"),
        ([SIGN], [{**RULE, "signs": []}], "rule r-one"),
        ([SIGN], [RULE, RULE], "rule r-one"),
        ([SIGN], [{**RULE, "urgency": 1}], "rule 1 (r-one)"),
    ],
)
def test_an_unsound_chart_is_refused_by_file_and_row(signs: list[dict], rules: list[dict], said: str) -> None:
    with pytest.raises(ArtefactError, match=r"x\.json") as refusal:
        read_chart(chart(signs, rules), "x.json")
    assert said in str(refusal.value)


def test_a_file_that_is_no_chart_is_refused() -> None:
    for text in (b"", b"[]", b"{}", chart([SIGN], [RULE])[:-20]):
        with pytest.raises(ArtefactError, match=r"x\.json"):
            read_chart(text, "x.json")
