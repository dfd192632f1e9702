"""Consent at the moment of use, and one patient's record handed out: what goes, and every way it does not."""

import base64
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from akazuba.errors import ArtefactError, InputError
from akazuba.fhir import case_from_bundle
from akazuba.governance.audit_reads import who_read
from akazuba.governance.consent import (
    PURPOSES,
    By,
    Consent,
    Purpose,
    Shown,
    Withdrawal,
    give,
    known_purpose,
    may,
    shown,
    withdraw,
)
from akazuba.governance.decisions import record_consultation
from akazuba.governance.export import Handed, export_patient
from akazuba.records import Assessment, Candidate, Case, Evidence, Provenance, Triage, TriageReason
from akazuba.storage.person import Person
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import StoreKey

DAY_MS = 86_400_000
NOW = 1_790_000_000_000
TEXT = shown("Do you agree that your record goes to the hospital?", "2", "rw")
HERSELF, MOTHER = By("patient"), By("guardian", "mother")
CHANTAL = Person("p1", "Uwimana Chantal", "1985-02-03", "female", "Huye")
LOG = "akazuba-box-7"


class Clock:
    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(tmp_path / "box", StoreKey(bytes(32)), clock)) as made:
        made.admit(CHANTAL, "nurse-1")
        yield made


def agree(store: Store, *purposes: Purpose, until: int | None = None, by: By = HERSELF) -> int:
    return give(store, "p1", "nurse-1", Consent(purposes, by, TEXT, until), NOW).index


def take_back(store: Store, *purposes: Purpose) -> int:
    return withdraw(store, "p1", "nurse-1", Withdrawal(purposes, HERSELF)).index


# --- consent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", [purpose for purpose in PURPOSES if purpose != "care"])
def test_what_nobody_agreed_to_is_not_allowed(store: Store, purpose: Purpose) -> None:
    allowed = may(store, "p1", purpose, NOW)
    assert (allowed.yes, allowed.why, allowed.index) == (False, f"nobody agreed to {purpose}", None)


def test_care_needs_no_form_but_a_refusal_counts(store: Store) -> None:
    assert may(store, "p1", "care", NOW).yes
    index = take_back(store, "care")
    allowed = may(store, "p1", "care", NOW)
    assert (allowed.yes, allowed.index) == (False, index)
    agree(store, "care", until=NOW + 1)
    assert may(store, "p1", "care", NOW + 5).yes, "a consent to care that ended is no refusal"


def test_a_consent_counts_for_what_it_names_and_says_whose_it_is(store: Store) -> None:
    index = agree(store, "export", "sharing", by=MOTHER)
    allowed = may(store, "p1", "export", NOW)
    assert (allowed.yes, allowed.why, allowed.index) == (
        True,
        f"agreed to by guardian (mother) (entry {index})",
        index,
    )
    assert not may(store, "p1", "training", NOW).yes


def test_a_consent_ends_when_it_says(store: Store) -> None:
    index = agree(store, "training", until=NOW + DAY_MS)
    assert may(store, "p1", "training", NOW + DAY_MS - 1).yes
    ended = may(store, "p1", "training", NOW + DAY_MS)
    assert (ended.yes, ended.why) == (False, f"expired (entry {index})")


def test_a_clock_put_back_brings_no_expired_consent_back(store: Store) -> None:
    agree(store, "training", until=NOW + DAY_MS)
    before = may(store, "p1", "training", NOW - 400 * DAY_MS)
    assert not before.yes
    assert "the clock stands before the day it was given" in before.why
    agree(store, "export")
    assert may(store, "p1", "export", NOW - 400 * DAY_MS).yes, "one without an end needs no clock"


def test_a_withdrawal_counts_from_then_on_whatever_the_clocks_say(store: Store, clock: Clock) -> None:
    agree(store, "export", "training")
    clock.ms = NOW - 400 * DAY_MS
    index = take_back(store, "export")
    allowed = may(store, "p1", "export", NOW)
    assert (allowed.yes, allowed.why) == (False, f"withdrawn by the patient (entry {index})")
    assert may(store, "p1", "training", NOW).yes
    agree(store, "export")
    assert may(store, "p1", "export", NOW).yes


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PURPOSES), st.booleans()), max_size=8))
def test_the_newest_word_about_a_purpose_wins(history: list[tuple[Purpose, bool]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Store(Path(folder), StoreKey(bytes(32)), lambda: NOW)) as made,
    ):
        made.admit(CHANTAL, "nurse-1")
        for purpose, given_ in history:
            agree(made, purpose) if given_ else take_back(made, purpose)
        for purpose in PURPOSES:
            newest = [given_ for named, given_ in history if named == purpose][-1:]
            assert may(made, "p1", purpose, NOW).yes == (
                newest == [True] or (purpose == "care" and not newest)
            )


