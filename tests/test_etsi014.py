"""The conformance suite of ETSI GS QKD 014 V1.1.1 over real mutual TLS on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from etsi014_checks import CHECKS, Bench, Check, running_pair

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running_pair(tmp_path_factory.mktemp("kmes")) as both:
        yield both


def test_there_are_enough_checks_and_each_has_its_name() -> None:
    assert len(CHECKS) >= 60
    assert len({name for _, name, _ in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("check", [pytest.param(check, id=f"{c} {name}") for c, name, check in CHECKS])
def test_etsi_014(bench: Bench, check: Check) -> None:
    if bench.status()["stored_key_count"] < 2048:
        bench.refill()
    check(bench)
