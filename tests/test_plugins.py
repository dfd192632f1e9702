"""Plugins: what they add, and that whatever is wrong with one costs its own part and nothing else."""

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

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from akazuba.box import Box, open_box
from akazuba.cli.plugin import plugin as plugin_command
from akazuba.consult import PLAINLY, Telling, assess
from akazuba.errors import ArtefactError, InputError, OutOfTimeError
from akazuba.governance.incident_replay import Then, Unavailable
from akazuba.guidelines.library import open_library
from akazuba.intake.cases import case_line
from akazuba.knowledge.conditions import open_knowledge
from akazuba.plugins import gathering, hookspecs, observers
from akazuba.plugins.brought import NOTHING, Plugins, gather
from akazuba.plugins.new import KINDS, write_starter
from akazuba.records import Assessment, Picture, Provenance, Triage
from akazuba.replay import Installed, installed_digests
from akazuba.report import readable
from akazuba.settings import Settings, from_environ
from akazuba.urgency import open_desk, urgency_of
from akazuba.wording.catalogue import catalogue, languages

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


# --- on and off ---------------------------------------------------------------------------------


def test_a_box_without_plugins_loads_nothing_of_them(terminology_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from akazuba.box import open_box; from akazuba.consult import assess\n"
        "from akazuba.settings import Settings; from akazuba.intake.cases import read_cases\n"
        f"box = open_box(Settings(Path({str(terminology_home)!r})))\n"
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


# --- guidelines ---------------------------------------------------------------------------------


def test_a_guideline_of_a_plugin_raises_the_urgency_and_says_whose_it_is(
    make: Make, opened: Callable[..., Box], plain: Box
) -> None:
    make("warm", GUIDELINES.format(names=["warmth-of-others"]), guideline("warmth-of-others"))
    box = opened("warm")
    told, without = answer(box), answer(plain)
    assert told.triage
    assert without.triage
    assert told.provenance
    assert (without.triage.level, told.triage.level) == ("green", "red")
    assert any("guideline of plugin warm" in line for line in told.provenance.guidelines)
    assert told.provenance.models["plugins/warm"] == box.plugins.loaded[0].sha256
    assert named(box) == ()


def test_the_urgency_alone_has_the_plugins_guidelines_too(make: Make, terminology_home: Path) -> None:
    make("warm", GUIDELINES.format(names=["warmth-of-others"]), guideline("warmth-of-others"))
    desk = open_desk(Settings(terminology_home, plugins=("warm",)))
    urgency = urgency_of(desk, case_line(json.dumps(COUGH).encode(), "c.json"))
    desk.terminology.close()
    assert urgency.triage
    assert urgency.triage.level == "red"


def test_no_guideline_can_be_written_that_lowers_the_urgency(
    make: Make, opened: Callable[..., Box], plain: Box
) -> None:
    calm = guideline("calm", raises={"warmth": {"warm": "green"}})
    make("calm", GUIDELINES.format(names=["calm"]), calm)
    box = opened("calm")
    assert "PLUGIN REFUSED calm" in named(box)[0]
    assert decided(answer(box)) == decided(answer(plain))


@pytest.mark.parametrize(
    ("id_", "changes", "words"),
    [
        ("news2", {}, "expected an id of its own"),
        ("mine", {"title": "IMCI: jaundice in the young infant (0 to 59 days)"}, "a title of its own"),
        ("mine", {"kind": "miracle"}, "guideline"),
        ("mine", {"applies": "temperature_c >"}, "a formula of inputs"),
    ],
)
def test_a_guideline_that_is_broken_or_clashes_is_left_out_and_named(
    make: Make, plain: Box, id_: str, changes: dict[str, str], words: str
) -> None:
    make("bad", GUIDELINES.format(names=[id_]), guideline(id_, **changes))
    library = open_library(brought=gather(("bad",)).guidelines)
    [(name, line)] = library.refused_of_plugins
    assert name == "bad"
    assert words in line
    assert library.guidelines.keys() == plain.desk.library.guidelines.keys()


def test_of_two_plugins_with_one_guideline_the_first_counts(make: Make) -> None:
    for name in ("first", "second"):
        make(name, GUIDELINES.format(names=["same"]), guideline("same", title=f"Guideline of {name}"))
    library = open_library(brought=gather(("second", "first")).guidelines)
    assert library.brought == {"same": "second"}
    assert [name for name, _ in library.refused_of_plugins] == ["first"]


def test_an_input_too_narrow_for_a_fever_costs_the_plugin_and_not_the_patient(
    make: Make, opened: Callable[..., Box], plain: Box
) -> None:
    columns = "name,kind,unit,low,high,step,choices,aliases,other_units,from,question\n"
    files = guideline("narrow", title="Of the cool", applies="cool_c >= 30", raises={})
    files["narrow/inputs.csv"] = columns + "cool_c,number,°C,30,37,,,,,vitals temperature_c,How warm?\n"
    files["narrow/warmth.csv"] = "row,if cool_c,then warmth,clause\nwarm,>= 36,warm,c\nother,-,not warm,c\n"
    make("narrow", GUIDELINES.format(names=["narrow"]), files)
    make("warm", GUIDELINES.format(names=["warmth-of-others"]), guideline("warmth-of-others"))
    box = opened("narrow", "warm")
    [line] = named(box)
    assert line.startswith("PLUGIN REFUSED narrow: guidelines not run for this case")
    feverish = answer(box)
    assert feverish.triage
    assert feverish.triage.level == "red"  # by the other plugin
    assert answer(plain, answers={"cool_c": 20}).error
    assert "cool_c" in str(answer(box, answers={"cool_c": 20}).error)  # a nurse's slip is still asked back


# --- knowledge ----------------------------------------------------------------------------------

KNOWLEDGE = "@hookimpl\ndef knowledge_sources():\n    return [HERE / 'more']\n"
NEW = {"id": "cough-of-others", "name": "Cough of others", "prior": 0.045, "findings": {"cough": 0.99}}


def test_a_condition_of_a_plugin_is_ranked_and_says_whose_it_is(
    make: Make, opened: Callable[..., Box]
) -> None:
    make("know", KNOWLEDGE, {"more/conditions.json": json.dumps([NEW])})
    box = opened("know")
    ours = [c for c in answer(box).differential or () if c.name == "Cough of others"]
    assert ours[0].review == "not yet reviewed by a clinician (plugin know)"
    assert named(box) == ()
    assert len(box.columns.table.conditions) == 663


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "none at"),
        ({"note.txt": ""}, "files of findings"),
        ({"about.json": "{}"}, "about.json"),
        ({"a.json": "["}, "a file of the knowledge"),
        ({"a.json": "[3]"}, "a file of the knowledge"),
        ({"a.json": json.dumps([{**NEW, "id": "malaria-severe"}])}, "malaria-severe"),
        ({"a.json": json.dumps([{**NEW, "name": "SCABIES"}])}, "a name of its own"),
        ({"a.json": json.dumps([{**NEW, "prior": 0.06}])}, "priors that sum to at most 1"),
        ({"a.json": json.dumps([{**NEW, "findings": {"no such": 0.5}}])}, "no such"),
        ({"a.json": json.dumps([{**NEW, "prior": 2}])}, "a sound row"),
        (
            {"findings.json": json.dumps([{"name": "cough", "id": "HP:0000118", "background": 0.5}])},
            "each once",
        ),
        (
            {"findings.json": json.dumps([{"name": "odd", "id": "HP:9999999", "background": 0.5}])},
            "an id that the terms have",
        ),
        (
            {"findings.json": json.dumps([{"name": "anything", "id": "HP:0000118", "background": 0.0001}])},
            "no finding above one of the box",
        ),
    ],
)
def test_knowledge_that_is_broken_or_clashes_leaves_that_of_the_box_alone(
    make: Make, plain: Box, files: dict[str, str], words: str
) -> None:
    make("bad", KNOWLEDGE, {f"more/{name}": text for name, text in files.items()})
    plugins = gather(("bad",))
    knowledge = open_knowledge(plugins.knowledge, plain.desk.terminology.ancestors)
    [(name, line)] = (*plugins.refused, *knowledge.refused)
    assert name == "bad"
    assert words in line
    assert knowledge.table.version == plain.columns.table.version


