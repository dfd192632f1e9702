"""The FHIR door: what it says that it does, and who gets nothing."""

# ruff: noqa: F401, F811 - the fixtures of fhir_bench are imported by name

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door_bench import PASSPHRASE, client_of
from fhir_bench import HERSELF, Bench, admitted, bench, bundle, her, post, refused, resources, sound, words
from starlette.routing import Route

from akazuba.fhir.capability import SEARCHES
from akazuba.governance.audit_reads import record_search, who_read
from akazuba.governance.consent import Purpose, Withdrawal, withdraw
from akazuba.storage.store import Entry
from akazuba.web.doors import fhir as door

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
