"""System prompts whose text depends on the request."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
from langchain_core.messages import SystemMessage

from agentkit.context import RunContext
from agentkit.graphs.around import AroundModel
from agentkit.prompts import PromptText

SystemPrompt = str | Callable[[RunContext], str]
"""A system prompt, or what makes it for each request."""


def system_message(prompt: SystemPrompt, context: RunContext) -> SystemMessage:
    """Return the system message for one request."""
    return SystemMessage(prompt if isinstance(prompt, str) else prompt(context))


def named(prompt: SystemPrompt) -> str:
    """Return a text with the label of the prompt's version, which may not have been rendered yet."""
    return (
        prompt if isinstance(prompt, str) else PromptText("", getattr(prompt, "label", type(prompt).__name__))
    )


class RequestPromptMiddleware(AroundModel[AgentState[Any]]):
    """Gives an agent's model the system prompt of the request.

    Args:
        prompt: Makes it.
    """

    def __init__(self, prompt: Callable[[RunContext], str]) -> None:
        super().__init__()
        self._prompt = prompt

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Put the system prompt first."""
        context = cast("RunContext | None", request.runtime.context) or RunContext()
        return await handler(request.override(system_message=system_message(self._prompt, context)))
