"""A language model behind an OpenAI-compatible server of the local network.

Only of the local network: what it is asked holds a patient's findings, and these never leave the post.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from akazuba.errors import ModelError
from akazuba.llm.model import Completion, Message

LONGEST_ANSWER = 2**20
LOCAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
"""Networks that no router of the internet passes on."""


class RemoteModel:
    """url: of the server, such as http://192.168.1.20:8080/v1. answer_s: the longest that it may take.

    rest_s: how long one that failed is not asked again.
    """

    digest = ""

    def __init__(self, url: str, *, answer_s: float = 20.0, rest_s: float = 120.0) -> None:
        self._answer_s, self._rest_s, self._rests_until = answer_s, rest_s, 0.0
        try:
            parts = urlsplit(url)
            self._https = parts.scheme == "https"
            self._host, self._path = parts.hostname or "", parts.path.rstrip("/")
            self._port = parts.port or (443 if self._https else 80)
        except ValueError as problem:
            raise ModelError("AKAZUBA_LLM", "an address of a server", "one that is none") from problem
        if not self._host:
            raise ModelError("AKAZUBA_LLM", "a path, http://… or https://…", "an address without a server")

    @property
    def name(self) -> str:
        return f"{self._host}:{self._port}"

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        if time.monotonic() < self._rests_until:
            raise ModelError(
                self.name, "a server that answers", "none a moment ago: it is not asked for a while"
            )
        asked: dict[str, Any] = {"messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        if schema:
            shape = {"name": "answer", "schema": schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": shape}
        started = time.monotonic()
        try:
            body = self._post(f"{self._path}/chat/completions", json.dumps(asked), started + self._answer_s)
        except (OSError, http.client.HTTPException) as problem:
            self._rests_until = time.monotonic() + self._rest_s
            raise ModelError(self.name, "an answer of the local server", str(problem)) from problem
        text, tokens, prompt_tokens = self._read(body)
        if on_text:
            on_text(text)
        total = time.monotonic() - started
        return Completion(text, total, total, tokens, prompt_tokens)

    def stop(self) -> None:
        """Nothing of it runs here."""

    def _read(self, body: bytes) -> tuple[str, int, int]:
        try:
            reply = json.loads(body)
            text = reply["choices"][0]["message"]["content"]
            usage = reply.get("usage") or {}
            counts = int(usage.get("completion_tokens", 0)), int(usage.get("prompt_tokens", 0))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
            found = body[:200].decode(errors="replace")
            raise ModelError(self.name, "a chat completion", found) from problem
        if not isinstance(text, str):
            raise ModelError(self.name, "a text", str(text)[:80])
        return text, *counts

    def _post(self, path: str, asked: str, deadline: float) -> bytes:
        address = self._local_address()
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._answer_s)
        # To the address that was looked up: the name might point elsewhere when looked up again.
        plain = socket.create_connection((address, self._port), self._answer_s)
        wire = _secured(plain, self._host) if self._https else plain
        try:
            connection.sock = wire
            connection.request(
                "POST", path, asked, {"Content-Type": "application/json", "Connection": "close"}
            )
            response = connection.getresponse()
            body = b""
            while len(body) < LONGEST_ANSWER:
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError("too slow")
                wire.settimeout(left)
                if not (piece := response.read1(65536)):
                    break
                body += piece
        finally:
            connection.close()
            wire.close()
        if response.status != http.client.OK:
            found = f"{response.status}: {body[:200].decode(errors='replace')}"
            raise ModelError(self.name, "an answer", found)
        return body

    def _local_address(self) -> str:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as problem:
            raise ModelError(
                "AKAZUBA_LLM", "a server of the local network", f"{self._host}: {problem}"
            ) from problem
        address = str(found[0][4][0]).partition("%")[0]
        ip = ipaddress.ip_address(address)
        if not any(ip in network for network in LOCAL if network.version == ip.version):
            raise ModelError(
                "AKAZUBA_LLM",
                "a server of the local network (a patient's findings do not leave the post)",
                f"{self._host} at {address}",
            )
        return address


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
