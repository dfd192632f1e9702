"""Checks of ETSI GS QKD 014 V1.1.1, each with its clause, over mutual TLS against two KMEs.

kme-a serves sae-1 and sae-4, kme-b serves sae-2 and sae-3. A check raises AssertionError. `running_pair`
starts both in this process, fed with random blocks; the checks themselves only speak HTTPS.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from akazuba.privacy.qkd.certificates import client_context, issued, make_trial_authority, pem, private_pem
from akazuba.privacy.qkd.client import Line, LinkClient
from akazuba.privacy.qkd.configuration import Site, trial_sites
from akazuba.privacy.qkd.kme_server import Running, start
from akazuba.privacy.qkd.messages import NOT_FOUND, NOT_SUPPORTED, NOT_WHOLE_BYTES, Block

SAES = {"sae-1": "kme-a", "sae-2": "kme-b", "sae-3": "kme-b", "sae-4": "kme-a"}
KMES = ("kme-a", "kme-b")


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def make_folder(folder: Path) -> list[Site]:
    """Certificates, and both configurations as files: NAME.json."""
    now = datetime.now(UTC)
    authority = make_trial_authority(folder, KMES, list(SAES), "link", now)
    make_trial_authority(folder / "other", KMES, list(SAES), "link", now)
    for name, when in (("expired", now - timedelta(days=60)), ("nobody", now)):
        key, certificate = issued("sae-1" if name == "expired" else name, when, 30, authority)
        (folder / f"{name}.crt.pem").write_bytes(pem(certificate))
        (folder / f"{name}.key.pem").write_bytes(private_pem(key))
    sites = trial_sites(KMES, SAES, "link", free_ports())
    for site in sites:
        (folder / f"{site.id}.json").write_bytes(msgspec.json.encode(site))
    return sites


def context(folder: Path, name: str) -> ssl.SSLContext:
    own = folder / name
    return client_context(own.with_suffix(".crt.pem"), own.with_suffix(".key.pem"), folder / "ca.crt.pem")


def feed(folder: Path, sites: list[Site], blocks: int = 1, size: int = 65_536) -> None:
    """Random bits in place of a link's: simulated."""
    ends = [
        LinkClient(Line(f"https://127.0.0.1:{site.port}", context(folder, "link"), server=site.id))
        for site in sites
    ]
    for _ in range(blocks):
        block = Block(max(end.next_number() for end in ends), os.urandom(size), simulated=True)
        for end in ends:
            end.give(block)
    for end in ends:
        end.close()


@dataclass(frozen=True)
class Got:
    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)

    def json(self) -> dict:
        return json.loads(self.body)

    def delivered(self) -> list[dict]:
        assert self.status == 200, (self.status, self.body[:100])
        return self.json()["keys"]

    def refused(self, status: int = 400, message: str | None = None) -> None:
        assert self.status == status, (self.status, self.body[:100])
        if status == 401:
            assert not self.body
            return
        said = self.json()
        assert isinstance(said["message"], str)
        assert said["message"]
        assert message is None or said["message"] == message
        assert all(isinstance(each, dict) for each in said.get("details", []))


