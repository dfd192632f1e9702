"""A guideline, a simulated sensor and an observer, as an example of all that a plugin needs."""

from __future__ import annotations

import os
from pathlib import Path

from akazuba.plugins.hookspecs import hookimpl
from akazuba.plugins.parts import Observer, Sensor
from akazuba.records import Assessment

AKAZUBA_API = 1

TEMPERATURE, REGISTER = "AKAZUBA_EXAMPLE_TEMPERATURE", "AKAZUBA_EXAMPLE_REGISTER"


@hookimpl
def guideline_folders() -> list[Path]:
    return [Path(__file__).parent / "snakebite-first-aid"]


@hookimpl
def sensors() -> list[Sensor]:
    return [Sensor("example-thermometer", "temperature_c", "°C", temperature_c, simulated=True)]


@hookimpl
def hooks() -> list[Observer]:
    return [register]


def temperature_c() -> float:
    """SIMULATED: what a file says. Raises when there is none: a sensor never makes a value up."""
    return float(Path(os.environ[TEMPERATURE]).read_text(encoding="utf-8"))


def register(assessment: Assessment) -> None:
    """Adds the level of urgency, and nothing that could tell who the patient is."""
    if file := os.environ.get(REGISTER):
        level = assessment.triage.level if assessment.triage else "failed"
        with Path(file).open("a", encoding="utf-8") as register_:
            register_.write(f"{level}\n")
