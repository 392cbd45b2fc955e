"""Which prompt versions an answer was made with: on the message, and in the trace.

Rendered prompts know their version (`PromptText.label`), so nothing has to be passed beside
them. A model's message carries the labels in `response_metadata["prompts"]`, a run in
`metadata["prompts"]`, where tracing reads them.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from agentkit.context import RunContext
from agentkit.graphs.around import AroundModel

PROMPTS = "prompts"
"""Key in a message's `response_metadata`, and in a run's `metadata`."""


def prompts_of(message: BaseMessage) -> list[str]:
    """Return the labels of the prompts a message was made with: `agents/kubernetes@1`."""
    return list(cast("Sequence[str]", message.response_metadata.get(PROMPTS) or ()))


def with_prompts(message: AIMessage, used: Iterable[str]) -> AIMessage:
    """Return the message with the labels of the prompts it was made with, after those it has."""
    every = list(dict.fromkeys([*prompts_of(message), *used]))
    if not every:
        return message
    return message.model_copy(update={"response_metadata": {**message.response_metadata, PROMPTS: every}})


def noting(config: RunnableConfig | None, used: Sequence[str]) -> RunnableConfig:
    """Return `config` for a run that uses these prompts; runs within it inherit that."""
    if not used:
        return config or {}
    given = (config or {}).get("metadata") or {}
    return cast("RunnableConfig", {**(config or {}), "metadata": {**given, PROMPTS: list(used)}})


class PromptsNoted(AroundModel[AgentState[Any]]):
    """Notes on every message of an agent's model which prompts it was made with.

    Args:
        used: Their labels.
    """

    def __init__(self, used: Sequence[str]) -> None:
        super().__init__()
        self._used = tuple(used)

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Put the labels on what the model says."""
        response = await handler(request)
        response.result = [
            with_prompts(message, self._used) if isinstance(message, AIMessage) else message
            for message in response.result
        ]
        return response
