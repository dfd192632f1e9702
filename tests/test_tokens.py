"""Programs at the door: who gets a token, for what, and every way in which nobody else does."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from door_bench import ORIGIN, PASSPHRASE, Knocking, client_of, jwks, let_in, opened_post, served
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from akazuba.errors import ArtefactError, InputError
from akazuba.governance.programs import SCOPES, granted, programs, read_keys, register, revoke
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import StoreKey
from akazuba.web.doors.tokens import SKEW_S, TOKEN_S, Mint, TokenError, program
from akazuba.web.post import Post

ED = OKPKey.generate_key("Ed25519")
EC = ECKey.generate_key("P-384")


@dataclass
class Clock:
    """A wall clock and the boot's clock, set by the test."""

    wall: float = 3_000_000_000.0
    boot: float = 500.0


@dataclass
class Box:
    post: Post
    app: Starlette
    clock: Clock

    def emr(self, **other: Any) -> Knocking:
        return replace(Knocking(self.app, "emr", ED, lambda: self.clock.wall), **other)

    def who(self, scope: str, token: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = client_of(self.app).get("/who", params={"scope": scope}, headers=headers)
        return answer.status_code, answer.json()


async def _who(request: Request) -> Response:
    """A door that says who came in."""
    try:
        held = await program(request, *request.query_params.getlist("scope"))
    except TokenError as problem:
        return JSONResponse({"code": problem.code, "words": problem.words}, problem.status, problem.headers)
    return JSONResponse({"client": held.client, "scopes": sorted(held.scopes)})


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    post = opened_post(tmp_path_factory.mktemp("box"), terminology_home)
    let_in(post, "emr", ED, "system/assess", "system/*.read")
    let_in(post, "curve", EC, "hooks")
    yield post
    post.close()


@pytest.fixture
def box(post: Post) -> Box:
    clock = Clock()
    app = served(post, Route("/who", _who))
    app.state.mint = Mint(lambda: clock.wall, lambda: clock.boot)
    return Box(post, app, clock)


def refused(answer: Any, error: str, status: int = 401) -> str:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["error_description"])


# --- who gets one -------------------------------------------------------------------------------------


def test_a_program_gets_a_token_for_five_minutes_and_comes_in(box: Box) -> None:
    answer = box.emr().asks("system/assess")
    assert answer.status_code == 200
    said = answer.json()
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/assess")
    assert box.who("system/assess", said["access_token"]) == (
        200,
        {"client": "emr", "scopes": ["system/assess"]},
    )


@pytest.mark.parametrize(
    ("name", "key", "alg"), [("emr", ED, "Ed25519"), ("emr", ED, "EdDSA"), ("curve", EC, "ES384")]
)
def test_each_registered_kind_of_key_signs_with_its_own_algorithm(
    box: Box, name: str, key: Any, alg: str
) -> None:
    knocking = box.emr(name=name, key=key)
    head = {"alg": alg, "kid": key.thumbprint(), "typ": "JWT"}
    registry = jws.JWSRegistry(algorithms=[alg])
    with pytest.warns(match="deprecated") if alg == "EdDSA" else nullcontext():
        signed = jwt.encode(head, knocking.claims(), key, registry=registry)
    scope = "hooks" if name == "curve" else "system/assess"
    assert knocking.asks(scope, assertion=signed).status_code == 200


def test_where_to_get_a_token_is_published_without_one(box: Box) -> None:
    said = client_of(box.app).get("/.well-known/smart-configuration").json()
    assert said["token_endpoint"] == f"{ORIGIN}/token"
    assert said["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert set(said["token_endpoint_auth_signing_alg_values_supported"]) == {"ES384", "EdDSA", "Ed25519"}
    assert said["scopes_supported"] == list(SCOPES)


# --- assertions that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"aud": "https://other.example/token"}, "aud"),
        ({"aud": []}, "aud"),
        ({"iss": "somebody"}, "iss"),
        ({"exp": 0}, "exp"),
        ({"exp": math.nan}, "client_assertion"),
        ({"exp": math.inf}, "client_assertion"),
        ({"exp": 10**400}, "exp"),
        ({"exp": "soon"}, "client_assertion"),
        ({"exp": True}, "client_assertion"),
        ({"exp": None}, "client_assertion"),
        ({"jti": ""}, "jti"),
        ({"jti": "x" * 201}, "jti"),
        ({"jti": 7}, "client_assertion"),
        ({"aud": {"a": 1}}, "client_assertion"),
    ],
)
def test_an_assertion_that_says_something_else_is_refused(
    box: Box, claims: dict[str, Any], names: str
) -> None:
    emr = box.emr()
    words = refused(emr.asks("system/assess", assertion=emr.assertion(**claims)), "invalid_client")
    assert words.startswith(names), words