class Bench:
    """Two running KMEs, asked as any SAE, or with any certificate of the folder."""

    def __init__(self, folder: Path, sites: list[Site]) -> None:
        self.folder, self._sites = folder, sites
        self.urls = {site.id: f"https://127.0.0.1:{site.port}" for site in sites}
        self._kept: dict[tuple[str, str], http.client.HTTPSConnection] = {}

    def refill(self, blocks: int = 4) -> None:
        feed(self.folder, self._sites, blocks)

    def close(self) -> None:
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def ask(
        self,
        sae: str,
        method: str,
        path: str,
        body: object = None,
        *,
        kme: str = "",
        headers: dict[str, str] | None = None,
    ) -> Got:
        """body: bytes as they are, None for none, else as JSON."""
        kme = kme or SAES[sae]
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if raw is not None else {}
        sent |= headers or {}
        if (kme, sae) in self._kept:
            try:
                return self._asked(kme, sae, method, path, raw, sent)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                pass  # the server ends a connection that was idle for some seconds
        return self._asked(kme, sae, method, path, raw, sent)

    def _asked(self, kme: str, sae: str, method: str, path: str, raw: bytes | None, sent: dict) -> Got:
        connection = self._kept.get((kme, sae))
        if connection is None:
            host = self.urls[kme].removeprefix("https://")
            connection = http.client.HTTPSConnection(host, timeout=5, context=context(self.folder, sae))
            self._kept[kme, sae] = connection
        try:
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            return Got(answer.status, answer.headers, answer.read())
        except BaseException:
            self._kept.pop((kme, sae)).close()
            raise

    def status(self) -> dict:
        got = self.ask("sae-1", "GET", "/api/v1/keys/sae-2/status")
        assert got.status == 200
        return got.json()

    def enc(self, body: object = None, *, method: str = "POST", to: str = "sae-2", query: str = "") -> Got:
        return self.ask("sae-1", method, f"/api/v1/keys/{to}/enc_keys{query}", body)

    def dec(self, ids: list[str], *, sae: str = "sae-2", master: str = "sae-1") -> Got:
        body = {"key_IDs": [{"key_ID": each} for each in ids]}
        return self.ask(sae, "POST", f"/api/v1/keys/{master}/dec_keys", body)

    def dec_raw(self, body: object) -> Got:
        return self.ask("sae-2", "POST", "/api/v1/keys/sae-1/dec_keys", body)


Check = Callable[[Bench], None]
CHECKS: list[tuple[str, str, Check]] = []


def check(clause: str, name: str) -> Callable[[Check], Check]:
    def noted(function: Check) -> Check:
        CHECKS.append((clause, name, function))
        return function

    return noted


def ids(keys: list[dict]) -> list[str]:
    return [key["key_ID"] for key in keys]


def bits(key: dict) -> int:
    return 8 * len(base64.b64decode(key["key"], validate=True))


def no_connection(bench: Bench, name: str, kme: str = "kme-a") -> None:
    try:
        got = bench.ask(name, "GET", "/api/v1/keys/sae-2/status", kme=kme)
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return
    raise AssertionError(f"answered with {got.status}")


@check("5.1", "the answer is JSON in UTF-8")
def _(bench: Bench) -> None:
    got = bench.enc(method="GET")
    assert got.headers["Content-Type"].split(";")[0] == "application/json"
    json.loads(got.body.decode())


@check("5.1", "no answer with a key may be stored by a cache")
def _(bench: Bench) -> None:
    assert bench.enc().headers["Cache-Control"] == "no-store"


@check("5.1", "TLS 1.2 and below is refused (the text demands 1.2 or higher, we 1.3)")
def _(bench: Bench) -> None:
    old = context(bench.folder, "sae-1")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = bench.urls["kme-a"].removeprefix("https://").split(":")
    try:
        with socket.create_connection((host, int(port)), 5) as raw:
            old.wrap_socket(raw, server_hostname=host).close()
    except (ssl.SSLError, ConnectionError):
        return
    raise AssertionError("TLS 1.2 was spoken")


@check("5.1", "a client without a certificate is not answered")
def _(bench: Bench) -> None:
    bare = ssl.create_default_context(cafile=str(bench.folder / "ca.crt.pem"))
    host = bench.urls["kme-a"].removeprefix("https://")
    connection = http.client.HTTPSConnection(host, timeout=5, context=bare)
    try:
        connection.request("GET", "/api/v1/keys/sae-2/status")
        connection.getresponse()
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return
    finally:
        connection.close()
    raise AssertionError("answered")


@check("5.1", "a client with the certificate of another authority is not answered")
def _(bench: Bench) -> None:
    other = client_context(
        bench.folder / "other" / "sae-1.crt.pem",
        bench.folder / "other" / "sae-1.key.pem",
        bench.folder / "ca.crt.pem",
    )
    host = bench.urls["kme-a"].removeprefix("https://")
    connection = http.client.HTTPSConnection(host, timeout=5, context=other)
    try:
        connection.request("GET", "/api/v1/keys/sae-2/status")
        connection.getresponse()
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return
    finally:
        connection.close()
    raise AssertionError("answered")


@check("5.1", "a client with an expired certificate is not answered")
def _(bench: Bench) -> None:
    no_connection(bench, "expired")


