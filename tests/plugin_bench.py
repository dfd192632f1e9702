"""What the tests of plugins share: plugins installed for one test, and boxes with and without them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from akazuba.box import Box, open_box
from akazuba.consult import PLAINLY, Telling, assess
from akazuba.intake.cases import case_line
from akazuba.plugins.brought import Plugins
from akazuba.records import Assessment, Provenance
from akazuba.settings import Settings

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "src" / "akazuba" / "examples"
NO_ENGINE = "/no/engine"
"""The image engine has no part here, and takes most of a box's start."""
EXAMPLE_PLUGIN = ROOT / "examples" / "akazuba-example-plugin"

HEAD = """
from pathlib import Path
from akazuba.plugins.hookspecs import hookimpl
from akazuba.plugins.parts import ImageAnswer, ImageKind, LanguageTable, Sensor
from akazuba.wording.catalogue import Language
HERE = Path(__file__).parent
AKAZUBA_API = 1
"""

ABOUT = {
    "title": "A guideline of others",
    "publisher": "others",
    "edition": "1",
    "licence": "none",
    "review": "not reviewed by a clinician",
    "about": "whoever is warm",
    "kind": "illness",
    "applies": "temperature_c >= 25",
    "results": ["warmth"],
    "raises": {"warmth": {"warm": "red"}},
    "tables": [{"file": "warmth.csv", "policy": "first"}],
}
WARMTH = {
    "clauses.csv": "clause,page,says,source\nc,,Warm is warm,unverified\n",
    "warmth.csv": "row,if temperature_c,then warmth,clause\nwarm,>= 37.5,warm,c\nother,-,not warm,c\n",
}
GUIDELINES = "@hookimpl\ndef guideline_folders():\n    return [HERE / name for name in {names!r}]\n"
COUGH = {
    "id": "ada-7",
    "patient": {"age_years": 34, "sex": "female"},
    "note": "cough for 3 days",
    "vitals": {
        "temperature_c": 38.0,
        "heart_rate_bpm": 80,
        "respiratory_rate_bpm": 16,
        "spo2_percent": 98,
        "consciousness": "alert",
    },
}


def guideline(id_: str, **changes: object) -> dict[str, str]:
    """Files of a guideline that calls everybody from 37.5 °C warm, and warm red."""
    about = {"id": id_, **ABOUT, **changes}
    return {f"{id_}/guideline.json": json.dumps(about)} | {f"{id_}/{k}": v for k, v in WARMTH.items()}


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Installs a plugin for one test: a package and its metadata on the path."""
    place = tmp_path / "installed"
    made: list[str] = []

    def make(name: str, code: str, files: dict[str, str] | None = None, package: str = "") -> str:
        package = package or f"{name.replace('-', '_')}_{len(made)}_{abs(hash(tmp_path))}"
        made.append(package)
        for file, text in {"__init__.py": HEAD + code, **(files or {})}.items():
            path = place / package / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        facts = place / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[akazuba]\n{name} = {package}\n")
        monkeypatch.syspath_prepend(str(place))
        return package

    yield make
    for package in made:
        sys.modules.pop(package, None)


@pytest.fixture
def opened(terminology_home: Path) -> Iterator[Callable[..., Box]]:
    boxes: list[Box] = []

    def open_with(*names: str) -> Box:
        boxes.append(open_box(Settings(terminology_home, engine=NO_ENGINE, plugins=names)))
        if watching := boxes[-1].plugins.observers:
            watching.invented = True  # as all patients here are
        return boxes[-1]

    yield open_with
    for box in boxes:
        box.desk.terminology.close()


@pytest.fixture(scope="module")
def plain(terminology_home: Path) -> Iterator[Box]:
    box = open_box(Settings(terminology_home, engine=NO_ENGINE))
    yield box
    box.desk.terminology.close()


def answer(box: Box, telling: Telling = PLAINLY, **changes: object) -> Assessment:
    return assess(box, case_line(json.dumps({**COUGH, **changes}).encode(), "c.json"), None, telling)


def decided(assessment: Assessment) -> Assessment:
    """Without the milliseconds and the versions."""
    return msgspec.structs.replace(assessment, timings_ms={}, provenance=Provenance(""))


def named(box: Box) -> tuple[str, ...]:
    provenance = answer(box).provenance
    assert provenance
    return tuple(line for line in provenance.guidelines if line.startswith("PLUGIN REFUSED"))


def why(plugins: Plugins) -> str:
    """The one refusal."""
    [(_, words)] = plugins.refused
    return words


MALARIA = "malaria-uncomplicated"
IMAGES = f"@hookimpl\ndef image_kinds():\n    return [ImageKind('slide', read, ({MALARIA!r},))]\n"
