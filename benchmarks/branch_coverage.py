"""Which branches that a patient hangs on do the tests never take? `benchmarks/branch_coverage.py`.

    [--only ROOM]... [--list] [--json] [--save]

Branch coverage (coverage.py, the command line's own processes included) of triage, dosing, differential,
audit and storage under the test files that are about them, doctests included: branches taken of all, and
lines. Printed for each room and each file; --list names every branch that was not taken, as from -> to line.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import keep, options_of

ROOT = Path(__file__).parent.parent
PACKAGE = "src/akazuba"


@dataclass(frozen=True)
class Room:
    """sources: globs below the package. tests: names of the files that are about it."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[str]:
        found = (path for glob in self.sources for path in (ROOT / PACKAGE).glob(glob))
        return sorted({path.relative_to(ROOT).as_posix() for path in found})


ROOMS = {
    "triage": Room(
        ("urgency.py", "guidelines/triage.py", "guidelines/chart.py", "guidelines/plan.py"),
        ("triage", "triage_words", "triage_notes", "charts", "noted", "plugins", "plugin_parts"),
    ),
    "dosing": Room(
        tuple(
            f"guidelines/{name}.py"
            for name in (
                "medicines",
                "run",
                "tables",
                "cells",
                "formulas",
                "values",
                "case_values",
                "guideline",
            )
        ),
        ("medicines", "plan_doses", "formulas", "guidelines", "care"),
    ),
    "differential": Room(
        tuple(
            f"diagnosis/{name}.py"
            for name in ("differential", "evidence", "priors", "profiles", "questions", "rare")
        ),
        ("differential", "rare", "profiles", "consult"),
    ),
    "audit": Room(
        ("governance/audit*.py", "governance/decisions.py", "governance/checkpoint.py", "merkle.py"),
        (
            "audit",
            "audit_cli",
            "decisions",
            "checkpoint",
            "merkle",
            "locked",
            "tpm",
            "witness",
            "witness_cli",
            "witness_net",
        ),
    ),
    "storage": Room(
        ("storage/*.py",),
        (
            "storage",
            "storage_faults",
            "arrived",
            "spool",
            "storage_copies",
            "queue_file",
            "tpm",
            "locked",
            "waiting",
        ),
    ),
}
SETTINGS = """[run]
branch = true
parallel = true
patch = subprocess
source = {source}
data_file = {data}
[report]
exclude_also =
    if TYPE_CHECKING:
"""


def measured(rooms: Sequence[str]) -> dict[str, Any]:
    """One run of all their tests; every file counts for its room only. A test that fails is named: the
    branches up to its fault count.
    """
    tests = dict.fromkeys(f"tests/test_{name}.py" for room in rooms for name in ROOMS[room].tests)
    sources = [file for room in rooms for file in ROOMS[room].files()]
    with tempfile.TemporaryDirectory() as folder:
        rules, report = Path(folder, "rc"), Path(folder, "report.json")
        rules.write_text(SETTINGS.format(source=ROOT / PACKAGE, data=Path(folder, "data")), encoding="utf-8")
        run = ("run", "-m", "pytest", "-q", "-p", "no:randomly", "-n", "2", "--dist", "loadfile")
        said = _coverage(rules, *run, *tests, *sources, fails=True)
        _coverage(rules, "combine", "-q")
        _coverage(rules, "json", "-q", "-o", str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    failed = [line.split()[1] for line in said.splitlines() if line.startswith("FAILED ")]
    figures = {room: _room({name: files[name] for name in ROOMS[room].files()}) for room in rooms}
    return {"rooms": figures, "failed_tests": failed}


def _coverage(rules: Path, *arguments: str, fails: bool = False) -> str:
    """What it prints. fails: whether it may end as pytest does when tests fail."""
    command = [sys.executable, "-m", "coverage", *arguments]
    environment = {**os.environ, "COVERAGE_RCFILE": str(rules)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in ((0, 1) if fails else (0,)):
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return done.stdout


def _room(files: dict[str, Any]) -> dict[str, Any]:
    each = {name: _shares(found["summary"]) for name, found in files.items()}
    total = {key: sum(row[key] for row in each.values()) for key in ("branches", "taken", "lines", "run")}
    missing = {name: found["missing_branches"] for name, found in files.items() if found["missing_branches"]}
    return {**total, "percent": _percent(total), "files": each, "not_taken": missing}


def _shares(summary: dict[str, int]) -> dict[str, Any]:
    row = {
        "branches": summary["num_branches"],
        "taken": summary["covered_branches"],
        "lines": summary["num_statements"],
        "run": summary["covered_lines"],
    }
    return {**row, "percent": _percent(row)}


def _percent(row: dict[str, int]) -> float:
    return round(100 * row["taken"] / row["branches"], 1) if row["branches"] else 100.0


def main() -> None:
    given = options_of(__doc__, "list", "json", "save")
    given.add_argument("--only", action="append", choices=tuple(ROOMS))
    options = given.parse_args()
    begun = time.monotonic()
    facts = measured(options.only or tuple(ROOMS))
    facts["seconds"] = round(time.monotonic() - begun)
    facts |= {"python": platform.python_version(), "machine": platform.machine()}
    if options.save:
        keep(facts, __file__)
    if options.json:
        print(json.dumps(facts))
        return
    for room, found in facts["rooms"].items():
        print(f"{room:44} {found['taken']:5} / {found['branches']:5} branches  {found['percent']:5} %")
        for name, row in found["files"].items():
            print(f"  {name:42} {row['taken']:5} / {row['branches']:5} branches  {row['percent']:5} %")
            for start, end in found["not_taken"].get(name, ()) if options.list else ():
                print(f"      {start} -> {end}")
    for test in facts["failed_tests"]:
        print(f"failed: {test}")


if __name__ == "__main__":
    main()
