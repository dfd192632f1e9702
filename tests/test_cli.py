"""The command line as other programs call it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from click.testing import CliRunner, Result

from akazuba import consult
from akazuba.box import Box
from akazuba.cli import EXAMPLES, main
from akazuba.intake.cases import CaseLine
from akazuba.records import Assessment

EXAMPLE_CASES = sorted(EXAMPLES.glob("*.json"))


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


def test_the_examples_come_out_with_the_urgency_that_the_rules_give(run) -> None:
    result = run("assess", *map(str, EXAMPLE_CASES), "--json")
    levels = {line["case_id"]: line["triage"]["level"] for line in assessments(result)}
    assert levels == {
        "adult-cough": "red",  # green by the chart, 8 points by NEWS2
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
    assert "NOT ASSESSED" in result.stdout


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


COUGH = '{"id": "a", "note": "cough"}'


@pytest.mark.parametrize(
    ("content", "item"),
    [
        (b'{"id": "x", "patient": {"age_years": -3}}', "x, patient.age_years"),
        (b'{"id": "x", "vitals": {"temperature_c": NaN}}', "x, vitals.temperature_c"),
        (b'{"id": "x", "vitals": {"temperature_c": Infinity}}', "x, vitals.temperature_c"),
        (b'{"id": "x", "vitals": {"temprature_c": 37}}', "x, vitals.temprature_c"),
        (b'{"id": "x", "note": "' + b"y" * 1_000_000 + b'"}', "x, note"),
        (b'{"id": "x", "note": "' + b"y" * 3_000_000 + b'"}', "x, case.json"),
        (b'{"id": "x", "id": "y"}', "x, 'id'"),
        (b'{"note": ' + b"[" * 50_000, "case.json"),
        (b'{"id": 5}', "case.json, id"),
        (b"", "case.json"),
        (b" \n\n", "case.json"),
        (b"null", "case.json, case"),
        (b"[" + COUGH.encode() + b"]", "case.json"),
        (COUGH.encode("utf-16"), "case.json"),
        (COUGH.encode("utf-16-le"), "case.json"),
        (COUGH.encode("utf-16-be"), "case.json"),
        (b"\x89PNG\r\n\x1a\n\0\0", "case.json"),
        (b'{"resourceType": "Bundle", "id": "x"}', "x, Bundle"),
        (b'{"id": "x\\u001b[2J", "foo\\u001b]0;bar": 1}', "x\\u001b[2J, foo\\u001b]0;bar"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence_that_names_one_item(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, item: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("case.json").write_bytes(content)
    result = run("assess", "case.json", "--json")
    [answer] = assessments(result)
    assert result.exit_code == 2
    assert set(answer) == {"case_id", "version", "error"}
    [sentence] = result.stderr.splitlines()
    match = re.fullmatch(r"error: (.+?): expected .+, found .+", sentence)
    assert match
    assert match[1] == item


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id": "bad"',
        b"\0\x01\xff",
        b'{"id": "l", "note": "fi\xe8vre"}',
        b'{"id": "long", "note": "' + b"x" * 3_000_000 + b'"}',
        b'{"id": "deep", "note": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"[]",
        b'{"resourceType": "Bundle"}',
    ],
)
def test_a_bad_second_line_costs_only_itself(run, bad: bytes) -> None:
    batch = b"\xef\xbb\xbf" + COUGH.encode() + b"\r\n\r\n" + bad + b"\r\n" + COUGH.encode()
    result = run("assess", "-", "--json", stdin=batch)
    assert result.exit_code == 1
    assert ["error" in answer for answer in assessments(result)] == [False, True, False]
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in the assessment of every case called "b"."""
    sound = consult.assess

    def assess(box: Box, line: CaseLine, *rest: object) -> Assessment:
        if line.case_id == "b":
            raise KeyError("a fault\x1b[2J")
        return sound(box, line, *rest)

    monkeypatch.setattr(consult, "assess", assess)


@pytest.mark.usefixtures("faulty")
def test_a_fault_of_ours_in_one_case_costs_only_that_case_and_is_told(run) -> None:
    result = run("assess", "-", "--json", stdin=f'{COUGH}\n{{"id": "b"}}\n{COUGH}')
    answers = assessments(result)
    assert result.exit_code == 1
    assert ["error" in answer for answer in answers] == [False, True, False]
    assert "internal fault" in answers[1]["error"]
    assert "Traceback" in result.stderr
    assert "error: b, internal fault: expected an assessment, found KeyError" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.usefixtures("faulty")
def test_a_fault_of_ours_exits_1_and_never_shows_the_patient_as_safe(run) -> None:
    result = run("assess", "-", stdin='{"id": "b"}')
    assert result.exit_code == 1
    assert "NOT ASSESSED" in result.stdout


def test_nothing_from_a_case_reaches_the_terminal_as_a_control_character(run) -> None:
    case = {
        "id": "x\x1b[31m\x1b]0;title\x07\r\x9b2J\u202e\n/../",
        "note": "cough \x1b[2J and fever",
        "tests": [{"id": "a\x1b[31m", "result": "positive"}],
        "images": [{"path": "a\x1b[31m.png", "kind": "skin-photo"}],
    }
    result = run("assess", "-", stdin=json.dumps(case))
    assert result.exit_code == 1
    for text in (result.stdout, result.stderr):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert json.dumps(case["id"]) not in result.stdout


