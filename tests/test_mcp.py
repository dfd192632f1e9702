"""The box's tools as another program meets them: through the SDK's own client, over each transport."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("mcp")

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from akazuba.box import open_box
from akazuba.cli import main
from akazuba.errors import InputError
from akazuba.knowledge.conditions import open_knowledge
from akazuba.llm.lead import Tool
from akazuba.mcp_server import serving
from akazuba.settings import Settings
from akazuba.sources import open_sources
from akazuba.tools import box_tools

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DANGEROUS = {"id": "x", "patient": {"age_years": 40}, "vitals": {"heart_rate_bpm": 180}}
DOSE = {
    "medicine": "paracetamol",
    "amount": 500,
    "unit": "mg",
    "frequency": "every 6 hours",
    "weight_kg": 60,
    "taken": [],
    "allergies": [],
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
OWN = "chosen-by-the-clinic-itself"

Use = Callable[[Client], Awaitable[None]]


def said(result: CallToolResult) -> str:
    [content] = result.content
    assert content.type == "text"
    return content.text


def environment(home: Path, **more: str) -> dict[str, str]:
    """The engine is named, so that a new home need not measure which one it can carry."""
    box = {"AKAZUBA_HOME": str(home), "AKAZUBA_LLM": "off", "AKAZUBA_ENGINE": "tiny"}
    return {**os.environ, **box, **more}


@pytest.fixture(scope="module")
def tools(terminology_home: Path) -> tuple[Tool, ...]:
    box = open_box(Settings(terminology_home, engine="tiny"))
    return box_tools(box, open_sources(terminology_home, box.desk.library, open_knowledge()))


@dataclass(frozen=True)
class Served:
    """A process that serves over HTTP, with the token that it printed."""

    port: int
    token: str


@pytest.fixture(scope="module")
def over_http(terminology_home: Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "akazuba", "mcp", "--http", "--port", "0"]
    env = environment(terminology_home, AKAZUBA_MCP_TOKEN="")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        address, authorization = process.stdout.readline(), process.stdout.readline()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        port = int(address.strip().removesuffix("/mcp").rsplit(":", 1)[1])
        yield Served(port, authorization.strip().removeprefix("Authorization: Bearer "))
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout.read() == ""
        assert "Traceback" not in process.stderr.read()


@asynccontextmanager
async def http_transport(port: int, token: str):
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http) as streams,
    ):
        yield streams


@pytest.fixture(params=["memory", "memory, before 2026", "stdio, before 2026", "http", "http, before 2026"])
def using(request: pytest.FixtureRequest, tmp_path: Path, terminology_home: Path) -> Callable[[Use], None]:
    """Gives a client over each transport, of the protocol's present and of its earlier kind."""
    transport, _, before = request.param.partition(", ")
    mode = "legacy" if before else "auto"

    def use(task: Use) -> None:
        async def run(server: Any) -> None:
            async with Client(server, mode=mode) as client:
                assert (client.protocol_version < "2026") is bool(before)
                await task(client)

        if transport == "memory":
            anyio.run(run, serving(request.getfixturevalue("tools"), "1"))
        elif transport == "http":
            one = request.getfixturevalue("over_http")
            anyio.run(run, http_transport(one.port, one.token))
        else:
            command = StdioServerParameters(
                command=sys.executable, args=["-m", "akazuba", "mcp"], env=environment(terminology_home)
            )
            with (tmp_path / "stderr").open("w+", encoding="utf-8") as errors:
                anyio.run(run, stdio_client(command, errors))
                errors.seek(0)
                assert errors.read() == ""

    return use


def test_a_client_gets_every_tool_and_nothing_else_and_a_wrong_call_does_not_end_it(using, tools) -> None:
    async def task(client: Client) -> None:
        capabilities = client.server_capabilities
        assert capabilities.tools is not None
        assert capabilities.resources is capabilities.prompts is capabilities.completions is None
        assert "not reviewed by a clinician" in (client.instructions or "")

        listed = (await client.list_tools()).tools
        assert [(tool.name, tool.description, tool.input_schema) for tool in listed] == [
            (tool.name, tool.about, tool.schema) for tool in tools
        ]
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in listed)

        wrong = await client.call_tool("triage", {"case": {**DANGEROUS, "vitals": {"spo2_percent": 0.93}}})
        assert wrong.is_error
        assert said(wrong).startswith("vitals.spo2_percent: expected ")
        assert ", found 0.93" in said(wrong)

        pictured = {**DANGEROUS, "images": [{"path": "/etc/passwd", "kind": "chest-xray"}]}
        refused = await client.call_tool("assess", {"case": pictured})
        assert refused.is_error
        assert said(refused).startswith("case.images: expected none")

        with pytest.raises(MCPError, match=r"tool: expected one of triage, .*, found delete"):
            await client.call_tool("delete", {})

        urgent = await client.call_tool("triage", {"case": DANGEROUS})
        assert not urgent.is_error
        assert urgent.structured_content is not None
        assert urgent.structured_content["triage"]["level"] == "red"
        assert json.loads(said(urgent)) == urgent.structured_content

    using(task)


