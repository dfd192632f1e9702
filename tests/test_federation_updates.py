"""A terminal's update: what is believed of it, and every way in which it is refused or kept with a reason."""

import os
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from akazuba.errors import InputError, UntrustedError
from akazuba.federation.updates import (
    Base,
    Expected,
    ModelRelease,
    RefusedError,
    Update,
    coded,
    id_of,
    received,
    released,
    signed,
)
from akazuba.privacy.keys.enrolment import YEAR_S, Role, enrol, request, requested, revoke
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign

NOW = 1_790_000_000
DAY = 86_400
AUTHORITY, POST, COORDINATOR, STRANGER = (new_identity(os.urandom) for _ in range(4))
MODEL = ModelRelease("rwanda", 3, NOW - DAY, np.zeros(5, "<f4").tobytes(), 1.0, 7 * DAY, 0.5, 200, 0.05)
EXPECTED = Expected("rwanda", 5, {3: MODEL.base()})


def believe(registry: Registry, identity: Identity, name: str, role: Role, serial: int) -> None:
    asked = requested(request(identity, "rwanda", name, role, NOW - 2 * DAY), "rwanda", NOW - 2 * DAY)
    registry.believe(enrol(AUTHORITY, "rwanda", asked, serial, NOW - 2 * DAY), NOW - 2 * DAY)


@pytest.fixture
def registry() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    believe(made, POST, "health post 7", "terminal", 1)
    believe(made, COORDINATOR, "coordinator", "coordinator", 2)
    return made


def update(**changes: Any) -> Update:
    numbers, scale = coded([0.5, -1.0, 0.25, 0.0, 2.0], "float32")
    made = Update("rwanda", 1, 3, MODEL.base().sha256, NOW - 3600, 40, 5, "float32", scale, numbers)
    return msgspec.structs.replace(made, **changes)


def test_a_sound_update_is_received_with_its_numbers_and_its_terminals_name(registry: Registry) -> None:
    given_ = received(signed(POST, update(metrics={"loss": 0.4})), registry, EXPECTED, NOW)
    assert given_.terminal == "health post 7"
    assert given_.update.values().tolist() == [0.5, -1.0, 0.25, 0.0, 2.0]
    assert (given_.made_s, given_.clock_off) == (NOW - 3600, False)


