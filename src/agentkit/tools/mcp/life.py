"""One session with an MCP server, from connecting to its end, in a task of its own."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio

from agentkit.errors import McpServerError
from agentkit.secrets import hide, hide_in
from agentkit.tools.mcp.config import HttpServer, McpServer, StdioServer
from agentkit.tools.mcp.http import BROKEN, NOT_SENT, OVER, failure
from agentkit.tools.mcp.process import Said
from agentkit.tools.mcp.results import as_text
from agentkit.tools.mcp.session import (
    CLOSED,
    CallToolResult,
    McpError,
    Offer,
    Session,
    offers,
    transport,
)

logger = logging.getLogger(__name__)

_TURNS = 10


class SessionOverError(Exception):
    """The session is no longer valid, and the call was not carried out: in a new one it may be."""


class BrokenOffError(Exception):
    """The connection broke off; whether the call was carried out nobody knows."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool returned: text, data if it has a schema for it, and whether it says it failed."""

    text: str
    structured: Mapping[str, Any] | None
    failed: bool


class Life:
    """One session, from connecting to its end. Make it on the loop it is used on.

    anyio wants what a task enters left by the same task, so the session is entered and left
    in a task of its own; calls come from any task of the loop.

    Args:
        config: The server.

    Attributes:
        ready: Done when it is connected: what the server offers, or a `McpServerError`.
    """

    def __init__(self, config: McpServer) -> None:
        self._config = config
        self._over = asyncio.Event()
        self._session: Session | None = None
        self._calls = 0
        self._retired = False
        self.ready: asyncio.Future[tuple[Offer, ...]] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.task = asyncio.create_task(self._live(), name=f"MCP server {config.name}")

    @property
    def over(self) -> bool:
        """Whether it cannot be used any more."""
        return self._retired or self._over.is_set() or self.task.done()

    def retire(self) -> None:
        """Begin no more calls, and end when those under way have."""
        self._retired = True
        if not self._calls:
            self.end()

    def end(self) -> None:
        """Let it end; `task` is done when it has."""
        self._over.set()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Call a tool. Cancelling it, or its timeout, tells the server so.

        Raises:
            SessionOverError: The call was not carried out, and needs another session.
            BrokenOffError: The connection broke off.
            McpServerError: The server cannot be reached, refuses, or is too slow.
        """
        if isinstance(self._config, StdioServer):
            # Of a program that died while nobody called, the end of its output can be read
            # already; it takes some turns of the loop to come up to here.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        if self._session is None or self.over:
            raise SessionOverError
        self._calls += 1
        try:
            return await self._called(self._session, name, arguments)
        finally:
            self._calls -= 1
            if self._retired:
                self.retire()

    async def _called(self, session: "Session", name: str, arguments: Mapping[str, Any]) -> Result:
        server, seconds = self._config.name, self._config.timeout
        try:
            async with asyncio.timeout(seconds):
                result = await self._unless_over(session.call_tool(name, dict(arguments)))
        except TimeoutError as error:
            raise McpServerError(
                f"The tool {name!r} of the MCP server {server!r} did not answer within {seconds:g} s.",
                server=server,
                hint=f"Raise mcp_servers.{server}.timeout if it needs longer.",
            ) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise SessionOverError from error
        except anyio.EndOfStream as error:
            raise BrokenOffError from error
        except BrokenOffError:
            raise
        except McpError as error:
            raise self._refusal(name, error) from error
        except Exception as error:  # its output does not fit its own schema, or is none of the protocol
            raise McpServerError(
                f"The tool {name!r} of the MCP server {server!r} returned what its own description forbids.",
                server=server,
                hint=self._hidden(str(error)),
            ) from error
        private, data = self._config.private, result.structuredContent
        text: str = hide_in(as_text(result.content, data), private)
        return Result(text, hide_in(data, private), failed=result.isError)

    async def _unless_over(self, call: Coroutine[Any, Any, CallToolResult]) -> CallToolResult:
        """Wait for a call no longer than there is a session.

        A request the SDK takes while it ends a session is never answered, not even with an error.
        """
        work = asyncio.ensure_future(call)
        try:
            await asyncio.wait({work, self.task}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise BrokenOffError
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # looked at, also where our own cancellation is what is raised

    def _refusal(self, tool: str, error: McpError) -> Exception:
        """What an error in place of a result means."""
        server = self._config.name
        if error.error == CLOSED:
            return BrokenOffError()
        kind, why = failure(error.error.data) or ("", "")
        if kind == OVER:
            return SessionOverError(why)
        if kind == BROKEN:
            return BrokenOffError(self._hidden(why))
        if kind == NOT_SENT:
            return McpServerError(
                f"The MCP server {server!r} cannot be reached just now.",
                server=server,
                hint=f"Tried {self._config.shown}: {self._hidden(why)}.",
            )
        said = self._hidden(why or error.error.message)
        return McpServerError(
            f"The MCP server {server!r} refused the call of {tool!r}: {said}", server=server
        )

    async def _live(self) -> None:
        said = Said(self._config.name, self._config.private)
        try:
            async with (
                asyncio.timeout(self._config.timeout) as limit,
                transport(self._config, said) as (read, write),
                Session(read, write, self._over) as session,
            ):
                await session.initialize()
                found = await offers(session)
                limit.reschedule(None)
                self._session = session
                self.ready.set_result(found)
                await self._over.wait()
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(self._unreachable(error, said))
            elif isinstance(error, Exception):
                logger.debug("the session with the MCP server %s ended: %r", self._config.name, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._over.set()

    def _unreachable(self, error: BaseException, said: Said) -> McpServerError:
        """Why there is no session, with what was tried."""
        config = self._config
        cause = _first(error)
        if isinstance(cause, McpServerError):
            return cause
        place = f" in {config.cwd}" if isinstance(config, StdioServer) and config.cwd else ""
        tried = f"Tried {config.shown}{place}."
        if text := said.tail():
            tried += f" Its last words: {text}"
        what = "address" if isinstance(config, HttpServer) else "command"
        return McpServerError(
            f"The MCP server {config.name!r} cannot be used: {self._hidden(_why(cause, config))}.",
            server=config.name,
            hint=f"{self._hidden(tried)}\n"
            f"Check that it runs, and the {what} under mcp_servers.{config.name}.",
        )

    def _hidden(self, text: str) -> str:
        return hide(text, self._config.private)


def _why(error: BaseException, config: McpServer) -> str:
    match error:
        case TimeoutError():
            return f"it did not answer within {config.timeout:g} s"
        case McpError() if (known := failure(error.error.data)) is not None:
            kind, why = known
            return f"there was no answer ({why})" if kind in (NOT_SENT, BROKEN) else why
        case McpError() if error.error == CLOSED:
            return "it ended before it answered"
        case anyio.EndOfStream() | anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return "it ended before it answered"
        case asyncio.CancelledError():
            return "connecting was given up"
        case _:
            return str(error) or type(error).__name__


def _first(error: BaseException) -> BaseException:
    """The first error of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
