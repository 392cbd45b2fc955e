"""The servers of one application: each connected once, however many blueprints name it."""

import asyncio
from collections.abc import Sequence

from agentkit.tools.mcp.config import McpServer
from agentkit.tools.mcp.connection import Connection
from agentkit.tools.mcp.tool import McpTool


class McpServers:
    """Connections by server. Use it on one event loop; its tools work on all."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []

    async def tools(self, config: McpServer) -> Sequence[McpTool]:
        """Everything a server offers, in its order; connected at first use.

        Raises:
            McpServerError: It cannot be reached or started.
            MissingExtraError: The extra `mcp` is not installed.
        """
        connection = self._connection(config)
        return [McpTool.of(offer, connection) for offer in await connection.offers()]

    async def aclose(self) -> None:
        """Close all connections, and end the programs that were started."""
        await asyncio.gather(*(connection.aclose() for connection in self._connections))

    def _connection(self, config: McpServer) -> Connection:
        for known in self._connections:
            if known.config == config:
                return known
        self._connections.append(Connection(config))
        return self._connections[-1]
