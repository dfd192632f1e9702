"""A client of the box's REST door, for programs in Python: it proves who it is by a key.

>>> secret, public = new_key()
>>> client = Client("https://box.clinic.local", "openmrs", secret)
>>> client
Client(https://box.clinic.local, openmrs)

`public` is let in at the box by `akazuba program add openmrs --scope system/assess --jwks FILE`. Then
`client.assess(case)` gives the assessment that `akazuba assess` prints. What goes wrong is one of

    AkazubaError
    └── ClientError
        ├── UnreachableError    the box does not answer, or its certificate is not of the clinic's CA
        ├── AnswerError         what answers is no box, or one of another version
        └── RefusedError        the box says no: item, expected and found are its own words
            └── NotLetInError   … to this program: unknown, revoked, or without the right
"""

from __future__ import annotations

import http.client
import re
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from akazuba.errors import AkazubaError, InputError, why_not_opened
from akazuba.records import Assessment, Case, Urgency

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S = 240
"""How long an assertion stands; the box takes up to 300 s."""

EARLY_S = 30.0
"""A token is renewed so long before it ends."""

LARGEST_ANSWER = 32 * 1024 * 1024
TIMEOUT_S = 30.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Send = Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes]]
"""Method, address, headers and body of a request to status and body of its answer. Raises OSError."""

Answer = TypeVar("Answer")


class ClientError(AkazubaError):
    """A request did not give what it was for."""


class UnreachableError(ClientError):
    """The box does not answer, or cannot be trusted to be the box."""


class AnswerError(ClientError):
    """An answer is not one of this API."""


