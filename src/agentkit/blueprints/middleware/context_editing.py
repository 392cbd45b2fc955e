"""`context_editing`: old results of tools are left out when there is too much to show."""

from typing import Annotated

from langchain.agents.middleware import ClearToolUsesEdit, ContextEditingMiddleware
from pydantic import Field

from agentkit.blueprints.fields import Int, Section, Text
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType


class ContextEditingOptions(Section):
    """Shows the model `[cleared]` in place of old tool results; the history keeps them."""

    at_tokens: Annotated[Int, Field(ge=1)] = Field(
        default=10_000, description="Tokens of all messages above which results are left out."
    )
    keep_results: Annotated[Int, Field(ge=0)] = Field(default=3, description="Newest results that stay.")
    clear_arguments: bool = Field(
        default=False, description="Whether to leave out the arguments of those calls too."
    )
    exclude_tools: tuple[Text, ...] = Field(default=(), description="Tools whose results always stay.")


def _build(options: ContextEditingOptions, parts: MiddlewareParts) -> ContextEditingMiddleware:
    edit = ClearToolUsesEdit(
        trigger=options.at_tokens,
        keep=options.keep_results,
        clear_tool_inputs=options.clear_arguments,
        exclude_tools=parts.known(options.exclude_tools),
    )
    return ContextEditingMiddleware(edits=[edit])


CONTEXT_EDITING = MiddlewareType(ContextEditingOptions, _build)
