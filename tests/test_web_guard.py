"""What every request to the page passes, whoever sends it (OWASP ASVS 5.0, as far as tests can show it)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from tablet_bench import HOST, PASSPHRASE, PINS, Tablet, box, page_of, recorded

from akazuba.storage.store import Recorded
from akazuba.web import access, guard
from akazuba.web.app import STATIC
from akazuba.web.energy_screen import Plans
from akazuba.web.guard import DOORS, Pace
from akazuba.web.post import Post

INJECTIONS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE entry; --",
    "{{7*7}}",
    "a\r\nSet-Cookie: x=y",
    "\u202egnp.exe\0",
)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("guard"), terminology_home)
    yield made
    made.close()


@pytest.fixture(scope="module")
def plans(post: Post) -> Plans:
    """Of energy, made by a process that takes seconds: one serves the page of every test."""
    return Plans(post.settings.home)


@pytest.fixture
def app(post: Post, plans: Plans) -> Starlette:
    made = page_of(post)
    made.state.plans = plans
    return made


def own(app: Starlette, method: str) -> list[str]:
    """Paths of the page itself, with something in each hole."""
    found = []
    for route in app.routes:
        if isinstance(route, Route) and method in (route.methods or ()) and not route.path.startswith(DOORS):
            path = re.sub(r"\{[^}:]+:int\}", "1", route.path)
            found.append(re.sub(r"\{[^}]+\}", "p-1234567", path))
    return sorted(set(found))


# --- forms ----------------------------------------------------------------------------------------------


def test_every_post_of_the_page_is_refused_without_its_token(app: Starlette) -> None:
    paths = own(app, "POST")
    assert {"/sign-in", "/unlock", "/language", "/staff/add", "/me/pin"} <= set(paths)
    tablet = Tablet(app).sign_in("jean-habimana")
    for path in paths:
        for token in ("", "0" * 64, Tablet(app).csrf):
            answer = tablet.request("POST", path, data={"csrf": token}, headers={"Origin": HOST})
            assert answer.status_code == 403, f"{path} {answer.status_code} {answer.text[:200]}"
    assert tablet.get("/me").status_code == 200, "nothing of it was done"


def test_a_token_belongs_to_one_tablet(app: Starlette) -> None:
    mine, theirs = Tablet(app), Tablet(app)
    token = theirs.csrf
    answer = mine.post("/sign-in", {"csrf": token, "user": "dr-musa", "pin": PINS["dr-musa"]})
    assert answer.status_code == 403


def test_a_token_in_the_header_serves_as_well(app: Starlette) -> None:
    tablet = Tablet(app)
    headers = {"Origin": HOST, access.CSRF_HEADER: tablet.csrf}
    answer = tablet.request("POST", "/language", data={"language": "fr", "back": "/"}, headers=headers)
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://box.example.evil.example", "http://box.example:81", None],
)
def test_another_origin_or_none_is_refused(app: Starlette, origin: str | None) -> None:
    tablet = Tablet(app)
    headers = {} if origin is None else {"Origin": origin}
    for path in own(app, "POST"):
        answer = tablet.request("POST", path, data={"csrf": tablet.csrf}, headers=headers)
        assert answer.status_code == 403
        assert "origin" in answer.json()["error"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"])
def test_methods_that_the_page_has_not_are_refused(app: Starlette, method: str) -> None:
    for path in ("/", "/sign-in", "/staff", "/static/akazuba.css"):
        answer = Tablet(app).request(method, path, headers={"Origin": HOST})
        assert answer.status_code in (403, 404, 405)


# --- size and pace --------------------------------------------------------------------------------------


def test_a_body_that_says_that_it_is_too_large_is_not_read(app: Starlette) -> None:
    answer = Tablet(app).request(
        "POST", "/sign-in", content=b"x", headers={"Origin": HOST, "Content-Length": str(300 * 1024)}
    )
    assert answer.status_code == 413
    assert "at most 262144 bytes" in answer.json()["error"]


@pytest.mark.parametrize("said", ["-1", "x", "1e3", "٣", "9" * 40])
def test_a_length_that_is_none_is_refused(app: Starlette, said: str) -> None:
    headers = {"Origin": HOST, "Content-Length": said.encode()}
    answer = Tablet(app).request("POST", "/sign-in", content=b"x", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 413


def test_a_body_without_a_length_is_counted_while_it_comes(app: Starlette) -> None:
    sent = [0]

    async def flood() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent[0] += 64 * 1024
            yield b"a" * 64 * 1024

    headers = {"Origin": HOST, "Content-Type": "application/x-www-form-urlencoded"}
    answer = Tablet(app).request("POST", "/sign-in", content=flood(), headers=headers)
    assert answer.status_code == 413
    assert sent[0] < 2 * 1024 * 1024, "the rest was never asked for"


def test_a_form_of_too_many_fields_is_refused(app: Starlette) -> None:
    tablet = Tablet(app)
    answer = tablet.post("/sign-in", {f"field{number}": "x" for number in range(500)})
    assert answer.status_code in (400, 413, 422)


def test_who_asks_too_much_is_told_when_to_come_back(post: Post) -> None:
    app = page_of(post, any_pace=Pace(3, 0.1))
    tablet = Tablet(app)
    answers = [tablet.get("/state") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 11
    assert Tablet(app, address=("192.168.1.21", 40_000)).get("/state").status_code == 200
    assert Tablet(app, address=("192.168.1.20", 40_001)).get("/state").status_code == 429, "another port"


@pytest.mark.parametrize("path", guard.KEYS_TRIED)
def test_secrets_are_tried_at_a_slow_pace(post: Post, path: str) -> None:
    tablet = Tablet(page_of(post, keys_pace=Pace(2, 0.01)))
    codes = [
        tablet.request("POST", path, data={"user": "x", "pin": "1"}, headers={"Origin": HOST}).status_code
        for _ in range(4)
    ]
    assert 429 not in codes[:2]
    assert codes[2:] == [429, 429]
    assert tablet.get("/").status_code == 200, "helping goes on"


def test_only_wrong_tries_count(post: Post) -> None:
    app = page_of(post, keys_pace=Pace(2, 0.0001))
    for _ in range(5):
        Tablet(app).sign_in("chantal-uwimana")
    tablet = Tablet(app)
    wrong = {"user": "chantal-uwimana", "pin": "0000"}
    assert [tablet.post("/sign-in", wrong).status_code for _ in range(3)] == [422, 422, 429]
    assert tablet.post("/sign-in", {"user": "chantal-uwimana", "pin": "7351"}).status_code == 429


def test_who_is_refused_can_read_it(post: Post) -> None:
    tablet = Tablet(page_of(post, any_pace=Pace(0.5, 0.001)))
    shown = tablet.get("/", Accept="text/html,*/*")
    assert (shown.status_code, shown.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert 'href="/"' in shown.text
    told = tablet.get("/fhir/Patient", Accept="text/html, application/fhir+json").json()
    assert (told["resourceType"], told["issue"][0]["code"]) == ("OperationOutcome", "throttled")
    assert "error" in tablet.get("/state", Accept="application/json").json()


def test_a_header_of_a_proxy_buys_no_second_try(post: Post) -> None:
    tablet = Tablet(page_of(post, any_pace=Pace(1, 0.001)))
    assert tablet.get("/state").status_code == 200
    assert (
        tablet.get("/state", **{"X-Forwarded-For": "10.0.0.9", "Forwarded": "for=10.0.0.9"}).status_code
        == 429
    )


# --- headers --------------------------------------------------------------------------------------------


def kinds(app: Starlette, post: Post) -> dict[str, httpx.Response]:
    tablet = Tablet(app)
    signed = Tablet(app).sign_in("chantal-uwimana")
    big = {"Origin": HOST, "Content-Length": "999999999"}
    return {
        "page": tablet.get("/"),
        "json": tablet.get("/state"),
        "static": tablet.get("/static/akazuba.css"),
        "worker": tablet.get("/sw.js"),
        "unknown": tablet.get("/nowhere"),
        "method": tablet.request("DELETE", "/", headers={"Origin": HOST}),
        "redirect": tablet.get("/staff"),
        "refused right": signed.get("/staff"),
        "refused origin": tablet.request("POST", "/sign-in"),
        "refused token": tablet.request("POST", "/sign-in", headers={"Origin": HOST}),
        "too large": tablet.request("POST", "/sign-in", content=b"", headers=big),
        "too fast": [Tablet(page_of(post, any_pace=Pace(0.5, 0.001))).get("/")][0],
    }


def test_every_kind_of_answer_carries_the_headers(app: Starlette, post: Post) -> None:
    for kind, answer in kinds(app, post).items():
        for name, value in guard.HEADERS.items():
            assert answer.headers.get(name) == value, f"{kind}: {name}"
        assert "server" not in answer.headers
        if kind not in ("static", "worker"):
            assert answer.headers["cache-control"] == "no-store", kind


def test_the_policy_lets_no_foreign_and_no_inline_script_run(app: Starlette) -> None:
    policy = guard.CONTENT_SECURITY
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"unsafe|\*|https?:", policy)


def test_no_page_holds_what_the_policy_would_have_to_forbid(app: Starlette) -> None:
    for who in ("", "jean-habimana", "chantal-uwimana", "alice-auditor"):
        tablet = Tablet(app).sign_in(who) if who else Tablet(app)
        for path in own(app, "GET"):
            answer = tablet.get(path)
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            assert not re.search(r"<script(?![^>]*\bsrc=\"/)", answer.text), path
            assert not re.search(r"\s(style|on[a-z]+)=\"", answer.text), path
            assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text), path


def test_strict_transport_is_asked_for_over_https_only(post: Post) -> None:
    secure = Tablet(page_of(post, secure=True), origin="https://box.example").get("/")
    assert secure.headers["strict-transport-security"] == guard.STRICT_TRANSPORT
    assert "strict-transport-security" not in Tablet(page_of(post)).get("/").headers


# --- cookies and sessions -------------------------------------------------------------------------------


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(post: Post) -> None:
    tablet = Tablet(page_of(post, secure=True), origin="https://box.example")
    first = tablet.get("/")
    signed = tablet.post("/sign-in", {"user": "dr-musa", "pin": PINS["dr-musa"]})
    language = tablet.post("/language", {"language": "fr", "back": "/"})
    for answer in (first, signed, language):
        for cookie in answer.headers.get_list("set-cookie"):
            said = {part.strip().lower() for part in cookie.split(";")}
            assert {"httponly", "samesite=strict", "secure", "path=/"} <= said, cookie
            assert not any(part.startswith("domain") for part in said)
    (session,) = [c for c in signed.headers.get_list("set-cookie") if c.startswith(access.SESSION)]
    assert "max-age" not in session.lower(), "it goes with the browser"


def test_a_new_token_at_each_sign_in_and_the_old_one_opens_nothing(app: Starlette) -> None:
    tablet = Tablet(app)
    planted = "ab" * 32
    tablet.cookies.set(access.SESSION, planted, domain="box.example")
    tablet.sign_in("dr-musa")
    first = tablet.cookies[access.SESSION]
    assert first != planted
    tablet.sign_in("dr-musa")
    second = tablet.cookies[access.SESSION]
    assert second != first
    old = Tablet(app, cookies=httpx.Cookies(dict(tablet.cookies) | {access.SESSION: first}))
    assert old.get("/me").status_code == 303


def test_a_session_that_another_tablet_shows_ends(app: Starlette, post: Post) -> None:
    hers, thief = Tablet(app).sign_in("chantal-uwimana"), Tablet(app)
    thief.get("/")
    thief.cookies.set(access.SESSION, hers.cookies[access.SESSION], domain="box.example")
    assert thief.get("/me").status_code == 303
    assert hers.get("/me").status_code == 303, "it ended for both"
    assert b"its token was shown by" in (recorded(post, "session-ended")[-1].body or b"")


def test_signing_out_ends_the_session_and_takes_the_cookie(app: Starlette) -> None:
    tablet = Tablet(app).sign_in("dr-musa")
    token = tablet.cookies[access.SESSION]
    tablet.post("/sign-out")
    assert access.SESSION not in tablet.cookies
    tablet.cookies.set(access.SESSION, token, domain="box.example")
    assert tablet.get("/me").status_code == 303


@pytest.mark.parametrize("bad", ["x", "../../etc", "tablet-zzzzzzzz", "tablet-000000000"])
def test_a_cookie_that_is_none_of_ours_is_replaced(app: Starlette, bad: str) -> None:
    answer = Tablet(app).request(
        "GET", "/", headers={"Cookie": f"{access.TABLET}={bad}; {access.SESSION}={bad}"}
    )
    assert answer.status_code == 200
    assert re.search(r"akazuba_tablet=tablet-[0-9a-f]{8};", answer.headers["set-cookie"])


# --- what is typed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/a\r\nb",
    ],
)
def test_nobody_is_sent_to_another_site(app: Starlette, away: str) -> None:
    tablet = Tablet(app).sign_in("dr-musa")  # wrong PINs of other tests are told now and forgotten
    signed = tablet.post("/sign-in", {"user": "dr-musa", "pin": PINS["dr-musa"], "next": away})
    spoken = tablet.post("/language", {"language": "en", "back": away})
    for answer in (signed, spoken):
        assert answer.headers["location"] == "/"
    asked = tablet.request("GET", "/sign-in", params={"next": away}, headers={"Accept": "text/html"})
    assert 'name="next" value="/"' in asked.text


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_is_typed_comes_back_as_text_or_not_at_all(app: Starlette, text: str) -> None:
    tablet = Tablet(app).sign_in("jean-habimana")
    fields = set(re.findall(r'name="([a-z_.]+)"', _all_templates())) | {"case", "person"}
    for path in own(app, "POST"):
        if path in ("/lock", "/sign-out"):
            continue
        answer = tablet.post(path, dict.fromkeys(fields, text))
        assert answer.status_code < 500, f"{path}: {answer.text[:300]}"
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path
        assert "x=y" not in str(answer.headers.get_list("set-cookie")), path
        if path == "/me/end":
            tablet.sign_in("jean-habimana")


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_stands_in_an_address_comes_back_as_text(app: Starlette, text: str) -> None:
    tablet = Tablet(app).sign_in("jean-habimana")
    for path in own(app, "GET"):
        answer = tablet.request(
            "GET",
            path.replace("p-1234567", httpx.URL("/", params={"x": text}).query.decode()[2:]),
            params=dict.fromkeys(("name", "before", "since", "next", "draft"), text),
            headers={"Accept": "text/html"},
        )
        assert answer.status_code < 500, f"{path}: {answer.text[:300]}"
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path


def _all_templates() -> str:
    return "".join(path.read_text() for path in (STATIC.parent / "templates").glob("*.html"))


def test_an_error_shows_nothing_of_the_inside(app: Starlette) -> None:
    for path in (
        "/nowhere",
        "/consultation/999999999999999999999999",
        "/static/../post.py",
        "/static/%2e%2e/post.py",
    ):
        answer = Tablet(app).get(path)
        assert answer.status_code in (303, 404, 422)
        assert not re.search(r"Traceback|File \"|site-packages|/src/akazuba", answer.text)


def test_folders_are_not_listed(app: Starlette) -> None:
    (static,) = [route for route in app.routes if isinstance(route, Mount)]
    for path in (f"{static.path}", f"{static.path}/"):
        answer = Tablet(app).get(path)
        assert answer.status_code in (307, 404)
        assert "consultation.js" not in answer.text


def test_secrets_do_not_come_back_on_any_page(app: Starlette) -> None:
    tablet = Tablet(app)
    wrong: dict[str, Any] = {"user": "dr-musa", "pin": "918273"}
    assert "918273" not in tablet.post("/sign-in", wrong).text
    assert PASSPHRASE not in tablet.post("/unlock", {"passphrase": PASSPHRASE}).text


def test_no_other_site_may_read_an_answer(app: Starlette) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    tablet = Tablet(app).sign_in("dr-musa")
    for method, path in (("OPTIONS", "/staff/add"), ("OPTIONS", "/state"), ("GET", "/state"), ("GET", "/me")):
        answer = tablet.request(method, path, headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_looking_at_pages_changes_nothing(app: Starlette, post: Post) -> None:
    """What a look adds to the log is that somebody looked."""
    tablet = Tablet(app).sign_in("jean-habimana")
    before = {entry.index for entry in _entries(post)}
    for path in own(app, "GET"):
        tablet.get(path)
        tablet.request("HEAD", path)
    new = {entry.kind for entry in _entries(post) if entry.index not in before}
    assert new <= {"read", "search", "picture-shown", "access-refused"}


def test_secrets_are_typed_masked_and_may_be_pasted(app: Starlette) -> None:
    tablet = Tablet(app)
    pages = [tablet.get("/sign-in"), tablet.get("/unlock")]
    pages += [tablet.sign_in("jean-habimana").get(path) for path in ("/staff", "/me")]
    fields = [
        tag
        for answer in pages
        for tag in re.findall(r"<input[^>]*>", answer.text)
        if re.search(r'name="(pin|again|current|passphrase)"', tag)
    ]
    assert len(fields) > 6
    assert all('type="password"' in tag for tag in fields)
    assert not any('autocomplete="off"' in tag or "onpaste" in tag for tag in fields)


def test_whoever_is_signed_in_may_sign_out_on_every_page(app: Starlette) -> None:
    tablet = Tablet(app).sign_in("chantal-uwimana")
    for path in ("/", "/consultation", "/queue", "/more", "/me", "/pictures", "/nowhere"):
        assert 'action="/sign-out"' in tablet.get(path).text, path


def _entries(post: Post) -> list[Recorded]:
    return asyncio.run(post.records(lambda kept: list(kept.opened().entries())))
