"""Tools by name; packages add theirs under the entry-point group `agentkit.tools`."""

from langchain_core.tools import BaseTool

from agentkit.registry import Registry
from agentkit.tools.base import tool

TOOLS = Registry[BaseTool]("tool", group="agentkit.tools")

__all__ = ["TOOLS", "tool"]