def test_an_update_signed_twice_is_one() -> None:
    first, second = signed(POST, update()), signed(POST, update())
    assert id_of(first) == id_of(second)
    assert id_of(first) != id_of(signed(POST, update(serial=2)))
    assert id_of(first) != id_of(signed(STRANGER, update()))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_int8_is_off_by_half_a_step_at_most(values: list[float]) -> None:
    numbers, scale = coded(values, "int8")
    made = update(numbers=numbers, scale=scale, coding="int8", dimension=len(values))
    assert np.abs(made.values() - np.array(values, np.float32)).max() <= scale / 2 * (1 + 1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_not_even_coded(value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        coded([0.0, value], "int8")


def test_a_change_of_nothing_is_coded(registry: Registry) -> None:
    numbers, scale = coded(np.zeros(5), "int8")
    given_ = received(
        signed(POST, update(numbers=numbers, scale=scale, coding="int8")), registry, EXPECTED, NOW
    )
    assert not given_.update.values().any()


NAN = np.array([0, 1, np.nan, 0, 0], "<f4").tobytes()
INFINITE = np.array([0, 1, np.inf, 0, 0], "<f4").tobytes()


@pytest.mark.parametrize(
    ("reason", "changes", "says"),
    [
        ("programme", {"programme": "burundi"}, "expected rwanda, found burundi"),
        ("version", {"base_version": 2}, "expected a base of version 3 to 3, found 2"),
        ("version", {"base": bytes(32)}, "another model under that number"),
        ("shape", {"dimension": 6}, "expected 5 numbers of float32 in 20 bytes, found 6 in 20 bytes"),
        ("shape", {"numbers": bytes(24)}, "found 5 in 24 bytes"),
        ("shape", {"coding": "int8"}, "expected 5 numbers of int8 in 5 bytes"),
        ("not-finite", {"numbers": NAN}, "NaN"),
        ("not-finite", {"numbers": INFINITE}, "infinity"),
        ("not-finite", {"metrics": {"loss": float("nan")}}, "finite numbers and metrics"),
        ("unreadable", {"scale": float("nan")}, "version 1"),
        ("unreadable", {"examples": 0}, "examples"),
        ("unreadable", {"serial": 0}, "serial"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    registry: Registry, reason: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        received(signed(POST, update(**changes)), registry, EXPECTED, NOW)
    assert refused.value.reason == reason


def test_who_is_not_enrolled_is_refused(registry: Registry) -> None:
    with pytest.raises(RefusedError, match="enrolled") as refused:
        received(signed(STRANGER, update()), registry, EXPECTED, NOW)
    assert refused.value.reason == "member"


def test_another_role_is_refused(registry: Registry) -> None:
    with pytest.raises(RefusedError, match="expected terminal, found coordinator"):
        received(signed(COORDINATOR, update()), registry, EXPECTED, NOW)


def test_a_revoked_terminal_is_refused_and_told_so(registry: Registry) -> None:
    revoked = {POST.public.key_id: "stolen"}
    registry.believe_revocations(revoke(AUTHORITY, "rwanda", 1, revoked, NOW, DAY), NOW)
    with pytest.raises(RefusedError, match="revoked: stolen") as refused:
        received(signed(POST, update()), registry, EXPECTED, NOW)
    assert refused.value.reason == "member"


def test_an_altered_update_is_refused(registry: Registry) -> None:
    data = signed(POST, update())
    numbers = update().numbers
    with pytest.raises(RefusedError) as refused:
        received(data.replace(numbers, numbers[::-1]), registry, EXPECTED, NOW)
    assert refused.value.reason == "signature"


def test_a_signature_of_another_kind_is_none(registry: Registry) -> None:
    with pytest.raises(RefusedError) as refused:
        received(sign(POST, "contribution", update()), registry, EXPECTED, NOW)
    assert refused.value.reason == "signature"


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        received(data, Registry("rwanda", AUTHORITY.public), EXPECTED, NOW)
    assert refused.value.reason in {"unreadable", "member"}


@pytest.mark.parametrize("made", [NOW + YEAR_S, NOW - YEAR_S, 0])
def test_a_clock_that_is_wrong_by_a_year_is_kept_as_old_as_it_can_be(registry: Registry, made: int) -> None:
    given_ = received(signed(POST, update(made=made)), registry, EXPECTED, NOW)
    assert given_.clock_off
    assert given_.made_s == MODEL.published


def test_a_clock_a_little_ahead_makes_nothing_younger_than_now(registry: Registry) -> None:
    given_ = received(signed(POST, update(made=NOW + 600)), registry, EXPECTED, NOW)
    assert (given_.made_s, given_.clock_off) == (NOW, False)


def test_a_release_is_the_coordinators(registry: Registry) -> None:
    assert released(sign(COORDINATOR, "model-release", MODEL), registry, NOW) == MODEL
    with pytest.raises(UntrustedError, match="coordinator"):
        released(sign(POST, "model-release", MODEL), registry, NOW)
    bent = msgspec.structs.replace(MODEL, numbers=NAN)
    with pytest.raises(UntrustedError, match="finite"):
        released(sign(COORDINATOR, "model-release", bent), registry, NOW)
    ahead = msgspec.structs.replace(MODEL, published=NOW + YEAR_S)
    with pytest.raises(UntrustedError, match="published before"):
        released(sign(COORDINATOR, "model-release", ahead), registry, NOW)


def test_no_version_is_out_yet(registry: Registry) -> None:
    with pytest.raises(RefusedError, match="none yet"):
        received(signed(POST, update()), registry, replace(EXPECTED, bases={}), NOW)


def test_a_base_says_what_it_is() -> None:
    assert MODEL.base() == Base(MODEL.base().sha256, NOW - DAY)
