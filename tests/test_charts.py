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
    words = {key: f"the {key} of it" for key in ("id", "title", "publisher", "edition", "licence", "review")}
    action = {"level": "red", "action": "call for help", "clause": "step 1"}
    file = {**words, "notes": [], "signs": [SIGN], "rules": [RULE], "actions": [action]}
    found = read_chart(json.dumps(file).encode(), "x.json")
    assert {key: getattr(found, key) for key in words} == words
    assert [rule.id for rule in found.rules] == ["r-one"]
    assert found.signs["stridor"].findings == ("HP:0010307",)
    assert [(row.level, row.action, row.clause, row.step) for row in found.actions] == [
        ("red", "call for help", "step 1", None)
    ]


def test_an_unsound_action_is_refused_by_its_row() -> None:
    file = json.loads(chart([SIGN], [RULE])) | {"actions": [{"level": "red", "action": "call for help"}]}
    with pytest.raises(
        ArtefactError, match=r"x\.json, action 1 \(None\): expected a sound row, found .*clause"
    ):
        read_chart(json.dumps(file).encode(), "x.json")


@pytest.mark.parametrize(
    ("signs", "rules", "said"),
    [
        ([{"name": "pulse", "vitals": [{"vital": "pulse_bpm", "above": 3}]}], [], "x.json, sign 1 (pulse)"),
        ([{"name": "pulse", "vitals": [{"vital": "heart_rate_bpm"}]}], [], "one comparison"),
        (
            [{"name": "pulse", "vitals": [{"vital": "heart_rate_bpm", "is": ["fast"]}]}],
            [],
            "heart_rate_bpm compared with a number expected, ('fast',) found",
        ),
        ([{"name": "mind", "vitals": [{"vital": "consciousness", "is": ["awake"]}]}], [], "sign 1 (mind)"),
        ([{"name": "stridor", "findings": ["HP:10307"]}], [], "sign 1 (stridor)"),
        (
            [{"name": "stridor"}],
            [],
            "found a finding or a vital sign that proves it expected, none found",
        ),
        ([SIGN, SIGN], [], "sign stridor"),
        ([SIGN], [{**RULE, "level": "orange"}], "x.json, rule 1 (r-one)"),
        ([SIGN], [{key: value for key, value in RULE.items() if key != "source"}], "source"),
        ([SIGN], [{**RULE, "signs": ["wheeze"]}], "rule r-one: expected signs of this file, found 'wheeze'"),
        ([SIGN], [{**RULE, "at_least": 2}], "rule r-one: expected at most 1 signs needed, found 2"),
        ([SIGN], [{**RULE, "signs": []}], "rule r-one: expected signs, an age or pregnancy, found none"),
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
        with pytest.raises(ArtefactError, match=r"x\.json: expected a triage chart, found [A-Z].* "):
            read_chart(text, "x.json")