@check("5.1", "the KME shows a certificate of the authority with its name")
def _(bench: Bench) -> None:
    host, port = bench.urls["kme-b"].removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 5) as raw,
        context(bench.folder, "sae-2").wrap_socket(raw, server_hostname=host) as spoken,
    ):
        names = [value for part in spoken.getpeercert()["subject"] for _, value in part]
    assert "kme-b" in names


@check("5.1", "an SAE of the other KME is not authorised: 401 without a body")
def _(bench: Bench) -> None:
    bench.ask("sae-2", "GET", "/api/v1/keys/sae-1/status", kme="kme-a").refused(401)


@check("5.1", "an SAE of the other KME gets no keys: 401")
def _(bench: Bench) -> None:
    bench.ask("sae-2", "POST", "/api/v1/keys/sae-1/enc_keys", {}, kme="kme-a").refused(401)


@check("5.1", "a certificate of the authority that names no SAE: 401")
def _(bench: Bench) -> None:
    bench.ask("nobody", "GET", "/api/v1/keys/sae-2/status", kme="kme-a").refused(401)


@check("5.1", "a KME's own certificate is no SAE's: 401")
def _(bench: Bench) -> None:
    bench.ask("kme-b", "POST", "/api/v1/keys/sae-2/enc_keys", {}, kme="kme-a").refused(401)


@check("5.2", "status answers 200")
def _(bench: Bench) -> None:
    assert bench.ask("sae-1", "GET", "/api/v1/keys/sae-2/status").status == 200


@check("5.2", "status of an unknown slave: 400")
def _(bench: Bench) -> None:
    bench.ask("sae-1", "GET", "/api/v1/keys/sae-99/status").refused()


@check("5.2", "status is read with GET only")
def _(bench: Bench) -> None:
    got = bench.ask("sae-1", "POST", "/api/v1/keys/sae-2/status", {})
    got.refused(405)
    assert got.headers["Allow"] == "GET"


@check("5.2", "the path holds the SAE ID URL-encoded")
def _(bench: Bench) -> None:
    assert bench.ask("sae-1", "GET", "/api/v1/keys/%73ae%2D2/status").json()["slave_SAE_ID"] == "sae-2"


@check("5.2", "a path that is not UTF-8 after decoding: 400")
def _(bench: Bench) -> None:
    bench.ask("sae-1", "GET", "/api/v1/keys/%ff%fe/status").refused()


@check("5.2", "another resource: 404 with an Error")
def _(bench: Bench) -> None:
    bench.ask("sae-1", "GET", "/api/v1/keys/sae-2/elsewhere").refused(404)


@check("5.2", "another version of the API: 404")
def _(bench: Bench) -> None:
    bench.ask("sae-1", "GET", "/api/v2/keys/sae-2/status").refused(404)


@check("6.1", "status names both KMEs and both SAEs")
def _(bench: Bench) -> None:
    said = bench.status()
    assert (said["source_KME_ID"], said["target_KME_ID"]) == ("kme-a", "kme-b")
    assert (said["master_SAE_ID"], said["slave_SAE_ID"]) == ("sae-1", "sae-2")


@check("6.1", "status holds all its numbers as whole numbers")
def _(bench: Bench) -> None:
    said = bench.status()
    names = ("key_size", "stored_key_count", "max_key_count", "max_key_per_request")
    for name in (*names, "max_key_size", "min_key_size", "max_SAE_ID_count"):
        assert type(said[name]) is int
        assert said[name] >= 0


@check("6.1", "min_key_size ≤ key_size ≤ max_key_size, all whole bytes")
def _(bench: Bench) -> None:
    said = bench.status()
    sizes = [said[name] for name in ("min_key_size", "key_size", "max_key_size")]
    assert sizes == sorted(sizes)
    assert not any(size % 8 for size in sizes)


@check("6.1", "stored_key_count falls by what was delivered")
def _(bench: Bench) -> None:
    before = bench.status()["stored_key_count"]
    bench.enc({"number": 4}).delivered()
    assert bench.status()["stored_key_count"] == before - 4


@check("6.1", "stored_key_count is at most max_key_count")
def _(bench: Bench) -> None:
    said = bench.status()
    assert 0 < said["stored_key_count"] <= said["max_key_count"]


@check("6.1", "status_extension is an object, and says SIMULATED")
def _(bench: Bench) -> None:
    assert bench.status()["status_extension"] == {"akazuba_simulated": True}


