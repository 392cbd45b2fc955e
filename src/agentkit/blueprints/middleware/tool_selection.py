"""`tool_selection`: of many tools, a model picks those the agent's model is offered."""

from typing import Annotated

from langchain.agents.middleware import LLMToolSelectorMiddleware
from langgraph.constants import TAG_NOSTREAM
from pydantic import Field

from agentkit.blueprints.fields import Int, Section, Text
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType


class ToolSelectionOptions(Section):
    """Asks a model, before each call of the agent's, which tools the question may need."""

    most: Annotated[Int, Field(ge=1)] = Field(default=5, description="Most tools it picks.")
    always: tuple[Text, ...] = Field(default=(), description="Tools that are offered in any case.")
    model: Text | None = Field(default=None, description="Name under models; the agent's own if absent.")


def _build(options: ToolSelectionOptions, parts: MiddlewareParts) -> LLMToolSelectorMiddleware:
    model = parts.model(options.model)
    return LLMToolSelectorMiddleware(
        # The tag keeps the choice out of `messages` streams: it is no answer.
        model=model.model_copy(update={"tags": [*(model.tags or []), TAG_NOSTREAM]}),
        max_tools=options.most,
        always_include=parts.known(options.always),
        on_parsing_failure="all",
    )


TOOL_SELECTION = MiddlewareType(ToolSelectionOptions, _build)
