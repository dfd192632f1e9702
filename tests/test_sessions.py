"""Sessions and broken glass: how they begin, what they may do, and how they end."""

# ruff: noqa: F401, F811 - the fixtures of post_bench are imported by name

from __future__ import annotations

import pytest
from post_bench import (
    ALINE,
    CHANTAL,
    JEAN,
    ODILE,
    PAUL,
    PIN,
    Post,
    post,
    template,
    wrong,
)

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.glass import acknowledge, shown_break_glass, unacknowledged_break_glass
from akazuba.governance.roles import (
    ACTIONS,
    LIMITS,
    MAY,
    known_action,
)
from akazuba.governance.sessions import GLASS_S, MOST_SESSIONS
from akazuba.governance.signing_in import set_pin
from akazuba.governance.users import PASSPHRASE, add, change_role, disable, reset, users

# --- sessions -------------------------------------------------------------------------------------------


def test_a_session_opens_with_the_pin_on_its_own_tablet_only(post: Post) -> None:
    started = post.signs_in(CHANTAL)
    session, user = post.door.session(started.token, "tablet-1")
    assert (session.user, user.role, len(bytes.fromhex(started.token))) == (CHANTAL, "nurse", 32)
    with pytest.raises(InputError, match="its token was shown by tablet-2"):
        post.door.session(started.token, "tablet-2")
    with pytest.raises(InputError, match="sign in, found none"):
        post.door.session(started.token, "tablet-1")


@pytest.mark.parametrize("token", ["", "00", "zz" * 32, "0" * 64, "é" * 64, "0" * 65])
def test_what_is_no_token_opens_nothing_and_is_not_repeated(post: Post, token: str) -> None:
    post.signs_in(CHANTAL)
    with pytest.raises(InputError) as error:
        post.door.session(token, "tablet-1")
    assert len(token) < 5 or token not in str(error.value)


@pytest.mark.parametrize("tablet", ["", " x", "a\nb", "t" * 65])
def test_what_is_no_tablet_is_refused(post: Post, tablet: str) -> None:
    with pytest.raises(InputError, match="tablet: expected"):
        post.door.start(CHANTAL, "4071", tablet)
    with pytest.raises(InputError, match="tablet: expected"):
        post.door.session("00" * 32, tablet)


@pytest.mark.parametrize("who", [JEAN, CHANTAL, PAUL, ODILE, ALINE])
def test_a_session_ends_unused_and_in_any_case(post: Post, who: str) -> None:
    limits = LIMITS[users(post.store)[who].role]
    token = post.signs_in(who).token
    post.clock.wait(limits.idle_s)
    with pytest.raises(InputError, match="not used for"):
        post.door.session(token, "tablet-1")
    token, left = post.signs_in(who).token, limits.whole_s
    while left > limits.idle_s / 2:
        post.clock.wait(limits.idle_s / 2)
        left -= limits.idle_s / 2
        post.door.session(token, "tablet-1")
    post.clock.wait(left)
    with pytest.raises(InputError, match="open for"):
        post.door.session(token, "tablet-1")
    assert [str(told["why"])[:5] for told in post.log("session-ended")] == ["not u", "open "]


