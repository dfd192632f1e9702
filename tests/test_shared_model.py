"""What boxes learned together is asked in a consultation: beside the advice, and it changes nothing of it."""

import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_federation_doors import door
from test_federation_learn import (
    AUTHORITY,
    COORDINATOR,
    LEARNING,
    MALARIA,
    NOW,
    PNEUMONIA,
    enrolment,
    numbered,
)

from akazuba.cli import main
from akazuba.cli.models import EXAMPLES
from akazuba.diagnosis.case_vector import case_vector
from akazuba.diagnosis.differential import Ranking
from akazuba.diagnosis.network import Network
from akazuba.diagnosis.shared_model import FILE, SharedModel, read_shared, written
from akazuba.errors import ArtefactError
from akazuba.federation.consulted import STUDENT, Asked
from akazuba.federation.learning import in_force
from akazuba.federation.release import KIND, StudentRelease, Teacher
from akazuba.federation.release_gate import Site, Verdict
from akazuba.federation.release_student import Lesson, quantised
from akazuba.federation.updates import Numbers
from akazuba.governance.users import PASSPHRASE
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.signed import sign
from akazuba.privacy.keys.store import KeyStore
from akazuba.records import Candidate, Case
from akazuba.storage.store import Store
from akazuba.storage.unlocking import Cost, set_up
from akazuba.terminology import Terminology

CASE = EXAMPLES / "fever-malaria-test.json"
NETWORK = LEARNING.network()


def student(
    network: Network = NETWORK,
    number: int = 1,
    bias: float = 1.0,
    signer: Identity = COORDINATOR,
    meaning: bytes = LEARNING.meaning,
) -> bytes:
    """bias: of the first class, over every other."""
    model = network.start(0)
    network.parts(model)[-1][0] = bias
    sites = {"north": Site(200, 120, 150, 151), "south": Site(100, 60, 70, 70)}
    release = StudentRelease(
        "rwanda", number, NOW, "", network.features, network.classes, network.hidden,
        quantised(network, model), Teacher(3, bytes(32), 10 * network.dimension, bytes(32)),
        bytes(32), bytes(32), Lesson(), Verdict(sites, number == 1, -1.0, 1.0), meaning,
    )  # fmt: skip
    return sign(signer, KIND, release)


