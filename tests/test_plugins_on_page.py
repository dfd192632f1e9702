"""What plugins bring, on the tablet's page: languages, sensors, kinds of image, and whom observers see."""

from __future__ import annotations

import asyncio
import html
import importlib
import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import httpx
import msgspec
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from tablet_bench import PASSPHRASE, Tablet, box, page_of, recorded, words

from akazuba.cli.shared import LANGUAGE
from akazuba.consult import assess
from akazuba.governance.consent import By, Consent, Purpose, Withdrawal, give, shown, withdraw
from akazuba.governance.course import correct
from akazuba.governance.export import export_patient
from akazuba.intake.cases import case_line
from akazuba.intake.films import Film, Head
from akazuba.plugins import gathering
from akazuba.plugins.guard import Guard
from akazuba.plugins.observers import Observers
from akazuba.plugins.parts import VITAL_UNITS
from akazuba.records import Assessment, Sensed, Triage
from akazuba.settings import Settings
from akazuba.web.arriving import take_in
from akazuba.web.doors import rest
from akazuba.web.doors.openapi import document
from akazuba.web.post import Post, now_ms
from akazuba.web.vitals import VITALS
from akazuba.wording.catalogue import languages, page_texts

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "src" / "akazuba" / "examples"
EXAMPLE_PLUGIN = ROOT / "examples" / "akazuba-example-plugin" / "src"
TEMPERATURE = "AKAZUBA_EXAMPLE_TEMPERATURE"
HANG_S = 0.5

BENCH = '''
"""SIMULATED: a language, sensors, a kind of image and an observer for the tests."""
import threading
from pathlib import Path
from akazuba.plugins.hookspecs import hookimpl
from akazuba.plugins.parts import ImageAnswer, ImageKind, LanguageTable, Sensor
from akazuba.wording.catalogue import Language
AKAZUBA_API = 1
seen, end, reads = [], threading.Event(), []

def raising():
    raise OSError("unplugged")

def hanging():
    end.wait(60)

def read(picture):
    reads.append(picture.kind)
    return ImageAnswer({"parasites": 0.9, "none": 0.1}, {"malaria-uncomplicated": 40.0})

@hookimpl
def languages():
    return [LanguageTable("qxa", Language("Xanadu", "seen by nobody"), Path(__file__).parent / "table.tsv")]

@hookimpl
def sensors():
    return [
        Sensor("pulse", "heart_rate_bpm", "beats/min", lambda: 71),
        Sensor("share", "spo2_percent", "%", lambda: 0.93),
        Sensor("torn", "glucose_mmol_l", "mmol/L", raising),
        Sensor("stuck", "systolic_mmhg", "mmHg", hanging),
    ]

@hookimpl
def image_kinds():
    return [ImageKind("blood-slide", read, ("malaria-uncomplicated",))]

@hookimpl
def hooks():
    return [lambda assessment: seen.append(assessment.case_id)]
'''
COUGH = {
    "patient": {"age_years": 34, "sex": "female"},
    "note": "cough for 3 days",
    "language": "en",
    "vitals": {
        "temperature_c": 37.0,
        "heart_rate_bpm": 80,
        "respiratory_rate_bpm": 16,
        "spo2_percent": 98,
        "consciousness": "alert",
    },
}


