"""Users, their roles and PINs: who may do what, and every way in which nobody else may."""

# ruff: noqa: F401, F811 - the fixtures of post_bench are imported by name

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, strategies as st
from post_bench import (
    ALINE,
    CHANTAL,
    JEAN,
    ODILE,
    PASS,
    PAUL,
    PIN,
    ROSE,
    Post,
    empty,
    post,
    template,
    wrong,
)

from akazuba.cli.users import users as users_command
from akazuba.errors import ArtefactError, InputError
from akazuba.governance.attempts import attempts_of
from akazuba.governance.pins import (
    FREE,
    LOCK_AFTER,
    LONGEST_WAIT_S,
    MOST_OWN,
    OWN_MS,
    PIN_COST,
    TABLET_FORGETS_S,
    TABLET_FREE,
    TABLET_WAIT_S,
    Attempts,
    Kept,
    Moment,
    check_new,
    kept,
    system_moment,
    wait_s,
    weakness,
)
from akazuba.governance.roles import (
    ACTIONS,
    BEHIND_GLASS,
    INDISPENSABLE,
    LIMITS,
    MAY,
    ROLES,
    known_action,
    known_role,
    verdict,
)
from akazuba.governance.signing_in import begun, ended, set_pin
from akazuba.governance.users import PASSPHRASE, add, change_role, disable, reset, users
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store
from akazuba.storage.unlocking import Cost, set_up

# --- roles ----------------------------------------------------------------------------------------------


def test_every_action_is_given_to_somebody_and_every_role_has_a_row() -> None:
    assert set(MAY) == set(BEHIND_GLASS) == set(LIMITS) == set(ROLES)
    assert frozenset().union(*MAY.values()) == set(ACTIONS)


def test_whoever_reads_the_log_does_nothing_that_is_recorded_in_it() -> None:
    assert [role for role in ROLES if "read-log" in MAY[role]] == ["auditor"]
    assert MAY["auditor"] == {"read-log"}
    assert not BEHIND_GLASS["auditor"]


def test_no_role_manages_users_and_treats_patients() -> None:
    for role in ROLES:
        assert not (
            {"manage-users", "acknowledge-glass"} & MAY[role] and {"decide", "break-glass"} & MAY[role]
        )
    assert not {"see-patients", "record", "decide", "erase", "export"} & MAY["operator"]


def test_nothing_alters_the_log_and_glass_hides_neither_users_nor_log() -> None:
    assert not [action for action in ACTIONS if re.search("delete|clear|alter|purge", action)]
    for role in ROLES:
        assert not BEHIND_GLASS[role] & {
            "read-log",
            "manage-users",
            "acknowledge-glass",
            "erase",
            "configure",
        }
        assert not BEHIND_GLASS[role] & MAY[role]


def test_a_verdict_says_why() -> None:
    assert verdict("nurse", "decide").why == "nurse may not: sign accept, change or refuse"
    assert verdict("clinician", "decide").allowed
    for call in (known_role, known_action):
        with pytest.raises(InputError, match=r"nurse|record"):
            call("root")


GUESSED = """
1234 4321 0000 7777 7890 1357 1987 2004 1212 1122 2512 1225 2580 12345
000000 123456 654321 123123 112233 250187 870125 011987 198701 147258
"""


# --- PINs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pin",
    GUESSED.split(),
)
def test_a_pin_that_is_guessed_among_the_first_is_refused(pin: str) -> None:
    with pytest.raises(InputError, match="not among the first to be guessed"):
        check_new(pin, 4, "chantal-uwimana")


@pytest.mark.parametrize(
    "pin", ["", "123", "1234567", "12a4", "12 4", "١٢٣٤", "4071\n", "²²²²", "-407", "4.07"]
)
def test_what_is_no_pin_of_4_to_6_digits_is_refused(pin: str) -> None:
    with pytest.raises(InputError, match="digits, found"):
        check_new(pin, 4, "")


def test_more_power_needs_a_longer_pin(empty: Store) -> None:
    with pytest.raises(InputError, match="new PIN: expected 6 digits, found 4 characters"):
        add(empty, PASSPHRASE, "Jean", "supervisor", "4071")