# --- images -------------------------------------------------------------------------------------

MALARIA = "malaria-uncomplicated"
IMAGES = f"@hookimpl\ndef image_kinds():\n    return [ImageKind('slide', read, ({MALARIA!r},))]\n"
SLIDE = [{"path": str(EXAMPLES / "synthetic-skin-arm.jpg"), "kind": "slide"}]


def read_by(box: Box) -> Assessment:
    return answer(box, images=SLIDE)


def probability(assessment: Assessment, name: str) -> float:
    return sum(c.probability for c in assessment.differential or () if c.name == name)


def test_a_reader_moves_the_differential_and_never_the_urgency(
    make: Make, opened: Callable[..., Box], plain: Box
) -> None:
    body = "def read(picture):\n    assert picture.path == ''\n    picture.pixels[:] = 0\n"
    answers = "return ImageAnswer({'parasites': 0.9, 'none': 0.1}, {ID: 200.0}, heatmap_grid=((1.0, 0.0),))"
    make("slides", f"ID = {MALARIA!r}\n{body}    {answers}\n{IMAGES}")
    box = opened("slides")
    told = read_by(box)
    [image] = told.images or ()
    assert image.labels == {"parasites": 0.9, "none": 0.1}
    assert image.model == "plugin slides 1.0 slide"
    assert "plugin slides, no part of the box" in image.quality.problems[-1].message
    assert told.triage == answer(plain).triage
    name = next(c.name for c in plain.columns.table.conditions if c.id == MALARIA)
    assert probability(told, name) > probability(answer(plain), name)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError(picture)", "ValueError"),
        ("return 'malaria'", "expected an ImageAnswer, found str"),
        ("return ImageAnswer({'a': 0.5})", "labels that sum to 1"),
        ("return ImageAnswer({'a': 1.0})", "ratios for"),
        ("return ImageAnswer({'a': 1.0}, {ID: float('nan')})", "a sound ImageAnswer"),
        ("return ImageAnswer({'a': 1.0}, {ID: 0.0})", "a sound ImageAnswer"),
        ("return ImageAnswer({'a': 1.0}, {ID: 1e9})", "a sound ImageAnswer"),
        ("return ImageAnswer({'a': 1.0}, {ID: 2.0, 'scabies': 3.0})", "ratios for"),
        ("return ImageAnswer({'a': 'much'}, {ID: 2.0})", "a sound ImageAnswer"),
        ("return ImageAnswer({'a': object()}, {ID: 2.0})", "a sound ImageAnswer"),
        ("return ImageAnswer({'a': 1.0}, {ID: 2.0}, 'unsure')", "labels or why_not"),
        ("return ImageAnswer({'a': 1.0}, {ID: 2.0}, None, ((1.0,), (1.0, 2.0)))", "equal rows"),
        ("return ImageAnswer({'a': 1.0}, {ID: 2.0}, None, ((),))", "equal rows"),
        ("raise SystemExit", "SystemExit"),
    ],
)
def test_an_answer_of_a_reader_that_cannot_be_used_is_refused(make: Make, body: str, words: str) -> None:
    make("slides", f"ID = {MALARIA!r}\ndef read(picture):\n    {body}\n{IMAGES}")
    grey = Picture("ada.png", "slide", np.full((8, 8, 3), 128, np.uint8))
    with pytest.raises(ArtefactError, match="plugin slides") as refused:
        gather(("slides",)).readers["slide"].read(grey)
    assert words in str(refused.value)
    assert "ada" not in str(refused.value)