def test_what_makes_no_sense_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="a relation for a guardian"):
        agree(store, "export", by=By("guardian"))
    with pytest.raises(InputError, match="a relation for a guardian"):
        agree(store, "export", by=By("patient", "mother"))
    with pytest.raises(InputError, match="until: expected an end in the future"):
        agree(store, "export", until=NOW)
    with pytest.raises(InputError, match="purposes: expected care"):
        agree(store)
    for text, version, language in (("  ", "1", "rw"), ("t", "", "rw"), ("t", "1", "Kinyarwanda")):
        with pytest.raises(InputError, match="consent, "):
            shown(text, version, language)
    with pytest.raises(InputError, match="purpose: expected care, sharing, training, export, found 'all'"):
        known_purpose("all")
    assert not list(store.entries(kind="consent"))


def test_the_very_text_is_what_was_agreed_to() -> None:
    assert shown("é", "1", "fr") == Shown("fr", "1", sha256("é".encode()).hexdigest())


def test_an_unknown_or_erased_patient_agrees_to_nothing(store: Store) -> None:
    agree(store, "export")
    store.erase("p1", "supervisor", "asked for it")
    for patient in ("p1", "p2"):
        with pytest.raises(InputError, match="unknown or erased"):
            may(store, patient, "export", NOW)
        with pytest.raises(InputError, match="unknown or erased"):
            give(store, patient, "nurse-1", Consent(("export",), HERSELF, TEXT), NOW)


def test_a_stored_consent_that_is_none_is_named(store: Store) -> None:
    store.add(Entry("consent", "nurse-1", b'{"purposes": ["everything"]}', "p1"))
    with pytest.raises(ArtefactError, match="entry 1: expected a consent"):
        may(store, "p1", "export", NOW)


# --- export -------------------------------------------------------------------------------------------


def hand_out(store: Store) -> Handed:
    return export_patient(store, "p1", "jean", "Huye hospital", "referral", LOG, lambda: NOW)


def resources(handed: Handed, kind: str) -> list[dict[str, Any]]:
    entries = json.loads(handed.record)["entry"]
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


FULL = {
    "id": "c1",
    "patient": {"age_years": 41, "sex": "female", "pregnant": False, "weight_kg": 61.5, "height_cm": 160},
    "note": "Inkorora ibyumweru bitatu.",
    "language": "rw",
    "vitals": {
        "temperature_c": 38.4,
        "heart_rate_bpm": 104,
        "respiratory_rate_bpm": 24,
        "systolic_mmhg": 118,
        "diastolic_mmhg": 76,
        "spo2_percent": 93,
        "consciousness": "alert",
        "glucose_mmol_l": 5.6,
        "on_oxygen": False,
        "capillary_refill_s": 2,
    },
    "findings": [{"id": "HP:0012735", "present": True}, {"id": "HP:0002105", "present": False}],
    "labs": [{"loinc": "718-7", "value": 11.2, "unit": "g/dL"}],
    "medications": [{"name": "paracetamol", "dose_mg": 500}, {"name": "ibuprofen"}],
    "allergies": ["penicillin"],
    "conditions": ["asthma"],
    "gestational_age_weeks": 20,
    "date": "2026-09-21",
}


def record(store: Store, case: dict[str, Any], **more: Any) -> None:
    body = json.dumps(case).encode()
    assessment = Assessment(
        case["id"],
        triage=Triage("yellow", (TriageReason("spo2", "yellow", "WHO IITT 2023", "SpO2 93 %"),)),
        differential=(
            Candidate("tuberculosis", 0.31, ids={"icd10": "A15"}, evidence=(Evidence("cough", 3.0, "HPO"),)),
            Candidate("common cold", 0.2),
        ),
        provenance=Provenance(
            sha256(body).hexdigest(), {"image": "0a1b"}, "knowledge 3", ("IITT",), None, "1.0"
        ),
    )
    record_consultation(store, body, msgspec.json.encode(assessment), "nurse-1", "p1", **more)