def test_the_digits_of_ones_own_name_are_refused(post: Post) -> None:
    with pytest.raises(InputError, match="own name"):
        add(post.store, JEAN, "Post 4071", "nurse", "4071")


def test_about_a_tenth_of_all_pins_is_refused() -> None:
    refused = sum(bool(weakness(f"{number:04}")) for number in range(10_000))
    assert refused == 1394
    long = sum(bool(weakness(f"{number:06}")) for number in range(0, 1_000_000, 97))
    assert 0.08 < long / (1_000_000 / 97) < 0.10


@given(st.text(max_size=8) | st.from_regex("[0-9]{4,6}", fullmatch=True), st.sampled_from([4, 6]))
def test_any_text_is_a_pin_or_is_refused_in_words(text: str, least: int) -> None:
    fits = text.isascii() and text.isdigit() and least <= len(text) <= 6
    if fits and not weakness(text):
        check_new(text, least, "x")
    else:
        with pytest.raises(InputError, match="new PIN: expected"):
            check_new(text, least, "x")


def test_a_pin_is_kept_as_argon2id_with_its_own_salt_and_cost() -> None:
    one, other = kept("4071", lambda size: b"1" * size), kept("4071", lambda size: b"2" * size)
    assert one.hash != other.hash
    assert one.cost == PIN_COST == Cost(19_456, 2, 1)
    assert one.is_of("4071")
    assert not one.is_of("4072")
    assert not one.is_of("4071" * 10_000)
    assert one.digest != other.digest


def test_a_new_pin_differs_from_the_last_five(post: Post) -> None:
    pins = ["4071", "8306", "6192", "9354", "7418", "5063"]
    for old, new in pairwise(pins[:5]):
        set_pin(post.store, CHANTAL, old, new, "tablet-1", post.clock())
    for old in pins[:5]:
        with pytest.raises(InputError, match="another one than the last 5"):
            set_pin(post.store, CHANTAL, "7418", old, "tablet-1", post.clock())
    set_pin(post.store, CHANTAL, "7418", "5063", "tablet-1", post.clock())
    set_pin(post.store, CHANTAL, "5063", "4071", "tablet-1", post.clock())
    assert post.tries(CHANTAL, "4071") == 0


def test_a_pin_is_changed_by_whoever_knows_it_and_wrong_ones_count(post: Post) -> None:
    with pytest.raises(InputError, match="another one"):
        set_pin(post.store, CHANTAL, "3906", "8306", "tablet-1", post.clock())
    assert users(post.store)[CHANTAL].wrong == 1
    assert post.tries(CHANTAL, "4071") == 1


def test_neither_pins_nor_their_hashes_nor_tokens_stand_in_the_log(post: Post) -> None:
    started = post.signs_in(CHANTAL)
    wrong(post, 1)
    raw = post.store.recall(f"pins {CHANTAL}") or b""
    (hash_,) = (one.hash for one in msgspec.msgpack.decode(raw, type=tuple[Kept, ...]))
    everything = b"".join(entry.body or b"" for entry in post.store.entries())
    for secret in (b'"4071"', b"3906", hash_, hash_.hex().encode(), started.token.encode()):
        assert secret not in everything
    assert started.session.token_hash.hex().encode() not in everything


def test_an_altered_hash_is_not_believed(post: Post) -> None:
    mine = msgspec.msgpack.encode([kept("8306", lambda size: b"s" * size)])
    post.store.remember(f"pins {CHANTAL}", mine)
    with pytest.raises(ArtefactError, match="the one that the log names"):
        post.tries(CHANTAL, "8306")
    post.store.remember(f"pins {CHANTAL}", b"\xff")
    with pytest.raises(ArtefactError, match="what was kept"):
        post.tries(CHANTAL, "8306")


# --- the rate limit -------------------------------------------------------------------------------------