def test_an_assertion_lasts_five_minutes_and_clocks_may_stand_a_minute_apart(box: Box) -> None:
    emr, now = box.emr(), int(box.clock.wall)
    for exp in (now - SKEW_S + 1, now + 300 + SKEW_S):
        assert emr.asks("system/assess", assertion=emr.assertion(exp=exp)).status_code == 200
    for exp in (now - SKEW_S, now + 301 + SKEW_S):
        words = refused(emr.asks("system/assess", assertion=emr.assertion(exp=exp)), "invalid_client")
        assert "by the box's clock" in words
    for name in ("iat", "nbf"):
        good, bad = (emr.assertion(**{name: now + SKEW_S + late}) for late in (0, 1))
        assert emr.asks("system/assess", assertion=good).status_code == 200
        assert refused(emr.asks("system/assess", assertion=bad), "invalid_client").startswith(name)


def test_an_assertion_is_used_up_even_across_a_restart_of_the_box(box: Box) -> None:
    emr = box.emr()
    once = emr.assertion()
    assert emr.asks("system/assess", assertion=once).status_code == 200
    assert "jti" in refused(emr.asks("system/assess", assertion=once), "invalid_client")
    box.app.state.mint = Mint(lambda: box.clock.wall, lambda: box.clock.boot)
    assert "jti" in refused(emr.asks("system/assess", assertion=once), "invalid_client")


def test_two_programs_may_happen_on_the_same_jti(box: Box) -> None:
    one, two = box.emr(), box.emr(name="curve", key=EC)
    assert one.asks("system/assess", assertion=one.assertion(jti="same")).status_code == 200
    assert two.asks("hooks", assertion=two.assertion(jti="same")).status_code == 200


def test_shown_assertions_are_forgotten_when_they_could_not_serve_any_more(box: Box) -> None:
    emr = box.emr()
    kept = []
    for _ in range(3):
        emr.token("system/assess")
        raw = asyncio.run(box.post.records(lambda kept: kept.opened().recall("program-assertions")))
        kept.append(len(raw or b""))
        box.clock.wall += 3600
    assert kept[1] == kept[2] < 60


def _unsigned(claims: dict[str, Any], **head: Any) -> str:
    parts = [json.dumps({"alg": "none", "kid": ED.thumbprint(), **head}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."


def test_an_unsigned_assertion_is_refused(box: Box) -> None:
    for name in ("none", "None", "NONE", "", None, ["Ed25519"]):
        emr = box.emr()
        words = refused(
            emr.asks("system/assess", assertion=_unsigned(emr.claims(), alg=name)), "invalid_client"
        )
        assert "alg" in words or "client_assertion" in words


def test_a_public_key_is_no_shared_secret(box: Box) -> None:
    """HS256 with the bytes of the registered public key, in each form that a verifier might take them in."""
    emr = box.emr()
    for secret in (
        ED.as_pem(private=False),
        base64.urlsafe_b64decode(str(ED["x"]) + "="),
        ED.as_der(private=False),
    ):
        key = OctKey(secret, secret)
        head = {"alg": "HS256", "kid": ED.thumbprint()}
        forged = jwt.encode(head, emr.claims(), key, algorithms=["HS256"])
        assert "alg" in refused(emr.asks("system/assess", assertion=forged), "invalid_client")


def test_a_key_of_another_kind_or_of_somebody_else_is_refused(box: Box) -> None:
    emr = box.emr()
    for key, alg in (
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
        (EC, "ES384"),
        (RSAKey.generate_key(2048), "RS384"),
    ):
        for kid in (ED.thumbprint(), key.thumbprint()):
            forged = jwt.encode({"alg": alg, "kid": kid}, emr.claims(), key, algorithms=[alg])
            refused(emr.asks("system/assess", assertion=forged), "invalid_client")


def test_a_key_that_the_assertion_brings_along_is_not_believed(box: Box) -> None:
    mine = OKPKey.generate_key("Ed25519")
    emr = box.emr()
    for head in ({"jwk": mine.as_dict(private=False)}, {"jku": "https://evil.example/jwks"}):
        header = {"alg": "Ed25519", "kid": ED.thumbprint(), **head}
        forged = jwt.encode(header, emr.claims(), mine, algorithms=["Ed25519"])
        refused(emr.asks("system/assess", assertion=forged), "invalid_client")


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c", "....", "e30.e30.e30", "é.ü.ß", "\0.\0.\0", "x" * 9000]
)
def test_what_is_no_assertion_is_refused(box: Box, text: str) -> None:
    form = box.emr().form("system/assess") | {"client_assertion": text}
    answer = client_of(box.app).post("/token", data=form)
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] in ("invalid_client", "invalid_request")


