"""The HTTP server around the page. The only module that knows uvicorn. Nothing of a request is logged."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Sequence

import uvicorn

from akazuba.web.app import create_app
from akazuba.web.clinic_ca import Certificates
from akazuba.web.post import Post

MOST_CONNECTIONS = 200
IDLE_S = 30
M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8
"""Of mallopt(3)."""


def run(post: Post, listening: socket.socket, tls: Certificates | None, origins: Sequence[str] = ()) -> None:
    """Until it is told to stop. origins: as `create_app` takes them."""
    app = create_app(post, secure=tls is not None, origins=origins)
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="none",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=5,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    uvicorn.Server(config).run([listening])


def lean() -> None:
    """Keeps small what the C library holds back for threads (24 of some 210 MiB after a busy while). To be
    called before the box is opened.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library than GNU's
    for option, value in ((M_ARENA_MAX, 2), (M_TRIM_THRESHOLD, 128 * 1024)):
        mallopt(option, value)
