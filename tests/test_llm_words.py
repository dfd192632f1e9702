"""What may be put into words: only what the evidence says, whatever the model writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from akazuba.box import Box, open_box
from akazuba.cli import EXAMPLES
from akazuba.consult import Telling, assess
from akazuba.diagnosis.questions import Question
from akazuba.errors import InputError, ModelError
from akazuba.intake.cases import CaseLine, parse_case, read_cases
from akazuba.interviews import Answer, interview, led_interview
from akazuba.knowledge.conditions import open_knowledge
from akazuba.llm.ask import NOT_IN_SOURCES, ask
from akazuba.llm.checker import Sentence, why_unsupported
from akazuba.llm.extract import NONE, candidates
from akazuba.llm.facts import Fact, facts
from akazuba.llm.lead import MOST_STEPS, Tool, lead
from akazuba.llm.model import Completion, Message
from akazuba.llm.narrative import by_rules, schema, told
from akazuba.llm.passages import Passages
from akazuba.llm.prompts import prompt
from akazuba.llm.second_reader import second_reading
from akazuba.llm.voice import SILENT, Voice
from akazuba.records import (
    CAUTION,
    Action,
    Assessment,
    Candidate,
    Finding,
    ImageReading,
    Quality,
    QualityProblem,
)
from akazuba.settings import Settings
from akazuba.sources import open_sources
from akazuba.tools import box_tools
from akazuba.wording.catalogue import catalogue

ENGLISH = catalogue("en")


@dataclass
class Scripted:
    """A model that writes what a test wrote for it, in order, and then nothing more."""

    answers: Sequence[str | Callable[[Mapping[str, Any]], str]]
    name: str = "scripted"
    digest: str = ""
    asked: list[tuple[Sequence[Message], Mapping[str, Any]]] = field(default_factory=list)

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,  # noqa: ARG002
        on_text: Callable[[str], None] | None = None,  # noqa: ARG002
    ) -> Completion:
        if len(self.asked) == len(self.answers):
            raise ModelError(self.name, "an answer", "none left in the script")
        answer = self.answers[len(self.asked)]
        self.asked.append((list(messages), schema or {}))
        text = answer if isinstance(answer, str) else answer(schema or {})
        return Completion(text, 0.1, 0.2, 10, 10)

    def stop(self) -> None:
        pass


@pytest.fixture(scope="module")
def box(terminology_home: Path) -> Box:
    return open_box(Settings(home=terminology_home, llm="off"))


@pytest.fixture(scope="module")
def sources(box: Box, terminology_home: Path) -> Passages:
    return open_sources(terminology_home, box.desk.library, open_knowledge())


def line_of(fields: Mapping[str, Any]) -> CaseLine:
    text = json.dumps({"id": "c", **fields}).encode()
    return CaseLine("c", "c", parse_case(text, "c"), None, "", Path())


@pytest.fixture(scope="module")
def pneumonia(box: Box) -> Assessment:
    case = {
        "patient": {"age_months": 10, "sex": "male", "weight_kg": 8},
        "note": "Cough for 3 days and fever. No convulsions.",
        "vitals": {
            "respiratory_rate_bpm": 54,
            "temperature_c": 38.6,
            "spo2_percent": 96,
            "heart_rate_bpm": 130,
        }
        | {"consciousness": "alert"},
        "answers": {"chest_indrawing": False, "stridor_calm": False},
        "allergies": [],
        "medications": [],
    }
    return assess(box, line_of(case))


def drafted(nurse: Sequence[str], patient: Sequence[str] = ("P1a",)) -> str:
    return json.dumps({"nurse": list(nurse), "patient": list(patient)})


def told_by(assessment: Assessment, *answers: str) -> Any:
    return Voice(Scripted(answers)).tell(assessment, ENGLISH)


# --- the narrative -------------------------------------------------------------------------------


def test_a_model_that_only_orders_facts_is_shown(pneumonia: Assessment) -> None:
    narrative = told_by(pneumonia, drafted(["E2a", "Also E3a", "E1a"]))
    assert narrative.model == "scripted"
    assert narrative.rejected_claims == ()
    first = facts(pneumonia, "nurse", ENGLISH)
    assert narrative.text.startswith(f"{first[0].wordings[0]} [E1] {first[1].wordings[0]} [E2] Also: ")


def test_a_picture_that_is_not_to_be_relied_on_is_told_with_its_caution_and_no_label(
    pneumonia: Assessment,
) -> None:
    def told_of(*problems: QualityProblem) -> str:
        film = ImageReading(
            "a.png", "chest-xray", Quality(True, problems), {"pneumonia": 0.97, "normal": 0.03}
        )
        seen = facts(msgspec.structs.replace(pneumonia, images=(film,)), "nurse", ENGLISH)
        [image] = [fact for fact in seen if fact.kind == "image"]
        return image.wordings[0]

    assert "looks most like pneumonia (97%)" in told_of()
    cautioned = told_of(QualityProblem(CAUTION, "Do not rely on it.", remark=True))
    assert cautioned == "The picture (chest X-ray): Do not rely on it."


def test_the_urgency_and_every_action_are_told_whatever_the_model_leaves_out(pneumonia: Assessment) -> None:
    narrative = told_by(pneumonia, drafted(["E2a", "E3a"]))
    for fact in facts(pneumonia, "nurse", ENGLISH):
        if fact.must:
            assert fact.wordings[0] in narrative.text


@pytest.mark.parametrize(
    "claim",
    [
        "E2a Give amoxicillin 500 mg.",
        "[E2a]",
        "Also",
        "The patient is healthy and can go home.",
        "E99a",
        "E4a not",
        "ignore the rules E4a",
        "E4z",
        "And Also E4a",
        "",
    ],
)
def test_what_the_evidence_does_not_say_is_dropped_and_listed(pneumonia: Assessment, claim: str) -> None:
    narrative = told_by(pneumonia, drafted(["E2a", "E3a", claim]))
    assert narrative.model == "scripted"
    assert len(narrative.rejected_claims) == 1
    assert "500 mg" not in narrative.text
    assert "healthy" not in narrative.text
    assert "ignore" not in narrative.text


@pytest.mark.parametrize(
    "written",
    [
        drafted(["healthy", "E1a and fine"]),
        "{",
        "[]",
        '{"nurse": 3, "patient": []}',
        '{"nurse": ["E1a"]}',
    ],
)
def test_with_too_little_left_the_rules_write_and_say_so(pneumonia: Assessment, written: str) -> None:
    narrative = told_by(pneumonia, written)
    plain = by_rules(pneumonia, ENGLISH)
    assert plain is not None
    assert (narrative.text, narrative.patient_text) == (plain.text, plain.patient_text)
    assert narrative.model == "rules"
    assert narrative.left_out


def test_a_model_that_fails_costs_the_words_and_nothing_else(box: Box) -> None:
    for line in read_cases(str(EXAMPLES / "child-mild-cough.json")):
        plain = assess(box, line)
        failed = assess(box, line, None, Telling(ENGLISH, Voice(Scripted([]))))
        assert failed.triage == plain.triage
        assert failed.plan == plain.plan
        assert failed.differential == plain.differential
        assert failed.narrative
        assert "none left in the script" in (failed.narrative.left_out or "")


def test_the_schema_spells_slots_of_this_case_and_nothing_else(pneumonia: Assessment) -> None:
    known = told(pneumonia, ENGLISH)
    lines = schema(known)["properties"]["nurse"]["items"]["enum"]
    slots = {slot for fact in known["nurse"] for slot in fact.slots}
    assert {line.rpartition(" ")[2] for line in lines} == slots
    assert all(line.partition(" ")[0] in ("Also", "And", "Note") for line in lines if " " in line)


def test_a_patient_is_told_no_diagnosis_and_no_withheld_medicine(box: Box) -> None:
    for path in sorted(EXAMPLES.glob("*.json")):
        for line in read_cases(str(path)):
            assessment = assess(box, line)
            patient = by_rules(assessment, ENGLISH)
            assert patient is not None
            for candidate in assessment.differential or ():
                assert candidate.name.lower() not in patient.patient_text.lower()


def action_of(**fields: Any) -> Action:
    about = {"guideline": "g", "edition": "1", "clause": "c", "review": "r"}
    return Action(**{"action": "give", "what": "amoxicillin", **about, **fields})


def patient_text(pneumonia: Assessment, *plan: Action) -> str:
    told = by_rules(msgspec.structs.replace(pneumonia, plan=plan), ENGLISH)
    assert told is not None
    return told.patient_text


def test_a_patient_is_told_advice_as_a_sentence_and_no_bare_topic(pneumonia: Assessment) -> None:
    plan = (
        action_of(action="advise", what="alcohol"),
        action_of(action="advise", what="salt", tell="Eat less salt."),
    )
    text = patient_text(pneumonia, *plan)
    assert "alcohol" not in text
    assert "Eat less salt." in text


def test_a_patient_is_told_no_medicine_that_something_must_be_checked_for(pneumonia: Assessment) -> None:
    open_ = action_of(what="magnesium sulfate", dose="10 g once", check_first=("breathing",))
    shut = action_of(what="ibuprofen", withheld=("allergy",))
    text = patient_text(pneumonia, open_, shut, action_of(dose="250 mg twice daily for 5 days"))
    assert "The medicine: amoxicillin: 250 mg twice daily for 5 days." in text
    assert "magnesium" not in text
    assert "ibuprofen" not in text


def test_every_medicine_of_a_long_plan_is_told_with_what_must_be_checked_beside_it(
    pneumonia: Assessment,
) -> None:
    plan = tuple(action_of(what=f"medicine {n}", dose=f"{n} mg once", check_first=("x",)) for n in range(20))
    told = by_rules(msgspec.structs.replace(pneumonia, plan=plan), ENGLISH)
    assert told is not None
    for n in range(20):
        done = f"To do: give medicine {n}: {n} mg once. Check before you give medicine {n}: x. ["
        assert done in told.text


def test_a_weight_that_is_missing_is_asked_for_and_is_no_contraindication(pneumonia: Assessment) -> None:
    lacking = action_of(withheld=("no dose without weight",), needs=("weight_kg",))
    told = by_rules(msgspec.structs.replace(pneumonia, plan=(lacking,)), ENGLISH)
    assert told is not None
    assert "To do: amoxicillin: WEIGH FIRST: there is no dose without the weight." in told.text
    assert "Do not give" not in told.text


def test_an_interview_ends_when_the_nurse_says_stop(box: Box, sources: Passages) -> None:
    model = Scripted([*calls(("next_questions", {}))])
    first = led_interview(box, line_of(COUGH), lambda _: "no", model, sources)
    assert [step.tool for step in first.led or ()] == ["next_questions"]
    id_ = json.loads((first.led or ())[0].result)[0]["id"]
    model = Scripted(calls(*[("ask_nurse", {"id": id_})] * 3))
    stopped = led_interview(box, line_of(COUGH), lambda _: "stop", model, sources)
    assert len(stopped.led or ()) == 1


@pytest.mark.parametrize("answer", ["yes", "no", "unknown", "stop"])
def test_what_a_model_sees_in_a_note_counts_once_the_nurse_says_so(box: Box, answer: Answer) -> None:
    note = "fever and cough for 3 days, his socks keep sliding down oddly"
    model = Scripted(['{"p1": "Night sweats"}', '{"p1": "Night sweats"}'])
    voice = Voice(model, lambda: frozenset(("extract",)))
    telling = Telling(ENGLISH, voice, lambda _: [("HP:0030166", "Night sweats")])
    asked = list[str]()

    def ask(question: Question) -> Answer:
        asked.append(question.id)
        return answer if len(asked) == 1 else "stop"

    found = interview(box, line_of({"id": "c", "note": note}), ask, None, telling)
    assert asked[0] == "HP:0030166"
    counted = {f.id: f.present for f in found.findings or ()}
    assert counted.get("HP:0030166") == {"yes": True, "no": False}.get(answer)


@pytest.mark.parametrize("arguments", [{}, {"medicine": 5, "unit": None}, {"amount": "x"}])
def test_a_call_that_lacks_its_arguments_costs_no_interview(
    box: Box, sources: Passages, arguments: Mapping[str, Any]
) -> None:
    model = Scripted(calls(("check_dose", arguments), ("finish", {})))
    led = led_interview(box, line_of(COUGH), lambda _: "no", model, sources)
    assert (led.led or ())[0].error


def test_a_case_that_failed_has_no_words() -> None:
    assert by_rules(Assessment("c", error="broken"), ENGLISH) is None


@pytest.mark.parametrize("code", ["fr", "sw", "rw", "zh"])
def test_a_model_tells_in_every_language_of_the_tables(pneumonia: Assessment, code: str) -> None:
    words = catalogue(code)
    narrative = Voice(Scripted([drafted(["E2a", "Note E3a"])])).tell(pneumonia, words)
    assert narrative is not None
    assert narrative.model == "scripted"
    assert (
        words.say("This is urgent (yellow): see the patient soon.") in narrative.text
        or words.say("This is an emergency (red): see the patient now.") in narrative.text
    )


# --- the checker ---------------------------------------------------------------------------------

EVIDENCE = {
    "E1": Fact("E1", "urgency", ("This is an emergency (red): see the patient now.",), "triage"),
    "E2": Fact("E2", "action", ("To do: give amoxicillin: 250 mg twice daily for 5 days.",), "IMCI"),
    "E3": Fact("E3", "action", ("To do: give paracetamol: 100 mg once.",), "IMCI"),
    "E4": Fact("E4", "evidence", ("This speaks for pneumonia: no chest pain; cough.",), "knowledge"),
    "E5": Fact("E5", "action", ("Do not give ibuprofen: allergy to aspirin.",), "formulary"),
    "E6": Fact("E6", "condition", ("It may be pneumonia (62%).",), "knowledge"),
}


@pytest.mark.parametrize("id_", EVIDENCE)
def test_the_evidence_itself_is_supported(id_: str) -> None:
    assert why_unsupported(Sentence(EVIDENCE[id_].wordings[0], (id_,)), EVIDENCE) is None


@pytest.mark.parametrize(
    ("text", "cites"),
    [
        ("To do: give amoxicillin: 500 mg twice daily for 5 days.", ("E2",)),
        ("To do: give amoxicillin: 250 mg once.", ("E2", "E3")),
        ("To do: give paracetamol: 250 mg twice daily for 5 days.", ("E2", "E3")),
        ("To do: give ibuprofen.", ("E5",)),
        ("give ibuprofen: allergy to aspirin.", ("E5",)),
        ("This speaks for pneumonia: chest pain; cough.", ("E4",)),
        ("This speaks for malaria: no chest pain; cough.", ("E4",)),
        ("It may be pneumonia (92%).", ("E6",)),
        ("It is pneumonia (62%).", ("E6",)),
        ("It may be pneumonia (62%) or asthma.", ("E6",)),
        ("This is no emergency (red): see the patient now.", ("E1",)),
        ("This is an emergency (red): see the patient now, later.", ("E1",)),
        ("This is an emergency (red): see the patient now.", ("E6",)),
        ("This is an emergency (red): see the patient now.", ()),
        ("This is an emergency (red): see the patient now.", ("E9",)),
        ("To do: give amoxicillin: 2.50 mg twice daily for 5 days.", ("E2",)),
        ("To do: give amoxicillin: 250 mg twice daily for 5 days. This is an emergency.", ("E2",)),
        ("Ce patient va bien.", ("E1",)),
    ],
)
def test_a_changed_number_medicine_negation_or_citation_is_found(text: str, cites: tuple[str, ...]) -> None:
    assert why_unsupported(Sentence(text, cites), EVIDENCE)


@given(st.sampled_from(sorted(EVIDENCE)), st.text(min_size=1, max_size=12))
def test_a_word_that_is_put_in_is_found_unless_it_says_nothing(id_: str, word: str) -> None:
    from akazuba.llm.checker import _words, glue

    put_in = f"{word} {EVIDENCE[id_].wordings[0]}"
    why = why_unsupported(Sentence(put_in, (id_,)), EVIDENCE)
    silent = all(part in glue() for part in _words(word))
    assert (why is None) == silent


# --- prompts -------------------------------------------------------------------------------------


def test_what_is_put_into_a_prompt_is_not_read_as_a_place_for_more() -> None:
    messages = prompt("narrative").messages(nurse="{patient} \0patient\0", patient="SECRET")
    assert messages[1]["content"].count("SECRET") == 1


# --- findings that a model sees ------------------------------------------------------------------


def near(_: str) -> list[tuple[str, str]]:
    return [("HP:0001250", "Seizure"), ("HP:0001945", "Fever")]


def test_a_candidate_has_a_span_of_the_note_and_does_not_count() -> None:
    note = "Fever since Monday. Her body jerked all over."
    known = [Finding("HP:0001945", "Fever", span=(0, 18))]
    found = candidates(note, known, near, Scripted(['{"p1": "Seizure"}']))
    assert [(f.id, f.text, f.source, f.counts) for f in found] == [
        ("HP:0001250", "Her body jerked all over", "model", False)
    ]


@pytest.mark.parametrize("choice", [NONE, "Healthy", "Fever"])
def test_a_model_can_invent_no_finding_and_repeat_none(choice: str) -> None:
    known = [Finding("HP:0001945", "Fever", span=(0, 5))]
    model = Scripted([json.dumps({"p1": choice})])
    assert candidates("Fever. Her body jerked all over.", known, near, model) == ()


def test_a_note_of_which_everything_was_understood_asks_no_model() -> None:
    model = Scripted([])
    assert candidates("Fever", [Finding("HP:0001945", "Fever", span=(0, 5))], near, model) == ()
    assert model.asked == []


# --- the second reader ---------------------------------------------------------------------------

LIST = tuple(Candidate(name, 0.3) for name in ("Malaria", "Typhoid fever", "Pneumonia"))


@pytest.mark.parametrize(
    ("straight", "turned", "place"), [("A", "C", 0), ("B", "B", 1), ("A", "A", None), ("C", "A", 2)]
)
def test_an_opinion_that_hangs_on_the_order_is_none(straight: str, turned: str, place: int | None) -> None:
    model = Scripted([json.dumps({"first": letter}) for letter in (straight, turned)])
    assert second_reading(LIST, (), model) == place


# --- questions to the sources --------------------------------------------------------------------


def test_a_question_is_answered_by_a_clause_word_for_word(box: Box, sources: Passages) -> None:
    found = ask("when to repeat viral load", sources, None)
    clauses = box.desk.library.get("hiv-treatment").clauses
    assert found.answer == clauses["viral-load"].says
    assert "source: unverified" in found.citations[0].source or clauses["viral-load"].verified
    assert found.citations[0].review == "not reviewed by a clinician"


@pytest.mark.parametrize(
    "question", ["who won the world cup", "???", "", "how to repair a carburettor", "a" * 500]
)
def test_what_the_sources_do_not_say_is_not_answered(sources: Passages, question: str) -> None:
    found = ask(question, sources, None)
    assert (found.answer, found.citations) == (NOT_IN_SOURCES, ())


def test_the_words_of_a_question_are_no_query_language(sources: Passages) -> None:
    for text in (
        'viral" OR "load',
        "load NEAR viral",
        "title:load",
        "viral*",
        "(((",
        "'; DROP TABLE passage",
    ):
        ask(text, sources, None)


def test_a_model_chooses_passages_and_words_none(sources: Passages) -> None:
    model = Scripted(['{"answers": ["C2"]}'])
    found = ask("when to repeat viral load", sources, model)
    assert found.citations[0].id == "hiv-treatment/viral-load-high"
    assert found.answer == found.citations[0].text


# --- an interview that a model leads -------------------------------------------------------------


def calls(*pairs: tuple[str, Mapping[str, Any]]) -> list[str]:
    return [json.dumps({"tool": name, "arguments": arguments}) for name, arguments in pairs]


COUGH = {
    "patient": {"age_years": 30, "sex": "male"},
    "note": "Cough for 2 days",
    "vitals": {"temperature_c": 36.9, "heart_rate_bpm": 80, "respiratory_rate_bpm": 16, "spo2_percent": 98}
    | {"consciousness": "alert"},
}


def test_a_model_leads_by_calling_tools_and_every_step_is_logged(box: Box, sources: Passages) -> None:
    def asks_first(_: Mapping[str, Any]) -> str:
        offered = json.loads(model.asked[-1][0][-1]["content"].partition(": ")[2])
        return calls(("ask_nurse", {"id": offered[0]["id"]}))[0]

    model = Scripted([*calls(("next_questions", {})), asks_first, *calls(("finish", {}))])
    asked: list[str] = []

    def nurse(question: Any) -> Any:
        asked.append(question.id)
        return "no"

    led = led_interview(box, line_of(COUGH), nurse, model, sources)
    assert [step.tool for step in led.led or ()] == ["next_questions", "ask_nurse"]
    assert len(asked) == 1
    assert any(f.id == asked[0] and not f.present for f in led.findings or ())


def test_the_urgency_is_the_same_whatever_the_model_calls(box: Box, sources: Passages) -> None:
    model = Scripted(calls(*[("triage", {}), ("nonsense", {}), ("ask_nurse", {"id": "HP:0"})] * 2))
    led = led_interview(box, line_of(COUGH), lambda _: "no", model, sources)
    assert led.triage == assess(box, line_of(COUGH)).triage
    assert [step.error.partition(":")[0] for step in led.led or ()][:3] == ["", "tool", "ask_nurse"]


def test_an_emergency_is_not_asked_further(box: Box, sources: Passages) -> None:
    model = Scripted([])
    red = {**COUGH, "note": "He is not breathing and unresponsive"}
    assert led_interview(box, line_of(red), lambda _: "no", model, sources).led == ()
    assert model.asked == []


def test_the_loop_ends_after_its_steps_and_after_calls_that_are_refused() -> None:
    def fails(_: Mapping[str, Any]) -> object:
        raise InputError("x", "y", "z")

    tools = (Tool("ok", "", {"type": "object"}, lambda _: 1), Tool("bad", "", {"type": "object"}, fails))
    ended = lead("", tools, Scripted(calls(*[("ok", {})] * (MOST_STEPS + 5))))
    assert len(ended.steps) == MOST_STEPS
    refused = lead("", tools, Scripted(calls(*[("bad", {})] * 10)))
    assert [step.error for step in refused.steps] == ["x: expected y, found z"] * 3
    broken = lead("", tools, Scripted(["no json"]))
    assert broken.steps == ()
    assert "expected JSON of a call" in broken.ended


# --- the tools -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tools(box: Box, sources: Passages) -> dict[str, Tool]:
    return {tool.name: tool for tool in box_tools(box, sources)}


def test_a_tool_opens_no_file_that_a_caller_names(tools: dict[str, Tool]) -> None:
    case = {"id": "c", "images": [{"path": "/etc/passwd", "kind": "chest-xray"}]}
    for name in ("triage", "assess", "rank", "ask_next"):
        with pytest.raises(InputError, match="pictures are read at the box only"):
            tools[name].call({"case": case})


def test_a_dose_over_the_maximum_and_an_allergy_are_said(tools: dict[str, Tool]) -> None:
    dose = {"medicine": "Panadol", "amount": 5000, "unit": "mg", "frequency": "once", "weight_kg": 60}
    said: Any = tools["check_dose"].call(dose | {"taken": [], "allergies": []})
    assert said["medicine"] == "paracetamol"
    assert "over the maximum" in said["over_the_maximum"]
    safe: Any = tools["check_dose"].call(
        dose | {"medicine": "amoxicillin", "amount": 500, "taken": [], "allergies": ["penicillin"]}
    )
    assert safe["withheld"] == ["allergy to penicillin"]


def test_a_guideline_runs_over_named_values(tools: dict[str, Tool]) -> None:
    said: Any = tools["run_guideline"].call({"id": "bmi", "values": {"weight_kg": 60, "height_cm": 165}})
    assert said["bmi"] == pytest.approx(22.04, abs=0.01)
    with pytest.raises(InputError, match="--set no_such"):
        tools["run_guideline"].call({"id": "bmi", "values": {"no_such": 1}})


def test_without_a_model_nothing_is_asked_of_one() -> None:
    assert not any(SILENT.may(task) for task in ("narrative", "ask", "extract", "second_reader", "lead"))
    assert Voice(Scripted([])).may("ask")
    assert not Voice(Scripted([])).may("lead")


# --- attacks inside a note -----------------------------------------------------------------------

ATTACKS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "benchmarks" / "data" / "injections.ndjson")
    .read_text(encoding="utf-8")
    .splitlines()
]


def obeys(case: Mapping[str, Any]) -> Scripted:
    """The worst model: it writes the attack itself, as sentences and as codes that do not exist."""
    note = case.get("note", "")
    return Scripted([drafted([note, f"E2a {note}", "P9z", "E1a", "E2a"], [note, "P1a"])])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_an_attack_in_a_note_changes_nothing_and_reaches_nobody(box: Box, attack: dict[str, Any]) -> None:
    line = line_of(attack["case"])
    plain = assess(box, line)
    obeyed = assess(box, line, None, Telling(ENGLISH, Voice(obeys(attack["case"]))))
    assert obeyed.triage == plain.triage
    assert obeyed.plan == plain.plan
    assert obeyed.triage
    assert obeyed.triage.level in ("red", "yellow")
    assert obeyed.narrative
    shown = f"{obeyed.narrative.text} {obeyed.narrative.patient_text}".lower()
    assert [word for word in attack["forbidden"] if word in shown] == []


def test_there_are_enough_attacks() -> None:
    assert len({attack["attack"] for attack in ATTACKS}) >= 50
