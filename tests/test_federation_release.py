"""A release of the student: taught, quantised, held against the one in force, signed, adopted, given back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_federation_student import EVALUATION, LESSON, MODEL, TEACHER, TRANSFER, npz, verdict

from akazuba.cli.federate import federate
from akazuba.diagnosis.network import Network
from akazuba.diagnosis.shared_model import FILE as SHARED, read_shared
from akazuba.errors import ArtefactError, BudgetError, InputError, UntrustedError
from akazuba.federation.accounts import Accounts, epsilon_of
from akazuba.federation.coordinator import FILE as COORDINATOR_FILE, Coordinator, partial
from akazuba.federation.folding import Rules
from akazuba.federation.learning import KIND as PROGRAMME, Learning, in_force
from akazuba.federation.release import (
    FILE,
    KIND,
    Held,
    Releases,
    Source,
    StudentRelease,
    Teacher,
    checked,
    source,
    tried,
)
from akazuba.federation.release_student import Int8, quantised
from akazuba.federation.sums import Arrived, Sum
from akazuba.federation.updates import ModelRelease, Numbers
from akazuba.privacy.accounting import Budget
from akazuba.privacy.keys.enrolment import Role, enrol, request, requested, revoke
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import believed, sign
from akazuba.privacy.keys.store import KeyStore

NOW, DAY = 1_790_000_000, 86_400
AUTHORITY, COORDINATOR, SECOND, POST, GATEWAY = (new_identity(os.urandom) for _ in range(5))


def taught_by(model: Numbers, old: Any = None, number: int = 1) -> StudentRelease:
    said = Teacher(3, bytes(32), TEACHER.dimension, bytes(32))
    made = Source(TEACHER, (model,), said)
    return tried(made, 0, TRANSFER, EVALUATION, LESSON, old, "rwanda", number, NOW)


GOOD = taught_by(MODEL)


def believe(registry: Registry, identity: Identity, name: str, role: Role, serial: int) -> None:
    asked = requested(request(identity, "rwanda", name, role, NOW - DAY), "rwanda", NOW - DAY)
    registry.believe(enrol(AUTHORITY, "rwanda", asked, serial, NOW - DAY), NOW - DAY)


@pytest.fixture
def registry() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    roles: list[tuple[Identity, str, Role]] = [
        (COORDINATOR, "coordinator", "coordinator"),
        (SECOND, "second coordinator", "coordinator"),
        (POST, "post", "terminal"),
        (GATEWAY, "north", "gateway"),
    ]
    for serial, (identity, name, role) in enumerate(roles, 1):
        believe(made, identity, name, role, serial)
    return made


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[Releases]:
    with closing(Releases(tmp_path / FILE, lambda: NOW)) as opened:
        yield opened


def signed(number: int = 1, by: Identity = COORDINATOR, **changes: Any) -> bytes:
    said = {"verdict": msgspec.structs.replace(GOOD.verdict, first=number < 2), "number": number, **changes}
    return sign(by, KIND, msgspec.structs.replace(GOOD, **said))


def test_a_poisoned_teachers_student_is_refused(releases: Releases, registry: Registry) -> None:
    held = releases.publish(COORDINATOR, registry, GOOD)
    turned = MODEL.copy()
    for part in TEACHER.parts(turned)[-2:]:
        np.negative(part, out=part)
    spoilt = taught_by(turned, held, 2)
    assert {reason.split()[0] for reason in spoilt.verdict.refusals()} == {"overall", "a", "b"}
    assert (spoilt.replaces, spoilt.verdict.overall.before) == (held.id, GOOD.verdict.overall.after)
    with pytest.raises(InputError, match="gate that passed"):
        releases.publish(COORDINATOR, registry, spoilt)
    assert releases.in_force() == held


def test_a_release_is_adopted_and_answers_as_the_publisher_measured(
    releases: Releases, registry: Registry
) -> None:
    held = releases.adopt(signed(), registry)
    assert releases.in_force() == held
    right = sum(int((held.release.answers(c.inputs) == c.labels).sum()) for c in EVALUATION.sites.values())
    assert right == GOOD.verdict.overall.after
    assert releases.adopt(signed(), registry) == held  # signed anew: the same content


def test_only_newer_ones_are_adopted_and_back_returns_to_the_one_before(
    releases: Releases, registry: Registry
) -> None:
    for number in (1, 2, 4):
        releases.adopt(signed(number), registry)
    with pytest.raises(UntrustedError, match="after 4"):
        releases.adopt(signed(3), registry)
    with pytest.raises(UntrustedError, match="after 4"):
        releases.adopt(signed(4, published=NOW - 5), registry)  # another under the same number
    assert number_of(releases.back(registry)) == number_of(releases.in_force()) == 2
    assert releases.next_number() == 5
    assert releases.adopt(signed(4), registry).release.number == 4  # on purpose, from its file
    assert number_of(releases.back(registry)) == 2
    assert number_of(releases.back(registry)) == number_of(releases.in_force()) == 0  # 1 was let go
    with pytest.raises(InputError, match="a release in force"):
        releases.back(registry)


def number_of(held: Held | None) -> int:
    return held.release.number if held else 0


def test_a_release_held_against_nothing_is_refused_where_there_is_something(
    releases: Releases, registry: Registry
) -> None:
    releases.adopt(signed(1), registry)
    with pytest.raises(UntrustedError, match="held against none"):
        releases.adopt(signed(2, verdict=GOOD.verdict), registry)
    assert taught_by(MODEL, releases.in_force(), 2).verdict.first is False


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"by": POST}, "coordinator"),
        ({"by": GATEWAY}, "coordinator"),
        ({"by": AUTHORITY}, "enrolled"),
        ({"programme": "other"}, "one of programme rwanda"),
        ({"published": NOW + 3 * DAY}, "published before"),
        ({"verdict": verdict(a=(100, 80, 70))}, "gate passed"),
        ({"verdict": msgspec.structs.replace(verdict(a=(100, 80, 80)), first=True)}, "gate passed"),
        ({"hidden": 1}, "bytes of weights"),
        ({"features": 0}, "features"),
        ({"features": 7}, "bytes of weights"),
        ({"student": Int8(GOOD.student.codes, GOOD.student.scales, b"\xff" * 8)}, "finite"),
        ({"student": Int8(b"", b"", b"")}, "bytes of weights"),
        ({"teacher": Teacher(3, bytes(32), 100, bytes(32))}, "a tenth"),
        ({"number": 0}, "version 1"),
        ({"replaces": "x"}, "version 1"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_a_release_that_cannot_be_is_refused(
    releases: Releases, registry: Registry, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(UntrustedError, match=match):
        releases.adopt(signed(**changes), registry)
    assert releases.in_force() is None


def test_no_altered_byte_is_adopted(registry: Registry) -> None:
    data = signed()
    random = np.random.default_rng(1)
    for place in [0, len(data) - 1, *random.integers(0, len(data), 60).tolist()]:
        altered = bytearray(data)
        altered[place] ^= 1 << int(random.integers(0, 8))
        with pytest.raises(UntrustedError):
            checked(bytes(altered), registry, NOW)
    for cut in (b"", data[:-1], data + b"\0"):
        with pytest.raises(UntrustedError):
            checked(cut, registry, NOW)


def test_a_revoked_coordinators_release_is_neither_adopted_nor_returned_to(
    releases: Releases, registry: Registry
) -> None:
    releases.adopt(signed(1, by=SECOND), registry)
    newer = releases.adopt(signed(2), registry)
    gone = revoke(AUTHORITY, "rwanda", 1, {SECOND.public.key_id: "stolen"}, NOW, 30 * DAY)
    registry.believe_revocations(gone, NOW)
    with pytest.raises(UntrustedError, match="revoked"):
        releases.adopt(signed(3, by=SECOND), registry)
    with pytest.raises(UntrustedError, match="revoked"):
        releases.back(registry)
    assert releases.in_force() == newer


def test_another_shape_is_refused_unless_the_box_says_that_its_encoder_has_it(
    releases: Releases, registry: Registry
) -> None:
    releases.adopt(signed(1), registry)
    network = Network(7)
    student = quantised(network, network.start(0))
    with pytest.raises(InputError, match="6 features, 2 classes"):
        releases.adopt(signed(2, features=7, student=student), registry)
    with pytest.raises(InputError, match="8 features"):
        releases.adopt(signed(2, features=7, student=student), registry, 8)
    other = releases.adopt(signed(2, features=7, student=student, verdict=GOOD.verdict), registry, 7)
    assert other.release.features == 7
    assert taught_by(MODEL, other, 3).verdict.first  # of other inputs: there is nothing to hold it against


KILLED = """
import os, signal, sys
from pathlib import Path
from akazuba.federation.release import Releases
from akazuba.privacy.keys.store import KeyStore