@check("6.1", "the target of an SAE of the same KME is this KME")
def _(bench: Bench) -> None:
    assert bench.ask("sae-1", "GET", "/api/v1/keys/sae-4/status").json()["target_KME_ID"] == "kme-a"


@check("5.3", "GET without a query gives one key of key_size bits")
def _(bench: Bench) -> None:
    (key,) = bench.enc(method="GET").delivered()
    assert bits(key) == bench.status()["key_size"]


@check("5.3", "GET with number and size")
def _(bench: Bench) -> None:
    keys = bench.enc(method="GET", query="?number=3&size=512").delivered()
    assert [bits(key) for key in keys] == [512] * 3


@check("5.3", "GET with anything but number and size: 400")
def _(bench: Bench) -> None:
    bench.enc(method="GET", query="?number=1&additional_slave_SAE_IDs=sae-3").refused()


@check("5.3", "GET with number twice: 400")
def _(bench: Bench) -> None:
    bench.enc(method="GET", query="?number=1&number=2").refused()


for _text in ("0", "-1", "abc", "1.5", "", "true", "1e3", "99999999999999999999"):

    @check("5.3", f"GET with number={_text}: 400")
    def _(bench: Bench, text: str = _text) -> None:
        bench.enc(method="GET", query=f"?number={text}").refused()


@check("5.3", "GET with a size that is no multiple of 8: 400 with the text's message")
def _(bench: Bench) -> None:
    bench.enc(method="GET", query="?size=257").refused(400, NOT_WHOLE_BYTES)


@check("5.3", "POST without a body gives one key of key_size bits")
def _(bench: Bench) -> None:
    assert len(bench.enc().delivered()) == 1


@check("5.3", "POST of an empty Key request gives one key")
def _(bench: Bench) -> None:
    assert len(bench.enc({}).delivered()) == 1


@check("5.3", "the slave is an SAE that the KME knows: else 400")
def _(bench: Bench) -> None:
    bench.enc({}, to="sae-99").refused()


@check("5.3", "the slave is not the master: else 400")
def _(bench: Bench) -> None:
    bench.enc({}, to="sae-1").refused()


@check("5.3", "no other method than GET and POST: 405")
def _(bench: Bench) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        got = bench.enc({}, method=method)
        got.refused(405)
        assert got.headers["Allow"] == "GET, POST"


@check("5.3", "no key is delivered twice")
def _(bench: Bench) -> None:
    keys = bench.enc({"number": 20}).delivered() + bench.enc({"number": 20}).delivered()
    assert len({key["key"] for key in keys}) == len(set(ids(keys))) == 40


@check("5.3", "both KMEs deliver as master at the same time")
def _(bench: Bench) -> None:
    here = bench.enc().delivered()
    there = bench.ask("sae-2", "POST", "/api/v1/keys/sae-1/enc_keys", {}).delivered()
    assert here[0]["key"] != there[0]["key"]
    assert bench.dec(ids(there), sae="sae-1", master="sae-2").delivered()[0]["key"] == there[0]["key"]


@check("6.2", "POST with number and size")
def _(bench: Bench) -> None:
    keys = bench.enc({"number": 3, "size": 1024}).delivered()
    assert [bits(key) for key in keys] == [1024] * 3


@check("6.2", "the smallest size")
def _(bench: Bench) -> None:
    size = bench.status()["min_key_size"]
    assert bits(bench.enc({"size": size}).delivered()[0]) == size


@check("6.2", "the largest size")
def _(bench: Bench) -> None:
    size = bench.status()["max_key_size"]
    assert bits(bench.enc({"size": size}).delivered()[0]) == size


@check("6.2", "the largest number")
def _(bench: Bench) -> None:
    number = bench.status()["max_key_per_request"]
    assert len(set(ids(bench.enc({"number": number}).delivered()))) == number


@check("6.2", "a size below the smallest: 400")
def _(bench: Bench) -> None:
    bench.enc({"size": bench.status()["min_key_size"] - 8}).refused()


@check("6.2", "a size above the largest: 400")
def _(bench: Bench) -> None:
    bench.enc({"size": bench.status()["max_key_size"] + 8}).refused()


@check("6.2", "a number above the largest: 400")
def _(bench: Bench) -> None:
    bench.enc({"number": bench.status()["max_key_per_request"] + 1}).refused()