def test_an_altered_assertion_is_refused(box: Box) -> None:
    emr = box.emr()
    head, body, signature = emr.assertion().split(".")
    other = (
        base64.urlsafe_b64encode(json.dumps(emr.claims(exp=int(emr.now()) + 200)).encode())
        .rstrip(b"=")
        .decode()
    )
    for text in (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}."):
        refused(emr.asks("system/assess", assertion=text), "invalid_client")


def test_an_unknown_program_hears_what_a_wrong_key_hears(box: Box) -> None:
    stranger = box.emr(name="stranger", key=OKPKey.generate_key("Ed25519"))
    wrong_kid = box.emr(key=OKPKey.generate_key("Ed25519"))
    said = {refused(each.asks("system/assess"), "invalid_client") for each in (stranger, wrong_kid)}
    assert len(said) == 1


# --- forms that are refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "error", "names"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type", "grant_type"),
        ({"client_assertion_type": "secret"}, "invalid_request", "client_assertion_type"),
        ({"scope": ""}, "invalid_request", "scope"),
        ({"client_assertion": ""}, "invalid_request", "client_assertion"),
        ({"client_assertion": "x" * 20_000}, "invalid_request", "body"),
        ({str(number): "" for number in range(20)}, "invalid_request", "body"),
    ],
)
def test_a_form_that_is_not_the_standards_is_refused(
    box: Box, other: dict[str, str], error: str, names: str
) -> None:
    form = box.emr().form("system/assess") | other
    assert refused(client_of(box.app).post("/token", data=form), error, 400).startswith(names)