def in_memory(tools: tuple[Tool, ...], task: Use) -> None:
    async def run() -> None:
        async with Client(serving(tools, "1")) as client:
            await task(client)

    anyio.run(run)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("triage", {}, "triage.case: expected a value, found none"),
        ("triage", {"case": "x"}, 'triage.case: expected type "object", found "x"'),
        ("triage", {"case": {}, "to": 1}, "triage: expected only case, found to"),
        ("list_guidelines", {"to": 1}, "list_guidelines: expected only no argument, found to"),
        ("search_sources", {"question": "?"}, 'search_sources.question: expected minLength 2, found "?"'),
        (
            "check_dose",
            {**DOSE, "taken": ["x", 1]},
            'check_dose.taken.1: expected type "string", found 1',
        ),
    ],
)
def test_arguments_that_the_schema_does_not_allow_are_named(tools, name, arguments, sentence) -> None:
    async def task(client: Client) -> None:
        result = await client.call_tool(name, arguments)
        assert result.is_error
        assert said(result) == sentence

    in_memory(tools, task)


def test_every_tool_answers_a_good_call(tools) -> None:
    guideline = "run_guideline"
    good: dict[str, dict[str, Any]] = {
        "triage": {"case": DANGEROUS},
        "assess": {"case": DANGEROUS},
        "rank": {"case": DANGEROUS},
        "ask_next": {"case": DANGEROUS},
        "search_sources": {"question": "cough in a child"},
        "list_guidelines": {},
        "check_dose": DOSE,
    }

    async def task(client: Client) -> None:
        for name, arguments in good.items():
            result = await client.call_tool(name, arguments)
            assert not result.is_error, said(result)
            answer = json.loads(said(result))
            assert result.structured_content == (answer if isinstance(answer, dict) else None)
        listed = json.loads(said(await client.call_tool("list_guidelines", {})))
        result = await client.call_tool(guideline, {"id": listed[0]["id"], "values": {}})
        assert not result.is_error, said(result)

    assert {*good, guideline} == {tool.name for tool in tools}
    in_memory(tools, task)


def test_an_internal_fault_shows_a_client_nothing_of_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Mapping[str, Any]) -> object:
        raise RuntimeError("secret")

    async def task(client: Client) -> None:
        for name in ("broken", "unwritable"):
            result = await client.call_tool(name, {})
            assert result.is_error
            assert said(result) == f"internal fault: expected an answer of {name}, found a fault of the box"

    tools = (Tool("broken", "", NOTHING, broken), Tool("unwritable", "", NOTHING, lambda _: object()))
    in_memory(tools, task)
    assert "secret" in caplog.text


def slow_and_quick() -> tuple[threading.Event, threading.Event, list[str], tuple[Tool, ...]]:
    """A tool that says when it is going and waits to be let go on, one that does not wait, and who worked."""
    going, go_on = threading.Event(), threading.Event()
    worked: list[str] = []

    def slow(_: Mapping[str, Any]) -> object:
        going.set()
        assert go_on.wait(10)
        worked.append("slow")
        return {}

    def quick(_: Mapping[str, Any]) -> object:
        worked.append("quick")
        return {}

    return going, go_on, worked, (Tool("slow", "", NOTHING, slow), Tool("quick", "", NOTHING, quick))


def test_a_slow_call_holds_up_other_calls_but_not_the_server() -> None:
    going, go_on, worked, tools = slow_and_quick()

    async def task(client: Client) -> None:
        async with anyio.create_task_group() as calls:
            calls.start_soon(client.call_tool, "slow", {})
            await anyio.to_thread.run_sync(going.wait)
            calls.start_soon(client.call_tool, "quick", {})
            assert len((await client.list_tools(cache_mode="bypass")).tools) == 2
            assert worked == []
            go_on.set()

    in_memory(tools, task)
    assert worked == ["slow", "quick"]


def test_a_call_that_is_cancelled_never_works_beside_the_next() -> None:
    going, go_on, worked, tools = slow_and_quick()

    async def run() -> None:
        server = serving(tools, "1")
        async with Client(server, mode="legacy") as client, anyio.create_task_group() as calls:
            impatient = anyio.CancelScope()

            async def asks() -> None:
                with impatient:
                    await client.call_tool("slow", {})

            calls.start_soon(asks)
            await anyio.to_thread.run_sync(going.wait)
            impatient.cancel()
            calls.start_soon(client.call_tool, "quick", {})
            await client.list_tools()  # comes after both
            assert worked == []
            go_on.set()

    anyio.run(run)
    assert worked == ["slow", "quick"]


LIST = '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'