def test_a_case_comes_back_from_the_bundle_as_it_was_stored(store: Store) -> None:
    agree(store, "export")
    record(store, FULL)
    reading = case_from_bundle(json.loads(hand_out(store).record))
    back = msgspec.convert(reading.case, Case)
    assert back == msgspec.convert(FULL, Case)
    assert reading.ignored["DocumentReference (application/json)"] == 5
    assert not [name for name in reading.ignored if name.startswith(("Observation", "Condition", "Medic"))]


def test_what_fhir_has_no_field_for_lies_in_the_document_whole(store: Store) -> None:
    agree(store, "export")
    case = FULL | {
        "answers": {"parity": 2},
        "setting": {"country": "RW"},
        "tests": [{"id": "mrdt", "result": "-"}],
    }
    record(store, case)
    documents = [d for d in resources(hand_out(store), "DocumentReference") if d["type"]["text"] == "case"]
    (content,) = documents[0]["content"]
    assert json.loads(base64.b64decode(content["attachment"]["data"])) == case


def test_oxygen_of_unknown_flow_is_not_read_back_as_none(store: Store) -> None:
    agree(store, "export")
    record(store, FULL | {"vitals": {"on_oxygen": True}})
    reading = case_from_bundle(json.loads(hand_out(store).record))
    assert "vitals" not in reading.case
    assert reading.ignored["Observation (not read)"] == 1


@pytest.mark.parametrize(
    "age",
    [{"age_days": 3}, {"age_days": 59}, {"age_months": 2}, {"age_months": 7}, {"age_months": 59}]
    + [{"age_years": years} for years in (1, 4, 5, 6, 41, 103)],
)
def test_an_age_without_a_birth_date_comes_back_and_is_said_to_be_estimated(
    store: Store, age: dict[str, float]
) -> None:
    store.admit(Person("p1", "Uwimana Chantal"), "nurse-1")
    agree(store, "export")
    record(store, FULL | {"patient": age})
    handed = hand_out(store)
    reading = case_from_bundle(json.loads(handed.record))
    back = msgspec.convert(reading.case, Case).patient.age_in_years
    told = msgspec.convert(FULL | {"patient": age}, Case).patient.age_in_years
    assert back == pytest.approx(told, abs=3 / 365)
    (patient,) = resources(handed, "Patient")
    assert patient["_birthDate"]["extension"][0]["valueBoolean"] is True


def test_of_two_consultations_the_newer_is_todays_and_the_older_is_history(store: Store) -> None:
    agree(store, "export")
    record(store, FULL)
    later = {
        "id": "c2",
        "note": "Better.",
        "language": "en",
        "vitals": {"temperature_c": 36.8},
        "date": "2026-10-21",
    }
    record(store, later)
    handed = hand_out(store)
    reading = case_from_bundle(json.loads(handed.record))
    assert reading.case["id"] == "c2"
    assert reading.case["note"] == "Better."
    assert reading.case["vitals"] == {"temperature_c": 36.8}
    assert reading.ignored["Observation (earlier)"] > 5
    assert len(resources(handed, "Encounter")) == 2


def test_the_assessment_goes_along_with_its_reasons_and_versions(store: Store) -> None:
    agree(store, "export")
    record(store, FULL)
    handed = hand_out(store)
    (impression,) = resources(handed, "ClinicalImpression")
    (risk,) = resources(handed, "RiskAssessment")
    assert impression["finding"][0]["itemCodeableConcept"]["text"] == "urgency: yellow"
    assert impression["finding"][0]["basis"] == "spo2: SpO2 93 % (WHO IITT 2023)"
    assert "model image: 0a1b" in [note["text"] for note in impression["note"]]
    assert risk["status"] == "preliminary"
    assert [round(p["probabilityDecimal"]) for p in risk["prediction"]] == [31, 20]
    assert risk["prediction"][0]["outcome"]["coding"][0]["code"] == "A15"
    assert risk["encounter"] == impression["encounter"] == {"reference": "Encounter/entry-2"}


