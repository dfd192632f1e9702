"""The example's own tests; they run without installing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from akazuba.errors import ArtefactError
from akazuba.guidelines.conformance import check
from akazuba.guidelines.library import open_library
from akazuba.plugins.brought import Plugins
from akazuba.plugins.gathering import tried
from akazuba.records import Assessment, Triage


@pytest.fixture
def plugins() -> Plugins:
    return tried("example", "akazuba_example")


def test_every_part_is_taken(plugins: Plugins) -> None:
    assert plugins.refused == ()
    assert plugins.loaded[0].brings == (
        "guideline snakebite-first-aid",
        "sensor example-thermometer (SIMULATED)",
        "observer 1",
    )


def test_the_guideline_agrees_with_its_conformance_rows(plugins: Plugins) -> None:
    library = open_library(brought=plugins.guidelines)
    assert library.refused_of_plugins == ()
    rows = check(library, library.get("snakebite-first-aid"))
    assert [row.differs for row in rows] == [()] * 6


def test_no_clause_claims_a_source_that_nobody_opened(plugins: Plugins) -> None:
    guideline = open_library(brought=plugins.guidelines).get("snakebite-first-aid")
    assert not any(clause.verified for clause in guideline.clauses.values())
    assert guideline.about.review == "not reviewed by a clinician"


def test_the_sensor_reads_its_file_and_says_that_it_is_simulated(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reading.txt"
    file.write_text("38.2\n")
    monkeypatch.setenv("AKAZUBA_EXAMPLE_TEMPERATURE", str(file))
    reading = plugins.sensors[0].take()
    assert (reading.value, reading.unit, reading.simulated) == (38.2, "°C", True)


def test_without_its_file_the_sensor_has_no_value(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AKAZUBA_EXAMPLE_TEMPERATURE", raising=False)
    with pytest.raises(ArtefactError, match="KeyError"):
        plugins.sensors[0].take()


def test_the_register_gets_the_urgency_and_nothing_of_the_patient(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "register.txt"
    monkeypatch.setenv("AKAZUBA_EXAMPLE_REGISTER", str(file))
    assert plugins.observers is not None
    plugins.observers.see(Assessment("Ada", triage=Triage("red")), agreed=True)
    plugins.observers.see(Assessment("Bea", error="age: expected …, found …"), agreed=True)
    plugins.observers.see(Assessment("Cia", triage=Triage("green")))
    assert plugins.observers.settle(5)
    assert file.read_text() == "red\nfailed\n"
