"""A gateway's door and a terminal's way to it: HTTP, four requests, msgpack.

    POST /federation/parcels              a signed parcel               Status
    PUT  /federation/parcels/SHA256?at=N  bytes from N on               Status
    GET  /federation/model                                              the newest release, signed
    GET  /federation/tally                                              counts as JSON

What is said is signed on both sides, so a line without TLS forges nothing; it does show updates to who
listens.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from akazuba.errors import InputError
from akazuba.federation.sending import CHUNK_BYTES, LinkError, Status

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from akazuba.federation.gateway import Gateway

PARCEL_BYTES = 16 * 1024
MODEL_BYTES = 256 * 1024 * 1024
TIMEOUT_S = 30.0
ROOT = "/federation"


def app(gateway: Gateway) -> Starlette:
    """One process, one thread: the gateway's ledger has one writer."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def told(status: Status) -> Response:
        return Response(msgspec.msgpack.encode(status), media_type="application/msgpack")

    async def announce(request: Request) -> Response:
        data = await _body(request.stream(), PARCEL_BYTES)
        return Response(status_code=413) if data is None else told(gateway.announce(data))

    async def put(request: Request) -> Response:
        data, at = await _body(request.stream(), CHUNK_BYTES), request.query_params.get("at", "")
        if data is None or not re.fullmatch("[0-9]{1,11}", at):
            return Response(status_code=413 if data is None else 400)
        return told(gateway.put(request.path_params["digest"], int(at), data))

    async def model(_: Request) -> Response:
        data = gateway.model()
        return Response(status_code=404) if data is None else Response(data)

    async def tally(_: Request) -> Response:
        return JSONResponse({"waiting": gateway.waiting(), **gateway.tally()})

    return Starlette(
        routes=[
            Route(f"{ROOT}/parcels", announce, methods=["POST"]),
            Route(f"{ROOT}/parcels/{{digest}}", put, methods=["PUT"]),
            Route(f"{ROOT}/model", model),
            Route(f"{ROOT}/tally", tally),
        ]
    )


async def _body(stream: AsyncIterator[bytes], most: int) -> bytes | None:
    """None when it is longer."""
    parts = []
    async for part in stream:
        parts.append(part)
        most -= len(part)
        if most < 0:
            return None
    return b"".join(parts)


class HttpLink:
    """url: of a gateway, http or https. authority: PEM file of whom its certificate is from; None: the
    system's.

    Raises InputError for another kind of address.
    """

    def __init__(self, url: str, authority: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError("gateway", "http://… or https://…", url)
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=str(authority) if authority else None)
            except (OSError, ssl.SSLError) as problem:
                raise InputError(str(authority), "a certificate in PEM", str(problem)) from problem
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def announce(self, parcel: bytes) -> Status:
        return self._status("POST", f"{ROOT}/parcels", parcel)

    def put(self, digest: str, offset: int, chunk: bytes) -> Status:
        return self._status("PUT", f"{ROOT}/parcels/{digest}?at={offset}", chunk)

    def model(self) -> bytes | None:
        """The newest release, as it was signed; None when the gateway has none yet. Raises LinkError."""
        code, data = self._asked("GET", f"{ROOT}/model", None, MODEL_BYTES)
        if code == 404:
            return None
        return self._sound(code, data)

    def _status(self, method: str, path: str, data: bytes) -> Status:
        told = self._sound(*self._asked(method, path, data, 1 << 20))
        try:
            return msgspec.msgpack.decode(told, type=Status)
        except (msgspec.MsgspecError, ValueError) as problem:
            raise LinkError("gateway", "a gateway of the federation", str(problem)) from problem

    def _sound(self, code: int, data: bytes) -> bytes:
        if code != 200:
            raise LinkError("gateway", "an answer", f"HTTP {code}")
        return data

    def _asked(self, method: str, path: str, data: bytes | None, most: int) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, data)
            response = self._connection.getresponse()
            told = response.read(most + 1)
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise LinkError("gateway", "a connection", str(problem) or type(problem).__name__) from problem
        if len(told) > most:
            self._connection.close()
            raise LinkError("gateway", f"at most {most} bytes", "more")
        return response.status, told


def serve(gateway: Gateway, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    """Until it is told to stop."""
    import uvicorn

    uvicorn.run(
        app(gateway),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        ws="none",
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )
