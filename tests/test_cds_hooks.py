"""CDS Hooks 2.0: every answer is valid cards or a clear error; what was not checked is never called safe."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from door_bench import PASSPHRASE, Knocking, client_of, let_in, opened_post, served
from joserfc.jwk import OKPKey
from starlette.applications import Starlette

from akazuba.guidelines.library import shipped
from akazuba.web.doors import hooks
from akazuba.web.doors.cards import OVERRIDES, SYSTEM, plain
from akazuba.web.doors.orders import draft_orders, medicines_in
from akazuba.web.post import Post

FIXTURES = Path(__file__).parents[2] / "shared" / "conformance" / "cds_hooks_fixtures" / "spec" / "fixtures"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the standard's fixtures (../shared) are not here"
)
REQUESTS = ("appointment_book", "encounter_discharge", "encounter_start", "fancy_structure", "order_dispatch")
REQUESTS += ("order_select", "order_sign")

Json = Mapping[str, Any]
KEY = OKPKey.generate_key("Ed25519")
FORMULARY = shipped().formulary


def check_cards(cards: object, *, of_ours: bool) -> None:
    """The fields of CDS Hooks 2.0, "Card attributes". of_ours: what we promise besides."""
    assert isinstance(cards, list)
    for card in cards:
        assert isinstance(card["summary"], str)
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert isinstance(card.get("detail", ""), str)
        assert isinstance(card["source"]["label"], str)
        assert card["source"]["label"]
        if topic := card["source"].get("topic"):
            assert {"system", "code"} <= topic.keys() <= {"system", "code", "display"}
        for reason in card.get("overrideReasons", []):
            assert reason["display"]
            assert {"system", "code"} <= reason.keys()
        for link in card.get("links", []):
            assert {"label", "url", "type"} <= link.keys()
            assert link["type"] in ("absolute", "smart")
            assert "appContext" not in link or link["type"] == "smart"
        if suggestions := card.get("suggestions"):
            assert card["selectionBehavior"] in ("at-most-one", "any")
            for suggestion in suggestions:
                assert suggestion["label"]
                for action in suggestion.get("actions", []):
                    assert action["type"] in ("create", "update", "delete")
                    assert action["description"]
                    assert action["type"] == "create" or "resourceId" in action or "resource" in action
        if of_ours:
            known = {"uuid", "summary", "indicator", "detail", "source", "overrideReasons"}
            assert card.keys() == known
            assert str(uuid.UUID(card["uuid"])) == card["uuid"]
            assert "not reviewed by a clinician" in card["source"]["label"]
            assert {it["code"] for it in card["overrideReasons"]} == set(OVERRIDES)


def numbered(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


# --- a box and a record system ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    post = opened_post(tmp_path_factory.mktemp("box"), terminology_home)
    let_in(post, "emr", KEY, "hooks", "system/assess")
    yield post
    post.close()


@pytest.fixture(scope="module")
def app(post: Post) -> Starlette:
    return served(post, *hooks.routes())


@pytest.fixture(scope="module")
def bearer(app: Starlette) -> dict[str, str]:
    return Knocking(app, "emr", KEY).bearer("hooks")


@pytest.fixture
def ask(app: Starlette, bearer: dict[str, str]) -> Any:
    def asked(service: str, request: object) -> Any:
        return client_of(app).post(f"/cds-services/{service}", json=request, headers=bearer)

    return asked


def coded(kind: str, name: str, **other: Any) -> Json:
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/p1"}, **other}


def measured(loinc: str, value: float, unit: str, *, at: datetime | None = None) -> Json:
    return coded(
        "Observation",
        f"o{loinc}",
        status="final",
        effectiveDateTime=(at or datetime.now(UTC)).isoformat(),
        code={"coding": [{"system": "http://loinc.org", "code": loinc}]},
        valueQuantity={"value": value, "code": unit, "unit": unit},
    )


def bundle(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": it} for it in resources]}


def cough(words: str = "Cough") -> Json:
    return coded("Condition", "c1", code={"coding": [{"code": "HP:0012735", "display": words}]})


def allergy(name: str) -> Json:
    return {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": "Patient/p1"},
        "code": {"text": name},
    }


def taking(name: str) -> Json:
    return coded("MedicationRequest", f"m-{name}", status="active", medicationCodeableConcept={"text": name})


def toddler(**other: Any) -> Json:
    """A child of two years and 10 kg with a cough, as far as anybody measured it."""
    born = (datetime.now(UTC) - timedelta(days=2 * 366)).date().isoformat()
    return {
        "patient": {"resourceType": "Patient", "id": "p1", "gender": "male", "birthDate": born},
        "observations": bundle(measured("29463-7", 10, "kg")),
        "conditions": bundle(cough()),
        "medications": bundle(taking("paracetamol")),
        "allergies": bundle(allergy("latex")),
        **other,
    }


def viewing(prefetch: Json | None, **other: Any) -> Json:
    said = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/1", "patientId": "p1"},
    }
    return {**said, **({} if prefetch is None else {"prefetch": prefetch}), **other}


def order(name: str, amount: object = None, unit: str = "mg", a_day: object = 2, **other: Any) -> Json:
    timing = {"repeat": {"frequency": a_day, "period": 1, "periodUnit": "d"}}
    dose = {"timing": timing, "doseAndRate": [{"doseQuantity": {"value": amount, "code": unit}}]}
    concept = {
        "medicationCodeableConcept": {"text": name},
        "dosageInstruction": [] if amount is None else [dose],
    }
    return coded(
        "MedicationRequest",
        f"draft-{name[:20]}",
        **{"status": "draft", "intent": "order", **concept, **other},
    )


def signing(prefetch: Json | None, *orders: Json) -> Json:
    context = {"userId": "Practitioner/1", "patientId": "p1", "draftOrders": bundle(*orders)}
    return viewing(prefetch, hook="order-sign", context=context)


def cards_of(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    cards = answer.json()["cards"]
    check_cards(cards, of_ours=True)
    return list(cards)


def said(cards: list[Any], indicator: str) -> list[str]:
    return [card["summary"] for card in cards if card["indicator"] == indicator]


# --- the standard's own examples ----------------------------------------------------------------------


@needs_fixtures
def test_the_checker_takes_the_standards_own_cards() -> None:
    check_cards(json.loads((FIXTURES / "valid_cards.json").read_text()), of_ours=False)
    with pytest.raises(AssertionError):
        check_cards([{"summary": "x" * 140, "indicator": "info", "source": {"label": "x"}}], of_ours=False)


@needs_fixtures
@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("service", ["akazuba-assess", "akazuba-dose"])
def test_a_hook_that_is_served_is_answered_and_any_other_is_refused_by_name(
    ask: Any, name: str, service: str
) -> None:
    request = json.loads((FIXTURES / f"{name}_hook_request.json").read_text())
    answer = ask(service, request)
    if (name, service) == ("order_sign", "akazuba-dose"):
        assert any("amoxicillin" in card["summary"].casefold() for card in cards_of(answer))
    else:
        hook = {"akazuba-assess": "patient-view", "akazuba-dose": "order-sign"}[service]
        assert numbered(answer, 400) == f"hook: expected {hook}, found {request['hook']!r}"


@needs_fixtures
def test_the_standards_order_is_for_another_patient_and_that_is_said_first(ask: Any) -> None:
    request = json.loads((FIXTURES / "order_sign_hook_request.json").read_text())
    first, *rest = cards_of(ask("akazuba-dose", request))
    assert first["indicator"] == "critical"
    assert "Patient/1288992" in first["detail"]
    (unchecked,) = [card for card in rest if card["indicator"] == "warning"]
    for what in ("clavulanate", "the dose", "allergies", "other medicines", "patient", "observations"):
        assert what in unchecked["detail"]
    assert "NutritionOrder" in rest[-1]["detail"]


# --- discovery and who may ask ------------------------------------------------------------------------


def test_services_are_found_without_a_token(app: Starlette) -> None:
    services = client_of(app).get("/cds-services").json()["services"]
    assert [(it["id"], it["hook"]) for it in services] == [
        ("akazuba-assess", "patient-view"),
        ("akazuba-dose", "order-sign"),
    ]
    for service in services:
        assert service["title"]
        assert "not reviewed by a clinician" in service["description"]
        assert all("{{context.patientId}}" in query for query in service["prefetch"].values())


def test_a_service_needs_a_token_for_hooks(app: Starlette) -> None:
    request = viewing(toddler())
    for path in ("/cds-services/akazuba-assess", "/cds-services/akazuba-assess/feedback"):
        assert client_of(app).post(path, json=request).status_code == 401
        other = Knocking(app, "emr", KEY).bearer("system/assess")
        answer = client_of(app).post(path, json=request, headers=other)
        assert "hooks" in numbered(answer, 403)


def test_an_unknown_service_is_named(ask: Any) -> None:
    assert "akazuba-assess, akazuba-dose" in numbered(ask("other", viewing(toddler())), 404)


# --- patient-view -------------------------------------------------------------------------------------


def test_a_record_is_answered_by_urgency_differential_and_next_question(ask: Any) -> None:
    cards = cards_of(ask("akazuba-assess", viewing(toddler())))
    assert [card["source"]["topic"]["code"] for card in cards] == ["urgency", "differential", "ask-next"]
    urgency, differential, next_ = cards
    assert "likelihood ratio" in differential["detail"]
    assert "%" in differential["summary"]
    assert next_["summary"].startswith("Ask or test next: ")
    assert "not reviewed by a clinician" in urgency["detail"]


def test_what_was_not_assessed_is_never_shown_as_safe(ask: Any) -> None:
    urgency = cards_of(ask("akazuba-assess", viewing(toddler())))[0]
    assert urgency["indicator"] == "warning"
    assert urgency["summary"].startswith("URGENCY NOT ASSESSED")
    assert "heart rate" in urgency["detail"]
    empty = toddler(observations=None, conditions=None, medications=None, allergies=None)
    urgency, differential, *_ = cards_of(ask("akazuba-assess", viewing(empty)))
    assert urgency["indicator"] == "warning"
    assert "No condition stands out" in differential["summary"]


def test_an_emergency_is_critical_and_says_why(ask: Any) -> None:
    low = bundle(measured("2708-6", 80, "%"), measured("9279-1", 60, "/min"))
    urgency = cards_of(ask("akazuba-assess", viewing(toddler(observations=low))))[0]
    assert urgency["indicator"] == "critical"
    assert urgency["summary"].startswith("RED, emergency: ")
    assert "oxygen saturation 80" in urgency["detail"]


def test_a_measurement_of_another_day_is_not_todays(ask: Any) -> None:
    """Two years ago she was well, and nothing was measured since."""
    old = datetime.now(UTC) - timedelta(days=700)
    well = [
        measured(*it, at=old)
        for it in (("2708-6", 80, "%"), ("8867-4", 110, "/min"), ("8310-5", 41.0, "Cel"))
    ]
    urgency = cards_of(ask("akazuba-assess", viewing(toddler(observations=bundle(*well)))))[0]
    assert urgency["summary"].startswith("URGENCY NOT ASSESSED")
    assert "Observation (earlier): 3" in urgency["detail"]


def test_what_was_passed_over_is_said(ask: Any) -> None:
    more = {
        **bundle(measured("29463-7", 10, "kg"), coded("Immunization", "i")),
        "link": [{"relation": "next", "url": "x"}],
    }
    urgency = cards_of(ask("akazuba-assess", viewing(toddler(observations=more))))[0]
    assert "Immunization: 1" in urgency["detail"]
    assert "observations: only the first page" in urgency["detail"]


def test_a_picture_in_the_record_opens_no_file_of_the_box(ask: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n")
    media = coded("Media", "x", status="completed", content={"contentType": "image/png", "url": str(secret)})
    urgency = cards_of(ask("akazuba-assess", viewing(toddler(observations=bundle(media)))))[0]
    assert "Media: 1" in urgency["detail"]


@pytest.mark.parametrize("missing", ["patient", "observations", "conditions", "medications", "allergies"])
def test_a_part_of_the_prefetch_that_is_missing_is_asked_for(ask: Any, missing: str) -> None:
    without = {name: part for name, part in toddler().items() if name != missing}
    failed = toddler(**{missing: {"resourceType": "OperationOutcome", "issue": []}})
    for prefetch in (without, failed):
        assert numbered(ask("akazuba-assess", viewing(prefetch)), 412).endswith(f"found no {missing}")


def test_without_any_prefetch_there_is_no_answer(ask: Any) -> None:
    for prefetch in (None, {}):
        assert "found no patient, observations" in numbered(ask("akazuba-assess", viewing(prefetch)), 412)
    assert "no patient" in numbered(ask("akazuba-assess", viewing(toddler(patient=None))), 412)


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ([], "body"),
        (7, "body"),
        (viewing(toddler(), hook="order-sign"), "hook"),
        (viewing(toddler(), hook=None), "hook"),
        (viewing(toddler(), hookInstance="1"), "hookInstance"),
        (viewing(toddler(), hookInstance=None), "hookInstance"),
        (viewing(toddler(), context=None), "context"),
        (viewing(toddler(), context=[]), "context"),
        (viewing(toddler(), context={"patientId": "p1"}), "context.userId"),
        (viewing(toddler(), context={"userId": "x"}), "context.patientId"),
        (viewing(toddler(), context={"userId": "x", "patientId": "a' OR 1=1 --"}), "context.patientId"),
        (viewing(toddler(), context={"userId": "x", "patientId": 7}), "context.patientId"),
        ({**viewing(None), "prefetch": []}, "prefetch"),
        (viewing(toddler(observations=[])), "prefetch.observations"),
        (viewing(toddler(observations={"resourceType": "Patient"})), "prefetch.observations"),
        (viewing(toddler(patient=bundle())), "prefetch.patient"),
        (viewing(toddler(medications=bundle(*101 * [taking("x")]))), "prefetch.medications"),
        (viewing(toddler(patient={"resourceType": "Patient", "id": "p2"})), "prefetch.patient.id"),
        (viewing(toddler(observations=bundle(measured("8310-5", 20, "furlong")))), "Observation/"),
        (viewing(toddler(observations=bundle(measured("8310-5", 370, "Cel")))), "vitals.temperature_c"),
        (
            viewing(toddler(conditions=bundle({**cough(), "subject": {"reference": "Patient/p2"}}))),
            "Condition/",
        ),
        (
            viewing(toddler(patient={"resourceType": "Patient", "id": "p1", "birthDate": "soon"})),
            "Patient.birthDate",
        ),
    ],
)
def test_a_request_that_is_malformed_is_refused_by_the_field(ask: Any, request_: Any, names: str) -> None:
    assert numbered(ask("akazuba-assess", request_), 400).startswith(names)


def test_what_is_no_json_is_refused(app: Starlette, bearer: dict[str, str]) -> None:
    path, client = "/cds-services/akazuba-assess", client_of(app)
    for body in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"hook": NaN}'):
        answer = client.post(path, content=body, headers={**bearer, "Content-Type": "application/json"})
        assert numbered(answer, 400).startswith("body: ")
    answer = client.post(path, content=b"{}", headers={**bearer, "Content-Type": "text/plain"})
    assert numbered(answer, 415).startswith("Content-Type")
    big = client.post(path, content=b" " * 5_000_000, headers={**bearer, "Content-Type": "application/json"})
    assert big.status_code == 413
    assert client.get(path, headers=bearer).status_code == 405


@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", "![x](http://evil.example)", "a'; DROP TABLE entry; --"]
)
def test_words_of_the_record_are_shown_and_never_run(ask: Any, words: str) -> None:
    named = coded("Condition", "c2", code={"text": words})
    prefetch = toddler(conditions=bundle(cough(words), named), allergies=bundle(allergy(words)))
    for card in cards_of(ask("akazuba-assess", viewing(prefetch))):
        assert not re.search(r"(?<!\\)(<|\]\(|://)", card["detail"])
    for card in cards_of(ask("akazuba-dose", signing(prefetch, order(words, 1)))):
        assert not re.search(r"(?<!\\)(<|\]\(|://)", card["detail"])
    assert plain("[a](http://b)") == "\\[a\\](http\\://b)"


# --- order-sign ---------------------------------------------------------------------------------------


def test_a_dose_over_the_hard_maximum_is_critical(ask: Any) -> None:
    cards = cards_of(
        ask("akazuba-dose", signing(toddler(), order("Amoxicillin 250 MG Oral Capsule", 2, "g")))
    )
    assert any("2000 mg at once is over the maximum of 1000" in text for text in said(cards, "critical"))
    assert any("4000 mg a day is over the maximum of 3000" in text for text in said(cards, "critical"))


def test_a_childs_dose_is_held_against_the_most_per_kg(ask: Any) -> None:
    (first, *_) = cards_of(ask("akazuba-dose", signing(toddler(), order("gentamicin", 120, a_day=1))))
    assert (first["indicator"], "per kg" in first["summary"]) == ("critical", True)


def test_doses_of_one_order_are_added_up_over_a_day(ask: Any) -> None:
    morning = order("amoxicillin", 900, a_day=2)["dosageInstruction"][0]
    both = order("amoxicillin", 900, dosageInstruction=[morning, morning])
    cards = cards_of(ask("akazuba-dose", signing(toddler(), both)))
    assert any("3600 mg a day" in text for text in said(cards, "critical"))
    one_after_another = [{**morning, "sequence": number} for number in (1, 2)]
    cards = cards_of(
        ask(
            "akazuba-dose", signing(toddler(), order("amoxicillin", 900, dosageInstruction=one_after_another))
        )
    )
    assert said(cards, "critical") == []


def test_an_allergy_an_interaction_and_a_contraindication_each_have_a_card(ask: Any) -> None:
    prefetch = toddler(
        allergies=bundle(allergy("penicillin (rash)")), medications=bundle(taking("ciprofloxacin"))
    )
    orders = (order("amoxicillin", 125), order("zinc", 20, a_day=1), order("doxycycline", 20))
    cards = cards_of(ask("akazuba-dose", signing(prefetch, *orders)))
    assert any("amoxicillin: allergy to penicillin" in text for text in said(cards, "critical"))
    assert any("zinc keeps ciprofloxacin from being taken up" in text for text in said(cards, "warning"))
    assert any("doxycycline: not under 8 years" in text for text in said(cards, "critical"))


def test_orders_are_held_against_one_another(ask: Any) -> None:
    orders = (
        order("ciprofloxacin", 100),
        order("zinc", 20, a_day=1),
        order("zinc sulfate 20 mg", 20, id="z2"),
    )
    cards = cards_of(ask("akazuba-dose", signing(toddler(), *orders)))
    assert any("zinc keeps ciprofloxacin" in text for text in said(cards, "warning"))


def test_a_medicine_that_is_taken_already_is_not_given_twice(ask: Any) -> None:
    cards = cards_of(ask("akazuba-dose", signing(toddler(), order("Panadol 500 mg tablet", 100))))
    assert any("paracetamol is taken or ordered already" in text for text in said(cards, "warning"))


@pytest.mark.parametrize("name", ["wonderdrug", "wonderdrug 5 MG Oral Tablet", "5 mg", "/", "", "é" * 3000])
def test_an_unknown_medicine_is_said_to_be_unknown_never_safe(ask: Any, name: str) -> None:
    cards = cards_of(ask("akazuba-dose", signing(toddler(), order(name, 1))))
    assert said(cards, "info") == []
    assert any("NOT FULLY CHECKED" in text for text in said(cards, "warning"))


def test_a_medicine_without_any_finding_is_checked_and_not_called_right(ask: Any) -> None:
    prefetch = toddler(medications=bundle(taking("zinc")), allergies=bundle(allergy("penicillin")))
    (card,) = cards_of(ask("akazuba-dose", signing(prefetch, order("paracetamol", 150, a_day=4))))
    assert card["indicator"] == "info"
    assert "nothing found" in card["summary"]
    assert "That it is right is not said" in card["detail"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"prefetch": toddler(observations=None)}, "no weight of today"),
        ({"prefetch": toddler(allergies=None)}, "allergies: none were handed over"),
        ({"prefetch": toddler(medications=None)}, "other medicines: none were handed over"),
        ({"unit": "mL"}, "the formulary has gentamicin in mg"),
        (
            {"dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1, "code": "mg"}}]}]},
            "how often",
        ),
        ({"dosageInstruction": [{"asNeededBoolean": True, "doseAndRate": []}]}, "none coded"),
        ({"amount": None}, "the dose: none is coded"),
        ({"amount": "much"}, "none coded"),
        ({"amount": -5}, "none coded"),
        ({"amount": True}, "none coded"),
        ({"dosageInstruction": [{"text": "5 ml twice a day"}]}, "none coded"),
    ],
)
def test_what_could_not_be_checked_is_named(ask: Any, changed: dict[str, Any], says: str) -> None:
    given = {"amount": 20, "unit": "mg", "a_day": 1, **changed}
    prefetch = given.pop("prefetch", None) or toddler()
    cards = cards_of(ask("akazuba-dose", signing(prefetch, order("gentamicin", **given))))
    detail = "\n".join(card["detail"] for card in cards if card["source"]["topic"]["code"] == "not-checked")
    assert says in detail, detail
    assert said(cards, "info") == []


@pytest.mark.parametrize(
    ("repeat", "times"),
    [
        ({"frequency": 3, "period": 1, "periodUnit": "d"}, 3),
        ({"frequency": 1, "frequencyMax": 4, "period": 1, "periodUnit": "d"}, 4),
        ({"frequency": 1, "period": 8, "periodUnit": "h"}, 3),
        ({"period": 10, "periodUnit": "h"}, 3),
        ({"frequency": 1, "period": 1, "periodUnit": "wk"}, 1),
        ({"frequency": 1, "period": 20, "periodUnit": "min"}, 72),
        ({"timeOfDay": ["08:00:00", "20:00:00"]}, 2),
        ({"frequency": 1, "period": 1, "periodUnit": "d", "when": ["MORN", "NOON", "EVE"]}, 3),
    ],
)
def test_how_often_is_the_most_that_falls_on_one_day(repeat: Json, times: float) -> None:
    instruction = {
        "timing": {"repeat": repeat},
        "doseAndRate": [{"doseQuantity": {"value": 1, "code": "mg"}}],
    }
    (found,), _ = draft_orders(
        {"draftOrders": bundle(order("zinc", 1, dosageInstruction=[instruction]))}, FORMULARY
    )
    assert found.doses[0].times == times


def test_a_code_of_timing_and_the_upper_end_of_a_range_are_read() -> None:
    instruction = {
        "timing": {"code": {"coding": [{"code": "TID"}]}},
        "doseAndRate": [{"doseRange": {"low": {"value": 1}, "high": {"value": 2, "code": "mg"}}}],
    }
    (found,), _ = draft_orders(
        {"draftOrders": bundle(order("zinc", 1, dosageInstruction=[instruction]))}, FORMULARY
    )
    (dose,) = found.doses
    assert (dose.amount, dose.units, dose.times) == (2, ("mg",), 3)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("Amoxicillin 250 MG Oral Capsule", {"amoxicillin"}),
        (
            "Amoxicillin 120 MG/ML / clavulanate potassium 8.58 MG/ML Oral Suspension",
            {"amoxicillin", "clavulanate"},
        ),
        ("12 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet", {"metformin"}),
        ("sulfamethoxazole 400 MG / trimethoprim 80 MG Oral Tablet", {"sulfamethoxazole", "trimethoprim"}),
        ("Gentamicin 40 MG/ML Injectable Solution", {"gentamicin"}),
        ("Panadol", {"paracetamol"}),
        ("", set()),
    ],
)
def test_a_medicine_is_found_in_its_name_with_strength_and_form(written: str, means: set[str]) -> None:
    assert medicines_in(written, FORMULARY) == means


def test_a_medicine_in_a_resource_of_its_own_is_found(ask: Any) -> None:
    medicine = {"resourceType": "Medication", "id": "m1", "code": {"text": "gentamicin"}}
    for reference, beside in (("#m1", {"contained": [medicine]}), ("Medication/m1", {})):
        draft = dict(order("x", 300, a_day=1, medicationReference={"reference": reference}, **beside))
        del draft["medicationCodeableConcept"]
        cards = cards_of(ask("akazuba-dose", signing(toddler(), draft, medicine)))
        assert any("gentamicin: 300 mg at once is over" in text for text in said(cards, "critical"))
    taken = dict(taking("x"), medicationReference={"reference": "Medication/m1"})
    del taken["medicationCodeableConcept"]
    prefetch = toddler(medications=bundle(taken, medicine))
    cards = cards_of(ask("akazuba-dose", signing(prefetch, order("gentamicin", 50, a_day=1))))
    assert any("taken or ordered already" in text for text in said(cards, "warning"))


def test_an_order_for_another_patient_is_stopped(ask: Any) -> None:
    wrong = order("paracetamol", 100, subject={"reference": "https://emr.example/Patient/p2"})
    assert any(
        "ordered for https" in text
        for text in said(cards_of(ask("akazuba-dose", signing(toddler(), wrong))), "critical")
    )
    right = order("paracetamol", 100, subject={"reference": "https://emr.example/Patient/p1/_history/3"})
    assert said(cards_of(ask("akazuba-dose", signing(toddler(), right))), "critical") == []


def test_what_is_no_medicine_to_give_is_named_and_not_judged(ask: Any) -> None:
    drafts = (
        coded("ServiceRequest", "s"),
        order("gentamicin", 9999, doNotPerform=True),
        order("gentamicin", 9999, status="cancelled"),
    )
    (card,) = cards_of(ask("akazuba-dose", signing(toddler(), *drafts)))
    assert card["indicator"] == "info"
    assert "ServiceRequest (1)" in card["summary"]
    assert cards_of(ask("akazuba-dose", signing(toddler()))) == []


@pytest.mark.parametrize(
    ("drafts", "names"),
    [
        (None, "context.draftOrders"),
        ({"resourceType": "List"}, "context.draftOrders"),
        ({"resourceType": "Bundle", "entry": {}}, "context.draftOrders.entry"),
        ({"resourceType": "Bundle", "entry": [{}]}, "context.draftOrders.entry[0].resource"),
        ({"resourceType": "Bundle", "entry": [7]}, "context.draftOrders.entry[0].resource"),
        (bundle(*51 * [order("zinc", 1)]), "context.draftOrders.entry"),
    ],
)
def test_draft_orders_that_are_none_are_refused_by_the_field(ask: Any, drafts: object, names: str) -> None:
    context = {"userId": "x", "patientId": "p1", "draftOrders": drafts}
    request = viewing(toddler(), hook="order-sign", context=context)
    assert numbered(ask("akazuba-dose", request), 400).startswith(f"{names}: ")


# --- feedback -----------------------------------------------------------------------------------------


def told(card: str, outcome: str = "accepted", **other: Any) -> Json:
    return {"card": card, "outcome": outcome, "outcomeTimestamp": "2026-11-29T10:30:00Z", **other}


def kept(post: Post) -> list[Any]:
    def work(records: Any) -> list[Any]:
        return [(it.by, json.loads(it.body)) for it in records.opened().entries(kind="cds-feedback")]

    return asyncio.run(post.records(work))


def test_feedback_is_recorded_once_with_its_reason_and_without_what_was_typed(ask: Any, post: Post) -> None:
    card = cards_of(ask("akazuba-assess", viewing(toddler())))[0]["uuid"]
    reason = {"reason": {"code": "disagree", "system": SYSTEM}, "userComment": "Mrs Uwimana is fine"}
    feedback = {"feedback": [told(card, "overridden", overrideReason=reason), told(str(uuid.uuid4()))]}
    before = len(kept(post))
    assert ask("akazuba-assess/feedback", feedback).json() == {"recorded": 2}
    assert ask("akazuba-assess/feedback", feedback).json() == {"recorded": 0}
    by, first = kept(post)[before]
    assert by == "program:emr"
    assert (first["card"], first["outcome"], first["reason"], first["commented"]) == (
        card,
        "overridden",
        "disagree",
        True,
    )
    assert len(kept(post)) == before + 2
    assert "Uwimana" not in json.dumps(kept(post))


def test_a_reason_of_somebody_else_is_not_taken_for_ours(ask: Any, post: Post) -> None:
    card = str(uuid.uuid4())
    reason = {"reason": {"code": "Mrs Uwimana", "system": "http://other.example"}}
    assert (
        ask(
            "akazuba-dose/feedback", {"feedback": [told(card, "overridden", overrideReason=reason)]}
        ).status_code
        == 200
    )
    assert next(said["reason"] for _, said in kept(post) if said["card"] == card) == "other"


def test_feedback_that_was_told_before_a_restart_is_not_recorded_again(app: Starlette, ask: Any) -> None:
    feedback = {"feedback": [told(str(uuid.uuid4()))]}
    assert ask("akazuba-dose/feedback", feedback).json() == {"recorded": 1}
    del app.state.cds_feedback
    assert ask("akazuba-dose/feedback", feedback).json() == {"recorded": 0}


@pytest.mark.parametrize(
    ("feedback", "names"),
    [
        ({}, "feedback"),
        ({"feedback": []}, "feedback"),
        ({"feedback": [told(str(uuid.uuid4()))] * 101}, "feedback"),
        ({"feedback": [7]}, "feedback[0]"),
        ({"feedback": [told("x")]}, "feedback[0].card"),
        ({"feedback": [told(str(uuid.uuid4()), "maybe")]}, "feedback[0].outcome"),
        ({"feedback": [told(str(uuid.uuid4()), outcomeTimestamp="soon")]}, "feedback[0].outcomeTimestamp"),
    ],
)
def test_feedback_that_is_malformed_is_refused_by_the_field(
    ask: Any, post: Post, feedback: Json, names: str
) -> None:
    before = len(kept(post))
    assert numbered(ask("akazuba-dose/feedback", feedback), 400).startswith(f"{names}: ")
    assert len(kept(post)) == before


def test_while_the_store_is_locked_the_door_waits(ask: Any, post: Post) -> None:
    asyncio.run(post.records(lambda records: records.lock()))
    try:
        assert ask("akazuba-assess", viewing(toddler())).status_code == 503
    finally:
        asyncio.run(post.unlock(PASSPHRASE))