def test_three_wrong_pins_cost_nothing_then_each_doubles_the_wait(post: Post) -> None:
    waits = []
    for number in range(1, LOCK_AFTER):
        with pytest.raises(InputError, match=f"{LOCK_AFTER - number} more attempts"):
            post.tries(CHANTAL, "3906")
        waits.append(wait_s(attempts_of(post.store)[f"user {CHANTAL}"], post.clock()))
        if waits[-1]:
            post.clock.wait(waits[-1] - 1)
            with pytest.raises(InputError, match="1 s to wait"):
                post.tries(CHANTAL, "4071")
            post.clock.wait(1)
    assert waits == [0, 0, 30, 60, 120, 240, 480, 900, 900]


def test_after_ten_wrong_pins_only_a_supervisor_helps(post: Post) -> None:
    wrong(post, LOCK_AFTER)
    post.clock.wait(10 * 24 * 3600)
    post.clock.restart()
    with pytest.raises(InputError, match="locked until a supervisor resets it"):
        post.tries(CHANTAL, "4071")
    assert users(post.store)[CHANTAL].locked
    reset(post.store, JEAN, CHANTAL)
    assert post.tries(CHANTAL, "4071") == 0


def test_what_strangers_try_elsewhere_counts_apart_from_her_own_tablet(post: Post) -> None:
    post.signs_in(CHANTAL, "hers")
    for place in range(FREE):
        with pytest.raises(InputError, match=f"{LOCK_AFTER - place - 1} more attempts"):
            post.tries(CHANTAL, "3906", f"strange-{place}")
    with pytest.raises(InputError, match="30 s to wait"):
        post.tries(CHANTAL, "4071", "strange-9")
    assert post.tries(CHANTAL, "4071", "hers") == FREE
    assert post.tries(CHANTAL, "4071", "hers") == 0, "told once"
    post.clock.wait(30)
    wrong(post, LOCK_AFTER - FREE)
    assert users(post.store)[CHANTAL].locked
    assert post.tries(CHANTAL, "4071", "hers") == LOCK_AFTER - FREE
    with pytest.raises(InputError, match="locked until a supervisor resets it"):
        post.tries(CHANTAL, "4071")


def test_her_own_tablet_has_ten_tries_too_and_a_reset_gives_both_back(post: Post) -> None:
    for tablet in ("hers", "also-hers"):
        post.signs_in(CHANTAL, tablet)
    wrong(post, LOCK_AFTER, tablet="hers")
    known = users(post.store)[CHANTAL]
    assert (known.wrong, known.locked, known.locked_on) == (LOCK_AFTER, False, {"hers"})
    assert [known.usable_on(tablet) for tablet in ("hers", "also-hers", "strange")] == [False, True, True]
    with pytest.raises(InputError, match="locked until a supervisor resets it"):
        post.tries(CHANTAL, "4071", "hers")
    assert post.tries(CHANTAL, "4071", "also-hers") == LOCK_AFTER, "those on her other tablet"
    assert post.tries(CHANTAL, "4071", "also-hers") == 0, "told once"
    reset(post.store, JEAN, CHANTAL)
    assert post.tries(CHANTAL, "4071", "hers") == 0


def test_a_tablet_is_hers_for_thirty_days_and_three_of_them_are(post: Post) -> None:
    for number in range(5):
        post.signs_in(CHANTAL, f"hers-{number}")
    assert users(post.store)[CHANTAL].own == {"hers-2", "hers-3", "hers-4"}
    post.clock.wait(OWN_MS / 1000 - 1)
    post.signs_in(CHANTAL, "hers-3")
    post.clock.wait(2)
    assert users(post.store)[CHANTAL].own == {"hers-3"}
    post.clock.wall_ms -= 400 * 86_400_000
    post.signs_in(CHANTAL, "hers-0")
    own = users(post.store)[CHANTAL].own
    assert {"hers-3", "hers-0"} <= own, "whatever the clock is set to"
    assert len(own) == MOST_OWN


