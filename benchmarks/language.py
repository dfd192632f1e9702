"""How well notes are read: precision and recall of findings, negation, time and memory.

    uv run python benchmarks/language.py [--quick] [--json]

Own notes (`data/annotated_notes.ndjson`): micro-averaged precision, recall and F1 of term ids of the
patient's current, certain findings. A present finding may be a kind of the annotated one, because the notes
were annotated before 545 more specific terms existed; what they could not name counts as wrong. 95 %
intervals from a bootstrap over notes (fixed seed). All notes and
the lexicon were written by one author: "dev" and "heldout" before the lexicon, whose phrases therefore know
their wording, "fresh" after it was finished. Errors were looked at in "dev" only; "fresh" is the figure to
quote. The Avey vignettes (`SOURCE.md` beside them) list what is
absent: every item names something denied, so an item recognised and read as present is an error of
negation; shares there carry Wilson intervals. The baseline is the same matcher with every match taken as
present. `--quick` bootstraps 500 times instead of 4,000 and reads 150 of the 400 vignettes.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import estimate, options_of, wilson

from akazuba.language.matching import Matcher, english_lexicon
from akazuba.language.reader import Reader
from akazuba.language.tokens import tokenise
from akazuba.terminology import Ancestors, Terminology, open_terminology

NOTES = Path(__file__).parent / "data" / "annotated_notes.ndjson"
AVEY = Path(__file__).parents[2] / "shared" / "data" / "text_dx_cases" / "avey400.jsonl"
SEED = 20260314
SPLITS = ("dev", "heldout", "fresh")

Read = Callable[[str], dict[str, set[str]]]
"""A note to the ids that were read: "present", "absent", "family", "past", "uncertain"."""


def with_context(reader: Reader) -> Read:
    def read(note: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for finding in reader.read(note, "en").findings:
            if finding.subject != "patient":
                kind = "family"
            elif finding.uncertain:
                kind = "uncertain"
            elif finding.temporality == "past":
                kind = "past"
            else:
                kind = "present" if finding.present else "absent"
            found.setdefault(kind, set()).add(finding.id)
        return found

    return read


def everything_present(terminology: Terminology) -> Read:
    matcher = Matcher(terminology, english_lexicon())

    def read(note: str) -> dict[str, set[str]]:
        return {"present": {term for match in matcher.matches(tokenise(note)) for term in match.ids}}

    return read


Counts = tuple[int, int, int]
"""Right, read and annotated findings of one note."""


def scores(counts: Sequence[Counts]) -> dict[str, float]:
    right, read, true = (sum(column) for column in zip(*counts, strict=True))
    precision = right / read if read else 0.0
    recall = right / true if true else 0.0
    both = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}


def with_intervals(counts: Sequence[Counts], rounds: int) -> dict[str, dict[str, float | int | None]]:
    rng = random.Random(SEED)
    samples = [scores(rng.choices(counts, k=len(counts))) for _ in range(rounds)]
    result = {}
    for name, value in scores(counts).items():
        drawn = sorted(sample[name] for sample in samples)
        low, high = drawn[int(0.025 * rounds)], drawn[int(0.975 * rounds) - 1]
        result[name] = estimate(value, low, high, len(counts))
    return result


def own_notes(read: Read, rows: Iterable[dict[str, object]], kind: str, ancestors: Ancestors) -> list[Counts]:
    """A present finding that is a kind of an annotated one is right, once ("bloody nipple discharge")."""
    counts = []
    for row in rows:
        true = set(row[kind])  # type: ignore[call-overload]
        found = read(str(row["note"])).get(kind, set())
        met = {term: (ancestors(term) if kind == "present" else {term}) & true for term in found}
        right = set().union(*met.values()) if met else set()
        wrong = sum(not terms for terms in met.values())
        counts.append((len(right), len(right) + wrong, len(true)))
    return counts


def avey(read: Read, rows: Sequence[dict[str, str]]) -> dict[str, object]:
    items = [item.strip() for row in rows for item in row["absent_findings"].split(",") if item.strip(" .-")]
    recognised = denied = 0
    for item in items:
        found = read(item)
        if any(found.values()):
            recognised += 1
            denied += not found.get("present")
    shown = absent = 0
    for row in rows:
        found = read(row["presentation"])
        absent += len(found.get("absent", ()))
        shown += len(found.get("absent", ())) + len(found.get("present", ()))
    return {
        "avey_absent_coverage": wilson(recognised, len(items)),
        "avey_negation_recall": wilson(denied, recognised),
        "avey_presentation_read_as_absent": wilson(absent, shown),
    }


def milliseconds(reader: Reader, notes: Sequence[str]) -> float:
    """Median time of one read, the best of three each."""
    times = []
    for note in notes:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            reader.read(note, "en")
            best = min(best, time.perf_counter() - start)
        times.append(best * 1000)
    return round(statistics.median(times), 3)


MEMORY = """
import re, sys
from pathlib import Path
import akazuba.records
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
from akazuba.language.reader import Reader
from akazuba.terminology import open_terminology
reader = Reader(open_terminology(Path(sys.argv[1])))
for note in sys.stdin.read().split("\\0"):
    reader.read(note, "en")
