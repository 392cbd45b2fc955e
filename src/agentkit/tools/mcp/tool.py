"""A tool of an MCP server, as LangChain knows tools."""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.tools import BaseTool, ToolException
from pydantic import PrivateAttr

from agentkit import portal
from agentkit.errors import McpServerError

if TYPE_CHECKING:
    from agentkit.tools.mcp.connection import Connection
    from agentkit.tools.mcp.session import Offer

logger = logging.getLogger(__name__)

_LONGEST_NAME = 64
_LONGEST_ERROR = 1000


def model_name(name: str) -> str:
    """The name a model calls a tool by: providers take letters, digits, `_` and `-`, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]


class McpTool(BaseTool):
    """A tool of an MCP server. Works on every event loop and without one.

    A failure is a result the model can read, not the end of the turn. The arguments are
    checked by the server. (The adapters' own tools lose arguments called `config` or
    `runtime`, and put a new random id into every result, which no cache survives.)

    Attributes:
        server: Name of its server in the blueprint.
        offered_as: Its name at the server; `name` is that without dots and slashes.
    """

    server: str
    offered_as: str
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True

    _connection: "Connection" = PrivateAttr()
    _repeatable: bool = PrivateAttr(default=False)

    @classmethod
    def of(cls, offer: "Offer", connection: "Connection") -> "McpTool":
        """Make the tool for what a server offers."""
        made = cls(
            name=model_name(offer.name),
            description=offer.description,
            args_schema={"type": "object", "properties": {}, **offer.schema},
            metadata=offer.metadata,
            server=connection.config.name,
            offered_as=offer.name,
        )
        made._connection = connection
        made._repeatable = offer.repeatable
        return made

    def _run(self, **arguments: Any) -> tuple[str, Mapping[str, Any] | None]:
        return portal.run(self._called, arguments, on=self._connection.home)

    async def _arun(self, **arguments: Any) -> tuple[str, Mapping[str, Any] | None]:
        return await self._called(arguments)

    async def _called(self, arguments: dict[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
        try:
            result = await self._connection.call(self.offered_as, arguments, repeatable=self._repeatable)
        except McpServerError as error:
            logger.warning("%s", error)
            raise ToolException(_short(error.message)) from error
        if result.failed:
            raise ToolException(result.text)
        artifact = None if result.structured is None else {"structured_content": result.structured}
        return result.text, artifact


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
