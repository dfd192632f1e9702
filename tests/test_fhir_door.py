"""The FHIR door: what another program gets, and every way in which it gets nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from door_bench import ORIGIN, PASSPHRASE, Knocking, client_of, let_in, opened_post, served
from fhir.resources.R4B import get_fhir_model_class
from joserfc.jwk import OKPKey
from starlette.applications import Starlette
from starlette.routing import Route

from akazuba.fhir.capability import SEARCHES
from akazuba.governance import fhir_import, fhir_records
from akazuba.governance.audit_reads import record_search, who_read
from akazuba.governance.consent import By, Consent, Purpose, Withdrawal, give, shown, withdraw
from akazuba.governance.course import WRONG_PATIENT, correct
from akazuba.governance.decisions import Change, decide, record_consultation
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
from akazuba.storage.store import Entry, Recorded, Store
from akazuba.web.doors import fhir as door
from akazuba.web.post import Post, Records, now_ms

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from seeded_incidents import CLINICIAN, by

KEY = OKPKey.generate_key("Ed25519")
FHIR_JSON = "application/fhir+json"
HERSELF = By("patient")
TEXT = shown("Do you agree that other systems of the district see your record?", "1", "en")
INJECTED = "Robert'); DROP TABLE patient;-- <script>alert(1)</script>"
NATIONAL = "urn:oid:2.16.646"
Got = TypeVar("Got")


# --- a box with records, and a program at its door ----------------------------------------------------


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


# --- what it says that it does ------------------------------------------------------------------------


def test_what_is_stated_is_what_is_served(bench: Bench) -> None:
    answer = client_of(bench.app).get("/fhir/metadata")
    said = answer.json()
    sound(said)
    assert (answer.status_code, said["fhirVersion"], said["kind"]) == (200, "4.0.1", "instance")
    (rest,) = said["rest"]
    stated = {("POST", "/fhir") for one in rest["interaction"] if one["code"] in ("transaction", "batch")}
    stated |= {("POST", f"/fhir/${one['name']}") for one in rest["operation"]}
    for one in rest["resource"]:
        kind = one["type"]
        stated |= {("POST", f"/fhir/{kind}/${operation['name']}") for operation in one.get("operation", ())}
        for interaction in (each["code"] for each in one.get("interaction", ())):
            stated |= {
                "read": {("GET", f"/fhir/{kind}/{{id}}")},
                "search-type": {("GET", f"/fhir/{kind}"), ("POST", f"/fhir/{kind}/_search")},
            }[interaction]
    routes = [route for route in door.routes() if isinstance(route, Route)]
    served_here = {(m, r.path) for r in routes for m in r.methods or () if m != "HEAD"}
    besides = {("GET", "/fhir/metadata"), ("POST", "/fhir/")}
    besides |= {(method, "/fhir/{rest:path}") for method in door.METHODS}
    besides |= {(method, "/fhir") for method in door.METHODS if method != "POST"}
    assert served_here - besides == stated


@pytest.mark.parametrize("kind", SEARCHES)
def test_each_parameter_that_is_stated_is_understood(bench: Bench, her: str, kind: str) -> None:
    values = {
        "_id": her,
        "identifier": her,
        "name": her,
        "patient": her,
        "subject": f"Patient/{her}",
        "_lastUpdated": "gt2020",
    }
    bench.get(f"/fhir/Patient/{her}")
    for name in SEARCHES[kind].keys() - {"_lastUpdated"}:
        path = f"/fhir/{kind}?{name}={values[name]}&_lastUpdated=gt2020"
        assert resources(bench.get(path, Prefer="handling=strict")), path


def test_every_kind_is_found_and_can_be_read_alone(bench: Bench, her: str) -> None:
    bench.get(f"/fhir/Patient/{her}")
    for kind in SEARCHES:
        found = resources(bench.get(f"/fhir/{kind}?{'_id' if kind == 'Patient' else 'patient'}={her}"))
        assert found, kind
        for one in found:
            assert one["resourceType"] == kind
            alone = bench.get(f"/fhir/{kind}/{one['id']}")
            assert alone.status_code == 200
            assert {**alone.json(), "meta": {}} == {**one, "meta": {}}
            version = alone.json()["meta"]["versionId"]
            assert alone.headers["etag"] == f'W/"{version}"'
            entry = bench.store(lambda store, at=int(version): store.entry(at))  # type: ignore[misc]
            assert entry.patient == her


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/fhir/Patient/p1", 405),
        ("DELETE", "/fhir/Patient/p1", 405),
        ("PATCH", "/fhir/Observation", 405),
        ("GET", "/fhir", 405),
        ("GET", "/fhir/$assess", 405),
        ("GET", "/fhir/Subscription", 404),
        ("GET", "/fhir/Patient/p1/_history", 404),
        ("GET", "/fhir/../etc/passwd", 404),
    ],
)
def test_what_is_not_done_is_refused_in_fhirs_words(
    bench: Bench, method: str, path: str, status: int
) -> None:
    answer = client_of(bench.app).request(method, path)
    if path != "/fhir/../etc/passwd":  # which the client makes /etc/passwd
        refused(answer, status, "what /fhir/metadata names")
    assert answer.status_code == status


# --- who gets what ------------------------------------------------------------------------------------


def test_without_a_token_there_is_nothing(bench: Bench) -> None:
    answer = client_of(bench.app).get("/fhir/Patient?name=a")
    refused(answer, 401, "bearer token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_scope_of_one_kind_opens_that_kind(bench: Bench, her: str) -> None:
    assert bench.get(f"/fhir/Patient/{her}", "system/Patient.read").status_code == 200
    refused(bench.get(f"/fhir/Observation?patient={her}", "system/Patient.read"), 403, "Observation.read")
    refused(bench.send("/fhir", bundle(), "system/*.read"), 403, "system/*.write")
    refused(bench.send("/fhir/$assess?record=true", bundle(), "system/assess"), 403, "system/*.write")


def test_every_read_is_in_the_log_and_can_be_asked_for(bench: Bench, her: str) -> None:
    bench.get(f"/fhir/Observation?patient={her}")
    bench.get(f"/fhir/Patient?name={her}")
    (entry,) = bench.entries(patient=her, kind="assessment")
    bench.get(f"/fhir/ClinicalImpression?_after={entry.index - 1}")
    reads = bench.store(lambda store: who_read(store, her))
    assert [(one.by, one.why) for one in reads] == [("program:emr", "FHIR read")] * 3
    events = resources(bench.get(f"/fhir/AuditEvent?patient={her}"))
    assert [one["id"] for one in events] == [f"entry-{one.index}" for one in reads]
    assert {one["agent"][2]["who"]["display"] for one in events} == {"program:emr"}
    assert len(bench.store(lambda store: who_read(store, her))) == 4, "asking who read is a read"


def test_a_search_on_a_tablet_is_told_without_the_others_whom_it_showed(bench: Bench, her: str) -> None:
    bench.store(lambda store: record_search(store, [her, "p-somebody-else"], "nurse-1", "at the desk", 20))
    answer = bench.get(f"/fhir/AuditEvent?patient={her}")
    (event,) = resources(answer)
    assert event["agent"][2]["who"]["display"] == "nurse-1"
    assert event["purposeOfEvent"] == [{"text": "at the desk"}]
    assert event["id"].endswith("-search")
    assert "p-somebody-else" not in answer.text


def test_whoever_did_not_agree_is_not_shown_and_the_refusal_is_logged(bench: Bench, her: str) -> None:
    bench.store(lambda store: withdraw(store, her, "nurse-1", Withdrawal(("sharing",), HERSELF)))
    for path in (f"Patient/{her}", f"Observation?patient={her}", f"AuditEvent?patient={her}"):
        refused(bench.get(f"/fhir/{path}"), 403, "expected one who agreed to sharing")
    assert [e.by for e in bench.entries(patient=her, kind="read-refused")] == ["program:emr"] * 3
    for asked in (f"name={her}", f"_id={her}", f"identifier={her}"):
        assert resources(bench.get(f"/fhir/Patient?{asked}")) == []
    assert bench.store(lambda store: who_read(store, her)) == []


@pytest.mark.parametrize("purposes", [("care",), ("export",), ("training",)])
def test_another_consent_is_not_consent_to_sharing(bench: Bench, purposes: tuple[Purpose, ...]) -> None:
    id_ = f"only-{purposes[0]}"
    admitted(bench, id_, "Mukamana Alice", *purposes)
    refused(bench.get(f"/fhir/Patient/{id_}"), 403, "nobody agreed to sharing")


def test_a_search_by_name_does_not_tell_who_else_is_here(bench: Bench, her: str) -> None:
    admitted(bench, "silent-1", "Nyirahabimana Silent", "care")
    silent, unknown = (bench.get(f"/fhir/Patient?name={name}") for name in ("Nyirahabimana", "Nobodyatall"))
    assert silent.json()["total"] == unknown.json()["total"] == 0
    assert words(silent) == words(unknown) == "only patients who agreed to sharing are found here"


def test_an_erased_patient_is_gone_and_an_unknown_one_was_never_here(bench: Bench, her: str) -> None:
    (case,) = bench.entries(patient=her, kind="case")
    bench.store(lambda store: store.erase(her, "supervisor", "asked for it"))
    for path in (
        f"Patient/{her}",
        f"Encounter/entry-{case.index}",
        f"Observation?patient={her}",
        f"AuditEvent?patient={her}",
    ):
        refused(bench.get(f"/fhir/{path}"), 410, "expected one that was not erased")
    assert resources(bench.get(f"/fhir/Patient?_id={her}")) == []
    for path in ("Patient/nobody", "Observation?patient=nobody", "Observation/entry-999999", "Consent/x"):
        refused(bench.get(f"/fhir/{path}"), 404, "found none")


def test_a_locked_box_says_so(bench: Bench, her: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/fhir/Patient/{her}"
    held = bench.get(path).request.headers
    asyncio.run(bench.post.records(lambda records: records.lock()))
    try:
        answer = client_of(bench.app).get(path, headers=dict(held))
        refused(answer, 503, "found it is locked")
        sound(answer.json())

        async def let_through(*_: object) -> Any:
            return door.Program("emr", frozenset({"system/*.read"}))

        monkeypatch.setattr(door, "program", let_through)
        refused(client_of(bench.app).get(path), 423, "found it is locked")
    finally:
        asyncio.run(bench.post.unlock(PASSPHRASE))
    assert bench.store(lambda store: store.person(her)).id == her


def test_a_damaged_entry_is_named_and_nothing_of_it_is_shown(bench: Bench, her: str) -> None:
    bench.store(lambda store: store.add(Entry("case", "nurse-1", b'{"id": "c", "secret": 1}', her)))
    answer = bench.get(f"/fhir/Observation?patient={her}")
    refused(answer, 500, "found damage: entry ")
    assert "secret" not in answer.text
    (entry,) = bench.entries(patient=her, kind="assessment")
    for path in (f"ClinicalImpression?_after={entry.index - 1}", f"Patient?name={her}"):
        others = bench.get(f"/fhir/{path}")
        assert resources(others) == []
        assert "left out: a patient whose record is damaged (entry " in words(others)


# --- searches -----------------------------------------------------------------------------------------


def test_pages_follow_one_another_and_hold_each_resource_once(bench: Bench, her: str) -> None:
    consulted(bench, her, CASE | {"id": "c2", "date": "2026-10-21"})
    whole = resources(bench.get(f"/fhir/Observation?patient={her}&_count=200"))
    path, found = f"/fhir/Observation?patient={her}&_count=3", list[dict[str, Any]]()
    while path:
        answer = bench.get(path)
        assert link(answer, "self") == path
        assert answer.json()["total"] == len(whole)
        assert len(resources(answer)) <= 3
        found += resources(answer)
        path = link(answer, "next")
    assert found == whole
    assert len({one["id"] for one in found}) == len(found) > 20


@pytest.mark.parametrize("shape", ["{}", "Patient/{}", "https://box.example/fhir/Patient/{}"])
def test_a_patient_is_named_by_id_reference_or_address(bench: Bench, her: str, shape: str) -> None:
    named = shape.format(her)
    both = resources(bench.get(f"/fhir/Condition?patient={named}&subject={named}"))
    assert [one["code"]["text"] for one in both] == ["asthma"]


def test_last_updated_bounds_what_is_found(bench: Bench, her: str) -> None:
    path = f"/fhir/Encounter?patient={her}"
    (only,) = resources(bench.get(path))
    at = only["meta"]["lastUpdated"]
    for bound, expected in (("ge", 1), ("gt", 0), ("le", 1), ("lt", 0), ("", 1)):
        for written in (at, at.replace("+", "%2B")):
            assert len(resources(bench.get(f"{path}&_lastUpdated={bound}{written}"))) == expected, bound
    assert resources(bench.get(f"{path}&_lastUpdated=ge2020&_lastUpdated=lt2021")) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("Observation", "patient: expected a patient, such as Patient/p1, found none"),
        ("ClinicalImpression", "patient, _lastUpdated: expected one of them, found neither"),
        ("Patient", "Patient: expected name, identifier or _id, found none of them"),
        ("Patient?name=%20", "Patient: expected name, identifier or _id"),
        ("Patient?name=" + "a" * 201, "name: expected at most 200 characters, found 201"),
        ("Patient?name=a&name=b", "name: expected it once, found it twice"),
        ("Observation?patient=a&subject=b", "patient, subject: expected one patient, found two"),
        ("Observation?patient=Group/1", "patient: expected a reference such as Patient/p1, found 'Group/1'"),
        ("Observation?patient=a&_count=many", "_count: expected a whole number from 0 on, found 'many'"),
        ("CarePlan?_lastUpdated=ge2020&_count=0", "_count: expected 1 or more where no patient is named"),
        ("CarePlan?_lastUpdated=ge2020&_summary=count", "_summary: expected 1 or more where no patient"),
        ("Observation?patient=a&_after=x", "_after: expected a place that a link gave, found 'x'"),
        ("Observation?patient=a&_lastUpdated=gtsoon", "_lastUpdated: expected ge, gt, le, lt or nothing"),
        ("Observation?patient=a&_lastUpdated=gt2026-02-30", "found '2026-02-30'"),
        ("Observation?patient=a&_lastUpdated=gt9999-12-31", "found '9999-12-31'"),
        ("Observation?patient=%27%20OR%201%3D1--", "patient: expected a reference"),
    ],
)
def test_a_search_that_cannot_be_understood_names_what_is_wrong(bench: Bench, path: str, said: str) -> None:
    refused(bench.get(f"/fhir/{path}"), 400, said)


def test_an_unknown_parameter_is_named_or_under_strict_handling_refused(bench: Bench, her: str) -> None:
    path = f"/fhir/Condition?patient={her}&colour=red&code:text=x"
    answer = bench.get(path)
    assert len(resources(answer)) == 1
    assert "passed over, so that more may be here than was asked for: colour, code:text" in words(answer)
    assert "colour" not in link(answer, "self")
    refused(bench.get(path, Prefer="return=minimal; handling=strict"), 400, "found 'colour'")
    refused(bench.get(f"/fhir/Patient/{her}?x=1", Prefer="handling=strict"), 400, "found 'x'")


@pytest.mark.parametrize("path", ["Observation?patient={}", "Patient?_id={}", "CarePlan?patient={}"])
def test_a_summary_that_counts_is_a_bundle_with_the_total_and_nothing_else(
    bench: Bench, her: str, path: str
) -> None:
    path = f"/fhir/{path.format(her)}"
    whole = bench.get(f"{path}&_count=200").json()
    counted = bench.get(f"{path}&_summary=count&_count=7").json()
    assert counted["total"] == whole["total"] == len(resources(bench.get(f"{path}&_count=200"))) > 0
    assert counted.keys() == {"resourceType", "type", "total", "link"}
    assert [one["relation"] for one in counted["link"]] == ["self"]
    assert "_summary=count" in counted["link"][0]["url"]
    assert bench.get(f"{path}&_summary=false&_count=200").json()["entry"] == whole["entry"]


def test_a_summary_that_would_shorten_resources_is_passed_over_and_named(bench: Bench, her: str) -> None:
    path = f"/fhir/Patient?_id={her}&_summary=true"
    answer = bench.get(path)
    assert [one["id"] for one in resources(answer)] == [her]
    assert "passed over, so that more may be here than was asked for: _summary=true" in words(answer)
    refused(bench.get(path, Prefer="handling=strict"), 400, "found '_summary=true'")


def test_a_name_of_any_kind_is_searched_as_it_stands(bench: Bench) -> None:
    admitted(bench, "odd-name", f"Bobby {INJECTED}")
    admitted(bench, "percent", "100% Sure_Thing")
    for name, ids in (
        (INJECTED, ["odd-name"]),
        ("<script>", ["odd-name"]),
        ("bobby robert", ["odd-name"]),
        ("100%", ["percent"]),
        ("sure_thing", ["percent"]),
        ("sureXthing", []),
        ("%", ["percent"]),
        ("' OR '1'='1", []),
        ("\0", []),
    ):
        answer = bench.send(
            "/fhir/Patient/_search",
            urlencode({"name": name}).encode(),
            "system/*.read",
            "application/x-www-form-urlencoded",
        )
        assert [one["id"] for one in resources(answer)] == ids, name
    assert bench.store(lambda store: store.person("odd-name")).name.startswith("Bobby")


def test_a_form_of_another_kind_is_refused(bench: Bench) -> None:
    refused(bench.send("/fhir/Patient/_search", b"name=a", "system/*.read"), 415, "Content-Type")
    form = "application/x-www-form-urlencoded"
    refused(bench.send("/fhir/Patient/_search", b"name=%ff", "system/*.read", form), 400, "a form in UTF-8")
    refused(bench.send("/fhir/Patient/_search", b"a" * 70_000, "system/*.read", form), 413, "body")


def test_only_json_is_spoken(bench: Bench, her: str) -> None:
    refused(bench.get(f"/fhir/Patient/{her}", accept="application/fhir+xml"), 406, "Accept")
    refused(bench.get(f"/fhir/Patient/{her}?_format=xml"), 406, "_format")
    for accept in ("application/fhir+json", "text/html, */*;q=0.1", "application/json; charset=utf-8"):
        assert bench.get(f"/fhir/Patient/{her}", accept=accept).status_code == 200


def test_an_id_that_fhir_does_not_allow_is_found_under_its_hash(bench: Bench) -> None:
    admitted(bench, "é/1", "Uwera Odette")
    (found,) = resources(bench.get("/fhir/Patient?name=odette"))
    assert found["id"].startswith("sha256-")
    assert bench.get(f"/fhir/Patient/{found['id']}").json()["name"] == [{"text": "Uwera Odette"}]
    assert resources(bench.get(f"/fhir/Consent?patient={found['id']}"))


# --- polling ------------------------------------------------------------------------------------------


def polled(bench: Bench, path: str) -> list[dict[str, Any]]:
    found = []
    while path:
        answer = bench.get(path)
        found += resources(answer)
        path = link(answer, "next")
    return found


def test_a_poll_gives_what_is_new_of_all_who_agreed_and_counts_the_others(bench: Bench, her: str) -> None:
    _, seen = consulted(bench, her, CASE | {"id": "before"})
    admitted(bench, f"{her}-b", "Mugabo Eric")
    admitted(bench, f"{her}-c", "Kamanzi Jean", "care")
    expected = [consulted(bench, f"{her}-b", CASE | {"id": "b"})[1]]
    consulted(bench, f"{her}-c", CASE | {"id": "c"})
    expected.append(consulted(bench, her, CASE | {"id": "after"})[1])
    answer = bench.get(f"/fhir/ClinicalImpression?_after={seen}")
    assert [one["id"] for one in resources(answer)] == [f"entry-{index}" for index in expected]
    assert "left out: 1 patients who did not agree to sharing" in words(answer)
    assert "total" not in answer.json()
    assert bench.store(lambda store: who_read(store, f"{her}-c")) == []
    assert len(bench.store(lambda store: who_read(store, f"{her}-b"))) == 1


@pytest.mark.parametrize("kind", fhir_records.POLLED)
def test_a_poll_in_small_pages_gives_the_same(
    bench: Bench, her: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        consulted(bench, her, CASE | {"id": f"poll-{number}"})
    whole = polled(bench, f"/fhir/{kind}?_lastUpdated=ge2020-01-01&_count=200")
    monkeypatch.setattr(fhir_records, "LOOKED", 2)
    small = polled(bench, f"/fhir/{kind}?_lastUpdated=ge2020-01-01&_count=2")
    assert [one["id"] for one in small] == [one["id"] for one in whole]
    assert len(whole) >= 6


def test_a_decision_comes_with_the_next_poll(bench: Bench, her: str) -> None:
    (entry,) = bench.entries(patient=her, kind="assessment")
    index = entry.index
    (before,) = resources(bench.get(f"/fhir/ClinicalImpression?_after={index - 1}&_count=1"))
    assert (before["status"], before["statusReason"]["text"]) == (
        "in-progress",
        "not reviewed by a clinician",
    )
    decided(bench, her, index, "accept")
    (after,) = [
        one for one in polled(bench, f"/fhir/ClinicalImpression?_after={index}") if one["id"] == before["id"]
    ]
    assert after["status"] == "completed"
    assert after["statusReason"]["text"].startswith(f"accepted by {CLINICIAN[0]} (clinician), entry ")
    assert int(after["meta"]["versionId"]) > int(before["meta"]["versionId"])


# --- what was decided and corrected -------------------------------------------------------------------


def decided(bench: Bench, patient: str, index: int, choice: str) -> None:
    changes = (Change("triage.level", "yellow", "red"),) if choice == "change" else ()

    def work(records: Records) -> None:
        decide(
            records.opened(),
            records.identity(),
            by(*CLINICIAN),
            index,
            patient,
            choice,  # type: ignore[arg-type]
            "" if choice == "accept" else "she looks worse",
            changes,
            now_ms=now_ms(),
        )

    asyncio.run(bench.post.records(work))


@pytest.mark.parametrize(
    ("choice", "risk", "plan", "said"),
    [
        ("accept", "final", ("active", "plan"), "accepted by"),
        ("change", "preliminary", ("draft", "proposal"), "triage.level: advised yellow, instead red"),
        ("refuse", "cancelled", ("revoked", "proposal"), "because: she looks worse"),
    ],
)
def test_advice_is_a_draft_until_a_clinician_decides(
    bench: Bench, her: str, choice: str, risk: str, plan: tuple[str, str], said: str
) -> None:
    (entry,) = bench.entries(patient=her, kind="assessment")
    id_ = f"entry-{entry.index}"
    assert bench.get(f"/fhir/RiskAssessment/{id_}").json()["status"] == "preliminary"
    draft = bench.get(f"/fhir/CarePlan/{id_}").json()
    assert (draft["status"], draft["intent"]) == ("draft", "proposal")
    assert "IMCI, 2014, clause p3" in draft["activity"][0]["detail"]["description"]
    assert [one["detail"]["doNotPerform"] for one in draft["activity"]] == [False, True]
    decided(bench, her, entry.index, choice)
    assert bench.get(f"/fhir/RiskAssessment/{id_}").json()["status"] == risk
    after = bench.get(f"/fhir/CarePlan/{id_}").json()
    assert (after["status"], after["intent"]) == plan
    assert said in after["note"][0]["text"]


def test_a_corrected_value_says_so_and_one_taken_back_was_an_error(bench: Bench, her: str) -> None:
    (case,) = bench.entries(patient=her, kind="case")
    path = f"/fhir/Observation/entry-{case.index}"
    bench.store(lambda s: correct(s, "nurse-1", case.index, "vitals.heart_rate_bpm", 140, "typed wrong"))
    bench.store(lambda s: correct(s, "nurse-1", case.index, "vitals.temperature_c", None, "not measured"))
    bench.store(lambda s: correct(s, "nurse-1", case.index, "allergies", [], "asked again"))
    heart = bench.get(f"{path}-heart-rate-bpm").json()
    assert (heart["status"], heart["valueQuantity"]["value"]) == ("corrected", 140)
    assert bench.get(f"{path}-temperature-c").json()["status"] == "entered-in-error"
    assert bench.get(f"{path}-spo2-percent").json()["status"] == "final"
    (allergy,) = resources(bench.get(f"/fhir/AllergyIntolerance?patient={her}"))
    assert allergy["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    (impression,) = resources(bench.get(f"/fhir/ClinicalImpression?patient={her}"))
    assert "its case was corrected afterwards" in impression["statusReason"]["text"]


def test_a_case_of_another_patient_is_withheld_and_said_to_be_an_error(bench: Bench, her: str) -> None:
    (case,) = bench.entries(patient=her, kind="case")
    bench.store(lambda s: correct(s, "nurse-1", case.index, WRONG_PATIENT, "p-other", "wrong record open"))
    states = set()
    for kind in SEARCHES.keys() - {"Patient", "Consent", "AuditEvent", "Provenance"}:
        answer = bench.get(f"/fhir/{kind}?patient={her}")
        for secret in ("asthma", "penicillin", "paracetamol", "Cough", "104", "tuberculosis", "p-other"):
            assert secret not in answer.text, (kind, secret)
        for one in resources(answer):
            verified = one.get("verificationStatus", {"coding": [{}]})["coding"][0].get("code")
            states.add(one.get("status") or verified)
    assert states == {"entered-in-error"}


def test_an_assessment_that_failed_is_not_shown_as_one(bench: Bench, her: str) -> None:
    said = msgspec.json.encode(Assessment("c1", error="case: expected a case, found none"))
    body = json.dumps(CASE).encode()
    bench.store(lambda store: record_consultation(store, body, said, "nurse-1", her))
    found = resources(bench.get(f"/fhir/ClinicalImpression?patient={her}"))
    assert found[-1]["finding"] == [{"itemCodeableConcept": {"text": "urgency: unassessed"}}]
    assert found[-1]["note"] == [{"text": "not assessed: case: expected a case, found none"}]
    assert len(resources(bench.get(f"/fhir/CarePlan?patient={her}"))) == 1


# --- what comes in ------------------------------------------------------------------------------------

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


def test_a_bundle_is_assessed_and_nothing_is_kept(bench: Bench) -> None:
    size = bench.store(lambda store: store.size)
    immunization = {
        "resourceType": "Immunization",
        "status": "completed",
        "patient": {"reference": "Patient/77"},
    }
    for path in ("/fhir/$assess", "/fhir/Bundle/$assess"):
        answer = bench.send(path, bundle(immunization), "system/assess")
        assert answer.status_code == 200
        by_kind = {entry["resource"]["resourceType"]: entry["resource"] for entry in answer.json()["entry"]}
        assert by_kind.keys() >= {"ClinicalImpression", "RiskAssessment", "CarePlan", "OperationOutcome"}
        impression = by_kind["ClinicalImpression"]
        assert impression["finding"][0]["itemCodeableConcept"]["text"] == "urgency: red"
        assert "unresponsive" in impression["finding"][0]["basis"]
        assert impression["subject"] == {"reference": "Patient/77"}
        assert impression["statusReason"]["text"] == "not reviewed by a clinician"
        assert "clause" in by_kind["CarePlan"]["activity"][0]["detail"]["description"]
        assert "not read: Immunization (1)" in words(answer)
        assert "decision support, not reviewed by a clinician" in words(answer)
    assert bench.store(lambda store: store.size) == size


def test_a_bundle_may_come_in_parameters(bench: Bench) -> None:
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "bundle", "resource": bundle()}]}
    answer = bench.send("/fhir/$assess", wrapped, "system/assess", "application/json; charset=utf-8")
    assert answer.json()["entry"][0]["resource"]["finding"]
    wrapped["parameter"] *= 2
    refused(
        bench.send("/fhir/$assess", wrapped, "system/assess"),
        400,
        "Parameters: expected one Bundle, found 2 resources",
    )
    refused(bench.send("/fhir", wrapped), 400, "resourceType: expected Bundle, found 'Parameters'")


def test_what_nobody_assessed_is_never_shown_as_safe(bench: Bench) -> None:
    only = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}]}
    answer = bench.send("/fhir/$assess", only, "system/assess")
    impression = answer.json()["entry"][0]["resource"]
    assert impression["finding"] == [{"itemCodeableConcept": {"text": "urgency: unassessed"}}]
    assert "could not be assessed; that does not mean that it is low" in impression["note"][0]["text"]
    assert "the urgency could not be assessed" in words(answer)
    assert "could raise the urgency: heart rate" in words(answer).replace("_", " ")
    severities = {one["severity"] for one in answer.json()["entry"][-1]["resource"]["issue"]}
    assert "warning" in severities


def imported(answer: httpx.Response) -> tuple[str, str]:
    """Patient and Encounter as the answer locates them."""
    found = [entry["response"] for entry in answer.json()["entry"]]
    patient = next(one["location"] for one in found if "location" in one)
    return patient.removeprefix("Patient/"), found[0]["status"]


@pytest.mark.parametrize(
    ("type_", "answered"),
    [
        ("transaction", "transaction-response"),
        ("batch", "batch-response"),
        ("collection", "transaction-response"),
    ],
)
def test_a_bundle_is_taken_in_as_one_consultation_and_only_once(
    bench: Bench, her: str, type_: str, answered: str
) -> None:
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "period": {"start": "2026-09-21T09:00:00Z"},
    }
    came = identified(f"{her}-x", encounter, {"resourceType": "Immunization"}, type_=type_)
    if type_ != "collection":
        for entry in came["entry"]:
            entry["request"] = {"method": "POST", "url": entry["resource"]["resourceType"]}
    body = json.dumps(came, indent=1).encode()
    first = bench.send("/fhir", body)
    assert (first.status_code, first.json()["type"]) == (200, answered)
    assert len(first.json()["entry"]) == len(came["entry"])
    patient, status = imported(first)
    assert status == "201 Created"
    assert "urgency: red, in ClinicalImpression/entry-" in words(first)
    assert "Immunization: kept whole with the Bundle; not read" in words(first)
    kept = bench.entries(patient=patient)
    kinds = ["patient", "identifier", "source", "case", "assessment", "basis"]
    assert [entry.kind for entry in kept] == kinds
    assert kept[2].body == body
    assert {entry.by for entry in kept} == {"program:emr", "box"}
    second = bench.send("/fhir/", body)
    assert imported(second) == (patient, "200 OK")
    assert "these bytes were here before: ClinicalImpression/entry-" in words(second)
    assert bench.entries(patient=patient) == kept


def test_what_was_taken_in_can_be_read_once_she_agrees(bench: Bench, her: str) -> None:
    patient, _ = imported(bench.send("/fhir", identified(f"{her}-x")))
    refused(bench.get(f"/fhir/Patient/{patient}"), 403, "nobody agreed to sharing")
    bench.store(lambda store: give(store, patient, "nurse-1", Consent(("sharing",), HERSELF, TEXT), now_ms()))
    said = bench.get(f"/fhir/Patient/{patient}").json()
    assert said["name"] == [{"text": "Ingabire Claudine"}]
    assert {"system": NATIONAL, "value": f"{her}-x"} in said["identifier"]
    (found,) = resources(bench.get(f"/fhir/Patient?identifier={NATIONAL}|{her}-x"))
    assert found["id"] == patient
    assert resources(bench.get(f"/fhir/Patient?identifier=urn:other|{her}-x")) == []


def test_a_recorded_assessment_is_an_import_with_its_advice(bench: Bench, her: str) -> None:
    answer = bench.send("/fhir/$assess?record=true", identified(f"{her}-x"))
    impression = answer.json()["entry"][0]["resource"]
    assert impression["statusReason"]["text"].startswith("not reviewed by a clinician yet; kept as")
    index = int(impression["id"].removeprefix("entry-"))
    assert bench.store(lambda store: store.entry(index)).kind == "assessment"
    refused(bench.send("/fhir/$assess?record=maybe", identified(her)), 400, "record: expected true or false")


def test_an_emergency_that_is_sent_today_waits_in_the_queue_and_an_old_case_does_not(
    bench: Bench, her: str
) -> None:
    today = f"{date.today().isoformat()}T10:00:00Z"  # noqa: DTZ011 - the day at the post
    level = observation("80288-4", valueCodeableConcept={"text": "unresponsive"}, effectiveDateTime=today)

    def waiting() -> dict[str, str]:
        return asyncio.run(
            bench.post.records(lambda kept: {one.case_id: one.level for one in kept.queue.waiting()})
        )

    before = waiting()
    bench.send("/fhir", identified(f"{her}-old"))
    assert waiting() == before
    sent = [identified(f"{her}-now", level) for _ in range(2)]
    for each in sent:
        bench.send("/fhir", each)
    (new,) = waiting().keys() - before.keys()
    assert waiting()[new] == "red"


def test_one_identifier_is_one_patient_whatever_her_other_numbers(bench: Bench, her: str) -> None:
    both = [{"system": NATIONAL, "value": her}, {"system": "urn:emr", "value": f"{her}-2"}]
    first, _ = imported(bench.send("/fhir", bundle(identifier=both)))
    for one in both:
        again, _ = imported(bench.send("/fhir", bundle(identifier=[one], id="other-id-there", name=[])))
        assert again == first
    other, _ = imported(bench.send("/fhir", bundle(identifier=[{"system": "urn:emr", "value": her}])))
    assert other != first
    mixed = [both[0], {"system": "urn:emr", "value": her}]
    refused(bench.send("/fhir", bundle(identifier=mixed)), 409, "expected identifiers of one patient")


def test_another_boxs_number_is_not_this_boxs_patient(bench: Bench, her: str) -> None:
    ours = [{"system": "https://akazuba.example/fhir/patient", "value": her}]
    there, _ = imported(bench.send("/fhir", bundle(identifier=ours)))
    assert there != her
    for numbered in ({"id": her, "identifier": []}, {"identifier": [{"value": her}]}):
        assert imported(bench.send("/fhir", bundle(**numbered)))[0] not in (her, there)


def test_a_patient_of_this_box_is_meant_by_her_address_here_and_her_name(bench: Bench, her: str) -> None:
    came = bundle(name=[{"text": f"{her} UWIMANA"}])
    came["entry"][0]["fullUrl"] = f"{ORIGIN}/fhir/Patient/{her}"
    came["entry"][1]["resource"]["subject"] = {"reference": f"{ORIGIN}/fhir/Patient/{her}"}
    assert imported(bench.send("/fhir", came))[0] == her
    for field, value, said in (
        ("name", [{"text": "Somebody Else"}], "Patient.name"),
        ("gender", "male", "Patient.gender"),
        ("birthDate", "1986", "Patient.birthDate"),
    ):
        other = json.loads(json.dumps(came))
        other["entry"][0]["resource"][field] = value
        before = bench.store(lambda store: store.size)
        refused(bench.send("/fhir", other), 409, f"{said}: expected")
        assert bench.store(lambda store: store.size) == before
        assert "1985" not in bench.send("/fhir", other).text
    came["entry"][0]["fullUrl"] = f"{ORIGIN}/fhir/Patient/nobody-here"
    came["entry"][1]["resource"]["subject"] = {"reference": "Patient/77"}
    refused(bench.send("/fhir", came), 404, "a patient of this box")


def test_whoever_refuses_care_or_was_erased_is_not_taken_in(bench: Bench, her: str) -> None:
    came = identified(f"{her}-x")
    patient, _ = imported(bench.send("/fhir", came))
    bench.store(lambda store: withdraw(store, patient, "nurse-1", Withdrawal(("care",), HERSELF)))
    refused(bench.send("/fhir", came), 403, "expected one who agrees to care")
    bench.store(lambda store: store.erase(patient, "supervisor", "asked for it"))
    size = bench.store(lambda store: store.size)
    refused(bench.send("/fhir", came), 410, "expected one that was not erased here")
    assert bench.store(lambda store: store.size) == size


def test_an_import_that_was_cut_off_is_finished_when_it_comes_again(
    bench: Bench, her: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> Any:
        raise OSError("power")

    came = identified(f"{her}-x")
    with monkeypatch.context() as patch:
        patch.setattr(fhir_import, "record_consultation", cut)
        answer = client_of(bench.app).post(
            "/fhir",
            content=json.dumps(came),
            headers={
                **Knocking(bench.app, "emr", KEY).bearer("system/*.write"),
                "content-type": FHIR_JSON,
            },
        )
        assert answer.status_code == 500
    patient, status = imported(bench.send("/fhir", came))
    assert status == "201 Created"
    assert [e.kind for e in bench.entries(patient=patient)].count("case") == 1


OTHER = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "x"},
    "subject": {"reference": "Patient/78"},
}
LINKED = {
    "resourceType": "Media",
    "status": "completed",
    "bodySite": {"text": "skin"},
    "content": {"contentType": "image/png", "url": "etc/passwd.png"},
}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "body: expected FHIR as JSON, found nothing"),
        (b"{", 400, "body: expected FHIR as JSON, found Expecting property name"),
        (b"<Bundle/>", 400, "body: expected FHIR as JSON, found Expecting value"),
        (b"\xff\xfe", 400, "body: expected text in UTF-8, found byte 0xff at 0"),
        (b"[]", 400, "body: expected a FHIR resource (a JSON object), found list"),
        (b'{"a": 1, "a": 2}', 400, "'a': expected each field once, found it twice"),
        (b'{"a": NaN}', 400, "body: expected numbers that end, found NaN"),
        (b'{"resourceType": "\\ud83d"}', 400, "body: expected text in Unicode, found half of a surrogate"),
        (b"[" * 100_000, 400, "body: expected FHIR's nesting"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "body: expected numbers that can be read"),
        (PATIENT, 400, "resourceType: expected Bundle"),
        ({"resourceType": "Bundle", "type": "collection"}, 400, "Bundle: expected one Patient, found none"),
        (
            {"resourceType": "Bundle", "type": "collection", "entry": 3},
            400,
            "Bundle.entry: expected a list of objects",
        ),
        (bundle({**PATIENT, "id": "78"}), 400, "Bundle: expected one Patient, found 2"),
        (bundle(OTHER), 400, "Observation/4: expected a resource of Patient/77, found one of 'Patient/78'"),
        (bundle(LINKED), 400, "no file of this box is opened for a program"),
        (bundle(quantity("8310-5", 37, "degrees")), 400, "found 'degrees'"),
        (bundle(quantity("8310-5", 98, "Cel")), 422, "vitals.temperature_c: expected 25 to 45 °C, found 98"),
        (bundle(birthDate="2999-01-01"), 400, "Patient.birthDate"),
        (bundle(id="", identifier=[]), 422, "an identifier with its system, or an id"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_kept(
    bench: Bench, body: Any, status: int, said: str
) -> None:
    size = bench.store(lambda store: store.size)
    refused(bench.send("/fhir", body), status, said)
    if "identifier" not in said and "resourceType" not in said:
        refused(bench.send("/fhir/$assess", body, "system/assess"), status, said)
    assert bench.store(lambda store: store.size) == size


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "document"}, "Bundle.type: expected transaction, batch, collection, found 'document'"),
        ({"type": None}, "Bundle.type: expected transaction, batch, collection, found None"),
    ],
)
def test_a_bundle_of_another_type_is_no_import(bench: Bench, change: dict[str, Any], said: str) -> None:
    refused(bench.send("/fhir", bundle() | change), 400, said)


@pytest.mark.parametrize("method", ["DELETE", "GET", "PATCH"])
def test_a_transaction_deletes_nothing(bench: Bench, method: str) -> None:
    came = bundle(type_="transaction")
    came["entry"][1]["request"] = {"method": method, "url": "Observation/1"}
    refused(bench.send("/fhir", came), 400, "Bundle.entry[1].request.method: expected POST or PUT")


def test_too_much_and_the_wrong_kind_are_refused(bench: Bench) -> None:
    long = b'{"resourceType": "Bundle", "x": "' + b"a" * (16 * 1024**2) + b'"}'
    for path, scope in (("/fhir", "system/*.write"), ("/fhir/$assess", "system/assess")):
        refused(bench.send(path, long, scope), 413, "body: expected at most 16777216 bytes, found more")
        for kind in ("text/plain", "application/fhir+xml", "multipart/form-data", ""):
            refused(bench.send(path, bundle(), scope, kind), 415, "application/fhir+json")


def test_injected_words_stay_words(bench: Bench, her: str) -> None:
    patient, _ = imported(
        bench.send("/fhir", identified(f"{her}'; DROP TABLE entry;--", name=[{"text": INJECTED}]))
    )
    assert bench.store(lambda store: store.person(patient)).name == INJECTED
    assert bench.store(lambda store: store.damaged()) == []
    (note,) = [
        one for one in resources(bench.get(f"/fhir/Observation?patient={her}")) if one["id"].endswith("-note")
    ]
    assert note["valueString"] == CASE["note"]
