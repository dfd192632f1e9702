"""Masked rounds: each clinic weights its own update, the server sees a sum, and a version comes of it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from akazuba.cli.federate import federate
from akazuba.errors import BudgetError, InputError, UntrustedError
from akazuba.federation import masked, stick as stick_files
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.coordinator import Coordinator
from akazuba.federation.folding import Folding, Rules
from akazuba.federation.optimisers import Optimiser
from akazuba.federation.sums import Arrived
from akazuba.federation.updates import ModelRelease, Numbers
from akazuba.federation.weights import Weights
from akazuba.privacy.accounting import Budget
from akazuba.privacy.aggregation.clinic import Terms
from akazuba.privacy.aggregation.messages import Upload
from akazuba.privacy.aggregation.rehearsal import Programme, programme
from akazuba.privacy.aggregation.ring import MODULUS, centred
from akazuba.privacy.aggregation.server import Round
from akazuba.privacy.keys.signed import read, sign, unwrap
from akazuba.privacy.ledger import Ledger, Release
from akazuba.privacy.noise import discrete_gaussian

CLINICS, DIMENSION = 5, 40
WEIGHTS = Weights(cap=100, alpha=0.5, half_life_s=1000.0, floor=0.02)


def now() -> int:
    return int(time.time())


def change(clinic: int) -> Numbers:
    return np.random.default_rng([4, clinic]).normal(0, 0.1, DIMENSION).astype(np.float32)


def rules() -> Rules:
    clip, optimiser = AdaptiveClip(1.0, rate=0.0), Optimiser("momentum", 1.0, 0.0)
    return Rules(CLINICS, WEIGHTS, clip, optimiser, adaptive=False)


@dataclass
class Stick:
    """A round on its way: the programme, the coordinator's file and the folder that travels."""

    made: Programme
    coordinator: Coordinator
    folder: Path

    def begun(self, noise: float = 1.0, least: int = CLINICS) -> None:
        masked.begin(
            self.folder, self.made.coordinator, self.coordinator.release(), os.urandom(16), now() + 600
        )
        for steward in self.made.mask_stewards:
            masked.announce(self.folder, steward, steward._identity.public.key_id, self.made.registry, now())
        masked.plan(
            self.folder,
            self.made.coordinator,
            self.made.registry,
            now(),
            least=least,
            most=CLINICS,
            threshold=2,
            noise_multiplier=noise,
        )

    def given(self, clinic: int) -> Release:
        checked, release = masked.planned(self.folder, self.made.registry, now(), Terms(2, 0.0, 1, 1))
        with Ledger(self.made.folder / f"clinic {clinic}") as ledger:
            if not ledger.spends():
                ledger.set_budget(Budget(50.0, 1e-6, "test", "six clinics cannot hide one for little"))
            identity, random = self.made.clinics[clinic], np.random.default_rng(clinic).bytes
            args = (change(clinic), 30 * (clinic + 1), random)
            return masked.give(self.folder, ledger, identity, checked, release, *args)

    def server(self) -> Round:
        return masked.server(self.folder, self.made.folder, self.made.coordinator, self.made.registry, now)

    def shared(self) -> None:
        for steward in self.made.mask_stewards[:2]:
            masked.share(self.folder, steward, steward._identity.public.key_id, self.made.registry, now())


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Stick]:
    made = programme(tmp_path, CLINICS, 3, now)
    start = np.zeros(DIMENSION, np.float32)
    path = tmp_path / "coordinator"
    with closing(Coordinator(path, rules(), start, made.coordinator, made.registry, now, os.urandom)) as one:
        folder = tmp_path / "stick"
        folder.mkdir()
        yield Stick(made, one, folder)
    made.close()


