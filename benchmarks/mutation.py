"""Do the tests notice when triage or dosing goes wrong? `benchmarks/mutation.py`.

    [--sample N] [--seed 1] [--only FILE]... [--list] [--json] [--save]

mutmut changes one thing at a time in a copy of the code (a comparison, a number, a text, an argument) and
runs the tests that reach it. A mutant is killed when one of them fails; a survivor shows what no test
would notice. Printed for each file: killed of how many, with the 95 % interval (Wilson), once of all
mutants and once without those that `data/equivalent_mutants.tsv` names, each with the reason why no test can
tell it from the original. Constants outside functions, decorated functions and the charts' figures are not
mutated. --sample takes that many at random; --list prints every survivor as a diff.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from figures import keep, options_of, wilson

from akazuba.terminology import open_terminology

ROOT = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).parent / "data" / "equivalent_mutants.tsv"
GUIDELINES = "src/akazuba/guidelines"
FILES = {
    "triage.py": ("test_triage_words", "test_charts"),
    "chart.py": ("test_charts",),
    "medicines.py": ("test_medicines",),
    "run.py": ("test_plan_doses",),
}
"""What is mutated, and the quick tests that are about it. Laws over random cases and the conformance rows of
every guideline take seconds to minutes for each mutant: what only they would notice counts as a survivor.
"""

KILLED = "killed"
"""By a test that fails; one that runs into the time limit is listed as a survivor, to be looked at."""

SETTINGS = """[mutmut]
source_paths = src
only_mutate =
{only}
process_isolation = forkserver
use_git_change_detection = false
timeout_multiplier = 4
timeout_constant = 60
pytest_add_cli_args =
    -o
    addopts=--disable-socket --allow-unix-socket
pytest_add_cli_args_test_selection =
{tests}
"""


@contextlib.contextmanager
def copied(files: Sequence[str]) -> Iterator[Path]:
    """A copy of the project, set up for mutmut, as the current folder: nobody's edits reach it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(ROOT / "src", "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "tests", "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", ".")
        tests = sorted({f"tests/{test}.py" for file in files for test in FILES[file]})
        only = [f"{GUIDELINES}/{file}" for file in files]
        Path("setup.cfg").write_text(
            SETTINGS.format(only=_lines(only), tests=_lines(tests)), encoding="utf-8"
        )
        yield Path(folder)


def _lines(items: Sequence[str]) -> str:
    return "\n".join(f"    {item}" for item in items)


def measured(files: Sequence[str], sample: int | None, seed: int) -> dict[str, Any]:
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code

    with copied(files) as folder:
        names = {name: file for file in files for name in _mutants(file)}
        chosen = (
            names if sample is None else random.Random(seed).sample(sorted(names), min(sample, len(names)))
        )
        _run(folder, [] if sample is None else sorted(chosen))
        status, diffs = {}, {}
        for file in files:
            data = SourceFileMutationData(path=Path(GUIDELINES, file))
            data.load()
            for name in set(chosen) & data.exit_code_by_key.keys():
                status[name] = status_by_exit_code[data.exit_code_by_key[name]]
                if status[name] != KILLED:
                    diffs[name] = _changed(get_diff_for_mutant(name, path=data.path))
    if lost := set(chosen) - status.keys():
        raise AssertionError(f"{len(lost)} mutants without a verdict, {min(lost)} for one")
    return _counted({name: names[name] for name in chosen}, status, diffs)


def _mutants(file: str) -> list[str]:
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    path = Path(GUIDELINES, file)
    mutated = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    return [get_mutant_name(path, name) for name in mutated.mutant_names]


def _run(folder: Path, names: Sequence[str]) -> None:
    """Without PYTHONPATH, and the folder there before Python first looks, the installed project would be
    tested instead of its mutants.
    """
    terms, mutants = folder / "terms", folder / "mutants" / "src"
    terms.mkdir()
    open_terminology(terms).close()
    mutants.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(mutants), "AKAZUBA_TEST_TERMS": str(terms)}
    mutmut = [str(Path(sys.executable).with_name("mutmut")), "run", *names]
    done = subprocess.run(mutmut, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout.replace("\r", "\n")[-3000:] + done.stderr[-3000:])


def _changed(diff: str) -> str:
    """The lines of a diff that differ, blanks apart: the same wherever the function moves to."""
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return " ".join(" ".join(line.split()) for line in lines)


def equivalent() -> dict[tuple[str, str], str]:
    """The reason by (file, changed lines)."""
    with EQUIVALENT.open(encoding="utf-8", newline="") as text:
        rows = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row["file"], row["change"]): row["reason"] for row in rows}


def _counted(names: dict[str, str], status: dict[str, str], diffs: dict[str, str]) -> dict[str, Any]:
    known = equivalent()
    told = {name: known[names[name], diff] for name, diff in diffs.items() if (names[name], diff) in known}
    rows: dict[str, Any] = {}
    for file in (*dict.fromkeys(names.values()), "together"):
        mine = [name for name in names if file in (names[name], "together")]
        killed = sum(status[name] == KILLED for name in mine)
        same = sum(name in told for name in mine)
        rows[file] = {
            **Counter(status[name].replace(" ", "_") for name in mine),
            "mutants": len(mine),
            "killed_of_all": wilson(killed, len(mine)),
            "equivalent_by_hand": same,
            "killed_of_others": wilson(killed, len(mine) - same),
        }
    survivors = [
        {"mutant": name, "file": names[name], "status": status[name], "change": diff}
        for name, diff in sorted(diffs.items())
        if name not in told
    ]
    return {"files": rows, "survivors": survivors}


def main() -> None:
    given = options_of(__doc__, "list", "json", "save")
    given.add_argument("--sample", type=int)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--only", action="append", choices=tuple(FILES))
    options = given.parse_args()
    begun = time.monotonic()
    facts = measured(options.only or tuple(FILES), options.sample, options.seed)
    facts |= {"sample": options.sample, "seed": options.seed, "seconds": round(time.monotonic() - begun)}
    facts |= {"python": platform.python_version(), "machine": platform.machine()}
    if options.save:
        keep(facts, __file__)
    if options.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for file, row in facts["files"].items():
        print(f"{file:14}", json.dumps(row))
    for row in facts["survivors"] if options.list else ():
        print(f"{row['mutant']} ({row['status']}): {row['change']}")


if __name__ == "__main__":
    main()
