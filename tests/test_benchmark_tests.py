"""The benchmarks that judge the tests: whose files and tests they name, and how they count."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import branch_coverage
import mutation

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("room", branch_coverage.ROOMS)
def test_every_file_of_a_room_and_every_test_about_it_exists(room: str) -> None:
    found = branch_coverage.ROOMS[room]
    for glob in found.sources:
        assert list((ROOT / branch_coverage.PACKAGE).glob(glob)), glob
    for name in found.tests:
        assert (ROOT / "tests" / f"test_{name}.py").is_file(), name


def test_every_mutated_file_and_the_tests_about_it_exist() -> None:
    for file, tests in mutation.FILES.items():
        assert (ROOT / mutation.GUIDELINES / file).is_file()
        assert all((ROOT / "tests" / f"{test}.py").is_file() for test in tests)


def test_branches_of_a_room_are_summed_over_its_files() -> None:
    files = {
        "a.py": (4, 3, [[5, 6]]),
        "b.py": (0, 0, []),
    }
    report = {
        name: {
            "summary": {
                "num_branches": all_,
                "covered_branches": taken,
                "num_statements": 9,
                "covered_lines": 8,
            },
            "missing_branches": missing,
        }
        for name, (all_, taken, missing) in files.items()
    }
    room = branch_coverage._room(report)
    assert (room["branches"], room["taken"], room["percent"]) == (4, 3, 75.0)
    assert (room["lines"], room["run"]) == (18, 16)
    assert room["files"]["b.py"]["percent"] == 100.0
    assert room["not_taken"] == {"a.py": [[5, 6]]}


def test_a_survivor_counts_unless_it_is_named_as_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "equivalent", lambda: {("run.py", "- a + b"): "the same"})
    names = dict.fromkeys(("m1", "m2", "m3"), "run.py") | {"m4": "chart.py"}
    status = {"m1": "killed", "m2": "survived", "m3": "no tests", "m4": "timeout"}
    diffs = {"m2": "- a + b", "m3": "- a + c", "m4": "- a + d"}
    found = mutation._counted(names, status, diffs)
    row = found["files"]["run.py"]
    assert (row["mutants"], row["killed"], row["survived"], row["no_tests"]) == (3, 1, 1, 1)
    assert row["killed_of_all"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert row["equivalent_by_hand"] == 1
    assert row["killed_of_others"]["value"] == 0.5
    assert found["files"]["together"]["killed_of_all"]["value"] == 0.25
    assert [(row["mutant"], row["status"]) for row in found["survivors"]] == [
        ("m3", "no tests"),
        ("m4", "timeout"),
    ]


def test_a_change_is_the_same_wherever_its_function_moves_to() -> None:
    diff = "--- src/x.py\n+++ src/x.py\n@@ -1,3 +1,3 @@\n def f():\n-    return  1\n+    return 2\n"
    assert mutation._changed(diff) == mutation._changed(diff.replace("    return", "        return"))
    assert mutation._changed(diff) == "- return 1 + return 2"


def test_every_equivalent_mutant_has_a_file_and_a_reason() -> None:
    for (file, change), reason in mutation.equivalent().items():
        assert file in mutation.FILES
        assert change.startswith("- ")
        assert reason