class RefusedError(ClientError):
    """The box refused a request. status: of HTTP."""

    def __init__(self, status: int, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.status = status


class NotLetInError(RefusedError):
    """The box does not let this program in, or not to this."""


def new_key() -> tuple[bytes, bytes]:
    """A new Ed25519 pair: the secret half as PEM (PKCS 8), the public one as a JSON Web Key Set."""
    key = OKPKey.generate_key("Ed25519")
    public = {"kid": key.thumbprint(), "alg": "EdDSA", "use": "sig", **key.as_dict(private=False)}
    return key.as_pem(private=True), msgspec.json.encode({"keys": [public]})


class Client:
    """One program at one box. url: its address, https unless it is this machine. name: as it was let in.

    private_key: PEM (Ed25519 or P-384), or the path of its file. kid: of the key, where it is not its RFC
    7638 thumbprint. ca_file: certificates of the clinic's CA (PEM); else those that the system trusts.
    scopes: what tokens are asked for; they are got and renewed as needed. Not for two threads at once.
    Raises InputError.

    >>> Client("http://box.clinic.local", "openmrs", new_key()[0])
    Traceback (most recent call last):
    akazuba.errors.InputError: url: expected https:// (http:// on this machine only), found 'http://box.clinic.local'
    """

    def __init__(
        self,
        url: str,
        name: str,
        private_key: bytes | Path,
        *,
        kid: str = "",
        ca_file: Path | None = None,
        scopes: Sequence[str] = ("system/assess",),
        timeout_s: float = TIMEOUT_S,
        send: Send | None = None,
    ) -> None:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or parts.username or not (parts.scheme == "https" or plain):
            raise InputError("url", "https:// (http:// on this machine only)", repr(url[:120]))
        self._url, self._name, self._scopes = url.rstrip("/"), name, tuple(scopes)
        self._key, self._algorithm = _key_of(private_key)
        self._kid = kid or self._key.thumbprint()
        self._send = send or _sender(ca_file, timeout_s)
        self._token, self._until = "", 0.0

    def __repr__(self) -> str:
        return f"Client({self._url}, {self._name})"

    def assess(self, case: Case | Mapping[str, Any], lang: str = "en") -> Assessment:
        """The whole assessment of a case without pictures. lang: en, fr, sw, rw or zh. Raises ClientError."""
        return self._asked(Assessment, "POST", f"/api/v1/assess?lang={quote(lang, safe='')}", case)

    def triage(self, case: Case | Mapping[str, Any], lang: str = "en") -> Urgency:
        """How urgent a case is, by rules alone. Raises ClientError."""
        return self._asked(Urgency, "POST", f"/api/v1/triage?lang={quote(lang, safe='')}", case)

    def rank(
        self, observed: Sequence[str], excluded: Sequence[str] = (), *, id_: str = "query", top: int = 10
    ) -> dict[str, Any]:
        """Rare diseases by findings alone (HPO ids), as `akazuba rank` gives them. Raises ClientError."""
        query = {"id": id_, "observed": list(observed), "excluded": list(excluded)}
        return self._asked(dict[str, Any], "POST", f"/api/v1/rank?top={top}", query)

    def guidelines(self) -> list[dict[str, Any]]:
        """Every guideline of the box, with its edition and review state. Raises ClientError."""
        return self._asked(list[dict[str, Any]], "GET", "/api/v1/guidelines", None)

    def run_guideline(self, id_: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """One guideline over values by name. Raises ClientError."""
        path = f"/api/v1/guidelines/{quote(id_, safe='')}/run"
        return self._asked(dict[str, Any], "POST", path, {"values": dict(values)})

    def info(self) -> dict[str, Any]:
        """Versions and digests of what the box runs. Raises ClientError."""
        return self._asked(dict[str, Any], "GET", "/api/v1/info", None)

    def _asked(self, type_: type[Answer], method: str, path: str, body: object) -> Answer:
        data = b"" if body is None else msgspec.json.encode(body)
        for attempt in range(2):
            headers = {"Authorization": f"Bearer {self._held()}", "Accept": "application/json"}
            headers |= {"Content-Type": "application/json"} if data else {}
            status, answer = self._sent(method, path, headers, data)
            if status == 401 and attempt == 0:
                self._token = (
                    ""  # the box was started anew, or the rights were changed: asking changes nothing
                )
                continue
            break
        if status != 200:
            raise _refusal(status, answer)
        try:
            return msgspec.json.decode(answer, type=type_)
        except msgspec.MsgspecError as problem:
            raise AnswerError(path, "an answer of this version of the API", str(problem)) from problem

    def _held(self) -> str:
        """A token that still stands."""
        if self._token and time.monotonic() < self._until:
            return self._token
        now = time.time()
        claims = {
            "iss": self._name,
            "sub": self._name,
            "aud": f"{self._url}/token",
            "exp": int(now) + ASSERTION_S,
            "iat": int(now),
            "jti": secrets.token_hex(16),
        }
        head = {"alg": self._algorithm, "kid": self._kid}
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self._scopes),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(head, claims, self._key, algorithms=[self._algorithm]),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        status, answer = self._sent("POST", "/token", headers, urlencode(form).encode())
        if status != 200:
            raise _refusal(status, answer)
        try:
            given = msgspec.json.decode(answer, type=_Given)
        except msgspec.MsgspecError as problem:
            raise AnswerError("/token", "an access token", str(problem)) from problem
        self._token, self._until = given.access_token, time.monotonic() + given.expires_in - EARLY_S
        return self._token

    def _sent(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            return self._send(method, self._url + path, headers, body)
        except (OSError, http.client.HTTPException) as problem:
            why = why_not_opened(problem) or type(problem).__name__
            raise UnreachableError(self._url, "an answer of the box", why) from problem


class _Given(msgspec.Struct):
    access_token: str
    expires_in: int


def _key_of(private_key: bytes | Path) -> tuple[OKPKey | ECKey, str]:
    """The key and its algorithm."""
    item = str(private_key) if isinstance(private_key, Path) else "private_key"
    try:
        pem = private_key.read_bytes() if isinstance(private_key, Path) else private_key
        found = load_pem_private_key(pem, None)
    except OSError as problem:
        raise InputError(item, "a private key", why_not_opened(problem)) from problem
    except (ValueError, TypeError) as problem:
        raise InputError(item, "a private key as PEM without a password", "something else") from problem
    if isinstance(found, Ed25519PrivateKey):
        return OKPKey.import_key(found), "Ed25519"
    if isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, SECP384R1):
        return ECKey.import_key(found), "ES384"
    raise InputError(item, "an Ed25519 or P-384 key", type(found).__name__)


def _refusal(status: int, answer: bytes) -> ClientError:
    """In the box's own words, where it said some."""
    try:
        said = msgspec.json.decode(answer, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = {}
    words = str(said.get("error_description") or said.get("error") or "")
    parts = re.fullmatch(r"(.*?): expected (.*), found (.*)", words, re.DOTALL)
    item, expected, found = (
        parts.groups() if parts else ("box", "an answer", f"status {status} {words[:200]}")
    )
    kind = NotLetInError if status in (401, 403) else RefusedError
    return kind(status, item, expected, found)


def _sender(ca_file: Path | None, timeout_s: float) -> Send:
    """Over the network, by the standard library; no proxy, no redirect. Raises InputError for a CA file that
    cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as problem:
        raise InputError(str(ca_file), "certificates of a CA (PEM)", why_not_opened(problem)) from problem

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, body or None, dict(headers))
            answer = connection.getresponse()
            said = answer.read(LARGEST_ANSWER + 1)
            if len(said) > LARGEST_ANSWER:
                raise AnswerError(path, f"at most {LARGEST_ANSWER} bytes", "more")
            return answer.status, said
        finally:
            connection.close()

    return send
