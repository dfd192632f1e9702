"""The Python client against the real door, in this process and over HTTPS."""

from __future__ import annotations

import doctest
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from door_bench import CHEAP, ORIGIN, PASSPHRASE, client_of, opened_post, served
from joserfc.jwk import ECKey
from starlette.applications import Starlette

from akazuba.cli.programs import program as command
from akazuba.client import (
    AnswerError,
    Client,
    NotLetInError,
    RefusedError,
    Send,
    UnreachableError,
    new_key,
)
from akazuba.errors import AkazubaError, InputError
from akazuba.governance.programs import read_keys, register, revoke
from akazuba.records import Case, Patient
from akazuba.storage.store import Store
from akazuba.storage.unlocking import set_up
from akazuba.web.doors import rest
from akazuba.web.doors.tokens import Mint
from akazuba.web.post import Post, now_ms

SECRET, PUBLIC = new_key()
CASE = {"id": "c1", "patient": {"age_years": 30, "sex": "female"}, "note": "fever and cough for three days"}
DOC = Path(__file__).parents[1] / "docs" / "reference" / "api.md"


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    post = opened_post(tmp_path_factory.mktemp("box"), terminology_home)
    let_in(post, "emr")
    yield post
    post.close()


def let_in(post: Post, name: str, public: bytes = PUBLIC, *scopes: str) -> None:
    import asyncio

    wanted = scopes or ("system/assess",)
    asyncio.run(post.records(lambda kept: register(kept.opened(), "supervisor", name, wanted, public)))


@pytest.fixture
def app(post: Post) -> Starlette:
    return served(post, *rest.routes())


def through(app: Starlette, seen: list[tuple[str, str]] | None = None) -> Send:
    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if seen is not None:
            seen.append((method, url))
        answer = client_of(app).request(method, url, headers=dict(headers), content=body)
        return answer.status_code, answer.content

    return send


def client(app: Starlette, name: str = "emr", secret: bytes = SECRET, **other: Any) -> Client:
    return Client(ORIGIN, name, secret, send=through(app), **other)


def test_a_case_is_assessed_and_the_answer_is_typed(app: Starlette) -> None:
    emr = client(app)
    said = emr.assess(CASE)
    assert said.triage
    assert said.triage.level in ("yellow", "unassessed", "red")
    assert said.case_id == "c1"
    assert (
        emr.assess(Case("c1", Patient(age_years=30, sex="female"), note=CASE["note"])).triage == said.triage
    )
    assert emr.triage(CASE).triage == said.triage
    assert emr.assess(CASE, lang="fr").ask_next != said.ask_next


def test_guidelines_versions_and_a_run_are_answered(app: Starlette) -> None:
    emr = client(app)
    ids = [it["id"] for it in emr.guidelines()]
    assert "curb-65" in ids
    assert emr.run_guideline("curb-65", {"age_years": 70})["missing"]
    assert emr.info()["digests"]