def test_a_masked_sum_is_that_of_the_weighted_updates_number_for_number(stick: Stick) -> None:
    stick.begun()
    checked, _ = masked.planned(stick.folder, stick.made.registry, now())
    coding, sigma = checked.plan.coding, checked.plan.sigma
    wanted = np.zeros(coding.padded, np.int64)
    for clinic in range(CLINICS):
        first, again = stick.given(clinic), stick.given(clinic)
        assert (first.document, first.first, again.first) == (again.document, True, False)
        source = np.random.default_rng(clinic).bytes
        weighted = change(clinic) * np.float32(min(1.0, 30 * (clinic + 1) / 100))
        wanted += coding.encoded(weighted, source) + discrete_gaussian(sigma, coding.padded, source)
    registry, coordinator = stick.made.registry, stick.coordinator
    with closing(stick.server()) as server:
        assert masked.close(stick.folder, server, registry, now()) == (CLINICS, [])
        with pytest.raises(UntrustedError):
            masked.opened(stick.folder, server, coordinator, registry, now())  # no steward has answered
        stick.shared()
        total, version = masked.opened(stick.folder, server, coordinator, registry, now())
        assert np.array_equal(total.whole, centred(wanted % MODULUS))
        assert version == coordinator.folding.version == 1
        assert coordinator.folding.model == pytest.approx(total.update / CLINICS, rel=1e-5)
        again = masked.opened(stick.folder, server, coordinator, registry, now())
        assert (again[1], coordinator.folding.version) == (1, 1)  # once
    start = np.zeros(DIMENSION, np.float32)
    path, identity = stick.made.folder / "coordinator", stick.made.coordinator
    with closing(Coordinator(path, rules(), start, identity, registry, now, os.urandom)) as again_:
        assert np.array_equal(again_.folding.model, coordinator.folding.model)


def test_fewer_than_the_plans_least_are_not_summed_and_more_may_come(stick: Stick) -> None:
    stick.begun(least=3)
    for clinic in range(2):
        stick.given(clinic)
    with closing(stick.server()) as server:
        with pytest.raises(UntrustedError, match="3 clinics or more, found 2"):
            masked.close(stick.folder, server, stick.made.registry, now())
        stick.given(2)
        assert masked.close(stick.folder, server, stick.made.registry, now())[0] == 3


def test_a_round_is_of_one_base_version(stick: Stick) -> None:
    stick.begun()
    stick.given(0)
    kept = stick.folder / stick_files.FOLDER / masked.RELEASE
    first = kept.read_bytes()
    release = read(unwrap(first, "model-release").payload, "model-release", ModelRelease)
    for changed in (
        msgspec.structs.replace(release, version=1),
        msgspec.structs.replace(release, numbers=np.ones(DIMENSION, "<f4").tobytes()),
    ):
        kept.write_bytes(sign(stick.made.coordinator, "model-release", changed))
        with pytest.raises(UntrustedError, match="masked round"):
            stick.given(1)
    kept.write_bytes(first)
    for clinic in range(1, CLINICS):
        stick.given(clinic)
    with closing(stick.server()) as server:
        masked.close(stick.folder, server, stick.made.registry, now())
        stick.shared()
        stick.coordinator.adopt(np.ones(DIMENSION, np.float32), 5, "another round")
        with pytest.raises(InputError, match="version 1, the newest, found version 0"):
            masked.opened(stick.folder, server, stick.coordinator, stick.made.registry, now())


def test_an_upload_that_a_steward_cannot_open_is_left_out_with_a_reason(stick: Stick) -> None:
    stick.begun(least=3)
    for clinic in range(4):
        stick.given(clinic)
    uploads = sorted((stick.folder / stick_files.FOLDER).glob(f"*{masked.UPLOAD}"))
    uploads[0].write_bytes(b"nonsense")
    bent = msgspec.msgpack.decode(uploads[1].read_bytes(), type=Upload)
    boxes = (bent.boxes[1], bent.boxes[0], *bent.boxes[2:])
    uploads[1].write_bytes(msgspec.msgpack.encode(Upload(bent.contribution, bent.body, boxes)))
    registry = stick.made.registry
    bad = [masked.look(stick.folder, s, s._identity, registry, now()) for s in stick.made.mask_stewards]
    assert sorted(bad) == [0, 1, 1]  # two of three boxes are changed over
    with closing(stick.server()) as server, pytest.raises(UntrustedError, match="found 2"):
        masked.close(stick.folder, server, registry, now())
    stick.given(4)
    with closing(stick.server()) as server:
        number, refused = masked.close(stick.folder, server, registry, now())
        assert (number, len(refused) >= 3) == (3, True)
        stick.shared()
        assert masked.opened(stick.folder, server, stick.coordinator, registry, now())[0].clinics == 3


