"""The key `tools[].limit`, by the names the models know the tools by."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.tools import BaseTool

from agentkit.blueprints.agents import ToolSpec


def tool_name(tool: BaseTool | Callable[..., Any]) -> str:
    """The name a model calls a tool by."""
    return tool.name if isinstance(tool, BaseTool) else str(getattr(tool, "__name__", ""))


def tool_limits(specs: Sequence[ToolSpec], tools: Sequence[BaseTool | Callable[..., Any]]) -> dict[str, int]:
    """Most calls of each limited tool in one turn, by name.

    Args:
        specs: The tools as written.
        tools: The same, made.
    """
    made = zip(specs, tools, strict=True)
    return {tool_name(tool): spec.limit for spec, tool in made if spec.limit is not None}
