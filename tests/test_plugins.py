"""Plugins: on and off, and that whatever is wrong with one costs its own part and nothing else."""

# ruff: noqa: F401, F811 - the fixtures of plugin_bench are imported by name

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugin_bench import (
    COUGH,
    EXAMPLES,
    GUIDELINES,
    NO_ENGINE,
    Make,
    answer,
    decided,
    guideline,
    make,
    named,
    opened,
    plain,
    why,
)

from akazuba.box import Box
from akazuba.cli.plugin import plugin as plugin_command
from akazuba.governance.incident_replay import Then, Unavailable
from akazuba.plugins import gathering, hookspecs
from akazuba.plugins.brought import NOTHING, gather
from akazuba.replay import Installed, installed_digests
from akazuba.report import readable
from akazuba.settings import Settings, from_environ

# --- on and off ---------------------------------------------------------------------------------


def test_a_box_without_plugins_loads_nothing_of_them(terminology_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from akazuba.box import open_box; from akazuba.consult import assess\n"
        "from akazuba.settings import Settings; from akazuba.intake.cases import read_cases\n"
        f"box = open_box(Settings(Path({str(terminology_home)!r}), engine={NO_ENGINE!r}))\n"
        f"assess(box, next(iter(read_cases({str(EXAMPLES / 'adult-cough.json')!r}))))\n"
        "unwanted = ('pluggy', 'akazuba.plugins.g', 'akazuba.plugins.r', 'akazuba.plugins.parts')\n"
        "print([m for m in sys.modules if m.startswith(unwanted)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_deployer_names_the_plugins_that_are_on() -> None:
    assert from_environ({"AKAZUBA_HOME": "/x", "AKAZUBA_PLUGINS": "a:b::"}).plugins == ("a", "b")
    assert from_environ({"AKAZUBA_HOME": "/x"}).plugins == ()
    assert gather(()) is NOTHING


def test_an_installed_plugin_that_is_not_named_is_not_even_imported(make: Make) -> None:
    make("quiet", "raise RuntimeError('imported')")
    assert gather(()) is NOTHING
    shown = CliRunner(env={"AKAZUBA_PLUGINS": ""}).invoke(plugin_command, ["list"])
    assert "quiet 1.0" in shown.output
    assert "off; not loaded" in shown.output
    assert shown.exit_code == 0


def test_a_plugin_that_is_not_installed_is_named_on_the_page(opened: Callable[..., Box], plain: Box) -> None:
    box = opened("absent")
    expected = "PLUGIN REFUSED absent: expected one installed package that brings it, found none"
    assert named(box) == (expected,)
    assert expected[:60] in " ".join(readable(answer(box)).split())
    assert decided(answer(box)) == decided(answer(plain))


# --- faults when it is loaded -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AKAZUBA_API = 2", "expected AKAZUBA_API = 1, found 2"),
        ("del AKAZUBA_API", "expected AKAZUBA_API = 1, found None"),
        ("AKAZUBA_API = True", "expected AKAZUBA_API = 1, found True"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import no_such_package", "no_such_package"),
        ("def broken(:", "SyntaxError"),
        ("@hookimpl\ndef sensor():\n    return []", "unknown hook"),
        ("@hookimpl\ndef sensors(patient):\n    return []", "PluginValidationError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named(make: Make, code: str, words: str) -> None:
    make("bad", code)
    make("good", "@hookimpl\ndef sensors():\n    return [Sensor('s', 'temperature_c', '°C', lambda: 37.0)]")
    plugins = gather(("bad", "good"))
    assert words in why(plugins)
    assert [it.name for it in plugins.loaded] == ["good"]
    assert plugins.sensors[0].take().value == 37.0


def test_a_plugin_that_hangs_at_import_is_left_behind(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LOAD_S", 0.3)
    make("slow", "import threading; threading.Event().wait(20)")
    assert "an import within 0.3 s" in why(gather(("slow",)))


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
@pytest.mark.parametrize(
    ("result", "words"),
    [("'a text'", "expected a list, found str"), ("[3]", "found"), ("{}", "found dict"), ("1 / 0", "Zero")],
)
def test_a_hook_that_returns_rubbish_or_raises_costs_its_own_part(
    make: Make, hook: str, result: str, words: str
) -> None:
    other = "sensors" if hook != "sensors" else "languages"
    make("bad", f"@hookimpl\ndef {hook}():\n    return {result}\n@hookimpl\ndef {other}():\n    return []\n")
    plugins = gather(("bad",))
    assert words in why(plugins)
    assert plugins.loaded[0].brings == ()


def test_the_other_parts_of_a_plugin_stay(make: Make) -> None:
    make(
        "half",
        "@hookimpl\ndef languages():\n    raise ValueError('no table')\n"
        "@hookimpl\ndef sensors():\n    return [7, Sensor('s', 'temperature_c', '°C', lambda: 37.0)]\n",
    )
    plugins = gather(("half",))
    assert len(plugins.refused) == 2
    assert plugins.loaded[0].brings == ("sensor s",)


def test_two_packages_that_bring_one_name_are_both_refused(make: Make) -> None:
    make("twin", "")
    make("twin", "")
    assert "one installed package" in why(gather(("twin",)))


@pytest.mark.parametrize("hook", ["guideline_folders", "knowledge_sources"])
@pytest.mark.parametrize(("path", "words"), [("HERE / 'absent'", "found none at"), ("Path('/')", "inside")])
def test_data_that_is_missing_or_lies_elsewhere_is_refused(
    make: Make, hook: str, path: str, words: str
) -> None:
    make("bad", f"@hookimpl\ndef {hook}():\n    return [{path}]\n")
    assert words in why(gather(("bad",)))


def test_what_a_plugin_prints_never_reaches_standard_output(
    make: Make, terminology_home: Path, tmp_path: Path
) -> None:
    make(
        "loud",
        "import sys\nprint('LOUD import')\n"
        "@hookimpl\ndef hooks():\n    print('LOUD hook')\n    return [see]\n"
        "def see(assessment):\n    print('LOUD observer'); sys.stdout.buffer.write(b'LOUD bytes')\n",
    )
    environ = {
        **os.environ,
        "AKAZUBA_HOME": str(terminology_home),
        "AKAZUBA_PLUGINS": "loud",
        "AKAZUBA_ENGINE": "tiny",
        "PYTHONPATH": str(tmp_path / "installed"),
    }
    command = [sys.executable, "-m", "akazuba", "assess", str(EXAMPLES / "adult-cough.json")]
    done = subprocess.run([*command, "--json", "--no-llm"], env=environ, capture_output=True, check=True)
    assert json.loads(done.stdout)["case_id"] == "adult-cough"
    assert b"LOUD hook" in done.stderr
    assert b"LOUD observer" not in done.stderr  # nobody knows that this patient agreed
    assert done.stderr.count(b"plugin loud: observers see only") == 1
    checked = [sys.executable, "-m", "akazuba", "plugin", "check", "loud", "--observers"]
    done = subprocess.run(checked, env=environ, capture_output=True, check=False)
    assert b"LOUD" not in done.stdout
    assert b"LOUD observer" in done.stderr


# --- digests and replay -------------------------------------------------------------------------


def test_every_file_of_a_plugin_is_under_its_digest(make: Make, tmp_path: Path) -> None:
    package = make("warm", GUIDELINES.format(names=["w"]), guideline("w"))
    before = gather(("warm",)).digests
    table = tmp_path / "installed" / package / "w" / "warmth.csv"
    table.write_text(table.read_text().replace("37.5", "37.6"))
    assert gather(("warm",)).digests != before
    assert before.keys() == {"plugins/warm"}


def test_a_case_is_not_replayed_with_other_plugins_than_then(
    make: Make, opened: Callable[..., Box], plain: Box, terminology_home: Path
) -> None:
    make("warm", GUIDELINES.format(names=["w"]), guideline("w"))
    settings = Settings(terminology_home)
    box = opened("warm")
    with_it, without = installed_digests(box, settings), installed_digests(plain, settings)
    case = json.dumps(COUGH).encode()
    same = Installed(box, settings, with_it).replay(Then(case, {}, with_it, ()))
    assert not isinstance(same, Unavailable)
    assert same.assessment.triage == answer(box).triage
    gone = Installed(plain, settings, without).replay(Then(case, {}, with_it, ()))
    come = Installed(box, settings, with_it).replay(Then(case, {}, without, ()))
    assert isinstance(gone, Unavailable)
    assert isinstance(come, Unavailable)
    assert "plugins/warm" in gone.why
    assert "plugins/warm" in come.why
