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


class RemoteModel:
    """url: of the server, such as http://192.168.1.20:8080/v1. answer_s: the longest that it may take."""

    digest = ""

    def __init__(self, url: str, *, answer_s: float = 60.0) -> None:
        self._url = urlsplit(url)
        self._answer_s = answer_s
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ModelError("AKAZUBA_LLM", "a path, http://… or https://…", url)

    @property
    def name(self) -> str:
        return self._url.netloc

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        asked: dict[str, Any] = {"messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        if schema:
            shape = {"name": "answer", "schema": schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": shape}
        started = time.monotonic()
        reply = self._post("/chat/completions", asked)
        try:
            text = reply["choices"][0]["message"]["content"] or ""
        except (KeyError, IndexError, TypeError) as problem:
            raise ModelError(self.name, "a chat completion", str(reply)[:200]) from problem
        if on_text:
            on_text(text)
        total = time.monotonic() - started
        usage = reply.get("usage") or {}
        return Completion(
            text, total, total, usage.get("completion_tokens", 0), usage.get("prompt_tokens", 0)
        )

    def stop(self) -> None:
        """Nothing of it runs here."""

    def _post(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        https = self._url.scheme == "https"
        port = self._url.port or (443 if https else 80)
        address = self._local_address(port)
        kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", port, timeout=self._answer_s)
        try:
            # To the address that was looked up: the name might point elsewhere when looked up again.
            plain = socket.create_connection((address, port), self._answer_s)
            connection.sock = _secured(plain, self._url.hostname or "") if https else plain
            connection.request(
                "POST",
                self._url.path.rstrip("/") + path,
                json.dumps(asked),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            body = response.read(LONGEST_ANSWER)
            if response.status != http.client.OK:
                raise ModelError(
                    self.name, "an answer", f"{response.status}: {body[:200].decode(errors='replace')}"
                )
            found = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise ModelError(self.name, "an answer of the local server", str(problem)) from problem
        finally:
            connection.close()
        if not isinstance(found, dict):
            raise ModelError(self.name, "a JSON object", str(found)[:200])
        return found

    def _local_address(self, port: int) -> str:
        host = self._url.hostname or ""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as problem:
            raise ModelError(
                "AKAZUBA_LLM", "a server of the local network", f"{host}: {problem}"
            ) from problem
        address = str(found[0][4][0])
        if not (ip := ipaddress.ip_address(address.partition("%")[0])).is_private and not ip.is_loopback:
            raise ModelError(
                "AKAZUBA_LLM",
                "a server of the local network (a patient's findings do not leave the post)",
                f"{host} at {address}",
            )
        return address


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