def test_findings_are_ranked(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without findings nothing is ranked, so the large table of rare diseases need not be built here."""
    seen = dict[str, Any]()

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if "/rank" in url:
            seen.update(json.loads(body), url=url)
            return 200, b'{"id": "query", "differential": []}'
        return through(app)(method, url, headers, body)

    emr = Client(ORIGIN, "emr", SECRET, send=send)
    assert emr.rank(["HP:0001166"], ["HP:0001083"], top=3) == {"id": "query", "differential": []}
    assert seen == {
        "id": "query",
        "observed": ["HP:0001166"],
        "excluded": ["HP:0001083"],
        "url": f"{ORIGIN}/api/v1/rank?top=3",
    }


def test_one_token_serves_until_it_ends_and_a_void_one_is_renewed(app: Starlette) -> None:
    seen = list[tuple[str, str]]()
    emr = Client(ORIGIN, "emr", SECRET, send=through(app, seen))
    for _ in range(3):
        emr.guidelines()
    assert [url.removeprefix(ORIGIN) for _, url in seen] == ["/token", *3 * ["/api/v1/guidelines"]]
    app.state.mint = Mint()  # the box was started anew
    emr.guidelines()
    assert [url.removeprefix(ORIGIN) for _, url in seen[4:]] == [
        "/api/v1/guidelines",
        "/token",
        "/api/v1/guidelines",
    ]


def test_an_older_token_is_renewed_before_it_ends(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[str, str]]()
    emr = Client(ORIGIN, "emr", SECRET, send=through(app, seen))
    emr.guidelines()
    real = time.monotonic
    monkeypatch.setattr("akazuba.client.time.monotonic", lambda: real() + 280)
    emr.guidelines()
    assert [url for _, url in seen].count(f"{ORIGIN}/token") == 2


def test_a_p384_key_serves_too(app: Starlette, post: Post) -> None:
    key = ECKey.generate_key("P-384")
    public = msgspec.json.encode({"keys": [{"kid": "one", **key.as_dict(private=False)}]})
    let_in(post, "curve", public)
    assert client(app, "curve", key.as_pem(private=True), kid="one").guidelines()


# --- errors -------------------------------------------------------------------------------------------


def test_a_refusal_is_in_the_boxs_own_words(app: Starlette) -> None:
    with pytest.raises(RefusedError) as refusal:
        client(app).assess({"id": "c1", "vitals": {"spo2_percent": 0.93}})
    said = refusal.value
    assert (said.status, said.item, said.expected) == (422, "vitals.spo2_percent", "20 to 100 %")
    assert said.found.startswith("0.93")
    assert isinstance(said, AkazubaError)


def test_a_program_that_is_not_let_in_hears_so(app: Starlette, post: Post) -> None:
    import asyncio

    with pytest.raises(NotLetInError) as unknown:
        client(app, "stranger").guidelines()
    assert unknown.value.status == 401
    with pytest.raises(NotLetInError):
        client(app, secret=new_key()[0]).guidelines()
    with pytest.raises(RefusedError, match="scope"):
        client(app, scopes=["system/*.read"]).guidelines()
    secret, public = new_key()
    let_in(post, "hooked", public, "hooks")
    with pytest.raises(NotLetInError) as wrong:
        client(app, "hooked", secret, scopes=["hooks"]).guidelines()
    assert wrong.value.status == 403
    let_in(post, "gone", public)
    gone = client(app, "gone", secret)
    gone.guidelines()
    asyncio.run(post.records(lambda kept: revoke(kept.opened(), "supervisor", "gone", "key lost")))
    with pytest.raises(NotLetInError):
        gone.guidelines()


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"case_id": 7}', b"\xff"])
def test_an_answer_that_is_none_of_this_api_is_an_error(app: Starlette, answer: bytes) -> None:
    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        return through(app)(method, url, headers, body) if url.endswith("/token") else (200, answer)

    with pytest.raises(AnswerError):
        Client(ORIGIN, "emr", SECRET, send=send).assess(CASE)
    with pytest.raises(AnswerError):
        Client(ORIGIN, "emr", SECRET, send=lambda *_: (200, answer)).assess(CASE)
    with pytest.raises(RefusedError, match="status 500"):
        Client(ORIGIN, "emr", SECRET, send=lambda *_: (500, answer)).assess(CASE)


def test_a_box_that_is_not_there_is_an_error_of_its_own() -> None:
    def send(*_: object) -> tuple[int, bytes]:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(UnreachableError, match="Connection refused"):
        Client(ORIGIN, "emr", SECRET, send=send).assess(CASE)


@pytest.mark.parametrize(
    "url", ["http://box.example", "ftp://box", "box.example", "", "https://", "https://user:pw@box.example"]
)
def test_a_token_never_goes_over_a_line_that_anybody_reads(url: str) -> None:
    with pytest.raises(InputError, match="https://"):
        Client(url, "emr", SECRET)


def test_a_key_that_cannot_serve_is_refused(tmp_path: Path) -> None:
    plain = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    others = [
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*plain),
        rsa.generate_private_key(65537, 2048).private_bytes(*plain),
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        ),
        PUBLIC,
        b"",
        tmp_path / "none.pem",
    ]
    for key in others:
        with pytest.raises(InputError):
            Client(ORIGIN, "emr", key)
    (tmp_path / "key.pem").write_bytes(SECRET)
    assert repr(Client(ORIGIN, "emr", tmp_path / "key.pem")) == "Client(https://box.example, emr)"
    with pytest.raises(InputError, match="certificates"):
        Client(ORIGIN, "emr", SECRET, ca_file=tmp_path / "none.pem")


def test_a_new_key_is_one_that_the_box_takes() -> None:
    (key,) = read_keys(PUBLIC)
    assert key.crv == "Ed25519"
    assert b"PRIVATE" in SECRET


# --- over HTTPS ---------------------------------------------------------------------------------------


def certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: str, signer: EllipticCurvePrivateKey, *, ca: bool
) -> bytes:
    now = datetime.now(UTC)
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it)]) for it in (name, issuer))
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return built.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@contextmanager
def over_https(app: Starlette, folder: Path) -> Iterator[tuple[str, Path]]:
    """The app on a port of this machine; its address and the clinic CA's file."""
    ca, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    plain = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    (folder / "ca.pem").write_bytes(certificate("clinic CA", ca, "clinic CA", ca, ca=True))
    (folder / "box.pem").write_bytes(certificate("localhost", own, "clinic CA", ca, ca=False))
    (folder / "box.key").write_bytes(own.private_bytes(*plain))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app.state.origins = (f"https://localhost:{port}",)
        files = {"ssl_certfile": str(folder / "box.pem"), "ssl_keyfile": str(folder / "box.key")}
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", **files))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"https://localhost:{port}", folder / "ca.pem"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1", "::1"])
def test_the_clinics_own_ca_is_trusted_and_no_other(app: Starlette, tmp_path: Path) -> None:
    with over_https(app, tmp_path) as (url, ca_file):
        assert Client(url, "emr", SECRET, ca_file=ca_file).assess(CASE).triage
        with pytest.raises(UnreachableError, match="certificate"):
            Client(url, "emr", SECRET).assess(CASE)
        other = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / "other.pem").write_bytes(certificate("clinic CA", other, "clinic CA", other, ca=True))
        with pytest.raises(UnreachableError, match="certificate"):
            Client(url, "emr", SECRET, ca_file=tmp_path / "other.pem").assess(CASE)
    with pytest.raises(UnreachableError):
        Client(url, "emr", SECRET, ca_file=ca_file).assess(CASE)


