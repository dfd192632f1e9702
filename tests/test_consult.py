"""One consultation from end to end: what may change its answer, and what may not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba import box as opened_box, consult, imaging
from akazuba.box import Box, open_box
from akazuba.cli import EXAMPLES
from akazuba.consult import assess
from akazuba.diagnosis import artefacts
from akazuba.diagnosis.engine import Engine
from akazuba.diagnosis.questions import Question
from akazuba.errors import ArtefactError, CaseError
from akazuba.intake.cases import CaseLine, parse_case, read_cases
from akazuba.interviews import Answer, interview
from akazuba.records import Assessment
from akazuba.settings import Settings

EXAMPLE_CASES = sorted(EXAMPLES.glob("*.json"))
SKIN = {"path": "synthetic-skin-arm.jpg", "kind": "skin-photo"}
NORMAL = {
    "heart_rate_bpm": 76,
    "respiratory_rate_bpm": 16,
    "temperature_c": 36.9,
    "spo2_percent": 98,
    "consciousness": "alert",
}


@pytest.fixture(scope="module")
def box(terminology_home: Path) -> Iterator[Box]:
    opened = open_box(Settings(terminology_home, engine="tiny"))
    yield opened
    opened.desk.terminology.close()


@pytest.fixture(scope="module")
def answers(box: Box) -> list[Assessment]:
    """Of the examples, in their order. Assessments are frozen, so that no test changes another's."""
    return [assess(box, line) for line in examples()]


@pytest.fixture
def assessed(box: Box) -> Callable[..., Assessment]:
    def run(base: Path = EXAMPLES, **fields: object) -> Assessment:
        return assess(box, line_of({"id": "c1", **fields}, base))

    return run


def line_of(case: object, base: Path = EXAMPLES) -> CaseLine:
    data = json.dumps(case).encode()
    digest = hashlib.sha256(data).hexdigest()
    try:
        return CaseLine("c.json", "c1", parse_case(data, "c.json"), None, digest, base)
    except CaseError as error:
        return CaseLine("c.json", "c1", None, error, digest, base)


def examples() -> list[CaseLine]:
    return [line for path in EXAMPLE_CASES for line in read_cases(str(path))]


def untimed(assessment: Assessment) -> Assessment:
    return msgspec.structs.replace(assessment, timings_ms={})


def probabilities(assessment: Assessment) -> dict[str, float]:
    return {candidate.name: candidate.probability for candidate in assessment.differential or ()}


