"""A gateway's door and a member's way to it: HTTP, msgpack.

    POST /federation/parcels              a signed parcel               Status
    PUT  /federation/parcels/SHA256?at=N  bytes from N on               Status
    GET  /federation/model                                              the newest release, signed
    GET  /federation/tally                                              counts as JSON
    and a masked round's (`round_doors`)

What is said is signed on both sides, so a line without TLS forges nothing; it does show updates to who
listens. What of a piece has come when the line breaks is kept.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from akazuba.errors import AkazubaError, InputError
from akazuba.federation.round_doors import PARCEL_BYTES, REFUSED, body_of, round_routes
from akazuba.federation.sending import LinkError, Status
from akazuba.privacy.keys.signed import MAX_BYTES

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from akazuba.federation.board import Board
    from akazuba.federation.gateway import Examined, Gateway

MODEL_BYTES = 256 * 1024 * 1024
TIMEOUT_S = 30.0
ROOT = "/federation"
MOST_CONNECTIONS = 200
"""At a time; whoever comes then is told 503 and comes again."""


WORKERS = 2
GROUP_BYTES = 8 * 1024 * 1024
"""So much of finished parcels is in memory at once, and as much again while it is being written."""

Result = TypeVar("Result")


class Intake:
    """Finished parcels: examined side by side in threads, then put into the ledger together. While one group
    waits for the disk the next is examined. One thread has the ledger.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ledger = ThreadPoolExecutor(1, "ledger")
        self._workers = ThreadPoolExecutor(WORKERS, "examining")
        self._waiting: list[Waiting] = []
        self._working: asyncio.Task[None] | None = None

    def close(self) -> None:
        self._workers.shutdown()
        self._ledger.shutdown()

    async def asked(self, call: Callable[..., Result], *given: object) -> Result:
        """What the gateway says, from the ledger's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._ledger, call, *given)

    async def put(self, digest: str, offset: int, stream: AsyncIterator[bytes]) -> Status:
        """Keeps what comes as it comes. Raises ArtefactError when there is no room."""
        status = self._gateway.piece(digest, offset, b"")
        async for part in stream:
            if status is None or status.have != offset:
                break
            status = self._gateway.piece(digest, offset, part)
            offset += len(part)
        return status or await self._finished(digest)

    async def _finished(self, digest: str) -> Status:
        one = Waiting(digest, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await one.told

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        settling: asyncio.Task[None] | None = None
        while self._waiting:
            group = self._group()
            arrived = await asyncio.gather(
                *(loop.run_in_executor(self._workers, self._gateway.arrived, one.digest) for one in group),
                return_exceptions=True,
            )
            if settling is not None:
                await settling
            settling = asyncio.create_task(self._settle(list(zip(group, arrived, strict=True))))
            if not self._waiting:
                await settling  # meanwhile others may come
                settling = None

    def _group(self) -> list[Waiting]:
        """The oldest; one at least."""
        sizes = (one.size if (one := self._gateway.parcels.begun(w.digest)) else 0 for w in self._waiting)
        number = max(1, sum(total <= GROUP_BYTES for total in accumulate(sizes)))
        group, self._waiting = self._waiting[:number], self._waiting[number:]
        return group

    async def _settle(self, arrived: list[tuple[Waiting, Examined | BaseException | None]]) -> None:
        for one, found in arrived:
            if isinstance(found, BaseException):
                one.tell(found)
        sound = [(one, found) for one, found in arrived if not isinstance(found, BaseException)]
        told: Sequence[Status | BaseException]
        try:
            told = await self.asked(self._gateway.finished, [(one.digest, found) for one, found in sound])
        except Exception as problem:  # each of them is told
            told = [problem] * len(sound)
        for (one, _), status in zip(sound, told, strict=True):
            one.tell(status)


@dataclass(frozen=True)
class Waiting:
    digest: str
    told: asyncio.Future[Status]

    def tell(self, status: Status | BaseException) -> None:
        if self.told.done():  # whoever asked is gone
            return
        if isinstance(status, BaseException):
            self.told.set_exception(status)
        else:
            self.told.set_result(status)


def app(gateway: Gateway, board: Board) -> Starlette:
    """One process: the gateway's ledger has one writer, and so has the round that it carries."""
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    intake = Intake(gateway)

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        yield
        intake.close()

    def told(status: Status) -> Response:
        return Response(msgspec.msgpack.encode(status), media_type="application/msgpack")

    def later(_: Request, problem: Exception) -> Response:
        return told(Status("later", because=str(problem)))

    async def announce(request: Request) -> Response:
        data = await body_of(request.stream(), PARCEL_BYTES)
        return Response(status_code=413) if data is None else told(await intake.asked(gateway.announce, data))

    async def put(request: Request) -> Response:
        at, digest = request.query_params.get("at", ""), request.path_params["digest"]
        if not re.fullmatch("[0-9]{1,11}", at):
            return Response(status_code=400)
        try:
            return told(await intake.put(digest, int(at), request.stream()))
        except ClientDisconnect:
            return Response(status_code=400)

    async def model(_: Request) -> Response:
        data = await intake.asked(gateway.model)
        return Response(status_code=404) if data is None else Response(data)

    async def tally(_: Request) -> Response:
        counted = await intake.asked(gateway.tally)
        return JSONResponse({"waiting": await intake.asked(gateway.waiting), **counted})

    return Starlette(
        routes=[
            Route(f"{ROOT}/parcels", announce, methods=["POST"]),
            Route(f"{ROOT}/parcels/{{digest}}", put, methods=["PUT"]),
            Route(f"{ROOT}/model", model),
            Route(f"{ROOT}/tally", tally),
            *round_routes(board, ROOT, intake.asked),
        ],
        exception_handlers={AkazubaError: later},
        lifespan=running,
    )


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

    def round_files(self, asking: bytes) -> dict[str, str]:
        """As `carrying.RoundLink` has it, and so the next three. Raises LinkError."""
        told = self._sound(*self._asked("POST", f"{ROOT}/round", asking, 1 << 24))
        return self._decoded(told, dict[str, str])

    def round_file(self, asking: bytes) -> bytes:
        return self._sound(*self._asked("POST", f"{ROOT}/round/file", asking, MAX_BYTES))

    def round_offer(self, offer: bytes) -> Status:
        return self._status("POST", f"{ROOT}/round/offers", offer)

    def round_piece(self, token: str, offset: int, piece: bytes) -> Status:
        return self._status("PUT", f"{ROOT}/round/offers/{token}?at={offset}", piece)

    def _status(self, method: str, path: str, data: bytes) -> Status:
        return self._decoded(self._sound(*self._asked(method, path, data, 1 << 20)), Status)

    def _decoded(self, told: bytes, kind: type[Result]) -> Result:
        try:
            return msgspec.msgpack.decode(told, type=kind)
        except (msgspec.MsgspecError, ValueError) as problem:
            raise LinkError("gateway", "a gateway of the federation", str(problem)) from problem

    def _sound(self, code: int, data: bytes) -> bytes:
        if code == REFUSED:
            raise LinkError("gateway", "a file of the round", data.decode(errors="replace")[:500])
        if code != 200:
            raise LinkError("gateway", "an answer", f"HTTP {code}")
        return data

    def _asked(self, method: str, path: str, data: bytes | None, most: int) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, data)
            response = self._connection.getresponse()
            told = response.read(most + 1)
            if response.length and len(told) <= most:
                raise http.client.IncompleteRead(told)
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise LinkError("gateway", "a connection", str(problem) or type(problem).__name__) from problem
        if len(told) > most:
            self._connection.close()
            raise LinkError("gateway", f"at most {most} bytes", "more")
        return response.status, told


def serve(
    gateway: Gateway, board: Board, host: str, port: int, certificate: Path | None, key: Path | None
) -> None:
    """Until it is told to stop."""
    import uvicorn

    uvicorn.run(
        app(gateway, board),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )
