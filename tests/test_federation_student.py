"""The student of a release, the gate before it, and the files it is made from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from akazuba.diagnosis.network import Network
from akazuba.errors import InputError
from akazuba.federation.release_files import Evaluation, Inputs, evaluation, gateway_model, inputs
from akazuba.federation.release_gate import Site, Verdict, gate
from akazuba.federation.release_student import Int8, Lesson, dequantised, distilled, quantised
from akazuba.federation.updates import Numbers
from akazuba.federation.worlds import HEART, Cases, heart

TEACHER, LESSON = Network(6, 2, 40), Lesson(steps=200)


def cases(seed: int, number: int, shift: float = 0.0) -> Cases:
    random = np.random.default_rng(seed)
    drawn = random.normal(shift, 1, (number, TEACHER.features)).astype(np.float32)
    return Cases(drawn, (drawn[:, 0] + drawn[:, 1] > 0).astype(np.int64))


def teacher_model() -> Numbers:
    start, own = TEACHER.start(1), cases(1, 400)
    return TEACHER.trained(start, own.inputs, own.labels, steps=150, rate=0.5)


MODEL = teacher_model()
TRANSFER = Inputs(cases(2, 500).inputs, bytes(32))
EVALUATION = Evaluation({"a": cases(3, 200), "b": cases(4, 100, 0.3)}, bytes(32))


def test_a_student_of_a_tenth_answers_as_its_teacher_does() -> None:
    fresh = cases(9, 1000)
    student = Network(6)
    model = distilled(TEACHER, [MODEL], student, TRANSFER.inputs, LESSON)
    agree = TEACHER.scores(MODEL, fresh.inputs).argmax(1) == student.scores(model, fresh.inputs).argmax(1)
    assert student.dimension * 10 <= TEACHER.dimension
    assert agree.mean() > 0.95


def test_it_learns_the_teachers_chances_and_not_only_its_classes() -> None:
    soft = MODEL * np.float32(0.5)  # the same classes nearly everywhere, far less sure
    student, fresh = Network(6), cases(9, 500).inputs

    def spread(model: Numbers) -> float:
        taught = distilled(TEACHER, [model], student, TRANSFER.inputs, LESSON)
        return float(np.ptp(student.scores(taught, fresh), axis=1).mean())

    def of_teacher(model: Numbers) -> float:
        return float(np.ptp(TEACHER.scores(model, fresh), axis=1).mean())

    assert spread(MODEL) == pytest.approx(of_teacher(MODEL), rel=0.35)
    assert spread(soft) == pytest.approx(of_teacher(soft), rel=0.35)


def test_from_the_same_seed_come_the_same_bits_and_gateways_models_count() -> None:
    student = Network(6)
    once, twice = (distilled(TEACHER, [MODEL], student, TRANSFER.inputs, LESSON) for _ in range(2))
    assert once.tobytes() == twice.tobytes()
    opposite = MODEL.copy()
    for part in TEACHER.parts(opposite)[-2:]:
        np.negative(part, out=part)
    cancelled = distilled(TEACHER, [MODEL, opposite], student, TRANSFER.inputs, LESSON)
    assert np.abs(cancelled).max() < 0.1 * np.abs(once).max()


@pytest.mark.parametrize("student", [Network(6, 2, 4), Network(6, 2, 40), Network(5), Network(6, 3)], ids=str)
def test_a_student_that_is_too_large_or_of_another_kind_is_refused(student: Network) -> None:
    with pytest.raises(InputError, match="student"):
        distilled(TEACHER, [MODEL], student, TRANSFER.inputs, LESSON)


@given(st.integers(0, 6), st.integers(0, 2**20), st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_int8_is_off_by_half_a_step_of_its_unit_and_reads_the_same_everywhere(
    hidden: int, seed: int, size: float
) -> None:
    network = Network(5, 3, hidden)
    model = np.random.default_rng(seed).normal(0, size, network.dimension).astype(np.float32)
    coded = quantised(network, model)
    again = dequantised(network, msgspec.msgpack.decode(msgspec.msgpack.encode(coded), type=Int8))
    for before, after in zip(network.parts(model)[::2], network.parts(again)[::2], strict=True):
        assert (np.abs(before - after) <= np.abs(before).max(0) / 254 * 1.001).all()
    for before, after in zip(network.parts(model)[1::2], network.parts(again)[1::2], strict=True):
        assert (before == after).all()
    units = hidden + 3
    assert coded.size == network.dimension - units + 8 * units


def test_weights_of_zero_stay_zero() -> None:
    network = Network(4)
    assert not dequantised(network, quantised(network, network.start(0))).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_neither_coded_nor_read(value: float) -> None:
    network = Network(3)
    model = network.start(0)
    model[1] = value
    with pytest.raises(InputError, match="finite"):
        quantised(network, model)
    whole = quantised(network, network.start(0))
    spoilt = msgspec.structs.replace(whole, biases=np.array([value, 0], "<f4").tobytes())
    with pytest.raises(InputError, match="finite"):
        dequantised(network, spoilt)


def test_four_hospitals_student_is_as_good_as_its_teacher_within_four_points() -> None:
    data = Path(__file__).parents[2] / "shared" / "data"
    if not (data / HEART).is_dir():
        pytest.skip("the four hospitals' table is not here")
    table = heart(data, 900)
    teacher, student = Network(table.network.features, 2, 64), Network(table.network.features, 2, 6)
    pooled, tests = (
        Cases(np.concatenate([c.inputs for c in parts]), np.concatenate([c.labels for c in parts]))
        for parts in (table.train, table.test)
    )
    model = teacher.trained(teacher.start(1), pooled.inputs, pooled.labels, steps=150, rate=0.3)
    taught = distilled(teacher, [model], student, pooled.inputs, Lesson(steps=500))
    shipped = dequantised(student, quantised(student, taught))
    best = teacher.accuracy(model, tests.inputs, tests.labels)
    assert best > 0.75
    assert student.accuracy(shipped, tests.inputs, tests.labels) > best - 0.04


def verdict(**sites: tuple[int, int, int]) -> Verdict:
    return Verdict({name: Site(*one, one[0]) for name, one in sites.items()}, False, -1.0, 1.0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (verdict(a=(1000, 800, 795)), []),  # 0.5 points to the case
        (verdict(a=(1000, 800, 794)), ["overall -0.60"]),
        (verdict(a=(1001, 800, 795)), []),
        (verdict(a=(999, 800, 795)), ["overall -0.50"]),
        (verdict(a=(100, 80, 78), b=(900, 700, 702)), []),  # 2 points of a site
        (verdict(a=(100, 80, 77), b=(900, 700, 703)), ["a -3.00"]),
        (verdict(a=(99, 80, 78), b=(900, 700, 702)), ["a -2.02"]),
        (verdict(a=(100, 90, 87), b=(100, 90, 87)), ["overall -3.00", "a -3.00", "b -3.00"]),
        (verdict(a=(100, 80, 100)), []),
        (verdict(a=(100, 80, 101)), ["more are right"]),
    ],
)
def test_half_a_point_and_two_at_a_site_pass_and_one_case_more_does_not(
    found: Verdict, said: list[str]
) -> None:
    refusals = found.refusals()
    assert len(refusals) == len(said)
    assert all(reason.startswith(start) for reason, start in zip(refusals, said, strict=True))


def test_a_first_release_has_to_beat_the_most_frequent_class() -> None:
    labels = np.array([0] * 60 + [1] * 40)
    sites = {"a": Cases(np.arange(100, dtype=np.float32)[:, None], labels)}

    def right_until(last: int) -> Callable[[Numbers], Any]:
        return lambda rows: np.where(rows[:, 0] < last, labels, 1 - labels)

    equal = gate(sites, right_until(60), None, right_until(100))
    assert (equal.first, equal.overall.before, equal.overall.teacher) == (True, 60, 100)
    assert "always the most frequent class" in equal.refusals()[0]
    assert gate(sites, right_until(61), None, right_until(100)).refusals() == []


def test_an_empty_and_a_missing_site_are_refused_and_do_not_pass() -> None:
    sites = {"a": cases(1, 30), "b": cases(2, 0)}
    right: Callable[[Numbers], Any] = lambda rows: (rows[:, 0] + rows[:, 1] > 0).astype(np.int64)  # noqa: E731
    with pytest.raises(InputError, match="none of b"):
        gate(sites, right, None, right)
    with pytest.raises(InputError, match="none of c"):
        gate({"a": sites["a"]}, right, right, right, {"a", "c"})
    with pytest.raises(InputError, match="one site"):
        gate({}, right, None, right)


def test_the_interval_holds_what_a_plain_bootstrap_of_pairs_gives() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 300)
    were, are = random.random(300) < 0.8, random.random(300) < 0.75
    place = np.arange(300, dtype=np.float32)[:, None]

    def answering(right: Any) -> Callable[[Numbers], Any]:
        return lambda rows: np.where(right[rows[:, 0].astype(int)], labels[rows[:, 0].astype(int)], 2)

    found = gate({"a": Cases(place, labels)}, answering(are), answering(were), answering(are))
    drawn = random.integers(0, 300, (4000, 300))
    plain = np.percentile(100 * (are[drawn].mean(1) - were[drawn].mean(1)), [2.5, 97.5])
    assert found.overall.change == pytest.approx(100 * (are.mean() - were.mean()))
    assert (found.low, found.high) == pytest.approx(tuple(plain), abs=0.7)
    same = gate({"a": Cases(place, labels)}, answering(are), answering(are), answering(are))
    assert (same.low, same.high, same.refusals()) == (0, 0, [])


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"inputs": np.zeros((200, 6)), "labels": np.zeros(200)}, "nothing else"),
        ({"inputs": np.zeros((200, 6)), "consented": np.ones(200, bool)}, "nothing else"),
        ({"rows": np.zeros((200, 6))}, "nothing else"),
        ({"inputs": np.zeros((200, 5))}, "6 features"),
        ({"inputs": np.zeros(200)}, "6 features"),
        ({"inputs": np.full((200, 6), "x")}, "6 features"),
        ({"inputs": np.full((200, 6), np.nan)}, "finite"),
        ({"inputs": np.zeros((99, 6))}, "100 inputs"),
        ({"inputs": np.array([{}])}, "nothing else"),
    ],
)
def test_transfer_inputs_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        inputs(npz(tmp_path / "t.npz", **arrays), 6, 100)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", b"\x93NUMPY\x01\x00", b"text"])
def test_files_that_are_no_archives_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(data)
    for read in (lambda: inputs(path, 6), lambda: evaluation([path], TEACHER)):
        with pytest.raises(InputError, match=r"t\.npz"):
            read()
    with pytest.raises(InputError, match="finite numbers"):
        gateway_model(path, TEACHER)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"inputs": np.zeros((3, 6))}, "labels"),
        ({"inputs": np.zeros((3, 6)), "labels": np.zeros(3)}, "whole labels"),
        ({"inputs": np.zeros((3, 6)), "labels": np.zeros(2, int)}, "3 whole labels"),
        ({"inputs": np.zeros((3, 6)), "labels": np.full(3, 2)}, "labels from 0 to 1"),
        ({"inputs": np.zeros((3, 6)), "labels": np.full(3, -1)}, "labels from 0 to 1"),
        ({"inputs": np.zeros((3, 6)), "labels": np.zeros(3, int), "site": np.arange(3)}, "as text"),
        (
            {"inputs": np.zeros((3, 6)), "labels": np.zeros(3, int), "site": np.array(["a", "b\x1b", "c"])},
            "as text",
        ),
        (
            {"inputs": np.zeros((3, 6)), "labels": np.zeros(3, int), "site": np.array(["a", "", "b"])},
            "as text",
        ),
        ({"inputs": np.zeros((3, 6)), "labels": np.zeros(3, int), "site": np.array(["a"])}, "3 whole labels"),
    ],
)
def test_evaluation_cases_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        evaluation([npz(tmp_path / "e.npz", **arrays)], TEACHER)


def test_sites_come_from_a_column_or_from_files_each_once(tmp_path: Path) -> None:
    whole = {"inputs": np.zeros((3, 6)), "labels": np.array([0, 1, 1])}
    mixed = npz(tmp_path / "mixed.npz", **whole, site=np.array(["a", "b", "b"]))
    alone, empty = npz(tmp_path / "c.npz", **whole), tmp_path / "d.npz"
    found = evaluation([mixed, alone], TEACHER)
    assert {name: len(cases) for name, cases in found.sites.items()} == {"a": 1, "b": 2, "c": 3}
    npz(empty, inputs=np.zeros((0, 6)), labels=np.zeros(0, int))
    assert len(evaluation([alone, empty], TEACHER).sites["d"]) == 0
    with pytest.raises(InputError, match="b again"):
        evaluation([mixed, npz(tmp_path / "b.npz", **whole)], TEACHER)


@pytest.mark.parametrize(
    "numbers", [np.zeros(3), np.zeros(TEACHER.dimension, int), np.full(TEACHER.dimension, np.nan)]
)
def test_a_gateways_model_that_is_none_is_refused(tmp_path: Path, numbers: Any) -> None:
    np.save(tmp_path / "g.npy", numbers)
    with pytest.raises(InputError, match="finite numbers"):
        gateway_model(tmp_path / "g.npy", TEACHER)
