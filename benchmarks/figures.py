"""What the benchmarks share: their options, and figures with intervals, in words, as JSON and kept."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from math import sqrt
from pathlib import Path

Estimate = dict[str, float | int | None]
"""value, low, high (95 %) and n; None where there is nothing to count."""

RESULTS = Path(__file__).parent / "results"
FLAGS = {"json": "one JSON object, on the last line", "save": f"keep the figures in {RESULTS.name}/"}
Z95 = 1.959964


def options_of(about: str | None, *flags: str) -> ArgumentParser:
    """about: the benchmark's docstring. flags: options without a value, such as "quick: fewer cases"."""
    parser = ArgumentParser(description=about, formatter_class=RawDescriptionHelpFormatter)
    for flag in flags:
        name, _, words = flag.partition(": ")
        parser.add_argument(f"--{name}", action="store_true", help=words or FLAGS.get(name))
    return parser


def tell(figures: Mapping[str, object], given: Namespace, script: str, *, lines: bool = False) -> None:
    """Prints figures as JSON, on one line with --json; keeps them with --save. script: `__file__`.

    lines: one for each figure in any case, and the JSON only with --json.
    """
    if "save" in given and given.save:
        keep(figures, script)
    for key, value in figures.items() if lines else ():
        print(f"{key:44} {shown(value)}")
    if given.json or not lines:
        print(json.dumps(figures, indent=None if given.json else 2))


def keep(figures: Mapping[str, object], script: str) -> None:
    """Under the name of the benchmark, in `results/`."""
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    (RESULTS / f"{Path(script).stem}.json").write_text(text + "\n", encoding="utf-8")


def shown(value: object) -> str:
    if isinstance(value, Mapping) and "low" in value:
        return f"{value['value']} ({value['low']} to {value['high']}, n = {value['n']})"
    return str(value)


def wilson(hits: int, n: int) -> Estimate:
    """A share with its Wilson interval."""
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    share, z2 = hits / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)


def estimate(value: float, low: float, high: float, n: int) -> Estimate:
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "n": n}
