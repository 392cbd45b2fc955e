"""`summarize`: old messages make room for a summary of them."""

from typing import Annotated

from langchain.agents.middleware.summarization import DEFAULT_SUMMARY_PROMPT
from langchain_core.messages import AnyMessage
from langchain_core.messages.utils import get_buffer_string
from pydantic import Field

from agentkit.blueprints.fields import Int, PromptRef, Section, Text
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.graphs.summaries import Summaries


class SummarizeOptions(Section):
    """Replaces old messages by a summary that a model writes."""

    at_tokens: Annotated[Int, Field(ge=100)] = Field(
        default=6000, description="Tokens of all messages from which on they are summarised."
    )
    keep_messages: Annotated[Int, Field(ge=1)] = Field(
        default=10, description="Newest messages that stay as they are; the question always does."
    )
    model: Text | None = Field(default=None, description="Name under models; the agent's own if absent.")
    prompt: PromptRef | None = Field(
        default=None, description="Prompt that asks for the summary; gets {{messages}}. If none: LangChain's."
    )


def _build(options: SummarizeOptions, parts: MiddlewareParts) -> Summaries:
    prompt = None if options.prompt is None else parts.prompt(options.prompt)

    def ask(messages: list[AnyMessage]) -> str:
        shown = get_buffer_string(messages, format="xml")
        if prompt is None:
            return DEFAULT_SUMMARY_PROMPT.format(messages=shown)
        return prompt.render(messages=shown)

    return Summaries(
        parts.model(options.model), ask, at_tokens=options.at_tokens, keep_messages=options.keep_messages
    )


SUMMARIZE = MiddlewareType(SummarizeOptions, _build, prompt_role="summary")
