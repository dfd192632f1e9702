"""The command `akazuba plugin`, its starters, the worked example, and what is documented of the API."""

# ruff: noqa: F401, F811 - the fixtures of plugin_bench are imported by name

from __future__ import annotations

import doctest
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugin_bench import (
    EXAMPLE_PLUGIN,
    GUIDELINES,
    IMAGES,
    NO_ENGINE,
    ROOT,
    Make,
    answer,
    decided,
    guideline,
    make,
    named,
    opened,
    plain,
)

from akazuba.box import Box
from akazuba.cli.plugin import plugin as plugin_command
from akazuba.errors import InputError
from akazuba.plugins import hookspecs
from akazuba.plugins.new import KINDS, write_starter
from akazuba.settings import Settings

# --- the command, the starters, the worked example ----------------------------------------------


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # as where only pytest is installed
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_has_a_test_that_passes(kind: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(plugin_command, ["new", "our-own", "--kind", kind, "--into", str(tmp_path)])
    assert done.exit_code == 0, done.output
    tested = run_tests(tmp_path / "our-own")
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    assert "@" not in (tmp_path / "our-own" / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["Our Own", "../up", "", "-x", "a--b", "a" * 60])
def test_a_plugin_with_an_unusable_name_is_not_begun(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plugin name"):
        write_starter(name, "hook", tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_starter("mine", "hook", tmp_path)
    with pytest.raises(InputError, match="no folder of that name"):
        write_starter("mine", "sensor", tmp_path)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example, built and installed without the network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("target")
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not beside this interpreter")
    offline = ["--offline", "--no-index", "--no-deps", "--no-build-isolation", "--python", sys.executable]
    command = [str(uv), "pip", "install", *offline, "--target", str(folder), str(EXAMPLE_PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def in_use(target: Path, monkeypatch: pytest.MonkeyPatch, terminology_home: Path) -> Iterator[dict[str, str]]:
    monkeypatch.syspath_prepend(str(target))
    yield {"AKAZUBA_HOME": str(terminology_home), "AKAZUBA_PLUGINS": "example"}
    sys.modules.pop("akazuba_example", None)


def test_the_worked_example_passes_its_own_tests() -> None:
    tested = run_tests(EXAMPLE_PLUGIN)
    assert tested.returncode == 0, tested.stdout
    assert "6 passed" in tested.stdout


def test_the_worked_example_is_installed_and_adds_first_aid_to_a_snake_bite(
    in_use: dict[str, str], opened: Callable[..., Box], plain: Box
) -> None:
    box = opened("example")
    bitten = {"note": "bitten by a snake on the foot an hour ago"}
    told, without = answer(box, **bitten), answer(plain, **bitten)
    assert named(box) == ()
    assert told.triage
    assert without.triage
    assert told.triage.level == without.triage.level == "red"
    added = [
        step for step in told.plan or () if step.guideline == "First aid after a snake bite (example plugin)"
    ]
    assert [step.action for step in added] == ["do", "do", "avoid", "refer"]
    assert {step.overlay for step in added} == {("guideline of plugin example",)}
    assert {step.source for step in added} == {"unverified"}
    assert decided(answer(box)) == decided(answer(plain))


def test_the_command_lists_and_checks_the_worked_example(in_use: dict[str, str], tmp_path: Path) -> None:
    reading, register = tmp_path / "temperature.txt", tmp_path / "register.txt"
    reading.write_text("38.5")
    files = {"AKAZUBA_EXAMPLE_TEMPERATURE": str(reading), "AKAZUBA_EXAMPLE_REGISTER": str(register)}
    runner = CliRunner(env={**in_use, **files, "AKAZUBA_ENGINE": NO_ENGINE})
    listed = runner.invoke(plugin_command, ["list", "--json"])
    [fact] = [it for it in json.loads(listed.output)["plugins"] if it["name"] == "example"]
    assert fact["on"]
    assert fact["brings"][1] == "sensor example-thermometer (SIMULATED)"
    checked = runner.invoke(plugin_command, ["check", "example"])
    assert checked.exit_code == 0, checked.output
    assert "6 of 6 conformance rows agree" in checked.output
    assert "temperature_c 38.5 °C (SIMULATED)" in checked.output
    assert not register.exists()  # invented patients stay out of a register unless they are asked for
    assert runner.invoke(plugin_command, ["check", "example", "--observers"]).exit_code == 0
    assert len(register.read_text().split()) == 9


def test_a_check_names_what_is_wrong(make: Make, terminology_home: Path) -> None:
    files = guideline("w", raises={})
    files["w/conformance.csv"] = "case,source,set temperature_c,expect warmth\nhot,none,39,not warm\n"
    code = GUIDELINES.format(names=["w", "absent"])
    make("bad", f"{code}def read(p):\n    raise OSError\n{IMAGES}", files)
    runner = CliRunner(env={"AKAZUBA_HOME": str(terminology_home), "AKAZUBA_ENGINE": NO_ENGINE})
    done = runner.invoke(plugin_command, ["check", "bad", "--json"])
    assert done.exit_code == 1
    faults = "\n".join(json.loads(done.output)["faults"])
    assert "hot: warmth: not warm expected, warm found" in faults
    assert "found none at" in faults
    assert "OSError" in faults


# --- the public API -----------------------------------------------------------------------------

REFERENCE = ROOT / "docs" / "reference" / "plugins.md"


def signature(path: str) -> str:
    """As the page writes it: names, and `=…` where a value may be left out."""
    found = pkgutil.resolve_name(path)
    parameters = [it for it in inspect.signature(found).parameters.values() if it.name != "self"]
    return ", ".join(f"{it.name}{'' if it.default is it.empty else '=…'}" for it in parameters)


def test_the_public_api_has_the_signatures_that_are_documented() -> None:
    block = REFERENCE.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    documented = [line.rstrip(")").split("(") for line in block.strip().splitlines()]
    assert len(documented) == 22
    assert dict(documented) == {path: signature(path) for path, _ in documented}


def test_every_hook_is_in_the_reference_and_says_what_it_is_for() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert [hook for hook in hookspecs.HOOKS if f"| `{hook}()` |" not in text] == []
    assert [hook for hook in hookspecs.HOOKS if not getattr(hookspecs, hook).__doc__] == []


def test_the_examples_of_the_reference_run(terminology_home: Path) -> None:
    failed, tried = doctest.testfile(
        str(REFERENCE),
        module_relative=False,
        globs={"settings": Settings(terminology_home, engine=NO_ENGINE)},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        encoding="utf-8",
    )
    assert (failed, tried > 10) == (0, True)
