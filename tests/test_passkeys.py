"""Passkeys: registered after the PIN, bound to the hostname, counted, and refused when anything is odd.

The authenticator is a program of this test (SIMULATED): it signs as a real one does.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance import passkeys
from akazuba.governance.passkey_challenges import CHALLENGE_S
from akazuba.governance.passkeys import (
    Host,
    begin_registration,
    begin_sign_in,
    passkeys_of,
    register,
    remove,
    signed_in,
)
from akazuba.governance.pins import TABLET_FREE, Moment
from akazuba.governance.sessions import Door
from akazuba.governance.signing_in import set_pin, tried
from akazuba.governance.users import PASSPHRASE, add, change_role, disable, users
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, set_up

pytest.importorskip("webauthn", reason="takes the extra `passkeys`")

from passkey_bench import HOST, PRESENT, VERIFIED, Authenticator, b64, unb64

JEAN, CHANTAL = ("jean", "735194"), ("chantal", "4071")
TABLET = "tablet-1"


@dataclass
class Post:
    """A store with two users, and a boot's clock that a test turns."""

    store: Store
    now: Moment = field(default_factory=lambda: Moment(100.0, "first"))

    def gives(self, device: Authenticator, who: tuple[str, str] = CHANTAL, tablet: str = TABLET) -> int:
        options = begin_registration(self.store, HOST, *who, tablet, self.now)
        return register(self.store, HOST, who[0], device.creates(options), tablet, self.now).index

    def asks(self, who: str = "chantal", tablet: str = TABLET) -> str:
        return begin_sign_in(self.store, HOST, who, tablet, self.now)

    def signs_in(self, device: Authenticator, who: str = "chantal", tablet: str = TABLET) -> str:
        answer = device.gets(self.asks(who, tablet))
        return signed_in(self.store, HOST, answer, tablet, self.now).user.id

    def log(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(entry.body or b"") for entry in self.store.entries(kind=kind)]


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    key = set_up(tmp_path, "a long passphrase", cost=Cost(8, 1, 1))
    with closing(Store(tmp_path, key, lambda: 1_790_000_000_000)) as store:
        add(store, PASSPHRASE, "Jean", "supervisor", JEAN[1])
        add(store, "jean", "Chantal", "nurse", CHANTAL[1])
        yield Post(store)


@pytest.mark.parametrize("edwards", [False, True])
def test_a_passkey_signs_in_and_opens_a_session(post: Post, edwards: bool) -> None:
    device = Authenticator(edwards)
    index = post.gives(device)
    assert post.store.entry(index).by == "chantal"
    right = signed_in(post.store, HOST, device.gets(post.asks()), TABLET, post.now)
    started = Door(post.store, lambda: post.now).started(right, TABLET)
    assert started.session.user == "chantal"
    (told,) = [it for it in post.log("sign-in") if it["factor"] == "passkey"]
    assert told == {"tablet": TABLET, "factor": "passkey", "passkey": index, "wrong_before": 0}
    assert post.signs_in(device) == "chantal"


def test_registering_takes_the_pin_and_a_wrong_one_counts(post: Post) -> None:
    with pytest.raises(InputError, match="another one; 9 more attempts"):
        begin_registration(post.store, HOST, "chantal", "9999", TABLET, post.now)
    assert not passkeys_of(post.store, users(post.store)["chantal"])


def test_wrong_pins_are_told_at_a_sign_in_by_passkey_too(post: Post) -> None:
    device = Authenticator()
    post.gives(device)
    with pytest.raises(InputError):
        tried(post.store, "chantal", "9999", TABLET, post.now)
    assert signed_in(post.store, HOST, device.gets(post.asks()), TABLET, post.now).wrong_before == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"origin": "https://post7.clinic.evil"}, "origin"),
        ({"origin": "http://post7.clinic"}, "origin"),
        ({"origin": "https://post7.clinic:8443"}, "origin"),
        ({"host": "evil.clinic"}, "RP ID"),
        ({"flags": PRESENT}, "not verified"),
        ({"flags": VERIFIED}, "not present"),
        ({"step": 0}, "sign count"),
        ({"step": -1}, "sign count"),
        ({"handle": "YW5vdGhlcg"}, "another user's"),
        ({"id": b"another credential"}, "another one"),
    ],
)
def test_an_answer_from_elsewhere_or_from_a_copy_is_refused_and_logged(
    post: Post, changed: dict[str, Any], named: str
) -> None:
    device = Authenticator(count=7)
    post.gives(device)
    post.signs_in(device)
    for name, value in changed.items():
        setattr(device, name, value)
    with pytest.raises(UntrustedError) as refused:
        post.signs_in(device)
    assert named.lower() in str(refused.value).lower()
    (told,) = post.log("sign-in-failed")
    assert told["factor"] == "passkey"
    assert len(post.log("sign-in")) == 2