home, at = Path(sys.argv[1]), int(sys.argv[3])
calls = 0

def now():
    global calls
    calls += 1
    if calls == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return at

keys = KeyStore(home / "keys.sqlite3", lambda: at)
Releases(home / "students.sqlite3", now).adopt(Path(sys.argv[2]).read_bytes(), keys.registry())
print("adopted")
"""


def test_killed_between_its_writing_and_its_end_an_adoption_did_not_happen(
    tmp_path: Path, registry: Registry
) -> None:
    path, release = tmp_path / FILE, tmp_path / "release.bin"
    with closing(KeyStore(tmp_path / "keys.sqlite3", lambda: NOW)) as keys:
        keys.join("rwanda", AUTHORITY.public)
        asked = requested(
            request(COORDINATOR, "rwanda", "coordinator", "coordinator", NOW - DAY), "rwanda", NOW - DAY
        )
        keys.believe(keys.registry(), "enrolment", enrol(AUTHORITY, "rwanda", asked, 1, NOW - DAY))
    with closing(Releases(path, lambda: NOW)) as opened:
        first = opened.adopt(signed(1), registry)
    release.write_bytes(signed(2))

    def run(calls: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(release), str(NOW), str(calls)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run(2).returncode == -signal.SIGKILL  # inside the transaction
    with closing(Releases(path, lambda: NOW)) as opened:
        assert opened.in_force() == first
    done = run(0)
    assert done.stdout == "adopted\n", done.stderr
    with closing(Releases(path, lambda: NOW)) as opened:
        force = opened.in_force()
        assert force is not None
        assert force.release.number == 2
        assert opened.back(registry) == first


def coordinator(
    path: Path, registry: Registry, noise: float = 0.0, model: Numbers = MODEL
) -> tuple[Coordinator, Accounts | None]:
    accounts = Accounts(Budget(8.0, 1e-6)) if noise else None
    rules = Rules(buffer=2, noise_multiplier=noise, adaptive=not noise)
    return Coordinator(path, rules, model, COORDINATOR, registry, lambda: NOW, os.urandom, accounts), accounts


def one_version(made: Coordinator) -> None:
    total = Sum(made.folding.terms())
    for name in ("1", "2"):
        values = np.full(TEACHER.dimension, 1e-4, np.float32)
        total.add(Arrived(name * 64, name, 50, made.folding.version, NOW - 60, values), NOW)
    assert made.take(partial(GATEWAY, "rwanda", total)).made is not None


def test_a_release_says_which_version_and_which_ledger_taught_it(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / COORDINATOR_FILE
    made, _ = coordinator(path, registry)
    with closing(made):
        before = source(path, registry, NOW, TEACHER, [], 1e-6)
        one_version(made)
        after = source(path, registry, NOW, TEACHER, [MODEL], 1e-6)
        assert after.models[0].tobytes() == made.folding.model.astype("<f4").tobytes()
    assert (before.teacher.version, after.teacher.version) == (0, 1)
    assert before.teacher.ledger != after.teacher.ledger
    assert (after.teacher.epsilon, after.teacher.delta, len(after.teacher.gateways)) == (None, None, 1)
    assert source(path, registry, NOW, TEACHER, [MODEL], 1e-6).teacher == after.teacher


def test_a_release_says_what_privacy_its_teacher_cost_and_takes_no_model_without_noise(
    tmp_path: Path, registry: Registry
) -> None:
    path = tmp_path / COORDINATOR_FILE
    made, accounts = coordinator(path, registry, noise=2.0)
    with closing(made):
        assert source(path, registry, NOW, TEACHER, [], 1e-5).teacher.epsilon == 0
        with pytest.raises(BudgetError, match="noise"):
            source(path, registry, NOW, TEACHER, [MODEL], 1e-5)
        one_version(made)
        found = source(path, registry, NOW, TEACHER, [], 1e-5)
    assert accounts is not None
    assert found.teacher.epsilon == pytest.approx(epsilon_of(0.5, 1e-5))
    assert found.teacher.delta == 1e-5
    with pytest.raises(BudgetError, match="noise"):
        source(path, registry, NOW, TEACHER, [MODEL], 1e-5)


def test_a_coordinators_file_that_is_none_is_refused(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InputError, match="none"):
        source(tmp_path / "none", registry, NOW, TEACHER, [], 1e-6)
    (tmp_path / "torn").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(ArtefactError):
        source(tmp_path / "torn", registry, NOW, TEACHER, [], 1e-6)
    made, _ = coordinator(tmp_path / "right", registry)
    made.close()
    with pytest.raises(InputError, match=f"{Network(5, 2, 40).dimension} numbers"):
        source(tmp_path / "right", registry, NOW, Network(5, 2, 40), [], 1e-6)


def box(home: Path, *arguments: str) -> Result:
    done = CliRunner(env={"AKAZUBA_HOME": str(home)}).invoke(federate, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def wall() -> int:
    return int(time.time())


@pytest.fixture
def programme(tmp_path: Path) -> Path:
    root, enrolments = tmp_path / "root.key", []
    box(tmp_path / "authority", "request", "authority", "--out", str(root))
    for name, role in (("coordinator", "coordinator"), ("post", "terminal")):
        asked, done = tmp_path / f"{name}.request", tmp_path / f"{name}.enrolment"
        box(tmp_path / name, "request", role, "--name", name, "--root", str(root), "--out", str(asked))
        box(tmp_path / "authority", "enrol", str(asked), "--out", str(done))
        enrolments.append(str(done))
    for name in ("coordinator", "post"):
        assert box(tmp_path / name, "believe", *enrolments).exit_code == 0
    npz(tmp_path / "t.npz", inputs=TRANSFER.inputs)
    for name, site in EVALUATION.sites.items():
        npz(tmp_path / f"{name}.npz", inputs=site.inputs, labels=site.labels)
    return tmp_path


def opened_coordinator(home: Path, model: Numbers, meaning: bytes = b"") -> Coordinator:
    with closing(KeyStore(home / "keys.sqlite3", wall)) as keys:
        own, registry = keys.identity(), keys.registry()
    file, rules = home / COORDINATOR_FILE, Rules(buffer=2)
    return Coordinator(file, rules, model, own, registry, wall, os.urandom, meaning=meaning)


def coordinators_file(programme: Path, model: Numbers, meaning: bytes = b"") -> None:
    home = programme / "coordinator"
    (home / COORDINATOR_FILE).unlink(missing_ok=True)
    opened_coordinator(home, model, meaning).close()


def test_a_coordinator_that_was_named_once_names_each_version_and_takes_no_other_programme(
    programme: Path,
) -> None:
    home, named, total = programme / "coordinator", bytes([1] * 32), np.zeros(len(MODEL), np.float32)

    def newest(made: Coordinator) -> bytes:
        return believed(made.release(), "model-release", ModelRelease).meaning

    coordinators_file(programme, MODEL)
    with closing(opened_coordinator(home, MODEL, named)) as made:
        assert newest(made) == b""  # it was published before
    with closing(opened_coordinator(home, MODEL)) as made:
        made.adopt(total, 1, "a round")
        assert newest(made) == named
    with pytest.raises(ArtefactError, match="a model of this programme, found one of another"):
        opened_coordinator(home, MODEL, bytes([2] * 32))


def released(programme: Path, *more: str) -> Result:
    files = ["--transfer", str(programme / "t.npz"), "--evaluation", str(programme / "a.npz")]
    files += ["--evaluation", str(programme / "b.npz"), "--out", str(programme / "release.bin")]
    sizes = ["--features", "6", "--hidden", "40", "--steps", "200"]
    return box(programme / "coordinator", "release", *sizes, *files, *more)


def test_a_release_goes_from_the_coordinators_file_to_a_terminals_answer(programme: Path) -> None:
    coordinators_file(programme, MODEL)
    done = released(programme, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["published"], said["number"], said["cases"]) == (True, 1, 300)
    assert said["student_bytes_float32"] * 10 <= said["teacher_bytes"]
    assert said["student_bytes_shipped"] < said["student_bytes_float32"]
    post, file = programme / "post", str(programme / "release.bin")
    npz(programme / "own.npz", inputs=np.eye(6)[:2] * [[3], [-3]])
    asked = ("predict", str(programme / "own.npz"))
    assert "that was adopted" in box(post, *asked).output
    adopted = box(post, "adopt", file, "--json")
    assert json.loads(adopted.stdout)["id"] == said["id"]
    chances = json.loads(box(post, *asked, "--json").stdout)["chances"]
    assert [np.argmax(row) for row in chances] == [1, 0]
    assert "class 1" in box(post, *asked).output
    assert box(post, "adopt", "--back").exit_code == 0
    assert "that was adopted" in box(post, *asked).output
    assert box(post, "adopt").exit_code == 2
    assert box(post, "adopt", file, "--back").exit_code == 2


def test_a_release_of_a_programme_is_asked_where_that_programme_is_known(programme: Path) -> None:
    learning = Learning("akazuba", 1, ("Cholera", "Dengue"))
    network, drawn = Network(112, 2, 20), np.random.default_rng(3)
    inputs = drawn.normal(size=(300, 112)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    model = network.trained(network.start(1), inputs, labels, steps=150, rate=0.5, decay=0.0)
    npz(programme / "wide.npz", inputs=inputs)
    npz(programme / "c.npz", inputs=inputs, labels=labels)
    with closing(KeyStore(programme / "coordinator" / "keys.sqlite3", wall)) as keys:
        signed_ = sign(keys.identity(), PROGRAMME, learning)
    file = programme / "learn.programme"
    file.write_bytes(signed_)
    coordinators_file(programme, MODEL)
    assert "expected 6 features" in released(programme, "--programme", str(file)).stderr
    coordinators_file(programme, model, bytes(32))
    files = ("--transfer", str(programme / "wide.npz"), "--evaluation", str(programme / "c.npz"))
    sizes = ("--features", "112", "--hidden", "20", "--steps", "300", "--out", str(programme / "r.bin"))
    other = box(programme / "coordinator", "release", *files, *sizes, "--programme", str(file))
    assert "model 0: expected one of programme 1, 2 conditions, found one of another" in other.output
    coordinators_file(programme, model)
    unnamed = box(programme / "coordinator", "release", *files, *sizes)
    assert "number: 1" in unnamed.output
    coordinators_file(programme, model, learning.meaning)  # which the release takes from there
    done = box(programme / "coordinator", "release", *files, *sizes)
    assert "number: 2" in done.output  # the same student and teacher, but now it is known what they mean
    post, given = programme / "post", str(programme / "r.bin")
    assert "a programme that this box knows" in box(post, "adopt", given).output
    with closing(KeyStore(post / "keys.sqlite3", wall)) as keys:
        in_force(post, signed_, keys.registry(), wall())
    assert "asked in every consultation" in box(post, "adopt", given).output
    assert (asked := read_shared(post / SHARED)) is not None
    assert (asked.conditions, asked.right > 250) == (("Cholera", "Dengue"), True)


def test_what_the_gate_refuses_leaves_no_file_and_says_by_how_much(programme: Path) -> None:
    coordinators_file(programme, MODEL)
    assert released(programme).exit_code == 0
    (programme / "release.bin").unlink()
    coordinators_file(programme, -MODEL)
    done = released(programme, "--json")
    assert done.exit_code == 1
    assert "error: not published: overall -" in done.stderr
    assert json.loads(done.stdout)["published"] is False
    assert not (programme / "release.bin").exists()
    missing = box(
        programme / "coordinator",
        *["release", "--features", "6", "--hidden", "40", "--transfer", str(programme / "t.npz")],
        *["--evaluation", str(programme / "a.npz"), "--out", str(programme / "release.bin")],
    )
    assert (missing.exit_code, "none of b" in missing.output) == (2, True)


def test_a_release_that_was_kept_and_not_written_is_written_again_as_it_was(
    programme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinators_file(programme, MODEL)

    def no_room(path: Path, data: bytes) -> None:
        raise ArtefactError(str(path), "room", "none")

    with monkeypatch.context() as patched:
        patched.setattr("akazuba.federation.stick.put", no_room)
        assert released(programme).exit_code == 2
    assert not (programme / "release.bin").exists()
    with closing(Releases(programme / "coordinator" / FILE, wall)) as opened:
        kept = opened.in_force()
    assert kept is not None
    assert released(programme).exit_code == 0
    assert (programme / "release.bin").read_bytes() == kept.data
    assert kept.release.number == 1


def test_only_a_coordinator_releases(programme: Path) -> None:
    sizes = ["--features", "6", "--hidden", "40"]
    files = ["--transfer", str(programme / "t.npz"), "--evaluation", str(programme / "a.npz")]
    done = box(programme / "post", "release", *sizes, *files, "--out", str(programme / "r"))
    assert (done.exit_code, "coordinator" in done.output) == (2, True)


def test_the_content_address_is_of_signer_and_content() -> None:
    registry = Registry("rwanda", AUTHORITY.public)
    believe(registry, COORDINATOR, "coordinator", "coordinator", 1)
    believe(registry, SECOND, "second", "coordinator", 2)
    ids = {checked(signed(by=by), registry, NOW).id for by in (COORDINATOR, COORDINATOR, SECOND)}
    assert len(ids) == 2