def test_a_reader_that_fails_costs_the_image_and_nothing_else(
    make: Make, opened: Callable[..., Box], plain: Box
) -> None:
    make("slides", f"def read(picture):\n    raise OSError('the patient Ada')\n{IMAGES}")
    told, without = read_by(opened("slides")), answer(plain)
    [image] = told.images or ()
    assert not image.quality.usable
    assert "found OSError" in str(image.why)
    assert "the patient Ada" not in msgspec.json.encode(told).decode()
    assert (told.triage, told.plan) == (without.triage, without.plan)
    assert told.differential == without.differential


def test_a_reader_without_an_end_is_asked_once(
    make: Make, opened: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "IMAGE_S", 0.2)
    make("slides", f"import threading\ndef read(picture):\n    threading.Event().wait(20)\n{IMAGES}")
    box = opened("slides")
    first, second = (str((read_by(box).images or ())[0].why) for _ in range(2))
    assert "within 0.2 s" in first
    assert "switched off" in second


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ImageKind('skin-photo', read)", "found one of the box"),
        ("ImageKind('slide', read, ('no-such-condition',))", "found no-such-condition"),
        ("ImageKind('Slide 1', read)", "a name in lower case"),
        ("ImageKind('slide', 3)", "a function that reads"),
        ("ImageKind('slide', read, 'malaria')", "a tuple of condition ids"),
    ],
)
def test_a_kind_of_image_that_clashes_or_is_none_is_refused(
    make: Make, opened: Callable[..., Box], kind: str, words: str
) -> None:
    make("bad", f"def read(p):\n    return None\n@hookimpl\ndef image_kinds():\n    return [{kind}]\n")
    box = opened("bad")
    [line] = named(box)
    assert words in line
    assert box.readers == {}


