"""The SDK's session with an MCP server; the only file that knows it and LangChain's adapters."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any, TypeVar

import httpx
from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import MessageMetadata
from mcp.shared.session import ProgressFnT
from mcp.types import (
    CONNECTION_CLOSED,
    CallToolResult,
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ClientRequest,
    ErrorData,
    Implementation,
    InitializeRequest,
    PaginatedRequestParams,
    Tool,
)
from pydantic import BaseModel

from agentkit.errors import McpServerError
from agentkit.secrets import reveal
from agentkit.tools.mcp.config import HttpServer, McpServer
from agentkit.tools.mcp.http import Client
from agentkit.tools.mcp.process import Said, captured, startable

__all__ = ["CLOSED", "CallToolResult", "McpError", "Offer", "Session", "offers", "transport"]

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=BaseModel)

CLOSED = ErrorData(code=CONNECTION_CLOSED, message="Connection closed")
"""What the SDK answers requests with that are open when a connection ends."""

_IDLE = 300.0
_PATIENCE = 5.0
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool a server offers.

    Attributes:
        name: Its name at the server.
        description: What models read.
        schema: JSON Schema of its arguments.
        metadata: Its annotations, as LangChain's adapters put them into a tool's metadata.
        repeatable: Whether the server says that to call it twice does what calling it once does.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    metadata: dict[str, Any] | None
    repeatable: bool


@asynccontextmanager
async def transport(config: McpServer, said: Said) -> AsyncGenerator[tuple[Any, Any]]:
    """The two streams of messages to and from a server."""
    async with AsyncExitStack() as stack:
        if isinstance(config, HttpServer):
            patience = httpx.Timeout(config.timeout, read=max(_IDLE, config.timeout))
            # A call holds its connection until it is answered; httpx's 100 would have the rest wait.
            room = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            client = await stack.enter_async_context(
                Client(headers=_headers(config), timeout=patience, limits=room)
            )
            read, write, _ = await stack.enter_async_context(
                streamable_http_client(config.url, http_client=client)
            )
        else:
            startable(config)
            errors = await stack.enter_async_context(captured(said))
            program = StdioServerParameters(
                command=config.command, args=list(config.args), env=reveal(config.env), cwd=config.cwd
            )
            read, write = await stack.enter_async_context(stdio_client(program, errlog=errors))
            errors.close()  # the program has its own copy; ours would keep the pipe open after its end
        yield read, write


def _headers(config: HttpServer) -> dict[str, str]:
    """The headers of every request.

    Raises:
        McpServerError: One cannot be sent; the HTTP client's own error would show its value.
    """
    headers: dict[str, str] = reveal(config.headers)
    for name, value in headers.items():
        if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
            raise McpServerError(
                f"The MCP server {config.name!r} cannot be used: one of its headers cannot be sent.",
                server=config.name,
                hint=f"{name!r} under mcp_servers.{config.name}.headers must be printable ASCII on one line.",
            )
    # Not compressed, because what broke off is ended with a line of our own.
    return {**headers, "accept-encoding": "identity"}


async def offers(session: ClientSession) -> tuple[Offer, ...]:
    """Everything the server offers, page by page, in its order."""
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        found += page.tools
        cursor = page.nextCursor
        if not cursor:
            break
    return tuple(_offer(session, tool) for tool in found)


def _offer(session: ClientSession, tool: Tool) -> Offer:
    made = convert_mcp_tool_to_langchain_tool(session, tool)
    notes = tool.annotations
    repeatable = notes is not None and bool(notes.readOnlyHint or notes.idempotentHint)
    return Offer(tool.name, made.description, tool.inputSchema, made.metadata, repeatable)


class Session(ClientSession):
    """A session that says when it is over, leaves nobody waiting, and withdraws cancelled requests."""

    def __init__(self, read: Any, write: Any, over: asyncio.Event) -> None:
        me = Implementation(name="agentkit", version=version("langgraph-agentkit"))
        super().__init__(read, write, client_info=me)
        self._over = over
        self._withdrawals: set[asyncio.Task[None]] = set()

    async def _receive_loop(self) -> None:
        try:
            await super()._receive_loop()
        finally:
            self._over.set()
            # The SDK tells those who still wait, but not if it is cancelled itself.
            for stream in list(self._response_streams.values()):
                stream.close()
            for task in self._withdrawals:
                task.cancel()

    async def send_request(
        self,
        request: ClientRequest,
        result_type: type[R],
        request_read_timeout_seconds: timedelta | None = None,
        metadata: MessageMetadata = None,
        progress_callback: ProgressFnT | None = None,
    ) -> R:
        """As the SDK's; a request that is cancelled is withdrawn at the server."""
        number = self._request_id  # the one it is about to get
        try:
            return await super().send_request(
                request, result_type, request_read_timeout_seconds, metadata, progress_callback
            )
        except asyncio.CancelledError:
            if not isinstance(request.root, InitializeRequest):  # that one must not be, says the protocol
                task = asyncio.create_task(self._withdraw(number))
                self._withdrawals.add(task)
                task.add_done_callback(self._withdrawals.discard)
            raise

    async def _withdraw(self, number: int) -> None:
        """Tell the server that nobody waits for the answer any more (specification, Cancellation)."""
        gone = CancelledNotification(params=CancelledNotificationParams(requestId=number, reason="cancelled"))
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.send_notification(ClientNotification(gone))
        except Exception as error:  # noqa: BLE001 - a courtesy; the session may be over
            logger.debug("a cancelled call could not be withdrawn: %r", error)