def test_a_round_begins_once_and_only_without_central_noise(stick: Stick) -> None:
    stick.begun()
    with pytest.raises(InputError, match="without a masked round"):
        stick.begun()
    release = read(
        unwrap(stick.coordinator.release(), "model-release").payload, "model-release", ModelRelease
    )
    noisy = sign(stick.made.coordinator, "model-release", msgspec.structs.replace(release, grid=0.1))
    with pytest.raises(InputError, match="central noise"):
        masked.begin(stick.made.folder / "other", stick.made.coordinator, noisy, bytes(16), now() + 600)


def test_a_round_with_next_to_no_noise_is_more_than_a_clinic_spends(stick: Stick) -> None:
    stick.begun(noise=0.02)
    with pytest.raises(BudgetError):
        stick.given(0)
    with Ledger(stick.made.folder / "clinic 0") as ledger:
        assert len(ledger.refusals()) == 1


def test_a_masked_sum_waits_for_an_empty_buffer_and_fits_the_model() -> None:
    folding = Folding(rules(), np.zeros(3, np.float32), os.urandom)
    with pytest.raises(InputError, match="numbers of one clinic"):
        folding.adopt(np.zeros(4, np.float32), 6, "round", 0.0)
    folding.take(Arrived("a", "a", 5, 0, 0.0, np.ones(3, np.float32)), 0.0)
    with pytest.raises(InputError, match="an empty buffer"):
        folding.adopt(np.zeros(3, np.float32), 6, "round", 0.0)


def test_a_masked_round_by_commands(tmp_path: Path) -> None:
    def box(name: str, *arguments: str) -> str:
        done = CliRunner(env={"AKAZUBA_HOME": str(tmp_path / name)}).invoke(federate, list(arguments))
        assert done.exit_code == 0, (arguments, done.output)
        return done.output

    root, stick, enrolments = str(tmp_path / "root"), tmp_path / "usb", list[str]()
    stick.mkdir()
    box("authority", "request", "authority", "--out", root)
    roles = {"coordinator": "coordinator", "steward": "mask-steward", "a": "terminal", "b": "terminal"}
    for name, role in roles.items():
        asked, enrolments = str(tmp_path / f"{name}.asked"), [*enrolments, str(tmp_path / f"{name}.given")]
        box(name, "request", role, "--name", name, "--root", root, "--out", asked)
        box("authority", "enrol", asked, "--out", enrolments[-1])
    for name in roles:
        box(name, "believe", *enrolments)
    network, at = ("--features", "3"), str(stick)
    box("coordinator", "masked", "begin", at, *network)
    box("steward", "masked", "key", at)
    said = box("coordinator", "masked", "plan", at, "--least", "2", "--threshold", "1", "--noise", "3")
    assert "version 0" in said
    for seed, name in enumerate("ab"):
        inputs = np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32)
        may = np.ones(40, bool)
        labels = (inputs[:, 0] > 0).astype(np.int64)
        np.savez(tmp_path / "cases.npz", inputs=inputs, labels=labels, confirmed=may, consented=may)
        with Ledger(tmp_path / name) as ledger:
            ledger.set_budget(Budget(50.0, 1e-6, "test", "two clinics cannot hide one for little"))
        terms = ("--least", "2", "--stewards", "1", "--threshold", "1")
        said = box(name, "masked", "give", at, "--cases", str(tmp_path / "cases.npz"), *network, *terms)
        assert "40 cases used" in said
    assert "here: 0" in box("steward", "masked", "look", at)
    assert "in the sum: 2 clinics" in box("coordinator", "masked", "close", at)
    box("steward", "masked", "share", at, "--least", "2")
    said = box("coordinator", "masked", "open", at, *network, "--out", str(tmp_path / "model"))
    assert "version 1: the sum of 2 clinics" in said
    assert (tmp_path / "model").stat().st_size > 32