@pytest.fixture
def box(tmp_path: Path, terminology_home: Path) -> Path:
    """A terminal of the programme; `akazuba` runs on it."""
    with closing(KeyStore(tmp_path / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        registry = keys.registry()
        keys.believe(registry, "enrolment", enrolment(COORDINATOR, "coordinator", "coordinator", 1))
        keys.believe(registry, "enrolment", enrolment(keys.identity(), "post 7", "terminal", 2))
    in_force(tmp_path, numbered(1), registry, NOW)
    for terms in terminology_home.glob("terminology-*.sqlite"):
        os.link(terms, tmp_path / terms.name)
    return tmp_path


def told(box: Path, *words: str) -> Result:
    env = {"AKAZUBA_HOME": str(box), "AKAZUBA_LLM": "off"}
    return CliRunner(env=env).invoke(main, list(words))


def adopt(box: Path, data: bytes, *more: str) -> Result:
    (box / "given.student").write_bytes(data)
    ran = told(box, "federate", "adopt", str(box / "given.student"), "--json", *more)
    assert ran.exit_code == 0, ran.output
    return ran


def in_use(box: Path) -> SharedModel:
    model = read_shared(box / FILE)
    assert model is not None
    return model


def assessed(box: Path) -> dict[str, object]:
    ran = told(box, "assess", str(CASE), "--json")
    assert ran.exit_code == 0, ran.output
    found: dict[str, object] = json.loads(ran.stdout)
    del found["timings_ms"]
    return found


def test_an_adopted_student_speaks_beside_the_advice_and_changes_nothing_of_it(box: Path) -> None:
    before = assessed(box)
    assert "shared" not in before
    ran = adopt(box, student())
    assert json.loads(ran.stdout)["in_use"].startswith("asked in every consultation")
    after = assessed(box)
    shared, provenance = after.pop("shared"), after.pop("provenance")
    assert isinstance(shared, dict)
    assert isinstance(provenance, dict)
    assert provenance["models"].pop("shared-rwanda-1") == json.loads(ran.stdout)["id"]
    assert after | {"provenance": provenance} == before
    first, second = shared["conditions"]
    assert (first["name"], second["name"]) == (MALARIA, PNEUMONIA)
    assert first["probability"] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.01)
    assert (shared["right"], shared["cases"], shared["sites"]) == (220, 300, 2)


def test_the_nurse_reads_what_it_knows_and_how_often_it_was_right(box: Path) -> None:
    adopt(box, student())
    said = " ".join(told(box, "assess", str(CASE)).stdout.split())
    assert "LEARNED BY THE BOXES OF rwanda TOGETHER: beside the advice, decides nothing" in said
    assert "Malaria, uncomplicated 73%, Bacterial pneumonia 27%" in said
    assert "knows 2 conditions only; before release 1 it was right on 220 of 300 cases from 2 sites" in said
    assert "; not reviewed by a clinician" in said
    french = " ".join(told(box, "assess", str(CASE), "--lang", "fr").stdout.split())
    assert "APPRIS ENSEMBLE PAR LES BOÎTIERS DE rwanda" in french


def test_who_knows_a_few_conditions_says_nothing_of_others(box: Path) -> None:
    adopt(box, student())
    case = str(EXAMPLES / "adult-cough.json")
    found = json.loads(told(box, "assess", case, "--json").stdout)
    first = found["differential"][0]["name"]
    assert first not in LEARNING.conditions
    assert (found["shared"]["conditions"], found["shared"]["unknown"]) == ([], first)
    assert f"no answer: it does not know {first}" in " ".join(told(box, "assess", case).stdout.split())


def test_it_goes_with_the_release_that_is_in_force(box: Path) -> None:
    adopt(box, student())
    adopt(box, student(number=2, bias=-1.0))
    assert in_use(box).release == 2
    (box / "older").write_bytes(student())
    assert told(box, "federate", "adopt", str(box / "older")).exit_code == 2
    assert in_use(box).release == 2
    told(box, "federate", "adopt", "--back")
    assert in_use(box).release == 1
    ran = told(box, "federate", "adopt", "--back", "--json")
    assert json.loads(ran.stdout)["in_force"] is False
    assert read_shared(box / FILE) is None
    assert "shared" not in assessed(box)
    assert told(box, "federate", "adopt", "--back").exit_code == 2


@pytest.mark.parametrize(
    "meaning",
    [b"", msgspec.structs.replace(LEARNING, conditions=(PNEUMONIA, MALARIA)).meaning],
    ids=["none", "swapped"],
)
def test_a_student_of_another_programme_is_not_asked(box: Path, meaning: bytes) -> None:
    adopt(box, student())
    ran = adopt(box, student(number=2, meaning=meaning))
    assert "expected one of programme 1, 2 conditions" in json.loads(ran.stdout)["in_use"]
    assert read_shared(box / FILE) is None


def test_a_programme_that_means_something_else_silences_the_student_of_the_old_one(box: Path) -> None:
    adopt(box, student())
    swapped = numbered(2, conditions=(PNEUMONIA, MALARIA))
    (box / "swapped.programme").write_bytes(swapped)
    told(box, "federate", "learn", "--outbox-only", "--programme", str(box / "swapped.programme"))
    assert read_shared(box / FILE) is None
    assert "shared" not in assessed(box)


def test_without_a_programme_nobody_knows_what_a_class_means(box: Path) -> None:
    (box / "federation-learning.bin").unlink()
    assert "a programme that this box knows" in adopt(box, student()).stdout
    assert read_shared(box / FILE) is None


@pytest.mark.parametrize("spoil", ["cut", "bit", "numbers", "huge", "words"])
def test_a_spoilt_file_costs_its_opinion_and_says_so(box: Path, spoil: str) -> None:
    adopt(box, student())
    data = (box / FILE).read_bytes()
    model = in_use(box)
    nan, huge = (np.full(NETWORK.dimension, value, "<f4").tobytes() for value in (np.nan, 3e38))
    spoilt = {
        "cut": data[:-7],
        "bit": data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
        "numbers": written(msgspec.structs.replace(model, numbers=nan)),
        "huge": written(msgspec.structs.replace(model, numbers=huge)),
        "words": b"no model",
    }
    (box / FILE).write_bytes(spoilt[spoil])
    with pytest.raises(ArtefactError, match="adopt it again"):
        read_shared(box / FILE)
    found = assessed(box)
    assert "shared" not in found
    assert "triage" in found
    assert isinstance(found["provenance"], dict)
    assert [one for one in found["provenance"]["guidelines"] if one.startswith("SHARED MODEL REFUSED")]
    assert "SHARED MODEL REFUSED" in told(box, "assess", str(CASE)).stdout


def test_it_sees_the_vector_that_boxes_trained_on(box: Path, terminology: Terminology) -> None:
    adopt(box, student())
    model = in_use(box)
    case = msgspec.json.decode(CASE.read_bytes(), type=Case)
    weights: Numbers = np.random.default_rng(1).normal(size=NETWORK.dimension).astype("<f4")
    other = msgspec.structs.replace(model, numbers=weights.tobytes())
    inputs = case_vector(case, (), (), (), terminology.ancestors)
    expected = LEARNING.conditions[NETWORK.answers(weights, inputs[None])[0]]
    ranking = Ranking((Candidate(MALARIA, 0.6),), 0.1, (), None, False, None, np.zeros(3))
    assert other.opinion(case, (), ranking, terminology.ancestors).conditions[0].name == expected
    for silent in (replace(ranking, abstained=True), replace(ranking, candidates=())):
        assert other.opinion(case, (), silent, terminology.ancestors).conditions == ()


@pytest.mark.enable_socket
def test_a_student_is_published_at_a_gateway_and_adopted_from_there(box: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    with closing(KeyStore(other / "coordinator" / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        coordinator, mine = keys.identity(), enrolment(keys.identity(), "second", "coordinator", 7)
        keys.believe(keys.registry(), "enrolment", mine)
    with closing(KeyStore(other / "north" / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        keys.believe(keys.registry(), "enrolment", enrolment(keys.identity(), "north", "gateway", 8))
        keys.believe(keys.registry(), "enrolment", mine)
        with closing(KeyStore(box / "keys.sqlite3", lambda: NOW)) as own:
            terminal = enrolment(own.identity(), "post 7", "terminal", 2)
            own.believe(own.registry(), "enrolment", mine)
        keys.believe(keys.registry(), "enrolment", terminal)
    file = tmp_path / "r.bin"
    file.write_bytes(student(signer=coordinator))
    with door(other / "north") as url:
        assert (
            "expected a gateway to which a student was published"
            in told(box, "federate", "adopt", url).stderr
        )
        ran = told(other / "coordinator", "federate", "publish", str(file), url)
        assert ran.exit_code == 0, ran.output
        ran = told(box, "federate", "adopt", url, "--json")
    assert json.loads(ran.stdout)["in_use"].startswith("asked in every consultation")
    assert in_use(box).release == 1


def test_the_log_of_a_box_that_keeps_records_says_first_who_adopted_which(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "morning passphrase")
    key = set_up(box, "morning passphrase", cost=Cost(8, 1, 1))
    adopt(box, student())
    first = in_use(box).id
    adopt(box, student(number=2, bias=-1.0))
    adopt(box, student(number=2, bias=-1.0))  # once more: nothing changes
    second = in_use(box).id
    (box / "older").write_bytes(student())
    assert told(box, "federate", "adopt", str(box / "older")).exit_code == 2
    told(box, "federate", "adopt", "--back")
    told(box, "federate", "adopt", "--back")
    with closing(Store(box, key, lambda: 1000 * NOW, read_only=True)) as store:
        said = [msgspec.json.decode(one.body or b"", type=Asked) for one in store.entries(kind=STUDENT)]
        by = {one.by for one in store.entries(kind=STUDENT)}
    assert [(one.number, one.id) for one in said] == [(1, first), (2, second), (1, first), (0, "")]
    assert by == {PASSPHRASE}
    assert {one.programme for one in said} == {"rwanda"}


def test_a_programme_that_has_another_student_asked_is_in_the_log_too(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "morning passphrase")
    key = set_up(box, "morning passphrase", cost=Cost(8, 1, 1))
    adopt(box, student())
    (box / "swapped").write_bytes(numbered(2, conditions=(PNEUMONIA, MALARIA)))
    for _ in range(2):  # there is no model to learn from, but the programme is taken
        assert (
            told(box, "federate", "learn", "--outbox-only", "--programme", str(box / "swapped")).exit_code
            == 2
        )
    assert read_shared(box / FILE) is None
    with closing(Store(box, key, lambda: 1000 * NOW, read_only=True)) as store:
        said = [msgspec.json.decode(one.body or b"", type=Asked) for one in store.entries(kind=STUDENT)]
    assert [one.number for one in said] == [1, 0]


def test_nothing_is_adopted_where_the_log_cannot_be_opened(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(box, "morning passphrase", cost=Cost(8, 1, 1))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "another passphrase")
    (box / "given.student").write_bytes(student())
    assert told(box, "federate", "adopt", str(box / "given.student")).exit_code == 2
    assert read_shared(box / FILE) is None
