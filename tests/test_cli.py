"""The command line as other programs call it."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from akazuba.cli import EXAMPLES, main
from akazuba.records import Assessment

EXAMPLE_CASES = sorted(EXAMPLES.glob("*.json"))


@pytest.fixture
def run(terminology_home: Path):
    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner(env={"AKAZUBA_HOME": str(terminology_home)}).invoke(
            main, list(arguments), input=stdin
        )

    return invoke


def assessments(result: Result) -> list[dict]:
    for line in result.stdout.splitlines():
        msgspec.json.decode(line, type=Assessment)  # obeys the published format
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_demo_shows_every_example_and_says_that_they_are_synthetic(run) -> None:
    result = run("demo")
    assert result.exit_code == 0, result.stderr
    assert "SYNTHETIC" in result.stdout
    for path in EXAMPLE_CASES:
        assert path.stem in result.stdout
    assert "Not reviewed by a clinician" in result.stdout


def test_there_are_at_least_six_examples_and_each_names_a_synthetic_image() -> None:
    cases = [json.loads(path.read_text(encoding="utf-8")) for path in EXAMPLE_CASES]
    assert len(cases) >= 6
    assert all(image["path"].startswith("synthetic-") for case in cases for image in case.get("images", []))


def test_the_examples_come_out_with_the_urgency_that_the_chart_gives(run) -> None:
    result = run("assess", *map(str, EXAMPLE_CASES), "--json")
    levels = {line["case_id"]: line["triage"]["level"] for line in assessments(result)}
    assert levels == {
        "adult-cough": "green",
        "child-chest-film": "red",
        "child-mild-cough": "green",
        "fever-malaria-test": "red",
        "note-in-kinyarwanda": "unassessed",
        "pregnancy-headache": "red",
        "skin-arm": "green",
        "skin-face": "unassessed",
        "skin-too-dark": "unassessed",
    }


def test_a_bad_line_of_a_batch_gets_an_error_and_the_others_their_assessment(run) -> None:
    lines = ['{"id": "a", "note": "cough"}', '{"id": "b", "patient": {"age_years": -3}}', "{", '{"id": "c"}']
    result = run("assess", "-", "--json", stdin="\n".join(lines))
    answers = assessments(result)
    assert result.exit_code == 1
    assert [("error" in answer) for answer in answers] == [False, True, True, False]
    assert answers[1]["case_id"] == "b"
    assert "patient.age_years: expected" in answers[1]["error"]
    assert "found -3" in result.stderr


def test_a_single_unusable_case_exits_2(run, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text('{"id": "x", "vitals": {"temperature_c": 98.6}}', encoding="utf-8")
    result = run("assess", str(path))
    assert result.exit_code == 2
    assert "vitals.temperature_c" in result.stderr
    assert "°F" in result.stderr
    assert result.stdout == ""


def test_a_missing_file_is_named_and_the_other_files_are_still_assessed(run, tmp_path: Path) -> None:
    case = tmp_path / "case.json"
    case.write_text('{"id": "x", "note": "cough"}', encoding="utf-8")
    result = run("assess", str(tmp_path / "absent.json"), str(case), "--json")
    missing, assessed = assessments(result)
    assert result.exit_code == 1
    assert "absent.json" in missing["error"]
    assert assessed["case_id"] == "x"


def test_an_unreadable_image_costs_its_reading_not_the_urgency(run, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes((EXAMPLES / "synthetic-chest-child.png").read_bytes()[:2000])
    path = tmp_path / "case.json"
    path.write_text(
        '{"id": "x", "patient": {"age_years": 40}, "vitals": {"heart_rate_bpm": 180},'
        ' "images": [{"path": "cut.png", "kind": "chest-xray"}]}',
        encoding="utf-8",
    )
    result = run("assess", str(path), "--json")
    [answer] = assessments(result)
    assert result.exit_code == 1
    assert "cut.png" in result.stderr
    assert answer["triage"]["level"] == "red"
    assert answer["images"][0]["quality"]["usable"] is False
    assert answer["images"][0]["labels"] == {}


def test_heatmaps_are_written_where_asked(run, tmp_path: Path) -> None:
    result = run("assess", str(EXAMPLES / "skin-arm.json"), "--json", "--heatmap", str(tmp_path / "maps"))
    [answer] = assessments(result)
    heatmap = Path(answer["images"][0]["heatmap"])
    assert heatmap.parent == tmp_path / "maps"
    assert heatmap.read_bytes().startswith(b"\x89PNG")


def test_model_info_names_files_digests_and_licences(run) -> None:
    result = run("model", "info", "--json")
    assert result.exit_code == 0
    text = result.stdout
    assert "sha256" in text
    assert "licence" in text


def test_model_benchmark_measures_this_process(run) -> None:
    facts = json.loads(run("model", "benchmark", "--json", "--runs", "3").stdout)
    assert 0 < facts["latency_ms_p50"] <= facts["latency_ms_p95"]
    assert facts["peak_rss_mb"] > 20


def test_arguments_that_do_not_exist_exit_2(run) -> None:
    assert run("assess").exit_code == 2
    assert run("assess", "x.json", "--lang", "xx").exit_code == 2
    assert run("nonsense").exit_code == 2