def test_a_token_is_asked_for_by_a_form(box: Box) -> None:
    answer = client_of(box.app).post("/token", json=box.emr().form("system/assess"))
    assert "Content-Type" in refused(answer, "invalid_request", 400)
    twice = "scope=hooks&scope=hooks"
    answer = client_of(box.app).post(
        "/token", content=twice, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert "each field once" in refused(answer, "invalid_request", 400)
    assert client_of(box.app).get("/token").status_code == 405


@pytest.mark.parametrize(
    "scope", ["hooks", "system/*.write", "system/*.*", "patient/*.read", "admin", "system/Patient"]
)
def test_nobody_gets_a_right_that_was_not_given(box: Box, scope: str) -> None:
    emr = box.emr()
    assert "scope" in refused(emr.asks(f"system/assess {scope}"), "invalid_scope", 400)


def test_a_wildcard_gives_its_kind(box: Box) -> None:
    narrow = box.emr().token("system/Patient.read")
    assert box.who("system/Patient.read", narrow)[0] == 200
    assert box.who("system/Observation.read", narrow)[0] == 403
    assert box.who("system/*.read", narrow)[0] == 403
    wide = box.emr().token("system/*.read")
    assert box.who("system/Patient.read", wide)[0] == 200
    assert box.who("system/*.write", wide)[0] == 403
    assert box.who("system/assess", wide)[0] == 403
    assert not granted(["system/*.write"], "system/Patient.read")


# --- tokens that are refused --------------------------------------------------------------------------


def test_without_a_token_nobody_comes_in(box: Box) -> None:
    status, said = box.who("system/assess", "")
    assert (status, said["code"]) == (401, "invalid_token")
    answer = client_of(box.app).get("/who", headers={"Authorization": "Basic ZW1yOng="})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_ends_by_the_boots_clock_and_no_set_clock_prolongs_it(box: Box) -> None:
    token = box.emr().token("system/assess")
    box.clock.wall -= 10_000
    box.clock.boot += TOKEN_S - 1
    assert box.who("system/assess", token)[0] == 200
    box.clock.boot += 1
    assert box.who("system/assess", token)[0] == 401


def test_a_restart_voids_every_token(box: Box) -> None:
    token = box.emr().token("system/assess")
    box.app.state.mint = Mint(lambda: box.clock.wall, lambda: box.clock.boot)
    assert box.who("system/assess", token)[0] == 401


def test_no_program_makes_its_own_token(box: Box) -> None:
    emr, mint = box.emr(), box.app.state.mint
    real = jws.extract_compact(emr.token("system/assess").encode())
    claims = json.loads(real.payload)
    forged = [
        _unsigned(claims, typ="at+jwt"),
        jwt.encode({"alg": "Ed25519", "typ": "at+jwt"}, claims, ED, algorithms=["Ed25519"]),
        jwt.encode(
            {"alg": "HS256", "typ": "at+jwt"},
            claims,
            OctKey(raw := mint.key.as_der(private=False), raw),
            algorithms=["HS256"],
        ),
        emr.assertion(),
        "x",
        "a.b.c",
    ]
    for token in forged:
        assert box.who("system/assess", token)[0] == 401


def test_what_else_the_box_signs_is_no_access_token(box: Box) -> None:
    mint = box.app.state.mint
    claims = {"iss": mint.name, "aud": mint.name, "sub": "emr", "scope": "hooks", "as_of": 1, "ends_s": 1e9}
    other = jwt.encode({"alg": "Ed25519", "typ": "JWT"}, claims, mint.key, algorithms=["Ed25519"])
    assert box.who("hooks", other)[0] == 401


# --- registered, changed, revoked ---------------------------------------------------------------------


def test_a_revoked_program_is_out_at_once_and_for_good(box: Box) -> None:
    key = OKPKey.generate_key("Ed25519")
    let_in(box.post, "lab", key, "system/assess")
    lab = box.emr(name="lab", key=key)
    token = lab.token("system/assess")
    assert box.who("system/assess", token)[0] == 200
    asyncio.run(box.post.records(lambda kept: revoke(kept.opened(), "supervisor", "lab", "key lost")))
    assert box.who("system/assess", token) == (
        401,
        {
            "code": "invalid_token",
            "words": "token: expected one of a program that is let in, found one of a revoked program",
        },
    )
    refused(lab.asks("system/assess"), "invalid_client")
    with pytest.raises(InputError, match="never revoked"):
        let_in(box.post, "lab", key, "system/assess")
    with pytest.raises(InputError, match="let in, found lab, revoked"):
        asyncio.run(box.post.records(lambda kept: revoke(kept.opened(), "supervisor", "lab", "again")))


def test_new_rights_and_keys_void_the_older_tokens(box: Box) -> None:
    old, new = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
    let_in(box.post, "rota", old, "system/assess", "hooks")
    token = box.emr(name="rota", key=old).token("hooks")
    let_in(box.post, "rota", new, "system/assess")
    assert box.who("hooks", token)[0] == 401
    refused(box.emr(name="rota", key=old).asks("system/assess"), "invalid_client")
    refused(box.emr(name="rota", key=new).asks("hooks"), "invalid_scope", 400)
    assert box.emr(name="rota", key=new).asks("system/assess").status_code == 200


def test_the_log_says_who_let_a_program_in_with_which_rights_and_keys(box: Box) -> None:
    def work(kept: Any) -> Any:
        store = kept.opened()
        known = programs(store)["emr"]
        return known, store.entry(known.index)

    known, entry = asyncio.run(box.post.records(work))
    said = json.loads(entry.body)
    assert (entry.kind, entry.by, said["program"]) == ("program", "supervisor", "emr")
    assert said["scopes"] == ["system/assess", "system/*.read"]
    assert said["keys"][0]["kid"] == ED.thumbprint()
    assert (known.by, known.revoked, known.log_name) == ("supervisor", False, "program:emr")


@pytest.mark.parametrize(
    ("name", "scopes", "expected"),
    [
        ("", ["hooks"], "program"),
        ("EMR", ["hooks"], "program"),
        ("a b", ["hooks"], "program"),
        ("a\nb", ["hooks"], "program"),
        ("x" * 61, ["hooks"], "program"),
        ("fine", [], "scope"),
        ("fine", ["everything"], "scope"),
        ("fine", ["system/Patient.write"], "scope"),
    ],
)
def test_a_program_without_a_sound_name_or_right_is_refused(
    box: Box, name: str, scopes: list[str], expected: str
) -> None:
    with pytest.raises(InputError) as refusal:
        let_in(box.post, name, ED, *scopes)
    assert refusal.value.item == expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "JSON Web Key Set"),
        (b"\xff", "JSON Web Key Set"),
        (b"[]", "JSON Web Key Set"),
        (b"{}", "JSON Web Key Set"),
        (b'{"keys": []}', "1 to 4 keys"),
        (jwks(*[OKPKey.generate_key("Ed25519") for _ in range(5)]), "1 to 4 keys"),
        (jwks(ED, ED), "one twice"),
        (jwks(OKPKey.generate_key("X25519")), "Ed25519 or P-384"),
        (jwks(ECKey.generate_key("P-256")), "Ed25519 or P-384"),
        (jwks(RSAKey.generate_key(2048)), "Ed25519 or P-384"),
        (json.dumps({"keys": [ED.as_dict(private=True)]}).encode(), "a secret one"),
        (json.dumps({"keys": [{**ED.as_dict(private=False), "crv": "P-384"}]}).encode(), "Ed25519 or P-384"),
        (json.dumps({"keys": [{**ED.as_dict(private=False), "kid": "1", "x": "AAAA"}]}).encode(), "point of"),
        (json.dumps({"keys": [{**ED.as_dict(private=False), "kid": "1", "x": "ä"}]}).encode(), "point of"),
        (
            json.dumps({"keys": [{**EC.as_dict(private=False), "kid": "1", "y": EC["x"]}]}).encode(),
            "point of",
        ),
        (json.dumps({"keys": [{**ED.as_dict(private=False), "kid": "1", "kty": "EC"}]}).encode(), "kty"),
        (b'{"keys": [' + b" " * 20_000 + b"]}", "at most"),
    ],
    ids=lambda value: "keys" if isinstance(value, bytes) else None,
)
def test_keys_that_could_not_be_trusted_are_refused(given: bytes, says: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_keys(given)
    assert says in str(refusal.value), str(refusal.value)


def test_an_entry_that_is_no_program_is_named(tmp_path: Path) -> None:
    with closing(Store(tmp_path, StoreKey(bytes(32)), lambda: 0)) as store:
        (entry,) = store.add(Entry("program", "x", b"{}"))
        with pytest.raises(ArtefactError, match=f"entry {entry.index}"):
            programs(store)


def test_while_the_store_is_locked_programs_wait(box: Box) -> None:
    token = box.emr().token("system/assess")
    asyncio.run(box.post.records(lambda kept: kept.lock()))
    try:
        assert box.who("system/assess", token)[0] == 503
        refused(box.emr().asks("system/assess"), "temporarily_unavailable", 503)
    finally:
        asyncio.run(box.post.unlock(PASSPHRASE))
    assert box.who("system/assess", token)[0] == 200


def test_the_real_clocks_serve(post: Post) -> None:
    app = served(post, Route("/who", _who))
    token = Knocking(app, "emr", ED, time.time).token("system/assess")
    answer = client_of(app).get("/who", headers={"Authorization": f"bearer {token}"})
    assert answer.status_code == 200


def test_a_box_that_nobody_named_goes_by_what_it_is_called(post: Post) -> None:
    app = served(post)
    del app.state.origins
    assert Knocking(app, "emr", ED).asks("system/assess").status_code == 200


def test_registering_needs_a_sound_key(box: Box) -> None:
    with pytest.raises(InputError, match="JSON Web Key Set"):
        asyncio.run(box.post.records(lambda kept: register(kept.opened(), "s", "x", ["hooks"], b"no")))