def test_who_guesses_everywhere_has_forty_guesses(post: Post) -> None:
    """The bound that docs/security.md states: with all of her own tablets in hand, and without her."""
    hers = [f"hers-{number}" for number in range(5)]
    for tablet in hers:
        post.signs_in(CHANTAL, tablet)
    compared = 0
    for number in range(3 * LOCK_AFTER):
        for tablet in (*hers, f"strange-{number}"):
            post.clock.wait(LONGEST_WAIT_S)
            with pytest.raises(InputError) as caught:
                post.tries(CHANTAL, "3906", tablet)
            compared += caught.value.expected == f"the PIN of {CHANTAL}"
    assert compared == LOCK_AFTER * (1 + MOST_OWN) == 40


def test_attempts_at_once_count_before_any_is_compared(post: Post) -> None:
    trials = [begun(post.store, CHANTAL, f"strange-{n}", post.clock()) for n in range(FREE)]
    with pytest.raises(InputError, match="30 s to wait"):
        begun(post.store, CHANTAL, "strange-9", post.clock())
    assert users(post.store)[CHANTAL].wrong == FREE
    assert ended(post.store, trials[0], right=True).wrong_before == 0
    assert users(post.store)[CHANTAL].wrong == FREE - 1, "those that began later still count"
    for trial in trials[1:]:
        with pytest.raises(InputError, match="another one"):
            ended(post.store, trial, right=False)
    assert users(post.store)[CHANTAL].wrong == FREE - 1


def test_a_user_who_is_changed_while_her_pin_is_compared_is_not_let_in(post: Post) -> None:
    trial = begun(post.store, CHANTAL, "tablet-1", post.clock())
    reset(post.store, JEAN, CHANTAL, "8306")
    with pytest.raises(InputError, match="she was changed meanwhile"):
        ended(post.store, trial, right=True)
    assert not users(post.store)[CHANTAL].own
    assert not post.log("sign-in")


def test_a_right_pin_clears_the_count_and_tells_of_the_wrong_ones(post: Post) -> None:
    wrong(post, 5)
    assert post.signs_in(CHANTAL).wrong_before == 5
    assert post.signs_in(CHANTAL).wrong_before == 0
    assert post.log("sign-in")[0] == {"tablet": "tablet-1", "factor": "pin", "wrong_before": 5}


def test_one_users_wrong_pins_lock_nobody_else(post: Post) -> None:
    wrong(post, LOCK_AFTER)
    assert post.signs_in(PAUL).session.user == PAUL


def test_the_wall_clock_shortens_no_wait(post: Post) -> None:
    wrong(post, 2)
    with pytest.raises(InputError):
        post.tries(CHANTAL, "3906")
    for days in (-400, 400):
        post.clock.wall_ms += days * 86_400_000
        with pytest.raises(InputError, match="30 s to wait"):
            post.tries(CHANTAL, "4071")


def test_a_restart_begins_the_wait_anew(post: Post) -> None:
    wrong(post, 2)
    with pytest.raises(InputError):
        post.tries(CHANTAL, "3906")
    post.clock.wait(29)
    post.clock.restart()
    post.reopen()
    with pytest.raises(InputError, match="30 s to wait"):
        post.tries(CHANTAL, "4071")
    post.clock.wait(30)
    assert post.tries(CHANTAL, "4071") == 3


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=12), st.integers(FREE, LOCK_AFTER - 1))
def test_no_run_of_restarts_shortens_a_wait(steps: list[tuple[float, bool]], number: int) -> None:
    """Each step lets a time pass and may restart the box; never does more count as passed than what did."""
    at, now, passed = Moment(50.0, "0"), Moment(50.0, "0"), 0.0
    attempts = Attempts(number, at)
    whole = wait_s(attempts, at)
    for place, (seconds, restarted) in enumerate(steps, 1):
        passed += seconds
        now = Moment(0.0, str(place)) if restarted else Moment(now.seconds + seconds, now.boot)
        assert now.since(at) <= passed * (1 + 1e-9) + 1e-6
        if passed < whole * (1 - 1e-9):
            assert wait_s(attempts, now) > 0