def test_certificates_are_checked_against_the_name() -> None:
    context = ssl.create_default_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


# --- the documentation and the command ----------------------------------------------------------------


def test_the_examples_of_the_documentation_are_true(app: Starlette) -> None:
    globs = {"Client": lambda *_, **__: client(app), "Path": Path}
    result = doctest.testfile(
        str(DOC),
        module_relative=False,
        globs=globs,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert result.attempted >= 5
    assert result.failed == 0


def test_the_command_line_makes_a_key_lets_in_lists_and_revokes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    Store(home, set_up(home, PASSPHRASE, cost=CHEAP), now_ms).close()

    def run(*arguments: str) -> Any:
        env = {"AKAZUBA_HOME": str(home), "AKAZUBA_PASSPHRASE": PASSPHRASE}
        return CliRunner(env=env).invoke(command, list(arguments))

    assert "no programs yet" in run("list").output
    made = run("key", "openmrs", "--out", str(tmp_path / "keys"))
    assert made.exit_code == 0, made.output
    secret, jwks = tmp_path / "keys" / "openmrs.pem", str(tmp_path / "keys" / "openmrs.jwks.json")
    assert secret.stat().st_mode & 0o077 == 0
    assert Client(ORIGIN, "openmrs", secret)
    assert run("key", "openmrs", "--out", str(tmp_path / "keys")).exit_code == 2
    assert run("key", "../openmrs", "--out", str(tmp_path / "other")).exit_code == 2
    added = run("add", "openmrs", "--scope", "system/assess", "--scope", "hooks", "--jwks", jwks)
    assert added.output == "openmrs may use hooks, system/assess\n"
    (listed,) = json.loads(run("list", "--json").output)
    assert (listed["name"], listed["scopes"], listed["by"]) == (
        "openmrs",
        ["hooks", "system/assess"],
        "passphrase",
    )
    assert listed["revoked"] is False
    assert "let in by passphrase" in run("list").output
    bad = run("add", "openmrs", "--scope", "all", "--jwks", jwks)
    assert (bad.exit_code, "error: scope: expected one of" in bad.output) == (2, True)
    assert run("add", "openmrs", "--scope", "hooks", "--jwks", str(tmp_path / "none")).exit_code == 2
    assert run("revoke", "openmrs", "--because", "key lost").output == "openmrs is shut out\n"
    assert "REVOKED" in run("list").output
    assert run("revoke", "openmrs", "--because", "again").exit_code == 2
    assert run("revoke", "nobody", "--because", "x").exit_code == 2
