"""What the tests share."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from akazuba.cli import main
from akazuba.guidelines import library
from akazuba.guidelines.guideline import Guideline
from akazuba.language import reader
from akazuba.terminology import Terminology, open_terminology

os.environ.setdefault("AKAZUBA_ENGINE", "tiny")
"""Every new box would measure first which size of the engine it can carry. `test_profiles.py` does."""


@pytest.fixture(scope="session", autouse=True)
def read_once() -> Iterator[None]:
    """The guidelines and lay words inside the package, read for some hundred boxes: most of what opening one
    takes. Nothing changes them once they are read; those of other folders are read each time.
    """
    published: dict[Path, Guideline] = {}
    sound = library._sound

    def once(path: Path, *others: object) -> Guideline:
        if path.parent != library.LIBRARY:
            return sound(path, *others)  # type: ignore[arg-type]
        return published.get(path) or published.setdefault(path, sound(path, *others))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_sound", once)
        patch.setattr(reader, "english_lexicon", cache(reader.english_lexicon))
        yield


@pytest.fixture(scope="session")
def terminology_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box's data folder in which the terms are built already (AKAZUBA_TEST_TERMS: one to copy). Each of
    pytest-xdist's processes has its own, a copy of what the first of them built.
    """
    home = tmp_path_factory.mktemp("home")
    built = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        built = built.parent
    with (built / "terms.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if given := os.environ.get("AKAZUBA_TEST_TERMS"):
            shutil.copytree(given, built / "terms", dirs_exist_ok=True)
        open_terminology(built / "terms").close()
    shutil.copytree(built / "terms", home, dirs_exist_ok=True)
    return home


@pytest.fixture(scope="session")
def terminology(terminology_home: Path) -> Iterator[Terminology]:
    with open_terminology(terminology_home) as opened:
        yield opened


@pytest.fixture
def run(terminology_home: Path):
    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
        env = {"AKAZUBA_HOME": str(terminology_home), "AKAZUBA_LLM": "off"}
        return CliRunner(env=env).invoke(main, list(arguments), input=stdin)

    return invoke