@check("6.2", "a size that is no multiple of 8: 400 with the text's message")
def _(bench: Bench) -> None:
    bench.enc({"size": 129}).refused(400, NOT_WHOLE_BYTES)


for _name, _value in (
    ("0", 0),
    ("-8", -8),
    ("a string", "8"),
    ("a bool", True),
    ("a float", 1.5),
    ("null", None),
    ("a list", [8]),
    ("2^70", 2**70),
):

    @check("6.2", f"number that is {_name}: 400")
    def _(bench: Bench, value: object = _value) -> None:
        bench.enc({"number": value}).refused()

    @check("6.2", f"size that is {_name}: 400")
    def _(bench: Bench, value: object = _value) -> None:
        bench.enc({"size": value}).refused()


@check("6.2", "extension_mandatory that is not supported: 400 with the text's message and details")
def _(bench: Bench) -> None:
    got = bench.enc({"extension_mandatory": [{"abc_route_type": "direct"}, {"abc_transfer_method": "qkd"}]})
    got.refused(400, NOT_SUPPORTED)
    assert got.json()["details"] == [
        {"extension_mandatory_unsupported": "abc_route_type is not supported"},
        {"extension_mandatory_unsupported": "abc_transfer_method is not supported"},
    ]


@check("6.2", "an empty extension_mandatory demands nothing")
def _(bench: Bench) -> None:
    assert len(bench.enc({"extension_mandatory": []}).delivered()) == 1


@check("6.2", "extension_mandatory that is no array of objects: 400")
def _(bench: Bench) -> None:
    for value in ({"abc": 1}, ["abc"], "abc", 1):
        bench.enc({"extension_mandatory": value}).refused()


@check("6.2", "extension_optional may be ignored")
def _(bench: Bench) -> None:
    assert len(bench.enc({"extension_optional": [{"abc_max_age": 30_000}]}).delivered()) == 1


@check("6.2", "extension_optional that is no array of objects: 400")
def _(bench: Bench) -> None:
    bench.enc({"extension_optional": {"abc": 1}}).refused()


@check("6.2", "additional_slave_SAE_IDs: every slave gets the same key, once")
def _(bench: Bench) -> None:
    keys = bench.enc({"number": 2, "additional_slave_SAE_IDs": ["sae-3"]}).delivered()
    for sae in ("sae-2", "sae-3"):
        assert [key["key"] for key in bench.dec(ids(keys), sae=sae).delivered()] == [
            key["key"] for key in keys
        ]
        bench.dec(ids(keys), sae=sae).refused(400, NOT_FOUND)


@check("6.2", "an additional slave of the master's own KME gets the key there")
def _(bench: Bench) -> None:
    keys = bench.enc({"additional_slave_SAE_IDs": ["sae-4"]}).delivered()
    for sae in ("sae-4", "sae-2"):
        assert bench.dec(ids(keys), sae=sae).delivered()[0]["key"] == keys[0]["key"]


@check("6.2", "a slave of the master's own KME alone")
def _(bench: Bench) -> None:
    keys = bench.enc({}, to="sae-4").delivered()
    assert bench.dec(ids(keys), sae="sae-4").delivered()[0]["key"] == keys[0]["key"]
    bench.dec(ids(keys)).refused()


for _name, _value in (
    ("the slave again", ["sae-2"]),
    ("the master", ["sae-1"]),
    ("one twice", ["sae-3", "sae-3"]),
    ("an unknown one", ["sae-99"]),
    ("an empty one", [""]),
    ("numbers", [3]),
    ("no array", "sae-3"),
    ("more than max_SAE_ID_count", [f"sae-{index}" for index in range(100, 140)]),
):

    @check("6.2", f"additional_slave_SAE_IDs with {_name}: 400")
    def _(bench: Bench, value: object = _value) -> None:
        bench.enc({"additional_slave_SAE_IDs": value}).refused()


