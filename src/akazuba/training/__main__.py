"""Trains the engine, from the raw data to what is shipped.

    python -m akazuba.training --data ../shared/data

Every finished stage is kept in the work folder and is not repeated, so that an interrupted run goes on where
it stopped; a fresh work folder repeats everything. Seeds are fixed. The student and tiny go into the package;
the teacher (profile `full`, some 50 MB) goes to --full, from where a box takes it as
AKAZUBA_HOME/models/full.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from akazuba.diagnosis.artefacts import SHIPPED
from akazuba.errors import AkazubaError
from akazuba.training.run import Job, train_all
from akazuba.training.ship import ship


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m akazuba.training", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("scratch/training"), help="finished stages")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="the record")
    parser.add_argument("--full", type=Path, default=Path("scratch/full"), help="the exported teacher")
    parser.add_argument("--dinov2", type=Path, help="real DINOv2 ViT-S/14 weights (.pth or .safetensors)")
    parser.add_argument(
        "--untrained", action="store_true", help="only write the untrained full-size network to --full"
    )
    parser.add_argument("--seed", type=int, default=20260314)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - start:6.0f} s] {text}\n")
        sys.stdout.flush()

    if arguments.untrained:
        from akazuba.training.untrained import write

        write(arguments.data, arguments.full)
        return
    job = Job(arguments.data, arguments.work, arguments.seed, say, arguments.dinov2)
    folders = {"full": arguments.full, "student": SHIPPED / "student", "tiny": SHIPPED / "tiny"}
    try:
        train_all(job)
        ship(job, arguments.results, folders)
    except AkazubaError as error:
        parser.exit(2, f"error: {error}\n")


main()
