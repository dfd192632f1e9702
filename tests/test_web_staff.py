"""Users on the page: who manages whom, that PINs are typed and never shown, and everybody's own sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tablet_bench import PINS, Tablet, box, page_of, recorded, words

from akazuba.governance.attempts import attempts_of, count
from akazuba.governance.pins import LOCK_AFTER, Attempts, system_moment
from akazuba.governance.users import User, users
from akazuba.storage.store import Store
from akazuba.web.post import Post, Records


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("staff"), terminology_home)
    yield made
    made.close()


@pytest.fixture
def supervisor(post: Post) -> Tablet:
    return Tablet(page_of(post)).sign_in("jean-habimana")


def known(post: Post, who: str) -> User:
    return asyncio.run(post.records(lambda kept: users(kept.opened())))[who]


def added(
    supervisor: Tablet, name: str, role: str = "nurse", pin: str = "8264", again: str = ""
) -> httpx.Response:
    given = {"name": name, "role": role, "pin": pin, "again": again or pin}
    return supervisor.post("/staff/add", given)


def signs_in(post: Post, who: str, pin: str) -> bool:
    tablet = Tablet(page_of(post))
    answer = tablet.post("/sign-in", {"user": who, "pin": pin})
    return answer.status_code in (200, 303)


def test_a_supervisor_adds_a_user_who_typed_her_pin_twice(post: Post, supervisor: Tablet) -> None:
    assert added(supervisor, "Grace Ingabire").status_code == 303
    assert known(post, "grace-ingabire").role == "nurse"
    assert signs_in(post, "grace-ingabire", "8264")
    assert "Grace Ingabire" in supervisor.get("/staff").text


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"pin": "8264", "again": "8265"}, "typed twice"),
        ({"pin": "1234", "again": "1234"}, "digits in a row"),
        ({"pin": "82", "again": "82"}, "4 to 6 digits"),
        ({"role": "supervisor"}, "6 digits"),
        ({"role": "root"}, "role: expected nurse"),
        ({"name": ""}, "name: expected"),
        ({"name": "Dr Musa"}, "taken"),
        ({"name": "x" * 201}, "at most 200"),
    ],
)
def test_what_is_no_user_is_refused_in_words(supervisor: Tablet, given: dict[str, str], why: str) -> None:
    typed = {"name": "Somebody New", "role": "nurse", "pin": "8264", "again": "8264", **given}
    answer = supervisor.post("/staff/add", typed)
    assert answer.status_code == 422
    assert why in words(answer.text)
    assert not re.search(r'value="(8264|8265|1234)"', answer.text), "a page repeats no PIN"


def test_a_name_that_is_a_script_stays_a_text(supervisor: Tablet) -> None:
    name = "<script>alert('x')</script>"
    assert name not in added(supervisor, name, pin="1111").text
    assert added(supervisor, name).status_code in (303, 422)
    assert name not in supervisor.get("/staff").text


def test_only_a_supervisor_comes_in(post: Post) -> None:
    paths = ("add", "dr-musa/disable", "dr-musa/role", "dr-musa/reset", "dr-musa/end")
    for who in ("chantal-uwimana", "dr-musa", "alice-auditor", "odile-operator"):
        tablet = Tablet(page_of(post)).sign_in(who)
        assert tablet.get("/staff").status_code == 403
        for path in paths:
            assert tablet.post(f"/staff/{path}", {"because": "x", "role": "nurse"}).status_code == 403
    assert not known(post, "dr-musa").disabled
    stranger = Tablet(page_of(post))
    assert stranger.get("/staff").status_code == 303
    assert stranger.post("/staff/add", {"name": "Me"}).status_code == 401


def test_nobody_changes_herself(post: Post, supervisor: Tablet) -> None:
    for path in ("disable", "role", "reset"):
        given = {"because": "x", "role": "nurse", "pin": "583921", "again": "583921"}
        answer = supervisor.post(f"/staff/jean-habimana/{path}", given)
        assert answer.status_code == 422
        assert "oneself" in answer.text
    assert known(post, "jean-habimana").role == "supervisor"


def test_a_disabled_user_is_out_at_once(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Kevin Mugabo")
    kevin = Tablet(page_of(post))
    kevin.post("/sign-in", {"user": "kevin-mugabo", "pin": "8264"})
    assert kevin.get("/me").status_code == 200
    assert supervisor.post("/staff/kevin-mugabo/disable", {"because": " "}).status_code == 422
    assert supervisor.post("/staff/kevin-mugabo/disable", {"because": "moved away"}).status_code == 303
    assert kevin.get("/me").status_code == 303
    assert not signs_in(post, "kevin-mugabo", "8264")


def test_another_role_takes_a_new_pin(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Rose Uwera")
    given = {"role": "auditor", "pin": "736192", "again": "736192"}
    assert supervisor.post("/staff/rose-uwera/role", {**given, "again": "736193"}).status_code == 422
    assert supervisor.post("/staff/rose-uwera/role", given).status_code == 303
    assert known(post, "rose-uwera").role == "auditor"
    assert not signs_in(post, "rose-uwera", "8264")
    assert signs_in(post, "rose-uwera", "736192")


def test_a_locked_user_is_helped_with_and_without_a_new_pin(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Eric Nkusi")
    for _ in range(3):
        assert not signs_in(post, "eric-nkusi", "9153")
    assert "3 wrong PINs" in words(supervisor.get("/staff").text)
    assert supervisor.post("/staff/eric-nkusi/reset").status_code == 303
    assert known(post, "eric-nkusi").wrong == 0
    assert signs_in(post, "eric-nkusi", "8264")
    assert supervisor.post("/staff/eric-nkusi/reset", {"pin": "7361", "again": "7361"}).status_code == 303
    assert signs_in(post, "eric-nkusi", "7361")
    assert not signs_in(post, "eric-nkusi", "8264")


def test_a_lock_says_on_which_tablet_it_is(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Solange Mutesi")
    for _ in range(2):  # two tablets that are hers from now on
        assert signs_in(post, "solange-mutesi", "8264")
    first, second = sorted(known(post, "solange-mutesi").own)

    def wrong(*where: str) -> str:
        def work(kept: Records) -> None:
            store = kept.opened()
            book = attempts_of(store)
            for key in where:
                of = known_of(store).changed
                book[key] = Attempts(LOCK_AFTER, system_moment(), of, right_ms=store.now_ms())
            count(store, book)

        asyncio.run(post.records(work))
        return words(supervisor.get("/staff").text).split("Solange Mutesi")[1].split("solange-mutesi ·")[0]

    def known_of(store: Store) -> User:
        return users(store)["solange-mutesi"]

    assert f"locked by wrong PINs on her own tablet: {first}" in wrong(f"own solange-mutesi {first}")
    elsewhere = wrong("user solange-mutesi")
    assert f"locked by wrong PINs, but not on her own tablet: {second}" in elsewhere
    assert first not in elsewhere
    everywhere = wrong(f"own solange-mutesi {second}")
    assert "⚠ locked by wrong PINs" in everywhere
    assert "tablet" not in everywhere


def test_a_supervisor_ends_all_sessions_of_another(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Divine Umutoni")
    tablets = [Tablet(page_of(post)) for _ in range(2)]
    for tablet in tablets:
        tablet.post("/sign-in", {"user": "divine-umutoni", "pin": "8264"})
    assert "divine-umutoni · 2 open sessions" in words(supervisor.get("/staff").text)
    assert supervisor.post("/staff/divine-umutoni/end").status_code == 303
    assert [tablet.get("/me").status_code for tablet in tablets] == [303, 303]


@pytest.mark.parametrize("deed", ["promote", "..", "disable%00", "end;x"])
def test_an_unknown_deed_is_refused(supervisor: Tablet, deed: str) -> None:
    assert supervisor.post(f"/staff/dr-musa/{deed}").status_code in (404, 405, 422)


# --- oneself --------------------------------------------------------------------------------------------


def test_everybody_changes_her_own_pin_with_the_old_one(post: Post, supervisor: Tablet) -> None:
    added(supervisor, "Aline Keza")
    aline = Tablet(page_of(post))
    aline.post("/sign-in", {"user": "aline-keza", "pin": "8264"})
    wrong = aline.post("/me/pin", {"current": "0000", "pin": "7361", "again": "7361"})
    assert wrong.status_code == 422
    assert "7361" not in wrong.text
    assert aline.post("/me/pin", {"current": "8264", "pin": "7361", "again": "7362"}).status_code == 422
    assert aline.post("/me/pin", {"current": "8264", "pin": "7361", "again": "7361"}).status_code == 303
    assert aline.get("/me").status_code == 303, "every session is over"
    assert signs_in(post, "aline-keza", "7361")
    assert not signs_in(post, "aline-keza", "8264")


def test_nobody_changes_a_pin_without_a_session(post: Post) -> None:
    given = {"current": PINS["dr-musa"], "pin": "7361", "again": "7361", "user": "dr-musa"}
    assert Tablet(page_of(post)).post("/me/pin", given).status_code == 401


def test_a_user_sees_her_sessions_and_ends_them_all(post: Post) -> None:
    here, there = (Tablet(page_of(post)).sign_in("dr-musa") for _ in range(2))
    seen = words(here.get("/me").text)
    assert seen.count("(this tablet)") == 1
    assert there.cookies["akazuba_tablet"] in seen
    assert here.post("/me/end").status_code == 303
    assert [tablet.get("/me").status_code for tablet in (here, there)] == [303, 303]
    assert recorded(post, "session-ended")[-1].by == "dr-musa"
