"""A configuration that was adopted is obeyed: who may do what, and in which hours."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from akazuba.cli.store import store as store_command
from akazuba.errors import InputError
from akazuba.governance.audit import verify
from akazuba.governance.pins import Moment
from akazuba.governance.responsibility import Configuration, Shift, adopt, believing, seal
from akazuba.governance.roles import ACTIONS, MAY, ROLES, Action, Role, verdict
from akazuba.governance.sessions import Door
from akazuba.governance.site_rules import (
    GRACE_MIN,
    TAKEN,
    configuration_now,
    outside_hours,
    verdict_here,
)
from akazuba.governance.users import PASSPHRASE, acting, add
from akazuba.privacy.keys.identity import new_identity
from akazuba.storage.person import Person
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, set_up

PASS = "rain over the tin roof"  # noqa: S105 - of this test
PINS: dict[Role, tuple[str, str]] = {
    "supervisor": ("Jean Habimana", "735194"),
    "nurse": ("Chantal Uwimana", "4071"),
    "clinician": ("Paul Mugisha", "5862"),
    "operator": ("Odile Keza", "918243"),
    "auditor": ("Aline Mutesi", "604837"),
}
TAB = "tablet-1"
REASON = "a delivery in the night, the others are away"
ORGANISATION = new_identity(os.urandom)


@dataclass
class Post:
    store: Store
    home: Path
    wall_ms: list[int] = field(default_factory=lambda: [0])

    @property
    def door(self) -> Door:
        return Door(self.store, lambda: Moment(self.wall_ms[0] / 1000, "boot"))

    def at(self, hour: int, minute: int = 0) -> None:
        """By the wall clock, which is UTC."""
        self.wall_ms[0] = int(datetime(2026, 11, 29, hour, minute, tzinfo=UTC).timestamp() * 1000)

    def signs_in(self, role: Role, reason: str = "") -> str:
        name, pin = PINS[role]
        return self.door.start(name, pin, TAB, reason).token

    def log(self, kind: str) -> list[dict[str, str]]:
        return [json.loads(entry.body or b"{}") for entry in self.store.entries(kind=kind)]

    def signed(self, **said: object) -> None:
        """A configuration of the organisation, adopted."""
        values: dict[str, object] = {
            "version": 1, "site": "Post 7", "organisation": "District", "release": "ab" * 32,
            "valid_from_s": 0, "valid_until_s": 1, "overlays": {}, "formulary": "", "thresholds": {},
            "shifts": (), "utc_offset_min": 0, "may": {},
        }  # fmt: skip
        made = Configuration(**{**values, **said})  # type: ignore[arg-type]
        data = seal(ORGANISATION, "configuration", made)
        adopt(self.store, "jean-habimana", "configuration", data, believing(ORGANISATION.public))


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    key = set_up(tmp_path, PASS, cost=Cost(8, 1, 1))
    wall = [0]
    with closing(Store(tmp_path, key, lambda: wall[0])) as store:
        made = Post(store, tmp_path, wall)
        made.at(10)
        for role, (name, pin) in PINS.items():
            add(store, PASSPHRASE if role == "supervisor" else "jean-habimana", name, role, pin)
        store.admit(Person("p1", "Immaculée Nyirahabimana", "1990"), "chantal-uwimana")
        yield made


# --- who may do what --------------------------------------------------------------------------------------


def test_without_a_configuration_the_roles_stand_as_they_are(post: Post) -> None:
    assert configuration_now(post.store) is None
    for role in ROLES:
        for action in ACTIONS:
            assert verdict_here(post.store, role, action) == verdict(role, action)


def test_what_a_configuration_takes_from_a_role_is_refused_and_logged(post: Post) -> None:
    token = post.signs_in("nurse")
    post.door.demand(token, TAB, "record", "p1")
    post.signed(may={"record": ("clinician",), "see-patients": ("nurse", "clinician")})
    with pytest.raises(InputError, match="nurse may not, by the configuration of Post 7: add cases"):
        post.door.demand(token, TAB, "record", "p1")
    assert post.log("access-refused")[-1]["action"] == "record"
    post.door.demand(token, TAB, "see-patients", "p1")
    assert not verdict_here(post.store, "supervisor", "see-patients").allowed
    with pytest.raises(InputError, match="a user who may see-patients"):
        acting(post.store, "jean-habimana", "see-patients")
    post.door.demand(post.signs_in("clinician"), TAB, "record", "p1")


def test_what_was_taken_lies_behind_glass_and_no_further(post: Post) -> None:
    post.signed(may={"record": (), "erase": ()})
    token = post.signs_in("nurse")
    granted = post.door.break_glass(token, TAB, "record", "p1", REASON)
    assert post.door.demand(token, TAB, "record", "p1").verdict == granted.verdict
    with pytest.raises(InputError, match="by the configuration"):
        post.door.demand(token, TAB, "record", "p2")
    with pytest.raises(InputError, match="no glass for the role nurse"):
        post.door.break_glass(token, TAB, "erase", "p1", REASON)
    with pytest.raises(InputError, match="no glass for the role supervisor"):
        post.door.break_glass(post.signs_in("supervisor"), TAB, "erase", "p1", REASON)


@given(may=st.dictionaries(st.sampled_from([*ACTIONS, "unknown"]), st.lists(st.sampled_from([*ROLES, "x"]))))
def test_no_configuration_gives_a_right_or_takes_one_that_keeps_the_box_in_order(
    may: dict[str, list[str]],
) -> None:
    class Log:
        def last(self, kind: str) -> Entry:
            return Entry(kind, "jean", sealed)

    sealed = _sealed(may)
    for role in ROLES:
        for action in ACTIONS:
            judged = verdict_here(Log(), role, action)  # type: ignore[arg-type]
            if judged.allowed:
                assert action in MAY[role]
                assert action not in may or action not in TAKEN or role in may[action]
            elif action not in TAKEN:
                assert action not in MAY[role]


def _sealed(may: dict[str, list[str]]) -> bytes:
    given = {action: tuple(roles) for action, roles in may.items()}
    said = Configuration(
        1, "Post 7", "District", "ab" * 32, 0, 1, {}, "", {}, (), 0, given
    )  # fmt: skip
    return seal(ORGANISATION, "configuration", said)


def test_the_newest_configuration_counts_whatever_the_clock_says(post: Post) -> None:
    post.signed(may={"record": ()}, valid_until_s=1)
    for year in (1970, 2026, 2090):
        post.wall_ms[0] = int(datetime(year, 1, 2, tzinfo=UTC).timestamp() * 1000)
        assert not verdict_here(post.store, "nurse", "record").allowed
    post.signed()
    assert verdict_here(post.store, "nurse", "record").allowed


def test_a_configuration_that_cannot_be_read_takes_nothing(post: Post) -> None:
    post.store.add(Entry("configuration", "jean-habimana", b"{}"))
    assert configuration_now(post.store) is None
    assert verdict_here(post.store, "nurse", "record").allowed
    assert outside_hours(post.store, "nurse") == ""


# --- in which hours ---------------------------------------------------------------------------------------

DAY, NIGHT = Shift("nurse", 1, 7 * 60, 19 * 60), Shift("nurse", 1, 22 * 60, 2 * 60)


@pytest.mark.parametrize(
    ("hour", "minute", "inside"),
    [
        (4, 29, False),
        (4, 30, True),
        (5, 0, True),
        (12, 0, True),
        (17, 29, True),
        (17, 30, False),
        (3, 0, False),
    ],
)
def test_hours_are_those_of_the_place_with_time_for_the_handover(
    post: Post, hour: int, minute: int, inside: bool
) -> None:
    post.signed(shifts=(DAY,), utc_offset_min=120)
    post.at(hour, minute)
    assert (outside_hours(post.store, "nurse") == "") is inside
    assert GRACE_MIN == 30


@pytest.mark.parametrize(("hour", "inside"), [(21, False), (22, True), (0, True), (1, True), (3, False)])
def test_a_shift_may_end_on_the_next_day(post: Post, hour: int, inside: bool) -> None:
    post.signed(shifts=(NIGHT,))
    post.at(hour)
    assert (outside_hours(post.store, "nurse") == "") is inside


def test_outside_her_hours_a_nurse_signs_in_with_a_reason_that_is_logged(post: Post) -> None:
    post.signed(shifts=(DAY, NIGHT))
    post.at(20, 15)
    for reason in ("", "   ", "..........", "x" * 2001):
        with pytest.raises(InputError, match=r"outside the shifts of a nurse \(07:00 to 19:00 and 22:00 to"):
            post.signs_in("nurse", reason)
    assert post.log("session-started") == []
    assert "at 20:15 by the box's clock" in post.log("sign-in-refused")[0]["why"]
    token = post.signs_in("nurse", f"  {REASON} ")
    (told,) = post.log("off-shift")
    assert (told["reason"], told["tablet"]) == (REASON, TAB)
    assert next(iter(post.store.entries(kind="off-shift"))).by == "chantal-uwimana"
    post.door.demand(token, TAB, "record", "p1")
    assert verify(post.store, [], []).sound


def test_within_her_hours_and_without_shifts_nobody_is_asked(post: Post) -> None:
    post.signed(shifts=(DAY,))
    for role in ROLES:
        post.signs_in(role)
    post.at(23)
    for role in ROLES:
        if role != "nurse":
            post.signs_in(role)
    assert post.log("off-shift") == []
    assert post.log("sign-in-refused") == []


def test_a_wrong_clock_or_a_strange_shift_locks_nobody_out(post: Post) -> None:
    never = tuple(Shift(role, 1, 0, 1) for role in ROLES)
    post.signed(shifts=never, may=dict.fromkeys(ACTIONS, ()))
    post.at(12)
    for role in ROLES:
        post.signs_in(role, REASON)
    post.door.demand(post.signs_in("supervisor", REASON), TAB, "configure")
    post.signed()
    post.signs_in("nurse")


def test_what_began_within_her_hours_goes_on_after_them(post: Post) -> None:
    post.signed(shifts=(DAY,))
    post.at(19, 25)
    token = post.signs_in("nurse")
    post.at(19, 34)
    post.door.demand(token, TAB, "record", "p1")
    with pytest.raises(InputError, match="outside the shifts"):
        post.signs_in("nurse")


def test_whoever_is_refused_is_told_of_the_wrong_pins_before(post: Post) -> None:
    post.signed(shifts=(DAY,))
    post.at(21)
    for _ in range(2):
        with pytest.raises(InputError, match="another one"):
            post.door.start("Chantal Uwimana", "9999", TAB)
    with pytest.raises(InputError, match="2 attempts with a wrong PIN before this one"):
        post.signs_in("nurse")


def test_a_refused_sign_in_ends_nobody_elses_session(post: Post) -> None:
    post.signed(shifts=(DAY,))
    post.at(21)
    token = post.signs_in("clinician")
    with pytest.raises(InputError, match="outside the shifts"):
        post.signs_in("nurse")
    assert post.door.session(token, TAB)[1].role == "clinician"


def test_the_terminal_asks_for_the_reason_too(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    far = (int(time.time()) // 60 + 12 * 60) % (24 * 60)
    post.signed(shifts=(Shift("supervisor", 1, far, far + 1),))
    post.store.close()
    monkeypatch.setenv("AKAZUBA_HOME", str(post.home))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    words = ["patients", "immaculee", "--as", "Jean Habimana"]

    def typed(text: str) -> str:
        done = CliRunner().invoke(store_command, words, input=text)
        return f"{done.exit_code} {done.output}"

    refused = typed("735194\n\n")
    assert refused.startswith("2 ")
    assert "outside the shifts of a supervisor" in refused
    assert "Nyirahabimana" not in refused
    assert "Nyirahabimana" in typed(f"735194\n{REASON}\n")


def test_every_right_that_may_be_taken_is_one_over_patients_records() -> None:
    kept: set[Action] = set(ACTIONS) - TAKEN
    assert kept == {
        "break-glass",
        "acknowledge-glass",
        "manage-users",
        "configure",
        "operate",
        "read-log",
    }
