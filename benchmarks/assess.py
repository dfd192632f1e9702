"""`akazuba assess` as a user runs it: 100 cases in one process, without a language model.

    python benchmarks/assess.py [--quick] [--json]

Case set: real skin photos with their notes and real chest films from the development data in
../shared/data where it is there; else the built-in synthetic examples over and over (the output says
which). Every case gets vital signs too, so that each step of the consultation runs. `--quick` runs
once instead of five times. Times are whole-process wall clock (start, opening the box and all cases);
memory is the kernel's high-water mark of that process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run instead of five")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()

    cases, name = case_set(100)
    runs = [run(cases) for _ in range(1 if arguments.quick else 5)]
    [failed] = {failed for _, _, failed in runs}
    seconds = statistics.median(seconds for seconds, _, _ in runs)
    facts = {
        "case_set": name,
        "n": len(cases),
        "images": sum(len(case.get("images", ())) for case in cases),
        "runs": len(runs),
        "failed": failed,
        "assess_cases_per_s": round(len(cases) / seconds, 1),
        "assess_seconds": round(seconds, 2),
        "assess_peak_rss_mb": round(max(peak for _, peak, _ in runs), 1),
    }
    for key, value in facts.items():
        print(f"{key:22} {value}")
    if arguments.json:
        print(json.dumps(facts))


def case_set(size: int) -> tuple[list[dict[str, object]], str]:
    if not DATA.is_dir():
        examples = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]
        for case in examples:
            for image in case.get("images", ()):
                image["path"] = str(EXAMPLES / image["path"])
        cases = [{**examples[i % len(examples)], "id": f"c{i}"} for i in range(size)]
        return cases, "built-in synthetic examples (../shared/data is absent)"
    skin = rows("padufes_skin_clinical")[: size // 2]
    chest = rows("cxr_paediatric_pneumonia")
    chest = chest[:: len(chest) // (size - size // 2)][: size - size // 2]
    cases = [
        {
            "id": row["id"],
            "patient": {"age_years": float(row["age"])} if row.get("age") else {"age_years": 3},
            "note": row.get("note") or "Fever and cough for 3 days, breathing fast. No convulsions.",
            "vitals": VITALS,
            "images": [{"path": str(DATA / folder / row["file"]), "kind": kind}],
        }
        for folder, kind, chosen in (
            ("padufes_skin_clinical", "skin-photo", skin),
            ("cxr_paediatric_pneumonia", "chest-xray", chest),
        )
        for row in chosen
    ]
    return cases, "development photos and films (padufes_skin_clinical, cxr_paediatric_pneumonia)"


def rows(folder: str) -> list[dict[str, str]]:
    with (DATA / folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def run(cases: list[dict[str, object]]) -> tuple[float, float, int]:
    """Seconds, peak MiB and number of failed cases of one `akazuba assess`."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "cases.ndjson", Path(folder) / "out.ndjson"
        source.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
        command = [sys.executable, "-m", "akazuba", "assess", str(source), "--json", "--no-llm"]
        start = time.perf_counter()
        with target.open("wb") as out:
            pid = os.posix_spawn(
                sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
            )
            _, _, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
        answers = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    if [answer["case_id"] for answer in answers] != [case["id"] for case in cases]:
        raise SystemExit("error: assess: expected one answer a case in input order, found another list")
    return seconds, usage.ru_maxrss / 1024, sum("error" in answer for answer in answers)


if __name__ == "__main__":
    main()
