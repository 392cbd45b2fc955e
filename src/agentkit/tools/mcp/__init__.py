"""Tools of MCP servers (https://modelcontextprotocol.io): a session a server, kept and renewed.

Nothing here imports the SDK before the first server is connected.
"""

from agentkit.tools.mcp.config import HttpServer, McpServer, StdioServer
from agentkit.tools.mcp.servers import McpServers
from agentkit.tools.mcp.tool import McpTool

__all__ = ["HttpServer", "McpServer", "McpServers", "McpTool", "StdioServer"]
