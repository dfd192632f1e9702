"""What the tests of the FHIR door share: a box with records, a program at its door, and bundles to send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from door_bench import ORIGIN, Knocking, client_of, let_in, opened_post, served
from fhir.resources.R4B import get_fhir_model_class
from joserfc.jwk import OKPKey
from starlette.applications import Starlette

from akazuba.governance.consent import By, Consent, Purpose, give, shown
from akazuba.governance.decisions import record_consultation
from akazuba.records import (
    Action,
    Assessment,
    Candidate,
    Evidence,
    Provenance,
    Triage,
    TriageReason,
)
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store
from akazuba.web.doors import fhir as door
from akazuba.web.post import Post, now_ms

KEY = OKPKey.generate_key("Ed25519")
FHIR_JSON = "application/fhir+json"
HERSELF = By("patient")
TEXT = shown("Do you agree that other systems of the district see your record?", "1", "en")
INJECTED = "Robert'); DROP TABLE patient;-- <script>alert(1)</script>"
NATIONAL = "urn:oid:2.16.646"
Got = TypeVar("Got")


@dataclass
class Bench:
    """headers: of the program, by scope; one token serves for all requests of a test."""

    post: Post
    app: Starlette
    tokens: dict[str, dict[str, str]]

    def get(self, path: str, scope: str = "system/*.read", **headers: str) -> httpx.Response:
        return self._asked("GET", path, scope, headers)

    def send(
        self, path: str, body: object, scope: str = "system/*.write", kind: str = FHIR_JSON, **headers: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._asked("POST", path, scope, {"content-type": kind, **headers}, content=content)

    def _asked(
        self, method: str, path: str, scope: str, headers: dict[str, str], **parts: Any
    ) -> httpx.Response:
        held = self.tokens.get(scope) or self.tokens.setdefault(
            scope, Knocking(self.app, "emr", KEY).bearer(scope)
        )
        answer = client_of(self.app).request(method, path, headers={**held, **headers}, **parts)
        assert answer.headers["content-type"] == door.MEDIA_TYPE
        assert answer.headers["cache-control"] == "no-store"
        sound(answer.json())
        return answer

    def store(self, work: Callable[[Store], Got]) -> Got:
        return asyncio.run(self.post.records(lambda records: work(records.opened())))

    def entries(self, **wanted: Any) -> list[Recorded]:
        return self.store(lambda store: list(store.entries(**wanted)))


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    opened = opened_post(tmp_path_factory.mktemp("fhir"), terminology_home)
    let_in(opened, "emr", KEY, "system/*.read", "system/*.write", "system/Patient.read", "system/assess")
    yield opened
    opened.close()


@pytest.fixture
def bench(post: Post) -> Bench:
    return Bench(post, served(post, *door.routes()), {})


@pytest.fixture
def her(bench: Bench, request: pytest.FixtureRequest) -> str:
    """A patient of her own for each test, who agreed to sharing and has one consultation."""
    id_ = "p-" + sha256(request.node.nodeid.encode()).hexdigest()[:12]
    admitted(bench, id_, f"Uwimana {id_}")
    consulted(bench, id_)
    return id_


def admitted(bench: Bench, id_: str, name: str, *purposes: Purpose) -> None:
    said = Consent(purposes or ("sharing",), HERSELF, TEXT)

    def work(store: Store) -> None:
        store.admit(Person(id_, name, "1985-02-03", "female", "Huye"), "nurse-1")
        give(store, id_, "nurse-1", said, now_ms())

    bench.store(work)


CASE: dict[str, Any] = {
    "id": "c1",
    "patient": {"age_years": 41, "sex": "female", "pregnant": False, "weight_kg": 61.5, "height_cm": 160},
    "note": f"Cough. {INJECTED}",
    "vitals": {
        "temperature_c": 38.4,
        "heart_rate_bpm": 104,
        "systolic_mmhg": 118,
        "diastolic_mmhg": 76,
        "spo2_percent": 93,
        "consciousness": "alert",
        "on_oxygen": True,
    },
    "findings": [{"id": "HP:0012735", "onset_days_ago": 3}, {"id": "HP:0002105", "present": False}],
    "labs": [{"loinc": "718-7", "value": 11.2, "unit": "g/dL"}],
    "tests": [{"id": "mrdt", "result": "negative"}],
    "medications": [{"name": "paracetamol", "dose_mg": 500}],
    "allergies": ["penicillin"],
    "conditions": ["asthma"],
    "gestational_age_weeks": 20,
    "date": "2026-09-21",
}


def consulted(bench: Bench, id_: str, case: dict[str, Any] = CASE) -> tuple[int, int]:
    """The entries of the case and of its assessment."""
    body = json.dumps(case).encode()
    said = Assessment(
        case["id"],
        triage=Triage("yellow", (TriageReason("spo2", "yellow", "WHO IITT", "SpO2 93 %"),), ("pain",)),
        differential=(
            Candidate("tuberculosis", 0.31, ids={"icd10": "A15"}, evidence=(Evidence("cough", 3.0, "HPO"),)),
        ),
        plan=(
            Action("give", "IMCI", "2014", "p3", "not reviewed", dose="500 mg", what="amoxicillin"),
            Action(
                "avoid", "IMCI", "2014", "p4", "not reviewed", what="ibuprofen", withheld=("allergy to it",)
            ),
        ),
        provenance=Provenance(sha256(body).hexdigest(), {"image": "0a"}, "knowledge 3", ("IITT",), None, "1"),
    )
    encoded = msgspec.json.encode(said)
    case_at, at = bench.store(lambda store: record_consultation(store, body, encoded, "nurse-1", id_))
    return case_at.index, at.index


def sound(resource: dict[str, Any]) -> None:
    """Against fhir.resources' R4B (4.3.0), the nearest to R4 (4.0.1) that it has. Of what is served here R4B
    leaves all as it is in R4; it changes evidence, medicine regulation and Subscription, which are not.
    """
    kind = resource["resourceType"]
    get_fhir_model_class(kind).model_validate(resource)
    for entry in resource.get("entry", []):
        if inner := entry.get("resource"):
            sound(inner)


def resources(answer: httpx.Response) -> list[dict[str, Any]]:
    """What was found, without what had to be said about it."""
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    return [entry["resource"] for entry in entries if entry["search"]["mode"] == "match"]


def words(answer: httpx.Response) -> str:
    """Of all OperationOutcomes in an answer."""
    body = answer.json()
    found = [body, *(entry.get("resource", {}) for entry in body.get("entry", []))]
    found += [entry.get("response", {}).get("outcome", {}) for entry in body.get("entry", [])]
    return "; ".join(issue["details"]["text"] for one in found for issue in one.get("issue", []))


def link(answer: httpx.Response, relation: str) -> str:
    links = {one["relation"]: one["url"] for one in answer.json()["link"]}
    return str(links.get(relation, "")).removeprefix(ORIGIN)


def refused(answer: httpx.Response, status: int, said: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert said in words(answer), words(answer)


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "77",
    "identifier": [{"system": NATIONAL, "value": "1198580012345678", "use": "official"}],
    "name": [{"family": "Ingabire", "given": ["Claudine"], "use": "official"}],
    "gender": "female",
    "birthDate": "1985-02-03",
    "address": [{"district": "Huye"}],
}


def observation(loinc: str, **value: object) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "effectiveDateTime": "2026-09-21T10:00:00Z",
        **value,
    }


def quantity(loinc: str, value: float, code: str) -> dict[str, Any]:
    return observation(loinc, valueQuantity={"value": value, "code": code})


def bundle(*parts: dict[str, Any], type_: str = "collection", **patient: Any) -> dict[str, Any]:
    level = observation("80288-4", valueCodeableConcept={"text": "unresponsive"})
    vitals = [quantity("8867-4", 130, "/min"), level, quantity("2708-6", 85, "%")]
    entries = [PATIENT | patient, *vitals, *parts]
    return {"resourceType": "Bundle", "type": type_, "entry": [{"resource": one} for one in entries]}


def identified(her: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Of a patient whom only this test knows."""
    return bundle(*parts, identifier=[{"system": NATIONAL, "value": her}], **more)