def test_a_wrong_wall_clock_neither_keeps_nor_ends_a_session(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    post.clock.wall_ms -= 400 * 86_400_000
    post.door.session(token, "tablet-1")
    post.clock.wall_ms += 800 * 86_400_000
    post.door.session(token, "tablet-1")


def test_a_session_outlives_a_restart_of_the_program_but_not_of_the_box(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    post.reopen()
    post.door.session(token, "tablet-1")
    post.clock.restart()
    with pytest.raises(InputError, match="the box was started anew"):
        post.door.session(token, "tablet-1")


def test_whoever_takes_over_a_tablet_ends_the_others_session(post: Post) -> None:
    first = post.signs_in(CHANTAL)
    second = post.signs_in(PAUL)
    assert post.door.session(second.token, "tablet-1")[1].id == PAUL
    with pytest.raises(InputError, match="found none"):
        post.door.session(first.token, "tablet-1")
    again = post.signs_in(PAUL)
    assert again.token != second.token
    assert [(told["session"], told["why"]) for told in post.log("session-ended")] == [
        (first.session.name, f"{PAUL} took over"),
        (second.session.name, "signed in again"),
    ]
    with pytest.raises(InputError):
        post.door.start(CHANTAL, "3906", "tablet-1")
    assert post.door.session(again.token, "tablet-1")[1].id == PAUL, "a wrong PIN ends nobody's session"


def test_a_user_has_three_sessions_at_most(post: Post) -> None:
    tokens = []
    for place in range(MOST_SESSIONS + 1):
        tokens.append(post.signs_in(CHANTAL, f"tablet-{place}").token)
        post.clock.wait(1)
    with pytest.raises(InputError, match="found none"):
        post.door.session(tokens[0], "tablet-0")
    assert len(post.door.sessions(tokens[-1], f"tablet-{MOST_SESSIONS}")) == MOST_SESSIONS
    assert post.log("session-ended")[-1]["why"] == "more than 3 at once"


def test_a_user_signs_out_here_or_everywhere(post: Post) -> None:
    tokens = [post.signs_in(CHANTAL, f"tablet-{place}").token for place in range(3)]
    post.door.end(tokens[0], "tablet-0")
    with pytest.raises(InputError, match="found none"):
        post.door.end(tokens[0], "tablet-0")
    assert post.door.end_all(tokens[1], "tablet-1") == 2
    for place in (1, 2):
        with pytest.raises(InputError, match="found none"):
            post.door.session(tokens[place], f"tablet-{place}")


def test_a_supervisor_ends_all_sessions_of_a_user_and_nobody_else_does(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    other = post.signs_in(PAUL, "tablet-2").token
    with pytest.raises(InputError, match="manage-users"):
        post.door.end_all(other, "tablet-2", CHANTAL)
    with pytest.raises(InputError, match="manage-users"):
        post.door.sessions(other, "tablet-2", CHANTAL)
    assert len(post.door.sessions(other, "tablet-2", PAUL)) == 1
    assert post.door.end_all(post.signs_in(JEAN, "tablet-3").token, "tablet-3", CHANTAL) == 1
    with pytest.raises(InputError, match="found none"):
        post.door.session(token, "tablet-1")
    assert post.log("session-ended")[-1]["why"] == f"all were ended by {JEAN}"


def test_a_new_pin_or_a_reset_ends_every_session_of_the_user(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    set_pin(post.store, CHANTAL, "4071", "8306", "tablet-2", post.clock())
    with pytest.raises(InputError, match="changed"):
        post.door.session(token, "tablet-1")
    token = post.door.start(CHANTAL, "8306", "tablet-1").token
    reset(post.store, JEAN, CHANTAL)
    with pytest.raises(InputError, match="changed"):
        post.door.session(token, "tablet-1")


def test_every_sign_in_start_end_and_failure_stands_in_the_log(post: Post) -> None:
    size = post.store.size
    wrong(post, 1)
    token = post.signs_in(CHANTAL).token
    post.signs_in(PAUL, "tablet-2")
    post.door.end(token, "tablet-1")
    found = [(entry.kind, entry.by) for entry in post.store.entries(first=size)]
    assert found == [
        ("sign-in-failed", CHANTAL),
        ("sign-in", CHANTAL),
        ("session-started", CHANTAL),
        ("sign-in", PAUL),
        ("session-started", PAUL),
        ("session-ended", CHANTAL),
    ]
    assert post.log("sign-in-failed") == [
        {"tablet": "tablet-1", "factor": "pin", "why": "a wrong PIN", "wrong": 1}
    ]


def test_broken_sessions_are_named(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    post.store.remember("sessions", b"\xc1")
    with pytest.raises(ArtefactError, match="those that are open"):
        post.door.session(token, "tablet-1")


# --- what a session may do ------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [JEAN, CHANTAL, PAUL, ODILE, ALINE])
def test_a_session_may_what_its_role_may_and_a_refusal_is_logged(post: Post, who: str) -> None:
    started = post.signs_in(who)
    role = users(post.store)[who].role
    refusals = []
    for action in ACTIONS:
        if action in MAY[role]:
            assert post.door.demand(started.token, "tablet-1", action, "p1").user.id == who
        else:
            with pytest.raises(InputError, match=f"right: expected one of the role {role}"):
                post.door.demand(started.token, "tablet-1", action, "p1")
            refusals.append(action)
    assert [told["action"] for told in post.log("access-refused")] == refusals
    assert {entry.by for entry in post.store.entries(kind="access-refused")} == {who}
    assert post.log("access-refused")[0]["where"] == "tablet-1"


def test_broken_glass_gives_one_right_for_one_patient_for_half_an_hour(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    with pytest.raises(InputError, match="sign accept"):
        post.door.demand(token, "tablet-1", "decide", "p1")
    reason = "Paul is out, she is bleeding and must go on"
    broken = post.door.break_glass(token, "tablet-1", "decide", "p1", reason)
    granted = post.door.demand(token, "tablet-1", "decide", "p1")
    assert granted.verdict == broken.verdict
    assert granted.verdict.glass == post.store.size - 1
    assert post.store.entry(post.store.size - 1).kind == "break-glass"
    for action, patient in (("decide", "p2"), ("decide", ""), ("export", "p1"), ("erase", "p1")):
        with pytest.raises(InputError, match="right: expected"):
            post.door.demand(token, "tablet-1", known_action(action), patient)
    while post.clock.seconds < 100 + GLASS_S - 60:
        post.clock.wait(60)
        post.door.demand(token, "tablet-1", "decide", "p1")
    post.clock.wait(60)
    with pytest.raises(InputError, match="sign accept"):
        post.door.demand(token, "tablet-1", "decide", "p1")


def test_broken_glass_ends_with_the_session(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    post.door.break_glass(token, "tablet-1", "decide", "p1", "no clinician tonight")
    token = post.signs_in(CHANTAL).token
    with pytest.raises(InputError, match="sign accept"):
        post.door.demand(token, "tablet-1", "decide", "p1")


@pytest.mark.parametrize(
    ("who", "action", "patient", "reason", "words"),
    [
        (CHANTAL, "decide", "p1", "", "10 letters or more"),
        (CHANTAL, "decide", "p1", "...........", "10 letters or more"),
        (CHANTAL, "decide", "p1", "x" * 2001, "2000 characters at most"),
        (CHANTAL, "decide", "p9", "no clinician tonight", "unknown or erased"),
        (CHANTAL, "record", "p1", "no clinician tonight", "a right that the role lacks"),
        (CHANTAL, "erase", "p1", "no clinician tonight", "no glass for the role nurse"),
        (PAUL, "read-log", "p1", "no clinician tonight", "no glass for the role clinician"),
        (ODILE, "see-patients", "p1", "the backup is broken", "no glass for the role operator"),
        (ALINE, "see-patients", "p1", "who was she after all", "no glass for the role auditor"),
        (JEAN, "decide", "p1", "no clinician tonight", "no glass for the role supervisor"),
    ],
)
def test_glass_is_not_broken_without_reason_patient_or_need(
    post: Post, who: str, action: str, patient: str, reason: str, words: str
) -> None:
    token = post.signs_in(who).token
    with pytest.raises(InputError, match=words):
        post.door.break_glass(token, "tablet-1", known_action(action), patient, reason)
    assert unacknowledged_break_glass(post.store) == []
    with pytest.raises(InputError):
        post.door.demand(token, "tablet-1", "erase" if who != JEAN else "decide", "p1")


def test_every_broken_glass_is_shown_until_a_supervisor_acknowledges_it(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    indices = []
    for patient in ("p1", "p2"):
        granted = post.door.break_glass(token, "tablet-1", "decide", patient, "no clinician tonight")
        indices.append(granted.verdict.glass)
    post.reopen()
    shown = unacknowledged_break_glass(post.store)
    assert [(it.index, it.by, it.patient, it.action, it.reason) for it in shown] == [
        (indices[0], CHANTAL, "p1", "decide", "no clinician tonight"),
        (indices[1], CHANTAL, "p2", "decide", "no clinician tonight"),
    ]
    acknowledge(post.store, JEAN, shown[0].index, "Paul was called and agreed")
    assert [it.index for it in unacknowledged_break_glass(post.store)] == [indices[1]]
    for index in (shown[0].index, 0, -1, 10**9):
        with pytest.raises(InputError, match="nobody has acknowledged"):
            acknowledge(post.store, JEAN, index, "again")
    for note in ("", " ", "n" * 2001):
        with pytest.raises(InputError, match="note: expected"):
            acknowledge(post.store, JEAN, shown[1].index, note)
    assert len(shown_break_glass(post.store, JEAN)) == 1
    read = list(post.store.entries(kind="read"))
    assert [(entry.by, entry.patient) for entry in read] == [(JEAN, "p2")]


def test_nobody_acknowledges_what_he_broke_or_without_the_right(post: Post) -> None:
    token = post.signs_in(PAUL).token
    index = post.door.break_glass(token, "tablet-1", "export", "p1", "referral by night").verdict.glass
    assert index is not None
    for by in (PAUL, CHANTAL, ODILE, ALINE, PASSPHRASE):
        with pytest.raises(InputError, match="acknowledge-glass"):
            acknowledge(post.store, by, index, "fine")
        with pytest.raises(InputError, match="acknowledge-glass"):
            shown_break_glass(post.store, by)
    change_role(post.store, JEAN, PAUL, "supervisor", "918264")
    with pytest.raises(InputError, match="than one's own"):
        acknowledge(post.store, PAUL, index, "fine")
    acknowledge(post.store, JEAN, index, "fine")


def test_a_reason_is_erased_with_its_patient_but_the_glass_stays_broken(post: Post) -> None:
    token = post.signs_in(CHANTAL).token
    post.door.break_glass(token, "tablet-1", "decide", "p1", "she is bleeding, no clinician")
    post.store.erase("p1", JEAN, "she asked for it")
    (broken,) = unacknowledged_break_glass(post.store)
    assert (broken.patient, broken.reason) == ("p1", None)
    assert shown_break_glass(post.store, JEAN) == [broken]
    acknowledge(post.store, JEAN, broken.index, "she was right")


def test_text_that_utf_8_cannot_carry_breaks_nothing(post: Post) -> None:
    bad = "\udce9 ten letters or more"
    token = post.signs_in(CHANTAL).token
    index = post.door.break_glass(token, "tablet-1", "decide", "p1", bad).verdict.glass
    with pytest.raises(InputError, match="right: expected"):
        post.door.demand(token, "tablet-1", "erase", bad)
    with pytest.raises(InputError, match="unknown or erased"):
        post.door.break_glass(token, "tablet-1", "decide", bad, bad)
    acknowledge(post.store, JEAN, index or 0, bad)
    assert disable(post.store, JEAN, PAUL, bad).disabled
    for call in (
        lambda: post.tries(bad, "4071"),
        lambda: post.tries(CHANTAL, bad),
        lambda: add(post.store, JEAN, bad, "nurse", "8306"),
        lambda: post.door.session(token, bad),
        lambda: post.door.session("\udce9" * 64, "tablet-1"),
    ):
        with pytest.raises(InputError):
            call()


def test_the_log_verifies_after_all_of_this(post: Post) -> None:
    from akazuba.merkle import Frontier

    wrong(post, 2)
    post.signs_in(CHANTAL)
    disable(post.store, JEAN, PAUL, "left")
    frontier = Frontier()
    for _, hash_ in post.store.leaves():
        frontier, _ = frontier.appended(hash_)
    assert frontier.root() == post.store.root