def test_an_attempt_counts_though_the_box_dies_while_comparing(post: Post) -> None:
    post.store.close()
    script = """
import os, signal, sys
from pathlib import Path
from akazuba.governance.pins import Kept, Moment
from akazuba.governance.signing_in import tried
from akazuba.storage.store import Store
from akazuba.storage.unlocking import StoreKey
Kept.is_of = lambda self, pin: os.kill(os.getpid(), signal.SIGKILL)
store = Store(Path(sys.argv[1]), StoreKey(bytes.fromhex(sys.argv[2])), lambda: 0)
tried(store, "chantal-uwimana", "3906", "tablet-1", Moment(100.0, "first"))
"""
    for _ in range(2):
        died = subprocess.run(
            [sys.executable, "-c", script, str(post.home), post.key.secret.hex()], check=False
        )
        assert died.returncode == -signal.SIGKILL
    post.reopen()
    assert users(post.store)[CHANTAL].wrong == 2
    assert post.tries(CHANTAL, "4071") == 2


def test_a_tablet_on_which_everybody_is_tried_has_to_wait(post: Post) -> None:
    for place in range(TABLET_FREE):
        with pytest.raises(InputError, match="an unknown name"):
            post.tries(f"nobody {place}", "4071")
    with pytest.raises(InputError, match="too many wrong PINs here: 60 s to wait"):
        post.tries(CHANTAL, "4071")
    assert post.tries(CHANTAL, "4071", "tablet-2") == 0
    post.clock.wait(TABLET_WAIT_S)
    assert post.tries(CHANTAL, "4071") == 0
    with pytest.raises(InputError, match="an unknown name"):
        post.tries("nobody", "4071")
    with pytest.raises(InputError, match="too many wrong PINs here"):
        post.tries("nobody", "4071")
    post.clock.wait(TABLET_FORGETS_S)
    wrong(post, 2)


def test_trying_on_while_waiting_does_not_fill_the_log(post: Post) -> None:
    wrong(post, 3)
    with pytest.raises(InputError):
        post.tries(CHANTAL, "3906")
    size = post.store.size
    for _ in range(50):
        with pytest.raises(InputError, match="s to wait"):
            post.tries(CHANTAL, "4071")
    assert post.store.size == size + 1
    assert len(post.log("sign-in-refused")) == 1


def test_a_real_clock_of_the_boot_goes_on() -> None:
    one, other = system_moment(), system_moment()
    assert one.boot == other.boot
    assert 0 <= other.since(one) < 60


def test_a_broken_count_of_attempts_is_no_clean_slate(post: Post) -> None:
    post.store.remember("attempts", b"\xc1")
    with pytest.raises(ArtefactError, match="counts of wrong PINs"):
        post.tries(CHANTAL, "4071")


# --- users ----------------------------------------------------------------------------------------------


def test_there_is_no_user_until_the_passphrase_makes_a_supervisor(empty: Store) -> None:
    assert users(empty) == {}
    with pytest.raises(InputError, match="make a supervisor first"):
        add(empty, PASSPHRASE, "Chantal", "nurse", "4071")
    jean = add(empty, PASSPHRASE, "Jean", "supervisor", "735194")
    assert (jean.id, jean.role, jean.usable) == ("jean", "supervisor", True)
    with pytest.raises(InputError, match=r"a supervisor's PIN \(Jean\), found the passphrase alone"):
        add(empty, PASSPHRASE, "Eve", "supervisor", "860392")


def test_the_passphrase_helps_when_no_other_supervisor_can(empty: Store) -> None:
    add(empty, PASSPHRASE, "Jean", "supervisor", "735194")
    reset(empty, PASSPHRASE, "jean", "860392")
    add(empty, "jean", "Rose", "supervisor", "604837")
    with pytest.raises(InputError, match="the passphrase alone"):
        reset(empty, PASSPHRASE, "jean", "735194")
    for call in (lambda: disable(empty, PASSPHRASE, "rose", "x"), lambda: reset(empty, PASSPHRASE, "rose")):
        with pytest.raises(InputError, match="the passphrase alone"):
            call()
    assert [json.loads(entry.body or b"")["why"] for entry in empty.entries(kind="access-refused")] == [
        "the passphrase alone"
    ] * 3


