"""Cosigns the logs that this box was told to witness, over the network (C2SP tlog-witness, `add-checkpoint`).

No token and no session: the log's own signature is what lets it in, and the cosignature is no secret.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import LockedError
from akazuba.governance.cosigning_net import MAX_BODY_BYTES, ROUTE, Answered, witness_answer
from akazuba.web import access
from akazuba.web.post import Records, now_s


def routes() -> list[BaseRoute]:
    return [Route(ROUTE, add_checkpoint, methods=["POST"])]


async def add_checkpoint(request: Request) -> Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return JSONResponse({"error": f"body: expected at most {MAX_BODY_BYTES} bytes, found more"}, 413)

    def work(kept: Records) -> Answered:
        return witness_answer(kept.home, kept.opened(), bytes(body), now_s)

    try:
        said = await access.post_of(request).records(work)
    except LockedError as problem:
        return JSONResponse({"error": str(problem)}, 503, {"Retry-After": "3600"})
    return Response(said.body, said.status, media_type=said.media_type)
