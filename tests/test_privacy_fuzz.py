"""Bytes from outside are read or refused, never a crash: a short run of `benchmarks/fuzz_privacy.py`."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from akazuba.errors import AkazubaError

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from fuzz_privacy import Parser, parsers

Parsers = dict[str, tuple[bytes, Parser]]


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsers]:
    with parsers(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


def test_each_parser_reads_a_sound_message(every: Parsers) -> None:
    assert len(every) >= 28
    refused = []
    for name, (message, parse) in every.items():
        try:
            parse(message)
        except AkazubaError as problem:
            refused.append((name, str(problem)))
    assert refused == []


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_bent_bytes_are_refused_with_an_error_of_ours(every: Parsers, data: st.DataObject) -> None:
    message, parse = every[data.draw(st.sampled_from(sorted(every)))]
    bent = bytearray(message)
    for _ in range(data.draw(st.integers(0, 6))):
        if bent:
            bent[data.draw(st.integers(0, len(bent) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bent)))
    with suppress(AkazubaError):
        parse(bytes(bent[:cut]) + data.draw(st.binary(max_size=20)))
