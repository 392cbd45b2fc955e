"""A connection that outlives its sessions: opened at first use, opened again after its server ended."""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentkit import portal
from agentkit.errors import McpServerError
from agentkit.extras import require
from agentkit.tools.mcp.config import McpServer

if TYPE_CHECKING:
    from agentkit.tools.mcp.life import Life, Result
    from agentkit.tools.mcp.session import Offer

_PATIENCE = 10.0


class Connection:
    """One server for any number of callers, on any loops and threads.

    There is one session at a time, and any number of calls in it. A session costs a process
    or three requests, a call one request: see docs/mcp.md.

    Args:
        config: The server. Nothing is connected yet.

    Attributes:
        config: The server.
        home: The loop its sessions live on: the one it was made on.
    """

    def __init__(self, config: McpServer) -> None:
        self.config = config
        self.home = asyncio.get_running_loop()
        self._life: Life | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False

    async def offers(self) -> "tuple[Offer, ...]":
        """What the server offers, in its order.

        Raises:
            McpServerError: It cannot be reached or started.
            MissingExtraError: The extra `mcp` is not installed.
        """
        return await self._at_home(self._offers)

    async def call(self, name: str, arguments: Mapping[str, Any], *, repeatable: bool = False) -> "Result":
        """Call a tool of the server.

        Args:
            name: Its name at the server.
            arguments: What the model gave.
            repeatable: Whether a call that broke off, and may have been carried out, is made again.

        Raises:
            McpServerError: The server cannot be reached, refuses, is too slow, or broke off.
        """
        return await self._at_home(self._call, name, arguments, repeatable)

    async def aclose(self) -> None:
        """End the session, and the program if the server is one. Nothing can be called afterwards."""
        await self._at_home(self._close)

    async def _at_home(self, function: Any, *args: object) -> Any:
        try:
            return await portal.arun(function, *args, on=self.home)
        except RuntimeError as error:
            if not self.home.is_closed():
                raise
            raise self._closed_error() from error

    async def _offers(self) -> "tuple[Offer, ...]":
        return await asyncio.shield((await self._alive()).ready)

    async def _call(self, name: str, arguments: Mapping[str, Any], repeatable: bool) -> "Result":
        from agentkit.tools.mcp.life import BrokenOffError, SessionOverError

        for last in (False, True):
            life = await self._ready()
            try:
                return await life.call(name, arguments)
            except SessionOverError as error:
                life.retire()
                if last:
                    raise self._refused(name, str(error) or "it ends every session at once") from error
            except BrokenOffError as error:
                if last or not repeatable:
                    raise self._broken(name) from error
        raise AssertionError("the last try returns or raises")

    async def _ready(self) -> "Life":
        """A session that calls can be made in; why there is none is not for models."""
        life = await self._alive()
        try:
            await asyncio.shield(life.ready)
        except McpServerError as error:
            raise McpServerError(
                f"The MCP server {self.config.name!r} cannot be reached just now.",
                server=self.config.name,
                hint=str(error),
            ) from error
        return life

    async def _alive(self) -> "Life":
        """The session there is, or a new one; it may still be connecting."""
        if self._closed:
            raise self._closed_error()
        if self._life is None:
            purpose = f"The MCP server {self.config.name!r}"
            for module in ("mcp", "langchain_mcp_adapters"):
                require(module, extra="mcp", purpose=purpose)
            # Its imports take about a second.
            await asyncio.to_thread(import_module, "agentkit.tools.mcp.life")
        from agentkit.tools.mcp.life import Life

        # From here on nothing is awaited, so that callers at the same time share one session.
        if self._closed:
            raise self._closed_error()
        if self._life is None or self._life.over:
            self._life = Life(self.config)
            self._endings.add(self._life.task)
            self._life.task.add_done_callback(self._endings.discard)
        return self._life

    async def _close(self) -> None:
        self._closed = True
        if self._life is not None:
            self._life.end()
        tasks = list(self._endings)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_PATIENCE)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refused(self, tool: str, why: str) -> McpServerError:
        server = self.config.name
        return McpServerError(
            f"The MCP server {server!r} refused the call of {tool!r}: {why}",
            server=server,
            hint=f"Tried {self.config.shown}, in two sessions.",
        )

    def _broken(self, tool: str) -> McpServerError:
        return McpServerError(
            f"The connection to the MCP server {self.config.name!r} broke off during {tool!r}; "
            "whether the call was carried out is not known.",
            server=self.config.name,
            hint="The next call connects again.",
        )

    def _closed_error(self) -> McpServerError:
        return McpServerError(
            f"The MCP server {self.config.name!r} cannot be used any more: the kit is closed.",
            server=self.config.name,
        )
