"""Tools of real MCP servers, over stdio and streamable HTTP: calls, failures, deaths, secrets."""
# ruff: noqa: E501, ISC004 - a fault and what is said of it are one line

import asyncio
import gc
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import SecretStr

from agentkit import portal
from agentkit.errors import ConfigurationError, McpServerError, MissingExtraError
from agentkit.tools.mcp import HttpServer, McpServers, StdioServer

from .conftest import HttpProcess, alive, by_name, called

SECRET = "Bearer t0p-secret-value"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


async def test_a_tool_is_described_and_called(servers: McpServers, config: Any) -> None:
    tools = await by_name(servers, config)
    made = convert_to_openai_tool(tools["get_ticket"])["function"]
    assert made["description"] == "Return a ticket by its number."
    assert made["parameters"]["properties"] == {"number": {"type": "integer"}}
    message = await called(tools["get_ticket"], number=7)
    assert (message.content, message.status) == ("Ticket 7: the printer is on fire.", "success")
    assert tools["die_once"].metadata["readOnlyHint"]


async def test_every_kind_of_result_is_text(servers: McpServers, config: Any) -> None:
    tools = await by_name(servers, config)
    owner = await called(tools["get_owner"], number=1)
    assert '"owner": "ana-1"' in owner.content
    assert owner.artifact == {"structured_content": {"owner": "ana-1"}}
    picture = (await called(tools["picture"])).content
    assert picture == (
        "A chart:\n[image, image/png, 108 bytes: left out, it is no text]\n"
        "[audio, audio/wav, 3 bytes: left out, it is no text]"
    )
    assert (await called(tools["nothing"])).content == "(The tool returned nothing.)"
    assert (await called(tools["only_data"])).content == '{"a": [1, 2]}'
    assert (await called(tools["dots_and_slashes"])).content == "dotted"


async def test_arguments_that_langchain_has_names_for_arrive(servers: McpServers, config: Any) -> None:
    tools = await by_name(servers, config)
    assert (await called(tools["set_up"], config="c", runtime="r")).content == "c r"


async def test_a_failing_tool_is_a_result(servers: McpServers, config: Any) -> None:
    tools = await by_name(servers, config)
    failed = await called(tools["delete_admin"], number=3)
    assert (failed.status, failed.content) == (
        "error",
        "Error executing tool delete_admin: ticket 3 is locked",
    )
    wrong = await called(tools["get_ticket"], number="seven")
    assert wrong.status == "error"
    assert "valid integer" in wrong.content


async def test_twenty_calls_at_once_share_one_session(servers: McpServers, config: Any) -> None:
    [first, *_] = await asyncio.gather(*(servers.tools(config) for _ in range(20)))
    tools = {tool.name: tool for tool in first}
    messages = await asyncio.gather(*(called(tools["get_ticket"], number=n) for n in range(20)))
    assert [m.content for m in messages] == [f"Ticket {n}: the printer is on fire." for n in range(20)]
    seen = await asyncio.gather(*(called(tools["who"]) for _ in range(3)))
    assert len({m.artifact["structured_content"]["pid"] for m in seen}) == 1


async def test_more_calls_at_once_than_a_client_has_connections(
    servers: McpServers, http_server: HttpProcess
) -> None:
    tools = await by_name(servers, HttpServer("tickets", http_server.url))
    messages = await asyncio.gather(
        *(called(tools["all_at_once"], number=n, wait_for=130) for n in range(130))
    )
    assert [m.content for m in messages] == [str(n) for n in range(130)]


async def test_other_loops_and_threads_use_the_same_session(servers: McpServers, config: Any) -> None:
    tools = await by_name(servers, config)
    ticket = tools["get_ticket"]
    on_a_thread = await asyncio.to_thread(ticket.invoke, {"number": 1})
    on_a_loop = await asyncio.to_thread(lambda: asyncio.run(ticket.ainvoke({"number": 2})))
    carried = await asyncio.wrap_future(
        asyncio.run_coroutine_threadsafe(ticket.ainvoke({"number": 3}), portal.loop())
    )
    assert [text[:8] for text in (on_a_thread, on_a_loop, carried)] == ["Ticket 1", "Ticket 2", "Ticket 3"]
    with pytest.raises(ConfigurationError, match="cannot wait for the event loop it stands on"):
        ticket.invoke({"number": 4})


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_slow_tool_times_out_and_is_told(
    servers: McpServers, stdio: Any, tmp_path: Path, request: pytest.FixtureRequest, transport: str
) -> None:
    if transport == "stdio":
        config, seconds = stdio(timeout=6.0), 6  # the start of the program counts as well
    else:
        config, seconds = HttpServer("tickets", request.getfixturevalue("http_server").url, timeout=2.0), 2
    tools = await by_name(servers, config)
    message = await called(tools["slow"])
    said = f"The tool 'slow' of the MCP server 'tickets' did not answer within {seconds} s."
    assert (message.status, message.content) == ("error", said)
    await until((tmp_path / "slow-cancelled").exists)
    assert (await called(tools["get_ticket"], number=1)).status == "success"


