"""`akazuba assess` as a user runs it: 100 cases in one process, without a language model.

    python benchmarks/assess.py [--quick] [--json]

Case set: real skin photos with their notes and real chest films from the development data in
../shared/data where it is there; else the built-in synthetic examples over and over (the output says
which). Every case gets vital signs too, so that each step of the consultation runs. `--quick` runs
once instead of five times. Times are whole-process wall clock (start, opening the box and all cases);
memory is the kernel's high-water mark of that process.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import options_of, tell

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = ROOT / "src" / "akazuba" / "examples"
VITALS = {
    "temperature_c": 37.9,
    "heart_rate_bpm": 96,
    "respiratory_rate_bpm": 22,
    "spo2_percent": 96,
    "consciousness": "alert",
}


def main() -> None:
    arguments = options_of(__doc__, "quick: one run instead of five", "json").parse_args()
    facts = measured(DATA if DATA.is_dir() else None, runs=1 if arguments.quick else 5)
    tell(facts, arguments, __file__, lines=True)


def measured(data: Path | None, runs: int, size: int = 100) -> dict[str, str | float]:
    """data: folder of the development data, or None for the built-in examples."""
    cases, name = case_set(data, size)
    done = [run(cases) for _ in range(runs)]
    [failed] = {failed for _, _, failed in done}
    seconds = statistics.median(seconds for seconds, _, _ in done)
    return {
        "assess_case_set": name,
        "assess_n": len(cases),
        "assess_images": sum(len(case.get("images", ())) for case in cases),
        "assess_runs": runs,
        "assess_failed": failed,
        "assess_seconds": round(seconds, 2),
        "assess_cases_per_s": round(len(cases) / seconds, 1),
        "assess_peak_rss_mb": round(max(peak for _, peak, _ in done), 1),
    }


def case_set(data: Path | None, size: int) -> tuple[list[dict[str, Any]], str]:
    if data is None:
        examples = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]
        for case in examples:
            for image in case.get("images", ()):
                image["path"] = str(EXAMPLES / image["path"])
        cases = [{**examples[i % len(examples)], "id": f"c{i}"} for i in range(size)]
        return cases, "built-in synthetic examples (../shared/data is absent)"
    skin = rows(data / "padufes_skin_clinical")[: size // 2]
    chest = rows(data / "cxr_paediatric_pneumonia")
    chest = chest[:: len(chest) // (size - size // 2)][: size - size // 2]
    cases = [
        {
            "id": row["id"],
            "patient": {"age_years": float(row["age"])} if row.get("age") else {"age_years": 3},
            "note": row.get("note") or "Fever and cough for 3 days, breathing fast. No convulsions.",
            "vitals": VITALS,
            "images": [{"path": str((data / folder / row["file"]).resolve()), "kind": kind}],
        }
        for folder, kind, chosen in (
            ("padufes_skin_clinical", "skin-photo", skin),
            ("cxr_paediatric_pneumonia", "chest-xray", chest),
        )
        for row in chosen
    ]
    return cases, "development photos and films (padufes_skin_clinical, cxr_paediatric_pneumonia)"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


COMMAND = """
import atexit, sys
from akazuba.cli import main
from akazuba.diagnosis.profiles import peak_rss_mib
atexit.register(lambda: print(peak_rss_mib(), file=sys.stderr))
main()
"""


def run(cases: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Seconds, peak MiB and number of failed cases of one `akazuba assess` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "cases.ndjson"
        source.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
        command = [sys.executable, "-c", COMMAND, "assess", str(source), "--json", "--no-llm"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        seconds = time.perf_counter() - start
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if [answer["case_id"] for answer in answers] != [case["id"] for case in cases]:
        raise SystemExit("error: assess: expected one answer a case in input order, found another list")
    return seconds, float(done.stderr.split()[-1]), sum("error" in answer for answer in answers)


if __name__ == "__main__":
    main()