def posted(one: Served, body: str = LIST, **headers: str) -> tuple[int, str]:
    """The status and the body that one request by hand gets. headers: instead of those of a good request."""
    good = {
        "Host": f"127.0.0.1:{one.port}",
        "Authorization": f"Bearer {one.token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(body)),
    }
    connection = HTTPConnection("127.0.0.1", one.port, timeout=10)
    try:
        connection.putrequest("POST", "/mcp", skip_host=True)
        for name, value in {**good, **headers}.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body.encode())
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("name", "number"), [("amount", "NaN"), ("amount", "-Infinity"), ("weight_kg", "1e999")]
)
def test_a_number_that_is_not_finite_is_refused(over_http: Served, name: str, number: str) -> None:
    call = {"name": "check_dose", "arguments": {**DOSE, name: "here"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    status, text = posted(over_http, body.replace('"here"', number))
    assert status == 200
    result = json.loads(text)["result"]
    assert result["isError"] is True
    [content] = result["content"]
    assert content["text"] == "check_dose: expected finite numbers, found NaN or Infinity"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Host": "localhost:{port}"}),
        (401, {"Authorization": ""}),
        (401, {"Authorization": "Bearer "}),
        (401, {"Authorization": "Bearer wrong"}),
        (401, {"Authorization": "Basic {token}"}),
        (401, {"Authorization": "Bearer {token}x"}),
        (401, {"Authorization": "Bearer caf\u00e9"}),
        (421, {"Host": "evil.example"}),
        (421, {"Host": "evil.example:{port}"}),
        (421, {"Host": "127.0.0.1:1"}),
        (421, {"Host": "127.0.0.1:{port}.evil.example"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "http://127.0.0.1:{port}"}),
        (403, {"Origin": "null"}),
    ],
)
def test_http_answers_only_who_shows_the_token_and_asks_for_this_machine(over_http, status, headers) -> None:
    put_in = {
        name: value.format(port=over_http.port, token=over_http.token) for name, value in headers.items()
    }
    assert posted(over_http, **put_in)[0] == status


def test_http_listens_on_the_loopback_address_alone(over_http: Served) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    at = [
        fields[1]
        for fields in listening
        if fields[3] == "0A" and fields[1].endswith(f":{over_http.port:04X}")
    ]
    assert at == [f"0100007F:{over_http.port:04X}"]
    six = Path("/proc/net/tcp6")
    assert not six.exists() or f":{over_http.port:04X} 0" not in six.read_text(encoding="ascii")


def test_the_token_of_the_environment_is_asked_for_and_not_printed(
    monkeypatch, terminology_home: Path
) -> None:
    asked_for: list[str] = []

    def serve(_: object, listening: socket.socket, token: str) -> None:
        listening.close()
        asked_for.append(token)

    monkeypatch.setattr("akazuba.mcp_server.serve_http", serve)
    result = CliRunner(env=environment(terminology_home, AKAZUBA_MCP_TOKEN=OWN)).invoke(
        main, ["mcp", "--http", "--port", "0"]
    )
    assert result.exit_code == 0
    assert asked_for == [OWN]
    assert result.stdout.endswith("/mcp\nAuthorization: Bearer (that of AKAZUBA_MCP_TOKEN)\n")
    assert result.stderr == ""


def test_a_client_that_goes_away_ends_the_server_quietly() -> None:
    serve = "from akazuba.mcp_server import serve_stdio, serving; serve_stdio(serving((), '1'))"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", serve], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def refused(home: Path, *arguments: str, **more: str) -> str:
    result = CliRunner(env=environment(home, **more)).invoke(main, ["mcp", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def test_without_the_sdk_the_command_names_the_extra(monkeypatch, terminology_home: Path) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    sentence = "error: mcp: expected the package mcp (extra mcp), found not installed\n"
    assert refused(terminology_home) == sentence


def test_a_token_that_is_easily_guessed_is_refused_and_not_repeated(terminology_home: Path) -> None:
    for token in ("secret", "a secret with spaces in it", "é" * 20):
        error = refused(terminology_home, "--http", "--port", "0", AKAZUBA_MCP_TOKEN=token)
        assert error.startswith(
            "error: AKAZUBA_MCP_TOKEN: expected 16 printable ASCII characters or more, found "
        )
        assert token not in error


def test_a_port_that_is_taken_is_named(over_http: Served, terminology_home: Path) -> None:
    error = refused(terminology_home, "--http", "--port", str(over_http.port))
    assert error.startswith(f"error: --port: expected a free port, found {over_http.port} (")


def test_a_port_without_http_is_refused(terminology_home: Path) -> None:
    assert "--port needs --http" in refused(terminology_home, "--port", "8765")


def test_what_a_tool_refuses_is_said_in_its_own_words() -> None:
    def refuses(_: Mapping[str, Any]) -> object:
        raise InputError("case", "a case", "none")

    async def task(client: Client) -> None:
        result = await client.call_tool("refuses", {})
        assert result.is_error
        assert said(result) == "case: expected a case, found none"

    in_memory((Tool("refuses", "", NOTHING, refuses),), task)