def test_a_file_whose_name_is_not_utf_8_is_named_as_far_as_it_goes(run, tmp_path: Path) -> None:
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")
    Path(bad).write_text('{"note": "cough"}', encoding="utf-8")
    [answer] = assessments(run("assess", bad, "--json"))
    assert answer["case_id"].endswith("caf\\udce9.json")
    [answer] = assessments(run("assess", bad + "x", "--json"))
    assert "nothing of that name" in answer["error"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_terminal_that_cannot_write_every_sign_still_gets_the_urgency(
    terminology_home: Path, encoding: str
) -> None:
    runner = CliRunner(charset=encoding, env={"AKAZUBA_HOME": str(terminology_home)})
    result = runner.invoke(main, ["assess", str(EXAMPLES / "fever-malaria-test.json")])
    assert result.exit_code == 0
    assert "RED: EMERGENCY" in result.stdout


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_for_heatmaps_that_cannot_be_made_is_said_before_any_work(
    run, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    result = run("assess", str(EXAMPLE_CASES[0]), "--heatmap", str(tmp_path / name))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --heatmap: expected a folder that can be written, found ")
    assert result.stdout == ""


@pytest.fixture
def started(terminology_home: Path):
    """Starts the command as a process of its own, its standard input and output as pipes."""

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "AKAZUBA_HOME": str(terminology_home)}
        command = [sys.executable, "-m", "akazuba", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)

    return start


def test_ctrl_c_in_a_batch_ends_it_quietly_with_130(started) -> None:
    with started("assess", "-", "--json") as process:
        process.stdin.write(f"{COUGH}\n{COUGH}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().startswith(b'{"case_id":"a"')
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


def test_a_reader_that_goes_away_ends_the_batch_quietly(started) -> None:
    with started("assess", "-", "--json") as process:
        process.stdin.write(f"{COUGH}\n{COUGH}\n".encode())
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        for _ in range(20):
            process.stdin.write(f"{COUGH}\n".encode())
        process.stdin.close()
        assert process.wait(10) == 1
        assert process.stderr.read() == b""


@pytest.mark.parametrize("output", [">&-", "> /dev/full"])
def test_an_output_that_takes_nothing_is_an_error_not_a_success(terminology_home: Path, output: str) -> None:
    command = f'"{sys.executable}" -m akazuba schema case {output}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: standard output: expected ")
    assert b"Traceback" not in done.stderr


def test_heatmaps_are_written_where_asked(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AKAZUBA_ENGINE", "student"
    )  # a busy machine chooses the smaller one, which draws none
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
    assert facts["student_bytes"] * 10 <= facts["teacher_bytes"]
    assert facts["student_parameters"] * 10 <= facts["teacher_parameters"]
    assert "student" in facts["engine"] or "tiny" in facts["engine"]


def test_the_engine_can_be_named_and_a_wrong_name_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKAZUBA_ENGINE", "tiny")
    facts = json.loads(run("model", "info", "--json").stdout)
    assert facts["profile"] == "tiny"
    assert set(facts["installed"]) >= {"student", "tiny"}
    monkeypatch.setenv("AKAZUBA_ENGINE", "full")
    for command in (("model", "info"), ("model", "benchmark")):
        missing = run(*command)
        assert missing.exit_code == 2
        assert "AKAZUBA_ENGINE full: expected a profile in" in missing.stderr
    monkeypatch.setenv("AKAZUBA_ENGINE", "huge")
    assert run("model", "info").exit_code == 2


def test_arguments_that_do_not_exist_exit_2(run) -> None:
    assert run("assess").exit_code == 2
    assert run("assess", "x.json", "--lang", "xx").exit_code == 2
    assert run("nonsense").exit_code == 2


# --- questions in the terminal ------------------------------------------------------------------


def test_questions_are_asked_on_stderr_and_the_json_stays_clean(run) -> None:
    case = str(EXAMPLES / "child-mild-cough.json")
    done = run("assess", case, "--interactive", "--json", stdin="maybe\nn\nu\ns\n")
    [answer] = assessments(done)
    assert answer["case_id"]
    assert "1. Ask or look for: " in done.stderr
    assert "expected y, n, u or s, found 'maybe'" in done.stderr
    assert "4. " not in done.stderr


def test_questions_end_with_the_input(run) -> None:
    done = run("assess", str(EXAMPLES / "child-mild-cough.json"), "--interactive", stdin="")
    assert done.exit_code == 0
    assert "PROBABLY" in done.stdout


@pytest.mark.parametrize("files", [("-",), tuple(map(str, EXAMPLE_CASES[:2]))])
def test_questions_need_one_case(run, files: tuple[str, ...]) -> None:
    done = run("assess", *files, "--interactive", stdin='{"id": "a"}')
    assert done.exit_code == 2
    assert "error: --interactive: expected one file with one case" in done.stderr


def test_a_fault_while_asking_is_shown_as_not_assessed(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("akazuba.interviews.interview", broken)
    done = run("assess", str(EXAMPLES / "child-mild-cough.json"), "--interactive")
    assert done.exit_code == 1
    assert "NOT ASSESSED" in done.stdout
    assert "internal fault: expected an assessment, found ZeroDivisionError()" in done.stderr


def test_guideline_run_takes_several_values_after_one_set(run) -> None:
    spread = ["--set", "respiratory_rate=26", "pulse=112", "spo2=93", "--json"]
    repeated = ["--set", "respiratory_rate=26", "--set", "pulse=112", "--set", "spo2=93", "--json"]
    answers = [json.loads(run("guideline", "run", "news2", *words).stdout) for words in (spread, repeated)]
    assert answers[0] == answers[1]
    assert answers[0]["possible"]["score"].startswith("7 to")
    twice = run("guideline", "run", "news2", "--set", "pulse=112", "pulse=3")
    assert twice.exit_code != 0
    assert "each name once" in twice.output
    files = run("guideline", "run", "news2", "a.json", "b.json")
    assert files.exit_code != 0
    assert "a.json, b.json" in files.output
