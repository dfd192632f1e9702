"""An SAE's client against KMEs that lie, the policy of quantum keys, certificates, the API's description."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import stat
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
import schemathesis
from etsi014_checks import Bench, context, running_pair
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance
from test_qkd_kme import block, make_pair

from akazuba.errors import AkazubaError, InputError, KeysExhaustedError, UntrustedError
from akazuba.privacy.qkd.certificates import client_context, make_trial_authority, name_of, server_context
from akazuba.privacy.qkd.client import KmeClient, Line, LinkClient
from akazuba.privacy.qkd.configuration import Limits
from akazuba.privacy.qkd.kme_server import CALLER, application
from akazuba.privacy.qkd.messages import MAX_BLOCK_BODY
from akazuba.privacy.qkd.policy import key_by_id, key_for

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ID, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
KEY, ANOTHER = base64.b64encode(bytes(range(32))).decode(), base64.b64encode(bytes(range(32, 64))).decode()


class Canned(Line):
    """A line on which somebody says what the test wants."""

    def __init__(self, status: int, said: object) -> None:
        super().__init__("https://127.0.0.1:1", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self.said = status, said if isinstance(said, bytes) else json.dumps(said).encode()

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:  # noqa: ARG002
        return self.said


def saying(said: object, status: int = 200) -> KmeClient:
    return KmeClient(Canned(status, said))


def container(*keys: tuple[object, object]) -> dict[str, object]:
    return {"keys": [{"key_ID": key_id, "key": key} for key_id, key in keys]}


def test_an_honest_answer_is_taken() -> None:
    (key,) = saying(container((ID, KEY))).enc_keys("sae-2")
    assert (key.key_id, key.key, key.simulated) == (ID, bytes(range(32)), False)
    said = {"keys": [{"key_ID": ID, "key": KEY, "key_extension": {"akazuba_simulated": True}}]}
    assert saying(said).dec_keys("sae-1", [ID])[0].simulated


@pytest.mark.parametrize(
    "said",
    [
        container(),
        container((ID, KEY), (OTHER, ANOTHER)),
        container((ID, base64.b64encode(b"short").decode())),
        container((ID, "not base64!")),
        container((ID, "")),
        container((ID, 7)),
        container(("no uuid", KEY)),
        container((None, KEY)),
        {"keys": {"key_ID": ID, "key": KEY}},
        {"keys": None},
        {"keys": [{"key_ID": ID}]},
        {"keys": [{"key_ID": ID, "key": KEY, "key_extension": 1}]},
        [],
        b"",
        b"\xff",
        b"<html>",
        b'{"keys":' + b"[" * 100_000,
    ],
)
def test_a_kme_that_lies_is_not_believed(said: object) -> None:
    with pytest.raises(UntrustedError):
        saying(said).enc_keys("sae-2")


def test_a_kme_that_gives_the_same_key_or_other_keys_is_not_believed() -> None:
    for said in (container((ID, KEY), (ID, ANOTHER)), container((ID, KEY), (OTHER, KEY))):
        with pytest.raises(UntrustedError):
            saying(said).enc_keys("sae-2", 2)
    with pytest.raises(UntrustedError):
        saying(container((OTHER, KEY))).dec_keys("sae-1", [ID])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.integers(100, 599))
def test_whatever_a_kme_says_the_client_raises_one_of_ours(said: bytes, status: int) -> None:
    for ask in (lambda kme: kme.status("sae-2"), lambda kme: kme.enc_keys("sae-2")):
        with pytest.raises(AkazubaError):
            ask(saying(said, status))


STATUS = {
    "source_KME_ID": "a",
    "target_KME_ID": "b",
    "master_SAE_ID": "sae-1",
    "slave_SAE_ID": "sae-2",
    "key_size": 256,
    "stored_key_count": 1,
    "max_key_count": 1,
    "max_key_per_request": 1,
    "max_key_size": 256,
    "min_key_size": 64,
    "max_SAE_ID_count": 0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"key_size": True},
        {"key_size": 512},
        {"stored_key_count": -1},
        {"slave_SAE_ID": "x"},
        {"source_KME_ID": 1},
    ],
)
def test_a_status_that_cannot_be_is_not_believed(change: dict[str, object]) -> None:
    assert saying(STATUS).status("sae-2").stored_key_count == 1
    with pytest.raises(UntrustedError):
        saying({**STATUS, **change}).status("sae-2")


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (503, {"message": "none left"}, KeysExhaustedError),
        (503, b"", KeysExhaustedError),
        (400, {"message": "one or more keys specified are not found on KME"}, KeysExhaustedError),
        (400, {"message": "bad"}, InputError),
        (401, b"", UntrustedError),
        (500, b"", UntrustedError),
        (302, b"", UntrustedError),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(status: int, said: object, error: type[AkazubaError]) -> None:
    with pytest.raises(error):
        saying(said, status).dec_keys("sae-1", [ID])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://", "https://h/x", "https://h:99999", "h"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        Line(url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_the_policy_says_whether_anything_goes_on_without_a_key() -> None:
    good, none, lying = saying(container((ID, KEY))), saying(b"", 503), saying(container((ID, "?")))
    told = list[AkazubaError]()
    assert key_for("off", good, "sae-2") is None
    assert key_for("prefer", none, "sae-2", missing=told.append) is None
    assert key_for("prefer", lying, "sae-2", missing=told.append) is None
    assert key_for("prefer", None, "sae-2", missing=told.append) is None
    assert [type(error) for error in told] == [KeysExhaustedError, UntrustedError, KeysExhaustedError]
    for client in (none, lying, None, saying(container((ID, base64.b64encode(bytes(16)).decode())))):
        with pytest.raises(KeysExhaustedError):
            key_for("require", client, "sae-2")
        with pytest.raises(KeysExhaustedError):
            key_by_id("require", client, "sae-1", ID)
    for policy in ("prefer", "require"):
        key = key_for(policy, good, "sae-2")
        assert key is not None
        assert key == key_by_id(policy, good, "sae-1", ID)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running_pair(tmp_path_factory.mktemp("kmes"), blocks=1) as both:
        yield both


def line(bench: Bench, name: str, kme: str, server: str | None = None) -> Line:
    return Line(bench.urls[kme], context(bench.folder, name), server=server or kme)


def test_the_same_key_comes_out_at_the_other_end_of_a_real_line(bench: Bench) -> None:
    with (
        closing(KmeClient(line(bench, "sae-1", "kme-a"))) as master,
        closing(KmeClient(line(bench, "sae-2", "kme-b"))) as slave,
        closing(KmeClient(line(bench, "sae-3", "kme-b"))) as another,
    ):
        key = key_for("require", master, "sae-2")
        assert key is not None
        assert key.simulated
        assert key == key_by_id("require", slave, "sae-1", key.key_id)
        many = master.enc_keys("sae-2", 5, 128, additional=["sae-3"])
        for kme in (slave, another):
            assert kme.dec_keys("sae-1", [key.key_id for key in many]) == many
        assert master.status("sae-2").stored_key_count > 0


def test_a_line_to_another_server_than_was_meant_is_not_used(bench: Bench) -> None:
    with (
        closing(KmeClient(line(bench, "sae-1", "kme-a", server="kme-b"))) as client,
        pytest.raises(UntrustedError),
    ):
        client.status("sae-2")


def test_a_server_of_another_authority_is_not_believed(bench: Bench) -> None:
    own = bench.folder / "sae-1"
    tls = client_context(
        own.with_suffix(".crt.pem"), own.with_suffix(".key.pem"), bench.folder / "other" / "ca.crt.pem"
    )
    with closing(KmeClient(Line(bench.urls["kme-a"], tls))) as client, pytest.raises(UntrustedError):
        client.status("sae-2")


def test_a_kme_that_does_not_answer_has_no_key(bench: Bench) -> None:
    unreachable = Line("https://127.0.0.1:1", context(bench.folder, "sae-1"), timeout_s=0.5)
    with closing(KmeClient(unreachable)) as client, pytest.raises(KeysExhaustedError):
        client.enc_keys("sae-2")


@pytest.mark.parametrize(
    "noise", [b"GET /api/v1/keys/sae-2/status HTTP/1.1\r\n\r\n", bytes(3000), b"\x16\x03\x01\xff\xff", b""]
)
def test_who_speaks_no_tls_is_not_answered_and_keeps_nobody_waiting(bench: Bench, noise: bytes) -> None:
    host, port = bench.urls["kme-a"].removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        raw.sendall(noise)
        assert bench.status()
        with suppress(OSError):  # it has ended the connection
            raw.shutdown(socket.SHUT_WR)
            assert b"keys" not in raw.recv(4096)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api/v1/keys/sae-2/status", 400),
        (b"GET /api/v1/keys/sae-2/status HTTP/9.9", 400),
        (b"get /api/v1/keys/sae-2/status HTTP/1.1\r\nHost: x", 400),
        (b"POST /api/v1/keys/sae-2/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: many", 400),
        (b"POST /api/v1/keys/sae-2/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
        (b"POST /api/v1/keys/sae-2/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999", 400),
        (b"GET /api/v1/keys/sae-2/status HTTP/1.1\r\nno colon", 400),
        (b"GET /api/v1/keys/%zz\xff/status HTTP/1.1\r\nHost: x", 400),
    ],
)
def test_http_that_is_none_gets_the_error_of_the_standard(bench: Bench, head: bytes, status: int) -> None:
    host, port = bench.urls["kme-a"].removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 5) as raw,
        context(bench.folder, "sae-1").wrap_socket(raw, server_hostname=host) as spoken,
    ):
        spoken.sendall(head + b"\r\n\r\n")
        answer = http.client.HTTPResponse(spoken)
        answer.begin()
        assert answer.status == status
        assert json.loads(answer.read())["message"]
        assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


def test_only_the_link_may_bring_blocks(bench: Bench) -> None:
    with closing(LinkClient(line(bench, "link", "kme-a"))) as link:
        link.give(block(0x7000))
        assert link.next_number() == 0x7001
        with pytest.raises(UntrustedError):
            link.give(block(0x7000, seed=2))
    with closing(LinkClient(line(bench, "sae-1", "kme-a"))) as other, pytest.raises(UntrustedError):
        other.give(block(0x7002))


def test_certificates_for_trials_are_labelled_and_their_keys_private(tmp_path: Path) -> None:
    make_trial_authority(tmp_path, ("a", "b"), ("sae-1",), "link", datetime.now(UTC))
    for path in tmp_path.glob("*.key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(tmp_path.glob("*.crt.pem"))) == 5
    assert not (tmp_path / "ca.key.pem").exists()
    made = ssl._ssl._test_decode_cert(str(tmp_path / "a.crt.pem"))
    assert ("organizationName", "TRIAL ONLY") in {pair for part in made["subject"] for pair in part}
    assert name_of(made) == "a"
    with pytest.raises(InputError):
        make_trial_authority(tmp_path, ("a", "b"), ("sae-1",), "link", datetime.now(UTC))
    with pytest.raises(InputError):
        server_context(tmp_path / "a.crt.pem", tmp_path / "b.key.pem", tmp_path / "ca.crt.pem")


def test_the_name_is_the_common_name_or_else_the_only_other_one() -> None:
    def certificate(*common: str, san: tuple[str, ...] = ()) -> dict[str, object]:
        return {
            "subject": tuple((("commonName", name),) for name in common),
            "subjectAltName": tuple(("DNS", name) for name in san),
        }

    assert name_of(certificate("sae-1", san=("host",))) == "sae-1"
    assert name_of(certificate(san=("sae-1",))) == "sae-1"
    assert name_of(certificate(san=("sae-1", "sae-2"))) is None
    assert name_of(certificate("sae-1", "sae-2")) is None
    assert name_of({}) is None
    assert name_of(None) is None


OPENAPI = json.loads(files("akazuba.privacy.qkd").joinpath("openapi.json").read_text(encoding="utf-8"))


def test_the_description_of_the_api_has_the_limits_in_force() -> None:
    limits, schemas = Limits(), OPENAPI["components"]["schemas"]
    asked = schemas["KeyRequest"]["properties"]
    query = {
        each["name"]: each["schema"]
        for each in OPENAPI["paths"]["/api/v1/keys/{slave_SAE_ID}/enc_keys"]["get"]["parameters"]
    }
    for size in (asked["size"], query["size"]):
        found = (size["minimum"], size["default"], size["maximum"], size["multipleOf"])
        assert found == (limits.min_key_size, limits.key_size, limits.max_key_size, 8)
    for number in (asked["number"], query["number"]):
        assert (number["minimum"], number["default"], number["maximum"]) == (1, 1, limits.max_key_per_request)
    assert asked["additional_slave_SAE_IDs"]["maxItems"] == limits.max_SAE_ID_count
    for kind in ("KeyIDs", "KeyContainer"):
        (several,) = (each for each in schemas[kind]["properties"].values() if each["type"] == "array")
        assert several["maxItems"] == limits.max_key_per_request


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The API in this process, asked by sae-1, whose only other SAE is sae-2."""
    a, b = make_pair(tmp_path_factory.mktemp("ends"), Limits(max_key_count=1_000_000))
    for number in range(8):
        for end in (a, b):
            assert len(msgspec.json.encode(block(number, 1 << 20))) < MAX_BLOCK_BODY
            assert end.link(block(number, 1 << 20)).status == 200
    answered = application(a.kme)
    said = json.loads(json.dumps(OPENAPI))
    for path in said["paths"].values():
        for operation in path.values():
            operation["parameters"][0]["schema"] = {"type": "string", "enum": ["sae-2"]}
    asked = said["components"]["schemas"]["KeyRequest"]["properties"]
    asked["additional_slave_SAE_IDs"]["items"] = {"type": "string", "enum": ["sae-3", "sae-4"]}

    def app(environ, start):
        if environ["PATH_INFO"] == "/openapi.json":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(said).encode()]
        return answered({**environ, CALLER: "sae-1"}, start)

    yield schemathesis.openapi.from_wsgi("/openapi.json", app)
    a.store.close()
    b.store.close()


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", ["status", "enc_keys", "post_enc_keys", "dec_keys", "post_dec_keys"])
def test_schemathesis_finds_nothing(
    described: schemathesis.BaseSchema, name: str, mode: GenerationMode
) -> None:
    operation = next(each.ok() for each in described.include(operation_id=name).get_all_operations())
    # an id that the description allows belongs to no key
    unknown = [positive_data_acceptance] if "dec_keys" in name else []

    @settings(
        max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=unknown)

    run()
