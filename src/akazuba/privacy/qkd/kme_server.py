"""HTTPS around a key management entity: mutual TLS 1.3 in front of `kme.Kme`, and the line to its peer.

The only module that knows cheroot. Nothing of a request is logged. A header may hold 16 KiB, a handshake and
each wait for bytes last 5 s; more than that, or a body of more than its limit, ends the connection.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from time import time
from traceback import extract_tb
from typing import Any

import msgspec
from cheroot import errors as cheroot_errors
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter
from cheroot.wsgi import Gateway_10, Server

from akazuba.errors import ArtefactError, InputError, UntrustedError, why_not_opened
from akazuba.privacy.qkd.certificates import client_context, name_of, server_context
from akazuba.privacy.qkd.client import Line
from akazuba.privacy.qkd.configuration import Site
from akazuba.privacy.qkd.kme import WAITING, Kme, Tell
from akazuba.privacy.qkd.messages import MAX_BLOCK_BODY, MAX_BODY, Error
from akazuba.privacy.qkd.requests import Answer, Request
from akazuba.privacy.qkd.store import Store

TIMEOUT_S = 5
THREADS = 2 * WAITING
MAX_HEADER = 16_384
SETTLE_S = 1.0
"""How often unclaimed keys are erased, the log is emptied and a peer that was away is told what it missed."""

CALLER = "akazuba.caller"
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def application(kme: Kme) -> Application:
    """WSGI. environ["akazuba.caller"]: the name in the client's verified certificate."""

    def answered(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        request = _request(environ)
        answer = request if isinstance(request, Answer) else kme.answer(request, environ.get(CALLER))
        headers = [("Content-Type", "application/json")] if answer.body else []
        headers += [("Content-Length", str(len(answer.body))), ("Cache-Control", "no-store")]
        if answer.allow:
            headers.append(("Allow", answer.allow))
        start(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    return answered


def _request(environ: Mapping[str, Any]) -> Request | Answer:
    path = str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).split("?")[0]
    length = environ.get("CONTENT_LENGTH") or "0"
    limit = MAX_BODY if path.startswith("/api/") else MAX_BLOCK_BODY
    if "HTTP_TRANSFER_ENCODING" in environ or not length.isdecimal():
        return _refusal("the length of the body shall be given")
    if int(length) > limit:
        return _refusal(f"the body shall hold at most {limit} bytes")
    body = environ["wsgi.input"].read(int(length)) if int(length) else b""
    if len(body) != int(length):
        return _refusal("the body shall be as long as was said")
    query, media = str(environ.get("QUERY_STRING", "")), str(environ.get("CONTENT_TYPE", ""))
    return Request(str(environ["REQUEST_METHOD"]), path, query, media, body)


def _refusal(message: str) -> Answer:
    return Answer(400, msgspec.json.encode(Error(message)))


class _Tls(Adapter):
    """The handshake is left to the connection's own thread: a slow client keeps nobody else waiting."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}

    def get_environ(self) -> dict[str, str]:
        return {}

    def makefile(
        self, sock: ssl.SSLSocket, mode: str = "r", bufsize: int = -1
    ) -> StreamReader | StreamWriter:
        return (StreamReader if "r" in mode else StreamWriter)(sock, mode, bufsize)


class _Asked(HTTPRequest):
    def simple_response(self, status: object, msg: str = "") -> None:
        """Cheroot's own refusals, in the standard's form."""
        ours = str(status)[:3] in ("500", "503")
        kept = "503 Service Unavailable" if ours else "400 Bad Request"
        said = msgspec.json.encode(Error(msg or str(status)[4:]))
        head = (
            f"HTTP/1.1 {kept}\r\nContent-Length: {len(said)}\r\n"
            "Content-Type: application/json\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.close_connection = True
        self.conn.wfile.write(head.encode() + said)


class _Connection(HTTPConnection):
    RequestHandlerClass = _Asked
    caller: str | None = None
    met = False

    def communicate(self) -> bool:
        try:
            if not self.met:
                self.socket.do_handshake()
                self.caller, self.met = name_of(self.socket.getpeercert()), True
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        except (OSError, cheroot_errors.FatalSSLAlert):
            return False


class _Gateway(Gateway_10):
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        given: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        return {**given, CALLER: self.req.conn.caller}


class _Server(Server):
    ConnectionClass = _Connection

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: ARG002
        """A fault of ours: its kind and place. msg may hold bytes of a request and is not shown."""
        kind, _, trace = sys.exc_info()
        if traceback and kind is not None and trace is not None:
            place = extract_tb(trace)[-1]
            sys.stderr.write(f"kme_server: {kind.__name__} at {place.filename}:{place.lineno}\n")


@dataclass(frozen=True)
class Running:
    """A KME that answers. port: that it listens at."""

    port: int
    kme: Kme
    stop: Callable[[], None]


def start(site: Site, beside: Path, *, tell: Tell | None = None, store: Store | None = None) -> Running:
    """Serves in threads of this process until `stop`. beside: the configuration's path. tell, store: in place
    of the line to the peer and the file that the configuration names.

    Raises InputError, ArtefactError.
    """
    files = [site.path(name, beside) for name in (site.certificate, site.key, site.authority)]
    server = _Server((site.host, site.port), None, THREADS, "akazuba", request_queue_size=64)
    server.timeout, server.gateway, server.ssl_adapter = TIMEOUT_S, _Gateway, _Tls(server_context(*files))
    server.max_request_header_size, server.max_request_body_size = MAX_HEADER, MAX_BLOCK_BODY
    server.keep_alive_conn_limit, server.expiration_interval = 256, 0.2
    line = Line(site.peer.url, client_context(*files), server=site.peer.id, timeout_s=TIMEOUT_S - 2)
    held = store or Store(
        site.path(site.store, beside),
        even=site.id < site.peer.id,
        now=time,
        unclaimed_s=site.limits.unclaimed_s,
    )
    kme = Kme(site, held, tell or telling(line))
    server.wsgi_app = application(kme)
    try:
        server.prepare()
    except OSError as problem:
        held.close()
        raise InputError(f"{site.host}:{site.port}", "a free port", why_not_opened(problem)) from problem
    over = threading.Event()
    threads = [
        threading.Thread(target=server.serve, daemon=True),
        threading.Thread(target=_settling, args=(kme, over), daemon=True),
    ]
    for thread in threads:
        thread.start()

    def stop() -> None:
        over.set()
        server.stop()
        for thread in threads:
            thread.join()
        line.close()
        held.close()

    return Running(int(server.bind_addr[1]), kme, stop)


def _settling(kme: Kme, over: threading.Event) -> None:
    while not over.wait(SETTLE_S):
        with suppress(ArtefactError):  # a full disk, say: the requests show it, and it may pass
            kme.settle()


def telling(line: Line) -> Tell:
    def tell(path: str, body: bytes) -> Answer:
        try:
            return Answer(*line.send("POST", path, body))
        except UntrustedError as problem:
            raise ConnectionError(str(problem)) from problem

    return tell
