"""`tool_retry`: a tool that fails is tried again before the model is told."""

from typing import Annotated, Literal

from langchain.agents.middleware import ToolRetryMiddleware
from pydantic import Field

from agentkit.blueprints.fields import Duration, Int, Section, Text
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.errors import AgentKitError, ProviderError


class ToolRetryOptions(Section):
    """Calls a tool that raises an error again; only for tools that may be called twice."""

    tools: tuple[Text, ...] | None = Field(default=None, description="Names of the tools; all if absent.")
    attempts: Annotated[Int, Field(ge=2, le=10)] = Field(default=3, description="Attempts in all.")
    base: Duration = Field(default=0.5, description="Wait before the second attempt; doubles from then on.")
    cap: Duration = Field(default=8.0, description="Longest wait.")
    on_failure: Literal["tell", "raise"] = Field(
        default="tell",
        description="After the last attempt: tell the model what went wrong, or raise the error.",
    )


def _worth_it(error: Exception) -> bool:
    """Whether another attempt can help: not against a spent budget or a mistake in a file."""
    if isinstance(error, ProviderError):
        return error.is_retryable
    return not isinstance(error, AgentKitError)


def _build(options: ToolRetryOptions, parts: MiddlewareParts) -> ToolRetryMiddleware:
    tools = parts.tools if options.tools is None else options.tools
    return ToolRetryMiddleware(
        max_retries=options.attempts - 1,
        tools=list(parts.known(tools)),
        retry_on=_worth_it,
        on_failure="continue" if options.on_failure == "tell" else "error",
        initial_delay=options.base,
        max_delay=max(options.base, options.cap),
    )


TOOL_RETRY = MiddlewareType(ToolRetryOptions, _build)
