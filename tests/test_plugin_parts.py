"""What plugins bring: guidelines, conditions, image kinds, languages, sensors and observers of others."""

# ruff: noqa: F401, F811 - the fixtures of plugin_bench are imported by name

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from plugin_bench import (
    COUGH,
    EXAMPLES,
    GUIDELINES,
    IMAGES,
    MALARIA,
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
from akazuba.consult import PLAINLY, Telling
from akazuba.errors import ArtefactError, OutOfTimeError
from akazuba.guidelines.library import open_library
from akazuba.intake.cases import case_line
from akazuba.knowledge.conditions import open_knowledge
from akazuba.plugins import gathering, observers
from akazuba.plugins.brought import Plugins, gather
from akazuba.records import Assessment, Picture, Triage
from akazuba.report import readable
from akazuba.settings import Settings
from akazuba.urgency import open_desk, urgency_of
from akazuba.wording.catalogue import catalogue, languages

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
