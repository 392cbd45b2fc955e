"""Tools by name; packages add theirs under the entry-point group `agentkit.tools`."""

from langchain_core.tools import BaseTool as LangChainTool

from agentkit.registry import Registry
from agentkit.tools.base import BaseTool, Risk, ToolOptions, ToolParts, ToolResult, ToolType, available
from agentkit.tools.function import tool

TOOLS = Registry[LangChainTool | ToolType](
    "tool",
    group="agentkit.tools",
    table={
        "code_execute": "agentkit.tools.implementations.code:code_execute",
    },
)

__all__ = [
    "TOOLS",
    "BaseTool",
    "Risk",
    "ToolOptions",
    "ToolParts",
    "ToolResult",
    "ToolType",
    "available",
    "tool",
]