async def test_a_cancelled_call_is_cancelled_at_the_server(
    servers: McpServers, config: Any, tmp_path: Path
) -> None:
    tools = await by_name(servers, config)
    call = asyncio.create_task(called(tools["slow"]))
    await until((tmp_path / "slow-started").exists)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until((tmp_path / "slow-cancelled").exists)
    assert (await called(tools["get_ticket"], number=1)).status == "success"


async def test_a_killed_program_is_started_again(servers: McpServers, stdio: Any) -> None:
    tools = await by_name(servers, stdio())
    first = int((await called(tools["who"])).artifact["structured_content"]["pid"])
    os.kill(first, 9)
    await until(lambda: not alive(first))  # reaped: it leaves no zombie
    messages = await asyncio.gather(*(called(tools["who"]) for _ in range(5)))
    [second] = {int(m.artifact["structured_content"]["pid"]) for m in messages}
    assert second != first


async def test_a_server_that_dies_in_a_call_is_not_asked_twice(
    servers: McpServers, config: Any, tmp_path: Path
) -> None:
    tools = await by_name(servers, config)
    message = await called(tools["die"])
    assert (message.status, message.content) == (
        "error",
        "The connection to the MCP server 'tickets' broke off during 'die'; "
        "whether the call was carried out is not known.",
    )
    assert (tmp_path / "die").read_text() == "1"


async def test_a_harmless_call_that_broke_off_is_made_again(
    servers: McpServers, stdio: Any, tmp_path: Path
) -> None:
    tools = await by_name(servers, stdio())
    assert (await called(tools["die_once"])).content == "second try"
    assert (tmp_path / "die_once").read_text() == "2"


async def test_an_http_server_that_restarts_is_connected_again(
    servers: McpServers, http_server: HttpProcess
) -> None:
    tools = await by_name(servers, HttpServer("tickets", http_server.url))
    assert (await called(tools["get_ticket"], number=1)).status == "success"
    http_server.kill()
    down = await called(tools["get_ticket"], number=2)
    assert (down.status, down.content) == (
        "error",
        "The MCP server 'tickets' cannot be reached just now.",
    )
    http_server.start()
    messages = await asyncio.gather(*(called(tools["get_ticket"], number=n) for n in range(20)))
    assert [m.content[:9] for m in messages] == [f"Ticket {n}:"[:9] for n in range(20)]


async def test_one_death_leaves_nobody_waiting(servers: McpServers, config: Any, tmp_path: Path) -> None:
    tools = await by_name(servers, config)
    waiting = [asyncio.create_task(called(tools["slow"])) for _ in range(5)]
    await until((tmp_path / "slow-started").exists)
    await called(tools["die"])
    async with asyncio.timeout(15):
        messages = await asyncio.gather(*waiting)
    assert {m.status for m in messages} == {"error"}
    assert all("broke off during 'slow'" in m.content for m in messages)


async def test_closing_ends_the_program_and_what_runs(stdio: Any, tmp_path: Path) -> None:
    servers = McpServers()
    tools = await by_name(servers, stdio())
    pid = int((await called(tools["who"])).artifact["structured_content"]["pid"])
    running = asyncio.create_task(called(tools["slow"]))
    await until((tmp_path / "slow-started").exists)
    await servers.aclose()
    assert not alive(pid)
    assert (await running).status == "error"
    late = await called(tools["get_ticket"], number=1)
    assert late.content == "The MCP server 'tickets' cannot be used any more: the kit is closed."
    gc.collect()  # what was not closed would warn now, and warnings are errors