print(round(peak() - before, 1))
"""


def memory_mib(home: Path, notes: Sequence[str]) -> float:
    """Peak memory that terminology, reader and all notes add to a fresh process with the records loaded."""
    command = [sys.executable, "-c", MEMORY, str(home)]
    done = subprocess.run(command, input="\0".join(notes), capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_own_notes(
    systems: dict[str, Read], rows: Sequence[dict[str, object]], rounds: int, ancestors: Ancestors
) -> dict[str, object]:
    result: dict[str, object] = {}
    for split in SPLITS:
        part = [row for row in rows if row["split"] == split]
        for prefix, read in systems.items():
            for kind in (
                ("present",) if prefix else ("present", "absent")
            ):  # the baseline reads nothing as absent
                counts = own_notes(read, part, kind, ancestors)
                for name, found in with_intervals(counts, rounds).items():
                    result[f"{prefix}{kind}_{name}_{split}"] = found
    return result


def measure(home: Path, *, quick: bool) -> dict[str, object]:
    rows = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    texts = [str(row["note"]) for row in rows]
    vignettes = []
    if AVEY.is_file():
        lines = AVEY.read_text(encoding="utf-8").splitlines()
        vignettes = [json.loads(line) for line in lines][: 150 if quick else None]
        texts += [row["presentation"] for row in vignettes]
    start = time.perf_counter()
    open_terminology(home).close()
    result: dict[str, object] = {"terminology_build_s": round(time.perf_counter() - start, 2)}
    with open_terminology(home) as terminology:
        reader = Reader(terminology)
        systems = {"": with_context(reader), "baseline_": everything_present(terminology)}
        result["terminology"] = terminology.version
        result |= measure_own_notes(systems, rows, 500 if quick else 4000, terminology.ancestors)
        if vignettes:
            for prefix, read in systems.items():
                result |= {f"{prefix}{name}": value for name, value in avey(read, vignettes).items()}
        words = " ".join(texts).split()
        result["note_ms_p50"] = milliseconds(reader, texts)
        pages = [" ".join(words[first : first + 150]) for first in range(0, len(words) - 150, 150)]
        result["note_150_words_ms_p50"] = milliseconds(reader, pages)
    result["room_mib"] = memory_mib(home, texts)
    return result


def main() -> None:
    flags = ("quick: 500 bootstrap rounds, 150 vignettes", "json: only the JSON object")
    arguments = options_of(__doc__, *flags).parse_args()
    with TemporaryDirectory() as home:
        result = measure(Path(home), quick=arguments.quick)
    if not arguments.json:
        if not AVEY.is_file():
            print(f"Avey vignettes: skipped, {AVEY} is not there")
        for name, value in result.items():
            print(f"{name:42} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
