"""A box learns from its own records: of whom it may, of what is known, and nothing else leaves."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from akazuba.cli import main
from akazuba.diagnosis.network import Network
from akazuba.energy.surplus import Verdict
from akazuba.errors import BudgetError, InputError, UntrustedError
from akazuba.federation import masked, own_head
from akazuba.federation.folding import starting_rules
from akazuba.federation.learning import KIND, Learning, in_force, learning_of, vector
from akazuba.federation.local import noise_for, noised
from akazuba.federation.outbox import FILE, Outbox
from akazuba.federation.own_records import gather
from akazuba.federation.stick import FOLDER
from akazuba.federation.terminal import LocalNoise, OwnCases, Training, train
from akazuba.federation.updates import ModelRelease, Numbers, Update
from akazuba.governance.audit_reads import who_read
from akazuba.governance.consent import By, Consent, Withdrawal, give, shown, withdraw
from akazuba.governance.course import WRONG_PATIENT, correct
from akazuba.governance.decisions import Outcome, record_consultation, report_outcome
from akazuba.privacy.accounting import Budget
from akazuba.privacy.aggregation.stewards import MaskSteward
from akazuba.privacy.keys.enrolment import Role, enrol, request, requested
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import read, sign, unwrap
from akazuba.privacy.keys.store import KeyStore
from akazuba.privacy.ledger import Ledger
from akazuba.records import (
    Assessment,
    Candidate,
    Case,
    Finding,
    Patient,
    Provenance,
    ReportedFinding,
    Vitals,
)
from akazuba.storage.person import Person
from akazuba.storage.store import Entry, Recorded, Store
from akazuba.storage.unlocking import Cost, set_up, unlocked
from akazuba.terminology import Terminology
from akazuba.web.assessment_view import seen
from akazuba.web.patient_deeds import advice_of

NOW = int(time.time())
PASSPHRASE = "a passphrase of the day"  # noqa: S105 - of a test
MALARIA, PNEUMONIA, GASTRITIS = "Malaria, uncomplicated", "Bacterial pneumonia", "Gastritis"
LEARNING = Learning("rwanda", 1, (MALARIA, PNEUMONIA))
AUTHORITY, COORDINATOR, GATEWAY = (new_identity(os.urandom) for _ in range(3))
FEVER, COUGH = Finding("HP:0001945", "Fever"), Finding("HP:0031245", "Productive cough")


def now_ms() -> int:
    return NOW * 1000


@dataclass
class Post:
    home: Path
    store: Store

    def visit(
        self,
        patient: str,
        came_out: str = MALARIA,
        *,
        agreed: bool = True,
        until_ms: int | None = None,
        outcome: Outcome | None = None,
        findings: tuple[Finding, ...] = (FEVER,),
    ) -> int:
        """A consultation and what it came out to be; the index of its assessment."""
        self.store.admit(Person(patient, f"Uwimana {patient}"), "clerk")
        if agreed:
            words = shown("May the box learn from your record?", "1", "en")
            said = Consent(("training",), By("patient"), words, until_ms)
            give(self.store, patient, "clerk", said, now_ms() - 10_000)
        index = self.consulted(patient, findings)
        said_so = outcome or Outcome(index, "as the letter says", borne_out=(f"diagnosis: {came_out}",))
        report_outcome(self.store, "nurse", patient, msgspec.structs.replace(said_so, assessment=index))
        return index

    def consulted(self, patient: str, findings: tuple[Finding, ...] = (FEVER,)) -> int:
        case = msgspec.json.encode(
            Case(f"case of {patient}", Patient(age_years=7, sex="female"), "my secret")
        )
        listed = tuple(
            Candidate(name, share) for name, share in ((MALARIA, 0.5), (PNEUMONIA, 0.3), (GASTRITIS, 0.1))
        )
        said = Assessment(
            f"case of {patient}",
            findings=findings,
            differential=listed,
            provenance=Provenance(sha256(case).hexdigest()),
        )
        return record_consultation(self.store, case, msgspec.json.encode(said), "nurse", patient)[1].index

    def many(self, number: int) -> None:
        for place in range(number):
            ill = MALARIA if place % 2 else PNEUMONIA
            self.visit(f"p{place}", ill, findings=(FEVER,) if place % 2 else (COUGH,))


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    key = set_up(tmp_path, PASSPHRASE, cost=Cost(32, 1, 1))
    with closing(Store(tmp_path, key, now_ms)) as store:
        yield Post(tmp_path, store)


def found(post: Post, terminology: Terminology, learning: Learning = LEARNING) -> tuple[dict[str, int], dict]:  # type: ignore[type-arg]
    made = gather(post.store, learning, terminology.ancestors, now_ms())
    assert len(made.cases.labels) == len(made.cases.inputs) == sum(made.classes.values())
    assert made.cases.left_out == sum(made.left_out.values())
    return dict(made.classes), dict(made.left_out)


# --- whose records ----------------------------------------------------------------------------------


def test_a_confirmed_visit_of_a_patient_who_agreed_is_learned_from(
    post: Post, terminology: Terminology
) -> None:
    post.visit("a", MALARIA)
    post.visit("b", PNEUMONIA)
    assert found(post, terminology) == ({MALARIA: 1, PNEUMONIA: 1}, {})


def test_nobody_who_did_not_agree_who_took_it_back_or_whose_consent_ended(
    post: Post, terminology: Terminology
) -> None:
    post.visit("never", agreed=False)
    post.visit("ended", until_ms=now_ms() - 1)
    post.visit("back")
    assert found(post, terminology) == ({MALARIA: 1}, {"no consent to training": 2})
    withdraw(post.store, "back", "clerk", Withdrawal(("training",), By("patient")))
    assert found(post, terminology) == ({}, {"no consent to training": 3})


def test_an_erased_patient_is_not_learned_from_and_not_counted(post: Post, terminology: Terminology) -> None:
    post.visit("a")
    post.visit("b")
    post.store.erase("a", "supervisor", "asked for it")
    assert found(post, terminology) == ({MALARIA: 1}, {})


RIGHT = f"diagnosis: {MALARIA}"


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(0, "who knows"), "not confirmed"),
        (Outcome(0, "it was not", refuted=(RIGHT,)), "not confirmed"),
        (Outcome(0, "another", borne_out=(f"diagnosis: {GASTRITIS}",)), "another condition"),
        (Outcome(0, "both", borne_out=(RIGHT, f"diagnosis: {PNEUMONIA}")), "several confirmed"),
    ],
    ids=["silent", "refuted", "other", "several"],
)
def test_what_is_not_known_to_be_one_of_the_conditions_is_left_out_and_counted(
    post: Post, terminology: Terminology, outcome: Outcome, why: str
) -> None:
    post.visit("a", outcome=outcome)
    assert found(post, terminology) == ({}, {why: 1})


def test_a_later_word_on_a_diagnosis_counts(post: Post, terminology: Terminology) -> None:
    index = post.visit("a")
    later = Outcome(index, "the hospital says", borne_out=(f"diagnosis: {PNEUMONIA}",), refuted=(RIGHT,))
    report_outcome(post.store, "nurse", "a", later)
    assert found(post, terminology) == ({PNEUMONIA: 1}, {})


def test_a_patient_counts_once_with_the_newest_visit_that_can_be_used(
    post: Post, terminology: Terminology
) -> None:
    post.visit("a", MALARIA)
    post.visit("a", PNEUMONIA)
    post.consulted("a")
    left = {"an earlier visit of the same patient": 1, "not confirmed": 1}
    assert found(post, terminology) == ({PNEUMONIA: 1}, left)


def test_a_case_that_was_wrong_or_somebody_elses_is_left_out(post: Post, terminology: Terminology) -> None:
    for patient, field, value in (("a", "vitals.heart_rate_bpm", 90), ("b", WRONG_PATIENT, "c")):
        index = post.visit(patient)
        correct(post.store, "clerk", index - 1, field, value, "mistyped")
    left = {"corrected after it was assessed": 1, "entered for another patient": 1}
    assert found(post, terminology) == ({}, left)


def test_a_record_that_cannot_be_read_costs_itself_and_no_other(post: Post, terminology: Terminology) -> None:
    post.visit("a")
    post.visit("b")
    post.store.add(Entry("outcome", "clerk", b"{", "a"))
    assert found(post, terminology) == ({MALARIA: 1}, {"cannot be read": 1})


def test_visits_of_nobody_cannot_be_agreed_to(post: Post, terminology: Terminology) -> None:
    post.consulted("")
    assert found(post, terminology) == ({}, {"of no patient": 1})


def test_a_diagnosis_is_confirmed_under_the_name_that_the_page_records() -> None:
    said = Assessment("a", findings=(), differential=(Candidate(MALARIA, 0.5),))
    items = [item.item for item in advice_of(said, seen(said, Case("a"), "fr"))]
    assert RIGHT in items


# --- what is seen of a case -------------------------------------------------------------------------


def seen_of(
    terminology: Terminology, *findings: Finding, case: Case | None = None, **more: object
) -> list[float]:
    said = Assessment("a", findings=findings, differential=(Candidate(MALARIA, 0.7),))
    learning = msgspec.structs.replace(LEARNING, **more)
    inputs = vector(case or Case("a"), said, learning, terminology.ancestors)
    assert len(inputs) == learning.network().features
    return [float(each) for each in inputs]


def test_the_vector_of_version_1_stays_what_it_is(terminology: Terminology) -> None:
    vitals = Vitals(temperature_c=38.95, spo2_percent=96, consciousness="voice", on_oxygen=False)
    case = Case("a", Patient(age_months=30, sex="male", pregnant=False), vitals=vitals)
    found = seen_of(terminology, FEVER, COUGH, Finding("HP:0002013", "Vomiting", present=False), case=case)
    assert len(found) == 112
    places = {place: round(value, 3) for place, value in enumerate(found) if value}
    assert places == {
        2: 1.0,  # from 1 year to 4
        10: 1.0,  # male
        11: -1.0,  # not pregnant
        12: 2.0,  # 38.95 °C
        13: 1.0,
        18: -1.0,  # 96 %
        19: 1.0,
        28: -1.0,  # no oxygen
        29: -1.0,  # not alert
        30: 1.0,  # fever
        38: 1.0,  # cough, for she has a productive one
        39: 1.0,
        69: -1.0,  # no vomiting
    }


def test_no_identifier_free_text_date_or_place_is_in_the_vector(terminology: Terminology) -> None:
    plain = Case("a", Patient(age_years=30, sex="female"))
    told = Case(
        "KGL-4711",
        Patient(age_years=30, sex="female"),
        note="Uwimana Chantal of Huye has had fever since Monday",
        language="rw",
        date="2026-11-29",
        findings=(ReportedFinding("HP:0001945"),),
    )
    assert seen_of(terminology, FEVER, case=plain) == seen_of(terminology, FEVER, case=told)


@pytest.mark.parametrize(
    "more",
    [{"uncertain": True}, {"subject": "family"}, {"temporality": "past"}],
    ids=["uncertain", "family", "past"],
)
def test_a_finding_that_is_not_hers_now_is_as_if_not_assessed(
    terminology: Terminology, more: dict[str, object]
) -> None:
    said = msgspec.structs.replace(FEVER, **more)
    assert seen_of(terminology, said) == seen_of(terminology)


def test_a_denied_finding_denies_its_kinds_and_leaves_what_it_is_a_kind_of(terminology: Terminology) -> None:
    denied = seen_of(terminology, Finding("HP:0012735", "Cough", present=False))
    assert (denied[38], denied[39]) == (-1.0, -1.0)
    denied = seen_of(terminology, Finding("HP:0031245", "Productive cough", present=False))
    assert (denied[38], denied[39]) == (0.0, -1.0)


def test_the_boxs_own_probabilities_are_inputs_where_the_programme_says_so(terminology: Terminology) -> None:
    assert seen_of(terminology, differential=True)[-2:] == pytest.approx([0.7, 0.0])


# --- the programme ----------------------------------------------------------------------------------


def enrolment(identity: Identity, name: str, role: Role, serial: int) -> bytes:
    asked = requested(request(identity, "rwanda", name, role, NOW), "rwanda", NOW)
    return enrol(AUTHORITY, "rwanda", asked, serial, NOW)


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    made.believe(enrolment(COORDINATOR, "coordinator", "coordinator", 1), NOW)
    made.believe(enrolment(GATEWAY, "gateway", "gateway", 2), NOW)
    return made


def numbered(number: int, signer: Identity = COORDINATOR, **more: object) -> bytes:
    return sign(signer, KIND, msgspec.structs.replace(LEARNING, number=number, **more))


def test_a_programme_is_kept_and_only_a_newer_one_replaces_it(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InputError, match="the first time, found none"):
        in_force(tmp_path, None, registry, NOW)
    assert in_force(tmp_path, numbered(2), registry, NOW).number == 2
    assert in_force(tmp_path, None, registry, NOW).number == 2
    for older in (numbered(1), numbered(2, conditions=(PNEUMONIA, MALARIA))):
        with pytest.raises(UntrustedError, match="number 3 or later"):
            in_force(tmp_path, older, registry, NOW)
    assert in_force(tmp_path, numbered(3), registry, NOW).number == 3


def test_a_programme_that_no_coordinator_signed_is_refused(registry: Registry) -> None:
    with pytest.raises(UntrustedError):
        learning_of(numbered(1, GATEWAY), registry, NOW)
    with pytest.raises(UntrustedError, match="rwanda"):
        learning_of(numbered(1, programme="kenya"), registry, NOW)
    altered = bytearray(numbered(1))
    altered[altered.index(b"Malaria,")] ^= 1
    with pytest.raises(UntrustedError):
        learning_of(bytes(altered), registry, NOW)


def test_a_condition_cannot_be_two_classes() -> None:
    with pytest.raises(InputError, match="each condition once"):
        Learning("rwanda", 1, (MALARIA, MALARIA))


# --- noise of the terminal's own --------------------------------------------------------------------


def a_release(dimension: int, meaning: bytes = LEARNING.meaning) -> ModelRelease:
    numbers = np.zeros(dimension, "<f4").tobytes()
    return ModelRelease("rwanda", 0, NOW, numbers, 1.0, 6e5, 0.5, 200, 0.02, meaning=meaning)


def own(number: int = 30) -> OwnCases:
    network = LEARNING.network()
    drawn = np.random.default_rng(1)
    inputs = drawn.normal(size=(number, network.features)).astype(np.float32)
    return OwnCases(inputs, (inputs[:, 0] > 0).astype(np.int64), 0)


def trained(home: Path, epsilon: float | None, cases: OwnCases | None = None) -> Update:
    network = LEARNING.network()
    with closing(Outbox(home / FILE, lambda: NOW)) as outbox, Ledger(home, lambda: NOW) as ledger:
        noise = None if epsilon is None else LocalNoise(epsilon, ledger)
        args = (
            COORDINATOR,
            a_release(network.dimension),
            network,
            cases or own(),
            Training(coding="float32"),
        )
        kept = train(outbox, *args, lambda: NOW, noise)
        return read(unwrap(outbox.read(kept.id), "model-update").payload, "model-update", Update)


def test_local_noise_shrinks_as_epsilon_grows() -> None:
    change = np.zeros(226, np.float32)
    noises, beside = [], []
    for epsilon in (0.5, 1, 2, 4, 8):
        spend = noise_for(epsilon, 1e-6, len(change))
        noises.append(spend.sigma / spend.sensitivity)
        seeded = np.random.default_rng(7).bytes
        signal = np.full(len(change), 1 / np.sqrt(len(change)), np.float32)
        with_it, without = (
            noised(each, 1.0, spend, np.random.default_rng(7).bytes) for each in (signal, change)
        )
        beside.append(float(np.dot(with_it - without, signal)))
        assert np.linalg.norm(noised(signal, 1.0, spend, seeded).astype(float)) <= 1.0
    assert noises == sorted(noises, reverse=True)
    assert beside == sorted(beside)


def test_an_update_with_local_noise_costs_what_was_asked_and_tells_nothing_else(tmp_path: Path) -> None:
    plain, update = trained(tmp_path, None), trained(tmp_path, 2.0)
    assert (bool(plain.metrics), plain.examples) == (True, 30)
    assert (dict(update.metrics), update.examples) == ({}, Training.least)
    with Ledger(tmp_path, lambda: NOW) as ledger:
        (spent,) = ledger.spends()
        assert (spent.unit, spent.spend) == ("clinic", update.spend)
        assert 1.99 < ledger.total("clinic") <= 2.0
    assert np.linalg.norm(update.values().astype(float)) <= 1.0
    assert not np.allclose(update.values(), plain.values(), atol=0.01)


def test_local_noise_stops_when_the_budget_is_used_up(tmp_path: Path) -> None:
    with Ledger(tmp_path, lambda: NOW) as ledger:
        ledger.set_budget(Budget(3.0, 1e-6))
    trained(tmp_path, 2.0)
    with pytest.raises(BudgetError, match="at most epsilon 3"):
        trained(tmp_path, 2.5)
    with closing(Outbox(tmp_path / FILE, lambda: NOW)) as outbox, Ledger(tmp_path, lambda: NOW) as ledger:
        assert len(outbox.waiting()) == 1
        assert ledger.total("clinic") <= 2.0
        assert len(ledger.refusals()) == 1


def test_so_little_epsilon_that_nothing_is_left_of_the_update_is_refused() -> None:
    with pytest.raises(InputError, match="leaves something"):
        noise_for(0.01, 1e-6, 1_000_000)


# --- a last layer of the box's own ------------------------------------------------------------------

NETWORK = Network(6, 2)


def world(number: int, shift: float, seed: int) -> OwnCases:
    drawn = np.random.default_rng(seed)
    inputs = drawn.normal(size=(number, 6)).astype(np.float32)
    said = 3 * inputs[:, 0] + shift + drawn.logistic(size=number)
    return OwnCases(inputs, (said > 0).astype(np.int64), 0)


def shared_model() -> Numbers:
    everybodys = world(2000, 0.0, 1)
    start = NETWORK.start(0)
    return NETWORK.trained(start, everybodys.inputs, everybodys.labels, steps=300, rate=0.5)


def test_an_own_layer_is_used_where_it_is_better_on_cases_that_it_has_not_seen(post: Post) -> None:
    shared, own, unseen = shared_model(), world(60, 3.0, 2), world(2000, 3.0, 3)
    assert own_head.keep(post.store, NETWORK, shared, own).better
    numbers, why = own_head.in_use(post.store, NETWORK, shared)
    assert "own last layer" in why
    right = [NETWORK.accuracy(model, unseen.inputs, unseen.labels) for model in (shared, numbers)]
    assert right[1] > right[0] + 0.05


def test_an_own_layer_that_is_no_better_is_not_used_and_says_so(post: Post) -> None:
    shared = shared_model()
    assert not own_head.keep(post.store, NETWORK, shared, world(60, 0.0, 4)).better
    numbers, why = own_head.in_use(post.store, NETWORK, shared)
    assert why.endswith("was no better")
    assert np.array_equal(numbers, shared)


def test_an_own_layer_falls_away_with_another_model_or_when_a_patient_takes_herself_out(post: Post) -> None:
    shared = shared_model()
    post.visit("a")
    own_head.keep(post.store, NETWORK, shared, world(60, 3.0, 2))
    newer = shared + np.float32(0.01)
    assert own_head.in_use(post.store, NETWORK, newer)[1].endswith("of an older one")
    assert not np.array_equal(own_head.in_use(post.store, NETWORK, shared)[0], shared)
    post.store.erase("a", "supervisor", "asked for it")
    numbers, why = own_head.in_use(post.store, NETWORK, shared)
    assert "a patient took herself out" in why
    assert np.array_equal(numbers, shared)


def test_only_the_last_layer_is_the_boxs_own() -> None:
    network = Network(6, 2, 5)
    shared, cases = network.start(1), world(60, 3.0, 2)
    changed = own_head.fitted(network, shared, cases.inputs, cases.labels) != shared
    assert not changed[:-12].any()
    assert changed[-12:].all()


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path: Path, terminology_home: Path, terminology: Terminology) -> Post:
    """A terminal with a store, a model and a programme; `akazuba` runs on it."""
    key = set_up(tmp_path, PASSPHRASE, cost=Cost(32, 1, 1))
    with closing(Store(tmp_path, key, now_ms)) as store:
        post = Post(tmp_path, store)
        post.many(20)
    with closing(KeyStore(tmp_path / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        registry = keys.registry()
        keys.believe(registry, "enrolment", enrolment(COORDINATOR, "coordinator", "coordinator", 1))
        keys.believe(registry, "enrolment", enrolment(keys.identity(), "post 7", "terminal", 2))
    (tmp_path / "learn.programme").write_bytes(signed := numbered(1))
    in_force(tmp_path, signed, registry, NOW)
    for terms in terminology_home.glob("terminology-*.sqlite"):
        os.link(terms, tmp_path / terms.name)
    with closing(Outbox(tmp_path / FILE, lambda: NOW)) as outbox:
        released = a_release(LEARNING.network().dimension)
        outbox.keep_model(0, sign(COORDINATOR, "model-release", released))
    return post


def learn(box: Post, *more: str) -> Result:
    env = {"AKAZUBA_HOME": str(box.home), "AKAZUBA_PASSPHRASE": PASSPHRASE}
    given = ("--programme", str(box.home / "learn.programme"))
    return CliRunner(env=env).invoke(main, ["federate", "learn", "--outbox-only", "--json", *given, *more])


def stood(box: Post) -> tuple[list[bytes], int]:
    """What the log says of trainings, and how many updates wait."""
    with closing(Store(box.home, unlocked(box.home, PASSPHRASE), now_ms, read_only=True)) as store:
        said = [entry.body or b"" for entry in store.entries(kind="learning")]
    with closing(Outbox(box.home / FILE, lambda: NOW)) as outbox:
        return said, len(outbox.waiting())


def test_the_command_trains_from_the_store_and_the_log_says_so_in_numbers(box: Post) -> None:
    ran = learn(box)
    assert ran.exit_code == 0, ran.output
    facts = json.loads(ran.stdout)
    assert facts["cases"] == {MALARIA: 10, PNEUMONIA: 10}
    (said,), waiting = stood(box)
    assert waiting == 1
    assert json.loads(said) == {
        "purpose": "an update of the federation's model",
        "programme": "rwanda",
        "number": 1,
        "version": 0,
        "cases": 20,
        "left_out": {},
    }


def test_too_few_are_refused_with_the_reasons_and_nothing_is_made_or_logged(box: Post) -> None:
    with closing(Store(box.home, unlocked(box.home, PASSPHRASE), now_ms)) as store:
        withdraw(store, "p3", "clerk", Withdrawal(("training",), By("patient")))
    ran = learn(box)
    assert ran.exit_code == 2
    assert "expected 20 confirmed and consented cases, found 19 (1 no consent to training)" in ran.stderr
    assert stood(box) == ([], 0)


@pytest.mark.enable_socket
def test_without_a_line_the_update_waits_in_the_outbox(box: Post) -> None:
    ran = told(box, "learn", "http://127.0.0.1:9")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["waiting"] == 1
    assert "error: " in ran.stderr
    assert "both" in told(box, "learn", "http://127.0.0.1:9", "--outbox-only").stderr


def test_training_waits_while_the_energy_plan_says_so(box: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Verdict(False, "training waits: 41 Wh to the floor")
    monkeypatch.setattr("akazuba.energy.today.training_allowed", lambda *_: waits)
    ran = learn(box)
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["energy"] == waits.because
    assert stood(box) == ([], 0)


def test_the_command_spends_on_local_noise_and_stops_with_the_budget(box: Post) -> None:
    assert 3.9 < json.loads(learn(box, "--local-epsilon", "4").stdout)["epsilon spent in all"] <= 4.0
    ran = learn(box, "--local-epsilon", "7")
    assert ran.exit_code == 2
    assert "privacy budget" in ran.stderr
    assert stood(box)[1] == 1


def told(box: Post, *words: str) -> Result:
    env = {"AKAZUBA_HOME": str(box.home), "AKAZUBA_PASSPHRASE": PASSPHRASE}
    return CliRunner(env=env).invoke(main, ["federate", *words, "--json"])


def the_update(box: Post) -> Update:
    with closing(Outbox(box.home / FILE, lambda: NOW)) as outbox:
        payload = unwrap(outbox.read(outbox.waiting()[-1].id), "model-update").payload
    return msgspec.structs.replace(read(payload, "model-update", Update), made=0, serial=1, metrics={})


def test_an_own_layer_changes_the_opinion_and_not_one_bit_of_an_update(box: Post) -> None:
    learn(box)
    before = the_update(box)
    (index,) = (entry.index for entry in assessments(box)[:1])
    shared = json.loads(told(box, "opinion", str(index)).stdout)
    ran = told(box, "own-head")
    assert json.loads(ran.stdout)["right"]["own"] == 20, (
        ran.output
    )  # it starts from a model that knows nothing
    learn(box)
    assert the_update(box) == before
    own = json.loads(told(box, "opinion", str(index)).stdout)
    assert shared["probabilities"] == {MALARIA: 0.5, PNEUMONIA: 0.5}
    assert own["probabilities"][PNEUMONIA] > 0.7
    assert own["by"] == "the shared model with this box's own last layer"


def assessments(box: Post) -> list[Recorded]:
    with closing(Store(box.home, unlocked(box.home, PASSPHRASE), now_ms, read_only=True)) as store:
        return list(store.entries(kind="assessment"))


def test_a_masked_round_takes_the_boxs_own_records(box: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    steward, folder = new_identity(os.urandom), box.home / "stick"
    with closing(KeyStore(box.home / "keys.sqlite3", lambda: NOW)) as keys:
        keys.believe(keys.registry(), "enrolment", enrolment(steward, "s", "mask-steward", 3))
        registry = keys.registry()
    release = sign(COORDINATOR, "model-release", a_release(LEARNING.network().dimension))
    masked.begin(folder, COORDINATOR, release, os.urandom(16), NOW + 3600)
    path = box.home / "steward.sqlite3"
    with closing(MaskSteward(path, steward, registry, lambda: NOW, os.urandom, 2)) as one:
        masked.announce(folder, one, steward.public.key_id, registry, NOW)
    masked.plan(folder, COORDINATOR, registry, NOW, least=2, most=5, threshold=1, noise_multiplier=1.0)
    with Ledger(box.home) as ledger:
        ledger.set_budget(Budget(50.0, 1e-6, "test", "two clinics cannot hide one for little"))
    words = ("masked", "give", str(folder), "--least", "2", "--stewards", "1", "--threshold", "1")
    env = {"AKAZUBA_HOME": str(box.home), "AKAZUBA_PASSPHRASE": PASSPHRASE}
    monkeypatch.setattr("akazuba.energy.today.training_allowed", lambda *_: Verdict(False, "it waits"))
    assert CliRunner(env=env).invoke(main, ["federate", *words]).exit_code == 1
    assert stood(box)[0] == []
    monkeypatch.undo()
    ran = CliRunner(env=env).invoke(main, ["federate", *words])
    assert ran.exit_code == 0, ran.output
    assert "masked: 20 cases used" in ran.stdout
    (logged,) = stood(box)[0]
    assert json.loads(logged)["purpose"] == "a masked round of the federation"
    assert (folder / FOLDER / f"{own_key(box)}.masked-upload").is_file()
    with closing(Outbox(box.home / FILE, lambda: NOW)) as outbox:
        assert outbox.waiting() == []  # nothing leaves that anybody could read


def own_key(box: Post) -> str:
    with closing(KeyStore(box.home / "keys.sqlite3", lambda: NOW)) as keys:
        return keys.identity().public.key_id


def test_a_look_at_an_opinion_is_in_the_log_and_another_entry_has_none(box: Post) -> None:
    entry = assessments(box)[0]
    told(box, "opinion", str(entry.index))
    with closing(Store(box.home, unlocked(box.home, PASSPHRASE), now_ms, read_only=True)) as store:
        assert [one.why for one in who_read(store, entry.patient)] == ["the shared model's opinion"]
    assert "expected an assessment" in told(box, "opinion", "0").stderr


@pytest.mark.parametrize("meaning", [b"", bytes(32)], ids=["no programme", "another programme"])
def test_a_model_of_another_programme_names_no_condition_here(box: Post, meaning: bytes) -> None:
    with closing(Outbox(box.home / FILE, lambda: NOW)) as outbox:
        other = a_release(LEARNING.network().dimension, meaning)
        outbox.keep_model(1, sign(COORDINATOR, "model-release", other))
    for words in (("opinion", str(assessments(box)[0].index)), ("own-head",)):
        ran = told(box, *words)
        assert ran.exit_code == 2
        assert "model 0: expected one of programme 1, 2 conditions, found one of " in ran.stderr
    assert learn(box).exit_code == (2 if meaning else 0)
    assert stood(box)[1] == (0 if meaning else 1)


def test_a_programme_is_made_of_what_the_knowledge_names(tmp_path: Path) -> None:
    with closing(KeyStore(tmp_path / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        keys.believe(keys.registry(), "enrolment", enrolment(keys.identity(), "c", "coordinator", 1))
        registry = keys.registry()
    env, out = {"AKAZUBA_HOME": str(tmp_path)}, tmp_path / "learn.programme"

    def make(*names: str) -> Result:
        given = [word for name in names for word in ("--condition", name)]
        return CliRunner(env=env).invoke(main, ["federate", "programme", *given, "--out", str(out)])

    assert "'Maleria'" in make("Maleria", "Cholera").stderr
    assert "two or more" in make("Cholera").stderr
    ran = make("Cholera", "Dengue")
    assert ran.exit_code == 0, ran.output
    assert "--features 112 --classes 2 --hidden 0" in ran.stdout
    assert learning_of(out.read_bytes(), registry, NOW).conditions == ("Cholera", "Dengue")


def test_a_programme_of_noised_updates_can_hold_its_clip_norm() -> None:
    pytest.importorskip("flwr")
    from akazuba.federation.flower import _rules

    config = {"buffer": 7, "robust": "", "epsilon": 0.0, "clip_norm": 0.5}
    assert [_rules(config)[0].clip.after(share).norm for share in (0.0, 1.0)] == [0.5, 0.5]
    free = config | {"clip_norm": 0.0}
    assert _rules(free)[0].clip.after(1.0).norm < _rules(free)[0].clip.norm
    assert _rules(free)[0] == starting_rules(7)  # the ones that the simulation measures
