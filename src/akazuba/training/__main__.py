"""Trains the engine that is shipped, from the raw data to `diagnosis/models/`.

    python -m akazuba.training --data ../shared/data

Every finished stage is kept in the work folder and is not repeated, so that an interrupted run goes
on where it stopped; a fresh work folder repeats everything. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from akazuba.diagnosis.artefacts import SHIPPED
from akazuba.training.run import train_all


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m akazuba.training", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument(
        "--work", type=Path, default=Path("scratch/training"), help="folder for finished stages"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks/results"), help="folder for the record"
    )
    parser.add_argument("--seed", type=int, default=20260314)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--export-only", action="store_true", help="export what is trained, also when folds are still missing"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - start:6.0f} s] {text}\n")
        sys.stdout.flush()

    if not arguments.export_only:
        train_all(arguments.data, arguments.work, arguments.seed, say)
    from akazuba.training.ship import ship

    ship(arguments.data, arguments.work, arguments.results, SHIPPED, seed=arguments.seed, say=say)


main()
