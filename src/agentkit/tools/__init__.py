"""Tools by name; packages add theirs under the entry-point group `agentkit.tools`."""

from langchain_core.tools import BaseTool

from agentkit.registry import Registry
from agentkit.tools.base import available, tool

TOOLS = Registry[BaseTool](
    "tool",
    group="agentkit.tools",
    table={
        "code_execute": "agentkit.tools.implementations.code:code_execute",
    },
)

__all__ = ["TOOLS", "available", "tool"]