for _name, _raw in (
    ("cut off", b'{"number":'),
    ("an array", b"[1]"),
    ("a number", b"1"),
    ("not UTF-8", b'{"extension_optional":[{"\xff":1}]}'),
    ("nested 20,000 deep", b'{"extension_optional":[{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}]}"),
    ("NaN", b'{"number":NaN}'),
    ("followed by more", b"{} {}"),
):

    @check("6.2", f"a body that is {_name}: 400")
    def _(bench: Bench, raw: bytes = _raw) -> None:
        bench.enc(raw).refused()


@check("6.2", "a body of another media type: 400")
def _(bench: Bench) -> None:
    got = bench.ask(
        "sae-1", "POST", "/api/v1/keys/sae-2/enc_keys", b"number=1", headers={"Content-Type": "text/plain"}
    )
    got.refused()


@check("6.2", "a body of more than 64 KiB: 400")
def _(bench: Bench) -> None:
    bench.enc(b'{"extension_optional":[{"a":"' + b"x" * 70_000 + b'"}]}').refused()


@check("6.2", "a body of many MiB: 400, or the connection ends")
def _(bench: Bench) -> None:
    with suppress(ssl.SSLError, ConnectionError):
        bench.enc(b" " * 8_000_000).refused()
    assert bench.enc().status == 200


@check("6.2", "a body whose length is not said: 400")
def _(bench: Bench) -> None:
    got = bench.ask(
        "sae-1", "POST", "/api/v1/keys/sae-2/enc_keys", None, headers={"Transfer-Encoding": "chunked"}
    )
    got.refused()


@check("6.2", "a header of more than 16 KiB: refused with an Error")
def _(bench: Bench) -> None:
    with suppress(ssl.SSLError, ConnectionError):
        bench.ask("sae-1", "GET", "/api/v1/keys/sae-2/status", headers={"X-Long": "x" * 40_000}).refused()
    assert bench.status()


@check("6.3", "key_ID is a UUID, and each is another")
def _(bench: Bench) -> None:
    keys = bench.enc({"number": 8}).delivered()
    assert len({str(uuid.UUID(key["key_ID"])) for key in keys}) == 8
    assert all(str(uuid.UUID(key["key_ID"])) == key["key_ID"] for key in keys)


@check("6.3", "a key is in base64 of RFC 4648, with padding")
def _(bench: Bench) -> None:
    (key,) = bench.enc({"size": 128}).delivered()
    assert base64.b64encode(base64.b64decode(key["key"], validate=True)).decode() == key["key"]


@check("6.3", "key_extension is an object, and says SIMULATED")
def _(bench: Bench) -> None:
    assert bench.enc().delivered()[0]["key_extension"] == {"akazuba_simulated": True}


@check("5.4", "GET with one key_ID gives the key that the master got")
def _(bench: Bench) -> None:
    (key,) = bench.enc(method="GET").delivered()
    path = f"/api/v1/keys/sae-1/dec_keys?key_ID={key['key_ID']}"
    (same,) = bench.ask("sae-2", "GET", path).delivered()
    assert (same["key_ID"], same["key"]) == (key["key_ID"], key["key"])


@check("5.4", "POST with many key_IDs gives them all, in the same order")
def _(bench: Bench) -> None:
    keys = bench.enc({"number": 128}).delivered()[::-1]
    got = bench.dec(ids(keys)).delivered()
    assert [(key["key_ID"], key["key"]) for key in got] == [(key["key_ID"], key["key"]) for key in keys]


@check("5.4", "a key is handed to the slave once: then 400 with the text's message")
def _(bench: Bench) -> None:
    keys = bench.enc().delivered()
    bench.dec(ids(keys)).delivered()
    bench.dec(ids(keys)).refused(400, NOT_FOUND)


@check("5.4", "an SAE that was not named gets 401")
def _(bench: Bench) -> None:
    keys = bench.enc().delivered()
    bench.dec(ids(keys), sae="sae-3").refused(401)
    assert len(bench.dec(ids(keys)).delivered()) == 1


@check("5.4", "the keys of another SAE among one's own: 401, and none is consumed")
def _(bench: Bench) -> None:
    own, others = bench.enc().delivered(), bench.enc(to="sae-3").delivered()
    bench.dec(ids(own + others)).refused(401)
    assert len(bench.dec(ids(own)).delivered()) == 1


@check("5.4", "the key under another master's name: 400")
def _(bench: Bench) -> None:
    keys = bench.enc().delivered()
    bench.dec(ids(keys), master="sae-4").refused()
    assert len(bench.dec(ids(keys)).delivered()) == 1


@check("5.4", "the master does not get its key once more")
def _(bench: Bench) -> None:
    keys = bench.enc().delivered()
    bench.dec(ids(keys), sae="sae-1", master="sae-2").refused()


@check("5.4", "GET without key_ID: 400")
def _(bench: Bench) -> None:
    bench.ask("sae-2", "GET", "/api/v1/keys/sae-1/dec_keys").refused()


@check("5.4", "GET with two key_IDs: 400")
def _(bench: Bench) -> None:
    keys = ids(bench.enc({"number": 2}).delivered())
    bench.ask("sae-2", "GET", f"/api/v1/keys/sae-1/dec_keys?key_ID={keys[0]}&key_ID={keys[1]}").refused()
    assert len(bench.dec(keys).delivered()) == 2


@check("5.4", "an unknown master: 400")
def _(bench: Bench) -> None:
    bench.dec([str(uuid.uuid4())], master="sae-99").refused()


@check("6.4", "an id that no key has: 400 with the text's message")
def _(bench: Bench) -> None:
    bench.dec([str(uuid.uuid4())]).refused(400, NOT_FOUND)


@check("6.4", "one id of many that no key has: 400, and none is consumed")
def _(bench: Bench) -> None:
    keys = ids(bench.enc({"number": 2}).delivered())
    bench.dec([*keys, str(uuid.uuid4())]).refused(400, NOT_FOUND)
    assert len(bench.dec(keys).delivered()) == 2


@check("6.4", "an id twice: 400, and none is consumed")
def _(bench: Bench) -> None:
    keys = ids(bench.enc().delivered())
    bench.dec(keys * 2).refused()
    bench.dec([*keys, keys[0].upper()]).refused()
    assert len(bench.dec(keys).delivered()) == 1


@check("6.4", "an id in upper case is the same UUID")
def _(bench: Bench) -> None:
    keys = bench.enc().delivered()
    assert bench.dec([ids(keys)[0].upper()]).delivered()[0]["key"] == keys[0]["key"]


@check("6.4", "extensions beside the ids may be ignored")
def _(bench: Bench) -> None:
    (key,) = bench.enc().delivered()
    each = {"key_ID": key["key_ID"], "key_ID_extension": {"abc": 1}}
    assert len(bench.dec_raw({"key_IDs": [each], "key_IDs_extension": {"abc": 1}}).delivered()) == 1


for _name, _value in (
    ("absent", {}),
    ("empty", {"key_IDs": []}),
    ("plain strings", {"key_IDs": [str(uuid.UUID(int=1))]}),
    ("no array", {"key_IDs": {"key_ID": str(uuid.UUID(int=1))}}),
    ("without a key_ID", {"key_IDs": [{}]}),
    ("of numbers", {"key_IDs": [{"key_ID": 1}]}),
    ("no UUIDs", {"key_IDs": [{"key_ID": "key-1"}]}),
    ("too many", {"key_IDs": [{"key_ID": str(uuid.UUID(int=index))} for index in range(129)]}),
):

    @check("6.4", f"key_IDs that are {_name}: 400")
    def _(bench: Bench, value: object = _value) -> None:
        bench.dec_raw(value).refused()


@check("6.5", "an Error holds a message, and details that are objects")
def _(bench: Bench) -> None:
    said = bench.enc({"number": "many"}).json()
    assert set(said) <= {"message", "details"}
    assert isinstance(said["message"], str)


@check("6.5", "more keys than are stored: 503 with an Error, and nothing is consumed")
def _(bench: Bench) -> None:
    said = bench.status()
    largest = {"number": said["max_key_per_request"], "size": said["max_key_size"]}
    for _ in range(64):
        got = bench.enc(largest)
        if got.status != 200:
            break
    got.refused(503)
    left = bench.status()["stored_key_count"]
    bench.enc(largest).refused(503)
    assert bench.status()["stored_key_count"] == left > 0


@contextmanager
def running_pair(folder: Path, *, blocks: int = 6) -> Iterator[Bench]:
    """Both KMEs in this process, at free ports."""
    sites = make_folder(folder)
    running: list[Running] = [start(site, folder / f"{site.id}.json") for site in sites]
    bench = Bench(folder, sites)
    try:
        bench.refill(blocks)
        yield bench
    finally:
        bench.close()
        for each in running:
            each.stop()