@pytest.mark.parametrize(
    "changed",
    [{"origin": "https://evil.clinic"}, {"host": "evil.clinic"}, {"flags": PRESENT}, {"flags": VERIFIED}],
)
def test_a_key_made_elsewhere_or_without_asking_is_not_registered(
    post: Post, changed: dict[str, Any]
) -> None:
    with pytest.raises(UntrustedError):
        post.gives(Authenticator(**changed))
    assert not post.log("passkey-added")


def test_a_challenge_is_used_once_on_the_tablet_that_asked_and_in_time(post: Post) -> None:
    device = Authenticator()
    post.gives(device)
    answer = device.gets(post.asks())
    with pytest.raises(InputError, match="a challenge on tablet-2"):
        signed_in(post.store, HOST, answer, "tablet-2", post.now)
    signed_in(post.store, HOST, answer, TABLET, post.now)
    with pytest.raises(InputError, match="a challenge on tablet-1"):
        signed_in(post.store, HOST, answer, TABLET, post.now)
    for later in (Moment(100.0 + CHALLENGE_S, "first"), Moment(101.0, "second")):
        answer = device.gets(post.asks())
        with pytest.raises(InputError, match="a challenge"):
            signed_in(post.store, HOST, answer, TABLET, later)
    older = device.gets(post.asks())
    post.asks()
    with pytest.raises(UntrustedError, match="challenge"):
        signed_in(post.store, HOST, older, TABLET, post.now)


def test_a_challenge_to_register_signs_nobody_in_and_the_other_way_round(post: Post) -> None:
    device = Authenticator()
    post.gives(device)
    options = begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now)
    with pytest.raises(InputError, match="a challenge"):
        signed_in(post.store, HOST, device.gets(options), TABLET, post.now)
    asked = json.loads(post.asks()) | {"user": {"id": ""}}
    with pytest.raises(InputError, match="a challenge"):
        register(post.store, HOST, "chantal", Authenticator().creates(json.dumps(asked)), TABLET, post.now)


def test_a_challenge_registers_for_whoever_typed_her_pin(post: Post) -> None:
    options = begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now)
    with pytest.raises(InputError, match="another user's"):
        register(post.store, HOST, "jean", Authenticator().creates(options), TABLET, post.now)
    assert not post.log("passkey-added")


def test_it_is_offered_where_somebody_who_may_sign_in_has_one(post: Post) -> None:
    assert not passkeys.offered(post.store, HOST)
    post.gives(Authenticator())
    assert passkeys.offered(post.store, HOST)
    assert not passkeys.offered(post.store, Host("post8.clinic"))
    disable(post.store, "jean", "chantal", "left")
    assert not passkeys.offered(post.store, HOST)


def test_without_https_a_passkey_is_bound_to_localhost_only() -> None:
    assert Host("localhost", 8080, secure=False).origin == "http://localhost:8080"
    assert Host("localhost", 8443).origin == "https://localhost:8443"
    with pytest.raises(InputError, match="served by HTTPS"):
        Host("post7.clinic", 80, secure=False)


def test_nobody_signs_in_with_anothers_passkey(post: Post) -> None:
    hers, his = Authenticator(), Authenticator()
    post.gives(hers)
    post.gives(his, JEAN)
    with pytest.raises(UntrustedError, match="one of jean that counts"):
        signed_in(post.store, HOST, hers.gets(post.asks("jean")), TABLET, post.now)
    with pytest.raises(InputError, match="nobody's yet"):
        post.gives(hers, JEAN)


def _pin(store: Store, now: Moment) -> None:
    set_pin(store, "chantal", CHANTAL[1], "5283", TABLET, now)


def _role(store: Store, now: Moment) -> None:
    change_role(store, "jean", "chantal", "clinician", "5283")


def _off(store: Store, now: Moment) -> None:
    disable(store, "jean", "chantal", "left")


@pytest.mark.parametrize("change", [_pin, _role, _off])
def test_a_passkey_ends_as_soon_as_its_user_is_changed(
    post: Post, change: Callable[[Store, Moment], None]
) -> None:
    device = Authenticator()
    post.gives(device)
    answer = device.gets(post.asks())
    change(post.store, post.now)
    with pytest.raises(UntrustedError):
        signed_in(post.store, HOST, answer, TABLET, post.now)
    with pytest.raises(InputError, match="a user who has one"):
        post.asks()