@dataclass
class Bench:
    """A box with two plugins, and the module of the tests' own."""

    post: Post
    app: Starlette
    module: Any

    def tablet(self, who: str | None = "dr-musa", language: str = "") -> Tablet:
        tablet = Tablet(self.app)
        if who:
            tablet.sign_in(who)
        if language:
            assert tablet.post("/language", {"language": language, "back": "/"}).status_code == 303
        return tablet

    def assessed(
        self, tablet: Tablet, person: str, case: str, *, keep: bool = True, **changes: object
    ) -> httpx.Response:
        files = [("picture", part) for part in changes.pop("files", ())]  # type: ignore[attr-defined]
        given = {
            "case": json.dumps({"id": case, **COUGH, **changes}),
            "person": json.dumps({"id": person, "name": "Ada Uwase", "sex": "female"}),
            "owner": "dr-musa",
            "keep": "yes" if keep else "no",
        }
        answer = tablet.post("/consultation/assess", given, **({"files": files} if files else {}))
        assert answer.status_code == 200, answer.text
        return answer

    def saw(self) -> list[str]:
        assert self.post.plugins.observers
        assert self.post.plugins.observers.settle(10)
        return list(self.module.seen)

    def says(self, patient: str, purpose: Purpose, *, yes: bool = True) -> None:
        def work(kept: Any) -> None:
            store, by = kept.opened(), By("patient")
            if yes:
                give(
                    store,
                    patient,
                    "dr-musa",
                    Consent((purpose,), by, shown("Do you agree?", "1", "en")),
                    now_ms(),
                )
            else:
                withdraw(store, patient, "dr-musa", Withdrawal((purpose,), by))

        asyncio.run(self.post.records(work))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("installed")
    for name, module in (("bench", "page_bench_plugin"), ("example", "akazuba_example")):
        facts = place / f"{module}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[akazuba]\n{name} = {module}\n")
    package = place / "page_bench_plugin"
    package.mkdir()
    (package / "__init__.py").write_text(BENCH)
    (package / "table.tsv").write_text("Consultation\tCOLLOQUIUM\ncough\tTUSSIS\n")
    plain = box(tmp_path_factory.mktemp("box"), terminology_home)
    settings = plain.settings
    plain.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "SENSOR_S", HANG_S)
        for path in (place, EXAMPLE_PLUGIN):
            patch.syspath_prepend(str(path))
        post = Post(replace(settings, plugins=("bench", "example"), engine="/no/engine"))
        try:
            asyncio.run(post.unlock(PASSPHRASE))
            own = importlib.import_module("page_bench_plugin")
            yield Bench(post, page_of(post), own)
            own.end.set()
        finally:
            post.close()
            for name in ("page_bench_plugin", "akazuba_example"):
                sys.modules.pop(name, None)


def test_both_plugins_are_in_use(bench: Bench) -> None:
    assert bench.post.plugins.refused == ()
    assert [plugin.name for plugin in bench.post.plugins.loaded] == ["bench", "example"]


# --- languages ----------------------------------------------------------------------------------


def test_the_menu_lists_a_plugins_language_and_the_page_is_then_in_it(bench: Bench) -> None:
    tablet = bench.tablet(None)
    assert '<option value="qxa" lang="qxa">Xanadu</option>' in tablet.get("/").text
    assert tablet.post("/language", {"language": "qxz", "back": "/"}).status_code == 422
    tablet = bench.tablet(None, "qxa")
    page = tablet.get("/consultation").text
    assert '<html lang="qxa">' in page
    assert "COLLOQUIUM" in page
    assert "Leave empty what was not measured." in page


def test_the_page_says_how_much_of_it_is_in_a_plugins_language_and_whose_it_is(bench: Bench) -> None:
    seen = words(bench.tablet(None, "qxa").get("/").text)
    assert "seen by nobody (plugin bench)" in seen
    known = sum(text in ("Consultation", "cough") for text in page_texts())
    assert f"{known} of {len(page_texts())} texts of the page are in this language" in seen
    assert "makers of the box" not in seen
    assert "makers of the box" not in words(bench.tablet(None).get("/").text)
    assert "texts de la page" not in words(bench.tablet(None, "fr").get("/").text)


def test_a_browser_that_asks_for_a_plugins_language_gets_it(bench: Bench) -> None:
    assert '<html lang="qxa">' in bench.tablet(None).get("/", **{"Accept-Language": "qxa, en;q=0.5"}).text


def test_an_assessment_its_record_and_its_print_have_the_words_of_the_plugin(bench: Bench) -> None:
    tablet = bench.tablet(language="qxa")
    answer = bench.assessed(tablet, "p-tongue01", "c-tongue01").text
    assert "TUSSIS" in answer
    assert "Not translated: these lines are in English." in answer
    index = recorded(bench.post, "assessment")[-1].index
    assert "TUSSIS" in tablet.get(f"/consultation/{index}").text
    for path in ("", f"/outcome/{index}", f"/print/{index}"):  # each is in the tablet's language
        assert tablet.get(f"/patients/p-tongue01{path}").status_code == 200, path
    paper = bench.tablet().get(f"/patients/p-tongue01/print/{index}?lang=qxa").text
    sheet = words(paper[paper.index("<article") :])
    assert "TUSSIS" in sheet
    assert "seen by nobody (plugin bench)" in sheet
    assert tablet.post(f"/consultation/{index}/words").status_code == 200
    assert bench.tablet().get(f"/patients/p-tongue01/print/{index}?lang=qxz").status_code == 422