def test_each_resource_says_from_which_entry_it_comes(store: Store) -> None:
    agree(store, "export")
    record(store, FULL)
    handed = hand_out(store)
    leaves = {index: leaf.hex() for index, leaf in store.leaves()}
    known = {
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in json.loads(handed.record)["entry"]
    }
    for source in resources(handed, "Provenance"):
        index = int(source["entity"][0]["what"]["identifier"]["value"])
        assert (
            source["entity"][0]["what"]["display"]
            == f"entry {index} of the log {LOG}, leaf SHA-256 {leaves[index]}"
        )
        assert {target["reference"] for target in source["target"]} <= known
        assert source["target"]
    assert len(known) == len(json.loads(handed.record)["entry"]), "no two of one id"


def test_pictures_go_along_and_come_back(store: Store) -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    agree(store, "export")
    case = FULL | {"images": [{"path": "film.png", "kind": "chest-xray"}]}
    record(store, case, pictures={"film.png": file.getvalue()})
    reading = case_from_bundle(json.loads(hand_out(store).record))
    assert reading.case["images"] == [{"path": "Media/entry-2", "kind": "chest-xray"}]
    assert reading.attachments["Media/entry-2"] == file.getvalue()


def test_consents_go_along_with_what_still_counts(store: Store) -> None:
    agree(store, "export", "training", until=NOW + DAY_MS)
    take_back(store, "training")
    states = {(c["id"], c["status"], c["provision"]["type"]) for c in resources(hand_out(store), "Consent")}
    assert states == {
        ("entry-1-export", "active", "permit"),
        ("entry-1-training", "inactive", "permit"),
        ("entry-2-training", "active", "deny"),
    }


def test_the_export_is_in_the_log_first_and_then_which_bytes(store: Store) -> None:
    agree(store, "export")
    handed = hand_out(store)
    event = msgspec.json.decode(store.entry(handed.index).body or b"")
    assert event["type"]["code"] == "110106"
    assert event["subtype"][0]["code"] == "disclose"
    assert event["agent"][1]["who"]["display"] == "Huye hospital"
    assert event["purposeOfEvent"] == [{"text": "referral"}]
    (carried,) = resources(handed, "AuditEvent")
    assert {name: value for name, value in carried.items() if name != "id"} == event
    told = msgspec.json.decode(store.entry(handed.index + 1).body or b"")
    assert told == {
        "export": handed.index,
        "sha256": sha256(handed.record).hexdigest(),
        "bytes": len(handed.record),
    }
    assert [(r.kind, r.by, r.why) for r in who_read(store, "p1")] == [("export", "jean", "referral")]


@pytest.mark.parametrize("words", [[], ["given", "withdrawn"], ["ended"], ["other purpose"]])
def test_nothing_is_handed_out_without_consent_and_the_refusal_is_logged(
    store: Store, clock: Clock, words: list[str]
) -> None:
    if "given" in words:
        agree(store, "export")
        take_back(store, "export")
    if "ended" in words:
        agree(store, "export", until=NOW + 1)
    if "other purpose" in words:
        agree(store, "care", "sharing", "training")
    with pytest.raises(InputError, match="export: expected the consent of p1 to it, found"):
        export_patient(store, "p1", "jean", "hospital", "referral", LOG, lambda: NOW + 2)
    assert [entry.kind for entry in store.entries()][-1] == "export-refused"
    assert not list(store.entries(kind="export"))


def test_nothing_is_handed_out_of_an_erased_patient_or_to_nobody(store: Store) -> None:
    agree(store, "export")
    for to, why in (("", "referral"), ("hospital", " "), ("h" * 501, "referral")):
        with pytest.raises(InputError, match=r"export, (to|why)"):
            export_patient(store, "p1", "jean", to, why, LOG)
    store.erase("p1", "supervisor", "asked for it")
    with pytest.raises(InputError, match="unknown or erased"):
        hand_out(store)


def test_a_stored_case_that_is_none_is_named(store: Store) -> None:
    agree(store, "export")
    store.add(Entry("case", "nurse-1", b'{"id": "c", "spo2": 93}', "p1"))
    with pytest.raises(ArtefactError, match="entry 2: expected a stored case"):
        hand_out(store)


def test_other_patients_stay_out(store: Store) -> None:
    store.admit(Person("p2", "Mugabo Eric"), "nurse-1")
    store.add(Entry("case", "nurse-1", b'{"id": "of-p2"}', "p2"))
    agree(store, "export")
    record(store, FULL)
    handed = hand_out(store)
    assert b"Mugabo" not in handed.record
    assert b"of-p2" not in base64.b64encode(handed.record)
    assert b'"of-p2"' not in handed.record