# --- languages and sensors ----------------------------------------------------------------------

LANGUAGE = (
    "@hookimpl\ndef languages():\n"
    "    return [LanguageTable({code!r}, Language('Xanadu', 'seen by nobody'), HERE / 'table.tsv')]\n"
)


def test_a_language_of_a_plugin_is_said_with_its_own_review_state(
    make: Make, opened: Callable[..., Box]
) -> None:
    make("tongue", LANGUAGE.format(code="qxa"), {"table.tsv": "cough\tTUSSIS\n"})
    box = opened("tongue")
    words = catalogue("qxa", box.plugins.languages)
    page = readable(answer(box, Telling(words, PLAINLY.voice)), words)
    assert "TUSSIS" in page
    assert "seen by nobody (plugin tongue)" in page
    assert "makers of the box" not in page
    assert [*languages(box.plugins.languages)][:1] == ["en"]


@pytest.mark.parametrize(
    ("code", "table", "words"),
    [
        ("fr", "cough\ttoux\n", "a language that the box has not"),
        ("en", "cough\tnothing\n", "a language that the box has not"),
        ("XX!", "cough\ttoux\n", "an ISO 639 code"),
        ("qxa", "cough\n", "a tab and its translation"),
        ("qxa", "{} days\tdies\n", "as many holes"),
        ("qxa", "", "an English text"),
    ],
)
def test_a_language_that_clashes_or_has_a_broken_table_is_refused(
    make: Make, code: str, table: str, words: str
) -> None:
    make("tongue", LANGUAGE.format(code=code), {"table.tsv": table})
    plugins = gather(("tongue",))
    assert words in why(plugins)
    assert plugins.languages == {}


def test_a_language_without_its_table_is_refused(make: Make) -> None:
    make("tongue", LANGUAGE.format(code="qxa"))
    assert "a table of UTF-8 text" in why(gather(("tongue",)))


def sensor(make: Make, read: str, vital: str = "spo2_percent", unit: str = "%", name: str = "s") -> Plugins:
    code = f"def read():\n    {read}\n@hookimpl\ndef sensors():\n"
    make("oximeter", f"{code}    return [Sensor({name!r}, {vital!r}, {unit!r}, read)]\n")
    return gather(("oximeter",))


@pytest.mark.parametrize(
    "read",
    [
        *("return 0.93", "return 101", "return float('nan')", "return float('inf')", "return True"),
        *("return '97'", "return None", "raise OSError('unplugged')"),
    ],
)
def test_a_sensor_gives_a_possible_value_or_none(make: Make, read: str) -> None:
    plugins = sensor(make, read)
    with pytest.raises(ArtefactError, match="plugin oximeter"):
        plugins.sensors[0].take()


def test_a_sensor_that_never_answers_is_switched_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SENSOR_S", 0.2)
    plugins = sensor(make, "__import__('threading').Event().wait(20)")
    for words in ("within 0.2 s", "switched off"):
        with pytest.raises(OutOfTimeError, match=words):
            plugins.sensors[0].take()