# --- urgency and the models ---------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["altered", "missing", "no manifest"])
def test_urgency_does_not_depend_on_any_model(
    harm: str,
    answers: list[Assessment],
    terminology_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = tmp_path / "models"
    shutil.copytree(artefacts.SHIPPED, models)
    manifest = models / "tiny" / "manifest.json"
    victim = models / "tiny" / json.loads(manifest.read_text(encoding="utf-8"))["image_encoder"]
    if harm == "altered":
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    else:
        (victim if harm == "missing" else manifest).unlink()
    monkeypatch.setattr(artefacts, "SHIPPED", models)
    harmed = open_box(Settings(terminology_home, engine="tiny"))
    assert isinstance(harmed.engine, ArtefactError)
    for line, with_model in zip(examples(), answers, strict=True):
        without = assess(harmed, line)
        assert without.triage == with_model.triage
        assert without.plan == with_model.plan
        assert without.provenance
        assert without.provenance.models == {}
        for image in without.images or ():
            assert not image.quality.usable
            assert str(models) in (image.why or "")
            assert image.labels == {}
    harmed.desk.terminology.close()


def test_a_model_that_fails_while_it_runs_costs_its_image_and_nothing_else(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ArtefactError("image.onnx", "a graph that runs", "out of memory")

    monkeypatch.setattr(Engine, "read", fails)
    line = line_of({"id": "c1", "vitals": {**NORMAL, "heart_rate_bpm": 180}, "images": [SKIN]})
    answer = assess(box, line)
    assert answer.triage
    assert answer.triage.level == "red"
    assert answer.images
    assert "out of memory" in (answer.images[0].why or "")
    assert answer.images[0].labels == {}


def test_an_engine_that_names_conditions_unknown_to_the_knowledge_is_not_used(
    terminology_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = opened_box.open_knowledge()
    fewer = replace(known, table=replace(known.table, conditions=known.table.conditions[:1]))
    monkeypatch.setattr(opened_box, "open_knowledge", lambda *_: fewer)
    opened = open_box(Settings(terminology_home))
    assert isinstance(opened.engine, ArtefactError)
    assert "actinic-keratosis" in str(opened.engine)
    opened.desk.terminology.close()


@pytest.mark.parametrize("image", ["absent.jpg", "skin-arm.json", ".", "/dev/zero", "synthetic-too-dark.jpg"])
def test_an_image_that_gives_nothing_costs_only_its_reading(
    assessed: Callable[..., Assessment], image: str
) -> None:
    fields = {"note": "itchy spot on the arm for 6 months", "patient": {"age_years": 50}, "vitals": NORMAL}
    seen = assessed(images=[SKIN], **fields)
    unseen = assessed(images=[{"path": image, "kind": "skin-photo"}, SKIN], **fields)
    assert unseen.triage == seen.triage
    assert unseen.findings == seen.findings
    assert unseen.images
    assert seen.images
    assert not unseen.images[0].quality.usable
    assert unseen.images[1] == seen.images[0]
    assert probabilities(unseen) == probabilities(seen)


def test_a_kind_without_a_model_is_said_and_nothing_is_labelled(assessed: Callable[..., Assessment]) -> None:
    answer = assessed(images=[{"path": "synthetic-skin-arm.jpg", "kind": "retina-photo"}])
    assert answer.images
    assert "no model reads retina photo" in (answer.images[0].why or "")
    assert answer.images[0].labels == {}


def test_two_pictures_of_one_lesion_are_not_two_witnesses(assessed: Callable[..., Assessment]) -> None:
    fields = {"note": "mole on the arm, has bled", "patient": {"age_years": 50}}
    once, thrice = assessed(images=[SKIN], **fields), assessed(images=[SKIN] * 3, **fields)
    assert probabilities(thrice) == pytest.approx(probabilities(once))
    assert len(thrice.images or ()) == 3


def test_a_heatmap_that_cannot_be_written_is_said_and_costs_nothing_else(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(imaging, "heatmap_png", disk_full)
    line = line_of({"id": "c1", "images": [SKIN], "note": "mole on the arm", "patient": {"age_years": 50}})
    without = assess(box, line)
    assert without.images
    if not without.images[0].heatmap_grid:
        pytest.skip("the engine labels no drawn picture")
    answer = assess(box, line, tmp_path)
    assert answer.images
    assert answer.images[0].labels == without.images[0].labels
    assert answer.images[0].heatmap is None
    [problem] = [p for p in answer.images[0].quality.problems if p.check == "heatmap"]
    assert "No space left" in problem.message
    assert answer.triage == without.triage


def test_heatmaps_of_equal_cases_in_two_folders_do_not_overwrite_each_other(box: Box, tmp_path: Path) -> None:
    maps = []
    for name in ("synthetic-skin-arm.jpg", "synthetic-skin-face.jpg"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(EXAMPLES / name, folder / "photo.jpg")
        case = {"id": "c1", "images": [{"path": "photo.jpg", "kind": "skin-photo"}], "note": "mole"}
        answer = assess(box, line_of(case, folder), tmp_path / "maps")
        maps += [image.heatmap for image in answer.images or () if image.heatmap]
    assert len(set(maps)) == len(maps)
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in maps)


# --- what may not change an answer --------------------------------------------------------------


def test_an_assessment_does_not_depend_on_its_neighbours(box: Box, answers: list[Assessment]) -> None:
    backwards = [untimed(assess(box, line)) for line in reversed(examples())][::-1]
    assert [untimed(answer) for answer in answers] == backwards


def test_findings_of_others_do_not_count(assessed: Callable[..., Assessment]) -> None:
    patient = {"age_years": 30, "sex": "male"}
    own = assessed(note="Cough for 3 days.", patient=patient, vitals=NORMAL)
    family = assessed(
        note="Cough for 3 days. Mother has tuberculosis. His brother had convulsions.",
        patient=patient,
        vitals=NORMAL,
    )
    assert any(finding.subject == "family" for finding in family.findings or ())
    assert own.triage
    assert family.triage
    assert (family.triage.level, family.triage.reasons) == (own.triage.level, own.triage.reasons)
    assert probabilities(family) == probabilities(own)


@pytest.mark.parametrize(
    ("note", "language"),
    [
        ("حمى وسعال منذ ثلاثة أيام", "ar"),
        ("حمى وسعال منذ ثلاثة أيام", "en"),
        ("发烧咳嗽三天", "en"),
        ("Umwana afite umuriro n'inkorora iminsi itatu", "rw"),
        ("Umwana afite umuriro n'inkorora iminsi itatu", "en"),
        ("cough and fever", "xx"),
    ],
)
def test_a_note_that_is_not_understood_never_makes_a_patient_safe(
    assessed: Callable[..., Assessment], note: str, language: str
) -> None:
    answer = assessed(note=note, language=language, vitals=NORMAL, patient={"age_years": 30, "sex": "male"})
    assert answer.triage
    assert answer.triage.level == "unassessed"
    assert answer.note_unread
    assert not any(finding.source == "note" for finding in answer.findings or ())


@pytest.mark.parametrize("note", ["", "  \n", "Cough for 3 days"])
def test_a_note_that_was_read_or_is_not_there_is_not_called_unread(
    assessed: Callable[..., Assessment], note: str
) -> None:
    assert assessed(note=note).note_unread is None


# --- whatever comes in --------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["cough", "fever", "no", "chest pain", "convulsions", "her mother", "mole", "for 3 days", ".", ",", "?"]
)
NOTES = st.one_of(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=80))
IMAGES = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["synthetic-skin-arm.jpg", "synthetic-too-dark.jpg", "absent.png", "."]),
        "kind": st.sampled_from(["skin-photo", "chest-xray", "retina-photo"]),
    }
)
CASES = st.fixed_dictionaries(
    {"id": st.text(min_size=1, max_size=20)},
    optional={
        "note": NOTES,
        "language": st.sampled_from(["en", "rw", "English"]),
        "patient": st.fixed_dictionaries(
            {},
            optional={
                "age_years": st.floats(-1, 126),
                "age_days": st.integers(0, 800),
                "sex": st.sampled_from(["female", "male", "other", "F"]),
                "pregnant": st.booleans(),
            },
        ),
        "vitals": st.fixed_dictionaries(
            {},
            optional={
                "temperature_c": st.floats(24, 46),
                "heart_rate_bpm": st.floats(0, 351),
                "respiratory_rate_bpm": st.floats(0, 151),
                "systolic_mmhg": st.floats(0, 321),
                "diastolic_mmhg": st.floats(0, 221),
                "spo2_percent": st.floats(19, 101),
                "glucose_mmol_l": st.floats(0, 37),
                "consciousness": st.sampled_from(["alert", "confused", "voice", "pain", "unresponsive"]),
                "on_oxygen": st.booleans(),
            },
        ),
        "findings": st.lists(
            st.fixed_dictionaries(
                {"id": st.sampled_from(["HP:0012735", "HP:0001945", "AKZ:0000001", "HP:9", "test:x"])},
                optional={"present": st.booleans(), "onset_days_ago": st.floats(0, 400)},
            ),
            max_size=3,
        ),
        "tests": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.sampled_from(["malaria-rdt", "hiv-rdt", "?"]),
                    "result": st.sampled_from(["positive", "negative", "unclear"]),
                }
            ),
            max_size=2,
        ),
        "images": st.lists(IMAGES, max_size=2),
        "setting": st.fixed_dictionaries({"malaria_zone": st.sampled_from(["none", "high"])}),
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CASES)
def test_every_case_gives_an_error_or_a_triage_and_a_line_of_json(box: Box, case: object) -> None:
    answer = assess(box, line_of(case))
    assert bool(answer.error) != bool(answer.triage)
    if answer.error:
        assert ": expected " in answer.error
        assert untimed(answer) == Assessment(answer.case_id, error=answer.error, timings_ms={})
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Assessment) == answer
    assert "NaN" not in repr(answer)


