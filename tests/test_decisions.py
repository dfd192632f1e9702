"""What is recorded of a consultation, who decided, and what developer and deployer vouch for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from akazuba.errors import InputError, UntrustedError
from akazuba.governance.course import (
    WRONG_PATIENT,
    Alarm,
    Duty,
    correct,
    happened,
    record_acknowledged,
    record_alarm,
    record_duty,
)
from akazuba.governance.decisions import (
    Change,
    Decided,
    Decision,
    Open,
    Outcome,
    Versions,
    basis_entry,
    basis_of,
    decide,
    outcomes_of,
    record_consultation,
    report_outcome,
    state_of,
    states_of,
    stored,
)
from akazuba.governance.responsibility import (
    DAY_MIN,
    Bounds,
    Configuration,
    Held,
    Notice,
    Release,
    Shift,
    When,
    adopt,
    believing,
    check_configuration,
    held,
    held_in,
    seal,
)
from akazuba.governance.roles import Verdict
from akazuba.privacy.keys.identity import Identity
from akazuba.records import Assessment, Provenance, Triage
from akazuba.storage.person import Person
from akazuba.storage.store import Entry

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from seeded_incidents import CLINICIAN, NURSE, Post, by, post

PATIENT, OTHER = "patient-1", "patient-2"
CASE = (
    b' {"id": "c1", "vitals": {"heart_rate_bpm": 160}, "images": [{"path": "a.png", "kind": "chest-xray"}]}\n'
)
DEVELOPER, DEPLOYER, STRANGER = (Identity(bytes([n] * 32), bytes([n + 1] * 32)) for n in (1, 3, 5))
DIGEST = sha256(b"file").hexdigest()
RELEASE = Release(
    version=1,
    name="akazuba 1.0",
    issued_s=1_000,
    files={"guidelines/iitt.json": DIGEST},
    bounds={"acknowledge_within_s": Bounds(30, 240)},
    staffing={"clinician": 1},
    may={"decide": ("clinician",)},
    model_card=DIGEST,
)
SITE = Configuration(
    version=1,
    site="Huye",
    organisation="District hospital",
    release=DIGEST,
    valid_from_s=2_000,
    valid_until_s=3_000,
    overlays={},
    formulary="",
    thresholds={"acknowledge_within_s": 240},
    shifts=(Shift("clinician", 1, 0, DAY_MIN),),
    utc_offset_min=120,
    may={"decide": ("clinician",)},
)


def assessment(case: bytes = CASE, **more: object) -> bytes:
    provenance = Provenance(sha256(case.strip()).hexdigest())
    return msgspec.json.encode(Assessment("c1", triage=Triage("red"), provenance=provenance, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def a_post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with post(tmp_path_factory.mktemp("post")) as made:
        for patient in (PATIENT, OTHER, "gone"):
            made.store.admit(Person(patient, patient), "clerk")
        yield made


def consulted(here: Post, patient: str = PATIENT) -> int:
    return record_consultation(here.store, CASE, assessment(), NURSE[0], patient)[1].index


def decided(here: Post, index: int, choice: str = "accept", reason: str = "", **more: object) -> int:
    changes = (Change("triage.level", "red", "green"),) if choice == "change" else ()
    wanted = {"patient": PATIENT, "granted": by(*CLINICIAN), "changes": changes, **more}
    made = decide(
        here.store,
        here.box,
        assessment=index,
        choice=choice,  # type: ignore[arg-type]
        reason=reason,
        now_ms=here.clock(),
        **wanted,  # type: ignore[arg-type]
    )
    return made.index


# --- the consultation ---------------------------------------------------------------------------------


def test_a_consultation_is_one_transaction_that_knows_its_place_in_the_log(a_post: Post) -> None:
    store = a_post.store
    ran = Versions(release=DIGEST, files={"guidelines/iitt.json": DIGEST})
    case, said = record_consultation(store, CASE, assessment(), "nurse", PATIENT, ran, {"a.png": b"pixels"})
    assert store.entry(case.index).body == CASE
    known = msgspec.json.decode(store.entry(said.index).body or b"", type=Assessment)
    assert known.provenance
    assert known.provenance.audit_index == said.index
    basis = basis_of(store, said)
    assert (basis.case, basis.ran) == (case.index, ran)
    assert store.entry(basis.pictures["a.png"]).body == b"pixels"


def test_a_case_that_came_as_another_document_is_recorded_with_it(a_post: Post) -> None:
    bundle = b'{"resourceType": "Bundle"}'
    said = record_consultation(a_post.store, CASE, assessment(bundle), "nurse", PATIENT, source=bundle)[1]
    at = basis_of(a_post.store, said).source
    assert at is not None
    assert a_post.store.entry(at).body == bundle


@pytest.mark.parametrize(
    ("case", "said", "pictures", "item"),
    [
        (b"{", assessment(), {}, "case"),
        (b'{"id": "c1", "pulse": 3}', assessment(), {}, "case"),
        (CASE, b"[]", {}, "assessment"),
        (CASE, b'{"case_id": "c2"}', {}, "assessment, case_id"),
        (CASE, assessment(b"another"), {}, "assessment, input_sha256"),
        (CASE, assessment(), {"b.png": b""}, "pictures"),
    ],
)
def test_documents_that_do_not_belong_together_are_refused_and_nothing_is_recorded(
    a_post: Post, case: bytes, said: bytes, pictures: dict[str, bytes], item: str
) -> None:
    before = a_post.store.size
    with pytest.raises(InputError) as refused:
        record_consultation(a_post.store, case, said, "nurse", PATIENT, pictures=pictures)
    assert refused.value.item == item
    assert a_post.store.size == before


def test_versions_that_no_reader_would_take_are_refused(a_post: Post) -> None:
    with pytest.raises(InputError, match="basis"):
        record_consultation(a_post.store, CASE, assessment(), "nurse", PATIENT, Versions(release="abc"))


# --- the decision -------------------------------------------------------------------------------------


def test_nothing_is_final_without_a_decision(a_post: Post) -> None:
    index = consulted(a_post)
    assert state_of(a_post.store, index) == Open(index)
    decided(a_post, index)
    standing = state_of(a_post.store, index)
    assert isinstance(standing, Decided)
    said = standing.newest.decision
    assert (said.choice, said.user, said.role) == ("accept", *CLINICIAN)
    assert said.leaf == a_post.store.node(0, index).hex()


def test_a_newer_decision_supersedes_and_the_older_stays(a_post: Post) -> None:
    index = consulted(a_post)
    first = decided(a_post, index)
    second = decided(a_post, index, "change", "he walked in")
    standing = state_of(a_post.store, index)
    assert isinstance(standing, Decided)
    assert standing.newest.index == second
    assert [it.index for it in standing.superseded] == [first]


def test_a_decision_about_one_assessment_is_none_about_another(a_post: Post) -> None:
    first, second = consulted(a_post), consulted(a_post)
    decided(a_post, first)
    assert isinstance(state_of(a_post.store, second), Open)


@pytest.mark.parametrize("reason", ["", "  ", "...", "123"])
@pytest.mark.parametrize("choice", ["change", "refuse"])
def test_changing_or_refusing_takes_a_reason(a_post: Post, choice: str, reason: str) -> None:
    index = consulted(a_post)
    with pytest.raises(InputError, match="reason"):
        decided(a_post, index, choice, reason)


def test_a_change_says_what_is_done_instead(a_post: Post) -> None:
    index = consulted(a_post)
    with pytest.raises(InputError, match="changes"):
        decided(a_post, index, "change", "known to me", changes=())
    with pytest.raises(InputError, match="changes"):
        decided(a_post, index, "accept", changes=(Change("plan", "a", "b"),))


def test_a_wrong_index_or_another_patient_is_refused(a_post: Post) -> None:
    index = consulted(a_post)
    with pytest.raises(InputError, match="an assessment"):
        decided(a_post, index - 1)
    with pytest.raises(InputError, match="another patient"):
        decided(a_post, index, patient=OTHER)
    with pytest.raises(InputError, match="index"):
        decided(a_post, a_post.store.size)


def test_an_erased_assessment_cannot_be_decided_on(a_post: Post) -> None:
    index = consulted(a_post, "gone")
    a_post.store.erase("gone", "supervisor", "asked for it")
    for ask in (lambda: decided(a_post, index, patient="gone"), lambda: state_of(a_post.store, index)):
        with pytest.raises(InputError, match="erased"):
            ask()


def test_who_may_not_decide_does_not(a_post: Post) -> None:
    index = consulted(a_post)
    with pytest.raises(InputError, match="right"):
        decided(a_post, index, granted=by(*NURSE))
    (glass,) = a_post.store.add(Entry("break-glass", NURSE[0], b"{}", OTHER))
    through = replace(by(*NURSE), verdict=Verdict(True, "glass", glass.index))
    with pytest.raises(InputError, match="glass"):
        decided(a_post, index, granted=through)
    (glass,) = a_post.store.add(Entry("break-glass", NURSE[0], b"{}", PATIENT))
    decided(a_post, index, granted=replace(through, verdict=Verdict(True, "glass", glass.index)))
    standing = state_of(a_post.store, index)
    assert isinstance(standing, Decided)
    assert standing.newest.decision.glass == glass.index


def test_a_box_whose_key_the_log_does_not_name_cannot_sign(a_post: Post) -> None:
    index = consulted(a_post)
    with pytest.raises(InputError, match="identity"):
        decided(replace(a_post, box=STRANGER), index)


def test_forged_decisions_do_not_count_and_are_named(a_post: Post) -> None:
    index, other = consulted(a_post), consulted(a_post)
    sound = decided(a_post, index)
    body = a_post.store.entry(sound).body or b""
    said = msgspec.convert(msgspec.json.decode(body)["document"], Decision)
    forged = [
        (CLINICIAN[0], seal(STRANGER, "decision", said)),
        ("somebody-else", body),
        (CLINICIAN[0], body.replace(b'"accept"', b'"refuse"')),
        (CLINICIAN[0], seal(a_post.box, "outcome", said)),
        (CLINICIAN[0], seal(a_post.box, "decision", msgspec.structs.replace(said, leaf=DIGEST))),
        (CLINICIAN[0], b"{"),
    ]
    at = [a_post.store.add(Entry("decision", user, data, PATIENT))[0].index for user, data in forged]
    standing = state_of(a_post.store, index)
    assert isinstance(standing, Decided)
    assert standing.newest.index == sound
    assert sorted(standing.unsound) == at
    assert isinstance(state_of(a_post.store, other), Open)


def test_all_of_a_patients_assessments_stand_as_each_alone_does(a_post: Post) -> None:
    store = a_post.store
    first, second, third = (consulted(a_post) for _ in range(3))
    decided(a_post, first)
    decided(a_post, third)
    decided(a_post, third, "change", "he walked in")
    store.add(Entry("decision", CLINICIAN[0], b"{", PATIENT))
    entries = [store.entry(index) for index in (first, second, third)]
    together = states_of(store, PATIENT, entries)
    assert together == {index: state_of(store, index) for index in (first, second, third)}
    assert [type(one) for one in together.values()] == [Decided, Open, Decided]


def test_an_assessment_without_what_it_stood_on_is_said_to_have_none(a_post: Post) -> None:
    (alone,) = a_post.store.add(Entry("assessment", "box", assessment(), PATIENT))
    assert basis_entry(a_post.store, alone) is None
    with pytest.raises(InputError, match="no `basis` entry"):
        basis_of(a_post.store, alone)


def test_the_body_of_an_erased_entry_is_not_read(a_post: Post) -> None:
    a_post.store.admit(Person("left", "left"), "clerk")
    index = consulted(a_post, "left")
    a_post.store.erase("left", "supervisor", "asked for it")
    with pytest.raises(InputError, match="one that was not erased"):
        stored(a_post.store.entry(index), Assessment)


# --- what came back -----------------------------------------------------------------------------------


def test_outcomes_come_back_with_who_says_so(a_post: Post) -> None:
    index = consulted(a_post)
    report_outcome(a_post.store, "dr-keza", PATIENT, Outcome(index, "septic shock", level="red"))
    (told,) = outcomes_of(a_post.store, index)
    assert (told.by, told.outcome.level) == ("dr-keza", "red")
    with pytest.raises(InputError, match="another patient"):
        report_outcome(a_post.store, "dr-keza", OTHER, Outcome(index, "septic shock"))
    with pytest.raises(InputError, match="outcome"):
        report_outcome(a_post.store, "dr-keza", PATIENT, Outcome(index, ""))


def test_alarms_answers_and_duty_are_recorded_as_they_happen(a_post: Post) -> None:
    index = consulted(a_post)
    record_alarm(a_post.store, index, step=1)
    record_acknowledged(a_post.store, CLINICIAN[0], index, 12.5)
    assert [it.body.step for it in happened(a_post.store, "alarm", Alarm, PATIENT, index)] == [1]
    record_duty(a_post.store, "clerk", Duty(*CLINICIAN, 10, 20))
    with pytest.raises(InputError, match="duty"):
        record_duty(a_post.store, "clerk", Duty(*CLINICIAN, 20, 20))
    with pytest.raises(InputError, match="acknowledged"):
        record_acknowledged(a_post.store, CLINICIAN[0], index, -1.0)
    with pytest.raises(InputError, match="an assessment"):
        record_alarm(a_post.store, index - 1)


def test_a_correction_is_an_entry_of_its_own_and_must_fit_a_case(a_post: Post) -> None:
    case, _ = record_consultation(a_post.store, CASE, assessment(), "nurse", PATIENT)
    correct(a_post.store, "clerk", case.index, "vitals.heart_rate_bpm", 60, "the monitor")
    correct(a_post.store, "clerk", case.index, "vitals.heart_rate_bpm", None, "not measured")
    correct(a_post.store, "clerk", case.index, "patient.age_years", 3, "the card")
    correct(a_post.store, "clerk", case.index, WRONG_PATIENT, OTHER, "swapped")
    assert a_post.store.entry(case.index).body == CASE
    for field, value in (("vitals.pulse", 3), ("vitals.spo2_percent", 0.93), ("id.x", 1), ("id", None)):
        with pytest.raises(InputError, match="correction"):
            correct(a_post.store, "clerk", case.index, field, value, "a slip")
    with pytest.raises(InputError, match="a case"):
        correct(a_post.store, "clerk", case.index + 1, "id", "c2", "a slip")


# --- what developer and deployer vouch for ------------------------------------------------------------


def site(**changes: object) -> Held[Configuration]:
    data = seal(DEPLOYER, "configuration", msgspec.structs.replace(SITE, **changes))
    return held(data, "configuration", Configuration, believing(DEPLOYER.public))


@pytest.fixture(scope="module")
def release() -> Held[Release]:
    return held(seal(DEVELOPER, "release", RELEASE), "release", Release, believing(DEVELOPER.public))


def test_a_sound_configuration_has_no_flaw(release: Held[Release]) -> None:
    assert not release.problem
    assert check_configuration(release, site(release=release.sha256), 2_500) == []


@pytest.mark.parametrize(
    ("changes", "now_s", "kind", "clause"),
    [
        ({}, 1_999, "stale", "valid_from_s"),
        ({}, 3_000, "stale", "valid_until_s"),
        ({"release": DIGEST}, 2_500, "other-release", "release"),
        (
            {"thresholds": {"acknowledge_within_s": 241}},
            2_500,
            "outside-bounds",
            "thresholds.acknowledge_within_s",
        ),
        (
            {"thresholds": {"acknowledge_within_s": 29}},
            2_500,
            "outside-bounds",
            "thresholds.acknowledge_within_s",
        ),
        ({"thresholds": {"red_below": 80}}, 2_500, "outside-bounds", "thresholds.red_below"),
        ({"may": {"decide": ("nurse",)}}, 2_500, "outside-bounds", "may.decide"),
        ({"shifts": ()}, 2_500, "outside-bounds", "shifts"),
        ({"shifts": (Shift("nurse", 1, 0, DAY_MIN),)}, 2_500, "outside-bounds", "shifts"),
        (
            {"shifts": (Shift("nurse", 1, 0, DAY_MIN), Shift("clinician", 1, 480, 1020))},
            2_500,
            "outside-bounds",
            "shifts",
        ),
    ],
)
def test_each_flaw_of_a_configuration_is_named_with_its_clause(
    release: Held[Release], changes: dict[str, object], now_s: int, kind: str, clause: str
) -> None:
    flaws = check_configuration(release, site(**{"release": release.sha256, **changes}), now_s)
    assert [(flaw.kind, flaw.clause) for flaw in flaws] == [(kind, clause)]


def test_a_configuration_that_a_stranger_signed_counts_as_unsigned(release: Held[Release]) -> None:
    data = seal(STRANGER, "configuration", msgspec.structs.replace(SITE, release=release.sha256))
    strange = held(data, "configuration", Configuration, believing(DEPLOYER.public))
    assert [flaw.kind for flaw in check_configuration(release, strange, 2_500)] == ["unsigned"]


def test_one_changed_byte_breaks_a_signature() -> None:
    data = seal(DEVELOPER, "release", RELEASE)
    altered = data.replace(b"akazuba 1.0", b"akazuba 1.1")
    assert held(altered, "release", Release, believing(DEVELOPER.public)).problem
    assert held(data, "release", Release, believing(DEPLOYER.public)).problem
    assert not held(data, "release", Release, None).believed


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"document": {}, "signer": "", "signature": ""}', b"\xff" * 9, b"[" * 5000]
)
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(UntrustedError):
        held(data, "release", Release, believing(DEVELOPER.public))


def test_the_log_takes_only_what_was_signed_and_gives_it_back(a_post: Post) -> None:
    keys = believing(DEVELOPER.public)
    with pytest.raises(UntrustedError, match="signature"):
        adopt(a_post.store, "operator", "release", seal(STRANGER, "release", RELEASE), keys)
    with pytest.raises(UntrustedError):
        adopt(a_post.store, "operator", "notice", seal(DEVELOPER, "release", RELEASE), keys)
    taken = adopt(a_post.store, "operator", "release", seal(DEVELOPER, "release", RELEASE), keys)
    a_post.store.add(Entry("release", "operator", b"no release"))
    (found,) = held_in(a_post.store, "release", Release, keys)
    assert (found.document, found.index, found.problem) == (RELEASE, taken.index, "")


@given(st.integers(0, DAY_MIN - 1), st.integers(0, DAY_MIN), st.integers(0, DAY_MIN - 1))
def test_a_shift_and_the_one_that_follows_it_cover_the_whole_day(begins: int, ends: int, minute: int) -> None:
    day, night = Shift("nurse", 1, begins, ends), Shift("nurse", 1, ends % DAY_MIN, begins)
    if begins != ends % DAY_MIN:
        assert day.covers(minute) != night.covers(minute)


def test_a_shift_goes_by_the_clock_on_the_wall_of_the_post() -> None:
    early = msgspec.structs.replace(SITE, shifts=(Shift("nurse", 2, 0, 60),), utc_offset_min=120)
    assert early.required(22 * 3600) == {"nurse": 2}
    assert early.required(23 * 3600) == {}


def test_a_notice_covers_cases_by_their_numbers_only() -> None:
    low = When("vitals.spo2_percent", high=92)
    assert low.holds({"vitals": {"spo2_percent": 92}})
    assert not low.holds({"vitals": {"spo2_percent": 93}})
    for case in (
        {},
        {"vitals": None},
        {"vitals": {"spo2_percent": True}},
        {"vitals": {"spo2_percent": "91"}},
    ):
        assert not low.holds(case)
    with pytest.raises(UntrustedError):
        held(seal(DEVELOPER, "notice", Notice(1, DIGEST, 0, 0, "what", ())), "notice", Notice, None)


def test_a_decision_reads_as_json(a_post: Post) -> None:
    said = json.loads(a_post.store.entry(decided(a_post, consulted(a_post))).body or b"")["document"]
    assert (said["choice"], said["user"]) == ("accept", CLINICIAN[0])
