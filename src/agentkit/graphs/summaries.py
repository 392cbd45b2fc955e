"""Old messages replaced by a summary: LangChain's middleware, kept from what a user would notice."""

import logging
from collections.abc import Callable
from typing import Any

from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.runtime import Runtime

from agentkit.context import RunContext
from agentkit.errors import BudgetExceededError, ProviderError, ScriptError

logger = logging.getLogger(__name__)

UNSEEN: RunnableConfig = {"tags": [TAG_NOSTREAM], "run_name": "summarize"}
"""The tag keeps a summary's words out of `messages` streams: they are no answer."""


class Summaries(SummarizationMiddleware[Any, RunContext]):
    """Summarises old messages before the model is asked.

    Beside what LangChain's does: the newest question is never summarised away, the summary is
    not streamed, the gateway alone retries, and a summary that cannot be had costs no answer:
    the messages stay as they are.

    Args:
        model: Writes the summaries.
        ask: Makes the request for a summary of some messages.
        at_tokens: Tokens of all messages, counted approximately, from which on they are summarised.
        keep_messages: Newest messages that stay.
    """

    def __init__(
        self,
        model: BaseChatModel,
        ask: Callable[[list[AnyMessage]], str],
        *,
        at_tokens: int,
        keep_messages: int,
    ) -> None:
        async def summarise(messages: list[AnyMessage]) -> str:
            return (await model.ainvoke(ask(messages), UNSEEN)).text

        super().__init__(
            model,
            trigger=("tokens", at_tokens),
            keep=("messages", keep_messages),
            trim_tokens_to_summarize=None,
            summarizer=summarise,
        )

    @property
    def name(self) -> str:
        """Name of the node: `summarize.before_model`."""
        return "summarize"

    async def abefore_model(self, state: Any, runtime: Runtime[RunContext]) -> dict[str, Any] | None:
        """Summarise if there is more than enough."""
        question = next((message for message in reversed(state["messages"]) if message.type == "human"), None)
        try:
            update = await super().abefore_model(state, runtime)
        except ScriptError:  # a test's own mistake
            raise
        except (ProviderError, BudgetExceededError) as error:
            logger.warning("the conversation could not be summarised and stays as it is: %s", error)
            return None
        if update is None or question is None:
            return update
        first, summary, *kept = update["messages"]
        if not any(isinstance(message, HumanMessage) for message in kept):
            kept = [question, *kept]
        return {"messages": [first, summary, *kept]}
