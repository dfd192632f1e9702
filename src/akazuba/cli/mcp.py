"""`akazuba mcp`: the box's tools for other programs of this machine."""

from __future__ import annotations

import os
import re
import secrets
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from akazuba import __version__
from akazuba.cli.shared import errors_shown, show
from akazuba.cli.words import opened_sources
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.llm.lead import Tool

TOKEN = "AKAZUBA_MCP_TOKEN"  # noqa: S105 - the name of a variable
PORT = 8765


@click.command()
@click.option("--http", is_flag=True, help="Over HTTP on this machine, not over standard input and output.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Of --http: {PORT} without it; 0 is one that is free."
)
def mcp(http: bool, port: int | None) -> None:
    """Serve the box's tools to another program over the Model Context Protocol. All of them only read.

    With --http at http://127.0.0.1:PORT/mcp, for whoever shows the token: that of AKAZUBA_MCP_TOKEN, else a
    new one, which is printed.

    Example: akazuba mcp --http --port 8765
    """
    if port is not None and not http:
        raise click.UsageError("--port needs --http")
    with errors_shown():
        if find_spec("mcp") is None:
            raise InputError("mcp", "the package mcp (extra mcp)", "not installed")
        from akazuba.mcp_server import LOOPBACK, PATH, serve_http, serve_stdio, serving

        if not http:
            serve_stdio(serving(*_tools()))
            return
        given = os.environ.get(TOKEN, "")
        token = _token(given)
        listening = _listening(LOOPBACK, PORT if port is None else port)
        server = serving(*_tools())
    show(f"http://{LOOPBACK}:{listening.getsockname()[1]}{PATH}")
    show(f"Authorization: Bearer {f'(that of {TOKEN})' if given else token}")
    serve_http(server, listening, token)


def _tools() -> tuple[tuple[Tool, ...], str]:
    """The tools of this box and the version of its software."""
    from akazuba.box import open_box
    from akazuba.settings import from_environ
    from akazuba.tools import box_tools

    settings = from_environ()
    box = open_box(settings)
    return box_tools(box, opened_sources(settings, box.desk.library)), __version__


def _token(given: str) -> str:
    """The token to ask for; "" makes a new one. Raises InputError for one that is easily guessed."""
    if given and not re.fullmatch("[!-~]{16,}", given):
        raise InputError(TOKEN, "16 printable ASCII characters or more", f"{len(given)} characters")
    return given or secrets.token_urlsafe(32)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as problem:
        raise InputError("--port", "a free port", f"{port} ({why_not_opened(problem)})") from problem