def test_urgency_is_decided_before_any_picture_is_read(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("decide", "look"):
        sound = getattr(consult, name)

        def noted(*arguments: object, name: str = name, sound: Callable[..., object] = sound) -> object:
            order.append(name)
            return sound(*arguments)

        monkeypatch.setattr(consult, name, noted)
    assess(box, line_of({"id": "c", "note": "itchy spot, T 38.2", "images": [SKIN]}))
    assert order == ["decide", "look"]


# --- questions ----------------------------------------------------------------------------------


def questions_of(
    box: Box, answers: Callable[[int], Answer], **fields: object
) -> tuple[list[str], Assessment]:
    """Ids of what an interview asks, and where it ends. answers: by number from 0."""
    asked: list[str] = []

    def ask(question: Question) -> Answer:
        asked.append(question.id)
        return answers(len(asked) - 1)

    return asked, interview(box, line_of({"id": "q", **fields}), ask)


COUGHING = {"note": "fever and cough for 4 days", "patient": {"age_years": 30}, "vitals": NORMAL}


def test_an_interview_uses_the_answers_and_asks_nothing_twice(box: Box) -> None:
    asked, answer = questions_of(box, lambda n: "no" if n < 6 else "stop", **COUGHING)
    assert len(asked) == len(set(asked)) == 7
    denied = {finding.id for finding in answer.findings or () if not finding.present}
    assert set(asked[:6]) <= denied
    assert questions_of(box, lambda _: "stop", **COUGHING)[0] == asked[:1]


def test_a_yes_counts_as_the_nurses_finding(box: Box) -> None:
    asked, answer = questions_of(box, lambda n: "yes" if n == 0 else "stop", **COUGHING)
    [found] = [finding for finding in answer.findings or () if finding.id == asked[0]]
    assert found.present
    assert found.source == "nurse"


def test_an_interview_stops_at_a_red_flag(box: Box) -> None:
    asked, answer = questions_of(box, lambda _: "no", note="convulsing now", patient={"age_years": 3})
    assert not asked
    assert answer.triage
    assert answer.triage.level == "red"


def test_an_interview_ends_after_twenty_questions(box: Box) -> None:
    asked, _ = questions_of(box, lambda _: "unknown", note="headache", patient={"age_years": 30})
    assert len(asked) == len(set(asked)) == 20


def test_a_case_that_cannot_be_used_is_not_asked_about(box: Box) -> None:
    asked, answer = questions_of(box, lambda _: "no", note=3)
    assert not asked
    assert answer.error
