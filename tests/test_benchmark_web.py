"""The pure parts of `benchmarks/web.py`: its person, its percentiles, what it reads from answers."""

import json
import ssl
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    import web

    return web


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    import web_person

    return web_person


@pytest.fixture
def tablets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    import web_tablets

    return web_tablets


def test_the_person_needs_the_sum_of_her_operators_and_of_what_she_waits_for(person: ModuleType) -> None:
    steps = [
        person.tapped("a", "button", waited_s=0.25),
        person.typed("a", "field", "abcd"),
        person.chosen("a", "list"),
        person.read_through("a", 10),
    ]
    second = person.SECONDS
    expected = 0.25 + 4 * second["M"] + 4 * second["P"] + second["H"] + 4 * second["K"] + 10 * second["R"]
    assert person.seconds_of(steps) == pytest.approx(expected)
    assert person.count(steps, "K") == 4
    assert person.count(steps, "P") == 4


def test_people_differ_about_the_mean_one(person: ModuleType) -> None:
    found = person.among_people([person.typed("a", "note", "x" * 300), person.tapped("a", "button")])
    assert found["low"] < found["value"] < found["high"]
    assert found == person.among_people([person.typed("a", "note", "x" * 300), person.tapped("a", "button")])


def test_a_wait_is_the_same_for_everybody(person: ModuleType) -> None:
    found = person.among_people([person.Step("a", "wait", (), waited_s=60.0)])
    assert (found["low"], found["value"], found["high"]) == (1.0, 1.0, 1.0)


def test_the_paper_form_holds_every_letter_of_the_case(person: ModuleType) -> None:
    case = json.loads((FOLDER.parent / "src/akazuba/examples/adult-cough.json").read_text(encoding="utf-8"))
    steps = person.on_paper(case, "Grace", "Kabeza", person.PLAN)
    assert person.count(steps, "W") > len(case["note"]) + 2 * len("Grace") + 2 * len("Kabeza")
    assert person.count(steps, "P") == person.count(steps, "K") == 0
    longer = person.on_paper({**case, "note": case["note"] + "x" * 100}, "Grace", "Kabeza", person.PLAN)
    assert person.seconds_of(longer) - person.seconds_of(steps) == pytest.approx(100 * person.SECONDS["W"])


def test_a_percentile_lies_within_its_interval(web: ModuleType) -> None:
    found = web.p95([float(value) for value in range(1, 201)])
    assert found["low"] <= found["value"] <= found["high"]
    assert found["value"] == pytest.approx(190, abs=1)
    assert found["n"] == 200


def test_taps_assessing_and_saving_are_counted_apart(web: ModuleType) -> None:
    found = web.latencies({"search": [10.0] * 20, "assess, picture": [300.0] * 20, "decide": [50.0] * 20}, "")
    assert found["tap_ms_p95"]["value"] == 10
    assert found["assess_ms_p95"]["value"] == 300
    assert found["save_ms_p95"]["value"] == 50
    assert found["by_kind_ms"]["search"] == {"p50": 10.0, "p95": 10.0, "n": 20}


def test_an_alarm_is_late_or_missed_only_where_nobody_came(web: ModuleType) -> None:
    rows = [
        ("answered", "arrived", "unassessed", 0.0),
        ("answered", "triaged", "red", 10.0),
        ("answered", "alarm", "red", 10.5),
        ("answered", "acknowledged", "red", 60.0),
        ("alone", "triaged", "red", 20.0),
        ("alone", "alarm", "red", 20.8),
        ("alone", "escalated", "red", 145.0),
        ("deaf", "triaged", "red", 30.0),
        ("green", "triaged", "green", 30.0),
        ("quick", "triaged", "red", 40.0),
        ("quick", "seen", "red", 41.0),
    ]
    found = web.lateness(rows, now_s=200.0)
    assert found["alarms_due"] == 5
    assert found["alarms_missed"] == 2
    assert found["alarms_late"] == 1
    assert found["alarm_after_s_worst"] == 5.0


def test_an_alarm_that_is_still_to_come_is_not_due(web: ModuleType) -> None:
    found = web.lateness([("new", "triaged", "red", 100.0), ("new", "alarm", "red", 100.2)], now_s=150.0)
    assert found == {
        "alarms_due": 1,
        "alarms_missed": 0,
        "alarms_late": 0,
        "alarm_after_s_worst": 0.2,
    }


def test_answers_to_questions_become_part_of_the_case(tablets: ModuleType) -> None:
    said = tablets.Said()
    said.answer("HP:0002094", "yes")
    said.answer("test:malaria-rdt", "no")
    said.answer("HP:0001945", "unknown")
    assert said.findings == [{"id": "HP:0002094", "present": True}]
    assert said.tests == [{"id": "malaria-rdt", "result": "negative"}]
    assert said.unanswered == ["HP:0001945"]
    example = tablets.Example("cough", {"note": "cough", "findings": [{"id": "HP:0012735"}]}, {})
    case = json.loads(tablets.packed(example, "c-000001", {"id": "p-000001"}, said)["case"])
    assert [finding["id"] for finding in case["findings"]] == ["HP:0012735", "HP:0002094"]
    assert case["id"] == "c-000001"


def test_what_a_tablet_needs_is_read_from_the_answer(tablets: ModuleType) -> None:
    html = '<article data-level="red" data-index="17"><div class="buttons" data-question="test:x">'
    assert tablets.index_of(html) == "17"
    assert tablets.question_of(html) == "test:x"
    assert tablets.question_of("<p>") is None


def test_every_user_signs_in_with_a_pin_that_the_box_allows(web: ModuleType) -> None:
    from akazuba.governance.pins import check_new
    from akazuba.governance.roles import LIMITS

    members = web.box.staff()
    assert sum(member.role == "clinician" for member in members) == web.box.TABLETS
    for member in members:
        check_new(member.pin, LIMITS[member.role].pin_least, member.id)


@pytest.mark.enable_socket
def test_a_handshake_is_measured_at_both_ends_and_only_with_whom_the_clinic_vouches_for(
    web: ModuleType, terminology_home: Path
) -> None:
    with web.box.served(terminology_home, tls=True) as serving:
        trust = ssl.create_default_context(cafile=serving.authority)
        found = web.handshakes(serving, trust, 20)
        with pytest.raises(ssl.SSLCertVerificationError):
            web.handshakes(serving, ssl.create_default_context(), 1)
    assert found["version"].startswith("TLSv1.3")
    assert found["tls_ms_p95"]["n"] == 20
    assert 0 < found["tls_ms_p50"] <= found["tls_ms_p95"]["value"]
    assert 0 <= found["tls_server_cpu_ms"] < 1000
