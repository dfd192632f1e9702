"""An SAE's side of ETSI GS QKD 014, over mutual TLS. What a KME answers is checked before it is used.

A KME that lies (other keys than asked for, other sizes, other ids, broken base64) raises UntrustedError; one
that has no key, or does not answer, raises KeysExhaustedError.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from akazuba.errors import InputError, KeysExhaustedError, UntrustedError
from akazuba.privacy.keys.envelope import QuantumKey
from akazuba.privacy.qkd.certificates import name_of
from akazuba.privacy.qkd.messages import (
    NOT_FOUND,
    SIMULATED,
    Block,
    Error,
    KeyContainer,
    KeyId,
    KeyIds,
    KeyRequest,
    Next,
    Status,
    canonical_uuid,
    decoded,
)

MAX_ANSWER = 2_000_000
"""Bytes of an answer: 1024 keys of 8192 bits in base64, and their ids."""

Said = TypeVar("Said")


class Line:
    """One connection that is kept alive, over mutual TLS; threads take turns. server: the name that must be
    in the server's certificate besides that of its host; None for any of the authority's.
    """

    def __init__(
        self, url: str, tls: ssl.SSLContext, *, server: str | None = None, timeout_s: float = 5.0
    ) -> None:
        """url: https://HOST:PORT. Raises InputError."""
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if parts.scheme != "https" or not host or parts.path.strip("/") or parts.query:
            raise InputError("KME", "https://HOST:PORT", url)
        self.url = url
        self._server, self._turn = server, threading.Lock()
        self._connection = http.client.HTTPSConnection(host, port or 443, timeout=timeout_s, context=tls)

    def close(self) -> None:
        with self._turn:
            self._connection.close()

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body. A kept connection that the server has closed meanwhile is opened once more.

        Raises OSError when nobody answers, UntrustedError when it is not the server that was meant.
        """
        with self._turn:
            kept = self._connection.sock is not None
            try:
                try:
                    return self._sent(method, path, body)
                except (
                    http.client.RemoteDisconnected,
                    BrokenPipeError,
                    ConnectionResetError,
                    ssl.SSLEOFError,
                ):
                    self._connection.close()
                    if not kept:
                        raise
                    return self._sent(method, path, body)
            except BaseException as problem:
                self._connection.close()
                if isinstance(problem, ssl.SSLCertVerificationError):
                    raise UntrustedError(
                        self.url, "a KME of our authority", problem.verify_message
                    ) from problem
                if isinstance(problem, http.client.IncompleteRead):
                    raise ConnectionAbortedError("cut off") from problem
                if isinstance(problem, http.client.HTTPException | ValueError) and not isinstance(
                    problem, OSError
                ):
                    raise UntrustedError(self.url, "an answer in HTTP", type(problem).__name__) from problem
                raise

    def _sent(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._connection.sock is None:
            self._connection.connect()
            self._meet(self._connection.sock)
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body or None, headers)
        answer = self._connection.getresponse()
        said = answer.read(MAX_ANSWER + 1)
        if len(said) > MAX_ANSWER:
            raise UntrustedError(self.url, f"an answer of at most {MAX_ANSWER} bytes", "more")
        return answer.status, said

    def _meet(self, met: socket.socket | None) -> None:
        if self._server is None or not isinstance(met, ssl.SSLSocket):
            return
        found = name_of(met.getpeercert())
        if found != self._server:
            raise UntrustedError(self.url, self._server, found or "no name")


class KmeClient:
    """line: to the KME that serves this SAE, under the SAE's certificate (`certificates.client_context`)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def close(self) -> None:
        self._line.close()

    def status(self, slave_sae: str) -> Status:
        """Raises InputError, UntrustedError, KeysExhaustedError."""
        said = self._asked("GET", f"/api/v1/keys/{quote(slave_sae, safe='')}/status", b"", Status)
        if said.slave_SAE_ID != slave_sae or not said.min_key_size <= said.key_size <= said.max_key_size:
            raise UntrustedError(self._line.url, f"the status for {slave_sae}", "another")
        return said

    def enc_keys(
        self, slave_sae: str, number: int = 1, size: int = 256, *, additional: Sequence[str] = ()
    ) -> tuple[QuantumKey, ...]:
        """New keys to share with one or more SAEs. size: bits. Raises InputError, UntrustedError,
        KeysExhaustedError.
        """
        body = msgspec.json.encode(KeyRequest(number, size, tuple(additional)))
        path = f"/api/v1/keys/{quote(slave_sae, safe='')}/enc_keys"
        keys = self._keys(self._asked("POST", path, body, KeyContainer), number)
        if any(len(key.key) * 8 != size for key in keys):
            raise UntrustedError(self._line.url, f"keys of {size} bits", "others")
        return keys

    def dec_keys(self, master_sae: str, key_ids: Sequence[str]) -> tuple[QuantumKey, ...]:
        """The keys that a master named, in the same order. Raises InputError, UntrustedError,
        KeysExhaustedError when one of them is not there (any more).
        """
        path = f"/api/v1/keys/{quote(master_sae, safe='')}/dec_keys"
        if len(key_ids) == 1:
            said = self._asked("GET", f"{path}?{urlencode({'key_ID': key_ids[0]})}", b"", KeyContainer)
        else:
            body = msgspec.json.encode(KeyIds(tuple(KeyId(key_id) for key_id in key_ids)))
            said = self._asked("POST", path, body, KeyContainer)
        keys = {key.key_id: key for key in self._keys(said, len(key_ids))}
        if keys.keys() != {key_id.lower() for key_id in key_ids}:
            raise UntrustedError(self._line.url, "the keys that were asked for", "others")
        return tuple(keys[key_id.lower()] for key_id in key_ids)

    def _asked(self, method: str, path: str, body: bytes, kind: type[Said]) -> Said:
        try:
            status, raw = self._line.send(method, path, body)
        except OSError as problem:
            raise KeysExhaustedError(self._line.url, "a KME that answers", _why(problem)) from problem
        if status == 200:
            said = decoded(raw, kind)
            if isinstance(said, str):
                raise UntrustedError(self._line.url, f"a {kind.__name__}", "something else")
            return said
        error = decoded(raw, Error)
        why = f"{status}" if isinstance(error, str) else f"{status}: {error.message[:200]}"
        if status == 503 or (status == 400 and why.endswith(NOT_FOUND)):
            raise KeysExhaustedError(self._line.url, "a quantum key", why)
        if status == 401:
            raise UntrustedError(self._line.url, "a KME that serves this SAE, and a key of its own", why)
        if status == 400:
            raise InputError(self._line.url, "a request that the KME takes", why)
        raise UntrustedError(self._line.url, "an answer of the standard", why)

    def _keys(self, said: KeyContainer, number: int) -> tuple[QuantumKey, ...]:
        keys = list[QuantumKey]()
        for key in said.keys:
            key_id = canonical_uuid(key.key_ID)
            if key_id is None or not key.key:
                raise UntrustedError(self._line.url, "keys with UUIDs", "others")
            extension = {} if key.key_extension is msgspec.UNSET else key.key_extension
            keys.append(QuantumKey(key_id, key.key, extension.get(SIMULATED, False) is not False))
        if len(keys) != number or len({key.key_id for key in keys}) != number:
            raise UntrustedError(self._line.url, f"{number} keys", f"{len(keys)} keys")
        if number > 1 and len({key.key for key in keys}) == 1:
            raise UntrustedError(self._line.url, "keys that differ", "the same one again")
        return tuple(keys)


class LinkClient:
    """The link's side of a KME. line: under the link's certificate."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def close(self) -> None:
        self._line.close()

    def next_number(self) -> int:
        """Of the next block. Raises UntrustedError, KeysExhaustedError when the KME does not take blocks."""
        return self._asked("GET", b"")

    def give(self, block: Block) -> None:
        """Raises as `next_number`."""
        self._asked("POST", msgspec.json.encode(block))

    def _asked(self, method: str, body: bytes) -> int:
        try:
            status, raw = self._line.send(method, "/link/v1/blocks", body)
        except OSError as problem:
            raise KeysExhaustedError(self._line.url, "a KME that answers", _why(problem)) from problem
        said = decoded(raw, Next) if status == 200 else decoded(raw, Error)
        if isinstance(said, Next):
            return said.number
        why = f"{status}" if isinstance(said, str) else f"{status}: {said.message[:200]}"
        if status == 503:
            raise KeysExhaustedError(self._line.url, "a KME that takes blocks", why)
        raise UntrustedError(self._line.url, "a KME that takes this link's blocks", why)


def _why(problem: OSError) -> str:
    return problem.strerror or type(problem).__name__
