"""A real MCP server over HTTP that a test may kill and bring back, and one over stdio."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.tools.mcp import HttpServer, McpServers, McpTool, StdioServer

SCRIPT = Path(__file__).with_name("mcp_server.py")


class HttpProcess:
    """The server of mcp_server.py on loopback; it writes into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(1500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("the MCP server did not start")

    def kill(self) -> None:
        """As kill -9 does: nothing is said to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[HttpProcess]:
    server = HttpProcess(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def servers() -> AsyncIterator[McpServers]:
    made = McpServers()
    yield made
    await made.aclose()


@pytest.fixture
def stdio(tmp_path: Path) -> Callable[..., StdioServer]:
    """Settings of a stdio server."""

    def make(**options: Any) -> StdioServer:
        return StdioServer("tickets", sys.executable, [str(SCRIPT), str(tmp_path)], **options)

    return make


@pytest.fixture(params=["stdio", "http"])
def config(request: pytest.FixtureRequest) -> Any:
    """The same server over both transports."""
    if request.param == "stdio":
        return request.getfixturevalue("stdio")()
    return HttpServer("tickets", request.getfixturevalue("http_server").url)


async def by_name(servers: McpServers, config: Any) -> dict[str, McpTool]:
    return {tool.name: tool for tool in await servers.tools(config)}


async def called(tool: McpTool, **arguments: Any) -> Any:
    """The ToolMessage an agent's tool node would get."""
    return await tool.ainvoke({"name": tool.name, "args": arguments, "id": "1", "type": "tool_call"})


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