async def test_closing_while_it_connects(stdio: Any) -> None:
    servers = McpServers()
    connecting = asyncio.create_task(servers.tools(stdio()))
    await until(lambda: bool(servers._connections and servers._connections[0]._life))
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await servers.aclose()
    assert not servers._connections[0]._endings


async def test_a_secret_header_arrives_and_is_shown_nowhere(
    servers: McpServers, http_server: HttpProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = HttpServer("tickets", http_server.url, {"Authorization": SecretStr(SECRET)})
    tools = await by_name(servers, config)
    message = await called(tools["who"])
    assert message.artifact["structured_content"]["sha256"] == HASH
    http_server.kill()
    down = await called(tools["who"])
    assert "cannot be reached just now.\nTried http://127.0.0.1:" in caplog.text
    assert str(http_server.port) not in down.content
    shown = f"{config!r} {tools!r} {tools['who']!s} {message!r} {down!r} {caplog.text}"
    assert "t0p-secret" not in shown


async def test_a_secret_variable_arrives_and_is_shown_nowhere(
    servers: McpServers, stdio: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AGENTKIT_API_KEYS", "ours")
    config = stdio(env={"KEY": SecretStr(SECRET)}, cwd=Path(__file__).parent)
    tools = await by_name(servers, config)
    given = (await called(tools["who"])).artifact["structured_content"]
    assert (given["sha256"], given["leaked"], given["cwd"]) == (HASH, "", str(Path(__file__).parent))
    failed = await called(tools["only_an_error"])
    assert (failed.status, failed.content) == ("error", "***")
    data = (await called(tools["all_of_it"])).artifact["structured_content"]
    assert data == {"result": {"given": ["***", 1]}}
    assert "t0p-secret" not in f"{config!r} {tools!r} {failed!r} {caplog.text}"


def python(code: str, **options: Any) -> StdioServer:
    return StdioServer("tickets", sys.executable, ["-c", code], **options)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            StdioServer("tickets", "no-such-command"),
            "The MCP server 'tickets' cannot be started: there is no command 'no-such-command'.\nLooked for it",
        ),
        (StdioServer("tickets", "./run", cwd=Path("/")), "Looked for it as /run. Install it"),
        (StdioServer("tickets", "true", cwd=Path("/nowhere")), "mcp_servers.tickets.cwd is '/nowhere'."),
        (python("import sys; sys.exit('KEY is wrong')"), "it ended before it answered.\nTried "),
        (python("import sys; sys.exit('KEY is wrong')"), "Its last words: KEY is wrong\nCheck that it runs"),
        (python("import time; time.sleep(60)", timeout=0.5), "it did not answer within 0.5 s."),
        (python("print('Hello!')"), "it ended before it answered."),
        (
            python("import sys; sys.exit('no: t0p-secret-value')", env={"K": SecretStr("t0p-secret-value")}),
            "Its last words: no: ***",
        ),
        (
            HttpServer("tickets", "http://127.0.0.1:1/mcp", {"X-Key": SecretStr("t0p\nsecret")}),
            "one of its headers cannot be sent.\n'X-Key' under mcp_servers.tickets.headers must be",
        ),
        (
            HttpServer("tickets", "http://127.0.0.1:1/mcp?key=abc"),
            "there was no answer (All connection attempts failed).\nTried http://127.0.0.1:1/mcp.\n"
            "Check that it runs, and the address under mcp_servers.tickets.",
        ),
    ],
)
async def test_a_server_that_cannot_be_used(servers: McpServers, config: Any, said: str) -> None:
    with pytest.raises(McpServerError) as caught:
        await servers.tools(config)
    assert said in str(caught.value)
    assert caught.value.server == "tickets"
    assert "t0p" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        ("200 OK\r\ncontent-type: text/html", "<p>Hello</p>", "it answered with text/html, not as MCP does"),
        ("200 OK\r\ncontent-type: application/json", "{", "what it called JSON is none"),
        ("401 Unauthorized", "no", "HTTP 401 Unauthorized"),
        ("404 Not Found", "no", "HTTP 404 Not Found"),
        ("500 Internal Server Error", "no", "HTTP 500 Internal Server Error"),
        ("307 Moved\r\nlocation: http://127.0.0.2:1/", "", "Redirect to http://127.0.0.2:1/ not followed"),
        ("200 OK\r\ncontent-type: text/event-stream", ": hm\n\n", "the stream ended without an answer"),
        ("200 OK\r\ncontent-type: application/json\r\nx: 1", '{"jsonrpc":"2.0","id":0,"result":{}}', "protocolVersion"),
    ],
)  # fmt: skip
async def test_an_address_that_speaks_something_else(
    servers: McpServers, head: str, body: str, said: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    async with listener:
        with pytest.raises(McpServerError) as caught:
            await servers.tools(HttpServer("tickets", url, timeout=10.0))
        await servers.aclose()
    assert said in str(caught.value)
    assert f"Tried {url}." in str(caught.value)


async def test_without_the_extra(servers: McpServers, stdio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingExtraError) as caught:
        await servers.tools(stdio())
    assert str(caught.value) == (
        "The MCP server 'tickets' needs the package 'mcp', which is not installed.\n"
        "Install it with: pip install 'langgraph-agentkit[mcp]'"
    )


async def test_a_server_that_comes_later_is_found_then(servers: McpServers, tmp_path: Path) -> None:
    server = HttpProcess(tmp_path)
    config = HttpServer("tickets", server.url)
    with pytest.raises(McpServerError):
        await servers.tools(config)
    server.start()
    try:
        assert "get_ticket" in await by_name(servers, config)
        await servers.aclose()
    finally:
        server.kill()


class Handmade:
    """A server of our own making that can misbehave in ways FastMCP does not."""

    def __init__(self, forgotten: int = 404) -> None:
        self.sessions: set[str] = set()
        self.opened = 0
        self._forgotten = forgotten

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        sizes = [line.split(":")[1] for line in head.splitlines() if line.startswith("content-length")]
        body = json.loads(await reader.readexactly(int(sizes[0]))) if sizes and int(sizes[0]) else {}
        session = next((line[16:] for line in head.splitlines() if line.startswith("mcp-session-id: ")), "")
        status, more, answer = await self.answer(body, session)
        text = "" if answer is None else json.dumps({"jsonrpc": "2.0", "id": body.get("id"), **answer})
        start = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n{more}"
        writer.write(f"{start}content-length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    async def answer(self, body: Any, session: str) -> tuple[str, str, Any]:  # noqa: PLR0911 - a table
        method = body.get("method")
        if method == "initialize":
            self.opened += 1
            self.sessions.add(f"s{self.opened}")
            about = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            result = {**about, "serverInfo": {"name": "handmade", "version": "1"}}
            return "200 OK", f"mcp-session-id: s{self.opened}\r\n", {"result": result}
        if session not in self.sessions:
            return f"{self._forgotten} Who", "", None
        if method == "tools/list":
            tools = [{"name": n, "inputSchema": {"type": "object"}} for n in ("fine", "slow", "bad", "odd")]
            return "200 OK", "", {"result": {"tools": tools}}
        if method != "tools/call":
            return "405 No", "", None
        match body["params"]["name"]:
            case "bad":
                return "503 Busy", "", None
            case "odd":
                return "200 OK", "", {"result": {"content": [{"type": "smell"}]}}
            case name:
                await asyncio.sleep(0.5 if name == "slow" else 0)
                return "200 OK", "", {"result": {"content": [{"type": "text", "text": name}]}}


@pytest.mark.parametrize("forgotten", [404, 400])
async def test_a_refused_call_harms_no_other_and_a_forgotten_session_is_renewed(
    servers: McpServers, forgotten: int
) -> None:
    made = Handmade(forgotten)
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        tools = await by_name(servers, HttpServer("tickets", f"http://127.0.0.1:{port}/"))
        slow, bad, odd = await asyncio.gather(*(called(tools[name]) for name in ("slow", "bad", "odd")))
        assert (slow.content, bad.status, odd.status) == ("slow", "error", "error")
        assert bad.content == "The MCP server 'tickets' refused the call of 'bad': HTTP 503 Busy"
        assert (
            odd.content
            == "The tool 'odd' of the MCP server 'tickets' returned what its own description forbids."
        )
        assert made.opened == 1
        made.sessions.clear()
        messages = await asyncio.gather(*(called(tools["fine"]) for _ in range(10)))
        assert {m.content for m in messages} == {"fine"}
        assert made.opened == 2
        await servers.aclose()