def test_a_sensor_in_another_unit_or_of_no_vital_sign_is_refused(make: Make) -> None:
    assert "temperature_c in °C" in why(sensor(make, "return 98.6", "temperature_c", "°F"))


def test_a_sensor_of_no_vital_sign_is_refused(make: Make) -> None:
    assert "one of temperature_c" in why(sensor(make, "return 1", "mood", "%"))


# --- observers ----------------------------------------------------------------------------------

OBSERVER = "@hookimpl\ndef hooks():\n    return [see]\n"


def test_an_observer_sees_a_copy_and_adds_nothing(make: Make, opened: Callable[..., Box], plain: Box) -> None:
    package = make(
        "watch",
        "seen = []\ndef see(assessment):\n    seen.append(assessment.case_id)\n"
        "    assessment.provenance.models.clear()\n    return 'green'\n" + OBSERVER,
    )
    box = opened("watch")
    told = answer(box)
    assert box.plugins.observers
    assert box.plugins.observers.settle(10)
    assert sys.modules[package].seen == ["ada-7"]
    assert told.provenance
    assert "plugins/watch" in told.provenance.models
    assert decided(told) == decided(answer(plain))


def test_the_answer_does_not_wait_for_a_sleeping_observer_and_names_it_later(
    make: Make, opened: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "OBSERVER_S", 0.3)
    package = make(
        "sleepy",
        "import threading\nend = threading.Event()\ndef see(assessment):\n    end.wait(60)\n" + OBSERVER,
    )
    box = opened("sleepy")
    told = answer(box)
    assert told.error is msgspec.UNSET
    assert not sys.modules[package].end.is_set()
    assert box.plugins.observers
    assert box.plugins.observers.settle(10)
    assert "sleepy: expected an end of observer 1 within 0.3 s" in named(box)[0]
    assert box.plugins.observers.settle(10)
    sys.modules[package].end.set()


def test_what_an_observer_says_of_one_patient_is_not_shown_to_the_next(
    make: Make, opened: Callable[..., Box]
) -> None:
    make("leaky", "def see(assessment):\n    raise ValueError(assessment.case_id)\n" + OBSERVER)
    box = opened("leaky")
    answer(box)
    assert box.plugins.observers
    assert box.plugins.observers.settle(10)
    page = readable(answer(box, id="bea-8"))
    assert "PLUGIN REFUSED leaky" in page
    assert "ValueError" in page
    assert "ada-7" not in page


def test_an_error_of_our_own_kind_from_an_observer_is_not_quoted_either(make: Make) -> None:
    make(
        "leaky",
        "from akazuba.errors import InputError\n"
        "def see(assessment):\n    raise InputError(assessment.case_id, 'a', 'b')\n" + OBSERVER,
    )
    watching = gather(("leaky",)).observers
    assert watching
    watching.see(Assessment("ada-7", triage=Triage("green")), agreed=True)
    assert watching.settle(10)
    [(name, words)] = watching.refused
    assert name == "leaky"
    assert "InputError" in words
    assert "ada-7" not in words


def test_assessments_that_no_observer_could_take_are_counted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "MOST_WAITING", 1)
    package = make(
        "slow", "import threading\nend = threading.Event()\ndef see(a):\n    end.wait(4)\n" + OBSERVER
    )
    watching = gather(("slow",)).observers
    assert watching
    for number in range(5):
        watching.see(Assessment(str(number), triage=Triage("green")), agreed=True)
    sys.modules[package].end.set()
    assert watching.settle(10)
    assert "assessments were not seen" in watching.refused[-1][1]


def test_a_failed_case_is_answered_as_ever_with_an_observer_on(
    make: Make, opened: Callable[..., Box]
) -> None:
    make("watch", "def see(assessment):\n    pass\n" + OBSERVER)
    assert "spo2_percent" in str(answer(opened("watch"), vitals={"spo2_percent": 0.93}).error)


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


# --- the command, the starters, the worked example ----------------------------------------------


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


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
