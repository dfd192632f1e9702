"""A gateway's doors for the masked round that it carries.

    POST /federation/round                      a signed asking       names and SHA-256 of its files
    POST /federation/round/file                 a signed asking       one of them
    POST /federation/round/offers               a signed offer        Status
    PUT  /federation/round/offers/TOKEN?at=N    bytes from N on       Status

What is refused comes as 409 with the reason.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from akazuba.errors import AkazubaError, ArtefactError
from akazuba.federation.sending import CHUNK_BYTES_MOST, Status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from akazuba.federation.board import Board

PARCEL_BYTES = 16 * 1024
PIECE_BYTES = 2 * CHUNK_BYTES_MOST
REFUSED = 409


def round_routes(board: Board, root: str, asked: Callable[..., Awaitable[bytes]]) -> list[Route]:
    """asked: runs a call in the one thread that may touch the board."""
    from starlette.responses import Response
    from starlette.routing import Route

    answered = partial(_answered, asked)

    async def files(request: Request) -> Response:
        return await answered(PARCEL_BYTES, request, lambda data: msgspec.msgpack.encode(board.files(data)))

    async def file(request: Request) -> Response:
        return await answered(PARCEL_BYTES, request, board.file)

    async def offer(request: Request) -> Response:
        return await answered(PARCEL_BYTES, request, lambda data: msgspec.msgpack.encode(board.offer(data)))

    async def piece(request: Request) -> Response:
        at, token = request.query_params.get("at", ""), request.path_params["token"]
        if not re.fullmatch("[0-9]{1,11}", at):
            return Response(status_code=400)
        if not (room := board.room(token)):  # nothing is read that nobody signed for
            return Response(msgspec.msgpack.encode(Status("later", because="offer the file first")))
        put = lambda data: msgspec.msgpack.encode(board.piece(token, int(at), data))  # noqa: E731
        return await answered(min(room, PIECE_BYTES), request, put)

    return [
        Route(f"{root}/round", files, methods=["POST"]),
        Route(f"{root}/round/file", file, methods=["POST"]),
        Route(f"{root}/round/offers", offer, methods=["POST"]),
        Route(f"{root}/round/offers/{{token}}", piece, methods=["PUT"]),
    ]


async def _answered(
    asked: Callable[..., Awaitable[bytes]], most: int, request: Request, ask: Callable[[bytes], bytes]
) -> Response:
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    try:
        if (data := await body_of(request.stream(), most)) is None:
            return Response(status_code=413)
        return Response(await asked(ask, data))
    except ClientDisconnect:
        return Response(status_code=400)
    except (ArtefactError, OSError):  # its words name files of this machine
        return Response("the gateway cannot keep or read it now", status_code=REFUSED)
    except AkazubaError as problem:
        return Response(str(problem), status_code=REFUSED)


async def body_of(stream: AsyncIterator[bytes], most: int) -> bytes | None:
    """None when it is longer."""
    parts = []
    async for part in stream:
        parts.append(part)
        most -= len(part)
        if most < 0:
            return None
    return b"".join(parts)
