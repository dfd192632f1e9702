"""Tools of the box for other programs, over the Model Context Protocol: the one module that knows its SDK.

Nothing but tools is offered, and all of them only read. A client gets the answer of a tool, or one sentence
that says what was wrong; a fault of the box is written to stderr and told to nobody else.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from jsonschema.exceptions import best_match
from jsonschema.validators import Draft202012Validator
from mcp import types
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

from akazuba.errors import AkazubaError, InputError
from akazuba.llm.lead import Tool

LOOPBACK = "127.0.0.1"
PATH = "/mcp"
MOST_SHOWN = 80
"""Characters of a wrong argument that its error repeats."""

ABOUT = (
    "Akazuba: decision support for a health post, by rules and knowledge that are on this machine. All tools"
    " only read. What they say is a suggestion, not reviewed by a clinician: the clinician decides. Give no"
    " pictures."
)
READS = types.ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
log = logging.getLogger(__name__)


def serving(tools: Sequence[Tool], version: str) -> Server[Any]:
    """A server of these tools. They work beside the event loop, one at a time: the box is not thread-safe."""
    by_name = {tool.name: tool for tool in tools}
    offered = [
        types.Tool(name=t.name, description=t.about, input_schema=dict(t.schema), annotations=READS)
        for t in tools
    ]
    one_at_a_time = anyio.CapacityLimiter(1)

    async def listed(_: ServerRequestContext[Any], __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=offered)

    async def called(_: ServerRequestContext[Any], call: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(call.name)
        if tool is None:
            # An unknown tool is an error of the protocol (specification 2025-11-25, Tools, Error Handling).
            wrong = InputError("tool", f"one of {', '.join(by_name)}", call.name[:MOST_SHOWN])
            raise MCPError(types.INVALID_PARAMS, str(wrong))
        work = partial(_answered, tool, call.arguments or {})
        # A call that is cancelled keeps its place until its thread has ended.
        return await anyio.to_thread.run_sync(work, limiter=one_at_a_time)

    server: Server[Any] = Server(
        "akazuba", version=version, instructions=ABOUT, on_list_tools=listed, on_call_tool=called
    )
    server.middleware.clear()  # telemetry (OpenTelemetry): the box is offline
    return server


def _answered(tool: Tool, arguments: Mapping[str, Any]) -> types.CallToolResult:
    """The place where a fault of ours is caught: it must not end the server, nor show a client its inside."""
    try:
        _check(tool, arguments)
        value = tool.call(arguments)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except AkazubaError as error:
        return _refused(str(error))
    except Exception:
        log.exception("internal fault in the tool %s", tool.name)
        return _refused(f"internal fault: expected an answer of {tool.name}, found a fault of the box")
    structured = value if isinstance(value, dict) else None
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)


def _refused(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=sentence)], is_error=True)


def _check(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raises InputError for arguments that the tool's schema does not allow."""
    try:
        json.dumps(arguments, allow_nan=False)  # a dose of NaN is above no maximum
    except ValueError as problem:
        raise InputError(tool.name, "finite numbers", "NaN or Infinity") from problem
    error = best_match(Draft202012Validator(tool.schema).iter_errors(arguments))
    if error is None:
        return
    item = ".".join((tool.name, *map(str, error.absolute_path)))
    rule, wanted, given = error.validator, error.validator_value, error.instance
    if rule == "required":
        raise InputError(f"{item}.{next(n for n in wanted if n not in given)}", "a value", "none")
    if rule == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(name for name in given if name not in known)
        raise InputError(item, f"only {', '.join(known) or 'no argument'}", unknown[:MOST_SHOWN])
    raise InputError(item, f"{rule} {json.dumps(wanted)}", json.dumps(given)[:MOST_SHOWN])


def serve_stdio(server: Server[Any]) -> None:
    """Serves whoever started this process, until standard input ends.

    The SDK keeps the real standard output to itself: whatever else is printed goes to stderr.
    """

    async def serve() -> None:
        async with stdio_server() as (asked, answers):
            await server.run(asked, answers, server.create_initialization_options())

    try:
        anyio.run(serve)
    except* BrokenPipeError:
        pass  # whoever asked is gone


@dataclass(frozen=True)
class _OneToken:
    token: str

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        return AccessToken(token=token, client_id="holder of the token", scopes=[])


def serve_http(server: Server[Any], listening: socket.socket, token: str) -> None:
    """Serves programs of this machine that show the token, until the process is told to end.

    listening: bound to LOOPBACK. Another Host is refused (DNS rebinding), and any Origin: no page may ask.
    """
    port = listening.getsockname()[1]
    issuer = {"issuer_url": f"http://{LOOPBACK}:{port}", "resource_server_url": None}
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[f"{LOOPBACK}:{port}", f"localhost:{port}"], allowed_origins=[]
        ),
        auth=AuthSettings.model_validate(issuer),
        token_verifier=_OneToken(token),
    )
    uvicorn.Server(uvicorn.Config(app, ws="none", log_config=None)).run(sockets=[listening])
