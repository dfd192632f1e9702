"""Passkeys on the page, in this process: whose answer counts, where, how often and for which origin.

The authenticator is a program (SIMULATED); a browser's own is in tests/e2e/test_e2e_passkeys.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tablet_bench import PASSPHRASE, PINS, Tablet, box, page_of, recorded, words

from akazuba.governance import passkeys as governed
from akazuba.governance.pins import TABLET_FREE
from akazuba.governance.users import users
from akazuba.web.access import SESSION
from akazuba.web.guard import Pace
from akazuba.web.post import Post, Records

pytest.importorskip("webauthn", reason="takes the extra `passkeys`")

from passkey_bench import PRESENT, Authenticator

ORIGIN = "https://box.example"
NURSE, CLINICIAN = "chantal-uwimana", "dr-musa"


@dataclass
class Desk:
    """Tablets of one page. secure: as it is served."""

    app: Starlette
    origin: str = ORIGIN

    def tablet(self) -> Tablet:
        return Tablet(self.app, origin=self.origin)

    def device(self, **odd: Any) -> Authenticator:
        return Authenticator(**{"origin": ORIGIN, "host": "box.example", **odd})

    def gives(self, device: Authenticator, who: str = NURSE) -> httpx.Response:
        tablet = self.tablet().sign_in(who)
        return adds(tablet, device, who)

    def signs_in(self, device: Authenticator, who: str = NURSE, tablet: Tablet | None = None) -> Tablet:
        tablet = tablet or self.tablet()
        answers(tablet, device.gets(asks(tablet, who).text))
        return tablet


def asks(tablet: Tablet, who: str = NURSE) -> httpx.Response:
    return tablet.post("/sign-in/passkey", {"user": who}, headers={"X-Fragment": "1"})


def answers(tablet: Tablet, answer: str, **more: str) -> httpx.Response:
    return tablet.post("/sign-in", {"answer": answer, **more})


def adds(tablet: Tablet, device: Authenticator, who: str = NURSE) -> httpx.Response:
    options = tablet.post("/me/passkeys/options", {"current": PINS[who]})
    assert options.status_code == 200, options.text
    return tablet.post("/me/passkeys", {"answer": device.creates(options.text)})


def is_in(tablet: Tablet) -> bool:
    return tablet.get("/me").status_code == 200


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("passkeys"), terminology_home)
    yield made
    made.close()


@pytest.fixture
def desk(post: Post) -> Iterator[Desk]:
    """A test begins and ends with no passkey of anybody."""
    yield Desk(page_of(post, secure=True, origins=[f"{ORIGIN}:443", "https://127.0.0.1:443"]))

    def clear(kept: Records) -> None:
        store = kept.opened()
        for user in users(store).values():
            for one in governed.passkeys_of(store, user):
                governed.remove(store, user.id, user.id, one.credential, "the test is over")

    asyncio.run(post.records(clear))


def test_who_has_a_passkey_signs_in_by_it_through_the_same_door_as_by_pin(post: Post, desk: Desk) -> None:
    device = desk.device()
    assert desk.gives(device).headers["location"] == "/me/passkeys"
    tablet = desk.tablet()
    answer = answers(tablet, device.gets(asks(tablet).text), next="/queue")
    assert (answer.status_code, answer.headers["location"]) == (303, "/queue")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert is_in(tablet)
    told = json.loads(recorded(post, "sign-in")[-1].body or b"")
    assert told["factor"] == "passkey"
    assert recorded(post, "session-started")[-1].by == NURSE
    tablet.post("/sign-out")
    assert not is_in(tablet)


def test_her_own_page_lists_what_she_has_and_removes_it_with_a_reason(post: Post, desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    hers, other = desk.tablet().sign_in(NURSE), desk.tablet().sign_in(CLINICIAN)
    assert "You have no passkey." in words(other.get("/me/passkeys").text)
    listed = words(hers.get("/me/passkeys").text)
    index = recorded(post, "passkey-added")[-1].index
    assert f"entry {index} of the log" in listed
    assert re.search(r"box\.example · \d{4}-\d\d-\d\d \d\d:\d\d UTC", listed)
    given = {"credential": device.id.hex(), "because": "lost it"}
    assert other.post("/me/passkeys/remove", given).status_code == 422, "not hers"
    assert hers.post("/me/passkeys/remove", {**given, "because": " "}).status_code == 422
    assert hers.post("/me/passkeys/remove", given).status_code == 303
    assert "You have no passkey." in words(hers.get("/me/passkeys").text)
    assert b"lost it" in (recorded(post, "passkey-removed")[-1].body or b"")


SUPERVISOR = "jean-habimana"


def test_a_supervisor_removes_the_key_that_somebody_lost_and_it_is_logged(post: Post, desk: Desk) -> None:
    lost, kept = desk.device(), desk.device()
    desk.gives(lost)
    desk.gives(kept)
    head = desk.tablet().sign_in(SUPERVISOR)
    page = head.get("/staff").text
    assert f'value="{lost.id.hex()}"' in page
    path, given = f"/staff/{NURSE}/passkey", {"credential": lost.id.hex(), "because": "lost", "sure": "yes"}
    for wrong, why in (
        ({**given, "sure": ""}, "the tick that it is gone for good"),
        ({**given, "because": " "}, "a reason"),
        ({**given, "credential": "00"}, f"one of {NURSE}"),
    ):
        refused = head.post(path, wrong)
        assert refused.status_code == 422
        assert why in words(refused.text)
    assert head.post(f"/staff/{CLINICIAN}/passkey", given).status_code == 422, "not hers"
    assert head.post(path, given).status_code == 303
    entry = recorded(post, "passkey-removed")[-1]
    said = json.loads(entry.body or b"")
    assert (entry.by, said["user"], said["because"]) == (SUPERVISOR, NURSE, "lost")
    assert f'value="{lost.id.hex()}"' not in head.get("/staff").text
    refused = answers(tablet := desk.tablet(), lost.gets(asks(tablet).text))
    assert "that counts, found another one" in words(refused.text)
    assert is_in(desk.signs_in(kept)), "her other one stays"
    assert head.post(path, given).status_code == 422, "it is gone already"


def test_nobody_but_a_supervisor_removes_anothers_passkey(post: Post, desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    given = {"credential": device.id.hex(), "because": "x", "sure": "yes"}
    for who in (NURSE, CLINICIAN, "alice-auditor"):
        assert desk.tablet().sign_in(who).post(f"/staff/{NURSE}/passkey", given).status_code == 403
    assert desk.tablet().post(f"/staff/{NURSE}/passkey", given).status_code == 401
    own = desk.device()
    desk.gives(own, SUPERVISOR)
    head, given = desk.tablet().sign_in(SUPERVISOR), {**given, "credential": own.id.hex()}
    assert head.post(f"/staff/{SUPERVISOR}/passkey", given).status_code == 422, "her own page is for that"
    assert is_in(desk.signs_in(device))


def test_a_removed_passkey_signs_nobody_in_though_it_was_asked_before(desk: Desk) -> None:
    device, more = desk.device(), desk.device()
    desk.gives(device)
    desk.gives(more)
    tablet = desk.tablet()
    answer = device.gets(asks(tablet).text)
    hers = desk.tablet().sign_in(NURSE)
    hers.post("/me/passkeys/remove", {"credential": device.id.hex(), "because": "lost it"})
    refused = answers(tablet, answer)
    assert refused.status_code == 422
    assert "that counts, found another one" in words(refused.text)
    assert not is_in(tablet)


def test_an_answer_is_taken_once(post: Post, desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    tablet = desk.tablet()
    answer = device.gets(asks(tablet).text)
    assert answers(tablet, answer).status_code == 303
    tablet.post("/sign-out")
    again = answers(tablet, answer)
    assert again.status_code == 422
    assert "a challenge on tablet-" in words(again.text)
    asks(tablet)
    assert "challenge" in words(answers(tablet, answer).text), "an old answer to a new question"
    assert not is_in(tablet)
    assert b"challenge" in (recorded(post, "sign-in-failed")[-1].body or b"")


def test_another_tablets_challenge_is_none(desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    asked, other = desk.tablet(), desk.tablet()
    answer = device.gets(asks(asked).text)
    assert answers(other, answer).status_code == 422
    asks(other)
    assert answers(other, answer).status_code == 422
    assert SESSION not in other.cookies
    assert answers(asked, answer).status_code == 303, "it still counts where it was asked"


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        ({"origin": "https://box.example.evil"}, "origin"),
        ({"origin": "http://box.example"}, "origin"),
        ({"origin": "https://box.example:8443"}, "origin"),
        ({"host": "evil.example"}, "RP ID"),
        ({"flags": PRESENT}, "not verified"),
        ({"step": 0}, "sign count"),
    ],
)
def test_a_wrong_origin_an_unverified_user_and_a_copy_are_refused_and_logged(
    post: Post, desk: Desk, odd: dict[str, Any], named: str
) -> None:
    device = desk.device(count=7)
    desk.gives(device)
    desk.signs_in(device)
    failed = len(recorded(post, "sign-in-failed"))
    for name, value in odd.items():
        setattr(device, name, value)
    tablet = desk.tablet()
    refused = answers(tablet, device.gets(asks(tablet).text))
    assert refused.status_code == 422
    assert named.lower() in words(refused.text).lower()
    assert not is_in(tablet)
    assert len(recorded(post, "sign-in-failed")) == failed + 1


@pytest.mark.parametrize("odd", [{"origin": "https://evil.example"}, {"flags": PRESENT}])
def test_a_key_made_elsewhere_or_without_asking_is_not_added(desk: Desk, odd: dict[str, Any]) -> None:
    assert desk.gives(desk.device(**odd)).status_code == 422
    assert "You have no passkey." in words(desk.tablet().sign_in(NURSE).get("/me/passkeys").text)


def test_adding_takes_the_pin_and_a_wrong_one_counts(post: Post, desk: Desk) -> None:
    tablet = desk.tablet().sign_in(NURSE)
    wrong = tablet.post("/me/passkeys/options", {"current": "0000"}, headers={"X-Fragment": "1"})
    assert wrong.status_code == 422
    assert "another one; 9 more attempts" in wrong.json()["error"]
    assert asyncio.run(post.records(lambda kept: users(kept.opened())[NURSE].wrong)) == 1
    assert tablet.post("/me/passkeys", {"answer": "{}"}).status_code == 422, "nothing was asked"
    told = desk.tablet().post("/sign-in", {"user": NURSE, "pin": PINS[NURSE]})
    assert "1 attempts with a wrong PIN before this one" in words(told.text)


def test_wrong_pins_are_told_at_a_sign_in_by_passkey_too(desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    desk.tablet().post("/sign-in", {"user": NURSE, "pin": "0000"})
    tablet = desk.tablet()
    answer = answers(tablet, device.gets(asks(tablet).text))
    assert "1 attempts with a wrong PIN before this one" in words(answer.text)
    assert is_in(tablet)
    desk.tablet().sign_in(NURSE)


def test_who_took_the_tablet_over_adds_nothing_to_whoever_had_it(desk: Desk) -> None:
    tablet, device = desk.tablet().sign_in(NURSE), desk.device()
    options = tablet.post("/me/passkeys/options", {"current": PINS[NURSE]}).text
    tablet.sign_in(CLINICIAN)
    answer = tablet.post("/me/passkeys", {"answer": device.creates(options)})
    assert answer.status_code == 422
    assert "another user's" in words(answer.text).replace("&#39;", "'")


def test_nobody_adds_or_removes_without_a_session(desk: Desk) -> None:
    stranger = desk.tablet()
    assert stranger.get("/me/passkeys").status_code == 303
    for path in ("/me/passkeys", "/me/passkeys/options", "/me/passkeys/remove"):
        assert stranger.post(path, {"current": PINS[NURSE], "answer": "{}"}).status_code == 401


def test_a_typed_pin_goes_before_an_answer(desk: Desk) -> None:
    """A browser may fill in a form that was sent before."""
    tablet = desk.tablet()
    answer = answers(tablet, "{}", user=NURSE, pin=PINS[NURSE])
    assert answer.status_code == 303


def test_a_locked_box_asks_no_passkey_and_takes_none(post: Post, desk: Desk) -> None:
    device = desk.device()
    desk.gives(device)
    tablet, hers = desk.tablet(), desk.tablet().sign_in(NURSE)
    answer = device.gets(asks(tablet).text)
    asyncio.run(post.records(lambda kept: kept.lock()))
    try:
        assert asks(tablet).status_code == 423
        assert answers(tablet, answer).status_code == 423
        assert hers.post("/me/passkeys/options", {"current": PINS[NURSE]}).status_code == 423
        assert hers.post("/me/passkeys", {"answer": "{}"}).status_code == 423
        page = tablet.get("/sign-in").text
        assert "data-passkey" not in page
        assert NURSE not in page
    finally:
        asyncio.run(post.unlock(PASSPHRASE))
    assert not is_in(tablet)
    assert answers(tablet, answer).status_code == 303, "the same boot, five minutes not over, still unused"


def test_the_page_offers_it_where_somebody_has_one_for_this_name(post: Post, desk: Desk) -> None:
    assert "data-passkey" not in desk.tablet().get("/sign-in").text
    desk.gives(desk.device())
    page = desk.tablet().get("/sign-in").text
    (button,) = re.findall(r"<button[^>]*data-passkey[^>]*>", page)
    assert " hidden" in button, "until a script has found that the browser has it"
    assert 'type="button"' in button
    assert page.index('<button class="primary">') < page.index(button), "Enter sends the PIN"
    assert "/static/passkeys.js" in page


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("http://box.example", ["http://box.example:80"]),
        ("https://192.168.1.7", ["https://192.168.1.7:443"]),
        ("https://other.example", ["https://box.example:443"]),
        ("https://box.example:8443", ["https://box.example:443"]),
    ],
)
def test_where_no_passkey_can_be_the_page_says_so_and_the_pin_works(
    post: Post, desk: Desk, origin: str, origins: list[str]
) -> None:
    desk.gives(desk.device())
    there = Desk(page_of(post, secure=origin.startswith("https"), origins=origins), origin)
    tablet = there.tablet()
    assert "data-passkey" not in tablet.get("/sign-in").text
    assert asks(tablet).status_code == 422
    assert answers(tablet, "{}").status_code == 422
    tablet.sign_in(NURSE)
    page = tablet.get("/me/passkeys").text
    assert "open the box by its name over HTTPS" in words(page)
    assert 'data-passkey="add"' not in page
    assert tablet.post("/me/passkeys/options", {"current": PINS[NURSE]}).status_code == 422


@pytest.mark.usefixtures("desk")
def test_localhost_counts_without_https(post: Post) -> None:
    origins = ["http://127.0.0.1:8080", "http://localhost:8080"]
    here = Desk(page_of(post, origins=origins), "http://localhost:8080")
    device = here.device(origin="http://localhost:8080", host="localhost")
    assert here.gives(device).status_code == 303
    assert is_in(here.signs_in(device))
    by_number = Desk(here.app, "http://127.0.0.1:8080").tablet()
    assert asks(by_number).status_code == 422


def test_without_the_extra_the_page_offers_none(
    post: Post, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.gives(desk.device())
    monkeypatch.setattr(governed, "find_spec", lambda _: None)
    assert "data-passkey" not in desk.tablet().get("/sign-in").text
    refused = asks(desk.tablet())
    assert refused.status_code == 422
    assert "the extra `passkeys`" in refused.json()["error"]


def test_failed_answers_are_slowed_on_the_tablet_and_by_address(post: Post, desk: Desk) -> None:
    device, bad = desk.device(), desk.device()
    desk.gives(device)
    tablet = desk.tablet()
    for _ in range(TABLET_FREE):
        assert answers(tablet, bad.gets(asks(tablet).text)).status_code == 422
    refused = answers(tablet, device.gets(asks(tablet).text))
    assert "too many failed attempts here" in words(refused.text)
    slow = Desk(page_of(post, secure=True, origins=[ORIGIN], keys_pace=Pace(2, 0.0001)))
    stranger = slow.tablet()
    codes = [asks(stranger, "nobody").status_code for _ in range(3)]
    assert codes == [422, 422, 429]
    hers = slow.tablet()
    assert hers.post("/me/passkeys/options", {"current": "0000"}).status_code == 429


@pytest.mark.parametrize("answer", ["[]", "{}", "x" * 65_000, "[" * 20_000, '{"rawId": {}}'])
def test_what_is_no_answer_is_refused_in_words(desk: Desk, answer: str) -> None:
    desk.gives(desk.device())
    tablet = desk.tablet()
    asks(tablet)
    refused = answers(tablet, answer)
    assert refused.status_code == 422
    assert "passkey: expected" in words(refused.text)
    assert not is_in(tablet)
    hers = desk.tablet().sign_in(NURSE)
    hers.post("/me/passkeys/options", {"current": PINS[NURSE]})
    assert hers.post("/me/passkeys", {"answer": answer}).status_code == 422


def test_an_answer_that_is_too_long_is_not_read(desk: Desk) -> None:
    assert answers(desk.tablet(), "x" * 70_000).status_code == 422