def test_a_change_between_question_and_answer_registers_nothing(post: Post) -> None:
    options = begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now)
    _role(post.store, post.now)
    with pytest.raises(InputError, match="not changed meanwhile"):
        register(post.store, HOST, "chantal", Authenticator().creates(options), TABLET, post.now)


def test_a_passkey_is_removed_by_its_user_or_a_supervisor_and_by_nobody_else(post: Post) -> None:
    device, more = Authenticator(), Authenticator()
    post.gives(device)
    post.gives(more)
    post.gives(Authenticator(), JEAN)
    with pytest.raises(InputError, match="manage-users"):
        remove(post.store, "chantal", "jean", "00", "mine now")
    with pytest.raises(InputError, match="a reason"):
        remove(post.store, "chantal", "chantal", device.id.hex(), " ")
    remove(post.store, "chantal", "chantal", device.id.hex(), "lost it")
    with pytest.raises(UntrustedError):
        post.signs_in(device)
    remove(post.store, "jean", "chantal", more.id.hex(), "she lost it")
    assert not passkeys_of(post.store, users(post.store)["chantal"])
    with pytest.raises(InputError, match="nobody's yet"):
        post.gives(device)


def test_failed_answers_make_the_tablet_wait(post: Post) -> None:
    device = Authenticator()
    post.gives(device)
    bad = replace(device)
    for _ in range(TABLET_FREE):
        with pytest.raises(UntrustedError):
            post.signs_in(bad)
    with pytest.raises(InputError, match="too many failed attempts here"):
        post.signs_in(device)
    assert post.signs_in(device, tablet="tablet-2") == "chantal"


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "{}", "null", "[" * 50_000, "x" * 70_000, '{"rawId": 1}', '{"response": {"userHandle": []}}'],
)
def test_what_is_no_answer_is_refused_in_words(post: Post, answer: str) -> None:
    post.gives(Authenticator())
    post.asks()
    with pytest.raises(UntrustedError, match="passkey: expected"):
        signed_in(post.store, HOST, answer, TABLET, post.now)
    begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now)
    with pytest.raises(UntrustedError, match="passkey: expected"):
        register(post.store, HOST, "chantal", answer.encode(), TABLET, post.now)


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_bent_answer_signs_nobody_in(post: Post, cut: int) -> None:
    device = Authenticator()
    post.gives(device)
    given = json.loads(device.gets(post.asks()))
    for name in ("authenticatorData", "clientDataJSON", "signature"):
        data = bytearray(unb64(given["response"][name]))
        data[cut % len(data)] ^= 1 << cut % 8
        bent = {**given, "response": {**given["response"], name: b64(bytes(data))}}
        with pytest.raises(UntrustedError):
            signed_in(post.store, HOST, json.dumps(bent), TABLET, post.now)
        post.asks()
        given = json.loads(device.gets(post.asks()))


@pytest.mark.parametrize(
    "name",
    ["", "clinic", "192.168.1.7", "::1", "Post7.clinic", "post7.clinic/", "-a.clinic", "a..b", "x" * 300],
)
def test_what_is_no_hostname_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="host"):
        Host(name)
    assert Host("post7.clinic", 8443).origin == "https://post7.clinic:8443"


def test_options_ask_for_a_verified_user_and_no_attestation(post: Post) -> None:
    asked = json.loads(begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now))
    assert asked["rp"] == {"name": "Akazuba", "id": "post7.clinic"}
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    assert asked["attestation"] == "none"
    assert len(unb64(asked["challenge"])) == 32
    assert [it["alg"] for it in asked["pubKeyCredParams"]] == [-7, -8]


def test_five_passkeys_are_enough(post: Post) -> None:
    for _ in range(passkeys.MOST):
        post.gives(Authenticator())
    with pytest.raises(InputError, match="at most 5"):
        post.gives(Authenticator())


def test_without_the_extra_the_error_names_it(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="the extra `passkeys`"):
        begin_registration(post.store, HOST, *CHANTAL, TABLET, post.now)


def test_broken_remains_are_named(post: Post) -> None:
    device = Authenticator()
    post.gives(device)
    post.store.remember(f"passkey {device.id.hex()}", b"many")
    with pytest.raises(ArtefactError, match="the count"):
        post.signs_in(device)
    post.store.add(Entry("passkey-added", "box", b"{}"))
    with pytest.raises(ArtefactError, match="passkeys"):
        post.asks()