@pytest.mark.parametrize("by", [CHANTAL, PAUL, ODILE, ALINE, "nobody", "box"])
def test_only_a_supervisor_manages_users(post: Post, by: str) -> None:
    size = post.store.size
    calls: list[Callable[[], object]] = [
        lambda: add(post.store, by, "Eve", "supervisor", "860392"),
        lambda: change_role(post.store, by, PAUL, "supervisor", "860392"),
        lambda: disable(post.store, by, ALINE, "asks too much"),
        lambda: reset(post.store, by, PAUL, "8306"),
    ]
    for call in calls:
        with pytest.raises(InputError, match="right: expected a user who may manage-users"):
            call()
    assert [entry.kind for entry in post.store.entries(first=size)] == ["access-refused"] * 4


def test_nobody_changes_disables_or_resets_himself(post: Post) -> None:
    for call in (
        lambda: disable(post.store, JEAN, JEAN, "tired"),
        lambda: change_role(post.store, JEAN, JEAN, "auditor", "918264"),
        lambda: reset(post.store, JEAN, JEAN, "918264"),
    ):
        with pytest.raises(InputError, match="another one than oneself"):
            call()
    assert [told["why"] for told in post.log("access-refused")] == ["oneself"] * 3


def test_the_last_supervisor_and_the_last_auditor_stay(post: Post) -> None:
    assert {"supervisor", "auditor"} == INDISPENSABLE
    with pytest.raises(InputError, match="another auditor besides, found Aline Mutesi, the only one"):
        disable(post.store, JEAN, ALINE, "asks too much")
    with pytest.raises(InputError, match="another auditor besides"):
        change_role(post.store, JEAN, ALINE, "nurse", "8306")
    disable(post.store, ROSE, JEAN, "retired")
    add(post.store, ROSE, "Second Auditor", "auditor", "918264")
    assert disable(post.store, ROSE, ALINE, "moved away").disabled


