"""`tool_call_limit`: most calls of one tool, or of all together, in one turn."""

from typing import Annotated

from pydantic import Field

from agentkit.blueprints.fields import Int, Section, Text
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.graphs.tool_limits import ToolLimit


class ToolCallLimitOptions(Section):
    """Bounds the tool calls of one turn; at the limit the model is told, and goes on."""

    tool: Text | None = Field(default=None, description="Name of the tool; all of them together if absent.")
    limit: Annotated[Int, Field(ge=1)] = Field(description="Most calls in one turn.")


def _build(options: ToolCallLimitOptions, parts: MiddlewareParts) -> ToolLimit:
    parts.known([options.tool] if options.tool else [])
    return ToolLimit(options.tool, options.limit)


TOOL_CALL_LIMIT = MiddlewareType(ToolCallLimitOptions, _build, each="tool")
