"""What a server that is a program needs: that it can be started, and that somebody reads its complaints."""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TextIO

from agentkit.errors import McpServerError
from agentkit.secrets import hide
from agentkit.tools.mcp.config import StdioServer, Values

logger = logging.getLogger(__name__)

_KEPT = 1000
_PIECE = 4096


class Said:
    """The end of what a program wrote to its standard error; all of it goes to the debug log."""

    def __init__(self, server: str, private: Values) -> None:
        self._server = server
        self._private = private
        self._text = ""

    def add(self, text: str) -> None:
        """Note a piece."""
        self._text = (self._text + text)[-_KEPT:]
        logger.debug("%s: %s", self._server, hide(text.rstrip(), self._private))

    def tail(self) -> str:
        """Its last words, without secrets."""
        return hide(self._text.strip(), self._private)


def startable(config: StdioServer) -> None:
    """Check what can be checked before a program is started.

    Raises:
        McpServerError: There is no such program, or no such folder.
    """
    if config.cwd is not None and not config.cwd.is_dir():
        raise McpServerError(
            f"The MCP server {config.name!r} cannot be started: there is no folder to run it in.",
            server=config.name,
            hint=f"mcp_servers.{config.name}.cwd is {str(config.cwd)!r}.",
        )
    path = str(config.env.get("PATH") or os.environ.get("PATH", os.defpath))
    beside = "/" in config.command
    where = (config.cwd or Path()) / config.command if beside else config.command
    if shutil.which(where, path=path) is None:
        looked = f"as {where}" if beside else f"in PATH: {path}"
        raise McpServerError(
            f"The MCP server {config.name!r} cannot be started: there is no command {config.command!r}.",
            server=config.name,
            hint=f"Looked for it {looked}. Install it, or correct mcp_servers.{config.name}.command.",
        )


@asynccontextmanager
async def captured(said: Said) -> AsyncGenerator[TextIO]:
    """A file for a program's standard error, read into `said` until the block ends."""
    reading, writing = os.pipe()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", buffering=0)
    )

    async def read() -> None:
        while piece := await stream.read(_PIECE):
            said.add(piece.decode("utf-8", "replace"))

    reader = asyncio.create_task(read())
    file = os.fdopen(writing, "w")
    try:
        yield file
    finally:
        file.close()
        # A program that ended has said all it will say; one that has children may never close it.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reader), 0.2)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        transport.close()