def test_a_disabled_user_is_out_at_once_and_for_good(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    disable(post.store, JEAN, CHANTAL, "left the post")
    with pytest.raises(InputError, match="the user was changed or disabled"):
        post.door.session(token, "tablet-1")
    with pytest.raises(InputError, match="one who may sign in, found disabled"):
        post.signs_in(CHANTAL)
    for call in (
        lambda: reset(post.store, JEAN, CHANTAL, "8306"),
        lambda: disable(post.store, JEAN, CHANTAL, "again"),
        lambda: change_role(post.store, JEAN, CHANTAL, "clinician", "8306"),
    ):
        with pytest.raises(InputError, match="not disabled"):
            call()
    with pytest.raises(InputError, match="no user has or had, found Chantal Uwimana, one that was disabled"):
        add(post.store, JEAN, "Chantal Uwimana", "nurse", "8306")
    assert post.log("session-ended")[-1]["why"] == "the user was changed or disabled"
    disable(post.store, JEAN, ROSE, "retired")
    with pytest.raises(InputError, match="found disabled"):
        add(post.store, ROSE, "Eve", "nurse", "8306")


@pytest.mark.parametrize(
    "name", ["", "   ", "4071", "a\nb", "x\x1b[2J", "n" * 81, "passphrase", "Box", "unknown"]
)
def test_a_name_that_would_confuse_the_log_is_refused(post: Post, name: str) -> None:
    with pytest.raises(InputError, match="name: expected"):
        add(post.store, JEAN, name, "nurse", "8306")


def test_a_name_is_only_ever_data(post: Post) -> None:
    name = "Robert'); DROP TABLE entry; -- %_"
    before = post.store.size
    made = add(post.store, JEAN, name, "nurse", "8306")
    assert (users(post.store)[made.id].name, post.store.size) == (name, before + 1)
    post.store.admit(Person("p3", name), CHANTAL)
    assert [person.id for person in post.store.search("drop table")] == ["p3"]
    assert post.store.search("' OR 1=1 --") == []
    assert [person.id for person in post.store.search("%")] == ["p3"]


def test_a_user_is_found_by_id_or_name_whatever_the_accents(post: Post) -> None:
    assert add(post.store, JEAN, "Thérèse  Ntawe", "nurse", "8306").id == "therese-ntawe"
    for who in ("Therese Ntawe", "THÉRÈSE NTAWE", "therese-ntawe"):
        assert post.tries(who, "8306") == 0
    with pytest.raises(
        InputError, match="a name that no user has or had, found Therese Ntawe, one that is taken"
    ):
        add(post.store, JEAN, "Therese Ntawe", "nurse", "9354")
    with pytest.raises(InputError, match="one of this store"):
        reset(post.store, JEAN, "Nobody")


def test_a_new_role_takes_a_new_pin_and_ends_the_sessions(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    with pytest.raises(InputError, match="6 digits"):
        change_role(post.store, JEAN, CHANTAL, "supervisor", "8306")
    with pytest.raises(InputError, match="a reason"):
        disable(post.store, JEAN, CHANTAL, " ")
    assert change_role(post.store, JEAN, CHANTAL, "supervisor", "918264").role == "supervisor"
    with pytest.raises(InputError, match="changed"):
        post.door.session(token, "tablet-1")
    assert disable(post.store, CHANTAL, PAUL, "left").disabled


def test_every_change_of_a_user_stands_in_the_log_with_whoever_made_it(post: Post) -> None:
    reset(post.store, ROSE, PAUL, "8306")
    set_pin(post.store, CHANTAL, "4071", "6192", "tablet-1", post.clock())
    disable(post.store, ROSE, ODILE, "left")
    kinds = ("user", "user-changed", "user-disabled")
    found = sorted(
        (entry.index, entry.kind, entry.by) for kind in kinds for entry in post.store.entries(kind=kind)
    )
    assert [row[1:] for row in found] == [
        ("user", PASSPHRASE),
        *[("user", JEAN)] * 5,
        ("user-changed", ROSE),
        ("user-changed", CHANTAL),
        ("user-disabled", ROSE),
    ]


def test_an_entry_that_changes_nobody_is_named(post: Post) -> None:
    from akazuba.storage.store import Entry

    post.store.add(Entry("user-disabled", "box", b'{"user":"ghost","because":"x"}'))
    with pytest.raises(ArtefactError, match="a change of a known user"):
        users(post.store)


def test_users_outlive_a_restart_and_a_stranger_reads_none_of_them(post: Post) -> None:
    post.signs_in(CHANTAL)
    before = users(post.store)
    post.reopen()
    assert users(post.store) == before
    disk = b"".join(path.read_bytes() for path in post.home.iterdir() if path.is_file())
    for word in (b"Uwimana", b"uwimana", b"supervisor", b"attempts", b"pins "):
        assert word not in disk


# --- commands -------------------------------------------------------------------------------------------


@pytest.fixture
def command(post: Post, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    post.store.close()
    monkeypatch.setenv("AKAZUBA_HOME", str(post.home))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)

    def invoke(*arguments: str, typed: tuple[str, ...] = ()) -> Result:
        return CliRunner().invoke(
            users_command, list(arguments), input="".join(f"{line}\n" for line in typed)
        )

    return invoke


def opened(post: Post) -> dict[str, Recorded]:
    """The newest entry of each kind."""
    post.reopen()
    newest = {entry.kind: entry for entry in post.store.entries()}
    post.store.close()
    return newest


def test_the_commands_add_list_and_disable_users(command: Callable[..., Result], post: Post) -> None:
    jean = PIN[JEAN]
    added = command(
        "add", "Thérèse", "--role", "nurse", "--as", "jean habimana", typed=(jean, "8306", "8306")
    )
    assert (added.exit_code, added.stdout) == (0, "Thérèse is a nurse, known to the log as therese\n")
    assert "8306" not in added.output
    assert "735194" not in added.output
    rows = json.loads(command("list", "--json").stdout)
    assert rows[-1] == {"id": "therese", "name": "Thérèse", "role": "nurse", "state": "may sign in"}
    assert "supervisor  may sign in             Jean Habimana (jean-habimana)" in command("list").stdout
    changed = command("set-pin", "therese", typed=("8306", "9354", "9354"))
    assert changed.stdout == "Thérèse has a new PIN\n"
    risen = command("role", "therese", "--role", "clinician", "--as", JEAN, typed=(jean, "6192", "6192"))
    assert risen.stdout == "Thérèse is a clinician now\n"
    assert command("reset", "therese", "--as", JEAN, typed=(jean,)).stdout == "Thérèse may try again\n"
    lost = command("reset", "therese", "--new-pin", "--as", JEAN, typed=(jean, "7418", "7418"))
    assert lost.exit_code == 0
    gone = command("disable", "therese", "--because", "left the post", "--as", JEAN, typed=(jean,))
    assert gone.stdout == "Thérèse may not sign in any more\n"
    assert json.loads(command("list", "--json").stdout)[-1]["state"] == "disabled"
    newest = opened(post)
    assert newest["user-disabled"].by == JEAN
    assert json.loads(newest["sign-in"].body or b"")["tablet"] == "terminal"


def test_a_command_says_in_one_line_why_it_refuses(command: Callable[..., Result], post: Post) -> None:
    for arguments, typed, words in (
        (("add", "Eve", "--role", "king"), (), "role: expected nurse, clinician"),
        (("add", "Eve", "--role", "nurse"), ("8306", "8306"), "the passphrase alone"),
        (
            ("add", "Eve", "--role", "nurse", "--as", "jean"),
            ("735194",),
            "user: expected one who may sign in",
        ),
        (
            ("add", "Eve", "--role", "nurse", "--as", JEAN),
            ("3906",),
            "PIN: expected the PIN of jean-habimana",
        ),
        (("add", "Eve", "--role", "nurse", "--as", JEAN), ("735194", "1234", "1234"), "among the first"),
        (("disable", CHANTAL, "--because", "x", "--as", PAUL), ("5862",), "right: expected a user who may"),
        (("glass", "--as", CHANTAL), ("4071",), "right: expected a user who may acknowledge-glass"),
        (("set-pin", CHANTAL), ("3906", "8306", "8306"), "PIN: expected the PIN of chantal-uwimana"),
    ):
        result = command(*arguments, typed=typed)
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        errors = [line for line in result.stderr.splitlines() if "error: " in line]
        assert len(errors) == 1
        assert words in errors[0]
    command("reset", PAUL, "--as", JEAN, typed=("3906",))
    assert "1 attempts with a wrong PIN" in command("reset", PAUL, "--as", JEAN, typed=("735194",)).stderr


def test_the_command_shows_broken_glass_and_acknowledges_it(
    command: Callable[..., Result], post: Post
) -> None:
    post.reopen()
    token = post.signs_in(CHANTAL).token
    granted = post.door.break_glass(token, "tablet-1", "decide", "p1", "no clinician\x1b[2J tonight")
    index = str(granted.verdict.glass)
    post.store.close()
    shown = command("glass", "--as", JEAN, typed=("735194",)).stdout
    assert index in shown
    assert f"{CHANTAL}  decide  patient p1: no clinician" in shown
    assert "\x1b" not in shown
    assert (
        json.loads(command("glass", "--as", JEAN, "--json", typed=("735194",)).stdout)[0]["patient"] == "p1"
    )
    seen = command("glass", "--as", JEAN, "--seen", index, "--note", "was right", typed=("735194",))
    assert seen.stdout == "no broken glass waits for a supervisor\n"


def test_the_first_supervisor_comes_with_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(tmp_path, PASS, cost=Cost(8, 1, 1))
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    made = CliRunner().invoke(
        users_command, ["add", "Jean", "--role", "supervisor"], input="735194\n735194\n"
    )
    assert made.stdout == "Jean is a supervisor, known to the log as jean\n"
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "another passphrase")
    wrong_one = CliRunner().invoke(users_command, ["list"])
    assert wrong_one.exit_code == 2
    assert "passphrase: expected" in wrong_one.stderr


def test_every_users_command_has_help_with_an_example() -> None:
    for name, one in users_command.commands.items():
        assert f"Example: akazuba users {name}" in (one.help or "")