def test_consent_in_a_plugins_language_shows_the_english_text_and_says_so(bench: Bench) -> None:
    bench.assessed(bench.tablet(), "p-tongue02", "c-tongue02")
    note = "There is no text of consent in that language"
    page = bench.tablet(language="qxa").get("/patients/p-tongue02/consent")
    assert page.status_code == 200
    assert note in page.text
    assert "You came here to be treated." in page.text
    assert note not in bench.tablet().get("/patients/p-tongue02/consent").text


def test_the_rest_door_offers_the_languages_of_plugins(bench: Bench) -> None:
    codes = tuple(languages(bench.post.plugins.languages))
    assert codes[-1] == "qxa"
    described = Tablet(bench.app).get("/api/v1/openapi.json").text
    assert '"qxa"' in described
    assert '"qxa"' not in json.dumps(document(rest.operations(), "0", "https://box.example"))


@click.command()
@LANGUAGE
def told(lang: str) -> None:
    click.echo(lang)


@pytest.mark.parametrize(
    ("plugins", "code", "taken"),
    [("", "fr", True), ("", "qxa", False), ("bench", "qxa", True), ("bench", "Qxa!", False)],
)
def test_the_command_line_takes_a_plugins_code_where_plugins_are_on(
    plugins: str, code: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_PLUGINS", plugins)
    done = CliRunner().invoke(told, ["--lang", code])
    assert done.exit_code == (0 if taken else 2)
    assert ("'en', 'fr', 'sw', 'rw', 'zh'" in done.output) is not taken


# --- sensors ------------------------------------------------------------------------------------


def test_every_vital_sign_of_a_sensor_has_a_field_on_the_page() -> None:
    assert set(VITAL_UNITS) <= {each.name for each in VITALS}


def test_the_step_of_vital_signs_has_a_button_for_each_sensor(bench: Bench) -> None:
    page = bench.tablet(None).get("/consultation").text
    for name in ("pulse", "share", "torn", "stuck", "example-thermometer"):
        assert f'data-sensor="{name}"' in page
    seen = words(page)
    assert "Temperature: read from example-thermometer (SIMULATED)" in seen
    assert "Heart rate: read from pulse" in seen
    assert "read from pulse (SIMULATED)" not in seen


def test_a_reading_names_its_field_its_sensor_and_that_it_is_simulated(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reading.txt"
    file.write_text("38.2\n")
    monkeypatch.setenv(TEMPERATURE, str(file))
    before = datetime.now().astimezone().replace(microsecond=0)
    answer = bench.tablet(None).post("/consultation/sensor/example-thermometer").json()
    assert before <= datetime.fromisoformat(answer.pop("at")) <= datetime.now().astimezone()
    assert answer == {
        "field": "vitals.temperature_c",
        "sensor": "example-thermometer",
        "vital": "temperature_c",
        "unit": "°C",
        "value": 38.2,
        "simulated": True,
    }
    assert bench.tablet(None).post("/consultation/sensor/pulse").json()["value"] == 71


@pytest.mark.parametrize("changed", [False, True])
def test_what_a_sensor_gave_is_kept_shown_printed_and_sent_on_until_it_is_corrected(
    bench: Bench, *, changed: bool
) -> None:
    person, id_ = f"p-sensed0{changed:d}", f"c-sensed0{changed:d}"
    pressures = {"systolic_mmhg": 120, "diastolic_mmhg": 76}
    read = [
        {"vital": "heart_rate_bpm", "sensor": "pulse", "value": 71, "at": "2026-11-29T10:42:07+02:00"},
        {"vital": "systolic_mmhg", "sensor": "cuff", "value": 120, "at": "2026-11-29T10:43:00+02:00"},
    ]
    read[1] |= {"simulated": True}
    vitals = {**COUGH["vitals"], "heart_rate_bpm": 71, **pressures}  # type: ignore[dict-item]
    tablet = bench.tablet()
    shown = words(bench.assessed(tablet, person, id_, vitals=vitals, sensed=read).text)
    told = "heart rate 71 beats a minute (from pulse, 10:42)"
    assert told in shown
    assert "systolic blood pressure 120 mmHg (from cuff, 10:43, SIMULATED)" in shown
    assert "temperature 37" not in shown
    case, index = recorded(bench.post, "case")[-1], recorded(bench.post, "assessment")[-1].index
    assert [one["sensor"] for one in json.loads(case.body or b"")["sensed"]] == ["pulse", "cuff"]
    if changed:

        def correction(kept: Any) -> None:
            correct(kept.opened(), "dr-musa", case.index, "vitals.heart_rate_bpm", 84, "a loose clip")

        asyncio.run(bench.post.records(correction))
    assert told in words(tablet.get(f"/consultation/{index}").text)  # as it was assessed
    paper = words(tablet.get(f"/patients/{person}/print/{index}").text)
    assert "heart rate: 71 beats a minute (from pulse, 10:42)" in paper
    bench.says(person, "export", yes=True)

    def handed(kept: Any) -> bytes:
        return export_patient(kept.opened(), person, "dr-musa", "the hospital", "referred", "a log").record

    sent = {
        one["code"]["coding"][0]["code"]: one
        for entry in json.loads(asyncio.run(bench.post.records(handed)))["entry"]
        if (one := entry["resource"])["resourceType"] == "Observation" and "coding" in one["code"]
    }
    pulse, pressure, warmth = sent["8867-4"], sent["85354-9"], sent["8310-5"]
    assert pressure["device"] == {"display": "cuff (SIMULATED)"}
    assert pressure["method"]["text"].startswith("Systolic blood pressure read from sensor cuff (SIMULATED)")
    assert "device" not in warmth
    if changed:
        assert pulse["valueQuantity"]["value"] == 84
        assert not {"device", "method"} & pulse.keys()
    else:
        assert pulse["device"] == {"display": "pulse"}
        assert pulse["method"]["text"] == "Heart rate read from sensor pulse at 2026-11-29T10:42:07+02:00"


def test_a_mark_on_a_value_that_no_sensor_gave_is_refused(bench: Bench) -> None:
    read = {"vital": "heart_rate_bpm", "sensor": "pulse", "value": 71, "at": "2026-11-29T10:42:07+02:00"}
    given = {"case": json.dumps({"id": "c-sensed09", **COUGH, "sensed": [read]}), "keep": "no"}
    answer = bench.tablet(None).post("/consultation/assess", given, headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert "vitals.heart_rate_bpm (80)" in answer.json()["error"]


def test_a_case_marks_every_vital_sign_that_a_sensor_may_read() -> None:
    assert set(get_args(get_type_hints(Sensed)["vital"])) == set(VITAL_UNITS)


def test_a_sensor_is_not_read_by_a_form_of_another_page(bench: Bench) -> None:
    assert bench.tablet(None).post("/consultation/sensor/pulse", {"csrf": "another"}).status_code == 403
    assert bench.tablet(None).get("/consultation/sensor/pulse").status_code == 405


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("share", 500, "sensor share: expected a possible spo2_percent in %, found 0.93"),
        ("torn", 500, "OSError"),
        ("example-thermometer", 500, "KeyError"),
        (
            "no-such",
            422,
            "sensor: expected one of pulse, share, torn, stuck, example-thermometer, found 'no-such'",
        ),
    ],
)
def test_a_sensor_that_has_no_sound_value_fills_nothing_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, status: int, message: str
) -> None:
    monkeypatch.delenv(TEMPERATURE, raising=False)
    answer = bench.tablet(None).post(f"/consultation/sensor/{name}", headers={"Accept": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert "value" not in answer.json()


def test_a_sensor_that_hangs_is_left_behind_and_holds_nobody_up(bench: Bench) -> None:
    tablet = bench.tablet(None)
    path, headers = "/consultation/sensor/stuck", {"Accept": "application/json"}
    late = tablet.post(path, headers=headers)
    assert late.status_code == 503
    assert f"a reading of stuck within {HANG_S:g} s" in late.json()["error"]
    again = tablet.post(path, headers=headers)
    assert "switched off till restart" in again.json()["error"]
    assert tablet.post("/consultation/sensor/pulse").json()["value"] == 71


# --- kinds of image -----------------------------------------------------------------------------


def test_the_step_of_pictures_offers_a_plugins_kind_and_says_who_reads_it(bench: Bench) -> None:
    page = bench.tablet(None).get("/consultation").text
    assert 'data-kind="chest-xray"' in page
    assert 'data-kind="blood-slide"' in page
    assert "blood slide (read by plugin bench)" in words(page)


def test_a_picture_of_a_plugins_kind_is_read_on_the_page_as_at_the_command_line(bench: Bench) -> None:
    picture = (EXAMPLES / "synthetic-skin-arm.jpg").read_bytes()
    images = [{"path": "slide-1.jpg", "kind": "blood-slide"}]
    case = {"id": "c-slide001", **COUGH, "images": images}
    line = replace(case_line(json.dumps(case).encode(), "case"), attachments={"slide-1.jpg": picture})
    [told] = asyncio.run(bench.post.engine(lambda box: assess(box, line))).images or ()
    assert told.labels == {"parasites": 0.9, "none": 0.1}
    part = ("slide-1.jpg", picture, "image/jpeg")
    before = len(bench.module.reads)
    answer = bench.assessed(
        bench.tablet(), "p-slide001", "c-slide001", keep=False, images=images, files=[part]
    )
    seen = html.unescape(words(answer.text))
    assert "IMAGE slide-1.jpg (blood slide)" in seen
    assert "parasites 90 %" in seen or "parasites 90%" in seen
    assert "read by plugin bench, no part of the box" in seen
    bench.assessed(bench.tablet(), "p-slide001", "c-slide001", images=images, files=[part])
    assert len(bench.module.reads) == before + 1  # what was seen is remembered, not read again
    [kept] = [
        msgspec.json.decode(entry.body or b"")
        for entry in recorded(bench.post, "assessment")
        if entry.patient == "p-slide001"
    ]
    assert kept["images"][0]["labels"] == told.labels
    assert kept["images"][0]["model"] == "plugin bench 1.0 blood-slide"


def test_a_picture_from_another_machine_can_be_taken_as_a_plugins_kind(bench: Bench) -> None:
    png = (EXAMPLES / "synthetic-chest-clear.png").read_bytes()
    film = Film(png, "chest-xray", "XC", "", ())
    asyncio.run(bench.post.records(lambda kept: take_in(kept, "MICROSCOPE", png, Head(), film)))
    rows = bench.tablet().get("/pictures/rows").text
    offered = re.findall(r'<option value="([a-z-]+)">', rows)
    assert offered == ["chest-xray", "blood-slide"]


# --- observers ----------------------------------------------------------------------------------


def test_an_observer_sees_nothing_of_a_patient_who_did_not_agree(bench: Bench) -> None:
    tablet, before = bench.tablet(), bench.saw()
    observers = bench.post.plugins.observers
    assert observers
    skipped = observers.skipped
    bench.assessed(tablet, "p-silent01", "c-silent01")
    for purpose in ("care", "sharing", "training"):
        bench.says("p-silent01", purpose)
    bench.assessed(tablet, "p-silent01", "c-silent02")
    assert bench.saw() == before
    assert observers.skipped >= skipped + 2


def test_an_observer_sees_once_what_was_recorded_of_a_patient_who_agreed_and_it_stands_in_the_log(
    bench: Bench,
) -> None:
    tablet = bench.tablet()
    bench.assessed(tablet, "p-agreed01", "c-agreed01")
    bench.says("p-agreed01", "export")
    bench.assessed(tablet, "p-agreed01", "c-agreed02", keep=False)
    assert "c-agreed02" not in bench.saw()
    for _ in range(2):
        bench.assessed(tablet, "p-agreed01", "c-agreed02")
    assert [case for case in bench.saw() if "agreed" in case] == ["c-agreed02"]
    [read] = [it for it in recorded(bench.post, "read") if it.by == "plugins"]
    assert read.patient == "p-agreed01"
    assert b"bench, example" in (read.body or b"")
    bench.says("p-agreed01", "export", yes=False)
    bench.assessed(tablet, "p-agreed01", "c-agreed03")
    assert [case for case in bench.saw() if "agreed" in case] == ["c-agreed02"]


def test_what_is_skipped_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    watching = Observers([Guard("scales", "an end", 5, lambda it: seen.append(it.case_id))])
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            watching.see(Assessment(f"ada-{number}", triage=Triage("red")))
    assert len(caplog.records) == 1
    assert "plugin scales" in caplog.text
    assert "ada-" not in caplog.text
    assert watching.skipped == 3
    watching.see(Assessment("bea-1", triage=Triage("red")), agreed=True)
    assert watching.settle(5)
    assert seen == ["bea-1"]


# --- a box without plugins ----------------------------------------------------------------------


def test_a_page_without_plugins_shows_none_of_it(tmp_path: Path, terminology_home: Path) -> None:
    shutil.copytree(terminology_home, tmp_path / "home")
    post = Post(Settings(tmp_path / "home", llm="off", engine="/no/engine"))
    try:
        tablet = Tablet(page_of(post))
        page = tablet.get("/consultation").text
        assert "data-sensor" not in page
        assert "read by plugin" not in page
        assert '"qxa"' not in page
        answer = tablet.post("/consultation/sensor/pulse", headers={"Accept": "application/json"})
        assert answer.json()["error"] == "sensor: expected one of no sensor, found 'pulse'"
    finally:
        post.close()
